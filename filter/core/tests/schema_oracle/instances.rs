//! Makes values that nearly satisfy a schema, and changes them a little.

use std::collections::BTreeMap;
use std::ptr;

use serde_json::{Map, Number, Value, json};

use crate::random::Random;
use crate::references::Document;
use crate::samples::{FORMATS, NAMES, PATTERNS, STRINGS, any_number, any_string, any_value, number, number_near};

/// A document with what its references lead to.
pub(crate) struct Links<'d> {
    root: &'d Value,
    /// By the place in memory of the schema that has the reference.
    targets: BTreeMap<usize, Vec<&'d Value>>,
}

impl<'d> Links<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        let at = |pointer: &String| document.root.pointer(pointer).expect("a schema");
        let targets = document.targets.iter();
        let targets = targets.map(|(from, to)| (ptr::from_ref(at(from)).addr(), to.iter().map(at).collect()));
        Self { root: &document.root, targets: targets.collect() }
    }
}

/// A value for the document behind `links`: for the most part a good one.
pub(crate) fn make(links: &Links<'_>, random: &mut Random) -> Value {
    let mut maker = Maker { links, random };
    let facets = maker.facets(vec![links.root]);
    maker.value(&facets, DEPTH)
}

struct Maker<'d, 'm> {
    links: &'m Links<'d>,
    random: &'m mut Random,
}

/// How deep a value is.
const DEPTH: usize = 5;

/// Only the whole message has more members or items than these.
const LEN_MAX: usize = 8;

/// More schemas than these do not get a say at once.
const FACETS_MAX: usize = 24;

