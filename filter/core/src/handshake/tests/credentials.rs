//! Credentials: where they are looked for, which count, and that none goes on.

use super::*;

#[test]
fn each_source_gives_a_credential_that_then_is_gone() {
    let token = token(&json!({}));
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &token);
    let bare = without("authorization");
    let protocols = "sec-websocket-protocol";
    let rows: [(&str, String, &[&str]); 10] = [
        ("authorization", format!("bearer  {token} "), &[]),
        ("cookie", format!("a=1; session={token}; b=2"), &["a=1; b=2"]),
        ("cookie", format!("session=\"{token}\""), &[]),
        (":path", format!("/chat?a=1&token={token}&b"), &["/chat?a=1&b"]),
        (":path", format!("/chat?%74oken={}", token.replace('.', "%2E")), &["/chat"]),
        (protocols, format!("bearer, {token}, chat.v1"), &["chat.v1"]),
        (protocols, format!("chat.v2,chat.v1,bearer,{token}"), &["chat.v2, chat.v1"]),
        (protocols, format!("chat.v1, bearer.{encoded}"), &["chat.v1"]),
        (protocols, format!("bearer.{token}, chat.v9, chat.v1"), &["chat.v1"]),
        (protocols, format!("bearer, chat.v1, {token}"), &["chat.v1"]),
    ];
    for (name, value, left) in rows {
        let fields = and(bare.iter().filter(|(n, _)| n != name).cloned().collect(), name, &value);
        let opening = open(&policies(json!({})), fields.clone());
        assert_eq!(refusal(&opening), None, "{name}: {value}");
        assert_eq!(edited(&opening, &fields, name), left, "{name}: {value}");
        assert_eq!(edited(&opening, &fields, "x-user"), ["alice"]);
    }
}

#[test]
fn missing_ambiguous_and_bad_credentials_are_refused() {
    let (token, other) = (token(&json!({})), token(&json!({"sub": "bob"})));
    check_refusal(without("authorization"), Some(CredentialMissing));
    check_refusal(with("authorization", "Basic dXNlcjpwYXNz"), Some(CredentialMissing));
    check_refusal(with("authorization", "Bearer"), Some(CredentialMissing));
    check_refusal(and(without("authorization"), "cookie", "session="), Some(CredentialMissing));
    check_refusal(with("authorization", &format!("Bearer {FORGED}")), Some(CredentialInvalid));
    check_refusal(with("authorization", &format!("BEARER\t{FORGED}")), Some(CredentialInvalid));
    check_refusal(with("authorization", &format!("Bearer {token}x")), Some(CredentialInvalid));
    check_refusal(and(without("authorization"), "sec-websocket-protocol", "chat.v1, bearer"), Some(CredentialMissing));

    check_refusal(and(good(), "cookie", &format!("session={token}")), None);
    check_refusal(and(good(), "cookie", &format!("session={other}")), Some(CredentialAmbiguous));
    check_refusal(and(good(), "authorization", &format!("Bearer {other}")), Some(CredentialAmbiguous));
    check_refusal(with("authorization", &format!("Bearer {token},Bearer {other}")), Some(CredentialAmbiguous));
    check_refusal(and(good(), "cookie", &format!("session={token}; session={other}")), Some(CredentialAmbiguous));
    check_refusal(with(":path", &format!("/chat?token={other}")), Some(CredentialAmbiguous));
}

#[test]
fn a_credential_is_optional_only_where_written_and_checked_all_the_same() {
    let optional = policies(json!({"auth": {"required": false}}));
    assert_eq!(refusal(&open(&optional, without("authorization"))), None);
    assert_eq!(refusal(&open(&optional, with("authorization", &format!("Bearer {FORGED}")))), Some(CredentialInvalid));
}

#[test]
fn a_refused_request_keeps_no_credential_for_logs() {
    let token = token(&json!({"aud": "other"}));
    let fields = and(
        and(with(":path", &format!("/chat?token={token}")), "cookie", &format!("session={token}")),
        "sec-websocket-protocol",
        &format!("bearer, {token}, chat.v1"),
    );
    let fields: Fields = fields.into_iter().filter(|(name, _)| name != "authorization").collect();
    let opening = open(&policies(json!({})), fields.clone());
    assert_eq!(refusal(&opening), Some(CredentialInvalid));
    for (name, _) in &fields {
        assert!(edited(&opening, &fields, name).iter().all(|line| !line.contains(&token)), "{name}");
    }
}

