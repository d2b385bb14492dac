//! Commands of Redis that take a server over or empty it: as a further line of what a service sends, in its protocol, and as a whole text.

use super::super::bytes::{
    BLANK, BREAK, DIGIT, any, first, is_digit, is_quote, last, places, skip, split_near, split_until, word,
};
use super::super::rarely::{is_one, starts};
use super::super::reading::Reading;

pub(super) fn find(reading: &Reading<'_>) -> Option<&'static str> {
    let (text, exact) = (reading.folded(), reading.exact());
    let further = || {
        places(text, BREAK).any(|(before, rest)| {
            let line = rest.get(1..).unwrap_or_default();
            if !may_begin(first(line)) {
                return false;
            }
            let is_sent = first(rest) == b'\n' && last(before) == b'\r';
            is_command(line, exact, is_sent) || is_sent && is_request(line)
        })
    };
    let begins = || may_begin(first(text)) && (is_command(text, exact, false) || is_request(text));
    (begins() || reading.has(BREAK) && further()).then_some("nosql_injection.redis_command")
}

/// `*1\r\n$8\r\nFLUSHALL\r\n`
fn is_request(line: &[u8]) -> bool {
    let size = line.strip_prefix(b"*").and_then(|count| skip(count, DIGIT).strip_prefix(b"\r\n$"));
    size.is_some_and(|size| is_digit(first(size)))
}

/// Whether a command or a request may begin with a byte.
const fn may_begin(byte: u8) -> bool {
    matches!(byte, b'*' | b'c' | b'e' | b'f' | b'm' | b'r' | b's')
}

/// Whether a command begins with `line`, which is an end of the text; `is_sent`: it is behind what ends a command of the protocol, so that
/// hardly anything else is meant.
fn is_command(line: &[u8], exact: &[u8], is_sent: bool) -> bool {
    if !may_begin(first(line)) {
        return false;
    }
    let (name, behind) = word(line);
    let argument = skip(behind, BLANK);
    let (what, behind) = word(argument);
    let value = skip(behind, BLANK);
    match name {
        b"config" if what == b"set" => {
            let keys = any!["append", "dbfilename ", "dir ", "masterauth ", "protected-mode ", "requirepass "];
            is_sent || starts(value, keys)
        }
        b"module" | b"script" if what == b"load" => matches!(first(value), b'/' | b'.' | b'"' | b'\''),
        // `eval "return 1" 0`
        b"eval" if is_quote(first(argument)) => {
            let keys = split_near(argument.get(1..).unwrap_or_default(), argument.get(..1).unwrap_or_default());
            keys.is_some_and(|(_, keys)| first(keys) == b' ' && is_digit(first(skip(keys, BLANK))))
        }
        // A host and its port, or `no one`.
        b"slaveof" | b"replicaof" => {
            let (address, _) = split_until(argument, BREAK);
            is_sent || is_digit(last(address)) || address == b"no one"
        }
        // In capitals, or sent as a command: in prose and code the name is in small letters.
        b"flushall" | b"flushdb" => {
            let written = exact.len().checked_sub(line.len()).and_then(|at| exact.get(at..)).unwrap_or_default();
            let ends = argument.is_empty() || starts(behind, any!["\n", "\r"]) || is_one(what, any!["async", "sync"]);
            is_sent || ends && starts(written, any!["FLUSH"])
        }
        _ => false,
    }
}
