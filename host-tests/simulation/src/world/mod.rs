//! Clients, servers, operators, services and time around the workers of one proxy: what happens, and what has to hold after it.

mod checks;
mod chunks;
mod end;

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use portcullis_core::ask::Answer;
use portcullis_core::effect::Flow;
use portcullis_core::testing::switching_protocols;
use portcullis_core::time::{Moment, Timestamp};
use portcullis_core::wire::Side;

use crate::attempt::{Attempt, Errand};
use crate::dice::Dice;
use crate::identity::{self, KeyIds, Signer, TICKET_TTL, publish};
use crate::model::Way;
use crate::policy::{self, KINDS};
use crate::proxy::Proxy;
use crate::script::Writer;
use crate::stream::{Judged, Seen, Stream, Writable, index};
use crate::vm::Vm;
use crate::{Bug, Report, show};

pub(crate) use chunks::chunks;

/// A ticket that was issued.
struct Issued {
    text: String,
    attempt: Attempt,
    ends_at: Timestamp,
    /// Somebody has come with it who may have been let in.
    is_tried: bool,
    /// Somebody was let in.
    is_used: bool,
}

/// The world.
pub(crate) struct World {
    dice: Dice,
    /// Decides about who clients are, and what services know of them.
    identity: Dice,
    proxy: Rc<Proxy>,
    vms: Vec<Rc<Vm>>,
    /// Of those, the ones that may come between two calls of another.
    others_of: Rc<RefCell<Vec<Weak<Vm>>>>,
    /// The policy that each worker goes by, and the one that all of them will.
    others: Vec<usize>,
    target: usize,
    messages: usize,
    stream_count: u32,
    death_count: u32,
    has_lost_unknown: bool,
    forged: Vec<&'static str>,
    /// The keys that the issuer publishes.
    published: KeyIds,
    /// The tickets that were issued.
    tickets: Vec<Issued>,
    /// Sessions that somebody said had ended, and those of which a worker has said that they have, since when.
    logouts: BTreeMap<u8, Option<Moment>>,
    bug: Option<Bug>,
    report: Report,
}

impl World {
    pub(crate) fn new(seed: u64, is_told: bool, bug: Option<Bug>) -> Self {
        let dice = Dice::new(seed);
        let proxy = Rc::new(Proxy::new(dice.fork(), is_told));
        let (messages, target) = (dice.below(KINDS), dice.below(KINDS));
        let mut world = Self {
            identity: Dice::new(!seed),
            proxy,
            vms: Vec::new(),
            others_of: Rc::default(),
            others: Vec::new(),
            target,
            messages,
            stream_count: 0,
            death_count: 0,
            has_lost_unknown: false,
            forged: Vec::new(),
            published: KeyIds::from([1]),
            tickets: Vec::new(),
            logouts: BTreeMap::new(),
            bug,
            report: Report::default(),
            dice,
        };
        for _ in 0..=world.dice.below(3) {
            let vm = world.new_vm();
            world.vms.push(vm);
            world.others.push(target);
        }
        world.meet();
        let vms = Rc::clone(&world.others_of);
        world.proxy.come_between(move |proxy, port| {
            let vms: Vec<Rc<Vm>> = vms.borrow().iter().filter_map(Weak::upgrade).filter(|vm| !vm.is_at(port)).collect();
            if let Some(vm) = vms.get(proxy.dice().below(vms.len())) {
                proxy.journal().note(&[], || "another worker comes between".to_owned());
                vm.tick();
            }
        });
        world
    }

    pub(crate) const fn proxy(&self) -> &Rc<Proxy> {
        &self.proxy
    }

    fn meet(&self) {
        self.others_of.replace(self.vms.iter().map(Rc::downgrade).collect());
    }

    fn new_vm(&self) -> Rc<Vm> {
        let vm = Vm::new(&self.proxy);
        while vm.configure(policy::policy(self.messages, self.target).1).is_err() {}
        vm
    }

