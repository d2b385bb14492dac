//! The path of a request, in every way in which a proxy or server behind the filter may read it.
//!
//! Proxies and servers decode, cut, merge and resolve in different orders, so `/admin/..%3b/public` is one path to one of them and
//! another to the next. Nothing here decides which of them is right: [`readings`] gives all.
//!
//! ```text
//! /a/..%3b/b ──▶ /a/..;/b ──▶ /a/../b ──▶ /b        each step on each reading, until nothing new comes
//! ```
//!
//! Only for comparing with the routes of a policy; what goes to the upstream is not changed.

use std::borrow::Cow;

use super::query::{decode, decode_but, hex};
use crate::letter::fold;

/// The longest path whose readings are looked for, in bytes, and the most that a connection keeps of its own path. Paths of
/// applications are a tenth of that; a long target has a long query.
pub const LEN_MAX: usize = 2_048;

/// What the readings of one path may take together, in bytes: 3 of the longest, 50 of a usual length. It bounds the time that one request takes
/// before anything is known about its sender. Honest paths have fewer than ten.
const READINGS_LEN_MAX: usize = 8_192;

/// What a reading takes beside its bytes: it is compared with all others.
const READING_LEN: usize = 128;

/// The longest text whose nested escapes are looked into for a log, which shows no more of it.
const SHOWN_LEN_MAX: usize = 256;

/// Kinds of bytes, one bit each.
type Kinds = u16;

const ESCAPE: Kinds = 1;
const PARAMETERS: Kinds = 1 << 1;
const BACKSLASH: Kinds = 1 << 2;
const SLASH: Kinds = 1 << 3;
const DOT: Kinds = 1 << 4;
const BLANK: Kinds = 1 << 5;
const QUERY: Kinds = 1 << 6;
const NUL: Kinds = 1 << 7;
const NOT_ASCII: Kinds = 1 << 8;
const CONTROL: Kinds = 1 << 9;
/// Of every path, the empty one too.
const ANY: Kinds = 1 << 10;

/// Something that a proxy or an upstream does to a path before it compares it with its own routes, and the bytes of which a path has at
/// least one kind where that changes it.
type Step = (Kinds, fn(&[u8]) -> Cow<'_, [u8]>);

/// All of them.
const STEPS: [Step; 13] = [
    // Nginx, IIS, Python, PHP.
    (ESCAPE, |path| decode(path).into()),
    // Tomcat, Jetty, Go: segments are split first, and an encoded slash is a letter.
    (ESCAPE, |path| decode_but(path, b'/').into()),
    (ESCAPE | NOT_ASCII, narrowed),
    (PARAMETERS, without_parameters),
    // IIS, browsers, Node's URL.
    (BACKSLASH, |path| path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()),
    (SLASH, merged),
    (DOT, resolved),
    (DOT | BLANK, trimmed),
    (ANY, rooted),
    // A decoded `?` or `#` begins a query or a fragment for the next reader.
    (QUERY, |path| until(path, |byte| matches!(byte, b'?' | b'#')).into()),
    // A string in C ends there.
    (NUL, |path| until(path, |byte| byte == 0).into()),
    // Parsers of URLs leave out line breaks and tabs (WHATWG URL §4.4), others all control characters.
    (CONTROL, |path| path.iter().copied().filter(|byte| !byte.is_ascii_control()).collect()),
    (SLASH, |path| path.strip_suffix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(path).into()),
];

const fn kinds_of(byte: u8) -> Kinds {
    match byte {
        b'%' => ESCAPE,
        b';' => PARAMETERS,
        b'\\' => BACKSLASH,
        b'/' => SLASH,
        b'.' => DOT,
        b'?' | b'#' => QUERY,
        0 => NUL | BLANK | CONTROL,
        1..b' ' => BLANK | CONTROL,
        b' ' => BLANK,
        0x7f => CONTROL,
        0x80.. => NOT_ASCII,
        _ => 0,
    }
}

/// The path of a request target as it is written, up to its query.
#[must_use]
pub fn written(target: &[u8]) -> &[u8] {
    until(target, |byte| byte == b'?')
}

/// Every reading of a path, the one as it is written first; `None` where they are too many to be found.
///
/// Some servers take letters of another case for the same letter: [`folded`] is for that.
#[must_use]
pub fn readings(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    if path.len() > LEN_MAX {
        return None;
    }
    let mut readings = vec![path.to_vec()];
    let take = |room: usize, reading: &[u8]| room.checked_sub(reading.len().saturating_add(READING_LEN));
    let mut room = take(READINGS_LEN_MAX, path)?;
    let mut index: usize = 0;
    while let Some(reading) = readings.get(index).cloned() {
        let kinds = reading.iter().fold(ANY, |kinds, byte| kinds | kinds_of(*byte));
        for (_, step) in STEPS.iter().filter(|(changed, _)| kinds & changed != 0) {
            let next = step(&reading);
            if *next != *reading && !readings.iter().any(|known| *known == *next) {
                room = take(room, &next)?;
                readings.push(next.into_owned());
            }
        }
        index = index.saturating_add(1);
    }
    Some(readings)
}

/// A path with every byte percent-encoded that has to be, and every escape in upper case (RFC 3986 §6.2.2.1): `/caf%c3%a9` and
/// `/café` are one path, to servers that decode and to those that do not.
#[must_use]
pub fn canonical(path: &[u8]) -> String {
    let mut canonical = String::with_capacity(path.len());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                rest = after;
                canonical.extend(['%', char::from(high.to_ascii_uppercase()), char::from(low.to_ascii_uppercase())]);
            }
            (b'a'..=b'z' | b'A'..=b'Z' | b'&'..=b';' | b'_' | b'~' | b'!' | b'$' | b'=' | b'@', _) => {
                canonical.push(char::from(*byte));
            }
            (byte, _) => {
                let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default().to_ascii_uppercase();
                canonical.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
            }
        }
    }
    canonical
}

