//! JSON Web Tokens (RFC 7519) with the cautions of RFC 8725.
//!
//! ```text
//! bytes ── jws::parse ──▶ Jws ── candidates (keys) ──▶ claims::check ──▶ Verified
//! ```
//!
//! The token never chooses how it is checked: its provider fixes the algorithms and the keys. Nothing in the header is
//! followed (`jku`, `x5u`, `jwk`, `x5c`), and a [`Verified`] token can only be made here.

pub mod claims;
mod der;
pub mod jws;
pub mod keys;
pub mod rules;
pub mod shape;
pub mod signatures;
pub mod verified;

use std::rc::Rc;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::identity::key_set::RemoteKeys;
use crate::identity::lookup::Lookup;
use crate::json;
use crate::refusal::{Detail, Refusal};
use crate::secret::Secret;
use crate::time::Timestamp;
use claims::ClaimRules;
use jws::Jws;
use keys::{KEYS_TRIED_MAX, Key, KeyDigest, Keys};
use signatures::Signatures;

/// An issuer that is trusted.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The operator's name for it.
    pub name: String,
    /// The keys and algorithms that it signs with; where it publishes its keys, none before they are known.
    pub keys: Rc<Keys>,
    /// Where it publishes them.
    pub remote: Option<Rc<RemoteKeys>>,
    /// Where it says itself whose a token is: then it has no keys.
    pub lookup: Option<Rc<Lookup>>,
    /// What its claims must say.
    pub rules: ClaimRules,
}

/// A credential that is genuine, and whose claims hold.
#[derive(Clone)]
pub struct Verified {
    provider: Rc<str>,
    claims: Map<String, Value>,
    /// Whether the issuer writes the subject as an integer.
    is_numbered: bool,
    /// The claims as they came.
    text: Rc<[u8]>,
    mark: Rc<[u8]>,
    expires_at: Timestamp,
}

impl core::fmt::Debug for Verified {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Verified({} claims of {})", self.claims.len(), self.provider)
    }
}

/// A verified token in little memory: at most that of the token itself.
#[derive(Clone)]
pub struct Packed {
    provider: Rc<str>,
    text: Rc<[u8]>,
    mark: Rc<[u8]>,
    expires_at: Timestamp,
}

impl core::fmt::Debug for Packed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Packed({} bytes of {})", self.text.len(), self.provider)
    }
}

impl Packed {
    /// What was verified before, and comes back in a ticket of ours.
    #[must_use]
    pub(crate) const fn restored(provider: Rc<str>, text: Rc<[u8]>, mark: Rc<[u8]>, expires_at: Timestamp) -> Self {
        Self { provider, text, mark, expires_at }
    }

    /// The name of the provider that issued it.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The claims as they came.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// When it ends (`exp`), without any leeway.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The token; what was read once can be read again.
    #[must_use]
    pub fn open(&self) -> Option<Verified> {
        let Ok(Value::Object(mut claims)) = json::parse(&self.text) else { return None };
        let is_numbered = claims::read_subject(&mut claims);
        Some(Verified {
            provider: Rc::clone(&self.provider),
            is_numbered,
            claims,
            text: Rc::clone(&self.text),
            mark: Rc::clone(&self.mark),
            expires_at: self.expires_at,
        })
    }
}

impl Verified {
    /// One that has not been verified.
    #[cfg(test)]
    pub(crate) fn forged(claims: Map<String, Value>) -> Self {
        let text = Value::Object(claims.clone()).to_string().into_bytes();
        Self::told("forged", claims, text.into(), Timestamp::from_secs(u64::MAX))
    }

    /// What a service has said of a credential that it knows: these claims, and their JSON. Whether they are right is for the caller to have
    /// checked.
    #[must_use]
    pub fn told(provider: &str, mut claims: Map<String, Value>, text: Rc<[u8]>, expires_at: Timestamp) -> Self {
        let is_numbered = claims::read_subject(&mut claims);
        Self { provider: provider.into(), is_numbered, claims, mark: Rc::clone(&text), text, expires_at }
    }

