use super::*;
use crate::json::document::{Form, Value};

const BOUNDS: Bounds = Bounds { depth_max: 4, keys_max: 20, string_len_max: 10, unique_keys: true, surrogates: false };

#[track_caller]
fn check_both(text: &str, expected: Result<(), Violation>) {
    assert_eq!(read(text, &BOUNDS).map(drop).map_err(Violation::from), expected, "{text}");
    assert_eq!(check(text, &BOUNDS).map_err(Violation::from), expected, "{text}, not kept");
}

#[track_caller]
fn accepted(text: &str) {
    check_both(text, Ok(()));
}

#[track_caller]
fn invalid(text: &str) {
    check_both(text, Err(Violation::InvalidJson));
}

#[track_caller]
fn refused(text: &str) {
    check_both(text, Err(Violation::JsonRefused));
}

/// As `serde_json` would have it.
fn tree(value: Value<'_>) -> serde_json::Value {
    match value.form() {
        Form::Array(items) => items.map(tree).collect(),
        Form::Boolean(boolean) => boolean.into(),
        Form::Null => serde_json::Value::Null,
        Form::Number(token) => serde_json::from_str(token).unwrap(),
        Form::Object(members) => members.map(|(name, value)| (name.to_owned(), tree(value))).collect(),
        Form::String(string) => string.into(),
    }
}

#[test]
fn documents_are_read_as_serde_json_reads_them() {
    let texts = [
        "null",
        " true ",
        "\"\"",
        "[]",
        "{}",
        "-0",
        "[[],{},[[]]]",
        r#"{"a":[1,-2.5e3,{"b":null}],"c":"x","":{"":[false]}}"#,
        "\t[ 1 ,\r\n 2 ]\n",
        r#"["a\"b\\c\/d","\b\f\n\r\t","\u0041\u00e9\u20ac","\ud83d\ude00","é😀"]"#,
        r#"{"k\u0065y":"v","key2":"\u0000"}"#,
    ];
    for text in texts {
        let document = read(text, &BOUNDS).unwrap();
        assert_eq!(tree(document.root()), serde_json::from_str::<serde_json::Value>(text).unwrap(), "{text}");
    }
}

#[test]
fn what_is_not_json_is_invalid() {
    let texts = [
        "",
        " ",
        "\u{feff}{}",
        "{}x",
        "{} {}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        r#"{"a" 1}"#,
        r#"{"a":}"#,
        r#"{a:1}"#,
        "{'a':1}",
        "{1:2}",
        "[",
        "]",
        "{",
        "}",
        "[}",
        "{]",
        r#"{"a":1]"#,
        r#"["a":1]"#,
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "-Infinity",
        "/**/1",
        "1//",
        "\"",
        "\"\\\"",
        "\"\\x41\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\ud800\"",
        "\"\\ud800x\"",
        "\"a\nb\"",
        "\"\t\"",
        "\"\u{0}\"",
        "\u{a0}1",
        "\u{c}1",
        "[1]\u{0}",
        "\"a\"b",
        "\\u0031",
    ];
    texts.into_iter().for_each(invalid);
}

#[test]
fn numbers_are_those_of_the_grammar() {
    ["0", "-0", "-1", "10", "0.0", "-0.5e-3", "1E+2", "1e0", "123456789012345678"].into_iter().for_each(accepted);
    ["-", "+1", "01", "-01", "00", ".5", "1.", "1.e2", "1e", "1e+", "0x10", "1_0", "--1", "1.2.3", "١"]
        .into_iter()
        .for_each(invalid);
}

