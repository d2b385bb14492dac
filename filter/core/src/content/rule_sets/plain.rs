//! Undoes the encodings that stand between a text and what reads it.
//!
//! Percent-encoding, escapes of strings (`\x27`, `\u0027`), character references of HTML, full-width characters, overlong UTF-8, typographic quotes
//! that databases fold to plain ones, and control characters that readers drop: however deep in each other, in one pass. A byte that completes an
//! escape takes its place, and may complete the next; each step makes the text shorter, so the work is linear, and the result is never longer.

use super::bytes::{BEYOND, Kinds, NUL, is, of, split_until};

/// Bytes of which every encoding has one.
pub(super) const SIGNS: Kinds = of(b"%\\&") | NUL | BEYOND;

/// The longest character reference, from `&` to before `;`.
const REFERENCE_LEN_MAX: usize = 12;

/// What an encoding may begin with, and the mark that ends the only one that may be longer than [`ENCODING_LEN_MAX`].
const STOPS: Kinds = SIGNS | of(b"}");

/// The longest encoding that is no reference and has no brackets: `\u0027`.
const ENCODING_LEN_MAX: usize = 6;

/// How much of encodings in each other is waited for behind a reference that they may go on with.
const TAIL_LEN_MAX: usize = ENCODING_LEN_MAX * 4;

/// `text` without its encodings; `None` where it has none.
pub(super) fn plain(text: &str) -> Option<Vec<u8>> {
    let mut plain = Plain { out: Vec::with_capacity(text.len()), sign_at: 0, reference: None, tail: None };
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        if plain.is_quiet() {
            let (ordinary, sign) = split_until(rest, STOPS);
            plain.out.extend_from_slice(ordinary);
            rest = sign;
            plain.sign_at = plain.out.len();
        } else {
            plain.push(*byte, false);
            rest = behind;
        }
    }
    plain.end_reference(b' ');
    plain.end_tail();
    if plain.out == text.as_bytes() { None } else { Some(plain.out) }
}

struct Plain {
    out: Vec<u8>,
    /// Before this place, a sign may stand in `out`, and no other behind it.
    sign_at: usize,
    /// Where the last `&` is in `out`, while a reference may follow it.
    reference: Option<usize>,
    /// Where a sign is behind it, whose encoding may be of its next byte.
    tail: Option<usize>,
}

impl Plain {
    /// Whether nothing that comes before the next sign completes an encoding.
    fn is_quiet(&self) -> bool {
        self.reference.is_none() && self.out.len() > self.sign_at.saturating_add(ENCODING_LEN_MAX)
    }

    /// Puts a byte behind the others, and what they are together in their place; `decoded`: it was not written so.
    fn push(&mut self, byte: u8, decoded: bool) {
        let (mut byte, mut decoded) = (byte, decoded);
        loop {
            if self.end_reference(byte) || byte == b';' && self.end_name() {
                return;
            }
            if byte == b'&' {
                self.reference = Some(self.out.len());
            }
            self.out.push(byte);
            if decoded || is(byte, SIGNS) {
                self.sign_at = self.out.len();
            }
            let Some((len, instead)) = completed(&self.out, decoded) else { return };
            // What stands before it may be part of one as well.
            self.sign_at = self.out.len();
            self.out.truncate(self.out.len().saturating_sub(len));
            match instead {
                Instead::Nothing => return,
                Instead::Byte(plain) => (byte, decoded) = (plain, true),
                Instead::Char(plain) => {
                    let mut buf = [0; 4];
                    for part in plain.encode_utf8(&mut buf).bytes() {
                        // A character beyond ASCII completes no further escape, so this ends here.
                        self.push(part, true);
                    }
                    return;
                }
            }
        }
    }

    /// A byte that no longer belongs to a number ends a reference, with or without `;`, and so does any behind `&lt` and `&gt`. Whether it is that `;`.
    fn end_reference(&mut self, byte: u8) -> bool {
        let Some(start) = self.reference else { return false };
        match self.tail.map(|tail| self.out.len().saturating_sub(tail)) {
            // What took the place of the sign and those behind it.
            Some(0) => self.tail = None,
            Some(1..TAIL_LEN_MAX) if byte != b'&' => return false,
            Some(_) => {
                self.end_tail();
                return false;
            }
            None => {}
        }
        let name = self.out.get(start.saturating_add(1)..).unwrap_or_default();
        let is_short = name.len() <= REFERENCE_LEN_MAX;
        let goes_on = match (name, numeric(name)) {
            (_, Some((number, radix))) => {
                is_short && (char::from(byte).is_digit(radix) || (number.is_empty() && matches!(byte, b'x' | b'X')))
            }
            ([b'l' | b'L' | b'g' | b'G', b't' | b'T'], None) => false,
            (_, None) => {
                self.reference = Some(start).filter(|_| is_short);
                true
            }
        };
        !goes_on && self.end_at(start, byte)
    }

