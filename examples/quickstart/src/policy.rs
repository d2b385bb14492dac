//! The policy of the demo: what a chat service on the internet might ask of its gate.

use serde_json::{Value, json};

use crate::tokens::{AUDIENCE, CORP, Keys, PARTNER, TENANT};

/// The name that clients ask for, next to `localhost`.
pub(crate) const HOST: &str = "chat.example.com";
/// An origin on the list.
pub(crate) const ORIGIN: &str = "https://app.example.com";
/// The variable that the gate finds the secret of `partner` in.
pub(crate) const SECRET_VARIABLE: &str = "PORTCULLIS_DEMO_SECRET";
/// The variable that it finds the key of tickets in.
pub(crate) const TICKET_KEY_VARIABLE: &str = "PORTCULLIS_DEMO_TICKET_KEY";
/// Where the gate gives out tickets.
pub(crate) const TICKET_PATH: &str = "/ws-ticket";
/// Where messages are judged by what they say: the playground's WebSockets.
pub(crate) const ROOM_PATH: &str = "/room";
/// What the playground's page asks of the demo begins so.
pub(crate) const PLAYGROUND_PATH: &str = "/playground";
/// Where the identity provider tells it of logouts.
pub(crate) const LOGOUT_PATH: &str = "/backchannel-logout";
/// The longest message a client may send.
pub(crate) const MESSAGE_MAX: usize = 65_536;
/// The same under `/feed`.
pub(crate) const FEED_MESSAGE_MAX: usize = 1_024;

/// The policy, with the keys of both providers.
pub(crate) fn policy(keys: &Keys) -> Value {
    json!({
        "non_websocket": "refuse",
        "hosts": [HOST, "localhost", "127.0.0.1"],
        "origin": {"allow": [ORIGIN, "https://*.apps.example.com:8443"]},
        "subprotocols": {"allow": ["chat.v1", "chat.v2"]},
        "auth": {
            "sources": [
                {"header": "authorization"},
                {"cookie": "session"},
                {"subprotocol": "bearer"},
                {"query": "token"},
                {"ticket": "ticket"},
            ],
            "providers": [
                {
                    "name": "corp",
                    "issuer": CORP,
                    "audiences": [AUDIENCE],
                    "algorithms": ["ES256"],
                    "jwks": {"inline": keys.jwks()},
                    "require": {"tenant": TENANT},
                },
                {
                    "name": "partner",
                    "issuer": PARTNER,
                    "audiences": [AUDIENCE],
                    "algorithms": ["HS256"],
                    "jwks": {"secret": {"env": SECRET_VARIABLE}},
                    "max_age": "24h",
                },
            ],
            "claim_headers": {"sub": "x-user"},
            "tickets": {"path": TICKET_PATH, "keys": [{"env": TICKET_KEY_VARIABLE}]},
            "back_channel_logout": {"path": LOGOUT_PATH, "provider": "corp"},
        },
        "messages": {
            "from_client": {"max_message_bytes": MESSAGE_MAX, "max_frame_bytes": MESSAGE_MAX},
            "from_server": {"max_message_bytes": 1_048_576, "max_frame_bytes": 1_048_576},
        },
        // By default an address may have 20 connections, 5 handshakes a second, and 10 failures before it is banned, and a subject
        // 10 connections. Here everyone is one address and one subject, and attacks. What a connection sends has its defaults.
        "limits": {
            "per_address": {
                "connections": 200,
                "handshakes": {"per_second": 200, "burst": 1_000},
                "failures": {"count": 1_000, "window": "60s", "ban": "5m"},
            },
            "per_subject": {"connections": 100},
        },
        "routes": [
            // The page and the identity provider, and nothing else that is no WebSocket.
            {"match": {"path": "/"}, "policy": {"non_websocket": "pass"}},
            {"match": {"path_prefix": PLAYGROUND_PATH}, "policy": {"non_websocket": "pass"}},
            {"match": {"path": "/login"}, "policy": {"non_websocket": "pass"}},
            {"match": {"path": "/logout"}, "policy": {"non_websocket": "pass"}},
            {
                "match": {"path": ROOM_PATH},
                "policy": {
                    "messages": {"from_client": {"json": {}, "rule_sets": ["sql_injection", "cross_site_scripting"]}},
                    "liveness": {"message_timeout": "1s"},
                },
            },
            {
                "match": {"path_prefix": "/feed"},
                "policy": {
                    "messages": {
                        "from_client": {"max_message_bytes": FEED_MESSAGE_MAX, "max_frame_bytes": FEED_MESSAGE_MAX},
                    },
                },
            },
        ],
    })
}
