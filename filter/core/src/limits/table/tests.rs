use std::collections::HashMap;

use super::*;

pub(in crate::limits) const SEED: [u8; 16] = *b"a seed of a test";
const FAILURES: FailureRules =
    FailureRules { count: 3, window: Duration::from_secs(60), ban: Duration::from_secs(300) };

pub(in crate::limits) fn secs(secs: u64) -> Moment {
    Moment::from_nanos(secs * 1_000_000_000)
}

pub(in crate::limits) fn key(number: u64) -> Key {
    Key::new(Kind::Address, &SEED, &[&number.to_le_bytes()])
}

pub(in crate::limits) fn connections(max: u32) -> Admission {
    Admission { connections: Some(max), ..ANY }
}

fn handshakes(per_second: f64, burst: u64) -> Admission {
    Admission { handshakes: Rate::new(per_second, burst), ..ANY }
}

/// A census that is complete.
const fn of(generation: u32) -> Census {
    Census { generation, is_complete: true }
}

const ANY: Admission = Admission { connections: None, handshakes: None, failures: Some(FAILURES) };

fn violation(result: Result<(), Excess>) -> Option<(Violation, Duration)> {
    result.err().map(|excess| (excess.violation, excess.retry_after))
}

pub(in crate::limits) fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn keys_are_of_kind_and_parts() {
    let keys = [
        Key::new(Kind::Address, &SEED, &[b"ab"]),
        Key::new(Kind::Subject, &SEED, &[b"ab"]),
        Key::new(Kind::All, &SEED, &[b"ab"]),
        Key::new(Kind::Address, &SEED, &[b"a", b"b"]),
        Key::new(Kind::Address, &SEED, &[b"ab", b""]),
        Key::new(Kind::Address, &SEED, &[b"", b"ab"]),
        Key::new(Kind::Address, &SEED, &[]),
        Key::new(Kind::Address, b"another seed....", &[b"ab"]),
    ];
    for (index, one) in keys.iter().enumerate() {
        assert_eq!(keys.iter().position(|other| other == one), Some(index));
        assert!(one.0 != 0 && one.bucket() < BUCKETS);
    }
    assert_eq!(keys[0], Key::new(Kind::Address, &SEED, &[b"ab"]));
}

#[test]
fn keys_spread_over_all_buckets() {
    let mut counts = vec![0; BUCKETS];
    (0..65_536).for_each(|number| counts[key(number).bucket()] += 1);
    assert!(counts.iter().all(|count| (1..=48).contains(count)), "16 on average");
}

#[test]
fn an_entry_is_written_as_drawn() {
    let (mut bytes, key) = (Vec::new(), Key(0x0123_4567_89ab_cdef));
    let mut bucket = Bucket::open(&mut bytes);
    assert_eq!(bucket.admit(key, &handshakes(1.0, 1), of(7), secs(1)), Ok(()));
    assert!(bucket.fail(key, &FailureRules { count: 1, ..FAILURES }, secs(1)));
    assert!(!bucket.fail(key, &FAILURES, secs(301)));
    assert_eq!(bytes.len(), BUCKET_LEN);
    let field = |from: usize, to: usize| &bytes[from..to];
    assert_eq!(field(0, 8), 0x0123_4567_89ab_cdef_u64.to_le_bytes());
    assert_eq!(field(8, 12), 1_u32.to_le_bytes());
    assert_eq!(field(12, 16), 1_u32.to_le_bytes());
    assert_eq!(field(16, 20), 7_u32.to_le_bytes());
    assert_eq!(field(20, 28), 1.0_f64.to_le_bytes());
    assert_eq!(field(28, 36), 1_000_000_000_u64.to_le_bytes());
    assert_eq!(field(36, 40), 1_u32.to_le_bytes());
    assert_eq!(field(40, 44), 300_u32.to_le_bytes());
    assert_eq!(field(44, 52), 301_000_000_000_u64.to_le_bytes());
    assert_eq!(field(52, 60), 301_000_000_000_u64.to_le_bytes());
    assert_eq!(field(60, 64), 361_u32.to_le_bytes());
    assert!(bytes[64..].iter().all(|byte| *byte == 0));
}

