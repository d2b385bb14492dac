//! Credentials in messages whose verdict waits for an answer: what waits with it, and what becomes of that.

use super::key_sets::{by_url, due, key_set, only, reply, token};
use super::*;
use crate::ask::Inquiry;
use first_message::{Live, said, text};

fn auth(token: &str) -> Vec<u8> {
    first_message::auth(token)
}

/// The same token with another signature.
fn forged(sub: &str) -> String {
    let (good, other) = (token(1, sub), token(1, "mallory"));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    format!("{signed}.{signature}")
}

fn policy(changes: &Value) -> Value {
    let provider = json!({"name": "idp", "issuer": "https://idp.example/", "algorithms": ["EdDSA"], "jwks": by_url()});
    let auth = json!({"required": true, "providers": [provider], "sources": [{"message": "/token"}]});
    let mut policy = first_message::policy(&json!({"auth": auth}));
    for (key, value) in changes.as_object().unwrap() {
        match (&mut policy[key], value) {
            (Value::Object(old), Value::Object(new)) => old.extend(new.clone()),
            (old, new) => *old = new.clone(),
        }
    }
    policy
}

/// A world that has asked for keys, and has no answer.
fn world(changes: &Value) -> (World, Inquiry) {
    let world = World::new(&policy(changes));
    let (inquiry, _) = only(&due(&world));
    (world, inquiry)
}

impl Live {
    /// The answer that it waits for is there.
    fn answer(&mut self, world: &World) {
        let mut effects = Effects::new(ClientWriter::Open);
        assert_eq!(self.gate.answered(Answer::Shared, &mut effects), Flow::Hold);
        self.note(effects.list);
        self.take_turns(world);
    }
}

#[test]
fn both_sides_wait_for_the_verdict_and_go_on_in_order() {
    for forward in [false, true] {
        let (ping, first) = (frame(0x89, b"p"), auth(&token(1, "alice")));
        let (more, rest) = ([frame(0x89, b"q"), text("[1]")].concat(), text("[2]"));
        let bytes = [&*ping, &first, &more].concat();
        let expected = if forward { [&*bytes, &rest].concat() } else { [&*ping, &more, &rest].concat() };
        let limits =
            json!({"per_address": {"connections": null, "handshakes": null, "failures": null}, "per_subject": null});
        let (mut world, inquiry) = world(&json!({"auth": {"forward": forward}, "limits": limits}));
        let mut lives: Vec<Live> = Vec::new();
        for cut in 0..=bytes.len() {
            let mut live = Live::connect(&mut world);
            live.say(Server, &said("hello"));
            live.say(Client, &bytes[..cut]);
            live.say(Client, &bytes[cut..]);
            live.say(Server, &said("world"));
            live.say(Client, &rest[..3]);
            assert!(live.to_server.is_empty() && live.to_client.is_empty(), "cut at {cut}");
            lives.push(live);
        }
        assert!(world.plugin.worker().take_waiting().is_empty());
        let (streams, _) = reply(&world, inquiry, 200, &key_set(&[1]));
        assert_eq!(streams.len(), lives.len());
        for (cut, mut live) in lives.into_iter().enumerate() {
            live.answer(&world);
            live.say(Client, &rest[3..]);
            live.take_turns(&world);
            assert_eq!(live.to_server, expected, "cut at {cut}");
            live.say(Server, &said("!"));
            assert_eq!(live.to_client, [said("hello"), said("world"), said("!")].concat(), "cut at {cut}");
            live.say(Client, &rest);
            assert_eq!((live.to_server.len(), live.refused()), (expected.len() + rest.len(), None));
            // An answer that nobody waits for.
            live.answer(&world);
            assert_eq!(live.refused(), None);
        }
        assert!(world.plugin.worker().held().is_empty());
    }
}

