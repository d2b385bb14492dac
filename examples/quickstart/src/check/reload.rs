//! A policy that changes under open connections, at a gate of its own. One case uses it at a time.

use std::error::Error;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use portcullis_envoy::peer::client::Client;
use portcullis_envoy::peer::frame::Draft;
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use portcullis_envoy::{Envoy, Update};
use serde_json::{Value, json};

use super::scene::{Case, Got, PATIENCE, Scene, echo, ending};
use crate::gate::SETTLING;
use crate::policy::ORIGIN;

/// How long a message may be under the one policy, and under the other.
pub(super) const LONG: usize = 100;
const SHORT: usize = 50;
/// How many messages break a rule under `mode: monitor`.
const VIOLATIONS: usize = 3;

/// A policy under which messages may be so long.
pub(super) fn policy(message_max: usize) -> Value {
    json!({
        "require_tls": false,
        "origin": {"allow": [ORIGIN]},
        "auth": {"required": false},
        "messages": {"from_client": {"max_message_bytes": message_max}},
        "limits": {"per_address": null},
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("a shorter message_max", "echo, echo, 1009 message_too_big", |gate| {
            let mut websocket = gate.open()?;
            let before = echo(&mut websocket, &"x".repeat(LONG))?;
            gate.update(&policy(SHORT))?;
            let after = echo(&mut websocket, &"x".repeat(SHORT))?;
            Ok(format!("{before}, {after}, {}", end(&mut websocket, Draft::text(&"x".repeat(SHORT + 1)))?))
        }),
        case("a policy that is put back", "echo, echo, 1009 message_too_big", |gate| {
            let mut websocket = gate.open()?;
            gate.update(&policy(SHORT))?;
            let before = echo(&mut websocket, &"x".repeat(SHORT))?;
            // Until then a request under the old policy may have been on its way.
            thread::sleep(SETTLING);
            gate.update(&policy(LONG))?;
            // The worker's next request brings the old policy into force for all of its connections.
            gate.open()?;
            let after = echo(&mut websocket, &"x".repeat(LONG))?;
            Ok(format!("{before}, {after}, {}", end(&mut websocket, Draft::text(&"x".repeat(LONG + 1)))?))
        }),
        case("a policy that would not let it in", "echo, 1012 policy_changed", |gate| {
            let mut websocket = gate.open()?;
            let before = echo(&mut websocket, "hello")?;
            let mut elsewhere = policy(LONG);
            elsewhere["hosts"] = json!(["elsewhere.example.com"]);
            gate.update(&elsewhere)?;
            Ok(format!("{before}, {}", ending(&mut websocket)))
        }),
        case("monitor, then enforce", "3 pass, 3 counted, 1003 type_refused", |gate| {
            let mut monitoring = policy(LONG);
            monitoring["mode"] = "monitor".into();
            gate.update(&monitoring)?;
            let mut websocket = gate.open()?;
            let counted = gate.counted()?;
            let mut passed = 0;
            for _ in 0..VIOLATIONS {
                websocket.send_frame(Draft::binary("x"))?;
                passed +=
                    usize::from(matches!(websocket.receive(PATIENCE), Event::Frame(frame) if frame.payload == b"x"));
            }
            let counted = gate.counts(counted, VIOLATIONS as u64)?;
            gate.update(&policy(LONG))?;
            Ok(format!("{passed} pass, {counted} counted, {}", end(&mut websocket, Draft::binary("x"))?))
        }),
    ]
}

/// A case that begins under the policy for long messages.
fn case(name: &str, expected: &str, play: fn(&Gate<'_>) -> Got) -> Case {
    Case::new(format!("reload: {name}"), expected, move |scene| {
        let envoy = scene.stage.reload.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = Gate { scene, envoy: &envoy, client: Client::plain(envoy.address()) };
        gate.update(&policy(LONG))?;
        play(&gate)
    })
}

/// The gate, as one case has it.
struct Gate<'a> {
    scene: &'a Scene<'a>,
    envoy: &'a Envoy,
    client: Client,
}

impl Gate<'_> {
    fn open(&self) -> Result<WebSocket, Box<dyn Error>> {
        Ok(self.client.open(&self.scene.stranger())?)
    }

    fn update(&self, policy: &Value) -> Result<(), Box<dyn Error>> {
        match self.envoy.update_policy(policy)? {
            Update::Accepted => Ok(()),
            Update::Rejected => Err("the policy was refused".into()),
        }
    }

    /// How many messages of a wrong type were let through.
    fn counted(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.envoy.counter("portcullis.would_refuse.type_refused")?)
    }

    /// How many more there are than before: waits for as many as are expected, since Envoy adds its workers' counts up now and then.
    fn counts(&self, before: u64, expected: u64) -> Result<u64, Box<dyn Error>> {
        let start = Instant::now();
        loop {
            let more = self.counted()?.saturating_sub(before);
            if more >= expected || start.elapsed() > PATIENCE {
                return Ok(more);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Sends a message that is refused, and returns how.
fn end(websocket: &mut WebSocket, message: Draft) -> Got {
    websocket.send_frame(message)?;
    Ok(ending(websocket))
}
