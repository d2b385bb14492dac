//! An Envoy with the filter before a backend, and what a test asks of the three.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use portcullis_envoy::peer::backend::{Backend, Mode, Request};
use portcullis_envoy::peer::certificate::Certificate;
use portcullis_envoy::peer::client::{Client, Upgrade};
use portcullis_envoy::peer::frame::{CLOSE, Frame};
use portcullis_envoy::peer::http2::Session;
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use portcullis_envoy::{Envoy, Launch, Update, module};
use serde_json::{Value, json};

use crate::tokens;

/// Envoy, what is behind it, and a client before it.
pub(crate) struct Gate {
    // Dropped in this order.
    pub(crate) envoy: Envoy,
    pub(crate) backend: Backend,
    pub(crate) client: Client,
}

/// The counters of the filter that are not zero, without the `portcullis.` in front.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Counters(BTreeMap<String, u64>);

impl Gate {
    pub(crate) fn start(policy: Value, mode: Mode) -> Self {
        Self::launch(policy, mode, |launch| launch)
    }

    /// As [`without_limits`] has the policy.
    pub(crate) fn launch(policy: Value, mode: Mode, change: impl FnOnce(Launch) -> Launch) -> Self {
        static MODULE: LazyLock<PathBuf> = LazyLock::new(|| module::build().expect("the filter builds"));
        let backend = Backend::start(mode).expect("a port to listen on");
        let launch =
            Launch::new(&*MODULE, without_limits(policy), backend.address()).env(tokens::VARIABLE, tokens::SECRET);
        let envoy = change(launch).start().unwrap_or_else(|error| panic!("{error}"));
        let client = Client::plain(envoy.address());
        Self { envoy, backend, client }
    }

    /// A gate with TLS, its client too, and a session of HTTP/2 with it.
    pub(crate) fn with_http2(policy: Value, mode: Mode) -> (Self, Session) {
        Self::launch_with_http2(policy, mode, |launch| launch)
    }

    /// As [`Self::with_http2`].
    pub(crate) fn launch_with_http2(
        policy: Value,
        mode: Mode,
        change: impl FnOnce(Launch) -> Launch,
    ) -> (Self, Session) {
        let certificate = Certificate::generate(&[]).expect("a certificate can be made");
        let Certificate { certificate_pem, key_pem, ca_pem } = &certificate;
        let mut gate = Self::launch(policy, mode, |launch| change(launch.tls(certificate_pem, key_pem)));
        let address = gate.envoy.address();
        gate.client = Client::tls(address, "localhost", ca_pem).expect("a certificate");
        let session = Session::open(address, "localhost", ca_pem).expect("it speaks HTTP/2, with extended CONNECT");
        (gate, session)
    }

    /// Puts another policy in place, as [`without_limits`] has it.
    #[track_caller]
    pub(crate) fn update(&self, policy: Value) -> Update {
        self.envoy.update_policy(&without_limits(policy)).expect("Envoy answers")
    }

    /// A WebSocket to `path`, under a policy that asks for nothing.
    #[track_caller]
    pub(crate) fn open(&self, path: &str) -> WebSocket {
        self.client.open(&Upgrade::to(path)).expect("a good upgrade is accepted")
    }

    /// The request to `target`, once it is there and `wanted` holds.
    #[track_caller]
    pub(crate) fn request(&self, target: &str, wanted: impl Fn(&Request) -> bool) -> Request {
        let found = self.backend.wait(PATIENCE, |request| request.head.target() == target && wanted(request));
        found.unwrap_or_else(|| panic!("not at the backend: {target} {:?}", self.backend.requests()))
    }

    /// Waits until the filter has counted this, no less and nothing else.
    #[track_caller]
    pub(crate) fn check_counters(&self, expected: &Counters) {
        let counted = || {
            let stats = self.envoy.stats().expect("Envoy answers").into_iter().filter(|(_, value)| *value > 0);
            let own = stats
                .filter_map(|(name, value)| Some((name.strip_prefix("wasmcustom.portcullis.")?.to_owned(), value)));
            own.filter(|(name, _)| !is_traffic(name))
        };
        let is_met = wait(|| (counted().collect::<BTreeMap<_, _>>() == expected.0).then_some(()));
        assert!(is_met.is_some(), "expected {:#?}, found {:#?}", expected.0, counted().collect::<BTreeMap<_, _>>());
    }

