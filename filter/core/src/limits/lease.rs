//! What a subject's connections of one worker may still send, of what all of its connections may.
//!
//! Messages and bytes are leased from the shared counters, some at a time, so that most messages cost no call of the host. Where a
//! rate limit service counts, messages are asked of it in batches, ahead of their use; what is sent before it answers goes on credit.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::{Rc, Weak};

use super::admission::{Peer, subject_key, subject_name};
use super::counters::Counters;
use super::rate::Rate;
use super::rls;
use super::rules::{GlobalLimits, LimitRules};
use super::table::{Key, Kind, Unused};
use crate::access::Access;
use crate::ask::{Ask, Asker};
use crate::ids::IdMap;
use crate::port::HostError;
use crate::time::Moment;
use crate::token::Verified;

/// What is leased at once, as a share of a burst: eight workers that hold one each make a subject wait by one burst at most.
const LEASE_SHARE: u64 = 8;

/// How long a lease holds, and until the next beat of its worker, so that no message asks for the time. What nobody used by then is given
/// back, as it is where the last of the subject's connections ends.
const LEASE_TIME: Duration = Duration::from_secs(1);

/// How long a service's no holds that does not say so, and how long a service that gives no answer is not asked again where `on_error`
/// refuses.
const PAUSE: Duration = Duration::from_secs(1);

/// How many types of message are counted apart for a subject, of those that the policy names: those beyond it count as messages without
/// a type.
const KINDS_MAX: usize = 64;

/// The subject or address whose messages are counted together.
#[derive(Clone, Debug)]
pub enum Subject {
    /// All from an address, in the group that a policy puts it into.
    Address(Peer),
    /// All of a subject, `<provider>/<sub>`.
    Named(Key, Box<str>),
}

impl Subject {
    /// The subject of a credential, or else an address.
    #[must_use]
    pub fn new(counters: &Counters, peer: Peer, credential: Option<&Verified>) -> Self {
        match credential {
            Some(credential) => Self::Named(subject_key(counters, credential), name(credential)),
            None => Self::Address(peer),
        }
    }

    fn entry(&self, limits: &LimitRules) -> Entry {
        match self {
            Self::Address(peer) => Entry::of_address(peer, limits),
            Self::Named(_, name) => Entry { key: "subject", value: name.clone() },
        }
    }
}

/// How a rate limit service hears of a client: as the entry of a descriptor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    key: &'static str,
    value: Box<str>,
}

impl Entry {
    /// The group of an address; empty for what is no address.
    #[must_use]
    pub fn of_address(peer: &Peer, limits: &LimitRules) -> Self {
        let group = peer.group(limits).map(|group| group.to_string());
        Self { key: "remote_address", value: group.unwrap_or_default().into_boxed_str() }
    }

    /// The subject of a credential.
    #[must_use]
    pub fn of_credential(credential: &Verified) -> Self {
        Self { key: "subject", value: name(credential) }
    }

    /// Its key and value.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        (self.key, &self.value)
    }
}

/// `<provider>/<sub>`.
fn name(credential: &Verified) -> Box<str> {
    [credential.provider(), &subject_name(credential)].join("/").into_boxed_str()
}

/// The leases of one worker.
pub struct Leases {
    counters: Rc<Counters>,
    known: RefCell<IdMap<Key, Weak<Lease>>>,
}

impl core::fmt::Debug for Leases {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Leases({})", self.known.borrow().len())
    }
}

impl Leases {
    /// None yet.
    #[must_use]
    pub fn new(counters: Rc<Counters>) -> Self {
        Self { counters, known: RefCell::default() }
    }

    /// The lease that the connections of a subject share, where `limits` count what it sends.
    #[must_use]
    pub fn lease(self: &Rc<Self>, subject: &Subject, limits: &LimitRules) -> Option<Rc<Lease>> {
        let is_leased = limits.per_subject.messages.is_some() || limits.per_subject.bytes.is_some();
        let is_asked = limits.global.as_ref().is_some_and(|global| global.message_batch.is_some());
        let is_named = matches!(subject, Subject::Named(..));
        if !((is_leased && is_named) || is_asked) {
            return None;
        }
        let entry = subject.entry(limits);
        let key = match subject {
            Subject::Address(_) => self.counters.key(Kind::Subject, &[entry.value.as_bytes()]),
            Subject::Named(key, _) => *key,
        };
        if let Some(lease) = self.find(key) {
            return Some(lease);
        }
        let lease = Rc::new(Lease {
            leases: Rc::clone(self),
            key,
            entry,
            is_named,
            left: Cell::default(),
            leased: Cell::default(),
            rates: Cell::default(),
            leased_at: Cell::default(),
            quotas: RefCell::default(),
        });
        self.known.borrow_mut().insert(key, Rc::downgrade(&lease));
        Some(lease)
    }

