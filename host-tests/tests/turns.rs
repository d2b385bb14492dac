//! Clients whose bytes wait, since judging takes long: in which order they go on, what ends them, what they hold.

use std::time::Duration;

use portcullis_host_tests::{
    StreamId, frame,
    scenario::{Gate, policy_with},
};
use serde_json::{Value, json};

/// So long takes what is judged between two looks at the clock: less than a turn.
const LABOUR: Duration = Duration::from_millis(3);

fn rules(changes: Value) -> Value {
    let bytes = json!({"per_second": 262_144, "burst": 1_048_576});
    let mut policy = policy_with(json!({
        "messages": {"from_client": {"json": {}}},
        "limits": {"per_address": null, "per_subject": null, "per_connection": {"messages": null, "bytes": bytes}},
    }));
    for (key, value) in changes.as_object().expect("an object") {
        policy[key] = value.clone();
    }
    policy
}

fn slow(policy: &Value) -> Gate {
    let mut gate = Gate::new(policy);
    gate.labour(LABOUR);
    gate
}

/// Messages that tell which they are.
fn messages(count: usize, len: usize) -> Vec<u8> {
    let message = |index: usize| format!("[{index}{}]", " ".repeat(len));
    (0..count).flat_map(|index| frame::client(frame::TEXT, message(index).as_bytes())).collect()
}

fn forwarded(gate: &Gate, stream: StreamId) -> &[u8] {
    &gate.stream(stream).request.forwarded
}

fn settle(gate: &mut Gate) {
    for _ in 0..2_000 {
        gate.elapse(Duration::from_millis(1));
    }
}

#[track_caller]
fn check_all(gate: &Gate, stream: StreamId, bytes: &[u8]) {
    assert!(forwarded(gate, stream) == bytes, "{} of {} bytes went on", forwarded(gate, stream).len(), bytes.len());
    assert!(gate.stream(stream).request.stranded.is_empty() && gate.stream(stream).is_open());
    gate.check_manners();
}

#[test]
fn a_burst_waits_and_goes_on_as_it_came() {
    let bytes = messages(100, 4_000);
    for chunk_len in [bytes.len(), 65_536, 10_000, 999] {
        let mut gate = slow(&rules(json!({})));
        let stream = gate.connect();
        bytes.chunks(chunk_len).for_each(|chunk| _ = gate.client(stream, chunk));
        assert!(forwarded(&gate, stream).len() < 20_000, "{chunk_len}");
        settle(&mut gate);
        check_all(&gate, stream, &bytes);
        // It streams again.
        let more = messages(3, 4_000);
        for _ in 0..3 {
            gate.client(stream, &more);
            settle(&mut gate);
        }
        check_all(&gate, stream, &[&bytes[..], &more.repeat(3)].concat());
    }
}

#[test]
fn those_who_took_least_are_first() {
    let mut gate = slow(&rules(json!({})));
    let [greedy, modest] = [gate.connect(), gate.connect()];
    let (many, few) = (messages(100, 4_000), messages(2, 1_000));
    gate.client(greedy, &many);
    gate.client(modest, &few);
    assert!(forwarded(&gate, modest).is_empty());
    while forwarded(&gate, modest).is_empty() {
        gate.elapse(Duration::from_millis(1));
    }
    assert!(forwarded(&gate, greedy).len() < 40_000);
    settle(&mut gate);
    check_all(&gate, greedy, &many);
    check_all(&gate, modest, &few);
}

#[test]
fn a_short_chunk_does_not_wait_for_others() {
    let mut gate = slow(&rules(json!({})));
    let [greedy, neighbour] = [gate.connect(), gate.connect()];
    gate.client(greedy, &messages(100, 4_000));
    let hello = frame::client(frame::TEXT, b"[]");
    gate.client(neighbour, &hello);
    assert_eq!(forwarded(&gate, neighbour), hello);
}

#[test]
fn what_waits_is_judged_like_all_else() {
    let mut gate = slow(&rules(json!({})));
    let stream = gate.connect();
    let good = messages(50, 4_000);
    let bytes = [&good[..], &frame::client(frame::TEXT, b"{"), &good].concat();
    gate.client(stream, &bytes);
    settle(&mut gate);
    let passed = forwarded(&gate, stream);
    assert!(passed.starts_with(&good) && passed.len() < good.len() + 40, "{}", passed.len());
    gate.check_closed(stream, 1007, "invalid_json");
    gate.check_manners();
}

