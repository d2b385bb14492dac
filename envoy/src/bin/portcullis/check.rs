//! `portcullis check`: the filter's own parser, with the place of each fault in the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use portcullis_core::config::{self, Finding};
use serde_json::{Value, json};

use crate::document::{self, Node, Position};
use crate::hint::hint;

/// What the variables that a policy names are.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    pub(crate) known: BTreeMap<String, String>,
    /// Whether one that is not known has a value all the same, long enough for any key.
    pub(crate) allow_missing: bool,
}

impl Variables {
    fn get(&self, name: &str) -> Option<String> {
        // Keys of one list have to differ.
        let placeholder = || self.allow_missing.then(|| format!("{name:-<64}"));
        self.known.get(name).cloned().or_else(placeholder)
    }
}

/// A fault or a warning, and where it is.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) position: Position,
    pub(crate) path: String,
    pub(crate) problem: String,
    pub(crate) hint: Option<String>,
}

/// What is found in one file.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<Placed>,
    /// How many more faults there are.
    pub(crate) omitted: usize,
    pub(crate) warnings: Vec<Placed>,
}

impl Report {
    /// Whether the filter takes the policy.
    pub(crate) const fn is_good(&self) -> bool {
        self.faults.is_empty() && self.omitted == 0
    }

    /// A line for each fault and warning, as compilers write them.
    pub(crate) fn text(&self, file: &str) -> String {
        let mut text = String::new();
        let kinds = [("", &self.faults), ("warning: ", &self.warnings)];
        for (kind, placed) in kinds.into_iter().flat_map(|(kind, list)| list.iter().map(move |placed| (kind, placed))) {
            let Position { line, column } = placed.position;
            let path = if placed.path.is_empty() { String::new() } else { format!("{}: ", placed.path) };
            let _ = writeln!(text, "{file}:{line}:{column}: {kind}{path}{}", placed.problem);
            if let Some(hint) = &placed.hint {
                let _ = writeln!(text, "    hint: {hint}");
            }
        }
        match self.omitted {
            0 => {}
            omitted => _ = writeln!(text, "{file}: {omitted} more faults"),
        }
        if self.is_good() {
            let _ = writeln!(text, "{file}: the policy holds");
        }
        text
    }

    /// The same for programs.
    pub(crate) fn json(&self, file: &str) -> Value {
        let list = |placed: &[Placed]| {
            let one = |placed: &Placed| {
                let Position { line, column } = placed.position;
                json!({"path": placed.path, "line": line, "column": column, "problem": placed.problem, "hint": placed.hint})
            };
            placed.iter().map(one).collect::<Vec<_>>()
        };
        json!({
            "file": file, "holds": self.is_good(), "faults": list(&self.faults), "omitted": self.omitted,
            "warnings": list(&self.warnings),
        })
    }
}

/// Checks the policy in `text`; `None` where there is none in it.
pub(crate) fn check(text: &str, variables: &Variables) -> Option<Report> {
    let policy = match document::policy(text) {
        Ok(policy) => policy?,
        Err(document::Unreadable { position, problem }) => {
            let fault = Placed { position, path: String::new(), problem: problem.to_owned(), hint: None };
            return Some(Report { faults: vec![fault], ..Report::default() });
        }
    };
    let place = |findings: &[Finding]| {
        let mut placed: Vec<Placed> = findings.iter().map(|finding| placed(&policy, finding)).collect();
        placed.sort_by_key(|placed| (placed.position.line, placed.position.column));
        placed
    };
    let parsed = config::parse(policy.value().to_string().as_bytes(), &|name| variables.get(name));
    Some(match parsed {
        Ok(parsed) => Report { warnings: place(&parsed.warnings), ..Report::default() },
        Err(error) => Report { faults: place(error.faults()), omitted: error.omitted(), ..Report::default() },
    })
}

/// The policy in `text`, as it is written.
///
/// # Errors
/// Why there is none.
pub(crate) fn policy(text: &str) -> Result<Value, String> {
    let policy = document::policy(text).map_err(|unreadable| unreadable.problem.to_owned())?;
    Ok(policy.ok_or("there is no policy in it")?.value())
}

/// What the filter makes of a policy.
///
/// # Errors
/// The first faults; `portcullis check` says where they are.
pub(crate) fn parsed(policy: &Value, variables: &Variables) -> Result<config::Parsed, String> {
    let parsed = config::parse(policy.to_string().as_bytes(), &|name| variables.get(name));
    parsed.map_err(|error| error.to_string())
}

fn placed(policy: &Node, finding: &Finding) -> Placed {
    let found = policy.find(finding.path());
    let is_key = finding.problem().starts_with("unknown field");
    let position = if is_key { policy.key_position(finding.path()).unwrap_or(found.position) } else { found.position };
    Placed {
        position,
        path: finding.path().to_owned(),
        problem: finding.problem().to_owned(),
        hint: hint(finding.path(), finding.problem(), found),
    }
}

#[cfg(test)]
mod tests;
