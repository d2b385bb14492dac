//! Workers of one proxy, over one host in memory.

mod lost;

use super::*;
use crate::limits::table::tests::{connections, key};
use crate::testing::{MOMENT, MemoryPort};
use crate::time::Timestamp;
use crate::violation::Violation;

/// One that is never reached.
const FAILURES: FailureRules =
    FailureRules { count: u32::MAX, window: Duration::from_secs(60), ban: Duration::from_secs(300) };

/// A worker of a proxy, with what it knows of the counts of all.
pub(in crate::limits) struct Worker {
    pub(in crate::limits) port: Rc<MemoryPort>,
    pub(in crate::limits) counters: Rc<Counters>,
}

impl Worker {
    /// The first one of a proxy.
    pub(in crate::limits) fn first() -> Self {
        let port = MemoryPort::default();
        port.now.set(MOMENT.as_nanos());
        Self::new(port)
    }

    /// Another one of the same proxy.
    pub(in crate::limits) fn beside(&self) -> Self {
        Self::new(self.port.beside())
    }

    fn new(port: MemoryPort) -> Self {
        let port = Rc::new(port);
        let counters = Rc::new(Counters::new(port.clone()));
        counters.prepare().unwrap();
        Self { port, counters }
    }

    pub(in crate::limits) fn now(&self) -> Moment {
        Moment::from_nanos(self.port.now.get())
    }

    fn admit(&self, number: u64, max: u32) -> Result<Slot, Excess> {
        self.counters.admit(key(number), &connections(max)).unwrap()
    }

    /// How many connections more there may be; none of them stays.
    fn room(&self, number: u64, max: u32) -> usize {
        let slots: Vec<Slot> = core::iter::from_fn(|| self.admit(number, max).ok()).collect();
        slots.len()
    }

    /// One tick.
    fn beat(&self) {
        self.counters.beat(self.now()).unwrap();
    }

    /// How often a value has been written.
    fn version(&self, cell: port::Cell) -> u32 {
        self.port.data.borrow().get(&cell).map_or(0, |(_, version)| *version)
    }
}

/// So many seconds pass, in each of which these workers tick until nothing is left to count again.
pub(in crate::limits) fn pass(seconds: u64, workers: &[&Worker]) {
    for _ in 0..seconds {
        workers[0].port.now.update(|now| now + 1_000_000_000);
        for worker in workers {
            worker.beat();
            while worker.counters.is_behind() {
                worker.beat();
            }
        }
    }
}

#[test]
fn a_slot_comes_back_when_it_is_dropped() {
    let worker = Worker::first();
    let slots = [worker.admit(1, 2).unwrap(), worker.admit(1, 2).unwrap()];
    let excess = worker.admit(1, 2).map(drop);
    let retry_after = Duration::from_secs(1);
    assert_eq!(excess, Err(Excess { violation: Violation::ConnectionsExceeded, retry_after }));
    assert_eq!(worker.room(2, 2), 2, "another's are another's");
    drop(slots);
    assert_eq!(worker.room(1, 2), 2);
    assert!(worker.counters.own.borrow().is_empty());
}

#[test]
fn workers_count_together() {
    let one = Worker::first();
    let other = one.beside();
    let (ones, others) = ([one.admit(1, 3).unwrap(), one.admit(1, 3).unwrap()], other.admit(1, 3).unwrap());
    assert_eq!((one.room(1, 3), other.room(1, 3)), (0, 0));
    drop(ones);
    assert_eq!((one.room(1, 3), other.room(1, 3)), (2, 2));
    drop(others);
    assert_eq!((one.room(1, 3), other.room(1, 3)), (3, 3));
}

