//! A text as all rules read it, gone through once: which bytes it has, and which of the words that rules look for.

use std::borrow::Cow;

use super::bytes::{CAPITAL, Kinds, all_kinds, first, is, word, words};
use super::names::Name;
use super::work;

/// One reading of a text.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    exact: Cow<'a, [u8]>,
    /// In lower case, where that is another text.
    folded: Option<Vec<u8>>,
    kinds: Kinds,
    known: Known,
    work: usize,
}

/// Where words stand that a rule may begin at.
#[derive(Debug, Default)]
struct Known {
    /// A bit for each byte of the text; none for a text without such words.
    starts: Vec<u64>,
    /// What the words are, in lower case, and how long; the longest are longer.
    names: Vec<(Name, u8)>,
}

/// A word in its text.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) before: &'a [u8],
    pub(super) text: &'a [u8],
    pub(super) after: &'a [u8],
    pub(super) name: Name,
}

impl<'a> Reading<'a> {
    pub(super) fn new(exact: Cow<'a, [u8]>) -> Self {
        let kinds = all_kinds(&exact);
        let folded = (kinds & CAPITAL != 0).then(|| exact.to_ascii_lowercase());
        let known = Known::of(folded.as_deref().unwrap_or(&exact), &exact);
        let work = work::of_text(&exact, kinds, known.names.len());
        Self { exact, folded, kinds, known, work }
    }

    /// What all rules need for it, estimated before they begin.
    pub(super) const fn work(&self) -> usize {
        self.work
    }

    /// As it is.
    pub(super) fn exact(&self) -> &[u8] {
        &self.exact
    }

    /// In lower case.
    pub(super) fn folded(&self) -> &[u8] {
        self.folded.as_deref().unwrap_or(&self.exact)
    }

    /// Whether it has a byte of `kinds`.
    pub(super) const fn has(&self, kinds: Kinds) -> bool {
        self.kinds & kinds != 0
    }

    /// Whether it has a byte that is of none of `kinds`.
    pub(super) const fn has_other(&self, kinds: Kinds) -> bool {
        self.kinds & !kinds & !CAPITAL != 0
    }

    /// The words that rules look for, in lower case.
    pub(super) fn words(&self) -> impl Iterator<Item = Word<'_>> {
        self.known.words(self.folded())
    }

    /// The same as they are.
    pub(super) fn exact_words(&self) -> impl Iterator<Item = Word<'_>> {
        let is_folded = self.folded.is_some();
        self.known.words(&self.exact).map(move |mut word| {
            if is_folded && has_capital(word.text) {
                word.name = Name::of(word.text);
            }
            word
        })
    }
}

impl Known {
    fn of(folded: &[u8], exact: &[u8]) -> Self {
        let mut known = Self::default();
        for (before, text, after) in words(folded) {
            let start = before.len();
            let name = Name::of(text);
            let is_kept = name != Name::Other || may_begin(before, text, after) || {
                let (exact, _) = word(exact.get(start..).unwrap_or_default());
                has_capital(exact) && Name::of(exact) != Name::Other
            };
            if is_kept {
                known.push(start, (name, u8::try_from(text.len()).unwrap_or(u8::MAX)), folded.len());
            }
        }
        known
    }

    fn push(&mut self, start: usize, name: (Name, u8), len: usize) {
        if self.starts.is_empty() {
            self.starts = vec![0; (len >> 6).saturating_add(1)];
        }
        if let Some(bits) = self.starts.get_mut(start >> 6) {
            *bits |= 1 << (start & 63);
            self.names.push(name);
        }
    }

    fn words<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = Word<'t>> {
        let mut left = self.starts.iter().copied();
        let mut bits = 0_u64;
        let mut base = 0_usize.wrapping_sub(64);
        self.names.iter().map_while(move |(name, len)| {
            while bits == 0 {
                bits = left.next()?;
                base = base.wrapping_add(64);
            }
            let (before, rest) = text.split_at_checked(base.wrapping_add(bits.trailing_zeros() as usize))?;
            bits &= bits.wrapping_sub(1);
            let (text, after) = match len {
                &u8::MAX => word(rest),
                len => rest.split_at_checked(usize::from(*len))?,
            };
            Some(Word { before, text, after, name: *name })
        })
    }
}

fn has_capital(word: &[u8]) -> bool {
    word.iter().any(|byte| is(*byte, CAPITAL))
}

/// Whether a rule may begin at a word that no rule has by name.
fn may_begin(before: &[u8], text: &[u8], after: &[u8]) -> bool {
    let is_told = match text {
        [b'_', ..] | [.., b'_', b'_'] => true,
        [b'o', b'n', ..] => text.len() > 4,
        [b'0'..=b'9', ..] => text.len() > 2 || first(after) == b'.',
        _ => false,
    };
    is_told
        || matches!(before, [.., b'!' | b'{'] | [.., b'.', b'/'] | [.., b'_', b' '])
        || matches!(after, [b'/', b'*', ..])
}
