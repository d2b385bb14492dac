//! Tokens whose signature was good before, so that a reconnect costs a digest in place of the arithmetic.
//!
//! An entry stands in for the signature check alone: the keys to try are chosen from the providers of the policy at hand as ever, the
//! one that signed has to be among them, and the claims are checked again. A token of another policy, or of a key that is gone, is
//! therefore verified anew. What fails is not kept: whoever makes up tokens could push out the good ones.

use core::fmt;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::signatures::Signatures;
use super::{Fault, Provider, Signer, Verified, candidates, verify_signed};
use crate::time::Timestamp;
use crate::violation::Violation;

/// The number of sets, each of which a byte of the digest chooses.
const SET_COUNT: usize = 256;

/// The entries of one set: one of four is forgotten, the least recently used. In all 1,024 tokens, those of a busy worker's reconnects.
const SET_LEN_MAX: usize = 4;

/// The longest token that is kept: all of them together are at most 4 MiB of text.
const KEPT_LEN_MAX: usize = 4_096;

/// The tokens that one worker has verified of late.
pub struct VerifiedTokens {
    /// Each in the order of use, the latest last.
    sets: Vec<Vec<Entry>>,
    signatures: Signatures,
}

struct Entry {
    /// The SHA-256 digest of the whole token.
    digest: [u8; 32],
    signer: Signer,
    verified: Rc<Verified>,
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedTokens(…)")
    }
}

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self::new(Signatures::default())
    }
}

impl VerifiedTokens {
    /// None yet; what is not known is verified by `signatures`.
    #[must_use]
    pub fn new(signatures: Signatures) -> Self {
        Self { sets: (0..SET_COUNT).map(|_| Vec::new()).collect(), signatures }
    }

    /// Checks a compact token against the trusted providers, with the verdict of [`super::verify`].
    ///
    /// # Errors
    /// [`Fault::UnknownKey`] where a provider may have a new key, else what [`super::verify`] says.
    pub fn verify(&mut self, token: &[u8], providers: &[Provider], now: Timestamp) -> Result<Rc<Verified>, Fault> {
        let Self { sets, signatures } = self;
        let kept = if token.len() <= KEPT_LEN_MAX { set(sets, token) } else { None };
        let Some((digest, set)) = kept else {
            return Ok(Rc::new(verify_signed(token, providers, now, signatures)?.0));
        };
        if let Some(index) = set.iter().position(|entry| entry.digest == digest) {
            let entry = set.remove(index);
            if let Some(provider) = entry.provider(providers) {
                // What is over stays over; anything else may be right under the next policy.
                let verified = Rc::clone(&entry.verified);
                let checked = verified.check(&provider.rules, now);
                if !checked.as_ref().is_err_and(|refusal| refusal.violation == Violation::CredentialExpired) {
                    set.push(entry);
                }
                return Ok(checked.map(|_| verified)?);
            }
        }
        let (verified, signer) = verify_signed(token, providers, now, signatures)?;
        let verified = Rc::new(verified);
        if set.len() >= SET_LEN_MAX {
            set.remove(0);
        }
        set.push(Entry { digest, signer, verified: Rc::clone(&verified) });
        Ok(verified)
    }
}

/// The digest of `token`, and the set where it is if anywhere.
fn set<'s>(sets: &'s mut [Vec<Entry>], token: &[u8]) -> Option<([u8; 32], &'s mut Vec<Entry>)> {
    let digest: [u8; 32] = Sha256::digest(token).into();
    let set = sets.get_mut(usize::from(*digest.first()?))?;
    Some((digest, set))
}

impl Entry {
    /// The provider under which the token would be good again, by the key that signed it.
    fn provider<'p>(&self, providers: &'p [Provider]) -> Option<&'p Provider> {
        let Signer { algorithm, key_id, key } = &self.signer;
        let (provider, _) = candidates(providers, self.verified.claim("iss"), *algorithm, key_id.as_deref())
            .find(|(_, candidate)| candidate.digest().expose() == key.expose())?;
        (provider.name == self.verified.provider()).then_some(provider)
    }
}

#[cfg(test)]
mod tests;
