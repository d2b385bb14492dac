//! Payload that is read, held and inflated, in the module as shipped: what reaches the other side, and what memory it takes.

use portcullis_host_tests::scenario::{Gate, policy_with, switching_protocols, upgrade};
use portcullis_host_tests::{StreamId, frame};
use serde_json::{Value, json};

/// A gate whose memory stays small: one log line a connection is no use here.
fn gate(changes: Value) -> Gate {
    let mut policy = policy_with(changes);
    policy["log"] = json!({"connections": false, "refusals": false});
    Gate::new(&policy)
}

fn to_upstream(gate: &Gate, stream: StreamId) -> &[u8] {
    &gate.stream(stream).request.forwarded
}

fn to_client(gate: &Gate, stream: StreamId) -> &[u8] {
    &gate.stream(stream).response.forwarded
}

/// A text frame whose first byte is another: without FIN, compressed.
fn first_byte(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame::client(frame::TEXT, payload);
    bytes[0] = first;
    bytes
}

/// A connection with permessage-deflate as both peers agreed on it.
fn connect_compressed(gate: &mut Gate) -> StreamId {
    let stream = gate.request(&upgrade().with("sec-websocket-extensions", "permessage-deflate"));
    gate.respond(stream, &switching_protocols().with("sec-websocket-extensions", "permessage-deflate"));
    stream
}

/// A compressed message (RFC 7692 §7.2.3.4: a final block, and an empty one behind it).
fn compressed(text: &[u8]) -> Vec<u8> {
    let mut payload = miniz_oxide::deflate::compress_to_vec(text, 6);
    payload.push(0);
    first_byte(0xc1, &payload)
}

#[track_caller]
fn check_closed(gate: &mut Gate, stream: StreamId, passed: &[u8], code: u16, reason: &str) {
    gate.answer_close(stream);
    let to_upstream = to_upstream(gate, stream);
    assert_eq!(frame::close_at_end(to_client(gate, stream)), Some((code, reason.to_owned())));
    assert_eq!(frame::close_at_end(to_upstream), Some((code, reason.to_owned())));
    assert_eq!(to_upstream.len(), passed.len() + 8 + reason.len());
    assert!(to_upstream.starts_with(passed));
    gate.check_manners();
}

/// Sends `bytes` in pieces of every size up to their length, each time on a connection of its own.
#[track_caller]
fn check_refused(gate: &mut Gate, connect: fn(&mut Gate) -> StreamId, sent: [&[u8]; 2], code: u16, reason: &str) {
    let [good, bad] = sent;
    let bytes = sent.concat();
    for piece in (1..=bytes.len()).take(20).chain([bytes.len()]) {
        let stream = connect(gate);
        for chunk in bytes.chunks(piece) {
            gate.client(stream, chunk);
        }
        gate.client(stream, bad);
        check_closed(gate, stream, good, code, reason);
        gate.delete(stream).unwrap();
    }
}

#[test]
fn text_that_is_no_text_is_refused_whatever_its_pieces() {
    let good = frame::client(frame::TEXT, "κόσμε".as_bytes());
    for bad in [&b"\xff"[..], b"some text, then \xed\xa0\x80", b"cut \xe2\x82"] {
        let bad = frame::client(frame::TEXT, bad);
        check_refused(&mut gate(json!({})), Gate::connect, [&good, &bad], 1007, "invalid_utf8");
        let mut unchecked = gate(json!({"messages": {"from_client": {"utf8": false}}}));
        let stream = unchecked.connect();
        unchecked.client(stream, &bad);
        assert_eq!(to_upstream(&unchecked, stream), bad);
    }
}

#[test]
fn a_server_is_checked_where_the_policy_says_so() {
    let mut gate = gate(json!({"messages": {"from_server": {"utf8": true}}}));
    let stream = gate.connect();
    let good = frame::server(frame::TEXT, "κόσμε".as_bytes());
    let bad = frame::server(frame::TEXT, b"\xff");
    for byte in [good.clone(), bad].concat() {
        gate.server(stream, &[byte]);
    }
    let passed = to_client(&gate, stream);
    assert!(passed.starts_with(&good));
    assert_eq!(frame::close_at_end(passed), Some((1011, "invalid_utf8".to_owned())));
    gate.client(stream, &frame::client(frame::CLOSE, b"\x03\xf6"));
    assert_eq!(frame::close_at_end(to_upstream(&gate, stream)), Some((1007, "invalid_utf8".to_owned())));
}

#[test]
fn nothing_of_a_refused_message_moves_on_where_messages_wait() {
    let mut gate = gate(json!({"messages": {"from_client": {"whole": true}}}));
    let ping = frame::client(frame::PING, b"are you there");
    let (first, last, bad) = (first_byte(0x01, b"one "), first_byte(0x80, b"two"), first_byte(0x80, b"\xff"));

    let stream = gate.connect();
    for byte in [&first[..], &ping].concat() {
        gate.client(stream, &[byte]);
    }
    assert_eq!(to_upstream(&gate, stream), ping, "a ping waits for nothing");
    gate.client(stream, &last);
    assert_eq!(to_upstream(&gate, stream), [&ping[..], &first, &last].concat());

    let stream = gate.connect();
    gate.client(stream, &[&first[..], &ping, &bad].concat());
    check_closed(&mut gate, stream, &ping, 1007, "invalid_utf8");
}

