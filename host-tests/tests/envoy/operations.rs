//! What operators do and see: another policy under live connections, monitor mode, several workers.

use std::thread;
use std::time::Duration;

use portcullis_envoy::Update;
use portcullis_envoy::peer::backend::{Mode, Play};
use portcullis_envoy::peer::certificate::Certificate;
use portcullis_envoy::peer::client::{Client, Upgrade};
use portcullis_envoy::peer::frame::{CONTINUATION, Draft, PING, TEXT};
use portcullis_envoy::peer::head::Head;
use portcullis_envoy::peer::websocket::{Event, Verdict, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE, open_policy, receive_until_close, without_limits};
use crate::tokens;

/// Over TLS, as the policy by its defaults wants it.
#[test]
fn a_new_policy_holds_at_once_and_a_broken_one_not_at_all() {
    // The origin of the connection that lives on stays allowed: one that a new policy would not let in is closed by it.
    let policy =
        |origin: &str| json!({"origin": {"allow": [origin, "https://live.example"]}, "auth": {"required": false}});
    let certificate = Certificate::generate(&[]).expect("a certificate");
    let (chain, key) = (&certificate.certificate_pem, &certificate.key_pem);
    let gate = Gate::launch(policy("https://old.example"), Mode::Echo, |launch| launch.tls(chain, key).concurrency(2));
    let client = Client::tls(gate.envoy.address(), "localhost", &certificate.ca_pem).expect("a certificate");
    let ask = |origin: &str| client.ask(&Upgrade::to("/").origin(origin)).expect("Envoy listens");
    let mut counters = Counters::default();

    let mut live = ask("https://live.example").into_websocket();
    check_echo(&mut live, 10);
    assert_eq!(ask("https://new.example").status(), 403);
    counters.refused("origin_refused");

    assert_eq!(gate.update(policy("https://new.example")), Update::Accepted);
    // Through all states of the way to the client, which the filter wakes for.
    (0..20).for_each(|_| check_echo(&mut live, 65_536));
    (0..5).for_each(|_| check_echo(&mut live, 10));
    // Each worker has the new one.
    for _ in 0..20 {
        assert_eq!(ask("https://old.example").text(), r#"{"error": "origin_refused"}"#);
        counters.refused("origin_refused");
    }

    for (path, broken) in BROKEN {
        let broken = broken.parse::<Value>().expect("JSON");
        assert_eq!(gate.update(broken), Update::Rejected, "{path}");
        gate.log_with(&format!("policy refused: {path}: "));
        check_echo(&mut live, 10);
        let mut websocket =
            client.open(&Upgrade::to("/").origin("https://new.example")).expect("the last good one is in force");
        check_echo(&mut websocket, 10);
        counters.closed("peer");
    }

    drop(live);
    counters.closed("peer");
    assert_eq!(gate.update(policy("https://old.example")), Update::Accepted);
    check_echo(&mut ask("https://old.example").into_websocket(), 10);
    counters.closed("peer");
    gate.check_counters(&counters);
}

/// Envoy leaves a stream the root context that it began with; this one follows the other.
#[test]
fn a_live_connection_follows_the_new_policy_from_its_next_event() {
    let policy = |len: u64| open_policy(json!({"from_client": {"max_frame_bytes": len}}));
    let gate = Gate::start(policy(100), Mode::Echo);
    let mut old = gate.open("/");
    check_echo(&mut old, 100);
    assert_eq!(gate.update(policy(50)), Update::Accepted);
    check_echo(&mut old, 50);
    [gate.open("/"), old].into_iter().for_each(|websocket| check_longest(websocket, 50));
}

/// They have one name and one root_id, and nothing else tells a filter where it is.
#[test]
fn each_of_two_listeners_has_its_own_policy() {
    let policy = |len: u64| open_policy(json!({"from_client": {"max_frame_bytes": len}}));
    let gate = Gate::launch(policy(100), Mode::Echo, |launch| launch.second_listener(without_limits(policy(50))));
    let second = Client::plain(gate.envoy.second_address().expect("it listens"));
    let open_second = || second.open(&Upgrade::to("/")).expect("a good upgrade is accepted");
    for _ in 0..3 {
        let [of_first, of_second] = [gate.open("/"), open_second()];
        check_longest(of_second, 50);
        check_longest(of_first, 100);
    }
    // A new policy of the one is taken for one of the other too, where that has no requests, by connections that are up …
    let [of_first, mut of_second, one_more] = [gate.open("/"), open_second(), open_second()];
    assert_eq!(gate.update(policy(80)), Update::Accepted);
    thread::sleep(Duration::from_secs(2));
    check_longest(one_more, 80);
    // … until that has its next request.
    check_longest(open_second(), 50);
    check_echo(&mut of_second, 50);
    check_longest(of_second, 50);
    check_longest(of_first, 80);
    check_longest(gate.open("/"), 80);
}

/// A frame of `len` bytes passes, and no longer one.
#[track_caller]
fn check_longest(mut websocket: WebSocket, len: usize) {
    check_echo(&mut websocket, len);
    websocket.send_frame(Draft::new(TEXT, vec![b'x'; len + 1])).expect("it takes bytes");
    assert_eq!(websocket.verdict(PATIENCE), Verdict::close(1_009, "message_too_big"));
}

/// Where the fault is, and the policy.
const BROKEN: &[(&str, &str)] = &[
    (
        "origin.allow[1]",
        r#"{"origin": {"allow": ["https://new.example", "new.example/"]}, "auth": {"required": false}}"#,
    ),
    ("orgin", r#"{"orgin": {}, "auth": {"required": false}}"#),
    ("auth.providers", r#"{"auth": {}}"#),
    (
        "auth.providers[0].jwks.secret.env",
        r#"{"auth": {"providers": [{"name": "a", "algorithms": ["HS256"], "jwks": {"secret": {"env": "X"}}}]}}"#,
    ),
    (
        "limits.per_connection.messages.per_second",
        r#"{"auth": {"required": false}, "limits": {"per_connection": {"messages": {"burst": 40}}}}"#,
    ),
    (
        "routes[0].policy.mode",
        r#"{"auth": {"required": false}, "routes": [{"match": {"path": "/a"}, "policy": {"mode": "off"}}]}"#,
    ),
];

/// Nothing that would be refused is, or is changed; all of it is counted and logged.
#[test]
fn monitor_mode_refuses_nothing_and_counts_it() {
    let mut policy = json!({
        "mode": "monitor", "require_tls": false, "non_websocket": "refuse", "hosts": ["localhost"],
        "origin": {"allow": ["https://app.example.com"], "missing": "allow"}, "subprotocols": {"allow": ["chat.v1"]}, "auth": tokens::auth(),
        "messages": {
            "from_client": {"max_frame_bytes": 100, "tunnels": "allow"},
            "from_server": {"max_frame_bytes": 100, "max_fragments": 1, "tunnels": "allow"},
        },
        "routes": [
            {"match": {"path_prefix": "/tls"}, "policy": {"require_tls": true}},
            {"match": {"path_prefix": "/frames"}, "policy": {"auth": {"required": false}}},
        ],
    });
    policy["auth"]["claim_headers"] = json!({});
    let gate = Gate::start(
        policy,
        Mode::scripted(|head| match head.target() {
            "/lie" => Play::answer(head.accepted_with(&[("Sec-WebSocket-Extensions", "x-own")])),
            _ => Play::correct(head),
        }),
    );
    let mut counters = Counters::default();
    let mut would_refuse = Vec::new();

    let token = tokens::Token::new(jsonwebtoken::Algorithm::HS256);
    let bearer = |token: String| format!("Bearer {token}");
    let handshakes = [
        ("tls_required", Upgrade::to("/tls")),
        ("host_refused", Upgrade::to("/").host("other.example")),
        ("bad_upgrade", Upgrade::to("/").header("Sec-WebSocket-Version", "13")),
        ("origin_refused", Upgrade::to("/").origin("https://evil.example")),
        ("subprotocol_refused", Upgrade::to("/").subprotocols("mqtt")),
        ("credential_missing", Upgrade::to("/")),
        ("credential_invalid", Upgrade::to(&format!("/?token={}", tokens::FORGED))),
        ("credential_expired", Upgrade::to("/").header("Authorization", bearer(token.clone().claim("exp", 1).sign()))),
        (
            "credential_ambiguous",
            Upgrade::to(&format!("/?token={}", tokens::FORGED)).header("Authorization", bearer(token.sign())),
        ),
        ("bad_upstream_handshake", Upgrade::to("/lie").header("Authorization", bearer(token.sign()))),
    ];
    // Judging goes on behind the first five, which have no credential either.
    counters.add("would_refuse.credential_missing", 5);
    for (reason, upgrade) in handshakes {
        let answer = gate.client.ask(&upgrade).expect("Envoy listens");
        assert!(answer.has_right_accept(), "{reason}: {:?}", answer.head);
        check_echo(&mut answer.into_websocket(), 10);
        // What is refused by its head goes on as it came, credential and all.
        let sent = Head::parse(&upgrade.bytes()).expect("a whole head").0;
        let got = gate.backend.requests().pop().expect("it is at the backend").head;
        let is_same = |name: &str| sent.values(name).eq(got.values(name));
        let is_whole = sent.target() == got.target() && is_same("authorization") && is_same("sec-websocket-protocol");
        assert!(is_whole || reason == "bad_upstream_handshake", "{reason}: {got:?}");
        would_refuse.push(reason);
    }
    let plain = ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
    let plain = plain.iter().fold(Upgrade::to("/"), |request, name| request.without(name));
    assert_eq!(gate.client.ask(&plain).expect("Envoy listens").text(), "ok");
    would_refuse.push("not_websocket");

    // Each message is judged, whatever came before it, and so is its echo.
    for (name, found, frames) in [
        (
            "long",
            &[("message_too_big", 4), ("type_refused", 1)][..],
            vec![
                Draft::new(TEXT, [b'x'; 101]),
                Draft::binary("binary"),
                Draft::text("ok"),
                Draft::new(TEXT, [b'x'; 102]),
            ],
        ),
        ("binary", &[("type_refused", 1)], vec![Draft::text("ok"), Draft::binary("no")]),
        (
            "reserved",
            &[("protocol_error", 4)],
            vec![Draft::text("ok"), Draft::text("reserved").rsv(0b100), Draft::new(0x3, "reserved"), Draft::text("ok")],
        ),
        (
            "fragments",
            &[("fragments_exceeded", 1)],
            vec![
                Draft::text("a").unfinished(),
                Draft::new(CONTINUATION, "b").unfinished(),
                Draft::new(CONTINUATION, "c"),
            ],
        ),
    ] {
        let mut websocket = gate.open(&format!("/frames/{name}"));
        for frame in frames {
            websocket.send_frame(frame.clone()).expect("it takes bytes");
            let echo = websocket.receive(PATIENCE);
            assert!(
                matches!(&echo, Event::Frame(echo) if Draft::copy_of(echo).bytes() == frame.bytes()),
                "{name}: {echo:?}"
            );
        }
        counters.closed("peer");
        for (reason, count) in found {
            counters.add(format!("would_refuse.{reason}"), *count);
            gate.wait_for_log(|lines| {
                let is_line = |line: &&Value| line["event"] == "would_refuse" && line["reason"] == *reason;
                lines.iter().filter(is_line).count() as u64 >= *count
            });
        }
    }

    for reason in would_refuse {
        counters.add(format!("would_refuse.{reason}"), 1);
        gate.wait_for_log(|lines| lines.iter().any(|line| line["event"] == "would_refuse" && line["reason"] == reason));
        if reason != "not_websocket" {
            counters.closed("peer");
        }
    }
    gate.check_counters(&counters);
}

#[test]
fn two_workers_lose_count_of_nothing() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 25;
    let policy = open_policy(json!({"from_client": {"max_frame_bytes": 100}}));
    let gate = Gate::launch(policy, Mode::Echo, |launch| launch.concurrency(2));
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let gate = &gate;
            scope.spawn(move || (0..ROUNDS).for_each(|round| live_and_die(gate, number + round)));
        }
    });
    let mut counters = Counters::default();
    for number in (0..CLIENTS).flat_map(|number| number..number + ROUNDS) {
        counters.closed(if number % ENDS == 0 { "message_too_big" } else { "peer" });
    }
    // Without `connections.active`: there are none.
    gate.check_counters(&counters);
    let stats = gate.envoy.stats().expect("Envoy answers");
    let served = |worker: &str| stats.iter().find(|(name, _)| name.ends_with(worker)).map(|(_, count)| *count);
    let served = [served("worker_0.downstream_cx_total"), served("worker_1.downstream_cx_total")];
    assert!(served.iter().all(|count| count.is_some_and(|count| count > 0)), "{served:?}");
    assert_eq!(gate.backend.requests().len(), CLIENTS * ROUNDS);
}

