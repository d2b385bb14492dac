//! What all workers of an Envoy count together, in a table of a fixed size.
//!
//! ```text
//! 4,096 buckets of 2,048 bytes   a value of the host each, changed by compare and swap
//!    32 entries of 64 bytes      8 MiB in all, whoever comes
//!
//!  0        8      12       16           20       36           52             60
//!  key      live   before   generation   meter    meter        banned_until   forget_at (in seconds)
//!                                        (handshakes, failures of an address; messages, bytes of a subject)
//! ```
//!
//! Failures of an address:
//!
//! ```text
//!  36      40                 44
//!  count   ban (in seconds)   since
//! ```
//!
//! Here are pure functions over the bytes of one bucket. A refusal leaves them as they were, so that only what is granted has to be
//! written back; whoever loses the swap opens the new bytes and asks again.
//!
//! A bucket that is full forgets, in this order: an entry that says nothing any more; the one without a ban that soonest would; the ban
//! that ends first. It never forgets whom a connection is open for. Where they all are, a newcomer is let in and not remembered. So nobody
//! is locked out because of others, and a ban is displaced only by later ones or by open connections: filter/DESIGN.md has the attacks.

use core::cmp::Ordering;
use core::time::Duration;

use sha1::{Digest, Sha1};

use super::rate::{Meter, Rate};
use crate::time::Moment;
use crate::violation::Violation;

/// How many buckets there are: each is a lock of its own, so workers seldom meet in one, and with [`BUCKET_LEN`] it makes 131,072 entries.
pub const BUCKETS: usize = 4_096;

/// How long a bucket is, in bytes: what a host copies for each question.
pub const BUCKET_LEN: usize = 2_048;

const ENTRY_LEN: usize = 64;

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// When to try again where only somebody's leaving helps: nobody knows when that will be, and a second keeps a waiting client cheap.
const CONNECTION_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is counted, since no two kinds may meet in an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The connections of an address: [`Bucket::admit`] and [`Bucket::fail`].
    Address,
    /// All connections: [`Bucket::admit`].
    All,
    /// The connections of a subject: [`Bucket::admit`] and [`Bucket::lease`].
    Subject,
}

/// The client that an entry is about.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key(u64);

impl Key {
    /// The first eight bytes of SHA-1 over `seed`, `kind`, and each part behind its length.
    ///
    /// The seed is a secret of this Envoy: whoever does not know it cannot choose addresses that meet in one bucket, nor one whose key is
    /// another's. So what is known of collisions in SHA-1 is of no use here.
    #[must_use]
    pub fn new(kind: Kind, seed: &[u8; 16], parts: &[&[u8]]) -> Self {
        let kind = match kind {
            Kind::Address => 1,
            Kind::All => 2,
            Kind::Subject => 3,
        };
        let mut hash = Sha1::new_with_prefix(seed).chain_update([kind]);
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let hash = hash.finalize();
        // Zero is no key; whoever has it shares that of one.
        Self(hash.first_chunk().map_or(1, |first| u64::from_le_bytes(*first).max(1)))
    }

    /// Its number, which a question to a service carries in its place.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The key of this [`Self::number`].
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number of its bucket. The bits are the same in all of a bucket: the other 52 tell its entries apart.
    #[must_use]
    pub const fn bucket(self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the lowest bits are all that is wanted")]
        let bits = self.0 as usize;
        bits % BUCKETS
    }
}

/// How many may come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Admission {
    /// At once.
    pub connections: Option<u32>,
    /// A second.
    pub handshakes: Option<Rate>,
    /// By which bans go; `None`: nobody is banned.
    pub failures: Option<FailureRules>,
}

/// By which count a worker goes: the connections of a worker that was lost never come back, so those that live count theirs again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Census {
    /// The number of times that a worker was lost.
    pub generation: u32,
    /// Every worker that lives has counted its connections again. Until then those count as well that were there before.
    pub is_complete: bool,
}

/// How many failures ban an address, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FailureRules {
    /// The failure that bans.
    pub count: u32,
    /// How long failures are counted, from the first one.
    pub window: Duration,
    /// How long a ban lasts.
    pub ban: Duration,
}

/// The longest ban, 136 years: an entry keeps it in 32 bits.
const BAN_MAX: Duration = Duration::from_secs(u32::MAX as u64);

/// Why somebody is not admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Excess {
    /// [`Violation::Banned`], [`Violation::HandshakesExceeded`] or [`Violation::ConnectionsExceeded`].
    pub violation: Violation,
    /// When it may succeed.
    pub retry_after: Duration,
}

