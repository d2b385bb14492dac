//! The bytes of one side, frame by frame (RFC 6455 §5): when each may go on.
//!
//! ```text
//! depth     when                                a frame goes on
//! headers   no payload is read                  from its header on, as it comes
//! streaming its payload is read                 when it is whole, or, beyond FRAME_LEN_MAX, piece by judged piece
//! whole     rules.whole, and texts with rules   with the last frame of its message
//! ```
//!
//! While a message begins as another protocol may, nothing of it goes on at any depth.
//!
//! Pings and pongs never wait, not even for a message that is held. A Close waits until it is whole.

mod control;
mod excess;
mod header;
mod overlook;
mod reading;
mod reload;

use super::pace::Pace;
use super::payload::{Judging, Payload};
use super::received::Received;
use super::scan::Scan;
use super::terms::Terms;
use crate::content::Judged;
use crate::content::credential::Search;
use crate::limits::Blocks;
use crate::message::Reassembly;
use crate::refusal::Refusal;
use crate::telemetry::Counts;
use crate::time::Moment;
use crate::violation::Violation;
use crate::wire::deflate::Inflater;
use crate::wire::header::{FrameHeader, Framing, Opcode};
use crate::wire::{Chunk, Side, Unreadable};
use reading::Reading;

/// The longest frame that streaming holds until it is whole, in bytes of payload: the default of `max_frame_bytes`. A longer
/// one would hold more memory than a connection is worth; a violation within it leaves the other side half a frame.
const FRAME_LEN_MAX: u64 = 65_536;

/// How much of each is held without asking, in bytes: a control frame (139), or what may begin another protocol in a dozen fragments.
const HELD_LEN_FREE: usize = 256;

/// How much is read of whole messages, in bytes, before [`Budget::goes_on`](super::Budget::goes_on) is asked: some milliseconds of work at most.
const STEP_LEN: usize = 4_096;

/// What a message counts for there beside its bytes.
const MESSAGE_LEN: usize = 64;

/// One side's half of a connection.
#[derive(Debug)]
pub(super) struct Direction {
    framing: Framing,
    /// The frames of an unfinished message that waits to be whole.
    message_held: Blocks,
    /// The frame or header in hand, as much of it as waits.
    frame_held: Blocks,
    frame: Option<Frame>,
    messages: Reassembly,
    /// Whether the message in hand waits to be whole.
    whole: bool,
    /// Binary messages that the last text announced, and that have not come.
    attachments: u32,
    /// The payload of the message in hand, where it is read.
    payload: Option<Payload>,
    inflater: Option<Box<Inflater>>,
    /// A Close has passed.
    closed: bool,
    /// The code of its Close, where that has one.
    close_code: Option<u16>,
    /// Half a frame has passed, and the rest never will.
    severed: bool,
    /// The message in hand is too much, and goes nowhere.
    swallowed: bool,
    /// The header in hand follows no rules: only the length of its frame is read.
    lax: bool,
    /// The rest of the message in hand is not judged.
    overlooked: bool,
    /// The message in hand began as a binary one.
    is_binary: bool,
    /// What of the message in hand was asked to be read when it began.
    reading: Reading,
    /// Since when it goes by other rules, which want more of it.
    straddles_since: Option<Moment>,
    /// A compressed message has begun, which later ones may refer to.
    deflated: bool,
    pace: Pace,
    /// When the last part of a message came.
    message_at: Moment,
    /// When the first byte came of the frame or message in hand.
    unfinished_since: Option<Moment>,
    found: Found,
}

/// A frame whose header has been read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    header: FrameHeader,
    /// Payload that has not come yet.
    left: u64,
    /// Its start has gone on.
    passing: bool,
    /// It is too much, and goes nowhere.
    swallowed: bool,
}

