//! YAML and JSON whose every value knows where it stands.

use std::fmt;

use portcullis_core::config::step;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A place in a file, from 1 on; 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Position {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// A value as it was written, with what stands where.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) position: Position,
    /// Where it is written, if `position` is that of an alias.
    pub(crate) origin: Position,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The name of a member.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) position: Position,
    pub(crate) name: String,
}

/// Why a text is no document.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) position: Position,
    pub(crate) problem: &'static str,
}

/// All documents of a file.
///
/// # Errors
/// [`Unreadable`] with the place. What stands there is not repeated.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Unreadable> {
    let documents = serde_saphyr::from_multiple::<Spanned<Parsed>>(text);
    let documents = documents.map_err(|error| Unreadable {
        position: error.location().map(|at| position(&at)).unwrap_or_default(),
        problem: "not YAML or JSON: the syntax is wrong here, or a key stands twice",
    })?;
    Ok(documents.into_iter().map(Node::from).collect())
}

/// What stands at `node` of a file with these lines: the first document of a string is read from it.
///
/// # Errors
/// [`Unreadable`] with the place in the file.
pub(crate) fn unquoted(lines: &[&str], node: &Node) -> Result<Node, Unreadable> {
    let Content::Scalar(Value::String(inner)) = &node.content else { return Ok(node.clone()) };
    let inner_lines: Vec<&str> = inner.lines().collect();
    let outer = |position: Position| outer(lines, &inner_lines, node.position, position);
    let inner_documents = documents(inner).map_err(|error| Unreadable { position: outer(error.position), ..error })?;
    let Some(mut document) = inner_documents.into_iter().next() else {
        return Ok(Node { content: Content::Scalar(Value::Null), ..node.clone() });
    };
    document.each_position(&mut |position| *position = outer(*position));
    Ok(document)
}

/// As [`unquoted`], of a string that has to be JSON.
///
/// # Errors
/// [`Unreadable`] with the place in the file.
pub(crate) fn unquoted_json(lines: &[&str], node: &Node) -> Result<Node, Unreadable> {
    if let Content::Scalar(Value::String(inner)) = &node.content
        && !inner.trim().is_empty()
        && let Err(error) = serde_json::from_str::<IgnoredAny>(inner)
    {
        let inner_lines: Vec<&str> = inner.lines().collect();
        let at = Position { line: error.line() as u64, column: error.column() as u64 };
        let problem = "not JSON, which the filter reads where its configuration is a string";
        return Err(Unreadable { position: outer(lines, &inner_lines, node.position, at), problem });
    }
    unquoted(lines, node)
}

/// Where in a file a place of a string is that stands at `start` of it: the same line behind that of the sign, if it is a block. Elsewhere
/// it is where the string begins.
fn outer(lines: &[&str], inner_lines: &[&str], start: Position, position: Position) -> Position {
    fn line<'a>(lines: &[&'a str], number: u64) -> Option<&'a str> {
        lines.get(usize::try_from(number.checked_sub(1)?).ok()?).map(|line| line.trim_end())
    }
    let Some(written) = line(inner_lines, position.line).filter(|line| !line.is_empty()) else {
        return start;
    };
    // The block begins in the line of its sign, or in the next.
    [start.line.saturating_add(position.line), start.line.saturating_add(position.line).saturating_sub(1)]
        .into_iter()
        .find_map(|number| {
            let indent = line(lines, number)?.strip_suffix(written)?;
            let indent = indent.chars().all(|letter| letter == ' ').then_some(indent.len())?;
            Some(Position { line: number, column: position.column.saturating_add(indent as u64) })
        })
        .unwrap_or(start)
}

