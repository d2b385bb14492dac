//! What a skin has to do, in order.
//!
//! An effect that the host does not carry out ends the list: [`Gate::failed`](crate::gate::Gate::failed) says what is done instead. So what can fail
//! stands last, but for edits of headers, on whose success the rest depends.

use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;

use crate::ask::Ask;
use crate::time::Moment;
use crate::violation::Violation;
use crate::wire::Side;

/// One thing that a skin has to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Asks a service. Where it cannot be asked, there is no answer.
    Ask(Ask),
    /// Adds to a metric. A count that is lost costs nobody a connection.
    Count(Metric, i64),
    /// Says of the stream what the proxy's own log may print, by its name there. A host that does not take it tells less.
    Describe(Described),
    /// Changes the headers in hand.
    Edit(Vec<Edit>),
    /// Has the next tick come soon, since others have to be heard ([`crate::turn`]). Where the host does not, what waits has its turn with the
    /// ticks that there are.
    Hurry,
    /// Writes a line of log.
    Log(Level, String),
    /// Answers the request in place of the upstream: the last call into the host, which may call back from inside. Where it does not answer,
    /// the request stays where it is, and so does what the upstream says to one that has gone on.
    Reply(Reply),
    /// Ends the stream. A host that does not is asked again by nobody.
    Reset,
    /// Has [`Gate::tick`](crate::gate::Gate::tick) called then.
    WakeAt(Moment),
    /// Writes a frame to the client, whose writer was [`ClientWriter::Open`].
    Write(Vec<u8>),
}

/// What the proxy's own log may print, by its names there.
pub type Described = Vec<(&'static str, Cow<'static, str>)>;

/// Whether a frame of our own can be written to the client now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientWriter {
    /// It cannot.
    #[default]
    Busy,
    /// It can.
    Open,
}

/// What a call of the core leads to.
#[derive(Debug, Default)]
pub struct Effects {
    /// In the order in which they are carried out.
    pub list: Vec<Effect>,
    /// Whether [`Effect::Write`] may be among them.
    pub client_writer: ClientWriter,
}

impl Effects {
    /// None yet; frames can be written to the client as `client_writer` says.
    #[must_use]
    pub const fn new(client_writer: ClientWriter) -> Self {
        Self { list: Vec::new(), client_writer }
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    pub(crate) fn count(&mut self, metric: Metric, count: impl Into<i64>) {
        self.push(Effect::Count(metric, count.into()));
    }
}

/// What becomes of the headers in hand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// They go on. Outside of their callback: they are let go.
    Forward,
    /// They stay in the host.
    Hold,
    /// They stay there, and whatever comes behind them, until an answer is there.
    Wait,
}

/// What becomes of the bytes in hand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Onward {
    /// All of them go on as they came.
    All,
    /// They wait in the core, for a [turn](crate::gate::Gate::take_turn): none is left in hand.
    Kept,
    /// They stay where they are.
    Nothing,
    /// This goes on, and the rest is dropped or held by the core.
    Part(Passage),
}

/// How grave a line of log is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// For the operator's knowledge.
    Info,
    /// Somebody was refused.
    Warn,
}

impl From<Flow> for Onward {
    fn from(flow: Flow) -> Self {
        match flow {
            Flow::Forward => Self::All,
            Flow::Hold | Flow::Wait => Self::Nothing,
        }
    }
}

/// What a client that was one too many is told at least, for limits that do not say when it may come again: one that comes back at once is
/// refused once more.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// What it is told at most: a service may say thousands of years.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The answer to a request in place of the upstream's.
#[derive(Clone, Eq, PartialEq)]
pub struct Reply {
    /// Changes of the request first, as many as the host makes: for its own log alone.
    pub edits: Vec<Edit>,
    /// The HTTP status.
    pub status: u16,
    /// Why, in the words of the table of answers: for the proxy's own log.
    pub details: String,
    /// Its header fields.
    pub fields: Vec<(&'static str, String)>,
    /// Its body.
    pub body: String,
}

/// Its body may be a ticket.
impl core::fmt::Debug for Reply {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { status, details, body, .. } = self;
        write!(f, "Reply({status} {details}, {} bytes)", body.len())
    }
}

