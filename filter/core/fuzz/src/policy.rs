//! Configurations: everything or nothing, and the same in either form.

use portcullis_core::config::{self, ConfigError, Parsed};
use portcullis_core::handshake::{Decision, Request};
use portcullis_core::json;
use portcullis_core::message::Binary;
use portcullis_core::policy::SideRules;
use portcullis_core::testing;
use portcullis_core::token::rules::ClaimHeader;
use serde_json::{Map, Value};

use crate::adapter;

/// What the only variable of the environment, `SECRET`, is: it must never be seen.
const SECRET: &str = "canary-0123456789-canary-0123456789-canary-0123456789-canary-012345";

/// A value in a place where none belongs: no error may repeat it.
const PLANTED: &str = "planted-in-the-wrong-place";

/// How many values of one configuration are replaced by it.
const PLANTED_COUNT_MAX: usize = 48;

/// A configuration, as JSON or as `google.protobuf.Struct`.
pub fn policy(data: &[u8]) {
    let result = parse(data);
    assert_same(&result, &parse(data));
    let shown = match &result {
        Ok(parsed) => format!("{parsed:?}"),
        Err(error) => format!("{error:?} {error}"),
    };
    assert!(!shown.contains("canary"), "a secret is shown");
    match &result {
        Ok(parsed) => assert_holds(parsed),
        Err(error) => assert!(!error.faults().is_empty(), "refused without a fault"),
    }

    if let Ok(tree) = json::parse(data)
        && !tree.to_string().contains(PLANTED)
    {
        let mut index = 0;
        while index < PLANTED_COUNT_MAX {
            let mut changed = tree.clone();
            if plant(&mut changed, &mut { index }).is_none() {
                break;
            }
            let told = match parse(changed.to_string().as_bytes()) {
                Ok(parsed) => parsed.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                Err(error) => error.faults().iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            };
            assert!(!told.contains(PLANTED), "a value is repeated: {told}");
            index += 1;
        }
    }

    // JSON is read as JSON: an object in its other form means the same.
    if let Ok(Value::Object(tree)) = json::parse(data)
        && let Some(tree) = doubles(Value::Object(tree))
    {
        let Value::Object(members) = &tree else { unreachable!("an object stays one") };
        let text = parse(tree.to_string().as_bytes());
        let encoded = encode(members);
        // A float may change by its last bit when it is written and read, and what a problem says of it with it.
        let is_same_tree = json::parse(tree.to_string().as_bytes()).is_ok_and(|read| read == tree);
        if json::parse(&encoded).is_err() && is_same_tree {
            assert_same(&text, &parse(&encoded));
        }
    }
}

/// Puts [`PLANTED`] in the place of the scalar with this index; `None` when there are fewer.
fn plant(tree: &mut Value, index: &mut usize) -> Option<()> {
    match tree {
        Value::Array(items) => items.iter_mut().find_map(|item| plant(item, index)),
        Value::Object(members) => members.values_mut().find_map(|member| plant(member, index)),
        scalar if *index == 0 => {
            *scalar = PLANTED.into();
            Some(())
        }
        _ => {
            *index -= 1;
            None
        }
    }
}

fn parse(data: &[u8]) -> Result<Parsed, ConfigError> {
    config::parse(data, &|name| (name == "SECRET").then(|| SECRET.to_owned()))
}

#[track_caller]
fn assert_same(one: &Result<Parsed, ConfigError>, other: &Result<Parsed, ConfigError>) {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
            assert_eq!(behaviour(one), behaviour(other));
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        (one, other) => panic!("{one:?} and {other:?}"),
    }
}

/// What an accepted policy never is.
fn assert_holds(parsed: &Parsed) {
    for policy in parsed.policies.all() {
        assert!(!policy.auth.required || !(policy.auth.providers.is_empty() || policy.auth.sources.is_empty()));
        assert!(!policy.auth.providers.is_empty() || policy.auth.sources.is_empty());
        for SideRules { rules, .. } in policy.messages.iter() {
            assert!(rules.text || rules.binary != Binary::Refuse);
            assert!(rules.frame_len_max > 0 && rules.message_len_max > 0 && rules.fragments_max > 0);
        }
        for ClaimHeader { name, .. } in &policy.auth.claim_headers {
            assert!(!name.contains('_') && *name == name.to_ascii_lowercase() && !name.starts_with("sec-websocket-"));
            assert!(!matches!(
                name.as_str(),
                "host" | "connection" | "upgrade" | "origin" | "cookie" | "authorization"
            ));
        }
    }
}

/// What the policies decide about an upgrade on each of some paths.
fn behaviour(parsed: &Parsed) -> Vec<String> {
    let decide = |path: &'static str| {
        let mut fields = testing::upgrade();
        fields.retain(|(name, _)| *name != ":path");
        fields.extend([(":path", path), ("sec-websocket-protocol", "chat.v1"), ("origin", "https://app.example.com")]);
        let request = Request { tls: true, ..testing::request(adapter::headers(&fields)) };
        let opening = adapter::check(&parsed.policies, &request);
        let decision = match opening.decision {
            Decision::Admit => "admit".to_owned(),
            Decision::Answer(reply) => reply.details,
            Decision::Pass => "pass".to_owned(),
            Decision::Read(_) => "read".to_owned(),
            Decision::Refuse(refusal) => refusal.violation.reason().to_owned(),
            Decision::Upgrade(_) => "upgrade".to_owned(),
        };
        format!("{decision} {:?} {:?}", opening.would_refuse, opening.edits)
    };
    ["/", "/chat", "/admin"].map(decide).to_vec()
}

/// The tree with its numbers as a `Struct` gives them: whole ones as integers. `None` where a double loses digits.
fn doubles(tree: Value) -> Option<Value> {
    Some(match tree {
        Value::Number(number) => {
            let double = number.as_f64()?;
            let is_whole = double.fract() == 0.0 && double.abs() <= 9_007_199_254_740_992.0;
            if number.is_f64() && !is_whole {
                Value::Number(number)
            } else if is_whole {
                Value::from(double as i64)
            } else {
                return None;
            }
        }
        Value::Array(items) => Value::Array(items.into_iter().map(doubles).collect::<Option<_>>()?),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| Some((name, doubles(value)?)));
            Value::Object(members.collect::<Option<Map<_, _>>>()?)
        }
        other => other,
    })
}

/// The `Struct` of some members (protobuf encoding).
fn encode(members: &Map<String, Value>) -> Vec<u8> {
    let entry = |(name, value): (&String, &Value)| {
        delimited(1, &[delimited(1, name.as_bytes()), delimited(2, &encode_value(value))].concat())
    };
    members.iter().flat_map(entry).collect()
}

fn encode_value(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![0x08, 0],
        Value::Number(number) => [&[0x11][..], &number.as_f64().expect("a double").to_le_bytes()].concat(),
        Value::String(text) => delimited(3, text.as_bytes()),
        Value::Bool(bit) => vec![0x20, u8::from(*bit)],
        Value::Object(members) => delimited(5, &encode(members)),
        Value::Array(items) => {
            delimited(6, &items.iter().flat_map(|item| delimited(1, &encode_value(item))).collect::<Vec<_>>())
        }
    }
}

fn delimited(field: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 2];
    let mut len = content.len();
    while len >= 0x80 {
        bytes.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend(content);
    bytes
}
