//! JSON Schema (2020-12, and draft-07 where `$schema` says so), compiled once and applied to messages as they were read.
//!
//! ```text
//! policy ── compile ──▶ Program (nodes that name each other by index) ── judge(message) ──▶ satisfied, or not
//! ```
//!
//! Every keyword of the core, applicator, unevaluated, validation and format vocabularies counts. What cannot be honoured is
//! refused when it is compiled, never passed over: other dialects, references out of the document, patterns that are not
//! linear, unknown formats (where they assert), and references that would go round without an end. The work for a
//! message is bounded by its length.

mod compile;
mod constant;
mod fault;
pub mod format;
mod judge;
mod program;
mod spelling;
mod steps;
mod trail;
mod uri;

use super::document::Value;
use crate::regex::Builder;
use crate::violation::Violation;
use judge::Judge;
use program::Program;
use steps::{Exhausted, Steps};

pub use fault::SchemaFault;
pub use format::Formats;
pub use trail::Fault;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema(Program);

impl Schema {
    /// Compiles a schema, whose patterns `builder` builds.
    ///
    /// # Errors
    /// [`SchemaFault`] for keywords of the wrong type, and for what cannot be honoured.
    pub fn compile(document: &serde_json::Value, formats: Formats, builder: &mut Builder) -> Result<Self, SchemaFault> {
        compile::compile(document, formats, builder).map(Self)
    }

    /// The JSON Pointers of keywords in `document` that no dialect knows: they check nothing.
    #[must_use]
    pub fn unknown_keywords(document: &serde_json::Value) -> Vec<String> {
        spelling::unknown_keywords(document)
    }

    /// Applies the schema to a value of a message. Gives the steps that it took, some ten nanoseconds each.
    ///
    /// # Errors
    /// [`Violation::SchemaRefused`] for one that does not satisfy it, [`Violation::JsonRefused`] where finding out would take
    /// more work than a message of its length may take.
    pub fn check(&self, value: Value<'_>) -> Result<u64, Violation> {
        let len = value.document_len();
        let mut judge = Judge::new(&self.0, len);
        match judge.judge(value) {
            Ok(true) => Ok(judge.spent(len)),
            Ok(false) => Err(Violation::SchemaRefused),
            Err(Exhausted) => Err(Violation::JsonRefused),
        }
    }

    /// How many steps a message of `len` bytes may take.
    #[must_use]
    pub const fn steps_allowed(len: usize) -> u64 {
        Steps::new(len).left()
    }

    /// The keyword that a value does not satisfy, and where in it. It takes as much work as [`Self::check`].
    #[must_use]
    pub fn explain(&self, value: Value<'_>) -> Option<Fault> {
        Judge::new(&self.0, value.document_len()).explain(value)
    }
}

#[cfg(test)]
mod tests;
