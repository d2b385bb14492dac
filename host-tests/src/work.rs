//! What the module's instructions take in Envoy's runtime.

/// How many of the module's instructions, as this crate's host counts them, Envoy's runtime executes in a millisecond at the least.
///
/// `PORTCULLIS_BENCH_WORK=1 cargo bench -p portcullis-host-tests --bench envoy` measures it: the CPU time that an Envoy needs for a
/// message more than under a policy without rules for its content, against the instructions for the same message here. The fewest were 18,217 in a
/// microsecond on a machine with other load and 18,526 on one without, for pieces of attacks under all rule sets; most rows have 20,000 to 30,000.
pub const INSTRUCTIONS_PER_MILLISECOND: u64 = 18_000_000;
