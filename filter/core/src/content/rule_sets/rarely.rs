//! Steps and comparisons as a call each: for what is asked behind a word that is known already, where the size of the module counts for more than the call.

use super::bytes::{self, Kinds, Literals};

#[inline(never)]
pub(super) fn starts(rest: &[u8], literals: &Literals) -> bool {
    bytes::starts(rest, literals)
}

#[inline(never)]
pub(super) fn ends(before: &[u8], literals: &Literals) -> bool {
    bytes::ends(before, literals)
}

#[inline(never)]
pub(super) fn is_one(word: &[u8], words: &Literals) -> bool {
    bytes::is_one(word, words)
}

#[inline(never)]
pub(super) fn skip(rest: &[u8], kinds: Kinds) -> &[u8] {
    bytes::skip(rest, kinds)
}

#[inline(never)]
pub(super) fn spaces(rest: &[u8]) -> &[u8] {
    bytes::spaces(rest)
}
