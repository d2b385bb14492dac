//! Clients, servers, operators, services and time around the workers of one proxy: what happens, and what has to hold after it.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::{Rc, Weak};

use portcullis_core::effect::Flow;
use portcullis_core::testing::{switching_protocols, upgrade};
use portcullis_core::violation::Violation;
use portcullis_core::wire::Side;

use crate::dice::Dice;
use crate::model::Way;
use crate::policy::{
    self, Global, IDLE_MILLIS, KINDS, LATE_MILLIS, LIFETIME_MILLIS, MESSAGE_MILLIS, PONG_MILLIS, Terms,
};
use crate::proxy::Proxy;
use crate::script::Writer;
use crate::stream::{Seen, Stream, Writable, index};
use crate::vm::Vm;
use crate::{Bug, Report, show};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) is_upgrade: bool,
    pub(crate) address: &'static str,
    origin: Option<&'static str>,
    credential: Credential,
    is_misshapen: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Credential {
    Forged,
    Missing,
    Of(&'static str),
    Stale,
}

const ADDRESSES: [&str; 4] = ["192.0.2.1:1000", "192.0.2.2:1000", "[2001:db8::1]:1000", "[2001:db8:0:1::1]:1000"];
const HOME: &str = "https://chat.example.com";
const OTHER: &str = "https://other.example.com";

/// How long a live connection may go by a policy of before: as long as a policy takes to settle and connections to be looked at, and three
/// ticks that come as late as they may.
const FOLLOWED_WITHIN: Duration = Duration::from_millis(1_800 + 3 * LATE_MILLIS);

/// What the tokens have in common: their header, and their signatures are by HMAC-SHA-256 with the secret of the policies.
const TOKEN_HEAD: &str =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbS8iLCJhdWQiOiJjaGF0Iiwic3ViIjoi";
const ALICE: &str = "YWxpY2UiLCJleHAiOjE4MDAwODY0MDB9.6ZSEWFPk8qa2LYUoq9aQ2YmJKiWMmUjEHklIOflkHbs";
const BOB: &str = "Ym9iIiwiZXhwIjoxODAwMDg2NDAwfQ.04F6Y0aWcnNXSXnDTe9HsUKezmbXyOBx8q8Kn4jCbag";
const STALE: &str = "YWxpY2UiLCJleHAiOjE3OTk5OTAwMDB9.Yb_9PUw9F4Reo94AatA3UPnftjb7ha_TZ8UxAx3qWl4";
const FORGED: &str = "YWxpY2UiLCJleHAiOjE4MDAwODY0MDB9.jAND-FnA2YJDW_9h2AC82HLyZpN2hvESALEA8rb7FWg";

impl Attempt {
    fn new(dice: &Dice) -> Self {
        Self {
            is_upgrade: !dice.one_in(10),
            address: dice.pick(&ADDRESSES),
            origin: dice.pick(&[Some(HOME), Some(HOME), Some(OTHER), Some(OTHER), Some("https://evil.example"), None]),
            credential: match dice.below(10) {
                0 => Credential::Forged,
                1 => Credential::Missing,
                2 => Credential::Stale,
                number => Credential::Of(if number < 7 { "alice" } else { "bob" }),
            },
            is_misshapen: dice.one_in(16),
        }
    }

    pub(crate) const fn good(address: usize) -> Self {
        Self {
            is_upgrade: true,
            address: ADDRESSES[address],
            origin: Some(OTHER),
            credential: Credential::Of("alice"),
            is_misshapen: false,
        }
    }

    fn fields(&self) -> Vec<(String, Vec<u8>)> {
        let mut fields: Vec<(String, Vec<u8>)> =
            upgrade().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        if !self.is_upgrade {
            fields.retain(|(name, _)| name.starts_with(':'));
        }
        if self.is_misshapen {
            fields.retain(|(name, _)| name != "sec-websocket-key");
        }
        fields.extend(self.origin.map(|origin| ("origin".to_owned(), origin.into())));
        let end = match self.credential {
            Credential::Forged => FORGED,
            Credential::Missing => return fields,
            Credential::Of("alice") => ALICE,
            Credential::Of(_) => BOB,
            Credential::Stale => STALE,
        };
        let token = format!("Bearer {TOKEN_HEAD}{end}");
        fields.push(("authorization".to_owned(), token.into_bytes()));
        fields
    }

    /// What it has to be refused for, whatever others have.
    const fn flaw(&self, terms: &Terms) -> Option<Violation> {
        if self.is_misshapen {
            return Some(Violation::BadUpgrade);
        }
        let is_welcome = match self.origin {
            Some(origin) => origin.len() == OTHER.len() || (origin.len() == HOME.len() && !terms.is_elsewhere),
            None => false,
        };
        match self.credential {
            _ if !is_welcome => Some(Violation::OriginRefused),
            Credential::Forged => Some(Violation::CredentialInvalid),
            Credential::Missing if terms.needs_credential => Some(Violation::CredentialMissing),
            Credential::Stale => Some(Violation::CredentialExpired),
            Credential::Missing | Credential::Of(_) => None,
        }
    }
}

/// The world.
pub(crate) struct World {
    dice: Dice,
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
    bug: Option<Bug>,
    report: Report,
}

impl World {
    pub(crate) fn new(seed: u64, is_told: bool, bug: Option<Bug>) -> Self {
        let dice = Dice::new(seed);
        let proxy = Rc::new(Proxy::new(dice.fork(), is_told));
        let (messages, target) = (dice.below(KINDS), dice.below(KINDS));
        let mut world = Self {
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
        let attempt = Attempt::new(&self.dice);
        self.request(vm, attempt);
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
            request: attempt.fields(),
            is_forwarded: false,
            is_answered: false,
            is_up: false,
            has_slots: false,
            replies: Vec::new(),
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
        if attempt.credential == Credential::Forged && attempt.is_upgrade {
            self.forged.push(attempt.address);
        }
        let counts = self.counts(&attempt);
        let errors = self.proxy.error_count();
        let flow = stream.request_headers(&vm, u64::from(id));
        self.report.request_count += 1;
        // Others may have left meanwhile.
        let counts = [counts, self.counts(&attempt)];
        self.check_request(&stream, flow, self.proxy.error_count() > errors, counts);
        self.tidy(&vm, &stream);
        stream
    }

    /// How many connections of the address, the subject and all have slots.
    fn counts(&self, attempt: &Attempt) -> [usize; 3] {
        let mut counts = [0; 3];
        for stream in self.vms.iter().flat_map(|vm| vm.all_streams()) {
            let seen = stream.seen.borrow();
            if seen.has_slots {
                let other = seen.attempt;
                counts[0] += usize::from(other.address == attempt.address);
                counts[1] += usize::from(
                    other.credential == attempt.credential && matches!(other.credential, Credential::Of(_)),
                );
                counts[2] += 1;
            }
        }
        counts
    }

    fn check_request(&self, stream: &Stream, flow: Flow, has_erred: bool, [before, after]: [[usize; 3]; 2]) {
        let mut seen = stream.seen.borrow_mut();
        let terms = seen.terms;
        let may_pass = terms.is_monitor || (terms.is_fail_open && has_erred);
        let flaw = seen.attempt.flaw(&terms).filter(|_| seen.attempt.is_upgrade);
        let maxima = [terms.per_address, terms.per_subject, terms.in_all].map(|max| max as usize);
        let is_full =
            before.iter().chain(&after).zip(maxima.into_iter().chain(maxima)).any(|(count, max)| *count >= max);
        let is_over = after.iter().zip(maxima).any(|(count, max)| *count > max);
        let is_lax = self.proxy.error_count() > 0 || self.death_count > 0 || self.proxy.generation() > 0;
        let attempts = self.forged.iter().filter(|address| **address == seen.attempt.address).count();
        // A policy with a lower bound may take the place of another one.
        let is_over =
            is_over && self.target == self.others[0] && seen.reload_count == 0 && self.report.reload_count == 0;
        let fault = match (flow, seen.replies.last()) {
            _ if is_over && self.proxy.generation() <= self.death_count => {
                Some(format!("too many are admitted: {after:?} of {maxima:?}"))
            }
            (Flow::Forward | Flow::Wait, None) => {
                let is_named = seen.request.iter().any(|(name, _)| name == "authorization");
                if may_pass || !seen.attempt.is_upgrade {
                    None
                } else if flaw.is_some() {
                    Some(format!("{flaw:?} goes on"))
                } else if is_named && flow == Flow::Forward {
                    Some("a credential goes on".to_owned())
                } else {
                    None
                }
            }
            (Flow::Forward | Flow::Wait, Some(_)) => Some("a request is answered and goes on".to_owned()),
            (Flow::Hold, None) => Some("a request is kept without an answer".to_owned()),
            (Flow::Hold, Some((violation, _))) => {
                let is_right = match *violation {
                    Violation::Internal => has_erred,
                    _ if terms.is_monitor => false,
                    Violation::ConnectionsExceeded => is_full || is_lax || self.report.reload_count > 0,
                    Violation::HandshakesExceeded => terms.handshakes > 0 || terms.global != Global::Nothing,
                    Violation::Banned => attempts >= 2,
                    Violation::Overloaded => terms.has_little_room || self.report.is_memory_short,
                    violation => Some(violation) == flaw,
                };
                (!is_right).then(|| format!("refused for {violation:?}, not {flaw:?}; {after:?} of {maxima:?}"))
            }
        };
        if let Some(fault) = fault {
            seen.fault.get_or_insert(fault);
        }
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
                seen.fault.get_or_insert(fault);
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
        vm.all_streams().iter().for_each(|stream| self.tidy(vm, stream));
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
        let answer = match self.dice.below(8) {
            0..4 => Some(vec![8, 1]),
            4 => Some(vec![8, 2]),
            5 => Some(vec![0xff; self.dice.below(9)]),
            6 => None,
            _ => return,
        };
        self.note(|| format!("a service answers {answer:?}"));
        vm.receive(token, answer);
        vm.all_streams().iter().for_each(|stream| self.tidy(&vm, stream));
    }

    /// A client or server goes without a word.
    fn leave(&mut self) {
        let Some((vm, stream)) = self.pick_stream(|_| true) else { return };
        self.end(&vm, &stream);
    }

    fn end(&mut self, vm: &Rc<Vm>, stream: &Rc<Stream>) {
        self.note(|| format!("{}: ends", stream.id));
        self.check_stream(vm, stream);
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

    /// What the host does behind a callback: it ends streams that were reset or answered.
    fn tidy(&mut self, vm: &Rc<Vm>, stream: &Rc<Stream>) {
        let (is_over, is_reset, is_told) = {
            let seen = stream.seen.borrow();
            (seen.is_over, seen.is_reset, seen.replies.iter().any(|(_, is_told)| *is_told))
        };
        self.check_stream(vm, stream);
        if is_reset && !is_over {
            self.check_told(stream);
        }
        if is_over {
            vm.streams.borrow_mut().remove(&stream.id);
        } else if is_reset || (is_told && self.dice.one_in(2)) {
            self.end(vm, stream);
        }
    }

    /// What has to hold of a stream at any time.
    fn check_stream(&self, vm: &Vm, stream: &Stream) {
        let is_quiet = !stream.is_waiting() && !stream.is_kept();
        let is_live = stream.is_live();
        let seen = stream.seen.borrow();
        let say = |fault: String| -> ! {
            let ways = seen.ways.each_ref().map(Way::describe);
            panic!("stream {}: {fault}\n{ways:#?}\n{:?} {:?}", stream.id, seen.refusals, seen.terms)
        };
        if let Some(fault) = &seen.fault {
            say(fault.clone());
        }
        if seen.replies.len() > 1 {
            say(format!("answered more than once: {:?}", seen.replies));
        }
        if !seen.is_up {
            return;
        }
        let is_enforced = !seen.terms.is_monitor;
        let millis = (self.proxy.now().as_nanos() - seen.opened_at) / 1_000_000;
        // Where the host has failed, a tick may be any later.
        let late_millis = if self.proxy.error_count() > 0 { u64::MAX / 2 } else { LATE_MILLIS };
        let millis = millis + late_millis;
        let ends = seen.ends();
        if ends.len() > 1 {
            say(format!("refused more than once: {ends:?}"));
        }
        if let (true, Some(violation)) = (is_enforced, ends.first()) {
            let [client, server] = &seen.ways;
            let is_short = seen.terms.is_short_lived;
            let is_right = match violation {
                Violation::Internal => seen.error_count > 0,
                Violation::PolicyChanged => seen.reload_count > 0,
                Violation::Idle => is_short && millis >= IDLE_MILLIS,
                Violation::Lifetime => is_short && millis >= LIFETIME_MILLIS,
                Violation::TooSlow => millis >= if is_short { MESSAGE_MILLIS } else { 10_000 },
                Violation::Dead => is_short && millis >= PONG_MILLIS && seen.terms.pings,
                Violation::RateExceeded => {
                    client.sent_count() > seen.terms.burst || matches!(seen.terms.global, Global::Messages { .. })
                }
                Violation::Overloaded => seen.terms.has_little_room,
                _ => client.may_be_refused() || server.may_be_refused(),
            };
            if !is_right {
                say(format!("refused for {violation:?} after {millis} ms, which nobody has done"));
            }
            for way in &seen.ways {
                if let Some(reason) = way.own_close()
                    && reason != violation.reason()
                    && seen.error_count == 0
                {
                    say(format!("a Close says {reason:?}"));
                }
            }
        } else if let Some(reason) = seen.ways.iter().find_map(Way::own_close)
            && !(seen.error_count > 0 || (seen.terms.is_dropped && reason == Violation::RateExceeded.reason()))
        {
            say("a Close of ours without a refusal".to_owned());
        }
        let is_known = seen.error_count == 0 && !seen.is_over && is_live && seen.refusals.is_empty();
        if is_known && is_quiet && seen.reload_count == 0 && is_enforced {
            for way in &seen.ways {
                if let Some(frame) = way.missing(&seen.pings) {
                    say(format!("frame {frame} has been judged and does not go on: {}", way.describe()));
                }
                if way.must_be_refused() && !seen.ways.iter().any(Way::has_closed) && !vm_is_dropping(&seen) {
                    say(format!("what the policy refuses is not refused: {}", way.describe()));
                }
            }
        }
        _ = vm;
    }

    /// A refused client is told before it is reset, where it can be.
    fn check_told(&self, stream: &Stream) {
        let seen = stream.seen.borrow();
        let to_client = &seen.ways[index(Side::Server)];
        let can_be_told = stream.writable == Writable::Always && to_client.is_between_frames() && seen.error_count == 0;
        if can_be_told && !seen.ends().is_empty() && !to_client.has_closed() {
            panic!("stream {}: reset for {:?} without a Close: {}", stream.id, seen.ends(), to_client.describe());
        }
    }

    fn check(&mut self) {
        for vm in &self.vms {
            let live = vm.all_streams().iter().filter(|stream| stream.is_live()).count();
            assert_eq!(vm.active.get(), live as i64, "the gauge of live connections");
            let is_settled = self.proxy.now().since(vm.configured_at.get()) > FOLLOWED_WITHIN;
            if is_settled && self.proxy.error_count() == 0 {
                vm.all_streams().iter().for_each(|stream| Self::check_policy(vm, stream));
            }
        }
    }

    /// Every live connection goes by the policy in force, or has been refused.
    fn check_policy(vm: &Vm, stream: &Stream) {
        let newest = vm.plugin().policies();
        let is_behind = match (stream.policy(), newest) {
            (Some(own), Some(newest)) => !Rc::ptr_eq(&own, newest.base()),
            _ => false,
        };
        let is_refused = !stream.seen.borrow().ends().is_empty();
        assert!(!is_behind || is_refused, "stream {}: goes by a policy of before", stream.id);
    }

    /// Everything ends, and comes back.
    fn settle(&mut self) {
        self.note(|| "all is left to end".to_owned());
        self.proxy.disturb(0, 0);
        self.proxy.take_memory(8_000_000);
        for vm in self.vms.clone() {
            for _ in 0..400 {
                if !vm.all_streams().iter().any(|stream| stream.is_waiting()) {
                    break;
                }
                self.proxy.advance(20);
                self.tick(&vm);
            }
            for stream in vm.all_streams() {
                assert!(!stream.is_waiting(), "stream {}: its bytes wait for ever", stream.id);
                stream.wake(&vm);
                self.tidy(&vm, &stream);
            }
        }
        // Longer than any refused connection may stay.
        for _ in 0..200 {
            self.proxy.advance(250);
            for vm in self.vms.clone() {
                self.tick(&vm);
                for stream in vm.all_streams() {
                    stream.wake(&vm);
                    self.tidy(&vm, &stream);
                }
            }
            if !self.vms.iter().flat_map(|vm| vm.all_streams()).any(|stream| self.is_refused(&stream)) {
                break;
            }
        }
        for vm in self.vms.clone() {
            for stream in vm.all_streams() {
                assert!(!self.is_refused(&stream), "stream {}: a refused connection stays", stream.id);
                self.end(&vm, &stream);
            }
            assert_eq!(vm.active.get(), 0, "the gauge of live connections");
            assert_eq!(vm.worker.held().len(), 0, "what is held for judgement");
        }
        // Until those that live have heard of those that do not.
        for _ in 0..20 {
            if self.death_count == 0 {
                break;
            }
            self.proxy.advance(1_000);
            for vm in self.vms.clone() {
                self.tick(&vm);
            }
        }
        self.note(|| format!("{}", self.proxy.describe()));
        let (open, excused) = (self.proxy.open_count(), self.proxy.count_error_count());
        assert!(
            open <= excused || self.has_lost_unknown,
            "{open} slots of connections that have ended, {excused} of them for errors of the host"
        );
    }

    fn is_refused(&self, stream: &Stream) -> bool {
        let seen = stream.seen.borrow();
        seen.is_up && !seen.is_over && !seen.ends().is_empty() && stream.is_live()
    }
}

/// Whether messages that are too much are swallowed, good or bad.
const fn vm_is_dropping(seen: &Seen) -> bool {
    seen.terms.is_dropped
}

impl Seen {
    /// What it was refused for, and not what was swallowed alone.
    fn ends(&self) -> Vec<Violation> {
        let is_swallowed = |violation: &Violation| self.terms.is_dropped && *violation == Violation::RateExceeded;
        let is_end = |violation: &Violation| !self.terms.is_monitor && !is_swallowed(violation);
        self.refusals.iter().copied().filter(is_end).collect()
    }

    /// Another policy is in force, or soon: what any of them allows may happen.
    fn reload(&mut self, terms: &Terms) {
        self.reload_count += 1;
        let own = &mut self.terms;
        own.burst = own.burst.min(terms.burst);
        own.is_short_lived |= terms.is_short_lived;
        own.has_little_room |= terms.has_little_room;
        own.pings |= terms.pings;
        own.is_dropped |= terms.is_dropped;
        if matches!(terms.global, Global::Messages { .. }) {
            own.global = terms.global;
        }
        self.ways.iter_mut().for_each(|way| way.reload(terms));
    }
}

/// What is said of one connection, cut into chunks in one way: what comes out of it.
pub(crate) fn chunks(seed: u64, chunk_seed: u64) -> (Vec<Vec<(u8, Vec<u8>)>>, Vec<Violation>) {
    let mut world = World::new(seed, false, None);
    let chunking = Dice::new(chunk_seed);
    world.proxy.stand_still();
    let stream = world.request(0, Attempt::good(0));
    let vm = Rc::clone(&world.vms[0]);
    let questions = vm.questions();
    questions.into_iter().for_each(|token| vm.receive(token, Some(vec![8, 1])));
    if stream.seen.borrow().is_forwarded {
        world.open(&vm, &stream, 9);
    }
    for _ in 0..2 + world.dice.below(8) {
        let from = world.dice.pick(&[Side::Client, Side::Client, Side::Server]);
        {
            let seen = &mut *stream.seen.borrow_mut();
            let (way, writer) = (&mut seen.ways[index(from)], &mut seen.writers[index(from)]);
            for _ in 0..1 + world.dice.below(4) {
                if !writer.has_ended() {
                    writer.say(way);
                }
            }
        }
        let whole = stream.seen.borrow().ways[index(from)].unsent_len();
        // Hundreds of chunks say as much as thousands.
        let most = chunking.pick(&[1, 7, 60, whole.max(1)]).max(whole / 200);
        loop {
            let bytes = stream.seen.borrow_mut().ways[index(from)].send(1 + chunking.below(most));
            if bytes.is_empty() || !stream.seen.borrow().is_up || stream.seen.borrow().is_over {
                break;
            }
            world.deliver(&vm, &stream, from, &bytes, false);
            stream.wake(&vm);
        }
    }
    let seen = stream.seen.borrow();
    // In one callback the one that ends the connection stands before those that were swallowed.
    let mut refusals = seen.refusals.clone();
    refusals.sort_by_key(|violation| violation.reason());
    (seen.ways.iter().map(Way::plain).collect(), refusals)
}
