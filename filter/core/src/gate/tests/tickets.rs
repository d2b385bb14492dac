//! Tickets from their issue to their use, and whatever is between.

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::*;
use crate::testing::NOW;

const SECRET: &str = "an HMAC secret of more than 32 bytes";
const APP: &str = "https://app.example.com";
const HOME: &str = "203.0.113.7:50000";
const PATH: &str = "/ws-ticket";

fn policy(auth: &Value) -> Value {
    let provider = json!({"name": "own", "algorithms": ["HS256"], "jwks": {"secret": {"inline": SECRET}}});
    let tickets = json!({"path": PATH, "keys": [{"inline": "a secret that seals, of more than 32 bytes"}]});
    let mut all = json!({"required": true, "providers": [provider], "tickets": tickets});
    for (key, value) in auth.as_object().unwrap() {
        match (&mut all[key], value) {
            (Value::Object(old), Value::Object(new)) => old.extend(new.clone()),
            (old, new) => *old = new.clone(),
        }
    }
    json!({
        "auth": all, "origin": {"allow": [APP], "missing": "refuse"},
        "limits": {"per_address": {"connections": null, "handshakes": null, "failures": null}},
    })
}

fn with_service(mut policy: Value) -> Value {
    policy["auth"]["tickets"]["store"] = json!({"rate_limit_service": true});
    policy["limits"]["global"] = json!({"cluster": "ratelimit", "domain": "portcullis", "on_error": "allow"});
    policy
}

fn bearer(seconds: i64) -> String {
    let claims =
        json!({"sub": "alice", "exp": NOW.checked_add_signed(seconds).unwrap() + MOMENT.as_nanos() / 1_000_000_000});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    format!("Bearer {}", jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap())
}

/// What became of a request.
struct Outcome {
    gate: Gate,
    flow: Flow,
    effects: Vec<Effect>,
}

impl Outcome {
    fn of(world: &mut World, head: &[(&str, &str)], peer: &str) -> Self {
        let mut gate = world.stream();
        let request = Request {
            peer: Peer::new(peer.as_bytes().to_vec()),
            end: head.iter().any(|(name, value)| *name == ":method" && *value == "OPTIONS"),
            ..testing::request(testing::headers(head))
        };
        let arrival = Arrival {
            request: Ok(request),
            listener: b"listener".to_vec(),
            connection: 1,
            bindings: Bindings::default(),
        };
        let (flow, effects) = run(|effects| gate.request(arrival, effects));
        Self { gate, flow, effects }
    }

    fn answer(mut self, answered: Option<&[u8]>) -> Self {
        let (flow, effects) = answer(&mut self.gate, answered);
        Self { flow, effects, ..self }
    }

    fn reply(&self) -> &Reply {
        let Some(Effect::Reply(reply)) = self.effects.last() else { panic!("{:?}", self.effects) };
        assert_eq!(self.flow, Flow::Hold);
        reply
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.reply().fields.iter().filter(|(own, _)| *own == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} stands twice");
        value
    }

    /// The reason of a refusal; `None` where it goes on.
    #[track_caller]
    fn reason(&self) -> Option<String> {
        if self.flow == Flow::Forward {
            return None;
        }
        let body: Value = serde_json::from_str(&self.reply().body).unwrap();
        Some(body["error"].as_str().unwrap().to_owned())
    }

    fn ticket(&self) -> String {
        assert_eq!(self.reply().status, 201, "{}", self.reply().body);
        let body: Value = serde_json::from_str(&self.reply().body).unwrap();
        body["ticket"].as_str().unwrap().to_owned()
    }

    fn edited(&self, wanted: &str) -> Option<Vec<String>> {
        let edits = self.effects.iter().find_map(|effect| match effect {
            Effect::Edit(edits) => Some(edits),
            Effect::Reply(reply) => Some(&reply.edits),
            _ => None,
        });
        let edit = edits?.iter().rev().find(|edit| edit.name == wanted)?;
        Some(edit.values.iter().map(|value| String::from_utf8(value.clone()).unwrap()).collect())
    }
}

fn post<'a>(origin: &'a str, credential: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", "POST"),
        (":path", PATH),
        (":authority", "chat.example.com"),
        ("origin", origin),
        ("authorization", credential),
        ("content-length", "2"),
    ]
}

fn issue(world: &mut World) -> String {
    Outcome::of(world, &post(APP, &bearer(3_600)), HOME).ticket()
}

fn upgrade_to(world: &mut World, target: &str, origin: &str, peer: &str) -> Outcome {
    let mut head = testing::upgrade();
    head.retain(|(name, _)| *name != ":path");
    head.extend([(":path", target), ("origin", origin)]);
    Outcome::of(world, &head, peer)
}