    /// Lets things happen, and then end.
    pub(crate) fn run(mut self) -> Report {
        // Half of the worlds have no errors: in those more is known.
        let (error_in, race_in) = self.dice.pick(&[(0, 0), (0, 0), (0, 4), (300, 8), (60, 3), (15, 2)]);
        self.proxy.disturb(error_in, race_in);
        for _ in 0..30 + self.dice.below(150) {
            self.step();
            self.check();
        }
        self.settle();
        self.report.hash = self.proxy.journal().hash();
        self.report
    }

    fn step(&mut self) {
        self.report.step_count += 1;
        match self.dice.below(100) {
            0..10 => self.connect(),
            10..20 => self.answer(),
            20..45 => self.send(Side::Client),
            45..65 => self.send(Side::Server),
            65..82 => self.pass_time(),
            82..86 => self.wake(),
            86..91 => self.serve(),
            91..94 => self.leave(),
            94..96 => self.finish(),
            96..98 => self.reload(),
            98 if self.dice.one_in(4) => self.kill(),
            98 => self.fill_memory(),
            _ => self.send_early(),
        }
    }

    fn pick_vm(&self) -> Rc<Vm> {
        Rc::clone(&self.vms[self.dice.below(self.vms.len())])
    }

    /// Some stream of which this holds.
    fn pick_stream(&self, which: impl Fn(&Stream) -> bool) -> Option<(Rc<Vm>, Rc<Stream>)> {
        let vm = self.pick_vm();
        let streams: Vec<Rc<Stream>> = vm.streams.borrow().values().filter(|stream| which(stream)).cloned().collect();
        let stream = streams.get(self.dice.below(streams.len()))?;
        Some((vm, Rc::clone(stream)))
    }

    fn note(&self, line: impl FnOnce() -> String) {
        self.proxy.journal().note(&[], line);
    }

    fn connect(&mut self) {
        let vm = self.dice.below(self.vms.len());
        let (terms, _) = policy::policy(self.messages, self.others[vm]);
        let attempt = Attempt::new(&self.dice, &self.identity, &terms, self.proxy.date());
        let number = self.identity.below(self.tickets.len());
        let attempt = match self.tickets.get(number).filter(|_| self.identity.one_in(3)) {
            Some(ticket) => ticket.attempt.redeem(&self.identity, &terms, number, ticket.ends_at),
            None => attempt,
        };
        self.request(vm, attempt);
        if terms.has_logout && self.identity.one_in(12) {
            self.log_out(vm);
        }
    }

    /// The issuer tells a worker that a session has ended.
    fn log_out(&mut self, vm: usize) {
        let session = self.identity.pick(&[1, 2, 3, 4, 5, 6]);
        let (terms, _) = policy::policy(self.messages, self.others[vm]);
        self.logouts.entry(session).or_default();
        let stream = self.request(vm, Attempt::logout(session));
        let signer = if terms.is_published { Signer::Key(1) } else { Signer::Secret };
        let form = identity::logout(signer, session, self.proxy.date().as_secs(), stream.id);
        let vm = Rc::clone(&self.vms[vm]);
        if vm.stream(stream.id).is_some() {
            self.deliver(&vm, &stream, Side::Client, &form, true);
        }
    }

    /// Notes what the filter has answered.
    fn note_answer(&mut self, stream: &Stream) {
        let mut seen = stream.seen.borrow_mut();
        let (attempt, terms) = (seen.attempt, seen.terms);
        match (seen.answer.take(), attempt.errand) {
            (Some((201, body)), Some(Errand::Ticket)) => {
                let [_, date] = seen.judged.dates;
                let text = body.split('"').nth(3).unwrap_or_default().to_owned();
                let until = date.saturating_add(Duration::from_secs(TICKET_TTL));
                let ends_at = attempt.credential.map_or(until, |credential| credential.ends_at().min(until));
                self.tickets.push(Issued { text, attempt, ends_at, is_tried: false, is_used: false });
            }
            (Some((200, _)), Some(Errand::Logout(session))) => {
                self.logouts.insert(session, Some(self.proxy.now()));
            }
            (Some((400, _)), Some(Errand::Logout(_)))
                if terms.is_published || terms.has_little_room || self.proxy.error_count() > 0 => {}
            (None, _) => {}
            (Some(answer), errand) => seen.blame(format!("{errand:?} is answered {answer:?}")),
        }
    }

