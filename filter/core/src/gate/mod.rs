//! One HTTP stream from its request to its end.
//!
//! ```text
//!          request                   response
//!   Idle ──┬─ upgrade ──▶ Pending ──┬─ 101 ────────▶ Live        (where a service is asked, Asking comes before)
//!          │                        ├─ other ──────▶ Answered   (the answer passes, further request bytes do not)
//!          ├─ no upgrade ─▶ Passing └─ bad 101 ────▶ Refused
//!          ├─ logout ─────▶ Reading ─── the body ──▶ Refused    (it may be Asking in between)
//!          └─ refused ────▶ Refused                           (our own reply passes, nothing else does)
//! ```
//!
//! A skin calls [`Gate::request`], [`Gate::response`] and [`Gate::body`] as they come, [`Gate::tick`], [`Gate::take_turn`] and
//! [`Gate::answered`] when they are due, [`Gate::failed`] where the host did not carry out an effect, and [`Gate::end`] at the end. Each call
//! leads to [`Effects`], which are carried out when it has returned: a host that calls back from inside of one finds the stream in the phase
//! that it is in then.

mod connection;
mod memory;
mod proof;
mod server_pace;
mod worker;

use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;

use crate::ask::{Answer, Ask, Asker, Rest, Step, Wait};
use crate::cluster::Bindings;
use crate::effect::{Edit, Effect, Effects, Flow, Metric, Onward, Passage, Reply, Watched};
use crate::handshake::{
    self, Capacity, Decision, FORM_LEN_MAX, Hearing, LogoutRequest, Opened, Opening, Pending, Request,
};
use crate::http::headers::Headers;
use crate::limits::Share;
use crate::limits::admission::{Admissions, Applicant, Peer};
use crate::limits::counters::Slot;
use crate::limits::lease::Subject;
use crate::mode::Mode;
use crate::policy::routes::Policies;
use crate::policy::{Fail, Policy};
use crate::port::{self, HostError};
use crate::record::{Record, Scene};
use crate::refusal::Refusal;
use crate::session::Birth;
use crate::succession::Listener;
use crate::time::Moment;
use crate::violation::Violation;
use crate::wire::{Chunk, Side, Unreadable};

pub use connection::{Connection, Ready};
pub use server_pace::ServerPace;
pub use worker::{Answered, Plugin, Ticked, Worker, take_batch};

/// A request that has come, as the host tells of it.
#[derive(Debug)]
pub struct Arrival {
    /// What it asks for.
    pub request: Result<Request, HostError>,
    /// The name of the listener that it came to, which tells it from others.
    pub listener: Vec<u8>,
    /// The host's number of the connection that it came over; where the host gives none, the highest.
    pub connection: u64,
    /// What its route names the [aliases](Policies::aliases) of the policies.
    pub bindings: Bindings,
}

/// One stream.
#[derive(Debug)]
pub struct Gate {
    id: u32,
    plugin: Rc<Plugin>,
    phase: Phase,
    /// The slots that it has among those that are counted.
    slots: Box<[Slot]>,
    /// What a fault does before the connection is up.
    fail: Fail,
}

#[derive(Debug)]
enum Phase {
    /// No request yet.
    Idle,
    /// Not judged any more: no upgrade, or a fault before the connection was up, under `fail: open`.
    Passing,
    /// The request waits in the host for an answer.
    Asking(Box<Asking>),
    /// The request waits in the host for its body, which is read here.
    Reading(Box<Reading>),
    /// The upgrade is with the upstream.
    Pending(Box<Upgrade>),
    /// The connection is up.
    Live(Box<Connection>),
    /// The upstream answered itself.
    Answered,
    /// We answered, or have to.
    Refused,
    /// We had to, and the host did not take the answer: nothing goes on any more, whatever the upstream says.
    Unanswered,
}

/// A request whose body is read.
#[derive(Debug)]
struct Reading {
    policy: Rc<Policy>,
    request: LogoutRequest,
    context: Context,
    body: Vec<u8>,
    /// What of the worker's memory it takes.
    share: Share,
    until: Moment,
}

/// How long a body may take: a provider sends some hundred bytes at once.
const READING_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that waits for an answer.
#[derive(Debug)]
struct Asking {
    rest: Rest<(Opening, Room)>,
    context: Context,
}

