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

/// Kinds of bytes, a bit for each: what is asked about a byte is a look into one table.
pub(super) type Kinds = u64;

pub(super) const DIGIT: Kinds = 1;
pub(super) const LETTER: Kinds = 1 << 1;
pub(super) const WORD: Kinds = DIGIT | LETTER | of(b"_");
/// White space within a line, and control characters, which some readers take for it.
pub(super) const BLANK: Kinds = 1 << 2;
pub(super) const BREAK: Kinds = 1 << 3;
/// Control characters, which some readers leave out.
pub(super) const CONTROL: Kinds = 1 << 5;
pub(super) const CAPITAL: Kinds = 1 << 6;
/// What is no mark of ASCII.
pub(super) const BEYOND: Kinds = 1 << 7;
pub(super) const SPACE: Kinds = BLANK | BREAK;
pub(super) const NUL: Kinds = 1 << 4;
pub(super) const QUOTE: Kinds = of(b"'\"`");
pub(super) const SLASH: Kinds = of(b"/\\");
/// Where the kinds of single marks begin.
const MARKS: u32 = 16;

/// The kinds of each byte.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "worked out when the filter is compiled, which fails where it does not fit"
)]
static KINDS: [Kinds; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = kinds_of(byte as u8);
        byte += 1;
    }
    kinds
};

#[expect(
    clippy::arithmetic_side_effects,
    reason = "each range begins with what is subtracted, and there are fewer marks than bits"
)]
const fn kinds_of(byte: u8) -> Kinds {
    match byte {
        0 => NUL,
        b'\n' | b'\r' => BREAK,
        1..=8 | 14..=31 => BLANK | CONTROL,
        9..=b' ' => BLANK,
        b'0'..=b'9' => DIGIT,
        b'a'..=b'z' => LETTER,
        b'A'..=b'Z' => LETTER | CAPITAL,
        b'!'..=b'/' => 1 << (MARKS + (byte - b'!') as u32),
        b':'..=b'@' => 1 << (MARKS + 15 + (byte - b':') as u32),
        b'['..=b'`' => 1 << (MARKS + 22 + (byte - b'[') as u32),
        b'{'..=b'~' => 1 << (MARKS + 28 + (byte - b'{') as u32),
        127.. => BEYOND,
    }
}

/// The kinds of single marks.
pub(super) const fn of(marks: &[u8]) -> Kinds {
    let mut kinds = 0;
    let mut rest = marks;
    while let [mark, behind @ ..] = rest {
        kinds |= kinds_of(*mark);
        rest = behind;
    }
    kinds
}

/// Whether a byte is one of `kinds`.
#[inline]
pub(super) fn is(byte: u8, kinds: Kinds) -> bool {
    self::kinds(byte) & kinds != 0
}

/// The kinds of a byte.
#[inline]
fn kinds(byte: u8) -> Kinds {
    KINDS.get(usize::from(byte)).copied().unwrap_or_default()
}

/// All kinds that a text has.
pub(super) fn all_kinds(text: &[u8]) -> Kinds {
    text.iter().fold(0, |all, byte| all | kinds(*byte))
}

/// How many bytes at the start are of `kinds`.
#[inline]
fn len_of(rest: &[u8], kinds: Kinds) -> usize {
    rest.iter().position(|byte| !is(*byte, kinds)).unwrap_or(rest.len())
}

/// The longest beginning of `rest` whose bytes are all of `kinds`, and what follows it.
#[inline(never)]
pub(super) fn split(rest: &[u8], kinds: Kinds) -> (&[u8], &[u8]) {
    rest.split_at_checked(len_of(rest, kinds)).unwrap_or((rest, &[]))
}

/// What follows that beginning, which most often is nothing.
#[inline]
pub(super) fn skip(rest: &[u8], kinds: Kinds) -> &[u8] {
    if is(first(rest), kinds) { skip_some(rest, kinds) } else { rest }
}

#[inline(never)]
fn skip_some(rest: &[u8], kinds: Kinds) -> &[u8] {
    rest.get(len_of(rest, kinds)..).unwrap_or_default()
}

/// From the first byte of `kinds` on.
#[inline(never)]
pub(super) fn skip_until(rest: &[u8], kinds: Kinds) -> &[u8] {
    split_until(rest, kinds).1
}

/// What stands before the first byte of `kinds`, and from there on.
#[inline(never)]
pub(super) fn split_until(rest: &[u8], kinds: Kinds) -> (&[u8], &[u8]) {
    let len = rest.iter().position(|byte| is(*byte, kinds)).unwrap_or(rest.len());
    rest.split_at_checked(len).unwrap_or((rest, &[]))
}

/// From the first byte of `kinds` on, within [`REACH`].
#[inline(never)]
pub(super) fn until_near(rest: &[u8], kinds: Kinds) -> &[u8] {
    let (before, _) = split_until(head(rest, REACH), kinds);
    rest.get(before.len()..).unwrap_or_default()
}

/// What follows the longest beginning of `kinds` within [`REACH`]: for kinds that rules begin with.
#[inline(never)]
pub(super) fn skip_near(rest: &[u8], kinds: Kinds) -> &[u8] {
    rest.get(len_of(head(rest, REACH), kinds)..).unwrap_or_default()
}

/// What follows white space.
#[inline]
pub(super) fn spaces(rest: &[u8]) -> &[u8] {
    skip(rest, SPACE)
}

/// A word, which may be empty, and what follows it.
#[inline(never)]
pub(super) fn word(rest: &[u8]) -> (&[u8], &[u8]) {
    split(rest, WORD)
}