fn redeem(world: &mut World, ticket: &str) -> Outcome {
    upgrade_to(world, &format!("/chat?ticket={ticket}"), APP, HOME)
}

#[track_caller]
fn check(outcome: &Outcome, reason: Option<&str>) {
    assert_eq!(outcome.reason().as_deref(), reason);
}

#[test]
fn a_ticket_admits_once_and_is_never_forwarded() {
    let mut world = World::new(&policy(&json!({"claim_headers": {"sub": "x-user"}})));
    let issued = Outcome::of(&mut world, &post(APP, &bearer(3_600)), HOME);
    assert_eq!(issued.field("content-type"), Some("application/json"));
    assert_eq!(issued.field("cache-control"), Some("no-store"));
    assert_eq!(issued.field("access-control-allow-origin"), Some(APP));
    assert_eq!(issued.field("access-control-allow-credentials"), Some("true"));
    assert_eq!(issued.field("vary"), Some("origin"));
    assert!(issued.reply().body.ends_with("\", \"expires_in\": 30}"), "{}", issued.reply().body);
    assert_eq!(count_of(&issued.effects, &Metric::TicketsIssued), 1);
    assert_eq!(issued.edited("authorization"), Some(vec![]));
    let ticket = issued.ticket();

    let mut first = upgrade_to(&mut world, &format!("/chat?a=1&ticket={ticket}&b"), APP, HOME);
    check(&first, None);
    assert_eq!(count_of(&first.effects, &Metric::TicketsRedeemed), 1);
    assert_eq!(first.edited(":path"), Some(vec!["/chat?a=1&b".to_owned()]));
    assert_eq!(first.edited("x-user"), Some(vec!["alice".to_owned()]));
    assert_eq!(respond(&mut first.gate).0, Flow::Forward);
    assert!(first.gate.connection().is_some());

    let again = redeem(&mut world, &ticket);
    check(&again, Some("ticket_used"));
    assert_eq!((again.reply().status, again.edited(":path")), (401, Some(vec!["/chat".to_owned()])));
    assert_eq!(count_of(&again.effects, &Metric::TicketsRedeemed), 0);
    let shown = format!("{:?}{:?}{:?}", issued.effects, first.effects, again.effects);
    assert!(!shown.contains(&ticket[..16]), "{shown}");
}

#[test]
fn a_ticket_is_redeemed_once_for_all_workers() {
    let mut world = World::new(&policy(&json!({})));
    let port = Rc::new(world.port.beside());
    let plugin = Rc::new(Plugin::new(Rc::new(Worker::new(port.clone()))));
    let mut beside = World { port, plugin, streams: 100 };
    beside.configure(&policy(&json!({})));
    for is_swapped in [false, true] {
        let ticket = issue(&mut world);
        let (one, other) = if is_swapped { (&mut beside, &mut world) } else { (&mut world, &mut beside) };
        check(&redeem(one, &ticket), None);
        check(&redeem(other, &ticket), Some("ticket_used"));
        check(&redeem(one, &ticket), Some("ticket_used"));
    }
}

#[test]
fn a_ticket_is_good_for_its_time_its_page_and_its_address() {
    let mut world = World::new(&policy(&json!({})));
    let target = format!("/chat?ticket={}", issue(&mut world));
    check(&upgrade_to(&mut world, &target, "https://evil.example", HOME), Some("origin_refused"));
    world.configure(&{
        let mut policy = policy(&json!({}));
        policy["origin"]["allow"] = json!([APP, "https://other.example.com"]);
        policy
    });
    check(&upgrade_to(&mut world, &target, "https://other.example.com", HOME), Some("ticket_invalid"));
    check(&upgrade_to(&mut world, &target, APP, "203.0.113.8:50000"), Some("ticket_invalid"));
    // None of these has used it up; another port and spelling is the same page at the same address.
    check(&upgrade_to(&mut world, &target, "https://APP.example.com:443", "203.0.113.7:1"), None);
    let ticket = issue(&mut world);
    world.elapse(Duration::from_secs(30));
    check(&redeem(&mut world, &ticket), Some("ticket_invalid"));
    // A calendar that is set back makes nothing good that was used.
    world.port.ahead.set(Duration::from_secs(40));
    let ticket = issue(&mut world);
    check(&redeem(&mut world, &ticket), None);
    world.port.ahead.set(Duration::ZERO);
    for reason in ["ticket_used", "ticket_invalid"] {
        world.elapse(Duration::from_secs(60));
        check(&redeem(&mut world, &ticket), Some(reason));
    }
}

