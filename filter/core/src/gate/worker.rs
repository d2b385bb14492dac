//! What the streams of one worker share, and of one plugin.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use super::memory::Need;
use crate::ask::{Answer, Ask, Asker};
use crate::cluster::Bindings;
use crate::config::Parsed;
use crate::effect::{Effect, Effects, Level, Metric};
use crate::identity::Identity;
use crate::limits::HeldBytes;
use crate::limits::counters::Counters;
use crate::limits::lease::Leases;
use crate::limits::rls;
use crate::limits::table::FailureRules;
use crate::mode::Mode;
use crate::policy::Policy;
use crate::policy::routes::Policies;
use crate::port::{self, HostError, Port};
use crate::record::{Record, Scene};
use crate::refusal::Refusal;
use crate::succession::{Listener, Succession};
use crate::telemetry::watch::Watch;
use crate::time::Moment;
use crate::timers::Wheel;
use crate::turn::Turn;

/// How many streams have their turn in one callback: a quarter of a millisecond of pings, which take up to 8 µs each in Envoy, or half of one
/// of lifetimes, which take 17 with their log lines. What is due together must not keep a worker from its other connections: 10,000 lifetimes
/// would, for 170 ms and what it takes to write their Closes. So they end within about a second, and others have their turn in between.
const BATCH: usize = 32;

/// How often live connections are looked at at most, because they may have been revoked: with the two ticks before and after, and a second in
/// which 10,000 are closed, they have gone within two seconds of it.
const REVIEW_INTERVAL: Duration = Duration::from_millis(300);

/// Takes those that have their turn in this callback from the start of a list.
#[must_use]
pub fn take_batch<T>(list: &RefCell<Vec<T>>) -> Vec<T> {
    let mut list = list.borrow_mut();
    let len = list.len().min(BATCH);
    list.drain(..len).collect()
}

/// What a tick leads to.
#[derive(Debug)]
pub struct Ticked {
    /// The streams to [tick](super::Gate::tick).
    pub due: Vec<u32>,
    /// Whether every stream has to be [reviewed](super::Gate::review), since live connections may go by other policies than before, or be revoked.
    pub is_review_due: bool,
    /// When the next tick is to come, at the latest.
    pub next: Duration,
    /// What to ask.
    pub asks: Vec<Ask>,
    /// What to log, as warnings.
    pub lines: Vec<String>,
    /// What to log as it is: lines of JSON, about the worker.
    pub records: Vec<String>,
    /// What to count, and how much of it.
    pub counts: Vec<(Metric, i64)>,
}

/// What an answer leads to.
#[derive(Debug, Default)]
pub struct Answered {
    /// The streams that wait for it, for [`Gate::answered`](super::Gate::answered), each with its answer.
    pub streams: Vec<(u32, Answer)>,
    /// What to ask next.
    pub asks: Vec<Ask>,
    /// What to log, as warnings.
    pub lines: Vec<String>,
    /// What to count.
    pub counts: Vec<Metric>,
}

/// A worker: one thread of the proxy, with all its plugins.
#[derive(Debug)]
pub struct Worker {
    pub(super) port: Rc<dyn Port>,
    pub(super) held: Rc<HeldBytes>,
    pub(super) counters: Rc<Counters>,
    pub(super) leases: Rc<Leases>,
    pub(super) identity: Rc<Identity>,
    pub(super) turn: Turn,
    /// What tells it from the others of its proxy in logs.
    pub(super) name: u32,
    pub(super) watch: Watch,
    /// [`tell_address`] has.
    pub(super) has_told_address: Cell<bool>,
    succession: Succession<Policies>,
    /// What of [`Identity::revision`] live connections were looked at for, and when.
    reviewed: Cell<u32>,
    reviewed_at: Cell<Moment>,
    /// When the last tick was.
    now: Cell<Moment>,
}

impl Worker {
    /// A worker that has done nothing yet.
    #[must_use]
    pub fn new(port: Rc<dyn Port>) -> Self {
        let counters = Rc::new(Counters::new(Rc::clone(&port)));
        Self {
            now: Cell::new(port.now().unwrap_or_default()),
            identity: Rc::new(Identity::new(Rc::clone(&port))),
            held: Rc::default(),
            leases: Rc::new(Leases::new(Rc::clone(&counters))),
            counters,
            turn: Turn::default(),
            name: port::random(&*port).map_or(0, u32::from_le_bytes),
            watch: Watch::new(port::random(&*port).map_or(0, u64::from_le_bytes)),
            port,
            has_told_address: Cell::default(),
            succession: Succession::default(),
            reviewed: Cell::default(),
            reviewed_at: Cell::default(),
        }
    }

