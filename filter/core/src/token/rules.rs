//! What a client has to prove, where its credential may be, and what the upstream is told of it.

use core::time::Duration;

use super::Provider;

/// The authentication of a policy.
#[derive(Clone, Debug)]
pub struct AuthRules {
    /// Whether a credential has to be there.
    pub required: bool,
    /// Where one may be.
    pub sources: Vec<Source>,
    /// Whether the upstream gets to see it.
    pub forward: bool,
    /// The issuers of tokens.
    pub providers: Vec<Provider>,
    /// What the upstream is told.
    pub claim_headers: Vec<ClaimHeader>,
    /// How long a live connection outlasts its token; `None`: its token may end.
    pub expiry_grace: Option<Duration>,
}

impl AuthRules {
    /// The provider of this name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }
}

/// A claim that the upstream is told in a header of the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimHeader {
    /// The path of the claim.
    pub claim: String,
    /// The header, in lower case.
    pub name: String,
    /// How the claim is written there.
    pub format: ClaimFormat,
}

/// How a claim is written in a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClaimFormat {
    /// Base64 (RFC 4648 §4) of a string, or of the JSON of anything else.
    Base64,
    /// JSON, in ASCII.
    Json,
    /// As it is; the elements of a list are joined by commas.
    Text,
}

/// A place in the handshake where a credential may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// The cookie of this name.
    Cookie(String),
    /// `<scheme> <token>` in the header of this name, in lower case; in others than `authorization` also bare.
    Header {
        /// The name of the header.
        name: String,
        /// The scheme.
        scheme: String,
    },
    /// The query parameter of this name.
    Query(String),
    /// `<marker>, <token>` or `<marker>.<base64url token>` among the subprotocols.
    Subprotocol(String),
}
