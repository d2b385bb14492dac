//! Counts what each keyword did in a run, and finds those that did nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::references::subschemas;

/// What was seen of a keyword.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Schemas that it is in.
    schemas: usize,
    /// Those of them that took one instance and refused another.
    judged: usize,
    /// Schemas of which it was taken away.
    removed: usize,
    /// Those of them that judged an instance otherwise without it.
    decided: usize,
}

/// What was seen in a run.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    counts: BTreeMap<String, Count>,
    /// Pairs that were compared.
    pub(crate) pairs: usize,
    /// Instances that are valid.
    pub(crate) valid: usize,
}

/// What decides whether an instance is valid. A schema `true` and a schema `false` count as keywords of these names.
const DECIDING: [&str; 43] = [
    "$dynamicRef",
    "$ref",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "false",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "then",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];

/// What only names: taken away it leaves a reference to nowhere, or nothing at all.
const NAMING: [&str; 7] = ["$anchor", "$defs", "$dynamicAnchor", "$id", "$schema", "definitions", "true"];

/// The keywords of every schema in `schema`, each with the pointer of the schema that it is in.
pub(crate) fn keywords(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), schema)];
    while let Some((pointer, schema)) = open.pop() {
        match schema {
            Value::Bool(schema) => found.push((pointer.clone(), schema.to_string())),
            _ => {
                let keywords = schema.as_object().into_iter().flatten();
                found.extend(keywords.map(|(keyword, _)| (pointer.clone(), keyword.clone())));
            }
        }
        open.extend(subschemas(schema).into_iter().map(|(step, _, schema)| (format!("{pointer}{step}"), schema)));
    }
    found
}

impl Coverage {
    /// Counts a schema that took `valid` of `pairs` instances.
    pub(crate) fn count(&mut self, schema: &Value, pairs: usize, valid: usize) {
        self.pairs += pairs;
        self.valid += valid;
        let keywords: BTreeSet<String> = keywords(schema).into_iter().map(|(_, keyword)| keyword).collect();
        for keyword in keywords {
            let count = self.counts.entry(keyword).or_default();
            count.schemas += 1;
            count.judged += usize::from(valid > 0 && valid < pairs);
        }
    }

    /// The deciding one of `keywords` that was taken away least often.
    pub(crate) fn rarest(&self, keywords: &[(String, String)]) -> Option<String> {
        let deciding =
            keywords.iter().map(|(_, keyword)| keyword).filter(|keyword| DECIDING.contains(&keyword.as_str()));
        deciding.min_by_key(|keyword| self.counts.get(*keyword).map_or(0, |count| count.removed)).cloned()
    }

    /// Counts a keyword that was taken away.
    pub(crate) fn count_removed(&mut self, keyword: &str, decided: bool) {
        let count = self.counts.entry(keyword.to_owned()).or_default();
        count.removed += 1;
        count.decided += usize::from(decided);
    }

    /// Adds what was seen elsewhere.
    pub(crate) fn merge(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.valid += other.valid;
        for (keyword, other) in other.counts {
            let count = self.counts.entry(keyword).or_default();
            count.schemas += other.schemas;
            count.judged += other.judged;
            count.removed += other.removed;
            count.decided += other.decided;
        }
    }

    /// A table of all counts.
    pub(crate) fn print(&self) {
        println!("{:24}{:>10}{:>10}{:>10}{:>10}", "keyword", "schemas", "judged", "removed", "decided");
        for (keyword, count) in &self.counts {
            let Count { schemas, judged, removed, decided } = count;
            println!("{keyword:24}{schemas:>10}{judged:>10}{removed:>10}{decided:>10}");
        }
        println!("{} pairs, {} % of them valid", self.pairs, self.valid * 100 / self.pairs.max(1));
    }

    /// The keywords that no schema had both outcomes with, or that never decided anything.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let count = |keyword: &str| self.counts.get(keyword).copied().unwrap_or_default();
        let deciding = DECIDING.into_iter().filter(|keyword| count(keyword).judged == 0 || count(keyword).decided == 0);
        deciding.chain(NAMING.into_iter().filter(|keyword| count(keyword).judged == 0)).collect()
    }
}
