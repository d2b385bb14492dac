//! The table of close codes, both sides: what the offender is told, what the other side is told, and that not one byte of the
//! offending frame gets through.

use std::thread;
use std::time::{Duration, Instant};

use portcullis_envoy::Launch;
use portcullis_envoy::peer::backend::{End, Mode, Play, echo};
use portcullis_envoy::peer::frame::{BINARY, CLOSE, CONTINUATION, Draft, Frame, PING, PONG, TEXT, Width};
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use serde_json::json;

use crate::gate::{Counters, Gate, PATIENCE, open_policy, receive_until_close};

#[test]
fn a_clients_offence_ends_both_sides_in_order() {
    check_clients_offences(|launch| launch);
}

#[test]
fn a_servers_offence_ends_both_sides_in_order() {
    check_servers_offences(|launch| launch);
}

/// The table, of a client.
#[track_caller]
pub(crate) fn check_clients_offences(change: impl FnOnce(Launch) -> Launch) {
    let gate = gate(Mode::Echo, change);
    let mut counters = Counters::default();
    let mut ending = Vec::new();
    for (row, pace) in rows(Draft::masked, Draft::text("not masked")) {
        let path = format!("/{}/{pace:?}", ending.len());
        let mut websocket = gate.open(&path);
        for piece in pace.pieces(&row, &Draft::text("behind").masked()) {
            // The verdict may be there before the last byte.
            let _ = websocket.send(&piece);
            pace.rest();
        }
        let told = receive_until_close(&mut websocket);
        let echoed = check_close(&path, &told, row.code, row.reason);
        assert!(echoed == row.before.len() && told.iter().all(|frame| frame.mask.is_none()), "{path}: {told:?}");
        counters.closed(row.reason);
        ending.push((path, websocket, row));
    }
    for (path, websocket, row) in ending {
        let got = check_end(&gate, &path, websocket);
        check_close(&path, &got, row.code, row.reason);
        check_before(&path, &got, &row);
    }
    gate.check_counters(&counters);
}

/// The table, of a server.
#[track_caller]
pub(crate) fn check_servers_offences(change: impl FnOnce(Launch) -> Launch) {
    // What a client tells this backend, the backend says.
    let mode = Mode::scripted(|head| {
        let say = |frame: &Frame| if frame.opcode == TEXT { frame.payload.clone() } else { echo(frame) };
        Play::answer(head.accepted()).on_frame(say)
    });
    let gate = gate(mode, change);
    let mut counters = Counters::default();
    let mut ending = Vec::new();
    for (row, pace) in rows(|draft| draft, Draft::text("masked").masked()) {
        let path = format!("/puppet/{}/{pace:?}", ending.len());
        let mut websocket = gate.open(&path);
        for piece in pace.pieces(&row, &Draft::text("behind")) {
            let _ = websocket.send_frame(Draft::new(TEXT, piece));
            pace.rest();
        }
        let told = receive_until_close(&mut websocket);
        check_close(&path, &told, INTERNAL_ERROR, row.reason);
        check_before(&path, &told, &row);
        assert!(told.iter().all(|frame| frame.mask.is_none()), "{path}: {told:?}");
        counters.closed(row.reason);
        ending.push((path, websocket, row));
    }
    for (path, websocket, row) in ending {
        check_close(&path, &check_end(&gate, &path, websocket), row.code, row.reason);
    }
    gate.check_counters(&counters);
}

