//! From an upgrade request to a live session (RFC 6455 §4.2).
//!
//! ```text
//! request ──▶ check ──▶ Pass | Admit | Refuse | Upgrade(Pending)
//!                                          response ──▶ Pending::check ──▶ Session
//! ```
//!
//! Frames cannot be written down before the 101: only [`Pending::check`] makes a [`crate::session::Session`]. Whatever
//! is decided, the credential leaves the request before anyone behind us (upstream, access log) sees it.

mod answer;
mod compression;
mod credential;
pub mod shown;
mod subprotocol;
mod upgrade;

use std::rc::Rc;

use crate::entry::{Credential, Entry, allows_origin};
use crate::http::authority::Authority;
use crate::http::headers::Headers;
use crate::http::list::trim;
use crate::limits::{HeldBytes, Share};
use crate::negotiation::Compression;
use crate::policy::routes::{Ambiguous, Place, Policies};
use crate::policy::{Fail, Mode, NonWebsocket, Policy};
use crate::time::Timestamp;
use crate::token::rules::Source;
use crate::token::{Verified, verify};
use crate::verdict::Edit;
use crate::violation::Violation;

use compression::Offers;
use credential::Taken;
use subprotocol::Offer;

pub use answer::{Opened, Pending};
pub use upgrade::HttpVersion;

/// A request, as the host tells of it.
#[derive(Debug)]
pub struct Request {
    /// All its header fields, pseudo-headers (`:method`, `:path`, `:authority`) among them.
    pub headers: Headers,
    /// The version of HTTP that it came with.
    pub protocol: HttpVersion,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Whether nothing comes behind its header.
    pub end: bool,
    /// Sixteen fresh unpredictable bytes, for a key where the request has none (RFC 8441 §5).
    pub nonce: [u8; 16],
}