impl Reply {
    pub(crate) fn refusal(violation: Violation, retry_after: Option<Duration>, edits: Vec<Edit>) -> Self {
        let reason = violation.reason();
        let status = violation.answer().status.unwrap_or(500);
        let mut fields = vec![("content-type", "application/json".to_owned()), ("connection", "close".to_owned())];
        match status {
            401 => fields.push(("www-authenticate", "Bearer".to_owned())),
            426 => fields.push(("sec-websocket-version", "13".to_owned())),
            // In seconds (RFC 9110 §10.2.3), never too early.
            429 => {
                let retry_after = retry_after.unwrap_or_default().clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
                let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0));
                fields.push(("retry-after", seconds.to_string()));
            }
            _ => {}
        }
        Self {
            edits,
            status,
            details: format!("portcullis_{reason}"),
            fields,
            body: format!("{{\"error\": \"{reason}\"}}"),
        }
    }
}

/// The kinds of messages that are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A control frame.
    Control,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Text, Self::Binary, Self::Control];

    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Control => "control",
        }
    }
}

/// What is watched for spikes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Watched {
    /// Upgrades that came, let in or not.
    Handshakes,
    /// What was refused, before the upgrade and after.
    Failures,
    /// Messages and control frames of clients.
    Messages,
}

impl Watched {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Handshakes, Self::Failures, Self::Messages];

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handshakes => "handshakes",
            Self::Failures => "failures",
            Self::Messages => "messages",
        }
    }
}

/// A counter, but for two gauges and some histograms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Metric {
    /// Live connections: a gauge.
    Active,
    /// Connections that ended, for a violation or as their peers wanted.
    Closed(Option<Violation>),
    /// Handshakes that ended without a connection for a violation, or with one.
    Handshakes(Option<Violation>),
    /// How long it took from a request for an upgrade to its decision, in microseconds: a histogram.
    HandshakeMicros,
    /// How long it took to judge what a message says, in microseconds: a histogram.
    InspectMicros,
    /// Logouts that a provider has posted: whether they held.
    Logouts(bool),
    /// Refusals.
    Refused(Violation),
    /// Fetches of a list of what is revoked: whether they succeeded.
    Revocations(bool),
    /// Messages that matched a rule.
    Rule(Rc<str>),
    /// Bytes of a side.
    Bytes(Side),
    /// Fetches of a key set: whether they succeeded.
    KeySets(bool),
    /// How long messages of a side are, in bytes of payload as they came: a histogram.
    MessageBytes(Side),
    /// Messages and control frames of a side.
    Messages(Side, MessageKind),
    /// How many parts and rules of the policies are only monitored: a gauge.
    Monitoring,
    /// Policies that were read: whether they were taken.
    Policies(bool),
    /// Addresses whose failures reached the limit.
    Bans,
    /// More of it came than used to.
    Spikes(Watched),
    /// How long ticks take, in microseconds: a histogram.
    TickMicros,
    /// Tickets that were issued.
    TicketsIssued,
    /// Tickets that were redeemed.
    TicketsRedeemed,
    /// What passed and would have been refused.
    WouldRefuse(Violation),
}

