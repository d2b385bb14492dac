//! A live connection in the host: bytes through the session, and Close frames of our own.
//!
//! Where a Close cannot be written to the client at once (see [`crate::way`]), it is written behind the next bytes of that
//! way, which the upstream's own answering Close brings.

use std::rc::Rc;

use crate::backlog::ToServer;
use crate::host;
use crate::host::abi::{self, BufferType, HostError, Hosted, StreamType};
use crate::host::body::{Body, Bytes};
use crate::purse::{Owner, Purse, Wallet};
use crate::root::Root;
use crate::stream::Flow;
use crate::telemetry::Record;
use crate::way::Way;
use portcullis_core::limits::rules::OnExcess;
use portcullis_core::policy::routes::Policies;
use portcullis_core::policy::{Mode, Policy};
use portcullis_core::session::{Due, Overlooked, Session};
use portcullis_core::succession::Listener;
use portcullis_core::time::Moment;
use portcullis_core::turn::{self, Backlog, Full, Turn};
use portcullis_core::violation::Violation;
use portcullis_core::wire::{Side, Unreadable};

/// How many lines a connection logs about what monitor mode lets pass: whoever breaks a rule with each frame breaks it some 100,000 times a
/// second. Counters count all of it, and the line of its end says how much has no line.
const LOGGED_MAX: u32 = 100;

/// An upgraded stream.
pub(crate) struct Live {
    id: u32,
    listener: Rc<Listener<Policies>>,
    policies: Rc<Policies>,
    session: Session,
    to_client: Way,
    to_server: ToServer,
    /// It has a turn to come.
    is_queued: bool,
    /// A call of the host failed: what its buffers hold is not known, so nothing goes on any more.
    broken: bool,
    /// When it is looked at next, whatever comes before.
    armed_for: Option<Moment>,
    record: Record,
    owner: Owner,
    purse: Option<Rc<Purse>>,
    opened_at: Moment,
    /// What monitor mode has let pass.
    overlooked_count: u32,
}

impl Live {
    /// A connection that is up, by what was decided under `policies`.
    pub(crate) fn new(
        id: u32,
        listener: Rc<Listener<Policies>>,
        policies: Rc<Policies>,
        session: Session,
        record: Record,
        owner: Owner,
        opened_at: Moment,
    ) -> Self {
        let to_client = Way::new(id);
        Self {
            id,
            listener,
            policies,
            session,
            to_client,
            to_server: ToServer::default(),
            is_queued: false,
            broken: false,
            armed_for: None,
            record,
            owner,
            purse: None,
            opened_at,
            overlooked_count: 0,
        }
    }

    /// Whether it goes by other policies from its next event on.
    pub(crate) fn is_behind(&self) -> bool {
        self.listener.other_than(&self.policies).is_some()
    }

    /// Takes what the client sent; `end`: it sends nothing any more, which over HTTP/2 does not end the stream.
    pub(crate) fn receive_from_client(&mut self, root: &Root, len: usize, end: bool) -> Flow {
        if !self.to_server.is_free() || self.session.is_read() {
            return self.receive_in_turn(root, len, end);
        }
        self.guard(root, |live| {
            live.to_client.answer();
            let body = Body::new(BufferType::RequestBody, len);
            live.receive(root, Side::Client, &Bytes::Host(&body), &[], end, None)?;
            live.write_to_client()?;
            Ok(Flow::Forward)
        })
    }

    /// Takes what the client sent where judging it is work, or where other bytes wait before it: it is judged while there is time, and the
    /// rest waits.
    #[inline(never)]
    fn receive_in_turn(&mut self, root: &Root, len: usize, end: bool) -> Flow {
        self.guard(root, |live| {
            live.to_client.answer();
            live.receive_body_in_turn(root, &Body::new(BufferType::RequestBody, len), end)
        })
    }

    fn receive_body_in_turn(&mut self, root: &Root, body: &Body, end: bool) -> Hosted<Flow> {
        let turn = &root.shared().turn;
        let may_wait = self.may_wait(root);
        let has_turn = !may_wait || turn.has_time(body.len(), self.session.is_laden());
        if self.to_server.is_waiting() || !has_turn {
            return if self.may_put_off(root, body.len()) {
                self.put_off(root, body, end)
            } else {
                self.receive_at_once(root, body, end)
            };
        }
        turn.begin(host::now()?);
        let received = self.receive(root, Side::Client, &Bytes::Host(body), &[], end, may_wait.then_some(turn));
        root.judged();
        let len = received?;
        self.write_to_client()?;
        if self.to_server.is_waiting() {
            let judged = Body::new(BufferType::RequestBody, len);
            let ready = judged.copy(len)?;
            judged.rewrite(&[], 0, &[])?;
            self.to_server.pause(root).pass(&ready);
            return Ok(Flow::Hold);
        }
        self.to_server.pass(len, end)
    }

