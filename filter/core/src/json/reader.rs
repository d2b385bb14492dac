//! Reads a JSON message once from its start to its end (RFC 8259), strictly and within bounds.
//!
//! Nothing is recursive: what is open stands on a stack no higher than the bound on nesting.

use std::collections::BinaryHeap;

use super::document::{Document, Items, Kind, Members, Node, fingerprint};
use super::number::Decimal;
use crate::violation::Violation;

/// What a message may be beyond what JSON is (RFC 8259 §9: "An implementation may set limits").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// The deepest nesting of arrays and objects.
    pub depth_max: usize,
    /// The most members of one object.
    pub keys_max: usize,
    /// The longest string or name, in bytes without escapes.
    pub string_len_max: usize,
    /// Whether a name may stand once only in an object, however it is escaped.
    pub unique_keys: bool,
    /// Whether a value may have half of a surrogate pair, which is then U+FFFD. A name never has: it would be another one for each reader.
    pub surrogates: bool,
}

/// Why a message is not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unreadable {
    /// A name stands twice in an object.
    DuplicateKey,
    /// It is not JSON: a byte order mark and anything behind the value among it.
    Invalid,
    /// There is no memory for it.
    NoMemory,
    /// A number that few can read back exactly: of more than 38 significant digits, or beyond what a double holds (RFC 8259 §6).
    Number,
    /// Half of a surrogate pair, where it may not stand.
    Surrogate,
    /// Nested deeper than it may be.
    TooDeep,
    /// A string or name is longer than it may be.
    TooLong,
    /// An object has more members than it may have.
    TooManyKeys,
}

impl Unreadable {
    /// What the peer did wrong.
    #[must_use]
    pub const fn violation(self) -> Violation {
        match self {
            Self::Invalid | Self::Surrogate => Violation::InvalidJson,
            Self::NoMemory => Violation::Overloaded,
            Self::DuplicateKey | Self::Number | Self::TooDeep | Self::TooLong | Self::TooManyKeys => {
                Violation::JsonRefused
            }
        }
    }

    /// The path of the bound in the keys of a side.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::DuplicateKey => "json.duplicate_keys",
            Self::Invalid | Self::NoMemory | Self::Number => "json",
            Self::Surrogate => "json.surrogates",
            Self::TooDeep => "json.max_depth",
            Self::TooLong => "json.max_string_bytes",
            Self::TooManyKeys => "json.max_keys",
        }
    }
}

impl From<Unreadable> for Violation {
    fn from(unreadable: Unreadable) -> Self {
        unreadable.violation()
    }
}

/// Reads a whole message.
///
/// # Errors
/// [`Unreadable`] for what is not JSON or over `bounds`.
pub fn read<'a>(text: &'a str, bounds: &Bounds) -> Result<Document<'a>, Unreadable> {
    Reader::new(text, bounds).read::<true>()
}

/// Checks a whole message without keeping it.
///
/// # Errors
/// Those of [`read`].
pub fn check(text: &str, bounds: &Bounds) -> Result<(), Unreadable> {
    Reader::new(text, bounds).read::<false>().map(drop)
}

/// A message in the course of being read.
struct Reader<'a> {
    bounds: Bounds,
    bytes: &'a [u8],
    at: usize,
    document: Document<'a>,
    /// The innermost array or object that is open.
    inner: Open,
    /// Those around it, and an [`Open::NONE`] around all.
    outer: Vec<Open>,
}

/// An array or object that is open.
#[derive(Clone, Copy)]
struct Open {
    kind: Kind,
    /// Its node.
    index: u32,
    /// The items or members that have ended.
    len: u32,
}

impl Open {
    /// What everything stands in.
    const NONE: Self = Self { kind: Kind::Null, index: 0, len: 0 };
}

/// What may come next.
enum Next {
    End,
    Value,
}

type Read<T> = Result<T, Unreadable>;

/// Not JSON.
const INVALID: Unreadable = Unreadable::Invalid;

/// Up to here every two names are compared, beyond it they are sorted: about where that begins to pay.
const PAIRWISE_MAX: usize = 16;

/// A number of so many characters needs no look at its size, unless it has an exponent.
const SHORT_NUMBER_LEN: usize = 20;

