//! Tickets: issued to a page, redeemed once by whichever of four workers, or of two Envoys with a rate limit service.
//!
//! `PORTCULLIS_TICKET_ROUNDS` says how many tickets are redeemed a thousand times at once, by default 3 of each store.

use std::env;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::{Answer, Upgrade};
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE};
use crate::limits::WORKERS;
use crate::ratelimit::{DOMAIN, RateLimitServer, limit};
use crate::tokens::{self, Token, in_seconds};

#[test]
fn a_ticket_is_issued_redeemed_once_and_seen_nowhere() {
    let gate = Gate::launch(policy(json!({})), Mode::Echo, |launch| launch.concurrency(WORKERS).trusted_hops(1));
    let mut counters = Counters::default();
    let mut tickets = Vec::new();
    let issue = |counters: &mut Counters, tickets: &mut Vec<String>| {
        let ticket = issue(&gate);
        counters.add("tickets.issued", 1);
        tickets.push(ticket.clone());
        ticket
    };

    let ticket = issue(&mut counters, &mut tickets);
    drop(gate.client.open(&redeem(&ticket).target(&format!("/chat?a=1&ticket={ticket}&b"))).expect("it is let in"));
    let head = gate.request("/chat?a=1&b", |_| true).head;
    assert_eq!(head.value("x-user"), Some("alice"));
    counters.add("tickets.redeemed", 1);
    counters.closed("peer");
    for _ in 0..8 {
        check_refused(&gate, &redeem(&ticket), 401, "ticket_used");
        counters.refused("ticket_used");
    }
    let ticket = issue(&mut counters, &mut tickets);
    for elsewhere in [
        redeem(&ticket).origin("https://other.example.com"),
        redeem(&ticket).with("X-Forwarded-For", "203.0.113.8"),
        redeem(&ticket[1..]),
        redeem(&format!("{ticket}A")),
    ] {
        check_refused(&gate, &elsewhere, 401, "ticket_invalid");
        counters.refused("ticket_invalid");
    }
    check_refused(&gate, &redeem(&ticket).header("Authorization", bearer()), 400, "credential_ambiguous");
    counters.refused("credential_ambiguous");
    // None of them has used it up, nor has another policy, which all workers have by then.
    gate.update(policy(json!({"revision": "2"})));
    drop(gate.client.open(&redeem(&ticket)).expect("it is let in"));
    counters.add("tickets.redeemed", 1);
    counters.closed("peer");
    check_refused(&gate, &redeem(&ticket), 401, "ticket_used");
    counters.refused("ticket_used");

    gate.update(policy(json!({"auth": auth(json!({"ttl": "1s"}))})));
    let ticket = issue(&mut counters, &mut tickets);
    thread::sleep(Duration::from_millis(1_100));
    check_refused(&gate, &redeem(&ticket), 401, "ticket_invalid");
    counters.refused("ticket_invalid");

    assert_eq!(gate.backend.requests().len(), 2);
    gate.check_counters(&counters);
    // The access log has all of them, so the whole log can be searched.
    gate.wait_for_log(|lines| lines.iter().filter(|line| line["details"] == "portcullis_ticket_used").count() == 9);
    let log = gate.envoy.log().expect("a log");
    for ticket in tickets {
        assert!(!log.contains(&ticket[8..24]), "a ticket in the log");
    }
}

