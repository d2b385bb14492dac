//! What a client sends beyond its limits, where that is dropped: whole messages go nowhere, and the rest goes on byte for byte.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::thread_local;
use std::time::Duration;

use portcullis_core::policy::routes::Policies;
use portcullis_core::session::Budget;
use portcullis_core::testing;
use portcullis_core::time::Moment;
use portcullis_core::violation::Violation;
use serde_json::json;

use crate::adapter::{self, BIRTH};
use crate::frames::{self, Frame};
use crate::input::Input;

const WHOLE: u8 = 0b0000_0001;
const UTF8: u8 = 0b0000_0010;
const TYPED: u8 = 0b0000_0100;
const TUNNELS: u8 = 0b0000_1000;

/// How late the time of a chunk is.
const LATENESS: Duration = Duration::from_millis(15);

thread_local! {
    static POLICIES: RefCell<HashMap<Settings, Rc<Policies>>> = RefCell::default();
}

/// The bytes that a script begins with.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Settings {
    depth: u8,
    messages_burst: u64,
    bytes_burst: u64,
    type_burst: u64,
}

/// Settings, then frames of the client, all of them whole: a byte for the time since the last in 10 ms, the first byte of the
/// frame, its length, and as much payload; where the length has its top bit, a message of one of two types instead.
pub fn limits(data: &[u8]) {
    let mut input = Input::new(data);
    let depth = input.byte();
    let [messages, bytes, kind] = [(); 3].map(|()| u64::from(input.byte()));
    // Few of them, since each is a policy that is kept.
    let settings = Settings {
        depth: depth & (WHOLE | UTF8 | TYPED | TUNNELS),
        messages_burst: 1 + messages % 7,
        bytes_burst: [20, 64, 130, 600][usize::try_from(bytes % 4).unwrap_or_default()],
        type_burst: 1 + kind % 3,
    };
    let mut sent = Vec::new();
    let mut now = BIRTH.at.saturating_add(LATENESS);
    while !input.is_empty() {
        now = now.saturating_add(Duration::from_millis(10 * u64::from(input.byte())));
        sent.push((now, frame(&mut input)));
    }

    let policies = policies(settings);
    let run = Run::new(&policies, &sent, usize::MAX);
    for len in [1, 2 + data.len() % 7, 16 + data.len() % 61] {
        assert_eq!(Run::new(&policies, &sent, len), run, "in chunks of {len}");
    }
    run.assert_whole(&sent);
    run.assert_within(settings);
}

/// The next frame of a script, masked; its length fits its first byte.
fn frame(input: &mut Input<'_>) -> Vec<u8> {
    let (first, len) = (input.byte(), input.byte());
    let payload: &[u8] = match len {
        0..=0x7f => input.take(usize::from(len.min(125))),
        0x80..=0xbf => br#"{"type":"a"}"#,
        0xc0.. => br#"{"type":"b"}"#,
    };
    testing::frame(first, payload)
}

fn policies(settings: Settings) -> Rc<Policies> {
    let Settings { depth, messages_burst, bytes_burst, type_burst } = settings;
    let build = || {
        let mut from_client = json!({
            "binary": "allow",
            "utf8": depth & UTF8 != 0,
            "whole": depth & WHOLE != 0,
            "tunnels": if depth & TUNNELS == 0 { "allow" } else { "refuse" },
        });
        let mut per_connection = json!({
            "messages": {"per_second": 4, "burst": messages_burst},
            "bytes": {"per_second": 50, "burst": bytes_burst},
        });
        if depth & TYPED != 0 {
            from_client["json"] = json!({"discriminator": "/type", "schemas": {}, "otherwise": "allow"});
            per_connection["by_type"] = json!({"a": {"per_second": 1, "burst": type_burst}});
        }
        Rc::new(adapter::policies(&json!({
            "origin": {"allow": ["*"]},
            "auth": {"required": false},
            "messages": {"from_client": from_client},
            "limits": {"on_excess": "drop", "per_connection": per_connection},
        })))
    };
    POLICIES.with(|policies| Rc::clone(policies.borrow_mut().entry(settings).or_insert_with(build)))
}

/// A clock that says exactly what time it is.
struct Clock(Moment);

impl Budget for Clock {
    fn now(&self) -> Moment {
        self.0
    }

    fn spend(&self, _: u64, _: u64) -> bool {
        true
    }

    fn ask(&self, _: &str) -> bool {
        true
    }
}