impl<'a> Reader<'a> {
    fn new(text: &'a str, bounds: &Bounds) -> Self {
        // A node for every sixteen bytes is about what messages have; more are asked for as they come.
        let nodes = Vec::with_capacity((text.len() >> 4).clamp(8, 1_024));
        let document = Document { text, nodes, ..Document::default() };
        Self { bounds: *bounds, bytes: text.as_bytes(), at: 0, document, inner: Open::NONE, outer: Vec::new() }
    }

    /// With `KEEP` all nodes stay, otherwise only those of open objects.
    fn read<const KEEP: bool>(mut self) -> Read<Document<'a>> {
        // So that every place and every count fits a node.
        u32::try_from(self.bytes.len()).map_err(|_| Unreadable::TooLong)?;
        loop {
            let opened = self.read_value()?;
            if !opened && let Next::End = self.end_value::<KEEP>()? {
                return Ok(self.document);
            }
        }
    }

    /// Reads a scalar, or the opening of what is not empty: then a value is next.
    fn read_value(&mut self) -> Read<bool> {
        match self.peek() {
            Some(b'"') => self.read_string(self.bounds.surrogates.then_some(char::REPLACEMENT_CHARACTER))?,
            Some(b'{') => return self.open_container(Kind::Object, b'}'),
            Some(b'[') => return self.open_container(Kind::Array, b']'),
            Some(b'-' | b'0'..=b'9') => self.read_number()?,
            Some(b't') => self.read_word(b"true", Kind::Boolean, 1)?,
            Some(b'f') => self.read_word(b"false", Kind::Boolean, 0)?,
            Some(b'n') => self.read_word(b"null", Kind::Null, 0)?,
            Some(_) | None => return Err(INVALID),
        }
        Ok(false)
    }

    fn open_container(&mut self, kind: Kind, close: u8) -> Read<bool> {
        if self.outer.len() >= self.bounds.depth_max {
            return Err(Unreadable::TooDeep);
        }
        self.advance(1);
        let index = self.push(kind, 0, 0)?;
        if self.peek() == Some(close) {
            self.advance(1);
            return Ok(false);
        }
        self.outer.push(core::mem::replace(&mut self.inner, Open { kind, index, len: 0 }));
        if kind == Kind::Object {
            self.read_name()?;
        }
        Ok(true)
    }

    /// A value has ended: counts it, and closes what ends with it.
    fn end_value<const KEEP: bool>(&mut self) -> Read<Next> {
        loop {
            self.inner.len = self.inner.len.saturating_add(1);
            let Open { kind, index, len } = self.inner;
            match (self.peek(), kind) {
                (Some(b','), Kind::Object) => {
                    if len as usize >= self.bounds.keys_max {
                        return Err(Unreadable::TooManyKeys);
                    }
                    self.advance(1);
                    self.read_name()?;
                    return Ok(Next::Value);
                }
                (Some(b','), Kind::Array) => {
                    self.advance(1);
                    if !KEEP {
                        self.document.nodes.truncate(index.saturating_add(1) as usize);
                    }
                    return Ok(Next::Value);
                }
                (Some(b'}'), Kind::Object) => self.check_names(index as usize, len as usize)?,
                (Some(b']'), Kind::Array) => {}
                (None, Kind::Null) => return Ok(Next::End),
                _ => return Err(INVALID),
            }
            self.advance(1);
            if !KEEP {
                self.document.nodes.truncate(index.saturating_add(1) as usize);
            }
            let end = place(self.document.nodes.len());
            if let Some(container) = self.document.nodes.get_mut(index as usize) {
                (container.len, container.end) = (len, end);
            }
            self.inner = self.outer.pop().unwrap_or(Open::NONE);
        }
    }

    /// A name and its colon: the value is next.
    fn read_name(&mut self) -> Read<()> {
        if self.peek() != Some(b'"') {
            return Err(INVALID);
        }
        self.read_string(None)?;
        if self.peek() != Some(b':') {
            return Err(INVALID);
        }
        self.advance(1);
        Ok(())
    }

    /// A string; `half` is what half of a surrogate pair becomes, where it may stand.
    fn read_string(&mut self, half: Option<char>) -> Read<()> {
        self.advance(1);
        let start = self.at;
        self.advance(plain_len(self.rest()));
        let (kind, start, len) = match self.rest().first() {
            Some(b'"') => (Kind::String, start, self.at.saturating_sub(start)),
            _ => {
                let unescaped = self.document.unescaped.len();
                self.unescape(start, half)?;
                (Kind::Unescaped, unescaped, self.document.unescaped.len().saturating_sub(unescaped))
            }
        };
        self.advance(1);
        if len > self.bounds.string_len_max {
            return Err(Unreadable::TooLong);
        }
        self.push(kind, start, len).map(drop)
    }

    /// Copies the string that began at `start`, up to its quote, without its escapes.
    fn unescape(&mut self, start: usize, half: Option<char>) -> Read<()> {
        if self.document.unescaped.capacity() == 0 {
            // No escape is shorter than what it stands for.
            let more = self.bytes.len().saturating_sub(start);
            self.document.unescaped.try_reserve_exact(more).map_err(|_| Unreadable::NoMemory)?;
        }
        let mut start = start;
        loop {
            let plain = self.document.text.get(start..self.at).unwrap_or_default();
            self.document.unescaped.push_str(plain);
            match self.rest() {
                [b'"', ..] => return Ok(()),
                [b'\\', b'u', ..] => {
                    self.advance(2);
                    let character = self.read_code_point(half)?;
                    self.document.unescaped.push(character);
                }
                [b'\\', escape, ..] => {
                    let character = match escape {
                        b'"' | b'\\' | b'/' => char::from(*escape),
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        _ => return Err(INVALID),
                    };
                    self.document.unescaped.push(character);
                    self.advance(2);
                }
                // A control character, or the end of the message.
                _ => return Err(INVALID),
            }
            start = self.at;
            self.advance(plain_len(self.rest()));
        }
    }

    /// The character of four digits, or of four and four more behind `\u`, beyond the Basic Multilingual Plane (RFC 8259 §7).
    fn read_code_point(&mut self, half: Option<char>) -> Read<char> {
        let unit = self.read_hex4()?;
        let behind = self.at;
        if (0xd800..0xdc00).contains(&unit) && self.rest().first_chunk() == Some(b"\\u") {
            self.advance(2);
            if let Some(low) = self.read_hex4()?.checked_sub(0xdc00).filter(|low| *low < 0x400) {
                let code_point = ((unit & 0x3ff) << 10 | low).saturating_add(0x1_0000);
                return char::from_u32(code_point).ok_or(INVALID);
            }
            self.at = behind;
        }
        match char::from_u32(unit) {
            Some(character) => Ok(character),
            None => half.ok_or(Unreadable::Surrogate),
        }
    }

    fn read_hex4(&mut self) -> Read<u32> {
        let digits: &[u8; 4] = self.rest().first_chunk().ok_or(INVALID)?;
        let mut unit = 0;
        for digit in digits {
            unit = unit << 4 | char::from(*digit).to_digit(16).ok_or(INVALID)?;
        }
        self.advance(4);
        Ok(unit)
    }

    /// `-? (0 | [1-9][0-9]*) (\.[0-9]+)? ([eE][+-]?[0-9]+)?` (RFC 8259 §6)
    fn read_number(&mut self) -> Read<()> {
        let start = self.at;
        if self.rest().first() == Some(&b'-') {
            self.advance(1);
        }
        let whole = digits_len(self.rest());
        if whole == 0 || (whole > 1 && self.rest().first() == Some(&b'0')) {
            return Err(INVALID);
        }
        self.advance(whole);
        let mut kind = Kind::Integer;
        if self.rest().first() == Some(&b'.') {
            kind = Kind::Number;
            self.advance(1);
            self.read_digits()?;
        }
        let has_exponent = matches!(self.rest().first(), Some(b'e' | b'E'));
        if has_exponent {
            kind = Kind::Number;
            self.advance(1);
            if let Some(b'+' | b'-') = self.rest().first() {
                self.advance(1);
            }
            self.read_digits()?;
        }
        let token = self.bytes.get(start..self.at).unwrap_or_default();
        let is_long = has_exponent || token.len() > SHORT_NUMBER_LEN;
        if is_long && Decimal::parse(token).is_none() {
            return Err(Unreadable::Number);
        }
        self.push(kind, start, token.len()).map(drop)
    }

    fn read_digits(&mut self) -> Read<()> {
        let len = digits_len(self.rest());
        self.advance(len);
        if len > 0 { Ok(()) } else { Err(INVALID) }
    }

    fn read_word(&mut self, word: &[u8], kind: Kind, value: usize) -> Read<()> {
        if !self.rest().starts_with(word) {
            return Err(INVALID);
        }
        self.advance(word.len());
        self.push(kind, 0, value).map(drop)
    }

    /// "The names within an object SHOULD be unique" (RFC 8259 §4): receivers differ about which of two counts.
    fn check_names(&self, object: usize, len: usize) -> Read<()> {
        if !self.bounds.unique_keys || len < 2 {
            return Ok(());
        }
        let members = Items { document: &self.document, next: object.saturating_add(1), len };
        let names = Members(members).map(|(name, _)| name.as_bytes());
        let are_unique = if len <= PAIRWISE_MAX {
            let mut known = [(0, &b""[..]); PAIRWISE_MAX];
            known.iter_mut().zip(names).for_each(|(place, name)| *place = (fingerprint(name), name));
            let mut known = known.get(..len).unwrap_or_default();
            loop {
                let Some(((print, name), rest)) = known.split_first() else { break true };
                // Nearly all names have fingerprints of their own.
                if rest.iter().any(|(other, _)| other == print) && rest.iter().any(|(_, other)| other == name) {
                    break false;
                }
                known = rest;
            }
        } else {
            // Whatever the names are, and however many of them some hash would take for the same. Sorting a slice is 4 KB more of code.
            let names = names.collect::<BinaryHeap<&[u8]>>().into_sorted_vec();
            names.is_sorted_by(|name, next| name != next)
        };
        if are_unique { Ok(()) } else { Err(Unreadable::DuplicateKey) }
    }

    #[inline]
    fn push(&mut self, kind: Kind, start: usize, len: usize) -> Read<u32> {
        if self.document.nodes.len() == self.document.nodes.capacity() {
            self.make_room()?;
        }
        let index = place(self.document.nodes.len());
        self.document.nodes.push(Node { kind, start: place(start), len: place(len), end: index.saturating_add(1) });
        Ok(index)
    }

    /// Makes room for every node that may still come, at once: a list that doubles would need three times what it holds.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self) -> Read<()> {
        // The node in hand, and what stands first in it.
        let more = node_count_max(self.rest(), self.bounds.depth_max).saturating_add(2);
        self.document.nodes.try_reserve_exact(more).map_err(|_| Unreadable::NoMemory)
    }

    /// The next byte that is no white space, which is stepped over.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.advance(1),
                next => return next.copied(),
            }
        }
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline]
    const fn advance(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
    }
}

