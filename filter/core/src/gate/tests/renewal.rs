//! Connections whose client brings a new token before its own ends.

use super::*;
use crate::testing::NOW;
use first_message::{Live, good, policy, said, signed, text, token};

/// A policy of tokens in headers, which messages of the type `auth` renew.
fn renewed(changes: &Value) -> Value {
    let mut policy = policy(&json!({"auth": {
        "sources": [{"header": "authorization"}],
        "renew": {"when": {"/type": "auth"}, "token": "/token"},
    }}));
    for (key, value) in changes.as_object().unwrap() {
        match (&mut policy[key], value) {
            (Value::Object(old), Value::Object(new)) => old.extend(new.clone()),
            (old, new) => *old = new.clone(),
        }
    }
    policy
}

fn auth(token: &str) -> Vec<u8> {
    first_message::auth(token)
}

fn connect(world: &mut World, token: &str) -> Live {
    Live::connect_with(world, &[("authorization", &format!("Bearer {token}"))])
}

fn seconds(world: &World) -> u64 {
    world.now().as_nanos() / 1_000_000_000
}

#[test]
fn a_connection_outlives_as_many_tokens_as_it_renews() {
    let mut world = World::new(&renewed(&json!({})));
    let begin = seconds(&world);
    let mut live = connect(&mut world, &token("alice", begin + 3));
    for count in 1..=3 {
        assert_eq!(live.elapse(&world, Duration::from_secs(2)), None);
        live.say(Client, &auth(&token("alice", begin + 3 + 2 * count)));
        assert_eq!(live.refused(), None);
    }
    let (after, violation) = live.elapse(&world, Duration::from_secs(10)).unwrap();
    assert_eq!((after.as_secs(), violation), (3, Violation::CredentialExpired));
    assert!(live.to_server.is_empty());
}

#[test]
fn a_renewal_is_swallowed_and_nothing_around_it_however_it_is_cut() {
    let mut world = World::new(&renewed(&json!({})));
    let (before, behind) = (text("[1]"), [frame(0x89, b"p"), text("[2]")].concat());
    let fragments = {
        let whole = json!({"type": "auth", "token": good()}).to_string();
        let (start, end) = whole.as_bytes().split_at(9);
        [frame(0x01, start), frame(0x89, b"between"), frame(0x80, end)].concat()
    };
    for (renewal, ping) in [(auth(&good()), vec![]), (fragments, frame(0x89, b"between"))] {
        let bytes = [&*before, &renewal, &behind].concat();
        for cut in 0..=bytes.len() {
            let mut live = connect(&mut world, &good());
            live.say(Client, &bytes[..cut]);
            live.say(Server, &said("hello"));
            live.say(Client, &bytes[cut..]);
            live.take_turns(&world);
            assert_eq!(live.to_server, [&*before, &ping, &behind].concat(), "cut at {cut}");
            assert_eq!((&*live.to_client, live.refused()), (&*said("hello"), None));
        }
    }
}

