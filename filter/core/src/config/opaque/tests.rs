//! The keys of opaque credentials: what they mean, and what is refused, with its path.

use serde_json::{Value, json};

use crate::config::tests::{good, read, warnings, with};
use crate::identity::lookup::Form;
use crate::token::rules::{AuthRules, Proof, Source};
use core::time::Duration;

fn introspection() -> Value {
    json!({"cluster": "idp", "path": "/introspect", "client": {"id": "gw", "secret": {"env": "SECRET"}}})
}

fn provider() -> Value {
    json!({"name": "asked", "audiences": ["chat"], "introspection": introspection()})
}

fn cookie() -> Value {
    json!({"name": "sid", "lookup": {"cluster": "app", "path": "/session"}})
}

fn signed() -> Value {
    json!({"name": "sid", "hmac": {"secret": {"env": "SECRET"}, "algorithm": "HS256"}})
}

fn with_auth(auth: Value) -> Value {
    with(good(), "/auth", auth)
}

fn auth(config: &Value) -> AuthRules {
    read(config).unwrap().policies.base().auth.as_ref().clone()
}

#[track_caller]
fn refuse(auth: Value, expected: &str) {
    let error = read(&with_auth(auth)).unwrap_err();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let auth = auth(&with_auth(json!({"providers": [provider()], "cookie": cookie()})));
    let [provider] = auth.providers.as_slice() else { panic!() };
    let lookup = provider.lookup.as_ref().unwrap();
    assert_eq!((&*lookup.cluster, &*lookup.path), ("idp", "/introspect"));
    assert_eq!((lookup.timeout, lookup.cache), (Duration::from_secs(1), Duration::from_secs(30)));
    assert!(matches!(lookup.form, Form::Introspection(_)) && provider.rules.is_asked);
    let cookie = auth.cookie.unwrap();
    let Proof::Lookup(lookup) = cookie.proof else { panic!() };
    assert_eq!((&*lookup.cluster, &*lookup.path, &*cookie.name), ("app", "/session", "sid"));
    assert_eq!((lookup.timeout, lookup.cache), (Duration::from_secs(1), Duration::from_secs(30)));
    assert_eq!(cookie.provider.rules.clock_skew, Duration::from_secs(60));
    assert_eq!(auth.sources.len(), 4);
}

#[test]
fn a_cookie_suffices_in_place_of_a_provider() {
    for cookie in [cookie(), signed()] {
        let auth = auth(&with_auth(json!({"cookie": cookie})));
        assert!(auth.required && auth.sources.is_empty() && auth.provider("cookie").is_some());
    }
    refuse(json!({}), "auth.providers: needs a provider, or auth.cookie, or auth.required: false");
    let none = with_auth(json!({"required": false, "cookie": null}));
    assert!(auth(&none).cookie.is_none());
    // Without a source, too.
    assert!(read(&with_auth(json!({"providers": [provider()], "sources": [], "cookie": signed()}))).is_ok());
    refuse(json!({"providers": [provider()], "sources": []}), "auth.sources: needs a source");
}

#[test]
fn a_cookie_is_no_source_of_tokens() {
    let mut session = signed();
    session["name"] = "session".into();
    let own = auth(&with_auth(json!({"providers": [provider()], "cookie": session.clone()})));
    assert!(!own.sources.contains(&Source::Cookie("session".into())) && own.sources.len() == 3);
    let sources = json!([{"header": "authorization"}, {"cookie": "session"}]);
    refuse(
        json!({"providers": [provider()], "sources": sources, "cookie": session}),
        "auth.sources[1].cookie: is the session cookie",
    );
}

#[test]
fn one_provider_introspects_and_has_no_keys() {
    let key = json!({"name": "own", "algorithms": ["HS256"], "jwks": {"secret": {"env": "SECRET"}}});
    let other = with(provider(), "/name", json!("other"));
    assert!(read(&with_auth(json!({"providers": [key, provider()]}))).is_ok());
    refuse(json!({"providers": [provider(), key, other]}), "auth.providers[2].introspection: only one provider has it");
    for (change, start) in [
        (json!({"jwks": {"secret": {"env": "SECRET"}}}), "jwks: belongs to keys"),
        (json!({"jwks": {}}), "jwks: belongs to keys"),
        (json!({"algorithms": ["RS256"]}), "algorithms: belongs to keys"),
        (json!({"algorithms": []}), "algorithms: belongs to keys"),
        (json!({"introspection": {}}), "introspection.client: is required"),
        (json!({"introspection": []}), "introspection: expected an object"),
        (json!({"introspection": null}), "algorithms: is required"),
    ] {
        let mut own = provider();
        own.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        refuse(json!({"providers": [own]}), &format!("auth.providers[0].{start}"));
    }
    refuse(
        json!({"providers": [with(provider(), "/name", json!("cookie"))], "cookie": signed()}),
        "auth.providers[0].name: ",
    );
    assert!(read(&with_auth(json!({"providers": [with(provider(), "/name", json!("cookie"))]}))).is_ok());
}

