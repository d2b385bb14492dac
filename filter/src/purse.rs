//! What a subject's connections of one worker may still send, of what all of its connections may.
//!
//! Messages and bytes are leased from what all workers share, some at a time, so that most messages cost no call of the host. Where a
//! fleet counts, messages are asked of its service in batches, ahead of their use; what is sent before it answers goes on credit.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use core::time::Duration;

use crate::admission::{Peer, group, subject_key};
use crate::fleet::{Fleet, Question};
use crate::host;
use crate::limiter::Limiter;
use crate::root::Shared;
use portcullis_core::access::Access;
use portcullis_core::limits::address::Address;
use portcullis_core::limits::rate::Rate;
use portcullis_core::limits::rules::GlobalLimits;
use portcullis_core::limits::table::{Key, Kind};
use portcullis_core::policy::Policy;
use portcullis_core::ratelimit::Answer;
use portcullis_core::session::Budget;
use portcullis_core::time::Moment;
use portcullis_core::token::Verified;
use portcullis_core::turn::Turn;

/// What is leased at once, as a share of a burst: eight workers that hold one each make a subject wait by one burst at most.
const LEASE_SHARE: u64 = 8;

/// How long a lease holds. What nobody used by then has come again where it was leased from.
const LEASE_TIME: Duration = Duration::from_secs(1);

/// How long a fleet's no holds that does not say so, and how long a service that fails is not asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How many types of message are counted apart for a subject, of those that the policy names: those beyond it count as messages without
/// a type.
const KINDS_MAX: usize = 64;

/// The subject or address whose messages are counted together.
pub(crate) enum Owner {
    /// All from an address, in the group that a policy puts it into.
    Address(Option<Address>),
    /// All of a subject, `<provider>/<sub>`.
    Subject(Key, Box<str>),
}

impl Owner {
    /// The subject of a credential, or else an address.
    pub(crate) fn new(limiter: &Limiter, peer: &Peer, credential: Option<&Verified>) -> Self {
        let of_credential = credential.and_then(|credential| {
            let (key, subject) = (subject_key(limiter, credential)?, credential.subject()?);
            Some(Self::Subject(key, format!("{}/{subject}", credential.provider()).into_boxed_str()))
        });
        of_credential.unwrap_or_else(|| Self::Address(peer.address()))
    }

    /// How a fleet hears of it: as the entry of a descriptor.
    pub(crate) fn entry(&self, policy: &Policy) -> Entry {
        match self {
            Self::Address(address) => {
                let group = group(*address, policy).map(|group| group.to_string());
                Entry { key: "remote_address", value: group.unwrap_or_default().into_boxed_str() }
            }
            Self::Subject(_, name) => Entry { key: "subject", value: name.clone() },
        }
    }

    /// What he may still send, where `policy` counts that.
    pub(crate) fn purse(&self, shared: &Shared, root: u32, policy: &Policy) -> Option<Rc<Purse>> {
        let limits = &policy.limits;
        let is_leased = limits.per_subject.messages.is_some() || limits.per_subject.bytes.is_some();
        let is_asked = limits.global.as_ref().is_some_and(|global| global.message_batch.is_some());
        let is_subject = matches!(self, Self::Subject(..));
        ((is_leased && is_subject) || is_asked).then(|| {
            let entry = self.entry(policy);
            let key = match self {
                Self::Address(_) => shared.limiter.key(Kind::Subject, &[entry.value.as_bytes()]),
                Self::Subject(key, _) => *key,
            };
            shared.limiter.purse(key, || Purse::new(shared, root, key, entry, is_subject))
        })
    }
}

/// An entry of a descriptor.
#[derive(Eq, PartialEq)]
pub(crate) struct Entry {
    key: &'static str,
    value: Box<str>,
}

impl Entry {
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        (self.key, &self.value)
    }
}

/// An owner's.
pub(crate) struct Purse {
    limiter: Rc<Limiter>,
    fleet: Rc<Fleet>,
    root: u32,
    key: Key,
    entry: Entry,
    is_subject: bool,
    left: Cell<[u64; 2]>,
    leased_at: Cell<Moment>,
    funds: RefCell<Vec<Fund>>,
}

/// A subject's messages of one type, as far as the fleet has let them through.
#[derive(Default)]
struct Fund {
    kind: String,
    left: u32,
    /// Used before the answer was there.
    owed: u32,
    is_asked: bool,
    /// The last answer was no.
    is_spent: bool,
    /// It is not asked again before then.
    refused_until: Option<Moment>,
}

impl Drop for Purse {
    fn drop(&mut self) {
        self.limiter.forget(self.key);
    }
}

impl Purse {
    fn new(shared: &Shared, root: u32, key: Key, entry: Entry, is_subject: bool) -> Self {
        Self {
            limiter: Rc::clone(&shared.limiter),
            fleet: Rc::clone(&shared.fleet),
            root,
            key,
            entry,
            is_subject,
            left: Cell::default(),
            leased_at: Cell::default(),
            funds: RefCell::default(),
        }
    }

