//! Exact decimal numbers.

/// A decimal number.
#[derive(Debug)]
pub struct Decimal;

impl Decimal {
    /// Stub.
    pub fn parse(_: &[u8]) -> Option<Self> {
        Some(Self)
    }
}
