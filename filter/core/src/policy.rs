//! The operator's policy, validated and immutable.
//!
//! Made by [`crate::config`], shared by every session that it applies to. The names follow the keys of the
//! configuration; what each means is said there and in README.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::content::ContentRules;
use crate::http::authority::{Authority, AuthorityPattern};
use crate::http::origin::OriginPattern;
use crate::http::path;
use crate::limits::rate::Rate;
use crate::limits::table::FailureRules;
use crate::message::MessageRules;
use crate::token::Provider;
use crate::wire::Side;

/// What a violation does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It is counted and logged, and passes.
    Monitor,
}

/// What a fault of ours or of the proxy does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fail {
    /// The handshake or connection is refused.
    Closed,
    /// It passes without being judged.
    Open,
}

/// What happens to something that a policy may let through or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// It passes.
    Allow,
    /// It does not.
    Refuse,
}

/// What becomes of requests that are no upgrade.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NonWebsocket {
    /// What is asked of an upgrade before it opens is asked of them.
    Authenticate,
    /// They pass.
    Pass,
    /// They do not.
    Refuse,
}

/// What becomes of permessage-deflate (RFC 7692).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// It is negotiated, and a copy of each message inflated and judged.
    Inspect,
    /// It is negotiated, and compressed messages pass unread.
    Pass,
    /// It is not negotiated.
    Refuse,
}

/// How much the proxy buffers of what it reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BufferLimits {
    /// It is not known.
    Default,
    /// A read of the cluster's side is at most half of what the listener's side buffers.
    Halved,
}

/// Everything that is decided about one virtual place.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether violations are refused.
    pub mode: Mode,
    /// What our own faults do.
    pub fail: Fail,
    /// Whether an upgrade has to come over TLS.
    pub require_tls: bool,
    /// Whether `x-forwarded-proto` may stand for TLS.
    pub trust_forwarded_proto: bool,
    /// What the proxy buffers.
    pub buffer_limits: BufferLimits,
    /// Requests that are no upgrade.
    pub non_websocket: NonWebsocket,
    /// The authorities that are served; none means all.
    pub hosts: Vec<AuthorityPattern>,
    /// The origins that may ask.
    pub origin: OriginRules,
    /// Which subprotocols may be negotiated.
    pub subprotocols: SubprotocolRules,
    /// What a client has to prove.
    pub auth: AuthRules,
    /// The client's messages.
    pub from_client: MessageRules,
    /// The server's messages.
    pub from_server: MessageRules,
    /// What the client's messages may say.
    pub client_content: Rc<ContentRules>,
    /// What the server's messages may say.
    pub server_content: Rc<ContentRules>,
    /// Whether messages may be compressed.
    pub compression: Compression,
    /// How much, of everything that is counted.
    pub limits: LimitRules,
    /// How long, of everything that takes time.
    pub liveness: LivenessRules,
    /// What is logged.
    pub log: LogRules,
}

impl Policy {
    /// What the messages of one side may be, and what they may say.
    #[must_use]
    pub const fn messages(&self, from: Side) -> (&MessageRules, &Rc<ContentRules>) {
        match from {
            Side::Client => (&self.from_client, &self.client_content),
            Side::Server => (&self.from_server, &self.server_content),
        }
    }

    /// Whether there is an envelope for what is said on a connection with this subprotocol; empty for none.
    #[must_use]
    pub fn admits(&self, subprotocol: &str) -> bool {
        [&self.client_content, &self.server_content].iter().all(|content| content.envelope.of(subprotocol).is_some())
    }

    /// A type of the client's messages as it is counted: one that the policy does not name counts as none, since a client could make up any.
    #[must_use]
    pub fn counted_type<'a>(&self, kind: &'a str) -> &'a str {
        let is_named = self.client_content.names_type(kind) || self.limits.per_connection.by_type.contains_key(kind);
        if is_named { kind } else { "" }
    }

    /// Whether messages are judged by what the client's token says.
    #[must_use]
    pub fn read_claims(&self) -> bool {
        [&self.client_content, &self.server_content].iter().any(|content| !content.authorize.is_empty())
    }
}

