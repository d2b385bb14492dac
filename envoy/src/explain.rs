//! What the filter decides about a handshake and about messages, without a proxy: the core itself, with a host in memory.
//!
//! Services are not asked: a judgement that waits for one is told as such. Counts begin at zero with each call, those of a rate limit service
//! too, so limits of what comes within some time are not met.

use core::cell::RefCell;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use portcullis_core::ask::{Answer, Ask, Question};
use portcullis_core::cluster::Bindings;
use portcullis_core::config::Parsed;
use portcullis_core::effect::{ClientWriter, Edit, Effect, Effects, Flow, Metric, Onward};
use portcullis_core::gate::{Arrival, Gate, Plugin, Worker};
use portcullis_core::handshake::{HttpVersion, Request};
use portcullis_core::http::headers::Headers;
use portcullis_core::limits::admission::Peer;
use portcullis_core::port::{Cell, HostError, Port};
use portcullis_core::time::{Moment, Timestamp};
use portcullis_core::violation::Violation;
use portcullis_core::wire::{Chunk, Side, Unreadable};
use serde_json::Value;

/// A handshake, as a proxy would show it to the filter.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// All header fields in order, pseudo-headers among them.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The client's address, with or without a port.
    pub address: String,
    /// Whether it comes over TLS.
    pub tls: bool,
}

/// Why something is refused, or would be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reason {
    /// What the client did wrong.
    pub violation: Violation,
    /// Whether it is only monitored.
    pub is_monitored: bool,
    /// What the log says of it, unless the policy turns that off or the connection has had as many lines as it may.
    pub line: Option<Value>,
}

/// What is decided about a handshake.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Explained {
    /// Whether it goes on to the upstream.
    pub passes: bool,
    /// Why it is refused, or would be without monitor mode: an enforced one is the last.
    pub reasons: Vec<Reason>,
    /// The status and the body of the answer in place of the upstream's.
    pub reply: Option<(u16, String)>,
    /// What the upstream sees, where it passes.
    pub upstream: Vec<(Vec<u8>, Vec<u8>)>,
    /// The services that would have to be asked first, by what asks them.
    pub asks: Vec<String>,
}

/// What is decided about a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judged {
    /// Whether it goes on to the upstream.
    pub passes: bool,
    /// Whether it ends the connection.
    pub ends: bool,
    /// Why it is refused, or would be without monitor mode: an enforced one is the last.
    pub reasons: Vec<Reason>,
}

/// What explains by one policy, at one time.
#[derive(Debug)]
pub struct Explainer {
    plugin: Rc<Plugin>,
    stream: u32,
}

impl Explainer {
    /// Explains by `parsed`, at `date` in seconds of Unix time.
    ///
    /// # Errors
    /// [`HostError`] where the core does not take the host in memory.
    pub fn new(parsed: Parsed, date: u64) -> Result<Self, HostError> {
        let port = Rc::new(MemoryPort { date, data: RefCell::default() });
        let plugin = Rc::new(Plugin::new(Rc::new(Worker::new(port as Rc<_>))));
        plugin.configure(b"explain".to_vec(), parsed, 0, MOMENT)?;
        Ok(Self { plugin, stream: 0 })
    }

    /// What is decided about a handshake.
    pub fn handshake(&mut self, handshake: &Handshake) -> Explained {
        let (mut gate, explained) = self.request(handshake);
        gate.end(&mut Effects::default());
        explained
    }

