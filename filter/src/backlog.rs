//! The way from a client whose bytes wait (see `portcullis_core::turn`), and how they go on outside of its callback.
//!
//! ```text
//! none ── no time: taken out, Hold ──▶ Paused, bytes wait ── ticks: judged, written, let go ──▶ Resumed
//!   ▲                                     ▲        ▲                                              │
//!   │ a chunk, Forward                    └────────┼────────────── no time: taken out, Hold ──────┤
//!   └────────────────────────────────── Paused, nothing waits ◀── a chunk let go, Hold ───────────┘
//! ```
//!
//! It is like the way to the client (see [`crate::way`]): while it is paused with an empty buffer it can be written from a tick. What is
//! written then lets the host go on for good, although it may still append the next chunk to its buffer. The callback that comes
//! next lets that go itself, and pauses again.

use std::rc::Rc;

use crate::host::abi::{self, BufferType, Hosted, StreamType};
use crate::root::Root;
use crate::stream::Flow;
use portcullis_core::limits::rate::Rate;
use portcullis_core::turn::{Backlog, Full};

/// How much is written at once, in bytes, which is once a tick: the host answers 413 where it is over its limit for a paused
/// request, and its own advice for an edge is 32 KiB.
const WRITE_LEN: usize = 16_384;

/// The way to the server of one stream.
#[derive(Default)]
pub(crate) struct ToServer(Option<Box<Paused>>);

/// What it is while the host does not simply stream.
struct Paused {
    backlog: Backlog,
    /// The host went on outside of a callback, and has not been paused again.
    resumed: bool,
}

impl ToServer {
    /// Whether the host streams.
    pub(crate) const fn is_free(&self) -> bool {
        self.0.is_none()
    }

    /// Whether anything waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|paused| !paused.backlog.is_empty())
    }

    /// What waits, where the host does not simply stream.
    pub(crate) fn backlog(&mut self) -> Option<&mut Backlog> {
        self.0.as_mut().map(|paused| &mut paused.backlog)
    }

    /// Has what is put into the backlog wait, which ends the callback with an empty buffer.
    pub(crate) fn pause(&mut self, root: &Root) -> &mut Backlog {
        let new = || Box::new(Paused { backlog: new_backlog(root), resumed: false });
        let paused = self.0.get_or_insert_with(new);
        paused.resumed = false;
        &mut paused.backlog
    }

    /// Whether so many bytes more may wait.
    pub(crate) fn check(&self, root: &Root, len: usize, rate: &Rate, held_len_max: u64) -> Result<(), Full> {
        match &self.0 {
            Some(paused) => paused.backlog.check(len, rate, held_len_max, root.now()),
            None => new_backlog(root).check(len, rate, held_len_max, root.now()),
        }
    }

    /// A callback ends with `len` bytes in the host's buffer, and nothing waits; `end`: nothing follows them.
    pub(crate) fn pass(&mut self, len: usize, end: bool) -> Hosted<Flow> {
        match &mut self.0 {
            Some(paused) if paused.resumed && (len > 0 || !end) => {
                if len > 0 {
                    abi::continue_stream(StreamType::Request)?;
                }
                paused.resumed = false;
                Ok(Flow::Hold)
            }
            Some(_) | None => {
                self.0 = None;
                Ok(Flow::Forward)
            }
        }
    }

    /// Writes what is ready, outside of a callback, as much as can be at once. Where the client sends nothing any more it waits for the
    /// last of it: the host would tell the end with the first.
    pub(crate) fn write(&mut self) -> Hosted<()> {
        let Some(paused) = &mut self.0 else { return Ok(()) };
        let (is_last, len_max) = match paused.backlog.is_ended() {
            true if !paused.backlog.is_judged() => return Ok(()),
            true => (true, usize::MAX),
            false => (false, WRITE_LEN),
        };
        let bytes = paused.backlog.take_ready(len_max);
        if bytes.is_empty() && !is_last {
            return Ok(());
        }
        abi::set_buffer(BufferType::RequestBody, 0, 0, &bytes)?;
        abi::continue_stream(StreamType::Request)?;
        if is_last {
            self.0 = None
        } else {
            paused.resumed = true
        }
        Ok(())
    }
}

fn new_backlog(root: &Root) -> Backlog {
    Backlog::new(Rc::clone(&root.shared().held))
}
