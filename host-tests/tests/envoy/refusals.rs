//! The table of answers before the upgrade: each row as a client sees it, as the upstream does not, and as operators read it.

use std::collections::BTreeSet;

use jsonwebtoken::Algorithm::{ES256, HS256, RS256};
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::{Answer, Upgrade};
use portcullis_envoy::peer::websocket::Event;
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE};
use crate::tokens::{self, FORGED, Token, in_seconds, public_jwk};

#[test]
fn refused_upgrades_are_answered_closed_counted_and_logged() {
    let gate = Gate::launch(policy(), Mode::Echo, |launch| launch.trusted_hops(1));
    let mut counters = Counters::default();
    let mut reached = Vec::new();
    // One address may not cause as many lines of log.
    let from =
        |upgrade: Upgrade, number: usize| upgrade.header("X-Forwarded-For", format!("203.0.113.{}", number % 250));
    for (index, (route, request)) in ACCEPTED.iter().enumerate() {
        let path = format!("{route}/accepted/{index}");
        let mut websocket = gate.client.open(&request(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let echo = websocket.exchange("hello", PATIENCE).expect("it takes bytes");
        assert!(matches!(echo, Event::Frame(frame) if frame.payload == b"hello"), "{path}");
        reached.push(path);
        counters.closed("peer");
    }

    let mut answers = Vec::new();
    let mut refused = BTreeSet::new();
    for (status, reason, rows) in REFUSED {
        for (index, (route, request)) in rows.iter().enumerate() {
            let path = format!("{route}/{reason}/{index}");
            let pipelined = format!("{path}/pipelined");
            for (path, request) in [(&path, request(&path)), (&pipelined, request(&pipelined).tail(PIPELINED))] {
                let answer = gate.client.ask(&from(request, answers.len())).expect("Envoy listens");
                check_refused(path, &answer, *status, reason);
                assert_eq!(answer.head.value("connection"), Some("close"), "{path}");
                answers.push((path.clone(), answer));
                refused.insert((path.clone(), (*reason).to_owned()));
                counters.refused(reason);
            }
        }
    }
    for (index, (status, request)) in REFUSED_BY_ENVOY.iter().enumerate() {
        let path = format!("/envoy/{index}");
        let answer = gate.client.ask(&request(&path).tail(PIPELINED)).expect("Envoy listens");
        assert_eq!(answer.status(), *status, "{path}");
        answers.push((path, answer));
    }
    for (path, mut answer) in answers {
        assert!(answer.is_closed_within(PATIENCE), "{path}: its connection stays open");
        assert_eq!(answer.next().status(), 0, "{path}: what is pipelined behind it is answered");
    }

    let requests = gate.backend.requests();
    assert_eq!(
        requests.iter().filter_map(|request| request.head.target().split('?').next()).collect::<Vec<_>>(),
        reached
    );
    gate.check_counters(&counters);
    // Once in the access log, and once in the filter's own.
    for (field, prefix) in [("details", "portcullis_"), ("reason", "")] {
        gate.wait_for_log(|lines| {
            let own = |line: &&Value| field == "details" || line["event"] == "refused";
            let lines = lines.iter().filter(own);
            let row = |line: &Value| {
                Some((line["path"].as_str()?.into(), line[field].as_str()?.strip_prefix(prefix)?.into()))
            };
            lines.filter_map(row).collect::<BTreeSet<(String, String)>>() == refused
        });
    }
}

/// Envoy keeps a connection whose request was none for an upgrade: what follows on it is judged as well.
#[test]
fn plain_requests_are_refused_one_by_one() {
    let gate = Gate::start(policy(), Mode::Echo);
    let second = String::from_utf8(plain("/upgrades/second").bytes()).expect("text");
    for request in [plain("/upgrades"), plain("/upgrades").method("POST").header("Content-Length", "0")] {
        let answer = gate.client.ask(&request.tail(second.as_str())).expect("Envoy listens");
        check_refused("/upgrades", &answer, 403, "not_websocket");
        check_refused("/upgrades/second", &answer.next(), 403, "not_websocket");
    }
    assert_eq!(gate.client.ask(&plain("/page")).expect("Envoy listens").text(), "ok");
    assert_eq!(gate.backend.requests().len(), 1, "only what may pass does");
    let mut counters = Counters::default();
    (0..4).for_each(|_| counters.refused("not_websocket"));
    gate.check_counters(&counters);
}

#[track_caller]
fn check_refused(path: &str, answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status(), answer.text()), (status, format!("{{\"error\": \"{reason}\"}}")), "{path}");
    for (name, value) in [
        ("content-type", Some("application/json")),
        ("www-authenticate", (status == 401).then_some("Bearer")),
        ("sec-websocket-version", (status == 426).then_some("13")),
        ("sec-websocket-accept", None),
    ] {
        assert_eq!(answer.head.value(name), value, "{path}: {name}");
    }
}

