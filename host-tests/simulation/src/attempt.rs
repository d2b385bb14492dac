//! What clients ask for, and what of it has to be refused whatever others have.

use portcullis_core::testing::upgrade;
use portcullis_core::violation::Violation;

use crate::dice::Dice;
use crate::policy::Terms;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) is_upgrade: bool,
    pub(crate) address: &'static str,
    origin: Option<&'static str>,
    pub(crate) credential: Credential,
    is_misshapen: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Credential {
    Forged,
    Missing,
    Of(&'static str),
    Stale,
}

const ADDRESSES: [&str; 4] = ["192.0.2.1:1000", "192.0.2.2:1000", "[2001:db8::1]:1000", "[2001:db8:0:1::1]:1000"];
const HOME: &str = "https://chat.example.com";
const OTHER: &str = "https://other.example.com";

/// What the tokens have in common: their header, and their signatures are by HMAC-SHA-256 with the secret of the policies.
const TOKEN_HEAD: &str =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbS8iLCJhdWQiOiJjaGF0Iiwic3ViIjoi";
const ALICE: &str = "YWxpY2UiLCJleHAiOjE4MDAwODY0MDB9.6ZSEWFPk8qa2LYUoq9aQ2YmJKiWMmUjEHklIOflkHbs";
const BOB: &str = "Ym9iIiwiZXhwIjoxODAwMDg2NDAwfQ.04F6Y0aWcnNXSXnDTe9HsUKezmbXyOBx8q8Kn4jCbag";
const STALE: &str = "YWxpY2UiLCJleHAiOjE3OTk5OTAwMDB9.Yb_9PUw9F4Reo94AatA3UPnftjb7ha_TZ8UxAx3qWl4";
const FORGED: &str = "YWxpY2UiLCJleHAiOjE4MDAwODY0MDB9.jAND-FnA2YJDW_9h2AC82HLyZpN2hvESALEA8rb7FWg";

impl Attempt {
    pub(crate) fn new(dice: &Dice) -> Self {
        Self {
            is_upgrade: !dice.one_in(10),
            address: dice.pick(&ADDRESSES),
            origin: dice.pick(&[Some(HOME), Some(HOME), Some(OTHER), Some(OTHER), Some("https://evil.example"), None]),
            credential: match dice.below(10) {
                0 => Credential::Forged,
                1 => Credential::Missing,
                2 => Credential::Stale,
                number => Credential::Of(if number < 7 { "alice" } else { "bob" }),
            },
            is_misshapen: dice.one_in(16),
        }
    }

    pub(crate) const fn good(address: usize) -> Self {
        Self {
            is_upgrade: true,
            address: ADDRESSES[address],
            origin: Some(OTHER),
            credential: Credential::Of("alice"),
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
        let end = match self.credential {
            Credential::Forged => FORGED,
            Credential::Missing => return fields,
            Credential::Of("alice") => ALICE,
            Credential::Of(_) => BOB,
            Credential::Stale => STALE,
        };
        let token = format!("Bearer {TOKEN_HEAD}{end}");
        fields.push(("authorization".to_owned(), token.into_bytes()));
        fields
    }

    /// What it has to be refused for, whatever others have.
    pub(crate) const fn flaw(&self, terms: &Terms) -> Option<Violation> {
        if self.is_misshapen {
            return Some(Violation::BadUpgrade);
        }
        let is_welcome = match self.origin {
            Some(origin) => origin.len() == OTHER.len() || (origin.len() == HOME.len() && !terms.is_elsewhere),
            None => false,
        };
        match self.credential {
            _ if !is_welcome => Some(Violation::OriginRefused),
            Credential::Forged => Some(Violation::CredentialInvalid),
            Credential::Missing if terms.needs_credential => Some(Violation::CredentialMissing),
            Credential::Stale => Some(Violation::CredentialExpired),
            Credential::Missing | Credential::Of(_) => None,
        }
    }
}
