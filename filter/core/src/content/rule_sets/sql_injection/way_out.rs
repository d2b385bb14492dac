//! What follows the value that a text was written as.

use super::super::bytes::{
    DIGIT, QUOTE, SPACE, WORD, any, eat_any, first, is_digit, is_letter, is_quote, is_space, last, near, of, skip,
    skip_near, spaces, split, until_near, word,
};
use super::super::kept::Kept;
use super::super::names::Name;
use super::super::rarely::{ends, is_one, starts};
use super::super::reading::Reading;
use super::expression::{Place, condition, joined};
use super::grammar::{
    gap, gap_close, gap_open, is_bare_comment, is_call, is_comment, is_end, is_endless, is_function, is_query,
    is_quotation,
};

/// The longest text that is looked through for a comment that ends a list of values.
const VALUES_LEN_MAX: usize = 512;

pub(super) fn find(reading: &Reading<'_>, kept: Kept<'_>) -> Option<&'static str> {
    if !reading.has_other(WORD) {
        return None;
    }
    let text = reading.folded();
    let start = gap(text);
    let whole = is_subquery(start).then_some("sql_injection.joined_query");
    let found = kept.of(whole).or_else(|| kept.of(behind(start, Place::Start)));
    let found = found.or_else(|| kept.of(behind_value(gap_open(start))));
    found.or_else(|| if reading.has(QUOTE) { quotes(text, kept) } else { None })
}

/// Whether a text is nothing but a query in brackets, as it takes the place of a value.
fn is_subquery(text: &[u8]) -> bool {
    let query = gap_open(text);
    let end = text.trim_ascii_end();
    let closed = last(end) == b')' || is_comment(end.get(end.len().saturating_sub(2)..).unwrap_or_default());
    first(text) == b'(' && closed && query.strip_prefix(b"select").is_some_and(is_query)
}

/// Behind a number or a word at the start, or behind the first `=` of a form's field.
fn behind_value(text: &[u8]) -> Option<&'static str> {
    let unsigned = skip(text, const { of(b"-") });
    let number = is_digit(first(unsigned));
    let (value, rest) = split(unsigned, if number { const { WORD | of(b".") } } else { const { WORD | of(b".-@") } });
    if value.is_empty() {
        return None;
    }
    if let Some(field) = rest.strip_prefix(b"=") {
        let (value, rest) = split(skip(field, const { of(b"-") }), const { WORD | of(b".-@") });
        let place = if is_digit(first(value)) { Place::Number } else { Place::Word };
        return if value.is_empty() || rest.is_empty() { None } else { behind(rest, place) };
    }
    // `8.0union`
    let digits = skip(value, const { DIGIT | of(b".") });
    if is_digit(first(value)) && starts(digits, any!["union", "or", "and", "xor"]) {
        let glued = unsigned.get(value.len().saturating_sub(digits.len())..).unwrap_or_default();
        return behind(glued, Place::Number);
    }
    // A bracket or a comment that closes what the text did not open.
    let closes = starts(spaces(rest), any![")", "*/", "$$", "]"]);
    if first(spaces(rest)) == b';' && is_statement(value) {
        return None;
    }
    behind(rest, if is_digit(first(value)) || closes { Place::Number } else { Place::Word })
}

