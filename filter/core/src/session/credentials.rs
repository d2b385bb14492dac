//! What a session knows of its client, where a message says it.

use std::rc::Rc;

use super::expiry::Expiry;
use super::introduction::Introduction;
use super::received::Received;
use super::{CLOSE_GRACE, Session, State};
use crate::content::credential::Brought;
use crate::docket::Docket;
use crate::entry::Credential;
use crate::policy::Policy;
use crate::secret::Secret;
use crate::time::Moment;
use crate::token::Verified;
use crate::violation::Violation;
use crate::wire::Side;

impl Session {
    /// When the client has to have said who it is, where it has to.
    pub(super) fn introduced_until(&self) -> Option<Moment> {
        if !matches!((&self.state, self.introduction), (State::Open, Introduction::Awaited(_))) {
            return None;
        }
        let first = self.policy.credentials.as_ref().filter(|_| self.policy.auth.required)?.first.as_ref();
        self.introduction.deadline(first)
    }

    /// Whether the client still has to say who it is: until then nothing of it goes on, and nothing of its server comes back.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        let Policy { modes, auth, .. } = &*self.policy;
        self.introduction != Introduction::Over && modes.auth.enforces() && auth.required
    }

    /// Whether nothing of the client goes on.
    #[must_use]
    pub fn holds_client(&self) -> bool {
        self.is_unproven() || (self.is_introducing() && self.policy.modes.auth.enforces())
    }

    /// Whether it is its first message that brings the credential which is being verified.
    #[must_use]
    pub fn is_introducing(&self) -> bool {
        self.introduction == Introduction::Asked
    }

    /// Follows what the last chunk of one side says of who the client is: `brought`, where that was looked for.
    #[cold]
    pub(super) fn introduce(&mut self, from: Side, brought: Option<Brought>, docket: &Docket, received: &mut Received) {
        match brought {
            Some(Brought::NoCredential) if received.violation.is_none() => self.introduction = Introduction::Over,
            Some(Brought::Token(token)) => {
                self.token = Some(Box::new(token));
                if matches!(self.introduction, Introduction::Awaited(_)) {
                    self.introduction = Introduction::Asked;
                }
            }
            Some(Brought::NoCredential | Brought::Nothing) | None => {}
        }
        // It says nothing more, and not who it is.
        let is_unproven = matches!(self.introduction, Introduction::Awaited(_)) && self.policy.auth.required;
        if from == Side::Client
            && is_unproven
            && self.from_client.is_closed()
            && !docket.passes(Violation::CredentialMissing)
        {
            received.violation.get_or_insert(Violation::CredentialMissing);
        }
    }

    /// Takes the credential that the last chunk of the client brought. Nothing behind it has been judged.
    pub fn take_token(&mut self) -> Option<Secret<Vec<u8>>> {
        self.token.take().map(|token| *token)
    }

    /// The credential that a message brought is good: from now on it is the one that counts.
    ///
    /// # Errors
    /// [`Violation::CredentialInvalid`] for one of another provider or subject than before, [`Violation::PolicyChanged`] for one that the policy of
    /// now would not let in, [`Violation::Overloaded`] where there is no room for it.
    pub fn identify(&mut self, verified: &Rc<Verified>) -> Result<(), Violation> {
        let credential = Credential::new(verified, self.policy.read_claims());
        if let Some(known) = &self.entry.credential
            && !known.open().is_some_and(|known| known.is_of_one_subject(verified))
        {
            return Err(Violation::CredentialInvalid);
        }
        let known_len = self.entry.credential.as_ref().map_or(0, Credential::memory_len);
        self.share.keep_instead(known_len, credential.memory_len());
        self.handshake.sender = self.policy.read_claims().then(|| Rc::clone(verified));
        self.entry.credential = Some(credential);
        self.introduction = Introduction::Over;
        self.expiry = Expiry::default();
        if !self.entry.is_known(&self.policy) {
            return Err(Violation::PolicyChanged);
        }
        if self.share.all().has_room(0, self.policy.limits.held_len_max) { Ok(()) } else { Err(Violation::Overloaded) }
    }

    /// The credential that a message brought does not count, and the connection goes on without it.
    pub const fn go_on_unidentified(&mut self) {
        self.introduction = Introduction::Over;
    }

    /// Refuses what the last message of the client said; its server may answer what came before.
    pub fn refuse_message(&mut self, violation: Violation, now: Moment) {
        let server_until = (!self.is_unproven()).then(|| now.saturating_add(CLOSE_GRACE));
        self.close(violation, Some(Side::Client), server_until, now);
    }
}
