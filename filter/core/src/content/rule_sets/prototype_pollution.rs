//! Paths to the prototypes that all objects share (CWE-1321), and to the module behind a Python object.
//!
//! A merge or a path setter that walks such a path changes every object of the service. Found are the keys by
//! themselves, and texts that are nothing but a path, a form field or an object with one. Prose and code that
//! mention `__proto__` are left alone; a message that is nothing but such a path is refused, even where it only
//! mentions it.
//!
//! `constructor.prototype` in nested JSON is two keys that are ordinary words, and strings are seen without their place. Each
//! passes by itself; a message is refused that has the first string and, anywhere behind it, the second (`Strings`).
//!
//! Not found: paths that the service puts together from other strings than these, and assignments in code.

#[cfg(test)]
mod tests;

use super::bytes::{
    Kinds, QUOTE, REACH, SPACE, WORD, any, eat_any, first, is, is_quote, last, of, skip, skip_near, spaces, tail, word,
};
use super::kept::Kept;
use super::names::Name;
use super::rarely::{ends, is_one, starts};
use super::reading::{Reading, Word};

pub(super) const CONSTRUCTOR_KEY: &str = "prototype_pollution.constructor_key";

pub(super) const NAMES: &[&str] = &[
    "prototype_pollution.accessor_key",
    CONSTRUCTOR_KEY,
    "prototype_pollution.constructor_object",
    "prototype_pollution.constructor_step",
    "prototype_pollution.function_constructor",
    "prototype_pollution.globals_key",
    "prototype_pollution.globals_step",
    "prototype_pollution.node_options",
    "prototype_pollution.proto_end",
    "prototype_pollution.proto_key",
    "prototype_pollution.proto_object",
    "prototype_pollution.proto_step",
];

/// The rule that `text` matches; its case counts.
pub(super) fn find(reading: &Reading<'_>, kept: Kept<'_>) -> Option<&'static str> {
    let text = reading.exact();
    if let Some(found) = kept.of(key(text)) {
        return Some(found);
    }
    let object = matches!(first(spaces(text)), b'{' | b'[');
    let at_word = |Word { before, after, name, .. }: Word<'_>| match name {
        // As it is, and so that a filter that removes it once leaves it.
        Name::DunderProto | Name::DunderProProtoTo => proto(before, after, object),
        Name::Constructor | Name::Constconstructorructor => constructor(before, after, object),
        Name::DunderDefineGetter | Name::DunderDefineSetter | Name::DunderLookupGetter | Name::DunderLookupSetter => {
            (object && last(before) == b'"' && first(after) == b'"').then_some("prototype_pollution.accessor_key")
        }
        Name::Require | Name::Import | Name::Loader => {
            let value = skip(after, const { SPACE | of(b"=") });
            let option = ends(before, any!["--", "--experimental-"]) && value.len() < after.len();
            (option && starts(value, any!["/proc/self/", "data:"])).then_some("prototype_pollution.node_options")
        }
        Name::DunderGlobals => {
            let path = before
                .iter()
                .rposition(|byte| !is(*byte, JOIN))
                .map_or(b"".as_slice(), |at| before.get(..=at).unwrap_or_default());
            (path.len() < before.len() && ends(path, any!["__init__", "__func__", "__call__"]))
                .then_some("prototype_pollution.globals_step")
        }
        _ => None,
    };
    reading.exact_words().find_map(|word| kept.of(at_word(word)))
}

/// A text that is such a name, and nothing else.
fn key(text: &[u8]) -> Option<&'static str> {
    match Name::of(text) {
        Name::DunderProto | Name::DunderProProtoTo => Some("prototype_pollution.proto_key"),
        Name::Constconstructorructor => Some(CONSTRUCTOR_KEY),
        Name::DunderGlobals => Some("prototype_pollution.globals_key"),
        Name::DunderDefineGetter | Name::DunderDefineSetter | Name::DunderLookupGetter | Name::DunderLookupSetter => {
            Some("prototype_pollution.accessor_key")
        }
        _ => None,
    }
}

/// What joins the steps of a path: dots, slashes, brackets with or without quotes, and what else libraries let their users choose.
const JOIN: Kinds = of(b".[]'\"/:,|->~\\");

