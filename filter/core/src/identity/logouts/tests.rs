use super::*;
use crate::identity::marks::{Name, digest, issuer_number};
use crate::testing::MemoryPort;

fn worker(port: MemoryPort) -> Logouts {
    let logouts = Logouts::new(Rc::new(port));
    logouts.want().unwrap();
    logouts
}

fn of(name: Name, text: &str) -> Digest {
    if text.is_empty() { ABSENT } else { digest(name, text) }
}

fn logout(subject: &str, session: &str, token: u64, at: u64) -> Logout {
    let token = digest(Name::Token, &token.to_string());
    let (subject, session) = (of(Name::Subject, subject), of(Name::Session, session));
    Logout { issuer: issuer_number("https://idp/"), subject, session, token, at }
}

fn marks(subject: &str, session: &str, issued_at: u64) -> Marks {
    let (subject, session) = (of(Name::Subject, subject), of(Name::Session, session));
    Marks { issuer: issuer_number("https://idp/"), subject, session, token: ABSENT, issued_at }
}

#[test]
fn a_logout_ends_what_was_issued_before_it() {
    for (subject, session, own, is_ended) in [
        // All sessions of a user.
        ("alice", "", marks("alice", "", 99), true),
        ("alice", "", marks("alice", "s", 100), true),
        ("alice", "", marks("alice", "s", 101), false),
        ("alice", "", marks("alice", "", 0), true),
        ("alice", "", marks("bob", "", 1), false),
        // One session, whenever the token was issued.
        ("", "s", marks("alice", "s", 99), true),
        ("", "s", marks("alice", "s", 101), true),
        ("", "s", marks("alice", "t", 99), false),
        ("", "s", marks("alice", "", 99), false),
        // Likewise; a token of the user that names no session may be of that one.
        ("alice", "s", marks("alice", "s", 101), true),
        ("alice", "s", marks("alice", "t", 99), false),
        ("alice", "s", marks("alice", "", 99), true),
        ("alice", "s", marks("alice", "", 101), false),
        ("alice", "s", marks("bob", "", 99), false),
        // A session whose id is a user's name is not that user.
        ("", "alice", marks("alice", "", 1), false),
        ("alice", "", marks("bob", "alice", 1), false),
        ("alice", "", Marks { issuer: 1, ..marks("alice", "", 1) }, false),
        ("alice", "", marks("", "", 1), false),
    ] {
        let logouts = worker(MemoryPort::default());
        assert!(!logouts.revoke(&own));
        assert_eq!(logouts.add(&logout(subject, session, 1, 100)), Ok(true));
        assert_eq!(logouts.poll(), Ok(true));
        assert_eq!(logouts.revoke(&own), is_ended, "{subject} {session} {own:?}");
    }
}

#[test]
fn an_earlier_logout_takes_nothing_from_a_later_one() {
    let logouts = worker(MemoryPort::default());
    for (subject, session, at) in [("alice", "", 200), ("alice", "", 100), ("alice", "s", 50)] {
        assert_eq!(logouts.add(&logout(subject, session, at, at)), Ok(true));
    }
    logouts.poll().unwrap();
    assert!(logouts.revoke(&marks("alice", "", 150)) && logouts.revoke(&marks("alice", "s", 900)));
    assert!(!logouts.revoke(&marks("alice", "t", 201)));
}

#[test]
fn a_token_counts_once_over_all_workers() {
    let port = MemoryPort::default();
    let other = worker(port.beside());
    let one = worker(port);
    assert_eq!(one.add(&logout("alice", "", 1, 100)), Ok(true));
    assert_eq!((one.add(&logout("alice", "", 1, 100)), other.add(&logout("bob", "", 1, 100))), (Ok(false), Ok(false)));
    // Another issuer numbers its own.
    assert_eq!(other.add(&Logout { issuer: 9, ..logout("alice", "", 1, 100) }), Ok(true));
    assert_eq!((one.poll(), one.poll(), other.poll()), (Ok(true), Ok(false), Ok(true)));
}

