//! How long a worker is kept from its other connections by who sends it the worst that the limits allow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_envoy::BufferLimits;
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::frame::{Draft, TEXT};
use portcullis_envoy::peer::websocket::Event;
use serde_json::json;

use crate::gate::{Gate, PATIENCE, open_policy};

/// How long a neighbour may wait.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// How often it speaks.
const PAUSE: Duration = Duration::from_millis(10);

/// How long the neighbour is watched without an attack, and from its begin on.
const CONTROL: Duration = Duration::from_secs(1);

/// How many bytes of payload may come at once (`limits.per_connection.bytes.burst`), and in one message.
const BURST: usize = 1_048_576;
const LEN: usize = 65_536;

/// A text that takes nearly all of the work that one of its length may take, and passes.
fn worst() -> Vec<u8> {
    let unit = "\"union %2e;1=`{{<a {`\\\" and so on, and so on\"";
    let mut text = format!("[{}]", vec![unit; LEN / (unit.len() + 1) - 1].join(","));
    text.push_str(&" ".repeat(LEN - text.len()));
    text.into_bytes()
}

/// How often it is tried at most: what else runs on the machine only adds to what a neighbour waits.
const TRY_COUNT: usize = 3;

/// What a neighbour waits at most, before the attack and in it, and how long a message takes alone.
struct Waits {
    quiet: Duration,
    attacked: Duration,
    alone: Duration,
}

impl Waits {
    /// A slice and a message before what it says, and perhaps once more before the answer; on a busy machine all of it takes longer.
    fn are_short(&self) -> bool {
        self.attacked <= WAIT_MAX.max(self.alone * 5) + self.quiet
    }
}

#[track_caller]
fn check(count: usize, limits: BufferLimits) {
    let is_short = (0..TRY_COUNT).any(|_| attack(count, limits).are_short());
    assert!(is_short, "{count} connections keep a neighbour waiting in each of {TRY_COUNT} tries");
}

/// All of a burst at once, from so many connections of one address. What is sent arrives, as it was sent.
fn attack(count: usize, limits: BufferLimits) -> Waits {
    let sets = json!([
        "command_injection",
        "cross_site_scripting",
        "nosql_injection",
        "path_traversal",
        "prototype_pollution",
        "sql_injection"
    ]);
    let mut policy = open_policy(json!({"from_client": {"rule_sets": sets}}));
    let bytes = json!({"per_second": BURST / 4, "burst": BURST});
    policy["limits"] =
        json!({"per_address": null, "per_subject": null, "per_connection": {"messages": null, "bytes": bytes}});
    if limits == BufferLimits::EnvoyDefaults {
        policy["buffer_limits"] = json!("default");
    }
    let gate = Gate::launch(policy, Mode::Echo, |launch| launch.buffer_limits(limits));
    let message = worst();
    let burst = Draft::new(TEXT, message.clone()).masked().bytes().repeat(BURST / LEN);
    let alone = {
        let mut websocket = gate.open("/alone");
        let sent = Instant::now();
        websocket.send_frame(Draft::new(TEXT, message.clone())).expect("it takes bytes");
        assert!(matches!(websocket.receive(PATIENCE), Event::Frame(frame) if frame.payload == message));
        sent.elapsed()
    };
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let [quiet, attacked] = thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            let mut websocket = gate.open("/neighbour");
            let mut longest = [Duration::ZERO; 2];
            while !done.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
                let place = usize::from(begun.load(Ordering::Relaxed));
                let sent = Instant::now();
                websocket.send_frame(Draft::text("hello")).expect("it takes bytes");
                let event = websocket.receive(PATIENCE);
                assert!(matches!(&event, Event::Frame(frame) if frame.payload == b"hello"), "{event:?}");
                longest[place] = longest[place].max(sent.elapsed());
            }
            longest
        });
        let attackers: Vec<_> = (0..count).map(|number| gate.open(&format!("/{number}"))).collect();
        thread::sleep(CONTROL);
        begun.store(true, Ordering::Relaxed);
        let attacks: Vec<_> = attackers
            .into_iter()
            .map(|mut websocket| {
                let (burst, message) = (&burst, &message);
                scope.spawn(move || {
                    websocket.send(burst).expect("it takes bytes");
                    for _ in 0..BURST / LEN {
                        let event = websocket.receive(PATIENCE * 12);
                        assert!(
                            matches!(&event, Event::Frame(frame) if frame.payload == *message),
                            "{}",
                            format!("{event:?}").chars().take(150).collect::<String>()
                        );
                    }
                    // It goes on as ever.
                    websocket.send_frame(Draft::close(1_000, "bye")).expect("it takes bytes");
                    let event = websocket.receive(PATIENCE);
                    assert!(matches!(&event, Event::Frame(frame) if frame.close_code() == Some(1_000)), "{event:?}");
                })
            })
            .collect();
        let attacks: Vec<_> = attacks.into_iter().map(|attack| attack.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(attacks.iter().all(Result::is_ok), "an attacker within its limits is served");
        neighbour.join().expect("the neighbour is served")
    });
    println!(
        "{count} connections, {limits:?}: a neighbour waits {attacked:?} at most, {quiet:?} before; a message takes {alone:?}"
    );
    Waits { quiet, attacked, alone }
}

#[test]
fn a_neighbour_of_one_attacker_is_served() {
    check(1, BufferLimits::EnvoyDefaults);
    check(1, BufferLimits::Shipped);
}

#[test]
fn a_neighbour_of_four_attackers_is_served() {
    check(4, BufferLimits::EnvoyDefaults);
}

#[test]
fn a_neighbour_of_twenty_attackers_is_served() {
    check(20, BufferLimits::Shipped);
}
