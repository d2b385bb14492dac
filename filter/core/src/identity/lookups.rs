//! What services have said of credentials, and what they are being asked: a worker's.
//!
//! ```text
//! credential ── digest ──▶ known ─────────────────────────▶ Told
//!                    └──── asked for, or asked now ──▶ Flight ── receive ──▶ Told, for all who wait
//! ```
//!
//! Every answer is kept by the SHA-256 digest of its question, never by the credential. What is kept of good credentials, of those that are
//! none and of faults has memory of its own: whoever makes up credentials pushes out no good one.

use core::cell::{Cell, OnceCell, RefCell};
use core::fmt;
use core::time::Duration;
use std::rc::Rc;

use super::inquiries::{Inquiries, Topic};
use super::lookup::{Lookup, Told, object};
use super::published::Failure;
use crate::ask::{Answer, Inquiry};
use crate::time::{Moment, Timestamp};
use crate::token::claims;

/// The questions that one service may be asked at once by one worker. At 10 ms for an answer these are 25,600 a second, and the answers take
/// at most 4 MiB. They are counted by cluster, so that a service that does not answer keeps no other one from being asked.
pub const FLIGHTS_MAX: usize = 256;

/// How long a no holds at most: a session may begin, or a token become known, just after it was asked about.
const NO_MAX: Duration = Duration::from_secs(5);

/// How long a service is not asked about a credential again after a fault.
const FAULT_SPAN: Duration = Duration::from_secs(1);

/// How often a fault is written to the log: services fail for all who come.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// The number of sets, each of which a byte of the digest chooses.
const SET_COUNT: usize = 256;

/// The entries of one set: 1,024 good credentials in all, as of [verified tokens](crate::token::verified).
const CLAIMS_SET_LEN_MAX: usize = 4;

/// Likewise of others: 4,096 each, of 48 bytes.
const OTHER_SET_LEN_MAX: usize = 16;

/// What is kept of all claims together, in bytes.
const CLAIMS_LEN_MAX: usize = 4 << 20;

/// A question that is out, and what came of it.
pub struct Flight {
    number: usize,
    lookup: Rc<Lookup>,
    digest: [u8; 32],
    told: OnceCell<Told>,
}

impl Flight {
    /// What came of it; before, that is nothing.
    #[must_use]
    pub fn told(&self) -> Told {
        self.told.get().cloned().unwrap_or(Told::Fault(Failure::NoAnswer))
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({}, {:?})", self.number, self.told)
    }
}

/// What is known of a credential.
#[derive(Debug)]
pub enum Known {
    /// This.
    Told(Told),
    /// Nothing yet.
    Asked(Inquiry, Rc<Flight>),
    /// Nothing, and its service is asked about so many others that it is not asked.
    Busy,
}

/// The answers that one worker has, and the questions that it has asked.
#[derive(Default)]
pub struct Lookups {
    flights: RefCell<Vec<Rc<Flight>>>,
    next: Cell<usize>,
    claims: RefCell<Kept<Rc<[u8]>>>,
    noes: RefCell<Kept<()>>,
    faults: RefCell<Kept<Failure>>,
    /// From when on a fault is written to the log.
    line_at: Cell<Moment>,
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookups({:?})", self.flights.borrow())
    }
}

impl Lookups {
    /// What is known of a credential that `lookup` [takes](Lookup::takes), by its [digest](Lookup::digest); where that is nothing, it is asked
    /// for, once for all who want to know.
    pub fn know(
        &self,
        lookup: &Rc<Lookup>,
        credential: &[u8],
        digest: [u8; 32],
        now: Moment,
        inquiries: &Inquiries,
    ) -> Known {
        if let Some(text) = self.claims.borrow_mut().get(&digest, now) {
            return Known::Told(Told::Claims(text));
        }
        if self.noes.borrow_mut().get(&digest, now).is_some() {
            return Known::Told(Told::No);
        }
        if let Some(failure) = self.faults.borrow_mut().get(&digest, now) {
            return Known::Told(Told::Fault(failure));
        }
        let mut flights = self.flights.borrow_mut();
        if let Some(flight) = flights.iter().find(|flight| flight.digest == digest) {
            return Known::Asked(inquiries.about(Topic::Lookup(flight.number)), Rc::clone(flight));
        }
        if flights.iter().filter(|flight| flight.lookup.cluster == lookup.cluster).count() >= FLIGHTS_MAX {
            return Known::Busy;
        }
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let flight = Rc::new(Flight { number, lookup: Rc::clone(lookup), digest, told: OnceCell::new() });
        flights.push(Rc::clone(&flight));
        let inquiry = inquiries.about(Topic::Lookup(number));
        inquiries.ask(inquiry, lookup.request(credential));
        Known::Asked(inquiry, flight)
    }

