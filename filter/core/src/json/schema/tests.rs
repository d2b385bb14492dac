//! What the oracle and the suite of the specification (`tests/schema_oracle.rs`, host-tests) do not say: what is refused when it is
//! compiled, and what bounds there are.

use serde_json::{Value, json};

use super::*;
use crate::json::reader::{Bounds, read};
use crate::regex::Builder;
use crate::violation::Violation::{JsonRefused, SchemaRefused};

const BOUNDS: Bounds =
    Bounds { depth_max: 128, keys_max: 100_000, string_len_max: 1_000_000, unique_keys: true, surrogates: false };
const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";

#[track_caller]
fn check(schema: &Value, accepted: &[&str], refused: &[&str]) {
    let schema =
        Schema::compile(schema, Formats::Assert, &mut Builder::default()).unwrap_or_else(|fault| panic!("{fault}"));
    let judge = |text: &str| schema.check(read(text, &BOUNDS).unwrap().root());
    accepted.iter().for_each(|text| assert_eq!(judge(text).map(drop), Ok(()), "{text}"));
    refused.iter().for_each(|text| assert_eq!(judge(text), Err(SchemaRefused), "{text}"));
    accepted.iter().for_each(|text| assert_eq!(schema.explain(read(text, &BOUNDS).unwrap().root()), None, "{text}"));
    refused.iter().for_each(|text| check_fault(&schema, text));
}

/// What is refused is explained, by a keyword and a place that is there.
#[track_caller]
fn check_fault(schema: &Schema, text: &str) {
    let fault = schema.explain(read(text, &BOUNDS).unwrap().root()).unwrap_or_else(|| panic!("unexplained: {text}"));
    assert_ne!(fault.keyword, "", "{text}");
    let instance: Value = serde_json::from_str(text).unwrap();
    assert!(instance.pointer(&fault.instance).is_some(), "{fault:?} of {text}");
}

