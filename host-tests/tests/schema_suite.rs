//! The required cases of the JSON-Schema-Test-Suite, draft 2020-12, where they stand beside the checkout.
//!
//! Every instance is judged as the suite says. Schemas that need a document from elsewhere are refused when they are compiled, as
//! designed: [`REFUSED`] names them all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis_core::json::reader::{self, Bounds};
use portcullis_core::json::schema::{Formats, Schema, SchemaFault};
use portcullis_core::regex::Builder;
use portcullis_core::violation::Violation;
use serde_json::Value;

/// What refers to remote documents, by file and description: references to the metaschema and to other hosts, and dialects of
/// their own.
const REFUSED: [(&str, &str); 24] = [
    ("defs.json", "validate definition against metaschema"),
    ("dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $defs first"),
    ("dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $ref first"),
    ("dynamicRef.json", "$ref to $dynamicRef finds detached $dynamicAnchor"),
    ("dynamicRef.json", "strict-tree schema, guards against misspelled properties"),
    ("dynamicRef.json", "tests for implementation dynamic anchor and reference link"),
    ("ref.json", "remote ref, containing refs itself"),
    ("refRemote.json", "$ref to $ref finds detached $anchor"),
    ("refRemote.json", "Location-independent identifier in remote ref"),
    ("refRemote.json", "anchor within remote ref"),
    ("refRemote.json", "base URI change"),
    ("refRemote.json", "base URI change - change folder"),
    ("refRemote.json", "base URI change - change folder in subschema"),
    ("refRemote.json", "fragment within remote ref"),
    ("refRemote.json", "ref within remote ref"),
    ("refRemote.json", "remote HTTP ref with different $id"),
    ("refRemote.json", "remote HTTP ref with different URN $id"),
    ("refRemote.json", "remote HTTP ref with nested absolute ref"),
    ("refRemote.json", "remote ref"),
    ("refRemote.json", "remote ref with ref to defs"),
    ("refRemote.json", "retrieved nested refs resolve relative to their URI not $id"),
    ("refRemote.json", "root ref in remote ref"),
    ("vocabulary.json", "ignore unrecognized optional vocabulary"),
    ("vocabulary.json", "schema that uses custom metaschema with with no validation vocabulary"),
];

const BOUNDS: Bounds =
    Bounds { depth_max: 64, keys_max: 1024, string_len_max: 65_536, unique_keys: true, surrogates: false };

#[derive(Default)]
struct Tally {
    total: usize,
    passed: usize,
    failures: Vec<String>,
    refused: BTreeSet<(String, String)>,
    refused_cases: usize,
}

#[test]
fn the_suite_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance/json-schema-2020-12");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("0 cases, the folder is not there: {}", folder.display());
        return;
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut tally = Tally::default();
    for file in &files {
        run_file(file, &mut tally);
    }
    println!("{} of {} cases passed, of {} files", tally.passed, tally.total, files.len());
    println!("{} cases of {} schemas refused, as designed:", tally.refused_cases, tally.refused.len());
    tally.refused.iter().for_each(|(file, description)| println!("  {file}: {description}"));
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    assert!(tally.total > 1000, "the suite has more cases than {}", tally.total);
    assert_eq!(tally.passed, tally.total);
    let expected: BTreeSet<_> = REFUSED.iter().map(|(file, group)| ((*file).to_owned(), (*group).to_owned())).collect();
    assert_eq!(tally.refused, expected);
}

fn run_file(path: &Path, tally: &mut Tally) {
    let file = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let groups: Value = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
    for group in groups.as_array().expect("groups") {
        let description = group["description"].as_str().expect("a description");
        let cases = group["tests"].as_array().expect("cases");
        let is_refused = REFUSED.contains(&(file, description));
        // "format" is an annotation unless another vocabulary says so.
        match Schema::compile(&group["schema"], Formats::Annotate, &mut Builder::default()) {
            Ok(schema) if !is_refused => {
                tally.total += cases.len();
                for case in cases {
                    match run_case(&schema, case) {
                        Ok(()) => tally.passed += 1,
                        Err(outcome) => {
                            tally.failures.push(format!("{file}: {description}: {}: {outcome}", case["description"]));
                        }
                    }
                }
            }
            Ok(_) => tally.failures.push(format!("{file}: {description}: not refused")),
            Err(fault) if is_refused && says_so(&fault) => {
                tally.refused.insert((file.to_owned(), description.to_owned()));
                tally.refused_cases += cases.len();
            }
            Err(fault) => {
                tally.total += cases.len();
                tally.failures.push(format!("{file}: {description}: {fault}"));
            }
        }
    }
}

/// Whether the fault is a dialect that is not known, or another document that is not here.
fn says_so(fault: &SchemaFault) -> bool {
    fault.pointer().ends_with("/$schema") || fault.problem().contains("document")
}

fn run_case(schema: &Schema, case: &Value) -> Result<(), String> {
    let text = case["data"].to_string();
    let document = reader::read(&text, &BOUNDS).map_err(|violation| format!("{violation:?}: {text}"))?;
    let expected = case["valid"].as_bool().expect("a verdict");
    match schema.check(document.root()) {
        Ok(_) if expected => Ok(()),
        Err(Violation::SchemaRefused) if !expected => Ok(()),
        outcome => Err(format!("{outcome:?}: {text}")),
    }
}
