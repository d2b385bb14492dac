//! Compressed messages (RFC 7692 §7.2.2) against a decoder that is as naive as RFC 1951 allows.

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::{MZFlush, MZStatus};
use portcullis_core::violation::Violation;
use portcullis_core::wire::deflate::Inflater;

use crate::input::Input;

/// The most that one message may inflate to, in bytes: two windows.
const TEXT_LEN_MAX: usize = 1 << 16;

/// A byte of settings, then messages: a length and as many bytes each. They are read as payload, and, if the top bit is set,
/// as text to be compressed.
pub fn deflate(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = input.byte();
    let takeover = settings & 1 != 0;
    let mut messages = Vec::new();
    while !input.is_empty() {
        let len = match usize::from(input.byte()) {
            255 => 255 + 16 * usize::from(input.byte()),
            len => len,
        };
        messages.push(input.take(len).to_vec());
    }
    if settings & 0x80 != 0 {
        let mut compressor = compressor(settings);
        let compressed: Vec<Vec<u8>> = messages
            .iter()
            .map(|text| {
                if !takeover {
                    compressor = self::compressor(settings);
                }
                compress(&mut compressor, text)
            })
            .collect();
        assert_eq!(inflate(&compressed, takeover, usize::MAX), messages.into_iter().map(Ok).collect::<Vec<_>>());
        messages = compressed;
    }

    let texts = inflate(&messages, takeover, usize::MAX);
    for len in [1, 2 + data.len() % 7, 16 + data.len() % 61] {
        assert_eq!(inflate(&messages, takeover, len), texts, "in pieces of {len}");
    }
    let mut window = Vec::new();
    for (message, text) in messages.iter().zip(texts) {
        if !takeover {
            window.clear();
        }
        if text == Err(Violation::MessageTooBig) {
            return;
        }
        let start = window.len();
        let expected = naive_inflate(message, &mut window);
        match (expected, text) {
            (Ok(()), text) => assert_eq!(text.as_deref(), Ok(&window[start..])),
            (Err(Fault::Data), Ok(_)) => panic!("what is no deflate is inflated"),
            (Err(Fault::Cut), Ok(_)) => panic!("what ends within a block is inflated"),
            (Err(Fault::Unsettled), _) | (Err(Fault::Cut | Fault::Data), Err(_)) => return,
        }
    }
}

/// What comes of each message, up to the first that is refused.
fn inflate(messages: &[Vec<u8>], takeover: bool, piece_len: usize) -> Vec<Result<Vec<u8>, Violation>> {
    let mut inflater = Inflater::new(takeover);
    let mut texts = Vec::new();
    for message in messages {
        let mut text = Vec::new();
        let mut sink = |bytes: &[u8]| {
            text.extend(bytes);
            if text.len() > TEXT_LEN_MAX { Err(Violation::MessageTooBig) } else { Ok(()) }
        };
        let pieces = message.chunks(piece_len).try_for_each(|piece| inflater.receive(piece, &mut sink));
        let result = pieces.and_then(|()| inflater.finish());
        assert!(inflater.memory_len() <= 64 * 1_024, "{} bytes are held", inflater.memory_len());
        texts.push(result.map(|()| text));
        if result.is_err() {
            break;
        }
    }
    texts
}

fn compressor(settings: u8) -> CompressorOxide {
    CompressorOxide::new(create_comp_flags_from_zip_params(
        i32::from(settings >> 1 & 0x0f).min(10),
        -15,
        i32::from(settings >> 5 & 3),
    ))
}

/// Flushed, and the last four bytes taken off (RFC 7692 §7.2.1).
fn compress(compressor: &mut CompressorOxide, text: &[u8]) -> Vec<u8> {
    let mut out = vec![0; text.len() * 2 + 100];
    let result = miniz_oxide::deflate::stream::deflate(compressor, text, &mut out, MZFlush::Sync);
    assert_eq!((result.status, result.bytes_consumed), (Ok(MZStatus::Ok), text.len()));
    out.truncate(result.bytes_written);
    assert_eq!(out.split_off(out.len() - 4), [0, 0, 0xff, 0xff]);
    out
}

/// Why there is no text.
enum Fault {
    /// It does not end where a block ends.
    Cut,
    /// No compressor makes it.
    Data,
    /// Decoders differ: codes that leave some bits without a meaning, too much text.
    Unsettled,
}

