//! What a Close frame says.

use portcullis_core::violation::Violation;
use portcullis_core::wire::Side;
use portcullis_core::wire::close::{check_payload, close_frame};

use crate::frames;

/// A payload: judged as RFC 6455 §7.4 and the IANA registry have it; and our own frames are read again as they were meant.
pub fn close(data: &[u8]) {
    assert_eq!(check_payload(data), expected(data));

    let (code, text) = data.split_at(data.len().min(2));
    let Ok(code) = code.try_into().map(u16::from_be_bytes) else { return };
    let mask = data.last_chunk().copied().unwrap_or([0xa5; 4]);
    // Our reasons are ASCII.
    let reason: String = text.iter().map(|byte| char::from(byte & 0x7f)).collect();
    for to in [Side::Client, Side::Server] {
        let frame = close_frame(to, code, &reason, mask);
        let read = frames::read(&frame);
        let [read] = read.as_slice() else { panic!("{} frames", read.len()) };
        assert!(read.is_whole() && read.is_close() && read.fin() && !read.has_long_length());
        assert_eq!(frame[0], 0x88, "a reserved bit");
        assert_eq!(frame[1] & 0x80 != 0, to == Side::Server, "the mask");
        assert!(read.payload.len() <= 125);
        let said = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        assert_eq!(read.payload, said[..said.len().min(125)]);
        assert_eq!(check_payload(&read.payload), expected(&read.payload));
    }
}

/// The table of codes, code by code.
fn expected(payload: &[u8]) -> Result<(), Violation> {
    if payload.is_empty() {
        return Ok(());
    }
    if payload.len() < 2 {
        return Err(Violation::ProtocolError);
    }
    let is_assigned = match u16::from(payload[0]) * 256 + u16::from(payload[1]) {
        0..=999 => false,
        1000..=1003 => true,
        1004..=1006 => false,
        1007..=1014 => true,
        1015..=2999 => false,
        3000..=4999 => true,
        5000.. => false,
    };
    if !is_assigned {
        return Err(Violation::ProtocolError);
    }
    String::from_utf8(payload[2..].to_vec()).map(drop).map_err(|_| Violation::InvalidUtf8)
}
