//! One HTTP stream, callback by callback: gather, one call into the core, apply.
//!
//! ```text
//!          request headers           response headers
//!   Idle ──┬─ upgrade ──▶ Pending ──┬─ 101 ────────▶ Live
//!          │                        ├─ other ──────▶ Answered   (the answer passes, further request bytes do not)
//!          ├─ no upgrade ─▶ Passing └─ bad 101 ────▶ Refused
//!          └─ refused ────▶ Refused                           (our local reply passes, nothing else does)
//! ```
//!
//! While a callback runs, the phase in the cell is `Refused`: a host that re-enters in the middle finds a stream that
//! lets its own reply through and forwards nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::host::abi::{self, BufferType, HostError, Hosted, MapType};
use crate::host::body::Body;
use crate::host::{self, headers};
use crate::live::Live;
use crate::root::Root;
use crate::telemetry::Record;
use portcullis_core::handshake::{self, Decision, Opening, Pending, Protocol, Request};
use portcullis_core::policy::{Fail, Mode, Policy};
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
}

/// The context of one HTTP stream.
pub(crate) struct Stream {
    id: u32,
    root: Rc<Root>,
    phase: RefCell<Phase>,
    /// The host told the end, perhaps from inside a call of ours.
    ended: Cell<bool>,
}

enum Phase {
    /// No headers yet.
    Idle,
    /// Not judged: no upgrade, or a fault before the connection was up, under `fail: open`.
    Passing,
    /// The upgrade is with the upstream.
    Pending(Box<(Pending, Record)>),
    /// The connection is up.
    Live(Box<Live>),
    /// The upstream answered itself.
    Answered,
    /// We answered, or have to.
    Refused,
}

impl Stream {
    pub(crate) const fn new(id: u32, root: Rc<Root>) -> Self {
        Self { id, root, phase: RefCell::new(Phase::Idle), ended: Cell::new(false) }
    }

    pub(crate) fn request_headers(&self) -> Flow {
        match self.phase.replace(Phase::Refused) {
            Phase::Idle => self.open().unwrap_or_else(|_| self.fault(None)),
            other => self.settle(other, Flow::Hold),
        }
    }

