//! What may go on of what a peer sends, without the core: frames are read here in the plainest way.
//!
//! ```text
//! script   what the sender means to send, frame by frame, each judged when it is written down
//! sent     how much of it the proxy has been given
//! passed   what came out on the other side: read frame by frame, and each found in the script
//! ```

use portcullis_core::wire::Side;

use crate::frame::{CLOSE, Head, PING, PONG, check_control, check_text, head, unmasked};
use crate::policy::{Depth, Global, Messages, Terms};
use crate::show;

/// What one side sends, and what of it comes out.
#[derive(Debug)]
pub(crate) struct Way {
    from: Side,
    messages: Messages,
    is_monitor: bool,
    /// Whether frames may be swallowed.
    is_dropped: bool,
    /// Whether there may be no room for a frame until it is whole.
    is_narrow: bool,
    script: Vec<u8>,
    sent_len: usize,
    frames: Vec<Frame>,
    open: Option<Open>,
    /// What the policy refuses, in order.
    refused: Vec<Refused>,
    /// The most messages and control frames at once; none where a service counts them too.
    burst: u64,
    passed: Vec<u8>,
    read_len: usize,
    next_data: usize,
    next_control: usize,
    /// The reason of a Close that nobody has sent.
    own_close: Option<String>,
    has_closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    start: usize,
    end: usize,
    payload_start: usize,
    opcode: u8,
    is_text: bool,
    /// The last frame of its message.
    last: Option<usize>,
    first: usize,
}

/// Frames without their masks: the first byte and the payload of each, and what is no whole frame.
pub(crate) type Plain = Vec<(u8, Vec<u8>)>;

/// A message that has begun.
#[derive(Debug)]
struct Open {
    first: usize,
    is_text: bool,
    len: u64,
    count: u64,
    payload: Vec<u8>,
}

/// A frame that the policy refuses.
#[derive(Clone, Copy, Debug)]
struct Refused {
    frame: usize,
    /// The first frame of its message, where that is what is refused.
    first: usize,
}

/// The longest frame that waits until it is whole where its message does not, in bytes of payload.
const FRAME_LEN_MAX: usize = 65_536;

impl Way {
    pub(crate) const fn new(from: Side, terms: &Terms) -> Self {
        let Terms { is_monitor, is_dropped, has_little_room, burst, global, .. } = *terms;
        Self {
            from,
            messages: *terms.of(from),
            is_monitor,
            is_dropped: is_dropped && matches!(from, Side::Client),
            is_narrow: has_little_room,
            script: Vec::new(),
            sent_len: 0,
            frames: Vec::new(),
            open: None,
            refused: Vec::new(),
            burst: if matches!(global, Global::Messages { .. }) { 0 } else { burst },
            passed: Vec::new(),
            read_len: 0,
            next_data: 0,
            next_control: 0,
            own_close: None,
            has_closed: false,
        }
    }

    /// Another policy is in force, or soon.
    pub(crate) fn reload(&mut self, terms: &Terms) {
        self.is_dropped |= terms.is_dropped && self.from == Side::Client;
        self.is_narrow |= terms.has_little_room;
        self.burst = self.burst.min(if matches!(terms.global, Global::Messages { .. }) { 0 } else { terms.burst });
    }

    /// How many bytes of the script have not been sent.
    pub(crate) const fn unsent_len(&self) -> usize {
        self.script.len() - self.sent_len
    }

    pub(crate) const fn frame_count(&self) -> usize {
        self.frames.len()
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(crate) fn open_len(&self) -> (u64, u64) {
        self.open.as_ref().map_or((0, 0), |open| (open.len, open.count))
    }

    pub(crate) fn open_is_text(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_text)
    }

    pub(crate) fn own_close(&self) -> Option<&str> {
        self.own_close.as_deref()
    }

    /// Whether nothing may follow: monitor mode lets pass what peers say behind their own Close.
    const fn is_ended(&self) -> bool {
        self.own_close.is_some() || (self.has_closed && !self.is_monitor)
    }

