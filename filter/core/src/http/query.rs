//! One parameter among the others of a query (RFC 3986 §3.4).

/// Takes the parameters `name` out of a request target whose value is `wanted`.
///
/// Gives their values, percent-decoded, and the target without them, everything else byte for byte as it was. The name is
/// compared decoded, so that no spelling of it stays behind. Some servers part parameters at semicolons too: one in which they see the
/// name counts, with all of its text as the value.
#[must_use]
pub fn take(target: &[u8], name: &str, wanted: impl Fn(&[u8]) -> bool) -> (Vec<Vec<u8>>, Vec<u8>) {
    let Some(mark) = target.iter().position(|byte| *byte == b'?') else {
        return (Vec::new(), target.to_vec());
    };
    let (path, query) = target.split_at(mark);
    let mut values = Vec::new();
    let mut rest = Vec::new();
    for parameter in query.get(1..).unwrap_or_default().split(|byte| *byte == b'&') {
        match value(parameter, name.as_bytes()).filter(|value| wanted(value)) {
            Some(value) => values.push(value),
            None => rest.push(parameter),
        }
    }
    if values.is_empty() {
        return (values, target.to_vec());
    }
    let mut left = path.to_vec();
    if !rest.is_empty() {
        left.push(b'?');
        left.extend(rest.join(&b'&'));
    }
    (values, left)
}

/// The value of a parameter, where some server reads `name` as its name.
fn value(parameter: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let (key, value) = pair(parameter);
    if decode(key) == name {
        return Some(decode(value));
    }
    let mut parts = parameter.split(|byte| *byte == b';').skip(1);
    parts.any(|part| decode(pair(part).0) == name).then(|| decode(parameter))
}

fn pair(parameter: &[u8]) -> (&[u8], &[u8]) {
    let equals = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
    let (key, value) = parameter.split_at(equals);
    (key, value.get(1..).unwrap_or_default())
}

/// `bytes` with each `%XX` replaced by its byte; a `%` that starts none stays.
#[must_use]
pub fn decode(bytes: &[u8]) -> Vec<u8> {
    decoded(bytes, None)
}

/// [`decode`], with what stands for `kept` left as it is.
pub(super) fn decode_but(bytes: &[u8], kept: u8) -> Vec<u8> {
    decoded(bytes, Some(kept))
}

fn decoded(bytes: &[u8], kept: Option<u8>) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((plain, tail)) = rest.iter().position(|byte| *byte == b'%').and_then(|at| rest.split_at_checked(at))
    {
        decoded.extend_from_slice(plain);
        let escaped = match tail {
            [_, high, low, after @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) if kept != Some(high << 4 | low) => Some((high << 4 | low, after)),
                _ => None,
            },
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or_else(|| (b'%', tail.get(1..).unwrap_or_default()));
        decoded.push(byte);
        rest = after;
    }
    decoded.extend_from_slice(rest);
    decoded
}

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, values: &[&str], rest: &str) {
        let (found, left) = take(target.as_bytes(), "token", |value| value != b"own");
        assert_eq!(found, values.iter().map(|v| v.as_bytes()).collect::<Vec<_>>(), "{target}");
        assert_eq!(String::from_utf8(left).unwrap(), rest);
    }

    #[test]
    fn a_parameter_is_taken_and_the_others_stay() {
        check("/chat?a=%20b&token=x.y&c", &["x.y"], "/chat?a=%20b&c");
        check("/chat?token=x", &["x"], "/chat");
        check("/chat?%74oken=x%2Ey&token=z", &["x.y", "z"], "/chat");
        check("/chat?token", &[""], "/chat");
        check("/chat?token=a=b&", &["a=b"], "/chat?");
    }

    #[test]
    fn a_parameter_that_is_not_wanted_stays_and_one_that_some_servers_see_is_seen() {
        check("/chat?token=own&token=%6fwn&a", &[], "/chat?token=own&token=%6fwn&a");
        check("/chat?token=own&token=x", &["x"], "/chat?token=own");
        check("/chat?a=1;token=x&b", &["a=1;token=x"], "/chat?b");
        check("/chat?a=1;%74oken=%78;c", &["a=1;token=x;c"], "/chat");
        check("/chat?a=1;xtoken=x&b=token;c", &[], "/chat?a=1;xtoken=x&b=token;c");
    }

    #[test]
    fn a_target_without_it_is_left_alone() {
        for target in ["/chat", "/chat?", "/chat?a&&b=1", "/chat?xtoken=1&Token=2", "/token=x?a=token"] {
            check(target, &[], target);
        }
    }

    #[test]
    fn decoding_leaves_what_is_not_encoded() {
        assert_eq!(decode(b"%41%4a%zz%4"), b"AJ%zz%4");
    }
}
