//! What the engine says, in the words that it is compared by.

use std::fmt;

use portcullis_core::json::reader::{self, Bounds};
use portcullis_core::json::schema::{Formats, Schema};
use portcullis_core::regex::Builder;
use portcullis_core::violation::Violation;
use serde_json::Value;

/// The outcome for an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Valid,
    Invalid,
    /// The schema or the text was refused, or the work was too much: never right here.
    Refused(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => f.write_str("valid"),
            Self::Invalid => f.write_str("invalid"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
        }
    }
}

impl Verdict {
    /// Whether both say the same, wherever they found it.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let problem = |reason: &str| reason.rsplit(": ").next().unwrap_or_default().to_owned();
        match (self, other) {
            (Self::Refused(own), Self::Refused(other)) => problem(own) == problem(other),
            _ => self == other,
        }
    }
}

impl From<bool> for Verdict {
    fn from(is_valid: bool) -> Self {
        if is_valid { Self::Valid } else { Self::Invalid }
    }
}

const BOUNDS: Bounds =
    Bounds { depth_max: 64, keys_max: 1024, string_len_max: 65_536, unique_keys: true, surrogates: false };

/// Compiles `schema`.
pub(crate) fn compile(schema: &Value, asserts: bool) -> Result<Schema, Verdict> {
    let formats = if asserts { Formats::Assert } else { Formats::Annotate };
    Schema::compile(schema, formats, &mut Builder::default()).map_err(|fault| Verdict::Refused(fault.to_string()))
}

/// Judges `text`.
pub(crate) fn judge(schema: &Schema, text: &str) -> Verdict {
    let document = match reader::read(text, &BOUNDS) {
        Ok(document) => document,
        Err(violation) => return Verdict::Refused(format!("{violation:?} when read")),
    };
    let fault = schema.explain(document.root());
    assert!(fault.as_ref().is_none_or(|fault| !fault.keyword.is_empty()), "{text}");
    match schema.check(document.root()) {
        Ok(_) if fault.is_none() => Verdict::Valid,
        Err(Violation::SchemaRefused) if fault.is_some() => Verdict::Invalid,
        Ok(_) | Err(Violation::SchemaRefused) => Verdict::Refused(format!("with {fault:?}")),
        Err(violation) => Verdict::Refused(format!("{violation:?}")),
    }
}
