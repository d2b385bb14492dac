//! The credential in a client's message: its first one, or one that renews what the client came in with.
//!
//! ```text
//! json                  {"type":"auth","token":"…"}                          /token
//! graphql-transport-ws  {"type":"connection_init","payload":{"token":"…"}}   /payload/token: the message as it is written
//! socket.io             40{"token":"…"}                                      /token: the payload of CONNECT
//!                       42["auth",{"token":"…"}]                             /1/token: a renewal is in the arguments of an event
//! ```
//!
//! A message is judged before it is looked into. What is found is not verified here.

use core::cell::RefCell;
use core::time::Duration;

use super::authorize::{Glob, is_about};
use super::envelope::{Envelope, Packet};
use crate::json::document::{Document, Twins, Value};
use crate::json::pointer::Pointer;
use crate::secret::Secret;
use crate::violation::Violation;

/// The messages of a client that bring a credential.
#[derive(Clone, Debug, Default)]
pub struct CredentialMessages {
    /// Its first message, where that may bring one.
    pub first: Option<FirstMessage>,
    /// The one that renews a credential.
    pub renewal: Option<Renewal>,
}

/// A first message that brings a credential.
#[derive(Clone, Debug)]
pub struct FirstMessage {
    /// Where the credential is.
    pub token: Pointer,
    /// How long after the 101 it has to be there.
    pub timeout: Duration,
    /// Whether the message goes on to the server.
    pub forward: bool,
}

/// A message that brings a new credential.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// It is a message in which all of these match.
    pub when: Vec<(Pointer, Glob)>,
    /// Where the credential is.
    pub token: Pointer,
}

/// The credential that is looked for.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// That of the first message.
    First {
        /// Where it is.
        rules: &'a FirstMessage,
        /// Whether it has to be there.
        is_required: bool,
    },
    /// A new one.
    Renewal(&'a Renewal),
}

/// What came of looking for it.
#[derive(Clone, Debug, Default)]
pub enum Brought {
    /// The message that would bring it has not come.
    #[default]
    Nothing,
    /// The first message was none that brings one.
    NoCredential,
    /// The credential.
    Token(Secret<Vec<u8>>),
}

/// A look at a client's messages for one credential: it is over with the first that is found.
#[derive(Debug)]
pub struct Search<'a> {
    wanted: Wanted<'a>,
    /// Whether what it brings decides anything: otherwise its message goes on like any other.
    is_enforced: bool,
    brought: RefCell<Brought>,
}

impl<'a> Search<'a> {
    /// Nothing has come yet.
    #[must_use]
    pub const fn new(wanted: Wanted<'a>, is_enforced: bool) -> Self {
        Self { wanted, is_enforced, brought: RefCell::new(Brought::Nothing) }
    }

    /// What came of it.
    #[must_use]
    pub fn into_brought(self) -> Brought {
        self.brought.into_inner()
    }

    /// Whether a credential has been found.
    #[must_use]
    pub fn has_token(&self) -> bool {
        matches!(*self.brought.borrow(), Brought::Token(_))
    }

    /// Whether one has been found, in a message that goes nowhere.
    #[must_use]
    pub fn is_swallowed(&self) -> bool {
        let goes_on = matches!(self.wanted, Wanted::First { rules: FirstMessage { forward: true, .. }, .. });
        self.has_token() && self.is_enforced && !goes_on
    }

    /// The message that brought a credential is swallowed for another reason, as if it had not come.
    pub fn forget(&self) {
        self.brought.take();
    }

    /// A message has come in which there is no credential, whatever it says.
    ///
    /// # Errors
    /// [`Violation::CredentialMissing`] where it is the first, and has to bring a credential.
    pub fn receive_unread(&self) -> Result<(), Violation> {
        let Wanted::First { is_required, .. } = self.wanted else { return Ok(()) };
        if !matches!(*self.brought.borrow(), Brought::Nothing) {
            return Ok(());
        }
        self.brought.replace(Brought::NoCredential);
        if is_required { Err(Violation::CredentialMissing) } else { Ok(()) }
    }

    /// Looks into a message. Returns whether it goes nowhere, so that nobody has to be allowed to send it.
    pub(super) fn receive(
        &self,
        envelope: Envelope,
        packet: &Packet<'_>,
        document: &Document<'_>,
    ) -> Result<bool, Violation> {
        if !matches!(*self.brought.borrow(), Brought::Nothing) {
            return Ok(false);
        }
        let twins = |Twins| Violation::JsonRefused;
        let token = match self.wanted {
            Wanted::First { rules, .. } => {
                let place = envelope.greeting(packet, document);
                let found = place.map_or(Ok(None), |place| rules.token.find(place)).map_err(twins)?;
                let Some(token) = found.and_then(Value::as_str) else { return self.receive_unread().map(|()| false) };
                token
            }
            Wanted::Renewal(renewal) => {
                let Some(place) = envelope.renewal(packet, document) else { return Ok(false) };
                if !is_about(&renewal.when, place).map_err(twins)? {
                    return Ok(false);
                }
                // What belongs to it would go on without it.
                if packet.attachments() > 0 {
                    return Err(Violation::SchemaRefused);
                }
                let found = renewal.token.find(place).map_err(twins)?;
                found.and_then(Value::as_str).ok_or(Violation::CredentialMissing)?
            }
        };
        self.brought.replace(Brought::Token(Secret::new(token.as_bytes().to_vec())));
        Ok(self.is_swallowed())
    }
}

#[cfg(test)]
mod tests;
