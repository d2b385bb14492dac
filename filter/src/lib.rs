//! Portcullis as a proxy-wasm module: what the host calls.
//!
//! ```text
//! lib.rs        the entry points: find the context, call it, translate what it says
//! root.rs       one plugin: its policy, counters, timers
//! admission.rs  its places among those that are counted
//! limiter.rs    what all workers count together; purse.rs: what a subject may still send; fleet.rs: what a fleet's service says
//! stream.rs     one HTTP stream: the handshake
//! live.rs       one upgraded stream: frames, Close frames of our own
//! way.rs        its way to the client, and when that can be written; backlog.rs: its way to the server, where the client's bytes wait
//! telemetry.rs  counters and log lines
//! memory.rs     what a worker's memory is enough for
//! host/         the host in safe terms; host/abi.rs and host/heap.rs are the only unsafe code
//! ```
//!
//! Nothing is decided here: decisions are portcullis-core's.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::dbg_macro,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod admission;
mod backlog;
mod exports;
mod fleet;
mod host;
mod limiter;
mod live;
mod memory;
mod purse;
mod root;
mod stream;
mod telemetry;
#[cfg(feature = "trap")]
mod trap;
mod way;

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use host::abi::{self, LogLevel};
use portcullis_core::ratelimit::Answer;
use root::{Root, Shared};
use stream::{Flow, Stream};

thread_local! {
    static VM: Vm = Vm::default();
}

/// The contexts of this VM. No borrow is held while one of them runs, so that the host may re-enter.
#[derive(Default)]
struct Vm {
    roots: RefCell<IdMap<u32, Rc<Root>>>,
    streams: RefCell<IdMap<u32, Rc<Stream>>>,
    shared: Rc<Shared>,
}

/// By ids that no peer chooses: contexts, tokens, keys.
pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Spreads ids, which the host counts up: each callback of a stream begins with finding it.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        self.write_u64(id.into());
    }

    fn write_u64(&mut self, id: u64) {
        // The golden ratio: ids that follow one another end up far apart (Knuth, The Art of Computer Programming 3, §6.4).
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Vm {
    fn root(&self, id: u32) -> Option<Rc<Root>> {
        self.roots.borrow().get(&id).cloned()
    }

    fn stream(&self, id: u32) -> Option<Rc<Stream>> {
        self.streams.borrow().get(&id).cloned()
    }

    /// Makes a root context, or a stream below one.
    fn create(&self, id: u32, parent: u32) {
        if parent == 0 {
            let root = || Rc::new(Root::new(id, Rc::clone(&self.shared)));
            self.roots.borrow_mut().entry(id).or_insert_with(root);
        } else if let Some(root) = self.root(parent) {
            self.streams.borrow_mut().insert(id, Rc::new(Stream::new(id, root)));
        }
    }

    fn configure(&self, id: u32, len: usize) -> bool {
        let Some(root) = self.root(id) else { return false };
        root.configure(len)
    }

    /// Runs a callback of a stream; one that we do not know forwards nothing.
    fn run(&self, id: u32, callback: impl FnOnce(&Stream) -> Flow) -> Flow {
        self.stream(id).map_or(Flow::Hold, |stream| callback(&stream))
    }

    fn tick(&self, id: u32) {
        let Some(root) = self.root(id) else { return };
        let begin = host::now();
        let due = begin.map(|now| root.tick(now)).unwrap_or_default();
        if root.is_review_due() {
            self.streams.borrow().values().for_each(|stream| stream.review());
        }
        for stream in due.into_iter().filter_map(|id| self.stream(id)) {
            stream.tick();
        }
        for stream in self.shared.fleet.expire(root.now()) {
            self.answered(Some((stream, None)));
        }
        self.wake(id);
        // The host's main thread has a VM too, whose ticks would make a worker's look better than they are.
        if let Ok(begin) = begin
            && !self.streams.borrow().is_empty()
        {
            root.ticked(begin);
        }
        for stream in self.shared.turn.take_waiting().into_iter().filter_map(|id| self.stream(id)) {
            stream.take_turn();
        }
    }

    /// The answer to a question about a stream has come.
    fn answered(&self, about: Option<(u32, Option<Answer>)>) {
        let Some((id, answer)) = about else { return };
        if let Some(stream) = self.stream(id) {
            stream.answered(answer);
        }
    }

    fn wake(&self, id: u32) {
        let woken = self.root(id).map(|root| root.take_woken()).unwrap_or_default();
        for stream in woken.into_iter().filter_map(|id| self.stream(id)) {
            stream.wake();
        }
    }

    fn end(&self, id: u32) {
        if let Some(stream) = self.stream(id) {
            stream.end();
        }
    }

    fn delete(&self, id: u32) {
        self.end(id);
        self.streams.borrow_mut().remove(&id);
        if self.roots.borrow_mut().remove(&id).is_some() {
            self.shared.fleet.forget(id);
        }
    }
}

/// A panic cannot happen; if one does, its message may hold a peer's bytes, so only the place is logged.
fn log_panics_without_their_message() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        abi::log(LogLevel::Critical, &format!("portcullis: panicked at {place}"));
    }));
}
