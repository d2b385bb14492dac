//! The built-in rules: texts that stand in attacks and not in honest messages.
//!
//! Each set is code, not a list of expressions: scanners that go over a text once and look a bounded number of bytes further where a rule may begin.
//! So the work is linear, whatever the text. A rule sees one string of a message at a time, its JSON escapes resolved, names of members as well as
//! values; as it was written, and once more with its encodings undone (`plain`).

mod bytes;
mod command_injection;
mod cross_site_scripting;
mod kept;
mod names;
mod nosql_injection;
mod path_traversal;
mod plain;
mod prototype_pollution;
mod rarely;
mod reading;
mod sql_injection;
mod work;

use std::borrow::Cow;

use bytes::{DIGIT, Kinds, of};
use kept::Kept;
pub use kept::LeftOut;
pub use names::WORDS;
use reading::Reading;

/// The rule that a message matches which takes more work than one of its length may.
pub const TOO_MUCH_WORK: &str = "rule_sets.too_much_work";

/// What numbers are made of, which match no rule: a message may have one for each two of its bytes.
const NUMBER: Kinds = DIGIT | of(b"+-.");

/// A set of rules.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum RuleSet {
    /// Commands for a shell.
    CommandInjection,
    /// Script for a page.
    CrossSiteScripting,
    /// Operators for a document store.
    NosqlInjection,
    /// Paths that lead elsewhere.
    PathTraversal,
    /// Members that change what all objects are.
    PrototypePollution,
    /// Clauses for an SQL statement.
    SqlInjection,
}

/// A text as the rules read it.
#[derive(Debug)]
pub struct Subject<'a> {
    written: Reading<'a>,
    /// Where it has encodings.
    plain: Option<Reading<'static>>,
}

impl<'a> Subject<'a> {
    /// Undoes the encodings of `text`, once for all sets.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let written = Reading::new(Cow::Borrowed(text.as_bytes()));
        let plain = if written.has(plain::SIGNS) { plain::plain(text) } else { None };
        Self { written, plain: plain.map(|exact| Reading::new(Cow::Owned(exact))) }
    }

    /// What all sets need for it, by estimate.
    fn work(&self) -> usize {
        let plain = self.plain.as_ref().map_or(0, Reading::work);
        self.written.work().saturating_add(plain)
    }
}

/// What is known of a message while its strings are judged one after the other.
#[derive(Debug)]
pub struct Message {
    constructor: bool,
    /// The work that its other strings may take.
    left: usize,
}

impl Message {
    /// A message of `len` bytes, on which a schema has spent so many of its `steps`.
    #[must_use]
    pub fn new(len: usize, steps: u64) -> Self {
        Self { constructor: false, left: work::allowed(len, steps) }
    }

    /// How many of a schema's steps the work is worth that it may still take.
    #[must_use]
    pub fn left(&self) -> u64 {
        (self.left as u64).saturating_mul(work::STEPS_PER_UNIT)
    }

    /// Takes what `subject` needs; whether so much was left.
    #[must_use]
    pub fn take(&mut self, subject: &Subject<'_>) -> bool {
        match self.left.checked_sub(subject.work()) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// The rule of `set` that the next string completes, together with those before it, unless it is left out.
    #[must_use]
    pub fn find(&mut self, set: RuleSet, subject: &Subject<'_>, left_out: &LeftOut) -> Option<&'static str> {
        if set != RuleSet::PrototypePollution || left_out.0.contains(&prototype_pollution::CONSTRUCTOR_KEY) {
            return None;
        }
        let is = |name: &[u8]| {
            let plain = subject.plain.as_ref();
            subject.written.exact() == name || plain.is_some_and(|plain| plain.exact() == name)
        };
        self.constructor |= is(b"constructor");
        (self.constructor && is(b"prototype")).then_some(prototype_pollution::CONSTRUCTOR_KEY)
    }
}

impl RuleSet {
    /// All sets.
    pub const ALL: [Self; 6] = [
        Self::CommandInjection,
        Self::CrossSiteScripting,
        Self::NosqlInjection,
        Self::PathTraversal,
        Self::PrototypePollution,
        Self::SqlInjection,
    ];

    /// The names of its rules.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::CommandInjection => command_injection::NAMES,
            Self::CrossSiteScripting => cross_site_scripting::NAMES,
            Self::NosqlInjection => nosql_injection::NAMES,
            Self::PathTraversal => path_traversal::NAMES,
            Self::PrototypePollution => prototype_pollution::NAMES,
            Self::SqlInjection => sql_injection::NAMES,
        }
    }

    /// What the names of its rules begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::CommandInjection => "command_injection.",
            Self::CrossSiteScripting => "cross_site_scripting.",
            Self::NosqlInjection => "nosql_injection.",
            Self::PathTraversal => "path_traversal.",
            Self::PrototypePollution => "prototype_pollution.",
            Self::SqlInjection => "sql_injection.",
        }
    }

    /// The name of a rule that `subject` matches, but for those that are left out.
    #[must_use]
    pub fn find(self, subject: &Subject<'_>, left_out: &LeftOut) -> Option<&'static str> {
        let kept = Kept(left_out);
        let written = self.read(&subject.written, None, kept);
        written.or_else(|| self.read(subject.plain.as_ref()?, Some(&subject.written), kept))
    }

    /// `written`: where `reading` is without its encodings, what it was with them.
    fn read(self, reading: &Reading<'_>, written: Option<&Reading<'_>>, kept: Kept<'_>) -> Option<&'static str> {
        if reading.has_other(NUMBER) { self.scan(reading, written, kept) } else { None }
    }

    fn scan(self, reading: &Reading<'_>, written: Option<&Reading<'_>>, kept: Kept<'_>) -> Option<&'static str> {
        match self {
            Self::CommandInjection => command_injection::find(reading, kept),
            Self::CrossSiteScripting => cross_site_scripting::find(reading, written, kept),
            Self::NosqlInjection => nosql_injection::find(reading, kept),
            Self::PathTraversal => path_traversal::find(reading, written, kept),
            Self::PrototypePollution => prototype_pollution::find(reading, kept),
            Self::SqlInjection => sql_injection::find(reading, kept),
        }
    }
}

#[cfg(test)]
mod tests;
