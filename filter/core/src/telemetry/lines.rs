//! How many lines are logged: a client that is refused 2,000 times a second must not fill a disk, nor hide others.
//!
//! Each address has a share, and all of a worker have one together. What is left out is counted, and told with a line of its own.

use core::time::Duration;

use crate::limits::rate::{Meter, Rate};
use crate::mode::Mode;
use crate::time::Moment;

/// Lines of one address: some for each connection of a household that comes back all at once, and then enough to see what it does.
const PER_ADDRESS: (f64, u64) = (20.0, 200);

/// Lines of a worker, some 400 bytes each.
const IN_ALL: (f64, u64) = (1_000.0, 4_000);

/// What is only monitored leaves one line in so many to what is enforced and to ends, of each share.
const SPARE: u64 = 4;

/// How many addresses are told apart, in 16 KiB: those beyond share a meter, and what is left of it.
const METERS: u64 = 1 << KEY_BITS;

/// So many bits tell the meters apart.
pub(super) const KEY_BITS: u32 = 10;

/// How often it is told at most how many lines were left out.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// The lines that each address may still cause, and all together.
#[derive(Debug)]
pub struct Lines {
    per_address: Option<Rate>,
    in_all: Option<Rate>,
    all: Meter,
    meters: Box<[Meter]>,
    left_out: u64,
    told_at: Option<Moment>,
}

impl Default for Lines {
    fn default() -> Self {
        let rate = |(per_second, burst)| Rate::new(per_second, burst);
        let meters = (0..METERS).map(|_| Meter::default()).collect();
        Self {
            per_address: rate(PER_ADDRESS),
            in_all: rate(IN_ALL),
            all: Meter::default(),
            meters,
            left_out: 0,
            told_at: None,
        }
    }
}

impl Lines {
    /// Whether a line may be written about what an address did, and what rules of this mode made of that. `key` spreads addresses, so that nobody can
    /// look for one that shares another's meter.
    pub fn admit(&mut self, key: u64, mode: Mode, now: Moment) -> bool {
        let index = usize::try_from(key % METERS).unwrap_or_default();
        let fits = |meter: &mut Meter, rate: &Option<Rate>| {
            rate.is_none_or(|rate| {
                let spare = if mode.enforces() { 0 } else { rate.burst() / SPARE };
                meter.room(&rate, now) > spare && meter.take(&rate, 1, now)
            })
        };
        let is_admitted = self.meters.get_mut(index).is_none_or(|meter| fits(meter, &self.per_address))
            && fits(&mut self.all, &self.in_all);
        if !is_admitted {
            self.left_out = self.left_out.saturating_add(1);
        }
        is_admitted
    }

    /// How many lines were left out, where it is time to tell.
    pub fn tell(&mut self, now: Moment) -> Option<u64> {
        if self.left_out == 0 || self.told_at.is_some_and(|at| now.since(at) < TELL_INTERVAL) {
            return None;
        }
        self.told_at = Some(now);
        Some(core::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default().saturating_add(Duration::from_millis(millis))
    }

    #[test]
    fn one_address_has_its_share_and_leaves_the_others_theirs() {
        let mut lines = Lines::default();
        let admitted = |lines: &mut Lines, key: u64, now: Moment| {
            (0..1_000).filter(|_| lines.admit(key, Mode::Enforce, now)).count()
        };
        assert_eq!(lines.tell(at(0)), None);
        assert_eq!(admitted(&mut lines, 7, at(0)), 200);
        assert_eq!(admitted(&mut lines, 8, at(0)), 200);
        assert_eq!(admitted(&mut lines, 7 + METERS, at(0)), 0, "the same meter");
        assert_eq!(lines.tell(at(0)), Some(2_600));
        assert_eq!(admitted(&mut lines, 7, at(1_000)), 20);
        assert_eq!(lines.tell(at(9_999)), None, "not yet");
        assert_eq!(lines.tell(at(10_000)), Some(980));
        assert_eq!(lines.tell(at(30_000)), None, "there is nothing to tell");
    }

    #[test]
    fn all_together_have_a_share_whatever_their_addresses() {
        let mut lines = Lines::default();
        assert_eq!((0..100_000).filter(|key| lines.admit(*key, Mode::Enforce, at(0))).count(), 4_000);
        assert_eq!((0..100_000).filter(|key| lines.admit(*key, Mode::Enforce, at(1_000))).count(), 1_000);
    }

    #[test]
    fn what_is_only_monitored_leaves_lines_to_what_is_enforced() {
        let mut lines = Lines::default();
        let admitted =
            |lines: &mut Lines, mode: Mode, now: Moment| (0..1_000).filter(|_| lines.admit(7, mode, now)).count();
        assert_eq!(admitted(&mut lines, Mode::Monitor, at(0)), 150);
        assert_eq!(admitted(&mut lines, Mode::Enforce, at(0)), 50);
        assert_eq!(admitted(&mut lines, Mode::Monitor, at(1_000)), 0);
        assert_eq!(admitted(&mut lines, Mode::Enforce, at(1_000)), 20);
        assert_eq!((0..100_000).filter(|key| lines.admit(*key, Mode::Monitor, at(9_000))).count(), 3_000);
    }
}