/// What came of a chunk, besides what goes on.
#[derive(Debug, Default)]
struct Found {
    /// How many Pongs were for us.
    pongs: u32,
    /// What began in it.
    counts: Counts,
    /// How much was read of whole messages since [`Budget::goes_on`](super::Budget::goes_on) was asked.
    read_len: usize,
    /// How many bytes at the end of the chunk have to wait.
    left: usize,
}

/// Why a scan stopped.
enum Fault {
    Refusal(Refusal),
    Unreadable,
}

impl From<Unreadable> for Fault {
    fn from(Unreadable: Unreadable) -> Self {
        Self::Unreadable
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Refusal(violation.into())
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl Direction {
    /// `inflater` reads compressed messages; without one they pass unread, where `framing` allows them at all.
    pub(super) fn new(framing: Framing, inflater: Option<Box<Inflater>>, opened_at: Moment) -> Self {
        Self {
            framing,
            message_held: Blocks::default(),
            frame_held: Blocks::default(),
            frame: None,
            messages: Reassembly::new(),
            whole: false,
            attachments: 0,
            payload: None,
            inflater,
            closed: false,
            close_code: None,
            severed: false,
            swallowed: false,
            lax: false,
            overlooked: false,
            is_binary: false,
            reading: Reading::default(),
            straddles_since: None,
            deflated: false,
            pace: Pace::default(),
            message_at: opened_at,
            unfinished_since: None,
            found: Found::default(),
        }
    }

    /// Judges a chunk.
    #[inline]
    pub(super) fn receive<C: Chunk + ?Sized>(&mut self, chunk: &C, terms: &Terms<'_>) -> Result<Received, Unreadable> {
        self.found = Found::default();
        let ping = if self.is_between_frames() { terms.ping.take() } else { None };
        let mut scan = Scan::new(chunk);
        let refusal = loop {
            match self.scan(&mut scan, terms) {
                Ok(()) => break None,
                Err(Fault::Unreadable) => return Err(Unreadable),
                Err(Fault::Refusal(refusal)) => match terms.docket.find(refusal) {
                    Err(refusal) => break Some(refusal),
                    Ok(()) => self.overlook(&mut scan, terms)?,
                },
            }
        };
        let (violation, cause) = refusal.map(|Refusal { violation, cause }| (violation, cause)).unzip();
        if violation.is_none() && self.closed && terms.docket.passes(Violation::ProtocolError) {
            scan.advance(scan.left());
            scan.pass(self.take_held())?;
        } else if violation.is_some() || self.closed {
            // A message that is begun and not finished before a Close is no message.
            self.message_held = Blocks::default();
        }
        let mut passage = scan.into_passage();
        if let Some(ping) = ping {
            passage.before.splice(..0, ping);
        }
        let swallowed = self.pace.has_swallowed();
        Ok(Received { passage, violation, cause: cause.flatten(), overlooked: Vec::new(), swallowed })
    }

    /// The code of its Close.
    pub(super) const fn close_code(&self) -> Option<u16> {
        self.close_code
    }

    /// What began in the last chunk.
    #[inline]
    pub(super) const fn counts(&self) -> &Counts {
        &self.found.counts
    }

    /// How many answers to pings of ours the last chunk held.
    pub(super) const fn pong_count(&self) -> u32 {
        self.found.pongs
    }

    /// How many bytes at the end of the last chunk have to wait.
    pub(super) const fn left(&self) -> usize {
        self.found.left
    }

    /// When the last part of a message came.
    pub(super) const fn message_at(&self) -> Moment {
        self.message_at
    }

    /// Whether messages are inflated.
    pub(super) const fn inflates(&self) -> bool {
        self.inflater.is_some()
    }

    /// When the first byte came of the frame or message in hand.
    pub(super) const fn unfinished_since(&self) -> Option<Moment> {
        self.unfinished_since
    }

    /// What is held, in the order in which it came: nothing is judged any more.
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        let mut held = self.message_held.take();
        held.append(&mut self.frame_held.take());
        held
    }

    /// How many of the next `len` bytes belong to a frame whose start has gone on: the rest is dropped.
    pub(super) fn finish_frame(&mut self, len: usize) -> usize {
        self.found.counts = Counts::default();
        let Some(frame) = self.frame.as_mut().filter(|frame| frame.passing && !self.severed) else { return 0 };
        let len = usize::try_from(frame.left).unwrap_or(usize::MAX).min(len);
        frame.left = frame.left.saturating_sub(len as u64);
        if frame.left == 0 {
            self.frame = None;
        }
        len
    }

    /// Nothing that has gone on has reached the other side, nor will it.
    pub(super) fn retract(&mut self) {
        if let Some(frame) = &mut self.frame {
            frame.passing = false;
        }
        self.closed = false;
    }

    /// Nothing is judged any more: what is held is dropped, and all memory freed at once. Of the side that broke the rules not even the
    /// frame in hand goes on.
    pub(super) fn stop(&mut self, offender: Option<Side>) {
        self.severed |= offender == Some(self.framing.from) && !self.is_between_frames();
        self.message_held = Blocks::default();
        self.frame_held = Blocks::default();
        self.payload = None;
        self.inflater = None;
    }

    /// Whether what has gone on so far ends with a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        !self.severed && self.frame.is_none_or(|frame| !frame.passing)
    }