    /// The time of the last tick, which costs no call of the host.
    #[must_use]
    #[inline]
    pub const fn now(&self) -> Moment {
        self.now.get()
    }

    /// What all connections hold for judgement.
    #[must_use]
    pub const fn held(&self) -> &Rc<HeldBytes> {
        &self.held
    }

    /// The policies with the names that `bindings` have for the aliases of their clusters.
    #[inline]
    pub(super) fn bound(&self, policies: &Rc<Policies>, bindings: impl FnOnce() -> Rc<Bindings>) -> Rc<Policies> {
        if policies.aliases().is_empty() { Rc::clone(policies) } else { self.bind(policies, &bindings()) }
    }

    /// What they need is fetched from the first such request on.
    #[cold]
    #[inline(never)]
    fn bind(&self, policies: &Rc<Policies>, bindings: &Rc<Bindings>) -> Rc<Policies> {
        let (bound, is_new) = policies.bound(bindings);
        if is_new {
            for alias in policies.aliases().iter().filter(|alias| bindings.name(alias).is_empty()) {
                self.identity
                    .tell(format!("the metadata of a request's route names no cluster for extension_backend {alias}"));
            }
            bound.all().for_each(|policy| self.identity.fetch(&policy.auth));
        }
        bound
    }

    fn tick(&self, now: Moment) -> bool {
        self.now.set(now);
        self.turn.renew(now);
        // Where it fails, the next one will do.
        let _ = self.counters.beat(now);
        self.identity.tick(now);
        // Both look at every connection, so neither may come before its time.
        let is_behind = self.reviewed.get() != self.identity.revision();
        let is_due = is_behind && now.since(self.reviewed_at.get()) >= REVIEW_INTERVAL;
        if is_due {
            self.reviewed.set(self.identity.revision());
            self.reviewed_at.set(now);
        }
        self.succession.tick(now) | is_due
    }

    /// The streams whose clients' bytes wait, in the order of their turns, which [`Gate::take_turn`](super::Gate::take_turn) gives them.
    #[must_use]
    pub fn take_waiting(&self) -> Vec<u32> {
        self.turn.take_waiting()
    }

    /// An answer is there, or will never be.
    #[must_use]
    pub fn answered(&self, asker: Asker, answer: Answer) -> Answered {
        let streams = match asker {
            Asker::Inquiry(inquiry) => {
                let waiting = self.identity.answered(inquiry, &answer);
                waiting.into_iter().map(|stream| (stream, Answer::Shared)).collect()
            }
            Asker::Lease { subject, message_type } => {
                self.leases.answered(subject, &message_type, rls::verdict(&answer));
                Vec::new()
            }
            Asker::Stream(stream) => vec![(stream, answer)],
        };
        let identity = &self.identity;
        let (asks, lines, counts) = (identity.take_asks(), identity.take_lines(), identity.take_counts());
        Answered { streams, asks, lines, counts }
    }
}

/// Tells of an address that is banned from now on, with the last of its failures. Bans that are only monitored refuse nobody: what would be is told then.
#[cold]
pub(super) fn tell_ban(
    worker: &Worker,
    policy: &Policy,
    record: &Record,
    of: Scene<'_>,
    (failure, rules): (Option<&Refusal>, &FailureRules),
    effects: &mut Effects,
) {
    if !policy.modes.limits.enforces() {
        return;
    }
    effects.count(Metric::Bans, 1);
    if policy.log.refusals {
        worker.watch.log(record.group(), Mode::Enforce, worker.now(), || record.banned(of, failure, rules), effects);
    }
}

/// Tells, once for a worker, of a request without `X-Forwarded-For` under a policy that limits by address. Envoy appends the peer's to every request
/// with `use_remote_address: true`, and to none without: then the address is what stands last there, and anybody's to choose.
#[cold]
pub(super) fn tell_address(worker: &Worker, effects: &mut Effects) {
    if !worker.has_told_address.replace(true) {
        effects.push(Effect::Log(Level::Warn, ADDRESS_LINE.to_owned()));
    }
}

const ADDRESS_LINE: &str = "portcullis: a request came without X-Forwarded-For, so Envoy's connection manager lacks `use_remote_address: true`: clients \
    choose the address that limits and bans go by. Set it, and `xff_num_trusted_hops` to the number of proxies before Envoy";

