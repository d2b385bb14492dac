//! How many may come and how much they may send: over the streams of a worker, the workers of a proxy, the proxies of a fleet.

use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf;
use portcullis_host_tests::scenario::{
    Gate, limited_policy, limited_policy_with, policy_with, switching_protocols, token_with, upgrade,
};
use portcullis_host_tests::{Headers, Profile, Replies, StreamId, frame};
use prost::Message;
use serde_json::{Value, json};

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

#[track_caller]
fn check_retry_after(gate: &Gate, stream: StreamId, seconds: u64) {
    let reply = gate.stream(stream).reply.as_ref().expect("a reply");
    assert_eq!(reply.headers.value("retry-after"), Some(seconds.to_string().as_str()));
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

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 33) as usize % bound
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
        check_retry_after(gate, stream, 1);
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
    check_retry_after(&gate, stream, 3);
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
    for _ in 0..3 {
        // Nothing was tried.
        let stream = gate.request(&upgrade().without("authorization"));
        gate.check_refused(stream, 401, "credential_missing");
    }
    for _ in 0..3 {
        let stream = gate.request(&upgrade().replaced("authorization", "Bearer a.b.c"));
        gate.check_refused(stream, 401, "credential_invalid");
    }
    let stream = other.request(&upgrade());
    other.check_refused(stream, 429, "handshakes_exceeded");
    check_retry_after(&other, stream, 300);
    other.elapse(Duration::from_secs(299));
    let stream = other.request(&upgrade());
    other.check_refused(stream, 429, "handshakes_exceeded");
    other.elapse(Duration::from_secs(1));
    other.connect();
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

/// Limits of a fleet, and no others.
fn fleet(global: Value) -> Value {
    let mut policy = policy_with(json!({"limits": {"global": {"cluster": "ratelimit", "domain": "portcullis"}}}));
    global.as_object().expect("an object").iter().for_each(|(key, value)| {
        policy["limits"]["global"][key] = value.clone();
    });
    policy
}

fn answer(code: Code, until_reset: Option<i64>) -> Vec<u8> {
    let duration_until_reset = until_reset.map(|seconds| protobuf::Duration { seconds, nanos: 0 });
    let status = DescriptorStatus { code: code.into(), duration_until_reset, ..DescriptorStatus::default() };
    RateLimitResponse { overall_code: code.into(), statuses: vec![status], ..RateLimitResponse::default() }
        .encode_to_vec()
}

/// A handshake whose question waits, and the token of that.
#[track_caller]
fn ask(gate: &mut Gate) -> (StreamId, u32) {
    let asked = gate.grpc_calls().len();
    let stream = gate.request(&upgrade());
    let flow = &gate.stream(stream).request;
    assert!(flow.begun && !flow.passed && gate.stream(stream).is_open(), "it does not wait");
    assert_eq!(gate.grpc_calls().len(), asked + 1);
    (stream, gate.grpc_calls()[asked].token)
}

