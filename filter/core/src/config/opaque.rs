//! The keys of credentials that only a service can read, and of session cookies.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::rc::Rc;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::error::{Built, ConfigError, within};
use super::raw::{RawCookie, RawHmac, RawIntrospection, RawLookup};
use super::secret::{Environment, secret, warn_of_inline};
use super::values::Span;
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
pub(super) fn cookie(
    raw: &RawCookie,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Built<SessionCookie> {
    let Some(name) = &raw.name else { return Err(ConfigError::new("name", "is required")) };
    if token(name.as_bytes()) == Err(Malformed) {
        return Err(ConfigError::new("name", "expected a token (RFC 9110 §5.6.2)"));
    }
    let proof = match (&raw.hmac, &raw.lookup) {
        (Some(hmac), None) => {
            let key = cookie_key(hmac, environment, warnings).map_err(within("hmac"))?;
            Proof::Signature(key)
        }
        (None, Some(raw)) => {
            let RawLookup { cluster, path, timeout, cache } = raw;
            let form = Form::Cookie(name.as_str().into());
            let lookup = lookup(cluster.as_deref(), path.as_deref(), (*timeout, *cache), form);
            Proof::Lookup(Rc::new(lookup.map_err(within("lookup"))?))
        }
        (None, None) | (Some(_), Some(_)) => return Err(ConfigError::new("", "needs one of hmac and lookup")),
    };
    let rules = ClaimRules { clock_skew: CLOCK_SKEW, is_asked: true, ..ClaimRules::default() };
    let keys = Rc::new(Keys::unknown(Vec::new()));
    let provider = Provider { name: COOKIE_PROVIDER.to_owned(), keys, remote: None, lookup: None, rules };
    Ok(SessionCookie { name: name.clone(), provider, proof })
}

fn cookie_key(raw: &RawHmac, environment: Environment<'_>, warnings: &mut Vec<String>) -> Built<CookieKey> {
    let algorithm = raw.algorithm.as_deref().ok_or_else(|| ConfigError::new("algorithm", "is required"))?;
    let algorithm = algorithm.parse().ok().filter(|algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac);
    let algorithm = algorithm.ok_or_else(|| ConfigError::new("algorithm", "expected HS256, HS384 or HS512"))?;
    let source = raw.secret.as_ref().ok_or_else(|| ConfigError::new("secret", "is required"))?;
    let secret = secret(source, environment).map_err(within("secret"))?;
    warn_of_inline(source, "auth.cookie.hmac.secret", warnings);
    CookieKey::new(algorithm, &secret).map_err(|fault| ConfigError::new("secret", fault))
}

/// Builds how a token is introspected; `at`: the path of the provider.
pub(super) fn introspection(
    raw: &RawIntrospection,
    environment: Environment<'_>,
    at: &str,
    warnings: &mut Vec<String>,
) -> Built<Lookup> {
    let required = |key: &str| ConfigError::new(key, "is required");
    let client = raw.client.as_ref().ok_or_else(|| required("client"))?;
    let id = client.id.as_deref().filter(|id| !id.is_empty()).ok_or_else(|| required("client.id"))?;
    let source = client.secret.as_ref().ok_or_else(|| required("client.secret"))?;
    let secret = secret(source, environment).map_err(within("client.secret"))?;
    warn_of_inline(source, &format!("{at}.introspection.client.secret"), warnings);
    if secret.expose().is_empty() {
        return Err(ConfigError::new("client.secret", "must not be empty"));
    }
    let form = Form::introspection(id, &secret);
    lookup(raw.cluster.as_deref(), raw.path.as_deref(), (raw.timeout, raw.cache), form)
}

fn lookup(
    cluster: Option<&str>,
    path: Option<&str>,
    (timeout, cache): (Option<Span>, Option<Span>),
    form: Form,
) -> Built<Lookup> {
    let cluster = cluster.ok_or_else(|| ConfigError::new("cluster", "is required"))?;
    if cluster.is_empty() || !cluster.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::new("cluster", "expected the name of a cluster, in ASCII without spaces"));
    }
    let path = path.ok_or_else(|| ConfigError::new("path", "is required"))?;
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !is_path || path.len() > PATH_LEN_MAX {
        return Err(ConfigError::new("path", "expected a path such as /session, of at most 2048 bytes"));
    }
    let timeout = timeout.map_or(Duration::from_secs(1), |Span(span)| span);
    if !TIMEOUTS.contains(&timeout) {
        return Err(ConfigError::new("timeout", "from 10ms to 30s"));
    }
    let cache = cache.map_or(Duration::from_secs(30), |Span(span)| span);
    if cache > CACHE_MAX {
        return Err(ConfigError::new("cache", "at most 1h"));
    }
    Ok(Lookup { cluster: cluster.into(), path: path.into(), form, timeout, cache })
}

#[cfg(test)]
mod tests;