/// A plugin: one filter in the proxy's configuration.
#[derive(Debug)]
pub struct Plugin {
    pub(super) worker: Rc<Worker>,
    /// What tells a plugin that was configured anew from another one: its name and root_id in the proxy's configuration.
    identity: RefCell<Vec<u8>>,
    policies: RefCell<Option<Rc<Policies>>>,
    /// What they need of the worker's memory.
    need: Cell<Need>,
    /// Streams that wait for a time.
    timers: RefCell<Wheel>,
    /// Streams whose time has come, and not yet their turn. The first is the next.
    due: RefCell<Vec<u32>>,
    /// Whether clients' bytes may wait: otherwise the host resets the stream of one that sends many at once.
    pub(super) may_wait: Cell<bool>,
}

impl Plugin {
    /// One without a policy.
    #[must_use]
    pub fn new(worker: Rc<Worker>) -> Self {
        Self {
            timers: RefCell::new(Wheel::new(worker.now())),
            due: RefCell::default(),
            worker,
            identity: RefCell::default(),
            policies: RefCell::default(),
            need: Cell::new(Need::NOTHING),
            may_wait: Cell::new(true),
        }
    }

    /// Goes by other policies, which took the time from `begin` and `policies_len` bytes of memory to read. Gives what the worker then needs, for
    /// the log.
    ///
    /// # Errors
    /// [`HostError`] where workers share no data: nothing could be counted.
    pub fn configure(
        &self,
        identity: Vec<u8>,
        parsed: Parsed,
        policies_len: usize,
        begin: Moment,
    ) -> Result<String, HostError> {
        let Self { worker, .. } = self;
        worker.counters.prepare()?;
        let need = Need::new(parsed.memory, policies_len as u64);
        self.need.set(need);
        self.identity.replace(identity);
        let policies = Rc::new(parsed.policies);
        policies.all().try_for_each(|policy| worker.identity.adopt(&policy.auth))?;
        self.policies.replace(Some(Rc::clone(&policies)));
        let now = worker.port.now().unwrap_or(begin);
        worker.succession.configured(&self.identity.borrow(), &policies, begin, now);
        Ok(need.to_string())
    }

    /// How often it is [ticked](Self::tick): timers are seconds long, and a tick with nothing due costs microseconds.
    pub const TICK: Duration = Duration::from_millis(100);

    /// How soon the next tick comes where not everything has had its turn: as soon as a host can say. Between two ticks Envoy hears of other
    /// connections. Between two items of a queue it does not: what is woken is called before it polls again.
    pub const TICK_BEHIND: Duration = Duration::from_millis(1);

    /// Has `stream` among those that are due then.
    pub fn schedule(&self, stream: u32, at: Moment) {
        self.timers.borrow_mut().schedule(stream, at);
    }

    /// A tick.
    pub fn tick(&self, now: Moment) -> Ticked {
        let is_review_due = self.worker.tick(now);
        self.timers.borrow_mut().advance(now, &mut self.due.borrow_mut());
        let due = take_batch(&self.due);
        let Worker { counters, turn, .. } = &*self.worker;
        let is_behind = !self.due.borrow().is_empty() || counters.is_behind() || turn.is_behind();
        let identity = &self.worker.identity;
        let (asks, lines) = (identity.take_asks(), identity.take_lines());
        let mut counts: Vec<(Metric, i64)> = identity.take_counts().into_iter().map(|metric| (metric, 1)).collect();
        let change = counters.take_change();
        if change != 0 {
            counts.push((Metric::Active, change));
        }
        let spikes = self.policies.borrow().as_ref().and_then(|policies| policies.base().log.spikes);
        let records = self.worker.watch.tell(spikes, now, &mut counts);
        let next = if is_behind { Self::TICK_BEHIND } else { Self::TICK };
        Ticked { due, is_review_due, asks, lines, records, counts, next }
    }

    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> Option<Rc<Policies>> {
        self.policies.borrow().clone()
    }

    /// The host reset a healthy connection, because more came of its client at once than its buffer takes: from now on nothing waits. Returns
    /// whether nothing did before.
    pub fn stop_waiting(&self) -> bool {
        !self.may_wait.replace(false)
    }

    /// The worker that it is on.
    #[must_use]
    #[inline]
    pub const fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Where a request came to that is given `policies`, over the host's connection of this number.
    pub(super) fn listener(
        &self,
        name: &[u8],
        connection: u64,
        policies: &Rc<Policies>,
        now: Moment,
    ) -> Rc<Listener<Policies>> {
        self.worker.succession.requested(&self.identity.borrow(), name, connection, policies, now)
    }

    /// Whether there is no memory for one connection more.
    pub(super) fn is_full(&self) -> bool {
        self.need.get().is_full(&self.worker.held, self.worker.port.memory_len())
    }
}
