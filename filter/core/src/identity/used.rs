//! What may be used once, such as a ticket: all workers of a proxy know what was, in a table of a fixed size.
//!
//! ```text
//! 4,096 cells   a value of the host each, changed by compare and swap
//!    64 entries of 20 bytes      5 MiB in all, whoever comes
//!
//!  0         16
//!  digest    until (in seconds)
//! ```
//!
//! What is not used takes no room, however much of it is issued. An entry stays until its time is over and makes no room for another
//! before: where a cell is full, what is not in it cannot be used, since nobody could tell the next time.

use core::time::Duration;

use sha2::{Digest, Sha256};

use crate::port::{Cell, HostError, Port};
use crate::time::Moment;

/// How many cells there are: each is a lock of its own, so workers seldom meet in one.
pub const CELLS: usize = 4_096;

/// How many entries of a cell are remembered. 130,000 in all cells, which is half of what fits, leave one cell in ten million full.
pub const ENTRIES_MAX: usize = 64;

const DIGEST_LEN: usize = 16;
const ENTRY_LEN: usize = DIGEST_LEN + 4;

/// How often a cell is tried that others change at the same time. Each round that fails is one in which another worker got through.
const ROUNDS_MAX: u32 = 128;

/// What comes of a use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// It was used before.
    Again,
    /// It is the first, and no other will be.
    First,
    /// There is no room to remember it in, so it is none.
    Full,
}

/// Makes the cells, unless they are there. The host tries a policy alone before any worker has it, so that nobody comes between.
///
/// # Errors
/// [`HostError`], here and below.
pub fn prepare(port: &dyn Port) -> Result<(), HostError> {
    if port.shared(Cell::Used(CELLS.saturating_sub(1)))?.is_some() {
        return Ok(());
    }
    for index in 0..CELLS {
        if port.shared(Cell::Used(index))?.is_none() {
            port.share(Cell::Used(index), &EMPTY, None)?;
        }
    }
    Ok(())
}

/// Uses what has this `id`, once for all workers, and remembers that until then.
///
/// # Errors
/// [`HostError`], also where too many others change the cell: then it may have been used or not.
pub fn redeem(port: &dyn Port, id: &[u8], until: Moment, now: Moment) -> Result<Use, HostError> {
    let (cell, digest) = place(id);
    let until = seconds(until).checked_add(1).ok_or(HostError)?;
    for _ in 0..ROUNDS_MAX {
        // A cell that is not there could be made by two workers at once, each of which would be the first.
        let (bytes, version) = port.shared(cell)?.ok_or(HostError)?;
        let entries: &[[u8; ENTRY_LEN]] = bytes.get(EMPTY.len()..).unwrap_or_default().as_chunks().0;
        if entries.iter().any(|entry| entry.starts_with(&digest)) {
            return Ok(Use::Again);
        }
        let mut next = EMPTY.to_vec();
        entries.iter().filter(|entry| ends(entry) > seconds(now)).for_each(|entry| next.extend(entry));
        if next.len() >= CELL_LEN_MAX {
            return Ok(Use::Full);
        }
        next.extend(digest);
        next.extend(until.to_le_bytes());
        if port.share(cell, &next, Some(version))? {
            return Ok(Use::First);
        }
    }
    Err(HostError)
}

/// A cell without an entry: a host may not tell an empty value from none.
const EMPTY: [u8; 1] = [1];

const CELL_LEN_MAX: usize = EMPTY.len() + ENTRIES_MAX * ENTRY_LEN;

/// The cell of an id, and its digest there.
fn place(id: &[u8]) -> (Cell, [u8; DIGEST_LEN]) {
    let hash: [u8; 32] = Sha256::digest(id).into();
    let number = hash.last_chunk().map_or(0, |last| u16::from_le_bytes(*last));
    (Cell::Used(usize::from(number) % CELLS), hash.first_chunk().copied().unwrap_or_default())
}

/// When an entry ends, in whole seconds.
fn ends(entry: &[u8; ENTRY_LEN]) -> u32 {
    entry.last_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
}

fn seconds(moment: Moment) -> u32 {
    let span = Duration::from_nanos(moment.as_nanos());
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
