//! `portcullis check`: the filter's own parser, with the place of each fault in the file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use portcullis_core::config::{self, Finding};
use serde_json::{Value, json};

use crate::deployment::{self, Kind, Plugin};
use crate::document::{Node, Position, Unreadable};
use crate::hint::{GIVE_VARIABLE, hint};
use crate::{envoy_yaml, messages, rules, surroundings};

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
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Placed {
    pub(crate) position: Position,
    pub(crate) path: String,
    pub(crate) problem: String,
    pub(crate) hint: Option<String>,
}

impl Placed {
    pub(crate) fn new(position: Position, path: &str, problem: &str) -> Self {
        Self { position, path: path.to_owned(), problem: problem.to_owned(), hint: None }
    }

    fn text(&self, file: &str, kind: &str) -> String {
        let Position { line, column } = self.position;
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let hint = self.hint.as_ref().map_or_else(String::new, |hint| format!("    hint: {hint}\n"));
        format!("{file}:{line}:{column}: {kind}{path}{}\n{hint}", self.problem)
    }
}

fn list(placed: &[Placed], severity: &str) -> Vec<Value> {
    let one = |placed: &Placed| {
        let Position { line, column } = placed.position;
        json!({
            "severity": severity, "path": placed.path, "line": line, "column": column, "problem": placed.problem,
            "hint": placed.hint,
        })
    };
    placed.iter().map(one).collect()
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
            text.push_str(&placed.text(file, kind));
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
        json!({
            "file": file, "holds": self.is_good(), "faults": list(&self.faults, "error"),
            "omitted": self.omitted, "warnings": list(&self.warnings, "warning"),
        })
    }
}

/// A file in which there is no policy.
#[derive(Debug)]
pub(crate) struct Absent {
    /// The files that it has Envoy read filters from.
    sources: Vec<String>,
    /// What it lacks under any policy.
    warnings: Vec<Placed>,
}

impl Absent {
    /// The warnings and a note.
    pub(crate) fn text(&self, file: &str) -> String {
        let warnings: String = self.warnings.iter().map(|placed| placed.text(file, "warning: ")).collect();
        format!("{warnings}{file}: note: {self}\n")
    }

    /// The same for programs.
    pub(crate) fn json(&self, file: &str) -> Value {
        json!({
            "file": file, "holds": null, "note": self.to_string(), "faults": [], "omitted": 0,
            "warnings": list(&self.warnings, "warning"),
        })
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no policy in it")?;
        match self.sources.as_slice() {
            [] => Ok(()),
            sources => write!(f, ": Envoy reads the filter from {}", sources.join(", ")),
        }
    }
}

/// Checks the policies in `text`, and what they are deployed in.
///
/// # Errors
/// [`Absent`] where there is none.
pub(crate) fn check(text: &str, variables: &Variables) -> Result<Report, Absent> {
    let mut report = Report::default();
    let lines: Vec<&str> = text.lines().collect();
    let documents = match deployment::documents(text) {
        Ok(documents) => documents,
        Err(Unreadable { position, problem }) => {
            report.faults.push(Placed::new(position, "", problem));
            return Ok(report);
        }
    };
    documents.iter().for_each(|document| surroundings::discovered(document, "", &mut report));
    let plugins = deployment::plugins(&documents);
    if plugins.is_empty() {
        return Err(Absent { warnings: report.warnings, ..absent(&documents) });
    }
    // What Envoy reads a file with leaves it out, what a policy is put into as it is does not.
    if text.starts_with('\u{feff}') && plugins.iter().any(|plugin| plugin.kind == Kind::Bare) {
        let problem = "a byte order mark is no JSON (RFC 8259 §8.1)";
        report.faults.push(Placed::new(Position { line: 1, column: 1 }, "", problem));
    }
    for plugin in &plugins {
        messages::judge(plugin, &mut report);
        match plugin.policy.map(|policy| plugin.read(&lines, policy)) {
            None => {}
            Some(Err(Unreadable { position, problem })) => report.faults.push(Placed::new(position, "", problem)),
            Some(Ok(policy)) => {
                envoy_yaml::judge(&lines, plugin, &mut report);
                judge(&policy, plugin, variables, &mut report);
                rules::judge(&policy, &mut report);
                surroundings::judge(plugin, &policy, &documents, &mut report);
            }
        }
    }
    for list in [&mut report.faults, &mut report.warnings] {
        list.sort_by_key(|placed| (placed.position.line, placed.position.column));
        // Two filters may lack the same.
        list.dedup();
    }
    Ok(report)
}

