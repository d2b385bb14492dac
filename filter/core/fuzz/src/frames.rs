//! Frames read as naively as possible (RFC 6455 §5.2): every byte string is some frames, the last of them perhaps not whole.

/// The bytes of one frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    /// All of it, as far as it has come.
    pub(crate) bytes: Vec<u8>,
    /// Its payload without the mask, as far as it has come.
    pub(crate) payload: Vec<u8>,
    /// `None` while the header is not whole.
    pub(crate) payload_len: Option<u64>,
}

impl Frame {
    pub(crate) fn fin(&self) -> bool {
        self.bytes[0] & 0x80 != 0
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.bytes[0] & 0x0f
    }

    pub(crate) fn is_control(&self) -> bool {
        self.opcode() >= 8
    }

    pub(crate) fn is_close(&self) -> bool {
        self.opcode() == 8
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.payload_len == Some(self.payload.len() as u64)
    }

    /// Whether a shorter form of the length would have done.
    pub(crate) fn has_long_length(&self) -> bool {
        let short = self.bytes.get(1).map(|byte| byte & 0x7f);
        matches!((short, self.payload_len), (Some(126), Some(..=125)) | (Some(127), Some(..=0xffff)))
    }
}

/// Takes `bytes` apart.
pub(crate) fn read(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, rest) = first(bytes);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn first(bytes: &[u8]) -> (Frame, &[u8]) {
    let Some((header_len, payload_len, key)) = header(bytes) else {
        return (Frame { bytes: bytes.to_vec(), payload: Vec::new(), payload_len: None }, &[]);
    };
    let end = usize::try_from(payload_len).unwrap_or(usize::MAX).saturating_add(header_len).min(bytes.len());
    let payload = bytes[header_len..end].iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]).collect();
    (Frame { bytes: bytes[..end].to_vec(), payload, payload_len: Some(payload_len) }, &bytes[end..])
}

/// The length of the header, the length of the payload, and the key.
fn header(bytes: &[u8]) -> Option<(usize, u64, [u8; 4])> {
    let second = *bytes.get(1)?;
    let (payload_len, end) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        len => (u64::from(len), 2),
    };
    if second & 0x80 == 0 {
        return Some((end, payload_len, [0; 4]));
    }
    Some((end + 4, payload_len, bytes.get(end..end + 4)?.try_into().ok()?))
}
