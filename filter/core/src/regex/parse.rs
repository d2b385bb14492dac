//! The syntax of ECMA-262 (§22.2.1, in Unicode mode), by recursive descent.

use core::str::Chars;

use super::class::{self, Range};
use super::error::RegexError;

/// How deep groups may be nested: reading them takes stack.
const NESTING_MAX: u32 = 50;

/// An expression. Whether a repetition is lazy and what a group captures is left out: it does not change what matches.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// One of these.
    Alternatives(Vec<Self>),
    Assertion(Assertion),
    /// One character of sorted ranges.
    Class(Vec<Range>),
    Repeat {
        node: Box<Self>,
        min: u32,
        /// `None`: without end.
        max: Option<u32>,
    },
    /// These, one behind the other.
    Sequence(Vec<Self>),
}

/// What is asked of a place in the text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Assertion {
    End,
    NotWordBoundary,
    Start,
    WordBoundary,
}

/// The most characters, ranges and operators of an expression: a list of some thousand words fits.
const PART_COUNT_MAX: usize = 65_536;

/// Reads a whole pattern.
pub(super) fn parse(pattern: &str) -> Result<Node, RegexError> {
    read(pattern, Some(PART_COUNT_MAX))
}

/// Reads a whole pattern of any length and keeps nothing of it.
pub(super) fn check(pattern: &str) -> Result<(), RegexError> {
    read(pattern, None).map(drop)
}

fn read(pattern: &str, parts_left: Option<usize>) -> Result<Node, RegexError> {
    let mut parser = Parser { pattern, rest: pattern.chars(), flags: Flags::default(), nesting: 0, parts_left };
    let node = parser.alternatives()?;
    if parser.peek().is_some() { Err(parser.fault("a group is closed that is not open")) } else { Ok(node) }
}

#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    dot_all: bool,
}

struct Parser<'a> {
    pattern: &'a str,
    rest: Chars<'a>,
    flags: Flags,
    nesting: u32,
    /// How many parts the expression may still have; `None`: what is read is checked, and not kept.
    parts_left: Option<usize>,
}

/// One item of a class, or what an escape stands for.
enum Atom {
    Character(u32),
    Class(Vec<Range>),
}