#[test]
fn addresses_of_ipv6_go_by_their_prefix() {
    let mut world = World::new(&policy(&json!({})));
    for (to, expected) in [("[2001:db8:0:1:2::9]:443", None), ("[2001:db8:0:2::1]:443", Some("ticket_invalid"))] {
        let ticket = Outcome::of(&mut world, &post(APP, &bearer(60)), "[2001:db8:0:1::1]:50000").ticket();
        check(&upgrade_to(&mut world, &format!("/chat?ticket={ticket}"), APP, to), expected);
    }
}

#[test]
fn tickets_beside_other_credentials_are_ambiguous_and_not_used_up() {
    let mut world = World::new(&policy(&json!({})));
    let (ticket, other) = (issue(&mut world), issue(&mut world));
    let bearer = bearer(60);
    let token = bearer.trim_start_matches("Bearer ");
    check(&redeem(&mut world, &format!("{ticket}&ticket={other}")), Some("credential_ambiguous"));
    check(&redeem(&mut world, &format!("{ticket}&token={token}")), Some("credential_ambiguous"));
    check(&redeem(&mut world, &format!("{ticket}&%74icket={other}")), Some("credential_ambiguous"));
    check(&redeem(&mut world, ""), Some("ticket_invalid"));
    check(&redeem(&mut world, token), Some("ticket_invalid"));
    check(&redeem(&mut world, &format!("{ticket}&ticket={ticket}")), None);
    check(&redeem(&mut world, &other), None);
}

#[test]
fn what_else_refuses_a_handshake_leaves_its_ticket() {
    let mut changed = policy(&json!({}));
    changed["limits"] = json!({"per_address": {"connections": null, "handshakes": null, "failures": null}, "per_subject": {"connections": 1}});
    let mut world = World::new(&changed);
    let (ticket, held) = (issue(&mut world), issue(&mut world));
    let mut open = redeem(&mut world, &held);
    check(&open, None);
    check(&redeem(&mut world, &ticket), Some("connections_exceeded"));
    open.gate.end(&mut Effects::default());
    check(&redeem(&mut world, &ticket), None);

    let mut world = World::new(&with_service(policy(&json!({}))));
    world.elapse(Duration::from_secs(2));
    let issued = Outcome::of(&mut world, &post(APP, &bearer(3_600)), HOME);
    assert_eq!(issued.flow, Flow::Wait);
    let ticket = issued.answer(Some(ALLOWED)).ticket();
    let asked = redeem(&mut world, &ticket);
    check(&asked.answer(Some(OVER_LIMIT)), Some("handshakes_exceeded"));
    let asked = redeem(&mut world, &ticket).answer(Some(ALLOWED));
    assert_eq!(asked.flow, Flow::Wait);
    check(&asked.answer(Some(ALLOWED)), None);
}

#[test]
fn a_fleet_is_asked_last_and_its_silence_is_no() {
    for (answered, expected) in [
        (Some(ALLOWED), None),
        (Some(OVER_LIMIT), Some("ticket_used")),
        (None, Some("internal")),
        (Some(&b"\xff"[..]), Some("internal")),
    ] {
        for fail in ["closed", "open"] {
            let mut changed = with_service(policy(&json!({})));
            changed["fail"] = fail.into();
            let mut world = World::new(&changed);
            world.elapse(Duration::from_secs(2));
            let ticket = Outcome::of(&mut world, &post(APP, &bearer(3_600)), HOME).answer(Some(ALLOWED)).ticket();
            let asked = redeem(&mut world, &ticket).answer(None);
            let [Effect::Ask(Ask { question: Question::RateLimit { message, .. }, .. })] = &*asked.effects else {
                panic!("{:?}", asked.effects)
            };
            let message = String::from_utf8_lossy(message).into_owned();
            assert!(
                message.contains("portcullis") && message.contains("ticket") && !message.contains("subject"),
                "{message}"
            );
            let decided = asked.answer(answered);
            check(&decided, expected);
            assert_eq!(count_of(&decided.effects, &Metric::TicketsRedeemed), i64::from(expected.is_none()));
            // Here it is known, whatever the service said.
            check(&redeem(&mut world, &ticket).answer(Some(ALLOWED)), Some("ticket_used"));
        }
    }
}

