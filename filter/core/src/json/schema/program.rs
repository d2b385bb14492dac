//! What a schema is compiled to: a list of nodes that name each other by index.

use super::constant::Constant;
use super::format::Format;
use crate::json::document::fingerprint;
use crate::json::number::Decimal;
use crate::regex::Regex;

/// The index of a node.
pub(super) type Place = usize;

/// The place of `true`, which everything satisfies.
pub(super) const TRUE: Place = 0;

/// The place of `false`, which nothing satisfies.
pub(super) const FALSE: Place = 1;

/// A compiled schema.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Place,
    /// By name, the resources with a `$dynamicAnchor` of that name, and its place there.
    pub(super) dynamic_anchors: Vec<(String, Vec<(usize, Place)>)>,
}

/// One schema object: groups of keywords that are mostly absent.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) types: Types,
    /// The schema resource that it stands in.
    pub(super) resource: usize,
    pub(super) constants: Option<Box<Constants>>,
    pub(super) number: Option<Box<NumberRules>>,
    pub(super) string: Option<Box<StringRules>>,
    pub(super) array: Option<Box<ArrayRules>>,
    pub(super) object: Option<Box<ObjectRules>>,
    pub(super) in_place: Option<Box<InPlace>>,
    pub(super) unevaluated_items: Option<Place>,
    pub(super) unevaluated_properties: Option<Place>,
}

/// The types that are allowed, a bit each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Types(pub(super) u8);

impl Types {
    pub(super) const NULL: u8 = 1;
    pub(super) const BOOLEAN: u8 = 1 << 1;
    pub(super) const OBJECT: u8 = 1 << 2;
    pub(super) const ARRAY: u8 = 1 << 3;
    pub(super) const NUMBER: u8 = 1 << 4;
    pub(super) const STRING: u8 = 1 << 5;
    pub(super) const INTEGER: u8 = 1 << 6;
}

impl Default for Types {
    fn default() -> Self {
        Self(u8::MAX)
    }
}

/// `enum` and `const`: strings and numbers apart, in their order.
#[derive(Debug, Default)]
pub(super) struct Constants {
    /// The keyword that they are of.
    pub(super) keyword: &'static str,
    pub(super) strings: Vec<Box<str>>,
    pub(super) numbers: Vec<Decimal>,
    pub(super) others: Vec<Constant>,
}

#[derive(Debug, Default)]
pub(super) struct NumberRules {
    /// From the least to the greatest, where these are all that is asked of an integer.
    pub(super) integers: Option<(i64, i64)>,
    pub(super) minimum: Option<Decimal>,
    pub(super) exclusive_minimum: Option<Decimal>,
    pub(super) maximum: Option<Decimal>,
    pub(super) exclusive_maximum: Option<Decimal>,
    pub(super) multiple_of: Option<Decimal>,
}

/// Lengths in code points.
#[derive(Debug)]
pub(super) struct StringRules {
    pub(super) len_min: usize,
    pub(super) len_max: usize,
    pub(super) pattern: Option<Regex>,
    pub(super) format: Option<Format>,
}

#[derive(Debug)]
pub(super) struct ArrayRules {
    pub(super) len_min: usize,
    pub(super) len_max: usize,
    pub(super) unique: bool,
    pub(super) prefix: Vec<Place>,
    pub(super) items: Option<Place>,
    pub(super) contains: Option<Contains>,
}

#[derive(Debug)]
pub(super) struct Contains {
    pub(super) schema: Place,
    pub(super) count_min: usize,
    pub(super) count_max: usize,
}

#[derive(Debug)]
pub(super) struct ObjectRules {
    pub(super) len_min: usize,
    pub(super) len_max: usize,
    /// What `properties` and `required` name, by their fingerprints.
    pub(super) properties: Vec<Property>,
    pub(super) required_count: usize,
    pub(super) patterns: Vec<(Regex, Place)>,
    pub(super) additional: Option<Place>,
    pub(super) names: Option<Place>,
    pub(super) dependent_required: Vec<Dependency>,
}

/// A name, and those that have to be there with it.
pub(super) type Dependency = (Box<str>, Vec<Box<str>>);

#[derive(Debug)]
pub(super) struct Property {
    /// See [`fingerprint`].
    pub(super) print: u64,
    pub(super) name: Box<str>,
    pub(super) schema: Option<Place>,
    /// Which of the required ones it is.
    pub(super) required: Option<usize>,
}

/// What is applied to the instance itself.
#[derive(Debug, Default)]
pub(super) struct InPlace {
    pub(super) reference: Option<Place>,
    pub(super) dynamic_reference: Option<DynamicReference>,
    pub(super) all_of: Vec<Place>,
    pub(super) any_of: Option<Vec<Place>>,
    pub(super) one_of: Option<Vec<Place>>,
    pub(super) not: Option<Place>,
    pub(super) condition: Option<Condition>,
    pub(super) dependent_schemas: Vec<(Box<str>, Place)>,
}

#[derive(Debug)]
pub(super) struct DynamicReference {
    /// Where it leads if nothing in the dynamic scope has that anchor.
    pub(super) place: Place,
    /// The index in [`Program::dynamic_anchors`].
    pub(super) anchor: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Condition {
    pub(super) when: Place,
    pub(super) then: Place,
    pub(super) otherwise: Place,
}

impl Property {
    /// What they are sorted by.
    pub(super) fn key(&self) -> (u64, &str) {
        (self.print, &self.name)
    }

    pub(super) fn new(name: &str, schema: Option<Place>, required: Option<usize>) -> Self {
        Self { print: fingerprint(name.as_bytes()), name: name.into(), schema, required }
    }
}

impl NumberRules {
    /// The bounds as they are for integers, where they are integers.
    pub(super) fn integers(&self) -> Option<(i64, i64)> {
        if self.exclusive_minimum.is_some() || self.exclusive_maximum.is_some() || self.multiple_of.is_some() {
            return None;
        }
        let bound = |bound: Option<Decimal>, none: i64| bound.map_or(Some(none), |bound| bound.to_i64());
        Some((bound(self.minimum, i64::MIN)?, bound(self.maximum, i64::MAX)?))
    }
}

impl InPlace {
    /// Every place that it may lead to.
    pub(super) fn places<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = Place> + 'a {
        let condition =
            self.condition.iter().flat_map(|condition| [condition.when, condition.then, condition.otherwise]);
        let lists = [&self.any_of, &self.one_of].into_iter().flatten().flatten().copied();
        let dynamic = self.dynamic_reference.iter().flat_map(|reference| {
            let anchored = reference.anchor.and_then(|anchor| program.dynamic_anchors.get(anchor));
            let anchored = anchored.into_iter().flat_map(|(_, places)| places.iter().map(|(_, place)| *place));
            core::iter::once(reference.place).chain(anchored)
        });
        let dependent = self.dependent_schemas.iter().map(|(_, place)| *place);
        let single = self.reference.into_iter().chain(self.not);
        single.chain(self.all_of.iter().copied()).chain(lists).chain(condition).chain(dynamic).chain(dependent)
    }
}
