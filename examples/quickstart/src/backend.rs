//! The backend behind the gate: a small chat service on tokio-tungstenite that knows nothing of tokens.
//!
//! It returns each message to its sender. Two commands show what the gate does: `whoami` is answered with the `x-user`
//! that the gate has written, and `send N` with a message of N bytes, which the gate cuts when it is too long. A plain
//! request for `/` gets a page that talks to it.

use std::net::SocketAddr;
use std::thread;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::{runtime, task};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};
use tokio_tungstenite::tungstenite::{self, Message};

/// The subprotocols it speaks.
const SUBPROTOCOLS: [&str; 2] = ["chat.v1", "chat.v2"];

const PAGE: &str = include_str!("page.html");
const PAGE_REQUEST: &[u8] = b"GET / HTTP/1.1\r\n";

/// The longest message that `send` makes: more than any limit of the demo, and no strain on memory.
const SEND_LEN_MAX: usize = 16_777_216;

/// Starts the backend on a free port of 127.0.0.1, in a thread of its own that lives as long as the process.
///
/// # Errors
/// No port to listen on.
pub(crate) fn start() -> std::io::Result<SocketAddr> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        runtime.block_on(async {
            // A connection that fails before its upgrade concerns only its client.
            loop {
                if let Ok((socket, _)) = listener.accept().await {
                    task::spawn(serve(socket));
                }
            }
        });
    });
    Ok(address)
}

/// The page for a request for it, a conversation for all others.
async fn serve(socket: TcpStream) -> tungstenite::Result<()> {
    let mut start = [0; PAGE_REQUEST.len()];
    // Envoy sends the head in one piece, so there is no need to wait for the rest of one.
    let len = socket.peek(&mut start).await?;
    if start[..len] == *PAGE_REQUEST { hand_out_page(socket).await } else { converse(socket).await }
}

async fn hand_out_page(mut socket: TcpStream) -> tungstenite::Result<()> {
    socket.write_all(page().as_bytes()).await?;
    Ok(socket.shutdown().await?)
}

/// The answer that brings the page.
pub(crate) fn page() -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{PAGE}",
        PAGE.len()
    )
}

/// Answers one client until it leaves; any fault ends the conversation.
async fn converse(socket: TcpStream) -> tungstenite::Result<()> {
    let mut user = String::new();
    #[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
    let upgrade = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        user = text(request.headers(), "x-user").unwrap_or("nobody").to_owned();
        let offers = text(request.headers(), "sec-websocket-protocol").unwrap_or_default();
        if let Some(chosen) =
            offers.split(',').find_map(|offer| SUBPROTOCOLS.iter().find(|name| **name == offer.trim()))
        {
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(chosen));
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async(socket, upgrade).await?;
    while let Some(message) = socket.next().await {
        let answer = match message? {
            Message::Text(text) if text.as_str() == "whoami" => Message::text(&user),
            Message::Text(text) => match text.strip_prefix("send ").and_then(|len| len.parse::<usize>().ok()) {
                Some(len) => Message::text("x".repeat(len.min(SEND_LEN_MAX))),
                None => Message::Text(text),
            },
            Message::Binary(bytes) => Message::Binary(bytes),
            // tungstenite answers these itself.
            Message::Close(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => continue,
        };
        socket.send(answer).await?;
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