#[test]
fn what_is_wrong_is_refused_with_its_path() {
    for (pointer, value, start) in [
        ("cluster", json!(null), "cluster: is required"),
        ("cluster", json!(""), "cluster: expected"),
        ("cluster", json!("a b"), "cluster: expected"),
        ("cluster", json!("a\r\nb"), "cluster: expected"),
        ("path", json!(null), "path: is required"),
        ("path", json!("introspect"), "path: expected a path"),
        ("path", json!("/a b"), "path: expected a path"),
        ("path", json!("/a#b"), "path: expected a path"),
        ("path", json!("/a\r\nb: c"), "path: expected a path"),
        ("path", json!("/é"), "path: expected a path"),
        ("path", json!(format!("/{}", "a".repeat(2_048))), "path: expected a path"),
        ("timeout", json!("9ms"), "timeout: from 10ms to 30s"),
        ("timeout", json!("31s"), "timeout: from 10ms to 30s"),
        ("timeout", json!(1), "timeout: "),
        ("cache", json!("61m"), "cache: at most 1h"),
        ("client", json!(null), "client: is required"),
        ("client/id", json!(null), "client.id: is required"),
        ("client/id", json!(""), "client.id: is required"),
        ("client/secret", json!(null), "client.secret: is required"),
        ("client/secret", json!("bare"), "client.secret: expected an object"),
        ("client/secret", json!({"env": "OTHER"}), "client.secret.env: no such variable"),
        ("client/secret", json!({"inline": ""}), "client.secret: must not be empty"),
        ("client/secret", json!({}), "client.secret: needs one of env and inline"),
        ("client/secrets", json!({}), "client.secrets: unknown field"),
        ("method", json!("GET"), "method: unknown field"),
    ] {
        let own = with(provider(), &format!("/introspection/{pointer}"), value.clone());
        refuse(json!({"providers": [own]}), &format!("auth.providers[0].introspection.{start}"));
        if !pointer.starts_with("client") {
            let own = with(cookie(), &format!("/lookup/{pointer}"), value);
            refuse(json!({"cookie": own}), &format!("auth.cookie.lookup.{start}"));
        }
    }
    for (value, start) in [
        (json!({}), "name: is required"),
        (json!({"name": "sid"}), "needs one of hmac and lookup"),
        (json!({"name": "s id", "lookup": {}}), "name: expected a token"),
        (json!({"name": "", "lookup": {}}), "name: expected a token"),
        (json!({"name": "s=id", "lookup": {}}), "name: expected a token"),
        (with(cookie(), "/hmac", json!({})), "needs one of hmac and lookup"),
        (with(signed(), "/hmac/algorithm", json!(null)), "hmac.algorithm: is required"),
        (with(signed(), "/hmac/algorithm", json!("RS256")), "hmac.algorithm: expected HS256"),
        (with(signed(), "/hmac/algorithm", json!("none")), "hmac.algorithm: expected HS256"),
        // The one that tests have has 36 bytes.
        (with(signed(), "/hmac/algorithm", json!("HS384")), "hmac.secret: the secret must have at least 48 bytes"),
        (with(signed(), "/hmac/algorithm", json!("HS512")), "hmac.secret: the secret must have at least 64 bytes"),
        (
            with(signed(), "/hmac/secret", json!({"inline": "x".repeat(31)})),
            "hmac.secret: the secret must have at least 32",
        ),
        (with(signed(), "/hmac/secret", json!(null)), "hmac.secret: is required"),
        (with(signed(), "/hmac/secret", json!({"env": "OTHER"})), "hmac.secret.env: no such variable"),
        (json!("sid"), "expected an object"),
    ] {
        let error = read(&with_auth(json!({"cookie": value}))).unwrap_err();
        assert!(
            error == format!("auth.cookie: {start}") || error.starts_with(&format!("auth.cookie.{start}")),
            "{error}"
        );
    }
}

#[test]
fn secrets_in_the_policy_and_missing_audiences_are_warned_of() {
    let own = with(provider(), "/introspection/client/secret", json!({"inline": "hunter2"}));
    let own = with(own, "/audiences", json!([]));
    let key = with(signed(), "/hmac/secret", json!({"inline": "x".repeat(32)}));
    let warnings = warnings(&read(&with_auth(json!({"providers": [own], "cookie": key}))).unwrap());
    let starts = [
        "auth.providers[0].audiences: not set",
        "auth.providers[0].introspection.client.secret.inline: a secret in the configuration",
        "auth.cookie.hmac.secret.inline: a secret in the configuration",
    ];
    assert_eq!(warnings.len(), starts.len(), "{warnings:?}");
    for (warning, start) in warnings.iter().zip(starts) {
        assert!(warning.starts_with(start) && !warning.contains("hunter2"), "{warning}");
    }
}

#[test]
fn nothing_of_a_secret_is_in_debug() {
    let own = with(provider(), "/introspection/client/secret", json!({"inline": "hunter2"}));
    let printed = format!("{:?}", read(&with_auth(json!({"providers": [own], "cookie": signed()}))).unwrap().policies);
    assert!(!printed.contains("hunter2") && !printed.contains("an HMAC secret"), "{printed}");
}
