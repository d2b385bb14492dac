//! The memory of a worker: for the extremes of what a policy may say, the worst that peers can do about it, and the sum that is printed
//! at start.
//!
//! `PORTCULLIS_TICKETS` says how many tickets are issued, by default 5,000.

use std::env;
use std::time::Duration;

use portcullis_host_tests::frame;
use portcullis_host_tests::scenario::{Gate, RULE_SETS, page, policy_with, switching_protocols, token_with, upgrade};
use portcullis_host_tests::{Headers, StreamId};
use serde_json::{Value, json};

const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;

/// What a read of Envoy's has at most, within its default limits.
const CHUNK_LEN: usize = MIB as usize;

/// A gate whose log says what it needs, with as many instructions as a message of this test may take.
fn gate(policy: &Value) -> Gate {
    let mut gate = Gate::new(policy);
    gate.allow_instructions(1 << 40);
    gate
}

/// What the gate says that it needs: for all, and for each connection.
fn sum(gate: &Gate) -> (u64, u64) {
    let line = gate.logs().iter().map(|log| log.text.as_str()).find(|line| line.contains("a worker needs at most"));
    let line = line.expect("the sum is printed at start");
    let before = |unit: &str| {
        let (number, _) = line.split_once(unit).expect(unit);
        number.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok()).expect("a number")
    };
    (before(" MiB (") * MIB, before(" KiB for each connection") * KIB)
}

/// The memory is within the sum, with so many connections.
#[track_caller]
fn check(gate: &mut Gate, connections: u64, name: &str) {
    let (all, each) = sum(gate);
    let len = gate.memory_len().unwrap() as u64;
    println!("{name}: {} of {} MiB", len.div_ceil(MIB), (all + each * connections).div_ceil(MIB));
    assert!(
        len <= all + each * connections,
        "{name}: {len} bytes, where {all} and {connections} times {each} were said"
    );
    gate.check_manners();
}

fn problem(policy: &Value) -> Option<String> {
    portcullis_core::config::parse(policy.to_string().as_bytes(), &|_| None).err().map(|error| error.to_string())
}

/// The largest number that makes a policy which is accepted; the next one is refused by its path.
#[track_caller]
fn largest(policy: &dyn Fn(u64) -> Value, path: &str) -> u64 {
    let (mut low, mut high) = (1, 1 << 40);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        *(if problem(&policy(middle)).is_none() { &mut low } else { &mut high }) = middle;
    }
    let problem = problem(&policy(high)).expect("there is more than a VM has");
    assert!(problem.starts_with(&format!("{path}: a worker would need ")), "{problem}");
    low
}

fn client_with(len: u64, changes: Value) -> Value {
    let mut side = json!({"max_message_bytes": len, "max_frame_bytes": len, "max_fragments": 4_000_000_000_u32});
    side.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    policy_with(json!({"messages": {"from_client": side}, "log": {"connections": false, "refusals": false}}))
}

/// Sends a message in chunks, as many fragments as it has.
fn send(gate: &mut Gate, stream: StreamId, text: &[u8]) {
    for chunk in frame::client(frame::TEXT, text).chunks(CHUNK_LEN) {
        gate.client(stream, chunk);
    }
}

/// `item` again and again between `open` and `close`, up to `len` bytes.
fn list(open: &str, item: &str, close: &str, len: u64) -> Vec<u8> {
    let count = (len as usize - open.len() - close.len()) / item.len();
    let mut text = [open, &item.repeat(count)].concat();
    text.truncate(text.trim_end_matches(',').len());
    text.push_str(close);
    text.into_bytes()
}

/// What a message is made of at worst, for the rules that read it.
type Worst = fn(u64) -> Vec<u8>;

const TEXTS: [(&str, Worst); 9] = [
    ("numbers", |len| list("[", "1,", "]", len)),
    ("names", |len| list("{", "\"\":1,", "}", len)),
    ("escapes", |len| list("\"", "\\n", "\"", len)),
    ("a string of brackets", |len| list("[\"\\n", "[", "\"]", len)),
    ("JSON in a string", |len| list("[\"[\\\"\\\\n\\\",", "1,", "1]\"]", len)),
    ("encodings", |len| list("[\"", "%25%2e&#x;\\\\x\\u0027", "\"]", len)),
    ("JSON lines", |len| list("", "{\"a\":\"\\n\"}\n", "", len)),
    ("open brackets", |len| list("", "[", "", len)),
    ("commas", |len| list("[1", ",", "]", len)),
];

