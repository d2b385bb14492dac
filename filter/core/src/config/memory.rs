//! What policies need of a worker's memory: a sum that is known before anything has come, or a refusal.
//!
//! ```text
//! held for judgement    limits.held_bytes, all connections together      × HELD_FACTOR
//! judging one message   the longest text that a policy judges as a whole × JUDGED_FACTOR
//! forwarding one        the longest message that waits to be whole       × FORWARDED_FACTOR
//! a chunk in hand       CHUNKS_LEN
//! ```
//!
//! One message is judged or forwarded at a time, so only the larger of the two counts.

use super::findings::Findings;
use crate::policy::routes::Policies;
use crate::policy::{Policy, SideRules};
use crate::wire::Side;

/// What Envoy gives a VM, in bytes: proxy-wasm-cpp-host's `limits.h` says 1 GiB. WebAssembly itself could address four times as much.
pub const VM_LEN_MAX: u64 = 1_073_741_824;

/// What of it is for everything but messages, in bytes: the module, two policies while one takes the place of another, and connections,
/// of which it is enough for some 60,000.
const OTHERS_LEN: u64 = 268_435_456;

/// How much memory takes what holds a byte. Most of it comes in blocks of one length, but what messages are inflated in is longer, and what lies
/// between two that stay may be of no use for it: tests/memory.rs lets clients make that as bad as they can.
const HELD_FACTOR: u64 = 2;

/// How many bytes are needed for each byte of a text while it is judged. A node of 16 bytes stands for two bytes of JSON at least (8); names
/// are sorted (2) and the items of an array where they have to differ (4); strings are copied without their escapes, also those in strings
/// that are JSON themselves, and for built-in rules without other encodings (8); what `unevaluated…` has to know is bounded by the text (1).
const JUDGED_FACTOR: u64 = 23;

/// Likewise for a message that goes on: it is put together with the chunk that it ends in, in buffers that double.
const FORWARDED_FACTOR: u64 = 4;

/// What the chunk in hand takes, in bytes: Envoy's are at most its buffer limit, 1 MiB unless somebody made it larger, and what it reads
/// behind that, and there may be six copies: what was read, what goes on, and both together.
const CHUNKS_LEN: u64 = 6 * (1_048_576 + 65_536);

/// The frame headers of a message of so many fragments take so much more for each, in bytes.
const HEADER_LEN: u64 = crate::wire::header::HEADER_LEN_MAX as u64;

/// What a worker needs for messages, by its policies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// To hold what is not judged yet, in bytes.
    pub held: u64,
    /// To judge one message, and to let it go on, in bytes.
    pub message: u64,
}

impl Memory {
    /// All of it, in bytes.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.held.saturating_add(self.message)
    }

    /// What `policies` need, which is wrong where it is more than a VM has; the key that asks for most is named. Connections of all of them
    /// share what is held.
    pub(super) fn of(policies: &Policies, found: &mut Findings) -> Self {
        let held_len_max = policies.all().map(|policy| policy.limits.held_len_max).max().unwrap_or_default();
        let held = held_len_max.saturating_mul(HELD_FACTOR);
        let sides = policies.all().enumerate().flat_map(|(index, policy)| {
            [Side::Client, Side::Server].map(|side| (message_len(policy, side, held_len_max), index, side))
        });
        let (judged, index, side) = sides.max_by_key(|(len, _, _)| *len).unwrap_or((0, 0, Side::Client));
        let memory = Self { held, message: judged.saturating_add(CHUNKS_LEN) };
        let room = VM_LEN_MAX.saturating_sub(OTHERS_LEN);
        if memory.total() <= room {
            return memory;
        }
        let (index, key) = if held >= judged {
            let is_largest = |policy: &Policy| policy.limits.held_len_max == held_len_max;
            (policies.all().position(is_largest).unwrap_or_default(), "limits.held_bytes")
        } else {
            let key = match side {
                Side::Client => "messages.from_client.max_message_bytes",
                Side::Server => "messages.from_server.max_message_bytes",
            };
            (index, key)
        };
        let mib = |len: u64| len.div_ceil(MIB);
        let problem = format!(
            "a worker would need {} MiB to hold messages and {} MiB to judge the longest, and has {} MiB for both",
            mib(memory.held),
            mib(memory.message),
            mib(room)
        );
        let at = index.checked_sub(1).map(|route| format!("routes[{route}].policy")).unwrap_or_default();
        found.within(&at, |found| found.fault(key, &problem));
        memory
    }
}

const MIB: u64 = 1_048_576;

/// What one message of a side takes while it is judged and goes on, in bytes. No more of it can be there than may be held.
fn message_len(policy: &Policy, side: Side, held_len_max: u64) -> u64 {
    let SideRules { rules, content } = policy.messages.of(side);
    let len = rules.message_len_max.min(held_len_max);
    let judged = if content.read_text() { len.saturating_mul(JUDGED_FACTOR) } else { 0 };
    let headers = HEADER_LEN.saturating_mul(rules.fragments_max.into());
    let forwarded =
        if rules.whole { len.saturating_add(headers).min(held_len_max).saturating_mul(FORWARDED_FACTOR) } else { 0 };
    judged.max(forwarded)
}
