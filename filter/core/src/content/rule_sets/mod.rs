//! The rules that are built in: what attacks say and honest messages do not.
//!
//! Each set is a table of named patterns with its tests: attacks that have to match, and look-alikes that must not. A rule sees
//! one string of a message at a time, its JSON escapes resolved, names of members as well as values.

mod command_injection;
mod cross_site_scripting;
mod nosql_injection;
mod path_traversal;
mod prototype_pollution;
mod sql_injection;

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

impl RuleSet {
    /// Names and patterns.
    #[must_use]
    pub const fn rules(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::CommandInjection => command_injection::RULES,
            Self::CrossSiteScripting => cross_site_scripting::RULES,
            Self::NosqlInjection => nosql_injection::RULES,
            Self::PathTraversal => path_traversal::RULES,
            Self::PrototypePollution => prototype_pollution::RULES,
            Self::SqlInjection => sql_injection::RULES,
        }
    }
}

#[cfg(test)]
mod tests;
