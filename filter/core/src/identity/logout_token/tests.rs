use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::*;
use crate::refusal::Detail;
use crate::token::{self, keys::Keys};

const NOW: u64 = 1_800_000_000;
const SKEW: u64 = 60;
const SEED: [u8; 32] = [0; 32];
/// By RFC 8032 §5.1.5, of that seed.
const PUBLIC: &str = "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn rules() -> ClaimRules {
    ClaimRules {
        is_asked: false,
        issuer: Some("https://idp/".into()),
        audiences: vec!["chat".into(), "app".into()],
        clock_skew: Duration::from_secs(SKEW),
        // Neither is about logout tokens.
        max_age: Some(Duration::from_secs(1)),
        require: vec![("role".into(), claims::Requirement::OneOf(vec![json!("admin")]))],
    }
}

fn provider() -> Provider {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": PUBLIC});
    let keys = Keys::from_jwks(vec![Algorithm::EdDSA], &[key]).unwrap().0;
    Provider { name: "idp".into(), keys: Rc::new(keys), remote: None, lookup: None, rules: rules() }
}

/// The claims of a good one, with those of `other` in place of its own; `null` takes one out.
fn claims(other: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://idp/", "aud": "chat", "iat": NOW - 1, "exp": NOW + 119, "jti": "j1", "sub": "alice", "sid": "s1",
        "events": {EVENT: {}},
    });
    for (name, value) in other.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

fn signed(header: &Value, claims: &Value) -> Vec<u8> {
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let der = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &SEED].concat();
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_ed_der(&der), Algorithm::EdDSA).unwrap();
    format!("{signed}.{signature}").into_bytes()
}

fn verdict(header: &Value, claims: &Value) -> Result<Logout, Flaw> {
    verify(&signed(header, claims), &provider(), Timestamp::from_secs(NOW)).unwrap()
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "1", "typ": "logout+jwt"})
}

#[test]
fn a_logout_token_names_a_user_a_session_or_both() {
    for (other, subject, session) in [
        (json!({}), Some("alice"), Some("s1")),
        (json!({"sid": null}), Some("alice"), None),
        (json!({"sub": null}), None, Some("s1")),
        (json!({"sub": 17, "sid": null}), Some("17"), None),
    ] {
        let logout = verdict(&header(), &claims(&other)).unwrap();
        assert_eq!(logout.subject, subject.map_or(ABSENT, |text| digest(Name::Subject, text)));
        assert_eq!(logout.session, session.map_or(ABSENT, |text| digest(Name::Session, text)));
        assert_eq!((logout.issuer, logout.at), (issuer_number("https://idp/"), NOW - 1));
        assert_eq!(logout.token, digest(Name::Token, "j1"));
    }
}

#[test]
fn claims_are_what_the_specification_says() {
    let date = |name: &str, value: Value| json!({name: value});
    for (other, expected) in [
        (json!({"iss": "https://evil/"}), Some(Flaw::Signature)),
        (json!({"iss": null}), Some(Flaw::Signature)),
        (json!({"iss": ["https://idp/"]}), Some(Flaw::Signature)),
        (json!({"aud": ["other", "app"]}), None),
        (json!({"aud": "other"}), Some(Flaw::Audience)),
        (json!({"aud": null}), Some(Flaw::Audience)),
        (json!({"aud": {"chat": 1}}), Some(Flaw::Audience)),
        (date("iat", json!(NOW + SKEW)), None),
        (date("iat", json!(NOW + SKEW + 1)), Some(Flaw::Time)),
        (date("iat", json!(NOW - 300 - SKEW + 1)), None),
        (date("iat", json!(NOW - 300 - SKEW)), Some(Flaw::Time)),
        (date("iat", json!("now")), Some(Flaw::Time)),
        (date("iat", Value::Null), Some(Flaw::Time)),
        (date("exp", json!(NOW - SKEW + 1)), None),
        (date("exp", json!(NOW - SKEW)), Some(Flaw::Time)),
        (date("exp", json!(u64::MAX)), Some(Flaw::Time)),
        (date("exp", Value::Null), Some(Flaw::Time)),
        (date("nbf", json!(NOW + SKEW + 1)), Some(Flaw::Time)),
        (json!({"events": null}), Some(Flaw::Event)),
        (json!({"events": {}}), Some(Flaw::Event)),
        (json!({"events": {EVENT: true}}), Some(Flaw::Event)),
        (json!({"events": [EVENT]}), Some(Flaw::Event)),
        (json!({"events": EVENT}), Some(Flaw::Event)),
        (json!({"events": {EVENT: {"more": 1}, "other": {}}}), None),
        (json!({"nonce": "n"}), Some(Flaw::Nonce)),
        (json!({"nonce": ""}), Some(Flaw::Nonce)),
        (json!({"jti": null}), Some(Flaw::Unnamed)),
        (json!({"jti": ""}), Some(Flaw::Unnamed)),
        (json!({"jti": 7}), Some(Flaw::Unnamed)),
        (json!({"sub": null, "sid": null}), Some(Flaw::Nobody)),
        (json!({"sub": "", "sid": "s1"}), Some(Flaw::Nobody)),
        (json!({"sid": ["s1"]}), Some(Flaw::Nobody)),
        (json!({"sid": 7}), Some(Flaw::Nobody)),
    ] {
        assert_eq!(verdict(&header(), &claims(&other)).err(), expected, "{other}");
    }
    // A null that is written out is a member: a reader may take it for a nonce.
    let mut null = claims(&json!({}));
    null["nonce"] = Value::Null;
    assert_eq!(verdict(&header(), &null), Err(Flaw::Nonce));
}

