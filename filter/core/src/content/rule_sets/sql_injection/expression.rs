//! Conditions: whether what follows `AND` or `OR` is SQL, and not prose.

use super::super::bytes::{
    DIGIT, LETTER, QUOTE, REACH, SPACE, WORD, any, eat_any, first, head, is_digit, is_letter, is_quote, is_space, near,
    of, skip, skip_near, spaces, split, split_near, word,
};
use super::super::names::Name;
use super::super::rarely::{is_one, starts};
use super::grammar::{gap, gap_close, gap_open, is_bare_comment, is_call, is_comment, is_end, is_function, is_query};

/// Where a condition stands.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Place {
    /// Behind a number.
    Number,
    /// Behind the first quote of its kind.
    Quote,
    /// At the start of the text.
    Start,
    /// Behind a word at the start, or a quote that is not the first.
    Word,
}

/// One side of a comparison.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Operand<'a> {
    /// A call of a function.
    Call(&'a [u8]),
    /// A column, or a word.
    Name(&'a [u8]),
    Number(&'a [u8]),
    /// A subquery, or a `CASE`.
    Query,
    /// A literal, without its quotes.
    Text,
    /// `@x`, `@@version`.
    Variable,
}

/// The next operand, and what follows it.
fn operand(rest: &[u8]) -> Option<(Operand<'_>, &[u8])> {
    let rest = prefixes(rest);
    match first(rest) {
        b'\'' | b'"' | b'`' => Some((Operand::Text, behind_literal(rest))),
        b'@' => Some((Operand::Variable, word(skip(rest, const { of(b"@") })).1)),
        b'0'..=b'9' | b'.' => {
            let (number, behind) = split(rest, const { WORD | of(b".") });
            if number.ends_with(b".") { None } else { Some((Operand::Number(number), behind)) }
        }
        b'a'..=b'z' | b'_' | b'[' => named(rest),
        _ => None,
    }
}

/// Brackets, signs and `NOT` before an operand.
fn prefixes(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = skip(gap_open(rest), const { of(b"!~-") });
        let (name, behind) = word(rest);
        if !is_one(name, any!["not", "binary", "distinct", "all", "any"]) || behind.len() == rest.len() {
            let opened = gap_open(rest);
            if opened.len() == rest.len() {
                return rest;
            }
            rest = opened;
            continue;
        }
        rest = behind;
    }
}

fn named(rest: &[u8]) -> Option<(Operand<'_>, &[u8])> {
    let (name, behind) = split(rest, const { WORD | of(b".$[]") });
    if name.len() <= 2 && is_quote(first(behind)) && starts(name, any!["n", "x", "b", "q", "r"]) {
        return Some((Operand::Text, behind_literal(behind)));
    }
    match name {
        b"select" => return Some((Operand::Query, behind)),
        b"case" if starts(gap(behind), any!["when"]) => return Some((Operand::Query, behind)),
        _ => {}
    }
    if is_call(behind) {
        let arguments = gap(behind).strip_prefix(b"(")?;
        return Some((Operand::Call(name), behind_brackets(arguments)));
    }
    Some((Operand::Name(name), behind))
}

/// What follows a literal; nothing, if it does not end.
fn behind_literal(rest: &[u8]) -> &[u8] {
    let Some((quote, mut behind)) = rest.split_first() else { return &[] };
    loop {
        let Some((_, after)) = split_near(behind, &[*quote]) else { return &[] };
        match after.strip_prefix(&[*quote]) {
            // A quote that is doubled belongs to the literal, unless it is the last of the text.
            Some(after) if !after.is_empty() => behind = after,
            _ => return after,
        }
    }
}

/// What follows the arguments of a call.
fn behind_brackets(rest: &[u8]) -> &[u8] {
    let mut depth = 1_usize;
    for (at, byte) in head(rest, REACH).iter().enumerate() {
        match byte {
            b'(' => depth = depth.saturating_add(1),
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return rest.get(at.saturating_add(1)..).unwrap_or_default();
        }
    }
    &[]
}

/// A comparison, or another operator that makes a condition of two operands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Operator {
    /// Only between constants: `^`, `&`, `*`, `-`, `/`, `|`, and `==`, which is code in most texts.
    Arithmetic,
    Compares,
}