#[test]
fn a_worker_that_missed_some_reads_them_all_and_a_new_one_all_that_are_left() {
    let port = MemoryPort::default();
    let (late, early) = (worker(port.beside()), worker(port.beside()));
    let all = LOGOUTS_MAX + 100;
    for number in 0..all {
        // The first would need a look at all of the log each.
        let result = if number % 1_000 == 0 {
            early.add(&logout(&format!("{number}"), "", number, 100))
        } else {
            quick(&early, number)
        };
        assert_eq!(result, Ok(true));
        if number == 500 {
            assert_eq!(late.poll(), Ok(true));
        }
    }
    let new = worker(port);
    for logouts in [&early, &late, &new] {
        logouts.poll().unwrap();
        let is_known = |number: u64| logouts.revoke(&marks(&format!("{number}"), "", 100));
        assert!(!is_known(0) && !is_known(99), "the oldest are forgotten");
        assert!((100..all).step_by(97).all(is_known) && is_known(100) && is_known(all - 1) && !is_known(all));
        assert_eq!(logouts.known.borrow().log.len() as u64, LOGOUTS_MAX);
        assert!(logouts.known.borrow().ended.len() as u64 <= LOGOUTS_MAX);
        assert_eq!(logouts.poll(), Ok(false));
    }
}

/// Writes one as [`Logouts::add`] does, without a look at what was used.
fn quick(logouts: &Logouts, number: u64) -> Result<bool, HostError> {
    let port = &logouts.port;
    let (next, version) = logouts.head()?;
    let cell = port::Cell::LogoutPage(page(next));
    let (mut bytes, _) = port.shared(cell)?.unwrap();
    bytes[slot(next)].copy_from_slice(&logout(&format!("{number}"), "", number, 100).to_bytes(next + 1));
    port.share(cell, &bytes, None)?;
    port.share(port::Cell::Logouts, &(next + 1).to_le_bytes(), Some(version))
}

/// A worker that overwrites what another is about to read.
#[test]
fn what_was_overwritten_is_skipped() {
    let port = MemoryPort::default();
    let (late, early) = (worker(port.beside()), worker(port));
    for number in 0..LOGOUTS_MAX + 3 {
        quick(&early, number).unwrap();
    }
    late.read(LOGOUTS_MAX).unwrap();
    assert_eq!(late.known.borrow().log.len() as u64, LOGOUTS_MAX - 3);
    late.poll().unwrap();
    assert!((0..3).all(|number| !late.revoke(&marks(&number.to_string(), "", 100))));
    assert!((3..LOGOUTS_MAX + 3).step_by(111).all(|number| late.revoke(&marks(&number.to_string(), "", 100))));
}

#[test]
fn a_logout_whose_writer_died_before_it_told_is_told_by_the_next() {
    let port = MemoryPort::default();
    let (dying, next) = (worker(port.beside()), worker(port.beside()));
    let data = Rc::clone(&port.data);
    let head = data.borrow()[&port::Cell::Logouts].clone();
    assert_eq!(dying.add(&logout("alice", "", 1, 100)), Ok(true));
    data.borrow_mut().insert(port::Cell::Logouts, head);
    assert_eq!(next.poll(), Ok(false));
    assert_eq!(next.add(&logout("bob", "", 2, 100)), Ok(true));
    next.poll().unwrap();
    assert!(next.revoke(&marks("alice", "", 1)) && next.revoke(&marks("bob", "", 1)));
    assert_eq!(next.known.borrow().next, 2);
}

#[test]
fn a_host_that_fails_loses_no_logout_that_was_answered() {
    for fails_in in 0..12 {
        let port = Rc::new(MemoryPort::default());
        let logouts = Logouts::new(port.clone());
        logouts.want().unwrap();
        port.fails_in.set(Some(fails_in));
        let result = logouts.add(&logout("alice", "", 1, 100));
        port.fails_in.set(None);
        logouts.poll().unwrap();
        assert_eq!(result.is_ok(), fails_in >= 4, "{fails_in}");
        assert!(result.is_err() || logouts.revoke(&marks("alice", "", 1)));
    }
}

#[test]
fn where_nobody_wants_logouts_nothing_is_shared_or_read() {
    let port = Rc::new(MemoryPort::default());
    let logouts = Logouts::new(port.clone());
    assert_eq!(logouts.poll(), Ok(false));
    assert!(port.data.borrow().is_empty() && !logouts.are_wanted());
}
