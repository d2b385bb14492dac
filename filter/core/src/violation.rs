//! The closed list of what a peer can do wrong, and what each fault is answered with.
//!
//! One table gives each violation its stable reason id (counters, logs, answers), the HTTP status before the upgrade,
//! the close code after it, and where the rule comes from. Operators rely on the ids: they are never renamed.

/// Why a handshake, a frame or a connection was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Violation {
    /// Malformed or repeated upgrade headers, a body on the upgrade, or bytes sent before the answer.
    BadUpgrade,
    /// The upstream's 101 does not answer the request that was sent.
    BadUpstreamHandshake,
    /// A protocol version other than 13.
    BadVersion,
    /// The credential is genuine, but a required claim is not met.
    ClaimRefused,
    /// More connections at once than allowed.
    ConnectionsExceeded,
    /// Two different credentials in one handshake.
    CredentialAmbiguous,
    /// A genuine credential outside its time.
    CredentialExpired,
    /// A credential that does not verify.
    CredentialInvalid,
    /// No credential in any source.
    CredentialMissing,
    /// A peer that does not answer.
    Dead,
    /// A message of more fragments than allowed.
    FragmentsExceeded,
    /// More handshakes than allowed, or one from an address that is banned.
    HandshakesExceeded,
    /// An authority that is not served here.
    HostRefused,
    /// A connection that nothing was said on.
    Idle,
    /// A fault of ours or of the proxy, never of the peer.
    Internal,
    /// A compressed payload that cannot be inflated.
    InvalidDeflate,
    /// Text that is not JSON.
    InvalidJson,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// JSON over its bounds.
    JsonRefused,
    /// A connection as old as it may become.
    Lifetime,
    /// A frame or message longer than allowed.
    MessageTooBig,
    /// A message that its sender's claims do not allow.
    NotAuthorized,
    /// A request that is no upgrade, where only upgrades are served.
    NotWebsocket,
    /// An Origin that is missing, malformed or not on the list.
    OriginRefused,
    /// More payload would be held for judgement than allowed.
    Overloaded,
    /// A message that says what a rule forbids.
    PatternRefused,
    /// A frame that RFC 6455 forbids.
    ProtocolError,
    /// More messages or bytes than allowed.
    RateExceeded,
    /// JSON that the schema of its type refuses.
    SchemaRefused,
    /// No allowed subprotocol was offered, or one that is a tunnel.
    SubprotocolRefused,
    /// An upgrade in plain text.
    TlsRequired,
    /// A message that takes too long to come.
    TooSlow,
    /// A message that begins as another protocol does.
    TunnelRefused,
    /// A message of a type (text, binary) that is not allowed.
    TypeRefused,
    /// The upstream answered other than 101.
    UpstreamRefused,
}

/// One row of the table of answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The stable reason id.
    pub reason: &'static str,
    /// The HTTP status before the upgrade, where there is one.
    pub status: Option<u16>,
    /// The close code after the upgrade, where there is one.
    pub close_code: Option<u16>,
    /// The section that the rule comes from.
    pub section: &'static str,
}

impl Violation {
    /// Every violation, in the order of their names.
    pub const ALL: [Self; 35] = [
        Self::BadUpgrade,
        Self::BadUpstreamHandshake,
        Self::BadVersion,
        Self::ClaimRefused,
        Self::ConnectionsExceeded,
        Self::CredentialAmbiguous,
        Self::CredentialExpired,
        Self::CredentialInvalid,
        Self::CredentialMissing,
        Self::Dead,
        Self::FragmentsExceeded,
        Self::HandshakesExceeded,
        Self::HostRefused,
        Self::Idle,
        Self::Internal,
        Self::InvalidDeflate,
        Self::InvalidJson,
        Self::InvalidUtf8,
        Self::JsonRefused,
        Self::Lifetime,
        Self::MessageTooBig,
        Self::NotAuthorized,
        Self::NotWebsocket,
        Self::OriginRefused,
        Self::Overloaded,
        Self::PatternRefused,
        Self::ProtocolError,
        Self::RateExceeded,
        Self::SchemaRefused,
        Self::SubprotocolRefused,
        Self::TlsRequired,
        Self::TooSlow,
        Self::TunnelRefused,
        Self::TypeRefused,
        Self::UpstreamRefused,
    ];

