//! Names of files that lead out of where the service looks (CWE-22, CWE-73, CWE-98).
//!
//! The rules look for steps up (`..`) in any encoding, steps up to a file that attackers read, and values that are such a
//! file's absolute name, or a wrapper of PHP or Java. So people may talk about `/etc/passwd`, import `'../../utils'` and paste
//! paths; `file://` is left to editors unless a secret follows. Refused even from honest senders: a value that is nothing but a path
//! that begins with two steps up or has two in a row, or one such name alone.
//!
//! Not found: one plain step (`../notes.txt`), absolute names of files that hold no secret (`/etc/hosts`), shares at the plain name of
//! what serves files (`\\fileserver\public`), links in the file system, and traversal in names of archives' members unless it is written so.

mod absolute;
mod secret;
#[cfg(test)]
mod tests;
mod wrapper;

use super::bytes::{
    CONTROL, DIGIT, Literals, NUL, SLASH, WORD, any, eat_any, first, head, is_letter, is_slash, is_space, is_word,
    last, of, places, split, trim, word,
};
use super::kept::Kept;
use super::rarely::{is_one, skip, spaces, starts};
use super::reading::Reading;
use secret::{NEAR, is_secret, is_secret_near, separator, slashes};

pub(super) const NAMES: &[&str] = &[
    "path_traversal.absolute_secret",
    "path_traversal.encoded_parent",
    "path_traversal.encoded_secret",
    "path_traversal.file_wrapper",
    "path_traversal.many_parents",
    "path_traversal.nested_parent",
    "path_traversal.null_byte",
    "path_traversal.parent_directories",
    "path_traversal.parent_of_secret",
    "path_traversal.php_wrapper",
    "path_traversal.windows_share",
];

/// How many steps up no project is deep enough for.
const MANY_PARENTS: usize = 6;

/// How many steps to the current directory (`./`) serve only to make a name too long for its check.
const MANY_STEPS: usize = 16;

