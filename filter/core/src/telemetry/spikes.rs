//! When something comes more often than it used to: each count of a window against the average of those before it, of which the later ones weigh
//! more (an exponentially weighted moving average).

use core::time::Duration;

use crate::time::Moment;

/// How much of the average the last window is: of what was usual an hour ago little is left after ten windows.
const WEIGHT: f64 = 0.2;

/// How many windows have to have been, before one of them can be out of the ordinary.
const WINDOWS_MIN: u32 = 5;

/// What is no spike, whatever was usual: a night of one handshake a minute and then five.
const COUNT_MIN: f64 = 20.0;

/// What counts as a spike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpikeRules {
    /// How many times as many as usual.
    pub factor: f64,
    /// In how long.
    pub window: Duration,
}

/// How often something came.
#[derive(Debug, Default)]
pub struct Series {
    count: u64,
    usual: f64,
    windows: u32,
    is_spiking: bool,
}

/// More came in a window than used to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spike {
    /// How often it came.
    pub count: u64,
    /// How often it comes usually, in a window.
    pub usual: f64,
}

impl Series {
    /// It came so often.
    pub const fn add(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
    }

    /// A window is over. Gives a spike where one begins; one that goes on is told once.
    pub fn end_window(&mut self, factor: f64) -> Option<Spike> {
        let count = core::mem::take(&mut self.count) as f64;
        let usual = self.usual;
        let most = (usual * factor).max(COUNT_MIN);
        let is_spiking = self.windows >= WINDOWS_MIN && count > most;
        // What is out of the ordinary becomes usual slowly, so that an attack of some windows does not hide the next.
        let heard = if self.windows >= WINDOWS_MIN { count.min(most) } else { count };
        let weight = if self.windows == 0 { 1.0 } else { WEIGHT };
        self.usual = usual + (heard - usual) * weight;
        self.windows = self.windows.saturating_add(1);
        let was_spiking = core::mem::replace(&mut self.is_spiking, is_spiking);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a count before")]
        (is_spiking && !was_spiking).then_some(Spike { count: count as u64, usual })
    }
}

/// The windows, one behind the other.
#[derive(Debug, Default)]
pub struct Window {
    begin: Option<Moment>,
}

impl Window {
    /// Whether one has ended.
    pub fn has_ended(&mut self, len: Duration, now: Moment) -> bool {
        let has_ended = self.begin.is_some_and(|begin| now.since(begin) >= len);
        if has_ended || self.begin.is_none() {
            self.begin = Some(now);
        }
        has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows in which a spike of these counts begins.
    fn spikes(counts: &[u64]) -> Vec<usize> {
        let mut series = Series::default();
        let begins = counts.iter().enumerate().filter(|(_, count)| {
            series.add(**count);
            series.end_window(4.0).is_some()
        });
        begins.map(|(index, _)| index).collect()
    }

    #[test]
    fn a_spike_is_told_when_it_begins() {
        let calm = [10; 8];
        assert_eq!(spikes(&[&calm[..], &[40]].concat()), [0; 0]);
        assert_eq!(spikes(&[&calm[..], &[41]].concat()), [8]);
        assert_eq!(spikes(&[&calm[..], &[500, 500, 500, 10, 10, 500]].concat()), [8, 13]);
        // What grows slowly is no spike.
        assert_eq!(spikes(&(0..40).map(|index| 1 << (index / 4)).collect::<Vec<u64>>()), [0; 0]);
    }

    #[test]
    fn neither_a_start_nor_a_quiet_night_is_one() {
        assert_eq!(spikes(&[0, 1_000, 0, 5_000, 1]), [0; 0]);
        assert_eq!(spikes(&[&[0; 100][..], &[20]].concat()), [0; 0]);
        assert_eq!(spikes(&[&[0; 100][..], &[21]].concat()), [100]);
    }

    #[test]
    fn windows_follow_one_another() {
        let at = |millis: u64| Moment::default().saturating_add(Duration::from_millis(millis));
        let mut window = Window::default();
        let ends: Vec<u64> = (0..35)
            .map(|tenth| tenth * 100)
            .filter(|millis| window.has_ended(Duration::from_secs(1), at(*millis)))
            .collect();
        assert_eq!(ends, [1_000, 2_000, 3_000]);
    }
}
