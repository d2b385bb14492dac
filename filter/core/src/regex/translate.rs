//! From the syntax of ECMA-262 to that of the library: what means something else there is spelled out.

use core::fmt::Write;
use core::iter::Peekable;
use core::str::Chars;

use super::RegexError;

/// `\s` (ECMA-262 §12.2, §12.3: WhiteSpace and LineTerminator).
const SPACES: &str = r"\t\n\x0B\x0C\r \u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000\uFEFF";

/// `\w`.
const WORDS: &str = "0-9A-Z_a-z";

/// Any character, and none.
const ALL: &str = r"\x00-\u{10FFFF}";

/// Spells out `pattern`.
pub(super) fn translate(pattern: &str) -> Result<String, RegexError> {
    let mut translator = Translator { rest: pattern.chars().peekable(), out: String::new(), flags: Flags::default() };
    let mut groups = Vec::new();
    while let Some(next) = translator.rest.next() {
        match next {
            '(' => {
                groups.push(translator.flags);
                translator.open_group(&mut groups)?;
            }
            ')' => {
                translator.flags = groups.pop().ok_or_else(|| fault("a group is closed that is not open"))?;
                translator.out.push(')');
            }
            '[' => translator.class()?,
            '\\' => translator.escape()?,
            '.' if translator.flags.dot_all => translator.class_of(ALL),
            '.' => translator.class_of(r"^\n\r\u2028\u2029"),
            '{' => translator.brace(),
            '^' | '$' | '|' | '*' | '+' | '?' => translator.out.push(next),
            next => translator.literal(next),
        }
    }
    if groups.is_empty() { Ok(translator.out) } else { Err(fault("a group is not closed")) }
}

#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    dot_all: bool,
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    flags: Flags,
}

/// One item of a class, or what an escape stands for.
enum Atom {
    Character(char),
    /// What is between the brackets of a class, and whether it is what is meant or what is not.
    Class(String, bool),
}

fn fault(problem: &str) -> RegexError {
    RegexError(problem.to_owned())
}

