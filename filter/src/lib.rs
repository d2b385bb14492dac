//! Portcullis as a proxy-wasm module: the skin of `portcullis-core` for Envoy, Istio and other hosts of the ABI 0.2.1.
//!
//! ```text
//!              ┌─────────────── exports.rs ◀── the host calls
//!              ▼
//!   vm.rs      finds the context; ticks, wake-ups and answers go to the streams that wait for them
//!   plugin.rs  one plugin: reads its policy; timers, wake-ups, questions
//!   stream.rs  one stream: gathers, calls the core once, carries out its effects ──▶ client_writer.rs  frames of our own to the client
//!              │                                                                └──▶ server_writer.rs  bytes of the client that waited
//!              │                                                                └──▶ calls.rs          questions and their answers
//!              ▼                                                                └──▶ telemetry.rs      metrics
//!   host/      the host in safe terms; host/abi.rs and host/heap.rs are the only unsafe code
//! ```
//!
//! What is decided is decided in `portcullis_core::gate`, whose front page has an example of a call. This module in an Envoy, with a backend behind
//! it and things to try:
//!
//! ```sh
//! cargo demo
//! ```

#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::dbg_macro,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod calls;
mod client_writer;
mod exports;
mod host;
mod plugin;
mod server_writer;
mod stream;
mod telemetry;
#[cfg(feature = "trap")]
mod trap;
mod vm;
