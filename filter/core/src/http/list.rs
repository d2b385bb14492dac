//! Comma-separated lists of tokens (RFC 9110 §5.6.1): `Connection`, `Upgrade`, `Sec-WebSocket-Protocol`.

use super::Malformed;

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// The token in `bytes`.
///
/// # Errors
/// [`Malformed`] when it is empty or has another byte.
pub fn token(bytes: &[u8]) -> Result<&str, Malformed> {
    if bytes.is_empty() || !bytes.iter().copied().all(is_token_byte) {
        return Err(Malformed);
    }
    str::from_utf8(bytes).map_err(|_| Malformed)
}

/// The most tokens of a field: what is offered is compared with each other, and nobody offers more than some ten.
const TOKENS_MAX: usize = 64;

/// All tokens of all lines of one field. Empty elements between commas are passed over (RFC 9110 §5.6.1.2).
///
/// # Errors
/// [`Malformed`] when an element is no token, a line has none at all, or there are more than 64.
pub fn tokens<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Vec<&'a str>, Malformed> {
    let mut found = Vec::new();
    for line in lines {
        let before = found.len();
        for element in line.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty()) {
            if found.len() == TOKENS_MAX {
                return Err(Malformed);
            }
            found.push(token(element)?);
        }
        if found.len() == before {
            return Err(Malformed);
        }
    }
    Ok(found)
}

/// `bytes` without the white space around them (RFC 9110 §5.6.3: space and tab).
#[must_use]
pub fn trim(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t', tail @ ..] | [tail @ .., b' ' | b'\t'] = rest {
        rest = tail;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: Result<&[&str], Malformed>) {
        assert_eq!(tokens(lines.iter().map(|line| line.as_bytes())).as_deref(), expected.as_ref().map(|e| *e));
    }

    #[test]
    fn lines_and_elements_make_one_list() {
        check(&["a, b", "c"], Ok(&["a", "b", "c"]));
        check(&["\t a ,,b,"], Ok(&["a", "b"]));
        check(&[], Ok(&[]));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for line in ["", " ", ",", "a b", "a;b", "a\"b", "ä", "a, b c", "a\0"] {
            check(&[line], Err(Malformed));
        }
        check(&["a", ""], Err(Malformed));
        check(&["a,".repeat(64).as_str()], Ok(&["a"; 64]));
        check(&["a,".repeat(40).as_str(), "a,".repeat(25).as_str()], Err(Malformed));
    }
}
