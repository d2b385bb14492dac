//! What operators see: metrics from a closed set, and one JSON line for each refusal and each connection that ended.
//!
//! All metrics are made once, at configure time; nothing a peer says becomes a name. Lines carry reasons, addresses and
//! sizes, never a payload and never a credential, in printable ASCII.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use core::time::Duration;

use crate::host::abi::{self, Hosted, LogLevel, MetricType};
use portcullis_core::handshake::shown;
use portcullis_core::http::headers::Headers;
use portcullis_core::policy::Mode;
use portcullis_core::policy::routes::Policies;
use portcullis_core::token::Verified;
use portcullis_core::violation::Violation;

/// The longest text of a peer in a log line, in bytes: an origin or path beyond it tells nothing more.
const TEXT_LEN_MAX: usize = 256;

/// The metrics of one VM.
pub(crate) struct Telemetry {
    accepted: u32,
    active: u32,
    closed_by_peer: u32,
    tick_micros: u32,
    /// In the order of [`Violation::ALL`].
    reasons: Vec<(Violation, Reason)>,
    /// By the names of the rules of every policy so far.
    rules: RefCell<BTreeMap<Rc<str>, u32>>,
}

struct Reason {
    handshakes: u32,
    refused: u32,
    would_refuse: u32,
    closed: u32,
}

impl Telemetry {
    /// Makes every metric.
    pub(crate) fn define() -> Hosted<Self> {
        let mut reasons = Vec::with_capacity(Violation::ALL.len());
        for violation in Violation::ALL {
            let name = violation.reason();
            let reason = Reason {
                handshakes: counter("handshakes", name)?,
                refused: counter("refused", name)?,
                would_refuse: counter("would_refuse", name)?,
                closed: counter("connections.closed", name)?,
            };
            reasons.push((violation, reason));
        }
        Ok(Self {
            accepted: counter("handshakes", "accepted")?,
            active: abi::define_metric(MetricType::Gauge, "portcullis.connections.active")?,
            closed_by_peer: counter("connections.closed", "peer")?,
            tick_micros: abi::define_metric(MetricType::Histogram, "portcullis.tick_us")?,
            reasons,
            rules: RefCell::default(),
        })
    }

    /// Makes the counters of the rules that `policies` name.
    pub(crate) fn define_rules(&self, policies: &Policies) -> Hosted<()> {
        let mut rules = self.rules.borrow_mut();
        for name in policies.rule_names() {
            if !rules.contains_key(name) {
                rules.insert(Rc::clone(name), counter("rules", name)?);
            }
        }
        Ok(())
    }

    /// A handshake ended without a connection.
    pub(crate) fn handshake_refused(&self, violation: Violation) {
        self.count(violation, |reason| reason.handshakes);
        if violation != Violation::UpstreamRefused {
            self.count(violation, |reason| reason.refused);
        }
    }

    /// A live connection was refused something.
    pub(crate) fn connection_refused(&self, violation: Violation) {
        self.count(violation, |reason| reason.refused);
    }

    /// So many messages were too much, and went nowhere.
    pub(crate) fn swallowed(&self, count: u32) {
        for (_, reason) in self.reasons.iter().filter(|(own, _)| *own == Violation::RateExceeded) {
            add(reason.refused, count.into());
        }
    }

    /// Something passed in monitor mode that would have been refused, so often.
    pub(crate) fn would_refuse(&self, violation: Violation, count: u32) {
        for (_, reason) in self.reasons.iter().filter(|(own, _)| *own == violation) {
            add(reason.would_refuse, count.into());
        }
    }

    /// So many messages matched `rule`, which may also be the name of a protocol, which has no counter of its own.
    pub(crate) fn matched(&self, rule: &str, count: u32) {
        if let Some(metric) = self.rules.borrow().get(rule) {
            add(*metric, count.into());
        }
    }

    /// A connection is live.
    pub(crate) fn opened(&self) {
        add(self.accepted, 1);
        add(self.active, 1);
    }

