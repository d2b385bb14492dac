//! Connections as scripts: bytes of either side in, forwarded bytes and Close frames out.

use std::borrow::Cow;
use std::rc::Rc;

use super::{CLOSE_GRACE, CLOSE_TIMEOUT, Due, PEER_CLOSE_TIMEOUT, Session};
use crate::content::Handshake;
use crate::entry::Entry;
use crate::limits::Share;
use crate::message::Binary;
use crate::mode::Mode;
use crate::modes::Modes;
use crate::policy::Policy;
use crate::policy::routes::{Place, Policies};
use crate::testing::{BIRTH, MOMENT as NOW, Unlimited, forwarded};
use crate::violation::Violation::{self, InvalidUtf8, MessageTooBig, ProtocolError, TypeRefused};
use crate::wire::Side::{self, Client, Server};
use crate::wire::{Chunk, Unreadable};

const MASK: [u8; 4] = [0; 4];

/// How a server answers our Close.
const CLOSE: &[u8] = b"\x88\x02\x03\xf1";

fn session(mode: Mode) -> Session {
    let mut policy: Policy = crate::config::tests::permissive();
    policy.modes = Modes::all(mode);
    policy.messages.client.rules.frame_len_max = 100;
    policy.messages.client.rules.message_len_max = 100;
    policy.messages.client.rules.binary = Binary::Refuse;
    policy.messages.server.rules.frame_len_max = 1_000;
    policy.messages.server.rules.message_len_max = 1_000;
    policy.messages.client.rules.utf8 = false;
    open(policy)
}

fn open(policy: Policy) -> Session {
    Session::new(
        Rc::new(policy),
        Place::default(),
        Entry::default(),
        None,
        Handshake::default(),
        Share::default(),
        BIRTH,
    )
}

fn text(from: Side, len: u8) -> Vec<u8> {
    let mut frame = vec![0x81, len | if from == Client { 0x80 } else { 0 }];
    if from == Client {
        frame.extend([1, 2, 3, 4]);
    }
    frame.extend(vec![b'x'; len.into()]);
    frame
}

/// What is forwarded of `bytes` when they come in pieces of `piece` bytes, and the first violation that is not let pass.
fn receive(session: &mut Session, from: Side, bytes: &[u8], piece: usize) -> (Vec<u8>, Option<Violation>) {
    let (mut passed, mut violation) = (Vec::new(), None);
    for chunk in bytes.chunks(piece) {
        let received = session.receive(from, chunk, NOW, &Unlimited).unwrap();
        passed.extend(forwarded(&received, chunk));
        violation = violation.or(received.violation);
    }
    (passed, violation)
}

#[track_caller]
fn check(from: Side, bytes: &[u8], forwarded: &[u8], violation: Option<Violation>) {
    for piece in 1..=bytes.len() {
        let mut session = session(Mode::Enforce);
        assert_eq!(receive(&mut session, from, bytes, piece), (forwarded.to_vec(), violation), "pieces of {piece}");
        assert_eq!(session.violation(), violation);
    }
}

#[test]
fn good_frames_pass_as_they_are_however_they_are_cut() {
    let mut bytes = text(Client, 3);
    bytes.extend(b"\x89\x80\x01\x02\x03\x04");
    bytes.extend(text(Client, 100));
    check(Client, &bytes, &bytes, None);
    let bytes = [text(Server, 0), text(Server, 125), b"\x82\x7e\x00\xff".to_vec(), vec![7; 255]].concat();
    check(Server, &bytes, &bytes, None);
}

