//! A client whose message is refused sees its close code, never 1006, in 1,000 of 1,000 tries over either HTTP; and the upstream sees
//! an orderly end: whole frames, then one Close of that code.
//!
//! Each try is a connection of its own, or over HTTP/2 a stream. The situations, which differ in what is on its way when the verdict
//! falls, take turns.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use portcullis_envoy::peer::backend::{End, Mode, Play};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{CLOSE, CONTINUATION, Draft, Frame, PING, TEXT};
use portcullis_envoy::peer::head::Head;
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE, open_policy};

#[test]
fn every_client_over_http_1_sees_its_close_code() {
    let (gate, _) = Gate::with_http2(policy(), Mode::scripted(play));
    check(&gate, |upgrade| gate.client.open(upgrade));
}

/// All on one connection, with the windows of a browser: what waits for a window when the upstream has ended, Envoy drops for an
/// RST_STREAM, the Close included.
#[test]
fn every_client_over_http_2_sees_its_close_code() {
    let (gate, session) = Gate::with_http2(policy(), Mode::scripted(play));
    check(&gate, |upgrade| session.upgrade(upgrade));
}

/// What is on its way when the verdict falls.
#[derive(Clone, Copy, Debug)]
enum Situation {
    /// Echoes have come and gone.
    AfterEchoes,
    /// The client writes on behind its offence.
    ClientGoesOn,
    /// The first bytes behind the upgrade.
    First,
    /// A message is begun, and what refuses it is in a later fragment.
    InMessage,
    /// Good frames, whose echoes are due, in the same write before it and behind it.
    InOneWrite,
    /// The server sends frame upon frame.
    ServerPushes,
    /// The header comes byte by byte.
    SplitHeader,
}

const SITUATIONS: [Situation; 7] = [
    Situation::AfterEchoes,
    Situation::ClientGoesOn,
    Situation::First,
    Situation::InMessage,
    Situation::InOneWrite,
    Situation::ServerPushes,
    Situation::SplitHeader,
];

/// What refuses a message; `opcode` is that of a frame that may begin or continue it.
fn offences(opcode: u8) -> [(u16, &'static str, Draft); 4] {
    let fresh = if opcode == CONTINUATION { Draft::text("another") } else { Draft::new(CONTINUATION, "of nothing") };
    [
        (1_002, "protocol_error", fresh),
        (1_002, "protocol_error", Draft::new(opcode, "reserved").rsv(0b010)),
        (1_007, "invalid_utf8", Draft::new(opcode, b"no \xff text")),
        (1_009, "message_too_big", Draft::new(opcode, vec![b'x'; MESSAGE_LEN_MAX + 1])),
    ]
}

/// Makes all tries, some at a time, and says which ones failed.
#[track_caller]
fn check(gate: &Gate, open: impl Fn(&Upgrade) -> io::Result<WebSocket> + Sync) {
    let next = AtomicUsize::new(0);
    let tries = || {
        let indices = (0..TRIES).map(|_| next.fetch_add(1, Ordering::Relaxed)).take_while(|index| *index < TRIES);
        indices.map(|index| attempt(gate, &open, index)).collect::<Vec<_>>()
    };
    let results = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(tries)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("no try panics")).collect::<Vec<_>>()
    });
    let mut counters = Counters::default();
    let mut faults = Vec::new();
    for result in results {
        match result {
            Ok(reason) => counters.closed(reason),
            Err(fault) => faults.push(fault),
        }
    }
    assert!(faults.is_empty(), "{} of {TRIES}:\n{}", faults.len(), faults.join("\n"));
    gate.check_counters(&counters);
}

