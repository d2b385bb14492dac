//! WebSocket frames as bytes: [`Draft`] writes any frame, right or wrong, and [`Frame`] reads one back.
//!
//! Neither judges: a reserved opcode, a length that lies or an unmasked client frame are written and read as they are.
//! The layout is [RFC 6455 §5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.2).
//!
//! ```
//! use portcullis_envoy::peer::frame::{Draft, Frame, TEXT};
//!
//! let bytes = Draft::text("hello").masked().bytes();
//! let (frame, size) = Frame::parse(&bytes).unwrap();
//! assert_eq!((frame.opcode, frame.payload.as_slice(), size), (TEXT, b"hello".as_slice(), bytes.len()));
//! ```

use std::fmt;

/// Opcode of a continuation frame.
pub const CONTINUATION: u8 = 0x0;
/// Opcode of a text frame.
pub const TEXT: u8 = 0x1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 0x2;
/// Opcode of a Close frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a Ping frame.
pub const PING: u8 = 0x9;
/// Opcode of a Pong frame.
pub const PONG: u8 = 0xa;

/// One frame as it was read: its bits, and its payload with the mask taken off.
#[derive(Clone, Eq, PartialEq)]
pub struct Frame {
    /// Whether this frame ends its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 as `0b100`.
    pub rsv: u8,
    /// The opcode, 0 to 15.
    pub opcode: u8,
    /// The masking key, where the frame was masked.
    pub mask: Option<[u8; 4]>,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Reads the frame at the head of `bytes` and says how many bytes it took; `None` until it is there in full.
    ///
    /// A length beyond what `bytes` holds is not believed: nothing is reserved for it.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        let (len, rest) = match second & 0x7f {
            126 => rest.split_first_chunk().map(|(len, rest)| (u64::from(u16::from_be_bytes(*len)), rest))?,
            127 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len), rest))?,
            len => (u64::from(len), rest),
        };
        let (mask, rest) = match second & MASKED {
            0 => (None, rest),
            _ => rest.split_first_chunk().map(|(key, rest)| (Some(*key), rest))?,
        };
        let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        let mut payload = payload.to_vec();
        if let Some(key) = mask {
            apply_mask(key, &mut payload);
        }
        let frame = Self { fin: first & FIN != 0, rsv: first >> 4 & 0x7, opcode: first & 0xf, mask, payload };
        Some((frame, bytes.len() - rest.len()))
    }

    /// Reads all complete frames at the head of `bytes`, and returns the bytes behind them.
    pub fn parse_all(mut bytes: &[u8]) -> (Vec<Self>, &[u8]) {
        let mut frames = Vec::new();
        while let Some((frame, size)) = Self::parse(bytes) {
            frames.push(frame);
            bytes = &bytes[size..];
        }
        (frames, bytes)
    }

    /// The status code of a Close frame; `None` where the payload has none.
    pub fn close_code(&self) -> Option<u16> {
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }

    /// The reason of a Close frame: its payload behind the code.
    pub fn close_reason(&self) -> String {
        String::from_utf8_lossy(self.payload.get(2..).unwrap_or_default()).into_owned()
    }
}

impl fmt::Debug for Frame {
    /// Prints at most the first bytes of the payload: a failed assertion shall stay readable.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.payload.get(..PAYLOAD_SHOWN_MAX).unwrap_or(&self.payload);
        formatter
            .debug_struct("Frame")
            .field("fin", &self.fin)
            .field("rsv", &self.rsv)
            .field("opcode", &self.opcode)
            .field("mask", &self.mask)
            .field("payload_len", &self.payload.len())
            .field("payload", &shown.escape_ascii().to_string())
            .finish()
    }
}

/// Field widths for a payload length ([RFC 6455 §5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.2)).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Width {
    /// In the second byte: at most 125 is a length, and 126 and 127 announce the other two.
    Seven,
    /// In two bytes more.
    Sixteen,
    /// In eight bytes more.
    SixtyFour,
}

/// A frame to be written, bit by bit as the caller wants it. Begins as a correct, final, unmasked frame.
#[derive(Clone, Debug)]
pub struct Draft {
    fin: bool,
    rsv: u8,
    opcode: u8,
    mask: Mask,
    declared_len: Option<u64>,
    width: Option<Width>,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Mask {
    Absent,
    Fresh,
    Key([u8; 4]),
}

impl Draft {
    /// A frame of any opcode; its lowest four bits count.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self { fin: true, rsv: 0, opcode, mask: Mask::Absent, declared_len: None, width: None, payload }
    }

    /// A text frame.
    pub fn text(text: &str) -> Self {
        Self::new(TEXT, text)
    }

    /// A binary frame.
    pub fn binary(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(BINARY, payload)
    }

    /// A Close frame with a code and a reason; `Draft::new(CLOSE, …)` makes those without, or with one byte.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// A frame with the bits and the payload of another, unmasked.
    pub fn copy_of(frame: &Frame) -> Self {
        let draft = Self::new(frame.opcode, frame.payload.clone()).rsv(frame.rsv);
        if frame.fin { draft } else { draft.unfinished() }
    }

    /// Takes FIN away: another frame of the message is to follow.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    /// Sets the three reserved bits, RSV1 as `0b100`.
    #[must_use]
    pub fn rsv(mut self, bits: u8) -> Self {
        self.rsv = bits;
        self
    }

    /// Masks with a fresh key each time the bytes are made, as a client must (RFC 6455 §5.3).
    #[must_use]
    pub fn masked(mut self) -> Self {
        self.mask = Mask::Fresh;
        self
    }

    /// Masks with this key.
    #[must_use]
    pub fn mask_key(mut self, key: [u8; 4]) -> Self {
        self.mask = Mask::Key(key);
        self
    }

