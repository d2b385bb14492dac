//! Connections whose client says who it is with its first message.

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::*;
use crate::session::CLOSE_TIMEOUT;
use crate::testing::NOW;

const SECRET: &str = "an HMAC secret of more than 32 bytes";

/// A policy whose clients say who they are in the member `token` of their first message.
pub(super) fn policy(changes: &Value) -> Value {
    let provider = json!({"name": "own", "algorithms": ["HS256"], "jwks": {"secret": {"inline": SECRET}}});
    let mut policy = json!({
        "auth": {"required": true, "providers": [provider], "sources": [{"message": "/token"}]},
        "messages": {"from_client": {"json": {}}},
        "liveness": {"ping_interval": null, "idle_timeout": null, "message_timeout": null, "max_lifetime": null},
    });
    for (key, value) in changes.as_object().unwrap() {
        match (&mut policy[key], value) {
            (Value::Object(old), Value::Object(new)) => old.extend(new.clone()),
            (old, new) => *old = new.clone(),
        }
    }
    policy
}

pub(super) fn signed(claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// A good token that ends so many seconds after the calendar's beginning.
pub(super) fn token(sub: &str, seconds: u64) -> String {
    signed(&json!({"sub": sub, "exp": NOW + seconds}), SECRET)
}

pub(super) fn good() -> String {
    token("alice", 1_000_000)
}

pub(super) fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

pub(super) fn auth(token: &str) -> Vec<u8> {
    text(&json!({"type": "auth", "token": token}).to_string())
}

/// A frame of a server.
pub(super) fn said(payload: &str) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    assert!(len < 126);
    [&[0x81, len][..], payload.as_bytes()].concat()
}

/// A connection with what each side was given.
pub(super) struct Live {
    pub(super) gate: Gate,
    pub(super) to_server: Vec<u8>,
    pub(super) to_client: Vec<u8>,
    pub(super) effects: Vec<Effect>,
    wake_at: Option<Moment>,
}

impl Live {
    pub(super) fn connect(world: &mut World) -> Self {
        Self::connect_with(world, &[])
    }

    pub(super) fn connect_with(world: &mut World, fields: &[(&'static str, &str)]) -> Self {
        let mut gate = world.stream();
        let mut arrival = world.arrival();
        let head: Vec<(&str, &str)> = [testing::upgrade(), fields.to_vec()].concat();
        arrival.request = arrival.request.map(|request| Request { headers: testing::headers(&head), ..request });
        let (flow, effects) = run(|effects| gate.request(arrival, effects));
        assert_eq!(flow, Flow::Forward, "{effects:?}");
        let (flow, effects) = respond(&mut gate);
        assert_eq!(flow, Flow::Forward);
        Self::of(gate, effects)
    }

    /// One that is up, with the effects of that.
    fn of(gate: Gate, effects: Vec<Effect>) -> Self {
        let mut live = Self { gate, to_server: vec![], to_client: vec![], effects: vec![], wake_at: None };
        live.note(effects);
        live
    }

    pub(super) fn note(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write(bytes) => self.to_client.extend(bytes),
                Effect::WakeAt(at) => self.wake_at = Some(self.wake_at.map_or(at, |wake_at| wake_at.min(at))),
                effect => self.effects.push(effect),
            }
        }
    }

    pub(super) fn say(&mut self, from: Side, bytes: &[u8]) {
        let mut effects = Effects::new(if from == Client { ClientWriter::Open } else { ClientWriter::Busy });
        let onward = self.gate.body(from, &bytes, false, &mut effects);
        let passed = match onward {
            Onward::All => bytes.to_vec(),
            Onward::Kept => vec![],
            Onward::Nothing => panic!("{:?}", effects.list),
            Onward::Part(Passage { before, keep, after }) => [&before, &bytes[..keep], &after].concat(),
        };
        self.note(effects.list);
        match from {
            Client => self.to_server.extend(passed),
            Server => self.to_client.extend(passed),
        }
    }

