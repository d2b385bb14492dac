//! The policy chooses the envelope of a message, not the client: by subprotocol, in Socket.IO, and beside the WebSocket.

use portcullis_envoy::peer::frame::Draft;
use serde_json::{Value, json};

use super::scene::{Case, describe, plain};

/// What a client offers, what becomes of its message, and the message.
const GRAPHQL: [(&str, &str, &str); 5] = [
    (
        "graphql-transport-ws",
        "echo",
        r#"{"id":"1","type":"subscribe","payload":{"operationName":"News","query":"{a}"}}"#,
    ),
    ("graphql-transport-ws", REFUSED, SUBSCRIBE),
    ("graphql-ws, graphql-transport-ws", REFUSED, SUBSCRIBE),
    ("chat.v1", REFUSED, r#"{"operationName":"AdminDelete"}"#),
    ("chat.v1", "echo", r#"{"operationName":"News"}"#),
];

const SUBSCRIBE: &str = r#"{"id":"1","type":"subscribe","payload":{"operationName":"AdminDelete","query":"{a}"}}"#;
const REFUSED: &str = "1008 not_authorized";

const SOCKET_IO: [(&str, &str, &str); 6] = [
    ("an event", "echo", r#"42["chat","hello"]"#),
    ("an event for admins", REFUSED, r#"42["admin.del",7]"#),
    ("an event for admins, of a namespace", REFUSED, r#"42/chat,1["admin.del",7]"#),
    ("the reserved event error", "1008 schema_refused", r#"42["error","x"]"#),
    ("a packet that only servers send", "1008 schema_refused", r#"44{"message":"x"}"#),
    ("no packet", "1008 schema_refused", r#"["chat","hello"]"#),
];

pub(super) fn routes() -> Vec<Value> {
    let rules = |place: &str, glob: &str| json!([{"when": {place: glob}, "claims": {"role": ["admin"]}}]);
    let by_subprotocol = json!({"graphql-transport-ws": "graphql-transport-ws", "chat.v1": "json"});
    let graphql = json!({"json": {}, "envelope": by_subprotocol, "authorize": rules("/operationName", "Admin*")});
    let socket_io = json!({"json": {}, "envelope": "socket.io", "authorize": rules("/0", "admin.*")});
    vec![
        json!({
            "match": {"path": "/graphql"},
            "policy": {
                "subprotocols": {"allow": ["graphql-transport-ws", "graphql-ws", "chat.v1"]},
                "messages": {"from_client": graphql},
            },
        }),
        json!({
            "match": {"path": "/socket.io"},
            "policy": {"non_websocket": "authenticate", "messages": {"from_client": socket_io}},
        }),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(GRAPHQL.map(|(offer, answer, text)| {
        Case::judged(format!("envelope: {offer}"), answer, Draft::text(text), move |scene| {
            Ok(scene.upgrade_to("/graphql").subprotocols(offer))
        })
    }));
    cases.push(Case::refused("envelope: of a subprotocol without one", "403 subprotocol_refused", |scene| {
        Ok(scene.upgrade_to("/graphql").subprotocols("graphql-ws"))
    }));
    cases.push(Case::refused("envelope: of no subprotocol", "403 subprotocol_refused", |scene| {
        Ok(scene.upgrade_to("/graphql"))
    }));
    cases.extend(SOCKET_IO.map(|(name, answer, text)| {
        Case::judged(
            format!("Socket.IO: {name}"),
            answer,
            Draft::text(text),
            |scene| Ok(scene.upgrade_to("/socket.io")),
        )
    }));
    cases.push(Case::new("Socket.IO: long polling", "200 ok, token taken out", |scene| {
        let answer = scene.stage.client.ask(&plain(scene.upgrade_to("/socket.io")))?;
        let request = scene.arrival(|_| true).ok_or("nothing reached the backend")?;
        let token = if request.head.value("authorization").is_some() { "LEFT IN" } else { "taken out" };
        Ok(format!("{}, token {token}", describe(&answer)))
    }));
    cases.push(Case::new("Socket.IO: long polling, no token", "401 credential_missing", |scene| {
        Ok(describe(&scene.stage.client.ask(&plain(scene.stranger_to("/socket.io")))?))
    }));
    cases.push(Case::new("Socket.IO: long polling, of another site", "403 origin_refused", |scene| {
        let foreign = scene.upgrade_to("/socket.io").origin("https://evil.example");
        Ok(describe(&scene.stage.client.ask(&plain(foreign))?))
    }));
    cases
}
