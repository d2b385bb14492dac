//! The compact form of a signed token (RFC 7515 §3.1, §7.1): `header.payload.signature`, each base64url.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::json;
use crate::refusal::{Detail, Refusal};

/// The longest token that is looked at, checked before anything is decoded. Envoy's own limit for all headers together
/// is 60 KiB; tokens with many groups reach 4 KiB.
pub const TOKEN_LEN_MAX: usize = 16_384;

/// The longest `kid` that is compared.
const KEY_ID_LEN_MAX: usize = 256;

/// Header parameters that would have us fetch or take a key from the token, or change what is signed
/// (RFC 8725 §3.10, RFC 7515 §4.1.11, RFC 7797).
const REFUSED_PARAMETERS: [&str; 6] = ["b64", "crit", "jku", "jwk", "x5c", "x5u"];

/// A well-formed token, not verified yet.
pub struct Jws<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    signed: &'a [u8],
    signature: &'a str,
    claims: Map<String, Value>,
    text: Vec<u8>,
}

impl core::fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Jws({:?}, {} bytes signed)", self.algorithm, self.signed.len())
    }
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`Violation::CredentialInvalid`](crate::violation::Violation::CredentialInvalid) when it is too long, has not three parts of canonical base64url, when header or
    /// payload are no JSON object with unique names, or when the header asks for anything but one of the signature
    /// algorithms that exist here (`none` is not one).
    pub fn parse(token: &'a [u8]) -> Result<Self, Refusal> {
        Self::parts(token, is_token_type).ok_or_else(|| Refusal::invalid(Detail::Format))
    }

    /// Likewise, a logout token.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub fn parse_logout(token: &'a [u8]) -> Result<Self, Refusal> {
        Self::parts(token, is_logout_type).ok_or_else(|| Refusal::invalid(Detail::Format))
    }

    fn parts(token: &'a [u8], is_type: fn(&str) -> bool) -> Option<Self> {
        if token.len() > TOKEN_LEN_MAX {
            return None;
        }
        let token = str::from_utf8(token).ok()?;
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let (header, _) = object(header)?;
        if REFUSED_PARAMETERS.iter().any(|name| header.contains_key(*name)) || !has_type(header.get("typ"), is_type) {
            return None;
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_LEN_MAX => Some(id.clone()),
            Some(_) => return None,
        };
        // Exact, case-sensitive names only (RFC 7515 §4.1.1): "None" and "nOnE" parse no better than "none".
        let algorithm = header.get("alg")?.as_str()?.parse().ok()?;
        let (claims, text) = object(payload)?;
        Some(Self { algorithm, key_id, signed: signed.as_bytes(), signature, claims, text })
    }

    /// One of which nothing is known but its signature, in base64url, and what that signs.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn forged(algorithm: Algorithm, signed: &'a [u8], signature: &'a str) -> Self {
        Self { algorithm, key_id: None, signed, signature, claims: Map::new(), text: Vec::new() }
    }

    /// The algorithm that the header names.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The id of the key that the header names.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The bytes that are signed: header and payload as they came.
    #[must_use]
    pub const fn signed(&self) -> &[u8] {
        self.signed
    }

    /// The signature, still in base64url.
    #[must_use]
    pub const fn signature(&self) -> &str {
        self.signature
    }

    /// The claims, not verified yet.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The claims alone, and their text.
    #[must_use]
    pub fn into_claims(self) -> (Map<String, Value>, Vec<u8>) {
        (self.claims, self.text)
    }
}

/// A part of the token as JSON object, and its text. The engine refuses padding and stray bits in the last character.
fn object(part: &str) -> Option<(Map<String, Value>, Vec<u8>)> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    match json::parse(&bytes).ok()? {
        Value::Object(members) => Some((members, bytes)),
        _ => None,
    }
}

/// Explicit typing (RFC 8725 §3.11), which issuers may leave out.
fn has_type(typ: Option<&Value>, is_type: fn(&str) -> bool) -> bool {
    match typ {
        None => true,
        Some(Value::String(typ)) => {
            let typ = typ.to_ascii_lowercase();
            is_type(typ.strip_prefix("application/").unwrap_or(&typ))
        }
        Some(_) => false,
    }
}

/// A token made for another purpose (`logout+jwt`, `dpop+jwt`) is no credential.
fn is_token_type(typ: &str) -> bool {
    matches!(typ, "jwt" | "at+jwt")
}

/// "It is RECOMMENDED that the Logout Token be explicitly typed" (OpenID Connect Back-Channel Logout 1.0 §2.4): older providers write `JWT`.
fn is_logout_type(typ: &str) -> bool {
    matches!(typ, "jwt" | "logout+jwt")
}
