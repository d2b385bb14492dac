//! Streams as scripts: what a skin tells, and what it is told to do.

mod address;
mod aliases;
mod expiry;
mod first_message;
mod key_sets;
mod lookups;
mod renewal;
mod revocation;
mod tickets;
mod verdicts;

use core::time::Duration;
use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::ask::Question;
use crate::config;
use crate::effect::{ClientWriter, Level, MessageKind};
use crate::session::{CLOSE_GRACE, CLOSE_TIMEOUT};
use crate::testing::{self, MOMENT, MemoryPort, frame};
use crate::time::Moment;
use crate::wire::Side::{Client, Server};

const ALLOWED: &[u8] = b"\x08\x01";
const OVER_LIMIT: &[u8] = b"\x08\x02";

/// One worker with one plugin.
struct World {
    port: Rc<MemoryPort>,
    plugin: Rc<Plugin>,
    streams: u32,
}

impl World {
    fn new(policy: &Value) -> Self {
        let port = Rc::new(MemoryPort::default());
        port.now.set(MOMENT.as_nanos());
        let plugin = Rc::new(Plugin::new(Rc::new(Worker::new(port.clone()))));
        let world = Self { port, plugin, streams: 0 };
        world.configure(policy);
        world
    }

    fn configure(&self, changes: &Value) {
        let mut policy = json!({
            "require_tls": false, "origin": {"missing": "allow"}, "auth": {"required": false},
            "limits": {"per_address": {"connections": 1, "handshakes": null, "failures": null}},
        });
        for (key, value) in changes.as_object().unwrap() {
            match (&mut policy[key], value) {
                (Value::Object(old), Value::Object(new)) => old.extend(new.clone()),
                (old, new) => *old = new.clone(),
            }
        }
        let parsed = config::parse(policy.to_string().as_bytes(), &|_| None).unwrap();
        self.plugin.configure(b"plugin".to_vec(), parsed, 0, self.now()).unwrap();
    }

    fn now(&self) -> Moment {
        Moment::from_nanos(self.port.now.get())
    }

    fn elapse(&self, span: Duration) {
        self.port.now.set(self.now().saturating_add(span).as_nanos());
        self.plugin.tick(self.now());
    }

    fn stream(&mut self) -> Gate {
        self.streams += 1;
        Gate::new(self.streams, Rc::clone(&self.plugin))
    }

    fn arrival(&self) -> Arrival {
        let request = testing::request(testing::headers(&testing::upgrade()));
        let request = Request { peer: Peer::new(b"203.0.113.7:50000".to_vec()), ..request };
        Arrival {
            request: Ok(request),
            listener: b"listener".to_vec(),
            connection: self.streams.into(),
            bindings: Bindings::default(),
        }
    }

    /// A good upgrade comes.
    fn request(&mut self) -> (Gate, Flow, Vec<Effect>) {
        let mut gate = self.stream();
        let (flow, effects) = run(|effects| gate.request(self.arrival(), effects));
        (gate, flow, effects)
    }

    /// A connection that is up.
    fn connect(&mut self) -> Gate {
        let (mut gate, flow, _) = self.request();
        assert_eq!(flow, Flow::Forward);
        assert_eq!(respond(&mut gate).0, Flow::Forward);
        assert!(gate.connection().is_some());
        gate
    }

    /// Whether a client has no connection: another one is let in where one is all that it may have.
    fn has_room(&mut self) -> bool {
        let (mut gate, flow, effects) = self.request();
        gate.end(&mut Effects::default());
        assert_eq!(status(&effects), (flow == Flow::Hold).then_some(429));
        flow == Flow::Forward
    }
}

fn run<T>(call: impl FnOnce(&mut Effects) -> T) -> (T, Vec<Effect>) {
    let mut effects = Effects::new(ClientWriter::Open);
    let outcome = call(&mut effects);
    (outcome, effects.list)
}

fn respond(gate: &mut Gate) -> (Flow, Vec<Effect>) {
    run(|effects| gate.response(|| Ok(testing::headers(&testing::switching_protocols())), effects))
}

fn answer(gate: &mut Gate, answer: Option<&[u8]>) -> (Flow, Vec<Effect>) {
    run(|effects| gate.answered(answer.map_or(Answer::None, |answer| Answer::Grpc(answer.to_vec())), effects))
}

