//! `tungstenite`, blocking.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::{Event, Say, Socket};

struct Tungstenite {
    socket: WebSocket<TcpStream>,
    subprotocol: Option<String>,
}

/// # Errors
/// What the library says of an upgrade that fails.
pub(crate) fn open(url: &str, subprotocols: &[String]) -> Result<Box<dyn Socket>, String> {
    let mut request = url.into_client_request().map_err(|error| error.to_string())?;
    if !subprotocols.is_empty() {
        let value = subprotocols.join(", ").parse().map_err(|_| "a subprotocol is no header value")?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", value);
    }
    let authority = request.uri().authority().ok_or("no authority")?.as_str().to_owned();
    let stream = TcpStream::connect(authority).map_err(|error| error.to_string())?;
    let (socket, response) = tungstenite::client(request, stream).map_err(|error| match error {
        HandshakeError::Failure(Error::Http(response)) => {
            let body = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned();
            format!("{} {body}", Error::Http(response))
        }
        HandshakeError::Failure(error) => error.to_string(),
        HandshakeError::Interrupted(_) => "interrupted".into(),
    })?;
    let subprotocol = response.headers().get("Sec-WebSocket-Protocol");
    let subprotocol = subprotocol.and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Box::new(Tungstenite { socket, subprotocol }))
}

impl Socket for Tungstenite {
    fn send(&mut self, message: Say<'_>) -> Result<(), String> {
        let message = match message {
            Say::Binary(octets) => Message::Binary(octets.to_vec().into()),
            Say::Close => Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "bye".into() })),
            Say::Fragment(text, is_first, is_last) => {
                let opcode = OpCode::Data(if is_first { Data::Text } else { Data::Continue });
                Message::Frame(Frame::message(text.to_owned(), opcode, is_last))
            }
            Say::Ping(octets) => Message::Ping(octets.to_vec().into()),
            Say::Text(text) => Message::Text(text.into()),
        };
        self.socket.send(message).map_err(|error| error.to_string())
    }

    fn receive(&mut self, patience: Duration) -> Option<Event> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.checked_duration_since(Instant::now())?.max(Duration::from_millis(1));
            let _ = self.socket.get_ref().set_read_timeout(Some(left));
            return match self.socket.read() {
                Ok(Message::Text(text)) => Some(Event::Text(text.to_string())),
                Ok(Message::Binary(octets)) => Some(Event::Binary(octets.to_vec())),
                Ok(Message::Pong(octets)) => Some(Event::Pong(octets.to_vec())),
                Ok(Message::Close(Some(frame))) => {
                    let told = format!("{} {}", u16::from(frame.code), frame.reason);
                    // Its answer is sent while it is read on, until its peer has ended.
                    while self.socket.read().is_ok() {}
                    Some(Event::Closed(told))
                }
                Ok(Message::Close(None)) => Some(Event::Closed("1005".into())),
                Ok(Message::Ping(_) | Message::Frame(_)) => continue,
                Err(Error::Io(error)) if is_timeout(&error) => None,
                Err(error) => Some(Event::Closed(error.to_string())),
            };
        }
    }

    fn subprotocol(&self) -> Option<String> {
        self.subprotocol.clone()
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
