//! Metrics, as the core names them. All are made when a policy is read: nothing that a peer says becomes a name.

use std::cell::RefCell;

use core::time::Duration;

use crate::host::abi::{self, Hosted, MetricType};
use portcullis_core::effect::Metric;
use portcullis_core::policy::routes::Policies;

/// The metrics of one VM, in the order of their names.
#[derive(Default)]
pub(crate) struct Telemetry(RefCell<Vec<(String, u32)>>);

impl Telemetry {
    /// Makes every metric, and the counters of the rules that `policies` name, unless they are there.
    pub(crate) fn define(&self, policies: &Policies) -> Hosted<()> {
        let mut metrics = Metric::all();
        metrics.extend(policies.rule_names().map(|name| Metric::Rule(name.clone())));
        for metric in metrics {
            let name = metric.name();
            let Err(index) = self.find(&name) else { continue };
            let kind = match metric {
                Metric::Active => MetricType::Gauge,
                Metric::TickMicros => MetricType::Histogram,
                Metric::Closed(_)
                | Metric::Handshakes(_)
                | Metric::Logouts(_)
                | Metric::Refused(_)
                | Metric::Revocations(_)
                | Metric::Rule(_)
                | Metric::TicketsIssued
                | Metric::TicketsRedeemed
                | Metric::WouldRefuse(_) => MetricType::Counter,
            };
            let id = abi::define_metric(kind, &name)?;
            self.0.borrow_mut().insert(index, (name, id));
        }
        Ok(())
    }

    /// Counts. A name without a metric is that of a protocol, found as a rule is.
    pub(crate) fn count(&self, metric: &Metric, count: i64) {
        if let Ok(id) = self.id(metric) {
            let _ = abi::increment_metric(id, count);
        }
    }

    /// A tick took so long, in which its worker did nothing else.
    pub(crate) fn ticked(&self, span: Duration) {
        if let Ok(id) = self.id(&Metric::TickMicros) {
            let _ = abi::record_metric(id, u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
        }
    }

    fn id(&self, metric: &Metric) -> Result<u32, usize> {
        let index = self.find(&metric.name())?;
        self.0.borrow().get(index).map(|(_, id)| *id).ok_or(index)
    }

    /// Where the metric of a name stands, or else would.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.borrow().binary_search_by(|(own, _)| own.as_str().cmp(name))
    }
}
