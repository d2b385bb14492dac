//! `portcullis keygen` and `portcullis token`: keys and tokens to try a policy with.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::ValueEnum;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Map, Value, json};

/// The least that the filter takes.
const RSA_BITS: usize = 2_048;

/// What a key is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    /// A key pair of RSA with 2,048 bits.
    Rs256,
    /// An ECDSA key pair over P-256.
    Es256,
    /// A key pair of Ed25519.
    Eddsa,
    /// A secret that a provider shares with the filter.
    Hs256,
    /// A secret that tickets are sealed with.
    Ticket,
}

/// A key pair.
pub(crate) struct Pair {
    /// PKCS #8, in PEM.
    pub(crate) private: String,
    /// The JWK Set with the public key.
    pub(crate) jwks: Value,
}

/// A new secret of 256 random bits, as text: a variable of the environment is taken as it is written.
pub(crate) fn secret() -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::getrandom(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A new key pair; `None` for a kind that is a secret.
pub(crate) fn pair(kind: Kind, kid: &str) -> Result<Option<Pair>, String> {
    let algorithm = match kind {
        Kind::Rs256 => return rsa_pair(kid).map(Some),
        Kind::Es256 => &PKCS_ECDSA_P256_SHA256,
        Kind::Eddsa => &PKCS_ED25519,
        Kind::Hs256 | Kind::Ticket => return Ok(None),
    };
    let pair = KeyPair::generate_for(algorithm).map_err(|error| error.to_string())?;
    let public = pair.der_bytes();
    let jwk = match kind {
        // An uncompressed point (SEC 1 §2.3.3): 0x04, x, y.
        Kind::Es256 => {
            let (x, y) = public.get(1..).and_then(|point| point.split_at_checked(32)).ok_or("no point")?;
            let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256", "use": "sig", "kid": kid})
        }
        _ => {
            let x = URL_SAFE_NO_PAD.encode(public);
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA", "use": "sig", "kid": kid})
        }
    };
    Ok(Some(Pair { private: pair.serialize_pem(), jwks: json!({"keys": [jwk]}) }))
}

fn rsa_pair(kid: &str) -> Result<Pair, String> {
    let private = RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(|error| error.to_string())?;
    let [n, e] = [private.n(), private.e()].map(|number| URL_SAFE_NO_PAD.encode(number.to_bytes_be()));
    let jwk = json!({"kty": "RSA", "n": n, "e": e, "alg": "RS256", "use": "sig", "kid": kid});
    let private = private.to_pkcs8_pem(LineEnding::LF).map_err(|error| error.to_string())?;
    Ok(Pair { private: private.to_string(), jwks: json!({"keys": [jwk]}) })
}

/// Writes a private key into a new file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// What a token is signed with.
pub(crate) enum Signer<'a> {
    /// A private key in PEM: of RSA, P-256 or Ed25519.
    Pem(&'a str),
    /// A secret.
    Secret(&'a str),
}

/// A signed token. `iat` and `exp` are added where the claims have none; `now` in seconds of Unix time, and how many seconds it is good: fewer
/// than none, if it has expired.
pub(crate) fn token(
    signer: &Signer<'_>,
    kid: Option<&str>,
    mut claims: Map<String, Value>,
    (now, lifetime): (u64, i64),
) -> Result<String, String> {
    let (algorithm, key) = match signer {
        Signer::Secret(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes())),
        Signer::Pem(text) => {
            let ec = EncodingKey::from_ec_pem(text.as_bytes()).map(|key| (Algorithm::ES256, key));
            let key = ec.or_else(|_| EncodingKey::from_ed_pem(text.as_bytes()).map(|key| (Algorithm::EdDSA, key)));
            let key = key.or_else(|_| EncodingKey::from_rsa_pem(text.as_bytes()).map(|key| (Algorithm::RS256, key)));
            key.map_err(|_| "not a private key of RSA, P-256 or Ed25519 in PEM (PKCS #8)".to_owned())?
        }
    };
    let end = now.saturating_add_signed(lifetime);
    claims.entry("iat").or_insert_with(|| now.min(end).into());
    claims.entry("exp").or_insert_with(|| end.into());
    let mut header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    let [header, claims] = [header, Value::Object(claims)].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let signature = crypto::sign(message.as_bytes(), &key, algorithm);
    let signature = signature.map_err(|_| "this key cannot sign".to_owned())?;
    Ok(format!("{message}.{signature}"))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::DecodingKey;
    use portcullis_core::config;

    use super::*;

    const HOUR: (u64, i64) = (1_700_000_000, 3_600);

    #[track_caller]
    fn check(token: &str, algorithm: Algorithm, key: &DecodingKey) {
        let (message, signature) = token.rsplit_once('.').unwrap();
        assert!(crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap());
        let (header, claims) = message.split_once('.').unwrap();
        let [header, claims] = [header, claims]
            .map(|part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap());
        assert_eq!(header["alg"], format!("{algorithm:?}"));
        assert_eq!(
            (&claims["sub"], &claims["iat"], &claims["exp"]),
            (&"a".into(), &HOUR.0.into(), &(HOUR.0 + 3_600).into())
        );
    }

    fn claims() -> Map<String, Value> {
        [("sub".to_owned(), "a".into())].into_iter().collect()
    }

    #[test]
    fn what_a_new_key_signs_is_good_by_the_policy_that_has_it() {
        let kinds = [(Kind::Rs256, Algorithm::RS256), (Kind::Es256, Algorithm::ES256), (Kind::Eddsa, Algorithm::EdDSA)];
        for (kind, algorithm) in kinds {
            let pair = pair(kind, "k1").unwrap().unwrap();
            let token = token(&Signer::Pem(&pair.private), Some("k1"), claims(), HOUR).unwrap();
            let jwk = serde_json::from_value(pair.jwks["keys"][0].clone()).unwrap();
            check(&token, algorithm, &DecodingKey::from_jwk(&jwk).unwrap());
            let provider = json!({
                "name": "a", "issuer": "i", "audiences": ["x"], "algorithms": [format!("{algorithm:?}")], "jwks": {"inline": pair.jwks},
            });
            let parsed = config::parse(json!({"auth": {"providers": [provider]}}).to_string().as_bytes(), &|_| None);
            assert_eq!(parsed.unwrap().warnings, [], "the key is not passed over");
        }
    }

    #[test]
    fn a_secret_is_long_enough_for_tokens_and_tickets_and_never_the_same() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert_ne!(one, other);
        let token = token(&Signer::Secret(&one), None, claims(), HOUR).unwrap();
        check(&token, Algorithm::HS256, &DecodingKey::from_secret(one.as_bytes()));
        let policy = json!({"auth": {
            "cookie": {"name": "sid", "hmac": {"algorithm": "HS256", "secret": {"env": "A"}}},
            "tickets": {"path": "/t", "keys": [{"env": "A"}, {"env": "B"}]},
        }});
        let variable = |name: &str| Some(if name == "A" { one.clone() } else { other.clone() });
        assert!(config::parse(policy.to_string().as_bytes(), &variable).is_ok());
    }

    #[test]
    fn a_token_keeps_the_times_that_its_claims_say() {
        let claims: Map<String, Value> = [("exp".to_owned(), 5.into())].into_iter().collect();
        let token = token(&Signer::Secret("s"), None, claims, HOUR).unwrap();
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap()["exp"], 5);
    }

    #[test]
    fn a_token_that_has_expired_was_issued_before() {
        let token = token(&Signer::Secret("s"), None, claims(), (HOUR.0, -120)).unwrap();
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&payload["iat"], &payload["exp"]), (&(HOUR.0 - 120).into(), &(HOUR.0 - 120).into()));
    }

    #[test]
    fn a_private_key_is_never_written_over() {
        let path = std::env::temp_dir().join(format!("portcullis-key-{}", std::process::id()));
        write_private(&path, "a").unwrap();
        assert!(write_private(&path, "b").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a");
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o777,
            0o600
        );
        std::fs::remove_file(&path).unwrap();
    }
}
