//! Who may come in, as far as that is a question of how many: one handshake's, and the places that it takes.

use core::time::Duration;
use std::rc::Rc;

use crate::host::abi::HostError;
use crate::limiter::{Limiter, Slot};
use portcullis_core::handshake::Applicant;
use portcullis_core::limits::address::Address;
use portcullis_core::limits::table::{Admission, Excess, Key, Kind};
use portcullis_core::policy::{AddressLimits, Fail, Policy};
use portcullis_core::token::Verified;
use portcullis_core::violation::Violation;

/// One handshake.
pub(crate) struct Admissions<'a> {
    limiter: &'a Rc<Limiter>,
    /// The host's word for the client.
    address: &'a [u8],
    slots: Vec<Slot>,
    retry_after: Option<Duration>,
}

impl<'a> Admissions<'a> {
    pub(crate) const fn new(limiter: &'a Rc<Limiter>, address: &'a [u8]) -> Self {
        Self { limiter, address, slots: Vec::new(), retry_after: None }
    }

    /// Counts one more connection of an applicant.
    pub(crate) fn admit(&mut self, policy: &Policy, applicant: Applicant<'_>) -> Result<(), Violation> {
        let limits = &policy.limits;
        match applicant {
            Applicant::Address => {
                let AddressLimits { connections, handshakes, failures, .. } = limits.per_address;
                if connections.is_some() || handshakes.is_some() || failures.is_some() {
                    let admission = Admission { connections, handshakes, failures };
                    self.take(policy, address_key(self.limiter, self.address, policy), &admission)?;
                }
                if limits.connections.is_some() {
                    let admission = Admission { connections: limits.connections, ..Admission::default() };
                    self.take(policy, self.limiter.key(Kind::All, &[]), &admission)?;
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

/// The key of an address; of what is none (a Unix socket's name), its text.
pub(crate) fn address_key(limiter: &Limiter, address: &[u8], policy: &Policy) -> Key {
    match Address::parse(address) {
        Some(address) => limiter.key(Kind::Address, &[&address.group(policy.limits.per_address.ipv6_prefix)]),
        None => limiter.key(Kind::Address, &[address]),
    }
}

/// The key of whom a credential speaks for, where it says that.
pub(crate) fn subject_key(limiter: &Limiter, credential: &Verified) -> Option<Key> {
    let subject = credential.subject()?;
    Some(limiter.key(Kind::Subject, &[credential.provider().as_bytes(), subject.as_bytes()]))
}