/// The status of the reply, where there is one: then it is the last effect.
fn status(effects: &[Effect]) -> Option<u16> {
    let is_reply = |effect: &Effect| matches!(effect, Effect::Reply(_));
    assert!(!effects.iter().rev().skip(1).any(is_reply), "{effects:?}");
    effects.last().and_then(|last| if let Effect::Reply(reply) = last { Some(reply.status) } else { None })
}

fn count_of(effects: &[Effect], wanted: &Metric) -> i64 {
    let count = |effect: &Effect| match effect {
        Effect::Count(metric, count) if metric == wanted => *count,
        _ => 0,
    };
    effects.iter().map(count).sum()
}

fn global(change: &Value) -> Value {
    let mut global = json!({"cluster": "ratelimit", "domain": "portcullis", "timeout": "50ms", "on_error": "allow"});
    global.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let limits = json!({"per_address": {"connections": 1, "handshakes": null, "failures": null}, "global": global});
    json!({"limits": limits})
}

fn is_edited(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Edit(_)))
}

#[test]
fn a_request_waits_for_an_answer_without_an_edit() {
    let mut world = World::new(&global(&json!({})));
    let (mut gate, flow, effects) = world.request();
    assert_eq!(flow, Flow::Wait);
    let [Effect::Ask(Ask { asker: Asker::Stream(1), question: Question::RateLimit { timeout, .. } })] = &*effects
    else {
        panic!("{effects:?}")
    };
    assert_eq!(*timeout, Duration::from_millis(50));
    // Bytes that come meanwhile stay where they are.
    let bytes = frame(0x81, b"early");
    assert_eq!(gate.body(Client, &bytes.as_slice(), false, &mut Effects::default()), Onward::Nothing);
    assert_eq!(answer(&mut gate, Some(ALLOWED)).0, Flow::Forward);
    // Nobody waits any more.
    assert_eq!(answer(&mut gate, Some(OVER_LIMIT)), (Flow::Hold, vec![]));
    assert_eq!(respond(&mut gate).0, Flow::Forward);
    assert!(gate.connection().is_some());
}

#[test]
fn an_answer_decides_and_its_absence_goes_by_on_error() {
    for (change, mode, answered, expected) in [
        (json!({}), "enforce", Some(ALLOWED), None),
        (json!({}), "enforce", Some(OVER_LIMIT), Some(429)),
        (json!({}), "enforce", None, None),
        (json!({"on_error": "refuse"}), "enforce", None, Some(429)),
        // No answer at all.
        (json!({"on_error": "refuse"}), "enforce", Some(&b"\xff"[..]), Some(429)),
        (json!({}), "monitor", Some(OVER_LIMIT), None),
    ] {
        let mut policy = global(&change);
        policy["mode"] = mode.into();
        let mut world = World::new(&policy);
        let (mut gate, _, _) = world.request();
        let (flow, effects) = answer(&mut gate, answered);
        assert_eq!((flow == Flow::Hold, status(&effects)), (expected.is_some(), expected), "{change} {answered:?}");
        let would_refuse = count_of(&effects, &Metric::WouldRefuse(Violation::HandshakesExceeded));
        assert_eq!(would_refuse, i64::from(mode == "monitor"));
        gate.end(&mut Effects::default());
        world.configure(&json!({}));
        assert!(world.has_room(), "{change}: a slot is not given back");
    }
}

