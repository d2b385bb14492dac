//! Gives a document its names (`$id`, `$anchor`, `$dynamicAnchor`) and leads its references to them.
//!
//! No reference leads back to its own schema without a step into the value: such schemas have no meaning, and are refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::random::Random;
use crate::schemas::Draft;

/// A document whose references lead somewhere.
#[derive(Debug)]
pub(crate) struct Document {
    /// The schema.
    pub(crate) root: Value,
    /// What each reference may lead to: from the pointer of its schema to the pointers of its targets.
    pub(crate) targets: BTreeMap<String, Vec<String>>,
}

/// How a subschema belongs to the schema that it is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Edge {
    /// It judges the same value.
    InPlace,
    /// It judges a value within, or none.
    Other,
}

/// The subschemas of `schema`, by their pointers from it.
pub(crate) fn subschemas(schema: &Value) -> Vec<(String, Edge, &Value)> {
    let mut found = Vec::new();
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        let edge = match keyword.as_str() {
            "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas" | "dependencies" => {
                Edge::InPlace
            }
            _ => Edge::Other,
        };
        match (keyword.as_str(), value) {
            ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(items)) => {
                found.extend(items.iter().enumerate().map(|(index, item)| (format!("/{keyword}/{index}"), edge, item)));
            }
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" | "dependencies",
                Value::Object(members),
            ) => {
                let schemas = members.iter().filter(|(_, member)| !member.is_array());
                found.extend(schemas.map(|(name, schema)| (format!("/{keyword}/{}", escape(name)), edge, schema)));
            }
            (
                "not"
                | "if"
                | "then"
                | "else"
                | "items"
                | "contains"
                | "additionalProperties"
                | "propertyNames"
                | "additionalItems"
                | "unevaluatedItems"
                | "unevaluatedProperties",
                _,
            ) => found.push((format!("/{keyword}"), edge, value)),
            _ => {}
        }
    }
    found
}

/// A name as it stands in a JSON Pointer (RFC 6901 §3).
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Completes what [`crate::schemas::write`] wrote.
pub(crate) fn resolve(root: Value, draft: Draft, random: &mut Random) -> Document {
    let mut linker = Linker { draft, random, places: Vec::new(), root };
    let root = linker.root.clone();
    linker.collect(&root, String::new(), 0, false);
    linker.name_resources();
    linker.name_anchors();
    linker.lead_references();
    let targets = linker.places.iter().filter(|place| !place.targets.is_empty());
    let pointer = |index: &usize| linker.places[*index].pointer.clone();
    let targets = targets.map(|place| (place.pointer.clone(), place.targets.iter().map(pointer).collect())).collect();
    Document { root: linker.root, targets }
}

/// A schema of the document.
struct Place {
    pointer: String,
    parent: usize,
    /// Whether a `$ref` of draft 07 hides it or its names.
    hidden: bool,
    /// The places that judge the same value.
    in_place: Vec<usize>,
    targets: Vec<usize>,
    anchor: Option<String>,
    dynamic_anchor: bool,
    /// The absolute URI, for the root of a resource; empty where the root has none.
    uri: Option<String>,
}

struct Linker<'r> {
    draft: Draft,
    random: &'r mut Random,
    places: Vec<Place>,
    root: Value,
}

const FOLDER: &str = "http://example.com/";

