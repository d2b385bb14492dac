//! Handshakes whose provider publishes its keys: they wait for a fetch, together, and never for long.

use std::collections::BTreeMap;

use super::*;
use crate::ask::{HttpResponse, Inquiry};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};

/// The public halves of two Ed25519 keys, whose seeds are 32 times their number.
pub(super) fn key_set(numbers: &[u8]) -> Vec<u8> {
    let keys: Vec<Value> = numbers
        .iter()
        .map(|number| json!({"kty": "OKP", "crv": "Ed25519", "kid": number.to_string(), "x": PUBLIC[usize::from(*number)]}))
        .collect();
    json!({"keys": keys}).to_string().into_bytes()
}

/// By RFC 8032 §5.1.5, of the seeds of 32 bytes 0, 1 and 2.
const PUBLIC: [&str; 3] = [
    "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik",
    "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w",
    "gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q",
];

pub(super) fn token(number: u8, sub: &str) -> String {
    let header = json!({"alg": "EdDSA", "kid": number.to_string()}).to_string();
    let claims = json!({"iss": "https://idp.example/", "sub": sub, "exp": testing::NOW + 1_000_000_000}).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let der = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &[number; 32]].concat();
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_ed_der(&der), Algorithm::EdDSA).unwrap();
    format!("{signed}.{signature}")
}

fn world(jwks: &Value, fail: &str) -> World {
    World::new(&json!({
        "fail": fail,
        "auth": {"required": true, "providers": [{
            "name": "idp", "issuer": "https://idp.example/", "algorithms": ["EdDSA"], "jwks": jwks,
        }]},
        "limits": {"per_address": {"connections": null, "handshakes": null, "failures": null}},
    }))
}

pub(super) fn by_url() -> Value {
    json!({"cluster": "idp", "url": "https://idp.example/keys"})
}

/// What is asked for with a tick.
pub(super) fn due(world: &World) -> Vec<Ask> {
    world.plugin.tick(world.now()).asks
}

/// The inquiry of the one request among `asks`, and its path.
#[track_caller]
pub(super) fn only(asks: &[Ask]) -> (Inquiry, String) {
    let [Ask { question: Question::Http(request), asker: Asker::Inquiry(inquiry) }] = asks else { panic!("{asks:?}") };
    assert_eq!(&*request.cluster, "idp");
    let path = request.fields.iter().find(|(name, _)| *name == ":path").unwrap();
    (*inquiry, path.1.clone())
}

pub(super) fn asks(effects: &[Effect]) -> Vec<Ask> {
    effects.iter().filter_map(|effect| if let Effect::Ask(ask) = effect { Some(ask.clone()) } else { None }).collect()
}

/// A handshake with `token`.
fn ask(world: &mut World, token: &str) -> (Gate, Flow, Vec<Effect>) {
    let mut gate = world.stream();
    let bearer = format!("Bearer {token}");
    let mut head = testing::upgrade();
    head.push(("authorization", &bearer));
    let request =
        Request { peer: Peer::new(b"203.0.113.7:50000".to_vec()), ..testing::request(testing::headers(&head)) };
    let arrival = Arrival {
        request: Ok(request),
        listener: b"listener".to_vec(),
        connection: world.streams.into(),
        bindings: Bindings::default(),
    };
    let (flow, effects) = run(|effects| gate.request(arrival, effects));
    (gate, flow, effects)
}

/// The answer to a request: the streams that go on, and what is asked next.
pub(super) fn reply(world: &World, inquiry: Inquiry, status: u16, body: &[u8]) -> (Vec<u32>, Vec<Ask>) {
    let response = HttpResponse { status, body: body.to_vec(), ..HttpResponse::default() };
    let answered = world.plugin.worker().answered(Asker::Inquiry(inquiry), Answer::Http(response));
    (answered.streams.into_iter().map(|(stream, _)| stream).collect(), answered.asks)
}

fn go_on(gate: &mut Gate) -> (Flow, Option<u16>) {
    let (flow, effects) = run(|effects| gate.answered(Answer::Shared, effects));
    (flow, status(&effects))
}

