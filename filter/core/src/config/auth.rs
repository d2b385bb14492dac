//! The keys of what a client has to prove: where credentials may be, and whose tokens are trusted.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::claims::{claim_path, requirements};
use super::findings::Findings;
use super::opaque::{self, CLOCK_SKEW, COOKIE_PROVIDER, TIMEOUTS};
use super::raw::{OnExpiry, RawAuth, RawClaimHeader, RawJwks, RawProvider, RawSource};
use super::secret::{Environment, secret};
use super::values::{Span, span_within};
use super::{revocation, tickets};
use crate::cluster::Cluster;
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
pub(super) fn auth(raw: &RawAuth, fail: Fail, environment: Environment<'_>, found: &mut Findings) -> AuthRules {
    let required = raw.required.unwrap_or(true);
    let raw_providers = raw.providers.as_deref().unwrap_or_default();
    let providers = providers(raw, environment, found);
    let cookie = raw.cookie.as_ref();
    let cookie = cookie.and_then(|raw| found.within("cookie", |found| opaque::cookie(raw, environment, found)));
    // The providers that credentials may be of; one that could not be read may be among them.
    let has_issuer = !raw_providers.is_empty() || raw.cookie.is_some() || found.is_unread("cookie");
    let is_open = !required || found.is_unread("required");
    if !is_open && !has_issuer {
        found.fault("providers", "needs a provider, or auth.cookie, or auth.required: false");
    }
    let tickets = raw.tickets.as_ref();
    let tickets = tickets.and_then(|raw| found.within("tickets", |found| tickets::tickets(raw, environment, found)));
    let own_cookie = raw.cookie.as_ref().and_then(|cookie| cookie.name.as_deref());
    let sources: Vec<Source> = match &raw.sources {
        Some(sources) => found.each("sources", Some(sources.as_slice()), source),
        None => {
            let is_own = |source: &Source| matches!(source, Source::Cookie(name) if Some(name.as_str()) == own_cookie);
            default_sources(raw.tickets.is_some()).into_iter().filter(|source| !is_own(source)).collect()
        }
    };
    for (index, source) in raw.sources.iter().flatten().enumerate() {
        if source.cookie.is_some() && source.cookie.as_deref() == own_cookie {
            let at = format!("sources[{index}].cookie");
            found.fault(&at, "is the session cookie (auth.cookie.name), which is no token");
        }
    }
    let has_cookie = raw.cookie.is_some() || found.is_unread("cookie");
    if !is_open && raw.sources.as_ref().is_some_and(Vec::is_empty) && !has_cookie {
        found.fault("sources", "needs a source, or auth.required: false");
    }
    if raw.tickets.is_some() && !has_issuer && !found.is_unread("providers") {
        found.fault("tickets", "needs a provider, whose credentials they are issued for");
    }
    tickets::check_sources(raw.tickets.is_some(), raw.sources.as_deref(), found);
    // Without a provider no token is a credential: a cookie of that name is the upstream's own.
    let is_read = |source: &Source| !raw_providers.is_empty() || matches!(source, Source::Ticket(_));
    let sources = sources.into_iter().filter(is_read).collect();
    let claim_headers = claim_headers(raw.claim_headers.as_ref(), found);
    let expiry_grace = match raw.on_expiry.unwrap_or(OnExpiry::Close) {
        OnExpiry::Close => Some(raw.expiry_grace.map_or(Duration::ZERO, |Span(span)| span)),
        OnExpiry::Ignore => None,
    };
    let revocation = raw.revocation.as_ref();
    let revocation =
        revocation.and_then(|raw| found.within("revocation", |found| revocation::revocation(raw, fail, found)));
    let logout = raw.back_channel_logout.as_ref();
    let logout = logout
        .and_then(|raw| found.within("back_channel_logout", |found| revocation::logout(raw, raw_providers, found)));
    if let (Some(tickets), Some(logout)) = (&tickets, &logout)
        && path::canonical(tickets.path.as_bytes()) == logout.path
    {
        found.fault("back_channel_logout.path", "is that of auth.tickets");
    }
    let forward = raw.forward.unwrap_or(false);
    AuthRules {
        required,
        sources,
        forward,
        cookie,
        claim_headers,
        expiry_grace,
        tickets,
        revocation,
        logout,
        providers,
    }
}

