//! A schema and a message: it compiles or not, it judges or gives up, and what follows from one verdict is the other.

use portcullis_core::json;
use portcullis_core::json::reader::{Bounds, read};
use portcullis_core::json::schema::{Formats, Schema, SchemaFault};
use portcullis_core::regex::Builder;
use portcullis_core::violation::Violation;
use serde_json::{Value, json as tree};

use crate::input::Input;

const BOUNDS: Bounds =
    Bounds { depth_max: 32, keys_max: 1_024, string_len_max: usize::MAX, unique_keys: true, surrogates: true };

/// How many unknown keywords are named at most.
const NAMED_MAX: usize = 16;

/// What makes a schema mean something else where it stands within another.
const PLACES: [&str; 5] = ["ref", "Ref", "$id", "nchor", "$schema"];

/// A byte of settings, a schema up to a NUL, and a message.
pub fn schema(data: &[u8]) {
    let mut input = Input::new(data);
    let formats = if input.byte() & 1 == 0 { Formats::Assert } else { Formats::Annotate };
    let Ok(document) = json::parse(input.until(0)) else { return };
    let compiled = compile(&document, formats);
    assert_eq!(compiled.as_ref().err(), compile(&document, formats).err().as_ref());
    let Ok(schema) = compiled else { return };
    assert!(Schema::unknown_keywords(&document).len() <= NAMED_MAX);

    let Ok(text) = str::from_utf8(input.rest()) else { return };
    let verdict = judge(&schema, text);
    assert_eq!(verdict, judge(&schema, text), "twice");
    let Some(verdict) = verdict else { return };
    assert!(matches!(verdict, Ok(()) | Err(Violation::JsonRefused | Violation::SchemaRefused)), "{verdict:?}");
    let written = document.to_string();
    if PLACES.iter().any(|place| written.contains(place)) {
        return;
    }
    // Around it, other schemas say the same, or the opposite.
    for (around, is_opposite) in [
        (tree!({"allOf": [document, true]}), false),
        (tree!({"anyOf": [false, document]}), false),
        (tree!({"oneOf": [document, false]}), false),
        (tree!({"not": document}), true),
        (tree!({"if": document, "else": false}), false),
        (tree!({"$ref": "#/$defs/a", "$defs": {"a": document}}), false),
    ] {
        let Ok(around) = compile(&around, formats) else { continue };
        match (verdict, judge(&around, text)) {
            // More around it may be more than the message is worth.
            (Err(Violation::JsonRefused), _) | (_, Some(Err(Violation::JsonRefused))) => {}
            (own, other) => assert_eq!(own.is_ok() != is_opposite, other == Some(Ok(())), "{written} {text}"),
        }
    }
    // White space around a message, and another order of members, say nothing.
    let other = serde_json::from_str::<Value>(text).map(|value| format!(" {value}\n"));
    if let Ok(other) = other
        && is_plain(text)
        && verdict != Err(Violation::JsonRefused)
    {
        let again = judge(&schema, &other);
        assert!(again == Some(verdict) || again == Some(Err(Violation::JsonRefused)), "{written} {text}");
    }
}

/// Whether serde_json writes the same values again: fractions, exponents and long integers become doubles there.
fn is_plain(text: &str) -> bool {
    let is_short = |digits: &str| digits.len() <= 18;
    !text.contains(['.', 'e', 'E', '\\']) && text.split(|digit: char| !digit.is_ascii_digit()).all(is_short)
}

fn compile(document: &Value, formats: Formats) -> Result<Schema, SchemaFault> {
    Schema::compile(document, formats, &mut Builder::default())
}

/// The verdict on a message that is JSON within bounds.
fn judge(schema: &Schema, text: &str) -> Option<Result<(), Violation>> {
    read(text, &BOUNDS).ok().map(|document| schema.check(document.root()).map(drop))
}
