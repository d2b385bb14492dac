//! The keys of routes: which requests they mean, and whether any comes to them.

use super::findings::Findings;
use super::raw::RawMatch;
use crate::http::authority::{Authority, AuthorityPattern, HostPattern};
use crate::policy::routes::{Ambiguous, PathPattern, Place, Policies, RouteMatch};

/// Builds what a route matches.
pub(super) fn route_match(raw: Option<&RawMatch>, found: &mut Findings) -> Option<RouteMatch> {
    let none = RawMatch::default();
    let raw = raw.unwrap_or(&none);
    if raw.host.is_none() && raw.path.is_none() && raw.path_prefix.is_none() {
        return found.refuse("", "needs host, path or path_prefix");
    }
    let mut is_whole = true;
    for (key, path) in [("path", &raw.path), ("path_prefix", &raw.path_prefix)] {
        if path.as_ref().is_some_and(|path| !path.starts_with('/') || path.contains(['?', '#'])) {
            found.fault(key, "a path starts with a slash and has no query");
            is_whole = false;
        }
    }
    let host = raw.host.as_deref().map(|host| found.within("host", |found| authority(host, found)));
    is_whole &= !matches!(host, Some(None));
    is_whole.then(|| RouteMatch {
        host: host.flatten(),
        path: raw.path.as_deref().map(PathPattern::new),
        path_prefix: raw.path_prefix.as_deref().map(|prefix| PathPattern::new(prefix.trim_end_matches('/'))),
    })
}

/// Checks that a request for what a route names comes to it, or to one before it: what is never met protects nothing.
pub(super) fn check_met(policies: &Policies, matcher: &RouteMatch, found: &mut Findings) {
    let (key, path) = match (&matcher.path, &matcher.path_prefix) {
        (Some(path), _) => ("path", path.written.as_str()),
        (None, Some(prefix)) => ("path_prefix", prefix.written.as_str()),
        (None, None) => return,
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
    if let Err(Ambiguous { .. }) = policies.select(&Place::new(Some(authority), path.as_bytes())) {
        found.fault(
            key,
            "servers differ about which path this is, so no request would be let in by it: write it decoded, without parameters, \
             double slashes, dot segments, or a slash, dot or space at the end (path_prefix takes a path with and without its slash), \
             and not as another route but for the case of its letters",
        );
    }
}

/// An authority that is served, or that a route is for.
pub(super) fn authority(text: &str, found: &mut Findings) -> Option<AuthorityPattern> {
    let pattern = AuthorityPattern::parse(text).ok();
    pattern.or_else(|| found.expected("a host such as \"example.com\", \"*.example.com\" or \"example.com:8443\""))
}
