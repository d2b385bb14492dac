//! From what is asked of claims, as written, to what it means: for tokens and for messages alike.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::{Built, ConfigError, within};
use super::read::expected;
use crate::json::pointer::Pointer;
use crate::token::claims::Requirement;

/// The path of a claim: what begins with a slash is a JSON Pointer.
pub(super) fn claim_path(path: &str) -> Built<String> {
    if path.starts_with('/') && Pointer::parse(path).is_none() {
        return Err(expected("a claim, or a JSON Pointer into the claims (RFC 6901)"));
    }
    Ok(path.to_owned())
}

/// What claims must be.
pub(super) fn requirements(raw: Option<&BTreeMap<String, Value>>) -> Built<Vec<(String, Requirement)>> {
    let mut built = Vec::new();
    for (claim, value) in raw.into_iter().flatten() {
        let requirement = claim_path(claim).and_then(|path| Ok((path, requirement(value)?)));
        built.push(requirement.map_err(|error| error.under(claim))?);
    }
    Ok(built)
}

fn requirement(value: &Value) -> Built<Requirement> {
    let values = |value: &Value| match value {
        Value::Array(values) if values.is_empty() => Err(ConfigError::new("", "an empty list can never be met")),
        Value::Array(values) if values.iter().any(Value::is_null) => Err(never_null()),
        Value::Array(values) => Ok(values.clone()),
        Value::Null => Err(never_null()),
        value => Ok(vec![value.clone()]),
    };
    match value {
        Value::Object(members) => match (members.len(), members.get("contains")) {
            (1, Some(elements)) => values(elements).map(Requirement::Contains).map_err(within("contains")),
            _ => Err(expected("a value, a list of values or {\"contains\": a value or a list of values}")),
        },
        value => values(value).map(Requirement::OneOf),
    }
}

fn never_null() -> ConfigError {
    ConfigError::new("", "null can never be met: a claim that is null is absent")
}
