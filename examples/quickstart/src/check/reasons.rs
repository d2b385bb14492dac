//! No reason id is left out: each has been an answer in a row, and has been counted.

use std::collections::BTreeMap;
use std::error::Error;

use portcullis_core::violation::Violation;
use portcullis_envoy::Envoy;

use super::upstream;
use crate::tally::Tally;

/// Prints the rows about what clients are not told, and then those about all reasons.
///
/// # Errors
/// An Envoy that does not give its counters.
pub(super) fn report(tally: &mut Tally, gates: &[&Envoy]) -> Result<(), Box<dyn Error>> {
    let counters = gates.iter().map(|gate| gate.stats()).collect::<Result<Vec<_>, _>>()?;
    let count = |kind: &str, violation: Violation| {
        let name = format!("wasmcustom.portcullis.{kind}.{}", violation.reason());
        counters.iter().filter_map(|stats: &BTreeMap<String, u64>| stats.get(&name)).sum::<u64>()
    };
    let own = count("handshakes", Violation::UpstreamRefused);
    let expected = format!("{} x upstream_refused", upstream::own_answers());
    tally.row("backend answers: other than 101, as counted", &expected, &format!("{own} x upstream_refused"));
    // Only a fault of Envoy or the filter causes `internal`: no peer can.
    let faults = count("refused", Violation::Internal);
    tally.row("faults of the gate in all of this", "0 x internal", &format!("{faults} x internal"));

    let all = format!("all {}", Violation::ALL.len());
    let check = |is_there: &dyn Fn(Violation) -> bool| {
        let missing = Violation::ALL.into_iter().filter(|&violation| !is_there(violation)).map(Violation::reason);
        let missing: Vec<&str> = missing.collect();
        if missing.is_empty() { all.clone() } else { format!("missing: {}", missing.join(", ")) }
    };
    let with_row = check(&|violation| tally.has_seen(violation.reason()));
    let counted = check(&|violation| match violation {
        Violation::Internal => true,
        Violation::UpstreamRefused => own > 0,
        violation => count("refused", violation) > 0,
    });
    tally.row("reason ids with a row that is as expected", &all, &with_row);
    tally.row("reason ids that are counted, but for internal", &all, &counted);
    Ok(())
}
