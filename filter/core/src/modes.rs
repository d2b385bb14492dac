//! Whether what is found is refused, by the part of the policy that it is of.
//!
//! ```text
//! mode ─┬─ origin, subprotocols, auth, limits, liveness
//!       └─ messages.<side> ─── a deny pattern, a rule set, a rule of authorize       what stands deeper wins
//! ```
//!
//! What leaves something unread that an enforced rule has to read is refused as by that rule: otherwise a peer would choose by it that the rule is
//! not asked.

use crate::mode::Mode;
use crate::violation::{Part, Parts};
use crate::wire::{Side, Sides};

/// The modes of a policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Modes {
    /// Of what has none of its own.
    pub base: Mode,
    /// Of `origin`.
    pub origin: Mode,
    /// Of `subprotocols`.
    pub subprotocols: Mode,
    /// Of `auth`.
    pub auth: Mode,
    /// Of the messages of each side.
    pub messages: Sides<SideModes>,
    /// Of `limits`.
    pub limits: Mode,
    /// Of `liveness`.
    pub liveness: Mode,
}

/// The modes of one side's messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SideModes {
    /// Of what has none of its own.
    pub own: Mode,
    /// The strictest of what asks for places in a message.
    pub parsed: Mode,
    /// The strictest of all that is said about messages.
    pub payload: Mode,
}

impl Modes {
    /// The same for everything.
    #[must_use]
    pub const fn all(mode: Mode) -> Self {
        let side = SideModes { own: mode, parsed: mode, payload: mode };
        Self {
            base: mode,
            origin: mode,
            subprotocols: mode,
            auth: mode,
            messages: Sides { client: side, server: side },
            limits: mode,
            liveness: mode,
        }
    }

    /// What a violation of a part does, found in what `from` sent, or in something else: then of both sides.
    #[must_use]
    #[inline(never)]
    pub fn of(&self, part: Part, from: Option<Side>) -> Mode {
        let side = |mode: fn(&SideModes) -> Mode| {
            let Sides { client, server } = &self.messages;
            from.map_or_else(|| mode(client).or(mode(server)), |from| mode(self.messages.of(from)))
        };
        match part {
            Part::Auth => self.auth,
            Part::Base => self.base,
            Part::Limits => self.limits,
            Part::Liveness => self.liveness,
            Part::Messages => side(|side| side.own),
            Part::Origin => self.origin,
            Part::Parsed => side(|side| side.parsed),
            Part::Payload => side(|side| side.payload),
            Part::Subprotocols => self.subprotocols,
            Part::Whole => self.strictest(),
        }
    }

    /// Whether one of these parts is enforced.
    #[must_use]
    #[inline(never)]
    pub fn enforce_any(&self, parts: Parts) -> bool {
        Part::ALL.into_iter().any(|part| parts.contains(part) && self.of(part, None).enforces())
    }

    /// Whether anything is enforced.
    #[must_use]
    #[inline(never)]
    pub fn strictest(&self) -> Mode {
        let Self { base, origin, subprotocols, auth, messages, limits, liveness } = *self;
        let sides = messages.client.payload.or(messages.server.payload);
        base.or(origin).or(subprotocols).or(auth).or(limits).or(liveness).or(sides)
    }
}

impl Modes {
    /// How many parts are only monitored.
    #[must_use]
    pub fn monitored_count(&self) -> usize {
        let Self { base, origin, subprotocols, auth, messages, limits, liveness } = *self;
        let sides = [messages.client.own, messages.server.own];
        let parts = [base, origin, subprotocols, auth, limits, liveness].into_iter().chain(sides);
        parts.filter(|mode| !mode.enforces()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_nothing_to_judge_is_refused_where_anything_is() {
        let monitored = Modes::all(Mode::Monitor);
        assert_eq!(monitored.of(Part::Whole, None), Mode::Monitor);
        let mut messages = monitored;
        messages.messages.server.payload = Mode::Enforce;
        let one = |change: fn(&mut Modes)| {
            let mut modes = monitored;
            change(&mut modes);
            modes
        };
        let enforced = [
            one(|modes| modes.base = Mode::Enforce),
            one(|modes| modes.origin = Mode::Enforce),
            one(|modes| modes.subprotocols = Mode::Enforce),
            one(|modes| modes.auth = Mode::Enforce),
            one(|modes| modes.limits = Mode::Enforce),
            one(|modes| modes.liveness = Mode::Enforce),
            messages,
        ];
        for modes in enforced {
            assert_eq!(modes.of(Part::Whole, None), Mode::Enforce, "{modes:?}");
        }
        assert_eq!(messages.of(Part::Payload, Some(Side::Server)), Mode::Enforce);
        assert_eq!(messages.of(Part::Payload, Some(Side::Client)), Mode::Monitor);
        assert_eq!(messages.of(Part::Messages, Some(Side::Server)), Mode::Monitor);
    }
}
