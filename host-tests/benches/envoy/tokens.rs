//! An issuer, its key set, and tokens of it, good or forged.

use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use crate::Outcome;

pub(crate) const ISSUER: &str = "https://idp.example.com/";
pub(crate) const AUDIENCE: &str = "chat";

/// The keys of the issuer, one for RSA and one for each curve.
pub(crate) struct Issuer {
    keys: [(&'static str, EncodingKey, Algorithm); 4],
}

impl Issuer {
    pub(crate) fn new() -> Outcome<Self> {
        let rsa = EncodingKey::from_rsa_pem(include_bytes!("../../tests/envoy/testdata/rsa.pem"))?;
        let p256 = EncodingKey::from_ec_pem(include_bytes!("../../tests/envoy/testdata/p256.pem"))?;
        let p384 = EncodingKey::from_ec_pem(include_bytes!("../../tests/envoy/testdata/p384.pem"))?;
        let ed25519 = EncodingKey::from_ed_pem(include_bytes!("../../tests/envoy/testdata/ed25519.pem"))?;
        let keys = [
            ("rsa", rsa, Algorithm::RS256),
            ("p256", p256, Algorithm::ES256),
            ("p384", p384, Algorithm::ES384),
            ("ed25519", ed25519, Algorithm::EdDSA),
        ];
        Ok(Self { keys })
    }

    /// What it publishes.
    pub(crate) fn key_set(&self) -> Outcome<Value> {
        let keys = self.keys.iter().map(|(id, key, algorithm)| {
            let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, *algorithm)?)?;
            jwk["kid"] = json!(id);
            // One RSA key is for all algorithms of RSA.
            jwk.as_object_mut().and_then(|jwk| jwk.remove("alg"));
            Ok(jwk)
        });
        Ok(json!({"keys": keys.collect::<Outcome<Vec<_>>>()?}))
    }

    /// A token for an hour, of this number.
    pub(crate) fn token(&self, algorithm: Algorithm, number: u64) -> Outcome<String> {
        let (signed, key) = self.unsigned(algorithm, number)?;
        let signature = crypto::sign(signed.as_bytes(), key, algorithm)?;
        Ok(format!("{signed}.{signature}"))
    }

    /// One that nobody signed, with a signature of the right length that costs all of a check.
    pub(crate) fn forged(&self, algorithm: Algorithm, number: u64) -> Outcome<String> {
        let (signed, _) = self.unsigned(algorithm, number)?;
        let len = match algorithm {
            Algorithm::ES256 | Algorithm::EdDSA => 64,
            Algorithm::ES384 => 96,
            _ => 256,
        };
        // Of Ed25519, the second half has to be less than the order of its group.
        let mut signature = vec![0x0a; len];
        signature[8..16].copy_from_slice(&number.to_le_bytes());
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    fn unsigned(&self, algorithm: Algorithm, number: u64) -> Outcome<(String, &EncodingKey)> {
        let of_same = |own: Algorithm| own.family() == algorithm.family();
        let exact = self.keys.iter().find(|(_, _, own)| *own == algorithm);
        let found = exact.or_else(|| self.keys.iter().find(|(_, _, own)| of_same(*own)));
        let (id, key, _) = found.ok_or("no key is for it")?;
        let now = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 3_600, "jti": number.to_string(),
            "scope": "read write", "email": "alice@example.com", "roles": ["user", "editor"],
        });
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        Ok(([part(json!({"alg": algorithm, "typ": "JWT", "kid": id})), part(claims)].join("."), key))
    }
}
