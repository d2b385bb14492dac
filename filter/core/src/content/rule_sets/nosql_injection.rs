//! Operators and scripts of document databases where a value is expected (CWE-943): MongoDB, Redis, Neo4j.
//!
//! An operator in place of a value is a key such as `$ne`, so it is found wherever a service takes JSON; it is
//! found as well in a form field (`user[$ne]=`), and in a text that is such an object itself. Scripts are found
//! where they leave the string they were put into, and as functions for map and reduce; as the value of `$where`
//! they are found by its key.
//!
//! `$type`, `$text`, `$limit` and the like are left alone: schemas, lists and Json.NET send them as keys of their own. A service whose
//! protocol lets clients send operators of queries or of updates (Feathers, Parse, `$set` of analytics and state libraries) cannot use
//! this set: they look like attacks. People may talk about operators and paste commands and pipelines of the shell; a message
//! that is nothing but a query object, or a command that writes, is refused, since that is what the attack looks like.
//!
//! Not found: scripts that are a whole value of a key that only the service evaluates, and commands of Redis that only read or set a key.

mod redis;
#[cfg(test)]
mod tests;

use core::cell::OnceCell;

use super::bytes::{
    DIGIT, Kinds, Literals, QUOTE, REACH, SPACE, WORD, any, eat_any, first, head, is_digit, is_letter, is_quote,
    is_space, is_word, last, of, places, skip, skip_near, spaces, split, split_near, tail, word, words,
};
use super::kept::Kept;
use super::names::Name;
use super::rarely::{ends, is_one, starts};
use super::reading::{Reading, Word};

pub(super) const NAMES: &[&str] = &[
    "nosql_injection.bare_condition",
    "nosql_injection.command_after_return",
    "nosql_injection.cypher_clause",
    "nosql_injection.document_list",
    "nosql_injection.map_reduce",
    "nosql_injection.operator_after_value",
    "nosql_injection.operator_field",
    "nosql_injection.operator_key",
    "nosql_injection.operator_object",
    "nosql_injection.redis_command",
    "nosql_injection.script_condition",
    "nosql_injection.script_of_document",
    "nosql_injection.script_statement",
    "nosql_injection.search_script",
    "nosql_injection.shell_command",
];

/// The operators that change what a query selects, or run code.
const OPERATORS: &Literals = any![
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "in",
    "nin",
    "or",
    "nor",
    "and",
    "not",
    "exists",
    "size",
    "all",
    "regex",
    "where",
    "expr",
    "mod",
    "elemMatch",
    "jsonSchema",
    "func",
    "function",
    "accumulator",
    "eval",
    "lookup",
    "bitsAllClear",
    "bitsAllSet",
    "bitsAnyClear",
    "bitsAnySet",
    "geoIntersects",
    "geoWithin",
    "graphLookup",
    "match",
    "maxDistance",
    "minDistance",
    "natural",
    "near",
    "nearSphere",
    "rand",
    "sampleRate",
    "unionWith",
    "within",
];

/// The operators that change a document, and the stages that write elsewhere or read other collections. As variables they are common names,
/// so they count as keys and as members only.
const WRITERS: &Literals = any![
    "addToSet",
    "bit",
    "collStats",
    "currentDate",
    "currentOp",
    "each",
    "facet",
    "inc",
    "listSessions",
    "max",
    "merge",
    "min",
    "mul",
    "out",
    "pop",
    "pull",
    "pullAll",
    "push",
    "pushAll",
    "rename",
    "set",
    "setOnInsert",
    "unset",
];

