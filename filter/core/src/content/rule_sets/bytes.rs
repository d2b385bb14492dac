//! Steps over text as bytes. Each gives what is left behind it, and none looks further than its argument says, so that what starts
//! anew at many places stays linear.

/// How far a step looks for the end of something: a comment, a literal, the arguments of a call.
pub(super) const REACH: usize = 256;

/// The first byte, or zero at the end: no rule takes zero for anything.
pub(super) fn first(rest: &[u8]) -> u8 {
    rest.first().copied().unwrap_or_default()
}

/// The last byte, or zero.
pub(super) fn last(before: &[u8]) -> u8 {
    before.last().copied().unwrap_or_default()
}

/// The longest beginning of `rest` whose bytes are all `of` a kind, and what follows it.
pub(super) fn split(rest: &[u8], of: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let len = rest.iter().position(|byte| !of(*byte)).unwrap_or(rest.len());
    rest.split_at_checked(len).unwrap_or((rest, &[]))
}

/// What follows that beginning.
pub(super) fn skip(rest: &[u8], of: impl Fn(u8) -> bool) -> &[u8] {
    split(rest, of).1
}

/// The same, within [`REACH`].
pub(super) fn skip_near(rest: &[u8], of: impl Fn(u8) -> bool) -> &[u8] {
    let (kind, _) = split(head(rest, REACH), of);
    rest.get(kind.len()..).unwrap_or_default()
}

/// What follows white space.
#[inline(never)]
pub(super) fn spaces(rest: &[u8]) -> &[u8] {
    let len = rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
    rest.get(len..).unwrap_or_default()
}

/// A word, which may be empty, and what follows it.
#[inline(never)]
pub(super) fn word(rest: &[u8]) -> (&[u8], &[u8]) {
    let len = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
    rest.split_at_checked(len).unwrap_or((rest, &[]))
}

/// What follows the first of `literals` that `rest` begins with.
#[inline(never)]
pub(super) fn eat_any<'a>(rest: &'a [u8], literals: &[&str]) -> Option<&'a [u8]> {
    literals.iter().find_map(|literal| rest.strip_prefix(literal.as_bytes()))
}

/// Whether `rest` begins with one of `literals`.
#[inline(never)]
pub(super) fn starts(rest: &[u8], literals: &[&str]) -> bool {
    eat_any(rest, literals).is_some()
}

/// Whether `before` ends with one of `literals`.
#[inline(never)]
pub(super) fn ends(before: &[u8], literals: &[&str]) -> bool {
    literals.iter().any(|literal| before.ends_with(literal.as_bytes()))
}

/// Whether `word` is one of `words`.
#[inline(never)]
pub(super) fn is_one(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|one| one.as_bytes() == word)
}

/// The first `len` bytes at most.
pub(super) fn head(rest: &[u8], len: usize) -> &[u8] {
    rest.get(..len).unwrap_or(rest)
}

/// The last `len` bytes at most.
pub(super) fn tail(before: &[u8], len: usize) -> &[u8] {
    before.len().checked_sub(len).and_then(|at| before.get(at..)).unwrap_or(before)
}

/// What stands before and behind the first `needle`, within [`REACH`].
#[inline(never)]
pub(super) fn split_near<'a>(rest: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let start = first(needle);
    let near = head(rest, REACH);
    let mut at = 0_usize;
    loop {
        at = at.saturating_add(near.get(at..)?.iter().position(|byte| *byte == start)?);
        if let Some(behind) = rest.get(at..)?.strip_prefix(needle) {
            return Some((rest.get(..at)?, behind));
        }
        at = at.saturating_add(1);
    }
}

/// Whether one of `needles` stands within the first [`REACH`] bytes.
#[inline(never)]
pub(super) fn near(rest: &[u8], needles: &[&str]) -> bool {
    needles.iter().any(|needle| split_near(rest, needle.as_bytes()).is_some())
}

/// The text without white space around it.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// The words of a text, each with what stands before and behind it.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    let mut at = 0_usize;
    core::iter::from_fn(move || {
        let start = at.saturating_add(text.get(at..)?.iter().position(|byte| is_word(*byte))?);
        let (word, behind) = word(text.get(start..)?);
        at = text.len().checked_sub(behind.len())?;
        if word.is_empty() { None } else { Some((text.get(..start)?, word, behind)) }
    })
}

/// A text from each byte `of` a kind on, with what stands before it.
pub(super) fn places(text: &[u8], of: impl Fn(u8) -> bool) -> impl Iterator<Item = (&[u8], &[u8])> {
    let at = text.iter().enumerate().filter(move |(_, byte)| of(**byte));
    at.filter_map(|(at, _)| text.split_at_checked(at))
}

/// White space, and control characters, which some readers take for it.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, 1..=b' ')
}

pub(super) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(super) const fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

pub(super) const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic()
}

pub(super) const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'\'' | b'"' | b'`')
}

pub(super) const fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}
