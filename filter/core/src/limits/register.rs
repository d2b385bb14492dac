//! Which workers of a proxy live, and how often one was lost: one value that all of them share under compare-and-swap.
//!
//! ```text
//! seed (16 bytes) │ generation (u32) │ worker (u64), its beat (u32) │ worker, beat │ …
//! ```
//!
//! A worker's beat goes up about once a second. Nobody's clock is asked: whose beat has stood still while another's went up
//! `BEATS_MAX` times is lost. One that was only slow comes back with its next beat.

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
    /// The others: the name of each, its beat, and how many of our own ago that went up.
    others: Vec<(u64, u32, u32)>,
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

    /// Learns what is known so far, before this worker's first beat.
    pub fn adopt(&mut self, bytes: &[u8]) {
        self.generation = generation(bytes);
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

    /// The register after this worker's next beat, without those who are lost.
    pub fn beat(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.own_beat = self.own_beat.wrapping_add(1);
        let before = core::mem::take(&mut self.others);
        let mut is_one_lost = false;
        let mut workers: Vec<(u64, u32)> = self.own.map(|own| (own, self.own_beat)).into_iter().collect();
        for (worker, beat) in entries(bytes).filter(|(worker, _)| Some(*worker) != self.own).take(WORKERS_MAX) {
            let missed = match before.iter().find(|(other, ..)| *other == worker) {
                Some((_, known, missed)) if *known == beat => missed.saturating_add(1),
                Some(_) | None => 0,
            };
            if missed > BEATS_MAX {
                is_one_lost = true;
                continue;
            }
            self.others.push((worker, beat, missed));
            workers.push((worker, beat));
        }
        self.generation = generation(bytes).wrapping_add(u32::from(is_one_lost));
        let mut after = [&Self::seed(bytes)[..], &self.generation.to_le_bytes()].concat();
        for (worker, beat) in workers {
            after.extend(worker.to_le_bytes());
            after.extend(beat.to_le_bytes());
        }
        after
    }
}

fn generation(bytes: &[u8]) -> u32 {
    let bytes = bytes.get(16..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = (u64, u32)> {
    let entries: &[[u8; 12]] = bytes.get(20..).unwrap_or_default().as_chunks().0;
    entries.iter().filter_map(|entry| {
        let (worker, beat) = entry.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*worker), u32::from_le_bytes(*beat.first_chunk()?)))
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
            bytes = one.beat(&bytes);
            bytes = other.beat(&bytes);
        }
        assert_eq!((one.generation(), other.generation()), (0, 0));
        assert_eq!(entries(&bytes).count(), 2);
        assert_eq!(Register::seed(&bytes), SEED);
    }

    #[test]
    fn one_that_stands_still_is_lost_once() {
        let (mut one, mut other) = (worker(1), worker(2));
        let mut bytes = other.beat(&one.beat(&Register::first(SEED)));
        for _ in 0..=BEATS_MAX {
            bytes = one.beat(&bytes);
            assert_eq!(one.generation(), 0);
        }
        for _ in 0..10 {
            bytes = one.beat(&bytes);
            assert_eq!((one.generation(), entries(&bytes).count()), (1, 1));
        }
        // It was only slow.
        bytes = other.beat(&bytes);
        assert_eq!((other.generation(), entries(&bytes).count()), (1, 2));
        for _ in 0..100 {
            bytes = other.beat(&one.beat(&bytes));
        }
        assert_eq!((one.generation(), other.generation()), (1, 1));
    }

    #[test]
    fn a_worker_that_comes_later_knows_the_generation() {
        let mut bytes = Register::first(SEED);
        bytes[16] = 9;
        let mut late = Register::default();
        late.adopt(&bytes);
        assert_eq!(late.generation(), 9);
        late.join(3);
        assert_eq!(generation(&late.beat(&bytes)), 9);
    }

    #[test]
    fn bytes_of_any_kind_are_a_register() {
        for len in 0..64 {
            let bytes = vec![0xff; len];
            let mut own = worker(1);
            let after = own.beat(&bytes);
            assert!(entries(&after).any(|(worker, _)| worker == 1), "{len}");
        }
    }
}
