//! Credentials that only a service can read: tokens that oidc-provider introspects, and sessions of an application, behind a real Envoy.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::websocket::Verdict;
use serde_json::{Value, json};

use crate::gate::{Gate, PATIENCE, wait};
use crate::idp::Idp;
use crate::tokens::{self, in_seconds};

fn policy(auth: &Value) -> Value {
    json!({"require_tls": false, "origin": {"missing": "allow"}, "auth": auth})
}

/// An application that knows sessions, in HTTP/1.1 with one request for a connection.
struct App {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    listener: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The answer for each session.
    sessions: BTreeMap<String, String>,
    /// What every session gets in its place.
    answer: Option<&'static str>,
    delay: Duration,
    /// The heads of all requests.
    requests: Vec<String>,
    is_over: bool,
}

impl App {
    fn start() -> Self {
        let mut app = Self { address: (Ipv4Addr::LOCALHOST, 0).into(), shared: Arc::default(), listener: None };
        app.listen();
        app
    }

    /// Listens, where it has before if it has.
    fn listen(&mut self) {
        let listener = wait(|| TcpListener::bind(self.address).ok()).expect("the port is free");
        self.address = listener.local_addr().expect("an address");
        let shared = Arc::clone(&self.shared);
        self.lock().is_over = false;
        self.listener = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().expect("no panic").is_over {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&stream.expect("a connection"), &shared));
            }
        }));
    }

    fn die(&mut self) {
        self.lock().is_over = true;
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        self.listener.take().expect("it lives").join().expect("no panic");
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic")
    }

    fn know(&self, session: &str, answer: &Value) {
        self.lock().sessions.insert(session.to_owned(), answer.to_string());
    }

    /// Answers all with `answer`, or again what it knows.
    fn misbehave(&self, answer: Option<&'static str>) {
        self.lock().answer = answer;
    }

    fn count(&self) -> usize {
        self.lock().requests.len()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if self.listener.is_some() {
            self.die();
        }
    }
}

fn serve(mut stream: &TcpStream, shared: &Mutex<Shared>) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or_default() == 0 {
            return;
        }
    }
    let (answer, delay) = {
        let mut shared = shared.lock().expect("no panic");
        shared.requests.push(head.clone());
        let session = head.lines().find_map(|line| line.strip_prefix("cookie: sid=")).unwrap_or_default();
        let known = shared.sessions.get(session).map(|body| {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        });
        let no = || "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
        (shared.answer.map_or_else(|| known.unwrap_or_else(no), str::to_owned), shared.delay)
    };
    thread::sleep(delay);
    // It may have given up.
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
}

fn looking_up(app: &App, cache: &str, changes: &Value) -> Gate {
    let lookup = json!({"cluster": "app", "path": "/session", "timeout": "500ms", "cache": cache});
    let mut policy = policy(&json!({"cookie": {"name": "sid", "lookup": lookup}, "claim_headers": {"sub": "x-user"}}));
    policy.as_object_mut().expect("a policy").extend(changes.as_object().expect("keys").clone());
    Gate::launch(policy, Mode::Echo, |launch| launch.service("app", app.address))
}

fn as_session(session: &str) -> Upgrade {
    Upgrade::to("/chat").header("Cookie", format!("theme=dark; sid={session}"))
}

#[track_caller]
fn status(gate: &Gate, upgrade: &Upgrade) -> u16 {
    gate.client.ask(upgrade).expect("Envoy answers").status()
}

fn bearer(token: &str) -> Upgrade {
    Upgrade::to("/chat").header("Authorization", format!("Bearer {token}"))
}

