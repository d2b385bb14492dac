//! Everything at once, for as long as `PORTCULLIS_SOAK_SECONDS` says: honest clients, others that come and go, attackers, reloads, a VM that is
//! killed now and then, and a rate limit service that comes and goes. Nothing that an honest client says is lost, Envoy does not grow, and
//! every end is accounted for.
//!
//! ```text
//! honest     says a numbered text, waits for its echo, again and again; ends only with its VM
//! passer-by  opens, says one text, closes with 1000
//! attacker   breaks one rule after the other, each from an address of its own, and gets the answer of that rule
//! operator   reloads a policy with another limit, traps a VM, stops the rate limit service and starts it again
//! ```

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::Draft;
use portcullis_envoy::peer::websocket::{Event, Verdict, WebSocket};
use portcullis_envoy::{FailurePolicy, Runner, Update};
use serde_json::{Value, json};

use crate::gate::{Gate, PATIENCE, test_module, wait};
use crate::ratelimit::{DOMAIN, RateLimitServer, limit};
use crate::tokens::{self, Token};

/// Those of each kind.
const HONEST: u64 = 16;
const PASSERS_BY: u64 = 2;
const ATTACKERS: u64 = 2;

/// How long one of them rests between two things that it does.
const PACE: Duration = Duration::from_millis(100);

/// How long the operator rests. Every fifth time a VM is trapped, and what that leaves is over long before the next one.
const TURN: Duration = Duration::from_secs(4);

/// How long after a trap what begins then may still fail for it: its VM is loaded again, on a machine that compiles meanwhile.
const AFTERMATH: Duration = Duration::from_secs(4);

/// What Envoy may grow by, in bytes, from the second fifth of the time to the last.
const GROWTH_MAX: u64 = 24 << 20;

#[test]
fn nothing_is_lost_and_nothing_grows() {
    let seconds = env::var("PORTCULLIS_SOAK_SECONDS").map_or(30, |text| text.parse().expect("seconds"));
    let mut service = start_service(0);
    let port = service.address().port();
    let soak = Soak::start(&service);
    let (begin, mut weights, mut turn) = (Instant::now(), Vec::new(), 0);
    thread::scope(|scope| {
        // Also where this thread fails: the others would never end.
        let over = Over(&soak.is_over);
        let mut clients: Vec<_> = (0..HONEST).map(|_| scope.spawn(|| soak.repeat(|_| soak.stay()))).collect();
        clients.extend((0..PASSERS_BY).map(|_| scope.spawn(|| soak.repeat(|_| soak.pass_by()))));
        clients.extend((0..ATTACKERS).map(|_| scope.spawn(|| soak.repeat(|number| soak.attack(number)))));
        while begin.elapsed() < Duration::from_secs(seconds) && clients.iter().all(|client| !client.is_finished()) {
            thread::sleep(TURN);
            turn += 1;
            match turn % 5 {
                1 | 3 => assert_eq!(soak.gate.update(policy(turn)), Update::Accepted),
                2 => service.stop(),
                4 => service = start_service(port),
                _ => soak.trap(),
            }
            weights.push(soak.weight());
        }
        drop(over);
        clients.into_iter().for_each(|client| client.join().expect("no client is surprised"));
    });
    soak.check_ends();
    let fifth = weights.len() / 5;
    let [early, late] = [&weights[fifth..2 * fifth.max(1)], &weights[weights.len() - fifth.max(1)..]].map(median);
    println!("{turn} turns, Envoy at first {}, then {early}, at last {late} bytes", weights[0]);
    assert!(late < early + GROWTH_MAX, "{weights:?}");
}

/// Ends the run when it is dropped.
struct Over<'run>(&'run AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

struct Soak {
    gate: Gate,
    is_over: AtomicBool,
    tally: Mutex<Tally>,
    /// Of clients: each has an address of its own.
    number: AtomicU64,
}

/// What clients have seen.
#[derive(Debug, Default)]
struct Tally {
    /// Texts that came back.
    echoed: u64,
    /// Connections that were opened.
    opened: u64,
    /// Those of them that ended with their VM.
    cut: u64,
    /// Handshakes without an answer of the filter, just after a trap.
    unanswered: u64,
    /// Answers to attacks, by their reason.
    refused: BTreeMap<&'static str, u64>,
    traps: u64,
    trapped: Option<Instant>,
}

/// The number-th policy: every other one allows more.
fn policy(number: u64) -> Value {
    json!({
        "revision": number.to_string(),
        "require_tls": false,
        "origin": {"missing": "allow", "allow": ["https://app.example.com"]},
        "auth": tokens::auth(),
        "messages": {"from_client": {
            "max_message_bytes": if number % 4 == 1 { 4_096 } else { 8_192 },
            "json": {}, "rule_sets": ["sql_injection"],
        }},
        "limits": {
            "per_connection": {"messages": {"per_second": 50, "burst": 50}},
            "global": {"cluster": "ratelimit", "domain": DOMAIN, "timeout": "250ms", "on_error": "allow"},
        },
        "liveness": {"ping_interval": "30s", "idle_timeout": "60s", "message_timeout": "5s"},
    })
}