/// Behind the quotes of each kind: the first, the first that is not doubled, and the first that is not escaped; then, for what is an injection
/// behind any quote, all others.
fn quotes(text: &[u8], kept: Kept<'_>) -> Option<&'static str> {
    let mut firsts = [[false; 3]; 3];
    let statement = is_statement(text);
    for (at, byte) in text.iter().enumerate() {
        let kind = match byte {
            b'\'' => 0,
            b'"' => 1,
            b'`' => 2,
            _ => continue,
        };
        let Some((before, rest)) = text.split_at_checked(at) else { continue };
        let Some((quote, rest)) = rest.split_first() else { continue };
        let escaped = before.last() == Some(&b'\\');
        let doubled = rest.first() == Some(quote) || before.last() == Some(quote);
        let Some(seen) = firsts.get_mut(kind) else { continue };
        let [plain, single, bare] = seen;
        let is_first = !*plain || (!doubled && !*single) || (!escaped && !doubled && !*bare);
        *plain = true;
        *single |= !doubled;
        *bare |= !escaped && !doubled;
        // Markdown's inline code.
        if *byte == b'`' && is_space(last(before)) && is_letter(first(rest)) {
            continue;
        }
        let found = if is_first {
            kept.of(behind(rest, Place::Quote)).or_else(|| comment(before, rest, statement))
        } else if statement {
            None
        } else {
            behind(rest, Place::Word).filter(|name| {
                *name != "sql_injection.quoted_tautology" || !is_quotation(text.get(..=at).unwrap_or_default())
            })
        };
        let found = kept.of(found);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Whether a text is a statement itself.
fn is_statement(text: &[u8]) -> bool {
    let (name, _) = word(spaces(text));
    is_one(
        name,
        any![
            "alter", "begin", "call", "copy", "create", "declare", "delete", "describe", "drop", "exec", "execute",
            "explain", "grant", "insert", "merge", "replace", "select", "set", "show", "truncate", "update", "use",
            "with",
        ],
    )
}

/// The rest of the statement, or of a list of values, is commented out: `admin'--`, `x','admin')--`.
fn comment(before: &[u8], rest: &[u8], statement: bool) -> Option<&'static str> {
    let value = skip(before, const { WORD | of(b".@%+-*") }).is_empty();
    let ending = skip(rest, const { SPACE | DIGIT | of(b"();=<>+^&|!~\0") });
    let inside = before.last().is_some() && rest.starts_with(b"/*") && rest.ends_with(b"*/");
    if value && (is_bare_comment(ending) || inside) {
        return Some("sql_injection.comment_after_quote");
    }
    // `1'<'2`
    let operators = skip(rest, const { of(b"=<>!") });
    if value && operators.len() < rest.len() && matches!(first(operators), b'\'' | b'"') && !rest.starts_with(b"==") {
        return Some("sql_injection.quoted_tautology");
    }
    let list = !statement && !before.iter().any(|byte| is_space(*byte) || *byte == b'(');
    if list && first(spaces(rest)) == b',' && rest.len() <= VALUES_LEN_MAX {
        let at = rest.iter().rposition(|byte| *byte == b')')?;
        let (values, ending) = rest.split_at_checked(at)?;
        if !values.contains(&b'(') && is_bare_comment(skip(ending, const { SPACE | of(b");") })) {
            return Some("sql_injection.comment_after_values");
        }
    }
    None
}

/// Whether `rest` goes on as a statement does, and a value does not.
fn behind(rest: &[u8], place: Place) -> Option<&'static str> {
    if matches!(first(rest), b'/' | b'*' | b'-' | b'#' | b'(' | b')' | b'+' | 1..=b' ') && is_endless(rest) {
        return Some("sql_injection.split_keyword");
    }
    let rest = skip_closers(rest, place);
    if first(rest) == b';' {
        return statement(skip(rest, const { SPACE | of(b";+") }), place);
    }
    if let Some(condition_behind) = eat_any(rest, any!["||", "&&"]) {
        return condition(condition_behind, place).or_else(|| joined(condition_behind, place));
    }
    let (name, after) = word(rest);
    if !name.is_empty() {
        return clause(name, after, rest, place);
    }
    let operators = skip(rest, const { of(b"-*/%^=<>,~|&+!") });
    if (operators.len() < rest.len() || first(rest) == b'(')
        && !is_comment(rest)
        && matches!(place, Place::Quote | Place::Number)
    {
        return joined(operators, place).or_else(|| delay(operators));
    }
    None
}

/// Closing brackets and gaps; a value that closes several quotes has them between.
fn skip_closers(rest: &[u8], place: Place) -> &[u8] {
    let rest = gap_close(rest);
    match place {
        Place::Quote => gap_close(skip(rest, const { of(b"%]") })),
        Place::Number => gap_close(skip(rest, const { of(b"$]") })),
        Place::Start | Place::Word => rest,
    }
}

/// A clause that begins with `name`.
fn clause(name: &[u8], after: &[u8], rest: &[u8], place: Place) -> Option<&'static str> {
    match Name::of(name) {
        Name::Or | Name::And | Name::Xor | Name::Having | Name::Where | Name::Not => {
            if name == b"where" && place != Place::Start && place != Place::Quote {
                return None;
            }
            if name == b"where" && place == Place::Start && !ends(after.trim_ascii_end(), any!["--", "#"]) {
                return None;
            }
            condition(after, place).or_else(|| match place {
                Place::Quote | Place::Number => joined(after, place),
                Place::Start => joined(after, place).filter(|_| starts(gap_open(after), any!["select"])),
                Place::Word => None,
            })
        }
        Name::Union => {
            let (all, columns) = word(gap_open(after));
            let (query, behind) =
                if is_one(all, any!["all", "distinct"]) { word(gap_open(columns)) } else { (all, columns) };
            let strict = matches!(place, Place::Start | Place::Word);
            let found = is_one(query, any!["select", "values", "table"]) && !behind.is_empty() && !strict;
            found.then_some("sql_injection.statement_after_value")
        }
        Name::Order | Name::Group => column_count(after, place),
        Name::Exec | Name::Execute => {
            let target = gap(after);
            (matches!(place, Place::Quote | Place::Number) && starts(target, any!["master", "sp_", "xp_"]))
                .then_some("sql_injection.statement_after_value")
        }
        // `abc) AS x WHERE 1=1`, `abc' IN BOOLEAN MODE) AND 1=1`
        Name::As if matches!(place, Place::Number | Place::Quote) => {
            let (alias, rest) = word(gap(after));
            let rest = gap_close(rest);
            (!alias.is_empty() && starts(rest, any!["where", "union", "limit", "on"])).then_some(())?;
            let (name, after) = word(rest);
            clause(name, after, rest, place)
        }
        Name::In if starts(gap(after), any!["boolean mode"]) => {
            let rest = gap_close(gap(after).strip_prefix(b"boolean mode")?);
            let (name, after) = word(rest);
            if name == b"in" { None } else { clause(name, after, rest, place) }
        }
        Name::Rlike | Name::Regexp | Name::Like | Name::In | Name::Div | Name::Procedure | Name::Between => {
            let query =
                joined(after, place).filter(|_| name != b"in" || starts(gap_open(after), any!["select", "case"]));
            let listed = name == b"in"
                && place == Place::Quote
                && first(gap(after)) == b'('
                && ends(after.trim_ascii_end(), any!["--", "#"]);
            query.or(if listed { Some("sql_injection.condition_after_quote") } else { None }).or_else(|| {
                let literal =
                    matches!(first(gap_open(after)), b'\'' | b'"') && matches!(name, b"like" | b"rlike" | b"regexp");
                (literal && matches!(place, Place::Quote | Place::Start) && gap_open(after).len() <= 64)
                    .then_some("sql_injection.condition_after_quote")
            })
        }
        Name::Is if place == Place::Quote => {
            let ending = eat_any(gap(after), any!["null", "not null", "not true", "true"])?;
            (is_comment(ending) && is_end(ending)).then_some("sql_injection.condition_after_quote")
        }
        Name::Waitfor => delay(rest),
        Name::Sleep | Name::PgSleep | Name::Benchmark if place == Place::Start && is_call(after) => {
            let arguments = until_near(gap_open(after), const { of(b")\n") });
            let ending = spaces(gap_close(arguments));
            let telling =
                is_comment(ending) || starts(ending, any!["=\"", "='"]) || name == b"benchmark" && ending.is_empty();
            telling.then_some("sql_injection.time_delay")
        }
        Name::If if place == Place::Start && first(after) == b'(' => {
            near(after, any![") select", ") drop", ") waitfor", ") exec"]).then_some("sql_injection.stacked_statement")
        }
        Name::Select if place == Place::Start => system_table(after),
        Name::Insert
        | Name::Create
        | Name::Drop
        | Name::Grant
        | Name::Delete
        | Name::Alter
        | Name::Update
        | Name::Truncate
            if place == Place::Quote =>
        {
            statement(rest, place).map(|_| "sql_injection.statement_after_value")
        }
        Name::Limit | Name::Into if place == Place::Quote => {
            let (count, ending) = split(gap(after), const { DIGIT | of(b",") });
            (!count.is_empty() && is_comment(ending) && is_end(ending)).then_some("sql_injection.column_count")
        }
        _ => None,
    }
}

