//! A backend on loopback that writes down all it receives, and answers rightly or wrongly.
//!
//! It takes one request a connection. A backend that was never reached, or reached with something it should not have
//! seen, is what most tests of a gate are about: [`Backend::requests`] has every head and every byte behind it.
//!
//! ```no_run
//! use portcullis_envoy::peer::backend::{Backend, Mode, Play};
//!
//! let echo = Backend::start(Mode::Echo)?;
//! let liar = Backend::start(Mode::scripted(|head| Play::answer(head.accepted_with(&[("Sec-WebSocket-Accept", "no")]))))?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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

    fn play(&self, head: &Head) -> Play {
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
    answer: Vec<u8>,
    delay: Duration,
    greeting: Vec<u8>,
    reply: Reply,
}

type FrameReply = Box<dyn FnMut(&Frame) -> Vec<u8> + Send>;

enum Reply {
    Bytes,
    Echo,
    Frames(FrameReply),
}

impl Play {
    /// Answers with these bytes. Where they begin a 101, echoes frames; else the connection ends there.
    pub fn answer(bytes: impl Into<Vec<u8>>) -> Self {
        Self { answer: bytes.into(), delay: Duration::ZERO, greeting: Vec::new(), reply: Reply::Echo }
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

    /// Sends these bytes after the answer, in a write of their own.
    #[must_use]
    pub fn then(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.greeting = bytes.into();
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

/// One request that reached a backend, with all that followed it on its connection so far.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its head.
    pub head: Head,
    /// Every byte behind the head.
    pub bytes: Vec<u8>,
    /// How the connection ended, once it has.
    pub end: Option<End>,
}

impl Request {
    /// The complete frames received, and the bytes behind them.
    pub fn frames(&self) -> (Vec<Frame>, &[u8]) {
        Frame::parse_all(&self.bytes)
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The other side said so.
    Eof,
    /// The other side cut it.
    Reset,
}

/// A running backend; it ends with all its connections when it is dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    mode: Mode,
    requests: Mutex<Vec<Request>>,
    changed: Condvar,
    sockets: Mutex<HashMap<u64, TcpStream>>,
    stopped: AtomicBool,
}

impl Backend {
    /// Starts a backend on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port to listen on.
    pub fn start(mode: Mode) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            mode,
            requests: Mutex::default(),
            changed: Condvar::new(),
            sockets: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let acceptor = Arc::clone(&shared);
        let accepting = Some(thread::spawn(move || acceptor.accept(&listener)));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far, in the order in which their heads were complete.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        lock(&self.shared.sockets).len()
    }

    /// Waits for a request of which `wanted` is true, and returns it as it is at that moment.
    pub fn wait(&self, timeout: Duration, wanted: impl Fn(&Request) -> bool) -> Option<Request> {
        let deadline = Instant::now() + timeout;
        let mut requests = lock(&self.shared.requests);
        loop {
            if let Some(request) = requests.iter().find(|request| wanted(request)) {
                return Some(request.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            requests = self.shared.changed.wait_timeout(requests, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        for socket in lock(&self.shared.sockets).values() {
            // A socket that has ended already is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the listening thread, which then sees that it is to stop. Unwoken, it is left behind.
        if TcpStream::connect(self.address).is_ok() {
            self.accepting.take().map(JoinHandle::join);
        }
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for (number, socket) in (0..).zip(listener.incoming()) {
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            let Ok(socket) = socket else { continue };
            let Ok(handle) = socket.try_clone() else { continue };
            lock(&self.sockets).insert(number, handle);
            let shared = Arc::clone(&self);
            thread::spawn(move || {
                shared.serve(socket);
                lock(&shared.sockets).remove(&number);
            });
        }
    }

    /// Serves one connection from its head to its end.
    fn serve(&self, mut socket: TcpStream) {
        let mut buf = Vec::new();
        let (head, size) = loop {
            match receive(&mut socket, &mut buf) {
                Ok(()) => {}
                Err(_) => return,
            }
            if let Some(head) = Head::parse(&buf) {
                break head;
            }
        };
        buf.drain(..size);
        let play = self.mode.play(&head);
        let index = {
            let mut requests = lock(&self.requests);
            requests.push(Request { head, bytes: buf.clone(), end: None });
            requests.len() - 1
        };
        self.changed.notify_all();
        let played = self.converse(index, &mut socket, buf, play);
        let end = played.err().unwrap_or_else(|| self.listen(index, &mut socket));
        if let Some(request) = lock(&self.requests).get_mut(index) {
            request.end = Some(end);
        }
        self.changed.notify_all();
    }

    /// Plays until the script is over; an end of the connection before that is the error.
    fn converse(&self, index: usize, socket: &mut TcpStream, mut buf: Vec<u8>, mut play: Play) -> Result<(), End> {
        thread::sleep(play.delay);
        socket.set_nodelay(true).and_then(|()| socket.write_all(&play.answer)).map_err(|_| End::Reset)?;
        if !play.answer.starts_with(b"HTTP/1.1 101") {
            return finish(socket);
        }
        socket.write_all(&play.greeting).map_err(|_| End::Reset)?;
        loop {
            let (answer, is_last) = play.reply.take(&mut buf);
            socket.write_all(&answer).map_err(|_| End::Reset)?;
            if is_last {
                return finish(socket);
            }
            self.record(index, socket, &mut buf)?;
        }
    }

    /// Records what still comes after the last word.
    fn listen(&self, index: usize, socket: &mut TcpStream) -> End {
        loop {
            if let Err(end) = self.record(index, socket, &mut Vec::new()) {
                return end;
            }
        }
    }

    /// Reads what comes next, for `buf` and for the record.
    fn record(&self, index: usize, socket: &mut TcpStream, buf: &mut Vec<u8>) -> Result<(), End> {
        let before = buf.len();
        receive(socket, buf)?;
        if let Some(request) = lock(&self.requests).get_mut(index) {
            request.bytes.extend(&buf[before..]);
        }
        self.changed.notify_all();
        Ok(())
    }
}

impl Reply {
    /// Takes what it can answer off `buf`: the bytes of the answer, and whether they are the last.
    fn take(&mut self, buf: &mut Vec<u8>) -> (Vec<u8>, bool) {
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

/// Reads once and appends what came.
fn receive(socket: &mut TcpStream, buf: &mut Vec<u8>) -> Result<(), End> {
    let mut piece = [0; PIECE_LEN];
    match socket.read(&mut piece) {
        Ok(0) => Err(End::Eof),
        Ok(size) => {
            buf.extend(&piece[..size]);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(_) => Err(End::Reset),
    }
}

fn finish(socket: &TcpStream) -> Result<(), End> {
    socket.shutdown(Shutdown::Write).map_err(|_| End::Reset)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As much as a proxy writes at once.
const PIECE_LEN: usize = 65_536;
