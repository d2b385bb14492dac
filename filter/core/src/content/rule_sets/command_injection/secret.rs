//! Files that hold secrets, named near a command: `cat /e't'c/passwd`.
//!
//! Where they are is found out once for a text, so that each command may ask.

use core::cell::OnceCell;

use super::super::bytes::{is, of};

/// How far from a command a file may be named, in bytes.
const REACH: usize = 128;

/// The files of a text.
pub(super) struct Secrets<'a> {
    text: &'a [u8],
    places: OnceCell<Vec<Place>>,
}

/// Where a file is named.
struct Place {
    at: usize,
    /// Where the command line begins that it is on.
    line: usize,
}

impl<'a> Secrets<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { text, places: OnceCell::new() }
    }

    /// Whether the next words name such a file, on the same command line; `rest` is the end of the text.
    pub(super) fn are_near(&self, rest: &[u8]) -> bool {
        let places = self.places.get_or_init(|| places(self.text));
        let at = self.text.len().saturating_sub(rest.len());
        let next = places.get(places.partition_point(|place| place.at < at));
        next.is_some_and(|place| place.at < at.saturating_add(REACH) && place.line <= at)
    }
}

fn places(text: &[u8]) -> Vec<Place> {
    let (mut places, mut line, mut seen) = (Vec::new(), 0_usize, 0_usize);
    for (at, byte) in text.iter().enumerate() {
        if !matches!(byte, b'b' | b'e' | b'r' | b'w') {
            continue;
        }
        let Some((before, rest)) = text.split_at_checked(at) else { continue };
        if may_name(rest) && is_any(rest) {
            let between = before.get(seen..).unwrap_or_default();
            let end = between.iter().rposition(|byte| is(*byte, const { of(b";|&\n)`") }));
            line = end.map_or(line, |end| seen.saturating_add(end).saturating_add(1));
            seen = at;
            places.push(Place { at, line });
        }
    }
    places
}

/// Whether a name may begin with the first two bytes.
const fn may_name(rest: &[u8]) -> bool {
    matches!(
        rest,
        [_, b'\'' | b'"' | b'^', ..] | [b'b', b'o', ..] | [b'e', b't', ..] | [b'r', b'e', ..] | [b'w', b'i', ..]
    )
}

/// Whether `rest` begins with one of the names.
fn is_any(rest: &[u8]) -> bool {
    NAMES.iter().any(|(start, ends)| is_name(rest, start) && ends.iter().any(|name| is_name(rest, name)))
}

/// Whether `rest` begins with a name, quotes and marks within it left out.
fn is_name(rest: &[u8], name: &str) -> bool {
    let marked = rest.iter().filter(|byte| !matches!(byte, b'\'' | b'"' | b'^'));
    let mut plain = marked.map(|byte| if *byte == b'\\' { b'/' } else { *byte });
    name.bytes().all(|byte| plain.next() == Some(byte))
}

/// By what they begin with.
const NAMES: [(&str, &[&str]); 4] = [
    (
        "etc/",
        &[
            "etc/passwd",
            "etc/./passwd",
            "etc/shadow",
            "etc/./shadow",
            "etc/sudoers",
            "etc/group",
            "etc/hosts",
            "etc/issue",
            "etc//passwd",
        ],
    ),
    ("win", &["win.ini"]),
    ("boot", &["boot.ini"]),
    ("repair", &["repair/s"]),
];
