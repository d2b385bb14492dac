//! One side's bytes as scripts: what goes on, and when, for each depth.

use core::cell::Cell;
use std::rc::Rc;

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{MZFlush, MZStatus};

use super::*;
use crate::content::tunnels::Conversation;
use crate::content::{ContentRules, Handshake};
use crate::docket::{Docket, Strictness};
use crate::message::{Binary, MessageRules};
use crate::mode::Mode;
use crate::modes::Modes;
use crate::testing::{MOMENT as NOW, Unlimited, frame};
use crate::violation::Violation::{InvalidDeflate, InvalidUtf8, MessageTooBig, Overloaded, ProtocolError};
use crate::wire::Side;

const HEADERS: MessageRules = MessageRules {
    frame_len_max: 1_000_000,
    message_len_max: 1_000_000,
    fragments_max: 100,
    text: true,
    binary: Binary::Allow,
    utf8: false,
    whole: false,
};
const STREAMING: MessageRules = MessageRules { utf8: true, ..HEADERS };
const WHOLE: MessageRules = MessageRules { whole: true, ..STREAMING };

/// What content rules of tests begin as: anything may be said.
fn unjudged() -> ContentRules {
    ContentRules { tunnels: true, ..ContentRules::default() }
}

/// Takes a chunk under `rules` alone.
fn take(direction: &mut Direction, chunk: &[u8], rules: &MessageRules, mode: Mode, has_room: bool) -> Received {
    judge(direction, chunk, rules, &Rc::new(unjudged()), mode, has_room)
}

fn judge(
    direction: &mut Direction,
    chunk: &[u8],
    rules: &MessageRules,
    content: &Rc<ContentRules>,
    mode: Mode,
    has_room: bool,
) -> Received {
    let handshake = Handshake::default();
    let conversation = Cell::new(Conversation::new(handshake.exempt));
    let docket = Docket::new(Modes::all(mode), Some(Side::Client), Strictness::None);
    let terms = Terms {
        rules,
        content,
        handshake: &handshake,
        conversation: &conversation,
        search: None,
        docket: &docket,
        is_closing: false,
        inspect: true,
        fits: &|_| has_room,
        limits: None,
        budget: &Unlimited,
        countdown: None,
        now: NOW,
        ping: &Cell::default(),
        pong: &[],
        pongs_due: 0,
    };
    let received = direction.receive(chunk, &terms).unwrap();
    Received { overlooked: docket.into_passed(), ..received }
}

fn client() -> Direction {
    Direction::new(Framing { from: Side::Client, deflate: false }, None, NOW)
}

fn inspecting(takeover: bool) -> Direction {
    Direction::new(Framing { from: Side::Client, deflate: true }, Some(Box::new(Inflater::new(takeover))), NOW)
}

fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x81, payload.as_ref())
}

/// What goes on of `bytes` in chunks of `piece` bytes, and the violation that ended it.
fn receive(
    direction: &mut Direction,
    rules: &MessageRules,
    bytes: &[u8],
    piece: usize,
) -> (Vec<u8>, Option<Violation>) {
    let mut passed = Vec::new();
    for chunk in bytes.chunks(piece) {
        let received = take(direction, chunk, rules, Mode::Enforce, true);
        passed.extend(received.passage.before);
        passed.extend(&chunk[..received.passage.keep]);
        passed.extend(received.passage.after);
        if received.violation.is_some() {
            direction.stop(Some(Side::Client));
            return (passed, received.violation);
        }
    }
    (passed, None)
}

/// The same for every cut of the same bytes.
#[track_caller]
fn check(
    make: impl Fn() -> Direction,
    rules: &MessageRules,
    bytes: &[u8],
    passed: &[u8],
    violation: Option<Violation>,
) {
    for piece in (1..=bytes.len()).take(300).chain([usize::MAX]) {
        let mut direction = make();
        let found = receive(&mut direction, rules, bytes, piece);
        assert!(found == (passed.to_vec(), violation), "pieces of {piece}: {} bytes, {:?}", found.0.len(), found.1);
        assert!(direction.is_between_frames(), "pieces of {piece}");
        assert_eq!(direction.memory_len(), 0, "pieces of {piece}");
    }
}

#[track_caller]
fn accept(rules: &MessageRules, bytes: &[u8]) {
    check(client, rules, bytes, bytes, None);
}

#[test]
fn good_text_passes_as_it_came_at_every_depth() {
    let fragments = [frame(0x01, b"h\xc3"), frame(0x00, b"\xa9l\xe2"), frame(0x00, b""), frame(0x80, b"\x82\xac")];
    let bytes = [text("κόσμε"), frame(0x82, b"\xff\xfe"), text(""), fragments.concat(), text("x".repeat(200))].concat();
    for rules in [HEADERS, STREAMING, WHOLE] {
        accept(&rules, &bytes);
    }
}

