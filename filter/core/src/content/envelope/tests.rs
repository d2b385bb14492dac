use super::*;
use crate::json::reader::{Bounds, read};

const BOUNDS: Bounds = Bounds { depth_max: 9, keys_max: 99, string_len_max: 999, unique_keys: true, surrogates: false };

/// The message inside, as serde_json would write its first string or name; empty for none.
fn open(envelope: Envelope, from: Side, text: &str) -> Result<Option<String>, Violation> {
    let packet = envelope.open(text, from)?;
    let Some(json) = packet.json else { return Ok(None) };
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
