//! The payload of one message, judged as it comes: unmasked, inflated, read as text (RFC 6455 §5.3, §8.1, RFC 7692 §7.2.2).
//!
//! What a text says is judged at its end, as a whole.

use core::cell::Cell;

use super::terms::Terms;
use crate::content::Judged;
use crate::content::tunnels::{Conversation, Head, Judgement, Protocol};
use crate::docket::Docket;
use crate::limits::Blocks;
use crate::refusal::{Cause, Refusal};
use crate::violation::Violation;
use crate::wire::Side;
use crate::wire::deflate::Inflater;
use crate::wire::header::FrameHeader;
use crate::wire::mask::Mask;
use crate::wire::utf8::Utf8;

/// How much is unmasked at once, in bytes: it stays in the fastest cache until it has been read.
const BLOCK_LEN: usize = 1_024;

/// How much payload is asked of the host at once, in bytes: Envoy's chunks are seldom longer.
const READ_LEN: usize = 65_536;

/// Likewise where only the first bytes of a message are read: as many as decide about most.
const HEAD_READ_LEN: usize = 32;

/// How much of a message is inflated that is not judged, in bytes, so that the ones behind it can be read: some milliseconds. A longer one
/// is left unread, and with it whatever refers to it.
const FOLLOWED_LEN_MAX: u64 = 1_048_576;

/// Whether a text may take so many bytes.
type Fits<'a> = &'a dyn Fn(usize) -> bool;

/// What a payload is judged by.
pub(super) struct Judging<'a> {
    pub(super) conversation: &'a Cell<Conversation>,
    pub(super) docket: &'a Docket,
    pub(super) fits: Fits<'a>,
}

/// What is known of the payload of a message that is read.
#[derive(Debug)]
pub(super) struct Payload {
    /// The key of the frame in hand.
    mask: Option<Mask>,
    compressed: bool,
    /// Whether what it says is judged. Otherwise it is only inflated, for the sake of the messages behind it.
    judged: bool,
    /// It cannot be inflated any further.
    lost: bool,
    plain: Plain,
}

/// What a payload says, after all its wrappings.
#[derive(Debug, Default)]
struct Plain {
    len: u64,
    len_max: u64,
    /// `None` for what may be any bytes.
    utf8: Option<Utf8>,
    /// `None` once it cannot be the beginning of another protocol.
    head: Option<Head>,
    tunnel: Option<Protocol>,
    /// The text so far, where it is judged as a whole.
    text: Option<Blocks>,
    /// What is compressed is inflated to its end, whatever passed that was found in it.
    is_inflated: bool,
    fault: Option<Violation>,
}

impl Payload {
    /// The payload of the message that begins with `header` and, where they are known, the two bytes of `start`; `None` when nothing in
    /// it has to be read.
    pub(super) fn new(header: &FrameHeader, start: Option<[u8; 2]>, from: Side, terms: &Terms<'_>) -> Option<Self> {
        let is_text = terms.rules.is_text(header.opcode);
        let is_clear =
            terms.content.tunnels || start.is_some_and(|start| terms.conversation.get().is_clear(from, start));
        let is_utf8 = terms.rules.utf8 && is_text;
        if !(header.compressed || is_utf8) && is_clear {
            return None;
        }
        let plain = Plain {
            len: 0,
            len_max: terms.rules.message_len_max,
            utf8: is_utf8.then(Utf8::default),
            head: (!is_clear).then(|| Head::new(from)),
            text: (terms.content.read_text() && is_text).then(Blocks::default),
            ..Plain::default()
        };
        let payload = Self { mask: None, compressed: header.compressed, judged: true, lost: false, plain };
        if header.compressed && !terms.inspect { payload.overlook() } else { Some(payload) }
    }

    /// The same payload, which is not judged any more; `None` when nothing in it has to be read.
    pub(super) fn overlook(self) -> Option<Self> {
        if !self.judged {
            return Some(self);
        }
        let plain = Plain { len_max: FOLLOWED_LEN_MAX, ..Plain::default() };
        self.compressed.then_some(Self { judged: false, plain, ..self })
    }

