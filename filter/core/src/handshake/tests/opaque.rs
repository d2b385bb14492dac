//! Credentials that only a service can read, and session cookies: where they are looked for, what is asked, and that none goes on.

use serde_json::Value;

use super::*;
use crate::ask::{Answer, Ask, HttpRequest, HttpResponse, Question, Step, Wait};
use crate::handshake::{self, Hearing};
use crate::identity::Identity;
use crate::testing::{MemoryPort, Unlimited};
use crate::time::Timestamp;

/// A provider that is asked about tokens, beside the one with a key.
fn introspecting() -> Value {
    json!({
        "name": "asked", "introspection": {
            "cluster": "idp", "path": "/introspect", "client": {"id": "gw", "secret": {"inline": "gw-secret"}},
        },
    })
}

fn own() -> Value {
    json!({
        "name": "own", "issuer": "me", "audiences": ["chat"], "algorithms": ["HS256"], "jwks": {"secret": {"inline": SECRET}},
    })
}

/// A policy with these in `auth`, and claims for the upstream.
fn with_auth(auth: Value) -> Policies {
    let mut all = json!({"claim_headers": {"sub": "x-user"}});
    all.as_object_mut().unwrap().extend(auth.as_object().unwrap().clone());
    policies(json!({"auth": all, "subprotocols": {"allow": []}}))
}

fn asking() -> Policies {
    with_auth(json!({"providers": [own(), introspecting()]}))
}

fn looking_up() -> Policies {
    with_auth(json!({"providers": [], "cookie": {"name": "sid", "lookup": {"cluster": "app", "path": "/session"}}}))
}

fn signing() -> Policies {
    with_auth(json!({
        "providers": [], "cookie": {"name": "sid", "hmac": {"secret": {"inline": SECRET}, "algorithm": "HS256"}},
    }))
}

fn signed(value: &str) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    format!("{value}.{}", jsonwebtoken::crypto::sign(value.as_bytes(), &key, Algorithm::HS256).unwrap())
}

/// The request as it goes on.
fn edit(opening: &Opening, mut fields: Fields) -> Fields {
    for edit in &opening.edits {
        fields.retain(|(name, _)| *name != edit.name);
        let text = |value: &Vec<u8>| (edit.name.clone(), String::from_utf8(value.clone()).unwrap());
        fields.extend(edit.values.iter().map(text));
    }
    fields
}

/// Decides, where whoever is asked answers this. Gives what was asked.
fn decide_with(policies: &Policies, fields: Fields, answer: (u16, &str)) -> (Opening, Vec<HttpRequest>) {
    let identity = Rc::new(Identity::new(Rc::new(MemoryPort::default())));
    let hearing = Hearing {
        policies: Rc::new(policies.clone()),
        request: request(fields),
        held: Rc::default(),
        identity: Rc::clone(&identity),
        nonce: [7; 16],
        capacity: Unlimited,
    };
    let mut step = handshake::check(hearing).1;
    let mut asked = Vec::new();
    loop {
        match step {
            Step::Ready((opening, _)) => return (opening, asked),
            Step::Asks(Wait::Shared(inquiry), rest) => {
                for Ask { question, .. } in identity.take_asks() {
                    let Question::Http(request) = question else { panic!("{question:?}") };
                    asked.push(request);
                }
                let (status, body) = answer;
                let response = HttpResponse { status, body: body.into(), ..HttpResponse::default() };
                let _ = identity.answered(inquiry, &Answer::Http(response));
                step = rest.answer(Answer::Shared);
            }
            Step::Asks(wait, _) => panic!("{wait:?}"),
        }
    }
}

fn bare() -> Fields {
    without("authorization")
}

