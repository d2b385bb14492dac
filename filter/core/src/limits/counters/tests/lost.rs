//! Workers that are lost, and what the others do then.

use super::*;

/// As long as it takes until a worker that does nothing is lost, and each of the others has heard that.
const LOST_AFTER: u64 = 10;

/// So many seconds pass until `finder` takes a third worker for lost; `unaware` has not heard of it then.
fn lose_one(finder: &Worker, unaware: &Worker) {
    let generation = |worker: &Worker| worker.counters.register.borrow().generation();
    let before = generation(unaware);
    loop {
        finder.port.now.update(|now| now + 1_000_000_000);
        finder.beat();
        if generation(finder) != before {
            return;
        }
        unaware.beat();
    }
}

/// Two workers that know each other, and a third.
fn three() -> [Worker; 3] {
    let first = Worker::first();
    let workers = [first.beside(), first.beside(), first];
    pass(2, &workers.each_ref());
    workers
}

#[test]
fn what_a_lost_worker_had_comes_back_and_what_others_have_stays() {
    let first = Worker::first();
    let (other, lost) = (first.beside(), first.beside());
    pass(2, &[&first, &other, &lost]);
    let _slots = [first.admit(1, 4), other.admit(1, 4)].map(Result::unwrap);
    core::mem::forget([lost.admit(1, 4), lost.admit(1, 4)]);
    pass(4, &[&first, &other]);
    assert_eq!(first.room(1, 4), 0, "it may still come back");
    pass(LOST_AFTER, &[&first, &other]);
    assert_eq!((first.room(1, 4), other.room(1, 4)), (2, 2));
}

/// Otherwise nobody would miss it, and its connections were counted for good.
#[test]
fn a_worker_is_known_before_it_counts_or_with_its_next_tick() {
    for fails_in in [None, Some(1), Some(2), Some(3)] {
        let first = Worker::first();
        let newcomer = first.beside();
        pass(2, &[&first]);
        newcomer.port.fails_in.set(fails_in);
        core::mem::forget(newcomer.admit(1, 1).unwrap());
        if fails_in.is_some() {
            newcomer.beat();
        }
        assert_eq!(first.room(1, 1), 0);
        pass(LOST_AFTER, &[&first]);
        assert_eq!(first.room(1, 1), 1, "{fails_in:?}");
    }
}

#[test]
fn what_is_counted_again_is_counted_so_many_at_a_time() {
    let [worker, other, _lost] = three();
    let many = 2 * RESTORED_MAX as u64 + 1;
    let slots: Vec<Slot> = (1..=many).map(|number| worker.admit(number, 1).unwrap()).collect();
    let room = |worker: &Worker| (1..=many).map(|number| worker.room(number, 1)).sum::<usize>();
    lose_one(&other, &worker);
    for expected in [RESTORED_MAX + 1, 1, 0] {
        worker.beat();
        assert_eq!(worker.counters.behind.borrow().len(), expected);
        assert_eq!(worker.counters.is_behind(), expected > 0);
        // Neither those that are counted again nor the others are free meanwhile.
        assert_eq!((room(&other), room(&worker)), (0, 0));
    }
    pass(3, &[&worker, &other]);
    assert_eq!((room(&other), room(&worker)), (0, 0));
    drop(slots);
    assert_eq!((room(&other) as u64, room(&worker) as u64), (many, many));
}

#[test]
fn connections_come_and_go_on_a_worker_that_is_behind() {
    // Beyond what one tick counts again: some are, and some are not.
    const CLIENTS: u64 = RESTORED_MAX as u64 + 32;
    // How many each client has, how many of them go while the worker is behind, and how many come then.
    for (before, gone, come) in [(2, 0, 0), (2, 1, 0), (2, 2, 0), (2, 0, 1), (2, 1, 1), (2, 2, 2), (1, 1, 3)] {
        let [worker, other, lost] = three();
        let open = |worker: &Worker, number| worker.admit(number, 4).ok();
        let mut slots: Vec<Vec<Slot>> = Vec::new();
        for number in 0..CLIENTS {
            slots.push((0..before).map_while(|_| open(&worker, number)).collect());
            core::mem::forget(open(&lost, number));
        }
        lose_one(&other, &worker);
        worker.beat();
        assert!(worker.counters.is_behind());
        for (number, slots) in (0..).zip(&mut slots) {
            slots.truncate(before - gone);
            slots.extend((0..come).map_while(|_| open(&worker, number)));
            assert!(slots.len() < 4, "the lost one's may still be there");
        }
        pass(3, &[&worker, &other]);
        for (number, slots) in (0..).zip(slots) {
            assert_eq!(other.room(number, 4), 4 - slots.len(), "{before} {gone} {come}");
            drop(slots);
            assert_eq!(other.room(number, 4), 4, "{before} {gone} {come}");
        }
    }
}

#[test]
fn a_slot_that_a_failing_host_does_not_take_back_stays_until_the_next_generation() {
    let [worker, other, _lost] = three();
    // The call that fails, whether the connection is counted, and how many more may then come.
    let rows = [(0, false, 3), (1, false, 3), (2, false, 3), (3, true, 2), (4, true, 2), (5, true, 3)];
    for (call, is_counted, room) in rows {
        worker.port.fails_in.set(Some(call));
        let slot = worker.counters.admit(key(call.into()), &connections(3));
        assert_eq!(slot.is_ok(), is_counted, "{call}");
        drop(slot);
        assert_eq!(other.room(call.into(), 3), room, "{call}");
        assert!(worker.counters.own.borrow().is_empty());
    }
    worker.port.fails_in.set(None);
    pass(LOST_AFTER, &[&worker, &other]);
    for (call, ..) in rows {
        assert_eq!(other.room(call.into(), 3), 3, "{call}");
    }
}

#[test]
fn a_tick_that_fails_is_made_up_for_by_the_next() {
    for call in 0.. {
        let [worker, other, lost] = three();
        let _slots = [worker.admit(1, 4), worker.admit(2, 4)].map(Result::unwrap);
        core::mem::forget([lost.admit(1, 4).unwrap(), lost.admit(2, 4).unwrap()]);
        lose_one(&other, &worker);
        worker.port.fails_in.set(Some(call));
        let result = worker.counters.beat(worker.now());
        assert_eq!(result.is_err(), worker.port.fails_in.take().is_none(), "{call}");
        assert_eq!((other.room(1, 4), other.room(2, 4)), (2, 2));
        pass(3, &[&worker, &other]);
        assert_eq!((other.room(1, 4), other.room(2, 4)), (3, 3), "{call}");
        if result.is_ok() {
            assert!(call > 5, "not all of its calls have failed");
            break;
        }
    }
}
