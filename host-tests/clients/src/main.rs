//! One Rust library as a client: `portcullis-clients LIBRARY`, with the jobs of `client.js`, one on each line of its input.

mod fast;
mod tungstenite;

use std::io::{self, BufRead};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What comes from a peer.
enum Event {
    Binary(Vec<u8>),
    /// The connection has ended, and this is what the library says of it.
    Closed(String),
    Pong(Vec<u8>),
    Text(String),
}

/// What a client sends.
enum Say<'a> {
    Binary(&'a [u8]),
    Close,
    /// A text, and whether it is the first frame and the last frame of its message.
    Fragment(&'a str, bool, bool),
    Ping(&'a [u8]),
    Text(&'a str),
}

/// A connection of one of the libraries. Errors are in the library's own words.
trait Socket {
    fn send(&mut self, message: Say<'_>) -> Result<(), String>;
    /// What comes within `patience`; pings are answered meanwhile.
    fn receive(&mut self, patience: Duration) -> Option<Event>;
    fn subprotocol(&self) -> Option<String>;
}

/// Opens the URL, offering these subprotocols.
type Open = fn(&str, &[String]) -> Result<Box<dyn Socket>, String>;

fn main() -> io::Result<()> {
    let library = env::args().nth(1).unwrap_or_default();
    let open: Open = match library.as_str() {
        "tungstenite" => tungstenite::open,
        "fastwebsockets" => fast::open,
        _ => return Err(io::Error::other("usage: portcullis-clients tungstenite | fastwebsockets")),
    };
    let mut players = Vec::new();
    for line in io::stdin().lock().lines() {
        let job: Value = serde_json::from_str(&line?)?;
        players.push(thread::spawn(move || {
            let said = AtomicBool::new(false);
            let is_open = || {
                if !said.swap(true, Ordering::Relaxed) {
                    println!("{}", json!({"id": job["id"], "open": true}));
                }
            };
            let mut answer = play(&job, open, is_open).unwrap_or_else(|error| json!({"failed": error}));
            answer["id"] = job["id"].clone();
            answer["done"] = json!(true);
            println!("{answer}");
        }));
    }
    for player in players {
        let _ = player.join();
    }
    Ok(())
}

fn play(job: &Value, open: Open, is_open: impl Fn()) -> Result<Value, String> {
    let url = job["url"].as_str().unwrap_or_default();
    let subprotocols: Vec<String> = serde_json::from_value(job["subprotocols"].clone()).unwrap_or_default();
    let opened = open(url, &subprotocols);
    if job["op"] == "refused" {
        return Ok(json!({"told": [opened.err().unwrap_or_else(|| "open".into())]}));
    }
    let mut socket = opened?;
    let socket = socket.as_mut();
    match job["op"].as_str() {
        Some("echo") => {
            let mut echoes = Vec::new();
            for message in job["messages"].as_array().into_iter().flatten() {
                let octets = STANDARD.decode(message[1].as_str().unwrap_or_default()).unwrap_or_default();
                let text = String::from_utf8_lossy(&octets);
                socket.send(if message[0] == "text" { Say::Text(&text) } else { Say::Binary(&octets) })?;
                let (kind, back) = next(socket)?;
                echoes.push(json!([message[0], message[1], kind, STANDARD.encode(back)]));
            }
            for (part, is_first, is_last) in [("fra", true, false), ("", false, false), ("gments", false, true)] {
                socket.send(Say::Fragment(part, is_first, is_last))?;
            }
            let fragments = text(next(socket)?);
            socket.send(Say::Ping(b"are you there"))?;
            let ping = text(next(socket)?);
            socket.send(Say::Text("ping"))?;
            let pinged = text(next(socket)?);
            socket.send(Say::Close)?;
            let told = end(socket)?;
            Ok(json!({
                "echoes": echoes, "fragments": fragments, "ping": ping, "pinged": pinged, "told": told,
                "subprotocol": socket.subprotocol(),
            }))
        }
        Some("stay") => {
            let deadline = Instant::now() + Duration::from_secs(job["seconds"].as_u64().unwrap_or_default());
            while let Some(left) = deadline.checked_duration_since(Instant::now()) {
                if let Some(Event::Closed(told)) = socket.receive(left) {
                    return Err(told);
                }
            }
            socket.send(Say::Text("still here"))?;
            let (kind, back) = next(socket)?;
            Ok(json!({"echoes": [[kind, STANDARD.encode(back)]]}))
        }
        _ => {
            is_open();
            if let Some(say) = job["say"].as_str() {
                for _ in 0..job["times"].as_u64().unwrap_or(1) {
                    // What is said to a connection that has ended fails, and its end is told all the same.
                    let _ = socket.send(Say::Text(say));
                }
            }
            Ok(json!({"told": end(socket)?}))
        }
    }
}

/// The next message or pong.
fn next(socket: &mut dyn Socket) -> Result<(&'static str, Vec<u8>), String> {
    match socket.receive(PATIENCE) {
        Some(Event::Binary(octets)) => Ok(("binary", octets)),
        Some(Event::Closed(told)) => Err(told),
        Some(Event::Pong(octets)) => Ok(("pong", octets)),
        Some(Event::Text(text)) => Ok(("text", text.into_bytes())),
        None => Err("no answer in time".into()),
    }
}

fn text((_, octets): (&str, Vec<u8>)) -> String {
    String::from_utf8_lossy(&octets).into_owned()
}

fn end(socket: &mut dyn Socket) -> Result<Vec<String>, String> {
    loop {
        match socket.receive(PATIENCE) {
            Some(Event::Closed(told)) => return Ok(vec![told]),
            Some(_) => {}
            None => return Err("no end in time".into()),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(15);
