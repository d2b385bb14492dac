//! The client's direction of one stream: when it is kept so that a frame of our own can be written to it at any moment.
//!
//! ```text
//! Opening ── woken, 101 let go ──▶ Opened ── nothing yet: pause ──▶ Unspoken
//!                                    │ the server has spoken           │ the server speaks
//!                                    ▼                                 ▼
//!   Quiet ── long chunk, or many within a second: Forward ─────────▶ Busy
//!     ▲                                                                │ short chunk, at the end of a frame: copied out, Hold
//!     └───────────────── woken, chunk let go ───────────────────── Waiting
//! ```
//!
//! `Busy` is the host streaming as always. In `Quiet` it is paused with an empty buffer, which can be written, and each chunk is let go within
//! its callback; filter/DESIGN.md says why not always. What is written outside of a callback lets the host go on for good, although it may
//! still append the next chunk to its buffer: the callback that comes next lets that go itself, whatever it is, and pauses again.

use std::rc::Rc;

use crate::host::abi::{self, Action, BufferType, Hosted, StreamType};
use crate::host::body::Body;
use crate::plugin::PluginContext;
use portcullis_core::effect::{self, Passage};
use portcullis_core::gate::{Connection, ServerPace};
use portcullis_core::limits::Share;
use portcullis_core::wire::{Chunk, Side};

/// How much of a message may be held while the direction is paused.
const HELD_LEN_MAX: usize = 65_536;

/// What goes on of a chunk that the core keeps.
const NOTHING: &Passage = &Passage { before: Vec::new(), keep: 0, after: Vec::new() };

/// The client's direction of one stream.
pub(crate) struct ClientWriter {
    /// The stream.
    id: u32,
    state: State,
    pace: ServerPace,
}

#[derive(Default)]
enum State {
    /// The host streams.
    #[default]
    Busy,
    /// The 101 waits to be woken, and the host keeps what comes behind it.
    Opening,
    /// The 101 was let go, and before anything else the host runs the callback over what came behind it.
    Opened,
    /// Nothing came behind it: the host is paused and shows its own buffer, which is empty.
    Unspoken,
    /// Paused, with nothing in the host's buffer.
    Quiet {
        /// The host went on outside of a callback, and has not been paused again.
        resumed: bool,
    },
    /// Paused likewise, with bytes that go on when the stream is woken.
    Waiting {
        bytes: Vec<u8>,
        /// Counts them.
        _share: Share,
    },
}

impl State {
    /// What was kept until the stream is woken, and goes before what a callback is about.
    const fn waiting(&self) -> &[u8] {
        match self {
            Self::Busy | Self::Opening | Self::Opened | Self::Unspoken | Self::Quiet { .. } => &[],
            Self::Waiting { bytes, .. } => bytes.as_slice(),
        }
    }
}

impl ClientWriter {
    /// Of a stream that is up, which the host streams.
    pub(crate) const fn new(id: u32) -> Self {
        Self { id, state: State::Busy, pace: ServerPace::new() }
    }

    /// The 101 is there. It waits for the next turn of the event loop, so that the host runs a callback behind it.
    pub(crate) fn open(&mut self, plugin: &PluginContext) -> Action {
        if !plugin.wake(self.id) {
            return Action::Forward;
        }
        self.state = State::Opening;
        Action::HoldAll
    }

    /// Whether it can be written now.
    pub(crate) const fn state(&self) -> effect::ClientWriter {
        match self.state {
            State::Busy | State::Opening | State::Opened => effect::ClientWriter::Busy,
            State::Unspoken | State::Quiet { .. } | State::Waiting { .. } => effect::ClientWriter::Open,
        }
    }

    /// Whether the host appends what comes to a buffer of its own.
    pub(crate) const fn is_buffered(&self) -> bool {
        matches!(self.state, State::Quiet { .. } | State::Waiting { .. })
    }

    /// Whether something is to be done when the stream is woken.
    pub(crate) const fn is_asleep(&self) -> bool {
        matches!(self.state, State::Opening | State::Opened | State::Waiting { .. })
    }

