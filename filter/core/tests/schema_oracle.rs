//! The JSON Schema engine against the `jsonschema` crate: the same verdict on every generated schema and instance.
//!
//! `PORTCULLIS_SCHEMA_SEED` and `PORTCULLIS_SCHEMA_PAIRS` explore others than the fixed ones. What differs is printed with its seed, as
//! it was and as small as it could be made.
//!
//! The generator keeps away from where the oracle itself departs from the specifications, or they leave a doubt:
//!
//! - It reads numbers as `i64`, `u64` or `f64`: fractions have at most fifteen digits, integers are within 64 bits, and `multipleOf`
//!   is an integer or divides one ([`samples::NUMBERS`]).
//! - It takes a `$ref` to a dynamic anchor for dynamic (Core §8.2.3.1), and forgets the outer resource of one that was entered by
//!   descent, not by a reference (§8.2.3.2): both only show where there are several dynamic anchors ([`references`]).
//! - It compiles a schema anew for each way that resources were entered, which has no end for large ones ([`schemas`]).
//! - A dot and white space follow another dialect at some line separators ([`samples::PATTERNS`]), and it has no `idn-*` formats without
//!   its Unicode tables ([`samples::FORMATS`]).
//! - A brace that is no quantifier is a regular expression by Annex B of ECMA-262, and none with its flag `u`
//!   ([`samples::is_in_doubt`]).

#![cfg(not(target_family = "wasm"))]

#[path = "schema_oracle/case.rs"]
mod case;
#[path = "schema_oracle/coverage.rs"]
mod coverage;
#[path = "schema_oracle/engine.rs"]
mod engine;
#[path = "schema_oracle/instances.rs"]
mod instances;
#[path = "schema_oracle/random.rs"]
mod random;
#[path = "schema_oracle/references.rs"]
mod references;
#[path = "schema_oracle/samples.rs"]
mod samples;
#[path = "schema_oracle/schemas.rs"]
mod schemas;
#[path = "schema_oracle/shrink.rs"]
mod shrink;
#[path = "schema_oracle/text.rs"]
mod text;

use std::env;
use std::thread;

use serde_json::Value;

use case::{Case, INSTANCES, Pair, oracle};
use coverage::Coverage;
use engine::Verdict;
use random::Random;

const SEED: u64 = 0x5eed;
const PAIRS: usize = 100_000;

/// The same number everywhere, so that the counts are.
const WORKERS: usize = 4;

/// Deep enough for schemas and values that refer to themselves, in a build without optimisation.
const STACK_LEN: usize = 64 << 20;

#[test]
fn verdicts_are_those_of_the_oracle() {
    let seed = variable("PORTCULLIS_SCHEMA_SEED").unwrap_or(SEED);
    let pairs = variable("PORTCULLIS_SCHEMA_PAIRS").map_or(PAIRS, |pairs| usize::try_from(pairs).expect("a count"));
    let run = |worker: usize| {
        let mut run = Run::default();
        for case in (worker..pairs / INSTANCES).step_by(WORKERS) {
            run.judge(seed.wrapping_add(case as u64));
        }
        run
    };
    let runs: Vec<Run> = thread::scope(|scope| {
        let spawn = |worker| thread::Builder::new().stack_size(STACK_LEN).spawn_scoped(scope, move || run(worker));
        let threads: Vec<_> = (0..WORKERS).map(spawn).collect();
        threads.into_iter().map(|thread| thread.expect("a thread").join().expect("a run")).collect()
    });
    let mut coverage = Coverage::default();
    let mut findings = Vec::new();
    for run in runs {
        coverage.merge(run.coverage);
        findings.extend(run.findings);
    }
    coverage.print();
    assert!(findings.is_empty(), "{} disagreements\n{}", findings.len(), findings.join("\n"));
    if pairs >= PAIRS {
        assert_eq!(coverage.missing(), Vec::<&str>::new(), "keywords that decided nothing");
    }
}

#[expect(clippy::disallowed_methods, reason = "these tests are no filter: their environment is who runs them")]
fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[derive(Default)]
struct Run {
    coverage: Coverage,
    findings: Vec<String>,
}

/// Keywords that are taken away from each schema, one by one.
const REMOVED: usize = 2;

/// What differs is made small only so many times: that takes a while.
const SHRUNK_MAX: usize = 20;

impl Run {
    fn judge(&mut self, seed: u64) {
        let random = &mut Random::new(seed);
        let case = loop {
            let case = Case::make(random);
            // Few schemas that take all or nothing are enough.
            if (1..INSTANCES).contains(&case.valid()) || random.one_in(8) {
                break case;
            }
        };
        self.coverage.count(&case.schema, INSTANCES, case.valid());
        let schema = engine::compile(&case.schema, case.asserts);
        for pair in &case.pairs {
            let verdict = schema.as_ref().map_or_else(Clone::clone, |schema| engine::judge(schema, &pair.text));
            if verdict != Verdict::from(pair.is_valid) {
                self.report(seed, &case, pair, &verdict);
                break;
            }
        }
        for _ in 0..REMOVED {
            self.remove_one(&case, random);
        }
    }

    fn report(&mut self, seed: u64, case: &Case, pair: &Pair, verdict: &Verdict) {
        let Case { schema, asserts, .. } = case;
        let Pair { instance, text, is_valid } = pair;
        let oracle_says = Verdict::from(*is_valid);
        let formats = if *asserts { "asserted" } else { "annotations" };
        let mut finding = format!(
            "PORTCULLIS_SCHEMA_SEED={seed} PORTCULLIS_SCHEMA_PAIRS={INSTANCES}\nthe oracle says {oracle_says}, the engine \
             {verdict}; formats are {formats}\nschema   {schema}\ninstance {text}\n"
        );
        if self.findings.len() < SHRUNK_MAX {
            let fails = |schema: &Value, instance: &Value| {
                // The engine goes first: it refuses what would have the oracle go round in circles.
                let ours = match engine::compile(schema, *asserts) {
                    Ok(schema) => engine::judge(&schema, &instance.to_string()),
                    Err(refused) => refused,
                };
                ours.is_like(verdict)
                    && oracle(schema, *asserts).is_ok_and(|oracle| match ours {
                        Verdict::Refused(_) => true,
                        Verdict::Invalid | Verdict::Valid => Verdict::from(oracle.is_valid(instance)) == oracle_says,
                    })
            };
            if fails(schema, instance) {
                let (schema, instance) = shrink::shrink(schema, instance, &fails);
                finding.push_str(&format!("in short {schema}\nand      {instance}\n"));
            }
        }
        self.findings.push(finding);
    }

    /// Sees whether one of the keywords matters: of those that were looked at least.
    fn remove_one(&mut self, case: &Case, random: &mut Random) {
        let mut keywords = coverage::keywords(&case.schema);
        let Some(rarest) = self.coverage.rarest(&keywords) else { return };
        keywords.retain(|(_, keyword)| *keyword == rarest);
        let (pointer, keyword) = random.pick(&keywords);
        let mut without = case.schema.clone();
        match without.pointer_mut(&pointer) {
            Some(Value::Object(schema)) => drop(schema.remove(&keyword)),
            Some(schema) => *schema = Value::Bool(true),
            None => return,
        }
        // The engine says what the oracle would, and compiles faster.
        let without = engine::compile(&without, case.asserts);
        let decided = without.is_ok_and(|schema| {
            case.pairs.iter().any(|pair| engine::judge(&schema, &pair.text) != Verdict::from(pair.is_valid))
        });
        self.coverage.count_removed(&keyword, decided);
    }
}