/// What becomes of a request.
#[derive(Debug)]
pub struct Opening {
    /// The policy that it falls under.
    pub policy: Rc<Policy>,
    /// What to do with it.
    pub decision: Decision,
    /// What to change in it, whatever the decision is.
    pub edits: Vec<Edit>,
    /// In monitor mode, what it would have been refused for.
    pub would_refuse: Option<Violation>,
    /// The client that asks, where a credential says so.
    pub credential: Option<Rc<Verified>>,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Decision {
    /// No upgrade, but judged as one: it goes on, unless a fleet has to be asked first.
    Admit,
    /// No upgrade: it goes on and is not looked at again.
    Pass,
    /// It is answered with the violation, and its connection closed.
    Refuse(Violation),
    /// It goes on to the upstream, whose answer is awaited.
    Upgrade(Box<Pending>),
}

/// The client whose connections are counted.
#[derive(Clone, Copy, Debug)]
pub enum Applicant<'a> {
    /// The address that asks for a connection, before anything it says has been looked at.
    Address,
    /// The subject that a genuine credential speaks for.
    Subject(&'a Verified),
    /// The address that asks, for a request that stays no connection.
    Visitor,
}

/// Counts one more of an applicant's connections under a policy, as those who count say.
pub type Admit<'a> = &'a mut dyn FnMut(&Policy, Applicant<'_>) -> Result<(), Violation>;

/// Decides about a request; `held` is what this worker's connections hold, and `admit` is asked about each applicant once.
#[must_use]
pub fn check(
    policies: &Policies,
    request: &Request,
    held: &Rc<HeldBytes>,
    now: Timestamp,
    admit: Admit<'_>,
) -> Opening {
    let headers = &request.headers;
    let place = place(policies, request);
    let selected = policies.select(&place);
    let (policy, mode) = match selected {
        Ok(policy) => (policy, policy.mode),
        Err(Ambiguous { policy, mode }) => (policy, mode),
    };
    let is_ambiguous = selected.is_err();
    let spoofed = credential::spoofed_claims(headers, &policy.auth);
    let kind = match (Kind::of(request), policy.non_websocket) {
        (Kind::Upgrade, _) => Kind::Upgrade,
        (kind, NonWebsocket::Authenticate) => kind,
        (_, NonWebsocket::Pass) if !is_ambiguous => return Opening::new(policy, Decision::Pass, spoofed),
        (_, NonWebsocket::Pass | NonWebsocket::Refuse) => {
            let violation = if is_ambiguous { Violation::BadUpgrade } else { Violation::NotWebsocket };
            return match mode {
                Mode::Enforce => refuse(policies, policy, request, violation),
                Mode::Monitor => {
                    Opening { would_refuse: Some(violation), ..Opening::new(policy, Decision::Pass, spoofed) }
                }
            };
        }
    };

    let taken = credential::take(headers, &policy.auth.sources);
    let authority = place.authority().filter(|_| !is_ambiguous);
    let verdict = judge(policy, request, kind, authority, &taken, now, admit);
    let mut edits = spoofed;
    let (grant, would_refuse) = match (verdict, mode) {
        (Ok(grant), _) => (grant, None),
        (Err(violation), Mode::Enforce) => return refuse(policies, policy, request, violation),
        // It goes on as it came, credential and all: monitoring must not break what the upstream would accept.
        (Err(violation), Mode::Monitor) => (Grant::default(), Some(violation)),
    };

    if would_refuse.is_none() {
        if !policy.auth.forward {
            edits.extend(taken.edits());
        }
        edits.extend(grant.claims);
    }
    if kind != Kind::Upgrade {
        let decision = if would_refuse.is_none() { Decision::Admit } else { Decision::Pass };
        let opening = Opening::new(policy, decision, edits);
        return Opening { would_refuse, credential: grant.credential, ..opening };
    }

    let key = upgrade::key(headers).unwrap_or_else(|| upgrade::encode_key(request.nonce));
    if !headers.has("sec-websocket-key") {
        edits.push(Edit::set("sec-websocket-key", key.as_str()));
    }
    let compression = Offers::new(headers, compression(policy, held));
    edits.extend(compression.edit(headers));
    let offer = would_refuse.is_none().then_some(grant.offer);
    edits.extend(offer.as_ref().and_then(|offer| offer.edit(headers)));
    let credential = grant.credential.as_ref().map(|credential| match policy.read_claims() {
        true => Credential::Open(Rc::clone(credential)),
        false => Credential::Packed(credential.pack()),
    });
    let entry = Entry {
        tls: request.tls,
        forwarded_tls: is_forwarded_tls(headers),
        origin: origin(headers).map(Entry::kept_origin),
        is_tunnel: false,
        credential,
        flawed: would_refuse.is_some(),
    };
    let pending = Pending::new(
        Rc::clone(policy),
        (place, request.protocol, &key),
        offer,
        compression,
        entry,
        Share::new(Rc::clone(held)),
    );
    let opening = Opening::new(policy, Decision::Upgrade(Box::new(pending)), edits);
    Opening { would_refuse, credential: grant.credential, ..opening }
}

/// What a fault does to a request that is not judged yet, by the policy that it is under.
#[must_use]
pub fn fail(policies: &Policies, request: &Request) -> Fail {
    policies.fail(Some(&place(policies, request)))
}

/// Whether a refusal counts towards a ban of the address. Pages make the browsers of their visitors ask for images and links, which are no
/// upgrades and have no `Origin`: what they bring along is not their address's fault. An upgrade of a browser always has one.
#[must_use]
pub fn counts_against_address(request: &Request, violation: Violation) -> bool {
    violation.is_failed_attempt() && (upgrade::is_attempted(&request.headers) || request.headers.has("origin"))
}

/// The refusal of a request, without a credential in any place where some policy looks for one: it may have been meant for that.
fn refuse(policies: &Policies, policy: &Rc<Policy>, request: &Request, violation: Violation) -> Opening {
    let mut sources: Vec<Source> = Vec::new();
    for source in policies.all().flat_map(|policy| &policy.auth.sources) {
        if !sources.contains(source) {
            sources.push(source.clone());
        }
    }
    let mut edits = credential::spoofed_claims(&request.headers, &policy.auth);
    edits.extend(credential::clear(&request.headers, &sources));
    // A list that is malformed may hide a credential that was not found in it.
    if request.headers.has("sec-websocket-protocol") {
        edits.push(Edit::remove("sec-websocket-protocol"));
    }
    Opening::new(policy, Decision::Refuse(violation), edits)
}

/// What a request asks for. The port that is not written is that of its scheme.
fn place(policies: &Policies, request: &Request) -> Place {
    let headers = &request.headers;
    let port = if is_secure(policies.base(), request) { 443 } else { 80 };
    let authority = authority(headers).map(|authority| authority.with_default_port(port));
    Place::new(authority, headers.all(":path").next().unwrap_or_default())
}

/// What a request means to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// No upgrade.
    Other,
    /// What a browser asks before it sends a credential to another origin (Fetch §3.3.2): it has none itself, and no body.
    Preflight,
    /// An upgrade, or half of one.
    Upgrade,
}

impl Kind {
    fn of(request: &Request) -> Self {
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

impl Opening {
    fn new(policy: &Rc<Policy>, decision: Decision, edits: Vec<Edit>) -> Self {
        Self { policy: Rc::clone(policy), decision, edits, would_refuse: None, credential: None }
    }
}

/// What a request that is not refused may do.
#[derive(Default)]
struct Grant {
    credential: Option<Rc<Verified>>,
    claims: Vec<Edit>,
    offer: Offer,
}

/// Finds the first rule of `policy` that the request breaks; `authority` is missing where it is malformed, or where what is asked for
/// is read in different ways.
fn judge(
    policy: &Policy,
    request: &Request,
    kind: Kind,
    authority: Option<&Authority>,
    taken: &Taken,
    now: Timestamp,
    admit: Admit<'_>,
) -> Result<Grant, Violation> {
    let headers = &request.headers;
    let admitted = admit(policy, if kind == Kind::Upgrade { Applicant::Address } else { Applicant::Visitor });
    // The shape first: proxies end the connection behind a 400, which half an upgrade needs most.
    match kind {
        Kind::Upgrade => upgrade::check(request)?,
        Kind::Other | Kind::Preflight => upgrade::check_fields(headers)?,
    }
    let authority = authority.ok_or(Violation::BadUpgrade)?;
    admitted?;
    if policy.require_tls && !is_secure(policy, request) {
        return Err(Violation::TlsRequired);
    }
    if !policy.hosts.is_empty() && !policy.hosts.iter().any(|host| host.matches(authority)) {
        return Err(Violation::HostRefused);
    }
    let secure = is_secure(policy, request);
    let own = if kind == Kind::Other { own_origin(headers, authority, secure) } else { None };
    let line = origin(headers).or_else(|| own.as_deref().map(str::as_bytes));
    if !allows_origin(&policy.origin, line, Some(authority), secure) {
        return Err(Violation::OriginRefused);
    }
    let offer = match kind {
        Kind::Upgrade => Offer::new(&taken.protocols, &policy.subprotocols, policy.auth.forward)?,
        Kind::Other | Kind::Preflight => Offer::default(),
    };
    let credential = match taken.tokens.as_slice() {
        [] if policy.auth.required && kind != Kind::Preflight => return Err(Violation::CredentialMissing),
        [] => None,
        [token] => Some(Rc::new(verify(token.expose(), &policy.auth.providers, now)?)),
        // "Clients MUST NOT use more than one method to transmit the token in each request" (RFC 6750 §2).
        [_, _, ..] => return Err(Violation::CredentialAmbiguous),
    };
    let claims = credential::claim_headers(&policy.auth, credential.as_deref())?;
    let subject = credential.as_deref().filter(|credential| credential.subject().is_some());
    if let (Kind::Upgrade, Some(credential)) = (kind, subject) {
        admit(policy, Applicant::Subject(credential))?;
    }
    Ok(Grant { credential, claims, offer })
}

/// Windows to inflate in are most of what compressed connections hold, and they keep them: new connections go without once half of
/// what may be held is, so that the other half is left for messages.
fn compression(policy: &Policy, held: &HeldBytes) -> Compression {
    match policy.compression {
        Compression::Inspect if !held.has_room(0, policy.limits.held_len_max / 2) => Compression::Refuse,
        compression => compression,
    }
}

fn is_secure(policy: &Policy, request: &Request) -> bool {
    request.tls || (policy.trust_forwarded_proto && is_forwarded_tls(&request.headers))
}

fn is_forwarded_tls(headers: &Headers) -> bool {
    let proto = headers.one("x-forwarded-proto").ok().flatten().unwrap_or_default();
    proto.eq_ignore_ascii_case(b"https") || proto.eq_ignore_ascii_case(b"wss")
}

/// `:authority`, or `Host` on hosts that have no pseudo-headers; `None` when it is missing, malformed, or not the same everywhere.
fn authority(headers: &Headers) -> Option<Authority> {
    let mut lines = headers.all(":authority").chain(headers.all("host"));
    let parse = |line: &[u8]| Authority::parse(line).and_then(Authority::resolved);
    let authority = parse(lines.next()?).ok()?;
    lines.all(|line| parse(line).as_ref() == Ok(&authority)).then_some(authority)
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
fn origin(headers: &Headers) -> Option<&[u8]> {
    headers.all("origin").next().map(trim)
}

#[cfg(test)]
mod tests;
