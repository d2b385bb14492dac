//! Admission by number: what one handshake is counted by, and the places that it takes.

use core::time::Duration;
use std::rc::Rc;

use crate::host::abi::HostError;
use crate::limiter::{Limiter, Slot};
use portcullis_core::handshake::Applicant;
use portcullis_core::limits::address::{Address, Group};
use portcullis_core::limits::rules::AddressLimits;
use portcullis_core::limits::table::{Admission, Excess, Key, Kind};
use portcullis_core::policy::{Fail, Policy};
use portcullis_core::token::Verified;
use portcullis_core::violation::Violation;

/// Where a client comes from.
pub(crate) struct Peer {
    /// The host's word for it.
    text: Vec<u8>,
    /// None where that is no address, but the name of a Unix socket.
    address: Option<Address>,
}

impl Peer {
    pub(crate) fn new(text: Vec<u8>) -> Self {
        Self { address: Address::parse(&text), text }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) const fn address(&self) -> Option<Address> {
        self.address
    }

    /// Counts a failed attempt. A count that is lost bans somebody later.
    pub(crate) fn fail(&self, limiter: &Limiter, policy: &Policy) {
        if let Some(rules) = &policy.limits.per_address.failures {
            let _ = limiter.fail(self.key(limiter, policy), rules);
        }
    }

    fn key(&self, limiter: &Limiter, policy: &Policy) -> Key {
        match group(self.address, policy) {
            Some(group) => limiter.key(Kind::Address, &[&group.to_bytes()]),
            None => limiter.key(Kind::Address, &[&self.text]),
        }
    }
}

/// What a policy counts as one with an address.
pub(crate) fn group(address: Option<Address>, policy: &Policy) -> Option<Group> {
    address.map(|address| address.group(policy.limits.per_address.ipv6_prefix))
}

/// One handshake.
pub(crate) struct Admissions<'a> {
    limiter: &'a Rc<Limiter>,
    peer: &'a Peer,
    slots: Vec<Slot>,
    retry_after: Option<Duration>,
}

impl<'a> Admissions<'a> {
    pub(crate) const fn new(limiter: &'a Rc<Limiter>, peer: &'a Peer) -> Self {
        Self { limiter, peer, slots: Vec::new(), retry_after: None }
    }

    /// Counts one more connection of an applicant.
    pub(crate) fn admit(&mut self, policy: &Policy, applicant: Applicant<'_>) -> Result<(), Violation> {
        let limits = &policy.limits;
        match applicant {
            Applicant::Address => {
                let AddressLimits { connections, handshakes, failures, .. } = limits.per_address;
                if connections.is_some() || handshakes.is_some() || failures.is_some() {
                    let admission = Admission { connections, handshakes, failures };
                    self.take(policy, self.peer.key(self.limiter, policy), &admission)?;
                }
                if limits.connections.is_some() {
                    let admission = Admission { connections: limits.connections, ..Admission::default() };
                    self.take(policy, self.limiter.key(Kind::All, &[]), &admission)?;
                }
            }
            // It is a handshake as others are, and takes no place: a page asks many times at once, and no longer than it is answered.
            Applicant::Visitor => {
                let AddressLimits { handshakes, failures, .. } = limits.per_address;
                if handshakes.is_some() || failures.is_some() {
                    let admission = Admission { connections: None, handshakes, failures };
                    self.take(policy, self.peer.key(self.limiter, policy), &admission)?;
                }
            }
            Applicant::Subject(credential) => {
                let connections = limits.per_subject.connections;
                if let (Some(key), Some(_)) = (subject_key(self.limiter, credential), connections) {
                    self.take(policy, key, &Admission { connections, ..Admission::default() })?;
                }
            }
        }
        Ok(())
    }

    /// The places that were taken, and when to come again where there was none.
    pub(crate) fn into_parts(self) -> (Box<[Slot]>, Option<Duration>) {
        (self.slots.into_boxed_slice(), self.retry_after)
    }

    fn take(&mut self, policy: &Policy, key: Key, admission: &Admission) -> Result<(), Violation> {
        match (self.limiter.admit(key, admission), policy.fail) {
            (Ok(Ok(slot)), _) => {
                self.slots.push(slot);
                Ok(())
            }
            (Ok(Err(Excess { violation, retry_after })), _) => {
                self.retry_after = Some(retry_after);
                Err(violation)
            }
            (Err(HostError { .. }), Fail::Closed) => Err(Violation::Internal),
            (Err(HostError { .. }), Fail::Open) => Ok(()),
        }
    }
}

/// The key of whom a credential speaks for, where it says that.
pub(crate) fn subject_key(limiter: &Limiter, credential: &Verified) -> Option<Key> {
    let subject = credential.subject()?;
    Some(limiter.key(Kind::Subject, &[credential.provider().as_bytes(), subject.as_bytes()]))
}
