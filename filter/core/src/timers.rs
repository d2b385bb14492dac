//! When something is due, for as many things as there are connections: a hierarchical timer wheel.
//!
//! ```text
//! level 0   64 slots of a tick       ▢▢▣▢▢▢▢▢…   what is due in this block of 64 ticks
//! level 1   64 slots of 64 ticks     ▢▢▢▢▢▣▢▢…   … in this block of 64 × 64, but not in the one above
//! …                                              a slot that the time comes to is emptied into the levels above it
//! ```
//!
//! A step costs what is due, and a look at each level: never what is alive. A timer moves to a lower level at most once a level.
//!
//! Nothing is cancelled. An id is reported when it is due; its owner looks whether that still means something, and schedules it again
//! where it is due later. A timer that nobody wants any more costs one report. An id that is scheduled twice is reported twice.

use core::time::Duration;

use crate::time::Moment;

/// How exact timers are: what they tell (pings, deadlines of seconds) is none the worse for a twentieth of a second, and Envoy's own timers
/// are not exact to the millisecond under load.
pub const GRANULARITY: Duration = Duration::from_nanos(TICK_NANOS);

/// Times at which ids are due.
#[derive(Debug)]
pub struct Wheel {
    /// Up to when everything has been reported, or is overdue in level 0.
    tick: u64,
    levels: [Level; LEVELS],
    /// The lists of all slots, and one of those that are free: 16 bytes for each timer of the most that were ever alive.
    timers: Vec<Timer>,
    free: u32,
}

/// All slots of a level hold what is in its one block that the time is in, so none is before the time's own.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// The slots that are not empty, the first in the lowest bit.
    occupied: u64,
    /// The first timer of each.
    slots: [u32; SLOTS],
}

#[derive(Debug)]
struct Timer {
    due: u64,
    id: u32,
    /// The next of its list.
    next: u32,
}

impl Wheel {
    /// Nothing is due yet.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        let level = Level { occupied: 0, slots: [NONE; SLOTS] };
        Self { tick: now.as_nanos() / TICK_NANOS, levels: [level; LEVELS], timers: Vec::new(), free: NONE }
    }

    /// Has `id` reported once, at `at` or up to [`GRANULARITY`] later; what is past, with the next step.
    pub fn schedule(&mut self, id: u32, at: Moment) {
        let due = at.as_nanos().div_ceil(TICK_NANOS).max(self.tick);
        let timer = Timer { due, id, next: NONE };
        let mut index = self.free;
        match self.timers.get_mut(index as usize) {
            Some(free) => self.free = core::mem::replace(free, timer).next,
            None => {
                index = u32::try_from(self.timers.len()).unwrap_or(NONE);
                self.timers.push(timer);
            }
        }
        self.place(index);
    }

    /// Adds to `due` every id that is due at `now`, in no order. A time before the last one reports nothing.
    pub fn advance(&mut self, now: Moment, due: &mut Vec<u32>) {
        let target = now.as_nanos() / TICK_NANOS;
        if target < self.tick {
            return;
        }
        while let Some((level, slot, start)) = self.first()
            && start <= target
        {
            self.tick = start;
            let mut index = self.empty(level, slot);
            while let Some(timer) = self.timers.get_mut(index as usize) {
                let next = timer.next;
                if timer.due <= target {
                    due.push(timer.id);
                    timer.next = core::mem::replace(&mut self.free, index);
                } else {
                    self.place(index);
                }
                index = next;
            }
        }
        self.tick = target;
    }

    /// The first slot that is not empty, by level and number, and the tick that it begins with.
    fn first(&self) -> Option<(usize, u32, u64)> {
        let mut shift = 0;
        for (index, level) in self.levels.iter().enumerate() {
            if level.occupied != 0 {
                let slot = level.occupied.trailing_zeros();
                let block = self.tick & u64::MAX.wrapping_shl(SLOT_BITS.saturating_add(shift));
                return Some((index, slot, block | u64::from(slot).wrapping_shl(shift)));
            }
            shift = shift.saturating_add(SLOT_BITS);
        }
        None
    }

    /// Takes the list of a slot.
    fn empty(&mut self, level: usize, slot: u32) -> u32 {
        let Some(level) = self.levels.get_mut(level) else { return NONE };
        level.occupied &= !1_u64.wrapping_shl(slot);
        level.slots.get_mut(slot as usize).map_or(NONE, |first| core::mem::replace(first, NONE))
    }

    /// Puts a timer, which is in no list, where it belongs as seen from the time: the level is that of the highest digit in which they differ.
    fn place(&mut self, index: u32) {
        let tick = self.tick;
        let Some(timer) = self.timers.get_mut(index as usize) else { return };
        let digit = (timer.due ^ tick).checked_ilog2().unwrap_or(0) / SLOT_BITS;
        let slot = timer.due.wrapping_shr(digit.saturating_mul(SLOT_BITS)) & SLOT_MASK;
        let Some(level) = self.levels.get_mut(digit as usize) else { return };
        let Some(first) = usize::try_from(slot).ok().and_then(|slot| level.slots.get_mut(slot)) else { return };
        level.occupied |= 1 << slot;
        timer.next = core::mem::replace(first, index);
    }
}

/// No timer: the end of a list. As many timers would be 64 GiB.
const NONE: u32 = u32::MAX;

const TICK_NANOS: u64 = 50_000_000;

/// As many slots as a word has bits, so that the next that is not empty is found in one instruction.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 6;
const SLOT_MASK: u64 = 0b11_1111;