/// What came of a script.
#[derive(Debug, Default, Eq, PartialEq)]
struct Run {
    /// What went on, with each frame of the script.
    forwarded: Vec<(Moment, Vec<u8>)>,
    swallowed: u32,
    violation: Option<Violation>,
}

impl Run {
    /// Plays the frames, each cut into chunks of at most `len` bytes.
    fn new(policies: &Policies, sent: &[(Moment, Vec<u8>)], len: usize) -> Self {
        let mut session = adapter::session(policies);
        let mut run = Self::default();
        for (now, frame) in sent {
            let late = Moment::from_nanos(now.as_nanos() - u64::try_from(LATENESS.as_nanos()).unwrap_or_default());
            let mut forwarded = Vec::new();
            for chunk in frame.chunks(len) {
                let (passed, violation, swallowed) = adapter::receive_within(&mut session, chunk, late, &Clock(*now));
                forwarded.extend(passed);
                run.violation = run.violation.or(violation);
                run.swallowed += swallowed;
            }
            run.forwarded.push((*now, forwarded));
        }
        run
    }

    /// The frames that went on, each with its time.
    fn frames(&self) -> Vec<(Moment, Frame)> {
        let frames = |(now, bytes): &(Moment, Vec<u8>)| {
            let now = *now;
            frames::read(bytes).into_iter().map(move |frame| (now, frame))
        };
        self.forwarded.iter().flat_map(frames).collect()
    }

    /// Whole frames went on that were sent, in their order, and they are whole messages; what is missing was swallowed.
    fn assert_whole(&self, sent: &[(Moment, Vec<u8>)]) {
        let passed: Vec<Frame> = self.frames().into_iter().map(|(_, frame)| frame).collect();
        assert!(passed.iter().all(Frame::is_whole), "half a frame");
        let sent: Vec<Frame> = sent.iter().flat_map(|(_, frame)| frames::read(frame)).collect();
        let sent_end = sent.iter().position(Frame::is_close).map_or(sent.len(), |at| at + 1);
        // Control frames may go past data that is held.
        for is_control in [false, true] {
            let mut left = sent[..sent_end].iter().filter(|frame| frame.is_control() == is_control);
            for frame in passed.iter().filter(|frame| frame.is_control() == is_control) {
                assert!(left.any(|sent| sent == frame), "something that was not sent, or not in this order");
            }
        }
        let mut is_open = false;
        for frame in passed.iter().filter(|frame| !frame.is_control()) {
            assert_eq!(frame.opcode() == 0, is_open, "a message in parts");
            is_open = !frame.fin();
        }
        let begun = |frames: &[Frame]| frames.iter().filter(|frame| frame.opcode() != 0).count();
        let missing = begun(&sent[..sent_end]).checked_sub(begun(&passed)).expect("no more than was sent");
        let swallowed = usize::try_from(self.swallowed).expect("few");
        // The last message may wait for its end; what follows a violation is missing too.
        let waiting = if self.violation.is_none() { 1 } else { missing };
        assert!(swallowed <= missing && missing <= swallowed + waiting, "{missing} are missing, {swallowed} swallowed");
        if self.violation == Some(Violation::RateExceeded) {
            let is_continued = sent.iter().any(|frame| frame.opcode() == 0);
            assert!(is_continued, "closed where a whole message could be dropped");
        }
    }

    /// Never more went on than the burst and what leaked out since.
    fn assert_within(&self, settings: Settings) {
        let is_a = |frame: &Frame| frame.bytes[0] == 0x81 && frame.payload == br#"{"type":"a"}"#;
        let typed = settings.depth & TYPED != 0;
        let (mut messages, mut bytes, mut of_type) = (0, 0, 0);
        for (now, frame) in self.frames() {
            if frame.is_close() {
                continue;
            }
            let within = |count: u64, per_second: u64, burst: u64| {
                let leaked = u128::from(per_second) * now.since(BIRTH.at).as_millis() / 1_000;
                u128::from(count) <= u128::from(burst) + leaked + 1
            };
            messages += u64::from(frame.opcode() != 0);
            bytes += frame.payload.len() as u64;
            of_type += u64::from(typed && is_a(&frame));
            assert!(within(messages, 4, settings.messages_burst), "{messages} messages");
            assert!(within(bytes, 50, settings.bytes_burst), "{bytes} bytes");
            assert!(within(of_type, 1, settings.type_burst), "{of_type} of a type");
        }
    }
}