    /// A service has answered about more messages of a type, or never will.
    pub fn answered(&self, subject: u64, message_type: &str, verdict: Option<rls::Verdict>) {
        if let Some(lease) = self.find(Key::from_number(subject)) {
            // An answer that is lost would leave its type on credit for good. Without the time, a no has no pause: the next message asks
            // again.
            lease.answered(message_type, verdict, self.counters.now().unwrap_or_default());
        }
    }

    fn find(&self, key: Key) -> Option<Rc<Lease>> {
        self.known.borrow().get(&key).and_then(Weak::upgrade)
    }
}

/// What the connections of a subject on one worker share.
#[derive(Debug)]
pub struct Lease {
    leases: Rc<Leases>,
    key: Key,
    entry: Entry,
    /// Otherwise only a service counts its messages.
    is_named: bool,
    left: Cell<[u64; 2]>,
    /// What that was when it was leased, by which rates, and when.
    leased: Cell<[u64; 2]>,
    rates: Cell<[Option<Rate>; 2]>,
    leased_at: Cell<Moment>,
    quotas: RefCell<Vec<Quota>>,
}

/// A subject's messages of one type, as far as a service has let them through.
#[derive(Debug, Default)]
struct Quota {
    message_type: Box<str>,
    left: u32,
    /// Used before the answer was there.
    owed: u32,
    asked: Option<Asked>,
    /// The last answer was no.
    is_spent: bool,
    /// It is not asked again before then.
    refused_until: Option<Moment>,
}

/// A question that is not answered.
#[derive(Clone, Copy, Debug)]
struct Asked {
    hits: u32,
    /// Whether they may be sent where no answer comes.
    is_allowed_without: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (counters, unused) = (&self.leases.counters, self.take_unused());
        if unused.left != [0; 2]
            && let Ok(now) = counters.now()
        {
            // Where it fails, that comes again with the time.
            let _ = counters.lease(self.key, unused.rates, [0; 2], &unused, now);
        }
        let mut known = self.leases.known.borrow_mut();
        if known.get(&self.key).is_some_and(|lease| lease.strong_count() == 0) {
            known.remove(&self.key);
        }
    }
}

impl Lease {
    /// Takes messages and bytes that `limits` count for a subject: all of them, or nothing.
    #[must_use]
    pub fn spend(&self, limits: &LimitRules, messages: u64, len: u64) -> bool {
        let rates = [limits.per_subject.messages, limits.per_subject.bytes];
        let is_counted = self.is_named && rates.iter().any(Option::is_some);
        let is_over = self.leases.counters.beaten_at().since(self.leased_at.get()) > LEASE_TIME;
        !is_counted || (!is_over && self.take(rates, [messages, len])) || self.renew(rates, [messages, len]) == Ok(true)
    }

    /// Whether it is the bytes of which so many do not fit any more, and not the messages.
    #[must_use]
    pub fn lacks_bytes(&self, limits: &LimitRules, messages: u64, len: u64) -> bool {
        let [has_messages, _] = self.left.get().map(|left| left >= messages);
        limits.per_subject.bytes.is_some_and(|rate| len > rate.burst())
            || limits.per_subject.messages.is_none()
            || has_messages
    }

