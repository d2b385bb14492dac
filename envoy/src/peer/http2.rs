//! A client that opens WebSockets as streams of one HTTP/2 connection, over TLS.
//!
//! The requests are extended CONNECTs ([RFC 8441 §4](https://www.rfc-editor.org/rfc/rfc8441#section-4)), made of the same
//! [`Upgrade`] as over HTTP/1.1. Frames of HTTP/2 itself are the business of the crate h2: nothing here breaks its rules. The
//! callers are synchronous; a thread of the session's own runs the connection for as long as the session or a WebSocket of
//! it lives.
//!
//! ```no_run
//! use portcullis_envoy::peer::client::Upgrade;
//! use portcullis_envoy::peer::http2::Session;
//!
//! # let ca_pem = "";
//! let session = Session::open("127.0.0.1:8443".parse()?, "localhost", ca_pem)?;
//! let (one, two) = (session.upgrade(&Upgrade::to("/one"))?, session.upgrade(&Upgrade::to("/two"))?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time;
use tokio_rustls::TlsConnector;

use super::client::{ANSWER_TIMEOUT, Upgrade, tls};
use super::connection::{CONNECT_TIMEOUT, Link, Received, WRITE_TIMEOUT, lock};
use super::head::Head;
use super::websocket::WebSocket;

/// An HTTP/2 connection, on which a server said that it takes extended CONNECTs.
#[derive(Clone, Debug)]
pub struct Session {
    requests: SendRequest<Bytes>,
    driver: Driver,
}

/// The thread that runs a connection; it ends with the last of these.
#[derive(Clone, Debug)]
struct Driver {
    runtime: Handle,
    _alive: Arc<oneshot::Sender<()>>,
}

impl Session {
    /// Connects to `address`, trusts the authorities in `ca_pem` only, asks for `name` and speaks HTTP/2.
    ///
    /// # Errors
    /// No connection, TLS or HTTP/2, or a server that does not say `SETTINGS_ENABLE_CONNECT_PROTOCOL`.
    pub fn open(address: SocketAddr, name: &str, ca_pem: &str) -> io::Result<Self> {
        let (config, name) = tls(name, ca_pem, "h2")?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connecting = async {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let socket = TlsConnector::from(config).connect(name, socket).await?;
            let (requests, connection) = h2::client::Builder::new()
                .initial_window_size(WINDOW_LEN)
                .initial_connection_window_size(CONNECTION_WINDOW_LEN)
                .handshake(socket)
                .await
                .map_err(io::Error::other)?;
            let running = tokio::spawn(connection);
            // The server's settings come by themselves, and nothing tells when.
            while !requests.is_extended_connect_protocol_enabled() {
                time::sleep(SETTINGS_PAUSE).await;
            }
            Ok::<_, io::Error>((requests, running))
        };
        let (requests, running) = runtime.block_on(async { time::timeout(CONNECT_TIMEOUT, connecting).await })??;
        let (alive, gone) = oneshot::channel();
        let driver = Driver { runtime: runtime.handle().clone(), _alive: Arc::new(alive) };
        thread::spawn(move || {
            runtime.block_on(async {
                // Nobody sends: it ends by being dropped.
                let _ = gone.await;
                // With its last handle the connection ends in order, if the peer lets it.
                let _ = time::timeout(GOODBYE, running).await;
            });
        });
        Ok(Self { requests, driver })
    }

    /// Sends the request on a new stream and reads the answer.
    ///
    /// # Errors
    /// A request that HTTP/2 cannot express, a stream that is reset in place of an answer, or none in ten seconds.
    pub fn ask(&self, upgrade: &Upgrade) -> io::Result<Answer> {
        self.ask_with(upgrade, End::Open)
    }

    /// As [`Self::ask`], and ends the stream's own half before the answer.
    ///
    /// # Errors
    /// As those of [`Self::ask`].
    pub fn ask_with(&self, upgrade: &Upgrade, end: End) -> io::Result<Answer> {
        let (request, tail) = upgrade.request().map_err(io::Error::other)?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let (tail, mut requests) = (Bytes::copy_from_slice(tail), self.requests.clone());
        // On the thread that runs the connection: from another it would send the header while the bytes behind it are still to come.
        let asking = self.driver.runtime.spawn(async move {
            poll_fn(|context| requests.poll_ready(context)).await?;
            let (response, mut sending) = requests.send_request(request, end == End::Header)?;
            if !tail.is_empty() {
                sending.send_data(tail, false)?;
            }
            if end == End::Trailers {
                sending.send_trailers(http::HeaderMap::from_iter([(http::header::ETAG, TRAILER)]))?;
            }
            Ok((response.await?, sending))
        });
        let (response, sending) = self.driver.run(deadline, async { asking.await.map_err(lost)? })?;
        let head = head_of(&response);
        let stream = Stream {
            driver: self.driver.clone(),
            sending: Mutex::new(sending),
            receiving: Mutex::new(response.into_body()),
        };
        let mut body = Vec::new();
        if head.status() != 200 {
            while stream.read(&mut body, deadline) == Received::Bytes {}
        }
        Ok(Answer { head, body, stream })
    }

