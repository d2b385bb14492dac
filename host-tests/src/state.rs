//! What the host keeps: for one VM contexts, telemetry and calls; for all of them a clock, data and queues.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use wasmtime::Instance;

use crate::{
    headers::Headers,
    profile::{Profile, status},
    stream::{LocalReply, Side, Stream},
};

/// One line of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// 0 trace … 5 critical.
    pub level: u32,
    /// The text; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// One metric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metric {
    /// The full name.
    pub name: String,
    /// 0 counter, 1 gauge, 2 histogram.
    pub kind: u64,
    /// The value; of a histogram, the number of records.
    pub value: i64,
}

/// A call of a gRPC service. It waits until the test answers it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GrpcCall {
    /// The token that its answer comes with.
    pub token: u32,
    /// The root context that gets the answer.
    pub root: u32,
    /// `service/method`.
    pub method: String,
    /// The request, encoded.
    pub message: Vec<u8>,
    /// How long the service may take.
    pub timeout: Duration,
    /// It has not been answered.
    pub waits: bool,
}

/// A request of the filter's own.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// The token that its answer comes with: other numbers than those of gRPC calls, and the same ones.
    pub token: u32,
    /// The context that gets the answer.
    pub context: u32,
    /// The cluster that it goes to.
    pub cluster: String,
    /// Its header fields.
    pub fields: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// How long the answer may take.
    pub timeout: Duration,
    /// It has not been answered.
    pub waits: bool,
}

/// What waits for the end of the callback that asked for it.
#[derive(Debug)]
pub(crate) enum Deferred {
    Close,
    Continue(Side),
    /// A gRPC call that could not be made fails all the same, by a token that the filter was not given.
    GrpcClose(u32),
    Reply(LocalReply),
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) profile: Profile,
    pub(crate) instance: Option<Instance>,
    /// Root contexts, with the tick period that each asked for in milliseconds.
    pub(crate) roots: BTreeMap<u32, u64>,
    pub(crate) streams: BTreeMap<u32, Stream>,
    /// The context whose callback runs, and the one it chose instead; 0 is none.
    pub(crate) current: u32,
    pub(crate) effective: u32,
    /// The plugin configuration, while a root is being configured.
    pub(crate) configuration: Option<Vec<u8>>,
    /// The answer of a gRPC service, while the filter is told of it.
    pub(crate) grpc_answer: Option<Vec<u8>>,
    pub(crate) grpc_calls: Vec<GrpcCall>,
    /// The answer to a request of the filter's own, while it is told of it.
    pub(crate) http_answer: Option<(Headers, Vec<u8>)>,
    pub(crate) http_calls: Vec<HttpCall>,
    pub(crate) deferred: VecDeque<(u32, Deferred)>,
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    pub(crate) logs: Vec<Log>,
    pub(crate) metrics: Vec<Metric>,
    /// Every name that was ever defined, repeats kept.
    pub(crate) definitions: Vec<String>,
    /// How often each call was made.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// What the filter did that a host may answer badly.
    pub(crate) misuses: Vec<String>,
    /// The number of this VM among those that share.
    pub(crate) vm: u32,
    shared: Rc<RefCell<Shared>>,
}

impl State {
    /// A VM of the proxy that has this to share.
    pub(crate) fn new(profile: Profile, shared: Rc<RefCell<Shared>>) -> Self {
        let vm = shared.borrow_mut().join();
        Self {
            profile,
            instance: None,
            roots: BTreeMap::new(),
            streams: BTreeMap::new(),
            current: 0,
            effective: 0,
            configuration: None,
            grpc_answer: None,
            grpc_calls: Vec::new(),
            http_answer: None,
            http_calls: Vec::new(),
            deferred: VecDeque::new(),
            properties: PROPERTIES.iter().map(|(path, value)| ((*path).to_owned(), value.to_vec())).collect(),
            logs: Vec::new(),
            metrics: Vec::new(),
            definitions: Vec::new(),
            calls: BTreeMap::new(),
            misuses: Vec::new(),
            vm,
            shared,
        }
    }

    /// What all VMs of the proxy share.
    pub(crate) fn shared(&self) -> RefMut<'_, Shared> {
        self.shared.borrow_mut()
    }

    /// The same, for another VM.
    pub(crate) fn sharing(&self) -> Rc<RefCell<Shared>> {
        Rc::clone(&self.shared)
    }

    /// The context that a call acts on.
    pub(crate) fn context(&self) -> u32 {
        if self.is_live(self.effective) { self.effective } else { self.current }
    }

    /// The root context above the one that a call acts on.
    pub(crate) fn root(&self) -> u32 {
        let context = self.context();
        self.streams.get(&context).map_or(context, |stream| stream.root)
    }

    pub(crate) fn is_live(&self, context: u32) -> bool {
        self.roots.contains_key(&context) || self.streams.get(&context).is_some_and(|stream| !stream.deleted)
    }

    /// The stream that a call acts on.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        let context = self.context();
        self.streams.get_mut(&context).filter(|stream| !stream.deleted)
    }

    /// Defines a metric and returns its id. The same name gives the same id.
    pub(crate) fn define(&mut self, kind: u64, name: String) -> u32 {
        self.definitions.push(name.clone());
        let index = self.metrics.iter().position(|metric| metric.name == name).unwrap_or_else(|| {
            self.metrics.push(Metric { name, kind, value: 0 });
            self.metrics.len() - 1
        });
        index as u32 + 1
    }

    pub(crate) fn metric(&mut self, id: u64) -> Result<&mut Metric, u32> {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        index.and_then(|index| self.metrics.get_mut(index)).ok_or(status::BAD_ARGUMENT)
    }
}