/// One short connection, ended in one of [`ENDS`] ways.
#[track_caller]
fn live_and_die(gate: &Gate, number: usize) {
    let mut websocket = gate.open("/");
    check_echo(&mut websocket, 100);
    match number % ENDS {
        0 => {
            websocket.send_frame(Draft::new(TEXT, [b'x'; 101])).expect("it takes bytes");
            assert_eq!(receive_until_close(&mut websocket).last().and_then(|close| close.close_code()), Some(1_009));
        }
        1 => {
            websocket.send_frame(Draft::close(1_000, "bye")).expect("it takes bytes");
            assert_eq!(receive_until_close(&mut websocket).last().and_then(|close| close.close_code()), Some(1_000));
        }
        2 => websocket.finish().expect("it is open"),
        // In the middle of a frame, without a word.
        3 => websocket.send(&Draft::new(TEXT, [b'x'; 100]).masked().bytes()[..50]).expect("it takes bytes"),
        // With an answer that nobody reads, which resets the connection.
        _ => websocket.send_frame(Draft::new(PING, "")).expect("it takes bytes"),
    }
}

const ENDS: usize = 5;

#[track_caller]
fn check_echo(websocket: &mut WebSocket, len: usize) {
    let text = "x".repeat(len);
    let echo = websocket.exchange(&text, PATIENCE).expect("it takes bytes");
    assert!(matches!(&echo, Event::Frame(frame) if frame.payload == text.as_bytes()), "{echo:?}");
}

