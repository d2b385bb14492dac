//! JSON Schema.

pub mod format;
use serde::Deserialize;
/// Stub
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Formats {
    /// Stub.
    Annotate,
    /// Stub.
    Assert,
}
/// Stub
#[derive(Debug)]
pub struct Schema;
/// Stub
#[derive(Debug)]
pub struct SchemaFault;
impl SchemaFault {
    /// Stub.
    pub fn pointer(&self) -> &str {
        ""
    }
    /// Stub.
    pub fn problem(&self) -> &str {
        ""
    }
}
impl Schema {
    /// Stub.
    pub fn compile(_: &serde_json::Value, _: Formats) -> Result<Self, SchemaFault> {
        Ok(Self)
    }
    /// Stub.
    pub fn check(&self, _: crate::json::document::Value<'_>) -> Result<(), crate::violation::Violation> {
        Ok(())
    }
}
