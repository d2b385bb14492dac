//! The payload of one message, judged as it comes: unmasked, inflated, read as text (RFC 6455 §5.3, §8.1, RFC 7692 §7.2.2).

use crate::message::MessageRules;
use crate::violation::Violation;
use crate::wire::deflate::Inflater;
use crate::wire::header::{FrameHeader, Opcode};
use crate::wire::mask::Mask;
use crate::wire::utf8::Utf8;

/// How much is unmasked at once, in bytes: it stays in the fastest cache until it has been read.
const BLOCK_LEN: usize = 1_024;

/// What is known of the payload of a message that is read.
#[derive(Debug)]
pub(super) struct Payload {
    /// The key of the frame in hand.
    mask: Option<Mask>,
    compressed: bool,
    text: Text,
}

/// What a payload says, after all its wrappings.
#[derive(Debug)]
struct Text {
    len: u64,
    len_max: u64,
    /// `None` for what may be any bytes.
    utf8: Option<Utf8>,
}

impl Payload {
    /// The payload of the message that begins with `header`; `None` when nothing in it has to be read.
    pub(super) fn new(header: &FrameHeader, rules: &MessageRules) -> Option<Self> {
        let utf8 = (rules.utf8 && header.opcode == Opcode::Text).then(Utf8::default);
        let text = Text { len: 0, len_max: rules.message_len_max, utf8 };
        (header.compressed || text.utf8.is_some()).then_some(Self { mask: None, compressed: header.compressed, text })
    }

    /// The next frame of the message.
    pub(super) fn begin_frame(&mut self, header: &FrameHeader) {
        self.mask = header.mask.map(Mask::new);
    }

    /// The next bytes of the frame; `inflater` is the one of the direction.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn receive(&mut self, bytes: &[u8], inflater: Option<&mut Inflater>) -> Result<(), Violation> {
        let mut inflater = inflater.filter(|_| self.compressed);
        let Some(mask) = &mut self.mask else { return self.text.inflate(bytes, inflater) };
        let mut block = [0; BLOCK_LEN];
        for piece in bytes.chunks(BLOCK_LEN) {
            let plain = block.get_mut(..piece.len()).unwrap_or_default();
            mask.apply(piece, plain);
            self.text.inflate(plain, inflater.as_deref_mut())?;
        }
        Ok(())
    }

    /// The end of the message.
    ///
    /// # Errors
    /// What is wrong with its end.
    pub(super) fn finish(self, inflater: Option<&mut Inflater>) -> Result<(), Violation> {
        if let Some(inflater) = inflater.filter(|_| self.compressed) {
            inflater.finish()?;
        }
        self.text.utf8.map_or(Ok(()), |utf8| utf8.finish())
    }
}

impl Text {
    fn inflate(&mut self, bytes: &[u8], inflater: Option<&mut Inflater>) -> Result<(), Violation> {
        match inflater {
            Some(inflater) => inflater.receive(bytes, &mut |text| self.receive(text)),
            None => self.receive(bytes),
        }
    }

    /// Everything up to the longest that is allowed is judged, so that the verdict does not depend on how the bytes come.
    fn receive(&mut self, text: &[u8]) -> Result<(), Violation> {
        let room = usize::try_from(self.len_max.saturating_sub(self.len)).unwrap_or(usize::MAX);
        let (allowed, beyond) = text.split_at_checked(room).unwrap_or((text, &[]));
        self.len = self.len.saturating_add(text.len() as u64);
        if let Some(utf8) = &mut self.utf8 {
            utf8.receive(allowed)?;
        }
        if beyond.is_empty() { Ok(()) } else { Err(Violation::MessageTooBig) }
    }
}
