//! What is found in one step, each decided about by the mode of its place in the policy: the one point at which something is refused or passes.

use core::cell::RefCell;

use crate::mode::Mode;
use crate::modes::Modes;
use crate::refusal::{Cause, Refusal};
use crate::violation::{Part, Parts, Violation};
use crate::wire::Side;

/// How many that differ in what they say of a message are told apart in one step: a text has thousands of records.
const APART_MAX: usize = 16;

/// What was found of one kind, and passed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overlooked {
    /// What each of them was. Its path begins with the side's keys, where it is of one.
    pub refusal: Refusal,
    /// The part of the policy that it is of.
    pub part: Part,
    /// How often.
    pub count: u32,
}

/// What is found in one step.
#[derive(Debug)]
pub struct Docket {
    modes: Modes,
    from: Option<Side>,
    strictness: Strictness,
    passed: RefCell<Vec<Overlooked>>,
}

/// What is enforced whatever the modes say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Strictness {
    /// Everything.
    All,
    /// Nothing.
    None,
    /// What keeps messages from being read: who sends them is not known yet.
    Payload,
}

impl Docket {
    /// Nothing has been found in what `from` sent, or in a request.
    #[must_use]
    #[inline]
    pub const fn new(modes: Modes, from: Option<Side>, strictness: Strictness) -> Self {
        Self { modes, from, strictness, passed: RefCell::new(Vec::new()) }
    }

    /// The side that sent what is judged: of a request, the client.
    #[must_use]
    pub fn from(&self) -> Side {
        self.from.unwrap_or(Side::Client)
    }

    /// What a violation of a part does.
    #[must_use]
    pub fn mode(&self, part: Part) -> Mode {
        match self.strictness {
            Strictness::All => Mode::Enforce,
            Strictness::Payload if matches!(part, Part::Payload | Part::Parsed) => Mode::Enforce,
            Strictness::None | Strictness::Payload => self.modes.of(part, self.from),
        }
    }

    /// Whether a violation passes that has no mode of its own.
    #[must_use]
    pub fn passes(&self, violation: Violation) -> bool {
        self.mode(violation.part()) == Mode::Monitor
    }

    /// Whether nothing has passed.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.passed.borrow().is_empty()
    }

    /// Whether this has passed.
    #[must_use]
    pub fn has(&self, violation: Violation) -> bool {
        self.passed.borrow().iter().any(|passed| passed.refusal.violation == violation)
    }

    /// Decides about what was found.
    ///
    /// # Errors
    /// The same, where it is refused.
    #[cold]
    pub fn find(&self, refusal: impl Into<Refusal>) -> Result<(), Refusal> {
        let refusal = refusal.into();
        self.decide(refusal.violation.part(), refusal)
    }

    /// Likewise, as of another part than such a violation mostly is.
    ///
    /// # Errors
    /// The same, where it is refused.
    #[cold]
    pub fn find_in(&self, part: Part, refusal: impl Into<Refusal>) -> Result<(), Refusal> {
        self.decide(part, refusal.into())
    }

    #[cold]
    #[inline(never)]
    fn decide(&self, part: Part, refusal: Refusal) -> Result<(), Refusal> {
        let own = refusal.cause.as_ref().and_then(|cause| cause.mode).filter(|_| self.strictness != Strictness::All);
        match own.unwrap_or_else(|| self.mode(part)) {
            // Handed to a docket again, it is refused again.
            Mode::Enforce if own.is_none() && self.passes(refusal.violation) => Err(refusal.under(Mode::Enforce)),
            Mode::Enforce => Err(refusal),
            Mode::Monitor => {
                self.note(part, refusal);
                Ok(())
            }
        }
    }

    /// The parts of the policy by which what has passed would be refused.
    #[must_use]
    pub fn parts(&self) -> Parts {
        self.passed.borrow().iter().fold(Parts::default(), |parts, passed| parts.with(passed.part, true))
    }

    /// What has passed.
    #[must_use]
    #[inline]
    pub fn into_passed(self) -> Vec<Overlooked> {
        self.passed.into_inner()
    }

    /// Counts what passes; beyond so many, by its rule and its place in the policy alone.
    fn note(&self, part: Part, mut refusal: Refusal) {
        let mut passed = self.passed.borrow_mut();
        if passed.len() >= APART_MAX
            && !passed.iter().any(|known| known.refusal == refusal)
            && let Some(cause) = &mut refusal.cause
        {
            let Cause { at, mode, rule, .. } = core::mem::take(&mut **cause);
            **cause = Cause { at, mode, rule, ..Cause::default() };
        }
        match passed.iter_mut().find(|known| known.refusal == refusal) {
            Some(known) => known.count = known.count.saturating_add(1),
            None => passed.push(Overlooked { refusal, part, count: 1 }),
        }
    }
}

#[cfg(test)]
mod tests;
