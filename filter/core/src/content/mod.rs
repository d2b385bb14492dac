//! What a message says.

pub mod patterns;
pub mod rule_sets;
pub mod tunnels;
