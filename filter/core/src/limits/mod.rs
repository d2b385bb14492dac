//! What many connections share.
//!
//! ```text
//! held     memory, of one worker
//! address  whom an address stands for
//! rate     so much a second
//! register which workers there are
//! table    who is counted, by all workers
//! ```

pub mod address;
mod held;
pub mod rate;
pub mod register;
pub mod table;

pub use held::{HeldBytes, Share};

#[cfg(test)]
mod tests;
