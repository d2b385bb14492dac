//! JSON Pointer (RFC 6901).

use std::borrow::Cow;

use super::document::{Form, Twins, Value};

/// What stands where a pointer leads.
#[derive(Clone, Copy, Debug)]
pub enum Referent<'a> {
    /// Nothing.
    Nothing,
    /// The pointer asks for a name in an array: a receiver may take the array for what is in it.
    InArray,
    /// A value.
    Value(Value<'a>),
}

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
    ///
    /// # Errors
    /// [`Twins`] where readers differ about a step.
    pub fn find<'a>(&self, root: Value<'a>) -> Result<Option<Value<'a>>, Twins> {
        Ok(match self.referent(root)? {
            Referent::InArray | Referent::Nothing => None,
            Referent::Value(value) => Some(value),
        })
    }

    /// What stands at that place below `root`.
    ///
    /// # Errors
    /// [`Twins`] where readers differ about a step.
    pub fn referent<'a>(&self, root: Value<'a>) -> Result<Referent<'a>, Twins> {
        let mut value = root;
        for token in &self.0 {
            let next = match (value.form(), index(token)) {
                (Form::Array(_), None) => return Ok(Referent::InArray),
                (Form::Array(_), Some(index)) => value.item(index),
                (Form::Object(_), _) => value.member(token)?,
                (Form::Boolean(_) | Form::Null | Form::Number(_) | Form::String(_), _) => None,
            };
            let Some(next) = next else { return Ok(Referent::Nothing) };
            value = next;
        }
        Ok(Referent::Value(value))
    }

    /// Gives every string below `root` to which this leads, where `*` is any one step. Where readers differ about a step it leads nowhere.
    pub fn each_string<'a>(&self, root: Value<'a>, see: &mut dyn FnMut(Value<'a>)) {
        each_string(&self.0, root, see);
    }

    /// The names and indices that lead there.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|token| &**token)
    }
}

/// The longest pointer that is written, in bytes: an operator finds the place by its beginning.
pub(super) const WRITTEN_LEN_MAX: usize = 128;

/// The pointer from `root` to what stands at `index` in its document, cut at 128 bytes: to a member where that is its name. `None` where it
/// does not belong to `root`.
#[must_use]
pub fn to(root: Value<'_>, index: u32) -> Option<String> {
    let mut value = root;
    let mut written = String::new();
    while value.holds(index) && value.index() != index {
        let (step, next) = match value.form() {
            Form::Array(items) => items
                .enumerate()
                .find(|(_, item)| item.holds(index))
                .map(|(position, item)| (Cow::Owned(position.to_string()), item))?,
            Form::Object(mut members) => loop {
                let (name, member) = members.next_pair()?;
                if name.index() == index || member.holds(index) {
                    let next = if name.index() == index { name } else { member };
                    break (Cow::Borrowed(name.as_str().unwrap_or_default()), next);
                }
            },
            Form::Boolean(_) | Form::Null | Form::Number(_) | Form::String(_) => return None,
        };
        write_step(&mut written, &step);
        value = next;
    }
    (value.index() == index).then_some(written)
}

/// Adds a step to a pointer, unless that is long enough.
pub(super) fn write_step(pointer: &mut String, step: &str) {
    let room = WRITTEN_LEN_MAX.saturating_sub(pointer.len());
    let step = step.chars().take(room).collect::<String>();
    let step = ["/", &step.replace('~', "~0").replace('/', "~1")].concat();
    let len = (0..=room).rev().find(|len| step.is_char_boundary(*len)).unwrap_or_default();
    pointer.push_str(step.get(..len).unwrap_or(&step));
}

/// Recurses once for each token, of which a pointer has no more than messages have levels.
fn each_string<'a>(tokens: &[Box<str>], value: Value<'a>, see: &mut dyn FnMut(Value<'a>)) {
    let Some((token, rest)) = tokens.split_first() else {
        if value.as_str().is_some() {
            see(value);
        }
        return;
    };
    match value.form() {
        Form::Array(items) if &**token == "*" => items.for_each(|item| each_string(rest, item, see)),
        Form::Object(members) if &**token == "*" => members.for_each(|(_, member)| each_string(rest, member, see)),
        Form::Array(_) => {
            let item = index(token).and_then(|index| value.item(index));
            item.into_iter().for_each(|item| each_string(rest, item, see));
        }
        Form::Object(_) => {
            let member = value.member(token).ok().flatten();
            member.into_iter().for_each(|member| each_string(rest, member, see));
        }
        Form::Boolean(_) | Form::Null | Form::Number(_) | Form::String(_) => {}
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

    const BOUNDS: Bounds =
        Bounds { depth_max: 9, keys_max: 99, string_len_max: 99, unique_keys: true, surrogates: false };

    #[track_caller]
    fn check(pointer: &str, expected: Option<&str>) {
        // The example of RFC 6901 §5, with values that tell where they stand, and an array in an array.
        let text = r#"{"foo":["bar","baz",["x"]],"":"0","a/b":"1","c%d":"2","e^f":"3","g|h":"4","i\\j":"5","k\"l":"6"," ":"7","m~n":"8","10":"9"}"#;
        let document = read(text, &BOUNDS).unwrap();
        let found = Pointer::parse(pointer).and_then(|pointer| pointer.find(document.root()).unwrap());
        assert_eq!(found.and_then(Value::as_str), expected, "{pointer}");
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
        let found = Pointer::parse("").unwrap().find(document.root()).unwrap();
        assert_eq!(found.and_then(Value::as_str), Some("x"));
    }

    #[test]
    fn a_name_that_readers_differ_about_leads_nowhere_else() {
        let lenient = Bounds { unique_keys: false, ..BOUNDS };
        for (text, is_found) in [
            (r#"{"a":{"b":"x"}}"#, true),
            (r#"{"a":{"b":"x"},"c":{"B":1}}"#, true),
            (r#"{"a":{"b":"x"},"A":{"b":"y"}}"#, false),
            (r#"{"A":{"b":"y"}}"#, false),
            (r#"{"a":{"b":"x","\u0042":1}}"#, false),
            (r#"{"a":{"b":"x","b":1}}"#, false),
        ] {
            let document = read(text, &lenient).unwrap();
            let found = Pointer::parse("/a/b").unwrap().find(document.root());
            assert_eq!(
                found.map(|found| found.and_then(Value::as_str)),
                is_found.then_some(Some("x")).ok_or(Twins),
                "{text}"
            );
        }
    }
}