#[test]
fn a_page_is_told_the_answer_and_no_other_is() {
    let gate = Gate::start(policy(json!({})), Mode::Echo);
    let shared = |answer: &Answer| {
        let head = &answer.head;
        let fields = ["access-control-allow-origin", "access-control-allow-credentials", "vary"];
        fields.map(|name| head.value(name).map(str::to_owned))
    };
    let told = [APP, "true", "origin"].map(|value| Some(value.to_owned()));

    let answer = gate.client.ask(&post().header("Authorization", bearer())).expect("Envoy listens");
    assert_eq!((answer.status(), shared(&answer)), (201, told.clone()));
    assert_eq!(answer.head.value("content-type"), Some("application/json"));
    assert_eq!(answer.head.value("cache-control"), Some("no-store"));
    let answer = gate.client.ask(&post()).expect("Envoy listens");
    assert_eq!((answer.status(), shared(&answer)), (401, told.clone()));
    let answer = gate.client.ask(&post().origin("https://evil.example").header("Authorization", bearer()));
    let answer = answer.expect("Envoy listens");
    assert_eq!((answer.status(), shared(&answer)), (403, [(); 3].map(|()| None)));

    let preflight = post().method("OPTIONS").without("Content-Length").header("Access-Control-Request-Method", "POST");
    let answer = gate.client.ask(&preflight).expect("Envoy listens");
    assert_eq!((answer.status(), shared(&answer)), (204, told));
    for (name, value) in [
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type, authorization"),
        ("access-control-max-age", "7200"),
    ] {
        assert_eq!(answer.head.value(name), Some(value));
    }
    for method in ["GET", "PUT", "OPTIONS"] {
        let answer = gate.client.ask(&post().method(method)).expect("Envoy listens");
        assert_eq!((answer.status(), answer.head.value("allow")), (405, Some("POST")), "{method}");
    }
    let answer = gate.client.ask(&Upgrade::to(PATH).header("Authorization", bearer())).expect("Envoy listens");
    assert_eq!(answer.status(), 405);
    // A body is not waited for, and none is read.
    let long = post().header("Authorization", bearer()).with("Content-Length", "1000000").tail(vec![b'x'; 10_000]);
    assert_eq!(gate.client.ask(&long).expect("Envoy listens").status(), 201);
    assert_eq!(gate.backend.requests().len(), 0);
}

#[test]
fn a_ticket_has_no_more_time_than_its_credential() {
    let gate = Gate::start(policy(json!({})), Mode::Echo);
    let short = |seconds| format!("Bearer {}", Token::new(Algorithm::HS256).claim("exp", in_seconds(seconds)).sign());
    let answer = gate.client.ask(&post().header("Authorization", short(10))).expect("Envoy listens");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert!((8..=10).contains(&body["expires_in"].as_u64().expect("a number")), "{body}");
    check_refused(&gate, &post().header("Authorization", short(-10)), 401, "credential_expired");
}

#[test]
fn of_a_thousand_at_once_one_redeems_a_ticket() {
    let gate = Gate::launch(policy(json!({})), Mode::Echo, |launch| launch.concurrency(WORKERS));
    for round in 0..rounds() {
        let ticket = issue(&gate);
        check_race(&[&gate], &ticket, round);
    }
    assert_eq!(gate.backend.requests().len(), rounds());
}

#[test]
fn of_a_thousand_at_once_before_two_envoys_one_redeems_a_ticket() {
    let service = RateLimitServer::start([limit(1, &[], &["ticket"])]);
    let gates = [(); 2].map(|()| {
        Gate::launch(fleet(), Mode::Echo, |launch| launch.concurrency(WORKERS).rate_limit_service(service.address()))
    });
    for round in 0..rounds() {
        within_an_hour();
        let ticket = issue(&gates[round % 2]);
        check_race(&[&gates[0], &gates[1]], &ticket, round);
    }
    // Each asks at most once about each ticket: what it has redeemed itself it knows.
    let asked = service.asked();
    let of_tickets: Vec<_> = asked.iter().filter(|asked| asked.descriptors[0][0].0 == "ticket").collect();
    assert!((rounds()..=2 * rounds()).contains(&of_tickets.len()), "{}", of_tickets.len());
    assert_eq!(of_tickets.iter().filter(|asked| asked.allowed).count(), rounds());
    assert!(of_tickets.iter().all(|asked| asked.descriptors.len() == 1 && asked.hits_addend == 1));
}

#[test]
fn a_fleet_without_its_service_redeems_nothing() {
    let mut service = RateLimitServer::start([limit(1, &[], &["ticket"])]);
    let gate = Gate::launch(fleet(), Mode::Echo, |launch| launch.rate_limit_service(service.address()));
    within_an_hour();
    let tickets = [issue(&gate), issue(&gate)];
    drop(gate.client.open(&redeem(&tickets[0])).expect("it is let in"));
    service.stop();
    check_refused(&gate, &redeem(&tickets[1]), 500, "internal");
    check_refused(&gate, &redeem(&tickets[1]), 401, "ticket_used");
    assert_eq!(gate.backend.requests().len(), 1);
}

