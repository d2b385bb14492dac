//! WebSocket frames as bytes, well-formed and otherwise (RFC 6455 §5.2).

/// Opcode of a text frame.
pub const TEXT: u8 = 0x1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 0x2;
/// Opcode of a Close frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a Ping frame.
pub const PING: u8 = 0x9;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A final frame as a server sends it.
pub fn server(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [header(opcode, 0, payload.len() as u64), payload.to_vec()].concat()
}

/// A final frame as a client sends it.
pub fn client(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [client_header(opcode, payload.len() as u64), unmask(KEY, payload)].concat()
}

/// The header alone, for a payload of `len` bytes that may never come.
pub fn client_header(opcode: u8, len: u64) -> Vec<u8> {
    [header(opcode, MASKED, len), KEY.to_vec()].concat()
}

/// The code and reason of the one Close frame that ends `bytes`, of either side. `None` where there is no such frame.
pub fn close_at_end(bytes: &[u8]) -> Option<(u16, String)> {
    let mut last = None;
    let mut rest = bytes;
    while let [first, second, ..] = *rest {
        let (extended, len) = match second & 0x7f {
            126 => (2, usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?))),
            127 => (8, usize::try_from(u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?)).ok()?),
            len => (0, usize::from(len)),
        };
        let (header, after) = rest.split_at_checked(2 + extended)?;
        let (key, after) = after.split_at_checked(if header[1] & MASKED == 0 { 0 } else { 4 })?;
        let (payload, after) = after.split_at_checked(len)?;
        last = Some((first, unmask(key.try_into().unwrap_or_default(), payload)));
        rest = after;
    }
    let (first, payload) = last.filter(|_| rest.is_empty())?;
    let (code, reason) = payload.split_first_chunk()?;
    let reason = String::from_utf8(reason.to_vec()).ok()?;
    (first == FIN | CLOSE).then_some((u16::from_be_bytes(*code), reason))
}

/// Whether `bytes` are one Close frame and nothing else.
pub fn is_close(bytes: &[u8]) -> bool {
    let [first, second, ..] = *bytes else { return false };
    let mask_len = if second & MASKED == 0 { 0 } else { 4 };
    first == FIN | CLOSE && bytes.len() == 2 + mask_len + usize::from(second & 0x7f)
}

fn header(opcode: u8, masked: u8, len: u64) -> Vec<u8> {
    let first = FIN | opcode;
    match len {
        0..=125 => vec![first, masked | len as u8],
        126..=0xffff => [&[first, masked | 126], &(len as u16).to_be_bytes()[..]].concat(),
        _ => [&[first, masked | 127], &len.to_be_bytes()[..]].concat(),
    }
}

fn unmask(key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_close_at_the_end_is_found_behind_frames_of_every_length() {
        for len in [0, 125, 126, 0xffff, 0x1_0000] {
            let close = client(CLOSE, b"\x03\xeabye");
            let bytes = [server(TEXT, &vec![b'a'; len]), client(BINARY, &vec![0; len]), close].concat();
            assert_eq!(close_at_end(&bytes), Some((1002, "bye".to_owned())), "{len} bytes before");
            assert_eq!(close_at_end(&bytes[..bytes.len() - 1]), None);
        }
    }
}
