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

pub(super) fn routes() -> Vec<Value> {
    let chat = json!({
        "required": ["type", "text"], "additionalProperties": false,
        "properties": {"type": true, "text": {"type": "string"}},
    });
    let json = json!({"max_depth": 4, "discriminator": "/type", "schemas": {"chat": chat}});
    vec![json!({"match": {"path": "/json"}, "policy": {"messages": {"from_client": {"binary": "text", "json": json}}}})]
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, answer, draft| Case::judged(name, answer, draft, |scene| Ok(scene.upgrade_to("/json")));
    let both = MESSAGES.map(|(name, answer, text)| {
        let of = |kind: &str, draft| case(format!("json, {kind}: {name}"), answer, draft);
        [of("text", Draft::text(text)), of("binary", Draft::binary(text))]
    });
    both.into_iter().flatten().collect()
}
