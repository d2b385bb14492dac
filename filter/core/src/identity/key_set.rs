//! The keys that a provider publishes, fetched over a cluster of the proxy (RFC 7517 §5, OpenID Connect Discovery 1.0 §4).
//!
//! ```text
//! next_at ── begin ──▶ HttpRequest ── receive ──▶ Fetched | Unchanged ── refresh, or sooner by Cache-Control ──▶ next_at
//!                           ▲              ├─ Then (the set, behind its discovery)
//! token with a new kid ─────┘              └─ Failed: the last good set stays ── 1 s, 2 s, … refresh ──▶ next_at
//! ```
//!
//! Tokens with invented kids cause at most one fetch in two seconds; a token that comes in between waits for the next one, since its
//! key may be really new.

use core::fmt;
use core::time::Duration;
use std::rc::Rc;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::location::Location;
use crate::ask::{Answer, HttpRequest, HttpResponse};
use crate::http::list::trim;
use crate::json;
use crate::time::Moment;
use crate::token::keys::Keys;

/// The longest key set, in bytes: 64 keys with their certificates are a quarter of it.
const KEY_SET_LEN_MAX: usize = 1 << 20;

/// How soon tokens with an unknown key may have the set fetched again.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(2);

/// How soon a provider may have its set fetched again by `Cache-Control`.
const FRESH_MIN: Duration = Duration::from_secs(10);

/// When a fetch that failed is tried again, at first.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The most doublings of [`RETRY_MIN`]: nine hours, beyond any `refresh`.
const DOUBLINGS_MAX: u32 = 15;

/// The part of a span by which chance shortens it, so that workers and Envoys do not all ask at once. It never lengthens one: `refresh` is the
/// longest time that a withdrawn key is accepted.
const SPREAD: f64 = 0.1;

/// The longest ETag that is sent back, in bytes.
const ETAG_LEN_MAX: usize = 256;

/// Where a provider's keys are, and how often they are fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemoteKeys {
    /// The proxy's name of the cluster.
    pub cluster: Box<str>,
    /// Where in it they are.
    pub source: KeySource,
    /// The longest time between two fetches.
    pub refresh: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// What the keys may be used with.
    pub algorithms: Vec<Algorithm>,
}

/// What says where the keys are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// The policy.
    Url(Location),
    /// The metadata of the issuer.
    Discovery {
        /// The issuer, as tokens and metadata must write it.
        issuer: Box<str>,
        /// Where the metadata is.
        metadata: Location,
    },
}

impl KeySource {
    /// The metadata of `issuer`: its URL without a slash at the end, then the well-known path (OpenID Connect Discovery 1.0 §4.1).
    #[must_use]
    pub fn discovery(issuer: &str) -> Option<Self> {
        if issuer.contains('?') {
            return None;
        }
        let mut url = String::from(issuer.strip_suffix('/').unwrap_or(issuer));
        url.push_str("/.well-known/openid-configuration");
        Some(Self::Discovery { issuer: issuer.into(), metadata: Location::parse(&url)? })
    }
}

/// The keys of one provider, as they are known.
#[derive(Debug)]
pub struct KeySet {
    remote: Rc<RemoteKeys>,
    keys: Option<Rc<Keys>>,
    /// The place that the keys came from, and what it called them there.
    place: Option<(Location, Option<String>)>,
    flight: Option<Flight>,
    next_at: Moment,
    /// When a token with an unknown key may have the set fetched again.
    unknown_at: Moment,
    failures: u32,
}

#[derive(Debug)]
enum Flight {
    Metadata,
    Set(Location),
}

/// What came of an answer.
#[derive(Debug, Eq, PartialEq)]
pub enum Received {
    /// There are new keys.
    Fetched,
    /// The keys are as they were.
    Unchanged,
    /// There is nothing new; the last good keys stay.
    Failed(Failure),
    /// The next request is to be made.
    Then(HttpRequest),
}

