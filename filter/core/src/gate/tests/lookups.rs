//! Handshakes whose credential only a service can read: they wait for its answer, together where it is the same one, and never for long.

use super::*;
use crate::ask::{HttpRequest, HttpResponse, Inquiry};
use crate::identity::lookups::FLIGHTS_MAX;

fn world(fail: &str, changes: &Value) -> World {
    let mut policy = json!({
        "fail": fail,
        "auth": {"required": true, "cookie": {"name": "sid", "lookup": {"cluster": "app", "path": "/session"}}},
        "limits": {"per_address": {"connections": null, "handshakes": null, "failures": null}, "per_subject": {"connections": null}},
    });
    policy.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    World::new(&policy)
}

/// A policy that introspects, at `path`.
fn introspecting(path: &str) -> Value {
    let client = json!({"id": "gw", "secret": {"inline": "gw-secret"}});
    let provider = json!({"name": "idp", "introspection": {"cluster": "idp", "path": path, "client": client}});
    json!({
        "auth": {"required": true, "providers": [provider]},
        "limits": {"per_address": {"connections": null, "handshakes": null, "failures": null}, "per_subject": {"connections": null}},
    })
}

/// A handshake with a field more.
fn ask(world: &mut World, name: &str, value: &str) -> (Gate, Flow, Vec<Effect>) {
    let mut gate = world.stream();
    let mut head = testing::upgrade();
    head.push((name, value));
    let mut arrival = world.arrival();
    arrival.request = arrival.request.map(|request| Request { headers: testing::headers(&head), ..request });
    let (flow, effects) = run(|effects| gate.request(arrival, effects));
    (gate, flow, effects)
}

fn ask_as(world: &mut World, session: &str) -> (Gate, Flow, Vec<Effect>) {
    ask(world, "cookie", &format!("sid={session}"))
}

/// What is asked, and by whom.
fn asked(effects: &[Effect]) -> Vec<(Inquiry, HttpRequest)> {
    let own = effects.iter().filter_map(|effect| if let Effect::Ask(ask) = effect { Some(ask.clone()) } else { None });
    own.map(|ask| match ask {
        Ask { question: Question::Http(request), asker: Asker::Inquiry(inquiry) } => (inquiry, request),
        ask => panic!("{ask:?}"),
    })
    .collect()
}

#[track_caller]
fn only(effects: &[Effect]) -> Inquiry {
    let asked = asked(effects);
    assert_eq!(asked.len(), 1);
    asked[0].0
}

/// The answer to a question: the streams that go on, and what is logged.
fn reply(world: &World, inquiry: Inquiry, answer: Answer) -> (Vec<u32>, Vec<String>) {
    let answered = world.plugin.worker().answered(Asker::Inquiry(inquiry), answer);
    assert_eq!(answered.asks, []);
    (answered.streams.into_iter().map(|(stream, _)| stream).collect(), answered.lines)
}

fn http(status: u16, body: &str) -> Answer {
    Answer::Http(HttpResponse { status, body: body.into(), ..HttpResponse::default() })
}

fn go_on(gate: &mut Gate) -> (Flow, Option<u16>) {
    let (flow, effects) = run(|effects| gate.answered(Answer::Shared, effects));
    (flow, status(&effects))
}

const IN: (Flow, Option<u16>) = (Flow::Forward, None);
const REFUSED: (Flow, Option<u16>) = (Flow::Hold, Some(401));
const FAULT: (Flow, Option<u16>) = (Flow::Hold, Some(500));
const ALICE: &str = r#"{"sub": "alice"}"#;

