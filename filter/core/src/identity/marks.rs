//! What a credential can be revoked by, as digests: a connection keeps them for as long as it lives, and a list has hundreds of thousands.
//!
//! Sixteen bytes of SHA-256 over a label and the text: nobody finds another text with the same ones, and the labels keep a session whose id
//! is a user's name from being that user.

use sha2::{Digest as _, Sha256};

use crate::token::Verified;
use crate::token::claims;

/// A digest; [`ABSENT`] is none.
pub type Digest = [u8; 16];

/// What is not there. No text has this digest.
pub const ABSENT: Digest = [0; 16];

/// What a text names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Name {
    /// An issuer (`iss`).
    Issuer,
    /// One token (`jti`).
    Token,
    /// A session of an issuer (`sid`).
    Session,
    /// A user (`sub`).
    Subject,
}

/// The digest of a text that names something.
#[must_use]
pub fn digest(name: Name, text: &str) -> Digest {
    let label = match name {
        Name::Issuer => b"iss\0",
        Name::Token => b"jti\0",
        Name::Session => b"sid\0",
        Name::Subject => b"sub\0",
    };
    let hash = Sha256::new_with_prefix(label).chain_update(text).finalize();
    hash.first_chunk().copied().unwrap_or(ABSENT)
}

/// What one credential can be revoked by: 64 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Marks {
    /// The issuer of its user and session: half a digest, as a policy trusts a handful of issuers.
    pub issuer: u64,
    /// The user.
    pub subject: Digest,
    /// The session.
    pub session: Digest,
    /// The token.
    pub token: Digest,
    /// When it was issued, in seconds since the epoch; 0 where it does not say.
    pub issued_at: u64,
}

impl Marks {
    /// Those of a credential. `issuer` is what the policy says of its provider, for one that does not say it itself.
    #[must_use]
    pub fn of(credential: &Verified, issuer: Option<&str>) -> Self {
        let text = |name| credential.claim(name).and_then(|claim| claim.as_str());
        let of = |name, text: Option<&str>| text.map_or(ABSENT, |text| digest(name, text));
        Self {
            issuer: issuer_number(text("iss").or(issuer).unwrap_or_default()),
            subject: of(Name::Subject, credential.subject()),
            session: of(Name::Session, text("sid")),
            token: of(Name::Token, text("jti")),
            issued_at: credential.claim("iat").and_then(claims::seconds).unwrap_or_default(),
        }
    }
}

/// What tells an issuer from others.
#[must_use]
pub fn issuer_number(issuer: &str) -> u64 {
    digest(Name::Issuer, issuer).first_chunk().map_or(0, |half| u64::from_le_bytes(*half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn marks(claims: &serde_json::Value) -> Marks {
        Marks::of(&Verified::forged(claims.as_object().unwrap().clone()), Some("https://idp/"))
    }

    #[test]
    fn a_credential_is_known_by_what_it_says() {
        let full = marks(&json!({"iss": "https://idp/", "sub": "alice", "sid": "s", "jti": "j", "iat": 17.9}));
        assert_eq!(full.subject, digest(Name::Subject, "alice"));
        assert_eq!(full.session, digest(Name::Session, "s"));
        assert_eq!(full.token, digest(Name::Token, "j"));
        assert_eq!(full.issued_at, 17);
        assert_eq!(full.issuer, issuer_number("https://idp/"));
        let little = marks(&json!({"sub": 7, "sid": null, "jti": 8, "iat": "17"}));
        assert_eq!(little.subject, digest(Name::Subject, "7"));
        assert_eq!((little.session, little.token, little.issued_at), (ABSENT, ABSENT, 0));
        assert_eq!(little.issuer, full.issuer);
        assert_ne!(marks(&json!({"iss": "https://other/"})).issuer, full.issuer);
    }

    #[test]
    fn one_text_is_another_mark_for_each_name() {
        let all = [Name::Issuer, Name::Token, Name::Session, Name::Subject].map(|name| digest(name, "alice"));
        assert!(all.iter().enumerate().all(|(index, own)| !all[..index].contains(own) && *own != ABSENT));
    }

    #[test]
    fn marks_are_small() {
        assert_eq!(size_of::<Marks>(), 64);
    }
}
