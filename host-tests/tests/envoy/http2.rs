//! WebSockets over HTTP/2 (extended CONNECT, RFC 8441), over TLS: several on one connection, judged one by one, and none of them
//! the worse for what another does.

use std::thread;
use std::time::Duration;

use jsonwebtoken::Algorithm::{ES256, HS256};
use portcullis_envoy::peer::backend::{Mode, Play, echo};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{CLOSE, Draft, Frame, TEXT};
use portcullis_envoy::peer::http2::{End, Session};
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use serde_json::{Value, json};

use crate::gate::{Counters, Gate, PATIENCE, receive_until_close};
use crate::tokens::{self, Token};

#[test]
fn a_good_upgrade_is_opened_and_its_credential_taken_out() {
    let (gate, session) = start(Mode::Echo);
    let mut counters = Counters::default();
    let token = &Token::new(ES256).sign();
    let places = [
        ("/header", Upgrade::to("/header").header("Authorization", format!("Bearer {token}"))),
        ("/cookie", Upgrade::to("/cookie").header("Cookie", format!("a=1; session={token}; b=2"))),
        // "the Cookie header field MAY be split into separate header fields" (RFC 9113 §8.2.3).
        (
            "/crumbs",
            Upgrade::to("/crumbs")
                .header("Cookie", "a=1")
                .header("Cookie", format!("session={token}"))
                .header("Cookie", "b=2"),
        ),
        ("/query", Upgrade::to(&format!("/query?token={token}"))),
        ("/subprotocol", Upgrade::to("/subprotocol").subprotocols(&format!("bearer, {token}, chat.v1"))),
    ];
    for (path, upgrade) in places {
        let upgrade = upgrade.host("chat.example.com").origin(ORIGIN).header("X-User", "root");
        let mut websocket = session.upgrade(&upgrade).unwrap_or_else(|error| panic!("{path}: {error}"));
        for name in ["upgrade", "connection", "sec-websocket-accept", "sec-websocket-extensions"] {
            assert_eq!(websocket.head.value(name), None, "{path}");
        }
        let chosen = (path == "/subprotocol").then_some("chat.v1");
        assert_eq!(websocket.head.value("sec-websocket-protocol"), chosen, "{path}");
        check_echo(path, &mut websocket, 5);

        let head = gate.request(path, |_| true).head;
        assert!(!format!("{head:?}").contains(token.as_str()), "{path}: {head:?}");
        assert_eq!(
            (head.start.as_str(), head.value("host")),
            (&*format!("GET {path} HTTP/1.1"), Some("chat.example.com"))
        );
        assert_eq!((head.value("upgrade"), head.value("sec-websocket-version")), (Some("websocket"), Some("13")));
        assert!(head.value("sec-websocket-key").is_some_and(|key| key.len() == 24), "{path}: {head:?}");
        assert_eq!(head.values("x-user").collect::<Vec<_>>(), ["alice"], "{path}");
        let cookies = matches!(path, "/cookie" | "/crumbs").then_some("a=1; b=2");
        assert_eq!(head.value("cookie"), cookies, "{path}");
        end(&gate, path, websocket);
        counters.closed("peer");
    }
    gate.check_counters(&counters);
    gate.wait_for_log(|lines| lines.iter().filter(|line| line["protocol"] == "HTTP/2").count() == 5);
    let log = gate.envoy.log().expect("a log");
    assert!(!log.contains(token.as_str()), "the token is in the log");
}

/// The clock of Envoy's `request_timeout` stops at the 101, and at the 200 of an extended CONNECT.
#[test]
fn a_websocket_outlives_the_time_that_a_request_has() {
    let (gate, session) = start(Mode::Echo);
    let opened = [gate.client.open(&good("/h1")), session.upgrade(&good("/h2"))];
    let mut websockets = opened.map(|opened| opened.expect("it is opened"));
    thread::sleep(REQUEST_TIMEOUT + Duration::from_secs(1));
    websockets.iter_mut().for_each(|websocket| check_echo("/", websocket, 125));
}

