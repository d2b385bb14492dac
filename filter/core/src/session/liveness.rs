//! How long things take: silence, messages that do not end, the age of a connection (RFC 6455 §5.5.2, §7.4.1, §10.4).
//!
//! ```text
//! client silent ── ping_interval ──▶ our Ping ── pong_timeout, not a byte, and nothing shows that it reads ──▶ dead
//! no message either way ── idle_timeout ──▶ idle      a message begun ── message_timeout ──▶ too_slow
//! opened ── max_lifetime ──▶ lifetime
//! ```
//!
//! Whatever a client sends is a sign of life. Its Pongs to pings of ours go no further; the peers' own pings and pongs pass.

use core::time::Duration;

use crate::policy::LivenessRules;
use crate::time::Moment;
use crate::violation::Violation;

/// How often a Ping is tried again that could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// What has come from the server, in bytes, since the client was last heard of, where the client may be what stops the server: the
/// kernels on the way to it take as much in any case.
const STALL_LEN: u64 = 131_072;

/// A chunk of the server that shows that it had been waiting, in bytes: a client that reads slowly makes room in the proxy, and the
/// proxy then takes in at once what it may. A client that has stopped makes none. No message that is sent alone is so long by default.
const AWAITED_LEN: usize = 65_536;

/// For how long that shows it after a Ping: all buffers on the way, some megabytes, are read within it at 100 KB/s. A server that
/// sends by fits and starts looks the same, until they are full.
const SLOW_MAX: Duration = Duration::from_secs(60);

/// What our pings carry: nobody can guess it, so nothing else is taken for an answer to them.
pub(super) const PING_LEN: usize = 8;

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Liveness {
    nonce: [u8; PING_LEN],
    opened_at: Moment,
    /// The last bytes of each side.
    client_at: Moment,
    server_at: Moment,
    /// What has come from the server since the client's.
    unanswered_len: u64,
    /// The last chunk of the server that had been waiting for the client.
    awaited_at: Moment,
    ping: Ping,
    /// Pings of ours that have not been answered.
    unanswered: u8,
}

#[derive(Clone, Copy, Debug)]
enum Ping {
    /// None is wanted.
    Idle,
    /// One is wanted since then, and the way to the client was not free.
    Wanted { since: Moment, tried_at: Moment },
    /// The client has sent nothing since it was sent.
    Sent(Moment),
}

/// What of a connection its liveness depends on.
#[derive(Clone, Copy)]
pub(super) struct Traffic {
    /// The last part of a message, either way.
    pub(super) message_at: Moment,
    /// When the client began with what it has not finished.
    pub(super) unfinished_since: Option<Moment>,
    /// Whether what the client has been sent ends with a frame.
    pub(super) is_between_frames: bool,
}

/// What a look at the clock leads to.
pub(super) enum Step {
    Nothing,
    WantPing,
    Refuse(Violation),
}

impl Liveness {
    pub(super) const fn new(opened_at: Moment, nonce: [u8; PING_LEN]) -> Self {
        let (client_at, server_at) = (opened_at, opened_at);
        Self {
            nonce,
            opened_at,
            client_at,
            server_at,
            unanswered_len: 0,
            awaited_at: opened_at,
            ping: Ping::Idle,
            unanswered: 0,
        }
    }

    /// Bytes came, with `pong_count` answers to pings of ours among them.
    pub(super) fn receive_from_client(&mut self, now: Moment, pong_count: u8) {
        self.client_at = self.client_at.max(now);
        self.unanswered_len = 0;
        self.ping = Ping::Idle;
        self.unanswered = self.unanswered.saturating_sub(pong_count);
    }

    /// A chunk of so many bytes came.
    pub(super) fn receive_from_server(&mut self, now: Moment, len: usize) {
        self.server_at = self.server_at.max(now);
        self.unanswered_len = self.unanswered_len.saturating_add(len as u64);
        if len > AWAITED_LEN {
            self.awaited_at = self.server_at;
        }
    }

    /// When a client is dead that our Ping went out to at `sent_at`.
    fn dead_at(&self, sent_at: Moment, rules: &LivenessRules) -> Moment {
        let reads_at = self.awaited_at.min(sent_at.saturating_add(SLOW_MAX));
        sent_at.max(reads_at).saturating_add(rules.pong_timeout)
    }

