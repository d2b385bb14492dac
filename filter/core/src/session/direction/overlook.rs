//! What becomes of a frame or message that cannot be judged, where that is only monitored: it goes on as it came, and judging goes on behind it.

use super::reading::Reading;
use super::{Direction, Frame};
use crate::session::payload::Payload;
use crate::session::scan::Scan;
use crate::session::terms::Terms;
use crate::wire::header::Opcode;
use crate::wire::{Chunk, Unreadable};

impl Direction {
    /// Lets the frame in hand go on, and leaves the rest of its message unjudged. Where its header breaks the rules, that is read once
    /// more, for its length.
    pub(super) fn overlook<C: Chunk + ?Sized>(
        &mut self,
        scan: &mut Scan<'_, C>,
        terms: &Terms<'_>,
    ) -> Result<(), Unreadable> {
        let Some(frame) = self.frame else {
            self.lax = true;
            return Ok(());
        };
        self.frame = Some(Frame { passing: true, ..frame });
        self.closed |= frame.header.opcode == Opcode::Close;
        let held = match frame.header.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => self.frame_held.take(),
            Opcode::Binary | Opcode::Continuation | Opcode::Reserved | Opcode::Text => {
                self.overlook_message();
                self.message_at = self.message_at.max(terms.now);
                self.take_held()
            }
        };
        scan.pass(held)?;
        if frame.left > 0 {
            return Ok(());
        }
        if frame.header.fin && !frame.header.opcode.is_control() {
            self.finish_unjudged();
        }
        self.leave_frame();
        if let Some(ping) = terms.ping.take() {
            scan.insert(&ping);
        }
        Ok(())
    }

    /// The message in hand is not judged any more, nor held.
    pub(super) fn overlook_message(&mut self) {
        self.overlooked = true;
        self.whole = false;
        self.reading = Reading::default();
        self.payload = self.payload.take().and_then(Payload::overlook);
    }

    /// The end of a message that is not judged, as far as others may refer to it.
    pub(super) fn finish_unjudged(&mut self) {
        let Some(payload) = self.payload.take_if(|payload| !payload.is_judged()) else { return };
        let is_whole = self.inflater.as_deref_mut().is_some_and(|inflater| payload.finish_unjudged(inflater).is_ok());
        if !is_whole {
            self.lose_inflater();
        }
    }

    /// A message could not be inflated: no later one can that may refer to it.
    pub(super) fn lose_inflater(&mut self) {
        self.payload = None;
        self.inflater = self.inflater.take().and_then(|inflater| inflater.restarted()).map(Box::new);
    }

    /// There is no room for what the message in hand is inflated in and read from.
    pub(in crate::session) fn shed(&mut self) {
        self.overlook_message();
        self.lose_inflater();
    }
}

#[cfg(test)]
mod tests;