    /// Lets go what waits.
    pub(crate) fn wake(&mut self, plugin: &PluginContext) -> Hosted<()> {
        match self.state {
            State::Opening => {
                // Its callback comes before the stream is woken again, or not at all.
                self.state = if plugin.wake(self.id) { State::Opened } else { State::Busy };
                abi::continue_stream(StreamType::Response)
            }
            State::Opened => {
                self.state = State::Busy;
                Ok(())
            }
            State::Waiting { .. } => self.write(&[]),
            State::Busy | State::Unspoken | State::Quiet { .. } => Ok(()),
        }
    }

    /// The client sent something. Gives whether it can be written now.
    pub(crate) const fn answer(&mut self) -> effect::ClientWriter {
        self.pace.answer();
        self.state()
    }

    /// A callback ends: `passage` goes on of its `body`, or nothing where the core keeps it and has it written later, and nothing follows an
    /// `end`. Where that fails it is not known what the host's buffer holds: nothing can be written any more.
    pub(crate) fn pass(
        &mut self,
        plugin: &PluginContext,
        connection: &Connection,
        body: &Body,
        passage: Option<&Passage>,
        end: bool,
    ) -> Hosted<Action> {
        self.pace.receive(body.len(), connection.policy(), plugin.shared().worker.now());
        let state = core::mem::take(&mut self.state);
        let is_kept = passage.is_none();
        let len = body.apply(state.waiting(), Some(passage.unwrap_or(NOTHING)))?;
        if end {
            return Self::end(&state, len);
        }
        // What is held goes on at once when its message is whole, which may be more than the host's buffer takes.
        let is_short = || connection.held_len(Side::Server) <= HELD_LEN_MAX;
        // What is kept can be written only while the direction is paused, whatever its pace.
        let may_pause = |is_calm: bool| is_kept || (is_calm && is_short() && !plugin.has_tight_responses());
        match state {
            State::Opened if len == 0 => {
                self.state = State::Unspoken;
                return Ok(Action::HoldStreaming);
            }
            // The host let a callback through that it should have kept: the 101 must not wait for another.
            State::Opening => return Ok(Action::Forward),
            State::Busy | State::Opened | State::Unspoken if !may_pause(self.pace.has_calmed()) => {
                return Ok(Action::Forward);
            }
            State::Busy | State::Opened | State::Unspoken if len > 0 => {
                // It waits for the next turn of the event loop, and so may those of all other connections.
                let held = plugin.shared().worker.held();
                let is_between_frames = connection.is_between_frames(Side::Server);
                if !self.pace.may_keep(len, is_between_frames, held) || !plugin.wake(self.id) {
                    return Ok(Action::Forward);
                }
                let mut share = Share::new(Rc::clone(held));
                share.set(len);
                let chunk = Body::new(BufferType::ResponseBody, len);
                let bytes = chunk.copy(len)?;
                chunk.rewrite(&[], 0, &[])?;
                self.state = State::Waiting { bytes, _share: share };
                return Ok(Action::Hold);
            }
            State::Busy | State::Opened | State::Unspoken => {}
            State::Quiet { resumed: false } | State::Waiting { .. } if !may_pause(self.pace.is_calm()) => {
                return Ok(Action::Forward);
            }
            State::Quiet { .. } | State::Waiting { .. } => {
                if len > 0 {
                    abi::continue_stream(StreamType::Response)?;
                }
            }
        }
        self.state = State::Quiet { resumed: false };
        Ok(Action::Hold)
    }

    /// The stream ends behind the `len` bytes in the host's buffer: they must not wait, and nothing follows.
    fn end(state: &State, len: usize) -> Hosted<Action> {
        if len > 0 && matches!(state, State::Quiet { resumed: true }) {
            abi::continue_stream(StreamType::Response)?;
            return Ok(Action::Hold);
        }
        Ok(Action::Forward)
    }

    /// Writes what waits, and `bytes` behind it, outside of this direction's callback; it must be open.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Hosted<()> {
        // Until they are gone nothing can be written before them.
        let (waiting, then) = match core::mem::take(&mut self.state) {
            State::Unspoken => (Vec::new(), State::Unspoken),
            State::Waiting { bytes: waiting, .. } => (waiting, State::Quiet { resumed: true }),
            State::Busy | State::Opening | State::Opened | State::Quiet { .. } => {
                (Vec::new(), State::Quiet { resumed: true })
            }
        };
        abi::fill_buffer(BufferType::ResponseBody, &[&waiting, bytes].concat())?;
        abi::continue_stream(StreamType::Response)?;
        self.state = then;
        Ok(())
    }
}