    /// When a client is dead that a Ping has been ready for since then, and could not be written: if its way stands in the middle of a
    /// frame, behind more than the buffers take, and nothing moves on it, it takes nothing. Where a frame has ended the client may well
    /// be there, and nobody asks it anything.
    fn stalled_at(&self, since: Moment, rules: &LivenessRules, traffic: &Traffic) -> Option<Moment> {
        let may_be_stalled = !traffic.is_between_frames && self.unanswered_len >= STALL_LEN;
        may_be_stalled.then(|| since.max(self.server_at).saturating_add(rules.pong_timeout))
    }

    /// What an answer to a ping of ours carries.
    pub(super) const fn pong(&self) -> &[u8; PING_LEN] {
        &self.nonce
    }

    /// How many answers are expected.
    pub(super) const fn pongs_due(&self) -> u8 {
        self.unanswered
    }

    /// The Ping that is wanted (RFC 6455 §5.5.2), not masked: it is for the client.
    pub(super) fn ping(&self) -> Option<Vec<u8>> {
        matches!(self.ping, Ping::Wanted { .. }).then(|| [&[0x89, 0x08][..], &self.nonce].concat())
    }

    /// It went out.
    pub(super) const fn sent(&mut self, now: Moment) {
        self.ping = Ping::Sent(now);
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// When the clock has to be looked at next.
    pub(super) fn deadline(&self, rules: &LivenessRules, traffic: &Traffic) -> Option<Moment> {
        let lifetime = rules.lifetime_max.map(|span| self.opened_at.saturating_add(self.jittered(span, rules)));
        let idle = rules.idle_timeout.map(|span| traffic.message_at.saturating_add(span));
        let message =
            rules.message_timeout.zip(traffic.unfinished_since).map(|(span, since)| since.saturating_add(span));
        let ping = match self.ping {
            Ping::Idle => rules.ping_interval.map(|span| self.client_at.saturating_add(self.jittered(span, rules))),
            Ping::Wanted { since, tried_at } => {
                let retry_at = tried_at.saturating_add(RETRY);
                Some(self.stalled_at(since, rules, traffic).map_or(retry_at, |dead_at| retry_at.min(dead_at)))
            }
            Ping::Sent(at) => Some(self.dead_at(at, rules)),
        };
        [lifetime, idle, message, ping].into_iter().flatten().min()
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, rules: &LivenessRules, traffic: &Traffic, now: Moment) -> Step {
        let is_over =
            |since: Moment, span: Option<Duration>| span.is_some_and(|span| now >= since.saturating_add(span));
        if is_over(self.opened_at, rules.lifetime_max.map(|span| self.jittered(span, rules))) {
            return Step::Refuse(Violation::Lifetime);
        }
        if is_over(traffic.message_at, rules.idle_timeout) {
            return Step::Refuse(Violation::Idle);
        }
        if traffic.unfinished_since.is_some_and(|since| is_over(since, rules.message_timeout)) {
            return Step::Refuse(Violation::TooSlow);
        }
        match self.ping {
            Ping::Sent(at) if now >= self.dead_at(at, rules) => Step::Refuse(Violation::Dead),
            Ping::Idle if is_over(self.client_at, rules.ping_interval.map(|span| self.jittered(span, rules))) => {
                self.ping = Ping::Wanted { since: now, tried_at: now };
                Step::WantPing
            }
            Ping::Wanted { since, .. } if self.stalled_at(since, rules, traffic).is_some_and(|at| now >= at) => {
                Step::Refuse(Violation::Dead)
            }
            Ping::Wanted { since, tried_at } if is_over(tried_at, Some(RETRY)) => {
                self.ping = Ping::Wanted { since, tried_at: now };
                Step::WantPing
            }
            Ping::Idle | Ping::Wanted { .. } | Ping::Sent(_) => Step::Nothing,
        }
    }

    /// A span that differs from connection to connection, so that those which came together are not pinged and closed together.
    fn jittered(&self, span: Duration, rules: &LivenessRules) -> Duration {
        let [a, b, ..] = self.nonce;
        // From nearly -1 to nearly 1, in 65,536ths.
        let share = i64::from(u16::from_be_bytes([a, b])).saturating_mul(2).saturating_sub(65_535);
        let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        let most = (nanos / 1_000).saturating_mul(rules.jitter_permille.into());
        let nanos = nanos.saturating_add((most / 65_536).saturating_mul(share));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
