//! permessage-deflate through a real Envoy (RFC 7692): what is negotiated, what is inside messages, and that the compressed bytes
//! arrive as they were sent.

use portcullis_envoy::peer::backend::{Mode, Play, echo};
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::frame::{CONTINUATION, Draft, Frame, PING, TEXT};
use portcullis_envoy::peer::head::Head;
use portcullis_envoy::peer::websocket::{Event, WebSocket};
use serde_json::json;

use crate::gate::{Counters, Gate, PATIENCE, open_policy, receive_until_close};

const FIELD: &str = "sec-websocket-extensions";

/// A gate before an echo that answers the offer in its path's place: `/chosen` with what is chosen, others with nothing.
fn gate(compression: &str) -> Gate {
    let tunnels = if compression == "pass" { "allow" } else { "refuse" };
    let messages = json!({"from_client": {"utf8": compression != "pass", "tunnels": tunnels}, "from_server": {"tunnels": tunnels}});
    let mut policy = open_policy(messages);
    policy["compression"] = json!(compression);
    Gate::start(policy, Mode::scripted(answer))
}

fn answer(head: &Head) -> Play {
    let chosen = match head.target() {
        "/plain" => None,
        "/unasked" => Some("permessage-deflate; client_max_window_bits=9"),
        // As Tornado and aiohttp do, which leave out what was offered.
        "/left-out" => Some("permessage-deflate"),
        "/exceeded" => Some("permessage-deflate; server_max_window_bits=11"),
        _ => head.value(FIELD).map(|_| "permessage-deflate; server_no_context_takeover"),
    };
    let line = chosen.map(|chosen| (FIELD, chosen));
    Play::answer(head.accepted_with(line.as_slice())).on_frame(echo)
}

fn open(gate: &Gate, path: &str, offer: &str) -> WebSocket {
    gate.client.open(&Upgrade::to(path).header(FIELD, offer)).expect("a 101")
}

/// A compressed message as one frame (RFC 7692 §7.2.3.4: a final block, and an empty one behind it).
fn compressed(text: &[u8]) -> Draft {
    let mut payload = miniz_oxide::deflate::compress_to_vec(text, 6);
    payload.push(0);
    Draft::new(TEXT, payload).rsv(0b100)
}

fn next(websocket: &mut WebSocket) -> Frame {
    match websocket.receive(PATIENCE) {
        Event::Frame(frame) => frame,
        end => panic!("{end:?} where a frame is due"),
    }
}

#[test]
fn only_offers_that_can_be_followed_reach_the_upstream() {
    let offer = "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits, permessage-deflate; server_max_window_bits=16";
    let rows = [
        ("refuse", None),
        ("inspect", Some("permessage-deflate; client_max_window_bits")),
        ("pass", Some("permessage-deflate; client_max_window_bits")),
    ];
    for (compression, expected) in rows {
        let gate = gate(compression);
        let answer = gate.client.ask(&Upgrade::to("/chosen").header(FIELD, offer)).expect("an answer");
        assert_eq!(answer.status(), 101, "{compression}");
        let chosen = answer.head.value(FIELD).map(str::to_owned);
        assert_eq!(chosen.is_some(), expected.is_some(), "{compression}: {chosen:?}");
        assert_eq!(gate.request("/chosen", |_| true).head.value(FIELD), expected, "{compression}");
        let unasked = gate.client.ask(&Upgrade::to("/unasked")).expect("an answer");
        assert_eq!((unasked.status(), unasked.text().contains("bad_upstream_handshake")), (502, true), "{compression}");
    }
}

