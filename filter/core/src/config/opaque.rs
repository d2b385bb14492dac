//! The keys of credentials that only a service can read, and of session cookies.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::rc::Rc;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::findings::Findings;
use super::raw::{RawClient, RawCookie, RawHmac, RawIntrospection, RawLookup};
use super::secret::{Environment, secret};
use super::values::{Span, span_within};
use crate::cluster::Cluster;
use crate::http::Malformed;
use crate::http::list::token;
use crate::identity::lookup::{Form, Lookup};
use crate::identity::signed_cookie::CookieKey;
use crate::token::Provider;
use crate::token::claims::ClaimRules;
use crate::token::keys::Keys;
use crate::token::rules::{Proof, SessionCookie};

/// The provider that the subjects of session cookies belong to.
pub(super) const COOKIE_PROVIDER: &str = "cookie";

/// How long a request may take: a handshake waits so long.
pub(super) const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(30);

/// The longest time that a session which has ended elsewhere is still let in.
const CACHE_MAX: Duration = Duration::from_secs(60 * 60);

/// How far clocks may differ where the policy does not say.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The longest path, in bytes: what servers and proxies agree on.
const PATH_LEN_MAX: usize = 2_048;

/// Builds what a session cookie is and what shows that it is good.
pub(super) fn cookie(raw: &RawCookie, environment: Environment<'_>, found: &mut Findings) -> Option<SessionCookie> {
    let name = raw.name.as_deref();
    match name.map(|name| token(name.as_bytes())) {
        None => found.fault("name", "is required"),
        Some(Err(Malformed)) => found.fault("name", "expected a token (RFC 9110 §5.6.2)"),
        Some(Ok(_)) => {}
    }
    let proof = match (&raw.hmac, &raw.lookup) {
        (Some(hmac), None) => found.within("hmac", |found| cookie_key(hmac, environment, found)).map(Proof::Signature),
        (None, Some(RawLookup { cluster, path, timeout, cache })) => {
            let form = name.map(|name| Form::Cookie(name.into()));
            let asked = (cluster.as_ref(), path.as_deref());
            let lookup = found.within("lookup", |found| lookup(asked, (*timeout, *cache), form, found));
            lookup.map(|lookup| Proof::Lookup(Rc::new(lookup)))
        }
        (None, None) | (Some(_), Some(_)) => found.refuse("", "needs one of hmac and lookup"),
    };
    let rules = ClaimRules { clock_skew: CLOCK_SKEW, is_asked: true, ..ClaimRules::default() };
    let keys = Rc::new(Keys::unknown(Vec::new()));
    let provider = Provider { name: COOKIE_PROVIDER.to_owned(), keys, remote: None, lookup: None, rules };
    Some(SessionCookie { name: name?.to_owned(), provider, proof: proof? })
}

fn cookie_key(raw: &RawHmac, environment: Environment<'_>, found: &mut Findings) -> Option<CookieKey> {
    let is_hmac = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
    let algorithm = match raw.algorithm.as_deref().map(str::parse) {
        None => found.refuse("algorithm", "is required"),
        Some(Ok(algorithm)) if is_hmac(&algorithm) => Some(algorithm),
        Some(_) => found.refuse("algorithm", "expected HS256, HS384 or HS512"),
    };
    let secret = match &raw.secret {
        None => found.refuse("secret", "is required"),
        Some(source) => found.within("secret", |found| secret(source, environment, found)),
    };
    let key = CookieKey::new(algorithm?, &secret?);
    key.map_err(|fault| found.fault("secret", &fault.to_string())).ok()
}

/// Builds how a token is introspected.
pub(super) fn introspection(
    raw: &RawIntrospection,
    environment: Environment<'_>,
    found: &mut Findings,
) -> Option<Lookup> {
    let form = match &raw.client {
        None => found.refuse("client", "is required"),
        Some(client) => found.within("client", |found| client_form(client, environment, found)),
    };
    lookup((raw.cluster.as_ref(), raw.path.as_deref()), (raw.timeout, raw.cache), form, found)
}

fn client_form(raw: &RawClient, environment: Environment<'_>, found: &mut Findings) -> Option<Form> {
    let id = raw.id.as_deref().filter(|id| !id.is_empty()).or_else(|| found.refuse("id", "is required"));
    let secret = match &raw.secret {
        None => found.refuse("secret", "is required"),
        Some(source) => found.within("secret", |found| secret(source, environment, found)),
    };
    if secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
        found.fault("secret", "must not be empty");
    }
    Some(Form::introspection(id?, &secret?))
}

fn lookup(
    (cluster, path): (Option<&Cluster>, Option<&str>),
    (timeout, cache): (Option<Span>, Option<Span>),
    form: Option<Form>,
    found: &mut Findings,
) -> Option<Lookup> {
    match cluster {
        None => found.fault("cluster", "is required"),
        Some(cluster) if cluster.is_unnamed() || !cluster.bytes().all(|byte| byte.is_ascii_graphic()) => {
            found.fault("cluster", "expected the name of a cluster, in ASCII without spaces");
        }
        Some(_) => {}
    }
    let is_path = |path: &str| {
        let is_plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        is_plain && path.len() <= PATH_LEN_MAX
    };
    match path {
        None => found.fault("path", "is required"),
        Some(path) if !is_path(path) => {
            found.fault("path", "expected a path such as /session, of at most 2048 bytes");
        }
        Some(_) => {}
    }
    let timeout = span_within("timeout", timeout, Duration::from_secs(1), TIMEOUTS, "from 10ms to 30s", found);
    let cache = span_within("cache", cache, Duration::from_secs(30), Duration::ZERO..=CACHE_MAX, "at most 1h", found);
    Some(Lookup { cluster: cluster?.clone(), path: path?.into(), form: form?, timeout, cache })
}

#[cfg(test)]
mod tests;
