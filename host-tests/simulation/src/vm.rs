//! The simulated skin: what all streams of one worker share. It mirrors `vm.rs`, `plugin.rs` and `calls.rs` of the proxy-wasm skin.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use portcullis_core::ask::{Answer, Ask, Asker, HttpRequest, Question};
use portcullis_core::config::Parsed;
use portcullis_core::effect::Metric;
use portcullis_core::gate::{Answered, Plugin, Ticked, Worker};
use portcullis_core::port::HostError;
use portcullis_core::time::Moment;

use crate::identity::KeyIds;
use crate::proxy::{Proxy, SimulatedPort};
use crate::stream::Stream;

/// How much longer than its timeout a question waits for the host's word about it.
const HOST_LATE_MAX: Duration = Duration::from_millis(500);

/// A worker with its plugins and streams.
pub(crate) struct Vm {
    pub(crate) proxy: Rc<Proxy>,
    port: Rc<SimulatedPort>,
    pub(crate) worker: Rc<Worker>,
    plugins: RefCell<Vec<Rc<Plugin>>>,
    pub(crate) streams: RefCell<BTreeMap<u32, Rc<Stream>>>,
    calls: RefCell<BTreeMap<u32, Call>>,
    /// Of those who wait together, what the host did not ask.
    refused: RefCell<Vec<Asker>>,
    call_count: Cell<u32>,
    pub(crate) known: RefCell<Known>,
    pub(crate) ticked_at: Cell<Moment>,
    /// The next tick has to come soon.
    is_hurried: Cell<bool>,
    /// When it was given its last policy.
    pub(crate) configured_at: Cell<Moment>,
}

struct Call {
    asker: Asker,
    /// What it asks for, where that is HTTP.
    path: Option<String>,
    until: Moment,
}

/// What a worker could know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The keys that were published when it last heard of any.
    pub(crate) keys: Option<KeyIds>,
    /// All of which it ever has.
    pub(crate) keys_ever: KeyIds,
}

impl Vm {
    pub(crate) fn new(proxy: &Rc<Proxy>) -> Rc<Self> {
        let port = Rc::new(SimulatedPort::new(Rc::clone(proxy)));
        let worker = Rc::new(Worker::new(Rc::clone(&port) as Rc<_>));
        Rc::new(Self {
            proxy: Rc::clone(proxy),
            port,
            worker,
            plugins: RefCell::default(),
            streams: RefCell::default(),
            calls: RefCell::default(),
            refused: RefCell::default(),
            call_count: Cell::default(),
            known: RefCell::default(),
            ticked_at: Cell::new(proxy.now()),
            is_hurried: Cell::default(),
            configured_at: Cell::new(proxy.now()),
        })
    }

    /// Makes the plugin that new requests are given from now on.
    pub(crate) fn configure(&self, parsed: Parsed) -> Result<(), HostError> {
        let now = self.proxy.now();
        let plugin = Rc::new(Plugin::new(Rc::clone(&self.worker)));
        plugin.configure(b"portcullis".to_vec(), parsed, 100_000, now)?;
        self.configured_at.set(now);
        self.plugins.borrow_mut().push(plugin);
        Ok(())
    }

    pub(crate) fn plugin(&self) -> Rc<Plugin> {
        Rc::clone(self.plugins.borrow().last().expect("a plugin"))
    }

    pub(crate) fn stream(&self, id: u32) -> Option<Rc<Stream>> {
        self.streams.borrow().get(&id).cloned()
    }

    pub(crate) fn all_streams(&self) -> Vec<Rc<Stream>> {
        self.streams.borrow().values().cloned().collect()
    }

    /// A tick of every plugin.
    pub(crate) fn tick(&self) {
        self.is_hurried.set(false);
        let plugins = self.plugins.borrow().clone();
        for plugin in plugins {
            if self.proxy.fails() {
                continue;
            }
            self.tick_plugin(&plugin);
        }
    }

