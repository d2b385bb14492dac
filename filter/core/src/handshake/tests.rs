//! Requests and answers as tables: one good handshake, and what changes make of it.

mod requests;

use std::rc::Rc;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::{Applicant, Decision, Opening, Protocol, Request, check};
use crate::config;
use crate::http::headers::Headers;
use crate::limits::{HeldBytes, Share};
use crate::policy::{Policies, Policy};
use crate::session::tests::BIRTH;
use crate::time::Timestamp;
use crate::verdict::Edit;
use crate::violation::Violation::{self, *};

mod reload;

const SECRET: &str = "an HMAC secret of more than 32 bytes";
const NOW: u64 = 1_800_000_000;
/// A token by its shape, `{"alg":"HS256"}`, and by nothing else.
const FORGED: &str = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";
/// Tokens of other makes: Flask's session, Phoenix's token.
const OPAQUE: [&str; 3] = ["eyJfZnJlc2giOmZhbHNlfQ.ZxYzAQ.sfl2kJ8d", "SFMyNTY.g2gDYQFuBgD4.sfl2kJ8d", "x.y.z"];

type Fields = Vec<(String, String)>;

fn policies(change: serde_json::Value) -> Policies {
    let mut config = json!({
        "require_tls": false,
        "hosts": ["chat.example.com"],
        "origin": {"allow": ["https://app.example.com"]},
        "subprotocols": {"allow": ["chat.v1", "chat.v2"]},
        "auth": {
            "providers": [{
                "name": "own", "issuer": "me", "audiences": ["chat"], "algorithms": ["HS256"],
                "jwks": {"secret": {"inline": SECRET}},
            }],
            "claim_headers": {"sub": "x-user", "roles": "x-roles"},
        },
    });
    for (key, value) in change.as_object().unwrap() {
        match (&mut config[key], value) {
            (serde_json::Value::Object(old), serde_json::Value::Object(new)) => old.extend(new.clone()),
            (old, new) => *old = new.clone(),
        }
    }
    config::parse(config.to_string().as_bytes(), &|_| None).unwrap().policies
}

