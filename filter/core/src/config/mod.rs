//! From the operator's JSON to a [`Policies`]: everything or nothing.
//!
//! ```text
//! bytes ── json | structure ──▶ tree ── routes merged ──▶ raw (typed, unknown keys refused) ── build ──▶ Policy
//! ```
//!
//! Every fault names the JSON path of the key, and never repeats a value: any of them may be a secret in the wrong place. A key
//! whose feature does not exist yet is refused, never passed over, as long as it asks for something.

mod build;
mod content;
mod doors;
mod limits;
pub mod memory;
mod raw;
mod structure;
mod unsupported;
mod values;

use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::json;
use crate::policy::Policy;
use crate::policy::routes::{Policies, Route};
use content::Shared;
use memory::Memory;
use raw::{RawPolicy, Read};

/// What is wrong with a configuration: the operator's fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    path: String,
    problem: String,
}

impl ConfigError {
    fn new(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { path: path.into(), problem: problem.to_string() }
    }

    /// The same fault, seen from the list that it is in.
    #[cold]
    #[inline(never)]
    fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// The same fault, seen from the object in which it is the value of `key`, which an operator may have made up.
    #[cold]
    #[inline(never)]
    fn under(self, key: &str) -> Self {
        self.within(&step(key))
    }

    /// The same fault, seen from where the path `prefix` begins.
    #[cold]
    #[inline(never)]
    fn within(self, prefix: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with(['[', '/']) { "" } else { "." };
        Self { path: format!("{prefix}{dot}{}", self.path), ..self }
    }
}

/// A key as it stands in a path: by itself where it is a plain identifier, else as `["…"]` with JSON's escapes, so that a path
/// leads to one place only, and stays on one line of a log.
fn step(key: &str) -> String {
    let is_plain = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain { key.to_owned() } else { format!("[{}]", Value::from(key)) }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.problem),
            path => write!(f, "{path}: {}", self.problem),
        }
    }
}

fn within(prefix: &str) -> impl Fn(ConfigError) -> ConfigError {
    move |error| error.within(prefix)
}

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

/// Variables of the environment, by name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

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
    let mut shared = Shared::default();
    let raw = RawPolicy::read(&Value::Object(tree.clone()))?;
    // It makes the policy another one for the host, and means nothing else.
    if raw.revision.as_ref().is_some_and(String::is_empty) {
        return Err(ConfigError::new("revision", "must not be empty"));
    }
    let base = policy(&raw, environment, &mut shared, &mut warnings)?;

    // What each route starts from: with all of them in each, thousands of routes would take minutes.
    tree.remove("routes");
    let mut routes = Vec::new();
    for (index, route) in raw.routes.iter().flatten().enumerate() {
        let at = format!("routes[{index}]");
        let matcher = route.matcher.clone().unwrap_or_default();
        let matcher = build::route_match(&matcher).map_err(|error| error.within(&at))?;
        let changes = route.policy.clone().unwrap_or_default();
        if changes.contains_key("routes") {
            return Err(ConfigError::new(format!("{at}.policy.routes"), "a route has no routes of its own"));
        }
        let mut merged = tree.clone();
        merge(&mut merged, &changes);
        let at = format!("{at}.policy");
        let mut own_warnings = Vec::new();
        let own = RawPolicy::read(&Value::Object(merged))
            .and_then(|raw| policy(&raw, environment, &mut shared, &mut own_warnings));
        let policy = own.map_err(|error| error.within(&at))?;
        let own_warnings = own_warnings.into_iter().filter(|warning| !warnings.contains(warning));
        let own_warnings: Vec<String> = own_warnings.map(|warning| format!("{at}.{warning}")).collect();
        warnings.extend(own_warnings);
        routes.push(Route { matcher, policy: Rc::new(policy) });
    }
    let policies = Policies::new(base, routes);
    for (index, route) in policies.routes().iter().enumerate() {
        build::route_is_met(&policies, &route.matcher).map_err(|error| error.within(&format!("routes[{index}]")))?;
    }
    let memory = Memory::of(&policies)?;
    Ok(Parsed { policies, memory, warnings })
}

fn policy(
    raw: &RawPolicy,
    environment: Environment<'_>,
    shared: &mut Shared,
    warnings: &mut Vec<String>,
) -> Result<Policy, ConfigError> {
    unsupported::check(raw)?;
    build::policy(raw, environment, shared, warnings)
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