    fn request(&mut self, vm: usize, attempt: Attempt) -> Rc<Stream> {
        let (terms, _) = policy::policy(self.messages, self.others[vm]);
        let vm = Rc::clone(&self.vms[vm]);
        self.stream_count += 1;
        let id = self.stream_count;
        let fault_in = self.dice.pick(&[0, 0, 6, 20]);
        let writer = |from, fault_in| Writer::new(self.dice.fork(), from, *terms.of(from), fault_in, !terms.is_monitor);
        let writers = match self.dice.below(4) {
            0 => [writer(Side::Client, 0), writer(Side::Server, fault_in)],
            _ => [writer(Side::Client, fault_in), writer(Side::Server, 0)],
        };
        let way = |from| Way::new(from, &terms);
        let seen = Seen {
            terms,
            attempt,
            request: attempt.fields(&self.tickets.iter().map(|ticket| ticket.text.clone()).collect::<Vec<_>>()),
            is_forwarded: false,
            is_answered: false,
            is_up: false,
            has_slots: false,
            is_anonymous: false,
            waits: None,
            judged: Judged::default(),
            decided: None,
            replies: Vec::new(),
            is_served: false,
            answer: None,
            refusals: Vec::new(),
            ways: [way(Side::Client), way(Side::Server)],
            writers,
            pings: Vec::new(),
            answered_count: 0,
            has_finished: [false; 2],
            is_reset: false,
            is_over: false,
            error_count: 0,
            opened_at: 0,
            reload_count: 0,
            fault: None,
        };
        let writable = self.dice.pick(&[Writable::Always, Writable::Never, Writable::Sometimes]);
        let stream = Rc::new(Stream::new(id, &vm, writable, seen, self.bug));
        vm.streams.borrow_mut().insert(id, Rc::clone(&stream));
        self.note(|| format!("{id}: asks for a connection: {attempt:?} {writable:?} {terms:?}"));
        // Where keys are published, any may be one that nobody knows of.
        if (attempt.is_forged(&terms) || terms.is_published) && attempt.is_judged() {
            self.forged.push(attempt.address);
        }
        let counts = self.counts(&attempt);
        stream.request_headers(&vm, u64::from(id));
        self.report.request_count += 1;
        // Others may have left meanwhile.
        let counts = [counts, self.counts(&attempt)];
        self.check_request(&vm, &stream, Some(counts));
        self.tidy(&vm, &stream);
        stream
    }

    /// The server answers an upgrade.
    fn answer(&mut self) {
        let which = |stream: &Stream| {
            let seen = stream.seen.borrow();
            seen.is_forwarded && !seen.is_answered && !seen.is_over
        };
        let Some((vm, stream)) = self.pick_stream(which) else { return };
        let kind = self.dice.below(10);
        self.open(&vm, &stream, kind);
    }

    fn open(&mut self, vm: &Rc<Vm>, stream: &Rc<Stream>, kind: usize) {
        let fields = match kind {
            0 => vec![(":status", "403")],
            1 => {
                let mut fields = switching_protocols();
                fields.pop();
                fields
            }
            _ => switching_protocols(),
        };
        self.note(|| format!("{}: the server answers {fields:?}", stream.id));
        let errors = self.proxy.error_count();
        let was_refused = !stream.seen.borrow().replies.is_empty();
        let flow = stream.response_headers(vm, fields);
        let has_erred = self.proxy.error_count() > errors;
        {
            let mut seen = stream.seen.borrow_mut();
            (seen.opened_at, seen.is_answered) = (self.proxy.now().as_nanos(), true);
            self.report.open_count += u32::from(seen.is_up);
            let is_upgrade = seen.attempt.is_upgrade && !seen.terms.is_monitor;
            let is_refused = !seen.replies.is_empty();
            let was_open = seen.terms.is_fail_open && seen.error_count > 0;
            let is_right = match kind {
                _ if was_refused => flow == Flow::Hold && !seen.is_up,
                _ if !is_upgrade || has_erred || was_open => true,
                0 => flow == Flow::Forward && !seen.is_up,
                1 => flow == Flow::Hold && is_refused && !seen.is_up,
                _ => flow == Flow::Forward && seen.is_up,
            };
            if !is_right {
                let fault = format!("an answer of kind {kind} leads to {flow:?}, up: {}", seen.is_up);
                seen.blame(fault);
            }
        }
        self.tidy(vm, stream);
    }

