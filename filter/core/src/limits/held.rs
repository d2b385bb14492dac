//! How much the connections of one worker hold for judgement: a number that they share, and each one's part of it.

use core::cell::Cell;
use std::rc::Rc;

/// How much memory the connections of one worker hold for judgement, in bytes.
#[derive(Debug, Default)]
pub struct HeldBytes(Cell<u64>);

impl HeldBytes {
    /// How much that is now.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.0.get()
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `more` bytes are still within `max`.
    #[must_use]
    pub const fn has_room(&self, more: usize, max: u64) -> bool {
        // A usize has at most 64 bits.
        self.0.get().saturating_add(more as u64) <= max
    }
}

/// One connection's part of [`HeldBytes`]: given back when it is dropped.
///
/// ```text
/// kept: as long as the connection lives     held: until it has been judged
/// ```
#[derive(Debug, Default)]
pub struct Share {
    all: Rc<HeldBytes>,
    kept: u64,
    held: u64,
}

/// What every connection may keep beside its fixed state without its being counted, in bytes: an address, a host, a path and a name, as
/// they mostly are.
pub const KEPT_LEN_FREE: u64 = 1_024;

impl Share {
    /// Nothing yet, of `all`.
    #[must_use]
    pub const fn new(all: Rc<HeldBytes>) -> Self {
        Self { all, kept: 0, held: 0 }
    }

    /// What all connections hold.
    #[must_use]
    pub fn all(&self) -> &HeldBytes {
        &self.all
    }

    /// Whether this connection may hold `len` bytes in all, of `max` that all connections may.
    #[must_use]
    pub fn fits(&self, len: usize, max: u64) -> bool {
        self.all.0.get().saturating_sub(self.held).saturating_add(len as u64) <= max
    }

    /// Whether this connection holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Notes that this connection holds `len` bytes now.
    pub fn set(&mut self, len: usize) {
        let len = len as u64;
        self.change(self.held, len);
        self.held = len;
    }

    /// Notes that this connection keeps `len` bytes for as long as it lives, which its peer has chosen.
    pub fn keep(&mut self, len: usize) {
        let kept = (len as u64).saturating_sub(KEPT_LEN_FREE);
        self.change(self.kept, kept);
        self.kept = kept;
    }

    /// Notes that it keeps `new` bytes in place of `old` ones among them.
    pub fn keep_instead(&mut self, old: usize, new: usize) {
        let kept = self.kept.saturating_sub(old as u64).saturating_add(new as u64);
        self.change(self.kept, kept);
        self.kept = kept;
    }

    /// Notes that a request of `len` bytes waits for an answer. Returns whether it may, of `max` that all connections hold: the less is left
    /// for messages, the less waits.
    #[must_use]
    pub fn wait(&mut self, len: usize, max: u64) -> bool {
        let may_wait = self.fits(len, max / 2);
        self.set(len);
        may_wait
    }

    fn change(&self, from: u64, to: u64) {
        self.all.0.set(self.all.0.get().saturating_sub(from).saturating_add(to));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
        self.change(self.kept, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_given_back() {
        let all = Rc::new(HeldBytes::default());
        let (mut one, mut other) = (Share::new(Rc::clone(&all)), Share::new(Rc::clone(&all)));
        one.set(60);
        other.set(30);
        assert!(all.has_room(10, 100) && !all.has_room(11, 100));
        one.set(10);
        assert!(all.has_room(60, 100) && !all.has_room(61, 100));
        drop(one);
        assert!(other.all().has_room(70, 100) && !all.has_room(71, 100));
        assert!(other.fits(100, 100) && !other.fits(101, 100));
    }

    #[test]
    fn what_is_kept_counts_beyond_what_is_free() {
        let all = Rc::new(HeldBytes::default());
        let mut share = Share::new(Rc::clone(&all));
        share.keep(1_024);
        assert!(all.has_room(100, 100));
        share.keep(1_064);
        share.set(30);
        assert!(all.has_room(30, 100) && !all.has_room(31, 100) && share.fits(60, 100) && !share.fits(61, 100));
        drop(share);
        assert!(all.has_room(100, 100));
    }
}
