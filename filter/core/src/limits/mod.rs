//! What many connections share.
//!
//! ```text
//! held     memory, of one worker
//! address  whom an address stands for
//! rate     so much a second
//! ```

pub mod address;
mod held;
pub mod rate;

pub use held::{HeldBytes, Share};
