//! A worker's memory: the sum that is logged at start, and the newcomers that are refused so that it holds.
//!
//! ```text
//! the module and its policies   known at start    ┐
//! messages                      held_bytes, …     ├ logged
//! a connection                  measured          ┘ newcomers are refused where there is no memory for them
//! ```

use core::fmt;

use crate::config::memory::{Memory, VM_LEN_MAX};
use crate::limits::HeldBytes;

/// What the module's data and stack take, and what every VM needs: the wheel of timers, metrics, what is read of a request. In bytes.
const MODULE_LEN: u64 = 4_194_304;

/// What a connection takes at most beside its messages and what counts as held, in bytes: some 2 KiB of state, an entry in the tables
/// of contexts, timers and subjects, which double, and what it may keep uncounted.
const CONNECTION_LEN: u64 = 4_096;

/// The most that one connection counts for keeping, in bytes: a token of 16 KiB and what it says, many times over. A table that doubles
/// for one more entry is not that connection's.
const KEPT_LEN_MAX: usize = 262_144;

/// What is kept free for what is not counted to anybody, in bytes: tables that double, and what lies between the pieces of the heap.
const SLACK_LEN: u64 = 33_554_432;

/// What the policies of a plugin need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    messages: Memory,
    policies_len: u64,
}

impl Need {
    /// No policies, no need.
    pub(super) const NOTHING: Self = Self::new(Memory { held: 0, message: 0 }, 0);

    /// Of policies that need `messages` and took `policies_len` bytes to read.
    pub(super) const fn new(messages: Memory, policies_len: u64) -> Self {
        Self { messages, policies_len }
    }

    /// Whether there is no memory for one connection more, where `in_use` bytes are: what messages may need is left to them, whoever comes.
    pub(super) fn is_full(self, held: &HeldBytes, in_use: usize) -> bool {
        let messages = self.messages.total().saturating_add(SLACK_LEN).saturating_add(MODULE_LEN);
        let others = (in_use as u64).saturating_sub(held.len()).saturating_add(CONNECTION_LEN);
        others.saturating_add(messages) > VM_LEN_MAX
    }
}

/// For the operator.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // While connections go over from the policies before there are two.
        let others = self.policies_len.saturating_mul(2).saturating_add(MODULE_LEN);
        let mib = |len: u64| len.div_ceil(1_048_576);
        let (held, message) = (self.messages.held, self.messages.message);
        write!(
            f,
            "a worker needs at most {} MiB ({} to hold messages, {} to judge one, {} for the module and the policies) and {} KiB for each \
             connection; of {} MiB",
            mib(self.messages.total().saturating_add(others)),
            mib(held),
            mib(message),
            mib(others),
            CONNECTION_LEN >> 10,
            mib(VM_LEN_MAX),
        )
    }
}

/// What a connection keeps, where `in_use` bytes are in use and `before` were.
pub(super) fn kept(before: usize, in_use: usize) -> usize {
    in_use.saturating_sub(before).min(KEPT_LEN_MAX)
}