#[test]
fn the_longest_message_that_is_judged_is_within_the_sum() {
    let rules = [
        ("json", json!({"json": {"max_keys": 4_000_000_000_u32, "max_string_bytes": 4_000_000_000_u32}})),
        ("unique", json!({"json": {"schema": {"uniqueItems": true}}})),
        ("patterns", json!({"deny_patterns": [{"name": "never", "regex": "\\x00\\x01"}]})),
        ("rule sets", json!({"rule_sets": RULE_SETS})),
        ("rule sets and JSON", json!({"rule_sets": RULE_SETS, "json": {"max_keys": 4_000_000_000_u32}})),
        (
            "formats",
            json!({"json": {"schema": {"anyOf": [{"format": "regex"}, {"items": {"format": "uri-template"}}, true]}, "formats": "assert"}}),
        ),
        (
            "authorize",
            json!({"json": {"max_keys": 4_000_000_000_u32}, "authorize": [{"when": {"/a": "*x*"}, "missing": "allow", "claims": {"role": ["admin"]}}]}),
        ),
        ("an envelope", json!({"json": {}, "envelope": "socket.io"})),
    ];
    for (name, changes) in rules {
        let policy = |len| client_with(len, changes.clone());
        let longest = largest(&policy, "messages.from_client.max_message_bytes");
        assert!(longest > 16 * MIB, "{longest}");
        for (kind, text) in TEXTS {
            let mut gate = gate(&policy(longest));
            let stream = gate.connect();
            // A part is enough to see what a byte takes: the sum is one of factors, and the time of this test is not.
            let part = match (name, kind) {
                ("json" | "unique" | "patterns", "numbers") => 1,
                ("json" | "unique" | "patterns", _) => 8,
                _ => 32,
            };
            send(&mut gate, stream, &text(longest / part));
            check(&mut gate, 1, &format!("{name}: {kind}"));
            let (all, _) = sum(&gate);
            let messages_len = gate.memory_len().unwrap() as u64 * part;
            assert!(messages_len <= all + 64 * MIB, "{name}: {kind} takes more for each byte than was said");
        }
    }
}

#[test]
fn schemas_in_schemas_take_no_more_than_the_message() {
    let rest = |inner: usize| json!({"anyOf": [{"$ref": format!("#/$defs/{inner}")}], "unevaluatedItems": true});
    let definitions: serde_json::Map<_, _> = (1..40).map(|outer| (outer.to_string(), rest(outer - 1))).collect();
    let mut schema = json!({"$defs": definitions, "$ref": "#/$defs/39"});
    schema["$defs"]["0"] = json!({"unevaluatedItems": true});
    let policy = client_with(4 * MIB, json!({"json": {"schema": schema}}));
    let mut gate = gate(&policy);
    let stream = gate.connect();
    let before = gate.memory_len().unwrap();
    send(&mut gate, stream, &list("[", "1,", "]", 4 * MIB));
    let grown = gate.memory_len().unwrap() - before;
    assert!(grown as u64 <= 12 * 4 * MIB, "{grown} bytes");
    check(&mut gate, 1, "unevaluated");
}

#[test]
fn as_much_as_may_be_held_is_within_the_sum() {
    let policy = |held: u64| {
        let mut policy = client_with(1 << 40, json!({"binary": "allow", "whole": true}));
        policy["limits"]["held_bytes"] = held.into();
        let side = &mut policy["messages"]["from_client"];
        (side["max_message_bytes"], side["max_fragments"]) = ((8 * MIB).into(), 64.into());
        policy
    };
    let held = largest(&policy, "limits.held_bytes");
    let mut gate = gate(&policy(held));
    let count = held / (8 * MIB) + 2;
    for _ in 0..count {
        let stream = gate.connect();
        for chunk in frame::client(frame::BINARY, &vec![0; 8 * MIB as usize - 1]).chunks(CHUNK_LEN - 1) {
            gate.client(stream, &chunk[..chunk.len() - 1]);
        }
    }
    assert!(gate.metric("portcullis.refused.overloaded") > 0, "it was not full");
    check(&mut gate, count, "held");
    // A text that nobody has to judge may be as long as anybody likes.
    assert_eq!(problem(&client_with(1 << 40, json!({}))), None);
}

