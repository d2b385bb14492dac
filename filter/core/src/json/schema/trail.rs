//! The keyword that an instance does not satisfy, and the place: a second walk over a refused instance finds them.

use crate::json::pointer::{WRITTEN_LEN_MAX, write_step};

/// The keyword that an instance does not satisfy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The keyword, as it is written in schemas; `false` for a schema that nothing satisfies.
    pub keyword: &'static str,
    /// Where in the instance, as a JSON Pointer (RFC 6901) of its names and indices, cut at 128 bytes.
    pub instance: String,
}

/// What was last found not to be satisfied, on the way out to the root. What a branch of `anyOf` does not satisfy is forgotten with the next
/// thing that is found.
#[derive(Debug, Default)]
pub(super) struct Trail {
    keyword: &'static str,
    /// Innermost first.
    steps: Vec<String>,
}

impl Trail {
    /// The instance in hand does not satisfy `keyword`.
    pub(super) fn begin(&mut self, keyword: &'static str) {
        self.keyword = keyword;
        self.steps.clear();
    }

    /// What was found is in the child of this name or index.
    pub(super) fn leave(&mut self, step: &str) {
        self.steps.push(step.chars().take(WRITTEN_LEN_MAX).collect());
    }

    pub(super) fn into_fault(self) -> Fault {
        let mut instance = String::new();
        self.steps.iter().rev().for_each(|step| write_step(&mut instance, step));
        Fault { keyword: self.keyword, instance }
    }
}
