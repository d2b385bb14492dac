//! Connections as scripts of bytes and looks at the clock.

use core::time::Duration;
use std::rc::Rc;

use super::{LivenessRules, PING_LEN};
use crate::config::tests::permissive;
use crate::content::Handshake;
use crate::entry::Entry;
use crate::limits::Share;
use crate::message::Binary;
use crate::mode::Mode;
use crate::modes::Modes;
use crate::policy::Policy;
use crate::policy::routes::{Place, Policies};
use crate::session::{Birth, CLOSE_TIMEOUT, Due, PEER_CLOSE_TIMEOUT, Session};
use crate::testing::{BIRTH, MOMENT as NOW, Unlimited, forwarded, frame};
use crate::time::Moment;
use crate::violation::Violation::{self, Dead, Idle, Lifetime, TooSlow};
use crate::wire::Side::{self, Client, Server};

/// Times without jitter.
const RULES: LivenessRules = LivenessRules {
    ping_interval: Some(secs(25)),
    pong_timeout: secs(20),
    idle_timeout: Some(secs(300)),
    message_timeout: Some(secs(10)),
    lifetime_max: Some(secs(7_200)),
    jitter_permille: 0,
};

/// Nothing is ever due.
const ENDLESS: LivenessRules =
    LivenessRules { ping_interval: None, idle_timeout: None, message_timeout: None, lifetime_max: None, ..RULES };

const MASK: [u8; 4] = [0; 4];

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// So many milliseconds after the beginning.
fn at(millis: u64) -> Moment {
    NOW.saturating_add(Duration::from_millis(millis))
}

fn open(liveness: LivenessRules) -> Session {
    open_under(Policy { liveness, ..permissive() }, BIRTH)
}

fn open_under(policy: Policy, birth: Birth) -> Session {
    Session::new(
        Rc::new(policy),
        Place::default(),
        Entry::default(),
        None,
        Handshake::default(),
        Share::default(),
        birth,
    )
}

/// What goes on of the bytes, which break no rule.
fn send(session: &mut Session, from: Side, bytes: &[u8], millis: u64) -> Vec<u8> {
    let received = session.receive(from, bytes, at(millis), &Unlimited).unwrap();
    assert_eq!(received.violation, None);
    forwarded(&received, bytes)
}

/// Nothing is due a millisecond before, and then this is; the session says so itself.
#[track_caller]
fn check(session: &mut Session, millis: u64, due: &Due) {
    assert_eq!(session.tick(at(millis - 1)), Due::Nothing, "early");
    assert_eq!(session.deadline(), Some(at(millis)));
    assert_eq!(session.tick(at(millis)), *due);
}

/// The Closes that both sides get.
#[track_caller]
fn check_closes(session: &mut Session, code: u16, reason: &str) {
    let close = |first: &[u8]| [first, &code.to_be_bytes(), reason.as_bytes()].concat();
    let len = reason.len() as u8 + 2;
    assert_eq!(session.transmit(Client, MASK), Some(close(&[0x88, len])));
    assert_eq!(session.transmit(Server, MASK), Some(close(&[0x88, 0x80 | len, 0, 0, 0, 0])));
}

/// Sends the Ping that is due.
#[track_caller]
fn ping(session: &mut Session, millis: u64) {
    check(session, millis, &Due::Ping);
    assert_eq!(session.ping(at(millis)), Some(our_ping()));
    assert_eq!(session.ping(at(millis)), None, "a second ping");
}

fn our_ping() -> Vec<u8> {
    [&b"\x89\x08"[..], &BIRTH.nonce].concat()
}

fn pong() -> Vec<u8> {
    frame(0x8a, &BIRTH.nonce)
}

fn text() -> Vec<u8> {
    frame(0x81, b"hello")
}

