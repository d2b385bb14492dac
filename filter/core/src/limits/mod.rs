//! What many connections share.
//!
//! ```text
//! held       memory, of one worker; blocks: what it comes in
//! address    the clients that an address stands for
//! rate       so much a second
//! register   which workers there are
//! rules      what the operator allows
//! table      who is counted, by all workers; counters: how they do it together
//! admission  what one handshake is counted by
//! lease      what a subject may still send, taken ahead
//! rls        what is said to a rate limit service
//! ```

pub mod address;
pub mod admission;
mod blocks;
pub mod counters;
mod held;
pub mod lease;
pub mod rate;
pub mod register;
pub mod rls;
pub mod rules;
pub mod table;

pub use blocks::Blocks;
pub use held::{HeldBytes, KEPT_LEN_FREE, Share};

#[cfg(test)]
mod tests;
