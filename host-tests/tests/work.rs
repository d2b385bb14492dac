//! What the worst message costs that a search finds, for each kind of rule about what messages say, in instructions of the module: a
//! sender within its limits must not keep a worker from its other connections, whatever the policy.
//!
//! The search is hill climbing over a unit that is repeated: pieces of attacks, of patterns and of JSON are put in, taken out and
//! exchanged, and what costs more stays. It makes the same choices in each run. `PORTCULLIS_SEARCH` says how many changes are tried.

use std::env;

use portcullis_core::content::rule_sets::WORDS;
use portcullis_host_tests::frame::{self, TEXT};
use portcullis_host_tests::scenario::{Dice, Gate, RULE_SETS, policy_with};
use portcullis_host_tests::work::{Form, STRING_FORM, STRINGS_FORM, TEXT_FORM, WORST};
use serde_json::{Value, json};

/// The most instructions for 64 KiB, under every policy: Envoy needs 30 ms for them at most, says
/// `PORTCULLIS_BENCH_WORK=1 cargo bench -p portcullis-host-tests --bench envoy`.
const LONG_MAX: u64 = 540_000_000;

/// And for 512 bytes: half a millisecond.
const SHORT_MAX: u64 = 9_000_000;

const LONG_LEN: usize = 65_536;
const SHORT_LEN: usize = 512;

/// What shows that the cost is linear: an eighth of the long message.
const EIGHTH_LEN: usize = LONG_LEN / 8;

/// How long the messages of the search are: what costs much shows here already.
const SEARCH_LEN: usize = 2_048;

/// How many changes are tried for each policy.
const TRY_COUNT: usize = 80;

/// How many pieces are tried alone, of which the worst is what the search begins with.
const ALONE_COUNT: usize = 40;

/// The pieces that a unit is never longer than.
const PIECES_MAX: usize = 24;

const ITEMS_FORM: Form = Form { before: "[0", between: ",", after: "]" };
const NESTED_FORM: Form = Form { before: "{\"a\":\"[0", between: ",\\\"", after: "]\"}" };

/// The instructions for a message on a new connection, and for the same once more.
fn cost(gate: &mut Gate, message: &str) -> (u64, u64) {
    let stream = gate.connect();
    let bytes = frame::client(TEXT, message.as_bytes());
    gate.client(stream, &bytes);
    let first = gate.instructions();
    gate.client(stream, &bytes);
    let again = gate.instructions();
    gate.delete(stream).expect("it ends");
    (first, again)
}

/// The worst form and unit that are found.
fn worst<'p>(gate: &mut Gate, forms: &[Form], pieces: &[&'p str]) -> (Form, Vec<&'p str>) {
    let mut dice = Dice(1);
    let try_count = env::var("PORTCULLIS_SEARCH").map_or(TRY_COUNT, |count| count.parse().expect("a number"));
    let mut found = Vec::new();
    for form in forms {
        let mut cost = |unit: &[&str]| cost(gate, &form.message(unit, SEARCH_LEN)).0;
        let alone = pieces.iter().take(ALONE_COUNT).map(|piece| (cost(&[piece]), vec![*piece]));
        let (mut most, mut unit) = alone.max_by_key(|(cost, _)| *cost).expect("pieces");
        for _ in 0..try_count {
            let mut changed = unit.clone();
            let piece = pieces[dice.below(pieces.len())];
            let place = dice.below(changed.len());
            match dice.below(3) {
                0 if changed.len() > 1 => drop(changed.remove(place)),
                1 => changed[place] = piece,
                _ if changed.len() < PIECES_MAX => changed.insert(place, piece),
                _ => changed.truncate(PIECES_MAX / 2),
            }
            let cost = cost(&changed);
            if cost > most {
                (most, unit) = (cost, changed);
            }
        }
        found.push((most, *form, unit));
    }
    let (_, form, unit) = found.into_iter().max_by_key(|(cost, ..)| *cost).expect("forms");
    (form, unit)
}

/// What is wrong with the worst message for these rules.
fn faults(name: &str, rules: &Value, forms: &[Form], pieces: &[&str]) -> Option<String> {
    let mut gate = Gate::new(&policy_with(json!({"messages": {"from_client": rules}})));
    gate.allow_instructions(100 * LONG_MAX);
    let (form, unit) = worst(&mut gate, forms, pieces);
    let mut costs = |len| {
        let (first, again) = cost(&mut gate, &form.message(&unit, len));
        first.max(again)
    };
    verdict(&format!("{name}, {unit:?} in {:?}", form.before), [SHORT_LEN, EIGHTH_LEN, LONG_LEN].map(&mut costs))
}

