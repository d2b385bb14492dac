//! How much a client sends: messages and control frames, bytes of payload, messages of one type.
//!
//! A message counts once, with its first frame, and each control frame counts as one; what a frame announces counts before any of
//! it has come. Fragments have a bound of their own (`max_fragments`), and a Close is never too much.

use core::cell::Cell;

use crate::limits::rate::{Meter, Rate};
use crate::limits::rules::ConnectionLimits;
use crate::refusal::{Cause, Refusal, member_path};
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

    /// Whether it was the bytes that did not fit, and not the messages.
    fn lacks_bytes(&self, _messages: u64, _len: u64) -> bool {
        false
    }

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
    /// That of a connection's messages of one type, which this is in the list of those that it has sent.
    ByType(usize),
    /// That of a fleet.
    Global,
    /// That of a connection's messages.
    Messages,
    /// That of a subject's bytes.
    SubjectBytes,
    /// That of a subject's messages.
    SubjectMessages,
}

impl Excess {
    /// What it is for a message, with the path of the limit; `kind` is the type that has a limit of its own.
    #[cold]
    #[inline(never)]
    #[must_use]
    pub fn refusal(self, kind: &str) -> Refusal {
        let path = match self {
            Self::Bytes => "limits.per_connection.bytes",
            Self::ByType(_) => {
                let at = member_path("limits.per_connection.by_type", kind);
                let cause = Cause { at, kind: Some(kind.to_owned()), ..Cause::default() };
                return Refusal::because(Violation::RateExceeded, cause);
            }
            Self::Global => "limits.global",
            Self::Messages => "limits.per_connection.messages",
            Self::SubjectBytes => "limits.per_subject.bytes",
            Self::SubjectMessages => "limits.per_subject.messages",
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
    /// The limits by which messages were swallowed, and how many, until they are told.
    swallowed: Vec<(Excess, u32)>,
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
            let own = (!was_taken).then_some((limits, now));
            self.note_excess(own, messages, len, budget);
        }
        fits
    }

    /// The limit by which something was too much since this was asked: where it was none of these, a fleet's.
    pub(super) fn take_excess(&mut self) -> Excess {
        self.excess.take().unwrap_or(Excess::Global)
    }

    /// What it is for a message to be too much by this limit.
    pub(super) fn refusal(&self, excess: Excess) -> Refusal {
        let index = if let Excess::ByType(index) = excess { Some(index) } else { None };
        let kind = index.and_then(|index| self.by_type.get(index));
        excess.refusal(kind.map_or("", |(kind, _)| kind))
    }

    /// A message was swallowed by this limit.
    #[cold]
    #[inline(never)]
    pub(super) fn swallow(&mut self, excess: Excess) {
        match self.swallowed.iter_mut().find(|(known, _)| *known == excess) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.swallowed.push((excess, 1)),
        }
    }

    /// Whether messages were swallowed that are not told yet.
    #[inline]
    pub(super) const fn has_swallowed(&self) -> bool {
        !self.swallowed.is_empty()
    }

    /// What was swallowed since this was asked, and how often.
    pub(super) fn take_swallowed(&mut self) -> Vec<(Refusal, u32)> {
        let swallowed = core::mem::take(&mut self.swallowed);
        swallowed.into_iter().map(|(excess, count)| (self.refusal(excess), count)).collect()
    }

    /// Notes which limit so much more exceeds: of its subject, where it is within its `own` at that time.
    #[cold]
    #[inline(never)]
    fn note_excess(&mut self, own: Option<(&ConnectionLimits, Moment)>, messages: u64, len: u64, budget: &dyn Budget) {
        let (mut own_messages, mut own_bytes) = (self.messages, self.bytes);
        let exceeds = |meter: &mut Meter, rate: fn(&ConnectionLimits) -> Option<Rate>, amount| {
            own.is_some_and(|(limits, now)| rate(limits).is_some_and(|rate| !meter.take(&rate, amount, now)))
        };
        self.excess = Some(if exceeds(&mut own_messages, |limits| limits.messages, messages) {
            Excess::Messages
        } else if exceeds(&mut own_bytes, |limits| limits.bytes, len) {
            Excess::Bytes
        } else if budget.lacks_bytes(messages, len) {
            Excess::SubjectBytes
        } else {
            Excess::SubjectMessages
        });
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
        if let Some(rate) = limits.by_type.get(kind) {
            self.take_type(kind, rate, now, budget)?;
        }
        if budget.ask(kind) { Ok(()) } else { Err(Excess::Global) }
    }

    fn take_type(&mut self, kind: &str, rate: &Rate, now: Moment, budget: &dyn Budget) -> Result<(), Excess> {
        let known = self.by_type.iter().position(|(own, _)| own == kind);
        let index = known.unwrap_or_else(|| {
            self.by_type.push((kind.to_owned(), Meter::default()));
            self.by_type.len().saturating_sub(1)
        });
        let Some((_, meter)) = self.by_type.get_mut(index) else { return Ok(()) };
        let now = if meter.is_empty(rate, now) { budget.now() } else { now };
        let fits = meter.take(rate, 1, now) || meter.take(rate, 1, budget.now());
        if fits { Ok(()) } else { Err(Excess::ByType(index)) }
    }
}

#[cfg(test)]
mod tests;
