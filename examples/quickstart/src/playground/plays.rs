//! Attacks that no browser can make: headers that it sets itself, tokens that nobody gave it, and bytes below its WebSocket.

use std::error::Error;
use std::time::Duration;

use portcullis_envoy::peer::client::{Answer, Upgrade};
use portcullis_envoy::peer::frame::Draft;
use portcullis_envoy::peer::websocket::{Verdict, WebSocket};
use serde_json::{Value, json};

use super::{Stage, refusal};
use crate::policy::{ROOM_PATH, TICKET_PATH};
use crate::provider::Reply;
use crate::tokens::Keys;

/// Does it, and says with which status or close code, and for what reason, it ended.
pub(super) type Play = fn(&Player<'_>) -> Result<(u16, String), Box<dyn Error>>;

/// All there are, by their name.
const PLAYS: [(&str, Play); 7] = [
    ("origin", |player| {
        let foreign = format!("https://{}.evil.example", player.stage.authority);
        player.ask(&player.upgrade(&player.keys.corp().text()?).origin(&foreign))
    }),
    ("expired", |player| player.ask(&player.upgrade(&player.keys.corp().time("exp", -3_600).text()?))),
    ("forged", |player| player.ask(&player.upgrade(&player.keys.corp().forged()?))),
    ("replay", |player| {
        let ticket = player.ticket()?;
        let upgrade = || player.stranger(&format!("{ROOM_PATH}?ticket={ticket}"));
        match player.ask(&upgrade())? {
            (101, _) => player.ask(&upgrade()),
            refused => Ok(refused),
        }
    }),
    ("unmasked", |player| player.send(&Draft::text(HELLO).bytes())),
    ("announced", |player| player.send(&Draft::text("").declared_len(1 << 62).masked().bytes())),
    ("slow", |player| player.send(&Draft::text(HELLO).masked().bytes()[..8])),
];

const HELLO: &str = r#"{"text":"hello"}"#;

pub(super) fn find(name: &str) -> Option<Play> {
    PLAYS.iter().find(|(own, _)| *own == name).map(|&(_, play)| play)
}

/// Plays it.
pub(super) fn run(play: Play, stage: &Stage, keys: &Keys) -> Reply {
    match play(&Player { stage, keys }) {
        Ok((code, reason)) => (200, json!({"code": code, "reason": reason}).to_string()),
        Err(error) => refusal(502, &error.to_string()),
    }
}

/// A client of the gate that keeps no rule.
pub(super) struct Player<'a> {
    stage: &'a Stage,
    keys: &'a Keys,
}

impl Player<'_> {
    /// A good upgrade but for its credential, which is missing.
    fn stranger(&self, target: &str) -> Upgrade {
        let authority = &self.stage.authority;
        let upgrade = Upgrade::to(target).host(authority).origin(&format!("https://{authority}"));
        upgrade.subprotocols("chat.v1").header("User-Agent", "portcullis-demo")
    }

    fn upgrade(&self, token: &str) -> Upgrade {
        self.stranger(ROOM_PATH).header("Authorization", format!("Bearer {token}"))
    }

    fn ask(&self, upgrade: &Upgrade) -> Result<(u16, String), Box<dyn Error>> {
        let answer = self.stage.client.ask(upgrade)?;
        Ok((answer.status(), member(&answer, "error")))
    }

    /// Sends bytes on a connection that is good so far.
    fn send(&self, bytes: &[u8]) -> Result<(u16, String), Box<dyn Error>> {
        let answer = self.stage.client.ask(&self.upgrade(&self.keys.corp().text()?))?;
        if !answer.has_right_accept() {
            return Ok((answer.status(), member(&answer, "error")));
        }
        let mut websocket = answer.into_websocket();
        websocket.send(bytes)?;
        Ok(ending(&mut websocket))
    }

    fn ticket(&self) -> Result<String, Box<dyn Error>> {
        let (authority, token) = (&self.stage.authority, self.keys.corp().text()?);
        let request = format!(
            "POST {TICKET_PATH} HTTP/1.1\r\nhost: {authority}\r\norigin: https://{authority}\r\n\
             authorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
        );
        Ok(member(&self.stage.client.ask_raw(request.as_bytes())?, "ticket"))
    }
}

/// A member of the JSON that came back; empty where there is none.
fn member(answer: &Answer, name: &str) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body[name].as_str().unwrap_or_default().to_owned()
}

/// The close code and the reason; 0 where no Close came.
fn ending(websocket: &mut WebSocket) -> (u16, String) {
    match websocket.verdict(PATIENCE) {
        Verdict::Close(code, reason) => (code.unwrap_or_default(), reason),
        Verdict::Eof | Verdict::Reset | Verdict::Timeout => (0, String::new()),
    }
}

/// Longer than the gate waits for a slow message, and shorter than Envoy waits for the demo's answer.
const PATIENCE: Duration = Duration::from_secs(5);
