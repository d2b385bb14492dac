//! Credentials that end before their time, on four workers and on two Envoys: logouts that oidc-provider posts, and a list that is fetched.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::websocket::{Verdict, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Gate, PATIENCE, wait};
use crate::idp::Idp;
use crate::tokens::{self, Token};

/// Within what time all connections of somebody end.
const PROMISED: Duration = Duration::from_secs(2);

fn policy(auth: &Value, change: &Value) -> Value {
    let mut policy = json!({"require_tls": false, "origin": {"missing": "allow"}, "auth": auth});
    policy.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    policy
}

fn by_logout(idp: &Idp, peers: &[&str]) -> Value {
    let auth = json!({
        "providers": [{
            "name": "idp", "issuer": idp.url(), "audiences": ["chat"], "algorithms": ["RS256"],
            "jwks": {"cluster": "idp", "url": format!("{}/jwks", idp.url())},
        }],
        "back_channel_logout": {"path": "/backchannel-logout", "provider": "idp", "peers": peers},
    });
    policy(&auth, &json!({"non_websocket": "pass"}))
}

fn open(gate: &Gate, token: &str) -> WebSocket {
    let upgrade = Upgrade::to("/chat").header("Authorization", format!("Bearer {token}"));
    gate.client.open(&upgrade).expect("the credential is good")
}

#[track_caller]
fn status(gate: &Gate, token: &str) -> u16 {
    let upgrade = Upgrade::to("/chat").header("Authorization", format!("Bearer {token}"));
    gate.client.ask(&upgrade).expect("Envoy answers").status()
}

fn count(gate: &Gate, name: &str) -> u64 {
    gate.envoy.counter(&format!("wasmcustom.portcullis.{name}")).expect("Envoy answers")
}