    fn spend(&self, rates: [Option<Rate>; 2], needed: [u64; 2]) -> bool {
        if self.take(rates, needed) {
            return true;
        }
        let Ok(now) = host::now() else { return false };
        if now.since(self.leased_at.get()) > LEASE_TIME {
            self.left.set([0; 2]);
        }
        let mut left = self.left.get();
        let mut wanted = [0; 2];
        for (((wanted, left), needed), rate) in wanted.iter_mut().zip(left).zip(needed).zip(rates) {
            if let Some(rate) = rate.filter(|_| needed > left) {
                *wanted = needed.saturating_sub(left).max(rate.burst() / LEASE_SHARE);
            }
        }
        let Ok(leased) = self.limiter.lease(self.key, rates, wanted, now) else { return false };
        for (left, leased) in left.iter_mut().zip(leased) {
            *left = left.saturating_add(leased);
        }
        self.left.set(left);
        self.leased_at.set(now);
        self.take(rates, needed)
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

    fn ask(self: &Rc<Self>, global: &GlobalLimits, batch: u32, kind: &str, now: Moment) -> bool {
        let mut funds = self.funds.borrow_mut();
        let find = |funds: &[Fund], kind: &str| funds.iter().position(|fund| fund.kind == kind);
        let kind = if find(&funds, kind).is_some() || funds.len() < KINDS_MAX { kind } else { "" };
        let index = find(&funds, kind).unwrap_or_else(|| {
            funds.push(Fund { kind: kind.to_owned(), ..Fund::default() });
            funds.len().saturating_sub(1)
        });
        let Some(fund) = funds.get_mut(index) else { return false };
        let is_allowed = match fund.left.checked_sub(1) {
            Some(left) => {
                fund.left = left;
                true
            }
            None if fund.is_spent || fund.refused_until.is_some_and(|until| now < until) => false,
            // Nobody is refused for an answer that is on its way: it comes, or is given up, within the timeout.
            None => {
                fund.owed = fund.owed.saturating_add(1);
                true
            }
        };
        if fund.is_asked || fund.left >= batch / 2 || fund.refused_until.is_some_and(|until| now < until) {
            return is_allowed;
        }
        fund.is_asked = true;
        drop(funds);
        let question =
            Question::Messages { purse: Rc::downgrade(self), kind: kind.to_owned(), batch, on_error: global.on_error };
        let descriptor = [self.entry.parts(), ("message_type", kind)];
        self.fleet.ask(self.root, global, &[&descriptor], batch, question);
        is_allowed
    }

    /// The fleet's answer about a batch; `None` where there is none.
    pub(crate) fn answer(&self, kind: &str, batch: u32, on_error: Access, answer: Option<Answer>) {
        let Ok(now) = host::now() else { return };
        let mut funds = self.funds.borrow_mut();
        let Some(fund) = funds.iter_mut().find(|fund| fund.kind == kind) else { return };
        fund.is_asked = false;
        let (is_allowed, pause) = match answer {
            Some(Answer { allowed, retry_after }) => (allowed, retry_after.unwrap_or(PAUSE)),
            None => (on_error == Access::Allow, PAUSE),
        };
        fund.is_spent = answer.is_some() && !is_allowed;
        if is_allowed {
            let granted = fund.left.saturating_add(batch);
            (fund.left, fund.owed) = (granted.saturating_sub(fund.owed), fund.owed.saturating_sub(granted));
            fund.refused_until = None;
        } else {
            fund.refused_until = Some(now.saturating_add(pause));
        }
    }
}

/// What a connection's messages are counted against, for one step of it.
pub(crate) struct Wallet<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) purse: Option<&'a Rc<Purse>>,
    /// The worker's turn, where others may have to be heard before all is judged.
    pub(crate) turn: Option<&'a Turn>,
    /// The time of the last tick.
    pub(crate) now: Moment,
}

impl Budget for Wallet<'_> {
    fn now(&self) -> Moment {
        host::now().unwrap_or(self.now)
    }

    fn spend(&self, messages: u64, len: u64) -> bool {
        let rates = [self.policy.limits.per_subject.messages, self.policy.limits.per_subject.bytes];
        match self.purse {
            Some(purse) if purse.is_subject && rates.iter().any(Option::is_some) => purse.spend(rates, [messages, len]),
            Some(_) | None => true,
        }
    }

    fn ask(&self, kind: &str) -> bool {
        let Some(global) = &self.policy.limits.global else { return true };
        match (self.purse, global.message_batch) {
            (Some(purse), Some(batch)) => purse.ask(global, batch, self.policy.counted_type(kind), self.now),
            (_, _) => true,
        }
    }

    fn goes_on(&self) -> bool {
        self.turn.is_none_or(|turn| {
            turn.look(Budget::now(self));
            !turn.is_over()
        })
    }
}
