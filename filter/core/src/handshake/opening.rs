//! What is decided about a request: the only place where changes of it are written down.

use core::time::Duration;
use std::rc::Rc;

use super::logout::LogoutRequest;
use super::response::Pending;
use crate::effect::{Edit, Metric, Reply};
use crate::identity::tickets::Ticket;
use crate::policy::Policy;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::token::Verified;

/// What becomes of a request.
#[derive(Debug)]
pub struct Opening {
    /// The policy that it falls under.
    pub policy: Rc<Policy>,
    /// What to do with it.
    pub decision: Decision,
    /// What to change in it, whatever the decision is.
    pub edits: Vec<Edit>,
    /// What it would have been refused for were that not only monitored.
    pub would_refuse: Vec<Refusal>,
    /// The client that asks, where a credential says so.
    pub credential: Option<Rc<Verified>>,
    /// What a line of log says of it.
    pub record: Record,
    /// When a client that is refused may come again, where a service says so.
    pub retry_after: Option<Duration>,
    /// Whether it counts towards a ban of its address.
    pub is_failed_attempt: bool,
    /// The ticket that it comes with, until that is redeemed: last of all, so that nothing else refuses a client whose ticket is gone.
    pub ticket: Option<Unredeemed>,
    /// What is counted beside the handshake.
    pub metric: Option<Metric>,
    /// More header fields of the answer, where it is the filter's own.
    pub fields: Vec<(&'static str, String)>,
}

/// A ticket that is good, unless it was redeemed before.
#[derive(Debug)]
pub struct Unredeemed {
    /// The ticket.
    pub ticket: Ticket,
    /// Whether it counts towards a ban of the address if it was.
    pub is_attempt: bool,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Decision {
    /// No upgrade, but judged as one: it goes on.
    Admit,
    /// It is answered in place of the upstream, and no refusal.
    Answer(Reply),
    /// No upgrade: it goes on and is not looked at again.
    Pass,
    /// Its body is read first; it is answered then.
    Read(Box<LogoutRequest>),
    /// It is answered with the violation, and its connection closed.
    Refuse(Refusal),
    /// It goes on to the upstream, whose answer is awaited.
    Upgrade(Box<Pending>),
}

impl Opening {
    /// Whether it is let in, or given a ticket by which it may be.
    pub(super) const fn is_let_in(&self) -> bool {
        match self.decision {
            Decision::Admit | Decision::Upgrade(_) => true,
            Decision::Answer(_) => self.credential.is_some(),
            Decision::Pass | Decision::Read(_) | Decision::Refuse(_) => false,
        }
    }

    /// A decision about a request under a policy, with what to change in it.
    #[must_use]
    pub fn new(policy: &Rc<Policy>, decision: Decision, edits: Vec<Edit>) -> Self {
        Self {
            policy: Rc::clone(policy),
            decision,
            edits,
            would_refuse: Vec::new(),
            credential: None,
            record: Record::default(),
            retry_after: None,
            is_failed_attempt: false,
            ticket: None,
            metric: None,
            fields: Vec::new(),
        }
    }
}
