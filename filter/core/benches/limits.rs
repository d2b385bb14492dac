//! What counting costs: a meter, an entry in a bucket that is full, and the timers of many connections.
//!
//! ```text
//! meter   one message counted
//! bucket  a connection that comes and goes, of somebody known and of somebody for whom another has to be forgotten
//! wheel   10,000 timers set and reported, against a step in which nothing is due
//! ```
//!
//! Goals: a handshake's counting is lost beside its other 10 microseconds; a step with nothing due does not depend on how many timers
//! there are.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use portcullis_core::limits::rate::{Meter, Rate};
use portcullis_core::limits::table::{Admission, Bucket, Census, Key, Kind};
use portcullis_core::time::Moment;
use portcullis_core::timers::Wheel;

const TIMERS: u32 = 10_000;

fn main() {
    let criterion = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300));
    let mut criterion = criterion.measurement_time(Duration::from_secs(1)).configure_from_args();
    meter(&mut criterion);
    bucket(&mut criterion);
    wheel(&mut criterion);
    criterion.final_summary();
}

fn meter(criterion: &mut Criterion) {
    let rate = Rate::new(20.0, 40).expect("a rate");
    let (mut meter, mut nanos) = (Meter::default(), 0);
    criterion.bench_function("meter/take", |bencher| {
        bencher.iter(|| {
            nanos += 50_000_000;
            assert!(meter.take(black_box(&rate), 1, Moment::from_nanos(nanos)));
        });
    });
}

fn bucket(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bucket");
    let admission = Admission { connections: Some(20), handshakes: Rate::new(5.0, 20), failures: None };
    // All that are there still mean something then, so somebody new costs a look at every one.
    let now = Moment::from_nanos(1);
    let key = |number: u32| Key::new(Kind::Address, &[7; 16], &[&number.to_le_bytes()]);
    let mut bytes = Vec::new();
    for number in 0..32 {
        admit_and_release(&mut bytes, key(number), &admission, now);
    }
    let known = key(31);
    let mut nanos = 0;
    group.bench_function("known", |bencher| {
        bencher.iter(|| {
            nanos += 200_000_000;
            admit_and_release(&mut bytes, known, &admission, Moment::from_nanos(nanos));
        });
    });
    let newcomers: Vec<Key> = (100..1_124).map(key).collect();
    let mut newcomers = newcomers.iter().cycle();
    group.bench_function("newcomer", |bencher| {
        bencher.iter(|| admit_and_release(&mut bytes, *newcomers.next().expect("a cycle"), &admission, now));
    });
    group.bench_function("key", |bencher| bencher.iter(|| key(black_box(1))));
    group.finish();
}

fn admit_and_release(bytes: &mut Vec<u8>, key: Key, admission: &Admission, now: Moment) {
    let mut bucket = Bucket::open(bytes);
    let census = Census { generation: 1, is_complete: true };
    assert_eq!(bucket.admit(key, black_box(admission), census, now), Ok(()));
    bucket.release(key, 1);
}

fn wheel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    let after = |nanos: u64, id: u32| Moment::from_nanos(nanos + u64::from(id) * 7_919_000_000 % 60_000_000_000);
    let mut due = Vec::new();
    let (mut wheel, mut nanos) = (Wheel::new(Moment::default()), 0);
    group.throughput(Throughput::Elements(TIMERS.into()));
    // A minute of steps, in which each is reported.
    group.bench_function("schedule-and-advance", |bencher| {
        bencher.iter(|| {
            (0..TIMERS).for_each(|id| wheel.schedule(id, after(nanos, id)));
            due.clear();
            for _ in 0..1_200 {
                nanos += 50_000_000;
                wheel.advance(Moment::from_nanos(nanos), &mut due);
            }
            assert_eq!(due.len(), TIMERS as usize);
        });
    });
    group.throughput(Throughput::Elements(1));
    for (name, timers) in [("idle-step/1", 1), ("idle-step/10000", TIMERS)] {
        let (mut wheel, mut nanos) = (Wheel::new(Moment::default()), 0);
        (0..timers).for_each(|id| wheel.schedule(id, Moment::from_nanos(u64::MAX - u64::from(id))));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                nanos += 50_000_000;
                wheel.advance(Moment::from_nanos(nanos), black_box(&mut due));
            });
        });
    }
    group.finish();
}