#[test]
fn a_second_question_may_stand_behind_the_first_and_make_a_header() {
    let mut world = World::new(&global(&json!({})));
    let mut gate = world.stream();
    let policies = world.plugin.policies().unwrap();
    let Ok(request) = world.arrival().request else { panic!("no request") };
    let worker = Rc::clone(world.plugin.worker());
    let counters = Rc::clone(&worker.counters);
    let room = Room {
        plugin: Rc::clone(&world.plugin),
        before: 0,
        admissions: Admissions::new(counters, request.peer.clone()),
        has_bare_address: false,
    };
    let peer = request.peer.clone();
    let (_, first) = handshake::check(Hearing {
        policies: Rc::clone(&policies),
        request,
        held: Rc::clone(&worker.held),
        identity: Rc::clone(&worker.identity),
        nonce: [7; 16],
        capacity: room,
    });
    let plan = Question::RateLimit { service: vec![], message: b"plan".to_vec(), timeout: Duration::from_secs(1) };
    let asked = plan.clone();
    let step = first.then(move |(mut opening, room): (Opening, Room)| {
        Step::ask(asked, |plan| {
            let Answer::Grpc(plan) = plan else { panic!("no plan") };
            opening.edits.push(Edit::set("x-plan", plan));
            Step::Ready((opening, room))
        })
    });
    let listener = world.plugin.listener(b"listener", 1, &policies, world.now());
    let context = Context { listener, policies, peer, since: world.now() };
    let (flow, effects) = run(|effects| gate.follow(step, context, effects));
    assert!(flow == Flow::Wait && matches!(&*effects, [Effect::Ask(_)]), "{effects:?}");
    let (flow, effects) = answer(&mut gate, Some(ALLOWED));
    assert_eq!((flow, &*effects), (Flow::Wait, &[Effect::Ask(Ask { question: plan, asker: Asker::Stream(1) })][..]));
    world.port.now.update(|now| now + 3_000_000);
    let (flow, effects) = answer(&mut gate, Some(b"gold"));
    let expected = [Effect::Count(Metric::HandshakeMicros, 3_000), Effect::Edit(vec![Edit::set("x-plan", "gold")])];
    assert_eq!((flow, &*effects), (Flow::Forward, &expected[..]));
    assert_eq!(respond(&mut gate).0, Flow::Forward);
}

#[test]
fn a_client_that_leaves_while_its_request_waits_leaves_nothing_behind() {
    let mut world = World::new(&global(&json!({})));
    world.port.memory_len.set(1_000_000);
    let (mut gate, flow, _) = world.request();
    assert_eq!(flow, Flow::Wait);
    let ((), effects) = run(|effects| gate.end(effects));
    assert_eq!(effects, []);
    assert_eq!(answer(&mut gate, Some(ALLOWED)), (Flow::Hold, vec![]));
    assert!(world.plugin.worker().held().is_empty());
    world.configure(&json!({}));
    assert!(world.has_room());
}

#[test]
fn a_request_that_waits_is_decided_by_its_policy_and_its_connection_by_the_new_one() {
    for (change, expected) in
        [(json!({}), None), (json!({"hosts": ["other.example.com"]}), Some(Violation::PolicyChanged))]
    {
        let mut world = World::new(&global(&json!({})));
        let (mut gate, _, _) = world.request();
        world.configure(&change);
        let (flow, effects) = answer(&mut gate, Some(ALLOWED));
        assert_eq!((flow, status(&effects)), (Flow::Forward, None));
        let (flow, effects) = respond(&mut gate);
        assert_eq!(flow, Flow::Forward);
        assert_eq!(count_of(&effects, &Metric::Refused(Violation::PolicyChanged)), i64::from(expected.is_some()));
    }
}

#[test]
fn a_host_that_fails_lets_nobody_in_unless_the_policy_says_so() {
    for fail in ["closed", "open"] {
        let mut refused = 0;
        for call in 0..40 {
            let mut world = World::new(&json!({"fail": fail}));
            world.elapse(Duration::from_secs(1));
            world.port.fails_in.set(Some(call));
            let (mut gate, flow, effects) = world.request();
            match (flow, fail) {
                (Flow::Hold, "closed") => {
                    assert_eq!(status(&effects), Some(500), "call {call}");
                    refused += 1;
                }
                (Flow::Forward, _) => assert_eq!(status(&effects), None),
                (flow, _) => panic!("call {call}: {flow:?} {effects:?}"),
            }
            gate.end(&mut Effects::default());
        }
        assert_eq!(refused > 3, fail == "closed", "{refused}");
    }
}

