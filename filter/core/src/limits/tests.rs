//! The workers of an Envoy, with one register and one bucket between them.

use super::register::Register;
use super::table::tests::{SEED, connections, key, secs, xorshift};
use super::table::{Bucket, Census};

/// A worker of an Envoy, as the filter is one.
struct Worker {
    register: Register,
    has: u32,
    /// It has begun a generation, and is yet to count what it has.
    owes: bool,
    beats_due: u32,
}

impl Worker {
    fn census(&self) -> Census {
        Census { generation: self.register.generation(), is_complete: self.register.is_settled() }
    }

    fn restore(&mut self, bucket: &mut Bucket<'_>) {
        bucket.restore(key(1), self.has, self.register.generation(), secs(0));
        self.owes = false;
    }

    /// The next step of a beat: others may do theirs between two of them.
    fn step(&mut self, shared: &mut Vec<u8>, bucket: &mut Bucket<'_>) {
        if self.owes || self.register.adopt(shared) {
            self.restore(bucket);
        } else if self.beats_due > 0 {
            let before = self.register.generation();
            *shared = self.register.beat(shared, 0);
            self.beats_due -= 1;
            self.owes = self.register.generation() != before;
        }
    }
}

/// Workers come, beat, admit, release and die, in any order.
#[test]
fn never_too_many_are_admitted_whoever_dies() {
    const MAX: u32 = 20;
    let mut state = 0x853c_49e6_748f_ea9b;
    let (mut deaths, mut refused_early) = (0, 0);
    for _ in 0..300 {
        let mut bytes = Vec::new();
        let mut shared = Register::first(SEED);
        let mut bucket = Bucket::open(&mut bytes);
        let (mut workers, mut names): (Vec<Worker>, u64) = (Vec::new(), 0);
        for round in 0..60 {
            // None after the fortieth, so that all is well at the end.
            let is_calm = round >= 40;
            if workers.is_empty() || (!is_calm && workers.len() < 5 && xorshift(&mut state).is_multiple_of(4)) {
                let mut register = Register::default();
                names += 1;
                register.join(names);
                shared = register.beat(&shared, 0);
                workers.push(Worker { register, has: 0, owes: false, beats_due: 0 });
            }
            if !is_calm && workers.len() > 1 && xorshift(&mut state).is_multiple_of(8) {
                let index = usize::try_from(xorshift(&mut state) % workers.len() as u64).unwrap();
                workers.swap_remove(index);
                deaths += 1;
            }
            // All have a beat in each round.
            workers.iter_mut().for_each(|worker| worker.beats_due += 1);
            while workers.iter().any(|worker| worker.beats_due > 0 || worker.owes) {
                let random = xorshift(&mut state);
                let index = usize::try_from(random % workers.len() as u64).unwrap();
                let total: u32 = workers.iter().map(|worker| worker.has).sum();
                let worker = &mut workers[index];
                match random >> 32 & 7 {
                    // What has begun in a callback ends in it.
                    0..=2
                        if !worker.owes
                            && bucket.admit(key(1), &connections(MAX), worker.census(), secs(0)).is_ok() =>
                    {
                        worker.has += 1;
                        assert!(total < MAX, "one more than {total}");
                    }
                    0..=2 => refused_early += u32::from(total < MAX && !worker.owes),
                    3 if worker.has > 0 && !worker.owes => {
                        worker.has -= 1;
                        bucket.release(key(1), worker.census().generation);
                    }
                    3 => {}
                    _ => worker.step(&mut shared, &mut bucket),
                }
            }
        }
        let worker = &workers[0];
        let more = (0..=MAX).take_while(|_| bucket.admit(key(1), &connections(MAX), worker.census(), secs(0)).is_ok());
        let more = u32::try_from(more.count()).unwrap();
        assert_eq!(more + workers.iter().map(|worker| worker.has).sum::<u32>(), MAX);
    }
    println!("{deaths} deaths; {refused_early} were refused for the sake of connections that had died");
    assert!(deaths > 500 && refused_early > 0, "the dice are loaded");
}
