//! A live connection, from the 101 to its end: headers and Close frames are judged, other payload passes unread
//! (RFC 6455 §5, §7).
//!
//! ```text
//!         receive: no fault           receive: fault, refuse()
//!   Open ───────────────────▶ Open ──────────────────────────▶ Closing ── time_to_end ──▶ reset
//!                              └── monitor ──▶ Unjudged
//! ```
//!
//! A frame's header, and the whole of a Close frame, is held back until it is whole and judged, so a verdict always falls between two frames, nothing of
//! a refused frame moves on, and what was forwarded before is never half a frame. In `Closing` each way gets one Close
//! as soon as it stands between two frames; everything else is dropped.

use core::time::Duration;
use std::rc::Rc;

use crate::message::{MessageRules, Reassembly};
use crate::policy::{Mode, Place, Policies, Policy};
use crate::verdict::{Held, Passage};
use crate::violation::Violation;
use crate::wire::close::{BAD_GATEWAY, check_payload, close_frame};
use crate::wire::header::{FrameHeader, HEADER_LEN_MAX, Opcode};
use crate::wire::{Chunk, Side, Unreadable};

/// How long the peers may take to end a connection after our Close, before it is reset. RFC 6455 §7.1.1 leaves it open;
/// a round trip to anywhere fits many times, and a refused peer holds no connection for longer.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the closing handshake of the peers themselves may take: the answer to a Close may have to wait for the rest of a
/// long message, and other implementations give it 10 to 30 seconds.
pub const PEER_CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// One WebSocket connection.
#[derive(Debug)]
pub struct Session {
    place: Place,
    policy: Rc<Policy>,
    from_client: Direction,
    from_server: Direction,
    state: State,
}

#[derive(Debug)]
enum State {
    Open,
    /// In monitor mode, after the first violation: a refused connection would have ended there.
    Unjudged,
    Closing(Closing),
}

#[derive(Debug)]
struct Closing {
    violation: Violation,
    /// The close code that the client still has to get.
    to_client: Option<u16>,
    /// The close code that the server still has to get.
    to_server: Option<u16>,
}

/// What came of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Received {
    /// What of it goes on.
    pub passage: Passage,
    /// The violation that was found in it; in monitor mode it passed all the same.
    pub violation: Option<Violation>,
}

impl Session {
    pub(crate) fn new(policy: Rc<Policy>, place: Place) -> Self {
        Self { place, policy, from_client: Direction::default(), from_server: Direction::default(), state: State::Open }
    }

    /// The policy that this connection is under.
    #[must_use]
    pub const fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// Puts the connection under other policies, from its next bytes on.
    pub fn adopt(&mut self, policies: &Policies) {
        self.policy = Rc::clone(policies.select(&self.place));
    }

    /// How long the connection may take to end, from the moment on when this changes; `None` while it is open.
    #[must_use]
    pub const fn time_to_end(&self) -> Option<Duration> {
        match &self.state {
            State::Closing(_) => Some(CLOSE_TIMEOUT),
            State::Open | State::Unjudged if self.from_client.closed || self.from_server.closed => {
                Some(PEER_CLOSE_TIMEOUT)
            }
            State::Open | State::Unjudged => None,
        }
    }

    /// Why we are closing this connection, where we are.
    #[must_use]
    pub const fn violation(&self) -> Option<Violation> {
        match &self.state {
            State::Open | State::Unjudged => None,
            State::Closing(closing) => Some(closing.violation),
        }
    }

