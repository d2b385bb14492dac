//! What is asked, kept and forgotten, by time and by number.

use super::*;
use crate::ask::{Ask, Asker, HttpResponse};
use crate::identity::lookup::Form;

const DATE: Timestamp = Timestamp::from_secs(1_800_000_000);

fn service(cluster: &str, cache: Duration) -> Rc<Lookup> {
    let form = Form::Cookie("sid".into());
    Rc::new(Lookup { cluster: cluster.into(), path: "/session".into(), form, timeout: Duration::from_secs(1), cache })
}

/// A worker at a time.
struct World {
    lookups: Lookups,
    inquiries: Inquiries,
    now: Moment,
    app: Rc<Lookup>,
}

impl World {
    fn new(cache: Duration) -> Self {
        let now = Moment::from_nanos(1_000_000_000_000);
        Self { lookups: Lookups::default(), inquiries: Inquiries::default(), now, app: service("app", cache) }
    }

    fn elapse(&mut self, millis: u64) {
        self.now = self.now.saturating_add(Duration::from_millis(millis));
    }

    fn know(&self, credential: &str) -> Known {
        self.know_of(&self.app, credential)
    }

    fn know_of(&self, lookup: &Rc<Lookup>, credential: &str) -> Known {
        let credential = credential.as_bytes();
        self.lookups.know(lookup, credential, lookup.digest(credential), self.now, &self.inquiries)
    }

    /// What is known, where nobody has to be asked.
    fn known(&self, credential: &str) -> Option<Told> {
        if let Known::Told(told) = self.know(credential) { Some(told) } else { None }
    }

    /// Asks about a credential, and gets this answer.
    #[track_caller]
    fn learn(&self, credential: &str, answer: &Answer) -> (Told, Option<(Box<str>, Failure)>) {
        let Known::Asked(inquiry, flight) = self.know(credential) else { panic!("{credential} is known") };
        let line = self.receive(inquiry, answer);
        (flight.told(), line)
    }

    fn receive(&self, inquiry: Inquiry, answer: &Answer) -> Option<(Box<str>, Failure)> {
        let Some(Topic::Lookup(number)) = self.inquiries.topic(inquiry) else { panic!("{inquiry:?}") };
        self.inquiries.end(inquiry);
        self.lookups.receive(number, answer, self.now, DATE)
    }

    fn asks(&self) -> Vec<Ask> {
        self.inquiries.take_asks()
    }
}

fn answer(status: u16, body: &str) -> Answer {
    Answer::Http(HttpResponse { status, body: body.into(), ..HttpResponse::default() })
}

fn yes(body: &str) -> Answer {
    answer(200, body)
}

fn no() -> Answer {
    answer(401, "")
}

fn claims(text: &str) -> Told {
    Told::Claims(text.as_bytes().into())
}

#[test]
fn one_question_is_asked_for_all_who_want_to_know() {
    let world = World::new(Duration::from_secs(30));
    let Known::Asked(inquiry, first) = world.know("alice") else { panic!() };
    let Known::Asked(again, second) = world.know("alice") else { panic!() };
    let Known::Asked(other, bob) = world.know("bob") else { panic!() };
    assert_eq!((inquiry, inquiry == other), (again, false));
    let asks = world.asks();
    assert_eq!(asks.iter().map(|ask| ask.asker.clone()).collect::<Vec<_>>(), [inquiry, other].map(Asker::Inquiry));
    assert_eq!(world.receive(inquiry, &yes("{}")), None);
    assert_eq!((first.told(), second.told()), (claims("{}"), claims("{}")));
    assert_eq!(bob.told(), Told::Fault(Failure::NoAnswer), "nobody has said anything yet");
    assert_eq!((world.known("alice"), world.known("bob")), (Some(claims("{}")), None));
    assert_eq!(world.asks(), []);
}

