//! The pieces of an HTTP request that a verdict needs, read strictly: bytes in, values out.

pub mod authority;
pub mod cookie;
pub mod extensions;
pub mod headers;
pub mod list;
pub mod origin;
pub mod path;
pub mod query;

/// A value that does not follow its grammar.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed;
