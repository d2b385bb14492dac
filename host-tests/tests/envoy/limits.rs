//! Admission: how many at once, how often, and who is banned, as four workers count it together.
//!
//! A client is whom `X-Forwarded-For` says, where a test needs more than one address. `PORTCULLIS_ADDRESSES` says how many of them the
//! flood of addresses has, by default 20,000.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::{Backend, Mode, Play};
use portcullis_envoy::peer::client::{Answer, Upgrade};
use portcullis_envoy::peer::frame::{Draft, PING};
use portcullis_envoy::peer::websocket::WebSocket;
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE, open_policy, receive_until_close, wait};
use crate::tokens::{self, Token};

#[test]
fn an_address_has_no_connection_too_many_whoever_serves_it_and_gets_each_back() {
    const CONNECTIONS: u64 = 50;
    let own = json!({"connections": CONNECTIONS, "handshakes": null, "failures": null});
    let mut gate = Gate::launch(policy(json!({"per_address": own})), refusing(), |launch| launch.concurrency(WORKERS));
    let mut counters = Counters::default();
    let mut fill = |gate: &Gate, crowd: usize| {
        let (admitted, refused) = arrive(gate, vec![Upgrade::to("/"); crowd]);
        assert_eq!((admitted.len() as u64, refused.len()), (CONNECTIONS, crowd - 50), "{refused:?}");
        for answer in &refused {
            check_refused(answer, "connections_exceeded", 1..=2);
            counters.refused("connections_exceeded");
        }
        admitted
    };

    let mut admitted = fill(&gate, 200);
    let stats = gate.envoy.stats().expect("Envoy answers");
    let served = |worker| {
        stats.iter().any(|(name, &count)| count > 0 && name.ends_with(&format!("worker_{worker}.downstream_cx_total")))
    };
    assert!((0..WORKERS).all(served), "a worker had nothing to do");
    let ends: [fn(&mut WebSocket); 4] = [
        |websocket| websocket.finish().expect("it is open"),
        // With an answer that nobody reads.
        |websocket| websocket.send_frame(Draft::new(PING, "")).expect("it takes bytes"),
        |websocket| {
            websocket.send_frame(Draft::close(1_000, "bye")).expect("it takes bytes");
            assert_eq!(receive_until_close(websocket).last().and_then(|close| close.close_code()), Some(1_000));
        },
        |websocket| {
            websocket.send_frame(Draft::binary("no")).expect("it takes bytes");
            assert_eq!(receive_until_close(websocket).last().and_then(|close| close.close_code()), Some(1_003));
        },
    ];
    for end in ends {
        admitted.iter_mut().for_each(end);
        drop(admitted);
        wait_for_none(&gate);
        admitted = fill(&gate, 60);
    }
    drop(admitted);
    wait_for_none(&gate);
    for _ in 0..60 {
        let answer = gate.client.ask(&Upgrade::to("/403")).expect("Envoy listens");
        assert_eq!(answer.status(), 403);
    }
    drop(fill(&gate, 60));
    wait_for_none(&gate);
    // Nobody listens any more where Envoy looks for the backend.
    gate.backend = Backend::start(Mode::Echo).expect("a port to listen on");
    for _ in 0..60 {
        let answer = gate.client.ask(&Upgrade::to("/")).expect("Envoy listens");
        assert_eq!(answer.status(), 503);
    }

    counters.add("handshakes.upstream_refused", 120);
    (0..5 * CONNECTIONS).for_each(|_| counters.closed("peer"));
    (0..CONNECTIONS).for_each(|_| counters.closed("type_refused"));
    gate.check_counters(&counters);
}

