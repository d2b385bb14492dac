//! How many messages and bytes.

use core::cell::Cell;

use crate::wire::header::Opcode;
use crate::wire::{Side, Sides};

/// What began in a chunk: messages by their first frame, and control frames.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Text messages.
    pub texts: u32,
    /// Binary messages.
    pub binaries: u32,
    /// Control frames.
    pub controls: u32,
}

impl Counts {
    /// A frame has come. A chunk has not so many that the counts would end.
    #[inline]
    pub const fn add(&mut self, opcode: Opcode) {
        let count = match opcode {
            Opcode::Text => &mut self.texts,
            Opcode::Binary => &mut self.binaries,
            Opcode::Close | Opcode::Ping | Opcode::Pong => &mut self.controls,
            Opcode::Continuation | Opcode::Reserved => return,
        };
        *count = count.wrapping_add(1);
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.texts.wrapping_add(self.binaries).wrapping_add(self.controls)
    }
}

/// What one side has sent that has not been told.
#[derive(Debug, Default)]
struct SideTally {
    texts: Cell<u64>,
    binaries: Cell<u64>,
    controls: Cell<u64>,
    bytes: Cell<u64>,
}

/// What all connections of a worker have sent that has not been told.
#[derive(Debug, Default)]
pub struct Tally(Sides<SideTally>);

/// What one side has sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sent {
    /// Text messages.
    pub texts: u64,
    /// Binary messages.
    pub binaries: u64,
    /// Control frames.
    pub controls: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl Tally {
    /// So much came of a side.
    #[inline]
    pub fn add(&self, from: Side, counts: &Counts, len: usize) {
        // None of them comes near its end within a tick.
        let add = |cell: &Cell<u64>, count: u64| cell.set(cell.get().wrapping_add(count));
        let side = self.0.of(from);
        if counts.texts > 0 {
            add(&side.texts, counts.texts.into());
        }
        if counts.binaries > 0 {
            add(&side.binaries, counts.binaries.into());
        }
        if counts.controls > 0 {
            add(&side.controls, counts.controls.into());
        }
        add(&side.bytes, len as u64);
    }

    /// Takes what has not been told of a side.
    #[must_use]
    pub fn take(&self, from: Side) -> Sent {
        let SideTally { texts, binaries, controls, bytes } = self.0.of(from);
        Sent { texts: texts.take(), binaries: binaries.take(), controls: controls.take(), bytes: bytes.take() }
    }
}