#[test]
fn handshakes_of_one_session_share_a_question() {
    let mut world = world("closed", &json!({}));
    let (mut first, flow, effects) = ask_as(&mut world, "a");
    let inquiry = only(&effects);
    let (mut second, again, effects) = ask_as(&mut world, "a");
    assert_eq!((flow, again, asked(&effects).len()), (Flow::Wait, Flow::Wait, 0));
    let (mut other, _, effects) = ask_as(&mut world, "b");
    let others = only(&effects);
    assert!(!world.plugin.worker().held().is_empty());
    assert_eq!(reply(&world, inquiry, http(200, ALICE)), (vec![1, 2], vec![]));
    assert_eq!((go_on(&mut first), go_on(&mut second)), (IN, IN));
    assert_eq!(reply(&world, others, http(401, "")), (vec![3], vec![]));
    assert_eq!(go_on(&mut other), REFUSED);
    assert!(world.plugin.worker().held().is_empty());
    // Both are known now, until that is over.
    let (_, flow, effects) = ask_as(&mut world, "a");
    assert_eq!((flow, asked(&effects).len()), (Flow::Forward, 0));
    let (_, flow, effects) = ask_as(&mut world, "b");
    assert_eq!((flow, status(&effects), asked(&effects).len()), (Flow::Hold, Some(401), 0));
    world.elapse(Duration::from_secs(5));
    assert_eq!(ask_as(&mut world, "b").1, Flow::Wait);
    assert_eq!(ask_as(&mut world, "a").1, Flow::Forward);
    world.elapse(Duration::from_secs(25));
    assert_eq!(ask_as(&mut world, "a").1, Flow::Wait);
}

