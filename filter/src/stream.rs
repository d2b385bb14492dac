//! The context of one stream, callback by callback: gather, call the core once, carry out its effects.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::client_writer::ClientWriter;
use crate::host::abi::{self, Action, BufferType, Hosted, MapType, StreamType};
use crate::host::body::Body;
use crate::host::headers;
use crate::plugin::PluginContext;
use crate::server_writer::ServerWriter;
use portcullis_core::ask::{Answer, Asker};
use portcullis_core::cluster::Bindings;
use portcullis_core::effect::{self, Effect, Effects, Flow, Onward, Passage, Reply};
use portcullis_core::gate::{Arrival, Gate};
use portcullis_core::handshake::{HttpVersion, Request};
use portcullis_core::limits::admission::Peer;
use portcullis_core::port::HostError;
use portcullis_core::wire::Side;

/// The context of one HTTP stream.
pub(crate) struct StreamContext {
    id: u32,
    plugin: Rc<PluginContext>,
    inner: RefCell<Inner>,
    /// The host told the end while this stream was borrowed.
    has_ended: Cell<bool>,
}

struct Inner {
    gate: Gate,
    /// Of a connection that is up.
    writers: Option<Box<Writers>>,
}

struct Writers {
    to_client: ClientWriter,
    to_server: ServerWriter,
}

impl StreamContext {
    pub(crate) fn new(id: u32, plugin: Rc<PluginContext>) -> Self {
        let inner = Inner { gate: Gate::new(id, Rc::clone(plugin.plugin())), writers: None };
        Self { id, plugin, inner: RefCell::new(inner), has_ended: Cell::default() }
    }

    pub(crate) fn request_headers(&self, end: bool) -> Action {
        let policies = self.plugin.plugin().policies();
        let arrival = arrival(end, policies.as_ref().map_or(&[], |policies| policies.aliases()));
        self.run_head(MapType::RequestHeaders, |gate, effects| gate.request(arrival, effects)).into()
    }

    pub(crate) fn response_headers(&self) -> Action {
        let read = || headers::read(MapType::ResponseHeaders);
        let flow = self.run_head(MapType::ResponseHeaders, |gate, effects| gate.response(read, effects));
        let Ok(mut inner) = self.inner.try_borrow_mut() else { return Action::Hold };
        if flow != Flow::Forward || inner.gate.connection().is_none() {
            return flow.into();
        }
        let mut to_client = ClientWriter::new(self.id);
        let action = to_client.open(&self.plugin);
        inner.writers = Some(Box::new(Writers { to_client, to_server: ServerWriter::default() }));
        action
    }

    pub(crate) fn request_body(&self, len: usize, end: bool) -> Action {
        let body = Body::new(BufferType::RequestBody, len);
        self.run_body(Side::Client, &body, end, |inner, passage| {
            let passed_len = body.apply(&[], passage)?;
            match (&mut inner.writers, passage) {
                (Some(writers), Some(_)) => writers.to_server.pass(passed_len, end),
                (Some(writers), None) => Ok(writers.to_server.pause()),
                // The core reads it, and the headers wait for what it says.
                (None, None) => Ok(Action::Hold),
                // The upstream answered itself.
                (None, Some(_)) => Ok(Action::Forward),
            }
        })
    }

    pub(crate) fn response_body(&self, len: usize, end: bool) -> Action {
        let body = Body::new(BufferType::ResponseBody, len);
        self.run_body(Side::Server, &body, end, |inner, passage| match (inner.gate.connection(), &mut inner.writers) {
            (Some(connection), Some(writers)) => writers.to_client.pass(&self.plugin, connection, &body, passage, end),
            (_, _) => Ok(Action::Hold),
        })
    }

    /// The next turn of the event loop, for a stream that asked for it.
    pub(crate) fn wake(&self) {
        let woken = self.with_writers(|writers| match writers.to_client.is_asleep() {
            true => self.take_context().and_then(|()| writers.to_client.wake(&self.plugin)),
            false => Ok(()),
        });
        if woken == Some(Err(HostError)) {
            self.instead(Gate::failed);
        }
    }

    /// A tick, for a stream whose client's bytes wait for it.
    pub(crate) fn take_turn(&self) {
        let ready = self.run_outside(|gate, effects| gate.take_turn(ServerWriter::WRITE_LEN, effects));
        let Some(ready) = ready.filter(|ready| !ready.bytes.is_empty() || ready.is_last) else { return };
        let written = self.with_writers(|writers| self.take_context().and_then(|()| writers.to_server.write(&ready)));
        if written == Some(Err(HostError)) {
            self.instead(Gate::failed);
        }
    }

    /// A time that this stream may have waited for.
    pub(crate) fn tick(&self) {
        self.run_outside(Gate::tick);
    }

