//! Handshakes, as tables of who asks under which limits.

use serde_json::{Value, json};

use super::*;
use crate::limits::counters::tests::{Worker, pass};
use crate::limits::rules::{ConnectionLimits, OnExcess, SubjectLimits};
use crate::limits::table::FailureRules;

const FAILURES: FailureRules =
    FailureRules { count: 2, window: Duration::from_secs(60), ban: Duration::from_secs(300) };

/// Limits that limit nothing.
pub(in crate::limits) fn no_limits() -> LimitRules {
    LimitRules {
        per_address: AddressLimits { ipv6_prefix: 64, connections: None, handshakes: None, failures: None },
        per_subject: SubjectLimits { connections: None, messages: None, bytes: None },
        per_connection: ConnectionLimits::default(),
        connections: None,
        held_len_max: u64::MAX,
        on_excess: OnExcess::Close,
        global: None,
    }
}

/// The one that everybody may have once, or twice.
fn limits(max: u32) -> LimitRules {
    let mut limits = no_limits();
    (limits.per_address.connections, limits.per_subject.connections) = (Some(max), Some(max));
    LimitRules { connections: Some(max), ..limits }
}

pub(in crate::limits) fn credential(claims: &Value) -> Verified {
    Verified::forged(claims.as_object().unwrap().clone())
}

fn peer(text: &str) -> Peer {
    Peer::new(text.into())
}

/// Counts one more, which stays as long as what comes back.
fn count(worker: &Worker, peer: &Peer, limits: &LimitRules, applicant: Applicant<'_>) -> Counted {
    let mut admissions = Admissions::new(Rc::clone(&worker.counters), peer.clone());
    let result = admissions.count(limits, applicant, Err(Violation::Internal));
    let (slots, retry_after) = admissions.into_parts();
    Counted { excess: result.err(), retry_after: retry_after.map(|span| span.as_secs()), slots }
}

struct Counted {
    excess: Option<Violation>,
    /// In seconds.
    retry_after: Option<u64>,
    slots: Box<[Slot]>,
}

impl Counted {
    #[track_caller]
    fn check(&self, excess: Option<Violation>, retry_after: Option<u64>) {
        assert_eq!((self.excess, self.retry_after), (excess, retry_after));
    }
}

#[test]
fn addresses_count_in_their_group_and_sockets_by_name() {
    // Where two connections come from, the prefix of a client, and whether it is one client.
    for (one, other, prefix, is_one) in [
        ("192.0.2.1:1", "192.0.2.1:2", 64, true),
        ("192.0.2.1:1", "192.0.2.2:1", 64, false),
        ("[2001:db8::1]:1", "[2001:db8::2]:1", 64, true),
        ("[2001:db8::1]:1", "[2001:db8:0:1::1]:1", 64, false),
        ("[2001:db8::1]:1", "[2001:db8:0:1::1]:1", 48, true),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1:2", 64, true),
        ("/run/one.sock", "/run/one.sock", 64, true),
        ("/run/one.sock", "/run/other.sock", 64, false),
        ("/run/one.sock", "192.0.2.1:1", 64, false),
        ("", "", 64, true),
    ] {
        let worker = Worker::first();
        let mut limits = limits(1);
        limits.per_address.ipv6_prefix = prefix;
        let first = count(&worker, &peer(one), &limits, Applicant::Address);
        first.check(None, None);
        let second = count(&worker.beside(), &peer(other), &limits, Applicant::Address);
        assert_eq!(second.excess.is_some(), is_one, "{one} {other} {prefix}");
    }
}

#[test]
fn every_applicant_has_a_count_of_its_own() {
    let (alice, bob) = (credential(&json!({"sub": "alice"})), credential(&json!({"sub": "bob"})));
    let (peer, elsewhere) = (peer("192.0.2.1:1"), peer("192.0.2.2:1"));
    let worker = Worker::first();
    let limits = limits(1);
    let ours = [Applicant::Address, Applicant::All, Applicant::Subject(&alice)];
    let slots = ours.map(|applicant| count(&worker, &peer, &limits, applicant));
    for (applicant, slot) in ours.into_iter().zip(slots) {
        slot.check(None, None);
        count(&worker, &peer, &limits, applicant).check(Some(Violation::ConnectionsExceeded), Some(1));
        drop(slot);
        count(&worker, &peer, &limits, applicant).check(None, None);
    }
    // The address and the subject are others, but everybody is everybody.
    let _slots = ours.map(|applicant| count(&worker, &peer, &limits, applicant));
    count(&worker, &elsewhere, &limits, Applicant::Address).check(None, None);
    count(&worker, &peer, &limits, Applicant::Subject(&bob)).check(None, None);
    for applicant in [Applicant::All, Applicant::Subject(&alice)] {
        count(&worker, &elsewhere, &limits, applicant).check(Some(Violation::ConnectionsExceeded), Some(1));
    }
}

