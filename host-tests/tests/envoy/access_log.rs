//! What Envoy's own log tells of a connection, with what the filter knows of it: the shipped configuration, and the line that the operator's guide
//! shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::{Mode, Play};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{Draft, TEXT};
use portcullis_envoy::peer::websocket::Verdict;
use serde_json::{Value, json};

use crate::gate::{Gate, PATIENCE, wait};
use crate::tokens::{self, Token};

/// What only the filter knows.
const KNOWN: [&str; 7] =
    ["reason", "by", "code", "provider", "subject", "messages_from_client", "messages_from_server"];

/// What no two runs have in common: who ended the connection of TCP is among it.
const VARIABLE: [&str; 7] = ["time", "client", "authority", "details", "flags", "duration_ms", "request_id"];

const ORIGIN: &str = "https://app.example.com";

fn policy() -> Value {
    json!({
        "require_tls": false, "origin": {"allow": [ORIGIN]}, "auth": tokens::auth(),
        "messages": {"from_client": {"max_frame_bytes": 100}},
    })
}

fn request(path: &str) -> Upgrade {
    let token = Token::new(Algorithm::ES256).sign();
    Upgrade::to(path).origin(ORIGIN).header("Authorization", format!("Bearer {token}"))
}

fn play(head: &portcullis_envoy::peer::head::Head) -> Play {
    match head.target() {
        "/busy" => Play::answer("HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned()),
        _ => Play::correct(head),
    }
}

/// The only line about a path.
#[track_caller]
fn line(gate: &Gate, path: &str) -> Value {
    let find = || {
        let lines = gate.json_lines().into_iter();
        lines.filter(|line| line["path"] == path && line["details"].is_string()).collect::<Vec<_>>()
    };
    let found = wait(|| find().pop());
    let found = found.unwrap_or_else(|| panic!("nothing of {path}: {}", gate.envoy.log().expect("a log")));
    assert_eq!(find().len(), 1, "{path}");
    found
}

/// What the line about `path` says of what only the filter knows.
#[track_caller]
fn check(gate: &Gate, path: &str, expected: &[(&str, &str)]) -> Value {
    let line = line(gate, path);
    let said = KNOWN.iter().filter_map(|name| Some((*name, line[name].as_str()?))).collect::<BTreeMap<_, _>>();
    assert_eq!(said, expected.iter().copied().collect(), "{path}: {line}");
    line
}

#[test]
fn one_line_tells_what_became_of_a_connection() {
    let gate = Gate::start(policy(), Mode::scripted(play));
    let client = [("provider", "corp"), ("subject", "alice")];

    let mut websocket = gate.client.open(&request("/chat")).expect("it is opened");
    for text in ["hello", "again"] {
        websocket.exchange(text, PATIENCE).expect("an echo");
    }
    websocket.send_frame(Draft::close(1_000, "")).expect("it takes bytes");
    assert_eq!(websocket.verdict(PATIENCE), Verdict::close(1_000, ""));
    let ended = [
        ("reason", "peer"),
        ("by", "client"),
        ("code", "1000"),
        ("messages_from_client", "3"),
        ("messages_from_server", "3"),
    ];
    let line = check(&gate, "/chat", &[&ended[..], &client].concat());
    check_shown(&line);
    // Envoy counts the bytes itself, as the filter does.
    gate.wait_for_log(|lines| {
        lines.iter().any(|own| {
            own["event"] == "closed"
                && own["bytes_from_client"] == line["bytes_received"]
                && own["bytes_from_server"] == line["bytes_sent"]
        })
    });

    let mut websocket = gate.client.open(&request("/long")).expect("it is opened");
    websocket.send_frame(Draft::new(TEXT, [b'x'; 101])).expect("it takes bytes");
    assert_eq!(websocket.verdict(PATIENCE), Verdict::close(1_009, "message_too_big"));
    let ended = [("reason", "message_too_big"), ("by", "filter"), ("code", "1009"), ("messages_from_server", "1")];
    check(&gate, "/long", &[&ended[..], &[("messages_from_client", "0")], &client].concat());

    // Without a Close nobody says who ended it.
    drop(gate.client.open(&request("/gone")).expect("it is opened"));
    let ended = [("reason", "peer"), ("messages_from_client", "0"), ("messages_from_server", "0")];
    check(&gate, "/gone", &[&ended[..], &client].concat());

    let ask = |upgrade: Upgrade| gate.client.ask(&upgrade).expect("Envoy listens").status();
    assert_eq!(ask(request("/foreign").origin("https://evil.example")), 403);
    check(&gate, "/foreign", &[("reason", "origin_refused")]);
    assert_eq!(ask(request("/forged").with("Authorization", format!("Bearer {}", tokens::FORGED))), 401);
    check(&gate, "/forged", &[("reason", "credential_invalid")]);
    // The token is genuine, so its holder is told.
    let old = Token::new(Algorithm::ES256).claim("exp", tokens::in_seconds(-600)).sign();
    assert_eq!(ask(request("/old").with("Authorization", format!("Bearer {old}"))), 401);
    check(&gate, "/old", &[&[("reason", "credential_expired")][..], &client].concat());
    assert_eq!(ask(request("/busy")), 503);
    check(&gate, "/busy", &[&[("reason", "upstream_refused")][..], &client].concat());
}

#[test]
fn a_stream_of_http2_has_a_line_of_its_own() {
    let (gate, session) = Gate::with_http2(policy(), Mode::Echo);
    let mut websocket = session.upgrade(&request("/chat")).expect("it is opened");
    websocket.exchange("hello", PATIENCE).expect("an echo");
    websocket.send_frame(Draft::close(1_000, "")).expect("it takes bytes");
    assert_eq!(websocket.verdict(PATIENCE), Verdict::close(1_000, ""));
    drop(websocket);
    let ended = [("reason", "peer"), ("by", "client"), ("code", "1000")];
    let sent = [("messages_from_client", "2"), ("messages_from_server", "2")];
    check(&gate, "/chat", &[&ended[..], &sent, &[("provider", "corp"), ("subject", "alice")]].concat());
}

/// The guide shows this line, and the configuration that it comes of.
#[track_caller]
fn check_shown(line: &Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy");
    let guide = fs::read_to_string(root.join("OPERATIONS.md")).expect("the guide");
    let (_, section) = guide.split_once("\n## Access log\n").expect("the section");
    let block = |language: &str| {
        let (_, block) = section.split_once(&format!("\n```{language}\n")).expect("the block");
        block.split_once("\n```").expect("its end").0
    };
    let shown: Value = serde_json::from_str(block("json")).expect("a line");
    let fixed = |line: &Value| {
        let mut line = line.clone();
        VARIABLE.iter().for_each(|name| line[name] = "…".into());
        line
    };
    assert_eq!(fixed(&shown), fixed(line), "{line}");
    let yaml = |text: &str| serde_saphyr::from_str::<Value>(text).expect("YAML");
    let edge = yaml(&fs::read_to_string(root.join("config/edge.yaml")).expect("the configuration"));
    let format = |access_log: &Value| access_log[0]["typed_config"]["log_format"]["json_format"].clone();
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/access_log";
    let edge = format(edge.pointer(manager).expect("an access log"));
    let shown = format(&yaml(block("yaml"))["access_log"]);
    assert!(edge.is_object(), "{edge}");
    assert_eq!(shown, edge);
}
