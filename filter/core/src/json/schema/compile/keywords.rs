//! The keywords of one schema object.

use std::collections::BinaryHeap;

use serde_json::{Map, Value};

use super::{Compiled, Compiler, Draft, Position, Reference};
use crate::json::number::Decimal;
use crate::json::schema::constant::Constant;
use crate::json::schema::format::{Format, Formats};
use crate::json::schema::program::{
    ArrayRules, Condition, Constants, Contains, Dependency, InPlace, Node, NumberRules, ObjectRules, Place, Property,
    StringRules, TRUE, Types,
};
use crate::regex::Regex;

/// The members of one schema object, and where it stands.
struct Keywords<'a> {
    members: &'a Map<String, Value>,
    position: &'a Position,
}

impl<'a> Keywords<'a> {
    fn get(&self, keyword: &str) -> Option<&'a Value> {
        self.members.get(keyword)
    }

    fn number(&self, keyword: &str) -> Compiled<Option<Decimal>> {
        let Some(value) = self.get(keyword) else { return Ok(None) };
        let Value::Number(number) = value else { return Err(self.position.fault(keyword, "expected a number")) };
        Decimal::from_value(number)
            .map(Some)
            .ok_or_else(|| self.position.fault(keyword, "a number that no message may have"))
    }

    /// A count that is not negative; `5.0` is one too. What does not fit is as good as no bound.
    fn count(&self, keyword: &str) -> Compiled<Option<usize>> {
        let Some(number) = self.number(keyword)? else { return Ok(None) };
        match number.to_count() {
            Some(count) => Ok(Some(usize::try_from(count).unwrap_or(usize::MAX))),
            None if number.is_integer() && number.is_positive() => Ok(Some(usize::MAX)),
            None => Err(self.position.fault(keyword, "expected a whole number that is not negative")),
        }
    }

    /// From the smaller to the larger bound of a length.
    fn counts(&self, min: &str, max: &str) -> Compiled<Option<(usize, usize)>> {
        let (min, max) = (self.count(min)?, self.count(max)?);
        Ok((min.is_some() || max.is_some()).then(|| (min.unwrap_or(0), max.unwrap_or(usize::MAX))))
    }

    fn boolean(&self, keyword: &str) -> Compiled<bool> {
        match self.get(keyword) {
            None => Ok(false),
            Some(Value::Bool(boolean)) => Ok(*boolean),
            Some(_) => Err(self.position.fault(keyword, "expected true or false")),
        }
    }

    fn object(&self, keyword: &str) -> Compiled<Option<&'a Map<String, Value>>> {
        match self.get(keyword) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(_) => Err(self.position.fault(keyword, "expected an object")),
        }
    }

    fn names(&self, keyword: &str) -> Compiled<Vec<Box<str>>> {
        self.get(keyword).map_or(Ok(Vec::new()), |value| {
            names(value).ok_or_else(|| self.position.fault(keyword, "expected a list of different strings"))
        })
    }
}

fn names(value: &Value) -> Option<Vec<Box<str>>> {
    let names: Vec<Box<str>> =
        value.as_array()?.iter().map(|name| Some(name.as_str()?.into())).collect::<Option<_>>()?;
    // A sort by a heap is 5 KB less of code than the usual one, here and below.
    let sorted = names.iter().map(|name| &**name).collect::<BinaryHeap<&str>>().into_sorted_vec();
    sorted.is_sorted_by(|name, next| name != next).then_some(names)
}

/// Keywords that check something in another dialect, and nothing in this one: the author of a schema that has them relies on them.
const FOREIGN_TO_2020: [&str; 3] = ["$recursiveRef", "additionalItems", "dependencies"];

/// Likewise in draft-07.
const FOREIGN_TO_7: [&str; 9] = [
    "$dynamicRef",
    "$recursiveRef",
    "dependentRequired",
    "dependentSchemas",
    "maxContains",
    "minContains",
    "prefixItems",
    "unevaluatedItems",
    "unevaluatedProperties",
];