#[test]
fn nothing_of_a_frame_that_is_no_text_moves_on() {
    let good = text("good");
    for bad in
        [&b"\xff"[..], b"abc\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\xe2\x82", &[&[b'x'; 300][..], b"\xc0"].concat()]
    {
        let bytes = [good.clone(), text(bad), good.clone()].concat();
        check(client, &STREAMING, &bytes, &good, Some(InvalidUtf8));
        check(client, &WHOLE, &bytes, &good, Some(InvalidUtf8));
        accept(&HEADERS, &bytes);
    }
}

#[test]
fn a_fault_is_found_with_its_byte_and_not_with_its_frame() {
    let bytes = text([&[b'x'; 50][..], b"\xff", &[b'x'; 50]].concat());
    let (begun, rest) = bytes.split_at(6 + 50);
    let mut direction = client();
    assert_eq!(receive(&mut direction, &STREAMING, begun, 1), (vec![], None));
    assert_eq!(receive(&mut direction, &STREAMING, &rest[..1], 1), (vec![], Some(InvalidUtf8)));
}

#[test]
fn earlier_fragments_pass_when_streaming_and_not_when_whole() {
    let (first, second) = (frame(0x01, b"good"), frame(0x80, b"\xff"));
    let bytes = [first.clone(), second].concat();
    check(client, &STREAMING, &bytes, &first, Some(InvalidUtf8));
    check(client, &WHOLE, &bytes, b"", Some(InvalidUtf8));
    // Unfinished at the end of the message.
    let bytes = [first.clone(), frame(0x80, b"\xe2\x82")].concat();
    check(client, &STREAMING, &bytes, &first, Some(InvalidUtf8));
    // What of it is read is decided with its beginning, however the rules change.
    let mut direction = client();
    receive(&mut direction, &HEADERS, &frame(0x01, b"\xe2"), 1);
    assert_eq!(receive(&mut direction, &WHOLE, &frame(0x80, b"\xff"), 1).1, None);
}

#[test]
fn control_frames_pass_a_message_that_is_held() {
    let (first, middle, last) = (frame(0x01, b"one"), frame(0x00, b"two"), frame(0x80, b"three"));
    let (ping, pong) = (frame(0x89, b"ping"), frame(0x8a, b""));
    let before = text("before");
    let sent = [&before, &first, &ping, &middle, &pong, &last, &ping][..]
        .iter()
        .copied()
        .flatten()
        .copied()
        .collect::<Vec<_>>();
    let passed = [&before, &ping, &pong, &first, &middle, &last, &ping][..]
        .iter()
        .copied()
        .flatten()
        .copied()
        .collect::<Vec<_>>();
    check(client, &WHOLE, &sent, &passed, None);
    accept(&STREAMING, &sent);
    // A message that is never finished goes nowhere.
    let close = frame(0x88, b"\x03\xe8");
    let bytes = [&first[..], &ping, &close, &last].concat();
    check(client, &WHOLE, &bytes, &[&ping[..], &close].concat(), None);
}

#[test]
fn a_frame_goes_on_with_its_last_byte() {
    let bytes = text("whole");
    for rules in [STREAMING, WHOLE] {
        let mut direction = client();
        let (last, begun) = bytes.split_last().unwrap();
        assert_eq!(receive(&mut direction, &rules, begun, 3), (vec![], None));
        assert!(direction.is_between_frames());
        assert_eq!(receive(&mut direction, &rules, &[*last], 1), (bytes.clone(), None));
    }
}

#[test]
fn the_longest_frames_go_on_piece_by_judged_piece() {
    let mut long = text("x".repeat(65_537));
    let (first, rest) = long.split_at(30_000);
    let mut direction = client();
    assert_eq!(receive(&mut direction, &STREAMING, first, 10_000), (first.to_vec(), None));
    assert!(!direction.is_between_frames());
    assert_eq!(receive(&mut direction, &STREAMING, rest, 10_000), (rest.to_vec(), None));
    assert!(direction.is_between_frames());
    // The piece with the fault does not; half a frame has, so no Close can follow it.
    long[50_000] ^= 0x80;
    let mut direction = client();
    assert_eq!(receive(&mut direction, &STREAMING, &long, 10_000), (long[..50_000].to_vec(), Some(InvalidUtf8)));
    assert!(!direction.is_between_frames());
    assert_eq!(direction.finish_frame(100), 0);
    // As long as the bound, it waits.
    let long = text("x".repeat(65_536));
    assert_eq!(receive(&mut client(), &STREAMING, &long[..60_000], 10_000), (vec![], None));
}

