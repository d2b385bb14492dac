//! Sets of characters: sorted ranges of code points, and the general categories of Unicode.

use std::collections::BinaryHeap;

/// The first and the last code point. Surrogates may be within: no text has them.
pub(super) type Range = (u32, u32);

pub(super) const CODE_POINT_MAX: u32 = 0x10_ffff;

/// Everything.
pub(super) const ALL: &[Range] = &[(0, CODE_POINT_MAX)];

/// `\d`.
pub(super) const DIGITS: &[Range] = &[(0x30, 0x39)];

/// `\w`.
pub(super) const WORDS: &[Range] = &[(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)];

/// What `.` does not match (ECMA-262 §12.3).
pub(super) const LINE_ENDS: &[Range] = &[(0xa, 0xa), (0xd, 0xd), (0x2028, 0x2029)];

/// `\s` (ECMA-262 §12.2, §12.3: WhiteSpace and LineTerminator).
pub(super) const SPACES: &[Range] = &[
    (0x9, 0xd),
    (0x20, 0x20),
    (0xa0, 0xa0),
    (0x1680, 0x1680),
    (0x2000, 0x200a),
    (0x2028, 0x2029),
    (0x202f, 0x202f),
    (0x205f, 0x205f),
    (0x3000, 0x3000),
    (0xfeff, 0xfeff),
];

/// The categories of all code points in order, as runs. A byte has the category in its low five bits, as an index of [`CATEGORIES`], and
/// the length of the run above; where that is 0 the length follows in groups of seven bits, the low ones first, the last without the
/// high bit.
pub(super) const RUNS: &[u8] = include_bytes!("categories.bin");

/// Every category, sorted: those of one letter are the groups of what begins with it.
pub(super) const CATEGORIES: [&str; 30] = [
    "Cc", "Cf", "Cn", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No", "Pc", "Pd", "Pe",
    "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs",
];

/// Other names of categories and of their groups (Unicode's PropertyValueAliases).
const ALIASES: &[(&str, &str)] = &[
    ("Cased_Letter", "LC"),
    ("Close_Punctuation", "Pe"),
    ("Combining_Mark", "M"),
    ("Connector_Punctuation", "Pc"),
    ("Control", "Cc"),
    ("Currency_Symbol", "Sc"),
    ("Dash_Punctuation", "Pd"),
    ("Decimal_Number", "Nd"),
    ("Enclosing_Mark", "Me"),
    ("Final_Punctuation", "Pf"),
    ("Format", "Cf"),
    ("Initial_Punctuation", "Pi"),
    ("Letter", "L"),
    ("Letter_Number", "Nl"),
    ("Line_Separator", "Zl"),
    ("Lowercase_Letter", "Ll"),
    ("Mark", "M"),
    ("Math_Symbol", "Sm"),
    ("Modifier_Letter", "Lm"),
    ("Modifier_Symbol", "Sk"),
    ("Nonspacing_Mark", "Mn"),
    ("Number", "N"),
    ("Open_Punctuation", "Ps"),
    ("Other", "C"),
    ("Other_Letter", "Lo"),
    ("Other_Number", "No"),
    ("Other_Punctuation", "Po"),
    ("Other_Symbol", "So"),
    ("Paragraph_Separator", "Zp"),
    ("Private_Use", "Co"),
    ("Punctuation", "P"),
    ("Separator", "Z"),
    ("Space_Separator", "Zs"),
    ("Spacing_Mark", "Mc"),
    ("Surrogate", "Cs"),
    ("Symbol", "S"),
    ("Titlecase_Letter", "Lt"),
    ("Unassigned", "Cn"),
    ("Uppercase_Letter", "Lu"),
    ("cntrl", "Cc"),
    ("digit", "Nd"),
    ("punct", "P"),
];

/// Whether there is a property `\p{name}`.
pub(super) fn is_property(name: &str) -> bool {
    matches!(name, "ASCII" | "Any" | "Assigned") || {
        let short = category(name);
        !short.is_empty() && CATEGORIES.into_iter().any(|category| is_of(category, short))
    }
}

/// What `\p{name}` matches; nothing where there is no such property.
pub(super) fn property(name: &str) -> Vec<Range> {
    match name {
        "ASCII" => vec![(0, 0x7f)],
        "Any" => ALL.to_vec(),
        "Assigned" => negated(&characters("Cn")),
        _ => characters(category(name)),
    }
}

/// The short name of a category or a group.
fn category(name: &str) -> &str {
    let name = name.strip_prefix("gc=").or_else(|| name.strip_prefix("General_Category=")).unwrap_or(name);
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, short)| short)
}

fn is_of(category: &str, short: &str) -> bool {
    match short {
        "LC" => matches!(category, "Ll" | "Lt" | "Lu"),
        _ => category.starts_with(short),
    }
}

fn characters(short: &str) -> Vec<Range> {
    let mut ranges = Vec::new();
    let mut begin: u32 = 0;
    let mut runs = RUNS.iter();
    while let Some(run) = runs.next() {
        let len = match u32::from(run >> 5) {
            0 => long_run(&mut runs),
            len => len,
        };
        let end = begin.saturating_add(len);
        if CATEGORIES.get(usize::from(run & 0x1f)).copied().is_some_and(|category| is_of(category, short)) {
            push(&mut ranges, (begin, end.saturating_sub(1)));
        }
        begin = end;
    }
    ranges
}

fn long_run<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> u32 {
    let mut len = 0;
    for (byte, shift) in bytes.zip([0, 7, 14]) {
        len |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    len
}

/// Sorted, and none touches the next.
pub(super) fn sorted(ranges: Vec<Range>) -> Vec<Range> {
    let mut merged = Vec::new();
    // A sort by a heap is 8 KB less of code than the usual one.
    BinaryHeap::from(ranges).into_sorted_vec().into_iter().for_each(|range| push(&mut merged, range));
    merged
}

/// What sorted ranges leave out.
pub(super) fn negated(ranges: &[Range]) -> Vec<Range> {
    let mut out = Vec::new();
    let mut begin = 0;
    for (first, last) in ranges {
        if let Some(before) = first.checked_sub(1).filter(|before| begin <= *before) {
            out.push((begin, before));
        }
        begin = last.saturating_add(1);
    }
    if begin <= CODE_POINT_MAX {
        out.push((begin, CODE_POINT_MAX));
    }
    out
}

/// A range that begins with or behind the last, or in it.
fn push(ranges: &mut Vec<Range>, (first, last): Range) {
    match ranges.last_mut() {
        Some((_, before)) if first <= before.saturating_add(1) => *before = last.max(*before),
        _ => ranges.push((first, last)),
    }
}