/// Messages and bytes of a subject that were leased, and what is left of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unused {
    /// By which rates.
    pub rates: [Option<Rate>; 2],
    /// How many.
    pub leased: [u64; 2],
    /// How many were not used.
    pub left: [u64; 2],
    /// When that was.
    pub since: Moment,
}

/// One bucket, in its bytes.
#[derive(Debug)]
pub struct Bucket<'a> {
    entries: &'a mut [[u8; ENTRY_LEN]],
}

impl<'a> Bucket<'a> {
    /// Reads a bucket where it is. Bytes of another length, such as the none that a host has at first, become an empty bucket: to
    /// refuse them would lock out everyone who meets in it, for good.
    #[must_use]
    pub fn open(bytes: &'a mut Vec<u8>) -> Self {
        if bytes.len() != BUCKET_LEN {
            bytes.clear();
            bytes.resize(BUCKET_LEN, 0);
        }
        Self { entries: bytes.as_chunks_mut().0 }
    }

    /// Counts one handshake and one connection more, which is given back with [`Self::release`].
    ///
    /// In a census that is complete, what was counted before it is void. In one that is not, nobody is admitted whom the count before it, which
    /// goes on beside the new one, leaves no room: that may be too many, as it has those of the lost worker, but never too few. A caller that is
    /// behind adds to the count before only, as it is yet to [`Self::restore`] this connection with its others.
    ///
    /// # Errors
    /// [`Violation::Banned`] until the end of a ban, [`Violation::HandshakesExceeded`] where they come too often, and
    /// [`Violation::ConnectionsExceeded`] where there are too many. Nothing is changed then.
    pub fn admit(&mut self, key: Key, admission: &Admission, census: Census, now: Moment) -> Result<(), Excess> {
        let Some((place, mut entry)) = self.place(key, census, now) else { return Ok(()) };
        if let Some(ban_end) = admission.failures.map(|rules| entry.ban_end(&rules)).filter(|end| now < *end) {
            return Err(Excess { violation: Violation::Banned, retry_after: ban_end.since(now) });
        }
        if let Some(rate) = &admission.handshakes {
            if !entry.first.take(rate, 1, now) {
                let retry_after = entry.first.wait(rate, 1, now);
                return Err(Excess { violation: Violation::HandshakesExceeded, retry_after });
            }
            entry.keep_until(entry.first.empty_at(rate, now));
        }
        if admission.connections.is_some_and(|max| entry.live_in(census) >= max) {
            return Err(Excess { violation: Violation::ConnectionsExceeded, retry_after: CONNECTION_RETRY_AFTER });
        }
        entry.add(census);
        entry.write(place);
        Ok(())
    }

    /// Gives back a connection that was admitted or restored in this generation. Where another one has begun it is part of the count before that.
    pub fn release(&mut self, key: Key, generation: u32) {
        let Some(place) = self.find(key).and_then(|index| self.entries.get_mut(index)) else { return };
        let mut entry = Entry::read(place);
        if entry.generation < generation {
            return;
        }
        if entry.generation == generation {
            entry.live = entry.live.saturating_sub(1);
        }
        entry.before = entry.before.saturating_sub(1);
        entry.write(place);
    }

    /// Counts `count` connections of an earlier generation in this one. They are part of the count before it already.
    pub fn restore(&mut self, key: Key, count: u32, generation: u32, now: Moment) {
        let census = Census { generation, is_complete: false };
        let Some((place, mut entry)) = self.place(key, census, now) else { return };
        entry.reach(generation);
        // Otherwise the caller is behind.
        if entry.generation == generation {
            entry.live = entry.live.saturating_add(count);
            entry.write(place);
        }
    }

    /// Whether an address is banned.
    #[must_use]
    pub fn is_banned(&self, key: Key, rules: &FailureRules, now: Moment) -> bool {
        let place = self.find(key).and_then(|index| self.entries.get(index));
        place.is_some_and(|place| now < Entry::read(place).ban_end(rules))
    }

    /// Counts a failure of an address, and tells whether it is banned now. While it is, nothing is counted: a ban ends when it was said to.
    pub fn fail(&mut self, key: Key, rules: &FailureRules, now: Moment) -> bool {
        let Some((place, mut entry)) = self.place(key, UNKNOWN, now) else { return false };
        if now < entry.ban_end(rules) {
            return true;
        }
        let failures = Failures::from_bytes(&entry.second).and_one(rules, now);
        if failures.count >= rules.count {
            // Where a policy with a longer ban still goes by an earlier one, that one begins anew too.
            let ban = if now < entry.banned_until { rules.ban.max(failures.ban) } else { rules.ban };
            let ban = ban.min(BAN_MAX);
            entry.second = Failures { ban, ..Failures::default() }.to_bytes();
            entry.banned_until = now.saturating_add(ban);
            entry.keep_until(entry.banned_until);
        } else {
            entry.second = failures.to_bytes();
            entry.keep_until(failures.since.saturating_add(rules.window));
        }
        entry.write(place);
        now < entry.ban_end(rules)
    }

