//! One HTTP stream, callback by callback: gather, one call into the core, apply.
//!
//! ```text
//!          request headers           response headers
//!   Idle ──┬─ upgrade ──▶ Pending ──┬─ 101 ────────▶ Live        (where a fleet counts, Asking comes before Pending)
//!          │                        ├─ other ──────▶ Answered   (the answer passes, further request bytes do not)
//!          ├─ no upgrade ─▶ Passing └─ bad 101 ────▶ Refused     (Asking comes before Passing, too)
//!          └─ refused ────▶ Refused                           (our local reply passes, nothing else does)
//! ```
//!
//! While a callback runs, the phase in the cell is `Refused`: a host that re-enters in the middle finds a stream that
//! lets its own reply through and forwards nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use core::time::Duration;

use crate::admission::{Admissions, Peer};
use crate::fleet::Question;
use crate::host::abi::{self, BufferType, Hosted, MapType, StreamType};
use crate::host::body::Body;
use crate::host::{self, headers, heap};
use crate::limiter::Slot;
use crate::live::Live;
use crate::memory::kept_since;
use crate::purse::Owner;
use crate::root::Root;
use crate::telemetry::Record;
use portcullis_core::access::Access;
use portcullis_core::handshake::{self, Decision, HttpVersion, Opening, Pending, Request};
use portcullis_core::policy::routes::Policies;
use portcullis_core::policy::{Fail, Mode, Policy};
use portcullis_core::ratelimit::Answer;
use portcullis_core::session::Birth;
use portcullis_core::succession::Listener;
use portcullis_core::time::Timestamp;
use portcullis_core::violation::Violation;

/// What becomes of the headers or bytes in hand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flow {
    /// They go on.
    Forward,
    /// They stay in the host.
    Hold,
    /// Bytes stay in the host, which slows their sender down rather than append the next ones to them.
    HoldStreaming,
    /// Headers stay in the host, and whatever comes behind them.
    HoldAll,
}

/// The context of one HTTP stream.
pub(crate) struct Stream {
    id: u32,
    root: Rc<Root>,
    phase: RefCell<Phase>,
    /// The places that it has among those that are counted.
    slots: RefCell<Box<[Slot]>>,
    /// The host told the end, perhaps from inside a call of ours.
    ended: Cell<bool>,
}

enum Phase {
    /// No headers yet.
    Idle,
    /// Not looked at any more: no upgrade, or a fault before the connection was up, under `fail: open`.
    Passing,
    /// A fleet's service is asked about the request, which waits in the host.
    Asking(Box<Asking>),
    /// The upgrade is with the upstream.
    Pending(Box<Upgrade>),
    /// The connection is up.
    Live(Box<Live>),
    /// The upstream answered itself.
    Answered,
    /// We answered, or have to.
    Refused,
}

/// A request that was not refused, and waits for what a fleet says.
struct Asking {
    /// Where it came to, and what it was decided by there.
    listener: Rc<Listener<Policies>>,
    policies: Rc<Policies>,
    policy: Rc<Policy>,
    record: Record,
    owner: Owner,
    /// What it is after that, where it is an upgrade.
    pending: Option<Pending>,
}

/// An upgrade that was not refused.
struct Upgrade {
    /// Where it came to, and what it was decided by there.
    listener: Rc<Listener<Policies>>,
    policies: Rc<Policies>,
    pending: Pending,
    record: Record,
    /// The subject or address whose messages are counted over all its connections.
    owner: Owner,
}

impl Stream {
    pub(crate) fn new(id: u32, root: Rc<Root>) -> Self {
        Self { id, root, phase: RefCell::new(Phase::Idle), slots: RefCell::default(), ended: Cell::new(false) }
    }

    /// Has it looked at soon where it goes by other policies now.
    pub(crate) fn review(&self) {
        if matches!(&*self.phase.borrow(), Phase::Live(live) if live.is_behind()) {
            self.root.review(self.id);
        }
    }

