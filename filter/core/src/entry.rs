//! How a live connection came in: what a handshake is asked that can be asked again under another policy.
//!
//! Asked again: TLS, host, Origin, the negotiated subprotocol, and of the token its provider, issuer, audience and required claims. Not
//! asked again: its signature, since only its claims are kept, and `nbf` and `max_age`; where the credential stood; what is counted. Its end
//! (`exp`) is watched by the session.

use std::rc::Rc;

use crate::access::Access;
use crate::http::Malformed;
use crate::http::authority::Authority;
use crate::http::origin::OriginRules;
use crate::http::origin::{Claim, Origin};
use crate::policy::Policy;
use crate::policy::routes::Place;
use crate::time::Timestamp;
use crate::token::{Packed, Verified};
use crate::violation::{Part, Parts};

/// The longest `Origin` that is kept, in bytes: a scheme, a host of 255 and a port. A longer one is no origin.
const ORIGIN_LEN_MAX: usize = 300;

/// How much memory claims take that are read, for each byte of theirs.
const OPEN_FACTOR: usize = 12;

/// What is kept of a handshake.
#[derive(Debug, Default)]
pub struct Entry {
    /// It came over TLS.
    pub tls: bool,
    /// A proxy in front says so.
    pub forwarded_tls: bool,
    /// What its `Origin` line says.
    pub origin: Option<Box<[u8]>>,
    /// The subprotocol that was negotiated carries another protocol, so it has to be listed.
    pub is_tunnel: bool,
    /// The claims of its token.
    pub credential: Option<Credential>,
    /// It brought none, and its first message may.
    pub is_unproven: bool,
    /// What it would have been refused for were it not only monitored: then not everything about it is known.
    pub flaws: Parts,
}

/// What is known of a client.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Its claims are read with messages.
    Open(Rc<Verified>),
    /// They are kept for a policy that does.
    Packed(Packed),
}

impl Credential {
    /// What is kept of a credential, whose claims messages are judged by or not.
    #[must_use]
    pub fn new(verified: &Rc<Verified>, is_read: bool) -> Self {
        if is_read { Self::Open(Rc::clone(verified)) } else { Self::Packed(verified.pack()) }
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn memory_len(&self) -> usize {
        match self {
            Self::Open(verified) => verified.text().len().saturating_mul(OPEN_FACTOR),
            Self::Packed(packed) => packed.text().len(),
        }
    }

    /// The name of the provider that issued its token.
    #[must_use]
    pub fn provider(&self) -> &str {
        match self {
            Self::Open(verified) => verified.provider(),
            Self::Packed(packed) => packed.provider(),
        }
    }

    /// When its token ends, without any leeway.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        match self {
            Self::Open(verified) => verified.expires_at(),
            Self::Packed(packed) => packed.expires_at(),
        }
    }

    /// The claims, to be read.
    #[must_use]
    pub fn open(&self) -> Option<Rc<Verified>> {
        match self {
            Self::Open(verified) => Some(Rc::clone(verified)),
            Self::Packed(packed) => packed.open().map(Rc::new),
        }
    }
}

impl Entry {
    /// An `Origin` line as it is kept.
    #[must_use]
    pub fn kept_origin(line: &[u8]) -> Box<[u8]> {
        line.get(..ORIGIN_LEN_MAX).map_or_else(|| line.into(), |_| Box::default())
    }

    /// The parts of `policy` that would not let it in, with the subprotocol that was negotiated, or none.
    #[must_use]
    pub fn faults(&self, policy: &Policy, place: &Place, subprotocol: &str) -> Parts {
        let is_host = |authority| policy.hosts.iter().any(|host| host.matches(authority));
        let is_listed = policy.subprotocols.allow.iter().any(|allowed| allowed == subprotocol);
        let is_any = policy.subprotocols.allow.is_empty() && !self.is_tunnel;
        let is_secure = self.tls || (policy.trust_forwarded_proto && self.forwarded_tls);
        let is_reached =
            (!policy.require_tls || is_secure) && (policy.hosts.is_empty() || place.authority().is_some_and(is_host));
        let origin = self.origin.as_deref();
        self.flaws
            .with(Part::Auth, !self.is_known(policy))
            .with(Part::Base, !is_reached)
            .with(Part::Origin, !allows_origin(&policy.origin, origin, place.authority(), is_secure))
            .with(Part::Subprotocols, !(subprotocol.is_empty() || is_listed || is_any))
            .with(Part::Parsed, !policy.admits(subprotocol))
    }

    /// Whether `policy` knows who it is, or awaits that.
    #[must_use]
    pub fn is_known(&self, policy: &Policy) -> bool {
        let Some(credential) = &self.credential else {
            return !policy.auth.required || (self.is_unproven && policy.awaits_first_message());
        };
        let Some(verified) = credential.open() else { return false };
        policy.auth.provider(verified.provider()).is_some_and(|provider| verified.meets(&provider.rules))
    }
}

/// Whether the `Origin` of a request, where it has one, may ask (RFC 6455 §10.2).
#[must_use]
pub fn allows_origin(rules: &OriginRules, line: Option<&[u8]>, authority: Option<&Authority>, secure: bool) -> bool {
    let is_same_host = |origin: &Origin| {
        rules.same_host == Access::Allow && authority.is_some_and(|authority| origin.is_at(authority, secure))
    };
    match line.map(Claim::parse) {
        None => rules.missing == Access::Allow,
        Some(Ok(Claim::Opaque)) => rules.opaque == Access::Allow,
        Some(Ok(Claim::Tuple(origin))) => {
            rules.allow.iter().any(|pattern| pattern.matches(&origin)) || is_same_host(&origin)
        }
        Some(Err(Malformed)) => false,
    }
}