#[test]
fn as_many_connections_as_allowed_are_admitted() {
    let mut bytes = vec![0; BUCKET_LEN];
    let mut bucket = Bucket::open(&mut bytes);
    let results: Vec<_> = (0..100).map(|_| bucket.admit(key(1), &connections(20), of(1), secs(0))).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 20);
    assert!(results[..20].iter().all(Result::is_ok));
    let expected = Some((Violation::ConnectionsExceeded, Duration::from_secs(1)));
    assert_eq!(violation(results[20]), expected);
    assert_eq!(bucket.admit(key(2), &connections(20), of(1), secs(0)), Ok(()), "another's are another's");
    bucket.release(key(1), 1);
    assert_eq!(bucket.admit(key(1), &connections(20), of(1), secs(0)), Ok(()));
    assert_eq!(violation(bucket.admit(key(1), &connections(20), of(1), secs(0))), expected);
    assert_eq!(violation(bucket.admit(key(3), &connections(0), of(1), secs(0))), expected);
}

#[test]
fn handshakes_come_at_their_rate() {
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    let admission = handshakes(0.5, 3);
    for (at, expected) in
        [(0, None), (0, None), (0, None), (0, Some(2)), (1, Some(1)), (2, None), (2, Some(2)), (3, Some(1))]
    {
        let result = violation(bucket.admit(key(1), &admission, of(1), secs(at)));
        let (violation, wait) = result.unzip();
        assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{at}");
        assert!(violation.is_none_or(|violation| violation == Violation::HandshakesExceeded));
    }
}

#[test]
fn a_refusal_changes_nothing() {
    let mut bytes = Vec::new();
    let both = Admission { connections: Some(1), ..handshakes(1.0, 2) };
    assert_eq!(Bucket::open(&mut bytes).admit(key(1), &both, of(1), secs(0)), Ok(()));
    let before = bytes.clone();
    // Too many connections use up no handshake.
    for _ in 0..10 {
        let result = Bucket::open(&mut bytes).admit(key(1), &both, of(1), secs(0));
        assert_eq!(violation(result).map(|excess| excess.0), Some(Violation::ConnectionsExceeded));
    }
    assert_eq!(bytes, before);
    assert!(Bucket::open(&mut bytes).fail(key(1), &FailureRules { count: 1, ..FAILURES }, secs(0)));
    let before = bytes.clone();
    assert!(Bucket::open(&mut bytes).admit(key(1), &both, of(2), secs(1)).is_err());
    assert!(Bucket::open(&mut bytes).fail(key(1), &FAILURES, secs(1)));
    assert_eq!(bytes, before);
}

#[test]
fn failures_within_the_window_ban() {
    // When there were failures, and whether the address was banned after each.
    for rows in [
        &[(0, false), (1, false), (2, true), (301, true), (302, false), (303, false), (304, true)][..],
        &[(0, false), (59, false), (60, false), (61, false), (62, true)],
        &[(0, false), (1, false), (60, false), (119, false), (120, false)],
        &[(5, false), (0, false), (0, true), (299, true), (300, false)],
    ] {
        let mut bytes = Vec::new();
        let mut bucket = Bucket::open(&mut bytes);
        for (at, banned) in rows {
            assert_eq!(bucket.fail(key(1), &FAILURES, secs(*at)), *banned, "{rows:?} {at}");
        }
    }
}

#[test]
fn a_ban_lasts_and_is_not_prolonged() {
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    (0..3).for_each(|_| _ = bucket.fail(key(1), &FAILURES, secs(10)));
    for at in [10, 11, 200, 309] {
        let expected = Some((Violation::Banned, Duration::from_secs(310 - at)));
        assert_eq!(violation(bucket.admit(key(1), &ANY, of(1), secs(at))), expected);
        assert!(bucket.fail(key(1), &FAILURES, secs(at)));
        assert_eq!(bucket.admit(key(2), &ANY, of(1), secs(at)), Ok(()));
    }
    assert_eq!(bucket.admit(key(1), &ANY, of(1), secs(310)), Ok(()));
}

