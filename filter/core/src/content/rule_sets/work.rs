//! How much work the rules have with a text, estimated before they begin: a unit is some 500 instructions of the module.
//!
//! The estimate is linear in what a text has, and its weights are those that cover the most expensive texts that searches found
//! (`host-tests/tests/work.rs`) while honest texts need the least of what is allowed.

use super::bytes::{CAPITAL, Kinds, WORD, first, head, of, places, split};

/// The work for each 1,024 bytes of a message.
const WORK_PER_KIB: usize = 16_600;

/// A shorter message may take as much as one of so many KiB, which is some ten milliseconds: short texts that are all separators (formulas of
/// spreadsheets, fields of forms) are estimated at several times what they take.
const KIB_MIN: usize = 24;

/// How many steps of a schema take as long as a unit.
pub(super) const STEPS_PER_UNIT: u64 = 2;

/// What each text takes beside its bytes.
const OF_TEXT: usize = 40;

/// The same for a number or a word, at which few rules begin.
const OF_PLAIN_TEXT: usize = 8;

/// What such texts are made of.
const PLAIN: Kinds = WORD | CAPITAL | of(b"-.");

/// What a word takes at which a rule may begin.
const OF_WORD: usize = 12;

/// What each byte takes: most are only gone over, and behind some a rule looks for more.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "worked out when the filter is compiled, which fails where it does not fit"
)]
static OF_BYTE: [u8; 256] = {
    let mut work = [1; 256];
    let mut byte = 0;
    while byte < 256 {
        work[byte] = match byte as u8 {
            b'&' => 32,
            0 => 25,
            b'$' => 20,
            b'`' => 15,
            b'<' => 12,
            b'%' => 10,
            b'\n' | b'\r' => 7,
            b'\\' => 6,
            b'#' => 4,
            b'/' | b'(' | b'[' | b'{' | b'|' => 3,
            b'\'' | b'"' => 2,
            _ => 1,
        };
        byte += 1;
    }
    work
};

/// By how much less an `&` takes that begins a reference of HTML, as pages have many.
const LESS_OF_REFERENCE: usize = 14;

const AMPERSAND: Kinds = of(b"&");

/// The longest name of such a reference: `&quot;`.
const REFERENCE_LEN_MAX: usize = 8;

/// What all rules need for `text` at most, which has bytes of these kinds and so many words at which rules may begin.
pub(super) fn of_text(text: &[u8], kinds: Kinds, word_count: usize) -> usize {
    let mut work = if kinds & !PLAIN == 0 { OF_PLAIN_TEXT } else { OF_TEXT };
    for byte in text {
        work = work.wrapping_add(usize::from(OF_BYTE.get(usize::from(*byte)).copied().unwrap_or_default()));
    }
    if kinds & AMPERSAND != 0 {
        let references = places(text, AMPERSAND).filter(|(_, rest)| is_reference(rest)).count();
        work = work.saturating_sub(references.saturating_mul(LESS_OF_REFERENCE));
    }
    work.saturating_add(word_count.saturating_mul(OF_WORD))
}

/// Whether `rest`, from its `&` on, begins with a reference.
fn is_reference(rest: &[u8]) -> bool {
    let near = head(rest.get(1..).unwrap_or_default(), REFERENCE_LEN_MAX.saturating_add(1));
    let (name, behind) = split(near, const { WORD | of(b"#") });
    name.len() >= 2 && first(behind) == b';'
}

/// What a message of `len` bytes may take, on which a schema has spent so many of its steps.
pub(super) fn allowed(len: usize, steps: u64) -> usize {
    let allowed = (len >> 10).max(KIB_MIN).saturating_mul(WORK_PER_KIB);
    let of_schema = usize::try_from(steps / STEPS_PER_UNIT).unwrap_or(usize::MAX);
    allowed.saturating_sub(of_schema)
}
