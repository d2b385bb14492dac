//! What each set is held to.

use super::{Kept, LeftOut, RuleSet, Subject};
use crate::testing::Choices;

/// The fewest rows of a table.
const ROW_COUNT_MIN: usize = 60;

/// Each of `attacks` is found, none of `look_alikes` is, and each rule finds something.
#[track_caller]
pub(super) fn check(set: RuleSet, attacks: &[&str], look_alikes: &[&str]) {
    assert!(attacks.len() >= ROW_COUNT_MIN && look_alikes.len() >= ROW_COUNT_MIN, "more rows are due");
    let name = |text: &str| set.find(&Subject::new(text), &LeftOut::default());
    let missed: Vec<_> = attacks.iter().filter(|text| name(text).is_none()).collect();
    assert!(missed.is_empty(), "missed: {missed:#?}");
    let alarms: Vec<_> = look_alikes.iter().filter_map(|text| Some((text, name(text)?))).collect();
    assert!(alarms.is_empty(), "false alarms: {alarms:#?}");
    let found: Vec<_> = attacks.iter().filter_map(|text| name(text)).collect();
    let idle: Vec<_> = set.names().iter().filter(|name| !found.contains(name)).collect();
    assert!(idle.is_empty(), "no row shows {idle:?}");
    assert!(found.iter().all(|name| set.names().contains(name)), "a rule without a name");
}

#[test]
fn encodings_are_undone_however_they_lie_in_each_other() {
    const TEXT: &str = "1' OR '1'='1; <script>alert(1)</script>\\/&#";
    let mut choices = Choices::new(0);
    let mut count = 0;
    for _ in 0..3_000 {
        let (mut text, mut used) = (TEXT.to_owned(), Vec::new());
        for _ in 0..=choices.below(4) {
            let (form, share) = (choices.below(6), choices.below(4));
            // References within references are undone only where they stand for `&`, and `%2%66` has two meanings.
            let kind = form.max(2);
            if used.contains(&kind) {
                continue;
            }
            used.push(kind);
            let encode = |letter: char, is_chosen: bool| {
                let code = u32::from(letter);
                // What begins an encoding of this layer cannot stand for itself in it.
                let is_sign = matches!((form, letter), (0..=2, '&') | (3, '%') | (4.., '\\'));
                match form {
                    _ if !is_chosen && !is_sign => letter.to_string(),
                    0 => format!("&#{code};"),
                    1 => format!("&#x{code:X};"),
                    2 => format!("&#{code:04};"),
                    3 => format!("%{code:02x}"),
                    4 => format!("\\x{code:02x}"),
                    _ => format!("\\u{code:04x}"),
                }
            };
            text = text.chars().map(|letter| encode(letter, choices.below(4) <= share)).collect();
        }
        let plain = super::plain::plain(&text).unwrap_or_else(|| text.clone().into_bytes());
        assert_eq!(String::from_utf8_lossy(&plain), TEXT, "{text}");
        count += usize::from(text != TEXT);
    }
    assert!(count > 2_000, "{count}");
}

#[test]
fn numbers_match_no_rule() {
    const BYTES: [char; 9] = ['0', '2', '3', '5', '7', '9', '+', '-', '.'];
    let mut texts = vec![String::new()];
    for _ in 0..4 {
        let longer: Vec<_> = texts.iter().flat_map(|text| BYTES.map(|byte| format!("{text}{byte}"))).collect();
        texts.extend(longer);
    }
    let mut choices = Choices::new(0);
    texts.extend((0..2_000).map(|len| (0..=len / 8).map(|_| BYTES[choices.below(BYTES.len())]).collect()));
    for text in texts {
        let subject = Subject::new(&text);
        for set in RuleSet::ALL {
            assert_eq!(set.scan(&subject.written, None, Kept(&LeftOut::default())), None, "{text}");
        }
    }
}
