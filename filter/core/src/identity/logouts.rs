//! The users and sessions that have logged out, for all workers of a proxy: a log of a fixed length in the data that they share.
//!
//! ```text
//! head   how many logouts there have been (u64)
//! pages  512 of 32 logouts each, 1.2 MB in all; a logout is 72 bytes, the n-th stands at n modulo 16,384:
//!
//!  0       8        16        32        48      64
//!  number  issuer   subject   session   token   issued_at (in seconds)
//! ```
//!
//! A logout is written where the head says, by compare and swap, and then the head goes up. A writer that finds one there already tells the
//! head of it for a worker that died in between. So the log has one order, no two logouts have one number, and a logout token that was used
//! is known to whoever writes next. Each worker reads what is new with its ticks: one small value where nothing is.
//!
//! The log forgets the oldest where it is full. A proxy that starts anew forgets all of it.

use core::cell::{Cell, RefCell};
use core::fmt;
use std::collections::VecDeque;
use std::rc::Rc;

use super::marks::{ABSENT, Digest, Marks};
use crate::ids::IdMap;
use crate::port::{self, HostError, Port};

/// How many logouts are kept: with tokens that live an hour, four logouts a second are not forgotten too early. For each a worker keeps some
/// 130 bytes.
pub const LOGOUTS_MAX: u64 = 16_384;

/// The length of one logout, in bytes.
const LOGOUT_LEN: usize = 72;

/// The length of one value of the host, which is copied for each logout that is new, in bytes.
const PAGE_LEN: usize = 32 * LOGOUT_LEN;

/// How many logouts stand in one.
const PAGE_COUNT: u64 = (PAGE_LEN / LOGOUT_LEN) as u64;

/// How many values there are.
const PAGES: u64 = LOGOUTS_MAX / PAGE_COUNT;

/// How often a logout is written where others write at the same time; each round that fails is one in which another one got through.
const ROUNDS_MAX: u32 = 128;

/// One logout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Logout {
    /// The issuer of its user or session.
    pub issuer: u64,
    /// The user.
    pub subject: Digest,
    /// The session. Where there is one, the logout is of it alone.
    pub session: Digest,
    /// The logout token, which counts once.
    pub token: Digest,
    /// When it was, in seconds since the epoch, by the issuer's clock.
    pub at: u64,
}

/// What is known of a user or a session.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    /// The number of the logout that said so last.
    number: u64,
    /// Credentials that were issued until then, in seconds since the epoch.
    until: u64,
    /// Likewise, those that name no session: they may be of the one that has ended.
    unnamed_until: u64,
}

/// What one worker knows of the log.
#[derive(Default)]
struct Known {
    /// The number of the next logout.
    next: u64,
    /// Something was read since the last [`Logouts::poll`].
    has_news: bool,
    log: VecDeque<Logout>,
    ended: IdMap<(u64, Digest), Ended>,
}

/// The log, as one worker sees it.
pub struct Logouts {
    port: Rc<dyn Port>,
    /// Some policy of this worker has logouts come in.
    is_wanted: Cell<bool>,
    known: RefCell<Known>,
}

impl fmt::Debug for Logouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logouts({} known)", self.known.borrow().log.len())
    }
}

impl Logouts {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(port: Rc<dyn Port>) -> Self {
        Self { port, is_wanted: Cell::default(), known: RefCell::default() }
    }

    /// Whether some policy has logouts come in.
    #[must_use]
    pub const fn are_wanted(&self) -> bool {
        self.is_wanted.get()
    }

    /// Has the log looked at from now on. Makes it, unless it is there: the host tries a policy alone before any worker has it, so that
    /// nobody comes between.
    ///
    /// # Errors
    /// [`HostError`], here and below.
    pub fn want(&self) -> Result<(), HostError> {
        self.is_wanted.set(true);
        if self.port.shared(port::Cell::Logouts)?.is_none() {
            for page in 0..PAGES {
                self.port.share(port::Cell::LogoutPage(page), &[0; PAGE_LEN], None)?;
            }
            self.port.share(port::Cell::Logouts, &0_u64.to_le_bytes(), None)?;
        }
        self.poll().map(drop)
    }

    /// Reads what is new. Returns whether something is, since the last time.
    pub fn poll(&self) -> Result<bool, HostError> {
        if !self.is_wanted.get() {
            return Ok(false);
        }
        let (next, _) = self.head()?;
        self.read(next)?;
        Ok(core::mem::take(&mut self.known.borrow_mut().has_news))
    }

    /// Writes one logout. Returns whether its token is a new one.
    pub fn add(&self, logout: &Logout) -> Result<bool, HostError> {
        for _ in 0..ROUNDS_MAX {
            let (next, version) = self.head()?;
            self.read(next)?;
            let is_same = |known: &Logout| known.issuer == logout.issuer && known.token == logout.token;
            if self.known.borrow().log.iter().any(is_same) {
                return Ok(false);
            }
            let after = next.wrapping_add(1);
            let page = port::Cell::LogoutPage(page(next));
            let (mut bytes, page_version) = self.port.shared(page)?.ok_or(HostError)?;
            let place = bytes.get_mut(slot(next)).ok_or(HostError)?;
            let is_free = number(place) != after;
            if is_free {
                place.copy_from_slice(&logout.to_bytes(after));
                if !self.port.share(page, &bytes, Some(page_version))? {
                    continue;
                }
            }
            self.advance(next, version)?;
            if is_free {
                return Ok(true);
            }
        }
        Err(HostError)
    }

