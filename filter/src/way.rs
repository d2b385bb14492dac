//! The way to the client: when it is kept so that a frame of our own can be written to it at any moment.
//!
//! No call of the ABI writes bytes out of turn, but a direction that is paused with an empty buffer can be written: fill
//! the buffer, then let it go on.
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
//! In `Quiet` a chunk is let go within its callback. `Busy` is the host streaming as always. Two things speak for it:
//!
//! - Before the callback of a quiet way the host appends the chunk to its own buffer, and resets the stream where that is
//!   beyond its limit. Within the shipped limits no chunk is that long; within Envoy's own, the first one of a fast server's
//!   flood most often is (seen: 183 of 200, over loopback). So where the policy does not say `buffer_limits: halved`, a way is quiet
//!   only while short chunks come, and never again once one came that the shipped limits rule out.
//! - What the host does for a paused direction costs some percent of a small message.
//!
//! Where the buffers are halved only the second one counts: a way is busy while many chunks come and the client speaks. However fast a
//! server was, the way is quiet when it falls silent, or its client stops reading.
//!
//! `Unspoken` has the same use without that danger, once: Envoy runs the callback over its own buffer where a whole response
//! was stopped with its headers, and goes on showing that buffer until the next chunk, which it does not append to it.
//!
//! What is written from outside a callback lets the host go on for good, although it may still append the next chunk to
//! its buffer. The callback that comes next lets the chunk go itself, whatever it is, and pauses again. (Envoy 1.40 passes the
//! chunk on where it does not, but nothing says that it must.)

use std::rc::Rc;

use crate::host::abi::{self, BufferType, Hosted, StreamType};
use crate::host::body::Body;
use crate::root::Root;
use crate::stream::Flow;
use portcullis_core::limits::Share;
use portcullis_core::policy::{BufferLimits, Policy};

/// How many bytes may pass within a second before a way is left to the host: a few messages of 64 KiB (the default limit of
/// clients), and an eighth of Envoy's default buffer limit, so that the client cannot have fallen behind by a whole one.
const STREAM_LEN: usize = 131_072;

/// How many chunks may pass within a second before a way is left to the host: beyond people who type and programs that report,
/// and few enough that at thousands of messages a second being quiet costs nothing that can be measured.
const CHUNK_COUNT_MAX: u32 = 128;

/// How many chunks come in a row before a client is taken for one that only listens: an answer may be some chunks long.
const LISTEN_COUNT: u32 = 8;

/// The longest chunk that makes a busy way quiet again, in bytes: it is copied, and Envoy reads in slices of 16 KiB, so a longer
/// one means that more is to come.
const SHORT_LEN_MAX: usize = 16_384;

/// What no chunk exceeds within the shipped limits, in bytes: the cluster's 131,072, and what Envoy reads at once behind that. Where the
/// policy says that the limits are halved they may be any.
const CHUNK_LEN_MAX: usize = 262_144;

/// The way to the client of one stream.
pub(crate) struct Way {
    /// The stream.
    id: u32,
    state: State,
    /// The second in which the last chunk came, how much has come since it began, and whether more than a quiet way takes came in
    /// the one before.
    second: u64,
    chunk_count: u32,
    passed_len: usize,
    was_fast: bool,
    /// How many chunks have come since the client spoke.
    heard_count: u32,
    buffer_limits: BufferLimits,
    /// How much the connections of this worker may hold.
    held_len_max: u64,
    /// A chunk came that the shipped limits rule out: one that is too long for a quiet way may follow.
    wide: bool,
}

/// What a way was when a callback began. Until that ends it is busy: nothing can be written, and where a step fails it is
/// not known what the host's buffer holds.
pub(crate) struct Turn(State);

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

impl Turn {
    /// What was kept until the stream is woken, and goes before what the callback is about.
    pub(crate) const fn waiting(&self) -> &[u8] {
        match &self.0 {
            State::Busy | State::Opening | State::Opened | State::Unspoken | State::Quiet { .. } => &[],
            State::Waiting { bytes, .. } => bytes.as_slice(),
        }
    }
}

impl Way {
    /// The way of a stream that is up, which the host streams.
    pub(crate) const fn new(id: u32) -> Self {
        Self {
            id,
            state: State::Busy,
            second: 0,
            chunk_count: 0,
            passed_len: 0,
            was_fast: false,
            heard_count: 0,
            buffer_limits: BufferLimits::Default,
            held_len_max: 0,
            wide: false,
        }
    }

    /// The 101 is there. It waits for the next turn of the event loop, so that the host runs a callback behind it.
    pub(crate) fn open(&mut self, root: &Root) -> Flow {
        if !root.wake(self.id) {
            return Flow::Forward;
        }
        self.state = State::Opening;
        Flow::Hold
    }