#[test]
fn messages_of_any_length_pass_on_many_streams_at_once() {
    let (gate, session) = start(Mode::Echo);
    let mut websockets: Vec<_> =
        (0..STREAMS).map(|stream| session.upgrade(&good(&format!("/{stream}"))).expect("it is opened")).collect();
    thread::scope(|scope| {
        for websocket in &mut websockets {
            scope.spawn(|| {
                for len in [0, 125, 126, 16_384, 16_385, 65_535, 65_536, 100_000, LEN_MAX] {
                    check_echo("/", websocket, len);
                }
            });
        }
    });
    let mut counters = Counters::default();
    for (stream, websocket) in websockets.into_iter().enumerate() {
        let path = format!("/{stream}");
        end(&gate, &path, websocket);
        let request = gate.request(&path, |request| request.end.is_some());
        let (frames, rest) = request.frames();
        let lens: Vec<_> = frames.iter().map(|frame| frame.payload.len()).collect();
        assert_eq!(
            (lens, rest.len()),
            (vec![0, 125, 126, 16_384, 16_385, 65_535, 65_536, 100_000, LEN_MAX, 2], 0),
            "{path}"
        );
        assert!(frames.iter().all(|frame| frame.mask.is_some()), "{path}");
        counters.closed("peer");
    }
    gate.check_counters(&counters);
}

#[test]
fn a_refused_upgrade_leaves_the_other_streams_alone() {
    let (gate, session) = start(Mode::Echo);
    let mut counters = Counters::default();
    let mut neighbour = session.upgrade(&good("/neighbour")).expect("it is opened");
    let rows = [
        (403, "origin_refused", good("/").origin("https://evil.example")),
        (401, "credential_missing", good("/").without("authorization")),
        (401, "credential_invalid", good("/").with("Authorization", format!("Bearer {}", tokens::FORGED))),
        (400, "credential_ambiguous", good("/").header("Cookie", format!("session={}", tokens::FORGED))),
        (426, "bad_version", good("/").with("Sec-WebSocket-Version", "8")),
        (400, "bad_upgrade", good("/").header("Sec-WebSocket-Version", "13")),
        (400, "bad_upgrade", good("/").tail(Draft::text("early").masked().bytes())),
        (421, "host_refused", good("/").host("evil.example.com")),
        (403, "not_websocket", good("/").without("Upgrade").without("Sec-WebSocket-Version")),
        // Envoy's to refuse.
        (400, "", good("/a%2fb")),
    ];
    for (status, reason, upgrade) in rows {
        let answer = session.ask(&upgrade).unwrap_or_else(|error| panic!("{status} {reason}: {error}"));
        assert_eq!(answer.status(), status, "{reason}: {answer:?}");
        if !reason.is_empty() {
            assert_eq!(answer.text(), format!("{{\"error\": \"{reason}\"}}"));
            counters.refused(reason);
        }
        assert_eq!(answer.head.value("connection"), None, "{reason}");
        check_echo(reason, &mut neighbour, 5);
    }
    let mut late = session.upgrade(&good("/late")).expect("the connection takes new streams");
    check_echo("/late", &mut late, 5);
    // An upgrade that is none of websocket Envoy refuses itself, and takes no more streams on that connection.
    let answer = session.ask(&good("/").with("Upgrade", "unknown")).expect("an answer");
    assert_eq!((answer.status(), answer.text().as_str()), (403, ""));
    check_echo("/late", &mut late, 5);
    check_echo("/neighbour", &mut neighbour, 5);
    for (path, websocket) in [("/late", late), ("/neighbour", neighbour)] {
        end(&gate, path, websocket);
        counters.closed("peer");
    }
    assert_eq!(gate.backend.requests().len(), 2, "nothing that is refused gets through");
    gate.check_counters(&counters);
}