#[test]
fn workers_make_the_same_keys_of_a_secret() {
    let one = Worker::first();
    let key = |worker: &Worker| worker.counters.key(Kind::Subject, &[b"corp", b"alice"]);
    assert_eq!(key(&one), key(&one.beside()));
    one.counters.prepare().unwrap();
    assert_eq!(key(&one), key(&one.beside()), "what is shared is made once");
    assert_ne!(one.counters.seed.get(), [0; 16]);
    // What fails before the register is there is made anew.
    let port = Rc::new(MemoryPort::default());
    let counters = Counters::new(port.clone());
    for call in [0, 1, 4_096, 4_097, 4_098] {
        port.fails_in.set(Some(call));
        assert_eq!(counters.prepare(), Err(HostError), "{call}");
    }
    assert_eq!(counters.prepare(), Ok(()));
}

/// A host on which another worker changes the bucket of `key(1)` just before this one does.
#[derive(Debug)]
struct Contended {
    port: MemoryPort,
    other: Rc<Counters>,
    losses: Cell<u32>,
}

impl Port for Contended {
    fn now(&self) -> Result<Moment, HostError> {
        self.port.now()
    }

    fn date(&self) -> Result<Timestamp, HostError> {
        self.port.date()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        self.port.random(bytes)
    }

    fn memory_len(&self) -> usize {
        self.port.memory_len()
    }

    fn shared(&self, cell: port::Cell) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        self.port.shared(cell)
    }

    fn share(&self, cell: port::Cell, bytes: &[u8], version: Option<u32>) -> Result<bool, HostError> {
        if let (port::Cell::Bucket(_), Some(losses)) = (cell, self.losses.get().checked_sub(1)) {
            self.losses.set(losses);
            self.other.fail(key(1), &FAILURES)?;
        }
        self.port.share(cell, bytes, version)
    }

    fn verify_signature(&self, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        self.port.verify_signature(arguments)
    }
}

#[test]
fn a_swap_that_is_lost_is_tried_again_on_what_the_other_wrote() {
    for (losses, is_through) in [(0, true), (1, true), (ROUNDS_MAX - 1, true), (ROUNDS_MAX, false)] {
        let other = Worker::first();
        let (port, losses) = (other.port.beside(), Cell::new(losses));
        let contended = Rc::new(Contended { port, other: Rc::clone(&other.counters), losses: losses.clone() });
        let counters = Rc::new(Counters::new(contended));
        let admitted = counters.admit(key(1), &connections(2));
        assert_eq!(admitted.is_ok(), is_through, "{losses:?}");
        assert_eq!(other.room(1, 2), if is_through { 1 } else { 2 });
        // None of what the other counted meanwhile is lost: this is the failure after them.
        let rules = FailureRules { count: losses.get() + 1, ..FAILURES };
        assert!(other.counters.fail(key(1), &rules).unwrap(), "{losses:?}");
    }
}

#[test]
fn what_is_refused_is_not_written() {
    let worker = Worker::first();
    let rates = [Rate::new(1.0, 4), None];
    let version = |number| worker.version(port::Cell::Bucket(key(number).bucket()));
    let _slot = worker.admit(1, 1);
    assert_eq!(worker.counters.fail(key(2), &FailureRules { count: 1, ..FAILURES }), Ok(true));
    assert_eq!(worker.counters.lease(key(3), rates, [9, 0], &Unused::default(), worker.now()), Ok([4, 0]));
    let before = [1, 2, 3].map(version);
    assert_eq!(worker.admit(1, 1).map_err(|excess| excess.violation).err(), Some(Violation::ConnectionsExceeded));
    assert_eq!(worker.admit(2, 1).map_err(|excess| excess.violation).err(), Some(Violation::Banned));
    assert_eq!(worker.counters.lease(key(3), rates, [9, 0], &Unused::default(), worker.now()), Ok([0, 0]));
    assert_eq!([1, 2, 3].map(version), before);
}

#[test]
fn a_worker_that_lives_is_told_of_once_a_second() {
    let worker = Worker::first();
    let beats = || worker.version(port::Cell::Register);
    let before = beats();
    worker.beat();
    worker.port.now.update(|now| now + 999_999_999);
    (0..10).for_each(|_| worker.beat());
    assert_eq!(beats(), before + 1);
    worker.port.now.update(|now| now + 1);
    (0..10).for_each(|_| worker.beat());
    assert_eq!(beats(), before + 2);
}