    /// Whether it can be written now.
    pub(crate) const fn is_open(&self) -> bool {
        match self.state {
            State::Busy | State::Opening | State::Opened => false,
            State::Unspoken | State::Quiet { .. } | State::Waiting { .. } => true,
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
    pub(crate) fn wake(&mut self, root: &Root) -> Hosted<()> {
        match self.state {
            State::Opening => {
                // Its callback comes before the stream is woken again, or not at all.
                self.state = if root.wake(self.id) { State::Opened } else { State::Busy };
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

    /// The client sent something.
    pub(crate) const fn answer(&mut self) {
        self.heard_count = 0;
    }

    /// A callback begins that was told of `len` bytes.
    pub(crate) fn receive(&mut self, root: &Root, len: usize, policy: &Policy) -> Turn {
        let buffer_limits = policy.buffer_limits;
        (self.buffer_limits, self.held_len_max) = (buffer_limits, policy.limits.held_len_max);
        if self.second != root.second() {
            self.was_fast = self.is_fast() && root.second().wrapping_sub(self.second) == 1;
            (self.second, self.chunk_count, self.passed_len) = (root.second(), 0, 0);
        }
        self.chunk_count = self.chunk_count.saturating_add(1);
        self.passed_len = self.passed_len.saturating_add(len);
        self.heard_count = self.heard_count.saturating_add(1);
        self.wide |= len > CHUNK_LEN_MAX && buffer_limits == BufferLimits::Default;
        Turn(core::mem::take(&mut self.state))
    }

    /// The callback ends with `len` bytes in the host's buffer, which go on; `is_between_frames` behind them.
    pub(crate) fn pass(&mut self, root: &Root, turn: Turn, len: usize, is_between_frames: bool) -> Hosted<Flow> {
        let may_be_quiet = !(self.wide || self.is_fast() || root.is_tight(StreamType::Response));
        match turn.0 {
            State::Opened if len == 0 => {
                self.state = State::Unspoken;
                return Ok(Flow::HoldStreaming);
            }
            // The host let a callback through that it should have kept: the 101 must not wait for another.
            State::Opening => return Ok(Flow::Forward),
            State::Busy | State::Opened | State::Unspoken if !may_be_quiet || self.was_fast => {
                return Ok(Flow::Forward);
            }
            State::Busy | State::Opened | State::Unspoken if len > 0 => {
                let is_worth = match self.buffer_limits {
                    BufferLimits::Default => len <= SHORT_LEN_MAX && is_between_frames,
                    BufferLimits::Halved => true,
                };
                // It waits for the next turn of the event loop, and so may those of all other connections.
                let held = &root.shared().held;
                if !is_worth || !held.has_room(len, self.held_len_max) || !root.wake(self.id) {
                    return Ok(Flow::Forward);
                }
                let mut share = Share::new(Rc::clone(held));
                share.set(len);
                let chunk = Body::new(BufferType::ResponseBody, len);
                let bytes = chunk.copy(len)?;
                chunk.rewrite(&[], 0, &[])?;
                self.state = State::Waiting { bytes, _share: share };
                return Ok(Flow::Hold);
            }
            State::Busy | State::Opened | State::Unspoken => {}
            State::Quiet { resumed: false } | State::Waiting { .. } if !may_be_quiet => {
                return Ok(Flow::Forward);
            }
            State::Quiet { .. } | State::Waiting { .. } => {
                if len > 0 {
                    abi::continue_stream(StreamType::Response)?;
                }
            }
        }
        self.state = State::Quiet { resumed: false };
        Ok(Flow::Hold)
    }

    /// More has come in this second than a quiet way takes.
    const fn is_fast(&self) -> bool {
        let is_many = self.chunk_count > CHUNK_COUNT_MAX;
        match self.buffer_limits {
            BufferLimits::Default => is_many || self.passed_len > STREAM_LEN,
            BufferLimits::Halved => is_many && self.heard_count < LISTEN_COUNT,
        }
    }

    /// The stream ends behind the `len` bytes in the host's buffer: they must not wait, and nothing follows.
    pub(crate) fn end(turn: &Turn, len: usize) -> Hosted<Flow> {
        if len > 0 && matches!(turn.0, State::Quiet { resumed: true }) {
            abi::continue_stream(StreamType::Response)?;
            return Ok(Flow::Hold);
        }
        Ok(Flow::Forward)
    }

    /// Writes what waits, and `bytes` behind it, outside of the way's own callback; it must be open.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Hosted<()> {
        // Until they are gone nothing can be written before them.
        let (waiting, then) = match core::mem::take(&mut self.state) {
            State::Unspoken => (Vec::new(), State::Unspoken),
            State::Waiting { bytes: waiting, .. } => (waiting, State::Quiet { resumed: true }),
            State::Busy | State::Opening | State::Opened | State::Quiet { .. } => {
                (Vec::new(), State::Quiet { resumed: true })
            }
        };
        abi::set_buffer(BufferType::ResponseBody, 0, 0, &[&waiting, bytes].concat())?;
        abi::continue_stream(StreamType::Response)?;
        self.state = then;
        Ok(())
    }
}
