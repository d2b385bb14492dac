//! What an upstream may answer to an upgrade, and what comes too early for an answer.

use std::time::Duration;

use portcullis_envoy::peer::backend::{Mode, Play};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::Draft;
use serde_json::json;

use crate::gate::{Counters, Gate, PATIENCE, open_policy};

#[test]
fn a_101_that_answers_another_request_is_no_connection() {
    let mode = Mode::scripted(|head| {
        let row: usize = head.target()[1..].parse().expect("a number");
        Play::answer(head.accepted_with(LIES[row].1)).then(Draft::text("greeting").bytes())
    });
    let gate = Gate::start(open_policy(json!({})), mode);
    let mut counters = Counters::default();
    let mut answers = Vec::new();
    for (row, (is_judged_by, lines)) in LIES.iter().enumerate() {
        let upgrade = Upgrade::to(&format!("/{row}")).subprotocols("chat.v1, chat.v2");
        let answer = gate.client.ask(&upgrade).expect("Envoy listens");
        assert_eq!((answer.status(), answer.head.value("connection")), (502, Some("close")), "{lines:?}");
        match is_judged_by {
            Judge::Envoy => counters.add("handshakes.upstream_refused", 1),
            Judge::Filter => {
                assert_eq!(answer.text(), r#"{"error": "bad_upstream_handshake"}"#, "{lines:?}");
                counters.refused("bad_upstream_handshake");
            }
        }
        answers.push((row, answer));
    }
    for (row, mut answer) in answers {
        assert!(answer.is_closed_within(PATIENCE), "{:?}", LIES[row]);
        assert_eq!(answer.next().head.start, "", "something comes behind the answer to {:?}", LIES[row]);
        let request = gate.request(&format!("/{row}"), |request| request.end.is_some());
        assert!(request.bytes.is_empty());
    }
    gate.check_counters(&counters);
    let judged = LIES.iter().filter(|row| matches!(row.0, Judge::Filter)).count();
    gate.wait_for_log(|lines| {
        // Envoy's own log prints the reason too.
        let of_reason = || lines.iter().filter(|line| line["reason"] == "bad_upstream_handshake");
        lines.iter().filter(|line| line["details"] == "portcullis_bad_upstream_handshake").count() == judged
            && of_reason().filter(|line| line["event"] == "refused").count() == judged
            && of_reason().filter(|line| line["event"].is_null()).count() == judged
    });
}

#[derive(Debug)]
enum Judge {
    Envoy,
    Filter,
}

/// Header lines in place of those of a right 101; an empty one is left out.
const LIES: &[(Judge, &[(&str, &str)])] = &[
    (Judge::Filter, &[("Sec-WebSocket-Accept", "")]),
    (Judge::Filter, &[("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]),
    (Judge::Filter, &[("Sec-WebSocket-Accept", "a"), ("Sec-WebSocket-Accept", "b")]),
    (Judge::Filter, &[("Sec-WebSocket-Protocol", "chat.v9")]),
    (Judge::Filter, &[("Sec-WebSocket-Protocol", "chat.v1, chat.v2")]),
    (Judge::Filter, &[("Sec-WebSocket-Protocol", "chat.v1"), ("Sec-WebSocket-Protocol", "chat.v2")]),
    (Judge::Filter, &[("Sec-WebSocket-Extensions", "permessage-deflate")]),
    (Judge::Filter, &[("Upgrade", "h2c")]),
    (Judge::Filter, &[("Upgrade", "")]),
    (Judge::Filter, &[("Connection", "")]),
    (Judge::Filter, &[("Connection", "close")]),
    (Judge::Envoy, &[("Content-Length", "5")]),
    (Judge::Envoy, &[("Transfer-Encoding", "chunked")]),
];

/// Envoy passes the body on where the status is 400 or more.
#[test]
fn an_upstream_that_refuses_answers_for_itself() {
    let gate = Gate::start(
        open_policy(json!({})),
        Mode::scripted(|head| {
            Play::answer(format!(
                "HTTP/1.1 {} Own\r\nX-Reason: own\r\nContent-Length: 7\r\n\r\nbecause",
                &head.target()[1..]
            ))
        }),
    );
    let mut counters = Counters::default();
    for (status, body) in [(200, ""), (302, ""), (401, "because"), (403, "because"), (426, "because"), (500, "because")]
    {
        let answer = gate.client.ask(&Upgrade::to(&format!("/{status}"))).expect("Envoy listens");
        assert_eq!((answer.status(), answer.text().as_str()), (status, body));
        assert_eq!((answer.head.value("x-reason"), answer.head.value("connection")), (Some("own"), Some("close")));
        // What comes behind it goes nowhere, and is not answered. It may well not go out any more.
        if let Ok(second) = answer.ask(&Upgrade::to("/second")) {
            assert_eq!(second.status(), 0, "behind {status}");
        }
        counters.add("handshakes.upstream_refused", 1);
    }
    assert!(gate.backend.requests().iter().all(|request| request.head.target() != "/second"));
    gate.check_counters(&counters);
}

/// RFC 6455 §4.1: a client MUST wait for the answer. Its early bytes could be frames to one server and a request to the next.
#[test]
fn bytes_before_the_answer_are_refused_and_go_nowhere() {
    const DELAY: Duration = Duration::from_millis(400);
    let gate = Gate::start(
        open_policy(json!({})),
        Mode::scripted(|head| match head.target() {
            "/refuses" => Play::answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").delay(DELAY),
            _ => Play::correct(head).delay(DELAY),
        }),
    );
    let mut counters = Counters::default();
    let frame = Draft::text("early").masked().bytes();
    for path in ["/accepts", "/refuses"] {
        for upgrade in [
            Upgrade::to(path).tail(frame.clone()),
            Upgrade::to(path).tail("GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            // Envoy takes this line off before the filter or the upstream can see it: the body is bytes like any.
            Upgrade::to(path).header("Transfer-Encoding", "chunked").tail("5\r\nhello\r\n0\r\n\r\n"),
        ] {
            let mut answer = gate.client.ask(&upgrade).expect("Envoy listens");
            assert_eq!((answer.status(), answer.text().as_str()), (400, r#"{"error": "bad_upgrade"}"#), "{path}");
            assert!(answer.is_closed_within(PATIENCE), "{path}");
            assert_eq!(answer.next().status(), 0);
            counters.refused("bad_upgrade");
        }
    }
    // The head may be at the upstream already; nothing behind it ever is.
    for request in gate.backend.requests() {
        assert_ne!(request.head.target(), "/second");
        assert!(request.bytes.is_empty() && request.head.value("transfer-encoding").is_none(), "{request:?}");
    }
    gate.check_counters(&counters);
}
