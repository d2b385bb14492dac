//! What the streams of one plugin share: the policy, the counters, and the ways in which time and events come in.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use core::time::Duration;

use crate::fleet::Fleet;
use crate::host;
use crate::host::abi::{self, BufferType, Hosted, LogLevel, StreamType};
use crate::host::heap;
use crate::limiter::Limiter;
use crate::memory::Need;
use crate::telemetry::Telemetry;
use portcullis_core::config;
use portcullis_core::limits::HeldBytes;
use portcullis_core::policy::routes::Policies;
use portcullis_core::succession::{Listener, Succession};
use portcullis_core::time::Moment;
use portcullis_core::timers::Wheel;
use portcullis_core::turn::Turn;

/// How often timers are looked at, in milliseconds: they are seconds long, and a tick with nothing due costs microseconds.
const TICK_MILLIS: u32 = 100;

/// How soon the next tick comes where not everything has had its turn, in milliseconds: the shortest that the ABI can say. Between two
/// ticks Envoy hears of other connections. Between two items of a queue it does not: what is woken is called before it polls again.
const TICK_MILLIS_BEHIND: u32 = 1;

/// How many streams have their turn in one callback: a quarter of a millisecond of pings, which take up to 8 µs each in Envoy, or half of one
/// of lifetimes, which take 17 with their log lines. What is due together must not keep a worker from its other connections: 10,000 lifetimes
/// would, for 170 ms and what it takes to write their Closes. So they end within about a second, and others have their turn in between.
const BATCH: usize = 32;

/// How far ahead a stream is scheduled: who waits for longer is looked at in between. Timers of streams that have ended stay until they
/// are due, so this bounds their number.
const SCHEDULE_MAX: Duration = Duration::from_secs(30);

/// A variable of `vm_config.environment_variables`, which the host gives as the environment.
#[expect(clippy::disallowed_methods, reason = "this is the host's configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Within what time idle connections are looked at where they may go by another policy, in milliseconds: not all of them at once, and with
/// the time that policies take to settle and two ticks within two seconds.
const REVIEW_MILLIS: u64 = 400;

/// What all root contexts of a VM share: a worker has one VM.
#[derive(Default)]
pub(crate) struct Shared {
    /// What the connections of this worker hold.
    pub(crate) held: Rc<HeldBytes>,
    /// What all workers count.
    pub(crate) limiter: Rc<Limiter>,
    /// What is asked of a fleet's service.
    pub(crate) fleet: Rc<Fleet>,
    /// Which policies live connections go by.
    succession: Succession<Policies>,
    telemetry: OnceCell<Telemetry>,
    /// How long clients have been judged, and whose bytes wait.
    pub(crate) turn: Turn,
}

/// A root context.
pub(crate) struct Root {
    id: u32,
    shared: Rc<Shared>,
    /// What tells a plugin that was configured anew from another one: its name and root_id in the proxy's configuration.
    identity: RefCell<Vec<u8>>,
    policies: RefCell<Option<Rc<Policies>>>,
    /// What they need of the worker's memory.
    need: Cell<Need>,
    /// The queue that wakes this VM in the next turn of its event loop.
    queue: Cell<Option<u32>>,
    /// Streams that asked to be woken.
    woken: RefCell<Vec<u32>>,
    /// Streams that wait for a time.
    timers: RefCell<Wheel>,
    /// Streams whose time has come, and not yet their turn. The first is the next.
    due: RefCell<Vec<u32>>,
    /// How often the host gives a tick, in milliseconds.
    tick_millis: Cell<u32>,
    /// When the last tick was.
    now: Cell<Moment>,
    /// The host has reset a connection whose client's bytes waited.
    tight_requests: Cell<bool>,
    /// The host has reset a connection whose way to the client was quiet.
    tight_responses: Cell<bool>,
}

impl Root {
    /// A root context without a policy.
    pub(crate) fn new(id: u32, shared: Rc<Shared>) -> Self {
        let now = host::now().unwrap_or_default();
        Self {
            id,
            shared,
            identity: RefCell::default(),
            policies: RefCell::default(),
            need: Cell::default(),
            queue: Cell::default(),
            woken: RefCell::default(),
            timers: RefCell::new(Wheel::new(now)),
            due: RefCell::default(),
            tick_millis: Cell::default(),
            now: Cell::new(now),
            tight_requests: Cell::default(),
            tight_responses: Cell::default(),
        }
    }

