//! Writes schemas: every keyword of drafts 2020-12 and 07, few at a time, about values of one kind, so that they interact.
//!
//! A reference is written as `null`: [`crate::references`] leads it somewhere when the document stands.

use serde_json::{Map, Value, json};

use crate::random::Random;
use crate::samples::{DEFINITIONS, FORMATS, NAMES, PATTERNS, any_number, any_string, any_value, number, number_near};

/// The version of JSON Schema that a document follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Draft {
    /// Draft 07.
    Seven,
    /// Draft 2020-12.
    Latest,
}

/// The kind of value that a schema is mostly about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Theme {
    Any,
    Array,
    Number,
    Object,
    String,
}

const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Writes one document.
pub(crate) fn write(random: &mut Random, draft: Draft) -> Value {
    let mut author = Author { random, draft };
    if author.random.one_in(100) {
        return json!(author.random.one_in(2));
    }
    let theme = author.theme();
    // The oracle compiles a schema anew for each way that resources were entered: large ones that return take it for ever.
    let is_library = draft == Draft::Latest && author.random.one_in(8);
    let depth = if is_library { 1 } else { author.random.below(3) + 1 };
    let mut root = author.object(theme, depth);
    let count = author.random.below(4);
    if is_library {
        author.add_library(theme, &mut root);
    } else if count > 0 {
        let definitions = author.schemas_by_name(count, &DEFINITIONS, depth);
        let keyword = if draft == Draft::Seven { "definitions" } else { "$defs" };
        root.insert(keyword.to_owned(), definitions);
    }
    match draft {
        Draft::Seven => {
            let uri = author
                .random
                .pick(&["http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-07/schema"]);
            root.insert("$schema".to_owned(), json!(uri));
        }
        Draft::Latest if author.random.one_in(2) => {
            root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        }
        Draft::Latest => {}
    }
    Value::Object(root)
}

struct Author<'r> {
    random: &'r mut Random,
    draft: Draft,
}

