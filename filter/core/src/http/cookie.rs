//! One cookie among the others of a `Cookie` line (RFC 6265 §4.2.1, §5.4).

use super::list::trim;

/// Takes the cookie `name` out of `line`.
///
/// Gives its values (a name may stand more than once) and the line without it, the other cookies byte for byte as they
/// were; `None` when nothing is left. A line without the cookie comes back whole.
#[must_use]
pub fn take<'a>(line: &'a [u8], name: &str) -> (Vec<&'a [u8]>, Option<Vec<u8>>) {
    let mut values = Vec::new();
    let mut rest = Vec::new();
    for pair in line.split(|byte| *byte == b';') {
        let pair = trim(pair);
        let (key, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(equals) => {
                let (key, value) = pair.split_at(equals);
                (trim(key), trim(value.get(1..).unwrap_or_default()))
            }
            None => (&b""[..], pair),
        };
        if key == name.as_bytes() {
            values.push(unquoted(value));
        } else if !pair.is_empty() {
            rest.push(pair);
        }
    }
    if values.is_empty() {
        return (values, Some(line.to_vec()));
    }
    let rest = rest.join(&b"; "[..]);
    (values, (!rest.is_empty()).then_some(rest))
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
        let (found, left) = take(line.as_bytes(), "session");
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
    fn a_line_without_the_cookie_is_left_alone() {
        check("a=1;  b=2;", &[], Some("a=1;  b=2;"));
        check("Session=x; xsession=y; session", &[], Some("Session=x; xsession=y; session"));
    }
}