    fn send(&mut self, from: Side) {
        let which = |stream: &Stream| {
            let seen = stream.seen.borrow();
            seen.is_up && !seen.is_over && !seen.has_finished[index(from)]
        };
        let Some((vm, stream)) = self.pick_stream(which) else { return };
        let bytes = {
            let seen = &mut *stream.seen.borrow_mut();
            let (way, writer) = (&mut seen.ways[index(from)], &mut seen.writers[index(from)]);
            let count = self.dice.pick(&[1, 1, 1, 2, 4, 12]);
            if from == Side::Client && seen.answered_count < seen.pings.len() && self.dice.one_in(2) {
                writer.answer(way, &seen.pings[seen.answered_count]);
                seen.answered_count += 1;
            }
            while way.unsent_len() < count * 12 && way.frame_count() < 60 && !writer.has_ended() {
                writer.say(way);
            }
            let len = way.unsent_len();
            let len = if self.dice.one_in(2) { len } else { self.dice.below(len + 1) };
            way.send(len)
        };
        self.deliver(&vm, &stream, from, &bytes, false);
    }

    fn deliver(&mut self, vm: &Rc<Vm>, stream: &Rc<Stream>, from: Side, bytes: &[u8], end: bool) {
        self.note(|| format!("{}: {from:?} sends {}{}", stream.id, show(bytes), if end { " and ends" } else { "" }));
        self.report.byte_count += bytes.len() as u64;
        stream.body(vm, from, bytes, end);
        self.tidy(vm, stream);
    }

    /// A side sends something where there is no connection, or none yet.
    fn send_early(&mut self) {
        let which = |stream: &Stream| {
            let seen = stream.seen.borrow();
            !seen.is_up && !seen.is_over && seen.is_forwarded && seen.attempt.is_upgrade
        };
        let Some((vm, stream)) = self.pick_stream(which) else { return };
        let is_answered = stream.seen.borrow().is_answered;
        let from = if is_answered && self.dice.one_in(2) { Side::Server } else { Side::Client };
        self.deliver(&vm, &stream, from, if self.dice.one_in(2) { b"" } else { b"early" }, false);
    }

    fn pass_time(&mut self) {
        self.proxy.advance(self.dice.pick(&[0, 1, 5, 50, 100, 100, 100, 400, 1_000]));
        for vm in self.vms.clone() {
            let millis = self.proxy.now().since(vm.ticked_at.get()).as_millis();
            if millis > 1_500 || vm.is_behind() || !self.dice.one_in(4) {
                self.tick(&vm);
            }
        }
    }

    fn tick(&mut self, vm: &Rc<Vm>) {
        self.note(|| format!("a tick at {:?}", self.proxy.now()));
        vm.tick();
        self.tidy_all(vm);
    }

    fn wake(&mut self) {
        let Some((vm, stream)) = self.pick_stream(Stream::is_kept) else { return };
        stream.wake(&vm);
        self.tidy(&vm, &stream);
    }

    /// A service answers a question: yes, no, nothing, or nonsense.
    fn serve(&mut self) {
        let vm = self.pick_vm();
        let Some(token) = vm.questions().first().copied() else { return };
        if vm.path(token).is_some() {
            self.publish(&vm, token);
        } else {
            let answer = match self.dice.below(8) {
                0..4 => Answer::Grpc(vec![8, 1]),
                4 => Answer::Grpc(vec![8, 2]),
                5 => Answer::Grpc(vec![0xff; self.dice.below(9)]),
                6 => Answer::None,
                _ => return,
            };
            self.note(|| format!("a service answers {answer:?}"));
            vm.receive(token, answer);
        }
        self.tidy_all(&vm);
    }

    /// The issuer is asked for its keys, of which it may have new ones.
    fn publish(&mut self, vm: &Vm, token: u32) {
        if self.identity.one_in(3) {
            self.published = self.identity.pick(&[&[1][..], &[1], &[1, 2], &[2]]).iter().copied().collect();
        }
        let (answer, is_set) = publish(&self.identity, &self.published);
        self.note(|| format!("the issuer answers {answer:?}: {:?}, {is_set}", self.published));
        if is_set {
            vm.learn(&self.published);
        }
        vm.receive(token, answer);
    }

