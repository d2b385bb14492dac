//! How long a worker judges what clients say before its other connections are heard, and what waits meanwhile.
//!
//! ```text
//! judging ── SLICE is used up ──▶ pause, as long as half of what it took ──▶ judging again: those who took least first
//! ```
//!
//! A turn lasts from one tick to the next: before each tick the host has heard of its other connections. Bytes are judged where they
//! come while there is time in it, and otherwise wait. A message is not divided, so a worker is kept for a slice and the message
//! in hand, and then for nothing: hearing a request, handing it to its server, hearing the answer and writing it are different
//! rounds of an event loop, and a slice between any two of them would be waited for each time.

use core::cell::{Cell, RefCell};
use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;

use crate::limits::rate::Rate;
use crate::limits::{HeldBytes, Share};
use crate::policy::BufferLimits;
use crate::time::Moment;

/// How long is judged in one turn, besides the message in hand: a burst of honest messages seldom takes longer, and what waits is lost where
/// its client closes the connection behind it.
const SLICE: Duration = Duration::from_millis(8);

/// How much of it brings the next tick near: where the event loop comes round within the rest, nobody waits.
const EARLY: Duration = Duration::from_millis(3);

/// The shortest pause.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest chunk that never waits unless bytes before it do, in bytes: what people type. It takes half a millisecond at most, where it
/// neither ends a message nor is compressed.
const SHORT_LEN: usize = 512;

/// The longest chunk that is judged in a pause as well, in bytes: what programs ask. It takes some milliseconds at most, likewise.
const MODEST_LEN: usize = 4_096;

/// For how long such are judged between two ticks.
const BREATH: Duration = Duration::from_millis(2);

/// How much is kept in one piece, in bytes.
const PIECE_LEN: usize = 65_536;

/// The part of what all connections may hold that may wait: the rest is there for messages that are not whole.
const ROOM_DIVISOR: u64 = 2;

/// What the host's buffer takes where the policy does not say that its limits are like the shipped ones: Envoy's default, in bytes.
const BUFFER_LEN: u64 = 1_048_576;

/// For how many connections there has to be room for a burst by the limits, so that their bytes wait at all.
const BURST_COUNT: u64 = 8;

/// How many bursts may wait, since a rate counts no headers of frames: a burst of messages in short fragments has half as much of them.
const HEADROOM: f64 = 1.5;

/// The time that a worker has spent.
#[derive(Debug, Default)]
pub struct Turn {
    spent: Cell<Duration>,
    /// How much of it since the last tick.
    spent_in_tick: Cell<Duration>,
    looked_at: Cell<Moment>,
    /// When the pause is over behind a slice that was used up.
    resumes_at: Cell<Moment>,
    /// What each stream took that waits.
    waiting: RefCell<BinaryHeap<Reverse<(Duration, u32)>>>,
}

impl Turn {
    /// Judging begins.
    pub fn begin(&self, now: Moment) {
        self.looked_at.set(now);
    }

    /// Judging has gone on until now.
    pub fn look(&self, now: Moment) {
        let was_over = self.is_over();
        let took = now.since(self.looked_at.replace(now));
        let spent = self.spent.get().saturating_add(took);
        self.spent.set(spent);
        self.spent_in_tick.set(self.spent_in_tick.get().saturating_add(took));
        // What is judged in a pause does not make it longer.
        if self.is_over() && !was_over {
            let pause = spent.checked_div(2).unwrap_or_default().max(PAUSE_MIN);
            self.resumes_at.set(now.saturating_add(pause));
        }
    }

    /// Whether `len` bytes of a client may be judged now; `is_laden`: however few they are, they may be much work.
    pub fn has_time(&self, len: usize, is_laden: bool) -> bool {
        let is_modest = len <= MODEST_LEN && !is_laden;
        !self.is_over() || is_modest && (len <= SHORT_LEN || self.spent_in_tick.get() < BREATH)
    }

    /// Whether others have to be heard first.
    pub fn is_over(&self) -> bool {
        self.spent.get() >= SLICE
    }

    /// Whether the next tick has to come soon.
    pub fn is_behind(&self) -> bool {
        self.spent.get() >= EARLY || !self.waiting.borrow().is_empty()
    }

    /// A tick: a new turn, where the last was not used up or the pause behind it is over.
    pub fn renew(&self, now: Moment) {
        self.spent_in_tick.set(Duration::ZERO);
        if !self.is_over() || now >= self.resumes_at.get() {
            self.spent.set(Duration::ZERO);
        }
    }

    /// Has `stream` wait, which has taken `spent`.
    pub fn queue(&self, stream: u32, spent: Duration) {
        self.waiting.borrow_mut().push(Reverse((spent, stream)));
    }

    /// The streams that wait, in the order of their turns; none of them does any more.
    pub fn take_waiting(&self) -> Vec<u32> {
        let mut waiting = self.waiting.take();
        core::iter::from_fn(|| waiting.pop()).map(|Reverse((_, stream))| stream).collect()
    }
}

