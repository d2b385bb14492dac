//! What a connection tells: counts of what came, lines of its beginning, its refusals and its end.

use std::rc::Rc;

use super::Connection;
use crate::docket::Overlooked;
use crate::effect::{Effect, Effects, Metric, Watched};
use crate::gate::worker::Worker;
use crate::mode::Mode;
use crate::record::{End, Scene};
use crate::refusal::Refusal;
use crate::violation::Part;
use crate::wire::Side;

impl Connection {
    /// Counts what came of a side: what is judged later is counted then.
    #[inline]
    pub(super) fn count(&mut self, worker: &Worker, from: Side, len: usize) {
        let counts = self.session.counts(from);
        let left = if from == Side::Client { self.session.left() } else { 0 };
        let len = len.saturating_sub(left);
        worker.watch.receive(from, counts, len);
        let sent = self.sent.of_mut(from);
        sent.messages = sent.messages.wrapping_add(counts.total().into());
        sent.bytes = sent.bytes.wrapping_add(len as u64);
    }

    #[cold]
    pub(super) fn report_passed(
        &mut self,
        worker: &Worker,
        from: Side,
        overlooked: Vec<Overlooked>,
        effects: &mut Effects,
    ) {
        for Overlooked { refusal, count, part: _ } in overlooked {
            let refusal = located(refusal, from);
            self.report_often(worker, &refusal, Some(from), (Mode::Monitor, count), effects);
        }
        for (refusal, count) in self.session.take_swallowed() {
            self.report_often(worker, &refusal, Some(from), (Mode::Enforce, count), effects);
        }
    }

    /// Reports what was refused of what a side sent.
    #[cold]
    pub(super) fn report_found(&self, worker: &Worker, refusal: Refusal, from: Side, effects: &mut Effects) {
        self.report(worker, &located(refusal, from), Some(from), Mode::Enforce, effects);
    }

    /// Counts and logs what was refused, or would have been.
    #[cold]
    pub(super) fn report(
        &self,
        worker: &Worker,
        refusal: &Refusal,
        from: Option<Side>,
        mode: Mode,
        effects: &mut Effects,
    ) {
        self.report_often(worker, refusal, from, (mode, 1), effects);
    }

    fn report_often(
        &self,
        worker: &Worker,
        refusal: &Refusal,
        from: Option<Side>,
        (mode, count): (Mode, u32),
        effects: &mut Effects,
    ) {
        let violation = refusal.violation;
        let metric = match mode {
            Mode::Enforce => Metric::Refused(violation),
            Mode::Monitor => Metric::WouldRefuse(violation),
        };
        effects.count(metric, count);
        worker.watch.note(Watched::Failures);
        if self.policy.log.refusals {
            self.log(
                worker,
                mode,
                |connection, of| connection.record.refused(of, refusal, from, (mode, count)),
                effects,
            );
        }
        if let Some(rule) = refusal.rule() {
            effects.count(Metric::Rule(Rc::clone(rule)), count);
        }
    }

    /// Writes a line, where its address has not had its share.
    #[cold]
    pub(super) fn log(
        &self,
        worker: &Worker,
        mode: Mode,
        line: impl FnOnce(&Self, Scene<'_>) -> Effect,
        effects: &mut Effects,
    ) {
        let write = || {
            let policy = self.policies.label(&self.policy);
            line(self, Scene { worker: worker.name, stream: self.id, policy: &policy })
        };
        worker.watch.log(self.record.group(), mode, worker.now(), write, effects);
    }

    /// The end of the stream.
    pub(in crate::gate) fn end(self, worker: &Worker, effects: &mut Effects) {
        let violation = self.session.violation();
        worker.counters.ended();
        effects.count(Metric::Closed(violation), 1);
        let (by, code) = match (violation, self.session.ended_by()) {
            (Some(violation), _) => ("filter", violation.answer().close_code),
            (None, Some((Side::Client, code))) => ("client", code),
            (None, Some((Side::Server, code))) => ("server", code),
            (None, None) => ("", None),
        };
        let mut end = End { violation, by, code, duration_millis: 0, sent: self.sent };
        effects.push(self.record.describe_end(&end));
        if self.policy.log.connections {
            let lived = worker.port.now().map(|now| now.since(self.opened_at)).unwrap_or_default();
            end.duration_millis = u64::try_from(lived.as_millis()).unwrap_or(u64::MAX);
            self.log(worker, Mode::Enforce, |connection, of| connection.record.closed(of, &end), effects);
        }
    }
}

/// The same with its whole path, which begins with the side's keys where it is of one.
fn located(mut refusal: Refusal, from: Side) -> Refusal {
    let is_of_side = refusal.violation.part() != Part::Limits;
    if let Some(cause) = refusal.cause.as_mut().filter(|cause| is_of_side && !cause.at.is_empty()) {
        let side = match from {
            Side::Client => "messages.from_client.",
            Side::Server => "messages.from_server.",
        };
        cause.at.insert_str(0, side);
    }
    refusal
}