const YES: (u16, &str) = (200, r#"{"active": true, "sub": "alice"}"#);

#[test]
fn a_token_of_any_shape_is_introspected_from_each_source_and_then_gone() {
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, "opaque:1");
    let protocols = "sec-websocket-protocol";
    let rows: [(&str, String, &str, &[&str]); 12] = [
        ("authorization", "Bearer opaque.1".into(), "opaque.1", &[]),
        ("authorization", "bearer\topaque.1 ".into(), "opaque.1", &[]),
        ("cookie", "a=1; session=opaque-1; b=2".into(), "opaque-1", &["a=1; b=2"]),
        ("cookie", "session=\"opaque-1\"".into(), "opaque-1", &[]),
        (":path", "/chat?a=1&token=o%2Fp&b".into(), "o/p", &["/chat?a=1&b"]),
        (":path", "/chat?%74oken=1|abc".into(), "1|abc", &["/chat"]),
        (protocols, "bearer, opaque, chat.v1".into(), "opaque", &["chat.v1"]),
        (protocols, "chat.v2, bearer, opaque".into(), "opaque", &["chat.v2"]),
        (protocols, format!("chat.v1, bearer.{encoded}"), "opaque:1", &["chat.v1"]),
        (protocols, "bearer.un~coded, chat.v1".into(), "un~coded", &["chat.v1"]),
        // A JWT of an issuer that no provider with keys accepts, and what is no JWT to begin with.
        ("authorization", format!("Bearer {}", token(&json!({"iss": "another"}))), "", &[]),
        ("authorization", format!("Bearer {FORGED}"), "", &[]),
    ];
    for (name, value, token, left) in rows {
        let fields: Fields = bare().into_iter().filter(|(own, _)| own != name).collect();
        let fields = and(fields, name, &value);
        let (opening, asked) = decide_with(&asking(), fields.clone(), YES);
        assert_eq!((refusal(&opening), asked.len()), (None, 1), "{name}: {value}");
        let body = String::from_utf8(asked[0].body.clone()).unwrap();
        let sent = crate::http::query::decode(body.strip_prefix("token=").unwrap().as_bytes());
        let token = if token.is_empty() { value.strip_prefix("Bearer ").unwrap() } else { token };
        assert_eq!(sent, token.as_bytes());
        assert_eq!(edited(&opening, &fields, name), left, "{name}: {value}");
        assert_eq!(edited(&opening, &fields, "x-user"), ["alice"]);
        // Nothing of it is left that another look would find.
        assert_eq!(refusal(&decide_with(&asking(), edit(&opening, fields), YES).0), Some(CredentialMissing));
        assert_eq!(opening.credential.unwrap().provider(), "asked");
    }
}

#[test]
fn a_token_whose_issuer_has_keys_is_shown_to_nobody() {
    for (bearer, expected) in [
        (token(&json!({})), None),
        (format!("{}x", token(&json!({}))), Some(CredentialInvalid)),
        (token(&json!({"exp": NOW - 90})), Some(CredentialExpired)),
        (token(&json!({"aud": "other"})), Some(CredentialInvalid)),
    ] {
        let (opening, asked) = decide_with(&asking(), with("authorization", &format!("Bearer {bearer}")), YES);
        assert_eq!((refusal(&opening), asked), (expected, vec![]), "{bearer}");
    }
    // Nor one that names an issuer which is none of ours.
    let mut provider = introspecting();
    provider["issuer"] = "https://idp.example/".into();
    let policies = with_auth(json!({"providers": [own(), provider]}));
    for (iss, expected, asked_count) in
        [("another", Some(CredentialInvalid), 0), ("https://idp.example/", None, 1), ("me", None, 0)]
    {
        let bearer = format!("Bearer {}", token(&json!({"iss": iss})));
        let (opening, asked) = decide_with(&policies, with("authorization", &bearer), YES);
        assert_eq!((refusal(&opening), asked.len()), (expected, asked_count), "{iss}");
    }
}

#[test]
fn what_has_another_scheme_or_is_empty_is_no_token() {
    for (name, value) in [
        ("authorization", "Basic dXNlcjpwYXNz"),
        ("authorization", "Digest username=\"x\", realm=y, uri=\"/\""),
        ("authorization", "Bearer"),
        ("authorization", "Bearer "),
        ("authorization", ""),
        ("cookie", "session="),
        ("cookie", "other=opaque"),
        (":path", "/chat?token="),
        (":path", "/chat?token&tokens=1"),
        ("sec-websocket-protocol", "chat.v1, bearer"),
        ("sec-websocket-protocol", "chat.v1, opaque"),
    ] {
        let fields: Fields = bare().into_iter().filter(|(own, _)| own != name).collect();
        let fields = and(fields, name, value);
        let (opening, asked) = decide_with(&asking(), fields.clone(), YES);
        assert_eq!((refusal(&opening), asked.len()), (Some(CredentialMissing), 0), "{name}: {value}");
        let optional = with_auth(json!({"required": false, "providers": [own(), introspecting()]}));
        let (opening, _) = decide_with(&optional, fields.clone(), YES);
        assert_eq!(refusal(&opening), None, "{name}: {value}");
        if name != "sec-websocket-protocol" {
            assert_eq!(edited(&opening, &fields, name), [value]);
        }
    }
}

