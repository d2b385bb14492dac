//! Frames on the wire (RFC 6455 §5): bytes in, values out.

use std::borrow::Cow;

pub mod close;
pub mod deflate;
pub mod header;
pub mod mask;
pub mod utf8;

/// The side that sent some bytes.
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

/// One thing of each side.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sides<T> {
    /// The client's.
    pub client: T,
    /// The server's.
    pub server: T,
}

impl<T> Sides<T> {
    /// That of one side.
    #[must_use]
    pub const fn of(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// That of one side, to be changed.
    #[must_use]
    pub const fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Both, the client's first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.client, &self.server].into_iter()
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

    /// The `len` bytes from `offset` on, all of which are in the chunk.
    ///
    /// # Errors
    /// [`Unreadable`] when the host does not give the bytes out.
    fn bytes(&self, offset: usize, len: usize) -> Result<Cow<'_, [u8]>, Unreadable>;
}

/// The host did not give out bytes that it announced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unreadable;

impl<C: Chunk + ?Sized> Chunk for &C {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn bytes(&self, offset: usize, len: usize) -> Result<Cow<'_, [u8]>, Unreadable> {
        (**self).bytes(offset, len)
    }
}

impl Chunk for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn bytes(&self, offset: usize, len: usize) -> Result<Cow<'_, [u8]>, Unreadable> {
        let (_, rest) = self.split_at_checked(offset).ok_or(Unreadable)?;
        rest.get(..len).map(Cow::Borrowed).ok_or(Unreadable)
    }
}
