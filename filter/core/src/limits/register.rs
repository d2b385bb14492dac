//! Which workers of a proxy live, and how often one was lost: one value that all of them share under compare-and-swap.
//!
//! ```text
//! seed (16 bytes) │ generation (u32) │ worker (u64), its beat (u32), its open connections (u32) │ worker, beat, connections │ …
//! ```
//!
//! A worker's beat goes up about once a second. Nobody's clock is asked: whose beat has stood still while another's went up
//! `BEATS_MAX` times is lost, and another generation begins. One that was only slow comes back with its next beat.
//!
//! ```text
//! one      … beat 7: the third is lost, generation 1 ──▶ … ──▶ beat 8: has heard beat 5, is settled
//! other    …                         comes to generation 1, beat 5 ──▶ … ──▶ beat 6: has heard beat 8, is settled
//! ```

/// How many beats of one worker another may miss: a callback takes milliseconds, and an event loop that stands still for seconds serves
/// nobody.
const BEATS_MAX: u32 = 5;

/// The most workers that are told apart: far beyond the cores of a machine.
const WORKERS_MAX: usize = 1_024;

/// What one worker knows of the register.
#[derive(Clone, Debug, Default)]
pub struct Register {
    own: Option<u64>,
    own_beat: u32,
    generation: u32,
    /// It has had no beat in this generation yet.
    is_arriving: bool,
    /// Each of the others has had one since.
    is_settled: bool,
    others: Vec<Other>,
}

#[derive(Clone, Copy, Debug)]
struct Other {
    name: u64,
    beat: u32,
    /// How many beats of our own ago that went up.
    missed: u32,
    /// That was since our first beat in this generation.
    is_heard: bool,
}

impl Register {
    /// The first register, with the secret that keys are made with.
    #[must_use]
    pub fn first(seed: [u8; 16]) -> Vec<u8> {
        [&seed[..], &0_u32.to_le_bytes()].concat()
    }

    /// The seed of a register; of one that is cut short, none.
    #[must_use]
    pub fn seed(bytes: &[u8]) -> [u8; 16] {
        bytes.first_chunk().copied().unwrap_or_default()
    }

    /// How many times a worker was lost, as far as this one knows.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether every worker that lives goes by this generation too: each has [adopted](Self::adopt) it before the beat that this one has heard.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Comes to the generation that others have begun, and tells whether there was one. What that asks of a worker it has to have done before
    /// its next beat: the others rely on it from then on.
    pub fn adopt(&mut self, bytes: &[u8]) -> bool {
        let is_behind = self.generation != generation(bytes);
        if is_behind {
            self.begin(generation(bytes));
        }
        is_behind
    }

    const fn begin(&mut self, generation: u32) {
        (self.generation, self.is_arriving, self.is_settled) = (generation, true, false);
    }

    /// Whether this worker has no name yet.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.own.is_none()
    }

    /// Gives this worker its name, which nobody else has.
    pub const fn join(&mut self, id: u64) {
        self.own = Some(id);
    }

    /// How many connections are open on all workers of a register.
    #[must_use]
    pub fn connections(bytes: &[u8]) -> u64 {
        entries(bytes).map(|entry| u64::from(entry.connections)).sum()
    }

    /// The register after this worker's next beat, at which it has so many open connections, without those who are lost. Where one is, that
    /// begins another generation.
    pub fn beat(&mut self, bytes: &[u8], connections: u32) -> Vec<u8> {
        self.adopt(bytes);
        self.own_beat = self.own_beat.wrapping_add(1);
        let before = core::mem::take(&mut self.others);
        let mut is_one_lost = false;
        let own = self.own.map(|name| Entry { name, beat: self.own_beat, connections });
        let mut workers: Vec<Entry> = own.into_iter().collect();
        for entry in entries(bytes).filter(|entry| Some(entry.name) != self.own).take(WORKERS_MAX) {
            let Entry { name, beat, .. } = entry;
            let other = match before.iter().find(|other| other.name == name) {
                Some(known) if known.beat == beat => Other { missed: known.missed.saturating_add(1), ..*known },
                Some(_) => Other { name, beat, missed: 0, is_heard: true },
                None => Other { name, beat, missed: 0, is_heard: false },
            };
            if other.missed > BEATS_MAX {
                is_one_lost = true;
                continue;
            }
            self.others.push(other);
            workers.push(entry);
        }
        if is_one_lost {
            self.begin(self.generation.wrapping_add(1));
        }
        if core::mem::take(&mut self.is_arriving) {
            self.others.iter_mut().for_each(|other| other.is_heard = false);
        }
        self.is_settled |= self.others.iter().all(|other| other.is_heard);
        let mut after = [&Self::seed(bytes)[..], &self.generation.to_le_bytes()].concat();
        for Entry { name, beat, connections } in workers {
            after.extend(name.to_le_bytes());
            after.extend(beat.to_le_bytes());
            after.extend(connections.to_le_bytes());
        }
        after
    }
}

