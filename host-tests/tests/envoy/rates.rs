//! How much those send who are in: a connection, and a subject over all of its connections and all workers.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::{Mode, Play};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{CLOSE, Draft, Frame, PING, TEXT};
use portcullis_envoy::peer::websocket::WebSocket;
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE, receive_until_close, wait};
use crate::limits::{WORKERS, policy};
use crate::tokens::{self, Token};

#[test]
fn what_is_too_much_ends_the_connection_and_nothing_of_it_arrives() {
    let gate = Gate::start(policy_by_row("close"), Mode::Echo);
    let mut counters = Counters::default();
    for (path, row) in rows() {
        let mut websocket = gate.open(&path);
        websocket.send(&row.bytes()).expect("it takes bytes");
        let told = receive_until_close(&mut websocket);
        check_close(&path, told.last(), 1_008, "rate_exceeded");
        counters.closed("rate_exceeded");
        let got = gate.request(&path, |request| request.end.is_some());
        let (frames, rest) = got.frames();
        assert!(rest.is_empty(), "{path}: {} bytes of what was too much", rest.len());
        check_close(&path, frames.last(), 1_008, "rate_exceeded");
        check_same(&path, &frames[..frames.len() - 1], &row.frames[..row.excess]);
    }
    gate.check_counters(&counters);
}

/// A page asks for sixty things when it opens, and may ask for forty.
#[test]
fn what_was_allowed_is_answered_before_the_close() {
    const ASKED: usize = 60;
    const ALLOWED: usize = 40;
    let limits = json!({"per_connection": {"messages": {"per_second": 0.1, "burst": ALLOWED}}});
    let gate = Gate::start(policy(limits), Mode::Echo);
    let mut counters = Counters::default();
    let operations: Vec<Draft> = (0..ASKED).map(|number| Draft::text(&format!("operation {number}"))).collect();
    for number in 0..20 {
        let path = format!("/{number}");
        let mut websocket = gate.open(&path);
        let sent: Vec<u8> = operations.iter().flat_map(|draft| draft.clone().masked().bytes()).collect();
        websocket.send(&sent).expect("it takes bytes");
        let told = receive_until_close(&mut websocket);
        check_close(&path, told.last(), 1_008, "rate_exceeded");
        let answers: Vec<_> = told[..told.len() - 1].iter().map(|frame| &frame.payload).collect();
        let allowed: Vec<_> = (0..ALLOWED).map(|number| format!("operation {number}").into_bytes()).collect();
        assert_eq!(answers, allowed.iter().collect::<Vec<_>>(), "{path}");
        counters.closed("rate_exceeded");
        let got = gate.request(&path, |request| request.end.is_some());
        let arrived: Vec<_> = got.frames().0[..ALLOWED].iter().map(|frame| frame.payload.clone()).collect();
        assert_eq!(arrived, allowed, "{path}");
    }
    gate.check_counters(&counters);
}