#[test]
fn a_route_asks_for_no_more_than_there_is() {
    let route = json!({"match": {"path": "/x"}, "policy": {"limits": {"held_bytes": 1_u64 << 30}}});
    let found = problem(&policy_with(json!({"routes": [route]}))).unwrap_or_default();
    assert!(found.starts_with("routes[0].policy.limits.held_bytes: "), "{found}");
}

/// Pieces of every length that stay between those that go.
#[test]
fn gaps_between_what_is_held_are_within_the_sum() {
    let held = 8 * MIB;
    let mut policy = client_with(MIB, json!({"binary": "allow", "whole": true, "tunnels": "allow"}));
    policy["limits"]["held_bytes"] = held.into();
    let mut gate = gate(&policy);
    let before = gate.memory_len().unwrap() as u64;
    let (mut open, mut count): (Vec<StreamId>, u64) = (Vec::new(), 0);
    for shift in 13..20 {
        let piece = (1 << shift) - 100;
        let full = gate.metric("portcullis.refused.overloaded");
        while gate.metric("portcullis.refused.overloaded") == full {
            let stream = gate.connect();
            gate.client(stream, &frame::client_header(frame::BINARY, piece as u64 + 1));
            gate.client(stream, &vec![0; piece]);
            open.push(stream);
        }
        count = count.max(open.len() as u64);
        // Half of them, so that each that stays keeps others from being put together.
        let mut index = 0;
        open.retain(|stream| {
            index += 1;
            if index % 2 == 0 {
                gate.delete(*stream).unwrap();
            }
            index % 2 == 1
        });
    }
    let grown = gate.memory_len().unwrap() as u64 - before;
    println!("gaps: {grown} bytes for {held}, {count} connections");
    assert!(grown <= 2 * held + count * 4 * KIB, "{grown} bytes for {held}");
    check(&mut gate, count, "gaps");
}

#[test]
fn empty_fragments_are_held_like_others() {
    for changes in [json!({"whole": true}), json!({"tunnels": "refuse"})] {
        let mut policy = client_with(MIB, changes);
        policy["limits"]["held_bytes"] = 100_000.into();
        let mut gate = gate(&policy);
        let stream = gate.connect();
        gate.client(stream, &[0x01, 0x81, 0, 0, 0, 0, b'S']);
        let empty = [0x00, 0x80, 0, 0, 0, 0].repeat(10_000);
        for _ in 0..40 {
            gate.client(stream, &empty);
        }
        assert_eq!(gate.metric("portcullis.refused.overloaded"), 1);
        check(&mut gate, 1, "empty fragments");
    }
}

/// A compressed message (RFC 7692 §7.2.3.4).
fn compressed(text: &[u8]) -> Vec<u8> {
    let mut payload = miniz_oxide::deflate::compress_to_vec(text, 6);
    payload.push(0);
    let mut bytes = frame::client(frame::TEXT, &payload);
    bytes[0] = 0xc1;
    bytes
}

#[test]
fn what_is_inflated_is_within_the_sum() {
    let mut policy = client_with(4 * MIB, json!({"json": {}}));
    policy["compression"] = "inspect".into();
    policy["limits"]["held_bytes"] = (8 * MIB).into();
    let mut gate = gate(&policy);
    let bomb = compressed(&list("[", "1,", "]", 4 * MIB));
    let open = |gate: &mut Gate| {
        let stream = gate.request(&upgrade().with("sec-websocket-extensions", "permessage-deflate"));
        gate.respond(stream, &switching_protocols().with("sec-websocket-extensions", "permessage-deflate"));
        stream
    };
    let streams: Vec<StreamId> = (0..300).map(|_| open(&mut gate)).collect();
    for stream in streams {
        // All but the last byte.
        gate.client(stream, &bomb[..bomb.len() - 1]);
    }
    assert!(gate.metric("portcullis.refused.overloaded") > 0, "it was not full");
    check(&mut gate, 300, "bombs");
}

/// A gate that judges by claims, and an upgrade that says as much as Envoy lets it.
fn long_upgrade() -> Headers {
    let claims: Value = (0..900).map(|index| (format!("c{index}"), json!(0))).collect::<serde_json::Map<_, _>>().into();
    let long = "x".repeat(9_000);
    let short = [":path", "x-request-id", "authorization"].into_iter().fold(upgrade(), |head, name| head.without(name));
    short
        .with(":path", format!("/{long}"))
        .with("x-request-id", long)
        .with("authorization", format!("Bearer {}", token_with(claims)))
}

