//! What the documents say is what the code does: every block of YAML is taken by the parser of policies, every key, reason, metric and
//! member of a log line that is named exists, and links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis_core::config::{self, Parsed};
use portcullis_core::content::rule_sets::RuleSet;
use portcullis_core::violation::Violation;
use portcullis_host_tests::scenario::{Gate, policy_with, upgrade};
use serde_json::{Value, json};

const DOCUMENTS: [&str; 9] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "envoy/COMPATIBILITY.md",
    "envoy/OPERATIONS.md",
    "filter/DESIGN.md",
    "filter/POLICY.md",
    "host-tests/conformance/autobahn.md",
];

/// Those that say what an operator may write. CHANGELOG also tells of keys as they were.
const MANUALS: [&str; 5] = ["README.md", "SECURITY.md", "envoy/OPERATIONS.md", "filter/DESIGN.md", "filter/POLICY.md"];

const OPERATIONS: &str = "envoy/OPERATIONS.md";
const POLICY: &str = "filter/POLICY.md";

/// Ten minutes of a newcomer's time.
const README_LINE_COUNT_MAX: usize = 150;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of code of a document, each with its language.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'))
}

/// The spans of code in the prose of a document.
fn spans(text: &str) -> Vec<String> {
    let prose = text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n");
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The YAML block of a document that begins with `start`.
fn block(document: &str, start: &str) -> Value {
    let text = read(document);
    let (_, block) = blocks(&text).find(|(_, block)| block.starts_with(start)).expect("the block");
    yaml(block)
}

fn try_parse(policy: &Value) -> Result<Parsed, String> {
    let variable = |_: &str| Some("x".repeat(64));
    config::parse(policy.to_string().as_bytes(), &variable).map_err(|error| error.to_string())
}

#[track_caller]
fn parse(policy: &Value) -> Parsed {
    try_parse(policy).unwrap_or_else(|error| panic!("{error}: {policy}"))
}

/// The policy that a block of YAML is, or is a part of; `None` where it is none.
fn policy_in(block: &Value) -> Option<Value> {
    let first = block.as_object()?.keys().next()?.as_str();
    let has = |key: &str| block.get(key).is_some();
    match first {
        _ if has("access_log")
            || has("clusters")
            || has("descriptors")
            || has("listener_filters")
            || has("use_remote_address") =>
        {
            None
        }
        _ if has("http_filters") => block.pointer("/http_filters/0/typed_config/config/configuration/value").cloned(),
        _ if has("pluginConfig") || has("spec") => block.pointer("/spec/pluginConfig").cloned(),
        _ if has("mode") => Some(block.clone()),
        _ if has("routes") || has("auth") => Some(policy_with(block.clone())),
        "authorize" => {
            Some(policy_with(json!({"messages": {"from_client": {"json": {}, "authorize": block["authorize"]}}})))
        }
        _ => Some(policy_with(json!({"messages": {"from_client": block}}))),
    }
}

#[test]
fn every_block_that_shows_a_policy_is_accepted() {
    let mut count = 0;
    for document in MANUALS {
        let text = read(document);
        for (language, text) in blocks(&text) {
            assert!(
                ["", "console", "json", "sh", "text", "yaml"].contains(&language),
                "{document}: a block of {language}"
            );
            if language == "yaml" {
                let shown = yaml(text);
                count += usize::from(policy_in(&shown).map(|policy| parse(&policy)).is_some());
            }
        }
    }
    assert_eq!(
        count, 9,
        "the filter and the plugin in README; the defaults, routes, modes, opaque credentials, json, authorize and exceptions in {POLICY}"
    );
}

#[test]
fn the_policy_that_shows_every_key_equals_the_defaults() {
    let documented = block(POLICY, "# revision");
    let provider = &documented["auth"]["providers"][0];
    let required =
        ["name", "issuer", "audiences", "algorithms", "jwks"].map(|key| (key.to_owned(), provider[key].clone()));
    let shortest = json!({"auth": {"providers": [Value::Object(required.into_iter().collect())]}});
    assert_eq!(format!("{:?}", parse(&documented).policies), format!("{:?}", parse(&shortest).policies));
}

#[test]
fn the_json_that_shows_every_key_equals_the_defaults() {
    let documented = block(POLICY, "json:");
    let side = |json: Value| parse(&policy_with(json!({"messages": {"from_client": {"json": json}}}))).policies;
    let shortest =
        json!({"discriminator": documented["json"]["discriminator"], "schemas": documented["json"]["schemas"]});
    assert_eq!(format!("{:?}", side(documented["json"].clone())), format!("{:?}", side(shortest)));
}

/// The policy in which `value` stands at a path such as `auth.providers[0].jwks`; `<side>` is one of the two.
fn at_path(path: &str, value: Value) -> Value {
    path.replace("<side>", "from_client").split('.').rev().fold(value, |value, step| match step.strip_suffix("[0]") {
        Some(name) => json!({name: [value]}),
        None => json!({step: value}),
    })
}

/// The top-level keys of a policy, as the parser names them.
fn top_level() -> BTreeSet<String> {
    let error = try_parse(&json!({"no_such_key": 1})).expect_err("an unknown key");
    let (_, names) = error.split_once("expected one of ").expect("the known ones");
    names.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_that_is_named_by_its_path_exists() {
    let top_level = top_level();
    for document in MANUALS {
        for span in spans(&read(document)) {
            let (path, value) =
                span.split_once(": ").map_or((span.as_str(), None), |(path, value)| (path, Some(value)));
            let is_path = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.[]<>".contains(&byte));
            let first = path.split(['.', '[']).next().unwrap_or_default();
            if !is_path || !top_level.contains(first) {
                continue;
            }
            let value = value.map_or(Value::Null, yaml);
            // What else is missing or wrong in such a policy is not what this asks.
            let error = try_parse(&at_path(path, value)).err().unwrap_or_default();
            assert!(!error.contains("unknown field") && !error.contains("expected"), "{document}: `{span}`: {error}");
        }
    }
}

#[test]
fn the_shipped_policy_is_accepted_without_a_warning() {
    let resources = yaml(&read("envoy/config/portcullis.yaml"));
    let policy = resources.pointer("/resources/0/typed_config/config/configuration/value").and_then(Value::as_str);
    let parsed = parse(&serde_json::from_str(policy.expect("a policy")).expect("JSON"));
    assert_eq!(parsed.warnings, []);
}

#[test]
fn the_table_of_answers_is_that_of_the_code() {
    let text = read(POLICY);
    let (_, table) = text.split_once("\n| reason | answer | when |\n").expect("the table");
    let rows: Vec<&str> = table.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), Violation::ALL.len());
    for violation in Violation::ALL {
        let answer = violation.answer();
        let codes: Vec<String> =
            [answer.status, answer.close_code].into_iter().flatten().map(|code| code.to_string()).collect();
        let codes = if codes.is_empty() { "the upstream's own".to_owned() } else { codes.join(", ") };
        let start = format!("| `{}` | {codes} | ", answer.reason);
        assert!(rows.iter().any(|row| row.starts_with(&start)), "no row {start}");
    }
}

