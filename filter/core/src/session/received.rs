//! What came of a chunk: what goes on of it, and what was found in it.

use crate::docket::Overlooked;
use crate::effect::Passage;
use crate::refusal::Cause;
use crate::violation::Violation;

/// What came of a chunk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Received {
    /// What of it goes on.
    pub passage: Passage,
    /// The violation that was found in it, which ends the connection.
    pub violation: Option<Violation>,
    /// What is behind it. Its path begins with the side's keys.
    pub cause: Option<Box<Cause>>,
    /// What passed that would be refused if it were enforced.
    pub overlooked: Vec<Overlooked>,
    /// Whether messages or control frames were too much, and swallowed.
    pub swallowed: bool,
}

impl Received {
    /// So much goes on, and nothing was found.
    pub(super) const fn pass(before: Vec<u8>, keep: usize) -> Self {
        Self {
            passage: Passage { before, keep, after: Vec::new() },
            violation: None,
            cause: None,
            overlooked: Vec::new(),
            swallowed: false,
        }
    }
}
