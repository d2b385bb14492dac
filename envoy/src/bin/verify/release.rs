//! What a release consists of: the module, the list of what is linked into it, and their checksums, in `target/dist`.
//!
//! The module is built from the commit, twice, in two folders and with two homes of cargo: whoever builds that commit with the same Rust gets
//! the same bytes. What Rust writes of paths into a module begins at the home and at the folder there, so `cargo build` alone makes another one.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{report::Outcome, workspace::Workspace};

const VERSION: &str = env!("CARGO_PKG_VERSION");

const MODULE: &str = "portcullis.wasm";
const BOM: &str = "portcullis.cdx.json";

/// Builds it. Fails where a second build is another one, and where the commit's tag is not that of its version and of CHANGELOG.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    match build(workspace) {
        Ok(note) => Outcome::Passed(note),
        Err(note) => Outcome::Failed(note),
    }
}

fn build(workspace: &Workspace) -> Result<String, String> {
    let changelog = fs::read_to_string(workspace.root.join("CHANGELOG.md")).map_err(text)?;
    judge_tags(&workspace.output("git tag --points-at HEAD").unwrap_or_default(), &changelog)?;
    let folder = workspace.target.join("release-builds");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(text)?;
    }
    let [one, other] = ["a", "another"].map(|name| folder.join(name));
    let module = build_module(workspace, &one)?;
    if build_module(workspace, &other)? != module {
        return Err(format!("two builds of one commit differ: {}", folder.display()));
    }
    let dist = workspace.target.join("dist");
    fs::create_dir_all(&dist).map_err(text)?;
    fs::write(dist.join(MODULE), module).map_err(text)?;
    fs::write(dist.join(BOM), list_linked(workspace, &one)?).map_err(text)?;
    let sums = workspace.output(&format!("env -C {} sha256sum {MODULE} {BOM}", dist.display()));
    let sums = sums.ok_or("sha256sum fails")?;
    fs::write(dist.join("SHA256SUMS"), &sums).map_err(text)?;
    print!("{sums}");
    Ok(format!("{} has {MODULE}, {BOM} and SHA256SUMS", dist.display()))
}

/// A commit without a tag is only tried. With one, it is that of the version, and CHANGELOG says what is in it.
fn judge_tags(tags: &str, changelog: &str) -> Result<(), String> {
    let expected = format!("v{VERSION}");
    match tags.lines().find(|tag| tag.starts_with('v')) {
        None => Ok(()),
        Some(tag) if tag != expected => Err(format!("the tag {tag} is not {expected}, as Cargo.toml says")),
        Some(_) if changelog.lines().any(|line| line.starts_with(&format!("## {VERSION}"))) => Ok(()),
        Some(tag) => Err(format!("CHANGELOG has no section {VERSION} for the tag {tag}")),
    }
}

/// The module of the commit, built below `folder`.
fn build_module(workspace: &Workspace, folder: &Path) -> Result<Vec<u8>, String> {
    let (source, home) = (folder.join("source"), folder.join("cargo"));
    fs::create_dir_all(&home).map_err(text)?;
    // The same crates, by another path; they have to be there for their folder to be named.
    must(workspace.run("cargo fetch --locked"))?;
    symlink(cargo_home()?.join("registry"), home.join("registry")).map_err(text)?;
    must(workspace.run(&format!("git clone --quiet . {}", source.display())))?;
    let flag = |from: &Path, to: &str| format!("\"--remap-path-prefix={}={to}\"", from.display());
    // Cargo names the folder of a registry, or of a mirror of it, by its address.
    let registries = fs::read_dir(home.join("registry/src")).map_err(text)?.flatten();
    let mut flags: Vec<_> = registries.map(|registry| flag(&registry.path(), "/crates")).collect();
    flags.push(flag(&source, "/portcullis"));
    must(workspace.run(&format!(
        "CARGO_HOME={} env -C {} cargo build --release --locked --package portcullis --target wasm32-wasip1 --target-dir target \
         --config target.wasm32-wasip1.rustflags=[{}]",
        home.display(),
        source.display(),
        flags.join(",")
    )))?;
    fs::read(folder.join("source/target/wasm32-wasip1/release").join(MODULE)).map_err(text)
}

/// What is linked into the module, as CycloneDX has it.
fn list_linked(workspace: &Workspace, folder: &Path) -> Result<String, String> {
    let source = folder.join("source");
    let time = workspace.output("git log -1 --format=%ct").ok_or("git tells no time of the commit")?;
    must(workspace.run(&format!(
        "SOURCE_DATE_EPOCH={} env -C {} cargo cyclonedx --manifest-path filter/Cargo.toml --format json --spec-version 1.5 \
         --target wasm32-wasip1 --override-filename portcullis.cdx",
        time.trim(),
        source.display()
    )))?;
    let listed = fs::read_to_string(source.join("filter").join(BOM)).map_err(text)?;
    judge_list(&listed.replace(&source.display().to_string(), "/portcullis"))
}

/// The list without what two lists of one commit differ in.
fn judge_list(listed: &str) -> Result<String, String> {
    let mut listed: Value = serde_json::from_str(listed).map_err(text)?;
    let names =
        listed["components"].as_array().into_iter().flatten().filter_map(|component| component["name"].as_str());
    let names: Vec<_> = names.collect();
    // The judgement itself, what verifies signatures, and what only tests link.
    for (name, is_linked) in [("portcullis-core", true), ("jsonwebtoken", true), ("wasmtime", false), ("tokio", false)]
    {
        if names.contains(&name) != is_linked {
            return Err(format!("{name} is {}in the list of what is linked", if is_linked { "not " } else { "" }));
        }
    }
    if let Some(list) = listed.as_object_mut() {
        list.remove("serialNumber");
    }
    serde_json::to_string_pretty(&listed).map_err(text)
}

fn cargo_home() -> Result<PathBuf, String> {
    let own = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    own.or_else(home).ok_or_else(|| "neither CARGO_HOME nor HOME says where crates are".to_owned())
}

fn must(outcome: Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Passed(_) => Ok(()),
        Outcome::Failed(note) | Outcome::Unreachable(note) => Err(note),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_that_of_the_version_and_of_the_changelog() {
        let changelog = format!("# Changes\n\n## Unreleased\n\n## {VERSION} (2026-12-01)\n");
        assert_eq!(judge_tags("", "# Changes"), Ok(()));
        assert_eq!(judge_tags("other\n", "# Changes"), Ok(()));
        assert_eq!(judge_tags(&format!("v{VERSION}\n"), &changelog), Ok(()));
        assert!(judge_tags(&format!("v{VERSION}\n"), "## Unreleased").unwrap_err().contains("CHANGELOG"));
        assert!(judge_tags(&format!("v{VERSION}0\n"), &changelog).unwrap_err().contains("Cargo.toml"));
    }

    #[test]
    fn a_list_has_what_the_module_links_and_nothing_of_the_tests() {
        let list = |names: &[&str]| {
            let components: Vec<_> = names.iter().map(|name| serde_json::json!({"name": name})).collect();
            serde_json::json!({"serialNumber": "urn:uuid:1", "components": components}).to_string()
        };
        assert!(!judge_list(&list(&["portcullis-core", "jsonwebtoken"])).unwrap().contains("serialNumber"));
        assert!(judge_list(&list(&["portcullis-core"])).unwrap_err().contains("jsonwebtoken is not"));
        assert!(judge_list(&list(&["portcullis-core", "jsonwebtoken", "tokio"])).unwrap_err().contains("tokio is in"));
    }
}