/// What a path is made of.
const STEP: Kinds = WORD | JOIN | of(b"$%@*");

/// Whether `before` is the start of a path or an address, or of a field of a form.
fn is_field(before: &[u8]) -> bool {
    let near = tail(before, REACH);
    match near.iter().rposition(|byte| !is(*byte, STEP)) {
        Some(at) => near.get(at).is_some_and(|byte| matches!(byte, b'?' | b'&' | b'#')),
        // An address may have any name in its path.
        None => near.len() == before.len() && !near.windows(3).any(|window| window == b"://"),
    }
}

/// What joins two steps within a string of an object.
const NEXT: Kinds = of(b".[]'/:|->~\\");

/// Whether a path is all of a string of an object.
fn is_string(before: &[u8], after: &[u8]) -> bool {
    const PATH: Kinds = WORD | NEXT | of(b"$%@*");
    let near = tail(before, REACH);
    let opened = near.iter().rposition(|byte| !is(*byte, PATH)).and_then(|at| near.get(at));
    opened == Some(&b'"') && first(skip_near(after, PATH)) == b'"'
}

/// Whether a path ends here: with the text, or before the value of a field.
fn is_value(rest: &[u8]) -> bool {
    match rest {
        [] | [b'='] => true,
        [b'=', next, ..] => !matches!(next, b'=' | b'>'),
        _ => false,
    }
}

fn proto(before: &[u8], after: &[u8], object: bool) -> Option<&'static str> {
    let field = is_field(before);
    // `a?.__proto__?.b`
    let after = after.strip_prefix(b"?").unwrap_or(after);
    if field && is(first(after), JOIN) && is_value(skip(after, STEP)) {
        return Some("prototype_pollution.proto_step");
    }
    if field && is(last(before), JOIN) && is_value(after) {
        return Some("prototype_pollution.proto_end");
    }
    // `{"a.__proto__.b":1}`, `{"path":"/__proto__/x"}`
    let goes_on = is(last(before), NEXT) || is(first(after), NEXT);
    if object && goes_on && is_string(before, after) {
        return Some("prototype_pollution.proto_object");
    }
    let value = spaces(spaces(skip(after, QUOTE)).strip_prefix(b":")?);
    (object && matches!(first(value), b'{' | b'[' | b'"' | b'\'' | b't' | b'f' | b'0'..=b'9'))
        .then_some("prototype_pollution.proto_object")
}

fn constructor(before: &[u8], after: &[u8], object: bool) -> Option<&'static str> {
    let joined = skip(after, JOIN);
    if joined.len() < after.len() {
        let (name, behind) = word(joined);
        let is_prototype = is_one(name, any!["prototype", "protoprototypetype"]);
        if is_prototype && is_field(before) && is_value(skip(behind, STEP)) {
            return Some("prototype_pollution.constructor_step");
        }
        // `["constructor","prototype"]`, `{"path":"/constructor/prototype/x"}`
        let is_list = ends(before, any!["[\"", ",\""]) && starts(after, any!["\",\""]);
        if is_prototype && object && (is_list || is_string(before, behind)) {
            return Some("prototype_pollution.constructor_object");
        }
    }
    if let Some(found) = function(after) {
        return Some(found);
    }
    let inner = spaces(skip(after, QUOTE)).strip_prefix(b":").map(spaces)?;
    let member = skip(spaces(inner.strip_prefix(b"{")?), QUOTE);
    let value = spaces(skip(member.strip_prefix(b"prototype")?, QUOTE));
    (object && first(value) == b':').then_some("prototype_pollution.constructor_object")
}

/// From any value to the constructor of functions: `constructor.constructor('return process')()`.
fn function(after: &[u8]) -> Option<&'static str> {
    let closed = |rest| skip(rest, const { QUOTE | of(b"])") });
    let rest = closed(after);
    let rest = eat_any(rest, any![".", "?.", "['", "[\"", "[`"])
        .and_then(|rest| rest.strip_prefix(b"constructor"))
        .map_or(rest, closed);
    let code = spaces(rest.strip_prefix(b"(")?);
    let (name, _) = word(spaces(code.get(1..)?));
    (is_quote(first(code)) && is_one(name, any!["return", "throw", "alert", "process", "globalThis", "this"]))
        .then_some("prototype_pollution.function_constructor")
}