    /// Whether it has to be inflated.
    pub(super) const fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Whether it could not be inflated, and nothing can be that refers to it.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether what it says is judged.
    pub(super) const fn is_judged(&self) -> bool {
        self.judged
    }

    /// How long it is without its wrappings, in bytes, as far as it has been read.
    pub(super) fn plain_len(&self) -> usize {
        usize::try_from(self.plain.len).unwrap_or(usize::MAX)
    }

    /// Whether nothing more of it has to be read.
    pub(super) const fn is_settled(&self) -> bool {
        !self.compressed && self.plain.utf8.is_none() && self.plain.head.is_none()
    }

    /// Whether it may still turn out to be the beginning of another protocol.
    pub(super) const fn is_undecided(&self) -> bool {
        self.plain.head.is_some()
    }

    /// Whether it is judged when it is whole.
    pub(super) const fn is_whole(&self) -> bool {
        self.plain.text.is_some()
    }

    /// The memory that it takes, in bytes.
    pub(super) fn memory_len(&self) -> usize {
        self.plain.text.as_ref().map_or(0, Blocks::capacity)
    }

    /// How many bytes to give it at once.
    pub(super) const fn read_len(&self) -> usize {
        if self.compressed || self.plain.utf8.is_some() { READ_LEN } else { HEAD_READ_LEN }
    }

    /// The next frame of the message.
    pub(super) fn begin_frame(&mut self, header: &FrameHeader, terms: &Terms<'_>) {
        self.mask = header.mask.map(Mask::new);
        if self.judged {
            self.plain.len_max = terms.rules.message_len_max;
        }
    }

    /// The next bytes of the frame; `inflater` is the one of the direction.
    ///
    /// # Errors
    /// What is wrong with them; [`Violation::Overloaded`] where their text does not fit. Where that passes they have all been inflated then,
    /// unless they cannot be.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        inflater: Option<&mut Inflater>,
        judging: &Judging<'_>,
    ) -> Result<(), Refusal> {
        self.plain.is_inflated = self.compressed;
        let received = self.unmask(bytes, inflater, judging);
        self.lost = self.compressed && received.is_err();
        self.plain.fault.take().map_or(received, Err).map_err(|violation| self.plain.refusal(violation))
    }

    fn unmask(
        &mut self,
        bytes: &[u8],
        inflater: Option<&mut Inflater>,
        judging: &Judging<'_>,
    ) -> Result<(), Violation> {
        let mut inflater = inflater.filter(|_| self.compressed);
        let Some(mask) = &mut self.mask else { return self.plain.inflate(bytes, inflater, judging) };
        // Zeros for a whole block would cost more than so few bytes.
        let mut short = [0; HEAD_READ_LEN];
        if let Some(plain) = short.get_mut(..bytes.len()) {
            mask.apply(bytes, plain);
            return self.plain.inflate(plain, inflater, judging);
        }
        let mut block = [0; BLOCK_LEN];
        for piece in bytes.chunks(BLOCK_LEN) {
            let plain = block.get_mut(..piece.len()).unwrap_or_default();
            mask.apply(piece, plain);
            self.plain.inflate(plain, inflater.as_deref_mut(), judging)?;
        }
        Ok(())
    }

    /// The end of the message, which is not judged.
    ///
    /// # Errors
    /// [`Violation::InvalidDeflate`] where it could not be inflated to its end.
    pub(super) fn finish_unjudged(self, inflater: &mut Inflater) -> Result<(), Violation> {
        inflater.finish()
    }

    /// The end of the message; `attachments` binary messages of an earlier one have not come.
    ///
    /// # Errors
    /// What is wrong with its end, or with the whole of it.
    pub(super) fn finish<'a>(
        mut self,
        inflater: Option<&mut Inflater>,
        terms: &Terms<'a>,
        attachments: u32,
    ) -> Result<Judged<'a>, Refusal> {
        if let Some(inflater) = inflater.filter(|_| self.compressed) {
            inflater.finish()?;
        }
        self.plain.finish(terms.conversation, terms.docket).map_err(|violation| self.plain.refusal(violation))?;
        match &mut self.plain.text {
            Some(text) => {
                let text = String::from_utf8(text.take()).map_err(|_| Violation::InvalidUtf8)?;
                let begin = terms.budget.begin_inspection();
                let judged = terms.content.judge(&text, terms.docket, terms.handshake, attachments, terms.search);
                if let Some(begin) = begin {
                    terms.budget.end_inspection(begin);
                }
                judged
            }
            None => Ok(Judged { attachments, ..Judged::default() }),
        }
    }
}

