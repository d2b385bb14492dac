//! The bytes of one direction that a body callback runs over.

use std::borrow::Cow;

use super::abi::{self, BufferType, Hosted};
use portcullis_core::wire::{Chunk, Unreadable};

/// A number of bytes that is more than any buffer holds.
const ALL: usize = i32::MAX as usize;

/// The host's buffer, of which only what is read is copied out.
pub(crate) struct Body {
    buffer: BufferType,
    len: usize,
}

impl Body {
    /// The first `len` bytes of a buffer: what the callback was told of.
    pub(crate) const fn new(buffer: BufferType, len: usize) -> Self {
        Self { buffer, len }
    }

    /// Copies out its first `len` bytes.
    pub(crate) fn copy(&self, len: usize) -> Hosted<Vec<u8>> {
        self.read(0, len)
    }

    /// Makes it `before`, then its own first `keep` bytes, then `after`.
    pub(crate) fn rewrite(&self, before: &[u8], keep: usize, after: &[u8]) -> Hosted<()> {
        if keep < self.len {
            let bytes = [before, &self.copy(keep)?, after].concat();
            return abi::set_buffer(self.buffer, 0, ALL, &bytes);
        }
        if !before.is_empty() {
            abi::set_buffer(self.buffer, 0, 0, before)?;
        }
        if !after.is_empty() {
            abi::set_buffer(self.buffer, ALL, 0, after)?;
        }
        Ok(())
    }

    /// Copies out its last `len` bytes.
    pub(crate) fn copy_last(&self, len: usize) -> Hosted<Vec<u8>> {
        self.read(self.len.saturating_sub(len), len)
    }

    /// Its length.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn read(&self, offset: usize, len: usize) -> Hosted<Vec<u8>> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let bytes = abi::buffer(self.buffer, offset, len)?;
        if bytes.len() == len { Ok(bytes) } else { Err(abi::HostError::NONSENSE) }
    }
}

/// What is judged.
pub(crate) enum Bytes<'a> {
    /// What a callback is about.
    Host(&'a Body),
    /// What was taken out of a body before.
    Own(&'a [u8]),
}

impl Chunk for Bytes<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Host(body) => body.len,
            Self::Own(bytes) => bytes.len(),
        }
    }

    fn bytes(&self, offset: usize, len: usize) -> Result<Cow<'_, [u8]>, Unreadable> {
        match self {
            Self::Host(body) => body.read(offset, len).map(Cow::Owned).map_err(|_| Unreadable),
            Self::Own(bytes) => Chunk::bytes(*bytes, offset, len),
        }
    }
}
