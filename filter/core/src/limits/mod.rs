//! What many connections share.

mod held;

pub use held::{HeldBytes, Share};
