use super::*;

mod oracle;

fn regex(pattern: &str) -> Result<Regex, RegexError> {
    Builder::default().regex(pattern)
}

fn set<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Rc<RegexSet>, (usize, RegexError)> {
    Builder::default().set(patterns)
}

#[track_caller]
fn check(pattern: &str, accepted: &[&str], refused: &[&str]) {
    let regex = regex(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    accepted.iter().for_each(|text| assert!(regex.is_match(text), "{pattern} in {text:?}"));
    refused.iter().for_each(|text| assert!(!regex.is_match(text), "{pattern} in {text:?}"));
}

#[track_caller]
fn refuse(pattern: &str, problem: &str) {
    let error = regex(pattern).expect_err(pattern).to_string();
    assert!(error.contains(problem), "{pattern}: {error}");
}

#[test]
fn an_expression_matches_anywhere_unless_anchored() {
    check("b+", &["abba", "b"], &["", "aaa"]);
    check("^b", &["ba"], &["ab", "\nb"]);
    check("b$", &["ab"], &["ba", "b\n"]);
    check("^$", &[""], &["\n", "a"]);
    check("", &["", "a"], &[]);
    check("^(?:a|bc)*$", &["", "abca"], &["ab", "c"]);
    check("^(a|(b)){2,3}$", &["ab", "aba"], &["a", "abab"]);
    check("^a{2}$|^a{4,}?$", &["aa", "aaaa", "aaaaa"], &["a", "aaa"]);
}

#[test]
fn classes_mean_what_ecma_262_says() {
    check(r"^\d$", &["7"], &["٣", "a", "७"]);
    check(r"^\w$", &["a", "Z", "_", "0"], &["é", "-", "\u{17f}", "\u{212a}"]);
    check(r"^\W$", &["é", "-", "😀"], &["a", "aa"]);
    check(r"^\s$", &[" ", "\t", "\u{a0}", "\u{feff}", "\u{2028}", "\u{3000}", "\u{b}"], &["\u{85}", "\u{180e}", "a"]);
    check(r"^\S$", &["\u{85}", "a"], &[" "]);
    check(r"^.$", &["a", "é", "😀", "\u{85}"], &["\n", "\r", "\u{2028}", "\u{2029}", "ab", ""]);
    check(r"^\D+$", &["٣x"], &["3"]);
    check(r"\bend\b", &["the end.", "éend"], &["ends", "bend"]);
    check(r"a\Bb", &["ab"], &["a b"]);
}

#[test]
fn classes_of_brackets_hold_what_stands_in_them() {
    check("^[a-c]$", &["b"], &["d", "-"]);
    check("^[^a-c]$", &["d", "é"], &["a"]);
    check(r"^[\d\-x]$", &["7", "-", "x"], &["y", "\\"]);
    check("^[a-]$", &["a", "-"], &["b"]);
    check("^[-a]$", &["a", "-"], &["b"]);
    check(r"^[\s\S]$", &["\n", "a"], &[""]);
    check(r"^[\D]$", &["a"], &["1"]);
    check(r"^[^\D]$", &["1"], &["a"]);
    check("^[[]$", &["["], &["]"]);
    check(r"^[\]]$", &["]"], &["["]);
    check("^[a&&b]$", &["a", "&", "b"], &["c"]);
    check("^[~~&&.]$", &["~", "&", "."], &["a"]);
    check("^[[:alpha:]]$", &["a]", ":]", "[]"], &["b", "a"]);
    check("[]", &[], &["", "a"]);
    check("^[^]$", &["\n", "é"], &["", "ab"]);
    check(r"^[\b]$", &["\u{8}"], &["b"]);
    check("^[é-ü]$", &["ö"], &["e"]);
    check(r"^[\p{Lu}\d]$", &["É", "1"], &["é"]);
    check("^[ #x]$", &[" ", "#"], &["y"]);
}

#[test]
fn escapes_stand_for_characters() {
    check(r"^\t\n\v\f\r\0$", &["\t\n\u{b}\u{c}\r\0"], &[]);
    check(r"^\x41\u0042\u{1F600}\uD83D\uDE00\cJ$", &["AB😀😀\n"], &[]);
    check(r"^\/\-\.\*\@\$$", &["/-.*@$"], &["x"]);
    check(r"^\p{Letter}+\P{L}$", &["héλ1"], &["1", "hé"]);
    check(r"^\p{L}\p{gc=Nd}$", &["é٣"], &["3é"]);
    check(r"^\p{Zl}\p{Line_Separator}$", &["\u{2028}\u{2028}"], &["\u{2028}\u{2029}"]);
    check(r"^\p{LC}\p{Any}\p{ASCII}\p{digit}\p{Assigned}$", &["ǅ\u{378}a٣é"], &["ªba1c", "aéé1a", "aaa1\u{378}"]);
    check("^é+$", &["éé"], &["e"]);
    check("^#a b$", &["#a b"], &["#ab"]);
    check("^a{,3}{x$", &["a{,3}{x"], &["aaa"]);
    check("]", &["]"], &["["]);
    for (pattern, problem) in [
        (r"\a", "unknown escape, at byte 2"),
        (r"\z", "unknown escape"),
        (r"\A", "unknown escape"),
        (r"\é", "unknown escape"),
        (r"\", "too early"),
        (r"\ud83d", "surrogate"),
        (r"\ude00", "no character"),
        (r"\u{110000}", "no character"),
        (r"\u{99999999999}", "no character"),
        (r"\x4", "too early"),
        (r"\xg0", "hexadecimal"),
        (r"\c1", "letter"),
        (r"\pL", "expected"),
        (r"\p{Nonsense}", "property"),
        (r"\p{}", "property"),
        (r"\p{Lx}", "property"),
        (r"\p{letter}", "property"),
        (r"\p{L", "expected"),
        ("[b-a]", "before"),
        (r"[a-\d]", "class"),
        (r"[\d-a]", "class"),
        ("[a", "too early"),
        ("(a", "not closed"),
        ("a)", "not open"),
        ("*", "nothing to repeat"),
        ("a**", "nothing to repeat"),
        ("a{2}{3}", "nothing to repeat"),
        ("^*", "nothing to repeat"),
        ("(|{1})", "nothing to repeat"),
        ("a{3,2}", "repetition"),
    ] {
        refuse(pattern, problem);
    }
}

#[test]
fn groups_have_names_and_flags() {
    check(r"^(?<year>\d{4})-(?<$m_1>\d\d)$", &["2026-11"], &["2026"]);
    check("(?i)sel(ect)", &["SELect", "select"], &["sel"]);
    check("a(?i:b)c", &["aBc", "abc"], &["ABC", "abC"]);
    check("a(?i)b|c", &["aB", "C"], &["A"]);
    check("((?i)a)b", &["Ab"], &["AB"]);
    check("(?i)[^a-c]$", &["d"], &["A", "b"]);
    check("(?i)^[a-z_]+$", &["Az_"], &["1"]);
    check(r"(?i)^\u006b$", &["k", "K"], &["\u{212a}"]);
    check("(?i-i:a)", &["a"], &["A"]);
    check("(?s)^.$", &["\n"], &[]);
    check("^(?s:.).$", &["\na"], &["a\n"]);
    for pattern in ["(?m)a", "(?x)a", "(?P<a>b)", "(?>a)", "(?#a)", "(?<a"] {
        assert!(regex(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn what_is_not_linear_is_refused() {
    for (pattern, problem) in [
        ("(?=a)", "look-ahead"),
        ("(?!a)", "look-ahead"),
        ("(?<=a)", "look-behind"),
        ("(?<!a)", "look-behind"),
        (r"(a)\1", "back-reference"),
        (r"(?<a>b)\k<a>", "back-reference"),
    ] {
        refuse(pattern, problem);
    }
}

#[test]
fn size_and_nesting_are_bounded() {
    for pattern in ["a{5000}", ".{500}", r"\p{L}{10}", "[^a]{1000}"] {
        assert!(regex(pattern).is_ok(), "{pattern}");
    }
    refuse("(a{1000}){1000}", "");
    refuse(r"(\p{L}{200}){100}", "");
    refuse("((((a{10}){10}){10}){10}){10}", "");
    refuse("a{4294967296}", "long");
    // What takes nothing is not worth repeating, nor is what does so no times.
    check("^(?:(?:(?:a{0}){4000000000})*){4000000000}$", &[""], &["a"]);
    check("^(?:(?:a{0}){4000000000}){4000000000,}b{0,}$", &["", "b"], &["a"]);
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(regex(&nested(50)).is_ok());
    refuse(&nested(51), "nest");
    refuse(&nested(100_000), "nest");
}

#[test]
fn time_is_linear() {
    let text = "a".repeat(100_000);
    check("^(a+)+$", &[&text], &[&format!("{text}b")]);
    check("(a|aa)+$", &[&text], &[&format!("{text}b")]);
    check("(.*)(.*)(.*)(.*)(.*)x", &[], &[&text]);
}

#[test]
fn a_set_tells_which() {
    let words = set(["foo", "^bar$", "o{3}"]).unwrap();
    for (text, index) in
        [("a foo", Some(0)), ("bar", Some(1)), ("ooo", Some(2)), ("bars", None), ("ooo foo", Some(2)), ("", None)]
    {
        assert_eq!(words.first_match(text), index, "{text}");
    }
    assert!(set(["a", "b(", "c"]).is_err_and(|(index, _)| index == 1));
    assert!(set(["a", "b*{", "(x{999}){999}"]).is_err_and(|(index, _)| index == 2));
    assert!(set(["a{5000}"; 4]).is_ok());
    assert!(set([]).is_ok_and(|set| set.first_match("a").is_none()));
}

/// What operators write, each in one automaton.
#[test]
fn what_operators_write_is_one_automaton() {
    let mut builder = Builder::default();
    for pattern in [
        r"\p{L}{10}",
        r".{500}",
        r"a{5000}",
        r"[^a]{1000}",
        r"\b4[0-9]{15}\b",
        r"\b(?:\d[ -]?){13,19}\b",
        r"(?:\d[ -]?){13,19}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r#"(?i)aws(.{0,20})?['"][0-9a-zA-Z/+]{40}['"]"#,
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
        r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b",
        r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
        r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b",
        r"https?://[^\s/$.?#].[^\s]*",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"-----BEGIN (?:RSA |EC |OPENSSH |DSA )?PRIVATE KEY-----",
        r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        r"gh[pousr]_[A-Za-z0-9]{36,255}",
        r"xox[baprs]-[0-9A-Za-z-]{10,48}",
        r"AIza[0-9A-Za-z_-]{35}",
        r"sk_live_[0-9a-zA-Z]{24,99}",
        r"(?i)(?:password|passwd|pwd|secret|token)\s*[:=]\s*\S{6,64}",
        r"\+?\d{1,3}[-.\s]?\(?\d{1,4}\)?[-.\s]?\d{1,4}[-.\s]?\d{1,9}",
        r"^[a-zA-Z0-9_-]{1,64}$",
        r"^\p{L}[\p{L}\p{M}' -]{0,99}$",
        r"^[^<>]{0,2000}$",
        r"^.{1,280}$",
        r"^[\s\S]{0,5000}$",
        r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
        r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$",
        r"^#(?:[0-9a-fA-F]{3}){1,2}$",
        r"^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$",
        r"[\u4e00-\u9fff]{4,}",
        r"(.)(.)(.)(.)(.)(.)x",
        r"(?i)\bfree\s+(?:money|crypto|gift\s+cards?)\b",
        r"\b[13][a-km-zA-HJ-NP-Z1-9]{25,34}\b",
        r"\b0x[a-fA-F0-9]{40}\b",
        r"\b(?:[A-Fa-f0-9]{2}[:-]){5}[A-Fa-f0-9]{2}\b",
        r"(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}",
        r"[\u200b-\u200f\u202a-\u202e\u2060-\u2064]",
        r"(.)\s*<\s*script",
        r"^(\([0-9]{3}\))?[0-9]{3}-[0-9]{4}$",
        r"(?:a.{0,50}){5}z",
        r"(a+)+$",
        r"(a|aa)+$",
        r"(.*)(.*)(.*)(.*)(.*)x",
        r"\b(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|3[47][0-9]{13}|6(?:011|5[0-9]{2})[0-9]{12})\b",
        r"\b\w{1,30}@\w{1,30}\b",
        r"foo.{10,20}bar",
        r"\bfoo\W+(?:\w+\W+){1,6}?bar\b",
        r"(?:[a-z0-9]+[-_]){3,8}[a-z0-9]+",
        r"[A-Z]{3,10}-\d{1,6}",
        r"\d{1,3}(?:,\d{3})*(?:\.\d\d)?",
        r"\b\d{13,19}\b",
        r"(?:\b\w+\b\W*){50}",
        r#"^(?:[^"\\]|\\.)*$"#,
    ] {
        let built = builder.regex(pattern).map(|regex| regex.scan_count());
        assert_eq!(built, Ok(1), "{pattern}");
    }
}

#[test]
fn many_words_are_few_automata() {
    let words: Vec<String> = (0..500_u32).map(|index| format!("word{}x{}", index * 7919 % 1_009, index % 10)).collect();
    let built = regex(&format!(r"(?i)\b(?:{})\b", words.join("|"))).unwrap();
    assert!(built.scan_count() <= 4, "{built:?}");
    assert!(built.is_match("a WORD0x0.") && !built.is_match("a word0x0s"));
}

#[test]
fn what_counts_what_overlaps_itself_is_refused() {
    for pattern in ["p.{0,200}q.{0,200}z", "a.{200}b", "[a-q][^u-z]{15}x"] {
        refuse(pattern, "counted");
    }
}

/// What a peer sends as an expression is read, and nothing is kept of it.
#[test]
fn a_text_of_any_length_is_checked_for_an_expression() {
    for piece in [r"\p{L}", r"[\p{L}\P{N}a-z]", "(?:a|b){1,9}", "a"] {
        let text = piece.repeat(20_000);
        assert!(is_expression(&text), "{piece}");
        refuse(&text, "long");
        assert!(!is_expression(&(text + "(")), "{piece}");
    }
}

/// Where this fails after an update of what it compares with, the runs are to be written anew.
#[test]
fn categories_are_those_of_unicode() {
    use regex_syntax::hir::{Class, HirKind};
    let mut categories = vec![u8::MAX; 0x11_0000];
    for (name, index) in class::CATEGORIES.iter().zip(0..) {
        let ranges = match name {
            // Not characters there.
            &"Cs" => vec![0xd800..=0xdfff],
            _ => match regex_syntax::parse(&format!(r"\p{{{name}}}")).unwrap().into_kind() {
                HirKind::Class(Class::Unicode(class)) => {
                    class.ranges().iter().map(|range| range.start() as usize..=range.end() as usize).collect()
                }
                HirKind::Literal(one) => {
                    str::from_utf8(&one.0).unwrap().chars().map(|one| one as usize..=one as usize).collect()
                }
                other => panic!("{name}: {other:?}"),
            },
        };
        ranges.into_iter().for_each(|range| categories[range].fill(index));
    }
    let mut runs = Vec::new();
    for run in categories.chunk_by(|left, right| left == right) {
        let mut len = run.len();
        if len < 8 {
            runs.push(u8::try_from(len).unwrap() << 5 | run[0]);
            continue;
        }
        runs.push(run[0]);
        while len >= 0x80 {
            runs.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
            len >>= 7;
        }
        runs.push(u8::try_from(len).unwrap());
    }
    assert!(runs == class::RUNS, "categories.bin is of another version of Unicode");
}
