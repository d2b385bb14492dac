//! Patterns that no message may match, each with a name.
//!
//! Rules that were written together share an automaton. All in one would look at a text only once, but its states multiply: three sets of
//! rules took 2 MB of text 50 times as long as one after the other.

use std::rc::Rc;

use crate::regex::{RegexError, RegexSet};

/// Named expressions.
#[derive(Debug, Default)]
pub struct Patterns(Vec<Group>);

/// The expressions of one automaton, and their names.
#[derive(Debug)]
struct Group {
    names: Vec<Rc<str>>,
    set: RegexSet,
}

impl Patterns {
    /// Adds an automaton of `rules`, names and expressions.
    ///
    /// # Errors
    /// [`RegexError`] with the index of the rule: where all are too large together, of the first that does not fit.
    pub fn add<'a>(&mut self, rules: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), (usize, RegexError)> {
        let (names, patterns): (Vec<Rc<str>>, Vec<&str>) =
            rules.into_iter().map(|(name, regex)| (name.into(), regex)).unzip();
        let set = RegexSet::new(patterns)?;
        self.0.push(Group { names, set });
        Ok(())
    }

    /// All names, in the order of the rules.
    pub fn names(&self) -> impl Iterator<Item = &Rc<str>> {
        self.0.iter().flat_map(|group| &group.names)
    }

    /// The name of a rule that `text` matches.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<&Rc<str>> {
        self.0.iter().find_map(|Group { names, set }| set.first_match(text).and_then(|index| names.get(index)))
    }
}