fn delay(rest: &[u8]) -> Option<&'static str> {
    let rest = gap_open(rest).strip_prefix(b"waitfor")?;
    starts(gap(rest), any!["delay", "time"]).then_some("sql_injection.time_delay")
}

/// How many columns there are: `order by 10--`, and nothing else.
fn column_count(after: &[u8], place: Place) -> Option<&'static str> {
    let columns = gap_open(gap(after).strip_prefix(b"by")?);
    let (name, behind) = word(columns);
    if starts(gap(behind), any!["having"]) && !name.is_empty() {
        return Some("sql_injection.column_count");
    }
    if place == Place::Word && !is_digit(first(columns)) {
        return None;
    }
    if !is_digit(first(name)) && !matches!(name, b"sleep" | b"benchmark") {
        return None;
    }
    let ending = skip_near(behind, const { WORD | SPACE | QUOTE | of(b",()") });
    let first_ending = spaces(behind);
    let found = is_comment(first_ending)
        || is_comment(ending)
        || first(first_ending) == b',' && is_end(skip_near(behind, const { DIGIT | SPACE | of(b",") }))
        || is_call(behind);
    let whole = place == Place::Start && is_end(first_ending) || place == Place::Quote && is_end(first_ending);
    (found || whole).then_some("sql_injection.column_count")
}

