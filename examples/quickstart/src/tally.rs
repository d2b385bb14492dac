//! A table of cases on standard output: what each must get, and what it got.

use std::process::ExitCode;
use std::time::Instant;

/// How the rows came out.
pub(crate) struct Tally {
    total: usize,
    /// What the rows that were as expected got.
    answers: Vec<String>,
    /// The others' names, and what they got.
    strays: Vec<String>,
    started: Instant,
}

impl Tally {
    /// Prints the head of the table.
    pub(crate) fn start() -> Self {
        println!("{:NAME_WIDTH$} | {:ANSWER_WIDTH$} | {:ANSWER_WIDTH$} | ok", "case", "expected", "got");
        println!("{:-<NAME_WIDTH$}-|-{:-<ANSWER_WIDTH$}-|-{:-<ANSWER_WIDTH$}-|---", "", "", "");
        Self { total: 0, answers: Vec::new(), strays: Vec::new(), started: Instant::now() }
    }

    /// How many rows there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Prints and counts one row.
    pub(crate) fn row(&mut self, name: &str, expected: &str, got: &str) {
        let ok = got == expected;
        self.total += 1;
        let mark = if ok {
            self.answers.push(got.to_owned());
            "ok"
        } else {
            self.strays.push(format!("{name} ({got})"));
            "NO"
        };
        println!("{name:NAME_WIDTH$} | {expected:ANSWER_WIDTH$} | {got:ANSWER_WIDTH$} | {mark}");
    }

    /// Whether a row that was as expected got an answer with this word in it.
    pub(crate) fn has_seen(&self, word: &str) -> bool {
        let is_word =
            |answer: &String| answer.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|own| own == word);
        self.answers.iter().any(is_word)
    }

    /// Prints the sum, in one line with the rows that are not as expected; success is none.
    pub(crate) fn finish(&self) -> ExitCode {
        let Self { total, answers, strays, started } = self;
        print!("\n{} of {total} cases as expected, {:.1} s", answers.len(), started.elapsed().as_secs_f32());
        if strays.is_empty() {
            println!();
            return ExitCode::SUCCESS;
        }
        println!("; not so: {}", strays.join("; "));
        ExitCode::FAILURE
    }
}

const NAME_WIDTH: usize = 50;
const ANSWER_WIDTH: usize = 44;
