//! What a backend says: the answer to the upgrade, and then the answers to what the client sends.

use std::fmt;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{CLOSE, Draft, Frame, PING, PONG};
use super::head::Head;

/// What a backend does with its clients.
#[derive(Clone)]
pub enum Mode {
    /// Accepts upgrades with the first subprotocol offered, echoes messages frame by frame, answers Ping and Close.
    Echo,
    /// Does what the play for this request says.
    Scripted(Arc<dyn Fn(&Head) -> Play + Send + Sync>),
    /// Accepts upgrades as `Echo` does, and then returns all bytes as they came, masked or not.
    Sloppy,
}

impl Mode {
    /// A mode in which the play follows from the head of the request.
    pub fn scripted(script: impl Fn(&Head) -> Play + Send + Sync + 'static) -> Self {
        Self::Scripted(Arc::new(script))
    }

    pub(super) fn play(&self, head: &Head) -> Play {
        match self {
            Self::Echo => Play::correct(head),
            Self::Scripted(script) => script(head),
            Self::Sloppy => Play { reply: Reply::Bytes, ..Play::correct(head) },
        }
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Echo => "Echo",
            Self::Scripted(_) => "Scripted",
            Self::Sloppy => "Sloppy",
        })
    }
}

/// What a backend says on one connection.
pub struct Play {
    pub(super) answer: Vec<u8>,
    pub(super) delay: Duration,
    pub(super) pause: Duration,
    pub(super) greeting: Vec<Vec<u8>>,
    pub(super) feed: Feed,
    pub(super) reply: Reply,
}

type Feed = Box<dyn Iterator<Item = Vec<u8>> + Send>;

type FrameReply = Box<dyn FnMut(&Frame) -> Vec<u8> + Send>;

pub(super) enum Reply {
    Bytes,
    Echo,
    Frames(FrameReply),
}

impl Play {
    /// Answers with these bytes. Where they begin a 101, echoes frames; else the connection ends there.
    pub fn answer(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            answer: bytes.into(),
            delay: Duration::ZERO,
            pause: Duration::ZERO,
            greeting: Vec::new(),
            feed: Box::new(iter::empty()),
            reply: Reply::Echo,
        }
    }

    /// A right answer: a correct 101 and an echo, or a plain 200 to a request that is no upgrade.
    pub fn correct(head: &Head) -> Self {
        match head.value("sec-websocket-key") {
            Some(_) => Self::answer(head.accepted()),
            None => Self::answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"),
        }
    }

    /// Waits before the answer, so that early bytes of the client get there first.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits after the answer, before what it says of its own accord.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Sends these bytes after the answer, and after those of earlier calls, in a write of their own.
    #[must_use]
    pub fn then(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.greeting.push(bytes.into());
        self
    }

    /// Sends what this gives, each in a write of its own, after the answer and the bytes of [`Self::then`]. It may take its time between
    /// two. Until it ends, nothing of the client is read.
    #[must_use]
    pub fn feed(mut self, feed: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Self {
        self.feed = Box::new(feed);
        self
    }

    /// Answers each frame of the client, a Close too, with the bytes that this returns; [`echo`] makes those of a right
    /// answer. A Close that is answered is the end of our direction; with no bytes for it, the connection stays open.
    #[must_use]
    pub fn on_frame(mut self, reply: impl FnMut(&Frame) -> Vec<u8> + Send + 'static) -> Self {
        self.reply = Reply::Frames(Box::new(reply));
        self
    }
}

impl fmt::Debug for Play {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Play").field("answer", &self.answer.escape_ascii().to_string()).finish_non_exhaustive()
    }
}

impl Reply {
    /// Takes what it can answer off `buf`: the bytes of the answer, and whether they are the last.
    pub(super) fn take(&mut self, buf: &mut Vec<u8>) -> (Vec<u8>, bool) {
        if matches!(self, Self::Bytes) {
            return (std::mem::take(buf), false);
        }
        let (frames, rest) = Frame::parse_all(buf);
        let size = buf.len() - rest.len();
        buf.drain(..size);
        let mut answer = Vec::new();
        for frame in frames {
            let bytes = match self {
                Self::Frames(reply) => reply(&frame),
                Self::Bytes | Self::Echo => echo(&frame),
            };
            answer.extend(&bytes);
            if frame.opcode == CLOSE && !bytes.is_empty() {
                return (answer, true);
            }
        }
        (answer, false)
    }
}

/// The right answer of an echo to a frame: a Pong to a Ping, nothing to a Pong, and else the frame itself, unmasked.
pub fn echo(frame: &Frame) -> Vec<u8> {
    match frame.opcode {
        PING => Draft::new(PONG, frame.payload.clone()).bytes(),
        PONG => Vec::new(),
        _ => Draft::copy_of(frame).bytes(),
    }
}
