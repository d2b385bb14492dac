//! One cookie among the others of a `Cookie` line (RFC 6265 §4.2.1, §5.4).

use super::list::trim;

/// Takes the cookies `name` out of `line` whose value is `wanted`.
///
/// Gives these values (a name may stand more than once) and the line without them, the other cookies byte for byte as they
/// were; `None` when nothing is left. A line without such a cookie comes back whole.
///
/// Some servers part cookies at commas and white space too (RFC 2109 §4.3.4, Python's). A pair in which they see the name counts, with
/// all of its text as the value.
#[must_use]
pub fn take<'a>(line: &'a [u8], name: &str, wanted: impl Fn(&[u8]) -> bool) -> (Vec<&'a [u8]>, Option<Vec<u8>>) {
    let mut values = Vec::new();
    let mut rest = Vec::new();
    for pair in line.split(|byte| *byte == b';').map(trim) {
        match value(pair, name.as_bytes()).filter(|value| wanted(value)) {
            Some(value) => values.push(value),
            None if pair.is_empty() => {}
            None => rest.push(pair),
        }
    }
    if values.is_empty() {
        return (values, Some(line.to_vec()));
    }
    let rest = rest.join(&b"; "[..]);
    (values, (!rest.is_empty()).then_some(rest))
}

/// The value of a pair, where some server reads `name` as its name.
fn value<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (key, value) = pair.split_at(equals);
    if trim(key) == name {
        return Some(unquoted(trim(value.get(1..).unwrap_or_default())));
    }
    let mut words = value.split(|byte| matches!(byte, b',') || byte.is_ascii_whitespace()).skip(1);
    let is_name = |word: &[u8]| word.strip_prefix(name).is_some_and(|rest| matches!(rest, [] | [b'=', ..]));
    words.any(is_name).then_some(pair)
}

/// A value without the quotes that RFC 6265 §4.1.1 allows around it.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, values: &[&str], rest: Option<&str>) {
        let (found, left) = take(line.as_bytes(), "session", |value| value != b"own");
        assert_eq!(found, values.iter().map(|v| v.as_bytes()).collect::<Vec<_>>(), "{line}");
        assert_eq!(left.as_deref(), rest.map(str::as_bytes), "{line}");
    }

    #[test]
    fn a_cookie_is_taken_and_the_others_stay() {
        check("a=1; session=x; b=2=3", &["x"], Some("a=1; b=2=3"));
        check("session=x", &["x"], None);
        check("session=\"x\"; a=\"q\"", &["x"], Some("a=\"q\""));
        check("session=; a", &[""], Some("a"));
        check("session=x;session = y ;a=1", &["x", "y"], Some("a=1"));
    }

    #[test]
    fn a_cookie_that_is_not_wanted_stays() {
        check("session=own; a=1", &[], Some("session=own; a=1"));
        check("session=own;session=x; session=\"own\"", &["x"], Some("session=own; session=\"own\""));
    }

    #[test]
    fn a_cookie_that_only_some_servers_see_is_seen() {
        check("a=1, session=x; b=2", &["a=1, session=x"], Some("b=2"));
        check("a=1 session=x", &["a=1 session=x"], None);
        check("a=1\tsession =x; b", &["a=1\tsession =x"], Some("b"));
        check(
            "a=session; b=xsession=1, sessions=2 my_session=3",
            &[],
            Some("a=session; b=xsession=1, sessions=2 my_session=3"),
        );
    }

    #[test]
    fn a_line_without_the_cookie_is_left_alone() {
        check("a=1;  b=2;", &[], Some("a=1;  b=2;"));
        check("Session=x; xsession=y; session", &[], Some("Session=x; xsession=y; session"));
    }
}
