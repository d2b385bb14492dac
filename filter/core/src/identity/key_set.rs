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

use core::time::Duration;
use std::rc::Rc;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::inquiries::Topic;
use super::location::Location;
use super::published::{self, Document, Edition, Failure, Received, Service};
use crate::ask::{Answer, HttpRequest};
use crate::cluster::Cluster;
use crate::json;
use crate::time::Moment;
use crate::token::keys::Keys;

/// How soon tokens with an unknown key may have the set fetched again.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(2);

/// Where a provider's keys are, and how often they are fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemoteKeys {
    /// The proxy's name of the cluster.
    pub cluster: Cluster,
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
    edition: Edition,
    flight: Option<Flight>,
    /// When a token with an unknown key may have the set fetched again.
    unknown_at: Moment,
    /// Tokens with an unknown key wait for that moment.
    is_awaited: bool,
}

#[derive(Debug)]
enum Flight {
    Metadata,
    Set(Location),
}

impl RemoteKeys {
    fn service(&self) -> Service<'_> {
        Service { cluster: &self.cluster, refresh: self.refresh, timeout: self.timeout }
    }
}

impl Document for KeySet {
    type Source = RemoteKeys;

    fn new(remote: Rc<RemoteKeys>) -> Self {
        let (edition, unknown_at) = (Edition::default(), Moment::default());
        Self { remote, keys: None, edition, flight: None, unknown_at, is_awaited: false }
    }

    fn source(&self) -> &RemoteKeys {
        &self.remote
    }

    fn begin_due(&mut self, now: Moment) -> Option<HttpRequest> {
        let request = if self.next_at()? <= now {
            self.begin()
        } else if self.is_awaited && self.may_ask_again(now) {
            self.begin_again(now)
        } else {
            return None;
        };
        self.is_awaited = false;
        Some(request)
    }

    fn topic(number: usize) -> Topic {
        Topic::KeySet(number)
    }
}

impl KeySet {
    /// The last good keys.
    #[must_use]
    pub const fn keys(&self) -> Option<&Rc<Keys>> {
        self.keys.as_ref()
    }

    /// When they are to be fetched; `None` while they are.
    #[must_use]
    pub fn next_at(&self) -> Option<Moment> {
        self.flight.is_none().then_some(self.edition.next_at())
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
                published::get(self.remote.service(), metadata)
            }
        }
    }

    /// Begins a fetch for a token whose key is unknown, where the set was last.
    pub fn begin_again(&mut self, now: Moment) -> HttpRequest {
        self.unknown_at = now.saturating_add(UNKNOWN_KEY_INTERVAL);
        match self.edition.place() {
            Some(location) => self.ask_for_set(location.clone()),
            None => self.begin(),
        }
    }

    /// A token with an unknown key waits for a fetch. Gives whether that is yet to begin; `None` where it will be long before one does.
    pub fn wait(&mut self, now: Moment) -> Option<bool> {
        let next_at = self.next_at();
        if self.keys.is_none() && next_at.is_some_and(|at| at > now) {
            return None;
        }
        let is_to_come = next_at.is_some();
        self.is_awaited |= is_to_come;
        Some(is_to_come)
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
        if !matches!(received, Ok(Received::Then(_))) {
            self.edition.plan(self.remote.service(), answer, received.is_err(), now, chance);
        }
        received.unwrap_or_else(Received::Failed)
    }

    fn ask_for_set(&mut self, location: Location) -> HttpRequest {
        let request = self.edition.request(self.remote.service(), &location);
        self.flight = Some(Flight::Set(location));
        request
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
        if self.edition.is_unchanged(answer, &location) {
            return Ok(Received::Unchanged);
        }
        let set = object(answer)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(Failure::Malformed)?;
        let (keys, _) = Keys::from_jwks(self.remote.algorithms.clone(), keys).map_err(|_| Failure::NoneUsable)?;
        self.keys = Some(Rc::new(keys));
        self.edition.take(location, answer);
        Ok(Received::Fetched)
    }
}

/// The JSON object of an answer.
fn object(answer: &Answer) -> Result<Map<String, Value>, Failure> {
    match json::parse(published::body(answer)?) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Failure::Malformed),
    }
}

#[cfg(test)]
mod tests;
