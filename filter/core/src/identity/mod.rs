//! What a worker knows of clients that no request says: key sets of providers, answers about opaque credentials, tickets that are used,
//! sessions that have ended.
//!
//! ```text
//! credential ── Identity::verify ──▶ Step::Ready(Verified | Violation)
//!                    └─ Step::Asks(Wait::Shared(Inquiry)) ── Identity::answered ── looks again ──▲
//! ```
//!
//! State that comes and goes, fed with bytes and time. It is a worker's: no two workers share any of it, unless a module here says so.

pub mod inquiries;
pub mod key_set;
pub mod location;

use std::rc::Rc;

use crate::ask::{Answer, Ask, Inquiry, Step};
use crate::port::Port;
use crate::secret::Secret;
use crate::token::rules::AuthRules;
use crate::token::{Verified, verify};
use crate::violation::Violation;
use inquiries::Inquiries;

/// What one worker knows.
#[derive(Debug)]
pub struct Identity {
    port: Rc<dyn Port>,
    inquiries: Inquiries,
}

impl Identity {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(port: Rc<dyn Port>) -> Self {
        Self { port, inquiries: Inquiries::default() }
    }

    /// Checks a credential by `auth`.
    ///
    /// The violation is one of [`verify`]'s, or [`Violation::Internal`] where what is needed could not be had.
    #[must_use]
    pub fn verify(
        self: &Rc<Self>,
        auth: &Rc<AuthRules>,
        token: Secret<Vec<u8>>,
    ) -> Step<Result<Rc<Verified>, Violation>> {
        let verified = match self.port.date() {
            Ok(now) => verify(token.expose(), &auth.providers, now).map(Rc::new),
            Err(_) => Err(Violation::Internal),
        };
        Step::Ready(verified)
    }

    /// Has `stream` wait for the answer to an inquiry.
    pub fn wait(&self, inquiry: Inquiry, stream: u32) {
        self.inquiries.wait(inquiry, stream);
    }

    /// The answer to an inquiry is there, or will never be. Gives the streams that wait for it.
    #[must_use]
    pub fn answered(&self, inquiry: Inquiry, _answer: Answer) -> Vec<u32> {
        self.inquiries.end(inquiry)
    }

    /// What is to be asked now.
    #[must_use]
    pub fn take_asks(&self) -> Vec<Ask> {
        self.inquiries.take_asks()
    }
}
