//! What is asked, byte for byte, and answers as tables: good ones, wrong ones, and lies.

use super::*;
use crate::ask::HttpResponse;

fn lookup(form: Form) -> Lookup {
    let (timeout, cache) = (Duration::from_secs(1), Duration::from_secs(30));
    Lookup { cluster: "app".into(), path: "/session?a=b".into(), form, timeout, cache }
}

fn cookie() -> Lookup {
    lookup(Form::Cookie("sid".into()))
}

fn introspection() -> Lookup {
    lookup(Form::introspection("gw", &Secret::new(b"gw-secret".to_vec())))
}

fn field<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.fields.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
}

fn answer(status: u16, body: &[u8]) -> Answer {
    Answer::Http(HttpResponse { status, body: body.to_vec(), ..HttpResponse::default() })
}

#[test]
fn a_cookie_is_asked_about_with_nothing_else_of_the_request() {
    let request = cookie().request(b"s3cr3t");
    let expected = [
        (":method", "GET"),
        (":authority", "app"),
        (":path", "/session?a=b"),
        ("accept", "application/json"),
        ("cookie", "sid=s3cr3t"),
    ];
    assert_eq!(request.fields, expected.map(|(name, value)| (name, value.to_owned())));
    assert_eq!((&*request.cluster, request.body.len()), ("app", 0));
    assert_eq!((request.timeout, request.answer_len_max), (Duration::from_secs(1), ANSWER_LEN_MAX));
}

