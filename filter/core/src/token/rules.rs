//! What a client has to prove, where its credential may be, and what the upstream is told of it.

use core::time::Duration;
use std::rc::Rc;

use super::Provider;
use super::jws::Jws;
use crate::cluster::{Bindings, Cluster};
use crate::identity::feed::RemoteFeed;
use crate::identity::lookup::Lookup;
use crate::identity::signed_cookie::CookieKey;
use crate::identity::tickets::TicketRules;
use crate::refusal::Refusal;

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
    /// The session cookie of an application.
    pub cookie: Option<SessionCookie>,
    /// What the upstream is told.
    pub claim_headers: Vec<ClaimHeader>,
    /// How long a live connection outlasts its token; `None`: its token may end.
    pub expiry_grace: Option<Duration>,
    /// The tickets that stand in for a credential.
    pub tickets: Option<TicketRules>,
    /// The list of what is revoked.
    pub revocation: Option<RevocationRules>,
    /// Where a provider posts that a session has ended.
    pub logout: Option<LogoutRules>,
}

/// How a list of what is revoked counts.
#[derive(Clone, Debug)]
pub struct RevocationRules {
    /// The list.
    pub feed: Rc<RemoteFeed>,
    /// Whether a credential is good where no list could be had yet.
    pub admits_unknown: bool,
}

/// Where a provider posts logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogoutRules {
    /// The path, as [`crate::http::path::canonical`] writes it.
    pub path: String,
    /// The provider, by its number among those of the policy.
    pub provider: usize,
    /// Clusters that a logout is sent on to, each another proxy.
    pub peers: Vec<Cluster>,
}

impl AuthRules {
    /// Sees each cluster that it names.
    pub fn see_clusters(&self, see: &mut dyn FnMut(&Cluster)) {
        for provider in &self.providers {
            provider.remote.iter().for_each(|remote| see(&remote.cluster));
            provider.lookup.iter().for_each(|lookup| see(&lookup.cluster));
        }
        if let Some(SessionCookie { proof: Proof::Lookup(lookup), .. }) = &self.cookie {
            see(&lookup.cluster);
        }
        self.revocation.iter().for_each(|revocation| see(&revocation.feed.cluster));
        self.logout.iter().flat_map(|logout| &logout.peers).for_each(see);
    }

    /// Gives its clusters the names that `bindings` have for their aliases. What others share stays as it is.
    pub fn bind(&mut self, bindings: &Bindings) {
        for provider in &mut self.providers {
            provider.remote.iter_mut().for_each(|remote| Rc::make_mut(remote).cluster.bind(bindings));
            provider.lookup.iter_mut().for_each(|lookup| Rc::make_mut(lookup).cluster.bind(bindings));
        }
        if let Some(SessionCookie { proof: Proof::Lookup(lookup), .. }) = &mut self.cookie {
            Rc::make_mut(lookup).cluster.bind(bindings);
        }
        self.revocation.iter_mut().for_each(|revocation| Rc::make_mut(&mut revocation.feed).cluster.bind(bindings));
        self.logout.iter_mut().flat_map(|logout| &mut logout.peers).for_each(|peer| peer.bind(bindings));
    }

    /// The issuer whose tokens the provider of this name issues, where the policy says so.
    #[must_use]
    pub fn issuer(&self, provider: &str) -> Option<&str> {
        self.provider(provider)?.rules.issuer.as_deref()
    }

    /// The provider of this name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        let cookie = self.cookie.iter().map(|cookie| &cookie.provider);
        self.providers.iter().chain(cookie).find(|provider| provider.name == name)
    }

    /// Completes the path of a refusal whose credential is of a provider of these: its rules do not know where they stand.
    pub fn locate(&self, refusal: &mut Refusal) {
        let is_of_provider = refusal.violation.key() == "auth.providers";
        let Some(cause) = refusal.cause.as_mut().filter(|_| is_of_provider) else { return };
        let Some((provider, _)) = &cause.holder else { return };
        let is_own = |own: &Provider| own.name == *provider;
        let at = match self.providers.iter().position(is_own) {
            Some(index) => format!("auth.providers[{index}]"),
            None if self.cookie.as_ref().is_some_and(|cookie| is_own(&cookie.provider)) => "auth.cookie".to_owned(),
            None => return,
        };
        let dot = if cause.at.is_empty() { "" } else { "." };
        cause.at = [&at, dot, &cause.at].concat();
    }

    /// Whether a token of any shape may be a credential, since there is a provider that is asked about it.
    #[must_use]
    pub fn introspects(&self) -> bool {
        self.introspecting().is_some()
    }

    fn introspecting(&self) -> Option<(&Provider, &Rc<Lookup>)> {
        self.providers.iter().find_map(|provider| Some((provider, provider.lookup.as_ref()?)))
    }

    /// The provider that has to be asked about a token: no JWT, or one whose issuer has no keys here. One that names an issuer of which nothing is
    /// known here is shown to nobody.
    #[must_use]
    pub fn asked_about(&self, token: &[u8]) -> Option<(&Provider, &Rc<Lookup>)> {
        let (provider, lookup) = self.introspecting()?;
        let Ok(jws) = Jws::parse(token) else { return Some((provider, lookup)) };
        let issuer = jws.claims().get("iss");
        let mut with_keys = self.providers.iter().filter(|provider| provider.lookup.is_none());
        let is_asked = !with_keys.any(|own| own.rules.accepts_issuer(issuer)) && provider.rules.accepts_issuer(issuer);
        is_asked.then_some((provider, lookup))
    }

    /// Where a request of this policy may have credentials.
    pub fn places(&self) -> impl Iterator<Item = Source> {
        let cookie = self.cookie.iter().map(|cookie| Source::Cookie(cookie.name.clone()));
        self.sources.iter().cloned().chain(cookie)
    }
}

/// A session cookie of an application: no token, whatever it looks like.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    /// Its name.
    pub name: String,
    /// The provider that its subjects belong to, with the rules for what is said of them.
    pub provider: Provider,
    /// What shows that it is good.
    pub proof: Proof,
}

/// What shows that a session cookie is good.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The word of the application.
    Lookup(Rc<Lookup>),
    /// Its signature.
    Signature(CookieKey),
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
    /// A ticket in the query parameter of this name.
    Ticket(String),
}
