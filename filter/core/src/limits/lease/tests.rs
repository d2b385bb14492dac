//! What subjects may send, on workers of one proxy.

mod quotas;

use serde_json::{Value, json};

use super::*;
use crate::limits::admission::tests::{credential, no_limits};
use crate::limits::counters::tests::{Worker, pass};

/// A worker's leases.
fn leases(worker: &Worker) -> Rc<Leases> {
    Rc::new(Leases::new(Rc::clone(&worker.counters)))
}

fn alice(worker: &Worker) -> Subject {
    Subject::new(&worker.counters, Peer::default(), Some(&credential(&json!({"sub": "alice"}))))
}

/// So many at once, of messages and bytes, and one a second.
fn bursts(messages: Option<u64>, bytes: Option<u64>) -> LimitRules {
    let mut limits = no_limits();
    (limits.per_subject.messages, limits.per_subject.bytes) =
        (messages.and_then(|burst| Rate::new(1.0, burst)), bytes.and_then(|burst| Rate::new(1.0, burst)));
    limits
}

/// The lease of one subject on each of these workers.
fn leased<const N: usize>(workers: [&Worker; N], limits: &LimitRules) -> [Rc<Lease>; N] {
    workers.map(|worker| leases(worker).lease(&alice(worker), limits).unwrap())
}

/// How many messages without a byte go on, of so many.
fn sent(lease: &Lease, limits: &LimitRules, messages: usize) -> usize {
    (0..messages).filter(|_| lease.spend(limits, 1, 0)).count()
}

#[test]
fn what_a_connection_has_not_used_is_given_back_at_its_end() {
    let worker = Worker::first();
    let limits = bursts(Some(200), Some(1_400));
    for connection in 0..20 {
        let [lease] = leased([&worker], &limits);
        assert!((0..10).all(|_| lease.spend(&limits, 1, 7)), "connection {connection}");
    }
    let [lease] = leased([&worker], &limits);
    assert!(!lease.spend(&limits, 1, 7));
}

#[test]
fn what_does_not_fit_is_messages_or_bytes() {
    for (messages, bytes, spent, needed, lacks_bytes) in [
        (Some(3), None, (3, 0), (1, 9), false),
        (None, Some(9), (3, 9), (1, 1), true),
        (Some(3), Some(9), (3, 0), (1, 1), false),
        (Some(3), Some(9), (2, 9), (1, 1), true),
        (Some(3), Some(9), (0, 0), (1, 10), true),
        (Some(3), Some(9), (3, 0), (1, 10), true),
    ] {
        let worker = Worker::first();
        let limits = bursts(messages, bytes);
        let [lease] = leased([&worker], &limits);
        assert!(lease.spend(&limits, spent.0, spent.1));
        assert!(!lease.spend(&limits, needed.0, needed.1));
        assert_eq!(lease.lacks_bytes(&limits, needed.0, needed.1), lacks_bytes, "{messages:?} {bytes:?} {needed:?}");
    }
}

#[test]
fn what_was_not_used_within_its_second_is_given_back() {
    let worker = Worker::first();
    let limits = bursts(Some(80), None);
    let [lease] = leased([&worker], &limits);
    for second in 0..40 {
        assert!(lease.spend(&limits, 1, 0), "second {second}");
        pass(3, &[&worker]);
    }
    assert!(sent(&lease, &limits, 100) >= 79);
}

/// How many calls of the host that takes.
fn calls(worker: &Worker, act: impl FnOnce()) -> u32 {
    worker.port.fails_in.set(Some(u32::MAX));
    act();
    u32::MAX - worker.port.fails_in.take().unwrap()
}

#[test]
fn only_what_limits_count_is_leased() {
    let worker = Worker::first();
    let leases = leases(&worker);
    let address = Subject::Address(Peer::new(b"192.0.2.1:1".to_vec()));
    // The limits, and whether a named subject and an address have a lease under them.
    for (limits, expected) in [
        (no_limits(), [false, false]),
        (bursts(Some(1), None), [true, false]),
        (bursts(None, Some(1)), [true, false]),
        (quotas::limits(None), [false, false]),
        (quotas::limits(Some(8)), [true, true]),
    ] {
        let has_lease = [&alice(&worker), &address].map(|subject| leases.lease(subject, &limits).is_some());
        assert_eq!(has_lease, expected, "{limits:?}");
    }
    // Only a service counts what an address sends.
    let limits = LimitRules { global: quotas::limits(Some(8)).global, ..bursts(Some(1), Some(1)) };
    let lease = leases.lease(&address, &limits).unwrap();
    assert_eq!(calls(&worker, || assert!(lease.spend(&limits, 1_000, 1_000))), 0);
}

