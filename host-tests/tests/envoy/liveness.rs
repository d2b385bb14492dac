//! How long things take in a real Envoy: clients that are gone, silent, slow or old are ended in time, and nobody else is.
//!
//! Spans are about a second, so that a run takes seconds; a client that is to be cut and one that is not differ by more than a machine
//! under load is late.

use std::collections::HashMap;
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_envoy::Update;
use portcullis_envoy::peer::backend::{End, Mode, Play};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{BINARY, CLOSE, CONTINUATION, Draft, Frame, PING, PONG, TEXT, Width};
use portcullis_envoy::peer::head::Head;
use portcullis_envoy::peer::websocket::{Event, Verdict, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE, open_policy};

/// Over HTTP/1.1 and HTTP/2, whether the server is silent or says as much as it can.
#[test]
fn a_client_that_neither_reads_nor_answers_is_cut() {
    let liveness = json!({"ping_interval": "1s", "pong_timeout": "1s", "jitter": 0});
    let moved = Arc::<Mutex<HashMap<String, Instant>>>::default();
    let mode = {
        let moved = Arc::clone(&moved);
        Mode::scripted(move |head| flood(head, &moved))
    };
    let (gate, session) = Gate::with_http2(policy(liveness), mode);
    let count = thread::scope(|scope| {
        let over_http_1 = ["/silent", "/endless", "/short", "/long", "/aligned"].map(|path| {
            let (gate, moved) = (&gate, &moved);
            scope.spawn(move || check_cut(gate, moved, path, gate.open(path)))
        });
        // All that is not read on one HTTP/2 connection must leave some of its window to the others.
        let over_http_2 = ["/silent/2", "/endless/2", "/short/2"].map(|path| {
            let (gate, moved, session) = (&gate, &moved, &session);
            scope.spawn(move || {
                let websocket = session.upgrade(&Upgrade::to(path)).expect("it is accepted");
                check_cut(gate, moved, path, websocket)
            })
        });
        let clients = over_http_1.into_iter().chain(over_http_2);
        clients.map(|client| client.join().expect("it is cut in time")).count()
    });
    let mut counters = Counters::default();
    (0..count).for_each(|_| counters.closed("dead"));
    gate.check_counters(&counters);
}

/// When a server could last write something.
type Moved = Mutex<HashMap<String, Instant>>;

/// It does nothing, and is gone in time, from either side's view.
#[track_caller]
fn check_cut(gate: &Gate, moved: &Moved, path: &str, mut websocket: WebSocket) {
    let start = Instant::now();
    let request = gate.request(path, |request| request.end.is_some());
    let gone = start.elapsed();
    // Until then the buffers on the way took what the client did not.
    let filled = moved.lock().expect("a server").get(path).map_or(Duration::ZERO, |at| *at - start);
    let (frames, verdict) = websocket.rest(PATIENCE);
    println!(
        "{path}: buffers full after {filled:?}, cut after {gone:?}, {:?}; the client found {verdict:?} behind {} frames",
        request.end,
        frames.len()
    );
    assert!(matches!(verdict, Verdict::Close(Some(1_001), _) | Verdict::Eof | Verdict::Reset), "{path}: {verdict:?}");
    // Where its way was free it knows why.
    if path.starts_with("/silent") {
        assert_eq!(verdict, Verdict::close(1_001, "dead"), "{path}");
    }
    assert!(gone - filled < 3 * SECOND, "{path}: {:?}", gone - filled);
}

/// A server that says as much as it can, for a minute.
fn flood(head: &Head, moved: &Arc<Moved>) -> Play {
    let frames = |len: usize| Draft::new(BINARY, vec![b'y'; len]).bytes().repeat(60_000_usize.div_ceil(len));
    let bytes = match head.target().split('/').nth(1) {
        Some("short") => frames(100),
        Some("long") => frames(60_000),
        // Whole frames in whatever Envoy reads at once.
        Some("aligned") => frames(124),
        Some("endless") => {
            let header = Draft::new(BINARY, []).declared_len(1 << 40).header();
            return Play::correct(head).then(header).feed(for_a_minute(head, moved, vec![b'y'; 60_000]));
        }
        _ => return Play::correct(head),
    };
    Play::correct(head).feed(for_a_minute(head, moved, bytes))
}