    /// Live connections may go by other policies than before.
    pub(crate) fn review(&self) {
        if let Some(((), effects)) = self.call(|gate, effects| gate.review(effects)) {
            self.carry_out(MapType::RequestHeaders, effects);
        }
    }

    /// A service has answered about the request, or never will.
    pub(crate) fn answered(&self, answer: Answer) {
        // Where the host does not take it the request stays where it is.
        if self.take_context().is_err() {
            return;
        }
        let flow = self.run_head(MapType::RequestHeaders, |gate, effects| gate.answered(answer, effects));
        // The last call into the host: it may call back from inside.
        if flow == Flow::Forward && abi::continue_stream(StreamType::Request).is_err() {
            self.instead(Gate::failed);
        }
    }

    /// The end of the stream, in whatever way; later calls change nothing.
    pub(crate) fn end(&self) {
        let Ok(mut inner) = self.inner.try_borrow_mut() else {
            self.has_ended.set(true);
            return;
        };
        let writers = inner.writers.take();
        drop(inner);
        // Otherwise nobody would know: the host calls nothing before.
        if writers.is_some_and(|writers| writers.to_client.is_buffered() || !writers.to_server.is_free()) {
            match &*abi::property("response\0code_details").unwrap_or_default() {
                b"request_payload_too_large" => self.plugin.overflowed(StreamType::Request),
                b"response_payload_too_large" => self.plugin.overflowed(StreamType::Response),
                _ => {}
            }
        }
        if let Some(((), effects)) = self.call(Gate::end) {
            self.carry_out(MapType::RequestHeaders, effects);
        }
    }

    /// Makes the following calls speak of this stream.
    fn take_context(&self) -> Hosted<()> {
        abi::set_effective_context(self.id)
    }

    /// Does something with the writers of a connection that is up, unless the host calls back from inside of that.
    fn with_writers<T>(&self, act: impl FnOnce(&mut Writers) -> T) -> Option<T> {
        self.inner.try_borrow_mut().ok()?.writers.as_deref_mut().map(act)
    }

    /// Calls the core; `None` where the host calls back from inside of that.
    fn call<T>(&self, call: impl FnOnce(&mut Gate, &mut Effects) -> T) -> Option<(T, Effects)> {
        let inner = &mut *self.inner.try_borrow_mut().ok()?;
        let client_writer = inner.writers.as_ref().map(|writers| writers.to_client.state());
        let mut effects = Effects::new(client_writer.unwrap_or_default());
        let outcome = call(&mut inner.gate, &mut effects);
        if self.has_ended.take() {
            inner.gate.end(&mut effects);
        }
        Some((outcome, effects))
    }

    /// Calls the core about headers.
    fn run_head(&self, map: MapType, call: impl FnOnce(&mut Gate, &mut Effects) -> Flow) -> Flow {
        let Some((flow, effects)) = self.call(call) else { return Flow::Hold };
        self.carry_out(map, effects).unwrap_or(flow)
    }

    /// Calls the core about bytes; `pass` does in the host as it says: a part of them goes on, or none, where the core keeps them.
    fn run_body(
        &self,
        from: Side,
        body: &Body,
        end: bool,
        pass: impl FnOnce(&mut Inner, Option<&Passage>) -> Hosted<Action>,
    ) -> Action {
        let Ok(mut borrowed) = self.inner.try_borrow_mut() else { return Action::Hold };
        let inner = &mut *borrowed;
        let client_writer = match (&mut inner.writers, from) {
            (Some(writers), Side::Client) => writers.to_client.answer(),
            (_, _) => effect::ClientWriter::Busy,
        };
        let mut effects = Effects::new(client_writer);
        let mut onward = inner.gate.body(from, body, end, &mut effects);
        let mut writes = None;
        if !effects.list.is_empty() || self.has_ended.get() {
            drop(borrowed);
            writes = take_writes(&mut effects);
            onward = self.carry_out(MapType::RequestHeaders, effects).map_or(onward, Onward::from);
            let Ok(again) = self.inner.try_borrow_mut() else { return Action::Hold };
            borrowed = again;
        }
        let mut passed = match &onward {
            Onward::All => Ok(Action::Forward),
            Onward::Kept => pass(&mut borrowed, None),
            Onward::Nothing => Ok(Action::Hold),
            Onward::Part(passage) => pass(&mut borrowed, Some(passage)),
        };
        drop(borrowed);
        if let Some(writes) = writes
            && passed.is_ok()
            && self.carry_out(MapType::RequestHeaders, writes).is_some()
        {
            passed = Ok(Action::Hold);
        }
        if self.has_ended.take() {
            self.end();
        }
        passed.unwrap_or_else(|HostError| {
            self.instead(Gate::failed);
            Action::Hold
        })
    }

