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
        if fits { Ok(false) } else { self.exceed_with(begins > 0, header, limits.on_excess, terms) }
    }

    /// What becomes of a frame that is too much.
    #[cold]
    #[inline(never)]
    fn exceed_with(
        &mut self,
        begins: bool,
        header: &FrameHeader,
        on_excess: OnExcess,
        terms: &Terms<'_>,
    ) -> Result<bool, Refusal> {
        let excess = self.pace.take_excess();
        if on_excess == OnExcess::Drop && begins && terms.docket.mode(Part::Limits).enforces() {
            self.swallowed |= !header.opcode.is_control() && !header.fin;
            self.pace.swallow(excess);
            return Ok(true);
        }
        terms.docket.find(self.pace.refusal(excess)).map(|()| false)
    }

    /// Takes one more message of this type: what does not fit does not count.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub(super) fn take_type(&mut self, kind: &str, folds: bool, terms: &Terms<'_>) -> Result<(), Excess> {
        let Some(limits) = terms.limits else { return Ok(()) };
        let kind = limits.per_connection.known_type(kind, folds);
        self.pace.receive_type(&limits.per_connection, kind, terms.now, terms.budget)
    }

    /// By which limits messages and control frames of the last chunk were too much and swallowed, and how many.
    pub(in crate::session) fn take_swallowed(&mut self) -> Vec<(Refusal, u32)> {
        self.pace.take_swallowed()
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

    /// The message in hand, all of which is held, is too much by this limit. Gives whether it goes nowhere.
    pub(super) fn exceed<C: Chunk + ?Sized>(
        &mut self,
        scan: &mut Scan<'_, C>,
        excess: Excess,
        terms: &Terms<'_>,
    ) -> Result<bool, Refusal> {
        let is_dropped = terms.limits.is_some_and(|limits| limits.on_excess == OnExcess::Drop);
        if !(is_dropped && terms.docket.mode(Part::Limits).enforces()) {
            return terms.docket.find(self.pace.refusal(excess)).map(|()| false);
        }
        self.pace.swallow(excess);
        if let Some(search) = terms.search {
            search.forget();
        }
        self.swallow_message(scan);
        Ok(true)
    }
}
