//! The signature checks of one worker: by the host, where it has its own and they are the same, and else by our own arithmetic.
//!
//! Envoy's `verify_signature` is BoringSSL, which takes a hundredth of the time that a module takes: of RSA it knows PKCS #1 v1.5, of ECDSA
//! signatures in DER. A host without it is asked once. A host that has it is trusted as it is for clocks and headers; what is no signature
//! for its length alone is refused before.
//!
//! ```text
//! VerifySignatureArguments { string hash_function = 1, bytes public_key = 2, bytes signature = 3, bytes text = 4 }
//! VerifySignatureResult    { bool result = 1, string error = 2 }        an error wherever the result is false
//! ```

use core::cell::RefCell;
use core::fmt;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;

use super::jws::Jws;
use super::keys::Key;
use crate::port::Port;
use crate::protobuf::{Field, field, push_bytes};

/// What verifies.
#[derive(Default)]
pub struct Signatures {
    /// The host, unless it is known to have no checks of its own.
    host: RefCell<Option<Rc<dyn Port>>>,
}

impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signatures").field("has_host", &self.host.borrow().is_some()).finish()
    }
}

impl Signatures {
    /// The checks of this host, and where it has none our own; the default has only these.
    #[must_use]
    pub fn of(host: Rc<dyn Port>) -> Self {
        Self { host: RefCell::new(Some(host)) }
    }

    /// Whether `key` made the signature.
    pub(super) fn verify(&self, key: &Key, jws: &Jws<'_>) -> bool {
        self.ask(key, jws).unwrap_or_else(|| key.verify(jws))
    }

    /// What the host says; `None` where it has nothing to say.
    fn ask(&self, key: &Key, jws: &Jws<'_>) -> Option<bool> {
        let host = self.host.borrow().clone()?;
        let (public_key, hash) = (key.public()?, hash(jws.algorithm())?);
        let Some(signature) = URL_SAFE_NO_PAD.decode(jws.signature()).ok().and_then(|bytes| public_key.wrap(bytes))
        else {
            return Some(false);
        };
        let mut arguments = Vec::new();
        for (number, bytes) in [(1, hash.as_bytes()), (2, public_key.der()), (3, &signature), (4, jws.signed())] {
            push_bytes(&mut arguments, number, bytes);
        }
        let verdict = host.verify_signature(&arguments).ok().and_then(|answer| read(&answer));
        if verdict.is_none() {
            self.host.take();
        }
        verdict
    }
}

/// For tests of whether the two agree.
#[cfg(any(test, feature = "testing"))]
impl Signatures {
    /// What our own arithmetic and the host's say of the bytes of a signature; `None` where none of `keys` is for the algorithm, or the host
    /// has nothing to say.
    #[must_use]
    pub fn compare(
        &self,
        keys: &super::keys::Keys,
        algorithm: Algorithm,
        text: &[u8],
        signature: &[u8],
    ) -> Option<(bool, Option<bool>)> {
        let key = keys.unnamed(algorithm, None).next()?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let jws = Jws::forged(algorithm, text, &signature);
        Some((key.verify(&jws), self.ask(key, &jws)))
    }
}

/// Envoy's name of the hash of an algorithm that it verifies.
const fn hash(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::RS256 | Algorithm::ES256 => Some("sha256"),
        Algorithm::RS384 | Algorithm::ES384 => Some("sha384"),
        Algorithm::RS512 => Some("sha512"),
        _ => None,
    }
}

/// The verdict of a `VerifySignatureResult`; `None` for what is none, or contradicts itself.
fn read(mut message: &[u8]) -> Option<bool> {
    let (mut is_good, mut has_error) = (false, false);
    while !message.is_empty() {
        match field(&mut message)? {
            (1, Field::Varint(result @ (0 | 1))) => is_good = result == 1,
            (2, Field::Bytes(error)) => has_error = !error.is_empty(),
            _ => return None,
        }
    }
    (is_good != has_error).then_some(is_good)
}

#[cfg(test)]
mod tests;
