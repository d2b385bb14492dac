//! Raw WebSocket peers for tests and the demo: a client and a backend that can break every rule.
//!
//! A polite WebSocket library cannot send what an attacker sends, so these peers work on bytes: each line of the
//! upgrade and each bit of a frame header is the caller's. They are synchronous, one thread a connection, and speak to
//! loopback addresses only by what their callers hand them. They are no model of a WebSocket implementation: they check
//! nothing unless asked (RFC 6455 is what the thing between them is there for).
//!
//! ```text
//! client::Client ──TCP or TLS──▶ Envoy + portcullis ──TCP──▶ backend::Backend
//! http2::Session ──TLS, HTTP/2─▶
//!   Upgrade, Answer, WebSocket                                 Mode, Request (head, bytes, end)
//!                  frame::Frame and frame::Draft on both sides
//! ```

pub mod backend;
pub mod certificate;
pub mod client;
mod connection;
pub mod frame;
pub mod head;
pub mod http2;
mod play;
mod upgrade;
pub mod websocket;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use rustls::crypto::{CryptoProvider, ring};

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(ring::default_provider);

/// Fills an array from the system's random numbers.
fn random<const SIZE: usize>() -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    PROVIDER.secure_random.fill(&mut bytes).expect("the system has random numbers");
    bytes
}
