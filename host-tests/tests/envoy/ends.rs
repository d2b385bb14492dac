//! How compressed connections that say nothing end: each client is told, and by a Close. `PORTCULLIS_ENDS` says how many there are.

use std::collections::BTreeMap;
use std::env;
use std::thread;

use portcullis_envoy::peer::backend::{Mode, Play, echo};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{CLOSE, Draft, Frame, PING, TEXT};
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE, open_policy};

const EXTENSIONS: &str = "sec-websocket-extensions";

/// How many are open at a time.
const WAVE: usize = 240;

/// What ends a connection by its path: the liveness that does, the code that its client is told, and the reason; it counts as the last.
const ENDS: [(&str, &str, u16, &str, &str); 6] = [
    ("/client", "{}", 1_000, "bye", "peer"),
    ("/dead", r#"{"ping_interval": "500ms", "pong_timeout": "500ms"}"#, 1_001, "dead", "dead"),
    ("/idle", r#"{"idle_timeout": "1s"}"#, 1_001, "idle", "idle"),
    ("/lifetime", r#"{"max_lifetime": "1s", "jitter": 0.5}"#, 1_001, "lifetime", "lifetime"),
    ("/refused", "{}", 1_003, "type_refused", "type_refused"),
    ("/server", "{}", 1_000, "done", "peer"),
];

/// An echo that agrees to compress. On `/server` it ends with the second message.
fn backend() -> Mode {
    Mode::scripted(|head| {
        let play = Play::answer(head.accepted_with(&[(EXTENSIONS, "permessage-deflate")]));
        if head.target().starts_with("/server") {
            play.on_frame(
                |frame: &Frame| if frame.opcode == TEXT { Draft::close(1_000, "done").bytes() } else { vec![] },
            )
        } else {
            play.on_frame(echo)
        }
    })
}

fn policy() -> Value {
    let mut policy = open_policy(json!({"from_client": {"binary": "refuse"}}));
    policy["compression"] = json!("inspect");
    policy["liveness"] =
        json!({"ping_interval": "0s", "idle_timeout": "0s", "message_timeout": "0s", "max_lifetime": "0s"});
    let route = |(path, liveness, ..): &(&str, &str, u16, &str, &str)| {
        let liveness: Value = serde_json::from_str(liveness).expect("JSON");
        json!({"match": {"path": path}, "policy": {"liveness": liveness}})
    };
    policy["routes"] = ENDS.iter().map(route).collect();
    policy
}

/// A compressed "hello", as one frame.
fn hello() -> Draft {
    let mut payload = miniz_oxide::deflate::compress_to_vec(b"hello", 6);
    payload.push(0);
    Draft::new(TEXT, payload).rsv(0b100)
}

/// What a client is told at last.
fn end(websocket: &mut WebSocket) -> String {
    loop {
        match websocket.receive(PATIENCE) {
            Event::Frame(frame) if frame.opcode == CLOSE => {
                websocket.answer_close(&frame);
                return format!("{} {}", frame.close_code().unwrap_or_default(), frame.close_reason());
            }
            Event::Frame(frame) if matches!(frame.opcode, PING | TEXT) => {}
            other => return format!("{other:?}"),
        }
    }
}

#[test]
fn every_idle_compressed_connection_ends_with_a_close() {
    let count = env::var("PORTCULLIS_ENDS").ok().and_then(|count| count.parse().ok()).unwrap_or(2 * WAVE);
    let gate = Gate::launch(policy(), backend(), |launch| launch.concurrency(2));
    let mut counters = Counters::default();
    let mut found: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for wave in 0..count.div_ceil(WAVE) {
        let open = |number: usize| {
            let end = ENDS[number % ENDS.len()];
            let upgrade = Upgrade::to(end.0).header(EXTENSIONS, "permessage-deflate");
            let mut websocket = gate.client.open(&upgrade).expect("a 101");
            // Of half of them nothing has come from the server yet; the windows of the others are in use.
            if number % 4 < 2 && end.0 != "/server" {
                websocket.send_frame(hello()).expect("it takes bytes");
                assert!(matches!(websocket.receive(PATIENCE), Event::Frame(_)), "{}: no echo", end.0);
            }
            (end, websocket)
        };
        let opened: Vec<_> = thread::scope(|scope| {
            let open = &open;
            let openers: Vec<_> = (0..6)
                .map(|part| {
                    scope.spawn(move || (0..WAVE / 6).map(|number| open(6 * number + part)).collect::<Vec<_>>())
                })
                .collect();
            openers.into_iter().flat_map(|opener| opener.join().expect("it does not panic")).collect()
        });
        for (end, websocket) in &opened {
            let sent = match end.0 {
                "/client" => websocket.send_frame(Draft::close(1_000, "bye")),
                "/refused" => websocket.send_frame(Draft::binary(*b"x")),
                "/server" => websocket.send_frame(hello()),
                _ => Ok(()),
            };
            sent.expect("it takes bytes");
        }
        for ((path, _, code, reason, counted), mut websocket) in opened {
            let told = end(&mut websocket);
            if told != format!("{code} {reason}") {
                println!("wave {wave}, {path}: {told}");
            }
            *found.entry((path, told)).or_default() += 1;
            counters.closed(counted);
        }
    }
    println!("{found:?}");
    for (path, told) in found.keys() {
        let (_, _, code, reason, _) = ENDS.iter().find(|end| end.0 == *path).expect("a path");
        assert_eq!(*told, format!("{code} {reason}"), "{path}: {found:?}");
    }
    gate.check_counters(&counters);
}