    /// Takes messages and bytes of a subject, as many as there are up to those `wanted`; all of them where there is no rate.
    /// Where there are none, nothing is changed.
    pub fn lease(&mut self, key: Key, rates: [Option<Rate>; 2], wanted: [u64; 2], now: Moment) -> [u64; 2] {
        let Some((place, mut entry)) = self.place(key, UNKNOWN, now) else { return wanted };
        let mut second = Meter::from_bytes(&entry.second);
        let ([of_messages, of_bytes], [messages, bytes]) = (rates, wanted);
        let (messages, messages_until) = lease(&mut entry.first, of_messages, messages, now);
        let (bytes, bytes_until) = lease(&mut second, of_bytes, bytes, now);
        entry.second = second.to_bytes();
        entry.keep_until(messages_until.max(bytes_until));
        entry.write(place);
        [messages, bytes]
    }

    /// Takes back what was not used of messages and bytes of a subject.
    pub fn give_back(&mut self, key: Key, unused: &Unused, now: Moment) {
        let Some(place) = self.find(key).and_then(|index| self.entries.get_mut(index)) else { return };
        let mut entry = Entry::read(place);
        let mut second = Meter::from_bytes(&entry.second);
        let Unused {
            rates: [of_messages, of_bytes],
            leased: [messages, bytes],
            left: [messages_left, bytes_left],
            since,
        } = unused;
        let held = now.since(*since);
        if let Some(rate) = of_messages {
            entry.first.give_back(rate, *messages, *messages_left, held, now);
        }
        if let Some(rate) = of_bytes {
            second.give_back(rate, *bytes, *bytes_left, held, now);
        }
        entry.second = second.to_bytes();
        entry.write(place);
    }

    /// The entry of `key`, or a new one with a place that may be had, and where it is written.
    fn place(&mut self, key: Key, census: Census, now: Moment) -> Option<(&mut [u8; ENTRY_LEN], Entry)> {
        let index = self.find(key).or_else(|| self.vacancy(census, now))?;
        let place = self.entries.get_mut(index)?;
        let entry = Entry::read(place);
        Some((place, if entry.key == key.0 { entry } else { Entry { key: key.0, ..Entry::default() } }))
    }

    fn find(&self, key: Key) -> Option<usize> {
        self.entries.iter().position(|entry| entry.first_chunk() == Some(&key.0.to_le_bytes()))
    }

    /// The place that is missed least.
    fn vacancy(&self, census: Census, now: Moment) -> Option<usize> {
        let entries = self.entries.iter().map(Entry::read).enumerate();
        let worths = entries.filter_map(|(index, entry)| Some((entry.worth(census, now)?, index)));
        worths.min().map(|(_, index)| index)
    }
}

/// What of `wanted` a meter lets through, and until when it remembers.
fn lease(meter: &mut Meter, rate: Option<Rate>, wanted: u64, now: Moment) -> (u64, Moment) {
    let Some(rate) = rate else { return (wanted, Moment::default()) };
    let amount = wanted.min(meter.room(&rate, now));
    if amount == 0 {
        return (0, Moment::default());
    }
    meter.take(&rate, amount, now);
    (amount, meter.empty_at(&rate, now))
}

/// Of the operations that are not told it: what any entry says is live is taken for it.
const UNKNOWN: Census = Census { generation: 0, is_complete: false };

/// How much an entry is worth keeping, the least first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Worth {
    /// There is none.
    Empty,
    /// Nothing any more.
    Nothing,
    /// Something until then.
    Until(Moment),
    /// A ban until then.
    Ban(Moment),
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// 0: no entry.
    key: u64,
    /// What is open, as far as it was counted in this generation.
    live: u32,
    /// What was open when this generation began, and has come and gone since: with the connections of a lost worker, and with those that
    /// others are yet to restore.
    before: u32,
    generation: u32,
    first: Meter,
    /// [`Failures`] of an address, a [`Meter`] of a subject.
    second: [u8; Meter::LEN],
    banned_until: Moment,
    /// When neither meter, failures nor ban matter any more, in whole seconds: nobody is the worse for being remembered for one more.
    forget_at: Moment,
}

