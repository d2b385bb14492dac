//! What messages say, under rules of every kind: one verdict however a message comes, and no text that a rule does not see.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use portcullis_core::content::views::{self, Reader, VIEWS_MAX};
use portcullis_core::policy::routes::Policies;
use portcullis_core::testing::frame;
use portcullis_core::violation::Violation;
use portcullis_core::wire::Side;
use serde_json::{Value, json};

use crate::adapter;

thread_local! {
    static POLICIES: RefCell<BTreeMap<(u8, &'static str), Rc<Policies>>> = RefCell::default();
}

/// Bits of the first byte.
const JSON: u8 = 1;
const PATTERNS: u8 = 2;
const RULE_SETS: u8 = 4;
const AUTHORIZE: u8 = 8;
const TYPES: u8 = 16;
const ENVELOPE: u8 = 32 | 64;
/// Of the envelope: one of those that put several messages into one text, which the next byte says.
const RECORDS: u8 = 32;
const STRICT: u8 = 128;

/// What the pattern refuses.
const WORD: &str = "forbidden";

/// A byte of settings, and a message.
pub fn content(data: &[u8]) {
    let Some((settings, message)) = data.split_first() else { return };
    let (envelope, message) = match (settings & ENVELOPE, message.split_first()) {
        (RECORDS, Some((envelope, message))) => (OF_RECORDS[usize::from(envelope % 4)], message),
        (ENVELOPE, _) => ("socket.io", message),
        (0 | RECORDS, _) => ("json", message),
        _ => ("graphql-transport-ws", message),
    };
    let policies = policies(*settings, envelope);
    let verdict = judge(&policies, &frame(0x81, message), usize::MAX);
    assert_eq!(verdict, judge(&policies, &fragments(message), 7), "in fragments");
    if settings & ENVELOPE != ENVELOPE {
        assert_eq!(verdict, judge(&policies, &frame(0x82, message), 3), "as a binary message");
    }
    let Ok(text) = str::from_utf8(message) else {
        // A tunnel may show before.
        assert!(matches!(verdict, Some(Violation::InvalidUtf8 | Violation::TunnelRefused)), "{verdict:?}");
        return;
    };
    let tree: Option<Value> = serde_json::from_str(text).ok();
    if settings & PATTERNS != 0 {
        let is_read = settings & JSON != 0;
        assert_searched(text, tree.as_ref(), is_read, verdict);
        let end = if envelope == "signalr" { '\u{1e}' } else { '\n' };
        if is_read && matches!(envelope, "json_lines" | "signalr") {
            for record in text.split(end) {
                assert_searched(text, serde_json::from_str(record).ok().as_ref(), is_read, verdict);
            }
        }
    }
    if verdict.is_none() && settings & (JSON | ENVELOPE) == JSON && !text.contains("\\u") {
        let tree = tree.expect("JSON for others, too");
        if settings & AUTHORIZE != 0 {
            assert_not_about_admins(&tree);
        }
    }
    assert_views(text);
}

/// The envelopes that put several messages into one text.
const OF_RECORDS: [&str; 4] = ["json_lines", "signalr", "sockjs", "stomp"];

fn policies(settings: u8, envelope: &'static str) -> Rc<Policies> {
    let build = || {
        let has = |bit: u8| settings & bit != 0;
        let mut rules = json!({"max_fragments": 100_000, "envelope": envelope, "binary": "text"});
        if settings & ENVELOPE == ENVELOPE {
            rules["binary"] = json!("allow");
        }
        if has(JSON) {
            rules["json"] = json!({"max_depth": 8, "surrogates": if has(STRICT) { "refuse" } else { "allow" }});
            if has(TYPES) {
                rules["json"]["discriminator"] = json!("/type");
                rules["json"]["schemas"] = json!({"chat": chat(), "admin.del": true, "": {"maxProperties": 3}});
                rules["json"]["otherwise"] = json!(if has(STRICT) { "refuse" } else { "allow" });
            } else if has(STRICT) {
                rules["json"]["schema"] = json!({"anyOf": [chat(), {"type": ["object", "array"], "maxItems": 5}]});
            }
            if has(AUTHORIZE) {
                rules["authorize"] = json!([
                    {"when": {"/type": "admin.*"}, "claims": {"role": "admin"}},
                    {"when": {"/type": "9"}, "equals": {"/user/id": "sub"}},
                ]);
            }
        }
        if has(PATTERNS) {
            rules["deny_patterns"] =
                json!([{"name": "word", "regex": WORD}, {"name": "card", "regex": "^4[0-9]{15}$"}]);
        }
        if has(RULE_SETS) {
            rules["rule_sets"] = json!(["sql_injection", "cross_site_scripting", "nosql_injection", "path_traversal"]);
        }
        Rc::new(adapter::policies(&json!({
            "require_tls": false,
            "origin": {"allow": ["*"]},
            "auth": {"required": false},
            "messages": {"from_client": rules},
            "limits": {"per_connection": null},
        })))
    };
    POLICIES.with(|policies| Rc::clone(policies.borrow_mut().entry((settings, envelope)).or_insert_with(build)))
}

fn chat() -> Value {
    json!({
        "type": "object", "required": ["type"],
        "properties": {"text": {"type": "string", "maxLength": 20, "pattern": "^[a-z \"]*$"}, "at": {"format": "date-time"}},
        "unevaluatedProperties": {"type": ["number", "string", "object"]},
    })
}

/// The first violation in `bytes`, which come in pieces of `len`.
fn judge(policies: &Policies, bytes: &[u8], len: usize) -> Option<Violation> {
    let mut session = adapter::session(policies);
    bytes.chunks(len.min(bytes.len()).max(1)).find_map(|chunk| adapter::receive(&mut session, Side::Client, chunk).1)
}

/// Frames of one byte each.
fn fragments(payload: &[u8]) -> Vec<u8> {
    let Some((last, before)) = payload.split_last() else { return frame(0x81, &[]) };
    let opcode = |index: usize| u8::from(index == 0);
    let mut frames: Vec<u8> =
        before.iter().enumerate().flat_map(|(index, byte)| frame(opcode(index), &[*byte])).collect();
    frames.extend(frame(0x80 | opcode(before.len()), &[*last]));
    frames
}

/// No reader of JSON finds the word in a message that passes, and no reader of texts where the filter is none of JSON.
fn assert_searched(text: &str, tree: Option<&Value>, is_read: bool, verdict: Option<Violation>) {
    let is_said = match tree {
        Some(tree) => says(tree),
        None => !is_read && text.contains(WORD),
    };
    assert!(!is_said || verdict.is_some(), "{text:?} passes");
}

/// Whether a string or name has the word; a string may be JSON, two levels deep.
fn says(tree: &Value) -> bool {
    fn in_levels(tree: &Value, levels: u8) -> bool {
        match tree {
            Value::Array(items) => items.iter().any(|item| in_levels(item, levels)),
            Value::Object(members) => {
                members.iter().any(|(name, value)| name.contains(WORD) || in_levels(value, levels))
            }
            Value::String(text) => {
                let inside = || serde_json::from_str(text).is_ok_and(|tree| in_levels(&tree, levels - 1));
                text.contains(WORD) || (levels > 0 && inside())
            }
            Value::Bool(_) | Value::Null | Value::Number(_) => false,
        }
    }
    in_levels(tree, 2)
}

/// Nobody here has a claim, so no rule of `authorize` may be about what passes.
fn assert_not_about_admins(tree: &Value) {
    let members = tree.as_object().expect("a message with a type");
    let names: Vec<&String> = members.keys().filter(|name| name.eq_ignore_ascii_case("type")).collect();
    assert_eq!(names, ["type"]);
    match &members["type"] {
        Value::String(kind) => assert!(!kind.starts_with("admin.") && kind != "9"),
        Value::Number(number) => assert!(number.as_f64() != Some(9.0)),
        Value::Bool(_) | Value::Null => {}
        other => panic!("{other} matches every glob"),
    }
}

/// What is shown of a message is bounded.
fn assert_views(text: &str) {
    let mut len = 0;
    views::any(text, Reader::Unknown, &mut |view| {
        len += view.text().len();
        false
    });
    assert!(len <= text.len() * VIEWS_MAX, "{len} of {}", text.len());
}
