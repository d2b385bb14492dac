//! The demo's identity providers: keys made at start, and tokens signed with them, good or forged.
//!
//! Two providers: `corp` signs with ES256 and publishes its key as a JWK set, `partner` shares a secret (HS256). A
//! [`Token`] begins as a good one; each step makes it another.

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

/// The issuer that signs with a key pair.
pub(crate) const CORP: &str = "https://idp.example.com/";
/// The issuer that shares a secret with the gate.
pub(crate) const PARTNER: &str = "https://partner.example.com/";
/// The audience that both name.
pub(crate) const AUDIENCE: &str = "chat";
/// The subject of the tokens.
pub(crate) const SUBJECT: &str = "alice";
/// The tenant that the tokens of `corp` have to name.
pub(crate) const TENANT: &str = "demo";

/// The keys of both providers. They live as long as the process.
pub(crate) struct Keys {
    corp: EncodingKey,
    corp_public: PublicKey,
    secret: String,
    ticket_key: String,
}

/// A public key, as JWK and as PEM.
struct PublicKey {
    jwk: Value,
    pem: String,
}

impl Keys {
    pub(crate) fn generate() -> Result<Self, Box<dyn Error>> {
        let (corp, corp_public) = key_pair()?;
        // The private key of a new pair, which is kept nowhere else, serves as a random secret.
        let secret = || Ok::<_, Box<dyn Error>>(URL_SAFE_NO_PAD.encode(KeyPair::generate()?.serialized_der()));
        Ok(Self { corp, corp_public, secret: secret()?, ticket_key: secret()? })
    }

    /// What `corp` publishes.
    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": [self.corp_public.jwk]})
    }

    /// What `partner` shares with the gate.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// What the gate seals tickets with.
    pub(crate) fn ticket_key(&self) -> &str {
        &self.ticket_key
    }

    /// The public key of `corp` as JWK: a text that faulty verifiers have taken for an HMAC secret.
    pub(crate) fn public_jwk(&self) -> String {
        self.corp_public.jwk.to_string()
    }

    /// The public key of `corp` as PEM: another such text.
    pub(crate) fn public_pem(&self) -> &str {
        &self.corp_public.pem
    }

    /// A good token of `corp`.
    pub(crate) fn corp(&self) -> Token {
        Token {
            header: json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID}),
            claims: claims(CORP),
            key: self.corp.clone(),
            algorithm: Algorithm::ES256,
        }
    }

    /// A good token of `partner`.
    pub(crate) fn partner(&self) -> Token {
        Token {
            header: json!({"alg": "HS256", "typ": "JWT"}),
            claims: claims(PARTNER),
            key: EncodingKey::from_secret(self.secret.as_bytes()),
            algorithm: Algorithm::HS256,
        }
    }
}

/// A token to be signed.
pub(crate) struct Token {
    header: Value,
    claims: Value,
    key: EncodingKey,
    algorithm: Algorithm,
}

impl Token {
    /// Sets a member of the header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    /// Sets a claim.
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    /// Drops a claim.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.as_object_mut().map(|claims| claims.remove(name));
        self
    }

    /// Sets a claim to a time so many seconds from now.
    pub(crate) fn time(self, name: &str, seconds_from_now: i64) -> Self {
        self.claim(name, now().saturating_add(seconds_from_now))
    }

    /// Signs as HS256 with this secret, and names HS256 in the header.
    pub(crate) fn hs256(mut self, secret: &str) -> Self {
        self.key = EncodingKey::from_secret(secret.as_bytes());
        self.algorithm = Algorithm::HS256;
        self.header("alg", "HS256")
    }

    /// Signs with a key of the attacker's own, whose public half the header hands over.
    pub(crate) fn embedded_key(mut self) -> Result<Self, Box<dyn Error>> {
        let (key, public) = key_pair()?;
        self.key = key;
        Ok(self.header("jwk", public.jwk))
    }

    /// The token in compact form.
    pub(crate) fn text(&self) -> Result<String, Box<dyn Error>> {
        self.signed(&self.header.to_string(), &self.claims.to_string())
    }

    /// The token with these members, as JSON, written in front of its header's and of its claims'.
    pub(crate) fn with_members(&self, header: &str, claims: &str) -> Result<String, Box<dyn Error>> {
        let prepend = |members: &str, object: &Value| object.to_string().replacen('{', &format!("{{{members}"), 1);
        self.signed(&prepend(header, &self.header), &prepend(claims, &self.claims))
    }

    /// The token with another name of an algorithm and no signature.
    pub(crate) fn unsigned(mut self, algorithm: &str) -> String {
        self.header["alg"] = algorithm.into();
        format!("{}.", signing_input(&self.header.to_string(), &self.claims.to_string()))
    }

    /// The token with a changed signature.
    pub(crate) fn forged(&self) -> Result<String, Box<dyn Error>> {
        let text = self.text()?;
        let (input, signature) = text.rsplit_once('.').ok_or("a token has three parts")?;
        let (first, rest) = signature.split_at(1);
        let other = if first == "A" { "B" } else { "A" };
        Ok(format!("{input}.{other}{rest}"))
    }

    fn signed(&self, header: &str, claims: &str) -> Result<String, Box<dyn Error>> {
        let input = signing_input(header, claims);
        let signature = crypto::sign(input.as_bytes(), &self.key, self.algorithm)?;
        Ok(format!("{input}.{signature}"))
    }
}

