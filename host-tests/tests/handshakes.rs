//! What the worst handshake costs, in instructions of the module: anybody may send one, and others wait for it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_host_tests::Headers;
use portcullis_host_tests::scenario::{Gate, ISSUER, policy_with, upgrade};
use serde_json::{Value, json};

/// What Envoy lets the fields of a request have together, less those that a good upgrade has.
const LONG_LEN: usize = 60_000;

/// What shows that the cost is linear: an eighth of it.
const EIGHTH_LEN: usize = LONG_LEN / 8;

/// The most instructions for a handshake.
const LONG_MAX: u64 = 150_000_000;

/// So many different short words with `mark` behind each.
fn words(before: &str, mark: &str, len: usize) -> String {
    let mut text = String::with_capacity(len);
    for index in 0_usize.. {
        let word = format!("{before}{index:x}{mark}");
        if text.len() + word.len() > len {
            break;
        }
        text.push_str(&word);
    }
    text
}

fn policies() -> [(&'static str, Value); 3] {
    let sources = json!([
        {"header": "authorization"}, {"header": "x-token"}, {"cookie": "session"}, {"query": "token"}, {"subprotocol": "bearer"}, {"ticket": "ticket"},
    ]);
    let tickets = json!({"keys": [{"inline": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}], "path": "/ticket"});
    let routes = json!([{"match": {"path_prefix": "/admin"}, "policy": {"auth": {"required": true}}}]);
    let introspection = json!([{
        "name": "corp", "introspection": {"cluster": "idp", "path": "/introspect", "client": {"id": "a", "secret": {"inline": "b"}}},
    }]);
    [
        ("the least", json!({})),
        (
            "every source",
            json!({"auth": {"sources": sources, "tickets": tickets}, "routes": routes, "compression": "inspect"}),
        ),
        (
            "tokens of any shape",
            json!({"auth": {"sources": sources, "tickets": tickets, "providers": introspection}, "mode": "monitor"}),
        ),
    ]
}

/// Heads of requests with fields of so many bytes.
fn heads(len: usize) -> Vec<(&'static str, Headers)> {
    let of = |name: &str, value: String| upgrade().without(name).with(name, value);
    let header = |text: &str| format!("{text}{}", words("a", ".", len));
    let jwt = |header: &str, claims: &str| {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        of("authorization", format!("Bearer {header}.{claims}.{}", "A".repeat(43)))
    };
    // A token has 16 KiB at most.
    let members = words("\"m", "\":1,", len.min(10_000));
    let strings = words("\"", "\",", len.min(10_000));
    let lists = "[".repeat(len.min(5_000)) + &"]".repeat(len.min(5_000));
    let lines = (0..80).fold(upgrade(), |head, index| {
        let spelling: String = "x-token".chars().map(|c| if c == '-' && index % 2 == 0 { '_' } else { c }).collect();
        head.with(&spelling, words("t", ",", len / 80))
    });
    vec![
        ("subprotocols", of("sec-websocket-protocol", words("", ",", len))),
        ("one subprotocol", of("sec-websocket-protocol", "a,".repeat(len / 2))),
        ("markers", of("sec-websocket-protocol", words("bearer,", ",", len))),
        ("tokens as subprotocols", of("sec-websocket-protocol", words("e2FsZzoxfQ.", ".,", len))),
        ("extensions", of("sec-websocket-extensions", words("", ",", len) + "a")),
        ("parameters", of("sec-websocket-extensions", format!("permessage-deflate;{}", words("a", ";", len)) + "a")),
        ("offers", of("sec-websocket-extensions", "permessage-deflate,".repeat(len / 19) + "a")),
        ("quotes", of("sec-websocket-extensions", "a;b=\"\\\\\\\\\",".repeat(len / 11) + "a")),
        ("options", of("connection", words("", ",", len) + "Upgrade")),
        ("protocols", of("upgrade", words("", ",", len) + "websocket")),
        ("cookies", of("cookie", words("a", "=1; ", len))),
        ("one cookie", of("cookie", words("session=", "; ", len))),
        ("cookies with tokens", of("cookie", words("session=e2FsZzoxfQ.", ".; ", len))),
        ("words in a cookie", of("cookie", format!("a={}", words("session=", " ", len)))),
        ("credentials", of("authorization", words("Bearer ", ",", len))),
        ("tokens", of("authorization", words("Bearer e2FsZzoxfQ.", ".,", len))),
        ("dots", of("authorization", format!("Bearer {}", ".".repeat(len)))),
        ("headers of tokens", of("authorization", format!("Bearer {}", "e2FsZzoyfQ.".repeat(len / 11)))),
        ("encodings", of("authorization", format!("Bearer {}", "%2525".repeat(len / 5)))),
        ("parts", of("authorization", header("Bearer "))),
        ("members of a header", jwt(&format!("{{{members}\"alg\":\"HS256\"}}"), "{}")),
        ("lists in a header", jwt(&format!("{{\"a\":{lists},\"alg\":\"HS256\"}}"), "{}")),
        ("members of claims", jwt("{\"alg\":\"HS256\"}", &format!("{{{members}\"iss\":\"{ISSUER}\"}}"))),
        ("audiences", jwt("{\"alg\":\"HS256\"}", &format!("{{\"aud\":[{strings}1],\"iss\":\"{ISSUER}\"}}"))),
        ("lines", lines),
        ("parameters of the query", of(":path", format!("/chat?{}", words("a", "&", len)))),
        ("one parameter", of(":path", format!("/chat?{}", words("token=", "&", len)))),
        ("tickets", of(":path", format!("/chat?{}", words("ticket=", "&", len)))),
        ("semicolons", of(":path", format!("/chat?{}", words("ticket=", ";", len)))),
        ("a path", of(":path", format!("/{}", words("a", "/", len)))),
        ("steps", of(":path", "/a/..%2f".repeat(len / 8))),
        ("an origin", of("origin", format!("https://{}", words("a", ".", len)))),
        ("origins", of("origin", words("https://a", " ", len))),
        ("a host", of(":authority", words("a", ".", len))),
        ("a key", of("sec-websocket-key", "A".repeat(len))),
        ("a scheme", of("x-forwarded-proto", words("https", ",", len))),
        ("addresses", of("x-forwarded-for", "1.1.1.1,".repeat(len / 8))),
    ]
}

fn cost(gate: &mut Gate, head: &Headers) -> u64 {
    let stream = gate.open_stream().unwrap();
    let _ = gate.request_headers(stream, head, false).unwrap();
    let cost = gate.instructions();
    gate.delete(stream).expect("it ends");
    cost
}

#[test]
fn a_handshake_costs_little_whatever_its_fields_are() {
    let mut faults = Vec::new();
    for (policy, changes) in policies() {
        let mut gate = Gate::new(&policy_with(changes));
        gate.allow_instructions(100 * LONG_MAX);
        for ((name, short), (_, long)) in heads(EIGHTH_LEN).into_iter().zip(heads(LONG_LEN)) {
            let [eighth, long] = [short, long].map(|head| cost(&mut gate, &head));
            let line = format!(
                "{:5.1} million instructions for 7.5 KB, {:6.1} for 60 KB: {name}, {policy}",
                eighth as f64 / 1e6,
                long as f64 / 1e6
            );
            println!("{line}");
            if long > LONG_MAX || long > eighth * 10 {
                faults.push(line);
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
