//! SQL that only injections have, wherever it stands.

use core::cell::OnceCell;

use super::super::bytes::{
    DIGIT, SPACE, WORD, any, first, is_digit, is_letter, is_quote, is_space, is_word, last, near, of, places, skip,
    spaces, split, split_near, tail, trim, until_near, word,
};
use super::super::kept::Kept;
use super::super::names::Name;
use super::super::rarely::{ends, is_one, starts};
use super::super::reading::{Reading, Word};
use super::expression::{Place, condition};
use super::grammar::{comment_end, gap, gap_close, gap_open, is_call, is_comment, is_end, is_endless, is_quotation};

/// The keywords that are found in pieces: `UN/**/ION`.
const SPLIT_KEYWORDS: &[&str] =
    &["union", "select", "insert", "delete", "update", "where", "having", "sleep", "from", "order", "drop"];

/// A list of columns that is longer is none of prose.
const LIST_LEN_MAX: usize = 32;

pub(super) fn find(reading: &Reading<'_>, kept: Kept<'_>) -> Option<&'static str> {
    let joins = || if reading.has(const { of(b"|&") }) { joins(reading.folded()) } else { None };
    let whole = OnceCell::new();
    // What injections add to a statement, a whole one has as well.
    let is_added =
        |found: &&'static str| *found != "sql_injection.union_select" || !*whole.get_or_init(|| is_whole(reading));
    reading.words().find_map(|word| kept.of(at_word(word).filter(is_added))).or_else(|| kept.of(joins()))
}

/// Whether a text is a query from its first word on, and closes what it opens.
fn is_whole(reading: &Reading<'_>) -> bool {
    let text = trim(reading.folded());
    let (verb, behind) = word(text);
    let is_even = |quote| text.iter().filter(|byte| **byte == quote).count().is_multiple_of(2);
    is_one(verb, any!["create", "explain", "insert", "select", "with"])
        && is_space(first(behind))
        && !ends(text, any!["-", "#", "*", "/", "+"])
        && is_even(b'\'')
        && is_even(b'"')
}

/// `||` and `&&` before a comparison of literals.
fn joins(text: &[u8]) -> Option<&'static str> {
    places(text, const { of(b"|&") }).find_map(|(_, rest)| {
        let rest = rest.strip_prefix(b"||").or_else(|| rest.strip_prefix(b"&&"))?;
        is_quote(first(gap_open(rest)))
            .then(|| condition(rest, Place::Word))
            .flatten()
            .filter(|name| *name == "sql_injection.quoted_tautology")
    })
}