    /// Declares this length, whatever the payload has; the width follows it unless it is set too.
    #[must_use]
    pub fn declared_len(mut self, len: u64) -> Self {
        self.declared_len = Some(len);
        self
    }

    /// Writes the length in a field of this width, which may be wider than needed. The lowest bits of a length that
    /// does not fit are written.
    #[must_use]
    pub fn width(mut self, width: Width) -> Self {
        self.width = Some(width);
        self
    }

    /// The header alone, with its masking key: what a peer sends before a payload that never comes.
    pub fn header(&self) -> Vec<u8> {
        let (mut header, key) = self.head();
        header.extend(key.unwrap_or_default());
        header
    }

    /// The frame on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let (mut bytes, key) = self.head();
        let Some(key) = key else {
            bytes.extend(&self.payload);
            return bytes;
        };
        bytes.extend(key);
        let payload_start = bytes.len();
        bytes.extend(&self.payload);
        apply_mask(key, &mut bytes[payload_start..]);
        bytes
    }

    pub(super) fn is_close(&self) -> bool {
        self.opcode & 0xf == CLOSE
    }

    fn head(&self) -> (Vec<u8>, Option<[u8; 4]>) {
        let key = match self.mask {
            Mask::Absent => None,
            Mask::Fresh => Some(super::random()),
            Mask::Key(key) => Some(key),
        };
        let masked = if key.is_some() { MASKED } else { 0 };
        let fin = if self.fin { FIN } else { 0 };
        let len = self.declared_len.unwrap_or(self.payload.len() as u64);
        let mut head = vec![fin | (self.rsv & 0x7) << 4 | self.opcode & 0xf];
        match self.width.unwrap_or_else(|| width_of(len)) {
            Width::Seven => head.push(masked | len as u8 & 0x7f),
            Width::Sixteen => {
                head.push(masked | 126);
                head.extend((len as u16).to_be_bytes());
            }
            Width::SixtyFour => {
                head.push(masked | 127);
                head.extend(len.to_be_bytes());
            }
        }
        (head, key)
    }
}

/// The minimal width, the only right one (RFC 6455 §5.2).
fn width_of(len: u64) -> Width {
    match len {
        0..=125 => Width::Seven,
        126..=0xffff => Width::Sixteen,
        _ => Width::SixtyFour,
    }
}

fn apply_mask(key: [u8; 4], payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Two lines of a terminal, enough to recognise a payload by.
const PAYLOAD_SHOWN_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(draft: &Draft, expected: &[u8]) {
        assert_eq!(draft.bytes(), expected);
    }

    #[test]
    fn frames_are_those_of_rfc_6455_5_7() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        check(&Draft::text("Hello"), b"\x81\x05Hello");
        check(&Draft::text("Hello").mask_key(key), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        check(&Draft::text("Hel").unfinished(), b"\x01\x03Hel");
        check(&Draft::new(CONTINUATION, "lo"), b"\x80\x02lo");
        check(&Draft::new(PING, "Hello"), b"\x89\x05Hello");
        assert_eq!(Draft::binary([0; 256]).bytes()[..4], *b"\x82\x7e\x01\x00");
        assert_eq!(Draft::binary([0; 65_536]).bytes()[..10], *b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
    }

    #[test]
    fn malformed_frames_are_written_as_asked() {
        check(&Draft::new(0x1f, "").rsv(0b111).unfinished(), b"\x7f\x00");
        check(&Draft::text("a").width(Width::Sixteen), b"\x81\x7e\x00\x01a");
        check(&Draft::text("a").width(Width::SixtyFour), b"\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01a");
        check(&Draft::text("a").declared_len(1 << 63), b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00a");
        check(&Draft::new(CLOSE, "x"), b"\x88\x01x");
        check(&Draft::close(1002, "no"), b"\x88\x04\x03\xeano");
    }

    #[test]
    fn what_is_written_is_read_back_at_every_length_boundary() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let payload = (0..len).map(|index| index as u8).collect::<Vec<_>>();
            for draft in [Draft::binary(payload.clone()), Draft::binary(payload.clone()).masked().unfinished().rsv(2)] {
                let bytes = draft.bytes();
                let (frame, size) = Frame::parse(&bytes).expect("the frame is complete");
                assert_eq!((frame.payload.as_slice(), size), (payload.as_slice(), bytes.len()));
                assert_eq!((frame.fin, frame.rsv), (draft.fin, draft.rsv));
                assert_eq!(Draft { mask: draft.mask, ..Draft::copy_of(&frame) }.bytes().len(), bytes.len());
            }
        }
    }

    #[test]
    fn a_frame_is_read_only_when_it_is_complete() {
        let bytes = Draft::binary([7; 300]).masked().bytes();
        for end in 0..bytes.len() {
            assert_eq!(Frame::parse(&bytes[..end]), None);
        }
        assert_eq!(Frame::parse(&Draft::binary([7; 3]).declared_len(u64::MAX).bytes()), None);
    }

    #[test]
    fn frames_are_read_in_a_row_and_the_rest_is_left() {
        let bytes = [Draft::text("one").bytes(), Draft::close(1001, "bye").masked().bytes(), vec![0x81]].concat();
        let (frames, rest) = Frame::parse_all(&bytes);
        assert_eq!((frames[0].payload.as_slice(), frames.len(), rest), (b"one".as_slice(), 2, [0x81].as_slice()));
        assert_eq!((frames[1].close_code(), frames[1].close_reason().as_str()), (Some(1001), "bye"));
    }

    #[test]
    fn a_fresh_mask_differs_from_frame_to_frame() {
        let draft = Draft::text("hello").masked();
        assert_ne!(draft.bytes(), draft.bytes());
        assert_eq!(draft.header().len(), 6);
    }
}
