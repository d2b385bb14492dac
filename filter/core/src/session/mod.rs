//! A live connection, from the 101 to its end (RFC 6455 §5, §7).
//!
//! ```text
//!         receive: no fault           receive: fault, refuse()
//!   Open ───────────────────▶ Open ──────────────────────────▶ Closing ── time_to_end ──▶ reset
//!                              └── monitor ──▶ Unjudged
//! ```
//!
//! What is judged waits until it has been: a header always, a frame or a message where its payload is read
//! (direction.rs). So a verdict falls between two frames, nothing of a refused frame moves on, and what was forwarded before is
//! never half a frame, but for the longest of frames. In `Closing` each way gets one Close as soon as it stands between two
//! frames; everything else is dropped, and no memory is held any more.

mod direction;
mod payload;
mod scan;

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use crate::content::Handshake;
use crate::content::tunnels::Conversation;
use crate::limits::{HeldBytes, Share};
use crate::policy::{Mode, Place, Policies, Policy};
use crate::verdict::Passage;
use crate::violation::Violation;
use crate::wire::close::{BAD_GATEWAY, close_frame};
use crate::wire::deflate::Inflater;
use crate::wire::header::Framing;
use crate::wire::{Chunk, Side, Unreadable};
use direction::{Direction, Terms};

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
    handshake: Handshake,
    conversation: Cell<Conversation>,
    state: State,
    /// One side sends nothing any more.
    ended: bool,
    share: Share,
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

/// How the messages of a connection are compressed (RFC 7692 §7.1), where they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deflate {
    /// Whether the client's messages may refer to earlier ones.
    pub client_takeover: bool,
    /// Whether the server's messages may.
    pub server_takeover: bool,
    /// Whether they are inflated here, rather than passed unread.
    pub inspected: bool,
}

/// What came of a chunk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Received {
    /// What of it goes on.
    pub passage: Passage,
    /// The violation that was found in it; in monitor mode it passed all the same.
    pub violation: Option<Violation>,
    /// The rule that it broke, where the policy has many: for logs and counters, never for the peer.
    pub rule: Option<Rc<str>>,
}

impl Session {
    pub(crate) fn new(
        policy: Rc<Policy>,
        place: Place,
        deflate: Option<Deflate>,
        handshake: Handshake,
        held: Rc<HeldBytes>,
    ) -> Self {
        let direction = |from: Side, takeover: fn(Deflate) -> bool| {
            let inspected = deflate.filter(|deflate| deflate.inspected);
            let inflater = inspected.map(|deflate| Box::new(Inflater::new(takeover(deflate))));
            Direction::new(Framing { from, deflate: deflate.is_some() }, inflater)
        };
        Self {
            place,
            policy,
            from_client: direction(Side::Client, |deflate| deflate.client_takeover),
            from_server: direction(Side::Server, |deflate| deflate.server_takeover),
            conversation: Cell::new(Conversation::new(handshake.exempt)),
            handshake,
            state: State::Open,
            ended: false,
            share: Share::new(held),
        }
    }

    /// The policy that this connection is under.
    #[must_use]
    pub const fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// Puts the connection under other policies: its next messages, and the size of the one in hand.
    pub fn adopt(&mut self, policies: &Policies) {
        self.policy = Rc::clone(policies.select(&self.place));
    }

    /// How long the connection may take to end, from the moment on when this changes; `None` while it is open.
    #[must_use]
    pub const fn time_to_end(&self) -> Option<Duration> {
        match &self.state {
            State::Closing(_) => Some(CLOSE_TIMEOUT),
            State::Open | State::Unjudged
                if self.ended || self.from_client.is_closed() || self.from_server.is_closed() =>
            {
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

    /// One side sends nothing any more, with a Close or without: the other may finish, but not stay.
    pub const fn finish(&mut self) {
        self.ended = true;
    }

    /// Takes the next bytes of one side.
    ///
    /// # Errors
    /// [`Unreadable`] when the host does not give out the bytes; nothing of the chunk may then be forwarded.
    pub fn receive<C: Chunk + ?Sized>(&mut self, from: Side, chunk: &C) -> Result<Received, Unreadable> {
        match &self.state {
            State::Open => self.judge(from, chunk),
            State::Unjudged => self.pass(from, chunk),
            State::Closing(_) => {
                let keep = self.direction_mut(from).finish_frame(chunk.len());
                Ok(Received::pass(Vec::new(), keep))
            }
        }
    }

    /// Lets everything go on: first the rest of a control frame that went past a message, then what is held.
    fn pass<C: Chunk + ?Sized>(&mut self, from: Side, chunk: &C) -> Result<Received, Unreadable> {
        let direction = self.direction_mut(from);
        let keep = direction.finish_frame(chunk.len());
        if !direction.is_between_frames() {
            return Ok(Received::pass(Vec::new(), keep));
        }
        let held = direction.take_held();
        if keep == 0 || held.is_empty() {
            return Ok(Received::pass(held, chunk.len()));
        }
        let after = [held, chunk.bytes(keep, chunk.len().saturating_sub(keep))?.into_owned()].concat();
        Ok(Received { passage: Passage { before: Vec::new(), keep, after }, violation: None, rule: None })
    }

    fn judge<C: Chunk + ?Sized>(&mut self, from: Side, chunk: &C) -> Result<Received, Unreadable> {
        let Self { policy, from_client, from_server, handshake, conversation, share, .. } = self;
        let direction = match from {
            Side::Client => &mut *from_client,
            Side::Server => &mut *from_server,
        };
        let (rules, content) = policy.messages(from);
        let has_room = |len: usize| share.all().has_room(len, policy.held_len_max);
        let terms = Terms { rules, content, handshake, conversation, mode: policy.mode, has_room: &has_room };
        let mut received = direction.receive(chunk, &terms)?;
        let grows = direction.unasked_len() > 0;
        share.set(from_client.memory_len().saturating_add(from_server.memory_len()));
        // What is held was asked for before; a window, and the text of a message, grow while they are used.
        if received.violation.is_none() && grows && !share.all().has_room(0, policy.held_len_max) {
            received.violation = Some(Violation::Overloaded);
        }
        match (received.violation, self.policy.mode) {
            (None, _) => {}
            (Some(violation), Mode::Enforce) => self.refuse(violation, Some(from)),
            (Some(_), Mode::Monitor) => self.state = State::Unjudged,
        }
        Ok(received)
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
        for from in [Side::Client, Side::Server] {
            let direction = self.direction_mut(from);
            if offender == Some(from) { direction.sever() } else { direction.stop() }
        }
        self.share.set(0);
        self.state = State::Closing(Closing {
            violation,
            // Who has had a Close from his peer gets no second one (RFC 6455 §5.5.1).
            to_client: (!self.from_server.is_closed()).then_some(to_client),
            to_server: (!self.from_client.is_closed()).then_some(code),
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

    /// Whether everything of `from` that has gone on ends with a frame.
    #[must_use]
    pub fn is_between_frames(&self, from: Side) -> bool {
        self.direction(from).is_between_frames()
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
    const fn pass(before: Vec<u8>, keep: usize) -> Self {
        Self { passage: Passage { before, keep, after: Vec::new() }, violation: None, rule: None }
    }
}

#[cfg(test)]
mod tests;
