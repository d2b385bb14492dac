//! The frame header (RFC 6455 §5.2).
//!
//! ```text
//!  0               1               2 …            10 …           14
//! +-+-+-+-+-------+-+-------------+----------------+--------------+
//! |F|R|R|R| opcode|M| length (7)  | 16 or 64 bits  | masking key  |
//! +-+-+-+-+-------+-+-------------+----------------+--------------+
//! ```
//!
//! A header is judged byte by byte, as early as its bytes allow: a reserved opcode is refused before any length behind
//! it is looked at. Payload is never read here.

use super::Side;
use crate::violation::Violation;

/// The longest header: two bytes, a 64-bit length, a masking key.
pub const HEADER_LEN_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub const CONTROL_LEN_MAX: u64 = 125;

const FIN: u8 = 0b1000_0000;
const RSV: u8 = 0b0111_0000;
const RSV1: u8 = 0b0100_0000;
const OPCODE: u8 = 0b0000_1111;
/// "Control frames are identified by opcodes where the most significant bit of the opcode is 1" (RFC 6455 §5.5).
const CONTROL: u8 = 0b0000_1000;
const MASK: u8 = 0b1000_0000;
const LEN: u8 = 0b0111_1111;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// What a frame is (RFC 6455 §11.8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    /// `0x0`: the next fragment of an unfinished message.
    Continuation,
    /// `0x1`: a text message, or its first fragment.
    Text,
    /// `0x2`: a binary message, or its first fragment.
    Binary,
    /// `0x8`: the sender closes.
    Close,
    /// `0x9`: asks for a pong.
    Ping,
    /// `0xa`: answers a ping, or nothing.
    Pong,
    /// `0x3` to `0x7`: data of an unknown extension, in its place among other data. Only [`FrameHeader::measure`] gives it.
    Reserved,
}

impl Opcode {
    /// Whether this is a control frame, or else no part of a message: it may stand between the fragments of one.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong | Self::Reserved)
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }
}

/// What the headers of one side have to follow.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// The side that sends the frames.
    pub from: Side,
    /// Whether permessage-deflate was negotiated, which gives the first reserved bit a meaning (RFC 7692 §6).
    pub deflate: bool,
}

/// A whole, well-formed frame header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameHeader {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// Whether this is the first fragment of a compressed message (RFC 7692 §6).
    pub compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key that the payload is masked with, in frames of the client (RFC 6455 §5.3).
    pub mask: Option<[u8; 4]>,
    /// The length of the payload, in bytes.
    pub payload_len: u64,
    /// The length of this header on the wire, in bytes.
    pub header_len: usize,
}

impl FrameHeader {
    /// Reads a header from the start of `bytes`; `None` while more bytes are needed.
    ///
    /// # Errors
    /// [`Violation::ProtocolError`] for reserved bits and opcodes, wrong masking, long or fragmented control frames, a
    /// Close of one byte, and lengths that are not minimal or have their top bit set.
    pub fn decode(bytes: &[u8], framing: Framing) -> Result<Option<Self>, Violation> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        let fin = first & FIN != 0;
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(Violation::ProtocolError)?;
        // "MUST be 0 unless an extension is negotiated" (RFC 6455 §5.2); permessage-deflate sets the first one, and only "on the
        // first fragment of a message" (RFC 7692 §6.1).
        let compressed = first & RSV == RSV1;
        let may_be_compressed = framing.deflate && matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & RSV != 0 && !(compressed && may_be_compressed) {
            return Err(Violation::ProtocolError);
        }
        // "All control frames … MUST NOT be fragmented" (RFC 6455 §5.5).
        if opcode.is_control() && !fin {
            return Err(Violation::ProtocolError);
        }

        let [second, rest @ ..] = rest else { return Ok(None) };
        let masked = second & MASK != 0;
        // "A server MUST close the connection upon receiving a frame that is not masked", and the client upon one that
        // is (RFC 6455 §5.1).
        if masked != (framing.from == Side::Client) {
            return Err(Violation::ProtocolError);
        }
        let short = second & LEN;
        if opcode.is_control() && u64::from(short) > CONTROL_LEN_MAX {
            return Err(Violation::ProtocolError);
        }
        // "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer" (RFC 6455 §5.5.1).
        if opcode == Opcode::Close && short == 1 {
            return Err(Violation::ProtocolError);
        }

        let Some((payload_len, len_len)) = payload_len(short, rest)? else { return Ok(None) };
        let rest = rest.get(len_len..).unwrap_or_default();
        let mask = match (masked, rest.first_chunk()) {
            (false, _) => None,
            (true, Some(key)) => Some(*key),
            (true, None) => return Ok(None),
        };
        let header_len = 2_usize.saturating_add(len_len).saturating_add(if masked { 4 } else { 0 });
        Ok(Some(Self { fin, compressed, opcode, mask, payload_len, header_len }))
    }
}

impl FrameHeader {
    /// Reads how long a frame is that follows no rules, from the start of `bytes`; `None` while more bytes are needed. Every control
    /// frame counts as a Ping, which says nothing of the frames around it.
    #[must_use]
    pub fn measure(bytes: &[u8]) -> Option<Self> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (payload_len, len_len) = match second & LEN {
            LEN_16 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
            LEN_64 => (u64::from_be_bytes(*rest.first_chunk()?), 8),
            short => (u64::from(short), 0),
        };
        let is_masked = second & MASK != 0;
        let mask = if is_masked { Some(*rest.get(len_len..)?.first_chunk()?) } else { None };
        let opcode = match (Opcode::from_bits(first & OPCODE), first & CONTROL) {
            (_, CONTROL) => Opcode::Ping,
            (opcode, _) => opcode.unwrap_or(Opcode::Reserved),
        };
        let header_len = 2_usize.saturating_add(len_len).saturating_add(if is_masked { 4 } else { 0 });
        Some(Self { fin: first & FIN != 0, compressed: false, opcode, mask, payload_len, header_len })
    }
}

