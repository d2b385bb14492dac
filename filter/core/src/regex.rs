//! Regular expressions that take linear time, whatever the text: a lazily built automaton, and no backtracking.
//!
//! The syntax is that of ECMA-262 in Unicode mode, as JSON Schema recommends it (2020-12 Core §6.4), without what no automaton can
//! do: look-around and back-references are refused. Ignoring case, `(?i)` and `(?i:…)`, is about ASCII letters only.

mod automaton;
mod class;
mod parse;

use core::cell::RefCell;
use core::fmt;

use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::{Input, MatchKind};

use parse::Node;

/// The largest automaton of one expression, in bytes: `\p{L}{10}`, `.{500}` and `a{5000}` fit, `(a{100}){100}` does not.
const REGEX_LEN_MAX: usize = 262_144;

/// Likewise of many expressions together: all built-in rules take about a quarter.
const SET_LEN_MAX: usize = 1_048_576;

/// How much of what has been worked out is remembered, in bytes, until it is forgotten and worked out again: prose needs a third
/// with all built-in rules.
const CACHE_LEN_MAX: usize = 524_288;

/// An expression that is not one, or not linear, or too large: the operator's fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegexError {
    problem: &'static str,
    /// In bytes of the pattern, behind the fault.
    offset: Option<usize>,
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem)?;
        self.offset.map_or(Ok(()), |offset| write!(f, ", at byte {offset}"))
    }
}

/// One expression.
pub struct Regex(RegexSet);

/// Many expressions in one automaton: looking for all takes as long as looking for one.
pub struct RegexSet {
    automaton: DFA,
    /// What has been worked out of it.
    cache: RefCell<Cache>,
}

impl Regex {
    /// Builds the automaton of `pattern`.
    ///
    /// # Errors
    /// [`RegexError`] for what is not an expression, not linear, or too large.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        RegexSet::build(&[parse::parse(pattern)?], REGEX_LEN_MAX).map(Self).map_err(|(_, error)| error)
    }

    /// Whether the expression matches anywhere in `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.first_match(text).is_some()
    }
}

impl RegexSet {
    /// Builds one automaton of all `patterns`.
    ///
    /// # Errors
    /// Those of [`Regex::new`] with the index of the pattern: where all are too large together, of the first that does not fit.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, (usize, RegexError)> {
        let parse = |(index, pattern)| parse::parse(pattern).map_err(|error| (index, error));
        let nodes = patterns.into_iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        Self::build(&nodes, SET_LEN_MAX)
    }

    fn build(nodes: &[Node], len_max: usize) -> Result<Self, (usize, RegexError)> {
        let too_large = |index| (index, RegexError { problem: "the automaton becomes too large", offset: None });
        let nfa = automaton::build(nodes, len_max).map_err(too_large)?;
        let config = Config::new()
            .match_kind(MatchKind::LeftmostFirst)
            .cache_capacity(CACHE_LEN_MAX)
            // An automaton that needs more than that for its first steps gets it; its size is bounded above.
            .skip_cache_capacity_check(true);
        let automaton = DFA::builder().configure(config).build_from_nfa(nfa).map_err(|_| too_large(nodes.len()))?;
        let cache = RefCell::new(automaton.create_cache());
        Ok(Self { automaton, cache })
    }

    /// The index of an expression that matches: of the one whose match ends first.
    #[must_use]
    pub fn first_match(&self, text: &str) -> Option<usize> {
        let input = Input::new(text).earliest(true);
        let found = match self.cache.try_borrow_mut() {
            Ok(mut cache) => self.automaton.try_search_fwd(&mut cache, &input),
            Err(_) => self.automaton.try_search_fwd(&mut self.automaton.create_cache(), &input),
        };
        // A search fails where it may give up or meet bytes to quit at, which this automaton has neither of.
        found.ok().flatten().map(|found| found.pattern().as_usize())
    }
}

impl fmt::Debug for RegexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegexSet({} expressions)", self.automaton.pattern_len())
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Regex")
    }
}

#[cfg(test)]
mod tests;
