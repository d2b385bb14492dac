//! Whether a server behind the filter may read a text as a JSON Web Token, by its shape alone.
//!
//! A cookie or parameter that a source names may hold an application's own token (Flask's session, Phoenix's token): it stays in the
//! request. A JWT never does, in any spelling that some server accepts: quoted and escaped as
//! cookies are, percent-encoded or in base64 once or more, with white space or a scheme around it, padded, in the other alphabet
//! of base64, with bytes in between that lax decoders skip. So this asks for less than [`super::jws`] does, and what it
//! takes for a token and `jws` does not is refused.

use serde_json::Value;

use crate::http::{path, query};
use crate::json;

/// What all readings of a text may take together, in times its length. Those of honest texts take four: a token is random, or a
/// record, and decoding it again gives nothing. A text that takes more was made for that, and counts as a token.
const READINGS_LEN_MAX: usize = 8;

/// And in bytes: four times what Envoy lets all headers together have.
const READINGS_SUM_MAX: usize = 245_760;

/// The shortest header in base64: `{alg:1}`.
const HEADER_LEN_MIN: usize = 10;

/// The shortest token in base64: that of `e2FsZzoxfQ..`.
const WORD_LEN_MIN: usize = 16;

/// Whether `text`, or a decoding of it, however many times, is or has in it three parts, the first of which is a JSON object
/// with a member `alg`.
#[must_use]
pub fn is_token(text: &[u8]) -> bool {
    has_token(text, 0)
}

/// Whether a segment of a path as it is shown is a token or the beginning of one, however often it is encoded. It need not be whole: a
/// shown path is cut where it is long.
#[must_use]
pub fn begins_token(segment: &[u8]) -> bool {
    let mut reading = segment.to_vec();
    // As a server reads a path.
    while let next = path::narrowed(&query::decode(&reading)).into_owned()
        && next != reading
    {
        reading = next;
    }
    let is_encoded = reading.len() >= WORD_LEN_MIN && reading.iter().all(|byte| sextet(*byte).is_some());
    has_header(&reading, 2) || (is_encoded && has_token(&reading, 2))
}

/// Whether a reading of `text` has a token, if it had so many parts more.
fn has_token(text: &[u8], missing: usize) -> bool {
    let mut room = text.len().saturating_mul(READINGS_LEN_MAX).min(READINGS_SUM_MAX);
    let mut readings = vec![text.to_vec()];
    while let Some(reading) = readings.pop() {
        if has_header(&reading, missing) {
            return true;
        }
        for next in decodings(&reading) {
            let Some(left) = room.checked_sub(next.len()) else { return true };
            room = left;
            readings.push(next);
        }
    }
    false
}

/// What a text is when it is decoded once, by a reader that looks for a scheme in front of it, skips what it does not know, or takes one word.
fn decodings(text: &[u8]) -> Vec<Vec<u8>> {
    let is_other = |byte: &u8| sextet(*byte).is_none();
    let mut encoded: Vec<&[u8]> = text.split(is_other).filter(|word| word.len() >= WORD_LEN_MIN).collect();
    encoded.push(text);
    encoded.extend(text.iter().position(is_other).and_then(|end| text.get(end..)));
    let mut all = vec![unescape(&path::narrowed(&query::decode(text)))];
    for encoded in encoded {
        for decoded in [unhex(encoded), decode(encoded)] {
            if !is_record(&decoded) && !all.contains(&decoded) {
                all.push(decoded);
            }
        }
    }
    all.retain(|decoded| decoded != text);
    all
}

/// Whether it is a record of an application, which may have tokens in it and which no reader takes for one as a whole: JSON, or the formats of Erlang, Python
/// and Ruby, MessagePack and CBOR. Byte order marks and the zeros of UTF-16 begin a text.
fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start(), [b'{' | b'[' | 1..b' ' | 0x80..0xe0, ..])
}

/// The bytes of hexadecimal digits, or nothing.
fn unhex(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((byte, after)) = number(rest, 2, 16) {
        bytes.push(byte);
        rest = after;
    }
    if rest.is_empty() { bytes } else { vec![] }
}

/// How many parts an encrypted token has (RFC 7516 §3.1).
const ENCRYPTED_PART_COUNT: usize = 5;

