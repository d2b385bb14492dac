//! What schemas and instances are made of: few names, patterns and numbers, so that they meet.

use serde_json::{Value, json};

use crate::random::Random;

/// Names of members, some of which are keywords or need escapes in JSON, in pointers and in URIs.
pub(crate) const NAMES: [&str; 14] =
    ["a", "b", "c", "foo", "bar", "x-1", "é", "a/b", "m~n", "p%q", "q\"t", "😀", "$ref", "12"];

/// Names of definitions.
pub(crate) const DEFINITIONS: [&str; 7] = ["a", "b", "a/b", "m~n", "p%q", "é", "s p"];

/// Regular expressions that read the same in ECMA-262 and in the oracle, with two strings that match and one that does not.
///
/// No dot and no white space class meets U+000D, U+2028, U+2029 or U+FEFF: there the oracle follows another dialect.
pub(crate) const PATTERNS: [(&str, &str, &str, &str); 16] = [
    ("^a", "a", "ab", "ba"),
    ("b$", "b", "a/b", "bé"),
    ("^[a-c]+$", "abc", "b", "abcd"),
    ("^\\d{2,3}$", "12", "123", "1234"),
    ("^.{2}$", "😀é", "ab", "😀"),
    ("^(foo|ba[rz])$", "foo", "baz", "fo"),
    ("\\p{Lu}", "É", "aB", "é"),
    ("^\\u00e9", "é", "éa", "e"),
    ("^x-", "x-1", "x-", "x1"),
    ("^\\w+$", "a_1", "foo", "é"),
    ("[^a-c]", "d", "a/b", "abc"),
    ("^(?:ab)+c?$", "ab", "ababc", "abcc"),
    ("\\.", ".", "a.b", "ab"),
    ("^$", "", "", "a"),
    ("o{2}", "foo", "oo", "fo"),
    ("^\\S*$", "m~n", "😀", "s p"),
];

/// Formats with a string that is one and one that is not, where no specification leaves a doubt.
///
/// `idn-email` and `idn-hostname` are missing: the oracle has none without its Unicode tables.
pub(crate) const FORMATS: [(&str, &str, &str); 17] = [
    ("date", "2024-02-29", "2023-02-29"),
    ("date-time", "2024-02-29T23:59:59.5Z", "2024-02-29 23:59:59Z"),
    ("time", "12:00:00+01:00", "24:00:00Z"),
    ("duration", "P3DT4H", "P1Y2W"),
    ("email", "a.b@example.com", "a@"),
    ("hostname", "a-b.example", "-a.example"),
    ("ipv4", "127.0.0.1", "127.0.0.256"),
    ("ipv6", "::1", "1::2::3"),
    ("uri", "http://example.com/a?b#c", "/a"),
    ("uri-reference", "/a/b", "\\a"),
    ("iri", "http://example.com/é", "http:// "),
    ("iri-reference", "/é", "\\a"),
    ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"),
    ("uri-template", "/{a}", "/{a"),
    ("json-pointer", "/a~1b/0", "a~2"),
    ("relative-json-pointer", "1/a", "/a"),
    ("regex", "^a+$", "(a"),
];

/// Strings without a meaning, of one code point in four bytes among them.
pub(crate) const STRINGS: [&str; 12] =
    ["", "a", "ab", "abc", "é", "😀", "😀😀", "a😀é", "foo", "A\u{301}", "line\nbreak", "\\\"/\u{1}"];

/// Numbers at and about which rules change: the ends of 64-bit integers and of what a double counts to.
///
/// A number with a fraction or an exponent has at most fifteen digits, and an exponent of at most 22: the oracle reads it as a
/// double, which is exact for no more. Integers outside `i64::MIN..=u64::MAX` are missing for the same reason.
pub(crate) const NUMBERS: [&str; 30] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "7",
    "10",
    "12",
    "100",
    "-1",
    "-2",
    "-7",
    "0.5",
    "1.5",
    "2.25",
    "0.1",
    "0.3",
    "-0.1",
    "-1.5",
    "0.01",
    "1000",
    "1e3",
    "1e20",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1.0",
];

/// The number that `text` is.
pub(crate) fn number(text: &str) -> Value {
    serde_json::from_str(text).expect("a number")
}

/// A number to bound others with: small ones for the most part.
pub(crate) fn any_number(random: &mut Random) -> Value {
    let len = if random.one_in(3) { NUMBERS.len() } else { 23 };
    number(random.pick(&NUMBERS[..len]))
}

/// A number next to `near`, or `near` itself.
pub(crate) fn number_near(near: &Value, random: &mut Random) -> Value {
    let whole = near.as_i64().map(i128::from).or_else(|| near.as_u64().map(i128::from));
    match (whole, near.as_f64().unwrap_or_default()) {
        (_, double) if double.abs() < 1e9 => {
            let thousandths = (double * 1000.0).round() as i64;
            let step = random.pick(&[0, 0, 1000, -1000, 500, -500, 1, -1, 10, -10, 100, -100]);
            let times = random.pick(&[1, 1, 1, 1, -1, 2, 3]);
            thousandth((thousandths + step) * times)
        }
        (Some(whole), _) => {
            let step = random.pick(&[0, 0, 1, -1, 2]);
            number(&(whole + step).clamp(i64::MIN.into(), u64::MAX.into()).to_string())
        }
        (None, _) => near.clone(),
    }
}

fn thousandth(thousandths: i64) -> Value {
    let sign = if thousandths < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:03}", thousandths.abs() / 1000, thousandths.abs() % 1000);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    number(if short == "-" || short.is_empty() { "0" } else { short })
}

/// Any string, the matches of patterns and formats among them.
pub(crate) fn any_string(random: &mut Random) -> String {
    let (_, one, two, none) = random.pick(&PATTERNS);
    let (_, valid, invalid) = random.pick(&FORMATS);
    let text = match random.below(8) {
        0 => random.pick(&[one, two, none]),
        1 => random.pick(&[valid, invalid]),
        2 => random.pick(&NAMES),
        _ => random.pick(&STRINGS),
    };
    text.to_owned()
}

/// Whether the specifications leave a doubt about `value`: a brace that is no quantifier is a regular expression by Annex B of
/// ECMA-262, and none with its flag `u`.
pub(crate) fn is_in_doubt(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('{'),
        Value::Array(items) => items.iter().any(is_in_doubt),
        Value::Object(members) => members.iter().any(|(name, member)| name.contains('{') || is_in_doubt(member)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Any value at all, at most `depth` deep.
pub(crate) fn any_value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 | 3 => any_number(random),
        4 | 5 => json!(any_string(random)),
        6 => (0..random.below(4)).map(|_| any_value(random, depth - 1)).collect(),
        _ => {
            let len = random.below(4);
            (0..len).map(|_| (random.pick(&NAMES).to_owned(), any_value(random, depth - 1))).collect()
        }
    }
}
