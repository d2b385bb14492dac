//! Tokens: only what was signed with our key, for us and for now, is believed.

use std::thread_local;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use portcullis_core::policy::routes::Policies;
use portcullis_core::time::Timestamp;
use portcullis_core::token::{Verified, verify};
use portcullis_core::violation::Violation;
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::adapter::{self, NOW};
use crate::input::Input;

/// What our own issuer signs with.
pub(crate) const SECRET: &[u8] = b"an HMAC secret of more than 32 bytes";

/// The public key of RFC 8037 §A.2, of the other issuer; a naive verifier would take it for a secret.
const PUBLIC_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// How far clocks may differ, in seconds: the default.
const SKEW: u64 = 60;

thread_local! {
    static POLICIES: Policies = adapter::policies(&json!({"auth": {"providers": providers()}}));
    static GOOD: String = sign(&header().to_string(), &claims().to_string(), SECRET);
}

/// A kind of script, then its content: how tokens of every kind end.
pub fn token(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() {
        b'm' => mutated(input),
        b's' => signed(input),
        _ => any(input.rest()),
    }
}

/// Two issuers: our own with a secret, another with a public key.
pub(crate) fn providers() -> Value {
    json!([
        {
            "name": "own", "issuer": "me", "audiences": ["chat"], "algorithms": ["HS256"],
            "jwks": {"secret": {"inline": str::from_utf8(SECRET).expect("ASCII")}},
        },
        {
            "name": "other", "issuer": "other", "audiences": ["chat"], "algorithms": ["EdDSA"],
            "jwks": {"inline": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": PUBLIC_KEY, "kid": "k"}]}},
        },
    ])
}

/// A token of our own issuer that is good now.
pub(crate) fn good() -> String {
    GOOD.with(String::clone)
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": "me", "aud": "chat", "sub": "alice", "roles": ["a", "b"], "exp": NOW + 60})
}

fn check(token: &[u8]) -> Result<Verified, Violation> {
    let verified = POLICIES.with(|policies| verify(token, &policies.base().auth.providers, Timestamp::from_secs(NOW)));
    verified.map_err(|refusal| refusal.violation)
}

/// Any bytes: good only if every rule that can be checked by hand holds.
fn any(token: &[u8]) {
    match check(token) {
        Ok(verified) => assert_good(token, &verified),
        Err(violation) => assert!(is_credential_fault(violation), "{violation:?}"),
    }
}

/// `place change` pairs over a good token: no other token has its signature.
fn mutated(mut input: Input<'_>) {
    let good = good().into_bytes();
    assert!(check(&good).is_ok());
    let mut token = good.clone();
    while !input.is_empty() {
        let place = usize::from(input.byte()) % token.len().max(1);
        match input.byte() {
            0 => drop(token.drain(..place)),
            1 => token.truncate(place),
            2 => token.insert(place, input.byte()),
            change => {
                if let Some(byte) = token.get_mut(place) {
                    *byte ^= change;
                }
            }
        }
    }
    let expected = if token == good { Ok(()) } else { Err(Violation::CredentialInvalid) };
    assert_eq!(check(&token).map(drop), expected);
}

/// A key, a header `\n` claims: signed well, and then by others.
fn signed(mut input: Input<'_>) {
    let header = String::from_utf8_lossy(input.until(b'\n')).into_owned();
    let header = if header.is_empty() { self::header().to_string() } else { header };
    let claims = String::from_utf8_lossy(input.rest()).into_owned();
    for key in [&b"another secret of more than 32 bytes"[..], PUBLIC_KEY.as_bytes(), b""] {
        assert_eq!(check(sign(&header, &claims, key).as_bytes()).map(drop), Err(Violation::CredentialInvalid));
    }
    let token = sign(&header, &claims, SECRET);
    any(token.as_bytes());
    // The same signature under another spelling of the token is none.
    let unsigned = token.rsplit_once('.').expect("a signature").0;
    for token in
        [format!("{unsigned}."), unsigned.to_owned(), format!("{token}="), format!("{token}."), format!(" {token}")]
    {
        assert_eq!(check(token.as_bytes()).map(drop), Err(Violation::CredentialInvalid), "{token}");
    }
}

fn sign(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac(&signed, key));
    format!("{signed}.{signature}")
}

fn hmac(signed: &str, key: &[u8]) -> Vec<u8> {
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("a key of any length");
    mac.chain_update(signed).finalize().into_bytes().to_vec()
}

/// Everything that RFC 7515, RFC 7519 and our policy ask of a token, once more.
fn assert_good(token: &[u8], verified: &Verified) {
    let token = str::from_utf8(token).expect("a token is text");
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { panic!("{} parts", parts.len()) };
    let expected = URL_SAFE_NO_PAD.encode(hmac(&format!("{header}.{claims}"), SECRET));
    assert_eq!(*signature, expected, "not signed with our key");

    let (header, claims) = (object(header), object(claims));
    assert_eq!(header.get("alg"), Some(&json!("HS256")));
    assert!(["crit", "jku", "jwk", "x5u", "x5c", "b64"].iter().all(|name| !header.contains_key(*name)));
    assert_eq!(verified.provider(), "own");
    assert_eq!(claims.get("iss"), Some(&json!("me")));
    match &claims["aud"] {
        Value::Array(list) => assert!(list.contains(&json!("chat"))),
        audience => assert_eq!(*audience, json!("chat")),
    }
    let claim = |name: &str| claims.get(name).filter(|claim| !claim.is_null());
    let date = |name: &str| claim(name).map(|claim| claim.as_f64().expect("a date is a number"));
    assert!(date("exp").expect("an end") > (NOW - SKEW) as f64);
    for name in ["nbf", "iat"] {
        assert!(date(name).is_none_or(|date| date < (NOW + SKEW + 1) as f64), "{name}");
    }
    // A whole number is read as its text, and null as nothing.
    match &claims.get("sub").unwrap_or(&Value::Null) {
        Value::Null => assert_eq!(verified.subject(), None),
        Value::String(subject) => assert_eq!(verified.subject(), Some(subject.as_str())),
        subject => assert_eq!(verified.subject().and_then(|text| text.parse::<f64>().ok()), subject.as_f64()),
    }
    // A timestamp ends in the year 2554.
    let end = (date("exp").expect("an end") as u64).min(u64::MAX / 1_000_000_000);
    assert_eq!(verified.expires_at().as_secs(), end);
}

fn object(part: &str) -> Map<String, Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("an object")
}

/// What a token can be refused for.
const fn is_credential_fault(violation: Violation) -> bool {
    matches!(violation, Violation::CredentialInvalid | Violation::CredentialExpired | Violation::ClaimRefused)
}
