//! Connections whose token ends: when, by which policy, and whatever becomes of the calendar.

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::*;
use crate::session::CLOSE_TIMEOUT;
use crate::testing::NOW;

const SECRET: &str = "an HMAC secret of more than 32 bytes";

/// How exact a close may be: what `policy.md` promises.
const SECOND: Duration = Duration::from_secs(1);

/// How often the host has its worker look at the clock.
const STEP: Duration = Duration::from_millis(100);

/// A policy with a provider whose clocks may differ by 60 seconds, and nothing else that ends a connection.
fn policy(auth: &Value) -> Value {
    let provider = json!({"name": "own", "algorithms": ["HS256"], "jwks": {"secret": {"inline": SECRET}}});
    let mut all = json!({"required": true, "providers": [provider]});
    all.as_object_mut().unwrap().extend(auth.as_object().unwrap().clone());
    let liveness = json!({"ping_interval": null, "idle_timeout": null, "message_timeout": null, "max_lifetime": null});
    json!({"auth": all, "liveness": liveness})
}

/// A connection, and when it is ticked next.
struct Live {
    gate: Gate,
    wake_at: Option<Moment>,
    refused: i64,
    would_refuse: i64,
    writes: Vec<Vec<u8>>,
}

impl Live {
    /// Comes with a token that ends so many seconds after now.
    fn connect(world: &mut World, seconds: i64) -> Self {
        let mut live = Self::request(world, seconds);
        let (_, effects) = respond(&mut live.gate);
        live.note(effects);
        live
    }

    /// Likewise; the upstream has not answered yet.
    fn request(world: &mut World, seconds: i64) -> Self {
        let date = NOW + world.port.now.get() / 1_000_000_000 + world.port.ahead.get().as_secs();
        let claims = json!({"sub": "alice", "exp": date.checked_add_signed(seconds).unwrap()});
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        let bearer = format!("Bearer {token}");
        let mut gate = world.stream();
        let mut arrival = world.arrival();
        let fields = [testing::upgrade(), vec![("authorization", &*bearer)]].concat();
        arrival.request = arrival.request.map(|request| Request { headers: testing::headers(&fields), ..request });
        let (flow, effects) = run(|effects| gate.request(arrival, effects));
        assert_eq!(flow, Flow::Forward, "{effects:?}");
        Self { gate, wake_at: None, refused: 0, would_refuse: 0, writes: vec![] }
    }

    fn note(&mut self, effects: Vec<Effect>) {
        self.refused += count_of(&effects, &Metric::Refused(Violation::CredentialExpired));
        self.would_refuse += count_of(&effects, &Metric::WouldRefuse(Violation::CredentialExpired));
        for effect in effects {
            match effect {
                Effect::WakeAt(at) => self.wake_at = Some(self.wake_at.map_or(at, |wake_at| wake_at.min(at))),
                Effect::Write(bytes) => self.writes.push(bytes),
                _ => {}
            }
        }
    }

    /// Time goes by, and it is ticked where it asked to be. Gives after how long it was refused.
    fn elapse(&mut self, world: &World, span: Duration) -> Option<Duration> {
        let mut elapsed = Duration::ZERO;
        while elapsed < span && self.refused == 0 {
            elapsed += STEP;
            world.elapse(STEP);
            if self.wake_at.is_some_and(|at| world.now() >= at) {
                self.wake_at = None;
                let (_, effects) = run(|effects| self.gate.tick(effects));
                self.note(effects);
            }
        }
        (self.refused > 0).then_some(elapsed)
    }

    fn reload(&mut self, world: &World, policy: &Value) {
        world.configure(policy);
        let (_, effects) = run(|effects| self.gate.review(effects));
        self.note(effects);
    }

    #[track_caller]
    fn check(&mut self, world: &World, expected: Option<u64>) {
        let refused = self.elapse(world, Duration::from_secs(200));
        let is_right = match (refused, expected.map(Duration::from_secs)) {
            (None, None) => true,
            (Some(after), Some(expected)) => after >= expected && after <= expected + SECOND,
            (_, _) => false,
        };
        assert!(is_right, "refused after {refused:?}, not {expected:?}");
    }
}

#[test]
fn a_connection_ends_with_its_token_within_a_second() {
    for (auth, seconds, expected) in [
        (json!({}), 3, Some(3)),
        (json!({"on_expiry": "close"}), 100, Some(100)),
        (json!({"expiry_grace": "5s"}), 3, Some(8)),
        (json!({"on_expiry": "ignore"}), 3, None),
        (json!({"on_expiry": "ignore", "expiry_grace": "5s"}), 3, None),
        (json!({}), 1_000, None),
        // Let in by the skew of clocks, it stays for as long as it would be let in again, or for the grace.
        (json!({}), 0, Some(60)),
        (json!({}), -50, Some(10)),
        (json!({"expiry_grace": "5s"}), -3, Some(57)),
        (json!({"expiry_grace": "90s"}), -3, Some(87)),
    ] {
        let mut world = World::new(&policy(&auth));
        Live::connect(&mut world, seconds).check(&world, expected);
    }
}

#[test]
fn both_sides_are_told_that_the_token_has_ended() {
    let mut world = World::new(&policy(&json!({})));
    let mut live = Live::connect(&mut world, 3);
    live.check(&world, Some(3));
    let close = [&[0x88, 20][..], &3_000_u16.to_be_bytes(), b"credential_expired"].concat();
    assert_eq!(live.writes, [close]);
    let hello = frame(0x81, b"hello");
    let (onward, _) = run(|effects| live.gate.body(Client, &hello.as_slice(), false, effects));
    let Onward::Part(Passage { before, keep: 0, after }) = onward else { panic!("{onward:?}") };
    assert!(before.is_empty() && after[..2] == [0x88, 0x80 | 20], "{after:?}");
    world.elapse(CLOSE_TIMEOUT);
    assert!(run(|effects| live.gate.tick(effects)).1.contains(&Effect::Reset));
}

