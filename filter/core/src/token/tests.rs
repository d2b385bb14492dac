//! Tokens good and bad, each against a provider with two public keys and one with a secret.

use core::time::Duration;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::claims::{ClaimRules, Requirement};
use super::jws::TOKEN_LEN_MAX;
use super::keys::{KeyFault, Keys};
use super::{Provider, Verified, verify};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::violation::Violation::{self, ClaimRefused, CredentialExpired, CredentialInvalid};

const SECRET: &[u8] = b"an HMAC secret of more than 32 bytes";
const NOW: u64 = 1_800_000_000;
const SKEW: u64 = 60;
/// The seed of the Ed25519 key of RFC 8037 §A.1, and its public half (§A.2).
const ED25519_SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const ED25519_PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn rules() -> ClaimRules {
    ClaimRules {
        issuer: Some("https://idp.example.com/".into()),
        audiences: vec!["chat".into()],
        clock_skew: Duration::from_secs(SKEW),
        max_age: None,
        require: vec![],
        is_asked: false,
    }
}

fn ed25519_jwk() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_PUBLIC, "kid": "ed", "use": "sig"})
}

fn asymmetric() -> Provider {
    let keys = Keys::from_jwks(vec![Algorithm::EdDSA, Algorithm::ES256], &[ed25519_jwk()]).unwrap().0;
    Provider { name: "corp".into(), keys: Rc::new(keys), remote: None, lookup: None, rules: rules() }
}

fn symmetric() -> Provider {
    let keys = Keys::from_secret(vec![Algorithm::HS256], &Secret::new(SECRET.to_vec())).unwrap();
    Provider { name: "own".into(), keys: Rc::new(keys), remote: None, lookup: None, rules: rules() }
}

fn claims() -> Value {
    json!({"iss": "https://idp.example.com/", "aud": "chat", "sub": "alice", "exp": NOW + 300})
}

/// `claims()` with the members of `other` in place of its own; `null` takes one out.
fn with(other: Value) -> Value {
    let mut claims = claims();
    for (name, value) in other.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn ed25519_signature(signed: &str) -> String {
    let seed = URL_SAFE_NO_PAD.decode(ED25519_SEED).unwrap();
    // PKCS #8 (RFC 8410 §7): version, algorithm, the seed in two octet strings.
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend(seed);
    jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_ed_der(&der), Algorithm::EdDSA).unwrap()
}

fn hs256_signature(signed: &str, secret: &[u8]) -> String {
    jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap()
}

/// A token with the two texts as they are, signed by the Ed25519 key.
fn token(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = ed25519_signature(&signed);
    format!("{signed}.{signature}")
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#;

#[track_caller]
fn check_with(provider: Provider, token: &str, expected: Result<(), Violation>) {
    let verified = verify(token.as_bytes(), &[provider], Timestamp::from_secs(NOW));
    assert_eq!(verified.map(|_: Verified| ()).map_err(|refusal| refusal.violation), expected);
}

#[track_caller]
fn check_header(header: &str, expected: Result<(), Violation>) {
    check_with(asymmetric(), &token(header, &claims().to_string()), expected);
}

#[track_caller]
fn check_claims(claims: Value, expected: Result<(), Violation>) {
    check_with(asymmetric(), &token(HEADER, &claims.to_string()), expected);
}

#[test]
fn a_good_token_gives_its_claims() {
    let token = token(HEADER, &with(json!({"roles": ["a"]})).to_string());
    let verified = verify(token.as_bytes(), &[symmetric(), asymmetric()], Timestamp::from_secs(NOW)).unwrap();
    assert_eq!((verified.provider(), verified.subject()), ("corp", Some("alice")));
    assert_eq!(verified.expires_at(), Timestamp::from_secs(NOW + 300));
    assert_eq!(verified.claim("roles"), Some(&json!(["a"])));
    assert_eq!(format!("{verified:?}"), "Verified(5 claims of corp)");
}

#[test]
fn the_token_of_rfc_8037_has_a_good_signature() {
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(ed25519_signature(signed), signature);
}

#[test]
fn unsigned_tokens_are_refused() {
    let payload = encode(&claims().to_string());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = encode(&format!(r#"{{"alg":"{alg}"}}"#));
        for signature in ["", "AA"] {
            let token = format!("{header}.{payload}.{signature}");
            check_with(asymmetric(), &token, Err(CredentialInvalid));
            check_with(symmetric(), &token, Err(CredentialInvalid));
        }
    }
    let signed = format!("{}.{payload}", encode(HEADER));
    check_with(asymmetric(), &format!("{signed}."), Err(CredentialInvalid));
    check_with(asymmetric(), &signed, Err(CredentialInvalid));
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    let jwk = ed25519_jwk().to_string();
    let signed = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"ed"}"#), encode(&claims().to_string()));
    let raw = URL_SAFE_NO_PAD.decode(ED25519_PUBLIC).unwrap();
    for secret in [jwk.as_bytes(), ED25519_PUBLIC.as_bytes(), &raw, b""] {
        let token = format!("{signed}.{}", hs256_signature(&signed, secret));
        check_with(asymmetric(), &token, Err(CredentialInvalid));
    }
}

#[test]
fn an_hmac_token_is_checked_with_the_secret() {
    let signed = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(&claims().to_string()));
    check_with(symmetric(), &format!("{signed}.{}", hs256_signature(&signed, SECRET)), Ok(()));
    check_with(symmetric(), &format!("{signed}.{}", hs256_signature(&signed, b"other")), Err(CredentialInvalid));
    let truncated = &hs256_signature(&signed, SECRET)[..20];
    check_with(symmetric(), &format!("{signed}.{truncated}"), Err(CredentialInvalid));
}

