//! From frames to messages (RFC 6455 §5.4): which frame may follow which, and how long a message may become.
//!
//! Judged by headers alone, so that nothing of an oversized frame moves on. Control frames may stand anywhere and do
//! not count towards a message.
//!
//! ```text
//!            Text|Binary, fin                 Continuation, fin
//!   Idle ───────────────────▶ Idle   Open ──────────────────────▶ Idle
//!        ── Text|Binary ────▶ Open        ── Continuation ──────▶ Open
//!        ── Continuation ───▶ refused     ── Text|Binary ───────▶ refused
//! ```

use crate::violation::Violation;
use crate::wire::header::{FrameHeader, Opcode};

/// What becomes of binary messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binary {
    /// They pass.
    Allow,
    /// They do not.
    Refuse,
    /// They are judged exactly as texts are.
    Text,
}

/// What the messages of one side may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageRules {
    /// The longest frame payload, in bytes.
    pub frame_len_max: u64,
    /// The longest message, all its fragments together, in bytes.
    pub message_len_max: u64,
    /// The most fragments of one message; empty ones count.
    pub fragments_max: u32,
    /// Whether text messages are allowed.
    pub text: bool,
    /// Whether binary messages are allowed.
    pub binary: Binary,
    /// Whether text has to be UTF-8.
    pub utf8: bool,
    /// Whether a message is held until it is whole.
    pub whole: bool,
}

impl MessageRules {
    /// Whether a message that begins with this opcode is judged as text.
    #[must_use]
    pub fn is_text(&self, opcode: Opcode) -> bool {
        opcode == Opcode::Text || (opcode == Opcode::Binary && self.binary == Binary::Text)
    }

    /// Whether some payload is read.
    #[must_use]
    pub const fn read_payload(&self) -> bool {
        self.utf8 || self.whole
    }

    /// The most bytes that a message may have on the wire: deflate makes what it cannot compress a little longer, at most by
    /// five bytes for each block (RFC 1951 §3.2.4), and common compressors make blocks of 16 KiB and more.
    const fn wire_len_max(&self, compressed: bool) -> u64 {
        if compressed {
            self.message_len_max.saturating_add(self.message_len_max >> 6).saturating_add(64)
        } else {
            self.message_len_max
        }
    }
}

/// Follows the frames of one side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reassembly {
    open: Option<Unfinished>,
    /// How much of the message in hand, or the last one, its headers have announced.
    len: u64,
}

#[derive(Clone, Copy, Debug)]
struct Unfinished {
    compressed: bool,
    len: u64,
    fragments: u32,
}

impl Reassembly {
    /// No message yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { open: None, len: 0 }
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How long the message in hand is so far, or the last one was, in bytes of payload.
    #[must_use]
    pub const fn message_len(&self) -> u64 {
        self.len
    }

    /// Takes the next frame's header. Tells `find` of [`Violation::TypeRefused`] and [`Violation::FragmentsExceeded`], behind which a message can
    /// be judged, and whether it is the first of a message.
    ///
    /// # Errors
    /// Those of `find`; [`Violation::ProtocolError`] for a frame out of turn, and [`Violation::MessageTooBig`] for one that `rules` refuse. The
    /// frame counts as received all the same.
    pub fn receive<E: From<Violation>>(
        &mut self,
        header: &FrameHeader,
        rules: &MessageRules,
        find: &dyn Fn(Violation, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let begun = Unfinished { compressed: header.compressed, len: 0, fragments: 0 };
        let (message, is_in_turn) = match (header.opcode, self.open) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong | Opcode::Reserved, _) => return Ok(()),
            (Opcode::Continuation, Some(open)) => (open, true),
            (Opcode::Text | Opcode::Binary, None) => (begun, true),
            // "A fragmented message consists of a single frame with an opcode other than 0, followed by … frames with
            // the opcode set to 0" (RFC 6455 §5.4).
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => (begun, false),
        };
        let message = Unfinished {
            len: message.len.saturating_add(header.payload_len),
            fragments: message.fragments.saturating_add(1),
            ..message
        };
        self.len = message.len;
        self.open = (!header.fin).then_some(message);
        if !is_in_turn {
            return Err(Violation::ProtocolError.into());
        }