#[test]
fn readme_is_short_and_what_it_shows_refused_is_refused_so() {
    let readme = read("README.md");
    let count = readme.lines().count();
    assert!(count <= README_LINE_COUNT_MAX, "{count} lines of at most {README_LINE_COUNT_MAX}");

    let (_, shown) = blocks(&readme).find(|(language, _)| *language == "console").expect("something refused");
    let body = shown.lines().last().expect("a body");
    let reason = serde_json::from_str::<Value>(body).expect("JSON")["error"].clone();
    let violation = Violation::ALL.into_iter().find(|violation| violation.reason() == reason).expect("a reason");
    let status = violation.answer().status.expect("a status");
    assert!(shown.contains(&format!("\nHTTP/1.1 {status} ")), "{shown}");
    assert!(shown.contains(&format!("\ncontent-length: {}\n", body.len())), "{shown}");
}

#[test]
fn the_rules_of_each_set_are_those_of_the_code() {
    let text = read(POLICY);
    let (_, table) = text.split_once("\n| set | rules |\n").expect("the table");
    let rows: Vec<Vec<String>> = table.lines().skip(1).take_while(|line| line.starts_with('|')).map(spans).collect();
    let documented: BTreeSet<String> =
        rows.iter().flat_map(|row| row[1..].iter().map(|rule| format!("{}.{rule}", row[0]))).collect();
    let known = RuleSet::ALL.iter().flat_map(|set| set.names()).map(|name| (*name).to_owned());
    assert_eq!(documented, known.collect());
    assert_eq!(rows.len(), RuleSet::ALL.len());
}

