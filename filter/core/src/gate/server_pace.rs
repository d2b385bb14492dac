//! How fast a server speaks: whether its client's direction may be kept so that frames of our own can be written to it.
//!
//! A host that is kept ready for that appends what comes to a buffer of its own first, and resets the stream where that is beyond its limit. Within the
//! shipped limits no chunk is that long; within Envoy's own, the first one of a fast server's flood most often is. And being ready costs some
//! percent of a small message. So a direction is kept ready while little comes; where the buffers are halved only the second reason counts, and
//! it is left alone while many chunks come that the client does not answer.

use crate::limits::HeldBytes;
use crate::policy::{BufferLimits, Policy};
use crate::time::Moment;

/// How many bytes may come within a second: a few messages of 64 KiB (the default limit of clients), and an eighth of Envoy's default buffer
/// limit, so that the client cannot have fallen behind by a whole one.
const STREAM_LEN: usize = 131_072;

/// How many chunks may come within a second: beyond people who type and programs that report, and few enough that at thousands of messages a
/// second being ready costs nothing that can be measured.
const CHUNK_COUNT_MAX: u32 = 128;

/// How many chunks come in a row before a client is taken for one that only listens: an answer may be some chunks long.
const LISTEN_COUNT: u32 = 8;

/// The longest chunk that may be kept for a turn of the event loop, in bytes: it is copied, and Envoy reads in slices of 16 KiB, so a longer one
/// means that more is to come.
const SHORT_LEN_MAX: usize = 16_384;

/// The longest where the buffers are halved: what is written in a turn goes into the host's buffer at once, as does the next chunk with it.
const KEPT_LEN_MAX: usize = 131_072;

/// What no chunk exceeds within the shipped limits, in bytes: the cluster's 131,072, and what Envoy reads at once behind that. Where the
/// policy says that the limits are halved they may be any.
const CHUNK_LEN_MAX: usize = 262_144;

/// One server's.
#[derive(Debug)]
pub struct ServerPace {
    /// The second in which the last chunk came, how much has come since it began, and whether too much came in the one before.
    second: u64,
    chunk_count: u32,
    len: usize,
    was_fast: bool,
    /// How many chunks have come since the client spoke.
    heard_count: u32,
    buffer_limits: BufferLimits,
    /// How much the connections of the worker may hold.
    held_len_max: u64,
    /// A chunk came that the shipped limits rule out: one that is too long for the host's buffer may follow.
    is_wide: bool,
}

impl ServerPace {
    /// Of a server that has not spoken.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            second: 0,
            chunk_count: 0,
            len: 0,
            was_fast: false,
            heard_count: 0,
            buffer_limits: BufferLimits::Default,
            held_len_max: 0,
            is_wide: false,
        }
    }

    /// The client sent something.
    #[inline]
    pub const fn answer(&mut self) {
        self.heard_count = 0;
    }

    /// The server sent `len` bytes.
    #[inline]
    pub fn receive(&mut self, len: usize, policy: &Policy, now: Moment) {
        let (second, buffer_limits) = (now.as_nanos() / 1_000_000_000, policy.buffer_limits);
        (self.buffer_limits, self.held_len_max) = (buffer_limits, policy.limits.held_len_max);
        if self.second != second {
            self.was_fast = self.is_fast() && second.wrapping_sub(self.second) == 1;
            (self.second, self.chunk_count, self.len) = (second, 0, 0);
        }
        self.chunk_count = self.chunk_count.saturating_add(1);
        self.len = self.len.saturating_add(len);
        self.heard_count = self.heard_count.saturating_add(1);
        self.is_wide |= len > CHUNK_LEN_MAX && buffer_limits == BufferLimits::Default;
    }

    /// Whether the direction may stay ready.
    #[must_use]
    #[inline]
    pub const fn is_calm(&self) -> bool {
        !self.is_wide && !self.is_fast()
    }

    /// Whether it may become ready.
    #[must_use]
    #[inline]
    pub const fn has_calmed(&self) -> bool {
        self.is_calm() && !self.was_fast
    }

    /// Whether the last `len` bytes may be kept for a turn of the event loop, behind which it is ready; `is_between_frames` behind them, and
    /// `held` is what all connections keep.
    #[must_use]
    pub fn may_keep(&self, len: usize, is_between_frames: bool, held: &HeldBytes) -> bool {
        let is_worth = match self.buffer_limits {
            BufferLimits::Default => len <= SHORT_LEN_MAX && is_between_frames,
            BufferLimits::Halved => len <= KEPT_LEN_MAX,
        };
        is_worth && held.has_room(len, self.held_len_max)
    }

    #[inline]
    const fn is_fast(&self) -> bool {
        let is_many = self.chunk_count > CHUNK_COUNT_MAX;
        match self.buffer_limits {
            BufferLimits::Default => is_many || self.len > STREAM_LEN,
            BufferLimits::Halved => is_many && self.heard_count < LISTEN_COUNT,
        }
    }
}

