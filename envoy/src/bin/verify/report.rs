//! What ran, how long it took, and the closing line.

use std::{fmt, time::Duration};

/// What became of a step, with a note for the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Failed(String),
    Passed(String),
    /// It needs something that this machine cannot reach. Neither passed nor failed, and said so.
    Unreachable(String),
}

impl Outcome {
    /// There is nothing to note.
    pub(crate) const PASSED: Self = Self::Passed(String::new());
}

/// The table of a run. As text it ends with the closing line `N passed, M failed`.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(&'static str, Duration, Outcome)>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &'static str, elapsed: Duration, outcome: Outcome) {
        self.rows.push((name, elapsed, outcome));
    }

    pub(crate) fn failed(&self) -> usize {
        self.rows.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Failed(_))).count()
    }

    fn passed(&self) -> usize {
        self.rows.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Passed(_))).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:<16} {:<11} {:>8}  note", "check", "result", "seconds")?;
        for (name, elapsed, outcome) in &self.rows {
            let (result, note) = match outcome {
                Outcome::Failed(note) => ("FAILED", note),
                Outcome::Passed(note) => ("passed", note),
                Outcome::Unreachable(note) => ("unreachable", note),
            };
            let row = format!("{name:<16} {result:<11} {:>8.1}  {note}", elapsed.as_secs_f64());
            writeln!(formatter, "{}", row.trim_end())?;
        }
        let total: Duration = self.rows.iter().map(|(_, elapsed, _)| elapsed).sum();
        writeln!(formatter, "{:<28} {:>8.1}\n", "total", total.as_secs_f64())?;
        write!(formatter, "{} passed, {} failed", self.passed(), self.failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(outcomes: Vec<Outcome>, expected: &str) {
        let mut report = Report::default();
        outcomes.into_iter().for_each(|outcome| report.add("core", Duration::from_millis(1_250), outcome));
        assert_eq!(report.to_string().lines().last(), Some(expected));
    }

    #[test]
    fn the_closing_line_counts_what_passed_and_what_failed() {
        let [passed, failed, unreachable] = [Outcome::Passed, Outcome::Failed, Outcome::Unreachable]
            .map(|outcome| move || outcome("a note".to_owned()));
        check(vec![], "0 passed, 0 failed");
        check(vec![passed(), passed()], "2 passed, 0 failed");
        check(vec![passed(), failed(), failed()], "1 passed, 2 failed");
        check(vec![passed(), unreachable()], "1 passed, 0 failed");
    }

    #[test]
    fn a_row_tells_name_result_time_and_note() {
        let mut report = Report::default();
        report.add("advisories", Duration::from_millis(1_200), Outcome::Unreachable("not here".to_owned()));
        report.add("core", Duration::from_secs(61), Outcome::Passed(String::new()));
        let expected = "\
check            result       seconds  note
advisories       unreachable      1.2  not here
core             passed          61.0
total                            62.2

1 passed, 0 failed";
        assert_eq!(report.to_string(), expected);
    }
}
