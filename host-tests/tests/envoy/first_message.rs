//! Clients that say who they are when they are connected, and renew it: by their first message, in three envelopes, behind a real Envoy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::{Mode, Play, Request, echo};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{CLOSE, Draft, Frame, TEXT};
use portcullis_envoy::peer::websocket::{Event, Verdict, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Gate, PATIENCE, wait};
use crate::tokens::{self, Token, in_seconds};

/// How long nothing comes that would have come by then.
const QUIET: Duration = Duration::from_millis(300);

/// A policy of `auth` beside the providers that these tests trust.
fn policy(auth: &Value, messages: &Value) -> Value {
    let mut own = json!({"providers": tokens::auth()["providers"], "sources": [{"message": "/token"}]});
    for (key, value) in auth.as_object().expect("an object") {
        own[key] = value.clone();
    }
    let mut from_client = json!({"json": {}, "max_message_bytes": 200_000});
    for (key, value) in messages.as_object().expect("an object") {
        from_client[key] = value.clone();
    }
    json!({
        "require_tls": false, "origin": {"missing": "allow"}, "non_websocket": "refuse", "auth": own, "messages": {"from_client": from_client},
    })
}

fn token(sub: &str, seconds: i64) -> String {
    Token::new(Algorithm::HS256).claim("sub", sub).claim("exp", in_seconds(seconds)).sign()
}

fn auth(token: &str) -> Draft {
    Draft::text(&json!({"type": "auth", "token": token}).to_string())
}

/// Text frames of so many bytes in all, each of them numbered.
fn numbered(len: usize) -> Vec<Draft> {
    let frame = |number: usize| Draft::text(&format!("[{number},\"{}\"]", "x".repeat(40_000.min(len))));
    (0..len.div_ceil(40_000)).map(frame).collect()
}

fn bytes(frames: &[Draft]) -> Vec<u8> {
    frames.iter().flat_map(Draft::bytes).collect()
}

/// Each way of a server to speak first: in one write, or frame by frame.
fn speaking_first(frames: Vec<Draft>, is_slow: bool) -> Mode {
    Mode::scripted(move |head| {
        let play = Play::correct(head).on_frame(echo);
        if !is_slow {
            return play.then(bytes(&frames));
        }
        let frames = frames.clone();
        play.feed(frames.into_iter().map(|frame| {
            thread::sleep(Duration::from_millis(20));
            frame.bytes()
        }))
    })
}