impl<'d> Maker<'d, '_> {
    /// The schemas that `open` apply to the same value, with one branch of each choice.
    fn facets(&mut self, mut open: Vec<&'d Value>) -> Vec<&'d Value> {
        let mut facets = Vec::new();
        while let Some(facet) = open.pop() {
            if facets.len() >= FACETS_MAX {
                break;
            }
            open.extend(self.links.targets.get(&ptr::from_ref(facet).addr()).into_iter().flatten());
            open.extend(items(facet, "allOf"));
            for keyword in ["anyOf", "oneOf"] {
                let branches = items(facet, keyword);
                open.extend(branches.get(self.random.below(branches.len().max(1))));
            }
            let keywords: &[&str] = if self.random.one_in(2) { &["if", "then"] } else { &["else"] };
            open.extend(keywords.iter().filter_map(|keyword| facet.get(keyword)));
            for keyword in ["dependentSchemas", "dependencies"] {
                let schemas = members(facet, keyword).map(|(_, dependency)| dependency);
                open.extend(schemas.filter(|schema| !schema.is_array() && self.random.one_in(2)));
            }
            facets.push(facet);
        }
        facets
    }

    fn value(&mut self, facets: &[&'d Value], depth: usize) -> Value {
        let constants: Vec<&Value> = facets
            .iter()
            .flat_map(|facet| {
                let constant = facet.get("const");
                items(facet, "enum").iter().chain(constant)
            })
            .collect();
        if !constants.is_empty() && self.random.percent(75) {
            return self.random.pick(&constants).clone();
        }
        match self.kind(facets, depth) {
            "array" => self.array(facets, depth),
            "boolean" => json!(self.random.one_in(2)),
            "null" => Value::Null,
            "integer" => self.number(facets, true),
            "number" => self.number(facets, false),
            "object" => self.object(facets, depth),
            _ => json!(self.string(facets)),
        }
    }

    /// A type that the schemas allow, or else one that their keywords are about.
    fn kind(&mut self, facets: &[&'d Value], depth: usize) -> &'d str {
        let mut kinds: Vec<&str> = Vec::new();
        for facet in facets {
            match facet.get("type") {
                Some(Value::String(kind)) => kinds.push(kind),
                Some(Value::Array(types)) => kinds.extend(types.iter().filter_map(Value::as_str)),
                _ => {}
            }
        }
        if kinds.is_empty() || self.random.one_in(10) {
            for keyword in facets.iter().filter_map(|facet| facet.as_object()).flat_map(Map::keys) {
                kinds.push(match keyword.as_str() {
                    "maxItems" | "minItems" | "uniqueItems" | "items" | "prefixItems" | "contains"
                    | "unevaluatedItems" => "array",
                    "properties"
                    | "patternProperties"
                    | "additionalProperties"
                    | "required"
                    | "minProperties"
                    | "maxProperties"
                    | "dependentSchemas"
                    | "dependentRequired"
                    | "dependencies"
                    | "propertyNames"
                    | "unevaluatedProperties" => "object",
                    "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => "number",
                    "minLength" | "maxLength" | "pattern" | "format" => "string",
                    _ => continue,
                });
            }
        }
        if kinds.is_empty() {
            kinds.extend(["array", "boolean", "null", "integer", "number", "object", "string"]);
        }
        let kind = self.random.pick(&kinds);
        if depth == 0 && matches!(kind, "array" | "object") { "null" } else { kind }
    }

    fn number(&mut self, facets: &[&'d Value], whole: bool) -> Value {
        let bounds: Vec<&Value> = facets
            .iter()
            .flat_map(|facet| {
                ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
                    .into_iter()
                    .filter_map(|keyword| facet.get(keyword))
            })
            .collect();
        let mut last = json!(0);
        for _ in 0..6 {
            last = if bounds.is_empty() || self.random.one_in(5) {
                any_number(self.random)
            } else {
                let bound = self.random.pick(&bounds);
                number_near(bound, self.random)
            };
            let is_whole = last.as_f64().is_some_and(|double| double.fract() == 0.0);
            if (is_whole || !whole) && facets.iter().all(|facet| is_about_within(&last, facet)) {
                break;
            }
        }
        last
    }

    fn string(&mut self, facets: &[&'d Value]) -> String {
        let mut text = any_string(self.random);
        for facet in facets {
            if let Some(pattern) = facet.get("pattern")
                && let Some((_, one, two, none)) = PATTERNS.iter().find(|(known, ..)| pattern == known)
            {
                text = self.random.pick(&[one, one, two, two, none]).to_string();
            }
            if let Some(format) = facet.get("format")
                && let Some((_, valid, invalid)) = FORMATS.iter().find(|(known, ..)| format == known)
            {
                text = self.random.pick(&[valid, invalid]).to_string();
            }
        }
        for facet in facets {
            let len = text.chars().count();
            if let Some(min) = count(facet, "minLength") {
                text.extend((len..min).map(|_| self.random.pick(&['a', 'é', '😀'])));
            }
            if let Some(max) = count(facet, "maxLength") {
                text = text.chars().take(max).collect();
            }
        }
        text
    }

    fn array(&mut self, facets: &[&'d Value], depth: usize) -> Value {
        let counts = ["minItems", "maxItems", "minContains", "maxContains"];
        let counts = facets.iter().flat_map(|facet| counts.iter().filter_map(|keyword| count(facet, keyword)));
        let prefixes = facets.iter().filter_map(|facet| facet.get("prefixItems").or_else(|| facet.get("items")));
        let mut lens: Vec<usize> = counts.chain(prefixes.filter_map(Value::as_array).map(Vec::len)).collect();
        lens.extend([0, 1, 2]);
        let mut len = self.random.pick(&lens) + self.random.below(3) / 2;
        if depth == DEPTH && self.random.one_in(30) {
            // More than are compared pairwise, and more than bits in a word.
            len = 15 + self.random.below(60);
        }
        let mut items: Vec<Value> = Vec::new();
        for index in 0..len {
            let mut item = self.item(facets, index, depth);
            if len > 10 && !self.random.one_in(20) && items.contains(&item) {
                item = json!(index);
            }
            items.push(item);
        }
        Value::Array(items)
    }

    fn item(&mut self, facets: &[&'d Value], index: usize, depth: usize) -> Value {
        let mut within: Vec<&Value> = Vec::new();
        let mut rest: Vec<&Value> = Vec::new();
        for facet in facets {
            let is_list = facet.get("items").is_some_and(Value::is_array);
            match items(facet, if is_list { "items" } else { "prefixItems" }).get(index) {
                Some(prefix) => within.push(prefix),
                None => within.extend(facet.get(if is_list { "additionalItems" } else { "items" })),
            }
            rest.extend(facet.get("unevaluatedItems"));
            if self.random.one_in(2) {
                within.extend(facet.get("contains"));
            }
        }
        let facets = self.facets(if within.is_empty() { rest } else { within });
        self.value(&facets, depth - 1)
    }

    fn object(&mut self, facets: &[&'d Value], depth: usize) -> Value {
        let mut names: Vec<&str> = Vec::new();
        for facet in facets {
            let required = items(facet, "required").iter().filter_map(Value::as_str);
            names.extend(required.filter(|_| !self.random.one_in(12)));
            for keyword in ["properties", "dependentSchemas", "dependentRequired", "dependencies"] {
                let percent = if keyword == "properties" { 70 } else { 35 };
                for (name, dependency) in members(facet, keyword) {
                    if !self.random.percent(percent) {
                        continue;
                    }
                    names.push(name);
                    let needed = dependency.as_array().into_iter().flatten().filter_map(Value::as_str);
                    names.extend(needed.filter(|_| !self.random.one_in(6)));
                }
            }
            for (pattern, _) in members(facet, "patternProperties") {
                if let Some((_, one, two, none)) = PATTERNS.iter().find(|(known, ..)| pattern == known) {
                    names.push(self.random.pick(&[one, two, none]));
                }
            }
        }
        if depth < DEPTH {
            self.random.shuffle(&mut names);
            names.truncate(LEN_MAX);
        }
        names.extend((0..self.random.below(3)).map(|_| self.random.pick(&NAMES)));
        let enough = facets.iter().filter_map(|facet| count(facet, "minProperties")).max().unwrap_or(0);
        names.extend(NAMES.iter().take(enough.saturating_sub(names.len())));
        let members = names.into_iter().map(|name| (name.to_owned(), self.member(facets, name, depth)));
        Value::Object(members.collect())
    }

    fn member(&mut self, facets: &[&'d Value], name: &str, depth: usize) -> Value {
        let mut within: Vec<&Value> = Vec::new();
        let mut rest: Vec<&Value> = Vec::new();
        for facet in facets {
            match facet.get("properties").and_then(|properties| properties.get(name)) {
                Some(property) => within.push(property),
                None => rest.extend(facet.get("additionalProperties")),
            }
            for (pattern, schema) in members(facet, "patternProperties") {
                if PATTERNS.iter().any(|(known, one, two, _)| pattern == known && [*one, *two].contains(&name)) {
                    within.push(schema);
                }
            }
            rest.extend(facet.get("unevaluatedProperties"));
        }
        let facets = self.facets(if within.is_empty() { rest } else { within });
        self.value(&facets, depth - 1)
    }
}

/// The items of a keyword that is an array.
fn items<'d>(schema: &'d Value, keyword: &str) -> &'d [Value] {
    schema.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The members of a keyword that is an object.
fn members<'d>(schema: &'d Value, keyword: &str) -> impl Iterator<Item = (&'d String, &'d Value)> {
    schema.get(keyword).and_then(Value::as_object).into_iter().flatten()
}

fn count(schema: &Value, keyword: &str) -> Option<usize> {
    schema.get(keyword).and_then(Value::as_f64).map(|count| count as usize)
}

/// Whether a number is within the bounds of a schema, as far as doubles tell.
fn is_about_within(number: &Value, schema: &Value) -> bool {
    let value = number.as_f64().unwrap_or_default();
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    bound("minimum").is_none_or(|min| value >= min)
        && bound("maximum").is_none_or(|max| value <= max)
        && bound("exclusiveMinimum").is_none_or(|min| value > min)
        && bound("exclusiveMaximum").is_none_or(|max| value < max)
        && bound("multipleOf").is_none_or(|step| (value / step).fract().abs() < 1e-9)
}

/// Changes one thing somewhere in `value`.
pub(crate) fn mutate(value: &mut Value, random: &mut Random) {
    let stays = random.one_in(3);
    match value {
        Value::Array(items) if !items.is_empty() && !stays => {
            let index = random.below(items.len());
            return mutate(&mut items[index], random);
        }
        Value::Object(members) if !members.is_empty() && !stays => {
            let index = random.below(members.len());
            return mutate(members.iter_mut().nth(index).expect("a member").1, random);
        }
        _ => {}
    }
    if random.one_in(8) {
        *value = any_value(random, 2);
        return;
    }
    match value {
        Value::Null => *value = json!(false),
        Value::Bool(is_true) => *is_true = !*is_true,
        Value::Number(own) => *value = near(own, random),
        Value::String(text) => mutate_string(text, random),
        Value::Array(items) => mutate_array(items, random),
        Value::Object(members) => mutate_object(members, random),
    }
}

fn near(own: &Number, random: &mut Random) -> Value {
    if random.one_in(12) { number("-0") } else { number_near(&Value::Number(own.clone()), random) }
}

fn mutate_string(text: &mut String, random: &mut Random) {
    match random.below(5) {
        0 => drop(text.pop()),
        1 => text.push('😀'),
        2 => text.insert(0, 'é'),
        3 => text.push_str(random.pick(&STRINGS)),
        _ => *text = any_string(random),
    }
}

fn mutate_array(items: &mut Vec<Value>, random: &mut Random) {
    match random.below(5) {
        0 => drop(items.pop()),
        1 if !items.is_empty() => drop(items.remove(0)),
        2 if !items.is_empty() => items.push(random.pick(items)),
        3 => random.shuffle(items),
        _ => items.push(any_value(random, 1)),
    }
}

fn mutate_object(members: &mut Map<String, Value>, random: &mut Random) {
    let name = members.keys().nth(random.below(members.len().max(1))).cloned().unwrap_or_default();
    match random.below(3) {
        0 => drop(members.remove(&name)),
        1 => {
            let value = members.remove(&name).unwrap_or_default();
            members.insert(random.pick(&NAMES).to_owned(), value);
        }
        _ => drop(members.insert(random.pick(&NAMES).to_owned(), any_value(random, 1))),
    }
}