    fn tick_plugin(&self, plugin: &Plugin) {
        let now = self.proxy.now();
        self.ticked_at.set(now);
        let Ticked { due, is_review_due, next, asks, counts, .. } = plugin.tick(now);
        counts.iter().for_each(|(metric, count)| self.count(metric, *count));
        self.is_hurried.set(self.is_hurried.get() || next == Plugin::TICK_BEHIND);
        if is_review_due {
            self.all_streams().into_iter().for_each(|stream| stream.review(self));
        }
        due.into_iter().filter_map(|id| self.stream(id)).for_each(|stream| stream.tick(self));
        let expired: Vec<Asker> = {
            let mut calls = self.calls.borrow_mut();
            calls.extract_if(.., |_, call| call.until <= now).map(|(_, call)| call.asker).collect()
        };
        self.ask_all(asks);
        expired.into_iter().chain(self.refused.take()).for_each(|asker| self.answered(asker, Answer::None));
        let waiting = self.worker.take_waiting();
        self.streams.borrow().values().for_each(|stream| stream.is_queued(waiting.contains(&stream.id)));
        waiting.into_iter().filter_map(|id| self.stream(id)).for_each(|stream| stream.take_turn(self));
    }

    pub(crate) fn hurry(&self) {
        self.is_hurried.set(true);
    }

    /// Whether the next tick comes within a millisecond.
    pub(crate) const fn is_behind(&self) -> bool {
        self.is_hurried.get()
    }

    pub(crate) fn ask(&self, Ask { question, asker }: Ask) -> Result<(), Asker> {
        let (timeout, path) = match question {
            Question::Http(HttpRequest { timeout, fields, .. }) => {
                (timeout, fields.into_iter().find(|(name, _)| *name == ":path").map(|(_, path)| path))
            }
            Question::RateLimit { timeout, .. } => (timeout, None),
        };
        if self.proxy.fails() {
            return match asker {
                Asker::Inquiry(_) => {
                    self.refused.borrow_mut().push(asker);
                    Ok(())
                }
                asker => Err(asker),
            };
        }
        let token = self.call_count.get() + 1;
        self.call_count.set(token);
        let until = self.proxy.now().saturating_add(timeout).saturating_add(HOST_LATE_MAX);
        self.calls.borrow_mut().insert(token, Call { asker, path, until });
        Ok(())
    }

    /// The questions that are open.
    pub(crate) fn questions(&self) -> Vec<u32> {
        self.calls.borrow().keys().copied().collect()
    }

    /// What the question asks for, where that is HTTP.
    pub(crate) fn path(&self, token: u32) -> Option<String> {
        self.calls.borrow().get(&token)?.path.clone()
    }

    /// Keys are published where it asks for them.
    pub(crate) fn learn(&self, keys: &KeyIds) {
        let known = &mut *self.known.borrow_mut();
        known.keys_ever.extend(keys);
        known.keys = Some(keys.clone());
    }

    /// A service answers, or the host says that it does not.
    pub(crate) fn receive(&self, token: u32, answer: Answer) {
        let call = self.calls.borrow_mut().remove(&token);
        if let Some(Call { asker, .. }) = call {
            self.answered(asker, answer);
        }
    }

    fn answered(&self, asker: Asker, answer: Answer) {
        let Answered { streams, asks, .. } = self.worker.answered(asker, answer);
        self.ask_all(asks);
        for (stream, answer) in streams {
            if let Some(stream) = self.stream(stream) {
                stream.answered(self, answer);
            }
        }
    }

    fn ask_all(&self, asks: Vec<Ask>) {
        for ask in asks {
            let _ = self.ask(ask);
        }
    }

    pub(crate) fn count(&self, metric: &Metric, count: i64) {
        if *metric == Metric::Active {
            self.proxy.gauge.set(self.proxy.gauge.get() + count);
        }
    }

    /// Whether the host of this worker is that one.
    pub(crate) fn is_at(&self, port: &SimulatedPort) -> bool {
        core::ptr::eq(&*self.port, port)
    }

    /// The worker traps.
    pub(crate) fn die(&self) {
        self.port.die();
    }
}
