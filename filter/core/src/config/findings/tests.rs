//! All faults of a policy are named at once, and none that only follows from another.

use serde_json::{Value, json};

use crate::config::tests::{good, with};
use crate::config::{ConfigError, parse};

fn error(config: &Value) -> ConfigError {
    let environment = |name: &str| (name == "SECRET").then(|| "an HMAC secret of more than 32 bytes".to_owned());
    parse(config.to_string().as_bytes(), &environment).expect_err("a fault")
}

/// The paths of all faults, in order.
#[track_caller]
fn check(config: &Value, expected: &[&str]) {
    let error = error(config);
    let paths: Vec<&str> = error.faults().iter().map(|fault| fault.path()).collect();
    assert_eq!(paths, expected, "{error}");
    assert_eq!(error.omitted(), 0);
}

fn provider(change: Value) -> Value {
    let mut provider = good()["auth"]["providers"][0].clone();
    for (key, value) in change.as_object().unwrap() {
        provider[key] = value.clone();
    }
    provider
}

#[test]
fn what_cannot_be_read_is_named_before_what_means_nothing() {
    let config = json!({
        "moed": "monitor", "mode": "monitoring", "hosts": ["https://a", "b.example", 1],
        "auth": {"providers": [{"name": "a", "issuer": "i", "algorithms": ["none"], "jwks": {"secret": {"env": "NONE"}}}]},
        "limits": {"held_bytes": 0},
    });
    let paths = [
        "moed",
        "hosts[2]",
        "mode",
        "hosts[0]",
        "auth.providers[0].algorithms[0]",
        "auth.providers[0].jwks.secret.env",
        "limits.held_bytes",
    ];
    let mut found: Vec<String> = error(&config).faults().iter().map(|fault| fault.path().to_owned()).collect();
    found[..3].sort_unstable();
    let mut expected = paths;
    expected[..3].sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn faults_of_one_part_are_all_named() {
    let at = "auth.providers[0]";
    check(
        &with(
            good(),
            "/auth/providers",
            json!([
                provider(json!({"clock_skew": "6m", "require": {"a": [], "b": null}, "x": 1})),
                provider(json!({}))
            ]),
        ),
        &[
            "auth.providers[0].x",
            "auth.providers[0].clock_skew",
            "auth.providers[0].require.a",
            "auth.providers[0].require.b",
            "auth.providers[1].name",
        ],
    );
    check(
        &with(good(), "/limits/per_connection/messages", json!({"per_second": 0, "burst": 0})),
        &["limits.per_connection.messages.burst", "limits.per_connection.messages.per_second"],
    );
    let schemas = json!({"a": {"type": "text"}, "b": {"minimum": "1"}, "c": {}});
    check(
        &with(good(), "/messages/from_client/json", json!({"discriminator": "type", "schemas": schemas})),
        &[
            "messages.from_client.json.schemas.a/type",
            "messages.from_client.json.schemas.b/minimum",
            "messages.from_client.json.discriminator",
        ],
    );
    let patterns = json!([
        {"name": "A", "regex": "("}, {"name": "b", "regex": "b"}, {"name": "b", "regex": "(?=c)"}, {"regex": "d"},
    ]);
    check(
        &with(good(), "/messages/from_client/deny_patterns", patterns),
        &[
            "messages.from_client.deny_patterns[0].name",
            "messages.from_client.deny_patterns[2].name",
            "messages.from_client.deny_patterns[3].name",
            "messages.from_client.deny_patterns[0].regex",
            "messages.from_client.deny_patterns[2].regex",
        ],
    );
    let cookie = json!({"name": "a b", "lookup": {"cluster": "", "path": "x", "timeout": "1ms", "cache": "2h"}});
    check(
        &with(good(), "/auth/cookie", cookie),
        &["name", "lookup.cluster", "lookup.path", "lookup.timeout", "lookup.cache"]
            .map(|key| format!("auth.cookie.{key}"))
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    check(
        &with(good(), "/auth/providers/0", json!({})),
        &[&format!("{at}.name"), &format!("{at}.algorithms"), &format!("{at}.jwks")],
    );
}

#[test]
fn what_follows_from_a_fault_is_not_named() {
    for (pointer, value, expected) in [
        ("/auth", json!([]), "auth"),
        ("/auth/providers", json!([1]), "auth.providers[0]"),
        ("/auth/providers", json!({}), "auth.providers"),
        ("/auth/providers/0/name", json!(1), "auth.providers[0].name"),
        ("/auth/providers/0/algorithms", json!(["none"]), "auth.providers[0].algorithms[0]"),
        ("/auth/providers/0/algorithms", json!([1]), "auth.providers[0].algorithms[0]"),
        ("/auth/providers/0/jwks", json!(1), "auth.providers[0].jwks"),
        ("/auth/providers/0/jwks/secret", json!(1), "auth.providers[0].jwks.secret"),
        ("/auth/providers/0/jwks/secret", json!({"evn": "SECRET"}), "auth.providers[0].jwks.secret.evn"),
        ("/auth/providers/0/jwks", json!({"cluster": 1, "url": "https://i/"}), "auth.providers[0].jwks.cluster"),
        ("/auth/providers/0/introspection", json!(1), "auth.providers[0].introspection"),
        ("/auth/sources", json!([1]), "auth.sources[0]"),
        ("/auth/sources", json!([{"header": 1, "prefix": "JWT"}]), "auth.sources[0].header"),
        ("/auth/tickets", json!(1), "auth.tickets"),
        ("/messages/from_client", json!({"json": 1, "authorize": [{"claims": {"a": 1}}]}), "messages.from_client.json"),
        (
            "/messages/from_client/json",
            json!({"discriminator": 1, "schemas": {"a": {}}}),
            "messages.from_client.json.discriminator",
        ),
        (
            "/messages/from_client/json",
            json!({"discriminator": "/t", "schemas": []}),
            "messages.from_client.json.schemas",
        ),
        ("/messages/from_client/envelope", json!({"a": "xml"}), "messages.from_client.envelope.a"),
        ("/limits/per_connection/messages", json!({"per_second": "1"}), "limits.per_connection.messages.per_second"),
        ("/routes", json!([1]), "routes[0]"),
        ("/routes", json!([{"match": 1}]), "routes[0].match"),
    ] {
        check(&with(good(), pointer, value), &[expected]);
    }
    // Without a provider: what may be one, or make it needless, could not be read.
    check(&json!({"auth": {"cookie": 1}}), &["auth.cookie"]);
    check(&json!({"auth": {"required": "false"}}), &["auth.required"]);
    let own = json!({"auth": {"sources": [{"ticket": "t"}, {"cookie": "c"}], "providers": [1], "tickets": {
        "path": "/t", "keys": [{"inline": "x".repeat(32)}],
    }}});
    check(&own, &["auth.providers[0]"]);
    let typed = json!({"per_connection": {"by_type": {"a": {"per_second": 1}}}});
    let typed = with(good(), "/limits", typed);
    check(&typed, &["limits.per_connection.by_type"]);
    check(&with(typed, "/messages/from_client/json", json!(1)), &["messages.from_client.json"]);
    let renew = with(good(), "/auth/renew", json!({"when": {"/t": "a"}, "token": "/k"}));
    check(&renew, &["auth.renew"]);
    check(&with(renew, "/messages/from_client/json", json!(1)), &["messages.from_client.json"]);
}

#[test]
fn routes_name_what_they_say_themselves() {
    let route = |path: &str, policy: Value| json!({"match": {"path": path}, "policy": policy});
    let config = with(with(good(), "/hosts", json!(["https://a"])), "/limits/held_bytes", json!("1"));
    let routes = json!([
        route("/a", json!({"mode": "monitor"})),
        route("/b", json!({"hosts": ["https://a"], "mode": 1})),
        route("/c", json!({"limits": {"held_bytes": 1, "connections": 0}})),
        route("d", json!({"limits": {"held_bytes": "1"}})),
    ]);
    check(
        &with(config, "/routes", routes),
        &[
            "limits.held_bytes",
            "hosts[0]",
            "routes[1].policy.mode",
            "routes[1].policy.hosts[0]",
            "routes[2].policy.limits.connections",
            "routes[3].match.path",
            "routes[3].policy.limits.held_bytes",
        ],
    );
}

#[test]
fn many_faults_are_counted_not_kept() {
    let hosts: Vec<String> = (0..1_000).map(|index| format!("https://{index}")).collect();
    let error = error(&with(good(), "/hosts", json!(hosts)));
    assert_eq!((error.faults().len(), error.omitted()), (100, 900));
    let told = error.to_string();
    assert!(told.starts_with("hosts[0]: ") && told.ends_with("; 995 more"), "{told}");
    assert_eq!(told.matches("; ").count(), 5);
}

#[test]
fn what_routes_inherit_is_named_once() {
    let routes: Vec<Value> =
        (0..20).map(|index| json!({"match": {"path": format!("/{index}")}, "policy": {"mode": "monitor"}})).collect();
    let hosts: Vec<String> = (0..200).map(|index| format!("https://{index}")).collect();
    let error = error(&with(with(good(), "/hosts", json!(hosts)), "/routes", json!(routes)));
    assert_eq!((error.faults().len(), error.omitted()), (100, 100));
    assert!(error.faults().iter().all(|fault| fault.path().starts_with("hosts[")), "{error}");
}