/// The origins of a policy.
#[derive(Clone, Debug)]
pub struct OriginRules {
    /// The origins that may ask.
    pub allow: Vec<OriginPattern>,
    /// The origin of the very host that is asked for.
    pub same_host: Access,
    /// No `Origin` line at all.
    pub missing: Access,
    /// `Origin: null`.
    pub opaque: Access,
}

/// The subprotocols of a policy.
#[derive(Clone, Debug)]
pub struct SubprotocolRules {
    /// The ones that may be negotiated; none means all but tunnels.
    pub allow: Vec<String>,
    /// Whether one has to be offered.
    pub required: bool,
}

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
    /// What the upstream is told.
    pub claim_headers: Vec<ClaimHeader>,
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
}

/// The limits of a policy; `None` is no limit.
#[derive(Clone, Debug)]
pub struct LimitRules {
    /// Of one address, over all workers.
    pub per_address: AddressLimits,
    /// Of one subject, over all its connections and all workers.
    pub per_subject: SubjectLimits,
    /// Of what one client sends.
    pub per_connection: ConnectionLimits,
    /// Live connections of this proxy.
    pub connections: Option<u32>,
    /// How much the connections of one worker may hold for judgement, in bytes.
    pub held_len_max: u64,
    /// What becomes of a message that is too much.
    pub on_excess: OnExcess,
    /// The service that counts for a fleet.
    pub global: Option<GlobalLimits>,
}

/// How much one address may ask for.
#[derive(Clone, Copy, Debug)]
pub struct AddressLimits {
    /// How many bits of an IPv6 address one client has.
    pub ipv6_prefix: u8,
    /// Live connections.
    pub connections: Option<u32>,
    /// Handshakes.
    pub handshakes: Option<Rate>,
    /// Failed handshakes, and the ban that follows.
    pub failures: Option<FailureRules>,
}

/// How much one subject may have and send.
#[derive(Clone, Copy, Debug)]
pub struct SubjectLimits {
    /// Live connections.
    pub connections: Option<u32>,
    /// Messages and control frames.
    pub messages: Option<Rate>,
    /// Bytes of payload.
    pub bytes: Option<Rate>,
}

/// How much one client may send over one connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLimits {
    /// Messages and control frames.
    pub messages: Option<Rate>,
    /// Bytes of payload.
    pub bytes: Option<Rate>,
    /// Messages of some types.
    pub by_type: Rc<BTreeMap<String, Rate>>,
}

/// What becomes of a message that is too much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnExcess {
    /// It ends the connection.
    Close,
    /// It is swallowed.
    Drop,
}

/// A rate limit service (`envoy.service.ratelimit.v3`).
#[derive(Clone, Debug)]
pub struct GlobalLimits {
    /// The cluster of the proxy that it is reached by.
    pub cluster: String,
    /// The domain that its limits are under.
    pub domain: String,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// What happens without an answer.
    pub on_error: Access,
    /// How many messages of a subject it is asked for at once; `None` leaves messages to us.
    pub message_batch: Option<u32>,
}

/// The times of a policy; `None` is no end.
#[derive(Clone, Copy, Debug)]
pub struct LivenessRules {
    /// How long a client may be silent before it gets a ping of ours.
    pub ping_interval: Option<Duration>,
    /// How long it may be silent after that.
    pub pong_timeout: Duration,
    /// How long a connection may go without a message either way.
    pub idle_timeout: Option<Duration>,
    /// How long a client's message may take from its first byte to its last.
    pub message_timeout: Option<Duration>,
    /// How old a connection may become.
    pub lifetime_max: Option<Duration>,
    /// The share of an interval and a lifetime by which connections differ, in thousandths.
    pub jitter_permille: u32,
}

