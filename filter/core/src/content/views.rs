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

mod escapes;
mod record;

use crate::json::document::{Document, Form};
use crate::json::number::Decimal;
use escapes::unescape;
use record::{MARK, RECORD_SEPARATOR, Record, Shape, Token, number};

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
        self.see(text) || self.record(Record::with(text, line_ends), depth, false)
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
        let number = if may_differ { number(word) } else { None };
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

#[cfg(test)]
mod tests;
