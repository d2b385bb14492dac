//! What the page asks of the demo: its own files, what happens at the gate, attacks that no browser can make, and another policy.
//!
//! | request below `/playground` | answer |
//! |---|---|
//! | `GET /<file>` | a file of the page |
//! | `GET /policy` | the policy in force |
//! | `POST /policy` | takes the policy in the body, or says what is wrong with it |
//! | `POST /play/<name>` | plays one of the [`plays`], and says what came of it |
//! | `GET /events` | counters and log lines, as server-sent events ([`watch`]) |
//!
//! Only the page itself can ask: `Host` has to be the gate's, and a POST has to bring the page's own `Origin`. A page of another site can set
//! neither. One play or policy is taken at a time.

mod plays;
mod policies;
mod watch;

use std::net::TcpStream;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

use portcullis_envoy::peer::client::Client;
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::policy::PLAYGROUND_PATH;
use crate::provider::Reply;
use crate::tokens::Keys;

/// The page's files, by name, each with its type.
const FILES: [(&str, &str, &str); 7] = [
    ("connections.js", JAVASCRIPT, include_str!("connections.js")),
    ("events.js", JAVASCRIPT, include_str!("events.js")),
    ("page.css", "text/css", include_str!("page.css")),
    ("page.js", JAVASCRIPT, include_str!("page.js")),
    ("policy.js", JAVASCRIPT, include_str!("policy.js")),
    ("session.js", JAVASCRIPT, include_str!("session.js")),
    ("trials.js", JAVASCRIPT, include_str!("trials.js")),
];

const JAVASCRIPT: &str = "text/javascript";

/// The page.
pub(crate) const PAGE: &str = include_str!("page.html");

/// The page may load its own files, and talk to where it came from; no other page may frame it.
pub(crate) const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page cannot do without.
const PAGE_PATHS: [&str; 3] = ["/", "/playground/page.js", "/playground/policy"];

/// The demo's side of the page.
pub(crate) struct Playground {
    keys: Arc<Keys>,
    stage: OnceLock<Stage>,
    /// Held by whoever plays, or changes the policy.
    turn: Mutex<()>,
    /// How many streams of events are open.
    streams: AtomicUsize,
}

/// The gate that is played with.
struct Stage {
    /// Weak: the demo ends its Envoy when it drops the gate, and the backend's thread lives longer.
    gate: Weak<Gate>,
    client: Client,
    authority: String,
    /// The policy in force, and since when.
    policy: Mutex<(Value, Instant)>,
}

/// A request for the playground.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Below [`PLAYGROUND_PATH`], with its slash.
    pub(crate) path: &'a str,
    pub(crate) head: &'a str,
    pub(crate) body: &'a str,
}

impl Request<'_> {
    /// Whether one of this method and path asks for the stream of events.
    pub(crate) fn is_stream(method: &str, path: &str) -> bool {
        (method, path) == ("GET", "/events")
    }
}

impl Playground {
    /// One without a gate: it answers 503.
    pub(crate) fn new(keys: Arc<Keys>) -> Self {
        Self { keys, stage: OnceLock::new(), turn: Mutex::default(), streams: AtomicUsize::new(0) }
    }

    /// Plays with this gate, under this policy, from now on.
    ///
    /// # Errors
    /// A certificate that is none.
    pub(crate) fn open(&self, gate: &Arc<Gate>, policy: Value) -> std::io::Result<()> {
        let (client, authority) = (gate.client()?, gate.authority());
        let stage =
            Stage { gate: Arc::downgrade(gate), client, authority, policy: Mutex::new((policy, Instant::now())) };
        let _ = self.stage.set(stage);
        Ok(())
    }

    /// A file of the page, with its type.
    pub(crate) fn file(path: &str) -> Option<(&'static str, &'static str)> {
        let name = path.strip_prefix('/')?;
        FILES.iter().find(|(own, ..)| *own == name).map(|&(_, kind, text)| (kind, text))
    }

