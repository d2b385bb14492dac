use core::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::testing::{MOMENT, MemoryPort};
use crate::time::Timestamp;

fn port() -> MemoryPort {
    let port = MemoryPort::default();
    prepare(&port).unwrap();
    port
}

fn at(seconds: u64) -> Moment {
    MOMENT.saturating_add(Duration::from_secs(seconds))
}

fn redeem_ticket(port: &dyn Port, id: &[u8]) -> Result<Use, HostError> {
    redeem(port, id, at(30), at(0))
}

/// Ids of one cell.
fn neighbours() -> impl Iterator<Item = [u8; 8]> {
    let (cell, _) = place(&0_u64.to_le_bytes());
    (0_u64..).map(u64::to_le_bytes).filter(move |id| place(id).0 == cell)
}

/// A host that has somebody come between when a cell is read.
#[derive(Debug)]
struct Racing<'a> {
    port: &'a MemoryPort,
    rivals: RefCell<Vec<Vec<u8>>>,
    outcomes: RefCell<Vec<Use>>,
}

impl Port for Racing<'_> {
    fn now(&self) -> Result<Moment, HostError> {
        self.port.now()
    }

    fn date(&self) -> Result<Timestamp, HostError> {
        self.port.date()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        self.port.random(bytes)
    }

    fn memory_len(&self) -> usize {
        self.port.memory_len()
    }

    fn verify_signature(&self, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        self.port.verify_signature(arguments)
    }

    fn shared(&self, cell: Cell) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        let shared = self.port.shared(cell);
        let rival = self.rivals.borrow_mut().pop();
        if let Some(id) = rival {
            self.outcomes.borrow_mut().push(redeem_ticket(self.port, &id).unwrap());
        }
        shared
    }

    fn share(&self, cell: Cell, bytes: &[u8], version: Option<u32>) -> Result<bool, HostError> {
        self.port.share(cell, bytes, version)
    }
}

#[test]
fn what_is_used_once_is_used_on_every_worker() {
    let port = port();
    let beside = port.beside();
    assert_eq!(redeem_ticket(&port, b"one"), Ok(Use::First));
    for worker in [&port, &beside] {
        assert_eq!(redeem_ticket(worker, b"one"), Ok(Use::Again));
    }
    assert_eq!(redeem_ticket(&beside, b"two"), Ok(Use::First));
    // What is there stays, whoever prepares it again.
    prepare(&beside).unwrap();
    assert_eq!(redeem_ticket(&beside, b"two"), Ok(Use::Again));
}

#[test]
fn of_two_uses_at_the_same_instant_one_is_the_first() {
    let port = port();
    let racing = Racing { port: &port, rivals: RefCell::new(vec![b"one".to_vec()]), outcomes: RefCell::default() };
    assert_eq!(redeem_ticket(&racing, b"one"), Ok(Use::Again));
    assert_eq!(racing.outcomes.take(), [Use::First]);
    // Another one in the same cell costs a round.
    let ids: Vec<[u8; 8]> = neighbours().take(6).collect();
    let rivals = ids[1..].iter().map(|id| id.to_vec()).collect();
    let racing = Racing { port: &port, rivals: RefCell::new(rivals), outcomes: RefCell::default() };
    assert_eq!(redeem_ticket(&racing, &ids[0]), Ok(Use::First));
    assert_eq!(racing.outcomes.take(), [Use::First; 5]);
    assert!(ids.iter().all(|id| redeem_ticket(&port, id) == Ok(Use::Again)));
}

#[test]
fn a_cell_that_others_never_leave_alone_gives_no_use() {
    let port = port();
    let rivals = neighbours().skip(1).take(200).map(|id| id.to_vec()).collect();
    let racing = Racing { port: &port, rivals: RefCell::new(rivals), outcomes: RefCell::default() };
    let first = neighbours().next().unwrap();
    // It is full after 64, and whoever finds it so is told.
    assert_eq!(redeem_ticket(&racing, &first), Ok(Use::Full));
    assert_eq!(redeem_ticket(&port, &first), Ok(Use::Full));
}

#[test]
fn a_full_cell_forgets_nothing_before_its_time() {
    let port = port();
    let ids: Vec<[u8; 8]> = neighbours().take(ENTRIES_MAX + 1).collect();
    let (last, first) = ids.split_last().unwrap();
    for id in first {
        assert_eq!(redeem_ticket(&port, id), Ok(Use::First));
    }
    assert_eq!(redeem_ticket(&port, last), Ok(Use::Full));
    assert!(first.iter().all(|id| redeem_ticket(&port, id) == Ok(Use::Again)));
    for (seconds, expected) in [(29, Use::Full), (30, Use::Full), (31, Use::First)] {
        assert_eq!(redeem(&port, last, at(60), at(seconds)), Ok(expected), "{seconds}");
    }
    let (cell, _) = place(last);
    assert_eq!(port.data.borrow().get(&cell).unwrap().0.len(), EMPTY.len() + ENTRY_LEN);
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let port = port();
    let mut firsts = 0;
    for id in 0..400_000_u64 {
        firsts += usize::from(redeem_ticket(&port, &id.to_le_bytes()) == Ok(Use::First));
    }
    let data = port.data.borrow();
    assert_eq!(data.len(), CELLS);
    assert!(data.values().all(|(bytes, _)| bytes.len() <= CELL_LEN_MAX));
    let sum: usize = data.values().map(|(bytes, _)| bytes.len()).sum();
    assert_eq!(sum, CELLS * EMPTY.len() + firsts * ENTRY_LEN);
    assert!(firsts > CELLS * ENTRIES_MAX * 9 / 10, "{firsts}");
}

#[test]
fn whatever_the_host_fails_at_nothing_is_used_twice() {
    for fails_in in 0..4 {
        let port = Rc::new(port());
        port.fails_in.set(Some(fails_in));
        let outcomes: Vec<_> = (0..4).map(|_| redeem_ticket(&*port, b"one")).collect();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok(Use::First)).count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(HostError)).count(), 1, "{outcomes:?}");
    }
}

#[test]
fn a_cell_that_was_never_made_is_no_place_to_use_anything() {
    assert_eq!(redeem_ticket(&MemoryPort::default(), b"one"), Err(HostError));
}

#[test]
fn a_cell_of_any_bytes_is_read() {
    for len in 0..64 {
        let port = port();
        let (cell, _) = place(b"one");
        port.share(cell, &vec![0xff; len], None).unwrap();
        assert_eq!(redeem_ticket(&port, b"one"), Ok(Use::First), "{len}");
        assert_eq!(redeem_ticket(&port, b"one"), Ok(Use::Again), "{len}");
    }
}
