//! The keys of what a client has to prove: where credentials may be, and whose tokens are trusted.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::claims::{claim_path, requirements};
use super::error::{Built, ConfigError, each, within};
use super::opaque::{self, CLOCK_SKEW, COOKIE_PROVIDER, TIMEOUTS};
use super::raw::{OnExpiry, RawAuth, RawClaimHeader, RawJwks, RawProvider, RawSource};
use super::secret::{Environment, secret, warn_of_inline};
use super::values::{Span, span_within};
use super::{revocation, tickets};
use crate::http::Malformed;
use crate::http::list::token;
use crate::http::path;
use crate::identity::key_set::{KeySource, RemoteKeys};
use crate::identity::location::Location;
use crate::policy::Fail;
use crate::token::Provider;
use crate::token::claims::ClaimRules;
use crate::token::keys::Keys;
use crate::token::rules::{AuthRules, ClaimFormat, ClaimHeader, Source};

/// RFC 7519 §4.1.4 allows "usually no more than a few minutes"; more would outlive a revoked token.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

/// How often a key set is fetched: each worker asks for itself, and the longest time is that which a withdrawn key is accepted.
const REFRESH_MIN: Duration = Duration::from_secs(10);
const REFRESH_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Headers that carry the handshake or HTTP itself: never a place for a claim or a credential.
const RESERVED_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "cookie",
    "host",
    "origin",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
];