impl Linker<'_> {
    fn collect(&mut self, schema: &Value, pointer: String, parent: usize, hidden: bool) -> usize {
        let index = self.places.len();
        let hidden = hidden || self.draft == Draft::Seven && schema.get("$ref").is_some();
        let uri = (index == 0).then(String::new);
        let (in_place, targets) = Default::default();
        let place = Place { pointer, parent, hidden, in_place, targets, anchor: None, dynamic_anchor: false, uri };
        self.places.push(place);
        for (step, edge, subschema) in subschemas(schema) {
            let pointer = format!("{}{step}", self.places[index].pointer);
            let child = self.collect(subschema, pointer, index, hidden);
            if edge == Edge::InPlace {
                self.places[index].in_place.push(child);
            }
        }
        index
    }

    fn set(&mut self, index: usize, keyword: &str, value: &str) -> bool {
        match self.root.pointer_mut(&self.places[index].pointer) {
            Some(Value::Object(schema)) if !schema.contains_key(keyword) && !self.places[index].hidden => {
                schema.insert(keyword.to_owned(), json!(value));
                true
            }
            _ => false,
        }
    }

    fn name_resources(&mut self) {
        if self.random.one_in(3) && self.set(0, "$id", &format!("{FOLDER}root.json")) {
            self.places[0].uri = Some(format!("{FOLDER}root.json"));
        }
        // Definitions with definitions of their own always are resources, others sometimes.
        let mut indices: Vec<usize> = (1..self.places.len()).filter(|index| self.has_definitions(*index)).collect();
        if indices.is_empty() && self.random.one_in(3) {
            indices = (0..self.random.below(3)).map(|_| self.random.below(self.places.len())).collect();
            // Outer resources come first, so that what is relative is relative to what stays.
            indices.sort_unstable();
            indices.dedup();
            indices.retain(|index| *index > 0);
        }
        for (number, index) in indices.into_iter().enumerate() {
            let base = self.base(index).to_owned();
            let (id, uri) = if self.random.one_in(5) {
                let uri = format!("urn:example:{number}");
                (uri.clone(), uri)
            } else {
                let uri = format!("{FOLDER}sub{number}.json");
                let id = self.relative(&base, &uri);
                (id, uri)
            };
            if self.set(index, "$id", &id) {
                self.places[index].uri = Some(uri);
            }
        }
    }

    fn has_definitions(&self, index: usize) -> bool {
        self.root.pointer(&self.places[index].pointer).is_some_and(|schema| schema.get("$defs").is_some())
    }

    /// Whether each resource is a definition: no other way leads into it than a reference.
    fn are_entered_by_reference(&self) -> bool {
        self.places
            .iter()
            .skip(1)
            .filter(|place| place.uri.is_some())
            .all(|place| place.pointer.rsplit_once('/').is_some_and(|(outer, _)| outer.ends_with("/$defs")))
    }

    /// The place at which the resource of `index` begins.
    fn resource(&self, index: usize) -> usize {
        if self.places[index].uri.is_some() { index } else { self.resource(self.places[index].parent) }
    }

    fn base(&self, index: usize) -> &str {
        self.places[self.resource(index)].uri.as_deref().unwrap_or_default()
    }

    /// `uri` as a reference from `base`.
    fn relative(&mut self, base: &str, uri: &str) -> String {
        match uri.strip_prefix(FOLDER).filter(|_| base.starts_with(FOLDER)) {
            Some(name) => match self.random.below(6) {
                0 => uri.to_owned(),
                1 => format!("/{name}"),
                2 => format!("./{name}"),
                3 => format!("folder/../{name}"),
                4 => format!("//example.com/{name}"),
                _ => name.to_owned(),
            },
            None => uri.to_owned(),
        }
    }

    fn name_anchors(&mut self) {
        let mut dynamic = BTreeSet::new();
        for index in 0..self.places.len() {
            if self.random.one_in(10) {
                let name = format!("anchor-{index}");
                let is_set = match self.draft {
                    // Where `$id` is a plain name, it is what `$anchor` became.
                    Draft::Seven => index > 0 && self.set(index, "$id", &format!("#{name}")),
                    Draft::Latest => self.set(index, "$anchor", &name),
                };
                self.places[index].anchor = is_set.then_some(name);
            }
            let is_resource = self.places[index].uri.is_some();
            let is_named_so = self.places[index].pointer.ends_with("/$defs/node") && self.random.percent(75);
            let is_dynamic = is_named_so || self.random.one_in(if is_resource { 4 } else { 8 });
            if self.draft == Draft::Latest && is_dynamic {
                let resource = self.resource(index);
                if !dynamic.contains(&resource) && self.set(index, "$dynamicAnchor", "node") {
                    dynamic.insert(resource);
                    self.places[index].dynamic_anchor = true;
                }
            }
        }
    }

    fn lead_references(&mut self) {
        for index in 0..self.places.len() {
            for keyword in ["$ref", "$dynamicRef"] {
                let schema = self.root.pointer(&self.places[index].pointer);
                if schema.and_then(|schema| schema.get(keyword)) != Some(&Value::Null) {
                    continue;
                }
                let found = (0..8).find_map(|_| self.reference(index, keyword));
                let schema = self.root.pointer_mut(&self.places[index].pointer).and_then(Value::as_object_mut);
                let schema = schema.expect("the schema with the reference");
                match found {
                    None => drop(schema.remove(keyword)),
                    Some((reference, targets)) => {
                        schema.insert(keyword.to_owned(), json!(reference));
                        self.places[index].in_place.extend(&targets);
                        self.places[index].targets.extend(&targets);
                    }
                }
            }
        }
    }

    fn target(&mut self, keyword: &str) -> usize {
        let all = |belongs: &dyn Fn(&Place) -> bool| -> Vec<usize> {
            (0..self.places.len()).filter(|index| belongs(&self.places[*index])).collect()
        };
        let stuff = all(&|place| place.pointer.ends_with("/$defs/stuff"));
        let preferred = match keyword {
            "$dynamicRef" => all(&|place| place.dynamic_anchor),
            // From resource to resource.
            _ if !stuff.is_empty() && self.random.percent(60) => stuff,
            _ => all(&|place| place.pointer.starts_with("/$defs/") || place.pointer.starts_with("/definitions/")),
        };
        match self.random.below(8) {
            0 => 0,
            1..=2 => self.random.below(self.places.len()),
            _ if preferred.is_empty() => self.random.below(self.places.len()),
            _ => self.random.pick(&preferred),
        }
    }

    /// A target at random and the reference to it, unless it would go round in circles.
    fn reference(&mut self, from: usize, keyword: &str) -> Option<(String, Vec<usize>)> {
        let target = self.target(keyword);
        // Where there are several dynamic anchors, the oracle goes wrong twice. It takes a `$ref` to one for dynamic, which it is
        // not (JSON Schema Core §8.2.3.1), and it forgets the outer resource of one that was entered by descent (§8.2.3.2).
        let is_alone = self.places.iter().filter(|place| place.dynamic_anchor).count() == 1;
        let is_sound = is_alone || keyword == "$dynamicRef" && self.are_entered_by_reference();
        let is_dynamic = self.places[target].dynamic_anchor && is_sound && self.random.percent(80);
        let targets = if is_dynamic {
            (0..self.places.len()).filter(|index| self.places[*index].dynamic_anchor).collect()
        } else {
            vec![target]
        };
        if targets.iter().any(|target| self.leads(*target, from)) {
            return None;
        }
        let resource = self.resource(target);
        let uri = self.places[resource].uri.clone().unwrap_or_default();
        let base = self.base(from).to_owned();
        let document = if self.resource(from) == resource && self.random.percent(85) {
            String::new()
        } else if uri.is_empty() {
            return None;
        } else {
            self.relative(&base, &uri)
        };
        let fragment = match &self.places[target].anchor {
            _ if is_dynamic => "#node".to_owned(),
            Some(anchor) if self.random.percent(70) => format!("#{anchor}"),
            _ => {
                let within = self.places[target].pointer.strip_prefix(&self.places[resource].pointer)?.to_owned();
                self.fragment(&within)
            }
        };
        let fragment = if fragment == "#" && !document.is_empty() && self.random.one_in(2) { "" } else { &fragment };
        Some((format!("{document}{fragment}"), targets))
    }

    /// Whether the value at hand gets from one place to the other.
    fn leads(&self, from: usize, to: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(place) = open.pop() {
            if place == to {
                return true;
            }
            if seen.insert(place) {
                open.extend(&self.places[place].in_place);
            }
        }
        false
    }

    /// A pointer as a fragment (RFC 6901 §6), which may escape more than it has to.
    fn fragment(&mut self, pointer: &str) -> String {
        let mut fragment = "#".to_owned();
        for byte in pointer.bytes() {
            let is_plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte);
            if is_plain && !(byte == b'$' && self.random.one_in(4)) {
                fragment.push(char::from(byte));
            } else {
                fragment.push_str(&format!("%{byte:02X}"));
            }
        }
        fragment
    }
}
