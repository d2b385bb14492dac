//! The connection after a 101, or the stream after a 200 over HTTP/2: bytes out, frames in.
//!
//! It answers nothing by itself but the Close that ends it, and that only in [`WebSocket::verdict`].

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{Link, Received};
use super::frame::{CLOSE, Draft, Frame};
use super::head::Head;

/// An upgraded connection, seen from the client. Dropped, it ends: by FIN, or over HTTP/2 by RST_STREAM.
#[derive(Debug)]
pub struct WebSocket {
    /// The answer that opened it.
    pub head: Head,
    connection: Arc<dyn Link>,
    buf: Vec<u8>,
    /// Whether [`WebSocket::send_frame`] has sent a Close.
    has_closed: Cell<bool>,
}

/// What came next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The peer ended the connection in order.
    Eof,
    /// One complete frame.
    Frame(Frame),
    /// The peer cut the connection.
    Reset,
    /// Nothing, so far.
    Timeout,
}

/// What ended a WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// A Close frame with its code, if it had one, and its reason.
    Close(Option<u16>, String),
    /// The connection ended in order, without a Close frame.
    Eof,
    /// The connection was cut, without a Close frame.
    Reset,
    /// Nothing ended it.
    Timeout,
}

impl Verdict {
    /// The Close with this code and reason.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::Close(Some(code), reason.into())
    }
}

/// Sends on a WebSocket while another thread receives.
#[derive(Clone, Debug)]
pub struct Sender(Arc<dyn Link>);

impl Sender {
    /// As [`WebSocket::send`].
    ///
    /// # Errors
    /// The connection takes no more bytes.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }
}

impl WebSocket {
    pub(super) fn new(head: Head, connection: impl Link + 'static, buf: Vec<u8>) -> Self {
        Self { head, connection: Arc::new(connection), buf, has_closed: Cell::new(false) }
    }

    /// Sends bytes as they are; [`Draft::bytes`] makes frames of them.
    ///
    /// # Errors
    /// The connection takes no more bytes.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.connection.write(bytes)
    }

    /// Sends a frame with a fresh mask.
    ///
    /// # Errors
    /// The connection takes no more bytes.
    pub fn send_frame(&self, frame: Draft) -> io::Result<()> {
        self.has_closed.set(self.has_closed.get() || frame.is_close());
        self.send(&frame.masked().bytes())
    }

    /// Sends a peer's Close back, unless it is itself the answer to one sent by [`Self::send_frame`] (RFC 6455 §5.5.1).
    pub fn answer_close(&self, close: &Frame) {
        if !self.has_closed.get() {
            // The peer may be gone already, and has said why all the same.
            let _ = self.send_frame(Draft::copy_of(close));
        }
    }

    /// A second handle, for another thread.
    pub fn sender(&self) -> Sender {
        Sender(Arc::clone(&self.connection))
    }

    /// Ends our direction of the connection without a Close frame.
    ///
    /// # Errors
    /// The connection has ended already.
    pub fn finish(&self) -> io::Result<()> {
        self.connection.finish()
    }

    /// The next frame, or what came in its place.
    pub fn receive(&mut self, timeout: Duration) -> Event {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some((frame, size)) = Frame::parse(&self.buf) {
                self.buf.drain(..size);
                return Event::Frame(frame);
            }
            match self.connection.read(&mut self.buf, deadline) {
                Received::Bytes => {}
                Received::Eof => return Event::Eof,
                Received::Reset => return Event::Reset,
                Received::Timeout => return Event::Timeout,
            }
        }
    }

    /// Sends a text message and returns the next frame, which an echo makes its equal.
    ///
    /// # Errors
    /// The connection takes no more bytes.
    pub fn exchange(&mut self, text: &str, timeout: Duration) -> io::Result<Event> {
        self.send_frame(Draft::text(text))?;
        Ok(self.receive(timeout))
    }

    /// What ends the connection within this time; other frames before it are passed over. A Close is answered, as
    /// RFC 6455 §5.5.1 has it.
    pub fn verdict(&mut self, timeout: Duration) -> Verdict {
        self.rest(timeout).1
    }

    /// All frames that still come within this time, and what ended the connection behind them, as [`Self::verdict`] says
    /// it.
    pub fn rest(&mut self, timeout: Duration) -> (Vec<Frame>, Verdict) {
        let deadline = Instant::now() + timeout;
        let mut frames = Vec::new();
        loop {
            let verdict = match self.receive(deadline.saturating_duration_since(Instant::now())) {
                Event::Eof => Verdict::Eof,
                Event::Frame(frame) if frame.opcode == CLOSE => {
                    self.answer_close(&frame);
                    Verdict::Close(frame.close_code(), frame.close_reason())
                }
                Event::Frame(frame) => {
                    frames.push(frame);
                    continue;
                }
                Event::Reset => Verdict::Reset,
                Event::Timeout => Verdict::Timeout,
            };
            return (frames, verdict);
        }
    }

    /// Whether the peer ends the connection itself within this time; frames before it are passed over.
    pub fn is_closed_within(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            match self.receive(deadline.saturating_duration_since(Instant::now())) {
                Event::Eof | Event::Reset => return true,
                Event::Frame(_) => {}
                Event::Timeout => return false,
            }
        }
    }
}