#[test]
fn a_forwarded_credential_stays() {
    let forwarding = policies(json!({"auth": {"forward": true}}));
    let protocols = format!("bearer, {}, chat.v1", token(&json!({})));
    let fields = and(good(), "sec-websocket-protocol", &protocols);
    let opening = open(&forwarding, fields.clone());
    assert_eq!(refusal(&opening), None);
    assert_eq!(edited(&opening, &fields, "authorization").len(), 1);
    assert_eq!(edited(&opening, &fields, "sec-websocket-protocol"), [protocols]);
}

#[test]
fn claims_are_told_and_cannot_be_spoofed() {
    let bearer = |claims: serde_json::Value| format!("Bearer {}", token(&claims));
    let fields = and(with("authorization", &bearer(json!({"roles": ["a", "b"]}))), "x-roles", "admin");
    let opening = open(&policies(json!({})), fields.clone());
    assert_eq!(edited(&opening, &fields, "x-roles"), ["a,b"]);
    for name in ["x_user", "x-user", "x-roles"] {
        let fields = and(good(), name, "eve");
        let opening = open(&policies(json!({})), fields.clone());
        assert!(!edited(&opening, &fields, name).contains(&"eve".to_owned()));
    }
    for roles in [
        json!(["a,b"]),
        json!(" admin"),
        json!("admin\u{a0}"),
        json!(["a", " b"]),
        json!({}),
        json!("a\r\nx: y"),
        json!([["a"]]),
        json!([null]),
    ] {
        check_refusal(with("authorization", &bearer(json!({"roles": roles}))), Some(ClaimRefused));
    }
    // Null is absent, and the client's own header goes all the same.
    let fields = and(with("authorization", &bearer(json!({"roles": null, "sub": null}))), "x-roles", "admin");
    let opening = open(&policies(json!({})), and(fields.clone(), "x-user", "root"));
    assert_eq!(refusal(&opening), None);
    assert_eq!((edited(&opening, &fields, "x-roles"), edited(&opening, &fields, "x-user")), (vec![], vec![]));
}

