//! Metrics, as the core names them. All are made when a policy is read: nothing that a peer says becomes a name.

use std::cell::RefCell;
use std::rc::Rc;

use core::time::Duration;

use crate::host::abi::{self, Hosted, MetricType};
use portcullis_core::effect::Metric;
use portcullis_core::policy::routes::Policies;

/// The metrics of one VM.
#[derive(Default)]
pub(crate) struct Telemetry {
    /// The closed set, in its order: what is counted most is found first.
    metrics: RefCell<Vec<(Metric, u32)>>,
    /// The counters of rules and protocols, in the order of their names.
    rules: RefCell<Vec<(Rc<str>, u32)>>,
}

impl Telemetry {
    /// Makes every metric that there always is, unless it is there.
    pub(crate) fn define_all(&self) -> Hosted<()> {
        let known_count = self.metrics.borrow().len();
        for metric in Metric::all().into_iter().skip(known_count) {
            let id = define(&metric)?;
            self.metrics.borrow_mut().push((metric, id));
        }
        Ok(())
    }

    /// Makes the counters of the rules that `policies` name, unless they are there.
    pub(crate) fn define_rules(&self, policies: &Policies) -> Hosted<()> {
        for name in policies.rule_names() {
            let Err(index) = self.find(name) else { continue };
            let id = define(&Metric::Rule(Rc::clone(name)))?;
            self.rules.borrow_mut().insert(index, (Rc::clone(name), id));
        }
        Ok(())
    }

    /// Counts, or takes one value of a histogram. A name without a metric is that of a protocol, found as a rule is.
    pub(crate) fn count(&self, metric: &Metric, count: i64) {
        let Some(id) = self.id(metric) else { return };
        let _ = match kind(metric) {
            MetricType::Counter | MetricType::Gauge => abi::increment_metric(id, count),
            MetricType::Histogram => abi::record_metric(id, u64::try_from(count).unwrap_or_default()),
        };
    }

    /// A tick took so long, in which its worker did nothing else.
    pub(crate) fn ticked(&self, span: Duration) {
        self.count(&Metric::TickMicros, i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
    }

    /// Gives a gauge the value that it has from now on.
    pub(crate) fn record(&self, metric: &Metric, value: u64) {
        if let Some(id) = self.id(metric) {
            let _ = abi::record_metric(id, value);
        }
    }

    fn id(&self, metric: &Metric) -> Option<u32> {
        if let Metric::Rule(name) = metric {
            let index = self.find(name).ok()?;
            return self.rules.borrow().get(index).map(|(_, id)| *id);
        }
        self.metrics.borrow().iter().find(|(own, _)| own == metric).map(|(_, id)| *id)
    }

    /// Where the counter of a rule stands, or else would.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.rules.borrow().binary_search_by(|(own, _)| (**own).cmp(name))
    }
}

const fn kind(metric: &Metric) -> MetricType {
    match metric {
        Metric::Active | Metric::Monitoring => MetricType::Gauge,
        Metric::HandshakeMicros | Metric::InspectMicros | Metric::MessageBytes(_) | Metric::TickMicros => {
            MetricType::Histogram
        }
        Metric::Bans
        | Metric::Bytes(_)
        | Metric::Closed(_)
        | Metric::Handshakes(_)
        | Metric::KeySets(_)
        | Metric::Logouts(_)
        | Metric::Messages(..)
        | Metric::Policies(_)
        | Metric::Refused(_)
        | Metric::Revocations(_)
        | Metric::Rule(_)
        | Metric::Spikes(_)
        | Metric::TicketsIssued
        | Metric::TicketsRedeemed
        | Metric::WouldRefuse(_) => MetricType::Counter,
    }
}

fn define(metric: &Metric) -> Hosted<u32> {
    abi::define_metric(kind(metric), &metric.name())
}
