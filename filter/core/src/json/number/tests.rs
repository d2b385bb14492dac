use core::hash::{BuildHasher, BuildHasherDefault};
use std::hash::DefaultHasher;

use super::*;

#[track_caller]
fn decimal(token: &str) -> Decimal {
    Decimal::parse(token.as_bytes()).unwrap_or_else(|| panic!("{token}"))
}

/// One number however it is written: equal, with one hash, between the same neighbours.
#[track_caller]
fn same(tokens: &[&str]) {
    let hash = |number: Decimal| BuildHasherDefault::<DefaultHasher>::default().hash_one(number);
    for token in tokens {
        let (first, number) = (decimal(tokens[0]), decimal(token));
        assert_eq!(number, first, "{token}");
        assert_eq!(hash(number), hash(first), "{token}");
        assert_eq!(number.cmp(&first), Ordering::Equal, "{token}");
    }
}

#[test]
fn a_number_is_its_value_however_it_is_written() {
    same(&["0", "-0", "0.0", "-0.000", "0e0", "0E+7", "0e999999999999999999999999", "-0.0e-999999999999999999999999"]);
    same(&["1", "1.0", "10e-1", "0.1e1", "0.01E+2", "1e0", "1e-0", "1.000000000000000000000000000000000000000000000"]);
    same(&["-12.5", "-12.50", "-125e-1", "-0.125E2"]);
    same(&["100", "1e2", "1.0e+2", "1e002", "0.001e5"]);
    same(&["123456789012345678000", "123456789012345678e3", "1.23456789012345678e20"]);
    same(&["1234567890123456780", "123456789012345678e1"]);
    let (zeros, ones) = ("0".repeat(300), "1".repeat(38));
    same(&["1e300", &format!("1{zeros}"), &format!("0.{zeros}1e601"), &format!("1{zeros}.{zeros}")]);
    same(&[&format!("{ones}e270"), &format!("{ones}{}", &zeros[..270]), &format!("0.{ones}e308")]);
    same(&["0", &format!("0.{zeros}{zeros}")]);
}