    pub(crate) fn request_headers(&self, end: bool) -> Flow {
        match self.phase.replace(Phase::Refused) {
            Phase::Idle => self.open(end),
            other => self.settle(other, Flow::Hold),
        }
    }

    pub(crate) fn request_body(&self, len: usize, end: bool) -> Flow {
        match self.phase.replace(Phase::Refused) {
            Phase::Idle => self.fault(self.fail()),
            Phase::Passing => self.settle(Phase::Passing, Flow::Forward),
            // Before the first body callback of an upgrade there is an empty one.
            Phase::Pending(pending) if len == 0 && !end => self.settle(Phase::Pending(pending), Flow::Forward),
            Phase::Pending(upgrade) => self.early_bytes(&upgrade.pending, &upgrade.record),
            Phase::Asking(asking) => self.settle(Phase::Asking(asking), Flow::Hold),
            Phase::Live(mut live) => {
                let flow = live.receive_from_client(&self.root, len, end);
                self.settle(Phase::Live(live), flow)
            }
            Phase::Answered => {
                let dropped = Body::new(BufferType::RequestBody, len).rewrite(&[], 0, &[]);
                self.settle(Phase::Answered, if len == 0 || dropped.is_ok() { Flow::Forward } else { Flow::Hold })
            }
            Phase::Refused => Flow::Hold,
        }
    }

    pub(crate) fn request_trailers(&self) -> Flow {
        match self.phase.replace(Phase::Refused) {
            Phase::Idle => self.fault(self.fail()),
            Phase::Asking(asking) => self.settle(Phase::Asking(asking), Flow::Hold),
            // A client that ends before the answer has nothing to say, as one whose header is the end.
            Phase::Pending(upgrade) => self.early_bytes(&upgrade.pending, &upgrade.record),
            Phase::Live(mut live) => {
                let flow = live.receive_from_client(&self.root, 0, true);
                self.settle(Phase::Live(live), flow)
            }
            phase @ (Phase::Passing | Phase::Answered) => self.settle(phase, Flow::Forward),
            Phase::Refused => Flow::Hold,
        }
    }

    pub(crate) fn response_headers(&self) -> Flow {
        match self.phase.replace(Phase::Refused) {
            Phase::Idle => self.fault(self.fail()),
            Phase::Asking(asking) => self.fault(asking.policy.fail),
            Phase::Pending(upgrade) => {
                let fail = upgrade.pending.policy().fail;
                self.answer(*upgrade).unwrap_or_else(|_| self.fault(fail))
            }
            // Our own reply, or an answer that is not ours to judge.
            phase => self.settle(phase, Flow::Forward),
        }
    }

    pub(crate) fn response_body(&self, len: usize, end: bool) -> Flow {
        match self.phase.replace(Phase::Refused) {
            Phase::Idle => self.fault(self.fail()),
            Phase::Asking(asking) => self.fault(asking.policy.fail),
            Phase::Pending(upgrade) => self.fault(upgrade.pending.policy().fail),
            Phase::Live(mut live) => {
                let flow = live.receive_from_server(&self.root, len, end);
                self.settle(Phase::Live(live), flow)
            }
            phase => self.settle(phase, Flow::Forward),
        }
    }

    /// The next turn of the event loop, for a stream that asked for it.
    pub(crate) fn wake(&self) {
        self.with_live(|live| live.wake(&self.root));
    }

    /// A tick, for a stream whose client's bytes wait for it.
    pub(crate) fn take_turn(&self) {
        self.with_live(|live| live.take_turn(&self.root));
    }

    /// A time that this stream may have waited for.
    pub(crate) fn tick(&self) {
        self.with_live(|live| live.tick(&self.root));
    }

    /// A fleet's service has answered about the request, or `None`.
    pub(crate) fn answered(&self, answer: Option<Answer>) {
        match self.phase.replace(Phase::Refused) {
            // Where the host does not take it the request stays where it is.
            Phase::Asking(asking) if abi::set_effective_context(self.id).is_ok() => self.admit(*asking, answer),
            phase => drop(self.settle(phase, Flow::Hold)),
        }
    }

