//! One stream of the simulated skin, with what the proxy has of it. It mirrors `stream.rs`, `client_writer.rs` and `server_writer.rs` of the
//! proxy-wasm skin: gather, call the core once, carry out its effects.

use core::cell::{Cell, RefCell};
use std::borrow::Cow;
use std::rc::Rc;

use portcullis_core::ask::{Answer, Asker};
use portcullis_core::cluster::Bindings;
use portcullis_core::effect::{ClientWriter, Edit, Effect, Effects, Flow, Metric, Onward, Passage, Reply};
use portcullis_core::gate::{Arrival, Gate, Plugin};
use portcullis_core::handshake::{HttpVersion, Request};
use portcullis_core::http::headers::Headers;
use portcullis_core::limits::Share;
use portcullis_core::limits::admission::Peer;
use portcullis_core::policy::Policy;
use portcullis_core::port::HostError;
use portcullis_core::time::Timestamp;
use portcullis_core::violation::Violation;
use portcullis_core::wire::{Chunk, Side, Unreadable};

use crate::attempt::Attempt;
use crate::model::Way;
use crate::policy::Terms;
use crate::proxy::Proxy;
use crate::script::Writer;
use crate::vm::{Known, Vm};
use crate::{Bug, show};

/// A stream.
pub(crate) struct Stream {
    pub(crate) id: u32,
    plugin: Rc<Plugin>,
    gate: RefCell<Gate>,
    has_ended: Cell<bool>,
    is_waiting: Cell<bool>,
    /// A callback of the server runs: nothing can be written to the client.
    is_receiving: Cell<bool>,
    /// A call of the host about the client's direction failed: what its buffer holds is not known, so nothing is written to it.
    is_jammed: Cell<bool>,
    /// What the client's writer keeps until it is woken.
    waiting: RefCell<Option<(Vec<u8>, Share)>>,
    /// How often the client can be written to.
    pub(crate) writable: Writable,
    bug: Option<Bug>,
    /// A service was asked about its request.
    has_asked: Cell<bool>,
    /// Errors of the host before its request.
    first_error: u32,
    pub(crate) seen: RefCell<Seen>,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waits {
    /// What all who need it wait for; its subject has no slot yet.
    Together,
    /// A question of its own.
    Alone,
}

/// What was decided of a request.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) flow: Flow,
    pub(crate) refusal: Option<Violation>,
    pub(crate) is_served: bool,
    pub(crate) has_erred: bool,
    pub(crate) judged: Judged,
}

/// When a credential was judged, and what its worker could know then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// From then to then.
    pub(crate) dates: [Timestamp; 2],
    pub(crate) known: Known,
}

/// How often the client's writer is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Writable {
    Always,
    Never,
    Sometimes,
}

/// What the proxy and the peers see of a stream.
pub(crate) struct Seen {
    pub(crate) terms: Terms,
    pub(crate) attempt: Attempt,
    pub(crate) request: Vec<(String, Vec<u8>)>,
    pub(crate) is_forwarded: bool,
    pub(crate) is_answered: bool,
    pub(crate) is_up: bool,
    /// The slots of those that are counted are taken, as far as the model knows.
    pub(crate) has_slots: bool,
    /// It may have been let in as nobody, since no key is known.
    pub(crate) is_anonymous: bool,
    pub(crate) waits: Option<Waits>,
    pub(crate) judged: Judged,
    /// What nobody has checked yet.
    pub(crate) decided: Option<Decided>,
    pub(crate) replies: Vec<(Violation, bool)>,
    /// The filter has answered, and no refusal.
    pub(crate) is_served: bool,
    /// What it said, until that is noted.
    pub(crate) answer: Option<(u16, String)>,
    pub(crate) refusals: Vec<Violation>,
    pub(crate) ways: [Way; 2],
    pub(crate) writers: [Writer; 2],
    pub(crate) pings: Vec<Vec<u8>>,
    pub(crate) answered_count: usize,
    pub(crate) has_finished: [bool; 2],
    pub(crate) is_reset: bool,
    pub(crate) is_over: bool,
    /// Errors of the host while it ran.
    pub(crate) error_count: u32,
    pub(crate) opened_at: u64,
    pub(crate) reload_count: u32,
    /// A fault of what has to hold.
    pub(crate) fault: Option<String>,
}

/// Some bytes in hand, which the host may not give out.
struct Body<'a> {
    bytes: &'a [u8],
    proxy: &'a Proxy,
}