/// Whether a part that is followed by two more is a header, of which so many are `missing`.
fn has_header(text: &[u8], missing: usize) -> bool {
    let parts: Vec<&[u8]> = text.split(|byte| *byte == b'.').collect();
    let part_count = parts.len().saturating_add(missing);
    let encrypted = part_count == ENCRYPTED_PART_COUNT;
    let mut heads = parts.iter().take(part_count.saturating_sub(2)).filter(|head| head.len() >= HEADER_LEN_MIN);
    // What stands in front of the header may belong to it, or be a scheme, a quote, a plus for a space.
    let readings = |head| [head, last_word(head, |byte| sextet(byte).is_some()), last_word(head, is_base64url)];
    heads.any(|head| readings(head).iter().any(|head| is_header(&decode(head), encrypted)))
}

/// A JSON object with `alg`; in an `encrypted` token, without the `enc` that says so (RFC 7516 §4.1.2).
fn is_header(bytes: &[u8], encrypted: bool) -> bool {
    // Some readers take UTF-16 and UTF-32 for JSON, with a byte order mark or without: what is ASCII in them is, but for its zeros.
    let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    let bytes = marks.iter().find_map(|mark| bytes.strip_prefix(*mark)).unwrap_or(&bytes).trim_ascii_start();
    if bytes.first() != Some(&b'{') {
        return false;
    }
    match json::parse(bytes) {
        Ok(Value::Object(members)) => {
            let has = |wanted: &str| members.keys().any(|name| name.eq_ignore_ascii_case(wanted));
            has("alg") && !(encrypted && has("enc"))
        }
        Ok(_) => false,
        // Lax readers differ about the rest: a name that stands twice, a comment, white space of another kind.
        Err(_) => unescape(bytes).to_ascii_lowercase().windows(3).any(|window| window == b"alg"),
    }
}

/// The last run of bytes of an alphabet, but for what follows it: padding.
fn last_word(part: &[u8], is_text: impl Fn(u8) -> bool) -> &[u8] {
    let end = part.iter().rposition(|byte| is_text(*byte)).map_or(0, |last| last.saturating_add(1));
    let word = part.get(..end).unwrap_or_default();
    let start = word.iter().rposition(|byte| !is_text(*byte)).map_or(0, |other| other.saturating_add(1));
    word.get(start..).unwrap_or_default()
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Base64 in either alphabet; what is of neither, is skipped.
#[must_use]
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let (mut bits, mut bit_count) = (0_u32, 0_u32);
    for value in text.iter().copied().filter_map(sextet) {
        bits = bits.wrapping_shl(6) | value;
        bit_count = bit_count.wrapping_add(6);
        if bit_count >= 8 {
            bit_count = bit_count.wrapping_sub(8);
            decoded.extend(bits.wrapping_shr(bit_count).to_le_bytes().first());
        }
    }
    decoded
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte.wrapping_sub(b'A'),
        b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

/// A text without its backslashes: `\056` is a byte as cookies have it (RFC 2109, Python), `\u0061` one as JSON has it, and `\.` is a dot.
/// `&#46;` is one of HTML.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'\\', [b'u', b'0', b'0', digits @ ..]) => number(digits, 2, 16),
            (b'\\', [b'x', digits @ ..]) => number(digits, 2, 16),
            (b'\\', digits) => {
                number(digits, 3, 8).or_else(|| digits.split_first().map(|(byte, after)| (*byte, after)))
            }
            (b'&', name) => reference(name),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        plain.push(byte);
        rest = after;
    }
    plain
}

/// The character of HTML that `name` begins with, and what follows; the semicolon may be missing.
fn reference(name: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, radix) = match name {
        [b'#', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'#', digits @ ..] => (digits, 10),
        _ => return name.strip_prefix(b"period").map(|after| (b'.', after.strip_prefix(b";").unwrap_or(after))),
    };
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = digits.get(zeros..)?;
    let len = digits.iter().take_while(|digit| char::from(**digit).is_digit(radix)).count();
    let (byte, after) = number(digits, len, radix)?;
    Some((byte, after.strip_prefix(b";").unwrap_or(after)))
}

