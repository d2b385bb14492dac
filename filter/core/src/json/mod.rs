//! JSON (RFC 8259).
//!
//! ```text
//! policy, token ── strict::parse ──▶ serde_json::Value
//! message ── reader::read ──▶ Document ── Schema::check ──▶ verdict
//! ```

pub mod document;
pub mod name;
pub mod number;
pub mod pointer;
pub mod reader;
pub mod schema;
pub mod strict;

pub use strict::parse;