#[test]
fn numbers_are_as_large_as_can_be_read_back() {
    accepted("12345678901234567890123456789012345678");
    refused("123456789012345678901234567890123456789");
    accepted("1e308");
    refused("1e309");
    refused("-1e999999999999999999999");
    accepted("1e-300");
    refused(&format!("0.{}1", "0".repeat(500)));
    refused(&"9".repeat(1_000_000));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    accepted(&nested(4));
    refused(&nested(5));
    refused(&"[".repeat(1_000_000));
    refused(&r#"{"a":"#.repeat(100_000));
    accepted(r#"[[[{"a":1}]]]"#);
    refused(r#"[[[{"a":{}}]]]"#);
}

#[test]
fn the_members_of_an_object_are_bounded() {
    let object = |len: usize| {
        let members: Vec<String> = (0..len).map(|index| format!("\"{index}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    accepted(&object(20));
    refused(&object(21));
    refused(&object(1_000_000));
    accepted(&format!("[{},{}]", object(20), object(20)));
}

#[test]
fn strings_are_bounded_without_their_escapes() {
    accepted("\"0123456789\"");
    refused("\"0123456789a\"");
    accepted("\"\\u0030123456789\"");
    refused("{\"0123456789a\":1}");
    refused("\"\\n0123456789\"");
}

#[test]
fn names_stand_once_however_they_are_escaped() {
    refused(r#"{"a":1,"a":1}"#);
    refused(r#"{"a":1,"\u0061":2}"#);
    refused(r#"[{"x":{"a":1,"b":[2],"a":3}}]"#);
    accepted(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#);
    accepted(r#"{"a":1,"A":2,"":3,"aa":4}"#);
    let many = |last: usize| {
        let members: Vec<String> = (0..19).chain([last]).map(|index| format!("\"{index}\":{{\"x\":0}}")).collect();
        format!("{{{}}}", members.join(","))
    };
    accepted(&many(19));
    refused(&many(0));
    refused(&many(18));
    let lenient = Bounds { unique_keys: false, ..BOUNDS };
    assert!(read(r#"{"a":1,"a":2}"#, &lenient).is_ok());
}

#[test]
fn values_are_found() {
    let document = read(r#"{"a":[1,{"b":"\u0078"}],"c":2.0}"#, &BOUNDS).unwrap();
    let root = document.root();
    assert_eq!(root.get("a").and_then(|a| a.item(1)).and_then(|item| item.get("b")).and_then(Value::as_str), Some("x"));
    assert!(root.get("b").is_none() && root.item(0).is_none() && root.get("a").is_some_and(|a| a.item(2).is_none()));
    assert!(root.get("a").and_then(|a| a.item(0)).is_some_and(Value::is_plain_integer));
    assert!(root.get("c").is_some_and(|c| !c.is_plain_integer()));
}

#[test]
fn a_quote_is_found_at_any_distance() {
    for len in 0..40 {
        let plain = "é".repeat(len / 2) + &"x".repeat(len % 2);
        for special in ["\"", "\\", "\n", "\u{1f}"] {
            assert_eq!(plain_len(format!("{plain}{special}\u{7f}\"").as_bytes()), plain.len());
        }
        assert_eq!(plain_len(plain.as_bytes()), plain.len());
    }
}

#[test]
fn half_a_surrogate_pair_may_stand_in_a_value() {
    let lenient = Bounds { surrogates: true, string_len_max: 99, ..BOUNDS };
    for (text, expected) in [
        (r#"["\ud800"]"#, "\u{fffd}"),
        (r#"["\ud800\u0041"]"#, "\u{fffd}A"),
        (r#"["\udc00x"]"#, "\u{fffd}x"),
        (r#"["\ud800\ud83d\ude00"]"#, "\u{fffd}😀"),
    ] {
        let document = read(text, &lenient).unwrap();
        assert_eq!(document.root().item(0).and_then(Value::as_str), Some(expected), "{text}");
        assert_eq!(read(text, &BOUNDS).map(drop), Err(Unreadable::Surrogate), "{text}");
    }
    for (text, unreadable) in [
        (r#"["\ud800\u12"]"#, Unreadable::Invalid),
        (r#"["\u"]"#, Unreadable::Invalid),
        (r#"{"\ud83d":1}"#, Unreadable::Surrogate),
        (r#"{"a\udc00":1}"#, Unreadable::Surrogate),
    ] {
        assert_eq!(read(text, &lenient).map(drop), Err(unreadable), "{text}");
    }
}

#[test]
fn what_is_over_a_bound_leads_to_its_key() {
    for (text, key) in [
        ("[[[[[]]]]]", "json.max_depth"),
        (r#"{"a":1,"\u0061":2}"#, "json.duplicate_keys"),
        (r#"["01234567890"]"#, "json.max_string_bytes"),
        (r#"["\ud800"]"#, "json.surrogates"),
        ("[1e999]", "json"),
        ("{", "json"),
    ] {
        assert_eq!(read(text, &BOUNDS).map(drop).map_err(Unreadable::key), Err(key), "{text}");
    }
    let keys = (0..21).map(|key| format!("\"{key}\":0")).collect::<Vec<_>>().join(",");
    assert_eq!(read(&format!("{{{keys}}}"), &BOUNDS).map(drop).map_err(Unreadable::key), Err("json.max_keys"));
}
