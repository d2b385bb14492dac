//! Which policy a path falls under, however it is read.

use std::collections::HashSet;
use std::rc::Rc;

use portcullis_core::config;
use portcullis_core::policy::routes::{Place, Policies};
use serde_json::json;

use crate::input::Input;

/// How many routes of a script count.
const ROUTES_MAX: usize = 4;

/// How many readings the model looks for. Above the core's own bound it only has to find some.
const READINGS_MAX: usize = 200;

/// What the core looks for at most, and what each reading counts for beside its bytes.
const CORE_LEN_MAX: usize = 8_192;
const CORE_READING_LEN: usize = 128;
const CORE_PATH_LEN_MAX: usize = 2_048;

/// `=` path or `^` prefix, a line each, an empty line, and the target: a request gets a policy only where each way of reading its path
/// leads to that one, and is refused only where two do not, or where they are too many.
pub fn routes(data: &[u8]) {
    let mut input = Input::new(data);
    let mut routes = Vec::new();
    loop {
        let line = input.until(b'\n');
        let Some((kind, path)) = line.split_first() else { break };
        if routes.len() < ROUTES_MAX {
            routes.push((*kind == b'^', String::from_utf8_lossy(path).into_owned()));
        }
    }
    outcome(&routes, input.rest());
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The routes are no policy.
    NoPolicy,
    /// It is refused: its readings differ.
    Refused,
    /// It falls under the base policy, or that of a route.
    Selected(Option<usize>),
}

/// Checks one request against the model: `routes` are paths, and whether they are prefixes.
///
/// # Panics
/// Where core and model differ.
pub fn outcome(routes: &[(bool, String)], target: &[u8]) -> Outcome {
    let Some(policies) = policies(routes) else { return Outcome::NoPolicy };
    // Any byte can stand in a target: each is a character here.
    let path: String = target.iter().map(|byte| char::from(*byte)).take_while(|letter| *letter != '?').collect();
    let readings = readings(&path);
    let mut meanings = HashSet::new();
    for reading in &readings {
        for folds in [false, true] {
            meanings.insert(routes.iter().position(|(is_prefix, own)| matches(own, *is_prefix, reading, folds)));
        }
    }
    let len: usize = readings.iter().map(|reading| reading.chars().count() + CORE_READING_LEN).sum();
    let is_known = readings.len() < READINGS_MAX && len <= CORE_LEN_MAX && path.chars().count() <= CORE_PATH_LEN_MAX;
    match policies.select(&Place::new(None, target)) {
        Ok(policy) => {
            let selected = policies.routes().iter().position(|route| Rc::ptr_eq(&route.policy, policy));
            assert_eq!(meanings, HashSet::from([selected]), "{path:?} is admitted under one policy of several");
            Outcome::Selected(selected)
        }
        Err(_) => {
            assert!(meanings.len() > 1 || (!is_known && !routes.is_empty()), "{path:?} is refused and has one policy");
            Outcome::Refused
        }
    }
}

fn policies(routes: &[(bool, String)]) -> Option<Policies> {
    let key = |is_prefix: bool| if is_prefix { "path_prefix" } else { "path" };
    let routes = routes.iter().map(|(is_prefix, path)| json!({"match": {key(*is_prefix): path}, "policy": {}}));
    let policy = json!({"auth": {"required": false}, "routes": routes.collect::<Vec<_>>()});
    config::parse(policy.to_string().as_bytes(), &|_| None).ok().map(|parsed| parsed.policies)
}

/// Everything that comes of `path` by the steps below, in any order and as often as something new comes of it.
fn readings(path: &str) -> HashSet<String> {
    let mut all = HashSet::new();
    let mut new = vec![path.to_owned()];
    while let Some(path) = new.pop() {
        if all.len() < READINGS_MAX && all.insert(path.clone()) {
            let end = |ends: &[char]| path.split(ends).next().unwrap_or_default().to_owned();
            let mut merged = path.clone();
            while merged.contains("//") {
                merged = merged.replace("//", "/");
            }
            let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty());
            new.extend([
                decode(&path, false),
                decode(&path, true),
                narrow(&path),
                each(&path, |segment| segment.split(';').next().unwrap_or_default().to_owned()),
                path.replace('\\', "/"),
                merged,
                resolve(&path),
                each(&path, trim),
                path.chars().filter(|letter| !letter.is_ascii_control()).collect(),
                root(&path),
                end(&['?', '#']),
                end(&['\0']),
                bare.unwrap_or(&path).to_owned(),
            ]);
        }
    }
    all
}

fn each(path: &str, change: impl Fn(&str) -> String) -> String {
    path.split('/').map(change).collect::<Vec<_>>().join("/")
}

fn trim(segment: &str) -> String {
    let bare = segment.trim_end_matches(|letter| letter <= ' ');
    let is_dots = bare == "." || bare == "..";
    if is_dots { bare } else { bare.trim_end_matches(|letter| letter <= ' ' || letter == '.') }.to_owned()
}