fn at_word(word_at: Word<'_>) -> Option<&'static str> {
    let Word { before, text: name, after, name: known } = word_at;
    if starts(after, any!["/*"])
        && let Some(found) = split_keyword(name, after)
    {
        return Some(found);
    }
    if ends(before, any!["/*!"]) {
        let keyword = skip(name, DIGIT);
        // A dump has a space there.
        if keyword.len() < name.len() && !keyword.is_empty() {
            return Some("sql_injection.versioned_comment");
        }
        let keyword = if keyword.is_empty() { word(gap(after)).0 } else { keyword };
        let found = is_one(keyword, any!["union", "select", "or", "xor", "and", "from", "where", "unionselect"]);
        return found.then_some("sql_injection.versioned_comment");
    }
    match first(name) {
        b'0'..=b'9' => {
            if name.ends_with(b"union") {
                return union(before, after);
            }
            let other = word(spaces(spaces(after).strip_prefix(b"=")?)).0;
            let written = after.get(1..).unwrap_or_default().starts_with(name) || name.len() > 3;
            (name.len() >= 3
                && other == name
                && written
                && last(before) != b'.'
                && name.iter().all(|byte| is_digit(*byte)))
            .then_some("sql_injection.constant_condition")
        }
        b'a' | b'o' => match known {
            Name::Or | Name::And => condition_anywhere(before, after),
            _ => None,
        },
        b'b' => match known {
            Name::Benchmark => benchmark(after),
            _ => None,
        },
        b'c' => match known {
            Name::Case => case(after),
            Name::Char | Name::Chr => codes(name, after),
            Name::Convert => starts(gap_open(after), any!["int,"]).then_some(()).and_then(|()| reads(after)),
            Name::Cast => is_call(after).then_some(()).and_then(|()| reads_first(after)),
            Name::Ctxsys => starts(after, any![".drithsx"]).then_some("sql_injection.error_message"),
            _ => None,
        },
        b'd' => match known {
            Name::DbmsPipe | Name::DbmsLock => {
                starts(after, any![".receive_message", ".sleep"]).then_some("sql_injection.time_delay")
            }
            Name::DbmsXslprocessor | Name::DbmsLdap | Name::DbmsUtility | Name::DbmsJava => {
                starts(after, any![".init(", ".read2clob", ".sqlid", ".runjava"])
                    .then_some("sql_injection.error_message")
            }
            _ => None,
        },
        b'e' | b'u' => match known {
            Name::Union => union(before, after),
            Name::Extractvalue | Name::Updatexml => (is_call(after)
                && near(after, any!["concat", "0x", "select", "@@"]))
            .then_some("sql_injection.error_message"),
            Name::Exp => nested_query(after),
            Name::Exec | Name::Execute => starts(gap(after), any!["xp_", "sp_oa", "master..", "master.dbo"])
                .then_some("sql_injection.file_or_command"),
            Name::UtlInaddr | Name::UtlHttp => {
                starts(after, any![".get_host", ".request"]).then_some(if name == b"utl_http" {
                    "sql_injection.file_or_command"
                } else {
                    "sql_injection.error_message"
                })
            }
            _ => None,
        },
        b'f' => match known {
            Name::Floor => {
                let argument = gap_open(after).strip_prefix(b"rand")?;
                let (_, behind) = split_near(argument, b")")?;
                starts(gap_close(behind), any!["*"]).then_some("sql_injection.error_message")
            }
            _ => None,
        },
        b'g' => matches!(known, Name::GtidSubset | Name::GtidSubtract if is_call(after))
            .then_some("sql_injection.error_message"),
        b'h' | b'n' | b'x' => match known {
            Name::Having | Name::Not | Name::Xor => {
                condition_anywhere(before, after).filter(|name| *name == "sql_injection.quoted_tautology")
            }
            Name::XpCmdshell | Name::XpDirtree | Name::XpRegread => {
                (is_quote(first(gap(after))) || last(before) == b'.').then_some("sql_injection.file_or_command")
            }
            _ => None,
        },
        b'i' => match known {
            Name::Into => {
                let (kind, path) = word(gap(after));
                (is_one(kind, any!["outfile", "dumpfile"])
                    && (is_quote(first(gap(path))) || starts(gap(path), any!["0x"])))
                .then_some("sql_injection.file_or_command")
            }
            _ => None,
        },
        b'j' | b'l' | b'm' | b'p' => match known {
            Name::PgSleep => delayed(before, after),
            Name::JsonKeys | Name::Polygon | Name::Multipoint | Name::Linestring | Name::Multipolygon => {
                nested_query(after)
            }
            Name::LoadFile => file(after),
            Name::Like => {
                let arguments = after.strip_prefix(b"(")?;
                near(arguments, any!["randomblob("]).then_some("sql_injection.time_delay")
            }
            Name::PgReadFile | Name::LoImport | Name::PgLsDir => {
                starts(after, any!["('"]).then_some("sql_injection.file_or_command")
            }
            Name::Program => {
                let copies = is_quote(first(gap(after)))
                    && ends(before, any!["from ", "to "])
                    && near(tail(before, 128), any!["copy "]);
                copies.then_some("sql_injection.file_or_command")
            }
            Name::Procedure => (starts(gap(after), any!["analyse"])).then_some("sql_injection.error_message"),
            Name::LoadExtension => {
                (is_call(after) && ends(before, any!["select ", "select("])).then_some("sql_injection.file_or_command")
            }
            _ => None,
        },
        b'r' => {
            let digits = split(gap_open(after), DIGIT).0.len();
            (known == Name::Randomblob && digits >= 6).then_some("sql_injection.time_delay")
        }
        b's' => match known {
            Name::Select => select(before, after),
            Name::Sleep => delayed(before, after),
            Name::SpOacreate | Name::SpOamethod | Name::SpAddsrvrolemember => {
                (is_quote(first(gap(after)))).then_some("sql_injection.file_or_command")
            }
            _ => None,
        },
        b'w' => {
            let (delay, time) = word(gap(after));
            (known == Name::Waitfor && is_one(delay, any!["delay", "time"]) && is_quote(first(gap(time))))
                .then_some("sql_injection.time_delay")
        }
        _ => None,
    }
}

/// Whether a keyword is put together around comments.
fn split_keyword(name: &[u8], after: &[u8]) -> Option<&'static str> {
    SPLIT_KEYWORDS.iter().find_map(|keyword| {
        let mut missing = keyword.as_bytes().strip_prefix(name)?;
        let mut rest = after;
        while !missing.is_empty() {
            let (piece, behind) = word(comment_end(rest.strip_prefix(b"/*")?)?);
            missing = missing.strip_prefix(piece).filter(|_| !piece.is_empty())?;
            rest = behind;
        }
        (rest.len() < after.len()).then_some("sql_injection.split_keyword")
    })
}

