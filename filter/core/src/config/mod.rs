//! From the operator's JSON to a [`Policies`]: everything or nothing.
//!
//! ```text
//! bytes ── json | structure ──▶ tree ── routes merged ──▶ raw (typed, unknown keys refused) ── build ──▶ Policy
//! ```
//!
//! Every fault names the JSON path of the key, and never repeats a value: any of them may be a secret in the wrong place. A key
//! whose feature does not exist yet is refused, never passed over, as long as it asks for something.

mod auth;
mod build;
mod claims;
mod content;
mod doors;
mod error;
mod first_message;
mod limits;
pub mod memory;
mod opaque;
mod raw;
mod read;
mod revocation;
mod routes;
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
use memory::Memory;
use raw::RawPolicy;
use read::Read;

pub use error::ConfigError;
pub use secret::Environment;

/// A configuration that holds, and what an operator should know about it.
#[derive(Debug)]
pub struct Parsed {
    /// What to decide by.
    pub policies: Policies,
    /// What a worker needs for its messages.
    pub memory: Memory,
    /// Weaknesses, each with its path: to be logged once.
    pub warnings: Vec<String>,
}

/// Reads a configuration: JSON, or a `google.protobuf.Struct` as Envoy hands it over.
///
/// # Errors
/// [`ConfigError`] for what is not JSON, unknown keys, wrong types, values that mean nothing, combinations that cannot
/// hold, secrets that are not in `environment`, and features that do not exist yet.
pub fn parse(bytes: &[u8], environment: Environment<'_>) -> Result<Parsed, ConfigError> {
    let tree = json::parse(bytes).or_else(|fault| structure::decode(bytes).ok_or(fault));
    let mut tree = match tree {
        Ok(Value::Object(tree)) => tree,
        Ok(_) => return Err(ConfigError::new("", "the policy must be a JSON object")),
        Err(fault) => return Err(ConfigError::new("", format_args!("not JSON: {fault}"))),
    };
    let mut warnings = Vec::new();
    let mut cache = ContentCache::default();
    let raw = RawPolicy::read(&Value::Object(tree.clone()))?;
    // It makes the policy another one for the host, and means nothing else.
    if raw.revision.as_ref().is_some_and(String::is_empty) {
        return Err(ConfigError::new("revision", "must not be empty"));
    }
    let base = policy(&raw, environment, &mut cache, &mut warnings)?;

    // What each route starts from: with all of them in each, thousands of routes would take minutes.
    tree.remove("routes");
    let mut routes = Vec::new();
    for (index, route) in raw.routes.iter().flatten().enumerate() {
        let at = format!("routes[{index}]");
        let matcher = route.matcher.clone().unwrap_or_default();
        let matcher = routes::route_match(&matcher).map_err(|error| error.within(&at))?;
        let changes = route.policy.clone().unwrap_or_default();
        if changes.contains_key("routes") {
            return Err(ConfigError::new(format!("{at}.policy.routes"), "a route has no routes of its own"));
        }
        let mut merged = tree.clone();
        merge(&mut merged, &changes);
        let at = format!("{at}.policy");
        let mut own_warnings = Vec::new();
        let own = RawPolicy::read(&Value::Object(merged))
            .and_then(|raw| policy(&raw, environment, &mut cache, &mut own_warnings));
        let policy = own.map_err(|error| error.within(&at))?;
        let own_warnings = own_warnings.into_iter().filter(|warning| !warnings.contains(warning));
        let own_warnings: Vec<String> = own_warnings.map(|warning| format!("{at}.{warning}")).collect();
        warnings.extend(own_warnings);
        routes.push(Route { matcher, policy: Rc::new(policy) });
    }
    let policies = Policies::new(base, routes);
    for (index, route) in policies.routes().iter().enumerate() {
        routes::route_is_met(&policies, &route.matcher).map_err(|error| error.within(&format!("routes[{index}]")))?;
    }
    let memory = Memory::of(&policies)?;
    Ok(Parsed { policies, memory, warnings })
}

fn policy(
    raw: &RawPolicy,
    environment: Environment<'_>,
    cache: &mut ContentCache,
    warnings: &mut Vec<String>,
) -> Result<Policy, ConfigError> {
    build::policy(raw, environment, cache, warnings)
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
