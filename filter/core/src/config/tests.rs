//! Configurations that hold, and the path of the fault in those that do not.

mod clusters;

use core::time::Duration;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::{Parsed, parse, parse_struct};
use crate::access::Access;
use crate::http::authority::Authority;
use crate::identity::key_set::{KeySource, RemoteKeys};
use crate::identity::location::Location;
use crate::message::Binary;
use crate::mode::Mode;
use crate::modes::Modes;
use crate::negotiation::Compression;
use crate::policy::routes::Place;
use crate::policy::{BufferLimits, Fail, NonWebsocket, Policy};
use crate::telemetry::spikes::SpikeRules;
use crate::token::rules::{ClaimFormat, ClaimHeader, Source};

/// The secret that [`read`] finds in its environment.
const SECRET: &str = "an HMAC secret of more than 32 bytes";

pub(super) fn read(config: &Value) -> Result<Parsed, String> {
    let environment = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    parse(config.to_string().as_bytes(), &environment).map_err(|error| error.to_string())
}

/// What is warned of, each with its path.
pub(super) fn warnings(parsed: &Parsed) -> Vec<String> {
    parsed.warnings.iter().map(ToString::to_string).collect()
}

pub(super) fn good() -> Value {
    json!({
        "origin": {"allow": ["https://app.example.com"]},
        "auth": {"providers": [provider()]},
    })
}

fn provider() -> Value {
    json!({
        "name": "corp",
        "issuer": "https://idp.example.com/",
        "audiences": ["chat"],
        "algorithms": ["HS256"],
        "jwks": {"secret": {"env": "SECRET"}},
    })
}

/// A policy that lets every upgrade in, and as many messages as come.
pub(crate) fn permissive() -> Policy {
    let config = json!({
        "require_tls": false, "origin": {"allow": ["*"], "missing": "allow"}, "auth": {"required": false}, "limits": {"per_connection": null},
    });
    (**read(&config).unwrap().policies.base()).clone()
}

/// `config` with the value at `pointer` (its parents are made) in place.
pub(super) fn with(mut config: Value, pointer: &str, value: Value) -> Value {
    let mut at = &mut config;
    for name in pointer.split('/').skip(1) {
        at = match name.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => {
                if at.is_null() {
                    *at = Value::Object(Map::new());
                }
                &mut at[name]
            }
        };
    }
    *at = value;
    config
}

#[track_caller]
pub(super) fn refuse(config: &Value, start: &str) {
    let error = read(config).err().unwrap_or_else(|| panic!("accepted: {config}"));
    assert!(error.starts_with(start), "{error:?} does not start with {start:?}");
}

#[track_caller]
pub(super) fn refuse_at(pointer: &str, value: Value, start: &str) {
    refuse(&with(good(), pointer, value), start);
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let parsed = read(&good()).unwrap();
    let policy = parsed.policies.base();
    assert_eq!((policy.modes, policy.fail), (Modes::all(Mode::Enforce), Fail::Closed));
    assert_eq!((policy.require_tls, policy.trust_forwarded_proto), (true, false));
    assert_eq!(policy.buffer_limits, BufferLimits::Default);
    assert_eq!((policy.origin.missing, policy.origin.opaque), (Access::Refuse, Access::Refuse));
    assert_eq!((policy.messages.client.rules.frame_len_max, policy.messages.client.rules.fragments_max), (65_536, 64));
    assert_eq!(
        (policy.messages.server.rules.message_len_max, policy.messages.server.rules.fragments_max),
        (1_048_576, 1_024)
    );
    assert_eq!(
        (policy.messages.client.rules.binary, policy.messages.server.rules.binary),
        (Binary::Refuse, Binary::Allow)
    );
    assert_eq!((policy.auth.required, policy.auth.forward), (true, false));
    assert_eq!(policy.auth.sources.len(), 4);
    assert_eq!(policy.auth.providers[0].rules.clock_skew, Duration::from_secs(60));
    assert!(policy.log.connections && policy.log.refusals);
    assert!(parsed.warnings.is_empty());
}

/// A policy that says something about everything.
fn everything() -> Value {
    json!({
        "mode": "monitor", "fail": "open", "require_tls": false, "trust_forwarded_proto": true, "buffer_limits": "halved",
        "non_websocket": "refuse", "hosts": ["chat.example.com", "*.example.org:8443"],
        "origin": {"allow": ["https://*.example.com"], "same_host": "refuse", "missing": "allow", "opaque": "allow"},
        "subprotocols": {"allow": ["chat.v1"], "required": true},
        "auth": {
            "required": true, "forward": true, "claim_headers": {"sub": "X-User", "/a/b.c": {"header": "X_B", "format": "json"}}, "on_expiry": "ignore",
            "sources": [{"header": "X-Token", "prefix": "Token"}, {"cookie": "sid"}, {"subprotocol": "jwt"}, {"query": "t"}],
            "providers": [{
                "name": "a", "issuer": "i", "audiences": ["x"], "algorithms": ["HS512", "HS256"],
                "jwks": {"secret": {"inline": "x".repeat(64)}}, "clock_skew": "5s", "max_age": "1h",
                "require": {"a": 1, "b": ["x", "y"], "c.d": {"contains": "z"}, "/e/f.g": {"contains": ["z"]}},
            }, {
                "name": "b", "audiences": ["x"],
                "introspection": {
                    "cluster": "idp", "path": "/introspect", "client": {"id": "gw", "secret": {"env": "SECRET"}}, "timeout": "2s", "cache": "0s",
                },
            }],
            "cookie": {"name": "own", "lookup": {"cluster": "app", "path": "/session", "timeout": "2s", "cache": "1h"}}, "tickets": null, "revocation": null, "back_channel_logout": null,
        },
        "messages": {
            "from_client": {
                "max_message_bytes": 10.0, "max_frame_bytes": 5, "max_fragments": 2, "text": "refuse", "binary": "allow",
                "utf8": false, "json": null, "deny_patterns": [], "rule_sets": [], "tunnels": "allow",
            },
            "from_server": {"text": "allow", "binary": "refuse"},
        },
        "compression": "refuse", "limits": {}, "liveness": {},
        "log": {"connections": false, "refusals": false, "spikes": null},
        "routes": [],
    })
}