fn generation(bytes: &[u8]) -> u32 {
    let bytes = bytes.get(16..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// What a worker has told of itself.
struct Entry {
    name: u64,
    beat: u32,
    connections: u32,
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    let entries: &[[u8; 16]] = bytes.get(20..).unwrap_or_default().as_chunks().0;
    entries.iter().filter_map(|entry| {
        let (name, rest) = entry.split_first_chunk::<8>()?;
        let (beat, connections) = (rest.first_chunk()?, rest.last_chunk()?);
        let [beat, connections] = [beat, connections].map(|bytes| u32::from_le_bytes(*bytes));
        Some(Entry { name: u64::from_le_bytes(*name), beat, connections })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 16] = [7; 16];

    fn worker(id: u64) -> Register {
        let mut register = Register::default();
        register.join(id);
        register
    }

    #[test]
    fn workers_that_beat_are_not_lost() {
        let (mut one, mut other) = (worker(1), worker(2));
        let mut bytes = Register::first(SEED);
        for _ in 0..100 {
            bytes = one.beat(&bytes, 0);
            bytes = other.beat(&bytes, 0);
        }
        assert_eq!((one.generation(), other.generation()), (0, 0));
        assert_eq!(entries(&bytes).count(), 2);
        assert_eq!(Register::seed(&bytes), SEED);
    }

    #[test]
    fn one_that_stands_still_is_lost_once() {
        let (mut one, mut other) = (worker(1), worker(2));
        let mut bytes = other.beat(&one.beat(&Register::first(SEED), 0), 0);
        for _ in 0..=BEATS_MAX {
            bytes = one.beat(&bytes, 0);
            assert_eq!(one.generation(), 0);
        }
        for _ in 0..10 {
            bytes = one.beat(&bytes, 0);
            assert_eq!((one.generation(), entries(&bytes).count()), (1, 1));
        }
        // It was only slow.
        bytes = other.beat(&bytes, 0);
        assert_eq!((other.generation(), entries(&bytes).count()), (1, 2));
        for _ in 0..100 {
            bytes = other.beat(&one.beat(&bytes, 0), 0);
        }
        assert_eq!((one.generation(), other.generation()), (1, 1));
    }

    #[test]
    fn the_connections_of_all_who_live_are_told() {
        let (mut one, mut other) = (worker(1), worker(2));
        let mut bytes = other.beat(&one.beat(&Register::first(SEED), 3), 4);
        assert_eq!(Register::connections(&bytes), 7);
        bytes = one.beat(&bytes, 2);
        assert_eq!(Register::connections(&bytes), 6);
        while one.generation() == 0 {
            bytes = one.beat(&bytes, 2);
        }
        assert_eq!(Register::connections(&bytes), 2);
        bytes = other.beat(&bytes, 5);
        assert_eq!(Register::connections(&bytes), 7, "it was only slow");
    }

    #[test]
    fn who_has_heard_all_others_in_a_generation_is_settled() {
        let (mut one, mut other, mut lost) = (worker(1), worker(2), worker(3));
        let mut bytes = lost.beat(&other.beat(&one.beat(&Register::first(SEED), 0), 0), 0);
        bytes = one.beat(&bytes, 0);
        while one.generation() == 0 {
            // Just before it, which says nothing of the generation that begins.
            bytes = one.beat(&other.beat(&bytes, 0), 0);
        }
        assert!(!one.is_settled());
        assert!(!one.clone().adopt(&bytes) && other.clone().adopt(&bytes));
        bytes = one.beat(&bytes, 0);
        assert!(!one.is_settled(), "the other is still to come");
        bytes = other.beat(&bytes, 0);
        assert!(other.generation() == 1 && !other.is_settled(), "what it has heard may have been before");
        bytes = one.beat(&bytes, 0);
        assert!(one.is_settled() && !other.is_settled());
        bytes = other.beat(&bytes, 0);
        assert!(one.is_settled() && other.is_settled());
        // A worker that comes later has nothing that is counted by an earlier one, but does not know what others have done.
        let mut late = worker(4);
        bytes = late.beat(&bytes, 0);
        assert!(one.is_settled() && !late.is_settled());
        bytes = late.beat(&other.beat(&one.beat(&bytes, 0), 0), 0);
        assert!(one.is_settled() && late.is_settled());
        // A worker that is alone has no other to hear.
        while one.generation() == 1 {
            bytes = one.beat(&bytes, 0);
        }
        assert!(one.is_settled());
    }

    #[test]
    fn a_worker_that_comes_later_knows_the_generation() {
        let mut bytes = Register::first(SEED);
        bytes[16] = 9;
        let mut late = Register::default();
        late.adopt(&bytes);
        assert_eq!(late.generation(), 9);
        late.join(3);
        assert_eq!(generation(&late.beat(&bytes, 0)), 9);
    }

    #[test]
    fn bytes_of_any_kind_are_a_register() {
        for len in 0..64 {
            let bytes = vec![0xff; len];
            let mut own = worker(1);
            let after = own.beat(&bytes, 0);
            assert!(entries(&after).any(|entry| entry.name == 1), "{len}");
        }
    }
}