fn claims(issuer: &str) -> Value {
    let now = now();
    json!({
        "iss": issuer, "aud": AUDIENCE, "sub": SUBJECT, "tenant": TENANT,
        "iat": now, "exp": now.saturating_add(LIFETIME_SECONDS),
    })
}

fn signing_input(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// A fresh P-256 pair.
fn key_pair() -> Result<(EncodingKey, PublicKey), Box<dyn Error>> {
    let pair = KeyPair::generate()?;
    // SEC 1 §2.3.3: 04, then both coordinates.
    let point = pair.der_bytes().strip_prefix(&[0x04]).ok_or("the point is not compressed")?;
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    let key = EncodingKey::from_ec_der(pair.serialized_der());
    Ok((key, PublicKey { jwk, pem: pair.public_key_pem() }))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

const KEY_ID: &str = "demo-1";

/// Long enough for a day of trying, short enough that a leaked one does no harm.
const LIFETIME_SECONDS: i64 = 8 * 3_600;

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;

    #[track_caller]
    fn check(text: &str, key: &DecodingKey, algorithm: Algorithm, expected: bool) {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        assert_eq!(decode::<Value>(text, key, &validation).is_ok(), expected, "{text}");
    }

    #[test]
    fn good_tokens_verify_and_others_do_not() {
        let keys = Keys::generate().expect("the system has random numbers");
        let jwk: Jwk = serde_json::from_value(keys.jwks()["keys"][0].clone()).expect("it is a JWK");
        let public = DecodingKey::from_jwk(&jwk).expect("it is a key");
        let secret = DecodingKey::from_secret(keys.secret().as_bytes());
        let text = |token: Token| token.text().expect("it can be signed");
        check(&text(keys.corp()), &public, Algorithm::ES256, true);
        check(&text(keys.partner()), &secret, Algorithm::HS256, true);
        check(&keys.corp().forged().expect("it can be signed"), &public, Algorithm::ES256, false);
        check(&text(keys.corp().time("exp", -3_600)), &public, Algorithm::ES256, false);
        check(&text(keys.corp().without("exp")), &public, Algorithm::ES256, false);
        check(&text(keys.corp().embedded_key().expect("a key")), &public, Algorithm::ES256, false);
        check(&text(keys.corp().hs256("x")), &public, Algorithm::ES256, false);
    }

    #[test]
    fn members_are_written_twice_where_asked() {
        let keys = Keys::generate().expect("the system has random numbers");
        let text = keys.partner().with_members(r#""alg":"none","#, r#""sub":"root","#).expect("it can be signed");
        let part = |index| URL_SAFE_NO_PAD.decode(text.split('.').nth(index).expect("three parts")).expect("base64url");
        let count = |index, name: &str| String::from_utf8(part(index)).expect("text").matches(name).count();
        assert_eq!((count(0, "\"alg\""), count(1, "\"sub\""), count(1, "\"exp\"")), (2, 2, 1));
    }
}
