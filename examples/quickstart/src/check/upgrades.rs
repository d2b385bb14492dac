//! Malformed upgrades, each with a good request pipelined behind it that must never reach the backend.

use portcullis_envoy::peer::client::Upgrade;

use super::scene::{Case, Got, PATIENCE, Scene, describe, plain, text_of};

/// Spoils a good upgrade.
type Spoil = fn(Upgrade) -> Upgrade;

const MALFORMED: [(&str, &str, Spoil); 26] = [
    ("POST", BAD, |upgrade| upgrade.method("POST")),
    ("no key", BAD, |upgrade| upgrade.without(KEY)),
    ("short key", BAD, |upgrade| upgrade.with(KEY, "c2hvcnQ=")),
    ("long key", BAD, |upgrade| upgrade.with(KEY, "dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ==")),
    ("key that is no base64", BAD, |upgrade| upgrade.with(KEY, "dGhlIHNhbXBsZSBub25j!Q==")),
    ("key with stray bits", BAD, |upgrade| upgrade.with(KEY, "dGhlIHNhbXBsZSBub25jZR==")),
    ("two keys", BAD, |upgrade| upgrade.header(KEY, "dGhlIHNhbXBsZSBub25jZQ==")),
    ("version 8", WRONG_VERSION, |upgrade| upgrade.with(VERSION, "8")),
    ("version 013", WRONG_VERSION, |upgrade| upgrade.with(VERSION, "013")),
    ("two versions in one line", BAD, |upgrade| upgrade.with(VERSION, "13, 8")),
    ("no version", WRONG_VERSION, |upgrade| upgrade.without(VERSION)),
    ("two versions", BAD, |upgrade| upgrade.header(VERSION, "8")),
    ("two versions, the same", BAD, |upgrade| upgrade.header(VERSION, "13")),
    ("Upgrade: websocket, h2c (Envoy's own answer)", "403", |upgrade| upgrade.with("Upgrade", "websocket, h2c")),
    ("Upgrade: h2c", BAD, |upgrade| {
        upgrade
            .with("Upgrade", "h2c")
            .with("Connection", "Upgrade, HTTP2-Settings")
            .header("HTTP2-Settings", "AAMAAABk")
    }),
    ("Upgrade twice (Envoy's own answer)", "403", |upgrade| upgrade.header("Upgrade", "websocket")),
    ("no Upgrade", BAD, |upgrade| upgrade.without("Upgrade")),
    ("no Connection", BAD, |upgrade| upgrade.without("Connection")),
    ("Connection: keep-alive", BAD, |upgrade| upgrade.with("Connection", "keep-alive")),
    ("Connection lists x-secret", BAD, |upgrade| {
        upgrade.with("Connection", "Upgrade, X-Secret").header("X-Secret", "1")
    }),
    ("Connection lists authorization", BAD, |upgrade| upgrade.with("Connection", "Upgrade, Authorization")),
    ("Content-Length: 5", BAD, |upgrade| upgrade.header("Content-Length", "5")),
    ("Transfer-Encoding: chunked", BAD, |upgrade| upgrade.header("Transfer-Encoding", "chunked")),
    ("subprotocol that is none", BAD, |upgrade| upgrade.subprotocols("chat v1")),
    ("same subprotocol twice", BAD, |upgrade| upgrade.subprotocols("chat.v1, chat.v1")),
    ("subprotocol not on the list", "403 subprotocol_refused", |upgrade| upgrade.subprotocols("soap")),
];

const BAD: &str = "400 bad_upgrade";
const WRONG_VERSION: &str = "426 bad_version";
const KEY: &str = "Sec-WebSocket-Key";
const VERSION: &str = "Sec-WebSocket-Version";

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = MALFORMED
        .into_iter()
        .map(|(name, answer, spoil)| {
            Case::refused(format!("upgrade: {name}"), answer, move |scene| {
                Ok(spoil(scene.upgrade()).tail(scene.upgrade_to("/second").bytes()))
            })
        })
        .collect();
    cases.push(Case::new("upgrade: none, a plain GET", "403 not_websocket", |scene| {
        Ok(describe(&scene.stage.client.ask(&plain(scene.upgrade()))?))
    }));
    cases.push(Case::refused("upgrade: two Hosts", BAD, |scene| {
        Ok(scene.upgrade().header("Host", "localhost").tail(scene.upgrade_to("/second").bytes()))
    }));
    cases.push(Case::new(
        "upgrade: frames before the answer",
        "400 bad_upgrade, closed, backend: no bytes",
        early_bytes,
    ));
    cases.push(Case::new("upgrade: ws:// instead of wss://", "no answer, closed", |scene| {
        let mut answer = scene.stage.plain.ask(&scene.upgrade())?;
        let status = if answer.status() == 0 { "no answer".into() } else { describe(&answer) };
        Ok(format!("{status}, {}", if answer.is_closed_within(PATIENCE) { "closed" } else { "left open" }))
    }));
    cases.push(Case::accepted("upgrade: Content-Length: 0", |scene| Ok(scene.upgrade().header("Content-Length", "0"))));
    cases.push(Case::accepted("upgrade: Connection: keep-alive, Upgrade", |scene| {
        Ok(scene.upgrade().with("Connection", "keep-alive, Upgrade"))
    }));
    cases.push(Case::new("upgrade: compression offered", "101, offer taken out", compression));
    cases
}

/// The upgrade may have reached the backend when the bytes behind it are seen; they must not.
fn early_bytes(scene: &Scene<'_>) -> Got {
    let mut answer = scene.stage.client.ask(&scene.upgrade().tail(text_of(5)))?;
    let closed = if answer.is_closed_within(PATIENCE) { "closed" } else { "left open" };
    let passed = scene.arrived(|request| !request.bytes.is_empty());
    Ok(format!("{}, {closed}, backend: {}", describe(&answer), if passed { "BYTES" } else { "no bytes" }))
}

/// `compression: refuse` takes the offer out of the request, so that no server can accept it.
fn compression(scene: &Scene<'_>) -> Got {
    let websocket =
        scene.stage.client.open(&scene.upgrade().header("Sec-WebSocket-Extensions", "permessage-deflate"))?;
    let request = scene.arrival(|_| true).ok_or("nothing reached the backend")?;
    let heads = [&websocket.head, &request.head];
    let left = heads.iter().any(|head| head.value("sec-websocket-extensions").is_some());
    Ok(format!("101, {}", if left { "offer passed on" } else { "offer taken out" }))
}
