//! Live connections: what goes on of what both sides send, however it is cut.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::thread_local;

use portcullis_core::docket::Overlooked;
use portcullis_core::policy::routes::Policies;
use portcullis_core::violation::Violation;
use portcullis_core::wire::Side::{self, Client, Server};
use portcullis_core::wire::close::check_payload;
use serde_json::json;

use crate::adapter;
use crate::frames::{self, Frame};
use crate::input::Input;

const MONITOR: u8 = 0b0000_0001;
const SMALL: u8 = 0b0000_0010;
const TEXT_ONLY: u8 = 0b0000_0100;
const UTF8: u8 = 0b0000_1000;
const WHOLE: u8 = 0b0001_0000;
const INSPECT: u8 = 0b0010_0000;

thread_local! {
    static POLICIES: RefCell<HashMap<u8, Rc<Policies>>> = RefCell::default();
}

/// A byte of settings, then pieces of both sides: a byte whose top bit is the side and whose rest the length, then as many bytes.
pub fn decoder(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = input.byte();
    let policies = policies(settings);
    let mut pieces = Vec::new();
    while !input.is_empty() {
        let control = input.byte();
        let from = if control & 0x80 == 0 { Client } else { Server };
        let len = match usize::from(control & 0x7f) {
            127 => 127 + 8 * usize::from(input.byte()),
            len => len,
        };
        pieces.push((from, input.take(len)));
    }

    let run = Run::new(&policies, &pieces, usize::MAX);
    for len in [1, 2 + data.len() % 7, 16 + data.len() % 61] {
        assert_eq!(Run::new(&policies, &pieces, len), run, "in chunks of {len}");
    }
    for from in [Client, Server] {
        let sent: Vec<u8> =
            pieces.iter().filter(|(side, _)| *side == from).flat_map(|(_, bytes)| *bytes).copied().collect();
        run.assert_forwarded(from, &sent, settings & MONITOR == 0);
    }
    if settings & MONITOR == 0 {
        run.assert_good_forwarded(&policies);
    } else {
        assert_eq!(run.closing, None, "closed in monitor mode");
    }
}

fn policies(settings: u8) -> Rc<Policies> {
    let build = || {
        let (frame, message, fragments) = if settings & SMALL == 0 { (300, 1_000, 100) } else { (20, 30, 3) };
        let side = |binary: bool| {
            json!({
                "max_frame_bytes": frame,
                "max_message_bytes": message,
                "max_fragments": fragments,
                "binary": if binary { "allow" } else { "refuse" },
                "utf8": settings & UTF8 != 0,
                "whole": settings & WHOLE != 0,
            })
        };
        Rc::new(adapter::policies(&json!({
            "mode": if settings & MONITOR == 0 { "enforce" } else { "monitor" },
            "origin": {"allow": ["*"]},
            "auth": {"required": false},
            "compression": if settings & INSPECT == 0 { "refuse" } else { "inspect" },
            "messages": {"from_client": side(settings & TEXT_ONLY == 0), "from_server": side(true)},
            "limits": {"per_connection": null},
        })))
    };
    POLICIES.with(|policies| Rc::clone(policies.borrow_mut().entry(settings).or_insert_with(build)))
}

/// What came of a script.
#[derive(Debug, Default, Eq, PartialEq)]
struct Run {
    /// What went on of the client's and of the server's bytes, without our own frames.
    forwarded: [Vec<u8>; 2],
    /// Our Close frames behind them.
    closes: [Option<Vec<u8>>; 2],
    /// The first violation, and who it was.
    violation: Option<(Side, Violation)>,
    /// What monitor mode has let pass of each side, and how often, in the order in which it was first found.
    overlooked: Vec<(Side, Violation, u32)>,
    /// Why the connection is being closed.
    closing: Option<Violation>,
}

const fn index(side: Side) -> usize {
    match side {
        Client => 0,
        Server => 1,
    }
}