#[test]
fn a_fault_goes_by_fail_and_is_no_answer_for_long() {
    for (fail, expected) in [("closed", FAULT), ("open", IN)] {
        for answer in [
            Answer::None,
            http(500, ALICE),
            http(302, ALICE),
            http(200, "<html>"),
            http(200, r#"{"sub": "a", "sub": "b"}"#),
        ] {
            let mut world = world(fail, &json!({}));
            let (mut gate, _, effects) = ask_as(&mut world, "a");
            let (streams, lines) = reply(&world, only(&effects), answer);
            assert_eq!(streams, [1]);
            assert!(
                lines.len() == 1 && lines[0].starts_with("no answer about a credential from cluster app: "),
                "{lines:?}"
            );
            assert_eq!(go_on(&mut gate), expected);
            // Within a second nobody asks about it again.
            let (_, flow, effects) = ask_as(&mut world, "a");
            assert_eq!(((flow, status(&effects)), asked(&effects).len()), (expected, 0));
            world.elapse(Duration::from_secs(1));
            let (mut gate, _, effects) = ask_as(&mut world, "a");
            reply(&world, only(&effects), http(200, ALICE));
            assert_eq!(go_on(&mut gate), IN);
        }
    }
}

/// What a service says is its word, whatever a fault would do.
#[test]
fn a_no_is_a_no_under_fail_open() {
    let mut world = world("open", &json!({}));
    for status in [401, 403, 404] {
        let (mut gate, _, effects) = ask_as(&mut world, &status.to_string());
        reply(&world, only(&effects), http(status, ALICE));
        assert_eq!(go_on(&mut gate), REFUSED);
    }
}

#[test]
fn a_service_that_flaps_lets_in_whom_it_knows() {
    let mut world = world("closed", &json!({}));
    for round in 0..20 {
        let (mut gate, _, effects) = ask_as(&mut world, &round.to_string());
        let (answer, expected) = if round % 2 == 0 { (http(503, ""), FAULT) } else { (http(200, ALICE), IN) };
        reply(&world, only(&effects), answer);
        assert_eq!(go_on(&mut gate), expected);
    }
    let (mut known, mut faults) = (0, 0);
    for round in 0..20 {
        match ask_as(&mut world, &round.to_string()) {
            (_, Flow::Forward, _) => known += 1,
            (_, flow, effects) => faults += i32::from((flow, status(&effects)) == FAULT),
        }
    }
    assert_eq!((known, faults), (10, 10));
}

#[test]
fn a_client_that_leaves_waits_no_more_and_others_do() {
    let mut world = world("closed", &json!({}));
    let (mut first, _, effects) = ask_as(&mut world, "a");
    let inquiry = only(&effects);
    let (mut second, _, _) = ask_as(&mut world, "a");
    first.end(&mut Effects::default());
    reply(&world, inquiry, http(200, ALICE));
    assert_eq!((go_on(&mut first), go_on(&mut second)), ((Flow::Hold, None), IN));
    assert!(world.plugin.worker().held().is_empty());
    // What was asked for a client that has left is known to the next.
    let (mut alone, _, effects) = ask_as(&mut world, "b");
    alone.end(&mut Effects::default());
    reply(&world, only(&effects), http(200, ALICE));
    assert_eq!(ask_as(&mut world, "b").1, Flow::Forward);
}

#[test]
fn what_was_asked_under_another_policy_decides_for_those_who_asked() {
    let mut world = World::new(&introspecting("/old"));
    let (mut old, flow, effects) = ask(&mut world, "authorization", "Bearer opaque");
    assert_eq!(flow, Flow::Wait);
    let asked_old = only(&effects);
    world.configure(&introspecting("/new"));
    let (mut new, flow, effects) = ask(&mut world, "authorization", "Bearer opaque");
    assert_eq!(flow, Flow::Wait);
    let asked_new = only(&effects);
    assert_ne!(asked_old, asked_new);
    reply(&world, asked_old, http(200, r#"{"active": true}"#));
    reply(&world, asked_new, http(200, r#"{"active": false}"#));
    assert_eq!((go_on(&mut old), go_on(&mut new)), (IN, REFUSED));
    // Neither answers for the other afterwards; a policy that asks in the same way goes on with what is known.
    let flow = |world: &mut World| ask(world, "authorization", "Bearer opaque").1;
    assert_eq!(flow(&mut world), Flow::Hold);
    world.configure(&introspecting("/old"));
    assert_eq!(flow(&mut world), Flow::Forward);
    world.configure(
        &json!({"auth": {"required": true, "cookie": {"name": "sid", "lookup": {"cluster": "app", "path": "/"}}}}),
    );
    assert_eq!(flow(&mut world), Flow::Hold);
}

#[test]
fn no_more_is_asked_than_a_service_is_to_answer() {
    for fail in ["closed", "open"] {
        let mut world = world(fail, &json!({}));
        let (mut alice, _, effects) = ask_as(&mut world, "alice");
        reply(&world, only(&effects), http(200, ALICE));
        assert_eq!(go_on(&mut alice), IN);
        let mut waiting = Vec::new();
        for number in 0..FLIGHTS_MAX * 2 {
            let (gate, flow, effects) = ask_as(&mut world, &format!("made-up-{number}"));
            if number < FLIGHTS_MAX {
                waiting.push((gate, only(&effects)));
            } else {
                // Not even under `fail: open`: clients choose how many they are.
                assert_eq!((flow, status(&effects), asked(&effects).len()), (Flow::Hold, Some(503), 0), "{number}");
            }
        }
        // A client that is known is let in all the while.
        assert_eq!(ask_as(&mut world, "alice").1, Flow::Forward);
        for (mut gate, inquiry) in waiting {
            reply(&world, inquiry, http(404, ""));
            assert_eq!(go_on(&mut gate), REFUSED);
        }
        assert!(world.plugin.worker().held().is_empty());
        assert_eq!(ask_as(&mut world, "bob").1, Flow::Wait);
        assert_eq!(ask_as(&mut world, "alice").1, Flow::Forward);
    }
}

#[test]
fn a_session_without_an_end_lives_and_one_with_an_end_is_closed_then() {
    let ends = r#"{"sub": "alice", "exp": 1800001060}"#;
    for (body, seconds, is_closed) in [(ALICE, 86_400 * 365, false), (ends, 59, false), (ends, 61, true)] {
        let liveness =
            json!({"ping_interval": null, "idle_timeout": null, "message_timeout": null, "max_lifetime": null});
        let mut world = world("closed", &json!({"liveness": liveness}));
        let (mut gate, _, effects) = ask_as(&mut world, "a");
        reply(&world, only(&effects), http(200, body));
        assert_eq!(go_on(&mut gate), IN);
        assert_eq!(respond(&mut gate).0, Flow::Forward);
        world.elapse(Duration::from_secs(seconds));
        let (_, effects) = run(|effects| gate.tick(effects));
        let refused = count_of(&effects, &Metric::Refused(Violation::CredentialExpired));
        assert_eq!(refused, i64::from(is_closed), "{body} {seconds}");
    }
}

#[test]
fn no_line_and_no_debug_has_a_credential() {
    let mut world = World::new(&introspecting("/introspect"));
    let (mut gate, _, effects) = ask(&mut world, "authorization", "Bearer hunter2");
    let mut printed = format!("{gate:?} {effects:?} {:?}", world.plugin);
    let (_, lines) = reply(&world, only(&effects), http(500, "hunter2"));
    let (_, effects) = run(|effects| gate.answered(Answer::Shared, effects));
    printed.push_str(&format!("{lines:?} {effects:?} {gate:?} {:?}", world.plugin));
    for secret in ["hunter2", "gw-secret", "Z3c6Z3ctc2VjcmV0"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