#[test]
fn compressed_messages_are_judged_by_what_is_in_them() {
    let mut gate = gate(json!({"compression": "inspect"}));
    let good = compressed("κόσμε ".repeat(100).as_bytes());
    let bomb = compressed(&vec![0; 10_000_000]);
    let rows = [
        (compressed(b"no \xff text"), 1007, "invalid_utf8"),
        (first_byte(0xc1, b"\x07"), 1007, "invalid_deflate"),
        (first_byte(0xc1, b""), 1007, "invalid_deflate"),
        (first_byte(0xe1, b""), 1002, "protocol_error"),
        (bomb, 1009, "message_too_big"),
    ];
    for (bad, code, reason) in rows {
        check_refused(&mut gate, connect_compressed, [&good, &bad], code, reason);
    }
    // What was not negotiated is not compressed.
    check_refused(&mut gate, Gate::connect, [b"", &good], 1002, "protocol_error");
}

#[test]
fn what_may_be_held_is_shared_by_all_connections() {
    let mut gate = gate(json!({"messages": {"from_client": {"whole": true}}, "limits": {"held_bytes": 100_000}}));
    let message = frame::client(frame::TEXT, &[b'x'; 60_000]);
    let (begun, rest) = message.split_at(50_000);
    let (first, second) = (gate.connect(), gate.connect());
    gate.client(first, begun);
    gate.client(second, begun);
    gate.client(second, &rest[..1_000]);
    check_closed(&mut gate, second, b"", 1013, "overloaded");
    // It gave back what it held: the first one ends as it should, and a third one has room.
    gate.client(first, rest);
    let third = gate.connect();
    gate.client(third, begun);
    gate.client(third, rest);
    for stream in [first, third] {
        assert_eq!(to_upstream(&gate, stream), message);
    }
    assert_eq!(gate.metric("portcullis.refused.overloaded"), 1);
}

#[test]
fn without_room_text_goes_on_as_it_comes() {
    // Room for the connection itself.
    let mut gate = gate(json!({"limits": {"held_bytes": 2_000}}));
    let stream = gate.connect();
    let message = frame::client(frame::TEXT, &[b'x'; 60_000]);
    let (begun, rest) = message.split_at(50_000);
    gate.client(stream, begun);
    assert_eq!(to_upstream(&gate, stream), begun);
    gate.client(stream, rest);
    assert_eq!(to_upstream(&gate, stream), message);
}

/// A connection that has done something.
type Attempt = (&'static str, fn(&mut Gate) -> StreamId);

#[test]
fn memory_is_given_back_whatever_ends_a_connection() {
    let mut gate = gate(json!({"compression": "inspect", "messages": {"from_client": {"whole": true}}}));
    let attempts: [Attempt; 4] = [
        ("an unfinished message", |gate| {
            let stream = gate.connect();
            gate.client(stream, &first_byte(0x01, &[b'x'; 60_000]));
            stream
        }),
        ("a refused message", |gate| {
            let stream = gate.connect();
            gate.client(stream, &frame::client(frame::TEXT, &[0xff; 60_000]));
            stream
        }),
        ("an oversized message", |gate| {
            let stream = gate.connect();
            gate.client(stream, &frame::client_header(frame::TEXT, 1 << 40));
            for _ in 0..10 {
                gate.client(stream, &[b'x'; 60_000]);
            }
            stream
        }),
        ("a bomb", |gate| {
            let stream = connect_compressed(gate);
            gate.client(stream, &compressed(&vec![0; 1_000_000]));
            stream
        }),
    ];
    for (name, attempt) in attempts {
        let round = |gate: &mut Gate| {
            for _ in 0..100 {
                let streams = [attempt(gate), attempt(gate), attempt(gate)];
                streams.into_iter().for_each(|stream| gate.delete(stream).unwrap());
            }
            gate.memory_len().unwrap()
        };
        let once = round(&mut gate);
        assert_eq!(round(&mut gate), once, "{name}: memory grows");
    }
}

#[test]
fn a_refused_connection_holds_nothing_while_it_ends() {
    let mut gate = gate(json!({"messages": {"from_client": {"whole": true}}, "limits": {"held_bytes": 200_000}}));
    for _ in 0..100 {
        // It holds most of what there is, is refused, and stays.
        let stream = gate.connect();
        gate.client(stream, &first_byte(0x01, &[b'x'; 60_000]));
        gate.client(stream, &first_byte(0x00, &[0xff; 10]));
        gate.answer_close(stream);
        assert_eq!(frame::close_at_end(to_client(&gate, stream)), Some((1007, "invalid_utf8".to_owned())));
        gate.client(stream, &[b'x'; 60_000]);
    }
    assert_eq!(gate.metric("portcullis.refused.overloaded"), 0);
}

#[test]
fn monitoring_passes_what_would_be_refused() {
    for whole in [true, false] {
        let mut gate = gate(json!({"mode": "monitor", "messages": {"from_client": {"whole": whole}}}));
        let stream = gate.connect();
        let sent = [first_byte(0x01, b"one "), first_byte(0x80, b"\xff"), frame::client(frame::TEXT, b"\xfe")].concat();
        for byte in &sent {
            gate.client(stream, &[*byte]);
        }
        assert_eq!(to_upstream(&gate, stream), sent);
        assert_eq!(gate.metric("portcullis.would_refuse.invalid_utf8"), 2);
    }
}