#[test]
fn nothing_of_a_refused_frame_moves_on() {
    let good = text(Client, 5);
    for (bad, violation) in [
        (text(Client, 101), MessageTooBig),
        (b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x00\x01\x02\x03\x04".to_vec(), MessageTooBig),
        (text(Server, 5), ProtocolError),
        (b"\xc1\x80\x01\x02\x03\x04".to_vec(), ProtocolError),
        (b"\x82\x80\x01\x02\x03\x04".to_vec(), TypeRefused),
        (b"\x80\x80\x01\x02\x03\x04".to_vec(), ProtocolError),
    ] {
        check(Client, &[good.clone(), bad, good.clone()].concat(), &good, Some(violation));
    }
    check(Server, &[text(Server, 5), text(Client, 5)].concat(), &text(Server, 5), Some(ProtocolError));
}

#[test]
fn a_close_is_judged_whole() {
    let masked = |payload: &[u8]| [&[0x88, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat();
    let good = text(Client, 5);
    let long = [&b"\x03\xe8"[..], &[b'x'; 123]].concat();
    for payload in [&b""[..], b"\x03\xe8", b"\x0f\xa0bye", &long] {
        let bytes = [good.clone(), masked(payload)].concat();
        check(Client, &bytes, &bytes, None);
    }
    check(Client, &[good.clone(), masked(b"\x03\xed")].concat(), &good, Some(ProtocolError));
    check(Client, &[good.clone(), masked(b"\x03\xe8\xff")].concat(), &good, Some(InvalidUtf8));
    check(Server, b"\x88\x02\x00\x00", b"", Some(ProtocolError));
}

#[test]
fn data_behind_a_close_is_dropped() {
    let close = b"\x88\x82\x00\x00\x00\x00\x03\xe8";
    check(Client, &[&close[..], &text(Client, 5)].concat(), close, None);
    check(Server, b"\x88\x00\x81\x01x", b"\x88\x00", None);
}

#[test]
fn an_end_that_was_begun_has_its_time() {
    let mut session = session(Mode::Enforce);
    let before = session.deadline();
    receive(&mut session, Server, b"\x88", 1);
    assert_eq!(session.deadline(), before);
    receive(&mut session, Server, b"\x00", 1);
    assert_eq!(session.deadline(), Some(NOW.saturating_add(PEER_CLOSE_TIMEOUT)));
    receive(&mut session, Client, b"\x83", 1);
    assert_eq!(session.deadline(), Some(NOW.saturating_add(CLOSE_TIMEOUT)));
}

#[test]
fn who_sends_nothing_any_more_has_his_time_too() {
    let mut session = session(Mode::Enforce);
    session.finish(Client, NOW);
    assert_eq!(session.deadline(), Some(NOW.saturating_add(PEER_CLOSE_TIMEOUT)));
    assert_eq!(receive(&mut session, Server, &text(Server, 5), 1), (text(Server, 5), None));
}

#[test]
fn streamed_text_is_never_refused_for_want_of_room() {
    let frame = [&b"\x81\xfe\x03\xe8\0\0\0\0"[..], &[b'x'; 1_000]].concat();
    for held_len_max in [1, 13, 100, 700, 1_007, 1_008, 2_000] {
        for piece in [1, 7, 390, 399, 500, 999] {
            let mut policy: Policy = crate::config::tests::permissive();
            policy.limits.held_len_max = held_len_max;
            let mut session = open(policy);
            let found = receive(&mut session, Client, &frame, piece);
            assert_eq!(found, (frame.clone(), None), "{held_len_max} in pieces of {piece}");
        }
    }
}

#[test]
fn both_peers_get_one_close_each() {
    let mut session = session(Mode::Enforce);
    assert_eq!(session.transmit(Client, MASK), None);
    receive(&mut session, Client, &text(Client, 101), 999);
    assert_eq!(session.transmit(Server, MASK).unwrap(), b"\x88\x91\0\0\0\0\x03\xf1message_too_big");
    assert_eq!(receive(&mut session, Server, CLOSE, 999), (vec![], None));
    assert_eq!(session.transmit(Client, MASK).unwrap(), b"\x88\x11\x03\xf1message_too_big");
    assert_eq!((session.transmit(Client, MASK), session.transmit(Server, MASK)), (None, None));
}

/// What a server says to a refused client, and whether that is told then; each way of cutting it.
#[track_caller]
fn check_answers(policy: &Policy, said: &[u8], passed: &[u8], is_told: bool) {
    for piece in 1..=said.len() {
        let mut session = open(policy.clone());
        receive(&mut session, Client, &text(Client, 5), 999);
        assert_eq!(receive(&mut session, Client, &text(Client, 101), 999).1, Some(MessageTooBig));
        assert!(session.transmit(Server, MASK).is_some(), "the server is told at once");
        let found = receive(&mut session, Server, said, piece);
        assert_eq!(found, (passed.to_vec(), None), "pieces of {piece}");
        let told = session.transmit(Client, MASK);
        assert_eq!(told.is_some(), is_told, "pieces of {piece}");
        // Whatever the server and the client go on saying: the one has a second, and nothing more of the other goes anywhere.
        assert_eq!(receive(&mut session, Client, &text(Client, 1), 999), (vec![], None));
        let until = NOW.saturating_add(CLOSE_GRACE);
        if !is_told {
            assert_eq!(session.deadline(), Some(until));
        }
        assert_eq!(session.tick(until), Due::Nothing);
        let told = told.or_else(|| session.transmit(Client, MASK));
        assert_eq!(told.unwrap(), b"\x88\x11\x03\xf1message_too_big", "pieces of {piece}");
        assert_eq!(receive(&mut session, Server, &text(Server, 5), 999), (vec![], None));
        assert_eq!(session.tick(NOW.saturating_add(CLOSE_TIMEOUT)), Due::Reset);
    }
}

#[test]
fn what_was_allowed_is_answered_before_its_sender_is_told() {
    let mut policy = (**session(Mode::Enforce).policy()).clone();
    let answers = [text(Server, 5), b"\x89\x00".to_vec(), text(Server, 100)].concat();
    for (utf8, whole) in [(false, false), (true, false), (true, true)] {
        (policy.messages.server.rules.utf8, policy.messages.server.rules.whole) = (utf8, whole);
        check_answers(&policy, &answers, &answers, false);
        // Its own Close ends that, whatever it says, and goes no further.
        for close in [CLOSE, b"\x88\x06\x03\xe8done", b"\x88\x00"] {
            check_answers(&policy, &[&answers, close].concat(), &answers, true);
            check_answers(&policy, &[&answers, close, &text(Server, 5)].concat(), &answers, true);
        }
        // So does a fault of the server: nothing of it goes on, and the client hears of its own.
        for fault in [&b"\x83\x00"[..], b"\x88\x01x", &text(Client, 5)] {
            check_answers(&policy, &[&answers, fault, &text(Server, 5)].concat(), &answers, true);
        }
        // Half a frame that waited goes nowhere, and half a message is no message.
        check_answers(&policy, &[&answers, &b"\x81\x7e\x00"[..]].concat(), &answers, false);
    }
    check_answers(&policy, &[&answers, &b"\x01\x01x"[..]].concat(), &answers, false);
}

#[test]
fn a_server_that_ends_without_a_close_has_said_all() {
    let mut session = session(Mode::Enforce);
    receive(&mut session, Client, b"\x83", 1);
    receive(&mut session, Server, &text(Server, 5), 999);
    assert_eq!(session.transmit(Client, MASK), None);
    session.finish(Server, NOW);
    assert!(session.transmit(Client, MASK).is_some());
}

#[test]
fn a_frame_that_is_on_its_way_when_the_second_is_over_ends_first() {
    let mut session = session(Mode::Enforce);
    receive(&mut session, Client, b"\x83", 1);
    let long = text(Server, 100);
    assert_eq!(receive(&mut session, Server, &long[..50], 999).0, long[..50]);
    assert_eq!(session.tick(NOW.saturating_add(CLOSE_GRACE)), Due::Nothing);
    assert_eq!(session.transmit(Client, MASK), None);
    let more = [&long[50..], &text(Server, 5)].concat();
    assert_eq!(receive(&mut session, Server, &more, 999).0, long[50..]);
    assert!(session.transmit(Client, MASK).is_some());
}

#[test]
fn other_ends_wait_for_nobody() {
    for (violation, offender) in [(Violation::Internal, None), (Violation::TooSlow, Some(Client))] {
        let mut session = session(Mode::Enforce);
        session.refuse(violation, offender, NOW);
        assert!(session.transmit(Client, MASK).is_some(), "{violation:?}");
    }
    // A fault of ours ends the wait, too.
    let mut session = session(Mode::Enforce);
    receive(&mut session, Client, b"\x83", 1);
    session.refuse(Violation::Internal, None, NOW);
    assert!(session.transmit(Client, MASK).is_some());
}

#[test]
fn a_client_whose_server_broke_a_rule_gets_1011() {
    let mut session = session(Mode::Enforce);
    receive(&mut session, Server, b"\x83", 1);
    assert_eq!(session.transmit(Client, MASK).unwrap(), b"\x88\x10\x03\xf3protocol_error");
    assert_eq!(session.transmit(Server, MASK).unwrap(), b"\x88\x90\0\0\0\0\x03\xeaprotocol_error");
}

#[test]
fn a_close_waits_for_the_end_of_the_frame_in_hand() {
    let mut session = session(Mode::Enforce);
    let long = text(Server, 100);
    let (begun, rest) = long.split_at(50);
    receive(&mut session, Server, begun, 999);
    session.refuse(Violation::Lifetime, None, NOW);
    assert_eq!(session.transmit(Client, MASK), None);
    let more = [rest, &text(Server, 5)].concat();
    assert_eq!(receive(&mut session, Server, &more, 999), (rest.to_vec(), None));
    assert!(session.transmit(Client, MASK).is_some());
    assert_eq!(receive(&mut session, Server, &text(Server, 5), 999), (vec![], None));
}

#[test]
fn a_close_never_follows_the_start_of_a_header() {
    let mut session = session(Mode::Enforce);
    assert_eq!(receive(&mut session, Server, b"\x81\x7e\x00", 999), (vec![], None));
    session.refuse(Violation::Lifetime, None, NOW);
    assert!(session.transmit(Client, MASK).is_some());
}

#[test]
fn who_has_had_a_close_gets_no_second_one() {
    let mut session = session(Mode::Enforce);
    receive(&mut session, Server, b"\x88\x00", 2);
    receive(&mut session, Client, b"\x83", 1);
    assert_eq!(session.transmit(Client, MASK), None);
    assert!(session.transmit(Server, MASK).is_some());
}

#[test]
fn the_first_verdict_sticks() {
    let mut session = session(Mode::Enforce);
    receive(&mut session, Client, &text(Client, 101), 999);
    let (forwarded, violation) = receive(&mut session, Client, &text(Client, 1), 999);
    assert_eq!((forwarded, violation), (vec![], None));
    session.refuse(Violation::Internal, None, NOW);
    assert_eq!(session.violation(), Some(MessageTooBig));
}

#[test]
fn monitoring_refuses_nothing() {
    let bytes = [text(Client, 5), text(Client, 101), b"\xff\x83\x01\x02\x03\x04abc".to_vec(), text(Client, 1)].concat();
    for piece in 1..=bytes.len() {
        let mut session = session(Mode::Monitor);
        assert_eq!(receive(&mut session, Server, b"\x81", 1), (vec![], None));
        assert_eq!(receive(&mut session, Client, &bytes, piece), (bytes.clone(), None));
        assert_eq!(receive(&mut session, Server, b"\x01x", 1), (b"\x81\x01x".to_vec(), None));
        assert_eq!(session.violation(), None);
    }
}

#[test]
fn monitoring_drops_nothing_behind_a_close() {
    let bytes = [&b"\x88\x82\x00\x00\x00\x00\x03\xe8"[..], &text(Client, 5)].concat();
    for piece in 1..=bytes.len() {
        let found = receive(&mut session(Mode::Monitor), Client, &bytes, piece);
        assert_eq!(found, (bytes.clone(), None), "pieces of {piece}");
    }
}

#[test]
fn other_policies_hold_from_the_next_bytes_on() {
    let mut session = session(Mode::Enforce);
    assert_eq!(receive(&mut session, Client, &text(Client, 100), 999).1, None);
    let mut stricter: Policy = (**session.policy()).clone();
    stricter.messages.client.rules.frame_len_max = 99;
    session.adopt(&Policies::new(stricter, vec![]), NOW);
    assert_eq!(receive(&mut session, Client, &text(Client, 100), 999).1, Some(MessageTooBig));
}

#[test]
fn a_fault_of_ours_closes_with_1011() {
    let mut session = session(Mode::Enforce);
    session.refuse(Violation::Internal, None, NOW);
    assert_eq!(session.transmit(Client, MASK).unwrap(), b"\x88\x0a\x03\xf3internal");
}

#[test]
fn bytes_that_cannot_be_read_are_reported() {
    struct Gone;
    impl Chunk for Gone {
        fn len(&self) -> usize {
            5
        }
        fn bytes(&self, _: usize, _: usize) -> Result<Cow<'_, [u8]>, Unreadable> {
            Err(Unreadable)
        }
    }
    assert_eq!(session(Mode::Enforce).receive(Client, &Gone, NOW, &Unlimited), Err(Unreadable));
}