fn policy() -> Value {
    json!({
        "require_tls": false,
        "hosts": ["chat.example.com", "*.example.org"],
        "origin": {"allow": ["https://app.example.com", "https://*.example.net:8443"]},
        "subprotocols": {"allow": ["chat.v1", "chat.v2"]},
        "auth": tokens::auth(),
        "routes": [
            {"match": {"path_prefix": "/tls"}, "policy": {"require_tls": true}},
            {"match": {"path_prefix": "/upgrades"}, "policy": {"non_websocket": "refuse"}},
            {"match": {"path_prefix": "/named"}, "policy": {"subprotocols": {"required": true}}},
            {"match": {"path_prefix": "/apps"}, "policy": {"origin": {
                "allow": ["file://", "moz-extension://*", "capacitor://localhost", "http://localhost:*", "https://pr-*.preview.example.com"],
                "same_host": "allow",
            }}},
            {"match": {"path_prefix": "/star"}, "policy": {"origin": {"allow": ["*"]}}},
            {"match": {"path_prefix": "/any"}, "policy": {"origin": {"missing": "allow", "opaque": "allow"}, "auth": {"required": false}}},
        ],
    })
}

fn good(path: &str) -> Upgrade {
    with_token(path, &Token::new(HS256).sign())
}

fn with_token(path: &str, token: &str) -> Upgrade {
    stranger(path).header("Authorization", format!("Bearer {token}"))
}

fn stranger(path: &str) -> Upgrade {
    Upgrade::to(path).host("chat.example.com").origin("https://app.example.com")
}

fn from(path: &str, origin: &str) -> Upgrade {
    good(path).origin(origin)
}

fn key(path: &str, key: &str) -> Upgrade {
    good(path).with("Sec-WebSocket-Key", key)
}

fn version(path: &str, version: &str) -> Upgrade {
    good(path).with("Sec-WebSocket-Version", version)
}

fn plain(path: &str) -> Upgrade {
    let names = ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
    names.iter().fold(stranger(path), |request, name| request.without(name))
}

fn forged(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').expect("three parts");
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{input}.{first}{}", &signature[1..])
}

