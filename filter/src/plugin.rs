//! The context of one plugin: how its policy, time and events come in.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use core::time::Duration;

use crate::calls::Calls;
use crate::host;
use crate::host::abi::{self, BufferType, Hosted, LogLevel, StreamType};
use crate::host::heap;
use crate::host::port::HostPort;
use crate::telemetry::Telemetry;
use portcullis_core::ask::{Ask, Asker};
use portcullis_core::config::{self, ConfigError};
use portcullis_core::effect::Metric;
use portcullis_core::gate::{Plugin, Ticked, Worker, take_batch};
use portcullis_core::record;
use portcullis_core::time::Moment;

/// A variable of `vm_config.environment_variables`, which the host gives as the environment.
#[expect(clippy::disallowed_methods, reason = "this is the host's configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What all contexts of a VM share: a worker has one VM.
pub(crate) struct Shared {
    pub(crate) worker: Rc<Worker>,
    pub(crate) calls: Calls,
    pub(crate) telemetry: Telemetry,
}

impl Default for Shared {
    fn default() -> Self {
        let worker = Rc::new(Worker::new(Rc::new(HostPort)));
        Self { worker, calls: Calls::default(), telemetry: Telemetry::default() }
    }
}

/// A root context of the ABI.
pub(crate) struct PluginContext {
    id: u32,
    shared: Rc<Shared>,
    plugin: Rc<Plugin>,
    /// The queue that wakes this VM in the next turn of its event loop.
    queue: Cell<Option<u32>>,
    /// Streams that asked to be woken.
    woken: RefCell<Vec<u32>>,
    /// How often the host gives a tick.
    tick: Cell<Duration>,
    /// The host has reset a connection to whose client frames could be written.
    has_tight_responses: Cell<bool>,
}

impl PluginContext {
    /// One without a policy.
    pub(crate) fn new(id: u32, shared: Rc<Shared>) -> Self {
        Self {
            id,
            plugin: Rc::new(Plugin::new(Rc::clone(&shared.worker))),
            queue: Cell::default(),
            woken: RefCell::default(),
            tick: Cell::default(),
            has_tight_responses: Cell::default(),
            shared,
        }
    }

    /// What the core knows of it.
    pub(crate) const fn plugin(&self) -> &Rc<Plugin> {
        &self.plugin
    }

    /// What all contexts of the VM share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Reads the policy; the old one stays when it does not hold. Returns whether it was taken.
    pub(crate) fn configure(&self, len: usize) -> bool {
        match self.try_configure(len) {
            Ok(()) => true,
            Err(problem) => {
                problem.tell();
                self.shared.telemetry.count(&Metric::Policies(false), 1);
                false
            }
        }
    }

