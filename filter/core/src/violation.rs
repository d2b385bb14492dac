//! The closed list of what a peer can do wrong, and what each fault is answered with.
//!
//! One table gives each violation its stable reason id (counters, logs, answers), the HTTP status before the upgrade and
//! the close code after it. Operators rely on the ids: they are never renamed.

/// Makes the violations and their answers of one table, so that none can be left out of either.
macro_rules! violations {
    ($($(#[$doc:meta])+ $name:ident => $answer:expr,)+) => {
        /// Why a handshake, a frame or a connection was refused.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Violation {
            $($(#[$doc])+ $name,)+
        }

        impl Violation {
            /// Every violation, in the order of their names.
            pub const ALL: [Self; [$(stringify!($name)),+].len()] = [$(Self::$name),+];

            /// What this violation is answered with.
            #[must_use]
            pub const fn answer(self) -> Answer {
                match self {
                    $(Self::$name => $answer,)+
                }
            }
        }
    };
}

violations! {
    /// Malformed or repeated upgrade headers, a body on the upgrade, or bytes sent before the answer (RFC 6455 §4.2.1).
    BadUpgrade => before("bad_upgrade", 400),
    /// The upstream's 101 does not answer the request that was sent (RFC 6455 §4.1).
    BadUpstreamHandshake => before("bad_upstream_handshake", 502),
    /// A protocol version other than 13 (RFC 6455 §4.4).
    BadVersion => before("bad_version", 426),
    /// An address that has failed too often (RFC 6585 §4).
    Banned => before("banned", 429),
    /// The credential is genuine, but a required claim is not met (RFC 6750 §3.1).
    ClaimRefused => Answer { close_code: Some(FORBIDDEN), ..before("claim_refused", 403) },
    /// More connections at once than allowed (RFC 6585 §4).
    ConnectionsExceeded => Answer { close_code: Some(1008), ..before("connections_exceeded", 429) },
    /// Two different credentials in one handshake (RFC 6750 §2).
    CredentialAmbiguous => before("credential_ambiguous", 400),
    /// A genuine credential outside its time (RFC 7519 §4.1.4).
    CredentialExpired => Answer { close_code: Some(UNAUTHORIZED), ..before("credential_expired", 401) },
    /// A credential that does not verify (RFC 8725 §3).
    CredentialInvalid => Answer { close_code: Some(UNAUTHORIZED), ..before("credential_invalid", 401) },
    /// No credential in any source (RFC 6750 §3).
    CredentialMissing => Answer { close_code: Some(UNAUTHORIZED), ..before("credential_missing", 401) },
    /// A credential that its issuer, or whoever publishes a list, has taken back (RFC 7009 §2, OpenID Connect Back-Channel Logout 1.0 §2.7).
    CredentialRevoked => Answer { close_code: Some(UNAUTHORIZED), ..before("credential_revoked", 401) },
    /// A peer that does not answer (RFC 6455 §5.5.2).
    Dead => after("dead", 1001),
    /// A message of more fragments than allowed (RFC 6455 §10.4).
    FragmentsExceeded => after("fragments_exceeded", 1008),
    /// More handshakes than allowed (RFC 6585 §4).
    HandshakesExceeded => before("handshakes_exceeded", 429),
    /// An authority that is not served here (RFC 9110 §15.5.20).
    HostRefused => before("host_refused", 421),
    /// A connection that nothing was said on (RFC 6455 §7.4.1).
    Idle => after("idle", 1001),
    /// A fault of ours or of the proxy, never of the peer (RFC 6455 §7.4.1).
    Internal => Answer { reason: "internal", status: Some(500), close_code: Some(1011) },
    /// A compressed payload that cannot be inflated (RFC 7692 §6.2).
    InvalidDeflate => after("invalid_deflate", 1007),
    /// Text that is not JSON (RFC 8259).
    InvalidJson => after("invalid_json", 1007),
    /// Text that is not UTF-8 (RFC 6455 §8.1).
    InvalidUtf8 => after("invalid_utf8", 1007),
    /// JSON over its bounds (RFC 8259 §9).
    JsonRefused => after("json_refused", 1008),
    /// A connection as old as it may become (RFC 6455 §7.4.1).
    Lifetime => after("lifetime", 1001),
    /// A frame or message longer than allowed (RFC 6455 §7.4.1).
    MessageTooBig => after("message_too_big", 1009),
    /// A message that its sender's claims do not allow (RFC 6455 §10.5).
    NotAuthorized => after("not_authorized", 1008),
    /// A request that is no upgrade, where only upgrades are served (RFC 6455 §4.2.1).
    NotWebsocket => before("not_websocket", 403),
    /// An Origin that is missing, malformed or not on the list (RFC 6455 §10.2).
    OriginRefused => before("origin_refused", 403),
    /// More would be held for a peer than there is memory for (RFC 6455 §10.4, RFC 9110 §15.6.4).
    Overloaded => Answer { reason: "overloaded", status: Some(503), close_code: Some(1013) },
    /// A message that says what a rule forbids (RFC 6455 §10.1).
    PatternRefused => after("pattern_refused", 1008),
    /// A connection that cannot be brought under a new policy: "Service Restart" (IANA WebSocket Close Code Registry).
    PolicyChanged => after("policy_changed", 1012),
    /// A frame that RFC 6455 forbids (RFC 6455 §5).
    ProtocolError => after("protocol_error", 1002),
    /// More messages or bytes than allowed (RFC 6455 §10.4).
    RateExceeded => after("rate_exceeded", 1008),
    /// JSON that the schema of its type refuses (RFC 6455 §7.4.1).
    SchemaRefused => after("schema_refused", 1008),
    /// No allowed subprotocol was offered, or one that is a tunnel (RFC 6455 §1.9).
    SubprotocolRefused => before("subprotocol_refused", 403),
    /// A ticket that is none of ours, is over, or was issued to another page or address (RFC 6750 §3.1).
    TicketInvalid => before("ticket_invalid", 401),
    /// A ticket that was redeemed before (RFC 6750 §3.1).
    TicketUsed => before("ticket_used", 401),
    /// An upgrade in plain text (RFC 6455 §10.6).
    TlsRequired => before("tls_required", 403),
    /// A message that takes too long to come (RFC 6455 §10.4).
    TooSlow => after("too_slow", 1008),
    /// A message that begins as another protocol does (RFC 6455 §10.1).
    TunnelRefused => after("tunnel_refused", 1008),
    /// A message of a type (text, binary) that is not allowed (RFC 6455 §7.4.1).
    TypeRefused => after("type_refused", 1003),
    /// The upstream answered other than 101 (RFC 6455 §4.2.2).
    UpstreamRefused => Answer { reason: "upstream_refused", status: None, close_code: None },
}

/// The part of a policy that a violation is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// `auth`.
    Auth,
    /// What stands beside the parts.
    Base,
    /// `limits`.
    Limits,
    /// `liveness`.
    Liveness,
    /// The messages of a side.
    Messages,
    /// `origin`.
    Origin,
    /// What has to be known of a message for rules about places in it.
    Parsed,
    /// What has to be read of a side for any rule about its messages.
    Payload,
    /// `subprotocols`.
    Subprotocols,
    /// All of it, since nothing can be judged.
    Whole,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Auth,
        Self::Base,
        Self::Limits,
        Self::Liveness,
        Self::Messages,
        Self::Origin,
        Self::Parsed,
        Self::Payload,
        Self::Subprotocols,
        Self::Whole,
    ];
}

/// Some parts of a policy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Parts(u16);

impl Parts {
    /// The same, and `part` where it `is_one` of them.
    #[must_use]
    pub const fn with(self, part: Part, is_one: bool) -> Self {
        Self(self.0 | (is_one as u16) << part as u16)
    }

    /// Those of either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `part` is one of them.
    #[must_use]
    pub const fn contains(self, part: Part) -> bool {
        self.0 >> part as u16 & 1 == 1
    }

    /// Whether all of them are among others.
    #[must_use]
    pub const fn are_among(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// "Unauthorized" (IANA WebSocket Close Code Registry).
const UNAUTHORIZED: u16 = 3000;

/// "Forbidden" (IANA WebSocket Close Code Registry).
const FORBIDDEN: u16 = 3003;

/// One row of the table of answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The stable reason id.
    pub reason: &'static str,
    /// The HTTP status before the upgrade, where there is one.
    pub status: Option<u16>,
    /// The close code after the upgrade, where there is one.
    pub close_code: Option<u16>,
}

impl Violation {
    /// The stable id of this violation in counters, logs and answers.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.answer().reason
    }

    /// The key of the policy that this is about; one that begins with a dot is of the side that it is found on. Empty where no key is.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::BadUpgrade
            | Self::BadUpstreamHandshake
            | Self::BadVersion
            | Self::Internal
            | Self::PolicyChanged
            | Self::ProtocolError
            | Self::UpstreamRefused => "",
            Self::Banned => "limits.per_address.failures",
            Self::ClaimRefused | Self::CredentialExpired | Self::CredentialInvalid => "auth.providers",
            Self::ConnectionsExceeded => "limits",
            Self::CredentialAmbiguous | Self::CredentialMissing => "auth.sources",
            Self::CredentialRevoked => "auth.revocation",
            Self::Dead => "liveness.pong_timeout",
            Self::FragmentsExceeded => ".max_fragments",
            Self::HandshakesExceeded => "limits.per_address.handshakes",
            Self::HostRefused => "hosts",
            Self::Idle => "liveness.idle_timeout",
            Self::InvalidDeflate => "compression",
            Self::InvalidJson | Self::JsonRefused | Self::SchemaRefused => ".json",
            Self::InvalidUtf8 => ".utf8",
            Self::Lifetime => "liveness.max_lifetime",
            Self::MessageTooBig => ".max_message_bytes",
            Self::NotAuthorized => ".authorize",
            Self::NotWebsocket => "non_websocket",
            Self::OriginRefused => "origin",
            Self::Overloaded => "limits.held_bytes",
            Self::PatternRefused => ".rule_sets",
            Self::RateExceeded => "limits",
            Self::SubprotocolRefused => "subprotocols",
            Self::TicketInvalid | Self::TicketUsed => "auth.tickets",
            Self::TlsRequired => "require_tls",
            Self::TooSlow => "liveness.message_timeout",
            Self::TunnelRefused => ".tunnels",
            Self::TypeRefused => ".binary",
        }
    }

    /// The part of a policy that it is of, whose mode decides what it does.
    #[must_use]
    pub const fn part(self) -> Part {
        match self {
            Self::BadVersion | Self::HostRefused | Self::NotWebsocket | Self::TlsRequired => Part::Base,
            Self::BadUpgrade
            | Self::BadUpstreamHandshake
            | Self::Internal
            | Self::Overloaded
            | Self::PolicyChanged
            | Self::UpstreamRefused => Part::Whole,
            Self::ClaimRefused
            | Self::CredentialAmbiguous
            | Self::CredentialExpired
            | Self::CredentialInvalid
            | Self::CredentialMissing
            | Self::CredentialRevoked
            | Self::TicketInvalid
            | Self::TicketUsed => Part::Auth,
            Self::Banned | Self::ConnectionsExceeded | Self::HandshakesExceeded | Self::RateExceeded => Part::Limits,
            Self::Dead | Self::Idle | Self::Lifetime | Self::TooSlow => Part::Liveness,
            Self::FragmentsExceeded
            | Self::NotAuthorized
            | Self::PatternRefused
            | Self::SchemaRefused
            | Self::TunnelRefused
            | Self::TypeRefused => Part::Messages,
            Self::InvalidJson | Self::JsonRefused => Part::Parsed,
            Self::InvalidDeflate | Self::InvalidUtf8 | Self::MessageTooBig | Self::ProtocolError => Part::Payload,
            Self::OriginRefused => Part::Origin,
            Self::SubprotocolRefused => Part::Subprotocols,
        }
    }

    /// Whether it is a failed attempt to get in: a credential or ticket that is wrong. One that is missing or out of date is what an honest client
    /// comes with when its session has ended, and two are what another application of the same site can leave in its cookies. An Origin
    /// that is refused, which is judged before any credential, says nothing about the address: any page can make its visitors ask.
    #[must_use]
    pub const fn is_failed_attempt(self) -> bool {
        matches!(self, Self::CredentialInvalid | Self::TicketInvalid | Self::TicketUsed)
    }
}

const fn before(reason: &'static str, status: u16) -> Answer {
    Answer { reason, status: Some(status), close_code: None }
}

const fn after(reason: &'static str, close_code: u16) -> Answer {
    Answer { reason, status: None, close_code: Some(close_code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_in_the_order_of_their_names() {
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
    fn only_a_wrong_credential_counts_against_an_address() {
        let failed: Vec<Violation> = Violation::ALL.into_iter().filter(|v| v.is_failed_attempt()).collect();
        assert_eq!(failed, [Violation::CredentialInvalid, Violation::TicketInvalid, Violation::TicketUsed]);
    }

    #[test]
    fn a_violation_is_small() {
        assert!(size_of::<Violation>() <= 16);
    }
}
