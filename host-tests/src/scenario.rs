//! What most tests do, in a line each.
//!
//! ```no_run
//! use portcullis_host_tests::{frame, scenario::{Gate, policy, upgrade}};
//!
//! let mut gate = Gate::new(&policy());
//! let stream = gate.request(&upgrade().without("authorization"));
//! gate.check_refused(stream, 401, "credential_missing");
//!
//! let stream = gate.connect();
//! gate.client(stream, &frame::client(frame::TEXT, b"hello"));
//! ```

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{Action, Headers, Host, Profile, StreamId, frame, module};

/// A policy that needs no TLS, knows one origin, takes tokens of [`token`], and limits neither how much comes nor how long it lives.
pub fn policy() -> Value {
    let mut policy = limited_policy();
    policy["limits"] = json!({"per_address": null, "per_connection": null, "per_subject": null});
    policy["liveness"] =
        json!({"idle_timeout": "0s", "max_lifetime": "0s", "message_timeout": "0s", "ping_interval": "0s"});
    policy
}

/// The same policy with the limits and the times that a policy has which says nothing about them.
pub fn limited_policy() -> Value {
    json!({
        "require_tls": false,
        "origin": {"allow": [ORIGIN]},
        "auth": {
            "sources": [{"header": "authorization"}],
            "providers": [{
                "name": "corp",
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "algorithms": ["HS256"],
                "jwks": {"secret": {"inline": SECRET}},
            }],
        },
    })
}

/// [`policy`] with other values: objects merge key by key, the rest replaces.
pub fn policy_with(changes: Value) -> Value {
    changed(policy(), changes)
}

/// [`limited_policy`] with other values.
pub fn limited_policy_with(changes: Value) -> Value {
    changed(limited_policy(), changes)
}

fn changed(mut policy: Value, changes: Value) -> Value {
    merge(&mut policy, changes);
    policy
}

fn merge(base: &mut Value, changes: Value) {
    match (base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, changes) => *base = changes,
    }
}

