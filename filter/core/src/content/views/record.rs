//! A text taken apart as a reader of JSON5 would, without a look at what it says.

use super::escapes::code_point;
use crate::json::number::Decimal;

/// A byte order mark: many readers step over it.
pub(super) const MARK: char = '\u{feff}';

/// What ends a record of SignalR, and begins one of RFC 7464.
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

/// How a text is read.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// As a record.
    Record,
    /// As a record, and as a whole, since it has comments; these end lines in it.
    Commented(&'static [char]),
    /// As a whole, and piece by piece.
    Other,
}

impl Shape {
    pub(super) fn of(text: &str) -> Self {
        // Readers differ about the end of a comment: it is a record if one of them takes it for one.
        for line_ends in LINE_ENDS {
            match Self::by(text, line_ends) {
                (Self::Other, true) => {}
                (shape, _) => return shape,
            }
        }
        Self::Other
    }

    /// Likewise for a reader to whom these end lines, and whether it has seen a comment.
    fn by(text: &str, line_ends: &'static [char]) -> (Self, bool) {
        let (mut record, mut has_comment) = (Record::with(text, line_ends), false);
        let is_one = record.all(|token| {
            has_comment |= matches!(token, Ok(Token::Comment(_)));
            token.is_ok()
        });
        let shape = match (is_one && !record.is_start, has_comment) {
            (true, false) => Self::Record,
            (true, true) => Self::Commented(line_ends),
            (false, _) => Self::Other,
        };
        (shape, has_comment)
    }
}

/// What stands in a record, beside brackets and commas.
#[derive(Clone, Copy)]
pub(super) enum Token<'a> {
    /// What stands behind `//`, or between `/*` and `*/`.
    Comment(&'a str),
    /// A string without its quotes, or a word with escapes.
    String(&'a str),
    /// A number, a name or a word without quotes, or the head.
    Word(&'a str),
}

/// No record.
pub(super) struct NotOne;

/// A text that is read as a record, by the rules of JSON5 where those of JSON are narrower.
pub(super) struct Record<'a> {
    text: &'a str,
    /// What ends a comment behind `//`.
    line_ends: &'static [char],
    at: usize,
    depth: usize,
    /// A value has ended, and no comma or colon has come.
    is_behind_value: bool,
    /// Only white space and comments have come.
    is_start: bool,
    /// Only these may come.
    is_over: bool,
}

impl<'a> Record<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self::with(text, LINE_ENDS[0])
    }

    /// For a reader to whom these end a comment behind `//`.
    pub(super) const fn with(text: &'a str, line_ends: &'static [char]) -> Self {
        Self { text, line_ends, at: 0, depth: 0, is_behind_value: false, is_start: true, is_over: false }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Steps over `len` bytes, and gives them.
    fn take(&mut self, len: usize) -> &'a str {
        let taken = self.rest().get(..len).unwrap_or_default();
        (self.at, self.is_start) = (self.at.saturating_add(len), false);
        taken
    }

    /// Steps over a comment, where one begins.
    fn comment(&mut self) -> Option<Token<'a>> {
        let rest = self.rest();
        let (text, end_len) = if let Some(behind) = rest.strip_prefix("//") {
            (behind.split(self.line_ends).next()?, 0)
        } else {
            (rest.strip_prefix("/*")?.split_once("*/")?.0, 2)
        };
        self.at = self.at.saturating_add(2).saturating_add(text.len()).saturating_add(end_len);
        Some(Token::Comment(text))
    }

    fn string(&mut self, quote: u8) -> Result<Token<'a>, NotOne> {
        let (is_all, rest) = (self.is_start, self.rest().as_bytes());
        let mut len: usize = 1;
        loop {
            match rest.get(len) {
                Some(byte) if *byte == quote => break,
                Some(b'\\') => len = len.saturating_add(2),
                Some(_) => len = len.saturating_add(1),
                None => return Err(NotOne),
            }
        }
        let quoted = self.take(len.saturating_add(1));
        self.value(is_all)?;
        Ok(Token::String(quoted.get(1..len).unwrap_or_default()))
    }

    fn word(&mut self) -> Result<Token<'a>, NotOne> {
        let (is_all, is_head) = (self.is_start, self.depth == 0);
        let (rest, mut len, mut has_escape) = (self.rest(), 0_usize, false);
        let is_part = |byte: &u8| is_word(*byte) || (is_head && *byte == b',');
        loop {
            let left = rest.get(len..).unwrap_or_default();
            let taken = left.bytes().take_while(is_part).count();
            len = len.saturating_add(taken);
            let step = match left.as_bytes().get(taken..).unwrap_or_default() {
                [b'/', b'/' | b'*', ..] => break,
                [b'/', ..] if is_head => 1,
                [b'\\', ..] => {
                    has_escape = true;
                    let escape = rest.get(len.saturating_add(1)..).unwrap_or_default();
                    if code_point(escape).is_some() { 6 } else { break }
                }
                [0x80..=0xff, ..] => match left.get(taken..).and_then(|left| left.chars().next()) {
                    Some(letter) if letter.is_alphanumeric() => letter.len_utf8(),
                    _ => break,
                },
                _ => break,
            };
            len = len.saturating_add(step);
        }
        if len == 0 {
            return Err(NotOne);
        }
        let word = self.take(len);
        if !(is_head && is_all && self.rest().starts_with(['{', '['])) {
            self.value(is_all && number(word).is_some())?;
        }
        Ok(if has_escape { Token::String(word) } else { Token::Word(word) })
    }

    /// A value has ended, which in no bracket may only be all there is.
    fn value(&mut self, may_be_all: bool) -> Result<(), NotOne> {
        let is_outside = self.depth == 0;
        if self.is_behind_value || (is_outside && !may_be_all) {
            return Err(NotOne);
        }
        (self.is_behind_value, self.is_over) = (true, is_outside);
        Ok(())
    }

    /// Steps over a bracket, a comma or a colon.
    fn structure(&mut self, byte: u8) -> Result<(), NotOne> {
        let is_inside = self.depth > 0;
        let is_allowed = match byte {
            b'{' | b'[' => !(is_inside && self.is_behind_value),
            _ => is_inside,
        };
        self.depth = match byte {
            b'{' | b'[' => self.depth.saturating_add(1),
            b'}' | b']' => self.depth.saturating_sub(1),
            _ => self.depth,
        };
        self.is_behind_value = matches!(byte, b'}' | b']');
        self.take(1);
        if is_allowed { Ok(()) } else { Err(NotOne) }
    }
}