/// Where a request came from and to, and what it is decided by there.
#[derive(Debug)]
struct Context {
    listener: Rc<Listener<Policies>>,
    policies: Rc<Policies>,
    peer: Peer,
    /// When it came.
    since: Moment,
}

/// An upgrade that was not refused.
#[derive(Debug)]
struct Upgrade {
    listener: Rc<Listener<Policies>>,
    policies: Rc<Policies>,
    pending: Pending,
    record: Record,
    subject: Subject,
}

impl Gate {
    /// The stream that the host calls `id`, below `plugin`.
    #[must_use]
    pub fn new(id: u32, plugin: Rc<Plugin>) -> Self {
        let fail = plugin.policies().map_or(Fail::Closed, |policies| policies.fail(None));
        Self { id, plugin, phase: Phase::Idle, slots: Box::default(), fail }
    }

    /// Decides about the request.
    pub fn request(&mut self, arrival: Arrival, effects: &mut Effects) -> Flow {
        if !matches!(self.phase, Phase::Idle) {
            return Flow::Hold;
        }
        let plugin = Rc::clone(&self.plugin);
        let Worker { port, held, counters, identity, .. } = &**plugin.worker();
        let Some(policies) = plugin.policies() else { return self.fault(effects) };
        self.fail = policies.fail(None);
        let since = port.now().unwrap_or_else(|_| plugin.worker().now());
        let listener = plugin.listener(&arrival.listener, arrival.connection, &policies, since);
        let Ok(request) = arrival.request else { return self.fault(effects) };
        let policies = plugin.worker().bound(&policies, || Rc::new(arrival.bindings));
        let Ok(nonce) = port::random(&**port) else {
            self.fail = handshake::fail(&policies, &request);
            return self.fault(effects);
        };
        let peer = request.peer.clone();
        let worker = plugin.worker();
        let has_bare_address =
            !worker.has_told_address.get() && peer.address().is_some() && !request.headers.has("x-forwarded-for");
        let admissions = Admissions::new(Rc::clone(counters), peer.clone());
        let capacity = Room { before: port.memory_len(), admissions, has_bare_address, plugin: Rc::clone(&plugin) };
        let (held, identity) = (Rc::clone(held), Rc::clone(identity));
        let hearing = Hearing { policies: Rc::clone(&policies), request, held, identity, nonce, capacity };
        let (fail, step) = handshake::check(hearing);
        if let Step::Asks(..) = step {
            self.fail = fail;
        }
        self.follow(step, Context { listener, policies, peer, since }, effects)
    }

    /// The answer to the question about the request, or about a credential in a message, is there, or will never be.
    pub fn answered(&mut self, answer: Answer, effects: &mut Effects) -> Flow {
        if let Phase::Live(connection) = &mut self.phase {
            connection.answered(&self.plugin, answer, effects);
            return Flow::Hold;
        }
        match self.take_phase() {
            Phase::Asking(asking) => {
                let Asking { rest, context } = *asking;
                self.follow(rest.answer(answer), context, effects)
            }
            phase => {
                self.phase = phase;
                Flow::Hold
            }
        }
    }

    /// Decides about the upstream's answer; `headers` gives its fields, and is asked only where they matter.
    pub fn response(&mut self, headers: impl FnOnce() -> Result<Headers, HostError>, effects: &mut Effects) -> Flow {
        match self.take_phase() {
            Phase::Idle | Phase::Asking(_) => self.fault(effects),
            Phase::Pending(upgrade) => match self.open(*upgrade, headers, effects) {
                Ok(flow) => flow,
                Err(HostError) => self.fault(effects),
            },
            Phase::Unanswered => {
                self.phase = Phase::Unanswered;
                Flow::Hold
            }
            // The host's own answer: the request has not gone on.
            Phase::Reading(_) => {
                self.phase = Phase::Answered;
                Flow::Forward
            }
            // Our own reply, or an answer that is not ours to judge.
            phase => {
                self.phase = phase;
                Flow::Forward
            }
        }
    }

