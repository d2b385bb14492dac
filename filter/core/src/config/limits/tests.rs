//! The keys of how much and how long: their defaults, what switches them off, and their bounds.

use core::time::Duration;

use serde_json::{Value, json};

use crate::access::Access;
use crate::config::tests::{good, read, refuse, refuse_at, with};
use crate::limits::rate::Rate;
use crate::limits::rules::{LimitRules, OnExcess};
use crate::limits::table::FailureRules;
use crate::liveness::LivenessRules;
use crate::policy::Policy;
use crate::policy::routes::Place;

fn policy(config: &Value) -> Policy {
    (**read(config).unwrap().policies.base()).clone()
}

fn limits(value: Value) -> LimitRules {
    policy(&with(good(), "/limits", value)).limits
}

fn liveness(value: Value) -> LivenessRules {
    policy(&with(good(), "/liveness", value)).liveness
}

/// Accepts the one value and refuses the other, with the path of the key.
#[track_caller]
fn check_bound(pointer: &str, accepted: Value, refused: Value, problem: &str) {
    if let Err(error) = read(&with(good(), pointer, accepted)) {
        panic!("{error}");
    }
    let path = pointer.trim_start_matches('/').replace('/', ".");
    refuse_at(pointer, refused, &format!("{path}{problem}"));
}

const fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

fn typed(limits: Value) -> Value {
    let config =
        with(good(), "/messages/from_client/json", json!({"discriminator": "/type", "schemas": {"login": {}}}));
    with(config, "/limits", limits)
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let failures = FailureRules { count: 10, window: Duration::from_secs(60), ban: Duration::from_secs(300) };
    let Policy { limits, liveness, .. } = policy(&good());
    for limits in [limits, self::limits(json!({"per_address": {}, "per_subject": {}, "per_connection": {}}))] {
        assert_eq!(limits.per_address.ipv6_prefix, 64);
        assert_eq!(limits.per_address.connections, Some(20));
        assert_eq!(limits.per_address.handshakes, Rate::new(5.0, 20));
        assert_eq!(limits.per_address.failures, Some(failures));
        assert_eq!(limits.per_subject.connections, Some(10));
        assert_eq!((limits.per_subject.messages, limits.per_subject.bytes), (None, None));
        assert_eq!(limits.per_connection.messages, Rate::new(50.0, 200));
        assert_eq!(limits.per_connection.bytes, Rate::new(262_144.0, 1_048_576));
        assert!(limits.per_connection.by_type.is_empty());
        assert_eq!((limits.connections, limits.held_len_max), (None, 67_108_864));
        assert_eq!(limits.on_excess, OnExcess::Close);
        assert!(limits.global.is_none());
    }
    assert_eq!((liveness.ping_interval, liveness.pong_timeout), (secs(25), Duration::from_secs(20)));
    assert_eq!((liveness.idle_timeout, liveness.message_timeout), (secs(1_800), secs(10)));
    assert_eq!((liveness.lifetime_max, liveness.jitter_permille), (secs(7_200), 100));
}

#[test]
fn null_is_no_limit() {
    let none = limits(json!({"per_address": null, "per_subject": null, "per_connection": null}));
    let each = limits(json!({
        "per_address": {"connections": null, "handshakes": null, "failures": null},
        "per_subject": {"connections": null, "messages": null, "bytes": null},
        "per_connection": {"messages": null, "bytes": null},
        "connections": null, "global": null,
    }));
    for limits in [none, each] {
        assert_eq!((limits.per_address.connections, limits.per_address.handshakes), (None, None));
        assert_eq!((limits.per_address.failures, limits.per_address.ipv6_prefix), (None, 64));
        assert_eq!(limits.per_subject.connections, None);
        assert_eq!((limits.per_connection.messages, limits.per_connection.bytes), (None, None));
        assert!(limits.connections.is_none() && limits.global.is_none());
    }
    // One is gone, and its neighbours stay.
    let limits = limits(json!({"per_connection": {"messages": null}}));
    assert_eq!(limits.per_connection.messages, None);
    assert!(limits.per_connection.bytes.is_some() && limits.per_address.connections.is_some());
}