/// A route of the policy, and a request for a path below it.
type Row = (&'static str, Request);
type Request = fn(&str) -> Upgrade;

const ACCEPTED: &[Row] = &[
    ("", good),
    ("", |path| good(path).with("Connection", "keep-alive, Upgrade").header("Content-Length", "0")),
    ("", |path| good(path).with("Upgrade", "WebSocket").host("CHAT.example.com:443")),
    ("", |path| from(path, "HTTPS://App.Example.com:443")),
    ("", |path| from(path, "https://a.b.example.net:8443").host("eu.example.org")),
    ("", |path| good(path).subprotocols("chat.v9, chat.v2")),
    ("", |path| good(path).header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")),
    // The same credential in two places is one.
    ("", |path| {
        let token = Token::new(ES256).sign();
        with_token(path, &token).header("Cookie", format!("session={token}"))
    }),
    ("", |path| good(path).header("Cookie", "session=")),
    // And makes nothing ambiguous.
    ("", |path| good(path).header("Cookie", "session=eyJfZnJlc2giOmZhbHNlfQ.ZxYzAQ.sfl2kJ8d")),
    ("", |path| good(path).target(&format!("{path}?token=SFMyNTY.g2gDYQFuBgD4.sfl2kJ8d"))),
    ("", |path| with_token(path, &Token::new(ES256).claim("role", json!(["guest", "admin"])).sign())),
    ("", |path| with_token(path, &Token::new(ES256).claim("email", Value::Null).claim("sub", 42).sign())),
    ("/apps", |path| from(path, "file://")),
    ("/apps", |path| from(path, "moz-extension://6f9c1d1e-0b1a-4c6e-9b0e-000000000000")),
    ("/apps", |path| from(path, "capacitor://localhost")),
    ("/apps", |path| from(path, "http://localhost:5173")),
    ("/apps", |path| from(path, "https://pr-7.preview.example.com")),
    ("/apps", |path| from(path, "https://chat.example.com")),
    ("/star", |path| from(path, "null")),
    ("/named", |path| good(path).subprotocols("chat.v1")),
    ("/any", |path| Upgrade::to(path).host("chat.example.com")),
    ("/any", |path| stranger(path).origin("null")),
];

const REFUSED: &[(u16, &str, &[Row])] = &[
    (403, "tls_required", TLS_REQUIRED),
    (421, "host_refused", HOST_REFUSED),
    (400, "bad_upgrade", BAD_UPGRADE),
    (426, "bad_version", BAD_VERSION),
    (403, "origin_refused", ORIGIN_REFUSED),
    (403, "subprotocol_refused", SUBPROTOCOL_REFUSED),
    (401, "credential_missing", CREDENTIAL_MISSING),
    (400, "credential_ambiguous", CREDENTIAL_AMBIGUOUS),
    (401, "credential_invalid", CREDENTIAL_INVALID),
    (401, "credential_expired", CREDENTIAL_EXPIRED),
    (403, "claim_refused", CLAIM_REFUSED),
];

const TLS_REQUIRED: &[Row] = &[("/tls", good), ("/tls", |path| good(path).header("X-Forwarded-Proto", "https"))];

const HOST_REFUSED: &[Row] = &[
    ("", |path| good(path).host("evil.example.com")),
    ("", |path| good(path).host("example.org")),
    ("", |path| good(path).host("chat.example.com.evil.io")),
];

const BAD_UPGRADE: &[Row] = &[
    ("", |path| good(path).without("Upgrade")),
    ("", |path| good(path).without("Connection")),
    ("", |path| good(path).with("Connection", "keep-alive")),
    ("", |path| good(path).without("Upgrade").without("Connection")),
    ("", |path| plain(path).header("Sec-WebSocket-Version", "13")),
    ("", |path| good(path).with("Upgrade", "h2c")),
    ("", |path| good(path).with("Connection", "Upgrade, x-user")),
    ("", |path| good(path).with("Connection", "Upgrade, x-forwarded-for")),
    ("", |path| good(path).without("Sec-WebSocket-Key")),
    ("", |path| good(path).header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")),
    ("", |path| key(path, "YWJj")),
    ("", |path| key(path, "dGhlIHNhbXBsZSBub25jZR==")),
    ("", |path| key(path, "dGhlIHNhbXBsZSBub25jZQ")),
    ("", |path| key(path, "")),
    ("", |path| good(path).header("Sec-WebSocket-Version", "13")),
    ("", |path| good(path).header("Sec-WebSocket-Version", "8")),
    ("", |path| version(path, "13, 8")),
    ("", |path| good(path).header("Host", "evil.example.com")),
    ("", |path| good(path).header("Origin", "https://app.example.com")),
    ("", |path| good(path).header("origin", "https://evil.example")),
    ("", |path| from(path, "https://app.example.com, https://evil.example")),
    ("", |path| from(path, "https://app.example.com https://evil.example")),
    ("", |path| good(path).method("POST")),
    ("", |path| good(path).header("Content-Length", "5").tail("hello")),
    ("", |path| good(path).subprotocols("chat v1")),
    ("", |path| good(path).subprotocols("chat.v1, chat.v1")),
    ("", |path| good(path).header("Sec-WebSocket-Extensions", "permessage-deflate; =")),
    ("", |path| good(path).header("Sec-WebSocket-Key1", "4 @1  46546xW%0l 1 5")),
];

const BAD_VERSION: &[Row] = &[
    ("", |path| version(path, "8")),
    ("", |path| version(path, "013")),
    ("", |path| version(path, "13;x")),
    ("", |path| good(path).without("Sec-WebSocket-Version")),
];

const ORIGIN_REFUSED: &[Row] = &[
    ("", |path| good(path).without("Origin")),
    ("", |path| from(path, "null")),
    ("", |path| from(path, "https://evil.example")),
    ("", |path| from(path, "http://app.example.com")),
    ("", |path| from(path, "https://app.example.com:8443")),
    ("", |path| from(path, "https://app.example.com.evil.io")),
    ("", |path| from(path, "https://evil.app.example.com")),
    ("", |path| from(path, "https://app.example.com@evil.io")),
    ("", |path| from(path, "https://app.example.com/")),
    ("", |path| from(path, "https://app%2eexample.com")),
    ("", |path| from(path, "https://example.net:8443")),
    ("", |path| from(path, "https://a.example.net")),
    ("", |path| from(path, "https://")),
    ("", |path| from(path, "")),
    ("/any", |path| from(path, "https://evil.example")),
    ("/apps", |path| from(path, "null")),
    ("/apps", |path| from(path, "file:///")),
    ("/apps", |path| from(path, "chrome-extension://abcdefgh")),
    ("/apps", |path| from(path, "moz-extension://")),
    ("/apps", |path| from(path, "https://localhost:5173")),
    ("/apps", |path| from(path, "http://localhost:65536")),
    ("/apps", |path| from(path, "https://pr-7.evil.preview.example.com")),
    ("/apps", |path| from(path, "https://pr-.preview.example.com")),
    ("/apps", |path| from(path, "https://chat.example.com:8443")),
    ("/star", |path| from(path, "https://evil.example/")),
];

const SUBPROTOCOL_REFUSED: &[Row] = &[
    ("", |path| good(path).subprotocols("chat.v9")),
    ("", |path| good(path).subprotocols("CHAT.V1")),
    ("", |path| good(path).subprotocols("chat.v1, mqtt")),
    ("", |path| good(path).subprotocols("chisel-v3")),
    ("/named", good),
];

const CREDENTIAL_MISSING: &[Row] = &[
    ("", stranger),
    ("", |path| stranger(path).header("Authorization", "Basic YWxpY2U6c2VjcmV0")),
    ("", |path| stranger(path).header("Cookie", "session=; other=1")),
    // What is no JWT by its shape is none of ours.
    ("", |path| with_token(path, "opaque")),
    ("", |path| with_token(path, "not.a.token")),
    ("", |path| stranger(path).header("Cookie", "session=eyJfZnJlc2giOmZhbHNlfQ.ZxYzAQ.sfl2kJ8d")),
    ("", |path| stranger(path).target(&format!("{path}?token=SFMyNTY.g2gDYQFuBgD4.sfl2kJ8d"))),
    ("", |path| stranger(path).subprotocols("bearer, opaque, chat.v1")),
];

const CREDENTIAL_AMBIGUOUS: &[Row] = &[
    ("", |path| good(path).header("Authorization", format!("Bearer {FORGED}"))),
    ("", |path| good(path).header("Cookie", format!("session={FORGED}"))),
    ("", |path| good(path).subprotocols(&format!("bearer, {FORGED}, chat.v1"))),
    ("", |path| good(path).target(&format!("{path}?token={FORGED}"))),
];

const CREDENTIAL_INVALID: &[Row] = &[
    ("", |path| with_token(path, FORGED)),
    ("/any", |path| with_token(path, FORGED)),
    // In spellings that somebody else may read.
    ("/any", |path| stranger(path).header("Authorization", format!("JWT {FORGED}"))),
    ("/any", |path| stranger(path).header("Authorization", FORGED)),
    ("/any", |path| stranger(path).header("Cookie", format!("a=1, session={FORGED}"))),
    ("/any", |path| stranger(path).header("Cookie", format!("session=\"{}\"", FORGED.replace('.', "\\056")))),
    ("/any", |path| stranger(path).header("Cookie", format!("session={}", FORGED.replace('.', "%2e")))),
    ("/any", |path| stranger(path).target(&format!("{path}?a=1;token={FORGED}"))),
    ("/any", |path| stranger(path).target(&format!("{path}?token=+{}==", FORGED.replace('.', "%252E")))),
    ("/any", |path| stranger(path).subprotocols(&format!("bearer, chat.v1, {FORGED}"))),
    ("", |path| with_token(path, &forged(&Token::new(ES256).sign()))),
    // The token chooses how it is checked: RFC 8725 §3.1.
    ("", |path| with_token(path, &Token::new(ES256).unsigned("none"))),
    ("", |path| with_token(path, &Token::new(ES256).unsigned("nOnE"))),
    ("", |path| with_token(path, &Token::new(ES256).unsigned("ES256"))),
    ("", |path| with_token(path, &Token::new(RS256).sign_as_hmac(&public_jwk(RS256).to_string()))),
    ("", |path| with_token(path, &Token::new(RS256).sign_as_hmac(public_jwk(RS256)["n"].as_str().expect("a modulus")))),
    ("", |path| with_token(path, &Token::new(ES256).sign_as_hmac(tokens::SECRET))),
    // The token chooses its key: RFC 8725 §3.10.
    ("", |path| with_token(path, &Token::new(ES256).header("kid", "../../dev/null").sign())),
    ("", |path| with_token(path, &Token::new(ES256).header("kid", "p384").sign())),
    ("", |path| with_token(path, &Token::new(ES256).header("jwk", public_jwk(ES256)).sign())),
    ("", |path| with_token(path, &Token::new(ES256).header("jku", "https://evil.example/jwks.json").sign())),
    ("", |path| with_token(path, &Token::new(ES256).header("x5u", "https://evil.example/").sign())),
    ("", |path| with_token(path, &Token::new(ES256).header("crit", json!(["b64"])).header("b64", false).sign())),
    // The token is for another: RFC 8725 §3.8 to §3.12.
    ("", |path| with_token(path, &Token::new(ES256).header("typ", "logout+jwt").sign())),
    ("", |path| with_token(path, &Token::new(HS256).claim("iss", "https://idp.example.com/").sign())),
    ("", |path| with_token(path, &Token::new(HS256).claim("iss", "https://evil.example/").sign())),
    ("", |path| with_token(path, &Token::new(HS256).claim("aud", "billing").sign())),
    ("", |path| with_token(path, &Token::new(HS256).claim("aud", Value::Null).sign())),
    ("", |path| with_token(path, &Token::new(HS256).claim("exp", Value::Null).sign())),
    ("", |path| with_token(path, &Token::new(HS256).claim("exp", "9999999999").sign())),
    ("", |path| with_token(path, &Token::new(ES256).claim("iat", Value::Null).sign())),
    // Member names are unique: RFC 7515 §4, RFC 7519 §4.
    ("", |path| with_token(path, &Token::new(HS256).sign_with_members(r#""alg":"none","#, ""))),
    ("", |path| with_token(path, &Token::new(HS256).sign_with_members("", r#""sub":"root","#))),
];

const CREDENTIAL_EXPIRED: &[Row] = &[
    ("", |path| with_token(path, &Token::new(HS256).claim("exp", in_seconds(-61)).sign())),
    ("", |path| with_token(path, &Token::new(HS256).claim("nbf", in_seconds(90)).sign())),
    ("", |path| with_token(path, &Token::new(ES256).claim("iat", in_seconds(-3_661)).sign())),
];

const CLAIM_REFUSED: &[Row] = &[
    ("", |path| with_token(path, &Token::new(ES256).claim("role", "guest").sign())),
    ("", |path| with_token(path, &Token::new(ES256).claim("role", Value::Null).sign())),
];

/// Not the filter's to refuse: Envoy does, in the configuration that is shipped.
const REFUSED_BY_ENVOY: &[(u16, Request)] = &[
    (403, |path| good(path).with("Upgrade", "websocket, h2c")),
    (403, |path| good(path).with("Upgrade", "TLS/1.0")),
    (400, |path| good(path).without("Host")),
    (400, |path| good(&format!("{path}#fragment"))),
    (400, |path| good(&format!("{path}/a%2fb"))),
    (426, |path| good(path).version("HTTP/1.0")),
    (400, |path| good(path).header("Transfer-Encoding", "chunked").header("Content-Length", "0")),
    (501, |path| good(path).header("Transfer-Encoding", "gzip, chunked")),
    (400, |path| good(path).header("Sec_WebSocket_Key", "dGhlIHNhbXBsZSBub25jZQ==")),
];

/// A request behind the one that is refused: nobody may ever read it.
const PIPELINED: &str = "GET /smuggled HTTP/1.1\r\nHost: chat.example.com\r\n\r\n";