fn operator(rest: &[u8]) -> Option<(Operator, &[u8])> {
    // `1::int`
    let rest = gap_close(rest).strip_prefix(b"::").map_or(rest, |cast| word(cast).1);
    if let Some(behind) =
        spaces(rest).strip_prefix(b"+").map(spaces).filter(|behind| is_digit(first(behind)) || is_quote(first(behind)))
    {
        return Some((Operator::Arithmetic, behind));
    }
    let rest = gap_close(rest);
    if let Some(behind) = rest.strip_prefix(b"==") {
        return Some((Operator::Arithmetic, behind));
    }
    if let Some(behind) = eat_any(rest, any!["<=>", "@>", "<@", "<>", "!=", "!<", "!>", "<=", ">=", "=", "<", ">"]) {
        return Some((Operator::Compares, behind));
    }
    if let Some(behind) = eat_any(rest, any!["^", "&", "*", "-", "/", "%", "||", "|"]) {
        return if is_comment(rest) { None } else { Some((Operator::Arithmetic, behind)) };
    }
    let (name, behind) = word(rest);
    let (name, behind) = if name == b"not" { word(gap(behind)) } else { (name, behind) };
    match Name::of(name) {
        Name::Between => {
            let (_, and) = operand(behind).filter(|_| compares_with(name, behind))?;
            let high = gap(and).strip_prefix(b"and")?;
            Some((Operator::Compares, high))
        }
        Name::Like
        | Name::Rlike
        | Name::Regexp
        | Name::Glob
        | Name::Ilike
        | Name::Similar
        | Name::Sounds
        | Name::Div
        | Name::Mod
        | Name::In
        | Name::Is => compares_with(name, behind).then_some((Operator::Compares, behind)),
        _ => None,
    }
}

/// Whether what follows a comparison that is a word is what SQL has there.
fn compares_with(name: &[u8], rest: &[u8]) -> bool {
    let rest = gap(rest);
    match Name::of(name) {
        Name::In => first(rest) == b'(',
        Name::Is => starts(rest, any!["null", "not null", "true", "not true", "false", "unknown"]),
        Name::Between | Name::Div | Name::Mod => is_digit(first(rest)) || first(rest) == b'\'',
        Name::Sounds => starts(rest, any!["like"]),
        _ => {
            is_quote(first(rest))
                || first(rest) == b'('
                || is_digit(first(rest))
                || starts(rest, any!["binary", "concat", "char("])
        }
    }
}

/// Whether `rest`, behind what joins two conditions, is one that injections have. Gives the rule's name.
pub(super) fn condition(rest: &[u8], place: Place) -> Option<&'static str> {
    let (left, behind) = operand(rest)?;
    match left {
        Operand::Query => (place != Place::Word || is_query(behind)).then_some("sql_injection.condition"),
        Operand::Variable => (place != Place::Word).then_some("sql_injection.condition"),
        Operand::Call(name) => call(name, rest, behind, place),
        Operand::Number(number) => constants(number, rest, behind, place),
        Operand::Text => literals(rest, behind, place),
        Operand::Name(name) => column(name, behind, place),
    }
}

fn call(name: &[u8], rest: &[u8], behind: &[u8], place: Place) -> Option<&'static str> {
    let waits = matches!(name, b"sleep" | b"pg_sleep" | b"benchmark");
    match place {
        Place::Number if is_function(name) => Some("sql_injection.condition"),
        Place::Word
            if waits
                && is_digit(first(gap_open(skip(rest, LETTER))))
                && is_end(behind)
                && is_comment(gap_close(behind)) =>
        {
            Some("sql_injection.condition")
        }
        Place::Start if waits && !rest.is_empty() => Some("sql_injection.bare_condition"),
        Place::Quote if is_function(name) => Some("sql_injection.condition"),
        Place::Quote => operator(behind)
            .filter(|(operator, _)| *operator == Operator::Compares)
            .map(|_| "sql_injection.condition_after_quote"),
        Place::Number | Place::Start | Place::Word => None,
    }
}

/// A comparison of a number: with what it equals, or so that only a program writes it.
fn constants(number: &[u8], rest: &[u8], behind: &[u8], place: Place) -> Option<&'static str> {
    let name = if place == Place::Start { "sql_injection.bare_condition" } else { "sql_injection.condition" };
    let Some((sign, right)) = operator(behind) else {
        let ends = match place {
            Place::Quote | Place::Start => {
                is_end(behind) && is_comment(skip(gap_close(behind), const { of(b";") })) || is_limited(behind)
            }
            Place::Number | Place::Word => false,
        };
        return ends.then_some("sql_injection.condition_after_quote");
    };
    match operand(right) {
        Some((Operand::Number(other), after)) => {
            let close = !is_space(first(behind)) && !is_space(first(right));
            let long = number.len() >= 3 && other.len() >= 3;
            let telling =
                long || number == other || is_one(number, any!["0", "1"]) && is_one(other, any!["0", "1", "2"]);
            let ranged = starts(gap_close(behind), any!["between", "not between"]) && place != Place::Word;
            let telling = telling
                || ranged
                || sign == Operator::Compares && close
                || is_end(after) && is_comment(gap_close(after));
            let sums = sign == Operator::Arithmetic && operator(after).is_some();
            (telling && (sign == Operator::Compares || place == Place::Quote || long) || sums).then_some(name)
        }
        Some((Operand::Query | Operand::Variable, _)) => Some(name),
        Some((Operand::Call(function), _)) => {
            (is_function(function) || place == Place::Quote || function == b"like").then_some(name)
        }
        Some((Operand::Text, _)) => (place != Place::Word && sign == Operator::Compares).then_some(name),
        Some((Operand::Name(_), _)) | None => (place == Place::Quote && sign == Operator::Compares && !rest.is_empty())
            .then_some("sql_injection.condition_after_quote"),
    }
}