    pub(crate) fn request_body(&self, len: usize, end: bool) -> Flow {
        match self.phase.replace(Phase::Refused) {
            Phase::Idle => self.fault(None),
            Phase::Passing => self.settle(Phase::Passing, Flow::Forward),
            // Before the first body callback of an upgrade there is an empty one.
            Phase::Pending(pending) if len == 0 && !end => self.settle(Phase::Pending(pending), Flow::Forward),
            Phase::Pending(pending) => self.early_bytes(&pending.0, &pending.1),
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

    pub(crate) fn response_headers(&self) -> Flow {
        match self.phase.replace(Phase::Refused) {
            Phase::Idle => self.fault(None),
            Phase::Pending(pending) => {
                let policy = Rc::clone(pending.0.policy());
                self.answer(*pending).unwrap_or_else(|_| self.fault(Some(&policy)))
            }
            // Our own reply, or an answer that is not ours to judge.
            phase => self.settle(phase, Flow::Forward),
        }
    }

    pub(crate) fn response_body(&self, len: usize, end: bool) -> Flow {
        match self.phase.replace(Phase::Refused) {
            Phase::Idle => self.fault(None),
            Phase::Pending(pending) => {
                let policy = Rc::clone(pending.0.policy());
                self.fault(Some(&policy))
            }
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

    /// The deadline of a stream that is closing.
    pub(crate) fn deadline(&self) {
        self.with_live(|live| live.reset());
    }

    /// The end of the stream, in whatever way; later calls change nothing.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        if let Phase::Live(live) = self.phase.replace(Phase::Refused) {
            live.end(&self.root);
        }
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
    fn open(&self) -> Hosted<Flow> {
        let Some(policies) = self.root.policies() else { return Err(HostError::NONSENSE) };
        let request = gather()?;
        let opening = handshake::check(&policies, &request, self.root.held(), host::now()?);
        let Opening { policy, decision, edits, would_refuse, credential } = opening;
        headers::apply(MapType::RequestHeaders, &edits)?;
        if matches!(decision, Decision::Pass) && would_refuse.is_none() {
            return Ok(self.settle(Phase::Passing, Flow::Forward));
        }
        let address = abi::property("source\0address").unwrap_or_default();
        let record = Record::new(self.id, &address, &request.headers, credential.as_deref());
        if let Some(violation) = would_refuse {
            self.note(&policy, &record, violation);
        }
        Ok(match decision {
            Decision::Pass => self.settle(Phase::Passing, Flow::Forward),
            Decision::Refuse(violation) => self.refuse(&policy, &record, violation),
            Decision::Upgrade(pending) => self.settle(Phase::Pending(Box::new((pending, record))), Flow::Forward),
        })
    }

    /// "The client MUST wait for a response from the server before sending any further data" (RFC 6455 §4.1).
    fn early_bytes(&self, pending: &Pending, record: &Record) -> Flow {
        let policy = pending.policy();
        match policy.mode {
            Mode::Enforce => self.refuse(policy, record, Violation::BadUpgrade),
            Mode::Monitor => {
                self.note(policy, record, Violation::BadUpgrade);
                self.settle(Phase::Passing, Flow::Forward)
            }
        }
    }

    /// Decides about the upstream's answer.
    fn answer(&self, (pending, record): (Pending, Record)) -> Hosted<Flow> {
        let response = headers::read(MapType::ResponseHeaders)?;
        let policy = Rc::clone(pending.policy());
        let opened = match pending.check(&response) {
            Ok(opened) => opened,
            Err(Violation::UpstreamRefused) => {
                if let Some(telemetry) = self.root.telemetry() {
                    telemetry.handshake_refused(Violation::UpstreamRefused);
                }
                return Ok(self.settle(Phase::Answered, Flow::Forward));
            }
            Err(violation) => return Ok(self.refuse(&policy, &record, violation)),
        };
        headers::apply(MapType::ResponseHeaders, &opened.edits)?;
        if let Some(violation) = opened.would_refuse {
            self.note(&policy, &record, violation);
        }
        // The upgrade went under the policies of its time; the connection follows those of now.
        let Some(policies) = self.root.policies() else { return Err(HostError::NONSENSE) };
        let mut live = Live::new(self.id, policies, opened.session, record, host::now()?);
        if let Some(telemetry) = self.root.telemetry() {
            telemetry.opened();
        }
        let flow = live.open(&self.root);
        Ok(self.settle(Phase::Live(Box::new(live)), flow))
    }

    /// A fault of the host before the connection is up.
    fn fault(&self, policy: Option<&Rc<Policy>>) -> Flow {
        let base = self.root.policies().map(|policies| Rc::clone(policies.base()));
        match policy.or(base.as_ref()).map(|policy| policy.fail) {
            Some(Fail::Open) => self.settle(Phase::Passing, Flow::Forward),
            Some(Fail::Closed) | None => {
                if let Some(telemetry) = self.root.telemetry() {
                    telemetry.handshake_refused(Violation::Internal);
                }
                reply(Violation::Internal)
            }
        }
    }

    fn note(&self, policy: &Policy, record: &Record, violation: Violation) {
        if let Some(telemetry) = self.root.telemetry() {
            telemetry.would_refuse(violation);
        }
        if policy.log.refusals {
            record.refused(violation, None, Mode::Monitor);
        }
    }

    fn refuse(&self, policy: &Policy, record: &Record, violation: Violation) -> Flow {
        if let Some(telemetry) = self.root.telemetry() {
            telemetry.handshake_refused(violation);
        }
        if policy.log.refusals {
            record.refused(violation, None, Mode::Enforce);
        }
        reply(violation)
    }
}

/// Everything that the core wants to know about a request.
fn gather() -> Hosted<Request> {
    Ok(Request {
        headers: headers::read(MapType::RequestHeaders)?,
        protocol: Protocol::from_name(&abi::property("request\0protocol").unwrap_or_default()),
        // Absent on plain text; an error counts as absent.
        tls: !abi::property("connection\0tls_version").unwrap_or_default().is_empty(),
        nonce: host::random()?,
    })
}

/// Answers the request in place of the upstream, as the last call into the host: it may re-enter.
///
/// When even that fails the request stays where it is: it is never forwarded.
fn reply(violation: Violation) -> Flow {
    let reason = violation.reason();
    let status = violation.answer().status.unwrap_or(500);
    let mut fields = vec![("content-type", "application/json"), ("connection", "close")];
    match status {
        401 => fields.push(("www-authenticate", "Bearer")),
        426 => fields.push(("sec-websocket-version", "13")),
        _ => {}
    }
    let body = format!("{{\"error\": \"{reason}\"}}");
    let details = format!("portcullis_{reason}");
    let _ = abi::send_local_response(status, &details, &body, &headers::serialize(&fields));
    Flow::Hold
}