#[test]
fn more_than_limits_allow_does_not_wait() {
    for (on_excess, code, reason) in [("close", 1008, "rate_exceeded"), ("drop", 1013, "overloaded")] {
        let mut policy = rules(json!({}));
        policy["limits"]["on_excess"] = json!(on_excess);
        let mut gate = slow(&policy);
        let stream = gate.connect();
        for _ in 0..20 {
            gate.client(stream, &messages(25, 4_000));
        }
        settle(&mut gate);
        gate.check_closed(stream, code, reason);
        assert!(forwarded(&gate, stream).len() < 100_000);
        gate.check_manners();
    }
}

#[test]
fn what_waits_is_held() {
    let mut policy = rules(json!({}));
    policy["limits"]["held_bytes"] = json!(16 << 20);
    let mut gate = slow(&policy);
    let bytes = messages(250, 4_000);
    let streams: Vec<_> = (0..12)
        .map(|_| {
            let stream = gate.connect();
            gate.client(stream, &bytes);
            stream
        })
        .collect();
    // Half of it is 8 MiB. A client that comes when nothing more may wait, and has nothing that does, is served at once.
    let served = |gate: &Gate| streams.iter().filter(|stream| forwarded(gate, **stream) == bytes).count();
    assert!((1..=5).contains(&served(&gate)), "{}", served(&gate));
    // One that has, and sends on, is refused.
    let waiting: Vec<_> = streams.iter().filter(|stream| forwarded(&gate, **stream) != bytes).copied().collect();
    waiting.iter().for_each(|stream| _ = gate.client(*stream, &messages(110, 4_000)));
    (0..20).for_each(|_| settle(&mut gate));
    let refused: Vec<_> = waiting.into_iter().filter(|stream| forwarded(&gate, *stream).len() < bytes.len()).collect();
    assert!(!refused.is_empty());
    refused.into_iter().for_each(|stream| gate.check_closed(stream, 1013, "overloaded"));
    gate.check_manners();
}

#[test]
fn an_end_comes_behind_what_waits() {
    for with_trailers in [false, true] {
        let mut gate = slow(&rules(json!({})));
        let stream = gate.connect();
        let bytes = messages(50, 4_000);
        gate.request_body(stream, &bytes, !with_trailers).expect("it runs");
        if with_trailers {
            assert_eq!(gate.request_trailers(stream), Ok(false));
        }
        assert!(forwarded(&gate, stream).is_empty());
        settle(&mut gate);
        // All at once: the host tells the end with the first.
        check_all(&gate, stream, &bytes);
    }
}

#[test]
fn what_waits_goes_with_its_stream() {
    let mut policy = rules(json!({}));
    policy["limits"]["held_bytes"] = json!(16 << 20);
    let mut gate = slow(&policy);
    for _ in 0..40 {
        let stream = gate.connect();
        gate.client(stream, &messages(250, 4_000));
        assert!(forwarded(&gate, stream).len() < 20_000, "nothing of it waits");
        gate.delete(stream).expect("it ends");
    }
    settle(&mut gate);
    gate.check_manners();
}

#[test]
fn what_waits_goes_by_the_policy_of_its_turn() {
    let refusing = json!({"json": {"schema": {"maxItems": 0}}});
    let cases: [(Value, Option<&str>); 3] = [
        (json!({"messages": {"from_client": refusing}}), Some("schema_refused")),
        (json!({"messages": {"from_client": refusing}, "mode": "monitor"}), None),
        (json!({"messages": {}}), None),
    ];
    for (changes, reason) in cases {
        let mut gate = slow(&rules(json!({})));
        let stream = gate.connect();
        let bytes = messages(50, 4_000);
        gate.client(stream, &bytes);
        assert!(gate.reconfigure(&rules(changes.clone())), "{:?}", gate.logs());
        gate.connect();
        settle(&mut gate);
        match reason {
            Some(reason) => {
                gate.check_closed(stream, 1008, reason);
                assert!(forwarded(&gate, stream).len() < 40_000, "{changes}");
            }
            None => {
                gate.client(stream, &bytes);
                settle(&mut gate);
                check_all(&gate, stream, &bytes.repeat(2));
            }
        }
    }
}

#[test]
fn nothing_waits_that_nobody_limits() {
    let unlimited = json!({"limits": {"per_address": null, "per_subject": null, "per_connection": null}});
    for changes in [unlimited, json!({"mode": "monitor"})] {
        let mut gate = slow(&rules(changes.clone()));
        let stream = gate.connect();
        let bytes = messages(600, 4_000);
        gate.client(stream, &bytes);
        assert!(forwarded(&gate, stream) == bytes, "{changes}");
    }
}
