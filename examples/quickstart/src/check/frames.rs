//! Frames that a client must not send: cut with the right code, while the backend is left with a Close and no payload.

use portcullis_envoy::peer::frame::{CLOSE, CONTINUATION, Draft, PING, PONG, TEXT, Width};
use portcullis_envoy::peer::websocket::Event;

use serde_json::{Value, json};

use super::scene::{Case, Got, OPENING, PATIENCE, Scene, echo, ending, text_of};
use crate::policy::{FEED_MESSAGE_MAX, MESSAGE_MAX};

/// What is sent, what ends the connection, how many good frames of it reach the backend, and the bytes.
type Row = (&'static str, &'static str, usize, fn() -> Vec<u8>);

const BROKEN: [Row; 26] = [
    ("one byte too long", TOO_BIG, 0, || text_of(MESSAGE_MAX + 1)),
    ("message too long in two fragments", TOO_BIG, 1, || {
        let half = "x".repeat(MESSAGE_MAX / 2 + 1);
        [Draft::text(&half).unfinished().masked().bytes(), Draft::new(CONTINUATION, half).masked().bytes()].concat()
    }),
    ("2^62 bytes announced", TOO_BIG, 0, || Draft::text("").declared_len(1 << 62).masked().bytes()),
    ("2^32 + 1 bytes announced", TOO_BIG, 0, || Draft::text("").declared_len((1 << 32) + 1).masked().bytes()),
    ("2^63 bytes announced", PROTOCOL, 0, || Draft::text("").declared_len(1 << 63).masked().bytes()),
    ("not masked", PROTOCOL, 0, || Draft::text("x").bytes()),
    ("RSV1 set", PROTOCOL, 0, || Draft::text("x").rsv(0b100).masked().bytes()),
    ("RSV2 set", PROTOCOL, 0, || Draft::text("x").rsv(0b010).masked().bytes()),
    ("RSV3 set on a ping", PROTOCOL, 0, || Draft::new(PING, "x").rsv(0b001).masked().bytes()),
    ("reserved opcode 3", PROTOCOL, 0, || Draft::new(0x3, "x").masked().bytes()),
    ("reserved opcode f", PROTOCOL, 0, || Draft::new(0xf, "x").masked().bytes()),
    ("binary where text is asked for", "1003 type_refused", 0, || Draft::binary("x").masked().bytes()),
    ("length in 16 bits where 7 do", PROTOCOL, 0, || Draft::text("x").width(Width::Sixteen).masked().bytes()),
    ("length in 64 bits where 16 do", PROTOCOL, 0, || {
        Draft::text(&"x".repeat(300)).width(Width::SixtyFour).masked().bytes()
    }),
    ("continuation of nothing", PROTOCOL, 0, || Draft::new(CONTINUATION, "x").masked().bytes()),
    ("text inside a fragmented message", PROTOCOL, 1, || {
        [Draft::text("hello").unfinished().masked().bytes(), Draft::text("b").masked().bytes()].concat()
    }),
    ("ping in fragments", PROTOCOL, 0, || Draft::new(PING, "x").unfinished().masked().bytes()),
    ("ping of 126 bytes", PROTOCOL, 0, || Draft::new(PING, "x".repeat(126)).masked().bytes()),
    ("Close of one byte", PROTOCOL, 0, || Draft::new(CLOSE, "x").masked().bytes()),
    ("65 fragments", "1008 fragments_exceeded", 64, || {
        let more = Draft::new(CONTINUATION, "").unfinished();
        let rest = (0..64).flat_map(|_| more.clone().masked().bytes());
        Draft::text("hello").unfinished().masked().bytes().into_iter().chain(rest).collect()
    }),
    ("text that is not UTF-8", "1007 invalid_utf8", 0, || Draft::new(TEXT, b"\xff").masked().bytes()),
    ("message that begins as SSH does", TUNNEL, 0, || Draft::text("SSH-2.0-OpenSSH_9.9\r\n").masked().bytes()),
    ("message that begins as TLS does", TUNNEL, 0, || {
        Draft::text("\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03 and many more bytes").masked().bytes()
    }),
    ("no frame at all: SSH", PROTOCOL, 0, || b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
    ("no frame at all: HTTP", PROTOCOL, 0, || b"GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
    ("no frame at all: TLS", PROTOCOL, 0, || b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
];

const TOO_BIG: &str = "1009 message_too_big";
const PROTOCOL: &str = "1002 protocol_error";
const TUNNEL: &str = "1008 tunnel_refused";
/// The path on which messages may be compressed.
pub(super) const COMPRESSED: &str = "/compressed";

/// Messages in frames with RSV1 (RFC 7692 §7.2.3).
const DEFLATED: [(&str, &str, &[u8]); 3] = [
    ("compressed text", "echo", b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
    ("compressed, but no deflate", "1007 invalid_deflate", b"\x07"),
    // One that is stored: §7.2.3.3.
    ("compressed text that is not UTF-8", "1007 invalid_utf8", b"\x00\x01\x00\xfe\xff\xff\x00"),
];

pub(super) fn routes() -> Vec<Value> {
    vec![json!({"match": {"path": COMPRESSED}, "policy": {"compression": "inspect"}})]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("frame: longest text allowed", "echo", |scene| {
            let mut websocket = scene.stage.client.open(&scene.upgrade())?;
            echo(&mut websocket, &"x".repeat(MESSAGE_MAX))
        }),
        Case::new("frame: text in three fragments, ping between", "echo in 3, pong", fragments),
        Case::new("frame: longest text allowed on the stricter route", "echo", |scene| {
            let mut websocket = scene.stage.client.open(&scene.upgrade_to("/feed/news"))?;
            echo(&mut websocket, &"x".repeat(FEED_MESSAGE_MAX))
        }),
        cut("/feed/news", ("one byte too long on the stricter route", TOO_BIG, 0, || text_of(FEED_MESSAGE_MAX + 1))),
        Case::new("frame: Close", "1000 bye, backend: 1000 bye", |scene| {
            let mut websocket = scene.stage.client.open(&scene.upgrade())?;
            echo(&mut websocket, OPENING)?;
            websocket.send_frame(Draft::close(1000, "bye"))?;
            let ending = ending(&mut websocket);
            let request =
                scene.arrival(|request| request.end.is_some()).ok_or("the backend's connection did not end")?;
            let close = request.frames().0.into_iter().find(|frame| frame.opcode == CLOSE);
            let close = close.ok_or("the backend received no Close")?;
            Ok(format!("{ending}, backend: {} {}", close.close_code().unwrap_or_default(), close.close_reason()))
        }),
    ];
    cases.extend(DEFLATED.map(|(name, answer, payload)| {
        Case::judged(format!("frame: {name}"), answer, Draft::new(TEXT, payload).rsv(0b100), |scene| {
            Ok(scene.upgrade_to(COMPRESSED).header("Sec-WebSocket-Extensions", "permessage-deflate"))
        })
    }));
    cases.extend(BROKEN.map(|row| cut("/chat", row)));
    cases
}

/// Bytes behind a good message that end the connection, of which the backend sees no more than what was good.
fn cut(path: &'static str, (name, answer, fragments, bytes): Row) -> Case {
    // The backend has sent them back before it hears of the end.
    let before = if fragments == 0 { String::new() } else { format!("{fragments} good, ") };
    let expected = format!("{before}{answer}, backend: {}", left(fragments));
    Case::new(format!("frame: {name}"), expected, move |scene| {
        let mut websocket = scene.stage.client.open(&scene.upgrade_to(path))?;
        let opened = echo(&mut websocket, OPENING)?;
        if opened != "echo" {
            return Ok(format!("no echo before: {opened}"));
        }
        websocket.send(&bytes())?;
        let ending = ending(&mut websocket);
        Ok(format!("{ending}, backend: {}", left(scene.farewell()?.fragments)))
    })
}

fn left(fragments: usize) -> String {
    if fragments == 0 { "Close only".into() } else { format!("{fragments} good, Close") }
}

/// A control frame may stand between the fragments of a message (RFC 6455 §5.4).
fn fragments(scene: &Scene<'_>) -> Got {
    let mut websocket = scene.stage.client.open(&scene.upgrade())?;
    websocket.send_frame(Draft::text("one ").unfinished())?;
    websocket.send_frame(Draft::new(PING, "p"))?;
    websocket.send_frame(Draft::new(CONTINUATION, "two ").unfinished())?;
    websocket.send_frame(Draft::new(CONTINUATION, "three"))?;
    let mut got = Vec::new();
    for _ in 0..4 {
        match websocket.receive(PATIENCE) {
            Event::Frame(frame) => got.push((frame.opcode, frame.fin)),
            event => return Ok(format!("{event:?} after {} frames", got.len())),
        }
    }
    let pongs = got.extract_if(.., |(opcode, _)| *opcode == PONG).count();
    let echoed = got == [(TEXT, false), (CONTINUATION, false), (CONTINUATION, true)];
    Ok(if echoed && pongs == 1 { "echo in 3, pong".into() } else { format!("{got:?}, {pongs} pongs") })
}