    /// The end of the stream, in whatever way; later calls change nothing.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        if let Phase::Live(live) = self.phase.replace(Phase::Refused) {
            live.end(&self.root);
        }
        self.slots.take();
    }

    fn with_live(&self, act: impl FnOnce(&mut Live)) {
        let mut phase = self.phase.replace(Phase::Refused);
        if let Phase::Live(live) = &mut phase {
            act(live);
        }
        self.settle(phase, Flow::Hold);
    }

    fn settle(&self, phase: Phase, flow: Flow) -> Flow {
        self.phase.replace(phase);
        if self.ended.get() {
            self.end();
        }
        flow
    }

    /// Decides about the request.
    fn open(&self, end: bool) -> Flow {
        let Some(policies) = self.root.policies() else { return self.fault(Fail::Closed) };
        let listener = self.root.listener(&policies);
        let Ok(headers) = headers::read(MapType::RequestHeaders) else { return self.fault(policies.fail(None)) };
        let (nonce, date) = (host::random(), host::date());
        let request = Request {
            headers,
            protocol: HttpVersion::from_name(&abi::property("request\0protocol").unwrap_or_default()),
            // Absent on plain text; an error counts as absent.
            tls: !abi::property("connection\0tls_version").unwrap_or_default().is_empty(),
            end,
            nonce: nonce.unwrap_or_default(),
        };
        match (nonce, date) {
            (Ok(_), Ok(now)) => self.judge(listener, policies, &request, now),
            _ => self.fault(handshake::fail(&policies, &request)),
        }
    }

    fn judge(
        &self,
        listener: Rc<Listener<Policies>>,
        policies: Rc<Policies>,
        request: &Request,
        now: Timestamp,
    ) -> Flow {
        let before = heap::in_use();
        let shared = self.root.shared();
        let peer = Peer::new(abi::property("source\0address").unwrap_or_default());
        let mut admissions = Admissions::new(&shared.limiter, &peer);
        let opening = handshake::check(&policies, request, &shared.held, now, &mut |policy, applicant| {
            admissions.admit(policy, applicant)
        });
        let (slots, retry_after) = admissions.into_parts();
        let Opening { policy, decision, edits, would_refuse, credential } = opening;
        let record = || Record::new(self.id, peer.text(), &request.headers, credential.as_deref());
        let refused = if let Decision::Refuse(violation) = decision { Some(violation) } else { would_refuse };
        if refused.is_some_and(|violation| handshake::counts_against_address(request, violation)) {
            peer.fail(&shared.limiter, &policy);
        }
        if let Some(violation) = would_refuse {
            self.note(&policy, &record(), violation);
        }
        if let Decision::Refuse(violation) = decision {
            // For logs alone: the verdict holds whatever the host does not take.
            headers::try_apply(MapType::RequestHeaders, &edits);
            return self.refuse(&policy, &record(), violation, retry_after);
        }
        if headers::apply(MapType::RequestHeaders, &edits).is_err() {
            return self.fault(policy.fail);
        }
        let pending = match decision {
            Decision::Pass | Decision::Refuse(_) => return self.settle(Phase::Passing, Flow::Forward),
            Decision::Admit if policy.limits.global.is_none() => return self.settle(Phase::Passing, Flow::Forward),
            Decision::Admit => None,
            Decision::Upgrade(pending) => {
                self.slots.replace(slots);
                Some(*pending)
            }
        };
        let owner = Owner::new(&shared.limiter, &peer, credential.as_deref());
        let mut asking = Asking { listener, policies, policy, record: record(), owner, pending };
        let fits =
            asking.pending.as_mut().is_none_or(|pending| pending.keep(kept_since(before)) && !self.root.is_full());
        match (fits, asking.policy.mode) {
            (true, _) => {}
            (false, Mode::Enforce) => return self.refuse(&asking.policy, &asking.record, Violation::Overloaded, None),
            // There is no memory to judge it either.
            (false, Mode::Monitor) => {
                self.note(&asking.policy, &asking.record, Violation::Overloaded);
                self.slots.take();
                return self.settle(Phase::Passing, Flow::Forward);
            }
        }
        if asking.policy.limits.global.is_some() { self.ask(asking, &peer) } else { self.go_on(asking, Flow::Forward) }
    }

    /// Asks a fleet's service about a request, which waits for the answer.
    fn ask(&self, asking: Asking, peer: &Peer) -> Flow {
        let policy = &asking.policy;
        let [address, owner] = [Owner::Address(peer.address()).entry(policy), asking.owner.entry(policy)];
        let [of_address, of_subject] = [[address.parts()], [owner.parts()]];
        let descriptors = [&of_address[..], &of_subject[..]];
        let descriptors = if of_address == of_subject { descriptors.get(..1) } else { descriptors.get(..) };
        let question = Question::Handshake { stream: self.id };
        let fleet = &self.root.shared().fleet;
        let is_asked = asking
            .policy
            .limits
            .global
            .as_ref()
            .is_some_and(|global| fleet.ask(self.root.id(), global, descriptors.unwrap_or_default(), 1, question));
        if is_asked {
            return self.settle(Phase::Asking(Box::new(asking)), Flow::HoldAll);
        }
        match self.judge_answer(&asking, None) {
            Ok(()) => self.go_on(asking, Flow::Forward),
            Err(flow) => flow,
        }
    }

    /// Lets a waiting request go on, or not.
    fn admit(&self, asking: Asking, answer: Option<Answer>) {
        if self.judge_answer(&asking, answer).is_ok() {
            let fail = asking.policy.fail;
            self.go_on(asking, Flow::Hold);
            // The last call into the host: it may re-enter.
            if abi::continue_stream(StreamType::Request).is_err() {
                self.phase.replace(Phase::Refused);
                self.fault(fail);
            }
        }
    }

    /// The request goes to the upstream.
    fn go_on(&self, asking: Asking, flow: Flow) -> Flow {
        let Asking { listener, policies, policy: _, record, owner, pending } = asking;
        let phase = match pending {
            Some(pending) => Phase::Pending(Box::new(Upgrade { listener, policies, pending, record, owner })),
            None => Phase::Passing,
        };
        self.settle(phase, flow)
    }

    /// What a fleet's answer means for a request: in place of an error, what was done about it.
    fn judge_answer(&self, Asking { policy, record, .. }: &Asking, answer: Option<Answer>) -> Result<(), Flow> {
        let on_error = policy.limits.global.as_ref().map_or(Access::Refuse, |global| global.on_error);
        let (is_allowed, retry_after) = match answer {
            Some(Answer { allowed, retry_after }) => (allowed, retry_after),
            None => (on_error == Access::Allow, None),
        };
        match policy.mode {
            _ if is_allowed => Ok(()),
            Mode::Monitor => {
                self.note(policy, record, Violation::HandshakesExceeded);
                Ok(())
            }
            Mode::Enforce => Err(self.refuse(policy, record, Violation::HandshakesExceeded, retry_after)),
        }
    }

    /// "The client MUST wait for a response from the server before sending any further data" (RFC 6455 §4.1).
    fn early_bytes(&self, pending: &Pending, record: &Record) -> Flow {
        let policy = pending.policy();
        match policy.mode {
            Mode::Enforce => self.refuse(policy, record, Violation::BadUpgrade, None),
            Mode::Monitor => {
                self.note(policy, record, Violation::BadUpgrade);
                self.settle(Phase::Passing, Flow::Forward)
            }
        }
    }

    /// Decides about the upstream's answer.
    fn answer(&self, Upgrade { listener, policies, pending, record, owner }: Upgrade) -> Hosted<Flow> {
        let response = headers::read(MapType::ResponseHeaders)?;
        let policy = Rc::clone(pending.policy());
        let birth = Birth { at: host::now()?, nonce: host::random()? };
        let opened = match pending.check(&response, birth) {
            Ok(opened) => opened,
            Err(Violation::UpstreamRefused) => {
                if let Some(telemetry) = self.root.telemetry() {
                    telemetry.handshake_refused(Violation::UpstreamRefused);
                }
                self.slots.take();
                return Ok(self.settle(Phase::Answered, Flow::Forward));
            }
            Err(violation) if policy.mode == Mode::Enforce => return Ok(self.refuse(&policy, &record, violation, None)),
            // What is no 101, and the client takes for one.
            Err(violation) => {
                self.note(&policy, &record, violation);
                self.slots.take();
                return Ok(self.settle(Phase::Passing, Flow::Forward));
            }
        };
        headers::apply(MapType::ResponseHeaders, &opened.edits)?;
        if let Some(violation) = opened.would_refuse {
            self.note(&policy, &record, violation);
        }
        let mut live = Live::new(self.id, listener, policies, opened.session, record, owner, birth.at);
        if let Some(telemetry) = self.root.telemetry() {
            telemetry.opened();
        }
        // It was decided by the policies of its time; it goes by those of now.
        let flow = live.open(&self.root);
        Ok(self.settle(Phase::Live(Box::new(live)), flow))
    }

    /// What a fault does to a request of which nothing is known.
    fn fail(&self) -> Fail {
        self.root.policies().map_or(Fail::Closed, |policies| policies.fail(None))
    }

    /// A fault of the host before the connection is up, and before anything was refused.
    fn fault(&self, fail: Fail) -> Flow {
        match fail {
            Fail::Open => self.settle(Phase::Passing, Flow::Forward),
            Fail::Closed => {
                if let Some(telemetry) = self.root.telemetry() {
                    telemetry.handshake_refused(Violation::Internal);
                }
                self.slots.take();
                reply(Violation::Internal, None)
            }
        }
    }

    fn note(&self, policy: &Policy, record: &Record, violation: Violation) {
        if let Some(telemetry) = self.root.telemetry() {
            telemetry.would_refuse(violation, 1);
        }
        if policy.log.refusals {
            record.refused(violation, None, Mode::Monitor);
        }
    }

    fn refuse(&self, policy: &Policy, record: &Record, violation: Violation, retry_after: Option<Duration>) -> Flow {
        self.slots.take();
        if let Some(telemetry) = self.root.telemetry() {
            telemetry.handshake_refused(violation);
        }
        if policy.log.refusals {
            record.refused(violation, None, Mode::Enforce);
        }
        reply(violation, retry_after)
    }
}

/// What 429 tells at least, for limits that do not say: a client that comes back at once is refused once more.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// What it tells at most: a service may say thousands of years.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Answers the request in place of the upstream, as the last call into the host: it may re-enter.
///
/// When even that fails the request stays where it is: it is never forwarded.
fn reply(violation: Violation, retry_after: Option<Duration>) -> Flow {
    let reason = violation.reason();
    let status = violation.answer().status.unwrap_or(500);
    let mut fields = vec![("content-type", "application/json"), ("connection", "close")];
    let retry_after = retry_after.unwrap_or_default().clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
    let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0)).to_string();
    match status {
        // In seconds (RFC 9110 §10.2.3), never too early.
        429 => fields.push(("retry-after", seconds.as_str())),
        401 => fields.push(("www-authenticate", "Bearer")),
        426 => fields.push(("sec-websocket-version", "13")),
        _ => {}
    }
    let body = format!("{{\"error\": \"{reason}\"}}");
    let details = format!("portcullis_{reason}");
    let _ = abi::send_local_response(status, &details, &body, &headers::serialize(&fields));
    Flow::Hold
}
