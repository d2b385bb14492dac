//! What a request says of itself: what it means to be, where it comes from, and how it came.

use std::borrow::Cow;

use super::request::Request;
use super::upgrade;
use crate::http::authority::Authority;
use crate::http::headers::Headers;
use crate::http::list::trim;
use crate::policy::Policy;
use crate::violation::Violation;

/// Whether a refusal counts towards a ban of the address. Pages make the browsers of their visitors ask for images and links, which are no
/// upgrades and have no `Origin`: what they bring along is not their address's fault. An upgrade of a browser always has one.
pub(super) fn counts_against_address(request: &Request, violation: Violation) -> bool {
    violation.is_failed_attempt() && (upgrade::is_attempted(&request.headers) || request.headers.has("origin"))
}

/// What a request means to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// No upgrade.
    Other,
    /// What the filter answers itself.
    Post,
    /// What a browser asks before it sends a credential to another origin (Fetch §3.3.2): it has none itself, and no body.
    Preflight,
    /// An upgrade, or half of one.
    Upgrade,
}

impl Kind {
    pub(super) fn of(request: &Request) -> Self {
        let headers = &request.headers;
        if upgrade::is_attempted(headers) {
            return Self::Upgrade;
        }
        let asks = ["origin", "access-control-request-method"].iter().all(|name| headers.has(name));
        if headers.one(":method") == Ok(Some(b"OPTIONS")) && asks && request.end {
            Self::Preflight
        } else {
            Self::Other
        }
    }
}

pub(super) fn is_secure(policy: &Policy, request: &Request) -> bool {
    request.tls || (policy.trust_forwarded_proto && is_forwarded_tls(&request.headers))
}

pub(super) fn is_forwarded_tls(headers: &Headers) -> bool {
    let proto = headers.one("x-forwarded-proto").ok().flatten().unwrap_or_default();
    proto.eq_ignore_ascii_case(b"https") || proto.eq_ignore_ascii_case(b"wss")
}

/// `:authority`, or `Host` on hosts that have no pseudo-headers; `None` when it is missing, malformed, or not the same everywhere.
pub(super) fn authority(headers: &Headers) -> Option<Authority> {
    let mut lines = headers.all(":authority").chain(headers.all("host"));
    let parse = |line: &[u8]| Authority::parse(line).and_then(Authority::resolved);
    let authority = parse(lines.next()?).ok()?;
    lines.all(|line| parse(line).as_ref() == Ok(&authority)).then_some(authority)
}

/// The origin of the page that asks.
pub(super) fn asking_origin<'a>(
    policy: &Policy,
    request: &'a Request,
    kind: Kind,
    authority: &Authority,
) -> Option<Cow<'a, [u8]>> {
    let headers = &request.headers;
    let own = || own_origin(headers, authority, is_secure(policy, request)).filter(|_| kind == Kind::Other);
    origin(headers).map(Cow::Borrowed).or_else(|| own().map(|own| own.into_bytes().into()))
}

/// The origin of a page that asks its own host: browsers leave `Origin` out of a GET there, and say so in a field that no page can set
/// (Fetch Metadata §2.1).
fn own_origin(headers: &Headers, authority: &Authority, secure: bool) -> Option<String> {
    let is_own = headers.one("sec-fetch-site") == Ok(Some(b"same-origin"));
    let scheme = if secure { "https" } else { "http" };
    let Authority { host, port } = authority;
    is_own.then(|| format!("{scheme}://{host}{}", port.map(|port| format!(":{port}")).unwrap_or_default()))
}

/// The `Origin` of a request that has at most one (RFC 6455 §10.2).
pub(super) fn origin(headers: &Headers) -> Option<&[u8]> {
    headers.all("origin").next().map(trim)
}