/// A byte of `len` digits, and what follows.
fn number(text: &[u8], len: usize, radix: u32) -> Option<(u8, &[u8])> {
    let (digits, after) = text.split_at_checked(len)?;
    Some((u8::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()?, after))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    fn header(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn a_token_is_known_in_every_spelling() {
        let head = header(r#"{"alg":"HS256","typ":"JWT"}"#);
        let token = format!("{head}.e30.c2ln");
        let (first, rest) = head.split_at(5);
        let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
        let octal = |text: &str| text.bytes().map(|byte| format!("\\{byte:03o}")).collect::<String>();
        for text in [
            token.clone(),
            format!("\"{token}\""),
            format!(" {token}\t"),
            format!("+{token}+"),
            format!("/{token}"),
            format!("Bearer {token}"),
            format!("JWT\u{a0}{token}"),
            format!("token={token}"),
            format!("a, {token}, b"),
            format!("v1.{token}"),
            format!("{token}."),
            format!("{token}!.x"),
            format!("{head}.."),
            format!("{head}.e30.c2ln=="),
            format!("{head}==.e30.c2ln"),
            format!("{}.e30.c2ln", header(r#"{"alg":"none","enc":"x"}"#)),
            format!("{head}.e30.c2ln.x.y"),
            format!("{first}!{rest}.e30."),
            format!("{first}\r\n {rest}.e30."),
            format!("{first}={rest}.e30."),
            token.replace('.', "%2E"),
            token.replace('.', "%252e"),
            token.replace('.', "%25252E"),
            percent(&token),
            percent(&percent(&token)),
            token.replace('.', "\\056"),
            token.replace('.', "\\."),
            octal(&token),
            percent(&octal(&token)),
            format!("{}.e30.", STANDARD.encode(r#"{"alg":"none","x":"???>>>"}"#)),
            format!("{}.e30.", URL_SAFE.encode(r#"{"alg":"none","x":"???>>>"}"#)),
            format!("{}.e30.", header("\u{feff}{\"alg\":1}")),
            format!("{}.e30.", header("{\0\"\0a\0l\0g\0\"\0:\x001\0}\0")),
            format!("{}.e30.", header(" \r\n\t{ \"typ\" : null, \"alg\" : null }")),
            format!("{}.e30.", header(r#"{"ALG":"none"}"#)),
            format!("{}.e30.", header(r#"{"\u0061lg":"none"}"#)),
            format!("{}.e30.", header(r#"{"alg":"none","alg":"HS256"}"#)),
            format!("{}.e30.", header(r#"{"\u0061lg":"none","x":1,"x":2}"#)),
            format!("{}.e30.", header("{/**/\"alg\":\"none\"}")),
            format!("{}.e30.", header("{'alg':'none',}")),
            format!("{}.e30.", header("{\"alg\":\"none\"")),
            token.replace('.', "%u002e"),
            token.replace('.', "%26%2346;"),
            token.replace('.', "&#x02E;"),
            token.replace('.', "&#46"),
            token.replace('.', "&period;"),
            token.replace('.', "\u{ff0e}"),
            token.replace('.', "%c0%ae"),
            percent(&percent(&percent(&percent(&token)))),
            hex(&token),
            format!("Bearer {}", hex(&URL_SAFE.encode(&token))),
            STANDARD.encode(&token),
            URL_SAFE_NO_PAD.encode(&token),
            STANDARD.encode(format!("x:{token}")),
            STANDARD.encode(format!("Bearer {token}")),
            STANDARD.encode(format!("\u{feff}{token}")),
            STANDARD.encode(token.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>()),
            STANDARD.encode(token.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
            format!("Bearer {}", STANDARD.encode(&token)),
            format!("Basic {}", STANDARD.encode(format!("x:{token}"))),
            format!("bearer.{}", URL_SAFE_NO_PAD.encode(&token)),
            format!("v1.{}.x", URL_SAFE_NO_PAD.encode(&token)),
            format!("Bearer {}", STANDARD.encode(&token).replace("K", "\r\n K")),
            format!("Bearer {}", URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.encode(&token))),
            percent(&STANDARD.encode(STANDARD.encode(percent(&STANDARD.encode(&token))))),
            STANDARD.encode(token.replace('.', "%2e")),
            // Made to cost its decoder much.
            format!("%{}2e", "25".repeat(2_000)),
        ] {
            assert!(is_token(text.as_bytes()), "{text}");
        }
        assert!(is_token(&[header("{\"alg\":\"none\"}").as_bytes(), b".\xff."].concat()));
    }

    #[test]
    fn other_tokens_are_none() {
        let head = header(r#"{"alg":"HS256"}"#);
        for text in [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            "x.y.z",
            "opaque",
            // Flask's, plain and compressed; Django's, Rails', Express's, Phoenix's, PASETO, Google's.
            "eyJfZnJlc2giOmZhbHNlLCJ1c2VyIjoiYWxnIn0.ZxYzAQ.sfl2kJ8d_Zr4",
            ".eJyrVkosLcmIz8nPS1eyUkrMS1GqBQBCRAX3.ZxYzAQ.sfl2kJ8d_Zr4",
            "eyJ1c2VyIjoxfQ:1tAbCd:sfl2kJ8d_Zr4",
            "eyJfcmFpbHMiOnt9fQ%3D%3D--0123456789abcdef",
            "s%3A5ZxYzAQ.sfl2kJ8d%2FZr4",
            "SFMyNTY.g2gDYQFuBgD4hL0.sfl2kJ8d_Zr4",
            "v4.local.c2ZsMmtKOGRfWnI0.eyJraWQiOiJ4In0",
            "ya29.a0AfB_by.sfl2kJ8d",
            // Two parts, and no header but its text.
            &format!("{head}.e30"),
            r#"{"alg":"HS256"}.e30.c2ln"#,
            &format!("{}.e30.c2ln", header(r#"["alg"]"#)),
            &format!("{}.e30.c2ln", header(r#"{"typ":"JWT","a":{"alg":1}}"#)),
            &format!("{}.e30.c2ln", header("alg")),
            // Encrypted (RFC 7516), in five parts.
            &format!("{}..aXY.dGV4dA.dGFn", header(r#"{"alg":"dir","enc":"A256GCM"}"#)),
            "%",
            "%%%",
            "\\",
            "\\0",
        ] {
            assert!(!is_token(text.as_bytes()), "{text}");
        }
    }

    /// What honest applications keep in the places of credentials, with a token in it or without.
    #[test]
    fn what_an_application_keeps_in_a_record_is_its_own() {
        let token = format!("{}.e30.c2ln", header(r#"{"alg":"HS256"}"#));
        let long = serde_json::json!({"access_token": token, "path": "C:\\temp", "query": "a=%41&b=1.2.3"}).to_string();
        for record in [
            long.as_bytes(),
            format!("[\"{token}\"]").as_bytes(),
            &[b"\x83t\0\0\0\x01m\0\0\0\x05tokenm\0\0\0\x30", token.as_bytes()].concat(),
            &[b"\x80\x04\x95}\x94\x8c\x05token\x94\x8c\x30", token.as_bytes()].concat(),
            &[b"\x04\x08{\x06I\"\x0atoken", token.as_bytes()].concat(),
        ] {
            for text in [
                format!("{}.ZxYzAQ.sfl2kJ8d_Zr4", URL_SAFE_NO_PAD.encode(record)),
                format!("SFMyNTY.{}.sfl2kJ8d_Zr4", URL_SAFE_NO_PAD.encode(record)),
                format!("{}--0123456789abcdef", STANDARD.encode(record).replace('=', "%3D")),
                format!("{}:1tAbCd:sfl2kJ8d_Zr4", URL_SAFE_NO_PAD.encode(record)),
                format!("Bearer {}", STANDARD.encode(record)),
            ] {
                assert!(!is_token(text.as_bytes()), "{text}");
            }
        }
    }

    #[test]
    fn what_is_random_is_none_at_any_length() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |len: usize| {
            let next = |_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            };
            (0..len).map(next).collect::<Vec<u8>>()
        };
        for len in (1..200).chain([1_000, 4_000, 12_000]).cycle().take(406) {
            let bytes = random(len);
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let percent = bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let base64 = URL_SAFE_NO_PAD.encode(&bytes);
            let dotted = format!("Bearer {base64}.{}.{}", URL_SAFE_NO_PAD.encode(random(len)), hex);
            for text in [STANDARD.encode(&bytes), STANDARD.encode(&base64), base64, hex, percent, dotted] {
                assert!(!is_token(text.as_bytes()), "{text}");
            }
        }
    }

    #[test]
    fn any_base64_is_decoded_as_by_those_who_skip_what_they_do_not_know() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg", b"f"),
            ("Zg==", b"f"),
            ("Zm8", b"fo"),
            ("Z m\n9v!", b"foo"),
            ("-_+/", b"\xfb\xff\xbf"),
            ("Zh", b"f"),
        ] {
            assert_eq!(decode(text.as_bytes()), bytes, "{text}");
        }
    }
}