/// What a policy logs.
#[derive(Clone, Copy, Debug)]
pub struct LogRules {
    /// One line for each connection that ended.
    pub connections: bool,
    /// One line for each refusal.
    pub refusals: bool,
}

/// The policy of the whole gate: one for everything, and others for some routes.
#[derive(Clone, Debug)]
pub struct Policies {
    base: Rc<Policy>,
    routes: Vec<Route>,
}

/// A policy of its own for some requests.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which requests.
    pub matcher: RouteMatch,
    /// What holds for them.
    pub policy: Rc<Policy>,
}

/// Which requests a route means: all that is written has to hold.
#[derive(Clone, Debug, Default)]
pub struct RouteMatch {
    /// The authority.
    pub host: Option<AuthorityPattern>,
    /// The whole path.
    pub path: Option<PathPattern>,
    /// The first segments of the path, without a slash at the end: `/chat` means `/chat` and `/chat/room`, not `/chatter`.
    pub path_prefix: Option<PathPattern>,
}

/// What a route says of a path.
#[derive(Clone, Debug)]
pub struct PathPattern {
    /// As [`path::canonical`] writes it.
    pub written: String,
    /// As [`path::folded`] does.
    pub folded: String,
}

impl PathPattern {
    /// What means `path`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { written: path::canonical(path.as_bytes()), folded: path::folded(path.as_bytes()) }
    }

    const fn of(&self, case: Case) -> &str {
        match case {
            Case::Any => self.folded.as_str(),
            Case::Written => self.written.as_str(),
        }
    }
}

impl Policies {
    /// A base policy and the routes that depart from it, in the order in which they are tried.
    #[must_use]
    pub fn new(base: Policy, routes: Vec<Route>) -> Self {
        Self { base: Rc::new(base), routes }
    }

    /// The policy where no route matches.
    #[must_use]
    pub const fn base(&self) -> &Rc<Policy> {
        &self.base
    }

    /// The routes, in the order in which they are tried.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// All policies, the base first.
    pub fn all(&self) -> impl Iterator<Item = &Policy> {
        core::iter::once(&*self.base).chain(self.routes.iter().map(|route| &*route.policy))
    }

    /// The names of all rules that a message can match.
    pub fn rule_names(&self) -> impl Iterator<Item = &Rc<str>> {
        let contents = self.all().flat_map(|policy| [&policy.client_content, &policy.server_content]);
        contents.filter_map(|content| content.patterns.as_ref()).flat_map(|patterns| patterns.names())
    }