/// Whether [`folded`] is something else than [`canonical`].
#[must_use]
pub fn folds(path: &[u8]) -> bool {
    path.iter().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii())
}

/// [`canonical`], with one letter for all that some reader takes for the same: those of another case, in any script.
#[must_use]
pub fn folded(path: &[u8]) -> String {
    let mut folded = Vec::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars().map(fold) {
            folded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        folded.extend_from_slice(chunk.invalid());
    }
    canonical(&folded)
}

/// The part of a target that may be shown: its path, up to where a query or parameters begin, however often it is decoded. Credentials
/// are in those.
#[must_use]
pub(crate) fn shown(target: &[u8]) -> String {
    let is_end = |byte| matches!(byte, b'?' | b'#' | b';' | b'&');
    let path = until(target, is_end);
    let path = path.get(..SHOWN_LEN_MAX).unwrap_or(path);
    let mut decoded = path.to_vec();
    loop {
        let next = narrowed(&decode(&decoded)).into_owned();
        if next == decoded {
            break;
        }
        decoded = next;
    }
    let is_plain = !decoded.iter().any(|byte| is_end(*byte));
    canonical(if is_plain { path } else { until(path, |byte| byte == b'%' || !byte.is_ascii()) })
}

fn until(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> &[u8] {
    bytes.split(|byte| is_end(*byte)).next().unwrap_or_default()
}

/// Each segment as `change` makes it.
fn each_segment(path: &[u8], change: impl Fn(&[u8]) -> &[u8]) -> Cow<'_, [u8]> {
    let mut changed = Vec::with_capacity(path.len());
    for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            changed.push(b'/');
        }
        changed.extend_from_slice(change(segment));
    }
    changed.into()
}

/// `/chat;a=b/c` without `;a=b`, as servlet containers have it.
fn without_parameters(path: &[u8]) -> Cow<'_, [u8]> {
    each_segment(path, |segment| until(segment, |byte| byte == b';'))
}

/// Each segment without the dots, spaces and control characters that it ends in, as file names of Windows are read, and lines.
fn trimmed(path: &[u8]) -> Cow<'_, [u8]> {
    fn trim(segment: &[u8], is_kept: impl Fn(&u8) -> bool) -> &[u8] {
        let len = segment.iter().rposition(is_kept).map_or(0, |last| last.saturating_add(1));
        segment.get(..len).unwrap_or_default()
    }
    each_segment(path, |segment| match trim(segment, |byte| *byte > b' ') {
        dots @ (b"." | b"..") => dots,
        name => trim(name, |byte| *byte > b' ' && *byte != b'.'),
    })
}

/// Repeated slashes are one.
fn merged(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.windows(2).any(|two| two == b"//") {
        return path.into();
    }
    let mut merged = path.to_vec();
    merged.dedup_by(|next, last| (*next, *last) == (b'/', b'/'));
    merged.into()
}

/// Without dot segments (RFC 3986 §5.2.4).
fn resolved(path: &[u8]) -> Cow<'_, [u8]> {
    let mut segments = path.split(|byte| *byte == b'/');
    let mut kept = vec![];
    let root = segments.next().unwrap_or_default();
    let mut is_open = false;
    for segment in segments {
        is_open = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    if is_open {
        kept.push(b"");
    }
    kept.insert(0, root);
    kept.join(&b'/').into()
}

