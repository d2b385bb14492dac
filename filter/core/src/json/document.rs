//! A JSON message as it was read.
//!
//! ```text
//! {"a":[1,"x"]}  ──▶  nodes   Object  String a  Array  Integer 1  String x
//!                             len 1             len 2
//!                             end 5             end 5
//! ```
//!
//! A [`Document`] is a list of 16-byte nodes in the order of the text, each with the index behind everything that belongs to it, so
//! that a value can be stepped over. Strings are slices of the text; those with escapes are slices of a copy without.

use super::name;

/// A message that is JSON and within its bounds.
#[derive(Default)]
pub struct Document<'a> {
    pub(super) text: &'a str,
    pub(super) nodes: Vec<Node>,
    /// The strings that have escapes, without them.
    pub(super) unescaped: String,
}

#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Where the string or number begins.
    pub(super) start: u32,
    /// The bytes of a string or number, the items of an array, the members of an object.
    pub(super) len: u32,
    /// The index behind the last node of this value.
    pub(super) end: u32,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Kind {
    Array,
    Boolean,
    /// A number without a fraction or an exponent.
    Integer,
    Null,
    Number,
    Object,
    /// A slice of the text.
    String,
    /// A slice of what is unescaped.
    Unescaped,
}

/// A value within a document.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    document: &'a Document<'a>,
    node: Node,
    index: usize,
}