    /// Judges the next bytes of one side; `end`: it sends nothing any more, which over HTTP/2 does not end the stream.
    #[inline]
    pub fn body(&mut self, from: Side, chunk: &dyn Chunk, end: bool, effects: &mut Effects) -> Onward {
        match (&mut self.phase, from) {
            (Phase::Live(connection), _) => connection.receive(&self.plugin, from, chunk, end, effects),
            (Phase::Passing, _) | (Phase::Answered | Phase::Refused, Side::Server) => Onward::All,
            // Before the first body callback of an upgrade there is an empty one.
            (Phase::Pending(_), Side::Client) if chunk.is_empty() && !end => Onward::All,
            (Phase::Pending(_), Side::Client) => self.early_bytes(effects),
            (Phase::Reading(_), Side::Client) => self.read(chunk, end, effects),
            (Phase::Asking(_) | Phase::Refused, Side::Client) | (Phase::Unanswered, _) => Onward::Nothing,
            (Phase::Answered, Side::Client) if chunk.is_empty() => Onward::All,
            (Phase::Answered, Side::Client) => Onward::Part(Passage::default()),
            (Phase::Idle, _) | (Phase::Asking(_) | Phase::Pending(_) | Phase::Reading(_), Side::Server) => {
                self.fault(effects).into()
            }
        }
    }

    /// A time has come that it may have waited for.
    pub fn tick(&mut self, effects: &mut Effects) {
        match &mut self.phase {
            Phase::Live(connection) => connection.tick(&self.plugin, effects),
            Phase::Reading(reading) if self.plugin.worker().now() >= reading.until => {
                self.reply(LogoutRequest::refuse(), effects);
            }
            Phase::Reading(reading) => effects.push(Effect::WakeAt(reading.until)),
            Phase::Idle
            | Phase::Passing
            | Phase::Asking(_)
            | Phase::Pending(_)
            | Phase::Answered
            | Phase::Refused
            | Phase::Unanswered => {}
        }
    }

    /// It is the turn of its client's bytes, if some wait. Gives at most `len_max` bytes that go on now, or more where they are the last.
    #[inline]
    pub fn take_turn(&mut self, len_max: usize, effects: &mut Effects) -> Ready {
        let Phase::Live(connection) = &mut self.phase else { return Ready::default() };
        connection.take_turn(&self.plugin, len_max, effects)
    }

    /// Live connections may go by other policies than before: has it [ticked](Self::tick) soon where this one does, and not all of them at once.
    pub fn review(&self, effects: &mut Effects) {
        if let Phase::Live(connection) = &self.phase {
            connection.review(self.plugin.worker(), effects);
        }
    }

    /// The host did not carry out an effect, or did not let go or hold back what it was to: what is done instead.
    pub fn failed(&mut self, effects: &mut Effects) -> Flow {
        match &mut self.phase {
            Phase::Live(connection) => {
                connection.fail(&self.plugin, effects);
                Flow::Hold
            }
            Phase::Refused | Phase::Unanswered => {
                self.phase = Phase::Unanswered;
                Flow::Hold
            }
            Phase::Idle
            | Phase::Passing
            | Phase::Asking(_)
            | Phase::Pending(_)
            | Phase::Reading(_)
            | Phase::Answered => self.fault(effects),
        }
    }

    /// The host did not [edit](Effect::Edit) the headers in hand: what is done instead. A connection that they would have opened is none.
    pub fn unedited(&mut self, effects: &mut Effects) -> Flow {
        self.fault(effects)
    }

    /// The end of the stream, in whatever way; later calls change nothing.
    pub fn end(&mut self, effects: &mut Effects) {
        if let Phase::Live(connection) = self.take_phase() {
            connection.end(self.plugin.worker(), effects);
        }
        self.slots = Box::default();
    }

    /// The connection, once it is up.
    #[must_use]
    #[inline]
    pub const fn connection(&self) -> Option<&Connection> {
        if let Phase::Live(connection) = &self.phase { Some(connection) } else { None }
    }

    fn take_phase(&mut self) -> Phase {
        core::mem::replace(&mut self.phase, Phase::Refused)
    }

