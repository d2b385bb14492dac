//! What the workers of one proxy share: the clock, the data under compare-and-swap, and the errors of its host.

use core::cell::{Cell, RefCell};
use core::fmt;
use std::collections::BTreeMap;
use std::rc::Rc;

use portcullis_core::limits::register::Register;
use portcullis_core::limits::table::BUCKET_LEN;
use portcullis_core::port::{self, HostError, Port};
use portcullis_core::testing::NOW;
use portcullis_core::time::{Moment, Timestamp};

use crate::dice::Dice;

/// How long a line of the shared table is, in bytes, and where it says how many connections are open (table.rs in the core).
const ENTRY_LEN: usize = 64;

/// The proxy.
pub(crate) struct Proxy {
    dice: Dice,
    now: Cell<u64>,
    /// When the calendar says [`NOW`].
    begin: u64,
    data: RefCell<BTreeMap<port::Cell, (Vec<u8>, u32)>>,
    /// One call of the host in so many fails; 0: none does.
    error_in: Cell<usize>,
    /// One swap in so many is lost to another worker.
    race_in: Cell<usize>,
    memory_len: Cell<usize>,
    /// Judging takes no time.
    is_still: Cell<bool>,
    error_count: Cell<u32>,
    /// How many of the errors may have left a count of connections too high.
    count_error_count: Cell<u32>,
    journal: Journal,
    between: RefCell<Option<Box<Between>>>,
    /// The gauge of open connections.
    pub(crate) gauge: Cell<i64>,
}

/// What other workers do between two calls of one, which has this port.
type Between = dyn Fn(&Proxy, &SimulatedPort);

impl Proxy {
    pub(crate) fn new(dice: Dice, is_told: bool) -> Self {
        let register = Register::first([7; 16]);
        let begin = 1_000_000_000_000 + dice.next() % 1_000_000_000_000;
        Self {
            now: Cell::new(begin),
            begin,
            data: RefCell::new(BTreeMap::from([(port::Cell::Register, (register, 1))])),
            error_in: Cell::default(),
            race_in: Cell::default(),
            memory_len: Cell::new(8_000_000),
            is_still: Cell::default(),
            error_count: Cell::default(),
            count_error_count: Cell::default(),
            journal: Journal::new(is_told),
            between: RefCell::default(),
            gauge: Cell::default(),
            dice,
        }
    }

    pub(crate) const fn now(&self) -> Moment {
        Moment::from_nanos(self.now.get())
    }

    pub(crate) const fn date(&self) -> Timestamp {
        Timestamp::from_nanos(NOW * 1_000_000_000 + (self.now.get() - self.begin))
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.now.set(self.now.get() + millis * 1_000_000);
    }

    pub(crate) fn disturb(&self, error_in: usize, race_in: usize) {
        self.error_in.set(error_in);
        self.race_in.set(race_in);
    }

    /// Has this happen between two calls of a worker.
    pub(crate) fn come_between(&self, act: impl Fn(&Self, &SimulatedPort) + 'static) {
        self.between.replace(Some(Box::new(act)));
    }

    fn let_others_come(&self, port: &SimulatedPort) {
        // Not between those of another that has come between.
        let between = if self.dice.one_in(self.race_in.get()) { self.between.take() } else { None };
        if let Some(between) = between {
            between(self, port);
            self.between.replace(Some(between));
        }
    }

    pub(crate) fn stand_still(&self) {
        self.is_still.set(true);
    }

    pub(crate) fn take_memory(&self, len: usize) {
        self.memory_len.set(len);
    }

    pub(crate) const fn dice(&self) -> &Dice {
        &self.dice
    }

    pub(crate) const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// How many calls have failed.
    pub(crate) const fn error_count(&self) -> u32 {
        self.error_count.get()
    }

    /// How many of them may have left a count too high.
    pub(crate) const fn count_error_count(&self) -> u32 {
        self.count_error_count.get()
    }

    /// Whether the next call of the host fails.
    pub(crate) fn fails(&self) -> bool {
        let fails = self.dice.one_in(self.error_in.get());
        if fails {
            self.error_count.set(self.error_count.get() + 1);
            self.journal.note(&[0xe0], || "the host fails".to_owned());
        }
        fails
    }

    /// How often a worker was taken for lost.
    pub(crate) fn generation(&self) -> u32 {
        let data = self.data.borrow();
        let bytes = data.get(&port::Cell::Register).and_then(|(bytes, _)| bytes.get(16..20)?.first_chunk().copied());
        bytes.map_or(0, u32::from_le_bytes)
    }

    /// The shared table, as far as anything is in it.
    pub(crate) fn describe(&self) -> String {
        let data = self.data.borrow();
        let entries =
            data.iter().flat_map(|(cell, (bytes, _))| bytes.chunks_exact(ENTRY_LEN).map(move |entry| (cell, entry)));
        let lines = entries
            .filter(|(_, entry)| entry[..8] != [0; 8])
            .map(|(cell, entry)| format!("{cell:?} {:?}", &entry[8..20]));
        format!("{} workers, generation {}: {:?}", self.known_count(), self.generation(), lines.collect::<Vec<_>>())
    }

    /// How many workers the others know of.
    pub(crate) fn known_count(&self) -> usize {
        self.data.borrow().get(&port::Cell::Register).map_or(0, |(bytes, _)| bytes.len().saturating_sub(20) / 16)
    }