#[test]
fn an_address_comes_as_often_as_its_rate_says_whoever_serves_it() {
    const CLIENTS: usize = 8;
    const SPAN: Duration = Duration::from_secs(3);
    let own = json!({"connections": null, "handshakes": {"per_second": 50, "burst": 20}, "failures": null});
    let gate = Gate::launch(policy(json!({"per_address": own})), Mode::Echo, |launch| launch.concurrency(WORKERS));
    let start = Instant::now();
    let hammer = || {
        let (mut admitted, mut refused) = (0, 0);
        while start.elapsed() < SPAN {
            let answer = gate.client.ask(&Upgrade::to("/")).expect("Envoy listens");
            if answer.has_right_accept() {
                admitted += 1;
            } else {
                check_refused(&answer, "handshakes_exceeded", 1..=2);
                refused += 1;
            }
        }
        (admitted, refused)
    };
    let (admitted, refused) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(hammer)).collect();
        let counts = clients.into_iter().map(|client| client.join().expect("it does not panic"));
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    });
    let expected = 50.0 * start.elapsed().as_secs_f64() + 20.0;
    println!("{admitted} of {} handshakes were admitted, {expected:.1} expected", admitted + refused);
    assert!((f64::from(admitted) - expected).abs() <= expected * 0.05, "{admitted} of {expected}");
    let mut counters = Counters::default();
    (0..admitted).for_each(|_| counters.closed("peer"));
    (0..refused).for_each(|_| counters.refused("handshakes_exceeded"));
    gate.check_counters(&counters);
}