/// Texts to compare with. Most are compared with nothing: the masks say which bytes one of them begins and ends with.
pub(super) struct Literals {
    firsts: u32,
    lasts: u32,
    /// Each behind its length: so a text costs one byte more than itself, and no pointer.
    packed: &'static [u8],
}

/// [`Literals`], worked out when the filter is compiled.
macro_rules! any {
    ($($literal:expr),* $(,)?) => {
        const {
            const ALL: &[&str] = &[$($literal),*];
            const PACKED: [u8; $crate::content::rule_sets::bytes::packed_len(ALL)] =
                $crate::content::rule_sets::bytes::pack(ALL);
            &$crate::content::rule_sets::bytes::Literals::new(ALL, &PACKED)
        }
    };
}
pub(super) use any;

#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "worked out when the filter is compiled, which fails where it does not fit"
)]
impl Literals {
    pub(super) const fn new(all: &[&str], packed: &'static [u8]) -> Self {
        let mut literals = Self { firsts: 0, lasts: 0, packed };
        let mut index = 0;
        while index < all.len() {
            let text = all[index].as_bytes();
            literals.firsts |= bit(text[0]);
            literals.lasts |= bit(text[text.len() - 1]);
            index += 1;
        }
        literals
    }
}

impl Literals {
    /// One after the other, as bytes.
    #[inline]
    fn iter(&self) -> impl Iterator<Item = &'static [u8]> {
        let mut rest = self.packed;
        core::iter::from_fn(move || {
            let (len, behind) = rest.split_first()?;
            let (literal, behind) = behind.split_at_checked(usize::from(*len))?;
            rest = behind;
            Some(literal)
        })
    }
}

/// The place of a byte in a mask, which it shares with others.
#[inline]
const fn bit(byte: u8) -> u32 {
    1 << (byte & 31)
}

#[expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "as above")]
pub(super) const fn packed_len(all: &[&str]) -> usize {
    let mut len = all.len();
    let mut index = 0;
    while index < all.len() {
        len += all[index].len();
        index += 1;
    }
    len
}

#[expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "as above"
)]
pub(super) const fn pack<const LEN: usize>(all: &[&str]) -> [u8; LEN] {
    let mut packed = [0; LEN];
    let (mut index, mut end) = (0, 0);
    while index < all.len() {
        let text = all[index].as_bytes();
        packed[end] = text.len() as u8;
        let mut at = 0;
        while at < text.len() {
            packed[end + 1 + at] = text[at];
            at += 1;
        }
        end += 1 + text.len();
        index += 1;
    }
    packed
}

/// What follows the first of `literals` that `rest` begins with.
#[inline]
pub(super) fn eat_any<'a>(rest: &'a [u8], literals: &Literals) -> Option<&'a [u8]> {
    let start = *rest.first()?;
    if literals.firsts & bit(start) == 0 { None } else { eat_one(rest, start, literals) }
}

#[inline(never)]
fn eat_one<'a>(rest: &'a [u8], start: u8, literals: &Literals) -> Option<&'a [u8]> {
    literals.iter().filter(|one| one.first() == Some(&start)).find_map(|one| rest.strip_prefix(one))
}

/// Whether `rest` begins with one of `literals`.
#[inline]
pub(super) fn starts(rest: &[u8], literals: &Literals) -> bool {
    eat_any(rest, literals).is_some()
}

/// Whether `before` ends with one of `literals`.
#[inline]
pub(super) fn ends(before: &[u8], literals: &Literals) -> bool {
    before.last().is_some_and(|end| literals.lasts & bit(*end) != 0 && ends_one(before, *end, literals))
}

#[inline(never)]
fn ends_one(before: &[u8], end: u8, literals: &Literals) -> bool {
    literals.iter().any(|one| one.last() == Some(&end) && before.ends_with(one))
}

/// Whether `word` is one of `words`.
#[inline]
pub(super) fn is_one(word: &[u8], words: &Literals) -> bool {
    let (Some(start), Some(end)) = (word.first(), word.last()) else { return false };
    words.firsts & bit(*start) != 0 && words.lasts & bit(*end) != 0 && is_any(word, words)
}

#[inline(never)]
fn is_any(word: &[u8], words: &Literals) -> bool {
    words.iter().any(|one| one == word)
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
pub(super) fn near(rest: &[u8], needles: &Literals) -> bool {
    needles.iter().any(|needle| split_near(rest, needle).is_some())
}

/// The text without white space around it.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// The words of a text, each with what stands before and behind it.
pub(super) fn words(text: &[u8]) -> Words<'_> {
    Words { text, at: 0 }
}

pub(super) struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = (&'a [u8], &'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let mut start = self.at;
        while !is(*self.text.get(start)?, WORD) {
            start = start.wrapping_add(1);
        }
        let mut end = start.wrapping_add(1);
        while self.text.get(end).is_some_and(|byte| is(*byte, WORD)) {
            end = end.wrapping_add(1);
        }
        self.at = end;
        Some((self.text.get(..start)?, self.text.get(start..end)?, self.text.get(end..)?))
    }
}

/// A text from each byte of `kinds` on, with what stands before it.
pub(super) fn places(text: &[u8], kinds: Kinds) -> Places<'_> {
    Places { text, at: 0, kinds }
}

pub(super) struct Places<'a> {
    text: &'a [u8],
    at: usize,
    kinds: Kinds,
}

impl<'a> Iterator for Places<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let mut at = self.at;
        while !is(*self.text.get(at)?, self.kinds) {
            at = at.wrapping_add(1);
        }
        self.at = at.wrapping_add(1);
        self.text.split_at_checked(at)
    }
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
