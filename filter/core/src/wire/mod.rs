//! Frames on the wire (RFC 6455 §5): bytes in, values out.

pub mod close;
pub mod header;

/// Who sent some bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The client: its frames are masked (RFC 6455 §5.1).
    Client,
    /// The server behind the proxy: its frames are not.
    Server,
}

impl Side {
    /// The one that the bytes of this side travel to.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One arrived piece of a stream: many frames, or a part of one.
///
/// The host holds the bytes; only what is read is copied out of it. A byte slice is a chunk too.
pub trait Chunk {
    /// The number of bytes in this chunk.
    fn len(&self) -> usize;

    /// Whether the chunk has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes from `offset` on into `buf` and returns how many: fewer than asked only at the end of the chunk.
    ///
    /// # Errors
    /// [`Unreadable`] when the host does not give the bytes out.
    fn read(&self, offset: usize, buf: &mut [u8]) -> Result<usize, Unreadable>;
}

/// The host did not give out bytes that it announced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unreadable;

impl Chunk for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn read(&self, offset: usize, buf: &mut [u8]) -> Result<usize, Unreadable> {
        let rest = self.get(offset..).ok_or(Unreadable)?;
        let count = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }
}