fn for_a_minute(head: &Head, moved: &Arc<Moved>, bytes: Vec<u8>) -> impl Iterator<Item = Vec<u8>> + use<> {
    let (path, moved, start) = (head.target().to_owned(), Arc::clone(moved), Instant::now());
    let next = move || {
        // What was given before has been written.
        moved.lock().expect("a client").insert(path.clone(), Instant::now());
        bytes.clone()
    };
    iter::repeat_with(next).take_while(move |_| start.elapsed() < 60 * SECOND)
}

/// A client that reads all that comes and answers nothing.
#[test]
fn a_client_that_does_not_answer_is_told_so() {
    let liveness = json!({"ping_interval": "1s", "pong_timeout": "1s", "jitter": 0});
    let (gate, session) = Gate::with_http2(policy(liveness), Mode::Echo);
    let clients = [gate.open("/"), session.upgrade(&Upgrade::to("/2")).expect("it is accepted")];
    let mut counters = Counters::default();
    for (mut websocket, path) in clients.into_iter().zip(["/", "/2"]) {
        let (frames, verdict) = websocket.rest(PATIENCE);
        assert_eq!(verdict, Verdict::close(1_001, "dead"), "{path}");
        assert!(matches!(&frames[..], [ping] if is_ours(ping)), "{path}: {frames:?}");
        counters.closed("dead");
        let request = gate.request(path, |request| request.end.is_some());
        check_close(&request.frames().0, 1_001, "dead");
    }
    gate.check_counters(&counters);
}

#[test]
fn a_silent_client_that_answers_stays_until_it_is_idle() {
    let liveness = json!({"ping_interval": "500ms", "pong_timeout": "1s", "idle_timeout": "3s", "jitter": 0});
    let (gate, session) = Gate::with_http2(policy(liveness), Mode::Echo);
    let clients = [gate.open("/"), session.upgrade(&Upgrade::to("/2")).expect("it is accepted")];
    let mut counters = Counters::default();
    thread::scope(|scope| {
        for (mut websocket, path) in clients.into_iter().zip(["/", "/2"]) {
            let gate = &gate;
            scope.spawn(move || {
                let start = Instant::now();
                let (mut pings, mut told) = (0, Vec::new());
                let verdict = live(&mut websocket, PATIENCE, |websocket, frame| {
                    pings += usize::from(is_ours(&frame));
                    if !is_ours(&frame) {
                        told.push(frame);
                    } else if pings == 2 {
                        // What is its own goes on, and puts nothing off.
                        for own in [Draft::new(PING, "its own"), Draft::new(PONG, "unasked"), Draft::new(PONG, [0; 8])]
                        {
                            websocket.send_frame(own).expect("it takes bytes");
                        }
                    }
                });
                let lived = start.elapsed();
                println!("{path}: {verdict:?} after {lived:?} and {pings} pings");
                assert_eq!(verdict, Verdict::close(1_001, "idle"), "{path}");
                assert!((29 * SECOND / 10..4 * SECOND).contains(&lived), "{path}: {lived:?}");
                assert!((3..=6).contains(&pings), "{path}: {pings} pings");
                assert!(matches!(&told[..], [pong] if pong.opcode == PONG && pong.payload == b"its own"), "{told:?}");

                let request = gate.request(path, |request| request.end.is_some());
                let (mut frames, rest) = request.frames();
                assert_eq!((rest, request.end), (&[][..], Some(End::Eof)), "{path}");
                let close = frames.split_off(frames.len() - 1);
                check_close(&close, 1_001, "idle");
                let got: Vec<_> = frames.iter().map(|frame| (frame.opcode, frame.payload.as_slice())).collect();
                assert_eq!(got, [(PING, &b"its own"[..]), (PONG, b"unasked"), (PONG, &[0; 8])], "{path}");
            });
        }
    });
    (0..2).for_each(|_| counters.closed("idle"));
    gate.check_counters(&counters);
}

