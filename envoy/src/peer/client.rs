//! A client that sends what it is told and reports what came back.
//!
//! It follows no redirect, keeps no connection for later and takes no answer for granted: whether a 101 has the right
//! `Sec-WebSocket-Accept` is a question ([`Answer::has_right_accept`]), not a condition.
//!
//! ```no_run
//! use portcullis_envoy::peer::client::{Client, Upgrade};
//!
//! let client = Client::plain("127.0.0.1:8080".parse()?);
//! let answer = client.ask(&Upgrade::to("/chat").without("sec-websocket-key").method("POST"))?;
//! assert_eq!(answer.status(), 400);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::PROVIDER;
use super::connection::{Connection, Link, Received};
use super::head::{Head, accept_of};
pub use super::upgrade::Upgrade;
use super::websocket::WebSocket;

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    timeout: Duration,
}

impl Client {
    /// A client without TLS.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, timeout: ANSWER_TIMEOUT }
    }

    /// A client with TLS that trusts the authorities in `ca_pem` only, asks for `name` and speaks HTTP/1.1.
    ///
    /// # Errors
    /// PEM that holds no certificate, or a name that is no DNS name or address.
    pub fn tls(address: SocketAddr, name: &str, ca_pem: &str) -> io::Result<Self> {
        Ok(Self { address, tls: Some(tls(name, ca_pem, "http/1.1")?), timeout: ANSWER_TIMEOUT })
    }

    /// Waits this long for an answer instead of ten seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the request on a new connection and reads the answer.
    ///
    /// # Errors
    /// No connection, or none that takes the request. No answer is an [`Answer`] with status 0.
    pub fn ask(&self, upgrade: &Upgrade) -> io::Result<Answer> {
        let connection = self.send(&upgrade.bytes())?;
        Ok(Answer::read(connection, Vec::new(), Some(upgrade), self.timeout))
    }

    /// Sends bytes that may be no request at all on a new connection, and reads what answers them.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn ask_raw(&self, bytes: &[u8]) -> io::Result<Answer> {
        Ok(Answer::read(self.send(bytes)?, Vec::new(), None, self.timeout))
    }

    /// Sends the request on a new connection and expects a correct 101.
    ///
    /// # Errors
    /// As [`Self::ask`], and any other answer.
    pub fn open(&self, upgrade: &Upgrade) -> io::Result<WebSocket> {
        let answer = self.ask(upgrade)?;
        match answer.has_right_accept() {
            true => Ok(answer.into_websocket()),
            false => Err(io::Error::other(format!("no WebSocket: {}", answer.head.start))),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Connection> {
        let connection = Connection::open(self.address, self.tls.clone())?;
        connection.write(bytes)?;
        Ok(connection)
    }
}

/// What came back for a request, and the connection it came on.
#[derive(Debug)]
pub struct Answer {
    /// Status line and headers; empty where nothing came.
    pub head: Head,
    /// The body, in full; of a 101 always empty.
    pub body: Vec<u8>,
    connection: Connection,
    rest: Vec<u8>,
    accept: Option<String>,
    timeout: Duration,
    ended: bool,
}

impl Answer {
    /// The status; 0 where the connection ended, or the time was over, before a complete head.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether this is a 101 with the one `Sec-WebSocket-Accept` that answers the key of the request.
    pub fn has_right_accept(&self) -> bool {
        let mut accepts = self.head.values("sec-websocket-accept");
        self.status() == 101 && self.accept.as_deref() == accepts.next() && accepts.next().is_none()
    }

    /// Whether the peer ends the connection within this time. What it sends before that is kept for [`Self::next`].
    pub fn is_closed_within(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while !self.ended {
            match self.connection.read(&mut self.rest, deadline) {
                Received::Bytes => {}
                Received::Eof | Received::Reset => self.ended = true,
                Received::Timeout => break,
            }
        }
        self.ended
    }

    /// Reads one answer more: the one to a pipelined request.
    #[must_use]
    pub fn next(self) -> Self {
        Self::read(self.connection, self.rest, None, self.timeout)
    }

    /// Sends another request on the same connection and reads its answer.
    ///
    /// # Errors
    /// The connection takes no more bytes.
    pub fn ask(self, upgrade: &Upgrade) -> io::Result<Self> {
        self.connection.write(&upgrade.bytes())?;
        Ok(Self::read(self.connection, self.rest, Some(upgrade), self.timeout))
    }

    /// The connection as a WebSocket, whatever the status was.
    pub fn into_websocket(self) -> WebSocket {
        WebSocket::new(self.head, self.connection, self.rest)
    }

    fn read(connection: Connection, rest: Vec<u8>, upgrade: Option<&Upgrade>, timeout: Duration) -> Self {
        let key = upgrade.and_then(|upgrade| upgrade.value("sec-websocket-key"));
        let accept = key.map(|key| accept_of(&String::from_utf8_lossy(key)));
        let mut answer =
            Self { head: Head::default(), body: Vec::new(), connection, rest, accept, timeout, ended: false };
        let deadline = Instant::now() + timeout;
        loop {
            if let Some((head, size)) = Head::parse(&answer.rest) {
                answer.rest.drain(..size);
                // "100 Continue" and its like come before the answer (RFC 9110 §15.2).
                if head.status() != 101 && head.status() / 100 == 1 {
                    continue;
                }
                answer.head = head;
                break;
            }
            if !answer.receive(deadline) {
                return answer;
            }
        }
        answer.read_body(deadline);
        answer
    }

    /// Takes the body off, by the rules of RFC 9112 §6.3.
    fn read_body(&mut self, deadline: Instant) {
        if matches!(self.status(), 101 | 204 | 304) {
            return;
        }
        let chunked = self.head.values("transfer-encoding").any(|value| value.eq_ignore_ascii_case("chunked"));
        let len = self.head.value("content-length").and_then(|len| len.parse::<usize>().ok());
        loop {
            let complete = match (chunked, len) {
                (true, _) => unchunk(&self.rest),
                (false, Some(len)) => self.rest.get(..len).map(|body| (body.to_vec(), len)),
                (false, None) => None,
            };
            if let Some((body, size)) = complete {
                self.body = body;
                self.rest.drain(..size);
                return;
            }
            if !self.receive(deadline) {
                self.body = std::mem::take(&mut self.rest);
                return;
            }
        }
    }

    fn receive(&mut self, deadline: Instant) -> bool {
        let received = self.connection.read(&mut self.rest, deadline);
        self.ended |= matches!(received, Received::Eof | Received::Reset);
        received == Received::Bytes
    }
}

/// TLS for a client that trusts the authorities in `ca_pem` only, asks for `name` and speaks `protocol`.
pub(super) fn tls(name: &str, ca_pem: &str, protocol: &str) -> io::Result<(Arc<ClientConfig>, ServerName<'static>)> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(PROVIDER.clone()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    Ok((Arc::new(config), name))
}

/// A chunked body and its size on the wire, once its last chunk is there (RFC 9112 §7.1). Trailers are not expected.
fn unchunk(mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let before = bytes.len();
    let mut body = Vec::new();
    loop {
        let line_end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let (line, rest) = bytes.split_at_checked(line_end)?;
        let size = line.split(|&byte| byte == b';').next().and_then(|size| str::from_utf8(size).ok())?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let (chunk, rest) = rest.get(2..)?.split_at_checked(size)?;
        body.extend(chunk);
        bytes = rest.get(2..)?;
        if size == 0 {
            return Some((body, before - bytes.len()));
        }
    }
}

/// An answer through Envoy takes milliseconds; on a machine that compiles meanwhile, up to a few seconds.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_ends_with_its_empty_chunk() {
        let bytes = b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\nHTTP/1.1 200";
        assert_eq!(unchunk(bytes), Some((b"abc0123456789".to_vec(), bytes.len() - 12)));
        for end in 0..bytes.len() - 12 {
            assert_eq!(unchunk(&bytes[..end]), None);
        }
    }
}
