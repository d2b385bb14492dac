//! What one handshake is counted by, and the slots that it takes.

use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;

use sha1::{Digest, Sha1};

use super::address::{Address, Group};
use super::counters::{Counters, Slot};
use super::rules::{AddressLimits, LimitRules};
use super::table::{Admission, Excess, FailureRules, Key, Kind};
use crate::port::HostError;
use crate::refusal::Refusal;
use crate::token::Verified;
use crate::violation::Violation;

/// Where a client comes from.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    text: Vec<u8>,
    address: Option<Address>,
}

impl Peer {
    /// Reads the host's word for it, which may be no address, but the name of a Unix socket.
    #[must_use]
    pub fn new(text: Vec<u8>) -> Self {
        Self { address: Address::parse(&text), text }
    }

    /// The host's word for it.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// None where that is no address.
    #[must_use]
    pub const fn address(&self) -> Option<Address> {
        self.address
    }

    /// What `limits` count as one with its address.
    #[must_use]
    pub fn group(&self, limits: &LimitRules) -> Option<Group> {
        self.address.map(|address| address.group(limits.per_address.ipv6_prefix))
    }

    /// Counts a failed attempt. A count that is lost bans somebody later. Gives the rules by which it is banned from now on.
    pub fn fail<'a>(&self, counters: &Counters, limits: &'a LimitRules) -> Option<&'a FailureRules> {
        let rules = limits.per_address.failures.as_ref()?;
        counters.fail(self.key(counters, limits), rules).is_ok_and(|begins| begins).then_some(rules)
    }

    fn key(&self, counters: &Counters, limits: &LimitRules) -> Key {
        match self.group(limits) {
            Some(group) => counters.key(Kind::Address, &[&group.to_bytes()]),
            None => counters.key(Kind::Address, &[&self.text]),
        }
    }
}

/// The client whose connections are counted.
#[derive(Clone, Copy, Debug)]
pub enum Applicant<'a> {
    /// The address that asks for a connection, before anything it says has been looked at.
    Address,
    /// Everybody.
    All,
    /// The subject that a genuine credential speaks for.
    Subject(&'a Verified),
    /// The address that asks, for a request that stays no connection.
    Visitor,
}

impl Applicant<'_> {
    /// Why it is not [admitted](Admissions::count), with the path of the limit.
    #[cold]
    #[must_use]
    pub fn refusal(self, violation: Violation) -> Refusal {
        let at = match self {
            _ if violation != Violation::ConnectionsExceeded => return violation.into(),
            Self::Address | Self::Visitor => "limits.per_address.connections",
            Self::All => "limits.connections",
            Self::Subject(_) => "limits.per_subject.connections",
        };
        Refusal::at(violation, at)
    }
}

/// One handshake.
#[derive(Debug)]
pub struct Admissions {
    counters: Rc<Counters>,
    peer: Peer,
    slots: Vec<Slot>,
    retry_after: Option<Duration>,
}

impl Admissions {
    /// Nothing is counted yet.
    #[must_use]
    pub const fn new(counters: Rc<Counters>, peer: Peer) -> Self {
        Self { counters, peer, slots: Vec::new(), retry_after: None }
    }

    /// Counts one more connection of an applicant; `on_fault`: what a fault of the host means.
    ///
    /// # Errors
    /// Why there may be no more, as in [`Excess`], or `on_fault`'s.
    pub fn count(
        &mut self,
        limits: &LimitRules,
        applicant: Applicant<'_>,
        on_fault: Result<(), Violation>,
    ) -> Result<(), Violation> {
        let AddressLimits { connections, handshakes, failures, .. } = limits.per_address;
        let connections_only = |connections| Admission { connections, ..Admission::default() };
        let (key, admission) = match applicant {
            Applicant::Address => {
                (self.peer.key(&self.counters, limits), Admission { connections, handshakes, failures })
            }
            Applicant::All => (self.counters.key(Kind::All, &[]), connections_only(limits.connections)),
            Applicant::Subject(credential) => {
                let key = subject_key(&self.counters, credential);
                (key, connections_only(limits.per_subject.connections))
            }
            // It is a handshake as others are, and takes no slot of a connection: a page asks many times at once, and no longer than it is
            // answered.
            Applicant::Visitor => {
                (self.peer.key(&self.counters, limits), Admission { connections: None, handshakes, failures })
            }
        };
        if admission == Admission::default() {
            return Ok(());
        }
        match self.counters.admit(key, &admission) {
            Ok(Ok(slot)) => {
                // Of a visitor it is given back at once.
                if !matches!(applicant, Applicant::Visitor) {
                    self.slots.push(slot);
                }
                Ok(())
            }
            Ok(Err(Excess { violation, retry_after })) => {
                self.retry_after = Some(retry_after);
                Err(violation)
            }
            Err(HostError) => on_fault,
        }
    }

    /// The slots that were taken, and when to come again where there was none.
    #[must_use]
    pub fn into_parts(self) -> (Box<[Slot]>, Option<Duration>) {
        (self.slots.into_boxed_slice(), self.retry_after)
    }
}

/// The key of the subject that a credential speaks for.
#[must_use]
pub fn subject_key(counters: &Counters, credential: &Verified) -> Key {
    counters.key(Kind::Subject, &[credential.provider().as_bytes(), subject_name(credential).as_bytes()])
}

/// The subject that a credential names, or else its digest: whoever brings it again is counted with it.
#[must_use]
pub fn subject_name(credential: &Verified) -> Cow<'_, str> {
    credential.subject().map_or_else(
        || {
            let digest = Sha1::digest(credential.mark());
            digest.iter().fold(String::from("sha1:"), |name, byte| name + &format!("{byte:02x}")).into()
        },
        Cow::Borrowed,
    )
}

#[cfg(test)]
pub(super) mod tests;
