//! Each reason has a line of log from which an operator's next step follows: what must stand in it, by the kind of reason. And lines of bans and policies.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_core::violation::Violation;
use portcullis_host_tests::StreamId;
use portcullis_host_tests::frame::{self, TEXT};
use portcullis_host_tests::scenario::{Gate, page, policy_with, switching_protocols, token_with, upgrade};
use serde_json::{Value, json};

/// What every line about a request says.
const ALWAYS: [&str; 8] = ["event", "connection", "policy", "reason", "address", "host", "request_id", "user_agent"];

/// Has `reason` provoked under a policy, and the members that its line has to have beside [`ALWAYS`].
struct Row {
    reason: &'static str,
    policy: Value,
    members: &'static [&'static str],
    act: fn(&mut Gate),
}

fn row(reason: &'static str, policy: Value, members: &'static [&'static str], act: fn(&mut Gate)) -> Row {
    Row { reason, policy: policy_with(policy), members, act }
}

fn asks(gate: &mut Gate, change: &[(&str, &str)]) -> StreamId {
    let head = change.iter().fold(upgrade(), |head, (name, value)| head.replaced(name, *value));
    gate.request(&head)
}

fn without(gate: &mut Gate, name: &str) {
    gate.request(&upgrade().without(name));
}

fn bears(gate: &mut Gate, claims: Value) -> StreamId {
    gate.request(&upgrade().replaced("authorization", format!("Bearer {}", token_with(claims))))
}

fn says(gate: &mut Gate, bytes: &[u8]) {
    let stream = gate.connect();
    gate.client(stream, bytes);
}

fn text(text: &str) -> Vec<u8> {
    frame::client(TEXT, text.as_bytes())
}

/// A frame whose first byte is given.
fn part(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame::client(TEXT, payload);
    frame[0] = first;
    frame
}

const TICKET_PATH: &str = "/ws-ticket";

fn tickets() -> Value {
    let keys = json!([{"inline": "a secret that seals, of more than 32 bytes"}]);
    json!({"auth": {"sources": [{"header": "authorization"}, {"ticket": "ticket"}], "tickets": {"path": TICKET_PATH, "keys": keys}}})
}

fn revocation() -> Value {
    json!({"auth": {"revocation": {"cluster": "idp", "path": "/revoked.json"}}})
}

fn redeems(gate: &mut Gate, ticket: &str) {
    gate.request(&upgrade().without("authorization").replaced(":path", format!("/chat?ticket={ticket}")));
}

fn side(rules: Value) -> Value {
    json!({"messages": {"from_client": rules}})
}

/// What a line says of a client whose token is good.
const KNOWN: [&str; 2] = ["provider", "subject"];
const OF_MESSAGE: &[&str] = &["at", "from", "provider", "subject"];
const OF_CONNECTION: &[&str] = &["at", "provider", "subject"];

fn handshakes() -> Vec<Row> {
    vec![
        row("tls_required", json!({"require_tls": true}), &["at"], |gate| _ = asks(gate, &[])),
        row("host_refused", json!({"hosts": ["a.example"]}), &["at"], |gate| _ = asks(gate, &[])),
        row("bad_upgrade", json!({}), &[], |gate| without(gate, "sec-websocket-key")),
        row("bad_version", json!({}), &[], |gate| _ = asks(gate, &[("sec-websocket-version", "8")])),
        row("not_websocket", json!({"non_websocket": "refuse"}), &["at"], |gate| {
            gate.request(&page());
        }),
        row("origin_refused", json!({}), &["at", "origin"], |gate| _ = asks(gate, &[("origin", "https://evil.io")])),
        row("subprotocol_refused", json!({"subprotocols": {"required": true}}), &["at"], |gate| _ = asks(gate, &[])),
        row("credential_missing", json!({}), &["at"], |gate| without(gate, "authorization")),
        row(
            "credential_ambiguous",
            json!({"auth": {"sources": [{"header": "authorization"}, {"cookie": "sid"}]}}),
            &["at"],
            |gate| {
                gate.request(&upgrade().with("cookie", format!("sid={}", token_with(json!({"sub": "bob"})))));
            },
        ),
        row("credential_invalid", json!({}), &["at", "detail", "provider", "subject"], |gate| {
            _ = bears(gate, json!({"aud": "others"}))
        }),
        row("credential_expired", json!({}), &["at", "detail", "provider", "subject"], |gate| {
            _ = bears(gate, json!({"exp": 1}))
        }),
        row(
            "claim_refused",
            json!({"auth": {"providers": [{
                "name": "corp", "algorithms": ["HS256"], "jwks": {"secret": {"inline": portcullis_host_tests::scenario::SECRET}}, "require": {"role": "admin"},
            }]}}),
            &["at", "provider", "subject"],
            |gate| _ = asks(gate, &[]),
        ),
        row("connections_exceeded", json!({"limits": {"connections": 1}}), &["at"], |gate| {
            gate.connect();
            asks(gate, &[]);
        }),
        row(
            "handshakes_exceeded",
            json!({"limits": {"per_address": {"handshakes": {"per_second": 1, "burst": 1}}}}),
            &["at"],
            |gate| {
                gate.connect();
                asks(gate, &[]);
            },
        ),
        row("banned", json!({"limits": {"per_address": {"failures": {"count": 1}}}}), &["at"], |gate| {
            bears(gate, json!({"aud": "others"}));
            asks(gate, &[]);
        }),
        row("ticket_invalid", tickets(), &["at"], |gate| redeems(gate, "none")),
        row("ticket_used", tickets(), &["at"], |gate| {
            let post = page().replaced(":path", TICKET_PATH).replaced(":method", "POST").with("content-length", "0");
            let stream = gate.request(&post);
            let reply = gate.stream(stream).reply.as_ref().expect("an answer");
            let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
            let ticket = body["ticket"].as_str().expect("a ticket").to_owned();
            redeems(gate, &ticket);
            redeems(gate, &ticket);
        }),
        row("credential_revoked", revocation(), &["at", "provider", "subject"], |gate| {
            gate.elapse(Duration::from_secs(1));
            let list = gate.http_calls().iter().find(|call| call.waits).expect("a call").token;
            let body = json!({"sub": ["alice"]}).to_string();
            gate.http_respond(list, &[(":status", "200")], body.as_bytes()).expect("it does not trap");
            asks(gate, &[]);
        }),
        row("internal", revocation(), &["at"], |gate| {
            // The list does not come, of which there is a line that names the cluster.
            asks(gate, &[]);
            gate.elapse(Duration::from_secs(10));
            let named = "portcullis: no revocations from cluster idp: ";
            assert!(gate.logs().iter().any(|log| log.text.starts_with(named)), "{:#?}", gate.logs());
        }),
        row("bad_upstream_handshake", json!({}), &KNOWN, |gate| {
            let stream = asks(gate, &[]);
            gate.respond(stream, &switching_protocols().replaced("sec-websocket-accept", "other"));
        }),
    ]
}

fn messages() -> Vec<Row> {
    let typed = json!({"json": {"discriminator": "/type", "schemas": {"say": {"required": ["text"]}}}});
    vec![
        row("protocol_error", json!({}), &["from", "provider", "subject"], |gate| says(gate, &frame::client(3, b"x"))),
        row("type_refused", json!({}), OF_MESSAGE, |gate| says(gate, &frame::client(2, b"x"))),
        row("invalid_utf8", json!({}), OF_MESSAGE, |gate| says(gate, &frame::client(TEXT, b"\xff"))),
        row("invalid_json", side(json!({"json": {}})), OF_MESSAGE, |gate| says(gate, &text("{"))),
        row("json_refused", side(json!({"json": {"max_depth": 1}})), OF_MESSAGE, |gate| says(gate, &text("[[[]]]"))),
        row("schema_refused", side(typed), &["at", "from", "type", "keyword", "provider", "subject"], |gate| {
            says(gate, &text(r#"{"type":"say"}"#));
        }),
        row(
            "pattern_refused",
            side(json!({"json": {"discriminator": "/type", "schemas": {"say": {}}}, "rule_sets": ["sql_injection"]})),
            &["at", "from", "rule", "type", "instance", "provider", "subject"],
            |gate| says(gate, &text(r#"{"type":"say","to":{"name":"x' OR 1=1 --"}}"#)),
        ),
        row(
            "not_authorized",
            side(json!({"json": {}, "authorize": [{"when": {"": "*"}, "claims": {"role": "admin"}}]})),
            OF_MESSAGE,
            |gate| says(gate, &text("{}")),
        ),
        row("tunnel_refused", json!({}), &["at", "from", "rule", "provider", "subject"], |gate| {
            says(gate, &text("SSH-2.0-OpenSSH_9.6\r\n"));
        }),
        row("message_too_big", side(json!({"max_message_bytes": 3})), OF_MESSAGE, |gate| says(gate, &text("abcd"))),
        row("fragments_exceeded", side(json!({"max_fragments": 1})), OF_MESSAGE, |gate| {
            says(gate, &[part(0x01, b"a"), part(0x80, b"b")].concat());
        }),
        row("invalid_deflate", json!({"compression": "inspect"}), OF_MESSAGE, |gate| {
            let offer = ("sec-websocket-extensions", "permessage-deflate");
            let stream = gate.request(&upgrade().with(offer.0, offer.1));
            gate.respond(stream, &switching_protocols().with(offer.0, offer.1));
            gate.client(stream, &part(0xc1, b"\x07"));
        }),
        row(
            "overloaded",
            json!({"messages": {"from_client": {"whole": true}}, "limits": {"held_bytes": 40_000}}),
            OF_MESSAGE,
            |gate| says(gate, &part(0x01, &[b'x'; 50_000])),
        ),
        row(
            "rate_exceeded",
            json!({"limits": {"per_connection": {"messages": {"per_second": 1, "burst": 1}}}}),
            OF_MESSAGE,
            |gate| {
                says(gate, &text("a").repeat(2));
            },
        ),
    ]
}

fn times() -> Vec<Row> {
    let after = |key: &str| json!({"liveness": {key: "2s"}});
    vec![
        row("idle", after("idle_timeout"), OF_CONNECTION, |gate| {
            gate.connect();
            gate.elapse(Duration::from_secs(5));
        }),
        row("lifetime", after("max_lifetime"), OF_CONNECTION, |gate| {
            gate.connect();
            gate.elapse(Duration::from_secs(5));
        }),
        row("too_slow", after("message_timeout"), OF_CONNECTION, |gate| {
            says(gate, &text("hello")[..4]);
            gate.elapse(Duration::from_secs(5));
        }),
        row("dead", json!({"liveness": {"ping_interval": "1s", "pong_timeout": "1s"}}), OF_CONNECTION, |gate| {
            let stream = gate.connect();
            gate.server(stream, &frame::server(TEXT, b"hello"));
            gate.elapse(Duration::from_secs(9));
        }),
        row("policy_changed", json!({}), &KNOWN, |gate| {
            gate.connect();
            assert!(gate.reconfigure(&policy_with(json!({"hosts": ["a.example"]}))));
            gate.elapse(Duration::from_secs(5));
        }),
    ]
}

fn line(gate: &Gate, event: &str, reason: &str) -> Option<Value> {
    let lines = gate.logs().iter().filter_map(|log| serde_json::from_str::<Value>(&log.text).ok());
    lines.filter(|line| line["event"] == event).find(|line| line["reason"] == reason)
}

#[test]
fn the_line_of_each_reason_says_what_its_kind_has_to() {
    let rows: Vec<Row> = [handshakes(), messages(), times()].into_iter().flatten().collect();
    let told: BTreeSet<&str> = rows.iter().map(|row| row.reason).chain([OF_UPSTREAM]).collect();
    let all: BTreeSet<&str> = Violation::ALL.iter().map(|violation| violation.reason()).collect();
    assert_eq!(told, all);
    let mut places = Vec::new();
    for Row { reason, policy, members, act } in rows {
        let mut gate = Gate::new(&policy);
        act(&mut gate);
        let line = line(&gate, "refused", reason).unwrap_or_else(|| panic!("{reason}: {:#?}", gate.logs()));
        for member in ALWAYS.iter().chain(members) {
            assert!(line[member].as_str().is_some_and(|text| !text.is_empty()), "{reason} has no {member}: {line}");
        }
        places.extend(line["at"].as_str().map(|at| (reason, at.to_owned())));
        // Another policy enforces there.
        if reason == "policy_changed" {
            continue;
        }
        // The same where nothing is enforced.
        let mut monitored = policy.clone();
        monitored["mode"] = "monitor".into();
        let mut gate = Gate::new(&monitored);
        act(&mut gate);
        let Some(would) = self::line(&gate, "would_refuse", reason) else {
            panic!("{reason}: {:#?}", gate.logs());
        };
        for member in ALWAYS.iter().chain(members) {
            assert_eq!(would[member].is_string(), line[member].is_string(), "{reason} {member}: {would}");
        }
    }
    let places: Vec<(&str, &str)> = places.iter().map(|(reason, at)| (*reason, at.as_str())).collect();
    assert_eq!(places, PLACES);
}

/// The path in the policy of what refuses there.
const PLACES: &[(&str, &str)] = &[
    ("tls_required", "require_tls"),
    ("host_refused", "hosts"),
    ("not_websocket", "non_websocket"),
    ("origin_refused", "origin"),
    ("subprotocol_refused", "subprotocols"),
    ("credential_missing", "auth.sources"),
    ("credential_ambiguous", "auth.sources"),
    ("credential_invalid", "auth.providers[0]"),
    ("credential_expired", "auth.providers[0]"),
    ("claim_refused", "auth.providers[0].require.role"),
    ("connections_exceeded", "limits.connections"),
    ("handshakes_exceeded", "limits.per_address.handshakes"),
    ("banned", "limits.per_address.failures"),
    ("ticket_invalid", "auth.tickets"),
    ("ticket_used", "auth.tickets"),
    ("credential_revoked", "auth.revocation"),
    ("internal", "auth.revocation"),
    ("type_refused", "messages.from_client.binary"),
    ("invalid_utf8", "messages.from_client.utf8"),
    ("invalid_json", "messages.from_client.json"),
    ("json_refused", "messages.from_client.json.max_depth"),
    ("schema_refused", "messages.from_client.json.schemas.say"),
    ("pattern_refused", "messages.from_client.rule_sets[0]"),
    ("not_authorized", "messages.from_client.authorize[0]"),
    ("tunnel_refused", "messages.from_client.tunnels"),
    ("message_too_big", "messages.from_client.max_message_bytes"),
    ("fragments_exceeded", "messages.from_client.max_fragments"),
    ("invalid_deflate", "compression"),
    ("overloaded", "limits.held_bytes"),
    ("rate_exceeded", "limits.per_connection.messages"),
    ("idle", "liveness.idle_timeout"),
    ("lifetime", "liveness.max_lifetime"),
    ("too_slow", "liveness.message_timeout"),
    ("dead", "liveness.pong_timeout"),
];

/// The upstream's own word, of which the filter has no line.
const OF_UPSTREAM: &str = "upstream_refused";

#[test]
fn envoys_access_log_is_told_that_the_upstream_refused() {
    let mut gate = Gate::new(&policy_with(json!({})));
    let stream = asks(&mut gate, &[]);
    gate.respond(stream, &switching_protocols().replaced(":status", "503"));
    let told = &gate.stream(stream).state;
    let of = |name: &str| told.get(&format!("portcullis_{name}")).map(String::as_str);
    let expected = [Some(OF_UPSTREAM), Some("corp"), Some("alice")];
    assert_eq!(["reason", "provider", "subject"].map(of), expected, "{told:?}");
    assert_eq!(line(&gate, "refused", OF_UPSTREAM), None);
}

#[test]
fn a_ban_has_a_line_and_a_counter_when_it_begins() {
    let mut policy =
        policy_with(json!({"limits": {"per_address": {"failures": {"count": 3, "window": "60s", "ban": "5m"}}}}));
    let told = |gate: &Gate| {
        let lines = gate.logs().iter().filter_map(|log| serde_json::from_str::<Value>(&log.text).ok());
        lines.filter(|line| line["event"] == "banned").collect::<Vec<Value>>()
    };
    let fail = |gate: &mut Gate| (0..6).for_each(|_| _ = bears(gate, json!({"aud": "others"})));
    let mut gate = Gate::new(&policy);
    fail(&mut gate);
    let lines = told(&gate);
    assert_eq!((lines.len(), gate.metric("portcullis.bans")), (1, 1), "{lines:?}");
    let expected = json!({"reason": "credential_invalid", "at": "limits.per_address.failures", "failures": 3, "window_s": 60,
        "ban_s": 300, "detail": "audience", "address": "203.0.113.7:51234", "provider": "corp", "subject": "alice"});
    for (member, value) in expected.as_object().expect("members") {
        assert_eq!(lines[0][member], *value, "{}", lines[0]);
    }
    // Limits that are only monitored ban nobody, and say whom they would refuse.
    policy["limits"]["mode"] = "monitor".into();
    let mut gate = Gate::new(&policy);
    fail(&mut gate);
    assert_eq!((told(&gate).len(), gate.metric("portcullis.bans")), (0, 0));
    assert_eq!(gate.metric("portcullis.would_refuse.banned"), 3);
    assert_eq!(gate.metric("portcullis.refused.credential_invalid"), 6);
}

#[test]
fn a_policy_that_is_taken_or_refused_is_told_and_counted() {
    let mut gate = Gate::new(&policy_with(json!({"revision": "one \"2\"", "origin": {"mode": "monitor"}})));
    let configured = |gate: &Gate| {
        let lines = gate.logs().iter().filter_map(|log| serde_json::from_str::<Value>(&log.text).ok());
        lines.filter(|line| line["event"] == "configured").collect::<Vec<Value>>()
    };
    assert_eq!(configured(&gate), [json!({"event": "configured", "revision": "one%20%222%22", "monitoring": 1})]);
    assert_eq!(gate.metric("portcullis.monitoring"), 1);
    assert!(gate.logs().iter().any(|log| log.text.starts_with("portcullis: origin.mode: monitor: ")));
    assert!(!gate.reconfigure(&json!({"moed": 1})));
    assert_eq!((gate.metric("portcullis.policies.taken"), gate.metric("portcullis.policies.refused")), (1, 1));
    assert_eq!(gate.metric("portcullis.monitoring"), 1);
    assert!(gate.reconfigure(&policy_with(json!({}))));
    assert_eq!((gate.metric("portcullis.policies.taken"), gate.metric("portcullis.monitoring")), (2, 0));
    assert_eq!(configured(&gate)[1], json!({"event": "configured", "monitoring": 0}));
}