#[test]
fn who_fails_too_often_is_banned_for_a_while_and_nobody_else_is() {
    const BAN: Duration = Duration::from_secs(4);
    let failures = json!({"count": 5, "window": "60s", "ban": "4s"});
    let mut policy = policy(json!({"per_address": {"connections": null, "handshakes": null, "failures": failures}}));
    policy["origin"] = json!({"allow": [ORIGIN], "missing": "allow"});
    policy["auth"] = tokens::auth();
    policy["auth"]["required"] = false.into();
    let gate = Gate::launch(policy, Mode::Echo, |launch| launch.concurrency(WORKERS).trusted_hops(1));
    let ask = |upgrade: Upgrade, address: &str| {
        gate.client.ask(&upgrade.header("X-Forwarded-For", address)).expect("Envoy listens")
    };
    let mut counters = Counters::default();
    let good = || Upgrade::to("/").origin(ORIGIN);
    let evil = || Upgrade::to(&format!("/?token={}", tokens::FORGED)).origin("https://evil.example");
    let forged = || Upgrade::to(&format!("/?token={}", tokens::FORGED)).origin(ORIGIN);
    let forged_without_an_origin = || Upgrade::to(&format!("/?token={}", tokens::FORGED));
    // The client that fails and how, the ones that are the same and the ones that are not.
    let rows: [(_, &dyn Fn() -> Upgrade, _, _); 3] = [
        ([""; 5].map(|_| "192.0.2.1".to_owned()), &forged, ["192.0.2.1", "::ffff:192.0.2.1"], "192.0.2.2"),
        (
            [""; 5].map(|_| "::ffff:192.0.2.7".to_owned()),
            &forged_without_an_origin,
            ["192.0.2.7", "::ffff:c000:207"],
            "192.0.2.8",
        ),
        (
            [1, 2, 3, 4, 5].map(|id| format!("2001:db8:0:1::{id}")),
            &forged,
            ["2001:db8:0:1::9", "2001:db8:0:1:ffff:ffff:ffff:ffff"],
            "2001:db8:0:2::1",
        ),
    ];
    for (who, attempt, same, other) in rows {
        // What a foreign page makes those behind an address do bans nobody.
        for _ in 0..10 {
            assert_eq!(ask(evil(), &who[0]).text(), r#"{"error": "origin_refused"}"#);
            counters.refused("origin_refused");
        }
        for address in &who {
            assert_eq!(ask(attempt(), address).text(), r#"{"error": "credential_invalid"}"#, "{address}");
            counters.refused("credential_invalid");
        }
        let banned_at = Instant::now();
        counters.add("bans", 1);
        for address in same {
            // A second failure while it lasts makes it no longer.
            for upgrade in [good(), attempt()] {
                check_refused(&ask(upgrade, address), "banned", 2..=BAN.as_secs() + 1);
                counters.refused("banned");
            }
        }
        assert!(ask(good(), other).has_right_accept(), "{other}");
        counters.closed("peer");
        let back = wait(|| {
            let answer = ask(good(), same[0]);
            let is_back = answer.has_right_accept();
            if is_back {
                counters.closed("peer")
            } else {
                counters.refused("banned")
            };
            is_back.then(|| banned_at.elapsed())
        });
        println!("{}: banned for {back:?}", same[0]);
        assert!(back.is_some_and(|back| back >= BAN - SLACK && back <= BAN + 2 * SLACK), "{back:?}");
    }
    gate.check_counters(&counters);
}

/// What an Envoy remembers has a size of its own, and nobody is forgotten for it who matters.
#[test]
fn a_flood_of_addresses_costs_no_memory_and_lifts_no_ban() {
    const CLIENTS: u32 = 4;
    const WARM_UP: u32 = 5_000;
    const GROWTH_MAX: u64 = 16 << 20;
    let count = env::var("PORTCULLIS_ADDRESSES").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000);
    let mut auth = tokens::auth();
    auth["required"] = false.into();
    // All by its defaults.
    let policy = json!({
        "require_tls": false, "origin": {"allow": [ORIGIN]}, "auth": auth,
        "limits": {"per_address": {"failures": {"ban": "1h"}}}, "liveness": {}, "log": {"connections": false, "refusals": false},
    });
    let gate = Gate::launch(policy, Mode::Echo, |launch| launch.concurrency(WORKERS).trusted_hops(1));
    let ask = |target: &str, address: &str| {
        gate.client.ask(&Upgrade::to(target).origin(ORIGIN).header("X-Forwarded-For", address)).expect("Envoy listens")
    };
    let check_banned = || check_refused(&ask("/", "203.0.113.9"), "banned", 3_000..=3_601);
    for _ in 0..10 {
        assert_eq!(ask(&format!("/?token={}", tokens::FORGED), "203.0.113.9").status(), 401);
    }
    let come = |first: u32, count: u32| {
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                scope.spawn(move || {
                    for number in (first..first + count).filter(|number| number % CLIENTS == client) {
                        let address = Ipv4Addr::from_bits(0x0a00_0000 + number).to_string();
                        let answer = ask("/", &address);
                        assert!(answer.has_right_accept(), "{address}: {:?}", answer.head);
                        if number % 1_000 == 0 {
                            check_banned();
                        }
                    }
                });
            }
        });
        wait_for_none(&gate);
    };
    come(0, WARM_UP);
    let before = rss(&gate);
    let start = Instant::now();
    come(WARM_UP, count);
    let span = start.elapsed().as_secs_f64();
    let growth = rss(&gate).saturating_sub(before);
    println!(
        "{count} addresses in {span:.1} s, {:.0} a second; {} KiB more in Envoy",
        f64::from(count) / span,
        growth >> 10
    );
    check_banned();
    assert!(ask("/", "198.51.100.1").has_right_accept());
    assert!(growth <= GROWTH_MAX, "{growth} bytes");
}

#[test]
fn a_subject_has_no_connection_too_many_whoever_serves_it() {
    let mut policy = policy(json!({"per_subject": {"connections": 10}}));
    policy["auth"] = tokens::auth();
    let gate = Gate::launch(policy, Mode::Echo, |launch| launch.concurrency(WORKERS));
    let mut counters = Counters::default();
    let of = |subject: &str| {
        let token = Token::new(Algorithm::HS256).claim("sub", subject).sign();
        Upgrade::to("/").header("Authorization", format!("Bearer {token}"))
    };
    for _ in 0..2 {
        let (admitted, refused) = arrive(&gate, vec![of("alice"); 40]);
        assert_eq!((admitted.len(), refused.len()), (10, 30));
        for answer in &refused {
            check_refused(answer, "connections_exceeded", 1..=2);
            counters.refused("connections_exceeded");
        }
        let bob = gate.client.open(&of("bob")).expect("another subject is not alice");
        drop((admitted, bob));
        (0..11).for_each(|_| counters.closed("peer"));
        wait_for_none(&gate);
    }
    gate.check_counters(&counters);
}