#[test]
fn a_ban_goes_by_the_rules_of_whoever_asks() {
    let bans = |secs| FailureRules { ban: Duration::from_secs(secs), ..FAILURES };
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    (0..3).for_each(|_| _ = bucket.fail(key(1), &bans(300), secs(10)));
    // How long a ban is by the rules, when it is asked about, and how long it still lasts.
    let rows = [
        (None, 10, None),
        (Some(5), 10, Some(5)),
        (Some(5), 14, Some(1)),
        (Some(5), 15, None),
        (Some(299), 308, Some(1)),
        (Some(299), 309, None),
        (Some(300), 309, Some(1)),
        (Some(3_000), 309, Some(1)),
        (Some(3_000), 310, None),
    ];
    for (ban, at, left) in rows {
        let admission = Admission { failures: ban.map(bans), ..ANY };
        let expected = left.map(|left| (Violation::Banned, Duration::from_secs(left)));
        assert_eq!(violation(bucket.admit(key(1), &admission, of(1), secs(at))), expected, "{ban:?} at {at}");
    }
}

/// One policy bans for a minute, another of the same Envoy for ten: who fails under the first comes no sooner past the second.
#[test]
fn a_shorter_ban_beside_a_longer_one_takes_nothing_from_it() {
    let [short, long] = [60, 600].map(|secs| FailureRules { ban: Duration::from_secs(secs), ..FAILURES });
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    (0..3).for_each(|_| _ = bucket.fail(key(1), &long, secs(0)));
    let ends = |bucket: &mut Bucket<'_>, at| {
        [short, long].map(|rules| {
            let admission = Admission { failures: Some(rules), ..ANY };
            violation(bucket.admit(key(1), &admission, of(1), secs(at))).map(|(_, wait)| at + wait.as_secs())
        })
    };
    assert_eq!(ends(&mut bucket, 1), [Some(60), Some(600)]);
    assert!(!bucket.fail(key(1), &short, secs(100)) && !bucket.fail(key(1), &short, secs(101)));
    assert_eq!(ends(&mut bucket, 101), [None, Some(600)]);
    assert!(bucket.fail(key(1), &short, secs(102)));
    assert_eq!(ends(&mut bucket, 102), [Some(162), Some(702)]);
    assert_eq!(ends(&mut bucket, 702), [None, None]);
    (0..3).for_each(|_| _ = bucket.fail(key(1), &short, secs(800)));
    assert_eq!(ends(&mut bucket, 800), [Some(860), Some(860)], "what is over does not count");
}

#[test]
fn the_longest_ban_can_be_shortened_too() {
    let longest = FailureRules { ban: BAN_MAX, ..FAILURES };
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    (0..3).for_each(|_| _ = bucket.fail(key(1), &longest, secs(0)));
    let admission = Admission { failures: Some(longest), ..ANY };
    assert_eq!(violation(bucket.admit(key(1), &admission, of(1), secs(0))), Some((Violation::Banned, BAN_MAX)));
    assert_eq!(violation(bucket.admit(key(1), &ANY, of(1), secs(300))), None);
}

#[test]
fn a_ban_leaves_open_connections_counted() {
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    assert_eq!(bucket.admit(key(1), &connections(1), of(1), secs(0)), Ok(()));
    (0..3).for_each(|_| _ = bucket.fail(key(1), &FAILURES, secs(0)));
    let refused = |bucket: &mut Bucket<'_>| violation(bucket.admit(key(1), &connections(1), of(1), secs(300)));
    assert_eq!(refused(&mut bucket).map(|excess| excess.0), Some(Violation::ConnectionsExceeded));
    bucket.release(key(1), 1);
    assert_eq!(refused(&mut bucket), None);
}

