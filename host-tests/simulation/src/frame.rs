//! Frames and what they say, read in the plainest way (RFC 6455 §5).

use portcullis_core::wire::Side;
use serde_json::Value;

use crate::policy::Depth;

pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A frame as it stands in some bytes.
pub(crate) struct Head {
    pub(crate) opcode: u8,
    pub(crate) fin: bool,
    pub(crate) is_valid: bool,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) head_len: usize,
    pub(crate) len: usize,
}

/// Reads the head of a frame (RFC 6455 §5.2).
pub(crate) fn head(bytes: &[u8], from: Side) -> Option<Head> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (opcode, fin) = (first & 15, first & 128 != 0);
    let (is_masked, short) = (second & 128 != 0, usize::from(second & 127));
    let (len, more, is_minimal) = match short {
        126 => {
            let len = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
            (len, 2, len > 125)
        }
        127 => {
            let len = u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?);
            (usize::try_from(len).ok()?, 8, len > 65_535)
        }
        _ => (short, 0, true),
    };
    let at = 2 + more;
    let mask = if is_masked { Some(*bytes.get(at..at + 4)?.first_chunk()?) } else { None };
    let is_control = opcode >= CLOSE;
    let is_valid = first & 0x70 == 0
        && (opcode <= 2 || (CLOSE..=PONG).contains(&opcode))
        && is_masked == (from == Side::Client)
        && is_minimal
        && !(is_control && (!fin || len > 125));
    Some(Head { opcode, fin, is_valid, mask, head_len: at + if is_masked { 4 } else { 0 }, len })
}

pub(crate) fn unmasked(head: &Head, frame: &[u8]) -> Vec<u8> {
    let key = head.mask.unwrap_or_default();
    frame[head.head_len..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

pub(crate) fn check_control(head: &Head, payload: &[u8]) -> Result<(), Option<usize>> {
    let is_close_good = match payload {
        [] => true,
        [_] => false,
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) && core::str::from_utf8(reason).is_ok()
        }
    };
    if head.is_valid && (head.opcode != CLOSE || is_close_good) { Ok(()) } else { Err(None) }
}

pub(crate) fn check_text(payload: &[u8], is_whole: bool, depth: Depth) -> Result<(), ()> {
    if depth == Depth::Headers {
        return Ok(());
    }
    let is_broken = match core::str::from_utf8(payload) {
        Ok(_) => false,
        Err(error) => error.error_len().is_some() || is_whole,
    };
    let is_refused = is_whole
        && match depth {
            Depth::Json => serde_json::from_slice::<Value>(payload).is_err(),
            Depth::Pattern => payload.windows(9).any(|window| window == b"forbidden"),
            Depth::Headers | Depth::Utf8 | Depth::Whole => false,
        };
    if is_broken || is_refused { Err(()) } else { Ok(()) }
}
