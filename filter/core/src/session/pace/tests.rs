//! Limits as scripts: frames of a client at their times, and what goes on of them, however they are cut.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use serde_json::{Value, json};

use super::{Budget, Pace};
use crate::config::parse;
use crate::content::Handshake;
use crate::entry::Entry;
use crate::limits::Share;
use crate::limits::rate::Rate;
use crate::limits::rules::ConnectionLimits;
use crate::policy::routes::Place;
use crate::session::Session;
use crate::testing::{BIRTH, MOMENT as NOW, forwarded, frame};
use crate::time::Moment;
use crate::violation::Violation::{self, RateExceeded};
use crate::wire::Side::{self, Client, Server};

/// A budget that notes what it is asked.
struct Clerk {
    now: Cell<Moment>,
    /// How often it was asked for the time.
    looked: Cell<u32>,
    gives: Cell<bool>,
    lacks_bytes: bool,
    spent: RefCell<Vec<(u64, u64)>>,
    /// The type that there is nothing left of.
    exhausted: Option<&'static str>,
    asked: RefCell<Vec<String>>,
}

impl Default for Clerk {
    fn default() -> Self {
        Self {
            now: Cell::new(NOW),
            looked: Cell::default(),
            gives: Cell::new(true),
            lacks_bytes: false,
            spent: RefCell::default(),
            exhausted: None,
            asked: RefCell::default(),
        }
    }
}

impl Budget for Clerk {
    fn now(&self) -> Moment {
        self.looked.set(self.looked.get() + 1);
        self.now.get()
    }

    fn spend(&self, messages: u64, len: u64) -> bool {
        self.spent.borrow_mut().push((messages, len));
        self.gives.get()
    }

    fn lacks_bytes(&self, _: u64, _: u64) -> bool {
        self.lacks_bytes
    }

    fn ask(&self, kind: &str) -> bool {
        self.asked.borrow_mut().push(kind.to_owned());
        self.exhausted != Some(kind)
    }
}

/// Frames pass by their headers, when they are whole, and when their message is.
fn depths() -> [Value; 3] {
    [
        json!({"binary": "allow", "utf8": false, "tunnels": "allow"}),
        json!({"binary": "allow"}),
        json!({"binary": "allow", "whole": true}),
    ]
}

/// Texts have types.
fn typed() -> Value {
    json!({"binary": "allow", "json": {"discriminator": "/type", "schemas": {"login": {}, "chat": {}}, "otherwise": "allow"}})
}

fn open(mode: &str, messages: &Value, limits: &Value) -> Session {
    let config = json!({
        "mode": mode, "require_tls": false, "auth": {"required": false}, "limits": limits,
        "messages": {"from_client": messages},
    });
    let policies = parse(config.to_string().as_bytes(), &|_| None).unwrap().policies;
    let policy = Rc::clone(policies.base());
    Session::new(policy, Place::default(), Entry::default(), None, Handshake::default(), Share::default(), BIRTH)
}

/// What came of some bytes.
#[derive(Debug, Eq, PartialEq)]
struct Played {
    forwarded: Vec<u8>,
    violations: Vec<Violation>,
    swallowed: u32,
}

impl Played {
    fn new(forwarded: Vec<u8>, violation: Option<Violation>, swallowed: u32) -> Self {
        Self { forwarded, violations: violation.into_iter().collect(), swallowed }
    }
}

fn play(session: &mut Session, from: Side, bytes: &[u8], piece: usize, now: Moment, budget: &dyn Budget) -> Played {
    let mut played = Played::new(Vec::new(), None, 0);
    for chunk in bytes.chunks(piece) {
        let received = session.receive(from, chunk, now, budget).unwrap();
        played.forwarded.extend(forwarded(&received, chunk));
        played.violations.extend(received.violation);
        for overlooked in received.overlooked {
            played.violations.extend((0..overlooked.count).map(|_| overlooked.refusal.violation));
        }
        let swallowed: u32 = session.take_swallowed().iter().map(|(_, count)| count).sum();
        assert_eq!(received.swallowed, swallowed > 0);
        played.swallowed += swallowed;
    }
    played
}