#[test]
fn opaque_tokens_are_introspected_and_signed_ones_are_not() {
    let idp = Idp::start();
    let address = SocketAddr::from(([127, 0, 0, 1], idp.port()));
    let client = json!({"id": "gw", "secret": {"inline": "gw-secret"}});
    let introspection = json!({"cluster": "idp", "path": "/token/introspection", "client": client});
    let auth = json!({"providers": [
        {"name": "keys", "issuer": idp.url(), "audiences": ["chat"], "algorithms": ["RS256"], "jwks": {"cluster": "idp"}},
        {"name": "asked", "issuer": idp.url(), "audiences": ["chat"], "introspection": introspection},
    ], "claim_headers": {"sub": "x-user"}});
    let gate = Gate::launch(policy(&auth), Mode::Echo, |launch| launch.service("idp", address));
    let asked = |idp: &Idp| idp.counts()["/token/introspection"]["requests"].as_u64().unwrap_or_default();

    let token = idp.token("alice", "opaque");
    for _ in 0..3 {
        assert_eq!(status(&gate, &bearer(&token)), 101);
    }
    assert_eq!(asked(&idp), 1, "the answer is known");
    let request = gate.request("/chat", |request| request.head.value("x-user") == Some("alice"));
    assert_eq!(request.head.values("authorization").count(), 0);
    assert_eq!(status(&gate, &bearer("made-up-t0ken")), 401);
    assert_eq!(status(&gate, &Upgrade::to(&format!("/chat?token={}", idp.token("bob", "opaque")))), 101);
    assert_eq!(asked(&idp), 3);
    // The same provider has keys: what it signs is checked by them.
    assert_eq!(status(&gate, &bearer(&idp.token("alice", "RS256"))), 101);
    // Of what looks like a JWT, oidc-provider says 400 `unsupported_token_type`.
    assert_eq!(status(&gate, &bearer("e30.e30.c2ln")), 401);
    assert_eq!(asked(&idp), 4);

    // What is known holds while the provider is down, and nothing else; what it knows then is known when it is back.
    let new = idp.token("carol", "opaque");
    for mode in ["down", "slow"] {
        idp.set_mode(mode);
        assert_eq!(status(&gate, &bearer(&token)), 101, "{mode}");
        let begin = Instant::now();
        assert_eq!(status(&gate, &bearer(&new)), 500, "{mode}");
        assert!(begin.elapsed() < Duration::from_millis(2_500), "{mode}: {:?}", begin.elapsed());
        idp.set_mode("fine");
        thread::sleep(Duration::from_millis(1_100));
    }
    assert_eq!(status(&gate, &bearer(&new)), 101);
    let log = gate.log_with("portcullis: no answer about a credential from cluster idp: ");
    for secret in [token.as_str(), &new, "gw-secret", "Z3c6Z3ctc2VjcmV0", "made-up-t0ken"] {
        assert!(!log.contains(secret), "a credential in the log");
    }
}

#[test]
fn a_client_that_the_provider_does_not_know_is_a_fault_and_no_refusal() {
    let idp = Idp::start();
    let address = SocketAddr::from(([127, 0, 0, 1], idp.port()));
    let client = json!({"id": "gw", "secret": {"inline": "another"}});
    let introspection = json!({"cluster": "idp", "path": "/token/introspection", "client": client});
    let auth = json!({"providers": [{"name": "asked", "audiences": ["chat"], "introspection": introspection}]});
    let gate = Gate::launch(policy(&auth), Mode::Echo, |launch| launch.service("idp", address));
    assert_eq!(status(&gate, &bearer(&idp.token("alice", "opaque"))), 500);
    gate.log_with("portcullis: no answer about a credential from cluster idp: status 401");
}

#[test]
fn a_session_is_looked_up_with_its_cookie_alone() {
    let app = App::start();
    app.know("s3cr3t", &json!({"sub": "alice"}));
    let gate = looking_up(&app, "30s", &json!({}));
    let upgrade = as_session("s3cr3t").header("X-Other", "mine").header("Authorization", "Basic eDp5");
    assert_eq!(status(&gate, &upgrade), 101);
    let request = gate.request("/chat", |request| request.head.value("x-user") == Some("alice"));
    assert_eq!(request.head.values("cookie").collect::<Vec<_>>(), ["theme=dark"]);
    let head = app.lock().requests[0].to_lowercase();
    assert!(head.starts_with("get /session http/1.1\r\n") && head.contains("\r\nhost: app\r\n"), "{head}");
    assert!(head.contains("\r\ncookie: sid=s3cr3t\r\n"), "{head}");
    for other in ["theme", "x-other", "basic", "sec-websocket", "upgrade:", "\r\norigin:"] {
        assert!(!head.contains(other), "{head}");
    }
    assert_eq!(status(&gate, &as_session("unknown")), 401);
    assert_eq!(status(&gate, &as_session("")), 401);
    assert_eq!(app.count(), 2);
    let log = gate.envoy.log().expect("a log");
    assert!(!log.contains("s3cr3t"), "a cookie in the log");
}

