use super::*;
use crate::config;
use crate::content::{Handshake, Judged};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::testing::docket;

/// What a client's text brings under an envelope and these rules of `auth`.
fn search(
    envelope: &str,
    auth: &str,
    text: &str,
    is_first: bool,
) -> (Result<Judged<'static>, Violation>, Option<String>) {
    let provider =
        r#"{"name":"own","algorithms":["HS256"],"jwks":{"secret":{"inline":"an HMAC secret of more than 32 bytes"}}}"#;
    let authorize = r#"[{"when":{"/user":"*"},"missing":"allow","equals":{"/user":"sub"}}]"#;
    let config = format!(
        r#"{{"auth":{{"providers":[{provider}],{auth}}},
            "messages":{{"from_client":{{"json":{{}},"envelope":"{envelope}","authorize":{authorize}}}}}}}"#
    );
    let parsed = config::parse(config.as_bytes(), &|_| None).unwrap_or_else(|error| panic!("{error}"));
    let policy: &Policy = parsed.policies.base();
    let messages = policy.credentials.as_ref().unwrap();
    let wanted = match is_first {
        true => Wanted::First { rules: messages.first.as_ref().unwrap(), is_required: true },
        false => Wanted::Renewal(messages.renewal.as_ref().unwrap()),
    };
    let search = Search::new(wanted, true);
    let judged = policy.messages.client.content.judge(text, &docket(), &Handshake::default(), 0, Some(&search));
    let judged = judged.map(|_| Judged::default()).map_err(|Refusal { violation, .. }| violation);
    let token = match search.into_brought() {
        Brought::Token(token) => Some(String::from_utf8(token.expose().clone()).unwrap()),
        Brought::NoCredential | Brought::Nothing => None,
    };
    (judged, token)
}

#[track_caller]
fn check(envelope: &str, auth: &str, text: &str, is_first: bool, expected: Result<Option<&str>, Violation>) {
    let (judged, token) = search(envelope, auth, text, is_first);
    let found = judged.map(|_| token.as_deref());
    assert_eq!(found, expected, "{text}");
}