    /// What is decided about text messages of the client, up to one that ends the connection, behind a handshake that the upstream answers as it should, with `subprotocol`. Behind
    /// one that is refused there are no more.
    pub fn messages(
        &mut self,
        handshake: &Handshake,
        subprotocol: Option<&str>,
        texts: &[&str],
    ) -> (Explained, Vec<Judged>) {
        let (mut gate, explained) = self.request(handshake);
        let mut judged = Vec::new();
        if explained.passes {
            let accept = accept(&explained.upstream).unwrap_or_default();
            let mut answer = vec![(":status", "101"), ("connection", "Upgrade"), ("upgrade", "websocket")];
            answer.push(("sec-websocket-accept", &accept));
            answer.extend(subprotocol.map(|name| ("sec-websocket-protocol", name)));
            let answer = answer.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            let mut effects = Effects::new(ClientWriter::Open);
            gate.response(|| Ok(Headers::new(answer)), &mut effects);
            for text in texts {
                let frame = Frame(frame(text.as_bytes()));
                let mut effects = Effects::new(ClientWriter::Open);
                let onward = gate.body(Side::Client, &frame, false, &mut effects);
                if onward == Onward::Kept {
                    gate.take_turn(usize::MAX, &mut effects);
                }
                let reasons = reasons(&effects.list);
                let passes = match &onward {
                    Onward::All => true,
                    Onward::Part(passage) => passage.keep == frame.0.len(),
                    Onward::Kept => reasons.iter().all(|reason| reason.is_monitored),
                    Onward::Nothing => false,
                };
                let refusal = reasons.last().filter(|reason| !reason.is_monitored);
                // What `limits.on_excess: drop` swallows has no Close towards the upstream in its place.
                let is_swallowed = match &onward {
                    Onward::Part(passage) => passage.after.is_empty(),
                    Onward::All | Onward::Kept | Onward::Nothing => false,
                };
                let ends = refusal.is_some_and(|own| own.violation != Violation::RateExceeded || !is_swallowed);
                judged.push(Judged { passes, ends, reasons });
                if ends {
                    break;
                }
            }
        }
        gate.end(&mut Effects::default());
        (explained, judged)
    }

    fn request(&mut self, handshake: &Handshake) -> (Gate, Explained) {
        self.stream = self.stream.wrapping_add(1);
        let mut gate = Gate::new(self.stream, Rc::clone(&self.plugin));
        let request = Request {
            headers: Headers::new(handshake.fields.clone()),
            protocol: HttpVersion::Http11,
            tls: handshake.tls,
            end: false,
            peer: Peer::new(handshake.address.clone().into_bytes()),
        };
        let policies = self.plugin.policies();
        // What no route names here goes by its alias.
        let aliases = policies.as_ref().map_or(&[][..], |policies| policies.aliases());
        let bindings = Bindings::read(aliases, |alias| alias.as_bytes().to_vec());
        let connection = self.stream.into();
        let arrival = Arrival { request: Ok(request), listener: Vec::new(), connection, bindings };
        let mut effects = Effects::new(ClientWriter::Busy);
        let mut flow = gate.request(arrival, &mut effects);
        while let Some(index) = effects.list.iter().position(asks_rate_limits) {
            effects.list.remove(index);
            flow = gate.answered(Answer::Grpc(UNDER_LIMIT.to_vec()), &mut effects);
        }
        let mut explained = Explained { passes: flow == Flow::Forward, ..Explained::default() };
        explained.reasons = reasons(&effects.list);
        explained.upstream.clone_from(&handshake.fields);
        for effect in effects.list {
            match effect {
                Effect::Edit(edits) => edits.iter().for_each(|edit| apply(&mut explained.upstream, edit)),
                Effect::Reply(reply) => explained.reply = Some((reply.status, reply.body)),
                Effect::Ask(Ask { question: Question::Http(request), .. }) => {
                    explained.asks.push(format!("the cluster {}", request.cluster));
                }
                Effect::Ask(..)
                | Effect::Count(..)
                | Effect::Describe(_)
                | Effect::Hurry
                | Effect::Log(..)
                | Effect::Reset
                | Effect::WakeAt(_)
                | Effect::Write(_) => {}
            }
        }
        (gate, explained)
    }
}

/// A `RateLimitResponse` whose `overall_code` is `OK` (rls.proto of Envoy).
const UNDER_LIMIT: [u8; 2] = [0x08, 0x01];

fn asks_rate_limits(effect: &Effect) -> bool {
    matches!(effect, Effect::Ask(Ask { question: Question::RateLimit { .. }, .. }))
}