#[test]
fn handshakes_wait_together_for_the_first_set() {
    let mut world = world(&by_url(), "closed");
    let (inquiry, path) = only(&due(&world));
    assert_eq!(path, "/keys");
    let (mut alice, flow, effects) = ask(&mut world, &token(1, "alice"));
    assert_eq!((flow, asks(&effects)), (Flow::Wait, vec![]));
    let (mut mallory, flow, _) = ask(&mut world, &token(2, "mallory"));
    assert_eq!(flow, Flow::Wait);
    assert!(!world.plugin.worker().held().is_empty());
    let (streams, next) = reply(&world, inquiry, 200, &key_set(&[1]));
    assert_eq!((streams, next), (vec![1, 2], vec![]));
    assert_eq!(go_on(&mut alice), (Flow::Forward, None));
    // The other one names a key that the set has not: it is fetched once more, for all.
    let (flow, effects) = run(|effects| mallory.answered(Answer::Shared, effects));
    assert_eq!(flow, Flow::Wait);
    let (inquiry, _) = only(&asks(&effects));
    assert_eq!(reply(&world, inquiry, 200, &key_set(&[1])).0, [2]);
    assert_eq!(go_on(&mut mallory), (Flow::Hold, Some(401)));
    assert!(world.plugin.worker().held().is_empty());
    // What is known is not asked for again.
    let (_, flow, effects) = ask(&mut world, &token(1, "bob"));
    assert_eq!((flow, asks(&effects)), (Flow::Forward, vec![]));
}

#[test]
fn a_new_key_is_found_by_the_first_token_that_names_it() {
    let mut world = world(&by_url(), "closed");
    let (inquiry, _) = only(&due(&world));
    let _ = reply(&world, inquiry, 200, &key_set(&[1]));
    let (mut first, flow, effects) = ask(&mut world, &token(2, "alice"));
    assert_eq!(flow, Flow::Wait);
    let (inquiry, _) = only(&asks(&effects));
    let (mut second, flow, effects) = ask(&mut world, &token(2, "bob"));
    assert_eq!((flow, asks(&effects)), (Flow::Wait, vec![]));
    assert_eq!(reply(&world, inquiry, 200, &key_set(&[2])).0, [1, 2]);
    assert_eq!(go_on(&mut first), (Flow::Forward, None));
    assert_eq!(go_on(&mut second), (Flow::Forward, None));
    // The old key is gone, and so is what was good by it.
    let (mut old, flow, effects) = ask(&mut world, &token(1, "carol"));
    assert_eq!((flow, asks(&effects)), (Flow::Wait, vec![]));
    world.port.now.set(world.now().saturating_add(Duration::from_secs(1)).as_nanos());
    assert_eq!(due(&world), []);
    world.port.now.set(world.now().saturating_add(Duration::from_secs(1)).as_nanos());
    let (inquiry, _) = only(&due(&world));
    assert_eq!(reply(&world, inquiry, 200, &key_set(&[2])).0, [3]);
    assert_eq!(go_on(&mut old), (Flow::Hold, Some(401)));
}