/// Pings go out behind what the server says, wherever that ends with a frame, and at any time once it is silent.
#[test]
fn a_client_that_reads_a_feed_and_answers_is_never_cut() {
    check_feeds("halved");
}

/// Its way is busy, or changes between quiet and busy.
#[test]
fn nor_is_it_where_the_buffers_are_not_known() {
    check_feeds("default");
}

#[track_caller]
fn check_feeds(buffer_limits: &str) {
    let mut policy = policy(json!({"ping_interval": "1s", "pong_timeout": "1s", "jitter": 0}));
    policy["buffer_limits"] = json!(buffer_limits);
    let (gate, session) = Gate::with_http2(policy, Mode::scripted(feed));
    let pings_min = |path: &str| if buffer_limits == "halved" && path.ends_with("-then-silence") { 5 } else { 0 };
    thread::scope(|scope| {
        for path in FEEDS {
            let (gate, session) = (&gate, &session);
            scope.spawn(move || check_reader(gate, path, gate.open(path), pings_min(path)));
            let second = format!("{path}/2");
            scope.spawn(move || {
                let websocket = session.upgrade(&Upgrade::to(&second)).expect("it is accepted");
                check_reader(gate, &second, websocket, pings_min(path));
            });
        }
    });
    let mut counters = Counters::default();
    (0..2 * FEEDS.len()).for_each(|_| counters.closed("peer"));
    gate.check_counters(&counters);
}

#[track_caller]
fn check_reader(gate: &Gate, path: &str, mut websocket: WebSocket, pings_min: usize) {
    let (mut pings, mut messages, mut len) = (0, 0, 0);
    let verdict = live(&mut websocket, FEED_TIME, |_, frame| {
        pings += usize::from(is_ours(&frame));
        messages += usize::from(frame.opcode == BINARY);
        len += frame.payload.len();
    });
    println!("{path}: {verdict:?} after {FEED_TIME:?}, {messages} messages, {len} bytes and {pings} pings");
    assert_eq!(verdict, Verdict::Timeout, "{path}: after {messages} messages and {pings} pings");
    assert!(pings >= pings_min, "{path}: {pings} pings");
    drop(websocket);
    let request = gate.request(path, |request| request.end.is_some());
    let got = request.frames().0;
    assert!(got.iter().all(|frame| frame.opcode == CLOSE), "{path}: our pongs went to the server: {got:?}");
}

const FEEDS: [&str; 8] = [
    "/drip",
    "/fast",
    "/aligned",
    "/long",
    "/bursts",
    "/odd-bursts",
    "/flood-then-silence",
    "/long-flood-then-silence",
];

/// What a server says for a minute: so many bytes of frames of some length, and how long it then waits.
fn feed(head: &Head) -> Play {
    let (len, write_len, pause) = match head.target().trim_end_matches("/2") {
        "/drip" => (10, 12, 300),
        "/fast" => (100, 1_040, 1),
        // Whole frames in whatever Envoy reads at once.
        "/aligned" => (124, 16_384, 10),
        "/long" => (60_000, 60_008, 5),
        "/bursts" => (1_000, 300_000, 700),
        // It pauses in the middle of a frame.
        "/odd-bursts" => (50_000, 333_333, 400),
        "/flood-then-silence" => (1_000, 60_000, 0),
        "/long-flood-then-silence" => (60_000, 60_004, 0),
        path => panic!("no such feed: {path}"),
    };
    let frames = Draft::new(BINARY, vec![b'z'; len]).bytes().repeat(usize::div_ceil(1 << 20, len));
    let frame_len = Draft::new(BINARY, vec![b'z'; len]).bytes().len();
    let (start, mut offset) = (Instant::now(), 0);
    let silent_after = if pause == 0 { SECOND } else { 60 * SECOND };
    let next = move || {
        thread::sleep(Duration::from_millis(pause));
        // A flood ends with a frame.
        if start.elapsed() > silent_after && offset == 0 {
            return None;
        }
        let write: Vec<u8> = frames.iter().copied().cycle().skip(offset).take(write_len).collect();
        offset = (offset + write_len) % frame_len;
        Some(write)
    };
    Play::correct(head).feed(iter::from_fn(next))
}