fn decode(path: &str, keeps_slashes: bool) -> String {
    let mut decoded = String::new();
    let mut rest = path;
    while let Some(letter) = rest.chars().next() {
        let digits: String = rest.chars().skip(1).take(2).filter(char::is_ascii_hexdigit).collect();
        let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| letter == '%' && digits.len() == 2);
        match byte.map(char::from).filter(|byte| !keeps_slashes || *byte != '/') {
            Some(byte) => {
                decoded.push(byte);
                rest = &rest[3..];
            }
            None => {
                decoded.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    decoded
}

/// Letters in `%uXXXX` or in UTF-8 that is too long, and ASCII in full width, as UTF-8.
fn narrow(path: &str) -> String {
    let letters: Vec<char> = path.chars().collect();
    let letter = |code: u32, is_short: bool| match code {
        0xff01..=0xff5e => char::from_u32(code - 0xff00 + 0x20),
        _ => char::from_u32(code).filter(|_| !is_short),
    };
    let mut narrowed = String::new();
    let mut index = 0;
    while index < letters.len() {
        let lead = u32::from(letters[index]);
        let (len, code) = match lead {
            0x25 if letters.get(index + 1).is_some_and(|letter| letter.eq_ignore_ascii_case(&'u')) => {
                let digits: String =
                    letters[index + 2..].iter().take(4).filter(|letter| letter.is_ascii_hexdigit()).collect();
                (6, u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4))
            }
            0xc0..=0xf7 => {
                let len = if lead < 0xe0 {
                    2
                } else if lead < 0xf0 {
                    3
                } else {
                    4
                };
                let bits = letters
                    .get(index + 1..index + len)
                    .map(|tail| tail.iter().map(|letter| format!("{:08b}", u32::from(*letter))).collect::<Vec<_>>());
                let code = bits.and_then(|tail| {
                    let is_valid = tail.iter().all(|byte| byte.starts_with("10"));
                    let first = format!("{lead:08b}")[len + 1..].to_owned();
                    let tail: String = tail.iter().map(|byte| &byte[2..]).collect();
                    let code = u32::from_str_radix(&(first + &tail), 2).ok();
                    code.filter(|code| is_valid || *code < 0x80)
                });
                (len, code)
            }
            _ => (1, None),
        };
        let shortest = |code: u32| char::from_u32(code).map_or(0, char::len_utf8);
        match code.and_then(|code| letter(code, len < 6 && shortest(code) >= len)) {
            Some(letter) => {
                narrowed.extend(letter.to_string().bytes().map(char::from));
                index += len;
            }
            None => {
                narrowed.push(letters[index]);
                index += 1;
            }
        }
    }
    narrowed
}

/// RFC 3986 §5.2.4, word by word, from the first slash on.
fn resolve(path: &str) -> String {
    let (start, mut input) = match path.find('/') {
        Some(slash) => (path[..slash].to_owned(), path[slash..].to_owned()),
        None => return path.to_owned(),
    };
    let mut output = String::new();
    while !input.is_empty() {
        if input.starts_with("/./") || input == "/." {
            input = format!("/{}", input.strip_prefix("/./").unwrap_or_default());
        } else if input.starts_with("/../") || input == "/.." {
            input = format!("/{}", input.strip_prefix("/../").unwrap_or_default());
            output.truncate(output.rfind('/').unwrap_or_default());
        } else {
            let end = input[1..].find('/').map_or(input.len(), |slash| slash + 1);
            output.push_str(&input[..end]);
            input = input[end..].to_owned();
        }
    }
    start + &output
}

/// The path of a URL.
fn root(path: &str) -> String {
    let is_scheme = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    let behind = match path.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => path,
    };
    let rest = match behind.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => path,
    };
    if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") }
}

/// Whether a route means a reading.
fn matches(route: &str, is_prefix: bool, reading: &str, folds: bool) -> bool {
    let route: String = route.bytes().map(char::from).collect();
    let own = atoms(if is_prefix { route.trim_end_matches('/') } else { &route }, folds);
    let other = atoms(reading, folds);
    other == own || (is_prefix && other.starts_with(&own) && other[own.len()] == (u32::from('/'), false))
}

/// Letters, and whether they are escaped: which says nothing where they have to be.
fn atoms(path: &str, folds: bool) -> Vec<(u32, bool)> {
    let path = &if folds { fold(path) } else { path.to_owned() };
    let must = |letter: char| !letter.is_ascii_alphanumeric() && !"-._~!$&'()*+,;=:@/".contains(letter);
    let mut atoms = Vec::new();
    let mut letters = path.chars().peekable();
    while let Some(letter) = letters.next() {
        let two: String = letters.clone().take(2).collect();
        let is_escape = letter == '%' && two.len() == 2 && two.chars().all(|digit| digit.is_ascii_hexdigit());
        let (letter, is_escaped) = if is_escape {
            letters.nth(1);
            (char::from(u8::from_str_radix(&two, 16).unwrap()), true)
        } else {
            (letter, false)
        };
        atoms.push((u32::from(letter), is_escaped && !must(letter)));
    }
    atoms
}

/// One letter for each that Unicode takes for the same, in the scripts that the core knows.
fn fold(path: &str) -> String {
    let bytes: Vec<u8> = path.chars().map(|letter| u8::try_from(u32::from(letter)).expect("a byte")).collect();
    let mut folded = Vec::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let is_known =
                matches!(letter, '\0'..='\u{17f}' | '\u{386}'..='\u{3ce}' | '\u{400}'..='\u{45f}' | '\u{212a}');
            let upper = letter.to_uppercase();
            let one = if upper.len() == 1 && is_known { upper.last() } else { None };
            let small = one.and_then(|upper| upper.to_lowercase().next());
            folded.extend(small.unwrap_or(letter).to_string().bytes());
        }
        folded.extend(chunk.invalid());
    }
    folded.into_iter().map(char::from).collect()
}
