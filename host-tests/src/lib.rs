//! A proxy-wasm host on wasmtime that loads `portcullis.wasm` and drives it without an Envoy.
//!
//! It answers the calls of ABI 0.2.1 as Envoy does, keeps what the filter did to each stream, and misbehaves on demand: every call
//! can fail, header maps can lie, replies can re-enter. It carries no traffic and decides nothing; what a real Envoy adds
//! (HTTP parsing, flow control, TLS) is tested in `portcullis-envoy`.
//!
//! ```text
//! scenario   a policy, a good upgrade, frames: one line of a test each
//! host       streams, callbacks, the clock            module   builds and compiles the filter
//! guest      memory, calls into the module, what a host does when a callback returns
//! abi wasi   the functions the module imports         profile  how the host behaves
//! state stream headers                                the state of the host
//! work       how long instructions take
//! ```

mod abi;
pub mod frame;
mod guest;
mod headers;
mod host;
pub mod module;
mod profile;
pub mod scenario;
mod state;
mod stream;
mod wasi;
pub mod work;

pub use headers::Headers;
pub use host::{FIRST_ROOT, Host, StreamId, Trap};
pub use profile::{Bodies, Fault, Faults, Foreign, Profile, Replies, Wakeups, status};
pub use state::{GrpcCall, HttpCall, Log, Metric};
pub use stream::{Action, Flow, LocalReply, Side, Stream};
