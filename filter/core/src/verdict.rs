//! What is to be done: values that the adapter carries out in the host.

/// One header field to be changed.
#[derive(Clone, Eq, PartialEq)]
pub struct Edit {
    /// The field, in lower case; pseudo-headers (`:path`) too.
    pub name: String,
    /// Its lines from now on; none takes the field away.
    pub values: Vec<Vec<u8>>,
}

impl Edit {
    /// The field `name` with one line.
    #[must_use]
    pub fn set(name: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), values: vec![value.into()] }
    }

    /// No field `name`.
    #[must_use]
    pub fn remove(name: &str) -> Self {
        Self { name: name.to_owned(), values: vec![] }
    }
}

impl core::fmt::Debug for Edit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Edit({}: {} lines)", self.name, self.values.len())
    }
}

/// What goes on of an arrived chunk: `before`, then its first `keep` bytes, then `after`. The rest of it is dropped, or held by
/// the session.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Passage {
    /// Bytes of earlier chunks.
    pub before: Vec<u8>,
    /// How many bytes of the chunk, from its start on.
    pub keep: usize,
    /// Bytes of earlier chunks and of this one, where a control frame went past a message that is held.
    pub after: Vec<u8>,
}