    /// Has a whole chunk wait.
    fn put_off(&mut self, root: &Root, body: &Body, end: bool) -> Hosted<Flow> {
        let bytes = body.copy(body.len())?;
        body.rewrite(&[], 0, &[])?;
        self.wait(root, &bytes, end);
        Ok(Flow::Hold)
    }

    /// Has `bytes` wait for a turn; `end`: nothing follows them.
    fn wait(&mut self, root: &Root, bytes: &[u8], end: bool) {
        if end {
            self.session.finish(Side::Client, root.now());
            self.arm(root);
        }
        let backlog = self.to_server.pause(root);
        backlog.push(bytes, end, root.now());
        if !core::mem::replace(&mut self.is_queued, true) {
            root.shared().turn.queue(self.id, backlog.spent());
        }
        root.hurry();
    }

    /// Whether the client's bytes may wait. Monitor mode holds nobody to the limits that bound them, and the host may reset a paused stream
    /// to which more comes at once than its buffer takes.
    fn may_wait(&self, root: &Root) -> bool {
        let Policy { mode, limits, buffer_limits, .. } = &**self.session.policy();
        let rate =
            limits.per_connection.bytes.filter(|_| *mode == Mode::Enforce && !root.is_tight(StreamType::Request));
        rate.is_some_and(|rate| turn::may_wait(&rate, limits.held_len_max, *buffer_limits))
    }

    /// Whether so many bytes more may wait. A client that sends on where they may not is refused.
    fn may_put_off(&mut self, root: &Root, len: usize) -> bool {
        let policy = Rc::clone(self.session.policy());
        let limits = &policy.limits;
        let Some(rate) = limits.per_connection.bytes.filter(|_| self.may_wait(root)) else { return false };
        let violation = match self.to_server.check(root, len, &rate, limits.held_len_max) {
            Ok(()) => return true,
            Err(Full::NoRoom) if !self.to_server.is_waiting() => return false,
            Err(Full::TooMuch) if limits.on_excess == OnExcess::Close => Violation::RateExceeded,
            Err(Full::TooMuch | Full::NoRoom) => Violation::Overloaded,
        };
        if self.session.violation().is_none() {
            self.verdict(root, violation, None, 1);
            self.session.refuse(violation, Some(Side::Client), root.now());
            self.arm(root);
        }
        false
    }

    /// Takes what waits and what the client sent behind it, without regard to others.
    fn receive_at_once(&mut self, root: &Root, body: &Body, end: bool) -> Hosted<Flow> {
        while let Some(piece) = self.to_server.backlog().and_then(Backlog::take_piece) {
            self.receive(root, Side::Client, &Bytes::Own(piece.bytes()), &[], false, None)?;
        }
        let ready = self.to_server.backlog().map(|backlog| backlog.take_ready(usize::MAX)).unwrap_or_default();
        let len = self.receive(root, Side::Client, &Bytes::Host(body), &ready, end, None)?;
        self.write_to_client()?;
        self.to_server.pass(len, end)
    }

    /// A tick, for a connection whose client's bytes wait: the next of them are judged where there is time, and what has been goes on.
    pub(crate) fn take_turn(&mut self, root: &Root) {
        self.is_queued = false;
        self.guard(root, |live| {
            abi::set_effective_context(live.id)?;
            let turn = &root.shared().turn;
            let is_laden = live.session.is_laden();
            let has_turn = |backlog: &&mut Backlog| backlog.is_due() && turn.has_time(backlog.len(), is_laden);
            let next = live.to_server.backlog().filter(has_turn);
            if let Some(piece) = next.and_then(Backlog::take_piece) {
                let begin = host::now()?;
                turn.begin(begin);
                let received = live.receive(root, Side::Client, &Bytes::Own(piece.bytes()), &[], false, Some(turn));
                let took = root.judged().since(begin);
                received?;
                let left = live.session.left();
                if let Some(backlog) = live.to_server.backlog() {
                    backlog.put_back(piece, left, took);
                }
            }
            live.write_to_client()?;
            live.to_server.write()?;
            if let Some(backlog) = live.to_server.backlog().filter(|backlog| !backlog.is_empty()) {
                root.shared().turn.queue(live.id, backlog.spent());
                live.is_queued = true;
            }
            Ok(Flow::Hold)
        });
    }

