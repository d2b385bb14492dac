//! What monitor mode finds in a row of messages, each of which breaks a rule or none, and that all of it goes on as it came.

use std::rc::Rc;

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{MZFlush, MZStatus};
use serde_json::{Value, json};

use crate::config;
use crate::content::Handshake;
use crate::entry::Entry;
use crate::limits::Share;
use crate::policy::routes::{Place, Policies};
use crate::session::{Deflate, Session};
use crate::testing::{BIRTH, MOMENT as NOW, Unlimited, forwarded, frame};
use crate::violation::Violation::{self, *};
use crate::wire::Side::{Client, Server};

fn policies(mode: &str, changes: &Value) -> Policies {
    let mut policy = json!({
        "mode": mode, "require_tls": false, "origin": {"missing": "allow"}, "auth": {"required": false}, "compression": "inspect",
        "limits": {"per_connection": null},
        "messages": {"from_client": {
            "max_message_bytes": 100, "max_frame_bytes": 100, "max_fragments": 3, "deny_patterns": [{"name": "secret", "regex": "secret"}],
        }},
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        policy["messages"]["from_client"][key] = value.clone();
    }
    config::parse(policy.to_string().as_bytes(), &|_| None).unwrap().policies
}

fn open(policies: &Policies, takeover: Option<bool>) -> Session {
    let deflate =
        takeover.map(|takeover| Deflate { client_takeover: takeover, server_takeover: takeover, inspected: true });
    Session::new(
        Rc::clone(policies.base()),
        Place::default(),
        Entry::default(),
        deflate,
        Handshake::default(),
        Share::default(),
        BIRTH,
    )
}

/// What was found in `bytes`, in pieces of `piece` bytes, all of which have to go on: in the order in which each kind was first found.
#[track_caller]
fn overlook(session: &mut Session, bytes: &[u8], piece: usize) -> Vec<(Violation, u32)> {
    let (mut passed, mut found): (Vec<u8>, Vec<(Violation, u32)>) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(piece) {
        let received = session.receive(Client, chunk, NOW, &Unlimited).unwrap();
        assert_eq!(received.violation, None);
        passed.extend(forwarded(&received, chunk));
        for overlooked in received.overlooked {
            match found.iter_mut().find(|(violation, _)| *violation == overlooked.refusal.violation) {
                Some((_, count)) => *count += overlooked.count,
                None => found.push((overlooked.refusal.violation, overlooked.count)),
            }
        }
    }
    assert!(passed == bytes, "pieces of {piece}: {passed:02x?} of {bytes:02x?}");
    found
}

#[track_caller]
fn check(takeover: Option<bool>, bytes: &[u8], expected: &[(Violation, u32)]) {
    for (name, policies) in
        [("", policies("monitor", &json!({}))), ("whole", policies("monitor", &json!({"whole": true})))]
    {
        for piece in (1..=bytes.len().min(200)).chain([bytes.len()]) {
            let found = overlook(&mut open(&policies, takeover), bytes, piece);
            assert_eq!(found, expected, "{name} pieces of {piece}");
        }
    }
}

fn good() -> Vec<u8> {
    frame(0x81, b"good")
}

/// Between two good messages, and twice in a row.
#[track_caller]
fn check_each(bad: &[u8], violation: Violation) {
    let bytes = [&good()[..], bad, &good(), bad, bad, &good()].concat();
    check(None, &bytes, &[(violation, 3)]);
}

#[test]
fn what_breaks_a_rule_is_counted_once_and_judging_goes_on_behind_it() {
    let unmasked = |first: u8, payload: &[u8]| [&[first, payload.len() as u8][..], payload].concat();
    for (bad, violation) in [
        (frame(0x81, b"a secret"), PatternRefused),
        (frame(0x81, b"no \xff text"), InvalidUtf8),
        (frame(0x81, &[b'x'; 101]), MessageTooBig),
        (frame(0x82, b"binary"), TypeRefused),
        (frame(0x82, b""), TypeRefused),
        (frame(0x81, b"SSH-2.0-OpenSSH_9.6\r\n"), TunnelRefused),
        (unmasked(0x81, b"unmasked"), ProtocolError),
        (frame(0xc1, b"reserved"), ProtocolError),
        (frame(0x83, b"reserved"), ProtocolError),
        (frame(0x8f, &[b'x'; 300]), ProtocolError),
        (frame(0x89, &[b'x'; 126]), ProtocolError),
        (frame(0x09, b"in parts"), ProtocolError),
        (frame(0x80, b"of nothing"), ProtocolError),
        // Sixteen and 64 bits for lengths that need fewer.
        (b"\x81\xfe\x00\x03\x01\x02\x03\x04abc".to_vec(), ProtocolError),
        (b"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x03\x01\x02\x03\x04abc".to_vec(), ProtocolError),
    ] {
        check_each(&bad, violation);
    }
    let fragments = |parts: &[&[u8]]| {
        let last = parts.len() - 1;
        let frames = parts.iter().enumerate().map(|(index, part)| {
            frame(if index == 0 { 0x01 } else { 0x00 } | if index == last { 0x80 } else { 0x00 }, part)
        });
        frames.collect::<Vec<_>>().concat()
    };
    check_each(&fragments(&[b"a", b"b", b"c", b"d", b"e", b"s"]), FragmentsExceeded);
    // What can be read all the same is judged.
    let both = fragments(&[b"a", b"b", b"c", b"d", b"e", b"secret"]);
    check(None, &both, &[(FragmentsExceeded, 1), (PatternRefused, 1)]);
    check_each(&fragments(&[b"\xff", b"\xff", b"secret"]), InvalidUtf8);
    check_each(&fragments(&[b"a sec", b"ret"]), PatternRefused);
    check_each(&fragments(&[&[b'x'; 60], &[b'x'; 60], &[b'x'; 60]]), MessageTooBig);
    // A message that another one interrupts, whose own rest goes unjudged.
    check_each(&[frame(0x01, b"begun"), frame(0x01, b"again"), frame(0x80, b"secret")].concat(), ProtocolError);
    // Between the fragments of a message that is held: it goes on being judged.
    let begun = [frame(0x01, b"a sec"), frame(0x89, &[b'x'; 126])].concat();
    let bytes = [&begun[..], &frame(0x80, b"ret"), &frame(0x89, b"")].concat();
    let found = overlook_unordered(&bytes);
    assert_eq!(found, [(ProtocolError, 1), (PatternRefused, 1)]);
    // Data of no kind keeps its place among other data, so what is held goes on before it, unjudged; with what follows it goes on.
    check_each(&[frame(0x01, b"a sec"), frame(0x83, b"reserved"), frame(0x80, b"ret")].concat(), ProtocolError);
}

/// A control frame goes past a message that is held.
#[track_caller]
fn overlook_unordered(bytes: &[u8]) -> Vec<(Violation, u32)> {
    let mut session = open(&policies("monitor", &json!({})), None);
    let received = session.receive(Client, bytes, NOW, &Unlimited).unwrap();
    assert_eq!(forwarded(&received, bytes).len(), bytes.len());
    received.overlooked.iter().map(|overlooked| (overlooked.refusal.violation, overlooked.count)).collect()
}

#[test]
fn a_length_that_no_frame_has_swallows_the_rest() {
    let bytes = [&b"\x81\xff\xff\x00\x00\x00\x00\x00\x00\x03\x01\x02\x03\x04abc"[..], &frame(0x81, b"secret")].concat();
    check(None, &bytes, &[(ProtocolError, 1)]);
}

#[test]
fn nothing_is_found_behind_a_close() {
    let bytes = [frame(0x88, b"\x03\xe8"), frame(0x81, b"secret")].concat();
    check(None, &bytes, &[]);
    let bytes = [frame(0x88, b"\x03\xed"), frame(0x81, b"secret")].concat();
    check(None, &bytes, &[(ProtocolError, 1)]);
}

fn compress(compressor: &mut CompressorOxide, text: &[u8]) -> Vec<u8> {
    let mut out = vec![0; text.len() * 2 + 100];
    let result = deflate(compressor, text, &mut out, MZFlush::Sync);
    assert_eq!(result.status, Ok(MZStatus::Ok));
    out.truncate(result.bytes_written - 4);
    out
}

#[test]
fn compressed_messages_are_inflated_behind_what_broke_a_rule() {
    let mut compressor = CompressorOxide::new(create_comp_flags_from_zip_params(6, -15, 0));
    let mut message = |text: &[u8]| frame(0xc1, &compress(&mut compressor, text));
    let long = [&[b'x'; 5_000][..], b"unseen words"].concat();
    let bytes = [
        message(b"good words"),
        message(&long),
        message(b"good words, unseen words"),
        message(b"no \xff text, but a secret"),
        message(b"a secret, unseen words"),
        message(b"good words"),
    ]
    .concat();
    check(Some(true), &bytes, &[(MessageTooBig, 1), (InvalidUtf8, 1), (PatternRefused, 1)]);

    // A control frame between the fragments of a message that is only inflated does not end it.
    let mut compressor = CompressorOxide::new(create_comp_flags_from_zip_params(6, -15, 0));
    let mut compressed = |text: &[u8]| compress(&mut compressor, text);
    let (bad, seen) = (compressed(b"\xff, and a secret"), compressed(b"a secret"));
    let (first, last) = bad.split_at(bad.len() - 3);
    let bytes = [frame(0x41, first), frame(0xa9, b""), frame(0x80, last), frame(0xc1, &seen)].concat();
    check(Some(true), &bytes, &[(InvalidUtf8, 1), (ProtocolError, 1), (PatternRefused, 1)]);

    let alone = |text: &[u8]| {
        frame(0xc1, &compress(&mut CompressorOxide::new(create_comp_flags_from_zip_params(6, -15, 0)), text))
    };
    let bytes =
        [alone(b"good"), frame(0xc1, b"\x07"), alone(b"a secret"), frame(0xc1, b""), alone(b"a secret")].concat();
    check(Some(false), &bytes, &[(InvalidDeflate, 2), (PatternRefused, 2)]);
    // What may refer to what cannot be read passes unread.
    check(Some(true), &bytes, &[(InvalidDeflate, 1)]);
    let bomb = [alone(&vec![b'x'; 60_000_000]), alone(b"a secret")].concat();
    let policies = policies("monitor", &json!({"max_frame_bytes": 100_000}));
    assert_eq!(overlook(&mut open(&policies, Some(true)), &bomb, 1_000), [(MessageTooBig, 1)]);
}

/// Nothing waits then for the end of a message, and no memory is held for it.
#[test]
fn what_there_is_no_room_for_goes_on_unjudged() {
    for rules in [json!({"whole": true, "deny_patterns": []}), json!({})] {
        let mut policy = (**policies("monitor", &rules).base()).clone();
        (policy.messages.client.rules.message_len_max, policy.messages.client.rules.frame_len_max) = (9_000, 9_000);
        policy.limits.held_len_max = 2_000;
        let policies = Policies::new(policy, vec![]);
        let long = [frame(0x01, &[b'x'; 1_500]), frame(0x00, &[b'x'; 1_400]), frame(0x80, b"secret")].concat();
        for piece in [1, 7, 600] {
            let mut session = open(&policies, None);
            assert_eq!(overlook(&mut session, &long, piece), [(Overloaded, 1)], "{rules}");
            assert_eq!(overlook(&mut session, &good(), piece), [], "{rules}");
            assert_eq!(overlook(&mut session, &long, piece), [(Overloaded, 1)], "{rules}");
        }
    }
}

#[test]
fn a_policy_that_enforces_judges_from_the_next_message_on() {
    for (bad, cut) in [
        (frame(0x81, b"a secret"), 20),
        (frame(0x81, &[b'x'; 101]), 30),
        (frame(0x83, b"reserved"), 1),
        (frame(0x83, b"reserved"), 10),
    ] {
        let mut session = open(&policies("monitor", &json!({})), None);
        let (begun, rest) = bad.split_at(cut.min(bad.len()));
        let mut passed = overlook_some(&mut session, &[&good()[..], begun].concat());
        assert_eq!(session.adopt(&policies("enforce", &json!({})), NOW), None);
        let bytes = [rest, &good(), &frame(0x81, b"another secret"), &good()].concat();
        let received = session.receive(Client, bytes.as_slice(), NOW, &Unlimited).unwrap();
        assert_eq!(received.violation, Some(PatternRefused), "{bad:02x?}");
        passed.extend(forwarded(&received, &bytes));
        assert!(passed == [good(), bad.clone(), good()].concat(), "{bad:02x?}");
    }
    // A compressed one that may refer to what could not be read cannot be judged.
    let mut session = open(&policies("monitor", &json!({})), Some(true));
    overlook_some(&mut session, &frame(0xc1, b"\x07"));
    assert_eq!(session.adopt(&policies("enforce", &json!({})), NOW), Some(PolicyChanged));
    assert_eq!(session.transmit(Client, [0; 4]).unwrap(), b"\x88\x10\x03\xf4policy_changed");
    assert!(session.transmit(Server, [0; 4]).is_some());
}

fn overlook_some(session: &mut Session, bytes: &[u8]) -> Vec<u8> {
    let received = session.receive(Client, bytes, NOW, &Unlimited).unwrap();
    assert_eq!(received.violation, None);
    forwarded(&received, bytes)
}