    /// The JSON lines in Envoy's log, of its access log and of the filter.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        json_lines(&self.envoy.log().expect("a log"))
    }

    /// Envoy's log, as soon as it has this in it: a container's comes later than an answer.
    #[track_caller]
    pub(crate) fn log_with(&self, wanted: &str) -> String {
        let log = || self.envoy.log().expect("a log");
        let found = wait(|| Some(log()).filter(|log| log.contains(wanted)));
        found.unwrap_or_else(|| panic!("{wanted} is not in the log:\n{}", log()))
    }

    /// Its JSON lines, once they are as `wanted`.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, wanted: impl Fn(&[Value]) -> bool) {
        let log = || self.envoy.log().expect("a log");
        assert!(wait(|| wanted(&json_lines(&log())).then_some(())).is_some(), "not in the log:\n{}", log());
    }
}

/// How much is said, and how often, and by what policies: each test would have to count it anew.
fn is_traffic(name: &str) -> bool {
    ["messages.", "bytes.", "spikes.", "jwks.", "policies.", "monitoring"].iter().any(|own| name.starts_with(own))
}

impl Counters {
    /// Counts one more, or so many.
    pub(crate) fn add(&mut self, name: impl Into<String>, count: u64) {
        *self.0.entry(name.into()).or_default() += count;
    }

    /// A handshake that was refused.
    pub(crate) fn refused(&mut self, reason: &str) {
        self.add(format!("handshakes.{reason}"), 1);
        self.add(format!("refused.{reason}"), 1);
    }

    /// A connection that was opened, and has ended for `reason`: `peer`, or a violation.
    pub(crate) fn closed(&mut self, reason: &str) {
        self.add("handshakes.accepted", 1);
        self.add(format!("connections.closed.{reason}"), 1);
        if reason != "peer" {
            self.add(format!("refused.{reason}"), 1);
        }
    }
}

/// The filter with all features that no shipped build has: it traps on demand, and has no host verify signatures.
pub(crate) fn test_module() -> &'static Path {
    static MODULE: LazyLock<PathBuf> =
        LazyLock::new(|| module::build_with(&["own_signatures", "trap"]).expect("the filter builds"));
    &MODULE
}

/// A policy that asks for nothing before the upgrade, with these messages.
pub(crate) fn open_policy(messages: Value) -> Value {
    json!({"require_tls": false, "origin": {"missing": "allow"}, "auth": {"required": false}, "messages": messages})
}

/// The policy with no limits and no clocks, unless it says something of them: tests come from one address, some thousand times. The
/// buffers are halved, as in the shipped configuration, which it is run with.
pub(crate) fn without_limits(mut policy: Value) -> Value {
    let limits = json!({"per_address": null, "per_subject": null, "per_connection": null});
    let liveness = json!({"ping_interval": "0s", "idle_timeout": "0s", "message_timeout": "0s", "max_lifetime": "0s"});
    if let Some(keys) = policy.as_object_mut() {
        keys.entry("buffer_limits").or_insert(json!("halved"));
        keys.entry("limits").or_insert(limits);
        keys.entry("liveness").or_insert(liveness);
    }
    policy
}

/// The lines that hold an object. Envoy writes its log and the access log to one file: a line of the one can stand in the middle of a
/// line of the other, wherever a buffer of that was full.
fn json_lines(log: &str) -> Vec<Value> {
    let (mut access, mut own) = (String::new(), String::new());
    for line in log.split_inclusive('\n') {
        // What Envoy logs begins with the date in brackets.
        let (of_access, of_own) = line.split_at(line.find("[20").unwrap_or(line.len()));
        access.push_str(of_access);
        own.push_str(of_own);
    }
    let lines = own.lines().chain(access.lines());
    lines.filter_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok()).collect()
}

/// All frames up to a Close, which is answered as RFC 6455 §5.5.1 has it, or to what ends the connection without one.
pub(crate) fn receive_until_close(websocket: &mut WebSocket) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Event::Frame(frame) = websocket.receive(PATIENCE) {
        frames.push(frame);
        if let Some(close) = frames.last().filter(|frame| frame.opcode == CLOSE) {
            websocket.answer_close(close);
            break;
        }
    }
    frames
}

/// Asks until there is an answer; `None` when [`PATIENCE`] is over.
pub(crate) fn wait<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        match ask() {
            None if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
            answer => return answer,
        }
    }
}

/// For what takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
