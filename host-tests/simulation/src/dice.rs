//! Chance, all of which one seed decides.

use core::cell::Cell;

/// A source of numbers (splitmix64): the same seed gives the same ones.
#[derive(Debug)]
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut number = self.0.get();
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True once in so many times; never for 0.
    pub(crate) fn one_in(&self, count: usize) -> bool {
        count > 0 && self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    /// Another source, which what this one is used for later does not change.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.next())
    }
}