/// 42 bits of ticks: all that [`Moment`] can tell, 584 years, so that no time is beyond the wheel. It takes 2 KiB.
const LEVELS: usize = 7;
const _: () = assert!(((u64::MAX / TICK_NANOS).ilog2() / SLOT_BITS) as usize == LEVELS - 1);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOTHING: [u32; 0] = [];
    const YEAR: u64 = 365 * 24 * 3_600_000;

    fn millis(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn advance(wheel: &mut Wheel, now: Moment) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due.sort_unstable();
        due
    }

    #[track_caller]
    fn check(start: u64, at: u64, early: u64, late: u64) {
        let mut wheel = Wheel::new(millis(start));
        wheel.schedule(7, millis(at));
        assert_eq!(advance(&mut wheel, millis(early)), NOTHING, "{start} {at}");
        assert_eq!(advance(&mut wheel, millis(late)), [7], "{start} {at}");
        assert_eq!(advance(&mut wheel, millis(late + 10 * YEAR)), NOTHING, "{start} {at}");
    }

    #[test]
    fn an_id_is_reported_within_a_tick_and_never_early() {
        for start in [0, 49, 50, 3_199, 3_200, 12_345, 1_000_000_007, 40 * YEAR] {
            for after in [50, 100, 150, 3_150, 3_200, 3_250, 204_800, 13_107_200, YEAR, 3 * YEAR, 100 * YEAR] {
                let at = (start + after) / 50 * 50;
                check(start, at, (at - 1).max(start), at);
                check(start, at - 1, (at - 2).max(start), at);
                check(start, at + 1, at + 49, at + 50);
            }
        }
    }

    #[test]
    fn what_is_past_is_reported_with_the_next_step() {
        let mut wheel = Wheel::new(millis(1_000));
        wheel.schedule(1, millis(10));
        wheel.schedule(2, millis(1_000));
        assert_eq!(advance(&mut wheel, millis(1_000)), [1, 2]);
        wheel.schedule(3, millis(0));
        assert_eq!(advance(&mut wheel, millis(1_000)), [3]);
        wheel.schedule(4, millis(0));
        assert_eq!(advance(&mut wheel, millis(5_000)), [4]);
    }

    #[test]
    fn time_that_goes_backwards_does_nothing() {
        let mut wheel = Wheel::new(millis(1_000));
        wheel.schedule(1, millis(0));
        wheel.schedule(2, millis(2_000));
        assert_eq!(advance(&mut wheel, millis(0)), NOTHING);
        assert_eq!(advance(&mut wheel, millis(1_500)), [1]);
        assert_eq!(advance(&mut wheel, millis(500)), NOTHING);
        assert_eq!(advance(&mut wheel, millis(1_999)), NOTHING);
        assert_eq!(advance(&mut wheel, millis(2_000)), [2]);
    }

    #[test]
    fn the_end_of_time_is_not_beyond_the_wheel() {
        let end = Moment::from_nanos(u64::MAX);
        let mut wheel = Wheel::new(millis(0));
        wheel.schedule(1, end);
        wheel.schedule(2, Moment::from_nanos(u64::MAX / TICK_NANOS * TICK_NANOS));
        assert_eq!(advance(&mut wheel, end), [2]);
        let mut wheel = Wheel::new(end);
        wheel.schedule(1, millis(0));
        assert_eq!(advance(&mut wheel, end), [1]);
    }

    #[test]
    fn timers_that_were_reported_make_room() {
        let mut wheel = Wheel::new(millis(0));
        for round in 0..1_000 {
            for id in 0..100 {
                wheel.schedule(id, millis(round * 10_000 + u64::from(id) * 90));
            }
            assert_eq!(advance(&mut wheel, millis(round * 10_000 + 9_000)).len(), 100);
        }
        assert_eq!(wheel.timers.len(), 100);
        assert!(wheel.levels.iter().all(|level| level.occupied == 0 && level.slots == [NONE; SLOTS]));
    }

    #[test]
    fn a_step_with_nothing_due_allocates_nothing() {
        let mut wheel = Wheel::new(millis(0));
        (0..1_000).for_each(|id| wheel.schedule(id, millis(100_000_000 + u64::from(id))));
        let capacity = wheel.timers.capacity();
        let mut due = Vec::new();
        (0..1_000).for_each(|step| wheel.advance(millis(step * 99_999), &mut due));
        assert_eq!((due.capacity(), wheel.timers.capacity()), (0, capacity));
    }

    #[test]
    fn the_wheel_agrees_with_a_sorted_set() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..200 {
            let mut now = random(1_000_000_000_000_000);
            let mut wheel = Wheel::new(Moment::from_nanos(now));
            let mut model = BTreeSet::new();
            let mut id = 0;
            for _ in 0..500 {
                for _ in 0..random(4) {
                    let range = 1 << random(52);
                    let at = (now + random(range)).saturating_sub(random(100_000_000));
                    wheel.schedule(id, Moment::from_nanos(at));
                    model.insert((at.div_ceil(TICK_NANOS), id));
                    id += 1;
                }
                let step = 1 << random(50);
                now += random(step);
                let later = model.split_off(&(now / TICK_NANOS + 1, 0));
                let mut expected: Vec<u32> =
                    core::mem::replace(&mut model, later).iter().map(|timer| timer.1).collect();
                expected.sort_unstable();
                assert_eq!(advance(&mut wheel, Moment::from_nanos(now)), expected);
            }
        }
    }
}