/// A verdict falls between two frames, however long that takes, and no peer can keep a refused connection alive.
#[test]
fn a_close_waits_for_the_frame_in_hand_but_not_beyond_the_deadline() {
    let mode = Mode::scripted(move |head| {
        let play = Play::answer(head.accepted());
        let frame = Draft::new(TEXT, [b'y'; 800]).bytes();
        let (half, rest) = (frame[..400].to_vec(), frame[400..].to_vec());
        let finish = move |got: &Frame| if got.opcode == CLOSE { [rest.clone(), echo(got)].concat() } else { vec![] };
        match head.target() {
            "/floods" => play.then(frame.repeat(1_000)),
            "/offends" => play.then(Draft::text("masked").masked().bytes()).on_frame(|_| vec![]),
            "/resumes" => play.then(half).on_frame(finish),
            "/silent" => play.on_frame(|_| vec![]),
            _ => play.then(half).on_frame(|_| vec![]),
        }
    });
    let gate = gate(mode, |launch| launch);
    // The side that offends, and where; what the client is told at last, if anything; whether the upstream is told; whether it takes the deadline.
    let rows = [
        ("/floods", Some(1_002), true, false),
        ("/offends", Some(INTERNAL_ERROR), false, true),
        ("/resumes", Some(1_002), true, false),
        ("/silent", Some(1_002), true, true),
        ("/stalls", None, true, true),
    ];
    thread::scope(|scope| {
        for (path, code, upstream_is_told, takes_deadline) in rows {
            let gate = &gate;
            scope.spawn(move || {
                let mut websocket = gate.open(path);
                let start = Instant::now();
                if path != "/offends" {
                    websocket.send_frame(Draft::text("reserved").rsv(1)).expect("it takes bytes");
                }
                let mut told = Vec::new();
                let end = loop {
                    match websocket.receive(DEADLINE + PATIENCE) {
                        Event::Frame(frame) => told.push(frame),
                        end => break end,
                    }
                };
                let lived = start.elapsed();
                assert_ne!(end, Event::Timeout, "{path}");
                assert_eq!(lived >= DEADLINE, takes_deadline, "{path}: ended after {lived:?}");
                assert_eq!(
                    told.last().and_then(Frame::close_code).filter(|_| code.is_some()),
                    code,
                    "{path}: {told:?}"
                );
                let before = &told[..told.len().saturating_sub(1)];
                assert!(before.iter().all(|frame| frame.payload == [b'y'; 800]), "{path}: {before:?}");
                assert!(path != "/resumes" || before.len() == 1, "{path}: the frame in hand is lost");

                let request = gate.request(path, |request| request.end.is_some());
                let (got, rest) = request.frames();
                assert_eq!((got.len(), rest.len()), (upstream_is_told.into(), 0), "{path}");
                assert!(got.iter().all(|frame| frame.close_code() == Some(1_002)), "{path}: {got:?}");
            });
        }
    });
    let mut counters = Counters::default();
    rows.iter().for_each(|_| counters.closed("protocol_error"));
    gate.check_counters(&counters);
}

/// Frames that pass, then one that does not.
#[derive(Clone)]
struct Row {
    before: Vec<Draft>,
    offence: Draft,
    code: u16,
    reason: &'static str,
}

/// The table at every pace, with the frames as one side sends them, and with the offence that only this side can commit.
fn rows(sent: fn(Draft) -> Draft, own: Draft) -> impl Iterator<Item = (Row, Pace)> {
    let own = Row { before: vec![sent(text(1))], offence: own, code: 1_002, reason: "protocol_error" };
    let sent =
        move |row: Row| Row { before: row.before.into_iter().map(sent).collect(), offence: sent(row.offence), ..row };
    let paces = |row: Row| [(row.clone(), Pace::AtOnce), (row, Pace::ByteByByte)];
    table().into_iter().map(sent).chain([own]).flat_map(paces)
}

fn table() -> Vec<Row> {
    let frames = [
        (vec![], text(5).rsv(0b100)),
        (vec![], text(5).rsv(0b010)),
        (vec![text(3)], text(5).rsv(0b001)),
        (vec![], Draft::new(0x3, "reserved")),
        (vec![text(0)], Draft::new(0xb, "reserved")),
        (vec![], text(125).width(Width::Sixteen)),
        (vec![], text(300).width(Width::SixtyFour)),
        (vec![], text(5).declared_len(1 << 63)),
        (vec![], next(5)),
        (vec![text(5).unfinished(), next(5)], next(5)),
        (vec![text(5).unfinished()], text(5)),
        (vec![], Draft::new(PING, "ping").unfinished()),
        (vec![], Draft::new(PONG, [0; 126])),
        (vec![], Draft::new(CLOSE, "x")),
        (vec![], Draft::new(CLOSE, [3; 126])),
        (vec![text(5)], Draft::close(999, "")),
        (vec![], Draft::close(1_005, "")),
        (vec![text(5).unfinished()], Draft::close(5_000, "")),
    ];
    let too_big = [
        (vec![text(1_000)], text(1_001)),
        (vec![], text(5).declared_len(u64::MAX >> 1)),
        (vec![text(1_000).unfinished()], next(501)),
        (vec![text(1_000).unfinished(), Draft::new(PING, ""), next(499).unfinished()], next(2)),
    ];
    let too_many = [(vec![text(5).unfinished(), next(0).unfinished(), next(0).unfinished()], next(0))];
    let binary = [(vec![text(5)], Draft::new(BINARY, "no")), (vec![], Draft::new(BINARY, "").unfinished())];
    let row = |code, reason| move |(before, offence)| Row { before, offence, code, reason };
    let not_text = [(vec![text(5)], Draft::new(CLOSE, b"\x03\xe8\xff"))];
    let frames = frames.into_iter().map(row(1_002, "protocol_error"));
    let too_big = too_big.into_iter().map(row(1_009, "message_too_big"));
    let too_many = too_many.into_iter().map(row(1_008, "fragments_exceeded"));
    let not_text = not_text.into_iter().map(row(1_007, "invalid_utf8"));
    frames
        .chain(not_text)
        .chain(too_big)
        .chain(too_many)
        .chain(binary.into_iter().map(row(1_003, "type_refused")))
        .collect()
}

