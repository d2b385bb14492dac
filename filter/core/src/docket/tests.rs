//! Policies of which some parts are enforced and some only monitored, as tables: what is told of a message, and what refuses it.

use std::rc::Rc;

use serde_json::{Value, json};

use super::Overlooked;
use crate::config;
use crate::content::Handshake;
use crate::entry::Entry;
use crate::limits::Share;
use crate::policy::routes::Place;
use crate::session::{Due, Session};
use crate::testing::{BIRTH, MOMENT as NOW, Unlimited, forwarded, frame};
use crate::time::Moment;
use crate::violation::Violation::{self, *};
use crate::wire::Side::Client;

fn open(policy: &Value) -> Session {
    open_with(policy, Entry::default())
}

fn open_with(policy: &Value, entry: Entry) -> Session {
    let mut whole = json!({"require_tls": false, "origin": {"missing": "allow"}, "auth": {"required": false}});
    for (key, value) in policy.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let policies = config::parse(whole.to_string().as_bytes(), &|_| None).unwrap().policies;
    let (place, handshake) = (Place::default(), Handshake::default());
    Session::new(Rc::clone(policies.base()), place, entry, None, handshake, Share::default(), BIRTH)
}

/// What passes in `bytes` although it would be refused, and what refuses them, however they are cut.
#[track_caller]
fn check(policy: &Value, bytes: &[u8], passed: &[Violation], refused: Option<Violation>) {
    for piece in [1, 7, bytes.len()] {
        let mut session = open(policy);
        let (mut found, mut violation, mut onward) = (Vec::new(), None, Vec::new());
        for chunk in bytes.chunks(piece) {
            let received = session.receive(Client, chunk, NOW, &Unlimited).unwrap();
            onward.extend(forwarded(&received, chunk));
            for Overlooked { refusal, count, .. } in received.overlooked {
                found.extend((0..count).map(|_| refusal.violation));
            }
            violation = violation.or(received.violation);
        }
        let of = String::from_utf8_lossy(bytes);
        assert_eq!((&*found, violation), (passed, refused), "{of} in pieces of {piece} under {policy}");
        assert_eq!(onward == bytes, refused.is_none(), "{of} in pieces of {piece} under {policy}");
    }
}

fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

/// A side that is monitored but for what `rules` say, with a schema and rules of every kind.
fn side(rules: &Value) -> Value {
    let mut side = json!({
        "mode": "monitor", "max_message_bytes": 200, "max_fragments": 2, "text": "refuse", "binary": "refuse",
        "json": {"discriminator": "/type", "schemas": {"say": {"required": ["text"]}}},
    });
    side["binary"] = "text".into();
    for (key, value) in rules.as_object().unwrap() {
        side[key] = value.clone();
    }
    json!({"messages": {"from_client": side}})
}

const UNION: &str = r#"{"type":"say","text":"1' UNION SELECT password FROM users--"}"#;

#[test]
fn what_stands_deeper_wins() {
    let pattern = |mode: Value| json!({"name": "bad", "regex": "bad", "mode": mode});
    for (base, side, rule, is_enforced) in [
        ("enforce", json!(null), json!(null), true),
        ("monitor", json!(null), json!(null), false),
        ("enforce", json!("monitor"), json!(null), false),
        ("monitor", json!("enforce"), json!(null), true),
        ("enforce", json!("enforce"), json!("monitor"), false),
        ("monitor", json!("monitor"), json!("enforce"), true),
    ] {
        let policy =
            json!({"mode": base, "messages": {"from_client": {"mode": side, "deny_patterns": [pattern(rule)]}}});
        let (passed, refused) =
            if is_enforced { (&[][..], Some(PatternRefused)) } else { (&[PatternRefused][..], None) };
        check(&policy, &text("so bad"), passed, refused);
    }
}

