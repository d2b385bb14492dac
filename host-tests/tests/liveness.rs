//! What time alone does to a connection. Every span is met at a tick of the host's clock: never early, and at most 150 ms late.

use std::time::Duration;

use portcullis_host_tests::scenario::{Gate, TICK, limited_policy, policy_with, switching_protocols, upgrade};
use portcullis_host_tests::{Fault, Faults, Profile, StreamId, Wakeups, frame, status};
use serde_json::{Value, json};

/// How late a timer may be: a tick, and half of one for how exact timers are.
const LATE_MAX: Duration = Duration::from_millis(150);

fn gate(liveness: Value) -> Gate {
    let mut policy = policy_with(json!({"liveness": {"jitter": 0}}));
    liveness.as_object().expect("an object").iter().for_each(|(key, value)| policy["liveness"][key] = value.clone());
    Gate::new(&policy)
}

/// Waits for `happened`; it has to come when `span` has passed.
#[track_caller]
fn check_after(gate: &mut Gate, span: Duration, happened: impl Fn(&Gate) -> bool) {
    let mut waited = Duration::ZERO;
    while !happened(gate) {
        assert!(waited <= span + LATE_MAX, "nothing happens after {span:?}");
        gate.elapse(TICK);
        waited += TICK;
    }
    assert!(waited >= span && waited <= span + LATE_MAX, "after {waited:?} instead of {span:?}");
}

#[track_caller]
fn check_closed_after(gate: &mut Gate, stream: StreamId, span: Duration, code: u16, reason: &str) {
    let before = [to_client(gate, stream).len(), gate.stream(stream).request.forwarded.len()];
    check_after(gate, span, |gate| to_client(gate, stream).len() > before[0]);
    let close = Some((code, reason.to_owned()));
    assert_eq!(frame::close_at_end(&to_client(gate, stream)[before[0]..]), close);
    assert_eq!(gate.metric(&format!("portcullis.refused.{reason}")), 1);
    // Nothing brings the Close to the upstream before it speaks, or the client does.
    gate.client(stream, &frame::client(frame::CLOSE, b"\x03\xe9"));
    assert_eq!(frame::close_at_end(&gate.stream(stream).request.forwarded[before[1]..]), close);
    gate.check_manners();
}

fn to_client(gate: &Gate, stream: StreamId) -> &[u8] {
    &gate.stream(stream).response.forwarded
}