        if (header.opcode == Opcode::Text && !rules.text)
            || (header.opcode == Opcode::Binary && rules.binary == Binary::Refuse)
        {
            find(Violation::TypeRefused, true)?;
        }
        if header.payload_len > rules.frame_len_max || message.len > rules.wire_len_max(message.compressed) {
            return Err(Violation::MessageTooBig.into());
        }
        if message.fragments > rules.fragments_max {
            find(Violation::FragmentsExceeded, message.fragments.saturating_sub(1) <= rules.fragments_max)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: MessageRules = MessageRules {
        frame_len_max: 100,
        message_len_max: 150,
        fragments_max: 3,
        text: true,
        binary: Binary::Refuse,
        utf8: false,
        whole: false,
    };

    const fn frame(fin: bool, opcode: Opcode, payload_len: u64) -> FrameHeader {
        FrameHeader { fin, compressed: false, opcode, mask: None, payload_len, header_len: 2 }
    }

    #[track_caller]
    fn check(frames: &[FrameHeader], expected: Result<(), Violation>) {
        let mut messages = Reassembly::default();
        let (last, before) = frames.split_last().unwrap();
        for frame in before {
            assert_eq!(messages.receive(frame, &RULES, &|violation, _| Err(violation)), Ok(()));
        }
        assert_eq!(messages.receive(last, &RULES, &|violation, _| Err(violation)), expected);
    }

    #[test]
    fn a_frame_is_as_long_as_allowed() {
        check(&[frame(true, Opcode::Text, 100)], Ok(()));
        check(&[frame(true, Opcode::Text, 101)], Err(Violation::MessageTooBig));
        check(&[frame(true, Opcode::Text, u64::MAX)], Err(Violation::MessageTooBig));
    }

    #[test]
    fn a_message_is_as_long_as_allowed() {
        let first = frame(false, Opcode::Text, 100);
        check(&[first, frame(true, Opcode::Continuation, 50)], Ok(()));
        check(&[first, frame(true, Opcode::Continuation, 51)], Err(Violation::MessageTooBig));
    }

    #[test]
    fn a_compressed_message_may_be_a_little_longer_on_the_wire() {
        let first = FrameHeader { compressed: true, ..frame(false, Opcode::Text, 100) };
        check(&[first, frame(false, Opcode::Continuation, 100), frame(true, Opcode::Continuation, 16)], Ok(()));
        let too_long = [first, frame(false, Opcode::Continuation, 100), frame(true, Opcode::Continuation, 17)];
        check(&too_long, Err(Violation::MessageTooBig));
    }

    #[test]
    fn empty_fragments_count() {
        let (first, next) = (frame(false, Opcode::Text, 0), frame(false, Opcode::Continuation, 0));
        check(&[first, next, next], Ok(()));
        check(&[first, next, next, next], Err(Violation::FragmentsExceeded));
    }

    #[test]
    fn fragments_come_in_turn() {
        check(&[frame(true, Opcode::Continuation, 1)], Err(Violation::ProtocolError));
        check(&[frame(false, Opcode::Text, 1), frame(true, Opcode::Text, 1)], Err(Violation::ProtocolError));
        check(&[frame(true, Opcode::Text, 1), frame(true, Opcode::Text, 1)], Ok(()));
    }

    #[test]
    fn control_frames_stand_between_fragments() {
        let frames = [
            frame(false, Opcode::Text, 1),
            frame(true, Opcode::Ping, 125),
            frame(true, Opcode::Pong, 0),
            frame(true, Opcode::Continuation, 1),
            frame(true, Opcode::Close, 2),
        ];
        check(&frames, Ok(()));
    }

    #[test]
    fn types_are_refused_by_the_first_fragment() {
        check(&[frame(false, Opcode::Binary, 0)], Err(Violation::TypeRefused));
    }
}
