//! What each set is held to.

use super::{LeftOut, RuleSet, Subject};

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
