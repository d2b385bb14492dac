//! From the operator's JSON to a [`Policies`]: everything or nothing.
//!
//! ```text
//! bytes ── json | structure ──▶ tree ── routes merged ──▶ raw (typed, unknown keys refused) ── build ──▶ Policy
//! ```
//!
//! All faults are found at once. Each names the JSON path of the key, and never repeats a value: any of them may be a secret in the wrong
//! place. A key whose feature does not exist yet is refused, never passed over, as long as it asks for something.

mod auth;
mod build;
mod claims;
mod content;
mod doors;
mod error;
mod findings;
mod first_message;
mod limits;
pub mod memory;
mod modes;
mod opaque;
mod raw;
mod read;
mod revocation;
mod routes;
#[cfg(feature = "schema")]
mod schema;
mod secret;
mod structure;
mod tickets;
mod values;

use std::rc::Rc;

use serde_json::{Map, Value};

use crate::json;
use crate::policy::Policy;
use crate::policy::routes::{Policies, Route};
use content::ContentCache;
use findings::Findings;
use memory::Memory;
use raw::RawPolicy;
use read::Read;

#[cfg(feature = "schema")]
pub use schema::schema;

pub use error::{ConfigError, Finding, step};
pub use secret::Environment;

/// A configuration that holds, and what an operator should know about it.
#[derive(Debug)]
pub struct Parsed {
    /// What to decide by.
    pub policies: Policies,
    /// What the operator calls them, if anything.
    pub revision: Option<String>,
    /// What a worker needs for its messages.
    pub memory: Memory,
    /// Weaknesses, each with its path: to be logged once.
    pub warnings: Vec<Finding>,
}

/// Reads a configuration: JSON, or a `google.protobuf.Struct` as Envoy hands it over.
///
/// # Errors
/// [`ConfigError`] for what is not JSON, unknown keys, wrong types, values that mean nothing, combinations that cannot
/// hold, secrets that are not in `environment`: for all of them at once.
pub fn parse(bytes: &[u8], environment: Environment<'_>) -> Result<Parsed, ConfigError> {
    let mut found = Findings::default();
    let read = json::parse(bytes).or_else(|fault| {
        found.is_struct = true;
        structure::decode(bytes).ok_or(fault)
    });
    let tree = match read {
        Ok(tree) => object(tree, &mut found),
        Err(fault) => found.refuse("", &format!("not JSON: {fault}")),
    };
    build(tree, environment, found)
}

/// Reads what Envoy hands over as a `google.protobuf.Struct`.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_struct(tree: Value, environment: Environment<'_>) -> Result<Parsed, ConfigError> {
    let mut found = Findings::default();
    found.is_struct = true;
    let tree = object(tree, &mut found);
    build(tree, environment, found)
}

fn object(tree: Value, found: &mut Findings) -> Option<Map<String, Value>> {
    match tree {
        Value::Object(tree) => Some(tree),
        _ => found.refuse("", "the policy must be a JSON object"),
    }
}

fn build(
    tree: Option<Map<String, Value>>,
    environment: Environment<'_>,
    mut found: Findings,
) -> Result<Parsed, ConfigError> {
    let built = tree.and_then(|tree| policies(tree, environment, &mut found));
    let ((policies, revision, memory), warnings) = found.conclude(built)?;
    Ok(Parsed { policies, revision, memory, warnings })
}

fn policies(
    mut tree: Map<String, Value>,
    environment: Environment<'_>,
    found: &mut Findings,
) -> Option<(Policies, Option<String>, Memory)> {
    let mut cache = ContentCache::default();
    let raw = RawPolicy::read(&Value::Object(tree.clone()), found)?;
    found.has_read();
    // It makes the policy another one for the host, and means nothing else.
    if raw.revision.as_ref().is_some_and(String::is_empty) {
        found.fault("revision", "must not be empty");
    }
    let base = policy(&raw, environment, &mut cache, found);

    // What each route starts from: with all of them in each, thousands of routes would take minutes.
    tree.remove("routes");
    let routes = found.each("routes", raw.routes.as_deref(), |route, found| {
        let matcher = found.within("match", |found| routes::route_match(route.matcher.as_ref(), found));
        let changes = route.policy.clone().unwrap_or_default();
        let policy = found.within("policy", |found| {
            if changes.contains_key("routes") {
                return found.refuse("routes", "a route has no routes of its own");
            }
            let mut merged = tree.clone();
            merge(&mut merged, &changes);
            let mut own = Findings::default();
            let raw = RawPolicy::read(&Value::Object(merged), &mut own)?;
            own.has_read();
            let policy = policy(&raw, environment, &mut cache, &mut own);
            found.inherit(own, &changes);
            Some(Rc::new(policy))
        });
        Some(Route { matcher: matcher?, policy: policy? })
    });
    let is_whole = routes.len() == raw.routes.as_ref().map_or(0, Vec::len);
    let policies = Policies::new(base, routes);
    // The route that a request comes to, and what a worker needs, are known where all routes are.
    if !is_whole {
        return None;
    }
    found.each("routes", Some(policies.routes()), |route, found| {
        found.within("match", |found| routes::check_met(&policies, &route.matcher, found));
        Some(())
    });
    let memory = Memory::of(&policies, found);
    Some((policies, raw.revision, memory))
}

fn policy(raw: &RawPolicy, environment: Environment<'_>, cache: &mut ContentCache, found: &mut Findings) -> Policy {
    build::policy(raw, environment, cache, found)
}

/// Objects merge key by key; lists and scalars replace.
fn merge(base: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (key, value) in other {
        match (base.get_mut(key), value) {
            (Some(Value::Object(base)), Value::Object(other)) => merge(base, other),
            (_, value) => drop(base.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