#[test]
fn null_and_no_time_are_no_end() {
    for none in [json!(null), json!("0s"), json!("0ms")] {
        let rules = liveness(json!({
            "ping_interval": none, "idle_timeout": none, "message_timeout": none, "max_lifetime": none, "jitter": 0,
        }));
        let spans = [rules.ping_interval, rules.idle_timeout, rules.message_timeout, rules.lifetime_max];
        assert_eq!((spans, rules.jitter_permille), ([None; 4], 0), "{none}");
    }
}

#[test]
fn values_are_taken_as_written() {
    let limits = limits(json!({
        "per_address": {
            "ipv6_prefix": 56, "connections": 1, "handshakes": {"per_second": 0.1, "burst": 3},
            "failures": {"count": 2, "window": "1s", "ban": "1h"},
        },
        "per_subject": {"connections": 2, "messages": {"per_second": 7}, "bytes": {"per_second": 0.5}},
        "connections": 5_000_000_000_u64, "held_bytes": 1, "on_excess": "drop",
        "global": {"cluster": "ratelimit", "domain": "chat", "timeout": "1s", "on_error": "refuse", "message_batch": 9},
    }));
    assert_eq!((limits.per_address.ipv6_prefix, limits.per_address.connections), (56, Some(1)));
    assert_eq!(limits.per_address.handshakes, Rate::new(0.1, 3));
    let failures = FailureRules { count: 2, window: Duration::from_secs(1), ban: Duration::from_secs(3_600) };
    assert_eq!(limits.per_address.failures, Some(failures));
    // Without a burst, what comes in a second may come at once, and one in any case.
    assert_eq!((limits.per_subject.messages, limits.per_subject.bytes), (Rate::new(7.0, 7), Rate::new(0.5, 1)));
    assert_eq!((limits.connections, limits.held_len_max, limits.on_excess), (Some(u32::MAX), 1, OnExcess::Drop));
    let global = limits.global.unwrap();
    assert_eq!((&*global.cluster, &*global.domain, global.timeout), ("ratelimit", "chat", Duration::from_secs(1)));
    assert_eq!((global.on_error, global.message_batch), (Access::Refuse, Some(9)));
    let limits = self::limits(json!({"per_address": {"failures": {"count": 2}}}));
    let failures = FailureRules { count: 2, window: Duration::from_secs(60), ban: Duration::from_secs(300) };
    assert_eq!(limits.per_address.failures, Some(failures));

    let rules = liveness(json!({
        "ping_interval": "1s", "pong_timeout": "2s", "idle_timeout": "3s", "message_timeout": "4s", "max_lifetime": "5s",
        "jitter": 0.25,
    }));
    let spans = [rules.ping_interval, rules.idle_timeout, rules.message_timeout, rules.lifetime_max];
    assert_eq!(spans, [secs(1), secs(3), secs(4), secs(5)]);
    assert_eq!((rules.pong_timeout, rules.jitter_permille), (Duration::from_secs(2), 250));
}

