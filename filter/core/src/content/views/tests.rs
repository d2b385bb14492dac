use super::*;
use crate::json::document::Value;
use crate::json::reader::{Bounds, read};
use crate::testing::Choices;

fn views(text: &str) -> Vec<String> {
    views_of(text, Reader::Json)
}

fn views_of(text: &str, reader: Reader) -> Vec<String> {
    let mut views = Vec::new();
    any(text, reader, &mut |view| {
        views.push(view.text().to_owned());
        false
    });
    views
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(views(text), expected, "{text}");
}

/// All of these are seen, and the text itself only where it is no record.
#[track_caller]
fn sees(text: &str, is_record: bool, expected: &[&str]) {
    let views = views(text);
    for string in expected {
        assert!(views.iter().any(|view| view == string), "{string} in {text:?}: {views:?}");
    }
    assert_eq!(!views.iter().any(|view| view == text), is_record, "{text:?}: {views:?}");
}

#[test]
fn a_record_is_seen_string_by_string() {
    check(r#"{"a":"x","b":[1,true,null,-2.5]}"#, &["a", "x", "b", "1", "-2.5"]);
    check(r#""x""#, &["x"]);
    check(" 4111 ", &["4111"]);
    check(
        r#"["\u0061\"\\\/\b\f\n\r\t\ud83d\ude00","\ud83d","\ud83d\u0061"]"#,
        &["a\"\\/\u{8}\u{c}\n\r\t\u{1f600}", "a", "/\u{8}\u{c}\n\r\t\u{1f600}", "\u{fffd}", "\u{fffd}a"],
    );
    check(r#"{"":"","a":""}"#, &["", "a"]);
    check("{}", &[]);
}

#[test]
fn what_is_json_only_for_some_is_seen_likewise() {
    let expected = &["a", "x' OR 1=1--", "n"];
    for text in [
        "\u{feff}{\"a\":\"x' OR 1=1--\",\"n\":1}",
        " \u{feff} {\"a\":\"x' OR 1=1--\",\"n\":1}",
        "{\"a\":\"x' OR 1=1--\",\"n\":NaN}",
        "{\"a\":\"x' OR 1=1--\",\"n\":-Infinity,}",
        "{\"a\":\"x' OR 1=1--\",n:01}",
        "{\"a\":\"x' OR 1=1--\",\"n\":1}\0",
        "{\"a\":\"x' OR 1=1--\",\"n\":1}\x1e",
        "\x1e{\"a\":\"x' OR 1=1--\",\"n\":1}\n",
        "{\"n\":1}\n{\"a\":\"x' OR 1=1--\"}\n",
        "{\"n\":1}{\"a\":\"x' OR 1=1--\"}",
        "42[\"n\",{\"a\":\"x' OR 1=1--\"}]",
        "42/room,17[\"n\",{\"a\":\"x' OR 1=1--\"}]",
        "451-[\"n\",{\"a\":\"x' OR 1=1--\"}]",
        "a[\"{\\\"n\\\":1,\\\"a\\\":\\\"x' OR 1=1--\\\"}\"]",
        "[\"\\ufeff {\\\"n\\\":1,\\\"a\\\":\\\"x' OR 1=1--\\\"}\"]",
        "[\"{n:1,\\\"a\\\":\\\"x\\u0027 OR 1=1--\\\"}\"]",
        "{'n':1,'a':'x\\' OR 1=1--'}",
    ] {
        sees(text, true, expected);
    }
    for text in [
        "{\"a\":\"x' OR 1=1--\",\"n\":1} // note",
        "{/* \" */\"a\":\"x' OR 1=1--\",\"n\":1}",
        "{# it's \"\n\"a\":\"x' OR 1=1--\",\"n\":1}",
        "{\"a\":\"x' OR 1=1--\",\"n\":1}{",
        "SEND\ndestination:/queue/a\n\n{\"a\":\"x' OR 1=1--\",\"n\":1}\0",
        "{\"n\":\"1\",\"a\":\"x' OR 1=1--\"",
    ] {
        sees(text, false, expected);
    }
    sees("SEND\r\nid:1\r\n\r\nforbidden\0", false, &["SEND\r\nid:1\r", "forbidden"]);
    sees("\u{feff}forbidden", true, &["forbidden"]);
}

#[test]
fn whatever_has_quotes_elsewhere_is_seen_whole_and_piece_by_piece() {
    check("hello", &["hello"]);
    check("", &[""]);
    check("it's five o'clock", &["it's five o'clock"]);
    check(
        r#"say "hi" '; DROP TABLE users--"#,
        &[r#"say "hi" '; DROP TABLE users--"#, "say ", "hi", " '; DROP TABLE users--"],
    );
    check(r"C:\new", &[r"C:\new"]);
    check(r#"my name, "bob", hi"#, &[r#"my name, "bob", hi"#, "my name, ", "bob", ", hi"]);
    // Nothing that a page or a shell reads as one text is seen in parts only.
    for text in [
        r#"<img src=x{"a":"b"}onerror=alert(1)>"#,
        r#"{"a":"b"}<script>"#,
        r#"1 UNION SELECT "a","b" FROM users"#,
        r#""a","b""#,
        r#"x {"a":"b"}"#,
        r#"{"a":"b"} x"#,
        "4111 1111 1111 1111",
    ] {
        sees(text, false, &[]);
    }
}

#[test]
fn numbers_are_seen_as_they_are_written_and_without_an_exponent() {
    check(r#"{"card":4111111111111111}"#, &["card", "4111111111111111"]);
    check("[4111111111111111.0]", &["4111111111111111", "4111111111111111.0"]);
    check("[4.111111111111111e15,1.5]", &["4111111111111111", "4.111111111111111e15", "1.5"]);
    check(r#"["[4.111111111111111e15]"]"#, &["[4.111111111111111e15]", "4111111111111111"]);
    for text in [
        "[0xe9b08a568f1c7]/**/",
        "//x\n[0xE9B08A568F1C7]",
        "[\"{a:0xe9b08a568f1c7}\"]",
        "41111111111111110e-1//\u{2028}x",
    ] {
        sees(text, text.starts_with("[\""), &["4111111111111111"]);
    }
    for text in ["//\u{2028}/*\n[4.111111111111111e15]", "//\r/*\n[4.111111111111111e15]", "41111111111111110e-1//\rx"]
    {
        sees(text, false, &["4111111111111111"]);
    }
    check("[1e300,1e9]", &["1e300", "1e9"]);
    check("[1e8]", &["100000000", "1e8"]);
}

#[test]
fn strings_in_strings_are_seen_three_times() {
    let mut text = "deep".to_owned();
    let mut seen = Vec::new();
    for _ in 0..5 {
        text = serde_json::json!({ "k": text }).to_string();
        seen.push(views(&text).iter().any(|view| view == "deep"));
    }
    assert_eq!(seen, [true, true, true, false, false]);
}

/// Texts of all the kinds of bytes that mean something, some of them nested.
fn generated(seed: u64) -> String {
    const PARTS: [&str; 28] = [
        "\"",
        "\\",
        "\\\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "'",
        "a",
        "union",
        " ",
        "\n",
        "\n\n",
        "\0",
        "\x1e",
        "\u{feff}",
        "1",
        "1e20",
        "4.5e1",
        "\\u0022",
        "\\ud83d",
        "é",
        "/*",
        "42",
        "true",
        "\"a\":\"b\"",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    for round in 0..60 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(PARTS[(state >> 33) as usize % PARTS.len()]);
        if round % 20 == 19 && state.is_multiple_of(3) {
            text = serde_json::json!([text]).to_string();
        }
    }
    text
}

#[test]
fn a_reader_of_texts_takes_no_backslash_for_an_escape() {
    for text in [r#"["\forbidden"]"#, r#"a["\forbidden"]"#] {
        assert_eq!(views_of(text, Reader::Json).last().map(String::as_str), Some("\u{c}orbidden"));
        assert!(views_of(text, Reader::Unknown).iter().any(|view| view == r"\forbidden"));
    }
}

#[test]
fn escapes_say_more_to_a_reader_of_texts_only_within_names_and_paths() {
    for raw in [r"\x27", r"..\bin", r"ca\t /x", r"\'", r"..\test", r"C:\temp", r"a\fb", r"\ud83d\q"] {
        assert!(View::Escaped(raw).says_more(), "{raw}");
    }
    for raw in ["", "a", r#"say \"hi\""#, r"C:\\temp", r"a\nb\r\n", r"\ta", r"{\n\t\tb;\t// c", r"caf\u00e9", r"a\/b"] {
        assert!(!View::Escaped(raw).says_more(), "{raw}");
    }
}

#[test]
fn a_record_in_a_string_says_more_than_its_strings_only_without_quotes() {
    let more = |text: &str| {
        let mut more = Vec::new();
        any(text, Reader::Json, &mut |view| {
            more.extend(view.says_more().then(|| view.text().to_owned()));
            false
        });
        more
    };
    assert_eq!(more(r#"["{ls,-la}"]"#), ["{ls,-la}", "ls", "-la"]);
    assert_eq!(more(r#"["{\"a\":\"x\"}"]"#), ["a", "x"]);
}

#[test]
fn what_is_seen_is_at_most_views_max_times_as_long() {
    for seed in 0..20_000 {
        let text = generated(seed);
        let len: usize = views_of(&text, Reader::Unknown).iter().map(String::len).sum();
        assert!(len <= text.len() * VIEWS_MAX, "{len} of {}: {text:?}", text.len());
    }
    for text in [r#"["1e8""#, "1e8,", r#"\""#, r#"\\\""#, "'\"", "\"\\u0022\""] {
        for text in
            [text.repeat(1_000), serde_json::json!([text.repeat(1_000)]).to_string(), format!("[{}]", text.repeat(999))]
        {
            let len: usize = views_of(&text, Reader::Unknown).iter().map(String::len).sum();
            assert!(len <= text.len() * VIEWS_MAX, "{len} of {}", text.len());
        }
    }
}

fn collect<'a>(value: Value<'a>, strings: &mut Vec<&'a str>) {
    match value.form() {
        Form::Array(items) => items.for_each(|item| collect(item, strings)),
        Form::Object(members) => members.for_each(|(name, value)| {
            strings.push(name);
            collect(value, strings);
        }),
        Form::String(string) => strings.push(string),
        Form::Boolean(_) | Form::Null | Form::Number(_) => {}
    }
}

#[test]
fn every_string_of_json_is_seen_as_its_reader_sees_it() {
    let bounds = Bounds { depth_max: 99, keys_max: 999, string_len_max: 9_999, unique_keys: false, surrogates: false };
    let mut count = 0;
    for seed in 0..50_000_u64 {
        let text = serde_json::json!({ "a": generated(seed), "b": [seed, { generated(seed + 1): seed }] }).to_string();
        let (document, views) = (read(&text, &bounds).unwrap(), views(&text));
        let mut strings = Vec::new();
        collect(document.root(), &mut strings);
        for string in strings {
            assert!(views.iter().any(|view| view == string), "{string:?} in {text}");
            count += 1;
        }
        assert!(!views.contains(&text));
        if seed > 2_000 {
            break;
        }
    }
    assert!(count > 1_000);
}

/// Writes JSON5 in any of its spellings.
struct Writer {
    choices: Choices,
    text: String,
    /// What a reader has of it.
    meant: Vec<String>,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self { choices: Choices::new(seed), text: String::new(), meant: Vec::new() }
    }

    /// What may stand between any two tokens.
    fn space(&mut self) {
        for _ in 0..self.choices.below(3) {
            self.text += self.choices.one(&[
                " ",
                "\n",
                "\r\n",
                "\u{b}",
                "\u{c}",
                "\u{a0}",
                "\u{feff}",
                "\u{2028}",
                "\u{2003}",
                "/**/",
                "/*'*/",
                "/*\"*/",
                "/* it's \\*/",
                "//\n",
                "// don't\r",
                "//\"\u{2029}",
                "/*//*/",
                "///*\n",
                "/*{[\\\"*/",
            ]);
        }
    }

    fn string(&mut self, meant: &str) {
        let quote = self.choices.one(&["'", "\""]);
        self.text += quote;
        for letter in meant.chars() {
            let code = u32::from(letter);
            match self.choices.below(6) {
                0 => self.text += &format!("\\u{code:04x}"),
                1 if code < 256 => self.text += &format!("\\x{code:02X}"),
                2 => {
                    self.text += self.choices.one(&["\\\n", "\\\r\n", "\\\r", "\\\u{2028}", "\\\u{2029}"]);
                    // Only letters have no other meaning behind a backslash.
                    self.text +=
                        &if letter.is_ascii_alphanumeric() { letter.to_string() } else { format!("\\{letter}") };
                }
                _ if matches!(letter, '\'' | '"' | '\\') => self.text += &format!("\\{letter}"),
                _ => self.text.push(letter),
            }
        }
        self.text += quote;
        self.meant.push(meant.to_owned());
    }

    fn name(&mut self) {
        let meant = self.choices.one(&["a", "name", "ключ", "$_1", "x' OR 1"]);
        if meant.contains(' ') || self.choices.below(2) == 0 {
            return self.string(meant);
        }
        for letter in meant.chars() {
            match self.choices.below(3) {
                0 => self.text += &format!("\\u{:04x}", u32::from(letter)),
                _ => self.text.push(letter),
            }
        }
        self.meant.push(meant.to_owned());
    }

    fn number(&mut self) {
        let spelled = self.choices.one(&[
            "4111",
            "+4111",
            "4111.",
            "4.111e3",
            ".4111e4",
            "+.4111E+4",
            "0x100f",
            "0X100F",
            "41110e-1",
            "4111.0",
            "4.111E3",
        ]);
        self.text += spelled;
        self.meant.push("4111".to_owned());
    }

    fn value(&mut self, depth: usize) {
        self.space();
        match self.choices.below(if depth == 0 { 2 } else { 4 }) {
            0 => self.number(),
            1 => {
                let meant = self.choices.one(&[
                    "evil",
                    "x' OR '1'='1' --",
                    "say \"hi\"",
                    "",
                    "C:\\new",
                    "don't",
                    "{\"b\":",
                    "/*",
                    "\u{7f}é//",
                ]);
                self.string(meant);
            }
            of_two => {
                let is_object = of_two == 2;
                self.text += if is_object { "{" } else { "[" };
                for _ in 0..self.choices.below(3) {
                    self.space();
                    if is_object {
                        self.name();
                        self.space();
                        self.text += ":";
                    }
                    self.value(depth - 1);
                    self.text += ",";
                }
                self.space();
                self.text += if is_object { "}" } else { "]" };
            }
        }
        self.space();
    }
}

#[test]
fn every_string_of_json5_is_seen_however_it_is_written_and_in_strings() {
    let mut count = 0;
    for seed in 0..20_000 {
        let mut writer = Writer::new(seed);
        writer.value(3);
        let nested = serde_json::json!({ "k": writer.text }).to_string();
        let twice = serde_json::json!([nested]).to_string();
        for text in [&writer.text, &nested, &twice] {
            let views = views(text);
            for meant in &writer.meant {
                assert!(views.iter().any(|view| view == meant), "{seed}: {meant:?} in {text:?}: {views:?}");
                count += 1;
            }
            let len: usize = views_of(text, Reader::Unknown).iter().map(String::len).sum();
            assert!(len <= text.len() * VIEWS_MAX, "{len} of {}: {text:?}", text.len());
        }
    }
    assert!(count > 80_000, "{count}");
}

#[test]
fn a_search_ends_where_it_has_seen_enough() {
    let mut seen = 0;
    assert!(any(r#"["a","b","c"]"#, Reader::Json, &mut |view| {
        seen += 1;
        view.text() == "b"
    }));
    assert_eq!(seen, 2);
}
