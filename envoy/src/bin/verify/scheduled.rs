//! What runs only where it is named: by hand before a release, and by the workflow once a week.

use std::{env, fs};

use crate::{report::Outcome, workspace::Workspace};

/// `PORTCULLIS_SOAK_SECONDS` says how long, by default an hour.
pub(crate) fn soak(workspace: &Workspace) -> Outcome {
    let seconds = env::var("PORTCULLIS_SOAK_SECONDS").unwrap_or_else(|_| "3600".to_owned());
    workspace.run(&format!(
        "PORTCULLIS_SOAK_SECONDS={seconds} PORTCULLIS_ENVOY_RUNNER=process \
         cargo test -p portcullis-host-tests --all-features --test envoy -- --nocapture soak::"
    ))
}

/// Each fuzz target, or the one of `PORTCULLIS_FUZZ_TARGET`, for `PORTCULLIS_FUZZ_SECONDS`, by default an hour. What reaches new code is kept in
/// `target/fuzz-corpus`, and begun with the next time.
pub(crate) fn fuzz(workspace: &Workspace) -> Outcome {
    let seconds = env::var("PORTCULLIS_FUZZ_SECONDS").unwrap_or_else(|_| "3600".to_owned());
    let only = env::var("PORTCULLIS_FUZZ_TARGET").ok();
    let known = match fs::read_dir(workspace.root.join("filter/core/fuzz/corpus")) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()),
        Err(error) => return Outcome::Failed(format!("no corpora: {error}")),
    };
    let mut targets: Vec<String> = known.filter(|name| only.as_ref().is_none_or(|only| only == name)).collect();
    targets.sort_unstable();
    if targets.is_empty() {
        return Outcome::Failed(format!("no fuzz target has the name {}", only.unwrap_or_default()));
    }
    let mut lines = vec!["rustup toolchain install nightly --profile minimal".to_owned()];
    for name in targets {
        lines.push(format!("mkdir -p {{target}}/fuzz-corpus/{name}"));
        // The sanitizer finds what unsafe code does, and the core has none.
        lines.push(format!(
            "CARGO_PROFILE_RELEASE_LTO=off cargo +nightly fuzz run -s none --fuzz-dir filter/core/fuzz --features libfuzzer \
             {name} {{target}}/fuzz-corpus/{name} filter/core/fuzz/corpus/{name} -- -max_total_time={seconds}"
        ));
    }
    workspace.run_all(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// With the Rust that Cargo.toml names.
pub(crate) fn check_msrv(workspace: &Workspace) -> Outcome {
    const RUST: &str = env!("CARGO_PKG_RUST_VERSION");
    workspace.run_all(&[
        &format!("rustup toolchain install {RUST} --profile minimal --target wasm32-wasip1"),
        &format!("cargo +{RUST} check --locked --workspace --all-targets --all-features"),
        &format!("cargo +{RUST} check --locked -p portcullis --target wasm32-wasip1"),
    ])
}
