//! `cargo verify`: runs every check of the project in order, each as a child process whose output is shown as it comes.
//!
//! ```text
//! cargo verify                  every check but those that run only where they are named
//! cargo verify -- format core   only these, in the order of the list
//! cargo verify -- --list        the list
//! cargo verify -- --missing     the commands that install what is missing here; also for some: --missing deny
//! ```
//!
//! First it says what the checks need that is not there, and which command installs it; a check that lacks something fails and is not
//! started. A check that fails stops none of the others. At the end stands a table of what ran, and a closing line `N passed, M failed`
//! with nothing else on it; the exit code is 1 if a check failed. It installs nothing but the rustup target: `.ci/run` does that.

mod matrix;
mod needs;
mod release;
mod report;
mod scheduled;
mod steps;
mod workspace;

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use report::{Outcome, Report};
use steps::{Action, STEPS, Step};
use workspace::Workspace;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let only_missing = arguments.first().is_some_and(|argument| argument == "--missing");
    if only_missing {
        arguments.remove(0);
    }
    if arguments.iter().any(|argument| argument.starts_with('-')) {
        list();
        return if arguments == ["--list"] { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    let steps = match selected(&arguments) {
        Ok(steps) => steps,
        Err(name) => {
            eprintln!("no check has the name {name}; `cargo verify -- --list` prints them");
            return ExitCode::from(2);
        }
    };
    let workspace = match Workspace::find() {
        Ok(workspace) => workspace,
        Err(error) => {
            eprintln!("cannot read the workspace: {error}");
            return ExitCode::from(2);
        }
    };

    let missing = needs::missing(steps.iter().flat_map(|step| step.needs), |need| need.is_there(&workspace));
    if only_missing {
        missing.iter().for_each(|need| println!("{}", need.command()));
        return ExitCode::SUCCESS;
    }
    for step in &steps {
        if let Some(note) = needs::lacks(step.needs, &missing) {
            println!("{} {note}", step.name);
        }
    }
    if !missing.is_empty() {
        println!("these fail; `.ci/run` installs all of it and then runs every check");
    }

    let mut report = Report::default();
    for step in steps {
        if let Some(note) = needs::lacks(step.needs, &missing) {
            report.add(step.name, Duration::ZERO, Outcome::Failed(note));
            continue;
        }
        println!("\n==== {}: {}", step.name, step.rule);
        let started = Instant::now();
        let outcome = match step.action {
            Action::Call(check) => check(&workspace),
            Action::Run(lines) => workspace.run_all(lines),
        };
        if matches!(outcome, Outcome::Failed(_)) {
            println!("---- {} failed. {}", step.name, step.hint);
        }
        report.add(step.name, started.elapsed(), outcome);
    }
    println!("\n{report}");
    if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The steps of these names, in the order of the table; for no name all that need not be named.
///
/// # Errors
///
/// The first name that no step has.
fn selected(names: &[String]) -> Result<Vec<&'static Step>, &str> {
    match names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        Some(unknown) => Err(unknown),
        None if names.is_empty() => Ok(STEPS.iter().filter(|step| !step.only_named).collect()),
        None => Ok(STEPS.iter().filter(|step| names.iter().any(|name| step.name == name)).collect()),
    }
}

fn list() {
    println!("usage: cargo verify [-- --list | [--missing] NAME…]\n");
    for step in STEPS {
        println!("{:<16} {}{}", step.name, step.rule, if step.only_named { " (only where it is named)" } else { "" });
        if let Action::Run(lines) = step.action {
            lines.iter().for_each(|line| println!("{:16}   {line}", ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], expected: Result<Vec<&str>, &str>) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(selected(&names).map(|steps| steps.iter().map(|step| step.name).collect()), expected);
    }

    #[test]
    fn named_steps_run_once_and_in_the_order_of_the_table() {
        check(&["core", "format", "core"], Ok(vec!["format", "core"]));
        check(&["core", "cores"], Err("cores"));
    }

    #[test]
    fn no_name_selects_every_step_that_need_not_be_named() {
        let named = ["clients", "matrix", "soak", "fuzz-long", "release", "msrv", "coverage", "audit"];
        let names: Vec<_> = STEPS.iter().map(|step| step.name).filter(|name| !named.contains(name)).collect();
        check(&[], Ok(names));
        check(&["clients"], Ok(vec!["clients"]));
    }
}