impl Compiler<'_> {
    pub(super) fn keywords(
        &mut self,
        members: &Map<String, Value>,
        position: &Position,
        place: Place,
    ) -> Compiled<Node> {
        let draft = self.draft(position);
        let mut node = Node { resource: position.resource, ..Node::default() };
        let all = Keywords { members, position };
        self.reference(&all, "$ref", place)?;
        // "All other properties in a "$ref" object MUST be ignored" (draft-07 Core §8.3); what they define can be referred to.
        if draft == Draft::V7 && members.contains_key("$ref") {
            self.definitions(&all)?;
            return Ok(node);
        }
        let foreign = if draft == Draft::V2020 { FOREIGN_TO_2020.as_slice() } else { &FOREIGN_TO_7 };
        if let Some(keyword) = foreign.iter().find(|keyword| members.contains_key(**keyword)) {
            return Err(
                position.fault(keyword, "checks nothing in this dialect: use its own keywords, or another $schema")
            );
        }
        if draft == Draft::V2020 {
            self.reference(&all, "$dynamicRef", place)?;
        }
        self.definitions(&all)?;
        node.types = types(&all)?;
        node.constants = constants(&all)?.map(Box::new);
        node.number = numbers(&all)?.map(Box::new);
        node.string = self.strings(&all)?.map(Box::new);
        node.array = self.arrays(&all, draft)?.map(Box::new);
        node.object = self.objects(&all, draft)?.map(Box::new);
        node.in_place = self.in_place_keywords(&all, draft)?.map(Box::new);
        if draft == Draft::V2020 {
            node.unevaluated_items = self.subschema(&all, "unevaluatedItems")?;
            node.unevaluated_properties = self.subschema(&all, "unevaluatedProperties")?;
        }
        Ok(node)
    }

    fn reference(&mut self, all: &Keywords<'_>, keyword: &str, node: Place) -> Compiled<()> {
        let Some(text) = super::text(all.members, all.position, keyword)? else { return Ok(()) };
        let (pointer, resource) = (all.position.at(keyword), all.position.resource);
        let is_dynamic = keyword == "$dynamicRef";
        self.references.push(Reference { node, pointer, resource, text: text.to_owned(), is_dynamic });
        Ok(())
    }

    /// They are compiled so that what they are called is known.
    fn definitions(&mut self, all: &Keywords<'_>) -> Compiled<()> {
        for keyword in ["$defs", "definitions"] {
            self.subschemas_by_name(all, keyword)?;
        }
        Ok(())
    }

    fn subschema(&mut self, all: &Keywords<'_>, keyword: &str) -> Compiled<Option<Place>> {
        all.get(keyword).map(|schema| self.schema(schema, all.position.below(keyword))).transpose()
    }

    fn subschemas(&mut self, all: &Keywords<'_>, keyword: &str) -> Compiled<Option<Vec<Place>>> {
        let Some(value) = all.get(keyword) else { return Ok(None) };
        let list = value.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| all.position.fault(keyword, "expected a list of schemas, at least one"))?;
        let below = all.position.below(keyword);
        let compile = |(index, schema): (usize, &Value)| self.schema(schema, below.below(&index.to_string()));
        list.iter().enumerate().map(compile).collect::<Compiled<_>>().map(Some)
    }

    fn subschemas_by_name<'a>(&mut self, all: &Keywords<'a>, keyword: &str) -> Compiled<Vec<(&'a str, Place)>> {
        let below = all.position.below(keyword);
        let schemas = all.object(keyword)?.into_iter().flatten();
        schemas.map(|(name, schema)| Ok((name.as_str(), self.schema(schema, below.below(name))?))).collect()
    }

    fn regex(&mut self, pattern: &str, position: &Position, keyword: &str) -> Compiled<Regex> {
        self.builder.regex(pattern).map_err(|error| position.fault(keyword, error.to_string()))
    }

    fn strings(&mut self, all: &Keywords<'_>) -> Compiled<Option<StringRules>> {
        let len = all.counts("minLength", "maxLength")?;
        let pattern = super::text(all.members, all.position, "pattern")?;
        let pattern = pattern.map(|pattern| self.regex(pattern, all.position, "pattern")).transpose()?;
        let format = super::text(all.members, all.position, "format")?;
        let format = match (self.formats, format) {
            (Formats::Assert, Some(name)) => {
                let unknown = || all.position.fault("format", "an unknown format (formats: annotate lets it pass)");
                Some(Format::from_name(name).ok_or_else(unknown)?)
            }
            (Formats::Annotate, _) | (_, None) => None,
        };
        if len.is_none() && pattern.is_none() && format.is_none() {
            return Ok(None);
        }
        let (len_min, len_max) = len.unwrap_or((0, usize::MAX));
        Ok(Some(StringRules { len_min, len_max, pattern, format }))
    }

    fn arrays(&mut self, all: &Keywords<'_>, draft: Draft) -> Compiled<Option<ArrayRules>> {
        let len = all.counts("minItems", "maxItems")?;
        let unique = all.boolean("uniqueItems")?;
        let (prefix, items) = match (draft, all.get("items")) {
            (Draft::V7, Some(Value::Array(list))) if list.is_empty() => (None, self.subschema(all, "additionalItems")?),
            (Draft::V7, Some(Value::Array(_))) => {
                (self.subschemas(all, "items")?, self.subschema(all, "additionalItems")?)
            }
            (Draft::V7, _) => {
                // It applies to nothing, but may be referred to.
                self.subschema(all, "additionalItems")?;
                (None, self.subschema(all, "items")?)
            }
            (Draft::V2020, _) => (self.subschemas(all, "prefixItems")?, self.subschema(all, "items")?),
        };
        let counts = match draft {
            Draft::V2020 => (all.count("minContains")?, all.count("maxContains")?),
            Draft::V7 => (None, None),
        };
        let contains = self.subschema(all, "contains")?.map(|schema| Contains {
            schema,
            count_min: counts.0.unwrap_or(1),
            count_max: counts.1.unwrap_or(usize::MAX),
        });
        if len.is_none() && !unique && prefix.is_none() && items.is_none() && contains.is_none() {
            return Ok(None);
        }
        let (len_min, len_max) = len.unwrap_or((0, usize::MAX));
        Ok(Some(ArrayRules { len_min, len_max, unique, prefix: prefix.unwrap_or_default(), items, contains }))
    }

    fn objects(&mut self, all: &Keywords<'_>, draft: Draft) -> Compiled<Option<ObjectRules>> {
        const KEYWORDS: [&str; 9] = [
            "additionalProperties",
            "dependencies",
            "dependentRequired",
            "maxProperties",
            "minProperties",
            "patternProperties",
            "properties",
            "propertyNames",
            "required",
        ];
        if !KEYWORDS.iter().any(|keyword| all.members.contains_key(*keyword)) {
            return Ok(None);
        }
        let (len_min, len_max) = all.counts("minProperties", "maxProperties")?.unwrap_or((0, usize::MAX));
        let mut properties: Vec<Property> = self
            .subschemas_by_name(all, "properties")?
            .into_iter()
            .map(|(name, schema)| Property::new(name, Some(schema), None))
            .collect();
        let required = all.names("required")?;
        let required_count = required.len();
        for (index, name) in required.into_iter().enumerate() {
            match properties.iter_mut().find(|property| property.name == name) {
                Some(property) => property.required = Some(index),
                None => properties.push(Property::new(&name, None, Some(index))),
            }
        }
        let mut sorted: Vec<Property> = Vec::with_capacity(properties.len());
        for property in properties {
            let index = sorted.partition_point(|other| other.key() <= property.key());
            sorted.insert(index, property);
        }
        let properties = sorted;
        let mut patterns = Vec::new();
        for (pattern, schema) in self.subschemas_by_name(all, "patternProperties")? {
            let position = all.position.below("patternProperties");
            patterns.push((self.regex(pattern, &position, pattern)?, schema));
        }
        Ok(Some(ObjectRules {
            len_min,
            len_max,
            properties,
            required_count,
            patterns,
            additional: self.subschema(all, "additionalProperties")?,
            names: self.subschema(all, "propertyNames")?,
            dependent_required: dependent_required(all, draft)?,
        }))
    }

    fn in_place_keywords(&mut self, all: &Keywords<'_>, draft: Draft) -> Compiled<Option<InPlace>> {
        // What stands under `then` without an `if` may be referred to.
        let branches = [self.subschema(all, "then")?, self.subschema(all, "else")?];
        let [then, otherwise] = branches.map(|branch| branch.unwrap_or(TRUE));
        let condition = self.subschema(all, "if")?.map(|when| Condition { when, then, otherwise });
        let rules = InPlace {
            reference: None,
            dynamic_reference: None,
            all_of: self.subschemas(all, "allOf")?.unwrap_or_default(),
            any_of: self.subschemas(all, "anyOf")?,
            one_of: self.subschemas(all, "oneOf")?,
            not: self.subschema(all, "not")?,
            condition,
            dependent_schemas: self.dependent_schemas(all, draft)?,
        };
        let is_empty = rules.all_of.is_empty()
            && rules.any_of.is_none()
            && rules.one_of.is_none()
            && rules.not.is_none()
            && rules.condition.is_none()
            && rules.dependent_schemas.is_empty();
        Ok((!is_empty).then_some(rules))
    }

    fn dependent_schemas(&mut self, all: &Keywords<'_>, draft: Draft) -> Compiled<Vec<(Box<str>, Place)>> {
        if draft == Draft::V2020 {
            let schemas = self.subschemas_by_name(all, "dependentSchemas")?;
            return Ok(schemas.into_iter().map(|(name, place)| (name.into(), place)).collect());
        }
        let below = all.position.below("dependencies");
        let dependencies = all.object("dependencies")?.into_iter().flatten();
        let schemas = dependencies.filter(|(_, dependency)| !dependency.is_array());
        schemas.map(|(name, schema)| Ok((name.as_str().into(), self.schema(schema, below.below(name))?))).collect()
    }
}

