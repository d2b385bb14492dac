//! The JSON Schema of policies, for editors: every key and word that the parser knows, from the types that it reads.
//!
//! It says less than the parser: combinations, bounds and notations of strings are not in it, so a policy that it accepts may be refused.

use serde_json::{Value, json};

use super::raw::RawPolicy;
use super::read::Read;

/// The schema of a policy (draft 2020-12). Descriptions are not in it.
#[must_use]
pub fn schema() -> Value {
    let mut schema = RawPolicy::schema();
    // A route changes keys of the same policy.
    if let Some(policy) = schema.pointer_mut("/properties/routes/anyOf/0/items/properties/policy") {
        *policy = json!({"anyOf": [{"$ref": "#"}, {"type": "null"}]});
    }
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_every_key_that_the_parser_knows() {
        let error = crate::config::parse(br#"{"no_such_key": 1}"#, &|_| None).expect_err("an unknown key");
        let unknown = error.faults().iter().find(|fault| fault.path() == "no_such_key").unwrap();
        let known: Vec<&str> = unknown.problem().split_once("expected one of ").unwrap().1.split(", ").collect();
        let schema = schema();
        let mut keys: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut known = known;
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known);
        let route = &schema["properties"]["routes"]["anyOf"][0]["items"]["properties"];
        assert_eq!(route["policy"], json!({"anyOf": [{"$ref": "#"}, {"type": "null"}]}));
        assert_eq!(schema["properties"]["mode"]["anyOf"][0]["enum"], json!(["enforce", "monitor"]));
    }
}
