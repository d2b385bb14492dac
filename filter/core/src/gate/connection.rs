//! A connection that is up: bytes through the session, what waits of them, and Close frames of our own.
//!
//! Where a Close cannot be written to the client at once, it is written behind the next bytes of its server, which that one's own answering
//! Close brings.

mod credentials;
mod report;
mod revocation;

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;

use super::proof::Proof;
use super::worker::{Plugin, Worker};
use crate::ask::Ask;
use crate::cluster::Bindings;
use crate::effect::{ClientWriter, Effect, Effects, Onward, Passage};
use crate::identity::marks::Marks;
use crate::limits::counters::Slot;
use crate::limits::lease::{Lease, Subject};
use crate::limits::rules::OnExcess;
use crate::mode::Mode;
use crate::policy::Policy;
use crate::policy::routes::Policies;
use crate::port::{self, HostError};
use crate::record::{Amount, Record};
use crate::refusal::Refusal;
use crate::session::{Budget, Due, Excess, Received, Session};
use crate::succession::Listener;
use crate::time::Moment;
use crate::turn::{self, Backlog, Full, Turn};
use crate::violation::Violation;
use crate::wire::{Chunk, Side, Sides, Unreadable};

/// How far ahead it is scheduled: where more time is left it is ticked in between. Timers of streams that have ended stay until they
/// are due, so this bounds their number.
const SCHEDULE_MAX: Duration = Duration::from_secs(30);

/// Within what time idle connections are reviewed that may go by other policies, in milliseconds: not all of them at once, and with
/// the time that policies take to settle and two ticks within two seconds.
const REVIEW_MILLIS: u64 = 400;

/// A connection that is up.
#[derive(Debug)]
pub struct Connection {
    id: u32,
    listener: Rc<Listener<Policies>>,
    policies: Rc<Policies>,
    /// What its route named the aliases of its first policies.
    bindings: Option<Rc<Bindings>>,
    policy: Rc<Policy>,
    session: Session,
    /// What of the client waits, where something has to.
    backlog: Option<Box<Backlog>>,
    /// It has a turn to come.
    is_queued: bool,
    /// It has had its time, or a call of the host failed and what its buffers hold is not known: nothing goes on any more, whenever the host
    /// tells that it has ended.
    is_cut: bool,
    /// When it is ticked next, whatever comes before.
    armed_for: Option<Moment>,
    record: Record,
    subject: Subject,
    lease: Option<Rc<Lease>>,
    /// The slots that it has beside those of its handshake.
    slots: Box<[Slot]>,
    /// What is being found out about its client, and what waits for it.
    proof: Option<Box<Proof>>,
    opened_at: Moment,
    /// What it can be revoked by, where it can be.
    marks: Option<Box<Marks>>,
    /// What of [`Identity::revision`](crate::identity::Identity::revision) it has been looked at for.
    revision: Option<u32>,
    /// It is revoked, and that is only monitored.
    is_revoked: bool,
    /// How much each side has sent.
    sent: Sides<Amount>,
}

impl Connection {
    /// What was decided under `policies`.
    pub(super) fn new(
        id: u32,
        listener: Rc<Listener<Policies>>,
        policies: &Rc<Policies>,
        session: Session,
        record: Record,
        subject: Subject,
        opened_at: Moment,
    ) -> Self {
        Self {
            id,
            listener,
            policies: policies.origin(),
            bindings: policies.bindings().cloned(),
            policy: Rc::clone(session.policy()),
            session,
            backlog: None,
            is_queued: false,
            is_cut: false,
            armed_for: None,
            record,
            subject,
            lease: None,
            slots: Box::default(),
            proof: None,
            opened_at,
            marks: None,
            revision: None,
            is_revoked: false,
            sent: Sides::default(),
        }
    }

    /// The policy that it is under.
    #[must_use]
    pub const fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// Whether everything of `from` that has gone on ends with a frame.
    #[must_use]
    #[inline]
    pub fn is_between_frames(&self, from: Side) -> bool {
        self.session.is_between_frames(from)
    }

    /// How much is held of a message from one side.
    #[must_use]
    pub fn held_len(&self, from: Side) -> usize {
        self.session.held_len(from)
    }

