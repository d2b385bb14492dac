//! A request, as it comes in.

use crate::http::headers::Headers;
use crate::limits::admission::Peer;

/// A request, as the host tells of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// All its header fields, pseudo-headers (`:method`, `:path`, `:authority`) among them.
    pub headers: Headers,
    /// The version of HTTP that it came with.
    pub protocol: HttpVersion,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Whether nothing comes behind its header.
    pub end: bool,
    /// Where it comes from.
    pub peer: Peer,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HttpVersion {
    /// HTTP/1.0, which has no upgrades.
    Http10,
    /// HTTP/1.1: `Upgrade: websocket`.
    Http11,
    /// HTTP/2 or HTTP/3: extended CONNECT (RFC 8441, RFC 9220), which proxies show as an upgrade without a key.
    Multiplexed,
}

impl HttpVersion {
    /// Reads the host's name of a version; what it does not tell counts as HTTP/1.1, which asks for the most.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Self {
        match name {
            b"HTTP/1.0" => Self::Http10,
            b"HTTP/2" | b"HTTP/3" => Self::Multiplexed,
            _ => Self::Http11,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_http_is_known_by_name() {
        assert_eq!(HttpVersion::from_name(b"HTTP/2"), HttpVersion::Multiplexed);
        assert_eq!(HttpVersion::from_name(b"HTTP/1.0"), HttpVersion::Http10);
        assert_eq!(HttpVersion::from_name(b"\xff"), HttpVersion::Http11);
    }
}