/// Inflates a message behind what is in `out` already.
fn naive_inflate(message: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let stream = [message, &[0, 0, 0xff, 0xff]].concat();
    let mut bits = Bits { bytes: &stream, at: 0 };
    let start = out.len();
    let mut end_of_final = None;
    loop {
        let is_final = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => stored(&mut bits, out)?,
            1 => {
                let lengths = (0..288).map(|symbol| match symbol {
                    0..=143 => 8,
                    144..=255 => 9,
                    256..=279 => 7,
                    _ => 8,
                });
                compressed(&mut bits, out, &lengths.collect::<Vec<_>>(), &[5; 30])?;
            }
            2 => {
                let (literals, distances) = dynamic_codes(&mut bits)?;
                compressed(&mut bits, out, &literals, &distances)?;
            }
            _ => return Err(Fault::Data),
        }
        if out.len() - start > TEXT_LEN_MAX {
            return Err(Fault::Unsettled);
        }
        if end_of_final.is_some_and(|end| end < out.len()) {
            return Err(Fault::Data);
        }
        if is_final {
            bits.align();
            end_of_final.get_or_insert(out.len());
        }
        if bits.at == 8 * stream.len() {
            return Ok(());
        }
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    bits.align();
    let (len, complement) = (bits.take(16)?, bits.take(16)?);
    if len != complement ^ 0xffff {
        return Err(Fault::Data);
    }
    for _ in 0..len {
        out.push(bits.take(8)? as u8);
    }
    Ok(())
}

/// RFC 1951 §3.2.5.
fn compressed(bits: &mut Bits<'_>, out: &mut Vec<u8>, literals: &[u8], distances: &[u8]) -> Result<(), Fault> {
    loop {
        match symbol(bits, literals)? {
            literal @ 0..=255 => out.push(literal as u8),
            256 => return Ok(()),
            symbol => {
                let len = match symbol {
                    257..=264 => symbol - 254,
                    265..=284 => {
                        let extra = (symbol - 261) / 4;
                        3 + (((4 + (symbol - 265) % 4) << extra) + bits.take(extra)?)
                    }
                    285 => 258,
                    _ => return Err(Fault::Data),
                };
                let distance = match self::symbol(bits, distances)? {
                    code @ 0..=3 => code + 1,
                    code @ 4..=29 => {
                        let extra = (code - 2) / 2;
                        1 + (((2 + code % 2) << extra) + bits.take(extra)?)
                    }
                    _ => return Err(Fault::Data),
                };
                let start = out.len().checked_sub(distance).ok_or(Fault::Data)?;
                for index in start..start + len {
                    out.push(out[index]);
                }
            }
        }
    }
}

/// RFC 1951 §3.2.7.
fn dynamic_codes(bits: &mut Bits<'_>) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let literals = 257 + bits.take(5)?;
    let distances = 1 + bits.take(5)?;
    let count = 4 + bits.take(4)?;
    let mut of_lengths = [0; 19];
    for place in ORDER.iter().take(count) {
        of_lengths[*place] = bits.take(3)? as u8;
    }
    assert_code(&of_lengths)?;
    let mut lengths: Vec<u8> = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match symbol(bits, &of_lengths)? {
            16 => (*lengths.last().ok_or(Fault::Data)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length as u8, 1),
        };
        lengths.extend(vec![length; times]);
    }
    if lengths.len() != literals + distances {
        return Err(Fault::Data);
    }
    let distances = lengths.split_off(literals);
    // Symbols that no block may use: some decoders refuse the code, others the symbol.
    if lengths.len() > 286 || distances.len() > 30 || lengths[256] == 0 {
        return Err(Fault::Unsettled);
    }
    assert_code(&lengths)?;
    assert_code(&distances)?;
    Ok((lengths, distances))
}

/// Whether every sequence of bits means one symbol; fewer leave room to decoders, more do not decode.
fn assert_code(lengths: &[u8]) -> Result<(), Fault> {
    let used: u32 = lengths.iter().filter(|length| **length > 0).map(|length| 1 << (15 - u32::from(*length))).sum();
    match used.cmp(&(1 << 15)) {
        std::cmp::Ordering::Less => Err(Fault::Unsettled),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(Fault::Data),
    }
}

/// Reads one symbol of the canonical code that `lengths` make (RFC 1951 §3.2.2).
fn symbol(bits: &mut Bits<'_>, lengths: &[u8]) -> Result<usize, Fault> {
    let (mut code, mut first) = (0_usize, 0_usize);
    for length in 1..=15_u8 {
        code = code << 1 | bits.take(1)?;
        first <<= 1;
        let count = lengths.iter().filter(|own| **own == length).count();
        if code < first + count {
            let symbols = lengths.iter().enumerate().filter(|(_, own)| **own == length);
            return symbols.map(|(symbol, _)| symbol).nth(code - first).ok_or(Fault::Data);
        }
        first += count;
    }
    Err(Fault::Data)
}

/// Bits, the lowest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<usize, Fault> {
        let mut value = 0;
        for shift in 0..count {
            let byte = self.bytes.get(self.at / 8).ok_or(Fault::Cut)?;
            value |= usize::from(byte >> (self.at % 8) & 1) << shift;
            self.at += 1;
        }
        Ok(value)
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}