/// What is counted, each with its own line of log.
fn reasons(effects: &[Effect]) -> Vec<Reason> {
    let lines = effects.iter().filter_map(|effect| match effect {
        Effect::Log(_, text) => serde_json::from_str::<Value>(text).ok(),
        _ => None,
    });
    let mut lines: Vec<Value> = lines.collect();
    let mut reasons = Vec::new();
    for effect in effects {
        let Effect::Count(metric, _) = effect else { continue };
        let (violation, is_monitored) = match metric {
            Metric::Refused(violation) => (*violation, false),
            Metric::WouldRefuse(violation) => (*violation, true),
            _ => continue,
        };
        let event = if is_monitored { "would_refuse" } else { "refused" };
        let is_it = |line: &Value| line["event"] == event && line["reason"] == violation.reason();
        let line = lines.iter().position(is_it).map(|index| lines.remove(index));
        reasons.push(Reason { violation, is_monitored, line });
    }
    reasons.sort_by_key(|reason| !reason.is_monitored);
    reasons
}

/// Changes header fields as a host does: the first line of the field keeps its place.
fn apply(fields: &mut Vec<(Vec<u8>, Vec<u8>)>, edit: &Edit) {
    let is_it = |name: &[u8]| name.eq_ignore_ascii_case(edit.name.as_bytes());
    let place = fields.iter().position(|(name, _)| is_it(name)).unwrap_or(fields.len());
    fields.retain(|(name, _)| !is_it(name));
    for (index, value) in edit.values.iter().enumerate() {
        fields.insert(place.saturating_add(index).min(fields.len()), (edit.name.clone().into_bytes(), value.clone()));
    }
}

/// What a server answers to the key of a handshake (RFC 6455 §4.2.2).
fn accept(fields: &[(Vec<u8>, Vec<u8>)]) -> Option<String> {
    use base64::Engine as _;
    use sha1::Digest as _;
    let (_, key) = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"sec-websocket-key"))?;
    let digest = sha1::Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    Some(base64::engine::general_purpose::STANDARD.encode(digest))
}

/// A text message of a client in one frame (RFC 6455 §5.2).
fn frame(payload: &[u8]) -> Vec<u8> {
    let len = match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..126), _) => vec![0x80 | len],
        (_, Ok(len)) => [&[0x80 | 126][..], &len.to_be_bytes()].concat(),
        (_, Err(_)) => [&[0x80 | 127][..], &(payload.len() as u64).to_be_bytes()].concat(),
    };
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let masked = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    [0x81].into_iter().chain(len).chain(key).chain(masked).collect()
}

struct Frame(Vec<u8>);

impl Chunk for Frame {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn bytes(&self, offset: usize, len: usize) -> Result<Cow<'_, [u8]>, Unreadable> {
        let end = offset.checked_add(len).ok_or(Unreadable)?;
        self.0.get(offset..end).map(Cow::Borrowed).ok_or(Unreadable)
    }
}

/// The time on the clock that never goes back: it stands still.
const MOMENT: Moment = Moment::from_nanos(1_000_000_000_000);

#[derive(Debug)]
struct MemoryPort {
    date: u64,
    data: RefCell<BTreeMap<Cell, (Vec<u8>, u32)>>,
}

impl Port for MemoryPort {
    fn now(&self) -> Result<Moment, HostError> {
        Ok(MOMENT)
    }

    fn date(&self) -> Result<Timestamp, HostError> {
        Ok(Timestamp::from_secs(self.date))
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        getrandom::getrandom(bytes).map_err(|_| HostError)
    }

    fn memory_len(&self) -> usize {
        0
    }

    fn shared(&self, cell: Cell) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        Ok(self.data.borrow().get(&cell).cloned())
    }

    fn share(&self, cell: Cell, bytes: &[u8], version: Option<u32>) -> Result<bool, HostError> {
        let mut data = self.data.borrow_mut();
        let known = data.get(&cell).map(|(_, version)| *version);
        if version.is_some() && known.is_some() && version != known {
            return Ok(false);
        }
        data.insert(cell, (bytes.to_vec(), known.unwrap_or_default().wrapping_add(1)));
        Ok(true)
    }

    fn verify_signature(&self, _: &[u8]) -> Result<Vec<u8>, HostError> {
        Err(HostError)
    }
}
