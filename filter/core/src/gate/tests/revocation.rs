//! Credentials that end before their time: handshakes that bring them, connections that came with them, and logouts that are posted.

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::*;
use crate::ask::{HttpRequest, HttpResponse, Inquiry as Number};
use crate::testing::NOW;

const SECRET: &str = "an HMAC secret of more than 32 bytes";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn policy(auth: &Value, change: &Value) -> Value {
    let provider = json!({
        "name": "idp", "issuer": "https://idp/", "audiences": ["chat"], "algorithms": ["HS256"],
        "jwks": {"secret": {"inline": SECRET}},
    });
    let mut all = json!({"required": true, "providers": [provider]});
    all.as_object_mut().unwrap().extend(auth.as_object().unwrap().clone());
    let limits = json!({
        "per_address": {"connections": null, "handshakes": null, "failures": null},
        "per_subject": {"connections": null}, "connections": 20_000,
    });
    let liveness = json!({"ping_interval": null, "idle_timeout": null, "message_timeout": null, "max_lifetime": null});
    let mut policy = json!({"auth": all, "liveness": liveness, "limits": limits});
    policy.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    policy
}

fn by_feed() -> Value {
    policy(&json!({"revocation": {"cluster": "idp", "path": "/revoked.json"}}), &json!({}))
}

fn by_logout(change: &Value) -> Value {
    policy(&json!({"back_channel_logout": {"path": "/out", "provider": "idp"}}), change)
}

/// What the calendar of a world says, in seconds.
fn date(world: &World) -> u64 {
    NOW + world.port.now.get() / 1_000_000_000
}

fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// A token of one who came so many seconds ago.
fn token(world: &World, sub: &str, sid: &str, ago: u64) -> String {
    let now = date(world);
    sign(&json!({
        "iss": "https://idp/", "aud": "chat", "sub": sub, "sid": sid, "jti": format!("{sub}-{sid}"),
        "iat": now - ago, "exp": now + 100_000,
    }))
}

fn logout_token(world: &World, jti: &str, change: &Value) -> String {
    let now = date(world);
    let mut claims = json!({
        "iss": "https://idp/", "aud": "chat", "iat": now, "exp": now + 120, "jti": jti, "events": {EVENT: {}},
    });
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    sign(&claims)
}

/// A handshake with a token.
fn ask(world: &mut World, token: &str) -> (Gate, Flow, Vec<Effect>) {
    let mut gate = world.stream();
    let mut arrival = world.arrival();
    let bearer = format!("Bearer {token}");
    let fields = [testing::upgrade(), vec![("authorization", &*bearer)]].concat();
    arrival.request = arrival.request.map(|request| Request { headers: testing::headers(&fields), ..request });
    let (flow, effects) = run(|effects| gate.request(arrival, effects));
    (gate, flow, effects)
}

fn outcome(world: &mut World, token: &str) -> (Flow, Option<u16>) {
    let (_, flow, effects) = ask(world, token);
    (flow, status(&effects))
}

const LET_IN: (Flow, Option<u16>) = (Flow::Forward, None);
const REFUSED: (Flow, Option<u16>) = (Flow::Hold, Some(401));

/// A connection of a token.
fn connect(world: &mut World, token: &str) -> Gate {
    let (mut gate, flow, _) = ask(world, token);
    assert_eq!(flow, Flow::Forward);
    assert_eq!(respond(&mut gate).0, Flow::Forward);
    gate
}

