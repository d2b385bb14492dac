use super::*;
#[test]
fn tmp_suite() {
    use crate::json::reader::{Bounds, read};
    let bounds = Bounds { depth_max: 128, keys_max: 100_000, string_len_max: 100_000, unique_keys: true };
    let (mut total, mut passed, mut refused) = (0, 0, 0);
    let mut files: Vec<_> =
        std::fs::read_dir("/work/shared/conformance/json-schema-2020-12").unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        if file.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let groups: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for group in groups.as_array().unwrap() {
            let schema = match Schema::compile(&group["schema"], Formats::Annotate) {
                Ok(schema) => schema,
                Err(fault) => {
                    println!(
                        "REFUSED {} / {}: {fault}",
                        file.file_name().unwrap().to_str().unwrap(),
                        group["description"]
                    );
                    refused += group["tests"].as_array().unwrap().len();
                    continue;
                }
            };
            for test in group["tests"].as_array().unwrap() {
                total += 1;
                let text = test["data"].to_string();
                let document = read(&text, &bounds).unwrap();
                let found = schema.check(document.root());
                if found.is_ok() == test["valid"].as_bool().unwrap() && found != Err(Violation::JsonRefused) {
                    passed += 1;
                } else {
                    println!(
                        "FAIL {} / {} / {}: {found:?}",
                        file.file_name().unwrap().to_str().unwrap(),
                        group["description"],
                        test["description"]
                    );
                }
            }
        }
    }
    println!("{passed}/{total}, refused {refused}");
}