/// The payload length and how many bytes behind the second one spell it; `None` while more are needed.
fn payload_len(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        LEN_16 => {
            let Some(bytes) = rest.first_chunk() else { return Ok(None) };
            let len = u16::from_be_bytes(*bytes);
            // "The minimal number of bytes MUST be used to encode the length" (RFC 6455 §5.2).
            if len < u16::from(LEN_16) {
                return Err(Violation::ProtocolError);
            }
            Ok(Some((u64::from(len), 2)))
        }
        LEN_64 => {
            // "The most significant bit MUST be 0" (RFC 6455 §5.2).
            if rest.first().is_some_and(|byte| byte & 0b1000_0000 != 0) {
                return Err(Violation::ProtocolError);
            }
            let Some(bytes) = rest.first_chunk() else { return Ok(None) };
            let len = u64::from_be_bytes(*bytes);
            if len <= u64::from(u16::MAX) {
                return Err(Violation::ProtocolError);
            }
            Ok(Some((len, 8)))
        }
        short => Ok(Some((u64::from(short), 0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn plain(from: Side) -> Framing {
        Framing { from, deflate: false }
    }

    #[track_caller]
    fn accept(bytes: &[u8], from: Side, expected: (bool, Opcode, u64)) {
        for cut in 0..bytes.len() {
            assert_eq!(FrameHeader::decode(&bytes[..cut], plain(from)), Ok(None), "cut at {cut}");
        }
        let header = FrameHeader::decode(bytes, plain(from)).unwrap().unwrap();
        assert_eq!((header.fin, header.opcode, header.payload_len), expected);
        assert_eq!(header.header_len, bytes.len());
    }

    /// Refused with the last byte of `bytes`, and not before.
    #[track_caller]
    fn refuse(bytes: &[u8], from: Side) {
        let (_, before) = bytes.split_last().unwrap();
        assert_eq!(FrameHeader::decode(before, plain(from)), Ok(None));
        assert_eq!(FrameHeader::decode(bytes, plain(from)), Err(Violation::ProtocolError));
    }

    #[test]
    fn headers_of_every_length_are_read() {
        accept(b"\x81\x85\x37\xfa\x21\x3d", Side::Client, (true, Opcode::Text, 5));
        accept(b"\x81\x05", Side::Server, (true, Opcode::Text, 5));
        accept(b"\x02\x7d", Side::Server, (false, Opcode::Binary, 125));
        accept(b"\x82\x7e\x00\x7e", Side::Server, (true, Opcode::Binary, 126));
        accept(b"\x80\x7e\xff\xff", Side::Server, (true, Opcode::Continuation, 65_535));
        accept(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", Side::Server, (true, Opcode::Binary, 65_536));
        accept(
            b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04",
            Side::Client,
            (true, Opcode::Binary, u64::MAX >> 1),
        );
        accept(b"\x89\xfd\x00\x00\x00\x00", Side::Client, (true, Opcode::Ping, 125));
        accept(b"\x88\x00", Side::Server, (true, Opcode::Close, 0));
        accept(b"\x88\x02", Side::Server, (true, Opcode::Close, 2));
    }

    #[test]
    fn reserved_bits_and_opcodes_are_refused_by_the_first_byte() {
        for rsv in [0x40, 0x20, 0x10, 0x70] {
            refuse(&[0x81 | rsv], Side::Client);
            refuse(&[0x89 | rsv], Side::Server);
        }
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            refuse(&[0x80 | opcode], Side::Client);
        }
    }

    #[test]
    fn the_first_reserved_bit_marks_compressed_messages_where_they_are_negotiated() {
        let decode = |first: u8| FrameHeader::decode(&[first, 0], Framing { from: Side::Server, deflate: true });
        for first in [0xc1, 0xc2, 0x41, 0x42] {
            assert!(decode(first).unwrap().unwrap().compressed);
        }
        for first in [0x81, 0x80, 0x89] {
            assert!(!decode(first).unwrap().unwrap().compressed);
        }
        for first in [0xc0, 0x40, 0xc8, 0xc9, 0xca, 0xa1, 0x91, 0xe1, 0xd1, 0xf1] {
            assert_eq!(decode(first), Err(Violation::ProtocolError), "{first:x}");
        }
    }

    #[test]
    fn masking_follows_the_side() {
        refuse(b"\x81\x05", Side::Client);
        refuse(b"\x81\x85", Side::Server);
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        refuse(b"\x09", Side::Client);
        refuse(b"\x08", Side::Server);
        refuse(b"\x89\xfe", Side::Client);
        refuse(b"\x8a\x7f", Side::Server);
        refuse(b"\x88\x81", Side::Client);
    }

    #[test]
    fn lengths_are_minimal_and_have_no_top_bit() {
        refuse(b"\x82\x7e\x00\x7d", Side::Server);
        refuse(b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", Side::Server);
        refuse(b"\x82\xff\x80", Side::Client);
    }
}