/// The rule that `text` matches, which is in lower case; `written`: what it was before its encodings were undone, if it had any.
pub(super) fn find(reading: &Reading<'_>, written: Option<&Reading<'_>>, kept: Kept<'_>) -> Option<&'static str> {
    // Separators are spelt with digits as well, but nothing leads anywhere without one or the other.
    if !reading.has(const { SLASH | DIGIT | NUL | of(b"%:") }) {
        return None;
    }
    let text = reading.folded();
    let steps = Steps::of(reading);
    if let Some(written) = written {
        let has_parent = steps.parents > 0 && steps.parents > Steps::of(written).parents;
        let named = secrets(text);
        let has_secret = || named > 0 && named > secrets(written.folded());
        let parent = kept.of(has_parent.then_some("path_traversal.encoded_parent"));
        let found = parent.or_else(|| kept.of(has_secret().then_some("path_traversal.encoded_secret")));
        if found.is_some() {
            return found;
        }
    }
    steps
        .find(text, kept)
        .or_else(|| kept.of(absolute::find(text)))
        .or_else(|| if reading.has(const { NUL | of(b"%\\") }) { kept.of(null_byte(text)) } else { None })
        .or_else(|| if reading.has(const { of(b":\\.") }) { wrapper::find(reading, written, kept) } else { None })
}

/// Whether a step or a separator may begin with a byte.
const fn is_step(byte: u8) -> bool {
    matches!(byte, b'.' | b'0' | b'/' | b'\\')
}

/// The steps of a path.
struct Steps {
    /// How many steps up.
    parents: usize,
    /// How many in a row.
    row_max: usize,
    /// How many steps to the current directory, in a row.
    here_max: usize,
    is_nested: bool,
    is_hex: bool,
    to_secret: bool,
    /// Whether the text begins with one.
    leads: bool,
}

impl Steps {
    fn of(reading: &Reading<'_>) -> Self {
        let may_step = reading.has(const { DIGIT | of(b".") }) && reading.has(const { DIGIT | SLASH });
        Self::read(if may_step { reading.folded() } else { &[] })
    }

    fn read(text: &[u8]) -> Self {
        let mut steps = Self {
            parents: 0,
            row_max: 0,
            here_max: 0,
            is_nested: false,
            is_hex: false,
            to_secret: false,
            leads: false,
        };
        let (mut row, mut here) = (0_usize, 0_usize);
        let mut rest = text;
        let mut last = 0_u8;
        while let Some((byte, behind)) = rest.split_first() {
            if !is_step(*byte) {
                let len = rest.iter().position(|byte| is_step(*byte)).unwrap_or(rest.len());
                let (skipped, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
                (row, here, last, rest) = (0, 0, self::last(skipped), behind);
                continue;
            }
            let (dots, after) = dots(rest);
            let Some(behind_separator) = separator(after).filter(|_| dots > 0) else {
                if separator(rest).is_none() {
                    (row, here) = (0, 0);
                }
                last = *byte;
                rest = if dots > 1 { after } else { behind };
                continue;
            };
            let hex = first(rest) == b'0' || first(after) == b'0';
            if dots == 1 {
                here = here.saturating_add(1);
                steps.here_max = steps.here_max.max(here);
            } else {
                row = row.saturating_add(1);
                steps.parents = steps.parents.saturating_add(1);
                steps.row_max = steps.row_max.max(row);
                steps.is_hex |= hex && !is_word(last);
                steps.leads |=
                    rest.len() == text.len() || rest.len().saturating_add(1) == text.len() && is_slash(first(text));
                steps.to_secret |= dots == 2 && is_secret_near(behind_separator);
                steps.is_nested |= is_nested(dots, after, behind_separator);
            }
            last = b'/';
            rest = behind_separator;
        }
        steps
    }

    fn find(&self, text: &[u8], kept: Kept<'_>) -> Option<&'static str> {
        let is_many = self.row_max >= MANY_PARENTS || self.here_max >= MANY_STEPS;
        let found = [
            (self.is_hex, "path_traversal.encoded_parent"),
            (self.is_nested, "path_traversal.nested_parent"),
            (self.to_secret, "path_traversal.parent_of_secret"),
            (is_many, "path_traversal.many_parents"),
        ];
        let found = found.into_iter().find_map(|(is_found, rule)| kept.of(is_found.then_some(rule)));
        if found.is_some() {
            return found;
        }
        let value = trim(text);
        let whole =
            || !value.iter().any(|byte| is_space(*byte) || matches!(byte, b'\'' | b'"' | b'<' | b'>' | b'(' | b')'));
        let url = || value.windows(3).take(16).any(|window| window == b"://");
        let leads = self.parents >= 2 || self.parents == 1 && self.leads && is_slash(first(value));
        let directories = (leads && whole() && !url()).then_some("path_traversal.parent_directories");
        kept.of(directories).or_else(|| kept.of(junk(value))).or_else(|| kept.of(parameters(text)))
    }
}

/// Dots at the start, as they are or as `0x2e`, and what follows.
fn dots(rest: &[u8]) -> (usize, &[u8]) {
    let (mut count, mut rest) = (0_usize, rest);
    while let Some(behind) = eat_any(rest, any![".", "0x2e"]) {
        count = count.saturating_add(1);
        rest = behind;
    }
    // Control characters are left out by some.
    let controls = split(head(rest, NEAR), CONTROL).0.len();
    (count, rest.get(controls..).filter(|_| count > 1).unwrap_or(rest))
}

/// Steps up that a filter uncovers: `....//....//`, `.../.\`, `..\/`.
fn is_nested(dots: usize, after: &[u8], behind: &[u8]) -> bool {
    let next = skip(behind, SLASH);
    match dots {
        2 => {
            // `..\/..\/`, `../\x`
            let mixed = is_slash(first(behind)) && first(behind) != first(after);
            mixed
                && (is_word(first(next)) || first(next) == b'.')
                && (first(after) == b'/' || starts(next, any!["..\\", "../"]))
        }
        3 => starts(behind, any!["./", ".\\", "./."]),
        4.. => {
            is_slash(first(behind)) && (starts(next, any!["..../", "....\\"]) || is_secret_near(next))
                || is_secret_near(next)
                || starts(next, any!["..../", "....\\"]) && is_slash(first(behind))
        }
        _ => false,
    }
}

/// `/..;/`, which one server takes for a parameter and the next for a step up.
fn parameters(text: &[u8]) -> Option<&'static str> {
    places(text, const { of(b"/") }).find_map(|(_, rest)| {
        let behind = skip(rest.strip_prefix(b"/..;")?, const { WORD | of(b"=") });
        (first(behind) == b'/').then_some("path_traversal.nested_parent")
    })
}

/// A value that is nothing but marks in the place of dots, and a secret: `??/??/etc/passwd`.
fn junk(value: &[u8]) -> Option<&'static str> {
    let path = skip(value, const { SLASH | of(b".?%:;") });
    let marks = value.get(..value.len().saturating_sub(path.len())).unwrap_or_default();
    let told = marks.len() >= 3
        && marks.iter().any(|byte| matches!(byte, b'.' | b'?'))
        && marks.iter().any(|byte| is_slash(*byte));
    let hex = marks.len() >= 2 && marks.contains(&b'?') && starts(path, any!["0x2f", "0x5c"]);
    (told && is_secret(path) || hex).then_some("path_traversal.nested_parent")
}

/// How many secrets a text names by an absolute path.
fn secrets(text: &[u8]) -> usize {
    places(text, SLASH)
        .filter(|(before, rest)| {
            !is_word(last(before))
                && !is_slash(last(before))
                && starts(slashes(rest), any!["etc", "windows", "winnt", "proc"])
                && is_secret(rest)
        })
        .count()
}

/// The end of a name cut off: `report.php%00.jpg`.
fn null_byte(text: &[u8]) -> Option<&'static str> {
    const NULS: &Literals = any!["\0", "%00", "%2500", "\\0", "\\x00", "\\u0000"];
    places(text, const { of(b"\0%\\") }).find_map(|(before, rest)| {
        let behind = eat_any(rest, NULS)?;
        let dot = before.iter().rev().take(16).position(|byte| !is_word(*byte))?;
        let at = before.len().checked_sub(dot.saturating_add(1))?;
        let extension = before.get(at.saturating_add(1)..)?;
        let named = before.get(at) == Some(&b'.') && is_letter(first(extension));
        let (end, ending) = word(behind.strip_prefix(b".").unwrap_or_default());
        let whole = spaces(ending).is_empty();
        let percent = first(rest) == b'%';
        let cut = named && (percent && spaces(behind).is_empty() || first(behind) == b'.' && !end.is_empty() && whole);
        let plain = percent || first(rest) == b'\0';
        let replaced = plain
            && first(behind) == b'.'
            && is_one(end, any!["jpg", "jpeg", "png", "gif", "htm", "html", "txt", "pdf", "php", "ini", "css", "js"]);
        let index =
            plain && percent && is_one(word(behind).0, any!["index"]) && starts(word(behind).1, any![".htm", ".php"]);
        (cut || replaced || index).then_some("path_traversal.null_byte")
    })
}