#[test]
fn what_is_too_much_is_swallowed_where_the_policy_says_so() {
    let gate = Gate::start(policy_by_row("drop"), Mode::Echo);
    let mut counters = Counters::default();
    for (path, row) in rows() {
        let mut websocket = gate.open(&path);
        websocket.send(&row.bytes()).expect("it takes bytes");
        // It lives, and may send again.
        thread::sleep(Duration::from_millis(200));
        let last = Draft::text(r#"{"type": "p"}"#);
        websocket.send_frame(last.clone()).expect("it takes bytes");
        websocket.send_frame(Draft::close(1_000, "bye")).expect("it takes bytes");
        let told = receive_until_close(&mut websocket);
        check_close(&path, told.last(), 1_000, "bye");
        counters.closed("peer");
        counters.add("refused.rate_exceeded", 1);
        let got = gate.request(&path, |request| request.end.is_some());
        let (frames, rest) = got.frames();
        assert!(rest.is_empty(), "{path}");
        let (before, after) = (&row.frames[..row.excess], &row.frames[row.excess + 1..]);
        check_same(&path, &frames[..frames.len() - 1], &[before, after, &[last]].concat());
    }
    gate.check_counters(&counters);
}

#[test]
fn monitor_mode_counts_what_would_be_too_much() {
    let mut policy = policy_by_row("close");
    policy["mode"] = "monitor".into();
    let gate = Gate::start(policy, Mode::Echo);
    let mut counters = Counters::default();
    for (path, row) in rows() {
        let mut websocket = gate.open(&path);
        websocket.send(&row.bytes()).expect("it takes bytes");
        websocket.send_frame(Draft::close(1_000, "bye")).expect("it takes bytes");
        check_close(&path, receive_until_close(&mut websocket).last(), 1_000, "bye");
        let got = gate.request(&path, |request| request.end.is_some());
        let frames = got.frames().0;
        check_same(&path, &frames[..frames.len() - 1], &row.frames);
        counters.closed("peer");
        counters.add("would_refuse.rate_exceeded", 1);
    }
    gate.check_counters(&counters);
}

/// Frames that one client sends at once, and which of them is too much.
struct Row {
    limits: Value,
    frames: Vec<Draft>,
    excess: usize,
}

impl Row {
    /// In one write, so that Envoy has them at once.
    fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|frame| frame.clone().masked().bytes()).collect()
    }
}

/// The rows, and the path that each is for.
fn rows() -> impl Iterator<Item = (String, Row)> {
    let text = |kind: &str, len: usize| Draft::text(&format!("{:len$}", json!({"type": kind}).to_string()));
    let (chat, ping) = (text("chat", 0), Draft::new(PING, "ping"));
    let by_type = ["login", "chat", "login", "chat", "login", "chat"].map(|kind| text(kind, 0));
    let rows = [
        // The defaults.
        Row {
            limits: json!({"messages": {"per_second": 20, "burst": 40}}),
            frames: vec![chat.clone(); 41],
            excess: 40,
        },
        Row {
            limits: json!({"messages": {"per_second": 20, "burst": 40}}),
            frames: vec![ping.clone(); 41],
            excess: 40,
        },
        Row {
            limits: json!({"messages": {"per_second": 20, "burst": 3}}),
            frames: vec![chat.clone(), ping, chat.clone(), chat],
            excess: 3,
        },
        Row {
            limits: json!({"bytes": {"per_second": 200, "burst": 100}}),
            frames: vec![text("chat", 60), text("chat", 40), text("chat", 15)],
            excess: 2,
        },
        Row { limits: json!({"bytes": {"per_second": 200, "burst": 100}}), frames: vec![text("chat", 101)], excess: 0 },
        Row { limits: json!({"by_type": {"login": {"per_second": 1, "burst": 2}}}), frames: by_type.into(), excess: 4 },
    ];
    rows.into_iter().enumerate().map(|(number, row)| (format!("/{number}"), row))
}

/// The limits of each row on its path.
fn policy_by_row(on_excess: &str) -> Value {
    let mut policy = policy(json!({"per_connection": {"messages": null, "bytes": null}, "on_excess": on_excess}));
    let schemas = json!({"login": {}, "chat": {}, "p": {}});
    policy["messages"] =
        json!({"from_client": {"json": {"discriminator": "/type", "schemas": schemas, "otherwise": "refuse"}}});
    let route = |(path, row): (String, Row)| json!({"match": {"path": path}, "policy": {"limits": {"per_connection": row.limits}}});
    policy["routes"] = rows().map(route).collect();
    policy
}

#[track_caller]
fn check_close(path: &str, frame: Option<&Frame>, code: u16, reason: &str) {
    let close = frame.filter(|frame| frame.opcode == CLOSE).map(|close| (close.close_code(), close.close_reason()));
    assert_eq!(close, Some((Some(code), reason.to_owned())), "{path}");
}

