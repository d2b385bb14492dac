//! `fastwebsockets`, with a runtime of its own for each connection.

use std::future::Future;
use std::time::Duration;

use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, WebSocketError, handshake};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::rt::Executor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::{Event, Say, Socket};

struct Fast<S> {
    runtime: Runtime,
    socket: FragmentCollector<S>,
    subprotocol: Option<String>,
}

struct Spawn;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawn {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

/// # Errors
/// What the library says of an upgrade that fails.
pub(crate) fn open(url: &str, subprotocols: &[String]) -> Result<Box<dyn Socket>, String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let (authority, path) = url.trim_start_matches("ws://").split_once('/').ok_or("no path")?;
    let mut request = Request::get(format!("/{path}"))
        .header("Host", authority)
        .header("Upgrade", "websocket")
        .header("Connection", "upgrade")
        .header("Sec-WebSocket-Key", handshake::generate_key())
        .header("Sec-WebSocket-Version", "13");
    if !subprotocols.is_empty() {
        request = request.header("Sec-WebSocket-Protocol", subprotocols.join(", "));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let (socket, response) = runtime
        .block_on(async { handshake::client(&Spawn, request, TcpStream::connect(authority).await?).await })
        .map_err(|error: WebSocketError| error.to_string())?;
    let subprotocol = response.headers().get("Sec-WebSocket-Protocol");
    let subprotocol = subprotocol.and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Box::new(Fast { runtime, socket: FragmentCollector::new(socket), subprotocol }))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket for Fast<S> {
    fn send(&mut self, message: Say<'_>) -> Result<(), String> {
        let payload = |octets: &[u8]| Payload::Owned(octets.to_vec());
        let frame = match message {
            Say::Binary(octets) => Frame::binary(payload(octets)),
            Say::Close => Frame::close(1000, b"bye"),
            Say::Fragment(text, is_first, is_last) => {
                let opcode = if is_first { OpCode::Text } else { OpCode::Continuation };
                Frame::new(is_last, opcode, None, payload(text.as_bytes()))
            }
            Say::Ping(octets) => Frame::new(true, OpCode::Ping, None, payload(octets)),
            Say::Text(text) => Frame::text(payload(text.as_bytes())),
        };
        self.runtime.block_on(self.socket.write_frame(frame)).map_err(|error| error.to_string())
    }

    fn receive(&mut self, patience: Duration) -> Option<Event> {
        // Pings, which it has answered, are nothing that came.
        let read = async {
            loop {
                match self.socket.read_frame().await {
                    Ok(frame) if frame.opcode == OpCode::Ping => {}
                    result => return result.map(|frame| (frame.opcode, frame.payload.to_vec())),
                }
            }
        };
        let timed = async { tokio::time::timeout(patience, read).await };
        let (opcode, octets) = match self.runtime.block_on(timed).ok()? {
            Ok(frame) => frame,
            Err(error) => return Some(Event::Closed(error.to_string())),
        };
        match opcode {
            OpCode::Binary => Some(Event::Binary(octets)),
            OpCode::Close => {
                let (code, reason) = octets.split_at_checked(2).unwrap_or_default();
                let code = code.try_into().map_or(1005, u16::from_be_bytes);
                Some(Event::Closed(format!("{code} {}", String::from_utf8_lossy(reason)).trim_end().to_owned()))
            }
            OpCode::Pong => Some(Event::Pong(octets)),
            OpCode::Text => Some(Event::Text(String::from_utf8_lossy(&octets).into_owned())),
            OpCode::Continuation | OpCode::Ping => None,
        }
    }

    fn subprotocol(&self) -> Option<String> {
        self.subprotocol.clone()
    }
}