/// Posts parts of a body, one after the other. Gives the whole answer.
fn post(address: SocketAddr, media: &str, parts: &[&str]) -> String {
    let mut stream = TcpStream::connect(address).expect("Envoy listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let head = format!(
        "POST /backchannel-logout HTTP/1.1\r\nhost: chat\r\ncontent-type: {media}\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("Envoy reads");
    for part in parts {
        thread::sleep(Duration::from_millis(50));
        // Envoy may have answered a body that is too long before its end.
        let _ = stream.write_all(part.as_bytes());
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// All of them get their Close in time after `begin`.
#[track_caller]
fn assert_ended(sockets: Vec<WebSocket>, begin: Instant, promised: Duration) {
    for (index, mut socket) in sockets.into_iter().enumerate() {
        let (_, verdict) = socket.rest(PATIENCE);
        assert_eq!(verdict, Verdict::close(3_000, "credential_revoked"), "{index}");
        assert!(begin.elapsed() < promised, "{index}: {:?}", begin.elapsed());
    }
    println!("all had ended after {:?}", begin.elapsed());
}

#[track_caller]
fn assert_open(sockets: &mut [WebSocket]) {
    sockets
        .iter_mut()
        .for_each(|socket| drop(socket.exchange("still here", PATIENCE).expect("it is nobody else's fault")));
}

#[test]
fn a_logout_at_the_provider_ends_the_session_on_all_workers_of_two_envoys() {
    let idp = Idp::start();
    let provider = SocketAddr::from(([127, 0, 0, 1], idp.port()));
    let second =
        Gate::launch(by_logout(&idp, &[]), Mode::Echo, |launch| launch.service("idp", provider).concurrency(4));
    let peer = second.envoy.address();
    let first = Gate::launch(by_logout(&idp, &["peer"]), Mode::Echo, |launch| {
        launch.service("idp", provider).service("peer", peer).concurrency(4)
    });
    let [ended, other, bob] =
        [("alice", "s1"), ("alice", "s2"), ("bob", "s3")].map(|(sub, sid)| idp.token_of_session(sub, sid));
    let mut gone: Vec<WebSocket> = (0..16).flat_map(|_| [open(&first, &ended), open(&second, &ended)]).collect();
    let mut left: Vec<WebSocket> = [&other, &bob, &other, &bob]
        .into_iter()
        .flat_map(|token| [open(&first, token), open(&second, token)])
        .collect();
    assert_open(&mut gone);
    assert_open(&mut left);
    let begin = Instant::now();
    idp.logout("alice", "s1", &format!("http://{}/backchannel-logout", first.envoy.address()));
    assert_ended(gone, begin, PROMISED);
    assert_open(&mut left);
    for gate in [&first, &second] {
        for _ in 0..8 {
            assert_eq!((status(gate, &ended), status(gate, &other), status(gate, &bob)), (401, 101, 101));
        }
        assert_eq!((count(gate, "logouts.accepted"), count(gate, "refused.credential_revoked")), (1, 16 + 8));
    }
}

#[test]
fn the_endpoint_reads_a_body_however_it_comes_and_keeps_it_from_the_upstream() {
    let gate = Gate::launch(
        policy(
            &json!({
                "providers": tokens::auth()["providers"],
                "back_channel_logout": {"path": "/backchannel-logout", "provider": "corp"},
            }),
            &json!({"non_websocket": "pass"}),
        ),
        Mode::Echo,
        |launch| launch.concurrency(2),
    );
    let logout = |jti: &str| {
        let events = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
        let token = Token::new(Algorithm::ES256)
            .claim("events", events)
            .claim("jti", json!(jti))
            .claim("iat", tokens::in_seconds(0));
        token.claim("exp", tokens::in_seconds(120)).sign()
    };
    let form = "application/x-www-form-urlencoded";
    let address = gate.envoy.address();
    let (one, two) = (format!("logout_token={}", logout("1")), format!("logout_token={}", logout("2")));
    let (start, end) = two.split_at(100);
    for (media, parts, expected) in [
        (form, &[one.as_str()][..], "HTTP/1.1 200"),
        (form, &[start, end], "HTTP/1.1 200"),
        (form, &[one.as_str()], "HTTP/1.1 400"),
        ("application/json", &[one.as_str()], "HTTP/1.1 400"),
        (form, &["logout_token=a.b.c"], "HTTP/1.1 400"),
        (form, &["logout_token=", &"a".repeat(40_000), &"a".repeat(40_000)], "HTTP/1.1 400"),
    ] {
        let answer = post(address, media, parts);
        assert!(answer.starts_with(expected) && answer.contains("cache-control: no-store"), "{expected}: {answer}");
    }
    let log = gate.envoy.log().expect("a log");
    assert!(!log.contains(&logout("1")[..40]), "a token in the log");
}

/// A server that publishes a list, and counts who asks for it again.
struct Publisher {
    address: SocketAddr,
    list: Arc<Mutex<(String, u32)>>,
}

impl Publisher {
    fn start(list: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let list = Arc::new(Mutex::new((list.to_owned(), 0)));
        let shared = Arc::clone(&list);
        // It ends with the process.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = vec![];
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or_default() == 0 {
                        break;
                    }
                    request.extend(byte);
                }
                let (list, unchanged) = &mut *shared.lock().expect("nobody panics");
                let etag = format!("\"{}\"", list.len());
                let is_known = String::from_utf8_lossy(&request).contains(&format!("if-none-match: {etag}"));
                *unchanged += u32::from(is_known);
                let (status, body) = if is_known { ("304 Not Modified", "") } else { ("200 OK", list.as_str()) };
                let head = format!(
                    "HTTP/1.1 {status}\r\netag: {etag}\r\nconnection: close\r\ncontent-length: {}\r\n",
                    body.len()
                );
                let _ = write!(stream, "{head}\r\n{body}");
            }
        });
        Self { address, list }
    }

    fn publish(&self, list: &str) {
        self.list.lock().expect("nobody panics").0 = list.to_owned();
    }
}

#[test]
fn a_list_ends_whoever_it_names_on_all_workers_of_two_envoys() {
    let publisher = Publisher::start(r#"{"sub": []}"#);
    let mut auth = tokens::auth();
    auth["revocation"] = json!({"cluster": "revocations", "path": "/revoked.json", "refresh": "1s"});
    let gates = [(); 2].map(|()| {
        let policy = policy(&auth, &json!({}));
        Gate::launch(policy, Mode::Echo, |launch| launch.service("revocations", publisher.address).concurrency(4))
    });
    let token = |sub: &str| Token::new(Algorithm::ES256).claim("sub", json!(sub)).sign();
    let (alice, bob) = (token("alice"), token("bob"));
    let open_all =
        |token: &str| (0..8).flat_map(|_| gates.each_ref().map(|gate| open(gate, token))).collect::<Vec<_>>();
    let (gone, mut left) = (open_all(&alice), open_all(&bob));
    publisher.publish(r#"{"sub": ["alice"]}"#);
    assert_ended(gone, Instant::now(), PROMISED + Duration::from_secs(1));
    assert_open(&mut left);
    // What is no list takes nothing back.
    publisher.publish("<html>");
    assert!(wait(|| (count(&gates[0], "revocations.failed") > 0).then_some(())).is_some());
    for gate in &gates {
        assert_eq!((status(gate, &alice), status(gate, &bob)), (401, 101));
    }
    publisher.publish(r#"{"sub": [    ]}"#);
    assert!(wait(|| (status(&gates[1], &alice) == 101).then_some(())).is_some());
    assert_open(&mut left);
    assert!(publisher.list.lock().expect("nobody panics").1 > 0, "the list is always sent in whole");
}
