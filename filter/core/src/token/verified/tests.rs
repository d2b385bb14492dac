//! What is kept of a verified token, and what ends it. The secrets of providers are keys without an id.

use core::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::*;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::token::claims::ClaimRules;
use crate::token::keys::KEYS_TRIED_MAX;
use crate::token::keys::Keys;
use crate::token::verify;

const NOW: u64 = 1_800_000_000;

fn provider(name: &str, secret: u8) -> Provider {
    let keys = Keys::from_secret(vec![Algorithm::HS256], &Secret::new(vec![secret; 32])).unwrap();
    let rules = ClaimRules { clock_skew: Duration::from_secs(60), ..ClaimRules::default() };
    Provider { name: name.into(), keys: Rc::new(keys), remote: None, lookup: None, rules }
}

fn public(ids: &[Option<&str>]) -> Provider {
    let key = |id: &Option<&str>| {
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        if let Some(id) = id {
            key["kid"] = json!(id);
        }
        key
    };
    let keys: Vec<_> = ids.iter().map(key).collect();
    let keys = Keys::from_jwks(vec![Algorithm::EdDSA], &keys).unwrap().0;
    Provider { keys: Rc::new(keys), ..provider("public", 0) }
}

/// A token whose header has `header` beside its algorithm, signed with `secret`.
fn token(header: &str, secret: u8, subject: &str) -> Vec<u8> {
    let claims = json!({"iss": "idp", "sub": subject, "exp": NOW + 300}).to_string();
    let header = format!(r#"{{"alg":"HS256"{header}}}"#);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(&[secret; 32]);
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{signed}.{signature}").into_bytes()
}

fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

const INVALID: Fault = Fault::Refused(Refusal { violation: Violation::CredentialInvalid, cause: None });

/// The same without its cause.
fn bare(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(refusal) => Fault::Refused(refusal.violation.into()),
        fault @ Fault::UnknownKey(..) => fault,
    }
}

#[test]
fn a_token_is_verified_once() {
    let (mut tokens, token) = (VerifiedTokens::default(), token("", 1, "alice"));
    let first = tokens.verify(&token, &[provider("a", 1)], now()).unwrap();
    // The set was read again since: its keys are the same.
    let second = tokens.verify(&token, &[provider("b", 2), provider("a", 1)], now()).unwrap();
    assert!(Rc::ptr_eq(&first, &second));
}

#[test]
fn what_is_kept_is_judged_by_the_policy_at_hand() {
    let mut rules = provider("a", 1);
    rules.rules.audiences = vec!["chat".into()];
    let mut issuer = provider("a", 1);
    issuer.rules.issuer = Some("other".into());
    let cases: [(&str, Vec<Provider>, Result<&str, Fault>); 6] = [
        ("its key is gone", vec![provider("a", 2)], Err(INVALID)),
        ("no provider", vec![], Err(INVALID)),
        ("another audience", vec![rules], Err(INVALID)),
        ("another issuer", vec![issuer], Err(INVALID)),
        ("another algorithm", vec![public(&[None])], Err(INVALID)),
        ("another name", vec![provider("b", 1)], Ok("b")),
    ];
    for (name, providers, expected) in cases {
        let (mut tokens, token) = (VerifiedTokens::default(), token("", 1, "alice"));
        tokens.verify(&token, &[provider("a", 1)], now()).unwrap();
        for _ in 0..2 {
            let verified = tokens.verify(&token, &providers, now());
            assert_eq!(
                verified.as_ref().map(|verified| verified.provider()).map_err(|fault| bare(fault.clone())),
                expected,
                "{name}"
            );
            assert_eq!(verify(&token, &providers, now()).is_ok(), expected.is_ok(), "{name}");
        }
    }
}

#[test]
fn what_is_kept_ends_with_the_token() {
    let (mut tokens, token) = (VerifiedTokens::default(), token("", 1, "alice"));
    let providers = [provider("a", 1)];
    let first = tokens.verify(&token, &providers, now()).unwrap();
    assert!(tokens.verify(&token, &providers, Timestamp::from_secs(NOW + 359)).is_ok());
    for _ in 0..2 {
        let late = tokens.verify(&token, &providers, Timestamp::from_secs(NOW + 360));
        assert_eq!(late.err().map(bare), Some(Fault::Refused(Violation::CredentialExpired.into())));
    }
    assert_eq!(Rc::strong_count(&first), 1, "nothing is kept of it");
}

#[test]
fn what_fails_is_not_kept_and_spoils_nothing() {
    let (mut tokens, good) = (VerifiedTokens::default(), token("", 1, "alice"));
    let providers = [provider("a", 1)];
    let first = tokens.verify(&good, &providers, now()).unwrap();
    for index in 0..2_000 {
        let forged = token("", 2, &index.to_string());
        assert_eq!(tokens.verify(&forged, &providers, now()).err().map(bare), Some(INVALID));
    }
    assert!(Rc::ptr_eq(&first, &tokens.verify(&good, &providers, now()).unwrap()));
}

#[test]
fn what_is_kept_has_a_bound() {
    let (mut tokens, providers) = (VerifiedTokens::default(), [provider("a", 1)]);
    let last = |index: usize| token("", 1, &index.to_string());
    let verified: Vec<_> = (0..3_000).map(|index| tokens.verify(&last(index), &providers, now()).unwrap()).collect();
    let kept = verified.iter().filter(|verified| Rc::strong_count(verified) > 1).count();
    assert!(kept > SET_COUNT * SET_LEN_MAX * 9 / 10 && kept <= SET_COUNT * SET_LEN_MAX, "{kept}");
    let again = tokens.verify(&last(2_999), &providers, now()).unwrap();
    assert!(Rc::ptr_eq(&again, &verified[2_999]));
    let long = tokens.verify(&token("", 1, &"x".repeat(KEPT_LEN_MAX)), &providers, now()).unwrap();
    assert_eq!(Rc::strong_count(&long), 1);
}

#[test]
fn a_token_is_tried_with_few_keys() {
    let before = |count: usize| -> Vec<Provider> {
        let others = (0..count).map(|_| provider("other", 2));
        others.chain([provider("a", 1)]).collect()
    };
    for header in ["", r#","kid":"x""#] {
        let token = token(header, 1, "alice");
        assert!(verify(&token, &before(KEYS_TRIED_MAX - 1), now()).is_ok(), "{header}");
        let refusal = verify(&token, &before(KEYS_TRIED_MAX), now()).err().unwrap();
        assert_eq!(refusal.violation, Violation::CredentialInvalid);
    }
}

#[test]
fn a_key_that_may_be_new_is_told() {
    let cases: [(&str, &[Option<&str>], Fault); 5] = [
        (r#","kid":"new""#, &[Some("old")], Fault::UnknownKey(vec![0], Some("new".to_owned()))),
        (r#","kid":"new""#, &[None], Fault::UnknownKey(vec![0], Some("new".to_owned()))),
        (r#","kid":"new""#, &[Some("old"), Some("new")], INVALID),
        ("", &[Some("old")], INVALID),
        ("", &[None], INVALID),
    ];
    for (header, ids, expected) in cases {
        let header = format!(r#"{{"alg":"EdDSA"{header}}}"#);
        let signature = URL_SAFE_NO_PAD.encode([0; 64]);
        let token = format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode("{}"));
        let fault = VerifiedTokens::default().verify(token.as_bytes(), &[public(ids)], now()).err();
        assert_eq!(fault.map(bare), Some(expected), "{header} {ids:?}");
    }
}
