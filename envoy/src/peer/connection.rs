//! One TCP connection, with or without TLS, that may be written and read at the same time; and [`Link`], what a WebSocket
//! asks of it.
//!
//! The TLS session is locked only while bytes go through it, never while the socket blocks: a client that sends a flood
//! and reads its echo in another thread must not block itself. No retries, no pooling.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// What one read brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Received {
    Bytes,
    Eof,
    Reset,
    Timeout,
}

/// What carries a WebSocket: bytes both ways, by threads that do not wait for each other. Dropped, it ends.
pub(super) trait Link: fmt::Debug + Send + Sync {
    /// Sends all bytes, or fails after [`WRITE_TIMEOUT`] without progress.
    fn write(&self, bytes: &[u8]) -> io::Result<()>;

    /// Says that nothing more will be sent; what the peer sends can still be read.
    fn finish(&self) -> io::Result<()>;

    /// Appends what arrives until `deadline` to `buf`; returns as soon as there is anything.
    fn read(&self, buf: &mut Vec<u8>, deadline: Instant) -> Received;
}

/// A connection to `address`.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    tls: Option<Tls>,
}

#[derive(Debug)]
struct Tls {
    session: Mutex<ClientConnection>,
    /// Held from encrypting to sending, so that records leave in order. Taken before `session`.
    writing: Mutex<()>,
}

impl Connection {
    pub(super) fn open(address: SocketAddr, tls: Option<(Arc<ClientConfig>, ServerName<'static>)>) -> io::Result<Self> {
        let mut socket = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let Some((config, name)) = tls else {
            return Ok(Self { socket, tls: None });
        };
        socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let tls = Tls { session: Mutex::new(session), writing: Mutex::new(()) };
        Ok(Self { socket, tls: Some(tls) })
    }

    /// Sends the records that the session has made.
    fn flush(&self, tls: &Tls) -> io::Result<()> {
        let mut records = Vec::new();
        {
            let mut session = lock(&tls.session);
            while session.wants_write() {
                session.write_tls(&mut records)?;
            }
        }
        (&self.socket).write_all(&records)
    }
}

impl Link for Connection {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &self.tls else {
            return (&self.socket).write_all(bytes);
        };
        let _order = lock(&tls.writing);
        for piece in bytes.chunks(PIECE_LEN) {
            lock(&tls.session).writer().write_all(piece)?;
            self.flush(tls)?;
        }
        Ok(())
    }

    fn finish(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let _order = lock(&tls.writing);
            lock(&tls.session).send_close_notify();
            self.flush(tls)?;
        }
        self.socket.shutdown(Shutdown::Write)
    }

    fn read(&self, buf: &mut Vec<u8>, deadline: Instant) -> Received {
        let mut piece = vec![0; PIECE_LEN];
        loop {
            if let Some(tls) = &self.tls
                && decrypt(&mut lock(&tls.session), &[], buf).is_ok_and(|size| size > 0)
            {
                return Received::Bytes;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return Received::Timeout;
            }
            let bytes = match (&self.socket).read(&mut piece) {
                Ok(0) => return Received::Eof,
                Ok(size) => &piece[..size],
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Received::Timeout,
                    _ => return Received::Reset,
                },
            };
            let Some(tls) = &self.tls else {
                buf.extend(bytes);
                return Received::Bytes;
            };
            match decrypt(&mut lock(&tls.session), bytes, buf) {
                Ok(0) => {}
                Ok(_) => return Received::Bytes,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Received::Eof,
                Err(_) => return Received::Reset,
            }
        }
    }
}

/// Feeds bytes from the socket to the session and appends its plaintext; says how much that was. A session that the peer
/// has closed is an `UnexpectedEof`.
fn decrypt(session: &mut ClientConnection, mut bytes: &[u8], plaintext: &mut Vec<u8>) -> io::Result<usize> {
    let before = plaintext.len();
    loop {
        if !bytes.is_empty() {
            session.read_tls(&mut bytes)?;
        }
        let state = session.process_new_packets().map_err(io::Error::other)?;
        if state.plaintext_bytes_to_read() > 0 {
            let end = plaintext.len();
            plaintext.resize(end + state.plaintext_bytes_to_read(), 0);
            session.reader().read_exact(&mut plaintext[end..])?;
        }
        if bytes.is_empty() {
            let size = plaintext.len() - before;
            return if size == 0 && state.peer_has_closed() {
                Err(io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok(size)
            };
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loopback answers in microseconds; an Envoy under load in less than a second.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that stops reading for this long is not going to: the test fails instead of hanging.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Four TLS records. Also below rustls's own send buffer limit of 64 KiB.
const PIECE_LEN: usize = 32_768;