/// Why keys could not be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// No answer came within the time, or it was too long.
    NoAnswer,
    /// The status is neither 200 nor, where that was asked for, 304. Redirects are not followed.
    Status(u16),
    /// The answer is not what it should be: strict JSON with the members that are needed.
    Malformed,
    /// The metadata is another issuer's.
    Issuer,
    /// Not one key is usable.
    NoneUsable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("no answer, or one that is too long"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Malformed => f.write_str("the answer is no JSON object of the right shape"),
            Self::Issuer => f.write_str("the metadata is another issuer's"),
            Self::NoneUsable => f.write_str("no key is usable with the algorithms"),
        }
    }
}

impl KeySet {
    /// Nothing is known yet, and the keys are to be fetched at once.
    #[must_use]
    pub fn new(remote: Rc<RemoteKeys>) -> Self {
        let start = Moment::default();
        Self { remote, keys: None, place: None, flight: None, next_at: start, unknown_at: start, failures: 0 }
    }

    /// What is fetched.
    #[must_use]
    pub const fn remote(&self) -> &Rc<RemoteKeys> {
        &self.remote
    }

    /// The last good keys.
    #[must_use]
    pub const fn keys(&self) -> Option<&Rc<Keys>> {
        self.keys.as_ref()
    }

    /// When they are to be fetched; `None` while they are.
    #[must_use]
    pub fn next_at(&self) -> Option<Moment> {
        self.flight.is_none().then_some(self.next_at)
    }

    /// Whether a token whose key is unknown may have them fetched again, with [`Self::begin_again`].
    #[must_use]
    pub fn may_ask_again(&self, now: Moment) -> bool {
        self.flight.is_none() && now >= self.unknown_at
    }

    /// Begins a fetch, from the metadata on where the issuer has some.
    pub fn begin(&mut self) -> HttpRequest {
        match &self.remote.source {
            KeySource::Url(location) => self.ask_for_set(location.clone()),
            KeySource::Discovery { metadata, .. } => {
                self.flight = Some(Flight::Metadata);
                self.get(metadata, None)
            }
        }
    }

    /// Begins a fetch for a token whose key is unknown, where the set was last.
    pub fn begin_again(&mut self, now: Moment) -> HttpRequest {
        self.unknown_at = now.saturating_add(UNKNOWN_KEY_INTERVAL);
        match &self.place {
            Some((location, _)) => self.ask_for_set(location.clone()),
            None => self.begin(),
        }
    }

    /// Takes the answer to the last request. `chance` is a fresh random number.
    pub fn receive(&mut self, answer: &Answer, now: Moment, chance: u16) -> Received {
        let received = match self.flight.take() {
            None => return Received::Unchanged,
            Some(Flight::Metadata) => {
                self.read_metadata(answer).map(|location| Received::Then(self.ask_for_set(location)))
            }
            Some(Flight::Set(location)) => self.read_set(answer, location),
        };
        let span = match (&received, answer) {
            (Ok(Received::Then(_)), _) => None,
            (Ok(_), Answer::Http(response)) => {
                self.failures = 0;
                Some(freshness(response).map_or(self.remote.refresh, |fresh| fresh.max(FRESH_MIN)))
            }
            _ => {
                let doublings = self.failures.min(DOUBLINGS_MAX);
                self.failures = self.failures.saturating_add(1);
                Some(RETRY_MIN.saturating_mul(1 << doublings))
            }
        };
        if let Some(span) = span {
            self.next_at = now.saturating_add(shortened(span.min(self.remote.refresh), chance));
        }
        received.unwrap_or_else(Received::Failed)
    }

    fn ask_for_set(&mut self, location: Location) -> HttpRequest {
        let etag = match &self.place {
            Some((place, etag)) if *place == location => etag.clone(),
            _ => None,
        };
        let request = self.get(&location, etag);
        self.flight = Some(Flight::Set(location));
        request
    }

