//! How long things take: silence, messages that do not end, the age of a connection (RFC 6455 §5.5.2, §7.4.1, §10.4).
//!
//! ```text
//! client silent ── ping_interval ──▶ our Ping ── ping_interval ──▶ our Ping ──▶ …
//!                                       └── pong_timeout, not a byte, and nothing shows that it reads ──▶ dead
//! no message either way ── idle_timeout ──▶ idle      a message begun ── message_timeout ──▶ too_slow
//! opened ── max_lifetime ──▶ lifetime
//! ```
//!
//! Whatever a client sends is a sign of life. Its Pongs to pings of ours go no further; the peers' own pings and pongs pass.

use core::time::Duration;

use crate::time::Moment;
use crate::violation::Violation;

/// The times of a policy; `None` is no end.
#[derive(Clone, Copy, Debug)]
pub struct LivenessRules {
    /// How long a client may be silent before it gets a ping of ours.
    pub ping_interval: Option<Duration>,
    /// How long it may be silent after that.
    pub pong_timeout: Duration,
    /// How long a connection may go without a message either way.
    pub idle_timeout: Option<Duration>,
    /// How long a client's message may take from its first byte to its last.
    pub message_timeout: Option<Duration>,
    /// How old a connection may become.
    pub lifetime_max: Option<Duration>,
    /// The share of an interval and a lifetime by which connections differ, in thousandths.
    pub jitter_permille: u32,
}

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
pub(crate) const PING_LEN: usize = 8;

/// The times of one connection.
#[derive(Debug)]
pub(crate) struct Liveness {
    nonce: [u8; PING_LEN],
    opened_at: Moment,
    /// The last bytes of each side.
    client_at: Moment,
    server_at: Moment,
    /// What has come from the server since the client's.
    unanswered_len: u64,
    /// The last chunk of the server that had been waiting for the client.
    awaited_at: Moment,
    /// The last Ping of ours.
    pinged_at: Moment,
    /// The first one that the client has sent nothing since.
    asked_at: Option<Moment>,
    /// One that is due.
    wanted: Option<Wanted>,
    /// How many answers to pings of ours have not come.
    unanswered: u32,
    overlooked: Times,
}

/// What has passed, only monitored, by the time that it began at: it is counted once.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    dead: Option<Moment>,
    idle: Option<Moment>,
    lifetime: Option<Moment>,
    too_slow: Option<Moment>,
}

/// A Ping that is due, while the way to the client is not free.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    since: Moment,
    tried_at: Moment,
}

/// What of a connection its liveness depends on.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    /// The last part of a message, either way.
    pub(crate) message_at: Moment,
    /// When the client began with what it has not finished.
    pub(crate) unfinished_since: Option<Moment>,
    /// Whether what the client has been sent ends with a frame.
    pub(crate) is_between_frames: bool,
}

/// What a look at the clock leads to.
pub(crate) enum Step {
    Nothing,
    WantPing,
    Refuse(Violation),
}

impl Liveness {
    pub(crate) fn new(opened_at: Moment, nonce: [u8; PING_LEN]) -> Self {
        let (client_at, server_at) = (opened_at, opened_at);
        Self {
            nonce,
            opened_at,
            client_at,
            server_at,
            unanswered_len: 0,
            awaited_at: opened_at,
            pinged_at: opened_at,
            asked_at: None,
            wanted: None,
            unanswered: 0,
            overlooked: Times::default(),
        }
    }

    /// A violation passes, only monitored: it is not found again, until it begins anew.
    pub(crate) fn overlook(&mut self, violation: Violation, traffic: &Traffic) {
        let Times { dead, idle, lifetime, too_slow } = &mut self.overlooked;
        for (of, time, began_at) in [
            (Violation::Dead, dead, Some(self.client_at)),
            (Violation::Idle, idle, Some(traffic.message_at)),
            (Violation::Lifetime, lifetime, Some(self.opened_at)),
            (Violation::TooSlow, too_slow, traffic.unfinished_since),
        ] {
            if of == violation {
                *time = began_at;
            }
        }
    }

    /// What was let pass counts anew, under another policy.
    pub(crate) fn forget_overlooked(&mut self) {
        self.overlooked = Times::default();
    }

    /// Bytes came, with `pong_count` answers to pings of ours among them.
    pub(crate) fn receive_from_client(&mut self, now: Moment, pong_count: u32) {
        self.client_at = self.client_at.max(now);
        self.unanswered_len = 0;
        (self.asked_at, self.wanted) = (None, None);
        self.unanswered = self.unanswered.saturating_sub(pong_count);
    }

    /// A chunk of so many bytes came.
    pub(crate) fn receive_from_server(&mut self, now: Moment, len: usize) {
        self.server_at = self.server_at.max(now);
        self.unanswered_len = self.unanswered_len.saturating_add(len as u64);
        if len > AWAITED_LEN {
            self.awaited_at = self.server_at;
        }
    }

