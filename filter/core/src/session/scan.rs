//! One chunk on its way through a direction: what has been read of it, and what of it goes on.

use std::borrow::Cow;

use crate::effect::Passage;
use crate::wire::{Chunk, Unreadable};

/// How many bytes are asked of the host at once, where fewer are needed. A call that returns bytes costs the same for fourteen of them as
/// for so many, so a burst of short frames, and most messages, take one call.
const AHEAD: usize = 4_096;

/// A chunk, read from its start to its end.
///
/// ```text
///   0            settled          at             len
///   |--- went on ---|--- undecided ---|--- not read ---|
/// ```
pub(super) struct Scan<'a, C: ?Sized> {
    chunk: &'a C,
    len: usize,
    window: Cow<'a, [u8]>,
    window_start: usize,
    at: usize,
    settled: usize,
    /// Something of this chunk stays while something behind it goes on.
    parted: bool,
    passage: Passage,
}

impl<'a, C: Chunk + ?Sized> Scan<'a, C> {
    pub(super) fn new(chunk: &'a C) -> Self {
        Self {
            chunk,
            len: chunk.len(),
            window: Cow::Borrowed(&[]),
            window_start: 0,
            at: 0,
            settled: 0,
            parted: false,
            passage: Passage::default(),
        }
    }

    /// How many bytes have not been read.
    pub(super) const fn left(&self) -> usize {
        self.len.saturating_sub(self.at)
    }

    /// Ends the chunk here. Gives how many bytes of it had not been read.
    pub(super) const fn cut(&mut self) -> usize {
        let left = self.left();
        self.len = self.at;
        left
    }

    /// How many bytes have been read and not decided about.
    pub(super) const fn undecided(&self) -> usize {
        self.at.saturating_sub(self.settled)
    }

    /// The next bytes, `wanted` of them, or fewer at the end of the chunk.
    #[inline]
    pub(super) fn peek(&mut self, wanted: usize) -> Result<&[u8], Unreadable> {
        self.get(self.at, wanted.min(self.left()))
    }

    /// Goes on by `len` bytes, at most to the end of the chunk.
    pub(super) fn advance(&mut self, len: usize) {
        self.at = self.at.saturating_add(len).min(self.len);
    }

    /// The bytes that are not decided about.
    pub(super) fn undecided_bytes(&mut self) -> Result<&[u8], Unreadable> {
        self.get(self.settled, self.undecided())
    }

    /// Likewise, and they stay here.
    pub(super) fn take_undecided(&mut self) -> Result<&[u8], Unreadable> {
        let start = core::mem::replace(&mut self.settled, self.at);
        self.parted = true;
        self.get(start, self.at.saturating_sub(start))
    }

    /// What is not decided about goes nowhere.
    pub(super) const fn skip(&mut self) {
        self.parted |= self.at > self.settled;
        self.settled = self.at;
    }

    /// Lets `held`, which came in earlier chunks, go on and behind it what is not decided about.
    pub(super) fn pass(&mut self, held: Vec<u8>) -> Result<(), Unreadable> {
        if !held.is_empty() && self.passage.keep > 0 {
            self.parted = true;
        }
        if !self.parted {
            self.passage.keep = self.at;
            self.settled = self.at;
            if !held.is_empty() {
                self.passage.before = held;
            }
            return Ok(());
        }
        self.passage.after.extend(held);
        let (start, end) = (self.settled, self.at);
        let mut after = core::mem::take(&mut self.passage.after);
        after.extend(self.get(start, end.saturating_sub(start))?);
        self.passage.after = after;
        self.settled = end;
        Ok(())
    }

    /// Has `bytes` go on behind everything that has; nothing is undecided.
    pub(super) fn insert(&mut self, bytes: &[u8]) {
        self.parted = true;
        self.passage.after.extend_from_slice(bytes);
    }

    /// What goes on of the chunk.
    pub(super) fn into_passage(self) -> Passage {
        self.passage
    }

    #[inline]
    fn get(&mut self, start: usize, len: usize) -> Result<&[u8], Unreadable> {
        let offset = start.wrapping_sub(self.window_start);
        let end = offset.saturating_add(len);
        if start < self.window_start || end > self.window.len() {
            let fetched = len.max(AHEAD).min(self.len.saturating_sub(start));
            self.window = self.chunk.bytes(start, fetched)?;
            self.window_start = start;
            return self.window.get(..len).ok_or(Unreadable);
        }
        self.window.get(offset..end).ok_or(Unreadable)
    }
}
