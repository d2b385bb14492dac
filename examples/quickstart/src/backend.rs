//! The backend behind the gate: a small chat service on tokio-tungstenite that knows nothing of tokens.
//!
//! It returns each message to its sender. Two commands show what the gate does: `whoami` is answered with the `x-user`
//! that the gate has written, and `send N` with a message of N bytes, which the gate cuts when it is too long. A plain
//! request for `/` gets a page that talks to it, and `/login` and `/logout` lead to the identity provider.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::{runtime, task};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::provider::{Provider, Reply};

/// The subprotocols it speaks.
const SUBPROTOCOLS: [&str; 2] = ["chat.v1", "chat.v2"];

const PAGE: &str = include_str!("page.html");

/// The starts of plain requests, each as long as is needed to tell it.
const PAGE_REQUEST: &[u8] = b"GET / HTTP/";
const LOGIN_REQUEST: &[u8] = b"POST /login";
const LOGOUT_REQUEST: &[u8] = b"POST /logou";

/// The longest plain request.
const REQUEST_LEN_MAX: usize = 8_192;

/// The longest message that `send` makes: more than any limit of the demo, and no strain on memory.
const SEND_LEN_MAX: usize = 16_777_216;

/// Starts the backend on a free port of 127.0.0.1, in a thread of its own that lives as long as the process.
///
/// # Errors
/// No port to listen on.
pub(crate) fn start(provider: Arc<Provider>) -> std::io::Result<SocketAddr> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        runtime.block_on(async {
            // A connection that fails before its upgrade concerns only its client.
            loop {
                if let Ok((socket, _)) = listener.accept().await {
                    task::spawn(serve(socket, Arc::clone(&provider)));
                }
            }
        });
    });
    Ok(address)
}

/// Answers a plain request; all others are conversations.
async fn serve(mut socket: TcpStream, provider: Arc<Provider>) -> tungstenite::Result<()> {
    let mut start = [0; PAGE_REQUEST.len()];
    // Envoy sends the head in one piece, so there is no need to wait for the rest of one.
    let len = socket.peek(&mut start).await?;
    let answer = match &start[..len] {
        PAGE_REQUEST => page(),
        LOGIN_REQUEST => {
            let (_, form) = read(&mut socket).await?;
            response(&provider.login(&form))
        }
        LOGOUT_REQUEST => {
            let (head, _) = read(&mut socket).await?;
            let bearer = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or_default();
            let token = bearer.to_owned();
            // It waits for the gate.
            let reply = task::spawn_blocking(move || provider.logout(&token)).await;
            response(&reply.unwrap_or_else(|error| (500, error.to_string())))
        }
        _ => return converse(socket).await,
    };
    socket.write_all(answer.as_bytes()).await?;
    Ok(socket.shutdown().await?)
}

/// Reads a request. Gives its head and its body.
async fn read(socket: &mut TcpStream) -> std::io::Result<(String, String)> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= len.unwrap_or(0) {
                return Ok((head.to_owned(), body.to_owned()));
            }
        }
        if request.len() > REQUEST_LEN_MAX || socket.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
}

/// The answer of this status and body.
pub(crate) fn response((status, body): &Reply) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}"
    )
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