    /// The reference at `start` ends before `byte`, unless that is the sign of an encoding.
    fn end_at(&mut self, start: usize, byte: u8) -> bool {
        if byte != b'&' && is(byte, SIGNS) {
            self.tail = Some(self.out.len());
            return false;
        }
        self.reference = None;
        let name = self.out.get(start.saturating_add(1)..).unwrap_or_default();
        let Some(plain) = reference(name) else { return false };
        self.replace(start, plain);
        byte == b';'
    }

    /// A sign behind a reference has begun no encoding.
    fn end_tail(&mut self) {
        if let (Some(start), Some(tail)) = (self.reference, self.tail.take()) {
            let behind = self.out.split_off(tail.min(self.out.len()));
            self.end_at(start, b' ');
            for byte in behind {
                self.push(byte, false);
            }
        }
    }

    /// `;` ends a reference by name. Whether it was one.
    fn end_name(&mut self) -> bool {
        let Some(start) = self.reference.take() else { return false };
        let name = self.out.get(start.saturating_add(1)..).unwrap_or_default();
        let Some((_, plain)) = NAMES.iter().find(|(one, _)| one.as_bytes().eq_ignore_ascii_case(name)) else {
            return false;
        };
        self.replace(start, *plain);
        true
    }

    fn replace(&mut self, start: usize, plain: char) {
        self.out.truncate(start);
        let mut buf = [0; 4];
        for part in plain.encode_utf8(&mut buf).bytes() {
            self.push(part, true);
        }
    }
}

/// The digits of a reference by number, and their base.
fn numeric(name: &[u8]) -> Option<(&[u8], u32)> {
    match name {
        [b'#', b'x' | b'X', digits @ ..] => Some((digits, 16)),
        [b'#', digits @ ..] => Some((digits, 10)),
        _ => None,
    }
}

/// What a reference stands for that needs no `;`.
fn reference(name: &[u8]) -> Option<char> {
    match (name, numeric(name)) {
        (_, Some((digits, radix))) => number(digits, radix).filter(|_| !digits.is_empty()).and_then(char::from_u32),
        ([b'l' | b'L', ..], None) => Some('<'),
        (_, None) => Some('>'),
    }
}

/// What takes the place of the last bytes.
enum Instead {
    Byte(u8),
    Char(char),
    Nothing,
}

/// How many bytes at the end of `out` are an encoding that is complete, and of what.
fn completed(out: &[u8], decoded: bool) -> Option<(usize, Instead)> {
    let (last, before) = out.split_last()?;
    match *last {
        0x1c if before.last() == Some(&0xc1) => Some((2, Instead::Byte(b'\\'))),
        0 | 127 => Some((1, Instead::Nothing)),
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => escape(out, decoded),
        b'}' => braces(out),
        b'.' | b'/' | b'\\' | b'^' => match before.last()? {
            0xc0 => Some((2, Instead::Byte(if *last == b'^' { b'.' } else { *last }))),
            _ => None,
        },
        128.. => wide(out),
        _ => None,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    number(digits, 16)
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |number: u32, digit| number.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?))
}

/// An escape that ends with a digit.
fn escape(out: &[u8], decoded: bool) -> Option<(usize, Instead)> {
    match out {
        // Decoders that do not check their digits.
        [.., 0xc0, b'%', b'9', b'v'] | [.., 0xc0, b'%', b'q', b'f'] => Some((4, Instead::Byte(b'/'))),
        [.., 0xc1, b'%', b'8', b's'] | [.., 0xc1, b'%', b'p', b'c'] => Some((4, Instead::Byte(b'/'))),
        [.., b'%', b'b', b'g', b'%', b'q', b'f'] => Some((6, Instead::Byte(b'/'))),
        [.., 0xc0, b'n'] => Some((2, Instead::Byte(b'.'))),
        [.., b'%', high, low] if hex(&[*high, *low]).is_some() => byte_of(&[*high, *low], 3),
        [.., b'\\', b'x' | b'X', high, low] if hex(&[*high, *low]).is_some() => byte_of(&[*high, *low], 4),
        [.., b'%', high, b'%', low] if decoded && hex(&[*high, *low]).is_some() => byte_of(&[*high, *low], 4),
        [.., b'%' | b'\\', b'u' | b'U', a, b, c, d] => {
            let plain = char::from_u32(hex(&[*a, *b, *c, *d])?)?;
            Some((6, if plain.is_ascii() { Instead::Byte(u8::try_from(plain).ok()?) } else { Instead::Char(plain) }))
        }
        _ => None,
    }
}