fn providers(raw: &RawAuth, environment: Environment<'_>, found: &mut Findings) -> Vec<Provider> {
    let list = raw.providers.as_deref();
    let (mut names, mut is_asked): (Vec<&str>, bool) = (Vec::new(), false);
    let mut built = Vec::new();
    found.within("providers", |found| {
        for (index, own) in list.unwrap_or_default().iter().enumerate() {
            found.at(index, |found| {
                built.extend(provider(own, environment, found));
                let name = own.name.as_deref().unwrap_or_default();
                if names.contains(&name) {
                    found.fault("name", "stands twice");
                }
                if name == COOKIE_PROVIDER && raw.cookie.is_some() {
                    found.fault("name", "is that of the subjects of auth.cookie");
                }
                if own.introspection.is_some() && core::mem::replace(&mut is_asked, true) {
                    found.fault("introspection", "only one provider has it: a token is shown to no second service");
                }
                names.extend(own.name.as_deref());
            });
        }
    });
    built
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
fn source(raw: &RawSource, found: &mut Findings) -> Option<Source> {
    match (&raw.header, &raw.cookie, &raw.subprotocol, &raw.query, &raw.ticket, &raw.message) {
        (Some(name), None, None, None, None, None) => {
            let name = found.within("header", |found| header_name(name, found));
            let scheme = as_token("prefix", raw.prefix.as_deref().unwrap_or("Bearer"), found);
            Some(Source::Header { name: name?, scheme: scheme? })
        }
        _ if raw.prefix.is_some() && !found.is_unread("header") => found.refuse("prefix", "belongs to a header"),
        (None, Some(name), None, None, None, None) => as_token("cookie", name, found).map(Source::Cookie),
        (None, None, Some(marker), None, None, None) => as_token("subprotocol", marker, found).map(Source::Subprotocol),
        (None, None, None, Some(name), None, None) => parameter("query", name, found).map(Source::Query),
        (None, None, None, None, Some(name), None) => parameter("ticket", name, found).map(Source::Ticket),
        (None, None, None, None, None, Some(_)) => None,
        _ => found.refuse("", "needs one of header, cookie, subprotocol, query, ticket and message"),
    }
}

fn as_token(key: &str, name: &str, found: &mut Findings) -> Option<String> {
    let name = token(name.as_bytes()).map(str::to_owned).ok();
    name.or_else(|| found.refuse(key, "expected a token (RFC 9110 §5.6.2)"))
}

fn parameter(key: &str, name: &str, found: &mut Findings) -> Option<String> {
    if name.is_empty() { found.refuse(key, "must not be empty") } else { Some(name.to_owned()) }
}

fn header_name(name: &str, found: &mut Findings) -> Option<String> {
    let Ok(name) = token(name.as_bytes()) else { return found.expected("a header name") };
    let name = name.to_ascii_lowercase();
    if RESERVED_HEADERS.contains(&name.as_str()) || name.starts_with("sec-websocket-") {
        return found.refuse("", "this header has a meaning of its own");
    }
    Some(name)
}

fn claim_headers(raw: Option<&BTreeMap<String, RawClaimHeader>>, found: &mut Findings) -> Vec<ClaimHeader> {
    let mut built: Vec<ClaimHeader> = Vec::new();
    found.within("claim_headers", |found| {
        for (claim, raw) in raw.into_iter().flatten() {
            let taken = &built;
            let header = found.under(claim, |found| claim_header(claim, raw, taken, found));
            built.extend(header);
        }
    });
    built
}

fn claim_header(claim: &str, raw: &RawClaimHeader, taken: &[ClaimHeader], found: &mut Findings) -> Option<ClaimHeader> {
    let path = claim_path(claim, found);
    let name = raw.header.as_deref().or_else(|| found.refuse("header", "is required"))?;
    // Names are compared as servers see them that take `_` for `-`.
    let name = header_name(&name.replace('_', "-"), found)?;
    if name == "authorization" || taken.iter().any(|other| other.name == name) {
        return found.refuse("", "this header is taken");
    }
    Some(ClaimHeader { claim: path?, name, format: raw.format.unwrap_or(ClaimFormat::Text) })
}

fn provider(raw: &RawProvider, environment: Environment<'_>, found: &mut Findings) -> Option<Provider> {
    let name = raw.name.clone().filter(|name| !name.is_empty());
    if name.is_none() {
        found.fault("name", "is required");
    }
    let is_asked = raw.introspection.is_some();
    for (key, is_missing) in [
        // What a provider says itself is its own.
        ("issuer", raw.issuer.is_none() && !is_asked),
        ("audiences", raw.audiences.as_ref().is_none_or(Vec::is_empty)),
    ] {
        if is_missing {
            found.warn(key, "not set, so tokens made for another place are accepted (RFC 8725 §3.8, §3.9)");
        }
    }
    let bounds = Duration::ZERO..=CLOCK_SKEW_MAX;
    let rules = ClaimRules {
        issuer: raw.issuer.clone(),
        audiences: raw.audiences.clone().unwrap_or_default(),
        clock_skew: span_within("clock_skew", raw.clock_skew, CLOCK_SKEW, bounds, "at most 5m", found),
        max_age: raw.max_age.map(|Span(span)| span),
        require: found.within("require", |found| requirements(raw.require.as_ref(), found)),
        is_asked,
    };
    if found.is_unread("introspection") && !is_asked {
        return None;
    }
    let (keys, remote, lookup) = match &raw.introspection {
        Some(introspection) => {
            for (key, is_set) in [("jwks", raw.jwks.is_some()), ("algorithms", raw.algorithms.is_some())] {
                if is_set {
                    found.fault(key, "belongs to keys, which introspection takes the place of");
                }
            }
            let build = |found: &mut Findings| opaque::introspection(introspection, environment, found);
            (Keys::unknown(Vec::new()), None, Some(Rc::new(found.within("introspection", build)?)))
        }
        None => {
            let algorithms = algorithms(raw.algorithms.as_deref().unwrap_or_default(), found);
            let (keys, remote) = keys(raw, algorithms, environment, found)?;
            (keys, remote.map(Rc::new), None)
        }
    };
    Some(Provider { name: name?, keys: Rc::new(keys), remote, lookup, rules })
}

/// The algorithms that tokens are checked by; `None` where something is wrong with any.
fn algorithms(names: &[String], found: &mut Findings) -> Option<Vec<Algorithm>> {
    let algorithms: Vec<Algorithm> = found.each("algorithms", Some(names), |name: &String, found| {
        name.parse().ok().or_else(|| {
            found.expected("RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384 or HS512")
        })
    });
    let is_hmac = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
    if names.is_empty() {
        return found.refuse("algorithms", "is required: a token never chooses how it is checked");
    }
    if algorithms.iter().any(is_hmac) && !algorithms.iter().all(is_hmac) {
        let problem = "HS* and asymmetric algorithms need providers of their own (RFC 8725 §3.1)";
        return found.refuse("algorithms", problem);
    }
    (algorithms.len() == names.len()).then_some(algorithms)
}

/// The keys that the policy has, or where the provider publishes its own.
fn keys(
    raw: &RawProvider,
    algorithms: Option<Vec<Algorithm>>,
    environment: Environment<'_>,
    found: &mut Findings,
) -> Option<(Keys, Option<RemoteKeys>)> {
    let none = RawJwks::default();
    let jwks = raw.jwks.as_ref().unwrap_or(&none);
    let has_cluster = jwks.cluster.is_some() || found.is_unread("jwks.cluster");
    let of_cluster =
        [("url", jwks.url.is_some()), ("refresh", jwks.refresh.is_some()), ("timeout", jwks.timeout.is_some())];
    for (key, _) in of_cluster.into_iter().filter(|(_, is_set)| *is_set && !has_cluster) {
        found.within("jwks", |found| found.fault(key, "belongs to a cluster"));
    }
    match (&jwks.inline, &jwks.secret, &jwks.cluster) {
        (Some(set), None, None) => {
            found.within("jwks.inline.keys", |found| match Keys::from_jwks(algorithms?, &set.keys) {
                Err(fault) => found.refuse("", &fault.to_string()),
                Ok((keys, passed_over)) => {
                    for (index, fault) in passed_over {
                        found.at(index, |found| found.warn("", &format!("passed over: {fault}")));
                    }
                    Some((keys, None))
                }
            })
        }
        (None, Some(source), None) => found.within("jwks.secret", |found| {
            let secret = secret(source, environment, found)?;
            let keys = Keys::from_secret(algorithms?, &secret);
            let keys = keys.map_err(|fault| found.fault("", &fault.to_string())).ok()?;
            Some((keys, None))
        }),
        (None, None, Some(cluster)) => {
            let has_no_issuer = raw.issuer.is_none() && found.is_unread("issuer");
            let issuer = if has_no_issuer { Some("https://unread/") } else { raw.issuer.as_deref() };
            let remote = found.within("jwks", |found| remote_keys(jwks, cluster, issuer, algorithms, found))?;
            Some((Keys::unknown(remote.algorithms.clone()), Some(remote)))
        }
        (_, _, _) => found.refuse("jwks", "needs one of inline, secret and cluster"),
    }
}

fn remote_keys(
    raw: &RawJwks,
    cluster: &Cluster,
    issuer: Option<&str>,
    algorithms: Option<Vec<Algorithm>>,
    found: &mut Findings,
) -> Option<RemoteKeys> {
    if cluster.is_unnamed() {
        found.fault("cluster", "must not be empty");
    }
    let is_hmac = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
    if algorithms.iter().flatten().any(is_hmac) {
        found.fault("cluster", "a key set that is published has no secret for HS*");
    }
    let source = match (&raw.url, issuer) {
        (Some(url), _) => {
            let location = Location::parse(url).map(KeySource::Url);
            location.or_else(|| found.refuse("url", "expected an https or http URL"))
        }
        (None, None) => found.refuse("url", "is required where there is no issuer to ask for it"),
        (None, Some(issuer)) => KeySource::discovery(issuer)
            .or_else(|| found.refuse("url", "is required where the issuer is no URL to ask for it")),
    };
    let seconds = Duration::from_secs;
    let refresh =
        span_within("refresh", raw.refresh, seconds(300), REFRESH_MIN..=REFRESH_MAX, "from 10s to 24h", found);
    let timeout = span_within("timeout", raw.timeout, seconds(2), TIMEOUTS, "from 10ms to 30s", found);
    Some(RemoteKeys { cluster: cluster.clone(), source: source?, refresh, timeout, algorithms: algorithms? })
}