#[test]
fn what_a_handshake_says_is_held_too() {
    let rule = json!({"when": {"/type": "x"}, "claims": {"role": ["admin"]}});
    let mut policy = client_with(1_000, json!({"json": {}, "authorize": [rule]}));
    policy["limits"]["held_bytes"] = (4 * MIB).into();
    let mut gate = gate(&policy);
    let head = long_upgrade();
    let (mut open, mut refused) = (0, None);
    for _ in 0..1_000 {
        let stream = gate.request(&head);
        match &gate.stream(stream).reply {
            None => open += 1,
            Some(reply) => refused = Some((reply.status, reply.details.clone())),
        }
    }
    assert!((20..900).contains(&open), "{open} are up");
    assert_eq!(refused, Some((503, "portcullis_overloaded".to_owned())));
    check(&mut gate, open, "handshakes");
}

#[test]
fn a_connection_takes_what_is_said() {
    let mut gate = gate(&policy_with(json!({"log": {"connections": false, "refusals": false}})));
    let count = 3_000;
    for _ in 0..count {
        gate.connect();
    }
    check(&mut gate, count, "connections");
}

#[test]
fn types_that_a_client_makes_up_are_not_kept() {
    let mut policy = client_with(
        65_536,
        json!({"json": {"discriminator": "/type", "schemas": {"known": true}, "otherwise": "allow"}}),
    );
    policy["limits"]["global"] = json!({"cluster": "ratelimit", "message_batch": 10});
    let mut gate = gate(&policy);
    let stream = gate.request(&upgrade());
    let token = gate.grpc_calls().last().expect("the fleet is asked").token;
    gate.grpc_receive(token, &[0x08, 0x01]).unwrap();
    gate.respond(stream, &switching_protocols());
    for index in 0..200 {
        let text = json!({"type": format!("{index}{}", "x".repeat(60_000))}).to_string();
        gate.client(stream, &frame::client(frame::TEXT, text.as_bytes()));
    }
    gate.client(stream, &frame::client(frame::TEXT, br#"{"type":"known"}"#));
    let longest = gate.grpc_calls().iter().map(|call| call.message.len()).max();
    assert!(longest.is_some_and(|len| len < 200), "{longest:?}");
    assert_eq!(gate.grpc_calls().len(), 3, "the handshake, what has no type that the policy names, and what has");
    check(&mut gate, 1, "types");
}

#[test]
fn tickets_take_nothing_whether_they_are_redeemed_or_not() {
    let count: u64 = env::var("PORTCULLIS_TICKETS").map_or(5_000, |count| count.parse().expect("a number"));
    let tickets = json!({"path": "/ws-ticket", "keys": [{"inline": "a secret that seals, of more than 32 bytes"}]});
    let sources = json!([{"header": "authorization"}, {"ticket": "ticket"}]);
    let log = json!({"connections": false, "refusals": false});
    let mut gate = gate(&policy_with(json!({"auth": {"tickets": tickets, "sources": sources}, "log": log})));
    let to = |head: Headers, path: &str| head.without(":path").with(":path", path);
    let post = to(page(), "/ws-ticket").without(":method").with(":method", "POST").with("content-length", "0");
    let mut len = None;
    for number in 0..count {
        let stream = gate.request(&post);
        let reply = gate.stream(stream).reply.as_ref().expect("an answer");
        assert_eq!(reply.status, 201, "{number}");
        let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
        gate.delete(stream).unwrap();
        // One of ten comes to something: a hundred a second for the thirty seconds that they are good.
        if number % 10 == 0 {
            let path = format!("/chat?ticket={}", body["ticket"].as_str().expect("a ticket"));
            let stream = gate.request(&to(upgrade().without("authorization"), &path));
            assert!(gate.stream(stream).request.passed, "{number}: {:?}", gate.stream(stream).reply);
            gate.delete(stream).unwrap();
            gate.elapse(Duration::from_millis(10));
        }
        if number == count / 10 {
            len = Some(gate.memory_len().unwrap());
        }
    }
    assert_eq!(Some(gate.memory_len().unwrap()), len, "{count} tickets");
    gate.check_manners();
}
