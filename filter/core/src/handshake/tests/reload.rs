//! Connections that came in under one policy, and what another one makes of them.

use core::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::session::Session;
use crate::testing::{MOMENT, Unlimited, forwarded, frame};
use crate::wire::Side::{Client, Server};

/// The policy and the request that a connection comes in with, what the upstream answers, the next policy, and whether it is kept.
type Row<'a> = (Value, Fields, &'a [(&'a str, &'a str)], Value, bool);

/// The live connection of `fields` under the good policy with `change`, whose upstream answers with `answered` too.
#[track_caller]
fn live(change: &Value, fields: Fields, answered: &[(&str, &str)]) -> Session {
    let fields = and(fields, "sec-websocket-extensions", "permessage-deflate");
    let opening = open(&policies(change.clone()), fields);
    let Decision::Upgrade(pending) = opening.decision else { panic!("refused: {:?}", opening.decision) };
    pending.check(&answer(answered), BIRTH).unwrap().session
}

#[track_caller]
fn check_adopted(before: Value, fields: Fields, answered: &[(&str, &str)], after: &Value, is_kept: bool) {
    let mut session = live(&before, fields.clone(), answered);
    let expected = (!is_kept).then_some(PolicyChanged);
    assert_eq!(session.adopt(&policies(after.clone()), MOMENT), expected, "{before} to {after}");
    assert_eq!(session.violation(), expected, "{before} to {after}");
    // Its close code is 1012.
    assert_eq!(session.transmit(Client, [0; 4]).is_some_and(|close| close[2..4] == [3, 244]), !is_kept);

    let mut session = live(&before, fields, answered);
    let mut monitored = after.clone();
    monitored["mode"] = json!("monitor");
    assert_eq!(session.adopt(&policies(monitored), MOMENT), expected, "{before} to {after}, monitored");
    assert_eq!(session.violation(), None);
}

/// What a handshake is asked, a live connection is asked again.
#[test]
fn a_connection_that_a_new_policy_would_not_let_in_is_closed() {
    let provider = |change: Value| {
        let mut provider = json!({
            "name": "own", "issuer": "me", "audiences": ["chat"], "algorithms": ["HS256"], "jwks": {"secret": {"inline": SECRET}},
        });
        provider.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"auth": {"providers": [provider]}})
    };
    let protocol = [("sec-websocket-protocol", "chat.v1")];
    let anonymous = json!({"auth": {"required": false}});
    let none: &[(&str, &str)] = &[];
    let rows: &[Row<'_>] = &[
        (json!({}), good(), none, json!({}), true),
        (json!({}), good(), none, json!({"revision": "2"}), true),
        (json!({}), good(), none, json!({"require_tls": true}), false),
        (json!({}), good(), none, json!({"hosts": ["other.example.com"]}), false),
        (json!({}), good(), none, json!({"hosts": []}), true),
        (json!({}), good(), none, json!({"origin": {"allow": ["https://other.example.com"]}}), false),
        (json!({"origin": {"missing": "allow"}}), without("origin"), none, json!({}), false),
        (
            json!({}),
            and(good(), protocol[0].0, "chat.v1"),
            &protocol,
            json!({"subprotocols": {"allow": ["chat.v1"]}}),
            true,
        ),
        (json!({}), and(good(), protocol[0].0, "chat.v1"), &protocol, json!({"subprotocols": {"allow": []}}), true),
        (
            json!({}),
            and(good(), protocol[0].0, "chat.v1"),
            &protocol,
            json!({"subprotocols": {"allow": ["chat.v2"]}}),
            false,
        ),
        (
            json!({"subprotocols": {"allow": ["mqtt"]}}),
            and(good(), protocol[0].0, "mqtt"),
            &[("sec-websocket-protocol", "mqtt")],
            json!({"subprotocols": {"allow": []}}),
            false,
        ),
        (anonymous.clone(), without("authorization"), none, anonymous.clone(), true),
        (anonymous, without("authorization"), none, json!({}), false),
        (json!({}), good(), none, provider(json!({"require": {"sub": "alice"}})), true),
        (json!({}), good(), none, provider(json!({"require": {"sub": "bob"}})), false),
        (json!({}), good(), none, provider(json!({"audiences": ["other"]})), false),
        (json!({}), good(), none, provider(json!({"issuer": "another"})), false),
        (json!({}), good(), none, provider(json!({"name": "another"})), false),
        (
            json!({}),
            good(),
            none,
            provider(json!({"jwks": {"secret": {"inline": "another HMAC secret of 32 bytes."}}})),
            true,
        ),
    ];
    for (before, fields, answered, after, is_kept) in rows {
        check_adopted(before.clone(), fields.clone(), answered, after, *is_kept);
    }
}

