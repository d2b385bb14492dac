use super::*;
use crate::json::reader::{Bounds, read};

const BOUNDS: Bounds = Bounds { depth_max: 9, keys_max: 99, string_len_max: 999, unique_keys: true, surrogates: false };

/// The message inside, as serde_json would write its first string or name; empty for none.
fn open(envelope: Envelope, from: Side, text: &str) -> Result<Option<String>, Violation> {
    let packet = envelope.open(text, from)?;
    let Some(json) = packet.json.as_deref() else { return Ok(None) };
    let document = read(json, &BOUNDS)?;
    let message = envelope.message(&packet, &document, from)?;
    Ok(message.map(|message| match message.form() {
        Form::Array(mut items) => items.next().and_then(Value::as_str).unwrap_or("?").to_owned(),
        Form::Object(mut members) => members.next().map(|(name, _)| name).unwrap_or("?").to_owned(),
        view => format!("{view:?}"),
    }))
}

#[track_caller]
fn check(envelope: Envelope, from: Side, text: &str, expected: Result<Option<&str>, Violation>) {
    assert_eq!(open(envelope, from, text), expected.map(|inside| inside.map(str::to_owned)), "{from:?}: {text}");
}

#[test]
fn json_is_its_own_message() {
    check(Envelope::Json, Side::Client, r#"{"a":1}"#, Ok(Some("a")));
    check(Envelope::Json, Side::Server, "{", Err(Violation::InvalidJson));
}

#[test]
fn events_of_socket_io_are_messages() {
    for (text, event) in [
        (r#"42["chat",{"a":1}]"#, "chat"),
        (r#"42/admin,["chat"]"#, "chat"),
        (r#"42/admin?token=1,12["chat"]"#, "chat"),
        (r#"4212["chat"]"#, "chat"),
        (r#"42[1,2]"#, "?"),
        (r#"452-["file",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#, "file"),
        (r#"451-/ns,3["file",{"_placeholder":true,"num":0}]"#, "file"),
    ] {
        check(Envelope::SocketIo, Side::Client, text, Ok(Some(event)));
        check(Envelope::SocketIo, Side::Server, text, Ok(Some(event)));
    }
}

#[test]
fn what_socket_io_says_itself_is_no_message() {
    for text in [
        "2",
        "3",
        "2probe",
        "1",
        "5",
        "40",
        r#"40{"token":"x"}"#,
        "40/ns,",
        "40/ns",
        r#"40/ns,{"a":1}"#,
        "41",
        "41/ns,",
        "431[]",
        r#"43/ns,12["ok"]"#,
        r#"461-7[{"_placeholder":true,"num":0}]"#,
    ] {
        check(Envelope::SocketIo, Side::Client, text, Ok(None));
    }
    for text in [r#"0{"sid":"x"}"#, "2", "3", "3probe", "6", r#"44{"message":"no"}"#, r#"44/ns,{"message":"no"}"#] {
        check(Envelope::SocketIo, Side::Server, text, Ok(None));
    }
}

#[test]
fn a_side_of_socket_io_says_what_is_for_it_to_say() {
    for text in
        [r#"0{"sid":"x"}"#, "3probe", "6", r#"44{"message":"no"}"#, r#"44/ns,{"message":"no"}"#, r#"42["error",1]"#]
    {
        check(Envelope::SocketIo, Side::Client, text, Err(Violation::SchemaRefused));
    }
    for text in ["2probe", "5"] {
        check(Envelope::SocketIo, Side::Server, text, Err(Violation::SchemaRefused));
    }
    check(Envelope::SocketIo, Side::Server, r#"42["error",1]"#, Ok(Some("error")));
}

#[test]
fn what_is_no_packet_of_socket_io_is_refused() {
    for text in [
        "",
        "7",
        "2x",
        "1x",
        "b",
        "bAAAA",
        "0",
        r#"0{"sid":"x"}"#,
        "4",
        "42",
        "42{}",
        "42[]",
        "42[null]",
        r#"42[["a"]]"#,
        r#"42["connect"]"#,
        r#"42["disconnect"]"#,
        "43[]",
        "43",
        "41[1]",
        "44",
        "40[1]",
        r#"401{"a":1}"#,
        "47[]",
        r#"45["a"]"#,
        r#"45-["a"]"#,
        r#"45x-["a"]"#,
        r#"451-["a",{"_placeholder":true,"num":1}]"#,
        r#"451-["a",{"_placeholder":true}]"#,
        r#"451-["a",[{"_placeholder":true,"num":"0"}]]"#,
        r#"451-["a",{"_placeholder":true,"num":-1}]"#,
        "é",
    ] {
        check(Envelope::SocketIo, Side::Client, text, Err(Violation::SchemaRefused));
    }
    for text in ["42[", r#"42["a"]x"#, r#"42 ["a"] ]"#, "42/ns,12x"] {
        check(Envelope::SocketIo, Side::Client, text, Err(Violation::InvalidJson));
    }
}

#[test]
fn attachments_are_bounded() {
    let packet = |count: &str| {
        Envelope::SocketIo.open(&format!("45{count}-[\"a\"]"), Side::Client).map(|packet| packet.attachments())
    };
    assert_eq!(packet("10"), Ok(10));
    assert_eq!(packet("11"), Err(Violation::JsonRefused));
    assert_eq!(packet("99999999999999999999"), Err(Violation::JsonRefused));
}

#[test]
fn payloads_of_graphql_are_messages() {
    let subscribe = r#"{"id":"1","type":"subscribe","payload":{"operationName":"A","query":"subscription A { a }"}}"#;
    check(Envelope::GraphqlTransportWs, Side::Client, subscribe, Ok(Some("operationName")));
    check(
        Envelope::GraphqlTransportWs,
        Side::Server,
        r#"{"id":"1","type":"next","payload":{"data":{}}}"#,
        Ok(Some("data")),
    );
    check(Envelope::GraphqlTransportWs, Side::Server, r#"{"id":"1","type":"error","payload":["x"]}"#, Ok(Some("x")));
}

#[test]
fn what_graphql_says_itself_is_no_message() {
    for text in [
        r#"{"type":"connection_init"}"#,
        r#"{"type":"connection_init","payload":{"token":"x"}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"pong","payload":null}"#,
        r#"{"type":"complete","id":"1"}"#,
    ] {
        check(Envelope::GraphqlTransportWs, Side::Client, text, Ok(None));
    }
    check(Envelope::GraphqlTransportWs, Side::Server, r#"{"type":"connection_ack"}"#, Ok(None));
}

#[test]
fn what_is_no_message_of_graphql_is_refused() {
    let either = [
        "[]",
        "{}",
        r#"{"type":1}"#,
        r#"{"type":"start","id":"1","payload":{"query":"x"}}"#,
        r#"{"type":"complete"}"#,
        r#"{"type":"complete","id":""}"#,
        r#"{"type":"complete","id":1}"#,
        r#"{"type":"ping","payload":[]}"#,
        r#"{"type":"subscribe","id":"1"}"#,
        r#"{"type":"subscribe","payload":{"query":"x"}}"#,
        r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#,
        r#"{"type":"next","id":"1"}"#,
        r#"{"type":"error","id":"1","payload":{}}"#,
        r#"{"id":"1","type":"subscribe","payload":{"query":"x"},"Payload":{"query":"y"}}"#,
        r#"{"id":"1","type":"subscribe","payload":{"query":"x","Query":"y"}}"#,
        r#"{"id":"1","type":"ping","TYPE":"subscribe","payload":{"query":"x"}}"#,
    ];
    for from in [Side::Client, Side::Server] {
        either
            .into_iter()
            .for_each(|text| check(Envelope::GraphqlTransportWs, from, text, Err(Violation::SchemaRefused)));
    }
    let subscribe = r#"{"id":"1","type":"subscribe","payload":{"query":"x"}}"#;
    for (from, text) in [
        (Side::Server, subscribe),
        (Side::Server, r#"{"type":"connection_init"}"#),
        (Side::Client, r#"{"type":"connection_ack"}"#),
        (Side::Client, r#"{"id":"1","type":"next","payload":{}}"#),
    ] {
        check(Envelope::GraphqlTransportWs, from, text, Err(Violation::SchemaRefused));
    }
}

/// The messages inside, as in [`check`]; records without one are left out.
#[track_caller]
fn check_all(envelope: Envelope, from: Side, text: &str, expected: Result<&[&str], Violation>) {
    let inside = envelope.records(text, from, &BOUNDS).and_then(|records| {
        let records = records.expect("an envelope of records");
        let messages: Result<Vec<_>, _> = records.iter().map(|record| open(envelope, from, record)).collect();
        messages.map(|messages| messages.into_iter().flatten().collect::<Vec<_>>())
    });
    assert_eq!(
        inside,
        expected.map(|inside| inside.iter().map(|&name| name.to_owned()).collect()),
        "{from:?}: {text:?}"
    );
}

#[test]
fn each_line_of_json_lines_is_a_message() {
    for (text, names) in [
        ("{\"a\":1}", &["a"][..]),
        ("{\"a\":1}\n", &["a"]),
        ("{\"a\":1}\r\n{\"b\":1}\r\n", &["a", "b"]),
        ("{\"a\":1}\n[\"b\"]\n{}", &["a", "b", "?"]),
    ] {
        check_all(Envelope::JsonLines, Side::Client, text, Ok(names));
        check_all(Envelope::JsonLines, Side::Server, text, Ok(names));
    }
    for text in ["", "\n", "{\"a\":1}\n\n", "\n{}", "{}\n{", "{\"a\":\n1}", "{}{}", "{}\r{}"] {
        check_all(Envelope::JsonLines, Side::Client, text, Err(Violation::InvalidJson));
    }
}

#[test]
fn records_of_a_text_are_bounded() {
    check_all(Envelope::JsonLines, Side::Client, &"0\n".repeat(4_097), Err(Violation::JsonRefused));
    let text = "0\n".repeat(4_096);
    let records = Envelope::JsonLines.records(&text, Side::Client, &BOUNDS);
    assert_eq!(records.map(|records| records.map(|records| records.len())), Ok(Some(4_096)));
}

#[test]
fn calls_items_and_results_of_signalr_are_messages() {
    for (text, names) in [
        ("{\"type\":1,\"target\":\"Send\",\"arguments\":[]}\x1e", &["type"][..]),
        (
            "{\"type\":1,\"invocationId\":\"7\",\"target\":\"Send\",\"arguments\":[1],\"streamIds\":[\"1\"]}\x1e",
            &["type"],
        ),
        ("{\"target\":\"Send\",\"type\":1,\"arguments\":[]}\x1e{\"type\":6}\x1e", &["target"]),
        ("{\"type\":2,\"invocationId\":\"7\",\"item\":null}\x1e", &["type"]),
        ("{\"type\":3,\"invocationId\":\"7\"}\x1e", &["type"]),
        (
            "{\"type\":3,\"invocationId\":\"7\",\"result\":1}\x1e{\"type\":3,\"invocationId\":\"8\",\"error\":\"x\"}\x1e",
            &["type", "type"],
        ),
    ] {
        check_all(Envelope::SignalR, Side::Client, text, Ok(names));
        check_all(Envelope::SignalR, Side::Server, text, Ok(names));
    }
    let stream = "{\"type\":4,\"invocationId\":\"7\",\"target\":\"Watch\",\"arguments\":[]}\x1e";
    check_all(Envelope::SignalR, Side::Client, stream, Ok(&["type"]));
    check_all(Envelope::SignalR, Side::Server, stream, Err(Violation::SchemaRefused));
}

#[test]
fn what_signalr_says_itself_is_no_message() {
    for text in [
        "{\"type\":6}\x1e",
        "{\"type\":7}\x1e",
        "{\"type\":7,\"error\":\"x\",\"allowReconnect\":true}\x1e",
        "{\"type\":8,\"sequenceId\":3}\x1e{\"type\":9,\"sequenceId\":3}\x1e",
    ] {
        check_all(Envelope::SignalR, Side::Client, text, Ok(&[]));
        check_all(Envelope::SignalR, Side::Server, text, Ok(&[]));
    }
    for (from, text) in [
        (Side::Client, "{\"protocol\":\"json\",\"version\":1}\x1e"),
        (Side::Client, "{\"type\":5,\"invocationId\":\"7\"}\x1e"),
        (Side::Server, "{}\x1e"),
        (Side::Server, "{\"error\":\"unknown protocol\"}\x1e"),
    ] {
        check_all(Envelope::SignalR, from, text, Ok(&[]));
        let other = if from == Side::Client { Side::Server } else { Side::Client };
        check_all(Envelope::SignalR, other, text, Err(Violation::SchemaRefused));
    }
}

#[test]
fn what_is_no_record_of_signalr_is_refused() {
    for text in [
        "",
        "{\"type\":6}",
        "{\"type\":6}\x1e{\"type\":6}",
        "[]\x1e",
        "1\x1e",
        "{\"type\":\"1\",\"target\":\"Send\",\"arguments\":[]}\x1e",
        "{\"type\":1.0,\"target\":\"Send\",\"arguments\":[]}\x1e",
        "{\"type\":0}\x1e",
        "{\"type\":10}\x1e",
        "{\"type\":null}\x1e",
        "{\"type\":1,\"target\":\"\",\"arguments\":[]}\x1e",
        "{\"type\":1,\"target\":\"Send\"}\x1e",
        "{\"type\":1,\"target\":[\"Send\"],\"arguments\":[]}\x1e",
        "{\"type\":1,\"target\":\"Send\",\"arguments\":{}}\x1e",
        "{\"type\":1,\"target\":\"Send\",\"Target\":\"Admin\",\"arguments\":[]}\x1e",
        "{\"type\":6,\"Type\":1,\"target\":\"Send\",\"arguments\":[]}\x1e",
        "{\"type\":2,\"item\":1}\x1e",
        "{\"type\":2,\"invocationId\":\"7\"}\x1e",
        "{\"type\":3,\"invocationId\":\"7\",\"result\":1,\"error\":\"x\"}\x1e",
        "{\"type\":8}\x1e",
        "{\"protocol\":\"messagepack\",\"version\":1}\x1e",
        "{\"protocol\":\"json\"}\x1e",
    ] {
        check_all(Envelope::SignalR, Side::Client, text, Err(Violation::SchemaRefused));
    }
    for text in ["\x1e", "{\"type\":6}\x1e\x1e", "{\x1e", "{\"type\":6}{\"type\":6}\x1e"] {
        check_all(Envelope::SignalR, Side::Client, text, Err(Violation::InvalidJson));
    }
}

#[test]
fn strings_of_sockjs_are_messages() {
    let list = r#"["{\"a\":1}","[\"b\"]"]"#;
    check_all(Envelope::SockJs, Side::Client, list, Ok(&["a", "b"]));
    check_all(Envelope::SockJs, Side::Server, &format!("a{list}"), Ok(&["a", "b"]));
    check_all(Envelope::SockJs, Side::Client, "[]", Ok(&[]));
    for text in ["o", "h", "a[]", r#"c[3000,"Go away!"]"#] {
        check_all(Envelope::SockJs, Side::Server, text, Ok(&[]));
    }
}

#[test]
fn what_is_no_frame_of_sockjs_is_refused() {
    for text in ["{}", "1", r#""a""#, r#" ["a"]"#, "\n[\"a\"]", "\u{feff}[\"a\"]", "[1]", r#"[["a"]]"#, r#"["1",{}]"#] {
        check_all(Envelope::SockJs, Side::Client, text, Err(Violation::SchemaRefused));
    }
    for text in [
        "",
        "[]",
        "o[]",
        "hh",
        "m\"1\"",
        "é",
        "a{}",
        "a[1]",
        "c{}",
        "c[]",
        "c[3000]",
        r#"c["3000","x"]"#,
        r#"c[3000,"x",1]"#,
    ] {
        check_all(Envelope::SockJs, Side::Server, text, Err(Violation::SchemaRefused));
    }
    for text in ["o", "h", "[", r#"["hello"]"#, r#"["{}"]x"#, r#"[""]"#] {
        check_all(Envelope::SockJs, Side::Client, text, Err(Violation::InvalidJson));
    }
}

#[test]
fn frames_of_stomp_with_a_destination_are_messages() {
    let made =
        |text: &str, from| Envelope::Stomp.open(text, from).map(|packet| packet.json.unwrap_or_default().into_owned());
    for (from, text, json) in [
        (
            Side::Client,
            "SEND\ndestination:/a\ncontent-length:7\n\n{\"a\":1}",
            r#"{"command":"SEND","headers":{"destination":"/a","content-length":"7"},"body":{"a":1}}"#,
        ),
        (
            Side::Client,
            "\r\n\nSEND\r\ndestination:/a\r\n\r\n[1]",
            r#"{"command":"SEND","headers":{"destination":"/a"},"body":[1]}"#,
        ),
        (Side::Client, "SEND\ndestination:\n\n", r#"{"command":"SEND","headers":{"destination":""}}"#),
        (
            Side::Client,
            "SUBSCRIBE\nid:0\ndestination:a\\cb\\\\\\n\\r\"\n\n",
            r#"{"command":"SUBSCRIBE","headers":{"id":"0","destination":"a:b\\\n\r\""}}"#,
        ),
        (
            Side::Server,
            "MESSAGE\ndestination:/a:b\n\n1",
            r#"{"command":"MESSAGE","headers":{"destination":"/a:b"},"body":1}"#,
        ),
        (Side::Client, "CONNECT\npasscode:a\\cb\n\n", r#"{"command":"CONNECT","headers":{"passcode":"a\\cb"}}"#),
    ] {
        assert_eq!(made(text, from), Ok(json.to_owned()), "{text:?}");
    }
    check_all(
        Envelope::Stomp,
        Side::Client,
        "SEND\ndestination:/a\n\n1\0\nSEND\ndestination:/a\n\n2\0\n",
        Ok(&["command", "command"]),
    );
}

#[test]
fn what_stomp_says_itself_is_no_message() {
    for text in [
        "\n",
        "\r\n",
        "CONNECT\naccept-version:1.2\nhost:a\n\n\0",
        "STOMP\n\n\0",
        "ACK\nid:1\n\n\0",
        "DISCONNECT\n\n\0\n",
    ] {
        check_all(Envelope::Stomp, Side::Client, text, Ok(&[]));
    }
    for text in
        ["\n", "CONNECTED\nversion:1.2\n\n\0", "RECEIPT\nreceipt-id:1\n\n\0", "ERROR\nmessage:no\n\nwhat it means\0"]
    {
        check_all(Envelope::Stomp, Side::Server, text, Ok(&[]));
    }
}

#[test]
fn what_is_no_frame_of_stomp_is_refused() {
    for text in [
        "",
        "x",
        "\0",
        "SEND\0",
        "SEND\n\0",
        "SEND\n\n1\0",
        "SEND\nDestination:/a\n\n1\0",
        "send\ndestination:/a\n\n1\0",
        "SEND \ndestination:/a\n\n1\0",
        "SEND\ndestination\n\n1\0",
        "SEND\n:/a\ndestination:/a\n\n1\0",
        "SEND\ndestination:/a\ndestination:/b\n\n1\0",
        "SEND\ndestination:\\t\n\n1\0",
        "SEND\ndestination:\\\n\n1\0",
        "SEND\ndestination:/a\rx:y\n\n1\0",
        "SEND\ndestination: /a\n\n1\0",
        "SEND\ndestination:/a\nx :y\n\n1\0",
        "SEND\ndestination:/a\nx:\u{1}y\n\n1\0",
        "SUBSCRIBE\nid:1\ndestination:/a\\r\n\n\0",
        "SEND\ndestination:/a\ncontent-length:2\n\n1\0",
        "SEND\ndestination:/a\ncontent-length:3\n\n1\x002\0",
        "SEND\ndestination:/a\ncontent-length:-1\n\n1\0",
        "SEND\ndestination:/a\nContent-Length:5\n\n1\0",
        "SEND\ndestination:/a\n\n1\0SEND",
        "SEND\ndestination:/a\n\n1",
        "SUBSCRIBE\ndestination:/a\n\nbody\0",
        "SUBSCRIBE\nid:1\n\n\0",
        "MESSAGE\ndestination:/a\n\n1\0",
        "CONNECTED\n\n\0",
    ] {
        check_all(Envelope::Stomp, Side::Client, text, Err(Violation::SchemaRefused));
    }
    check_all(Envelope::Stomp, Side::Server, "SEND\ndestination:/a\n\n1\0", Err(Violation::SchemaRefused));
    for body in ["hello", "1,\"command\":\"ACK\"", "1}", "{", " "] {
        let text = format!("SEND\ndestination:/a\n\n{body}\0");
        check_all(Envelope::Stomp, Side::Client, &text, Err(Violation::InvalidJson));
    }
    let many: String = (0..101).map(|index| format!("h{index}:\n")).collect();
    check_all(Envelope::Stomp, Side::Client, &format!("CONNECT\n{many}\n\0"), Err(Violation::SchemaRefused));
}

/// Numbers that look random and are the same in each run (Knuth's MMIX generator).
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(seed), next).map(|state| (state >> 33) as usize)
}

#[test]
fn what_is_made_of_a_frame_of_stomp_has_three_members_whatever_is_in_it() {
    let parts = [
        "SEND",
        "SUBSCRIBE",
        "CONNECT",
        "\n",
        "\n",
        "\r\n",
        "destination:/a",
        "destination:",
        "x:\"",
        "y:\\\\",
        "\\n",
        "\\c",
        ":",
        "\n\n",
        "\n\n1",
        "{\"a\":1}",
        "}",
        ",\"headers\":{}",
        "\0",
        "\"",
        "\\",
        "\u{1}",
        "é",
        "content-length:1",
    ];
    let (mut numbers, mut made) = (numbers(1), 0);
    for _ in 0..200_000 {
        let len = numbers.next().unwrap_or_default() % 8;
        let text: String = numbers.by_ref().take(len).map(|number| parts[number % parts.len()]).collect();
        let text = format!("SEND\ndestination:/a\n{text}");
        let Ok(Packet { json: Some(json), head, .. }) = Envelope::Stomp.open(&text, Side::Client) else { continue };
        let value: serde_json::Value =
            serde_json::from_str(&json).unwrap_or_else(|error| panic!("{text:?}: {json}: {error}"));
        let names: Vec<&String> = value.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
        let has_body = text.replace("\r\n", "\n").split_once("\n\n").is_some_and(|(_, body)| !body.is_empty());
        assert_eq!(
            names,
            if has_body { &["body", "command", "headers"][..] } else { &["command", "headers"] },
            "{text:?}"
        );
        assert_eq!((value["command"].as_str(), value["headers"]["destination"].as_str()), (Some(head), Some("/a")));
        made += 1;
    }
    assert!(made > 1_000, "{made}");
}

#[test]
fn records_are_the_text_without_what_parts_them() {
    let parts = [
        "{}",
        "1",
        "\n",
        "\r\n",
        "\x1e",
        "[",
        "]",
        "\"a\"",
        ",",
        "\0",
        "o",
        "a",
        "c[1,\"\"]",
        "SEND\n",
        "\\u0000",
        "é",
    ];
    let mut numbers = numbers(2);
    for round in 0..100_000 {
        let len = numbers.next().unwrap_or_default() % 9;
        let text: String = numbers.by_ref().take(len).map(|number| parts[number % parts.len()]).collect();
        for (envelope, end) in [(Envelope::JsonLines, "\n"), (Envelope::SignalR, "\x1e"), (Envelope::Stomp, "\0")] {
            let from = if round % 2 == 0 { Side::Client } else { Side::Server };
            let Ok(Some(records)) = envelope.records(&text, from, &BOUNDS) else { continue };
            let joined: String = records.iter().flat_map(|record| [record.as_ref(), end]).collect();
            let rest = text.trim_start_matches(joined.trim_end_matches(end)).trim_matches(['\r', '\n', '\x1e', '\0']);
            assert!(rest.is_empty() && records.iter().all(|record| !record.contains(end)), "{envelope:?} {text:?}");
        }
        let _ = Envelope::SockJs.records(&text, Side::Client, &BOUNDS);
        let _ = Envelope::SockJs.records(&text, Side::Server, &BOUNDS);
    }
}