#[test]
fn every_key_that_exists_is_read() {
    let parsed = read(&everything()).unwrap();
    let policy = parsed.policies.base();
    assert_eq!((policy.modes.base, policy.fail), (Mode::Monitor, Fail::Open));
    assert_eq!(policy.non_websocket, NonWebsocket::Refuse);
    assert_eq!(policy.buffer_limits, BufferLimits::Halved);
    assert_eq!(policy.messages.client.rules.message_len_max, 10);
    assert_eq!((policy.messages.client.rules.text, policy.messages.client.rules.binary), (false, Binary::Allow));
    assert_eq!(policy.auth.sources[0], Source::Header { name: "x-token".into(), scheme: "Token".into() });
    let header = |claim: &str, name: &str, format| ClaimHeader { claim: claim.into(), name: name.into(), format };
    let headers = [header("/a/b.c", "x-b", ClaimFormat::Json), header("sub", "x-user", ClaimFormat::Text)];
    assert_eq!(policy.auth.claim_headers, headers);
    assert_eq!(policy.auth.providers[0].rules.require.len(), 4);
    let lookup = policy.auth.providers[1].lookup.as_ref().unwrap();
    assert_eq!((lookup.timeout, lookup.cache), (Duration::from_secs(2), Duration::ZERO));
    assert_eq!(policy.auth.cookie.as_ref().unwrap().name, "own");
    assert_eq!(parsed.warnings.len(), 2, "the mode and the inline secret");
}

#[test]
fn unknown_keys_and_wrong_types_name_their_path() {
    refuse_at("/moed", json!(1), "moed: unknown field");
    refuse_at("/auth/providers/0/jwk", json!({}), "auth.providers[0].jwk: unknown field");
    refuse_at(
        "/messages/from_client/max_frame_bytes",
        json!(-1),
        "messages.from_client.max_frame_bytes: expected a whole number",
    );
    refuse_at(
        "/messages/from_client/max_frame_bytes",
        json!("1"),
        "messages.from_client.max_frame_bytes: expected a whole number",
    );
    refuse_at("/mode", json!("monitoring"), "mode: expected enforce or monitor");
    refuse_at("/require_tls", json!("true"), "require_tls: expected true or false");
    refuse_at("/auth/providers/0/clock_skew", json!(60), "auth.providers[0].clock_skew: expected a duration");
    refuse_at("/auth/providers/0/clock_skew", json!("60"), "auth.providers[0].clock_skew: expected a duration");
    refuse_at("/auth/providers/0/jwks/secret", json!("bare"), "auth.providers[0].jwks.secret");
    refuse_at("/limits/per_address/adresses", json!(1), "limits.per_address.adresses: unknown field");
}

#[test]
fn what_is_no_object_is_refused() {
    for text in ["", "[]", "null", "{", r#"{"mode":"enforce","mode":"monitor"}"#, "{} {}"] {
        let error = parse(text.as_bytes(), &|_| None).unwrap_err();
        assert_eq!(error.faults().len(), 1, "{text}: {error}");
    }
}

#[test]
fn a_number_may_be_a_text_in_a_struct_alone() {
    for (key, value, number) in [
        ("liveness", json!({"jitter": "0.2"}), true),
        ("limits", json!({"connections": "4294967296"}), true),
        ("limits", json!({"per_connection": {"messages": {"per_second": "0.5"}}}), true),
        ("limits", json!({"connections": "many"}), false),
        ("limits", json!({"connections": "10.5"}), false),
        ("liveness", json!({"jitter": "true"}), false),
    ] {
        let mut config = good();
        config[key] = value;
        assert!(read(&config).is_err(), "{config}");
        let environment = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
        assert_eq!(parse_struct(config.clone(), &environment).is_ok(), number, "{config}");
    }
}

#[test]
fn values_that_mean_nothing_name_their_path() {
    refuse_at("/hosts", json!(["ok.example", "https://x"]), "hosts[1]: expected a host");
    refuse_at("/origin/allow", json!(["https://x/"]), "origin.allow[0]: expected an origin");
    refuse_at("/subprotocols/allow", json!(["a b"]), "subprotocols.allow[0]: ");
    refuse_at("/auth/sources", json!([{"header": "a b"}]), "auth.sources[0].header: ");
    refuse_at("/auth/sources", json!([{"header": "Cookie"}]), "auth.sources[0].header: ");
    refuse_at("/auth/sources", json!([{"query": ""}]), "auth.sources[0].query: ");
    refuse_at("/auth/claim_headers", json!({"sub": "Sec-WebSocket-Key"}), "auth.claim_headers.sub: ");
    refuse_at("/auth/claim_headers", json!({"a": "x-u", "b": "X_U"}), "auth.claim_headers.b: ");
    for (header, path) in [
        (json!({"format": "json"}), "b.header: is required"),
        (json!({"header": "x-b", "format": "xml"}), "b.format: expected text or json or base64"),
        (json!({"header": "x-b", "prefix": "a"}), "b.prefix: unknown field"),
        (json!({"header": "Host"}), "b: this header has a meaning"),
        (json!(["x-b"]), "b: expected an object"),
    ] {
        refuse_at("/auth/claim_headers", json!({"b": header}), &format!("auth.claim_headers.{path}"));
    }
    refuse_at("/auth/claim_headers", json!({"/a~": "x-b"}), "auth.claim_headers[\"/a~\"]: expected a claim");
    for (source, path) in [
        (json!({}), ": needs one of header"),
        (json!({"header": "x-a", "cookie": "b"}), ": needs one of header"),
        (json!({"cookie": "b", "prefix": "JWT"}), ".prefix: belongs to a header"),
        (json!({"header": "authorization", "prefix": ""}), ".prefix: expected a token"),
        (json!({"header": "authorization", "prefix": "a b"}), ".prefix: expected a token"),
        (json!("authorization"), ": expected an object"),
    ] {
        refuse_at("/auth/sources", json!([source]), &format!("auth.sources[0]{path}"));
    }
    refuse_at("/messages/from_server/max_fragments", json!(0), "messages.from_server.max_fragments: ");
    refuse_at("/messages/from_client/text", json!("refuse"), "messages.from_client: ");
}