impl Run {
    /// Plays the pieces, each cut into chunks of at most `len` bytes.
    fn new(policies: &Policies, pieces: &[(Side, &[u8])], len: usize) -> Self {
        let mut session = adapter::session(policies);
        let mut run = Self::default();
        for (from, chunk) in pieces.iter().flat_map(|(from, bytes)| bytes.chunks(len).map(move |chunk| (*from, chunk)))
        {
            let was_closing = session.violation();
            let (forwarded, violation, overlooked) = adapter::receive(&mut session, from, chunk);
            run.overlook(from, overlooked);
            if was_closing.is_some() {
                assert_eq!((violation, session.violation()), (None, was_closing), "a second verdict");
                let offender = run.violation.expect("a violation").0;
                assert!(from != offender || forwarded.is_empty(), "more of the offender goes on");
            }
            if run.closes[index(from)].is_some() {
                assert!(forwarded.is_empty(), "something follows our Close");
            }
            run.forwarded[index(from)].extend(forwarded);
            if let (None, Some(violation)) = (run.violation, violation) {
                run.violation = Some((from, violation));
            }
            for to in [Client, Server] {
                if let Some(close) = session.transmit(to, [1, 2, 3, 4]) {
                    assert!(session.violation().is_some(), "a Close without a reason");
                    let before = run.closes[index(to.peer())].replace(close);
                    assert_eq!(before, None, "two Closes");
                }
            }
            assert!(session.violation().is_none() || session.deadline().is_some());
        }
        run.closing = session.violation();
        run
    }

    fn overlook(&mut self, from: Side, overlooked: Vec<Overlooked>) {
        for Overlooked { refusal, count, .. } in overlooked {
            let violation = refusal.violation;
            match self.overlooked.iter_mut().find(|(side, known, _)| (*side, *known) == (from, violation)) {
                Some((_, _, known)) => *known += count,
                None => self.overlooked.push((from, violation, count)),
            }
        }
    }

    /// What went on is what was sent, in its order; control frames may go past data.
    fn assert_forwarded(&self, from: Side, sent: &[u8], is_enforced: bool) {
        let forwarded = frames::read(&self.forwarded[index(from)]);
        let sent = frames::read(sent);
        // Bytes behind a Close mean nothing: while frames are judged they are dropped, later they are not.
        let until_close = |frames: &[Frame]| frames.iter().position(Frame::is_close).map_or(frames.len(), |at| at + 1);
        let sent = &sent[..until_close(&sent)];
        let bytes = |frames: &[Frame], is_control: bool| -> Vec<u8> {
            let frames = frames.iter().filter(|frame| frame.is_control() == is_control);
            frames.flat_map(|frame| frame.bytes.clone()).collect()
        };
        for is_control in [false, true] {
            let forwarded = bytes(&forwarded[..until_close(&forwarded)], is_control);
            assert!(bytes(sent, is_control).starts_with(&forwarded), "something that was not sent");
        }
        if is_enforced {
            let close = forwarded.iter().position(Frame::is_close);
            assert!(close.is_none_or(|index| index + 1 == forwarded.len()), "something follows a Close");
            assert!(close.is_none() || self.closes[index(from)].is_none(), "two Closes");
        }
        if let Some(close) = &self.closes[index(from)] {
            assert!(forwarded.iter().all(Frame::is_whole), "a Close within a frame");
            let close = frames::read(close);
            assert!(close.len() == 1 && close[0].is_whole() && close[0].is_close());
            assert_eq!(check_payload(&close[0].payload), Ok(()));
        }
        let Some((offender, _)) = self.violation else {
            // The last message may wait for its end; control frames wait for nothing.
            let is_end = |frame: &Frame| frame.is_whole() && frame.fin() && !frame.is_control();
            let last = sent.iter().rposition(is_end).map_or(0, |last| last + 1);
            let waits = |index: usize, frame: &Frame| !frame.is_whole() || (index >= last && !frame.is_control());
            for (_, frame) in sent.iter().enumerate().filter(|(index, frame)| !waits(*index, frame)) {
                assert!(forwarded.contains(frame), "a good frame did not go on");
            }
            return;
        };
        if is_enforced && offender == from {
            assert!(forwarded.iter().all(Frame::is_whole), "half a frame of the offender");
        }
    }

    /// What went on is good, if it is the whole of what was sent.
    fn assert_good_forwarded(&self, policies: &Policies) {
        let pieces = [(Client, self.forwarded[0].as_slice()), (Server, self.forwarded[1].as_slice())];
        let again = Self::new(policies, &pieces, usize::MAX);
        assert_eq!(again.violation, None);
        // What may begin another protocol is told by what the other side has said, part of which may have been refused here: then it waits.
        for (again, forwarded) in again.forwarded.iter().zip(&self.forwarded) {
            assert!(forwarded.starts_with(again), "something that did not go on");
        }
    }
}
