use super::*;
use crate::ask::HttpResponse;
use crate::identity::marks::{ABSENT, issuer_number};
use crate::testing::MOMENT;

fn answer(status: u16, fields: &[(&str, &str)], body: &str) -> Answer {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    Answer::Http(HttpResponse { status, fields, body: body.into() })
}

fn feed() -> Feed {
    Feed::new(Rc::new(RemoteFeed {
        cluster: "idp".into(),
        location: Location { authority: "idp".into(), path: "/revoked.json".into() },
        refresh: Duration::from_secs(15),
        timeout: Duration::from_secs(2),
    }))
}

fn marks(subject: &str, session: &str, token: &str) -> Marks {
    let of = |name, text: &str| if text.is_empty() { ABSENT } else { digest(name, text) };
    Marks {
        issuer: issuer_number("https://idp/"),
        subject: of(Name::Subject, subject),
        session: of(Name::Session, session),
        token: of(Name::Token, token),
        issued_at: 0,
    }
}

fn field<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.fields.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_list_revokes_what_it_names_in_its_kind() {
    let list =
        Revoked::read(br#"{"sub": ["alice", "b\u00f6b"], "sid": ["s1"], "jti": ["j1", "alice2"], "at": [1, {}]}"#)
            .unwrap();
    for (subject, session, token, expected) in [
        ("alice", "", "", true),
        ("b\u{f6}b", "s9", "j9", true),
        ("carol", "s1", "", true),
        ("carol", "", "j1", true),
        ("carol", "s2", "j2", false),
        ("s1", "alice", "alice", false),
        ("alice2", "", "", false),
        ("Alice", "", "", false),
        ("", "", "", false),
    ] {
        assert_eq!(list.has(&marks(subject, session, token)), expected, "{subject} {session} {token}");
    }
    assert!(!format!("{list:?}").contains("alice"));
}

#[test]
fn an_empty_list_is_one_and_no_list_is_none() {
    for (body, is_list) in [
        (r#"{"sub": []}"#, true),
        (r#"{"sub": [], "sid": [], "jti": []}"#, true),
        (r#"{"jti": [""]}"#, true),
        ("{}", false),
        (r#"{"subs": ["alice"]}"#, false),
        (r#"{"sub": "alice"}"#, false),
        (r#"{"sub": {"alice": true}}"#, false),
        (r#"{"sub": null}"#, false),
        (r#"{"sub": [7]}"#, false),
        (r#"{"sub": ["alice", null]}"#, false),
        (r#"{"sub": [["alice"]]}"#, false),
        (r#"{"sub": ["alice"], "sub": []}"#, false),
        (r#"{"sub": ["alice"], "s\u0075b": []}"#, false),
        (r#"{"sub": ["alice"], "sid": 1}"#, false),
        (r#"["alice"]"#, false),
        (r#"{"sub": ["alice"]} x"#, false),
        (r#"{"sub": ["alice""#, false),
        ("\u{feff}{\"sub\": []}", false),
        ("<!doctype html>", false),
        ("", false),
    ] {
        assert_eq!(Revoked::read(body.as_bytes()).is_ok(), is_list, "{body}");
    }
    assert!(Revoked::read(b"{\"sub\": [\"\xff\"]}").is_err());
    let deep = format!("{{\"sub\": [], \"x\": {}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(Revoked::read(deep.as_bytes()).is_err());
}

#[test]
fn the_list_is_asked_for_again_by_its_etag() {
    let mut feed = feed();
    let request = feed.begin_due(MOMENT).unwrap();
    assert_eq!((&*request.cluster, request.answer_len_max), ("idp", 1 << 20));
    assert_eq!((field(&request, ":authority"), field(&request, ":path")), (Some("idp"), Some("/revoked.json")));
    assert!(feed.is_coming(MOMENT) && feed.begin_due(MOMENT).is_none());
    let list = r#"{"sub": ["alice"]}"#;
    assert_eq!(feed.receive(&answer(200, &[("etag", "\"1\"")], list), MOMENT, 0), Received::Fetched);
    let at = |secs| MOMENT.saturating_add(Duration::from_secs(secs));
    assert!(feed.begin_due(at(14)).is_none());
    assert_eq!(field(&feed.begin_due(at(15)).unwrap(), "if-none-match"), Some("\"1\""));
    assert_eq!(feed.receive(&answer(304, &[], ""), at(15), 0), Received::Unchanged);
    assert!(feed.revoked().unwrap().has(&marks("alice", "", "")));
    // The same list under another name is nothing new for the connections.
    feed.begin_due(at(30)).unwrap();
    assert_eq!(feed.receive(&answer(200, &[("etag", "\"2\"")], list), at(30), 0), Received::Unchanged);
    assert_eq!(field(&feed.begin_due(at(45)).unwrap(), "if-none-match"), Some("\"2\""));
    assert_eq!(feed.receive(&answer(200, &[], r#"{"sub": []}"#), at(45), 0), Received::Fetched);
    assert!(!feed.revoked().unwrap().has(&marks("alice", "", "")));
}

#[test]
fn what_is_no_list_leaves_the_last_good_one_and_is_asked_for_less_and_less() {
    for bad in [
        Answer::None,
        answer(301, &[("location", "https://evil.example/")], r#"{"sub": []}"#),
        answer(304, &[], ""),
        answer(404, &[], ""),
        answer(500, &[], r#"{"sub": []}"#),
        answer(200, &[], "<html>"),
        answer(200, &[], "{}"),
    ] {
        let mut feed = feed();
        feed.begin_due(MOMENT).unwrap();
        assert!(matches!(feed.receive(&bad, MOMENT, 0), Received::Failed(_)), "{bad:?}");
        assert!(feed.revoked().is_none() && !feed.is_coming(MOMENT));
        let mut now = MOMENT.saturating_add(Duration::from_secs(1));
        feed.begin_due(now).unwrap();
        assert_eq!(feed.receive(&answer(200, &[], r#"{"sub": ["alice"]}"#), now, 0), Received::Fetched);
        for secs in [15, 1, 2, 4, 8, 15, 15] {
            assert!(feed.begin_due(now.saturating_add(Duration::from_millis(secs * 1_000 - 1))).is_none(), "{secs}");
            now = now.saturating_add(Duration::from_secs(secs));
            feed.begin_due(now).unwrap();
            assert!(matches!(feed.receive(&bad, now, 0), Received::Failed(_)));
            assert!(feed.revoked().unwrap().has(&marks("alice", "", "")));
        }
    }
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut feed = feed();
    assert_eq!(feed.receive(&answer(200, &[], r#"{"sub": ["alice"]}"#), MOMENT, 0), Received::Unchanged);
    assert!(feed.revoked().is_none());
}
