//! The payload of compressed messages (RFC 7692 §7.2.2), inflated piece by piece into a window that never grows.
//!
//! What comes out is judged and dropped: the compressed bytes themselves go on. It is stricter than most receivers where they
//! differ from one another: a message has to end where a block ends, and nothing may come out of it behind a final block.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::violation::Violation;

/// How far back deflate refers (RFC 1951 §2): every smaller window that peers may agree on is within it.
const WINDOW_LEN: usize = 32_768;

/// What is inflated before the window moves: each move copies [`WINDOW_LEN`], so four bytes for each that comes out.
const ROOM_LEN: usize = 8_192;

/// The first buffer of a connection; most messages are shorter.
const FIRST_LEN: usize = 1_024;

/// "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message" (RFC 7692 §7.2.2). A final empty block
/// behind them ends well only where a block may begin.
const TAIL: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// Inflates the messages of one side, one after the other.
pub struct Inflater {
    takeover: bool,
    /// The Huffman tables of the message in hand.
    state: Option<Box<DecompressorOxide>>,
    /// What was inflated, the latest [`WINDOW_LEN`] at least, and room.
    buf: Vec<u8>,
    /// Where the room begins.
    end: usize,
    /// A final block has been read in the message in hand.
    ended: bool,
}

impl Inflater {
    /// `takeover`: whether a message may refer to the ones before it (RFC 7692 §7.1.1).
    #[must_use]
    pub const fn new(takeover: bool) -> Self {
        Self { takeover, state: None, buf: Vec::new(), end: 0, ended: false }
    }

    /// Another one for the messages to come, after one that could not be followed: where they refer to none before them.
    #[must_use]
    pub fn restarted(&self) -> Option<Self> {
        (!self.takeover).then(|| Self::new(false))
    }

    /// Inflates the next piece of a message and shows `sink` what comes out, in pieces.
    ///
    /// # Errors
    /// [`Violation::InvalidDeflate`] for what no compressor makes; what `sink` finds.
    pub fn receive(
        &mut self,
        piece: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        self.inflate(piece, sink).map(|_| ())
    }

    /// The end of the message; keeps no more than the next one needs.
    ///
    /// # Errors
    /// [`Violation::InvalidDeflate`] for a message that ends within a block.
    pub fn finish(&mut self) -> Result<(), Violation> {
        // What came out of our own bytes would be a block that they finished.
        let nothing = |text: &[u8]| if text.is_empty() { Ok(()) } else { Err(Violation::InvalidDeflate) };
        let whole = self.inflate(&TAIL, &mut { nothing })?;
        self.state = None;
        self.ended = false;
        if !self.takeover {
            self.buf = Vec::new();
            self.end = 0;
        }
        if whole { Ok(()) } else { Err(Violation::InvalidDeflate) }
    }

    /// Returns whether `input` ended with a final block.
    fn inflate(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<bool, Violation> {
        let mut rest = input;
        loop {
            self.make_room();
            let state = self.state.get_or_insert_with(Box::default);
            let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
            let (status, read, written) = decompress(state, rest, &mut self.buf, self.end, flags);
            rest = rest.get(read..).unwrap_or_default();
            let start = self.end;
            self.end = self.end.saturating_add(written);
            if written > 0 && self.ended {
                return Err(Violation::InvalidDeflate);
            }
            sink(self.buf.get(start..self.end).unwrap_or_default())?;
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if rest.is_empty() => return Ok(false),
                TINFLStatus::Done => {
                    self.ended = true;
                    state.init();
                    if rest.is_empty() {
                        return Ok(true);
                    }
                }
                _ => return Err(Violation::InvalidDeflate),
            }
        }
    }

    /// The memory that is held, in bytes.
    #[must_use]
    pub fn memory_len(&self) -> usize {
        let state = if self.state.is_some() { size_of::<DecompressorOxide>() } else { 0 };
        self.buf.capacity().saturating_add(state)
    }

    fn make_room(&mut self) {
        if self.end < self.buf.len() {
            return;
        }
        let len_max = WINDOW_LEN.saturating_add(ROOM_LEN);
        if self.buf.len() < len_max {
            let len = self.buf.len().saturating_mul(2).clamp(FIRST_LEN, len_max);
            self.buf.reserve_exact(len.saturating_sub(self.buf.len()));
            self.buf.resize(len, 0);
        } else {
            self.buf.copy_within(ROOM_LEN.., 0);
            self.end = WINDOW_LEN;
        }
    }
}