impl Metric {
    /// All that do not depend on a policy: a closed set, so that nothing a peer says becomes a name.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Handshakes(None), Self::Active, Self::Closed(None), Self::TickMicros];
        all.extend([Self::Monitoring, Self::Policies(true), Self::Policies(false), Self::Bans]);
        all.extend([Self::HandshakeMicros, Self::InspectMicros]);
        all.extend([true, false].into_iter().flat_map(|outcome| [Self::Logouts(outcome), Self::Revocations(outcome)]));
        all.extend([Self::TicketsIssued, Self::TicketsRedeemed, Self::KeySets(true), Self::KeySets(false)]);
        for side in [Side::Client, Side::Server] {
            all.extend(MessageKind::ALL.map(|kind| Self::Messages(side, kind)));
            all.extend([Self::Bytes(side), Self::MessageBytes(side)]);
        }
        all.extend(Watched::ALL.map(Self::Spikes));
        for violation in Violation::ALL {
            all.push(Self::Handshakes(Some(violation)));
            all.push(Self::Refused(violation));
            all.push(Self::WouldRefuse(violation));
            all.push(Self::Closed(Some(violation)));
        }
        all
    }

    /// Its name in the host.
    #[must_use]
    pub fn name(&self) -> String {
        let from = |side: &Side| match side {
            Side::Client => "from_client",
            Side::Server => "from_server",
        };
        let (family, name) = match self {
            Self::Active => ("connections", "active"),
            Self::Bytes(side) => ("bytes", from(side)),
            Self::HandshakeMicros => return "portcullis.handshake_us".to_owned(),
            Self::InspectMicros => return "portcullis.inspect_us".to_owned(),
            Self::KeySets(true) => ("jwks", "fetched"),
            Self::KeySets(false) => ("jwks", "failed"),
            Self::MessageBytes(side) => ("message_bytes", from(side)),
            Self::Messages(Side::Client, kind) => ("messages.from_client", kind.name()),
            Self::Messages(Side::Server, kind) => ("messages.from_server", kind.name()),
            Self::Spikes(watched) => ("spikes", watched.name()),
            Self::Closed(violation) => ("connections.closed", violation.map_or("peer", Violation::reason)),
            Self::Handshakes(violation) => ("handshakes", violation.map_or("accepted", Violation::reason)),
            Self::Logouts(true) => ("logouts", "accepted"),
            Self::Logouts(false) => ("logouts", "refused"),
            Self::Refused(violation) => ("refused", violation.reason()),
            Self::Policies(true) => ("policies", "taken"),
            Self::Policies(false) => ("policies", "refused"),
            Self::Revocations(true) => ("revocations", "fetched"),
            Self::Revocations(false) => ("revocations", "failed"),
            Self::Rule(rule) => ("rules", &**rule),
            Self::Bans => return "portcullis.bans".to_owned(),
            Self::Monitoring => return "portcullis.monitoring".to_owned(),
            Self::TickMicros => return "portcullis.tick_us".to_owned(),
            Self::TicketsIssued => ("tickets", "issued"),
            Self::TicketsRedeemed => ("tickets", "redeemed"),
            Self::WouldRefuse(violation) => ("would_refuse", violation.reason()),
        };
        ["portcullis", family, name].join(".")
    }
}

/// One header field to be changed.
#[derive(Clone, Eq, PartialEq)]
pub struct Edit {
    /// The field, in lower case; pseudo-headers (`:path`) too.
    pub name: String,
    /// Its lines from now on; none takes the field away.
    pub values: Vec<Vec<u8>>,
}

impl Edit {
    /// The field `name` with one line.
    #[must_use]
    pub fn set(name: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), values: vec![value.into()] }
    }

    /// No field `name`.
    #[must_use]
    pub fn remove(name: &str) -> Self {
        Self { name: name.to_owned(), values: vec![] }
    }
}

impl core::fmt::Debug for Edit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Edit({}: {} lines)", self.name, self.values.len())
    }
}

/// What goes on of an arrived chunk: `before`, then its first `keep` bytes, then `after`. The rest of it is dropped, or held by
/// the session.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Passage {
    /// Bytes of earlier chunks.
    pub before: Vec<u8>,
    /// How many bytes of the chunk, from its start on.
    pub keep: usize,
    /// Bytes of earlier chunks and of this one, where a control frame went past a message that is held.
    pub after: Vec<u8>,
}
