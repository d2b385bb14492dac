//! What all workers of a proxy count together, in data that they share under compare-and-swap.
//!
//! ```text
//! register   the seed of the keys, the generation, each worker's beat and     one value
//!            how many connections it has
//! buckets    who has how many connections, handshakes, failures, messages     4,096 values (table.rs)
//! ```
//!
//! A worker that traps gives nothing back. The others see its beat stop, and begin another generation: each counts again what it has
//! itself, and when all have, what was counted before is void.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use super::rate::Rate;
use super::register::Register;
use super::table::{Admission, BUCKET_LEN, BUCKETS, Bucket, Census, Excess, FailureRules, Key, Kind, Unused};
use crate::ids::IdMap;
use crate::port::{self, HostError, Port};
use crate::time::Moment;

/// How often a value is tried that others change at the same time. Each round that fails is one in which another worker got through, so
/// that a hundred of them may meet here at once.
const ROUNDS_MAX: u32 = 128;

/// How often a worker tells that it lives. All have to do so alike: each counts the others' beats by its own.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// How many addresses and subjects are counted again in one callback, at about 5 µs each. The next ones follow with the next tick, a
/// millisecond later, so that even 100,000 are through before the others take this worker for lost.
const RESTORED_MAX: usize = 64;

/// What a worker knows of the counts of all.
pub struct Counters {
    port: Rc<dyn Port>,
    seed: Cell<[u8; 16]>,
    /// This worker, once it has ticked or counted: one that only tries a policy never does.
    register: RefCell<Register>,
    beaten_at: Cell<Moment>,
    /// How many connections this worker has, counted or not.
    connections: Cell<u32>,
    /// By how much the connections of all workers have changed with this worker's beats, and nobody was told yet.
    change: Cell<i64>,
    /// The connections of this worker: what it has to give back, or to count again.
    own: RefCell<IdMap<Key, Own>>,
    /// Of those, whose connections may still have to be counted in the generation that this worker has come to.
    behind: RefCell<Vec<Key>>,
}

/// How many connections somebody has on this worker.
#[derive(Clone, Copy)]
struct Own {
    count: u32,
    /// The one that they are counted in.
    generation: u32,
}

/// One connection that is counted: given back when it is dropped, however its stream ends.
pub struct Slot {
    counters: Rc<Counters>,
    key: Key,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counters.release(self.key);
    }
}

/// A key says nothing without the seed.
impl core::fmt::Debug for Slot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Slot")
    }
}

impl core::fmt::Debug for Counters {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Counters({} keys)", self.own.borrow().len())
    }
}

impl Counters {
    /// Nothing is counted yet, and nothing shared.
    #[must_use]
    pub fn new(port: Rc<dyn Port>) -> Self {
        Self {
            port,
            seed: Cell::default(),
            register: RefCell::default(),
            beaten_at: Cell::default(),
            connections: Cell::default(),
            change: Cell::default(),
            own: RefCell::default(),
            behind: RefCell::default(),
        }
    }

    /// Makes what is shared, unless it is there. The host tries a policy alone before any worker has it, so that nobody comes between.
    ///
    /// # Errors
    /// [`HostError`], here and below.
    pub fn prepare(&self) -> Result<(), HostError> {
        if let Some((bytes, _)) = self.port.shared(port::Cell::Register)? {
            let mut register = self.register.borrow_mut();
            if register.is_new() {
                register.adopt(&bytes);
                self.seed.set(Register::seed(&bytes));
            }
            return Ok(());
        }
        for index in 0..BUCKETS {
            self.port.share(port::Cell::Bucket(index), &[0; BUCKET_LEN], None)?;
        }
        self.seed.set(port::random(&*self.port)?);
        self.port.share(port::Cell::Register, &Register::first(self.seed.get()), None).map(drop)
    }