    /// Those who wait have their turns.
    pub(super) fn take_turns(&mut self, world: &World) {
        for _ in 0..100 {
            if world.plugin.worker().take_waiting().is_empty() {
                return;
            }
            world.elapse(Duration::from_millis(1));
            let (ready, effects) = run(|effects| self.gate.take_turn(16_384, effects));
            self.to_server.extend(ready.bytes);
            self.note(effects);
        }
        panic!("turns without an end");
    }

    /// Time goes by, a tenth of a second at a time. Gives when it was refused, and for what.
    pub(super) fn elapse(&mut self, world: &World, span: Duration) -> Option<(Duration, Violation)> {
        let step = Duration::from_millis(100);
        for count in 1..=u32::try_from(span.as_millis() / step.as_millis()).unwrap() {
            world.elapse(step);
            if self.wake_at.is_some_and(|at| world.now() >= at) {
                self.wake_at = None;
                let ((), effects) = run(|effects| self.gate.tick(effects));
                self.note(effects);
            }
            if let Some(violation) = self.refused() {
                return Some((step * count, violation));
            }
        }
        None
    }

    pub(super) fn refused(&self) -> Option<Violation> {
        let refused = |violation: &Violation| count_of(&self.effects, &Metric::Refused(*violation)) > 0;
        Violation::ALL.into_iter().find(refused)
    }

    pub(super) fn would_refuse(&self) -> Vec<Violation> {
        let is_noted = |violation: &Violation| count_of(&self.effects, &Metric::WouldRefuse(*violation)) > 0;
        Violation::ALL.into_iter().filter(is_noted).collect()
    }

    /// The code of the Close frame that the client got last.
    pub(super) fn close_code(&self) -> Option<u16> {
        let start = self.to_client.windows(2).rposition(|head| head[0] == 0x88)?;
        self.to_client.get(start + 2..start + 4).map(|code| u16::from_be_bytes([code[0], code[1]]))
    }

    /// Whether nothing but a Close reached the server.
    pub(super) fn is_server_told_nothing(&self) -> bool {
        self.to_server.is_empty() || self.to_server[0] == 0x88
    }
}

#[test]
fn a_client_is_known_by_its_first_message_however_it_is_cut() {
    for forward in [false, true] {
        let (ping, first, rest) = (frame(0x89, b"p"), auth(&good()), text("[1]"));
        let more = text("[2]");
        let bytes = [&*ping, &first, &rest, &more].concat();
        let expected = if forward { bytes.clone() } else { [&*ping, &rest, &more].concat() };
        let mut world = World::new(&policy(&json!({"auth": {"forward": forward}})));
        for cut in 0..=bytes.len() {
            let mut live = Live::connect(&mut world);
            live.say(Server, &said("hello"));
            live.say(Client, &bytes[..cut]);
            assert!(cut >= ping.len() + first.len() || live.to_server.is_empty(), "cut at {cut}");
            live.say(Client, &bytes[cut..]);
            live.take_turns(&world);
            assert_eq!(live.to_server, expected, "cut at {cut}");
            live.say(Server, &said("world"));
            assert_eq!(live.to_client, [said("hello"), said("world")].concat(), "cut at {cut}");
            assert_eq!(live.refused(), None);
            live.say(Client, &rest);
            assert_eq!(live.to_server.len(), expected.len() + rest.len());
        }
    }
}

#[test]
fn nothing_goes_either_way_before_the_first_message_is_whole() {
    let first = auth(&good());
    let mut world = World::new(&policy(&json!({})));
    let mut live = Live::connect(&mut world);
    for byte in &first[..first.len() - 1] {
        live.say(Client, &[*byte]);
        live.say(Server, b"\x81\x01x");
        assert!(live.to_server.is_empty() && live.to_client.is_empty());
    }
    live.say(Client, &first[first.len() - 1..]);
    assert_eq!((live.to_server.len(), live.to_client.len()), (0, 3 * (first.len() - 1)));
}