#[test]
fn another_envoy_takes_no_ticket_of_a_local_store() {
    let gates = [(); 2].map(|()| Gate::start(policy(json!({})), Mode::Echo));
    let ticket = issue(&gates[0]);
    check_refused(&gates[1], &redeem(&ticket), 401, "ticket_invalid");
    drop(gates[0].client.open(&redeem(&ticket)).expect("it is let in"));
}

fn auth(tickets: Value) -> Value {
    let mut all = json!({"path": PATH, "keys": [{"inline": "a secret that seals, of more than 32 bytes"}]});
    all.as_object_mut().expect("an object").extend(tickets.as_object().expect("an object").clone());
    let mut auth = tokens::auth();
    auth["tickets"] = all;
    auth["sources"] = json!([{"header": "authorization"}, {"cookie": "session"}, {"ticket": "ticket"}]);
    auth
}

fn policy(change: Value) -> Value {
    let origins = json!({"allow": [APP, "https://other.example.com"], "missing": "refuse"});
    let mut policy = json!({"require_tls": false, "origin": origins, "auth": auth(json!({}))});
    policy.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    policy
}

/// Nothing else is limited by the service.
fn fleet() -> Value {
    let global = json!({"cluster": "ratelimit", "domain": DOMAIN, "timeout": "5s", "on_error": "allow"});
    policy(json!({
        "auth": auth(json!({"store": {"rate_limit_service": true}, "ttl": "5m"})),
        "limits": {"per_address": null, "per_subject": null, "per_connection": null, "global": global},
    }))
}

fn bearer() -> String {
    format!("Bearer {}", Token::new(Algorithm::HS256).sign())
}

/// A request for a ticket, without a credential.
fn post() -> Upgrade {
    let plain = ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
    let post = plain.into_iter().fold(Upgrade::to(PATH).method("POST"), Upgrade::without);
    post.origin(APP).header("Content-Length", "0").header("X-Forwarded-For", "203.0.113.7")
}

#[track_caller]
fn issue(gate: &Gate) -> String {
    let answer = gate.client.ask(&post().header("Authorization", bearer())).expect("Envoy listens");
    assert_eq!(answer.status(), 201, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    body["ticket"].as_str().expect("a ticket").to_owned()
}

fn redeem(ticket: &str) -> Upgrade {
    Upgrade::to(&format!("/chat?ticket={ticket}")).origin(APP).header("X-Forwarded-For", "203.0.113.7")
}

#[track_caller]
fn check_refused(gate: &Gate, request: &Upgrade, status: u16, reason: &str) {
    let answer = gate.client.ask(request).expect("Envoy listens");
    assert_eq!((answer.status(), answer.text()), (status, format!(r#"{{"error": "{reason}"}}"#)));
}

/// A thousand clients redeem a ticket at once, and one of them has a connection.
#[track_caller]
fn check_race(gates: &[&Gate], ticket: &str, round: usize) {
    let barrier = &Barrier::new(CLIENTS);
    let ask = |gate: &Gate| {
        let client = gate.client.clone().timeout(6 * PATIENCE);
        barrier.wait();
        client.ask(&redeem(ticket)).expect("Envoy listens")
    };
    let answers: Vec<Answer> = thread::scope(|scope| {
        let gates = gates.iter().copied().cycle().take(CLIENTS);
        let clients: Vec<_> = gates.map(|gate| scope.spawn(move || ask(gate))).collect();
        clients.into_iter().map(|client| client.join().expect("it does not panic")).collect()
    });
    let (admitted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Answer::has_right_accept);
    assert_eq!((admitted.len(), refused.len()), (1, CLIENTS - 1), "round {round}");
    for answer in refused {
        assert_eq!((answer.status(), answer.text().as_str()), (401, r#"{"error": "ticket_used"}"#), "round {round}");
    }
}

fn rounds() -> usize {
    env::var("PORTCULLIS_TICKET_ROUNDS").map_or(3, |rounds| rounds.parse().expect("a number"))
}

/// At the turn of an hour a fleet issues no tickets, and those of just before it end with it.
fn within_an_hour() {
    while !(2..3_580).contains(&(in_seconds(0) % 3_600)) {
        thread::sleep(Duration::from_secs(1));
    }
}

const APP: &str = "https://app.example.com";
const PATH: &str = "/ws-ticket";
const CLIENTS: usize = 1_000;