#[test]
fn nothing_goes_on_behind_a_bad_verdict() {
    for (token, answered, fail, expected) in [
        (forged("alice"), true, "closed", Some((Violation::CredentialInvalid, 3_000))),
        (token(1, "alice"), false, "closed", Some((Violation::Internal, 1_011))),
        (token(1, "alice"), false, "open", None),
    ] {
        let (mut world, inquiry) = world(&json!({"fail": fail}));
        let mut live = Live::connect(&mut world);
        live.say(Server, &said("hello"));
        live.say(Client, &[frame(0x89, b""), auth(&token), text("[1]")].concat());
        let body = if answered { key_set(&[1]) } else { b"<html>".to_vec() };
        let (streams, _) = reply(&world, inquiry, 200, &body);
        assert_eq!(streams.len(), 1);
        live.answer(&world);
        match expected {
            Some((violation, code)) => {
                assert_eq!((live.refused(), live.close_code()), (Some(violation), Some(code)));
                assert!(live.to_client.starts_with(b"\x88") && live.to_server.starts_with(b"\x88"));
                let close = live.to_server.clone();
                live.say(Server, &said("hello"));
                live.say(Client, &text("[2]"));
                live.take_turns(&world);
                assert_eq!(live.to_server, close, "one Close, and nothing more");
                assert_eq!(live.to_client.windows(5).filter(|bytes| *bytes == b"hello").count(), 0);
            }
            None => {
                assert_eq!((&*live.to_server, live.refused()), (&*[frame(0x89, b""), text("[1]")].concat(), None));
                assert_eq!(live.to_client, said("hello"));
            }
        }
        live.gate.end(&mut Effects::default());
        drop(live);
        assert!(world.plugin.worker().held().is_empty());
    }
}

#[test]
fn a_client_that_leaves_before_its_verdict_leaves_nothing_behind() {
    let (mut world, inquiry) = world(&json!({}));
    let mut live = Live::connect(&mut world);
    live.say(Client, &[auth(&token(1, "alice")), text("[1]")].concat());
    assert!(!world.plugin.worker().held().is_empty());
    let ((), _) = run(|effects| live.gate.end(effects));
    assert!(world.plugin.worker().held().is_empty());
    let (streams, _) = reply(&world, inquiry, 200, &key_set(&[1]));
    assert_eq!(streams.len(), 1);
    assert_eq!(run(|effects| live.gate.answered(Answer::Shared, effects)), (Flow::Hold, vec![]));
    assert!(world.has_room());
}

#[test]
fn what_comes_meanwhile_is_bounded() {
    let per_address = json!({"connections": null, "handshakes": null, "failures": null});
    let held = json!({"per_address": per_address, "per_connection": null, "held_bytes": 400_000});
    let bytes = json!({"per_second": 1_000, "burst": 100_000});
    let sent = json!({"per_address": per_address, "per_connection": {"bytes": bytes, "messages": null}});
    let long = text(&format!("[\"{}\"]", "x".repeat(1_000)));
    for (bytes, limits) in [(&long, &held), (&vec![0], &held), (&long, &sent)] {
        let (mut world, inquiry) = world(&json!({"limits": limits}));
        let mut live = Live::connect(&mut world);
        live.say(Client, &auth(&token(1, "alice")));
        let count = (0..1_000_000).take_while(|_| {
            live.say(Client, bytes);
            live.refused().is_none()
        });
        assert!(count.count() * bytes.len() < 200_000);
        assert_eq!(live.refused(), Some(Violation::Overloaded));
        live.take_turns(&world);
        assert!(live.to_server.starts_with(b"\x88") && live.close_code() == Some(1_013));
        let (streams, _) = reply(&world, inquiry, 200, &key_set(&[1]));
        assert_eq!(streams.len(), 1);
        live.answer(&world);
        assert_eq!(live.to_server.iter().filter(|byte| **byte == 0x88).count(), 1);
    }
}