#[test]
fn a_ticket_that_is_over_while_its_handshake_waits_is_none() {
    let mut world = World::new(&with_service(policy(&json!({}))));
    world.elapse(Duration::from_secs(2));
    let ticket = Outcome::of(&mut world, &post(APP, &bearer(3_600)), HOME).answer(Some(ALLOWED)).ticket();
    let asked = redeem(&mut world, &ticket);
    world.elapse(Duration::from_secs(30));
    check(&asked.answer(Some(ALLOWED)), Some("ticket_invalid"));
}

#[test]
fn a_ticket_is_issued_as_a_handshake_is_let_in() {
    let mut world = World::new(&policy(&json!({})));
    let other = bearer(60) + "x";
    for (origin, credential, reason, is_shared) in [
        ("https://evil.example", bearer(60), "origin_refused", false),
        ("null", bearer(60), "origin_refused", false),
        (APP, "Basic dXNlcjpwYXNz".to_owned(), "credential_missing", true),
        (APP, bearer(-61), "credential_expired", true),
        // Good for a handshake by the leeway of clocks.
        (APP, bearer(-1), "credential_expired", true),
        (APP, other, "credential_invalid", true),
    ] {
        let refused = Outcome::of(&mut world, &post(origin, &credential), HOME);
        check(&refused, Some(reason));
        assert_eq!(refused.field("access-control-allow-origin").is_some(), is_shared, "{reason}");
        assert_eq!(count_of(&refused.effects, &Metric::TicketsIssued), 0);
    }
    // A ticket is no credential for another, and is not redeemed by that.
    let ticket = issue(&mut world);
    let path = format!("{PATH}?ticket={ticket}");
    let mut head = post(APP, "none");
    head.iter_mut().filter(|(name, _)| *name == ":path").for_each(|(_, value)| *value = &path);
    let refused = Outcome::of(&mut world, &head, HOME);
    check(&refused, Some("credential_missing"));
    assert_eq!(refused.edited(":path"), Some(vec![PATH.to_owned()]));
    check(&redeem(&mut world, &ticket), None);
    // Where no credential is needed, a ticket needs one.
    let mut world = World::new(&policy(&json!({"required": false})));
    check(&Outcome::of(&mut world, &post(APP, "none"), HOME), Some("credential_missing"));
}

#[test]
fn tickets_count_as_handshakes_do_and_bad_ones_as_failures() {
    let mut changed = policy(&json!({}));
    changed["limits"]["per_address"]["handshakes"] = json!({"per_second": 1, "burst": 3});
    let mut world = World::new(&changed);
    for _ in 0..3 {
        issue(&mut world);
    }
    let refused = Outcome::of(&mut world, &post(APP, &bearer(60)), HOME);
    check(&refused, Some("handshakes_exceeded"));
    assert!(refused.field("retry-after").is_some() && refused.field("access-control-allow-origin").is_some());

    changed["limits"]["per_address"] =
        json!({"connections": null, "handshakes": null, "failures": {"count": 4, "window": "60s", "ban": "5m"}});
    let mut world = World::new(&changed);
    let ticket = issue(&mut world);
    check(&redeem(&mut world, &ticket), None);
    for reason in ["ticket_used", "ticket_used"] {
        check(&redeem(&mut world, &ticket), Some(reason));
    }
    check(&redeem(&mut world, "forged"), Some("ticket_invalid"));
    check(&Outcome::of(&mut world, &post(APP, &(bearer(60) + "x")), HOME), Some("credential_invalid"));
    check(&Outcome::of(&mut world, &post(APP, &bearer(60)), HOME), Some("banned"));
}

#[test]
fn other_methods_are_answered_here_too() {
    for (mode, non_websocket) in
        [("enforce", "pass"), ("monitor", "pass"), ("enforce", "authenticate"), ("enforce", "refuse")]
    {
        let mut changed =
            policy(&json!({"sources": [{"header": "x-token"}, {"header": "authorization"}, {"ticket": "ticket"}]}));
        (changed["mode"], changed["non_websocket"]) = (mode.into(), non_websocket.into());
        let mut world = World::new(&changed);
        for method in ["GET", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "post"] {
            let mut head = post(APP, "none");
            head[0].1 = method;
            let answered = Outcome::of(&mut world, &head, HOME);
            assert_eq!((answered.reply().status, answered.field("allow")), (405, Some("POST")), "{method}");
        }
        let upgrade = upgrade_to(&mut world, PATH, APP, HOME);
        assert_eq!(upgrade.reply().status, 405);
        for (origin, status) in [(APP, 204), ("https://evil.example", 403)] {
            let head = [
                (":method", "OPTIONS"),
                (":path", "/ws-ticket?x"),
                (":authority", "chat.example.com"),
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization"),
            ];
            let answered = Outcome::of(&mut world, &head, HOME);
            assert_eq!(answered.reply().status, status);
            let is_allowed = status == 204;
            for (name, value) in [
                ("access-control-allow-origin", APP),
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-methods", "POST"),
                ("access-control-allow-headers", "content-type, x-token, authorization"),
                ("access-control-max-age", "7200"),
                ("vary", "origin"),
            ] {
                assert_eq!(answered.field(name), is_allowed.then_some(value), "{name} {mode}");
            }
        }
        // No other path is the filter's.
        let mut head = post(APP, "none");
        head[1].1 = "/ws-ticket/";
        let other = Outcome::of(&mut world, &head, HOME);
        assert_eq!(other.flow == Flow::Forward, non_websocket == "pass");
    }
}

