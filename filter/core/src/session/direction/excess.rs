//! What becomes of a frame or message that is more than its sender may send.

use super::Direction;
use crate::limits::Blocks;
use crate::limits::rules::OnExcess;
use crate::refusal::Refusal;
use crate::session::pace::Excess;
use crate::session::scan::Scan;
use crate::session::terms::Terms;
use crate::violation::Part;
use crate::wire::Chunk;
use crate::wire::header::{FrameHeader, Opcode};

impl Direction {
    /// Whether a frame goes nowhere, since it is too much. What follows the beginning of a message that has gone on cannot be
    /// swallowed any more.
    #[inline]
    pub(super) fn weigh(&mut self, header: &FrameHeader, terms: &Terms<'_>) -> Result<bool, Refusal> {
        let Some(limits) = terms.limits else { return Ok(false) };
        let begins = match header.opcode {
            Opcode::Close => return Ok(false),
            Opcode::Continuation if self.swallowed => {
                self.swallowed = !header.fin;
                return Ok(true);
            }
            Opcode::Continuation => 0,
            Opcode::Binary | Opcode::Ping | Opcode::Pong | Opcode::Reserved | Opcode::Text => 1,
        };
        let is_typed = terms.rules.is_text(header.opcode) && terms.content.read_type();
        let fits = self.pace.receive(&limits.per_connection, begins, header.payload_len, terms.now, terms.budget)
            && (begins == 0 || header.opcode.is_control() || is_typed || terms.budget.ask(""));
        if fits {
            return Ok(false);
        }
        if limits.on_excess == OnExcess::Drop && begins > 0 && terms.docket.mode(Part::Limits).enforces() {
            self.swallowed |= !header.opcode.is_control() && !header.fin;
            self.found.swallowed = self.found.swallowed.saturating_add(1);
            return Ok(true);
        }
        let excess = self.pace.take_excess();
        terms.docket.find(excess.refusal(None)).map(|()| false)
    }

    /// Takes one more message of this type: what does not fit does not count.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub(super) fn take_type(&mut self, kind: &str, terms: &Terms<'_>) -> Result<(), Excess> {
        let Some(limits) = terms.limits else { return Ok(()) };
        self.pace.receive_type(&limits.per_connection, kind, terms.now, terms.budget)
    }

    /// The limit by which the last message that was swallowed was too much.
    pub(in crate::session) fn take_excess(&mut self) -> Excess {
        self.pace.take_excess()
    }

    pub(super) fn swallow_frame<C: Chunk + ?Sized>(&mut self, scan: &mut Scan<'_, C>) {
        self.leave_frame();
        self.frame_held = Blocks::default();
        scan.skip();
    }

    /// The message in hand, all of which is held, goes nowhere.
    pub(super) fn swallow_message<C: Chunk + ?Sized>(&mut self, scan: &mut Scan<'_, C>) {
        self.message_held = Blocks::default();
        self.swallow_frame(scan);
    }

    /// The message in hand, all of which is held, of this type is too much. Gives whether it goes nowhere.
    pub(super) fn exceed<C: Chunk + ?Sized>(
        &mut self,
        scan: &mut Scan<'_, C>,
        (kind, excess): (&str, Excess),
        terms: &Terms<'_>,
    ) -> Result<bool, Refusal> {
        let is_dropped = terms.limits.is_some_and(|limits| limits.on_excess == OnExcess::Drop);
        if !(is_dropped && terms.docket.mode(Part::Limits).enforces()) {
            return terms.docket.find(excess.refusal(Some(kind))).map(|()| false);
        }
        self.pace.note_excess(excess);
        self.found.swallowed = self.found.swallowed.saturating_add(1);
        if let Some(search) = terms.search {
            search.forget();
        }
        self.swallow_message(scan);
        Ok(true)
    }
}
