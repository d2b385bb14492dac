//! Keywords that no dialect has. JSON Schema lets them stand and check nothing (2020-12 Core §6.5), which is not what the author of
//! `requierd` wants.

use serde_json::{Map, Value};

/// Keywords whose value is a schema.
const SCHEMA: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords whose value is a list of schemas; `items` may be one, too.
const SCHEMAS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];

/// Keywords whose value is an object of schemas: its names are no keywords.
const SCHEMAS_BY_NAME: [&str; 6] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

/// All others of 2020-12 and draft-07, those that only say something among them.
const OTHERS: [&str; 40] = [
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$ref",
    "$schema",
    "$vocabulary",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
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
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
];

/// How many are named: a schema of another kind has nothing else.
const UNKNOWN_COUNT_MAX: usize = 16;

/// The JSON Pointers of unknown keywords in a schema that has been compiled, the first ones of many.
pub(super) fn unknown_keywords(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, "", &mut found);
    found.truncate(UNKNOWN_COUNT_MAX);
    found
}

fn walk(schema: &Value, pointer: &str, found: &mut Vec<String>) {
    let Value::Object(members) = schema else { return };
    for (keyword, value) in members {
        if found.len() >= UNKNOWN_COUNT_MAX {
            return;
        }
        let at = below(pointer, keyword);
        let is = |list: &[&str]| list.contains(&keyword.as_str());
        match value {
            Value::Object(schemas) if is(&SCHEMAS_BY_NAME) => walk_all(schemas, &at, found),
            Value::Array(schemas) if is(&SCHEMAS) || keyword == "items" => {
                let schemas = schemas.iter().enumerate();
                schemas.for_each(|(index, schema)| walk(schema, &below(&at, &index.to_string()), found));
            }
            value if is(&SCHEMA) => walk(value, &at, found),
            _ if is(&SCHEMAS_BY_NAME) || is(&SCHEMAS) || is(&OTHERS) => {}
            // What an application calls its own.
            _ if keyword.starts_with("x-") => {}
            _ => found.push(at),
        }
    }
}

fn walk_all(schemas: &Map<String, Value>, pointer: &str, found: &mut Vec<String>) {
    schemas.iter().for_each(|(name, schema)| walk(schema, &below(pointer, name), found));
}

/// A pointer one step further, on one line.
fn below(pointer: &str, token: &str) -> String {
    format!("{pointer}/{}", token.replace('~', "~0").replace('/', "~1").escape_debug())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: Value, expected: &[&str]) {
        assert_eq!(unknown_keywords(&schema), expected, "{schema}");
    }

    #[test]
    fn a_misspelt_keyword_is_found_wherever_schemas_stand() {
        check(json!({"requierd": ["a"]}), &["/requierd"]);
        check(json!({"Type": "object", "nullable": true, "id": "x"}), &["/Type", "/id", "/nullable"]);
        for (around, at) in [
            (json!({"properties": {"a/b": {"typ": 1}}}), "/properties/a~1b/typ"),
            (json!({"$defs": {"a": {"typ": 1}}}), "/$defs/a/typ"),
            (json!({"dependencies": {"a": {"typ": 1}, "b": ["c"]}}), "/dependencies/a/typ"),
            (json!({"items": {"typ": 1}}), "/items/typ"),
            (json!({"items": [true, {"typ": 1}]}), "/items/1/typ"),
            (json!({"prefixItems": [{"typ": 1}]}), "/prefixItems/0/typ"),
            (json!({"anyOf": [{"not": {"typ": 1}}]}), "/anyOf/0/not/typ"),
            (json!({"if": {"typ": 1}}), "/if/typ"),
            (json!({"a\nb": 1}), "/a\\nb"),
        ] {
            check(around, &[at]);
        }
    }

    #[test]
    fn names_annotations_and_values_are_no_keywords() {
        check(
            json!({
                "$schema": "http://json-schema.org/draft-07/schema#", "$comment": "requierd", "title": "t", "description": "d",
                "default": {"requierd": 1}, "examples": [{"requierd": 1}], "const": {"requierd": 1}, "enum": [{"requierd": 1}],
                "readOnly": true, "writeOnly": true, "deprecated": true, "contentMediaType": "a", "contentEncoding": "b",
                "x-own": {"requierd": 1}, "properties": {"requierd": {}, "typ": true}, "patternProperties": {"^typ": {}},
                "dependentRequired": {"typ": ["a"]}, "dependentSchemas": {"typ": {}}, "definitions": {"typ": {}},
            }),
            &[],
        );
        check(json!(true), &[]);
    }

    #[test]
    fn the_first_of_many_are_named() {
        let many: Map<String, Value> = (0..99).map(|index| (format!("k{index}"), json!(1))).collect();
        assert_eq!(unknown_keywords(&json!({"allOf": [many, many]})).len(), UNKNOWN_COUNT_MAX);
    }
}
