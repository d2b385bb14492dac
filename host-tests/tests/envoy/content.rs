//! What messages say, through a real Envoy: the same bad message is refused the same, however it is carried, and nothing of it
//! arrives.

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::{Mode, Play, echo};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{BINARY, CONTINUATION, Draft, Frame, PING, PONG, TEXT};
use portcullis_envoy::peer::head::Head;
use portcullis_envoy::peer::websocket::WebSocket;
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, receive_until_close};
use crate::tokens::{self, Token};

const FIELD: &str = "sec-websocket-extensions";

/// A message, how it is refused, and the rule or protocol that the log names.
type Bad = (&'static str, u8, &'static [u8], u16, &'static str, Option<&'static str>);

const GOOD: &str = r#"{"type":"chat","user":"alice","text":"hello, κόσμε"}"#;

/// Bad messages of either side.
const BAD: [Bad; 10] = [
    ("json", TEXT, br#"{"type":"chat","user":"alice","text":"x"} {}"#, 1_007, "invalid_json", None),
    ("utf8", TEXT, b"{\"type\":\"chat\",\"user\":\"alice\",\"text\":\"\xff\"}", 1_007, "invalid_utf8", None),
    ("twins", TEXT, br#"{"type":"chat","user":"alice","text":"x","\u0074ype":"y"}"#, 1_008, "json_refused", None),
    ("nested", TEXT, br#"{"type":"chat","user":"alice","text":[[[[[[]]]]]]}"#, 1_008, "json_refused", None),
    ("schema", TEXT, br#"{"type":"chat","user":"alice","text":7}"#, 1_008, "schema_refused", None),
    ("unknown", TEXT, br#"{"type":"shout","user":"alice","text":"x"}"#, 1_008, "schema_refused", None),
    (
        "pattern",
        TEXT,
        br#"{"type":"chat","user":"alice","text":"c\u0061rd 4111111111111111"}"#,
        1_008,
        "pattern_refused",
        Some("card"),
    ),
    (
        "script",
        TEXT,
        br#"{"type":"chat","user":"alice","text":"\u003cscript>alert(1)</script>"}"#,
        1_008,
        "pattern_refused",
        Some("cross_site_scripting."),
    ),
    ("ssh", BINARY, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 1_008, "tunnel_refused", Some("ssh")),
    (
        "tls",
        BINARY,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03 and many more bytes of a ClientHello",
        1_008,
        "tunnel_refused",
        Some("tls"),
    ),
];

fn messages() -> Value {
    let text = json!({"type": "object", "required": ["type", "user", "text"], "additionalProperties": false,
        "properties": {"type": true, "user": {"type": "string"}, "text": {"type": "string", "maxLength": 100}}});
    json!({
        "binary": "text",
        "max_fragments": 200,
        "json": {"max_depth": 5, "discriminator": "/type", "schemas": {"chat": text, "admin.kick": text}},
        "deny_patterns": [{"name": "card", "regex": "\\b4[0-9]{15}\\b"}],
        "rule_sets": ["cross_site_scripting"],
    })
}

fn policy() -> Value {
    let mut client = messages();
    client["authorize"] = json!([
        {"when": {"/type": "*"}, "equals": {"/user": "sub"}},
        {"when": {"/type": "admin.*"}, "claims": {"role": ["admin"]}},
    ]);
    json!({
        "require_tls": false,
        "origin": {"missing": "allow"},
        "auth": tokens::auth(),
        "compression": "inspect",
        "messages": {"from_client": client, "from_server": messages()},
    })
}

/// The ways in which one message comes.
const CARRIERS: [&str; 5] = ["frame", "fragments", "compressed", "pieces", "binary"];

/// The bytes of a message, one write each.
fn carry(carrier: &str, opcode: u8, payload: &[u8], finish: impl Fn(Draft) -> Draft) -> Vec<Vec<u8>> {
    let bytes = |draft: Draft| finish(draft).bytes();
    match carrier {
        "fragments" => {
            let mut frames = Vec::new();
            for (index, byte) in payload.iter().enumerate() {
                let opcode = if index == 0 { opcode } else { CONTINUATION };
                let draft = Draft::new(opcode, [*byte]);
                let last = index + 1 == payload.len();
                frames.extend(bytes(if last { draft } else { draft.unfinished() }));
                if !last && index % 8 == 3 {
                    frames.extend(bytes(Draft::new(PING, "still here")));
                }
            }
            vec![frames]
        }
        "compressed" => {
            let mut compressed = miniz_oxide::deflate::compress_to_vec(payload, 6);
            compressed.push(0);
            vec![bytes(Draft::new(opcode, compressed).rsv(0b100))]
        }
        // A compressed one, so that both are seen together.
        "binary" => {
            let mut compressed = miniz_oxide::deflate::compress_to_vec(payload, 6);
            compressed.push(0);
            vec![bytes(Draft::new(BINARY, compressed).rsv(0b100))]
        }
        "pieces" => bytes(Draft::new(opcode, payload)).into_iter().map(|byte| vec![byte]).collect(),
        _ => vec![bytes(Draft::new(opcode, payload))],
    }
}

/// Says the bad message of its path after a good one, or echoes.
fn answer(head: &Head) -> Play {
    let chosen = head
        .value(FIELD)
        .map(|_| (FIELD, "permessage-deflate; client_no_context_takeover; server_no_context_takeover"));
    let play = Play::answer(head.accepted_with(chosen.as_slice()));
    let mut path = head.target().trim_start_matches('/').split('/');
    let (Some("server"), Some(name), Some(carrier)) = (path.next(), path.next(), path.next()) else {
        return play.on_frame(echo);
    };
    let (_, opcode, payload, ..) = BAD.into_iter().find(|(own, ..)| *own == name).expect("a known message");
    let writes = carry(carrier, opcode, payload, |draft| draft);
    writes.into_iter().fold(play.then(Draft::text(GOOD).bytes()), Play::then)
}

fn open(gate: &Gate, path: &str, token: &Token) -> WebSocket {
    let offer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
    let upgrade = Upgrade::to(path).header(FIELD, offer).header("authorization", format!("Bearer {}", token.sign()));
    gate.client.open(&upgrade).expect("a 101")
}

fn alice() -> Token {
    Token::new(Algorithm::HS256)
}

/// The data frames among these, which are no pings and no Close.
fn data(frames: &[Frame]) -> Vec<Vec<u8>> {
    let data = frames.iter().filter(|frame| matches!(frame.opcode, TEXT | BINARY | CONTINUATION));
    data.map(|frame| frame.payload.clone()).collect()
}

/// Counts one message of [`BAD`] that ended its connection.
fn count(counters: &mut Counters, (name, _, _, _, reason, rule): &Bad) {
    counters.closed(reason);
    match (*name, rule) {
        ("pattern", Some(rule)) => counters.add(format!("rules.{rule}"), 1),
        ("script", _) => counters.add("rules.cross_site_scripting.script_code", 1),
        _ => {}
    }
}

#[test]
fn a_bad_message_of_the_client_is_refused_however_it_comes() {
    let gate = Gate::start(policy(), Mode::scripted(answer));
    let mut counters = Counters::default();
    for bad @ (name, opcode, payload, code, reason, rule) in BAD {
        for carrier in CARRIERS {
            let path = format!("/client/{name}/{carrier}");
            let mut websocket = open(&gate, &path, &alice());
            websocket.send(&Draft::text(GOOD).masked().bytes()).expect("it takes bytes");
            for write in carry(carrier, opcode, payload, Draft::masked) {
                // The last bytes of a message may come when the verdict has fallen.
                let _ = websocket.send(&write);
            }
            let told = receive_until_close(&mut websocket);
            let last = told.last().expect("a Close");
            assert_eq!((last.close_code(), last.close_reason().as_str()), (Some(code), reason), "{path}");
            let request = gate.request(&path, |request| request.end.is_some());
            let (got, rest) = request.frames();
            assert_eq!((data(&got), rest.len()), (vec![GOOD.as_bytes().to_vec()], 0), "{path}");
            assert_eq!(got.last().and_then(Frame::close_code), Some(code), "{path}");
            assert!(got.iter().all(|frame| matches!(frame.opcode, TEXT | PING | PONG | 0x8)), "{path}: {got:?}");
            count(&mut counters, &bad);
        }
        if let Some(rule) = rule {
            gate.wait_for_log(|lines| {
                let is_logged = |line: &Value| {
                    line["event"] == "refused"
                        && line["reason"] == reason
                        && line["rule"].as_str().is_some_and(|own| own.starts_with(rule))
                };
                lines.iter().filter(|line| is_logged(line)).count() >= CARRIERS.len()
            });
        }
    }
    gate.check_counters(&counters);
}

#[test]
fn a_bad_message_of_the_server_is_refused_however_it_comes() {
    let gate = Gate::start(policy(), Mode::scripted(answer));
    let mut counters = Counters::default();
    for bad @ (name, _, _, code, reason, _) in BAD {
        for carrier in CARRIERS {
            let path = format!("/server/{name}/{carrier}");
            let mut websocket = open(&gate, &path, &alice());
            let told = receive_until_close(&mut websocket);
            assert_eq!(data(&told), [GOOD.as_bytes()], "{path}");
            let last = told.last().expect("a Close");
            assert_eq!((last.close_code(), last.close_reason().as_str()), (Some(1_011), reason), "{path}");
            let request = gate.request(&path, |request| request.end.is_some());
            assert_eq!(request.frames().0.last().and_then(Frame::close_code), Some(code), "{path}");
            count(&mut counters, &bad);
        }
    }
    gate.check_counters(&counters);
}

#[test]
fn who_says_what_is_checked_against_the_token() {
    let gate = Gate::start(policy(), Mode::scripted(answer));
    let message = |kind: &str, user: &str| format!(r#"{{"type":"{kind}","user":"{user}","text":"x"}}"#);
    let admin = alice().claim("role", "admin");
    let rows = [
        ("/own", alice(), message("chat", "alice"), true),
        ("/others", alice(), message("chat", "bob"), false),
        ("/bob", alice().claim("sub", "bob"), message("chat", "bob"), true),
        ("/user", alice(), message("admin.kick", "alice"), false),
        ("/admin", admin.clone(), message("admin.kick", "alice"), true),
        ("/admins-name", admin, message("admin.kick", "bob"), false),
    ];
    let mut counters = Counters::default();
    for (path, token, said, is_allowed) in rows {
        let mut websocket = open(&gate, path, &token);
        websocket.send_frame(Draft::text(&said)).expect("it takes bytes");
        if is_allowed {
            websocket.send_frame(Draft::close(1_000, "")).expect("it takes bytes");
        }
        let told = receive_until_close(&mut websocket);
        let (code, reason, echoed) = if is_allowed { (1_000, "", 1) } else { (1_008, "not_authorized", 0) };
        let last = told.last().expect("a Close");
        assert_eq!((last.close_code(), last.close_reason().as_str()), (Some(code), reason), "{path}");
        assert_eq!(data(&told).len(), echoed, "{path}");
        let request = gate.request(path, |request| request.end.is_some());
        assert_eq!(data(&request.frames().0).len(), echoed, "{path}");
        counters.closed(if is_allowed { "peer" } else { "not_authorized" });
    }
    gate.check_counters(&counters);
}
