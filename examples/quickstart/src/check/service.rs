//! The demo's own backend behind the same gate: what an operator sees after `cargo demo`.

use portcullis_envoy::peer::frame::Draft;
use portcullis_envoy::peer::websocket::Event;

use super::scene::{Case, Got, PATIENCE, Scene, ending};
use crate::tokens::SUBJECT;

/// A text message, and the one that comes back.
const MESSAGES: [(&str, &str); 2] = [("hello", "hello"), ("whoami", SUBJECT)];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(MESSAGES.map(|(sent, expected)| {
        Case::new(format!("chat service: {sent}"), format!("101 chat.v1, {expected}"), move |scene| ask(scene, sent))
    }));
    cases.push(Case::new("chat service: send 1048576", "101 chat.v1, 1048576 bytes", |scene| {
        ask(scene, "send 1048576")
    }));
    cases.push(Case::new("chat service: send 2000000", "1011 message_too_big", |scene| {
        let mut websocket = scene.stage.service.open(&scene.upgrade())?;
        websocket.send_frame(Draft::text("send 2000000"))?;
        Ok(ending(&mut websocket))
    }));
    cases
}

fn ask(scene: &Scene<'_>, text: &str) -> Got {
    let mut websocket = scene.stage.service.open(&scene.upgrade().subprotocols("chat.v1"))?;
    let subprotocol = websocket.head.value("sec-websocket-protocol").unwrap_or("no subprotocol").to_owned();
    let answer = match websocket.exchange(text, PATIENCE)? {
        Event::Frame(frame) if frame.payload.len() > 100 => format!("{} bytes", frame.payload.len()),
        Event::Frame(frame) => String::from_utf8_lossy(&frame.payload).into_owned(),
        event => format!("{event:?}"),
    };
    Ok(format!("101 {subprotocol}, {answer}"))
}
