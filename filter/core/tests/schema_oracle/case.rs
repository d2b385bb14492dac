//! A schema with instances, and what the oracle says of them.

use jsonschema::Validator;
use serde_json::Value;

use crate::instances::{self, Links};
use crate::random::Random;
use crate::references::{self, Document};
use crate::samples;
use crate::schemas::{self, Draft};
use crate::text;

/// Instances of one schema.
pub(crate) const INSTANCES: usize = 10;

/// Instances that are made for one with the verdict that is wanted.
const ATTEMPTS: usize = 10;

/// A schema with instances.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) schema: Value,
    /// Whether formats are asserted.
    pub(crate) asserts: bool,
    pub(crate) pairs: Vec<Pair>,
}

/// An instance.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) instance: Value,
    /// A text that says it.
    pub(crate) text: String,
    /// What the oracle says.
    pub(crate) is_valid: bool,
}

impl Case {
    /// Writes a schema and instances for it.
    pub(crate) fn make(random: &mut Random) -> Self {
        let draft = if random.one_in(5) { Draft::Seven } else { Draft::Latest };
        let asserts = random.one_in(2);
        let document = references::resolve(schemas::write(random, draft), draft, random);
        let oracle = oracle(&document.root, asserts).unwrap_or_else(|error| panic!("{error}: {}", document.root));
        let pairs = pairs(&document, &oracle, random);
        Self { schema: document.root, asserts, pairs }
    }

    /// The instances that are valid.
    pub(crate) fn valid(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.is_valid).count()
    }
}

/// Valid and not in turn, as far as there are both.
fn pairs(document: &Document, oracle: &Validator, random: &mut Random) -> Vec<Pair> {
    let links = Links::new(document);
    let has_regexes = document.root.to_string().contains(r#""format":"regex""#);
    let mut pairs: Vec<Pair> = Vec::new();
    for index in 0..INSTANCES {
        let wanted = index % 2 == 0;
        for attempt in 1..=ATTEMPTS {
            // One step from what is valid matters most.
            let valid: Vec<&Pair> = pairs.iter().filter(|pair| pair.is_valid).collect();
            let is_near = !valid.is_empty() && random.percent(65);
            let mut instance =
                if is_near { random.pick(&valid).instance.clone() } else { instances::make(&links, random) };
            for _ in 0..random.below(2) + usize::from(is_near || !wanted) {
                instances::mutate(&mut instance, random);
            }
            if has_regexes && samples::is_in_doubt(&instance) {
                instance = Value::Null;
            }
            let text = text::write(&instance, random);
            // What the text says, as the oracle's own reader has it.
            let instance = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            let is_valid = oracle.is_valid(&instance);
            if is_valid == wanted || attempt == ATTEMPTS {
                pairs.push(Pair { instance, text, is_valid });
                break;
            }
        }
    }
    pairs
}

/// The oracle of `schema`, or why it has none.
pub(crate) fn oracle(schema: &Value, asserts: bool) -> Result<Validator, String> {
    jsonschema::options().should_validate_formats(asserts).build(schema).map_err(|error| error.to_string())
}
