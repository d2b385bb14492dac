//! The bytes of one direction that a body callback runs over.

use std::borrow::Cow;

use super::abi::{self, BufferType, Hosted};
use portcullis_core::effect::Passage;
use portcullis_core::port::HostError;
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

    /// Makes it `waiting`, and then what `passage` says of it; nothing, where that is `None`. Gives its length.
    pub(crate) fn apply(&self, waiting: &[u8], passage: Option<&Passage>) -> Hosted<usize> {
        let Some(Passage { before, keep, after }) = passage else { return self.rewrite(&[], 0, &[]).map(|()| 0) };
        if waiting.is_empty() && before.is_empty() && after.is_empty() && *keep == self.len {
            return Ok(self.len);
        }
        if waiting.is_empty() {
            self.rewrite(before, *keep, after)?;
        } else {
            self.rewrite(&[waiting, before].concat(), *keep, after)?;
        }
        Ok(waiting.len().saturating_add(before.len()).saturating_add(*keep).saturating_add(after.len()))
    }

    fn read(&self, offset: usize, len: usize) -> Hosted<Vec<u8>> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let bytes = abi::buffer(self.buffer, offset, len)?;
        if bytes.len() == len { Ok(bytes) } else { Err(HostError) }
    }
}

impl Chunk for Body {
    fn len(&self) -> usize {
        self.len
    }

    fn bytes(&self, offset: usize, len: usize) -> Result<Cow<'_, [u8]>, Unreadable> {
        self.read(offset, len).map(Cow::Owned).map_err(|HostError| Unreadable)
    }
}