    /// Tells all workers that the logout of this number is written, unless another one has.
    fn advance(&self, number: u64, mut version: u32) -> Result<(), HostError> {
        for _ in 0..ROUNDS_MAX {
            let after = number.wrapping_add(1);
            if self.port.share(port::Cell::Logouts, &after.to_le_bytes(), Some(version))? {
                return Ok(());
            }
            let (next, known) = self.head()?;
            if next != number {
                return Ok(());
            }
            version = known;
        }
        Err(HostError)
    }

    /// Whether a credential was issued before a logout of its user, or is of a session that has ended.
    #[must_use]
    pub fn revoke(&self, marks: &Marks) -> bool {
        let known = self.known.borrow();
        let of = |mark: Digest| known.ended.get(&(marks.issuer, mark)).filter(|_| mark != ABSENT);
        let is_before = |until| marks.issued_at <= until;
        of(marks.session).is_some()
            || of(marks.subject).is_some_and(|ended| {
                is_before(ended.until) || (marks.session == ABSENT && is_before(ended.unnamed_until))
            })
    }

    /// How many there have been, and the version of that.
    fn head(&self) -> Result<(u64, u32), HostError> {
        let (bytes, version) = self.port.shared(port::Cell::Logouts)?.ok_or(HostError)?;
        Ok((bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).ok_or(HostError)?, version))
    }

    /// Comes to the logout before `next`. What was overwritten meanwhile is forgotten, by all.
    fn read(&self, next: u64) -> Result<(), HostError> {
        let known = &mut *self.known.borrow_mut();
        known.has_news |= known.next < next;
        let mut at = known.next.max(next.saturating_sub(LOGOUTS_MAX)).min(next);
        while at < next {
            let (bytes, _) = self.port.shared(port::Cell::LogoutPage(page(at)))?.ok_or(HostError)?;
            let end = next.min((at / PAGE_COUNT).saturating_add(1).saturating_mul(PAGE_COUNT));
            for index in at..end {
                let place = bytes.get(slot(index)).and_then(|place| place.first_chunk::<LOGOUT_LEN>());
                // A later one has its own turn.
                if let Some(place) = place.filter(|place| number(*place) == index.wrapping_add(1)) {
                    known.note(index, Logout::from_bytes(place));
                }
            }
            at = end;
        }
        known.next = next;
        Ok(())
    }
}

impl Known {
    fn note(&mut self, number: u64, logout: Logout) {
        let Logout { issuer, subject, session, at, .. } = logout;
        let mut end = |mark: Digest, until: u64, unnamed_until: u64| {
            if mark != ABSENT {
                let ended = self.ended.entry((issuer, mark)).or_default();
                ended.number = number;
                ended.until = ended.until.max(until);
                ended.unnamed_until = ended.unnamed_until.max(unnamed_until);
            }
        };
        if session == ABSENT {
            end(subject, at, 0);
        } else {
            end(session, u64::MAX, 0);
            end(subject, 0, at);
        }
        self.log.push_back(logout);
        if self.log.len() as u64 <= LOGOUTS_MAX {
            return;
        }
        if let Some(oldest) = self.log.pop_front() {
            let oldest_number = number.saturating_sub(LOGOUTS_MAX);
            for mark in [oldest.subject, oldest.session] {
                let key = (oldest.issuer, mark);
                if self.ended.get(&key).is_some_and(|ended| ended.number <= oldest_number) {
                    self.ended.remove(&key);
                }
            }
        }
    }
}

impl Logout {
    fn to_bytes(self, number: u64) -> [u8; LOGOUT_LEN] {
        let Self { issuer, subject, session, token, at } = self;
        let mut bytes = [0; LOGOUT_LEN];
        let parts: [&[u8]; 6] =
            [&number.to_le_bytes(), &issuer.to_le_bytes(), &subject, &session, &token, &at.to_le_bytes()];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; LOGOUT_LEN]) -> Self {
        let integer = |at| bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let digest = |at| bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or(ABSENT);
        Self { issuer: integer(8), subject: digest(16), session: digest(32), token: digest(48), at: integer(64) }
    }
}

/// The number of the logout at a place; 0: there is none.
fn number(place: &[u8]) -> u64 {
    place.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The page that a logout is in.
const fn page(index: u64) -> u64 {
    (index / PAGE_COUNT) % PAGES
}

/// Where in its page it is.
fn slot(index: u64) -> core::ops::Range<usize> {
    let start = usize::try_from(index % PAGE_COUNT).unwrap_or_default().saturating_mul(LOGOUT_LEN);
    start..start.saturating_add(LOGOUT_LEN)
}

#[cfg(test)]
mod tests;