/// What is buffered before our Ping takes it several seconds to read, and the kernel makes room for more only every three seconds.
#[test]
fn a_client_that_reads_slowly_and_answers_is_never_cut() {
    const SLOW_TIME: Duration = Duration::from_secs(25);
    let moved = Arc::<Moved>::default();
    let mode = {
        let moved = Arc::clone(&moved);
        Mode::scripted(move |head| flood(head, &moved))
    };
    let liveness = json!({"ping_interval": "1s", "pong_timeout": "5s", "jitter": 0});
    let (gate, session) = Gate::with_http2(policy(liveness), mode);
    thread::scope(|scope| {
        for (path, websocket) in
            [("/long", gate.open("/long")), ("/long/2", session.upgrade(&Upgrade::to("/long/2")).expect("accepted"))]
        {
            scope.spawn(move || {
                let mut websocket = websocket;
                let (mut len, mut pings) = (0, Vec::new());
                let start = Instant::now();
                let verdict = live(&mut websocket, SLOW_TIME, |_, frame| {
                    if is_ours(&frame) {
                        pings.push(start.elapsed());
                    } else {
                        len += frame.payload.len();
                        // 500 KB/s.
                        thread::sleep(Duration::from_millis(120));
                    }
                });
                println!("{path}: {verdict:?} after {len} bytes, pings at {pings:?}");
                assert_eq!(verdict, Verdict::Timeout, "{path}: after {len} bytes and {pings:?}");
                assert!(!pings.is_empty(), "{path}: nobody asked it");
            });
        }
    });
}

/// A message or a header that drips; messages before it do not matter.
#[test]
fn a_message_that_drips_is_too_slow() {
    let liveness = json!({"ping_interval": "0s", "message_timeout": "1s", "jitter": 0});
    let (gate, session) = Gate::with_http2(policy(liveness), Mode::Echo);
    thread::scope(|scope| {
        for (path, bytes) in drips() {
            let (gate, session) = (&gate, &session);
            let second = (format!("{path}/2"), bytes.clone());
            scope.spawn(move || check_slow(gate, path, gate.open(path), &bytes));
            scope.spawn(move || {
                let websocket = session.upgrade(&Upgrade::to(&second.0)).expect("it is accepted");
                check_slow(gate, &second.0, websocket, &second.1);
            });
        }
        // Each message in time, without a pause, for longer than a message may take.
        scope.spawn(|| {
            let mut websocket = gate.open("/short");
            for _ in 0..15 {
                let (begun, ended) = (Draft::text("a").unfinished(), Draft::new(CONTINUATION, "b"));
                // The one's last byte comes with the next one's first.
                websocket
                    .send(&[begun.masked().bytes(), Draft::new(PING, "").masked().bytes()].concat())
                    .expect("open");
                thread::sleep(Duration::from_millis(200));
                websocket.send_frame(ended).expect("open");
            }
            let (frames, verdict) = websocket.rest(Duration::from_millis(500));
            assert_eq!((frames.len(), verdict), (45, Verdict::Timeout));
        });
    });
    let mut counters = Counters::default();
    (0..2 * drips().len()).for_each(|_| counters.closed("too_slow"));
    counters.closed("peer");
    gate.check_counters(&counters);
}

