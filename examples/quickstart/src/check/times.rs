//! How long things may take, on routes where that is less than a second.

use std::error::Error;

use portcullis_envoy::peer::frame::{Draft, PING, PONG};
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use serde_json::{Value, json};

use super::scene::{Case, Got, OPENING, PATIENCE, Scene, echo, ending};

/// Path, what the client does, how it ends, and what it does behind a message that was echoed.
type Row = (&'static str, &'static str, &'static str, fn(&WebSocket) -> Result<(), Box<dyn Error>>);

const ENDS: [Row; 4] = [
    ("/idle", "says nothing", "1001 idle", |_| Ok(())),
    ("/dead", "answers no ping", "1 good, 1001 dead", |_| Ok(())),
    ("/old", "stays", "1001 lifetime", |_| Ok(())),
    ("/slow", "sends half a message", "1008 too_slow", |websocket| {
        Ok(websocket.send(&Draft::text("hello").masked().bytes()[..8])?)
    }),
];

pub(super) fn routes() -> Vec<Value> {
    let route = |path: &str, liveness: Value| json!({"match": {"path": path}, "policy": {"liveness": liveness}});
    vec![
        route("/idle", json!({"idle_timeout": "500ms"})),
        route("/dead", json!({"ping_interval": "500ms", "pong_timeout": "300ms"})),
        route("/old", json!({"max_lifetime": "500ms"})),
        route("/slow", json!({"message_timeout": "500ms"})),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(ENDS.map(|(path, name, expected, act)| {
        Case::new(format!("time: a client that {name}"), format!("{expected}, backend: Close only"), move |scene| {
            let mut websocket = scene.stage.client.open(&scene.upgrade_to(path))?;
            echo(&mut websocket, OPENING)?;
            act(&websocket)?;
            let ending = ending(&mut websocket);
            let farewell = scene.farewell()?;
            let other =
                if farewell.fragments == 0 && ending.contains(&farewell.reason) { "Close only" } else { "MORE" };
            Ok(format!("{ending}, backend: {other}"))
        })
    }));
    cases.push(Case::new("time: a client that answers pings", "5 pings, echo", answers_pings));
    cases
}

/// For twice as long as a connection lives that is cut.
fn answers_pings(scene: &Scene<'_>) -> Got {
    let mut websocket = scene.stage.client.open(&scene.upgrade_to("/dead"))?;
    for number in 0..5 {
        match websocket.receive(PATIENCE) {
            Event::Frame(ping) if ping.opcode == PING => websocket.send_frame(Draft::new(PONG, ping.payload))?,
            event => return Ok(format!("{event:?} behind {number} pings")),
        }
    }
    Ok(format!("5 pings, {}", echo(&mut websocket, "hello")?))
}
