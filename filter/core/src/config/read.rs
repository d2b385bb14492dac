//! How values are read from the tree: typed, and with the path of what is wrong. What cannot be read is left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::findings::Findings;

/// What can be read from the tree. Serde's derives are ten times the code, all of which an Envoy compiles at its start, and their
/// errors repeat what they could not read.
pub(super) trait Read: Sized {
    /// `None` where it cannot be read, which is then among what was found.
    fn read(value: &Value, found: &mut Findings) -> Option<Self>;

    /// What is read, as a JSON Schema.
    #[cfg(feature = "schema")]
    fn schema() -> Value;

    /// What null means; `None` is what it means to be left out.
    fn null() -> Option<Self> {
        None
    }

    /// What takes the place of an element that cannot be read, so that those behind it keep theirs.
    fn blank() -> Option<Self> {
        None
    }
}

/// A limit that has a default, and that null takes away.
#[derive(Clone)]
pub(super) enum Limit<T> {
    Off,
    At(T),
}

impl<T: Read> Read for Limit<T> {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        T::read(value, found).map(Self::At)
    }

    fn null() -> Option<Self> {
        Some(Self::Off)
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        T::schema()
    }
}

/// An object, all of whose names should be known.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn new(value: &'a Value, known: &[&str], found: &mut Findings) -> Option<Self> {
        let fields = object(value, found)?;
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            found.under(name, |found| found.fault("", &format!("unknown field, expected one of {}", known.join(", "))));
        }
        Some(Self(fields))
    }

    /// Whether there is a value that is not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn read<T: Read>(&self, name: &str, found: &mut Findings) -> Option<T> {
        match self.0.get(name)? {
            Value::Null => T::null(),
            value => found.within(name, |found| T::read(value, found)),
        }
    }
}

fn object<'a>(value: &'a Value, found: &mut Findings) -> Option<&'a Map<String, Value>> {
    value.as_object().or_else(|| found.expected("an object"))
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        let Value::Array(items) = value else { return found.expected("a list") };
        let mut list = Self::new();
        for (index, item) in items.iter().enumerate() {
            list.extend(found.at(index, |found| T::read(item, found)).or_else(T::blank));
        }
        Some(list)
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"type": "array", "items": T::schema()})
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        // To collect them would be to sort them, which they are: five times the code.
        let mut map = Self::new();
        for (name, value) in object(value, found)? {
            if let Some(value) = found.under(name, |found| T::read(value, found)) {
                map.insert(name.clone(), value);
            }
        }
        Some(map)
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"type": "object", "additionalProperties": T::schema()})
    }
}

impl Read for Map<String, Value> {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        object(value, found).cloned()
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"type": "object"})
    }
}

impl Read for Value {
    fn read(value: &Value, _: &mut Findings) -> Option<Self> {
        Some(value.clone())
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        Self::Bool(true)
    }
}

impl Read for bool {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        value.as_bool().or_else(|| found.expected("true or false"))
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"type": "boolean"})
    }
}

impl Read for f64 {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        found.number(value).as_f64().or_else(|| found.expected("a number"))
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"type": "number"})
    }
}

impl Read for String {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        value.as_str().map(str::to_owned).or_else(|| found.expected("a string"))
    }

    fn blank() -> Option<Self> {
        Some(Self::new())
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"type": "string"})
    }
}

/// What one of these words means.
pub(super) fn one_of<T: Copy>(value: &Value, words: &[(&str, T)], found: &mut Findings) -> Option<T> {
    let meant = words.iter().find(|(word, _)| value.as_str() == Some(word));
    meant.map(|(_, meaning)| *meaning).or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        found.expected(&words.join(" or "))
    })
}

/// The JSON Schema of an object with these keys and no other. Each may be null, which is what it means to be left out, or a limit taken away.
#[cfg(feature = "schema")]
pub(super) fn object_schema<const N: usize>(keys: [(&str, Value); N]) -> Value {
    let nullable = |schema: Value| match schema {
        Value::Bool(_) => schema,
        schema => serde_json::json!({"anyOf": [schema, {"type": "null"}]}),
    };
    let properties: Map<String, Value> =
        keys.into_iter().map(|(key, schema)| (key.to_owned(), nullable(schema))).collect();
    serde_json::json!({"type": "object", "properties": properties, "additionalProperties": false})
}
