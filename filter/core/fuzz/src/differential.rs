//! Our reading of frames against that of tungstenite.

use std::io::{self, Read, Write};
use std::thread_local;

use portcullis_core::policy::routes::Policies;
use portcullis_core::violation::Violation;
use portcullis_core::wire::Side;
use serde_json::json;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, WebSocket};

use crate::adapter;
use crate::frames::{self, Frame};
use crate::input::Input;

const FRAME_LEN_MAX: usize = 300;
const MESSAGE_LEN_MAX: usize = 500;

thread_local! {
    static POLICIES: Policies = {
        let side = json!({
            "max_frame_bytes": FRAME_LEN_MAX,
            "max_message_bytes": MESSAGE_LEN_MAX,
            "max_fragments": 1_000_000,
            "text": "allow",
            "binary": "allow",
            "utf8": true,
            // What may be a tunnel is held, and then the next frame is not the one behind what was forwarded.
            "tunnels": "allow",
        });
        adapter::policies(&json!({
            "origin": {"allow": ["*"]},
            "auth": {"required": false},
            "messages": {"from_client": side, "from_server": side},
            "limits": {"per_connection": null},
        }))
    };
}

/// A byte for the side, then what it sends: what we let through, tungstenite reads without a fault and as the same messages;
/// and what we refuse as a breach of the protocol, tungstenite refuses too.
pub fn differential(data: &[u8]) {
    let mut input = Input::new(data);
    let from = if input.byte() & 1 == 0 { Side::Client } else { Side::Server };
    let sent = input.rest();
    let mut session = POLICIES.with(adapter::session);
    let (forwarded, violation, _) = adapter::receive(&mut session, from, sent);

    let reading = read(from, &forwarded);
    assert!(reading.fault.is_none(), "forwarded, but {:?}", reading.fault);
    assert_eq!(reading.messages, messages(&forwarded));
    match violation {
        None => {
            let reading = read(from, sent);
            assert!(reading.fault.is_none(), "no violation, but {:?}", reading.fault);
        }
        Some(Violation::ProtocolError) => assert_refused(from, &forwarded, sent),
        Some(_) => {}
    }
}

/// The frame behind what was forwarded is one that tungstenite refuses, or one where we are known to be stricter.
fn assert_refused(from: Side, forwarded: &[u8], sent: &[u8]) {
    let Some(offending) = sent.strip_prefix(forwarded) else { return };
    let Some(frame) = frames::read(offending).into_iter().next() else { return };
    let Some(payload_len) = frame.payload_len else { return };
    if frame.has_long_length() {
        return;
    }
    // The payload is filled up: tungstenite judges a frame only when it is whole.
    let missing = usize::try_from(payload_len).unwrap_or(usize::MAX).saturating_sub(frame.payload.len());
    let stream = [forwarded, &frame.bytes, &vec![0; missing.min(2 * MESSAGE_LEN_MAX)]].concat();
    let reading = read(from, &stream);
    let is_bad_close = |message: &Message| *message == Message::Close(Some((1002, b"Protocol violation".to_vec())));
    let is_refused = reading.fault.is_some() || reading.messages.last().is_some_and(is_bad_close);
    assert!(is_refused, "refused by us alone: {frame:?}");
}

#[derive(Debug, Eq, PartialEq)]
enum Message {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, Vec<u8>)>),
}

/// What tungstenite reads, up to a Close, a fault or the end.
struct Reading {
    messages: Vec<Message>,
    fault: Option<Error>,
}

fn read(from: Side, sent: &[u8]) -> Reading {
    let role = match from {
        Side::Client => Role::Server,
        Side::Server => Role::Client,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(1_024)
        .max_frame_size(Some(FRAME_LEN_MAX))
        .max_message_size(Some(MESSAGE_LEN_MAX));
    let mut socket = WebSocket::from_raw_socket(Wire(sent), role, Some(config));
    let mut messages = Vec::new();
    let fault = loop {
        let message = match socket.read() {
            Ok(tungstenite::Message::Text(text)) => Message::Text(text.as_bytes().to_vec()),
            Ok(tungstenite::Message::Binary(bytes)) => Message::Binary(bytes.to_vec()),
            Ok(tungstenite::Message::Ping(bytes)) => Message::Ping(bytes.to_vec()),
            Ok(tungstenite::Message::Pong(bytes)) => Message::Pong(bytes.to_vec()),
            Ok(tungstenite::Message::Close(close)) => {
                let close = close.map(|close| (close.code.into(), close.reason.as_bytes().to_vec()));
                messages.push(Message::Close(close));
                break None;
            }
            Ok(tungstenite::Message::Frame(_)) => unreachable!("a raw frame is never read"),
            // The end of the bytes.
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break None,
            Err(error) => break Some(error),
        };
        messages.push(message);
    };
    Reading { messages, fault }
}

/// The messages of good frames, up to a Close.
fn messages(bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut open: Option<(u8, Vec<u8>)> = None;
    for frame in frames::read(bytes).into_iter().filter(Frame::is_whole) {
        match frame.opcode() {
            0..=2 => {
                let (opcode, payload) = open.get_or_insert_with(|| (frame.opcode(), Vec::new()));
                payload.extend(&frame.payload);
                if frame.fin() {
                    let wrap = if *opcode == 1 { Message::Text } else { Message::Binary };
                    messages.push(wrap(std::mem::take(payload)));
                    open = None;
                }
            }
            8 => {
                let close = frame.payload.split_first_chunk();
                let close = close.map(|(code, reason)| (u16::from_be_bytes(*code), reason.to_vec()));
                // tungstenite knows no 1014, and answers it as a fault.
                let close = close.map(|(code, reason)| match CloseCode::from(code).is_allowed() {
                    true => (code, reason),
                    false => (1002, b"Protocol violation".to_vec()),
                });
                messages.push(Message::Close(close));
                break;
            }
            9 => messages.push(Message::Ping(frame.payload)),
            _ => messages.push(Message::Pong(frame.payload)),
        }
    }
    messages
}

/// Gives out the bytes, and takes any.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