#[test]
fn a_lost_worker_voids_what_was_counted() {
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    let open = |generation| Census { is_complete: false, ..of(generation) };
    let admitted = |bucket: &mut Bucket<'_>, max, census: Census| {
        let count = (0..100).take_while(|_| bucket.admit(key(1), &connections(max), census, secs(0)).is_ok()).count();
        (0..count).for_each(|_| bucket.release(key(1), census.generation));
        count
    };
    (0..8).for_each(|_| bucket.admit(key(1), &connections(10), of(1), secs(0)).unwrap());
    assert_eq!(admitted(&mut bucket, 10, of(1)), 2);
    // Two were the dead worker's. Until the others have counted theirs nobody gets a place for that.
    for restored in [0, 4, 2] {
        bucket.restore(key(1), restored, 2, secs(0));
        assert_eq!(admitted(&mut bucket, 10, open(2)), 2, "{restored}");
        assert_eq!(admitted(&mut bucket, 10, of(1)), 2, "{restored}: who is behind");
    }
    assert_eq!(admitted(&mut bucket, 10, of(2)), 4);
    // A worker that is behind is not counted, and restores what it has later.
    assert_eq!(bucket.admit(key(1), &connections(10), of(1), secs(0)), Ok(()));
    bucket.restore(key(1), 9, 1, secs(0));
    assert_eq!(admitted(&mut bucket, 10, of(2)), 4);
    bucket.restore(key(1), 1, 2, secs(0));
    assert_eq!(admitted(&mut bucket, 10, of(2)), 3);
    // Nobody has restored yet.
    assert_eq!(admitted(&mut bucket, 10, open(3)), 3);
    // Nobody restored: all void.
    assert_eq!(admitted(&mut bucket, 10, of(3)), 10);
    assert_eq!(admitted(&mut bucket, 10, open(3)), 10);
}

#[test]
fn nobody_is_forgotten_whom_a_worker_is_yet_to_restore() {
    let mut bytes = full(|bucket, number| bucket.admit(key(number), &ANY, of(1), secs(0)).unwrap());
    let before = bytes.clone();
    let mut bucket = Bucket::open(&mut bytes);
    let open = Census { is_complete: false, ..of(2) };
    assert_eq!(bucket.admit(key(99), &connections(0), open, secs(0)), Ok(()));
    assert_eq!(bytes, before);
    let mut bucket = Bucket::open(&mut bytes);
    assert_eq!(bucket.admit(key(99), &connections(1), of(2), secs(0)), Ok(()));
    assert!(bucket.find(key(99)).is_some());
}