/// From the first slash behind a scheme and an authority on, as URLs are read: `http://host/path`, `//host/path`.
fn rooted(path: &[u8]) -> Cow<'_, [u8]> {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let scheme = path.iter().position(|byte| !is_scheme(byte)).and_then(|end| path.get(end..)?.strip_prefix(b":"));
    let path = match scheme.unwrap_or(path).strip_prefix(b"//") {
        Some(rest) => {
            rest.iter().position(|byte| *byte == b'/').and_then(|slash| rest.get(slash..)).unwrap_or_default()
        }
        None => path,
    };
    if path.first() == Some(&b'/') { path.into() } else { [b"/", path].concat().into() }
}

/// Letters in another encoding: `%u002e` (IIS), overlong UTF-8, full-width forms of ASCII.
pub(crate) fn narrowed(path: &[u8]) -> Cow<'_, [u8]> {
    let mut narrowed = Vec::with_capacity(path.len());
    let mut rest = path;
    let is_dress = |byte: &u8| matches!(byte, b'%' | 0xc0..=0xf7);
    while let Some((plain, tail)) = rest.iter().position(is_dress).and_then(|at| rest.split_at_checked(at)) {
        narrowed.extend_from_slice(plain);
        rest = match narrow(tail) {
            Some((letter, after)) => {
                narrowed.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                after
            }
            None => {
                narrowed.extend(tail.first());
                tail.get(1..).unwrap_or_default()
            }
        };
    }
    narrowed.extend_from_slice(rest);
    narrowed.into()
}

