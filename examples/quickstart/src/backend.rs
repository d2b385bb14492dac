//! The backend behind the gate: a small chat service on tokio-tungstenite that knows nothing of tokens.
//!
//! It returns each message to its sender. Two commands show what the gate does: `whoami` is answered with the `x-user`
//! that the gate has written, and `send N` with a message of N bytes, which the gate cuts when it is too long. A command may also be the `text`
//! of a JSON object. A plain request for `/` gets the playground's page, below `/playground` are its files and what it asks of the demo, and
//! `/login` and `/logout` lead to the identity provider.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::{runtime, task};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::playground::{self, CONTENT_POLICY, PAGE, Playground, Request as PageRequest};
use crate::provider::{Provider, Reply};

/// The subprotocols it speaks.
const SUBPROTOCOLS: [&str; 2] = ["chat.v1", "chat.v2"];

/// More than the longest request line that is told apart.
const START_LEN: usize = 128;

/// The longest plain request: a policy.
const REQUEST_LEN_MAX: usize = 65_536;

/// The longest message that `send` makes: more than any limit of the demo, and no strain on memory.
const SEND_LEN_MAX: usize = 16_777_216;

/// Starts the backend on a free port of 127.0.0.1, in a thread of its own that lives as long as the process.
///
/// # Errors
/// No port to listen on.
pub(crate) fn start(provider: Arc<Provider>, playground: Arc<Playground>) -> std::io::Result<SocketAddr> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        runtime.block_on(async {
            // A connection that fails before its upgrade concerns only its client.
            loop {
                if let Ok((socket, _)) = listener.accept().await {
                    task::spawn(serve(socket, Arc::clone(&provider), Arc::clone(&playground)));
                }
            }
        });
    });
    Ok(address)
}

/// Answers a plain request; all others are conversations.
async fn serve(
    mut socket: TcpStream,
    provider: Arc<Provider>,
    playground: Arc<Playground>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut start = [0; START_LEN];
    // Envoy sends the head in one piece, so there is no need to wait for the rest of one.
    let len = socket.peek(&mut start).await?;
    let start = String::from_utf8_lossy(&start[..len]);
    let mut words = start.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let answer = match (method, target) {
        ("POST", "/login") => {
            let (_, form) = read(&mut socket).await?;
            response(&provider.login(&form))
        }
        ("POST", "/logout") => {
            let (head, _) = read(&mut socket).await?;
            let bearer = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or_default();
            let token = bearer.to_owned();
            // It waits for the gate.
            let reply = task::spawn_blocking(move || provider.logout(&token)).await;
            response(&reply.unwrap_or_else(|error| (500, error.to_string())))
        }
        ("GET", target) if let Some(answer) = resource(target.split('?').next().unwrap_or(target)) => {
            read(&mut socket).await?;
            answer
        }
        (method, target) => match playground::path_below(target) {
            Some(path) => return play(socket, method, path, playground).await,
            None => return Ok(converse(socket).await?),
        },
    };
    finish(socket, &answer).await
}

/// Answers a request for the playground.
async fn play(
    mut socket: TcpStream,
    method: &str,
    path: &str,
    playground: Arc<Playground>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (head, body) = read(&mut socket).await?;
    let (method, path) = (method.to_owned(), path.to_owned());
    if PageRequest::is_stream(&method, &path) {
        let socket = socket.into_std()?;
        socket.set_nonblocking(false)?;
        task::spawn_blocking(move || {
            let request = PageRequest { method: &method, path: &path, head: &head, body: &body };
            // It ends when its reader has gone.
            let _ = playground.stream(&request, &socket);
        });
        return Ok(());
    }
    let reply = task::spawn_blocking(move || {
        playground.answer(&PageRequest { method: &method, path: &path, head: &head, body: &body })
    });
    finish(socket, &response(&reply.await?)).await
}

async fn finish(mut socket: TcpStream, answer: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
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
    content(*status, "application/json", body)
}

/// The answer that brings the page, or one of its files.
pub(crate) fn resource(target: &str) -> Option<String> {
    if target == "/" { Some(content(200, "text/html", PAGE)) } else { file(playground::path_below(target)?) }
}

fn file(path: &str) -> Option<String> {
    let (kind, text) = Playground::file(path)?;
    Some(content(200, kind, text))
}

fn content(status: u16, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} \r\ncontent-type: {kind}; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         content-security-policy: {CONTENT_POLICY}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}",
        body.len()
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
            Message::Text(text) => answer(&text, &user).map_or(Message::Text(text), Message::text),
            Message::Binary(bytes) => Message::Binary(bytes),
            // tungstenite answers these itself.
            Message::Close(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => continue,
        };
        socket.send(answer).await?;
    }
    Ok(())
}

/// The answer to a command; other messages have none.
fn answer(message: &str, user: &str) -> Option<String> {
    let object = serde_json::from_str::<Value>(message).unwrap_or_default();
    let command = object["text"].as_str().unwrap_or(message);
    if command == "whoami" {
        return Some(user.to_owned());
    }
    let len: usize = command.strip_prefix("send ")?.parse().ok()?;
    Some("x".repeat(len.min(SEND_LEN_MAX)))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