    /// Whether bytes of the client wait: to be judged, or to be given out in a turn.
    fn is_waiting(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty())
    }

    /// The 101 goes on.
    pub(super) fn open(&mut self, plugin: &Plugin, effects: &mut Effects) {
        self.lease = plugin.worker().leases.lease(&self.subject, &self.policy.limits);
        self.review_proof(plugin.worker(), effects);
        self.arm(plugin.worker(), effects);
        if self.policy.log.connections {
            self.log(plugin.worker(), Mode::Enforce, |connection, of| connection.record.opened(of), effects);
        }
        self.follow_policies(plugin.worker(), effects);
    }

    /// Takes what one side sent; `end`: it sends nothing any more.
    #[inline]
    pub(super) fn receive(
        &mut self,
        plugin: &Plugin,
        from: Side,
        chunk: &dyn Chunk,
        end: bool,
        effects: &mut Effects,
    ) -> Onward {
        if self.is_cut {
            return Onward::Nothing;
        }
        self.follow_policies(plugin.worker(), effects);
        let received = match from {
            Side::Server if self.proof.is_some() => self.receive_held(plugin.worker(), chunk, end, effects),
            Side::Client if self.backlog.is_some() || self.session.is_read() => {
                self.receive_in_turn(plugin, chunk, end, effects)
            }
            Side::Client | Side::Server => {
                self.judge(plugin.worker(), from, chunk, end, None, effects).map(Onward::Part)
            }
        };
        let Ok(onward) = received else { return self.fail_and_hold(plugin, effects) };
        if self.write_close(plugin.worker(), effects).is_err() {
            return self.fail_and_hold(plugin, effects);
        }
        onward
    }

    #[cold]
    fn fail_and_hold(&mut self, plugin: &Plugin, effects: &mut Effects) -> Onward {
        self.fail(plugin, effects);
        Onward::Nothing
    }

    /// Takes what the client sent where judging it is work, or where other bytes wait before it: it is judged while there is time, and the
    /// rest waits.
    #[inline(never)]
    fn receive_in_turn<C: Chunk + ?Sized>(
        &mut self,
        plugin: &Plugin,
        chunk: &C,
        end: bool,
        effects: &mut Effects,
    ) -> Result<Onward, HostError> {
        let worker = plugin.worker();
        if self.is_verifying() {
            return self.wait_for_verdict(worker, chunk, end, effects);
        }
        let may_wait = self.may_wait(plugin);
        let has_turn = !may_wait || worker.turn.has_time(chunk.len(), self.session.is_laden());
        if self.is_waiting() || !has_turn {
            if self.may_put_off(plugin, chunk.len(), effects) {
                let bytes = read(chunk, 0, chunk.len())?;
                self.wait(worker, &bytes, end, effects);
                return Ok(Onward::Kept);
            }
            return self.receive_at_once(worker, chunk, end, effects);
        }
        worker.turn.begin(worker.port.now()?);
        let turn = may_wait.then_some(&worker.turn);
        let received = self.judge_client(worker, chunk, turn, effects);
        judged(worker, effects);
        let (passage, left) = received?;
        if self.is_verifying() {
            return self.wait_behind(worker, chunk, (&passage, left), end, effects);
        }
        if left > 0 {
            let bytes = read(chunk, chunk.len().saturating_sub(left), left)?;
            self.wait(worker, &bytes, end, effects);
        } else if end {
            self.finish(worker, effects);
        }
        let Some(backlog) = self.backlog.as_mut().filter(|backlog| !backlog.is_empty()) else {
            self.backlog = None;
            return Ok(Onward::Part(passage));
        };
        backlog.pass(&onward_bytes(chunk, &passage)?);
        Ok(Onward::Kept)
    }

    /// Has `bytes` wait for a turn; `end`: nothing follows them.
    fn wait(&mut self, worker: &Worker, bytes: &[u8], end: bool, effects: &mut Effects) {
        if end {
            self.finish(worker, effects);
        }
        let backlog = self.backlog.get_or_insert_with(|| new_backlog(worker));
        backlog.push(bytes, end, worker.now());
        if !core::mem::replace(&mut self.is_queued, true) {
            worker.turn.queue(self.id, backlog.spent());
        }
        hurry(worker, effects);
    }

    /// The client sends nothing any more.
    fn finish(&mut self, worker: &Worker, effects: &mut Effects) {
        self.session.finish(Side::Client, worker.now());
        self.arm(worker, effects);
    }

    /// Whether the client's bytes may wait. Limits that are only monitored bound them for nobody, and the host may reset a paused stream
    /// to which more comes at once than its buffer takes.
    fn may_wait(&self, plugin: &Plugin) -> bool {
        let Policy { modes, limits, buffer_limits, .. } = &*self.policy;
        let rate = limits.per_connection.bytes.filter(|_| modes.limits.enforces() && plugin.may_wait.get());
        rate.is_some_and(|rate| turn::may_wait(&rate, limits.held_len_max, *buffer_limits))
    }

    /// Whether so many bytes more may wait. A client that sends on where they may not is refused.
    fn may_put_off(&mut self, plugin: &Plugin, len: usize, effects: &mut Effects) -> bool {
        let worker = plugin.worker();
        let policy = Rc::clone(&self.policy);
        let limits = &policy.limits;
        let Some(rate) = limits.per_connection.bytes.filter(|_| self.may_wait(plugin)) else { return false };
        let check = |backlog: &Backlog| backlog.check(len, &rate, limits.held_len_max, worker.now());
        let refusal = match self.backlog.as_ref().map_or_else(|| check(&new_backlog(worker)), |backlog| check(backlog))
        {
            Ok(()) => return true,
            Err(Full::NoRoom) if !self.is_waiting() => return false,
            Err(Full::TooMuch) if limits.on_excess == OnExcess::Close => Excess::Bytes.refusal(""),
            Err(Full::TooMuch | Full::NoRoom) => Violation::Overloaded.into(),
        };
        if self.session.violation().is_none() {
            self.report(worker, &refusal, None, Mode::Enforce, effects);
            self.session.refuse(refusal.violation, Some(Side::Client), worker.now());
            self.arm(worker, effects);
        }
        false
    }

    /// Takes what waits and what the client sent behind it, without regard to others.
    #[inline]
    fn receive_at_once<C: Chunk + ?Sized>(
        &mut self,
        worker: &Worker,
        chunk: &C,
        end: bool,
        effects: &mut Effects,
    ) -> Result<Onward, HostError> {
        while let Some(piece) = self.backlog.as_mut().and_then(|backlog| backlog.take_piece()) {
            let left = self.judge_own(worker, piece.bytes(), None, effects)?;
            if let Some(backlog) = self.backlog.as_mut().filter(|_| left > 0) {
                backlog.put_back(piece, left, Duration::ZERO);
            }
            if self.is_verifying() {
                return self.wait_for_verdict(worker, chunk, end, effects);
            }
        }
        let (passage, left) = self.judge_client(worker, chunk, None, effects)?;
        if self.is_verifying() {
            return self.wait_behind(worker, chunk, (&passage, left), end, effects);
        }
        if end {
            self.finish(worker, effects);
        }
        let ready = self.backlog.take().map(|mut backlog| backlog.take_ready(usize::MAX)).unwrap_or_default();
        Ok(Onward::Part(Passage { before: [ready, passage.before].concat(), ..passage }))
    }

    /// The next of what waits is judged where there is time. Gives what goes on now.
    #[inline]
    pub(super) fn take_turn(&mut self, plugin: &Plugin, len_max: usize, effects: &mut Effects) -> Ready {
        self.is_queued = false;
        if self.is_cut {
            return Ready::default();
        }
        let worker = plugin.worker();
        self.follow_policies(worker, effects);
        if self.judge_next(worker, effects).and_then(|()| self.write_close(worker, effects)).is_err() {
            self.fail(plugin, effects);
            return Ready::default();
        }
        let ready = self.take_ready(len_max);
        let is_verifying = self.is_verifying();
        if let Some(backlog) = &self.backlog
            && (if is_verifying { backlog.has_ready() && !backlog.is_ended() } else { !backlog.is_empty() })
        {
            worker.turn.queue(self.id, backlog.spent());
            self.is_queued = true;
        }
        ready
    }

    /// Where the client sends nothing any more, what waits goes on all at once, when the last of it has been judged: the host would tell the end
    /// with the first.
    fn take_ready(&mut self, len_max: usize) -> Ready {
        let is_verifying = self.is_verifying();
        let Some(backlog) = &mut self.backlog else { return Ready::default() };
        match (backlog.is_ended(), backlog.is_judged() && !is_verifying) {
            (true, false) => Ready::default(),
            (true, true) => {
                let bytes = backlog.take_ready(usize::MAX);
                self.backlog = None;
                Ready { bytes, is_last: true }
            }
            (false, _) => Ready { bytes: backlog.take_ready(len_max), is_last: false },
        }
    }

    #[inline]
    fn judge_next(&mut self, worker: &Worker, effects: &mut Effects) -> Result<(), HostError> {
        let turn = &worker.turn;
        let (is_laden, is_verifying) = (self.session.is_laden(), self.is_verifying());
        let has_turn =
            |backlog: &&mut Box<Backlog>| !is_verifying && backlog.is_due() && turn.has_time(backlog.len(), is_laden);
        let Some(piece) = self.backlog.as_mut().filter(has_turn).and_then(|backlog| backlog.take_piece()) else {
            return Ok(());
        };
        let begin = worker.port.now()?;
        turn.begin(begin);
        let received = self.judge_own(worker, piece.bytes(), Some(turn), effects);
        let took = judged(worker, effects).since(begin);
        let left = received?;
        if let Some(backlog) = &mut self.backlog {
            backlog.put_back(piece, left, took);
        }
        Ok(())
    }

    /// Has bytes judged that waited, and what may go on put behind what is ready. Gives how many at the end were not judged.
    #[inline]
    fn judge_own(
        &mut self,
        worker: &Worker,
        bytes: &[u8],
        turn: Option<&Turn>,
        effects: &mut Effects,
    ) -> Result<usize, HostError> {
        let (passage, left) = self.judge_client::<dyn Chunk>(worker, &bytes, turn, effects)?;
        if let Some(backlog) = &mut self.backlog {
            backlog.pass(&onward_bytes::<dyn Chunk>(&bytes, &passage)?);
        }
        Ok(left)
    }

    /// A time has come that may be one it waits for.
    pub(super) fn tick(&mut self, plugin: &Plugin, effects: &mut Effects) {
        let worker = plugin.worker();
        // A timer that another took the place of, unless it is there for the sake of another policy.
        if self.armed_for.is_some_and(|at| worker.now() < at) && !self.is_behind() && !self.is_unreviewed(worker) {
            return;
        }
        self.armed_for = None;
        if self.is_cut {
            // Until the host does it.
            self.arm(worker, effects);
            effects.push(Effect::Reset);
            return;
        }
        self.follow_policies(worker, effects);
        if self.look_at_calendar(worker).is_err() {
            return self.fail(plugin, effects);
        }
        let due = self.session.tick(worker.now());
        if let Due::Refused(violation) = due {
            self.report(worker, &violation.into(), None, self.outcome(), effects);
        }
        self.review_proof(worker, effects);
        let is_ping_due = due == Due::Ping && effects.client_writer == ClientWriter::Open;
        let ping = if is_ping_due { self.session.ping(worker.now()) } else { None };
        self.arm(worker, effects);
        effects.list.extend(ping.map(Effect::Write));
        self.is_cut = due == Due::Reset;
        // A Close may be due because of the policy, too, and goes before a reset.
        if self.write_close(worker, effects).is_err() {
            return self.fail(plugin, effects);
        }
        if self.is_cut {
            effects.push(Effect::Reset);
        }
    }

    /// Whether it goes by other policies from its next event on.
    fn is_behind(&self) -> bool {
        self.listener.other_than(&self.policies).is_some()
    }

    pub(super) fn review(&self, worker: &Worker, effects: &mut Effects) {
        let (identity, auth) = (&worker.identity, &self.policy.auth);
        // One without marks has none to be found, or came before there was anything that revokes.
        let is_revoked = match self.marks.as_deref() {
            Some(marks) => identity.is_revoked(auth, marks),
            None => self.session.credential().is_some() && identity.can_revoke(auth),
        };
        if is_revoked && self.is_unreviewed(worker) {
            // A tick takes no more at once than others can wait for.
            effects.push(Effect::WakeAt(worker.now()));
        } else if self.is_behind() {
            let millis = u64::from(self.id) % REVIEW_MILLIS;
            effects.push(Effect::WakeAt(worker.now().saturating_add(Duration::from_millis(millis))));
        }
    }

    /// Goes by the policies in force.
    #[inline]
    fn follow_policies(&mut self, worker: &Worker, effects: &mut Effects) {
        if let Some(policies) = self.listener.other_than(&self.policies) {
            self.adopt(worker, policies, effects);
        }
        if self.is_unreviewed(worker) {
            self.look_at_revocations(worker, effects);
        }
    }

    #[cold]
    fn adopt(&mut self, worker: &Worker, policies: Rc<Policies>, effects: &mut Effects) {
        let bound = worker.bound(&policies, || self.bindings.clone().unwrap_or_default());
        let violation = self.session.adopt(&bound, worker.now());
        self.policies = policies;
        self.policy = Rc::clone(self.session.policy());
        self.look_again();
        if let Some(violation) = violation {
            self.report(worker, &violation.into(), None, self.outcome(), effects);
        }
        self.lease = worker.leases.lease(&self.subject, &self.policy.limits);
        self.review_proof(worker, effects);
        // Where that fails, the connection is due at once.
        let _ = self.look_at_calendar(worker);
        self.arm(worker, effects);
    }

    /// What has become of what was found: an open connection was let pass.
    fn outcome(&self) -> Mode {
        if self.session.violation().is_some() { Mode::Enforce } else { Mode::Monitor }
    }

    fn look_at_calendar(&mut self, worker: &Worker) -> Result<(), HostError> {
        self.session.look_at_calendar(|| worker.port.date(), worker.now())
    }

    /// After a step that failed nothing goes on any more: the client gets a Close where that can be written, and the stream is reset.
    #[cold]
    pub(super) fn fail(&mut self, plugin: &Plugin, effects: &mut Effects) {
        let worker = plugin.worker();
        if core::mem::replace(&mut self.is_cut, true) {
            effects.push(Effect::Reset);
            return;
        }
        if self.session.violation().is_none() {
            self.report(worker, &Violation::Internal.into(), None, Mode::Enforce, effects);
        }
        self.session.refuse(Violation::Internal, None, worker.now());
        self.drop_proof(worker, effects);
        // What was to wake it may be among the effects that were not carried out.
        self.armed_for = None;
        self.arm(worker, effects);
        let told = self.write_close(worker, effects);
        if told.is_err() || effects.client_writer == ClientWriter::Busy {
            effects.push(Effect::Reset);
        }
    }

    /// Has the bytes of one side judged; nothing follows an `end`. Where `turn` is over before all is judged, the rest waits.
    #[inline(never)]
    fn judge<C: Chunk + ?Sized>(
        &mut self,
        worker: &Worker,
        from: Side,
        chunk: &C,
        end: bool,
        turn: Option<&Turn>,
        effects: &mut Effects,
    ) -> Result<Passage, HostError> {
        let spending =
            Spending { policy: &self.policy, lease: self.lease.as_ref(), turn, worker, asks: RefCell::default() };
        let received = self.session.receive(from, chunk, worker.now(), &spending);
        let asks = spending.asks.into_inner();
        if !asks.is_empty() {
            effects.list.extend(asks.into_iter().map(Effect::Ask));
        }
        let Received { mut passage, violation, cause, overlooked, swallowed } =
            received.map_err(|Unreadable| HostError)?;
        self.count(worker, from, chunk.len());
        if end {
            self.session.finish(from, worker.now());
        }
        if let Some(violation) = violation {
            self.report_found(worker, Refusal { violation, cause }, from, effects);
        }
        if !overlooked.is_empty() || swallowed {
            self.report_passed(worker, from, overlooked, effects);
        }
        if self.session.is_pressed() {
            self.arm(worker, effects);
        }
        if self.session.violation().is_some() {
            if self.session.is_unproven() && from == Side::Client {
                passage = Passage::default();
            }
            self.drop_proof(worker, effects);
            if let Some(close) = self.close(worker, from.peer())? {
                passage.after.extend(close);
            }
        }
        Ok(passage)
    }

    /// Writes the Close that is due to the client, if it can be written now.
    #[inline]
    fn write_close(&mut self, worker: &Worker, effects: &mut Effects) -> Result<(), HostError> {
        if self.proof.is_some() && !self.is_cut {
            self.flush_server(worker, effects)?;
        }
        if self.session.violation().is_some() && effects.client_writer == ClientWriter::Open {
            effects.list.extend(self.close(worker, Side::Client)?.map(Effect::Write));
        }
        Ok(())
    }

    /// The Close frame of a refused connection that is due towards `to`.
    #[cold]
    fn close(&mut self, worker: &Worker, to: Side) -> Result<Option<Vec<u8>>, HostError> {
        Ok(self.session.transmit(to, port::random(&*worker.port)?))
    }

    /// Has the connection ticked when it is due.
    fn arm(&mut self, worker: &Worker, effects: &mut Effects) {
        if let Some(deadline) = self.session.deadline()
            && self.armed_for.is_none_or(|at| deadline < at)
        {
            let at = deadline.min(worker.now().saturating_add(SCHEDULE_MAX));
            self.armed_for = Some(at);
            effects.push(Effect::WakeAt(at));
        }
    }
}

