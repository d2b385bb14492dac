//! How much and how many: a gate of its own with low limits, where each client has an address and a subject of its own.

use std::error::Error;

use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::Draft;
use serde_json::{Value, json};

use super::scene::{Case, Got, Scene, bearer, describe, echo, ending};
use crate::tokens::Token;

/// How many connections an address may have, and a subject.
const CONNECTIONS: usize = 2;
/// How many handshakes an address may ask for at once.
const HANDSHAKES: usize = 5;
/// How many wrong credentials ban an address.
const FAILURES: usize = 3;
/// How many messages a connection may send at once.
const MESSAGES: usize = 3;
/// How much the gate holds for judgement: less than the longest message.
const HELD_BYTES: usize = 40_000;

/// Makes the demo's policy that of the gate.
pub(super) fn tighten(mut policy: Value) -> Value {
    policy["require_tls"] = false.into();
    policy["messages"]["from_client"]["whole"] = true.into();
    policy["limits"] = json!({
        "per_address": {
            "connections": CONNECTIONS,
            "handshakes": {"per_second": 0.01, "burst": HANDSHAKES},
            "failures": {"count": FAILURES, "window": "60s", "ban": "5m"},
        },
        "per_subject": {"connections": CONNECTIONS},
        "per_connection": {"messages": {"per_second": 0.01, "burst": MESSAGES}},
        "held_bytes": HELD_BYTES,
    });
    policy["routes"] = json!([{"match": {"path": "/tls"}, "policy": {"require_tls": true}}]);
    policy
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("limit: a connection too many, of an address", "2 x 101, 429 connections_exceeded", |scene| {
            full(scene, |number| (1, number))
        }),
        Case::new("limit: a connection too many, of a subject", "2 x 101, 429 connections_exceeded", |scene| {
            full(scene, |number| (number, 1))
        }),
        Case::new("limit: a handshake too many", "5 x 401, 429 handshakes_exceeded", |scene| {
            worn_out(scene, HANDSHAKES, |client| Ok(client.stranger()))
        }),
        Case::new("limit: a wrong credential too many", "3 x 401, 429 banned", |scene| {
            worn_out(scene, FAILURES, |client| client.upgrade(&client.token().forged()?))
        }),
        Case::new("limit: another site makes its visitors ask", "4 x 403, 101, echo", |scene| {
            let client = Client { scene, address: 1, subject: 1 };
            let foreign = client.upgrade(&client.token().forged()?)?.origin("https://evil.example");
            let refused = client.statuses(FAILURES + 1, &foreign)?;
            Ok(format!("{refused}, 101, {}", client.greeting()?))
        }),
        Case::new("limit: a message too many", "3 good, 1008 rate_exceeded", |scene| {
            let client = Client { scene, address: 1, subject: 1 };
            let mut websocket = scene.stage.crowd.open(&client.good()?)?;
            websocket.send(&Draft::text("hello").masked().bytes().repeat(MESSAGES + 1))?;
            Ok(ending(&mut websocket))
        }),
        Case::new("limit: more than is held for judgement", "1013 overloaded", |scene| {
            let client = Client { scene, address: 1, subject: 1 };
            let mut websocket = scene.stage.crowd.open(&client.good()?)?;
            // The message is not whole, so all of it is held.
            scene.judgement(&mut websocket, &Draft::text(&"x".repeat(HELD_BYTES + 1)).unfinished())
        }),
        Case::new("upgrade: ws://, to a gate that listens there", "403 tls_required", |scene| {
            let client = Client { scene, address: 1, subject: 1 };
            Ok(describe(&scene.stage.crowd.ask(&client.good()?.target(&scene.target("/tls")))?))
        }),
    ]
}

/// Takes as many connections as there may be, and asks for one more. The numbers are those of a client's address and subject.
fn full(scene: &Scene<'_>, numbers: fn(usize) -> (usize, usize)) -> Got {
    let client = |number| {
        let (address, subject) = numbers(number);
        Client { scene, address, subject }
    };
    let mut open = Vec::new();
    for number in 1..=CONNECTIONS {
        open.push(scene.stage.crowd.open(&client(number).good()?)?);
    }
    let refused = describe(&scene.stage.crowd.ask(&client(CONNECTIONS + 1).good()?)?);
    Ok(format!("{} x 101, {refused}", open.len()))
}

/// Asks for the same until it is over the limit; then for something good. A client of another address gets in all the while.
fn worn_out(scene: &Scene<'_>, count: usize, ask: fn(&Client<'_>) -> Result<Upgrade, Box<dyn Error>>) -> Got {
    let client = Client { scene, address: 1, subject: 1 };
    let refused = client.statuses(count, &ask(&client)?)?;
    let last = describe(&scene.stage.crowd.ask(&client.good()?)?);
    let neighbour = Client { scene, address: 2, subject: 2 }.greeting()?;
    let neighbour = if neighbour == "echo" { String::new() } else { format!(", neighbour: {neighbour}") };
    Ok(format!("{refused}, {last}{neighbour}"))
}

/// A client with an address and a subject that no other case has.
struct Client<'a> {
    scene: &'a Scene<'a>,
    address: usize,
    subject: usize,
}

impl Client<'_> {
    fn token(&self) -> Token {
        self.scene.stage.keys.corp().claim("sub", format!("{}-{}", self.scene.mark, self.subject))
    }

    fn stranger(&self) -> Upgrade {
        let number: usize =
            self.scene.mark.chars().filter_map(|c| c.to_digit(10)).fold(0, |n, digit| n * 10 + digit as usize);
        let address = format!("198.{}.{}.{}", 18 + number / 256, number % 256, self.address);
        self.scene.stranger().header("X-Forwarded-For", address)
    }

    fn upgrade(&self, token: &str) -> Result<Upgrade, Box<dyn Error>> {
        Ok(self.stranger().header("Authorization", bearer(token)))
    }

    fn good(&self) -> Result<Upgrade, Box<dyn Error>> {
        self.upgrade(&self.token().text()?)
    }

    /// How often the same was answered with which status.
    fn statuses(&self, count: usize, upgrade: &Upgrade) -> Got {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(self.scene.stage.crowd.ask(upgrade)?.status());
        }
        statuses.dedup();
        Ok(if let [status] = statuses[..] { format!("{count} x {status}") } else { format!("{statuses:?}") })
    }

    fn greeting(&self) -> Got {
        echo(&mut self.scene.stage.crowd.open(&self.good()?)?, "hello")
    }
}
