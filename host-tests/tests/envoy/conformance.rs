//! The cases of the Autobahn suite, sections 2 to 7, before a backend that takes anything: what breaks RFC 6455 there is refused here,
//! and nothing of it gets through; what keeps to it passes byte for byte.
//!
//! Every row goes out in one write, and again byte by byte. A case that differs from another in its writes only is a row with it
//! (`5.9–11`). The payloads are the suite's. Where it refuses text, so do three rows: the whole frame, one octet a frame
//! (6.3.2, 6.4.1, 6.4.2), and a frame that ends behind the octet that makes it no text (6.4.3, 6.4.4), because a frame that
//! cannot become text any more is to be refused before its end.

use std::ops::Deref;
use std::thread;
use std::time::Duration;

use portcullis_envoy::peer::backend::{Mode, Play};
use portcullis_envoy::peer::frame::{CLOSE, CONTINUATION, Draft, Frame, PING, PONG, TEXT};
use serde_json::json;

use crate::gate::{Counters, Gate, open_policy, receive_until_close};

#[test]
fn frames_that_break_the_protocol_are_refused() {
    let protocol_error = invalid_frames().into_iter().map(|(case, before, rest)| Row {
        case: case.into(),
        before: bytes(before),
        rest: bytes(rest),
        end: (1_002, "protocol_error"),
    });
    let reason = Draft::new(CLOSE, [b"\x03\xe8", GREEK, b"\xed\xa0\x80edited"].concat());
    let reason = Row { case: "7.5.1".into(), before: vec![], rest: bytes([reason]), end: (1_007, "invalid_utf8") };
    check(protocol_error.chain([reason]).collect());
}

#[test]
fn text_that_is_no_utf_8_is_refused() {
    // A fragment of so few bytes may begin a tunnel, and would wait.
    check_under("allow", invalid_text().into_iter().flat_map(|(case, text)| no_text_rows(&case, &text)).collect());
}

#[test]
fn what_keeps_to_the_rfc_passes_as_it_is() {
    let text = valid_text().into_iter().map(|(case, text)| (case, vec![Draft::new(TEXT, text)], vec![]));
    let rows = valid_frames().into_iter().map(|(case, frames, behind)| (case.to_owned(), frames, behind)).chain(text);
    check(rows.map(|(case, frames, behind)| accepted(case, frames, behind)).collect());
}