#[test]
fn a_first_message_brings_a_credential_where_its_envelope_has_one() {
    const MISSING: Result<Option<&str>, Violation> = Err(Violation::CredentialMissing);
    for (envelope, pointer, text, expected) in [
        ("json", "/token", r#"{"token":"t"}"#, Ok(Some("t"))),
        ("json", "/a/0", r#"{"a":["t"]}"#, Ok(Some("t"))),
        ("json", "", r#""t""#, Ok(Some("t"))),
        ("json", "/token", r#"{"token":"\u0074"}"#, Ok(Some("t"))),
        ("json", "/token", r#"{"token":1}"#, MISSING),
        ("json", "/token", r#"{"TOKEN":"t"}"#, Err(Violation::JsonRefused)),
        // What goes nowhere nobody has to be allowed to send.
        ("json", "/token", r#"{"token":"t","user":"bob"}"#, Ok(Some("t"))),
        (
            "graphql-transport-ws",
            "/payload/token",
            r#"{"type":"connection_init","payload":{"token":"t"}}"#,
            Ok(Some("t")),
        ),
        ("graphql-transport-ws", "/payload/token", r#"{"type":"connection_init"}"#, MISSING),
        ("graphql-transport-ws", "/payload/token", r#"{"type":"ping","payload":{"token":"t"}}"#, MISSING),
        (
            "graphql-transport-ws",
            "/payload/token",
            r#"{"type":"other","payload":{"token":"t"}}"#,
            Err(Violation::SchemaRefused),
        ),
        (
            "graphql-transport-ws",
            "/payload/token",
            r#"{"type":"subscribe","id":"1","payload":{"query":"q","token":"t"}}"#,
            MISSING,
        ),
        ("socket.io", "/token", r#"40{"token":"t"}"#, Ok(Some("t"))),
        ("socket.io", "/token", r#"40/admin,{"token":"t"}"#, Ok(Some("t"))),
        ("socket.io", "/token", "40", MISSING),
        ("socket.io", "/token", "40/admin,", MISSING),
        ("socket.io", "/token", "41", MISSING),
        ("socket.io", "/token", r#"42["token","t"]"#, MISSING),
        ("socket.io", "/1", r#"42["auth","t"]"#, MISSING),
        ("socket.io", "/token", "1", MISSING),
        ("socket.io", "/token", "5", MISSING),
        ("socket.io", "/token", "2probe", MISSING),
        ("socket.io", "/token", r#"0{"token":"t"}"#, Err(Violation::SchemaRefused)),
        // It is there before the first message.
        ("socket.io", "/token", "2", Ok(None)),
        ("socket.io", "/token", "3", Ok(None)),
    ] {
        check(envelope, &format!(r#""sources":[{{"message":"{pointer}"}}]"#), text, true, expected);
    }
}

#[test]
fn a_message_renews_where_all_conditions_match() {
    let of_json = r#""renew":{"when":{"/type":"auth","/v":"1"},"token":"/token"}"#;
    let of_event = r#""renew":{"when":{"/0":"auth"},"token":"/1/token"}"#;
    let of_graphql = r#""renew":{"when":{"/type":"ping","/payload/token":"*"},"token":"/payload/token"}"#;
    for (envelope, auth, text, expected) in [
        ("json", of_json, r#"{"type":"auth","v":1,"token":"t"}"#, Ok(Some("t"))),
        ("json", of_json, r#"{"type":"auth","v":"1","token":"t"}"#, Ok(Some("t"))),
        ("json", of_json, r#"{"type":"auth","v":2,"token":"t"}"#, Ok(None)),
        ("json", of_json, r#"{"type":"chat","v":1,"token":"t"}"#, Ok(None)),
        ("json", of_json, r#"{"type":"auth","token":"t"}"#, Ok(None)),
        ("json", of_json, r#"{"type":"auth","v":1}"#, Err(Violation::CredentialMissing)),
        ("json", of_json, r#"{"type":"auth","v":1,"token":["t"]}"#, Err(Violation::CredentialMissing)),
        ("json", of_json, r#"{"Type":"auth","v":1,"token":"t"}"#, Err(Violation::JsonRefused)),
        ("json", of_json, r#"{"type":"chat","Type":"auth","v":1,"token":"t"}"#, Err(Violation::JsonRefused)),
        ("json", of_json, r#"{"type":["auth"],"v":1,"token":"t"}"#, Ok(Some("t"))),
        ("json", of_json, "[]", Ok(None)),
        ("socket.io", of_event, r#"42["auth",{"token":"t"}]"#, Ok(Some("t"))),
        ("socket.io", of_event, r#"42/admin,7["auth",{"token":"t"}]"#, Ok(Some("t"))),
        ("socket.io", of_event, r#"42["chat",{"token":"t"}]"#, Ok(None)),
        ("socket.io", of_event, r#"43["auth",{"token":"t"}]"#, Err(Violation::SchemaRefused)),
        ("socket.io", of_event, r#"437["auth",{"token":"t"}]"#, Ok(None)),
        (
            "socket.io",
            of_event,
            r#"451-["auth",{"token":"t"},{"_placeholder":true,"num":0}]"#,
            Err(Violation::SchemaRefused),
        ),
        ("graphql-transport-ws", of_graphql, r#"{"type":"ping","payload":{"token":"t"}}"#, Ok(Some("t"))),
        ("graphql-transport-ws", of_graphql, r#"{"type":"ping","payload":{"at":"t"}}"#, Ok(None)),
        ("graphql-transport-ws", of_graphql, r#"{"type":"ping"}"#, Ok(None)),
    ] {
        check(envelope, auth, text, false, expected);
    }
}

#[test]
fn one_credential_is_found_and_not_shown() {
    let rules = FirstMessage { token: Pointer::parse("").unwrap(), timeout: Duration::ZERO, forward: false };
    let search = Search::new(Wanted::First { rules: &rules, is_required: true }, true);
    let content = crate::content::ContentRules {
        json: Some(crate::content::JsonRules {
            bounds: crate::json::reader::Bounds {
                depth_max: 9,
                keys_max: 9,
                string_len_max: 99,
                unique_keys: true,
                surrogates: false,
            },
            schemas: crate::content::Schemas::Any,
        }),
        ..Default::default()
    };
    for text in ["\"hunter2\"", "\"other\""] {
        content.judge(text, &docket(), &Handshake::default(), 0, Some(&search)).unwrap();
    }
    assert!(search.has_token() && search.is_swallowed());
    assert!(!format!("{search:?}").contains("hunter2"));
    search.forget();
    assert!(!search.has_token());
}
