//! The server's direction of one stream: how bytes of a client that waited (`portcullis_core::turn`) go on outside of its callback.
//!
//! ```text
//! none ── no time: taken out, Hold ──▶ Paused, bytes wait ── ticks: judged, written, let go ──▶ Resumed
//!   ▲                                     ▲        ▲                                              │
//!   │ a chunk, Forward                    └────────┼────────────── no time: taken out, Hold ──────┤
//!   └────────────────────────────────── Paused, nothing waits ◀── a chunk let go, Hold ───────────┘
//! ```
//!
//! As [`crate::client_writer`] does: while it is paused with an empty buffer it can be written from a tick, and the callback that comes next
//! lets its chunk go itself, and pauses again.

use crate::host::abi::{self, Action, BufferType, Hosted, StreamType};
use portcullis_core::gate::Ready;

/// The server's direction of one stream.
#[derive(Default)]
pub(crate) struct ServerWriter(State);

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum State {
    /// The host streams.
    #[default]
    Free,
    /// The host is paused, with an empty buffer.
    Paused,
    /// The host went on outside of a callback, and has not been paused again.
    Resumed,
}

impl ServerWriter {
    /// How much is written at once, in bytes, which is once a tick: the host answers 413 where it is over its limit for a paused
    /// request, and its own advice for an edge is 32 KiB.
    pub(crate) const WRITE_LEN: usize = 16_384;

    /// Whether the host streams.
    pub(crate) fn is_free(&self) -> bool {
        self.0 == State::Free
    }

    /// A callback ends with an empty buffer, and bytes wait.
    pub(crate) const fn pause(&mut self) -> Action {
        self.0 = State::Paused;
        Action::Hold
    }

    /// A callback ends with `len` bytes in the host's buffer, and nothing waits; `end`: nothing follows them.
    pub(crate) fn pass(&mut self, len: usize, end: bool) -> Hosted<Action> {
        if self.0 == State::Resumed && (len > 0 || !end) {
            if len > 0 {
                abi::continue_stream(StreamType::Request)?;
            }
            self.0 = State::Paused;
            return Ok(Action::Hold);
        }
        self.0 = State::Free;
        Ok(Action::Forward)
    }

    /// Writes what is ready, outside of a callback.
    pub(crate) fn write(&mut self, Ready { bytes, is_last }: &Ready) -> Hosted<()> {
        abi::fill_buffer(BufferType::RequestBody, bytes)?;
        abi::continue_stream(StreamType::Request)?;
        self.0 = if *is_last { State::Free } else { State::Resumed };
        Ok(())
    }
}