    /// Takes what the server sent.
    pub(crate) fn receive_from_server(&mut self, root: &Root, len: usize, end: bool) -> Flow {
        self.guard(root, |live| {
            let body = Body::new(BufferType::ResponseBody, len);
            let turn = live.to_client.receive(root, len, live.session.policy());
            let len = live.receive(root, Side::Server, &Bytes::Host(&body), turn.waiting(), end, None)?;
            if end {
                return Way::end(&turn, len);
            }
            let is_between_frames = live.session.is_between_frames(Side::Server);
            live.to_client.pass(root, turn, len, is_between_frames)
        })
    }

    /// The 101 may go on: when.
    pub(crate) fn open(&mut self, root: &Root) -> Flow {
        self.purse = self.owner.purse(root.shared(), root.id(), self.session.policy());
        self.arm(root);
        self.guard(root, |live| Ok(live.to_client.open(root)))
    }

    /// A time has come that may be one it waits for.
    pub(crate) fn tick(&mut self, root: &Root) {
        // A timer that another took the place of, unless it is there for the sake of another policy.
        if self.armed_for.is_some_and(|at| root.now() < at) && !self.is_behind() {
            return;
        }
        self.armed_for = None;
        if self.broken {
            self.reset();
            return;
        }
        self.guard(root, |live| {
            abi::set_effective_context(live.id)?;
            match live.session.tick(root.now()) {
                Due::Nothing => {}
                Due::Ping => live.ping(root)?,
                Due::Refused(violation) => live.verdict(root, violation, None, 1),
                Due::Reset => live.reset(),
            }
            // A Close may be due because of the policy, too.
            live.write_to_client()?;
            live.arm(root);
            Ok(Flow::Hold)
        });
    }

    /// The next turn of the event loop, for a stream that asked for it.
    pub(crate) fn wake(&mut self, root: &Root) {
        if self.to_client.is_asleep() {
            self.guard(root, |live| {
                abi::set_effective_context(live.id)?;
                live.to_client.wake(root)?;
                Ok(Flow::Hold)
            });
        }
    }

    /// Runs one step, under the policies in force.
    fn guard(&mut self, root: &Root, step: impl FnOnce(&mut Self) -> Hosted<Flow>) -> Flow {
        if self.broken {
            return Flow::Hold;
        }
        if let Some(policies) = self.listener.other_than(&self.policies) {
            self.adopt(root, policies);
        }
        step(self).unwrap_or_else(|HostError { .. }| self.fail(root))
    }

    /// Goes by other policies from now on.
    #[cold]
    fn adopt(&mut self, root: &Root, policies: Rc<Policies>) {
        let violation = self.session.adopt(&policies, root.now());
        self.policies = policies;
        if let Some(violation) = violation {
            self.verdict(root, violation, None, 1);
        }
        self.purse = self.owner.purse(root.shared(), root.id(), self.session.policy());
        self.arm(root);
    }

    /// After a step that failed nothing goes on any more: the client gets a Close where its way is known to be free, and the stream is
    /// reset.
    #[cold]
    fn fail(&mut self, root: &Root) -> Flow {
        self.broken = true;
        if self.session.violation().is_none() {
            self.verdict(root, Violation::Internal, None, 1);
        }
        self.session.refuse(Violation::Internal, None, root.now());
        let told = self.write_to_client();
        self.arm(root);
        if told.is_err() || !self.to_client.is_open() {
            self.reset();
        }
        Flow::Hold
    }

    /// Ends a connection whose peers did not.
    pub(crate) fn reset(&self) {
        if abi::set_effective_context(self.id).is_ok() {
            let _ = abi::close_stream(StreamType::Response);
        }
    }

    /// The end of the stream.
    pub(crate) fn end(self, root: &Root) {
        // Otherwise nobody would know: the host calls nothing before.
        if self.to_client.is_buffered() || !self.to_server.is_free() {
            match &*abi::property("response\0code_details").unwrap_or_default() {
                b"request_payload_too_large" => root.overflowed(StreamType::Request),
                b"response_payload_too_large" => root.overflowed(StreamType::Response),
                _ => {}
            }
        }
        let violation = self.session.violation();
        if let Some(telemetry) = root.telemetry() {
            telemetry.closed(violation);
        }
        if self.session.policy().log.connections {
            let lived = host::now().map(|now| now.since(self.opened_at)).unwrap_or_default();
            let millis = u64::try_from(lived.as_millis()).unwrap_or(u64::MAX);
            self.record.closed(violation, millis, self.overlooked_count.saturating_sub(LOGGED_MAX));
        }
    }