#[test]
fn what_can_be_no_token_is_refused_unasked() {
    for (name, value) in [
        ("authorization", "opaque".to_owned()),
        ("authorization", "Bearer two words".into()),
        ("authorization", "Bearer \u{e9}".into()),
        ("cookie", "session=two words".into()),
        ("cookie", "a=1, session=x".into()),
        (":path", "/chat?token=a%00b".into()),
        (":path", "/chat?token=a%0d%0ax:%20y".into()),
        ("authorization", format!("Bearer {}", "a".repeat(16_385))),
        ("sec-websocket-protocol", "bearer.".into()),
    ] {
        let fields: Fields = bare().into_iter().filter(|(own, _)| own != name).collect();
        let fields = and(fields, name, &value);
        let (opening, asked) = decide_with(&asking(), fields.clone(), YES);
        assert_eq!((refusal(&opening), asked.len()), (Some(CredentialInvalid), 0), "{name}: {value}");
    }
}

#[test]
fn two_different_credentials_are_refused_unasked() {
    let both = with_auth(json!({
        "providers": [own(), introspecting()], "cookie": {"name": "sid", "lookup": {"cluster": "app", "path": "/session"}},
    }));
    for (name, value) in [
        ("cookie", "session=opaque"),
        ("cookie", "sid=opaque"),
        ("cookie", "sid=x; sid=y"),
        ("authorization", "Bearer opaque"),
        (":path", "/chat?token=opaque"),
        ("sec-websocket-protocol", "bearer, opaque"),
        ("sec-websocket-protocol", "bearer.a, bearer.b"),
    ] {
        let fields: Fields = good().into_iter().filter(|(own, _)| own != name || own == "authorization").collect();
        let (opening, asked) = decide_with(&both, and(fields, name, value), YES);
        assert_eq!((refusal(&opening), asked.len()), (Some(CredentialAmbiguous), 0), "{name}: {value}");
    }
    for value in ["Bearer a, Bearer b", "Bearer a,b", "Bearer a, Basic b", "Basic b, Bearer a", "a, b"] {
        let (opening, asked) = decide_with(&both, with("authorization", value), YES);
        let expected = if value == "a, b" { CredentialMissing } else { CredentialAmbiguous };
        assert_eq!((refusal(&opening), asked.len()), (Some(expected), 0), "{value}");
    }
    let own = token(&json!({}));
    for protocols in [format!("bearer, {own}, bearer.b"), format!("bearer.b, {own}"), "bearer, a, bearer, b".into()] {
        let (opening, asked) = decide_with(&both, and(bare(), "sec-websocket-protocol", &protocols), YES);
        assert_eq!((refusal(&opening), asked.len()), (Some(CredentialAmbiguous), 0), "{protocols}");
    }
    // The same twice is one.
    let fields = and(with("authorization", "Bearer opaque"), "cookie", "session=opaque; session=opaque");
    let (opening, asked) = decide_with(&both, fields.clone(), YES);
    assert_eq!((refusal(&opening), asked.len()), (None, 1));
    assert_eq!(edited(&opening, &fields, "cookie"), [""; 0]);
    // The same as a token and as a cookie is two.
    let (opening, _) = decide_with(&both, and(with("authorization", "Bearer opaque"), "cookie", "sid=opaque"), YES);
    assert_eq!(refusal(&opening), Some(CredentialAmbiguous));
}