#[test]
fn bounds_name_their_path() {
    for count in ["/limits/per_address/connections", "/limits/per_subject/connections", "/limits/connections"] {
        check_bound(count, json!(1), json!(0), ": must be at least 1");
    }
    for rate in [
        "/limits/per_address/handshakes",
        "/limits/per_subject/messages",
        "/limits/per_subject/bytes",
        "/limits/per_connection/messages",
        "/limits/per_connection/bytes",
    ] {
        check_bound(rate, json!({"per_second": 0.001}), json!({"per_second": 0}), ".per_second: must be more than 0");
        check_bound(rate, json!({"per_second": 1, "burst": 1}), json!({"per_second": -1}), ".per_second: must be");
        check_bound(rate, json!({"per_second": 1}), json!({"per_second": 1, "burst": 0}), ".burst: must be at least 1");
        check_bound(rate, json!({"per_second": 1}), json!({"burst": 1}), ".per_second: is required");
        check_bound(rate, json!({"per_second": 1}), json!({"per_minute": 1}), ".per_minute: unknown field");
    }
    for (key, accepted, refused, problem) in [
        ("limits/per_address/ipv6_prefix", json!(32), json!(31), ": from 32 to 128 bits"),
        ("limits/per_address/ipv6_prefix", json!(128), json!(129), ": from 32 to 128 bits"),
        ("limits/per_address/failures/count", json!(1), json!(0), ": must be at least 1"),
        ("limits/per_address/failures/window", json!("100ms"), json!("99ms"), ": at least 100ms"),
        ("limits/per_address/failures/ban", json!("100ms"), json!("0s"), ": at least 100ms"),
        ("limits/held_bytes", json!(1), json!(0), ": must be at least 1"),
        ("limits/on_excess", json!("close"), json!("delay"), ": expected close or drop"),
        ("liveness/ping_interval", json!("100ms"), json!("99ms"), ": at least 100ms, or 0s for none"),
        ("liveness/idle_timeout", json!("100ms"), json!("99ms"), ": at least 100ms, or 0s for none"),
        ("liveness/message_timeout", json!("100ms"), json!("1ms"), ": at least 100ms, or 0s for none"),
        ("liveness/max_lifetime", json!("100ms"), json!("99.9ms"), ": at least 100ms, or 0s for none"),
        ("liveness/pong_timeout", json!("100ms"), json!("99ms"), ": from 100ms to 10m"),
        ("liveness/pong_timeout", json!("10m"), json!("601s"), ": from 100ms to 10m"),
        ("liveness/pong_timeout", json!("20s"), json!("0s"), ": from 100ms to 10m"),
        ("liveness/jitter", json!(0), json!(-0.001), ": expected a share from 0 to 0.5"),
        ("liveness/jitter", json!(0.5), json!(0.501), ": expected a share from 0 to 0.5"),
        ("liveness/ping_interval", json!("1s"), json!(1), ": "),
    ] {
        check_bound(&format!("/{key}"), accepted, refused, problem);
    }
}

#[test]
fn limits_of_types_need_types() {
    let rate = json!({"per_second": 1, "burst": 5});
    let by_type = json!({"per_connection": {"by_type": {"login": rate, "any other": {"per_second": 2}}}});
    let limits = policy(&typed(by_type.clone())).limits.per_connection;
    assert_eq!(limits.by_type.get("login").copied(), Rate::new(1.0, 5));
    assert_eq!(limits.by_type.get("any other").copied(), Rate::new(2.0, 2));
    let needs = "limits.per_connection.by_type: needs messages.from_client.json.discriminator";
    refuse_at("/limits", by_type.clone(), needs);
    refuse(&with(with(good(), "/messages/from_client/json", json!({})), "/limits", by_type.clone()), needs);
    // What the server's messages are is not counted.
    let server = json!({"discriminator": "/type", "schemas": {"login": {}}});
    refuse(&with(with(good(), "/messages/from_server/json", server), "/limits", by_type), needs);
    let bad = json!({"per_connection": {"by_type": {"login": {"per_second": 0}}}});
    refuse(&typed(bad), "limits.per_connection.by_type.login.per_second: must be more than 0");
    assert!(self::limits(json!({"per_connection": {"by_type": {}}})).per_connection.by_type.is_empty());
}

#[test]
fn dropping_needs_messages_that_stand_alone() {
    let dropping = with(good(), "/limits/on_excess", json!("drop"));
    assert_eq!(policy(&dropping).limits.on_excess, OnExcess::Drop);
    let wrapped = with(dropping.clone(), "/messages", json!({"from_client": {"envelope": "socket.io"}}));
    refuse(&wrapped, "limits.on_excess: drop would part");
    let inspecting = with(dropping, "/compression", json!("inspect"));
    refuse(&inspecting, "limits.on_excess: drop needs compression: refuse");
    let closing = with(inspecting, "/limits/on_excess", json!("close"));
    assert_eq!(policy(&closing).limits.on_excess, OnExcess::Close);
    let passing = json!({"utf8": false, "tunnels": "allow"});
    let passing = json!({"from_client": passing, "from_server": passing});
    let passing = with(with(closing, "/compression", json!("pass")), "/messages", passing);
    assert!(read(&passing).is_ok());
    refuse(&with(passing, "/limits/on_excess", json!("drop")), "limits.on_excess: drop needs compression: refuse");
}