/// Whether the bytes of connections with this rate may wait, of `held_len_max` that all of them hold. Nothing slows a sender down
/// whose bytes wait, so only what limits bound does. A burst must not be more than the host's buffer for a paused request takes.
#[must_use]
pub fn may_wait(rate: &Rate, held_len_max: u64, buffer_limits: BufferLimits) -> bool {
    let fits = match buffer_limits {
        BufferLimits::Default => rate.burst() <= BUFFER_LEN,
        BufferLimits::Halved => true,
    };
    fits && rate.burst().saturating_mul(BURST_COUNT) <= held_len_max / ROOM_DIVISOR
}

/// Why no more may wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Full {
    /// The client has sent more than its limits let it.
    TooMuch,
    /// All connections together hold too much.
    NoRoom,
}

/// Some of what waits.
#[derive(Debug)]
pub struct Piece {
    bytes: Vec<u8>,
    /// How much of it has been judged.
    start: usize,
}

impl Piece {
    /// What has not been judged.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// What of a client waits.
///
/// ```text
/// from the client ──▶ pieces ── judged ──▶ ready ──▶ to the server
/// ```
#[derive(Debug)]
pub struct Backlog {
    pieces: VecDeque<Piece>,
    /// How much has not been judged.
    len: usize,
    ready: Vec<u8>,
    ended: bool,
    share: Share,
    /// Since when something waits.
    since: Moment,
    spent: Duration,
}

impl Backlog {
    /// Nothing yet, of what all connections hold.
    #[must_use]
    pub fn new(held: Rc<HeldBytes>) -> Self {
        Self {
            pieces: VecDeque::new(),
            len: 0,
            ready: Vec::new(),
            ended: false,
            share: Share::new(held),
            since: Moment::default(),
            spent: Duration::ZERO,
        }
    }

    /// Whether anything waits: to be judged, or to go on.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0 && self.ready.is_empty() && !self.ended
    }

    /// Whether all of it has been judged.
    #[must_use]
    pub const fn is_judged(&self) -> bool {
        self.len == 0
    }

    /// How many bytes wait to be judged.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the next piece should be judged: behind an end nothing goes on before all of it is.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.ready.is_empty() || self.ended
    }

    /// How long judging it took.
    #[must_use]
    pub const fn spent(&self) -> Duration {
        self.spent
    }

    /// Whether nothing follows what waits.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether `more` bytes may wait, besides those that do, of which `rate` says how much its client may send.
    ///
    /// # Errors
    /// [`Full`].
    pub fn check(&self, more: usize, rate: &Rate, held_len_max: u64, now: Moment) -> Result<(), Full> {
        let waited = if self.is_empty() { Duration::ZERO } else { now.since(self.since) };
        let len = self.len.saturating_add(more);
        #[expect(clippy::cast_precision_loss, reason = "bytes, far below 2^53")]
        let (len, burst) = (len as f64, rate.burst() as f64);
        let is_too_much = len > burst * HEADROOM + rate.per_second() * waited.as_secs_f64();
        if is_too_much {
            return Err(Full::TooMuch);
        }
        if self.has_room(more, held_len_max) { Ok(()) } else { Err(Full::NoRoom) }
    }

    /// Whether there is room for `more` bytes to wait, whatever their client may send.
    #[must_use]
    pub fn has_room(&self, more: usize, held_len_max: u64) -> bool {
        // Pieces may have twice the capacity of what is in them.
        self.share.all().has_room(more.saturating_mul(2), held_len_max / ROOM_DIVISOR)
    }

    /// Has `bytes` wait behind what does, from `now` on; `end`: nothing follows them.
    pub fn push(&mut self, bytes: &[u8], end: bool, now: Moment) {
        if self.is_empty() {
            (self.since, self.spent) = (now, Duration::ZERO);
        }
        self.ended |= end;
        self.len = self.len.saturating_add(bytes.len());
        for part in bytes.chunks(PIECE_LEN) {
            match self.pieces.back_mut() {
                Some(last) if last.bytes.len().saturating_add(part.len()) <= PIECE_LEN => {
                    last.bytes.extend_from_slice(part);
                }
                Some(_) | None => self.pieces.push_back(Piece { bytes: part.to_vec(), start: 0 }),
            }
        }
        self.count();
    }

    /// Takes the next piece out, to be judged.
    pub fn take_piece(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.len = self.len.saturating_sub(piece.bytes().len());
        Some(piece)
    }

    /// A piece has been judged, but for its last `left` bytes, which took so long.
    pub fn put_back(&mut self, mut piece: Piece, left: usize, took: Duration) {
        self.spent = self.spent.saturating_add(took);
        if left > 0 {
            piece.start = piece.bytes.len().saturating_sub(left);
            self.len = self.len.saturating_add(left);
            self.pieces.push_front(piece);
        }
        self.count();
    }

    /// Has `bytes` go on behind what does.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.ready.extend_from_slice(bytes);
        self.count();
    }

    /// Whether bytes are ready to go on.
    #[must_use]
    pub const fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes at most `len_max` bytes that go on now.
    pub fn take_ready(&mut self, len_max: usize) -> Vec<u8> {
        let rest = if self.ready.len() > len_max { self.ready.split_off(len_max) } else { Vec::new() };
        let ready = core::mem::replace(&mut self.ready, rest);
        self.count();
        ready
    }

    fn count(&mut self) {
        let pieces_len = self.pieces.iter().map(|piece| piece.bytes.capacity()).sum::<usize>();
        self.share.set(pieces_len.saturating_add(self.ready.capacity()));
    }
}

#[cfg(test)]
mod tests;
