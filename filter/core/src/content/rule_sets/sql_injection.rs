//! SQL that leaves the value it was written into (CWE-89): MySQL, PostgreSQL, SQL Server, Oracle, SQLite.
//!
//! The rules look for the way out, not for SQL: a value that closes its quote, or follows a number, and goes on as a condition, a
//! statement, a subquery or a comment. A text does not say what it was written into, so each reading is tried: from its start, behind a
//! number or a word, and behind the first quote of each kind. So people may talk about SQL and paste whole statements: the first quote
//! of a statement opens a literal, the first quote of an injection closes one. These are refused wherever they stand, since they look like
//! attacks: `UNION SELECT` with its columns behind what is no query, statements that reach files or commands of the server, and the calls that only injections make
//! to wait or to fail.
//!
//! Not found: a value that is a whole statement, a bare `' or 1` behind a value, quotes with hardly anything between (`'-'`).

mod anywhere;
mod expression;
mod grammar;
#[cfg(test)]
mod tests;
mod way_out;

use super::kept::Kept;
use super::reading::Reading;

pub(super) const NAMES: &[&str] = &[
    "sql_injection.bare_condition",
    "sql_injection.character_codes",
    "sql_injection.column_count",
    "sql_injection.comment_after_quote",
    "sql_injection.comment_after_values",
    "sql_injection.condition",
    "sql_injection.condition_after_quote",
    "sql_injection.constant_condition",
    "sql_injection.error_message",
    "sql_injection.file_or_command",
    "sql_injection.joined_query",
    "sql_injection.quoted_tautology",
    "sql_injection.split_keyword",
    "sql_injection.stacked_statement",
    "sql_injection.statement_after_value",
    "sql_injection.system_table",
    "sql_injection.time_delay",
    "sql_injection.union_select",
    "sql_injection.versioned_comment",
];

/// The rule that `text` matches, which is in lower case.
pub(super) fn find(reading: &Reading<'_>, kept: Kept<'_>) -> Option<&'static str> {
    anywhere::find(reading, kept).or_else(|| way_out::find(reading, kept))
}
