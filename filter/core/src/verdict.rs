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

/// What becomes of an arrived chunk: some bytes that were held back go first, then its first `keep` bytes; the rest is
/// dropped or held back by the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passage {
    /// Bytes of earlier chunks that go before this one.
    pub before: Held,
    /// How many bytes of the chunk go on.
    pub keep: usize,
}

/// A few bytes that wait for the rest: of a frame header, or of a Close frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held {
    bytes: [u8; Self::LEN_MAX],
    len: usize,
}

impl Held {
    /// A whole Close frame of the client (RFC 6455 §5.5: at most 125 bytes of payload).
    pub const LEN_MAX: usize = 131;

    /// Keeps the first `len` of `bytes`, at most all of them.
    #[must_use]
    pub fn new(bytes: [u8; Self::LEN_MAX], len: usize) -> Self {
        Self { bytes, len: len.min(bytes.len()) }
    }

    /// The bytes that are held.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::new([0; Self::LEN_MAX], 0)
    }
}
