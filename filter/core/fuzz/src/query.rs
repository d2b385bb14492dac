//! One parameter among others.

use portcullis_core::http::query::{decode, take};

use crate::input::Input;

/// `name` `\n` `target`: taking a parameter out of a target takes every spelling of it, and nothing else.
pub fn query(data: &[u8]) {
    let mut input = Input::new(data);
    let name = str::from_utf8(input.until(b'\n')).unwrap_or_default();
    let name = if name.is_empty() { "token" } else { name };
    let target = input.rest();

    let (values, rest) = take(target, name, |_| true);
    let is_name = |part: &[u8]| naive_decode(part.split(|byte| *byte == b'=').next().unwrap()) == name.as_bytes();
    // Some servers part parameters at semicolons too.
    let is_own = |parameter: &&[u8]| is_name(parameter) || parameter.split(|byte| *byte == b';').skip(1).any(is_name);
    let (path, parameters) = split(target);
    let (own, others): (Vec<_>, Vec<_>) = parameters.iter().copied().partition(is_own);
    assert_eq!(values.len(), own.len());
    if own.is_empty() {
        assert_eq!(rest, target, "a target without the parameter is changed");
    } else {
        assert_eq!(split(&rest), (path, others.clone()), "something else is changed");
        assert_eq!(take(&rest, name, |_| true).0, Vec::<Vec<u8>>::new(), "a parameter is left");
    }

    // One more, in the hardest spelling, is one more value at its place.
    for index in [0, parameters.len() / 2, parameters.len()] {
        let planted = format!("{}={}", encode(name.as_bytes()), encode(path));
        let mut more = parameters.clone();
        let before = more[..index].iter().copied().filter(|parameter| is_own(parameter)).count();
        more.insert(index, planted.as_bytes());
        let (found, rest) = take(&[path, b"?", &more.join(&b'&')].concat(), name, |_| true);
        let mut expected = values.clone();
        expected.insert(before, path.to_vec());
        assert_eq!(found, expected);
        assert_eq!(split(&rest), (path, others.clone()));
    }

    assert_eq!(decode(target), naive_decode(target));
    assert_eq!(decode(encode(target).as_bytes()), target);
}

/// The path and the parameters.
fn split(target: &[u8]) -> (&[u8], Vec<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        None => (target, Vec::new()),
        Some(mark) => (&target[..mark], target[mark + 1..].split(|byte| *byte == b'&').collect()),
    }
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}

/// Percent-decoding as RFC 3986 §2.1 has it; what is no triplet stays.
pub(crate) fn naive_decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut index = 0;
    while index < bytes.len() {
        let digits = bytes.get(index + 1..index + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.filter(|_| bytes[index] == b'%') {
            Some(digits) => {
                decoded.push(u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap());
                index += 3;
            }
            None => {
                decoded.push(bytes[index]);
                index += 1;
            }
        }
    }
    decoded
}