#[test]
fn an_edit_that_the_host_does_not_make_goes_by_fail() {
    for (fail, expected) in [("closed", Flow::Hold), ("open", Flow::Forward)] {
        let mut world =
            World::new(&json!({"fail": fail, "auth": {"required": false, "claim_headers": {"sub": "x-user"}}}));
        let mut gate = world.stream();
        let mut arrival = world.arrival();
        let mut fields = testing::upgrade();
        fields.push(("x-user", "eve"));
        arrival.request = arrival.request.map(|request| Request { headers: testing::headers(&fields), ..request });
        let (flow, effects) = run(|effects| gate.request(arrival, effects));
        assert!(flow == Flow::Forward && is_edited(&effects));
        let (flow, effects) = run(|effects| gate.unedited(effects));
        assert_eq!((flow, status(&effects)), (expected, (fail == "closed").then_some(500)));
        assert_eq!(respond(&mut gate).0, Flow::Forward, "our own reply, or what is not judged any more");
        assert!(gate.connection().is_none());
    }
}

#[test]
fn a_connection_is_counted_and_its_end_is_logged_once() {
    let mut world = World::new(&json!({}));
    let mut gate = world.connect();
    assert!(!world.has_room(), "one is all that an address may have");
    // With a beat of the worker.
    let active = |world: &World| {
        world.port.now.update(|now| now + 1_000_000_000);
        let counts = world.plugin.tick(world.now()).counts;
        counts.into_iter().filter(|(metric, _)| *metric == Metric::Active).map(|(_, count)| count).collect::<Vec<_>>()
    };
    assert_eq!((active(&world), active(&world)), (vec![1], vec![]));
    let ((), effects) = run(|effects| gate.end(effects));
    assert_eq!(count_of(&effects, &Metric::Closed(None)), 1);
    let Some(Effect::Log(Level::Info, line)) = effects.last() else { panic!("{effects:?}") };
    assert!(line.contains("\"duration_ms\":2000") && line.contains("203.0.113.7"), "{line}");
    assert_eq!(run(|effects| gate.end(effects)).1, []);
    assert_eq!(active(&world), [-1]);
    assert!(world.has_room());
}

#[test]
fn a_refused_message_goes_nowhere_and_both_sides_are_told_once() {
    let mut world = World::new(&json!({}));
    let mut gate = world.connect();
    let (good, bad) = (frame(0x81, b"hello"), frame(0x82, b"binary"));
    let both = [&*good, &*bad].concat();
    let (onward, effects) = run(|effects| gate.body(Client, &both.as_slice(), false, effects));
    let Onward::Part(Passage { before, keep, after }) = onward else { panic!("{onward:?}") };
    assert!(before.is_empty() && keep == good.len() && after[..2] == [0x88, 0x80 | 14], "{after:?}");
    assert_eq!(count_of(&effects, &Metric::Refused(Violation::TypeRefused)), 1);
    // The client is told behind what its server says.
    let close = b"\x88\x02\x03\xe8";
    let (onward, effects) = run(|effects| gate.body(Server, &close.as_slice(), false, effects));
    let Onward::Part(passage) = onward else { panic!("{onward:?}") };
    assert_eq!((passage.keep, passage.after.len(), &*effects), (0, 16, &[][..]));
    let (onward, effects) = run(|effects| gate.body(Client, &good.as_slice(), false, effects));
    assert_eq!((onward, effects), (Onward::Part(Passage::default()), vec![]));
}

/// Where a step fails, nothing goes on any more: the client is told where that can be written, and the stream is reset once.
#[test]
fn a_connection_whose_host_fails_is_told_and_reset() {
    for (writer, expected) in [(ClientWriter::Open, "write"), (ClientWriter::Busy, "reset")] {
        let mut world = World::new(&json!({}));
        let mut gate = world.connect();
        let mut effects = Effects::new(writer);
        assert_eq!(gate.failed(&mut effects), Flow::Hold);
        let last = match effects.list.last() {
            Some(Effect::Write(close)) if close.starts_with(b"\x88") => "write",
            Some(Effect::Reset) => "reset",
            last => panic!("{last:?}"),
        };
        assert_eq!(last, expected);
        let hello = frame(0x81, b"hello");
        assert_eq!(run(|effects| gate.body(Client, &hello.as_slice(), false, effects)), (Onward::Nothing, vec![]));
        assert_eq!(run(|effects| gate.failed(effects)).1, [Effect::Reset]);
    }
}