/// The rule that `text` matches; its case counts.
pub(super) fn find(reading: &Reading<'_>, kept: Kept<'_>) -> Option<&'static str> {
    let text = reading.exact();
    let start = spaces(text);
    let whole = match first(start) {
        b'|' | b'&' if starts(start, any!["||", "&&"]) && is_comparison(spaces(start.get(2..)?)) => {
            Some("nosql_injection.bare_condition")
        }
        b'd' if is_write(start) => Some("nosql_injection.shell_command"),
        b'm' | b'f' if is_map_reduce(start) => Some("nosql_injection.map_reduce"),
        b's' | b't' if is_script(start) => Some("nosql_injection.script_of_document"),
        _ => None,
    };
    let of_operators = || if reading.has(const { of(b"$") }) { operators(text, kept) } else { None };
    kept.of(whole)
        .or_else(of_operators)
        .or_else(|| if reading.has(const { of(b"'\";") }) { ways_out(text, kept) } else { None })
        .or_else(|| reading.exact_words().find_map(|word| kept.of(at_word(word))))
        .or_else(|| kept.of(redis::find(reading)))
}

/// A text that is nothing but a command of the shell that writes: `db.users.drop();`.
fn is_write(start: &[u8]) -> bool {
    let Some(called) = start.strip_prefix(b"db").filter(|_| ends(start.trim_ascii_end(), any![")", ";"])) else {
        return false;
    };
    // `db.getSiblingDB('x').users.drop()`, `db["users"].drop()`
    let mut step = called.strip_prefix(b".").or_else(|| split_near(called, b"].").map(|(_, step)| step));
    for _ in 0..STEPS_MAX {
        let (method, behind) = word(step.unwrap_or_default());
        step = match first(behind) {
            b'(' if is_one(method, WRITING_METHODS) => return true,
            b'(' => split_near(behind, b").").map(|(_, step)| step),
            _ => behind.strip_prefix(b"."),
        };
    }
    false
}

/// How many steps a command of the shell takes to its method.
const STEPS_MAX: usize = 4;

/// Methods of a database and its collections; a text that is nothing but such a call is a command, not a quotation.
const WRITING_METHODS: &Literals = any![
    "adminCommand",
    "bulkWrite",
    "createUser",
    "deleteMany",
    "deleteOne",
    "drop",
    "dropDatabase",
    "dropUser",
    "eval",
    "findAndModify",
    "findOneAndDelete",
    "findOneAndReplace",
    "findOneAndUpdate",
    "getCollectionInfos",
    "getCollectionNames",
    "getUsers",
    "insert",
    "insertMany",
    "insertOne",
    "mapReduce",
    "remove",
    "renameCollection",
    "replaceOne",
    "runCommand",
    "save",
    "shutdownServer",
    "update",
    "updateMany",
    "updateOne",
    "updateUser",
];

/// A text that is nothing but a script of `$where`: `this.password.match(/^a/)`, `sleep(5000)`.
fn is_script(start: &[u8]) -> bool {
    if let Some(member) = start.strip_prefix(b"this.") {
        let call = word(member).1;
        return starts(call, any![".match(/"]) && matches!(last(start.trim_ascii_end()), b')' | b'/' | b'\'' | b'1');
    }
    delays(start).is_some_and(|behind| matches!(spaces(behind), [] | [b';']))
}

/// What follows a call that waits for a tenth of a second or longer.
fn delays(rest: &[u8]) -> Option<&[u8]> {
    let (time, behind) = split(rest.strip_prefix(b"sleep(")?, DIGIT);
    behind.strip_prefix(b")").filter(|_| time.len() > 2)
}

/// What follows an operator, and whether it is one of [`WRITERS`].
fn operator(rest: &[u8]) -> Option<(&[u8], bool)> {
    let (name, behind) = word(rest.strip_prefix(b"$")?);
    if name.is_empty() {
        return None;
    }
    let writes = is_one(name, WRITERS);
    (writes || is_one(name, OPERATORS)).then_some((behind, writes))
}

/// What the names of fields are made of, one within the other.
const STEP: Kinds = WORD | of(b".$-");