/// What a client sends, and what becomes of it.
struct Row {
    case: String,
    /// What the backend gets, as it is.
    before: Vec<u8>,
    /// What it does not get.
    rest: Vec<u8>,
    /// The code and reason of the Close that the client gets.
    end: (u16, &'static str),
}

/// Frames that pass, and then frames of which the first is refused.
type Refused = (&'static str, Vec<Draft>, Vec<Draft>);

#[rustfmt::skip]
fn invalid_frames() -> Vec<Refused> {
    const CODES: [u16; 11] = [0, 999, 1_004, 1_005, 1_006, 1_016, 1_100, 2_000, 2_999, 5_000, u16::MAX];
    let twice = |first: Draft| [first, text("fragment2").unfinished(), next("fragment3")].into_iter().cycle().take(6).collect();
    let mut rows = vec![
        ("2.5", vec![], vec![ping([0xfe; 126])]),
        ("2.5, a Pong", vec![], vec![Draft::new(PONG, [0xfe; 126])]),
        ("3.1", vec![], vec![hello().rsv(1)]),
        ("3.2", vec![hello()], vec![hello().rsv(2), ping("")]),
        ("3.3", vec![hello()], vec![hello().rsv(3), ping("")]),
        ("3.4", vec![hello()], vec![hello().rsv(4), ping("")]),
        ("3.5", vec![], vec![Draft::binary(OCTETS).rsv(5)]),
        ("3.6", vec![], vec![Draft::binary(HELLO).rsv(6)]),
        ("3.6, a Ping", vec![], vec![ping(HELLO).rsv(6)]),
        ("3.7", vec![], vec![Draft::new(CLOSE, "").rsv(7)]),
        ("4.1.1", vec![], vec![Draft::new(0x3, "")]),
        ("4.1.2", vec![], vec![Draft::new(0x4, "reserved opcode payload")]),
        ("4.1.3", vec![hello()], vec![Draft::new(0x5, ""), ping("")]),
        ("4.1.4", vec![hello()], vec![Draft::new(0x6, HELLO), ping("")]),
        ("4.1.5", vec![hello()], vec![Draft::new(0x7, HELLO), ping("")]),
        ("4.2.1", vec![], vec![Draft::new(0xb, "")]),
        ("4.2.2", vec![], vec![Draft::new(0xc, "reserved opcode payload")]),
        ("4.2.3", vec![hello()], vec![Draft::new(0xd, ""), ping("")]),
        ("4.2.4", vec![hello()], vec![Draft::new(0xe, HELLO), ping("")]),
        ("4.2.5", vec![hello()], vec![Draft::new(0xf, HELLO), ping("")]),
        ("5.1", vec![], vec![ping("fragment1").unfinished(), next("fragment2")]),
        ("5.2", vec![], vec![Draft::new(PONG, "fragment1").unfinished(), next("fragment2")]),
        ("5.9–11", vec![], vec![next("non-continuation payload"), hello()]),
        ("5.12–14", vec![], vec![next("non-continuation payload").unfinished(), hello()]),
        ("5.15", vec![text("fragment1").unfinished(), next("fragment2")], vec![next("fragment3").unfinished(), text("fragment4")]),
        ("5.16", vec![], twice(next("fragment1").unfinished())),
        ("5.17", vec![], twice(next("fragment1"))),
        ("5.18", vec![text("fragment1").unfinished()], vec![text("fragment2")]),
        ("7.3.2", vec![], vec![Draft::new(CLOSE, "a")]),
        ("7.3.6", vec![], vec![Draft::close(1_000, &"*".repeat(124))]),
    ];
    rows.extend(CODES.map(|code| ("7.9, 7.13", vec![], vec![Draft::close(code, "")])));
    rows
}

/// Frames that pass, and then what is sent behind a Close.
#[rustfmt::skip]
fn valid_frames() -> Vec<Refused> {
    const CODES: [u16; 13] = [1_000, 1_001, 1_002, 1_003, 1_007, 1_008, 1_009, 1_010, 1_011, 3_000, 3_999, 4_000, 4_999];
    let fragments = |texts: &[&str]| -> Vec<Draft> {
        let last = texts.len() - 1;
        texts.iter().enumerate().map(|(index, part)| fragment(index, last, part.as_bytes())).collect()
    };
    let with_ping = |mut frames: Vec<Draft>, at: usize, payload: &str| { frames.insert(at, ping(payload)); frames };
    let five = fragments(&["fragment1", "fragment2", "fragment3", "fragment4", "fragment5"]);
    let pong = || Draft::new(PONG, "unsolicited pong payload");
    let mixed = "Hello-µ@ßöäüàá-UTF-8!!";
    let mut rows = vec![
        ("2.1", vec![ping("")], vec![]),
        ("2.2", vec![ping(HELLO)], vec![]),
        ("2.3", vec![ping(OCTETS)], vec![]),
        ("2.4, 2.6", vec![ping([0xfe; 125])], vec![]),
        ("2.7", vec![Draft::new(PONG, "")], vec![]),
        ("2.8", vec![pong()], vec![]),
        ("2.9", vec![pong(), ping("ping payload")], vec![]),
        ("2.10–11", (0..10).map(|index| ping(format!("payload-{index}"))).collect(), vec![]),
        ("5.3–5", fragments(&["fragment1", "fragment2"]), vec![]),
        ("5.6–8", with_ping(fragments(&["fragment1", "fragment2"]), 1, "ping payload"), vec![]),
        ("5.19–20", with_ping(with_ping(five, 4, "pongme 2!"), 2, "pongme 1!"), vec![]),
        ("6.1.1", vec![text("")], vec![]),
        ("6.1.2", fragments(&["", "", ""]), vec![]),
        ("6.1.3", fragments(&["", "middle frame payload", ""]), vec![]),
        ("6.2.1", vec![text(mixed)], vec![]),
        ("6.2.2", fragments(&["Hello-µ@ßöä", "üàá-UTF-8!!"]), vec![]),
        ("6.2.3", octet_frames(mixed.as_bytes()), vec![]),
        ("6.2.4", octet_frames(GREEK), vec![]),
        ("7.1.1", vec![hello()], vec![]),
        ("7.1.2", vec![Draft::close(1_000, "")], vec![Draft::new(CLOSE, "")]),
        ("7.1.3", vec![Draft::close(1_000, "")], vec![ping("")]),
        ("7.1.4", vec![Draft::close(1_000, "")], vec![hello()]),
        ("7.1.5", vec![text("fragment1").unfinished(), Draft::close(1_000, "")], vec![next("fragment2")]),
        ("7.1.6", vec![text("BAsd7&jh23".repeat(26_215)), hello(), Draft::close(1_000, "")], vec![ping("")]),
        ("7.3.1", vec![Draft::new(CLOSE, "")], vec![]),
        ("7.3.3", vec![Draft::close(1_000, "")], vec![]),
        ("7.3.4", vec![Draft::close(1_000, HELLO)], vec![]),
        ("7.3.5", vec![Draft::close(1_000, &"*".repeat(123))], vec![]),
    ];
    rows.extend(CODES.map(|code| ("7.7", vec![Draft::close(code, "")], vec![])));
    rows
}

/// What no decoder of UTF-8 may take (RFC 3629 §3).
fn invalid_text() -> Vec<(String, Vec<u8>)> {
    const TABLE: &[(&str, &str)] = &[
        ("6.3", "cebae1bdb9cf83cebcceb5eda080656469746564"),
        ("6.4", "cebae1bdb9cf83cebcceb5f4908080656469746564"),
        ("6.6", "ce cebae1 cebae1bd cebae1bdb9cf cebae1bdb9cf83ce cebae1bdb9cf83cebcce"),
        ("6.8", "f888808080 fc8480808080"),
        ("6.10", "f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf"),
        ("6.11", "f4908080"),
        ("6.12", "80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf"),
        ("6.14", "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf"),
        ("6.15", "c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf"),
        ("6.16", "fe ff fefeffff"),
        ("6.17", "c0af e080af f08080af f8808080af fc80808080af"),
        ("6.18", "c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf"),
        ("6.19", "c080 e08080 f0808080 f880808080 fc8080808080"),
        ("6.20", "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf"),
        (
            "6.21",
            "eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf",
        ),
    ];
    // The suite's ranges leave their last octet out.
    let lonely = [0xc0..0xdf, 0xe0..0xef, 0xf0..0xf7, 0xf8..0xfb, 0xfc..0xfd];
    let lonely = lonely.map(|starts| ("6.13".into(), starts.flat_map(|start| [start, b' ']).collect()));
    let continuations = ("6.12.8".into(), (0x80..0xbf).collect());
    sequences(TABLE).chain(lonely).chain([continuations]).collect()
}

fn valid_text() -> Vec<(String, Vec<u8>)> {
    const TABLE: &[(&str, &str)] = &[
        (
            "6.5",
            "68656c6c6f24776f726c64 68656c6c6fc2a2776f726c64 68656c6c6fe282ac776f726c64 68656c6c6ff0a4ada2776f726c64",
        ),
        ("6.6", "ceba cebae1bdb9 cebae1bdb9cf83 cebae1bdb9cf83cebc cebae1bdb9cf83cebcceb5"),
        ("6.7", "00 c280 e0a080 f0908080"),
        ("6.9", "7f dfbf efbfbf f48fbfbf"),
        ("6.11", "ed9fbf ee8080 efbfbd f48fbfbf"),
        (
            "6.22",
            "efbfbe efbfbf f09fbfbe f09fbfbf f0afbfbe f0afbfbf f0bfbfbe f0bfbfbf f18fbfbe f18fbfbf f19fbfbe f19fbfbf",
        ),
        (
            "6.22",
            "f1afbfbe f1afbfbf f1bfbfbe f1bfbfbf f28fbfbe f28fbfbf f29fbfbe f29fbfbf f2afbfbe f2afbfbf f2bfbfbe f2bfbfbf",
        ),
        ("6.22", "f38fbfbe f38fbfbf f39fbfbe f39fbfbf f3afbfbe f3afbfbf f3bfbfbe f3bfbfbf f48fbfbe f48fbfbf"),
        ("6.23", "efbfb9 efbfba efbfbb efbfbc efbfbd efbfbe efbfbf"),
    ];
    sequences(TABLE).collect()
}

/// The octets that are written in hex, apart by spaces.
fn sequences(table: &[(&str, &str)]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let octet = |digits: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(digits), 16).expect("hex");
    let octets = move |word: &str| word.as_bytes().chunks(2).map(octet).collect();
    table
        .iter()
        .flat_map(move |(case, words)| words.split(' ').map(move |word| (format!("{case} {word}"), octets(word))))
}

/// The three ways in which a client can send what is no text.
fn no_text_rows(case: &str, text: &[u8]) -> Vec<Row> {
    let row = |way: &str, before: Vec<u8>, rest: Vec<u8>| Row {
        case: format!("{case}, {way}"),
        before,
        rest,
        end: (1_007, "invalid_utf8"),
    };
    let whole = bytes([Draft::new(TEXT, text)]);
    let is_hopeless = |len: &usize| str::from_utf8(&text[..*len]).is_err_and(|error| error.error_len().is_some());
    // What is only too short is found out by the end of the message.
    let hopeless = (1..=text.len()).find(is_hopeless).unwrap_or(text.len());
    let mut octets = octet_frames(text);
    let rest = octets.split_off(hopeless - 1);
    let cut = whole[..whole.len() - text.len() + hopeless].to_vec();
    vec![row("whole", vec![], whole), row("octet by octet", bytes(octets), bytes(rest)), row("cut", vec![], cut)]
}

/// A row of frames that all pass, up to a Close that the backend returns; what is `behind` that is ignored (RFC 6455 §5.5.1).
fn accepted(case: String, mut frames: Vec<Draft>, behind: Vec<Draft>) -> Row {
    let ends =
        |frames: &[Draft]| Frame::parse_all(&bytes(frames.to_vec())).0.last().is_some_and(|last| last.opcode == CLOSE);
    if !ends(&frames) {
        frames.push(Draft::close(1_000, ""));
    }
    Row { case, before: bytes(frames), rest: bytes(behind), end: PEER }
}

/// Plays all rows at both paces, some at a time.
#[track_caller]
fn check(rows: Vec<Row>) {
    check_under("refuse", rows);
}

/// The same with `tunnels` as they are.
#[track_caller]
fn check_under(tunnels: &str, rows: Vec<Row>) {
    let side =
        json!({"max_message_bytes": 1_000_000, "max_frame_bytes": 1_000_000, "binary": "allow", "tunnels": tunnels});
    let gate = Gate::start(open_policy(json!({"from_client": side, "from_server": side})), sloppy());
    let mut counters = Counters::default();
    for row in rows.iter().chain(&rows) {
        counters.closed(row.end.1);
    }
    let share = rows.len().div_ceil(PLAYERS);
    let faults: Vec<String> = thread::scope(|scope| {
        let gate = &gate;
        let play_all = |player: usize, rows: &[Row]| {
            let mut plays = rows.iter().enumerate().flat_map(|(index, row)| [(index, row, false), (index, row, true)]);
            // A fault takes a while to be one: after its first, a player stops.
            plays.find_map(|(index, row, bytewise)| {
                let pace = if bytewise { "byte by byte" } else { "at once" };
                let fault = play(gate, &format!("/{player}/{index}/{bytewise}"), row, bytewise).err()?;
                Some(format!("{}, {pace}: {fault}", row.case))
            })
        };
        let players = rows.chunks(share).enumerate();
        let players: Vec<_> = players.map(|(player, rows)| scope.spawn(move || play_all(player, rows))).collect();
        players.into_iter().filter_map(|player| player.join().expect("it does not panic")).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    gate.check_counters(&counters);
}

/// Sends one row, and says what is wrong with what came of it.
fn play(gate: &Gate, path: &str, row: &Row, bytewise: bool) -> Result<(), String> {
    let mut websocket = gate.open(path);
    let sent = [row.before.deref(), &row.rest].concat();
    // Byte by byte, but a long row in as many writes as a short one.
    let size = if bytewise { sent.len().div_ceil(WRITES_MAX) } else { sent.len() };
    for piece in sent.chunks(size) {
        // The verdict may be there before the last byte.
        let _ = websocket.send(piece);
        if bytewise {
            // What Envoy has read cannot be asked of it.
            thread::sleep(Duration::from_micros(500));
        }
    }
    let passed = Frame::parse_all(&row.before).0;
    let mut told = receive_until_close(&mut websocket);
    let close = told.pop().ok_or("the client is told nothing")?;
    let last_passed = passed.last().filter(|_| row.end == PEER);
    let (code, reason) = match last_passed {
        Some(last) => (last.close_code(), last.close_reason()),
        None => (Some(row.end.0), row.end.1.to_owned()),
    };
    if (close.opcode, close.close_code(), close.close_reason()) != (CLOSE, code, reason) {
        return Err(format!("the client is told {close:?}"));
    }
    let echoed = if last_passed.is_some() { passed.len() - 1 } else { told.len() };
    if !passed.get(..echoed).is_some_and(|passed| same(passed, &told)) {
        return Err(format!("the client gets {told:?}"));
    }
    // Its Close is on its way; then we are gone, and so is the connection.
    let expected_count = passed.len() + usize::from(last_passed.is_none());
    gate.request(path, |request| request.end.is_some() || request.frames().0.len() >= expected_count);
    drop(websocket);
    let request = gate.request(path, |request| request.end.is_some());
    let Some(rest) = request.bytes.strip_prefix(row.before.as_slice()) else {
        return Err(format!("the backend gets {:?}", request.frames()));
    };
    match (last_passed, Frame::parse_all(rest)) {
        (Some(_), (frames, [])) if frames.is_empty() => Ok(()),
        (None, (frames, [])) if is_our_close(&frames, row.end) => Ok(()),
        (_, got) => Err(format!("the backend gets {got:?} behind what passes")),
    }
}

/// Whether both are the same frames, but for their masks.
fn same(sent: &[Frame], got: &[Frame]) -> bool {
    let unmasked = |frames: &[Frame]| frames.iter().map(|frame| Draft::copy_of(frame).bytes()).collect::<Vec<_>>();
    unmasked(sent) == unmasked(got)
}

fn is_our_close(frames: &[Frame], (code, reason): (u16, &str)) -> bool {
    let [close] = frames else { return false };
    close.mask.is_some() && close.close_code() == Some(code) && close.close_reason() == reason
}

/// A backend that returns every frame as it came, whatever it is, and but for its mask: a masked one would be an offence of its own.
fn sloppy() -> Mode {
    Mode::scripted(|head| Play::answer(head.accepted()).on_frame(|frame| Draft::copy_of(frame).bytes()))
}

fn hello() -> Draft {
    text(HELLO)
}

fn text(payload: impl Into<Vec<u8>>) -> Draft {
    Draft::new(TEXT, payload)
}

fn next(payload: impl Into<Vec<u8>>) -> Draft {
    Draft::new(CONTINUATION, payload)
}

fn ping(payload: impl Into<Vec<u8>>) -> Draft {
    Draft::new(PING, payload)
}

/// A text message of one octet a frame.
fn octet_frames(text: &[u8]) -> Vec<Draft> {
    text.iter().enumerate().map(|(index, octet)| fragment(index, text.len() - 1, &[*octet])).collect()
}

/// One fragment of a text message, of which the first has index 0.
fn fragment(index: usize, last: usize, payload: &[u8]) -> Draft {
    let draft = Draft::new(if index == 0 { TEXT } else { CONTINUATION }, payload);
    if index == last { draft } else { draft.unfinished() }
}

/// The frames on the wire, masked.
fn bytes(frames: impl IntoIterator<Item = Draft>) -> Vec<u8> {
    frames.into_iter().flat_map(|frame| frame.masked().bytes()).collect()
}

const HELLO: &str = "Hello, world!";
const OCTETS: [u8; 8] = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
/// A word with characters of two and of three octets.
const GREEK: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

/// The end of a row that the peers end themselves.
const PEER: (u16, &str) = (0, "peer");

/// Rows that are played at once: most of their time they wait.
const PLAYERS: usize = 8;

/// More than the longest of the suite's short cases has bytes; of a long one, each write is then a few hundred.
const WRITES_MAX: usize = 500;
