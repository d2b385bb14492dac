//! Regular expressions that take linear time, whatever the text: a lazily built automaton, and no backtracking.
//!
//! The syntax is that of ECMA-262 in Unicode mode, as JSON Schema recommends it (2020-12 Core §6.4), without what no automaton can
//! do: look-around and back-references are refused. Ignoring case, `(?i)` and `(?i:…)`, is about ASCII letters only.

mod translate;

use core::cell::RefCell;
use core::fmt;

use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};

use translate::translate;

/// The largest automaton of one expression, in bytes: `\p{L}{20}` fits, `(a{100}){100}` does not.
const REGEX_LEN_MAX: usize = 262_144;

/// Likewise of many expressions together: all built-in rules take about half.
const SET_LEN_MAX: usize = 2_097_152;

/// How much of what has been worked out is remembered, in bytes, until it is forgotten and worked out again: typical texts need
/// a tenth.
const CACHE_LEN_MAX: usize = 524_288;

/// How deep groups may be nested: reading them takes stack.
const NESTING_MAX: u32 = 50;

/// An expression that is not one, or not linear, or too large: the operator's fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegexError(String);

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        RegexSet::build(&[translate(pattern)?], REGEX_LEN_MAX).map(Self)
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
    /// Those of [`Regex::new`] with the index of the pattern, or behind the last where they are too large together.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, (usize, RegexError)> {
        let mut translated = Vec::new();
        for (index, pattern) in patterns.into_iter().enumerate() {
            translated.push(translate(pattern).map_err(|error| (index, error))?);
        }
        Self::build(&translated, SET_LEN_MAX).map_err(|error| {
            // One by one, to say where the fault is.
            let alone = |pattern: &String| Self::build(core::slice::from_ref(pattern), SET_LEN_MAX).err();
            let mut faults =
                translated.iter().enumerate().filter_map(|(index, pattern)| Some((index, alone(pattern)?)));
            faults.next().unwrap_or((translated.len(), error))
        })
    }

    fn build(patterns: &[String], len_max: usize) -> Result<Self, RegexError> {
        let thompson = thompson::Config::new().which_captures(WhichCaptures::None).nfa_size_limit(Some(len_max));
        let config = Config::new()
            .match_kind(MatchKind::LeftmostFirst)
            .cache_capacity(CACHE_LEN_MAX)
            // An automaton that needs more than that for its first steps gets it; its size is bounded above.
            .skip_cache_capacity_check(true);
        let syntax = syntax::Config::new().utf8(false).nest_limit(NESTING_MAX);
        let automaton = DFA::builder().syntax(syntax).thompson(thompson).configure(config).build_many(patterns);
        let automaton = automaton.map_err(|error| RegexError(source(&error)))?;
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

/// What the library says of a fault: its own words are about its stages, those of the cause about the expression.
fn source(error: &dyn core::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), source)
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
