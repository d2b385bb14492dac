//! Patterns that no message may match, each with a name: the operator's expressions, and sets of rules that are built in.

use std::rc::Rc;

use super::rule_sets::{Message, RuleSet, Subject, TOO_MUCH_WORK};
use super::views::View;
use crate::regex::{Builder, RegexError, RegexSet};

/// Named expressions, and sets of rules.
#[derive(Debug, Default)]
pub struct Patterns {
    names: Vec<Rc<str>>,
    own: Option<Rc<RegexSet>>,
    sets: Vec<RuleSet>,
    /// The names of the rules of all sets, and of the bound of their work.
    set_names: Vec<Rc<str>>,
}

impl Patterns {
    /// The operator's `rules`, names and expressions, and the sets that are built in.
    ///
    /// # Errors
    /// [`RegexError`] with the index of the rule: where all are too large together, of the first that does not fit.
    pub fn new(rules: &[(&str, &str)], sets: Vec<RuleSet>, builder: &mut Builder) -> Result<Self, (usize, RegexError)> {
        let names = rules.iter().map(|(name, _)| Rc::from(*name)).collect();
        let own = match rules {
            [] => None,
            _ => Some(builder.set(rules.iter().map(|(_, regex)| *regex))?),
        };
        let work = (!sets.is_empty()).then_some(&TOO_MUCH_WORK);
        let set_names = sets.iter().flat_map(|set| set.names()).chain(work).map(|name| Rc::from(*name)).collect();
        Ok(Self { names, own, sets, set_names })
    }

    /// All names, in the order of the rules.
    pub fn names(&self) -> impl Iterator<Item = &Rc<str>> {
        self.names.iter().chain(&self.set_names)
    }

    /// The name of a rule that `view` matches, by itself or with what was seen of its `message` before.
    #[must_use]
    pub fn find(&self, view: View<'_>, message: &mut Message) -> Option<&Rc<str>> {
        let own = self.own.as_ref().and_then(|own| own.first_match(view.text()));
        own.and_then(|index| self.names.get(index)).or_else(|| self.find_built_in(view, message))
    }

    /// Where in the keys of its side a rule stands.
    #[must_use]
    pub fn place(&self, rule: &Rc<str>) -> String {
        match self.names.iter().position(|own| Rc::ptr_eq(own, rule)) {
            Some(index) => format!("deny_patterns[{index}]"),
            None => "rule_sets".to_owned(),
        }
    }

    /// How many automata of the operator's expressions look at each character.
    #[must_use]
    pub fn scan_count(&self) -> usize {
        self.own.as_ref().map_or(0, |own| own.scan_count())
    }

    fn find_built_in(&self, view: View<'_>, message: &mut Message) -> Option<&Rc<str>> {
        if self.sets.is_empty() || !view.says_more() {
            return None;
        }
        let subject = Subject::new(view.text());
        let name = if message.take(&subject) {
            self.sets.iter().find_map(|set| set.find(&subject).or_else(|| message.find(*set, &subject)))?
        } else {
            TOO_MUCH_WORK
        };
        self.set_names.iter().find(|own| &***own == name)
    }
}