#[test]
fn a_first_message_that_is_none_closes_the_connection() {
    let expired = token("alice", 0);
    let forged = signed(&json!({"sub": "alice", "exp": NOW + 1_000_000}), "another secret of more than 32 bytes");
    for (first, violation, code) in [
        (auth(&forged), Violation::CredentialInvalid, 3_000),
        (auth("no token"), Violation::CredentialInvalid, 3_000),
        (auth(""), Violation::CredentialInvalid, 3_000),
        (auth(&expired), Violation::CredentialExpired, 3_000),
        (text("{}"), Violation::CredentialMissing, 3_000),
        (text("[]"), Violation::CredentialMissing, 3_000),
        (text(r#"{"token":null}"#), Violation::CredentialMissing, 3_000),
        (text(&json!({"token": [good()]}).to_string()), Violation::CredentialMissing, 3_000),
        (text(&json!({"payload": {"token": good()}}).to_string()), Violation::CredentialMissing, 3_000),
        (text(&json!({"token": good(), "Token": "x"}).to_string()), Violation::JsonRefused, 1_008),
        (text("no JSON"), Violation::InvalidJson, 1_007),
        (frame(0x81, b"\xff"), Violation::InvalidUtf8, 1_007),
        (frame(0x82, good().as_bytes()), Violation::TypeRefused, 1_003),
        (b"\x81\x00".to_vec(), Violation::ProtocolError, 1_002),
        // It goes, and has not said who it is.
        (frame(0x88, b"\x03\xe8"), Violation::CredentialMissing, 3_000),
    ] {
        let mut world = World::new(&policy(&json!({})));
        for cut in 0..=first.len() {
            let mut live = Live::connect(&mut world);
            live.say(Server, &said("secret"));
            live.say(Client, &[&*frame(0x89, b""), &first[..cut]].concat());
            live.say(Client, &[&first[cut..], &*text("[1]")].concat());
            live.say(Server, &said("secret"));
            assert_eq!(live.refused(), Some(violation), "cut at {cut}");
            assert_eq!(live.close_code(), Some(code), "cut at {cut}");
            assert!(live.to_client.starts_with(b"\x88"), "{violation:?} cut at {cut}: {:x?}", live.to_client);
            assert!(live.to_server.starts_with(b"\x88") && live.is_server_told_nothing(), "{violation:?} cut at {cut}");
            assert!(world.plugin.worker().held().is_empty());
        }
    }
}

#[test]
fn a_binary_first_message_brings_nothing() {
    let messages = json!({"from_client": {"json": {}, "binary": "allow"}});
    let mut world = World::new(&policy(&json!({"messages": messages})));
    let mut live = Live::connect(&mut world);
    live.say(Client, &frame(0x82, b"x")[..6]);
    assert_eq!((live.refused(), live.close_code()), (Some(Violation::CredentialMissing), Some(3_000)));
    assert!(live.is_server_told_nothing());
}

#[test]
fn a_first_message_is_there_in_time() {
    for (timeout, expected) in [(json!(null), 5_000), (json!("700ms"), 700)] {
        let mut world = World::new(&policy(&json!({"auth": {"first_message_timeout": timeout}})));
        let mut live = Live::connect(&mut world);
        live.say(Server, &said("secret"));
        let late = auth(&good());
        // All of it but a byte, and that at a mask's width: it keeps nobody waiting.
        live.say(Client, &late[..late.len() - 1]);
        let refused = live.elapse(&world, Duration::from_secs(20));
        assert_eq!(refused, Some((Duration::from_millis(expected), Violation::CredentialMissing)));
        assert_eq!(live.to_client, [&b"\x88\x14\x0b\xb8"[..], b"credential_missing"].concat());
        live.say(Client, &late[late.len() - 1..]);
        live.say(Server, &said("secret"));
        assert!(live.is_server_told_nothing() && live.to_client.len() == 22);
        assert!(world.plugin.worker().held().is_empty());
        live.elapse(&world, CLOSE_TIMEOUT);
        world.elapse(CLOSE_TIMEOUT);
        let ((), effects) = run(|effects| live.gate.tick(effects));
        assert!(effects.contains(&Effect::Reset));
    }
}

#[test]
fn who_came_with_a_credential_has_no_first_message() {
    let sources = json!([{"header": "authorization"}, {"message": "/token"}]);
    let mut world = World::new(&policy(&json!({"auth": {"sources": sources}})));
    let bearer = format!("Bearer {}", good());
    let mut live = Live::connect_with(&mut world, &[("authorization", &bearer)]);
    live.say(Server, &said("hello"));
    live.say(Client, &text("[1]"));
    assert_eq!((&*live.to_server, &*live.to_client), (&*text("[1]"), &*said("hello")));
    assert_eq!(live.elapse(&world, Duration::from_secs(10)), None);
}

/// Its subject is counted from then on, and its token ends.
#[test]
fn who_is_known_is_counted_and_logged_and_ends_with_its_token() {
    let limits = json!({
        "per_address": {"connections": null, "handshakes": null, "failures": null}, "per_subject": {"connections": 1},
    });
    let mut world = World::new(&policy(&json!({"limits": limits})));
    let mut alice = Live::connect(&mut world);
    alice.say(Client, &auth(&token("alice", 1_100)));
    let mut again = Live::connect(&mut world);
    again.say(Client, &auth(&good()));
    assert_eq!((again.refused(), again.close_code()), (Some(Violation::ConnectionsExceeded), Some(1_008)));
    let mut bob = Live::connect(&mut world);
    bob.say(Client, &auth(&token("bob", 1_000_000)));
    assert_eq!(bob.refused(), None);
    let begin = world.now().as_nanos() / 1_000_000_000;
    let (after, violation) = alice.elapse(&world, Duration::from_secs(200)).unwrap();
    assert_eq!((begin + after.as_secs(), violation), (1_100, Violation::CredentialExpired));
    let ((), effects) = run(|effects| alice.gate.end(effects));
    let Some(Effect::Log(Level::Info, line)) = effects.last() else { panic!("{effects:?}") };
    assert!(line.contains("\"provider\":\"own\",\"subject\":\"alice\""), "{line}");
    // Its slot is free.
    let mut third = Live::connect(&mut world);
    third.say(Client, &auth(&good()));
    assert_eq!(third.refused(), None);
}

#[test]
fn wrong_first_messages_ban_an_address() {
    let limits = json!({"per_address": {"connections": null, "handshakes": null, "failures": {"count": 2}}});
    for (first, expected) in [(auth("x"), true), (text("{}"), false)] {
        let mut world = World::new(&policy(&json!({"limits": limits})));
        for _ in 0..2 {
            Live::connect(&mut world).say(Client, &first);
        }
        let (_, flow, _) = world.request();
        assert_eq!(flow == Flow::Hold, expected);
    }
}

#[test]
fn rules_of_claims_hold_from_the_first_message_on() {
    let authorize = json!([{"when": {"/type": "*"}, "equals": {"/user": "sub"}}]);
    let messages = json!({"from_client": {"json": {}, "authorize": authorize}});
    let own = text(r#"{"type":"chat","user":"alice"}"#);
    for (rest, expected) in [(own, None), (text(r#"{"type":"chat","user":"bob"}"#), Some(Violation::NotAuthorized))] {
        let mut world = World::new(&policy(&json!({"messages": messages})));
        let mut live = Live::connect(&mut world);
        live.say(Client, &[auth(&good()), rest].concat());
        live.take_turns(&world);
        assert_eq!(live.refused(), expected);
    }
    // A message that goes on is asked for by them, and its sender has no claims yet; so it goes on where what it brings decides nothing.
    for (changes, token) in [("forward", good()), ("mode", good()), ("mode", "x".to_owned())] {
        let value = if changes == "mode" { json!("monitor") } else { json!(true) };
        let mut world = World::new(&policy(&json!({"messages": messages, "auth": {changes: value}})));
        let mut live = Live::connect(&mut world);
        live.say(Client, &auth(&token));
        assert_eq!(live.refused(), Some(Violation::NotAuthorized), "{changes}");
        assert!(live.is_server_told_nothing());
    }
}

#[test]
fn what_waits_is_bounded() {
    let limits = json!({"per_address": {"connections": null, "handshakes": null, "failures": null}, "per_connection": null, "held_bytes": 200_000});
    for (bytes, from) in [(said(&"x".repeat(100)), Server), (frame(0x89, &[b'x'; 100]), Client)] {
        let mut world = World::new(&policy(&json!({"limits": limits})));
        let mut live = Live::connect(&mut world);
        let count = (0..5_000).take_while(|_| {
            live.say(from, &bytes);
            live.refused().is_none()
        });
        let count = count.count();
        assert!((100..1_000).contains(&count), "{count}");
        assert_eq!(live.refused(), Some(Violation::Overloaded));
        if from == Server {
            assert_eq!(live.to_client, [&b"\x88\x0c\x03\xf5"[..], b"overloaded"].concat());
        }
        assert!(live.is_server_told_nothing() && world.plugin.worker().held().is_empty());
    }
}

#[test]
fn monitor_mode_holds_nothing_and_notes_what_it_would_refuse() {
    for (first, expected) in [
        (auth(&good()), vec![]),
        (auth("x"), vec![Violation::CredentialInvalid]),
        (text("{}"), vec![Violation::CredentialMissing]),
        (frame(0x82, b"x"), vec![Violation::CredentialMissing, Violation::TypeRefused]),
    ] {
        let mut world = World::new(&policy(&json!({"mode": "monitor"})));
        let mut live = Live::connect(&mut world);
        live.say(Server, &said("hello"));
        assert_eq!(live.to_client, said("hello"));
        let bytes = [first, text("[1]")].concat();
        live.say(Client, &bytes);
        assert_eq!((live.to_server.clone(), live.would_refuse()), (bytes, expected));
    }
    let mut world = World::new(&policy(&json!({"mode": "monitor"})));
    let mut live = Live::connect(&mut world);
    live.elapse(&world, Duration::from_secs(60));
    assert_eq!(count_of(&live.effects, &Metric::WouldRefuse(Violation::CredentialMissing)), 1);
}

/// A first message is optional where a credential is.
#[test]
fn a_credential_that_need_not_be_there_is_checked_where_it_is() {
    for (first, expected) in
        [(text("[0]"), None), (auth(&good()), None), (auth("x"), Some(Violation::CredentialInvalid))]
    {
        let mut world = World::new(&policy(&json!({"auth": {"required": false}})));
        for cut in 0..=first.len() {
            let mut live = Live::connect(&mut world);
            live.say(Server, &said("hello"));
            assert_eq!(live.to_client, said("hello"));
            live.say(Client, &first[..cut]);
            live.say(Client, &[&first[cut..], &text("[1]")].concat());
            assert_eq!(live.refused(), expected);
            assert!(expected.is_some() || live.to_server.ends_with(&text("[1]")));
            assert!(expected.is_some() || live.elapse(&world, Duration::from_secs(30)).is_none());
        }
    }
}

#[test]
fn another_policy_goes_on_where_the_old_one_stopped() {
    let open = json!({"auth": {"required": false, "sources": [{"header": "authorization"}]}});
    let closed = json!({"auth": {"sources": [{"header": "authorization"}]}});
    let later = json!({"auth": {"sources": [{"message": "/other"}]}});
    let monitored = json!({"mode": "monitor"});
    for (change, first, expected, is_passed) in [
        (&open, text("[1]"), None, true),
        (&monitored, text("[1]"), None, true),
        (&closed, text("[1]"), Some(Violation::PolicyChanged), false),
        (&later, auth(&good()), Some(Violation::CredentialMissing), false),
        (&later, text(&json!({"other": good()}).to_string()), None, true),
    ] {
        let mut world = World::new(&policy(&json!({})));
        let mut live = Live::connect(&mut world);
        live.say(Server, &said("hello"));
        live.say(Client, &frame(0x89, b""));
        world.configure(&policy(change));
        live.say(Client, &first);
        live.take_turns(&world);
        assert_eq!(live.refused(), expected, "{change}");
        assert_eq!(live.to_client.starts_with(&said("hello")), is_passed, "{change}");
        assert_eq!(live.to_server.starts_with(&frame(0x89, b"")), is_passed, "{change}");
    }
}

/// A client of Socket.IO says nothing before it has the handshake of Engine.IO.
#[test]
fn a_client_of_socket_io_gets_the_handshake_of_its_transport_first() {
    let open = said(r#"0{"sid":"x","pingInterval":25000}"#);
    let (ping, event) = (said("2"), said("42[\"news\"]"));
    let all = [&*open, &ping, &event, &ping].concat();
    let connect = text(&format!("40{}", json!({"token": good()})));
    let messages = json!({"from_client": {"json": {}, "envelope": "socket.io"}});
    let mut world = World::new(&policy(&json!({"messages": messages, "auth": {"forward": true}})));
    for cut in 0..=all.len() {
        let mut live = Live::connect(&mut world);
        live.say(Server, &all[..cut]);
        let whole: usize = [&open, &ping]
            .iter()
            .map(|frame| frame.len())
            .scan(0, |sum, len| {
                *sum += len;
                Some(*sum)
            })
            .filter(|end| *end <= cut)
            .max()
            .unwrap_or_default();
        assert_eq!(live.to_client, all[..whole], "cut at {cut}");
        live.say(Server, &all[cut..]);
        assert_eq!(live.to_client, [&*open, &ping].concat(), "cut at {cut}");
        live.say(Client, &text("3"));
        assert!(live.to_server.is_empty());
        live.say(Client, &connect);
        assert_eq!(live.to_server, [text("3"), connect.clone()].concat());
        assert_eq!((&live.to_client, live.refused()), (&all, None));
    }
    // Nothing but that passes, whatever looks like it.
    for early in [
        said("40{\"sid\":\"x\"}"),
        said("6"),
        said("0"),
        said("0[]"),
        said("22"),
        b"\x01\x020{\x80\x01}".to_vec(),
        b"\x82\x030{}".to_vec(),
        b"\x89\x00".to_vec(),
        b"\x88\x00".to_vec(),
        [&b"\x81\x7e\x10\x01"[..], b"0{", &[b' '; 4_094], b"}"].concat(),
    ] {
        let mut live = Live::connect(&mut world);
        live.say(Server, &[early, said("2")].concat());
        assert!(live.to_client.is_empty());
    }
    // Without that envelope it is a message as any other.
    let mut world = World::new(&policy(&json!({})));
    let mut live = Live::connect(&mut world);
    live.say(Server, &open);
    assert!(live.to_client.is_empty());
}

#[test]
fn a_client_of_graphql_is_known_by_connection_init() {
    let messages =
        json!({"from_client": {"json": {}, "envelope": {"graphql-transport-ws": "graphql-transport-ws", "": "json"}}});
    let auth = json!({"forward": true, "sources": [{"message": "/payload/token"}]});
    let init = text(&json!({"type": "connection_init", "payload": {"token": good()}}).to_string());
    let ping = text(&json!({"type": "ping", "payload": {"token": good()}}).to_string());
    let ack = said(r#"{"type":"connection_ack"}"#);
    for (first, expected) in [(&init, None), (&ping, Some(Violation::CredentialMissing))] {
        let mut world = World::new(&policy(&json!({"messages": messages, "auth": auth})));
        let mut gate = world.stream();
        let mut arrival = world.arrival();
        let head = [testing::upgrade(), vec![("sec-websocket-protocol", "graphql-transport-ws")]].concat();
        arrival.request = arrival.request.map(|request| Request { headers: testing::headers(&head), ..request });
        assert_eq!(run(|effects| gate.request(arrival, effects)).0, Flow::Forward);
        let answer =
            [testing::switching_protocols(), vec![("sec-websocket-protocol", "graphql-transport-ws")]].concat();
        let (flow, effects) = run(|effects| gate.response(|| Ok(testing::headers(&answer)), effects));
        assert_eq!(flow, Flow::Forward);
        let mut live = Live::of(gate, effects);
        live.say(Client, first);
        live.say(Server, &ack);
        assert_eq!((live.refused(), live.to_client == ack), (expected, expected.is_none()));
        assert_eq!(live.to_server == *first, expected.is_none());
    }
}
