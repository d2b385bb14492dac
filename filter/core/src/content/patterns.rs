//! Patterns that no message may match, each with a name.

use std::rc::Rc;

use crate::regex::{RegexError, RegexSet};

/// Named expressions in one automaton.
#[derive(Debug)]
pub struct Patterns {
    names: Vec<Rc<str>>,
    set: RegexSet,
}

impl Patterns {
    /// Builds the automaton of all `rules`, names and expressions.
    ///
    /// # Errors
    /// [`RegexError`] with the index of the rule: where all are too large together, of the first that does not fit.
    pub fn new(rules: Vec<(Rc<str>, String)>) -> Result<Self, (usize, RegexError)> {
        let set = RegexSet::new(rules.iter().map(|(_, regex)| regex.as_str()))?;
        Ok(Self { names: rules.into_iter().map(|(name, _)| name).collect(), set })
    }

    /// All names, in the order of the rules.
    pub fn names(&self) -> impl Iterator<Item = &Rc<str>> {
        self.names.iter()
    }

    /// The name of a rule that `text` matches.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<&Rc<str>> {
        self.set.first_match(text).and_then(|index| self.names.get(index))
    }
}
