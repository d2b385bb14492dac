//! A few of many values, drawn at random: a host takes the values of a histogram one by one, and a call for each message would cost as much as
//! the message.
//!
//! Of every [`Samples::stride`](Samples) values one is taken, so what a value is has no part in whether it is. Between two ticks at most
//! [`KEPT_MAX`] are kept: when there are as many, every second one is let go, and the stride doubles. Each tick halves it. So while little comes
//! all of it is told, and a busy moment tells no more than a quiet one.

use core::cell::{Cell, RefCell};

use crate::effect::Metric;

/// How many are kept between two ticks: 80 a second, at 0.15 µs each in Envoy.
const KEPT_MAX: usize = 8;

/// The longest stride: of more than a million messages in a tick a worker has no time to take any.
const STRIDE_MAX: u32 = 1 << 20;

/// Some of the values since the last tick.
#[derive(Debug)]
pub struct Samples {
    kept: RefCell<Vec<u64>>,
    /// The how manieth of the next values is taken.
    next: Cell<u32>,
    stride: Cell<u32>,
    /// A linear congruential generator: it need not be hard to guess, since it is told nobody.
    random: Cell<u64>,
}

impl Default for Samples {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Samples {
    /// None yet; those that are taken differ by the `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { kept: RefCell::new(Vec::new()), next: Cell::new(1), stride: Cell::new(1), random: Cell::new(seed) }
    }

    /// The how manieth of the next values is to be [taken](Self::take): counted down to 0 by whoever has them.
    #[inline]
    pub const fn next(&self) -> &Cell<u32> {
        &self.next
    }

    /// Whether the value that comes is to be [taken](Self::take).
    pub fn is_next(&self) -> bool {
        let left = self.next.get().saturating_sub(1);
        self.next.set(left.max(1));
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
        self.next.set(self.gap());
    }

    /// Tells what was kept since the last tick.
    pub fn tell(&self, metric: &Metric, counts: &mut Vec<(Metric, i64)>) {
        let kept = self.kept.take();
        counts.extend(kept.into_iter().map(|value| (metric.clone(), i64::try_from(value).unwrap_or(i64::MAX))));
        if self.stride.get() > 1 {
            self.stride.set(self.stride.get() / 2);
            self.next.set(self.next.get().min(self.gap()));
        }
    }

    /// As long as the stride on average, and never the same for what comes in a rhythm.
    fn gap(&self) -> u32 {
        let widest = self.stride.get().saturating_mul(2).saturating_sub(1);
        self.draw().checked_rem(widest).unwrap_or_default().saturating_add(1)
    }

    /// The factor and summand of Knuth's MMIX; the lower half of its states is not random enough.
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
        values.filter(|_| samples.is_next()).for_each(|value| samples.take(value));
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