    /// How much is held of the message in hand.
    pub(super) fn held_len(&self) -> usize {
        self.message_held.len().saturating_add(self.frame_held.len())
    }

    /// Whether a Close has gone on.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether it holds no memory, as between the messages of most connections.
    #[inline]
    pub(super) fn is_bare(&self) -> bool {
        let Self { payload, inflater, message_held, frame_held, pace, .. } = self;
        payload.is_none()
            && inflater.is_none()
            && message_held.capacity() == 0
            && frame_held.capacity() == 0
            && pace.memory_len() == 0
    }

    /// The memory that is held, in bytes.
    pub(super) fn memory_len(&self) -> usize {
        let held_len = self.message_held.capacity().saturating_add(self.frame_held.capacity());
        let text_len = self.payload.as_ref().map_or(0, Payload::memory_len);
        held_len.saturating_add(text_len).saturating_add(self.unasked_len()).saturating_add(self.pace.memory_len())
    }

    /// What of it messages are inflated in: nobody asks for it before.
    pub(super) fn unasked_len(&self) -> usize {
        self.inflater.as_ref().map_or(0, |inflater| inflater.memory_len())
    }

    /// Whether nothing of the message in hand may go on yet.
    fn is_held(&self) -> bool {
        self.whole || self.payload.as_ref().is_some_and(Payload::is_undecided)
    }

    /// What is held of the message in hand.
    fn take_message(&mut self) -> Vec<u8> {
        if self.message_held.is_empty() { self.frame_held.take() } else { self.take_held() }
    }

    fn scan<C: Chunk + ?Sized>(&mut self, scan: &mut Scan<'_, C>, terms: &Terms<'_>) -> Result<(), Fault> {
        // Bytes behind a Close are no WebSocket data any more (RFC 6455 §5.5.1).
        while scan.left() > 0 && !self.closed {
            if self.unfinished_since.is_none() {
                self.unfinished_since = Some(terms.now);
            }
            match self.frame {
                Some(frame) => self.read_payload(scan, frame, terms)?,
                None => self.read_header(scan, terms)?,
            }
        }
        if scan.undecided() == 0 {
            return Ok(());
        }
        let fits = self.fits(&self.frame_held, terms);
        if self.frame_held.reserve(scan.undecided(), &fits) {
            self.frame_held.extend(scan.take_undecided()?);
            return Ok(());
        }
        let is_held = self.is_held();
        match &mut self.frame {
            Some(frame) if !(is_held || frame.header.opcode.is_control()) => frame.passing = true,
            Some(_) | None => return Err(Violation::Overloaded.into()),
        }
        let held = self.take_message();
        Ok(scan.pass(held)?)
    }