#[test]
fn a_silent_client_is_asked_whether_it_is_there() {
    let mut session = open(RULES);
    assert_eq!(session.ping(NOW), None, "nobody wants one");
    ping(&mut session, 25_000);
    // The server's bytes are no sign of the client, and any byte of the client's is.
    let mut session = open(RULES);
    send(&mut session, Server, b"\x82\x01x", 20_000);
    ping(&mut session, 25_000);
    for sign in [&text()[..1], &text(), &frame(0x89, b"ping"), &frame(0x8a, b"")] {
        let mut session = open(LivenessRules { message_timeout: None, ..RULES });
        send(&mut session, Client, sign, 20_000);
        ping(&mut session, 45_000);
    }
    let mut session = open(RULES);
    send(&mut session, Client, b"", 20_000);
    ping(&mut session, 25_000);
    let mut session = open(LivenessRules { ping_interval: None, ..RULES });
    check(&mut session, 300_000, &Due::Refused(Idle));
    let mut session = open(ENDLESS);
    assert_eq!((session.deadline(), session.tick(Moment::from_nanos(u64::MAX))), (None, Due::Nothing));
}

#[test]
fn a_ping_stands_between_two_frames_of_the_server() {
    let long = [&b"\x82\x7e\x04\x00"[..], &[7; 1_024]].concat();
    let (begun, rest) = long.split_at(600);
    let mut session = open(RULES);
    assert_eq!(send(&mut session, Server, begun, 24_000), begun);
    check(&mut session, 25_000, &Due::Ping);
    assert_eq!(session.ping(at(25_000)), None);
    // It is tried again from time to time, and goes out as soon as it may.
    check(&mut session, 26_000, &Due::Ping);
    assert_eq!(session.ping(at(26_000)), None);
    assert_eq!(send(&mut session, Server, rest, 26_500), [rest, &our_ping()].concat());
    assert_eq!(session.ping(at(26_500)), None);
    check(&mut session, 46_500, &Due::Refused(Dead));
    // A header that is held, and a fragment that is whole, leave the way free.
    for server in [&b"\x82\x7e\x04"[..], b"\x02\x01x"] {
        let mut session = open(RULES);
        send(&mut session, Server, server, 24_000);
        ping(&mut session, 25_000);
    }
    // The client may speak before it goes out.
    let mut session = open(RULES);
    send(&mut session, Server, begun, 24_000);
    check(&mut session, 25_000, &Due::Ping);
    send(&mut session, Client, &text(), 25_001);
    send(&mut session, Server, rest, 25_002);
    assert_eq!(session.ping(at(25_002)), None);
}

