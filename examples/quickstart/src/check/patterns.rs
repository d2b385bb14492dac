//! A pattern for a whole string, which is found in every format that carries that string.

use portcullis_envoy::peer::frame::Draft;
use serde_json::{Value, json};

use super::scene::Case;

const MESSAGES: [(&str, &str, &str); 18] = [
    ("a string", FOUND, r#"{"card":"4111111111111111"}"#),
    ("a string with escapes", FOUND, r#"{"card":"\u0034111111111111111"}"#),
    ("a number", FOUND, r#"{"card":4111111111111111}"#),
    ("a number with an exponent", FOUND, r#"{"card":4.111111111111111e15}"#),
    ("a name", FOUND, r#"{"4111111111111111":true}"#),
    ("JSON in a string", FOUND, r#"{"text":" {\"card\":\"4111111111111111\"}"}"#),
    ("JSON behind a byte order mark", FOUND, "\u{feff}{\"card\":\"4111111111111111\"}"),
    ("JSON with NaN", FOUND, r#"{"n":NaN,"card":"4111111111111111"}"#),
    ("JSON lines", FOUND, "{\"n\":1}\n{\"card\":\"4111111111111111\"}\n"),
    ("records that end in 0x1E", FOUND, "{\"type\":6}\x1e{\"type\":1,\"arguments\":[\"4111111111111111\"]}\x1e"),
    ("an array of SockJS", FOUND, r#"["{\"card\":\"4111111111111111\"}"]"#),
    ("a frame of STOMP", FOUND, "SEND\ndestination:/pay\n\n{\"card\":\"4111111111111111\"}\0"),
    ("an event of Socket.IO", FOUND, r#"42["pay",{"card":"4111111111111111"}]"#),
    ("a number of JSON5", FOUND, "{'card':4.111111111111111e15}"),
    ("a string of YAML", FOUND, "card: '4111111111111111'\n"),
    ("UTF-16", "1007 invalid_utf8", "{\0\"\0a\0\"\0:\x001\0}\0"),
    ("a longer number", "echo", r#"{"order":41111111111111110}"#),
    ("prose about it", "echo", r#"{"text":"mine is 4111111111111111"}"#),
];

const FOUND: &str = "1008 pattern_refused";

pub(super) fn routes() -> Vec<Value> {
    let messages = json!({"from_client": {"deny_patterns": [{"name": "card", "regex": "^4[0-9]{15}$"}]}});
    vec![json!({"match": {"path": "/patterns"}, "policy": {"messages": messages}})]
}

pub(super) fn cases() -> Vec<Case> {
    let cases = MESSAGES.map(|(name, answer, text)| {
        Case::judged(format!("pattern: {name}"), answer, Draft::text(text), |scene| Ok(scene.upgrade_to("/patterns")))
    });
    cases.into()
}