    /// The same, told from others by `mark` where it names no subject: of several credentials the same may be said.
    #[must_use]
    pub fn marked(self, mark: &[u8]) -> Self {
        Self { mark: mark.into(), ..self }
    }

    /// The same with its end, where `rules` hold for it.
    ///
    /// # Errors
    /// Those of [`ClaimRules::check`], and [`Violation::CredentialInvalid`](crate::violation::Violation::CredentialInvalid) for another issuer.
    pub fn checked(self, rules: &ClaimRules, now: Timestamp) -> Result<Self, Refusal> {
        let expires_at = self.ends_at(rules, now)?;
        Ok(Self { expires_at, ..self })
    }

    /// When it ends, where `rules` hold for it.
    fn ends_at(&self, rules: &ClaimRules, now: Timestamp) -> Result<Timestamp, Refusal> {
        let is_issuer = rules.accepts_issuer(self.claims.get("iss"));
        let checked = if is_issuer { rules.check(&self.claims, now) } else { Err(Refusal::invalid(Detail::Issuer)) };
        checked.map_err(|refusal| refusal.with(|cause| cause.holder = Some(self.holder())))
    }

    /// The names of its provider and its subject; the latter is empty where there is none.
    #[must_use]
    pub fn holder(&self) -> (String, String) {
        (self.provider().to_owned(), self.subject().unwrap_or_default().to_owned())
    }

    /// What is kept where no rule reads the claims yet.
    #[must_use]
    pub fn pack(&self) -> Packed {
        let Self { provider, text, mark, expires_at, .. } = self;
        Packed { provider: Rc::clone(provider), text: Rc::clone(text), mark: Rc::clone(mark), expires_at: *expires_at }
    }

    /// The name of the provider that issued it.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Whether `rules` hold for it, but for its times.
    #[must_use]
    pub fn meets(&self, rules: &ClaimRules) -> bool {
        rules.accept(&self.claims)
    }

    /// Checks again what `rules` ask for, times included.
    ///
    /// # Errors
    /// Those of [`ClaimRules::check`]; [`Violation::CredentialInvalid`](crate::violation::Violation::CredentialInvalid) also for another issuer.
    pub fn check(&self, rules: &ClaimRules, now: Timestamp) -> Result<(), Refusal> {
        self.ends_at(rules, now).map(drop)
    }

    /// The subject (`sub`), where there is one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    /// Whether another speaks for the same subject of the same provider. One without a subject is like no other.
    #[must_use]
    pub fn is_of_one_subject(&self, other: &Self) -> bool {
        self.provider == other.provider && self.subject().is_some() && self.subject() == other.subject()
    }

    /// The claims as they came.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// What tells it from every other where it names no subject: the claims as they came, or what it was [marked](Self::marked) with.
    #[must_use]
    pub fn mark(&self) -> &[u8] {
        &self.mark
    }

    /// Whether the claim at `path` is a subject that the issuer writes as an integer: messages may write it so too.
    #[must_use]
    pub fn is_number(&self, path: &str) -> bool {
        self.is_numbered && matches!(path, "sub" | "/sub")
    }

    /// When it ends (`exp`), without any leeway.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The claim that `path` names; one that is null is absent.
    #[must_use]
    pub fn claim(&self, path: &str) -> Option<&Value> {
        claims::find(&self.claims, path)
    }
}

/// Why a token is not accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Providers, by index, that accept its issuer and its algorithm have no key that the token can mean: they may have a new one. Then the key that it names.
    UnknownKey(Vec<usize>, Option<String>),
    /// It breaks a rule.
    Refused(Refusal),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::UnknownKey(_, key_id) => Self::unknown_key(key_id),
            Fault::Refused(refusal) => refusal,
        }
    }
}

/// The key that made a signature, and how the token chose it.
struct Signer {
    algorithm: Algorithm,
    key_id: Option<String>,
    key: Secret<KeyDigest>,
}

