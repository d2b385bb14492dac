//! What an operator is told of a worker: how much, and what is out of the ordinary. It is counted here and told to the host with the ticks, so that
//! a message costs no call for it.

pub mod lines;
pub mod samples;
pub mod spikes;
pub mod tally;
pub mod watch;

pub use tally::Counts;