/// Made-up keys have a set fetched once in two seconds, and no token refused whose key is new.
#[test]
fn a_new_key_is_found_amid_a_flood_of_keys_that_are_none() {
    let mut world = world(&by_url(), "closed");
    let (inquiry, _) = only(&due(&world));
    let _ = reply(&world, inquiry, 200, &key_set(&[1]));
    let (mut waiting, mut open) = (BTreeMap::new(), Vec::new());
    let (mut honest, mut fetches) = (vec![], 0);
    // Ten seconds, in steps of 100 ms, which is how long an answer takes. The new key is published after three.
    for step in 0..100 {
        let answers: Vec<Inquiry> = core::mem::take(&mut open);
        for inquiry in answers {
            fetches += 1;
            for stream in reply(&world, inquiry, 200, &key_set(if step < 30 { &[1] } else { &[1, 2] })).0 {
                let (mut gate, number): (Gate, u8) = waiting.remove(&stream).unwrap();
                let (flow, effects) = run(|effects| gate.answered(Answer::Shared, effects));
                open.extend(asks(&effects).iter().map(|ask| only(core::slice::from_ref(ask)).0));
                match (flow, number) {
                    (Flow::Wait, _) => drop(waiting.insert(stream, (gate, number))),
                    (flow, 2) => honest.push((flow, status(&effects))),
                    (flow, _) => assert_eq!((flow, status(&effects)), (Flow::Hold, Some(401))),
                }
            }
        }
        for number in if (31..60).contains(&step) { &[0, 2][..] } else { &[0] } {
            let (gate, flow, effects) = ask(&mut world, &token(*number, "somebody"));
            open.extend(asks(&effects).iter().map(|ask| only(core::slice::from_ref(ask)).0));
            match flow {
                Flow::Wait => drop(waiting.insert(world.streams, (gate, *number))),
                flow => honest.extend((*number == 2).then_some((flow, status(&effects)))),
            }
        }
        world.port.now.set(world.now().saturating_add(Duration::from_millis(100)).as_nanos());
        open.extend(due(&world).iter().map(|ask| only(core::slice::from_ref(ask)).0));
    }
    assert_eq!(honest, [(Flow::Forward, None); 29]);
    assert!((3..=6).contains(&fetches), "{fetches}");
}

#[test]
fn a_provider_that_does_not_answer_is_a_fault_until_it_does() {
    for (fail, expected) in [("closed", (Flow::Hold, Some(500))), ("open", (Flow::Forward, None))] {
        let mut world = world(&by_url(), fail);
        let (inquiry, _) = only(&due(&world));
        let (mut gate, flow, _) = ask(&mut world, &token(1, "alice"));
        assert_eq!(flow, Flow::Wait);
        let answered = world.plugin.worker().answered(Asker::Inquiry(inquiry), Answer::None);
        assert_eq!(answered.lines, ["no keys from cluster idp: no answer, or one that is too long"]);
        assert_eq!(go_on(&mut gate), expected);
        // Within the second before it is asked again nobody waits.
        let (_, flow, effects) = ask(&mut world, &token(1, "alice"));
        assert_eq!((flow, status(&effects)), expected);
        world.elapse(Duration::from_secs(2));
        let (mut gate, flow, _) = ask(&mut world, &token(1, "alice"));
        assert_eq!(flow, Flow::Wait);
        let inquiry = Inquiry(1);
        assert_eq!(reply(&world, inquiry, 200, &key_set(&[1])).0.len(), 1);
        assert_eq!(go_on(&mut gate), (Flow::Forward, None));
    }
}

#[test]
fn keys_that_were_good_stay_while_the_provider_is_down_and_over_a_reload() {
    let mut world = world(&by_url(), "closed");
    let (inquiry, _) = only(&due(&world));
    let _ = reply(&world, inquiry, 200, &key_set(&[1]));
    for status in [500, 302, 200] {
        world.port.now.set(world.now().saturating_add(Duration::from_secs(600)).as_nanos());
        let (inquiry, _) = only(&due(&world));
        let _ = reply(&world, inquiry, status, b"<html>");
        assert_eq!(ask(&mut world, &token(1, "alice")).1, Flow::Forward, "{status}");
    }
    world.configure(&json!({"auth": {"required": true, "providers": [
        {"name": "other", "issuer": "https://idp.example/", "algorithms": ["EdDSA"], "jwks": by_url()},
    ]}}));
    assert_eq!(ask(&mut world, &token(1, "alice")).1, Flow::Forward);
    // A set that no policy names is forgotten.
    world.configure(&json!({"auth": {"required": false}}));
    world.elapse(Duration::from_secs(600));
    world.plugin.worker().identity.tick(world.now());
    assert_eq!(world.plugin.worker().identity.take_asks(), []);
}

