//! JSON Schema.

pub mod format;