/// What comes bit by bit, and never ends in time.
fn drips() -> [(&'static str, Vec<Vec<u8>>); 4] {
    let bytes = |draft: Draft| draft.masked().bytes().into_iter().map(|byte| vec![byte]).collect::<Vec<_>>();
    let fragments = iter::once(Draft::text("begun").unfinished())
        .chain(iter::repeat_n(Draft::new(CONTINUATION, "x").unfinished(), 30));
    let pinging = iter::once(Draft::text("begun").unfinished()).chain(iter::repeat_n(Draft::new(PING, "x"), 30));
    [
        ("/payload", bytes(Draft::new(TEXT, [b'x'; 100]))),
        ("/header", bytes(Draft::new(TEXT, [b'x'; 60_000]).width(Width::SixtyFour))),
        ("/fragments", fragments.map(|draft| draft.masked().bytes()).collect()),
        ("/pings", pinging.map(|draft| draft.masked().bytes()).collect()),
    ]
}

#[track_caller]
fn check_slow(gate: &Gate, path: &str, mut websocket: WebSocket, drip: &[Vec<u8>]) {
    // It has been up for some time, and had messages.
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(300));
        let echo = websocket.exchange("in time", PATIENCE).expect("it takes bytes");
        assert!(matches!(&echo, Event::Frame(frame) if frame.payload == b"in time"), "{path}: {echo:?}");
    }
    let (sender, is_over) = (websocket.sender(), AtomicBool::new(false));
    let start = Instant::now();
    let verdict = thread::scope(|scope| {
        scope.spawn(|| {
            for bytes in drip {
                // It may be closed by now.
                if is_over.load(Ordering::Relaxed) || sender.send(bytes).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        let verdict = websocket.verdict(PATIENCE);
        is_over.store(true, Ordering::Relaxed);
        verdict
    });
    let lived = start.elapsed();
    println!("{path}: {verdict:?} after {lived:?}");
    assert_eq!(verdict, Verdict::close(1_008, "too_slow"), "{path}");
    assert!((9 * SECOND / 10..2 * SECOND).contains(&lived), "{path}: {lived:?}");
    let request = gate.request(path, |request| request.end.is_some());
    let (frames, rest) = request.frames();
    assert!(rest.is_empty(), "{path}: half a frame went on");
    check_close(&frames[frames.len() - 1..], 1_008, "too_slow");
}

/// Those that come together do not go together.
#[test]
fn a_connection_that_is_too_old_is_closed_and_each_at_its_own_time() {
    const CLIENTS: usize = 50;
    let liveness = json!({"ping_interval": "0s", "max_lifetime": "3s", "jitter": 0.5});
    let gate = Gate::start(policy(liveness), Mode::Echo);
    let mut lives = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut websocket = gate.open("/");
                    let start = Instant::now();
                    // Messages do not put it off.
                    let echo = websocket.exchange("young", PATIENCE).expect("it takes bytes");
                    assert!(matches!(&echo, Event::Frame(frame) if frame.payload == b"young"), "{echo:?}");
                    assert_eq!(websocket.verdict(PATIENCE), Verdict::close(1_001, "lifetime"));
                    start.elapsed()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("closed for its age")).collect::<Vec<_>>()
    });
    lives.sort();
    let (shortest, longest) = (lives[0], lives[CLIENTS - 1]);
    println!("lifetimes from {shortest:?} over {:?} to {longest:?}", lives[CLIENTS / 2]);
    assert!(shortest > SECOND && longest < 6 * SECOND, "{lives:?}");
    // All within half a second of the middle: once in 10³⁰ runs.
    assert!(longest - shortest > SECOND, "{lives:?}");
    let mut counters = Counters::default();
    (0..CLIENTS).for_each(|_| counters.closed("lifetime"));
    gate.check_counters(&counters);
}

#[test]
fn monitor_mode_cuts_nobody_and_counts() {
    let route = |path: &str, liveness: Value| json!({"match": {"path": path}, "policy": {"liveness": liveness}});
    let mut policy = policy(json!({"ping_interval": "0s", "jitter": 0}));
    policy["mode"] = json!("monitor");
    policy["routes"] = json!([
        route("/dead", json!({"ping_interval": "500ms", "pong_timeout": "500ms"})),
        route("/idle", json!({"idle_timeout": "1s"})),
        route("/lifetime", json!({"max_lifetime": "1s"})),
        route("/too_slow", json!({"message_timeout": "1s"})),
    ]);
    let gate = Gate::start(policy, Mode::Echo);
    let reasons = ["dead", "idle", "lifetime", "too_slow"];
    let clients = reasons.map(|reason| gate.open(&format!("/{reason}")));
    let late = Draft::text("late").masked().bytes();
    clients[3].send(&late[..1]).expect("it takes bytes");
    // Three times as long as any of them may take.
    thread::sleep(3 * SECOND);
    let mut counters = Counters::default();
    for (mut websocket, reason) in clients.into_iter().zip(reasons) {
        websocket.send(if reason == "too_slow" { &late[1..] } else { &late }).expect("it takes bytes");
        let mut answers = iter::repeat_with(|| websocket.receive(PATIENCE));
        let answer = answers.find(|event| !matches!(event, Event::Frame(frame) if is_ours(frame)));
        assert!(matches!(&answer, Some(Event::Frame(frame)) if frame.payload == b"late"), "{reason}: {answer:?}");
        counters.closed("peer");
        counters.add(format!("would_refuse.{reason}"), 1);
    }
    gate.check_counters(&counters);
}