fn operators(text: &[u8], kept: Kept<'_>) -> Option<&'static str> {
    let start = spaces(text);
    let braced = matches!(first(start), b'{' | b'[');
    // A stage without quotes is pasted from the shell.
    let pasted = braced && skip(start, const { SPACE | of(b"[{") }).starts_with(b"$match:");
    let object = braced && !pasted;
    let opens = OnceCell::new();
    let opens = || *opens.get_or_init(|| text.iter().position(|byte| *byte == b'{').unwrap_or(text.len()));
    let path_len = OnceCell::new();
    let path_len = || *path_len.get_or_init(|| path_len_of(text));
    let at = |(before, rest): (&[u8], &[u8])| {
        let (behind, writes) = operator(rest)?;
        if before.is_empty() && behind.is_empty() {
            return Some("nosql_injection.operator_key");
        }
        if before.is_empty() && !writes && first(behind) == b'=' && !starts(behind, any!["=="]) {
            return Some("nosql_injection.operator_field");
        }
        // `user.$ne`, `$gt.a`
        let joined = last(before) == b'.' || first(behind) == b'.';
        let is_step = (before.is_empty() || last(before) == b'.') && matches!(behind, [] | [b'.' | b'=', ..]);
        if joined && is_step && before.len() < path_len() {
            return Some("nosql_injection.operator_field");
        }
        if last(before) == b'[' && first(behind) == b']' && is_field(before) {
            let next = behind.get(1..)?;
            return matches!(next, [] | [b'=' | b'&' | b'[', ..]).then_some("nosql_injection.operator_field");
        }
        // A quote, where a name begins or ends within one.
        let value = spaces(spaces(skip(until_dot(behind), const { of(b"\"'") })).strip_prefix(b":")?);
        let quoted = before.trim_ascii_end();
        let separated =
            is_space(last(before)) || matches!(last(before), b'{' | b'"' | b'\'' | b',' | b'.') || before.is_empty();
        if object && separated {
            return Some("nosql_injection.operator_object");
        }
        let key = quoted.strip_suffix(b"\"").or_else(|| quoted.strip_suffix(b"'")).unwrap_or(quoted).trim_ascii_end();
        let follows = key.is_empty() || last(key) == b',';
        (follows && !pasted && matches!(first(value), b'"' | b'\'' | b'{' | b'[') && before.len() <= opens())
            .then_some("nosql_injection.operator_after_value")
    };
    places(text, const { of(b"$") }).find_map(|place| kept.of(at(place)))
}

/// How long the name of a field is that a text begins with, if it is nothing else or has a value behind it.
fn path_len_of(text: &[u8]) -> usize {
    let (path, behind) = split(text, STEP);
    if behind.is_empty() || first(behind) == b'=' && !starts(behind, any!["=="]) { path.len() } else { 0 }
}

/// What follows the rest of a name that goes on: `$gt.a.b"`.
fn until_dot(behind: &[u8]) -> &[u8] {
    if first(behind) == b'.' { skip_near(behind, const { WORD | of(b".") }) } else { behind }
}

/// Whether `before` ends within a form's field: `user[name][`.
fn is_field(before: &[u8]) -> bool {
    let near = tail(before, REACH);
    let start = near.iter().rposition(|byte| !(is_word(*byte) || matches!(byte, b'.' | b'[' | b']')));
    match start {
        Some(at) => near.get(at).is_some_and(|byte| matches!(byte, b'?' | b'&')),
        None => near.len() == before.len(),
    }
}

/// Behind the first quote of each kind, or a word.
fn ways_out(text: &[u8], kept: Kept<'_>) -> Option<&'static str> {
    let quotes = [b'\'', b'"']
        .into_iter()
        .filter_map(|quote| text.iter().position(|byte| *byte == quote))
        .filter_map(|at| text.get(at.saturating_add(1)..));
    let found = quotes.filter_map(|rest| {
        let rest = skip(rest, const { SPACE | of(b")}]") });
        let found = kept.of(condition(rest)).or_else(|| kept.of(statement(rest)));
        found.or_else(|| kept.of(further(rest))).or_else(|| kept.of(cypher(rest)))
    });
    let bare = kept.of(statement(word(text).1));
    found.into_iter().next().or(bare)
}

/// A condition of a script: `' || this.password.match(/^a/)//`.
fn condition(rest: &[u8]) -> Option<&'static str> {
    if let Some(added) = rest.strip_prefix(b"+") {
        return delays(spaces(added)).map(|_| "nosql_injection.script_condition");
    }
    let rest = eat_any(rest, any!["||", "&&"])?;
    let rest = skip(rest, const { SPACE | of(b"(!") });
    let (name, behind) = word(rest);
    let found = match Name::of(name) {
        Name::This | Name::True | Name::Function => true,
        Name::Sleep => delays(rest).is_some(),
        Name::GlobalObject | Name::Db => first(behind) == b'.',
        Name::Tojson => first(behind) == b'(',
        Name::Empty => match rest.split_first() {
            Some((quote, literal)) if is_quote(*quote) => {
                let (_, behind) = word(literal);
                behind.first() == Some(quote) && starts(spaces(behind.get(1..).unwrap_or_default()), any!["==", "!="])
            }
            _ => false,
        },
        _ => is_comparison(rest) || name.iter().all(|byte| is_digit(*byte)) && starts(spaces(behind), any!["||", "&&"]),
    };
    found.then_some("nosql_injection.script_condition")
}

/// `1 == 1`
fn is_comparison(rest: &[u8]) -> bool {
    let (left, behind) = split(rest, DIGIT);
    let right = eat_any(spaces(behind), any!["===", "!==", "==", "!="]);
    !left.is_empty() && right.is_some_and(|right| is_digit(first(spaces(right))))
}

/// A statement of a script: `'; return true; var x='`.
fn statement(rest: &[u8]) -> Option<&'static str> {
    let rest = skip(spaces(rest.strip_prefix(b";")?), const { SPACE | of(b"+") });
    let (name, behind) = word(rest);
    let (name, behind) = if name == b"var" { word(spaces(behind)) } else { (name, behind) };
    let found = match Name::of(name) {
        Name::Return => {
            let value = skip(behind, const { SPACE | of(b"(") });
            let (name, after) = word(value);
            let literal = value
                .split_first()
                .filter(|(quote, _)| is_quote(**quote))
                .is_some_and(|(_, literal)| starts(spaces(word(literal).1.get(1..).unwrap_or_default()), any!["=="]));
            is_one(name, any!["true", "1"]) || name == b"this" && first(after) == b'.' || literal
        }
        Name::Sleep => first(behind) == b'(' && is_digit(first(behind.get(1..)?)),
        Name::Do => {
            let body = spaces(behind).strip_prefix(b"{")?;
            spaces(split_near(body, b"}")?.1).starts_with(b"while")
        }
        Name::While => starts(skip(behind, const { SPACE | of(b"(") }), any!["1", "true"]),
        Name::Db => {
            let (method, call) = word(behind.strip_prefix(b".")?);
            if first(call) == b'(' && is_one(method, WRITING_METHODS) {
                return Some("nosql_injection.script_statement");
            }
            let (method, arguments) = word(call.strip_prefix(b".")?);
            !method.is_empty() && first(arguments) == b'('
        }
        Name::Empty => false,
        _ => {
            starts(spaces(behind), any!["="])
                && starts(spaces(spaces(behind).get(1..)?), any!["new Date(", "new+Date("])
        }
    };
    found.then_some("nosql_injection.script_statement")
}

