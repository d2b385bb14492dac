//! Many seeds, those that once found something, and faults that are put back to be found.
//!
//! `PORTCULLIS_SEEDS=1000000` runs as many, and `PORTCULLIS_SEED=7` one.

use std::env;
use std::ops::Range;
use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portcullis_simulation::{Bug, Failure, check};

/// How many seeds are the same each time.
const FIXED_COUNT: u64 = 20_000;

/// How long they may take where nobody asks for more: what is left when a busy machine has taken as long is left out.
const LONGEST: Duration = Duration::from_secs(50);

/// How many others run, which the time of day chooses.
const NEW_COUNT: u64 = 10_000;

const DAY: Duration = Duration::from_secs(86_400);

/// Seeds that once found a fault of the core: a refused connection that was never woken again, an upstream that was heard behind a refusal
/// that could not be told.
const FOUND: [u64; 3] = [8, 1_047, 1_795_881_990_882_406_175];

/// Within how many seeds a fault has to be found that is put back.
const SOON: u64 = 200;

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|number| number.parse().expect("a number"))
}

/// Failures are told once, by the test.
fn be_quiet() {
    panic::set_hook(Box::new(|_| {}));
}

/// How many of these seeds ran before `end`, on all cores, and the first that failed.
fn first_failure([fixed, new]: [&Range<u64>; 2], end: Instant) -> (u64, Option<(u64, Failure)>) {
    let [fixed_len, new_len] = [fixed, new].map(|range| range.end - range.start);
    let count = fixed_len + new_len;
    let (next, failure) = (AtomicU64::new(0), Mutex::new(None));
    let seed = |index| if index < fixed_len { fixed.start + index } else { new.start + (index - fixed_len) };
    let work = || {
        while failure.lock().expect("a failure").is_none() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count || Instant::now() > end {
                break;
            }
            if let Err(found) = check(seed(index), None) {
                failure.lock().expect("a failure").get_or_insert((seed(index), found));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    (next.into_inner().min(count), failure.into_inner().expect("a failure"))
}

#[test]
fn what_always_has_to_hold_holds() {
    be_quiet();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_nanos() as u64;
    let (fixed, new, longest) = match (variable("PORTCULLIS_SEED"), variable("PORTCULLIS_SEEDS")) {
        (Some(seed), _) => (seed..seed + 1, 0..0, DAY),
        (None, Some(count)) => (0..0, now..now + count, DAY),
        (None, None) => (0..FIXED_COUNT, now..now + NEW_COUNT, LONGEST),
    };
    let begin = Instant::now();
    let (count, failure) = first_failure([&fixed, &new], begin + longest);
    if let Some((seed, Failure { message, events })) = failure {
        let _ = panic::take_hook();
        panic!(
            "{}\n\n{message}\n\nPORTCULLIS_SEED={seed} cargo test --profile simulation -p portcullis-simulation holds",
            events.join("\n")
        );
    }
    println!("{count} seeds in {:?}", begin.elapsed());
}

#[test]
fn what_was_found_once_is_mended() {
    be_quiet();
    for seed in FOUND {
        assert_eq!(check(seed, None).err(), None, "{seed}");
    }
}

#[test]
fn a_fault_that_is_put_back_is_found_soon() {
    be_quiet();
    for (bug, signs) in [
        (Bug::AnswerLost, &["waits for ever"][..]),
        (Bug::ChunkLost, &["left out", "does not go on"]),
        (Bug::CloseTwice, &["behind a Close"]),
        (Bug::SlotKept, &["slots of connections that have ended", "refused for ConnectionsExceeded"]),
    ] {
        let found = (0..SOON).find_map(|seed| Some((seed, check(seed, Some(bug)).err()?.message)));
        let (seed, message) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?}: seed {seed}: {}", message.lines().next().unwrap_or_default());
        assert!(signs.iter().any(|sign| message.contains(sign)), "{bug:?}: {message}");
    }
}
