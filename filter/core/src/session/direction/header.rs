//! The header of a frame: whether it may be, whose message it belongs to, and whether it waits.

use super::reading::Reading;
use super::{Direction, Fault, Frame};
use crate::limits::Blocks;
use crate::refusal::Refusal;
use crate::session::payload::Payload;
use crate::session::scan::Scan;
use crate::session::terms::Terms;
use crate::violation::{Part, Violation};
use crate::wire::header::{FrameHeader, HEADER_LEN_MAX, Opcode};
use crate::wire::{Chunk, Unreadable};

impl Direction {
    /// Reads the next header, and lets the frame go on or wait.
    pub(super) fn read_header<C: Chunk + ?Sized>(
        &mut self,
        scan: &mut Scan<'_, C>,
        terms: &Terms<'_>,
    ) -> Result<(), Fault> {
        let held_len = self.frame_held.len();
        let decoded = if held_len == 0 {
            self.decode(scan.peek(HEADER_LEN_MAX)?)?
        } else {
            let bytes = [self.frame_held.first(), scan.peek(HEADER_LEN_MAX.saturating_sub(held_len))?].concat();
            self.decode(&bytes)?
        };
        let Some(header) = decoded else {
            scan.advance(HEADER_LEN_MAX);
            return Ok(());
        };
        scan.advance(header.header_len.saturating_sub(held_len));
        let frame = Frame { header, left: header.payload_len, passing: false, swallowed: false };
        self.frame = Some(frame);
        let is_next = header.opcode == Opcode::Continuation && self.overlooked;
        if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            self.begin_message(scan, &header, terms)?;
        }
        if let Some(payload) = &mut self.payload
            && !header.opcode.is_control()
        {
            payload.begin_frame(&header, terms);
        }
        let is_lax = core::mem::take(&mut self.lax);
        let mut is_unjudged = is_lax || is_next;
        // What passes is counted with the frame that it begins with.
        let (docket, is_binary) = (terms.docket, header.opcode == Opcode::Binary);
        let find = move |violation: Violation, is_first: bool| {
            // No rule about what messages say reads a binary one.
            let is_unread = violation == Violation::TypeRefused && is_binary;
            let part = if is_unread { Part::Payload } else { violation.part() };
            let is_known = (is_lax || is_next || !is_first) && !docket.mode(part).enforces();
            if is_known { Ok(()) } else { docket.find_in(part, violation) }
        };
        if let Err(refusal) = self.messages.receive(&header, terms.rules, &find) {
            find(refusal.violation, true)?;
            is_unjudged = true;
        }
        if !is_unjudged {
            self.found.counts.add(header.opcode);
        }
        let swallowed = self.weigh(&header, terms)?;
        if swallowed {
            if !header.opcode.is_control() {
                self.payload = None;
            }
            self.frame_held = Blocks::default();
            scan.skip();
            return self.go_on(scan, &Frame { swallowed, ..frame }, terms);
        }
        if is_unjudged {
            return Ok(self.overlook(scan, terms)?);
        }
        if header.opcode == Opcode::Binary {
            self.receive_binary(&header, terms)?;
        }
        let waits = match header.opcode {
            Opcode::Close => true,
            Opcode::Ping | Opcode::Reserved => false,
            // It may be for us, which its payload tells.
            Opcode::Pong => self.found.pongs < terms.pongs_due,
            Opcode::Binary | Opcode::Continuation | Opcode::Text => {
                self.message_at = self.message_at.max(terms.now);
                self.whole || self.is_judged()
            }
        };
        if !waits {
            scan.pass(self.frame_held.take())?;
        }
        self.go_on(scan, &Frame { passing: !waits, ..frame }, terms)
    }

    /// A binary message begins.
    fn receive_binary(&mut self, header: &FrameHeader, terms: &Terms<'_>) -> Result<(), Refusal> {
        if let Some(search) = terms.search.filter(|_| !terms.rules.is_text(header.opcode)) {
            search.receive_unread().or_else(|violation| terms.docket.find(violation))?;
        }
        match terms.content.receive_binary(terms.handshake, self.attachments) {
            Ok(attachments) => self.attachments = attachments,
            Err(violation) => terms.docket.find(violation)?,
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Option<FrameHeader>, Violation> {
        if self.lax { Ok(FrameHeader::measure(bytes)) } else { FrameHeader::decode(bytes, self.framing) }
    }

    /// A message begins. Where another one has not ended, that one never will.
    fn begin_message<C: Chunk + ?Sized>(
        &mut self,
        scan: &mut Scan<'_, C>,
        header: &FrameHeader,
        terms: &Terms<'_>,
    ) -> Result<(), Unreadable> {
        if self.payload.as_ref().is_some_and(Payload::is_compressed) {
            self.lose_inflater();
        }
        let start = Self::start(scan, header)?;
        let is_readable = !header.compressed || self.inflater.is_some();
        self.payload = None;
        if is_readable && let Some(payload) = Payload::new(header, start, self.framing.from, terms) {
            self.payload = Some(payload);
        }
        self.whole = terms.rules.whole || self.payload.as_ref().is_some_and(Payload::is_whole);
        self.overlooked = false;
        self.is_binary = header.opcode == Opcode::Binary;
        self.deflated |= header.compressed;
        self.reading = if is_readable && (!header.compressed || terms.inspect) {
            Reading::of(header.opcode, terms.rules, terms.content)
        } else {
            Reading::default()
        };
        Ok(())
    }

    /// The first bytes of the payload, where they have come and say something as they are.
    fn start<C: Chunk + ?Sized>(scan: &mut Scan<'_, C>, header: &FrameHeader) -> Result<Option<[u8; 2]>, Unreadable> {
        if header.compressed || header.payload_len < 2 {
            return Ok(None);
        }
        let [first_key, second_key, ..] = header.mask.unwrap_or_default();
        Ok(scan.peek(2)?.first_chunk().map(|[first, second]| [first ^ first_key, second ^ second_key]))
    }
}
