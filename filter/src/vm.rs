//! The contexts of a VM, which is a worker's: no borrow is held while one of them runs, so that the host may call back.

use std::cell::RefCell;
use std::rc::Rc;

use crate::calls::Token;
use crate::host;
use crate::host::abi::{self, LogLevel};
use crate::plugin::{PluginContext, Shared};
use crate::stream::StreamContext;
use portcullis_core::ask::{Answer, Asker};
use portcullis_core::effect::Metric;
use portcullis_core::gate::{Answered, Ticked, take_batch};
use portcullis_core::ids::IdMap;

/// A VM.
#[derive(Default)]
pub(crate) struct Vm {
    /// A few.
    plugins: RefCell<Vec<(u32, Rc<PluginContext>)>>,
    streams: RefCell<IdMap<u32, Rc<StreamContext>>>,
    shared: Rc<Shared>,
    /// Answers that have come, for the streams that wait for them.
    answers: RefCell<Vec<(u32, Answer)>>,
}

impl Vm {
    fn plugin(&self, id: u32) -> Option<Rc<PluginContext>> {
        self.plugins.borrow().iter().find(|(own, _)| *own == id).map(|(_, plugin)| Rc::clone(plugin))
    }

    fn newest(&self) -> Option<Rc<PluginContext>> {
        self.plugins.borrow().last().map(|(_, plugin)| Rc::clone(plugin))
    }

    fn stream(&self, id: u32) -> Option<Rc<StreamContext>> {
        self.streams.borrow().get(&id).cloned()
    }

    /// Makes the context of a plugin, or of a stream below one.
    pub(crate) fn create(&self, id: u32, parent: u32) {
        if parent == 0 {
            if self.plugin(id).is_none() {
                let plugin = Rc::new(PluginContext::new(id, Rc::clone(&self.shared)));
                self.plugins.borrow_mut().push((id, plugin));
            }
        } else if let Some(plugin) = self.plugin(parent) {
            self.streams.borrow_mut().insert(id, Rc::new(StreamContext::new(id, plugin)));
        }
    }

    pub(crate) fn configure(&self, id: u32, len: usize) -> bool {
        self.plugin(id).is_some_and(|plugin| plugin.configure(len))
    }

    /// Runs a callback of a stream; `None` for one that we do not know.
    pub(crate) fn run<T>(&self, id: u32, callback: impl FnOnce(&StreamContext) -> T) -> Option<T> {
        self.stream(id).map(|stream| callback(&stream))
    }

    pub(crate) fn tick(&self, id: u32) {
        let Some(plugin) = self.plugin(id) else { return };
        let begin = host::now();
        if let Ok(now) = begin {
            let Ticked { due, is_review_due, asks, lines, records, counts, .. } = plugin.tick(now);
            if is_review_due {
                self.streams.borrow().values().for_each(|stream| stream.review());
            }
            due.into_iter().filter_map(|id| self.stream(id)).for_each(|stream| stream.tick());
            plugin.ask_all(asks);
            self.tell(&lines, &counts);
            records.iter().for_each(|record| abi::log(LogLevel::Warn, record));
            self.shared.calls.expire(now).into_iter().for_each(|asker| self.answered(asker, Answer::None));
            self.hand_out();
        }
        self.wake(id);
        // The host's main thread has a VM too, whose ticks would make a worker's look better than they are.
        if let Ok(begin) = begin
            && !self.streams.borrow().is_empty()
        {
            plugin.ticked(begin);
        }
        let waiting = self.shared.worker.take_waiting();
        waiting.into_iter().filter_map(|id| self.stream(id)).for_each(|stream| stream.take_turn());
    }

    pub(crate) fn wake(&self, id: u32) {
        let woken = self.plugin(id).map(|plugin| plugin.take_woken()).unwrap_or_default();
        woken.into_iter().filter_map(|id| self.stream(id)).for_each(|stream| stream.wake());
    }

    /// The answer to a question has come, `len` bytes of it.
    pub(crate) fn receive(&self, token: Token, len: usize) {
        if let Some((asker, answer)) = self.shared.calls.receive(token, len) {
            self.answered(asker, answer);
            self.hand_out();
        }
    }

    /// There is no answer to a question.
    pub(crate) fn fail(&self, token: Token) {
        if let Some(asker) = self.shared.calls.fail(token) {
            self.answered(asker, Answer::None);
            self.hand_out();
        }
    }

    fn answered(&self, asker: Asker, answer: Answer) {
        let Answered { streams, asks, lines, counts } = self.shared.worker.answered(asker, answer);
        let counts: Vec<_> = counts.into_iter().map(|metric| (metric, 1)).collect();
        // Any plugin may ask what all streams of the worker wait for: the newest stays longest.
        if let Some(plugin) = self.newest() {
            plugin.ask_all(asks);
        }
        self.tell(&lines, &counts);
        self.answers.borrow_mut().extend(streams);
    }

    /// Gives streams the answers that they wait for, as many as may have theirs in one callback: Envoy runs what comes of a refusal when the
    /// callback returns, and each from within the one before. Hundreds of them are deeper than its stack.
    fn hand_out(&self) {
        for (stream, answer) in take_batch(&self.answers) {
            if let Some(stream) = self.stream(stream) {
                stream.answered(answer);
            }
        }
        if !self.answers.borrow().is_empty()
            && let Some(plugin) = self.newest()
        {
            plugin.hurry();
        }
    }

    /// Logs and counts what no stream does.
    fn tell(&self, lines: &[String], counts: &[(Metric, i64)]) {
        lines.iter().for_each(|line| abi::log(LogLevel::Warn, &format!("portcullis: {line}")));
        counts.iter().for_each(|(metric, count)| self.shared.telemetry.count(metric, *count));
    }

    pub(crate) fn end(&self, id: u32) {
        if let Some(stream) = self.stream(id) {
            stream.end();
        }
    }

    pub(crate) fn delete(&self, id: u32) {
        self.end(id);
        self.streams.borrow_mut().remove(&id);
        if self.plugin(id).is_some() {
            self.plugins.borrow_mut().retain(|(own, _)| *own != id);
            // What streams of other plugins wait for has failed as well.
            self.shared.calls.forget(id).into_iter().for_each(|asker| self.answered(asker, Answer::None));
            self.hand_out();
        }
    }
}
