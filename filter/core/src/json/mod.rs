//! JSON (RFC 8259).
//!
//! ```text
//! policy, token ── strict::parse ──▶ serde_json::Value
//! message ── reader::read ──▶ Document ── schema ──▶ verdict
//! ```

pub mod number;
pub mod reader;
pub mod schema;
pub mod strict;

pub use strict::parse;
