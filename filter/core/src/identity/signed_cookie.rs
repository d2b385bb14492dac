//! Session cookies that an application signs: `<value>.<MAC of the value in base64url>`.
//!
//! The value is who the client is: nothing else is known of it. A value may have dots, the MAC has none. A JWT is signed in the same way, and
//! where both have one secret it would be a session that never ends: what has the shape of one is no cookie.

use core::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::{Map, Value};

use super::lookup;
use crate::secret::Secret;
use crate::token::keys::{KeyFault, hash_len};
use crate::token::shape;

/// The secret that the application signs with.
#[derive(Clone)]
pub struct CookieKey {
    algorithm: Algorithm,
    key: Secret<DecodingKey>,
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieKey({:?})", self.algorithm)
    }
}

impl CookieKey {
    /// `secret`, for an HMAC.
    ///
    /// # Errors
    /// [`KeyFault::SecretTooShort`] where it is shorter than the hash, [`KeyFault::NoneUsable`] where the algorithm is no HMAC.
    pub fn new(algorithm: Algorithm, secret: &Secret<Vec<u8>>) -> Result<Self, KeyFault> {
        if algorithm.family() != AlgorithmFamily::Hmac {
            return Err(KeyFault::NoneUsable);
        }
        if secret.expose().len() < hash_len(algorithm) {
            return Err(KeyFault::SecretTooShort(hash_len(algorithm)));
        }
        Ok(Self { algorithm, key: Secret::new(DecodingKey::from_secret(secret.expose())) })
    }

    /// The claims of a cookie that the application has signed: its value as the subject. MACs are compared in constant time.
    #[must_use]
    pub fn claims(&self, cookie: &[u8]) -> Option<Map<String, Value>> {
        let is_cookie = lookup::is_cookie(cookie) && !shape::is_token(cookie);
        let (value, mac) = str::from_utf8(cookie).ok().filter(|_| is_cookie)?.rsplit_once('.')?;
        let is_signed =
            jsonwebtoken::crypto::verify(mac, value.as_bytes(), self.key.expose(), self.algorithm).unwrap_or(false);
        (is_signed && !value.is_empty()).then(|| Map::from_iter([("sub".to_owned(), Value::from(value))]))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use jsonwebtoken::EncodingKey;

    use super::*;

    const ALGORITHMS: [(Algorithm, usize); 3] =
        [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)];

    fn key(algorithm: Algorithm, secret: &[u8]) -> Result<CookieKey, KeyFault> {
        CookieKey::new(algorithm, &Secret::new(secret.to_vec()))
    }

    fn mac(algorithm: Algorithm, secret: &[u8], value: &str) -> String {
        jsonwebtoken::crypto::sign(value.as_bytes(), &EncodingKey::from_secret(secret), algorithm).unwrap()
    }

    fn subject(key: &CookieKey, cookie: &str) -> Option<String> {
        let claims = key.claims(cookie.as_bytes())?;
        assert_eq!(claims.len(), 1);
        claims["sub"].as_str().map(str::to_owned)
    }

    #[test]
    fn a_secret_is_as_long_as_the_hash() {
        for (algorithm, len) in ALGORITHMS {
            assert!(key(algorithm, &vec![7; len]).is_ok(), "{algorithm:?}");
            assert_eq!(key(algorithm, &vec![7; len - 1]).unwrap_err(), KeyFault::SecretTooShort(len));
        }
        assert_eq!(key(Algorithm::ES256, &[7; 64]).unwrap_err(), KeyFault::NoneUsable);
    }

    #[test]
    fn the_value_of_a_signed_cookie_is_the_subject() {
        for (algorithm, len) in ALGORITHMS {
            let secret = vec![7; len];
            let key = key(algorithm, &secret).unwrap();
            for value in ["alice", "a.b", "a..", ".", "%C3%A9=/+"] {
                let cookie = format!("{value}.{}", mac(algorithm, &secret, value));
                assert_eq!(subject(&key, &cookie).as_deref(), Some(value), "{algorithm:?}");
            }
        }
    }

    /// By RFC 4231 §4.3, whose key is shorter than a key may be here: padded with the zeros that an HMAC pads it with.
    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        let mut secret = b"Jefe".to_vec();
        secret.resize(32, 0);
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let key = key(Algorithm::HS256, &secret).unwrap();
        let verified = |value: &str| {
            let mac = URL_SAFE_NO_PAD.encode(&bytes);
            jsonwebtoken::crypto::verify(&mac, value.as_bytes(), key.key.expose(), key.algorithm).unwrap()
        };
        assert!(verified("what do ya want for nothing?") && !verified("what do ya want for nothing!"));
    }

    #[test]
    fn what_the_application_has_not_signed_is_refused() {
        let secret = [7; 64];
        let signed = |value: &str| format!("{value}.{}", mac(Algorithm::HS256, &secret, value));
        let own = key(Algorithm::HS256, &secret).unwrap();
        let good = signed("alice");
        let bytes = URL_SAFE_NO_PAD.decode(good.split_once('.').unwrap().1).unwrap();
        for cookie in [
            String::new(),
            ".".into(),
            "alice".into(),
            "alice.".into(),
            signed(""),
            good.replace("alice", "alicf"),
            good.replace("alice", "Alice"),
            format!("x{good}"),
            format!("{good}A"),
            format!("{good}."),
            good[..good.len() - 1].to_owned(),
            format!("alice.{}", URL_SAFE_NO_PAD.encode(&bytes[..31])),
            format!("alice.{}", URL_SAFE.encode(&bytes)),
            format!("alice.{}", mac(Algorithm::HS256, &[8; 64], "alice")),
            format!("alice.{}", mac(Algorithm::HS512, &secret, "alice")),
            format!("alice.{}", mac(Algorithm::HS384, &secret, "alice")),
            format!("alice.{}", mac(Algorithm::HS256, &secret, "alice.")),
            // What no cookie has (RFC 6265 §4.1.1).
            signed("al ice"),
            signed("al,ice"),
            signed("al\"ice"),
            signed("al\u{e9}ice"),
            signed(&"a".repeat(4_096)),
            // JWTs that are signed with the same secret, however long ago: {"alg":"HS256"}, {"alg":"none"}.
            signed("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6MX0"),
            signed("eyJhbGciOiJub25lIn0.e30"),
        ] {
            assert_eq!(subject(&own, &cookie), None, "{cookie}");
        }
        // The other alphabet of base64, of a MAC in which they differ.
        let value = (0..).map(|n: u32| n.to_string()).find(|value| signed(value).contains(['-', '_'])).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(signed(&value).split_once('.').unwrap().1).unwrap();
        assert!(subject(&own, &signed(&value)).is_some());
        assert_eq!(subject(&own, &format!("{value}.{}", STANDARD_NO_PAD.encode(bytes))), None);
        let other = key(Algorithm::HS512, &secret).unwrap();
        assert_eq!(subject(&other, &good), None);
        assert_eq!(own.claims(b"al\xffice.AAAA"), None);
    }

    #[test]
    fn nothing_of_the_secret_is_printed() {
        let key = key(Algorithm::HS256, b"an HMAC secret of more than 32 bytes").unwrap();
        assert_eq!(format!("{key:?}"), "CookieKey(HS256)");
    }
}