/// The clock, data and queues that all VMs of a proxy share. They have one `vm_id`, so that does not matter.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Nanoseconds since 1970.
    pub(crate) now: u64,
    /// How far the clock goes on with each look at it.
    pub(crate) look: u64,
    vm_count: u32,
    data: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    last_version: u32,
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    name: Vec<u8>,
    /// The VM and the root context that read it.
    reader: (u32, u32),
    items: VecDeque<Vec<u8>>,
    wakeups: u32,
}

impl Default for Shared {
    fn default() -> Self {
        Self { now: START, look: 0, vm_count: 0, data: BTreeMap::new(), last_version: 0, queues: Vec::new() }
    }
}

impl Shared {
    /// Nanoseconds since the machine was started, for a read of the clock, which may take time itself.
    pub(crate) const fn look(&mut self) -> u64 {
        self.now += self.look;
        self.now - START + UPTIME
    }

    fn join(&mut self) -> u32 {
        self.vm_count += 1;
        self.vm_count
    }

    pub(crate) fn data(&self, key: &[u8]) -> Result<(Vec<u8>, u32), u32> {
        self.data.get(key).cloned().ok_or(status::NOT_FOUND)
    }

    /// Writes a value. `version` 0 does not compare, and a first write never does.
    pub(crate) fn write(&mut self, key: Vec<u8>, value: Vec<u8>, version: u32) -> Result<(), u32> {
        if version != 0 && self.data.get(&key).is_some_and(|(_, current)| *current != version) {
            return Err(status::CAS_MISMATCH);
        }
        self.last_version += 1;
        self.data.insert(key, (value, self.last_version));
        Ok(())
    }

    /// The token of a queue, which wakes the root that registered it last.
    pub(crate) fn register(&mut self, name: Vec<u8>, reader: (u32, u32)) -> u32 {
        match self.resolve(&name) {
            Ok(token) => {
                self.queues[token as usize - 1].reader = reader;
                token
            }
            Err(_) => {
                self.queues.push(Queue { name, reader, items: VecDeque::new(), wakeups: 0 });
                self.queues.len() as u32
            }
        }
    }

    pub(crate) fn resolve(&self, name: &[u8]) -> Result<u32, u32> {
        let index = self.queues.iter().position(|queue| queue.name == name).ok_or(status::NOT_FOUND)?;
        Ok(index as u32 + 1)
    }

    pub(crate) fn enqueue(&mut self, token: u64, item: Vec<u8>) -> Result<(), u32> {
        let queue = self.queue(token)?;
        queue.items.push_back(item);
        queue.wakeups += 1;
        Ok(())
    }

    pub(crate) fn dequeue(&mut self, token: u64) -> Result<Vec<u8>, u32> {
        self.queue(token)?.items.pop_front().ok_or(status::EMPTY)
    }

    /// The next wake-up of a VM that is due: the root to call and the token of its queue.
    pub(crate) fn wakeup(&mut self, vm: u32) -> Option<(u32, u32)> {
        let is_due = |queue: &Queue| queue.wakeups > 0 && queue.reader.0 == vm;
        let (index, queue) = self.queues.iter_mut().enumerate().find(|(_, queue)| is_due(queue))?;
        queue.wakeups -= 1;
        Some((queue.reader.1, index as u32 + 1))
    }

    fn queue(&mut self, token: u64) -> Result<&mut Queue, u32> {
        let index = usize::try_from(token).ok().and_then(|token| token.checked_sub(1));
        index.and_then(|index| self.queues.get_mut(index)).ok_or(status::NOT_FOUND)
    }
}

/// 2026-11-22 00:00:00 UTC.
const START: u64 = 1_795_305_600_000_000_000;

/// How long the machine has run by then: an hour, so that a test sees where one clock is taken for the other.
const UPTIME: u64 = 3_600_000_000_000;

/// What Envoy knows of a plaintext HTTP/1.1 stream. `connection.tls_version` is absent.
const PROPERTIES: [(&str, &[u8]); 5] = [
    ("connection.id", &7_u64.to_le_bytes()),
    ("plugin_name", b"portcullis"),
    ("plugin_root_id", b"portcullis"),
    ("request.protocol", b"HTTP/1.1"),
    ("source.address", b"203.0.113.7:51234"),
];
