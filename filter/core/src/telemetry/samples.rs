//! A few of many values, drawn at random: a host takes the values of a histogram one by one, and a call for each message would cost every message
//! some of its time.
//!
//! Which value is taken is decided before it comes, by a countdown, so what it is has no part in that. One of as many as the stride says is taken
//! on average. Between two ticks fewer than `KEPT_MAX` are kept: when there are as many, every second one is dropped, and the stride doubles.
//! Each tick halves it. So while few come all of them are told, and a busy moment tells no more than a quiet one.

use core::cell::{Cell, RefCell};

use crate::effect::Metric;

/// So many are too many between two ticks: 70 a second are left, at 0.15 µs each in Envoy.
const KEPT_MAX: usize = 8;

/// The longest stride: of more than a million messages in a tick a worker has no time to take any.
const STRIDE_MAX: u32 = 1 << 20;

/// Some of the values since the last tick.
#[derive(Debug)]
pub struct Samples {
    kept: RefCell<Vec<u64>>,
    /// How many values come until one is taken, that one among them.
    countdown: Cell<u32>,
    stride: Cell<u32>,
    /// The state of a linear congruential generator. A peer that guessed it could choose which of its own messages are samples, and no more.
    random: Cell<u64>,
}

impl Default for Samples {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Samples {
    /// None yet; which ones are taken differs by the `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { kept: RefCell::new(Vec::new()), countdown: Cell::new(1), stride: Cell::new(1), random: Cell::new(seed) }
    }

    /// How many values come until one is to be [taken](Self::take), that one among them: whoever has the values takes one off for each.
    #[inline]
    pub const fn countdown(&self) -> &Cell<u32> {
        &self.countdown
    }

    /// A value comes. Gives whether it is to be [taken](Self::take); where it cannot be, the one behind it is.
    pub fn count_down(&self) -> bool {
        let left = self.countdown.get().saturating_sub(1);
        self.countdown.set(left.max(1));
        left == 0
    }

    /// Takes a value.
    #[cold]
    pub fn take(&self, value: u64) {
        let mut kept = self.kept.borrow_mut();
        kept.push(value);
        if kept.len() >= KEPT_MAX {
            let mut is_kept = self.draw().is_multiple_of(2);
            kept.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.stride.set(self.stride.get().saturating_mul(2).min(STRIDE_MAX));
        }
        self.countdown.set(self.gap());
    }

    /// Tells what was kept since the last tick.
    pub fn tell(&self, metric: &Metric, counts: &mut Vec<(Metric, i64)>) {
        let kept = self.kept.take();
        counts.extend(kept.into_iter().map(|value| (metric.clone(), i64::try_from(value).unwrap_or(i64::MAX))));
        if self.stride.get() > 1 {
            self.stride.set(self.stride.get() / 2);
            self.countdown.set(self.countdown.get().min(self.gap()));
        }
    }

    /// As long as the stride on average, and never the same for what comes in a rhythm.
    fn gap(&self) -> u32 {
        let widest = self.stride.get().saturating_mul(2).saturating_sub(1);
        self.draw().checked_rem(widest).unwrap_or_default().saturating_add(1)
    }

    /// The next number: factor and summand are those of Knuth's MMIX, whose states are not random enough in their lower half.
    fn draw(&self) -> u32 {
        let state = self.random.get().wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.random.set(state);
        u32::try_from(state >> u32::BITS).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRIC: Metric = Metric::InspectMicros;

    /// What is told after these values have come.
    fn tell(samples: &Samples, values: impl Iterator<Item = u64>) -> Vec<u64> {
        values.filter(|_| samples.count_down()).for_each(|value| samples.take(value));
        let mut counts = Vec::new();
        samples.tell(&METRIC, &mut counts);
        counts.into_iter().map(|(_, value)| value.cast_unsigned()).collect()
    }

    #[test]
    fn while_little_comes_all_of_it_is_told() {
        let samples = Samples::new(7);
        for tick in 0..100 {
            let values = [tick, tick + 1, tick + 2];
            assert_eq!(tell(&samples, values.into_iter()), values);
        }
    }

    #[test]
    fn of_much_a_few_are_told_and_soon_again_all_of_a_little() {
        let samples = Samples::new(7);
        for count in [10, 100, 1_000_000] {
            let told = tell(&samples, 0..count);
            assert!((1..KEPT_MAX).contains(&told.len()), "{count}: {told:?}");
        }
        // A tick halves the stride.
        let told: Vec<usize> = (0..30).map(|_| tell(&samples, 0..4).len()).collect();
        assert_eq!(told.last(), Some(&4), "{told:?}");
    }

    /// Each half of a rhythm, each place in a burst: none is told more than another.
    #[test]
    fn none_is_told_more_than_another() {
        let samples = Samples::new(7);
        const PLACES: usize = 64;
        let mut told = [0_u32; PLACES];
        for _ in 0..40_000 {
            for value in tell(&samples, 0..PLACES as u64) {
                told[usize::try_from(value).unwrap()] += 1;
            }
        }
        let mean = told.iter().sum::<u32>() / PLACES as u32;
        let is_near = |count: &u32| (mean * 3 / 4..=mean * 5 / 4).contains(count);
        assert!(mean > 1_000 && told.iter().all(is_near), "{told:?}");
    }
}
