//! Messages that have to be JSON of a schema, as text and as `binary: text`.

use portcullis_envoy::peer::frame::Draft;
use serde_json::{Value, json};

use super::scene::Case;

const MESSAGES: [(&str, &str, &str); 9] = [
    ("as the schema has it", "echo", r#"{"type":"chat","text":"hello"}"#),
    ("half an emoji", "echo", r#"{"type":"chat","text":"\ud83d"}"#),
    ("no JSON", "1007 invalid_json", "hello"),
    ("two texts", "1007 invalid_json", r#"{"type":"chat","text":"x"} {}"#),
    ("a name twice", "1008 json_refused", r#"{"type":"chat","text":"x","\u0074ype":"y"}"#),
    ("five deep", "1008 json_refused", r#"{"type":"chat","text":[[[[]]]]}"#),
    ("a number where a string is due", "1008 schema_refused", r#"{"type":"chat","text":7}"#),
    ("a member too many", "1008 schema_refused", r#"{"type":"chat","text":"x","to":"all"}"#),
    ("of a type that is not listed", "1008 schema_refused", r#"{"type":"shout","text":"x"}"#),
];

const OTHERS: [(&str, &str, &str); 4] = [
    ("of a type that is not listed", "echo", r#"{"type":"shout"}"#),
    ("of a type that is", "1008 schema_refused", r#"{"type":"chat"}"#),
    ("its type in an array", "1008 schema_refused", r#"{"type":["chat"]}"#),
    ("all of it in an array", "1008 schema_refused", r#"[{"type":"chat"}]"#),
];

pub(super) fn routes() -> Vec<Value> {
    let chat = json!({
        "required": ["type", "text"], "additionalProperties": false,
        "properties": {"type": true, "text": {"type": "string"}},
    });
    let json = json!({"max_depth": 4, "discriminator": "/type", "schemas": {"chat": chat}});
    let mut others = json.clone();
    others["otherwise"] = "allow".into();
    vec![
        json!({"match": {"path": "/json"}, "policy": {"messages": {"from_client": {"binary": "text", "json": json}}}}),
        json!({"match": {"path": "/others"}, "policy": {"messages": {"from_client": {"json": others}}}}),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, answer, draft| Case::judged(name, answer, draft, |scene| Ok(scene.upgrade_to("/json")));
    let others = OTHERS.map(|(name, answer, text)| {
        let draft = Draft::text(text);
        Case::judged(format!("json, others allowed: {name}"), answer, draft, |scene| Ok(scene.upgrade_to("/others")))
    });
    let both = MESSAGES.map(|(name, answer, text)| {
        let of = |kind: &str, draft| case(format!("json, {kind}: {name}"), answer, draft);
        [of("text", Draft::text(text)), of("binary", Draft::binary(text))]
    });
    both.into_iter().flatten().chain(others).collect()
}