fn absent(documents: &[Node]) -> Absent {
    let sources = deployment::sources(documents).into_iter().map(str::to_owned).collect();
    Absent { sources, warnings: Vec::new() }
}

fn judge(policy: &Node, plugin: &Plugin<'_>, variables: &Variables, report: &mut Report) {
    let carried = plugin.variables();
    let value = |name: &str| match carried.as_ref().map(|carried| carried.get(name)) {
        Some(None) => None,
        Some(Some(Some(value))) => Some(value.clone()),
        Some(Some(None)) | None => variables.get(name),
    };
    let place = |finding: &Finding| {
        let found = policy.find(finding.path());
        let is_key = finding.problem().starts_with("unknown field");
        let at_key = if is_key { policy.key_position(finding.path()) } else { None };
        let mut placed = Placed::new(at_key.unwrap_or(found.position), finding.path(), finding.problem());
        placed.hint = hint(finding.path(), finding.problem(), found).or_else(|| rules::hint(policy, finding.path()));
        if is_missing_variable(finding) {
            let name = found.node.text().unwrap_or_default();
            let known = carried.as_ref().map(|carried| carried.contains_key(name));
            if known == Some(false) {
                placed.problem = format!("no such variable in {}", plugin.kind.variables());
                placed.hint = Some(plugin.kind.variable_hint().to_owned());
            } else {
                placed.problem = format!("{} has no value here", shown(name, known == Some(true)));
            }
        }
        placed
    };
    match parse(policy.value(), plugin.is_struct(), &value) {
        Ok(parsed) => report.warnings.extend(parsed.warnings.iter().map(place)),
        Err(error) => {
            report.faults.extend(error.faults().iter().map(place));
            report.omitted = report.omitted.saturating_add(error.omitted());
        }
    }
}

/// What the filter makes of a policy, which Envoy hands over as a `Struct` or as it is written.
fn parse(
    policy: Value,
    is_struct: bool,
    environment: config::Environment<'_>,
) -> Result<config::Parsed, config::ConfigError> {
    match is_struct {
        true => config::parse_struct(policy, environment),
        false => config::parse(policy.to_string().as_bytes(), environment),
    }
}

fn is_missing_variable(finding: &Finding) -> bool {
    finding.problem().starts_with("no such variable")
}

/// The name of a variable, unless it may be the secret itself in the wrong place: then it is neither passed on by that name nor called
/// as variables are.
fn shown(name: &str, is_passed_on: bool) -> &str {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if is_passed_on || (name.contains('_') && name.bytes().all(is_part)) { name } else { "the variable" }
}

/// A policy as it is written, and the variables with values beside it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) policy: Value,
    /// Whether Envoy hands it over as a `Struct`.
    pub(crate) is_struct: bool,
    pub(crate) variables: BTreeMap<String, String>,
}

/// The first policy in `text`.
///
/// # Errors
/// Why there is none.
pub(crate) fn written(text: &str) -> Result<Written, String> {
    let unreadable = |unreadable: Unreadable| unreadable.problem.to_owned();
    let documents = deployment::documents(text).map_err(unreadable)?;
    let plugins = deployment::plugins(&documents);
    let found = plugins.iter().find_map(|plugin| Some((plugin, plugin.policy?)));
    let (plugin, policy) = found.ok_or_else(|| absent(&documents).to_string())?;
    let lines: Vec<&str> = text.lines().collect();
    let policy = plugin.read(&lines, policy).map_err(unreadable)?.value();
    let (is_struct, variables) = (plugin.is_struct(), plugin.variables().into_iter().flatten());
    Ok(Written { policy, is_struct, variables: variables.filter_map(|(name, value)| Some((name, value?))).collect() })
}

/// What the filter makes of a policy.
///
/// # Errors
/// The first faults; `portcullis check` says where they are.
pub(crate) fn parsed(written: &Written, variables: &Variables) -> Result<config::Parsed, String> {
    let missing = RefCell::new(BTreeSet::new());
    let value = |name: &str| {
        let value = variables.get(name);
        if value.is_none() {
            missing.borrow_mut().insert(shown(name, false).to_owned());
        }
        value
    };
    parse(written.policy.clone(), written.is_struct, &value).map_err(|error| {
        if !error.faults().iter().all(is_missing_variable) {
            return error.to_string();
        }
        let names: Vec<String> = missing.take().into_iter().collect();
        let have = if names.len() > 1 { "have" } else { "has" };
        format!("{} {have} no value here: {GIVE_VARIABLE}", names.join(", "))
    })
}

#[cfg(test)]
pub(crate) mod tests;