    fn try_configure(&self, len: usize) -> Result<(), Unconfigured> {
        let begin = host::now().unwrap_or_else(|_| self.shared.worker.now());
        let telemetry = &self.shared.telemetry;
        telemetry.define_all().map_err(|_| Unconfigured::Host("the host defines no metrics"))?;
        let bytes = abi::buffer(BufferType::PluginConfiguration, 0, len);
        let bytes = bytes.map_err(|_| Unconfigured::Host("the host does not give out the policy"))?;
        let (parsed, policies_len) = heap::peak(|| config::parse(&bytes, &variable));
        let mut parsed = parsed.map_err(Unconfigured::Policy)?;
        telemetry.define_rules(&parsed.policies).map_err(|_| Unconfigured::Host("the host defines no metrics"))?;
        let warnings = core::mem::take(&mut parsed.warnings);
        self.tick_every(Plugin::TICK).map_err(|_| Unconfigured::Host("the host gives no ticks"))?;
        let property = |name| abi::property(name).unwrap_or_default();
        let identity = [property("plugin_name"), property("plugin_root_id")].join(&0);
        let monitored_count = parsed.policies.monitored_count();
        let record = record::configured(parsed.revision.as_deref(), monitored_count);
        let waits = parsed.policies.waits();
        let need = self.plugin.configure(identity, parsed, policies_len, begin);
        let need = need.map_err(|_| Unconfigured::Host("the host shares no data between its workers"))?;
        telemetry.count(&Metric::Policies(true), 1);
        telemetry.record(&Metric::Monitoring, monitored_count as u64);
        self.register_queue();
        for warning in &warnings {
            abi::log(LogLevel::Warn, &format!("portcullis: {warning}"));
        }
        abi::log(LogLevel::Info, &format!("portcullis: {need}"));
        if let Some(line) = waits {
            abi::log(LogLevel::Info, &line);
        }
        abi::log(LogLevel::Info, &record);
        Ok(())
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

    /// Has `stream` woken in the next turn of the event loop. Returns whether that will happen.
    pub(crate) fn wake(&self, stream: u32) -> bool {
        let waits = self.queue.get().is_some_and(|queue| abi::enqueue(queue).is_ok());
        if waits {
            self.woken.borrow_mut().push(stream);
        }
        waits
    }

    /// The streams to wake now: on a tick those that the queue should have woken. The host calls once for each that it was asked for, so every
    /// one has its turn.
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

    /// Has the next tick come soon. Where it fails, what waits has its turn with the ticks that there are.
    pub(crate) fn hurry(&self) {
        let _ = self.tick_every(Plugin::TICK_BEHIND);
    }

    /// Asks a service.
    ///
    /// # Errors
    /// The asker, where there will be no answer.
    pub(crate) fn ask(&self, ask: Ask) -> Result<(), Asker> {
        self.shared.calls.ask(self.id, ask)
    }

    /// Asks what no stream in hand asks.
    pub(crate) fn ask_all(&self, asks: Vec<Ask>) {
        for ask in asks {
            // Where nobody answers, all who wait are told with the next tick.
            let _ = self.ask(ask);
        }
    }

    /// The host reset a healthy connection, because more came at once than its buffer for a paused direction takes.
    pub(crate) fn overflowed(&self, stream: StreamType) {
        let (was_told, advice) = match stream {
            StreamType::Request => (
                self.plugin.stop_waiting(),
                "(request_payload_too_large): set the route's request_body_buffer_limit to twice the listener's \
                 per_connection_buffer_limit_bytes. Until then bursts are judged in one go, and others wait for all of them",
            ),
            StreamType::Response => (
                self.has_tight_responses.replace(true),
                "(response_payload_too_large): set the cluster's per_connection_buffer_limit_bytes to half of the listener's. \
                 Until then idle clients are told less",
            ),
        };
        if !was_told {
            abi::log(LogLevel::Warn, &format!("portcullis: Envoy has reset a healthy connection {advice}"));
        }
    }

    /// Whether the host's buffer limits are such that the client's direction of a stream cannot be kept paused.
    pub(crate) const fn has_tight_responses(&self) -> bool {
        self.has_tight_responses.get()
    }

    /// A tick.
    pub(crate) fn tick(&self, now: Moment) -> Ticked {
        let ticked = self.plugin.tick(now);
        // Where it fails, those that are behind have their turn with the ticks that there are.
        let _ = self.tick_every(ticked.next);
        ticked
    }

    /// The end of the tick that began at `begin`.
    pub(crate) fn ticked(&self, begin: Moment) {
        if let Ok(end) = host::now() {
            self.shared.telemetry.ticked(end.since(begin));
        }
    }

    fn tick_every(&self, span: Duration) -> Hosted<()> {
        if self.tick.get() != span {
            abi::set_tick_period(u32::try_from(span.as_millis()).unwrap_or(u32::MAX))?;
            self.tick.set(span);
        }
        Ok(())
    }
}

/// Why no policy was taken.
enum Unconfigured {
    /// The host lacks something.
    Host(&'static str),
    /// The policy is wrong.
    Policy(ConfigError),
}

impl Unconfigured {
    /// Logs it: a line for each fault of a policy.
    fn tell(&self) {
        let log = |problem: &str| abi::log(LogLevel::Critical, &format!("portcullis: {problem}"));
        match self {
            Self::Host(problem) => log(problem),
            Self::Policy(error) => {
                for fault in error.faults().iter().take(FAULT_LINES_MAX) {
                    log(&format!("policy refused: {fault}"));
                }
                let left = error.faults().len().saturating_sub(FAULT_LINES_MAX).saturating_add(error.omitted());
                if left > 0 {
                    log(&format!("policy refused: {left} more faults"));
                }
            }
        }
    }
}

/// How many faults of a policy have a line each.
const FAULT_LINES_MAX: usize = 20;
