//! The escapes of a string.

/// A string without its escapes, those of JSON (RFC 8259 §7) and of JavaScript; it never becomes longer. Half a surrogate pair is
/// U+FFFD, and a backslash before anything else is left out.
pub(super) fn unescape(raw: &str) -> String {
    let mut plain = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, behind)) = rest.split_once('\\') {
        plain.push_str(before);
        let mut characters = behind.chars();
        let (character, len) = match characters.next() {
            Some('b') => (Some('\u{8}'), 1),
            Some('f') => (Some('\u{c}'), 1),
            Some('n') => (Some('\n'), 1),
            Some('r') => (Some('\r'), 1),
            Some('t') => (Some('\t'), 1),
            Some('v') => (Some('\u{b}'), 1),
            Some('u') => code_point(behind).map_or((Some('u'), 1), |(character, len)| (Some(character), len)),
            Some('x') => match hex(behind, 1, 2).and_then(char::from_u32) {
                Some(character) => (Some(character), 3),
                None => (Some('x'), 1),
            },
            Some('0') => (Some('\0'), 1),
            Some('\r') if behind.starts_with("\r\n") => (None, 2),
            Some(end @ ('\n' | '\r' | '\u{2028}' | '\u{2029}')) => (None, end.len_utf8()),
            Some(other) => (Some(other), other.len_utf8()),
            None => (None, 0),
        };
        plain.extend(character);
        rest = behind.get(len..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

/// The character of `uXXXX`, or of `uXXXX\uXXXX`, and how many bytes that is.
pub(super) fn code_point(escape: &str) -> Option<(char, usize)> {
    let unit = hex(escape, 1, 4)?;
    let low = if escape.get(5..7) == Some("\\u") { hex(escape, 7, 4) } else { None };
    match (unit, low) {
        (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
            let code_point = ((unit & 0x3ff) << 10 | (low & 0x3ff)).saturating_add(0x1_0000);
            Some((char::from_u32(code_point).unwrap_or(char::REPLACEMENT_CHARACTER), 11))
        }
        (unit, _) => Some((char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), 5)),
    }
}

fn hex(text: &str, start: usize, len: usize) -> Option<u32> {
    let digits = text.get(start..start.saturating_add(len))?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}
