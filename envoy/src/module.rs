//! Builds the filter, and what stands beside it in tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Error;
use crate::scratch::run;

/// The target that Envoy's runtime loads.
const TARGET: &str = "wasm32-wasip1";

/// The package of the filter.
const FILTER: &str = "portcullis";

/// Builds `portcullis.wasm` in release mode, if it is not up to date, and returns its path.
///
/// What cargo has to say goes to standard error.
///
/// # Errors
/// [`Error::Command`] where the target cannot be added or the build fails.
pub fn build() -> Result<PathBuf, Error> {
    build_package(FILTER)
}

/// Builds the module of another package of this workspace, likewise.
///
/// # Errors
/// As [`build`].
pub fn build_package(package: &str) -> Result<PathBuf, Error> {
    add_target()?;
    cargo_build(package, &[])
}

/// Builds it with features that no shipped build has, beside the one that is shipped: in a target folder of its own.
///
/// # Errors
/// As [`build`].
pub fn build_with(features: &[&str]) -> Result<PathBuf, Error> {
    let shipped = build()?;
    // Above the target's name and `release`.
    let folder = shipped.ancestors().nth(3).unwrap_or(&shipped).join("features");
    cargo_build(FILTER, &["--target-dir", &folder.display().to_string(), "--features", &features.join(",")])
}

fn cargo_build(package: &str, arguments: &[&str]) -> Result<PathBuf, Error> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let messages = run(Command::new(cargo)
        .current_dir(workspace())
        .args(["build", "--message-format=json-render-diagnostics"])
        .args(["--release", "--locked", "--target", TARGET, "--package", package])
        .args(arguments)
        .stderr(Stdio::inherit()))?;
    artifact(&messages, package).ok_or_else(|| Error::Unsupported(format!("cargo built no module of {package}")))
}

/// Adds the target by rustup, if this toolchain does not have it.
fn add_target() -> Result<(), Error> {
    let question = ["--print=target-libdir", "--target", TARGET];
    let folder = run(Command::new("rustc").current_dir(workspace()).args(question))?;
    if Path::new(folder.trim_end()).is_dir() {
        return Ok(());
    }
    eprintln!("rustup: adding {TARGET}");
    run(Command::new("rustup").current_dir(workspace()).args(["target", "add", TARGET])).map(drop)
}

/// The root of the workspace that this crate was built from.
fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The module of `package` among the files that cargo says it made.
fn artifact(messages: &str, package: &str) -> Option<PathBuf> {
    let name = package.replace('-', "_") + ".wasm";
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|name| name.as_str().map(PathBuf::from))
        .find(|path| path.ends_with(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","filenames":["/t/libportcullis_core.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","filenames":["/t/release/portcullis.wasm"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","filenames":["/t/release/portcullis_neighbour.wasm"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(artifact(messages, "portcullis"), Some("/t/release/portcullis.wasm".into()));
        assert_eq!(artifact(messages, "portcullis-neighbour"), Some("/t/release/portcullis_neighbour.wasm".into()));
        assert_eq!(artifact("not json", "portcullis"), None);
    }
}
