use super::*;
use crate::ask::HttpResponse;
use crate::testing::MOMENT;

/// With the key of RFC 8037 §A.2.
const SET: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn remote(source: KeySource) -> KeySet {
    KeySet::new(Rc::new(RemoteKeys {
        cluster: "idp".into(),
        source,
        refresh: Duration::from_secs(300),
        timeout: Duration::from_secs(2),
        algorithms: vec![Algorithm::EdDSA],
    }))
}

fn by_url() -> KeySet {
    remote(KeySource::Url(Location::parse("https://idp.example.com/jwks").unwrap()))
}

fn answer(status: u16, fields: &[(&str, &str)], body: &str) -> Answer {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    Answer::Http(HttpResponse { status, fields, body: body.into() })
}

fn field<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.fields.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
}

fn at(secs: u64) -> Moment {
    MOMENT.saturating_add(Duration::from_secs(secs))
}

#[test]
fn the_set_is_asked_for_at_start_and_then_by_its_etag() {
    let mut set = by_url();
    assert!(set.next_at() <= Some(MOMENT));
    let request = set.begin();
    assert_eq!((&*request.cluster, request.timeout, request.answer_len_max), ("idp", Duration::from_secs(2), 1 << 20));
    let expected =
        [(":method", "GET"), (":authority", "idp.example.com"), (":path", "/jwks"), ("accept", "application/json")];
    assert_eq!(request.fields, expected.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(set.next_at(), None);
    assert_eq!(set.receive(&answer(200, &[("etag", "\"1\"")], SET), MOMENT, 0), Received::Fetched);
    let first = Rc::clone(set.keys().unwrap());

    assert_eq!(field(&set.begin(), "if-none-match"), Some("\"1\""));
    assert_eq!(set.receive(&answer(304, &[], ""), MOMENT, 0), Received::Unchanged);
    assert!(Rc::ptr_eq(&first, set.keys().unwrap()));

    for unsendable in ["", "\"a\r\nx: y\"", "\"\u{e9}\"", &"a".repeat(257)] {
        set.begin();
        let fields = [("etag", unsendable)];
        let fields = if unsendable.is_empty() { &[][..] } else { &fields };
        assert_eq!(set.receive(&answer(200, fields, SET), MOMENT, 0), Received::Fetched);
        assert_eq!(field(&set.begin(), "if-none-match"), None, "{unsendable}");
        assert_eq!(set.receive(&Answer::None, MOMENT, 0), Received::Failed(Failure::NoAnswer));
    }
}

#[test]
fn what_is_no_key_set_leaves_the_last_good_one() {
    let symmetric = r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#;
    for (bad, failure) in [
        (Answer::None, Failure::NoAnswer),
        (Answer::Shared, Failure::NoAnswer),
        (answer(301, &[("location", "https://evil.example/")], SET), Failure::Status(301)),
        (answer(304, &[], ""), Failure::Status(304)),
        (answer(404, &[], SET), Failure::Status(404)),
        (answer(503, &[], ""), Failure::Status(503)),
        (answer(200, &[], ""), Failure::Malformed),
        (answer(200, &[], "<!doctype html><title>Sign in</title>"), Failure::Malformed),
        (answer(200, &[], "[]"), Failure::Malformed),
        (answer(200, &[], "{}"), Failure::Malformed),
        (answer(200, &[], r#"{"keys": {}}"#), Failure::Malformed),
        (answer(200, &[], r#"{"keys": [], "keys": []}"#), Failure::Malformed),
        (answer(200, &[], SET.trim_end_matches('}')), Failure::Malformed),
        (answer(200, &[], r#"{"keys": []}"#), Failure::NoneUsable),
        (answer(200, &[], r#"{"keys": [1, null, "x", {}]}"#), Failure::NoneUsable),
        (answer(200, &[], symmetric), Failure::NoneUsable),
    ] {
        let mut set = by_url();
        set.begin();
        assert_eq!(set.receive(&bad, MOMENT, 0), Received::Failed(failure));
        assert!(set.keys().is_none(), "{failure:?}");
        set.begin();
        assert_eq!(set.receive(&answer(200, &[], SET), MOMENT, 0), Received::Fetched);
        set.begin();
        assert_eq!(set.receive(&bad, MOMENT, 0), Received::Failed(failure));
        assert!(set.keys().is_some(), "{failure:?}");
    }
}

#[test]
fn keys_of_one_kid_stay_side_by_side() {
    let key = SET.trim_start_matches(r#"{"keys": ["#).trim_end_matches("]}");
    let mut set = by_url();
    set.begin();
    let twins = format!(r#"{{"keys": [{key}, {key}, {{"kty": "new"}}]}}"#);
    assert_eq!(set.receive(&answer(200, &[], &twins), MOMENT, 0), Received::Fetched);
}

#[test]
fn the_next_fetch_is_timed() {
    let ok = |cache: &'static str| Some(cache);
    let fail = None;
    // The events at a time, and when the next fetch is due. `refresh` is 300 s.
    for (events, chance, expected) in [
        (&[(0, ok(""))][..], 0, 300_000),
        (&[(0, ok(""))], u16::MAX, 270_000),
        (&[(0, ok("max-age=60"))], 0, 60_000),
        (&[(0, ok("public, Max-Age=60"))], u16::MAX, 54_000),
        (&[(0, ok("max-age=3600"))], 0, 300_000),
        (&[(0, ok("max-age=0"))], 0, 10_000),
        (&[(0, ok("max-age=99999999999999999999"))], 0, 300_000),
        (&[(0, ok("max-age=-1, max-age=\"7\""))], 0, 300_000),
        (&[(0, ok("max-age=600, no-store"))], 0, 10_000),
        (&[(0, ok("no-cache"))], 0, 10_000),
        (&[(0, fail)], 0, 1_000),
        (&[(0, fail)], u16::MAX, 900),
        (&[(0, fail), (1, fail)], 0, 3_000),
        (&[(0, fail), (1, fail), (3, fail)], 0, 7_000),
        (&[(0, fail); 9], 0, 256_000),
        (&[(0, fail); 10], 0, 300_000),
        (&[(0, fail); 99], 0, 300_000),
        (&[(0, fail), (1, ok("")), (301, fail)], 0, 302_000),
    ] {
        let mut set = by_url();
        for (secs, event) in events {
            set.begin();
            let answer = event.map_or(Answer::None, |cache| answer(200, &[("cache-control", cache)], SET));
            set.receive(&answer, at(*secs), chance);
        }
        let due = set.next_at().unwrap().since(MOMENT);
        assert_eq!(due.as_millis(), expected, "{events:?} {chance}");
    }
}

#[test]
fn time_in_caches_counts() {
    let mut set = by_url();
    set.begin();
    set.receive(&answer(200, &[("cache-control", "max-age=60"), ("age", "25")], SET), MOMENT, 0);
    assert_eq!(set.next_at(), Some(at(35)));
}

#[test]
fn unknown_keys_cause_one_fetch_in_an_interval() {
    let mut set = by_url();
    set.begin();
    assert!(!set.may_ask_again(MOMENT), "a fetch is under way");
    set.receive(&answer(200, &[("etag", "\"1\"")], SET), MOMENT, 0);
    for (secs, expected) in [(0, true), (1, false), (2, true), (3, false), (9, true)] {
        let now = at(secs);
        assert_eq!(set.may_ask_again(now), expected, "{secs}");
        if expected {
            assert_eq!(field(&set.begin_again(now), "if-none-match"), Some("\"1\""));
            assert!(!set.may_ask_again(now));
            set.receive(&answer(304, &[], ""), now, 0);
            assert_eq!(set.next_at(), Some(at(secs + 300)));
        }
    }
    // A fetch by the clock does not use the interval up.
    set.begin();
    set.receive(&answer(304, &[], ""), at(20), 0);
    assert!(set.may_ask_again(at(20)));
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut set = by_url();
    assert_eq!(set.receive(&answer(200, &[], SET), MOMENT, 0), Received::Unchanged);
    assert!(set.keys().is_none());
}

#[test]
fn metadata_is_where_the_issuer_says() {
    for (issuer, expected) in [
        ("https://idp.example.com", Some("/.well-known/openid-configuration")),
        ("https://idp.example.com/", Some("/.well-known/openid-configuration")),
        ("https://idp.example.com/realms/a", Some("/realms/a/.well-known/openid-configuration")),
        ("https://idp.example.com/?a", None),
        ("corp", None),
    ] {
        let source = KeySource::discovery(issuer);
        let path = source.as_ref().map(|source| match source {
            KeySource::Discovery { metadata, .. } => &*metadata.path,
            KeySource::Url(_) => panic!("a URL"),
        });
        assert_eq!(path, expected, "{issuer}");
    }
}

#[test]
fn discovery_leads_to_the_set() {
    let mut set = remote(KeySource::discovery("https://idp.example.com/").unwrap());
    let good = r#"{"issuer": "https://idp.example.com/", "jwks_uri": "https://keys.example.com/set?a=b"}"#;
    assert_eq!(field(&set.begin(), ":path"), Some("/.well-known/openid-configuration"));
    let Received::Then(request) = set.receive(&answer(200, &[], good), MOMENT, 0) else { panic!("no second step") };
    assert_eq!((field(&request, ":authority"), field(&request, ":path")), (Some("keys.example.com"), Some("/set?a=b")));
    assert_eq!(set.next_at(), None);
    assert_eq!(set.receive(&answer(200, &[("etag", "\"1\"")], SET), MOMENT, 0), Received::Fetched);
    assert_eq!(set.next_at(), Some(at(300)));

    // An unknown key asks for the set alone, a refresh for the metadata again. A set that has moved is asked for without the old ETag.
    assert_eq!(field(&set.begin_again(MOMENT), ":path"), Some("/set?a=b"));
    set.receive(&answer(304, &[], ""), MOMENT, 0);
    assert_eq!(field(&set.begin(), ":path"), Some("/.well-known/openid-configuration"));
    let moved = good.replace("set?a=b", "moved");
    let Received::Then(request) = set.receive(&answer(200, &[], &moved), MOMENT, 0) else { panic!("no second step") };
    assert_eq!((field(&request, ":path"), field(&request, "if-none-match")), (Some("/moved"), None));
    assert_eq!(set.receive(&answer(304, &[], ""), MOMENT, 0), Received::Failed(Failure::Status(304)));
}

#[test]
fn metadata_of_another_is_not_followed() {
    for (body, failure) in [
        (r#"{"issuer": "https://idp.example.com", "jwks_uri": "https://idp/"}"#, Failure::Issuer),
        (r#"{"issuer": "https://evil.example/", "jwks_uri": "https://idp/"}"#, Failure::Issuer),
        (r#"{"jwks_uri": "https://idp/"}"#, Failure::Malformed),
        (r#"{"issuer": "https://idp.example.com/"}"#, Failure::Malformed),
        (r#"{"issuer": "https://idp.example.com/", "jwks_uri": "file:///etc/passwd"}"#, Failure::Malformed),
        (r#"{"issuer": "https://idp.example.com/", "jwks_uri": ["https://idp/"]}"#, Failure::Malformed),
        ("<html>", Failure::Malformed),
    ] {
        let mut set = remote(KeySource::discovery("https://idp.example.com/").unwrap());
        set.begin();
        assert_eq!(set.receive(&answer(200, &[], body), MOMENT, 0), Received::Failed(failure), "{body}");
        assert_eq!(set.next_at(), Some(at(1)));
    }
}