fn dependent_required(all: &Keywords<'_>, draft: Draft) -> Compiled<Vec<Dependency>> {
    let keyword = if draft == Draft::V2020 { "dependentRequired" } else { "dependencies" };
    let below = all.position.below(keyword);
    let lists = all.object(keyword)?.into_iter().flatten();
    let lists = lists.filter(|(_, list)| draft == Draft::V2020 || list.is_array());
    let list = |(name, list): (&String, &Value)| {
        let names = names(list).ok_or_else(|| below.fault(name, "expected a list of different strings"))?;
        Ok((name.as_str().into(), names))
    };
    lists.map(list).collect()
}

fn types(all: &Keywords<'_>) -> Compiled<Types> {
    let Some(value) = all.get("type") else { return Ok(Types::default()) };
    let bit = |name: &Value| match name.as_str() {
        Some("array") => Some(Types::ARRAY),
        Some("boolean") => Some(Types::BOOLEAN),
        Some("integer") => Some(Types::INTEGER),
        Some("null") => Some(Types::NULL),
        Some("number") => Some(Types::NUMBER),
        Some("object") => Some(Types::OBJECT),
        Some("string") => Some(Types::STRING),
        Some(_) | None => None,
    };
    let bits = match value {
        Value::Array(names) if !names.is_empty() => names.iter().try_fold(0, |bits, name| Some(bits | bit(name)?)),
        name => bit(name),
    };
    bits.map(Types).ok_or_else(|| all.position.fault("type", "expected the name of a type, or a list of them"))
}

