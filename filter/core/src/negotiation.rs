//! What a handshake may agree on beside the connection itself (RFC 6455 §1.9, §9): a subprotocol, and compression.

/// What becomes of permessage-deflate (RFC 7692).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// It is negotiated, and a copy of each message inflated and judged.
    Inspect,
    /// It is negotiated, and compressed messages pass unread.
    Pass,
    /// It is not negotiated.
    Refuse,
}

/// The subprotocols of a policy.
#[derive(Clone, Debug)]
pub struct SubprotocolRules {
    /// The ones that may be negotiated; none means all but tunnels.
    pub allow: Vec<String>,
    /// Whether one has to be offered.
    pub required: bool,
}