    /// Whether the silence that there is has not passed yet.
    fn is_dead_news(&self) -> bool {
        self.overlooked.dead != Some(self.client_at)
    }

    /// When the client is dead, where a Ping of ours went out to it: however many followed, it is the first that it has to answer.
    fn dead_at(&self, rules: &LivenessRules) -> Option<Moment> {
        let asked_at = self.asked_at?;
        let reads_at = self.awaited_at.min(asked_at.saturating_add(SLOW_MAX));
        self.is_dead_news().then(|| asked_at.max(reads_at).saturating_add(rules.pong_timeout))
    }

    /// When the client is dead, where a Ping is ready and cannot be written: if its way stands in the middle of a frame, behind more than
    /// the buffers take, and nothing moves on it, it takes nothing. Where a frame has ended the client may well be there, and nobody asks
    /// it anything.
    fn stalled_at(&self, rules: &LivenessRules, traffic: &Traffic) -> Option<Moment> {
        let Wanted { since, .. } = self.wanted?;
        let may_be_stalled = self.is_dead_news() && !traffic.is_between_frames && self.unanswered_len >= STALL_LEN;
        may_be_stalled.then(|| since.max(self.server_at).saturating_add(rules.pong_timeout))
    }

    /// When the next Ping is to be written, or tried again.
    fn ping_at(&self, rules: &LivenessRules) -> Option<Moment> {
        match self.wanted {
            Some(Wanted { tried_at, .. }) => Some(tried_at.saturating_add(RETRY)),
            None => {
                let silent_since = self.client_at.max(self.pinged_at);
                rules.ping_interval.map(|span| silent_since.saturating_add(self.jittered(span, rules)))
            }
        }
    }

    /// What an answer to a ping of ours carries.
    pub(crate) const fn pong(&self) -> &[u8; PING_LEN] {
        &self.nonce
    }

    /// How many answers are expected.
    pub(crate) const fn pongs_due(&self) -> u32 {
        self.unanswered
    }

    /// The Ping that is wanted (RFC 6455 §5.5.2), not masked: it is for the client.
    #[inline]
    pub(crate) fn ping(&self) -> Option<Vec<u8>> {
        self.wanted.is_some().then(|| [&[0x89, 0x08][..], &self.nonce].concat())
    }

    /// It went out.
    pub(crate) const fn sent(&mut self, now: Moment) {
        (self.pinged_at, self.wanted) = (now, None);
        if self.asked_at.is_none() {
            self.asked_at = Some(now);
        }
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// When the connection has been there, nothing been said on it, and a message taken, for too long.
    fn ends(&self, rules: &LivenessRules, traffic: &Traffic) -> [(Violation, Option<Moment>); 3] {
        let end = |since: Option<Moment>, span: Option<Duration>, overlooked: Option<Moment>| {
            let since = since.filter(|_| since != overlooked);
            since.zip(span).map(|(since, span)| since.saturating_add(span))
        };
        let Times { idle, lifetime, too_slow, .. } = self.overlooked;
        let lifetime_max = rules.lifetime_max.map(|span| self.jittered(span, rules));
        [
            (Violation::Lifetime, end(Some(self.opened_at), lifetime_max, lifetime)),
            (Violation::Idle, end(Some(traffic.message_at), rules.idle_timeout, idle)),
            (Violation::TooSlow, end(traffic.unfinished_since, rules.message_timeout, too_slow)),
        ]
    }

    /// When the clock has to be looked at next.
    pub(crate) fn deadline(&self, rules: &LivenessRules, traffic: &Traffic) -> Option<Moment> {
        let [dead, stalled, ping] = [self.dead_at(rules), self.stalled_at(rules, traffic), self.ping_at(rules)];
        let ends = self.ends(rules, traffic).map(|(_, at)| at);
        ends.into_iter().chain([dead, stalled, ping]).flatten().min()
    }

    /// Looks at the clock.
    pub(crate) fn tick(&mut self, rules: &LivenessRules, traffic: &Traffic, now: Moment) -> Step {
        let ends = self.ends(rules, traffic);
        if let Some((violation, _)) = ends.iter().find(|(_, at)| at.is_some_and(|at| now >= at)) {
            return Step::Refuse(*violation);
        }
        let has_come = |at: Option<Moment>| at.is_some_and(|at| now >= at);
        if has_come(self.dead_at(rules)) || has_come(self.stalled_at(rules, traffic)) {
            return Step::Refuse(Violation::Dead);
        }
        if has_come(self.ping_at(rules)) {
            let since = self.wanted.map_or(now, |wanted| wanted.since);
            self.wanted = Some(Wanted { since, tried_at: now });
            return Step::WantPing;
        }
        Step::Nothing
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
