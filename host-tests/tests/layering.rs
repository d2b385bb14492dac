//! The shape of the shipped crates: which module may import which, and what their code may not do.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The layers of portcullis-core from the lowest to the highest, as its `lib.rs` draws them. A module imports from its own layer or a lower one.
const LAYERS: [&[&str]; 5] = [
    &["access", "letter", "secret", "time", "violation"],
    &["http", "protobuf", "regex", "wire"],
    &["content", "json", "limits", "liveness", "message", "negotiation", "ratelimit", "succession", "timers", "token"],
    &["entry", "policy", "turn", "verdict"],
    &["config", "handshake", "session"],
];

#[test]
fn a_core_module_imports_from_no_higher_layer() {
    let mut faults = Vec::new();
    for source in sources("filter/core/src") {
        let Some(module) = source.path.first() else { continue };
        let layer = layer(module);
        let imports = imports(&source.code(), &source.path);
        let higher = imports.iter().filter(|import| layer_of_import(import) > layer);
        faults.extend(higher.map(|import| format!("{}: layer {layer} imports {import}", source.file.display())));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn shipped_code_does_not_panic() {
    check_absent(
        &["filter/src", "filter/core/src"],
        &[
            ".unwrap()",
            ".unwrap_err()",
            ".expect(",
            ".expect_err(",
            "panic!(",
            "unreachable!(",
            "todo!(",
            "unimplemented!(",
            "assert!(",
            "assert_eq!(",
            "assert_ne!(",
        ],
    );
}

#[test]
fn the_core_knows_no_host_and_no_clock() {
    let needles = [
        "proxy_",
        "extern \"C\"",
        "SystemTime",
        "Instant",
        "std::env",
        "std::fs",
        "std::net",
        "thread_local!",
        "println!(",
    ];
    check_absent(&["filter/core/src"], &needles);
    let manifest = read("filter/core/Cargo.toml");
    for package in ["proxy-wasm", "getrandom", "rand", "log", "chrono"] {
        assert!(
            !manifest.lines().any(|line| line.split([' ', '.', '=']).next() == Some(package)),
            "portcullis-core depends on {package}"
        );
    }
}

#[track_caller]
fn check_absent(folders: &[&str], needles: &[&str]) {
    let mut faults = Vec::new();
    for source in folders.iter().flat_map(|folder| sources(folder)) {
        for (index, line) in source.code().lines().enumerate() {
            // An assertion in a constant fails the build, not the filter.
            let line = line.trim_start().trim_start_matches("const _: () = assert!(");
            let found = needles.iter().filter(|needle| line.contains(**needle));
            faults.extend(found.map(|needle| format!("{}:{}: {needle}", source.file.display(), index + 1)));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A file of Rust that is shipped.
struct Source {
    file: PathBuf,
    /// `["wire", "header"]` of `wire/header.rs`; empty for `lib.rs`.
    path: Vec<String>,
    text: String,
}

impl Source {
    /// The text line by line without its comments and without the tests at its foot.
    fn code(&self) -> String {
        let shipped = self.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        shipped.lines().map(|line| format!("{}\n", line.split("//").next().unwrap_or_default())).collect()
    }
}

/// Every file below `folder` but the test modules.
fn sources(folder: &str) -> Vec<Source> {
    let root = workspace().join(folder);
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let file = entry.expect("an entry").path();
            let parts = file.strip_prefix(&root).expect("a file below its root").with_extension("");
            let mut path: Vec<String> = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if file.is_dir() {
                folders.push(file);
            } else if file.extension().is_some_and(|extension| extension == "rs")
                && !path.iter().any(|name| name == "tests")
            {
                path.retain(|part| part != "mod" && part != "lib");
                sources.push(Source { text: fs::read_to_string(&file).expect("a readable file"), file, path });
            }
        }
    }
    assert!(!sources.is_empty(), "no source in {folder}");
    sources
}

/// The top-level modules that code names, by `crate::` or by as many `super::` as lead there.
fn imports(text: &str, path: &[String]) -> Vec<String> {
    let above = "super::".repeat(path.len());
    let mut imports = Vec::new();
    for root in ["crate::", &above] {
        for (index, _) in text.match_indices(root) {
            if !text[..index].ends_with("super::") {
                imports.extend(heads(&text[index + root.len()..]));
            }
        }
    }
    imports
}

/// `a` of `a::b`, and `a` and `c` of `{a::b, c}`.
fn heads(text: &str) -> Vec<String> {
    let Some(group) = text.strip_prefix('{') else { return identifier(text).into_iter().collect() };
    let mut depth = 0;
    let items = group.split(|character| {
        depth += match character {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        character == ',' && depth == 0
    });
    items.filter_map(|item| identifier(item.trim_start())).collect()
}

fn identifier(text: &str) -> Option<String> {
    let name = text.split(|character: char| !character.is_alphanumeric() && character != '_').next()?;
    // Types and constants at the root are re-exports, which lib.rs may make of any layer.
    name.starts_with(|first: char| first.is_ascii_lowercase()).then(|| name.to_owned())
}

#[track_caller]
fn layer(module: &str) -> usize {
    let layer = LAYERS.iter().position(|modules| modules.contains(&module));
    layer.unwrap_or_else(|| panic!("the module {module} has no layer: say where it stands"))
}

fn layer_of_import(name: &str) -> usize {
    // A name that is no module, such as a macro of the crate, is on no layer.
    LAYERS.iter().position(|modules| modules.contains(&name)).unwrap_or(0)
}

fn read(file: &str) -> String {
    fs::read_to_string(workspace().join(file)).expect("a readable file")
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder above")
}

#[test]
fn imports_are_read_as_rustc_reads_them() {
    let check = |text: &str, path: &[&str], expected: &[&str]| {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        assert_eq!(imports(text, &path), expected, "{text}");
    };
    check("use crate::session::Session;", &["wire"], &["session"]);
    check("use crate::{\n    policy::{Mode, Policy},\n    wire,\n    Refusal,\n};", &["wire"], &["policy", "wire"]);
    check("let x = super::session::new();", &["wire"], &["session"]);
    check("let x = super::mask::new();", &["wire", "header"], &[]);
    check("let x = super::super::session::new();", &["wire", "header"], &["session"]);
    check("use std::fmt;", &["wire"], &[]);
}
