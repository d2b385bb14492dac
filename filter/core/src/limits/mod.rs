//! What many connections share.
//!
//! ```text
//! held     memory, of one worker; blocks: what it comes in
//! address  whom an address stands for
//! rate     so much a second
//! register which workers there are
//! rules    what the operator allows
//! table    who is counted, by all workers
//! ```

pub mod address;
mod blocks;
mod held;
pub mod rate;
pub mod register;
pub mod rules;
pub mod table;

pub use blocks::Blocks;
pub use held::{HeldBytes, KEPT_LEN_FREE, Share};

#[cfg(test)]
mod tests;