#[test]
fn headers_choose_neither_algorithm_nor_key() {
    check_header(r#"{"alg":"EdDSA","kid":"ed"}"#, Ok(()));
    check_header(r#"{"alg":"EdDSA"}"#, Ok(()));
    check_header(r#"{"alg":"EdDSA","kid":"other"}"#, Err(CredentialInvalid));
    check_header(r#"{"alg":"EdDSA","kid":""}"#, Err(CredentialInvalid));
    check_header(r#"{"alg":"EdDSA","kid":1}"#, Err(CredentialInvalid));
    check_header(r#"{"alg":"EdDSA","kid":"../../dev/null"}"#, Err(CredentialInvalid));
    check_header(r#"{"alg":"ES256","kid":"ed"}"#, Err(CredentialInvalid));
    check_header(r#"{"alg":"eddsa","kid":"ed"}"#, Err(CredentialInvalid));
    check_header(r#"{"kid":"ed"}"#, Err(CredentialInvalid));
    for parameter in
        [r#""jku":"https://evil/""#, r#""jwk":{}"#, r#""x5u":""#, r#""x5c":[]"#, r#""crit":["exp"]"#, r#""b64":false"#]
    {
        check_header(&format!(r#"{{"alg":"EdDSA",{parameter}}}"#), Err(CredentialInvalid));
    }
}

#[test]
fn types_made_for_other_purposes_are_refused() {
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        check_header(&format!(r#"{{"alg":"EdDSA","typ":"{typ}"}}"#), Ok(()));
    }
    for typ in ["\"logout+jwt\"", "\"dpop+jwt\"", "\"\"", "1"] {
        check_header(&format!(r#"{{"alg":"EdDSA","typ":{typ}}}"#), Err(CredentialInvalid));
    }
}

#[test]
fn names_that_stand_twice_are_refused() {
    check_header(r#"{"alg":"EdDSA","alg":"EdDSA"}"#, Err(CredentialInvalid));
    let twins = claims().to_string().replace(r#""sub":"#, r#""sub":"bob","\u0073ub":"#);
    check_with(asymmetric(), &token(HEADER, &twins), Err(CredentialInvalid));
}

#[test]
fn only_canonical_base64url_is_read() {
    let good = token(HEADER, &claims().to_string());
    check_with(asymmetric(), &good, Ok(()));
    for bad in [
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}."),
        format!("{good}.a"),
        good.replace('.', ".."),
        good.replacen('.', "", 1),
        // The last character of a 64-byte signature carries two bits; the other four must be zero.
        format!("{}{}", &good[..good.len() - 1], "h"),
        String::new(),
        "a.b.c".into(),
        "x".repeat(TOKEN_LEN_MAX + 1),
    ] {
        check_with(asymmetric(), &bad, Err(CredentialInvalid));
    }
}

#[test]
fn tokens_hold_from_nbf_to_exp_with_the_skew() {
    check_claims(with(json!({"exp": NOW - SKEW + 1})), Ok(()));
    check_claims(with(json!({"exp": NOW - SKEW})), Err(CredentialExpired));
    check_claims(with(json!({"exp": 0})), Err(CredentialExpired));
    check_claims(with(json!({"nbf": NOW + SKEW})), Ok(()));
    check_claims(with(json!({"nbf": NOW + SKEW + 1})), Err(CredentialExpired));
    check_claims(with(json!({"iat": NOW + SKEW})), Ok(()));
    check_claims(with(json!({"iat": NOW + SKEW + 1})), Err(CredentialInvalid));
    check_claims(with(json!({"exp": NOW as f64 + 0.5})), Ok(()));
}

#[test]
fn dates_are_numbers_of_seconds() {
    for date in [json!("1900000000"), json!(-1), json!(NOW * 1000), json!(true), json!([NOW]), json!({})] {
        check_claims(with(json!({"exp": date})), Err(CredentialInvalid));
        check_claims(with(json!({"nbf": date})), Err(CredentialInvalid));
        check_claims(with(json!({"iat": date})), Err(CredentialInvalid));
    }
    check_claims(with(json!({"exp": null})), Err(CredentialInvalid));
}

#[test]
fn tokens_are_for_us_and_from_the_issuer() {
    check_claims(with(json!({"aud": ["other", "chat"]})), Ok(()));
    for audience in [json!("other"), json!(["other"]), json!([]), json!(["chat", 1]), json!(1), json!("chat ")] {
        check_claims(with(json!({"aud": audience})), Err(CredentialInvalid));
    }
    check_claims(with(json!({"aud": null})), Err(CredentialInvalid));
    for issuer in [json!("https://idp.example.com"), json!(["https://idp.example.com/"]), json!(1)] {
        check_claims(with(json!({"iss": issuer})), Err(CredentialInvalid));
    }
    check_claims(with(json!({"iss": null})), Err(CredentialInvalid));
    for subject in [json!(1.5), json!(true), json!([1]), json!({}), json!(9_007_199_254_740_992.0), json!(1e300)] {
        check_claims(with(json!({"sub": subject})), Err(CredentialInvalid));
    }
}

#[test]
fn an_integer_is_a_subject_by_its_decimal_text() {
    for (subject, text) in [
        ("42", "42"),
        ("-7", "-7"),
        ("18446744073709551615", "18446744073709551615"),
        ("42.0", "42"),
        ("1e3", "1000"),
        ("\"42\"", "42"),
    ] {
        let claims = claims().to_string().replace("\"alice\"", subject);
        let token = token(HEADER, &claims);
        let verified = verify(token.as_bytes(), &[asymmetric()], Timestamp::from_secs(NOW)).unwrap();
        assert_eq!((verified.subject(), verified.claim("sub")), (Some(text), Some(&json!(text))), "{subject}");
    }
}

#[test]
fn a_claim_that_is_null_is_absent() {
    let null = |name: &str| claims().to_string().replacen('{', &format!("{{\"{name}\":null,"), 1);
    for name in ["nbf", "iat", "email"] {
        check_with(asymmetric(), &token(HEADER, &null(name)), Ok(()));
    }
    let without = |name: &str| {
        let mut claims = claims();
        claims[name] = Value::Null;
        token(HEADER, &claims.to_string())
    };
    for (name, expected) in [
        ("sub", Ok(())),
        ("exp", Err(CredentialInvalid)),
        ("aud", Err(CredentialInvalid)),
        ("iss", Err(CredentialInvalid)),
    ] {
        check_with(asymmetric(), &without(name), expected);
    }
    let nobody = verify(without("sub").as_bytes(), &[asymmetric()], Timestamp::from_secs(NOW)).unwrap();
    assert_eq!((nobody.subject(), nobody.claim("sub")), (None, None));
}

#[test]
fn old_tokens_are_refused_where_an_age_is_set() {
    let aged = || Provider { rules: ClaimRules { max_age: Some(Duration::from_secs(100)), ..rules() }, ..asymmetric() };
    let issued = |at: u64| token(HEADER, &with(json!({"iat": at})).to_string());
    check_with(aged(), &issued(NOW - 100 - SKEW + 1), Ok(()));
    check_with(aged(), &issued(NOW - 100 - SKEW), Err(CredentialExpired));
    check_with(aged(), &token(HEADER, &claims().to_string()), Err(CredentialInvalid));
}

#[test]
fn required_claims_are_met() {
    let token = |claims: Value| token(HEADER, &with(claims).to_string());
    let one_of = |values: Value| Requirement::OneOf(values.as_array().unwrap().clone());
    let contains = |values: Value| Requirement::Contains(values.as_array().unwrap().clone());
    let rows = [
        ("role", one_of(json!(["admin"])), json!({"role": "admin"}), true),
        ("role", one_of(json!(["admin"])), json!({"role": "user"}), false),
        ("role", one_of(json!(["admin"])), json!({"role": ["user", "admin"]}), true),
        ("role", one_of(json!(["admin"])), json!({"role": ["user"]}), false),
        ("role", one_of(json!(["admin"])), json!({"role": []}), false),
        ("role", one_of(json!(["admin"])), json!({"role": [["admin"]]}), false),
        ("role", one_of(json!(["admin"])), json!({"role": "user admin"}), false),
        ("role", one_of(json!(["admin"])), json!({"role": {"admin": true}}), false),
        ("role", one_of(json!([["a", "b"]])), json!({"role": ["a", "b"]}), true),
        ("role", one_of(json!(["a", 2])), json!({"role": 2}), true),
        ("role", one_of(json!(["a"])), json!({}), false),
        ("role", one_of(json!(["a", true])), json!({"role": false}), false),
        ("level", one_of(json!([9])), json!({"level": 9.0}), true),
        ("level", one_of(json!([9.0])), json!({"level": [1, 9]}), true),
        ("level", one_of(json!([90e-1])), json!({"level": 9}), true),
        ("level", one_of(json!([9])), json!({"level": "9"}), false),
        ("level", one_of(json!([0.1])), json!({"level": 0.10}), true),
        ("level", contains(json!([9])), json!({"level": [8, 9.0]}), true),
        ("realm.roles", contains(json!(["a"])), json!({"realm": {"roles": ["b", "a"]}}), true),
        ("realm.roles", contains(json!(["a"])), json!({"realm": {"roles": ["ab"]}}), false),
        ("realm.roles", contains(json!(["x", "a"])), json!({"realm": {"roles": ["b", "a"]}}), true),
        ("realm.roles", contains(json!(["a"])), json!({"realm": {"roles": null}}), false),
        ("scope", contains(json!(["chat"])), json!({"scope": "mail chat"}), true),
        ("scope", contains(json!(["x", "chat"])), json!({"scope": "mail chat"}), true),
        ("scope", contains(json!(["chat"])), json!({"scope": "chatty"}), false),
        ("scope", contains(json!([1])), json!({"scope": "1"}), false),
        ("https://x.y/z", one_of(json!([true])), json!({"https://x.y/z": true}), true),
        (
            "/resource_access/my.app/roles",
            one_of(json!(["a"])),
            json!({"resource_access": {"my.app": {"roles": ["a"]}}}),
            true,
        ),
        (
            "resource_access.my.app.roles",
            one_of(json!(["a"])),
            json!({"resource_access": {"my.app": {"roles": ["a"]}}}),
            false,
        ),
        ("/https:~1~1x.y~1z/~0", one_of(json!([1])), json!({"https://x.y/z": {"~": 1}}), true),
        ("/roles/1", one_of(json!(["b"])), json!({"roles": ["a", "b"]}), true),
        ("/roles/01", one_of(json!(["b"])), json!({"roles": ["a", "b"]}), false),
        ("/roles", one_of(json!(["b"])), json!({"/roles": "b"}), true),
        ("/", one_of(json!(["b"])), json!({"": "b"}), true),
    ];
    for (path, requirement, claims, met) in rows {
        let require = vec![(path.to_owned(), requirement)];
        let provider = Provider { rules: ClaimRules { require, ..rules() }, ..asymmetric() };
        check_with(provider, &token(claims), if met { Ok(()) } else { Err(ClaimRefused) });
    }
}

#[test]
fn keys_that_are_too_weak_are_refused() {
    let secret =
        |len: usize, algorithm| Keys::from_secret(vec![algorithm], &Secret::new(vec![7; len])).map(|_| ()).err();
    assert_eq!(secret(32, Algorithm::HS256), None);
    assert_eq!(secret(31, Algorithm::HS256), Some(KeyFault::SecretTooShort(32)));
    assert_eq!(secret(0, Algorithm::HS256), Some(KeyFault::SecretTooShort(32)));
    assert_eq!(secret(63, Algorithm::HS512), Some(KeyFault::SecretTooShort(64)));
    assert_eq!(secret(64, Algorithm::RS256), Some(KeyFault::NoneUsable));

    let rsa = |bytes: usize| {
        let jwk = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(vec![0xff; bytes]), "e": "AQAB"});
        let (_, passed_over) =
            Keys::from_jwks(vec![Algorithm::RS256, Algorithm::EdDSA], &[jwk, ed25519_jwk()]).unwrap();
        passed_over
    };
    assert_eq!((rsa(256), rsa(512)), (vec![], vec![]));
    for bytes in [128, 255, 513, 1_024] {
        assert_eq!(rsa(bytes), [(0, KeyFault::RsaLength)], "{bytes}");
    }
}

#[test]
fn keys_that_cannot_be_used_are_passed_over() {
    use KeyFault::{Malformed, OtherUse};
    for (change, fault) in [
        (json!({"use": "enc"}), OtherUse),
        (json!({"kty": "oct", "k": "AAAA"}), OtherUse),
        (json!({"crv": "X25519"}), OtherUse),
        (json!({"alg": "ES256"}), OtherUse),
        (json!({"kty": "new"}), OtherUse),
        (json!({"x": "not base64!"}), Malformed),
        (json!({"x": 1}), Malformed),
        (json!({"kty": "EC", "crv": "P-256", "alg": "ES256"}), Malformed),
        (json!({"kty": null}), Malformed),
        (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), KeyFault::RsaLength),
    ] {
        let mut jwk = ed25519_jwk();
        jwk.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let algorithms = || if jwk["kty"] == "EC" { vec![Algorithm::ES256] } else { vec![Algorithm::EdDSA] };
        let keys = Keys::from_jwks(algorithms(), &[jwk.clone()]);
        assert_eq!(keys.map(|_| ()), Err(KeyFault::NoneUsable), "{jwk}");
        let (_, passed_over) =
            Keys::from_jwks([algorithms(), vec![Algorithm::EdDSA]].concat(), &[jwk.clone(), ed25519_jwk(), json!(1)])
                .unwrap();
        assert_eq!(passed_over, [(0, fault), (2, Malformed)], "{jwk}");
    }
}

/// A key of its own for each `index`, which made no token of these tests.
fn other_jwk(index: usize, id: Option<&str>) -> Value {
    // Not each x is on the curve; half of them are.
    let mut jwks = (0_u8..).map(|salt| {
        let mut bytes = [0; 32];
        bytes[..3].copy_from_slice(&[u8::try_from(index).unwrap(), salt, 1]);
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(bytes), "kid": id})
    });
    let usable = |jwk: &Value| Keys::from_jwks(vec![Algorithm::EdDSA], core::slice::from_ref(jwk)).is_ok();
    jwks.find(usable).unwrap()
}

#[test]
fn up_to_64_keys_are_taken() {
    let claims = claims().to_string();
    let set = |before: usize, id: Option<&str>, own: Value| {
        let mut jwks: Vec<Value> = (0..before).map(|index| other_jwk(index, id)).collect();
        jwks.push(own);
        let (keys, passed_over) = Keys::from_jwks(vec![Algorithm::EdDSA], &jwks).unwrap();
        (Provider { name: "corp".into(), keys: Rc::new(keys), remote: None, lookup: None, rules: rules() }, passed_over)
    };
    let unnamed = json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_PUBLIC});
    let (named_token, other) = (token(HEADER, &claims), token(r#"{"alg":"EdDSA"}"#, &claims));
    let invalid = Err(CredentialInvalid);
    for (before, id, own, token, expected) in [
        (63, Some("x"), ed25519_jwk(), &named_token, Ok(())),
        // Without an id only the first four are tried.
        (3, Some("x"), ed25519_jwk(), &other, Ok(())),
        (4, Some("x"), ed25519_jwk(), &other, invalid),
        (63, Some("x"), unnamed.clone(), &named_token, Ok(())),
        (3, None, unnamed.clone(), &named_token, Ok(())),
        (4, None, unnamed, &named_token, invalid),
        // One that is named comes before any without an id.
        (63, None, ed25519_jwk(), &named_token, Ok(())),
        (64, Some("x"), ed25519_jwk(), &named_token, invalid),
        (64, None, ed25519_jwk(), &other, invalid),
    ] {
        let (provider, passed_over) = set(before, id, own);
        assert_eq!(passed_over.len(), before.saturating_sub(63));
        check_with(provider, token, expected);
    }
}