#[test]
fn what_is_not_a_number_is_refused() {
    for token in [
        "", "-", "+1", "01", "-01", "00", ".5", "5.", "-.5", "5.e1", "1e", "1e+", "1E-", "1e1.5", "e1", "1.2.3",
        "1e5e5", "--1", "1-", "0x10", "1_000", "1 ", " 1", "NaN", "Infinity", "١", "1,5", "-e", "0.1a", "1e5-", "1/",
        "1:",
    ] {
        assert_eq!(Decimal::parse(token.as_bytes()), None, "{token}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let fits = |token: &str| Decimal::parse(token.as_bytes()).is_some();
    let nines = |count: usize| "9".repeat(count);
    assert!(fits(&nines(38)));
    assert!(!fits(&nines(39)));
    assert!(fits(&format!("0.000{}000", nines(38))));
    assert!(!fits(&format!("{}.9", nines(38))));
    assert!(fits(&format!("1{}1", "0".repeat(36))));
    assert!(!fits(&format!("1{}1", "0".repeat(37))));
    assert!(!fits(&format!("1{}1", "0".repeat(256))));
    for (token, expected) in [
        ("1e308", true),
        ("9.99e308", true),
        ("-1e308", true),
        ("1e309", false),
        ("-10e308", false),
        ("100e306", true),
        ("1e-400", true),
        ("0.1e-399", true),
        ("9.9e-401", false),
        ("1e-401", false),
        ("1e99999999999999999999", false),
        ("1e-99999999999999999999", false),
        ("5e-324", true),
    ] {
        assert_eq!(fits(token), expected, "{token}");
    }
    assert!(fits(&format!("1{}", "0".repeat(308))));
    assert!(!fits(&format!("1{}", "0".repeat(309))));
    assert!(fits(&format!("0.{}1", "0".repeat(399))));
    assert!(!fits(&format!("0.{}1", "0".repeat(400))));
}

#[test]
fn numbers_are_ordered_by_value() {
    let ascending = [
        "-9.99e308",
        "-1e308",
        "-99999999999999999999999999999999999999",
        "-18446744073709551616",
        "-10",
        "-9.5",
        "-9",
        "-1.5",
        "-1",
        "-1e-399",
        "-1e-400",
        "0",
        "1e-400",
        "1.0000000000000000000000000000000000001e-400",
        "2e-400",
        "1e-399",
        "0.0099",
        "0.01",
        "0.99999999999999999999999999999999999999",
        "1",
        "1.0000000000000000000000000000000000001",
        "1.1",
        "9",
        "10",
        "10.5",
        "11",
        "99",
        "100",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551616.5",
        "99999999999999999999999999999999999998",
        "99999999999999999999999999999999999999",
        "1e38",
        "1.5e38",
        "1e308",
        "9.99e308",
    ];
    for (left, left_token) in ascending.iter().enumerate() {
        for (right, right_token) in ascending.iter().enumerate() {
            let (a, b) = (decimal(left_token), decimal(right_token));
            assert_eq!(a.cmp(&b), left.cmp(&right), "{left_token} and {right_token}");
            assert_eq!(a.partial_cmp(&b), Some(left.cmp(&right)));
            assert_eq!(a == b, left == right, "{left_token} and {right_token}");
        }
    }
}

#[test]
fn multiples_are_exact() {
    for (number, divisor, expected) in [
        ("0.0075", "0.0001", true),
        ("0.00751", "0.0001", false),
        ("4.5", "1.5", true),
        ("35", "1.5", false),
        ("0", "1.5", true),
        ("-7", "2", false),
        ("-8", "2", true),
        ("8", "-2", true),
        ("1e308", "0.5", true),
        ("1e308", "0.123456789", false),
        ("12391239123", "1e-8", true),
        ("9007199254740992", "2", true),
        ("9007199254740993", "2", false),
        ("0.3", "0.1", true),
        ("19.99", "0.01", true),
        ("19.995", "0.01", false),
        ("10", "4", false),
        ("100", "4", true),
        ("1000", "16", false),
        ("10000", "16", true),
        ("1000", "625", false),
        ("10000", "625", true),
        ("10000", "1250", true),
        ("10000", "1875", false),
        ("30000", "1875", true),
        ("1", "10", false),
        ("15", "10", false),
        ("20", "10", true),
        ("1e-400", "1e-400", true),
        ("1e-400", "1e-399", false),
        ("1e308", "1e-400", true),
        ("1e308", "3e-400", false),
        ("9e308", "3e-400", true),
        ("99999999999999999999999999999999999999", "33333333333333333333333333333333333333", true),
        ("99999999999999999999999999999999999998", "33333333333333333333333333333333333333", false),
        ("1e300", "99999999999999999999999999999999999999", false),
        ("99999999999999999999999999999999999999e200", "99999999999999999999999999999999999999e-300", true),
        ("1e54", "55511151231257827021181583404541015625e-30", true),
        ("5", "0", false),
        ("0", "0", false),
        ("0", "0.0e5", false),
    ] {
        assert_eq!(decimal(number).is_multiple_of(&decimal(divisor)), expected, "{number} and {divisor}");
    }
}

#[test]
fn whole_numbers_are_integers_and_some_are_counts() {
    for (token, integer, positive, count) in [
        ("0", true, false, Some(0)),
        ("-0.0", true, false, Some(0)),
        ("5", true, true, Some(5)),
        ("5.0", true, true, Some(5)),
        ("50e-1", true, true, Some(5)),
        ("5.5", false, true, None),
        ("-5", true, false, None),
        ("-0.5", false, false, None),
        ("1e3", true, true, Some(1000)),
        ("18446744073709551615", true, true, Some(u64::MAX)),
        ("18446744073709551616", true, true, None),
        ("1e19", true, true, Some(10_000_000_000_000_000_000)),
        ("1e20", true, true, None),
        ("2e19", true, true, None),
        ("1e308", true, true, None),
        ("1e-400", false, true, None),
    ] {
        let number = decimal(token);
        assert_eq!(
            (number.is_integer(), number.is_positive(), number.to_count()),
            (integer, positive, count),
            "{token}"
        );
    }
}

#[test]
fn the_numbers_of_a_schema_are_read_by_their_text() {
    for (text, expected) in [
        ("0.1", "0.1"),
        ("5.0", "5"),
        ("-3", "-3"),
        ("18446744073709551615", "18446744073709551615"),
        ("1e308", "1e308"),
        ("1e-300", "1e-300"),
        ("5e-324", "5e-324"),
        ("-1.7976931348623157e308", "-1.7976931348623157e308"),
    ] {
        let number: serde_json::Number = serde_json::from_str(text).unwrap();
        assert_eq!(Decimal::from_value(&number), Some(decimal(expected)), "{text}");
    }
}

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A small number as its token, and in millionths.
fn small(state: &mut u64) -> (String, i128) {
    let random = xorshift(state);
    let scale = (random >> 8) as u32 % 7;
    let mantissa =
        i128::from(random >> 16) % 10_i128.pow(1 + (random as u32 & 7)) * if random & 64 == 0 { 1 } else { -1 };
    (format!("{mantissa}e-{scale}"), mantissa * 10_i128.pow(6 - scale))
}

#[test]
fn small_numbers_agree_with_integers() {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut multiples = 0;
    for _ in 0..50_000 {
        let ((a, a_millionths), (b, b_millionths)) = (small(&mut state), small(&mut state));
        let (left, right) = (decimal(&a), decimal(&b));
        assert_eq!(left.cmp(&right), a_millionths.cmp(&b_millionths), "{a} and {b}");
        assert_eq!(left == right, a_millionths == b_millionths, "{a} and {b}");
        assert_eq!(left.is_integer(), a_millionths % 1_000_000 == 0, "{a}");
        assert_eq!(left.is_positive(), a_millionths > 0, "{a}");
        let multiple = b_millionths != 0 && a_millionths % b_millionths == 0;
        assert_eq!(left.is_multiple_of(&right), multiple, "{a} and {b}");
        multiples += usize::from(multiple);
    }
    assert!(multiples > 1_000, "{multiples}");
}

#[test]
fn numbers_have_one_plain_form() {
    for (token, plain) in [
        ("9", "9"),
        ("9.0", "9"),
        ("90e-1", "9"),
        ("-0", "0"),
        ("0.0e9", "0"),
        ("-1.50", "-1.5"),
        ("4.111111111111111e15", "4111111111111111"),
        ("1e3", "1000"),
        ("1e-3", "0.001"),
        ("123e-3", "0.123"),
        ("1234e-3", "1.234"),
    ] {
        let number = decimal(token);
        assert_eq!(number.to_plain(plain.len()).as_deref(), Some(plain), "{token}");
        assert_eq!(number.to_plain(plain.len() - 1), None, "{token}");
    }
    for token in ["1e308", "1e-400", "12345678901234567890123456789012345678e-400"] {
        assert!(decimal(token).to_plain(450).is_some(), "{token}");
    }
}