    /// The context's id in the host.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// What all root contexts of the VM share.
    pub(crate) const fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Reads the policy; the old one stays when it does not hold. Returns whether it was taken.
    pub(crate) fn configure(&self, len: usize) -> bool {
        let begin = host::now().unwrap_or_else(|_| self.now.get());
        let Ok(bytes) = abi::buffer(BufferType::PluginConfiguration, 0, len) else {
            abi::log(LogLevel::Critical, "portcullis: the host does not give out the policy");
            return false;
        };
        let (parsed, policies_len) = heap::peak(|| config::parse(&bytes, &variable));
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                abi::log(LogLevel::Critical, &format!("portcullis: policy refused: {error}"));
                return false;
            }
        };
        let telemetry = &self.shared.telemetry;
        if telemetry.get().is_none() {
            let Ok(defined) = Telemetry::define() else {
                abi::log(LogLevel::Critical, "portcullis: the host defines no metrics");
                return false;
            };
            let _ = telemetry.set(defined);
        }
        let rules = telemetry.get().map(|telemetry| telemetry.define_rules(&parsed.policies));
        if rules.is_none_or(|defined| defined.is_err()) {
            abi::log(LogLevel::Critical, "portcullis: the host defines no metrics");
            return false;
        }
        if self.shared.limiter.prepare().is_err() {
            abi::log(LogLevel::Critical, "portcullis: the host shares no data between its workers");
            return false;
        }
        if self.tick_every(TICK_MILLIS).is_err() {
            abi::log(LogLevel::Critical, "portcullis: the host gives no ticks");
            return false;
        }
        self.register_queue();
        for warning in &parsed.warnings {
            abi::log(LogLevel::Warn, &format!("portcullis: {warning}"));
        }
        let need = Need::new(parsed.memory, policies_len as u64);
        need.announce();
        self.need.set(need);
        let property = |name| abi::property(name).unwrap_or_default();
        self.identity.replace([property("plugin_name"), property("plugin_root_id")].join(&0));
        let policies = Rc::new(parsed.policies);
        self.policies.replace(Some(Rc::clone(&policies)));
        let now = host::now().unwrap_or(begin);
        self.shared.succession.configured(&self.identity.borrow(), &policies, begin, now);
        true
    }

    /// Where the request of the stream in hand came to, that was given `policies`.
    pub(crate) fn listener(&self, policies: &Rc<Policies>) -> Rc<Listener<Policies>> {
        let property = |name| abi::property(name).unwrap_or_default();
        let name = [property("destination\0address"), property("xds\0filter_chain_name")].join(&0);
        // Without its number it is taken for a new one.
        let connection =
            property("connection\0id").first_chunk().map_or(u64::MAX, |number| u64::from_le_bytes(*number));
        let now = host::now().unwrap_or_else(|_| self.now.get());
        self.shared.succession.requested(&self.identity.borrow(), &name, connection, policies, now)
    }

    /// Has a stream that may go by another policy looked at soon, and not all of them at once.
    pub(crate) fn review(&self, stream: u32) {
        let millis = u64::from(stream) % REVIEW_MILLIS;
        self.schedule(stream, self.now.get().saturating_add(Duration::from_millis(millis)));
    }

    /// Without a queue streams cannot become writable again once they were busy; a Close then takes its way through the
    /// upstream.
    fn register_queue(&self) {
        if self.queue.get().is_some() {
            return;
        }
        // Each VM reads a queue of its own: the name is never used again.
        let Ok(name) = host::random::<16>() else { return };
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        self.queue.set(abi::register_queue(&format!("portcullis-{name}")).ok());
    }

    /// The policies in force.
    pub(crate) fn policies(&self) -> Option<Rc<Policies>> {
        self.policies.borrow().clone()
    }

    /// Whether there is no memory for one connection more.
    pub(crate) fn is_full(&self) -> bool {
        self.need.get().is_full(&self.shared.held)
    }

    /// The metrics, once there is a policy.
    pub(crate) fn telemetry(&self) -> Option<&Telemetry> {
        self.shared.telemetry.get()
    }

    /// Has `stream` woken in the next turn of the event loop. Returns whether that will happen.
    pub(crate) fn wake(&self, stream: u32) -> bool {
        let waits = self.queue.get().is_some_and(|queue| abi::enqueue(queue).is_ok());
        if waits {
            self.woken.borrow_mut().push(stream);
        }
        waits
    }

    /// The streams to wake now, at most [`BATCH`]: on a tick those that the queue should have woken. The host calls once for each that
    /// it was asked for, so every one has its turn.
    pub(crate) fn take_woken(&self) -> Vec<u32> {
        let woken = take_batch(&self.woken);
        let Some(queue) = self.queue.get() else { return woken };
        // One item was queued for each.
        for _ in &woken {
            if abi::dequeue(queue).is_err() {
                break;
            }
        }
        woken
    }

    /// Has `stream` looked at when `deadline` has passed, or some time before. Gives when that will be.
    pub(crate) fn schedule(&self, stream: u32, deadline: Moment) -> Moment {
        let at = deadline.min(self.now.get().saturating_add(SCHEDULE_MAX));
        self.timers.borrow_mut().schedule(stream, at);
        at
    }

    /// Judging has ended for now. Gives the time.
    pub(crate) fn judged(&self) -> Moment {
        let now = host::now().unwrap_or_else(|_| self.now.get());
        self.shared.turn.look(now);
        self.hurry();
        now
    }

    /// Has the next tick come soon where others have to be heard.
    pub(crate) fn hurry(&self) {
        if self.shared.turn.is_behind() {
            // Where it fails, what waits has its turn with the ticks that there are.
            let _ = self.tick_every(TICK_MILLIS_BEHIND);
        }
    }

    /// The time of the last tick, which costs no call of the host.
    pub(crate) const fn now(&self) -> Moment {
        self.now.get()
    }

    /// The second that it is.
    pub(crate) const fn second(&self) -> u64 {
        self.now.get().as_nanos() / 1_000_000_000
    }

    /// The host reset a healthy connection, because more came at once than its buffer for a paused direction takes.
    pub(crate) fn overflowed(&self, stream: StreamType) {
        if self.tight_for(stream).replace(true) {
            return;
        }
        let advice = match stream {
            StreamType::Request => {
                "(request_payload_too_large): set the route's request_body_buffer_limit to twice the listener's \
                 per_connection_buffer_limit_bytes. Until then bursts are judged in one go, and others wait for all of them"
            }
            StreamType::Response => {
                "(response_payload_too_large): set the cluster's per_connection_buffer_limit_bytes to half of the \
                 listener's. Until then idle clients are told less"
            }
        };
        abi::log(LogLevel::Warn, &format!("portcullis: Envoy has reset a healthy connection {advice}"));
    }

    /// Whether the host's buffer limits are such that this direction of a stream cannot be kept paused.
    pub(crate) const fn is_tight(&self, stream: StreamType) -> bool {
        self.tight_for(stream).get()
    }

    const fn tight_for(&self, stream: StreamType) -> &Cell<bool> {
        match stream {
            StreamType::Request => &self.tight_requests,
            StreamType::Response => &self.tight_responses,
        }
    }

    /// Whether live connections may go by other policies than before.
    pub(crate) fn is_review_due(&self) -> bool {
        self.shared.succession.tick(self.now.get())
    }

    /// A tick: the streams that have their turn now, of those whose time has come.
    pub(crate) fn tick(&self, now: Moment) -> Vec<u32> {
        self.now.set(now);
        self.shared.turn.renew(now);
        // Where it fails, the next one will do.
        let _ = self.shared.limiter.beat(now);
        self.timers.borrow_mut().advance(now, &mut self.due.borrow_mut());
        let batch = take_batch(&self.due);
        let is_behind =
            !self.due.borrow().is_empty() || self.shared.limiter.is_behind() || self.shared.turn.is_behind();
        let millis = if is_behind { TICK_MILLIS_BEHIND } else { TICK_MILLIS };
        // Where it fails, they have their turn with the ticks that there are.
        let _ = self.tick_every(millis);
        batch
    }

    /// The end of the tick that began at `begin`.
    pub(crate) fn ticked(&self, begin: Moment) {
        if let (Some(telemetry), Ok(end)) = (self.telemetry(), host::now()) {
            telemetry.ticked(end.since(begin));
        }
    }

    fn tick_every(&self, millis: u32) -> Hosted<()> {
        if self.tick_millis.get() != millis {
            abi::set_tick_period(millis)?;
            self.tick_millis.set(millis);
        }
        Ok(())
    }
}

/// Takes the first [`BATCH`] of a list.
fn take_batch(list: &RefCell<Vec<u32>>) -> Vec<u32> {
    let mut list = list.borrow_mut();
    let len = list.len().min(BATCH);
    list.drain(..len).collect()
}