/// A POST of `body` to the path of logouts; `fields` in place of its own, or beside them.
fn post(world: &mut World, fields: &[(&'static str, &'static str)], body: &[u8]) -> (Gate, Flow, Vec<Effect>) {
    let mut head = vec![
        (":method", "POST"),
        (":path", "/out"),
        (":authority", "chat.example.com"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    head.retain(|(name, _)| !fields.iter().any(|(other, _)| other == name));
    head.extend(fields.iter().filter(|(_, value)| !value.is_empty()));
    let mut gate = world.stream();
    let mut arrival = world.arrival();
    arrival.request = arrival.request.map(|request| Request { headers: testing::headers(&head), ..request });
    let (flow, mut effects) = run(|effects| gate.request(arrival, effects));
    if status(&effects).is_some() {
        return (gate, flow, effects);
    }
    assert_eq!(flow, Flow::Hold);
    let mut onward = Onward::Nothing;
    for (index, part) in body.chunks(1_000).enumerate() {
        let end = (index + 1) * 1_000 >= body.len();
        let (next, more) = run(|effects| gate.body(Client, &part, end, effects));
        assert_eq!(next, if end || status(&more).is_some() { Onward::Nothing } else { Onward::Kept });
        (onward, effects) = (next, more);
        if status(&effects).is_some() {
            break;
        }
    }
    assert_eq!(onward, Onward::Nothing);
    (gate, Flow::Hold, effects)
}

fn log_out(world: &mut World, token: &str) -> Option<u16> {
    status(&post(world, &[], format!("logout_token={token}").as_bytes()).2)
}

/// Ticks a worker for so long, and those of its streams that it says. Gives what was written to each.
fn pass(world: &World, gates: &mut [&mut Gate], millis: u64) -> Vec<Vec<u8>> {
    let mut wakes: Vec<(usize, Moment)> = vec![];
    let mut written = vec![vec![]; gates.len()];
    for _ in 0..millis / 100 {
        world.port.now.set(world.now().saturating_add(Duration::from_millis(100)).as_nanos());
        let ticked = world.plugin.tick(world.now());
        for (index, gate) in gates.iter_mut().enumerate() {
            let mut effects = Effects::new(ClientWriter::Open);
            if ticked.is_review_due {
                gate.review(&mut effects);
            }
            if wakes.iter().any(|(own, at)| *own == index && *at <= world.now()) {
                wakes.retain(|(own, at)| *own != index || *at > world.now());
                gate.tick(&mut effects);
            }
            for effect in effects.list {
                match effect {
                    Effect::WakeAt(at) => wakes.push((index, at)),
                    Effect::Write(bytes) => written[index].extend(bytes),
                    _ => {}
                }
            }
        }
    }
    written
}

/// A Close of 3000 `credential_revoked`.
fn is_revoked(written: &[u8]) -> bool {
    written.ends_with(b"credential_revoked") && written.get(2..4) == Some(&3_000_u16.to_be_bytes()[..])
}

fn only(asks: &[Ask]) -> (Number, HttpRequest) {
    let [Ask { question: Question::Http(request), asker: Asker::Inquiry(inquiry) }] = asks else { panic!("{asks:?}") };
    (*inquiry, request.clone())
}

/// The streams that go on with the answer.
fn reply(world: &World, inquiry: Number, status: u16, body: &str) -> usize {
    let response = HttpResponse { status, body: body.into(), ..HttpResponse::default() };
    world.plugin.worker().answered(Asker::Inquiry(inquiry), Answer::Http(response)).streams.len()
}

/// The list of a world is fetched, and is `body`.
fn publish(world: &World, body: &str) {
    let asks = (0..200).find_map(|_| {
        world.port.now.set(world.now().saturating_add(Duration::from_millis(100)).as_nanos());
        let asks = world.plugin.tick(world.now()).asks;
        (!asks.is_empty()).then_some(asks)
    });
    reply(world, only(&asks.unwrap()).0, 200, body);
}

#[test]
fn a_handshake_with_a_listed_credential_is_refused() {
    let mut world = World::new(&by_feed());
    publish(&world, r#"{"sub": ["alice"], "sid": ["s2"], "jti": ["carol-s3"]}"#);
    for (sub, sid, expected) in [
        ("alice", "s1", REFUSED),
        ("bob", "s2", REFUSED),
        ("carol", "s3", REFUSED),
        ("carol", "s4", LET_IN),
        ("s2", "alice", LET_IN),
    ] {
        let token = token(&world, sub, sid, 10);
        // At first sight, and where it is known from before.
        assert_eq!([outcome(&mut world, &token), outcome(&mut world, &token)], [expected; 2], "{sub} {sid}");
    }
    publish(&world, r#"{"sub": []}"#);
    let token = token(&world, "alice", "s1", 10);
    assert_eq!(outcome(&mut world, &token), LET_IN);
}

#[test]
fn before_the_first_list_handshakes_wait_and_then_fail_as_the_policy_says() {
    for (fail, expected) in [("closed", (Flow::Hold, Some(500))), ("open", LET_IN)] {
        let mut world = World::new(&by_feed());
        world.configure(&policy(&json!({"revocation": {"cluster": "idp", "path": "/r"}}), &json!({"fail": fail})));
        let alice = token(&world, "alice", "s", 10);
        let (mut gate, flow, effects) = ask(&mut world, &alice);
        assert_eq!(flow, Flow::Wait);
        let asks =
            effects.into_iter().filter_map(|effect| if let Effect::Ask(ask) = effect { Some(ask) } else { None });
        let (inquiry, _) = only(&asks.collect::<Vec<_>>());
        assert_eq!(reply(&world, inquiry, 503, ""), 1);
        let (flow, effects) = run(|effects| gate.answered(Answer::Shared, effects));
        assert_eq!((flow, status(&effects)), expected);
        // Until it is asked again nobody waits.
        assert_eq!(outcome(&mut world, &alice), expected);
        if fail == "open" {
            respond(&mut gate);
            publish(&world, r#"{"sub": ["alice"]}"#);
            assert!(is_revoked(&pass(&world, &mut [&mut gate], 1_000)[0]), "it is known who that is");
        }
    }
}

#[test]
fn a_list_ends_the_connections_that_it_names_and_no_others() {
    let mut world = World::new(&by_feed());
    publish(&world, r#"{"sub": ["mallory"]}"#);
    let tokens = [("alice", "s1"), ("alice", "s2"), ("bob", "s3")].map(|(sub, sid)| token(&world, sub, sid, 10));
    let [mut one, mut two, mut bob] = tokens.map(|token| connect(&mut world, &token));
    assert_eq!(pass(&world, &mut [&mut one, &mut two, &mut bob], 2_000).concat(), b"");
    publish(&world, r#"{"sub": ["mallory"], "sid": ["s1"]}"#);
    let written = pass(&world, &mut [&mut one, &mut two, &mut bob], 1_000);
    assert_eq!(written.iter().map(|bytes| is_revoked(bytes)).collect::<Vec<_>>(), [true, false, false]);
    publish(&world, r#"{"jti": ["bob-s3"]}"#);
    let written = pass(&world, &mut [&mut two, &mut bob], 1_000);
    assert_eq!(written.iter().map(|bytes| is_revoked(bytes)).collect::<Vec<_>>(), [false, true]);
}

/// The client's next bytes may come before its review.
#[test]
fn nothing_of_a_revoked_client_goes_on() {
    let mut world = World::new(&by_feed());
    publish(&world, r#"{"sub": []}"#);
    let alice = token(&world, "alice", "s", 10);
    let mut gate = connect(&mut world, &alice);
    let hello = frame(0x81, b"hello");
    let (onward, _) = run(|effects| gate.body(Client, &&hello[..], false, effects));
    assert!(matches!(onward, Onward::All | Onward::Part(Passage { keep: 11, .. })), "{onward:?}");
    publish(&world, r#"{"sub": ["alice"]}"#);
    let (onward, effects) = run(|effects| gate.body(Client, &&hello[..], false, effects));
    let Onward::Part(Passage { before, keep: 0, .. }) = onward else { panic!("{onward:?}") };
    assert!(before.is_empty());
    assert_eq!(count_of(&effects, &Metric::Refused(Violation::CredentialRevoked)), 1);
}

#[test]
fn one_that_is_revoked_while_the_upstream_answers_does_not_stay() {
    let mut world = World::new(&by_logout(&json!({})));
    let alice = token(&world, "alice", "s", 10);
    let (mut gate, flow, _) = ask(&mut world, &alice);
    assert_eq!(flow, Flow::Forward);
    let token = logout_token(&world, "j1", &json!({"sub": "alice"}));
    assert_eq!(log_out(&mut world, &token), Some(200));
    let (_, effects) = respond(&mut gate);
    assert_eq!(count_of(&effects, &Metric::Refused(Violation::CredentialRevoked)), 1);
}

#[test]
fn monitor_mode_tells_once_and_lets_it_stay() {
    let feed = json!({"revocation": {"cluster": "idp", "path": "/r"}});
    let mut world = World::new(&policy(&feed, &json!({"mode": "monitor"})));
    publish(&world, r#"{"sub": []}"#);
    let alice = token(&world, "alice", "s", 10);
    let mut gate = connect(&mut world, &alice);
    let mut told = 0;
    for list in [r#"{"sub": ["alice"]}"#, r#"{"sub": ["alice", "bob"]}"#] {
        publish(&world, list);
        let (_, effects) = run(|effects| gate.body(Client, &&frame(0x81, b"hello")[..], false, effects));
        told += count_of(&effects, &Metric::WouldRefuse(Violation::CredentialRevoked));
    }
    assert_eq!(told, 1);
    let (_, flow, effects) = ask(&mut world, &alice);
    assert_eq!((flow, count_of(&effects, &Metric::WouldRefuse(Violation::CredentialRevoked))), (Flow::Forward, 1));
    // A policy that enforces ends it.
    world.configure(&policy(&feed, &json!({})));
    let written = pass(&world, &mut [&mut gate], 3_000);
    assert!(is_revoked(&written[0]), "{written:?}");
}

#[test]
fn a_logout_ends_the_sessions_of_its_user_on_every_worker() {
    let mut world = World::new(&by_logout(&json!({})));
    let mut other = World { port: Rc::new(world.port.beside()), ..World::new(&by_logout(&json!({}))) };
    other.plugin = Rc::new(Plugin::new(Rc::new(Worker::new(other.port.clone()))));
    other.configure(&by_logout(&json!({})));
    let tokens = [("alice", "s1"), ("alice", "s2"), ("bob", "s3")].map(|(sub, sid)| token(&world, sub, sid, 10));
    let mut here = tokens.clone().map(|token| connect(&mut world, &token));
    let mut there = tokens.clone().map(|token| connect(&mut other, &token));
    let token = logout_token(&world, "j1", &json!({"sub": "alice", "sid": "s1"}));
    assert_eq!(log_out(&mut world, &token), Some(200));
    assert_eq!(log_out(&mut other, &token), Some(400), "it counts once, wherever it is posted");
    let revoked = |world: &World, gates: &mut [Gate; 3]| {
        let written = pass(world, &mut gates.each_mut(), 1_000);
        written.iter().map(|bytes| is_revoked(bytes)).collect::<Vec<_>>()
    };
    assert_eq!(revoked(&world, &mut here), [true, false, false]);
    assert_eq!(revoked(&other, &mut there), [true, false, false]);
    assert_eq!(outcome(&mut other, &tokens[0]), REFUSED);
    assert_eq!(outcome(&mut other, &tokens[1]), LET_IN);
    // All of a user, and whoever has logged in again since.
    let token = logout_token(&other, "j2", &json!({"sub": "alice"}));
    assert_eq!(log_out(&mut other, &token), Some(200));
    assert_eq!(outcome(&mut other, &tokens[1]), REFUSED);
    assert_eq!(revoked(&world, &mut here), [false, true, false]);
    world.elapse(Duration::from_secs(2));
    let again = self::token(&world, "alice", "s4", 0);
    assert_eq!([outcome(&mut world, &again), outcome(&mut other, &again)], [LET_IN; 2]);
}

#[test]
fn the_endpoint_takes_forms_of_a_provider_and_nothing_else() {
    let mut world = World::new(&by_logout(&json!({})));
    let good = |world: &World, jti: &str| format!("logout_token={}", logout_token(world, jti, &json!({"sub": "a"})));
    for (fields, expected) in [
        (&[][..], 200),
        (&[("content-type", "Application/X-WWW-Form-Urlencoded; charset=utf-8")], 200),
        (&[("origin", "https://evil.example"), ("cookie", "a=b")], 200),
        (&[(":path", "/out?a=b")], 200),
        (&[(":path", "/o%75t")], 400),
        (&[(":method", "GET")], 405),
        (&[(":method", "OPTIONS"), ("origin", "https://a"), ("access-control-request-method", "POST")], 405),
        (&[(":method", "GET"), ("upgrade", "websocket"), ("connection", "upgrade")], 405),
        (&[("content-type", "application/json")], 400),
        (&[("content-type", "")], 400),
        (&[(":authority", "a b")], 400),
    ] {
        let jti = format!("{fields:?}");
        let body = good(&world, &jti);
        let is_ours = fields != [(":path", "/o%75t")];
        if is_ours {
            let (_, _, effects) = post(&mut world, fields, body.as_bytes());
            assert_eq!(status(&effects), Some(expected), "{fields:?}");
            let Some(Effect::Reply(reply)) = effects.last() else { panic!("no reply") };
            let field = |name: &str| reply.fields.iter().any(|(own, _)| *own == name);
            assert!(fields.iter().any(|(name, _)| *name == ":authority") || field("cache-control"), "{reply:?}");
            assert_eq!(field("allow"), expected == 405);
        }
    }
    for body in [
        "",
        "logout_token=",
        "logout_token=a.b.c",
        "token=a",
        &format!("{0}&{0}", good(&world, "twice")),
        &format!("{}&x={}", good(&world, "long"), "a".repeat(65_536)),
    ] {
        // An empty body ends with the head.
        if body.is_empty() {
            continue;
        }
        let (mut gate, _, effects) = post(&mut world, &[], body.as_bytes());
        assert_eq!(status(&effects), Some(400), "{}", body.len());
        assert_eq!(run(|effects| gate.body(Client, &&b"more"[..], true, effects)).0, Onward::Nothing);
    }
    let counts = world.plugin.tick(world.now()).counts;
    assert_eq!(counts.iter().filter(|counted| **counted == (Metric::Logouts(true), 1)).count(), 4);
}

#[test]
fn the_endpoint_keeps_to_tls_hosts_and_rates() {
    let strict = json!({"require_tls": true});
    let rate = json!({"limits": {"per_address": {
        "connections": null, "handshakes": {"per_second": 1, "burst": 2}, "failures": null,
    }}});
    for (change, posts, expected) in [
        (&strict, 1, 403),
        (&json!({"hosts": ["other.example"]}), 1, 421),
        (&json!({"hosts": ["chat.example.com"]}), 1, 200),
        (&rate, 3, 429),
        (&json!({"mode": "monitor", "require_tls": true}), 1, 200),
    ] {
        let mut world = World::new(&by_logout(change));
        let statuses: Vec<_> = (0..posts)
            .map(|jti| {
                let token = logout_token(&world, &jti.to_string(), &json!({"sub": "a"}));
                log_out(&mut world, &token)
            })
            .collect();
        assert_eq!(statuses.last(), Some(&Some(expected)), "{change}");
    }
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let mut world = World::new(&by_logout(&json!({"fail": "open"})));
    let head = [
        (":method", "POST"),
        (":path", "/out"),
        (":authority", "chat.example.com"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let start = |world: &mut World| {
        let mut gate = world.stream();
        let mut arrival = world.arrival();
        arrival.request = arrival.request.map(|request| Request { headers: testing::headers(&head), ..request });
        let (flow, effects) = run(|effects| gate.request(arrival, effects));
        (gate, flow, effects)
    };
    let (mut gate, flow, effects) = start(&mut world);
    let Some(Effect::WakeAt(at)) = effects.first() else { panic!("{effects:?}") };
    assert_eq!((flow, at.since(world.now())), (Flow::Hold, Duration::from_secs(10)));
    world.elapse(Duration::from_secs(9));
    assert_eq!(status(&run(|effects| gate.tick(effects)).1), None);
    world.elapse(Duration::from_secs(1));
    assert_eq!(status(&run(|effects| gate.tick(effects)).1), Some(400));
    // Nor does it go on where the host fails, whatever the policy says of faults.
    let (mut gate, _, _) = start(&mut world);
    let (flow, effects) = run(|effects| gate.failed(effects));
    assert_eq!((flow, status(&effects)), (Flow::Hold, Some(500)));
}

#[test]
fn a_logout_is_sent_on_to_the_fleet_once() {
    let logout = json!({"path": "/out", "provider": "idp", "peers": ["one", "two"]});
    let mut world = World::new(&policy(&json!({"back_channel_logout": logout}), &json!({})));
    let token = logout_token(&world, "j1", &json!({"sub": "alice"}));
    let body = format!("logout_token={token}");
    assert_eq!(status(&post(&mut world, &[], body.as_bytes()).2), Some(200));
    let asks = world.plugin.tick(world.now()).asks;
    let requests: Vec<HttpRequest> = asks.iter().map(|ask| only(core::slice::from_ref(ask)).1).collect();
    assert_eq!(requests.iter().map(|request| &*request.cluster).collect::<Vec<_>>(), ["one", "two"]);
    let expected = [
        (":method", "POST"),
        (":authority", "chat.example.com"),
        (":path", "/out"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-portcullis-sent-on", "1"),
    ];
    for request in &requests {
        assert_eq!(request.fields, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(request.body, body.as_bytes());
    }
    // One that was sent on is not sent on again, and one that does not hold goes nowhere.
    let token = logout_token(&world, "j2", &json!({"sub": "alice"}));
    let (_, _, effects) =
        post(&mut world, &[("x-portcullis-sent-on", "1")], format!("logout_token={token}").as_bytes());
    assert_eq!(status(&effects), Some(200));
    assert_eq!(status(&post(&mut world, &[], body.as_bytes()).2), Some(400));
    assert_eq!(world.plugin.tick(world.now()).asks, []);
    for ask in &asks {
        let answered = world.plugin.worker().answered(Asker::Inquiry(only(core::slice::from_ref(ask)).0), Answer::None);
        assert_eq!(answered.lines, Vec::<String>::new());
    }
}

#[test]
fn no_more_bodies_wait_than_there_is_room_for() {
    let limits = json!({
        "per_address": {"connections": null, "handshakes": null, "failures": null}, "held_bytes": 1_000_000,
    });
    let mut world = World::new(&by_logout(&json!({"limits": limits})));
    let head = [
        (":method", "POST"),
        (":path", "/out"),
        (":authority", "chat.example.com"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let mut gates = vec![];
    let mut refused = 0;
    for _ in 0..30 {
        let mut gate = world.stream();
        let mut arrival = world.arrival();
        arrival.request = arrival.request.map(|request| Request { headers: testing::headers(&head), ..request });
        assert_eq!(run(|effects| gate.request(arrival, effects)).0, Flow::Hold);
        let (_, effects) = run(|effects| gate.body(Client, &&[b'a'; 50_000][..], false, effects));
        refused += u32::from(status(&effects).is_some());
        gates.push(gate);
    }
    assert_eq!(refused, 20, "half of what may be held");
    drop(gates);
    assert!(world.plugin.worker().held().is_empty());
}

/// A reload that has logouts come in finds who is there already.
#[test]
fn connections_from_before_a_reload_are_known_after_it() {
    let mut world = World::new(&policy(&json!({}), &json!({})));
    let tokens = ["alice", "bob"].map(|sub| token(&world, sub, "s", 10));
    let [mut alice, mut bob] = tokens.map(|token| connect(&mut world, &token));
    world.configure(&by_logout(&json!({})));
    assert_eq!(pass(&world, &mut [&mut alice, &mut bob], 2_000).concat(), b"");
    let token = logout_token(&world, "j1", &json!({"sub": "alice"}));
    assert_eq!(log_out(&mut world, &token), Some(200));
    let written = pass(&world, &mut [&mut alice, &mut bob], 1_000);
    assert_eq!(written.iter().map(|bytes| is_revoked(bytes)).collect::<Vec<_>>(), [true, false]);
}

/// Ten thousand that are ended at once must leave others their turn.
#[test]
fn ten_thousand_are_ended_in_batches_within_two_seconds() {
    let mut world = World::new(&by_logout(&json!({})));
    let alice = token(&world, "alice", "s", 10);
    let mut gates: BTreeMap<u32, Gate> = BTreeMap::new();
    for _ in 0..10_000 {
        let gate = connect(&mut world, &alice);
        gates.insert(world.streams, gate);
    }
    let token = logout_token(&world, "j1", &json!({"sub": "alice"}));
    assert_eq!(log_out(&mut world, &token), Some(200));
    let (mut millis, mut closed, mut most) = (0, 0, 0);
    while closed < 10_000 && millis < 2_000 {
        let ticked = world.plugin.tick(world.now());
        let mut effects = vec![];
        if ticked.is_review_due {
            for (stream, gate) in &gates {
                effects.extend(run(|effects| gate.review(effects)).1.into_iter().map(|effect| (*stream, effect)));
            }
        }
        most = most.max(ticked.due.len());
        for stream in ticked.due {
            let gate = gates.get_mut(&stream).unwrap();
            effects.extend(run(|effects| gate.tick(effects)).1.into_iter().map(|effect| (stream, effect)));
        }
        for (stream, effect) in effects {
            match effect {
                Effect::WakeAt(at) => world.plugin.schedule(stream, at),
                Effect::Write(bytes) => closed += usize::from(is_revoked(&bytes)),
                _ => {}
            }
        }
        // A tick that is behind takes a millisecond and a half, with what is done in it.
        let next = if ticked.next == Plugin::TICK { 100 } else { 2 };
        millis += next;
        world.port.now.set(world.now().saturating_add(Duration::from_millis(next)).as_nanos());
    }
    assert!(closed == 10_000 && most <= 32, "{closed} {most} {millis}");
}

/// A ticket outlives its credential for seconds: what is revoked meanwhile is refused, and the ticket is not used up by that.
#[test]
fn a_ticket_of_a_credential_that_is_revoked_is_refused() {
    let tickets =
        json!({"path": "/ticket", "keys": [{"inline": "a secret that seals, of more than 32 bytes"}], "ttl": "5m"});
    let auth = json!({"revocation": {"cluster": "idp", "path": "/revoked.json"}, "tickets": tickets});
    let mut world = World::new(&policy(&auth, &json!({"origin": {"missing": "allow"}})));
    publish(&world, r#"{"sub": []}"#);
    let bearer = format!("Bearer {}", token(&world, "alice", "s1", 0));
    let ask = |world: &mut World, head: &[(&str, &str)]| {
        let (mut gate, mut arrival) = (world.stream(), world.arrival());
        arrival.request = arrival.request.map(|request| Request { headers: testing::headers(head), ..request });
        run(|effects| gate.request(arrival, effects))
    };
    let post =
        [(":method", "POST"), (":path", "/ticket"), (":authority", "chat.example.com"), ("authorization", &bearer)];
    let (_, effects) = ask(&mut world, &post);
    let Some(Effect::Reply(reply)) = effects.last() else { panic!("{effects:?}") };
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let target = format!("/chat?ticket={}", body["ticket"].as_str().unwrap());
    let mut head = testing::upgrade();
    head.retain(|(name, _)| *name != ":path");
    head.push((":path", &target));
    for (list, expected) in
        [(r#"{"sub": ["alice"]}"#, REFUSED), (r#"{"sub": []}"#, LET_IN), (r#"{"sub": []}"#, REFUSED)]
    {
        publish(&world, list);
        let (flow, effects) = ask(&mut world, &head);
        assert_eq!((flow, status(&effects)), expected, "{list}");
    }
}