#[test]
fn a_bad_renewal_closes_the_connection_behind_what_was_allowed() {
    let other = signed(&json!({"sub": "alice", "exp": NOW + 1_000_000}), "another secret of more than 32 bytes");
    for (renewal, violation) in [
        (auth(&token("bob", 1_000_000)), Violation::CredentialInvalid),
        (
            auth(&signed(&json!({"exp": NOW + 1_000_000}), "an HMAC secret of more than 32 bytes")),
            Violation::CredentialInvalid,
        ),
        (auth(&other), Violation::CredentialInvalid),
        (auth("x"), Violation::CredentialInvalid),
        (auth(&token("alice", 0)), Violation::CredentialExpired),
        (text(r#"{"type":"auth"}"#), Violation::CredentialMissing),
    ] {
        let mut world = World::new(&renewed(&json!({})));
        for cut in 0..=renewal.len() {
            let mut live = connect(&mut world, &good());
            live.say(Client, &[&*text("[1]"), &renewal[..cut]].concat());
            live.say(Client, &[&renewal[cut..], &text("[2]")].concat());
            assert_eq!(live.refused(), Some(violation), "cut at {cut}");
            let (passed, close) = live.to_server.split_at(text("[1]").len());
            assert!(passed == text("[1]") && close.starts_with(b"\x88"), "cut at {cut}");
            // What was allowed is answered first.
            live.say(Server, &said("one"));
            live.say(Server, b"\x88\x02\x0b\xb8");
            assert!(live.to_client.starts_with(&said("one")));
            assert_eq!(live.close_code(), Some(3_000));
        }
    }
}

#[test]
fn who_has_no_subject_or_no_credential_cannot_renew() {
    let nobody = signed(&json!({"exp": NOW + 1_000_000}), "an HMAC secret of more than 32 bytes");
    let mut world = World::new(&renewed(&json!({})));
    let mut live = connect(&mut world, &nobody);
    live.say(Client, &auth(&nobody));
    assert_eq!(live.refused(), Some(Violation::CredentialInvalid));
    drop(live);
    // Nothing is renewed: a message as any other.
    let mut world = World::new(&renewed(&json!({"auth": {"required": false}})));
    let mut live = Live::connect(&mut world);
    live.say(Client, &auth("x"));
    assert_eq!((&*live.to_server, live.refused()), (&*auth("x"), None));
}

#[test]
fn messages_are_judged_by_the_claims_of_the_newest_token() {
    let authorize = json!([{"when": {"/type": "admin"}, "claims": {"role": ["admin"]}}]);
    let messages = json!({"from_client": {"json": {}, "authorize": authorize}});
    let of_role = |role: &str| {
        signed(&json!({"sub": "alice", "exp": NOW + 1_000_000, "role": role}), "an HMAC secret of more than 32 bytes")
    };
    for (first, then, expected) in
        [("admin", "user", Some(Violation::NotAuthorized)), ("user", "admin", None), ("admin", "admin", None)]
    {
        let mut world = World::new(&renewed(&json!({"messages": messages})));
        let mut live = connect(&mut world, &of_role(first));
        live.say(Client, &[auth(&of_role(then)), text(r#"{"type":"admin"}"#)].concat());
        assert_eq!(live.refused(), expected);
    }
}

#[test]
fn monitor_mode_lets_renewals_pass_and_notes_bad_ones() {
    for (renewal, expected) in [
        (auth(&good()), vec![]),
        (auth(&token("bob", 1_000_000)), vec![Violation::CredentialInvalid]),
        (auth("x"), vec![Violation::CredentialInvalid]),
    ] {
        let mut world = World::new(&renewed(&json!({"mode": "monitor"})));
        let mut live = connect(&mut world, &good());
        let bytes = [&*renewal, &text("[1]"), &renewal].concat();
        live.say(Client, &bytes);
        assert_eq!((&*live.to_server, live.would_refuse()), (&*bytes, expected));
    }
}

/// Where it decides nothing, the message goes on, and has to be allowed as any other.
#[test]
fn a_renewal_that_is_only_monitored_is_no_way_around_a_rule() {
    let authorize = json!([{"when": {"/type": "auth"}, "claims": {"role": ["admin"]}}]);
    let messages = json!({"from_client": {"json": {}, "authorize": authorize}});
    for renewal in [auth(&good()), auth("x")] {
        let mut policy = renewed(&json!({"messages": messages}));
        policy["auth"]["mode"] = "monitor".into();
        let mut world = World::new(&policy);
        let mut live = connect(&mut world, &good());
        live.say(Client, &renewal);
        assert_eq!(live.refused(), Some(Violation::NotAuthorized));
    }
}

/// A client that said who it is with its first message renews as others do.
#[test]
fn a_first_message_is_renewed() {
    let mut all = renewed(&json!({}));
    all["auth"]["sources"] = json!([{"message": "/token"}]);
    let mut world = World::new(&all);
    let begin = seconds(&world);
    let mut live = Live::connect(&mut world);
    live.say(Client, &[auth(&token("alice", begin + 3)), auth(&token("alice", begin + 6)), text("[1]")].concat());
    assert_eq!((&*live.to_server, live.refused()), (&*text("[1]"), None));
    let (after, violation) = live.elapse(&world, Duration::from_secs(10)).unwrap();
    assert_eq!((after.as_secs(), violation), (6, Violation::CredentialExpired));
}

/// The skew of clocks is for a token that had ended when it came, not for the one that takes its place.
#[test]
fn a_token_in_time_ends_in_time_behind_a_late_one() {
    let mut world = World::new(&renewed(&json!({})));
    let begin = seconds(&world);
    let mut live = connect(&mut world, &token("alice", begin - 10));
    live.say(Client, &auth(&token("alice", begin + 3)));
    let (after, violation) = live.elapse(&world, Duration::from_secs(60)).unwrap();
    assert_eq!((after.as_secs(), violation), (3, Violation::CredentialExpired));
}
