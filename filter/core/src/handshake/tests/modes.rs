//! Handshakes under policies of which some parts are enforced and some only monitored.

use super::*;

/// What is told of a handshake that is refused, or not.
#[track_caller]
fn check(change: &serde_json::Value, fields: Fields, passed: &[Violation], refused: Option<Violation>) {
    let opening = open(&policies(change.clone()), fields.clone());
    assert_eq!((&*would_refuse(&opening), refusal(&opening)), (passed, refused), "{change}: {fields:?}");
    assert_eq!(matches!(opening.decision, Decision::Upgrade(_)), refused.is_none());
}

fn evil() -> Fields {
    with("origin", "https://evil.io")
}

fn forged(fields: Fields) -> Fields {
    let own = |(name, value): (String, String)| {
        let value = if name == "authorization" { format!("Bearer {FORGED}") } else { value };
        (name, value)
    };
    fields.into_iter().map(own).collect()
}

#[test]
fn each_part_is_refused_or_told_by_itself() {
    let tunnel = || and(good(), "sec-websocket-protocol", "chat.v9");
    for (fields, violation, part) in [
        (evil(), OriginRefused, "origin"),
        (forged(good()), CredentialInvalid, "auth"),
        (without("authorization"), CredentialMissing, "auth"),
        (tunnel(), SubprotocolRefused, "subprotocols"),
    ] {
        check(&json!({part: {"mode": "monitor"}}), fields.clone(), &[violation], None);
        check(&json!({"mode": "monitor", part: {"mode": "enforce"}}), fields.clone(), &[], Some(violation));
        check(&json!({"mode": "monitor"}), fields, &[violation], None);
    }
    let other_host = with(":authority", "other.example.com");
    check(&json!({"mode": "monitor", "auth": {"mode": "enforce"}}), other_host, &[HostRefused], None);
}

#[test]
fn what_is_enforced_refuses_behind_what_is_told() {
    let both = forged(evil());
    check(&json!({"origin": {"mode": "monitor"}}), both.clone(), &[OriginRefused], Some(CredentialInvalid));
    check(&json!({"auth": {"mode": "monitor"}}), both.clone(), &[], Some(OriginRefused));
    let authentication_only = json!({"mode": "monitor", "auth": {"mode": "enforce"}});
    check(&authentication_only, both.clone(), &[OriginRefused], Some(CredentialInvalid));
    check(&authentication_only, evil(), &[OriginRefused], None);
    check(&json!({"mode": "monitor"}), both, &[OriginRefused, CredentialInvalid], None);
    // Other readings of a malformed request could hide what is enforced.
    check(&authentication_only, and(good(), "origin", "https://app.example.com"), &[], Some(BadUpgrade));
    check(&authentication_only, with("sec-websocket-version", "8"), &[BadVersion], None);
}

#[test]
fn a_good_credential_leaves_the_request_whatever_else_is_told() {
    let token = token(&json!({}));
    let offered = format!("bearer, {token}, chat.v9, chat.v8");
    let sources = json!({"sources": [{"subprotocol": "bearer"}, {"header": "authorization"}]});
    let mut fields = without("authorization");
    fields.push(("sec-websocket-protocol".into(), offered));
    let told = json!({"auth": sources, "subprotocols": {"mode": "monitor"}});
    let opening = open(&policies(told), fields.clone());
    assert_eq!(would_refuse(&opening), [SubprotocolRefused]);
    assert_eq!(edited(&opening, &fields, "sec-websocket-protocol"), ["chat.v9, chat.v8"]);
    assert_eq!(edited(&opening, &fields, "x-user"), ["alice"]);

    // One that is not good goes on, with no subprotocol beside it that is refused.
    let bad = format!("bearer, {FORGED}, chat.v1, chat.v9");
    fields.retain(|(name, _)| name != "sec-websocket-protocol");
    fields.push(("sec-websocket-protocol".into(), bad));
    let told = json!({"auth": {"sources": sources["sources"], "mode": "monitor"}});
    let opening = open(&policies(told), fields.clone());
    assert_eq!(would_refuse(&opening), [CredentialInvalid]);
    assert_eq!(edited(&opening, &fields, "sec-websocket-protocol"), [format!("bearer, {FORGED}, chat.v1")]);
    assert_eq!(edited(&opening, &fields, "x-user"), [""; 0]);
}

#[test]
fn limits_are_told_and_the_credential_is_judged_all_the_same() {
    for violation in [Banned, HandshakesExceeded, ConnectionsExceeded, Internal] {
        for applicant in ["address", "alice"] {
            let told = policies(json!({"limits": {"mode": "monitor"}}));
            let (opening, _) = apply(&told, good(), applicant, violation);
            assert_eq!((would_refuse(&opening), refusal(&opening)), (vec![violation], None));
            let (opening, _) = apply(&told, forged(good()), "address", violation);
            assert_eq!((would_refuse(&opening), refusal(&opening)), (vec![violation], Some(CredentialInvalid)));
            assert!(opening.is_failed_attempt);
            let enforced = policies(json!({"mode": "monitor", "limits": {"mode": "enforce"}}));
            let (opening, _) = apply(&enforced, good(), applicant, violation);
            assert_eq!((would_refuse(&opening), refusal(&opening)), (vec![], Some(violation)));
        }
    }
}

#[test]
fn a_connection_is_closed_by_a_policy_that_enforces_what_it_came_in_with() {
    let session = |first: &serde_json::Value, fields: Fields| {
        let held = Rc::new(HeldBytes::default());
        match decide(&policies(first.clone()), &request(fields), &held).decision {
            Decision::Upgrade(pending) => {
                pending.check(&testing::headers(&testing::switching_protocols()), BIRTH).unwrap().session
            }
            decision => panic!("{decision:?}"),
        }
    };
    let monitor = json!({"mode": "monitor"});
    for (fields, next, closed, told) in [
        (evil(), json!({}), true, true),
        (evil(), json!({"mode": "monitor"}), false, false),
        (evil(), json!({"origin": {"mode": "monitor"}}), false, false),
        (evil(), json!({"mode": "monitor", "origin": {"mode": "enforce"}}), true, true),
        (evil(), json!({"mode": "monitor", "auth": {"mode": "enforce"}}), false, false),
        (forged(good()), json!({"mode": "monitor", "auth": {"mode": "enforce"}}), true, true),
        (forged(good()), json!({"auth": {"mode": "monitor"}}), false, false),
        (good(), json!({"hosts": ["other.example.com"], "mode": "monitor", "auth": {"mode": "enforce"}}), false, true),
        (good(), json!({"hosts": ["other.example.com"]}), true, true),
    ] {
        let mut session = session(&monitor, fields.clone());
        let found = session.adopt(&policies(next.clone()), testing::MOMENT);
        assert_eq!((session.violation().is_some(), found.is_some()), (closed, told), "{next}: {fields:?}");
    }
}