#[test]
fn nothing_is_counted_without_a_limit() {
    let worker = Worker::first();
    let before = worker.port.data.borrow().clone();
    let alice = credential(&json!({"sub": "alice"}));
    let (peer, unlimited, limited) = (peer("192.0.2.1:1"), no_limits(), limits(1));
    for (limits, applicant) in [
        (&unlimited, Applicant::Address),
        (&unlimited, Applicant::All),
        (&unlimited, Applicant::Subject(&alice)),
        (&unlimited, Applicant::Visitor),
        // Nobody limits handshakes.
        (&limited, Applicant::Visitor),
    ] {
        let counted = count(&worker, &peer, limits, applicant);
        counted.check(None, None);
        assert!(counted.slots.is_empty(), "{applicant:?}");
    }
    peer.fail(&worker.counters, &limited);
    assert_eq!(*worker.port.data.borrow(), before);
}

#[test]
fn a_credential_without_a_subject_is_counted_by_itself() {
    let worker = Worker::first();
    let [one, again, other] = ["1", "1", "2"]
        .map(|id| credential(&json!({"iss": "corp", "jti": id})))
        .map(|credential| count(&worker, &peer("192.0.2.1:1"), &limits(1), Applicant::Subject(&credential)));
    one.check(None, None);
    again.check(Some(Violation::ConnectionsExceeded), Some(1));
    other.check(None, None);
}

#[test]
fn visits_are_handshakes_and_no_connections() {
    let worker = Worker::first();
    let peer = peer("192.0.2.1:1");
    let mut limits = limits(1);
    limits.per_address.handshakes = crate::limits::rate::Rate::new(0.5, 3);
    let visits = [Applicant::Visitor; 2].map(|visitor| count(&worker, &peer, &limits, visitor));
    visits.iter().for_each(|visit| visit.check(None, None));
    let connection = count(&worker, &peer, &limits, Applicant::Address);
    connection.check(None, None);
    for applicant in [Applicant::Visitor, Applicant::Address] {
        count(&worker, &peer, &limits, applicant).check(Some(Violation::HandshakesExceeded), Some(2));
    }
    pass(2, &[&worker]);
    count(&worker, &peer, &limits, Applicant::Visitor).check(None, None);
}

#[test]
fn failures_ban_an_address_for_a_while() {
    let worker = Worker::first();
    let (peer, elsewhere) = (peer("192.0.2.1:1"), peer("192.0.2.2:1"));
    let mut limits = limits(9);
    limits.per_address.failures = Some(FAILURES);
    let fail = || peer.fail(&worker.counters, &limits);
    fail();
    // A failure that the host does not count bans later.
    worker.port.fails_in.set(Some(0));
    fail();
    count(&worker, &peer, &limits, Applicant::Address).check(None, None);
    fail();
    for applicant in [Applicant::Address, Applicant::Visitor] {
        count(&worker.beside(), &peer, &limits, applicant).check(Some(Violation::Banned), Some(300));
        count(&worker, &elsewhere, &limits, applicant).check(None, None);
    }
    count(&worker, &peer, &limits, Applicant::All).check(None, None);
    count(&worker, &peer, &LimitRules { per_address: no_limits().per_address, ..limits.clone() }, Applicant::Address)
        .check(None, None);
    pass(299, &[&worker]);
    count(&worker, &peer, &limits, Applicant::Address).check(Some(Violation::Banned), Some(1));
    pass(1, &[&worker]);
    count(&worker, &peer, &limits, Applicant::Address).check(None, None);
}

#[test]
fn a_fault_of_the_host_means_what_it_is_said_to() {
    let worker = Worker::first();
    pass(1, &[&worker]);
    let peer = peer("192.0.2.1:1");
    for on_fault in [Ok(()), Err(Violation::Internal)] {
        for call in 0..3 {
            worker.port.fails_in.set(Some(call));
            let mut admissions = Admissions::new(Rc::clone(&worker.counters), peer.clone());
            assert_eq!(admissions.count(&limits(1), Applicant::Address, on_fault), on_fault, "{call}");
            let (slots, retry_after) = admissions.into_parts();
            assert_eq!((slots.len(), retry_after), (0, None));
        }
    }
    count(&worker, &peer, &limits(1), Applicant::Address).check(None, None);
}

#[test]
fn a_handshake_has_the_slots_of_all_its_applicants() {
    let worker = Worker::first();
    let alice = credential(&json!({"sub": "alice"}));
    let peer = peer("192.0.2.1:1");
    let handshake = || {
        let mut admissions = Admissions::new(Rc::clone(&worker.counters), peer.clone());
        for applicant in [Applicant::Address, Applicant::All, Applicant::Subject(&alice)] {
            admissions.count(&limits(1), applicant, Err(Violation::Internal))?;
        }
        Ok(admissions.into_parts().0)
    };
    let slots = handshake().unwrap();
    assert_eq!(slots.len(), 3);
    assert_eq!(handshake().map(drop), Err(Violation::ConnectionsExceeded));
    drop(slots);
    // Neither does one that was refused leave a slot behind.
    assert_eq!(handshake().map(|slots| slots.len()), Ok(3));
}