/// The payload of the Ping that is all the client has got since.
#[track_caller]
fn nonce(bytes: &[u8]) -> [u8; 8] {
    assert_eq!((bytes.len(), &bytes[..2]), (10, &[0x89, 0x08][..]), "not a Ping: {bytes:02x?}");
    bytes[2..].try_into().expect("eight bytes")
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_silent_client_gets_a_ping_and_its_pong_goes_no_further() {
    let mut gate = gate(json!({"ping_interval": "25s", "pong_timeout": "20s"}));
    let stream = gate.connect();
    for round in 0..3 {
        let before = to_client(&gate, stream).len();
        check_after(&mut gate, 25 * SECOND, |gate| to_client(gate, stream).len() > before);
        let nonce = nonce(&to_client(&gate, stream)[before..]);
        gate.elapse(19 * SECOND);
        gate.client(stream, &frame::client(0xa, &nonce));
        assert_eq!(gate.stream(stream).request.forwarded, b"", "round {round}");
    }
    // A pong that nobody asked for is the peers' affair (RFC 6455 §5.5.3).
    let pong = frame::client(0xa, b"hello");
    gate.client(stream, &pong);
    assert_eq!(gate.stream(stream).request.forwarded, pong);
    gate.check_manners();
}

#[test]
fn whatever_a_client_sends_puts_the_ping_off() {
    let mut gate = gate(json!({"ping_interval": "25s"}));
    let stream = gate.connect();
    for _ in 0..4 {
        gate.elapse(20 * SECOND);
        gate.client(stream, &frame::client(frame::PING, b""));
    }
    assert_eq!(to_client(&gate, stream), b"");
    check_after(&mut gate, 25 * SECOND, |gate| !to_client(gate, stream).is_empty());
}

#[test]
fn a_client_that_does_not_answer_a_ping_is_dead() {
    let mut gate = gate(json!({"ping_interval": "25s", "pong_timeout": "20s"}));
    let stream = gate.connect();
    gate.elapse(25 * SECOND + TICK);
    let before = to_client(&gate, stream).len();
    assert_eq!(before, 10);
    check_after(&mut gate, 20 * SECOND - TICK, |gate| to_client(gate, stream).len() > before);
    assert_eq!(frame::close_at_end(&to_client(&gate, stream)[before..]), Some((1001, "dead".to_owned())));
    check_after(&mut gate, Duration::from_millis(200), |gate| gate.stream(stream).reset);
    assert_eq!(gate.metric("portcullis.connections.closed.dead"), 1);
    gate.check_manners();
}

#[test]
fn a_connection_without_messages_is_idle_however_much_it_pings() {
    let mut gate = gate(json!({"idle_timeout": "60s"}));
    let stream = gate.connect();
    gate.elapse(30 * SECOND);
    gate.server(stream, &frame::server(frame::TEXT, b"hello"));
    for _ in 0..5 {
        gate.elapse(10 * SECOND);
        gate.client(stream, &frame::client(frame::PING, b""));
        gate.server(stream, &frame::server(0xa, b""));
    }
    check_closed_after(&mut gate, stream, 10 * SECOND, 1001, "idle");
    check_after(&mut gate, 5 * SECOND, |gate| gate.stream(stream).reset);
}

#[test]
fn a_message_that_does_not_end_is_too_slow_however_much_it_drips() {
    let mut gate = gate(json!({"message_timeout": "10s"}));
    let stream = gate.connect();
    let message = frame::client(frame::TEXT, &[b'x'; 100]);
    for byte in &message[..10] {
        gate.client(stream, &[*byte]);
        gate.elapse(SECOND / 2);
    }
    check_after(&mut gate, 5 * SECOND, |gate| !to_client(gate, stream).is_empty());
    assert_eq!(frame::close_at_end(to_client(&gate, stream)), Some((1008, "too_slow".to_owned())));

    // One that ends in time.
    let stream = gate.connect();
    gate.client(stream, &message[..10]);
    gate.elapse(9 * SECOND);
    gate.client(stream, &message[10..]);
    gate.elapse(60 * SECOND);
    assert_eq!(to_client(&gate, stream), b"");
}

#[test]
fn a_connection_grows_no_older_than_it_may() {
    let mut gate = gate(json!({"max_lifetime": "60s"}));
    let stream = gate.connect();
    for _ in 0..59 {
        gate.elapse(SECOND);
        gate.client(stream, &frame::client(frame::TEXT, b"hello"));
    }
    check_closed_after(&mut gate, stream, SECOND, 1001, "lifetime");
}

/// Times differ from connection to connection, but for all there is a share that they keep to.
#[test]
fn connections_that_came_together_are_not_pinged_together() {
    let mut gate = Gate::new(&policy_with(json!({"liveness": {"jitter": 0.2, "ping_interval": "100s"}})));
    let streams: Vec<StreamId> = (0..50).map(|_| gate.connect()).collect();
    let pinged = |gate: &Gate| streams.iter().filter(|stream| !to_client(gate, **stream).is_empty()).count();
    gate.elapse(80 * SECOND - TICK);
    assert_eq!(pinged(&gate), 0);
    let mut most = 0;
    for _ in 0..40 {
        let before = pinged(&gate);
        gate.elapse(SECOND);
        most = most.max(pinged(&gate) - before);
    }
    gate.elapse(2 * TICK);
    println!("of 50 pings within 40 s, at most {most} came in one second");
    assert_eq!(pinged(&gate), 50);
    assert!(most <= 10, "{most} pings in a second");
}

/// The default policy: pings and their answers keep nothing alive that says nothing for half an hour.
#[test]
fn by_default_a_connection_that_only_answers_pings_is_idle_after_half_an_hour() {
    let mut gate = Gate::new(&limited_policy());
    let stream = gate.connect();
    let (mut seen, mut pings, mut waited) = (0, 0, Duration::ZERO);
    loop {
        gate.elapse(TICK);
        waited += TICK;
        let got = to_client(&gate, stream)[seen..].to_vec();
        seen += got.len();
        match got[..] {
            [] => {}
            [0x89, ..] => {
                pings += 1;
                gate.client(stream, &frame::client(0xa, &nonce(&got)));
            }
            _ => {
                assert_eq!(frame::close_at_end(&got), Some((1001, "idle".to_owned())));
                break;
            }
        }
    }
    println!("{pings} pings in {waited:?}");
    assert!(waited >= 1_800 * SECOND && waited <= 1_800 * SECOND + LATE_MAX, "{waited:?}");
    // Every 25 s, a tenth more or less.
    assert!((65..=80).contains(&pings), "{pings} pings");
}

#[test]
fn a_policy_that_comes_later_sets_the_times_of_live_connections() {
    let mut gate = gate(json!({}));
    let stream = gate.connect();
    gate.elapse(100 * SECOND);
    assert_eq!(to_client(&gate, stream), b"");
    assert!(gate.reconfigure(&policy_with(json!({"liveness": {"jitter": 0, "idle_timeout": "120s"}}))));
    gate.client(stream, &frame::client(frame::PING, b""));
    check_after(&mut gate, 20 * SECOND, |gate| !to_client(gate, stream).is_empty());
}

#[test]
fn monitoring_lets_time_pass() {
    let mut policy = policy_with(json!({"liveness": {"idle_timeout": "10s"}}));
    policy["mode"] = "monitor".into();
    let mut gate = Gate::new(&policy);
    let stream = gate.connect();
    gate.elapse(60 * SECOND);
    assert!(gate.stream(stream).is_open());
    assert_eq!(gate.metric("portcullis.would_refuse.idle"), 1);
    assert_eq!(to_client(&gate, stream), b"");
}

/// How many streams may have their turn in one callback (`BATCH` in `filter/src/root.rs`).
const BATCH: usize = 32;

/// A thousand lifetimes end within a tenth of a second, where the calls of `faults` fail: from the beginning, and once all are connected.
/// As long as some wait for their turn, the next tick comes after `pace`.
#[track_caller]
fn check_crowd(faults: [Faults; 2], pace: Duration) {
    let policy = policy_with(json!({"liveness": {"jitter": 0, "max_lifetime": "60s"}}));
    let [early, late] = faults;
    let mut gate = Gate::on(Profile { faults: early, ..Profile::default() }, &policy);
    // Each has an address of its own, and so lines of its own.
    let connect = |gate: &mut Gate, number: u32| {
        let [_, _, high, low] = number.to_be_bytes();
        gate.property("source.address", Some(format!("10.0.{high}.{low}:50000").as_bytes()));
        gate.connect()
    };
    let mut streams: Vec<StreamId> = (0..500).map(|number| connect(&mut gate, number)).collect();
    gate.elapse(TICK);
    streams.extend((500..1_000).map(|number| connect(&mut gate, number)));
    gate.inject(late);
    gate.elapse(60 * SECOND - 2 * TICK);
    let mut cut: Vec<StreamId> = Vec::new();
    assert_eq!(cut_streams(&gate), cut);
    let mut waited = Duration::ZERO;
    while cut.len() < streams.len() {
        let period = gate.tick_period();
        assert!([TICK, pace].contains(&period), "{period:?}");
        gate.advance(period);
        gate.tick().unwrap();
        waited += period;
        let now = cut_streams(&gate);
        let turns = now.len() - cut.len();
        assert!(turns <= BATCH, "{turns} in one callback");
        // Until the first are due, and where the others are not yet.
        assert!(turns > 0 || period == TICK, "nothing happens after {waited:?}");
        assert!(waited <= 35 * TICK, "{} of {} after {waited:?}", now.len(), streams.len());
        cut = now;
    }
    assert_eq!(gate.tick_period(), TICK);
    let (first, then) = cut.split_at_mut(500);
    first.sort_unstable();
    then.sort_unstable();
    assert_eq!((&*first, &*then), streams.split_at(500));

    gate.elapse(5 * SECOND + 35 * TICK);
    assert!(streams.iter().all(|stream| gate.stream(*stream).reset));
    gate.check_manners();
}

/// In the order in which they were cut.
fn cut_streams(gate: &Gate) -> Vec<StreamId> {
    let lines = gate.logs().iter().filter_map(|log| serde_json::from_str::<Value>(&log.text).ok());
    let refused = lines.filter(|line| line["event"] == "refused");
    let id = |line: Value| line["connection"].as_str()?.split_once('-')?.1.parse().ok();
    refused.map(|line| StreamId(id(line).expect("an id"))).collect()
}

#[test]
fn streams_that_are_due_together_have_their_turn_some_at_a_time() {
    let failing = |call: &str| Faults::Of(call.to_owned(), Fault::Status(status::UNIMPLEMENTED));
    let soon = Duration::from_millis(1);
    check_crowd([Faults::None, Faults::None], soon);
    check_crowd([failing("proxy_register_shared_queue"), Faults::None], soon);
    check_crowd([Faults::None, failing("proxy_set_tick_period_milliseconds")], TICK);
}

/// By the queue, and with a tick where that is late.
#[test]
fn streams_that_are_woken_together_have_their_turn_some_at_a_time() {
    const ROOT: u32 = 1;
    const QUEUE: u32 = 1;
    for (callback, arguments) in [("proxy_on_queue_ready", &[QUEUE][..]), ("proxy_on_tick", &[])] {
        let mut gate = Gate::on(Profile { wakeups: Wakeups::Late, ..Profile::default() }, &policy_with(json!({})));
        let streams: Vec<StreamId> = (0..100).map(|_| gate.request(&upgrade())).collect();
        for stream in &streams {
            gate.response_headers(*stream, &switching_protocols(), false).unwrap();
        }
        let passed = |gate: &Gate| streams.iter().take_while(|stream| gate.stream(**stream).response.passed).count();
        for expected in [0, BATCH, 2 * BATCH, 3 * BATCH, streams.len()] {
            assert_eq!(passed(&gate), expected, "{callback}");
            gate.call(callback, ROOT, arguments).unwrap();
        }
        gate.check_manners();
    }
}

#[test]
fn how_long_a_tick_took_is_recorded_where_there_are_connections() {
    let mut gate = gate(json!({}));
    gate.elapse(SECOND);
    assert_eq!(gate.metric("portcullis.tick_us"), 0);
    let stream = gate.connect();
    gate.elapse(SECOND);
    assert_eq!(gate.metric("portcullis.tick_us"), 10);
    gate.delete(stream).unwrap();
    gate.elapse(SECOND);
    assert_eq!(gate.metric("portcullis.tick_us"), 10);
}