/// Whether the statement goes on with a literal, or ends with a clause that takes a number: `limit 1 -- -`.
fn is_limited(rest: &[u8]) -> bool {
    let (name, behind) = word(gap_close(rest));
    // `' or 1 or '`
    if is_one(name, any!["or", "and"]) {
        return is_quote(first(gap(behind)));
    }
    let ending = skip_near(behind, const { WORD | SPACE | of(b",()+;") });
    is_one(name, any!["limit", "order", "group", "offset", "having", "for"]) && is_comment(ending) && is_end(ending)
}

/// A comparison of a literal.
fn literals(rest: &[u8], behind: &[u8], place: Place) -> Option<&'static str> {
    let quoted = matches!(place, Place::Number | Place::Quote);
    match operator(behind) {
        Some((Operator::Compares, right)) => {
            let (other, _) = operand(right)?;
            (quoted || matches!(other, Operand::Text)).then_some("sql_injection.quoted_tautology")
        }
        Some((Operator::Arithmetic, right)) => {
            let (other, _) = operand(right)?;
            (quoted && matches!(other, Operand::Text | Operand::Number(_))).then_some("sql_injection.quoted_tautology")
        }
        None => {
            let ends = is_bare_comment(spaces(gap_close(behind))) || behind.is_empty() && compares_inside(rest);
            (quoted && ends).then_some("sql_injection.condition_after_quote")
        }
    }
}

/// `'1=1`, of which the statement's own quote makes a literal.
fn compares_inside(rest: &[u8]) -> bool {
    let (left, behind) = split(skip(gap_open(rest), QUOTE), DIGIT);
    !left.is_empty() && behind.strip_prefix(b"=").is_some_and(|right| is_digit(first(right)))
}

/// A comparison of a column, or a word that is true.
fn column(name: &[u8], behind: &[u8], place: Place) -> Option<&'static str> {
    let constant = is_one(name, any!["true", "false", "null", "not_null"]);
    if constant
        && (place == Place::Quote && is_end(behind)
            || is_comment(gap_close(behind)) && is_end(behind)
            || is_limited(behind))
    {
        return Some("sql_injection.condition_after_quote");
    }
    match place {
        Place::Quote => match operator(behind) {
            Some((Operator::Compares, right)) => {
                (!spaces(right).is_empty() && first(right) != b'=').then_some("sql_injection.condition_after_quote")
            }
            Some((Operator::Arithmetic, _)) | None => None,
        },
        // `or x=x--`
        Place::Start | Place::Number => {
            let (_, right) = operator(behind)?;
            let (other, after) = operand(right)?;
            (other == Operand::Name(name) && is_comment(gap_close(after))).then_some("sql_injection.bare_condition")
        }
        Place::Word => None,
    }
}

/// Whether `rest`, behind an operator, is a query or a call that injections join to a value.
pub(super) fn joined(rest: &[u8], place: Place) -> Option<&'static str> {
    let (right, behind) = operand(rest)?;
    let glued = first(behind) == b'(' && is_letter(first(rest)) || first(gap(rest)) == b'(' || place == Place::Quote;
    let found = match right {
        Operand::Query => {
            let rest = spaces(behind);
            starts(gap(rest), any!["when"])
                || near(rest, any!["from", "("])
                || is_digit(first(rest))
                || is_comment(rest)
        }
        Operand::Call(name) => {
            is_function(name)
                && (glued || matches!(name, b"sleep" | b"pg_sleep" | b"benchmark"))
                && !matches!((name, place), (b"count" | b"if" | b"len" | b"length", Place::Number))
        }
        Operand::Variable => place == Place::Quote && starts(spaces_of(rest), any!["@@"]),
        Operand::Name(_) | Operand::Number(_) | Operand::Text => false,
    };
    found.then_some("sql_injection.joined_query")
}

fn spaces_of(rest: &[u8]) -> &[u8] {
    gap_open(rest)
}