    /// The stable id of this violation in counters, logs and answers.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.answer().reason
    }

    /// Whether it is a failed attempt to get in, as somebody makes who tries: a credential or an origin that is wrong. One that is
    /// missing or out of date is what honest clients come with when their session has ended.
    #[must_use]
    pub const fn is_failed_attempt(self) -> bool {
        matches!(self, Self::CredentialAmbiguous | Self::CredentialInvalid | Self::OriginRefused)
    }

    /// What this violation is answered with.
    #[must_use]
    pub const fn answer(self) -> Answer {
        match self {
            Self::BadUpgrade => before("bad_upgrade", 400, "RFC 6455 §4.2.1"),
            Self::BadUpstreamHandshake => before("bad_upstream_handshake", 502, "RFC 6455 §4.1"),
            Self::BadVersion => before("bad_version", 426, "RFC 6455 §4.4"),
            Self::ClaimRefused => before("claim_refused", 403, "RFC 6750 §3.1"),
            Self::ConnectionsExceeded => before("connections_exceeded", 429, "RFC 6585 §4"),
            Self::CredentialAmbiguous => before("credential_ambiguous", 400, "RFC 6750 §2"),
            Self::CredentialExpired => before("credential_expired", 401, "RFC 7519 §4.1.4"),
            Self::CredentialInvalid => before("credential_invalid", 401, "RFC 8725 §3"),
            Self::CredentialMissing => before("credential_missing", 401, "RFC 6750 §3"),
            Self::Dead => after("dead", 1001, "RFC 6455 §5.5.2"),
            Self::FragmentsExceeded => after("fragments_exceeded", 1008, "RFC 6455 §10.4"),
            Self::HandshakesExceeded => before("handshakes_exceeded", 429, "RFC 6585 §4"),
            Self::HostRefused => before("host_refused", 421, "RFC 9110 §15.5.20"),
            Self::Idle => after("idle", 1001, "RFC 6455 §7.4.1"),
            Self::Internal => {
                Answer { reason: "internal", status: Some(500), close_code: Some(1011), section: "RFC 6455 §7.4.1" }
            }
            Self::InvalidDeflate => after("invalid_deflate", 1007, "RFC 7692 §6.2"),
            Self::InvalidJson => after("invalid_json", 1007, "RFC 8259"),
            Self::InvalidUtf8 => after("invalid_utf8", 1007, "RFC 6455 §8.1"),
            Self::JsonRefused => after("json_refused", 1008, "RFC 8259 §9"),
            Self::Lifetime => after("lifetime", 1001, "RFC 6455 §7.4.1"),
            Self::MessageTooBig => after("message_too_big", 1009, "RFC 6455 §7.4.1"),
            Self::NotAuthorized => after("not_authorized", 1008, "RFC 6455 §10.5"),
            Self::NotWebsocket => before("not_websocket", 403, "RFC 6455 §4.2.1"),
            Self::OriginRefused => before("origin_refused", 403, "RFC 6455 §10.2"),
            // IANA WebSocket Close Code Registry: "Try Again Later".
            Self::Overloaded => after("overloaded", 1013, "RFC 6455 §10.4"),
            Self::PatternRefused => after("pattern_refused", 1008, "RFC 6455 §10.1"),
            Self::ProtocolError => after("protocol_error", 1002, "RFC 6455 §5"),
            Self::RateExceeded => after("rate_exceeded", 1008, "RFC 6455 §10.4"),
            Self::SchemaRefused => after("schema_refused", 1008, "RFC 6455 §7.4.1"),
            Self::SubprotocolRefused => before("subprotocol_refused", 403, "RFC 6455 §1.9"),
            Self::TlsRequired => before("tls_required", 403, "RFC 6455 §10.6"),
            Self::TooSlow => after("too_slow", 1008, "RFC 6455 §10.4"),
            Self::TunnelRefused => after("tunnel_refused", 1008, "RFC 6455 §10.1"),
            Self::TypeRefused => after("type_refused", 1003, "RFC 6455 §7.4.1"),
            Self::UpstreamRefused => {
                Answer { reason: "upstream_refused", status: None, close_code: None, section: "RFC 6455 §4.2.2" }
            }
        }
    }
}

const fn before(reason: &'static str, status: u16, section: &'static str) -> Answer {
    Answer { reason, status: Some(status), close_code: None, section }
}

const fn after(reason: &'static str, close_code: u16, section: &'static str) -> Answer {
    Answer { reason, status: None, close_code: Some(close_code), section }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_is_listed_once_in_order() {
        let names: Vec<String> = Violation::ALL.iter().map(|v| format!("{v:?}")).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn reasons_are_unique_and_fit_a_close_frame() {
        let mut reasons: Vec<&str> = Violation::ALL.iter().map(|v| v.reason()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), Violation::ALL.len());
        assert!(reasons.iter().all(|r| r.len() <= 123));
    }

    #[test]
    fn a_violation_is_small() {
        assert!(size_of::<Violation>() <= 16);
    }
}