/// One client that is refused; gives the reason, or what was wrong with its end.
fn attempt(
    gate: &Gate,
    open: impl Fn(&Upgrade) -> io::Result<WebSocket>,
    index: usize,
) -> Result<&'static str, String> {
    let situation = SITUATIONS[index % SITUATIONS.len()];
    let opcode = if matches!(situation, Situation::InMessage) { CONTINUATION } else { TEXT };
    let (code, reason, offence) = offences(opcode)[index / SITUATIONS.len() % 4].clone();
    let path = format!("/{situation:?}/{index}");
    let fault = |what: String| format!("{path} {code}: {what}");

    let mut websocket = open(&Upgrade::to(&path)).map_err(|error| fault(error.to_string()))?;
    // The verdict may be there before the last byte.
    let _ = offend(&mut websocket, situation, &offence.masked());
    let mut told = Vec::new();
    let is_right = |frame: &Frame| frame.close_code() == Some(code) && frame.close_reason() == reason;
    loop {
        match websocket.receive(PATIENCE) {
            Event::Frame(frame) if frame.opcode == CLOSE => {
                websocket.answer_close(&frame);
                told.push(frame);
                break;
            }
            Event::Frame(frame) => told.push(frame),
            end => {
                return Err(fault(format!("the client saw {end:?} in place of a Close, behind {} frames", told.len())));
            }
        }
    }
    if !told.last().is_some_and(is_right) || told.iter().any(|frame| frame.mask.is_some()) {
        return Err(fault(format!("the client was told {:?} behind {} frames", told.last(), told.len() - 1)));
    }
    let Some(request) = gate.backend.wait(PATIENCE, |request| request.head.target() == path && request.end.is_some())
    else {
        return Err(fault("the upstream's connection has not ended".into()));
    };
    let (got, rest) = request.frames();
    let closes = got.iter().filter(|frame| frame.opcode == CLOSE).count();
    let is_orderly = got.last().is_some_and(is_right) && closes == 1 && rest.is_empty();
    if !is_orderly || request.end != Some(End::Eof) || got.iter().any(|frame| frame.mask.is_none()) {
        return Err(fault(format!(
            "the upstream saw {:?} behind {} bytes and {:?}, the last of {} frames",
            request.end,
            rest.len(),
            got.last(),
            got.len()
        )));
    }
    // Envoy waits half a second for a client over HTTP/1.1 that does not end (`delayed_close_timeout`).
    let _ = websocket.finish();
    let end = websocket.receive(PATIENCE);
    if !matches!(end, Event::Eof | Event::Reset) {
        return Err(fault(format!("the client saw {end:?} behind its Close")));
    }
    Ok(reason)
}

/// Brings a connection into a situation, and the offence with it.
fn offend(websocket: &mut WebSocket, situation: Situation, offence: &Draft) -> io::Result<()> {
    let good = Draft::text("good").masked();
    let bytes = offence.bytes();
    match situation {
        Situation::AfterEchoes => {
            for _ in 0..3 {
                websocket.exchange("good", PATIENCE)?;
            }
            websocket.send(&bytes)
        }
        Situation::ClientGoesOn => {
            websocket.send(&bytes)?;
            (0..50).try_for_each(|_| websocket.send_frame(Draft::new(TEXT, [b'z'; MESSAGE_LEN_MAX])))
        }
        Situation::First | Situation::ServerPushes => websocket.send(&bytes),
        Situation::InMessage => {
            websocket.send_frame(Draft::text("begun").unfinished())?;
            websocket.send_frame(Draft::new(PING, "ping"))?;
            websocket.send_frame(Draft::new(CONTINUATION, "continued").unfinished())?;
            websocket.send(&bytes)
        }
        Situation::InOneWrite => websocket.send(&[good.bytes().repeat(20), bytes, good.bytes()].concat()),
        Situation::SplitHeader => {
            let (header, payload) = bytes.split_at(offence.header().len());
            for byte in header {
                websocket.send(&[*byte])?;
                // Lets Envoy read it by itself; what it has read cannot be asked of it.
                thread::sleep(Duration::from_millis(1));
            }
            websocket.send(payload)
        }
    }
}

/// An echo, that to some clients has a lot to say before: from a few frames to more than all buffers on the way hold.
fn play(head: &Head) -> Play {
    let path = head.target();
    let index = path.rsplit('/').next().and_then(|index| index.parse::<usize>().ok()).unwrap_or_default();
    let pushed = if path.starts_with("/ServerPushes/") { index * 7 % PUSHED_MAX } else { 0 };
    Play::correct(head).then(Draft::new(TEXT, [b'y'; 800]).bytes().repeat(pushed))
}

fn policy() -> Value {
    open_policy(json!({"from_client": {"max_message_bytes": MESSAGE_LEN_MAX, "max_frame_bytes": MESSAGE_LEN_MAX}}))
}

/// A chance of one in a hundred for a client to be told nothing would go unseen once in 20,000 runs.
const TRIES: usize = 1_000;
/// How many at a time: enough that Envoy and the upstream always have several in hand.
const LANES: usize = 16;
const MESSAGE_LEN_MAX: usize = 1_000;
/// In frames of 804 bytes: 800 KiB.
const PUSHED_MAX: usize = 1_000;
