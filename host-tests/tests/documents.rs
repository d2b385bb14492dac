//! What the documents say is what the code does: the policy in README, the links, the shipped policy, the table of answers.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_core::config::{self, Parsed};
use portcullis_core::violation::Violation;
use serde_json::{Value, json};

const DOCUMENTS: [&str; 6] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "filter/DESIGN.md",
    "host-tests/conformance/autobahn.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The YAML block of README that begins with `start`.
fn readme_block(start: &str) -> Value {
    let readme = read("README.md");
    let block = readme.split("```yaml\n").skip(1).find(|block| block.starts_with(start)).expect("the block");
    serde_saphyr::from_str(block.split("```").next().expect("a block")).expect("YAML")
}

fn parse(policy: &Value) -> Parsed {
    let variable = |_: &str| Some("x".repeat(64));
    config::parse(policy.to_string().as_bytes(), &variable).unwrap_or_else(|error| panic!("{error}: {policy}"))
}

#[test]
fn the_policy_in_readme_is_accepted_and_shows_the_defaults() {
    let documented = readme_block("# revision");
    let provider = &documented["auth"]["providers"][0];
    let required =
        ["name", "issuer", "audiences", "algorithms", "jwks"].map(|key| (key.to_owned(), provider[key].clone()));
    let shortest = json!({"auth": {"providers": [Value::Object(required.into_iter().collect())]}});
    assert_eq!(format!("{:?}", parse(&documented).policies), format!("{:?}", parse(&shortest).policies));
}

#[test]
fn the_configuration_in_readme_is_accepted() {
    let filters = readme_block("http_filters:");
    parse(&filters["http_filters"][0]["typed_config"]["config"]["configuration"]["value"]);
}

#[test]
fn the_shipped_policy_is_accepted_without_a_warning() {
    let resources: Value = serde_saphyr::from_str(&read("envoy/config/portcullis.yaml")).expect("YAML");
    let policy = resources.pointer("/resources/0/typed_config/config/configuration/value").and_then(Value::as_str);
    let parsed = parse(&serde_json::from_str(policy.expect("a policy")).expect("JSON"));
    assert_eq!(parsed.warnings, Vec::<String>::new());
}

#[test]
fn every_answer_is_in_readme() {
    let readme = read("README.md");
    for violation in Violation::ALL {
        let answer = violation.answer();
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{}` |", answer.reason)));
        let row = row.unwrap_or_else(|| panic!("no row for {}", answer.reason));
        for code in [answer.status, answer.close_code].into_iter().flatten() {
            assert!(row.contains(&code.to_string()), "{row} does not tell {code}");
        }
    }
}

#[test]
fn links_lead_to_files_that_exist() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let path = folder.parent().expect("a folder").join(target.split('#').next().expect("a path"));
            assert!(path.exists(), "{document}: {target}");
        }
    }
}
