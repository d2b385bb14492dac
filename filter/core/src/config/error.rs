//! What is wrong with a configuration, and where.

use std::fmt;

use serde_json::Value;

/// What is wrong with a configuration: the operator's fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    path: String,
    problem: String,
}

impl ConfigError {
    pub(super) fn new(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { path: path.into(), problem: problem.to_string() }
    }

    /// The same fault, seen from the list that it is in.
    #[cold]
    #[inline(never)]
    pub(super) fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// The same fault, seen from the object in which it is the value of `key`, which an operator may have made up.
    #[cold]
    #[inline(never)]
    pub(super) fn under(self, key: &str) -> Self {
        self.within(&step(key))
    }

    /// The same fault, seen from where the path `prefix` begins.
    #[cold]
    #[inline(never)]
    pub(super) fn within(self, prefix: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with(['[', '/']) { "" } else { "." };
        Self { path: format!("{prefix}{dot}{}", self.path), ..self }
    }
}

/// A key as it stands in a path: by itself where it is a plain identifier, else as `["…"]` with JSON's escapes, so that a path
/// leads to one place only, and stays on one line of a log.
pub(super) fn step(key: &str) -> String {
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

/// The same for every fault of what has this path.
pub(super) fn within(prefix: &str) -> impl Fn(ConfigError) -> ConfigError {
    move |error| error.within(prefix)
}

/// What is built, or what is wrong with it.
pub(super) type Built<T> = Result<T, ConfigError>;

/// Builds every element of a list; a fault names its index.
pub(super) fn each<T, U>(key: &str, list: Option<&[T]>, build: impl Fn(&T) -> Built<U>) -> Built<Vec<U>> {
    let build = |(index, element)| build(element).map_err(|error| error.within(&format!("{key}[{index}]")));
    list.unwrap_or_default().iter().enumerate().map(build).collect()
}
