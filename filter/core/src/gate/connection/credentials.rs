//! Credentials that come in messages: what is done with the bytes around them, and what follows the verdict.
//!
//! ```text
//! bytes of the client ── judged ──▶ a credential ──┬─ known at once ──▶ what stands behind it is judged
//!                                                  └─ asked for ──▶ what comes waits ── Connection::answered ──▶ judged in turns
//! ```

use std::rc::Rc;

use super::{Connection, new_backlog, onward_bytes, read};
use crate::ask::{Answer, Ask, Asker, Step, Wait};
use crate::docket::{Docket, Strictness};
use crate::effect::{ClientWriter, Effect, Effects, Onward, Passage};
use crate::gate::proof::Proof;
use crate::gate::worker::{Plugin, Worker, tell_ban};
use crate::limits::admission::{Admissions, Applicant, Peer};
use crate::limits::lease::Subject;
use crate::mode::Mode;
use crate::policy::Fail;
use crate::port::HostError;
use crate::record::Scene;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::token::Verified;
use crate::turn::Turn;
use crate::violation::{Part, Violation};
use crate::wire::header::HEADER_LEN_MAX;
use crate::wire::{Chunk, Side};

impl Connection {
    /// Whether the client's bytes wait for a verdict about its credential.
    pub(super) fn is_verifying(&self) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.is_verifying()) && self.policy.modes.auth.enforces()
    }

    /// Has bytes of the client judged, and the credentials that they bring. Gives what goes on, and how many bytes at the end were not judged.
    pub(super) fn judge_client<C: Chunk + ?Sized>(
        &mut self,
        worker: &Worker,
        chunk: &C,
        turn: Option<&Turn>,
        effects: &mut Effects,
    ) -> Result<(Passage, usize), HostError> {
        let passage = self.judge(worker, Side::Client, chunk, false, turn, effects)?;
        let token = self.session.take_token();
        if token.is_none() && self.proof.is_none() {
            return Ok((passage, self.session.left()));
        }
        let bytes = onward_bytes(chunk, &passage)?;
        let (bytes, left) = self.go_on_behind(worker, chunk, bytes, token, turn, effects)?;
        Ok((Passage { before: bytes, keep: 0, after: Vec::new() }, left))
    }

    /// `bytes` of a chunk may go on; then comes what a `token` leads to, and what stands behind it in the chunk.
    #[cold]
    fn go_on_behind<C: Chunk + ?Sized>(
        &mut self,
        worker: &Worker,
        chunk: &C,
        bytes: Vec<u8>,
        mut token: Option<Secret<Vec<u8>>>,
        turn: Option<&Turn>,
        effects: &mut Effects,
    ) -> Result<(Vec<u8>, usize), HostError> {
        let mut onward = self.hold_client(worker, bytes, effects)?;
        loop {
            let Some(found) = token.take().filter(|_| self.session.violation().is_none()) else {
                return Ok((onward, self.session.left()));
            };
            onward.extend(self.verify(worker, found, effects)?.unwrap_or_default());
            let left = self.session.left();
            if left == 0 || self.is_verifying() {
                return Ok((onward, left));
            }
            let rest = read(chunk, chunk.len().saturating_sub(left), left)?;
            let rest: &[u8] = &rest;
            let passage = self.judge::<dyn Chunk>(worker, Side::Client, &rest, false, turn, effects)?;
            onward.extend(onward_bytes::<dyn Chunk>(&rest, &passage)?);
            token = self.session.take_token();
        }
    }

    /// Keeps back what a client sent that is not known; gives what goes on of it, with what was kept back before where it is known by now.
    fn hold_client(&mut self, worker: &Worker, bytes: Vec<u8>, effects: &mut Effects) -> Result<Vec<u8>, HostError> {
        if !self.session.holds_client() {
            let before = self.proof.as_mut().map(|proof| proof.take_client()).unwrap_or_default();
            return Ok([before, bytes].concat());
        }
        let proof = self.proof.get_or_insert_with(|| new_proof(worker));
        let rules = &self.policy.messages.client.rules;
        let headers_len = u64::from(rules.fragments_max).saturating_mul(HEADER_LEN_MAX as u64);
        let message_len = usize::try_from(rules.message_len_max.saturating_add(headers_len)).unwrap_or(usize::MAX);
        if proof.hold_client(&bytes, message_len, self.policy.limits.held_len_max) {
            return Ok(Vec::new());
        }
        self.turn_away(worker, &Violation::Overloaded.into(), effects)
    }

    /// Has a credential verified. Gives what goes on to the server with the verdict; nothing yet, where that is not known.
    fn verify(
        &mut self,
        worker: &Worker,
        token: Secret<Vec<u8>>,
        effects: &mut Effects,
    ) -> Result<Option<Vec<u8>>, HostError> {
        let proof = self.proof.get_or_insert_with(|| new_proof(worker));
        // The last one has not been answered, which only one that is monitored does not wait for.
        if proof.is_verifying() {
            return Ok(None);
        }
        let token_len = token.expose().len();
        if !proof.fits(token_len, self.policy.limits.held_len_max) {
            return self.decide(worker, Err(Violation::Overloaded.into()), effects).map(Some);
        }
        let step = worker.identity.verify(&self.policy.auth, token);
        self.follow(worker, step, token_len, effects)
    }

    /// Goes on with the verdict, or waits for it.
    fn follow(
        &mut self,
        worker: &Worker,
        step: Step<Result<Rc<Verified>, Refusal>>,
        token_len: usize,
        effects: &mut Effects,
    ) -> Result<Option<Vec<u8>>, HostError> {
        match step {
            Step::Asks(wait, rest) => {
                self.proof.get_or_insert_with(|| new_proof(worker)).wait(rest, token_len);
                match wait {
                    Wait::Own(question) => {
                        effects.push(Effect::Ask(Ask { question, asker: Asker::Stream(self.id) }));
                    }
                    Wait::Shared(inquiry) => worker.identity.wait(inquiry, self.id),
                }
                effects.list.extend(worker.identity.take_asks().into_iter().map(Effect::Ask));
                Ok(None)
            }
            Step::Ready(known) => self.decide(worker, known, effects).map(Some),
        }
    }

    /// The answer that a verdict waits for is there, or will never be.
    pub(in crate::gate) fn answered(&mut self, plugin: &Plugin, answer: Answer, effects: &mut Effects) {
        let worker = plugin.worker();
        let Some((rest, token_len)) = self.proof.as_mut().and_then(|proof| proof.take_rest()) else { return };
        if self.is_cut {
            return;
        }
        self.follow_policies(worker, effects);
        let step = rest.answer(answer);
        if self.resume(worker, step, token_len, effects).and_then(|()| self.write_close(worker, effects)).is_err() {
            self.fail(plugin, effects);
        }
    }

    fn resume(
        &mut self,
        worker: &Worker,
        step: Step<Result<Rc<Verified>, Refusal>>,
        token_len: usize,
        effects: &mut Effects,
    ) -> Result<(), HostError> {
        if self.session.violation().is_some() {
            return Ok(());
        }
        if let Some(bytes) = self.follow(worker, step, token_len, effects)? {
            self.let_go(worker, &bytes, effects);
        }
        Ok(())
    }

    /// `bytes` go on to the server, and behind them what waits, in a turn. Where nothing has waited, nobody can write them.
    fn let_go(&mut self, worker: &Worker, bytes: &[u8], effects: &mut Effects) {
        let Some(backlog) = &mut self.backlog else { return };
        backlog.pass(bytes);
        if backlog.has_ready() || !self.is_verifying() {
            self.queue(worker, effects);
        }
    }

    /// Gives what waits its turn.
    pub(super) fn queue(&mut self, worker: &Worker, effects: &mut Effects) {
        let Some(backlog) = self.backlog.as_ref().filter(|backlog| !backlog.is_empty()) else { return };
        if !core::mem::replace(&mut self.is_queued, true) {
            worker.turn.queue(self.id, backlog.spent());
        }
        super::hurry(worker, effects);
    }

    /// It is known whether a credential is good. Gives what goes on to the server now.
    fn decide(
        &mut self,
        worker: &Worker,
        known: Result<Rc<Verified>, Refusal>,
        effects: &mut Effects,
    ) -> Result<Vec<u8>, HostError> {
        let is_first = self.session.is_introducing();
        let docket = Docket::new(self.policy.modes, None, Strictness::None);
        let refusal = known.and_then(|verified| self.identify(worker, &verified, is_first, &docket)).err();
        let is_faulty = self.policy.fail == Fail::Open
            && refusal.as_ref().is_some_and(|refusal| refusal.violation == Violation::Internal);
        match refusal.filter(|_| !is_faulty) {
            Some(mut refusal) => {
                self.policy.auth.locate(&mut refusal);
                self.count_failure(worker, &refusal, effects);
                match docket.find_in(Part::Auth, refusal) {
                    Err(refusal) => return self.turn_away(worker, &refusal, effects),
                    Ok(()) => self.session.go_on_unidentified(),
                }
            }
            None if is_faulty => self.session.go_on_unidentified(),
            None => {
                self.look_again();
                self.look_at_calendar(worker)?;
            }
        }
        for passed in docket.into_passed() {
            self.report(worker, &passed.refusal, None, Mode::Monitor, effects);
        }
        self.arm(worker, effects);
        Ok(self.proof.as_mut().map(|proof| proof.take_client()).unwrap_or_default())
    }

    /// The client is who it says.
    fn identify(
        &mut self,
        worker: &Worker,
        verified: &Rc<Verified>,
        is_first: bool,
        docket: &Docket,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.peer().filter(|_| is_first) else {
            return self.session.identify(verified).map_err(Refusal::from);
        };
        let mut admissions = Admissions::new(Rc::clone(&worker.counters), peer.clone());
        let on_fault = match self.policy.fail {
            Fail::Closed => Err(Violation::Internal),
            Fail::Open => Ok(()),
        };
        let applicant = Applicant::Subject(verified);
        let admitted = admissions.count(&self.policy.limits, applicant, on_fault);
        // Where that is enforced, whoever it is goes no further.
        let admitted = admitted.or_else(|violation| docket.find_in(Part::Limits, applicant.refusal(violation)));
        admitted.map_err(|refusal| refusal.under(Mode::Enforce))?;
        self.session.identify(verified)?;
        self.slots = admissions.into_parts().0;
        self.subject = Subject::new(&worker.counters, peer, Some(verified));
        self.lease = worker.leases.lease(&self.subject, &self.policy.limits);
        self.record.identify(verified);
        Ok(())
    }

    /// Counts a failed attempt of a client that is not known yet.
    fn count_failure(&self, worker: &Worker, refusal: &Refusal, effects: &mut Effects) {
        let Some(peer) = self.peer().filter(|_| refusal.violation.is_failed_attempt()) else { return };
        let Some(rules) = peer.fail(&worker.counters, &self.policy.limits) else { return };
        let label = self.policies.label(&self.policy);
        let of = Scene { worker: worker.name, stream: self.id, policy: &label };
        tell_ban(worker, &self.policy, &self.record, of, (Some(refusal), rules), effects);
    }

    /// The address that it is counted by, where it has no subject.
    fn peer(&self) -> Option<Peer> {
        if let Subject::Address(peer) = &self.subject { Some(peer.clone()) } else { None }
    }

    /// Refuses the client for what it brought, or did not. Gives what its server is told.
    fn turn_away(&mut self, worker: &Worker, refusal: &Refusal, effects: &mut Effects) -> Result<Vec<u8>, HostError> {
        if self.session.violation().is_none() {
            self.report(worker, refusal, None, Mode::Enforce, effects);
            self.session.refuse_message(refusal.violation, worker.now());
        }
        self.proof = None;
        self.arm(worker, effects);
        Ok(self.close(worker, Side::Server)?.unwrap_or_default())
    }

    /// Takes what the client sent behind a credential that is being verified: it waits.
    pub(super) fn wait_for_verdict<C: Chunk + ?Sized>(
        &mut self,
        worker: &Worker,
        chunk: &C,
        end: bool,
        effects: &mut Effects,
    ) -> Result<Onward, HostError> {
        let limits = &self.policy.limits;
        let backlog = self.backlog.get_or_insert_with(|| new_backlog(worker));
        let may_wait = match &limits.per_connection.bytes {
            Some(rate) => backlog.check(chunk.len(), rate, limits.held_len_max, worker.now()).is_ok(),
            None => backlog.has_room(chunk.len(), limits.held_len_max),
        };
        if !may_wait {
            let close = self.turn_away(worker, &Violation::Overloaded.into(), effects)?;
            self.let_go(worker, &close, effects);
            return Ok(Onward::Kept);
        }
        let bytes = read(chunk, 0, chunk.len())?;
        if !bytes.is_empty() {
            self.session.hear_client(worker.now());
        }
        self.hold(worker, &bytes, end, effects);
        Ok(Onward::Kept)
    }

    /// What may go on of a chunk does, with a turn, and its last `left` bytes wait for a verdict.
    pub(super) fn wait_behind<C: Chunk + ?Sized>(
        &mut self,
        worker: &Worker,
        chunk: &C,
        (passage, left): (&Passage, usize),
        end: bool,
        effects: &mut Effects,
    ) -> Result<Onward, HostError> {
        let ready = onward_bytes(chunk, passage)?;
        let rest = read(chunk, chunk.len().saturating_sub(left), left)?;
        self.hold(worker, &rest, end, effects);
        self.let_go(worker, &ready, effects);
        Ok(Onward::Kept)
    }

    /// Has `rest` wait for a verdict; `end`: nothing follows it.
    fn hold(&mut self, worker: &Worker, rest: &[u8], end: bool, effects: &mut Effects) {
        if end {
            self.finish(worker, effects);
        }
        let backlog = self.backlog.get_or_insert_with(|| new_backlog(worker));
        if !rest.is_empty() || end {
            backlog.push(rest, end, worker.now());
        }
    }

    /// Takes what the server sent while it is not known who its client is, or the first of it that comes when it is.
    #[cold]
    pub(super) fn receive_held(
        &mut self,
        worker: &Worker,
        chunk: &dyn Chunk,
        end: bool,
        effects: &mut Effects,
    ) -> Result<Onward, HostError> {
        let is_unproven = self.session.is_unproven() && self.session.violation().is_none();
        let Some(proof) = self.proof.as_mut().filter(|proof| is_unproven || !proof.is_empty()) else {
            self.proof = None;
            return self.judge(worker, Side::Server, chunk, end, None, effects).map(Onward::Part);
        };
        if !is_unproven {
            let held = proof.take_server();
            let all = [&*held, &*read(chunk, 0, chunk.len())?].concat();
            let all: &[u8] = &all;
            let passage = self.judge::<dyn Chunk>(worker, Side::Server, &all, end, None, effects)?;
            return Ok(Onward::Part(all_before::<dyn Chunk>(&all, &passage)?));
        }
        if end {
            // What it has said is for a client that nobody knows.
            drop(proof.take_server());
            self.session.finish(Side::Server, worker.now());
            self.arm(worker, effects);
            return Ok(Onward::Part(Passage::default()));
        }
        if !proof.hold_server(&read(chunk, 0, chunk.len())?, self.policy.limits.held_len_max) {
            self.report(worker, &Violation::Overloaded.into(), None, Mode::Enforce, effects);
            self.session.refuse(Violation::Overloaded, None, worker.now());
            self.drop_proof(worker, effects);
            self.arm(worker, effects);
            let after = self.close(worker, Side::Client)?.unwrap_or_default();
            return Ok(Onward::Part(Passage { after, ..Passage::default() }));
        }
        let transport = match self.session.is_socket_io() {
            true => proof.take_transport(self.session.is_deflated()),
            false => Vec::new(),
        };
        if transport.is_empty() {
            return Ok(Onward::Kept);
        }
        let transport: &[u8] = &transport;
        let passage = self.judge::<dyn Chunk>(worker, Side::Server, &transport, false, None, effects)?;
        Ok(Onward::Part(all_before::<dyn Chunk>(&transport, &passage)?))
    }

    /// Writes what the server has sent to a client that is known by now, where that can be written.
    #[cold]
    pub(super) fn flush_server(&mut self, worker: &Worker, effects: &mut Effects) -> Result<(), HostError> {
        let is_over = !self.session.is_unproven() || self.session.violation().is_some();
        let Some(proof) = self.proof.as_mut().filter(|_| is_over && effects.client_writer == ClientWriter::Open) else {
            return Ok(());
        };
        let held = proof.take_server();
        if proof.is_empty() {
            self.proof = None;
        }
        if held.is_empty() || self.session.violation().is_some() {
            return Ok(());
        }
        let held: &[u8] = &held;
        let passage = self.judge::<dyn Chunk>(worker, Side::Server, &held, false, None, effects)?;
        let bytes = onward_bytes::<dyn Chunk>(&held, &passage)?;
        if !bytes.is_empty() {
            effects.push(Effect::Write(bytes));
        }
        Ok(())
    }

    /// Nobody is to be known any more: what waits for it goes nowhere.
    pub(super) fn drop_proof(&mut self, worker: &Worker, effects: &mut Effects) {
        if self.proof.take().is_some() {
            self.queue(worker, effects);
        }
    }

    /// Other policies are in force: where they do not await who the client is, nothing waits for that.
    pub(super) fn review_proof(&mut self, worker: &Worker, effects: &mut Effects) {
        if self.session.violation().is_some() {
            return self.drop_proof(worker, effects);
        }
        if self.session.is_unproven() {
            self.proof.get_or_insert_with(|| new_proof(worker));
        } else if self.proof.is_some() && !self.session.holds_client() && self.backlog.is_some() {
            let bytes = self.proof.as_mut().map(|proof| proof.take_client()).unwrap_or_default();
            self.let_go(worker, &bytes, effects);
        }
    }
}

fn new_proof(worker: &Worker) -> Box<Proof> {
    Box::new(Proof::new(Rc::clone(&worker.held)))
}

/// The same passage, of which nothing is in the host's buffer.
fn all_before<C: Chunk + ?Sized>(chunk: &C, passage: &Passage) -> Result<Passage, HostError> {
    Ok(Passage { before: onward_bytes(chunk, passage)?, keep: 0, after: Vec::new() })
}
