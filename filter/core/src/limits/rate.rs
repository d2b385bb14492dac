//! So much a second, and so much at once: a leaky bucket.
//!
//! ```text
//!   take ──> ┌───────┐ burst
//!            │       │
//!            │▒▒▒▒▒▒▒│ level, as it was at `at`
//!            └───┬───┘
//!                ╰──> per_second
//! ```
//!
//! A [`Meter`] knows no rate: the rate comes with each question, so that a policy may change while meters are in use. It counts what
//! was used, not what is left, and so nothing but zeros means nothing used.

use core::time::Duration;

use crate::time::Moment;

/// How much is allowed: `per_second` in the long run, `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    per_second: f64,
    burst: u64,
}

impl Rate {
    /// A rate that lets something through: `per_second` is finite and above zero, `burst` is 1 or more.
    #[must_use]
    pub fn new(per_second: f64, burst: u64) -> Option<Self> {
        (per_second.is_finite() && per_second > 0.0 && burst >= 1).then_some(Self { per_second, burst })
    }

    /// Units a second, in the long run.
    #[must_use]
    pub const fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Units at once. Beyond 2^53 single units are too small to be counted.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// How long `units` take to leak out, rounded up.
    fn span(&self, units: f64) -> Duration {
        if units <= 0.0 {
            return Duration::ZERO;
        }
        let span = Duration::try_from_secs_f64(units / self.per_second).unwrap_or(Duration::MAX);
        span.saturating_add(Duration::from_nanos(1))
    }
}

/// What was used of a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Meter {
    /// Units, finite and not negative.
    level: f64,
    /// When that was the level.
    at: Moment,
}

impl Meter {
    /// As many bytes as a meter is kept in.
    pub const LEN: usize = 16;

    /// Uses `amount` units where all of them fit, else none. An amount above the burst never does.
    pub fn take(&mut self, rate: &Rate, amount: u64, now: Moment) -> bool {
        let fits = amount <= self.room(rate, now);
        if fits {
            *self = Self { level: self.level_at(rate, now) + amount as f64, at: self.at.max(now) };
        }
        fits
    }

    /// Takes back what was not used of `taken` units, so long after they were taken: but for what has leaked since, of what was used first.
    pub fn give_back(&mut self, rate: &Rate, taken: u64, unused: u64, held: Duration, now: Moment) {
        let leaked = rate.per_second * held.as_secs_f64() - taken.saturating_sub(unused) as f64;
        let rest = (unused as f64 - leaked.max(0.0)).max(0.0);
        *self = Self { level: (self.level_at(rate, now) - rest).max(0.0), at: self.at.max(now) };
    }

    /// How many whole units are free.
    #[must_use]
    pub fn room(&self, rate: &Rate, now: Moment) -> u64 {
        let burst = rate.burst as f64;
        let room = burst + burst * SLACK - self.level_at(rate, now);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole units; it saturates")]
        let room = room as u64;
        room.min(rate.burst)
    }

    /// Whether nothing is used: what is taken then counts from that moment, so the moment has to be exact.
    #[must_use]
    pub fn is_empty(&self, rate: &Rate, now: Moment) -> bool {
        self.level_at(rate, now) <= 0.0
    }

    /// How long until `amount` units fit; where that is more than the burst, until nothing is used.
    #[must_use]
    pub fn wait(&self, rate: &Rate, amount: u64, now: Moment) -> Duration {
        if amount <= self.room(rate, now) {
            return Duration::ZERO;
        }
        let level = self.level_at(rate, now);
        let over = if amount > rate.burst { level } else { level + amount as f64 - rate.burst as f64 };
        self.at.since(now).saturating_add(rate.span(over))
    }

    /// When nothing is used any more, if nothing more is.
    #[must_use]
    pub fn empty_at(&self, rate: &Rate, now: Moment) -> Moment {
        self.at.max(now).saturating_add(rate.span(self.level_at(rate, now)))
    }

    /// The meter in little-endian bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let bits = u128::from(self.at.as_nanos()) << 64 | u128::from(self.level.to_bits());
        bits.to_le_bytes()
    }

    /// The meter of [`Self::to_bytes`]. A level that none can be, of bytes from elsewhere, is nothing used: it must not lock anyone out.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let mut halves = bytes.as_chunks().0.iter().map(|half| u64::from_le_bytes(*half));
        let level = f64::from_bits(halves.next().unwrap_or(0));
        let at = Moment::from_nanos(halves.next().unwrap_or(0));
        Self { level: if level.is_finite() && level > 0.0 { level } else { 0.0 }, at }
    }

    /// What is still used. Time that went backwards lets nothing out.
    fn level_at(&self, rate: &Rate, now: Moment) -> f64 {
        (self.level - rate.per_second * now.since(self.at).as_secs_f64()).max(0.0)
    }
}

