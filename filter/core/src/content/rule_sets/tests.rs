//! What each set is held to.

use crate::regex::RegexSet;

/// The fewest rows of a table.
const ROW_COUNT_MIN: usize = 60;

fn set(rules: &[(&str, &str)]) -> RegexSet {
    RegexSet::new(rules.iter().map(|(_, pattern)| *pattern)).unwrap()
}

/// Each of `attacks` is found, none of `look_alikes` is, and without any one of `rules` some attack would pass.
#[track_caller]
pub(super) fn check(rules: &[(&str, &str)], attacks: &[&str], look_alikes: &[&str]) {
    assert!(attacks.len() >= ROW_COUNT_MIN && look_alikes.len() >= ROW_COUNT_MIN, "more rows are due");
    let all = set(rules);
    let name = |text: &str| all.first_match(text).map(|index| rules[index].0);
    let missed: Vec<_> = attacks.iter().filter(|text| name(text).is_none()).collect();
    assert!(missed.is_empty(), "missed: {missed:#?}");
    let alarms: Vec<_> = look_alikes.iter().filter_map(|text| Some((text, name(text)?))).collect();
    assert!(alarms.is_empty(), "false alarms: {alarms:#?}");
    for (index, (name, _)) in rules.iter().enumerate() {
        let others = set(&[&rules[..index], &rules[index + 1..]].concat());
        assert!(attacks.iter().any(|text| others.first_match(text).is_none()), "{name} finds nothing by itself");
    }
}
