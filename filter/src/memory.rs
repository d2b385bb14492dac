//! A worker's memory: the sum that is printed at start, and who is refused so that it holds.
//!
//! ```text
//! the module and its policies   known at start    ┐
//! messages                      held_bytes, …     ├ printed
//! a connection                  measured          ┘ newcomers are refused where there is no memory for them
//! ```

use crate::host::abi::{self, LogLevel};
use crate::host::heap;
use portcullis_core::config::memory::{Memory, VM_LEN_MAX};
use portcullis_core::limits::HeldBytes;

/// What the module's data and stack take, and what every VM needs: the wheel of timers, metrics, what is read of a request. In bytes.
const MODULE_LEN: u64 = 4_194_304;

/// What a connection takes at most beside its messages and what counts as held, in bytes: some 2 KiB of state, a place in the tables
/// of contexts, timers and subjects, which double, and what it may keep uncounted.
const CONNECTION_LEN: u64 = 4_096;

/// The most that one connection counts for keeping, in bytes: a token of 16 KiB and what it says, many times over. A table that doubles
/// for one more entry is not that connection's.
const KEPT_LEN_MAX: usize = 262_144;

/// What is kept free for what is not counted to anybody, in bytes: tables that double, and what lies between the pieces of the heap.
const SLACK_LEN: u64 = 33_554_432;

/// What the policies of a root context need.
#[derive(Clone, Copy, Default)]
pub(crate) struct Need {
    messages: Memory,
    policies_len: u64,
}

impl Need {
    /// Of policies that need `messages` and took `policies_len` bytes to read.
    pub(crate) const fn new(messages: Memory, policies_len: u64) -> Self {
        Self { messages, policies_len }
    }

    /// Logs it for the operator.
    pub(crate) fn announce(self) {
        // While connections go over from the policies before there are two.
        let others = self.policies_len.saturating_mul(2).saturating_add(MODULE_LEN);
        let mib = |len: u64| len.div_ceil(1_048_576);
        let (held, message) = (self.messages.held, self.messages.message);
        let text = format!(
            "portcullis: a worker needs at most {} MiB ({} to hold messages, {} to judge one, {} for the module and the policies) and {} KiB for \
             each connection; of {} MiB",
            mib(self.messages.total().saturating_add(others)),
            mib(held),
            mib(message),
            mib(others),
            CONNECTION_LEN >> 10,
            mib(VM_LEN_MAX),
        );
        abi::log(LogLevel::Info, &text);
    }

    /// Whether there is no memory for one connection more: what messages may need is left to them, whoever comes.
    pub(crate) fn is_full(self, held: &HeldBytes) -> bool {
        let messages = self.messages.total().saturating_add(SLACK_LEN).saturating_add(MODULE_LEN);
        let others = (heap::in_use() as u64).saturating_sub(held.len()).saturating_add(CONNECTION_LEN);
        others.saturating_add(messages) > VM_LEN_MAX
    }
}

/// What has been allocated since `before` and is still there: what a connection keeps.
pub(crate) fn kept_since(before: usize) -> usize {
    heap::in_use().saturating_sub(before).min(KEPT_LEN_MAX)
}