/// A comparison that stands only in conditions: of literals, or of constants before a comment.
fn condition_anywhere(before: &[u8], after: &[u8]) -> Option<&'static str> {
    let start = gap_open(after);
    if is_endless(start) {
        return Some("sql_injection.split_keyword");
    }
    if is_quote(first(start)) || is_letter(first(start)) && is_quote(start.get(1).copied().unwrap_or_default()) {
        // `Or('a') == 'a'` is code.
        if first(after) == b'(' {
            return None;
        }
        return condition(after, Place::Word)
            .filter(|name| *name == "sql_injection.quoted_tautology" && !is_quotation(before));
    }
    if starts(start, any!["true"]) || is_digit(first(start)) {
        let (left, behind) = split(start, WORD);
        let (right, ending) = match spaces(behind).strip_prefix(b"=") {
            Some(right) => word(spaces(right)),
            None => (left, behind),
        };
        let compared = is_digit(first(left)) && behind.len() != ending.len() || left == b"true";
        let ending = spaces(gap_close(ending));
        let constant = compared && is_digit(first(right)) || left == b"true";
        if constant && !right.is_empty() && is_comment(ending) && (is_end(ending) || starts(ending, any!["--"])) {
            return Some("sql_injection.constant_condition");
        }
    }
    if starts(start, any!["sleep(", "pg_sleep(", "benchmark("]) {
        let ending = gap_close(until_near(start, const { of(b")\n") }));
        return (is_comment(ending) && is_end(ending)).then_some("sql_injection.time_delay");
    }
    None
}

/// Columns of another table: `UNION ALL SELECT 1,password FROM users--`.
fn union(before: &[u8], after: &[u8]) -> Option<&'static str> {
    if is_word(last(before)) {
        return None;
    }
    let separated = gap_open(after);
    if is_endless(separated) {
        return Some("sql_injection.split_keyword");
    }
    if separated.len() == after.len() {
        return None;
    }
    let (all, behind) = word(separated);
    let (query, columns) =
        if is_one(all, any!["all", "distinct", "distinctrow"]) { word(gap_open(behind)) } else { (all, behind) };
    if !is_one(query, any!["select"]) {
        return None;
    }
    is_columns(columns).then_some("sql_injection.union_select")
}

/// The columns of a `SELECT`, told from prose by what stands in them.
fn is_columns(rest: &[u8]) -> bool {
    let start = gap_open(rest);
    if starts(start, any!["@@"]) {
        return true;
    }
    let behind = match first(start) {
        b'\'' | b'"' => match start.split_first().and_then(|(quote, literal)| split_near(literal, &[*quote])) {
            Some((_, behind)) => behind,
            None => return true,
        },
        b'*' => start.get(1..).unwrap_or_default(),
        _ => {
            let (name, behind) = word(skip(start, const { of(b"-") }));
            if is_one(name, any!["case", "top"]) {
                return starts(gap(behind), any!["when"]) || is_digit(first(gap(behind)));
            }
            if first(behind) == b'(' {
                return true;
            }
            if name == b"null" {
                return true;
            }
            if is_digit(first(name)) {
                behind
            } else {
                return is_list(start);
            }
        }
    };
    let ending = spaces(gap_close(behind));
    let ending = if ending.is_empty() { return true } else { ending };
    matches!(first(ending), b',' | b';' | b'|' | b'#' | b'\'' | b'"' | b'+' | b')' | b'/')
        || starts(ending, any!["--", "from", "into", "limit", "order", "where", "union"])
}