#[test]
fn a_client_that_could_not_be_told_before_is_told_before_the_reset() {
    let mut world = World::new(&json!({}));
    let mut gate = world.connect();
    gate.body(Client, &frame(0x83, b"").as_slice(), false, &mut Effects::new(ClientWriter::Busy));
    world.elapse(CLOSE_GRACE);
    gate.tick(&mut Effects::new(ClientWriter::Busy));
    world.elapse(CLOSE_TIMEOUT);
    let ((), effects) = run(|effects| gate.tick(effects));
    let [.., Effect::Write(close), Effect::Reset] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(close.starts_with(b"\x88"));
}

#[test]
fn bytes_before_the_answer_are_refused() {
    let mut world = World::new(&json!({}));
    let (mut gate, _, _) = world.request();
    assert_eq!(run(|effects| gate.body(Client, &&b""[..], false, effects)), (Onward::All, vec![]));
    let (onward, effects) = run(|effects| gate.body(Client, &&b"x"[..], false, effects));
    assert_eq!((onward, status(&effects)), (Onward::Nothing, Some(400)));
    assert!(world.has_room());
}

#[test]
fn what_is_to_be_done_later_is_said_again_behind_a_failure() {
    let mut world = World::new(&json!({}));
    let mut gate = world.connect();
    // The host carries out nothing of what the refusal leads to.
    let unmasked = &b"\x81\x00"[..];
    let (_, lost) = run(|effects| gate.body(Client, &unmasked, false, effects));
    let is_wake = |effect: &Effect| matches!(effect, Effect::WakeAt(_));
    assert!(lost.iter().any(is_wake), "{lost:?}");
    let (_, effects) = run(|effects| gate.failed(effects));
    assert!(effects.iter().any(is_wake), "{effects:?}");
}

#[test]
fn an_upstream_is_not_heard_where_the_host_does_not_take_a_refusal() {
    let mut world = World::new(&json!({}));
    let (mut gate, ..) = world.request();
    let (_, effects) = run(|effects| gate.body(Client, &&b"early"[..], false, effects));
    assert_eq!(status(&effects), Some(400));
    assert_eq!(run(|effects| gate.failed(effects)), (Flow::Hold, vec![]));
    assert_eq!(respond(&mut gate), (Flow::Hold, vec![]));
    for side in [Client, Server] {
        assert_eq!(run(|effects| gate.body(side, &&b"\x81\x00"[..], false, effects)), (Onward::Nothing, vec![]));
    }
}

#[test]
fn what_each_side_sent_is_counted_once() {
    let mut world = World::new(&json!({}));
    let mut gate = world.connect();
    let server = |payload: &[u8]| [&[0x81, u8::try_from(payload.len()).unwrap()][..], payload].concat();
    for bytes in [frame(0x81, b"one"), frame(0x89, b""), [frame(0x81, b"two"), frame(0x81, b"three")].concat()] {
        run(|effects| gate.body(Client, &bytes.as_slice(), false, effects));
    }
    run(|effects| gate.body(Server, &server(b"hello").as_slice(), false, effects));
    // It is refused, and the server answers the Close that it is sent.
    run(|effects| gate.body(Client, &frame(0x82, b"binary").as_slice(), false, effects));
    for bytes in [&b"\x88\x02\x03\xe8"[..], b""] {
        run(|effects| gate.body(Server, &bytes, false, effects));
    }
    let ((), effects) = run(|effects| gate.end(effects));
    let Some(Effect::Log(Level::Info, line)) = effects.last() else { panic!("{effects:?}") };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&line["by"], &line["code"], &line["reason"]),
        (&json!("filter"), &json!(1_003), &json!("type_refused"))
    );
    assert_eq!((&line["messages_from_client"], &line["messages_from_server"]), (&json!(4), &json!(2)));
    let counts = world.plugin.tick(world.now()).counts;
    let of = |metric: Metric| counts.iter().filter(|(own, _)| *own == metric).map(|(_, count)| *count).sum::<i64>();
    let texts = [Client, Server].map(|side| of(Metric::Messages(side, MessageKind::Text)));
    let controls = [Client, Server].map(|side| of(Metric::Messages(side, MessageKind::Control)));
    assert_eq!((texts, controls), ([3, 1], [1, 1]));
    assert_eq!(of(Metric::Bytes(Server)), 7 + 4);
}