/// A place in the text or among the nodes: no text is longer than a `u32` tells, and nodes are fewer than bytes.
fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// How many values and names `text` has at most, which is not within a string: one behind each bracket, comma and colon.
fn node_count_max(text: &[u8], depth_max: usize) -> usize {
    let (mut rest, mut count) = (text, 0_usize);
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'[' | b'{' | b',' | b':' => count = count.saturating_add(1),
            b'"' => {
                while let Some((b'\\', escaped)) = rest.get(plain_len(rest)..).and_then(<[u8]>::split_first) {
                    rest = escaped.get(1..).unwrap_or_default();
                }
                rest = rest.get(plain_len(rest).saturating_add(1)..).unwrap_or_default();
            }
            _ => {}
        }
    }
    // Each has a byte of its own besides, but for those that are open: what has more of them is no JSON.
    count.min((text.len().saturating_add(depth_max) / 2).saturating_add(1))
}

fn digits_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// How many bytes of a string stand for themselves: up to a quote, a backslash or a control character.
fn plain_len(bytes: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    // Sets the high bit of the first byte that is zero, and none before it.
    let zeros = |word: u64| word.wrapping_sub(EACH) & !word & HIGH_BITS;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut len: usize = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(EACH.wrapping_mul(0x20)) & !word & HIGH_BITS;
        let special = controls | zeros(word ^ EACH.wrapping_mul(0x22)) | zeros(word ^ EACH.wrapping_mul(0x5c));
        if special != 0 {
            return len.saturating_add((special.trailing_zeros() >> 3) as usize);
        }
        len = len.saturating_add(8);
    }
    let special = |byte: &u8| matches!(byte, ..0x20 | b'"' | b'\\');
    len.saturating_add(rest.iter().position(special).unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests;