#[test]
fn compression_is_followed_or_closed() {
    let of = |compression: &str| match compression {
        "pass" => json!({"compression": "pass", "messages": {
            "from_client": {"utf8": false, "tunnels": "allow"}, "from_server": {"utf8": false, "tunnels": "allow"},
        }}),
        other => json!({"compression": other}),
    };
    let takeover = [("sec-websocket-extensions", "permessage-deflate")];
    let none =
        [("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover; client_no_context_takeover")];
    for (before, answered, after, is_kept) in [
        ("pass", &[][..], "refuse", true),
        ("pass", &takeover, "refuse", false),
        ("inspect", &takeover, "refuse", false),
        ("inspect", &takeover, "pass", true),
        ("inspect", &takeover, "inspect", true),
        ("pass", &takeover, "pass", true),
        // Nothing has been sent yet that a message could refer to.
        ("pass", &takeover, "inspect", true),
        ("pass", &none, "inspect", true),
    ] {
        check_adopted(of(before), good(), answered, &of(after), is_kept);
    }
    // RFC 7692 §7.2.3.2: the second message refers to the first one.
    let (first, second) = (frame(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00"), frame(0xc1, b"\xf2\x00\x11\x00\x00"));
    for (before, answered, is_kept) in [("pass", &takeover, false), ("pass", &none, true), ("inspect", &takeover, true)]
    {
        let mut session = live(&of(before), good(), answered);
        assert_eq!(send(&mut session, &first), None);
        assert_eq!(session.adopt(&policies(of("inspect")), MOMENT), (!is_kept).then_some(PolicyChanged), "{before}");
    }
    // Through a policy that reads nothing, and back.
    let mut session = live(&of("inspect"), good(), &takeover);
    assert_eq!(session.adopt(&policies(of("pass")), MOMENT), None);
    assert_eq!(send(&mut session, &first), None);
    let mut refusing = of("inspect");
    refusing["messages"] = json!({"from_client": {"deny_patterns": [{"name": "hello", "regex": "Hello"}]}});
    assert_eq!(session.adopt(&policies(refusing), MOMENT), None);
    assert_eq!(send(&mut session, &second), Some(PatternRefused));
}

#[track_caller]
fn send(session: &mut Session, bytes: &[u8]) -> Option<Violation> {
    let received = session.receive(Client, bytes, MOMENT, &Unlimited).unwrap();
    assert!(received.violation.is_some() || forwarded(&received, bytes) == bytes);
    received.violation
}

#[test]
fn claims_are_there_for_a_policy_that_comes_to_read_them() {
    let speakers = json!({"messages": {"from_client": {
        "json": {"discriminator": "/type", "schemas": {"say": {}}}, "authorize": [{"when": {"/type": "*"}, "claims": {"role": "speaker"}}],
    }}});
    let bearer = |claims: Value| with("authorization", &format!("Bearer {}", token(&claims)));
    for (claims, expected) in [(json!({"role": "speaker"}), None), (json!({"role": "guest"}), Some(NotAuthorized))] {
        let mut session = live(&json!({}), bearer(claims), &[]);
        assert_eq!(session.adopt(&policies(speakers.clone()), MOMENT), None);
        assert_eq!(send(&mut session, &frame(0x81, br#"{"type":"say"}"#)), expected);
    }
    let anonymous = json!({"auth": {"required": false}});
    let mut session = live(&anonymous, without("authorization"), &[]);
    let mut speakers = speakers;
    speakers["auth"] = anonymous["auth"].clone();
    assert_eq!(session.adopt(&policies(speakers), MOMENT), None);
    assert_eq!(send(&mut session, &frame(0x81, br#"{"type":"say"}"#)), Some(NotAuthorized));
}

/// What of it went by cannot be judged any more, so it may end, but not go on for ever.
#[test]
fn a_message_in_hand_has_its_time_to_end_where_more_of_it_would_be_read() {
    let unread = json!({"messages": {"from_client": {"utf8": false, "tunnels": "allow"}}});
    let secret = json!({"messages": {"from_client": {"deny_patterns": [{"name": "secret", "regex": "secret"}]}}});
    let (begun, rest) = (frame(0x01, b"a secret"), frame(0x80, b"of ours"));
    let late = MOMENT.saturating_add(Duration::from_secs(10));
    let timeless = |mut policy: Value| {
        policy["liveness"] = json!({"message_timeout": null});
        policy
    };
    for (before, after, is_over) in [(&unread, &secret, true), (&secret, &unread, false), (&unread, &unread, false)] {
        let mut session = live(before, good(), &[]);
        send_some(&mut session, &begun);
        assert_eq!(session.adopt(&policies(timeless(after.clone())), MOMENT), None);
        assert_eq!(session.deadline() == Some(late), is_over, "{after}");
        session.tick(late);
        assert_eq!(session.violation(), is_over.then_some(PolicyChanged), "{before} to {after}");

        let mut session = live(before, good(), &[]);
        send_some(&mut session, &begun);
        session.adopt(&policies(timeless(after.clone())), MOMENT);
        send_some(&mut session, &rest);
        session.tick(late);
        assert_eq!(session.violation(), None, "{before} to {after}");
        assert_eq!(send(&mut session, &frame(0x81, b"a secret")), (after == &secret).then_some(PatternRefused));
    }
    // What was read of it is judged by what holds when it ends.
    let whole = json!({"messages": {"from_client": {"deny_patterns": [{"name": "other", "regex": "other"}]}}});
    let mut session = live(&whole, good(), &[]);
    send_some(&mut session, &begun);
    session.adopt(&policies(secret), MOMENT);
    assert_eq!(session.receive(Client, rest.as_slice(), MOMENT, &Unlimited).unwrap().violation, Some(PatternRefused));
    assert!(session.transmit(Server, [0; 4]).is_some());
}

fn send_some(session: &mut Session, bytes: &[u8]) {
    assert_eq!(session.receive(Client, bytes, MOMENT, &Unlimited).unwrap().violation, None);
}

/// Not everything is known of a handshake that monitor mode let pass.
#[test]
fn a_connection_that_would_have_been_refused_is_no_longer_one_under_a_policy_that_enforces() {
    let monitor = json!({"mode": "monitor"});
    for fields in [without("authorization"), with("origin", "https://evil.example"), with("sec-websocket-version", "8")]
    {
        let mut session = live(&monitor, fields, &[]);
        assert_eq!(session.adopt(&policies(monitor.clone()), MOMENT), None);
        assert_eq!(session.adopt(&policies(json!({})), MOMENT), Some(PolicyChanged));
    }
    let mut session = live(&monitor, good(), &[("sec-websocket-extensions", "x-own")]);
    assert_eq!(session.adopt(&policies(json!({})), MOMENT), Some(PolicyChanged));
    let mut session = live(&monitor, good(), &[]);
    assert_eq!(session.adopt(&policies(json!({})), MOMENT), None);
}