#[test]
fn answers_decide_by_the_rules_of_the_provider() {
    let mut provider = introspecting();
    let rules =
        json!({"issuer": "https://idp.example/", "audiences": ["chat"], "max_age": "60s", "require": {"role": "user"}});
    provider.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
    let policies = with_auth(json!({"providers": [provider]}));
    let good = json!({"active": true, "aud": "chat", "iat": NOW, "role": "user", "sub": "alice"});
    for (change, expected) in [
        (json!({}), None),
        (json!({"iss": "https://idp.example/"}), None),
        (json!({"iss": "https://other.example/"}), Some(CredentialInvalid)),
        (json!({"iss": 1}), Some(CredentialInvalid)),
        (json!({"aud": "other"}), Some(CredentialInvalid)),
        (json!({"aud": null}), Some(CredentialInvalid)),
        (json!({"aud": ["other", "chat"]}), None),
        (json!({"exp": NOW + 1}), None),
        (json!({"exp": NOW - 59}), None),
        (json!({"exp": NOW - 60}), Some(CredentialExpired)),
        (json!({"exp": 0}), Some(CredentialExpired)),
        (json!({"exp": -1}), Some(CredentialInvalid)),
        (json!({"exp": (NOW + 60).to_string()}), Some(CredentialInvalid)),
        (json!({"exp": (NOW + 60) * 1_000_000}), Some(CredentialInvalid)),
        (json!({"exp": true}), Some(CredentialInvalid)),
        (json!({"exp": [NOW + 60]}), Some(CredentialInvalid)),
        (json!({"nbf": NOW + 61}), Some(CredentialExpired)),
        (json!({"nbf": "now"}), Some(CredentialInvalid)),
        (json!({"iat": NOW - 120}), Some(CredentialExpired)),
        (json!({"iat": null}), Some(CredentialInvalid)),
        (json!({"role": "guest"}), Some(ClaimRefused)),
        (json!({"sub": ["alice"]}), Some(CredentialInvalid)),
        (json!({"sub": {"a": 1}}), Some(CredentialInvalid)),
        (json!({"sub": true}), Some(CredentialInvalid)),
        (json!({"sub": 42}), None),
        (json!({"sub": null}), None),
        (json!({"active": false}), Some(CredentialInvalid)),
        (json!({"active": "true"}), Some(Internal)),
        (json!({"active": null}), Some(Internal)),
    ] {
        let mut answer = good.clone();
        answer.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let fields = with("authorization", "Bearer opaque");
        let (opening, asked) = decide_with(&policies, fields, (200, &answer.to_string()));
        assert_eq!((refusal(&opening), asked.len()), (expected, 1), "{change}");
    }
}

