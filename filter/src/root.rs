//! What the streams of one plugin share: the policy, the counters, and the ways in which time and events come in.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::host;
use crate::host::abi::{self, BufferType, LogLevel};
use crate::telemetry::Telemetry;
use portcullis_core::config;
use portcullis_core::limits::HeldBytes;
use portcullis_core::policy::Policies;
use portcullis_core::time::Timestamp;

/// How often deadlines are looked at, in milliseconds: they are seconds long.
const TICK_MILLIS: u32 = 1_000;

/// A variable of `vm_config.environment_variables`, which the host gives as the environment.
#[expect(clippy::disallowed_methods, reason = "this is the host's configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A root context.
#[derive(Default)]
pub(crate) struct Root {
    policies: RefCell<Option<Rc<Policies>>>,
    telemetry: OnceCell<Telemetry>,
    /// The queue that wakes this VM in the next turn of its event loop.
    queue: Cell<Option<u32>>,
    /// Streams that asked to be woken.
    woken: RefCell<Vec<u32>>,
    /// What the connections of this worker hold.
    held: Rc<HeldBytes>,
    /// Streams that have to end, the first deadline first; each stands here once at most.
    deadlines: RefCell<BTreeSet<(Timestamp, u32)>>,
    ticks: Cell<u32>,
    /// The host has reset a connection whose way to the client was quiet.
    tight: Cell<bool>,
}

impl Root {
    /// A root context without a policy; `held` is what the connections of this worker hold.
    pub(crate) fn new(held: Rc<HeldBytes>) -> Self {
        Self { held, ..Self::default() }
    }

    /// Reads the policy; the old one stays when it does not hold. Tells whether it was taken.
    pub(crate) fn configure(&self, len: usize) -> bool {
        let Ok(bytes) = abi::buffer(BufferType::PluginConfiguration, 0, len) else {
            abi::log(LogLevel::Critical, "portcullis: the host does not give out the policy");
            return false;
        };
        let parsed = match config::parse(&bytes, &variable) {
            Ok(parsed) => parsed,
            Err(error) => {
                abi::log(LogLevel::Critical, &format!("portcullis: policy refused: {error}"));
                return false;
            }
        };
        if self.telemetry.get().is_none() {
            let Ok(telemetry) = Telemetry::define() else {
                abi::log(LogLevel::Critical, "portcullis: the host defines no metrics");
                return false;
            };
            let _ = self.telemetry.set(telemetry);
        }
        let rules = self.telemetry.get().map(|telemetry| telemetry.define_rules(&parsed.policies));
        if rules.is_none_or(|defined| defined.is_err()) {
            abi::log(LogLevel::Critical, "portcullis: the host defines no metrics");
            return false;
        }
        if abi::set_tick_period(TICK_MILLIS).is_err() {
            abi::log(LogLevel::Critical, "portcullis: the host gives no ticks");
            return false;
        }
        self.register_queue();
        for warning in &parsed.warnings {
            abi::log(LogLevel::Warn, &format!("portcullis: {warning}"));
        }
        self.policies.replace(Some(Rc::new(parsed.policies)));
        true
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

    /// What the connections of this worker hold.
    pub(crate) const fn held(&self) -> &Rc<HeldBytes> {
        &self.held
    }

    /// The policies in force, where they are not `these`.
    pub(crate) fn newer_policies(&self, these: &Rc<Policies>) -> Option<Rc<Policies>> {
        self.policies.borrow().as_ref().filter(|policies| !Rc::ptr_eq(policies, these)).cloned()
    }

    /// The counters, once there is a policy.
    pub(crate) fn telemetry(&self) -> Option<&Telemetry> {
        self.telemetry.get()
    }

    /// Has `stream` woken in the next turn of the event loop. Tells whether that will happen.
    pub(crate) fn wake(&self, stream: u32) -> bool {
        let waits = self.queue.get().is_some_and(|queue| abi::enqueue(queue).is_ok());
        if waits {
            self.woken.borrow_mut().push(stream);
        }
        waits
    }

    /// The streams to wake now: on a tick those that the queue should have woken.
    pub(crate) fn take_woken(&self) -> Vec<u32> {
        let woken = self.woken.take();
        let Some(queue) = self.queue.get() else { return woken };
        // One item was queued for each.
        for _ in &woken {
            if abi::dequeue(queue).is_err() {
                break;
            }
        }
        woken
    }

    /// Has `stream` looked at when `deadline` has passed, and not at `old` any more.
    pub(crate) fn schedule(&self, stream: u32, old: Option<Timestamp>, deadline: Option<Timestamp>) {
        let mut deadlines = self.deadlines.borrow_mut();
        if let Some(old) = old {
            deadlines.remove(&(old, stream));
        }
        deadlines.extend(deadline.map(|deadline| (deadline, stream)));
    }

    /// How many ticks there were, to tell one from the next: it goes round.
    pub(crate) const fn ticks(&self) -> u32 {
        self.ticks.get()
    }

    /// The host reset a healthy connection, because more came at once than its buffer for a paused direction takes.
    pub(crate) fn overflowed(&self) {
        if !self.tight.replace(true) {
            abi::log(
                LogLevel::Warn,
                "portcullis: Envoy has reset a healthy connection (response_payload_too_large): set the cluster's \
                 per_connection_buffer_limit_bytes to half of the listener's. Until then idle clients are told less",
            );
        }
    }

    /// Whether the host's buffer limits are such that no way can be kept quiet.
    pub(crate) const fn is_tight(&self) -> bool {
        self.tight.get()
    }

    /// A tick: the streams whose deadline has passed.
    pub(crate) fn tick(&self) -> Vec<u32> {
        self.ticks.set(self.ticks.get().wrapping_add(1));
        let Ok(now) = host::now() else { return Vec::new() };
        let mut deadlines = self.deadlines.borrow_mut();
        let later = deadlines.split_off(&(now, u32::MAX));
        core::mem::replace(&mut *deadlines, later).into_iter().map(|(_, stream)| stream).collect()
    }
}
