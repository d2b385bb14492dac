//! The shape of the shipped crates: which module may import which, and what their code may not do.

mod circles;
mod source;

use std::fs;

use circles::circles;
use source::{Source, sources, workspace};

/// The layers of portcullis-core from the lowest to the highest, as its `lib.rs` draws them. A module imports from its own layer or a lower one.
const LAYERS: [&[&str]; 6] = [
    &["access", "ask", "cluster", "ids", "letter", "mode", "port", "refusal", "secret", "time", "violation"],
    &["docket", "effect", "http", "modes", "protobuf", "regex", "wire"],
    &[
        "content",
        "identity",
        "json",
        "limits",
        "liveness",
        "message",
        "negotiation",
        "succession",
        "telemetry",
        "timers",
        "token",
    ],
    &["entry", "policy", "record", "turn"],
    &["handshake", "session"],
    &["config", "gate"],
];

#[test]
fn a_core_module_imports_from_no_higher_layer() {
    let mut faults = Vec::new();
    let sources = sources("filter/core/src");
    let is_module = |path: &[String]| sources.iter().any(|source| source.module == path);
    for source in &sources {
        let Some(module) = source.module.first() else { continue };
        let layer = layer(module);
        let paths = source.paths(&is_module);
        let higher = paths.iter().map(|path| &path[0]).filter(|import| layer_of_import(import) > layer);
        faults.extend(higher.map(|import| format!("{}: layer {layer} imports {import}", source.file.display())));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn no_files_import_one_another() {
    let mut found = Vec::new();
    for root in ["filter/src", "filter/core/src", "envoy/src", "envoy/src/bin/verify"] {
        found.extend(circles(&sources(root)).iter().map(|circle| format!("{root}: {}", circle.join(", "))));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
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

/// The circles of a crate of these files.
#[track_caller]
fn check_circles(files: &[(&str, &str)], expected: &[&[&str]]) {
    let sources: Vec<Source> = files.iter().map(|(file, text)| Source::new(file, text)).collect();
    assert_eq!(circles(&sources), expected, "{files:?}");
}

#[test]
fn circles_are_found_in_whatever_way_a_file_is_named() {
    let back = "use crate::a::A;";
    for there in [
        "use crate::b::B;",
        "use crate::b;",
        "use super::b::B;",
        "use crate::{c::C, b::{self, B as Other}};",
        "use super::{\n    c,\n    b::{x::{Y}, B},\n};",
        "use crate::b::*;",
        "pub use crate::b::B;",
        "fn f() -> crate::b::B { super::b::f() }",
        "macro_rules! m { () => { $crate::b::f() } }",
    ] {
        check_circles(&[("a.rs", there), ("b.rs", back), ("c.rs", "")], &[&["a", "b"]]);
    }
    for nothing in [
        "mod b;",
        "// use crate::b::B;",
        "use std::b::B;",
        "fn f(b: B) { b.c(); b }",
        "pub(in crate::b) struct A;",
        "use crate::A;",
        "#[cfg(test)]\nmod tests {\n    use crate::b::B;\n}",
    ] {
        check_circles(&[("a.rs", nothing), ("b.rs", back)], &[]);
    }
}

#[test]
fn a_parent_and_its_child_are_a_circle_where_both_name_the_other() {
    let child = ("a/b.rs", "use super::A;");
    check_circles(&[("a.rs", "mod b;\nstruct A;"), child], &[]);
    for parent in ["use b::B;", "use self::b::B;", "pub use b::B;", "fn f() { b::g() }", "use crate::a::b::B;"] {
        check_circles(&[("a.rs", parent), child], &[&["a", "a/b"]]);
        check_circles(&[("a/mod.rs", parent), child], &[&["a", "a/b"]]);
        check_circles(&[("a.rs", parent), ("a/b.rs", "use super::super::c::C;"), ("c.rs", "")], &[]);
    }
}

#[test]
fn circles_lead_over_many_files_and_through_names_that_are_exported_anew() {
    let three = [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "use crate::a::A;")];
    check_circles(&three, &[&["a", "b", "c"]]);
    check_circles(
        &[three, [("d.rs", "use crate::a::A;"), ("e.rs", "use crate::f::F;"), ("f.rs", "use super::e::E;")]].concat(),
        &[&["a", "b", "c"], &["e", "f"]],
    );
    // The root is a list of names: who takes one of them imports the file behind it.
    let root = ("lib.rs", "pub use a::A;\npub use b::{B, C};");
    check_circles(&[root, ("a.rs", "use crate::{B, C};"), ("b.rs", "")], &[]);
    check_circles(&[root, ("a.rs", "use crate::B;"), ("b.rs", "use crate::A;")], &[&["a", "b"]]);
    check_circles(&[root, ("a.rs", "use crate::Own;"), ("b.rs", "")], &[&["the root", "a"]]);
}

#[test]
fn paths_lead_from_the_root_of_the_crate() {
    let check = |text: &str, file: &str, expected: &[&str]| {
        let is_module = |path: &[String]| [&["wire"][..], &["wire", "mask"]].iter().any(|module| path == *module);
        let paths = Source::new(file, text).paths(&is_module);
        let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
        assert_eq!(paths, expected, "{text}");
    };
    check("use crate::session::Session;", "wire.rs", &["session::Session"]);
    let group = "use crate::{\n    policy::{Mode, Policy},\n    wire,\n    Refusal,\n};";
    check(group, "wire.rs", &["policy::Mode", "policy::Policy", "wire", "Refusal"]);
    check("let x = super::session::new();", "wire.rs", &["session::new"]);
    check("let x = super::mask::new();", "wire/header.rs", &["wire::mask::new"]);
    check("let x = super::super::session::new();", "wire/header.rs", &["session::new"]);
    check("use mask::Mask;", "wire/mod.rs", &["wire::mask::Mask"]);
    check("use std::{fmt, mask::Mask};", "wire/mod.rs", &[]);
    check("let mask = mask.get(super_mask, crate_mask);", "wire/mod.rs", &[]);
}
