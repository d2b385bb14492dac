//! What a fleet's rate limit service is asked, and what becomes of who waits for it. The test is the service.

use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf;
use portcullis_host_tests::scenario::{Gate, policy_with, switching_protocols, upgrade};
use portcullis_host_tests::{Profile, Replies, StreamId, frame};
use prost::Message;
use serde_json::{Value, json};

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
            gate.check_retry_after(stream, retry_after);
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

fn batches(on_error: &str) -> Value {
    fleet(json!({"on_error": on_error, "message_batch": 10}))
}

/// The last question, which is about messages.
#[track_caller]
fn asked_last(gate: &Gate) -> u32 {
    let (descriptors, hits_addend) = question(gate);
    assert_eq!(descriptors, ["subject=corp/alice message_type="]);
    assert_eq!(hits_addend, 10);
    gate.grpc_calls().last().expect("a call").token
}

/// What the last question is about, and how many times.
#[track_caller]
fn question(gate: &Gate) -> (Vec<String>, u32) {
    let call = gate.grpc_calls().last().expect("a call");
    let request = RateLimitRequest::decode(&*call.message).expect("a request");
    let descriptors = request.descriptors.iter().map(|descriptor| {
        let entries = descriptor.entries.iter().map(|entry| format!("{}={}", entry.key, entry.value));
        entries.collect::<Vec<_>>().join(" ")
    });
    (descriptors.collect(), request.hits_addend)
}

/// A client of IPv6 commonly has a whole prefix of addresses: a fleet counts them as one, as this Envoy does.
#[test]
fn a_fleet_counts_the_addresses_of_a_prefix_together() {
    let with_prefix = |prefix: u8| {
        let mut policy = batches("refuse");
        policy["auth"]["required"] = false.into();
        policy["limits"]["per_address"]["ipv6_prefix"] = prefix.into();
        policy
    };
    for (address, prefix, expected) in [
        ("203.0.113.7:4711", 64, "203.0.113.7"),
        ("[::ffff:203.0.113.7]:4711", 64, "203.0.113.7"),
        ("[2001:db8:1:2:3:4:5:6]:4711", 64, "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:4712", 64, "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:4712", 48, "2001:db8:1::/48"),
        ("[2001:db8:1:2::9]:4712", 128, "2001:db8:1:2::9"),
    ] {
        let mut gate = Gate::new(&with_prefix(prefix));
        gate.property("source.address", Some(address.as_bytes()));
        let stream = gate.request(&upgrade().without("authorization"));
        assert_eq!(question(&gate), (vec![format!("remote_address={expected}")], 1), "{address}");
        let token = gate.grpc_calls()[0].token;
        gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
        gate.respond(stream, &switching_protocols());
        assert_eq!(gate.send(stream, 1), 1);
        assert_eq!(question(&gate), (vec![format!("remote_address={expected} message_type=")], 10), "{address}");
    }
    // A connection that is up goes by the new policy.
    let mut gate = Gate::new(&with_prefix(64));
    gate.property("source.address", Some(b"[2001:db8:1:2::9]:1"));
    let stream = gate.request(&upgrade().without("authorization"));
    let token = gate.grpc_calls()[0].token;
    gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
    gate.respond(stream, &switching_protocols());
    assert!(gate.reconfigure(&with_prefix(48)));
    assert_eq!(gate.send(stream, 1), 1);
    assert_eq!(question(&gate).0, ["remote_address=2001:db8:1::/48 message_type="]);
}

#[test]
fn messages_are_asked_for_in_batches_ahead_of_their_use() {
    let mut gate = Gate::new(&batches("refuse"));
    let [one, other] = [connect(&mut gate), connect(&mut gate)];
    for number in 0..1_000 {
        // Both are one subject's.
        let stream = if number % 2 == 0 { one } else { other };
        assert_eq!(gate.send(stream, 1), 1, "message {number}");
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
        assert_eq!(gate.send(stream, 25), 25);
        assert_eq!(gate.grpc_calls().len(), 2, "one question at a time");
    }
}

#[test]
fn a_fleet_that_has_no_more_messages_ends_the_connection() {
    let mut gate = Gate::new(&batches("allow"));
    let stream = connect(&mut gate);
    assert_eq!(gate.send(stream, 1), 1);
    let token = asked_last(&gate);
    gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
    // Nine of the ten are left. With the fifth more are asked for.
    assert_eq!(gate.send(stream, 5), 5);
    let token = asked_last(&gate);
    gate.grpc_receive(token, &answer(Code::OverLimit, Some(3_600))).unwrap();
    assert_eq!(gate.send(stream, 20), 4);
    gate.check_closed(stream, 1008, "rate_exceeded");
    assert_eq!(gate.grpc_calls().len(), 3, "it was told not to ask");

    // A connection more of the same subject begins where the first one ended, while that is there.
    let other = connect(&mut gate);
    assert_eq!(gate.send(other, 1), 0);
    gate.check_closed(other, 1008, "rate_exceeded");
}

#[test]
fn a_service_that_fails_is_not_asked_for_each_message() {
    for (on_error, passed) in [("refuse", 1), ("allow", 101)] {
        let mut gate = Gate::new(&batches(on_error));
        let stream = connect(&mut gate);
        assert_eq!(gate.send(stream, 1), 1);
        let token = asked_last(&gate);
        gate.grpc_close(token, 14).unwrap();
        let mut sent = 1;
        for _ in 0..100 {
            sent += gate.send(stream, 1);
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
        assert_eq!(gate.send(stream, 2), 2);
        let token = asked_last(&gate);
        gate.elapse(Duration::from_millis(700));
        // Two of the ten are spent already.
        assert_eq!(gate.send(stream, 8), passed, "{on_error}");
        let asked = gate.grpc_calls().len();
        assert_eq!(asked, if on_error == "allow" { 3 } else { 2 }, "{on_error}: ahead of their use");
        // It comes after all.
        gate.grpc_receive(token, &answer(Code::OverLimit, None)).unwrap();
        assert_eq!(gate.send(stream, 1), usize::from(on_error == "allow"));
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

    assert_eq!(gate.send(old, 1), 1);
    asked_last(&gate);
    gate.delete(old).unwrap();
    gate.call("proxy_on_delete", 1, &[]).unwrap();
    gate.elapse(Duration::from_secs(2));
    let asked = gate.grpc_calls().len();
    assert_eq!(gate.send(new, 1), 1);
    assert_eq!(gate.grpc_calls().len(), asked + 1, "nobody asks any more");
    let token = asked_last(&gate);
    gate.grpc_receive(token, &answer(Code::Ok, None)).unwrap();
    assert_eq!(gate.send(new, 5), 5);
}