/// The keys that a token is tried with, in this order: those of the id that it names, then those that it leaves open.
fn candidates<'p, 't>(
    providers: &'p [Provider],
    issuer: Option<&'t Value>,
    algorithm: Algorithm,
    id: Option<&'t str>,
) -> impl Iterator<Item = (&'p Provider, &'p Key)> + use<'p, 't> {
    // The issuer only narrows the choice of keys; it is trusted no earlier than its signature.
    let fitting = move || providers.iter().filter(move |provider| provider.rules.accepts_issuer(issuer));
    let named = fitting().flat_map(move |provider| provider.keys.named(algorithm, id).map(move |key| (provider, key)));
    let unnamed =
        fitting().flat_map(move |provider| provider.keys.unnamed(algorithm, id).map(move |key| (provider, key)));
    named.chain(unnamed).take(KEYS_TRIED_MAX)
}

/// What no key has signed: whose key may be missing.
fn unsigned(jws: &Jws<'_>, providers: &[Provider]) -> Fault {
    let (issuer, algorithm, id) = (jws.claims().get("iss"), jws.algorithm(), jws.key_id());
    let lacks_key = |provider: &Provider| {
        provider.rules.accepts_issuer(issuer)
            && provider.keys.lists(algorithm)
            && provider.keys.named(algorithm, id).next().is_none()
            && (id.is_some() || provider.keys.unnamed(algorithm, id).next().is_none())
    };
    let lacking: Vec<usize> =
        providers.iter().enumerate().filter(|(_, provider)| lacks_key(provider)).map(|(index, _)| index).collect();
    if !lacking.is_empty() {
        return Fault::UnknownKey(lacking, id.map(str::to_owned));
    }
    let accepting = || providers.iter().filter(|provider| provider.rules.accepts_issuer(issuer));
    let detail = match () {
        () if accepting().next().is_none() => Detail::Issuer,
        () if !accepting().any(|provider| provider.keys.lists(algorithm)) => Detail::Algorithm,
        () if candidates(providers, issuer, algorithm, id).next().is_none() => Detail::Key,
        () => Detail::Signature,
    };
    Fault::Refused(Refusal::invalid(detail).with(|cause| cause.key_id = id.map(str::to_owned)))
}

/// Checks a compact token against the trusted providers, by our own arithmetic.
///
/// # Errors
/// [`Violation::CredentialInvalid`](crate::violation::Violation::CredentialInvalid) when it is malformed or no provider's key fits, [`Violation::CredentialExpired`](crate::violation::Violation::CredentialExpired)
/// when it is genuine but outside its time, [`Violation::ClaimRefused`](crate::violation::Violation::ClaimRefused) when a required claim is not met.
pub fn verify(token: &[u8], providers: &[Provider], now: Timestamp) -> Result<Verified, Refusal> {
    Ok(verify_signed(token, providers, now, &Signatures::default())?.0)
}

/// The claims of a token of another kind than a credential, where one of `providers` has signed it.
///
/// # Errors
/// [`Fault::UnknownKey`] where a provider may have a new key, else [`Violation::CredentialInvalid`](crate::violation::Violation::CredentialInvalid).
pub fn signed_claims(jws: Jws<'_>, providers: &[Provider]) -> Result<Map<String, Value>, Fault> {
    candidates(providers, jws.claims().get("iss"), jws.algorithm(), jws.key_id())
        .find(|(_, key)| key.verify(&jws))
        .ok_or_else(|| unsigned(&jws, providers))?;
    Ok(jws.into_claims().0)
}

/// [`verify`], by `signatures`; tells who signed it, and whose key may be missing.
fn verify_signed(
    token: &[u8],
    providers: &[Provider],
    now: Timestamp,
    signatures: &Signatures,
) -> Result<(Verified, Signer), Fault> {
    let jws = Jws::parse(token)?;
    let (provider, key) = candidates(providers, jws.claims().get("iss"), jws.algorithm(), jws.key_id())
        .find(|(_, key)| signatures.verify(key, &jws))
        .ok_or_else(|| unsigned(&jws, providers))?;
    let key_id = jws.key_id().map(str::to_owned);
    let signer = Signer { algorithm: jws.algorithm(), key_id, key: key.digest().clone() };
    let (claims, text) = jws.into_claims();
    let verified = Verified::told(&provider.name, claims, text.into(), Timestamp::default());
    Ok((verified.checked(&provider.rules, now)?, signer))
}

#[cfg(test)]
mod tests;