#[test]
fn monitor_mode_says_once_that_the_token_has_ended_and_goes_on() {
    let mut monitored = policy(&json!({}));
    monitored["mode"] = json!("monitor");
    let mut world = World::new(&monitored);
    let mut live = Live::connect(&mut world, 3);
    live.check(&world, None);
    assert_eq!((live.would_refuse, live.writes.len()), (1, 0));
    // Under another policy it counts anew.
    live.reload(&world, &policy(&json!({})));
    live.check(&world, Some(0));
}

#[test]
fn the_policy_of_now_says_whether_and_when_a_token_ends_a_connection() {
    for (before, after, expected) in [
        (json!({"on_expiry": "ignore"}), json!({}), Some(10)),
        (json!({}), json!({"on_expiry": "ignore"}), None),
        (json!({}), json!({"expiry_grace": "20s"}), Some(30)),
        (json!({"expiry_grace": "1h"}), json!({"expiry_grace": "0s"}), Some(10)),
    ] {
        let mut world = World::new(&policy(&before));
        let mut live = Live::connect(&mut world, 20);
        assert_eq!(live.elapse(&world, Duration::from_secs(10)), None);
        live.reload(&world, &policy(&after));
        live.check(&world, expected);
    }
}

/// Its server might go on for as long as a closing handshake may take.
#[test]
fn a_client_that_has_said_its_last_hears_nothing_beyond_its_token() {
    for (mode, bytes, end) in [
        ("enforce", frame(0x88, b"\x03\xe8"), false),
        ("enforce", vec![], true),
        ("monitor", frame(0x88, b"\x03\xe8"), false),
    ] {
        let mut policy = policy(&json!({}));
        policy["mode"] = json!(mode);
        let mut world = World::new(&policy);
        let mut live = Live::connect(&mut world, 3);
        world.elapse(SECOND);
        let (_, effects) = run(|effects| live.gate.body(Client, &bytes.as_slice(), end, effects));
        live.note(effects);
        let mut reset_after = None;
        for step in 1..=40 {
            world.elapse(STEP);
            let is_due = live.wake_at.take_if(|at| *at <= world.now()).is_some();
            let (_, effects) = if is_due { run(|effects| live.gate.tick(effects)) } else { ((), vec![]) };
            if effects.contains(&Effect::Reset) {
                reset_after.get_or_insert(STEP * step);
            }
            live.note(effects);
        }
        let (earliest, latest) = (Duration::from_secs(2), Duration::from_secs(3));
        let (onward, _) = run(|effects| live.gate.body(Server, &&b"\x81\x04late"[..], false, effects));
        match mode {
            "monitor" => {
                assert_eq!(reset_after, None);
                assert_ne!(onward, Onward::Nothing);
            }
            _ => {
                assert!(reset_after.is_some_and(|at| at >= earliest && at <= latest), "{reset_after:?}");
                // Some hosts tell the end later, and some fail to do it.
                assert_eq!(onward, Onward::Nothing);
                assert!(live.wake_at.is_some());
            }
        }
    }
}

/// A token ends by the calendar: what is scheduled for is looked at anew, within the longest time that a connection is not ticked.
#[test]
fn a_calendar_that_is_set_is_followed() {
    for (ahead_before, ahead_after, expected) in [(0, 50, 50), (50, 0, 150), (0, 99, 30), (0, 1_000, 30)] {
        let mut world = World::new(&policy(&json!({})));
        world.port.ahead.set(Duration::from_secs(ahead_before));
        let mut live = Live::connect(&mut world, 100);
        world.port.ahead.set(Duration::from_secs(ahead_after));
        live.check(&world, Some(expected));
    }
}

/// Without a date nothing says that a token still holds.
#[test]
fn a_calendar_that_fails_ends_a_connection_as_any_fault_does() {
    let mut world = World::new(&policy(&json!({})));
    let mut live = Live::connect(&mut world, 100);
    live.elapse(&world, Duration::from_secs(29));
    world.elapse(SECOND);
    world.port.fails_in.set(Some(0));
    let (_, effects) = run(|effects| live.gate.tick(effects));
    assert_eq!(count_of(&effects, &Metric::Refused(Violation::Internal)), 1, "{effects:?}");
    // While it comes up nothing is written before the 101: the next look at the clock decides.
    let mut up_count = 0;
    for call in 0..20 {
        let mut world = World::new(&policy(&json!({})));
        let mut live = Live::request(&mut world, 100);
        world.port.fails_in.set(Some(call));
        let (_, effects) = respond(&mut live.gate);
        world.port.fails_in.set(None);
        live.note(effects);
        assert_eq!(live.writes, [[0; 0]; 0], "call {call}");
        if live.gate.connection().is_some() {
            up_count += 1;
            live.check(&world, Some(100));
        }
    }
    assert!(up_count > 10, "{up_count}");
    // Under a new policy the next look at the clock decides, which comes at once.
    let mut world = World::new(&policy(&json!({"on_expiry": "ignore"})));
    let mut live = Live::connect(&mut world, 1);
    assert_eq!(live.elapse(&world, Duration::from_secs(2)), None);
    world.configure(&policy(&json!({})));
    world.port.fails_in.set(Some(0));
    let (_, effects) = run(|effects| live.gate.body(Server, &&b""[..], false, effects));
    live.note(effects);
    live.check(&world, Some(0));
}