fn byte_of(digits: &[u8], len: usize) -> Option<(usize, Instead)> {
    Some((len, Instead::Byte(u8::try_from(hex(digits)?).ok()?)))
}

/// `\u{27}`.
fn braces(out: &[u8]) -> Option<(usize, Instead)> {
    let near = out.len().checked_sub(REFERENCE_LEN_MAX).and_then(|at| out.get(at..)).unwrap_or(out);
    let at = near.windows(3).rposition(|window| window == b"\\u{")?;
    let escape = near.get(at..)?;
    let plain = char::from_u32(hex(escape.strip_prefix(b"\\u{")?.strip_suffix(b"}")?)?)?;
    Some((escape.len(), Instead::Char(plain)))
}

/// Characters beyond ASCII that are read as one of ASCII, and overlong UTF-8.
fn wide(out: &[u8]) -> Option<(usize, Instead)> {
    let ascii = |len, byte| Some((len, Instead::Byte(byte)));
    match out {
        [.., 0xc0, 0xae | 0xee | 0xfe] => ascii(2, b'.'),
        [.., 0xc1, 0xaf] => ascii(2, b'/'),
        [.., 0xc0, low] => ascii(2, low & 0x3f),
        [.., 0xc1, low] => ascii(2, 0x40 | (low & 0x3f)),
        [.., 0xe0, 0x80, low]
        | [.., 0xf0, 0x80, 0x80, low]
        | [.., 0xf8, 0x80, 0x80, 0x80, low]
        | [.., 0xfc, 0x80, 0x80, 0x80, 0x80, low]
            if *low != 0x80 =>
        {
            ascii(utf8_len(out), low & 0x3f)
        }
        // Full width.
        [.., 0xef, 0xbc, low @ 0x81..=0xbf] => ascii(3, low.wrapping_sub(0x60)),
        [.., 0xef, 0xbd, low @ 0x80..=0x9e] => ascii(3, low.wrapping_sub(0x20)),
        // Quotes, primes and slashes.
        [.., 0xe2, 0x80, 0x98 | 0x99 | 0x9b | 0xb2] => ascii(3, b'\''),
        [.., 0xca, 0xb9 | 0xbc] => ascii(2, b'\''),
        [.., 0xe2, 0x80, 0x9c | 0x9d | 0x9f | 0xb3] => ascii(3, b'"'),
        [.., 0xca, 0xba] => ascii(2, b'"'),
        [.., 0xe2, 0x88, 0x95] | [.., 0xe2, 0x81, 0x84] | [.., 0xee, 0xbf, 0x88] | [.., 0xef, 0x80, 0xa5] => {
            ascii(3, b'/')
        }
        [.., 0xe2, 0x88, 0x96] => ascii(3, b'\\'),
        // Spaces.
        [.., 0xc2, 0xa0] => ascii(2, b' '),
        // The same in Latin-1.
        [0xa0] | [.., 0..=0x7f, 0xa0] => ascii(1, b' '),
        [.., 0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf] | [.., 0xe3, 0x80, 0x80] | [.., 0xe1, 0xa0, 0x8e] => {
            ascii(3, b' ')
        }
        [.., 0xe2, 0x80, 0x8b..=0x8f] | [.., 0xef, 0xbb, 0xbf] => Some((3, Instead::Nothing)),
        _ => None,
    }
}

/// How long the overlong character at the end is.
fn utf8_len(out: &[u8]) -> usize {
    out.iter().rev().position(|byte| *byte >= 0xc0).unwrap_or_default().saturating_add(1)
}

/// References by name that attacks are written with.
const NAMES: &[(&str, char)] = &[
    ("amp", '&'),
    ("apos", '\''),
    ("bsol", '\\'),
    ("colon", ':'),
    ("comma", ','),
    ("dollar", '$'),
    ("equals", '='),
    ("excl", '!'),
    ("grave", '`'),
    ("lbrace", '{'),
    ("lcub", '{'),
    ("lpar", '('),
    ("lsqb", '['),
    ("nbsp", ' '),
    ("newline", '\n'),
    ("num", '#'),
    ("percnt", '%'),
    ("period", '.'),
    ("plus", '+'),
    ("quest", '?'),
    ("quot", '"'),
    ("rbrace", '}'),
    ("rcub", '}'),
    ("rpar", ')'),
    ("rsqb", ']'),
    ("semi", ';'),
    ("sol", '/'),
    ("tab", '\t'),
    ("vert", '|'),
];
