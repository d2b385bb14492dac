//! The shipped file: what it asks of a host, what it offers one, how big it is.

use std::{env, fs, path::Path};

use portcullis_host_tests::module;
use wasmtime::ExternType;

/// A megabyte of module costs an Envoy about a second of start and 20 MB: 1.64 MiB is what `cargo verify` takes.
const SIZE_MAX: usize = 1_719_664;

#[test]
fn the_module_is_small() {
    let size = module::bytes().len();
    println!("portcullis.wasm: {size} bytes of at most {SIZE_MAX}");
    assert!(size <= SIZE_MAX, "{size} bytes");
}

#[test]
fn the_module_says_which_abi_it_speaks() {
    let markers: Vec<&str> = module::filter()
        .exports()
        .map(|export| export.name())
        .filter(|name| name.starts_with("proxy_abi_version_"))
        .collect();
    assert_eq!(markers, ["proxy_abi_version_0_2_1"]);
}

/// A new import is a new demand on every host, and a lost export a callback that never comes: both are to be seen in a review.
#[test]
fn imports_and_exports_are_those_on_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/module.txt");
    let module = module::filter();
    let imports = module
        .imports()
        .map(|import| format!("import {} {}{}", import.module(), import.name(), signature(&import.ty())));
    let exports = module.exports().map(|export| format!("export {}{}", export.name(), signature(&export.ty())));
    let mut lines: Vec<String> = imports.chain(exports).collect();
    lines.sort_unstable();
    let found = lines.join("\n") + "\n";
    if env::var_os("PORTCULLIS_BLESS").is_some() {
        fs::write(&file, &found).expect("a file to write");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, expected, "PORTCULLIS_BLESS=1 writes {}", file.display());
}

fn signature(kind: &ExternType) -> String {
    let ExternType::Func(function) = kind else { return String::new() };
    let list = |types: Vec<String>| types.join(", ");
    let parameters = list(function.params().map(|kind| kind.to_string()).collect());
    let results = list(function.results().map(|kind| kind.to_string()).collect());
    format!("({parameters}) -> ({results})")
}
