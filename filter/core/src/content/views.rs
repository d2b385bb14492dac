//! Every text within a message that one of its readers may take for a string, unescaped.
//!
//! The format does not matter: strict JSON, what only some readers take for JSON, and what hardly is, are read the same, so that no white space, byte order mark,
//! `NaN`, comment or frame around it hides what is in it.
//!
//! ```text
//! a record of JSON      {"a":"x","n":1.50e1,b:NaN}      a   x   n   1.50e1   15   b   NaN
//! anything else         say "hi" to 'them'              all of it, and the pieces between its quotes:   say   hi   to 'them'
//! each string again     {"a":"{\"b\":\"x\"}"}           all of it, and what is in it:   {"b":"x"}   b   x
//! ```
//!
//! A `Record` is what has quotes only where JSON has them, or apostrophes for them as JSON5 has, with nothing but brackets, commas, numbers and words between them: JSON itself,
//! lines of it, records that end in 0x1E (SignalR) or NUL, and with a head such as those of Socket.IO (`42["a"]`) and SockJS (`a["…"]`).
//! It is judged string by string: in one text, the quotes of JSON would hide the first quote of an attack. With comments, as JSON5 has, it is judged as a whole
//! too, since not all readers know them. In all other texts, each piece between two quotes may be a string, whichever quote opens it.

use crate::json::document::{Document, Form};
use crate::json::number::Decimal;

/// The most that is shown of a message, in times its length: the message or, of a record, its numbers in both forms and its strings as they
/// are written; the strings in it, those in these, and so on for `DEPTH_MAX` levels, of which none is longer than the one above; and what
/// stands between apostrophes, of what is no record.
pub const VIEWS_MAX: usize = 5;

/// How often a string is read again for strings in it: messages in messages are common, further ones are not, and none is read by a server
/// that does not ask for it.
const DEPTH_MAX: u8 = 3;

/// How long a number may become without its exponent, in times what is written, so that all stay within [`VIEWS_MAX`]; one that has been
/// seen as it is written, as long as it is with what parts it from the next.
const PLAIN_LEN_MAX: usize = 3;

/// A byte order mark: many readers step over it.
const MARK: char = '\u{feff}';

/// The reader of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reader {
    /// Reads JSON, and nothing else.
    Json,
    /// May as well take what looks like JSON for a text, to which a backslash is one.
    Unknown,
}

/// A text that is shown.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// As a reader has it.
    Text(&'a str),
    /// A string with its escapes, which a reader has that takes no backslash for one; without them it is shown next.
    Escaped(&'a str),
    /// A record that is a string of another; its own strings are shown next.
    Record(&'a str),
}

impl<'a> View<'a> {
    /// What is shown.
    #[must_use]
    pub const fn text(self) -> &'a str {
        match self {
            Self::Text(text) | Self::Escaped(text) | Self::Record(text) => text,
        }
    }

    /// Whether this says more than what is shown next: escapes within a name or a path (`\x27`, `..\bin` and `ca\t`, but not `\"`, `\n`, or a tab between
    /// words), and a record without quotes.
    #[must_use]
    pub fn says_more(self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Escaped(raw) => has_telling_escape(raw),
            Self::Record(text) => !text.contains(['"', '\'']),
        }
    }
}

fn has_telling_escape(raw: &str) -> bool {
    let mut behind_word = false;
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let is_escape = byte == b'\\';
        match is_escape.then(|| bytes.next()).flatten() {
            Some(b'"' | b'/' | b'\\' | b'n' | b'r' | b'u') => {}
            Some(b't') if !behind_word => {}
            Some(_) => return true,
            None => {}
        }
        behind_word = !is_escape && (byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':'));
    }
    false
}

/// Shows `see` every text in `text` until it says that it has seen enough; whether it has.
pub fn any(text: &str, reader: Reader, see: &mut dyn FnMut(View<'_>) -> bool) -> bool {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    let mut views = Views { reader, see, seen_empty: false };
    match Shape::of(text) {
        Shape::Record => views.record(Record::new(text), DEPTH_MAX, true),
        Shape::Commented(ends) => views.commented(text, ends, DEPTH_MAX),
        Shape::Other => views.see(text) || views.pieces(text, DEPTH_MAX) || views.quoted(text),
    }
}

/// Shows `see` every text in the strings and numbers of a message that has been read, with the index of each there, until it says that it has seen
/// enough; whether it has.
pub fn any_in(document: &Document<'_>, see: &mut dyn FnMut(u32, View<'_>) -> bool) -> bool {
    let mut seen_empty = false;
    document.texts().any(|(index, value)| {
        let mut views = Views { reader: Reader::Json, see: &mut |view| see(index, view), seen_empty };
        let is_enough = match value.form() {
            Form::Number(text) => views.word(text, true),
            Form::String(text) => views.unescaped(text, DEPTH_MAX.saturating_sub(1)),
            Form::Array(_) | Form::Boolean(_) | Form::Null | Form::Object(_) => false,
        };
        seen_empty = views.seen_empty;
        is_enough
    })
}