/// `a, b from`
fn is_list(rest: &[u8]) -> bool {
    let (mut rest, mut commas) = (rest, 0_usize);
    for _ in 0..LIST_LEN_MAX {
        let (name, behind) = split(rest, const { WORD | of(b".`") });
        if name.is_empty() {
            return false;
        }
        match gap(behind).strip_prefix(b",") {
            Some(next) => (rest, commas) = (gap(next), commas.saturating_add(1)),
            None => return commas > 0 && starts(gap(behind), any!["from"]),
        }
    }
    true
}

/// A call that only waits.
fn benchmark(after: &[u8]) -> Option<&'static str> {
    let (count, behind) = split(gap_open(after), const { DIGIT | SPACE });
    (is_call(after) && !count.is_empty() && starts(spaces(behind), any![","])).then_some("sql_injection.time_delay")
}

/// A call that waits on a condition: `if(1=1,sleep(5),0)`.
fn delayed(before: &[u8], after: &[u8]) -> Option<&'static str> {
    let argument = after.strip_prefix(b"(")?;
    let condition = tail(before, 96);
    let found = is_digit(first(argument))
        && ends(before.trim_ascii_end(), any![","])
        && !condition.contains(&b';')
        && near(condition, any!["if("]);
    found.then_some("sql_injection.time_delay")
}

/// `case when 1=1`
fn case(after: &[u8]) -> Option<&'static str> {
    let condition = gap_open(gap(after).strip_prefix(b"when")?);
    let (left, behind) = split(condition, DIGIT);
    let right = spaces(spaces(behind).strip_prefix(b"=")?);
    (!left.is_empty() && is_digit(first(right))).then_some("sql_injection.constant_condition")
}

/// Text spelt in codes: `chr(97)||chr(98)||chr(99)`, `char(97,98,99)`.
fn codes(name: &[u8], after: &[u8]) -> Option<&'static str> {
    let mut rest = after;
    for count in 1..=3_u8 {
        let (code, behind) = split(spaces(rest).strip_prefix(b"(")?, const { WORD | of(b", ") });
        let values = code.iter().filter(|byte| **byte == b',').count();
        if word(code).0.len() < 2 || matches!(code, b"10" | b"13") {
            return None;
        }
        let behind = behind.strip_prefix(b")")?;
        if count == 3 || values >= 3 {
            break;
        }
        rest = skip(behind, const { SPACE | of(b"|+,&") }).strip_prefix(name)?;
    }
    Some("sql_injection.character_codes")
}

/// Whether what is converted is read from the server first.
fn reads(after: &[u8]) -> Option<&'static str> {
    let (_, argument) = split_near(after, b",")?;
    starts(gap_open(argument), any!["@@", "select"]).then_some("sql_injection.error_message")
}

fn reads_first(after: &[u8]) -> Option<&'static str> {
    starts(gap_open(after), any!["@@", "select"]).then_some("sql_injection.error_message")
}

fn nested_query(after: &[u8]) -> Option<&'static str> {
    let query = skip(after, const { SPACE | of(b"(~") });
    let brackets = after.len().saturating_sub(query.len());
    (brackets >= 2 && is_call(after) && starts(query, any!["select"])).then_some("sql_injection.error_message")
}

fn file(after: &[u8]) -> Option<&'static str> {
    let argument = spaces(spaces(after).strip_prefix(b"(")?);
    let path = argument.get(1..).unwrap_or_default();
    let absolute = is_quote(first(argument)) && (starts(path, any!["/", "\\\\"]) || path.get(1) == Some(&b':'));
    (absolute || starts(argument, any!["0x", "concat", "char"])).then_some("sql_injection.file_or_command")
}

/// `(select sleep(5))`, `select load_extension(`.
fn select(before: &[u8], after: &[u8]) -> Option<&'static str> {
    let column = skip(gap_open(after), const { of(b"!~") });
    let bracketed = ends(before, any!["("]);
    if ends(before, any![":=("]) {
        return Some("sql_injection.joined_query");
    }
    if bracketed && starts(column, any!["sleep(", "pg_sleep(", "benchmark("]) {
        return Some("sql_injection.time_delay");
    }
    // `(select(0)from(select(sleep(6)))v)`, `(select * from (select(sleep(5)))a)`
    if first(after) == b'(' && bracketed && starts(column, any!["sleep"]) {
        return Some("sql_injection.time_delay");
    }
    None
}