#[test]
fn another_policy_comes_into_force_meanwhile() {
    let monitored = policy(&json!({"mode": "monitor"}));
    let closed = first_message::policy(&json!({"auth": {"sources": [{"header": "authorization"}]}}));
    let foreign = first_message::policy(&json!({}));
    let same = policy(&json!({"revision": "2"}));
    for (after, expected, is_at_once) in [
        (&monitored, None, true),
        (&closed, Some(Violation::PolicyChanged), true),
        // Whoever is known to the old policy is not to the new one.
        (&foreign, Some(Violation::PolicyChanged), false),
        (&same, None, false),
    ] {
        let (mut world, inquiry) = world(&json!({}));
        let mut live = Live::connect(&mut world);
        live.say(Server, &said("hello"));
        live.say(Client, &[frame(0x89, b""), auth(&token(1, "alice")), text("[1]")].concat());
        world.configure(after);
        let ((), effects) = run(|effects| live.gate.tick(effects));
        live.note(effects);
        live.take_turns(&world);
        assert_eq!((live.refused(), is_at_once), (expected.filter(|_| is_at_once), is_at_once));
        if expected.is_none() && is_at_once {
            assert_eq!(
                (&*live.to_server, &*live.to_client),
                (&*[frame(0x89, b""), text("[1]")].concat(), &*said("hello"))
            );
        }
        let (streams, _) = reply(&world, inquiry, 200, &key_set(&[1]));
        assert_eq!(streams.len(), 1);
        live.answer(&world);
        assert_eq!(live.refused(), expected);
        let is_passed = live.to_client.starts_with(&said("hello"));
        assert_eq!((is_passed, live.to_server.starts_with(b"\x89")), (expected.is_none(), expected.is_none()));
    }
}

/// Over HTTP/2 a client may say that it sends nothing any more, and still be told.
#[test]
fn an_end_behind_the_first_message_goes_on_with_the_last_of_it() {
    let (mut world, inquiry) = world(&json!({}));
    let mut live = Live::connect(&mut world);
    let bytes = [auth(&token(1, "alice")), text("[1]")].concat();
    let (onward, effects) = run(|effects| live.gate.body(Client, &bytes.as_slice(), true, effects));
    assert_eq!(onward, Onward::Kept);
    live.note(effects);
    let (streams, _) = reply(&world, inquiry, 200, &key_set(&[1]));
    assert_eq!(streams.len(), 1);
    let (_, effects) = run(|effects| live.gate.answered(Answer::Shared, effects));
    live.note(effects);
    let (mut ready, mut is_last) = (vec![], false);
    while !world.plugin.worker().take_waiting().is_empty() {
        assert!(!is_last);
        let (turn, _) = run(|effects| live.gate.take_turn(1, effects));
        ready.extend(turn.bytes);
        is_last = turn.is_last;
    }
    assert!(is_last && ready == text("[1]"), "{ready:?}");
}

#[test]
fn monitor_mode_waits_for_no_verdict() {
    for (token, expected) in [(token(1, "alice"), vec![]), (forged("alice"), vec![Violation::CredentialInvalid])] {
        let (mut world, inquiry) = world(&json!({"mode": "monitor"}));
        let mut live = Live::connect(&mut world);
        let bytes = [auth(&token), text("[1]")].concat();
        live.say(Client, &bytes);
        live.say(Server, &said("hello"));
        assert_eq!((&*live.to_server, &*live.to_client), (&*bytes, &*said("hello")));
        let (streams, _) = reply(&world, inquiry, 200, &key_set(&[1]));
        assert_eq!(streams.len(), 1);
        live.answer(&world);
        live.say(Client, &text("[2]"));
        assert_eq!((live.would_refuse(), live.to_server.len()), (expected, bytes.len() + text("[2]").len()));
    }
}

/// A client that sends is there, also while nothing of it is judged.
#[test]
fn a_client_whose_bytes_wait_is_not_dead() {
    let liveness = json!({"ping_interval": "1s", "pong_timeout": "1s", "idle_timeout": null, "message_timeout": null});
    for (is_heard, expected) in [(true, None), (false, Some(Violation::Dead))] {
        let (mut world, _) = world(&json!({"liveness": liveness}));
        let mut live = Live::connect(&mut world);
        live.say(Client, &auth(&token(1, "alice")));
        for _ in 0..10 {
            live.elapse(&world, Duration::from_millis(500));
            if is_heard && live.refused().is_none() {
                live.say(Client, &frame(0x8a, b""));
            }
        }
        assert_eq!(live.refused(), expected);
    }
}