    /// Answers what is no file and no stream. It waits for the gate.
    pub(crate) fn answer(&self, request: &Request<'_>) -> Reply {
        let Some((stage, gate)) = self.stage() else { return refusal(503, "there is no gate to play with") };
        if !is_own(request, &stage.authority) {
            return refusal(403, "only the demo's own page may ask");
        }
        match (request.method, request.path) {
            ("GET", "/policy") => (200, lock(&stage.policy).0.to_string()),
            ("POST", path) => {
                let Ok(_turn) = self.turn.try_lock() else { return refusal(429, "one at a time") };
                match path.strip_prefix("/play/").and_then(plays::find) {
                    Some(play) => plays::run(play, stage, &self.keys),
                    None if path == "/policy" => policies::put(request.body, stage, &gate.envoy, &self.keys),
                    None => refusal(404, "there is no such play"),
                }
            }
            _ => refusal(404, "there is nothing here"),
        }
    }

    /// Sends events until the stream is to be asked for again, or its reader has gone.
    ///
    /// # Errors
    /// A reader that has gone, or an Envoy that has.
    pub(crate) fn stream(&self, request: &Request<'_>, socket: &TcpStream) -> Result<(), Box<dyn std::error::Error>> {
        match self.stage() {
            Some((stage, _)) if is_own(request, &stage.authority) => {
                watch::stream(&stage.gate, &self.streams, watch::last_id(request.head), socket)
            }
            _ => watch::refuse(socket),
        }
    }

    fn stage(&self) -> Option<(&Stage, Arc<Gate>)> {
        let stage = self.stage.get()?;
        Some((stage, stage.gate.upgrade()?))
    }
}

/// Whether the demo's page asks. A browser sets `Host`, `Origin` and `Sec-Fetch-Site` itself; a GET of the page's own has no `Origin`.
fn is_own(request: &Request<'_>, authority: &str) -> bool {
    let value = |name: &str| {
        request.head.lines().find_map(|line| line.split_once(": ").filter(|(own, _)| *own == name)).map(|line| line.1)
    };
    let is_host = value("host") == Some(authority);
    let is_page = match (request.method, value("origin")) {
        ("GET", None) => value("sec-fetch-site").is_none_or(|site| site == "same-origin"),
        (_, origin) => origin.and_then(|origin| origin.strip_prefix("https://")) == Some(authority),
    };
    is_host && is_page
}

/// What stands behind [`PLAYGROUND_PATH`] in the target of a request.
pub(crate) fn path_below(target: &str) -> Option<&str> {
    target.strip_prefix(PLAYGROUND_PATH).filter(|path| path.starts_with('/'))
}

fn refusal(status: u16, error: &str) -> Reply {
    (status, json!({"error": error}).to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, lines: &str, expected: bool) {
        let head = format!("{method} /playground/policy HTTP/1.1\r\n{lines}");
        let request = Request { method, path: "/policy", head: &head, body: "" };
        assert_eq!(is_own(&request, "localhost:7"), expected, "{head}");
    }

    #[test]
    fn only_the_page_itself_may_ask() {
        check("POST", "host: localhost:7\r\norigin: https://localhost:7", true);
        check("POST", "host: localhost:7\r\norigin: https://localhost:8", false);
        check("POST", "host: localhost:7\r\norigin: http://localhost:7", false);
        check("POST", "host: localhost:7\r\norigin: null", false);
        check("POST", "host: localhost:7", false);
        check("POST", "host: evil.example:7\r\norigin: https://localhost:7", false);
        check("GET", "host: localhost:7", true);
        check("GET", "host: localhost:7\r\nsec-fetch-site: same-origin", true);
        check("GET", "host: localhost:7\r\nsec-fetch-site: cross-site", false);
        check("GET", "host: localhost:7\r\norigin: https://evil.example", false);
        check("GET", "host: evil.example", false);
    }

    #[test]
    fn without_a_gate_there_is_no_play() {
        let playground = Playground::new(Arc::new(Keys::generate().expect("the system has random numbers")));
        let head = "POST /playground/play/origin HTTP/1.1\r\nhost: localhost:7\r\norigin: https://localhost:7";
        let request = Request { method: "POST", path: "/play/origin", head, body: "" };
        assert_eq!(playground.answer(&request).0, 503);
    }
}