#[test]
fn an_upgrade_waits_until_the_fleet_lets_it_in() {
    for replies in [Replies::Deferred, Replies::Reentrant] {
        let policy = fleet(json!({"on_error": "refuse", "timeout": "2s"}));
        let mut gate = Gate::on(Profile { replies, ..Profile::default() }, &policy);
        let (stream, token) = ask(&mut gate);
        let call = gate.grpc_calls()[0].clone();
        assert_eq!(call.method, "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
        assert_eq!((call.root, call.timeout), (1, Duration::from_secs(2)));
        let request = RateLimitRequest::decode(&*call.message).expect("a request");
        let entries = request
            .descriptors
            .iter()
            .map(|descriptor| descriptor.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect::<Vec<_>>());
        assert_eq!(
            entries.collect::<Vec<_>>(),
            [[("remote_address", "203.0.113.7")], [("subject", "corp/alice")]].map(Vec::from)
        );
        assert_eq!((&*request.domain, request.hits_addend), ("portcullis", 1));

        gate.elapse(Duration::from_secs(2));
        assert!(!gate.stream(stream).request.passed, "it went on without an answer");
        gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
        assert!(gate.stream(stream).request.passed);
        gate.respond(stream, &switching_protocols());
        let hello = frame::client(frame::TEXT, b"hello");
        gate.client(stream, &hello);
        assert_eq!(gate.stream(stream).request.forwarded, hello);
        // It was answered already.
        gate.grpc_receive(token, &answer(Code::OverLimit, None)).unwrap();
        gate.grpc_close(token, 14).unwrap();
        assert!(gate.stream(stream).is_open());
        gate.check_manners();
    }
}

#[test]
fn the_fleet_refuses_and_says_until_when() {
    for replies in [Replies::Deferred, Replies::Reentrant] {
        for (until_reset, retry_after) in [(Some(7), 7), (None, 1)] {
            let mut gate = Gate::on(Profile { replies, ..Profile::default() }, &fleet(json!({"on_error": "allow"})));
            let (stream, token) = ask(&mut gate);
            gate.grpc_receive(token, &answer(Code::OverLimit, until_reset)).unwrap();
            gate.check_refused(stream, 429, "handshakes_exceeded");
            check_retry_after(&gate, stream, retry_after);
            gate.delete(stream).unwrap();
            assert_eq!(gate.metric("portcullis.handshakes.handshakes_exceeded"), 1);
            gate.check_manners();
        }
    }
}

/// In place of an answer.
type Failure = (&'static str, fn(&mut Gate, u32));

#[test]
fn without_an_answer_the_policy_decides() {
    let failures: [Failure; 5] = [
        ("a failed call", |gate, token| gate.grpc_close(token, 14).unwrap()),
        ("a call that ended well, without an answer", |gate, token| gate.grpc_close(token, 0).unwrap()),
        ("an empty answer", |gate, token| gate.grpc_receive(token, b"").unwrap()),
        ("an answer that is none", |gate, token| gate.grpc_receive(token, &[0xff; 100]).unwrap()),
        ("a long one", |gate, token| {
            let long = [answer(Code::Ok, None), vec![0x52; 2], vec![0; 70_000]].concat();
            gate.grpc_receive(token, &long).unwrap();
        }),
    ];
    for (name, fail) in failures {
        for on_error in ["allow", "refuse"] {
            let mut gate = Gate::new(&fleet(json!({"on_error": on_error})));
            let (stream, token) = ask(&mut gate);
            fail(&mut gate, token);
            if on_error == "allow" {
                assert!(gate.stream(stream).request.passed, "{name}: {:?}", gate.stream(stream).reply);
            } else {
                gate.check_refused(stream, 429, "handshakes_exceeded");
            }
            gate.check_manners();
        }
    }
}

#[test]
fn a_service_that_is_not_there_is_an_error_at_once() {
    for on_error in ["allow", "refuse"] {
        let mut gate = Gate::new(&fleet(json!({"cluster": "elsewhere", "on_error": on_error})));
        let stream = gate.request(&upgrade());
        assert_eq!(gate.stream(stream).request.passed, on_error == "allow");
        if on_error == "refuse" {
            gate.check_refused(stream, 429, "handshakes_exceeded");
        } else {
            gate.respond(stream, &switching_protocols());
            assert!(gate.stream(stream).response.passed);
        }
        gate.check_manners();
    }
}

/// By the call's timeout, and half a second more for the host's own timer.
#[test]
fn a_question_that_the_host_forgets_has_failed() {
    let cases =
        [Replies::Deferred, Replies::Reentrant].map(|replies| ["allow", "refuse"].map(|on_error| (replies, on_error)));
    for (replies, on_error) in cases.into_iter().flatten() {
        let policy = fleet(json!({"on_error": on_error, "timeout": "40s"}));
        let mut gate = Gate::on(Profile { replies, ..Profile::default() }, &policy);
        let (stream, token) = ask(&mut gate);
        gate.elapse(Duration::from_millis(40_400));
        assert!(!gate.stream(stream).request.passed && gate.stream(stream).is_open(), "{on_error}: too early");
        gate.elapse(Duration::from_millis(200));
        let late = if on_error == "allow" {
            assert!(gate.stream(stream).request.passed, "it waits for ever");
            gate.respond(stream, &switching_protocols());
            Code::OverLimit
        } else {
            gate.check_refused(stream, 429, "handshakes_exceeded");
            Code::Ok
        };
        // It comes after all.
        gate.grpc_receive(token, &answer(late, None)).unwrap();
        gate.grpc_close(token, 14).unwrap();
        let hello = frame::client(frame::TEXT, b"hello");
        if on_error == "allow" {
            gate.client(stream, &hello);
            assert_eq!(gate.stream(stream).request.forwarded, hello);
            assert!(gate.stream(stream).is_open());
        } else {
            gate.check_refused(stream, 429, "handshakes_exceeded");
            assert_eq!(gate.metric("portcullis.handshakes.handshakes_exceeded"), 1);
        }
        gate.check_manners();
    }
}

#[test]
fn an_answer_for_a_stream_that_is_gone_does_nothing() {
    let mut policy = fleet(json!({"on_error": "allow"}));
    policy["limits"]["per_subject"] = json!({"connections": 10});
    let mut gate = Gate::new(&policy);
    for end in ["proxy_on_done", "proxy_on_delete"] {
        let (stream, token) = ask(&mut gate);
        assert_eq!(gate.counted(), 1);
        gate.call(end, stream.0, &[]).unwrap();
        assert_eq!(gate.counted(), 0);
        gate.delete(stream).unwrap();
        gate.grpc_receive(token, &answer(Code::OverLimit, None)).unwrap();
        assert!(gate.stream(stream).reply.is_none());
        let (stream, token) = ask(&mut gate);
        gate.delete(stream).unwrap();
        gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
        assert!(!gate.stream(stream).request.passed);
    }
    gate.grpc_close(4_711, 14).unwrap();
    assert_eq!(gate.counted(), 0);
    gate.check_manners();
}

#[test]
fn bytes_that_come_while_an_upgrade_waits_are_refused_behind_it() {
    let mut gate = Gate::new(&fleet(json!({"on_error": "refuse"})));
    let (stream, token) = ask(&mut gate);
    gate.client(stream, &frame::client(frame::TEXT, b"too early"));
    assert!(gate.stream(stream).reply.is_none());
    gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
    let reply = gate.stream(stream).reply.as_ref().expect("a reply");
    assert_eq!((reply.status, &*reply.details), (400, "portcullis_bad_upgrade"));
    assert_eq!(gate.stream(stream).request.forwarded, b"");
    gate.check_manners();
}

#[test]
fn monitoring_lets_in_whom_the_fleet_refuses() {
    let mut policy = fleet(json!({"on_error": "refuse"}));
    policy["mode"] = "monitor".into();
    let mut gate = Gate::new(&policy);
    let (stream, token) = ask(&mut gate);
    gate.grpc_receive(token, &answer(Code::OverLimit, None)).unwrap();
    assert!(gate.stream(stream).request.passed);
    assert_eq!(gate.metric("portcullis.would_refuse.handshakes_exceeded"), 1);
}

/// A connection that the fleet has let in, under a policy that asks for ten messages at once.
#[track_caller]
fn connect(gate: &mut Gate) -> StreamId {
    let (stream, token) = ask(gate);
    gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
    gate.respond(stream, &switching_protocols());
    stream
}

/// Sends messages until one is refused; tells how many went on.
#[track_caller]
fn send(gate: &mut Gate, stream: StreamId, count: usize) -> usize {
    let hello = frame::client(frame::TEXT, b"hello");
    let before = gate.stream(stream).request.forwarded.len();
    (0..count).for_each(|_| _ = gate.client(stream, &hello));
    let passed = &gate.stream(stream).request.forwarded[before..];
    passed.chunks(hello.len()).take_while(|chunk| *chunk == hello).count()
}

fn batches(on_error: &str) -> Value {
    fleet(json!({"on_error": on_error, "message_batch": 10}))
}

/// The last question, which is about messages.
#[track_caller]
fn asked_last(gate: &Gate) -> u32 {
    let call = gate.grpc_calls().last().expect("a call");
    let request = RateLimitRequest::decode(&*call.message).expect("a request");
    let entries: Vec<_> = request.descriptors[0].entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
    assert_eq!(entries, [("subject", "corp/alice"), ("message_type", "")]);
    assert_eq!((request.descriptors.len(), request.hits_addend), (1, 10));
    call.token
}

#[track_caller]
fn check_closed(gate: &Gate, stream: StreamId) {
    let closed = frame::close_at_end(&gate.stream(stream).response.forwarded);
    assert_eq!(closed, Some((1008, "rate_exceeded".to_owned())));
}

#[test]
fn messages_are_asked_for_in_batches_ahead_of_their_use() {
    let mut gate = Gate::new(&batches("refuse"));
    let [one, other] = [connect(&mut gate), connect(&mut gate)];
    for number in 0..1_000 {
        // Both are one subject's.
        let stream = if number % 2 == 0 { one } else { other };
        assert_eq!(send(&mut gate, stream, 1), 1, "message {number}");
        if gate.grpc_calls().last().is_some_and(|call| call.waits) {
            let token = asked_last(&gate);
            gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
        }
    }
    let calls = gate.grpc_calls().len() - 2;
    println!("{calls} calls for 1,000 messages in batches of 10");
    assert!((100..=101).contains(&calls), "{calls} calls");
}

#[test]
fn until_the_fleet_answers_messages_go_on_credit() {
    for on_error in ["refuse", "allow"] {
        let mut gate = Gate::new(&batches(on_error));
        let stream = connect(&mut gate);
        assert_eq!(send(&mut gate, stream, 25), 25);
        assert_eq!(gate.grpc_calls().len(), 2, "one question at a time");
    }
}

#[test]
fn a_fleet_that_has_no_more_messages_ends_the_connection() {
    let mut gate = Gate::new(&batches("allow"));
    let stream = connect(&mut gate);
    assert_eq!(send(&mut gate, stream, 1), 1);
    let token = asked_last(&gate);
    gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
    // Nine of the ten are left. With the fifth more are asked for.
    assert_eq!(send(&mut gate, stream, 5), 5);
    let token = asked_last(&gate);
    gate.grpc_receive(token, &answer(Code::OverLimit, Some(3_600))).unwrap();
    assert_eq!(send(&mut gate, stream, 20), 4);
    check_closed(&gate, stream);
    assert_eq!(gate.grpc_calls().len(), 3, "it was told not to ask");

    // A connection more of the same subject begins where the first one ended, while that is there.
    let other = connect(&mut gate);
    assert_eq!(send(&mut gate, other, 1), 0);
    check_closed(&gate, other);
}

#[test]
fn a_service_that_fails_is_not_asked_for_each_message() {
    for (on_error, passed) in [("refuse", 1), ("allow", 101)] {
        let mut gate = Gate::new(&batches(on_error));
        let stream = connect(&mut gate);
        assert_eq!(send(&mut gate, stream, 1), 1);
        let token = asked_last(&gate);
        gate.grpc_close(token, 14).unwrap();
        let mut sent = 1;
        for _ in 0..100 {
            sent += send(&mut gate, stream, 1);
            if gate.grpc_calls().last().is_some_and(|call| call.waits) {
                let token = asked_last(&gate);
                gate.grpc_close(token, 14).unwrap();
            }
        }
        println!("{on_error}: {} questions about 100 messages", gate.grpc_calls().len() - 1);
        assert_eq!(sent, passed, "{on_error}");
        assert!(gate.grpc_calls().len() <= 13, "{on_error}: {} calls", gate.grpc_calls().len());
    }
}

#[test]
fn a_batch_that_the_host_forgets_has_failed() {
    for (on_error, passed) in [("refuse", 0), ("allow", 8)] {
        let mut gate = Gate::new(&batches(on_error));
        let stream = connect(&mut gate);
        assert_eq!(send(&mut gate, stream, 2), 2);
        let token = asked_last(&gate);
        gate.elapse(Duration::from_millis(700));
        // Two of the ten are spent already.
        assert_eq!(send(&mut gate, stream, 8), passed, "{on_error}");
        let asked = gate.grpc_calls().len();
        assert_eq!(asked, if on_error == "allow" { 3 } else { 2 }, "{on_error}: ahead of their use");
        // It comes after all.
        gate.grpc_receive(token, &answer(Code::OverLimit, None)).unwrap();
        assert_eq!(send(&mut gate, stream, 1), usize::from(on_error == "allow"));
        gate.check_manners();
    }
}

/// A plugin that is configured anew gets another root context, and the old one goes with its last stream. A subject that has streams
/// of both must not wait for an answer that was due to the old one.
#[test]
fn a_question_that_goes_with_its_root_is_asked_again() {
    let policy = batches("refuse");
    let mut gate = Gate::new(&policy);
    let old = connect(&mut gate);
    let root = gate.open_root().unwrap();
    assert_eq!(gate.configure_root(root, policy.to_string().as_bytes()), Ok(true));
    let new = gate.open_stream_of(root).unwrap();
    gate.request_headers(new, &upgrade(), false).unwrap();
    let token = gate.grpc_calls().last().expect("a question").token;
    gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
    gate.respond(new, &switching_protocols());

    assert_eq!(send(&mut gate, old, 1), 1);
    asked_last(&gate);
    gate.delete(old).unwrap();
    gate.call("proxy_on_delete", 1, &[]).unwrap();
    gate.elapse(Duration::from_secs(2));
    let asked = gate.grpc_calls().len();
    assert_eq!(send(&mut gate, new, 1), 1);
    assert_eq!(gate.grpc_calls().len(), asked + 1, "nobody asks any more");
    let token = asked_last(&gate);
    gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
    assert_eq!(send(&mut gate, new, 5), 5);
}

#[test]
fn messages_of_a_subject_are_counted_over_workers() {
    let per_subject = json!({"messages": {"per_second": 1, "burst": 80}});
    let policy = policy_with(json!({"limits": {"per_subject": per_subject}}));
    let mut one = Gate::new(&policy);
    let mut other = one.beside(&policy);
    let streams = [one.connect(), other.connect()];
    let passed = [send(&mut one, streams[0], 50), send(&mut other, streams[1], 50)];
    println!("of 80 messages: {passed:?}");
    assert_eq!(passed[0], 50);
    // What the first has leased and not used is a tenth at most.
    assert!((20..=30).contains(&passed[1]), "{passed:?}");
    check_closed(&other, streams[1]);
}

#[test]
fn a_message_beyond_its_rate_ends_the_connection_or_is_swallowed() {
    for on_excess in ["close", "drop"] {
        let mut gate = Gate::new(&limited_policy_with(json!({"limits": {"on_excess": on_excess}})));
        let stream = gate.connect();
        assert_eq!(send(&mut gate, stream, 45), 40, "{on_excess}");
        if on_excess == "close" {
            check_closed(&gate, stream);
            continue;
        }
        gate.elapse(Duration::from_secs(1));
        assert_eq!(send(&mut gate, stream, 25), 20);
        assert!(gate.stream(stream).is_open());
        gate.check_manners();
    }
}