fn start_service(port: u16) -> RateLimitServer {
    RateLimitServer::start_at(port, [limit(1_000_000_000, &["remote_address != ''"], &[])])
}

fn token() -> Token {
    Token::new(Algorithm::HS256).claim("exp", 4_102_444_800_u64)
}

impl Soak {
    fn start(service: &RateLimitServer) -> Self {
        let gate = Gate::launch(policy(0), Mode::Echo, |launch| {
            let launch = launch.module(test_module()).concurrency(2).failure_policy(FailurePolicy::FailReload);
            // What it weighs is read from the process.
            launch.trusted_hops(1).rate_limit_service(service.address()).backend(Runner::Process)
        });
        Self { gate, is_over: AtomicBool::new(false), tally: Mutex::default(), number: AtomicU64::new(0) }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    fn repeat(&self, act: impl Fn(usize)) {
        for number in 0.. {
            if self.is_over() {
                return;
            }
            act(number);
            thread::sleep(PACE);
        }
    }

    /// A request of somebody new, with a good token.
    fn upgrade(&self) -> Upgrade {
        let number = self.number.fetch_add(1, SeqCst);
        let [.., high, middle, low] = number.to_be_bytes();
        Upgrade::to("/")
            .header("X-Forwarded-For", format!("10.{high}.{middle}.{low}"))
            .header("Authorization", format!("Bearer {}", token().claim("sub", number.to_string()).sign()))
    }

    /// `None` where a trap is to blame.
    fn open(&self) -> Option<WebSocket> {
        let begin = Instant::now();
        let answer = self.gate.client.ask(&self.upgrade());
        match answer {
            Ok(answer) if answer.has_right_accept() => {
                self.tally().opened += 1;
                Some(answer.into_websocket())
            }
            other => {
                self.blame(begin, "a handshake", &other.map(|answer| (answer.status(), answer.text())));
                self.tally().unanswered += 1;
                None
            }
        }
    }

    /// A trap just before what began then, or since, is the reason; else this should not have been.
    #[track_caller]
    fn blame(&self, begin: Instant, who: &str, what: &dyn Debug) {
        let trapped = self.tally().trapped;
        let is_reason = trapped.is_some_and(|trapped| trapped + AFTERMATH > begin);
        assert!(
            is_reason,
            "{who}, after {:?}: {what:?}; last trap {:?}",
            begin.elapsed(),
            trapped.map(|at| at.elapsed())
        );
    }

    #[track_caller]
    fn cut(&self, begin: Instant, who: &str, what: &dyn Debug) {
        self.blame(begin, who, what);
        self.tally().cut += 1;
    }

    /// Says a text and hears it again, or is cut.
    fn say(&self, websocket: &mut WebSocket, text: &str) -> bool {
        let begin = Instant::now();
        match websocket.exchange(text, PATIENCE) {
            Ok(Event::Frame(frame)) if frame.payload == text.as_bytes() => {
                self.tally().echoed += 1;
                true
            }
            other => {
                self.cut(begin, "who says something", &other);
                false
            }
        }
    }

    fn leave(&self, mut websocket: WebSocket) {
        let begin = Instant::now();
        let sent = websocket.send_frame(Draft::close(1_000, ""));
        match websocket.verdict(PATIENCE) {
            Verdict::Close(Some(1_000), reason) if reason.is_empty() => {}
            other => self.cut(begin, "who leaves", &(sent, other)),
        }
    }

    /// An honest client.
    fn stay(&self) {
        let Some(mut websocket) = self.open() else { return };
        for number in 0_u64.. {
            if self.is_over() {
                return self.leave(websocket);
            }
            if !self.say(&mut websocket, &format!("{{\"number\": {number}}}")) {
                return;
            }
            thread::sleep(PACE);
        }
    }

    fn pass_by(&self) {
        let Some(mut websocket) = self.open() else { return };
        if self.say(&mut websocket, r#"{"hello": "world"}"#) {
            self.leave(websocket);
        }
    }

    fn attack(&self, number: usize) {
        let begin = Instant::now();
        if number.is_multiple_of(2) {
            let (reason, code, bytes) = &attacks()[number / 2 % attacks().len()];
            let Some(mut websocket) = self.open() else { return };
            let sent = websocket.send(bytes);
            match websocket.rest(PATIENCE).1 {
                Verdict::Close(Some(found), text) if found == *code && text == *reason => self.refused(reason),
                other => self.cut(begin, reason, &(sent, other)),
            }
        } else {
            let (reason, status, change) = REQUESTS[number / 2 % REQUESTS.len()];
            match self.gate.client.ask(&change(self.upgrade())) {
                Ok(answer) if answer.status() == status && answer.text().contains(reason) => self.refused(reason),
                other => {
                    self.blame(begin, reason, &other.map(|answer| (answer.status(), answer.text())));
                    self.tally().unanswered += 1;
                }
            }
        }
    }

    fn refused(&self, reason: &'static str) {
        *self.tally().refused.entry(reason).or_default() += 1;
    }

    /// Kills the VM of whichever worker takes this connection.
    fn trap(&self) {
        let Some(mut websocket) = self.open() else { return };
        {
            let mut tally = self.tally();
            tally.traps += 1;
            tally.trapped = Some(Instant::now());
        }
        let sent = websocket.send(&Draft::text("portcullis: trap").mask_key([0; 4]).bytes());
        match websocket.rest(PATIENCE).1 {
            Verdict::Eof | Verdict::Reset => self.tally().cut += 1,
            other => panic!("no trap: {sent:?}, {other:?}"),
        }
    }

    /// What Envoy has counted is what clients have seen, but for those under way when a VM was killed.
    #[track_caller]
    fn check_ends(&self) {
        let active = || self.gate.envoy.counter("http.edge.downstream_cx_active").expect("Envoy answers");
        assert!(wait(|| (active() == 0).then_some(())).is_some(), "connections stay");
        // Those of a VM that is gone are taken off by another.
        let gauge = || self.gate.envoy.counter("wasmcustom.portcullis.connections.active").expect("Envoy answers");
        assert!(wait(|| (gauge() == 0).then_some(())).is_some(), "{} are counted and gone", gauge());
        let stats = self.gate.envoy.stats().expect("Envoy answers");
        let counted = |name: &str| stats.get(&format!("wasmcustom.portcullis.{name}")).copied().unwrap_or_default();
        let closed = stats.iter().filter(|(name, _)| name.starts_with("wasmcustom.portcullis.connections.closed."));
        let (accepted, closed) = (counted("handshakes.accepted"), closed.map(|(_, count)| count).sum::<u64>());
        let tally = self.tally();
        println!("{tally:?}\nEnvoy: {accepted} accepted, {closed} closed");
        let slack = tally.traps * (PASSERS_BY + ATTACKERS);
        assert!((tally.opened..=tally.opened + tally.unanswered).contains(&accepted), "accepted {accepted}: {tally:?}");
        // A VM that is gone tells no ends.
        assert!(accepted - closed <= tally.cut + tally.unanswered + slack, "closed {closed} of {accepted}: {tally:?}");
        for (reason, seen) in &tally.refused {
            let refused = counted(&format!("refused.{reason}"));
            assert!(refused.abs_diff(*seen) <= slack, "{reason}: {refused} refused, {seen} seen");
        }
        assert_eq!(tally.refused.len(), attacks().len() + REQUESTS.len(), "{tally:?}");
        assert!(tally.traps > 0 && tally.echoed > HONEST, "{tally:?}");
    }

    /// RSS of Envoy, in bytes.
    fn weight(&self) -> u64 {
        let pid = self.gate.envoy.pid().expect("a process");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has it");
        line.trim_end_matches("kB").trim().parse::<u64>().expect("a number of KiB") << 10
    }
}

fn median(weights: &[u64]) -> u64 {
    let mut weights = weights.to_vec();
    weights.sort_unstable();
    weights[weights.len() / 2]
}

/// What a client sends, and the reason and code of its end.
fn attacks() -> [(&'static str, u16, Vec<u8>); 7] {
    let text = |text: &str| Draft::text(text).masked().bytes();
    [
        ("type_refused", 1_003, Draft::binary(*b"\x00\x01").masked().bytes()),
        ("message_too_big", 1_009, Draft::text("").masked().declared_len(1 << 40).header()),
        ("invalid_json", 1_007, text(r#"{"name": "#)),
        ("json_refused", 1_008, text(r#"{"name": 1, "name": 2}"#)),
        ("pattern_refused", 1_008, text(r#"{"name": "' OR 1=1 --"}"#)),
        ("protocol_error", 1_002, Draft::text("{}").masked().rsv(4).bytes()),
        ("rate_exceeded", 1_008, text("{}").repeat(200)),
    ]
}

/// What somebody changes of a good request.
type Change = fn(Upgrade) -> Upgrade;

/// The reason and the status of a request's answer, and why.
const REQUESTS: [(&str, u16, Change); 4] = [
    ("credential_missing", 401, |upgrade| upgrade.without("Authorization")),
    ("credential_invalid", 401, |upgrade| with_token(upgrade, &token().claim("aud", "other"))),
    ("credential_expired", 401, |upgrade| with_token(upgrade, &token().claim("exp", 1_000_000_000))),
    ("origin_refused", 403, |upgrade| upgrade.origin("https://app.example.com.evil.example")),
];

fn with_token(upgrade: Upgrade, token: &Token) -> Upgrade {
    upgrade.with("Authorization", format!("Bearer {}", token.sign()))
}
