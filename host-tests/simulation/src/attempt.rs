//! What clients ask for, and what of it has to be refused whatever others have.

use portcullis_core::testing::{NOW, upgrade};
use portcullis_core::time::Timestamp;
use portcullis_core::violation::Violation;

use crate::dice::Dice;
use crate::identity::{KeyIds, LOGOUT_PATH, SKEW, Signer, TICKET_PATH, token};
use crate::policy::Terms;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) is_upgrade: bool,
    /// What it asks of the filter itself.
    pub(crate) errand: Option<Errand>,
    /// It comes with a ticket.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) address: &'static str,
    origin: Option<&'static str>,
    pub(crate) credential: Option<Credential>,
    is_misshapen: bool,
}

/// What the filter answers itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Errand {
    /// A ticket is asked for.
    Ticket,
    /// A session is said to have ended.
    Logout(u8),
}

/// A ticket that was issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// Its number among all.
    pub(crate) number: usize,
    /// Whether it comes from where it was issued to.
    is_at_home: bool,
    ends_at: Timestamp,
}

/// A token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Credential {
    pub(crate) signer: Signer,
    pub(crate) subject: &'static str,
    pub(crate) session: u8,
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
        let session = identity.pick(&[1, 2, 3, 4, 5, 6]);
        let attempt = Self {
            is_upgrade: !dice.one_in(10),
            errand: None,
            ticket: None,
            address: dice.pick(&ADDRESSES),
            origin: dice.pick(&[Some(HOME), Some(HOME), Some(OTHER), Some(OTHER), Some("https://evil.example"), None]),
            credential: match dice.below(10) {
                0 => Some(Credential {
                    signer: Signer::Forger { is_key: terms.is_published },
                    subject: "alice",
                    session,
                    exp,
                }),
                1 => None,
                2 => Some(Credential { signer, subject: "alice", session, exp: date.as_secs() - STALE }),
                number => Some(Credential { signer, subject: if number < 7 { "alice" } else { "bob" }, session, exp }),
            },
            is_misshapen: dice.one_in(16),
        };
        match terms.has_tickets && identity.one_in(6) {
            true => Self { is_upgrade: false, errand: Some(Errand::Ticket), is_misshapen: false, ..attempt },
            false => attempt,
        }
    }

    /// The same client comes with the ticket that it was given, or another one does.
    pub(crate) fn redeem(self, identity: &Dice, terms: &Terms, number: usize, ends_at: Timestamp) -> Self {
        let other =
            Self { address: identity.pick(&ADDRESSES), origin: identity.pick(&[Some(HOME), Some(OTHER)]), ..self };
        let own = if identity.one_in(6) { other } else { self };
        let is_at_home = own.address == self.address && own.origin == self.origin;
        let ticket = Some(Ticket { number, is_at_home, ends_at });
        let credential = own.credential.filter(|_| terms.has_tickets);
        Self { is_upgrade: true, errand: None, ticket, credential, ..own }
    }

    /// A provider says that a session has ended.
    pub(crate) const fn logout(session: u8) -> Self {
        Self {
            is_upgrade: false,
            errand: Some(Errand::Logout(session)),
            ticket: None,
            address: ADDRESSES[0],
            origin: None,
            credential: None,
            is_misshapen: false,
        }
    }

    pub(crate) const fn good(address: usize, terms: &Terms) -> Self {
        let signer = if terms.is_published { Signer::Key(1) } else { Signer::Secret };
        Self {
            is_upgrade: true,
            errand: None,
            ticket: None,
            address: ADDRESSES[address],
            origin: Some(OTHER),
            credential: Some(Credential { signer, subject: "alice", session: 1, exp: NEVER }),
            is_misshapen: false,
        }
    }

    /// Its fields; `tickets` are the texts of all.
    pub(crate) fn fields(&self, tickets: &[String]) -> Vec<(String, Vec<u8>)> {
        let mut fields: Vec<(String, Vec<u8>)> =
            upgrade().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        if !self.is_upgrade {
            fields.retain(|(name, _)| name.starts_with(':'));
        }
        if self.is_misshapen {
            fields.retain(|(name, _)| name != "sec-websocket-key");
        }
        fields.extend(self.origin.map(|origin| ("origin".to_owned(), origin.into())));
        let mut set = |name: &str, value: String| {
            fields.retain(|(own, _)| own != name);
            fields.push((name.to_owned(), value.into_bytes()));
        };
        if let Some(errand) = self.errand {
            set(":method", "POST".to_owned());
            set(":path", if errand == Errand::Ticket { TICKET_PATH } else { LOGOUT_PATH }.to_owned());
            set("content-type", "application/x-www-form-urlencoded".to_owned());
        }
        if let Some(Ticket { number, .. }) = self.ticket {
            set(":path", format!("/chat?ticket={}", tickets[number]));
            return fields;
        }
        if let Some(Credential { signer, subject, session, exp }) = self.credential {
            let token = format!("Bearer {}", token(signer, subject, session, exp));
            fields.push(("authorization".to_owned(), token.into_bytes()));
        }
        fields
    }

    /// Whether it may be a failed attempt.
    pub(crate) fn is_forged(&self, terms: &Terms) -> bool {
        let is_forged = |credential: Credential| match credential.signer {
            Signer::Secret => terms.is_published,
            Signer::Key(_) => !terms.is_published,
            Signer::Forger { .. } => true,
        };
        self.ticket.is_some() || self.credential.is_some_and(is_forged)
    }

    /// Whether it is judged, and not only let pass.
    pub(crate) const fn is_judged(&self) -> bool {
        self.is_upgrade || self.errand.is_some()
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
        let is_needed = terms.needs_credential || self.errand.is_some();
        let missing = is_needed.then_some(Violation::CredentialMissing);
        if let Some(Ticket { is_at_home, ends_at, .. }) = self.ticket {
            let invalid = (!is_at_home || date >= ends_at).then_some(Violation::TicketInvalid);
            return if terms.has_tickets { invalid } else { missing };
        }
        let Some(Credential { signer, exp, .. }) = self.credential else { return missing };
        let is_signed = match (signer, terms.is_published, known) {
            (Signer::Key(_) | Signer::Forger { is_key: true }, true, None) => return Some(Violation::Internal),
            (Signer::Key(id), true, Some(known)) => known.contains(&id),
            (Signer::Secret, false, _) => true,
            (Signer::Secret | Signer::Key(_) | Signer::Forger { .. }, _, _) => false,
        };
        if !is_signed {
            return Some(Violation::CredentialInvalid);
        }
        // A ticket is good for a second at least, and no longer than what it is given for.
        let is_over = match self.errand {
            Some(_) => date > Timestamp::from_secs(exp - 1),
            None => date >= Timestamp::from_secs(exp + SKEW),
        };
        is_over.then_some(Violation::CredentialExpired)
    }
}