#[test]
fn an_envoy_has_no_connection_too_many_wherever_they_come_from() {
    let gate = Gate::launch(policy(json!({"connections": 30})), Mode::Echo, |launch| {
        launch.concurrency(WORKERS).trusted_hops(1)
    });
    let mut counters = Counters::default();
    for _ in 0..2 {
        let from = |id| Upgrade::to("/").header("X-Forwarded-For", format!("192.0.2.{id}"));
        let (admitted, refused) = arrive(&gate, (0..90).map(from).collect());
        assert_eq!((admitted.len(), refused.len()), (30, 60));
        for answer in &refused {
            check_refused(answer, "connections_exceeded", 1..=2);
            counters.refused("connections_exceeded");
        }
        drop(admitted);
        (0..30).for_each(|_| counters.closed("peer"));
        wait_for_none(&gate);
    }
    gate.check_counters(&counters);
}

/// Nothing is limited but this.
pub(crate) fn policy(limits: Value) -> Value {
    let mut policy = open_policy(json!({}));
    policy["limits"] = json!({"per_address": null, "per_subject": null, "per_connection": null});
    for (key, limit) in limits.as_object().expect("an object") {
        policy["limits"][key] = limit.clone();
    }
    policy
}

/// Accepts all but `/403`.
fn refusing() -> Mode {
    Mode::scripted(|head| match head.target() {
        "/403" => Play::answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
        _ => Play::correct(head),
    })
}

/// All ask at once: who was admitted, and what the others were told.
fn arrive(gate: &Gate, upgrades: Vec<Upgrade>) -> (Vec<WebSocket>, Vec<Answer>) {
    let barrier = &Barrier::new(upgrades.len());
    let ask = |upgrade: Upgrade| {
        barrier.wait();
        gate.client.ask(&upgrade).expect("Envoy listens")
    };
    let answers: Vec<Answer> = thread::scope(|scope| {
        let clients: Vec<_> = upgrades.into_iter().map(|upgrade| scope.spawn(move || ask(upgrade))).collect();
        clients.into_iter().map(|client| client.join().expect("it does not panic")).collect()
    });
    let (admitted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Answer::has_right_accept);
    (admitted.into_iter().map(Answer::into_websocket).collect(), refused)
}

#[track_caller]
fn check_refused(answer: &Answer, reason: &str, seconds: RangeInclusive<u64>) {
    assert_eq!((answer.status(), answer.text()), (429, format!(r#"{{"error": "{reason}"}}"#)));
    let retry_after = answer.head.value("retry-after").and_then(|seconds| seconds.parse().ok());
    assert!(retry_after.is_some_and(|retry_after| seconds.contains(&retry_after)), "{:?}", answer.head);
}

/// Waits until no connection is open.
#[track_caller]
pub(crate) fn wait_for_none(gate: &Gate) {
    let active = || gate.envoy.counter("portcullis.connections.active").expect("Envoy answers");
    assert!(wait(|| (active() == 0).then_some(())).is_some(), "{} stay for {PATIENCE:?}", active());
}

/// The memory that Envoy has, in bytes; in a container what it has on its heap.
fn rss(gate: &Gate) -> u64 {
    let Some(pid) = gate.envoy.pid() else {
        return gate.envoy.counter("server.memory_allocated").expect("Envoy answers");
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

pub(crate) const WORKERS: u32 = 4;
const ORIGIN: &str = "https://app.example.com";
/// How late a wait may end on a machine that compiles meanwhile, and how much earlier a ban began than its last answer was read.
const SLACK: Duration = Duration::from_secs(1);