    /// How many connections the workers that are known have told of.
    pub(crate) fn told_count(&self) -> u64 {
        self.data.borrow().get(&port::Cell::Register).map_or(0, |(bytes, _)| Register::connections(bytes))
    }

    /// How many connections the shared table says are open, in this generation and, where one was never begun, before it.
    pub(crate) fn open_count(&self) -> u32 {
        let generation = self.generation();
        let data = self.data.borrow();
        let buckets = data.iter().filter(|(cell, _)| matches!(cell, port::Cell::Bucket(_)));
        let entries = buckets.flat_map(|(_, (bytes, _))| bytes.chunks_exact(ENTRY_LEN));
        let number =
            |entry: &[u8], at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let open = |entry: &[u8]| match (number(entry, 16) == generation, generation) {
            (true, 0) => number(entry, 8).max(number(entry, 12)),
            (true, _) => number(entry, 8),
            (false, _) => 0,
        };
        entries.map(open).sum()
    }
}

/// What happened, as a number that two runs of a seed have in common, and in words where they are wanted.
#[derive(Debug)]
pub(crate) struct Journal {
    hash: Cell<u64>,
    lines: Option<RefCell<Vec<String>>>,
}

impl Journal {
    fn new(is_told: bool) -> Self {
        Self { hash: Cell::new(0xcbf2_9ce4_8422_2325), lines: is_told.then(RefCell::default) }
    }

    pub(crate) fn note(&self, bytes: &[u8], line: impl FnOnce() -> String) {
        let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        let (words, rest) = bytes.as_chunks::<8>();
        let hash = words.iter().fold(self.hash.get(), |hash, word| mix(hash, u64::from_le_bytes(*word)));
        let hash = rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
        self.hash.set(mix(hash, bytes.len() as u64));
        if let Some(lines) = &self.lines {
            lines.borrow_mut().push(line());
        }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash.get()
    }

    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let lines = self.lines.as_ref().map(|lines| lines.borrow().clone()).unwrap_or_default();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}

/// The host of one worker.
#[derive(Debug)]
pub(crate) struct SimulatedPort {
    proxy: Rc<Proxy>,
    is_dead: Cell<bool>,
}

impl SimulatedPort {
    pub(crate) const fn new(proxy: Rc<Proxy>) -> Self {
        Self { proxy, is_dead: Cell::new(false) }
    }

    /// The worker has trapped: nothing that it still does reaches anybody.
    pub(crate) fn die(&self) {
        self.is_dead.set(true);
    }

    fn call(&self) -> Result<(), HostError> {
        if self.is_dead.get() || self.proxy.fails() { Err(HostError) } else { Ok(()) }
    }

    /// A call about a count: where it fails, a connection may be counted that is none.
    fn count(&self, cell: port::Cell) -> Result<(), HostError> {
        let outcome = self.call();
        if outcome.is_err() && !self.is_dead.get() && matches!(cell, port::Cell::Bucket(_)) {
            self.proxy.count_error_count.set(self.proxy.count_error_count.get() + 1);
        }
        outcome
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy")
    }
}

impl Port for SimulatedPort {
    fn now(&self) -> Result<Moment, HostError> {
        self.call()?;
        // Judging takes time, now and then more than a slice of it.
        let dice = &self.proxy.dice;
        if !self.proxy.is_still.get() && dice.one_in(16) {
            self.proxy.now.set(self.proxy.now.get() + dice.next() % (1 << dice.pick(&[10, 18, 24])));
        }
        Ok(self.proxy.now())
    }

    fn date(&self) -> Result<Timestamp, HostError> {
        self.call()?;
        Ok(self.proxy.date())
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        self.call()?;
        for byte in bytes {
            *byte = self.proxy.dice.next().to_le_bytes()[0];
        }
        Ok(())
    }

    fn memory_len(&self) -> usize {
        self.proxy.memory_len.get()
    }

    fn shared(&self, cell: port::Cell) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        self.count(cell)?;
        let data = self.proxy.data.borrow();
        // What nobody has changed is as the first worker made it.
        let unchanged = || match cell {
            port::Cell::Bucket(_) => Some((vec![0; BUCKET_LEN], 1)),
            port::Cell::Used(_) => Some((vec![1], 1)),
            port::Cell::LogoutPage(_) | port::Cell::Logouts | port::Cell::Register => None,
        };
        Ok(data.get(&cell).cloned().or_else(unchanged))
    }

    fn share(&self, cell: port::Cell, bytes: &[u8], version: Option<u32>) -> Result<bool, HostError> {
        self.count(cell)?;
        self.proxy.let_others_come(self);
        let mut data = self.proxy.data.borrow_mut();
        let known = data.get(&cell).map_or(1, |(_, version)| *version);
        let is_lost = self.proxy.dice.one_in(self.proxy.race_in.get());
        if is_lost && let Some((_, version)) = data.get_mut(&cell) {
            *version += 1;
        }
        if version.is_some_and(|version| is_lost || version != known) {
            return Ok(false);
        }
        data.insert(cell, (bytes.to_vec(), known + 1));
        Ok(true)
    }

    fn verify_signature(&self, _: &[u8]) -> Result<Vec<u8>, HostError> {
        Err(HostError)
    }
}