    /// A client or server goes without a word.
    fn leave(&mut self) {
        let Some((vm, stream)) = self.pick_stream(|_| true) else { return };
        self.end(&vm, &stream);
    }

    fn end(&mut self, vm: &Rc<Vm>, stream: &Rc<Stream>) {
        self.note(|| format!("{}: ends", stream.id));
        self.check_request(vm, stream, None);
        self.check_stream(stream);
        stream.end(vm);
        vm.streams.borrow_mut().remove(&stream.id);
        // The host may say it twice.
        if self.dice.one_in(8) {
            stream.end(vm);
        }
    }

    /// A side sends nothing any more.
    fn finish(&mut self) {
        let from = self.dice.pick(&[Side::Client, Side::Server]);
        let which = |stream: &Stream| {
            let seen = stream.seen.borrow();
            seen.is_up && !seen.is_over && !seen.has_finished[index(from)]
        };
        let Some((vm, stream)) = self.pick_stream(which) else { return };
        let bytes = {
            let seen = &mut *stream.seen.borrow_mut();
            seen.has_finished[index(from)] = true;
            let way = &mut seen.ways[index(from)];
            let len = way.unsent_len();
            way.send(len)
        };
        self.deliver(&vm, &stream, from, &bytes, true);
    }

    /// Workers go over to another policy, one after the other.
    fn reload(&mut self) {
        let behind = self.others.iter().position(|others| *others != self.target);
        let Some(behind) = behind else {
            self.target = self.dice.below(KINDS);
            return;
        };
        let (terms, parsed) = policy::policy(self.messages, self.target);
        self.note(|| format!("worker {behind} goes over to {terms:?}"));
        if self.vms[behind].configure(parsed).is_err() {
            return;
        }
        self.report.reload_count += 1;
        self.others[behind] = self.target;
        for stream in self.vms[behind].all_streams() {
            stream.seen.borrow_mut().reload(&terms);
        }
    }

    /// A worker traps, and another takes its place.
    fn kill(&mut self) {
        let dead = self.dice.below(self.vms.len());
        // It may have decided something since.
        self.tidy_all(&Rc::clone(&self.vms[dead]));
        self.note(|| format!("worker {dead} dies; {}", self.proxy.describe()));
        // Where the host failed, the others may never have heard of it: nobody misses it then, and its connections stay counted.
        let unnoticed = self.death_count.saturating_sub(self.proxy.generation()) as usize;
        self.has_lost_unknown |= self.proxy.error_count() > 0 && self.proxy.known_count() < self.vms.len() + unnoticed;
        self.vms[dead].die();
        self.death_count += 1;
        self.report.death_count += 1;
        self.vms[dead] = self.new_vm();
        self.meet();
        self.report.reload_count += u32::from(self.others[dead] != self.target);
        self.others[dead] = self.target;
    }

    fn fill_memory(&mut self) {
        let is_full = self.dice.one_in(2);
        self.report.is_memory_short |= is_full;
        self.proxy.take_memory(if is_full { 2_000_000_000 } else { 8_000_000 });
    }

    fn tidy_all(&mut self, vm: &Rc<Vm>) {
        for stream in vm.all_streams() {
            self.tidy(vm, &stream);
        }
    }

    /// What the host does behind a callback: it ends streams that were reset or answered.
    fn tidy(&mut self, vm: &Rc<Vm>, stream: &Rc<Stream>) {
        let (is_over, is_reset, is_told) = {
            let seen = stream.seen.borrow();
            (seen.is_over, seen.is_reset, seen.replies.iter().any(|(_, is_told)| *is_told))
        };
        self.check_request(vm, stream, None);
        self.note_answer(stream);
        self.check_stream(stream);
        if is_reset && !is_over {
            self.check_told(stream);
        }
        if is_over {
            vm.streams.borrow_mut().remove(&stream.id);
        } else if is_reset || (is_told && self.dice.one_in(2)) {
            self.end(vm, stream);
        }
    }
}