    /// Takes the answer to the question of this number, at `now` and, on the calendar, `date`. Gives the cluster that was asked and why it
    /// says nothing, where that is to be logged.
    pub fn receive(&self, number: usize, answer: &Answer, now: Moment, date: Timestamp) -> Option<(Box<str>, Failure)> {
        let mut flights = self.flights.borrow_mut();
        let index = flights.iter().position(|flight| flight.number == number)?;
        let flight = flights.swap_remove(index);
        let Flight { lookup, digest, .. } = &*flight;
        let told = lookup.read(answer);
        let mut line = None;
        match &told {
            Told::Claims(text) => {
                let span = lookup.cache.min(span_of(text, date));
                self.claims.borrow_mut().put(*digest, now, span, Rc::clone(text));
            }
            Told::No => self.noes.borrow_mut().put(*digest, now, lookup.cache.min(NO_MAX), ()),
            Told::Fault(failure) => {
                self.faults.borrow_mut().put(*digest, now, FAULT_SPAN, *failure);
                if now >= self.line_at.get() {
                    self.line_at.set(now.saturating_add(LINE_INTERVAL));
                    line = Some((Box::from(&*lookup.cluster), *failure));
                }
            }
        }
        // It was not told before: a flight that was is no longer among these.
        let _ = flight.told.set(told);
        line
    }
}

/// How long claims hold by themselves.
fn span_of(text: &[u8], date: Timestamp) -> Duration {
    let claims = object(text).unwrap_or_default();
    match claims::numeric_date(&claims, "exp") {
        Ok(Some(end)) => end.since(date),
        Ok(None) => Duration::MAX,
        // They are refused, by whatever rules.
        Err(_) => Duration::ZERO,
    }
}

/// What takes memory beside its entry.
trait Weight {
    /// The most entries of a set.
    const SET_LEN_MAX: usize;

    /// In bytes.
    fn len(&self) -> usize {
        0
    }
}

impl Weight for Rc<[u8]> {
    const SET_LEN_MAX: usize = CLAIMS_SET_LEN_MAX;

    fn len(&self) -> usize {
        (**self).len()
    }
}

impl Weight for () {
    const SET_LEN_MAX: usize = OTHER_SET_LEN_MAX;
}

impl Weight for Failure {
    const SET_LEN_MAX: usize = OTHER_SET_LEN_MAX;
}

/// Answers of one kind, in bounded memory.
struct Kept<T> {
    /// Each in the order of use, the latest last.
    sets: Vec<Vec<Entry<T>>>,
    /// What all values take, in bytes.
    len: usize,
}

struct Entry<T> {
    digest: [u8; 32],
    until: Moment,
    value: T,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { sets: (0..SET_COUNT).map(|_| Vec::new()).collect(), len: 0 }
    }
}

impl<T: Weight + Clone> Kept<T> {
    fn get(&mut self, digest: &[u8; 32], now: Moment) -> Option<T> {
        let set = self.sets.get_mut(usize::from(*digest.first()?))?;
        let entry = set.remove(set.iter().position(|entry| entry.digest == *digest)?);
        if entry.until <= now {
            self.len = self.len.saturating_sub(entry.value.len());
            return None;
        }
        let value = entry.value.clone();
        set.push(entry);
        Some(value)
    }

    /// Keeps a value for `span`, in the place of what is over, or else of those that were not used for longest.
    fn put(&mut self, digest: [u8; 32], now: Moment, span: Duration, value: T) {
        let Some(set) = digest.first().and_then(|first| self.sets.get_mut(usize::from(*first))) else { return };
        if span.is_zero() {
            return;
        }
        let mut len = self.len.saturating_add(value.len());
        let over = set.extract_if(.., |entry| entry.until <= now || entry.digest == digest);
        len = over.fold(len, |len, entry| len.saturating_sub(entry.value.len()));
        while !set.is_empty() && (set.len() >= T::SET_LEN_MAX || len > CLAIMS_LEN_MAX) {
            len = len.saturating_sub(set.remove(0).value.len());
        }
        if len <= CLAIMS_LEN_MAX {
            set.push(Entry { digest, until: now.saturating_add(span), value });
        } else {
            len = len.saturating_sub(value.len());
        }
        self.len = len;
    }
}

#[cfg(test)]
mod tests;