/// What waits for a turn may bring a credential as well.
#[test]
fn a_first_message_that_waited_for_a_turn_waits_for_its_verdict() {
    for is_renewed in [false, true] {
        let mut all = policy(&json!({}));
        if is_renewed {
            all["auth"]["renew"] = json!({"when": {"/type": "auth"}, "token": "/token"});
        }
        let mut world = World::new(&all);
        let (inquiry, _) = only(&due(&world));
        let mut live = Live::connect(&mut world);
        let worker = Rc::clone(world.plugin.worker());
        worker.turn.begin(world.now());
        worker.turn.look(world.now().saturating_add(Duration::from_secs(1)));
        let long = text(&format!("[\"{}\"]", "x".repeat(5_000)));
        let first = [auth(&token(1, "alice")), if is_renewed { auth(&token(1, "alice")) } else { vec![] }].concat();
        live.say(Client, &[&*first, &long].concat());
        assert!(!worker.held().is_empty());
        world.elapse(Duration::from_secs(2));
        live.take_turns(&world);
        assert!(live.to_server.is_empty());
        live.say(Client, &text("[1]"));
        let (streams, _) = reply(&world, inquiry, 200, &key_set(&[1]));
        assert_eq!(streams.len(), 1);
        live.answer(&world);
        assert_eq!((live.refused(), &live.to_server), (None, &[&*long, &text("[1]")].concat()));
    }
}

/// A world with keys and a connection that renews its token by a key that nobody knows yet. Gives what is asked then.
fn renewing(bytes: &[u8], end: bool) -> (World, Live, Inquiry) {
    let mut all = policy(&json!({}));
    all["auth"]["sources"] = json!([{"header": "authorization"}]);
    all["auth"]["renew"] = json!({"when": {"/type": "auth"}, "token": "/token"});
    let mut world = World::new(&all);
    let (inquiry, _) = only(&due(&world));
    reply(&world, inquiry, 200, &key_set(&[1]));
    let mut live = Live::connect_with(&mut world, &[("authorization", &format!("Bearer {}", token(1, "alice")))]);
    world.elapse(Duration::from_secs(3));
    let (onward, effects) = run(|effects| live.gate.body(Client, &bytes, end, effects));
    assert_eq!(onward, Onward::Kept);
    let (inquiry, _) = only(&key_sets::asks(&effects));
    live.note(effects);
    (world, live, inquiry)
}

#[test]
fn a_renewal_keeps_back_what_stands_behind_it_and_nothing_else() {
    let (before, behind, later) = (text("[1]"), text("[2]"), text("[3]"));
    let good = auth(&token(2, "alice"));
    for (renewal, keys, expected) in [
        (&good, &[1, 2][..], None),
        (&good, &[1][..], Some(Violation::CredentialInvalid)),
        (&auth(&token(2, "bob")), &[1, 2][..], Some(Violation::CredentialInvalid)),
    ] {
        let (world, mut live, inquiry) = renewing(&[&*before, renewal, &behind].concat(), false);
        live.take_turns(&world);
        assert_eq!(live.to_server, before);
        live.say(Server, &said("hello"));
        assert_eq!(live.to_client, said("hello"));
        live.say(Client, &later);
        live.take_turns(&world);
        assert_eq!(live.to_server, before);
        let (streams, _) = reply(&world, inquiry, 200, &key_set(keys));
        assert_eq!(streams.len(), 1);
        live.answer(&world);
        assert_eq!(live.refused(), expected);
        let (passed, rest) = live.to_server.split_at(before.len());
        assert_eq!(passed, before);
        match expected {
            None => assert_eq!(rest, [&*behind, &later].concat()),
            Some(_) => assert!(rest[..2] == [0x88, 0x80 | 20] && rest.len() == 26, "{rest:x?}"),
        }
    }
}

#[test]
fn an_end_behind_a_renewal_does_not_get_past_it() {
    let bytes = [text("[1]"), auth(&token(2, "alice")), text("[2]")].concat();
    for (keys, expected) in [(&[1, 2][..], [text("[1]"), text("[2]")].concat()), (&[1][..], text("[1]"))] {
        let (world, mut live, inquiry) = renewing(&bytes, true);
        live.take_turns(&world);
        let (streams, _) = reply(&world, inquiry, 200, &key_set(keys));
        assert_eq!(streams.len(), 1);
        live.answer(&world);
        assert!(live.to_server.starts_with(&expected));
        assert!(live.to_server.len() == expected.len() || live.to_server[expected.len()] == 0x88);
    }
}
