use super::*;

const fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

const MIB: usize = 1_048_576;

#[test]
fn a_turn_is_over_when_its_slice_is_used_up() {
    let turn = Turn::default();
    turn.begin(at(100));
    turn.look(at(102));
    assert!(!turn.is_over() && !turn.is_behind());
    turn.look(at(103));
    assert!(!turn.is_over() && turn.is_behind());
    // What is between two steps is not judging.
    turn.begin(at(200));
    turn.look(at(204));
    assert!(!turn.is_over());
    turn.look(at(205));
    assert!(turn.is_over());
}

#[test]
fn a_tick_renews_a_turn_that_was_not_used_up() {
    let turn = Turn::default();
    turn.begin(at(100));
    turn.look(at(107));
    turn.renew(at(107));
    turn.begin(at(108));
    turn.look(at(115));
    assert!(!turn.is_over());
}

#[test]
fn a_pause_is_half_as_long_as_what_was_before_it() {
    for (took, pause) in [(8, 5), (30, 15), (1_000, 500)] {
        let turn = Turn::default();
        turn.begin(at(100));
        turn.look(at(100 + took));
        turn.renew(at(100 + took + pause - 1));
        assert!(turn.is_over(), "{took}");
        // Short chunks do not wait.
        turn.begin(at(100 + took + pause - 1));
        turn.look(at(100 + took + pause));
        turn.renew(at(100 + took + pause + 1));
        assert!(!turn.is_over() && !turn.is_behind(), "{took}");
    }
}

#[test]
fn those_who_took_least_are_first() {
    let turn = Turn::default();
    for (stream, millis) in [(1, 40), (2, 0), (3, 7)] {
        turn.queue(stream, Duration::from_millis(millis));
    }
    assert!(turn.is_behind());
    assert_eq!(turn.take_waiting(), [2, 3, 1]);
    assert!(turn.take_waiting().is_empty() && !turn.is_behind());
}

#[test]
fn short_chunks_do_not_wait_unless_they_may_be_much_work() {
    let turn = Turn::default();
    assert!(turn.has_time(MIB, true));
    turn.begin(at(100));
    turn.look(at(140));
    assert!(turn.has_time(512, false) && !turn.has_time(513, false) && !turn.has_time(1, true));
    // From the next tick on, a pause has room for some that are longer.
    turn.renew(at(141));
    assert!(turn.has_time(4_096, false) && !turn.has_time(4_097, false) && !turn.has_time(1, true));
    turn.begin(at(141));
    turn.look(at(143));
    assert!(!turn.has_time(4_096, false) && turn.has_time(512, false));
    turn.renew(at(144));
    assert!(turn.has_time(4_096, false));
}

fn rate(burst: usize) -> Rate {
    Rate::new(262_144.0, burst as u64).expect("a rate")
}

#[test]
fn only_what_limits_bound_may_wait() {
    // 64 MiB, of which half may wait: eight bursts of 4 MiB.
    let held = 64 << 20;
    assert!(may_wait(&rate(4 * MIB), held, BufferLimits::Halved));
    assert!(!may_wait(&rate(4 * MIB + 1), held, BufferLimits::Halved));
    // Envoy's buffer.
    assert!(may_wait(&rate(MIB), held, BufferLimits::Default));
    assert!(!may_wait(&rate(MIB + 1), held, BufferLimits::Default));
}

fn backlog() -> (Rc<HeldBytes>, Backlog) {
    let held = Rc::new(HeldBytes::default());
    (Rc::clone(&held), Backlog::new(held))
}

#[test]
fn bytes_wait_in_their_order_however_they_come() {
    let bytes: Vec<u8> = (0..u8::MAX).cycle().take(200_000).collect();
    for chunk_len in [1, 7, 4_096, 65_536, 65_537, 200_000] {
        let (held, mut backlog) = backlog();
        bytes.chunks(chunk_len).for_each(|chunk| backlog.push(chunk, false, at(0)));
        // No more than twice what it is.
        assert!((200_000..=400_000).contains(&held.len()), "{chunk_len}: {}", held.len());
        while let Some(piece) = backlog.take_piece() {
            let (judged, left) = piece.bytes().split_at(piece.bytes().len().min(1_000));
            backlog.pass(judged);
            let left = left.len();
            backlog.put_back(piece, left, Duration::from_millis(1));
        }
        assert!(backlog.is_judged() && !backlog.is_empty());
        let mut ready = Vec::new();
        while !backlog.is_empty() {
            let part = backlog.take_ready(16_384);
            assert!(part.len() <= 16_384);
            ready.extend(part);
        }
        assert!(ready == bytes, "{chunk_len}");
        assert_eq!(held.len(), 0);
        assert!(backlog.spent() >= Duration::from_millis(200));
    }
}

#[test]
fn behind_an_end_all_is_judged_first() {
    let (_, mut backlog) = backlog();
    backlog.push(b"bytes", false, at(0));
    backlog.pass(b"judged");
    assert!(!backlog.is_due() && !backlog.is_ended());
    backlog.push(b"", true, at(0));
    assert!(backlog.is_due() && backlog.is_ended() && !backlog.is_judged());
    assert!(backlog.take_piece().is_some_and(|piece| piece.bytes() == b"bytes"));
    backlog.take_ready(usize::MAX);
    assert!(backlog.is_judged() && !backlog.is_empty());
}

#[test]
fn what_limits_allow_has_room() {
    let (held, mut backlog) = backlog();
    backlog.push(&vec![0; MIB], false, at(0));
    let check = |backlog: &Backlog, more, millis| backlog.check(more, &rate(MIB), 64 << 20, at(millis));
    assert_eq!(check(&backlog, MIB / 2, 0), Ok(()));
    assert_eq!(check(&backlog, MIB / 2 + 1, 0), Err(Full::TooMuch));
    // It leaks, as the limit does.
    assert_eq!(check(&backlog, MIB / 2 + 262_144, 1_000), Ok(()));
    let mut other = Share::new(Rc::clone(&held));
    other.set(30 << 20);
    assert_eq!(check(&backlog, MIB / 2, 0), Ok(()));
    other.set(31 << 20);
    assert_eq!(check(&backlog, MIB / 2, 0), Err(Full::NoRoom));
    drop(backlog);
    assert_eq!(held.len(), 31 << 20);
}

#[test]
fn what_does_not_wait_any_more_is_forgotten() {
    let (_, mut backlog) = backlog();
    backlog.push(b"bytes", false, at(0));
    let piece = backlog.take_piece().expect("a piece");
    backlog.put_back(piece, 0, Duration::from_millis(40));
    let hour = 3_600_000;
    assert_eq!(backlog.check(2 * MIB, &rate(MIB), 64 << 20, at(hour)), Err(Full::TooMuch));
    backlog.push(&vec![0; MIB], false, at(hour));
    assert_eq!(backlog.spent(), Duration::ZERO);
    assert_eq!(backlog.check(MIB, &rate(MIB), 64 << 20, at(hour)), Err(Full::TooMuch));
}
