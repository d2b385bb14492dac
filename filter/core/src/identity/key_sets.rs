//! The key sets of all providers that a worker's policies name.

use core::cell::RefCell;
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
}

/// A set, for as long as some policy names it.
#[derive(Debug)]
struct Wanted {
    number: usize,
    set: KeySet,
    by: Vec<Weak<RemoteKeys>>,
}

impl KeySets {
    /// Has a set fetched for as long as `remote` lives.
    pub fn want(&self, remote: &Rc<RemoteKeys>) {
        let mut sets = self.sets.borrow_mut();
        let by = Rc::downgrade(remote);
        match sets.iter_mut().find(|wanted| **wanted.set.remote() == **remote) {
            Some(wanted) => wanted.by.push(by),
            None => {
                let number = sets.last().map_or(0, |last| last.number.wrapping_add(1));
                let set = KeySet::new(Rc::new(RemoteKeys::clone(remote)));
                sets.push(Wanted { number, set, by: vec![by] });
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
            if wanted.set.next_at().is_some_and(|at| at <= now) {
                inquiries.about(Topic::KeySet(wanted.number), || wanted.set.begin());
            }
        }
    }

    /// The inquiry that may bring a key that a set lacks, if there is one or may be one now.
    #[must_use]
    pub fn inquire(&self, remote: &RemoteKeys, now: Moment, inquiries: &Inquiries) -> Option<Inquiry> {
        let mut sets = self.sets.borrow_mut();
        let Wanted { number, set, .. } = sets.iter_mut().find(|wanted| **wanted.set.remote() == *remote)?;
        let is_under_way = set.next_at().is_none();
        let is_due = set.next_at().is_some_and(|at| at <= now);
        match set.keys() {
            _ if is_under_way || is_due => Some(inquiries.about(Topic::KeySet(*number), || set.begin())),
            Some(_) if set.may_ask_again(now) => Some(inquiries.about(Topic::KeySet(*number), || set.begin_again(now))),
            Some(_) | None => None,
        }
    }

    /// Takes an answer for the set of this number. Gives the cluster that was asked, and what came of it.
    pub fn receive(&self, number: usize, answer: &Answer, now: Moment, chance: u16) -> Option<(Box<str>, Received)> {
        let mut sets = self.sets.borrow_mut();
        let set = &mut sets.iter_mut().find(|wanted| wanted.number == number)?.set;
        Some((set.remote().cluster.clone(), set.receive(answer, now, chance)))
    }
}