    /// Tells the others that this worker lives, and hears who does not: once a second, however often it is called. Before that, it goes
    /// on with what it has to count again.
    pub fn beat(&self, now: Moment) -> Result<(), HostError> {
        let is_due = now.since(self.beaten_at.get()) >= BEAT_INTERVAL;
        if !self.restore()? || !is_due {
            return Ok(());
        }
        if self.register.borrow().is_new() {
            let id = u64::from_le_bytes(port::random(&*self.port)?);
            self.register.borrow_mut().join(id);
        }
        for _ in 0..ROUNDS_MAX {
            let (bytes, version) = self.port.shared(port::Cell::Register)?.ok_or(HostError)?;
            // Before the beat, which tells the others that they need no longer think of what was counted before.
            if self.register.borrow_mut().adopt(&bytes) {
                self.fall_behind();
            }
            if !self.restore()? {
                return Ok(());
            }
            let (mut register, seed) = (self.register.borrow().clone(), Register::seed(&bytes));
            let beaten = register.beat(&bytes, self.connections.get());
            if self.port.share(port::Cell::Register, &beaten, Some(version))? {
                self.beaten_at.set(now);
                let [before, after] = [&bytes, &beaten].map(|bytes| Register::connections(bytes).cast_signed());
                self.change.set(self.change.get().saturating_add(after.saturating_sub(before)));
                self.seed.set(seed);
                if register.generation() != self.register.replace(register).generation() {
                    self.fall_behind();
                    self.restore()?;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// A connection is up on this worker.
    pub fn opened(&self) {
        self.connections.set(self.connections.get().saturating_add(1));
    }

    /// One has ended.
    pub fn ended(&self) {
        self.connections.set(self.connections.get().saturating_sub(1));
    }

    /// By how much the number of open connections of all workers has changed, that one of them is to tell. Each change is told by the worker
    /// whose beat wrote it down, be it that of a worker which it found lost: all that is told adds up to what stands in the register.
    #[must_use]
    pub const fn take_change(&self) -> i64 {
        self.change.replace(0)
    }

    /// Whether there is more to count again, which [`Self::beat`] goes on with.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.behind.borrow().is_empty()
    }

    /// Counts one more connection, and the handshake that asks for it.
    ///
    /// # Errors
    /// Inside, why there may be no more.
    pub fn admit(self: &Rc<Self>, key: Key, admission: &Admission) -> Result<Result<Slot, Excess>, HostError> {
        if self.register.borrow().is_new() {
            // A worker that no other knows is not missed when it is lost, and its connections would be counted for good. Where it fails, a
            // tick makes it known.
            let _ = self.beat(self.port.now()?);
        }
        let (census, now) = (self.census(key), self.port.now()?);
        let admitted = self.update(key, |bucket| {
            let admitted = bucket.admit(key, admission, census, now);
            (admitted, admitted.is_ok())
        })?;
        if let Err(excess) = admitted {
            return Ok(Err(excess));
        }
        let mut own = self.own.borrow_mut();
        let own = own.entry(key).or_insert(Own { count: 0, generation: census.generation });
        own.count = own.count.saturating_add(1);
        Ok(Ok(Slot { counters: Rc::clone(self), key }))
    }

    /// Counts a failed attempt. Returns whether a ban begins with it.
    ///
    /// # Errors
    /// [`HostError`]: it is not counted.
    pub fn fail(&self, key: Key, rules: &FailureRules) -> Result<bool, HostError> {
        let now = self.port.now()?;
        self.update(key, |bucket| {
            let was_banned = bucket.is_banned(key, rules, now);
            (bucket.fail(key, rules, now) && !was_banned, true)
        })
    }

    /// Gives back what of an earlier lease was not used, and takes messages and bytes of a subject, as many as there are.
    ///
    /// # Errors
    /// [`HostError`]: what was not used comes again with the time.
    pub fn lease(
        &self,
        key: Key,
        rates: [Option<Rate>; 2],
        wanted: [u64; 2],
        unused: &Unused,
        now: Moment,
    ) -> Result<[u64; 2], HostError> {
        let is_given_back = unused.left != [0; 2];
        self.update(key, |bucket| {
            if is_given_back {
                bucket.give_back(key, unused, now);
            }
            let leased = bucket.lease(key, rates, wanted, now);
            (leased, is_given_back || leased != [0; 2])
        })
    }

    /// The key of the address or subject that these parts name.
    #[must_use]
    pub fn key(&self, kind: Kind, parts: &[&[u8]]) -> Key {
        Key::new(kind, &self.seed.get(), parts)
    }

    /// The time now.
    pub(super) fn now(&self) -> Result<Moment, HostError> {
        self.port.now()
    }

    /// When this worker last told that it lives: a time of the last second or so, which costs no call of the host.
    pub(super) const fn beaten_at(&self) -> Moment {
        self.beaten_at.get()
    }

    /// By which count a client is judged. One that is yet to be counted again still belongs to the generation before.
    fn census(&self, key: Key) -> Census {
        let (register, own) = (self.register.borrow(), self.own.borrow());
        let reached = register.generation();
        let generation = own.get(&key).map_or(reached, |own| own.generation);
        Census { generation, is_complete: register.is_settled() && generation == reached }
    }

    fn release(&self, key: Key) {
        let Census { generation, .. } = self.census(key);
        {
            let mut own = self.own.borrow_mut();
            match own.get_mut(&key) {
                Some(own) if own.count > 1 => own.count = own.count.saturating_sub(1),
                Some(_) | None => drop(own.remove(&key)),
            }
        }
        // Where the host fails, the count is too high until the next generation.
        let _ = self.update(key, |bucket| (bucket.release(key, generation), true));
    }

    /// This worker has come to a generation, in which it has counted nobody.
    fn fall_behind(&self) {
        self.behind.replace(self.own.borrow().keys().copied().collect());
    }

    /// Counts again what this worker has, [`RESTORED_MAX`] at a time. Returns whether that is all.
    fn restore(&self) -> Result<bool, HostError> {
        if !self.is_behind() {
            return Ok(true);
        }
        let (generation, now) = (self.register.borrow().generation(), self.port.now()?);
        for _ in 0..RESTORED_MAX {
            let Some(key) = self.behind.borrow().last().copied() else { break };
            // A client that has left and come again is counted in this generation, and one that has only left not at all.
            let own = self.own.borrow().get(&key).copied().filter(|own| own.generation != generation);
            if let Some(Own { count, .. }) = own {
                self.update(key, |bucket| (bucket.restore(key, count, generation, now), true))?;
                self.own.borrow_mut().insert(key, Own { count, generation });
            }
            self.behind.borrow_mut().pop();
        }
        Ok(!self.is_behind())
    }

    /// Changes a bucket; `act` may run more than once, and tells whether it has changed anything.
    fn update<T>(&self, key: Key, act: impl Fn(&mut Bucket<'_>) -> (T, bool)) -> Result<T, HostError> {
        let cell = port::Cell::Bucket(key.bucket());
        for _ in 0..ROUNDS_MAX {
            let (mut bytes, version) = self.port.shared(cell)?.unwrap_or_default();
            let (answer, is_changed) = act(&mut Bucket::open(&mut bytes));
            if !is_changed || self.port.share(cell, &bytes, Some(version))? {
                return Ok(answer);
            }
        }
        Err(HostError)
    }
}

#[cfg(test)]
pub(super) mod tests;
