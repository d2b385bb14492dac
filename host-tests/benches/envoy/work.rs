//! What rules about content cost an Envoy for a message, and how many instructions of the module that is in the host of the tests:
//! what `portcullis_host_tests::work` says of the two.

use std::path::Path;
use std::time::Duration;

use portcullis_envoy::{Launch, Runner};
use portcullis_host_tests::frame::{self, TEXT};
use portcullis_host_tests::scenario::{Gate, RULE_SETS, policy_with};
use portcullis_host_tests::work::INSTRUCTIONS_PER_MILLISECOND;
use serde_json::{Value, json};

use crate::load::Backend;
use crate::{Outcome, cost, policy};

/// How long the messages are.
const LEN: usize = 65_536;

/// A policy's rules, and the units of a message that they let pass.
struct Row {
    name: &'static str,
    rules: Value,
    unit: &'static str,
    is_list: bool,
}

fn rows() -> Vec<Row> {
    let row = |name, rules, unit| Row { name, rules, unit, is_list: false };
    let list = |name, rules, unit| Row { name, rules, unit, is_list: true };
    let pattern = |regex: &str| json!({"deny_patterns": [{"name": "own", "regex": regex}]});
    let many = |schema: Value| json!({"json": {"schema": {"allOf": vec![schema; 4]}}});
    vec![
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
    ]
}

impl Row {
    fn message(&self) -> String {
        if self.is_list {
            let items = vec![self.unit; (LEN - 1) / (self.unit.len() + 1)];
            return format!("[{}]", items.join(","));
        }
        let unit = self.unit.repeat(LEN / self.unit.len());
        unit + &"a".repeat(LEN % self.unit.len())
    }
}

/// Measures so many rounds of each. Returns whether no row has fewer instructions in a millisecond than is said.
pub(crate) fn run(module: &Path, backend: &Backend, rounds: u64, span: Duration) -> Outcome<bool> {
    println!("{:<26} {:>8} {:>12} {:>8}", "", "ms", "instructions", "a µs");
    let launch = |rules: Value| Launch::new(module, policy(rules), backend.address()).backend(Runner::Process).start();
    let bare = launch(json!({"utf8": true}))?;
    let mut least = f64::MAX;
    for row in rows() {
        let message = row.message();
        let payload = message.as_bytes();
        let with = launch(row.rules.clone())?;
        // Other load on the machine only adds to it.
        let mut best = [f64::MAX; 2];
        for _ in 0..rounds {
            for (best, envoy) in best.iter_mut().zip([&bare, &with]) {
                *best = best.min(cost(envoy, backend, payload, span)?);
            }
        }
        let counted = instructions(&row.rules, payload).saturating_sub(instructions(&json!({"utf8": true}), payload));
        let micros = best[1] - best[0];
        let each = counted as f64 / micros;
        println!("{:<26} {:>8.3} {counted:>12} {each:>8.0}", row.name, micros / 1e3);
        least = least.min(each);
    }
    println!("at least {least:.0} instructions in a microsecond");
    Ok(least * 1e3 >= INSTRUCTIONS_PER_MILLISECOND as f64)
}

fn instructions(rules: &Value, payload: &[u8]) -> u64 {
    let mut gate = Gate::new(&policy_with(json!({"messages": {"from_client": rules}})));
    gate.allow_instructions(1_000 * INSTRUCTIONS_PER_MILLISECOND);
    let stream = gate.connect();
    let bytes = frame::client(TEXT, payload);
    gate.client(stream, &bytes);
    gate.client(stream, &bytes);
    let counted = gate.instructions();
    assert_eq!(gate.stream(stream).request.forwarded.len(), bytes.len() * 2, "it passes");
    counted
}
