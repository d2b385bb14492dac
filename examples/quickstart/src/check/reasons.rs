//! No reason of the policy's reference is left out: each has been an answer in a row, and has been counted.

use std::collections::BTreeMap;
use std::error::Error;

use portcullis_envoy::Envoy;

use super::{forgeries, upstream};
use crate::tally::Tally;

/// The reference that names them all, in its table "Answers".
const REFERENCE: &str = include_str!("../../../../filter/POLICY.md");

/// Prints the rows about what clients are not told, and then those about all reasons.
///
/// # Errors
/// An Envoy that does not give its counters, or a reference without its table.
pub(super) fn report(tally: &mut Tally, gates: &[&Envoy]) -> Result<(), Box<dyn Error>> {
    let counters = gates.iter().map(|gate| gate.stats()).collect::<Result<Vec<_>, _>>()?;
    let count = |kind: &str, reason: &str| {
        let name = format!("wasmcustom.portcullis.{kind}.{reason}");
        counters.iter().filter_map(|stats: &BTreeMap<String, u64>| stats.get(&name)).sum::<u64>()
    };
    let own = count("handshakes", UPSTREAM_REFUSED);
    let expected = format!("{} x {UPSTREAM_REFUSED}", upstream::own_answers());
    tally.row("backend answers: other than 101, as counted", &expected, &format!("{own} x {UPSTREAM_REFUSED}"));

    let reasons = reasons(REFERENCE).ok_or("the reference has no table of answers")?;
    let all = format!("all {}", reasons.len());
    let check = |is_there: &dyn Fn(&str) -> bool| {
        let missing: Vec<&str> = reasons.iter().copied().filter(|reason| !is_there(reason)).collect();
        if missing.is_empty() { all.clone() } else { format!("missing: {}", missing.join(", ")) }
    };
    let with_row = check(&|reason| tally.has_seen(reason));
    let counted = check(&|reason| count(if reason == UPSTREAM_REFUSED { "handshakes" } else { "refused" }, reason) > 0);
    tally.row("reasons of POLICY.md with a row that is as expected", &all, &with_row);
    tally.row("reasons of POLICY.md that are counted", &all, &counted);
    // Only a fault of the gate or of what it asks causes `internal`: there is one where a case makes it.
    let (expected, faults) = (forgeries::FAULTS, count("refused", "internal"));
    tally.row("faults of the gate in all of this", &format!("{expected} x internal"), &format!("{faults} x internal"));
    Ok(())
}

/// The first column of the table below "Answers"; `None` where there is no such table.
fn reasons(reference: &str) -> Option<Vec<&str>> {
    let (_, section) = reference.split_once("\n## Answers\n")?;
    let section = section.split("\n## ").next()?;
    let rows = section.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` |")?.0));
    Some(rows.collect::<Vec<_>>()).filter(|reasons| !reasons.is_empty())
}

/// What no client is told: it is the upstream's answer that it gets.
const UPSTREAM_REFUSED: &str = "upstream_refused";

#[cfg(test)]
mod tests {
    use portcullis_core::violation::Violation;

    use super::*;

    #[test]
    fn the_reference_names_what_the_filter_has() {
        let mut named = reasons(REFERENCE).expect("the table");
        let mut known: Vec<&str> = Violation::ALL.into_iter().map(Violation::reason).collect();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
        assert_eq!(reasons("## Answers"), None);
        assert_eq!(reasons("\n## Answers\n| reason |\n\n## More\n| `other` | 1 |"), None);
    }
}
