//! What a worker watches of its connections, told with its ticks.

use core::cell::RefCell;

use super::lines::{KEY_BITS, Lines};
use super::samples::Samples;
use super::spikes::{Series, Spike, SpikeRules, Window};
use super::tally::{Counts, Sent, Tally};
use crate::effect::{Effect, Effects, MessageKind, Metric, Watched};
use crate::mode::Mode;
use crate::time::Moment;
use crate::wire::{Side, Sides};

/// What a worker watches.
#[derive(Debug, Default)]
pub struct Watch {
    /// Spreads addresses.
    factor: u64,
    tally: Tally,
    message_lens: Sides<Samples>,
    inspections: Samples,
    lines: RefCell<Lines>,
    series: RefCell<[Series; Watched::ALL.len()]>,
    window: RefCell<Window>,
}

impl Watch {
    /// Nothing has come yet; `factor` is unpredictable.
    #[must_use]
    pub fn new(factor: u64) -> Self {
        let message_lens = Sides { client: Samples::new(factor), server: Samples::new(!factor) };
        Self { factor, message_lens, inspections: Samples::new(factor.rotate_left(32)), ..Self::default() }
    }

    /// So much came of a side.
    #[inline]
    pub fn receive(&self, from: Side, counts: &Counts, len: usize) {
        self.tally.add(from, counts, len);
    }

    /// How long messages of a side are.
    #[inline]
    pub const fn message_lens(&self, from: Side) -> &Samples {
        self.message_lens.of(from)
    }

    /// How long it takes to judge what messages say, in microseconds.
    pub const fn inspections(&self) -> &Samples {
        &self.inspections
    }

    /// A handshake has come, or something was refused.
    pub fn note(&self, watched: Watched) {
        self.add(watched, 1);
    }

    /// Writes a line about a [group](crate::record::Record::group) of addresses and what rules of this mode made of it, where it has not had its share.
    pub fn log(&self, group: u64, mode: Mode, now: Moment, line: impl FnOnce() -> Effect, effects: &mut Effects) {
        // Nobody knows which groups share a meter: the factor is fresh in each worker, and all bits of a group reach the highest of the product
        // (Dietzfelbinger et al., 1997: multiply and shift).
        let key = group.wrapping_mul(self.factor | 1) >> u64::BITS.saturating_sub(KEY_BITS);
        if self.lines.borrow_mut().admit(key, mode, now) {
            effects.list.push(line());
        }
    }

    /// What is to be told by now: counts, and lines of JSON.
    pub fn tell(&self, rules: Option<SpikeRules>, now: Moment, counts: &mut Vec<(Metric, i64)>) -> Vec<String> {
        for side in [Side::Client, Side::Server] {
            self.message_lens(side).tell(&Metric::MessageBytes(side), counts);
        }
        self.inspections.tell(&Metric::InspectMicros, counts);
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::effect::Level;

    const RULES: SpikeRules = SpikeRules { factor: 4.0, window: Duration::from_secs(10) };

    fn at(seconds: u64) -> Moment {
        Moment::default().saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_spike_is_told_as_json_and_counted_unless_nobody_asks() {
        for (rules, expected) in [(Some(RULES), 1), (None, 0)] {
            let (watch, mut counts, mut records) = (Watch::default(), Vec::new(), Vec::new());
            for window in 0..9 {
                (0..if window == 8 { 90 } else { 10 }).for_each(|_| watch.note(Watched::Failures));
                records.extend(watch.tell(rules, at(10 * window), &mut counts));
            }
            let records: Vec<serde_json::Value> =
                records.iter().map(|record| serde_json::from_str(record).unwrap()).collect();
            let spike =
                serde_json::json!({"event": "spike", "of": "failures", "count": 90, "usual": 10.4, "window_s": 10});
            assert_eq!((records.len(), counts.len()), (expected, expected), "{records:?} {counts:?}");
            assert!(records.iter().all(|record| record["of"] == spike["of"] && record["count"] == spike["count"]));
            assert!(counts.iter().all(|count| *count == (Metric::Spikes(Watched::Failures), 1)));
        }
    }

    #[test]
    fn what_has_no_line_is_told_with_one() {
        let (watch, mut effects) = (Watch::new(0x9e37_79b9_7f4a_7c15), Effects::default());
        let line = || Effect::Log(Level::Warn, String::new());
        (0..300).for_each(|_| watch.log(0x0a00_0005 << 32, Mode::Enforce, at(0), line, &mut effects));
        assert_eq!(effects.list.len(), 200);
        // Others have their own, also where an address ends in the same bits.
        for (index, group) in [0x0a00_0006 << 32, 0x0b00_0005 << 32, 0x2001_0db8_0a00_0005].into_iter().enumerate() {
            watch.log(group, Mode::Enforce, at(0), line, &mut effects);
            assert_eq!(effects.list.len(), 201 + index, "{group:x}");
        }
        let mut counts = Vec::new();
        assert_eq!(watch.tell(None, at(1), &mut counts), [r#"{"event":"unlogged","lines":100}"#]);
        assert_eq!((watch.tell(None, at(60), &mut counts), counts), (vec![], vec![]));
    }
}
