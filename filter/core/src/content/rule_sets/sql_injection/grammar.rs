//! What SQL is made of: gaps, comments, calls and queries.

use super::super::bytes::{
    DIGIT, Kinds, REACH, SPACE, any, eat_any, first, head, is_digit, is_letter, is_one, is_quote, of, skip, spaces,
    word,
};

/// Whether `before` ends with a literal that a sentence quotes: `it's 'A'`, of which no statement is made, since what follows its first
/// quote is a word that goes on.
pub(super) fn is_quotation(before: &[u8]) -> bool {
    let Some((quote, inside)) = before.trim_ascii_end().split_last().filter(|(quote, _)| is_quote(**quote)) else {
        return false;
    };
    let opened = inside.iter().rev().take(REACH).position(|byte| byte == quote);
    let Some(len) = opened else { return false };
    let start = inside.len().saturating_sub(len.saturating_add(1));
    let prose = inside.get(..start).unwrap_or_default();
    let told = matches!(prose, [.., letter, b' '] if is_letter(*letter));
    // The first quote of the text.
    let text = head(before, REACH);
    let first_at = text.iter().position(|byte| byte == quote);
    let behind = first_at.and_then(|at| text.get(at.saturating_add(1)..)).unwrap_or_default();
    let (name, _) = word(behind);
    told && is_letter(first(name))
        && !is_one(
            name,
            any![
                "or", "and", "xor", "not", "like", "rlike", "regexp", "in", "is", "between", "union", "having",
                "where", "div", "collate", "escape", "as"
            ],
        )
}

/// How many comments a gap has at most. Behind what may begin an injection, more are refused for themselves: each quote and each `or` in them
/// would be followed by all the others.
const COMMENTS_MAX: usize = 8;

/// What stands between two words: white space, `+`, and comments.
pub(super) fn gap(rest: &[u8]) -> &[u8] {
    passage(rest, 0)
}

/// What follows white space, `+`, comments and each `bracket`.
#[inline(never)]
fn passage(mut rest: &[u8], bracket: Kinds) -> &[u8] {
    for _ in 0..COMMENTS_MAX {
        rest = skip(rest, SPACE | of(b"+") | bracket);
        match comment(rest) {
            Some(behind) => rest = behind,
            None => return rest,
        }
    }
    skip(rest, SPACE | of(b"+") | bracket)
}

/// What follows a comment, or a mark of one.
fn comment(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'/', b'*', b'!', behind @ ..] => Some(skip(behind, DIGIT)),
        [b'*', b'/', behind @ ..] => Some(behind),
        [b'/', b'*', behind @ ..] => comment_end(behind),
        [b'-', b'-', behind @ ..] | [b'#', behind @ ..] => line_comment(behind),
        _ => None,
    }
}

/// Whether there are more comments than a gap has.
#[inline(never)]
pub(super) fn is_endless(rest: &[u8]) -> bool {
    comment(passage(rest, const { of(b"()") })).is_some()
}

/// How long a comment between two words may be: it is looked for behind each quote.
const COMMENT_LEN_MAX: usize = 32;

/// What follows a comment.
pub(super) fn comment_end(rest: &[u8]) -> Option<&[u8]> {
    let len = head(rest, COMMENT_LEN_MAX).windows(2).position(|pair| pair == b"*/")?;
    rest.get(len.saturating_add(2)..)
}

/// What follows a comment of one word and its line, with which injections pass for less.
fn line_comment(rest: &[u8]) -> Option<&[u8]> {
    word(rest).1.strip_prefix(b"\n")
}

/// Gaps and opening brackets.
#[inline(never)]
pub(super) fn gap_open(rest: &[u8]) -> &[u8] {
    passage(rest, const { of(b"(") })
}

/// Gaps and closing brackets.
#[inline(never)]
pub(super) fn gap_close(rest: &[u8]) -> &[u8] {
    passage(rest, const { of(b")") })
}

/// Whether the rest of the statement is a comment.
#[inline(never)]
pub(super) fn is_comment(rest: &[u8]) -> bool {
    matches!(spaces(rest), [b'-', b'-', ..] | [b'#', ..] | [b'/', b'*', ..])
}

/// Whether the rest is a comment in which nothing is said, or nothing at all.
#[inline(never)]
pub(super) fn is_end(rest: &[u8]) -> bool {
    let rest = skip(rest, const { SPACE | of(b";)+") });
    rest.is_empty() || is_bare_comment(rest)
}

/// Whether the rest is a comment in which nothing is said.
#[inline(never)]
pub(super) fn is_bare_comment(rest: &[u8]) -> bool {
    let Some(behind) = eat_any(rest, any!["--", "#", "/*", "%00", "\0"]) else { return false };
    skip(behind, const { SPACE | of(b"-+*/") }).len() <= 1
}

/// Whether what follows a word begins a call.
pub(super) fn is_call(rest: &[u8]) -> bool {
    first(gap(rest)) == b'('
}

/// The functions that injections call.
#[inline(never)]
pub(super) fn is_function(name: &[u8]) -> bool {
    is_one(
        name,
        any![
            "ascii",
            "benchmark",
            "cast",
            "char",
            "chr",
            "concat",
            "concat_ws",
            "convert",
            "count",
            "current_user",
            "database",
            "db_name",
            "elt",
            "exists",
            "extractvalue",
            "group_concat",
            "hex",
            "host_name",
            "if",
            "ifnull",
            "iif",
            "json_keys",
            "len",
            "length",
            "load_file",
            "lower",
            "make_set",
            "md5",
            "mid",
            "nullif",
            "ord",
            "pg_sleep",
            "quote",
            "randomblob",
            "row",
            "row_count",
            "schema",
            "session_user",
            "sleep",
            "sqlite_version",
            "substr",
            "substring",
            "suser_name",
            "system_user",
            "unhex",
            "unicode",
            "updatexml",
            "upper",
            "user",
            "user_name",
            "version",
        ],
    )
}

/// Whether what follows `SELECT` is none of prose.
pub(super) fn is_query(rest: &[u8]) -> bool {
    let column = gap_open(rest);
    let (name, behind) = word(column);
    is_digit(first(column))
        || is_quote(first(column))
        || matches!(first(column), b'*' | b'@' | b'!')
        || is_one(name, any!["case", "null", "distinct"])
        || first(behind) == b'('
}
