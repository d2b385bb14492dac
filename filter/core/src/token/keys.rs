//! The keys of a provider (RFC 7517), and the signature check.
//!
//! The arithmetic is jsonwebtoken's, over RustCrypto, or the host's ([`super::signatures`]). Which key and which algorithm may meet is decided here: the
//! algorithm has to be on the provider's list *and* be one that the key is for, so a public key never serves as an HMAC
//! secret (RFC 8725 §3.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::der;
use super::jws::Jws;
use crate::secret::Secret;

/// The most keys of one provider: issuers publish a handful, large ones some dozens.
pub const KEY_COUNT_MAX: usize = 64;

/// The most keys that one token is tried with, over all providers. A check costs a worker up to some milliseconds, and a
/// token that names no key would otherwise cost one for each key there is. Four are two providers in the midst of a rotation.
pub const KEYS_TRIED_MAX: usize = 4;

/// The shortest and longest RSA modulus, in bits: RFC 7518 §3.3 demands 2,048; beyond 4,096 the cost of a check, paid
/// by the worker, is the attacker's choice.
const RSA_BITS: core::ops::RangeInclusive<usize> = 2_048..=4_096;

/// The length of a public key of Ed25519 (RFC 8032 §5.1.5).
const ED25519_LEN: usize = 32;

/// Why keys cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyFault {
    /// Its members make no key: something is missing, is no number of one, or no point of its curve.
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

/// One key, and what it may verify.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: Option<String>,
    /// What this key alone may verify.
    algorithms: Vec<Algorithm>,
    key: Secret<DecodingKey>,
    digest: Secret<KeyDigest>,
    /// The key as others take it, where it is one for RSA or ECDSA.
    public: Option<PublicKey>,
}

/// A public key in the form that other libraries read.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    /// Its `SubjectPublicKeyInfo`.
    der: Vec<u8>,
    /// How long its signatures are in a token, in bytes.
    signature_len: usize,
    is_rsa: bool,
}

/// What tells a key from others, however often its set is read: the SHA-256 digest of what it is made of.
pub(super) type KeyDigest = [u8; 32];

impl PublicKey {
    /// The key, in DER.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// A signature of a token (RFC 7518 §3.3, §3.4) as others write it; `None` for what is none for its length.
    pub(super) fn wrap(&self, signature: Vec<u8>) -> Option<Vec<u8>> {
        if signature.len() != self.signature_len {
            return None;
        }
        if self.is_rsa {
            return Some(signature);
        }
        let (r, s) = signature.split_at_checked(signature.len() / 2)?;
        Some(der::ecdsa_signature(r, s))
    }

    /// That of these numbers, which are base64url; `None` where they make no key.
    fn rsa(modulus: &str, exponent: &str) -> Option<Self> {
        let [modulus, exponent] = [modulus, exponent].map(|number| URL_SAFE_NO_PAD.decode(number));
        let (modulus, exponent) = (modulus.ok()?, exponent.ok()?);
        let (modulus, exponent) = (der::significant(&modulus), der::significant(&exponent));
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        let is_short = matches!(exponent, [] | [_] | [_, _] | [_, _, _] | [_, _, _, _] | [1, _, _, _, _]);
        let is_key = is_odd(modulus) && is_odd(exponent) && is_short && exponent != [1];
        is_key.then(|| Self { der: der::rsa_key(modulus, exponent), signature_len: modulus.len(), is_rsa: true })
    }

    /// That of this point, which is base64url.
    fn ec(curve: &str, x: &str, y: &str) -> Option<Self> {
        let (algorithm, len): (_, usize) = if curve == "P-256" { (der::P256, 32) } else { (der::P384, 48) };
        let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.decode(number));
        let (x, y) = (x.ok()?, y.ok()?);
        // Uncompressed (SEC 1 §2.3.3); coordinates have the length of the field (RFC 7518 §6.2.1.2).
        let point = [&[0x04], &*x, &*y].concat();
        let is_key = x.len() == len && y.len() == len;
        let signature_len = len.saturating_mul(2);
        is_key.then(|| Self { der: der::ec_key(algorithm, &point), signature_len, is_rsa: false })
    }
}