fn token(claims: &serde_json::Value) -> String {
    let mut all = json!({"iss": "me", "aud": "chat", "sub": "alice", "exp": NOW + 60});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let header = jsonwebtoken::Header::new(Algorithm::HS256);
    jsonwebtoken::encode(&header, &all, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn good() -> Fields {
    [
        (":method", "GET"),
        (":path", "/chat?room=1"),
        (":authority", "chat.example.com"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("origin", "https://app.example.com"),
        ("authorization", &format!("Bearer {}", token(&json!({})))),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn without(name: &str) -> Fields {
    good().into_iter().filter(|(n, _)| n != name).collect()
}

fn with(name: &str, value: &str) -> Fields {
    let mut fields = without(name);
    fields.push((name.into(), value.into()));
    fields
}

fn and(mut fields: Fields, name: &str, value: &str) -> Fields {
    fields.push((name.into(), value.into()));
    fields
}

fn request(fields: Fields) -> Request {
    let fields = fields.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect();
    Request { headers: Headers::new(fields), protocol: Protocol::Http11, tls: false, end: false, nonce: [7; 16] }
}

fn open(policies: &Policies, fields: Fields) -> Opening {
    decide(policies, &request(fields), &Rc::default())
}

/// Decides now, and whoever asks is admitted.
fn decide(policies: &Policies, request: &Request, held: &Rc<HeldBytes>) -> Opening {
    check(policies, request, held, Timestamp::from_secs(NOW), &mut |_, _| Ok(()))
}

fn refusal(opening: &Opening) -> Option<Violation> {
    match opening.decision {
        Decision::Refuse(violation) => Some(violation),
        Decision::Admit | Decision::Pass | Decision::Upgrade(_) => None,
    }
}

#[track_caller]
fn check_refusal(fields: Fields, expected: Option<Violation>) {
    assert_eq!(refusal(&open(&policies(json!({})), fields)), expected);
}

/// The lines of `name` in the request once it is edited.
fn edited(opening: &Opening, fields: &Fields, name: &str) -> Vec<String> {
    let mut lines: Vec<String> = fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect();
    for edit in opening.edits.iter().filter(|edit| edit.name == name) {
        lines = edit.values.iter().map(|value| String::from_utf8(value.clone()).unwrap()).collect();
    }
    lines
}

#[test]
fn a_good_upgrade_goes_on_without_its_credential() {
    let opening = open(&policies(json!({})), good());
    assert!(matches!(opening.decision, Decision::Upgrade(_)));
    assert_eq!(opening.edits, [Edit::remove("authorization"), Edit::set("x-user", "alice")]);
    assert_eq!(opening.credential.unwrap().subject(), Some("alice"));
}

#[test]
fn other_requests_pass_or_are_refused_as_the_policy_says() {
    let plain: Fields =
        vec![(":method".into(), "POST".into()), (":path".into(), "/".into()), ("x-user".into(), "eve".into())];
    let opening = open(&policies(json!({})), plain.clone());
    assert!(matches!(opening.decision, Decision::Pass));
    assert_eq!(opening.edits, [Edit::remove("x-user")]);
    let strict = policies(json!({"non_websocket": "refuse"}));
    assert_eq!(refusal(&open(&strict, plain)), Some(NotWebsocket));
}

#[test]
fn half_an_upgrade_is_no_plain_request() {
    for name in ["connection", "upgrade", "sec-websocket-key"] {
        check_refusal(without(name), Some(BadUpgrade));
    }
    let bare = |name: &str, value: &str| {
        [(":method", "GET"), (":path", "/"), (":authority", "chat.example.com"), (name, value)]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .to_vec()
    };
    check_refusal(bare("upgrade", "h2c"), Some(BadUpgrade));
    check_refusal(bare("sec-websocket-protocol", "chat.v1"), Some(BadUpgrade));
    check_refusal(bare("sec_websocket_key", "x"), Some(BadUpgrade));
    check_refusal(bare("sec-websocket-key1", "x"), Some(BadUpgrade));
    check_refusal(with(":method", "CONNECT"), Some(BadUpgrade));
}

#[test]
fn malformed_upgrades_are_refused() {
    for (name, values) in [
        (":method", &["POST", "get", "HEAD", ""][..]),
        (":path", &["chat", "", "/a#b", "/a b", "http://x/", "/ä"]),
        ("connection", &["keep-alive", "Upgrade, x-secret", "Upgrade, HTTP2-Settings", "", "Upgrade;x"]),
        ("upgrade", &["h2c", "websocket, h2c", "websocket,websocket", "websocket/13", ""]),
        (
            "sec-websocket-key",
            &[
                "",
                "AAAA",
                "dGhlIHNhbXBsZSBub25jZQ",
                "dGhlIHNhbXBsZSBub25jZR==",
                "!GhlIHNhbXBsZSBub25jZQ==",
                "dGhlIHNhbXBsZSBub25jZSE=",
            ],
        ),
        ("sec-websocket-version", &["13, 8", "13,13"]),
        ("origin", &["https://app.example.com, https://evil.io", "https://app.example.com https://evil.io"]),
        (":authority", &["", "a,b", "chat.example.com@evil.io"]),
    ] {
        for value in values {
            check_refusal(with(name, value), Some(BadUpgrade));
        }
    }
    for (name, value) in [
        ("content-length", "5"),
        ("content-length", "00"),
        ("transfer-encoding", "chunked"),
        ("sec-websocket-protocol", "a b"),
        ("sec-websocket-protocol", ""),
        ("sec-websocket-protocol", "chat.v1, chat.v1"),
        ("sec-websocket-extensions", ";;;"),
        ("sec-websocket-key1", "x"),
        ("sec-websocket-draft", "76"),
        ("sec_websocket_version", "8"),
        ("host", "other.example.com"),
    ] {
        check_refusal(and(good(), name, value), Some(BadUpgrade));
    }
    check_refusal(and(good(), "content-length", "0"), None);
    check_refusal(with("connection", "keep-alive, upgrade"), None);
    check_refusal(with("upgrade", "WebSocket"), None);
    check_refusal(and(good(), "host", "chat.example.com"), None);
}

#[test]
fn what_stands_twice_is_refused() {
    for name in [":authority", ":method", ":path", "origin", "sec-websocket-key", "sec-websocket-version", "upgrade"] {
        let (_, value) = good().into_iter().find(|(n, _)| n == name).unwrap();
        check_refusal(and(good(), name, &value), Some(BadUpgrade));
    }
}

#[test]
fn other_versions_are_told_which_one() {
    for version in ["8", "0", "14", "013", "13;x", "", "thirteen"] {
        check_refusal(with("sec-websocket-version", version), Some(BadVersion));
    }
    check_refusal(without("sec-websocket-version"), Some(BadVersion));
}

#[test]
fn http_1_0_has_no_upgrades_and_http_2_has_no_keys() {
    let mut old = request(good());
    old.protocol = Protocol::Http10;
    let policies = policies(json!({}));
    assert_eq!(refusal(&decide(&policies, &old, &Rc::default())), Some(BadUpgrade));

    let mut extended_connect = request(without("sec-websocket-key"));
    extended_connect.protocol = Protocol::Multiplexed;
    let opening = decide(&policies, &extended_connect, &Rc::default());
    assert!(opening.edits.contains(&Edit::set("sec-websocket-key", "BwcHBwcHBwcHBwcHBwcHBw==")));

    extended_connect.end = true;
    assert_eq!(
        refusal(&decide(&policies, &extended_connect, &Rc::default())),
        Some(BadUpgrade),
        "it has nothing to say"
    );
}

#[test]
fn tls_is_what_the_proxy_saw() {
    let strict = policies(json!({"require_tls": true}));
    assert_eq!(refusal(&open(&strict, good())), Some(TlsRequired));
    assert_eq!(refusal(&open(&strict, and(good(), "x-forwarded-proto", "https"))), Some(TlsRequired));
    let mut secure = request(good());
    secure.tls = true;
    assert_eq!(refusal(&decide(&strict, &secure, &Rc::default())), None);

    let trusting = policies(json!({"require_tls": true, "trust_forwarded_proto": true}));
    for (proto, expected) in
        [("https", None), ("WSS", None), ("http", Some(TlsRequired)), ("https,http", Some(TlsRequired))]
    {
        assert_eq!(refusal(&open(&trusting, and(good(), "x-forwarded-proto", proto))), expected);
    }
}

#[test]
fn hosts_and_origins_are_on_their_lists() {
    check_refusal(with(":authority", "CHAT.example.com:443"), None);
    check_refusal(with(":authority", "other.example.com"), Some(HostRefused));
    check_refusal(with("origin", "HTTPS://APP.EXAMPLE.COM:443"), None);
    for origin in
        ["https://evil.io", "http://app.example.com", "null", "", "app.example.com", "https://app.example.com/"]
    {
        check_refusal(with("origin", origin), Some(OriginRefused));
    }
    check_refusal(without("origin"), Some(OriginRefused));
    let same = policies(json!({"origin": {"allow": [], "same_host": "allow"}}));
    for (origin, expected) in [
        ("https://chat.example.com", None),
        ("http://chat.example.com", None),
        ("https://chat.example.com:8443", Some(OriginRefused)),
        ("https://app.example.com", Some(OriginRefused)),
        ("null", Some(OriginRefused)),
    ] {
        assert_eq!(refusal(&open(&same, with("origin", origin))), expected, "{origin}");
    }
    let mut secure = request(with("origin", "http://chat.example.com"));
    secure.tls = true;
    assert_eq!(refusal(&decide(&same, &secure, &Rc::default())), Some(OriginRefused));
    let lax = policies(json!({"origin": {"missing": "allow", "opaque": "allow"}}));
    assert_eq!(refusal(&open(&lax, without("origin"))), None);
    assert_eq!(refusal(&open(&lax, with("origin", "null"))), None);
}

#[test]
fn each_source_gives_a_credential_that_then_is_gone() {
    let token = token(&json!({}));
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &token);
    let bare = without("authorization");
    let protocols = "sec-websocket-protocol";
    let rows: [(&str, String, &[&str]); 10] = [
        ("authorization", format!("bearer  {token} "), &[]),
        ("cookie", format!("a=1; session={token}; b=2"), &["a=1; b=2"]),
        ("cookie", format!("session=\"{token}\""), &[]),
        (":path", format!("/chat?a=1&token={token}&b"), &["/chat?a=1&b"]),
        (":path", format!("/chat?%74oken={}", token.replace('.', "%2E")), &["/chat"]),
        (protocols, format!("bearer, {token}, chat.v1"), &["chat.v1"]),
        (protocols, format!("chat.v2,chat.v1,bearer,{token}"), &["chat.v2, chat.v1"]),
        (protocols, format!("chat.v1, bearer.{encoded}"), &["chat.v1"]),
        (protocols, format!("bearer.{token}, chat.v9, chat.v1"), &["chat.v1"]),
        (protocols, format!("bearer, chat.v1, {token}"), &["chat.v1"]),
    ];
    for (name, value, left) in rows {
        let fields = and(bare.iter().filter(|(n, _)| n != name).cloned().collect(), name, &value);
        let opening = open(&policies(json!({})), fields.clone());
        assert_eq!(refusal(&opening), None, "{name}: {value}");
        assert_eq!(edited(&opening, &fields, name), left, "{name}: {value}");
        assert_eq!(edited(&opening, &fields, "x-user"), ["alice"]);
    }
}

#[test]
fn missing_ambiguous_and_bad_credentials_are_refused() {
    let (token, other) = (token(&json!({})), token(&json!({"sub": "bob"})));
    check_refusal(without("authorization"), Some(CredentialMissing));
    check_refusal(with("authorization", "Basic dXNlcjpwYXNz"), Some(CredentialMissing));
    check_refusal(with("authorization", "Bearer"), Some(CredentialMissing));
    check_refusal(and(without("authorization"), "cookie", "session="), Some(CredentialMissing));
    check_refusal(with("authorization", &format!("Bearer {FORGED}")), Some(CredentialInvalid));
    check_refusal(with("authorization", &format!("BEARER\t{FORGED}")), Some(CredentialInvalid));
    check_refusal(with("authorization", &format!("Bearer {token}x")), Some(CredentialInvalid));
    check_refusal(and(without("authorization"), "sec-websocket-protocol", "chat.v1, bearer"), Some(CredentialMissing));

    check_refusal(and(good(), "cookie", &format!("session={token}")), None);
    check_refusal(and(good(), "cookie", &format!("session={other}")), Some(CredentialAmbiguous));
    check_refusal(and(good(), "authorization", &format!("Bearer {other}")), Some(CredentialAmbiguous));
    check_refusal(with("authorization", &format!("Bearer {token},Bearer {other}")), Some(CredentialAmbiguous));
    check_refusal(and(good(), "cookie", &format!("session={token}; session={other}")), Some(CredentialAmbiguous));
    check_refusal(with(":path", &format!("/chat?token={other}")), Some(CredentialAmbiguous));
}

#[test]
fn a_credential_is_optional_only_where_written_and_checked_all_the_same() {
    let optional = policies(json!({"auth": {"required": false}}));
    assert_eq!(refusal(&open(&optional, without("authorization"))), None);
    assert_eq!(refusal(&open(&optional, with("authorization", &format!("Bearer {FORGED}")))), Some(CredentialInvalid));
}

#[test]
fn a_refused_request_keeps_no_credential_for_logs() {
    let token = token(&json!({"aud": "other"}));
    let fields = and(
        and(with(":path", &format!("/chat?token={token}")), "cookie", &format!("session={token}")),
        "sec-websocket-protocol",
        &format!("bearer, {token}, chat.v1"),
    );
    let fields: Fields = fields.into_iter().filter(|(name, _)| name != "authorization").collect();
    let opening = open(&policies(json!({})), fields.clone());
    assert_eq!(refusal(&opening), Some(CredentialInvalid));
    for (name, _) in &fields {
        assert!(edited(&opening, &fields, name).iter().all(|line| !line.contains(&token)), "{name}");
    }
}

#[test]
fn a_forwarded_credential_stays() {
    let forwarding = policies(json!({"auth": {"forward": true}}));
    let protocols = format!("bearer, {}, chat.v1", token(&json!({})));
    let fields = and(good(), "sec-websocket-protocol", &protocols);
    let opening = open(&forwarding, fields.clone());
    assert_eq!(refusal(&opening), None);
    assert_eq!(edited(&opening, &fields, "authorization").len(), 1);
    assert_eq!(edited(&opening, &fields, "sec-websocket-protocol"), [protocols]);
}

#[test]
fn claims_are_told_and_cannot_be_spoofed() {
    let bearer = |claims: serde_json::Value| format!("Bearer {}", token(&claims));
    let fields = and(with("authorization", &bearer(json!({"roles": ["a", "b"]}))), "x-roles", "admin");
    let opening = open(&policies(json!({})), fields.clone());
    assert_eq!(edited(&opening, &fields, "x-roles"), ["a,b"]);
    for name in ["x_user", "x-user", "x-roles"] {
        let fields = and(good(), name, "eve");
        let opening = open(&policies(json!({})), fields.clone());
        assert!(!edited(&opening, &fields, name).contains(&"eve".to_owned()));
    }
    for roles in [
        json!(["a,b"]),
        json!(" admin"),
        json!("admin\u{a0}"),
        json!(["a", " b"]),
        json!({}),
        json!("a\r\nx: y"),
        json!([["a"]]),
        json!([null]),
    ] {
        check_refusal(with("authorization", &bearer(json!({"roles": roles}))), Some(ClaimRefused));
    }
    // Null is absent, and the client's own header goes all the same.
    let fields = and(with("authorization", &bearer(json!({"roles": null, "sub": null}))), "x-roles", "admin");
    let opening = open(&policies(json!({})), and(fields.clone(), "x-user", "root"));
    assert_eq!(refusal(&opening), None);
    assert_eq!((edited(&opening, &fields, "x-roles"), edited(&opening, &fields, "x-user")), (vec![], vec![]));
}

#[test]
fn claims_are_told_in_the_form_that_is_asked_for() {
    let told = |format: &str, claim: serde_json::Value| {
        let headers = json!({"/app/my.claim": {"header": "x-claim", "format": format}});
        let token = token(&json!({"app": {"my.claim": claim}}));
        let fields = and(with("authorization", &format!("Bearer {token}")), "X_Claim", "spoofed");
        let opening = open(&policies(json!({"auth": {"claim_headers": headers}})), fields.clone());
        if refusal(&opening) == Some(ClaimRefused) {
            return None;
        }
        assert!(opening.edits.contains(&Edit::remove("x_claim")), "{:?}", opening.edits);
        edited(&opening, &fields, "x-claim").pop()
    };
    for (claim, text, json, base64) in [
        (json!("alice"), Some("alice"), r#""alice""#, "YWxpY2U="),
        (json!(""), Some(""), r#""""#, ""),
        (json!(42), Some("42"), "42", "NDI="),
        (json!(true), Some("true"), "true", "dHJ1ZQ=="),
        (json!(["a", "b"]), Some("a,b"), r#"["a","b"]"#, "WyJhIiwiYiJd"),
        (json!(["a,b"]), None, r#"["a,b"]"#, "WyJhLGIiXQ=="),
        (json!({"a": [1]}), None, r#"{"a":[1]}"#, "eyJhIjpbMV19"),
        (json!("a\r\nx: y"), None, r#""a\r\nx: y""#, "YQ0KeDogeQ=="),
        (json!("a\u{7f}\u{85}"), None, r#""a\u007f\u0085""#, "YX/ChQ=="),
        (json!("zoë 😀"), Some("zoë 😀"), r#""zo\u00eb \ud83d\ude00""#, "em/DqyDwn5iA"),
    ] {
        assert_eq!(told("text", claim.clone()).as_deref(), text, "{claim}");
        assert_eq!(told("json", claim.clone()).as_deref(), Some(json), "{claim}");
        assert_eq!(told("base64", claim.clone()).as_deref(), Some(base64), "{claim}");
    }
    for format in ["text", "json", "base64"] {
        assert_eq!(told(format, json!(null)), None);
    }
}

#[test]
fn whatever_stands_around_the_name_of_the_scheme_no_credential_is_left() {
    for other in ["", " ", "\t", "\u{b}", "\u{c}", ";", "="] {
        for value in
            [format!("Bearer{other}{FORGED}"), format!("{other}Bearer {FORGED}"), format!("Token{other} {FORGED}")]
        {
            let fields = with("authorization", &value);
            let opening = open(&policies(json!({})), fields.clone());
            assert!(refusal(&opening).is_some());
            assert_eq!(edited(&opening, &fields, "authorization"), [""; 0], "{value:?}");
        }
    }
}

#[test]
fn a_refused_request_keeps_no_credential_in_a_malformed_list() {
    let fields = and(without("authorization"), "sec-websocket-protocol", &format!("bearer, {FORGED}, not a token"));
    let opening = open(&policies(json!({})), fields.clone());
    assert_eq!(refusal(&opening), Some(BadUpgrade));
    assert_eq!(edited(&opening, &fields, "sec-websocket-protocol"), Vec::<String>::new());
}

#[test]
fn tokens_of_other_makes_are_left_alone() {
    let allowed = json!({"subprotocols": {"allow": []}});
    let optional = policies(json!({"auth": {"required": false}, "subprotocols": {"allow": []}}));
    for opaque in OPAQUE {
        for (name, value, left) in [
            ("authorization", format!("Bearer {opaque}"), None),
            ("cookie", format!("a=1;  session={opaque}; b"), None),
            ("cookie", format!("session=\"{opaque}\""), None),
            (":path", format!("/socket?token={opaque}&vsn=2.0.0"), None),
            ("sec-websocket-protocol", format!("chat.v1, bearer, {opaque}"), Some(format!("chat.v1, {opaque}"))),
            ("sec-websocket-protocol", format!("chat.v1, bearer.{opaque}"), None),
        ] {
            let left = left.unwrap_or_else(|| value.clone());
            let alone: Fields = without("authorization").into_iter().filter(|(n, _)| n != name).collect();
            let alone = and(alone, name, &value);
            // By itself it is no credential; where none is asked for, it goes on.
            let refused = open(&policies(json!({})), alone.clone());
            assert_eq!(refusal(&refused), Some(CredentialMissing));
            // What is refused goes nowhere, and is logged without it.
            assert!(!edited(&refused, &alone, name).concat().contains(opaque), "{name}: {value}");
            let opening = open(&optional, alone.clone());
            assert_eq!(refusal(&opening), None, "{name}: {value}");
            assert_eq!(edited(&opening, &alone, name), core::slice::from_ref(&left));
            // Beside a good one it makes nothing ambiguous.
            let good = token(&json!({}));
            let beside = if name == "authorization" {
                and(alone, "cookie", &format!("session={good}"))
            } else {
                and(alone, "authorization", &format!("Bearer {good}"))
            };
            let opening = open(&policies(allowed.clone()), beside.clone());
            assert_eq!(
                (refusal(&opening), opening.credential.as_ref().and_then(|c| c.subject())),
                (None, Some("alice")),
                "{value}"
            );
            assert_eq!(edited(&opening, &beside, name), [left]);
        }
    }
}

#[test]
fn a_second_token_is_smuggled_past_in_no_spelling() {
    let second = token(&json!({"sub": "bob"}));
    let percent = |text: &str| text.replace('.', "%2e");
    let padded = format!("{}==", second);
    let (head, rest) = second.split_once('.').unwrap();
    let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    let encoded = encode(&second);
    for (name, value) in [
        ("authorization", format!("JWT {second}")),
        ("authorization", second.clone()),
        ("authorization", format!("Bearer \"{second}\"")),
        ("authorization", format!("Bearer a, {second}")),
        ("authorization", format!("Bearer {head},.{rest}")),
        ("authorization", format!("Basic x, Bearer {padded}")),
        ("authorization", format!("Bearer {}", percent(&second))),
        ("x-token", second.clone()),
        ("x-token", format!("Bearer {second}")),
        ("x_token", second.clone()),
        ("x-token", format!(" {padded} ")),
        ("cookie", format!("session={padded}")),
        ("cookie", format!("session=\"{}\"", second.replace('.', "\\056"))),
        ("cookie", format!("session={}", percent(&second))),
        ("cookie", format!("session={}", percent(&percent(&second).replace('%', "%25")))),
        ("cookie", format!("session=opaque; session={second}")),
        ("cookie", format!("a=1, session={second}")),
        ("cookie", format!("a=1 session={second}")),
        ("cookie", format!("session= {second}\t")),
        (":path", format!("/?token={}", percent(&percent(&second)))),
        (":path", format!("/?token={}", second.replace('.', "%252e"))),
        (":path", format!("/?token=+{second}+")),
        (":path", format!("/?token=%20{padded}%00")),
        (":path", format!("/?token=opaque&t%6fken={second}")),
        (":path", format!("/?a=1;token={second}")),
        ("sec-websocket-protocol", format!("bearer, chat.v1, {second}")),
        ("sec-websocket-protocol", format!("chat.v1, bearer.{encoded}")),
        ("sec-websocket-protocol", format!("chat.v1, bearer.{}", encode(&padded))),
        ("sec-websocket-protocol", format!("chat.v1, bearer.{encoded}A")),
        ("sec-websocket-protocol", format!("chat.v1, {encoded}")),
        ("sec-websocket-protocol", format!("chat.v1, bearer, {}", percent(&second))),
        ("authorization", format!("Bearer {encoded}")),
        ("authorization", format!("Basic {}", encode(&format!("x:{second}")))),
        ("x-token", encode(&encoded)),
        ("cookie", format!("session={encoded}")),
        (":path", format!("/?token={encoded}")),
        (":path", format!("/?token={}", second.replace('.', "%u002e"))),
        (":path", format!("/?token={}", second.replace('.', "%26%2346;"))),
        (":path", format!("/?token={}", second.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())),
        ("sec-websocket-protocol", format!("chat.v1, bearer.{}", encode(&encoded))),
        ("sec-websocket-protocol", format!("chat.v1, bearer, {}", encode(&encoded))),
    ] {
        let policy = json!({"auth": {"sources": [
            {"header": "authorization"}, {"header": "x-token"}, {"cookie": "session"}, {"subprotocol": "bearer"}, {"query": "token"},
            {"cookie": "own"},
        ]}});
        let mut optional = policy.clone();
        optional["auth"]["required"] = false.into();
        let alone: Fields = without("authorization").into_iter().filter(|(n, _)| n != name).collect();
        let alone = and(alone, name, &value);
        let own = format!("own={}", token(&json!({})));
        for (policy, fields, expected) in [
            (&policy, and(alone.clone(), "cookie", &own), CredentialAmbiguous),
            (&policy, alone.clone(), CredentialInvalid),
            // Nobody passes as a nobody with a token that somebody else reads.
            (&optional, alone.clone(), CredentialInvalid),
        ] {
            let opening = open(&policies(policy.clone()), fields.clone());
            // Some of them are good spellings, and then it is bob who asks.
            let subject = opening.credential.as_ref().and_then(|credential| credential.subject());
            let is_bob = expected == CredentialInvalid && refusal(&opening).is_none() && subject == Some("bob");
            assert!(is_bob || refusal(&opening) == Some(expected), "{name}: {value}: {:?}", refusal(&opening));
            let left = edited(&opening, &fields, name).concat();
            for secret in [rest, &encoded, &percent(rest)] {
                assert!(!left.contains(secret), "{name}: {value}: {left}");
            }
        }
    }
}

#[test]
fn another_scheme_is_named_by_its_prefix() {
    let source = |sources: serde_json::Value| policies(json!({"auth": {"sources": sources}}));
    let jwt = source(json!([{"header": "authorization", "prefix": "JWT"}]));
    let both = source(json!([{"header": "authorization"}, {"header": "authorization", "prefix": "JWT"}]));
    let other = source(json!([{"header": "x-token", "prefix": "Token"}]));
    let good = token(&json!({}));
    for (policies, name, value, expected) in [
        (&jwt, "authorization", format!("JWT {good}"), None),
        (&jwt, "authorization", format!("jwt {good}"), None),
        (&jwt, "authorization", format!("Bearer {good}"), Some(CredentialInvalid)),
        (&jwt, "authorization", good.clone(), Some(CredentialInvalid)),
        (&jwt, "authorization", "JWT opaque".to_owned(), Some(CredentialMissing)),
        (&both, "authorization", format!("JWT {good}"), None),
        (&both, "authorization", format!("Bearer {good}"), None),
        (&both, "authorization", format!("Bearer {good}, JWT {good}"), None),
        (&both, "authorization", format!("Token {good}"), Some(CredentialInvalid)),
        (&other, "x-token", format!("Token {good}"), None),
        (&other, "x-token", good.clone(), None),
        (&other, "x-token", format!("Bearer {good}"), Some(CredentialInvalid)),
    ] {
        let fields = and(without("authorization"), name, &value);
        let opening = open(policies, fields.clone());
        assert_eq!(refusal(&opening), expected, "{name}: {value}");
        assert_eq!(edited(&opening, &fields, name), [""; 0], "{name}: {value}");
    }
}

/// What the upstream is offered, and what its answer is refused for, under `compression`; "-": it answers nothing.
fn negotiate(compression: &str, offer: &str, chosen: &str) -> (Vec<String>, Option<Violation>) {
    let utf8 = compression != "pass";
    let tunnels = if utf8 { "refuse" } else { "allow" };
    let messages = json!({"from_client": {"utf8": utf8, "tunnels": tunnels}, "from_server": {"tunnels": tunnels}});
    let policies = policies(json!({"compression": compression, "messages": messages}));
    let fields = and(good(), "sec-websocket-extensions", offer);
    let opening = open(&policies, fields.clone());
    let offered = edited(&opening, &fields, "sec-websocket-extensions");
    let Decision::Upgrade(pending) = opening.decision else { panic!("refused") };
    (offered, pending.check(&answer(&[("sec-websocket-extensions", chosen)]), BIRTH).err())
}

#[test]
fn compression_is_negotiated_as_the_policy_says() {
    let (offer, other) = ("permessage-deflate; client_max_window_bits", "x-unknown, permessage-deflate");
    for compression in ["inspect", "pass"] {
        assert_eq!(negotiate(compression, offer, "-"), (vec![offer.to_owned()], None));
        assert_eq!(negotiate(compression, other, "-").0, ["permessage-deflate"]);
        let answers = [
            ("permessage-deflate; client_max_window_bits=12", None),
            ("permessage-deflate; server_max_window_bits=16", Some(BadUpstreamHandshake)),
            ("x-unknown", Some(BadUpstreamHandshake)),
        ];
        for (answer, expected) in answers {
            assert_eq!(negotiate(compression, offer, answer).1, expected, "{answer}");
        }
        assert_eq!(negotiate(compression, "x-unknown", "x-unknown").1, Some(BadUpstreamHandshake));
    }
    assert_eq!(negotiate("refuse", offer, "-"), (vec![], None));
    assert_eq!(negotiate("refuse", offer, "permessage-deflate").1, Some(BadUpstreamHandshake));
}

#[test]
fn new_connections_go_uncompressed_once_half_of_what_may_be_held_is() {
    let policies = policies(json!({"compression": "inspect", "limits": {"held_bytes": 100}}));
    let held = Rc::new(HeldBytes::default());
    let mut share = Share::new(Rc::clone(&held));
    let fields = and(good(), "sec-websocket-extensions", "permessage-deflate");
    for (len, expected) in [(50, &["permessage-deflate"][..]), (51, &[])] {
        share.set(len);
        let opening = decide(&policies, &request(fields.clone()), &held);
        assert_eq!(edited(&opening, &fields, "sec-websocket-extensions"), expected);
    }
}

#[test]
fn routes_are_not_dodged_by_another_spelling() {
    let routed = policies(json!({
        "routes": [{"match": {"path": "/admin"}, "policy": {"origin": {"allow": ["https://admin.example.com"]}}}],
    }));
    for path in ["/admin", "/admin?x"] {
        assert_eq!(refusal(&open(&routed, with(":path", path))), Some(OriginRefused), "{path}");
    }
    for path in ["//admin", "/x/../admin", "/%61dmin", "/./admin", "/admin/", "/admin;x"] {
        assert_eq!(refusal(&open(&routed, with(":path", path))), Some(BadUpgrade), "{path}");
    }
    assert_eq!(refusal(&open(&routed, with(":path", "/administrator"))), None);
}

#[test]
fn monitoring_lets_everything_through_as_it_came() {
    let watching = policies(json!({"mode": "monitor"}));
    for (fields, violation) in [
        (with("origin", "https://evil.io"), OriginRefused),
        (with("sec-websocket-key", "short"), BadUpgrade),
        (with("authorization", &format!("Bearer {FORGED}")), CredentialInvalid),
    ] {
        let opening = open(&watching, fields.clone());
        assert!(matches!(opening.decision, Decision::Upgrade(_)));
        assert_eq!(opening.would_refuse, Some(violation));
        assert_eq!(edited(&opening, &fields, "authorization").len(), 1);
    }
    assert_eq!(open(&watching, good()).would_refuse, None);
}

/// Decides with `refused` turned away for `violation`, and tells who asked to be admitted.
fn apply(policies: &Policies, fields: Fields, refused: &str, violation: Violation) -> (Opening, Vec<String>) {
    let mut applicants = Vec::new();
    let mut admit = |policy: &Policy, applicant: Applicant<'_>| {
        assert_eq!(policy.mode, policies.base().mode);
        let name = match applicant {
            Applicant::Address => "address".to_owned(),
            Applicant::Subject(credential) => credential.subject().unwrap().to_owned(),
            Applicant::Visitor => "visitor".to_owned(),
        };
        let admitted = if name == refused { Err(violation) } else { Ok(()) };
        applicants.push(name);
        admitted
    };
    let opening = check(policies, &request(fields), &Rc::default(), Timestamp::from_secs(NOW), &mut admit);
    (opening, applicants)
}

#[test]
fn each_applicant_is_asked_about_once() {
    let bearer = |claims: serde_json::Value| with("authorization", &format!("Bearer {}", token(&claims)));
    let plain = vec![(":method".to_owned(), "GET".to_owned()), (":path".to_owned(), "/".to_owned())];
    let optional = json!({"auth": {"required": false}});
    for (change, fields, applicants) in [
        (json!({}), good(), &["address", "alice"][..]),
        (json!({}), bearer(json!({"sub": "bob"})), &["address", "bob"]),
        (json!({"mode": "monitor"}), good(), &["address", "alice"]),
        // No upgrade, and what looks like one.
        (json!({}), plain, &[]),
        (json!({}), without("upgrade"), &["address"]),
        (json!({}), with("sec-websocket-key", "short"), &["address"]),
        (json!({}), with(":authority", "a,b"), &["address"]),
        (json!({}), without("sec-websocket-version"), &["address"]),
        // Not who he says, or nobody in particular.
        (json!({}), with("origin", "https://evil.io"), &["address"]),
        (json!({}), with("authorization", &format!("Bearer {FORGED}")), &["address"]),
        (json!({}), bearer(json!({"exp": NOW - 3_600})), &["address"]),
        (json!({}), without("authorization"), &["address"]),
        (optional.clone(), without("authorization"), &["address"]),
        (optional.clone(), bearer(json!({"sub": null})), &["address"]),
        (optional, good(), &["address", "alice"]),
    ] {
        let said = format!("{change} {fields:?}");
        assert_eq!(apply(&policies(change), fields, "", Internal).1, applicants, "{said}");
    }
}

#[test]
fn an_applicant_who_is_not_admitted_is_refused_without_its_credential() {
    for (refused, violation) in
        [("address", HandshakesExceeded), ("address", ConnectionsExceeded), ("alice", ConnectionsExceeded)]
    {
        let fields = and(good(), "sec-websocket-protocol", "chat.v1");
        let (opening, _) = apply(&policies(json!({})), fields.clone(), refused, violation);
        assert_eq!(refusal(&opening), Some(violation));
        assert!(opening.credential.is_none());
        for name in ["authorization", "sec-websocket-protocol", "x-user"] {
            assert_eq!(edited(&opening, &fields, name), [""; 0], "{name}");
        }
        // Monitoring notes it, and nothing more.
        let watching = policies(json!({"mode": "monitor"}));
        let (opening, _) = apply(&watching, fields.clone(), refused, violation);
        assert!(matches!(opening.decision, Decision::Upgrade(_)));
        assert_eq!(opening.would_refuse, Some(violation));
        assert_eq!(edited(&opening, &fields, "authorization").len(), 1);
    }
}

#[test]
fn an_address_is_turned_away_before_anything_it_says_is_looked_at_but_the_shape() {
    for (fields, violation) in [
        (with("authorization", &format!("Bearer {FORGED}")), HandshakesExceeded),
        (without("authorization"), HandshakesExceeded),
        (with("origin", "https://evil.io"), HandshakesExceeded),
        (with(":authority", "other.example.com"), HandshakesExceeded),
        (with("sec-websocket-key", "short"), BadUpgrade),
        (with("sec-websocket-version", "8"), BadVersion),
    ] {
        let (opening, applicants) = apply(&policies(json!({})), fields, "address", HandshakesExceeded);
        assert_eq!((refusal(&opening), applicants), (Some(violation), vec!["address".to_owned()]));
    }
}

fn answer(change: &[(&str, &str)]) -> Headers {
    let mut fields = vec![
        (":status", "101"),
        ("upgrade", "WebSocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];
    fields.retain(|(name, _)| !change.iter().any(|(changed, _)| changed == name));
    fields.extend(change.iter().filter(|(_, value)| *value != "-"));
    Headers::new(fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}

#[track_caller]
fn check_answer(fields: Fields, change: &[(&str, &str)], expected: Result<(), Violation>) {
    let Decision::Upgrade(pending) = open(&policies(json!({})), fields).decision else { panic!("refused") };
    assert_eq!(pending.check(&answer(change), BIRTH).map(|_| ()), expected);
}

#[test]
fn only_a_true_101_opens_a_session() {
    check_answer(good(), &[], Ok(()));
    for status in ["200", "400", "426", "-"] {
        check_answer(good(), &[(":status", status)], Err(UpstreamRefused));
    }
    for change in [
        ("sec-websocket-accept", "-"),
        ("sec-websocket-accept", "AAAA"),
        ("upgrade", "-"),
        ("upgrade", "h2c"),
        ("connection", "-"),
        ("connection", "close"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-protocol", "chat.v1"),
    ] {
        check_answer(good(), &[change], Err(BadUpstreamHandshake));
    }
}

#[test]
fn over_http_2_a_success_opens_and_so_only_a_101_may_be_one() {
    let pending = || {
        let mut extended_connect = request(good());
        extended_connect.protocol = Protocol::Multiplexed;
        let Decision::Upgrade(pending) = decide(&policies(json!({})), &extended_connect, &Rc::default()).decision
        else {
            panic!("refused")
        };
        pending
    };
    assert_eq!(pending().check(&answer(&[]), BIRTH).unwrap().edits, [Edit::remove("sec-websocket-accept")]);
    for (status, expected) in [
        ("200", BadUpstreamHandshake),
        ("201", BadUpstreamHandshake),
        ("204", BadUpstreamHandshake),
        ("302", UpstreamRefused),
        ("403", UpstreamRefused),
        ("500", UpstreamRefused),
    ] {
        assert_eq!(pending().check(&answer(&[(":status", status)]), BIRTH).map(|_| ()), Err(expected), "{status}");
    }
}

#[test]
fn the_upstream_chooses_what_was_offered() {
    let offering = || and(good(), "sec-websocket-protocol", "chat.v1, chat.v9");
    let protocol = "sec-websocket-protocol";
    check_answer(offering(), &[(protocol, "chat.v1")], Ok(()));
    check_answer(offering(), &[], Ok(()));
    for chosen in ["chat.v9", "chat.v2", "chat.v1, chat.v1", "CHAT.V1", ""] {
        check_answer(offering(), &[(protocol, chosen)], Err(BadUpstreamHandshake));
    }
    check_answer(offering(), &[(protocol, "chat.v1"), (protocol, "chat.v1")], Err(BadUpstreamHandshake));
}

#[test]
fn a_subprotocol_without_an_envelope_is_never_negotiated() {
    let protocol = "sec-websocket-protocol";
    let with_map = |map: serde_json::Value| policies(json!({"messages": {"from_client": {"envelope": map}}}));
    let strict = with_map(json!({"chat.v1": "graphql-transport-ws"}));
    let lenient = with_map(json!({"chat.v1": "graphql-transport-ws", "": "json"}));
    for (offer, seen, by_strict, by_lenient) in [
        (None, None, Some(SubprotocolRefused), None),
        (Some("chat.v2"), None, Some(SubprotocolRefused), Some(SubprotocolRefused)),
        (Some("chat.v2, chat.v1"), Some("chat.v1"), None, None),
    ] {
        let fields = || offer.map_or_else(good, |offer| and(good(), protocol, offer));
        for (policies, expected) in [(&strict, by_strict), (&lenient, by_lenient)] {
            let opening = open(policies, fields());
            assert_eq!(refusal(&opening), expected, "{offer:?}");
            let (Some(seen), None) = (seen, expected) else { continue };
            assert_eq!(edited(&opening, &fields(), protocol), [seen]);
        }
    }
    let chosen = |policies: &Policies, chosen: &[(&str, &str)]| {
        let opening = open(policies, and(good(), protocol, "chat.v1, chat.v2"));
        let Decision::Upgrade(pending) = opening.decision else { panic!("refused") };
        pending.check(&answer(chosen), BIRTH).map(|opened| opened.would_refuse)
    };
    assert_eq!(chosen(&strict, &[(protocol, "chat.v1")]), Ok(None));
    assert_eq!(chosen(&strict, &[]), Err(BadUpstreamHandshake));
    assert_eq!(chosen(&strict, &[(protocol, "chat.v2")]), Err(BadUpstreamHandshake));
    assert_eq!(chosen(&lenient, &[]), Ok(None));
    let monitoring = json!({"mode": "monitor", "messages": {"from_server": {"envelope": {"chat.v1": "json"}}}});
    assert_eq!(chosen(&policies(monitoring), &[]), Ok(Some(BadUpstreamHandshake)));
}

#[test]
fn a_client_that_offers_only_its_token_hears_its_marker() {
    let opened = |offer: &str, chosen: &[(&str, &str)]| {
        let fields = and(without("authorization"), "sec-websocket-protocol", offer);
        let Decision::Upgrade(pending) = open(&policies(json!({})), fields).decision else { panic!("refused") };
        pending.check(&answer(chosen), BIRTH).unwrap().edits
    };
    let token = token(&json!({}));
    assert_eq!(opened(&format!("bearer, {token}"), &[]), [Edit::set("sec-websocket-protocol", "bearer")]);
    assert_eq!(opened(&format!("bearer.{token}"), &[]), []);
    assert_eq!(opened(&format!("bearer, {token}, chat.v1"), &[("sec-websocket-protocol", "chat.v1")]), []);
}

#[test]
fn a_policy_is_shared_not_copied() {
    let policies = policies(json!({}));
    let opening = open(&policies, good());
    assert!(Rc::ptr_eq(&opening.policy, policies.base()));
}

#[test]
fn an_address_leaves_no_route_by_its_spelling() {
    let policies = policies(json!({"hosts": ["127.0.0.1", "h.example.com"], "routes": [
        {"match": {"host": "127.0.0.1"}, "policy": {"origin": {"allow": ["https://admin.example.com"]}}}]}));
    let refusal_of = |host: &str| refusal(&open(&policies, with(":authority", host)));
    for host in
        ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "127.000.000.001", "[::ffff:127.0.0.1]", "127.1:8080"]
    {
        assert_eq!(refusal_of(host), Some(OriginRefused), "{host}");
    }
    for host in ["0177.0.0.1", "127.0.0.1.1"] {
        assert_eq!(refusal_of(host), Some(BadUpgrade), "{host}");
    }
}
