//! Which policies live connections go by: those that new ones get.
//!
//! A host makes a new root context for a plugin whose policy has changed, reuses one that is still there where an old policy is put back,
//! and tells neither when the one takes the place of the other. What shows it is where requests go: each request is given the root
//! context that is in force at its listener.
//!
//! ```text
//!            configured: at once, or where listeners differ at the end      a request under it, or the end
//!   Settled ────────────────────────────────────────────────────▶ Settling ─────────────────────────────▶ Settled
//!      └── a request under other policies: those
//! ```
//!
//! Between the configuration of a root context and its coming into force requests still reach the old one: the host's main thread configures
//! a VM of its own in between. While that may be (`Settling`), an early request under other policies says nothing, and a late one counts
//! only at the end, unless one under the new ones comes before.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use crate::time::Moment;

/// How long policies settle at least. Seen with Envoy 1.40: 10 to 50 ms from the configuration to the new root context being in force.
const SETTLING_MIN: Duration = Duration::from_millis(500);

/// At most: with the time in which idle connections are then looked at it stays below two seconds.
const SETTLING_MAX: Duration = Duration::from_secs(1);

/// How much longer than our own configuration took: the main thread does the same work, on the same busy machine.
const SETTLING_FACTOR: u32 = 8;

/// How often live connections are looked at at most, because they may go by other policies: it costs as much as there are connections.
const REVIEW_INTERVAL: Duration = Duration::from_millis(400);

/// How many listeners of one plugin are told apart; those beyond it are taken for one. A listener that takes connections for any address
/// has as many as there are addresses.
const LISTENERS_MAX: usize = 64;

/// The plugins of one VM, and what each of their listeners goes by.
#[derive(Debug)]
pub struct Succession<P> {
    plugins: RefCell<Vec<Plugin<P>>>,
    /// Something came into force since live connections were looked at, which was then.
    changed: Cell<bool>,
    reviewed_at: Cell<Moment>,
}

/// A plugin, which its name in the host's configuration tells from others.
#[derive(Debug)]
struct Plugin<P> {
    name: Box<[u8]>,
    listeners: Vec<Rc<Listener<P>>>,
}

/// A listener of a plugin.
#[derive(Debug)]
pub struct Listener<P> {
    name: Box<[u8]>,
    state: RefCell<State<P>>,
}

#[derive(Debug)]
struct State<P> {
    current: Rc<P>,
    settling: Option<Settling<P>>,
    /// The newest connection of the host that a request has come over, and what that was when `current` came into force.
    newest_connection: u64,
    newest_before: u64,
    /// Requests over older connections are given new root contexts too. Where the host changes a whole listener they are not: its old
    /// connections keep the old root context until they end.
    moves: bool,
}

/// Policies that were configured and may not be in force yet.
#[derive(Debug)]
struct Settling<P> {
    policies: Rc<P>,
    since: Moment,
    span: Duration,
    /// The policies of the last late request under others.
    rival: Option<Rc<P>>,
}

impl<P> Clone for Settling<P> {
    fn clone(&self) -> Self {
        Self { policies: Rc::clone(&self.policies), rival: self.rival.clone(), ..*self }
    }
}

impl<P> Default for Succession<P> {
    fn default() -> Self {
        Self { plugins: RefCell::default(), changed: Cell::default(), reviewed_at: Cell::default() }
    }
}

impl<P> Succession<P> {
    /// A root context of `plugin` was configured with `policies`, which took the time from `begin` to `now`.
    pub fn configured(&self, plugin: &[u8], policies: &Rc<P>, begin: Moment, now: Moment) {
        let span = now.since(begin).saturating_mul(SETTLING_FACTOR).clamp(SETTLING_MIN, SETTLING_MAX);
        let settling = Settling { policies: Rc::clone(policies), since: now, span, rival: None };
        let mut plugins = self.plugins.borrow_mut();
        let Some(plugin) = plugins.iter_mut().find(|own| *own.name == *plugin) else {
            plugins.push(Plugin { name: plugin.into(), listeners: Vec::new() });
            return;
        };
        let mut currents = plugin.listeners.iter().map(|listener| listener.current());
        let first = currents.next();
        // Listeners with policies of their own: it may be one of the others that has new ones.
        let is_for_all = currents.all(|current| first.as_ref().is_some_and(|first| Rc::ptr_eq(first, &current)));
        for listener in &plugin.listeners {
            self.note(listener.state.borrow_mut().configured(settling.clone(), is_for_all));
        }
    }