#[track_caller]
fn receive_all(websocket: &mut WebSocket, expected: &[Draft]) {
    for draft in expected {
        match websocket.receive(PATIENCE) {
            Event::Frame(frame) => assert_eq!(Draft::copy_of(&frame).bytes(), draft.bytes()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_server_says_first_comes_whole_when_its_client_is_known() {
    for (len, is_slow) in [(1, false), (1, true), (100_000, false), (100_000, true)] {
        let said = numbered(len);
        let gate = Gate::start(policy(&json!({}), &json!({})), speaking_first(said.clone(), is_slow));
        for _ in 0..5 {
            let mut websocket = gate.open("/chat");
            assert_eq!(websocket.receive(QUIET), Event::Timeout, "{len}");
            let rest = [Draft::text("[1]"), Draft::text("[2]")];
            let all = [auth(&token("alice", 600)), rest[0].clone(), rest[1].clone()];
            let all: Vec<u8> = all.into_iter().flat_map(|draft| draft.masked().bytes()).collect();
            websocket.send(&all).expect("it takes bytes");
            receive_all(&mut websocket, &said);
            receive_all(&mut websocket, &rest);
            assert_eq!(websocket.exchange("[3]", PATIENCE).expect("an echo"), websocket_text("[3]"));
        }
        let request = gate.request("/chat", |request| request.frames().0.len() >= 3);
        let texts: Vec<String> = request.frames().0.iter().map(text_of).collect();
        assert_eq!(texts[..3], ["[1]", "[2]", "[3]"]);
        gate.wait_for_log(|lines| lines.iter().any(|line| line["subject"] == "alice"));
        let log = gate.envoy.log().expect("a log");
        assert!(!log.contains("eyJ"), "a token in the log");
    }
}

fn websocket_text(text: &str) -> Event {
    let (frame, _) = Frame::parse(&Draft::text(text).bytes()).expect("a frame");
    Event::Frame(frame)
}

fn text_of(frame: &Frame) -> String {
    String::from_utf8_lossy(&frame.payload).into_owned()
}

#[test]
fn who_does_not_say_who_it_is_is_told_so_and_its_server_too() {
    let gate = Gate::start(
        policy(&json!({"first_message_timeout": "1s"}), &json!({})),
        speaking_first(vec![Draft::text("secret")], false),
    );
    for (path, first, reason) in [
        ("/forged", Some(auth(tokens::FORGED)), "credential_invalid"),
        ("/expired", Some(auth(&token("alice", -600))), "credential_expired"),
        ("/other", Some(Draft::text("{}")), "credential_missing"),
        ("/leaves", Some(Draft::close(1_000, "bye")), "credential_missing"),
        ("/silent", None, "credential_missing"),
    ] {
        let mut websocket = gate.open(path);
        let begin = Instant::now();
        if let Some(first) = first.clone() {
            websocket.send_frame(first).expect("it takes bytes");
        }
        let (frames, verdict) = websocket.rest(PATIENCE);
        assert_eq!((frames, verdict), (vec![], Verdict::close(3_000, reason)), "{path}");
        let span = begin.elapsed();
        assert!(
            (first.is_none() && span >= Duration::from_millis(900)) || span < Duration::from_millis(900),
            "{span:?}"
        );
        gate.request(path, |request| {
            let (frames, _) = request.frames();
            assert!(frames.iter().all(|frame| frame.opcode == CLOSE), "{path}");
            !frames.is_empty()
        });
    }
}

#[test]
fn graphql_is_answered_when_connection_init_is_good() {
    let messages = json!({"envelope": {"graphql-transport-ws": "graphql-transport-ws"}});
    let auth = json!({"forward": true, "sources": [{"message": "/payload/token"}]});
    let mode = Mode::scripted(|head| {
        let answer = head.accepted_with(&[("sec-websocket-protocol", "graphql-transport-ws")]);
        Play::answer(answer).on_frame(|frame: &Frame| match serde_json::from_slice::<Value>(&frame.payload) {
            Ok(message) if message["type"] == "connection_init" => Draft::text(r#"{"type":"connection_ack"}"#).bytes(),
            Ok(message) if message["type"] == "subscribe" => {
                Draft::text(&json!({"type": "next", "id": message["id"], "payload": {}}).to_string()).bytes()
            }
            _ => vec![],
        })
    });
    let gate = Gate::start(policy(&auth, &messages), mode);
    let upgrade = Upgrade::to("/graphql").header("sec-websocket-protocol", "graphql-transport-ws");
    let init = |token: &str| json!({"type": "connection_init", "payload": {"token": token}}).to_string();
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": "{a}"}}).to_string();
    let mut websocket = gate.client.open(&upgrade).expect("a 101");
    let acknowledged = websocket.exchange(&init(&token("alice", 600)), PATIENCE).expect("an answer");
    assert_eq!(acknowledged, websocket_text(r#"{"type":"connection_ack"}"#));
    let Event::Frame(next) = websocket.exchange(&subscribe, PATIENCE).expect("an answer") else { panic!("no answer") };
    assert!(text_of(&next).contains("\"next\""));
    for first in [init("x"), subscribe] {
        let mut websocket = gate.client.open(&upgrade).expect("a 101");
        websocket.send_frame(Draft::text(&first)).expect("it takes bytes");
        let Verdict::Close(Some(3_000), _) = websocket.verdict(PATIENCE) else { panic!("{first}") };
    }
}

#[test]
fn socket_io_connects_with_its_token() {
    let open = r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    let mode = Mode::scripted(move |head| {
        Play::correct(head).then(Draft::text(open).bytes()).on_frame(|frame: &Frame| match text_of(frame) {
            text if text.starts_with("40") => Draft::text(r#"40{"sid":"y"}"#).bytes(),
            text if text.starts_with("42") => Draft::text(&text).bytes(),
            _ => vec![],
        })
    });
    let gate = Gate::start(policy(&json!({"forward": true}), &json!({"envelope": "socket.io"})), mode);
    let connect = |token: &str| format!("40{}", json!({"token": token}));
    for (token, expected) in [(token("alice", 600), true), ("x".to_owned(), false)] {
        let mut websocket = gate.open("/socket.io/?EIO=4&transport=websocket");
        // A client says nothing before.
        assert_eq!(websocket.receive(PATIENCE), websocket_text(open));
        websocket.send_frame(Draft::text(&connect(&token))).expect("it takes bytes");
        if expected {
            assert_eq!(websocket.receive(PATIENCE), websocket_text(r#"40{"sid":"y"}"#));
            assert_eq!(websocket.exchange(r#"42["a"]"#, PATIENCE).expect("an echo"), websocket_text(r#"42["a"]"#));
        } else {
            assert_eq!(websocket.rest(PATIENCE), (vec![], Verdict::close(3_000, "credential_invalid")));
        }
    }
}

#[test]
fn a_socket_outlives_its_tokens_and_not_its_subject() {
    let renew = json!({"renew": {"when": {"/type": "auth"}, "token": "/token"}});
    let gate = Gate::start(policy(&renew, &json!({})), Mode::Echo);
    let mut websocket = gate.open("/chat");
    let begin = Instant::now();
    websocket.send_frame(auth(&token("alice", 3))).expect("it takes bytes");
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(1_500));
        websocket.send_frame(auth(&token("alice", 3))).expect("it takes bytes");
        assert_eq!(websocket.exchange("[1]", PATIENCE).expect("an echo"), websocket_text("[1]"));
    }
    assert!(begin.elapsed() > Duration::from_secs(6));
    let mut other = gate.open("/other");
    other.send_frame(auth(&token("alice", 600))).expect("it takes bytes");
    assert_eq!(other.exchange("[1]", PATIENCE).expect("an echo"), websocket_text("[1]"));
    other.send_frame(auth(&token("bob", 600))).expect("it takes bytes");
    assert_eq!(other.verdict(PATIENCE), Verdict::close(3_000, "credential_invalid"));
    let last = Instant::now();
    assert_eq!(websocket.verdict(PATIENCE), Verdict::close(3_000, "credential_expired"));
    assert!(last.elapsed() < Duration::from_secs(4));
    let request = gate.request("/chat", |request| request.frames().0.len() >= 4);
    assert!(request.frames().0.iter().all(|frame| frame.opcode != TEXT || text_of(frame) == "[1]"));
}

/// Publishes the keys of `corp` once the flag is set, to all who have asked by then.
fn key_server() -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let is_told = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_told);
    let keys = tokens::auth()["providers"][0]["jwks"]["inline"].to_string();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let (told, keys) = (Arc::clone(&told), keys.clone());
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4_096]);
                while !told.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                }
                let len = keys.len();
                let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{keys}");
            });
        }
    });
    (address, is_told)
}