#[test]
fn impossible_combinations_name_their_path() {
    refuse(&json!({}), "auth.providers: ");
    refuse_at("/auth/sources", json!([]), "auth.sources: ");
    refuse_at("/auth/providers", json!([provider(), provider()]), "auth.providers[1].name: ");
    for (key, value, start) in [
        ("name", json!(null), "name: is required"),
        ("algorithms", json!([]), "algorithms: is required"),
        ("algorithms", json!(["none"]), "algorithms[0]: expected RS256"),
        ("algorithms", json!(["HS256", "RS256"]), "algorithms: HS* and asymmetric"),
        ("algorithms", json!(["RS256"]), "jwks.secret: no key is usable"),
        ("jwks", json!({}), "jwks: needs one"),
        ("jwks", json!({"inline": {"keys": []}}), "jwks.inline.keys: no key is usable"),
        ("jwks", json!({"inline": {"keys": []}, "secret": {"env": "SECRET"}}), "jwks: needs one"),
        ("jwks", json!({"secret": {"env": "OTHER"}}), "jwks.secret.env: no such variable"),
        ("jwks", json!({"secret": {"inline": "short"}}), "jwks.secret: the secret must have at least 32 bytes"),
        ("jwks", json!({"cluster": "idp"}), "jwks.cluster: a key set that is published has no secret for HS*"),
        ("jwks", json!({"cluster": ""}), "jwks.cluster: must not be empty"),
        ("jwks", json!({"cluster": 1}), "jwks.cluster: "),
        ("jwks", json!({"secret": {"env": "SECRET"}, "cluster": "idp"}), "jwks: needs one"),
        ("jwks", json!({"secret": {"env": "SECRET"}, "url": "https://idp/"}), "jwks.url: belongs to a cluster"),
        ("jwks", json!({"secret": {"env": "SECRET"}, "refresh": "5m"}), "jwks.refresh: belongs to a cluster"),
        ("clock_skew", json!("6m"), "clock_skew: at most 5m"),
        ("require", json!({"a": []}), "require.a: "),
        ("require", json!({"a": {"contain": 1}}), "require.a: "),
        ("require", json!({"a": null}), "require.a: null can never be met"),
        ("require", json!({"a": [1, null]}), "require.a: null can never be met"),
        ("require", json!({"a": {"contains": []}}), "require.a.contains: an empty list"),
        ("require", json!({"/a~2": 1}), "require[\"/a~2\"]: expected a claim, or a JSON Pointer"),
    ] {
        refuse_at(&format!("/auth/providers/0/{key}"), value, &format!("auth.providers[0].{start}"));
    }
}

/// All values of a policy below `value`, by their JSON Pointers: lists and objects too.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let token = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), found))
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &format!("{at}/{}", token(name)), found))
        }
        _ => {}
    }
}

#[test]
fn no_error_and_no_warning_repeats_a_value() {
    const CANARY: &str = "hunter2";
    const NUMBER: u64 = 271_828_182_845;
    let mut config = everything();
    config["limits"] = json!({
        "per_address": {"ipv6_prefix": 64, "handshakes": {"per_second": 5, "burst": 20}, "failures": {"count": 1, "ban": "1s"}},
        "per_connection": {"by_type": {"a": {"per_second": 1}}}, "on_excess": "close", "global": {"cluster": "c", "on_error": "allow"},
    });
    config["messages"]["from_client"] = json!({
        "json": {
            "discriminator": "/type", "otherwise": "refuse", "duplicate_keys": "refuse", "formats": "assert",
            "schemas": {"a": {
                "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://a.example/", "type": "object",
                "properties": {"b": {"format": "date", "pattern": "^a$", "$ref": "#/$defs/c", "enum": [1]}},
                "required": ["b"], "$defs": {"c": {"minLength": 1}},
            }},
        },
        "authorize": [{"when": {"/type": "a"}, "claims": {"role": {"contains": "x"}}, "equals": {"/u": "sub"}}],
        "deny_patterns": [{"name": "a", "regex": "b"}], "rule_sets": ["sql_injection"], "envelope": "json",
    });
    config["routes"] = json!([{"match": {"path": "/a", "host": "h.example"}, "policy": {"mode": "monitor"}}]);
    assert!(read(&config).is_ok(), "or all faults would be one");
    let mut unusable = config.clone();
    unusable["auth"]["providers"][0]["jwks"] = json!({"inline": {"keys": [{"kty": "RSA", "n": "x", "e": "AQAB"}]}});
    unusable["auth"]["cookie"] = json!({"name": "sid", "hmac": {"secret": {"env": "SECRET"}}});
    for config in [config, unusable] {
        check_no_value_is_repeated(&config, CANARY, NUMBER);
    }
    for text in [r#"{"auth": "hunter2"#, r#"{"a": hunter2}"#, r#""hunter2""#, r#"{"hosts": ["hunter2" "b"]}"#] {
        let told = parse(text.as_bytes(), &|_| None).unwrap_err().to_string();
        assert!(!told.contains(CANARY), "{told}");
    }
}