/// A statement that reads what only administrators read: `select @@version`.
fn system_table(after: &[u8]) -> Option<&'static str> {
    let found = starts(gap(after), any!["@@", "current_user", "session_user", "current_setting("])
        || near(
            after,
            any![
                "from sysusers",
                "from syslogins",
                "master..",
                "from pg_shadow",
                "from pg_group",
                "from mysql.user",
                "from sys.user$",
            ],
        );
    found.then_some("sql_injection.system_table")
}

/// Whether a statement of administration ends the text with a comment: `TABLE users; --`.
fn is_order(verb: &[u8], after: &[u8]) -> bool {
    let known = is_one(
        verb,
        any![
            "analyse",
            "analyze",
            "checkpoint",
            "comment",
            "dbcc",
            "deallocate",
            "explain",
            "flush",
            "kill",
            "lock",
            "optimize",
            "pragma",
            "prepare",
            "purge",
            "reconfigure",
            "refresh",
            "reindex",
            "reset",
            "set",
            "start",
            "stop",
            "table",
            "vacuum",
            "values",
        ],
    );
    let ending = skip_near(after, const { WORD | SPACE | QUOTE | of(b",.=()@;/:*") });
    known && is_comment(ending) && is_end(ending)
}

/// A further statement: `; DROP TABLE users`.
fn statement(rest: &[u8], place: Place) -> Option<&'static str> {
    let rest = gap_open(rest);
    let (verb, after) = word(rest);
    let object = gap(after);
    let (object_name, behind_object) = word(object);
    let found = match Name::of(verb) {
        Name::Drop
        | Name::Alter
        | Name::Create
        | Name::Truncate
        | Name::Insert
        | Name::Merge
        | Name::Delete
        | Name::Replace
        | Name::Rename => {
            is_one(
                object_name,
                any![
                    "table",
                    "database",
                    "schema",
                    "user",
                    "login",
                    "view",
                    "function",
                    "procedure",
                    "index",
                    "role",
                    "into",
                    "from",
                    "trigger",
                    "or",
                    "temporary",
                    "extension",
                    "server",
                    "assembly",
                    "tablespace",
                ],
            ) && !spaces(behind_object).is_empty()
                && !starts(spaces(behind_object), any!["the ", "a ", "my ", "your ", "our ", "this ", "it "])
        }
        Name::Update => {
            let target = skip(object, const { WORD | of(b".[]`\"") });
            starts(gap(target), any!["set"])
        }
        Name::Grant | Name::Revoke => is_one(word(gap(behind_object)).0, any!["on", "to", "from"]),
        Name::Exec | Name::Execute => {
            is_quote(first(gap_open(after)))
                || starts(gap_open(after), any!["@", "master", "sp_", "xp_", "immediate"])
                || object_name.contains(&b'_')
                || first(behind_object) == b'.'
        }
        Name::Declare | Name::Set => matches!(first(gap_open(after)), b'@' | b'\'') || is_order(verb, after),
        Name::Begin => starts(object, any!["declare"]) || starts(behind_object, any![".sleep("]),
        Name::Shutdown => is_end(after) || starts(object, any!["with"]),
        Name::Waitfor => is_one(object_name, any!["delay", "time"]),
        Name::If => first(object) == b'(' && near(object, any!["select", "exec", "drop", "waitfor"]),
        Name::Select => {
            place != Place::Word
                && (near(after, any!["from ", "from\n", "from/", "from(", "from`", "from["]) || near(after, any!["("]))
                || starts(object, any!["@@", "*"])
                || first(gap(behind_object)) == b'(' && is_function(object_name)
                || is_digit(first(object)) && {
                    let r = spaces(behind_object);
                    r.is_empty() || is_comment(r) || first(r) == b','
                }
        }
        Name::Copy => near(after, any![" to program", " from program", " to '", " from '"]),
        Name::Load => is_one(object_name, any!["data", "file"]),
        Name::Attach => starts(object, any!["database"]),
        Name::Call | Name::Do => is_call(behind_object),
        Name::Handler => near(after, any![" open", " read"]),
        Name::Show => is_one(object_name, any!["tables", "databases", "columns", "variables", "grants"]),
        Name::Use | Name::Desc => {
            !object_name.is_empty()
                && is_end(behind_object)
                && is_comment(spaces(skip(behind_object, const { of(b";") })))
        }
        Name::Backup => starts(object, any!["database", "log"]),
        _ => place != Place::Word && is_order(verb, after),
    };
    found.then_some("sql_injection.stacked_statement")
}