#[test]
fn a_service_hears_of_a_subject_or_of_the_group_of_an_address() {
    let worker = Worker::first();
    let limits = no_limits();
    let entry = |peer: &str, claims: Value| {
        let peer = Peer::new(peer.into());
        let credential = claims.is_object().then(|| credential(&claims));
        let entry = Subject::new(&worker.counters, peer, credential.as_ref()).entry(&limits);
        assert!(credential.is_none_or(|credential| Entry::of_credential(&credential) == entry));
        entry
    };
    for (peer, claims, expected) in [
        ("192.0.2.1:1", json!({"sub": "alice"}), ("subject", "forged/alice")),
        ("192.0.2.1:1", json!(null), ("remote_address", "192.0.2.1")),
        // A token without a subject is counted by its claims.
        ("192.0.2.1:1", json!({}), ("subject", "forged/sha1:bf21a9e8fbc5a3846fb05b4fa0859e0917b2202f")),
        ("[2001:db8::1]:1", json!(null), ("remote_address", "2001:db8::/64")),
        ("/run/one.sock", json!(null), ("remote_address", "")),
    ] {
        assert_eq!(entry(peer, claims).parts(), expected);
    }
}

#[test]
fn connections_of_a_subject_share_a_lease_until_the_last_one_ends() {
    let worker = Worker::first();
    let leases = leases(&worker);
    let limits = bursts(Some(8), None);
    let bob = Subject::new(&worker.counters, Peer::default(), Some(&credential(&json!({"sub": "bob"}))));
    let [one, other, bobs] =
        [&alice(&worker), &alice(&worker), &bob].map(|subject| leases.lease(subject, &limits).unwrap());
    assert!(Rc::ptr_eq(&one, &other) && !Rc::ptr_eq(&one, &bobs));
    drop(one);
    assert_eq!(leases.known.borrow().len(), 2);
    drop((other, bobs));
    assert!(leases.known.borrow().is_empty());
}

#[test]
fn most_messages_cost_no_call_of_the_host() {
    let worker = Worker::first();
    let limits = bursts(Some(80), Some(8_000));
    let [lease] = leased([&worker], &limits);
    for message in 0..80 {
        let expected = if message % 10 == 0 { 3 } else { 0 };
        assert_eq!(calls(&worker, || assert!(lease.spend(&limits, 1, 100))), expected, "{message}");
    }
    assert!(!lease.spend(&limits, 1, 0));
    assert!(lease.spend(&limits, 0, 0));
}

#[test]
fn workers_share_what_a_subject_may_send() {
    let one = Worker::first();
    let other = one.beside();
    let limits = bursts(Some(16), None);
    let leases = leased([&one, &other], &limits);
    let sent_by = |messages| leases.each_ref().map(|lease| sent(lease, &limits, messages));
    assert_eq!(sent_by(3), [3, 3]);
    assert_eq!(sent_by(5), [5, 5]);
    assert_eq!(sent_by(1), [0, 0]);
    pass(4, &[&one, &other]);
    assert_eq!(sent_by(9), [4, 0]);
}

/// How many messages and bytes are asked for, and whether they are had.
type Step = (u64, u64, bool);

#[test]
fn all_is_taken_or_nothing() {
    // Messages and bytes that may be sent at once.
    let rows: [(_, &[Step]); 4] = [
        ([Some(4), Some(100)], &[(1, 60, true), (1, 41, false), (3, 40, true), (0, 1, false), (1, 0, false)]),
        ([Some(4), None], &[(5, 0, false), (4, 1_000, true), (1, 0, false)]),
        ([None, Some(100)], &[(9, 101, false), (9, 100, true), (9, 0, true), (0, 1, false)]),
        ([None, None], &[(u64::MAX, u64::MAX, true)]),
    ];
    for ([messages, bytes], steps) in rows {
        let worker = Worker::first();
        let limits = bursts(messages, bytes);
        // A policy that is reloaded may limit less than when the connection came.
        let [lease] = leased([&worker], &bursts(Some(1), None));
        for (messages, len, expected) in steps {
            assert_eq!(lease.spend(&limits, *messages, *len), *expected, "{limits:?} {messages} {len}");
        }
    }
}

#[test]
fn more_than_a_burst_takes_nothing_from_the_other_workers() {
    let one = Worker::first();
    let other = one.beside();
    let limits = bursts(None, Some(100));
    let leases = leased([&one, &other], &limits);
    for _ in 0..100 {
        assert!(!leases[0].spend(&limits, 1, 101));
        pass(1, &[&one, &other]);
    }
    assert!(leases[1].spend(&limits, 1, 100));
}

#[test]
fn a_fault_of_the_host_is_no_leave_to_send() {
    let worker = Worker::first();
    let limits = bursts(Some(16), None);
    let [lease] = leased([&worker], &limits);
    assert_eq!(sent(&lease, &limits, 1), 1);
    for call in 0..3 {
        worker.port.fails_in.set(Some(call));
        assert!(!lease.spend(&limits, 2, 0), "{call}");
    }
    // What is leased stays, and so does the rest.
    assert_eq!(sent(&lease, &limits, 20), 15);
}

/// What was leased and not used has come again where it was leased from: both together would be more than a burst.
#[test]
fn a_lease_ends() {
    let workers = [(); 8].map({
        let first = Worker::first();
        move |()| first.beside()
    });
    let limits = bursts(Some(64), None);
    let leases = leased(workers.each_ref(), &limits);
    let sent_by_all = |messages| leases.each_ref().map(|lease| sent(lease, &limits, messages));
    // Each of them has leased eight, and all is leased.
    assert_eq!(sent_by_all(1), [1; 8]);
    pass(100, &workers.each_ref());
    assert_eq!(sent_by_all(64).iter().sum::<usize>(), 64);
}