/// With its next bytes, or when it is looked at next.
#[test]
fn a_live_connection_follows_a_new_policy() {
    let gate = Gate::start(policy(json!({"ping_interval": "1s", "idle_timeout": "60s", "jitter": 0})), Mode::Echo);
    let mut websocket = gate.open("/");
    assert_eq!(live(&mut websocket, 2 * SECOND, |_, _| {}), Verdict::Timeout);
    let shorter = policy(json!({"ping_interval": "1s", "idle_timeout": "3s", "jitter": 0}));
    assert_eq!(gate.envoy.update_policy(&shorter).expect("Envoy answers"), Update::Accepted);
    let start = Instant::now();
    let verdict = live(&mut websocket, PATIENCE, |_, _| {});
    println!("{verdict:?} {:?} after the new policy", start.elapsed());
    assert_eq!(verdict, Verdict::close(1_001, "idle"));
    let mut counters = Counters::default();
    counters.closed("idle");
    gate.check_counters(&counters);
}

/// Reads for so long and answers pings as a client must; `see` gets every frame. What ended it, which is answered too.
fn live(websocket: &mut WebSocket, time: Duration, mut see: impl FnMut(&WebSocket, Frame)) -> Verdict {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match websocket.receive(left) {
            Event::Frame(frame) if frame.opcode == CLOSE => {
                websocket.answer_close(&frame);
                return Verdict::Close(frame.close_code(), frame.close_reason());
            }
            Event::Frame(_) if left.is_zero() => return Verdict::Timeout,
            Event::Frame(frame) => {
                if frame.opcode == PING {
                    // Where it fails, the end is to be read.
                    let _ = websocket.send_frame(Draft::new(PONG, frame.payload.clone()));
                }
                see(websocket, frame);
            }
            Event::Eof => return Verdict::Eof,
            Event::Reset => return Verdict::Reset,
            Event::Timeout => return Verdict::Timeout,
        }
    }
}

/// A ping of the filter.
fn is_ours(frame: &Frame) -> bool {
    frame.opcode == PING && frame.fin && frame.payload.len() == 8 && frame.mask.is_none()
}

/// The last of these frames is a Close with this code and reason, and the only one.
#[track_caller]
fn check_close(frames: &[Frame], code: u16, reason: &str) {
    let is_right = |frame: &Frame| frame.close_code() == Some(code) && frame.close_reason() == reason;
    assert!(frames.last().is_some_and(|last| last.opcode == CLOSE && is_right(last)), "{frames:?}");
    assert_eq!(frames.iter().filter(|frame| frame.opcode == CLOSE).count(), 1, "{frames:?}");
}

/// A policy with nothing but these times.
fn policy(mut liveness: Value) -> Value {
    for key in ["idle_timeout", "message_timeout", "max_lifetime"] {
        liveness.as_object_mut().expect("an object").entry(key).or_insert(json!("0s"));
    }
    let mut policy = open_policy(json!({
        "from_client": {"binary": "allow"},
        "from_server": {"tunnels": "allow", "max_frame_bytes": 1_u64 << 41, "max_message_bytes": 1_u64 << 41},
    }));
    policy["limits"] = json!({"per_address": null, "per_subject": null, "per_connection": null});
    policy["liveness"] = liveness;
    policy
}

const SECOND: Duration = Duration::from_secs(1);

/// Ten times as long as a client may be silent.
const FEED_TIME: Duration = Duration::from_secs(10);