/// One search.
struct Views<'a> {
    reader: Reader,
    see: &'a mut dyn FnMut(View<'_>) -> bool,
    seen_empty: bool,
}

impl Views<'_> {
    fn see(&mut self, text: &str) -> bool {
        // There may be one for each two bytes of a message, and they are all the same.
        if text.is_empty() && core::mem::replace(&mut self.seen_empty, true) {
            return false;
        }
        (self.see)(View::Text(text))
    }

    /// A string as it is written, and with `depth` left what is in it.
    fn string(&mut self, raw: &str, depth: u8) -> bool {
        let unescaped = raw.contains('\\').then(|| unescape(raw));
        self.unescaped(unescaped.as_deref().unwrap_or(raw), depth)
    }

    fn unescaped(&mut self, text: &str, depth: u8) -> bool {
        if depth == 0 {
            return self.see(text);
        }
        match Shape::of(text) {
            Shape::Record => (self.see)(View::Record(text)) || self.record(Record::new(text), depth, false),
            Shape::Commented(ends) => self.commented(text, ends, depth),
            Shape::Other => self.see(text) || self.pieces(text, depth),
        }
    }

    /// A record with comments.
    fn commented(&mut self, text: &str, line_ends: &'static [char], depth: u8) -> bool {
        self.see(text) || self.record(Record { line_ends, ..Record::new(text) }, depth, false)
    }

    /// What is in a record, which `is_new` where it has not been seen as it is written.
    fn record(&mut self, record: Record<'_>, depth: u8, is_new: bool) -> bool {
        record.map_while(Result::ok).any(|token| match token {
            Token::Comment(text) => self.unescaped(text, depth.saturating_sub(1)),
            Token::String(raw) => {
                let is_escaped = self.reader == Reader::Unknown && is_new && raw.contains('\\');
                (is_escaped && (self.see)(View::Escaped(raw))) || self.string(raw, depth.saturating_sub(1))
            }
            Token::Word("false" | "null" | "true") => false,
            Token::Word(word) => self.word(word, is_new),
        })
    }

    /// A number or something else without quotes; in a string it has been seen as it is written.
    fn word(&mut self, word: &str, is_new: bool) -> bool {
        let len_max = if is_new { word.len().saturating_mul(PLAIN_LEN_MAX) } else { word.len().saturating_add(1) };
        // A whole number is as it is.
        let may_differ = !word.bytes().all(|byte| byte.is_ascii_digit());
        let number = if may_differ { Decimal::parse(word.as_bytes()).or_else(|| json5_number(word)) } else { None };
        let plain = number.filter(Decimal::is_integer).and_then(|number| number.to_plain(len_max));
        match plain.filter(|plain| plain != word) {
            Some(plain) => self.see(&plain) || (is_new && self.see(word)),
            None => self.see(word),
        }
    }

    /// What stands between two quotes, whichever of them opens; and between what parts records and paragraphs.
    fn pieces(&mut self, text: &str, depth: u8) -> bool {
        let bytes = text.as_bytes();
        let (mut start, mut at, mut before) = (0, 0_usize, 0);
        while let Some(byte) = bytes.get(at).copied() {
            let behind = at.saturating_add(1);
            let next = match byte {
                b'\\' => {
                    at = at.saturating_add(2);
                    before = byte;
                    continue;
                }
                b'"' | RECORD_SEPARATOR | 0 => Some(behind),
                b'\'' if is_bracketed(before, bytes.get(behind..).unwrap_or_default()) => Some(behind),
                b'\n' => paragraph_end(bytes, behind),
                _ => None,
            };
            if let Some(next) = next {
                if self.piece(text.get(start..at).unwrap_or_default(), depth) {
                    return true;
                }
                start = next;
            }
            if !byte.is_ascii_whitespace() {
                before = byte;
            }
            at = next.unwrap_or(behind);
        }
        let last = text.get(start..).unwrap_or_default();
        // Where nothing parts it, it has been seen.
        start > 0 && self.piece(last, depth)
    }

    /// What stands between two apostrophes that are in no word, and is no piece: `msg='x'`, `- 'x'`.
    fn quoted(&mut self, text: &str) -> bool {
        let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let mut texts = text.split('\'').peekable();
        let mut before = texts.next().unwrap_or_default().as_bytes();
        while let (Some(raw), Some(behind)) = (texts.next(), texts.peek()) {
            let behind = behind.as_bytes();
            let is_piece = before.trim_ascii_end().last().copied().is_some_and(opens) && closes(behind);
            let is_quoted = !is_piece && !is_letter(before.last()) && !is_letter(behind.first());
            if is_quoted && self.see(&unescape(raw)) {
                return true;
            }
            before = raw.as_bytes();
        }
        false
    }

    fn piece(&mut self, raw: &str, depth: u8) -> bool {
        !raw.is_empty() && self.string(raw, depth.saturating_sub(1))
    }
}