/// A server that leaves out `server_no_context_takeover` may refer to its earlier messages: they are read all the same.
#[test]
fn an_answer_may_leave_out_what_was_offered() {
    let gate = gate("inspect");
    let offer = "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=15";
    let mut websocket = open(&gate, "/left-out", offer);
    assert_eq!(websocket.head.value(FIELD), Some("permessage-deflate"));
    // The first message, and one that is a reference to it alone: five bytes, five bytes back (RFC 7692 §7.2.3.2).
    let messages = [b"\xf2\x48\xcd\xc9\xc9\x07\x00".as_slice(), b"\xf2\x00\x11\x00\x00"];
    for message in messages {
        let draft = Draft::new(TEXT, message).rsv(0b100);
        websocket.send(&draft.clone().masked().bytes()).expect("it takes bytes");
        assert_eq!(Draft::copy_of(&next(&mut websocket)).bytes(), draft.bytes());
    }
    let exceeded = gate.client.ask(&Upgrade::to("/exceeded").header(FIELD, offer)).expect("an answer");
    assert_eq!((exceeded.status(), exceeded.text().contains("bad_upstream_handshake")), (502, true));
}

#[test]
fn good_messages_arrive_as_they_were_sent() {
    let long = "a text that is repeated, κόσμε, ".repeat(1_500);
    let whole = compressed(long.as_bytes());
    let payload = compressed(b"in three fragments, with pings between").bytes()[2..].to_vec();
    let (begun, rest) = payload.split_at(10);
    let fragments = [
        Draft::new(TEXT, begun).rsv(0b100).unfinished(),
        Draft::new(PING, "ping"),
        Draft::new(CONTINUATION, "").unfinished(),
        Draft::new(CONTINUATION, rest),
    ];
    for compression in ["inspect", "pass"] {
        let gate = gate(compression);
        let mut websocket = open(&gate, "/chosen", "permessage-deflate");
        let sent =
            [vec![whole.clone(), Draft::text("not compressed")], fragments.to_vec(), vec![whole.clone()]].concat();
        let bytes: Vec<u8> = sent.iter().flat_map(|draft| draft.clone().masked().bytes()).collect();
        bytes.chunks(7).for_each(|chunk| websocket.send(chunk).expect("it takes bytes"));
        for draft in &sent {
            let came = next(&mut websocket);
            if came.opcode != PING && came.opcode != 0xa {
                assert!(Draft::copy_of(&came).bytes() == draft.bytes(), "{compression}");
            }
        }
        let request = gate.request("/chosen", |request| request.frames().0.len() == sent.len());
        let got: Vec<u8> = request.frames().0.iter().flat_map(|frame| Draft::copy_of(frame).bytes()).collect();
        assert!(got == sent.iter().flat_map(Draft::bytes).collect::<Vec<u8>>(), "{compression}");
    }
}

#[test]
fn bad_messages_are_refused_for_what_is_in_them() {
    let gate = gate("inspect");
    let mut counters = Counters::default();
    let rows = [
        ("/text", compressed(b"no \xff text"), 1_007, "invalid_utf8"),
        ("/corrupt", Draft::new(TEXT, b"\x07").rsv(0b100), 1_007, "invalid_deflate"),
        ("/bomb", compressed(&vec![0; 20_000_000]), 1_009, "message_too_big"),
        ("/control", Draft::new(PING, "").rsv(0b100), 1_002, "protocol_error"),
        ("/plain", compressed(b"nobody agreed on this"), 1_002, "protocol_error"),
    ];
    for (path, bad, code, reason) in rows {
        let good = if path == "/plain" { Draft::text("good") } else { compressed(b"good") };
        let mut websocket = open(&gate, path, "permessage-deflate");
        websocket.send(&[good.clone().masked().bytes(), bad.masked().bytes()].concat()).expect("it takes bytes");
        let told = receive_until_close(&mut websocket);
        let last = told.last().expect("a Close");
        assert_eq!((last.close_code(), last.close_reason().as_str()), (Some(code), reason), "{path}");
        let request = gate.request(path, |request| request.end.is_some());
        let (got, rest) = request.frames();
        assert_eq!((got.len(), rest.len()), (2, 0), "{path}: {got:?}");
        assert_eq!(Draft::copy_of(&got[0]).bytes(), good.bytes(), "{path}");
        assert_eq!((got[1].close_code(), got[1].close_reason().as_str()), (Some(code), reason), "{path}");
        counters.closed(reason);
    }
    gate.check_counters(&counters);
}
