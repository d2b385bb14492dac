//! What is found while a policy is read and built: everything that is wrong with it, and what is weak.
//!
//! Reading and building go on where something is wrong, so that all of it is named at once; what was wrong is then left out, or has its
//! default. [`Findings::conclude`] is the one place that tells whether anything was.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::error::{ConfigError, Finding, step};
use crate::json;

/// The most faults that are kept. Nobody reads as many, and each is compared with those before it.
const FAULTS_MAX: usize = 100;

/// What has been found so far, and the path of what is being looked at.
#[derive(Default)]
pub(super) struct Findings {
    at: String,
    faults: Vec<Finding>,
    /// How many of the faults are of what could not be read.
    unread: usize,
    omitted: usize,
    warnings: Vec<Finding>,
    /// Whether numbers may be texts: Envoy's YAML reader makes such of those with a fraction or of more than 32 bits, and a `Struct` keeps them.
    pub(super) is_struct: bool,
}

impl Findings {
    /// Looks at what is at `path`, seen from here.
    pub(super) fn within<T>(&mut self, path: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        let len = self.at.len();
        join(&mut self.at, path);
        let seen = look(self);
        self.at.truncate(len);
        seen
    }

    /// Looks at an element of the list that is here.
    pub(super) fn at<T>(&mut self, index: usize, look: impl FnOnce(&mut Self) -> T) -> T {
        self.within(&format!("[{index}]"), look)
    }

    /// Looks at the value of `key`, which an operator may have made up.
    pub(super) fn under<T>(&mut self, key: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        self.within(&step(key), look)
    }

    /// Builds every element of a list, but for those that are refused.
    pub(super) fn each<T, U>(
        &mut self,
        key: &str,
        list: Option<&[T]>,
        mut build: impl FnMut(&T, &mut Self) -> Option<U>,
    ) -> Vec<U> {
        let mut built = Vec::new();
        self.within(key, |found| {
            for (index, element) in list.unwrap_or_default().iter().enumerate() {
                built.extend(found.at(index, |found| build(element, found)));
            }
        });
        built
    }

    /// A number, as it was before it was a text.
    pub(super) fn number<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        let text = value.as_str().filter(|_| self.is_struct);
        let number = text.and_then(|text| json::parse(text.as_bytes()).ok()).filter(Value::is_number);
        number.map_or(Cow::Borrowed(value), Cow::Owned)
    }

    /// What was to be read has been: faults from here on are of what values mean.
    pub(super) const fn has_read(&mut self) {
        self.unread = self.faults.len();
    }

    /// Whether what is at `path`, what it is in, or something in it could not be read, so that nothing follows from its absence.
    pub(super) fn is_unread(&self, path: &str) -> bool {
        let path = self.path(path);
        self.faults.iter().take(self.unread).any(|fault| is_part(fault.path(), &path) || is_part(&path, fault.path()))
    }

    /// Says what is wrong with what is at `path`, unless it follows from what could not be read.
    #[cold]
    #[inline(never)]
    pub(super) fn fault(&mut self, path: &str, problem: &str) {
        if !self.is_unread(path) {
            self.push(Finding::new(self.path(path), problem.to_owned()));
        }
    }

    /// The same, where there is nothing to go on with.
    pub(super) fn refuse<T>(&mut self, path: &str, problem: &str) -> Option<T> {
        self.fault(path, problem);
        None
    }

    /// Says what was expected here. What was found instead may be a secret.
    #[cold]
    #[inline(never)]
    pub(super) fn expected<T>(&mut self, what: &str) -> Option<T> {
        self.refuse("", &format!("expected {what}"))
    }

    /// Says what is weak.
    #[cold]
    #[inline(never)]
    pub(super) fn warn(&mut self, path: &str, problem: &str) {
        self.warnings.push(Finding::new(self.path(path), problem.to_owned()));
    }

    /// For what is found here, with paths that begin here, so that it can be repeated elsewhere.
    pub(super) fn part(&self) -> Self {
        let unread = self.faults.iter().take(self.unread).map(Finding::path);
        let unread = unread.filter(|path| is_part(path, &self.at)).filter_map(|path| path.strip_prefix(&self.at));
        let unread = unread.map(|path| Finding::new(path.trim_start_matches('.').to_owned(), String::new()));
        let faults: Vec<Finding> = unread.collect();
        Self { unread: faults.len(), faults, ..Self::default() }
    }

    /// Says here what was found in a part like the one that is here.
    pub(super) fn repeat(&mut self, known: &Self) {
        for fault in known.faults.iter().skip(known.unread) {
            self.fault(fault.path(), fault.problem());
        }
        for warning in &known.warnings {
            self.warn(warning.path(), warning.problem());
        }
    }

    /// Takes over what was found in the policy that is here, a route's, but for what it has inherited: what was found in the base too,
    /// where the route says nothing.
    pub(super) fn inherit(&mut self, own: Self, changes: &Map<String, Value>) {
        for fault in own.faults {
            if !self.faults.contains(&fault) || says(changes, fault.path()) {
                self.push(Finding::new(self.path(fault.path()), fault.problem().to_owned()));
            }
        }
        for warning in own.warnings {
            if !self.warnings.contains(&warning) || says(changes, warning.path()) {
                self.warn(warning.path(), warning.problem());
            }
        }
        if self.omitted == 0 {
            self.omitted = own.omitted;
        }
    }

    /// What was built, with the warnings, if nothing is wrong with it.
    ///
    /// # Errors
    /// [`ConfigError`] with all faults.
    pub(super) fn conclude<T>(self, built: Option<T>) -> Result<(T, Vec<Finding>), ConfigError> {
        match built {
            Some(built) if self.faults.is_empty() => Ok((built, self.warnings)),
            Some(_) | None => Err(ConfigError { faults: self.faults, omitted: self.omitted }),
        }
    }

    fn push(&mut self, fault: Finding) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    fn path(&self, path: &str) -> String {
        let mut whole = self.at.clone();
        join(&mut whole, path);
        whole
    }
}

/// Makes `path` that of what is at `rest` from there.
fn join(path: &mut String, rest: &str) {
    if !path.is_empty() && !rest.is_empty() && !rest.starts_with(['[', '/']) {
        path.push('.');
    }
    path.push_str(rest);
}

/// Whether `path` leads to `whole`, or into it.
fn is_part(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole)
        .is_some_and(|rest| whole.is_empty() || rest.is_empty() || rest.starts_with(['.', '[', '/']))
}

/// Whether a route says something itself about what is at `path` of its policy.
fn says(changes: &Map<String, Value>, path: &str) -> bool {
    path.is_empty()
        || changes.iter().any(|(key, value)| {
            let key = step(key);
            let rest = path.strip_prefix(&key).filter(|_| is_part(path, &key));
            rest.is_some_and(|rest| match value {
                Value::Object(members) => says(members, rest.strip_prefix('.').unwrap_or(rest)),
                _ => true,
            })
        })
}

#[cfg(test)]
mod tests;