/// The letter that `bytes` begins with in such an encoding, and what follows it.
fn narrow(bytes: &[u8]) -> Option<(char, &[u8])> {
    let (code, len, rest) = match bytes {
        [b'%', b'u' | b'U', digits @ ..] => {
            let (digits, rest) = digits.split_first_chunk::<4>()?;
            let digits = digits.iter().try_fold(0, |code: u32, digit| Some(code << 4 | u32::from(hex(*digit)?)));
            (digits?, usize::MAX, rest)
        }
        [lead @ 0xc0..=0xf7, rest @ ..] => {
            let (len, bits) = match lead {
                0xc0..=0xdf => (1, 0x1f),
                0xe0..=0xef => (2, 0x0f),
                _ => (3, 0x07),
            };
            let (tail, rest) = rest.split_at_checked(len)?;
            let code = tail.iter().fold(u32::from(lead & bits), |code, byte| code << 6 | u32::from(byte & 0x3f));
            // Some decoders look no further than that: `%c0%2e` is a dot to them.
            if code > 0x7f && tail.iter().any(|byte| byte & 0xc0 != 0x80) {
                return None;
            }
            (code, len, rest)
        }
        _ => return None,
    };
    let code = match code {
        // U+FF01 to U+FF5E: full width.
        0xff01..=0xff5e => code.saturating_sub(0xfee0),
        code => code,
    };
    char::from_u32(code).filter(|letter| letter.len_utf8() <= len).map(|letter| (letter, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[&str]) {
        let readings = readings(path.as_bytes()).expect("few readings");
        let readings: Vec<String> = readings.iter().map(|reading| reading.escape_ascii().to_string()).collect();
        for reading in expected {
            assert!(readings.iter().any(|own| own == reading), "{path} has no reading {reading}: {readings:?}");
        }
    }

    #[test]
    fn a_plain_path_has_one_reading() {
        for path in ["/", "/chat", "/Chat/room-1/v1.0/@me/a+b=c,d", "/.well-known/x", "/~a/b~"] {
            assert_eq!(readings(path.as_bytes()), Some(vec![path.as_bytes().to_vec()]), "{path}");
        }
    }

    #[test]
    fn a_path_is_read_as_each_server_reads_it() {
        check("/admin/..%3b/public", &["/admin/..;/public", "/admin/../public", "/public"]);
        check("/admin/.%2e;/x", &["/admin/..;/x", "/admin/../x", "/x"]);
        check("/%2561dmin", &["/%61dmin", "/admin"]);
        check("/%25252561dmin", &["/admin"]);
        check("/admin%00/x", &["/admin\\x00/x", "/admin", "/admin/x"]);
        check("/admin.", &["/admin"]);
        check("/admin%20./x", &["/admin/x"]);
        check("/admin%0a", &["/admin"]);
        check("/admin;x=1/y", &["/admin/y"]);
        check("/x\\..\\admin", &["/admin"]);
        check("/x%5c..%5cadmin", &["/admin"]);
        check("//admin", &["/admin"]);
        check("//host/admin", &["/admin", "/host/admin"]);
        check("/\\host/admin", &["/admin"]);
        check("http://host/admin", &["/admin"]);
        check("admin", &["/admin"]);
        check("/a//../b", &["/a/b", "/b"]);
        check("/admin/a%2fb/%2e%2e/%2e%2e/x", &["/x", "/admin/x"]);
        check("/admin%3fx", &["/admin"]);
        check("/admin%23x", &["/admin"]);
        check("/%u0061dmin", &["/admin"]);
        check("/x/%c0%ae%c0%ae/admin", &["/admin"]);
        check("/x%e0%80%afadmin", &["/x/admin"]);
        check("/%ef%bd%81dmin", &["/admin"]);
        check("/caf%u00e9", &["/caf\\xc3\\xa9"]);
        check("/caf%e0%83%a9", &["/caf\\xc3\\xa9"]);
        check("/x/%c0%2e%c0%2e/admin", &["/admin"]);
        check("/x/..%c1%1cadmin", &["/admin"]);
        check("/%00admin", &["/admin"]);
        check("/ad%0amin", &["/admin"]);
        check("/admin%7f", &["/admin"]);
        check("/admin/", &["/admin"]);
        check("/./admin/../../admin", &["/admin"]);
    }

    #[test]
    fn what_has_too_many_readings_has_none() {
        let nested = format!("/%{}41", "25".repeat(600));
        let long = format!("/{}", "a".repeat(LEN_MAX));
        for path in [nested.as_str(), &"/%2e;\\..//%00 .".repeat(100), &long, &"%25".repeat(20_000)] {
            assert_eq!(readings(path.as_bytes()), None, "{}", path.len());
        }
        assert!(readings(&long.as_bytes()[1..]).is_some());
    }

    #[test]
    fn spellings_of_one_letter_are_one() {
        for (path, expected) in [
            ("/chat", "/chat"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/a b|c", "/a%20b%7Cc"),
            ("/a%20b%7cc", "/a%20b%7Cc"),
            ("/100%/%zz", "/100%25/%25zz"),
            ("/%61%2f", "/%61%2F"),
        ] {
            assert_eq!(canonical(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn letters_of_another_case_are_one() {
        for (path, other) in [
            ("/admin", "/AdMin"),
            ("/café/x", "/CAFÉ/x"),
            ("/admin", "/ADM\u{130}N"),
            ("/admin", "/adm\u{131}n"),
            ("/users", "/u\u{17f}ers"),
            ("/kiosk", "/\u{212a}ios\u{212a}"),
            ("/тип", "/ТИП"),
        ] {
            assert_eq!(folded(path.as_bytes()), folded(other.as_bytes()), "{path} {other}");
        }
        assert_eq!(folded(b"/A%2F\xff\xc3\x89"), "/a%2F%FF%C3%A9");
        assert_ne!(folded("/a".as_bytes()), folded("/á".as_bytes()));
    }

    #[test]
    fn no_query_is_shown_however_it_is_written() {
        for (target, expected) in [
            ("/chat", "/chat"),
            ("/chat?token=SECRET", "/chat"),
            ("/chat%3Ftoken=SECRET", "/chat"),
            ("/chat%253ftoken=SECRET", "/chat"),
            ("/chat%%33ftoken=SECRET", "/chat"),
            ("/chat%25%33%66token=SECRET", "/chat"),
            ("/chat%u003ftoken=SECRET", "/chat"),
            ("/chat%c0%bftoken=SECRET", "/chat"),
            ("/chat%ef%bc%9ftoken=SECRET", "/chat"),
            ("/chat%23token=SECRET", "/chat"),
            ("/chat#token=SECRET", "/chat"),
            ("/chat;token=SECRET", "/chat"),
            ("/chat&token=SECRET", "/chat"),
            ("/chat%26token=SECRET", "/chat"),
            ("/chat%3btoken=SECRET", "/chat"),
            ("/caf%c3%a9/room", "/caf%C3%A9/room"),
            ("/a\"b\\c\n", "/a%22b%5Cc%0A"),
        ] {
            assert_eq!(shown(target.as_bytes()), expected, "{target}");
        }
        assert_eq!(shown(&b"a".repeat(60_000)).len(), SHOWN_LEN_MAX);
        assert!(shown(&b"%25".repeat(20_000)).len() <= SHOWN_LEN_MAX + 2);
    }
}
