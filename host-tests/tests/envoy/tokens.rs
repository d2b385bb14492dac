//! Two issuers that the policies of these tests trust, and their tokens, good or forged.
//!
//! `corp` signs with key pairs, made for these tests (`testdata/*.pem`); `partner` shares a secret with the gate.

use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, crypto};
use serde_json::{Value, json};

/// The `auth` of a policy: all sources, both issuers.
pub(crate) fn auth() -> Value {
    let key = |algorithm: Algorithm, id: &str| {
        let jwk = Jwk::from_encoding_key(key(algorithm), algorithm).expect("it is a key pair");
        let mut jwk = serde_json::to_value(jwk).expect("a JWK is JSON");
        jwk["kid"] = id.into();
        // One RSA key is for RS256 and PS256.
        jwk.as_object_mut().and_then(|jwk| jwk.remove("alg"));
        jwk
    };
    json!({
        "sources": [{"header": "authorization"}, {"cookie": "session"}, {"subprotocol": "bearer"}, {"query": "token"}],
        "providers": [
            {
                "name": "corp", "issuer": CORP, "audiences": ["chat"], "max_age": "1h", "require": {"role": ["user", "admin"]},
                "algorithms": ["RS256", "PS256", "ES256", "ES384", "EdDSA"],
                "jwks": {"inline": {"keys": [
                    key(Algorithm::RS256, "rsa"), key(Algorithm::ES256, "p256"),
                    key(Algorithm::ES384, "p384"), key(Algorithm::EdDSA, "ed25519"),
                ]}},
            },
            {
                "name": "partner", "issuer": PARTNER, "audiences": ["chat"],
                "algorithms": ["HS256", "HS384", "HS512"], "jwks": {"secret": {"env": VARIABLE}},
            },
        ],
        "claim_headers": {"sub": "x-user"},
    })
}

/// A token to be signed. Begins as a good one.
#[derive(Clone)]
pub(crate) struct Token {
    algorithm: Algorithm,
    header: Value,
    claims: Value,
}

impl Token {
    /// A good token of the issuer that uses this algorithm.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let issuer = if algorithm.family() == AlgorithmFamily::Hmac { PARTNER } else { CORP };
        let claims =
            json!({"iss": issuer, "aud": "chat", "sub": "alice", "role": "user", "iat": now(), "exp": now() + 600});
        Self { algorithm, header: json!({"alg": algorithm, "typ": "JWT"}), claims }
    }

    /// Sets a member of the header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    /// Sets a claim; `null` takes it away.
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self.claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        self
    }

    /// Sets a claim to null.
    pub(crate) fn with_null(mut self, name: &str) -> Self {
        self.claims[name] = Value::Null;
        self
    }

    /// The token, signed with its issuer's key.
    pub(crate) fn sign(&self) -> String {
        self.sign_text(&self.header.to_string(), &self.claims.to_string())
    }

    /// The token with these members, as JSON, in front of the others of its header and of its claims.
    pub(crate) fn sign_with_members(&self, header: &str, claims: &str) -> String {
        let prepend = |members: &str, object: &Value| object.to_string().replacen('{', &format!("{{{members}"), 1);
        self.sign_text(&prepend(header, &self.header), &prepend(claims, &self.claims))
    }

    /// The token, signed as HS256 with a secret of the forger's choice.
    pub(crate) fn sign_as_hmac(self, secret: &str) -> String {
        let token = self.header("alg", "HS256");
        signed(
            &token.header.to_string(),
            &token.claims.to_string(),
            &EncodingKey::from_secret(secret.as_bytes()),
            Algorithm::HS256,
        )
    }

    /// The token with this `alg` and no signature.
    pub(crate) fn unsigned(self, algorithm: &str) -> String {
        let token = self.header("alg", algorithm);
        format!("{}.", input(&token.header.to_string(), &token.claims.to_string()))
    }

    fn sign_text(&self, header: &str, claims: &str) -> String {
        signed(header, claims, key(self.algorithm), self.algorithm)
    }
}

/// What `corp` publishes about its P-256 key: a text that careless verifiers have taken for an HMAC secret.
pub(crate) fn public_jwk(algorithm: Algorithm) -> Value {
    serde_json::to_value(Jwk::from_encoding_key(key(algorithm), algorithm).expect("it is a key pair"))
        .expect("a JWK is JSON")
}

/// A time so many seconds from now.
pub(crate) fn in_seconds(seconds: i64) -> i64 {
    now() + seconds
}

fn key(algorithm: Algorithm) -> &'static EncodingKey {
    static KEYS: LazyLock<[EncodingKey; 5]> = LazyLock::new(|| {
        [
            EncodingKey::from_rsa_pem(include_bytes!("testdata/rsa.pem")).expect("an RSA key"),
            EncodingKey::from_ec_pem(include_bytes!("testdata/p256.pem")).expect("an EC key"),
            EncodingKey::from_ec_pem(include_bytes!("testdata/p384.pem")).expect("an EC key"),
            EncodingKey::from_ed_pem(include_bytes!("testdata/ed25519.pem")).expect("an Ed25519 key"),
            EncodingKey::from_secret(SECRET.as_bytes()),
        ]
    });
    match algorithm {
        Algorithm::ES256 => &KEYS[1],
        Algorithm::ES384 => &KEYS[2],
        Algorithm::EdDSA => &KEYS[3],
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => &KEYS[4],
        _ => &KEYS[0],
    }
}

fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let input = input(header, claims);
    let signature = crypto::sign(input.as_bytes(), key, algorithm).expect("it can be signed");
    format!("{input}.{signature}")
}

fn input(header: &str, claims: &str) -> String {
    [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".")
}

fn now() -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    now.try_into().expect("before the end of i64")
}

/// Where the gate finds the secret of `partner`: a variable of the VM's environment.
pub(crate) const VARIABLE: &str = "PARTNER_SECRET";
/// As long as HS512 wants it (RFC 7518 §3.2).
pub(crate) const SECRET: &str = "R4nd0mly-typed-for-these-tests-and-used-nowhere-else-in-the-world";

/// A token by its shape, `{"alg":"HS256"}`, and by nothing else.
pub(crate) const FORGED: &str = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";

const CORP: &str = "https://idp.example.com/";
const PARTNER: &str = "https://partner.example.org/";