    /// The policy of a request: of the first route that matches it, in whatever way it is read.
    ///
    /// # Errors
    /// [`Ambiguous`] where its readings fall under different policies.
    pub fn select(&self, place: &Place) -> Result<&Rc<Policy>, Ambiguous<'_>> {
        let all = self.meanings(place);
        let (policy, others) = all.split_first().map_or((&self.base, &[][..]), |(first, others)| (*first, others));
        if others.iter().all(|other| Rc::ptr_eq(other, policy)) {
            return Ok(policy);
        }
        let is_enforced = all.iter().any(|policy| policy.mode == Mode::Enforce);
        Err(Ambiguous { policy, mode: if is_enforced { Mode::Enforce } else { Mode::Monitor } })
    }

    /// What a fault does to a request before it is judged, by the strictest of the policies that it may be under; `None` where nothing
    /// is known of it.
    #[must_use]
    pub fn fail(&self, place: Option<&Place>) -> Fail {
        let is_open = match place {
            Some(place) => self.meanings(place).iter().all(|policy| policy.fail == Fail::Open),
            None => self.all().all(|policy| policy.fail == Fail::Open),
        };
        if is_open { Fail::Open } else { Fail::Closed }
    }

    /// The policies that the readings of a request fall under, first that of the request as it is written. Where not all readings are
    /// known it may be any.
    fn meanings(&self, place: &Place) -> Vec<&Rc<Policy>> {
        if self.routes.is_empty() {
            return vec![&self.base];
        }
        let has = |part: fn(&RouteMatch) -> bool| self.routes.iter().any(|route| part(&route.matcher));
        let has_paths = has(|matcher| matcher.path.is_some() || matcher.path_prefix.is_some());
        let has_hosts = has(|matcher| matcher.host.is_some());
        let written = || vec![place.path.clone()];
        let readings = if has_paths { path::readings(&place.path) } else { Some(written()) };
        let is_known = readings.is_some() && (!has_hosts || place.authority.is_some());

        // An upstream may not look at a port, which is then anybody's to choose; but one that a route names is meant.
        let is_named = place.authority.as_ref().is_some_and(|authority| {
            let hosts = self.routes.iter().filter_map(|route| route.matcher.host.as_ref());
            hosts.filter(|pattern| pattern.port.is_some()).any(|pattern| pattern.matches(authority))
        });
        let ports = if has_hosts && !is_named { &[Port::Written, Port::Any][..] } else { &[Port::Written] };
        let cases = if has_paths { &[Case::Written, Case::Any][..] } else { &[Case::Written] };

        let mut found = Vec::new();
        for path in readings.unwrap_or_else(written) {
            let folded = path::folds(&path).then(|| path::folded(&path));
            let written = path::canonical(&path);
            for case in cases {
                let path = match case {
                    Case::Any => folded.as_ref().unwrap_or(&written),
                    Case::Written => &written,
                };
                for port in ports {
                    let reading = Reading { authority: place.authority.as_ref(), port: *port, path, case: *case };
                    let route = self.routes.iter().find(|route| route.matcher.matches(&reading));
                    found.push(route.map_or(&self.base, |route| &route.policy));
                }
            }
        }
        if !is_known {
            found.push(&self.base);
            found.extend(self.routes.iter().map(|route| &route.policy));
        }
        found
    }
}

/// A request whose readings fall under different policies.
#[derive(Clone, Copy, Debug)]
pub struct Ambiguous<'a> {
    /// The policy of the request as it is written.
    pub policy: &'a Rc<Policy>,
    /// Whether it is refused: unless none of those policies would.
    pub mode: Mode,
}

/// What a request asks for, as routes see it. A connection keeps it, for the routes of later policies.
#[derive(Debug, Default)]
pub struct Place {
    authority: Option<Authority>,
    path: Vec<u8>,
}

impl Place {
    /// The place that `target` leads to; `authority` with its port, `None` where it is not known.
    #[must_use]
    pub fn new(authority: Option<Authority>, target: &[u8]) -> Self {
        let path = path::written(target);
        // A byte more than has readings, so that it is seen to be too long.
        let path = path.get(..=path::LEN_MAX).unwrap_or(path);
        Self { authority, path: path.to_vec() }
    }

    /// The authority, where it is known.
    #[must_use]
    pub const fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }
}

/// One way of reading what a request asks for.
struct Reading<'a> {
    authority: Option<&'a Authority>,
    port: Port,
    path: &'a str,
    case: Case,
}

/// How a port is read.
#[derive(Clone, Copy)]
enum Port {
    Any,
    Written,
}

/// How letters are read.
#[derive(Clone, Copy)]
enum Case {
    Any,
    Written,
}

impl RouteMatch {
    fn matches(&self, reading: &Reading<'_>) -> bool {
        let host = |pattern: &AuthorityPattern| {
            reading.authority.is_some_and(|own| match reading.port {
                Port::Any => pattern.host.matches(&own.host),
                Port::Written => pattern.matches(own),
            })
        };
        let exactly = |exact: &PathPattern| reading.path == exact.of(reading.case);
        let within = |prefix: &PathPattern| {
            let rest = reading.path.strip_prefix(prefix.of(reading.case));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.host.as_ref().is_none_or(host)
            && self.path.as_ref().is_none_or(exactly)
            && self.path_prefix.as_ref().is_none_or(within)
    }
}

#[cfg(test)]
mod tests;