    /// A request came to `listener`, over the host's connection of this number, and was given a root context of `plugin` with `policies`.
    pub fn requested(
        &self,
        plugin: &[u8],
        listener: &[u8],
        connection: u64,
        policies: &Rc<P>,
        now: Moment,
    ) -> Rc<Listener<P>> {
        let mut plugins = self.plugins.borrow_mut();
        let listener = match plugins.iter_mut().find(|own| *own.name == *plugin) {
            Some(plugin) => plugin.listener(listener, policies),
            // A root context without a configuration has no policies, so there is one.
            None => Rc::new(Listener::new(listener, Rc::clone(policies))),
        };
        self.note(listener.state.borrow_mut().requested(connection, policies, now));
        listener
    }

    /// Looks at the clock. Returns whether to look at live connections now, since they may go by other policies than before.
    pub fn tick(&self, now: Moment) -> bool {
        for listener in self.plugins.borrow().iter().flat_map(|plugin| &plugin.listeners) {
            self.note(listener.state.borrow_mut().settle(now));
        }
        let is_due = now.since(self.reviewed_at.get()) >= REVIEW_INTERVAL && self.changed.take();
        if is_due {
            self.reviewed_at.set(now);
        }
        is_due
    }

    fn note(&self, changed: bool) {
        self.changed.set(self.changed.get() || changed);
    }
}

impl<P> Plugin<P> {
    fn listener(&mut self, name: &[u8], policies: &Rc<P>) -> Rc<Listener<P>> {
        let known = |name: &[u8]| self.listeners.iter().find(|listener| *listener.name == *name);
        let is_full = self.listeners.len() >= LISTENERS_MAX;
        if let Some(known) = known(name).or_else(|| known(&[]).filter(|_| is_full)) {
            return Rc::clone(known);
        }
        let name = if is_full { &[] } else { name };
        // What was configured last may be another listener's: nobody is up here that could be left behind.
        let listener = Rc::new(Listener::new(name, Rc::clone(policies)));
        self.listeners.push(Rc::clone(&listener));
        listener
    }
}

impl<P> Listener<P> {
    fn new(name: &[u8], current: Rc<P>) -> Self {
        let state = State { current, settling: None, newest_connection: 0, newest_before: 0, moves: false };
        Self { name: name.into(), state: RefCell::new(state) }
    }

    /// What live connections go by now.
    #[must_use]
    pub fn current(&self) -> Rc<P> {
        Rc::clone(&self.state.borrow().current)
    }

    /// Likewise, where that is not `these`.
    #[must_use]
    #[inline]
    pub fn other_than(&self, these: &Rc<P>) -> Option<Rc<P>> {
        let state = self.state.borrow();
        (!Rc::ptr_eq(&state.current, these)).then(|| Rc::clone(&state.current))
    }
}

/// Each tells whether something came into force.
impl<P> State<P> {
    fn configured(&mut self, settling: Settling<P>, at_once: bool) -> bool {
        let policies = Rc::clone(&settling.policies);
        self.newest_before = self.newest_connection;
        self.settling = Some(settling);
        at_once && self.enter(&policies)
    }

    fn requested(&mut self, connection: u64, policies: &Rc<P>, now: Moment) -> bool {
        let has_settled = self.settle(now);
        let is_old = connection <= self.newest_before;
        let is_new = match &mut self.settling {
            Some(settling) if Rc::ptr_eq(policies, &settling.policies) => {
                self.moves |= is_old;
                self.settling = None;
                self.enter(policies)
            }
            None if Rc::ptr_eq(policies, &self.current) => {
                self.moves |= is_old;
                false
            }
            _ if is_old && !self.moves => false,
            Some(settling) => {
                if now.since(settling.since).saturating_mul(2) >= settling.span {
                    settling.rival = Some(Rc::clone(policies));
                }
                false
            }
            None => self.enter(policies),
        };
        self.newest_connection = self.newest_connection.max(connection);
        has_settled || is_new
    }

    fn settle(&mut self, now: Moment) -> bool {
        let Some(settling) = self.settling.take_if(|settling| settling.is_over(now)) else { return false };
        self.enter(&settling.rival.unwrap_or(settling.policies))
    }

    fn enter(&mut self, policies: &Rc<P>) -> bool {
        let is_new = !Rc::ptr_eq(policies, &self.current);
        if is_new {
            self.current = Rc::clone(policies);
            self.newest_before = self.newest_connection;
        }
        is_new
    }
}

impl<P> Settling<P> {
    fn is_over(&self, now: Moment) -> bool {
        now.since(self.since) >= self.span
    }
}

#[cfg(test)]
mod tests;
