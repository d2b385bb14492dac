//! The key sets of all providers that a worker's policies name.

use core::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::inquiries::{Inquiries, Topic};
use super::key_set::{KeySet, Received, RemoteKeys};
use crate::ask::{Answer, Inquiry};
use crate::time::Moment;
use crate::token::keys::Keys;

/// Each set once, whoever names it: a reload that names it again keeps its keys.
#[derive(Debug, Default)]
pub struct KeySets {
    sets: RefCell<Vec<Wanted>>,
    /// The number of the next set. None is used again: an answer for a set that is gone must not be another's.
    next: Cell<usize>,
}

/// A set, for as long as some policy names it.
#[derive(Debug)]
struct Wanted {
    number: usize,
    set: KeySet,
    by: Vec<Weak<RemoteKeys>>,
    /// Tokens with an unknown key wait for the moment in which the set may be fetched again.
    is_awaited: bool,
}

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
        let mut sets = self.sets.borrow_mut();
        let by = Rc::downgrade(remote);
        match sets.iter_mut().find(|wanted| **wanted.set.remote() == **remote) {
            Some(wanted) => wanted.by.push(by),
            None => {
                let number = self.next.get();
                self.next.set(number.wrapping_add(1));
                let set = KeySet::new(Rc::new(RemoteKeys::clone(remote)));
                sets.push(Wanted { number, set, by: vec![by], is_awaited: false });
            }
        }
    }

    /// The last good keys of a set.
    #[must_use]
    pub fn keys(&self, remote: &RemoteKeys) -> Option<Rc<Keys>> {
        let sets = self.sets.borrow();
        sets.iter().find(|wanted| **wanted.set.remote() == *remote)?.set.keys().cloned()
    }

    /// Fetches what is due, and forgets what nobody names any more.
    pub fn tick(&self, now: Moment, inquiries: &Inquiries) {
        self.sets.borrow_mut().retain_mut(|wanted| {
            wanted.by.retain(|by| by.strong_count() > 0);
            !wanted.by.is_empty()
        });
        for wanted in &mut *self.sets.borrow_mut() {
            wanted.fetch(now, inquiries);
        }
    }

    /// The inquiry that may bring a key that a set lacks, if there will be one. A set that is there is fetched again only so often, whoever makes
    /// up keys: until then tokens wait, since theirs may be one that is really new.
    #[must_use]
    pub fn inquire(&self, remote: &RemoteKeys, now: Moment, inquiries: &Inquiries) -> Option<Awaited> {
        let mut sets = self.sets.borrow_mut();
        let wanted = sets.iter_mut().find(|wanted| **wanted.set.remote() == *remote)?;
        let next_at = wanted.set.next_at();
        if wanted.set.keys().is_none() && next_at.is_some_and(|at| at > now) {
            return None;
        }
        let is_to_come = next_at.is_some();
        wanted.is_awaited |= is_to_come;
        wanted.fetch(now, inquiries);
        Some(Awaited { inquiry: inquiries.about(Topic::KeySet(wanted.number)), is_to_come })
    }

    /// Takes an answer for the set of this number. Gives the cluster that was asked, and what came of it.
    pub fn receive(&self, number: usize, answer: &Answer, now: Moment, chance: u16) -> Option<(Box<str>, Received)> {
        let mut sets = self.sets.borrow_mut();
        let set = &mut sets.iter_mut().find(|wanted| wanted.number == number)?.set;
        Some((set.remote().cluster.clone(), set.receive(answer, now, chance)))
    }
}

impl Wanted {
    /// Begins a fetch that is due.
    fn fetch(&mut self, now: Moment, inquiries: &Inquiries) {
        let Some(next_at) = self.set.next_at() else { return };
        let request = if next_at <= now {
            self.set.begin()
        } else if self.is_awaited && self.set.may_ask_again(now) {
            self.set.begin_again(now)
        } else {
            return;
        };
        self.is_awaited = false;
        inquiries.ask(inquiries.about(Topic::KeySet(self.number)), request);
    }
}
