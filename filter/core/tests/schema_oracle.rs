//! The JSON Schema engine against the `jsonschema` crate: the same verdict for every generated schema and instance.
//!
//! `PORTCULLIS_SCHEMA_SEED` and `PORTCULLIS_SCHEMA_PAIRS` explore others than the fixed ones. What differs is printed with its seed, as
//! it was and as small as it could be made.
//!
//! The generator keeps away from where the oracle itself departs from the specifications: see [`samples`] for numbers, patterns and
//! formats.

#![cfg(not(target_family = "wasm"))]

#[path = "schema_oracle/coverage.rs"]
mod coverage;
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

use jsonschema::Validator;
use serde_json::Value;

use coverage::Coverage;
use random::Random;
use references::Document;
use schemas::Draft;

const SEED: u64 = 0x5eed;
const PAIRS: usize = 100_000;
const INSTANCES: usize = 10;

/// Instances that are made for one with the verdict that is wanted.
const ATTEMPTS: usize = 10;

/// Deep enough for schemas and values that refer to themselves, in a build without optimisation.
const STACK_LEN: usize = 64 << 20;

#[test]
fn verdicts_are_those_of_the_oracle() {
    let seed = variable("PORTCULLIS_SCHEMA_SEED").unwrap_or(SEED);
    let pairs = variable("PORTCULLIS_SCHEMA_PAIRS").map_or(PAIRS, |pairs| usize::try_from(pairs).expect("a count"));
    let cases = u64::try_from(pairs / INSTANCES).expect("a count");
    let workers = thread::available_parallelism().map_or(1, usize::from).min(4) as u64;
    let run = |worker: u64| {
        let mut run = Run::default();
        (worker..cases).step_by(workers as usize).for_each(|case| run.judge(seed.wrapping_add(case)));
        run
    };
    let runs = thread::scope(|scope| {
        let spawn = |worker| thread::Builder::new().stack_size(STACK_LEN).spawn_scoped(scope, move || run(worker));
        let threads: Vec<_> = (0..workers).map(spawn).collect();
        threads.into_iter().map(|thread| thread.expect("a thread").join().expect("a run")).collect::<Vec<_>>()
    });
    let mut coverage = Coverage::default();
    let mut findings = String::new();
    for run in runs {
        coverage.merge(run.coverage);
        findings.push_str(&run.findings);
    }
    coverage.print();
    assert!(findings.is_empty(), "{findings}");
    if pairs >= PAIRS {
        assert_eq!(coverage.missing(), Vec::<&str>::new(), "keywords that decided nothing");
    }
}

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[derive(Default)]
struct Run {
    coverage: Coverage,
    findings: String,
}

impl Run {
    fn judge(&mut self, seed: u64) {
        let random = &mut Random::new(seed);
        let draft = if random.one_in(5) { Draft::Seven } else { Draft::Latest };
        let asserts = random.one_in(2);
        let document = references::resolve(schemas::write(random, draft), draft, random);
        let schema = &document.root;
        let oracle = oracle(schema, asserts).unwrap_or_else(|error| panic!("seed {seed}: {error}: {schema}"));
        let verdicts = verdicts(&document, &oracle, random);
        let valid = verdicts.iter().filter(|(_, _, is_valid)| *is_valid).count();
        self.coverage.count(schema, INSTANCES, valid);
        self.remove_one(schema, asserts, &verdicts, random);
    }

    /// Sees whether one of the keywords matters.
    fn remove_one(&mut self, schema: &Value, asserts: bool, verdicts: &[(Value, String, bool)], random: &mut Random) {
        let keywords = coverage::keywords(schema);
        if keywords.is_empty() {
            return;
        }
        let (pointer, keyword) = &random.pick(&keywords);
        let mut without = schema.clone();
        match without.pointer_mut(pointer) {
            Some(Value::Object(schema)) => drop(schema.remove(keyword)),
            Some(schema) => *schema = Value::Bool(true),
            None => return,
        }
        let decided = oracle(&without, asserts)
            .is_ok_and(|oracle| verdicts.iter().any(|(instance, _, verdict)| oracle.is_valid(instance) != *verdict));
        self.coverage.count_removed(keyword, decided);
    }
}

/// Instances with what they say and what the oracle says of them: valid and not in turn, as far as there are both.
fn verdicts(document: &Document, oracle: &Validator, random: &mut Random) -> Vec<(Value, String, bool)> {
    let mut verdicts: Vec<(Value, String, bool)> = Vec::new();
    for index in 0..INSTANCES {
        let wanted = index % 2 == 0;
        for attempt in 1..=ATTEMPTS {
            // One step from what is valid matters most.
            let valid: Vec<&Value> =
                verdicts.iter().filter(|(.., is_valid)| *is_valid).map(|(known, ..)| known).collect();
            let is_near = !valid.is_empty() && random.percent(65);
            let mut instance = if is_near { random.pick(&valid).clone() } else { instances::make(document, random) };
            for _ in 0..random.below(2) + usize::from(is_near || !wanted) {
                instances::mutate(&mut instance, random);
            }
            let text = text::write(&instance, random);
            // What the text says, as the oracle's own reader has it.
            let instance: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            let verdict = oracle.is_valid(&instance);
            if verdict == wanted || attempt == ATTEMPTS {
                verdicts.push((instance, text, verdict));
                break;
            }
        }
    }
    verdicts
}

fn oracle(schema: &Value, asserts: bool) -> Result<Validator, String> {
    jsonschema::options().should_validate_formats(asserts).build(schema).map_err(|error| error.to_string())
}