#[test]
fn a_type_may_be_left_out_and_may_not_be_another() {
    for (typ, expected) in [
        (json!("logout+jwt"), None),
        (json!("application/logout+JWT"), None),
        (json!("JWT"), None),
        (json!("at+jwt"), Some(Flaw::Malformed)),
        (json!("dpop+jwt"), Some(Flaw::Malformed)),
        (json!(""), Some(Flaw::Malformed)),
        (json!(null), Some(Flaw::Malformed)),
    ] {
        let header = json!({"alg": "EdDSA", "kid": "1", "typ": typ});
        assert_eq!(verdict(&header, &claims(&json!({}))).err(), expected, "{typ}");
    }
    assert!(verdict(&json!({"alg": "EdDSA", "kid": "1"}), &claims(&json!({}))).is_ok());
}

#[test]
fn only_keys_of_the_provider_sign() {
    let now = Timestamp::from_secs(NOW);
    let good = signed(&header(), &claims(&json!({})));
    let none =
        [URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims(&json!({})).to_string())].join(".");
    assert_eq!(verify(format!("{none}.").as_bytes(), &provider(), now), Ok(Err(Flaw::Malformed)));
    let text = [
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"1"}"#),
        URL_SAFE_NO_PAD.encode(claims(&json!({})).to_string()),
    ]
    .join(".");
    let public = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(PUBLIC).unwrap());
    let mac = jsonwebtoken::crypto::sign(text.as_bytes(), &public, Algorithm::HS256).unwrap();
    assert_eq!(verify(format!("{text}.{mac}").as_bytes(), &provider(), now), Ok(Err(Flaw::Signature)));
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    for token in [&changed[..], &good[..good.len() - 3]] {
        assert!(!matches!(verify(token, &provider(), now), Ok(Ok(_))));
    }
    assert_eq!(verify(b"", &provider(), now), Ok(Err(Flaw::Malformed)));
    assert_eq!(verify(&[good.clone(), b".x".to_vec()].concat(), &provider(), now), Ok(Err(Flaw::Malformed)));
    // A key that is not known may be a new one.
    let unknown = signed(&json!({"alg": "EdDSA", "kid": "2"}), &claims(&json!({})));
    assert!(matches!(verify(&unknown, &provider(), now), Err(Fault::UnknownKey(..))));
    // A provider without audiences takes nobody's.
    let mut any = provider();
    any.rules.audiences.clear();
    assert_eq!(verify(&good, &any, now), Ok(Err(Flaw::Audience)));
}

#[test]
fn a_logout_token_is_no_credential_and_a_credential_no_logout_token() {
    let mut provider = provider();
    (provider.rules.require, provider.rules.max_age) = (vec![], None);
    let now = Timestamp::from_secs(NOW);
    let as_credential = |token: &[u8]| token::verify(token, core::slice::from_ref(&provider), now);
    let plain = json!({"alg": "EdDSA", "kid": "1", "typ": "JWT"});
    for header in [&header(), &plain] {
        let refusal = as_credential(&signed(header, &claims(&json!({})))).err().unwrap();
        assert_eq!(refusal.cause.and_then(|cause| cause.detail), Some(Detail::Format));
    }
    let credential = signed(&plain, &claims(&json!({"events": null})));
    assert!(as_credential(&credential).is_ok());
    assert_eq!(verify(&credential, &provider, now), Ok(Err(Flaw::Event)));
    // Nor where it is known from before.
    let mut tokens = token::verified::VerifiedTokens::default();
    let logout = signed(&plain, &claims(&json!({})));
    for _ in 0..2 {
        assert!(tokens.verify(&logout, core::slice::from_ref(&provider), now).is_err());
    }
}

#[test]
fn a_form_has_one_token() {
    for (body, expected) in [
        (&b"logout_token=a.b.c"[..], Some(&b"a.b.c"[..])),
        (b"logout_token=a%2Eb.c%2b&x=y&&", Some(b"a.b.c+")),
        (b"x&logout%5Ftoken=a", Some(b"a")),
        (b"logout_token=a+b", Some(b"a b")),
        (b"logout_token", Some(b"")),
        (b"logout_token=a&logout_token=a", None),
        (b"logout_token=a&logout%5ftoken=b", None),
        (b"logout_tokens=a", None),
        (b"{\"logout_token\": \"a\"}", None),
        (b"", None),
    ] {
        let token = token_of_form(body);
        assert_eq!(token.as_deref().ok(), expected, "{}", String::from_utf8_lossy(body));
    }
}
