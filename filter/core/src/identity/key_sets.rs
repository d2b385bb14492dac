//! The key sets of all providers that a worker's policies name.

use std::rc::Rc;

use super::inquiries::Inquiries;
use super::key_set::{KeySet, RemoteKeys};
use super::published::{Document, Documents, Received};
use crate::ask::{Answer, Inquiry};
use crate::time::Moment;
use crate::token::keys::Keys;

/// Each set once, whoever names it.
#[derive(Debug, Default)]
pub struct KeySets(Documents<KeySet>);

/// What a token with an unknown key waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Awaited {
    /// The fetch.
    pub inquiry: Inquiry,
    /// Whether it is yet to begin: then it brings what was published before the token came.
    pub is_to_come: bool,
}

impl KeySets {
    /// Has a set fetched for as long as `remote` lives.
    pub fn want(&self, remote: &Rc<RemoteKeys>) {
        self.0.want(remote);
    }

    /// The last good keys of a set.
    #[must_use]
    pub fn keys(&self, remote: &RemoteKeys) -> Option<Rc<Keys>> {
        self.0.look(remote, |set| set.keys().cloned())
    }

    /// Fetches what is due, and forgets what nobody names any more.
    pub fn tick(&self, now: Moment, inquiries: &Inquiries) {
        self.0.tick(now, inquiries);
    }

    /// The inquiry that may bring a key that a set lacks, if there will be one. A set that is there is fetched again only so often, whoever makes
    /// up keys: until then tokens wait, since theirs may be one that is really new.
    #[must_use]
    pub fn inquire(&self, remote: &RemoteKeys, now: Moment, inquiries: &Inquiries) -> Option<Awaited> {
        let (inquiry, is_to_come) = self.0.inquire(remote, now, inquiries, |set| set.wait(now))?;
        Some(Awaited { inquiry, is_to_come })
    }

    /// Takes an answer for the set of this number. Gives the cluster that was asked, and what came of it.
    pub fn receive(&self, number: usize, answer: &Answer, now: Moment, chance: u16) -> Option<(Box<str>, Received)> {
        self.0.receive(number, |set| (Box::from(&*set.source().cluster), set.receive(answer, now, chance)))
    }
}