    fn renew(&self, rates: [Option<Rate>; 2], needed: [u64; 2]) -> Result<bool, HostError> {
        let counters = &self.leases.counters;
        let now = counters.now()?;
        let is_over = now.since(self.leased_at.get()) > LEASE_TIME;
        let mut left = if is_over { [0; 2] } else { self.left.get() };
        let mut wanted = [0; 2];
        for (((wanted, left), needed), rate) in wanted.iter_mut().zip(left).zip(needed).zip(rates) {
            if let Some(rate) = rate.filter(|_| needed > left) {
                // It would not fit, and leave nothing for the other workers.
                if needed > rate.burst() {
                    return Ok(false);
                }
                *wanted = needed.saturating_sub(left).max(rate.burst() / LEASE_SHARE);
            }
        }
        let unused = if is_over { self.take_unused() } else { Unused::default() };
        let leased = counters.lease(self.key, rates, wanted, &unused, now)?;
        for (left, leased) in left.iter_mut().zip(leased) {
            *left = left.saturating_add(leased);
        }
        self.left.set(left);
        self.leased_at.set(now);
        self.leased.set(left);
        self.rates.set(rates);
        Ok(self.take(rates, needed))
    }

    fn take_unused(&self) -> Unused {
        Unused {
            rates: self.rates.get(),
            leased: self.leased.get(),
            left: self.left.take(),
            since: self.leased_at.get(),
        }
    }

    fn take(&self, rates: [Option<Rate>; 2], needed: [u64; 2]) -> bool {
        let mut left = self.left.get();
        for ((left, needed), rate) in left.iter_mut().zip(needed).zip(rates) {
            if rate.is_some() {
                let Some(rest) = left.checked_sub(needed) else { return false };
                *left = rest;
            }
        }
        self.left.set(left);
        true
    }

    /// Takes one message of a type of what a service has let through, and says what to ask it for.
    pub fn take_message(&self, global: &GlobalLimits, message_type: &str, now: Moment) -> (bool, Option<Ask>) {
        let Some(batch) = global.message_batch else { return (true, None) };
        let mut quotas = self.quotas.borrow_mut();
        let find = |quotas: &[Quota], name: &str| quotas.iter().position(|quota| *quota.message_type == *name);
        let is_apart = quotas.len() < KINDS_MAX || find(&quotas, message_type).is_some();
        let message_type = if is_apart { message_type } else { "" };
        let index = find(&quotas, message_type).unwrap_or_else(|| {
            quotas.push(Quota { message_type: message_type.into(), ..Quota::default() });
            quotas.len().saturating_sub(1)
        });
        let Some(quota) = quotas.get_mut(index) else { return (false, None) };
        let is_refused = quota.refused_until.is_some_and(|until| now < until);
        let is_allowed = match quota.left.checked_sub(1) {
            Some(left) => {
                quota.left = left;
                true
            }
            None if quota.is_spent || is_refused => false,
            // Nobody is refused for an answer that is on its way: it comes, or is given up, within the timeout.
            None => {
                quota.owed = quota.owed.saturating_add(1);
                true
            }
        };
        if quota.asked.is_some() || quota.left >= (batch / 2).max(1) || is_refused {
            return (is_allowed, None);
        }
        // What went on credit is counted there as well, however much it was.
        let hits = batch.max(quota.owed);
        quota.asked = Some(Asked { hits, is_allowed_without: global.on_error == Access::Allow });
        let descriptor = [self.entry.parts(), ("message_type", message_type)];
        let asker = Asker::Lease { subject: self.key.number(), message_type: message_type.into() };
        (is_allowed, Some(Ask { question: rls::question(global, &[&descriptor], hits), asker }))
    }

    fn answered(&self, message_type: &str, verdict: Option<rls::Verdict>, now: Moment) {
        let mut quotas = self.quotas.borrow_mut();
        let Some(quota) = quotas.iter_mut().find(|quota| *quota.message_type == *message_type) else { return };
        let Some(Asked { hits, is_allowed_without }) = quota.asked.take() else { return };
        let (is_allowed, pause) = match verdict {
            Some(rls::Verdict { allowed, retry_after }) => (allowed, retry_after.unwrap_or(PAUSE)),
            None => (is_allowed_without, PAUSE),
        };
        quota.is_spent = verdict.is_some() && !is_allowed;
        if is_allowed {
            let granted = quota.left.saturating_add(hits);
            (quota.left, quota.owed) = (granted.saturating_sub(quota.owed), quota.owed.saturating_sub(granted));
            quota.refused_until = None;
        } else {
            quota.refused_until = Some(now.saturating_add(pause));
        }
    }
}

#[cfg(test)]
mod tests;