fn text(len: usize) -> Draft {
    Draft::new(TEXT, vec![b'x'; len])
}

fn next(len: usize) -> Draft {
    Draft::new(CONTINUATION, vec![b'x'; len])
}

/// How bytes are written.
#[derive(Clone, Copy, Debug)]
enum Pace {
    AtOnce,
    ByteByByte,
}

impl Pace {
    /// The writes that these frames go out in. Of an offence byte by byte, no more than its header and a bit of payload.
    fn pieces(self, row: &Row, behind: &Draft) -> Vec<Vec<u8>> {
        let before: Vec<u8> = row.before.iter().flat_map(Draft::bytes).collect();
        let offence = row.offence.bytes();
        match self {
            Self::AtOnce => vec![[before, offence, behind.bytes()].concat()],
            Self::ByteByByte => {
                let bytes = offence.iter().take(row.offence.header().len() + 3).map(|byte| vec![*byte]);
                [before].into_iter().filter(|before| !before.is_empty()).chain(bytes).collect()
            }
        }
    }

    /// Lets Envoy read one byte before the next comes; what it has read cannot be asked of it.
    fn rest(self) {
        if matches!(self, Self::ByteByByte) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Both sides may send frames of 1,000 bytes, messages of 1,500 bytes in 3 fragments, and no binary ones.
fn gate(mode: Mode, change: impl FnOnce(Launch) -> Launch) -> Gate {
    let side = json!({"max_frame_bytes": 1_000, "max_message_bytes": 1_500, "max_fragments": 3, "binary": "refuse"});
    let mut policy = open_policy(json!({"from_client": side, "from_server": side}));
    // What the backend shall say is longer than that, and no text.
    let told = json!({"max_frame_bytes": 65_536, "max_message_bytes": 65_536, "utf8": false});
    let puppet = json!({"messages": {"from_client": told}});
    policy["routes"] = json!([{"match": {"path_prefix": "/puppet"}, "policy": puppet}]);
    Gate::launch(policy, mode, change)
}

/// The last of these frames is the one Close among them, as it should be. Gives the number of those before it.
#[track_caller]
fn check_close(path: &str, frames: &[Frame], code: u16, reason: &str) -> usize {
    let (last, before) = frames.split_last().unwrap_or_else(|| panic!("{path}: no Close"));
    assert_eq!((last.opcode, last.close_code(), last.close_reason().as_str()), (CLOSE, Some(code), reason), "{path}");
    assert!(before.iter().all(|frame| frame.opcode != CLOSE), "{path}: {frames:?}");
    before.len()
}

/// The frames in front of the Close are those that pass.
#[track_caller]
fn check_before(path: &str, frames: &[Frame], row: &Row) {
    let before: Vec<u8> = row.before.iter().flat_map(Draft::bytes).collect();
    let unmasked = |frames: &[Frame]| frames.iter().map(|frame| Draft::copy_of(frame).bytes()).collect::<Vec<_>>();
    assert!(unmasked(&frames[..frames.len() - 1]) == unmasked(&Frame::parse_all(&before).0), "{path}: {frames:?}");
}

/// Both connections have ended, the client's without another byte. Gives the frames that the upstream got.
#[track_caller]
fn check_end(gate: &Gate, path: &str, mut websocket: WebSocket) -> Vec<Frame> {
    // Half a second after its last word Envoy cuts a client that still sends (`delayed_close_timeout`).
    let end = websocket.receive(PATIENCE);
    assert!(matches!(end, Event::Eof | Event::Reset), "{path}: {end:?}");
    let request = gate.request(path, |request| request.end.is_some());
    let (frames, rest) = request.frames();
    assert_eq!((rest, request.end), ([].as_slice(), Some(End::Eof)), "{path}");
    assert!(frames.iter().all(|frame| frame.mask.is_some()), "{path}: {frames:?}");
    frames
}

/// What a client is told whose server broke the rules.
const INTERNAL_ERROR: u16 = 1_011;

/// How long the filter waits for both sides to end after its Close (`CLOSE_TIMEOUT` in portcullis-core).
const DEADLINE: Duration = Duration::from_secs(5);