#[test]
fn what_was_not_admitted_gives_nothing_back() {
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    bucket.release(key(1), 1);
    assert_eq!(bucket.admit(key(1), &connections(1), of(1), secs(0)), Ok(()));
    (0..5).for_each(|_| bucket.release(key(1), 1));
    assert_eq!(bucket.admit(key(1), &connections(1), of(1), secs(0)), Ok(()));
    assert!(bucket.admit(key(1), &connections(1), of(1), secs(0)).is_err());
    bucket.release(key(2), 1);
    assert!(bytes[ENTRY_LEN..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_subject_leases_what_there_is() {
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    let rates = [Rate::new(10.0, 20), Rate::new(1_000.0, 4_000)];
    for (at, wanted, expected) in [
        (0, [5, 1_000], [5, 1_000]),
        (0, [20, 1_000], [15, 1_000]),
        (0, [1, 9_000], [0, 2_000]),
        (1, [20, 9_000], [10, 1_000]),
        (1, [0, 0], [0, 0]),
        (60, [u64::MAX, u64::MAX], [20, 4_000]),
    ] {
        assert_eq!(bucket.lease(key(1), rates, wanted, secs(at)), expected, "{at} {wanted:?}");
    }
    let before = bytes.clone();
    let mut bucket = Bucket::open(&mut bytes);
    assert_eq!(bucket.lease(key(1), rates, [1, 1], secs(60)), [0, 0]);
    assert_eq!(bytes, before);
    let mut bucket = Bucket::open(&mut bytes);
    assert_eq!(bucket.lease(key(1), [None, rates[1]], [1_000, 1_000], secs(60)), [1_000, 0]);
    assert_eq!(bucket.lease(key(1), [rates[0], None], [1_000, 1_000], secs(60)), [0, 1_000]);
    assert_eq!(bucket.lease(key(2), [None; 2], [u64::MAX; 2], secs(60)), [u64::MAX; 2]);
}

/// Fills a bucket by `fill`, which is told the number of each entry.
fn full(mut fill: impl FnMut(&mut Bucket<'_>, u64)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut bucket = Bucket::open(&mut bytes);
    (0..32).for_each(|number| fill(&mut bucket, number));
    assert!((0..32).all(|number| bucket.find(key(number)).is_some()));
    bytes
}

fn ban(bucket: &mut Bucket<'_>, number: u64, at: u64) {
    (0..3).for_each(|_| _ = bucket.fail(key(number), &FAILURES, secs(at)));
}

#[test]
fn a_full_bucket_forgets_what_is_missed_least() {
    // Number 9 is what the others are not; then comes 99, at 20 s.
    let check = |fill: &dyn Fn(&mut Bucket<'_>, u64), forgotten: Option<u64>| {
        let mut bytes = full(fill);
        let mut bucket = Bucket::open(&mut bytes);
        assert_eq!(bucket.admit(key(99), &connections(1), of(1), secs(20)), Ok(()));
        assert_eq!((0..32).find(|number| bucket.find(key(*number)).is_none()), forgotten);
        assert_eq!(bucket.find(key(99)).is_some(), forgotten.is_some());
        assert_eq!(bucket.admit(key(99), &connections(1), of(1), secs(20)).is_ok(), forgotten.is_none());
    };
    let live = |bucket: &mut Bucket<'_>, number| bucket.admit(key(number), &ANY, of(1), secs(0)).unwrap();
    let idle = |bucket: &mut Bucket<'_>, number, per_second| {
        bucket.admit(key(number), &handshakes(per_second, 1), of(1), secs(0)).unwrap();
        bucket.release(key(number), 1);
    };
    // What says nothing any more before what does, whatever that is.
    check(&|bucket, number| if number == 9 { idle(bucket, 9, 1.0) } else { idle(bucket, number, 0.01) }, Some(9));
    check(&|bucket, number| if number == 9 { idle(bucket, 9, 1.0) } else { live(bucket, number) }, Some(9));
    check(&|bucket, number| if number == 9 { idle(bucket, 9, 1.0) } else { ban(bucket, number, 0) }, Some(9));
    // The earliest of those that do.
    check(&|bucket, number| idle(bucket, number, if number == 9 { 0.02 } else { 0.01 }), Some(9));
    // One without a ban, though it is remembered longer.
    check(&|bucket, number| if number == 9 { idle(bucket, 9, 0.001) } else { ban(bucket, number, 0) }, Some(9));
    check(
        &|bucket, number| {
            if number == 9 { _ = bucket.fail(key(9), &FAILURES, secs(0)) } else { ban(bucket, number, 0) }
        },
        Some(9),
    );
    // The first ban to end.
    check(&|bucket, number| ban(bucket, number, if number == 9 { 5 } else { 10 }), Some(9));
    check(&|bucket, number| if number == 9 { ban(bucket, 9, 5) } else { live(bucket, number) }, Some(9));
    // Nobody with an open connection.
    check(&live, None);
    // Unless it was counted before a worker was lost.
    check(&|bucket, number| bucket.admit(key(number), &ANY, of(u32::from(number != 9)), secs(0)).unwrap(), Some(9));
}

#[test]
fn who_is_not_remembered_is_let_in_and_let_go() {
    let mut bytes = full(|bucket, number| bucket.admit(key(number), &ANY, of(1), secs(0)).unwrap());
    let before = bytes.clone();
    let mut bucket = Bucket::open(&mut bytes);
    assert_eq!(bucket.admit(key(99), &connections(0), of(1), secs(0)), Ok(()));
    assert!(!bucket.fail(key(99), &FailureRules { count: 1, ..FAILURES }, secs(0)));
    assert_eq!(bucket.lease(key(99), [Rate::new(1.0, 1); 2], [100, 200], secs(0)), [100, 200]);
    bucket.restore(key(99), 5, 1, secs(0));
    bucket.release(key(99), 1);
    assert_eq!(bytes, before);
}

#[test]
fn a_flood_of_newcomers_frees_no_ban_and_locks_nobody_out() {
    let mut table = vec![Vec::new(); BUCKETS];
    let banned = key(u64::MAX);
    ban(&mut Bucket::open(&mut table[banned.bucket()]), u64::MAX, 0);
    let admission = Admission { connections: Some(20), ..handshakes(5.0, 20) };
    // A millisecond each, so all of it within the ban; then more that all meet in the one bucket.
    for number in 0..105_000 {
        let now = Moment::from_nanos(number.min(100_000) * 1_000_000);
        let key = key(number);
        let mut bucket = Bucket::open(&mut table[if number < 100_000 { key.bucket() } else { banned.bucket() }]);
        assert_eq!(bucket.admit(key, &admission, of(1), now), Ok(()), "{number}");
        assert!(!bucket.fail(key, &FAILURES, now));
        bucket.release(key, 1);
    }
    let mut bucket = Bucket::open(&mut table[banned.bucket()]);
    let expected = Some((Violation::Banned, Duration::from_secs(200)));
    assert_eq!(violation(bucket.admit(banned, &admission, of(1), secs(100))), expected);
    assert_eq!(table.iter().map(Vec::len).max(), Some(BUCKET_LEN));
}

#[test]
fn a_bucket_of_bans_and_connections_still_admits() {
    let mut bytes = full(|bucket, number| match number % 2 {
        0 => bucket.admit(key(number), &ANY, of(1), secs(0)).unwrap(),
        _ => ban(bucket, number, number),
    });
    let mut bucket = Bucket::open(&mut bytes);
    for number in 100..1_000 {
        assert_eq!(bucket.admit(key(number), &connections(1), of(1), secs(40)), Ok(()));
        bucket.release(key(number), 1);
    }
    // They took the place of one another, and of a single ban: the first to end.
    let banned = (0..32).filter(|number| bucket.admit(key(*number), &ANY, of(1), secs(40)).is_err());
    assert_eq!(banned.collect::<Vec<_>>(), (3..32).step_by(2).collect::<Vec<_>>());
}

#[test]
fn bytes_from_elsewhere_do_not_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d;
    let rates = [Rate::new(1e300, u64::MAX), Rate::new(f64::MIN_POSITIVE, 1), Rate::new(5.0, 20), None];
    for round in 0_usize..2_000 {
        let mut bytes: Vec<u8> = (0..BUCKET_LEN).map(|_| xorshift(&mut state).to_le_bytes()[0]).collect();
        match round % 8 {
            0 => bytes.fill(0xff),
            1 => bytes.truncate(round),
            2 => bytes.resize(BUCKET_LEN + 1, 0xff),
            3 => bytes.chunks_mut(8).for_each(|word| word.copy_from_slice(&f64::NAN.to_le_bytes())),
            _ => {}
        }
        let mut bucket = Bucket::open(&mut bytes);
        for _ in 0..16 {
            let random = xorshift(&mut state);
            let [choice, rate, place, generation, ..] = random.to_le_bytes();
            let key = match Entry::read(&bucket.entries[usize::from(place) % 32]).key {
                0 => key(random),
                known => {
                    if choice & 8 == 0 {
                        Key(known)
                    } else {
                        key(random)
                    }
                }
            };
            let now = Moment::from_nanos(xorshift(&mut state) >> (rate % 64));
            let rate = rates[usize::from(rate) % 4];
            let rules = FailureRules { count: u32::from(rate.is_none()), window: Duration::MAX, ban: Duration::MAX };
            let generation = u32::from(generation) << 24;
            let census = Census { generation, is_complete: random >> 63 == 1 };
            match choice % 5 {
                0 => {
                    _ = bucket.admit(
                        key,
                        &Admission { connections: Some(u32::MAX), handshakes: rate, failures: Some(rules) },
                        census,
                        now,
                    )
                }
                1 => bucket.release(key, generation),
                2 => bucket.restore(key, u32::MAX, generation, now),
                3 => _ = bucket.fail(key, &rules, now),
                _ => assert!(bucket.lease(key, [rate; 2], [random; 2], now) <= [random; 2]),
            }
        }
        assert_eq!(bytes.len(), BUCKET_LEN);
    }
}

#[test]
fn bytes_of_another_length_lock_nobody_out() {
    for len in [0, 1, BUCKET_LEN - 1, BUCKET_LEN + 1, 2 * BUCKET_LEN] {
        let mut bytes = vec![0xff; len];
        assert_eq!(Bucket::open(&mut bytes).admit(key(1), &connections(1), of(1), secs(0)), Ok(()));
        assert!(Bucket::open(&mut bytes).admit(key(1), &connections(1), of(1), secs(0)).is_err());
    }
}

/// What an entry means, with whole numbers and nothing forgotten.
#[derive(Default)]
struct Model {
    live: u32,
    generation: u32,
    /// Billionths of a unit, and since when.
    meters: [(u128, u64); 2],
    failures: Vec<u64>,
    banned_until: u64,
}

/// Units a second and at once.
const MODEL_RATES: [(u64, u64); 2] = [(3, 7), (50, 400)];

impl Model {
    fn room(&mut self, index: usize, now: u64) -> u64 {
        let ((per_second, burst), (level, at)) = (MODEL_RATES[index], &mut self.meters[index]);
        *level = level.saturating_sub(u128::from(per_second) * u128::from(now - *at));
        *at = now;
        u64::try_from((u128::from(burst) * 1_000_000_000 - *level) / 1_000_000_000).unwrap()
    }

    fn take(&mut self, index: usize, amount: u64) {
        self.meters[index].0 += u128::from(amount) * 1_000_000_000;
    }

    fn admit(&mut self, max: u32, generation: u32, now: u64) -> Option<Violation> {
        let live = if self.generation == generation { self.live } else { 0 };
        if now < self.banned_until {
            return Some(Violation::Banned);
        }
        if self.room(0, now) == 0 {
            return Some(Violation::HandshakesExceeded);
        }
        if live >= max {
            return Some(Violation::ConnectionsExceeded);
        }
        self.take(0, 1);
        (self.live, self.generation) = (live + 1, generation);
        None
    }

    fn fail(&mut self, now: u64) -> bool {
        if now < self.banned_until {
            return true;
        }
        if self.failures.first().is_some_and(|first| now - first >= 60_000_000_000) {
            self.failures.clear();
        }
        self.failures.push(now);
        if self.failures.len() == 3 {
            self.failures.clear();
            self.banned_until = now + 300_000_000_000;
        }
        now < self.banned_until
    }
}

#[test]
fn a_bucket_agrees_with_a_map() {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let rates = MODEL_RATES.map(|(per_second, burst)| Rate::new(per_second as f64, burst));
    for _ in 0..300 {
        let mut bytes = Vec::new();
        let mut models: HashMap<u64, Model> = HashMap::new();
        let (mut now, mut generation) = (xorshift(&mut state) >> 4, 0);
        for _ in 0..500 {
            let random = xorshift(&mut state);
            now += xorshift(&mut state) % (1 << (random >> 32 & 31));
            // The lower half are addresses, the upper half subjects.
            let number = random & 31;
            let mut bucket = Bucket::open(&mut bytes);
            let (key, model) = (key(number), models.entry(number).or_default());
            let moment = Moment::from_nanos(now);
            match random >> 8 & 7 {
                0..=2 => {
                    let admission = Admission { connections: Some(4), handshakes: rates[0], failures: Some(FAILURES) };
                    let result = bucket.admit(key, &admission, of(generation), moment);
                    assert_eq!(violation(result).map(|excess| excess.0), model.admit(4, generation, now));
                }
                3 => {
                    bucket.release(key, generation);
                    if model.generation == generation {
                        model.live = model.live.saturating_sub(1);
                    }
                }
                4 | 5 if number < 16 => assert_eq!(bucket.fail(key, &FAILURES, moment), model.fail(now)),
                4 | 5 => {
                    let wanted = [random >> 16 & 7, random >> 20 & 255];
                    let expected = [0, 1].map(|index| wanted[index].min(model.room(index, now)));
                    (0..2).for_each(|index| model.take(index, expected[index]));
                    assert_eq!(bucket.lease(key, rates, wanted, moment), expected);
                }
                6 if random >> 12 & 15 == 0 => generation += 1,
                6 => {}
                _ => {
                    let count = u32::from(random >> 16 & 1 == 1);
                    bucket.restore(key, count, generation, moment);
                    let live = if model.generation == generation { model.live } else { 0 };
                    (model.live, model.generation) = (live + count, generation);
                }
            }
        }
    }
}