#[test]
fn what_was_said_holds_for_its_time() {
    for (answer, cache_secs, millis) in [
        (yes("{}"), 30, 30_000),
        (yes("{}"), 1, 1_000),
        (yes(r#"{"exp": 1800000007}"#), 30, 7_000),
        (yes(r#"{"exp": 1800000040}"#), 30, 30_000),
        (no(), 30, 5_000),
        (no(), 2, 2_000),
        (answer(500, ""), 30, 1_000),
        (answer(500, ""), 0, 1_000),
        (Answer::None, 30, 1_000),
    ] {
        let mut world = World::new(Duration::from_secs(cache_secs));
        let (told, _) = world.learn("alice", &answer);
        world.elapse(millis - 1);
        assert_eq!(world.known("alice"), Some(told), "{answer:?}");
        world.elapse(1);
        assert_eq!(world.known("alice"), None, "{answer:?}");
    }
}

#[test]
fn what_does_not_hold_is_told_to_those_who_wait_and_forgotten() {
    for (answer, cache_secs) in [
        (yes("{}"), 0),
        (no(), 0),
        (yes(r#"{"exp": 1800000000}"#), 30),
        (yes(r#"{"exp": 0}"#), 30),
        (yes(r#"{"exp": -1}"#), 30),
        (yes(r#"{"exp": "1900000000"}"#), 30),
        (yes(r#"{"exp": 1e300}"#), 30),
    ] {
        let world = World::new(Duration::from_secs(cache_secs));
        let (told, _) = world.learn("alice", &answer);
        assert_ne!(told, Told::Fault(Failure::NoAnswer));
        assert_eq!(world.known("alice"), None, "{answer:?}");
    }
}

#[test]
fn an_answer_is_for_its_own_service_and_question_only() {
    let world = World::new(Duration::from_secs(30));
    let Known::Asked(inquiry, flight) = world.know("alice") else { panic!() };
    assert_eq!(world.lookups.receive(7, &yes("{}"), world.now, DATE), None);
    assert_eq!(world.known("alice"), None);
    world.receive(inquiry, &yes("{}"));
    // What comes twice changes nothing.
    assert_eq!(world.lookups.receive(0, &no(), world.now, DATE), None);
    assert_eq!((flight.told(), world.known("alice")), (claims("{}"), Some(claims("{}"))));
    let other = service("other", Duration::from_secs(30));
    let known = world.know_of(&other, "alice");
    assert!(matches!(known, Known::Asked(..)), "{known:?}");
}

#[test]
fn a_service_is_asked_so_many_questions_at_once_and_others_are_asked_all_the_same() {
    let world = World::new(Duration::from_secs(30));
    let inquiries: Vec<Inquiry> = (0..FLIGHTS_MAX)
        .map(|number| match world.know(&number.to_string()) {
            Known::Asked(inquiry, _) => inquiry,
            known => panic!("{number}: {known:?}"),
        })
        .collect();
    assert!(matches!(world.know("one more"), Known::Busy));
    assert!(matches!(world.know("7"), Known::Asked(..)), "it is asked about already");
    assert_eq!(world.asks().len(), FLIGHTS_MAX);
    let other = service("other", Duration::from_secs(30));
    assert!(matches!(world.know_of(&other, "x"), Known::Asked(..)));
    world.receive(inquiries[0], &no());
    assert!(matches!(world.know("one more"), Known::Asked(..)));
    assert!(matches!(world.know("another"), Known::Busy));
}

/// Made-up credentials, ones that services fail at, and good ones of others: each has its own memory.
#[test]
fn no_flood_pushes_out_what_is_good() {
    let world = World::new(Duration::from_secs(30));
    world.learn("alice", &yes(r#"{"sub": "alice"}"#));
    for number in 0..20_000 {
        let credential = format!("made-up {number}");
        let answer = if number % 2 == 0 { no() } else { answer(500, "") };
        world.learn(&credential, &answer);
        world.asks();
    }
    assert_eq!(world.known("alice"), Some(claims(r#"{"sub": "alice"}"#)));
    for (count, entries) in [
        (world.lookups.noes.borrow().sets.iter().map(Vec::len).sum::<usize>(), OTHER_SET_LEN_MAX * SET_COUNT),
        (world.lookups.faults.borrow().sets.iter().map(Vec::len).sum(), OTHER_SET_LEN_MAX * SET_COUNT),
    ] {
        assert!(count <= entries && count > entries / 2, "{count}");
    }
    assert_eq!(world.lookups.flights.borrow().len(), 0);
}

#[test]
fn good_credentials_are_kept_within_count_and_bytes() {
    for (len, kept_min) in [(2, 900), (10_000, 300), (16_000, 200)] {
        let mut world = World::new(Duration::from_secs(30));
        let body = format!("{{}}{}", " ".repeat(len - 2));
        for number in 0..5_000 {
            world.learn(&number.to_string(), &yes(&body));
            world.asks();
        }
        let sum = |kept: &Kept<Rc<[u8]>>| kept.sets.iter().flatten().map(|entry| entry.value.len()).sum::<usize>();
        {
            let kept = world.lookups.claims.borrow();
            assert_eq!(kept.len, sum(&kept));
            assert!(kept.len <= CLAIMS_LEN_MAX && kept.len / len >= kept_min, "{len}: {}", kept.len / len);
            assert!(kept.sets.iter().all(|set| set.len() <= CLAIMS_SET_LEN_MAX));
        }
        // When they are over, and asked for, they are gone.
        world.elapse(30_000);
        for number in 0..5_000 {
            assert_eq!(
                world.lookups.claims.borrow_mut().get(&world.app.digest(number.to_string().as_bytes()), world.now),
                None
            );
        }
        assert_eq!(world.lookups.claims.borrow().len, 0);
    }
}

#[test]
fn of_a_set_the_one_that_was_used_last_stays() {
    let mut kept = Kept::<Rc<[u8]>>::default();
    let now = Moment::from_nanos(1);
    let digest = |number: u8| [&[0, number][..], &[0; 30]].concat().try_into().unwrap();
    for number in 0..4 {
        kept.put(digest(number), now, Duration::from_secs(1), vec![number].into());
    }
    assert!(kept.get(&digest(0), now).is_some());
    kept.put(digest(9), now, Duration::from_secs(1), vec![9].into());
    let there: Vec<u8> = (0..10).filter(|number| kept.get(&digest(*number), now).is_some()).collect();
    assert_eq!((there, kept.len), (vec![0, 2, 3, 9], 4));
    // The same again is no second entry.
    kept.put(digest(9), now, Duration::from_secs(1), vec![9; 5].into());
    assert_eq!(kept.len, 8);
}

#[test]
fn a_fault_is_logged_once_a_second() {
    let mut world = World::new(Duration::from_secs(30));
    let line = |world: &World, credential| world.learn(credential, &answer(302, "")).1;
    assert_eq!(line(&world, "a"), Some(("app".into(), Failure::Status(302))));
    assert_eq!(line(&world, "b"), None);
    world.elapse(999);
    assert_eq!(line(&world, "c"), None);
    world.elapse(1);
    assert_eq!(line(&world, "d"), Some(("app".into(), Failure::Status(302))));
    assert_eq!(world.learn("e", &yes("{}")).1, None);
}

#[test]
fn nothing_of_a_credential_or_of_claims_is_printed() {
    let world = World::new(Duration::from_secs(30));
    let known = world.know("hunter2");
    let Known::Asked(inquiry, flight) = &known else { panic!() };
    world.receive(*inquiry, &yes(r#"{"sub": "hunter2"}"#));
    let printed = format!("{known:?} {flight:?} {:?} {:?}", world.lookups, world.inquiries);
    assert!(!printed.contains("hunter2"), "{printed}");
}
