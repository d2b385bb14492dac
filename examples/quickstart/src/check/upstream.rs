//! A backend that breaks the rules: its answer to the upgrade, and its frames.

use portcullis_envoy::peer::backend::{Mode, Play, echo};
use portcullis_envoy::peer::frame::{BINARY, CLOSE, CONTINUATION, Draft, Frame, PING, TEXT};
use portcullis_envoy::peer::head::{Head, accept_of};
use portcullis_envoy::peer::websocket::Event;

use super::frames;
use super::scene::{Case, OPENING, PATIENCE, describe, ending};

/// How it answers the upgrade, what the client gets, and the bytes.
type AnswerRow = (&'static str, &'static str, fn(&Head) -> Vec<u8>);

const ANSWERS: [AnswerRow; 10] = [
    ("wrong Accept", BAD, |head| head.accepted_with(&[("Sec-WebSocket-Accept", &accept_of("another key"))])),
    ("no Accept", BAD, |head| head.accepted_with(&[("Sec-WebSocket-Accept", "")])),
    ("two Accepts", BAD, |head| {
        let right = head.value("sec-websocket-key").map(accept_of).unwrap_or_default();
        let lines = [("Sec-WebSocket-Accept", right.as_str()), ("Sec-WebSocket-Accept", &accept_of("another key"))];
        head.accepted_with(&lines)
    }),
    ("subprotocol not offered", BAD, |head| head.accepted_with(&[("Sec-WebSocket-Protocol", "soap")])),
    ("two subprotocols", BAD, |head| {
        head.accepted_with(&[("Sec-WebSocket-Protocol", "chat.v1"), ("Sec-WebSocket-Protocol", "chat.v2")])
    }),
    ("extension not offered", BAD, |head| head.accepted_with(&[("Sec-WebSocket-Extensions", "permessage-deflate")])),
    ("200, of which Envoy drops the body", "200", |_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
    ("404", "404 none", |_| b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_vec()),
    ("401", "401 who", |_| {
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 3\r\n\r\nwho".to_vec()
    }),
    ("503", "503 busy", |_| b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy".to_vec()),
];

/// How it answers the first message, how the client fares, the code of the Close that it gets itself, and the bytes.
type FrameRow = (&'static str, &'static str, u16, fn() -> Vec<u8>);

const FRAMES: [FrameRow; 8] = [
    ("two megabytes", "1011 message_too_big", 1009, || Draft::text(&"x".repeat(2_000_000)).bytes()),
    ("two megabytes in fragments", "2 good, 1011 message_too_big", 1009, || {
        let part = "x".repeat(500_000);
        let more = Draft::new(CONTINUATION, part.clone()).unfinished().bytes();
        [Draft::text(&part).unfinished().bytes(), more.clone(), more, Draft::new(CONTINUATION, part).bytes()].concat()
    }),
    ("masked", PROTOCOL, 1002, || Draft::text("x").masked().bytes()),
    ("RSV1 set", PROTOCOL, 1002, || Draft::text("x").rsv(0b100).bytes()),
    ("reserved opcode b", PROTOCOL, 1002, || Draft::new(0xb, "x").bytes()),
    ("ping of 126 bytes", PROTOCOL, 1002, || Draft::new(PING, "x".repeat(126)).bytes()),
    ("Close of one byte", PROTOCOL, 1002, || Draft::new(CLOSE, "x").bytes()),
    ("no frame at all: RFB", PROTOCOL, 1002, || b"RFB 003.008\n".to_vec()),
];

const BAD: &str = "502 bad_upstream_handshake";
const PROTOCOL: &str = "1011 protocol_error";

/// The backend of all cases: an echo, but on the paths of the tables above.
pub(super) fn mode() -> Mode {
    Mode::scripted(|head| {
        let path = head.target().split('?').next().unwrap_or_default();
        if let Some((.., answer)) = ANSWERS.iter().find(|(name, ..)| path == path_of("answer", name)) {
            return Play::answer(answer(head));
        }
        if path == frames::COMPRESSED {
            return Play::answer(head.accepted_with(&[("Sec-WebSocket-Extensions", "permessage-deflate")]));
        }
        if path == "/binary" {
            return Play::correct(head)
                .on_frame(|frame| if frame.opcode == TEXT { Draft::binary([0; 4]).bytes() } else { echo(frame) });
        }
        match FRAMES.iter().find(|(name, ..)| path == path_of("frame", name)) {
            Some(&(.., bytes)) => Play::correct(head)
                .on_frame(move |frame: &Frame| if frame.opcode == TEXT { bytes() } else { echo(frame) }),
            None => Play::correct(head),
        }
    })
}

/// How many of the answers are the backend's own to give.
pub(super) fn own_answers() -> usize {
    ANSWERS.iter().filter(|(_, expected, _)| *expected != BAD).count()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(ANSWERS.map(|(name, expected, _)| {
        Case::new(format!("backend answers: {name}"), expected, move |scene| {
            let upgrade = scene.upgrade_to(&path_of("answer", name)).subprotocols("chat.v1, chat.v2");
            Ok(describe(&scene.stage.client.ask(&upgrade)?))
        })
    }));
    cases.extend(FRAMES.map(|(name, client, code, _)| {
        Case::new(format!("backend sends: {name}"), format!("{client}, backend: {code}"), move |scene| {
            let mut websocket = scene.stage.client.open(&scene.upgrade_to(&path_of("frame", name)))?;
            websocket.send_frame(Draft::text(OPENING))?;
            let ending = ending(&mut websocket);
            let farewell = scene.farewell()?;
            let other = if ending.ends_with(&farewell.reason) { "" } else { &farewell.reason };
            Ok(format!("{ending}, backend: {}{other}", farewell.code))
        })
    }));
    cases.push(Case::new("backend sends: binary, which only it may", "1 frame, binary", |scene| {
        let mut websocket = scene.stage.client.open(&scene.upgrade_to("/binary"))?;
        websocket.send_frame(Draft::text(OPENING))?;
        Ok(match websocket.receive(PATIENCE) {
            Event::Frame(frame) if frame.opcode == BINARY => "1 frame, binary".into(),
            event => format!("{event:?}"),
        })
    }));
    cases
}

/// The path on which the backend plays a row of a table.
fn path_of(table: &str, name: &str) -> String {
    format!("/{table}/{}", name.replace([' ', ':'], "-"))
}