/// The head of a good upgrade, as Envoy shows it to a filter.
pub fn upgrade() -> Headers {
    Headers::from_iter([
        (":authority", "chat.example.com"),
        (":path", "/chat?room=1"),
        (":method", "GET"),
        (":scheme", "http"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("origin", ORIGIN),
        ("user-agent", "portcullis-host-tests"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "4e2a6f1e-0000-4000-8000-000000000001"),
    ])
    .with("authorization", format!("Bearer {}", token()))
}

/// [`upgrade`] as a request that is none, with the same credential.
pub fn page() -> Headers {
    ["upgrade", "connection", "sec-websocket-key", "sec-websocket-version"]
        .iter()
        .fold(upgrade(), |head, name| head.without(name))
}

/// The upstream's good answer to [`upgrade`] (RFC 6455 §1.3).
pub fn switching_protocols() -> Headers {
    Headers::from_iter([
        (":status", "101"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ])
}

/// A token that [`policy`] takes for an hour from the start of the host's clock.
pub fn token() -> String {
    token_with(json!({}))
}

/// All rule sets that are built in.
pub const RULE_SETS: [&str; 6] = [
    "command_injection",
    "cross_site_scripting",
    "nosql_injection",
    "path_traversal",
    "prototype_pollution",
    "sql_injection",
];

/// [`token`] with other claims; `null` removes one.
pub fn token_with(changes: Value) -> String {
    let mut claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": START, "exp": START + 3_600});
    merge(&mut claims, changes);
    if let Value::Object(claims) = &mut claims {
        claims.retain(|_, value| !value.is_null());
    }
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = [part(json!({"alg": "HS256", "typ": "JWT"})), part(claims)].join(".");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(signed.as_bytes());
    [signed, BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())].join(".")
}

/// A configured filter. What traps or misuses the host fails the test.
#[derive(Debug)]
pub struct Gate(Host);

impl Gate {
    /// The filter under Envoy's behaviour with `policy`.
    #[track_caller]
    pub fn new(policy: &Value) -> Self {
        Self::on(Profile::default(), policy)
    }

    /// The filter under `profile` with `policy`.
    #[track_caller]
    pub fn on(profile: Profile, policy: &Value) -> Self {
        Self::configured(Host::load(module::filter(), profile).unwrap(), policy)
    }

    /// The filter in another worker of the same proxy.
    #[track_caller]
    pub fn beside(&self, policy: &Value) -> Self {
        Self::configured(self.0.load_beside(module::filter(), Profile::default()).unwrap(), policy)
    }

    #[track_caller]
    fn configured(mut host: Host, policy: &Value) -> Self {
        let accepted = host.configure(policy.to_string().as_bytes()).unwrap();
        assert!(accepted, "the policy is refused: {:#?}", host.logs());
        Self(host)
    }

    /// Gives the filter another policy. False: refused.
    #[track_caller]
    pub fn reconfigure(&mut self, policy: &Value) -> bool {
        self.0.configure(policy.to_string().as_bytes()).unwrap()
    }

    /// A request arrives, and behind an upgrade that may go on the empty body callback that Envoy makes.
    #[track_caller]
    pub fn request(&mut self, head: &Headers) -> StreamId {
        let stream = self.0.open_stream().unwrap();
        if self.0.request_headers(stream, head, false).unwrap() == Action::Continue {
            self.client(stream, b"");
        }
        stream
    }

    /// The upstream answers, and behind a head that may go on follows the empty body callback.
    #[track_caller]
    pub fn respond(&mut self, stream: StreamId, head: &Headers) {
        if self.0.response_headers(stream, head, false).unwrap() == Action::Pause {
            self.0.wake().unwrap();
        }
        if self.0.stream(stream).response.passed {
            self.server(stream, b"");
        }
    }

    /// A good upgrade up to its 101.
    #[track_caller]
    pub fn connect(&mut self) -> StreamId {
        let stream = self.request(&upgrade());
        assert!(self.0.stream(stream).request.passed, "a good upgrade is refused: {:#?}", self.0.stream(stream).reply);
        self.respond(stream, &switching_protocols());
        assert!(self.0.stream(stream).response.passed, "a good 101 is refused: {:#?}", self.0.stream(stream).reply);
        stream
    }

    /// Bytes from the client.
    #[track_caller]
    pub fn client(&mut self, stream: StreamId, bytes: &[u8]) -> Action {
        self.0.request_body(stream, bytes, false).unwrap()
    }

    /// Bytes from the upstream.
    #[track_caller]
    pub fn server(&mut self, stream: StreamId, bytes: &[u8]) -> Action {
        self.0.response_body(stream, bytes, false).unwrap()
    }

    /// Short messages from the client, until one does not go on; tells how many do.
    #[track_caller]
    pub fn send(&mut self, stream: StreamId, count: usize) -> usize {
        let hello = frame::client(frame::TEXT, b"hello");
        let before = self.0.stream(stream).request.forwarded.len();
        (0..count).for_each(|_| _ = self.client(stream, &hello));
        let passed = &self.0.stream(stream).request.forwarded[before..];
        passed.chunks(hello.len()).take_while(|chunk| *chunk == hello).count()
    }

    /// Time goes by, with the ticks that an Envoy gives.
    #[track_caller]
    pub fn elapse(&mut self, span: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let period = self.0.tick_period();
            let step = if period.is_zero() { TICK } else { period }.min(left);
            self.0.advance(step);
            self.0.tick().unwrap();
            left -= step;
        }
    }

    /// How many connections are open, as the gauge says when the worker has had a beat.
    #[track_caller]
    pub fn active(&mut self) -> i64 {
        self.elapse(Duration::from_secs(1));
        self.0.metric("portcullis.connections.active")
    }

    /// The stream was answered as the policy says, and nothing of it went on.
    #[track_caller]
    pub fn check_refused(&self, stream: StreamId, status: u32, reason: &str) {
        let stream = self.0.stream(stream);
        let Some(reply) = &stream.reply else { panic!("not refused, where {status} {reason} is due") };
        let body: Value = serde_json::from_slice(&reply.body).expect("a body of JSON");
        assert_eq!((reply.status, body), (status, json!({"error": reason})));
        assert_eq!(reply.details, format!("portcullis_{reason}"));
        assert_eq!(reply.headers.value("content-type"), Some("application/json"));
        assert_eq!(reply.headers.value("connection"), Some("close"));
        assert!(!stream.request.passed, "a refused request went on");
        assert!(stream.request.forwarded.is_empty(), "bytes of a refused request went on");
    }

    /// A refused client is told to come again after so long.
    #[track_caller]
    pub fn check_retry_after(&self, stream: StreamId, seconds: u64) {
        let reply = self.0.stream(stream).reply.as_ref().expect("a reply");
        assert_eq!(reply.headers.value("retry-after"), Some(seconds.to_string().as_str()));
    }

    /// The server answers our Close.
    pub fn answer_close(&mut self, stream: StreamId) {
        self.server(stream, &frame::server(frame::CLOSE, b"\x03\xe8"));
    }

    /// The last that the client got is a Close.
    #[track_caller]
    pub fn check_closed(&mut self, stream: StreamId, code: u16, reason: &str) {
        self.answer_close(stream);
        let close = frame::close_at_end(&self.0.stream(stream).response.forwarded);
        assert_eq!(close, Some((code, reason.to_owned())));
    }

    /// How many connections all workers of the proxy count together: once for their address, once for their subject. What is counted
    /// for workers that are lost is not among them (`portcullis_core::limits::{register, table}` say what the bytes mean).
    #[track_caller]
    pub fn counted(&self) -> u32 {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let register = self.0.shared("portcullis.4.register").expect("a register");
        let of_bucket = |index: u32| {
            let bucket = self.0.shared(&format!("portcullis.4.bucket.{index}")).expect("a bucket");
            if bucket == [0; 2_048] {
                return 0;
            }
            let entries = bucket.chunks(64).filter(|entry| entry[16..20] == register[16..20]);
            entries.map(|entry| number(&entry[8..12])).sum()
        };
        (0..4_096).map(of_bucket).sum()
    }

    /// The filter asked nothing of the host that a host may answer badly.
    #[track_caller]
    pub fn check_manners(&self) {
        assert_eq!(self.0.misuses(), [""; 0]);
    }
}

impl Deref for Gate {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl DerefMut for Gate {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.0
    }
}

/// Numbers that look random and are the same in every run (splitmix64).
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next one, less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 33) as usize % bound
    }
}

/// How often an Envoy lets the filter look at the clock, unless that asks for more.
pub const TICK: Duration = Duration::from_millis(100);

/// The origin that [`policy`] allows.
pub const ORIGIN: &str = "https://app.example.com";

/// The key of [`token`]: 32 bytes, as HS256 wants them (RFC 7518 §3.2).
pub const SECRET: &str = "q2Vn8ZkT5uWc1xYb7RmE4sPd9LhGfJaN";

/// Who issues the tokens.
pub const ISSUER: &str = "https://idp.example.com/";
const AUDIENCE: &str = "chat";

/// 2026-11-22 00:00:00 UTC, where the host's clock starts.
const START: u64 = 1_795_305_600;