impl Parser<'_> {
    fn fault(&self, problem: &'static str) -> RegexError {
        RegexError { problem, offset: Some(self.pattern.len().saturating_sub(self.rest.as_str().len())) }
    }

    /// Counts `count` more parts, and tells whether to keep them.
    fn keeps(&mut self, count: usize) -> Result<bool, RegexError> {
        let Some(left) = self.parts_left else { return Ok(false) };
        self.parts_left = Some(left.checked_sub(count).ok_or_else(|| self.fault("too long"))?);
        Ok(true)
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn take(&mut self) -> Result<char, RegexError> {
        self.rest.next().ok_or_else(|| self.fault("the pattern ends too early"))
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let is_wanted = self.peek() == Some(wanted);
        if is_wanted {
            self.rest.next();
        }
        is_wanted
    }

    /// Up to the end of the group around.
    fn alternatives(&mut self) -> Result<Node, RegexError> {
        let first = self.sequence()?;
        if self.peek() != Some('|') {
            return Ok(first);
        }
        let mut nodes = vec![first];
        while self.take_if('|') {
            let node = self.sequence()?;
            if self.keeps(1)? {
                nodes.push(node);
            }
        }
        Ok(Node::Alternatives(nodes))
    }

    fn sequence(&mut self) -> Result<Node, RegexError> {
        let mut nodes = Vec::new();
        while self.peek().is_some_and(|next| !matches!(next, '|' | ')')) {
            if let Some(node) = self.term()?
                && self.keeps(1)?
            {
                nodes.push(node);
            }
        }
        Ok(Node::Sequence(nodes))
    }

    /// An assertion, or a character or a group and how often; `None`: only flags.
    fn term(&mut self) -> Result<Option<Node>, RegexError> {
        let assertion = |assertion| Ok(Some(Node::Assertion(assertion)));
        let node = match self.take()? {
            '^' => return assertion(Assertion::Start),
            '$' => return assertion(Assertion::End),
            '\\' if self.take_if('b') => return assertion(Assertion::WordBoundary),
            '\\' if self.take_if('B') => return assertion(Assertion::NotWordBoundary),
            '(' => match self.group()? {
                None => return Ok(None),
                Some(node) => node,
            },
            '[' => Node::Class(self.class()?),
            '\\' => match self.escape()? {
                Atom::Character(character) => self.character(character)?,
                Atom::Class(ranges) => Node::Class(ranges),
            },
            '.' if self.flags.dot_all => Node::Class(class::ALL.to_vec()),
            '.' => Node::Class(class::negated(class::LINE_ENDS)),
            '*' | '+' | '?' => return Err(self.fault("nothing to repeat")),
            '{' if self.bounds()?.is_some() => return Err(self.fault("nothing to repeat")),
            character => self.character(character.into())?,
        };
        self.repeated(node).map(Some)
    }

    fn repeated(&mut self, node: Node) -> Result<Node, RegexError> {
        let before = self.rest.clone();
        let bounds = match self.rest.next() {
            Some('*') => Some((0, None)),
            Some('+') => Some((1, None)),
            Some('?') => Some((0, Some(1))),
            Some('{') => self.bounds()?,
            _ => None,
        };
        let Some((min, max)) = bounds else {
            self.rest = before;
            return Ok(node);
        };
        self.take_if('?');
        Ok(Node::Repeat { node: Box::new(node), min, max })
    }

    /// `n}`, `n,}` or `n,m}` behind a brace; `None`, and nothing taken: the brace stands for itself.
    fn bounds(&mut self) -> Result<Option<(u32, Option<u32>)>, RegexError> {
        let before = self.rest.clone();
        if let Some(min) = self.number() {
            let max = if self.take_if(',') { self.number() } else { Some(min) };
            if self.take_if('}') {
                let is_reversed = max.is_some_and(|max| max < min);
                return if is_reversed {
                    Err(self.fault("a repetition ends before it begins"))
                } else {
                    Ok(Some((min, max)))
                };
            }
        }
        self.rest = before;
        Ok(None)
    }

    /// Decimal digits; what is too large for any automaton stays so.
    fn number(&mut self) -> Option<u32> {
        let mut number = None;
        while let Some(digit) = self.peek().and_then(|next| next.to_digit(10)) {
            self.rest.next();
            number = Some(number.unwrap_or(0_u32).saturating_mul(10).saturating_add(digit));
        }
        number
    }

    /// What follows `(`; `None`: only flags, which hold for the rest of the group around.
    fn group(&mut self) -> Result<Option<Node>, RegexError> {
        let around = self.flags;
        if self.take_if('?') {
            match self.take()? {
                ':' => {}
                '=' | '!' => return Err(self.fault("look-ahead is not linear")),
                '<' => self.group_name()?,
                flag => {
                    if self.flags(flag)? {
                        return Ok(None);
                    }
                }
            }
        }
        self.nesting = self.nesting.saturating_add(1);
        if self.nesting > NESTING_MAX {
            return Err(self.fault("groups are nested too deep"));
        }
        let node = self.alternatives()?;
        self.nesting = self.nesting.saturating_sub(1);
        self.flags = around;
        if self.take_if(')') { Ok(Some(node)) } else { Err(self.fault("a group is not closed")) }
    }

    fn group_name(&mut self) -> Result<(), RegexError> {
        if matches!(self.peek(), Some('=' | '!')) {
            return Err(self.fault("look-behind is not linear"));
        }
        let rest =
            self.rest.as_str().trim_start_matches(|name: char| name.is_alphanumeric() || matches!(name, '_' | '$'));
        let is_empty = rest.len() == self.rest.as_str().len();
        self.rest = rest.chars();
        if self.take_if('>') && !is_empty { Ok(()) } else { Err(self.fault("expected a group's name and >")) }
    }

    /// `i`, `s`, `-i`, … up to `:`, or up to `)`: whether they stand alone.
    fn flags(&mut self, first: char) -> Result<bool, RegexError> {
        let (mut flag, mut value) = (first, true);
        loop {
            match flag {
                'i' => self.flags.ignore_case = value,
                's' => self.flags.dot_all = value,
                '-' if value => value = false,
                ':' => return Ok(false),
                ')' => return Ok(true),
                _ => return Err(self.fault("unknown group: expected (?:, (?<name>, (?i) or (?s)")),
            }
            flag = self.take()?;
        }
    }

    fn character(&mut self, character: u32) -> Result<Node, RegexError> {
        let mut ranges = Vec::new();
        self.push_range(&mut ranges, (character, character))?;
        Ok(Node::Class(class::sorted(ranges)))
    }

    /// What follows a backslash, inside of a class or outside.
    fn escape(&mut self) -> Result<Atom, RegexError> {
        let next = self.take()?;
        let class = |ranges: &[Range]| {
            Ok(Atom::Class(if next.is_ascii_uppercase() { class::negated(ranges) } else { ranges.to_vec() }))
        };
        let character = match next {
            'd' | 'D' => return class(class::DIGITS),
            's' | 'S' => return class(class::SPACES),
            'w' | 'W' => return class(class::WORDS),
            'p' | 'P' => return class(&self.property()?),
            't' => 0x9,
            'n' => 0xa,
            'v' => 0xb,
            'f' => 0xc,
            'r' => 0xd,
            '0' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => 0,
            'c' => match self.take()? {
                letter if letter.is_ascii_alphabetic() => u32::from(letter) & 0x1f,
                _ => return Err(self.fault("expected a letter behind \\c")),
            },
            'x' => self.hex(2)?,
            'u' => self.code_point()?,
            '1'..='9' | 'k' => return Err(self.fault("back-references are not linear")),
            letter if letter.is_alphanumeric() => return Err(self.fault("unknown escape")),
            punctuation => punctuation.into(),
        };
        Ok(Atom::Character(character))
    }

    /// `{X}`, `XXXX`, or two halves of a surrogate pair.
    fn code_point(&mut self) -> Result<u32, RegexError> {
        if self.take_if('{') {
            let mut value = self.hex(1)?;
            while !self.take_if('}') {
                value = value.saturating_mul(16).saturating_add(self.hex(1)?);
            }
            return self.scalar(value);
        }
        let unit = self.hex(4)?;
        if !(0xd800..0xdc00).contains(&unit) {
            return self.scalar(unit);
        }
        let is_pair = self.take_if('\\') && self.take_if('u');
        match if is_pair { self.hex(4)? } else { 0 } {
            low @ 0xdc00..0xe000 => Ok(((unit & 0x3ff) << 10 | low & 0x3ff).saturating_add(0x1_0000)),
            _ => Err(self.fault("half of a surrogate pair is no character")),
        }
    }

    fn scalar(&self, value: u32) -> Result<u32, RegexError> {
        if char::from_u32(value).is_some() { Ok(value) } else { Err(self.fault("no character")) }
    }

    fn hex(&mut self, count: usize) -> Result<u32, RegexError> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 4 | self.take()?.to_digit(16).ok_or_else(|| self.fault("expected hexadecimal digits"))?;
        }
        Ok(value)
    }

    /// `{…}` behind `\p`.
    fn property(&mut self) -> Result<Vec<Range>, RegexError> {
        let name = self.rest.as_str().strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let Some((name, rest)) = name else { return Err(self.fault("expected {…} behind \\p")) };
        if !class::is_property(name) {
            return Err(self.fault("unknown property: expected a general category"));
        }
        self.rest = rest.chars();
        Ok(if self.keeps(0)? { class::property(name) } else { Vec::new() })
    }

    /// What follows `[`, where brackets, `&&`, `--` and `~~` stand for themselves.
    fn class(&mut self) -> Result<Vec<Range>, RegexError> {
        let is_negated = self.take_if('^');
        let mut ranges = Vec::new();
        while !self.take_if(']') {
            let first = self.class_atom()?;
            let mut after = self.rest.clone();
            let is_range = after.next() == Some('-') && after.next().is_some_and(|next| next != ']');
            match first {
                Atom::Character(first) if is_range => {
                    self.rest.next();
                    match self.class_atom()? {
                        Atom::Character(last) if first <= last => self.push_range(&mut ranges, (first, last))?,
                        Atom::Character(_) => return Err(self.fault("a range ends before it begins")),
                        Atom::Class(_) => return Err(self.fault("a range ends with a class")),
                    }
                }
                Atom::Class(_) if is_range => return Err(self.fault("a range begins with a class")),
                Atom::Character(character) => self.push_range(&mut ranges, (character, character))?,
                Atom::Class(class) => {
                    if self.keeps(class.len())? {
                        ranges.extend(class);
                    }
                }
            }
        }
        let ranges = class::sorted(ranges);
        Ok(if is_negated { class::negated(&ranges) } else { ranges })
    }

    fn class_atom(&mut self) -> Result<Atom, RegexError> {
        match self.take()? {
            '\\' if self.take_if('b') => Ok(Atom::Character(0x8)),
            '\\' => self.escape(),
            character => Ok(Atom::Character(character.into())),
        }
    }

    /// A range of a class, and where case is ignored what is in it of the other case.
    fn push_range(&mut self, ranges: &mut Vec<Range>, (first, last): Range) -> Result<(), RegexError> {
        if !self.keeps(1)? {
            return Ok(());
        }
        ranges.push((first, last));
        if self.flags.ignore_case {
            for letters in [(0x41, 0x5a), (0x61, 0x7a)] {
                let (first, last) = (first.max(letters.0), last.min(letters.1));
                if first <= last {
                    // The cases of a letter differ in this bit.
                    ranges.push((first ^ 0x20, last ^ 0x20));
                }
            }
        }
        Ok(())
    }
}

