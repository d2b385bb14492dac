//! What a worker knows of clients that no request says: the keys that providers publish, and tokens that were good before.
//!
//! ```text
//! credential ── Identity::verify ──▶ Step::Ready(Verified | Violation)
//!                    └─ Step::Asks(Wait::Shared(Inquiry)) ── Identity::answered ── looks again ──▲
//! ```
//!
//! State that comes and goes, fed with bytes and time. It is a worker's: no two workers share any of it, unless a module here says so.

pub mod inquiries;
pub mod key_set;
pub mod key_sets;
pub mod location;

use core::cell::RefCell;
use core::fmt;
use std::borrow::Cow;
use std::rc::Rc;

use crate::ask::{Answer, Ask, Inquiry, Step};
use crate::port::{self, Port};
use crate::secret::Secret;
use crate::time::Moment;
use crate::token::rules::AuthRules;
use crate::token::signatures::Signatures;
use crate::token::verified::VerifiedTokens;
use crate::token::{Fault, Provider, Verified};
use crate::violation::Violation;
use inquiries::{Inquiries, Topic};
use key_set::Received;
use key_sets::{Awaited, KeySets};

/// How often a token may wait for keys: for a fetch that had begun before it came and for the next one, with two providers that accept its
/// issuer.
const WAITS_MAX: u32 = 4;

/// What one worker knows.
pub struct Identity {
    port: Rc<dyn Port>,
    inquiries: Inquiries,
    key_sets: KeySets,
    tokens: RefCell<VerifiedTokens>,
    /// Lines of log that are not written yet.
    lines: RefCell<Vec<String>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?}, {:?})", self.inquiries, self.key_sets)
    }
}

impl Identity {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(port: Rc<dyn Port>) -> Self {
        Self {
            tokens: RefCell::new(VerifiedTokens::new(Signatures::of(Rc::clone(&port)))),
            port,
            inquiries: Inquiries::default(),
            key_sets: KeySets::default(),
            lines: RefCell::default(),
        }
    }

    /// Has what `auth` needs fetched, from the next [tick](Self::tick) on.
    pub fn adopt(&self, auth: &AuthRules) {
        auth.providers
            .iter()
            .filter_map(|provider| provider.remote.as_ref())
            .for_each(|remote| self.key_sets.want(remote));
    }

    /// Fetches what is due.
    pub fn tick(&self, now: Moment) {
        self.key_sets.tick(now, &self.inquiries);
    }

    /// Checks a credential by `auth`.
    ///
    /// The violation is one of [`crate::token::verify`]'s, or [`Violation::Internal`] where what is needed could not be had.
    #[must_use]
    pub fn verify(
        self: &Rc<Self>,
        auth: &Rc<AuthRules>,
        token: Secret<Vec<u8>>,
    ) -> Step<Result<Rc<Verified>, Violation>> {
        self.verify_after(auth, token, WAITS_MAX, 0)
    }

    /// Likewise; the token may wait for keys `waits_left` times more, and of the providers that lack its key so many have been asked.
    fn verify_after(
        self: &Rc<Self>,
        auth: &Rc<AuthRules>,
        token: Secret<Vec<u8>>,
        waits_left: u32,
        asked_count: usize,
    ) -> Step<Result<Rc<Verified>, Violation>> {
        let (Ok(date), Ok(now)) = (self.port.date(), self.port.now()) else {
            return Step::Ready(Err(Violation::Internal));
        };
        let providers = self.providers(auth);
        let verified = self.tokens.borrow_mut().verify(token.expose(), &providers, date);
        let lacking = match verified {
            Ok(verified) => return Step::Ready(Ok(verified)),
            Err(Fault::Refused(violation)) => return Step::Ready(Err(violation)),
            Err(Fault::UnknownKey(lacking)) => lacking,
        };
        let remotes = lacking.iter().filter_map(|index| auth.providers.get(*index)?.remote.as_ref());
        let mut others = remotes.clone().skip(asked_count).filter(|_| waits_left > 0);
        match others.find_map(|remote| self.key_sets.inquire(remote, now, &self.inquiries)) {
            Some(Awaited { inquiry, is_to_come }) => {
                let (identity, auth) = (Rc::clone(self), Rc::clone(auth));
                let asked_count = asked_count.saturating_add(usize::from(is_to_come));
                Step::wait(inquiry, move || {
                    identity.verify_after(&auth, token, waits_left.saturating_sub(1), asked_count)
                })
            }
            // Of a provider whose keys have never been had no token is known to be bad.
            None if remotes.clone().any(|remote| self.key_sets.keys(remote).is_none()) => {
                Step::Ready(Err(Violation::Internal))
            }
            None => Step::Ready(Err(Violation::CredentialInvalid)),
        }
    }

    /// The providers of `auth` with the keys that they have published.
    fn providers<'a>(&self, auth: &'a AuthRules) -> Cow<'a, [Provider]> {
        let mut providers = Cow::Borrowed(auth.providers.as_slice());
        for (index, provider) in auth.providers.iter().enumerate() {
            let keys = provider.remote.as_ref().and_then(|remote| self.key_sets.keys(remote));
            if let Some(keys) = keys
                && let Some(provider) = providers.to_mut().get_mut(index)
            {
                provider.keys = keys;
            }
        }
        providers
    }

    /// Has `stream` wait for the answer to an inquiry.
    pub fn wait(&self, inquiry: Inquiry, stream: u32) {
        self.inquiries.wait(inquiry, stream);
    }

    /// The answer to an inquiry is there, or will never be. Gives the streams that wait for it, unless more has to be asked first.
    #[must_use]
    pub fn answered(&self, inquiry: Inquiry, answer: &Answer) -> Vec<u32> {
        match self.inquiries.topic(inquiry) {
            Some(Topic::KeySet(number)) => {
                let now = self.port.now().unwrap_or_default();
                let chance = port::random(&*self.port).map_or(0, u16::from_le_bytes);
                match self.key_sets.receive(number, answer, now, chance) {
                    Some((_, Received::Then(request))) => {
                        self.inquiries.ask(inquiry, request);
                        return Vec::new();
                    }
                    Some((cluster, Received::Failed(failure))) => {
                        self.lines.borrow_mut().push(format!("no keys from cluster {cluster}: {failure}"));
                    }
                    Some((_, Received::Fetched | Received::Unchanged)) | None => {}
                }
            }
            None => {}
        }
        self.inquiries.end(inquiry)
    }

    /// What is to be asked now.
    #[must_use]
    pub fn take_asks(&self) -> Vec<Ask> {
        self.inquiries.take_asks()
    }

    /// What is to be logged as a warning now.
    #[must_use]
    pub fn take_lines(&self) -> Vec<String> {
        self.lines.take()
    }
}
