//! Where the project lies, and its child processes.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::report::Outcome;

/// What `cargo metadata` tells of the project.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// `--test NAME` for each integration test of portcullis-host-tests that needs no Envoy.
    host_tests: Vec<String>,
}

impl Workspace {
    /// # Errors
    ///
    /// When `cargo metadata` does not run here or its answer lacks a member.
    pub(crate) fn find() -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new("cargo");
        command.args(["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit());
        let metadata: Value = serde_json::from_slice(&command.output()?.stdout)?;
        let path = |name| metadata[name].as_str().map(PathBuf::from).ok_or("a path is missing in the metadata");
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            host_tests: host_tests(&metadata).flat_map(|name| ["--test".to_owned(), name.to_owned()]).collect(),
        })
    }

    /// Runs the lines one after the other, until one fails.
    pub(crate) fn run_all(&self, lines: &[&str]) -> Outcome {
        let mut outcomes = lines.iter().map(|line| self.run(line));
        outcomes.find(|outcome| matches!(outcome, Outcome::Failed(_))).unwrap_or(Outcome::PASSED)
    }

    /// Runs one line, its output shown as it comes; the last line of it is in the note of a failure. Words with `=` before the program are variables of its environment,
    /// `{target}` is cargo's target directory, `{host-tests}` selects the integration tests that need no Envoy. There is no quoting.
    pub(crate) fn run(&self, line: &str) -> Outcome {
        self.run_read(line, |_| {})
    }

    /// As [`Self::run`], and hands each line of its standard output to `reader`.
    pub(crate) fn run_read(&self, line: &str, mut reader: impl FnMut(&str)) -> Outcome {
        println!("$ {line}");
        let mut child = match self.command(line).stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => return Outcome::Failed(format!("cannot start `{line}`: {error}")),
        };
        let mut last_said = String::new();
        let lines = child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).split(b'\n'));
        for said in lines.map_while(Result::ok) {
            let said = String::from_utf8_lossy(&said).into_owned();
            println!("{said}");
            reader(&said);
            if !said.is_empty() {
                last_said = said;
            }
        }
        match child.wait() {
            Ok(status) if status.success() => Outcome::PASSED,
            Ok(status) if last_said.is_empty() => Outcome::Failed(format!("{status} of `{line}`")),
            Ok(status) => Outcome::Failed(format!("{status} of `{line}`: {last_said}")),
            Err(error) => Outcome::Failed(format!("`{line}` is lost: {error}")),
        }
    }

    /// Whether one line succeeds, whatever it prints.
    pub(crate) fn succeeds(&self, line: &str) -> bool {
        self.command(line).stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
    }

    /// What one line prints, if it succeeds.
    pub(crate) fn output(&self, line: &str) -> Option<String> {
        let output =
            self.command(line).stderr(Stdio::inherit()).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    }

    fn command(&self, line: &str) -> Command {
        let (variables, program, arguments) = parse(line);
        let mut command = Command::new(self.expanded(program));
        command.current_dir(&self.root);
        // `cargo run` describes this package to this process; build scripts that look at it (ring's) would run again for nothing.
        env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| describes_package(&name.to_string_lossy()))
            .for_each(|name| _ = command.env_remove(name));
        for (name, value) in variables {
            command.env(name, self.expanded(value));
        }
        for argument in arguments {
            match argument {
                "{host-tests}" => command.args(&self.host_tests),
                _ => command.arg(self.expanded(argument)),
            };
        }
        command
    }

    fn expanded(&self, word: &str) -> String {
        word.replace("{target}", &self.target.to_string_lossy())
    }
}

fn parse(line: &str) -> (Vec<(&str, &str)>, &str, Vec<&str>) {
    let mut words = line.split_whitespace().peekable();
    let mut variables = Vec::new();
    while let Some(variable) = words.peek().and_then(|word| word.split_once('=')) {
        variables.push(variable);
        words.next();
    }
    (variables, words.next().unwrap_or_default(), words.collect())
}

fn describes_package(variable: &str) -> bool {
    ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// The names of portcullis-host-tests' integration tests, without those that start an Envoy.
fn host_tests(metadata: &Value) -> impl Iterator<Item = &str> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| package["name"] == "portcullis-host-tests")
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| target["name"].as_str())
        .filter(|name| !name.starts_with("envoy"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace() -> Workspace {
        let host_tests = ["--test", "hostile"].map(str::to_owned).to_vec();
        Workspace { root: "/project".into(), target: "/my target".into(), host_tests }
    }

    #[track_caller]
    fn check(line: &str, program: &str, arguments: &[&str]) {
        let command = workspace().command(line);
        assert_eq!(command.get_program(), program);
        assert!(command.get_args().eq(arguments.iter().copied()), "{command:?}");
    }

    #[test]
    fn a_line_is_split_at_spaces_and_its_words_are_expanded() {
        check("cargo fmt --all --check", "cargo", &["fmt", "--all", "--check"]);
        check("cargo test --lib {host-tests}", "cargo", &["test", "--lib", "--test", "hostile"]);
        check("ls {target}/debug", "ls", &["/my target/debug"]);
        check("{target}/bin/python run.py", "/my target/bin/python", &["run.py"]);
        check("A=b cargo c --d=e", "cargo", &["c", "--d=e"]);
    }

    #[test]
    fn words_with_an_equals_sign_before_the_program_are_variables() {
        let command = workspace().command("RUNNER={target}/runner FLAGS=-Dwarnings cargo test --a=b");
        let variables: Vec<_> = command.get_envs().filter_map(|(name, value)| Some((name, value?))).collect();
        assert_eq!(
            variables,
            [("FLAGS".as_ref(), "-Dwarnings".as_ref()), ("RUNNER".as_ref(), "/my target/runner".as_ref())]
        );
    }

    #[test]
    fn variables_that_describe_a_package_do_not_reach_the_children() {
        // Cargo sets this one for tests, as it does for `cargo run`.
        let command = workspace().command("cargo test");
        assert!(command.get_envs().any(|(name, value)| name == "CARGO_MANIFEST_DIR" && value.is_none()));
    }

    #[test]
    fn a_line_that_fails_is_noted_with_what_it_said_last() {
        let workspace = Workspace { root: ".".into(), ..workspace() };
        let note = |note: &str| Outcome::Failed(note.to_owned());
        let line = "diff --brief /dev/null Cargo.toml";
        let said = "Files /dev/null and Cargo.toml differ";
        assert_eq!(workspace.run(line), note(&format!("exit status: 1 of `{line}`: {said}")));
        assert_eq!(workspace.run("false"), note("exit status: 1 of `false`"));
        assert_eq!(workspace.run("true"), Outcome::PASSED);
    }

    #[test]
    fn host_tests_are_the_integration_tests_that_start_no_envoy() {
        let metadata = json!({ "packages": [
            { "name": "portcullis-envoy", "targets": [{ "kind": ["test"], "name": "other" }] },
            { "name": "portcullis-host-tests", "targets": [
                { "kind": ["lib"], "name": "portcullis_host_tests" },
                { "kind": ["test"], "name": "envoy_upgrade" },
                { "kind": ["test"], "name": "hostile" },
                { "kind": ["test"], "name": "lifecycle" },
            ]},
        ]});
        assert_eq!(host_tests(&metadata).collect::<Vec<_>>(), ["hostile", "lifecycle"]);
    }
}