    pub(crate) const fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Whether what came out ends with a frame.
    pub(crate) const fn is_between_frames(&self) -> bool {
        self.read_len == self.passed.len()
    }

    /// Takes the next bytes of the script.
    pub(crate) fn send(&mut self, len: usize) -> Vec<u8> {
        let end = (self.sent_len + len).min(self.script.len());
        let bytes = self.script[self.sent_len..end].to_vec();
        self.sent_len = end;
        bytes
    }

    /// Writes one frame down, and judges it.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let index = self.frames.len();
        let start = self.script.len();
        self.script.extend_from_slice(bytes);
        let head = head(bytes, self.from).expect("a whole frame");
        let end = start + bytes.len();
        let payload: Vec<u8> = unmasked(&head, bytes);
        let is_control = head.opcode >= CLOSE;
        let frame = Frame {
            start,
            end,
            payload_start: start + head.head_len,
            opcode: head.opcode,
            is_text: self.open.as_ref().map_or(head.opcode == 1, |open| open.is_text),
            last: None,
            first: self.open.as_ref().map_or(index, |open| open.first),
        };
        self.frames.push(frame);
        let verdict = if is_control { check_control(&head, &payload) } else { self.check_data(&head, index, payload) };
        if let Err(first) = verdict {
            self.refused.push(Refused { frame: index, first: first.unwrap_or(index) });
        }
    }

    /// The error is the first frame of the message, where that is refused and not this frame alone.
    fn check_data(&mut self, head: &Head, index: usize, payload: Vec<u8>) -> Result<(), Option<usize>> {
        let is_in_turn = (head.opcode == 0) == self.open.is_some();
        let rules = self.messages;
        let mut open = self.open.take().filter(|_| head.opcode == 0).unwrap_or(Open {
            first: index,
            is_text: head.opcode == 1,
            len: 0,
            count: 0,
            payload: Vec::new(),
        });
        open.len += payload.len() as u64;
        open.count += 1;
        let frame_len = payload.len() as u64;
        open.payload.extend(payload);
        let is_text = open.is_text;
        if let Some(frame) = self.frames.get_mut(index) {
            (frame.first, frame.is_text) = (open.first, is_text);
        }
        let is_refused = !head.is_valid
            || !is_in_turn
            || (head.opcode == 2 && !rules.binary)
            || frame_len > rules.frame_len_max.min(rules.message_len_max)
            || open.len > rules.message_len_max
            || open.count > rules.fragments_max;
        if is_refused {
            self.open = (!head.fin).then_some(open);
            return Err(None);
        }
        let said = if is_text { check_text(&open.payload, head.fin, rules.depth) } else { Ok(()) };
        let first = open.first;
        if head.fin {
            for frame in &mut self.frames[first..] {
                if frame.opcode < CLOSE {
                    frame.last = Some(index);
                }
            }
        } else {
            self.open = Some(open);
        }
        said.map_err(|()| Some(first))
    }

    /// Whether something that was sent has to be refused.
    pub(crate) fn must_be_refused(&self) -> bool {
        let is_before = |index| self.frames[..index].iter().all(|frame| frame.opcode != CLOSE);
        self.refused.first().is_some_and(|refused| {
            self.sent_len >= self.frames[refused.frame].end && is_before(refused.frame) && !self.is_monitor
        })
    }

    /// Whether something that was sent, as far as it was sent, may be refused.
    pub(crate) fn may_be_refused(&self) -> bool {
        self.refused.iter().any(|refused| self.sent_len > self.frames[refused.first].start)
    }

    /// How many frames were sent, as far as they count.
    pub(crate) fn sent_count(&self) -> u64 {
        self.frames.iter().filter(|frame| frame.start < self.sent_len).count() as u64
    }

    /// Takes what goes on; `pings` are those of ours.
    pub(crate) fn pass(&mut self, bytes: &[u8], pings: &mut Vec<Vec<u8>>) -> Result<(), String> {
        self.passed.extend_from_slice(bytes);
        while let Some(head) = head(&self.passed[self.read_len..], self.from) {
            let end = self.read_len + head.head_len + head.len;
            if end > self.passed.len() {
                break;
            }
            let frame = self.passed[self.read_len..end].to_vec();
            self.take(&head, &frame, pings)?;
            self.read_len = end;
        }
        let tail = &self.passed[self.read_len..];
        let is_begun = |frame: &Frame| {
            // What has been judged and waited goes on in pieces.
            let is_early = frame.opcode >= CLOSE || self.is_eager(frame) || self.is_judged(frame);
            is_early && self.script[frame.start..frame.end.min(self.sent_len)].starts_with(tail)
        };
        // A Close of ours that waited goes on in pieces as well, and is looked at when it is whole.
        let is_close = self.from == Side::Client && tail.first() == Some(&0x88);
        if !(tail.is_empty() || is_close)
            && (self.is_ended() || !self.frames[self.next_data.min(self.next_control)..].iter().any(is_begun))
        {
            return Err(format!("part of a frame goes on that is none: {}", show(tail)));
        }
        Ok(())
    }

    fn take(&mut self, head: &Head, bytes: &[u8], pings: &mut Vec<Vec<u8>>) -> Result<(), String> {
        if self.is_ended() {
            return Err(format!("behind a Close goes on {}", show(bytes)));
        }
        let is_control = head.opcode >= CLOSE;
        let next = if is_control { self.next_control } else { self.next_data };
        let is_same = |frame: &Frame| {
            (frame.opcode >= CLOSE) == is_control
                && frame.end <= self.sent_len
                && self.script[frame.start..frame.end] == *bytes
        };
        let found = self.frames[next..].iter().position(is_same).map(|ahead| next + ahead);
        let Some(index) = found else {
            let payload = unmasked(head, bytes);
            match (head.opcode, self.from) {
                (CLOSE, _) if head.is_valid && head.len >= 2 => {
                    self.has_closed = true;
                    self.own_close = Some(String::from_utf8_lossy(&payload[2..]).into_owned());
                    return Ok(());
                }
                (PING, Side::Server) if head.len == 8 && head.is_valid => {
                    pings.push(payload);
                    return Ok(());
                }
                _ => return Err(format!("a frame goes on that nobody sent, or once more: {}", show(bytes))),
            }
        };
        if self.forbids(index) {
            return Err(format!("frame {index} goes on, which is refused or stands behind one that is"));
        }
        let skipped = (next..index).filter(|skipped| (self.frames[*skipped].opcode >= CLOSE) == is_control);
        for skipped in skipped {
            if !self.may_miss(skipped, index, pings) {
                return Err(format!("frame {skipped} is left out before {index}"));
            }
        }
        let frame = self.frames[index];
        if is_control {
            self.next_control = index + 1;
            self.has_closed |= frame.opcode == CLOSE;
            return Ok(());
        }
        if !self.is_monitor && !self.is_judged(&frame) {
            return Err(format!("frame {index} goes on before its message is judged"));
        }
        if self.next_control > index && !self.is_monitor {
            let was_open = frame.last.is_none_or(|last| last + 1 >= self.next_control);
            if !was_open {
                return Err(format!("frame {index} goes on behind later ones"));
            }
        }
        self.next_data = index + 1;
        Ok(())
    }

    /// Whether a frame may be left out.
    fn may_miss(&self, skipped: usize, index: usize, pings: &[Vec<u8>]) -> bool {
        let frame = &self.frames[skipped];
        if self.is_dropped && !self.is_monitor {
            // The whole of a message.
            return frame.opcode >= CLOSE || frame.first >= self.next_data || frame.first != self.frames[index].first;
        }
        self.is_answer(frame, pings)
    }

    /// Whether it answers a ping of ours.
    fn is_answer(&self, frame: &Frame, pings: &[Vec<u8>]) -> bool {
        let payload = || {
            let bytes = &self.script[frame.start..frame.end];
            head(bytes, self.from).map(|head| unmasked(&head, bytes)).unwrap_or_default()
        };
        frame.opcode == PONG && pings.contains(&payload())
    }

    /// Whether it is good as far as the policy can tell when it may go on.
    fn is_judged(&self, frame: &Frame) -> bool {
        let end = match self.holds() {
            true => frame.last.map(|last| self.frames[last].end),
            false => Some(frame.end),
        };
        let is_refused = self.refused.iter().any(|refused| match self.is_loose() {
            true => refused.first == frame.first,
            false => self.frames[refused.first].start <= frame.start,
        });
        end.is_some_and(|end| end <= self.sent_len) && !(is_refused && self.holds())
    }

    /// Whether what is refused may have been swallowed before it was judged: then what stands behind it goes on.
    fn is_loose(&self) -> bool {
        self.is_dropped && self.sent_count() > self.burst
    }

    /// Whether a frame must not go on, whatever happens.
    fn forbids(&self, index: usize) -> bool {
        let (frame, is_loose) = (&self.frames[index], self.is_loose());
        let is_of = |refused: &Refused| {
            frame.opcode < CLOSE && self.holds() && refused.first < refused.frame && refused.first == frame.first
        };
        let forbids = |refused: &Refused| match is_loose {
            true => refused.frame == index || is_of(refused),
            false => refused.frame <= index,
        };
        !self.is_monitor && self.refused.iter().any(forbids)
    }

    /// Whether messages wait until they are whole.
    const fn holds(&self) -> bool {
        match self.messages.depth {
            Depth::Headers | Depth::Utf8 => false,
            Depth::Json | Depth::Pattern | Depth::Whole => true,
        }
    }

    /// Whether it goes on as it comes.
    fn is_eager(&self, frame: &Frame) -> bool {
        self.is_monitor
            || match self.messages.depth {
                Depth::Headers => true,
                Depth::Utf8 => !frame.is_text || self.is_narrow || frame.end - frame.payload_start > FRAME_LEN_MAX,
                Depth::Json | Depth::Pattern | Depth::Whole => false,
            }
    }

    /// What has been sent, may go on, and has not.
    pub(crate) fn missing(&self, pings: &[Vec<u8>]) -> Option<usize> {
        let limit = self.refused.first().map_or(self.frames.len(), |refused| refused.first);
        for (index, frame) in self.frames[..limit].iter().enumerate() {
            let is_whole = frame.last.is_some_and(|last| self.frames[last].end <= self.sent_len);
            let may_wait = frame.opcode < CLOSE && !is_whole && (self.holds() || self.messages.tunnels_refused);
            let has_passed = if frame.opcode >= CLOSE { index < self.next_control } else { index < self.next_data };
            if frame.end <= self.sent_len
                && !may_wait
                && !has_passed
                && !self.is_dropped
                && !self.is_answer(frame, pings)
            {
                return Some(index);
            }
            if frame.opcode == CLOSE {
                break;
            }
        }
        None
    }

    /// The frames that came out, without their masks: what two runs have in common whose random numbers differ.
    pub(crate) fn plain(&self) -> Plain {
        let mut rest = &self.passed[..];
        let mut plain = Vec::new();
        while let Some(head) = head(rest, self.from)
            && let Some((frame, others)) = rest.split_at_checked(head.head_len + head.len)
        {
            plain.push((frame[0], unmasked(&head, frame)));
            rest = others;
        }
        plain.push((0xff, rest.to_vec()));
        plain
    }

    pub(crate) fn describe(&self) -> String {
        let frames: Vec<String> = self
            .frames
            .iter()
            .map(|frame| {
                format!("{:x}:{}+{}..{}", frame.opcode, frame.start, frame.payload_start - frame.start, frame.end)
            })
            .collect();
        format!(
            "{:?}: {frames:?}, {} of {} sent, refused {:?}, data {} control {}, {} passed",
            self.from,
            self.sent_len,
            self.script.len(),
            self.refused,
            self.next_data,
            self.next_control,
            self.passed.len()
        )
    }
}