#[test]
fn a_refusal_has_its_keyword_and_its_place() {
    let address = json!({"type": "object", "required": ["zip"], "properties": {"zip": {"pattern": "^[0-9]+$"}}, "additionalProperties": false});
    let schema = json!({
        "type": "object",
        "properties": {
            "kind": {"const": "order"}, "unit": {"enum": ["kg", "l"]}, "to": {"$ref": "#/$defs/address"},
            "count": {"type": "integer", "minimum": 1, "maximum": 9}, "share": {"exclusiveMaximum": 1, "multipleOf": 0.25},
            "lines": {"minItems": 1, "maxItems": 3, "uniqueItems": true, "items": {"allOf": [{"maxLength": 3}, {"not": {"const": "bad"}}]}},
            "when": {"format": "date"}, "who": {"anyOf": [{"type": "string"}, {"required": ["id"]}]}, "a/b~c": false,
            "one": {"oneOf": [{"minimum": 0}, {"maximum": 5}]}, "any": {"contains": {"const": 1}},
            "if": {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
        },
        "propertyNames": {"maxLength": 5},
        "unevaluatedProperties": false,
        "$defs": {"address": address},
    });
    let schema = Schema::compile(&schema, Formats::Assert, &mut Builder::default()).unwrap();
    for (text, keyword, instance) in [
        ("[]", "type", ""),
        (r#"{"kind":"offer"}"#, "const", "/kind"),
        (r#"{"unit":"m"}"#, "enum", "/unit"),
        (r#"{"to":{}}"#, "required", "/to"),
        (r#"{"to":{"zip":"A"}}"#, "pattern", "/to/zip"),
        (r#"{"to":{"zip":"1","x":1}}"#, "additionalProperties", "/to/x"),
        (r#"{"count":"1"}"#, "type", "/count"),
        (r#"{"count":0}"#, "minimum", "/count"),
        (r#"{"count":10}"#, "maximum", "/count"),
        (r#"{"share":1.0}"#, "exclusiveMaximum", "/share"),
        (r#"{"share":0.3}"#, "multipleOf", "/share"),
        (r#"{"lines":[]}"#, "minItems", "/lines"),
        (r#"{"lines":["a","b","a"]}"#, "uniqueItems", "/lines"),
        (r#"{"lines":["a","abcd"]}"#, "maxLength", "/lines/1"),
        (r#"{"lines":["bad"]}"#, "not", "/lines/0"),
        (r#"{"when":"today"}"#, "format", "/when"),
        (r#"{"who":{"id":1},"kind":1}"#, "const", "/kind"),
        (r#"{"who":{}}"#, "anyOf", "/who"),
        (r#"{"a/b~c":1}"#, "properties", "/a~1b~0c"),
        (r#"{"one":3}"#, "oneOf", "/one"),
        (r#"{"any":[2]}"#, "contains", "/any"),
        (r#"{"if":{"a":1}}"#, "required", "/if"),
        (r#"{"longer":1}"#, "propertyNames", ""),
        (r#"{"new":1}"#, "unevaluatedProperties", "/new"),
    ] {
        let fault = schema.explain(read(text, &BOUNDS).unwrap().root()).unwrap_or_else(|| panic!("accepted: {text}"));
        assert_eq!((fault.keyword, fault.instance.as_str()), (keyword, instance), "{text}");
    }
    // What a client calls its members never makes the place longer than it may be.
    let name = "\u{e4}".repeat(5);
    let nested = format!("{}1{}", format!("{{\"{name}\":").repeat(30), "}".repeat(30));
    let deep = json!({"type": "object", "additionalProperties": {"$ref": "#"}});
    let deep = Schema::compile(&deep, Formats::Assert, &mut Builder::default()).unwrap();
    let fault = deep.explain(read(&nested, &BOUNDS).unwrap().root()).unwrap();
    assert_eq!((fault.keyword, fault.instance.len()), ("type", 128));
}

#[track_caller]
fn fault(schema: &Value, pointer: &str, problem: &str) {
    let fault = Schema::compile(schema, Formats::Assert, &mut Builder::default()).expect_err("a fault");
    assert!(fault.pointer() == pointer && fault.problem().contains(problem), "{fault}");
}

#[test]
fn keywords_of_the_wrong_type_are_faults_where_they_stand() {
    for (schema, pointer, problem) in [
        (json!(1), "", "expected a schema"),
        (json!({"properties": {"a/b~c": {"type": "text"}}}), "/properties/a~1b~0c/type", "name of a type"),
        (json!({"type": []}), "/type", "name of a type"),
        (json!({"allOf": []}), "/allOf", "at least one"),
        (json!({"anyOf": [true, 7]}), "/anyOf/1", "expected a schema"),
        (json!({"items": [true]}), "/items", "expected a schema"),
        (json!({"minLength": -1}), "/minLength", "not negative"),
        (json!({"maxItems": 1.5}), "/maxItems", "not negative"),
        (json!({"minimum": "1"}), "/minimum", "expected a number"),
        (json!({"multipleOf": 0}), "/multipleOf", "greater than 0"),
        (json!({"required": ["a", "a"]}), "/required", "different strings"),
        (json!({"uniqueItems": 1}), "/uniqueItems", "true or false"),
        (json!({"enum": "a"}), "/enum", "expected a list"),
        (json!({"properties": []}), "/properties", "expected an object"),
        (json!({"dependentRequired": {"a": "b"}}), "/dependentRequired/a", "different strings"),
        (json!({"$ref": 1}), "/$ref", "expected a string"),
    ] {
        fault(&schema, pointer, problem);
    }
}

#[test]
fn what_cannot_be_honoured_is_a_fault() {
    for (schema, pointer, problem) in [
        (json!({"$schema": "https://json-schema.org/draft/2019-09/schema"}), "/$schema", "dialect"),
        (json!({"$schema": "http://json-schema.org/draft-04/schema#"}), "/$schema", "dialect"),
        (json!({"$ref": "https://example.com/other.json"}), "/$ref", "leads out of this document"),
        (json!({"$ref": "other.json#/a"}), "/$ref", "leads out of this document"),
        (json!({"$ref": "#/$defs/missing"}), "/$ref", "leads nowhere"),
        (json!({"$ref": "#missing"}), "/$ref", "no such anchor"),
        (json!({"items": {"$dynamicRef": "#missing"}}), "/items/$dynamicRef", "no such anchor"),
        (json!({"pattern": "(?=a)b"}), "/pattern", "linear"),
        (json!({"patternProperties": {"(a)\\1": true}}), "/patternProperties/(a)\\1", "linear"),
        (json!({"pattern": "(a{1000}){1000}"}), "/pattern", ""),
        (json!({"format": "colour"}), "/format", "unknown format"),
        (json!({"$anchor": "a", "$defs": {"b": {"$anchor": "a"}}}), "/$defs/b/$anchor", "stands twice"),
        (json!({"$id": "a#b"}), "/$id", "fragment"),
        (json!({"const": 1, "minimum": 1e300, "maximum": 1, "multipleOf": "x"}), "/multipleOf", "expected a number"),
    ] {
        fault(&schema, pointer, problem);
    }
    assert!(Schema::compile(&json!({"format": "colour"}), Formats::Annotate, &mut Builder::default()).is_ok());
}

#[test]
fn references_that_go_round_are_faults() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"anyOf": [{"$ref": "#"}]}]}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}, "items": {"$ref": "#/$defs/a"}}),
        json!({"$dynamicAnchor": "a", "if": {"$dynamicRef": "#a"}}),
    ] {
        let fault = Schema::compile(&schema, Formats::Assert, &mut Builder::default()).expect_err("a fault");
        assert!(fault.problem().contains("goes round"), "{fault}");
    }
    // Each level of the instance is a level of the schema.
    let list = json!({"properties": {"next": {"$ref": "#"}}, "required": ["value"]});
    check(&list, &[r#"{"value":1,"next":{"value":2}}"#], &[r#"{"value":1,"next":{"next":{"value":1}}}"#]);
}

#[test]
fn schemas_are_bounded() {
    let nested = |depth: usize| (0..depth).fold(json!(true), |inner, _| json!({"items": inner}));
    assert!(Schema::compile(&nested(64), Formats::Assert, &mut Builder::default()).is_ok());
    let deeper = Schema::compile(&nested(66), Formats::Assert, &mut Builder::default()).expect_err("a fault");
    assert!(deeper.problem().contains("deeper"), "{deeper}");
    let chain = |len: usize| {
        let mut definitions: Vec<(String, Value)> =
            (0..len).map(|index| (format!("{index}"), json!({"$ref": format!("#/$defs/{}", index + 1)}))).collect();
        definitions.push((len.to_string(), json!(true)));
        json!({"$defs": definitions.into_iter().collect::<serde_json::Map<_, _>>(), "$ref": "#/$defs/0"})
    };
    assert!(Schema::compile(&chain(90), Formats::Assert, &mut Builder::default()).is_ok());
    assert!(Schema::compile(&chain(200), Formats::Assert, &mut Builder::default()).is_err());
}

#[test]
fn numbers_may_have_been_doubles() {
    check(&json!({"minLength": 2.0, "maxLength": 3.0}), &["\"ab\"", "\"😀😀😀\""], &["\"a\"", "\"abcd\""]);
    check(&json!({"multipleOf": 0.01, "maximum": 1e3}), &["0.07", "19.99", "1000"], &["0.075", "1000.01"]);
    check(&json!({"type": "integer", "const": 1.0}), &["1", "1.0", "10e-1"], &["2", "1.5"]);
}

#[test]
fn draft_7_has_its_own_keywords() {
    let schema = |members: Value| {
        let mut schema = members;
        schema["$schema"] = DRAFT_7.into();
        schema
    };
    check(
        &schema(json!({"items": [{"type": "string"}, true], "additionalItems": {"type": "null"}})),
        &["[]", "[\"a\",1,null]"],
        &["[1]", "[\"a\",1,1]"],
    );
    check(
        &schema(json!({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}})),
        &["{}", r#"{"a":1,"b":1}"#, r#"{"c":1,"d":1}"#],
        &[r#"{"a":1}"#, r#"{"c":1}"#],
    );
    // A reference hides what stands beside it.
    check(
        &schema(
            json!({"definitions": {"any": {}}, "properties": {"a": {"$ref": "#/definitions/any", "type": "string"}}}),
        ),
        &[r#"{"a":1}"#],
        &[],
    );
    check(
        &schema(json!({"definitions": {"n": {"$id": "#name", "type": "null"}}, "items": {"$ref": "#name"}})),
        &["[null]"],
        &["[1]"],
    );
    let named = json!({"additionalItems": {"$id": "#name", "type": "null"}, "contains": {"$ref": "#name"}});
    check(&schema(named), &["[1,null]"], &["[1]"]);
}

#[test]
fn keywords_that_check_nothing_in_their_dialect_are_faults() {
    for keyword in ["$recursiveRef", "additionalItems", "dependencies"] {
        fault(&json!({"items": {keyword: {}}}), &format!("/items/{keyword}"), "checks nothing in this dialect");
    }
    for keyword in
        ["$dynamicRef", "dependentRequired", "dependentSchemas", "minContains", "prefixItems", "unevaluatedProperties"]
    {
        fault(&json!({"$schema": DRAFT_7, keyword: {}}), &format!("/{keyword}"), "checks nothing in this dialect");
    }
    assert!(
        Schema::compile(
            &json!({"x-own": 1, "$comment": "a", "definitions": {}}),
            Formats::Assert,
            &mut Builder::default()
        )
        .is_ok()
    );
}

/// A judge that is not done when the budget is.
#[track_caller]
fn check_exhausts(schema: &Value, text: &str) {
    let schema = Schema::compile(schema, Formats::Assert, &mut Builder::default()).unwrap();
    assert_eq!(schema.check(read(text, &BOUNDS).unwrap().root()), Err(JsonRefused));
}

#[test]
fn work_is_bounded_by_the_length_of_the_message() {
    // Each level is looked at twice as often as the one around it.
    let doubling = json!({"anyOf": [
        {"required": ["x"], "properties": {"a": {"$ref": "#"}}}, {"required": ["y"], "properties": {"a": {"$ref": "#"}}},
        {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}},
    ]});
    let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    check(&doubling, &[&nested(4)], &[]);
    check_exhausts(&doubling, &nested(60));

    let list = |items: Vec<String>| format!("[{}]", items.join(","));
    let unique = json!({"uniqueItems": true});
    check(&unique, &[&list((0..10_000).map(|index| index.to_string()).collect())], &[&list(vec!["7".into(); 5_000])]);
    // Objects of the same members, but for what stands in the last.
    let alike = |index: usize| format!("{{\"a\":{{\"b\":[{index}]}},\"c\":\"{}\"}}", "x".repeat(20));
    check(&unique, &[&list((0..2_000).map(alike).collect())], &[]);

    let patterns: serde_json::Map<String, Value> =
        (0..1_000).map(|index| (format!("^{index}$"), json!(true))).collect();
    let names = (0..2_000).map(|index| format!("\"x{index}\":0")).collect::<Vec<_>>();
    check_exhausts(
        &json!({"patternProperties": patterns, "maxProperties": 5_000}),
        &format!("{{{}}}", names.join(",")),
    );

    let numbers: Vec<usize> = (0..2_000).collect();
    check(&json!({"items": {"enum": numbers}}), &[&json!(numbers).to_string()], &["[2000]", "[1.5]"]);
    let wide = json!({"items": {"enum": (0..3_000).map(|index| json!([index])).collect::<Vec<_>>()}});
    check_exhausts(&wide, &list((0..400).map(|_| "[2999]".to_owned()).collect()));
}

#[test]
fn depth_is_bounded_whatever_the_schema() {
    let tree = json!({"anyOf": [{"type": "null"}, {"items": {"allOf": [{"$ref": "#"}]}}]});
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    check(&tree, &[&nested(60)], &[]);
    check_exhausts(&tree, &nested(128));
}