    /// Goes on with the judgement of the request.
    fn follow(&mut self, step: Step<(Opening, Room)>, context: Context, effects: &mut Effects) -> Flow {
        match step {
            Step::Asks(wait, rest) => {
                self.phase = Phase::Asking(Box::new(Asking { rest, context }));
                let identity = &self.plugin.worker().identity;
                match wait {
                    Wait::Own(question) => {
                        effects.push(Effect::Ask(Ask { question, asker: Asker::Stream(self.id) }));
                    }
                    Wait::Shared(inquiry) => identity.wait(inquiry, self.id),
                }
                effects.list.extend(identity.take_asks().into_iter().map(Effect::Ask));
                Flow::Wait
            }
            Step::Ready((opening, room)) => self.decide(opening, room, context, effects),
        }
    }

    fn decide(&mut self, opening: Opening, room: Room, context: Context, effects: &mut Effects) -> Flow {
        let Opening {
            policy,
            decision,
            edits,
            would_refuse,
            record,
            credential,
            retry_after,
            is_failed_attempt,
            metric,
            fields,
            ticket: _,
        } = opening;
        let Context { listener, policies, peer, since } = context;
        let (slots, retry_admission) = room.admissions.into_parts();
        self.slots = slots;
        let counters = &self.plugin.worker().counters;
        self.fail = policy.fail;
        let ban = if is_failed_attempt { peer.fail(counters, &policy.limits) } else { None };
        if matches!(decision, Decision::Upgrade(_) | Decision::Refuse(_)) {
            self.plugin.worker().watch.note(Watched::Handshakes);
            if let Ok(now) = self.plugin.worker().port.now() {
                let micros = i64::try_from(now.since(since).as_micros()).unwrap_or(i64::MAX);
                effects.count(Metric::HandshakeMicros, micros);
            }
        }
        if room.has_bare_address && policy.limits.per_address.is_some() {
            worker::tell_address(self.plugin.worker(), effects);
        }
        let label = policies.label(&policy);
        if let Some(rules) = ban {
            let failure = match &decision {
                Decision::Refuse(refusal) => Some(refusal),
                _ => would_refuse.iter().find(|refusal| refusal.violation.is_failed_attempt()),
            };
            let of = Scene { worker: self.plugin.worker().name, stream: self.id, policy: &label };
            worker::tell_ban(self.plugin.worker(), &policy, &record, of, (failure, rules), effects);
        }
        for refusal in would_refuse {
            self.note(&policy, &label, &record, refusal, effects);
        }
        if let Some(metric) = metric {
            effects.count(metric, 1);
        }
        self.phase = match decision {
            Decision::Refuse(refusal) => {
                let retry_after = retry_after.or(retry_admission);
                let flow = self.refuse(&policy, &label, &record, refusal, (retry_after, edits), effects);
                if let Some(Effect::Reply(reply)) = effects.list.last_mut() {
                    reply.fields.extend(fields);
                }
                return flow;
            }
            Decision::Admit | Decision::Pass => {
                self.slots = Box::default();
                Phase::Passing
            }
            Decision::Answer(reply) => {
                let (edits, fields) = ([edits, reply.edits].concat(), [reply.fields, fields].concat());
                return self.reply(Reply { edits, fields, ..reply }, effects);
            }
            Decision::Read(request) => {
                self.slots = Box::default();
                // Whatever fails, it does not reach the upstream.
                self.fail = Fail::Closed;
                let until = self.plugin.worker().now().saturating_add(READING_TIMEOUT);
                let context = Context { listener, policies, peer, since };
                let share = Share::new(Rc::clone(&self.plugin.worker().held));
                let reading = Reading { policy, request: *request, context, body: Vec::new(), share, until };
                self.phase = Phase::Reading(Box::new(reading));
                effects.push(Effect::WakeAt(until));
                if !edits.is_empty() {
                    effects.push(Effect::Edit(edits));
                }
                return Flow::Hold;
            }
            Decision::Upgrade(pending) => {
                let subject = Subject::new(counters, peer, credential.as_deref());
                Phase::Pending(Box::new(Upgrade { listener, policies, pending: *pending, record, subject }))
            }
        };
        if !edits.is_empty() {
            effects.push(Effect::Edit(edits));
        }
        Flow::Forward
    }