impl Node {
    /// Two expressions of which one matches wherever this one does: the largest choice in it, divided.
    pub(super) fn halves(&self) -> Option<(Self, Self)> {
        match self {
            Self::Alternatives(nodes) => match nodes.as_slice() {
                [] => None,
                [one] => one.halves(),
                [one, other] => Some((one.clone(), other.clone())),
                many => {
                    let (one, other) = many.split_at_checked(many.len() / 2)?;
                    Some((Self::Alternatives(one.to_vec()), Self::Alternatives(other.to_vec())))
                }
            },
            Self::Sequence(nodes) => {
                let candidates = nodes.iter().enumerate().filter(|(_, node)| node.halves().is_some());
                let (index, choice) = candidates.max_by_key(|(_, node)| node.size())?;
                let (one, other) = choice.halves()?;
                let with = |half: Self| {
                    let mut nodes = nodes.clone();
                    if let Some(node) = nodes.get_mut(index) {
                        *node = half;
                    }
                    Self::Sequence(nodes)
                };
                Some((with(one), with(other)))
            }
            Self::Assertion(_) | Self::Class(_) | Self::Repeat { .. } => None,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Alternatives(nodes) | Self::Sequence(nodes) => {
                nodes.iter().map(Self::size).fold(1, usize::saturating_add)
            }
            Self::Assertion(_) | Self::Class(_) => 1,
            Self::Repeat { node, .. } => node.size().saturating_add(1),
        }
    }
}