impl Node {
    /// The value alone.
    pub(crate) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Content::Map(members) => {
                Value::Object(members.iter().map(|(key, node)| (key.name.clone(), node.value())).collect::<Map<_, _>>())
            }
        }
    }

    /// The member of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// That of a message of Envoy, whose names are taken in camelCase too (ProtoJSON).
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        let camel = camel(name);
        self.members().iter().find(|(key, _)| key.name == name || key.name == camel).map(|(_, node)| node)
    }

    /// All members; none, if it is no object.
    pub(crate) fn members(&self) -> &[(Key, Self)] {
        match &self.content {
            Content::Map(members) => members,
            Content::Scalar(_) | Content::List(_) => &[],
        }
    }

    /// All items; none, if it is no list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            Content::Scalar(_) | Content::Map(_) => &[],
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(value) => value.as_str(),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// All texts of a list, or the only one that stands for it.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.items().iter().chain([self]).filter_map(Self::text).collect()
    }

    /// A flag as Envoy reads it, in quotes or not.
    pub(crate) fn flag(&self) -> Option<bool> {
        const WORDS: [(&str, &str); 5] = [("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("1", "0")];
        let Some(text) = self.text() else { return self.value().as_bool() };
        let is_it = |word: &str| text.eq_ignore_ascii_case(word);
        let found = WORDS.iter().find(|(on, off)| is_it(on) || is_it(off))?;
        Some(is_it(found.0))
    }

    pub(crate) const fn is_map(&self) -> bool {
        matches!(self.content, Content::Map(_))
    }

    pub(crate) const fn is_list(&self) -> bool {
        matches!(self.content, Content::List(_))
    }

    /// Whether it is this value.
    pub(crate) fn is(&self, value: impl Into<Value>) -> bool {
        matches!(&self.content, Content::Scalar(own) if *own == value.into())
    }

    /// What is in it, with the path from here on.
    pub(crate) fn children(&self) -> Vec<(String, &Self)> {
        let items = self.items().iter().enumerate().map(|(index, node)| (format!("[{index}]"), node));
        items.chain(self.members().iter().map(|(key, node)| (step(&key.name), node))).collect()
    }

    /// Every member of this name at any depth.
    pub(crate) fn every<'a>(&'a self, name: &str, found: &mut Vec<&'a Self>) {
        found.extend(self.field(name));
        self.children().into_iter().for_each(|(_, child)| child.every(name, found));
    }

    fn each_position(&mut self, change: &mut dyn FnMut(&mut Position)) {
        change(&mut self.position);
        match &mut self.content {
            Content::Scalar(_) => {}
            Content::List(items) => items.iter_mut().for_each(|item| item.each_position(change)),
            Content::Map(members) => {
                for (key, node) in members {
                    change(&mut key.position);
                    node.each_position(change);
                }
            }
        }
    }

    /// What a path of the filter's parser leads to, as far as it is there.
    pub(crate) fn find<'a>(&'a self, path: &str) -> Found<'a> {
        let mut found = Found { position: self.position, node: self, is_whole: true };
        let mut rest = path;
        while !rest.is_empty() {
            let Some((next, position, behind)) = found.node.child(rest) else {
                return Found { is_whole: false, ..found };
            };
            // A value of its own stands where it is written; what is in it begins at its key.
            let position = match next.content {
                Content::Scalar(_) => next.position,
                Content::List(_) | Content::Map(_) => position,
            };
            (found.node, found.position, rest) = (next, position, behind);
        }
        found
    }

    /// Where the key stands that a path ends with.
    pub(crate) fn key_position(&self, path: &str) -> Option<Position> {
        let (mut node, mut rest, mut position) = (self, path, None);
        while !rest.is_empty() {
            let (next, begin, behind) = node.child(rest)?;
            (node, rest, position) = (next, behind, Some(begin));
        }
        position
    }

    /// The child that a path begins with, where it begins, and the rest of the path.
    fn child<'a, 'p>(&'a self, path: &'p str) -> Option<(&'a Self, Position, &'p str)> {
        match &self.content {
            Content::Scalar(_) => None,
            Content::List(items) => {
                // A JSON Pointer into a schema has no brackets.
                let (index, rest) = match path.strip_prefix('[') {
                    Some(inner) => inner.split_once(']')?,
                    None => pointer_token(path)?,
                };
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item, item.position, rest.strip_prefix('.').unwrap_or(rest)))
            }
            Content::Map(members) => members.iter().find_map(|(key, node)| {
                let rest = match path.strip_prefix('/') {
                    Some(_) => {
                        let (token, rest) = pointer_token(path)?;
                        (token.replace("~1", "/").replace("~0", "~") == key.name).then_some(rest)?
                    }
                    None => {
                        let rest = path.strip_prefix(&step(&key.name))?;
                        (rest.is_empty() || rest.starts_with(['.', '[', '/'])).then_some(rest)?
                    }
                };
                Some((node, key.position, rest.strip_prefix('.').unwrap_or(rest)))
            }),
        }
    }
}

/// A name in camelCase of one in snake_case.
pub(crate) fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |camel, word| {
        let mut letters = word.chars();
        camel + &letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    })
}

/// A path and what it leads to from there.
pub(crate) fn join(path: &str, step: &str) -> String {
    let between = if path.is_empty() || step.is_empty() || step.starts_with('[') { "" } else { "." };
    format!("{path}{between}{step}")
}

fn pointer_token(path: &str) -> Option<(&str, &str)> {
    let inner = path.strip_prefix('/')?;
    Some(inner.split_at(inner.find('/').unwrap_or(inner.len())))
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) position: Position,
    pub(crate) node: &'a Node,
    /// Whether it leads all the way; else this is where something is missing.
    pub(crate) is_whole: bool,
}

fn position(location: &serde_saphyr::Location) -> Position {
    Position { line: location.line(), column: location.column() }
}

enum Parsed {
    Scalar(Value),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl From<Spanned<Parsed>> for Node {
    fn from(parsed: Spanned<Parsed>) -> Self {
        let content = match parsed.value {
            Parsed::Scalar(value) => Content::Scalar(value),
            Parsed::List(items) => Content::List(items.into_iter().map(Self::from).collect()),
            Parsed::Map(members) => Content::Map(
                members
                    .into_iter()
                    .map(|(key, node)| (Key { position: position(&key.referenced), name: key.value }, Self::from(node)))
                    .collect(),
            ),
        };
        Self { position: position(&parsed.referenced), origin: position(&parsed.defined), content }
    }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParsedVisitor)
    }
}

struct ParsedVisitor;

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML or JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Parsed, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no number of JSON"))?;
        Ok(Parsed::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Parsed, D::Error> {
        Parsed::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parsed, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Parsed::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Parsed, A::Error> {
        let mut map: Vec<(Spanned<String>, Spanned<Parsed>)> = Vec::new();
        while let Some((key, value)) = members.next_entry::<Spanned<String>, Spanned<Parsed>>()? {
            if map.iter().any(|(other, _)| other.value == key.value) {
                return Err(A::Error::custom("a key stands twice"));
            }
            map.push((key, value));
        }
        Ok(Parsed::Map(map))
    }
}