    /// A live connection ended: for a violation, or as its peers wanted.
    pub(crate) fn closed(&self, violation: Option<Violation>) {
        add(self.active, -1);
        match violation {
            Some(violation) => self.count(violation, |reason| reason.closed),
            None => add(self.closed_by_peer, 1),
        }
    }

    /// A tick took so long, in which its worker did nothing else.
    pub(crate) fn ticked(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let _ = abi::record_metric(self.tick_micros, micros);
    }

    fn count(&self, violation: Violation, family: impl Fn(&Reason) -> u32) {
        for (_, reason) in self.reasons.iter().filter(|(own, _)| *own == violation) {
            add(family(reason), 1);
        }
    }
}

fn counter(family: &str, name: &str) -> Hosted<u32> {
    abi::define_metric(MetricType::Counter, &format!("portcullis.{family}.{name}"))
}

/// A count that is lost must not cost a connection.
fn add(metric: u32, offset: i64) {
    let _ = abi::increment_metric(metric, offset);
}

/// The client and request that a log line is about. Each connection keeps one all its life, so names are not among it.
pub(crate) struct Record {
    stream: u32,
    /// What is known, in the order of [`NAMES`], with spaces between, which no [`printable`] text has.
    texts: Box<str>,
}

/// The members of a line.
const NAMES: [&str; 7] = ["address", "host", "path", "origin", "request_id", "provider", "subject"];

impl Record {
    /// What is known from a request; `address` is the host's word for the client.
    pub(crate) fn new(stream: u32, address: &[u8], headers: &Headers, credential: Option<&Verified>) -> Self {
        let header = |name| headers.all(name).next().unwrap_or_default();
        let provider = credential.map(Verified::provider).unwrap_or_default();
        let subject = credential.and_then(Verified::subject).unwrap_or_default();
        let texts = [
            printable(address),
            printable(shown::host(header(":authority"))),
            shown::path(header(":path")),
            printable(&shown::origin(header("origin"))),
            printable(header("x-request-id")),
            printable(provider.as_bytes()),
            printable(subject.as_bytes()),
        ];
        Self { stream, texts: texts.join(" ").into_boxed_str() }
    }

    /// Logs a refusal, or what monitor mode let pass, with the rule or protocol that was found.
    pub(crate) fn refused(&self, violation: Violation, rule: Option<&str>, mode: Mode) {
        let event = match mode {
            Mode::Enforce => "refused",
            Mode::Monitor => "would_refuse",
        };
        let rule = rule.map(|rule| format!(",\"rule\":\"{rule}\"")).unwrap_or_default();
        self.write(LogLevel::Warn, event, violation.reason(), &rule);
    }

    /// Logs the end of a connection that lived for `millis`, and how often it broke a rule in monitor mode without a line of its own.
    pub(crate) fn closed(&self, violation: Option<Violation>, millis: u64, unlogged_count: u32) {
        let reason = violation.map_or("peer", Violation::reason);
        let unlogged = match unlogged_count {
            0 => String::new(),
            count => format!(",\"unlogged\":{count}"),
        };
        self.write(LogLevel::Info, "closed", reason, &format!(",\"duration_ms\":{millis}{unlogged}"));
    }

    fn write(&self, level: LogLevel, event: &str, reason: &str, more: &str) {
        let Self { stream, texts } = self;
        let known = NAMES.iter().zip(texts.split(' ')).filter(|(_, text)| !text.is_empty());
        let members: String = known.map(|(name, text)| format!(",\"{name}\":\"{text}\"")).collect();
        abi::log(
            level,
            &format!("{{\"event\":\"{event}\",\"stream\":{stream},\"reason\":\"{reason}\"{more}{members}}}"),
        );
    }
}

/// A peer's text as visible ASCII, everything else percent-encoded, cut at [`TEXT_LEN_MAX`]: no line breaks, escapes or
/// letters that run the other way reach a log, and nothing that ends a JSON string.
fn printable(text: &[u8]) -> String {
    let mut printable = String::new();
    for byte in text.iter().take(TEXT_LEN_MAX) {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'"' | b'%' | b'\\') => printable.push(char::from(*byte)),
            byte => printable.push_str(&format!("%{byte:02X}")),
        }
    }
    printable
}