/// What ends a record of SignalR, and begins one of RFC 7464.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Whether an apostrophe is a quote of something like JSON: it stands where a value begins or ends.
fn is_bracketed(before: u8, behind: &[u8]) -> bool {
    opens(before) || closes(behind)
}

/// Whether a value of something like JSON may begin behind a byte.
const fn opens(before: u8) -> bool {
    matches!(before, b'{' | b'[' | b',' | b':')
}

/// Whether one has ended before `behind`.
fn closes(behind: &[u8]) -> bool {
    matches!(behind.trim_ascii_start().first(), Some(b'}' | b']' | b',' | b':'))
}

/// Where the next paragraph begins, where a line break before `at` is followed by another: a frame of STOMP has its body there.
fn paragraph_end(bytes: &[u8], at: usize) -> Option<usize> {
    let breaks = bytes.get(at..)?.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    let is_empty_line = bytes.get(at..)?.iter().take(breaks).any(|byte| *byte == b'\n');
    is_empty_line.then(|| at.saturating_add(breaks))
}

/// How a text is read.
#[derive(Clone, Copy)]
enum Shape {
    /// As a record.
    Record,
    /// As a record, and as a whole, since it has comments; these end lines in it.
    Commented(&'static [char]),
    /// As a whole, and piece by piece.
    Other,
}

impl Shape {
    fn of(text: &str) -> Self {
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
        let (mut record, mut has_comment) = (Record { line_ends, ..Record::new(text) }, false);
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
enum Token<'a> {
    /// What stands behind `//`, or between `/*` and `*/`.
    Comment(&'a str),
    /// A string without its quotes, or a word with escapes.
    String(&'a str),
    /// A number, a name or a word without quotes, or the head.
    Word(&'a str),
}

/// No record.
struct NotOne;

/// A text that is read as a record, by the rules of JSON5 where those of JSON are narrower.
struct Record<'a> {
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
    const fn new(text: &'a str) -> Self {
        Self { text, line_ends: LINE_ENDS[0], at: 0, depth: 0, is_behind_value: false, is_start: true, is_over: false }
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
        let is_part = |byte: &&u8| is_word(**byte) || (is_head && **byte == b',');
        loop {
            let left = rest.get(len..).unwrap_or_default();
            let taken = left.bytes().take_while(|byte| is_part(&byte)).count();
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
            self.value(is_all && is_number(word))?;
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

fn is_number(word: &str) -> bool {
    Decimal::parse(word.as_bytes()).or_else(|| json5_number(word)).is_some()
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

/// A string without its escapes, those of JSON (RFC 8259 §7) and of JavaScript; it never becomes longer. Half a surrogate pair is
/// U+FFFD, and a backslash before anything else is left out.
fn unescape(raw: &str) -> String {
    let mut plain = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, behind)) = rest.split_once('\\') {
        plain.push_str(before);
        let mut characters = behind.chars();
        let (character, len) = match characters.next() {
            Some('b') => (Some('\u{8}'), 1),
            Some('f') => (Some('\u{c}'), 1),
            Some('n') => (Some('\n'), 1),
            Some('r') => (Some('\r'), 1),
            Some('t') => (Some('\t'), 1),
            Some('v') => (Some('\u{b}'), 1),
            Some('u') => code_point(behind).map_or((Some('u'), 1), |(character, len)| (Some(character), len)),
            Some('x') => match hex(behind, 1, 2).and_then(char::from_u32) {
                Some(character) => (Some(character), 3),
                None => (Some('x'), 1),
            },
            Some('0') => (Some('\0'), 1),
            Some('\r') if behind.starts_with("\r\n") => (None, 2),
            Some(end @ ('\n' | '\r' | '\u{2028}' | '\u{2029}')) => (None, end.len_utf8()),
            Some(other) => (Some(other), other.len_utf8()),
            None => (None, 0),
        };
        plain.extend(character);
        rest = behind.get(len..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

/// The character of `uXXXX`, or of `uXXXX\uXXXX`, and how many bytes that is.
fn code_point(escape: &str) -> Option<(char, usize)> {
    let unit = hex(escape, 1, 4)?;
    let low = if escape.get(5..7) == Some("\\u") { hex(escape, 7, 4) } else { None };
    match (unit, low) {
        (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
            let code_point = ((unit & 0x3ff) << 10 | (low & 0x3ff)).saturating_add(0x1_0000);
            Some((char::from_u32(code_point).unwrap_or(char::REPLACEMENT_CHARACTER), 11))
        }
        (unit, _) => Some((char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), 5)),
    }
}

fn hex(text: &str, start: usize, len: usize) -> Option<u32> {
    let digits = text.get(start..start.saturating_add(len))?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests;