    /// Calls the core outside of this stream's callbacks. Gives what comes of it, where all its effects are carried out.
    fn run_outside<T>(&self, call: impl FnOnce(&mut Gate, &mut Effects) -> T) -> Option<T> {
        let (outcome, effects) = self.call(call)?;
        if effects.list.is_empty() {
            return Some(outcome);
        }
        let instead = match self.take_context() {
            Ok(()) => self.carry_out(MapType::RequestHeaders, effects),
            Err(HostError) => Some(self.instead(Gate::failed)),
        };
        instead.is_none().then_some(outcome)
    }

    /// Has the core say what is done instead of what failed.
    fn instead(&self, call: fn(&mut Gate, &mut Effects) -> Flow) -> Flow {
        self.run_head(MapType::RequestHeaders, call)
    }

    /// Carries out effects, and where one fails what is done instead: then this gives what becomes of the headers in hand.
    fn carry_out(&self, map: MapType, effects: Effects) -> Option<Flow> {
        let mut instead = None;
        for effect in effects.list {
            match effect {
                Effect::Ask(ask) => {
                    let is_shared = matches!(ask.asker, Asker::Inquiry(_));
                    if let Err(asker) = self.plugin.ask(ask) {
                        for (_, answer) in self.plugin.shared().worker.answered(asker, Answer::None).streams {
                            instead = Some(self.run_head(map, |gate, effects| gate.answered(answer, effects)));
                        }
                    }
                    // What is asked for others, too, is asked in the name of the plugin.
                    if is_shared && self.take_context().is_err() {
                        return Some(self.instead(Gate::failed));
                    }
                }
                Effect::Count(metric, count) => self.plugin.shared().telemetry.count(&metric, count),
                // Where the host does not take it, its own log says less.
                Effect::Describe(known) => {
                    for (name, text) in known {
                        let _ = abi::set_property(name, &text);
                    }
                }
                Effect::Edit(edits) => {
                    if headers::apply(map, &edits).is_err() {
                        return Some(self.instead(Gate::unedited));
                    }
                }
                Effect::Hurry => self.plugin.hurry(),
                Effect::Log(level, line) => abi::log(level.into(), &line),
                Effect::Reply(reply) => {
                    if send(map, &reply).is_err() {
                        return Some(self.instead(Gate::failed));
                    }
                }
                Effect::Reset => drop(self.take_context().and_then(|()| abi::close_stream(StreamType::Response))),
                Effect::WakeAt(at) => self.plugin.plugin().schedule(self.id, at),
                Effect::Write(bytes) => {
                    if self.write(&bytes).is_err() {
                        return Some(self.instead(Gate::failed));
                    }
                }
            }
        }
        instead
    }

    fn write(&self, bytes: &[u8]) -> Hosted<()> {
        self.with_writers(|writers| writers.to_client.write(bytes)).unwrap_or(Ok(()))
    }
}

/// Takes the effects from the first frame of our own on. They are carried out when the bytes in hand have been dealt with: once the host goes on
/// with the client's direction, Envoy has forgotten which bytes its callback is about.
fn take_writes(effects: &mut Effects) -> Option<Effects> {
    let first = effects.list.iter().position(|effect| matches!(effect, Effect::Write(_)))?;
    let list = effects.list.split_off(first);
    Some(Effects { list, ..Effects::new(effects.client_writer) })
}

/// What the host tells of the request in hand.
fn arrival(end: bool, aliases: &[Rc<str>]) -> Arrival {
    let property = |name: &str| abi::property(name).unwrap_or_default();
    let request = || {
        Ok(Request {
            headers: headers::read(MapType::RequestHeaders)?,
            protocol: HttpVersion::from_name(&property("request\0protocol")),
            // Absent on plain text; an error counts as absent.
            tls: !property("connection\0tls_version").is_empty(),
            end,
            peer: Peer::new(property("source\0address")),
        })
    };
    Arrival {
        listener: [property("destination\0address"), property("xds\0filter_chain_name")].join(&0),
        // Without its number it is taken for a new one.
        connection: property("connection\0id").first_chunk().map_or(u64::MAX, |number| u64::from_le_bytes(*number)),
        bindings: Bindings::read(aliases, |alias| property(&[EXTENSION_BACKENDS, alias].concat())),
        request: request(),
    }
}

/// The property of a route's metadata whose members are aliases, as Envoy Gateway names the clusters of a policy's `backends`.
const EXTENSION_BACKENDS: &str = "xds\0route_metadata\0filter_metadata\0gateway.envoyproxy.io/extension-backends\0";

/// Answers the request in place of the upstream, as the last call into the host: it may call back from inside.
fn send(map: MapType, reply: &Reply) -> Hosted<()> {
    let Reply { edits, status, details, fields, body } = reply;
    headers::try_apply(map, edits);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    abi::send_local_response(*status, details, body, &headers::serialize(&fields))
}