impl Default for ServerPace {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::config;

    const NOW: Moment = Moment::from_nanos(7_000_000_000);

    fn policy(buffer_limits: &str) -> Policy {
        let policy = format!("{{\"auth\": {{\"required\": false}}, \"buffer_limits\": \"{buffer_limits}\"}}");
        config::parse(policy.as_bytes(), &|_| None).unwrap().policies.base().as_ref().clone()
    }

    /// After so many chunks of this length within a second, each answered or not.
    fn after(buffer_limits: &str, count: u32, len: usize, is_answered: bool) -> ServerPace {
        let (mut pace, policy) = (ServerPace::new(), policy(buffer_limits));
        for _ in 0..count {
            if is_answered {
                pace.answer();
            }
            pace.receive(len, &policy, NOW);
        }
        pace
    }

    #[test]
    fn a_direction_stays_ready_while_little_comes() {
        for (buffer_limits, count, len, is_answered, expected) in [
            ("default", 128, 1_024, false, true),
            ("default", 129, 1, true, false),
            ("default", 2, 65_536, false, true),
            ("default", 3, 65_536, false, false),
            ("halved", 100, 65_536, false, true),
            ("halved", 129, 1, true, false),
            // A client that only listens.
            ("halved", 129, 1, false, true),
        ] {
            let pace = after(buffer_limits, count, len, is_answered);
            assert_eq!(pace.is_calm(), expected, "{buffer_limits} {count} {len}");
        }
    }

    #[test]
    fn it_becomes_ready_again_a_calm_second_later() {
        let (mut pace, policy) = (after("default", 129, 1, false), policy("default"));
        pace.receive(1, &policy, NOW.saturating_add(Duration::from_secs(1)));
        assert!(pace.is_calm() && !pace.has_calmed());
        pace.receive(1, &policy, NOW.saturating_add(Duration::from_secs(2)));
        assert!(pace.has_calmed());
    }

    #[test]
    fn a_chunk_that_the_shipped_limits_rule_out_ends_it_for_good() {
        for (buffer_limits, expected) in [("default", false), ("halved", true)] {
            let (mut pace, policy) = (after(buffer_limits, 1, 262_145, false), policy(buffer_limits));
            pace.receive(1, &policy, NOW.saturating_add(Duration::from_secs(9)));
            assert_eq!(pace.is_calm(), expected);
        }
    }

    #[test]
    fn short_chunks_at_the_end_of_a_frame_may_be_kept() {
        let held = HeldBytes::default();
        for (buffer_limits, len, is_between_frames, expected) in [
            ("default", 16_384, true, true),
            ("default", 16_385, true, false),
            ("default", 1, false, false),
            ("halved", 100_000, false, true),
            ("halved", 131_072, false, true),
            ("halved", 131_073, true, false),
        ] {
            let pace = after(buffer_limits, 1, 1, false);
            assert_eq!(pace.may_keep(len, is_between_frames, &held), expected, "{buffer_limits} {len}");
        }
    }
}
