//! YAML as Envoy reads it, which knows fewer numbers than YAML has and more words for true and false.
//!
//! ```text
//! 010, 0x10        8, 16
//! 0.5, 1e3, 1_000  texts, and so are whole numbers of more than 32 bits: protobuf reads them again where a field is a number,
//!                  and a Struct keeps them
//! yes, off         true, false
//! <<: *anchor      a member that is called so
//! ```

use serde_json::Value;

use crate::check::{Placed, Report};
use crate::deployment::{Kind, Plugin};
use crate::document::{Content, Node, Position, join};

/// What to do where Envoy makes a text of a number.
const STRING_VALUE: &str = "write the policy as JSON in a google.protobuf.StringValue: Envoy's YAML has no numbers with a fraction or of more than 32 bits";

/// The words for true and false of yaml-cpp, which may be written in small or capital letters, or begin with one of these.
const WORDS: [(&str, bool); 8] = [
    ("y", true),
    ("n", false),
    ("yes", true),
    ("no", false),
    ("true", true),
    ("false", false),
    ("on", true),
    ("off", false),
];

/// Whether a file is JSON, of which Envoy reads all numbers.
fn is_json(lines: &[&str]) -> bool {
    lines.iter().find(|line| !line.trim().is_empty()).is_some_and(|line| line.trim_start().starts_with('{'))
}

/// What Envoy reads at `node` of a file with these lines.
pub(crate) fn read(lines: &[&str], node: &Node) -> Node {
    if is_json(lines) { node.clone() } else { resolved(lines, node) }
}

fn resolved(lines: &[&str], node: &Node) -> Node {
    let content = match &node.content {
        Content::Scalar(value) => Content::Scalar(
            plain(lines, node.origin).and_then(|text| scalar(text, value)).unwrap_or_else(|| value.clone()),
        ),
        Content::List(items) => Content::List(items.iter().map(|item| resolved(lines, item)).collect()),
        Content::Map(members) => {
            Content::Map(members.iter().map(|(key, member)| (key.clone(), resolved(lines, member))).collect())
        }
    };
    Node { content, ..*node }
}

/// Judges a policy by what Envoy reads of it otherwise than other readers of YAML, where the filter cannot know.
pub(crate) fn judge(lines: &[&str], plugin: &Plugin<'_>, report: &mut Report) {
    if plugin.kind != Kind::Envoy || is_json(lines) {
        return;
    }
    for position in merges(lines) {
        let mut placed = Placed::new(position, "<<", "Envoy merges no keys: to it this is a member that is called so");
        placed.hint = Some("write the members out, or use an anchor for a whole value".to_owned());
        report.faults.push(placed);
    }
    let policy = plugin.policy.filter(|policy| policy.is_map());
    policy.into_iter().for_each(|policy| compare(policy, &read(lines, policy), "", false, report));
}

/// Warns of numbers that are texts to Envoy, where any value is allowed: `is_free`.
fn compare(written: &Node, read: &Node, path: &str, is_free: bool, report: &mut Report) {
    match (&written.content, &read.content) {
        (Content::Scalar(Value::Number(_)), Content::Scalar(Value::String(_))) if is_free => {
            let mut placed = Placed::new(written.position, path, "Envoy reads this number as a text");
            placed.hint = Some(STRING_VALUE.to_owned());
            report.warnings.push(placed);
        }
        _ => {}
    }
    for ((step, one), (_, other)) in written.children().into_iter().zip(read.children()) {
        let is_free = is_free || ["schema", "schemas", "require", "claims", "when"].contains(&step.as_str());
        compare(one, other, &join(path, &step), is_free, report);
    }
}

/// Where keys of these lines are merged, as Envoy does not.
fn merges(lines: &[&str]) -> Vec<Position> {
    let mut found = Vec::new();
    for (line, number) in lines.iter().zip(1..) {
        for (at, _) in line.match_indices("<<") {
            let (before, behind) = line.split_at(at);
            let is_key = behind.get(2..).is_some_and(|behind| behind.trim_start().starts_with(':'));
            let begins = before.trim_end().is_empty() || before.trim_end().ends_with(['{', ',', '-']);
            if is_key && begins {
                found.push(Position { line: number, column: (before.chars().count() as u64).saturating_add(1) });
            }
        }
    }
    found
}

/// The word that begins at a place, behind the name of an anchor, outside of a block.
fn plain<'a>(lines: &[&'a str], position: Position) -> Option<&'a str> {
    let index = |number: u64| usize::try_from(number.checked_sub(1)?).ok();
    let number = index(position.line)?;
    let line = lines.get(number)?;
    let sign = lines.get(..number)?.last().and_then(|before| before.split_whitespace().last());
    let (start, _) = line.char_indices().nth(index(position.column)?)?;
    if line.get(..start)?.trim().is_empty() && sign.is_some_and(|sign| sign.starts_with(['|', '>'])) {
        return None;
    }
    let ends = |letter: char| letter.is_whitespace() || matches!(letter, ',' | ']' | '}');
    line.get(start..)?.split(ends).find(|word| !word.is_empty() && !word.starts_with('&'))
}

/// What Envoy makes of a word that YAML reads as `value`; `None` where it is the same, or not all of it.
fn scalar(text: &str, value: &Value) -> Option<Value> {
    if value.as_str().is_some_and(|own| own != text) || value.is_null() || text.starts_with(['"', '\'', '!', '*']) {
        return None;
    }
    if let Some(word) = word(text) {
        return Some(Value::Bool(word));
    }
    if value.is_string() && !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-')) {
        return None;
    }
    Some(match integer(text) {
        Some(number) if i32::try_from(number).is_ok() => number.into(),
        Some(number) => number.to_string().into(),
        None => text.into(),
    })
}