#[test]
fn without_room_streaming_goes_on_and_whole_ends() {
    let bytes = text("x".repeat(10_000));
    let pieces = |rules: &MessageRules| {
        let mut direction = client();
        let mut room = true;
        let mut results = Vec::new();
        for chunk in bytes.chunks(4_000) {
            let received = take(&mut direction, chunk, rules, Mode::Enforce, room);
            results.push((received.passage.before.len(), received.passage.keep, received.violation));
            room = false;
        }
        results
    };
    assert_eq!(pieces(&STREAMING), [(0, 0, None), (4_000, 4_000, None), (0, 2_008, None)]);
    assert_eq!(pieces(&WHOLE)[..2], [(0, 0, None), (0, 0, Some(Overloaded))]);
    // A header is no payload: it may always be held.
    let received = take(&mut client(), b"\x81", &WHOLE, Mode::Enforce, false);
    assert_eq!(received.violation, None);
}

/// A compressed message, as RFC 7692 §7.2.1 says.
fn compress(compressor: &mut CompressorOxide, text: &[u8]) -> Vec<u8> {
    let mut out = vec![0; text.len() * 2 + 100];
    let result = deflate(compressor, text, &mut out, MZFlush::Sync);
    assert_eq!(result.status, Ok(MZStatus::Ok));
    out.truncate(result.bytes_written - 4);
    out
}

fn compressor() -> CompressorOxide {
    CompressorOxide::new(create_comp_flags_from_zip_params(6, -15, 0))
}

#[test]
fn compressed_messages_are_judged_and_go_on_as_they_came() {
    let mut compressor = compressor();
    let mut message = |text: &str| compress(&mut compressor, text.as_bytes());
    let (one, two, three) = (message("Hello κόσμε"), message("Hello κόσμε"), message(&"Hello again ".repeat(5_000)));
    let (begun, rest) = two.split_at(3);
    let fragments = [frame(0x41, begun), frame(0x89, b"ping"), frame(0x00, b""), frame(0x80, rest)].concat();
    let bytes = [frame(0xc1, &one), fragments, text("plain between"), frame(0xc2, &three)].concat();
    for piece in (1..=bytes.len()).take(300) {
        let mut direction = inspecting(true);
        assert!(receive(&mut direction, &STREAMING, &bytes, piece) == (bytes.clone(), None), "pieces of {piece}");
    }
    // Without takeover the second message refers to what is not there.
    assert_eq!(receive(&mut inspecting(false), &WHOLE, &bytes, usize::MAX).1, Some(InvalidDeflate));
}

#[test]
fn what_is_inside_counts() {
    let compressed = |text: &[u8]| frame(0xc1, &compress(&mut compressor(), text));
    let good = compressed(b"good");
    let make = || inspecting(false);
    let rules = MessageRules { message_len_max: 65_536, ..STREAMING };
    let bad = |bytes: Vec<u8>, violation| {
        let sent = [good.clone(), bytes, good.clone()].concat();
        check(make, &rules, &sent, &good, Some(violation));
    };
    bad(compressed(b"no \xff text"), InvalidUtf8);
    bad(compressed(b"cut \xe2\x82"), InvalidUtf8);
    bad(compressed(&[&[b'x'; 65_536][..], b"\xff"].concat()), MessageTooBig);
    bad(compressed(&[&[b'x'; 65_535][..], b"\xff\xff"].concat()), InvalidUtf8);
    bad(frame(0xc1, b"\x07"), InvalidDeflate);
    bad(frame(0xc1, b""), InvalidDeflate);
    bad(compressed(&vec![b'x'; 65_537]), MessageTooBig);
    bad(compressed(&vec![b'x'; 10_000_000]), MessageTooBig);
    check(make, &rules, &compressed(&vec![b'x'; 65_536]), &compressed(&vec![b'x'; 65_536]), None);
    // The bit stands on the first fragment alone, and only where it was negotiated.
    bad(frame(0xc9, b""), ProtocolError);
    bad(frame(0xc0, b""), ProtocolError);
    check(client, &rules, &good, b"", Some(ProtocolError));
}

#[test]
fn a_bomb_is_stopped_within_one_window() {
    let bomb = frame(0xc1, &compress(&mut compressor(), &vec![0; 60_000_000]));
    let mut direction = inspecting(true);
    let before = bomb.len();
    assert!(before < 65_536 + 14, "{before}");
    assert_eq!(receive(&mut direction, &STREAMING, &bomb, 1_000).1, Some(MessageTooBig));
    assert_eq!(direction.memory_len(), 0);
}

#[test]
fn compressed_messages_pass_unread_where_they_are_not_inspected() {
    let make = || Direction::new(Framing { from: Side::Client, deflate: true }, None, NOW);
    let bytes = [frame(0xc1, b"\xff\xff"), frame(0x42, b"\x07"), frame(0x80, b"\x00")].concat();
    check(make, &HEADERS, &bytes, &bytes, None);
}