impl Translator<'_> {
    fn take(&mut self) -> Result<char, RegexError> {
        self.rest.next().ok_or_else(|| fault("the pattern ends too early"))
    }

    fn take_if(&mut self, wanted: char) -> bool {
        self.rest.next_if_eq(&wanted).is_some()
    }

    /// `(`, `(?:`, `(?<name>`, `(?flags:` or `(?flags)`, without captures.
    fn open_group(&mut self, groups: &mut Vec<Flags>) -> Result<(), RegexError> {
        self.out.push_str("(?:");
        if !self.take_if('?') {
            return Ok(());
        }
        match self.take()? {
            ':' => Ok(()),
            '=' | '!' => Err(fault("look-ahead is not linear")),
            '<' => {
                if matches!(self.rest.peek(), Some('=' | '!')) {
                    return Err(fault("look-behind is not linear"));
                }
                let is_name = |name: char| name.is_alphanumeric() || matches!(name, '_' | '$');
                while self.rest.next_if(|next| is_name(*next)).is_some() {}
                if self.take_if('>') { Ok(()) } else { Err(fault("a group's name is not closed")) }
            }
            flag => self.set_flags(flag, groups),
        }
    }

    fn set_flags(&mut self, first: char, groups: &mut Vec<Flags>) -> Result<(), RegexError> {
        let (mut flag, mut value) = (first, true);
        loop {
            match flag {
                'i' => self.flags.ignore_case = value,
                's' => self.flags.dot_all = value,
                '-' if value => value = false,
                ':' => return Ok(()),
                // They hold for the rest of the group around.
                ')' => {
                    groups.pop();
                    self.out.push(')');
                    return Ok(());
                }
                _ => return Err(fault("unknown group: expected (?:, (?<name>, (?i) or (?s)")),
            }
            flag = self.take()?;
        }
    }

    /// `{n}`, `{n,}`, `{n,m}`, or a brace that stands for itself.
    fn brace(&mut self) {
        let mut rest = self.rest.clone();
        let mut quantifier = "{".to_owned();
        while let Some(next) = rest.next_if(|next| next.is_ascii_digit() || *next == ',') {
            quantifier.push(next);
        }
        let (min, max) = quantifier.split_once(',').unwrap_or((&quantifier, ""));
        if rest.next() == Some('}') && min.len() > 1 && !max.contains(',') {
            self.out.push_str(&quantifier);
            self.out.push('}');
            self.rest = rest;
        } else {
            self.literal('{');
        }
    }

    fn literal(&mut self, character: char) {
        let mut out = core::mem::take(&mut self.out);
        if self.flags.ignore_case && character.is_ascii_alphabetic() {
            out.push('[');
            self.push_range(&mut out, character, character);
            out.push(']');
        } else {
            push_character(&mut out, character);
        }
        self.out = out;
    }

    fn class_of(&mut self, items: &str) {
        // Writing into a string cannot fail.
        let _ = write!(self.out, "[{items}]");
    }

    /// An escape outside of a class.
    fn escape(&mut self) -> Result<(), RegexError> {
        match self.rest.peek() {
            Some('b') => self.out.push_str(r"(?-u:\b)"),
            Some('B') => self.out.push_str(r"(?-u:\B)"),
            Some('1'..='9' | 'k') => return Err(fault("back-references are not linear")),
            _ => {
                match self.atom()? {
                    Atom::Character(character) => self.literal(character),
                    Atom::Class(items, true) => self.class_of(&items),
                    Atom::Class(items, false) => self.class_of(&format!("^{items}")),
                }
                return Ok(());
            }
        }
        self.rest.next();
        Ok(())
    }

    /// What follows a backslash, inside of a class or outside.
    fn atom(&mut self) -> Result<Atom, RegexError> {
        let character = match self.take()? {
            class @ ('d' | 'D') => return Ok(Atom::Class("0-9".to_owned(), class == 'd')),
            class @ ('s' | 'S') => return Ok(Atom::Class(SPACES.to_owned(), class == 's')),
            class @ ('w' | 'W') => return Ok(Atom::Class(WORDS.to_owned(), class == 'w')),
            class @ ('p' | 'P') => return self.property(class == 'p'),
            't' => '\t',
            'n' => '\n',
            'v' => '\u{b}',
            'f' => '\u{c}',
            'r' => '\r',
            '0' if !self.rest.peek().is_some_and(char::is_ascii_digit) => '\0',
            'c' => match self.take()? {
                letter if letter.is_ascii_alphabetic() => char::from_u32(u32::from(letter) & 0x1f).unwrap_or_default(),
                _ => return Err(fault("expected a letter behind \\c")),
            },
            'x' => code_point(self.hex(2)?)?,
            'u' => self.code_point()?,
            letter if letter.is_alphanumeric() => return Err(RegexError(format!("unknown escape \\{letter}"))),
            punctuation => punctuation,
        };
        Ok(Atom::Character(character))
    }

    /// `{X}`, `XXXX`, or two halves of a surrogate pair.
    fn code_point(&mut self) -> Result<char, RegexError> {
        if self.take_if('{') {
            let mut value: u32 = 0;
            while !self.take_if('}') {
                let digit = self.take()?.to_digit(16).ok_or_else(|| fault("expected hexadecimal digits"))?;
                value = value
                    .checked_mul(16)
                    .and_then(|value| value.checked_add(digit))
                    .ok_or_else(|| fault("no character"))?;
            }
            return code_point(value);
        }
        let unit = self.hex(4)?;
        if !(0xd800..0xdc00).contains(&unit) {
            return code_point(unit);
        }
        if !(self.take_if('\\') && self.take_if('u')) {
            return Err(fault("half of a surrogate pair is no character"));
        }
        let low = self.hex(4)?.checked_sub(0xdc00).filter(|low| *low < 0x400);
        let low = low.ok_or_else(|| fault("half of a surrogate pair is no character"))?;
        code_point(((unit & 0x3ff) << 10 | low).saturating_add(0x1_0000))
    }

    fn hex(&mut self, count: usize) -> Result<u32, RegexError> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 4 | self.take()?.to_digit(16).ok_or_else(|| fault("expected hexadecimal digits"))?;
        }
        Ok(value)
    }

    /// `\p{…}`: general categories.
    fn property(&mut self, is_meant: bool) -> Result<Atom, RegexError> {
        let mut name = String::new();
        if self.take_if('{') {
            while let Some(next) = self.rest.next_if(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '=')) {
                name.push(next);
            }
        }
        if name.is_empty() || !self.take_if('}') {
            return Err(fault("expected \\p{…}"));
        }
        Ok(Atom::Class(format!(r"\p{{{name}}}"), is_meant))
    }

    /// `[…]`, where brackets, `&&`, `--` and `~~` stand for themselves.
    fn class(&mut self) -> Result<(), RegexError> {
        let is_negated = self.take_if('^');
        if self.take_if(']') {
            // Nothing is in it, or everything is.
            self.class_of(&format!("{}{ALL}", if is_negated { "" } else { "^" }));
            return Ok(());
        }
        let mut out = core::mem::take(&mut self.out);
        out.push_str(if is_negated { "[^" } else { "[" });
        while !self.take_if(']') {
            let first = self.class_atom()?;
            let mut rest = self.rest.clone();
            let is_range = rest.next() == Some('-') && rest.next().is_some_and(|next| next != ']');
            match first {
                Atom::Character(first) if is_range => {
                    self.rest.next();
                    match self.class_atom()? {
                        Atom::Character(last) if first <= last => self.push_range(&mut out, first, last),
                        Atom::Character(_) => return Err(fault("a range ends before it begins")),
                        Atom::Class(..) => return Err(fault("a range ends with a class")),
                    }
                }
                Atom::Class(..) if is_range => return Err(fault("a range begins with a class")),
                Atom::Character(character) => self.push_range(&mut out, character, character),
                Atom::Class(items, true) => out.push_str(&items),
                Atom::Class(items, false) => {
                    let _ = write!(out, "[^{items}]");
                }
            }
        }
        out.push(']');
        self.out = out;
        Ok(())
    }

    fn class_atom(&mut self) -> Result<Atom, RegexError> {
        match self.take()? {
            '\\' if self.take_if('b') => Ok(Atom::Character('\u{8}')),
            '\\' if self.take_if('-') => Ok(Atom::Character('-')),
            '\\' => self.atom(),
            character => Ok(Atom::Character(character)),
        }
    }

    /// A range of a class, and where case is ignored what is in it of the other case.
    fn push_range(&self, out: &mut String, first: char, last: char) {
        let mut push = |first: char, last: char| {
            if first <= last {
                push_character(out, first);
                out.push('-');
                push_character(out, last);
            }
        };
        push(first, last);
        if self.flags.ignore_case {
            let (lower_first, lower_last) = (first.max('a'), last.min('z'));
            if lower_first <= lower_last {
                push(lower_first.to_ascii_uppercase(), lower_last.to_ascii_uppercase());
            }
            let (upper_first, upper_last) = (first.max('A'), last.min('Z'));
            if upper_first <= upper_last {
                push(upper_first.to_ascii_lowercase(), upper_last.to_ascii_lowercase());
            }
        }
    }
}

fn code_point(value: u32) -> Result<char, RegexError> {
    char::from_u32(value).ok_or_else(|| fault("no character"))
}

/// Letters and digits as they are, everything else by its number: nothing has a meaning of its own then.
fn push_character(out: &mut String, character: char) {
    if character.is_ascii_alphanumeric() {
        out.push(character);
    } else {
        let _ = write!(out, "\\x{{{:X}}}", u32::from(character));
    }
}