#[test]
fn one_question_serves_all_who_come_at_once() {
    let app = App::start();
    app.know("shared", &json!({"sub": "alice"}));
    app.lock().delay = Duration::from_millis(300);
    let gate = looking_up(&app, "30s", &json!({}));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..20).map(|_| scope.spawn(|| status(&gate, &as_session("shared")))).collect();
        for client in clients {
            assert_eq!(client.join().expect("an answer"), 101);
        }
    });
    assert_eq!(app.count(), 1);
}

#[test]
fn what_is_no_answer_admits_nobody_and_takes_nobody_away() {
    let app = App::start();
    app.know("known", &json!({"sub": "alice"}));
    let gate = looking_up(&app, "30s", &json!({}));
    let long = |length: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{{\"sub\": \"mallory\"}}");
    let answers = [
        "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<html>Sign in</html>".into(),
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"sub\": \"mallory\", \"sub\": \"root\"}".into(),
        // Lies about its size, both ways.
        long("1000"),
        long("5"),
        long("99999999999999999999"),
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{{\"sub\": \"{}\"}}", "a".repeat(20_000)),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n{}".into(),
        String::new(),
        "nonsense\r\n\r\n".into(),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        app.misbehave(None);
        assert_eq!(status(&gate, &as_session("known")), 101, "{index}");
        app.misbehave(Some(answer.leak()));
        assert_eq!(status(&gate, &as_session(&format!("new-{index}"))), 500, "{index}");
        assert_eq!(status(&gate, &as_session("known")), 101, "{index}");
    }
}

#[test]
fn an_application_that_dies_and_returns_is_a_fault_meanwhile() {
    for (fail, meanwhile) in [("closed", 500), ("open", 101)] {
        let mut app = App::start();
        app.know("known", &json!({"sub": "alice"}));
        app.know("new", &json!({"sub": "bob"}));
        let gate = looking_up(&app, "30s", &json!({"fail": fail}));
        assert_eq!(status(&gate, &as_session("known")), 101);
        app.die();
        assert_eq!(status(&gate, &as_session("known")), 101, "what is known holds");
        assert_eq!(status(&gate, &as_session("new").header("X-User", "root")), meanwhile);
        // Nobody is anybody by a fault.
        let unknown = gate.backend.requests().iter().filter(|request| request.head.value("x-user").is_none()).count();
        assert_eq!(unknown, usize::from(fail == "open"));
        assert_eq!(
            gate.backend.requests().iter().filter(|request| request.head.value("x-user") == Some("root")).count(),
            0
        );
        app.listen();
        let back = wait(|| {
            assert!([101, meanwhile].contains(&status(&gate, &as_session("new"))));
            gate.backend.requests().iter().any(|request| request.head.value("x-user") == Some("bob")).then_some(())
        });
        assert!(back.is_some(), "it is back, and its session is refused");
        assert_eq!(status(&gate, &as_session("made-up")), 401);
    }
}

#[test]
fn a_session_that_ends_is_let_in_no_more_once_what_is_known_is_over() {
    let app = App::start();
    app.know("s", &json!({"sub": "alice"}));
    let gate = looking_up(&app, "2s", &json!({}));
    assert_eq!(status(&gate, &as_session("s")), 101);
    app.lock().sessions.clear();
    let begin = Instant::now();
    let refused = wait(|| (status(&gate, &as_session("s")) == 401).then(|| begin.elapsed()));
    let after = refused.expect("it is over");
    assert!((1_500..3_500).contains(&after.as_millis()), "{after:?}");
}

#[test]
fn a_connection_ends_where_its_session_was_said_to() {
    let app = App::start();
    let gate = looking_up(&app, "30s", &json!({}));
    app.know("short", &json!({"sub": "alice", "exp": in_seconds(3)}));
    app.know("long", &json!({"sub": "bob"}));
    let mut short = gate.client.open(&as_session("short")).expect("it is good");
    let mut long = gate.client.open(&as_session("long")).expect("it is good");
    let (_, verdict) = short.rest(PATIENCE);
    assert_eq!(verdict, Verdict::close(3_000, "credential_expired"));
    long.exchange("still here", PATIENCE).expect("it has no end");
}

#[test]
fn a_signed_cookie_needs_nobody() {
    let hmac = json!({"secret": {"env": tokens::VARIABLE}, "algorithm": "HS256"});
    let policy = policy(&json!({"cookie": {"name": "sid", "hmac": hmac}, "claim_headers": {"sub": "x-user"}}));
    let gate = Gate::start(policy, Mode::Echo);
    let key = EncodingKey::from_secret(tokens::SECRET.as_bytes());
    let mac = jsonwebtoken::crypto::sign(b"alice", &key, Algorithm::HS256).expect("a MAC");
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(&mac).expect("base64url").len(), 32);
    assert_eq!(status(&gate, &as_session(&format!("alice.{mac}"))), 101);
    let request = gate.request("/chat", |request| request.head.value("x-user") == Some("alice"));
    assert_eq!(request.head.values("cookie").collect::<Vec<_>>(), ["theme=dark"]);
    for forged in [format!("root.{mac}"), "alice".into(), "alice.".into()] {
        assert_eq!(status(&gate, &as_session(&forged)), 401, "{forged}");
    }
    assert!(!gate.envoy.log().expect("a log").contains(&mac), "a cookie in the log");
}

/// What Envoy Gateway calls the place of its aliases.
const EXTENSION_BACKENDS: &str = "gateway.envoyproxy.io/extension-backends";

/// One filter behind several routes: whoever may choose between them must not choose who vouches for a credential.
#[test]
fn an_alias_is_the_cluster_that_the_route_of_the_request_names() {
    let (idp, one, two) = (Idp::start(), App::start(), App::start());
    one.know("s1", &json!({"sub": "alice"}));
    two.know("s2", &json!({"sub": "bob"}));
    let alias = |name: &str| json!({"extension_backend": name});
    let auth = json!({
        "cookie": {"name": "sid", "lookup": {"cluster": alias("app"), "path": "/session", "timeout": "500ms"}},
        "providers": [{
            "name": "keys", "issuer": idp.url(), "audiences": ["chat"], "algorithms": ["RS256"], "jwks": {"cluster": alias("idp")},
        }],
    });
    let address = SocketAddr::from(([127, 0, 0, 1], idp.port()));
    let gate = Gate::launch(policy(&auth), Mode::Echo, |launch| {
        let launch =
            launch.service("idp", address).service("policy/default/one/0", one.address).service("two", two.address);
        launch
            .route("/a", EXTENSION_BACKENDS, json!({"app": "policy/default/one/0", "idp": "idp"}))
            .route("/b", EXTENSION_BACKENDS, json!({"app": "two", "idp": "two"}))
            .route("/c", EXTENSION_BACKENDS, json!({"app": "none", "idp": 7}))
            .route("/d", "another.filter", json!({"app": "two", "idp": "idp"}))
    });
    let token = idp.token("carol", "RS256");
    let by_cookie = |path: &str, session: &str| Upgrade::to(path).header("Cookie", format!("sid={session}"));
    let by_token = |path: &str| Upgrade::to(path).header("Authorization", format!("Bearer {token}"));
    // What is known by one way is not known by the other.
    for _ in 0..2 {
        for (path, session, expected) in [
            ("/a", "s1", 101),
            ("/a", "s2", 401),
            ("/b", "s1", 401),
            ("/b", "s2", 101),
            ("/c", "s1", 500),
            ("/d", "s1", 500),
        ] {
            assert_eq!(status(&gate, &by_cookie(path, session)), expected, "{path} {session}");
        }
        for (path, expected) in [("/a", 101), ("/b", 500), ("/c", 500), ("/d", 500)] {
            assert_eq!(status(&gate, &by_token(path)), expected, "{path}");
        }
    }
    assert!(one.lock().requests.iter().all(|head| head.contains("host: app\r\n")), "{:?}", one.lock().requests);
    for line in [
        "portcullis: nothing is fetched before a request's route names the clusters of idp app",
        "portcullis: the metadata of a request's route names no cluster for extension_backend idp",
        "portcullis: no keys from cluster two: ",
    ] {
        gate.log_with(line);
    }
}
