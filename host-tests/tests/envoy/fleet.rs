//! Limits of a fleet: two Envoys, one rate limit service, and what they do without it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::TEXT;
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE};
use crate::ratelimit::{Asked, DOMAIN, RateLimitServer, limit};
use crate::tokens::{self, Token};

/// Nothing is limited but by the service.
fn policy(on_error: &str) -> Value {
    json!({
        "require_tls": false, "origin": {"missing": "allow"}, "auth": {"required": false},
        "limits": {
            "per_address": {"connections": null, "handshakes": null, "failures": null},
            "per_connection": {"messages": null, "bytes": null},
            "global": {"cluster": "ratelimit", "domain": DOMAIN, "timeout": "1s", "on_error": on_error},
        },
    })
}

fn gate(policy: Value, service: SocketAddr) -> Gate {
    Gate::launch(policy, Mode::Echo, |launch| launch.rate_limit_service(service))
}

/// What is asked for a handshake from this machine without a subject.
fn handshake(allowed: bool) -> Asked {
    Asked {
        domain: DOMAIN.into(),
        descriptors: vec![vec![("remote_address".into(), "127.0.0.1".into())]],
        hits_addend: 1,
        allowed,
    }
}

#[test]
fn a_hundred_handshakes_are_accepted_by_the_fleet_and_no_more_by_either() {
    let service = RateLimitServer::start([limit(100, &["remote_address != ''"], &[])]);
    let gates = [(); 2].map(|()| gate(policy("refuse"), service.address()));
    let mut counters = [(); 2].map(|()| Counters::default());
    for number in 0..100 {
        drop(gates[number % 2].open("/"));
        counters[number % 2].closed("peer");
    }
    for (gate, counters) in gates.iter().zip(&mut counters) {
        let answer = gate.client.ask(&Upgrade::to("/")).expect("Envoy listens");
        assert_eq!((answer.status(), answer.text().as_str()), (429, r#"{"error": "handshakes_exceeded"}"#));
        let retry_after = answer.head.value("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        assert!(retry_after.is_some_and(|seconds| (1..=3_600).contains(&seconds)), "{:?}", answer.head);
        counters.refused("handshakes_exceeded");
        gate.check_counters(counters);
        assert_eq!(gate.backend.requests().len(), 50);
    }
    let asked = service.asked();
    assert_eq!(asked[..100], [(); 100].map(|()| handshake(true)));
    assert_eq!(asked[100..], [(); 2].map(|()| handshake(false)));
}

#[test]
fn without_its_service_a_gate_lets_in_or_refuses_as_its_policy_says() {
    let mut service = RateLimitServer::start([]);
    let [open, shut] = ["allow", "refuse"].map(|on_error| gate(policy(on_error), service.address()));
    drop(open.open("/"));
    drop(shut.open("/"));
    service.stop();
    check_without_service(&open, &shut, Duration::ZERO);
    assert_eq!(service.asked(), [(); 2].map(|()| handshake(true)));
}

/// It takes connections and never says a word.
#[test]
fn a_silent_service_is_waited_for_until_the_timeout() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port to listen on");
    let silent = (silent.local_addr().expect("it is bound"), silent);
    let [open, shut] = ["allow", "refuse"].map(|on_error| gate(policy(on_error), silent.0));
    check_without_service(&open, &shut, TIMEOUT - EARLY_MAX);
}

#[track_caller]
fn check_without_service(open: &Gate, shut: &Gate, wait_min: Duration) {
    for (gate, status) in [(open, 101), (shut, 429)] {
        let start = Instant::now();
        let answer = gate.client.ask(&Upgrade::to("/")).expect("Envoy listens");
        let waited = start.elapsed();
        assert_eq!(answer.status(), status);
        assert!(waited >= wait_min && waited < TIMEOUT + SLACK, "{status}: {waited:?}");
        if status == 429 {
            assert_eq!(answer.text(), r#"{"error": "handshakes_exceeded"}"#);
        }
    }
}

#[test]
fn a_subject_spends_its_messages_in_batches_wherever_it_is() {
    let service = RateLimitServer::start([limit(50, &[], &["subject", "message_type"])]);
    let mut policy = policy("refuse");
    policy["auth"] = tokens::auth();
    policy["limits"]["global"]["message_batch"] = 10.into();
    let gates = [(); 2].map(|()| gate(policy.clone(), service.address()));
    let bearer = format!("Bearer {}", Token::new(Algorithm::HS256).sign());
    let open = |gate: &Gate| {
        gate.client.open(&Upgrade::to("/").header("Authorization", &*bearer)).expect("a good upgrade is accepted")
    };

    let echoed = spend(&mut open(&gates[0]));
    assert!((50..=60).contains(&echoed), "{echoed}");
    // Not even one batch is left.
    let echoed = spend(&mut open(&gates[1]));
    assert!(echoed < 10, "{echoed}");

    let asked = service.asked();
    let is_of_messages = |asked: &&Asked| asked.descriptors.iter().flatten().any(|(key, _)| key == "message_type");
    let batches: Vec<&Asked> = asked.iter().filter(is_of_messages).collect();
    assert!(batches.len() > 6, "{batches:?}");
    for (index, batch) in batches.into_iter().enumerate() {
        let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = Asked {
            domain: DOMAIN.into(),
            descriptors: vec![vec![entry("subject", "partner/alice"), entry("message_type", "")]],
            hits_addend: 10,
            allowed: index < 5,
        };
        assert_eq!(*batch, expected, "{index}");
    }
}

/// Sends messages until they are too many, and says how many were echoed. No faster than [`PACE`]: what a client sends while the service
/// is asked goes on a credit of one batch, and beyond that it is refused, whatever the service is going to say.
#[track_caller]
fn spend(websocket: &mut WebSocket) -> usize {
    let mut echoed = 0;
    loop {
        thread::sleep(PACE);
        match websocket.exchange("hello", PATIENCE).expect("it takes bytes") {
            Event::Frame(frame) if frame.opcode == TEXT => echoed += 1,
            Event::Frame(close) => {
                assert_eq!((close.close_code(), close.close_reason().as_str()), (Some(1_008), "rate_exceeded"));
                websocket.answer_close(&close);
                return echoed;
            }
            event => panic!("{event:?} after {echoed} messages"),
        }
    }
}

/// Between two messages: a batch and half of one, which is asked for ahead, last for 450 ms.
const PACE: Duration = Duration::from_millis(30);
/// As in [`policy`].
const TIMEOUT: Duration = Duration::from_secs(1);
/// By how much a timer of Envoy may seem early from here: it counts in milliseconds. Seen: 1 ms.
const EARLY_MAX: Duration = Duration::from_millis(10);
/// For a machine that compiles meanwhile.
const SLACK: Duration = Duration::from_secs(3);
