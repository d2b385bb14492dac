//! The end of what a client came in with (RFC 7519 §4.1.4).
//!
//! ```text
//! handshake ── before exp ──────────────▶ live ── exp + expiry_grace ──▶ credential_expired
//!           └─ from exp on, within the provider's clock_skew ──▶ live ── exp + the longer of both ──▶ credential_expired
//! ```
//!
//! A client that was let in by the skew of clocks is not closed as long as a handshake would let it in again: it would come back at once, and
//! over and over. No other client has the skew: the token was seen before its end, so the clocks did not have to agree on it.
//!
//! A token ends by the calendar, which may be set; connections are ticked by a clock that only goes forward. So the moment is found anew
//! whenever the connection looks at the clock.

use core::time::Duration;

use crate::entry::Credential;
use crate::time::{Moment, Timestamp};
use crate::token::rules::AuthRules;

/// When a connection ends with the token of its client.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// When, as the calendar was seen last; `None` where it does not.
    at: Option<Moment>,
    /// Whether the token had ended when the connection came up.
    was_late: Option<bool>,
    /// It has passed, only monitored.
    is_overlooked: bool,
}

impl Expiry {
    /// Finds the moment, where it is `date` on the calendar.
    pub(super) fn look(&mut self, credential: &Credential, auth: &AuthRules, date: Timestamp, now: Moment) {
        let expires_at = credential.expires_at();
        let was_late = *self.was_late.get_or_insert(date >= expires_at);
        let skew = auth.provider(credential.provider()).filter(|_| was_late).map(|provider| provider.rules.clock_skew);
        self.at = auth.expiry_grace.map(|grace| {
            let end = expires_at.saturating_add(grace.max(skew.unwrap_or(Duration::ZERO)));
            now.saturating_add(end.since(date))
        });
    }

    /// The calendar was asked in vain: it is asked again with the next look at the clock, which is due now.
    pub(super) const fn doubt(&mut self, now: Moment) {
        self.at = Some(now);
    }

    /// When the clock has to be looked at.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.at.filter(|_| !self.is_overlooked)
    }

    /// It passes, only monitored: it is not found again.
    pub(super) const fn overlook(&mut self) {
        self.is_overlooked = true;
    }

    /// What was let pass counts anew, under another policy.
    pub(super) const fn forget_overlooked(&mut self) {
        self.is_overlooked = false;
    }
}
