use serde_json::{Value as Json, json};

use crate::json::reader::{Bounds, read};

use super::*;

#[track_caller]
fn check_glob(glob: &str, accepted: &[&str], refused: &[&str]) {
    let glob = Glob::new(glob);
    assert!(accepted.iter().all(|text| matches_text(&glob.text, text)), "{glob:?}");
    assert!(!refused.iter().any(|text| matches_text(&glob.text, text)), "{glob:?}");
}

#[test]
fn a_star_is_any_run_of_characters() {
    check_glob("", &[""], &["a"]);
    check_glob("a", &["a"], &["", "aa", "A", "b"]);
    check_glob("*", &["", "a", "a*é"], &[]);
    check_glob("**", &["", "a"], &[]);
    check_glob("admin.*", &["admin.", "admin.delete"], &["admin", "xadmin.delete", "Admin.delete"]);
    check_glob("*.delete", &["a.delete", ".delete"], &["delete", "a.delete.b"]);
    check_glob("a*a", &["aa", "aba"], &["a", "ab", "ba"]);
    check_glob("a*b*c", &["abc", "aXbXc", "abbcc", "acbc"], &["ac", "ab", "acb"]);
    check_glob("*ab*ab", &["abab", "ababab"], &["ab", "abab "]);
}

const BOUNDS: Bounds = Bounds { depth_max: 9, keys_max: 99, string_len_max: 999, unique_keys: true, surrogates: false };

fn rules(rules: &Json) -> Authorizations {
    let pointer = |text: &str| Pointer::parse(text).unwrap();
    let list = |rule: &Json, key: &str| rule.get(key).and_then(Json::as_object).cloned().unwrap_or_default();
    let build = |rule: &Json| Authorization {
        when: list(rule, "when").iter().map(|(at, glob)| (pointer(at), Glob::new(glob.as_str().unwrap()))).collect(),
        missing: rule.get("missing").is_some(),
        claims: list(rule, "claims")
            .iter()
            .map(|(at, value)| (at.clone(), Requirement::OneOf(vec![value.clone()])))
            .collect(),
        equals: list(rule, "equals").iter().map(|(at, path)| (pointer(at), path.as_str().unwrap().into())).collect(),
        mode: Mode::Enforce,
    };
    Authorizations::new(rules.as_array().unwrap().iter().map(build).collect()).unwrap()
}

/// Whether someone who is no admin may say the messages.
#[track_caller]
fn check(authorize: &Json, accepted: &[&str], refused: &[&str]) {
    let claims = json!({"role": "user", "sub": "alice", "level": 7, "ok": true});
    let sender = Verified::forged(claims.as_object().unwrap().clone());
    let rules = rules(authorize);
    for (texts, expected) in [(accepted, true), (refused, false)] {
        for text in texts {
            let document = read(text, &BOUNDS).unwrap();
            assert_eq!(
                rules.check(document.root(), Some(&sender), |_| false, &mut |index, _| Err(index)).is_ok(),
                expected,
                "{text}"
            );
        }
    }
}

