use serde_json::{Value, json};

use super::*;
use crate::config::tests::{good, read, refuse, refuse_at, with};
use crate::token::rules::Source;

fn least() -> Value {
    json!({"path": "/ws-ticket", "keys": [{"env": "SECRET"}]})
}

/// The auth of a policy whose tickets differ from the least in one key.
fn changed(pointer: &str, value: Value) -> Value {
    with(with(good(), "/auth/tickets", least()), &format!("/auth/tickets{pointer}"), value)
}

#[test]
fn tickets_have_defaults_and_a_source() {
    let parsed = read(&with(good(), "/auth/tickets", least())).unwrap();
    let auth = &parsed.policies.base().auth;
    let TicketRules { path, ttl, bind, store, .. } = auth.tickets.as_ref().unwrap();
    assert_eq!((&**path, *ttl), ("/ws-ticket", Duration::from_secs(30)));
    assert_eq!((*bind, *store), (Bind { address: true, origin: true }, Store::Local));
    assert_eq!(auth.sources.last(), Some(&Source::Ticket("ticket".into())));
    assert_eq!((auth.sources.len(), parsed.warnings.len()), (5, 0));
}

#[test]
fn every_key_of_tickets_means_something() {
    let mut config = changed("/ttl", json!("5m"));
    config = with(config, "/auth/sources", json!([{"cookie": "sid"}, {"ticket": "t"}]));
    config = with(config, "/auth/tickets/bind", json!([]));
    config = with(config, "/auth/tickets/store", json!({"rate_limit_service": true}));
    config = with(config, "/auth/tickets/keys/0", json!({"inline": "i".repeat(32)}));
    config = with(config, "/limits/global", json!({"cluster": "ratelimit", "domain": "portcullis"}));
    let parsed = read(&config).unwrap();
    let auth = &parsed.policies.base().auth;
    let TicketRules { ttl, bind, store, .. } = auth.tickets.as_ref().unwrap();
    assert_eq!((*ttl, *bind, *store), (Duration::from_secs(300), Bind::NOTHING, Store::RateLimitService));
    assert_eq!(auth.sources, [Source::Cookie("sid".into()), Source::Ticket("t".into())]);
    let paths: Vec<_> = parsed.warnings.iter().map(|warning| (warning.path(), warning.problem())).collect();
    let paths: Vec<&str> = paths.into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["auth.tickets.keys[0].inline", "auth.tickets.bind"]);
    assert!(!format!("{parsed:?}").contains("iiii"));
}

#[test]
fn tickets_that_mean_nothing_are_refused_with_their_path() {
    for (pointer, value, start) in [
        ("/path", Value::Null, "auth.tickets.path: is required"),
        ("/keys", Value::Null, "auth.tickets.keys: needs a key"),
        ("/keys", json!([]), "auth.tickets.keys: needs a key"),
        ("/keys/0", json!({"inline": "x".repeat(31)}), "auth.tickets.keys[0]: a secret of less"),
        ("/keys/0", json!({"env": "NONE"}), "auth.tickets.keys[0].env: no such variable"),
        ("/keys/0", json!({}), "auth.tickets.keys[0]: needs one of env and inline"),
        ("/keys", json!([{"env": "SECRET"}, {"env": "SECRET"}]), "auth.tickets.keys[1]: stands twice"),
        ("/ttl", json!("999ms"), "auth.tickets.ttl: from 1s"),
        ("/ttl", json!("301s"), "auth.tickets.ttl: from 1s"),
        ("/bind", json!(["page"]), "auth.tickets.bind[0]: expected address or origin"),
        ("/store", json!("redis"), "auth.tickets.store: expected local or"),
        ("/store", json!({"rate_limit_service": true}), "auth.tickets.store.rate_limit_service: needs limits.global"),
        ("/store", json!({"rate_limit": true}), "auth.tickets.store.rate_limit: unknown field"),
        ("/other", json!(1), "auth.tickets.other: unknown field"),
    ] {
        refuse(&changed(pointer, value), start);
    }
    let keys: Vec<Value> = (0..17).map(|index| json!({"inline": format!("{index:032}")})).collect();
    refuse(&changed("/keys", json!(keys)), "auth.tickets.keys: at most 16");
    let keys: Vec<Value> = (0..16).map(|index| json!({"inline": format!("{index:032}")})).collect();
    assert!(read(&changed("/keys", json!(keys))).is_ok());
    assert!(read(&changed("/store", json!({"rate_limit_service": false}))).is_ok());
}

#[test]
fn a_path_of_tickets_is_one_that_all_read_in_one_way() {
    for path in [
        "",
        "ws-ticket",
        "/a?b",
        "/a#b",
        "/a b",
        "/é",
        "/a/",
        "/a//b",
        "/a/../b",
        "/%61",
        "/a;b",
        "//a",
        "/a\"b",
        "/a\\b",
    ] {
        refuse(&changed("/path", json!(path)), "auth.tickets.path: expected a path");
    }
    for path in ["/t", "/ws-ticket", "/api/v1/ws_ticket~1"] {
        assert!(read(&changed("/path", json!(path))).is_ok(), "{path}");
    }
}

#[test]
fn tickets_and_their_sources_go_together() {
    refuse_at("/auth/sources", json!([{"cookie": "sid"}, {"ticket": "t"}]), "auth.sources[1].ticket: needs tickets");
    let sources = |sources: Value| with(with(good(), "/auth/tickets", least()), "/auth/sources", sources);
    for (list, start) in [
        (json!([{"cookie": "sid"}]), "auth.tickets: needs a source"),
        (json!([{"ticket": "t"}]), "auth.sources: needs another source"),
        (json!([{"query": "t"}, {"ticket": "t"}]), "auth.sources[1].ticket: this parameter has tokens"),
        (json!([{"cookie": "t", "ticket": "t"}]), "auth.sources[0]: needs one of"),
        (json!([{"ticket": ""}, {"cookie": "t"}]), "auth.sources[0].ticket: must not be empty"),
        (json!([{"ticket": "t", "prefix": "x"}, {"cookie": "t"}]), "auth.sources[0].prefix: belongs to a header"),
        (json!([{"ticket": 1}]), "auth.sources[0].ticket: expected a string"),
    ] {
        refuse(&sources(list), start);
    }
    let open = with(with(good(), "/auth", json!({"required": false})), "/auth/tickets", least());
    refuse(&open, "auth.tickets: needs a provider");
}

#[test]
fn a_path_is_for_one_thing() {
    let provider = good()["auth"]["providers"][0]["name"].clone();
    let policy = with(with(good(), "/auth/tickets", least()), "/auth/providers/0/audiences", json!(["chat"]));
    let policy = with(policy, "/auth/providers/0/issuer", json!("https://idp.example.com/"));
    let logout =
        |path: &Value| with(policy.clone(), "/auth/back_channel_logout", json!({"path": path, "provider": provider}));
    refuse(&logout(&least()["path"]), "auth.back_channel_logout.path: is that of auth.tickets");
    assert!(read(&logout(&json!("/backchannel-logout"))).is_ok());
}
