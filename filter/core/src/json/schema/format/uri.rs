//! URIs (RFC 3986), IRIs (RFC 3987) and templates of them (RFC 6570), split as RFC 3986 appendix B splits them.

use core::net::Ipv6Addr;

/// Which characters stand for themselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Charset {
    Ascii,
    Unicode,
}

/// What `pchar` has beside `unreserved` and `sub-delims`; a path has slashes too.
const PATH_EXTRA: &[u8] = b":@/";

/// A query or a fragment.
const QUERY_EXTRA: &[u8] = b":@/?";

/// `URI`: with a scheme.
pub(super) fn is_absolute(text: &str, charset: Charset) -> bool {
    is_reference(text, charset) && colon_of_scheme(text).is_some()
}

/// `URI-reference`: `[ scheme ":" ] [ "//" authority ] path [ "?" query ] [ "#" fragment ]`
pub(super) fn is_reference(text: &str, charset: Charset) -> bool {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let hierarchy = match colon_of_scheme(text).and_then(|colon| text.split_at_checked(colon)) {
        Some((scheme, _)) if !is_scheme(scheme) => return false,
        Some((_, rest)) => rest.strip_prefix(':').unwrap_or_default(),
        None => text,
    };
    let path = match hierarchy.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            if !is_authority(authority, charset) {
                return false;
            }
            path
        }
        None => hierarchy,
    };
    is_made_of(path, PATH_EXTRA, charset)
        && is_made_of(fragment, QUERY_EXTRA, charset)
        && query
            .split(|character| charset == Charset::Unicode && is_private(character))
            .all(|public| is_made_of(public, QUERY_EXTRA, charset))
}

/// RFC 6570 §2: literals, and expressions in braces.
pub(super) fn is_template(text: &str) -> bool {
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((expression, next)) = after.split_once('}') else { return false };
        let variables = expression.strip_prefix(is_operator).unwrap_or(expression);
        if !is_literal(literal) || !variables.split(',').all(is_variable) {
            return false;
        }
        rest = next;
    }
    is_literal(rest)
}

/// `literals`, among them `'` (erratum 6937).
fn is_literal(text: &str) -> bool {
    text.split(is_private).all(|public| is_made_of(public, b":/?#[]@", Charset::Unicode))
}

const fn is_operator(character: char) -> bool {
    matches!(character, '+' | '#' | '.' | '/' | ';' | '?' | '&' | '=' | ',' | '!' | '@' | '|')
}

/// `varname [ ":" max-length / "*" ]`
fn is_variable(text: &str) -> bool {
    let name = match (text.strip_suffix('*'), text.split_once(':')) {
        (Some(name), _) => name,
        (None, Some((name, len))) if is_prefix_len(len.as_bytes()) => name,
        (None, Some(_)) => return false,
        (None, None) => text,
    };
    name.split('.').all(|part| {
        !part.is_empty() && is_percent_encoded(part, |character| character.is_ascii_alphanumeric() || character == '_')
    })
}

/// 1 to 9999.
fn is_prefix_len(text: &[u8]) -> bool {
    matches!(text, [b'1'..=b'9', rest @ ..] if rest.len() < 4 && rest.iter().all(u8::is_ascii_digit))
}

/// Where the first segment has a colon: it ends a scheme, as no first segment of a relative path has one (§4.2).
fn colon_of_scheme(text: &str) -> Option<usize> {
    let index = text.find([':', '/', '?', '#'])?;
    (text.as_bytes().get(index) == Some(&b':')).then_some(index)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// `[ userinfo "@" ] host [ ":" port ]`
fn is_authority(text: &str, charset: Charset) -> bool {
    let (user, host_and_port) = text.split_once('@').unwrap_or(("", text));
    let (host_is_valid, port) = match host_and_port.strip_prefix('[') {
        Some(literal) => {
            let Some((address, rest)) = literal.split_once(']') else { return false };
            let Some(port) = rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("")) else { return false };
            (is_ip_literal(address), port)
        }
        None => {
            let (host, port) = host_and_port.split_once(':').unwrap_or((host_and_port, ""));
            (is_made_of(host, b"", charset), port)
        }
    };
    host_is_valid && port.bytes().all(|byte| byte.is_ascii_digit()) && is_made_of(user, b":", charset)
}

/// `IPv6address / IPvFuture`
fn is_ip_literal(text: &str) -> bool {
    match text.strip_prefix(['v', 'V']).map(|future| future.split_once('.')) {
        Some(Some((version, address))) => {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !address.is_empty()
                && !address.contains('%')
                && is_made_of(address, b":", Charset::Ascii)
        }
        Some(None) => false,
        None => text.parse::<Ipv6Addr>().is_ok(),
    }
}

/// `*( unreserved / pct-encoded / sub-delims / extra )`
fn is_made_of(text: &str, extra: &[u8], charset: Charset) -> bool {
    is_percent_encoded(text, |character| match u8::try_from(character) {
        Ok(byte) if byte.is_ascii() => {
            byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) || extra.contains(&byte)
        }
        _ => charset == Charset::Unicode && is_ucs(character),
    })
}

/// Whether each character stands for itself, or `%` and two digits for a byte.
fn is_percent_encoded(text: &str, is_itself: impl Fn(char) -> bool) -> bool {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let valid = match character {
            '%' => (0..2).all(|_| characters.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            other => is_itself(other),
        };
        if !valid {
            return false;
        }
    }
    true
}

/// `ucschar` (RFC 3987 §2.2): no control, no surrogate, not private, no noncharacter, and not the tags of plane 14.
fn is_ucs(character: char) -> bool {
    match u32::from(character) {
        code @ 0x1_0000..0xf_0000 => code & 0xffff < 0xfffe && !(0xe_0000..0xe_1000).contains(&code),
        code => matches!(code, 0xa0..=0xd7ff | 0xf900..=0xfdcf | 0xfdf0..=0xffef),
    }
}

/// `iprivate` (RFC 3987 §2.2), which a query may have.
fn is_private(character: char) -> bool {
    matches!(character, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}')
}