/// Whatever a server says, and however its bytes are cut: where the way is free, or else at the first place where it becomes so.
#[test]
fn a_ping_goes_out_with_what_the_server_says_next() {
    let long = [&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat();
    let [first, ping, last, text] = [&b"\x01\x02ab"[..], b"\x89\x00", b"\x80\x01c", b"\x81\x03def"];
    let bytes = [&long, first, ping, last, text].concat();
    for (utf8, whole) in [(false, false), (true, false), (true, true)] {
        // Control frames pass a message that is held.
        let frames = if whole { [&long, ping, first, last, text] } else { [&long, first, ping, last, text] };
        let places: Vec<usize> = (0..=frames.len()).map(|count| frames[..count].concat().len()).collect();
        for begun in 0..bytes.len() {
            for piece in [1, 2, 3, 7, 100, 1_000] {
                let mut policy = Policy { liveness: RULES, ..permissive() };
                (policy.messages.server.rules.utf8, policy.messages.server.rules.whole) = (utf8, whole);
                let mut session = open_under(policy, BIRTH);
                let mut passed = send(&mut session, Server, &bytes[..begun], 24_000);
                let place = *places.iter().find(|place| **place >= passed.len()).unwrap();
                check(&mut session, 25_000, &Due::Ping);
                for chunk in bytes[begun..].chunks(piece) {
                    passed.extend(send(&mut session, Server, chunk, 26_000));
                }
                let (sent, case) = (frames.concat(), format!("{begun} of {piece} {utf8} {whole}"));
                assert!(passed == [&sent[..place], &our_ping(), &sent[place..]].concat(), "{case}: {passed:?}");
                assert_eq!(session.ping(at(26_000)), None, "{case}");
                check(&mut session, 46_000, &Due::Refused(Dead));
            }
        }
    }
}

#[test]
fn answers_to_our_pings_go_no_further() {
    let others = [
        frame(0x8a, b""),
        frame(0x8a, &BIRTH.nonce[..7]),
        frame(0x8a, &[&BIRTH.nonce[..], b"x"].concat()),
        frame(0x8a, &[0; PING_LEN]),
        frame(0x89, &BIRTH.nonce),
        frame(0x82, &BIRTH.nonce),
    ]
    .concat();
    let (first, last) = (frame(0x01, b"one"), frame(0x80, b"three"));
    for whole in [false, true] {
        for (sent, passed) in [
            (vec![&pong()], vec![]),
            (vec![&others, &pong(), &others], vec![&others, &others]),
            (vec![&first, &pong(), &last], vec![&first, &last]),
            (vec![&text(), &first, &pong(), &last, &text()], vec![&text(), &first, &last, &text()]),
            // Only one is expected.
            (vec![&pong(), &pong(), &text()], vec![&pong(), &text()]),
            (vec![&first, &pong(), &last, &pong()], vec![&first, &last, &pong()]),
        ] {
            let [sent, passed] = [sent, passed].map(|frames| frames.into_iter().flatten().copied().collect::<Vec<_>>());
            for piece in 1..=sent.len() {
                let mut policy = Policy { liveness: RULES, ..permissive() };
                policy.messages.client.rules.whole = whole;
                policy.messages.client.rules.binary = Binary::Allow;
                let mut session = open_under(policy, BIRTH);
                ping(&mut session, 25_000);
                let pieces = sent.chunks(piece).map(|piece| send(&mut session, Client, piece, 26_000));
                assert_eq!(pieces.collect::<Vec<_>>().concat(), passed, "pieces of {piece}, {whole}");
                ping(&mut session, 51_000);
            }
        }
    }
}

#[test]
fn pings_and_pongs_of_the_peers_pass() {
    let mut session = open(RULES);
    // Nobody expects one yet.
    assert_eq!(send(&mut session, Client, &pong(), 0), pong());
    ping(&mut session, 25_000);
    let bytes = [&b"\x8a\x08"[..], &BIRTH.nonce, b"\x89\x08", &BIRTH.nonce].concat();
    assert_eq!(send(&mut session, Server, &bytes, 26_000), bytes);
    assert_eq!(send(&mut session, Client, &pong(), 26_000), b"");
    assert_eq!(send(&mut session, Client, &pong(), 26_000), pong());
    // Two that were not answered at once may be answered later.
    ping(&mut session, 51_000);
    send(&mut session, Client, &text(), 52_000);
    ping(&mut session, 77_000);
    let late = [pong(), pong(), pong()].concat();
    assert_eq!(send(&mut session, Client, &late, 78_000), pong());
}

#[test]
fn a_client_that_does_not_answer_is_dead() {
    let mut session = open(RULES);
    ping(&mut session, 25_000);
    send(&mut session, Server, b"\x82\x01x", 44_000);
    check(&mut session, 45_000, &Due::Refused(Dead));
    assert_eq!(session.violation(), Some(Dead));
    check_closes(&mut session, 1001, "dead");
    check(&mut session, 45_200, &Due::Reset);
    // A single byte shows that it lives.
    let mut session = open(RULES);
    ping(&mut session, 25_000);
    send(&mut session, Client, &pong()[..1], 44_999);
    assert_eq!(session.tick(at(45_000)), Due::Nothing);
    send(&mut session, Client, &pong()[1..], 45_001);
    ping(&mut session, 70_001);
}

#[test]
fn pings_keep_their_interval_and_the_first_one_has_to_be_answered() {
    let rules = LivenessRules { ping_interval: Some(secs(1)), pong_timeout: secs(10), ..RULES };
    let mut session = open(rules);
    (1..=10).for_each(|second| ping(&mut session, 1_000 * second));
    check(&mut session, 11_000, &Due::Refused(Dead));
    // An answer begins everything anew, and answers to all of them go no further.
    let mut session = open(rules);
    (1..=5).for_each(|second| ping(&mut session, 1_000 * second));
    assert_eq!(send(&mut session, Client, &pong(), 5_500), b"");
    (0..10).for_each(|second| ping(&mut session, 6_500 + 1_000 * second));
    assert_eq!(session.tick(at(16_499)), Due::Nothing);
    let answers = pong().repeat(15);
    assert_eq!(send(&mut session, Client, &answers, 16_499), pong());
    ping(&mut session, 17_499);
    // However many there are.
    let rules = LivenessRules { ping_interval: Some(Duration::from_millis(100)), pong_timeout: secs(600), ..RULES };
    let mut session = open(LivenessRules { idle_timeout: None, ..rules });
    (1..=1_000).for_each(|number| ping(&mut session, 100 * number));
    assert_eq!(send(&mut session, Client, &[pong().repeat(1_000), text()].concat(), 100_050), text());
    // One that cannot be written takes nothing from the first one's time.
    let mut session = open(LivenessRules { ping_interval: Some(secs(4)), pong_timeout: secs(10), ..RULES });
    ping(&mut session, 4_000);
    send(&mut session, Server, &[&b"\x82\x7e\x04\x00"[..], &[7; 600]].concat(), 5_000);
    (8..14).for_each(|second| check(&mut session, 1_000 * second, &Due::Ping));
    assert_eq!(session.ping(at(13_000)), None);
    check(&mut session, 14_000, &Due::Refused(Dead));
}

#[test]
fn a_client_that_takes_nothing_is_dead() {
    let begun = [&b"\x82\x7f\0\0\0\0\0\x04\0\0"[..], &[7; 131_062]].concat();
    for (pong_timeout, dead_at) in [(20_000, 45_000), (20_500, 45_500), (100, 25_100)] {
        let rules = LivenessRules { pong_timeout: Duration::from_millis(pong_timeout), ..RULES };
        let mut session = open(rules);
        send(&mut session, Server, &begun, 24_000);
        let mut now = 25_000;
        while now < dead_at {
            check(&mut session, now, &Due::Ping);
            now = dead_at.min(now + 1_000);
        }
        check(&mut session, dead_at, &Due::Refused(Dead));
        assert_eq!(session.transmit(Client, MASK), None, "within a frame");
        check(&mut session, dead_at + 200, &Due::Reset);
    }
    // What moves is taken.
    let mut session = open(RULES);
    send(&mut session, Server, &begun, 24_000);
    check(&mut session, 25_000, &Due::Ping);
    send(&mut session, Server, &[7; 10], 44_500);
    assert_eq!(session.tick(at(64_499)), Due::Ping);
    check(&mut session, 64_500, &Due::Refused(Dead));
    // A server that pauses in the middle of a frame stops itself, where that is all that the buffers take.
    let (few, last) = begun.split_at(begun.len() - 1);
    let heard_between = |session: &mut Session| {
        send(session, Server, few, 23_000);
        send(session, Client, &text(), 23_500);
        send(session, Server, last, 24_000);
    };
    let scripts: [&dyn Fn(&mut Session); 2] = [&|session| drop(send(session, Server, few, 24_000)), &heard_between];
    for script in scripts {
        let mut session = open(RULES);
        script(&mut session);
        for _ in 0..250 {
            let due_at = session.deadline().unwrap();
            assert_eq!((session.tick(due_at), session.ping(due_at)), (Due::Ping, None), "{due_at:?}");
        }
        assert!(session.deadline().unwrap() >= at(270_000));
    }
}

/// What is buffered before a Ping may take a slow client longer to read than an answer may take.
#[test]
fn a_client_that_reads_slowly_is_waited_for() {
    let message = |len: u16| [&b"\x82\x7e"[..], &len.to_be_bytes(), &vec![7; len.into()]].concat();
    let (long, short) = (message(65_533), message(65_532));
    let is_waited_for = |due: Due| matches!(due, Due::Nothing | Due::Ping);
    // As it makes room, the server's bytes come as many at once as the proxy takes.
    let mut session = open(RULES);
    ping(&mut session, 25_000);
    for millis in (26_000..85_000).step_by(19_000) {
        send(&mut session, Server, &long, millis);
        assert!(is_waited_for(session.tick(at(millis + 18_999))));
    }
    send(&mut session, Client, &pong(), 84_000);
    ping(&mut session, 109_000);
    // Not for ever, and not for a server that speaks in messages.
    for (chunk, dead_at) in [(&long, 105_000), (&short, 45_000)] {
        let mut session = open(RULES);
        send(&mut session, Server, chunk, 24_900);
        ping(&mut session, 25_000);
        for millis in (25_000..dead_at).step_by(1_000) {
            assert!(is_waited_for(session.tick(at(millis))), "{millis}");
            send(&mut session, Server, chunk, millis);
        }
        check(&mut session, dead_at, &Due::Refused(Dead));
    }
}

#[test]
fn a_connection_without_messages_is_idle_though_pings_flow() {
    let rules = LivenessRules { ping_interval: None, ..RULES };
    let mut session = open(rules);
    for millis in (0..300_000).step_by(20_000) {
        send(&mut session, Client, &frame(0x89, b"ping"), millis);
        send(&mut session, Server, b"\x8a\x04ping\x89\x00", millis);
        assert_eq!(session.tick(at(millis)), Due::Nothing);
    }
    check(&mut session, 300_000, &Due::Refused(Idle));
    check_closes(&mut session, 1001, "idle");
    check(&mut session, 305_000, &Due::Reset);
    for (from, bytes) in [(Client, text()), (Server, b"\x82\x01x".to_vec()), (Server, b"\x02\x01x".to_vec())] {
        let mut session = open(rules);
        send(&mut session, from, &bytes, 100_000);
        check(&mut session, 400_000, &Due::Refused(Idle));
    }
}

#[test]
fn a_message_has_its_time_from_its_first_byte_to_its_last() {
    let fragments = [frame(0x01, b"one"), frame(0x89, b"ping"), frame(0x00, b"two"), frame(0x89, b"ping")].concat();
    for (sent, piece) in [
        (text(), 1),
        (fragments.clone(), 5),
        (fragments, 1),
        // Nothing but a header, and a control frame.
        (b"\x81\xfe\x00".to_vec(), 1),
        (frame(0x89, b"ping and more"), 1),
        (frame(0x01, b"all of a fragment"), 99),
    ] {
        let mut session = open(RULES);
        send(&mut session, Client, &text(), 0);
        let last = sent.len() - usize::from(piece < 99 && sent.len() < 19);
        for (second, chunk) in sent[..last].chunks(piece).take(9).enumerate() {
            let millis = 1_000 + 1_000 * second as u64;
            send(&mut session, Client, chunk, millis);
            assert_eq!(session.tick(at(millis)), Due::Nothing);
        }
        check(&mut session, 11_000, &Due::Refused(TooSlow));
        assert_eq!(session.violation(), Some(TooSlow));
        // Half a control frame may have gone on, and then the server gets no Close.
        let is_free = session.is_between_frames(Client);
        assert_eq!(session.transmit(Client, MASK).unwrap(), b"\x88\x0a\x03\xf0too_slow");
        assert_eq!(session.transmit(Server, MASK).is_some(), is_free);
    }
}

#[test]
fn a_fresh_message_has_a_time_of_its_own() {
    let rules = LivenessRules { ping_interval: None, ..RULES };
    let (first, last) = (text()[..6].to_vec(), text()[6..].to_vec());
    let whole = [&first[..], &last].concat();
    for (script, too_slow) in [
        (vec![(0, &first), (9_999, &last)], None),
        (vec![(0, &first), (9_999, &last), (9_999, &first)], Some(19_999)),
        (vec![(0, &first), (5_000, &[&last[..], &first].concat())], Some(15_000)),
        (vec![(0, &first), (5_000, &[&last[..], &whole, &first].concat()), (14_000, &last)], None),
        (vec![(0, &whole), (1_000, &frame(0x01, b"one")), (2_000, &frame(0x80, b"two"))], None),
        (vec![(0, &frame(0x01, b"one")), (2_000, &frame(0x80, b"two")), (3_000, &first)], Some(13_000)),
    ] {
        let mut session = open(rules);
        let mut last_at = 0;
        for (millis, bytes) in script {
            assert_eq!(session.tick(at(millis)), Due::Nothing);
            send(&mut session, Client, bytes, millis);
            last_at = millis;
        }
        match too_slow {
            Some(millis) => check(&mut session, millis, &Due::Refused(TooSlow)),
            None => check(&mut session, last_at + 300_000, &Due::Refused(Idle)),
        }
    }
    // The server takes the time that it takes.
    let mut session = open(rules);
    send(&mut session, Server, b"\x01\x01x\x80\x05", 0);
    check(&mut session, 300_000, &Due::Refused(Idle));
}

#[test]
fn a_life_has_an_end() {
    let lifetime = |jitter_permille| LivenessRules { lifetime_max: RULES.lifetime_max, jitter_permille, ..ENDLESS };
    let mut session = open(lifetime(0));
    send(&mut session, Client, &text(), 7_199_000);
    check(&mut session, 7_200_000, &Due::Refused(Lifetime));
    check_closes(&mut session, 1001, "lifetime");
    // Jitter stays within its share, and differs with what is random.
    for (jitter, spread) in [(0, 0), (1, 7), (100, 720), (500, 3_600)] {
        let mut ends: Vec<Moment> = [[0, 0], [0x40, 0], [0x7f, 0xff], [0x80, 0], [0x80, 1], [0xff, 0xff]]
            .into_iter()
            .map(|[a, b]| {
                let birth = Birth { nonce: [a, b, 0, 0, 0, 0, 0, 0], ..BIRTH };
                let policy = Policy { liveness: lifetime(jitter), ..permissive() };
                open_under(policy, birth).deadline().unwrap()
            })
            .collect();
        assert!(ends.is_sorted(), "{jitter}");
        let (least, most) = (
            at((7_200 - spread - u64::from(jitter > 0)) * 1_000),
            at((7_200 + spread + u64::from(jitter > 0)) * 1_000),
        );
        assert!(ends.iter().all(|end| (least..=most).contains(end)), "{jitter}");
        ends.dedup();
        assert_eq!(ends.len(), if jitter == 0 { 1 } else { 6 }, "{jitter}");
    }
    // Pings have it too.
    let rules = LivenessRules { ping_interval: RULES.ping_interval, jitter_permille: 100, ..ENDLESS };
    let pinged_at =
        |nonce| open_under(Policy { liveness: rules, ..permissive() }, Birth { nonce, ..BIRTH }).deadline().unwrap();
    assert!((at(22_500)..at(22_501)).contains(&pinged_at([0; PING_LEN])));
    assert!((at(27_499)..at(27_500)).contains(&pinged_at([0xff; PING_LEN])));
}

#[test]
fn monitoring_notes_what_is_due_and_closes_nothing() {
    let (first, last) = (frame(0x01, b"one"), frame(0x80, b"two"));
    for (rules, violation) in [
        (LivenessRules { lifetime_max: Some(secs(20)), ..ENDLESS }, Lifetime),
        (LivenessRules { idle_timeout: Some(secs(10)), ..ENDLESS }, Idle),
        (LivenessRules { message_timeout: Some(secs(10)), ..ENDLESS }, TooSlow),
    ] {
        let mut policy = Policy { liveness: rules, modes: Modes::all(Mode::Monitor), ..permissive() };
        policy.messages.client.rules.whole = true;
        let mut session = open_under(policy, BIRTH);
        assert_eq!(send(&mut session, Client, &first, 10_000), b"");
        check(&mut session, 20_000, &Due::Refused(violation));
        assert_eq!((session.violation(), session.deadline()), (None, None));
        assert_eq!((session.transmit(Client, MASK), session.transmit(Server, MASK)), (None, None));
        assert_eq!((session.tick(at(99_000_000)), session.ping(at(99_000_000))), (Due::Nothing, None));
        assert_eq!(send(&mut session, Client, &last, 99_000_000), [&first[..], &last].concat());
        // What begins anew is counted anew, and under a policy that enforces it counts at once.
        assert_eq!(session.deadline(), (violation == Idle).then(|| at(99_010_000)));
        let enforced = Policy { modes: Modes::all(Mode::Enforce), ..(**session.policy()).clone() };
        assert_eq!(session.adopt(&Policies::new(enforced, vec![]), at(99_010_000)), None);
        let due = if violation == TooSlow { Due::Nothing } else { Due::Refused(violation) };
        assert_eq!(session.tick(at(99_010_000)), due);
    }
    let mut policy = Policy { liveness: RULES, modes: Modes::all(Mode::Monitor), ..permissive() };
    policy.messages.client.rules.whole = true;
    let mut session = open_under(policy, BIRTH);
    ping(&mut session, 25_000);
    check(&mut session, 45_000, &Due::Refused(Dead));
    // Pings go on.
    assert_eq!((session.violation(), session.deadline()), (None, Some(at(50_000))));
    send(&mut session, Client, &frame(0x89, b""), 45_500);
    assert_eq!(session.deadline(), Some(at(70_500)));
    session.finish(Client, at(46_000));
    check(&mut session, 76_000, &Due::Reset);
}

#[test]
fn an_end_is_a_reset_at_last() {
    let closed = |from: Side| {
        let mut session = open(RULES);
        let close = if from == Client { frame(0x88, b"") } else { b"\x88\x00".to_vec() };
        assert_eq!(send(&mut session, from, &close, 1_000), close);
        session
    };
    let after = |span: Duration| u64::try_from(span.as_millis()).unwrap();
    for from in [Client, Server] {
        let mut session = closed(from);
        // Whatever else happens: it is not open any more.
        session.finish(Client, at(20_000));
        check(&mut session, 1_000 + after(PEER_CLOSE_TIMEOUT), &Due::Reset);
        assert_eq!(session.tick(at(99_000_000)), Due::Reset);
    }
    let mut session = open(RULES);
    session.finish(Client, at(1_000));
    check(&mut session, 1_000 + after(PEER_CLOSE_TIMEOUT), &Due::Reset);
    let mut session = open(RULES);
    session.refuse(Violation::Internal, None, at(1_000));
    assert_eq!(session.ping(at(1_000)), None);
    session.finish(Client, at(2_000));
    check(&mut session, 1_000 + after(CLOSE_TIMEOUT), &Due::Reset);
}

#[test]
fn nothing_is_due_before_the_deadline_and_something_is_at_it() {
    let rules = LivenessRules {
        ping_interval: Some(secs(3)),
        pong_timeout: Duration::from_millis(700),
        idle_timeout: Some(secs(20)),
        message_timeout: Some(secs(2)),
        lifetime_max: Some(secs(60)),
        jitter_permille: 300,
    };
    for seed in 1..=400 {
        let mut random = Random(seed);
        let nonce = [seed as u8; PING_LEN];
        let mode = if seed % 4 == 0 { Mode::Monitor } else { Mode::Enforce };
        let policy = Policy { liveness: rules, modes: Modes::all(mode), ..permissive() };
        let mut session = open_under(policy, Birth { nonce, ..BIRTH });
        let stream =
            [text(), frame(0x01, b"o"), frame(0x8a, &nonce), frame(0x80, &[b'x'; 200]), frame(0x89, b"")].concat();
        let (mut client, server) = (stream.iter().cycle(), [&b"\x82\x7e\x01\x00"[..], &[7; 256], b"\x89\x00"].concat());
        let mut server = server.iter().cycle();
        let mut now = NOW;
        for _ in 0..200 {
            let (deadline, step) = (session.deadline(), Duration::from_millis(random.below(800)));
            now = match (random.below(6), deadline) {
                (0, Some(deadline)) => deadline.max(now),
                (1, Some(deadline)) if deadline > now => Moment::from_nanos(deadline.as_nanos() - 1),
                (2, _) => now.saturating_add(step * 8),
                (_, _) => now.saturating_add(step),
            };
            let len = random.below(60) as usize;
            let (from, bytes): (Side, Vec<u8>) = match random.below(4) {
                0 => (Client, client.by_ref().take(len).copied().collect()),
                1 | 2 => (Server, server.by_ref().take(len).copied().collect()),
                _ => (Client, Vec::new()),
            };
            session.receive(from, bytes.as_slice(), now, &Unlimited).unwrap();
            if random.below(3) > 0 {
                session.ping(now);
            }
            let deadline = session.deadline();
            let due = session.tick(now);
            if deadline.is_some_and(|deadline| now >= deadline) {
                let moved = session.deadline();
                assert!(due != Due::Nothing || moved > deadline, "seed {seed}: nothing happens");
                // What monitor mode lets pass does not keep the next from being found.
                let mut is_moved = moved.is_none_or(|moved| moved > now);
                for _ in 0..if mode == Mode::Monitor { 3 } else { 0 } {
                    session.tick(now);
                    is_moved |= session.deadline().is_none_or(|moved| moved > now);
                }
                assert!(due == Due::Reset || is_moved, "seed {seed}: due again at once");
            } else {
                assert_eq!((due, session.deadline()), (Due::Nothing, deadline), "seed {seed}: before the deadline");
            }
        }
    }
}

#[test]
fn a_clock_that_jumps_closes_nothing_early() {
    let long_ago = Moment::from_nanos(0);
    let mut session = open(RULES);
    assert_eq!(session.tick(long_ago), Due::Nothing);
    for moment in [long_ago, NOW, long_ago] {
        session.receive(Client, text().as_slice(), moment, &Unlimited).unwrap();
        session.receive(Server, b"\x82\x01x".as_slice(), moment, &Unlimited).unwrap();
    }
    // Nothing is older than it was before the clock went back.
    ping(&mut session, 25_000);
    assert_eq!(session.tick(long_ago), Due::Nothing);
    check(&mut session, 45_000, &Due::Refused(Dead));
    let mut session = open(LivenessRules { ping_interval: None, ..RULES });
    session.receive(Client, text().as_slice(), at(1_000), &Unlimited).unwrap();
    session.receive(Client, text().as_slice(), long_ago, &Unlimited).unwrap();
    check(&mut session, 301_000, &Due::Refused(Idle));
    assert_eq!(session.tick(long_ago), Due::Nothing);
    // To the end of time.
    for rules in [RULES, ENDLESS] {
        let mut session = open(rules);
        let end = Moment::from_nanos(u64::MAX);
        session.receive(Client, text().as_slice(), end, &Unlimited).unwrap();
        assert!(matches!(session.tick(end), Due::Refused(Lifetime) | Due::Nothing));
        session.refuse(Violation::Internal, None, end);
        session.finish(Client, end);
        assert_eq!(session.tick(end), Due::Reset);
    }
}

/// xorshift64: good enough to choose steps, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
