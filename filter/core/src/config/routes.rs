//! The keys of routes: which requests they mean, and whether any comes to them.

use super::error::{Built, ConfigError};
use super::raw::RawMatch;
use crate::http::Malformed;
use crate::http::authority::{Authority, AuthorityPattern, HostPattern};
use crate::policy::routes::{Ambiguous, PathPattern, Place, Policies, RouteMatch};

/// Builds what a route matches.
pub(super) fn route_match(raw: &RawMatch) -> Built<RouteMatch> {
    let path = |key: &str| match if key == "path" { &raw.path } else { &raw.path_prefix } {
        Some(path) if !path.starts_with('/') || path.contains(['?', '#']) => {
            Err(ConfigError::new(format!("match.{key}"), "a path starts with a slash and has no query"))
        }
        path => Ok(path.as_deref()),
    };
    if raw.host.is_none() && raw.path.is_none() && raw.path_prefix.is_none() {
        return Err(ConfigError::new("match", "needs host, path or path_prefix"));
    }
    Ok(RouteMatch {
        host: raw.host.as_deref().map(authority).transpose().map_err(|error| error.within("match.host"))?,
        path: path("path")?.map(PathPattern::new),
        path_prefix: path("path_prefix")?.map(|prefix| PathPattern::new(prefix.trim_end_matches('/'))),
    })
}

/// Checks that a request for what a route names comes to it, or to one before it: what is never met protects nothing.
pub(super) fn route_is_met(policies: &Policies, matcher: &RouteMatch) -> Built<()> {
    let (key, path) = match (&matcher.path, &matcher.path_prefix) {
        (Some(path), _) => ("match.path", path.written.as_str()),
        (None, Some(prefix)) => ("match.path_prefix", prefix.written.as_str()),
        (None, None) => return Ok(()),
    };
    let authority = match matcher.host.clone() {
        Some(AuthorityPattern { host: HostPattern::Exactly(host), port }) => Authority { host, port },
        Some(AuthorityPattern { host: HostPattern::Below(parent), port }) => {
            Authority { host: format!("x.{parent}"), port }
        }
        Some(AuthorityPattern { host: HostPattern::Within(before, behind), port }) => {
            Authority { host: format!("{before}x{behind}"), port }
        }
        // A host that no other route means.
        None => Authority { host: String::new(), port: None },
    };
    match policies.select(&Place::new(Some(authority), path.as_bytes())) {
        Ok(_) => Ok(()),
        Err(Ambiguous { .. }) => Err(ConfigError::new(
            key,
            "servers differ about which path this is, so no request would be let in by it: write it decoded, without parameters, \
             double slashes, dot segments, or a slash, dot or space at the end (path_prefix takes a path with and without its slash), \
             and not as another route but for the case of its letters",
        )),
    }
}

/// An authority that is served, or that a route is for.
pub(super) fn authority(text: &str) -> Built<AuthorityPattern> {
    AuthorityPattern::parse(text).map_err(|Malformed| {
        ConfigError::new("", "expected a host such as \"example.com\", \"*.example.com\" or \"example.com:8443\"")
    })
}
