//! What messages say, through whole sessions: the same verdict however a message is cut, and nothing of a refused one goes on.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::config::parse;
use crate::content::Handshake;
use crate::content::tunnels::Exempt;
use crate::entry::Entry;
use crate::limits::{HeldBytes, Share};
use crate::policy::routes::Place;
use crate::refusal::Cause;
use crate::session::Session;
use crate::testing::{BIRTH, MOMENT as NOW, Unlimited, frame};
use crate::violation::Violation::{
    self, InvalidJson, InvalidUtf8, JsonRefused, NotAuthorized, PatternRefused, SchemaRefused, TunnelRefused,
    TypeRefused,
};
use crate::wire::Side;

fn open(messages: &Value, handshake: Handshake, held: &Rc<HeldBytes>) -> Session {
    let config = json!({
        "require_tls": false, "auth": {"required": false}, "limits": {"per_connection": null},
        "messages": {"from_client": messages},
    });
    let policies = parse(config.to_string().as_bytes(), &|_| None).unwrap().policies;
    Session::new(
        Rc::clone(policies.base()),
        Place::default(),
        Entry::default(),
        None,
        handshake,
        Share::new(Rc::clone(held)),
        BIRTH,
    )
}

/// A message in fragments of one byte, with a ping behind the second.
fn fragments(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    for (index, byte) in payload.iter().enumerate() {
        let fin = if index + 1 == payload.len() { 0x80 } else { 0 };
        frames.extend(frame(fin | if index == 0 { opcode } else { 0 }, &[*byte]));
        if index == 1 && fin == 0 {
            frames.extend(frame(0x89, b"ping"));
        }
    }
    frames
}

