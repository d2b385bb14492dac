//! Regular expressions that take the same time for every byte, whatever the text: automata that are worked out when the policy is read.
//!
//! ```text
//! pattern ── parse ──▶ expression ── nfa ──▶ states ── dfa ──▶ automaton ─┐ merged as long   scan
//! pattern ── parse ──▶ expression ── nfa ──▶ states ── dfa ──▶ automaton ─┴─ as they fit ───▶ text
//! ```
//!
//! The syntax is that of ECMA-262 in Unicode mode, as JSON Schema recommends it (2020-12 Core §6.4), without what no automaton can
//! do: look-around and back-references are refused, and so is what would need too large an automaton. Ignoring case, `(?i)` and
//! `(?i:…)`, is about ASCII letters only.

mod class;
mod dfa;
mod error;
mod nfa;
mod parse;
mod scan;
mod work;

use core::fmt;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use dfa::{Dfa, MATCHED, MERGED_COUNT_MAX, TARGET_COUNT_MAX};
use error::TooLarge;
use nfa::Nfa;
use parse::Node;
use scan::Scanner;
use work::Work;

pub use error::RegexError;

/// The memory that all automata of a policy take, in bytes.
const LEN_MAX: usize = 8_388_608;

/// How many targets an automaton may have before it is minimized: most that are much too large remain so. Where the expression can be
/// divided the parts are worked out faster than the whole.
const RAW_TARGET_COUNT_MAX: usize = TARGET_COUNT_MAX * 4;

/// See [`RAW_TARGET_COUNT_MAX`].
const DIVISIBLE_TARGET_COUNT_MAX: usize = MERGED_COUNT_MAX * 3 / 2;

/// Builds the expressions of a policy, each of them once, and all of them within bounds of work and of memory.
#[derive(Debug)]
pub struct Builder {
    work: Work,
    len_left: usize,
    known: BTreeMap<Vec<String>, Rc<RegexSet>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { work: Work::default(), len_left: LEN_MAX, known: BTreeMap::new() }
    }
}

impl Builder {
    /// Builds one expression.
    ///
    /// # Errors
    /// [`RegexError`] for what is not an expression, not linear, or too large.
    pub fn regex(&mut self, pattern: &str) -> Result<Regex, RegexError> {
        self.set([pattern]).map(Regex).map_err(|(_, error)| error)
    }

    /// Builds many expressions.
    ///
    /// # Errors
    /// Those of [`Self::regex`] with the index of the pattern: where all are too large together, of the first that does not fit.
    pub fn set<'a>(
        &mut self,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Rc<RegexSet>, (usize, RegexError)> {
        let patterns: Vec<String> = patterns.into_iter().map(str::to_owned).collect();
        if let Some(known) = self.known.get(&patterns) {
            return Ok(Rc::clone(known));
        }
        let mut parts = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            let node = parse::parse(pattern).map_err(|error| (index, error))?;
            let number = u16::try_from(index).ok().filter(|index| index & MATCHED == 0);
            let number = number.ok_or_else(|| (index, TooLarge::Together.into()))?;
            self.automata(&node, number, &mut parts).map_err(|error| (index, error.into()))?;
        }
        let last = patterns.len().saturating_sub(1);
        let automata = self.merge(parts).map_err(|error| (last, error.into()))?;
        let scanner = Scanner::new(&automata);
        self.len_left = self.len_left.checked_sub(scanner.len()).ok_or_else(|| (last, TooLarge::Together.into()))?;
        let set = Rc::new(RegexSet { scanner });
        self.known.insert(patterns, Rc::clone(&set));
        Ok(set)
    }

    /// Adds the automaton of an expression, or those of its parts.
    fn automata(&mut self, node: &Node, index: u16, out: &mut Vec<Dfa>) -> Result<(), TooLarge> {
        let mut build = |raw_max, max| {
            let dfa = Dfa::new(&Nfa::new(node)?, index, raw_max, &mut self.work)?;
            if dfa.target_count() > max { Err(TooLarge::Targets) } else { Ok(dfa) }
        };
        let dfa = match build(DIVISIBLE_TARGET_COUNT_MAX, MERGED_COUNT_MAX) {
            Err(TooLarge::States | TooLarge::Targets) => match node.halves() {
                Some((one, other)) => {
                    self.automata(&one, index, out)?;
                    return self.automata(&other, index, out);
                }
                None => build(RAW_TARGET_COUNT_MAX, TARGET_COUNT_MAX)?,
            },
            built => built?,
        };
        out.push(dfa);
        Ok(())
    }

    /// Makes one of automata as long as they fit.
    fn merge(&mut self, mut parts: Vec<Dfa>) -> Result<Vec<Dfa>, TooLarge> {
        // Sorting them themselves is 5 KB more of code.
        let len = |part: &Dfa| u32::try_from(part.targets.len()).unwrap_or(u32::MAX);
        let order = parts.iter().map(len).zip(0..).collect::<BinaryHeap<(u32, u32)>>().into_sorted_vec();
        let mut merged: Vec<Dfa> = Vec::new();
        'parts: for (_, index) in order {
            let part = parts.get_mut(index as usize).map(core::mem::take).unwrap_or_default();
            for whole in merged.iter_mut().rev() {
                match whole.merged(&part, &mut self.work) {
                    Ok(both) => {
                        *whole = both;
                        continue 'parts;
                    }
                    Err(TooLarge::Together) => return Err(TooLarge::Together),
                    Err(TooLarge::States | TooLarge::Targets) => {}
                }
            }
            merged.push(part);
        }
        Ok(merged)
    }
}

/// One expression.
pub struct Regex(Rc<RegexSet>);

/// Many expressions, in as few automata as they fit.
pub struct RegexSet {
    scanner: Scanner,
}

/// Whether `text` is an expression, however large its automaton would be: it is read, and nothing is built.
#[must_use]
pub fn is_expression(text: &str) -> bool {
    parse::check(text).is_ok()
}

impl Regex {
    /// Whether the expression matches anywhere in `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.first_match(text).is_some()
    }

    /// See [`RegexSet::scan_count`].
    #[must_use]
    pub fn scan_count(&self) -> usize {
        self.0.scan_count()
    }
}

impl RegexSet {
    /// The index of an expression that matches.
    #[must_use]
    pub fn first_match(&self, text: &str) -> Option<usize> {
        self.scanner.find(text).map(usize::from)
    }

    /// How many automata look at each character: what a text costs.
    #[must_use]
    pub fn scan_count(&self) -> usize {
        self.scanner.lane_count()
    }
}

impl fmt::Debug for RegexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegexSet({} automata)", self.scan_count())
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Regex")
    }
}

#[cfg(test)]
mod tests;
