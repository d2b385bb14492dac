//! The built-in rule sets: attacks, and honest messages that look like them.

use portcullis_envoy::peer::frame::Draft;
use serde_json::{Value, json};

use super::scene::Case;

const ATTACKS: [&str; 10] = [
    "'; DROP TABLE users--",
    "\"'; DROP TABLE users--",
    "say \"hi\" '; DROP TABLE users--",
    "x\"' or 1=1--",
    r#"{"text":"\u003cscript>alert(1)</script>"}"#,
    "$(cat /etc/passwd)",
    "../../../../etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    r#"{"user":"admin","password":{"$ne":null}}"#,
    r#"{"__proto__":{"admin":true}}"#,
];

const HONEST: [&str; 6] = [
    "say \"hi\" to Ann & Bob, it's five o'clock -- or so",
    "don't; won't; can't -- \"that's all\" she said, 'or else'",
    "SELECT is a keyword in SQL; so are UNION and DROP. \"Really?\" 'Yes.'",
    "if (a < b && c > d) { return \"ok\"; } else { return 'no'; }",
    "the passwd file in /etc holds users, /etc/passwd to be exact",
    "What does __proto__ do in JavaScript?",
];

pub(super) fn routes() -> Vec<Value> {
    let sets = [
        "sql_injection",
        "cross_site_scripting",
        "command_injection",
        "path_traversal",
        "nosql_injection",
        "prototype_pollution",
    ];
    vec![json!({"match": {"path": "/rules"}, "policy": {"messages": {"from_client": {"rule_sets": sets}}}})]
}

pub(super) fn cases() -> Vec<Case> {
    let case = |answer: &'static str| {
        move |text: &'static str| {
            // As much as a row has room for.
            let name = format!("rule sets: {text:.39}");
            Case::judged(name, answer, Draft::text(text), |scene| Ok(scene.upgrade_to("/rules")))
        }
    };
    ATTACKS.into_iter().map(case("1008 pattern_refused")).chain(HONEST.into_iter().map(case("echo"))).collect()
}