/// Envoy tells no filter that clients choose their address; a request that lacks what Envoy would have added shows it.
#[test]
fn an_envoy_whose_clients_choose_their_address_is_told_of_once_a_worker() {
    const SAYS: &str = "portcullis: a request came without X-Forwarded-For";
    let policy = |per_address: Value| {
        let mut policy = open_policy(json!({}));
        policy["limits"]["per_address"] = per_address;
        policy
    };
    let limits = || json!({"connections": 9, "handshakes": null, "failures": null});
    let none = || json!({"connections": null, "handshakes": null, "failures": null});
    for (policy, is_chosen, expected) in
        [(policy(limits()), true, 1), (policy(limits()), false, 0), (policy(none()), true, 0)]
    {
        let gate = Gate::launch(policy, Mode::Echo, |launch| match is_chosen {
            true => launch.without_remote_address(),
            false => launch,
        });
        // A client that chooses its address shows nothing.
        let client = Client::plain(gate.envoy.address());
        let chosen = client.ask(&Upgrade::to("/").header("X-Forwarded-For", "203.0.113.1")).expect("Envoy listens");
        assert_eq!(chosen.status(), 101);
        assert!(!gate.envoy.log().expect("a log").contains(SAYS));
        (0..3).for_each(|_| check_echo(&mut gate.open("/"), 10));
        assert_eq!(gate.envoy.log().expect("a log").matches(SAYS).count(), expected, "{is_chosen}");
    }
}
