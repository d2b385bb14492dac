//! Nothing of a credential or a key is in Envoy's log, however much of it is logged.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::Draft;
use portcullis_envoy::peer::websocket::Event;
use serde_json::{Value, json};

use crate::gate::{Gate, PATIENCE};
use crate::idp::Idp;
use crate::tokens::{self, Token, in_seconds};

/// They write the headers of all requests, their own and others', below `info`: Envoy's doing, as documented in OPERATIONS.
const WRITE_HEADERS: [&str; 3] = ["http", "http2", "router"];

#[test]
fn no_credential_and_no_key_is_in_a_trace() {
    let idp = Idp::start();
    let provider = SocketAddr::from(([127, 0, 0, 1], idp.port()));
    let gate = Gate::launch(policy(&idp), Mode::Echo, |launch| launch.service("idp", provider));
    gate.envoy.set_log_level(None, "trace").expect("Envoy does");
    for component in WRITE_HEADERS {
        gate.envoy.set_log_level(Some(component), "info").expect("Envoy does");
    }
    let mut secrets: Vec<String> =
        [tokens::SECRET, CLIENT_SECRET, TICKET_SECRET, &BASE64_STANDARD.encode(format!("gw:{CLIENT_SECRET}"))]
            .map(str::to_owned)
            .to_vec();
    let mut ask = |upgrade: &Upgrade, status: u16, secret: &str| {
        secrets.push(secret.to_owned());
        let answer = gate.client.ask(upgrade).expect("Envoy answers");
        assert_eq!(answer.status(), status, "{}", answer.text());
        answer.text()
    };

    // Tokens, wherever they may be, good and bad.
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::HS256] {
        for (seconds, status) in [(600, 101), (-3_600, 401)] {
            for place in ["Authorization", "Cookie", "Sec-WebSocket-Protocol", "query"] {
                let token = Token::new(algorithm).claim("exp", in_seconds(seconds)).claim("jti", place).sign();
                let upgrade = match place {
                    "Authorization" => Upgrade::to("/chat").header(place, format!("Bearer {token}")),
                    "Cookie" => Upgrade::to("/chat").header(place, format!("session={token}")),
                    "query" => Upgrade::to(&format!("/chat?token={token}")),
                    place => Upgrade::to("/chat").header(place, format!("bearer, {token}")),
                };
                ask(&upgrade.origin(APP), status, &token);
            }
        }
    }
    // What only the provider can read.
    for (token, status) in [(idp.token("alice", "opaque"), 101), ("made-up-t0ken".to_owned(), 401)] {
        ask(&Upgrade::to("/chat").origin(APP).header("Authorization", format!("Bearer {token}")), status, &token);
    }
    // Session cookies.
    let key = EncodingKey::from_secret(tokens::SECRET.as_bytes());
    let mac = jsonwebtoken::crypto::sign(b"alice", &key, Algorithm::HS256).expect("a MAC");
    let forged = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
    for (mac, status) in [(mac, 101), (forged, 401)] {
        ask(&Upgrade::to("/chat").origin(APP).header("Cookie", format!("sid=alice.{mac}")), status, &mac);
    }
    // A ticket: issued, redeemed, used, forged.
    let bearer = Token::new(Algorithm::HS256).claim("jti", "ticket").sign();
    let upgrade = ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
    let post = upgrade.into_iter().fold(Upgrade::to("/ws-ticket").method("POST"), Upgrade::without);
    let post = post.origin(APP).header("Content-Length", "0").header("Authorization", format!("Bearer {bearer}"));
    let body: Value = serde_json::from_str(&ask(&post, 201, &bearer)).expect("JSON");
    let ticket = body["ticket"].as_str().expect("a ticket").to_owned();
    for (ticket, status) in [(ticket.clone(), 101), (ticket.clone(), 401), (ticket.chars().rev().collect(), 401)] {
        ask(&Upgrade::to(&format!("/chat?ticket={ticket}")).origin(APP), status, &ticket);
    }
    // Messages: the first one, renewals, one that is refused.
    let [first, renewed, of_another] = [("first", "alice"), ("renewed", "alice"), ("another", "bob")]
        .map(|(id, sub)| Token::new(Algorithm::HS256).claim("jti", id).claim("sub", sub).sign());
    let mut websocket = gate.client.open(&Upgrade::to("/chat").origin(APP)).expect("it may say who it is later");
    for (token, answers) in [(&first, true), (&renewed, true), (&of_another, false)] {
        let auth = Draft::text(&json!({"type": "auth", "token": token}).to_string()).masked();
        websocket.send(&auth.bytes()).expect("it takes bytes");
        let event = websocket.exchange("[1]", PATIENCE);
        let is_answered = matches!(event, Ok(Event::Frame(frame)) if frame.payload == b"[1]");
        assert_eq!(is_answered, answers, "{token}");
        secrets.push(token.clone());
    }
    // A logout.
    let token = idp.token_of_session("carol", "s1");
    let status = gate.client.ask(&Upgrade::to("/chat").origin(APP).header("Authorization", format!("Bearer {token}")));
    assert_eq!(status.expect("Envoy answers").status(), 101);
    idp.logout("carol", "s1", &format!("http://{}/backchannel-logout", gate.envoy.address()));
    secrets.push(token);

    gate.wait_for_log(|lines| lines.iter().any(|line| line["path"] == "/backchannel-logout"));
    let log = gate.envoy.log().expect("a log");
    assert!(log.contains("][trace]["), "it is no trace");
    assert!(log.contains("credential_invalid") && log.contains("ticket_used"), "the filter's lines are in it");
    for secret in &secrets {
        // A token's signature alone would do for whoever knows the rest.
        for part in secret.rsplit('.').take(2) {
            let line = log.lines().find(|line| part.len() > 8 && line.contains(part));
            assert!(line.is_none(), "{part} in {line:?}");
        }
    }
}

fn policy(idp: &Idp) -> Value {
    let mut auth = tokens::auth();
    let client = json!({"id": "gw", "secret": {"inline": CLIENT_SECRET}});
    let of_idp = [
        json!({
            "name": "idp", "issuer": idp.url(), "audiences": ["chat"], "algorithms": ["RS256"], "jwks": {"cluster": "idp"},
        }),
        json!({
            "name": "asked", "issuer": idp.url(), "audiences": ["chat"],
            "introspection": {"cluster": "idp", "path": "/token/introspection", "client": client},
        }),
    ];
    auth["providers"].as_array_mut().expect("a list").extend(of_idp);
    let sources = auth["sources"].as_array_mut().expect("a list");
    sources.extend([json!({"ticket": "ticket"}), json!({"message": "/token"})]);
    let own = json!({
        "cookie": {"name": "sid", "hmac": {"secret": {"env": tokens::VARIABLE}, "algorithm": "HS256"}},
        "tickets": {"path": "/ws-ticket", "keys": [{"inline": TICKET_SECRET}]},
        "renew": {"when": {"/type": "auth"}, "token": "/token"},
        "back_channel_logout": {"path": "/backchannel-logout", "provider": "idp"},
    });
    auth.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
    json!({
        "require_tls": false, "origin": {"allow": [APP], "missing": "allow"}, "auth": auth,
        "messages": {"from_client": {"json": {}}},
    })
}

const APP: &str = "https://app.example.com";
const CLIENT_SECRET: &str = "gw-secret";
const TICKET_SECRET: &str = "a secret that seals, of more than 32 bytes";
