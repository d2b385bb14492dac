//! What rules about content cost an Envoy for a message, and how many instructions of the module that is in the host of the tests, which
//! `host-tests/tests/work.rs` has a bound for.

use std::path::Path;
use std::time::Duration;

use portcullis_envoy::{Launch, Runner};
use portcullis_host_tests::frame::{self, TEXT};
use portcullis_host_tests::scenario::{Gate, RULE_SETS, policy_with};
use portcullis_host_tests::work::WORST;
use serde_json::{Value, json};

use crate::load::Backend;
use crate::{Outcome, cost, policy};

/// How long the messages are.
const LEN: usize = 65_536;

/// The most CPU time that one may need, as README says.
const MILLIS_MAX: f64 = 30.0;

/// A policy's rules, and a message that they let pass.
struct Row {
    name: String,
    rules: Value,
    message: String,
}

fn rows() -> Vec<Row> {
    let row = |name: &str, rules, unit: &str| {
        let message = unit.repeat(LEN / unit.len()) + &"a".repeat(LEN % unit.len());
        Row { name: name.to_owned(), rules, message }
    };
    let list = |name: &str, rules, unit: &str| {
        let message = format!("[{}]", vec![unit; (LEN - 1) / (unit.len() + 1)].join(","));
        Row { name: name.to_owned(), rules, message }
    };
    // What would be refused is monitored, so that it can be sent again.
    let worst = WORST.iter().map(|(form, unit)| Row {
        name: format!("rule sets, {}", unit.escape_debug().take(14).collect::<String>()),
        rules: json!({"rule_sets": RULE_SETS, "mode": "monitor"}),
        message: form.message(&[unit], LEN),
    });
    let pattern = |regex: &str| json!({"deny_patterns": [{"name": "own", "regex": regex}]});
    let many = |schema: Value| json!({"json": {"schema": {"allOf": vec![schema; 4]}}});
    let named = [
        row(
            "rule sets, prose",
            json!({"rule_sets": RULE_SETS}),
            "Nothing of what was said there can be read as an attack. ",
        ),
        row("rule sets, signs", json!({"rule_sets": RULE_SETS}), "a(b)c=[d]{e}f+g*h-i;j:k,l.m?n!o&p_q@r "),
        row("rule sets, encodings", json!({"rule_sets": RULE_SETS}), "%41%42%43 &#x41; \\u0041 "),
        list("rule sets, marks", json!({"rule_sets": RULE_SETS}), "\"union %2e;1=`{{<a {`\\\" and so on, and so on\""),
        list("rule sets, short strings", json!({"rule_sets": RULE_SETS}), "\"a\""),
        list(
            "rule sets, words",
            json!({"rule_sets": RULE_SETS}),
            "\"xor or &#39;0x2e$(cat {\\\\x27 and so on, and so on\"",
        ),
        row("a pattern, prose", pattern(r"\b(?:\d[ -]?){13,19}\b"), "Nothing of what was said there is a number. "),
        row("a pattern, digits", pattern(r"\b(?:\d[ -]?){13,19}\b"), "4111 1111 a "),
        row("a pattern, letters", pattern(r"\p{L}{10}\d\p{Lu}"), "Ünïcödé 漢字 😀 "),
        list("JSON, numbers", json!({"json": {}}), "12345678901234567890.125"),
        list("JSON, strings", json!({"json": {}}), "\"\\u00e9\\n\""),
        list("JSON, lists", json!({"json": {}}), "[[],[]]"),
        list("a schema, types", many(json!({"items": {"type": ["integer", "array", "string"]}})), "\"a\""),
        list("a schema, numbers", many(json!({"items": {"minimum": -1}})), "12.5"),
        list("a schema, patterns", many(json!({"items": {"pattern": "^[a-z]+$"}})), "\"abcdefghijklmnop\""),
        list("a schema, uniqueness", json!({"json": {"schema": {"items": {"uniqueItems": true}}}}), "[1,2,\"a\",4]"),
    ];
    worst.chain(named).collect()
}

/// Measures so many rounds of each. Returns whether none needs more than [`MILLIS_MAX`].
pub(crate) fn run(module: &Path, backend: &Backend, rounds: u64, span: Duration) -> Outcome<bool> {
    println!("{:<26} {:>8} {:>12} {:>8}", "", "ms", "instructions", "a µs");
    let launch = |rules: Value| Launch::new(module, policy(rules), backend.address()).backend(Runner::Process).start();
    let bare = launch(json!({"utf8": true}))?;
    let mut most = 0.0_f64;
    for row in rows() {
        let payload = row.message.as_bytes();
        let with = launch(row.rules.clone())?;
        // Other load on the machine only adds to it.
        let mut best = [f64::MAX; 2];
        for _ in 0..rounds {
            for (best, envoy) in best.iter_mut().zip([&bare, &with]) {
                *best = best.min(cost(envoy, backend, payload, span)?);
            }
        }
        let counted = instructions(&row.rules, payload).saturating_sub(instructions(&json!({"utf8": true}), payload));
        let millis = (best[1] - best[0]) / 1e3;
        let rate = counted as f64 / millis / 1e3;
        println!("{:<26} {millis:>8.3} {counted:>12} {rate:>8.0}", row.name);
        most = most.max(millis);
    }
    println!("at most {most:.1} ms, of {MILLIS_MAX}");
    Ok(most <= MILLIS_MAX)
}

fn instructions(rules: &Value, payload: &[u8]) -> u64 {
    let mut gate = Gate::new(&policy_with(json!({"messages": {"from_client": rules}})));
    gate.allow_instructions(u64::MAX);
    let stream = gate.connect();
    let bytes = frame::client(TEXT, payload);
    gate.client(stream, &bytes);
    gate.client(stream, &bytes);
    let counted = gate.instructions();
    assert_eq!(gate.stream(stream).request.forwarded.len(), bytes.len() * 2, "it passes");
    counted
}