impl Chunk for Body<'_> {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn bytes(&self, offset: usize, len: usize) -> Result<Cow<'_, [u8]>, Unreadable> {
        if self.proxy.fails() {
            return Err(Unreadable);
        }
        self.bytes.bytes(offset, len)
    }
}

impl Stream {
    pub(crate) fn new(id: u32, vm: &Vm, writable: Writable, seen: Seen, bug: Option<Bug>) -> Self {
        let plugin = vm.plugin();
        let gate = RefCell::new(Gate::new(id, Rc::clone(&plugin)));
        Self {
            id,
            plugin,
            gate,
            has_ended: Cell::default(),
            is_waiting: Cell::default(),
            is_receiving: Cell::default(),
            is_jammed: Cell::default(),
            waiting: RefCell::default(),
            writable,
            bug,
            has_asked: Cell::default(),
            first_error: vm.proxy.error_count(),
            seen: RefCell::new(seen),
        }
    }

    /// Whether bytes of its client wait for a turn, as far as is known: [`Self::is_queued`] says when none do any more.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.is_waiting.get()
    }

    /// Whether it has a turn to come.
    pub(crate) fn is_queued(&self, is_queued: bool) {
        self.is_waiting.set(is_queued && self.is_waiting.get());
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.waiting.borrow().is_some()
    }

    /// The policy that it goes by.
    pub(crate) fn policy(&self) -> Option<Rc<Policy>> {
        self.gate.borrow().connection().map(|connection| Rc::clone(connection.policy()))
    }

    pub(crate) fn is_live(&self) -> bool {
        self.gate.borrow().connection().is_some()
    }

    /// What has to hold does not.
    fn blame(&self, fault: &str) {
        self.seen.borrow_mut().blame(fault.to_owned());
    }

    pub(crate) fn request_headers(&self, vm: &Vm, listener: u64) -> Flow {
        let proxy = &vm.proxy;
        let request = || {
            let seen = self.seen.borrow();
            if proxy.fails() {
                return Err(HostError);
            }
            let fields = seen.request.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())).collect();
            let peer = Peer::new(seen.attempt.address.as_bytes().to_vec());
            Ok(Request { headers: Headers::new(fields), protocol: HttpVersion::Http11, tls: false, end: false, peer })
        };
        let (errors, date) = (proxy.error_count(), proxy.date());
        let arrival = Arrival {
            request: request(),
            listener: b"listener".to_vec(),
            connection: listener,
            bindings: Bindings::default(),
        };
        let flow = self.run_head(vm, |gate, effects| gate.request(arrival, effects));
        self.seen.borrow_mut().error_count += proxy.error_count() - errors;
        self.let_go(vm, flow, date);
        flow
    }

    /// The request goes on, or is kept.
    fn let_go(&self, vm: &Vm, flow: Flow, began_at: Timestamp) {
        let waits = if self.has_asked.take() { Waits::Alone } else { Waits::Together };
        let mut seen = self.seen.borrow_mut();
        // What waits for an answer of its own was judged before.
        if seen.waits != Some(Waits::Alone) {
            seen.judged = Judged { dates: [began_at, vm.proxy.date()], known: vm.known.borrow().clone() };
        }
        seen.waits = (flow == Flow::Wait).then_some(waits);
        if flow != Flow::Wait {
            let has_erred = vm.proxy.error_count() > self.first_error;
            let Judged { dates: [date, _], known } = &seen.judged;
            let lacks_keys = seen.attempt.flaw(&seen.terms, *date, known.keys.as_ref()) == Some(Violation::Internal);
            seen.is_anonymous = seen.terms.is_published && seen.terms.is_fail_open && (lacks_keys || has_erred);
            let refusal = seen.replies.last().map(|(violation, _)| *violation);
            let is_served = seen.is_served;
            seen.decided = Some(Decided { flow, refusal, is_served, has_erred, judged: seen.judged.clone() });
        }
        let is_upgrade = seen.attempt.is_upgrade && !seen.terms.is_monitor;
        match flow {
            Flow::Forward => seen.is_forwarded = true,
            Flow::Wait => {}
            Flow::Hold => return,
        }
        // A fault of the host may have let it pass without any.
        let is_counted = !seen.terms.is_fail_open || seen.error_count == 0;
        seen.has_slots = is_upgrade && is_counted && !seen.is_over;
    }

    pub(crate) fn response_headers(&self, vm: &Vm, fields: Vec<(&str, &str)>) -> Flow {
        let read = || {
            if vm.proxy.fails() {
                return Err(HostError);
            }
            Ok(portcullis_core::testing::headers(&fields))
        };
        let flow = self.run_head(vm, |gate, effects| gate.response(read, effects));
        let is_live = self.is_live();
        let mut seen = self.seen.borrow_mut();
        if flow == Flow::Forward {
            seen.is_answered = true;
            seen.is_up = is_live;
            seen.has_slots &= is_live;
        }
        flow
    }

    /// Some bytes of a side come; `end`: nothing follows.
    pub(crate) fn body(&self, vm: &Vm, from: Side, bytes: &[u8], end: bool) {
        let body = Body { bytes, proxy: &vm.proxy };
        self.is_receiving.set(from == Side::Server);
        let onward = self.run_body(vm, from, &body, end);
        let passed = match onward {
            Onward::All => Some(bytes.to_vec()),
            Onward::Kept => {
                self.is_waiting.set(true);
                // The host is left without them.
                if vm.proxy.fails() {
                    self.instead(vm, Gate::failed);
                }
                None
            }
            Onward::Nothing => None,
            Onward::Part(Passage { before, keep, after }) => {
                self.is_waiting.set(self.is_waiting.get() && from == Side::Server);
                // What the writer keeps goes on before.
                let kept = if from == Side::Server { self.waiting.take() } else { None };
                let has_failed = vm.proxy.fails();
                if from == Side::Server {
                    self.is_jammed.set(has_failed);
                }
                if has_failed {
                    if self.bug == Some(Bug::ChunkLost) {
                        return self.is_receiving.set(false);
                    }
                    self.instead(vm, Gate::failed);
                    None
                } else {
                    let kept = kept.map(|(bytes, _)| bytes).unwrap_or_default();
                    Some([&kept[..], &before, &bytes[..keep], &after].concat())
                }
            }
        };
        self.is_receiving.set(false);
        let Some(passed) = passed else { return };
        if from == Side::Server && !end && !passed.is_empty() && self.is_live() && self.may_keep(vm, passed.len()) {
            let mut share = Share::new(Rc::clone(vm.worker.held()));
            share.set(passed.len());
            self.waiting.replace(Some((passed, share)));
            return;
        }
        self.pass(vm, from, &passed);
    }

    fn may_keep(&self, vm: &Vm, len: usize) -> bool {
        self.writable == Writable::Sometimes && vm.worker.held().has_room(len, 12_000) && vm.proxy.dice().one_in(4)
    }

    /// The proxy hands bytes on.
    fn pass(&self, vm: &Vm, from: Side, bytes: &[u8]) {
        let seen = &mut *self.seen.borrow_mut();
        if seen.is_over || bytes.is_empty() {
            return;
        }
        vm.proxy.journal().note(bytes, || format!("{}: {from:?} is passed on {}", self.id, show(bytes)));
        if seen.is_reset {
            seen.blame(format!("{from:?} passes {} of a connection that was reset", show(bytes)));
        }
        if !seen.is_up {
            if !seen.may_pass_unjudged(from) {
                seen.blame(format!("{from:?} passes {} of no connection", show(bytes)));
            }
            return;
        }
        let way = &mut seen.ways[index(from)];
        if let Err(fault) = way.pass(bytes, &mut seen.pings) {
            let described = way.describe();
            seen.blame(format!("{fault}; {described}"));
        }
    }

    /// The next turn of the event loop: the writer lets go what it keeps.
    pub(crate) fn wake(&self, vm: &Vm) {
        let waiting = self.waiting.take().filter(|_| !self.seen.borrow().is_reset);
        let Some((bytes, _)) = waiting else { return };
        if vm.proxy.fails() {
            self.is_jammed.set(true);
            self.instead(vm, Gate::failed);
        } else {
            self.pass(vm, Side::Server, &bytes);
        }
    }

    pub(crate) fn take_turn(&self, vm: &Vm) {
        let len_max = if vm.proxy.dice().one_in(2) { 16_384 } else { 40 };
        let Some((ready, effects)) = self.call(vm, |gate, effects| gate.take_turn(len_max, effects)) else { return };
        if self.carry_out_outside(vm, effects).is_some() || (ready.bytes.is_empty() && !ready.is_last) {
            return;
        }
        if vm.proxy.fails() {
            self.instead(vm, Gate::failed);
        } else {
            self.pass(vm, Side::Client, &ready.bytes);
        }
    }

    pub(crate) fn tick(&self, vm: &Vm) {
        if let Some(((), effects)) = self.call(vm, Gate::tick) {
            self.carry_out_outside(vm, effects);
        }
    }

    pub(crate) fn review(&self, vm: &Vm) {
        if let Some(((), effects)) = self.call(vm, |gate, effects| gate.review(effects)) {
            self.carry_out_outside(vm, effects);
        }
    }

    pub(crate) fn answered(&self, vm: &Vm, answer: Answer) {
        if vm.proxy.fails() || (self.bug == Some(Bug::AnswerLost) && matches!(answer, Answer::Shared)) {
            return;
        }
        let date = vm.proxy.date();
        let flow = self.run_head(vm, |gate, effects| gate.answered(answer, effects));
        let has_failed = flow == Flow::Forward && vm.proxy.fails();
        let flow = if has_failed { self.instead(vm, Gate::failed) } else { flow };
        self.let_go(vm, flow, date);
        // It was decided about all the same, and stays where it is.
        if has_failed {
            self.seen.borrow_mut().is_forwarded = false;
        }
    }

    /// The end, in whatever way.
    pub(crate) fn end(&self, vm: &Vm) {
        self.waiting.take();
        if self.bug == Some(Bug::SlotKept) && !self.seen.borrow().is_up {
            core::mem::forget(self.gate.replace(Gate::new(self.id, Rc::clone(&self.plugin))));
        }
        let mut seen = self.seen.borrow_mut();
        (seen.is_over, seen.has_slots) = (true, false);
        drop(seen);
        match self.call(vm, Gate::end) {
            Some(((), effects)) => drop(self.carry_out(vm, effects)),
            None => self.has_ended.set(true),
        }
    }

    fn call<T>(&self, vm: &Vm, call: impl FnOnce(&mut Gate, &mut Effects) -> T) -> Option<(T, Effects)> {
        let is_open = !self.is_receiving.get()
            && !self.is_jammed.get()
            && self.seen.borrow().is_up
            && match self.writable {
                Writable::Always => true,
                Writable::Never => false,
                Writable::Sometimes => self.is_kept() || !vm.proxy.dice().one_in(3),
            };
        let errors = vm.proxy.error_count();
        let mut effects = Effects::new(if is_open { ClientWriter::Open } else { ClientWriter::Busy });
        let outcome = call(&mut *self.gate.try_borrow_mut().ok()?, &mut effects);
        if self.has_ended.take() {
            self.gate.try_borrow_mut().ok()?.end(&mut effects);
        }
        self.seen.borrow_mut().error_count += vm.proxy.error_count() - errors;
        Some((outcome, effects))
    }

    fn run_head(&self, vm: &Vm, call: impl FnOnce(&mut Gate, &mut Effects) -> Flow) -> Flow {
        let Some((flow, effects)) = self.call(vm, call) else { return Flow::Hold };
        self.carry_out(vm, effects).unwrap_or(flow)
    }

    fn run_body(&self, vm: &Vm, from: Side, body: &Body<'_>, end: bool) -> Onward {
        let Some((onward, effects)) = self.call(vm, |gate, effects| gate.body(from, body, end, effects)) else {
            return Onward::Nothing;
        };
        self.carry_out(vm, effects).map_or(onward, Onward::from)
    }

    fn instead(&self, vm: &Vm, call: fn(&mut Gate, &mut Effects) -> Flow) -> Flow {
        self.seen.borrow_mut().error_count += 1;
        let Some((flow, effects)) = self.call(vm, call) else { return Flow::Hold };
        self.carry_out(vm, effects).unwrap_or(flow)
    }

    fn carry_out_outside(&self, vm: &Vm, effects: Effects) -> Option<Flow> {
        if effects.list.is_empty() {
            return None;
        }
        if vm.proxy.fails() { Some(self.instead(vm, Gate::failed)) } else { self.carry_out(vm, effects) }
    }

    fn carry_out(&self, vm: &Vm, effects: Effects) -> Option<Flow> {
        let mut instead = None;
        let is_open = effects.client_writer == ClientWriter::Open;
        for effect in effects.list {
            vm.proxy.journal().note(&[name(&effect)], || format!("{}: {effect:?}", self.id));
            match effect {
                Effect::Ask(ask) => {
                    if let Asker::Stream(_) = ask.asker {
                        self.has_asked.set(true);
                    }
                    if let Err(asker) = vm.ask(ask) {
                        for (_, answer) in vm.worker.answered(asker, Answer::None).streams {
                            self.seen.borrow_mut().error_count += 1;
                            instead = Some(self.run_head(vm, |gate, effects| gate.answered(answer, effects)));
                        }
                    }
                }
                Effect::Count(metric, count) => {
                    if let Metric::Refused(violation) = metric {
                        let count = usize::try_from(count).unwrap_or_default();
                        self.seen.borrow_mut().refusals.extend(core::iter::repeat_n(violation, count));
                    }
                    vm.count(&metric, count);
                }
                Effect::Describe(_) => {}
                Effect::Edit(edits) => {
                    if vm.proxy.fails() {
                        return Some(self.instead(vm, Gate::unedited));
                    }
                    self.edit(&edits);
                }
                Effect::Hurry => vm.hurry(),
                Effect::Log(..) => {}
                Effect::Reply(reply) => {
                    if self.reply(vm, &reply).is_err() {
                        return Some(self.instead(vm, Gate::failed));
                    }
                }
                Effect::Reset => {
                    if vm.proxy.fails() {
                        // The stream goes on, and the core has done with it: also where a tick came to that.
                        self.seen.borrow_mut().error_count += 1;
                    } else {
                        self.seen.borrow_mut().is_reset = true;
                        // Some hosts tell the end from inside of the call.
                        if vm.proxy.dice().one_in(2) {
                            self.end(vm);
                        }
                    }
                }
                Effect::WakeAt(at) => self.plugin.schedule(self.id, at),
                Effect::Write(bytes) => {
                    if !is_open {
                        self.blame("a frame is written to a client whose writer is busy");
                    }
                    if vm.proxy.fails() {
                        self.waiting.take();
                        self.is_jammed.set(true);
                        return Some(self.instead(vm, Gate::failed));
                    }
                    let kept = self.waiting.take().map(|(bytes, _)| bytes).unwrap_or_default();
                    self.pass(vm, Side::Server, &[&kept[..], &bytes].concat());
                    if self.bug == Some(Bug::CloseTwice) {
                        self.pass(vm, Side::Server, &bytes);
                    }
                }
            }
        }
        instead
    }

    /// Changes the headers in hand.
    fn edit(&self, edits: &[Edit]) {
        let seen = &mut *self.seen.borrow_mut();
        if seen.is_forwarded {
            return;
        }
        for Edit { name, values } in edits {
            seen.request.retain(|(own, _)| own != name);
            seen.request.extend(values.iter().map(|value| (name.clone(), value.clone())));
        }
    }

    /// Answers the request, as the last call into the host: it may call back from inside.
    fn reply(&self, vm: &Vm, reply: &Reply) -> Result<(), HostError> {
        let has_failed = vm.proxy.fails();
        let reason = reply.details.strip_prefix("portcullis_").unwrap_or_default();
        let violation = Violation::ALL.into_iter().find(|violation| violation.reason() == reason);
        {
            let mut seen = self.seen.borrow_mut();
            seen.has_slots = false;
            match violation {
                Some(violation) => seen.replies.push((violation, !has_failed)),
                None if seen.attempt.errand.is_none() => seen.blame(format!("a reply says {reason:?}")),
                None => {
                    seen.is_served = true;
                    seen.answer = (!has_failed).then(|| (reply.status, reply.body.clone()));
                }
            }
        }
        if has_failed {
            return Err(HostError);
        }
        let status = reply.status.to_string();
        let flow = self.response_headers(vm, vec![(":status", &status)]);
        if flow != Flow::Forward || self.is_live() {
            self.blame("our own reply does not go on");
        }
        Ok(())
    }
}

impl Seen {
    /// What has to hold does not.
    pub(crate) fn blame(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    /// Whether bytes may go on of what is no connection.
    fn may_pass_unjudged(&self, from: Side) -> bool {
        let is_judged = self.attempt.is_upgrade && !self.terms.is_monitor;
        let was_let_through = self.terms.is_fail_open && self.error_count > 0;
        // The answer of an upstream, or our own.
        let is_answer = from == Side::Server && self.is_answered && self.replies.iter().all(|(_, is_told)| *is_told);
        !is_judged || was_let_through || is_answer
    }
}

pub(crate) const fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

const fn name(effect: &Effect) -> u8 {
    match effect {
        Effect::Ask(_) => 1,
        Effect::Count(..) => 2,
        Effect::Edit(_) => 3,
        Effect::Hurry => 4,
        Effect::Log(..) => 5,
        Effect::Reply(_) => 6,
        Effect::Reset => 7,
        Effect::WakeAt(_) => 8,
        Effect::Write(_) => 9,
        Effect::Describe(_) => 10,
    }
}