impl<'a> Iterator for Record<'a> {
    type Item = Result<Token<'a>, NotOne>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let first = self.text.as_bytes().get(self.at).copied();
            let space = match first {
                Some(byte) if is_space(byte) => 1,
                Some(0x80..) => self.rest().chars().next().filter(is_wide_space).map_or(0, char::len_utf8),
                _ => 0,
            };
            if space > 0 {
                self.at = self.at.saturating_add(space);
                continue;
            }
            let comment = if first == Some(b'/') { self.comment() } else { None };
            return Some(match first {
                None if self.depth == 0 => return None,
                None => {
                    self.depth = 0;
                    Err(NotOne)
                }
                Some(_) if comment.is_some() => return comment.map(Ok),
                Some(_) if self.is_over => Err(NotOne),
                Some(byte @ (b'{' | b'[' | b'}' | b']' | b',' | b':')) => match self.structure(byte) {
                    Ok(()) => continue,
                    Err(NotOne) => Err(NotOne),
                },
                Some(quote @ (b'"' | b'\'')) => self.string(quote),
                Some(_) => self.word(),
            });
        }
    }
}

/// What ends a line: for JSON5, and for readers that know less.
const LINE_ENDS: [&[char]; 3] = [&['\n', '\r', '\u{2028}', '\u{2029}'], &['\n', '\r'], &['\n']];

/// White space of JSON5, and what parts records.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0xb | 0xc | b'\r' | RECORD_SEPARATOR | 0)
}

/// Likewise, of more than one byte.
fn is_wide_space(letter: &char) -> bool {
    *letter == MARK || letter.is_whitespace()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'+' | b'-' | b'.')
}

/// The number that a word is, of JSON or of JSON5.
pub(super) fn number(word: &str) -> Option<Decimal> {
    Decimal::parse(word.as_bytes()).or_else(|| json5_number(word))
}

/// A number as JSON5 writes it, and JSON does not: with a sign, zeros or a point at either end, or in base 16.
fn json5_number(word: &str) -> Option<Decimal> {
    if !word.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return None;
    }
    let negative = word.strip_prefix('-');
    let unsigned = negative.or_else(|| word.strip_prefix('+')).unwrap_or(word);
    let sign = if negative.is_some() { "-" } else { "" };
    let text = match unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        Some(digits) => [sign, &u64::from_str_radix(digits, 16).ok()?.to_string()].concat(),
        None => {
            let (digits, exponent) = unsigned.split_at(unsigned.find(['e', 'E']).unwrap_or(unsigned.len()));
            let digits = digits.trim_start_matches('0');
            let zero = if digits.starts_with(|first: char| first.is_ascii_digit()) { "" } else { "0" };
            [sign, zero, digits.strip_suffix('.').unwrap_or(digits), exponent].concat()
        }
    };
    Decimal::parse(text.as_bytes())
}