#[test]
fn bytes_of_both_sides_wait_for_keys_and_come_whole() {
    for (client_len, server_len) in [(1, 1), (100_000, 100_000), (400_000, 100_000)] {
        let (address, is_told) = key_server();
        let jwks = json!({"cluster": "idp", "url": "http://idp/keys", "timeout": "20s"});
        let mut providers = json!([tokens::auth()["providers"][0]]);
        providers[0]["jwks"] = jwks;
        let (said, sent) = (numbered(server_len), numbered(client_len));
        let gate = Gate::launch(
            policy(&json!({"providers": providers}), &json!({})),
            speaking_first(said.clone(), true),
            |launch| launch.service("idp", address),
        );
        let mut waiting: Vec<WebSocket> = (0..4).map(|_| gate.open("/chat")).collect();
        for (index, websocket) in waiting.iter().enumerate() {
            let token = Token::new(Algorithm::ES256).header("kid", "p256");
            let token = if index == 3 { token.claim("iss", "https://other.example/") } else { token };
            websocket.send_frame(auth(&token.sign())).expect("it takes bytes");
            for frame in &sent {
                websocket.send_frame(frame.clone()).expect("it takes bytes");
            }
        }
        let mut last = waiting.pop().expect("four");
        assert_eq!(last.verdict(PATIENCE), Verdict::close(3_000, "credential_invalid"));
        for websocket in &mut waiting {
            assert_eq!(websocket.receive(QUIET), Event::Timeout);
        }
        is_told.store(true, Ordering::Relaxed);
        for websocket in &mut waiting {
            receive_all(websocket, &said);
            receive_all(websocket, &sent);
        }
        let is_whole = wait(|| {
            let requests = gate.backend.requests();
            let texts = |request: &Request| request.frames().0.iter().filter(|frame| frame.opcode == TEXT).count();
            let whole = requests.iter().filter(|request| texts(request) == sent.len()).count();
            (whole == 3).then_some(())
        });
        assert!(is_whole.is_some(), "{client_len}");
    }
}
