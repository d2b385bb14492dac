//! Why a schema is not compiled.

use std::fmt;

/// Why a schema is not compiled: the operator's fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SchemaFault {
    pub(super) pointer: String,
    pub(super) problem: String,
}

impl SchemaFault {
    /// Where in the schema the fault is: a JSON Pointer.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What is wrong there.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for SchemaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.problem)
    }
}
