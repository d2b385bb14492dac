//! A table of cases on standard output: what each must get, and what it got.

use std::process::ExitCode;
use std::time::Instant;

/// How many rows were as expected.
pub(crate) struct Tally {
    matched: usize,
    total: usize,
    /// What the rows that were as expected got.
    answers: Vec<String>,
    started: Instant,
}

impl Tally {
    /// Prints the head of the table.
    pub(crate) fn start() -> Self {
        println!("{:NAME_WIDTH$} | {:ANSWER_WIDTH$} | {:ANSWER_WIDTH$} | ok", "case", "expected", "got");
        println!("{:-<NAME_WIDTH$}-|-{:-<ANSWER_WIDTH$}-|-{:-<ANSWER_WIDTH$}-|---", "", "", "");
        Self { matched: 0, total: 0, answers: Vec::new(), started: Instant::now() }
    }

    /// How many rows there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Prints and counts one row.
    pub(crate) fn row(&mut self, name: &str, expected: &str, got: &str) {
        let ok = got == expected;
        self.total += 1;
        self.matched += usize::from(ok);
        self.answers.extend(ok.then(|| got.to_owned()));
        let mark = if ok { "ok" } else { "NO" };
        println!("{name:NAME_WIDTH$} | {expected:ANSWER_WIDTH$} | {got:ANSWER_WIDTH$} | {mark}");
    }

    /// Whether a row that was as expected got an answer with this word in it.
    pub(crate) fn has_seen(&self, word: &str) -> bool {
        let is_word =
            |answer: &String| answer.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|own| own == word);
        self.answers.iter().any(is_word)
    }

    /// Prints the sum; success is all of them.
    pub(crate) fn finish(&self) -> ExitCode {
        let Self { matched, total, started, .. } = self;
        println!("\n{matched} of {total} cases as expected, {:.1} s", started.elapsed().as_secs_f32());
        if matched == total { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

const NAME_WIDTH: usize = 50;
const ANSWER_WIDTH: usize = 44;