/// A further member of the query: `' } ], $comment:'x`.
fn further(rest: &[u8]) -> Option<&'static str> {
    let member = skip(spaces(rest.strip_prefix(b",")?), QUOTE);
    let (name, behind) = word(member.strip_prefix(b"$")?);
    (is_letter(first(name)) && first(spaces(skip(behind, QUOTE))) == b':')
        .then_some("nosql_injection.operator_after_value")
}

/// The way out of a property in Cypher: `'}) RETURN n //`.
fn cypher(rest: &[u8]) -> Option<&'static str> {
    let (clause, behind) = word(rest);
    let mut folded = [0_u8; 8];
    let clause = fold(clause, &mut folded)?;
    let next = spaces(behind);
    let (name, after) = word(next);
    let told = match Name::of(clause) {
        Name::Or => {
            let (value, rest) = word(spaces(after).strip_prefix(b"=").map(spaces)?);
            return if value.is_empty() { None } else { cypher(spaces(rest)) };
        }
        Name::Return | Name::With => !name.is_empty(),
        Name::Set => first(after) == b'.' && spaces(word(after.get(1..)?).1).starts_with(b"="),
        Name::Optional | Name::Match | Name::Detach | Name::Delete => {
            first(next) == b'(' || !name.is_empty() && clause != b"match"
        }
        Name::Call => first(after) == b'.',
        Name::Load => name.eq_ignore_ascii_case(b"csv"),
        _ => false,
    };
    let commented = head(rest, 512).windows(2).any(|window| window == b"//");
    (told && next.len() < behind.len() && commented).then_some("nosql_injection.cypher_clause")
}