#[test]
fn numbers_are_what_they_are_worth() {
    let admin = json!({"role": "admin"});
    for glob in ["9", "9.0", "90e-1", "9*"] {
        check(
            &json!([{"when": {"/type": glob}, "claims": admin}]),
            &[r#"{"type":8}"#, r#"{"type":"8"}"#, r#"{"type":-9}"#],
            &[
                r#"{"type":9}"#,
                r#"{"type":9.0}"#,
                r#"{"type":90e-1}"#,
                r#"{"type":0.09E+2}"#,
                r#"{"type":9.00000000000000000001}"#,
                r#"{"type":8.9999999999999999}"#,
            ],
        );
    }
    check(&json!([{"when": {"/type": "9"}, "claims": admin}]), &[r#"{"type":"x"}"#], &[r#"{"type":"9"}"#]);
    check(
        &json!([{"equals": {"/level": "level"}}]),
        &[r#"{"level":7}"#, r#"{"level":7.0}"#, r#"{"level":70e-1}"#],
        &[r#"{"level":"7"}"#, r#"{"level":7.1}"#, r#"{"level":[7]}"#, "{}"],
    );
    check(
        &json!([{"equals": {"/sub": "sub"}}]),
        &[r#"{"sub":"alice"}"#],
        &[r#"{"sub":"Alice"}"#, r#"{"sub":"alice "}"#],
    );
    check(&json!([{"equals": {"/ok": "ok"}}]), &[r#"{"ok":true}"#], &[r#"{"ok":false}"#, r#"{"ok":"true"}"#]);
    check(&json!([{"equals": {"/sub": "email"}}]), &[], &[r#"{"sub":null}"#, r#"{"sub":"alice"}"#]);
}

#[test]
fn what_may_be_taken_for_anything_matches() {
    check(
        &json!([{"when": {"/type": "admin.*"}, "claims": {"role": "admin"}}]),
        &[r#"{"type":"chat"}"#, r#"{"type":null}"#, r#"{"type":false}"#],
        &[
            r#"{"type":"admin.del"}"#,
            r#"{"type":["admin.del"]}"#,
            r#"{"type":["chat"]}"#,
            r#"{"type":{"name":"admin.del"}}"#,
            r#"{"type":[]}"#,
        ],
    );
}

#[test]
fn a_message_in_which_when_leads_nowhere_is_refused() {
    let nowhere = ["{}", r#"[{"type":"admin.del"}]"#, r#""admin.del""#, "null", "7", r#"{"a":{"type":"x"}}"#];
    let rule = json!({"when": {"/type": "admin.*"}, "claims": {"role": "admin"}});
    check(&json!([rule]), &[], &nowhere);
    let mut lenient = rule;
    lenient["missing"] = json!("allow");
    check(&json!([lenient]), &nowhere, &[r#"{"type":"admin.del"}"#]);
    // A rule that some other place rules out needs no more.
    check(
        &json!([{"when": {"/room": "1", "/type": "admin.*"}, "claims": {"role": "admin"}}]),
        &[r#"{"type":"chat"}"#, r#"{"type":"admin.del","room":2}"#, r#"{"room":"2"}"#],
        &[r#"{"type":"admin.del"}"#, r#"{"room":"1"}"#, "{}"],
    );
}

#[test]
fn names_that_some_reader_takes_for_one_that_is_read_are_refused() {
    check(
        &json!([{"when": {"/a/type": "admin.*"}, "missing": "allow", "claims": {"role": "admin"}}]),
        &[r#"{"a":{"type":"chat"},"type":1,"Type":2}"#, r#"{"b":1,"B":2}"#],
        &[
            r#"{"a":{"type":"chat","Type":"admin.del"}}"#,
            r#"{"a":{"TYPE":"admin.del","type":"chat"}}"#,
            r#"{"a":{"Type":"chat"}}"#,
            r#"{"A":{"type":"chat"}}"#,
            r#"{"a":{"type":"chat"},"A":0}"#,
            r#"{"a":{"type":"chat","\u0054ype":"admin.del"}}"#,
        ],
    );
    let equals = json!([{"when": {"/kind": "x"}, "equals": {"/user": "sub"}}]);
    check(
        &equals,
        &[r#"{"kind":"x","user":"alice"}"#, r#"{"kind":"y","User":1}"#],
        &[r#"{"kind":"x","user":"alice","u\u017fer":"bob"}"#, r#"{"kind":"y","\u212aind":"x"}"#],
    );
}

#[test]
fn a_sender_without_a_token_has_no_claims() {
    let rules = rules(&json!([{"when": {"/type": "a"}, "claims": {"role": "user"}}]));
    for (text, expected) in [(r#"{"type":"a"}"#, false), (r#"{"type":"b"}"#, true)] {
        assert_eq!(
            rules.check(read(text, &BOUNDS).unwrap().root(), None, |_| false, &mut |index, _| Err(index)).is_ok(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn what_rules_ask_together_is_bounded() {
    let rule = |when: Vec<(Pointer, Glob)>, claims: usize| Authorization {
        when,
        missing: false,
        claims: vec![("a".into(), Requirement::OneOf(vec![json!(1)])); claims],
        equals: vec![],
        mode: Mode::Enforce,
    };
    let many = |count: usize, are_different: bool, glob: &str| {
        let pointer = |index| if are_different { format!("/{index}") } else { "/a".into() };
        let when = |index| (Pointer::parse(&pointer(index)).unwrap(), Glob::new(glob));
        Authorizations::new((0..count).map(|index| rule(vec![when(index)], 1)).collect()).map(drop)
    };
    for (max, are_different, glob) in
        [(RULES_MAX, false, "*"), (POINTERS_MAX, true, "*"), (SEARCHES_MAX, false, "*a*b*")]
    {
        assert_eq!(many(max, are_different, glob), Ok(()));
        assert!(many(max + 1, are_different, glob).is_err_and(|problem| problem.contains(&max.to_string())));
    }
    let conditions = |count| Authorizations::new(vec![rule(vec![], count)]).map(drop);
    assert_eq!(conditions(CONDITIONS_MAX), Ok(()));
    assert!(conditions(CONDITIONS_MAX + 1).is_err());
}

#[test]
fn a_subject_that_is_an_integer_is_said_as_one() {
    let rules = rules(&json!([{"when": {"/type": "*"}, "equals": {"/user": "sub"}}]));
    let allows = |sub: Json, text: &str| {
        let sender = Verified::forged(json!({"sub": sub}).as_object().unwrap().clone());
        rules.check(read(text, &BOUNDS).unwrap().root(), Some(&sender), |_| false, &mut |index, _| Err(index)).is_ok()
    };
    for (user, by_number, by_text) in [
        ("42", true, false),
        ("42.0", true, false),
        ("\"42\"", true, true),
        ("\"42.0\"", false, false),
        ("43", false, false),
        ("[42]", false, false),
        ("42.00000000000000000001", false, false),
    ] {
        let text = format!(r#"{{"type":"chat","user":{user}}}"#);
        assert_eq!([allows(json!(42), &text), allows(json!("42"), &text)], [by_number, by_text], "{user}");
    }
}