/// What is wrong with these instructions for a short message, for 8 KiB, and for 64 KiB.
fn verdict(name: &str, [short, eighth, long]: [u64; 3]) -> Option<String> {
    let [of_short, of_eighth, of_long] = [short, eighth, long].map(|count| count as f64 / 1e6);
    let line = format!(
        "{of_short:5.2} million instructions for 512 bytes, {of_eighth:5.1} for 8 KiB, {of_long:5.1} for 64 KiB: {name}"
    );
    println!("{line}");
    // What a connection costs once is in both.
    let is_good = long <= LONG_MAX && short <= SHORT_MAX && long <= eighth * 9;
    (!is_good).then_some(line)
}

#[track_caller]
fn check<'a>(rows: impl IntoIterator<Item = (&'a str, Value)>, forms: &[Form], pieces: &[&str]) {
    let faults: Vec<_> = rows.into_iter().filter_map(|(name, rules)| faults(name, &rules, forms, pieces)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What begins many rules and ends few, and what is encoded.
const PIECES: [&str; 40] = [
    "'",
    "(",
    ";",
    "`",
    "$(",
    "<",
    "<a ",
    "on",
    "=",
    "../",
    "%2e",
    "{\"$",
    "&#x",
    "/*",
    "--",
    "|",
    " or ",
    "1=",
    "union ",
    "a",
    "A1 ",
    "é",
    "漢",
    "\u{e000}",
    "x",
    "\n",
    "select ",
    "\\u0027",
    "0",
    "%",
    "&lt",
    "\\",
    "\\\\",
    "{{",
    "javascript:",
    "{",
    "[",
    ".",
    " ",
    "$where",
];

/// What makes a string be seen more often.
const ESCAPES: [&str; 8] = ["\\b", "\\x27", "\\\\x27", "\\\"", "&#39;", "%27", "&amp;", "\\u0027"];

#[test]
fn each_rule_set_costs_little_for_every_text() {
    let rows = RULE_SETS.map(|set| (set, json!({"rule_sets": [set]})));
    check(rows, &[TEXT_FORM, STRINGS_FORM], &PIECES);
}

#[test]
fn all_rule_sets_together_cost_little_for_every_text() {
    let rows = [
        ("all rule sets", json!({"rule_sets": RULE_SETS})),
        ("all rule sets and JSON", json!({"rule_sets": RULE_SETS, "json": {}})),
    ];
    let pieces = [&PIECES[..], &ESCAPES, WORDS].concat();
    check(rows, &[TEXT_FORM, STRINGS_FORM, ITEMS_FORM, NESTED_FORM], &pieces);
    let mut gate = Gate::new(&policy_with(json!({"messages": {"from_client": {"rule_sets": RULE_SETS}}})));
    gate.allow_instructions(100 * LONG_MAX);
    let faults = WORST.iter().filter_map(|(form, unit)| {
        let costs = [SHORT_LEN, EIGHTH_LEN, LONG_LEN].map(|len| cost(&mut gate, &form.message(&[unit], len)).0);
        verdict(&format!("all rule sets, known: {unit:?}"), costs)
    });
    assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
}

fn patterns(regexes: &[String]) -> Value {
    let named = |(index, regex)| json!({"name": format!("own{index}"), "regex": regex});
    regexes.iter().enumerate().map(named).collect()
}

/// As many automata as a policy may have.
fn many_patterns() -> Value {
    let regexes: Vec<String> = (0..32)
        .map(|index: u8| format!("[a-{}]{{1,40}}{}x{{9}}q{index}", char::from(b'c' + index % 20), index % 7))
        .collect();
    patterns(&regexes)
}

#[test]
fn patterns_cost_little_for_every_text() {
    let pieces =
        ["p", "q", "z", "4", "4111 ", "-", "a", "é", "漢", "@", ".", "x1", " ", "word", "AKIA", "\"", "\\", "1.5e1"];
    let words: Vec<String> = (0..500_u32).map(|index| format!("w{}ord{index}", index * 7 % 10)).collect();
    let rows = [
        ("a chain", patterns(&["p.{0,200}z".to_owned()])),
        ("cards", patterns(&[r"\b(?:\d[ -]?){13,19}\b".to_owned()])),
        ("words", patterns(&[format!("(?i)\\b(?:{})\\b", words.join("|"))])),
        ("letters", patterns(&[r"\p{L}{10}\d\p{Lu}".to_owned(), r"[\p{L}\p{N}]+@\p{L}+\.\p{Ll}{2,5}9".to_owned()])),
        ("many", many_patterns()),
    ];
    let rows = rows.map(|(name, patterns)| (name, json!({"deny_patterns": patterns})));
    check(rows, &[TEXT_FORM, STRINGS_FORM, ITEMS_FORM], &pieces);
}

/// The same schema so often that its budget is used up.
fn many(schema: &Value) -> Value {
    let numbered = |index: u32| {
        let mut schema = schema.clone();
        schema["$comment"] = json!(index);
        schema
    };
    json!({"allOf": (0..400).map(numbered).collect::<Vec<_>>()})
}

const STRINGS: [&str; 9] = ["a", "é", "漢", "😀", "1", "(", "{a}", "/", "x."];

const ITEMS: [&str; 10] = [
    "1",
    "12345678901234567890.125",
    "\"a\"",
    "[1,2]",
    "{\"a\":1,\"b\":[2]}",
    "null",
    "1e300",
    "\"\\u00e9\"",
    "[[[[[]]]]]",
    "\"\\n\\n\\n\\n\"",
];

#[test]
fn schemas_cost_little_for_every_string() {
    let rows = [
        ("pattern", json!({"not": {"pattern": r"^\p{L}+\d\p{Lu}x"}})),
        ("format regex", json!({"anyOf": [{"format": "regex"}, true]})),
        ("format uri-template", json!({"anyOf": [{"format": "uri-template"}, true]})),
        ("format email", json!({"anyOf": [{"format": "email"}, true]})),
        ("format hostname", json!({"anyOf": [{"format": "hostname"}, true]})),
        ("lengths", json!({"minLength": 1, "maxLength": 1_000_000})),
    ];
    let rows = rows.map(|(name, schema)| (name, json!({"json": {"schema": many(&schema), "formats": "assert"}})));
    check(rows, &[STRING_FORM], &STRINGS);
}

#[test]
fn schemas_cost_little_for_every_value() {
    let rows = [
        ("types", json!({"items": {"type": ["integer", "string", "array", "object", "null", "number"]}})),
        ("numbers", json!({"items": {"minimum": -1, "maximum": 1e305, "multipleOf": 1e-9}})),
        ("unique", json!({"not": {"uniqueItems": true, "minItems": 1_000_000}})),
        ("enum", json!({"items": {"not": {"enum": ["b", 2, [1, 3], {"a": 1, "b": [3]}]}}})),
        ("unevaluated", json!({"unevaluatedItems": false, "anyOf": [{"items": true}]})),
        ("contains", json!({"contains": {"const": "b"}, "minContains": 0})),
        (
            "names",
            json!({"items": {"propertyNames": {"pattern": "^[a-z]"}, "patternProperties": {"^b": {"type": "array"}}}}),
        ),
    ];
    let rows = rows.map(|(name, schema)| (name, json!({"json": {"schema": many(&schema)}})));
    check(rows, &[ITEMS_FORM], &ITEMS);
}

#[test]
fn json_costs_little_for_every_value() {
    let rows =
        [("JSON", json!({"json": {}})), ("JSON, long", json!({"json": {"max_depth": 128, "max_keys": 1_000_000}}))];
    let pieces = [&ITEMS[..], &["[", "{\"a\":", "-", "0.", "e", "\"", "1e1", "\\u0000", " "]].concat();
    check(rows, &[TEXT_FORM, ITEMS_FORM, STRINGS_FORM], &pieces);
}

/// As many rules, pointers and searching globs as a policy may have, where everything is compared and nothing found.
fn authorize() -> Value {
    let rule = |index: usize| {
        let pointer = format!("/a{}", index % 31);
        json!({"when": {pointer: if index < 16 { format!("*x*{index}*") } else { format!("x*{index}") }}, "missing": "allow", "equals": {"/b": "sub"}})
    };
    (0..256).map(rule).collect()
}

#[test]
fn rules_of_who_may_say_what_cost_little_for_every_message() {
    let rules = json!({"json": {"max_keys": 1_000_000}, "authorize": authorize()});
    let long_values = |len: usize| {
        let members: Vec<_> = (0..32).map(|index| format!("\"a{index}\":\"{}\"", "x".repeat(len / 32 - 9))).collect();
        format!("{{{}}}", members.join(","))
    };
    let one_value = |len: usize| format!("{{\"a0\":\"{}\"}}", "x".repeat(len - 10));
    let many_names = |len: usize| {
        let members: Vec<_> = (0..len / 12).map(|index| format!("\"A{index:05}\":1,")).collect();
        format!("{{{}\"b\":1}}", members.concat())
    };
    let mut gate = Gate::new(&policy_with(json!({"messages": {"from_client": rules}})));
    gate.allow_instructions(100 * LONG_MAX);
    let mut cost = |message: String| cost(&mut gate, &message).0;
    let messages: [(&str, &dyn Fn(usize) -> String); 3] =
        [("long values", &long_values), ("one value", &one_value), ("many names", &many_names)];
    let faults = messages.into_iter().filter_map(|(name, message)| {
        let costs = [SHORT_LEN, EIGHTH_LEN, LONG_LEN].map(|len| cost(message(len)));
        verdict(&format!("authorize, {name}"), costs)
    });
    assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
}

/// What fills all places of a policy at once.
#[test]
fn everything_at_once_costs_little_for_every_message() {
    let everything = json!({
        "rule_sets": RULE_SETS,
        "deny_patterns": many_patterns(),
        "json": {"schema": {"items": {"pattern": "^[^0]*"}, "maxLength": 1_000_000}, "max_keys": 100_000},
        "tunnels": "refuse",
    });
    check([("everything", everything)], &[TEXT_FORM, STRINGS_FORM, ITEMS_FORM], &PIECES);
}
