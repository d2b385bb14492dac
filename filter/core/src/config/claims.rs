//! From what is asked of claims, as written, to what it means: for tokens and for messages alike.

use std::collections::BTreeMap;

use serde_json::Value;

use super::findings::Findings;
use crate::json::pointer::Pointer;
use crate::token::claims::Requirement;

/// The path of a claim: what begins with a slash is a JSON Pointer.
pub(super) fn claim_path(path: &str, found: &mut Findings) -> Option<String> {
    if path.starts_with('/') && Pointer::parse(path).is_none() {
        return found.expected("a claim, or a JSON Pointer into the claims (RFC 6901)");
    }
    Some(path.to_owned())
}

/// What claims must be.
pub(super) fn requirements(raw: Option<&BTreeMap<String, Value>>, found: &mut Findings) -> Vec<(String, Requirement)> {
    let mut built = Vec::new();
    for (claim, value) in raw.into_iter().flatten() {
        found.under(claim, |found| {
            let (path, requirement) = (claim_path(claim, found), requirement(value, found));
            built.extend(path.zip(requirement));
        });
    }
    built
}

fn requirement(value: &Value, found: &mut Findings) -> Option<Requirement> {
    match value {
        Value::Object(members) => match (members.len(), members.get("contains")) {
            (1, Some(elements)) => found.within("contains", |found| values(elements, found)).map(Requirement::Contains),
            _ => found.expected("a value, a list of values or {\"contains\": a value or a list of values}"),
        },
        value => values(value, found).map(Requirement::OneOf),
    }
}

fn values(value: &Value, found: &mut Findings) -> Option<Vec<Value>> {
    let values = match value {
        Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    };
    if values.is_empty() {
        return found.refuse("", "an empty list can never be met");
    }
    if values.iter().any(Value::is_null) {
        return found.refuse("", "null can never be met: a claim that is null is absent");
    }
    Some(values)
}
