//! What other rules mean for the message in hand, and for compressed ones.

use super::reading::Reading;
use super::{Direction, Frame};
use crate::content::ContentRules;
use crate::message::MessageRules;
use crate::time::Moment;
use crate::wire::deflate::Inflater;
use crate::wire::header::{CONTROL_LEN_MAX, Opcode};

impl Direction {
    /// Goes by other rules from now on.
    pub(in crate::session) fn reload(&mut self, rules: &MessageRules, content: &ContentRules, now: Moment) {
        let is_in_hand = self.messages.is_open() || self.frame.is_some();
        let opcode = if self.is_binary { Opcode::Binary } else { Opcode::Text };
        let wanted = Reading::of(opcode, rules, content);
        // A control frame of any length, as they pass where that is only monitored.
        let is_lax = self
            .frame
            .is_some_and(|Frame { header, .. }| header.opcode.is_control() && header.payload_len > CONTROL_LEN_MAX);
        let is_short = is_in_hand && (is_lax || !self.reading.is_enough_for(wanted));
        self.straddles_since = is_short.then(|| self.straddles_since.unwrap_or(now));
    }

    /// Since when a message has been in hand that began under other rules, which read less of it.
    pub(in crate::session) const fn straddles_since(&self) -> Option<Moment> {
        self.straddles_since
    }

    /// Has compressed messages inflated from now on. False: they may refer to ones that were not.
    pub(in crate::session) fn inspect(&mut self, takeover: bool) -> bool {
        let is_possible = self.inflater.is_some() || !takeover || !self.deflated;
        if self.inflater.is_none() && is_possible {
            self.inflater = Some(Box::new(Inflater::new(takeover)));
        }
        is_possible
    }
}
