//! How much a client sends: messages and control frames, bytes of payload, messages of one type.
//!
//! A message counts once, with its first frame, and each control frame counts as one; what a frame announces counts before any of
//! it has come. Fragments have a bound of their own (`max_fragments`), and a Close is never too much.

use core::cell::Cell;

use crate::limits::rate::{Meter, Rate};
use crate::limits::rules::ConnectionLimits;
use crate::refusal::{Refusal, member_path};
use crate::time::Moment;
use crate::violation::Violation;
use crate::wire::Side;

/// What is counted outside of a connection, and the time where it has to be exact.
pub trait Budget {
    /// The time now. It costs a call of the host, so it is asked for only where the time of the last tick makes something too much, or
    /// would begin to count before there was anything.
    fn now(&self) -> Moment;

    /// Takes this much of what the client's subject may send: all of it, or nothing.
    fn spend(&self, messages: u64, len: u64) -> bool;

    /// Takes one message of this type, which may have no name, of what a fleet lets the subject send.
    fn ask(&self, kind: &str) -> bool;

    /// Whether judging goes on, now that some has been done: otherwise what is left of the chunk is given back.
    fn goes_on(&self) -> bool {
        true
    }

    /// How many messages of a side end until the length of one is a [sample](Self::sample_len), that one among them: each that ends takes one off.
    fn countdown(&self, _from: Side) -> Option<&Cell<u32>> {
        None
    }

    /// The countdown is at 0 with a message of this length, in bytes of payload as they came.
    fn sample_len(&self, _from: Side, _len: u64) {}

    /// What a message says is about to be judged: the time now, where it is a sample of how long that takes.
    fn begin_inspection(&self) -> Option<Moment> {
        None
    }

    /// It has been judged since then.
    fn end_inspection(&self, _begin: Moment) {}
}

/// The limit that is exceeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Excess {
    /// That of a connection's bytes.
    Bytes,
    /// That of a connection's messages of one type.
    ByType,
    /// That of a fleet.
    Global,
    /// That of a connection's messages.
    Messages,
    /// That of a subject.
    Subject,
}

impl Excess {
    /// What it is for a message, whose type may be known, with the path of the limit.
    #[cold]
    #[inline(never)]
    #[must_use]
    pub fn refusal(self, kind: Option<&str>) -> Refusal {
        const BY_TYPE: &str = "limits.per_connection.by_type";
        let path = match self {
            Self::Bytes => "limits.per_connection.bytes",
            Self::ByType => &*kind.map_or_else(|| BY_TYPE.to_owned(), |kind| member_path(BY_TYPE, kind)),
            Self::Global => "limits.global",
            Self::Messages => "limits.per_connection.messages",
            Self::Subject => "limits.per_subject",
        };
        Refusal::at(Violation::RateExceeded, path)
    }
}

/// What one client has sent lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    messages: Meter,
    bytes: Meter,
    /// Of the types that have a limit: a few, which are looked through.
    by_type: Vec<(String, Meter)>,
    /// The limit by which something was too much, until it is asked for.
    excess: Option<Excess>,
}

impl Pace {
    /// The memory that it takes, in bytes: a list as long as its client has sent types that the policy limits.
    pub(super) fn memory_len(&self) -> usize {
        self.by_type.iter().map(|(kind, _)| kind.len().saturating_add(size_of::<(String, Meter)>())).sum()
    }

    /// Whether so much more is within the limits; what is not does not count.
    #[inline]
    pub(super) fn receive(
        &mut self,
        limits: &ConnectionLimits,
        messages: u64,
        len: u64,
        now: Moment,
        budget: &dyn Budget,
    ) -> bool {
        let is_first = limits.messages.is_some_and(|rate| messages > 0 && self.messages.is_empty(&rate, now))
            || limits.bytes.is_some_and(|rate| len > 0 && self.bytes.is_empty(&rate, now));
        // From the last tick on, a tick's worth would pass beyond the burst.
        let now = if is_first { budget.now() } else { now };
        let before = (self.messages, self.bytes);
        let fits = (self.take(limits, messages, len, now)
            || (!is_first && self.take(limits, messages, len, budget.now())))
            && budget.spend(messages, len);
        if !fits {
            let was_taken = (self.messages, self.bytes) != before;
            (self.messages, self.bytes) = before;
            self.excess = Some(if was_taken { Excess::Subject } else { self.exceeded(limits, (messages, len), now) });
        }
        fits
    }

    /// Something was too much by this limit.
    pub(super) const fn note_excess(&mut self, excess: Excess) {
        self.excess = Some(excess);
    }

    /// The limit by which something was too much since this was asked: where it was none of these, a fleet's.
    pub(super) fn take_excess(&mut self) -> Excess {
        self.excess.take().unwrap_or(Excess::Global)
    }

    /// The limit that so much more exceeds.
    #[cold]
    fn exceeded(&self, limits: &ConnectionLimits, (messages, len): (u64, u64), now: Moment) -> Excess {
        let (mut own_messages, mut own_bytes) = (self.messages, self.bytes);
        match (limits.messages, limits.bytes) {
            (Some(rate), _) if !own_messages.take(&rate, messages, now) => Excess::Messages,
            (_, Some(rate)) if !own_bytes.take(&rate, len, now) => Excess::Bytes,
            _ => Excess::Subject,
        }
    }

    fn take(&mut self, limits: &ConnectionLimits, messages: u64, len: u64, now: Moment) -> bool {
        let mut after = (self.messages, self.bytes);
        let fits = limits.messages.is_none_or(|rate| after.0.take(&rate, messages, now))
            && limits.bytes.is_none_or(|rate| after.1.take(&rate, len, now));
        if fits {
            (self.messages, self.bytes) = after;
        }
        fits
    }

    /// Likewise for a message whose type is known.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub(super) fn receive_type(
        &mut self,
        limits: &ConnectionLimits,
        kind: &str,
        now: Moment,
        budget: &dyn Budget,
    ) -> Result<(), Excess> {
        if limits.by_type.get(kind).is_some_and(|rate| !self.take_type(kind, rate, now, budget)) {
            return Err(Excess::ByType);
        }
        if budget.ask(kind) { Ok(()) } else { Err(Excess::Global) }
    }

    fn take_type(&mut self, kind: &str, rate: &Rate, now: Moment, budget: &dyn Budget) -> bool {
        let known = self.by_type.iter().position(|(own, _)| own == kind);
        let index = known.unwrap_or_else(|| {
            self.by_type.push((kind.to_owned(), Meter::default()));
            self.by_type.len().saturating_sub(1)
        });
        let Some((_, meter)) = self.by_type.get_mut(index) else { return false };
        let now = if meter.is_empty(rate, now) { budget.now() } else { now };
        meter.take(rate, 1, now) || meter.take(rate, 1, budget.now())
    }
}

#[cfg(test)]
mod tests;