fn word(text: &str) -> Option<bool> {
    let is_it = |word: &str| {
        let (first, rest) = word.split_at(1);
        [word.to_owned(), word.to_ascii_uppercase(), first.to_ascii_uppercase() + rest].iter().any(|form| form == text)
    };
    WORDS.into_iter().find(|(word, _)| is_it(word)).map(|(_, is_true)| is_true)
}

/// A whole number in base 10, 8 or 16, as a stream of C++ reads it.
fn integer(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (digits, base) = match unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if unsigned.len() > 1 && unsigned.starts_with('0') => (unsigned, 8),
        None => (unsigned, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    i64::from_str_radix(&[sign, digits].concat(), base).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::{Variables, check};
    use crate::document::documents;

    fn value(text: &str) -> Value {
        let lines: Vec<&str> = text.lines().collect();
        resolved(&lines, &documents(text).unwrap()[0]).value()
    }

    #[test]
    fn a_scalar_is_what_envoy_makes_of_it() {
        for (written, expected) in [
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("0", json!(0)),
            ("010", json!(8)),
            ("08", json!("08")),
            ("0x10", json!(16)),
            ("0o10", json!("0o10")),
            ("0.5", json!("0.5")),
            ("-1.5", json!("-1.5")),
            ("1.10", json!("1.10")),
            ("1e3", json!("1e3")),
            ("1_000", json!("1_000")),
            ("2147483647", json!(2_147_483_647)),
            ("2147483648", json!("2147483648")),
            ("9007199254740993", json!("9007199254740993")),
            ("99999999999999999999", json!("99999999999999999999")),
            ("true", json!(true)),
            ("Yes", json!(true)),
            ("off", json!(false)),
            ("n", json!(false)),
            ("nO", json!("nO")),
            ("'0.5'", json!("0.5")),
            ("'yes'", json!("yes")),
            ("yes and no", json!("yes and no")),
            ("~", json!(null)),
            ("5s", json!("5s")),
            ("2 apples", json!("2 apples")),
        ] {
            for text in [
                format!("a: {written}\n"),
                format!("{{b: 1, a: {written}}}"),
                format!("b: [0]\na: &x {written}  # it is\n"),
            ] {
                assert_eq!(value(&text)["a"], expected, "{text}");
            }
            assert_eq!(value(&format!("- {written}\n- 1\n"))[0], expected, "{written}");
        }
        assert_eq!(value("a: &x 0.5\nb: *x\n"), json!({"a": "0.5", "b": "0.5"}));
        assert_eq!(value("a: &x {c: 0.5, d: [on]}\nb: *x\n")["b"], json!({"c": "0.5", "d": [true]}));
        assert_eq!(value("a: &x '0.5'\nb: *x\n"), json!({"a": "0.5", "b": "0.5"}));
        assert_eq!(value("a: |\n  0.5\nb: >-\n  yes\n"), json!({"a": "0.5\n", "b": "yes"}));
    }

    #[test]
    fn a_number_that_is_a_text_to_envoy_is_a_warning_where_any_value_is_allowed() {
        let envoy = |policy: &str| {
            let policy: String = policy.lines().map(|line| format!("      {line}\n")).collect();
            let text = format!(
                "name: portcullis\nvm_config: {{code: {{local: {{filename: a}}}}}}\nconfiguration:\n  \"@type\": type.googleapis.com/google.protobuf.Struct\n  value:\n      origin: {{missing: allow}}\n      auth: {{required: false}}\n{policy}"
            );
            let report = check(&text, &Variables::default()).unwrap();
            [report.faults, report.warnings].map(|list| list.into_iter().map(|placed| placed.path).collect::<Vec<_>>())
        };
        let path = "messages.from_client.json.schema";
        let schema = |schema: &str| envoy(&format!("messages: {{from_client: {{json: {{schema: {schema}}}}}}}"));
        assert_eq!(schema("{const: 1.5}"), [vec![], vec![format!("{path}.const")]]);
        assert_eq!(
            schema("{enum: [1, 0.5, 1e3]}"),
            [vec![], vec![format!("{path}.enum[1]"), format!("{path}.enum[2]")]]
        );
        assert_eq!(schema("{enum: [1, '0.5']}"), [vec![], Vec::<String>::new()]);
        assert_eq!(envoy("liveness: {jitter: 0.2}"), [vec![], Vec::<String>::new()]);
        assert_eq!(
            envoy("limits: &l {connections: 5}\nroutes:\n- match: {path: /a}\n  policy: {limits: {<<: *l}}")[0],
            ["<<"]
        );
        // In JSON a number is one.
        let json = r#"{"name": "portcullis", "vm_config": {"code": {}}, "configuration": {"@type": "a/google.protobuf.Struct", "value": {"origin": {"missing": "allow"}, "auth": {"required": false}, "messages": {"from_client": {"json": {"schema": {"const": 1.5}}}}}}}"#;
        let report = check(json, &Variables::default()).unwrap();
        assert_eq!((report.faults, report.warnings), (vec![], vec![]));
    }

    #[test]
    fn merged_keys_are_found_where_they_are_keys() {
        let at = |text: &str| {
            merges(&text.lines().collect::<Vec<_>>()).iter().map(|at| (at.line, at.column)).collect::<Vec<_>>()
        };
        assert_eq!(at("a:\n  <<: *b\nc: {<<: *b, d: 1, << : *e}\n- <<: *f\n"), [(2, 3), (3, 5), (3, 19), (4, 3)]);
        assert_eq!(at("a: x << y\nb: \"<<: \"\n"), []);
    }
}