impl Plain {
    fn inflate(
        &mut self,
        bytes: &[u8],
        inflater: Option<&mut Inflater>,
        judging: &Judging<'_>,
    ) -> Result<(), Violation> {
        match inflater {
            Some(inflater) => inflater.receive(bytes, &mut |plain| self.receive(plain, judging)),
            None => self.receive(bytes, judging),
        }
    }

    fn receive(&mut self, bytes: &[u8], judging: &Judging<'_>) -> Result<(), Violation> {
        let found = if self.fault.is_some() { self.follow(bytes) } else { self.judge(bytes, judging) };
        match found {
            Err(violation) if self.is_inflated && self.fault.is_none() && judging.docket.passes(violation) => {
                self.fault = Some(violation);
                Ok(())
            }
            found => found,
        }
    }

    fn follow(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        if self.len > FOLLOWED_LEN_MAX { Err(Violation::MessageTooBig) } else { Ok(()) }
    }

    /// Everything up to the longest that is allowed is judged, so that the verdict does not depend on how the bytes come.
    fn judge(&mut self, bytes: &[u8], judging: &Judging<'_>) -> Result<(), Violation> {
        let fits = judging.fits;
        let room = usize::try_from(self.len_max.saturating_sub(self.len)).unwrap_or(usize::MAX);
        let (mut allowed, beyond) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        self.len = self.len.saturating_add(bytes.len() as u64);
        // One by one, for the same reason.
        while self.head.is_some()
            && let Some((byte, rest)) = allowed.split_at_checked(1)
        {
            self.read(byte, fits)?;
            self.judge_head(judging.conversation, judging.docket, |conversation, head| {
                conversation.receive(head, byte)
            })?;
            allowed = rest;
        }
        self.read(allowed, fits)?;
        if beyond.is_empty() { Ok(()) } else { Err(Violation::MessageTooBig) }
    }

    fn read(&mut self, bytes: &[u8], fits: Fits<'_>) -> Result<(), Violation> {
        match (&mut self.utf8, &mut self.text) {
            (Some(utf8), Some(text)) => utf8.receive_into(bytes, &mut |piece| {
                if !text.reserve(piece.len(), fits) {
                    return Err(Violation::Overloaded);
                }
                text.extend(piece.as_bytes());
                Ok(())
            }),
            (Some(utf8), None) => utf8.receive(bytes),
            (None, _) => Ok(()),
        }
    }

    fn finish(&mut self, conversation: &Cell<Conversation>, docket: &Docket) -> Result<(), Violation> {
        self.utf8.map_or(Ok(()), |utf8| utf8.finish())?;
        self.judge_head(conversation, docket, Conversation::finish)
    }

    fn judge_head(
        &mut self,
        conversation: &Cell<Conversation>,
        docket: &Docket,
        judge: impl FnOnce(&mut Conversation, &mut Head) -> Judgement,
    ) -> Result<(), Violation> {
        let Some(head) = &mut self.head else { return Ok(()) };
        let mut so_far = conversation.get();
        let judgement = judge(&mut so_far, head);
        conversation.set(so_far);
        match judgement {
            Judgement::Clear => self.head = None,
            Judgement::Tunnel(protocol) => {
                self.tunnel = Some(protocol);
                let refused = docket.find(self.refusal(Violation::TunnelRefused));
                refused.map_err(|refusal| refusal.violation)?;
                (self.head, self.tunnel) = (None, None);
            }
            Judgement::Undecided => {}
        }
        Ok(())
    }

    fn refusal(&self, violation: Violation) -> Refusal {
        match self.tunnel {
            Some(protocol) => {
                let cause = Cause { at: "tunnels".to_owned(), rule: Some(protocol.name().into()), ..Cause::default() };
                Refusal::because(violation, cause)
            }
            None => violation.into(),
        }
    }
}

#[cfg(test)]
mod tests;