impl Entry {
    fn read(bytes: &[u8; ENTRY_LEN]) -> Self {
        let rest = &mut bytes.as_slice();
        Self {
            key: u64::from_le_bytes(take(rest)),
            live: u32::from_le_bytes(take(rest)),
            before: u32::from_le_bytes(take(rest)),
            generation: u32::from_le_bytes(take(rest)),
            first: Meter::from_bytes(&take(rest)),
            second: take(rest),
            banned_until: Moment::from_nanos(u64::from_le_bytes(take(rest))),
            forget_at: Moment::from_nanos(u64::from(u32::from_le_bytes(take(rest))).saturating_mul(SECOND)),
        }
    }

    fn write(&self, bytes: &mut [u8; ENTRY_LEN]) {
        let rest = &mut bytes.as_mut_slice();
        put(rest, self.key.to_le_bytes());
        put(rest, self.live.to_le_bytes());
        put(rest, self.before.to_le_bytes());
        put(rest, self.generation.to_le_bytes());
        put(rest, self.first.to_bytes());
        put(rest, self.second);
        put(rest, self.banned_until.as_nanos().to_le_bytes());
        let forget_at = u32::try_from(self.forget_at.as_nanos().div_ceil(SECOND)).unwrap_or(u32::MAX);
        put(rest, forget_at.to_le_bytes());
    }

    /// The end of the last ban of an address under `rules`, which may make it shorter than it was said to be, and not longer.
    fn ban_end(&self, rules: &FailureRules) -> Moment {
        let beyond = Failures::from_bytes(&self.second).ban.saturating_sub(rules.ban);
        self.banned_until.saturating_sub(beyond)
    }

    /// The connections that are open, as far as a census knows: too many rather than too few.
    fn live_in(&self, census: Census) -> u32 {
        match self.generation.cmp(&census.generation) {
            Ordering::Less if census.is_complete => 0,
            Ordering::Equal if census.is_complete => self.live,
            Ordering::Less | Ordering::Equal | Ordering::Greater => self.live.max(self.before),
        }
    }

    /// Begins a generation, unless it has begun: what is counted goes on as the count before it.
    fn reach(&mut self, generation: u32) {
        if self.generation < generation {
            (self.before, self.live, self.generation) = (self.live.max(self.before), 0, generation);
        }
    }

    /// One connection more.
    fn add(&mut self, census: Census) {
        self.reach(census.generation);
        self.before = self.before.saturating_add(1);
        // Otherwise the caller is behind.
        if self.generation == census.generation {
            self.live = self.live.saturating_add(1);
            if census.is_complete {
                self.before = self.live;
            }
        }
    }

    fn keep_until(&mut self, moment: Moment) {
        self.forget_at = self.forget_at.max(moment);
    }

    /// None while a connection is open.
    fn worth(&self, census: Census, now: Moment) -> Option<Worth> {
        if self.key == 0 {
            return Some(Worth::Empty);
        }
        (self.live_in(census) == 0).then(|| {
            if now < self.banned_until {
                Worth::Ban(self.banned_until)
            } else if now < self.forget_at {
                Worth::Until(self.forget_at)
            } else {
                Worth::Nothing
            }
        })
    }
}

/// Failures within a window, which begins with the first.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    /// How long the last ban was said to be, in whole seconds.
    ban: Duration,
    since: Moment,
}

impl Failures {
    fn from_bytes(bytes: &[u8; Meter::LEN]) -> Self {
        let rest = &mut bytes.as_slice();
        Self {
            count: u32::from_le_bytes(take(rest)),
            ban: Duration::from_secs(u32::from_le_bytes(take(rest)).into()),
            since: Moment::from_nanos(u64::from_le_bytes(take(rest))),
        }
    }

    fn to_bytes(self) -> [u8; Meter::LEN] {
        let mut bytes = [0; Meter::LEN];
        let rest = &mut bytes.as_mut_slice();
        put(rest, self.count.to_le_bytes());
        put(rest, u32::try_from(self.ban.as_secs()).unwrap_or(u32::MAX).to_le_bytes());
        put(rest, self.since.as_nanos().to_le_bytes());
        bytes
    }

    fn and_one(self, rules: &FailureRules, now: Moment) -> Self {
        if self.count == 0 || now.since(self.since) >= rules.window {
            return Self { count: 1, since: now, ..self };
        }
        Self { count: self.count.saturating_add(1), ..self }
    }
}

/// The next bytes; zeros where there are none, which the lengths rule out.
fn take<const LEN: usize>(rest: &mut &[u8]) -> [u8; LEN] {
    let Some((first, others)) = rest.split_first_chunk() else { return [0; LEN] };
    *rest = others;
    *first
}

fn put<const LEN: usize>(rest: &mut &mut [u8], field: [u8; LEN]) {
    if let Some((first, others)) = core::mem::take(rest).split_first_chunk_mut() {
        *first = field;
        *rest = others;
    }
}

#[cfg(test)]
pub(super) mod tests;