#[track_caller]
fn check_same(path: &str, got: &[Frame], sent: &[Draft]) {
    let got: Vec<_> = got.iter().map(|frame| Draft::copy_of(frame).bytes()).collect();
    let sent: Vec<_> = sent.iter().map(|draft| draft.clone().bytes()).collect();
    assert!(got == sent, "{path}: {} frames in place of {}", got.len(), sent.len());
}

#[test]
fn a_subject_sends_as_much_as_its_rate_says_over_three_workers() {
    const SPAN: Duration = Duration::from_secs(5);
    let messages = json!({"per_second": 20, "burst": 40});
    let mut policy = policy(json!({
        "per_subject": {"connections": null, "messages": messages}, "on_excess": "drop",
    }));
    policy["auth"] = tokens::auth();
    let mute = Mode::scripted(|head| {
        Play::answer(head.accepted())
            .on_frame(|frame| if frame.opcode == CLOSE { Draft::copy_of(frame).bytes() } else { Vec::new() })
    });
    let gate = Gate::launch(policy, mute, |launch| launch.concurrency(WORKERS));
    let token = Token::new(Algorithm::HS256).sign();
    let mut opened = 0;
    let mut open = || {
        opened += 1;
        let upgrade = Upgrade::to(&format!("/{opened}")).header("Authorization", format!("Bearer {token}"));
        gate.client.open(&upgrade).expect("a good upgrade is accepted")
    };
    let mut websockets = on_workers(&gate, 3, &mut open);

    let start = Instant::now();
    let hammer = |websocket: &mut WebSocket| {
        let mut sent = 0;
        while start.elapsed() < SPAN {
            websocket.send_frame(Draft::text("hello")).expect("it takes bytes");
            sent += 1;
            thread::sleep(Duration::from_millis(2));
        }
        // What came before it has arrived with it.
        websocket.send_frame(Draft::close(1_000, "bye")).expect("it takes bytes");
        assert!(!receive_until_close(websocket).is_empty());
        sent
    };
    let sent: u64 = thread::scope(|scope| {
        let clients: Vec<_> = websockets.iter_mut().map(|websocket| scope.spawn(|| hammer(websocket))).collect();
        clients.into_iter().map(|client| client.join().expect("it does not panic")).sum()
    });
    let expected = 40.0 + 20.0 * start.elapsed().as_secs_f64();
    let texts = |frames: &[Frame]| frames.iter().filter(|frame| frame.opcode == TEXT).count() as u64;
    let arrived: u64 = gate.backend.requests().iter().map(|request| texts(&request.frames().0)).sum();
    println!("{arrived} of {sent} messages arrived, {expected:.1} expected");
    assert!((arrived as f64 - expected).abs() <= expected * 0.1, "{arrived} of {expected}");
    drop(websockets);
    let mut counters = Counters::default();
    (0..opened).for_each(|_| counters.closed("peer"));
    counters.add("refused.rate_exceeded", sent - arrived);
    gate.check_counters(&counters);
}

/// Connections that are each on a worker of its own.
#[track_caller]
fn on_workers(gate: &Gate, count: usize, open: &mut dyn FnMut() -> WebSocket) -> Vec<WebSocket> {
    let active = || {
        let stats = gate.envoy.stats().expect("Envoy answers").into_iter();
        let of_worker = stats.filter(|(name, _)| name.contains(".worker_") && name.ends_with(".downstream_cx_active"));
        of_worker.collect::<BTreeMap<_, _>>()
    };
    let mut websockets = Vec::new();
    let start = Instant::now();
    while websockets.len() < count {
        assert!(start.elapsed() < PATIENCE, "all are on one worker: {:?}", active());
        let websocket = open();
        if active().values().all(|&count| count <= 1) {
            websockets.push(websocket);
        } else {
            drop(websocket);
            assert!(wait(|| active().values().all(|&count| count <= 1).then_some(())).is_some(), "it stays");
        }
    }
    websockets
}