    /// Sends the request on a new stream and expects a 200.
    ///
    /// # Errors
    /// As [`Self::ask`], and any other answer.
    pub fn upgrade(&self, upgrade: &Upgrade) -> io::Result<WebSocket> {
        let answer = self.ask(upgrade)?;
        match answer.status() {
            200 => Ok(answer.into_websocket()),
            _ => Err(io::Error::other(format!("no WebSocket: {}", answer.head.start))),
        }
    }
}

/// How a client ends its half of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Not yet.
    Open,
    /// With the header: END_STREAM.
    Header,
    /// With trailers.
    Trailers,
}

/// What came back for a request, and the stream it came on.
#[derive(Debug)]
pub struct Answer {
    /// The status, as `HTTP/2 200`, and the headers.
    pub head: Head,
    /// The body, in full; of a 200, which opens a WebSocket, always empty.
    pub body: Vec<u8>,
    stream: Stream,
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The stream as a WebSocket, whatever the status was.
    pub fn into_websocket(self) -> WebSocket {
        WebSocket::new(self.head, self.stream, Vec::new())
    }
}

/// One stream. Dropped, it is reset unless it has ended.
#[derive(Debug)]
struct Stream {
    sending: Mutex<SendStream<Bytes>>,
    receiving: Mutex<RecvStream>,
    driver: Driver,
}

impl Link for Stream {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let sending = &mut *lock(&self.sending);
        let mut rest = Bytes::copy_from_slice(bytes);
        self.driver.run(Instant::now() + WRITE_TIMEOUT, async {
            while !rest.is_empty() {
                sending.reserve_capacity(rest.len());
                if sending.capacity() == 0 {
                    match poll_fn(|context| sending.poll_capacity(context)).await {
                        Some(capacity) => capacity?,
                        None => return Err(Reason::STREAM_CLOSED.into()),
                    };
                }
                let piece = rest.split_to(sending.capacity().min(rest.len()));
                sending.send_data(piece, false)?;
            }
            Ok(())
        })
    }

    fn finish(&self) -> io::Result<()> {
        lock(&self.sending).send_data(Bytes::new(), true).map_err(io::Error::other)
    }

    fn read(&self, buf: &mut Vec<u8>, deadline: Instant) -> Received {
        let receiving = &mut *lock(&self.receiving);
        let came = self.driver.run(deadline, async {
            let Some(bytes) = receiving.data().await.transpose()? else { return Ok(Received::Eof) };
            receiving.flow_control().release_capacity(bytes.len())?;
            buf.extend(&bytes);
            Ok(Received::Bytes)
        });
        came.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::TimedOut => Received::Timeout,
            _ => Received::Reset,
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.sending).send_reset(Reason::CANCEL);
    }
}

impl Driver {
    /// Waits for `what` until `deadline`, while the session's thread runs the connection.
    fn run<T>(&self, deadline: Instant, what: impl Future<Output = Result<T, h2::Error>>) -> io::Result<T> {
        let answer = self.runtime.block_on(async { time::timeout_at(deadline.into(), what).await });
        answer.map_err(io::Error::from)?.map_err(io::Error::other)
    }
}

/// The session's thread has ended, or what ran on it panicked.
fn lost(_: JoinError) -> h2::Error {
    Reason::INTERNAL_ERROR.into()
}

fn head_of(response: &Response<RecvStream>) -> Head {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let start = format!("HTTP/2 {}", response.status().as_u16());
    Head { start, lines: response.headers().iter().map(line).collect() }
}

/// Any value.
const TRAILER: http::HeaderValue = http::HeaderValue::from_static("\"end\"");

/// What a server may send on one stream, and on all of them, before it is read: 6 MiB and 15 MiB, as with Chrome.
const WINDOW_LEN: u32 = 6 << 20;
const CONNECTION_WINDOW_LEN: u32 = 15 << 20;

/// A server's settings follow its TLS handshake at once.
const SETTINGS_PAUSE: Duration = Duration::from_millis(1);

/// For what is written already to leave; on loopback that takes microseconds.
const GOODBYE: Duration = Duration::from_secs(1);