#[test]
fn monitor_mode_issues_and_tells_nothing_of_a_ticket_that_was_used() {
    let mut changed = policy(&json!({"claim_headers": {"sub": "x-user"}}));
    changed["mode"] = "monitor".into();
    let mut world = World::new(&changed);
    let ticket = issue(&mut world);
    let first = redeem(&mut world, &ticket);
    assert_eq!(count_of(&first.effects, &Metric::TicketsRedeemed), 1);
    assert_eq!(first.edited("x-user"), Some(vec!["alice".to_owned()]));
    let again = redeem(&mut world, &ticket);
    check(&again, None);
    assert_eq!(count_of(&again.effects, &Metric::WouldRefuse(Violation::TicketUsed)), 1);
    assert_eq!((again.edited("x-user"), again.edited(":path")), (None, Some(vec!["/chat".to_owned()])));
    check(&Outcome::of(&mut world, &post(APP, "none"), HOME), Some("credential_missing"));
}

#[test]
fn a_ticket_goes_nowhere_though_credentials_are_forwarded() {
    let mut world = World::new(&policy(&json!({"forward": true})));
    let ticket = issue(&mut world);
    let first = redeem(&mut world, &ticket);
    check(&first, None);
    assert_eq!(first.edited(":path"), Some(vec!["/chat".to_owned()]));
}

#[test]
fn another_proxy_and_the_same_one_anew_take_no_local_ticket() {
    let mut world = World::new(&policy(&json!({})));
    let ticket = issue(&mut world);
    let mut other = World::new(&policy(&json!({})));
    // Both draw the same random bytes here: the second one has drawn some before.
    other.port.data.borrow_mut().get_mut(&port::Cell::Register).unwrap().0[0] ^= 1;
    check(&redeem(&mut other, &ticket), Some("ticket_invalid"));
    check(&redeem(&mut world, &ticket), None);
}

#[test]
fn a_request_that_is_no_upgrade_redeems_a_ticket_where_it_is_judged() {
    let mut changed = policy(&json!({}));
    changed["non_websocket"] = "authenticate".into();
    let mut world = World::new(&changed);
    let target = format!("/poll?ticket={}", issue(&mut world));
    // A page asks its own host for it without an Origin, but not for a ticket of another page.
    let head = [(":method", "GET"), (":path", &*target), (":authority", "chat.example.com"), ("origin", APP)];
    check(&Outcome::of(&mut world, &head, HOME), None);
    check(&Outcome::of(&mut world, &head, HOME), Some("ticket_used"));
}

#[test]
fn whatever_the_host_fails_at_a_ticket_admits_no_two() {
    for fail in ["closed", "open"] {
        let mut changed = policy(&json!({}));
        changed["fail"] = fail.into();
        for call in 0..30 {
            let mut world = World::new(&changed);
            let ticket = issue(&mut world);
            world.port.fails_in.set(Some(call));
            let outcomes = [redeem(&mut world, &ticket), redeem(&mut world, &ticket), redeem(&mut world, &ticket)];
            let redeemed: i64 =
                outcomes.iter().map(|outcome| count_of(&outcome.effects, &Metric::TicketsRedeemed)).sum();
            assert!(redeemed <= 1, "{fail} {call}");
            let is_failed = outcomes[0].flow == Flow::Hold;
            assert!(fail == "closed" || !is_failed || outcomes[0].reason().as_deref() == Some("internal"), "{call}");
        }
    }
}

#[test]
fn what_is_issued_takes_no_memory() {
    let mut world = World::new(&policy(&json!({})));
    let size = |world: &World| world.port.data.borrow().values().map(|(bytes, _)| bytes.len()).sum::<usize>();
    issue(&mut world);
    let before = size(&world);
    for _ in 0..2_000 {
        issue(&mut world);
    }
    assert_eq!(size(&world), before);
    assert!(world.plugin.worker().held().is_empty());
}
