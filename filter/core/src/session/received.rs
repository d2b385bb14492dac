//! What came of a chunk: what goes on of it, and what was found in it.

use std::rc::Rc;

use crate::effect::Passage;
use crate::violation::Violation;

/// What came of a chunk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Received {
    /// What of it goes on.
    pub passage: Passage,
    /// The violation that was found in it, which ends the connection.
    pub violation: Option<Violation>,
    /// The rule that it broke, where the policy has many: for logs and counters, never for the peer.
    pub rule: Option<Rc<str>>,
    /// What passed in monitor mode and would have been refused.
    pub overlooked: Vec<Overlooked>,
    /// How many messages and control frames were too much, and swallowed.
    pub swallowed: u32,
}

/// Violations of one kind that monitor mode let pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overlooked {
    /// What was found.
    pub violation: Violation,
    /// The rule, as in [`Received`].
    pub rule: Option<Rc<str>>,
    /// How often.
    pub count: u32,
}

impl Received {
    /// So much goes on, and nothing was found.
    pub(super) const fn pass(before: Vec<u8>, keep: usize) -> Self {
        Self {
            passage: Passage { before, keep, after: Vec::new() },
            violation: None,
            rule: None,
            overlooked: Vec::new(),
            swallowed: 0,
        }
    }
}