    /// Takes the next bytes of one side.
    ///
    /// # Errors
    /// [`Unreadable`] when the host does not give out the bytes; nothing of the chunk may then be forwarded.
    pub fn receive<C: Chunk + ?Sized>(&mut self, from: Side, chunk: &C) -> Result<Received, Unreadable> {
        match &self.state {
            State::Unjudged => {
                let before = core::mem::take(&mut self.direction_mut(from).held);
                Ok(Received::pass(before, chunk.len()))
            }
            State::Closing(_) => {
                let keep = self.direction_mut(from).finish_frame(chunk.len());
                Ok(Received::pass(Held::default(), keep))
            }
            State::Open => {
                let rules = match from {
                    Side::Client => self.policy.from_client,
                    Side::Server => self.policy.from_server,
                };
                let mut received = self.direction_mut(from).scan(from, chunk, &rules)?;
                match (received.violation, self.policy.mode) {
                    (None, _) => {}
                    (Some(violation), Mode::Enforce) => self.refuse(violation, Some(from)),
                    (Some(_), Mode::Monitor) => {
                        self.state = State::Unjudged;
                        // Bytes are held from before this chunk only while none of its frames has been whole.
                        if received.passage.before.as_slice().is_empty() {
                            received.passage.before = core::mem::take(&mut self.direction_mut(from).held);
                        }
                        received.passage.keep = chunk.len();
                    }
                }
                Ok(received)
            }
        }
    }

    /// Ends the connection for `violation`; the first verdict sticks.
    ///
    /// The offender gets the violation's close code, and so does the server behind a refused client. A client whose
    /// server broke the rules gets 1014.
    pub fn refuse(&mut self, violation: Violation, offender: Option<Side>) {
        if matches!(self.state, State::Closing(_)) {
            return;
        }
        let code = violation.answer().close_code.unwrap_or(INTERNAL_ERROR);
        let to_client = if offender == Some(Side::Server) { BAD_GATEWAY } else { code };
        self.state = State::Closing(Closing {
            violation,
            // Who has had a Close from his peer gets no second one (RFC 6455 §5.5.1).
            to_client: (!self.from_server.closed).then_some(to_client),
            to_server: (!self.from_client.closed).then_some(code),
        });
    }

    /// The Close frame that is due towards `to`, once: to be written behind everything forwarded on that way so far.
    ///
    /// `None` while nothing is due, or while that way stands in the middle of a frame. `mask` must be fresh and
    /// unpredictable; it is used only towards the server.
    pub fn transmit(&mut self, to: Side, mask: [u8; 4]) -> Option<Vec<u8>> {
        if !self.is_between_frames(to.peer()) {
            return None;
        }
        let State::Closing(closing) = &mut self.state else { return None };
        let due = match to {
            Side::Client => &mut closing.to_client,
            Side::Server => &mut closing.to_server,
        };
        due.take().map(|code| close_frame(to, code, closing.violation.reason(), mask))
    }

    /// Whether everything that has come from `from` ended with its frame.
    #[must_use]
    pub const fn is_between_frames(&self, from: Side) -> bool {
        self.direction(from).payload_left == 0
    }

    const fn direction(&self, from: Side) -> &Direction {
        match from {
            Side::Client => &self.from_client,
            Side::Server => &self.from_server,
        }
    }

    const fn direction_mut(&mut self, from: Side) -> &mut Direction {
        match from {
            Side::Client => &mut self.from_client,
            Side::Server => &mut self.from_server,
        }
    }
}

/// `1011` (RFC 6455 §7.4.1): what a violation without a close code of its own ends a live connection with.
const INTERNAL_ERROR: u16 = 1011;

impl Received {
    const fn pass(before: Held, keep: usize) -> Self {
        Self { passage: Passage { before, keep }, violation: None }
    }
}

/// The bytes of one side, frame by frame.
#[derive(Debug, Default)]
struct Direction {
    /// The start of a frame header or of a Close frame, held back until it is whole.
    held: Held,
    /// Payload of the frame in hand that has not come yet.
    payload_left: u64,
    messages: Reassembly,
    /// A Close has passed.
    closed: bool,
}