/// The same for every cut of the same bytes.
#[track_caller]
fn check(messages: &Value, limits: &Value, bytes: &[u8], expected: &Played) {
    for piece in (1..40).chain([bytes.len() / 2, bytes.len()]) {
        let mut session = open("enforce", messages, limits);
        let played = play(&mut session, Client, bytes, piece.max(1), NOW, &Clerk::default());
        assert_eq!(&played, expected, "{messages}, {limits}, in pieces of {piece}");
        assert!(session.is_between_frames(Client), "{messages}, {limits}, in pieces of {piece}");
    }
}

/// Likewise at every depth.
#[track_caller]
fn check_depths(limits: &Value, bytes: &[u8], expected: &Played) {
    for messages in depths() {
        check(&messages, limits, bytes, expected);
    }
}

const CLOSE: [u8; 8] = *b"\x88\x82\x00\x00\x00\x00\x03\xe8";

/// Twenty messages a second, and forty at once.
fn forty_at_once() -> Value {
    json!({"per_connection": {"messages": {"per_second": 20, "burst": 40}}})
}

fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x81, payload.as_ref())
}

#[test]
fn messages_and_control_frames_count_alike_and_a_close_never() {
    let kinds = [text("hello"), frame(0x82, b"bytes"), frame(0x89, b"ping"), frame(0x8a, b""), text("")];
    let forty: Vec<u8> = kinds.iter().cycle().take(40).flatten().copied().collect();
    for excess in &kinds {
        let sent = [&forty, excess, &kinds[0]].map(Vec::as_slice).concat();
        check_depths(&forty_at_once(), &sent, &Played::new(forty.clone(), Some(RateExceeded), 0));
    }
    let closed = [&forty[..], &CLOSE].concat();
    check_depths(&forty_at_once(), &closed, &Played::new(closed.clone(), None, 0));
    check_depths(&forty_at_once(), &forty, &Played::new(forty.clone(), None, 0));
}

