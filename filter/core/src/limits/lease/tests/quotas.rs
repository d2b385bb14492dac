//! Messages that a rate limit service counts, asked for in batches.

use serde_json::json;

use super::{alice, leases};
use crate::limits::admission::tests::{credential, no_limits};
use crate::limits::counters::tests::Worker;
use crate::limits::lease::*;
use crate::limits::rls::Verdict;

const YES: Option<Verdict> = Some(Verdict { allowed: true, retry_after: None });
const NO: Option<Verdict> = Some(Verdict { allowed: false, retry_after: None });
const NO_FOR_5_S: Option<Verdict> = Some(Verdict { allowed: false, retry_after: Some(Duration::from_secs(5)) });

/// A service that is asked for so many messages at once.
pub(super) fn limits(message_batch: Option<u32>) -> LimitRules {
    let global = GlobalLimits {
        cluster: "ratelimit".into(),
        domain: "chat".to_owned(),
        timeout: Duration::from_millis(50),
        on_error: Access::Refuse,
        message_batch,
    };
    LimitRules { global: Some(global), ..no_limits() }
}

/// A subject whose messages are asked for.
struct Scene {
    worker: Worker,
    leases: Rc<Leases>,
    lease: Rc<Lease>,
    limits: LimitRules,
}

impl Scene {
    fn new(message_batch: u32) -> Self {
        let (worker, limits) = (Worker::first(), limits(Some(message_batch)));
        let leases = leases(&worker);
        let lease = leases.lease(&alice(&worker), &limits).unwrap();
        Self { worker, leases, lease, limits }
    }

    /// One message.
    fn take(&self, message_type: &str) -> (bool, Option<Ask>) {
        self.lease.take_message(self.limits.global.as_ref().unwrap(), message_type, self.worker.now())
    }

    /// Of so many messages, `allowed` go on, and they make `asked` questions.
    #[track_caller]
    fn check(&self, messages: u32, allowed: usize, asked: usize) {
        let (are_allowed, asks): (Vec<bool>, Vec<Option<Ask>>) = (0..messages).map(|_| self.take("chat")).unzip();
        let are_allowed = are_allowed.into_iter().filter(|is_allowed| *is_allowed);
        assert_eq!((are_allowed.count(), asks.iter().flatten().count()), (allowed, asked));
    }

    fn answer(&self, verdict: Option<Verdict>) {
        self.leases.answered(self.lease.key.number(), "chat", verdict);
    }

    fn elapse(&self, millis: u64) {
        self.worker.port.now.update(|now| now + millis * 1_000_000);
    }
}

#[test]
fn a_question_says_who_wants_to_send_what() {
    let scene = Scene::new(10);
    let descriptor = [("subject", "forged/alice"), ("message_type", "chat")];
    let asker = Asker::Lease { subject: scene.lease.key.number(), message_type: "chat".into() };
    let question = rls::question(scene.limits.global.as_ref().unwrap(), &[&descriptor], 10);
    assert_eq!(scene.take("chat"), (true, Some(Ask { question, asker })));
}

#[test]
fn a_service_that_counts_no_messages_is_not_asked() {
    let scene = Scene { limits: limits(None), ..Scene::new(10) };
    scene.check(1_000, 1_000, 0);
}

#[test]
fn a_batch_is_asked_for_while_half_of_the_last_one_is_left() {
    let scene = Scene::new(10);
    scene.check(1, 1, 1);
    scene.answer(YES);
    // Nine are left, as one is sent already.
    scene.check(4, 4, 0);
    scene.check(1, 1, 1);
    scene.check(4, 4, 0);
    scene.answer(YES);
    scene.check(5, 5, 0);
    scene.check(1, 1, 1);
}

#[test]
fn a_batch_of_one_is_asked_for_message_by_message() {
    let scene = Scene::new(1);
    for _ in 0..3 {
        scene.check(1, 1, 1);
        scene.answer(YES);
    }
    scene.check(1, 1, 1);
    scene.answer(NO);
    scene.check(9, 0, 0);
}

#[test]
fn what_is_sent_on_credit_is_paid_back() {
    let scene = Scene::new(10);
    scene.check(25, 25, 1);
    scene.answer(YES);
    // Fifteen are owed, and the next message: all of it is asked for.
    let (_, ask) = scene.take("chat");
    let descriptor = [("subject", "forged/alice"), ("message_type", "chat")];
    let question = rls::question(scene.limits.global.as_ref().unwrap(), &[&descriptor], 16);
    assert_eq!(ask.map(|ask| ask.question), Some(question));
    scene.answer(YES);
    // Nothing is owed, nor left.
    scene.check(1, 1, 1);
    scene.answer(YES);
    scene.check(5, 5, 1);
    scene.answer(NO);
    scene.check(9, 4, 0);
}