impl Direction {
    /// Goes through a chunk header by header.
    fn scan<C: Chunk + ?Sized>(&mut self, from: Side, chunk: &C, rules: &MessageRules) -> Result<Received, Unreadable> {
        let mut before = Held::default();
        let mut keep = 0_usize;
        loop {
            keep = keep.saturating_add(self.finish_frame(chunk.len().saturating_sub(keep)));
            // Bytes behind a Close are no WebSocket data any more (RFC 6455 §5.5.1).
            if keep >= chunk.len() || self.closed {
                return Ok(Received::pass(before, keep));
            }
            let held_len = self.held.as_slice().len();
            let start = Start::read(&self.held, chunk, keep, from)?;
            let judged = start.judge().and_then(|unit| match unit {
                Some(unit) => self.messages.receive(&unit.header, rules).map(|()| Some(unit)),
                None => Ok(None),
            });
            match judged {
                Ok(Some(unit)) => {
                    if held_len > 0 {
                        before = core::mem::take(&mut self.held);
                    }
                    keep = keep.saturating_add(unit.len.saturating_sub(held_len));
                    self.closed = unit.header.opcode == Opcode::Close;
                    self.payload_left = if self.closed { 0 } else { unit.header.payload_len };
                }
                Ok(None) => {
                    self.held = Held::new(start.bytes, start.len);
                    return Ok(Received::pass(before, keep));
                }
                Err(violation) => {
                    return Ok(Received { passage: Passage { before, keep }, violation: Some(violation) });
                }
            }
        }
    }

    /// How many of the next `available` bytes belong to the frame in hand.
    fn finish_frame(&mut self, available: usize) -> usize {
        let count = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(available);
        self.payload_left = self.payload_left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        count
    }
}

/// The start of a frame: its header, and of a Close frame everything.
struct Start {
    bytes: [u8; Held::LEN_MAX],
    len: usize,
    header: Result<Option<FrameHeader>, Violation>,
}

/// What is judged before it moves on.
struct Unit {
    header: FrameHeader,
    /// The length of the header, of a Close the length of the frame.
    len: usize,
}

impl Start {
    /// Reads on in `chunk` from `offset`, behind what is `held` already.
    fn read<C: Chunk + ?Sized>(held: &Held, chunk: &C, offset: usize, from: Side) -> Result<Self, Unreadable> {
        let held = held.as_slice();
        let mut start = Self { bytes: [0; Held::LEN_MAX], len: held.len(), header: Ok(None) };
        for (place, byte) in start.bytes.iter_mut().zip(held) {
            *place = *byte;
        }
        start.fill(HEADER_LEN_MAX, held.len(), chunk, offset)?;
        start.header = FrameHeader::decode(start.as_slice(), from);
        if let Ok(Some(header)) = start.header
            && header.opcode == Opcode::Close
        {
            start.fill(frame_len(&header), held.len(), chunk, offset)?;
        }
        Ok(start)
    }

    /// Takes bytes from the chunk until there are `wanted`, or no more come.
    fn fill<C: Chunk + ?Sized>(
        &mut self,
        wanted: usize,
        held_len: usize,
        chunk: &C,
        offset: usize,
    ) -> Result<(), Unreadable> {
        let taken = self.len.saturating_sub(held_len);
        if let Some(place) = self.bytes.get_mut(self.len..wanted).filter(|place| !place.is_empty()) {
            self.len = self.len.saturating_add(chunk.read(offset.saturating_add(taken), place)?);
        }
        Ok(())
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The unit, once it is whole and good.
    fn judge(&self) -> Result<Option<Unit>, Violation> {
        let Some(header) = self.header? else { return Ok(None) };
        if header.opcode != Opcode::Close {
            return Ok(Some(Unit { header, len: header.header_len }));
        }
        let len = frame_len(&header);
        let Some(payload) = self.as_slice().get(header.header_len..len) else { return Ok(None) };
        let key = header.mask.unwrap_or_default();
        let payload: Vec<u8> = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        check_payload(&payload)?;
        Ok(Some(Unit { header, len }))
    }
}

/// The length of a control frame.
fn frame_len(header: &FrameHeader) -> usize {
    header.header_len.saturating_add(usize::try_from(header.payload_len).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