#[test]
fn what_is_swallowed_is_told_by_the_limit_and_type_of_each() {
    let limits = json!({
        "on_excess": "drop",
        "per_connection": {
            "messages": {"per_second": 1, "burst": 6},
            "by_type": {"a": {"per_second": 1, "burst": 1}, "b": {"per_second": 1, "burst": 1}},
        },
    });
    let typed = json!({"json": {"discriminator": "/type", "schemas": {"a": true, "b": true}}});
    let sent: Vec<u8> = "aabbbaaa".chars().flat_map(|kind| text(format!(r#"{{"type":"{kind}"}}"#))).collect();
    let mut session = open("enforce", &typed, &limits);
    assert!(session.receive(Client, &*sent, NOW, &Clerk::default()).unwrap().swallowed);
    let told = session.take_swallowed().into_iter().map(|(refusal, count)| {
        let cause = refusal.cause.unwrap();
        (cause.at, cause.kind, count)
    });
    let (of, own) = ("limits.per_connection", |kind: &str| Some(kind.to_owned()));
    let expected = [
        (format!("{of}.by_type.a"), own("a"), 2),
        (format!("{of}.by_type.b"), own("b"), 2),
        (format!("{of}.messages"), None, 2),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(session.take_swallowed(), []);
}

#[test]
fn the_precise_time_is_asked_for_where_a_burst_begins_and_where_it_may_help() {
    // One message leaks out in 50 ms: the time of the chunk, that of the clock, and how often the clock is looked at.
    for (late, precise, violation, looked) in [
        (0, 49, Some(RateExceeded), 1),
        (0, 50, None, 1),
        (49, 49, Some(RateExceeded), 1),
        (50, 50, None, 1),
        (49, 50, None, 1),
    ] {
        let at = |millis| NOW.saturating_add(Duration::from_millis(millis));
        let clerk = Clerk::default();
        let mut session = open("enforce", &json!({}), &forty_at_once());
        let hello = text("hello");
        assert_eq!(play(&mut session, Client, &hello.repeat(40), 7, NOW, &clerk).violations, []);
        assert_eq!(clerk.looked.take(), 1);
        clerk.now.set(at(precise));
        let expected = if violation.is_none() { hello.clone() } else { Vec::new() };
        let played = play(&mut session, Client, &hello, 99, at(late), &clerk);
        assert_eq!(played, Played::new(expected, violation, 0), "{late} {precise}");
        assert_eq!(clerk.looked.get(), looked, "{late} {precise}");
    }
}

#[test]
fn bytes_count_with_the_header_that_announces_them() {
    let limits = json!({"per_connection": {"messages": null, "bytes": {"per_second": 1000, "burst": 1000}}});
    let first = text("x".repeat(600));
    for (len, violation) in [(400, None), (401, Some(RateExceeded))] {
        let header = &text("x".repeat(len))[..8];
        for messages in depths() {
            let mut session = open("enforce", &messages, &limits);
            let clerk = Clerk::default();
            assert_eq!(play(&mut session, Client, &first, 99, NOW, &clerk).forwarded, first);
            // Nothing is left, however little the next one needs, and however much the server sends.
            let played = play(&mut session, Server, &[&b"\x82\x7e\x10\x00"[..], &[0; 4_096]].concat(), 99, NOW, &clerk);
            assert_eq!((played.forwarded.len(), played.violations.len()), (4_100, 0));
            let played = play(&mut session, Client, header, 3, NOW, &clerk);
            assert_eq!(played.violations, Vec::from_iter(violation), "{len} {messages}");
            assert_eq!(
                *clerk.spent.borrow(),
                [vec![(1, 600)], vec![(1, 400)]].concat()[..2 - violation.iter().count()]
            );
        }
    }
}

#[test]
fn continuations_cost_their_bytes_alone() {
    let limits = json!({"per_connection": {"messages": {"per_second": 1, "burst": 2}, "bytes": {"per_second": 1, "burst": 100}}});
    let first = frame(0x01, &[b'x'; 20]);
    let message = [first.clone(), frame(0x00, &[b'x'; 10]).repeat(6), frame(0x80, &[b'x'; 20])].concat();
    let ping = frame(0x89, b"");
    let sent = [&message[..], &ping, &ping].concat();
    let good = [&message[..], &ping].concat();
    check_depths(&limits, &sent, &Played::new(good, Some(RateExceeded), 0));
    // One byte too many in a continuation.
    let sent = [&first[..], &frame(0x80, &[b'x'; 81])].concat();
    for (messages, forwarded) in depths().iter().zip([&first[..], &first, b""]) {
        check(messages, &limits, &sent, &Played::new(forwarded.to_vec(), Some(RateExceeded), 0));
    }
}

/// 100 bytes at once, and what is more is dropped.
fn dropping() -> Value {
    json!({"on_excess": "drop", "per_connection": {"messages": null, "bytes": {"per_second": 1, "burst": 100}}})
}

#[test]
fn what_is_dropped_goes_in_all_its_fragments_and_nothing_else_does() {
    let (good, ping, pong) = (text("good"), frame(0x89, b"ping"), frame(0x8a, b"pong"));
    let big = [b'x'; 125];
    let (begun, middle, last) = (frame(0x01, &big), frame(0x00, b"middle"), frame(0x80, b"last"));
    for (sent, forwarded, swallowed) in [
        (vec![&text(big)], vec![], 1),
        (vec![&good, &text(big), &good], vec![&good, &good], 1),
        (vec![&good, &frame(0x89, &big), &good, &frame(0x8a, &big), &ping], vec![&good, &good, &ping], 2),
        (vec![&good, &begun, &ping, &middle, &pong, &last, &good], vec![&good, &ping, &pong, &good], 1),
        (vec![&begun, &middle, &frame(0x80, b""), &begun, &ping, &last, &good], vec![&ping, &good], 2),
        (vec![&begun, &frame(0x89, &big), &ping, &last, &good], vec![&ping, &good], 2),
        // A control frame within a message that passes.
        (vec![&frame(0x01, b"a"), &frame(0x89, &big), &last], vec![&frame(0x01, b"a"), &last], 1),
        (vec![&text([b'x'; 96]), &good], vec![&text([b'x'; 96]), &good], 0),
        (vec![&text([b'x'; 97]), &good], vec![&text([b'x'; 97])], 1),
    ] {
        let [sent, forwarded] =
            [sent, forwarded].map(|frames| frames.into_iter().flatten().copied().collect::<Vec<_>>());
        check_depths(&dropping(), &sent, &Played::new(forwarded, None, swallowed));
    }
    let sent = [&text(big)[..], &CLOSE].concat();
    check_depths(&dropping(), &sent, &Played::new(CLOSE.to_vec(), None, 1));
}

#[test]
fn a_message_that_has_begun_to_go_on_is_not_dropped_any_more() {
    let first = frame(0x01, &[b'x'; 50]);
    let sent = [&first[..], &frame(0x00, &[b'x'; 51]), &frame(0x80, b"")].concat();
    for (messages, forwarded) in depths().iter().zip([&first[..], &first, b""]) {
        check(messages, &dropping(), &sent, &Played::new(forwarded.to_vec(), Some(RateExceeded), 0));
    }
}

#[test]
fn types_have_limits_of_their_own() {
    let login = text(r#"{"type":"login"}"#);
    let fragments = [frame(0x01, br#"{"type""#), frame(0x80, br#":"login"}"#)].concat();
    let chat = text(r#"{"type":"chat"}"#);
    let other = text(r#"{"type":7}"#);
    let ping = frame(0x89, b"");
    let five = [&chat[..], &login.repeat(2), &other, &fragments.repeat(2), &chat, &login].concat();
    let by_type = json!({"messages": null, "by_type": {"login": {"per_second": 1, "burst": 5}}});
    for (on_excess, violation, swallowed, behind) in
        [("close", Some(RateExceeded), 0, vec![]), ("drop", None, 1, [&chat[..], &ping, &other].concat())]
    {
        for sixth in [&login, &fragments] {
            let limits = json!({"on_excess": on_excess, "per_connection": by_type});
            let sent = [&five[..], sixth, &chat, &ping, &other].concat();
            let expected = Played::new([&five[..], &behind].concat(), violation, swallowed);
            check(&typed(), &limits, &sent, &expected);
        }
    }
    check(&typed(), &json!({"per_connection": by_type}), &five, &Played::new(five.clone(), None, 0));
}

#[test]
fn a_type_whose_letters_may_have_any_case_has_one_limit() {
    let limits = json!({"per_connection": {"by_type": {"Küche": {"per_second": 1, "burst": 1}}}});
    for schemas in [json!({"Say": true}), json!({"KÜCHE": true}), json!({})] {
        let json = json!({"discriminator": "/target", "schemas": schemas, "otherwise": "allow"});
        for (envelope, violation) in [("signalr", Some(RateExceeded)), ("json_lines", None)] {
            let messages = json!({"json": json, "envelope": envelope});
            let call = |target: &str| {
                let end = if envelope == "signalr" { '\u{1e}' } else { '\n' };
                text(format!("{{\"type\":1,\"target\":\"{target}\",\"arguments\":[]}}{end}"))
            };
            let sent = [call("KÜCHE"), call("küche")];
            let forwarded = if violation.is_some() { sent[0].clone() } else { sent.concat() };
            check(&messages, &limits, &sent.concat(), &Played::new(forwarded, violation, 0));
        }
    }
}

#[test]
fn a_ping_passes_a_message_that_turns_out_to_be_too_much_of_its_type() {
    let (begun, ping, last) = (frame(0x01, br#"{"type""#), frame(0x89, b"ping"), frame(0x80, br#":"login"}"#));
    let limits = json!({
        "on_excess": "drop",
        "per_connection": {"messages": null, "by_type": {"login": {"per_second": 1, "burst": 1}}},
    });
    let message = [&begun[..], &ping, &last].concat();
    let passed = [&ping[..], &begun, &last, &ping].concat();
    check(&typed(), &limits, &message.repeat(2), &Played::new(passed, None, 1));
}

#[test]
fn a_type_leaks_out_by_the_precise_time() {
    for (precise, violation) in [(999, Some(RateExceeded)), (1_000, None)] {
        let limits = json!({"per_connection": {"by_type": {"login": {"per_second": 1, "burst": 5}}}});
        let mut session = open("enforce", &typed(), &limits);
        let (login, clerk) = (text(r#"{"type":"login"}"#), Clerk::default());
        assert_eq!(play(&mut session, Client, &login.repeat(5), 99, NOW, &clerk).violations, []);
        // For the messages, and for those of the type.
        assert_eq!(clerk.looked.take(), 2);
        clerk.now.set(NOW.saturating_add(Duration::from_millis(precise)));
        let played = play(&mut session, Client, &login, 99, NOW, &clerk);
        assert_eq!((played.violations, clerk.looked.get()), (Vec::from_iter(violation), 1), "{precise}");
    }
}

#[test]
fn what_the_subject_may_not_send_is_too_much() {
    let (first, last) = (frame(0x01, b"one"), frame(0x80, b"three"));
    for (on_excess, sent, violation, swallowed) in [
        ("close", &first, Some(RateExceeded), 0),
        ("close", &frame(0x89, b"ping"), Some(RateExceeded), 0),
        ("drop", &[&first[..], &last].concat(), None, 1),
    ] {
        let limits = json!({"on_excess": on_excess});
        let mut session = open("enforce", &json!({}), &limits);
        let clerk = Clerk::default();
        clerk.gives.set(false);
        assert_eq!(play(&mut session, Client, sent, 1, NOW, &clerk), Played::new(vec![], violation, swallowed));
        assert_eq!(clerk.spent.borrow().len(), 1);
    }
    // What is taken: one message with the bytes of its first frame, then bytes alone.
    let clerk = Clerk::default();
    let sent = [&first[..], &frame(0x8a, b"ping"), &last, &CLOSE].concat();
    play(&mut open("enforce", &json!({}), &json!({})), Client, &sent, 1, NOW, &clerk);
    assert_eq!(*clerk.spent.borrow(), [(1, 3), (1, 4), (0, 5)]);
}

#[test]
fn a_fleet_is_asked_once_about_each_message() {
    let fragments = [frame(0x01, br#"{"type""#), frame(0x89, b""), frame(0x80, br#":"login"}"#)].concat();
    let other = text(r#"{"kind":"x"}"#);
    let sent = [&fragments[..], &frame(0x8a, b""), &other, &frame(0x82, b"abc"), &CLOSE].concat();
    for (messages, kinds) in [(typed(), ["login", "", ""]), (json!({"binary": "allow"}), ["", "", ""])] {
        for piece in 1..sent.len() {
            let clerk = Clerk::default();
            play(&mut open("enforce", &messages, &json!({})), Client, &sent, piece, NOW, &clerk);
            assert_eq!(*clerk.asked.borrow(), kinds, "{messages} in pieces of {piece}");
        }
    }
}

#[test]
fn what_a_fleet_does_not_allow_is_too_much() {
    let (login, chat) = (text(r#"{"type":"login"}"#), text(r#"{"type":"chat"}"#));
    let binary = frame(0x82, b"abc");
    for (exhausted, excess) in [("login", &login), ("", &binary)] {
        for (on_excess, violation, swallowed) in [("close", Some(RateExceeded), 0), ("drop", None, 1)] {
            let mut session = open("enforce", &typed(), &json!({"on_excess": on_excess}));
            let clerk = Clerk { exhausted: Some(exhausted), ..Clerk::default() };
            let played = play(&mut session, Client, &[&chat[..], excess, &chat].concat(), 5, NOW, &clerk);
            let passed = if swallowed == 0 { chat.clone() } else { chat.repeat(2) };
            assert_eq!(played, Played::new(passed, violation, swallowed), "{exhausted} {on_excess}");
        }
    }
}

#[test]
fn what_the_schema_refuses_is_not_asked_about() {
    let messages = json!({"json": {"discriminator": "/type", "schemas": {"login": {"required": ["user"]}}}});
    let clerk = Clerk::default();
    let mut session = open("enforce", &messages, &json!({}));
    let played = play(&mut session, Client, &text(r#"{"type":"login"}"#), 99, NOW, &clerk);
    assert_eq!(played.violations, [Violation::SchemaRefused]);
    assert_eq!(*clerk.asked.borrow(), [""; 0]);
}

#[test]
fn monitoring_reports_each_excess_and_lets_it_pass() {
    let sent = text(r#"{"type":"login"}"#).repeat(50);
    let by_type = json!({"messages": null, "by_type": {"login": {"per_second": 1, "burst": 5}}});
    let mut dropped = forty_at_once();
    dropped["on_excess"] = "drop".into();
    for (messages, limits, count) in [
        (json!({}), forty_at_once(), 10),
        (json!({"whole": true}), dropped, 10),
        (typed(), json!({"on_excess": "drop", "per_connection": by_type}), 45),
    ] {
        for piece in [1, 2, 30, sent.len()] {
            let mut session = open("monitor", &messages, &limits);
            let played = play(&mut session, Client, &sent, piece, NOW, &Clerk::default());
            assert!(played.forwarded == sent && played.swallowed == 0, "{limits} in pieces of {piece}");
            assert_eq!(played.violations, vec![RateExceeded; count], "{limits} in pieces of {piece}");
            assert_eq!(session.violation(), None);
        }
    }
}

#[test]
fn a_burst_long_after_a_tick_is_no_longer_than_any() {
    let limits = ConnectionLimits { messages: Rate::new(20.0, 40), ..ConnectionLimits::default() };
    let (mut pace, clerk) = (Pace::default(), Clerk::default());
    for (tick, now) in [(1_000, 1_099), (11_000, 11_099)] {
        let millis = |millis: u64| NOW.saturating_add(Duration::from_millis(millis));
        clerk.now.set(millis(now));
        let passed = (0..100).filter(|_| pace.receive(&limits, 1, 1, millis(tick), &clerk)).count();
        assert_eq!(passed, 40, "at {now}");
    }
    // For the first of a burst, and for each that is too much.
    assert_eq!(clerk.looked.get(), 2 * 61);
}

#[test]
fn what_is_too_much_says_for_which_limit() {
    let one = json!({"per_second": 1, "burst": 1});
    let login = r#"{"type":"login"}"#;
    let exhausted = || Clerk { exhausted: Some("login"), ..Clerk::default() };
    let broke = |lacks_bytes| Clerk { gives: Cell::new(false), lacks_bytes, ..Clerk::default() };
    for (limits, clerk, at) in [
        (json!({"per_connection": {"messages": one}}), Clerk::default(), "limits.per_connection.messages"),
        (
            json!({"per_connection": {"messages": one, "bytes": {"per_second": 1, "burst": 20}}}),
            Clerk::default(),
            "limits.per_connection.messages",
        ),
        (
            json!({"per_connection": {"bytes": {"per_second": 1, "burst": 20}}}),
            Clerk::default(),
            "limits.per_connection.bytes",
        ),
        (
            json!({"per_connection": {"by_type": {"login": one}}}),
            Clerk::default(),
            "limits.per_connection.by_type.login",
        ),
        (json!({}), broke(false), "limits.per_subject.messages"),
        (json!({}), broke(true), "limits.per_subject.bytes"),
        (json!({}), exhausted(), "limits.global"),
    ] {
        let mut session = open("monitor", &typed(), &limits);
        let text = frame(0x81, login.as_bytes());
        let overlooked = (0..2).flat_map(|_| session.receive(Client, &*text, NOW, &clerk).unwrap().overlooked);
        let paths = overlooked.map(|overlooked| overlooked.refusal.cause.unwrap().at).collect::<Vec<_>>();
        assert!(!paths.is_empty() && paths.iter().all(|path| path == at), "{limits}: {paths:?}");
    }
}
