//! The keys of a provider (RFC 7517), and the signature check.
//!
//! The arithmetic is jsonwebtoken's, over RustCrypto. Which key and which algorithm may meet is decided here: the
//! algorithm has to be on the provider's list *and* be one that the key is for, so a public key never serves as an HMAC
//! secret (RFC 8725 §3.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

use super::jws::Jws;
use crate::secret::Secret;

/// The most keys of one provider: issuers publish a handful, large ones some dozens. Bounds the signature checks that one token
/// without `kid` costs, the worst of which an address may ask for ten times before it is banned for a while.
pub const KEY_COUNT_MAX: usize = 64;

/// The shortest and longest RSA modulus, in bits: RFC 7518 §3.3 demands 2,048; beyond 4,096 the cost of a check, paid
/// by the worker, is the attacker's choice.
const RSA_BITS: core::ops::RangeInclusive<usize> = 2_048..=4_096;

/// Why keys cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyFault {
    /// Its members make no key: something is missing, or no point of its curve.
    Malformed,
    /// Not one key fits one of the algorithms.
    NoneUsable,
    /// It is for encryption, of a kind that there is no algorithm for, or for an algorithm that the provider does not list.
    OtherUse,
    /// An RSA modulus outside 2,048 to 4,096 bits.
    RsaLength,
    /// A secret shorter than the hash it keys (RFC 7518 §3.2), in bytes.
    SecretTooShort(usize),
    /// More keys than [`KEY_COUNT_MAX`].
    TooMany,
}

impl core::fmt::Display for KeyFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is no key"),
            Self::NoneUsable => f.write_str("no key is usable with the algorithms"),
            Self::OtherUse => f.write_str("it is for no signature of one of the algorithms"),
            Self::RsaLength => {
                write!(f, "an RSA key must have {} to {} bits", RSA_BITS.start(), RSA_BITS.end())
            }
            Self::SecretTooShort(len) => write!(f, "the secret must have at least {len} bytes (RFC 7518 §3.2)"),
            Self::TooMany => write!(f, "there are {KEY_COUNT_MAX} keys already"),
        }
    }
}

/// The keys of one provider and the algorithms they may be used with.
#[derive(Clone, Debug)]
pub struct Keys {
    algorithms: Vec<Algorithm>,
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    /// What this key alone may verify.
    algorithms: Vec<Algorithm>,
    key: Secret<DecodingKey>,
}

impl Keys {
    /// Public keys from the members of a JWK set, and those that were passed over, by index: one key that cannot be used must not take
    /// the others along (RFC 7517 §5).
    ///
    /// # Errors
    /// [`KeyFault::NoneUsable`] when no key is left.
    pub fn from_jwks(algorithms: Vec<Algorithm>, jwks: &[Value]) -> Result<(Self, PassedOver), KeyFault> {
        let mut keys = Vec::new();
        let mut passed_over = Vec::new();
        for (index, jwk) in jwks.iter().enumerate() {
            match Key::from_jwk(jwk, &algorithms) {
                Ok(key) if keys.len() < KEY_COUNT_MAX => keys.push(key),
                Ok(_) => passed_over.push((index, KeyFault::TooMany)),
                Err(fault) => passed_over.push((index, fault)),
            }
        }
        if keys.is_empty() { Err(KeyFault::NoneUsable) } else { Ok((Self { algorithms, keys }, passed_over)) }
    }

    /// A shared secret for HMAC algorithms.
    ///
    /// # Errors
    /// [`KeyFault::SecretTooShort`], [`KeyFault::NoneUsable`] when an algorithm is not an HMAC.
    pub fn from_secret(algorithms: Vec<Algorithm>, secret: &Secret<Vec<u8>>) -> Result<Self, KeyFault> {
        if algorithms.is_empty() || algorithms.iter().any(|algorithm| algorithm.family() != AlgorithmFamily::Hmac) {
            return Err(KeyFault::NoneUsable);
        }
        let len_min = algorithms.iter().map(|algorithm| hash_len(*algorithm)).max().unwrap_or_default();
        if secret.expose().len() < len_min {
            return Err(KeyFault::SecretTooShort(len_min));
        }
        let key = Secret::new(DecodingKey::from_secret(secret.expose()));
        Ok(Self { algorithms: algorithms.clone(), keys: vec![Key { id: None, algorithms, key }] })
    }

    /// Whether one of the keys made the signature.
    ///
    /// A token that names a key is checked with the keys of that name, and with those that have none.
    #[must_use]
    pub fn verify(&self, jws: &Jws<'_>) -> bool {
        let algorithm = jws.algorithm();
        self.algorithms.contains(&algorithm)
            && self
                .keys
                .iter()
                .filter(|key| key.algorithms.contains(&algorithm))
                .filter(|key| key.id.is_none() || jws.key_id().is_none() || key.id.as_deref() == jws.key_id())
                .any(|key| {
                    jsonwebtoken::crypto::verify(jws.signature(), jws.signed(), key.key.expose(), algorithm)
                        .unwrap_or(false)
                })
    }
}

/// The keys of a set that are not used: where in it they stand, and why not.
pub type PassedOver = Vec<(usize, KeyFault)>;

impl Key {
    /// The key, where it is for signatures and for one of `algorithms`.
    fn from_jwk(jwk: &Value, algorithms: &[Algorithm]) -> Result<Self, KeyFault> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        let needed = |name: &str| member(name).ok_or(KeyFault::Malformed);
        if member("use").is_some_and(|purpose| purpose != "sig") {
            return Err(KeyFault::OtherUse);
        }
        let (fitting, key): (&[Algorithm], _) = match (member("kty"), member("crv")) {
            (Some("RSA"), _) => {
                let (n, e) = (needed("n")?, needed("e")?);
                if !RSA_BITS.contains(&bits(n)) {
                    return Err(KeyFault::RsaLength);
                }
                (AlgorithmFamily::Rsa.algorithms(), DecodingKey::from_rsa_components(n, e))
            }
            (Some("EC"), Some(curve @ ("P-256" | "P-384"))) => {
                let algorithm = if curve == "P-256" { &[Algorithm::ES256] } else { &[Algorithm::ES384] };
                (algorithm, DecodingKey::from_ec_components(needed("x")?, needed("y")?))
            }
            (Some("OKP"), Some("Ed25519")) => (&[Algorithm::EdDSA], DecodingKey::from_ed_components(needed("x")?)),
            (Some(_), _) => return Err(KeyFault::OtherUse),
            (None, _) => return Err(KeyFault::Malformed),
        };
        let own = member("alg");
        let algorithms: Vec<Algorithm> = fitting
            .iter()
            .copied()
            .filter(|algorithm| algorithms.contains(algorithm))
            .filter(|algorithm| own.is_none_or(|own| own.parse() == Ok(*algorithm)))
            .collect();
        if algorithms.is_empty() {
            return Err(KeyFault::OtherUse);
        }
        let key = Secret::new(key.map_err(|_| KeyFault::Malformed)?);
        Ok(Self { id: member("kid").map(str::to_owned), algorithms, key })
    }
}

/// The length in bits of a number in base64url; 0 when it is none.
fn bits(number: &str) -> usize {
    let bytes = URL_SAFE_NO_PAD.decode(number).unwrap_or_default();
    let significant = bytes.iter().skip_while(|byte| **byte == 0);
    let leading = significant.clone().next().map_or(0, |byte| byte.leading_zeros());
    let leading = usize::try_from(leading).unwrap_or_default();
    significant.count().saturating_mul(8).saturating_sub(leading)
}

/// The output length in bytes of the hash of an HMAC algorithm.
fn hash_len(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 32,
    }
}
