//! The schema takes every policy that is shipped, and describes its keys.

use std::fs;
use std::path::Path;

use super::*;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// Why a policy does not hold by the schema.
fn problems(policy: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    validator.iter_errors(policy).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn every_shipped_policy_holds_by_it() {
    let mut count = 0;
    let mut check = |name: &str, policy: &Value| {
        assert_eq!(problems(policy), [""; 0], "{name}: {policy}");
        count += 1;
    };
    let text = read("envoy/config/portcullis.yaml");
    check("portcullis.yaml", &crate::check::written(&text).unwrap().policy);
    for document in ["README.md", "filter/POLICY.md", "envoy/OPERATIONS.md"] {
        let text = read(document);
        for block in text.split("\n```yaml\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            let shown = document::documents(block).unwrap().remove(0).value();
            let is_policy = ["mode", "auth", "routes"].iter().any(|key| shown.get(key).is_some());
            if is_policy {
                check(document, &shown);
            } else if ["spec", "http_filters"].iter().any(|key| shown.get(key).is_some()) {
                check(document, &crate::check::written(block).unwrap().policy);
            } else if shown.get("json").or_else(|| shown.get("authorize")).is_some() {
                check(document, &json!({"messages": {"from_client": shown}}));
            }
        }
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn what_the_reader_refuses_does_not_hold_by_it() {
    for policy in [
        json!({"moed": 1}),
        json!({"mode": "off"}),
        json!({"auth": {"providers": [{"name": 1}]}}),
        json!({"liveness": {"idle_timeout": 30}}),
        json!({"liveness": {"idle_timeout": "30min"}}),
        json!({"limits": {"held_bytes": -1}}),
        json!({"limits": {"per_address": {"conections": 1}}}),
        json!({"routes": [{"match": {"path": "/a"}, "policy": {"moed": 1}}]}),
        json!({"messages": {"from_client": {"envelope": {"a": "xml"}}}}),
        json!({"hosts": "a.example"}),
    ] {
        assert!(!problems(&policy).is_empty(), "{policy}");
        let error = config::parse(policy.to_string().as_bytes(), &|_| None).expect_err("a fault");
        assert!(!error.faults().is_empty(), "{policy}");
    }
}

#[test]
fn keys_are_described_as_in_the_reference() {
    let schema = schema();
    let description =
        |pointer: &str| schema.pointer(pointer).and_then(|key| key["description"].as_str().map(str::to_owned));
    assert_eq!(description("/properties/require_tls").as_deref(), Some("an upgrade in plain text is refused"));
    let fail = description("/properties/fail").unwrap();
    assert!(fail.starts_with("open: a handshake passes") && fail.ends_with("and refused stays refused"), "{fail}");
    let liveness = "/properties/liveness/anyOf/0/properties/ping_interval";
    assert!(description(liveness).unwrap().starts_with("a client that has been silent"));
    let provider = "/properties/auth/anyOf/0/properties/providers/anyOf/0/items/properties/clock_skew";
    assert_eq!(description(provider).as_deref(), Some("at most 5m"));
}
