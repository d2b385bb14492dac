//! The peers: light, so that Envoy has the machine, and synchronous. Messages are read by their length and not looked at.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{Draft, TEXT};
use portcullis_envoy::peer::head::Head;

use crate::Outcome;

const CONNECTIONS: usize = 8;

/// No answer takes a second; without one the run fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// Accepts every upgrade, and then keeps still until someone takes its sockets.
pub(crate) struct Backend {
    address: SocketAddr,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

impl Backend {
    /// It ends with the process.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let sockets = Arc::<Mutex<Vec<TcpStream>>>::default();
        let accepted = Arc::clone(&sockets);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // A connection that fails is one that its client misses.
                let _ = accept(socket, &accepted);
            }
        });
        Ok(Self { address, sockets })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections since the last time, in the order in which they came.
    pub(crate) fn take(&self) -> Vec<TcpStream> {
        mem::take(&mut self.sockets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn accept(mut socket: TcpStream, sockets: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    prepare(&socket)?;
    let head = read_head(&mut socket)?;
    let mut writer = socket.try_clone()?;
    // Before the client knows of it.
    sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    writer.write_all(&head.accepted())
}

/// A WebSocket through the Envoy at `address`.
pub(crate) fn open(address: SocketAddr) -> Outcome<TcpStream> {
    open_by(address, &Upgrade::to("/bench"))
}

/// A WebSocket by this request.
pub(crate) fn open_by(address: SocketAddr, upgrade: &Upgrade) -> Outcome<TcpStream> {
    let (socket, head) = ask(address, upgrade)?;
    if head.status() == 101 { Ok(socket) } else { Err(format!("no WebSocket: {}", head.start).into()) }
}

/// What answers a request.
pub(crate) fn ask(address: SocketAddr, upgrade: &Upgrade) -> io::Result<(TcpStream, Head)> {
    let mut socket = TcpStream::connect(address)?;
    prepare(&socket)?;
    socket.write_all(&upgrade.bytes())?;
    let head = read_head(&mut socket)?;
    Ok((socket, head))
}

/// Sends bytes and waits until anything answers them.
pub(crate) fn exchange(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(bytes)?;
    match socket.read(&mut [0; 256])? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// One message for each connection, which goes round and round.
pub(crate) struct Echo {
    count: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    peers: Vec<JoinHandle<io::Result<()>>>,
}

impl Echo {
    pub(crate) fn start(address: SocketAddr, backend: &Backend, payload: &[u8]) -> Outcome<Self> {
        drop(backend.take());
        let clients = (0..CONNECTIONS).map(|_| open(address)).collect::<Outcome<Vec<_>>>()?;
        let question: Arc<[u8]> = Draft::new(TEXT, payload).masked().bytes().into();
        let answer: Arc<[u8]> = Draft::new(TEXT, payload).bytes().into();
        let (count, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let servers = backend.take().into_iter().map(|socket| {
            let (len, answer) = (question.len(), Arc::clone(&answer));
            thread::spawn(move || match echo(socket, len, &answer, || true) {
                // The client is gone.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                outcome => outcome,
            })
        });
        let mut peers: Vec<_> = servers.collect();
        peers.extend(clients.into_iter().map(|mut socket| {
            let (len, question) = (answer.len(), Arc::clone(&question));
            let (count, is_over) = (Arc::clone(&count), Arc::clone(&is_over));
            thread::spawn(move || {
                socket.write_all(&question)?;
                echo(socket, len, &question, || {
                    count.fetch_add(1, Ordering::Relaxed);
                    !is_over.load(Ordering::Relaxed)
                })
            })
        }));
        Ok(Self { count, is_over, peers })
    }

    /// How many messages were there and back.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(self) -> Outcome<()> {
        self.is_over.store(true, Ordering::Relaxed);
        for peer in self.peers {
            peer.join().map_err(|_| "a peer panicked")??;
        }
        Ok(())
    }
}

/// Reads `len` bytes and answers them, again and again while `goes_on`.
fn echo(mut socket: TcpStream, len: usize, answer: &[u8], goes_on: impl Fn() -> bool) -> io::Result<()> {
    let mut buf = vec![0; len];
    loop {
        socket.read_exact(&mut buf)?;
        if !goes_on() {
            return Ok(());
        }
        socket.write_all(answer)?;
    }
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))
}

/// Behind a head comes nothing before the other side was answered, so no byte of a frame is lost here.
fn read_head(socket: &mut TcpStream) -> io::Result<Head> {
    let (mut bytes, mut buf) = (Vec::new(), [0; 4_096]);
    loop {
        match socket.read(&mut buf)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => bytes.extend(&buf[..len]),
        }
        if let Some((head, _)) = Head::parse(&bytes) {
            return Ok(head);
        }
    }
}