    /// Has the bytes of one side judged and what may not pass taken out; `before` goes first, and nothing follows an `end`. Gives the
    /// length of what is in the host's buffer then. Where they were taken out before, what passes goes behind what is ready. Where `turn` is over
    /// before all is judged, the rest waits.
    fn receive(
        &mut self,
        root: &Root,
        from: Side,
        bytes: &Bytes<'_>,
        before: &[u8],
        end: bool,
        turn: Option<&Turn>,
    ) -> Hosted<usize> {
        let policy = Rc::clone(self.session.policy());
        let wallet = Wallet { policy: &policy, purse: self.purse.as_ref(), turn, now: root.now() };
        let received =
            self.session.receive(from, bytes, root.now(), &wallet).map_err(|Unreadable| HostError::NONSENSE)?;
        let left = if turn.is_some() { self.session.left() } else { 0 };
        if left > 0
            && let Bytes::Host(body) = bytes
        {
            self.wait(root, &body.copy_last(left)?, end);
        } else if end {
            self.session.finish(from, root.now());
        }
        if let Some(violation) = received.violation {
            self.verdict(root, violation, received.rule.as_deref(), 1);
        }
        for Overlooked { violation, rule, count } in received.overlooked {
            self.verdict(root, violation, rule.as_deref(), count);
        }
        if let (1.., Some(telemetry)) = (received.swallowed, root.telemetry()) {
            telemetry.swallowed(received.swallowed);
        }
        if self.session.is_pressed() {
            self.arm(root);
        }
        let close = self.close(from.peer())?;
        let passage = received.passage;
        let before = if before.is_empty() { passage.before } else { [before, &passage.before].concat() };
        let after = if close.is_empty() { passage.after } else { [passage.after, close].concat() };
        match bytes {
            Bytes::Host(body) => body.rewrite(&before, passage.keep, &after)?,
            Bytes::Own(bytes) => {
                let kept = bytes.get(..passage.keep).unwrap_or_default();
                if let Some(backlog) = self.to_server.backlog() {
                    backlog.pass(&[&before, kept, &after].concat());
                }
            }
        }
        Ok(before.len().saturating_add(passage.keep).saturating_add(after.len()))
    }

    /// Writes the Close that is due to the client, if it can be written now.
    fn write_to_client(&mut self) -> Hosted<()> {
        if !self.to_client.is_open() {
            return Ok(());
        }
        let close = self.close(Side::Client)?;
        if close.is_empty() { Ok(()) } else { self.to_client.write(&close) }
    }

    /// The Close frame that is due towards `to`, empty while there is none.
    fn close(&mut self, to: Side) -> Hosted<Vec<u8>> {
        if self.session.violation().is_none() {
            return Ok(Vec::new());
        }
        Ok(self.session.transmit(to, host::random()?).unwrap_or_default())
    }

    /// Counts and logs a violation that was found so often, and the rule that found it.
    fn verdict(&mut self, root: &Root, violation: Violation, rule: Option<&str>, count: u32) {
        let Policy { mode, log, .. } = &**self.session.policy();
        if let Some(telemetry) = root.telemetry() {
            match mode {
                Mode::Enforce => telemetry.connection_refused(violation),
                Mode::Monitor => telemetry.would_refuse(violation, count),
            }
            if let Some(rule) = rule {
                telemetry.matched(rule, count);
            }
        }
        let line_count = match mode {
            Mode::Enforce => 1,
            Mode::Monitor => {
                let before = self.overlooked_count;
                self.overlooked_count = before.saturating_add(count);
                count.min(LOGGED_MAX.saturating_sub(before))
            }
        };
        if log.refusals {
            (0..line_count).for_each(|_| self.record.refused(violation, rule, *mode));
        }
    }

    /// Writes the Ping that is due to the client, if it can be written now.
    fn ping(&mut self, root: &Root) -> Hosted<()> {
        if !self.to_client.is_open() {
            return Ok(());
        }
        self.session.ping(root.now()).map_or(Ok(()), |ping| self.to_client.write(&ping))
    }

    /// Has the connection looked at when it is due.
    fn arm(&mut self, root: &Root) {
        if let Some(deadline) = self.session.deadline()
            && self.armed_for.is_none_or(|at| deadline < at)
        {
            self.armed_for = Some(root.schedule(self.id, deadline));
        }
    }
}
