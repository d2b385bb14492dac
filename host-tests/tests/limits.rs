//! How many may come and how much they may send: over the streams of a worker, and the workers of a proxy.

use std::time::Duration;

use portcullis_host_tests::scenario::{
    Dice, Gate, limited_policy, limited_policy_with, policy_with, switching_protocols, token_with, upgrade,
};
use portcullis_host_tests::{Headers, Log, Profile, Replies, StreamId, frame};
use serde_json::{Value, json};

/// A token by its shape, `{"alg":"HS256"}`, and by nothing else.
const FORGED: &str = "Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln";

/// The upgrade of another subject.
fn upgrade_of(subject: &str) -> Headers {
    upgrade().replaced("authorization", format!("Bearer {}", token_with(json!({"sub": subject}))))
}

fn no_101() -> Headers {
    Headers::from_iter([(":status", "503")])
}

fn wrong_101() -> Headers {
    switching_protocols().without("sec-websocket-accept")
}

/// A stream, and whether it is counted before it ends.
type Ending = (&'static str, bool, fn(&mut Gate) -> StreamId);

const ENDINGS: [Ending; 11] = [
    ("no callback but the first", false, |gate| gate.open_stream().unwrap()),
    ("refused before it is counted", false, |gate| gate.request(&upgrade().without("origin"))),
    ("refused when its address is counted", false, |gate| gate.request(&upgrade().without("authorization"))),
    ("not an upgrade", false, |gate| gate.request(&upgrade().without("upgrade").without("sec-websocket-key"))),
    ("the client leaves before the answer", true, |gate| gate.request(&upgrade())),
    ("the upstream refuses", false, |gate| {
        let stream = gate.request(&upgrade());
        gate.respond(stream, &no_101());
        stream
    }),
    ("the upstream's 101 is wrong", false, |gate| {
        let stream = gate.request(&upgrade());
        gate.respond(stream, &wrong_101());
        stream
    }),
    ("bytes before the answer", false, |gate| {
        let stream = gate.request(&upgrade());
        gate.client(stream, b"early");
        stream
    }),
    ("the client leaves", true, Gate::connect),
    ("a violation", true, |gate| {
        let stream = gate.connect();
        gate.client(stream, b"\xff\xff");
        stream
    }),
    ("a reset", false, |gate| {
        let stream = gate.connect();
        gate.client(stream, b"\xff\xff");
        gate.elapse(Duration::from_secs(6));
        stream
    }),
];

#[test]
fn a_place_comes_back_once_whatever_ends_a_stream() {
    for replies in [Replies::Deferred, Replies::Reentrant] {
        let mut gate = Gate::on(Profile { replies, ..Profile::default() }, &limited_policy());
        for (name, is_counted, run) in ENDINGS {
            for callbacks in [&["proxy_on_done"][..], &["proxy_on_delete"], &["proxy_on_done", "proxy_on_delete"]] {
                // Twenty handshakes are allowed at once, and five a second.
                gate.elapse(Duration::from_secs(1));
                let bystander = gate.connect();
                let stream = run(&mut gate);
                assert_eq!(gate.counted(), 2 + 2 * u32::from(is_counted), "{replies:?}, {name}, before its end");
                for _ in 0..2 {
                    callbacks.iter().for_each(|callback| _ = gate.call(callback, stream.0, &[]).unwrap());
                    assert_eq!(gate.counted(), 2, "{replies:?}, {name}, {callbacks:?}");
                }
                gate.delete(stream).unwrap();
                gate.delete(bystander).unwrap();
                assert_eq!(gate.counted(), 0, "{replies:?}, {name}, {callbacks:?}");
            }
        }
    }
}

/// Whether a stream should have its places now.
fn has_places(gate: &Gate, stream: StreamId) -> bool {
    let stream = gate.stream(stream);
    let refuses = stream.response.begun && stream.response.headers.value(":status") != Some("101");
    stream.request.passed && stream.is_open() && !refuses
}

#[test]
fn no_place_is_lost_or_doubled_in_a_thousand_lives() {
    for (seed, replies) in [(1, Replies::Deferred), (2, Replies::Reentrant)] {
        let mut dice = Dice(seed);
        let limits = json!({
            "per_address": {"connections": 6, "handshakes": null, "failures": null}, "per_subject": {"connections": 4},
        });
        let policy = limited_policy_with(json!({"limits": limits}));
        let first = Gate::on(Profile { replies, ..Profile::default() }, &policy);
        let second = first.beside(&policy);
        let mut workers = [first, second];
        let mut open: Vec<(usize, StreamId)> = Vec::new();
        let (mut lives, mut accepted, mut refused) = (0, 0, 0);
        while lives < 500 || !open.is_empty() {
            if lives < 500 && dice.below(8) == 0 {
                let worker = dice.below(2);
                let gate = &mut workers[worker];
                gate.property("source.address", Some([&b"203.0.113.7:1"[..], b"203.0.113.8:2"][dice.below(2)]));
                let head = match dice.below(8) {
                    0 => upgrade().without("authorization"),
                    1 => upgrade().without("origin"),
                    number => upgrade_of(["alice", "bob", "carol"][number % 3]),
                };
                open.push((worker, gate.request(&head)));
                lives += 1;
            } else if !open.is_empty() {
                let index = dice.below(open.len());
                let (worker, stream) = open[index];
                let gate = &mut workers[worker];
                let is_live = gate.stream(stream).response.begun;
                match dice.below(12) {
                    0..6 if gate.stream(stream).request.passed && !gate.stream(stream).response.begun => {
                        let answer = [switching_protocols(), switching_protocols(), no_101(), wrong_101()]
                            [dice.below(4)]
                        .clone();
                        gate.respond(stream, &answer);
                        accepted += u32::from(gate.stream(stream).response.passed && answer == switching_protocols());
                    }
                    6 if is_live || dice.below(4) == 0 => {
                        _ = gate.client(stream, &frame::client(frame::TEXT, b"hello"));
                    }
                    7 if dice.below(2) == 0 => _ = gate.client(stream, b"\xff"),
                    8 => gate.elapse(Duration::from_millis(600)),
                    9 => {
                        refused += u32::from(gate.stream(stream).reply.is_some());
                        gate.delete(stream).unwrap();
                        open.swap_remove(index);
                    }
                    10 => {
                        let callback = ["proxy_on_done", "proxy_on_delete"][dice.below(2)];
                        gate.call(callback, stream.0, &[]).unwrap();
                        gate.delete(stream).unwrap();
                        open.swap_remove(index);
                    }
                    _ => {}
                }
            }
            // Both beat, and both are seen to.
            workers.iter_mut().for_each(|gate| gate.tick().unwrap());
            if dice.below(40) == 0 || open.is_empty() {
                let expected = open.iter().filter(|(worker, stream)| has_places(&workers[*worker], *stream)).count();
                assert_eq!(workers[0].counted() as usize, 2 * expected, "seed {seed}, after {lives} lives");
            }
        }
        println!("{replies:?}: {lives} lives, {accepted} accepted, {refused} refused");
        assert!(accepted > 30 && refused > 30, "the dice are loaded");
        assert_eq!(workers[0].counted(), 0);
        // As many as ever fit in, and no more.
        workers[1].property("source.address", Some(b"203.0.113.7:1"));
        for number in 0..6 {
            let stream = workers[1].request(&upgrade_of(&format!("subject {number}")));
            assert!(workers[1].stream(stream).request.passed, "number {number} is refused");
        }
        let stream = workers[1].request(&upgrade_of("another"));
        workers[1].check_refused(stream, 429, "connections_exceeded");
        workers.iter().for_each(Gate::check_manners);
    }
}

#[test]
fn workers_count_together() {
    let policy = limited_policy_with(json!({"limits": {"per_subject": {"connections": 3}}}));
    let mut one = Gate::new(&policy);
    let mut other = one.beside(&policy);
    let streams = [one.connect(), one.connect()];
    other.connect();
    for gate in [&mut one, &mut other] {
        let stream = gate.request(&upgrade());
        gate.check_refused(stream, 429, "connections_exceeded");
        gate.check_retry_after(stream, 1);
        // Somebody else is not concerned.
        let stream = gate.request(&upgrade_of("bob"));
        assert!(gate.stream(stream).request.passed);
    }
    one.delete(streams[0]).unwrap();
    other.connect();
    let stream = one.request(&upgrade());
    one.check_refused(stream, 429, "connections_exceeded");
}

#[test]
fn connections_of_all_are_limited_too() {
    let policy = limited_policy_with(json!({"limits": {"connections": 2}}));
    let mut gate = Gate::new(&policy);
    let mut other = gate.beside(&policy);
    let stream = gate.connect();
    other.property("source.address", Some(b"198.51.100.1:1"));
    let second = other.request(&upgrade_of("bob"));
    assert!(other.stream(second).request.passed);
    let third = other.request(&upgrade_of("carol"));
    other.check_refused(third, 429, "connections_exceeded");
    gate.delete(stream).unwrap();
    let third = other.request(&upgrade_of("carol"));
    assert!(other.stream(third).request.passed);
}

#[test]
fn who_comes_too_often_is_told_when_to_come_again() {
    let handshakes = json!({"per_second": 0.5, "burst": 2});
    let mut gate = Gate::new(&limited_policy_with(json!({"limits": {"per_address": {"handshakes": handshakes}}})));
    gate.connect();
    gate.connect();
    let stream = gate.request(&upgrade());
    gate.check_refused(stream, 429, "handshakes_exceeded");
    gate.check_retry_after(stream, 3);
    assert_eq!(gate.metric("portcullis.handshakes.handshakes_exceeded"), 1);
    gate.property("source.address", Some(b"198.51.100.1:1"));
    gate.connect();
    gate.property("source.address", Some(b"203.0.113.7:2"));
    gate.elapse(Duration::from_secs(3));
    gate.connect();
}

#[test]
fn who_fails_too_often_is_banned_in_every_worker() {
    let failures = json!({"count": 3, "window": "60s", "ban": "5m"});
    let policy = limited_policy_with(json!({"limits": {"per_address": {"failures": failures}}}));
    let mut gate = Gate::new(&policy);
    let mut other = gate.beside(&policy);
    let expired = json!({"exp": 1});
    // What honest clients come with, and what any page makes its visitors do.
    let harmless = [
        (upgrade().without("authorization"), 401, "credential_missing"),
        (upgrade().replaced("authorization", format!("Bearer {}", token_with(expired))), 401, "credential_expired"),
        (upgrade().without("origin"), 403, "origin_refused"),
        (upgrade().replaced("origin", "https://evil.example"), 403, "origin_refused"),
        (upgrade().replaced("origin", "https://evil.example").replaced("authorization", FORGED), 403, "origin_refused"),
    ];
    for (head, status, reason) in &harmless {
        for _ in 0..4 {
            let stream = gate.request(head);
            gate.check_refused(stream, *status, reason);
            gate.elapse(Duration::from_secs(1));
        }
    }
    for _ in 0..3 {
        let stream = gate.request(&upgrade().replaced("authorization", FORGED));
        gate.check_refused(stream, 401, "credential_invalid");
    }
    let stream = other.request(&upgrade());
    other.check_refused(stream, 429, "banned");
    other.check_retry_after(stream, 300);
    assert_eq!(other.metric("portcullis.handshakes.banned"), 1);
    assert_eq!(other.metric("portcullis.handshakes.handshakes_exceeded"), 0);
    other.elapse(Duration::from_secs(299));
    let stream = other.request(&upgrade());
    other.check_refused(stream, 429, "banned");
    other.elapse(Duration::from_secs(1));
    other.connect();
}

#[test]
fn a_new_policy_shortens_and_lifts_bans() {
    let with = |failures: Value| limited_policy_with(json!({"limits": {"per_address": {"failures": failures}}}));
    let mut gate = Gate::new(&with(json!({"count": 3, "window": "60s", "ban": "5m"})));
    for _ in 0..3 {
        let stream = gate.request(&upgrade().replaced("authorization", FORGED));
        gate.check_refused(stream, 401, "credential_invalid");
    }
    for (failures, wait) in [
        (json!({"ban": "5m"}), Some(300)),
        (json!({"ban": "1h"}), Some(300)),
        (json!({"ban": "30s"}), Some(30)),
        (Value::Null, None),
        (json!({"ban": "5m"}), Some(300)),
    ] {
        assert!(gate.reconfigure(&with(failures.clone())), "{failures}");
        match wait {
            Some(seconds) => {
                let stream = gate.request(&upgrade());
                gate.check_refused(stream, 429, "banned");
                gate.check_retry_after(stream, seconds);
            }
            None => _ = gate.connect(),
        }
    }
}

/// A beat a second: after six of others that a worker has missed, what it had is forgotten.
#[test]
fn a_worker_that_stands_still_is_forgotten_and_the_others_restore_what_they_have() {
    let policy = limited_policy_with(json!({
        "limits": {"per_address": {"connections": 3}, "per_subject": {"connections": 3}},
        "liveness": {"ping_interval": "0s"},
    }));
    let mut still = Gate::new(&policy);
    let mut alive = still.beside(&policy);
    let lost = [still.connect(), still.connect()];
    let kept = alive.connect();
    for _ in 0..3 {
        still.advance(Duration::from_secs(1));
        still.tick().unwrap();
        alive.tick().unwrap();
    }
    assert_eq!(alive.counted(), 6);
    for beat in 1..=6 {
        assert_eq!(alive.counted(), 6, "before beat {beat}");
        let stream = alive.request(&upgrade());
        alive.check_refused(stream, 429, "connections_exceeded");
        alive.elapse(Duration::from_secs(1));
    }
    assert_eq!(alive.counted(), 2);
    let others = [alive.connect(), alive.connect()];
    let stream = alive.request(&upgrade());
    alive.check_refused(stream, 429, "connections_exceeded");

    // It was only slow: what it has is there again, whatever the limit is.
    still.elapse(Duration::from_secs(1));
    assert_eq!(alive.counted(), 10);
    let stream = alive.request(&upgrade());
    alive.check_refused(stream, 429, "connections_exceeded");
    lost.into_iter().for_each(|stream| still.delete(stream).unwrap());
    assert_eq!(alive.counted(), 6);
    alive.tick().unwrap();
    [kept, others[0], others[1]].into_iter().for_each(|stream| alive.delete(stream).unwrap());
    assert_eq!(alive.counted(), 0);
}

/// Its places are free when the others have counted theirs again, and not before.
#[test]
fn nobody_is_one_too_many_while_a_lost_worker_is_found_out() {
    let policy = limited_policy_with(json!({
        "limits": {"per_address": {"connections": 5, "handshakes": null}, "per_subject": {"connections": 5}},
        "liveness": {"ping_interval": "0s"},
    }));
    let mut lost = Gate::new(&policy);
    let mut others = [lost.beside(&policy), lost.beside(&policy)];
    lost.connect();
    others.iter_mut().for_each(|gate| _ = [gate.connect(), gate.connect()]);
    let (mut admitted, mut admitted_after) = (0, None);
    for half_second in 1..=24 {
        let gate = &mut others[half_second % 2];
        gate.advance(Duration::from_millis(500));
        gate.tick().unwrap();
        for gate in &mut others {
            let stream = gate.request(&upgrade());
            if gate.stream(stream).request.passed {
                admitted += 1;
                admitted_after = admitted_after.or(Some(half_second));
            } else {
                gate.check_refused(stream, 429, "connections_exceeded");
            }
        }
        assert!(admitted <= 1, "{admitted} were admitted for one that is gone, after {half_second} half seconds");
    }
    println!("admitted after {admitted_after:?} half seconds");
    // A beat in which it is seen, six that it misses, and one in which the other is heard.
    assert!(admitted_after.is_some_and(|half_seconds| (12..=18).contains(&half_seconds)), "{admitted_after:?}");
    assert_eq!(others[0].counted(), 10);
}

/// How many are counted again in one callback (`RESTORED_MAX` in `filter/src/limiter.rs`).
const RESTORED_MAX: u64 = 64;

/// And whoever comes or goes in between is judged and counted as ever, whether his turn has been or not.
#[test]
fn those_that_are_counted_again_have_their_turn_a_few_at_a_time() {
    let policy = limited_policy_with(json!({
        "limits": {"per_address": {"connections": 2, "handshakes": null, "failures": null}, "per_subject": null},
        "liveness": {"ping_interval": "0s"},
    }));
    let mut lost = Gate::new(&policy);
    let mut alive = lost.beside(&policy);
    let come_from = |gate: &mut Gate, number| {
        gate.property("source.address", Some(format!("198.51.100.{number}:1").as_bytes()));
        gate.request(&upgrade())
    };
    lost.connect();
    let first: Vec<_> = (0..200).map(|number| come_from(&mut alive, number)).collect();
    assert_eq!(alive.counted(), 201);
    // A tick, and how many values it has changed.
    let tick = |gate: &mut Gate| {
        let before = gate.calls("proxy_set_shared_data");
        let period = gate.tick_period();
        gate.advance(period);
        gate.tick().unwrap();
        gate.calls("proxy_set_shared_data") - before
    };
    let (usual, begin) = (alive.tick_period(), alive.now_seconds());
    while alive.tick_period() == usual {
        assert!(tick(&mut alive) <= 1 + RESTORED_MAX);
        assert!(alive.now_seconds() < begin + 10, "nobody is missed");
    }
    assert_eq!(u64::from(alive.counted()), RESTORED_MAX);
    let second: Vec<_> = (0..200).map(|number| come_from(&mut alive, number)).collect();
    for (number, stream) in second.iter().enumerate() {
        assert!(alive.stream(*stream).request.passed, "{number} has one connection");
        let third = come_from(&mut alive, number);
        alive.check_refused(third, 429, "connections_exceeded");
    }
    // A third keep both, a third one, and a third none.
    first.iter().zip(&second).enumerate().for_each(|(number, (first, second))| {
        let leaving = [*first, *second];
        leaving.into_iter().take(number % 3).for_each(|stream| alive.delete(stream).unwrap());
    });
    // The first of four turns has been.
    for turn in 2..=4 {
        assert!(alive.tick_period() < usual, "before turn {turn}");
        assert!(tick(&mut alive) <= 1 + RESTORED_MAX, "turn {turn}");
    }
    assert_eq!(alive.tick_period(), usual);
    let kept: usize = (0..200).map(|number| 2 - number % 3).sum();
    assert_eq!(alive.counted() as usize, kept);
    alive.elapse(Duration::from_secs(2));
    for number in 0..200 {
        let tries = [(); 3].map(|()| come_from(&mut alive, number));
        let passed = tries.iter().filter(|stream| alive.stream(**stream).request.passed).count();
        assert_eq!(passed, number % 3, "of {number}");
    }
    assert_eq!(alive.counted(), 400);
}

#[test]
fn messages_of_a_subject_are_counted_over_workers() {
    let per_subject = json!({"messages": {"per_second": 1, "burst": 80}});
    let policy = policy_with(json!({"limits": {"per_subject": per_subject}}));
    let mut one = Gate::new(&policy);
    let mut other = one.beside(&policy);
    let streams = [one.connect(), other.connect()];
    let passed = [one.send(streams[0], 50), other.send(streams[1], 50)];
    println!("of 80 messages: {passed:?}");
    assert_eq!(passed[0], 50);
    // What the first has leased and not used is a tenth at most.
    assert!((20..=30).contains(&passed[1]), "{passed:?}");
    other.check_closed(streams[1], 1008, "rate_exceeded");
}

#[test]
fn a_message_beyond_its_rate_ends_the_connection_or_is_swallowed() {
    for on_excess in ["close", "drop"] {
        let mut gate = Gate::new(&limited_policy_with(json!({"limits": {"on_excess": on_excess}})));
        let stream = gate.connect();
        assert_eq!(gate.send(stream, 205), 200, "{on_excess}");
        if on_excess == "close" {
            gate.check_closed(stream, 1008, "rate_exceeded");
            continue;
        }
        gate.elapse(Duration::from_secs(1));
        assert_eq!(gate.send(stream, 60), 50);
        assert!(gate.stream(stream).is_open());
        // Each of them has a line, and counts.
        let told = |log: &&Log| {
            ["refused", "rate_exceeded", "limits.per_connection.messages"].iter().all(|word| log.text.contains(word))
        };
        assert_eq!(
            (gate.logs().iter().filter(told).count(), gate.metric("portcullis.refused.rate_exceeded")),
            (15, 15)
        );
        gate.check_manners();
    }
}