#[test]
fn a_no_holds_as_long_as_it_says() {
    for (verdict, millis) in [(NO, 1_000), (NO_FOR_5_S, 5_000)] {
        let scene = Scene::new(10);
        scene.check(1, 1, 1);
        scene.answer(verdict);
        scene.check(9, 0, 0);
        scene.elapse(millis - 1);
        scene.check(9, 0, 0);
        scene.elapse(1);
        // It is asked again, and nothing goes on before it has said yes.
        scene.check(9, 0, 1);
        scene.answer(verdict);
        scene.elapse(millis);
        scene.check(9, 0, 1);
        scene.answer(YES);
        scene.check(4, 4, 0);
    }
}

#[test]
fn what_is_left_may_be_sent_after_a_no() {
    let scene = Scene::new(10);
    scene.check(1, 1, 1);
    scene.answer(YES);
    scene.check(5, 5, 1);
    scene.answer(NO);
    scene.check(9, 4, 0);
}

#[test]
fn without_an_answer_on_error_decides() {
    let mut scene = Scene::new(10);
    scene.limits.global.as_mut().unwrap().on_error = Access::Allow;
    scene.check(3, 3, 1);
    scene.answer(None);
    scene.check(2, 2, 0);
    scene.check(1, 1, 1);

    let scene = Scene::new(10);
    scene.check(3, 3, 1);
    scene.answer(None);
    scene.check(9, 0, 0);
    scene.elapse(999);
    scene.check(9, 0, 0);
    scene.elapse(1);
    // It has not said no: until it answers, all goes on credit again.
    scene.check(9, 9, 1);
}

/// Otherwise all would go on credit from then on.
#[test]
fn an_answer_counts_even_where_the_host_does_not_tell_the_time() {
    for verdict in [YES, NO, None] {
        let scene = Scene::new(10);
        scene.check(25, 25, 1);
        scene.worker.port.fails_in.set(Some(0));
        scene.answer(verdict);
        scene.worker.port.fails_in.set(None);
        assert!(scene.take("chat").1.is_some(), "{verdict:?}");
    }
}

#[test]
fn types_are_counted_apart_as_many_as_there_may_be() {
    let scene = Scene::new(10);
    for number in 0..KINDS_MAX {
        let (is_allowed, ask) = scene.take(&format!("type {number}"));
        assert!(is_allowed && ask.is_some());
    }
    // All others count as messages without a type.
    let asker = Asker::Lease { subject: scene.lease.key.number(), message_type: "".into() };
    assert_eq!(scene.take("one more").1.map(|ask| ask.asker), Some(asker));
    assert_eq!(scene.take("yet another one"), (true, None));
    scene.leases.answered(scene.lease.key.number(), "", NO);
    assert_eq!(["one more", "another", "", "type 0"].map(|name| scene.take(name).0), [false, false, false, true]);
    assert_eq!(scene.lease.quotas.borrow().len(), KINDS_MAX + 1);
    // Another subject has its own.
    let bob = credential(&json!({"sub": "bob"}));
    let bob = Subject::new(&scene.worker.counters, Peer::default(), Some(&bob));
    let lease = scene.leases.lease(&bob, &scene.limits).unwrap();
    assert!(Scene { lease, ..scene }.take("one more").0);
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut scene = Scene::new(10);
    let subject = scene.lease.key.number();
    // Nothing was asked, at all or of this type; nobody is known by this number.
    scene.answer(NO);
    scene.check(1, 1, 1);
    scene.leases.answered(subject, "other", NO);
    scene.leases.answered(subject ^ 1, "chat", NO);
    scene.answer(YES);
    scene.answer(NO);
    scene.check(5, 5, 1);
    // The subject goes, and comes again.
    let (bob, limits) = (credential(&json!({"sub": "bob"})), scene.limits.clone());
    let bob = Subject::new(&scene.worker.counters, Peer::default(), Some(&bob));
    scene.lease = scene.leases.lease(&bob, &limits).unwrap();
    scene.leases.answered(subject, "chat", NO);
    scene.lease = scene.leases.lease(&alice(&scene.worker), &limits).unwrap();
    scene.check(5, 5, 1);
}
