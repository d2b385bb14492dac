//! What waits while it is not known who the client of a live connection is.
//!
//! ```text
//! from the client   its control frames, and a first message that is to go on ─┐ until the credential is good
//! from the server   everything, but for what Engine.IO says of itself        ─┘
//! behind the message that brings a credential: the backlog, until that is verified
//! ```

use std::rc::Rc;

use crate::ask::Rest;
use crate::limits::{HeldBytes, Share};
use crate::refusal::Refusal;
use crate::token::Verified;
use crate::wire::Side;
use crate::wire::header::{FrameHeader, Framing, Opcode};

/// How much of one server is held, in bytes: it has not been asked for anything yet. All of it is written at once when its client is known, and
/// Envoy was seen to crash where that is more than the buffer of its stream may have, which is a multiple of this in what is shipped.
const SERVER_LEN_MAX: usize = 131_072;

/// How much of one client is held beside its first message, in bytes: some control frames.
const CLIENT_LEN_MAX: usize = 16_384;

/// The longest packet of Engine.IO that is looked for, in bytes: its handshake is some hundred.
const TRANSPORT_LEN_MAX: u64 = 4_096;

/// The part of what all connections may hold that may wait for credentials: the rest is there for messages of those who are known.
const ROOM_DIVISOR: u64 = 2;

/// How the judgement of a credential goes on with an answer.
type Verdict = Rest<Result<Rc<Verified>, Refusal>>;

/// What is being found out about a client, and what waits for it.
#[derive(Debug)]
pub(super) struct Proof {
    /// How its judgement goes on, while it waits for an answer.
    rest: Option<Verdict>,
    /// How long the credential is that it is about, in bytes.
    token_len: usize,
    /// Whole frames that go on when the client is known.
    from_client: Vec<u8>,
    /// What the server has sent, as it came.
    from_server: Vec<u8>,
    share: Share,
}

impl Proof {
    /// Nothing waits yet.
    pub(super) const fn new(held: Rc<HeldBytes>) -> Self {
        Self { rest: None, token_len: 0, from_client: Vec::new(), from_server: Vec::new(), share: Share::new(held) }
    }

    /// Whether a credential is being verified.
    pub(super) const fn is_verifying(&self) -> bool {
        self.rest.is_some()
    }

    /// A credential of `token_len` bytes is being verified.
    pub(super) fn wait(&mut self, rest: Verdict, token_len: usize) {
        (self.rest, self.token_len) = (Some(rest), token_len);
        self.count();
    }

    /// The answer is there: gives what it is for, and how long the credential is.
    pub(super) fn take_rest(&mut self) -> Option<(Verdict, usize)> {
        let rest = self.rest.take()?;
        Some((rest, core::mem::take(&mut self.token_len)))
    }

    /// Whether there is room for a credential, where all connections may hold `held_len_max` bytes.
    pub(super) fn fits(&self, token_len: usize, held_len_max: u64) -> bool {
        self.share.fits(self.len().saturating_add(token_len), held_len_max / ROOM_DIVISOR)
    }

    /// Holds what the client sent. Returns whether that may wait.
    #[must_use]
    pub(super) fn hold_client(&mut self, bytes: &[u8], message_len: usize, held_len_max: u64) -> bool {
        self.from_client.extend_from_slice(bytes);
        self.count();
        self.from_client.len() <= CLIENT_LEN_MAX.saturating_add(message_len) && self.fits(0, held_len_max)
    }

    /// Holds what the server sent. Returns whether that may wait.
    #[must_use]
    pub(super) fn hold_server(&mut self, bytes: &[u8], held_len_max: u64) -> bool {
        self.from_server.extend_from_slice(bytes);
        self.count();
        self.from_server.len() <= SERVER_LEN_MAX && self.fits(0, held_len_max)
    }

    /// Takes what Engine.IO says of itself at the start of what the server has sent: its clients say nothing before they have its handshake.
    pub(super) fn take_transport(&mut self, deflate: bool) -> Vec<u8> {
        let mut len = 0_usize;
        while let Some(frame_len) = self.from_server.get(len..).and_then(|bytes| transport_frame(bytes, deflate)) {
            len = len.saturating_add(frame_len);
        }
        let taken = self.from_server.drain(..len).collect();
        self.count();
        taken
    }

    /// Takes what the server has sent.
    pub(super) fn take_server(&mut self) -> Vec<u8> {
        let taken = core::mem::take(&mut self.from_server);
        self.count();
        taken
    }

    /// Takes what goes on of the client.
    pub(super) fn take_client(&mut self) -> Vec<u8> {
        let taken = core::mem::take(&mut self.from_client);
        self.count();
        taken
    }

    /// Whether nothing waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_none() && self.from_client.is_empty() && self.from_server.is_empty()
    }

    fn len(&self) -> usize {
        self.token_len.saturating_add(self.from_client.capacity()).saturating_add(self.from_server.capacity())
    }

    fn count(&mut self) {
        self.share.set(self.len());
    }
}

/// The length of the frame at the start of `bytes` where it is whole, and one of Engine.IO's own: its handshake, a ping, a pong.
fn transport_frame(bytes: &[u8], deflate: bool) -> Option<usize> {
    let header = FrameHeader::decode(bytes, Framing { from: Side::Server, deflate }).ok()??;
    if header.opcode != Opcode::Text || !header.fin || header.compressed || header.payload_len > TRANSPORT_LEN_MAX {
        return None;
    }
    let len = header.header_len.checked_add(usize::try_from(header.payload_len).ok()?)?;
    let payload = bytes.get(header.header_len..len)?;
    (matches!(payload, b"2" | b"3") || payload.starts_with(b"0{")).then_some(len)
}
