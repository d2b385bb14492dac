//! One parameter among the others of a query (RFC 3986 §3.4).

/// Takes the parameter `name` out of a request target.
///
/// Gives its values, percent-decoded, and the target without it, everything else byte for byte as it was. The name is
/// compared decoded, so that no spelling of it stays behind.
#[must_use]
pub fn take(target: &[u8], name: &str) -> (Vec<Vec<u8>>, Vec<u8>) {
    let Some(mark) = target.iter().position(|byte| *byte == b'?') else {
        return (Vec::new(), target.to_vec());
    };
    let (path, query) = target.split_at(mark);
    let mut values = Vec::new();
    let mut rest = Vec::new();
    for parameter in query.get(1..).unwrap_or_default().split(|byte| *byte == b'&') {
        let equals = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
        let (key, value) = parameter.split_at(equals);
        if decode(key) == name.as_bytes() {
            values.push(decode(value.get(1..).unwrap_or_default()));
        } else {
            rest.push(parameter);
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
    while let [first, tail @ ..] = rest {
        rest = tail;
        let byte = match (first, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) if kept != Some(high << 4 | low) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (other, _) => *other,
        };
        decoded.push(byte);
    }
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
        let (found, left) = take(target.as_bytes(), "token");
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