#[test]
fn a_refused_message_ends_its_own_stream_with_its_code() {
    let (gate, session) = start(Mode::Echo);
    let mut counters = Counters::default();
    let mut neighbour = session.upgrade(&good("/neighbour")).expect("it is opened");
    let rows = [
        (1_009, "message_too_big", vec![Draft::new(TEXT, vec![b'x'; LEN_MAX + 1])]),
        (1_009, "message_too_big", vec![Draft::text("x").declared_len(u64::MAX >> 1)]),
        (1_003, "type_refused", vec![Draft::binary("binary")]),
        (1_002, "protocol_error", vec![Draft::text("reserved").rsv(0b001)]),
        (1_002, "protocol_error", vec![Draft::text("begun").unfinished(), Draft::text("another")]),
        (1_007, "invalid_utf8", vec![Draft::new(TEXT, b"no \xff text")]),
        (1_007, "invalid_utf8", vec![Draft::new(TEXT, b"half \xce").unfinished(), Draft::new(0, b"x")]),
    ];
    for (index, (code, reason, frames)) in rows.into_iter().enumerate() {
        let path = format!("/{index}");
        let mut websocket = session.upgrade(&good(&path)).expect("it is opened");
        check_echo(&path, &mut websocket, 5);
        for frame in frames {
            // The verdict may be there before the last byte.
            let _ = websocket.send_frame(frame);
        }
        check_close(&path, &receive_until_close(&mut websocket), code, reason);
        check_ended(&path, &mut websocket);
        let request = gate.request(&path, |request| request.end.is_some());
        let (got, rest) = request.frames();
        assert!(rest.is_empty() && got.iter().all(|frame| frame.mask.is_some()), "{path}: {got:?}");
        check_close(&path, &got, code, reason);
        check_echo(&path, &mut neighbour, 5);
        counters.closed(reason);
    }
    end(&gate, "/neighbour", neighbour);
    counters.closed("peer");
    gate.check_counters(&counters);
}

