//! Policies that change under live connections and a flood of handshakes.
//!
//! `PORTCULLIS_FLIPS` says how often the policy changes; handshakes come all the while, from four clients, as fast as Envoy takes them.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_core::config;
use portcullis_envoy::Update;
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{Draft, TEXT};
use portcullis_envoy::peer::websocket::{Event, Verdict, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Gate, PATIENCE, open_policy};

/// One of three policies, by the longest frame that it allows.
fn policy(len: usize) -> Value {
    open_policy(json!({"from_client": {"max_frame_bytes": len}}))
}

/// All workers have live connections under each of three policies, and nobody keeps handshakes from the old root contexts.
#[test]
fn no_connection_is_left_behind_whatever_changes_meanwhile() {
    const LENS: [usize; 3] = [100, 200, 300];
    let flips: usize = env::var("PORTCULLIS_FLIPS").ok().and_then(|count| count.parse().ok()).unwrap_or(24);
    let gate = Gate::launch(policy(LENS[0]), Mode::Echo, |launch| launch.concurrency(4));
    let (is_over, handshakes) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        // However it ends, or nobody would wait for the end of the flood.
        let _end = End(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                // It fails, and needs no credential: the origin is not on the list.
                let upgrade = Upgrade::to("/").origin("https://evil.example");
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(gate.client.ask(&upgrade).expect("Envoy listens").status(), 403);
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut live = Vec::new();
        let begin = Instant::now();
        for flip in 1..=flips {
            live.extend((0..2).map(|_| gate.open("/")));
            assert_eq!(gate.update(policy(LENS[flip % LENS.len()])), Update::Accepted);
        }
        let (last, span, count) = (LENS[flips % LENS.len()], begin.elapsed(), handshakes.load(Ordering::Relaxed));
        thread::sleep(Duration::from_secs(3));
        println!(
            "{flips} flips in {span:.1?}, {:.0} refused handshakes a second meanwhile, {} connections",
            count as f64 / span.as_secs_f64(),
            live.len()
        );
        live.into_iter().for_each(|websocket| check_longest(websocket, last));
    });
}

/// Says that it is over when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// With bytes that are new within two seconds, though nobody asks for anything; where it would not be let in, it is told so.
#[test]
fn a_revision_reaches_idle_connections_within_two_seconds() {
    let gate = Gate::launch(policy(100), Mode::Echo, |launch| launch.concurrency(2));
    let mut live: Vec<WebSocket> = (0..20).map(|_| gate.open("/")).collect();
    let mut moved = policy(100);
    moved["hosts"] = json!(["elsewhere.example"]);
    moved["revision"] = json!("2");
    assert_eq!(gate.update(moved), Update::Accepted);
    let begin = Instant::now();
    for websocket in &mut live {
        assert_eq!(websocket.verdict(PATIENCE), Verdict::close(1_012, "policy_changed"));
    }
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

/// None is cut, by a policy that holds or by one that does not, which is told in the words of `portcullis check`.
#[test]
fn five_hundred_live_connections_take_a_new_limit_and_outlive_a_broken_policy() {
    const LEN: usize = 200;
    let gate = Gate::launch(policy(LEN), Mode::Echo, |launch| launch.concurrency(2));
    let mut live: Vec<WebSocket> = (0..500).map(|_| gate.open("/")).collect();
    let text = "x".repeat(LEN);
    let all_pass = |live: &mut [WebSocket]| {
        for websocket in live {
            let echo = websocket.exchange(&text, PATIENCE).expect("it takes bytes");
            assert!(matches!(&echo, Event::Frame(frame) if frame.payload == text.as_bytes()), "{echo:?}");
        }
    };
    all_pass(&mut live);

    let mut broken = policy(LEN / 2);
    broken["origni"] = json!({});
    broken["messages"]["from_server"] = json!({"max_frame_bytes": -1});
    let faults = config::parse(broken.to_string().as_bytes(), &|_| None).expect_err("it is broken");
    assert_eq!(faults.faults().len(), 2);
    assert_eq!(gate.update(broken), Update::Rejected);
    let log = gate.envoy.log().expect("a log");
    for fault in faults.faults() {
        let words = format!("{}: {}", fault.path(), fault.problem());
        assert!(log.lines().any(|line| line.contains("portcullis: ") && line.contains(&words)), "{words}\n{log}");
    }
    all_pass(&mut live);

    assert_eq!(gate.update(policy(LEN / 2)), Update::Accepted);
    thread::sleep(Duration::from_secs(1));
    for websocket in &mut live {
        websocket.send_frame(Draft::new(TEXT, vec![b'x'; LEN])).expect("it takes bytes");
        assert_eq!(websocket.verdict(PATIENCE), Verdict::close(1_009, "message_too_big"));
    }
}

/// A frame of `len` bytes passes, and no longer one.
#[track_caller]
fn check_longest(mut websocket: WebSocket, len: usize) {
    let text = "x".repeat(len);
    websocket.exchange(&text, PATIENCE).expect("it takes bytes");
    websocket.send_frame(Draft::new(TEXT, vec![b'x'; len + 1])).expect("it takes bytes");
    assert_eq!(websocket.verdict(PATIENCE), Verdict::close(1_009, "message_too_big"));
}