#[test]
fn claims_are_told_in_the_form_that_is_asked_for() {
    let told = |format: &str, claim: serde_json::Value| {
        let headers = json!({"/app/my.claim": {"header": "x-claim", "format": format}});
        let token = token(&json!({"app": {"my.claim": claim}}));
        let fields = and(with("authorization", &format!("Bearer {token}")), "X_Claim", "spoofed");
        let opening = open(&policies(json!({"auth": {"claim_headers": headers}})), fields.clone());
        if refusal(&opening) == Some(ClaimRefused) {
            return None;
        }
        assert!(opening.edits.contains(&Edit::remove("x_claim")), "{:?}", opening.edits);
        edited(&opening, &fields, "x-claim").pop()
    };
    for (claim, text, json, base64) in [
        (json!("alice"), Some("alice"), r#""alice""#, "YWxpY2U="),
        (json!(""), Some(""), r#""""#, ""),
        (json!(42), Some("42"), "42", "NDI="),
        (json!(true), Some("true"), "true", "dHJ1ZQ=="),
        (json!(["a", "b"]), Some("a,b"), r#"["a","b"]"#, "WyJhIiwiYiJd"),
        (json!(["a,b"]), None, r#"["a,b"]"#, "WyJhLGIiXQ=="),
        (json!({"a": [1]}), None, r#"{"a":[1]}"#, "eyJhIjpbMV19"),
        (json!("a\r\nx: y"), None, r#""a\r\nx: y""#, "YQ0KeDogeQ=="),
        (json!("a\u{7f}\u{85}"), None, r#""a\u007f\u0085""#, "YX/ChQ=="),
        (json!("zoë 😀"), Some("zoë 😀"), r#""zo\u00eb \ud83d\ude00""#, "em/DqyDwn5iA"),
    ] {
        assert_eq!(told("text", claim.clone()).as_deref(), text, "{claim}");
        assert_eq!(told("json", claim.clone()).as_deref(), Some(json), "{claim}");
        assert_eq!(told("base64", claim.clone()).as_deref(), Some(base64), "{claim}");
    }
    for format in ["text", "json", "base64"] {
        assert_eq!(told(format, json!(null)), None);
    }
}

#[test]
fn whatever_stands_around_the_name_of_the_scheme_no_credential_is_left() {
    for other in ["", " ", "\t", "\u{b}", "\u{c}", ";", "="] {
        for value in
            [format!("Bearer{other}{FORGED}"), format!("{other}Bearer {FORGED}"), format!("Token{other} {FORGED}")]
        {
            let fields = with("authorization", &value);
            let opening = open(&policies(json!({})), fields.clone());
            assert!(refusal(&opening).is_some());
            assert_eq!(edited(&opening, &fields, "authorization"), [""; 0], "{value:?}");
        }
    }
}

#[test]
fn a_refused_request_keeps_no_credential_in_a_malformed_list() {
    let fields = and(without("authorization"), "sec-websocket-protocol", &format!("bearer, {FORGED}, not a token"));
    let opening = open(&policies(json!({})), fields.clone());
    assert_eq!(refusal(&opening), Some(BadUpgrade));
    assert_eq!(edited(&opening, &fields, "sec-websocket-protocol"), Vec::<String>::new());
}

#[test]
fn tokens_of_other_makes_are_left_alone() {
    let allowed = json!({"subprotocols": {"allow": []}});
    let optional = policies(json!({"auth": {"required": false}, "subprotocols": {"allow": []}}));
    for opaque in OPAQUE {
        for (name, value, left) in [
            ("authorization", format!("Bearer {opaque}"), None),
            ("cookie", format!("a=1;  session={opaque}; b"), None),
            ("cookie", format!("session=\"{opaque}\""), None),
            (":path", format!("/socket?token={opaque}&vsn=2.0.0"), None),
            ("sec-websocket-protocol", format!("chat.v1, bearer, {opaque}"), Some(format!("chat.v1, {opaque}"))),
            ("sec-websocket-protocol", format!("chat.v1, bearer.{opaque}"), None),
        ] {
            let left = left.unwrap_or_else(|| value.clone());
            let alone: Fields = without("authorization").into_iter().filter(|(n, _)| n != name).collect();
            let alone = and(alone, name, &value);
            // By itself it is no credential; where none is asked for, it goes on.
            let refused = open(&policies(json!({})), alone.clone());
            assert_eq!(refusal(&refused), Some(CredentialMissing));
            // What is refused goes nowhere, and is logged without it.
            assert!(!edited(&refused, &alone, name).concat().contains(opaque), "{name}: {value}");
            let opening = open(&optional, alone.clone());
            assert_eq!(refusal(&opening), None, "{name}: {value}");
            assert_eq!(edited(&opening, &alone, name), core::slice::from_ref(&left));
            // Beside a good one it makes nothing ambiguous.
            let good = token(&json!({}));
            let beside = if name == "authorization" {
                and(alone, "cookie", &format!("session={good}"))
            } else {
                and(alone, "authorization", &format!("Bearer {good}"))
            };
            let opening = open(&policies(allowed.clone()), beside.clone());
            assert_eq!(
                (refusal(&opening), opening.credential.as_ref().and_then(|c| c.subject())),
                (None, Some("alice")),
                "{value}"
            );
            assert_eq!(edited(&opening, &beside, name), [left]);
        }
    }
}

#[test]
fn a_second_token_is_smuggled_past_in_no_spelling() {
    let second = token(&json!({"sub": "bob"}));
    let percent = |text: &str| text.replace('.', "%2e");
    let padded = format!("{}==", second);
    let (head, rest) = second.split_once('.').unwrap();
    let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    let encoded = encode(&second);
    for (name, value) in [
        ("authorization", format!("JWT {second}")),
        ("authorization", second.clone()),
        ("authorization", format!("Bearer \"{second}\"")),
        ("authorization", format!("Bearer a, {second}")),
        ("authorization", format!("Bearer {head},.{rest}")),
        ("authorization", format!("Basic x, Bearer {padded}")),
        ("authorization", format!("Bearer {}", percent(&second))),
        ("x-token", second.clone()),
        ("x-token", format!("Bearer {second}")),
        ("x_token", second.clone()),
        ("x-token", format!(" {padded} ")),
        ("cookie", format!("session={padded}")),
        ("cookie", format!("session=\"{}\"", second.replace('.', "\\056"))),
        ("cookie", format!("session={}", percent(&second))),
        ("cookie", format!("session={}", percent(&percent(&second).replace('%', "%25")))),
        ("cookie", format!("session=opaque; session={second}")),
        ("cookie", format!("a=1, session={second}")),
        ("cookie", format!("a=1 session={second}")),
        ("cookie", format!("session= {second}\t")),
        (":path", format!("/?token={}", percent(&percent(&second)))),
        (":path", format!("/?token={}", second.replace('.', "%252e"))),
        (":path", format!("/?token=+{second}+")),
        (":path", format!("/?token=%20{padded}%00")),
        (":path", format!("/?token=opaque&t%6fken={second}")),
        (":path", format!("/?a=1;token={second}")),
        ("sec-websocket-protocol", format!("bearer, chat.v1, {second}")),
        ("sec-websocket-protocol", format!("chat.v1, bearer.{encoded}")),
        ("sec-websocket-protocol", format!("chat.v1, bearer.{}", encode(&padded))),
        ("sec-websocket-protocol", format!("chat.v1, bearer.{encoded}A")),
        ("sec-websocket-protocol", format!("chat.v1, {encoded}")),
        ("sec-websocket-protocol", format!("chat.v1, bearer, {}", percent(&second))),
        ("authorization", format!("Bearer {encoded}")),
        ("authorization", format!("Basic {}", encode(&format!("x:{second}")))),
        ("x-token", encode(&encoded)),
        ("cookie", format!("session={encoded}")),
        (":path", format!("/?token={encoded}")),
        (":path", format!("/?token={}", second.replace('.', "%u002e"))),
        (":path", format!("/?token={}", second.replace('.', "%26%2346;"))),
        (":path", format!("/?token={}", second.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())),
        ("sec-websocket-protocol", format!("chat.v1, bearer.{}", encode(&encoded))),
        ("sec-websocket-protocol", format!("chat.v1, bearer, {}", encode(&encoded))),
    ] {
        let policy = json!({"auth": {"sources": [
            {"header": "authorization"}, {"header": "x-token"}, {"cookie": "session"}, {"subprotocol": "bearer"}, {"query": "token"},
            {"cookie": "own"},
        ]}});
        let mut optional = policy.clone();
        optional["auth"]["required"] = false.into();
        let alone: Fields = without("authorization").into_iter().filter(|(n, _)| n != name).collect();
        let alone = and(alone, name, &value);
        let own = format!("own={}", token(&json!({})));
        for (policy, fields, expected) in [
            (&policy, and(alone.clone(), "cookie", &own), CredentialAmbiguous),
            (&policy, alone.clone(), CredentialInvalid),
            // Nobody passes as a nobody with a token that somebody else reads.
            (&optional, alone.clone(), CredentialInvalid),
        ] {
            let opening = open(&policies(policy.clone()), fields.clone());
            // Some of them are good spellings, and then it is bob who asks.
            let subject = opening.credential.as_ref().and_then(|credential| credential.subject());
            let is_bob = expected == CredentialInvalid && refusal(&opening).is_none() && subject == Some("bob");
            assert!(is_bob || refusal(&opening) == Some(expected), "{name}: {value}: {:?}", refusal(&opening));
            let left = edited(&opening, &fields, name).concat();
            for secret in [rest, &encoded, &percent(rest)] {
                assert!(!left.contains(secret), "{name}: {value}: {left}");
            }
        }
    }
}

#[test]
fn another_scheme_is_named_by_its_prefix() {
    let source = |sources: serde_json::Value| policies(json!({"auth": {"sources": sources}}));
    let jwt = source(json!([{"header": "authorization", "prefix": "JWT"}]));
    let both = source(json!([{"header": "authorization"}, {"header": "authorization", "prefix": "JWT"}]));
    let other = source(json!([{"header": "x-token", "prefix": "Token"}]));
    let good = token(&json!({}));
    for (policies, name, value, expected) in [
        (&jwt, "authorization", format!("JWT {good}"), None),
        (&jwt, "authorization", format!("jwt {good}"), None),
        (&jwt, "authorization", format!("Bearer {good}"), Some(CredentialInvalid)),
        (&jwt, "authorization", good.clone(), Some(CredentialInvalid)),
        (&jwt, "authorization", "JWT opaque".to_owned(), Some(CredentialMissing)),
        (&both, "authorization", format!("JWT {good}"), None),
        (&both, "authorization", format!("Bearer {good}"), None),
        (&both, "authorization", format!("Bearer {good}, JWT {good}"), None),
        (&both, "authorization", format!("Token {good}"), Some(CredentialInvalid)),
        (&other, "x-token", format!("Token {good}"), None),
        (&other, "x-token", good.clone(), None),
        (&other, "x-token", format!("Bearer {good}"), Some(CredentialInvalid)),
    ] {
        let fields = and(without("authorization"), name, &value);
        let opening = open(policies, fields.clone());
        assert_eq!(refusal(&opening), expected, "{name}: {value}");
        assert_eq!(edited(&opening, &fields, name), [""; 0], "{name}: {value}");
    }
}
