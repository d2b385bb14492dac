//! What is wrong with a configuration, and where.

use std::fmt;

pub use crate::refusal::step;

/// Something that an operator should know about a configuration, and where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    path: String,
    problem: String,
}

impl Finding {
    pub(super) const fn new(path: String, problem: String) -> Self {
        Self { path, problem }
    }

    /// The JSON path of the key, such as `auth.providers[0].jwks`; empty for the policy as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is the matter with it. No value of the configuration is in it.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.problem),
            path => write!(f, "{path}: {}", self.problem),
        }
    }
}

/// Everything that is wrong with a configuration: the operator's fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    pub(super) faults: Vec<Finding>,
    pub(super) omitted: usize,
}

impl ConfigError {
    /// The faults, those of types and unknown keys before those of what values mean. What only follows from another is not among them.
    #[must_use]
    pub fn faults(&self) -> &[Finding] {
        &self.faults
    }

    /// How many faults there are beyond those that are listed.
    #[must_use]
    pub const fn omitted(&self) -> usize {
        self.omitted
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut between, mut left) = ("", self.faults.len().saturating_add(self.omitted));
        for fault in self.faults.iter().take(SHOWN_MAX) {
            write!(f, "{between}{fault}")?;
            (between, left) = ("; ", left.saturating_sub(1));
        }
        if left > 0 { write!(f, "{between}{left} more") } else { Ok(()) }
    }
}

/// How many faults stand in one line.
const SHOWN_MAX: usize = 5;