/// What of the bytes that waited goes on now.
#[derive(Debug, Default)]
pub struct Ready {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Nothing follows them.
    pub is_last: bool,
}

#[inline]
fn read<C: Chunk + ?Sized>(chunk: &C, offset: usize, len: usize) -> Result<Cow<'_, [u8]>, HostError> {
    if len == 0 { Ok(Cow::Borrowed(&[])) } else { chunk.bytes(offset, len).map_err(|Unreadable| HostError) }
}

/// What goes on of a chunk.
fn onward_bytes<C: Chunk + ?Sized>(chunk: &C, passage: &Passage) -> Result<Vec<u8>, HostError> {
    Ok([&passage.before, &*read(chunk, 0, passage.keep)?, &passage.after].concat())
}

fn new_backlog(worker: &Worker) -> Box<Backlog> {
    Box::new(Backlog::new(Rc::clone(&worker.held)))
}

/// Judging has ended for now. Gives the time.
#[inline]
fn judged(worker: &Worker, effects: &mut Effects) -> Moment {
    let now = worker.port.now().unwrap_or_else(|_| worker.now());
    worker.turn.look(now);
    hurry(worker, effects);
    now
}

#[inline]
fn hurry(worker: &Worker, effects: &mut Effects) {
    if worker.turn.is_behind() {
        effects.push(Effect::Hurry);
    }
}

