//! How much the connections of one worker hold for judgement: a number that they share, and each one's part of it.

use core::cell::Cell;
use std::rc::Rc;

/// How much memory the connections of one worker hold for judgement, in bytes.
#[derive(Debug, Default)]
pub struct HeldBytes(Cell<u64>);

impl HeldBytes {
    /// Whether `more` bytes are still within `max`.
    #[must_use]
    pub const fn has_room(&self, more: usize, max: u64) -> bool {
        // A usize has at most 64 bits.
        self.0.get().saturating_add(more as u64) <= max
    }
}

/// One connection's part of [`HeldBytes`]: given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    all: Rc<HeldBytes>,
    own: u64,
}

impl Share {
    /// Nothing yet, of `all`.
    #[must_use]
    pub const fn new(all: Rc<HeldBytes>) -> Self {
        Self { all, own: 0 }
    }

    /// What all connections hold.
    #[must_use]
    pub fn all(&self) -> &HeldBytes {
        &self.all
    }

    /// Notes that this connection holds `len` bytes now.
    pub fn set(&mut self, len: usize) {
        let len = len as u64;
        self.all.0.set(self.all.0.get().saturating_sub(self.own).saturating_add(len));
        self.own = len;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
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
    }
}
