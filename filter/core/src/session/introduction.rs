//! How a client that came without a credential says who it is: with its first message.
//!
//! ```text
//! Awaited ── its first message ──▶ Asked ── good ──▶ Over
//!    │                               └─ bad ──▶ refused
//!    └─ first_message_timeout ──▶ credential_missing
//! ```

use crate::content::credential::{CredentialMessages, FirstMessage, Wanted};
use crate::time::Moment;

/// Where a client is with that.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Introduction {
    /// Its first message has not come; the connection came up then.
    Awaited(Moment),
    /// It has brought a credential, which is being verified.
    Asked,
    /// Nothing is awaited of it.
    #[default]
    Over,
}

impl Introduction {
    /// The credential that the client's next messages are looked into for, where `has_credential` says that it has one.
    pub(super) fn wanted(
        self,
        rules: &CredentialMessages,
        is_required: bool,
        has_credential: bool,
    ) -> Option<Wanted<'_>> {
        match (self, &rules.first, &rules.renewal) {
            (Self::Awaited(_), Some(rules), _) => Some(Wanted::First { rules, is_required }),
            (Self::Over, _, Some(renewal)) if has_credential => Some(Wanted::Renewal(renewal)),
            (_, _, _) => None,
        }
    }

    /// When the first message has to be there.
    pub(super) fn deadline(self, first: Option<&FirstMessage>) -> Option<Moment> {
        match self {
            Self::Awaited(since) => first.map(|first| since.saturating_add(first.timeout)),
            Self::Asked | Self::Over => None,
        }
    }
}
