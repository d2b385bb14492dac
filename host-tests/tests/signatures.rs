//! The host's own check of signatures (`verify_signature`): asked where it is, done without where it is not, and what of its answers is believed.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use portcullis_host_tests::scenario::{Gate, ORIGIN, upgrade};
use portcullis_host_tests::{Fault, Faults, Foreign, Profile, status};
use serde_json::{Value, json};

const CALL: &str = "proxy_call_foreign_function";

/// Of a 2,048-bit key, what stands before its PKCS #1 form.
const SPKI_HEAD_LEN: usize = 24;

fn key() -> EncodingKey {
    EncodingKey::from_rsa_pem(include_bytes!("envoy/testdata/rsa.pem")).expect("an RSA key")
}

fn policy() -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key(), Algorithm::RS256).expect("a key")).expect("JSON");
    jwk.as_object_mut().expect("a JWK").remove("alg");
    json!({
        "require_tls": false,
        "origin": {"allow": [ORIGIN]},
        "auth": {"providers": [{
            "name": "corp", "issuer": "idp", "audiences": ["chat"], "algorithms": ["RS256", "RS512", "PS256"],
            "jwks": {"inline": {"keys": [jwk]}},
        }]},
        "limits": {"per_address": null, "per_connection": null, "per_subject": null},
    })
}

/// A good token of its own for each subject.
fn token(gate: &Gate, algorithm: Algorithm, subject: &str) -> String {
    let claims = json!({"iss": "idp", "aud": "chat", "sub": subject, "exp": gate.now_seconds() + 600});
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = [part(json!({"alg": algorithm})), part(claims)].join(".");
    let signature = crypto::sign(signed.as_bytes(), &key(), algorithm).expect("it can be signed");
    format!("{signed}.{signature}")
}

/// Another token's signature.
fn forged(gate: &Gate, algorithm: Algorithm) -> String {
    let [token, other] = ["alice", "mallory"].map(|subject| token(gate, algorithm, subject));
    let (signed, _) = token.rsplit_once('.').expect("a JWT");
    format!("{signed}.{}", other.rsplit('.').next().expect("a JWT"))
}

fn admits(gate: &mut Gate, token: &str) -> bool {
    let stream = gate.request(&upgrade().without("authorization").with("authorization", format!("Bearer {token}")));
    let passed = gate.stream(stream).request.passed;
    assert!(passed || gate.stream(stream).reply.as_ref().is_some_and(|reply| reply.status == 401));
    passed
}

/// The fields of a `VerifySignatureArguments`, each of which is shorter than 16 KiB.
fn fields(mut bytes: &[u8]) -> [Vec<u8>; 4] {
    [1, 2, 3, 4].map(|number| {
        assert_eq!(bytes[0], number << 3 | 2);
        let (len, at) = match bytes[1] {
            short @ ..0x80 => (usize::from(short), 2),
            low => (usize::from(low & 0x7f) | usize::from(bytes[2]) << 7, 3),
        };
        let (field, rest) = bytes[at..].split_at(len);
        bytes = rest;
        field.to_vec()
    })
}

/// As Envoy answers, with jsonwebtoken in place of BoringSSL.
fn verify(name: &str, arguments: &[u8]) -> Result<Vec<u8>, u32> {
    assert_eq!(name, "verify_signature");
    let [hash, key, signature, text] = fields(arguments);
    let algorithm = if hash == b"sha256" { Algorithm::RS256 } else { Algorithm::RS512 };
    let key = DecodingKey::from_rsa_der(&key[SPKI_HEAD_LEN..]);
    let is_good = crypto::verify(&BASE64_URL_SAFE_NO_PAD.encode(signature), &text, &key, algorithm) == Ok(true);
    Ok(if is_good { b"\x08\x01".to_vec() } else { b"\x12\x04none".to_vec() })
}

fn gate(foreign: Option<Foreign>) -> Gate {
    Gate::on(Profile { foreign, ..Profile::default() }, &policy())
}

#[test]
fn a_host_that_verifies_is_asked_for_each_new_token() {
    let mut gate = gate(Some(verify));
    for algorithm in [Algorithm::RS256, Algorithm::RS512] {
        let before = gate.calls(CALL);
        let (good, bad) = (token(&gate, algorithm, "alice"), forged(&gate, algorithm));
        assert!(admits(&mut gate, &good));
        assert_eq!(gate.calls(CALL), before + 1);
        // It is known.
        assert!(admits(&mut gate, &good));
        assert_eq!(gate.calls(CALL), before + 1);
        for _ in 0..2 {
            assert!(!admits(&mut gate, &bad));
        }
        assert_eq!(gate.calls(CALL), before + 3);
    }
    // It cannot.
    let before = gate.calls(CALL);
    let (good, bad) = (token(&gate, Algorithm::PS256, "alice"), forged(&gate, Algorithm::PS256));
    assert!(admits(&mut gate, &good) && !admits(&mut gate, &bad));
    assert_eq!(gate.calls(CALL), before);
    gate.check_manners();
}

#[test]
fn a_host_that_cannot_verify_is_asked_once() {
    let no_answers: [Option<Foreign>; 6] = [
        None,
        Some(|_, _| Err(status::INTERNAL_FAILURE)),
        Some(|_, _| Ok(vec![])),
        Some(|_, _| Ok(b"\x08".to_vec())),
        Some(|_, _| Ok(b"\x08\x01\x12\x01x".to_vec())),
        Some(|_, _| Ok(vec![0xff; 1 << 20])),
    ];
    for foreign in no_answers {
        let mut gate = gate(foreign);
        for subject in ["alice", "bob"] {
            let good = token(&gate, Algorithm::RS256, subject);
            assert!(admits(&mut gate, &good));
        }
        let bad = forged(&gate, Algorithm::RS256);
        assert!(!admits(&mut gate, &bad));
        assert_eq!(gate.calls(CALL), 1);
        gate.check_manners();
    }
}

/// One that claims to have answered, and has not.
#[test]
fn a_host_that_errs_is_done_without() {
    for fault in [Fault::Silent, Fault::Status(status::UNIMPLEMENTED), Fault::Status(u32::MAX)] {
        let mut gate = gate(Some(verify));
        gate.inject(Faults::Of(CALL.to_owned(), fault));
        let (good, bad) = (token(&gate, Algorithm::RS256, "alice"), forged(&gate, Algorithm::RS256));
        assert!(admits(&mut gate, &good) && !admits(&mut gate, &bad));
        assert_eq!(gate.calls(CALL), 1);
    }
}

/// The host is trusted with clocks and headers; so it is with this.
#[test]
fn what_the_host_says_holds() {
    let mut gate = gate(Some(|_, _| Ok(b"\x08\x01".to_vec())));
    let bad = forged(&gate, Algorithm::RS256);
    assert!(admits(&mut gate, &bad));
    // But for what no key can have signed.
    let short = bad[..bad.len() - 4].to_owned();
    assert!(!admits(&mut gate, &short));
}
