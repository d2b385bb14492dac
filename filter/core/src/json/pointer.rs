//! JSON Pointer (RFC 6901).

use super::document::{Value, View};

/// A place in a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pointer(Vec<Box<str>>);

impl Pointer {
    /// Reads `""` or `"/a/b"`; `None` for what is no pointer (RFC 6901 §3).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        text.strip_prefix('/')?.split('/').map(unescape).collect::<Option<_>>().map(Self)
    }

    /// The value at that place below `root`, where there is one.
    #[must_use]
    pub fn find<'a>(&self, root: Value<'a>) -> Option<Value<'a>> {
        self.0.iter().try_fold(root, |value, token| match value.view() {
            View::Array(_) => value.item(index(token)?),
            View::Object(_) => value.get(token),
            View::Boolean(_) | View::Null | View::Number(_) | View::String(_) => None,
        })
    }
}

/// `~1` for a slash, `~0` for a tilde, and no other tilde (RFC 6901 §3, §4).
fn unescape(token: &str) -> Option<Box<str>> {
    let is_escaped = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    is_escaped.then(|| token.replace("~1", "/").replace("~0", "~").into_boxed_str())
}

/// An index has no leading zeros, and no sign (RFC 6901 §4).
fn index(token: &str) -> Option<usize> {
    let is_index = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    token.parse().ok().filter(|_| is_index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::reader::{Bounds, read};

    const BOUNDS: Bounds = Bounds { depth_max: 9, keys_max: 99, string_len_max: 99, unique_keys: true, exact: true };

    #[track_caller]
    fn check(pointer: &str, expected: Option<&str>) {
        // The example of RFC 6901 §5, with values that tell where they stand, and an array in an array.
        let text = r#"{"foo":["bar","baz",["x"]],"":"0","a/b":"1","c%d":"2","e^f":"3","g|h":"4","i\\j":"5","k\"l":"6"," ":"7","m~n":"8","10":"9"}"#;
        let document = read(text, &BOUNDS).unwrap();
        let found = Pointer::parse(pointer).and_then(|pointer| pointer.find(document.root())).and_then(Value::as_str);
        assert_eq!(found, expected, "{pointer}");
    }

    #[test]
    fn pointers_lead_where_rfc_6901_says() {
        for (pointer, value) in [
            ("/foo/0", "bar"),
            ("/foo/2/0", "x"),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
            ("/10", "9"),
        ] {
            check(pointer, Some(value));
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for pointer in [
            "", "/foo", "/foo/3", "/foo/00", "/foo/01", "/foo/+1", "/foo/-", "/foo/-1", "/foo/0/0", "/bar", "/m~n",
            "foo", "/m~2n",
        ] {
            check(pointer, None);
        }
    }

    #[test]
    fn the_empty_pointer_is_the_whole_document() {
        let document = read("\"x\"", &BOUNDS).unwrap();
        assert_eq!(Pointer::parse("").unwrap().find(document.root()).and_then(Value::as_str), Some("x"));
    }
}