/// A good message, and then the bad one whole and in fragments, in pieces of every length.
#[track_caller]
fn check(messages: &Value, opcode: u8, payload: &[u8], violation: Option<Violation>, rule: Option<&str>) {
    let good = frame(0x81, br#"{"type":"good"}"#);
    let ping = frame(0x89, b"ping");
    let held = Rc::new(HeldBytes::default());
    for bad in [frame(0x80 | opcode, payload), fragments(opcode, payload)] {
        let is_fragmented = bad.len() > payload.len() + 20;
        let bytes = [good.as_slice(), &bad].concat();
        for piece in (1..20).chain([bytes.len() / 2, bytes.len() - 1, bytes.len()]) {
            let mut session = open(messages, Handshake::default(), &held);
            let (mut passed, mut found) = (Vec::new(), None);
            for chunk in bytes.chunks(piece) {
                let received = session.receive(Side::Client, chunk, NOW, &Unlimited).unwrap();
                passed.extend(received.passage.before);
                passed.extend(&chunk[..received.passage.keep]);
                passed.extend(received.passage.after);
                found = found.or_else(|| received.violation.map(|violation| (violation, rule_in(received.cause))));
            }
            let found_rule = found.as_ref().and_then(|(_, rule)| rule.as_deref());
            let said = String::from_utf8_lossy(payload);
            assert_eq!(found.as_ref().map(|(violation, _)| *violation), violation, "{said} in pieces of {piece}");
            assert!(found_rule == rule || violation.is_none(), "{found_rule:?} in pieces of {piece}");
            match violation {
                None if is_fragmented => assert_eq!(passed.len(), bytes.len(), "{said} in pieces of {piece}"),
                None => assert!(passed == bytes, "{said} in pieces of {piece}"),
                // Pings do not wait.
                Some(_) => {
                    let expected = [[good.as_slice(), &ping].concat(), good.clone()];
                    assert!(expected.contains(&passed), "{said} in pieces of {piece}");
                    assert!(held.has_room(0, 0), "memory is given back");
                }
            }
        }
    }
}

fn schema() -> Value {
    json!({"max_fragments": 1000, "json": {
        "max_depth": 3, "max_keys": 4, "max_string_bytes": 20, "discriminator": "/type",
        "schemas": {"good": {}, "chat": {"required": ["text"], "properties": {"text": {"type": "string"}}}},
    }})
}

#[test]
fn json_is_judged_as_a_whole() {
    for (text, violation) in [
        (r#"{"type":"chat","text":"κόσμε"}"#, None),
        (r#"{"type":"chat","text":1}"#, Some(SchemaRefused)),
        (r#"{"type":"chat"}"#, Some(SchemaRefused)),
        (r#"{"type":"other"}"#, Some(SchemaRefused)),
        (r#"{"type":["chat"]}"#, Some(SchemaRefused)),
        ("[]", Some(SchemaRefused)),
        ("{} x", Some(InvalidJson)),
        ("hello", Some(InvalidJson)),
        (r#"{"type":"good","a":[[1]]}"#, None),
        (r#"{"type":"good","a":[[[1]]]}"#, Some(JsonRefused)),
        (r#"{"type":"good","a":1,"b":2,"c":3}"#, None),
        (r#"{"type":"good","a":1,"b":2,"c":3,"d":4}"#, Some(JsonRefused)),
        (r#"{"type":"good","a":"12345678901234567890"}"#, None),
        (r#"{"type":"good","a":"123456789012345678901"}"#, Some(JsonRefused)),
        (r#"{"type":"good","\u0074ype":"chat"}"#, Some(JsonRefused)),
    ] {
        check(&schema(), 1, text.as_bytes(), violation, None);
    }
    check(&schema(), 1, br#"{"type":"good","Type":"chat"}"#, Some(JsonRefused), None);
    check(&schema(), 1, b"{\"type\":\"good\",\"a\":\"\xc3\x28\"}", Some(InvalidUtf8), None);
    check(&schema(), 2, b"\0", Some(TypeRefused), None);
}

#[test]
fn binary_messages_are_judged_as_texts_where_they_are_texts() {
    let mut messages = schema();
    messages["binary"] = json!("text");
    messages["deny_patterns"] = json!([{"name": "word", "regex": "^forbidden$"}]);
    messages["authorize"] = json!([{"when": {"/type": "good"}, "claims": {"role": "admin"}, "missing": "allow"}]);
    for (text, violation) in [
        (&br#"{"type":"chat","text":"x"}"#[..], None),
        (br#"{"type":"chat"}"#, Some(SchemaRefused)),
        (br#"{"type":"chat","text":"forbidden"}"#, Some(PatternRefused)),
        (br#"{"type":"chat","text":[[[1]]]}"#, Some(JsonRefused)),
        (br#"{"type":"good"}"#, Some(NotAuthorized)),
        (b"{", Some(InvalidJson)),
        (b"\x00", Some(InvalidJson)),
        (b"{\"type\":\"chat\",\"text\":\"\xff\"}", Some(InvalidUtf8)),
    ] {
        for opcode in [0x81, 0x82] {
            let mut session = open(&messages, Handshake::default(), &Rc::default());
            let received = session.receive(Side::Client, frame(opcode, text).as_slice(), NOW, &Unlimited).unwrap();
            assert_eq!(received.violation, violation, "{}", String::from_utf8_lossy(text));
        }
    }
    // Without other rules they are UTF-8 all the same.
    check(&json!({"binary": "text"}), 2, b"a\xff", Some(InvalidUtf8), None);
    check(&json!({"binary": "text", "max_fragments": 99}), 2, "κόσμε".as_bytes(), None, None);
}

#[test]
fn a_subprotocol_chooses_no_envelope_that_the_policy_does_not_give_it() {
    let subscribe = frame(0x81, br#"{"id":"1","type":"subscribe","payload":{"query":"x"}}"#);
    let event = frame(0x81, br#"42["x"]"#);
    let map = json!({"graphql-transport-ws": "graphql-transport-ws", "io": "socket.io"});
    for (envelope, subprotocol, bytes, violation) in [
        (json!("json"), "graphql-transport-ws", &subscribe, Some(SchemaRefused)),
        (json!("json"), "", &event, Some(InvalidJson)),
        (json!("graphql-transport-ws"), "", &subscribe, None),
        (map.clone(), "graphql-transport-ws", &subscribe, None),
        (map.clone(), "io", &event, None),
        (map.clone(), "graphql-transport-ws", &event, Some(InvalidJson)),
        // No such connection comes up, but in monitor mode.
        (map.clone(), "", &subscribe, Some(SchemaRefused)),
        (map, "other", &subscribe, Some(SchemaRefused)),
    ] {
        let schema = json!({"schema": {"properties": {"payload": false}}});
        let messages = json!({"envelope": envelope, "json": schema});
        let handshake = Handshake { subprotocol: subprotocol.into(), ..Handshake::default() };
        let mut session = open(&messages, handshake, &Rc::default());
        let received = session.receive(Side::Client, bytes.as_slice(), NOW, &Unlimited).unwrap();
        assert_eq!(received.violation, violation, "{envelope} {subprotocol}");
    }
}

#[test]
fn other_types_pass_where_they_may() {
    let mut messages = schema();
    messages["json"]["otherwise"] = json!("allow");
    check(&messages, 1, br#"{"type":"other"}"#, None, None);
    check(&messages, 1, b"7", None, None);
    check(&messages, 1, br#"{"type":"chat"}"#, Some(SchemaRefused), None);
}

#[test]
fn patterns_see_what_readers_see() {
    let messages = json!({"max_fragments": 1000, "rule_sets": ["prototype_pollution"], "deny_patterns": [
        {"name": "card", "regex": "\\b4[0-9]{15}\\b"}, {"name": "word", "regex": "(?i)^forbidden$"},
    ]});
    for (text, rule) in [
        ("my card is 4111111111111111.", Some("card")),
        (r#"["4111\u0031111 11111111"]"#, None),
        (r#"["4111\u003111111111111"]"#, Some("card")),
        (r#"{"4111111111111111":1}"#, Some("card")),
        (r#"{"a":[{"b":"For\u0062idden"}]}"#, Some("word")),
        // JSON in a string of JSON, and again.
        (r#"{"a":"{\"b\":\"for\\u0062idden\"}"}"#, Some("word")),
        (r#"{"a":"[\"{\\\"b\\\":\\\"for\\\\u0062idden\\\"}\"]"}"#, Some("word")),
        ("forbidden", Some("word")),
        // What others take for JSON.
        (r#"{"n":1e999,"a":"for\u0062idden"}"#, Some("word")),
        (r#"{"x":"\ud800","a":"for\u0062idden"}"#, Some("word")),
        (r#"{"n":NaN,"a":"4\u0031\u003111111111111 11"}"#, None),
        (r#"{"n":NaN,"a":"4\u0031\u00311111111111111"}"#, Some("card")),
        ("it is forbidden", None),
        (r#"{"forbidden fruit":"x"}"#, None),
        // Numbers, and what servers read that is no JSON for us.
        (r#"{"n":4111111111111111}"#, Some("card")),
        (r#"{"n":4.111111111111111e15}"#, Some("card")),
        ("\u{feff}{\"a\":\"forbidden\"}", Some("word")),
        ("{\"a\":\"forbidden\"}\0", Some("word")),
        ("{\"a\":1}\n{\"a\":\"forbidden\"}", Some("word")),
        ("{\"type\":1,\"arguments\":[\"forbidden\"]}\x1e", Some("word")),
        (r#"["{\"a\":\"forbidden\"}"]"#, Some("word")),
        (r#"a["{\"a\":\"forbidden\"}"]"#, Some("word")),
        (r#"42["x",{"a":"forbidden"}]"#, Some("word")),
        ("SEND\ndestination:/q\n\n{\"a\":\"forbidden\"}\0", Some("word")),
        ("{\"a\":\"forbidden\"} // comment", Some("word")),
        (r#"{"a":" {\"b\":\"forbidden\"}"}"#, Some("word")),
        (r#"{"a":"\ufeff{\"b\":\"forbidden\"}"}"#, Some("word")),
        (r#"{"a":"it is forbidden to say \"so\""}"#, None),
    ] {
        check(&messages, 1, text.as_bytes(), rule.map(|_| PatternRefused), rule);
    }
    let proto = br#"{"__proto__":{"a":1}}"#;
    let rule = rule_of(&messages, proto).unwrap();
    assert!(rule.starts_with("prototype_pollution."), "{rule}");
    check(&messages, 1, proto, Some(PatternRefused), Some(&rule));
}

/// The rule that a message matches.
fn rule_of(messages: &Value, text: &[u8]) -> Option<String> {
    let mut session = open(messages, Handshake::default(), &Rc::default());
    let received = session.receive(Side::Client, frame(0x81, text).as_slice(), NOW, &Unlimited).unwrap();
    rule_in(received.cause).map(|rule| rule.to_string())
}

fn rule_in(cause: Option<Box<Cause>>) -> Option<Rc<str>> {
    cause?.rule
}

#[test]
fn a_message_that_begins_as_a_tunnel_does_is_held_and_refused() {
    let messages = json!({"binary": "allow", "max_fragments": 1000});
    for payload in
        [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on for a while"]
    {
        let rule = if payload[0] == b'S' { "ssh" } else { "tls" };
        check(&messages, 2, payload, Some(TunnelRefused), Some(rule));
        let allowed = json!({"binary": "allow", "max_fragments": 1000, "tunnels": "allow"});
        check(&allowed, 2, payload, None, None);
    }
    check(&messages, 1, b"SSH-2.0-OpenSSH_9.2\r\n", Some(TunnelRefused), Some("ssh"));
    for payload in [&b"S"[..], b"SSH", b"SSH-2.", b"SSH keys", b"\x16\x03\x01", b"{}", b"\0\0\0\x05hello"] {
        check(&messages, 2, payload, None, None);
    }
}

#[test]
fn a_subprotocol_carries_what_it_is_there_for() {
    let messages = json!({"binary": "allow"});
    let mqtt = frame(0x82, b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00");
    for (subprotocol, violation) in
        [("", Some(TunnelRefused)), ("v12.stomp", Some(TunnelRefused)), ("mqtt", None), ("binary", None)]
    {
        let handshake = Handshake { exempt: Exempt::for_subprotocol(subprotocol), ..Handshake::default() };
        let mut session = open(&messages, handshake, &Rc::default());
        assert_eq!(
            session.receive(Side::Client, mqtt.as_slice(), NOW, &Unlimited).unwrap().violation,
            violation,
            "{subprotocol}"
        );
    }
}

#[test]
fn attachments_of_socket_io_are_counted() {
    let messages = json!({"binary": "allow", "envelope": "socket.io", "json": {}});
    let event = frame(0x81, br#"452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    let (binary, ping, text) = (frame(0x82, b"\x01\x02"), frame(0x81, b"2"), frame(0x81, br#"42["a"]"#));
    for (frames, violation) in [
        (vec![&event, &binary, &ping, &binary, &text], None),
        (vec![&binary], Some(SchemaRefused)),
        (vec![&event, &binary, &binary, &binary], Some(SchemaRefused)),
        (vec![&event, &binary, &text], Some(SchemaRefused)),
        (vec![&text, &text], None),
    ] {
        let mut session = open(&messages, Handshake::default(), &Rc::default());
        let bytes: Vec<u8> = frames.into_iter().flatten().copied().collect();
        assert_eq!(session.receive(Side::Client, bytes.as_slice(), NOW, &Unlimited).unwrap().violation, violation);
    }
}

#[test]
fn what_is_held_for_judgement_is_counted() {
    let held = Rc::new(HeldBytes::default());
    let config = json!({"require_tls": false, "auth": {"required": false}, "limits": {"held_bytes": 1000}, "messages": {"from_client": {"json": {}}}});
    let policies = parse(config.to_string().as_bytes(), &|_| None).unwrap().policies;
    let mut session = Session::new(
        Rc::clone(policies.base()),
        Place::default(),
        Entry::default(),
        None,
        Handshake::default(),
        Share::new(Rc::clone(&held)),
        BIRTH,
    );
    let long = frame(0x01, &[b' '; 900]);
    assert_eq!(
        session.receive(Side::Client, long.as_slice(), NOW, &Unlimited).unwrap().violation,
        Some(Violation::Overloaded)
    );
    session.refuse(Violation::Overloaded, Some(Side::Client), NOW);
    assert!(held.has_room(0, 0));
}
