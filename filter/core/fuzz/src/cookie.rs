//! One cookie among others.

use portcullis_core::http::cookie::take;

use crate::input::Input;

/// `name` `\n` `line`: taking a cookie out of a line takes all of it, and nothing else.
pub fn cookie(data: &[u8]) {
    let mut input = Input::new(data);
    let name = input.until(b'\n');
    let is_name =
        |name: &[u8]| !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let name = if is_name(name) { str::from_utf8(name).expect("ASCII") } else { "session" };
    let line = input.rest();

    let (values, rest) = take(line, name, |_| true);
    let (own, others): (Vec<_>, Vec<_>) = pairs(line).into_iter().partition(|pair| is_own(pair, name.as_bytes()));
    assert_eq!(values.len(), own.len());
    if own.is_empty() {
        assert_eq!(rest.as_deref(), Some(line), "a line without the cookie is changed");
    } else {
        let rest = rest.as_deref().unwrap_or_default();
        assert_eq!(pairs(rest), others, "another cookie is changed");
        assert_eq!(take(rest, name, |_| true).0, Vec::<&[u8]>::new(), "a cookie is left");
    }
    assert_ne!(rest.as_deref().map(pairs), (!own.is_empty()).then(Vec::new), "a line of nothing is left");

    // One more, at each place where one can stand, is one more value at that place.
    let pieces: Vec<&[u8]> = line.split(|byte| *byte == b';').collect();
    for index in [0, pieces.len() / 2, pieces.len()] {
        let planted = format!(" {name} = \"planted\"\t");
        let mut pieces = pieces.clone();
        let before = pieces[..index].iter().filter(|piece| is_own(trim(piece), name.as_bytes())).count();
        pieces.insert(index, planted.as_bytes());
        let line = pieces.join(&b';');
        let (found, rest) = take(&line, name, |_| true);
        let mut expected = values.clone();
        expected.insert(before, b"planted");
        assert_eq!(found, expected);
        assert_eq!(rest.as_deref().map(pairs).unwrap_or_default(), others);
    }
}

/// The cookies of a line, without the white space around them and without empty ones.
fn pairs(line: &[u8]) -> Vec<&[u8]> {
    line.split(|byte| *byte == b';').map(trim).filter(|pair| !pair.is_empty()).collect()
}

/// Whether a server sees the name in the pair: before its equals sign, or after a comma or white space behind it.
fn is_own(pair: &[u8], name: &[u8]) -> bool {
    let value = pair.iter().position(|byte| *byte == b'=').map_or(&b""[..], |equals| &pair[equals + 1..]);
    let words = value.split(|byte| *byte == b',' || byte.is_ascii_whitespace()).skip(1);
    key(pair) == Some(name) || words.into_iter().any(|word| word == name || word.starts_with(&[name, b"="].concat()))
}

fn key(pair: &[u8]) -> Option<&[u8]> {
    pair.iter().position(|byte| *byte == b'=').map(|equals| trim(&pair[..equals]))
}

fn trim(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_text).map_or(start, |last| last + 1);
    &bytes[start..end]
}