/// What a connection's messages are counted against, for one step of it.
struct Spending<'a> {
    policy: &'a Policy,
    lease: Option<&'a Rc<Lease>>,
    /// The worker's turn, where others may have to be heard before all is judged.
    turn: Option<&'a Turn>,
    worker: &'a Worker,
    asks: RefCell<Vec<Ask>>,
}

impl Budget for Spending<'_> {
    fn now(&self) -> Moment {
        self.worker.port.now().unwrap_or_else(|_| self.worker.now())
    }

    fn spend(&self, messages: u64, len: u64) -> bool {
        self.lease.is_none_or(|lease| lease.spend(&self.policy.limits, messages, len))
    }

    fn lacks_bytes(&self, messages: u64, len: u64) -> bool {
        self.lease.is_some_and(|lease| lease.lacks_bytes(&self.policy.limits, messages, len))
    }

    fn ask(&self, kind: &str) -> bool {
        let (Some(lease), Some(global)) = (self.lease, &self.policy.limits.global) else { return true };
        let (is_allowed, ask) = lease.take_message(global, self.policy.counted_type(kind), self.worker.now());
        self.asks.borrow_mut().extend(ask);
        is_allowed
    }

    fn countdown(&self, from: Side) -> Option<&Cell<u32>> {
        Some(self.worker.watch.message_lens(from).countdown())
    }

    fn sample_len(&self, from: Side, len: u64) {
        self.worker.watch.message_lens(from).take(len);
    }

    fn begin_inspection(&self) -> Option<Moment> {
        let is_sample = self.worker.watch.inspections().count_down();
        if is_sample { self.worker.port.now().ok() } else { None }
    }

    fn end_inspection(&self, begin: Moment) {
        let took = Budget::now(self).since(begin);
        self.worker.watch.inspections().take(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    fn goes_on(&self) -> bool {
        self.turn.is_none_or(|turn| {
            turn.look(Budget::now(self));
            !turn.is_over()
        })
    }
}
