//! The formats of JSON Schema.
