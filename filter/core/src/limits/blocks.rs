//! Bytes in blocks of one length: what one connection gives back is of use for every other.
//!
//! Pieces of every length would leave gaps between those that stay, and clients choose which stay: they can make an allocator need four
//! times what they hold.

/// The length of a block, in bytes: most messages are in one.
const BLOCK_LEN: usize = 4_096;

/// What a block takes, with its place in a list that doubles.
const EACH_LEN: usize = BLOCK_LEN + 2 * size_of::<Vec<u8>>();

/// What few bytes take: a header, a control frame, the first bytes of a message.
const SHORT_LEN: usize = 256;

/// A text or a message that is not whole.
#[derive(Debug, Default)]
pub struct Blocks {
    /// The first block, or a short one.
    first: Vec<u8>,
    rest: Vec<Vec<u8>>,
    len: usize,
    /// How many of them are full, so that each piece finds its place at once.
    full: usize,
}

impl Blocks {
    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes are in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Its first bytes: all of them where they are no more than a control frame.
    #[must_use]
    pub const fn first(&self) -> &[u8] {
        self.first.as_slice()
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.rest.len().saturating_mul(EACH_LEN).saturating_add(self.first.capacity())
    }

    /// Makes room for `more` bytes, as far as `fits` says that it may take so much memory, or leaves everything as it is. Returns whether there is
    /// room.
    #[must_use]
    pub fn reserve(&mut self, more: usize, fits: &dyn Fn(usize) -> bool) -> bool {
        let len = self.len.saturating_add(more);
        let first_len = match len {
            _ if len <= self.first.capacity() => return true,
            ..=SHORT_LEN => SHORT_LEN,
            _ => BLOCK_LEN,
        };
        let count = len.saturating_sub(BLOCK_LEN).div_ceil(BLOCK_LEN);
        let capacity = count.saturating_mul(EACH_LEN).saturating_add(first_len);
        if capacity > self.capacity() && !fits(capacity) {
            return false;
        }
        let blocks = count.saturating_sub(self.rest.len());
        if self.first.try_reserve_exact(first_len.saturating_sub(self.first.len())).is_err()
            || self.rest.try_reserve(blocks).is_err()
        {
            return false;
        }
        for _ in 0..blocks {
            let mut block = Vec::new();
            if block.try_reserve_exact(BLOCK_LEN).is_err() {
                return false;
            }
            self.rest.push(block);
        }
        true
    }

    /// Puts `bytes` behind all others. Room for them has been made.
    pub fn extend(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        self.len = self.len.saturating_add(bytes.len());
        let blocks = core::iter::once(&mut self.first).chain(&mut self.rest);
        for block in blocks.skip(self.full) {
            let room = block.capacity().saturating_sub(block.len());
            let (part, behind) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            block.extend_from_slice(part);
            bytes = behind;
            if bytes.is_empty() {
                return;
            }
            self.full = self.full.saturating_add(1);
        }
    }

    /// Likewise all of `other`, which is empty then.
    pub fn append(&mut self, other: &mut Self) {
        let Self { first, rest, .. } = core::mem::take(other);
        core::iter::once(first).chain(rest).for_each(|block| self.extend(&block));
    }

    /// All bytes in one piece, and nothing is left.
    #[inline]
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        // As it mostly is: nothing was reserved.
        if self.first.capacity() == 0 { Vec::new() } else { self.join() }
    }

    fn join(&mut self) -> Vec<u8> {
        let Self { mut first, rest, len, .. } = core::mem::take(self);
        first.reserve_exact(len.saturating_sub(first.len()));
        rest.into_iter().for_each(|block| first.extend_from_slice(&block));
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(blocks: &mut Blocks, bytes: &[u8]) {
        assert!(blocks.reserve(bytes.len(), &|_| true));
        blocks.extend(bytes);
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        for piece in [1, 7, 255, 256, 257, 4_095, 4_096, 4_097, 20_000] {
            for len in [0, 1, 256, 257, 4_096, 4_097, 8_192, 8_193, 50_000] {
                let bytes: Vec<u8> = (0..len).map(|index| (index * 7 % 251) as u8).collect();
                let mut blocks = Blocks::default();
                bytes.chunks(piece).for_each(|piece| put(&mut blocks, piece));
                assert_eq!((blocks.len(), blocks.is_empty()), (len, len == 0));
                assert!(blocks.capacity() <= len.max(256) * 102 / 100 + 4_096);
                let mut other = Blocks::default();
                put(&mut other, b"before");
                assert!(other.reserve(len, &|_| true));
                other.append(&mut blocks);
                assert!(blocks.is_empty());
                assert!(other.take() == [b"before", bytes.as_slice()].concat());
                assert!(other.is_empty() && other.capacity() == 0);
            }
        }
    }

    #[test]
    fn it_takes_no_more_than_it_may() {
        for (len, capacity) in [(1, 256), (256, 256), (257, 4_096), (4_096, 4_096), (4_097, 4_096 + EACH_LEN)] {
            let mut blocks = Blocks::default();
            assert!(!blocks.reserve(len, &|size| size < capacity), "{len}");
            assert_eq!(blocks.capacity(), 0);
            assert!(blocks.reserve(len, &|size| size <= capacity), "{len}");
            assert_eq!(blocks.capacity(), capacity, "{len}");
        }
    }
}