    fn get(&self, location: &Location, etag: Option<String>) -> HttpRequest {
        let mut fields = vec![
            (":method", "GET".to_owned()),
            (":authority", String::from(&*location.authority)),
            (":path", String::from(&*location.path)),
            ("accept", "application/json".to_owned()),
        ];
        fields.extend(etag.map(|etag| ("if-none-match", etag)));
        HttpRequest {
            cluster: self.remote.cluster.clone(),
            fields,
            body: Vec::new(),
            timeout: self.remote.timeout,
            answer_len_max: KEY_SET_LEN_MAX,
        }
    }

    fn read_metadata(&self, answer: &Answer) -> Result<Location, Failure> {
        let metadata = object(answer)?;
        // OpenID Connect Discovery 1.0 §4.3: exactly the issuer that was asked, or another's keys would vouch for its tokens.
        let issuer = metadata.get("issuer").and_then(Value::as_str).ok_or(Failure::Malformed)?;
        if !matches!(&self.remote.source, KeySource::Discovery { issuer: own, .. } if **own == *issuer) {
            return Err(Failure::Issuer);
        }
        metadata.get("jwks_uri").and_then(Value::as_str).and_then(Location::parse).ok_or(Failure::Malformed)
    }

    fn read_set(&mut self, answer: &Answer, location: Location) -> Result<Received, Failure> {
        if let (Answer::Http(HttpResponse { status: 304, .. }), Some((place, Some(_)))) = (answer, &self.place)
            && *place == location
        {
            return Ok(Received::Unchanged);
        }
        let set = object(answer)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(Failure::Malformed)?;
        let (keys, _) = Keys::from_jwks(self.remote.algorithms.clone(), keys).map_err(|_| Failure::NoneUsable)?;
        self.keys = Some(Rc::new(keys));
        self.place = Some((location, etag(answer)));
        Ok(Received::Fetched)
    }
}

/// The JSON object of an answer with status 200.
fn object(answer: &Answer) -> Result<Map<String, Value>, Failure> {
    let Answer::Http(response) = answer else { return Err(Failure::NoAnswer) };
    if response.status != 200 {
        return Err(Failure::Status(response.status));
    }
    match json::parse(&response.body) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Failure::Malformed),
    }
}

/// The ETag, where it can be sent back.
fn etag(answer: &Answer) -> Option<String> {
    let Answer::Http(response) = answer else { return None };
    let etag = response.field("etag")?;
    let is_sendable = etag.len() <= ETAG_LEN_MAX && etag.iter().all(u8::is_ascii_graphic);
    is_sendable.then(|| str::from_utf8(etag).ok().map(str::to_owned)).flatten()
}

/// How long the sender of a response says that it holds (RFC 9111 §5.2.2), less the time that it lay in caches; zero where nobody may keep
/// it.
fn freshness(response: &HttpResponse) -> Option<Duration> {
    let lines = response.fields.iter().filter(|(name, _)| name == b"cache-control").map(|(_, value)| value);
    let mut fresh = None;
    for directive in lines.flat_map(|line| line.split(|byte| *byte == b',')).map(trim) {
        let directive = directive.to_ascii_lowercase();
        if directive == b"no-store" || directive == b"no-cache" {
            return Some(Duration::ZERO);
        }
        if let Some(age) = directive.strip_prefix(b"max-age=").and_then(seconds) {
            fresh = Some(age);
        }
    }
    let age = response.field("age").and_then(seconds).unwrap_or_default();
    fresh.map(|fresh: Duration| fresh.saturating_sub(age))
}

fn seconds(digits: &[u8]) -> Option<Duration> {
    str::from_utf8(digits).ok()?.parse().ok().map(Duration::from_secs)
}

/// `span`, less up to [`SPREAD`] of it.
fn shortened(span: Duration, chance: u16) -> Duration {
    let part = 1.0 - SPREAD * f64::from(chance) / f64::from(u16::MAX);
    Duration::try_from_secs_f64(span.as_secs_f64() * part).unwrap_or(span)
}

#[cfg(test)]
mod tests;