    /// Takes what has come of a body that is read.
    fn read(&mut self, chunk: &dyn Chunk, end: bool, effects: &mut Effects) -> Onward {
        let Phase::Reading(mut reading) = self.take_phase() else { return Onward::Nothing };
        let len = reading.body.len().saturating_add(chunk.len());
        // Many who send the beginnings of bodies wait as handshakes do, which is for half of what may be held.
        if len > FORM_LEN_MAX || !reading.share.wait(len, reading.policy.limits.held_len_max) {
            return self.reply(LogoutRequest::refuse(), effects).into();
        }
        match read_all(chunk) {
            Ok(bytes) => reading.body.extend_from_slice(&bytes),
            Err(HostError) => return self.fault(effects).into(),
        }
        if !end {
            self.phase = Phase::Reading(reading);
            return Onward::Kept;
        }
        let Reading { policy, request, context, body, share, until: _ } = *reading;
        let plugin = Rc::clone(&self.plugin);
        let Worker { port, counters, identity, .. } = &**plugin.worker();
        let admissions = Admissions::new(Rc::clone(counters), context.peer.clone());
        let room = Room { before: port.memory_len(), admissions, has_bare_address: false, plugin: Rc::clone(&plugin) };
        // It takes its memory until its keys are there.
        let step = request.receive(body, identity).then(move |reply| {
            drop(share);
            Step::Ready((Opening::new(&policy, Decision::Answer(reply), vec![]), room))
        });
        self.follow(step, context, effects).into()
    }

    /// Answers a request that was not refused.
    fn reply(&mut self, reply: Reply, effects: &mut Effects) -> Flow {
        self.slots = Box::default();
        self.phase = Phase::Refused;
        effects.push(Effect::Reply(reply));
        Flow::Hold
    }

    /// "The client MUST wait for a response from the server before sending any further data" (RFC 6455 §4.1).
    fn early_bytes(&mut self, effects: &mut Effects) -> Onward {
        let Phase::Pending(upgrade) = self.take_phase() else { return Onward::Nothing };
        let policy = upgrade.pending.policy();
        let label = upgrade.policies.label(policy);
        match policy.modes.strictest() {
            Mode::Enforce => {
                let refusal = Violation::BadUpgrade.into();
                self.refuse(policy, &label, &upgrade.record, refusal, (None, vec![]), effects).into()
            }
            Mode::Monitor => {
                self.note(policy, &label, &upgrade.record, Violation::BadUpgrade.into(), effects);
                self.phase = Phase::Passing;
                Onward::All
            }
        }
    }

    /// Decides about the upstream's answer to an upgrade.
    fn open(
        &mut self,
        upgrade: Upgrade,
        headers: impl FnOnce() -> Result<Headers, HostError>,
        effects: &mut Effects,
    ) -> Result<Flow, HostError> {
        let Upgrade { listener, policies, pending, record, subject } = upgrade;
        let policy = Rc::clone(pending.policy());
        let label = policies.label(&policy);
        let port = &self.plugin.worker().port;
        let headers = headers()?;
        let birth = Birth { at: port.now()?, nonce: port::random(&**port)? };
        let Opened { mut session, edits, would_refuse } =
            match (pending.check(&headers, birth), policy.modes.strictest()) {
                (Ok(opened), _) => opened,
                (Err(Violation::UpstreamRefused), _) => {
                    effects.count(Metric::Handshakes(Some(Violation::UpstreamRefused)), 1);
                    effects.push(record.describe_refusal(Violation::UpstreamRefused, None));
                    self.slots = Box::default();
                    self.phase = Phase::Answered;
                    return Ok(Flow::Forward);
                }
                (Err(violation), Mode::Enforce) => {
                    return Ok(self.refuse(&policy, &label, &record, violation.into(), (None, vec![]), effects));
                }
                // What is no 101, and the client takes for one.
                (Err(violation), Mode::Monitor) => {
                    self.note(&policy, &label, &record, violation.into(), effects);
                    self.slots = Box::default();
                    self.phase = Phase::Passing;
                    return Ok(Flow::Forward);
                }
            };
        session.look_at_calendar(|| port.date(), birth.at)?;
        if !edits.is_empty() {
            effects.push(Effect::Edit(edits));
        }
        if let Some(violation) = would_refuse {
            self.note(&policy, &label, &record, violation.into(), effects);
        }
        effects.count(Metric::Handshakes(None), 1);
        self.plugin.worker().counters.opened();
        let connection = Connection::new(self.id, listener, &policies, session, record, subject, birth.at);
        let mut connection = Box::new(connection);
        // It was decided by the policies of its time; it goes by those of now.
        connection.open(&self.plugin, effects);
        self.phase = Phase::Live(connection);
        Ok(Flow::Forward)
    }

