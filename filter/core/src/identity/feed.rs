//! A list of what is revoked, as somebody publishes it: fetched in whole again and again.
//!
//! ```json
//! {"sub": ["alice"], "sid": ["08a5019c-17e1-4977-8f42-65a12843ea02"], "jti": []}
//! ```

use core::fmt;
use core::time::Duration;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::inquiries::Topic;
use super::location::Location;
use super::marks::{ABSENT, Digest, Marks, Name, digest};
use super::published::{self, Document, Edition, Failure, Received, Service};
use crate::ask::{Answer, HttpRequest};
use crate::cluster::Cluster;
use crate::json::document::Form;
use crate::json::reader::{self, Bounds};
use crate::time::Moment;

/// What each member of a list names.
const MEMBERS: [(&str, Name); 3] = [("jti", Name::Token), ("sid", Name::Session), ("sub", Name::Subject)];

/// A list is as long as a document may be, and no deeper than one has to be; members that are not known may be a little deeper.
const BOUNDS: Bounds = Bounds {
    depth_max: 8,
    keys_max: 64,
    string_len_max: published::DOCUMENT_LEN_MAX,
    unique_keys: true,
    surrogates: false,
};

/// Where a list is, and how often it is fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemoteFeed {
    /// The proxy's name of the cluster.
    pub cluster: Cluster,
    /// Where in it the list is.
    pub location: Location,
    /// The longest time between two fetches.
    pub refresh: Duration,
    /// How long a request may take.
    pub timeout: Duration,
}

impl RemoteFeed {
    fn service(&self) -> Service<'_> {
        Service { cluster: &self.cluster, refresh: self.refresh, timeout: self.timeout }
    }
}

/// What is revoked: sixteen bytes for each entry.
#[derive(Eq, PartialEq)]
pub struct Revoked(Box<[Digest]>);

impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revoked({} entries)", self.0.len())
    }
}

impl Revoked {
    /// Reads a list.
    ///
    /// # Errors
    /// [`Failure::Malformed`] for anything but an object with one of the members at least, each a list of strings. A list with none of them
    /// revokes nothing, and is rather one that somebody misspelled.
    pub fn read(body: &[u8]) -> Result<Self, Failure> {
        let text = str::from_utf8(body).map_err(|_| Failure::Malformed)?;
        let document = reader::read(text, &BOUNDS).map_err(|_| Failure::Malformed)?;
        let mut digests = Vec::new();
        let mut is_list = false;
        for (member, name) in MEMBERS {
            let Some(list) = document.root().get(member) else { continue };
            let Form::Array(items) = list.form() else { return Err(Failure::Malformed) };
            is_list = true;
            for item in items {
                digests.push(digest(name, item.as_str().ok_or(Failure::Malformed)?));
            }
        }
        digests.sort_unstable();
        digests.dedup();
        if is_list { Ok(Self(digests.into_boxed_slice())) } else { Err(Failure::Malformed) }
    }

    /// Whether a credential is revoked.
    #[must_use]
    pub fn has(&self, marks: &Marks) -> bool {
        let Marks { subject, session, token, .. } = marks;
        [subject, session, token].into_iter().any(|mark| *mark != ABSENT && self.0.binary_search(mark).is_ok())
    }
}

/// A list, as it is known.
#[derive(Debug)]
pub struct Feed {
    remote: Rc<RemoteFeed>,
    revoked: Option<Rc<Revoked>>,
    /// The digest of the body that it was read from: reading it costs some ten times as much.
    read: Option<[u8; 32]>,
    edition: Edition,
    is_in_flight: bool,
}

impl Document for Feed {
    type Source = RemoteFeed;

    fn new(remote: Rc<RemoteFeed>) -> Self {
        Self { remote, revoked: None, read: None, edition: Edition::default(), is_in_flight: false }
    }

    fn source(&self) -> &RemoteFeed {
        &self.remote
    }

    fn begin_due(&mut self, now: Moment) -> Option<HttpRequest> {
        if self.is_in_flight || self.edition.next_at() > now {
            return None;
        }
        self.is_in_flight = true;
        Some(self.edition.request(self.remote.service(), &self.remote.location))
    }

    fn topic(number: usize) -> Topic {
        Topic::Feed(number)
    }
}

impl Feed {
    /// The last good list.
    #[must_use]
    pub const fn revoked(&self) -> Option<&Rc<Revoked>> {
        self.revoked.as_ref()
    }

    /// Whether a fetch is under way, or begins now.
    #[must_use]
    pub fn is_coming(&self, now: Moment) -> bool {
        self.is_in_flight || self.edition.next_at() <= now
    }

    /// Takes the answer to the last request. `chance` is a fresh random number.
    pub fn receive(&mut self, answer: &Answer, now: Moment, chance: u16) -> Received {
        if !core::mem::take(&mut self.is_in_flight) {
            return Received::Unchanged;
        }
        let received = self.read(answer);
        self.edition.plan(self.remote.service(), answer, received.is_err(), now, chance);
        received.unwrap_or_else(Received::Failed)
    }

    fn read(&mut self, answer: &Answer) -> Result<Received, Failure> {
        let location = &self.remote.location;
        if self.edition.is_unchanged(answer, location) {
            return Ok(Received::Unchanged);
        }
        let body = published::body(answer)?;
        let read = Some(Sha256::digest(body).into());
        if self.read == read {
            self.edition.take(location.clone(), answer);
            return Ok(Received::Unchanged);
        }
        let revoked = Revoked::read(body)?;
        self.edition.take(location.clone(), answer);
        self.read = read;
        if self.revoked.as_deref() == Some(&revoked) {
            return Ok(Received::Unchanged);
        }
        self.revoked = Some(Rc::new(revoked));
        Ok(Received::Fetched)
    }
}

#[cfg(test)]
mod tests;