/// The names of the code spans in the first column of the table that begins with `head`.
fn first_column(document: &str, head: &str) -> BTreeSet<String> {
    let text = read(document);
    let (_, table) = text.split_once(head).expect(head);
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| spans(row.replace("\\|", "/").split('|').nth(1).expect("a column"))).collect()
}

#[test]
fn every_metric_is_in_the_operators_guide() {
    let pattern = [("name", json!("card")), ("regex", json!("4[0-9]{15}"))].map(|(key, value)| (key.to_owned(), value));
    let patterns = json!([Value::Object(pattern.into_iter().collect())]);
    let gate = Gate::new(&policy_with(json!({"messages": {"from_client": {"deny_patterns": patterns}}})));
    let reasons = || Violation::ALL.iter().map(|violation| violation.reason());
    let named = |name: &String| match name.split_once('<') {
        None => vec![name.clone()],
        Some((family, "name>")) => vec![format!("{family}card")],
        Some((family, labels)) => {
            let (labels, rest) = labels.split_once('>').expect("its end");
            let each =
                labels.split('/').flat_map(|label| if label == "reason" { reasons().collect() } else { vec![label] });
            each.flat_map(|label| match rest.split_once('<') {
                Some((middle, labels)) => {
                    let labels = labels.trim_end_matches('>').split('/');
                    labels.map(|last| format!("{family}{label}{middle}{last}")).collect()
                }
                None => vec![format!("{family}{label}")],
            })
            .collect()
        }
    };
    let documented: BTreeSet<String> = first_column(OPERATIONS, "\n| metric |").iter().flat_map(named).collect();
    let defined: BTreeSet<String> = gate.definitions().iter().cloned().collect();
    assert_eq!(documented, defined);
}

#[test]
fn every_member_of_a_log_line_is_in_the_operators_guide() {
    let mut gate = Gate::new(&policy_with(json!({})));
    gate.request(&upgrade().without("authorization"));
    let stream = gate.connect();
    gate.delete(stream).unwrap();
    let documented = first_column(OPERATIONS, "\n| member |");
    let lines = gate.logs().iter().filter_map(|log| serde_json::from_str::<Value>(&log.text).ok());
    let members: BTreeSet<String> =
        lines.flat_map(|line| line.as_object().expect("members").keys().cloned().collect::<Vec<_>>()).collect();
    let unknown: Vec<&String> = members.difference(&documented).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // Of messages under rules, of what is only monitored, of bans, and of policies with a name.
    let others: Vec<&str> = documented.difference(&members).map(String::as_str).collect();
    let seen_elsewhere = [
        "ban_s", "by", "code", "count", "detail", "failures", "from", "instance", "keyword", "kid", "lines", "of",
        "revision", "rule", "type", "usual", "window_s",
    ];
    assert_eq!(others, seen_elsewhere);
}

#[test]
fn the_lines_of_the_log_that_are_quoted_are_written_so() {
    let guide = read(OPERATIONS);
    let without_numbers = |line: &str| line.chars().filter(|letter| !letter.is_ascii_digit()).collect::<String>();
    let mut gate = Gate::new(&policy_with(json!({})));
    let (_, sum) = blocks(&guide).find(|(language, _)| *language == "text").expect("the sum");
    let is_sum = |line: &str| without_numbers(line) == without_numbers(sum.trim());
    assert!(gate.logs().iter().any(|log| is_sum(&log.text)), "{sum}: {:#?}", gate.logs());

    let without_keys = json!({"name": "corp", "algorithms": ["HS256"]});
    assert!(!gate.reconfigure(&json!({"auth": {"providers": [without_keys]}})));
    let policy = read(POLICY);
    let (_, refused) = blocks(&policy).find(|(language, _)| *language == "text").expect("an error");
    assert!(gate.logs().iter().any(|log| log.text == refused.trim()), "{refused}: {:#?}", gate.logs());
    assert!(guide.contains("`portcullis: policy refused:`"));
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    for document in DOCUMENTS {
        let text = read(document);
        let own = root().join(document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, heading) =
                target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
            // A heading of the same document has no path.
            let path = if path.is_empty() { own.clone() } else { own.parent().expect("a folder").join(path) };
            assert!(path.exists(), "{document}: {target}");
            if let Some(heading) = heading {
                let text = fs::read_to_string(&path).expect("a document");
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|own| own == heading), "{document}: {target}");
            }
        }
    }
}
