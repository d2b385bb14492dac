//! What must hold of portcullis-core whatever bytes a peer or an operator sends.
//!
//! Each target is one plain function from bytes to nothing: it reads the bytes as a little script, asserts what holds, and
//! panics where it does not. cargo-fuzz looks for such bytes (`fuzz_targets`), and `tests/corpus.rs` tries those that are worth
//! keeping, and some thousand changes of them, on every run.
//!
//! The rules are written down here a second time, in the most naive way that is right: no code of the core judges the core.

mod adapter;
mod close;
mod content;
mod cookie;
mod decoder;
mod deflate;
mod differential;
mod frames;
mod handshake;
mod input;
mod limits;
mod policy;
mod query;
mod routes;
mod schema;
mod ticket;
mod token;

pub use close::close;
pub use content::content;
pub use cookie::cookie;
pub use decoder::decoder;
pub use deflate::deflate;
pub use differential::differential;
pub use handshake::handshake;
pub use limits::limits;
pub use policy::policy;
pub use query::query;
pub use routes::{Outcome, outcome, routes};
pub use schema::schema;
pub use ticket::ticket;
pub use token::token;

/// A target: its name, which is that of its file and of its corpus, and its property.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, in the order of their names.
pub const TARGETS: [Target; 14] = [
    ("close", close),
    ("content", content),
    ("cookie", cookie),
    ("decoder", decoder),
    ("deflate", deflate),
    ("differential", differential),
    ("handshake", handshake),
    ("limits", limits),
    ("policy", policy),
    ("query", query),
    ("routes", routes),
    ("schema", schema),
    ("ticket", ticket),
    ("token", token),
];