/// `const` and `enum`, which have to hold both.
fn constants(all: &Keywords<'_>) -> Compiled<Option<Constants>> {
    let listed = match all.get("enum") {
        None => None,
        Some(Value::Array(values)) => Some(values.as_slice()),
        Some(_) => return Err(all.position.fault("enum", "expected a list")),
    };
    let values: Vec<&Value> = match (listed, all.get("const")) {
        (None, None) => return Ok(None),
        (Some(listed), None) => listed.iter().collect(),
        (None, Some(constant)) => vec![constant],
        (Some(listed), Some(constant)) => listed.iter().filter(|value| is_equal(value, constant)).collect(),
    };
    let keyword = if all.get("const").is_some() { "const" } else { "enum" };
    let mut constants = Constants { keyword, ..Constants::default() };
    for value in values {
        match Constant::new(value) {
            Some(Constant::String(string)) => constants.strings.push(string),
            Some(Constant::Number(number)) => constants.numbers.push(number),
            Some(other) => constants.others.push(other),
            // No message can have this number.
            None => {}
        }
    }
    constants.strings = BinaryHeap::from(constants.strings).into_sorted_vec();
    constants.numbers = BinaryHeap::from(constants.numbers).into_sorted_vec();
    Ok(Some(constants))
}

/// By the values of numbers.
fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            Decimal::from_value(one).is_some_and(|one| Decimal::from_value(other) == Some(one))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| is_equal(one, other)))
        }
        (one, other) => one == other,
    }
}

fn numbers(all: &Keywords<'_>) -> Compiled<Option<NumberRules>> {
    let mut rules = NumberRules {
        integers: None,
        minimum: all.number("minimum")?,
        exclusive_minimum: all.number("exclusiveMinimum")?,
        maximum: all.number("maximum")?,
        exclusive_maximum: all.number("exclusiveMaximum")?,
        multiple_of: all.number("multipleOf")?,
    };
    if rules.multiple_of.is_some_and(|divisor| !divisor.is_positive()) {
        return Err(all.position.fault("multipleOf", "expected a number greater than 0"));
    }
    rules.integers = rules.integers();
    let bounds = [rules.minimum, rules.exclusive_minimum, rules.maximum, rules.exclusive_maximum, rules.multiple_of];
    Ok(bounds.iter().any(Option::is_some).then_some(rules))
}
