//! A backend on loopback that records everything that it receives, and answers by the rules or against them.
//!
//! It takes one request a connection. Most tests of a filter ask whether the backend was reached, and with what:
//! [`Backend::requests`] has every head and every byte behind it.
//!
//! ```no_run
//! use portcullis_envoy::peer::backend::{Backend, Mode, Play};
//!
//! let echo = Backend::start(Mode::Echo)?;
//! let lie = [("Sec-WebSocket-Accept", "no")];
//! let liar = Backend::start(Mode::scripted(move |head| Play::answer(head.accepted_with(&lie))))?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::frame::Frame;
use super::head::Head;
pub use super::play::{Mode, Play, echo};

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
        thread::sleep(play.pause);
        let mut said = play.greeting.into_iter().chain(play.feed);
        said.try_for_each(|bytes| socket.write_all(&bytes)).map_err(|_| End::Reset)?;
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
