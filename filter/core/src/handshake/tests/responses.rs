//! The upstream's answer: which opens a session, and what the client hears of it.

use super::*;

#[track_caller]
fn check_answer(fields: Fields, change: &[(&str, &str)], expected: Result<(), Violation>) {
    let Decision::Upgrade(pending) = open(&policies(json!({})), fields).decision else { panic!("refused") };
    assert_eq!(pending.check(&answer(change), BIRTH).map(|_| ()), expected);
}

#[test]
fn only_a_true_101_opens_a_session() {
    check_answer(good(), &[], Ok(()));
    check_answer(good(), &[("upgrade", "WebSocket"), ("connection", "upgrade")], Ok(()));
    for status in ["200", "400", "426", "-"] {
        check_answer(good(), &[(":status", status)], Err(UpstreamRefused));
    }
    for change in [
        ("sec-websocket-accept", "-"),
        ("sec-websocket-accept", "AAAA"),
        ("upgrade", "-"),
        ("upgrade", "h2c"),
        ("connection", "-"),
        ("connection", "close"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-protocol", "chat.v1"),
    ] {
        check_answer(good(), &[change], Err(BadUpstreamHandshake));
    }
}

#[test]
fn over_http_2_a_success_opens_and_so_only_a_101_may_be_one() {
    let pending = || {
        let mut extended_connect = request(good());
        extended_connect.protocol = HttpVersion::Multiplexed;
        let Decision::Upgrade(pending) = decide(&policies(json!({})), &extended_connect, &Rc::default()).decision
        else {
            panic!("refused")
        };
        pending
    };
    assert_eq!(pending().check(&answer(&[]), BIRTH).unwrap().edits, [Edit::remove("sec-websocket-accept")]);
    for (status, expected) in [
        ("200", BadUpstreamHandshake),
        ("201", BadUpstreamHandshake),
        ("204", BadUpstreamHandshake),
        ("302", UpstreamRefused),
        ("403", UpstreamRefused),
        ("500", UpstreamRefused),
    ] {
        assert_eq!(pending().check(&answer(&[(":status", status)]), BIRTH).map(|_| ()), Err(expected), "{status}");
    }
}

#[test]
fn the_upstream_chooses_what_was_offered() {
    let offering = || and(good(), "sec-websocket-protocol", "chat.v1, chat.v9");
    let protocol = "sec-websocket-protocol";
    check_answer(offering(), &[(protocol, "chat.v1")], Ok(()));
    check_answer(offering(), &[], Ok(()));
    for chosen in ["chat.v9", "chat.v2", "chat.v1, chat.v1", "CHAT.V1", ""] {
        check_answer(offering(), &[(protocol, chosen)], Err(BadUpstreamHandshake));
    }
    check_answer(offering(), &[(protocol, "chat.v1"), (protocol, "chat.v1")], Err(BadUpstreamHandshake));
}

#[test]
fn a_subprotocol_without_an_envelope_is_never_negotiated() {
    let protocol = "sec-websocket-protocol";
    let with_map = |map: serde_json::Value| policies(json!({"messages": {"from_client": {"envelope": map}}}));
    let strict = with_map(json!({"chat.v1": "graphql-transport-ws"}));
    let lenient = with_map(json!({"chat.v1": "graphql-transport-ws", "": "json"}));
    for (offer, seen, by_strict, by_lenient) in [
        (None, None, Some(SubprotocolRefused), None),
        (Some("chat.v2"), None, Some(SubprotocolRefused), Some(SubprotocolRefused)),
        (Some("chat.v2, chat.v1"), Some("chat.v1"), None, None),
    ] {
        let fields = || offer.map_or_else(good, |offer| and(good(), protocol, offer));
        for (policies, expected) in [(&strict, by_strict), (&lenient, by_lenient)] {
            let opening = open(policies, fields());
            assert_eq!(refusal(&opening), expected, "{offer:?}");
            let (Some(seen), None) = (seen, expected) else { continue };
            assert_eq!(edited(&opening, &fields(), protocol), [seen]);
        }
    }
    let chosen = |policies: &Policies, chosen: &[(&str, &str)]| {
        let opening = open(policies, and(good(), protocol, "chat.v1, chat.v2"));
        let Decision::Upgrade(pending) = opening.decision else { panic!("refused") };
        pending.check(&answer(chosen), BIRTH).map(|opened| opened.would_refuse)
    };
    assert_eq!(chosen(&strict, &[(protocol, "chat.v1")]), Ok(None));
    assert_eq!(chosen(&strict, &[]), Err(BadUpstreamHandshake));
    assert_eq!(chosen(&strict, &[(protocol, "chat.v2")]), Err(BadUpstreamHandshake));
    assert_eq!(chosen(&lenient, &[]), Ok(None));
    let monitoring = json!({"mode": "monitor", "messages": {"from_server": {"envelope": {"chat.v1": "json"}}}});
    assert_eq!(chosen(&policies(monitoring), &[]), Ok(Some(BadUpstreamHandshake)));
}

#[test]
fn a_client_that_offers_only_its_token_hears_its_marker() {
    let opened = |offer: &str, chosen: &[(&str, &str)]| {
        let fields = and(without("authorization"), "sec-websocket-protocol", offer);
        let Decision::Upgrade(pending) = open(&policies(json!({})), fields).decision else { panic!("refused") };
        pending.check(&answer(chosen), BIRTH).unwrap().edits
    };
    let token = token(&json!({}));
    assert_eq!(opened(&format!("bearer, {token}"), &[]), [Edit::set("sec-websocket-protocol", "bearer")]);
    assert_eq!(opened(&format!("bearer.{token}"), &[]), []);
    assert_eq!(opened(&format!("bearer, {token}, chat.v1"), &[("sec-websocket-protocol", "chat.v1")]), []);
}
