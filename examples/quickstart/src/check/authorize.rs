//! What a client may say, by the claims of its token.

use portcullis_envoy::peer::frame::Draft;
use serde_json::{Value, json};

use super::scene::{Case, bearer};

const OF_A_USER: [(&str, &str, &str); 13] = [
    ("in alice's own name", "echo", r#"{"type":"chat","user":"alice"}"#),
    ("in another's", REFUSED, r#"{"type":"chat","user":"bob"}"#),
    ("for admins", REFUSED, r#"{"type":"admin.del","user":"alice"}"#),
    ("for admins, the type in an array", REFUSED, r#"{"type":["admin.del"],"user":"alice"}"#),
    ("for admins, all of it in an array", REFUSED, r#"[{"type":"admin.del","user":"alice"}]"#),
    ("for admins, Type beside type", REFUSED, r#"{"type":"chat","Type":"admin.del","user":"alice"}"#),
    ("for admins, Type instead of type", REFUSED, r#"{"Type":"admin.del","user":"alice"}"#),
    ("for admins, type twice", "1008 json_refused", r#"{"type":"chat","type":"admin.del","user":"alice"}"#),
    ("without a type", REFUSED, r#"{"user":"alice"}"#),
    ("level 9", REFUSED, r#"{"type":"chat","user":"alice","level":9}"#),
    ("level 9.0", REFUSED, r#"{"type":"chat","user":"alice","level":9.0}"#),
    ("level 90e-1", REFUSED, r#"{"type":"chat","user":"alice","level":90e-1}"#),
    ("level 90", "echo", r#"{"type":"chat","user":"alice","level":90}"#),
];

const OF_AN_ADMIN: [(&str, &str, &str); 2] = [
    ("for admins", "echo", r#"{"type":"admin.del","user":"alice","level":9.0}"#),
    ("in another's name", REFUSED, r#"{"type":"admin.del","user":"bob"}"#),
];

const REFUSED: &str = "1008 not_authorized";

pub(super) fn routes() -> Vec<Value> {
    let rules = json!([
        {"when": {"/type": "*"}, "equals": {"/user": "sub"}},
        {"when": {"/type": "admin.*"}, "claims": {"role": ["admin"]}},
        {"when": {"/level": "9"}, "missing": "allow", "claims": {"role": ["admin"]}},
    ]);
    let messages = json!({"from_client": {"json": {}, "authorize": rules}});
    vec![json!({"match": {"path": PATH}, "policy": {"messages": messages}})]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(OF_A_USER.map(|(name, answer, text)| {
        Case::judged(format!("authorize: {name}"), answer, Draft::text(text), |scene| Ok(scene.upgrade_to(PATH)))
    }));
    cases.extend(OF_AN_ADMIN.map(|(name, answer, text)| {
        Case::judged(format!("authorize, an admin: {name}"), answer, Draft::text(text), |scene| {
            let token = scene.stage.keys.corp().claim("role", "admin").text()?;
            Ok(scene.stranger_to(PATH).header("Authorization", bearer(&token)))
        })
    }));
    cases
}

const PATH: &str = "/authorize";
