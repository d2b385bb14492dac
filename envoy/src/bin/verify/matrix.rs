//! The tests with a real Envoy, with each release of Envoy that is pinned, and README's table of them.

use std::{env, fs};

use portcullis_envoy::binary::RELEASES;

use crate::{report::Outcome, workspace::Workspace};

const SUITES: [&str; 2] = [
    "cargo test -p portcullis-envoy --all-features --no-fail-fast --test bare --test filter --test shipped",
    "cargo test -p portcullis-host-tests --all-features --no-fail-fast --test envoy*",
];

/// Runs them. `PORTCULLIS_BLESS=1` writes the table into README; without it, a table that says something else fails.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let mut cells = Vec::new();
    for release in &RELEASES {
        let mut verdicts = Verdicts::default();
        for suite in SUITES {
            let line = format!("PORTCULLIS_ENVOY_RUNNER=process PORTCULLIS_ENVOY_VERSION={} {suite}", release.version);
            let failed = verdicts.failed.len();
            match workspace.run_read(&line, |line| verdicts.read(line)) {
                // Nothing was tested: it does not build, or no Envoy comes.
                Outcome::Failed(note) if verdicts.failed.len() == failed => return Outcome::Failed(note),
                _ => {}
            }
        }
        cells.push(verdicts.cell());
    }
    let found = table(&cells);
    println!("\n{found}");
    let file = workspace.root.join("README.md");
    let readme = fs::read_to_string(&file).unwrap_or_default();
    let Some(written) = written(&readme) else { return Outcome::Failed(format!("README has no table `{HEAD}`")) };
    if written == found {
        return Outcome::Passed(format!("{} releases of Envoy", RELEASES.len()));
    }
    if env::var_os("PORTCULLIS_BLESS").is_none() {
        return Outcome::Failed("README's table says something else; PORTCULLIS_BLESS=1 writes it".to_owned());
    }
    match fs::write(&file, readme.replace(written, &found)) {
        Ok(()) => Outcome::Passed("README's table is written".to_owned()),
        Err(error) => Outcome::Failed(format!("{}: {error}", file.display())),
    }
}

/// With what the table begins.
const HEAD: &str = "| Envoy |";

/// What `cargo test` says of its tests.
#[derive(Default)]
struct Verdicts {
    passed: usize,
    failed: Vec<String>,
}

impl Verdicts {
    fn read(&mut self, line: &str) {
        let Some((name, verdict)) = line.strip_prefix("test ").and_then(|line| line.rsplit_once(" ... ")) else {
            return;
        };
        match verdict {
            "ok" => self.passed += 1,
            "FAILED" => self.failed.push(name.to_owned()),
            _ => {}
        }
    }

    fn cell(&self) -> String {
        match (self.passed, self.failed.as_slice()) {
            (0, []) => "no test ran".to_owned(),
            (_, []) => "✓".to_owned(),
            (_, failed) => format!("not `{}`", failed.join("`, `")),
        }
    }
}

fn table(cells: &[String]) -> String {
    let versions = RELEASES.iter().map(|release| release.version).collect::<Vec<_>>().join(" | ");
    let ruler = "|---".repeat(RELEASES.len() + 1);
    format!("{HEAD} {versions} |\n{ruler}|\n| all tests pass | {} |\n", cells.join(" | "))
}

/// The table in a document, up to the end of its last row.
fn written(document: &str) -> Option<&str> {
    let begin = document.find(&format!("\n{HEAD}"))? + 1;
    let lines = document.get(begin..)?.split_inclusive('\n');
    let len = lines.take_while(|line| line.starts_with('|')).map(str::len).sum::<usize>();
    document.get(begin..begin + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        let mut verdicts = Verdicts::default();
        output.lines().for_each(|line| verdicts.read(line));
        assert_eq!(verdicts.cell(), expected);
    }

    #[test]
    fn a_cell_names_the_tests_that_failed() {
        check("running 2 tests\ntest a::b ... ok\ntest c ... ok\n\ntest result: ok. 2 passed", "✓");
        check("test a::b ... FAILED\ntest c ... ok\ntest d ... FAILED", "not `a::b`, `d`");
    }

    #[test]
    fn a_suite_without_tests_has_passed_nothing() {
        check("", "no test ran");
        check("test a ... ignored", "no test ran");
    }

    #[test]
    fn a_table_is_found_where_it_was_written() {
        let table = table(&vec!["✓".to_owned(); RELEASES.len()]);
        assert_eq!(written(&format!("| other |\n\ntext\n{table}\nmore")), Some(table.as_str()));
        assert_eq!(written("text\n"), None);
    }

    #[test]
    fn readme_has_a_column_for_each_release() {
        let readme = include_str!("../../../../README.md");
        assert_eq!(written(readme).and_then(|table| table.lines().next()), table(&[]).lines().next());
    }
}