fn check_no_value_is_repeated(config: &Value, canary: &str, number: u64) {
    let mut found = Vec::new();
    places(config, "", &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for at in found.iter().skip(1) {
        for planted in [
            json!(canary),
            json!([canary]),
            json!({"inline": canary}),
            json!({"env": canary}),
            json!({"secret": canary}),
            json!({"secret": {"inline": [canary]}}),
            json!({"regex": format!("({canary}")}),
            json!({"$ref": canary, "format": canary, "type": canary, "pattern": format!("({canary}")}),
            json!(format!("https://{canary}/ (")),
            json!(number),
            json!(-271_828_182_845_i64),
            json!(271_828_182_845.5),
        ] {
            let mut changed = config.clone();
            *changed.pointer_mut(at).unwrap() = planted.clone();
            let told = match read(&changed) {
                Ok(parsed) => warnings(&parsed).join("\n"),
                Err(error) => error,
            };
            assert!(!told.contains(canary) && !told.contains(&number.to_string()), "{at} {planted}: {told}");
        }
    }
}

#[test]
fn a_path_leads_to_one_place() {
    for (key, step) in [
        ("chat", ".chat"),
        ("_a1", "._a1"),
        ("chat.v1", "[\"chat.v1\"]"),
        ("a-b", "[\"a-b\"]"),
        ("1a", "[\"1a\"]"),
        ("", "[\"\"]"),
        ("a\"]", "[\"a\\\"]\"]"),
        ("a/b", "[\"a/b\"]"),
        ("a\nb", "[\"a\\nb\"]"),
        ("ä", "[\"ä\"]"),
    ] {
        let object = |value: Value| Value::Object([(key.to_owned(), value)].into_iter().collect());
        let side = "messages.from_client";
        for (pointer, value, path) in [
            (
                "/messages/from_client/json",
                json!({"discriminator": "/t", "schemas": object(json!({"type": 1}))}),
                format!("{side}.json.schemas{step}/type"),
            ),
            (
                "/messages/from_client/json",
                json!({"discriminator": "/t", "schemas": object(json!(1))}),
                format!("{side}.json.schemas{step}"),
            ),
            (
                "/limits/per_connection/by_type",
                object(json!({"per_second": "x"})),
                format!("limits.per_connection.by_type{step}.per_second"),
            ),
            ("/auth/providers/0/require", object(json!([])), format!("auth.providers[0].require{step}")),
            ("/auth/claim_headers", object(json!("host")), format!("auth.claim_headers{step}")),
            ("/auth/claim_headers", object(json!(1)), format!("auth.claim_headers{step}")),
            ("/origin", object(json!(1)), format!("origin{step}")),
        ] {
            refuse_at(pointer, value, &format!("{path}: "));
        }
    }
    refuse(&json!({"chat.v1": 1}), "[\"chat.v1\"]: unknown field");
}

#[test]
fn published_keys_are_where_the_policy_or_the_issuer_says() {
    let remote = |change: Value| {
        let mut own = provider();
        own["algorithms"] = json!(["RS256"]);
        own["jwks"] = json!({"cluster": "idp"});
        for (key, value) in change.as_object().unwrap() {
            own[key] = value.clone();
        }
        let parsed = read(&with(good(), "/auth/providers", json!([own])))?;
        Ok(RemoteKeys::clone(parsed.policies.base().auth.providers[0].remote.as_ref().unwrap()))
    };
    let seconds = Duration::from_secs;
    let url = |url: &str| KeySource::Url(Location::parse(url).unwrap());
    for (change, source, refresh, timeout) in [
        (
            json!({"issuer": "https://idp.example/"}),
            KeySource::Discovery {
                issuer: "https://idp.example/".into(),
                metadata: Location::parse("https://idp.example/.well-known/openid-configuration").unwrap(),
            },
            seconds(300),
            seconds(2),
        ),
        (
            json!({"jwks": {"cluster": "idp", "url": "https://idp/keys", "refresh": "10s", "timeout": "250ms"}}),
            url("https://idp/keys"),
            seconds(10),
            Duration::from_millis(250),
        ),
    ] {
        let keys: RemoteKeys = remote(change).unwrap_or_else(|error: String| panic!("{error}"));
        assert_eq!((keys.source, keys.refresh, keys.timeout), (source, refresh, timeout));
    }
    for (change, start) in [
        (json!({"issuer": null}), "jwks.url: is required where there is no issuer"),
        (json!({"issuer": "me"}), "jwks.url: is required where the issuer is no URL"),
        (json!({"jwks": {"cluster": "idp", "url": "idp/keys"}}), "jwks.url: expected an https or http URL"),
        (json!({"jwks": {"cluster": "idp", "url": "https://idp/", "refresh": "9s"}}), "jwks.refresh: from 10s"),
        (json!({"jwks": {"cluster": "idp", "url": "https://idp/", "timeout": "0s"}}), "jwks.timeout: from 10ms"),
    ] {
        let error = remote(change).unwrap_err();
        assert!(error.starts_with(&format!("auth.providers[0].{start}")), "{error}");
    }
}

#[test]
fn what_revokes_is_where_the_policy_says() {
    let of = |key: &str, value: Value| {
        let mut own = provider();
        (own["issuer"], own["audiences"]) = (json!("https://idp.example/"), json!(["chat"]));
        let mut other = provider();
        (other["name"], other["issuer"]) = (json!("other"), Value::Null);
        let policy = with(good(), "/auth/providers", json!([other, own]));
        Ok::<_, String>(read(&with(policy, &format!("/auth/{key}"), value))?.policies.base().auth.clone())
    };
    let auth = of("revocation", json!({"cluster": "idp", "path": "/revoked.json?all"})).unwrap();
    let feed = &auth.revocation.as_ref().unwrap().feed;
    assert_eq!((&*feed.cluster, &*feed.location.authority, &*feed.location.path), ("idp", "idp", "/revoked.json?all"));
    assert_eq!((feed.refresh, feed.timeout), (Duration::from_secs(15), Duration::from_secs(2)));
    let name = provider()["name"].clone();
    let logout = json!({"path": "/back-channel logout", "provider": name});
    assert!(of("back_channel_logout", logout).is_err(), "a path has no space");
    let auth = of("back_channel_logout", json!({"path": "/out", "provider": name, "peers": ["a", "b"]})).unwrap();
    let logout = auth.logout.as_ref().unwrap();
    assert_eq!((&*logout.path, logout.provider, logout.peers.len()), ("/out", 1, 2));
    for (key, value, start) in [
        ("revocation", json!({}), "cluster: is required"),
        ("revocation", json!({"cluster": ""}), "cluster: must not be empty"),
        ("revocation", json!({"cluster": "idp"}), "path: is required"),
        ("revocation", json!({"cluster": "idp", "path": "revoked"}), "path: expected a path"),
        ("revocation", json!({"cluster": "idp", "path": "/a b"}), "path: expected a path"),
        ("revocation", json!({"cluster": "idp|x y", "path": "/a"}), "cluster: this name cannot be"),
        ("revocation", json!({"cluster": "idp", "path": "/a", "refresh": "999ms"}), "refresh: from 1s"),
        ("revocation", json!({"cluster": "idp", "path": "/a", "refresh": "61m"}), "refresh: from 1s"),
        ("revocation", json!({"cluster": "idp", "path": "/a", "url": "x"}), ""),
        ("back_channel_logout", json!({}), "path: is required"),
        ("back_channel_logout", json!({"path": "/out"}), "provider: is required"),
        ("back_channel_logout", json!({"path": "/out?a", "provider": name}), "path: has no query"),
        ("back_channel_logout", json!({"path": "/out", "provider": "nobody"}), "provider: there is no provider"),
        (
            "back_channel_logout",
            json!({"path": "/out", "provider": "other"}),
            "provider: needs an issuer and audiences",
        ),
        (
            "back_channel_logout",
            json!({"path": "/out", "provider": name, "peers": [""]}),
            "peers[0]: must not be empty",
        ),
    ] {
        let error = of(key, value).unwrap_err();
        assert!(error.starts_with(&format!("auth.{key}.{start}")), "{error}");
    }
}

#[test]
fn spikes_are_watched_unless_the_policy_says_no() {
    let spikes =
        |value: Value| read(&with(good(), "/log/spikes", value)).map(|parsed| parsed.policies.base().log.spikes);
    let rules = |factor: f64, seconds: u64| Ok(Some(SpikeRules { factor, window: Duration::from_secs(seconds) }));
    assert_eq!(spikes(json!({})), rules(4.0, 10));
    assert_eq!(spikes(json!({"factor": 2.5, "window": "1m"})), rules(2.5, 60));
    assert_eq!(spikes(Value::Null), Ok(None));
    for factor in [json!(1), json!(-4), json!(1e9)] {
        refuse_at("/log/spikes", json!({"factor": factor}), "log.spikes.factor: from 1.1 to 1000");
    }
    for window in ["0s", "999ms", "601s"] {
        refuse_at("/log/spikes", json!({"window": window}), "log.spikes.window: from 1s to 10m");
    }
}

#[test]
fn a_list_is_no_object() {
    for pointer in ["/auth", "/origin", "/limits", "/messages/from_client", "/log"] {
        refuse_at(
            pointer,
            json!([]),
            &format!("{}: expected an object", pointer.replacen('/', "", 1).replace('/', ".")),
        );
    }
    refuse_at("/routes", json!([[{"path": "/a"}, {}]]), "routes[0]: expected an object");
    refuse_at("/routes", json!([{}]), "routes[0].match: needs host, path or path_prefix");
}

#[test]
fn passing_compressed_messages_unread_excludes_reading_them() {
    let config = with(good(), "/compression", json!("pass"));
    refuse(&config, "compression: pass leaves payload unread, which messages.from_client.utf8");
    let config = with(config, "/messages/from_client/utf8", json!(false));
    refuse(&config, "compression: pass leaves payload unread, which messages.from_client.tunnels: refuse");
    let config = with(config, "/messages/from_client/tunnels", json!("allow"));
    let config = with(config, "/messages/from_server/tunnels", json!("allow"));
    assert_eq!(read(&config).unwrap().policies.base().compression, Compression::Pass);
    let config = with(config, "/messages/from_server/utf8", json!(true));
    refuse(&config, "compression: pass leaves payload unread, which messages.from_server.utf8");
}

#[test]
fn text_is_checked_unless_switched_off() {
    let policy = permissive();
    assert!(policy.messages.client.rules.utf8 && !policy.messages.server.rules.utf8);
    assert!(!policy.messages.client.rules.whole && policy.compression == Compression::Refuse);
    assert_eq!(policy.limits.held_len_max, 67_108_864);
    refuse(&with(good(), "/limits/held_bytes", json!(0)), "limits.held_bytes: must be at least 1");
}

#[test]
fn routes_merge_their_keys_into_the_base() {
    let config = with(
        good(),
        "/routes",
        json!([
            {"match": {"path": "/admin"}, "policy": {"origin": {"allow": ["https://admin.example.com"]}}},
            {"match": {"path_prefix": "/feed"}, "policy": {"origin": {"missing": "allow"}, "auth": {"required": false}}},
            {"match": {"host": "*.internal"}, "policy": {"mode": "monitor"}},
        ]),
    );
    let policies = read(&config).unwrap().policies;
    let place = |path: &str| Place::new(Authority::parse(b"chat.example.com").ok(), path.as_bytes());
    let at = |path: &str| policies.select(&place(path)).unwrap();
    assert_eq!(at("/admin").origin.allow.len(), 1);
    assert_ne!(at("/admin").origin.allow, policies.base().origin.allow);
    assert_eq!(at("/admin").origin.missing, Access::Refuse);
    assert_eq!(at("/feed/1").origin.allow, policies.base().origin.allow);
    assert!(!at("/feed").auth.required && !at("/feed").auth.providers.is_empty());
    assert!(at("/").auth.required);
}

#[test]
fn faults_of_routes_name_their_path() {
    let route = |matcher: Value, policy: Value| json!([{"match": matcher, "policy": policy}]);
    refuse_at("/routes", route(json!({}), json!({})), "routes[0].match: needs");
    refuse_at("/routes", route(json!({"path": "chat"}), json!({})), "routes[0].match.path: ");
    refuse_at("/routes", route(json!({"host": "a b"}), json!({})), "routes[0].match.host: ");
    refuse_at("/routes", route(json!({"path": "/"}), json!({"mode": 1})), "routes[0].policy.mode: ");
    refuse_at("/routes", route(json!({"path": "/"}), json!({"routes": []})), "routes[0].policy.routes: ");
    refuse_at("/routes", route(json!({"path": "/"}), json!({"hosts": [""]})), "routes[0].policy.hosts[0]: ");
}

#[test]
fn weaknesses_are_warned_of_with_their_path() {
    let jwks = json!({"inline": {"keys": [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ]}});
    let config =
        with(with(good(), "/auth/providers/0/jwks", jwks), "/auth/providers/0/algorithms", json!(["EdDSA", "RS256"]));
    let same_host = json!({"same_host": "allow"});
    for (config, warning) in [
        (config, "auth.providers[0].jwks.inline.keys[0]: passed over: an RSA key must have 2048 to 4096 bits"),
        (with(good(), "/origin", same_host.clone()), "origin.same_host: "),
        (
            with(good(), "/routes", json!([{"match": {"path": "/a"}, "policy": {"origin": same_host}}])),
            "routes[0].policy.origin.same_host: ",
        ),
    ] {
        let warnings = warnings(&read(&config).unwrap());
        assert!(matches!(warnings.as_slice(), [only] if only.starts_with(warning)), "{warnings:?}");
    }
    let config = with(with(good(), "/origin", same_host), "/hosts", json!(["a.example"]));
    assert_eq!(warnings(&read(&config).unwrap()), [""; 0]);
}

#[test]
fn a_star_means_any_origin_at_all_unless_opaque_ones_are_refused() {
    let opaque = |origin: Value| read(&with(good(), "/origin", origin)).unwrap().policies.base().origin.opaque;
    assert_eq!(opaque(json!({"allow": ["*"]})), Access::Allow);
    assert_eq!(opaque(json!({"allow": ["*"], "opaque": "refuse"})), Access::Refuse);
    assert_eq!(opaque(json!({"allow": ["https://*.example.com", "file://"]})), Access::Refuse);
}

#[test]
fn tokens_made_for_anyone_are_warned_of() {
    let config = with(with(good(), "/auth/providers/0/issuer", json!(null)), "/auth/providers/0/audiences", json!([]));
    let warnings = warnings(&read(&config).unwrap());
    assert!(
        warnings[0].starts_with("auth.providers[0].issuer: ")
            && warnings[1].starts_with("auth.providers[0].audiences: ")
    );
}

#[test]
fn what_messages_may_say_is_checked_at_its_path() {
    for (key, value, problem) in [
        ("json", json!({"schema": {"type": "text"}}), "json.schema/type: expected the name of a type"),
        ("json", json!({"schema": {"$ref": "https://x/"}}), "json.schema/$ref: leads out of this document"),
        ("json", json!({"schema": {}, "discriminator": "/type"}), "json.schema: stands alone"),
        ("json", json!({"discriminator": "/type"}), "json.discriminator: needs schemas"),
        ("json", json!({"discriminator": "type", "schemas": {}}), "json.discriminator: expected a JSON Pointer"),
        ("json", json!({"schemas": {"a": {}}}), "json.schemas: needs a discriminator"),
        (
            "json",
            json!({"discriminator": "/t", "schemas": {"a": {"minimum": "1"}}}),
            "json.schemas.a/minimum: expected a number",
        ),
        ("json", json!({"otherwise": "refuse"}), "json.otherwise: needs discriminator"),
        ("json", json!({"max_depth": 0}), "json.max_depth: must be 1 to 128"),
        ("json", json!({"max_depth": 129}), "json.max_depth: must be 1 to 128"),
        ("json", json!({"max_keys": 0}), "json.max_keys: must be 1 to"),
        ("json", json!({"formats": "check"}), "json.formats: expected assert or annotate"),
        ("authorize", json!([{"claims": {"role": "a"}}]), "authorize: needs json"),
        ("envelope", json!("xml"), "envelope: expected json or"),
        ("envelope", json!({"a": "xml"}), "envelope.a: expected json or"),
        ("envelope", json!({"a b": "json"}), "envelope[\"a b\"]: a subprotocol is a token"),
        ("envelope", json!({}), "envelope: names no subprotocol"),
        ("envelope", json!({"": "json"}), "envelope: names no subprotocol"),
        ("binary", json!("json"), "binary: expected allow or refuse or text"),
        ("deny_patterns", json!([{"name": "a"}]), "deny_patterns[0].regex: is required"),
        ("deny_patterns", json!([{"regex": "a"}]), "deny_patterns[0].name: is required"),
        ("deny_patterns", json!([{"name": "A", "regex": "a"}]), "deny_patterns[0].name: expected up to 64"),
        (
            "deny_patterns",
            json!([{"name": "a", "regex": "a"}, {"name": "a", "regex": "b"}]),
            "deny_patterns[1].name: stands twice",
        ),
        (
            "deny_patterns",
            json!([{"name": "a", "regex": "a"}, {"name": "b", "regex": "(?=a)"}]),
            "deny_patterns[1].regex: look-ahead",
        ),
        ("rule_sets", json!(["xss"]), "rule_sets[0]: expected sql_injection or"),
    ] {
        let pointer = format!("/messages/from_client/{key}");
        refuse_at(&pointer, value, &format!("messages.from_client.{problem}"));
    }
    let with_json = with(good(), "/messages/from_client/json", json!({}));
    for (rule, problem) in [
        (json!({"when": {"/type": "*"}}), "authorize[0]: needs claims or equals"),
        (json!({"when": {"type": "*"}, "claims": {"a": 1}}), "authorize[0].when.type: expected a JSON Pointer"),
        (json!({"equals": {"user": "sub"}}), "authorize[0].equals.user: expected a JSON Pointer"),
        (json!({"claims": {"role": []}}), "authorize[0].claims.role: an empty list"),
        (json!({"missing": "pass", "claims": {"role": 1}}), "authorize[0].missing: expected allow or refuse"),
    ] {
        let config = with(with_json.clone(), "/messages/from_client/authorize", json!([rule]));
        refuse(&config, &format!("messages.from_client.{problem}"));
    }
}

fn base(config: &Value) -> Policy {
    (**read(config).unwrap().policies.base()).clone()
}

#[test]
fn envelopes_agree_with_subprotocols_and_binary() {
    let config = with(good(), "/messages/from_client/envelope", json!({"a": "json", "b": "socket.io"}));
    assert_eq!(base(&config).subprotocols.allow, ["a", "b"]);
    assert!(base(&config).subprotocols.required);
    let config = with(config, "/messages/from_server/envelope", json!({"b": "socket.io", "c": "json", "": "json"}));
    assert_eq!(base(&config).subprotocols.allow, ["b"]);
    let listed = with(config.clone(), "/subprotocols/allow", json!(["a"]));
    refuse(&listed, "messages.from_server.envelope: names none of the subprotocols");
    let binary = with(config, "/messages/from_client/binary", json!("text"));
    refuse(&binary, "messages.from_client.binary: text would judge the attachments of socket.io");
    let binary = with(good(), "/messages/from_client/binary", json!("text"));
    assert_eq!(base(&binary).messages.client.rules.binary, Binary::Text);
}

/// The warnings about messages of a policy whose client's side this is.
fn doors(from_client: Value, other: Value) -> Vec<String> {
    let mut config = with(good(), "/messages/from_client", from_client);
    for (key, value) in other.as_object().unwrap() {
        config[key] = value.clone();
    }
    warnings(&read(&config).unwrap())
}

#[test]
fn frames_and_strings_may_be_as_long_as_messages() {
    let bounds = |config: &Value| {
        let policy = base(config);
        let json = policy.messages.client.content.json.as_ref().unwrap();
        (
            policy.messages.client.rules.message_len_max,
            policy.messages.client.rules.frame_len_max,
            json.bounds.string_len_max,
        )
    };
    let config = with(good(), "/messages/from_client/json", json!({}));
    assert_eq!(bounds(&config), (65_536, 65_536, 65_536));
    let longer = with(config, "/messages/from_client/max_message_bytes", json!(100_000));
    assert_eq!(bounds(&longer), (100_000, 100_000, 100_000));
    let own = with(longer, "/messages/from_client/json/max_string_bytes", json!(5));
    assert_eq!(bounds(&with(own, "/messages/from_client/max_frame_bytes", json!(7))), (100_000, 7, 5));
    // The same words of either side do not mean the same.
    let server = with(with(good(), "/messages/from_server/json", json!({})), "/messages/from_client/json", json!({}));
    let policy = base(&server);
    let json = policy.messages.server.content.json.as_ref().unwrap();
    assert_eq!((policy.messages.server.rules.frame_len_max, json.bounds.string_len_max), (1_048_576, 1_048_576));
}

#[test]
fn half_an_emoji_is_no_fault_unless_written() {
    let surrogates = |json: Value| {
        base(&with(good(), "/messages/from_client/json", json))
            .messages
            .client
            .content
            .json
            .as_ref()
            .unwrap()
            .bounds
            .surrogates
    };
    assert!(surrogates(json!({})) && surrogates(json!({"surrogates": "allow"})));
    assert!(!surrogates(json!({"surrogates": "refuse"})));
}

#[test]
fn misspelt_keywords_of_schemas_are_named_once() {
    let problem = "no keyword of JSON Schema, so it checks nothing";
    let warnings = doors(json!({"json": {"schema": {"properties": {"a": {"requierd": ["b"]}}}}}), json!({}));
    assert_eq!(warnings, [format!("messages.from_client.json.schema/properties/a/requierd: {problem}")]);
    let config =
        json!({"json": {"discriminator": "/t", "schemas": {"a b": {"typ": "object"}, "c": {"type": "object"}}}});
    let routes = json!({"routes": [{"match": {"path": "/x"}, "policy": {"require_tls": false}}]});
    let expected = format!("messages.from_client.json.schemas[\"a b\"]/typ: {problem}");
    assert_eq!(doors(config, routes), [expected]);
}

#[test]
fn doors_beside_the_rules_are_named() {
    let none = json!({});
    let binary = "messages.from_client.binary: allow lets messages pass";
    for (rules, is_door) in [
        (json!({"binary": "allow"}), false),
        (json!({"binary": "text", "json": {}}), false),
        (json!({"json": {}}), false),
        (json!({"binary": "allow", "json": {}}), true),
        (json!({"binary": "allow", "deny_patterns": [{"name": "a", "regex": "a"}]}), true),
        (json!({"binary": "allow", "rule_sets": ["sql_injection"]}), true),
    ] {
        let warnings = doors(rules.clone(), none.clone());
        assert_eq!(warnings.iter().any(|warning| warning.starts_with(binary)), is_door, "{rules}");
        assert_eq!(warnings.len(), usize::from(is_door), "{rules}");
    }
    let config = with(good(), "/messages/from_server/json", json!({}));
    assert!(warnings(&read(&config).unwrap())[0].starts_with("messages.from_server.binary: allow lets"));

    for envelope in ["signalr", "sockjs"] {
        assert!(doors(json!({"envelope": envelope}), none.clone())[0].starts_with("non_websocket: pass lets"));
    }
    for envelope in ["json_lines", "stomp"] {
        assert!(doors(json!({"envelope": envelope}), none.clone()).is_empty());
    }
    let socket = json!({"envelope": "socket.io"});
    assert!(doors(socket.clone(), none.clone())[0].starts_with("non_websocket: pass lets clients of socket.io"));
    assert!(doors(json!({"envelope": {"a": "socket.io"}}), none.clone())[0].starts_with("non_websocket: "));
    assert!(doors(socket, json!({"non_websocket": "refuse"})).is_empty());

    let object =
        |required: Value, properties: Value| json!({"type": "object", "required": required, "properties": properties});
    let kind = json!({"/type": "*"});
    let deep = json!({"/a/b": "*"});
    for (rules, when, is_door) in [
        (json!({}), &kind, true),
        (json!({}), &json!({}), false),
        (json!({}), &json!({"": "*"}), false),
        (json!({"schema": object(json!(["type"]), none.clone())}), &kind, false),
        (json!({"schema": {"allOf": [object(json!(["type"]), none.clone())]}}), &kind, false),
        // Arrays need no members.
        (json!({"schema": {"required": ["type"]}}), &kind, true),
        (json!({"schema": object(json!(["a"]), json!({"a": {"required": ["b"]}}))}), &deep, true),
        (json!({"schema": object(json!(["a"]), json!({"a": object(json!(["b"]), none.clone())}))}), &deep, false),
        (json!({"discriminator": "/type", "schemas": {"a": {}}}), &kind, false),
        (json!({"discriminator": "/type", "schemas": {"a": {}}, "otherwise": "allow"}), &kind, true),
        (json!({"discriminator": "/kind", "schemas": {"a": object(json!(["type"]), none.clone())}}), &kind, false),
    ] {
        for (missing, outcome) in [("refuse", "are refused"), ("allow", "pass it unasked")] {
            let rule = json!({"when": when, "missing": missing, "claims": {"role": "a"}});
            let warnings = doors(json!({"json": rules, "authorize": [rule]}), none.clone());
            let start = "messages.from_client.authorize[0].when: no schema and no discriminator requires /";
            let is_named = warnings.iter().any(|warning| warning.starts_with(start) && warning.ends_with(outcome));
            assert_eq!(is_named, is_door, "{rules} {when}: {warnings:?}");
        }
    }
    let first =
        json!({"json": {}, "envelope": "socket.io", "authorize": [{"when": {"/0": "*"}, "claims": {"role": "a"}}]});
    assert!(doors(first, json!({"non_websocket": "refuse"})).is_empty());
}

#[test]
fn authorize_reads_names_that_stand_once() {
    let config = with(good(), "/messages/from_client/json", json!({"duplicate_keys": "allow"}));
    assert!(read(&config).is_ok());
    let config = with(config, "/messages/from_client/authorize", json!([{"claims": {"role": "a"}}]));
    refuse(&config, "messages.from_client.json.duplicate_keys: allow leaves open");
}

#[test]
fn texts_that_are_judged_are_text_and_routes_share_what_is_compiled() {
    let config = with(good(), "/messages/from_server/json", json!({"schema": {"type": "object"}}));
    let config = with(config, "/messages/from_client/rule_sets", json!(["sql_injection", "sql_injection"]));
    let config = with(config, "/routes", json!([{"match": {"path": "/a"}, "policy": {"require_tls": false}}]));
    let policies = read(&config).unwrap().policies;
    let all: Vec<&Policy> = policies.all().collect();
    assert!(all[0].messages.server.rules.utf8 && all[0].messages.client.rules.utf8);
    assert!(Rc::ptr_eq(&all[0].messages.client.content, &all[1].messages.client.content));
    assert!(Rc::ptr_eq(&all[0].messages.server.content, &all[1].messages.server.content));
    let names: Vec<&str> = policies.rule_names().map(|name| &**name).collect();
    assert!(
        !names.is_empty()
            && names.iter().all(|name| name.starts_with("sql_injection.") || *name == "rule_sets.too_much_work")
    );
}

#[test]
fn what_is_only_monitored_is_warned_of_by_its_path_and_counted() {
    let client = json!({
        "mode": "enforce", "json": {},
        "deny_patterns": [{"name": "a", "regex": "a", "mode": "enforce"}, {"name": "b", "regex": "b", "mode": "monitor"}],
        "rule_sets": ["sql_injection", {"name": "path_traversal", "mode": "monitor"}],
        "authorize": [{"when": {"": "*"}, "claims": {"a": 1}, "mode": "monitor"}],
    });
    let config = json!({
        "mode": "monitor", "auth": {"required": false, "mode": "monitor"}, "origin": {"mode": "enforce"},
        "subprotocols": {"mode": "monitor"}, "limits": {"mode": "monitor"}, "liveness": {"mode": "monitor"},
        "messages": {"from_client": client, "from_server": {"mode": "monitor"}},
        "routes": [{"match": {"path": "/a"}, "policy": {"origin": {"mode": "monitor"}}}],
    });
    let parsed = read(&config).unwrap();
    let paths: Vec<String> = warnings(&parsed).iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    let expected = [
        "mode",
        "subprotocols.mode",
        "auth.mode",
        "messages.from_client.authorize[0].mode",
        "messages.from_client.deny_patterns[1].mode",
        "messages.from_client.rule_sets[1].mode",
        "messages.from_server.mode",
        "limits.mode",
        "liveness.mode",
        "routes[0].policy.origin.mode",
    ];
    assert_eq!(paths, expected);
    // Six of the eight parts and three rules, and of the route seven.
    assert_eq!(parsed.policies.monitored_count(), 6 + 3 + 7 + 3);
    assert_eq!(read(&json!({"auth": {"required": false}})).unwrap().policies.monitored_count(), 0);
}

#[test]
fn rules_are_left_out_by_their_names_and_strings_by_their_places() {
    let side = |set: Value, json: Value| json!({"auth": {"required": false}, "messages": {"from_client": {"json": json, "rule_sets": ["path_traversal", set]}}});
    for (set, json, problem) in [
        (
            json!({"name": "sql_injection", "exclude": ["union_select", "no_rule"]}),
            json!({}),
            "exclude[1]: expected the name of a rule of this set",
        ),
        (
            json!({"name": "sql_injection", "exclude": ["path_traversal.null_byte"]}),
            json!({}),
            "exclude[0]: expected the name",
        ),
        (json!({"name": "sql_injection", "except": ["text"]}), json!({}), "except[0]: expected a JSON Pointer"),
        (json!({"name": "sql_injection", "except": ["/text"]}), json!(null), "except: needs json"),
        (json!({"name": "path_traversal", "mode": "monitor"}), json!({}), "name: stands twice"),
        (json!({"exclude": []}), json!({}), "name: is required"),
        (json!({"name": "sql"}), json!({}), "name: expected "),
        (json!({"name": "sql_injection", "only": []}), json!({}), "only: unknown field"),
        (json!({"name": "sql_injection", "except": vec!["/a"; 33]}), json!({}), "except: at most 32"),
        (json!(7), json!({}), "expected sql_injection or "),
    ] {
        let error = read(&side(set, json)).unwrap_err();
        let at = "messages.from_client.rule_sets[1]";
        assert!(
            error.starts_with(&format!("{at}.{problem}")) || error.starts_with(&format!("{at}: {problem}")),
            "{error}"
        );
    }
    let good = json!({"name": "sql_injection", "mode": "monitor", "exclude": ["union_select"], "except": ["/text", "/items/*/body", ""]});
    assert!(read(&side(good, json!({}))).is_ok());
}