impl Author<'_> {
    fn theme(&mut self) -> Theme {
        let themes =
            [Theme::Object, Theme::Object, Theme::Array, Theme::Array, Theme::Number, Theme::String, Theme::Any];
        self.random.pick(&themes)
    }

    /// A schema for a value within the value at hand.
    fn child(&mut self, depth: usize) -> Value {
        let theme =
            if depth < 2 { self.random.pick(&[Theme::Number, Theme::String, Theme::Any]) } else { self.theme() };
        self.schema(theme, depth.saturating_sub(1))
    }

    /// A schema for the value at hand.
    fn branch(&mut self, theme: Theme, depth: usize) -> Value {
        let theme = if self.random.percent(85) { theme } else { self.theme() };
        self.schema(theme, depth.saturating_sub(1))
    }

    fn schema(&mut self, theme: Theme, depth: usize) -> Value {
        match self.random.below(40) {
            0 | 1 => json!(true),
            2 => json!(false),
            3 => json!({}),
            _ => Value::Object(self.object(theme, depth)),
        }
    }

    fn object(&mut self, theme: Theme, depth: usize) -> Map<String, Value> {
        let mut schema = Map::new();
        if self.random.one_in(3) {
            self.add_type(theme, &mut schema);
        }
        for _ in 0..self.random.below(3) + usize::from(depth == 0 || theme == Theme::Any) {
            match theme {
                Theme::Any => self.add_any(&mut schema),
                Theme::Array => self.add_array(depth, &mut schema),
                Theme::Number => self.add_number(&mut schema),
                Theme::Object => self.add_object(depth, &mut schema),
                Theme::String => self.add_string(&mut schema),
            }
        }
        if depth > 0 {
            for _ in 0..self.random.below(3) {
                self.add_applicator(theme, depth, &mut schema);
            }
            if self.random.one_in(3) {
                self.add_unevaluated(theme, depth, &mut schema);
            }
        }
        if self.random.one_in(5) {
            self.add_reference(&mut schema);
        }
        if self.random.one_in(12) {
            self.add_annotation(&mut schema);
        }
        schema
    }

    fn add(&self, schema: &mut Map<String, Value>, keyword: &str, value: Value) {
        schema.insert(keyword.to_owned(), value);
    }

    fn add_type(&mut self, theme: Theme, schema: &mut Map<String, Value>) {
        let own = match theme {
            Theme::Any => self.random.pick(&TYPES),
            Theme::Array => "array",
            Theme::Number => self.random.pick(&["integer", "number"]),
            Theme::Object => "object",
            Theme::String => "string",
        };
        let mut types = vec![own];
        for _ in 0..self.random.below(4) {
            let other = self.random.pick(&TYPES);
            if !types.contains(&other) {
                types.push(other);
            }
        }
        let single = self.random.one_in(2);
        self.add(schema, "type", if single { json!(own) } else { json!(types) });
    }

    fn add_any(&mut self, schema: &mut Map<String, Value>) {
        if schema.contains_key("type") || self.random.one_in(3) {
            return self.add_type(Theme::Any, schema);
        }
        let mut values: Vec<Value> = Vec::new();
        for _ in 0..=self.random.below(5) {
            let value = if self.random.one_in(3) { json!(any_string(self.random)) } else { any_value(self.random, 2) };
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if self.random.one_in(3) {
            let value = self.random.pick(&values);
            self.add(schema, "const", value);
        } else {
            self.add(schema, "enum", json!(values));
        }
    }

    fn add_number(&mut self, schema: &mut Map<String, Value>) {
        // For the most part there is room between the bounds.
        let low =
            if self.random.one_in(6) { any_number(self.random) } else { json!(self.random.below(8) as f64 - 6.5) };
        let high = if self.random.one_in(3) { any_number(self.random) } else { json!(self.random.below(12)) };
        match self.random.below(6) {
            0 => self.add(schema, "maximum", high),
            1 => self.add(schema, "exclusiveMaximum", high),
            2 => self.add(schema, "minimum", low),
            3 => self.add(schema, "exclusiveMinimum", low),
            4 => {
                // A fraction divides one: the oracle divides doubles by others, which is wrong beyond 2^53.
                let steps = ["1", "2", "3", "7", "2.0", "0.5", "0.1", "0.01", "0.25"];
                let step = self.random.pick(&steps);
                self.add(schema, "multipleOf", number(step));
            }
            _ => {
                let near = number_near(&high, self.random);
                self.add(schema, "minimum", high);
                self.add(schema, "maximum", near);
            }
        }
    }

    fn add_string(&mut self, schema: &mut Map<String, Value>) {
        match self.random.below(4) {
            0 => self.add_count("minLength", 3, schema),
            1 => self.add_count("maxLength", 4, schema),
            2 => {
                let (pattern, ..) = self.random.pick(&PATTERNS);
                self.add(schema, "pattern", json!(pattern));
            }
            _ => {
                let (format, ..) = self.random.pick(&FORMATS);
                // Draft 07 has none of these two, and the oracle knows them in 2020-12 alone.
                if self.draft == Draft::Latest || !matches!(format, "duration" | "uuid") {
                    self.add(schema, "format", json!(format));
                }
            }
        }
    }

    /// A count of at most `max`, sometimes written as the same number with a fraction.
    fn add_count(&mut self, keyword: &str, max: usize, schema: &mut Map<String, Value>) {
        let least = usize::from(keyword.starts_with("max") && !self.random.one_in(4));
        let count = least + self.random.below(max + 1 - least);
        let value = if self.random.one_in(6) { json!(count as f64) } else { json!(count) };
        self.add(schema, keyword, value);
    }

    fn add_array(&mut self, depth: usize, schema: &mut Map<String, Value>) {
        match (self.random.below(7), self.draft) {
            (0, Draft::Latest) => {
                let items = self.schemas(3, depth);
                self.add(schema, "prefixItems", items);
            }
            (0 | 1, Draft::Seven) if self.random.one_in(2) => {
                let items = self.schemas(3, depth);
                self.add(schema, "items", items);
                let additional = self.child(depth);
                self.add(schema, "additionalItems", additional);
            }
            (0 | 1, _) => {
                let items = self.child(depth);
                self.add(schema, "items", items);
            }
            (2, draft) => {
                let contains = self.child(depth);
                self.add(schema, "contains", contains);
                if draft == Draft::Latest && self.random.one_in(2) {
                    self.add_count("minContains", 2, schema);
                }
                if draft == Draft::Latest && self.random.one_in(2) {
                    self.add_count("maxContains", 3, schema);
                }
            }
            (3, _) => self.add_count("minItems", 2, schema),
            (4, _) => self.add_count("maxItems", 4, schema),
            (5, _) => {
                let unique = !self.random.one_in(8);
                self.add(schema, "uniqueItems", json!(unique));
            }
            _ => {
                let items = self.child(depth);
                self.add(schema, "items", items);
                self.add_count("minItems", 2, schema);
            }
        }
    }

    fn add_object(&mut self, depth: usize, schema: &mut Map<String, Value>) {
        match self.random.below(10) {
            0..=2 => {
                // More members than bits in a word, once in a while.
                let properties = if self.random.one_in(60) {
                    (0..70).map(|index| (format!("k{index}"), self.child(0))).collect()
                } else {
                    let count = self.random.below(4) + 1;
                    self.schemas_by_name(count, &NAMES, depth)
                };
                self.add(schema, "properties", properties);
            }
            3 => {
                let patterns = PATTERNS.map(|(pattern, ..)| pattern);
                let count = self.random.below(2) + 1;
                let schemas = self.schemas_by_name(count, &patterns, depth);
                self.add(schema, "patternProperties", schemas);
            }
            4 => {
                let additional = self.child(depth);
                self.add(schema, "additionalProperties", additional);
            }
            5 => {
                let names = self.schema(Theme::String, 0);
                self.add(schema, "propertyNames", names);
            }
            6 => {
                let names = match schema.get("properties") {
                    Some(Value::Object(properties)) if properties.len() > 60 => {
                        (0..70).filter(|index| index % 7 < 2).map(|index| format!("k{index}")).collect()
                    }
                    _ => self.names(3),
                };
                self.add(schema, "required", json!(names));
            }
            7 => self.add_count("minProperties", 2, schema),
            8 => self.add_count("maxProperties", 4, schema),
            _ => self.add_dependencies(depth, schema),
        }
    }

    fn add_dependencies(&mut self, depth: usize, schema: &mut Map<String, Value>) {
        let mut by_required = Map::new();
        let mut by_schema = Map::new();
        for name in self.names(3) {
            if self.random.one_in(2) {
                let names = self.names(2);
                by_required.insert(name, json!(names));
            } else {
                let branch = self.branch(Theme::Object, depth);
                by_schema.insert(name, branch);
            }
        }
        if self.draft == Draft::Seven {
            by_required.append(&mut by_schema);
            return self.add(schema, "dependencies", Value::Object(by_required));
        }
        if !by_required.is_empty() {
            self.add(schema, "dependentRequired", Value::Object(by_required));
        }
        if !by_schema.is_empty() {
            self.add(schema, "dependentSchemas", Value::Object(by_schema));
        }
    }

    fn add_applicator(&mut self, theme: Theme, depth: usize, schema: &mut Map<String, Value>) {
        let keyword = self.random.pick(&["allOf", "anyOf", "oneOf", "not", "if"]);
        match keyword {
            "not" => {
                let branch = self.object(theme, depth - 1);
                self.add(schema, "not", Value::Object(branch));
            }
            "if" => {
                for (keyword, percent) in [("if", 95), ("then", 75), ("else", 75)] {
                    if self.random.percent(percent) {
                        let branch = self.branch(theme, depth);
                        self.add(schema, keyword, branch);
                    }
                }
            }
            _ => {
                let count = self.random.below(3) + 1;
                let branches: Vec<Value> = (0..count).map(|_| self.branch(theme, depth)).collect();
                self.add(schema, keyword, Value::Array(branches));
            }
        }
    }

    fn add_unevaluated(&mut self, theme: Theme, depth: usize, schema: &mut Map<String, Value>) {
        let keyword = match theme {
            Theme::Array => "unevaluatedItems",
            Theme::Object => "unevaluatedProperties",
            Theme::Any | Theme::Number | Theme::String => return,
        };
        if self.draft == Draft::Latest {
            let rest = if self.random.one_in(2) { json!(false) } else { self.child(depth) };
            self.add(schema, keyword, rest);
        }
    }

    fn add_reference(&mut self, schema: &mut Map<String, Value>) {
        let dynamic = self.draft == Draft::Latest && self.random.one_in(3);
        self.add(schema, if dynamic { "$dynamicRef" } else { "$ref" }, Value::Null);
    }

    /// Definitions with definitions of their own, which become resources: the dynamic scope is what leads through them.
    fn add_library(&mut self, theme: Theme, root: &mut Map<String, Value>) {
        let mut definitions = Map::new();
        for name in ["a", "b", "a/b"] {
            let mut resource = self.object(theme, 0);
            let keyword = self.random.pick(&["$ref", "$dynamicRef"]);
            let inner = json!({"stuff": {keyword: null}, "node": self.object(theme, 0)});
            self.add(&mut resource, "$defs", inner);
            definitions.insert(name.to_owned(), Value::Object(resource));
        }
        self.add(root, "$defs", Value::Object(definitions));
        self.add(root, "$ref", Value::Null);
    }

    /// What says nothing about validity, whatever it looks like.
    fn add_annotation(&mut self, schema: &mut Map<String, Value>) {
        let keyword = self.random.pick(&["title", "description", "$comment"]);
        self.add(schema, keyword, json!("text"));
        let keyword = self.random.pick(&["default", "x-unknown"]);
        let value = any_value(self.random, 2);
        self.add(schema, keyword, value);
        let keyword = self.random.pick(&["deprecated", "readOnly", "writeOnly"]);
        self.add(schema, keyword, json!(true));
        self.add(schema, "examples", json!([{"type": "string", "$ref": "#/nowhere"}]));
    }

    fn schemas(&mut self, count_max: usize, depth: usize) -> Value {
        (0..=self.random.below(count_max)).map(|_| self.child(depth)).collect()
    }

    fn schemas_by_name(&mut self, count: usize, names: &[&str], depth: usize) -> Value {
        (0..count).map(|_| (self.random.pick(names).to_owned(), self.child(depth))).collect()
    }

    fn names(&mut self, count_max: usize) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..=self.random.below(count_max) {
            let name = self.random.pick(&NAMES[..8]);
            if names.iter().all(|known| known != name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}