/// "a 2xx response" is what opens an extended CONNECT (RFC 8441 §5), whoever meant what by it.
#[test]
fn a_success_that_is_no_101_opens_nothing() {
    let (gate, session) = start(Mode::scripted(|head| {
        Play::answer(format!("HTTP/1.1 {} Own\r\nContent-Length: 0\r\n\r\n", &head.target()[1..]))
    }));
    let mut counters = Counters::default();
    for status in ["200", "201", "204", "206"] {
        let answer = session.ask(&good(&format!("/{status}"))).expect("an answer");
        assert_eq!((answer.status(), &*answer.text()), (502, r#"{"error": "bad_upstream_handshake"}"#), "{status}");
        counters.refused("bad_upstream_handshake");
    }
    for status in [302, 401, 404, 500] {
        let answer = session.ask(&good(&format!("/{status}"))).expect("an answer");
        assert_eq!(answer.status(), status);
        counters.add("handshakes.upstream_refused", 1);
    }
    gate.check_counters(&counters);
}

#[test]
fn a_stream_that_has_ended_opens_nothing() {
    let (gate, session) = start(Mode::scripted(|head| Play::correct(head).delay(Duration::from_millis(400))));
    let mut counters = Counters::default();
    for end in [End::Header, End::Trailers] {
        let answer = session.ask_with(&good("/ended"), end).unwrap_or_else(|error| panic!("{end:?}: {error}"));
        assert_eq!((answer.status(), &*answer.text()), (400, r#"{"error": "bad_upgrade"}"#), "{end:?}");
        counters.refused("bad_upgrade");
    }
    let mut late = session.upgrade(&good("/late")).expect("the connection takes new streams");
    assert_eq!(late.head.value("sec-websocket-accept"), None);
    late.send_frame(Draft::close(1_000, "")).expect("it takes bytes");
    receive_until_close(&mut late);
    check_ended("/late", &mut late);
    counters.closed("peer");
    gate.check_counters(&counters);
}

#[test]
fn a_servers_fault_ends_the_stream_with_1011() {
    // What a client tells this backend, the backend says.
    let (gate, session) = start(Mode::scripted(|head| {
        let say = |frame: &Frame| if frame.opcode == TEXT { frame.payload.clone() } else { echo(frame) };
        Play::answer(head.accepted()).on_frame(say)
    }));
    let mut counters = Counters::default();
    let rows = [
        ("/puppet/masked", 1_002, "protocol_error", Draft::text("a").mask_key([0; 4])),
        ("/puppet/long", 1_009, "message_too_big", Draft::text("").declared_len(LEN_MAX as u64 + 1)),
        ("/puppet/binary", 1_003, "type_refused", Draft::binary("")),
    ];
    for (path, code, reason, offence) in rows {
        let mut websocket = session.upgrade(&good(path)).expect("it is opened");
        let said = [Draft::text("good").bytes(), offence.bytes()].concat();
        websocket.send_frame(Draft::new(TEXT, said)).expect("it takes bytes");
        let told = receive_until_close(&mut websocket);
        assert_eq!(told.first().map(|frame| frame.payload.as_slice()), Some(b"good".as_slice()), "{path}");
        check_close(path, &told, 1_011, reason);
        let request = gate.request(path, |request| request.end.is_some());
        let (got, rest) = request.frames();
        assert!(rest.is_empty(), "{path}");
        check_close(path, &got, code, reason);
        counters.closed(reason);
    }
    gate.check_counters(&counters);
}

#[test]
fn a_client_that_goes_away_takes_its_upstream_along() {
    let (gate, session) = start(Mode::Echo);
    let mut counters = Counters::default();
    let mut neighbour = session.upgrade(&good("/neighbour")).expect("it is opened");
    for path in ["/idle", "/in-a-frame"] {
        let mut websocket = session.upgrade(&good(path)).expect("it is opened");
        check_echo(path, &mut websocket, 5);
        if path == "/in-a-frame" {
            let frame = Draft::text("twelve bytes").masked().bytes();
            websocket.send(&frame[..9]).expect("it takes bytes");
        }
        // RST_STREAM.
        drop(websocket);
        gate.request(path, |request| request.end.is_some());
        check_echo(path, &mut neighbour, 5);
        counters.closed("peer");
    }
    // The end of the connection.
    drop((neighbour, session));
    gate.request("/neighbour", |request| request.end.is_some());
    counters.closed("peer");
    gate.check_counters(&counters);
}

/// A gate that asks for TLS and a token, and a session of HTTP/2 with it.
fn start(mode: Mode) -> (Gate, Session) {
    Gate::with_http2(policy(), mode)
}

fn policy() -> Value {
    let side = json!({"max_frame_bytes": LEN_MAX, "max_message_bytes": LEN_MAX, "binary": "refuse"});
    // What the backend shall say in a server's fault is longer, and no text.
    json!({
        "hosts": ["chat.example.com"], "non_websocket": "refuse", "origin": {"allow": [ORIGIN]},
        "subprotocols": {"allow": ["chat.v1"]}, "auth": tokens::auth(),
        "messages": {"from_client": side, "from_server": side},
        "routes": [{"match": {"path_prefix": "/puppet"}, "policy": {"messages": {"from_client": {"utf8": false}}}}],
    })
}

fn good(path: &str) -> Upgrade {
    let token = Token::new(HS256).sign();
    Upgrade::to(path).host("chat.example.com").origin(ORIGIN).header("Authorization", format!("Bearer {token}"))
}

/// A message of this length goes there and comes back.
#[track_caller]
fn check_echo(path: &str, websocket: &mut WebSocket, len: usize) {
    let text = vec![b'x'; len];
    websocket.send_frame(Draft::new(TEXT, text.as_slice())).expect("it takes bytes");
    let came = websocket.receive(PATIENCE);
    assert!(matches!(&came, Event::Frame(frame) if frame.opcode == TEXT && frame.payload == text), "{path}: {came:?}");
}

/// The last of these frames is the one Close among them, as it should be.
#[track_caller]
fn check_close(path: &str, frames: &[Frame], code: u16, reason: &str) {
    let (last, before) = frames.split_last().unwrap_or_else(|| panic!("{path}: no Close"));
    assert_eq!((last.opcode, last.close_code(), last.close_reason().as_str()), (CLOSE, Some(code), reason), "{path}");
    assert!(before.iter().all(|frame| frame.opcode != CLOSE), "{path}: {frames:?}");
}

/// No byte comes any more. Behind the end of its own half, Envoy resets an extended CONNECT whose client has not ended its half
/// (CONNECT_ERROR).
#[track_caller]
fn check_ended(path: &str, websocket: &mut WebSocket) {
    let end = websocket.receive(PATIENCE);
    assert!(matches!(end, Event::Eof | Event::Reset), "{path}: {end:?}");
}

/// Ends a connection by a Close of the client's.
#[track_caller]
fn end(gate: &Gate, path: &str, mut websocket: WebSocket) {
    websocket.send_frame(Draft::close(1_000, "")).expect("it takes bytes");
    let came = websocket.receive(PATIENCE);
    assert!(matches!(&came, Event::Frame(frame) if frame.close_code() == Some(1_000)), "{path}: {came:?}");
    check_ended(path, &mut websocket);
    gate.request(path, |request| request.end.is_some());
}

const ORIGIN: &str = "https://app.example.com";
/// How many WebSockets on one connection.
const STREAMS: usize = 8;
/// As the shipped configuration has it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// More than a stream's window of 65,536 bytes in the shipped configuration.
const LEN_MAX: usize = 200_000;