/// Builds what a client has to prove.
pub(super) fn auth(
    raw: &RawAuth,
    fail: Fail,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Built<AuthRules> {
    let required = raw.required.unwrap_or(true);
    let mut providers: Vec<Provider> = Vec::new();
    for (index, raw) in raw.providers.iter().flatten().enumerate() {
        let at = format!("auth.providers[{index}]");
        let provider = provider(raw, environment, &at, warnings).map_err(|error| error.within(&at))?;
        if providers.iter().any(|other| other.name == provider.name) {
            return Err(ConfigError::new(format!("{at}.name"), "stands twice"));
        }
        providers.push(provider);
    }
    let mut introspecting = providers.iter().enumerate().filter(|(_, provider)| provider.lookup.is_some()).skip(1);
    if let Some((index, _)) = introspecting.next() {
        let at = format!("auth.providers[{index}].introspection");
        return Err(ConfigError::new(at, "only one provider has it: a token is shown to no second service"));
    }
    let cookie = raw.cookie.as_ref().map(|raw| opaque::cookie(raw, environment, warnings)).transpose();
    let cookie = cookie.map_err(within("auth.cookie"))?;
    if let (Some(_), Some(index)) = (&cookie, providers.iter().position(|provider| provider.name == COOKIE_PROVIDER)) {
        return Err(ConfigError::new(
            format!("auth.providers[{index}].name"),
            "is that of the subjects of auth.cookie",
        ));
    }
    if required && providers.is_empty() && cookie.is_none() {
        return Err(ConfigError::new("auth.providers", "needs a provider, or auth.cookie, or auth.required: false"));
    }
    let is_cookie = |source: &Source| match (source, &cookie) {
        (Source::Cookie(name), Some(cookie)) => *name == cookie.name,
        (_, _) => false,
    };
    let tickets = raw.tickets.as_ref().map(|raw| tickets::tickets(raw, environment, warnings));
    let tickets = tickets.transpose().map_err(within("auth.tickets"))?;
    let sources: Vec<Source> = match &raw.sources {
        Some(sources) => {
            let built = each("auth.sources", Some(sources.as_slice()), source)?;
            built.into_iter().flatten().collect()
        }
        None => default_sources(tickets.is_some()).into_iter().filter(|source| !is_cookie(source)).collect(),
    };
    let is_own = |raw: &RawSource| cookie.as_ref().is_some_and(|cookie| raw.cookie.as_ref() == Some(&cookie.name));
    if let Some(index) = raw.sources.iter().flatten().position(is_own) {
        let at = format!("auth.sources[{index}].cookie");
        return Err(ConfigError::new(at, "is the session cookie (auth.cookie.name), which is no token"));
    }
    let has_message = raw.sources.iter().flatten().any(|source| source.message.is_some());
    if required && sources.is_empty() && cookie.is_none() && !has_message {
        return Err(ConfigError::new("auth.sources", "needs a source, or auth.required: false"));
    }
    if tickets.is_some() && providers.is_empty() && cookie.is_none() {
        return Err(ConfigError::new("auth.tickets", "needs a provider, whose credentials they are issued for"));
    }
    tickets::check_sources(tickets.is_some(), &sources)?;
    // Without a provider no token is a credential: a cookie of that name is the upstream's own.
    let is_read = |source: &Source| !providers.is_empty() || matches!(source, Source::Ticket(_));
    let sources = sources.into_iter().filter(is_read).collect();
    let claim_headers = claim_headers(raw.claim_headers.as_ref())?;
    let expiry_grace = match raw.on_expiry.unwrap_or(OnExpiry::Close) {
        OnExpiry::Close => Some(raw.expiry_grace.map_or(Duration::ZERO, |Span(span)| span)),
        OnExpiry::Ignore => None,
    };
    let forward = raw.forward.unwrap_or(false);
    let revocation =
        raw.revocation.as_ref().map(|raw| revocation::revocation(raw, fail).map_err(within("auth.revocation")));
    let logout = raw.back_channel_logout.as_ref();
    let logout = logout.map(|raw| revocation::logout(raw, &providers).map_err(within("auth.back_channel_logout")));
    let logout = logout.transpose()?;
    if let (Some(tickets), Some(logout)) = (&tickets, &logout)
        && path::canonical(tickets.path.as_bytes()) == logout.path
    {
        return Err(ConfigError::new("auth.back_channel_logout.path", "is that of auth.tickets"));
    }
    Ok(AuthRules {
        required,
        sources,
        forward,
        cookie,
        claim_headers,
        expiry_grace,
        tickets,
        revocation: revocation.transpose()?,
        logout,
        providers,
    })
}

fn default_sources(has_tickets: bool) -> Vec<Source> {
    let mut sources = vec![
        Source::Header { name: "authorization".into(), scheme: "Bearer".into() },
        Source::Cookie("session".into()),
        Source::Subprotocol("bearer".into()),
        Source::Query("token".into()),
    ];
    if has_tickets {
        sources.push(Source::Ticket("ticket".into()));
    }
    sources
}

/// A place in a handshake; none for a message.
fn source(raw: &RawSource) -> Built<Option<Source>> {
    let as_token = |key: &str, name: &str| match token(name.as_bytes()) {
        Ok(name) => Ok(name.to_owned()),
        Err(Malformed) => Err(ConfigError::new(key, "expected a token (RFC 9110 §5.6.2)")),
    };
    let parameter = |key: &str, name: &str| match name {
        "" => Err(ConfigError::new(key, "must not be empty")),
        name => Ok(name.to_owned()),
    };
    let source = match (&raw.header, &raw.cookie, &raw.subprotocol, &raw.query, &raw.ticket, &raw.message) {
        (Some(name), None, None, None, None, None) => Source::Header {
            name: header_name(name).map_err(within("header"))?,
            scheme: as_token("prefix", raw.prefix.as_deref().unwrap_or("Bearer"))?,
        },
        _ if raw.prefix.is_some() => return Err(ConfigError::new("prefix", "belongs to a header")),
        (None, Some(name), None, None, None, None) => Source::Cookie(as_token("cookie", name)?),
        (None, None, Some(marker), None, None, None) => Source::Subprotocol(as_token("subprotocol", marker)?),
        (None, None, None, Some(name), None, None) => Source::Query(parameter("query", name)?),
        (None, None, None, None, Some(name), None) => Source::Ticket(parameter("ticket", name)?),
        (None, None, None, None, None, Some(_)) => return Ok(None),
        _ => return Err(ConfigError::new("", "needs one of header, cookie, subprotocol, query, ticket and message")),
    };
    Ok(Some(source))
}

fn header_name(name: &str) -> Built<String> {
    let name = match token(name.as_bytes()) {
        Ok(name) => name.to_ascii_lowercase(),
        Err(Malformed) => return Err(ConfigError::new("", "expected a header name")),
    };
    if RESERVED_HEADERS.contains(&name.as_str()) || name.starts_with("sec-websocket-") {
        return Err(ConfigError::new("", "this header has a meaning of its own"));
    }
    Ok(name)
}

fn claim_headers(raw: Option<&BTreeMap<String, RawClaimHeader>>) -> Built<Vec<ClaimHeader>> {
    let mut built: Vec<ClaimHeader> = Vec::new();
    for (claim, raw) in raw.into_iter().flatten() {
        let build = || {
            // Names are compared as servers see them that take `_` for `-`.
            let name = raw.header.as_deref().ok_or_else(|| ConfigError::new("header", "is required"))?;
            let name = header_name(&name.replace('_', "-"))?;
            if name == "authorization" || built.iter().any(|other| other.name == name) {
                return Err(ConfigError::new("", "this header is taken"));
            }
            Ok(ClaimHeader { claim: claim_path(claim)?, name, format: raw.format.unwrap_or(ClaimFormat::Text) })
        };
        let header = build().map_err(|error: ConfigError| error.under(claim).within("auth.claim_headers"))?;
        built.push(header);
    }
    Ok(built)
}

fn provider(raw: &RawProvider, environment: Environment<'_>, at: &str, warnings: &mut Vec<String>) -> Built<Provider> {
    let Some(name) = raw.name.clone().filter(|name| !name.is_empty()) else {
        return Err(ConfigError::new("name", "is required"));
    };
    let is_asked = raw.introspection.is_some();
    for (key, missing) in [
        // What a provider says itself is its own.
        ("issuer", raw.issuer.is_none() && !is_asked),
        ("audiences", raw.audiences.as_ref().is_none_or(Vec::is_empty)),
    ] {
        if missing {
            warnings.push(format!(
                "{at}.{key}: not set, so tokens made for another place are accepted (RFC 8725 §3.8, §3.9)"
            ));
        }
    }
    let clock_skew = raw.clock_skew.map_or(CLOCK_SKEW, |Span(span)| span);
    if clock_skew > CLOCK_SKEW_MAX {
        return Err(ConfigError::new("clock_skew", "at most 5m"));
    }
    let require = requirements(raw.require.as_ref()).map_err(within("require"))?;
    let rules = ClaimRules {
        issuer: raw.issuer.clone(),
        audiences: raw.audiences.clone().unwrap_or_default(),
        clock_skew,
        max_age: raw.max_age.map(|Span(span)| span),
        require,
        is_asked,
    };
    if let Some(introspection) = &raw.introspection {
        for (key, is_set) in [("jwks", raw.jwks.is_some()), ("algorithms", raw.algorithms.is_some())] {
            if is_set {
                return Err(ConfigError::new(key, "belongs to keys, which introspection takes the place of"));
            }
        }
        let lookup = opaque::introspection(introspection, environment, at, warnings);
        let lookup = Rc::new(lookup.map_err(within("introspection"))?);
        let keys = Rc::new(Keys::unknown(Vec::new()));
        return Ok(Provider { name, keys, remote: None, lookup: Some(lookup), rules });
    }
    let algorithms = algorithms(raw.algorithms.as_deref().unwrap_or_default())?;
    let (keys, remote) = keys(raw, algorithms, environment, at, warnings)?;
    Ok(Provider { name, keys: Rc::new(keys), remote: remote.map(Rc::new), lookup: None, rules })
}

fn algorithms(names: &[String]) -> Built<Vec<Algorithm>> {
    let parse = |name: &String| {
        name.parse().map_err(|_| {
            ConfigError::new(
                "",
                "expected RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384 or HS512",
            )
        })
    };
    let algorithms: Vec<Algorithm> = each("algorithms", Some(names), parse)?;
    let is_hmac = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
    if algorithms.is_empty() {
        return Err(ConfigError::new("algorithms", "is required: a token never chooses how it is checked"));
    }
    if algorithms.iter().any(is_hmac) && !algorithms.iter().all(is_hmac) {
        return Err(ConfigError::new(
            "algorithms",
            "HS* and asymmetric algorithms need providers of their own (RFC 8725 §3.1)",
        ));
    }
    Ok(algorithms)
}

/// The keys that the policy has, or where the provider publishes its own.
fn keys(
    raw: &RawProvider,
    algorithms: Vec<Algorithm>,
    environment: Environment<'_>,
    at: &str,
    warnings: &mut Vec<String>,
) -> Built<(Keys, Option<RemoteKeys>)> {
    let jwks = raw.jwks.clone().unwrap_or_default();
    let of_cluster =
        [("url", jwks.url.is_some()), ("refresh", jwks.refresh.is_some()), ("timeout", jwks.timeout.is_some())];
    if let Some((key, _)) = of_cluster.into_iter().find(|(_, is_set)| *is_set && jwks.cluster.is_none()) {
        return Err(ConfigError::new(format!("jwks.{key}"), "belongs to a cluster"));
    }
    match (&jwks.inline, &jwks.secret, &jwks.cluster) {
        (Some(set), None, None) => {
            let (keys, passed_over) =
                Keys::from_jwks(algorithms, &set.keys).map_err(|fault| ConfigError::new("jwks.inline.keys", fault))?;
            for (index, fault) in passed_over {
                warnings.push(format!("{at}.jwks.inline.keys[{index}]: passed over: {fault}"));
            }
            Ok((keys, None))
        }
        (None, Some(source), None) => {
            let secret = secret(source, environment).map_err(within("jwks.secret"))?;
            warn_of_inline(source, &format!("{at}.jwks.secret"), warnings);
            let keys =
                Keys::from_secret(algorithms, &secret).map_err(|fault| ConfigError::new("jwks.secret", fault))?;
            Ok((keys, None))
        }
        (None, None, Some(cluster)) => {
            let remote = remote_keys(&jwks, cluster, raw.issuer.as_deref(), algorithms).map_err(within("jwks"))?;
            Ok((Keys::unknown(remote.algorithms.clone()), Some(remote)))
        }
        (_, _, _) => Err(ConfigError::new("jwks", "needs one of inline, secret and cluster")),
    }
}

fn remote_keys(raw: &RawJwks, cluster: &str, issuer: Option<&str>, algorithms: Vec<Algorithm>) -> Built<RemoteKeys> {
    if cluster.is_empty() {
        return Err(ConfigError::new("cluster", "must not be empty"));
    }
    if algorithms.iter().any(|algorithm| algorithm.family() == AlgorithmFamily::Hmac) {
        return Err(ConfigError::new("cluster", "a key set that is published has no secret for HS*"));
    }
    let source = match (&raw.url, issuer) {
        (Some(url), _) => match Location::parse(url) {
            Some(location) => KeySource::Url(location),
            None => return Err(ConfigError::new("url", "expected an https or http URL")),
        },
        (None, None) => return Err(ConfigError::new("url", "is required where there is no issuer to ask for it")),
        (None, Some(issuer)) => match KeySource::discovery(issuer) {
            Some(source) => source,
            None => return Err(ConfigError::new("url", "is required where the issuer is no URL to ask for it")),
        },
    };
    let seconds = Duration::from_secs;
    Ok(RemoteKeys {
        cluster: cluster.into(),
        source,
        refresh: span_within("refresh", raw.refresh, seconds(300), REFRESH_MIN..=REFRESH_MAX, "from 10s to 24h")?,
        timeout: span_within("timeout", raw.timeout, seconds(2), TIMEOUTS, "from 10ms to 30s")?,
        algorithms,
    })
}