/// The example of RFC 6749 §2.3.1 has this client and secret, RFC 7662 §2.1 this token.
#[test]
fn a_token_is_introspected_by_rfc_7662() {
    let own = lookup(Form::introspection("s6BhdRkqt3", &Secret::new(b"gX1fBat3bV".to_vec())));
    let request = own.request(b"2YotnFZFEjr1zCsicMWpAA");
    assert_eq!(field(&request, ":method"), Some("POST"));
    assert_eq!(field(&request, "authorization"), Some("Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"));
    assert_eq!(field(&request, "content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(field(&request, "accept"), Some("application/json"));
    assert_eq!(request.body, b"token=2YotnFZFEjr1zCsicMWpAA");
    assert_eq!(request.fields.len(), 6);
}

#[test]
fn tokens_and_clients_are_form_encoded() {
    let request = introspection().request(b"a&token=b=c+d%00/~*-._|");
    assert_eq!(request.body, b"token=a%26token%3Db%3Dc%2Bd%2500%2F%7E*-._%7C");
    let form = Form::introspection("a:b c", &Secret::new("ü%".as_bytes().to_vec()));
    let request = lookup(form).request(b"x");
    let basic = field(&request, "authorization").unwrap().strip_prefix("Basic ").unwrap();
    assert_eq!(STANDARD.decode(basic).unwrap(), b"a%3Ab+c:%C3%BC%25");
}

#[test]
fn only_what_can_be_a_credential_is_asked_about() {
    for (value, as_cookie, as_token) in [
        (&b"abc"[..], true, true),
        (b"a=b/c+d==", true, true),
        (b"", false, false),
        (b"a b", false, false),
        (b"a;b", false, true),
        (b"a,b", false, true),
        (b"a\"b", false, true),
        (b"a\\b", false, true),
        (b"a\r\nx: y", false, false),
        (b"a\0", false, false),
        (b"a\x7f", false, false),
        ("é".as_bytes(), false, false),
        (b"\xff", false, false),
    ] {
        assert_eq!((cookie().takes(value), introspection().takes(value)), (as_cookie, as_token), "{value:?}");
    }
    // "sid=" and its value.
    for (len, as_cookie, as_token) in
        [(4_092, true, true), (4_093, false, true), (16_384, false, true), (16_385, false, false)]
    {
        let value = vec![b'a'; len];
        assert_eq!((cookie().takes(&value), introspection().takes(&value)), (as_cookie, as_token), "{len}");
    }
}

#[test]
fn the_authority_is_the_cluster_or_the_host_in_its_name() {
    for (cluster, authority) in
        [("app", "app"), ("outbound|443||idp.example.com", "idp.example.com"), ("a|", "a"), ("||", "||")]
    {
        let request = Lookup { cluster: cluster.into(), ..cookie() }.request(b"x");
        assert_eq!((field(&request, ":authority"), &*request.cluster), (Some(authority), cluster));
    }
}

#[track_caller]
fn check(lookup: &Lookup, status: u16, body: &[u8], expected: &Told) {
    let told = lookup.read(&answer(status, body));
    assert_eq!(told, *expected, "{status} {}", String::from_utf8_lossy(body));
}

fn claims(body: &[u8]) -> Told {
    Told::Claims(body.into())
}

const MALFORMED: Told = Told::Fault(Failure::Malformed);

#[test]
fn statuses_say_yes_no_or_nothing() {
    let body = br#"{"active": true, "sub": "alice"}"#;
    for status in [401, 403, 404] {
        check(&cookie(), status, body, &Told::No);
        check(&introspection(), status, body, &Told::Fault(Failure::Status(status)));
    }
    check(&cookie(), 400, body, &Told::Fault(Failure::Status(400)));
    check(&introspection(), 400, body, &Told::No);
    for status in
        [100, 101, 201, 204, 206, 301, 302, 303, 304, 307, 308, 402, 405, 407, 408, 410, 429, 500, 502, 503, 504]
    {
        for lookup in [cookie(), introspection()] {
            check(&lookup, status, body, &Told::Fault(Failure::Status(status)));
        }
    }
    for lookup in [cookie(), introspection()] {
        check(&lookup, 200, body, &claims(body));
        for answer in [Answer::None, Answer::Shared, Answer::Grpc(body.to_vec())] {
            assert_eq!(lookup.read(&answer), Told::Fault(Failure::NoAnswer));
        }
    }
}

#[test]
fn only_true_is_active_and_only_false_is_not() {
    check(&introspection(), 200, br#"{"active": false, "sub": "alice"}"#, &Told::No);
    for active in [r#""true""#, "1", "null", "[true]", "{}", r#""""#, "\"false\"", "0"] {
        check(&introspection(), 200, format!(r#"{{"active": {active}, "sub": "a"}}"#).as_bytes(), &MALFORMED);
    }
    for body in [
        r#"{"sub": "alice"}"#,
        r#"{"Active": true}"#,
        r#"{"active": true, "active": true}"#,
        r#"{"active": false, "active": true}"#,
        r#"{"active": true, "\u0061ctive": false}"#,
        r#"{"active": true, "sub": "alice", "sub": "root"}"#,
        r#"{"active": true, "a": {"b": 1, "b": 2}}"#,
        r#"{"active": true} {"active": true}"#,
        r#"{"active": true},"#,
        r#"{"active": tru"#,
    ] {
        check(&introspection(), 200, body.as_bytes(), &MALFORMED);
    }
    // A cookie is good by the status alone.
    for body in [r#"{"active": false}"#, r#"{"active": "true"}"#, "{}"] {
        check(&cookie(), 200, body.as_bytes(), &claims(body.as_bytes()));
    }
}

#[test]
fn what_is_no_json_object_says_nothing() {
    let deep = format!(r#"{{"active": true, "a": {}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let utf16: Vec<u8> = "{\"active\": true}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [
        &b""[..],
        b"null",
        b"true",
        b"\"active\"",
        b"[]",
        br#"[{"active": true}]"#,
        b"<html>Sign in</html>",
        b"\xef\xbb\xbf{\"active\": true}",
        b"{\"active\": true, \"sub\": \"\xff\"}",
        b"{'active': true}",
        b"{active: true}",
        b"{\"active\": true, \"exp\": NaN}",
        b"{\"active\": true, \"exp\": 1e999}",
        b"{\"active\": true, \"sub\": \"\\ud800\"}",
        b"active=true&sub=alice",
        deep.as_bytes(),
        &utf16,
    ] {
        for lookup in [cookie(), introspection()] {
            check(&lookup, 200, body, &MALFORMED);
        }
    }
}

#[test]
fn an_answer_that_is_too_long_says_nothing() {
    for (len, expected) in [(ANSWER_LEN_MAX, true), (ANSWER_LEN_MAX + 1, false)] {
        let mut body = br#"{"active": true, "sub": "alice"}"#.to_vec();
        body.resize(len, b' ');
        for lookup in [cookie(), introspection()] {
            let told = if expected { claims(&body) } else { Told::Fault(Failure::NoAnswer) };
            check(&lookup, 200, &body, &told);
        }
    }
}

#[test]
fn each_part_of_a_question_tells_it_from_others() {
    let other = |change: fn(&mut Lookup)| {
        let mut lookup = cookie();
        change(&mut lookup);
        lookup.digest(b"x")
    };
    let digests = [
        cookie().digest(b"x"),
        cookie().digest(b"y"),
        cookie().digest(b""),
        other(|own| own.cluster = "ap".into()),
        other(|own| own.path = "/".into()),
        other(|own| own.form = Form::Cookie("si".into())),
        other(|own| own.cache = Duration::ZERO),
        other(|own| own.timeout = Duration::from_secs(2)),
        // Where the bytes are cut counts, too.
        other(|own| (own.cluster, own.path) = ("app/".into(), "session?a=b".into())),
        introspection().digest(b"x"),
        lookup(Form::introspection("gw", &Secret::new(b"gw-Secret".to_vec()))).digest(b"x"),
        lookup(Form::introspection("gx", &Secret::new(b"gw-secret".to_vec()))).digest(b"x"),
    ];
    for (index, digest) in digests.iter().enumerate() {
        assert!(!digests[index + 1..].contains(digest), "{index}");
    }
    assert_eq!(cookie().digest(b"x"), cookie().digest(b"x"));
}

#[test]
fn no_secret_is_printed() {
    let told = introspection().read(&answer(200, br#"{"active": true, "sub": "hunter2"}"#));
    let request = introspection().request(b"hunter2");
    let printed = format!("{:?} {told:?} {request:?} {:?}", introspection(), cookie());
    for secret in ["hunter2", "gw-secret", "Z3c6Z3ctc2VjcmV0", "Basic"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