    /// A fault of the host before the connection is up, and before anything was refused.
    fn fault(&mut self, effects: &mut Effects) -> Flow {
        match self.fail {
            Fail::Open => {
                self.phase = Phase::Passing;
                Flow::Forward
            }
            Fail::Closed => {
                effects.push(Record::default().describe_refusal(Violation::Internal, None));
                self.turn_away(Violation::Internal, None, vec![], effects)
            }
        }
    }

    /// Counts and logs what passes and would be refused; `label` is what the policy is called.
    fn note(&self, policy: &Policy, label: &str, record: &Record, refusal: Refusal, effects: &mut Effects) {
        effects.count(Metric::WouldRefuse(refusal.violation), 1);
        self.log(policy, label, record, refusal, Mode::Monitor, effects);
    }

    fn refuse(
        &mut self,
        policy: &Policy,
        label: &str,
        record: &Record,
        refusal: Refusal,
        (retry_after, edits): (Option<Duration>, Vec<Edit>),
        effects: &mut Effects,
    ) -> Flow {
        let violation = refusal.violation;
        effects.push(record.describe_refusal(violation, refusal.cause.as_deref()));
        self.log(policy, label, record, refusal, Mode::Enforce, effects);
        self.turn_away(violation, retry_after, edits, effects)
    }

    #[cold]
    fn log(
        &self,
        policy: &Policy,
        label: &str,
        record: &Record,
        mut refusal: Refusal,
        mode: Mode,
        effects: &mut Effects,
    ) {
        let worker = self.plugin.worker();
        worker.watch.note(Watched::Failures);
        if !policy.log.refusals {
            return;
        }
        policy.auth.locate(&mut refusal);
        let of = Scene { worker: worker.name, stream: self.id, policy: label };
        worker.watch.log(record.group(), mode, worker.now(), || record.refused(of, &refusal, None, (mode, 1)), effects);
    }

    /// Answers the request in place of the upstream.
    fn turn_away(
        &mut self,
        violation: Violation,
        retry_after: Option<Duration>,
        edits: Vec<Edit>,
        effects: &mut Effects,
    ) -> Flow {
        self.slots = Box::default();
        self.phase = Phase::Refused;
        effects.count(Metric::Handshakes(Some(violation)), 1);
        effects.count(Metric::Refused(violation), 1);
        effects.push(Effect::Reply(Reply::refusal(violation, retry_after, edits)));
        Flow::Hold
    }
}

fn read_all(chunk: &dyn Chunk) -> Result<Cow<'_, [u8]>, HostError> {
    let len = chunk.len();
    if len == 0 { Ok(Cow::Borrowed(&[])) } else { chunk.bytes(0, len).map_err(|Unreadable| HostError) }
}

/// What a handshake takes of what is shared.
#[derive(Debug)]
struct Room {
    plugin: Rc<Plugin>,
    /// How much memory was in use before it.
    before: usize,
    admissions: Admissions,
    /// It has no `X-Forwarded-For`, and nobody has been told what that means.
    has_bare_address: bool,
}

impl Capacity for Room {
    fn admit(&mut self, policy: &Policy, applicant: Applicant<'_>) -> Result<(), Violation> {
        let on_fault = match policy.fail {
            Fail::Closed => Err(Violation::Internal),
            Fail::Open => Ok(()),
        };
        self.admissions.count(&policy.limits, applicant, on_fault)
    }

    fn keep(&mut self, pending: &mut Pending) -> bool {
        let in_use = self.plugin.worker().port.memory_len();
        pending.keep(memory::kept(self.before, in_use)) && !self.plugin.is_full()
    }

    fn resume(&mut self) {
        self.before = self.plugin.worker().port.memory_len();
    }
}

#[cfg(test)]
mod tests;