fn fold<'a>(name: &[u8], folded: &'a mut [u8; 8]) -> Option<&'a [u8]> {
    let place = folded.get_mut(..name.len())?;
    place.copy_from_slice(name);
    place.make_ascii_lowercase();
    Some(place)
}

/// The command and the function of a map and reduce.
fn is_map_reduce(start: &[u8]) -> bool {
    if start == b"mapReduce" {
        return true;
    }
    let Some(rest) = start.strip_prefix(b"function") else { return false };
    let rest = spaces(word(spaces(rest)).1);
    let body = rest
        .strip_prefix(b"(")
        .map(spaces)
        .and_then(|rest| rest.strip_prefix(b")"))
        .map(spaces)
        .and_then(|rest| rest.strip_prefix(b"{"));
    body.is_some_and(|body| {
        delays(spaces(body)).is_some()
            || words(body).any(|(before, name, after)| {
                name == b"emit"
                    && first(after) == b'('
                    && (before.is_empty() || is_space(last(before)) || matches!(last(before), b';' | b'{' | b'}'))
            })
    })
}

/// Whether `before` is the start of an address, and nothing else.
fn is_path(before: &[u8]) -> bool {
    before.is_empty()
        || last(before) == b'/' && before.len() <= REACH && skip(before, const { WORD | of(b"/.:-") }).is_empty()
}

fn at_word(word_at: Word<'_>) -> Option<&'static str> {
    let Word { before, after, name, .. } = word_at;
    match name {
        Name::GlobalObject => {
            let index = spaces(after.strip_prefix(b".keys(this)")?);
            (first(index) == b'[').then_some("nosql_injection.script_of_document")
        }
        Name::Tojson | Name::Tojsononeline => {
            let (argument, behind) = word(after.strip_prefix(b"(")?);
            let _ = behind;
            (argument == b"this").then_some("nosql_injection.script_of_document")
        }
        // `/users/_all_docs?include_docs=true`
        Name::UnderAllDocs | Name::UnderAllDbs => {
            let end = skip_near(after, const { WORD | of(b"?=&%.-/\"") });
            (is_path(before) && end.is_empty()).then_some("nosql_injection.document_list")
        }
        Name::Ctx => {
            (spaces(before).is_empty() && starts(after, any!["._source"])).then_some("nosql_injection.search_script")
        }
        // `{"script":{"source":"…"}}`
        Name::Script => {
            let member = spaces(skip(after, QUOTE)).strip_prefix(b":").map(spaces)?.strip_prefix(b"{")?;
            let (name, value) = word(skip(member, const { SPACE | QUOTE }));
            let is_member = first(spaces(skip(value, QUOTE))) == b':' && matches!(last(before), b'"' | b'\'');
            (is_member && is_one(name, any!["source", "inline", "lang", "id", "params", "stored"]))
                .then_some("nosql_injection.search_script")
        }
        // `1});return 1;db.stores.mapReduce(`
        Name::Db => {
            let end = tail(before, 64).trim_ascii_end().strip_suffix(b";")?;
            let value = end.iter().rposition(|byte| !is_word(*byte)).and_then(|at| end.get(..=at))?.trim_ascii_end();
            let chained = ends(value, any!["return"])
                && ends(value.strip_suffix(b"return").map(|rest| rest.trim_ascii_end()).unwrap_or_default(), any![";"]);
            (chained && first(after) == b'.').then_some("nosql_injection.command_after_return")
        }
        _ => None,
    }
}
