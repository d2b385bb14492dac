//! What a worker watches of its connections, told with its ticks.

use core::cell::RefCell;

use super::lines::Lines;
use super::spikes::{Series, Spike, SpikeRules, Window};
use super::tally::{Counts, Sent, Tally};
use crate::effect::{Effect, Effects, MessageKind, Metric, Watched};
use crate::time::Moment;
use crate::wire::Side;

/// What a worker watches.
#[derive(Debug, Default)]
pub struct Watch {
    /// Spreads addresses.
    factor: u64,
    tally: Tally,
    lines: RefCell<Lines>,
    series: RefCell<[Series; Watched::ALL.len()]>,
    window: RefCell<Window>,
}

impl Watch {
    /// Nothing has come yet; `factor` is unpredictable.
    #[must_use]
    pub fn new(factor: u64) -> Self {
        Self { factor, ..Self::default() }
    }

    /// So much came of a side.
    #[inline]
    pub fn receive(&self, from: Side, counts: &Counts, len: usize) {
        self.tally.add(from, counts, len);
    }

    /// A handshake has come, or something was refused.
    pub fn note(&self, watched: Watched) {
        self.add(watched, 1);
    }

    /// Writes a line about a [group](crate::record::Record::group) of addresses, where that has not had its share of lines.
    pub fn log(&self, group: u64, now: Moment, line: impl FnOnce() -> Effect, effects: &mut Effects) {
        // Nobody knows which groups share a meter: the factor is fresh in each worker (Dietzfelbinger et al., 1997: multiply and shift).
        let key = group.wrapping_mul(self.factor | 1) >> 32;
        if self.lines.borrow_mut().admit(key, now) {
            effects.list.push(line());
        }
    }

    /// What is to be told by now: counts, and lines of JSON.
    pub fn tell(&self, rules: Option<SpikeRules>, now: Moment, counts: &mut Vec<(Metric, i64)>) -> Vec<String> {
        let mut count = |metric: Metric, count: u64| {
            if count > 0 {
                counts.push((metric, i64::try_from(count).unwrap_or(i64::MAX)));
            }
        };
        for side in [Side::Client, Side::Server] {
            let Sent { texts, binaries, controls, bytes } = self.tally.take(side);
            let kinds = [(MessageKind::Text, texts), (MessageKind::Binary, binaries), (MessageKind::Control, controls)];
            if side == Side::Client {
                self.add(Watched::Messages, texts.saturating_add(binaries).saturating_add(controls));
            }
            kinds.into_iter().for_each(|(kind, number)| count(Metric::Messages(side, kind), number));
            count(Metric::Bytes(side), bytes);
        }
        let mut records = Vec::new();
        if let Some(left_out) = self.lines.borrow_mut().tell(now) {
            records.push(format!("{{\"event\":\"unlogged\",\"lines\":{left_out}}}"));
        }
        let Some(SpikeRules { factor, window }) = rules else { return records };
        if !self.window.borrow_mut().has_ended(window, now) {
            return records;
        }
        for (watched, series) in Watched::ALL.iter().zip(self.series.borrow_mut().iter_mut()) {
            let Some(Spike { count: number, usual }) = series.end_window(factor) else { continue };
            count(Metric::Spikes(*watched), 1);
            let (name, seconds) = (watched.name(), window.as_secs_f64());
            records.push(format!(
                "{{\"event\":\"spike\",\"of\":\"{name}\",\"count\":{number},\"usual\":{usual:.1},\"window_s\":{seconds}}}"
            ));
        }
        records
    }

    fn add(&self, watched: Watched, number: u64) {
        for (own, series) in Watched::ALL.iter().zip(self.series.borrow_mut().iter_mut()) {
            if *own == watched {
                series.add(number);
            }
        }
    }
}