/// Readers differ about which member a name means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Twins;

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// Its items.
    Array(Items<'a>),
    /// `false` or `true`.
    Boolean(bool),
    /// `null`.
    Null,
    /// The number as it is written.
    Number(&'a str),
    /// Its members.
    Object(Members<'a>),
    /// The string without its escapes.
    String(&'a str),
}

/// The items of an array, in their order.
#[derive(Clone, Copy)]
pub struct Items<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) next: usize,
    pub(super) len: usize,
}

/// The members of an object, in the order of the text.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a>(pub(super) Items<'a>);

impl<'a> Document<'a> {
    /// The value that the message is.
    #[must_use]
    pub fn root(&'a self) -> Value<'a> {
        self.value(0)
    }

    /// Every object, wherever it stands.
    pub fn objects(&'a self) -> impl Iterator<Item = Value<'a>> {
        let is_object = |(_, node): &(usize, &Node)| node.kind == Kind::Object;
        self.nodes.iter().enumerate().filter(is_object).map(|(index, _)| self.value(index))
    }

    /// Every string, names too, and every number as it is written; with its index.
    pub fn texts(&'a self) -> impl Iterator<Item = (u32, Value<'a>)> {
        let is_text = |node: &Node| !matches!(node.kind, Kind::Array | Kind::Boolean | Kind::Null | Kind::Object);
        let texts = self.nodes.iter().enumerate().filter(move |(_, node)| is_text(node));
        texts.map(|(index, _)| self.value(index)).map(|value| (value.index(), value))
    }

    /// The length of the message, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    #[inline]
    fn value(&'a self, index: usize) -> Value<'a> {
        // Indices come from nodes of this document; an empty one is null.
        let node = self.nodes.get(index).copied().unwrap_or(Node { kind: Kind::Null, start: 0, len: 0, end: 0 });
        Value { document: self, node, index }
    }

    #[inline]
    fn text(&self, node: Node) -> &str {
        let from = if node.kind == Kind::Unescaped { self.unescaped.as_str() } else { self.text };
        from.get(node.start as usize..node.start.saturating_add(node.len) as usize).unwrap_or_default()
    }
}

impl core::fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Document({} bytes, {} nodes)", self.text.len(), self.nodes.len())
    }
}

impl<'a> Value<'a> {
    /// What it is.
    #[must_use]
    #[inline]
    pub fn form(self) -> Form<'a> {
        match self.node.kind {
            Kind::Array => Form::Array(self.children()),
            Kind::Boolean => Form::Boolean(self.node.len == 1),
            Kind::Integer | Kind::Number => Form::Number(self.document.text(self.node)),
            Kind::Null => Form::Null,
            Kind::Object => Form::Object(Members(self.children())),
            Kind::String | Kind::Unescaped => Form::String(self.document.text(self.node)),
        }
    }

    /// Whether it is a number without a fraction or an exponent: `1`, not `1.0`.
    #[must_use]
    pub fn is_plain_integer(self) -> bool {
        self.node.kind == Kind::Integer
    }

    /// The string without its escapes, where it is one.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        match self.node.kind {
            Kind::String | Kind::Unescaped => Some(self.document.text(self.node)),
            Kind::Array | Kind::Boolean | Kind::Integer | Kind::Null | Kind::Number | Kind::Object => None,
        }
    }

    /// The member `name` of an object.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Self> {
        match self.form() {
            Form::Object(mut members) => members.find(|(own, _)| *own == name).map(|(_, value)| value),
            Form::Array(_) | Form::Boolean(_) | Form::Null | Form::Number(_) | Form::String(_) => None,
        }
    }

    /// The member `name` of an object, where every reader takes the same one.
    ///
    /// # Errors
    /// [`Twins`] where the name stands twice, or one that some reader takes for it stands there.
    pub fn member(self, name: &str) -> Result<Option<Self>, Twins> {
        let Form::Object(members) = self.form() else { return Ok(None) };
        let mut found = None;
        for (own, value) in members.filter(|(own, _)| name::is_same(own, name)) {
            if own != name || found.is_some() {
                return Err(Twins);
            }
            found = Some(value);
        }
        Ok(found)
    }

    /// The item at `index` of an array.
    #[must_use]
    pub fn item(self, index: usize) -> Option<Self> {
        match self.form() {
            Form::Array(mut items) => items.nth(index),
            Form::Boolean(_) | Form::Null | Form::Number(_) | Form::Object(_) | Form::String(_) => None,
        }
    }

    /// How many items or members it has.
    #[must_use]
    pub const fn child_count(self) -> usize {
        match self.node.kind {
            Kind::Array | Kind::Object => self.node.len as usize,
            Kind::Boolean | Kind::Integer | Kind::Null | Kind::Number | Kind::String | Kind::Unescaped => 0,
        }
    }

    /// The length of the document that it stands in, in bytes.
    #[must_use]
    pub const fn document_len(self) -> usize {
        self.document.len()
    }

    /// Where it stands in its document.
    #[must_use]
    pub fn index(self) -> u32 {
        u32::try_from(self.index).unwrap_or(u32::MAX)
    }

    /// Whether what stands at `index` in its document is it, or in it.
    pub(super) const fn holds(self, index: u32) -> bool {
        self.index <= index as usize && index < self.node.end
    }

    /// The value that stands there in its document.
    pub(super) fn at(self, index: u32) -> Self {
        self.document.value(index as usize)
    }

    const fn children(self) -> Items<'a> {
        Items { document: self.document, next: self.index.saturating_add(1), len: self.node.len as usize }
    }
}

impl core::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Value({})", self.index)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.len = self.len.checked_sub(1)?;
        let value = self.document.value(self.next);
        self.next = value.node.end as usize;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for Items<'_> {}

impl core::fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} items", self.len)
    }
}

impl<'a> Members<'a> {
    /// The next member, its name as a value.
    pub fn next_pair(&mut self) -> Option<(Value<'a>, Value<'a>)> {
        let name = self.0.next()?;
        let value = self.0.document.value(self.0.next);
        self.0.next = value.node.end as usize;
        Some((name, value))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<(&'a str, Value<'a>)> {
        let (name, value) = self.next_pair()?;
        Some((name.document.text(name.node), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Members<'_> {}

/// Of a name: its length and first bytes. The same for the same names, and for up to seven bytes only for them.
pub(super) fn fingerprint(name: &[u8]) -> u64 {
    let start = name.first_chunk::<8>().map_or_else(
        || name.iter().fold(0, |start, byte| start << 8 | u64::from(*byte)),
        |chunk| u64::from_be_bytes(*chunk),
    );
    start ^ (name.len() as u64) << 56
}
