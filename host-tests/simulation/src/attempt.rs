//! What clients ask for, and what of it has to be refused whatever others have.

use portcullis_core::testing::{NOW, upgrade};
use portcullis_core::time::Timestamp;
use portcullis_core::violation::Violation;

use crate::dice::Dice;
use crate::identity::{KeyIds, SKEW, Signer, token};
use crate::policy::Terms;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) is_upgrade: bool,
    pub(crate) address: &'static str,
    origin: Option<&'static str>,
    pub(crate) credential: Option<Credential>,
    is_misshapen: bool,
}

/// A token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Credential {
    pub(crate) signer: Signer,
    pub(crate) subject: &'static str,
    /// When it ends, in seconds of the calendar.
    exp: u64,
}

const ADDRESSES: [&str; 4] = ["192.0.2.1:1000", "192.0.2.2:1000", "[2001:db8::1]:1000", "[2001:db8:0:1::1]:1000"];
const HOME: &str = "https://chat.example.com";
const OTHER: &str = "https://other.example.com";

/// The end of a token that outlives everything.
const NEVER: u64 = NOW + 86_400;

/// How long before its request a stale token ended, in seconds.
const STALE: u64 = 10_000;

impl Credential {
    pub(crate) fn ends_at(&self) -> Timestamp {
        Timestamp::from_secs(self.exp)
    }
}

impl Attempt {
    /// One at this time of the calendar; `identity` decides who signs, and for how long.
    pub(crate) fn new(dice: &Dice, identity: &Dice, terms: &Terms, date: Timestamp) -> Self {
        let own = match terms.is_published {
            true => Signer::Key(identity.pick(&[1, 1, 1, 2])),
            false => Signer::Secret,
        };
        let signer = if identity.one_in(20) { identity.pick(&[Signer::Secret, Signer::Key(1)]) } else { own };
        let exp = if identity.one_in(4) { date.as_secs() + identity.pick(&[0, 1, 2, 4, 8]) } else { NEVER };
        Self {
            is_upgrade: !dice.one_in(10),
            address: dice.pick(&ADDRESSES),
            origin: dice.pick(&[Some(HOME), Some(HOME), Some(OTHER), Some(OTHER), Some("https://evil.example"), None]),
            credential: match dice.below(10) {
                0 => Some(Credential { signer: Signer::Forger { is_key: terms.is_published }, subject: "alice", exp }),
                1 => None,
                2 => Some(Credential { signer, subject: "alice", exp: date.as_secs() - STALE }),
                number => Some(Credential { signer, subject: if number < 7 { "alice" } else { "bob" }, exp }),
            },
            is_misshapen: dice.one_in(16),
        }
    }

    pub(crate) const fn good(address: usize, terms: &Terms) -> Self {
        let signer = if terms.is_published { Signer::Key(1) } else { Signer::Secret };
        Self {
            is_upgrade: true,
            address: ADDRESSES[address],
            origin: Some(OTHER),
            credential: Some(Credential { signer, subject: "alice", exp: NEVER }),
            is_misshapen: false,
        }
    }

    pub(crate) fn fields(&self) -> Vec<(String, Vec<u8>)> {
        let mut fields: Vec<(String, Vec<u8>)> =
            upgrade().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        if !self.is_upgrade {
            fields.retain(|(name, _)| name.starts_with(':'));
        }
        if self.is_misshapen {
            fields.retain(|(name, _)| name != "sec-websocket-key");
        }
        fields.extend(self.origin.map(|origin| ("origin".to_owned(), origin.into())));
        if let Some(Credential { signer, subject, exp }) = self.credential {
            let token = format!("Bearer {}", token(signer, subject, exp));
            fields.push(("authorization".to_owned(), token.into_bytes()));
        }
        fields
    }

    /// Whether no token of its signer is good.
    pub(crate) fn is_forged(&self, terms: &Terms) -> bool {
        self.credential.is_some_and(|credential| match credential.signer {
            Signer::Secret => terms.is_published,
            Signer::Key(_) => !terms.is_published,
            Signer::Forger { .. } => true,
        })
    }

    /// What it has to be refused for whatever others have, at a time of the calendar, where these keys are known.
    pub(crate) fn flaw(&self, terms: &Terms, date: Timestamp, known: Option<&KeyIds>) -> Option<Violation> {
        if self.is_misshapen {
            return Some(Violation::BadUpgrade);
        }
        let is_welcome = match self.origin {
            Some(origin) => origin.len() == OTHER.len() || (origin.len() == HOME.len() && !terms.is_elsewhere),
            None => false,
        };
        if !is_welcome {
            return Some(Violation::OriginRefused);
        }
        let Some(Credential { signer, exp, .. }) = self.credential else {
            return terms.needs_credential.then_some(Violation::CredentialMissing);
        };
        let is_signed = match (signer, terms.is_published, known) {
            (Signer::Key(_) | Signer::Forger { is_key: true }, true, None) => return Some(Violation::Internal),
            (Signer::Key(id), true, Some(known)) => known.contains(&id),
            (Signer::Secret, false, _) => true,
            (Signer::Secret | Signer::Key(_) | Signer::Forger { .. }, _, _) => false,
        };
        if !is_signed {
            return Some(Violation::CredentialInvalid);
        }
        (date >= Timestamp::from_secs(exp + SKEW)).then_some(Violation::CredentialExpired)
    }
}