#[test]
fn an_enforced_rule_refuses_whatever_passes_before_it() {
    let both = |first: &str, second: &str| {
        side(&json!({"text": "allow", "json": null, "deny_patterns": [
            {"name": "a", "regex": "aaa", "mode": first}, {"name": "b", "regex": "a+", "mode": second},
        ]}))
    };
    check(&both("monitor", "enforce"), &text("aaa"), &[], Some(PatternRefused));
    check(&both("enforce", "monitor"), &text("aaa"), &[], Some(PatternRefused));
    check(&both("enforce", "monitor"), &text("a"), &[PatternRefused], None);
    check(&both("monitor", "monitor"), &text("aaa"), &[PatternRefused], None);

    let enforced = side(&json!({"deny_patterns": [{"name": "bad", "regex": "bad", "mode": "enforce"}]}));
    let monitored = side(&json!({"deny_patterns": [{"name": "bad", "regex": "bad"}]}));
    for (message, passed) in [
        (r#"{"type":"say","text":"bad"}"#, vec![TypeRefused]),
        (r#"{"type":"say","bad":1}"#, vec![TypeRefused, SchemaRefused]),
        (r#"{"type":"bad"}"#, vec![TypeRefused, SchemaRefused]),
        (r#"{"type":["say"],"text":"bad"}"#, vec![TypeRefused, SchemaRefused, SchemaRefused]),
        ("not JSON and bad", vec![TypeRefused, InvalidJson]),
        ("SSH-2.0-OpenSSH_9.6 bad\r\n", vec![TypeRefused, TunnelRefused, InvalidJson]),
    ] {
        check(&enforced, &text(message), &passed, Some(PatternRefused));
        let all: Vec<Violation> = passed.iter().copied().chain([PatternRefused]).collect();
        let good = message.replace("bad", "so");
        check(&enforced, &text(&good), &passed, None);
        check(&monitored, &text(message), &all, None);
    }
    let parts = [frame(0x01, b"{\"type\":"), frame(0x00, b"\"say\","), frame(0x80, b"\"text\":\"bad\"}")].concat();
    check(&enforced, &parts, &[TypeRefused, FragmentsExceeded], Some(PatternRefused));
}

#[test]
fn what_hides_a_message_from_an_enforced_rule_is_refused() {
    let pattern = json!({"deny_patterns": [{"name": "bad", "regex": "bad", "mode": "enforce"}]});
    let set = json!({"rule_sets": [{"name": "sql_injection", "mode": "enforce"}]});
    let authorize =
        json!({"authorize": [{"when": {"/type": "admin"}, "claims": {"role": "admin"}, "mode": "enforce"}]});
    let unreadable = [
        (frame(0x82, b"\xff bad"), InvalidUtf8),
        (frame(0x82, &[b'x'; 201]), MessageTooBig),
        (frame(0xc1, b"bad"), ProtocolError),
        ([frame(0x02, b"bad"), text("bad")].concat(), ProtocolError),
    ];
    for (bytes, violation) in &unreadable {
        for rules in [&pattern, &set, &authorize] {
            check(&side(rules), bytes, &[], Some(*violation));
        }
        check(&side(&json!({})), bytes, &[*violation], None);
    }
    // Patterns are looked for in what is no JSON, but nothing can be asked for in it.
    for (message, violation) in [("bad", InvalidJson), (r#"{"type":"a","type":"admin"}"#, JsonRefused)] {
        check(&side(&authorize), &frame(0x82, message.as_bytes()), &[], Some(violation));
        check(&side(&json!({})), &frame(0x82, message.as_bytes()), &[violation], None);
    }
    check(&side(&authorize), &frame(0x82, br#"{"type":"admin"}"#), &[SchemaRefused], Some(NotAuthorized));
    check(&side(&set), &frame(0x82, UNION.as_bytes()), &[], Some(PatternRefused));
    // None of them reads a binary message.
    let unread = |rules: &Value| {
        let mut policy = side(rules);
        policy["messages"]["from_client"]["binary"] = "refuse".into();
        policy["messages"]["from_client"]["text"] = "allow".into();
        policy
    };
    for bytes in [frame(0x82, b"bad"), [frame(0x02, b"b"), frame(0x80, b"ad")].concat()] {
        for rules in [&pattern, &set, &authorize] {
            check(&unread(rules), &bytes, &[], Some(TypeRefused));
        }
        check(&unread(&json!({})), &bytes, &[TypeRefused], None);
    }
    // What a type may be said how often is not asked of what has none.
    let mut limited = side(&json!({}));
    limited["limits"] = json!({"per_connection": {"by_type": {"say": {"per_second": 1, "burst": 1}}}});
    check(&limited, &frame(0x82, b"no JSON"), &[], Some(InvalidJson));
    limited["limits"]["mode"] = "monitor".into();
    check(&limited, &frame(0x82, b"no JSON"), &[InvalidJson], None);
}

#[test]
fn limits_hold_for_messages_that_are_only_monitored() {
    let limits = json!({"per_connection": {"messages": {"per_second": 1, "burst": 2}, "bytes": {"per_second": 50, "burst": 50}}});
    let mut policy = json!({"limits": limits, "messages": {"from_client": {"mode": "monitor"}}});
    let broken = frame(0x81, b"\xff");
    check(&policy, &broken.repeat(3), &[InvalidUtf8, InvalidUtf8], Some(RateExceeded));
    // The rest of a message that is not judged counts as well, and frames that are none.
    let long = [frame(0x01, b"\xff"), frame(0x00, &[b'x'; 30]), frame(0x80, &[b'x'; 30])].concat();
    check(&policy, &long, &[InvalidUtf8], Some(RateExceeded));
    check(
        &policy,
        &[frame(0xc1, &[b'x'; 30]), frame(0xc1, &[b'x'; 30])].concat(),
        &[ProtocolError, ProtocolError],
        Some(RateExceeded),
    );
    policy["limits"]["on_excess"] = "drop".into();
    let mut session = open(&policy);
    let sent = broken.repeat(3);
    let received = session.receive(Client, &*sent, NOW, &Unlimited).unwrap();
    assert_eq!((forwarded(&received, &sent), received.swallowed), (broken.repeat(2), true));

    policy["limits"]["mode"] = "monitor".into();
    policy["messages"]["from_client"]["mode"] = "enforce".into();
    let sent = [text("a").repeat(3), broken].concat();
    check(&policy, &sent, &[RateExceeded, RateExceeded], Some(InvalidUtf8));
}

#[test]
fn each_record_of_a_text_is_told_as_what_it_is() {
    let tell = |records: &[String]| {
        let rules = json!({
            "envelope": "json_lines", "text": "allow", "max_message_bytes": 100_000, "deny_patterns": [{"name": "bad", "regex": "bad"}],
            "authorize": [{"when": {"/type": "ask"}, "claims": {"role": "admin"}}],
        });
        let sent = text(&records.join("\n"));
        let received = open(&side(&rules)).receive(Client, &*sent, NOW, &Unlimited).unwrap();
        let told = received.overlooked.into_iter().map(|Overlooked { refusal, count, .. }| {
            let cause = refusal.cause.unwrap_or_default();
            let at = cause.at.rsplit('.').next().unwrap().to_owned();
            (at, cause.kind.unwrap_or_default(), cause.instance.unwrap_or_default(), count)
        });
        told.collect::<Vec<_>>()
    };
    let record = |kind: &str, more: &str| format!(r#"{{"type":"{kind}","text":"x"{more}}}"#);
    let row =
        |at: &str, kind: &str, instance: &str, count| (at.to_owned(), kind.to_owned(), instance.to_owned(), count);

    let types = ["a", "b", "a", "ask"].map(|kind| record(kind, ""));
    let (of_a, of_b) = (row("otherwise", "a", "", 2), row("otherwise", "b", "", 1));
    assert_eq!(tell(&types), [of_a, of_b, row("otherwise", "ask", "", 1), row("authorize[0]", "ask", "", 1)]);
    let places = [r#","to":"bad""#, r#","to":"bad","by":"bad""#, r#","by":["bad"]"#].map(|more| record("say", more));
    let at = "deny_patterns[0]";
    assert_eq!(tell(&places), [row(at, "say", "/to", 2), row(at, "say", "/by/0", 1)]);
    // Many are told apart, and not as many as a client likes.
    let types: Vec<String> = (0..3_000).map(|index| record(&format!("a{index}"), "")).collect();
    let told = tell(&types);
    assert_eq!(
        (told.len(), &told[15], &told[16]),
        (17, &row("otherwise", "a15", "", 1), &row("otherwise", "", "", 2_984))
    );
}

#[test]
fn times_that_are_only_monitored_close_nothing_and_are_told_once() {
    let times =
        json!({"mode": "monitor", "idle_timeout": "5s", "max_lifetime": "10s", "jitter": 0, "ping_interval": null});
    let mut session = open(&json!({"liveness": times}));
    let at = |seconds: u64| Moment::from_nanos(NOW.as_nanos() + seconds * 1_000_000_000);
    let due: Vec<Due> = (1..60).map(|second| session.tick(at(second))).filter(|due| *due != Due::Nothing).collect();
    assert_eq!(due, [Due::Refused(Idle), Due::Refused(Lifetime)]);
    assert_eq!(session.violation(), None);
    // What is said is judged as ever.
    let received = session.receive(Client, &frame(0x81, b"\xff")[..], at(60), &Unlimited).unwrap();
    assert_eq!(received.violation, Some(InvalidUtf8));
}

#[test]
fn routes_have_modes_of_their_own() {
    let policy = json!({
        "mode": "monitor", "auth": {"required": false, "mode": "enforce"}, "messages": {"from_client": {"mode": "enforce"}},
        "routes": [
            {"match": {"path": "/a"}, "policy": {"mode": "enforce", "messages": {"from_client": {"mode": null}}}},
            {"match": {"path": "/b"}, "policy": {"messages": {"from_client": {"mode": "monitor"}}}},
        ],
    });
    let policies = config::parse(policy.to_string().as_bytes(), &|_| None).unwrap().policies;
    let words = policies.all().map(|policy| {
        let modes = &policy.modes;
        let all = [modes.base, modes.auth, modes.limits, modes.messages.client.own, modes.messages.server.own];
        all.map(|mode| if mode.enforces() { 'e' } else { 'm' }).iter().collect::<String>()
    });
    assert_eq!(words.collect::<Vec<_>>(), ["memem", "eeeee", "memmm"]);
}

#[test]
fn a_client_has_to_say_who_it_is_also_where_its_messages_are_only_monitored() {
    let policy = |mode: &str| {
        json!({
            "auth": {
                "mode": mode, "sources": [{"message": "/token"}],
                "providers": [{
                    "name": "corp", "issuer": "me", "audiences": ["a"], "algorithms": ["HS256"],
                    "jwks": {"secret": {"inline": "an HMAC secret of more than 32 bytes"}},
                }],
            },
            "messages": {"from_client": {"mode": "monitor", "json": {"schema": {"required": ["b"]}}}},
        })
    };
    let found = |mode: &str, bytes: &[u8]| {
        let mut session = open_with(&policy(mode), Entry { is_unproven: true, ..Entry::default() });
        let received = session.receive(Client, bytes, NOW, &Unlimited).unwrap();
        let passed = received.overlooked.iter().map(|overlooked| overlooked.refusal.violation).collect::<Vec<_>>();
        (passed, received.violation, session.take_token().is_some())
    };
    for (bytes, enforced, monitored) in [
        (text("{}"), (vec![SchemaRefused], Some(CredentialMissing), false), vec![SchemaRefused, CredentialMissing]),
        (text("no JSON"), (vec![], Some(InvalidJson), false), vec![InvalidJson, CredentialMissing]),
        (frame(0x82, b"binary"), (vec![], Some(TypeRefused), false), vec![TypeRefused, CredentialMissing]),
        (frame(0x81, b"\xff"), (vec![], Some(InvalidUtf8), false), vec![InvalidUtf8]),
    ] {
        assert_eq!(found("enforce", &bytes), enforced, "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(found("monitor", &bytes), (monitored, None, false), "{}", String::from_utf8_lossy(&bytes));
    }
    let token = text(r#"{"token":"x"}"#);
    assert_eq!(found("enforce", &token), (vec![SchemaRefused], None, true));
}