#[test]
fn a_session_is_looked_up_by_its_cookie() {
    let fields = and(bare(), "cookie", "a=1; sid=s3cr3t; b=2");
    for (answer, expected) in [
        ((200, r#"{"sub": "alice"}"#), None),
        ((200, r#"{"sub": "alice", "active": false}"#), None),
        ((401, r#"{"sub": "alice"}"#), Some(CredentialInvalid)),
        ((403, ""), Some(CredentialInvalid)),
        ((404, ""), Some(CredentialInvalid)),
        ((200, "<html>"), Some(Internal)),
        ((204, ""), Some(Internal)),
        ((302, ""), Some(Internal)),
        ((500, ""), Some(Internal)),
        ((200, r#"{"sub": "alice", "exp": 1}"#), Some(CredentialExpired)),
        ((200, r#"{"sub": {}}"#), Some(CredentialInvalid)),
    ] {
        let (opening, asked) = decide_with(&looking_up(), fields.clone(), answer);
        assert_eq!((refusal(&opening), asked.len()), (expected, 1), "{answer:?}");
        assert!(asked[0].fields.contains(&("cookie", "sid=s3cr3t".to_owned())) && asked[0].body.is_empty());
        let left = edited(&opening, &fields, "cookie").concat();
        assert!(!left.contains("s3cr3t") && left.contains("a=1"), "{left}");
        if expected.is_none() {
            assert_eq!(edited(&opening, &fields, "x-user"), ["alice"]);
            assert_eq!(opening.credential.unwrap().provider(), "cookie");
        }
    }
}

#[test]
fn a_fault_lets_in_without_a_credential_only_where_the_policy_says_so() {
    let change = json!({
        "fail": "open",
        "auth": {"providers": [], "cookie": {"name": "sid", "lookup": {"cluster": "app", "path": "/session"}}, "claim_headers": {"sub": "x-user"}},
    });
    let fields = and(and(bare(), "cookie", "sid=s3cr3t"), "x-user", "root");
    for (answer, expected) in [((500, ""), None), ((401, ""), Some(CredentialInvalid)), ((200, "{}"), None)] {
        let (opening, _) = decide_with(&policies(change.clone()), fields.clone(), answer);
        assert_eq!(refusal(&opening), expected, "{answer:?}");
        assert_eq!(opening.credential.is_some(), answer.0 == 200);
        for name in ["x-user", "cookie"] {
            assert_eq!(edited(&opening, &fields, name), [""; 0], "{answer:?}");
        }
    }
}

#[test]
fn a_signed_cookie_is_its_subject_without_an_end() {
    let fields = and(bare(), "cookie", &format!("a=1; sid={}", signed("alice.1")));
    let opening = open(&signing(), fields.clone());
    assert_eq!(refusal(&opening), None);
    assert_eq!(
        (edited(&opening, &fields, "cookie"), edited(&opening, &fields, "x-user")),
        (vec!["a=1".into()], vec!["alice.1".into()])
    );
    let credential = opening.credential.unwrap();
    assert_eq!((credential.provider(), credential.expires_at()), ("cookie", Timestamp::from_secs(u64::MAX)));
    for value in ["alice", "alice.AAAA", FORGED, &format!("{}x", signed("a")), &token(&json!({}))] {
        let fields = and(bare(), "cookie", &format!("sid={value}"));
        let opening = open(&signing(), fields.clone());
        assert_eq!(refusal(&opening), Some(CredentialInvalid), "{value}");
        assert_eq!(edited(&opening, &fields, "cookie"), [""; 0]);
    }
    for cookies in ["sid=", "sid", "Sid=x.y", "session=x.y"] {
        assert_eq!(refusal(&open(&signing(), and(bare(), "cookie", cookies))), Some(CredentialMissing), "{cookies}");
    }
    // In a place that only some servers read it is one all the same, and a bad one.
    for cookies in [format!("a=1, sid={}", signed("alice")), format!("a=1 sid={}", signed("alice"))] {
        assert_eq!(refusal(&open(&signing(), and(bare(), "cookie", &cookies))), Some(CredentialInvalid), "{cookies}");
    }
}

#[test]
fn a_session_cookie_takes_the_place_of_the_default_source_of_its_name() {
    let policies = with_auth(json!({
        "providers": [own()], "cookie": {"name": "session", "hmac": {"secret": {"inline": SECRET}, "algorithm": "HS256"}},
    }));
    let cookie = |value: &str| and(bare(), "cookie", &format!("session={value}"));
    assert_eq!(refusal(&open(&policies, cookie(&signed("alice")))), None);
    assert_eq!(refusal(&open(&policies, cookie(&token(&json!({}))))), Some(CredentialInvalid));
    assert_eq!(refusal(&open(&policies, good())), None);
}

#[test]
fn a_refused_request_keeps_no_cookie_of_any_policy_for_logs() {
    let policies = policies(json!({"routes": [{"match": {"path": "/other"}, "policy": {
        "auth": {"cookie": {"name": "sid", "hmac": {"secret": {"inline": SECRET}, "algorithm": "HS256"}}},
    }}]}));
    let fields = and(without("authorization"), "cookie", "a=1; sid=s3cr3t");
    let opening = open(&policies, fields.clone());
    assert_eq!(refusal(&opening), Some(CredentialMissing));
    assert_eq!(edited(&opening, &fields, "cookie"), ["a=1"]);
}

#[test]
fn a_cookie_that_is_forwarded_stays() {
    let policies = with_auth(json!({
        "forward": true, "providers": [], "cookie": {"name": "sid", "hmac": {"secret": {"inline": SECRET}, "algorithm": "HS256"}},
    }));
    let cookie = format!("sid={}", signed("alice"));
    let fields = and(bare(), "cookie", &cookie);
    let opening = open(&policies, fields.clone());
    assert_eq!((refusal(&opening), edited(&opening, &fields, "cookie")), (None, vec![cookie]));
}

/// Of many credentials the same may be said: each is a subject of its own, where none names one.
#[test]
fn credentials_without_a_subject_are_told_apart() {
    let mark = |value: &str| {
        let (opening, _) = decide_with(&looking_up(), and(bare(), "cookie", &format!("sid={value}")), (200, "{}"));
        let credential = opening.credential.unwrap();
        assert_eq!(credential.subject(), None);
        let name = crate::limits::admission::subject_name(&credential).into_owned();
        let packed = credential.pack().open().unwrap();
        assert_eq!(crate::limits::admission::subject_name(&packed), name);
        assert!(!name.contains(value));
        name
    };
    assert_eq!(mark("alice"), mark("alice"));
    assert_ne!(mark("alice"), mark("bob"));
}
