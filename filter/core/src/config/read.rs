//! How values are read from the tree: typed, and with the path of what is wrong.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::{Built, ConfigError, step};

/// What can be read from the tree. Serde's derives are ten times the code, all of which an Envoy compiles at its start, and their
/// errors repeat what they could not read.
pub(super) trait Read: Sized {
    /// # Errors
    /// [`ConfigError`] with the path below `value`.
    fn read(value: &Value) -> Built<Self>;

    /// What null means; `None` is what it means to be left out.
    fn null() -> Option<Self> {
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
    fn read(value: &Value) -> Built<Self> {
        T::read(value).map(Self::At)
    }

    fn null() -> Option<Self> {
        Some(Self::Off)
    }
}

/// An object, all of whose names are known.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn new(value: &'a Value, known: &[&str]) -> Built<Self> {
        let Value::Object(fields) = value else { return Err(ConfigError::new("", "expected an object")) };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                Err(ConfigError::new(step(name), format_args!("unknown field, expected one of {}", known.join(", "))))
            }
            None => Ok(Self(fields)),
        }
    }

    pub(super) fn read<T: Read>(&self, name: &str) -> Built<Option<T>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(T::null()),
            Some(value) => match T::read(value) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(error.within(name)),
            },
        }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value) -> Built<Self> {
        let Value::Array(items) = value else { return Err(ConfigError::new("", "expected a list")) };
        let mut list = Self::new();
        for item in items {
            match T::read(item) {
                Ok(item) => list.push(item),
                Err(error) => return Err(error.at(list.len())),
            }
        }
        Ok(list)
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(value: &Value) -> Built<Self> {
        let Value::Object(fields) = value else { return Err(ConfigError::new("", "expected an object")) };
        // To collect them would be to sort them, which they are: five times the code.
        let mut map = Self::new();
        for (name, value) in fields {
            match T::read(value) {
                Ok(value) => drop(map.insert(name.clone(), value)),
                Err(error) => return Err(error.under(name)),
            }
        }
        Ok(map)
    }
}

impl Read for Map<String, Value> {
    fn read(value: &Value) -> Built<Self> {
        value.as_object().cloned().ok_or_else(|| ConfigError::new("", "expected an object"))
    }
}

impl Read for Value {
    fn read(value: &Value) -> Built<Self> {
        Ok(value.clone())
    }
}

/// What was expected, where something else was found: what that is may be a secret.
#[cold]
#[inline(never)]
pub(super) fn expected(what: impl std::fmt::Display) -> ConfigError {
    ConfigError::new("", format_args!("expected {what}"))
}

impl Read for bool {
    fn read(value: &Value) -> Built<Self> {
        value.as_bool().ok_or_else(|| expected("true or false"))
    }
}

impl Read for f64 {
    fn read(value: &Value) -> Built<Self> {
        value.as_f64().ok_or_else(|| expected("a number"))
    }
}

impl Read for String {
    fn read(value: &Value) -> Built<Self> {
        value.as_str().map(str::to_owned).ok_or_else(|| expected("a string"))
    }
}

/// What one of these words means.
pub(super) fn one_of<T: Copy>(value: &Value, words: &[(&str, T)]) -> Built<T> {
    let meant = words.iter().find(|(word, _)| value.as_str() == Some(word));
    meant.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        expected(words.join(" or "))
    })
}