    /// Whether `blocks`, one of those of this direction, may take so much memory. Little they may in any case: headers, control frames, and
    /// the first bytes of a message.
    fn fits<'a>(&self, blocks: &Blocks, terms: &'a Terms<'_>) -> impl Fn(usize) -> bool + use<'a> {
        let others_len = self.memory_len().saturating_sub(blocks.capacity());
        let fits = terms.fits;
        move |len| len <= HELD_LEN_FREE || fits(others_len.saturating_add(len))
    }

    fn is_judged(&self) -> bool {
        self.payload.as_ref().is_some_and(Payload::is_judged)
    }

    /// Goes on with the frame in hand, which is `frame` by now: as much of it as has come.
    fn go_on<C: Chunk + ?Sized>(
        &mut self,
        scan: &mut Scan<'_, C>,
        frame: &Frame,
        terms: &Terms<'_>,
    ) -> Result<(), Fault> {
        if let Some(own) = &mut self.frame {
            // Its header stays what it was.
            (own.left, own.passing, own.swallowed) = (frame.left, frame.passing, frame.swallowed);
        }
        if frame.left == 0 { self.end_frame(scan, frame, terms) } else { Ok(()) }
    }

    fn read_payload<C: Chunk + ?Sized>(
        &mut self,
        scan: &mut Scan<'_, C>,
        mut frame: Frame,
        terms: &Terms<'_>,
    ) -> Result<(), Fault> {
        let mut len = usize::try_from(frame.left).unwrap_or(usize::MAX).min(scan.left());
        let is_data = !frame.header.opcode.is_control();
        if frame.swallowed {
            scan.advance(len);
            scan.skip();
            frame.left = frame.left.saturating_sub(len as u64);
            return self.go_on(scan, &frame, terms);
        }
        if is_data {
            self.message_at = self.message_at.max(terms.now);
        }
        let memory_len = if is_data && self.payload.is_some() { self.memory_len() } else { 0 };
        if let Some(payload) = &mut self.payload
            && is_data
        {
            let others_len = memory_len.saturating_sub(payload.memory_len());
            len = len.min(payload.read_len());
            let inflater = self.inflater.as_deref_mut();
            let fits = |len: usize| (terms.fits)(others_len.saturating_add(len));
            let judging = Judging { conversation: terms.conversation, docket: terms.docket, fits: &fits };
            let received = payload.receive(scan.peek(len)?, inflater, &judging);
            let (is_judged, is_lost) = (payload.is_judged(), payload.is_lost());
            if payload.is_settled() {
                self.payload = None;
            }
            if let Err(refusal) = received {
                if !is_judged || terms.docket.passes(refusal.violation) {
                    scan.advance(len);
                    self.frame = Some(Frame { left: frame.left.saturating_sub(len as u64), ..frame });
                    if is_lost {
                        self.lose_inflater();
                    }
                }
                return if is_judged { Err(refusal.into()) } else { Ok(self.overlook(scan, terms)?) };
            }
        }
        scan.advance(len);
        frame.left = frame.left.saturating_sub(len as u64);
        let piecemeal = !self.is_judged() || frame.header.payload_len > FRAME_LEN_MAX;
        if frame.left > 0 && (frame.passing || (is_data && piecemeal && !self.is_held())) {
            frame.passing = true;
            let held = if is_data { self.take_message() } else { self.frame_held.take() };
            scan.pass(held)?;
        }
        self.go_on(scan, &frame, terms)
    }