impl core::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Inflater({} bytes)", self.memory_len())
    }
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
    use miniz_oxide::deflate::stream::deflate;
    use miniz_oxide::{MZFlush, MZStatus};

    use super::*;

    /// Compresses as RFC 7692 §7.2.1 says: flushed, and the last four bytes taken off.
    fn compress(compressor: &mut CompressorOxide, text: &[u8]) -> Vec<u8> {
        let mut out = vec![0; text.len() * 2 + 100];
        let result = deflate(compressor, text, &mut out, MZFlush::Sync);
        assert_eq!((result.status, result.bytes_consumed), (Ok(MZStatus::Ok), text.len()));
        out.truncate(result.bytes_written);
        assert_eq!(out.split_off(out.len() - 4), [0, 0, 0xff, 0xff]);
        out
    }

    fn compressor() -> CompressorOxide {
        CompressorOxide::new(create_comp_flags_from_zip_params(6, -15, 0))
    }

    /// One message in pieces of `piece` bytes.
    fn inflate(inflater: &mut Inflater, payload: &[u8], piece: usize) -> Result<Vec<u8>, Violation> {
        let mut text = Vec::new();
        let mut sink = |bytes: &[u8]| {
            text.extend(bytes);
            Ok(())
        };
        for piece in payload.chunks(piece) {
            inflater.receive(piece, &mut sink)?;
        }
        inflater.finish()?;
        Ok(text)
    }

    #[track_caller]
    fn check(payload: &[u8], expected: Result<&[u8], Violation>) {
        for piece in 1..=payload.len().max(1) {
            let found = inflate(&mut Inflater::new(false), payload, piece);
            assert_eq!(found, expected.map(<[u8]>::to_vec), "pieces of {piece}");
        }
    }

    /// Bytes that do not compress well and repeat far back.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let block: Vec<u8> = (0..30_000).map(|_| next()).collect();
        block.into_iter().cycle().take(len).collect()
    }

    #[test]
    fn the_examples_of_the_rfc_are_inflated() {
        // RFC 7692 §7.2.3.1, .3, .4, .5.
        check(b"\xf2\x48\xcd\xc9\xc9\x07\x00", Ok(b"Hello"));
        check(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", Ok(b"Hello"));
        check(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", Ok(b"Hello"));
        check(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", Ok(b"Hello"));
        // §7.2.3.6: an empty message.
        check(b"\x00", Ok(b""));
    }

    #[test]
    fn a_later_message_refers_to_an_earlier_one_only_with_takeover() {
        // RFC 7692 §7.2.3.2.
        let (first, second) = (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00");
        let mut inflater = Inflater::new(true);
        assert_eq!(inflate(&mut inflater, first, 1).unwrap(), b"Hello");
        assert_eq!(inflate(&mut inflater, second, 1).unwrap(), b"Hello");
        let mut inflater = Inflater::new(false);
        assert_eq!(inflate(&mut inflater, first, 1).unwrap(), b"Hello");
        assert_eq!(inflate(&mut inflater, second, 1), Err(Violation::InvalidDeflate));
    }

    #[test]
    fn messages_longer_than_the_window_are_inflated() {
        let mut compressor = compressor();
        let mut inflater = Inflater::new(true);
        for len in [0, 1, 100, 8_191, 8_192, 8_193, 40_959, 40_960, 40_961, 65_536, 200_000, 1] {
            let text = noise(len);
            let payload = compress(&mut compressor, &text);
            for piece in [1_000, usize::MAX] {
                let mut copy = Inflater { state: None, buf: inflater.buf.clone(), ..inflater };
                assert!(inflate(&mut copy, &payload, piece).unwrap() == text, "{len} in pieces of {piece}");
            }
            assert!(inflate(&mut inflater, &payload, 7).unwrap() == text, "{len}");
            assert!(inflater.memory_len() <= WINDOW_LEN + ROOM_LEN);
        }
    }

    #[test]
    fn nothing_is_kept_of_a_message_without_takeover() {
        let mut inflater = Inflater::new(false);
        inflate(&mut inflater, &compress(&mut compressor(), &noise(100_000)), 999).unwrap();
        assert_eq!(inflater.memory_len(), 0);
    }

    #[test]
    fn what_no_compressor_makes_is_refused() {
        let refused = Err(Violation::InvalidDeflate);
        check(b"", refused);
        // A reserved block type, a stored block whose lengths differ, a block that is cut off, and one behind a final one.
        check(b"\x07", refused);
        check(b"\x00\x05\x00\xfb\xff", refused);
        check(b"\xf2\x48\xcd\xc9", refused);
        check(b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00", refused);
        // A final block that the bytes put behind it would end.
        check(b"\xf3\x48\xcd\xc9\xab\xbb\xe9\xcc\x73\x6c", refused);
        // A reference to what never was.
        check(b"\xf2\x00\x11\x00\x00", refused);
    }

    #[test]
    fn what_the_sink_finds_ends_it() {
        let payload = compress(&mut compressor(), &vec![b'x'; 10_000_000]);
        let (mut seen, mut inflater) = (0, Inflater::new(true));
        let found = inflater.receive(&payload, &mut |bytes| {
            seen += bytes.len();
            if seen > 65_536 { Err(Violation::MessageTooBig) } else { Ok(()) }
        });
        assert_eq!(found, Err(Violation::MessageTooBig));
        assert!(seen <= 65_536 + WINDOW_LEN + ROOM_LEN, "{seen}");
    }
}
