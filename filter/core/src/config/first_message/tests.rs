use serde_json::json;

use crate::config::tests::{good, read, warnings, with};

use super::*;

fn based() -> serde_json::Value {
    with(good(), "/messages/from_client/json", json!({}))
}

#[test]
fn a_first_message_has_a_pointer_and_a_time() {
    let config = with(based(), "/auth/sources", json!([{"header": "authorization"}, {"message": "/payload/token"}]));
    for (timeout, expected) in [(json!(null), 5_000), (json!("100ms"), 100), (json!("60s"), 60_000)] {
        let policies = read(&with(config.clone(), "/auth/first_message_timeout", timeout)).unwrap().policies;
        let (auth, credentials) = (&policies.base().auth, policies.base().credentials.as_ref().unwrap());
        let first = credentials.first.as_ref().unwrap();
        assert_eq!(first.timeout, Duration::from_millis(expected));
        assert!(!first.forward && auth.sources.len() == 1 && credentials.renewal.is_none());
        assert!(policies.base().awaits_first_message());
    }
    assert!(!read(&based()).unwrap().policies.base().awaits_first_message());
    let inspected = with(with(config, "/compression", json!("inspect")), "/auth/forward", json!(true));
    assert!(read(&inspected).is_ok());
    // Alone it is a source.
    assert!(read(&with(based(), "/auth/sources", json!([{"message": ""}]))).is_ok());
}

#[test]
fn what_cannot_be_found_or_means_nothing_is_refused() {
    let message = |config| with(config, "/auth/sources", json!([{"message": "/token"}]));
    let renew = |config, value| with(config, "/auth/renew", value);
    let good_renew = json!({"when": {"/type": "auth"}, "token": "/token"});
    let two = with(based(), "/auth/sources", json!([{"message": "/a"}, {"query": "t"}, {"message": "/b"}]));
    let lax = with(based(), "/messages/from_client/json/duplicate_keys", json!("allow"));
    let many: serde_json::Map<String, serde_json::Value> =
        (0..9).map(|index| (format!("/{index}"), json!("x"))).collect();
    for (config, start) in [
        (message(good()), "auth.sources[0].message: needs messages.from_client.json"),
        (message(lax.clone()), "auth.sources[0].message: needs messages.from_client.json.duplicate_keys: refuse"),
        (
            message(with(based(), "/messages/from_client/envelope", json!("signalr"))),
            "auth.sources[0].message: clients of signalr and sockjs wait",
        ),
        (
            message(with(based(), "/messages/from_client/envelope", json!({"chat.v1": "sockjs"}))),
            "auth.sources[0].message: clients of signalr and sockjs wait",
        ),
        (two, "auth.sources[2].message: stands twice"),
        (
            with(based(), "/auth/sources", json!([{"message": "token"}])),
            "auth.sources[0].message: expected a JSON Pointer",
        ),
        (with(based(), "/auth/sources", json!([{"message": 1}])), "auth.sources[0].message: expected"),
        (with(based(), "/auth/sources", json!([{"message": "/t", "query": "t"}])), "auth.sources[0]: needs one of"),
        (
            with(based(), "/auth/sources", json!([{"message": "/t", "prefix": "t"}])),
            "auth.sources[0].prefix: belongs to",
        ),
        (with(based(), "/auth/first_message_timeout", json!("5s")), "auth.first_message_timeout: belongs to a source"),
        (
            with(message(based()), "/auth/first_message_timeout", json!("99ms")),
            "auth.first_message_timeout: from 100ms",
        ),
        (with(message(based()), "/auth/first_message_timeout", json!("61s")), "auth.first_message_timeout: from 100ms"),
        (renew(good(), good_renew.clone()), "auth.renew: needs messages.from_client.json"),
        (renew(lax, good_renew.clone()), "auth.renew: needs messages.from_client.json.duplicate_keys"),
        (renew(based(), json!({"token": "/t"})), "auth.renew.when: is required"),
        (renew(based(), json!({"when": {}, "token": "/t"})), "auth.renew.when: is required"),
        (renew(based(), json!({"when": many, "token": "/t"})), "auth.renew.when: at most 8"),
        (renew(based(), json!({"when": {"/type": "a"}})), "auth.renew.token: is required"),
        (renew(based(), json!({"when": {"/type": "a"}, "token": "t"})), "auth.renew.token: expected a JSON Pointer"),
        (
            renew(based(), json!({"when": {"type": "a"}, "token": "/t"})),
            "auth.renew.when.type: expected a JSON Pointer",
        ),
        (renew(based(), json!({"when": {"/type": "a"}, "token": "/t", "x": 1})), "auth.renew.x: unknown field"),
        (
            with(message(based()), "/compression", json!("inspect")),
            "auth.forward: needs compression: refuse where the first message is swallowed",
        ),
        (
            with(renew(based(), good_renew.clone()), "/compression", json!("inspect")),
            "auth.renew: needs compression: refuse",
        ),
        (
            with(renew(with(based(), "/auth/providers", json!([])), good_renew), "/auth/required", json!(false)),
            "auth.renew: needs a provider",
        ),
    ] {
        let error = read(&config).unwrap_err();
        assert!(error.starts_with(start), "{error}");
    }
}

/// Where a server waits for the message that brings the credential, it has to get it.
#[test]
fn what_a_server_waits_for_is_warned_of() {
    for (envelope, forward, expected) in [
        ("json", false, 0),
        ("graphql-transport-ws", false, 1),
        ("graphql-transport-ws", true, 0),
        ("socket.io", false, 1),
        ("socket.io", true, 0),
    ] {
        let config = with(based(), "/auth/sources", json!([{"message": "/token"}]));
        let config = with(config, "/messages/from_client/envelope", json!(envelope));
        let config = with(config, "/non_websocket", json!("refuse"));
        let warnings = warnings(&read(&with(config, "/auth/forward", json!(forward))).unwrap());
        let found = warnings.iter().filter(|warning| warning.contains("auth.sources[0].message")).count();
        assert_eq!(found, expected, "{envelope} {warnings:?}");
    }
    let config = with(based(), "/auth/sources", json!([{"message": "/token"}]));
    let warnings = warnings(&read(&with(config, "/auth/claim_headers", json!({"sub": "x-user"}))).unwrap());
    assert!(warnings.iter().any(|warning| warning.contains("auth.claim_headers")), "{warnings:?}");
}