    fn end_frame<C: Chunk + ?Sized>(
        &mut self,
        scan: &mut Scan<'_, C>,
        frame: &Frame,
        terms: &Terms<'_>,
    ) -> Result<(), Fault> {
        let FrameHeader { fin, opcode, .. } = frame.header;
        if frame.swallowed {
            self.leave_frame();
            return Ok(());
        }
        match opcode {
            Opcode::Close => {
                self.check_close(scan, &frame.header)?;
                self.closed = true;
                if terms.is_closing {
                    self.swallow_frame(scan);
                    return Ok(());
                }
            }
            Opcode::Pong if !frame.passing && self.is_for_us(scan, &frame.header, terms)? => {
                self.found.pongs = self.found.pongs.saturating_add(1);
                self.swallow_frame(scan);
                return Ok(());
            }
            Opcode::Ping | Opcode::Pong | Opcode::Reserved => {}
            Opcode::Binary | Opcode::Continuation | Opcode::Text => {
                if fin {
                    if let Some(countdown) = terms.countdown {
                        countdown.set(countdown.get().wrapping_sub(1));
                        if countdown.get() == 0 {
                            self.sample_len(terms);
                        }
                    }
                    if self.payload.is_some() && !self.end_message(scan, terms)? {
                        return Ok(());
                    }
                }
                if self.is_held() && !fin && !frame.passing {
                    if self.message_held.is_empty() {
                        core::mem::swap(&mut self.message_held, &mut self.frame_held);
                    }
                    let fits = self.fits(&self.message_held, terms);
                    let more = self.frame_held.len().saturating_add(scan.undecided());
                    if !self.message_held.reserve(more, &fits) {
                        return Err(Violation::Overloaded.into());
                    }
                    self.message_held.append(&mut self.frame_held);
                    self.message_held.extend(scan.take_undecided()?);
                } else if !self.message_held.is_empty() {
                    let message = self.take_held();
                    scan.pass(message)?;
                }
            }
        }
        self.leave_frame();
        if scan.undecided() > 0 || !self.frame_held.is_empty() {
            scan.pass(self.frame_held.take())?;
        }
        // The way stood in the middle of this frame, and does no longer.
        if let Some(ping) = terms.ping.take() {
            scan.insert(&ping);
        }
        // Nothing is judged behind a credential before that is known.
        if terms.search.is_some_and(Search::has_token) {
            self.found.left = scan.cut();
        } else if self.found.read_len >= STEP_LEN {
            self.found.read_len = 0;
            if !terms.budget.goes_on() {
                self.found.left = scan.cut();
            }
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn sample_len(&self, terms: &Terms<'_>) {
        terms.budget.sample_len(self.framing.from, self.messages.message_len());
    }

    /// The message in hand has ended, of which something was read. Gives whether it goes on.
    #[inline(never)]
    fn end_message<C: Chunk + ?Sized>(&mut self, scan: &mut Scan<'_, C>, terms: &Terms<'_>) -> Result<bool, Fault> {
        if !self.is_judged() {
            self.finish_unjudged();
        }
        let Some(payload) = self.payload.take() else { return Ok(true) };
        let is_compressed = payload.is_compressed();
        self.found.read_len = self.found.read_len.saturating_add(payload.plain_len()).saturating_add(MESSAGE_LEN);
        match payload.finish(self.inflater.as_deref_mut(), terms, self.attachments) {
            Ok(Judged { kinds, folds, attachments }) => {
                let excess = kinds.iter().find_map(|kind| self.take_type(kind, folds, terms).err());
                if let Some(excess) = excess
                    && self.exceed(scan, excess, terms)?
                {
                    return Ok(false);
                }
                self.attachments = attachments;
                let is_swallowed = terms.search.is_some_and(Search::is_swallowed);
                if is_swallowed {
                    self.swallow_message(scan);
                    self.found.left = scan.cut();
                }
                Ok(!is_swallowed)
            }
            Err(refusal) => {
                if is_compressed && refusal.violation == Violation::InvalidDeflate {
                    self.lose_inflater();
                }
                Err(refusal.into())
            }
        }
    }

    /// The frame in hand has ended, and its message perhaps.
    fn leave_frame(&mut self) {
        self.frame = None;
        if !self.messages.is_open() {
            self.unfinished_since = None;
            self.straddles_since = None;
            self.overlooked = false;
        }
    }
}

#[cfg(test)]
mod tests;