/// What may be above the burst, as a share of it, since doubles round: after [`Meter::wait`] the amount has to fit. A few roundings of
/// 2^-53 each are far below it, and it does not add up, as it stays in the level.
const SLACK: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_rate_lets_something_through() {
        for (per_second, burst) in
            [(0.0, 1), (-1.0, 1), (f64::NAN, 1), (f64::INFINITY, 1), (1.0, 0), (f64::NEG_INFINITY, 1)]
        {
            assert_eq!(Rate::new(per_second, burst), None, "{per_second} {burst}");
        }
        let rate = Rate::new(0.5, 1).unwrap();
        assert_eq!((rate.per_second(), rate.burst()), (0.5, 1));
    }

    #[test]
    fn what_is_given_back_is_free_again_and_no_more_than_that() {
        let rate = Rate::new(5.0, 20).unwrap();
        // Used before, taken, not used of that, given back after so many milliseconds, free then.
        for (used, taken, unused, held, room) in [
            (0, 20, 0, 0, 0),
            (0, 20, 5, 0, 5),
            (0, 20, 20, 0, 20),
            (10, 10, 10, 0, 10),
            (0, 20, 5, 1_000, 10),
            (0, 20, 15, 1_000, 20),
            // What has leaked has come again already.
            (10, 10, 10, 1_000, 10),
            (10, 10, 10, 9_000, 20),
        ] {
            let mut meter = Meter::default();
            assert!(meter.take(&rate, used + taken, millis(0)));
            meter.give_back(&rate, taken, unused, Duration::from_millis(held), millis(held));
            assert_eq!(meter.room(&rate, millis(held)), room, "{used} {taken} {unused} {held}");
        }
    }

    #[test]
    fn a_burst_fits_and_then_the_rate() {
        let rate = Rate::new(5.0, 20).unwrap();
        let mut meter = Meter::default();
        // Milliseconds, how much, whether it fits, how much fits afterwards.
        for (at, amount, fits, room) in [
            (0, 21, false, 20),
            (0, 20, true, 0),
            (0, 1, false, 0),
            (0, 0, true, 0),
            (199, 1, false, 0),
            (200, 1, true, 0),
            (399, 1, false, 0),
            (1_000, 4, true, 0),
            (500, 1, false, 0),
            (1_199, 1, false, 0),
            (1_400, 3, false, 2),
            (1_400, 2, true, 0),
            (3_600_000, 21, false, 20),
            (3_600_000, 19, true, 1),
        ] {
            assert_eq!(meter.take(&rate, amount, millis(at)), fits, "{at} {amount}");
            assert_eq!(meter.room(&rate, millis(at)), room, "{at} {amount}");
        }
    }

    #[test]
    fn what_is_waited_for_fits() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..20_000 {
            let (per_second, bits) = ((random(1_000_000) + 1) as f64 / 997.0, random(50));
            let rate = Rate::new(per_second, 1 + random(2 << bits)).unwrap();
            // Thirty years: all of it before the end of time.
            if rate.burst() as f64 / per_second > 1e9 {
                continue;
            }
            let mut now = Moment::from_nanos(random(1 << 60));
            let mut meter = Meter::default();
            for _ in 0..4 {
                let amount = 1 + random(rate.burst());
                let wait = meter.wait(&rate, amount, now);
                assert_eq!(meter.room(&rate, now) >= amount, wait.is_zero());
                // Where a hundredth less is more than rounding.
                if per_second * wait.as_secs_f64() > rate.burst() as f64 * 1e-9 {
                    assert!(meter.room(&rate, now.saturating_add(wait.mul_f64(0.99))) < amount);
                }
                now = now.saturating_add(wait);
                assert!(meter.take(&rate, amount, now), "{rate:?} {amount} {wait:?}");
            }
            let empty_at = meter.empty_at(&rate, now);
            assert_eq!(meter.room(&rate, empty_at), rate.burst());
        }
    }

    #[test]
    fn more_than_the_burst_waits_for_an_empty_meter() {
        let rate = Rate::new(10.0, 10).unwrap();
        let mut meter = Meter::default();
        assert_eq!(meter.wait(&rate, 11, millis(0)), Duration::ZERO);
        assert!(meter.take(&rate, 5, millis(0)));
        assert_eq!(meter.wait(&rate, 11, millis(100)), Duration::from_nanos(400_000_001));
        assert_eq!(meter.empty_at(&rate, millis(100)), Moment::from_nanos(500_000_001));
    }

    #[test]
    fn time_that_goes_backwards_changes_nothing() {
        let rate = Rate::new(10.0, 10).unwrap();
        let mut meter = Meter::default();
        assert!(meter.take(&rate, 5, millis(1_000)));
        assert_eq!(meter.room(&rate, millis(0)), 5);
        assert!(meter.take(&rate, 5, millis(0)));
        assert_eq!(meter.room(&rate, millis(1_000)), 0);
        assert_eq!(meter.wait(&rate, 1, millis(0)), Duration::from_nanos(1_100_000_001));
        assert_eq!(meter.empty_at(&rate, millis(0)), Moment::from_nanos(2_000_000_001));
    }

    #[test]
    fn the_slowest_rate_ends_at_the_end_of_time() {
        let rate = Rate::new(f64::MIN_POSITIVE, 1).unwrap();
        let mut meter = Meter::default();
        assert!(meter.take(&rate, 1, millis(0)));
        assert_eq!(meter.wait(&rate, 1, millis(1)), Duration::MAX);
        assert_eq!(meter.empty_at(&rate, millis(1)), Moment::from_nanos(u64::MAX));
    }

    #[test]
    fn bytes_hold_a_meter() {
        assert_eq!(Meter::from_bytes(&[0; 16]), Meter::default());
        let meter = Meter { level: 1.5, at: millis(7) };
        assert_eq!(Meter::from_bytes(&meter.to_bytes()), meter);
        for level in [f64::NAN, -f64::NAN, -1.0, -0.0, f64::INFINITY, f64::NEG_INFINITY] {
            let read = Meter::from_bytes(&Meter { level, at: millis(7) }.to_bytes());
            assert_eq!(read.level.to_bits(), 0, "{level}");
        }
    }
}
