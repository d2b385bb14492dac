//! What peers say: mostly what they may, and now and then what they may not.

use portcullis_core::wire::Side;

use crate::dice::Dice;
use crate::model::Way;
use crate::policy::{Depth, Messages};

/// Writes frames into a [`Way`].
#[derive(Debug)]
pub(crate) struct Writer {
    dice: Dice,
    from: Side,
    messages: Messages,
    /// One frame in so many breaks a rule; 0: none does.
    fault_in: usize,
    /// Whether lengths may lie, behind which nobody finds the next frame.
    may_lie: bool,
    count: u32,
    has_ended: bool,
}

impl Writer {
    pub(crate) const fn new(dice: Dice, from: Side, messages: Messages, fault_in: usize, may_lie: bool) -> Self {
        Self { dice, from, messages, fault_in, may_lie, count: 0, has_ended: false }
    }

    /// Whether nothing follows.
    pub(crate) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Answers a ping of ours.
    pub(crate) fn answer(&self, way: &mut Way, payload: &[u8]) {
        self.write(way, 0x8a, payload);
    }

    /// Says one thing more: a frame, or as much of a message as is in one.
    pub(crate) fn say(&mut self, way: &mut Way) {
        self.count += 1;
        if self.dice.one_in(self.fault_in) {
            return self.misbehave(way);
        }
        let dice = &self.dice;
        if dice.one_in(24) {
            self.has_ended = true;
            let payload = dice.pick(&[&b""[..], b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0see \xc3\xa4"]);
            return self.write(way, 0x88, payload);
        }
        if dice.one_in(5) {
            let payload = format!("{:06}", self.count).repeat(dice.below(4));
            return self.write(way, dice.pick(&[0x89, 0x8a]), payload.as_bytes());
        }
        let (open_len, open_count) = way.open_len();
        if way.is_open() {
            let room = self.messages.message_len_max.saturating_sub(open_len);
            let is_last = open_count + 1 >= self.messages.fragments_max || room < 20 || dice.one_in(2);
            return self.go_on(way, is_last);
        }
        if self.messages.binary && dice.one_in(3) {
            let len = dice.below(self.len_max().min(90));
            let payload: Vec<u8> = (0..len).map(|_| dice.next().to_le_bytes()[0]).collect();
            let is_whole = self.messages.fragments_max < 2 || dice.one_in(2);
            return self.write(way, if is_whole { 0x82 } else { 0x02 }, &payload);
        }
        let is_whole = self.messages.fragments_max < 2 || dice.one_in(2);
        let text = match (self.messages.depth, is_whole) {
            (Depth::Json, true) => format!("{{\"n\": {}}}", self.count),
            (Depth::Json, false) => format!("[{},", self.count),
            _ => format!("{}{}", dice.pick(&["", "word ", "w\u{f6}rd ", "\u{1f600}"]), self.count),
        };
        let mut text = text.into_bytes();
        if self.messages.depth != Depth::Json && dice.one_in(10) {
            // Seldom one that goes on in pieces.
            let len_max = if dice.one_in(30) { self.len_max() } else { self.len_max().min(1_000) };
            text.resize(dice.below(len_max).max(text.len()), b'x');
        }
        self.write(way, if is_whole { 0x81 } else { 0x01 }, &text);
    }

    fn len_max(&self) -> usize {
        usize::try_from(self.messages.frame_len_max.min(self.messages.message_len_max)).unwrap_or_default()
    }

    fn go_on(&self, way: &mut Way, is_last: bool) {
        let text = match (self.messages.depth, is_last, way.open_is_text()) {
            (Depth::Json, true, true) => format!("{}]", self.count),
            (Depth::Json, false, true) => format!("{},", self.count),
            _ => format!("{:02}", self.count % 100),
        };
        self.write(way, if is_last { 0x80 } else { 0x00 }, text.as_bytes());
    }

    fn misbehave(&self, way: &mut Way) {
        let long = vec![b'y'; self.len_max() + 1 + self.dice.below(9)];
        let kind = self.dice.below(if self.may_lie { 16 } else { 13 });
        match kind {
            0 => self.write(way, 0x83 + u8::from(self.dice.one_in(2)) * 8, b"reserved"),
            1 => self.write(way, self.dice.pick(&[0x91, 0xa1, 0xc1, 0xc9]), b"bits"),
            2 => self.write(way, 0x09, b"half a ping"),
            3 => self.write(way, 0x81, b"\xff\xfe"),
            4 => self.write(way, 0x01, b"begins \xf0\x9f"),
            5 => self.write(way, 0x81, b"this is forbidden here"),
            6 => self.write(way, 0x81, b"{\"half\": "),
            7 => self.write(way, 0x82, &long),
            8 => self.write(way, 0x81, &long),
            9 => self.write(way, if way.is_open() { 0x81 } else { 0x80 }, b"out of turn"),
            10 => self.write(way, 0x88, self.dice.pick(&[&b"\x03"[..], b"\x03\xe7", b"\x03\xee!", b"\x03\xe8\xff"])),
            11 => self.write(way, 0x89, &[b'p'; 126]),
            // As many fragments as are too many, and then some.
            12 => {
                for _ in 0..self.messages.fragments_max.min(70) + 2 {
                    self.write(way, if way.is_open() { 0x00 } else { 0x01 }, b"");
                }
            }
            13 => {
                let mut frame = frame(self.from, 0x81, b"masks", self.key());
                frame[1] ^= 0x80;
                if self.from == Side::Server {
                    frame.splice(2..2, [1, 2, 3, 4]);
                } else {
                    frame.drain(2..6);
                }
                way.append(&frame);
            }
            _ => {
                let mut frame = frame(self.from, 0x81, &[], self.key());
                let len = frame[1] | 126;
                frame.splice(1..2, [len, 0, 0]);
                way.append(&frame);
            }
        }
    }

    fn key(&self) -> [u8; 4] {
        (self.dice.next() as u32).to_le_bytes()
    }

    fn write(&self, way: &mut Way, first: u8, payload: &[u8]) {
        way.append(&frame(self.from, first, payload, self.key()));
    }
}

/// A frame that begins with `first`.
fn frame(from: Side, first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mask = if from == Side::Client { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(mask | len as u8),
        len @ 126..65_536 => {
            frame.push(mask | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(mask | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    match from {
        Side::Client => {
            frame.extend(key);
            frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
        Side::Server => frame.extend(payload),
    }
    frame
}