#[test]
fn a_service_for_a_fleet_has_its_keys() {
    let global = limits(json!({"global": {"cluster": "ratelimit"}})).global.unwrap();
    assert_eq!(
        (&*global.cluster, &*global.domain, global.timeout),
        ("ratelimit", "portcullis", Duration::from_millis(50))
    );
    assert_eq!((global.on_error, global.message_batch), (Access::Allow, None));
    let with_cluster = |key: &str, value: Value| with(json!({"cluster": "x"}), &format!("/{key}"), value);
    for (value, problem) in [
        (json!({}), "cluster: is required"),
        (json!({"cluster": ""}), "cluster: is required"),
        (with_cluster("domain", json!("")), "domain: is required"),
        (with_cluster("timeout", json!("0s")), "timeout: from 1ms to 10m"),
        (with_cluster("timeout", json!("0.9ms")), "timeout: from 1ms to 10m"),
        (with_cluster("timeout", json!("601s")), "timeout: from 1ms to 10m"),
        (with_cluster("on_error", json!("pass")), "on_error: expected allow or refuse"),
        (with_cluster("message_batch", json!(0)), "message_batch: must be at least 1"),
        (with_cluster("url", json!("x")), "url: unknown field"),
    ] {
        refuse_at("/limits/global", value, &format!("limits.global.{problem}"));
    }
    for timeout in ["1ms", "10m"] {
        assert!(read(&with(good(), "/limits/global", with_cluster("timeout", json!(timeout)))).is_ok(), "{timeout}");
    }
}

#[test]
fn routes_merge_limits_and_times() {
    let config = with(
        typed(json!({"per_connection": {"messages": {"per_second": 5, "burst": 9}}})),
        "/liveness/jitter",
        json!(0),
    );
    let route = |path: &str, policy: Value| json!({"match": {"path": path}, "policy": policy});
    let routes = json!([
        route("/slow", json!({"limits": {"per_connection": {"messages": {"per_second": 1}}}})),
        route("/free", json!({"limits": {"per_connection": null}, "liveness": {"idle_timeout": "0s"}})),
        route(
            "/login",
            json!({"limits": {"on_excess": "drop", "per_connection": {"by_type": {"login": {"per_second": 1}}}}})
        ),
    ]);
    let policies = read(&with(config.clone(), "/routes", routes)).unwrap().policies;
    let at = |path: &str| policies.select(&Place::new(None, path.as_bytes())).unwrap();
    assert_eq!(at("/").limits.per_connection.messages, Rate::new(5.0, 9));
    assert_eq!(at("/slow").limits.per_connection.messages, Rate::new(1.0, 9));
    assert!(at("/slow").limits.per_connection.bytes.is_some());
    let free = at("/free");
    assert!(free.limits.per_connection.messages.is_none() && free.limits.per_connection.bytes.is_none());
    assert_eq!((free.liveness.idle_timeout, free.liveness.jitter_permille), (None, 0));
    assert_eq!(free.liveness.ping_interval, secs(25));
    let login = at("/login");
    assert_eq!((login.limits.on_excess, login.limits.per_connection.by_type.len()), (OnExcess::Drop, 1));
    assert_eq!(login.limits.per_connection.messages, Rate::new(5.0, 9));
    assert!(at("/").limits.per_connection.by_type.is_empty());

    for (changes, problem) in [
        (json!({"limits": {"per_address": {"ipv6_prefix": 8}}}), "limits.per_address.ipv6_prefix: from 32"),
        (json!({"limits": {"on_excess": "drop"}, "compression": "inspect"}), "limits.on_excess: drop needs"),
        (json!({"liveness": {"jitter": 1}}), "liveness.jitter: expected a share"),
    ] {
        let routes = json!([route("/x", changes)]);
        refuse(&with(config.clone(), "/routes", routes), &format!("routes[0].policy.{problem}"));
    }
}