/// The kind of a key and its parts, each behind its length so that no two lists have the same digest.
fn digest(parts: &[&[u8]]) -> Secret<KeyDigest> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    Secret::new(hash.finalize().into())
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
        let digest = digest(&[b"oct", secret.expose()]);
        Ok(Self { algorithms: algorithms.clone(), keys: vec![Key { id: None, algorithms, key, digest, public: None }] })
    }

    /// Those of a provider that publishes its keys, before they are known.
    #[must_use]
    pub const fn unknown(algorithms: Vec<Algorithm>) -> Self {
        Self { algorithms, keys: Vec::new() }
    }

    /// Whether the provider signs with `algorithm`.
    pub(super) fn lists(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// The keys for `algorithm` whose id is `id`.
    pub(super) fn named<'k, 't>(
        &'k self,
        algorithm: Algorithm,
        id: Option<&'t str>,
    ) -> impl Iterator<Item = &'k Key> + use<'k, 't> {
        self.fitting(algorithm).filter(move |key| id.is_some() && key.id.as_deref() == id)
    }

    /// The keys for `algorithm` of which the token does not say whether they are meant: either of the two has no id.
    pub(super) fn unnamed<'k, 't>(
        &'k self,
        algorithm: Algorithm,
        id: Option<&'t str>,
    ) -> impl Iterator<Item = &'k Key> + use<'k, 't> {
        self.fitting(algorithm).filter(move |key| id.is_none() || key.id.is_none())
    }

    fn fitting(&self, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| self.lists(algorithm) && key.algorithms.contains(&algorithm))
    }
}

/// The keys of a set that are not used: where in it they stand, and why not.
pub type PassedOver = Vec<(usize, KeyFault)>;

impl Key {
    /// Whether it made the signature, by our own arithmetic.
    pub(super) fn verify(&self, jws: &Jws<'_>) -> bool {
        jsonwebtoken::crypto::verify(jws.signature(), jws.signed(), self.key.expose(), jws.algorithm()).unwrap_or(false)
    }

    /// The key as others take it, where it is one for RSA or ECDSA.
    pub(super) const fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    /// What tells it from others.
    pub(super) const fn digest(&self) -> &Secret<KeyDigest> {
        &self.digest
    }

    /// The key, where it is for signatures and for one of `algorithms`.
    fn from_jwk(jwk: &Value, algorithms: &[Algorithm]) -> Result<Self, KeyFault> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        let needed = |name: &str| member(name).ok_or(KeyFault::Malformed);
        if member("use").is_some_and(|purpose| purpose != "sig") {
            return Err(KeyFault::OtherUse);
        }
        let malformed = KeyFault::Malformed;
        let (fitting, key, public): (&[Algorithm], _, _) = match (member("kty"), member("crv")) {
            (Some("RSA"), _) => {
                let (n, e) = (needed("n")?, needed("e")?);
                if !RSA_BITS.contains(&bits(n)) {
                    return Err(KeyFault::RsaLength);
                }
                let public = PublicKey::rsa(n, e).ok_or(malformed)?;
                (AlgorithmFamily::Rsa.algorithms(), DecodingKey::from_rsa_components(n, e), Some(public))
            }
            (Some("EC"), Some(curve @ ("P-256" | "P-384"))) => {
                let algorithm = if curve == "P-256" { &[Algorithm::ES256] } else { &[Algorithm::ES384] };
                let (x, y) = (needed("x")?, needed("y")?);
                let public = PublicKey::ec(curve, x, y).ok_or(malformed)?;
                (algorithm, DecodingKey::from_ec_components(x, y), Some(public))
            }
            (Some("OKP"), Some("Ed25519")) => {
                let x = needed("x")?;
                // jsonwebtoken would panic for one that is shorter, and cut off what is longer.
                if URL_SAFE_NO_PAD.decode(x).map_or(0, |x| x.len()) != ED25519_LEN {
                    return Err(malformed);
                }
                (&[Algorithm::EdDSA], DecodingKey::from_ed_components(x), None)
            }
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
        let key = key.map_err(|_| malformed)?;
        // Of a signature it only says that it is none, but of a point that is on no curve that it is no key.
        if algorithms.iter().any(|algorithm| jsonwebtoken::crypto::verify("", b"", &key, *algorithm).is_err()) {
            return Err(malformed);
        }
        let digest =
            digest(&["kty", "crv", "n", "e", "x", "y"].map(|name| member(name).unwrap_or_default().as_bytes()));
        let id = member("kid").map(str::to_owned);
        Ok(Self { id, algorithms, key: Secret::new(key), digest, public })
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
#[must_use]
pub const fn hash_len(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 32,
    }
}