/// Its number is not another's, whose keys it would bring.
#[test]
fn an_answer_for_a_set_that_is_gone_is_nobodys() {
    let mut world = world(&by_url(), "closed");
    let (late, _) = only(&due(&world));
    world.configure(&json!({"auth": {"required": false}}));
    world.elapse(Duration::from_secs(2));
    world.configure(&json!({"auth": {"required": true, "providers": [{
        "name": "idp", "issuer": "https://idp.example/", "algorithms": ["EdDSA"],
        "jwks": {"cluster": "idp", "url": "https://other.example/other"},
    }]}}));
    let (own, path) = only(&due(&world));
    assert_eq!(path, "/other");
    assert_ne!(own, late);
    let (mut gate, flow, _) = ask(&mut world, &token(1, "alice"));
    assert_eq!(flow, Flow::Wait);
    assert_eq!(reply(&world, late, 200, &key_set(&[1])).0, Vec::<u32>::new());
    assert_eq!(reply(&world, own, 200, &key_set(&[2])).0.len(), 1);
    assert_ne!(go_on(&mut gate).0, Flow::Forward);
}

#[test]
fn an_issuer_says_where_its_keys_are() {
    let mut world = world(&json!({"cluster": "idp"}), "closed");
    let (inquiry, path) = only(&due(&world));
    assert_eq!(path, "/.well-known/openid-configuration");
    let (mut gate, flow, _) = ask(&mut world, &token(1, "alice"));
    assert_eq!(flow, Flow::Wait);
    let metadata = json!({"issuer": "https://idp.example/", "jwks_uri": "https://idp.example/published"});
    let (streams, next) = reply(&world, inquiry, 200, metadata.to_string().as_bytes());
    assert_eq!(streams, Vec::<u32>::new());
    let (second, path) = only(&next);
    assert_eq!((second, &*path), (inquiry, "/published"));
    assert_eq!(reply(&world, inquiry, 200, &key_set(&[1])).0, [1]);
    assert_eq!(go_on(&mut gate), (Flow::Forward, None));
}

#[test]
fn a_client_that_leaves_waits_no_more() {
    let mut world = world(&by_url(), "closed");
    let (inquiry, _) = only(&due(&world));
    let (mut gate, flow, _) = ask(&mut world, &token(1, "alice"));
    assert_eq!(flow, Flow::Wait);
    gate.end(&mut Effects::default());
    assert!(world.plugin.worker().held().is_empty());
    let _ = reply(&world, inquiry, 200, &key_set(&[1]));
    assert_eq!(go_on(&mut gate), (Flow::Hold, None));
}

#[test]
fn no_more_wait_than_there_is_room_for() {
    let mut world = world(&by_url(), "closed");
    let _ = due(&world);
    let long = token(1, &"a".repeat(6_000));
    world.configure(&json!({
        "auth": {"required": true, "providers": [
            {"name": "idp", "issuer": "https://idp.example/", "algorithms": ["EdDSA"], "jwks": by_url()},
        ]},
        "limits": {"per_address": {"connections": null, "handshakes": null, "failures": null}, "held_bytes": 4_000_000},
    }));
    let gates: Vec<_> = (0..400).map(|_| ask(&mut world, &long)).collect();
    let waiting = gates.iter().filter(|(_, flow, _)| *flow == Flow::Wait).count();
    let refused = gates.iter().filter(|(_, _, effects)| status(effects) == Some(503)).count();
    assert!(waiting > 100 && refused > 0 && waiting + refused == 400, "{waiting} {refused}");
    assert!(world.plugin.worker().held().len() <= 2_000_000 + 10_000);
}

#[test]
fn a_token_that_ends_while_it_waits_has_ended() {
    let mut world = world(&by_url(), "closed");
    let (inquiry, _) = only(&due(&world));
    let (mut gate, flow, _) = ask(&mut world, &token(1, "alice"));
    assert_eq!(flow, Flow::Wait);
    world.port.ahead.set(Duration::from_secs(2_000_000_000));
    let _ = reply(&world, inquiry, 200, &key_set(&[1]));
    assert_eq!(go_on(&mut gate), (Flow::Hold, Some(401)));
}
