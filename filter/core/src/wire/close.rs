//! The Close frame (RFC 6455 §5.5.1, §7.4): what we send to either side.

use super::Side;
use super::header::CONTROL_LEN_MAX;

/// `1014`: the upstream broke the rules, and the client is told so (IANA WebSocket Close Code Registry).
pub const BAD_GATEWAY: u16 = 1014;

/// A whole Close frame of `code` and `reason`, on its way to `to`.
///
/// Towards the server it is masked with `mask`, which must be fresh and unpredictable (RFC 6455 §5.3, §10.3); towards
/// the client it is not, and `mask` is left aside. A reason beyond 123 bytes is cut: it is always one of our own short
/// ASCII ids.
#[must_use]
pub fn close_frame(to: Side, code: u16, reason: &str, mask: [u8; 4]) -> Vec<u8> {
    let mut payload = Vec::from(code.to_be_bytes());
    payload.extend(reason.bytes());
    payload.truncate(usize::try_from(CONTROL_LEN_MAX).unwrap_or_default());
    let len = u8::try_from(payload.len()).unwrap_or_default();
    match to {
        Side::Client => {
            let mut frame = vec![0x88, len];
            frame.extend(payload);
            frame
        }
        Side::Server => {
            let mut frame = vec![0x88, 0b1000_0000 | len];
            frame.extend(mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
            frame
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_to_the_client_is_plain() {
        assert_eq!(close_frame(Side::Client, 1002, "no", [1, 2, 3, 4]), b"\x88\x04\x03\xeano");
    }

    #[test]
    fn a_close_to_the_server_is_masked() {
        let frame = close_frame(Side::Server, 1002, "no", [0x11, 0x22, 0x33, 0x44]);
        assert_eq!(frame, [0x88, 0x84, 0x11, 0x22, 0x33, 0x44, 0x03 ^ 0x11, 0xea ^ 0x22, b'n' ^ 0x33, b'o' ^ 0x44]);
    }

    #[test]
    fn a_reason_never_makes_the_frame_too_long() {
        assert_eq!(close_frame(Side::Client, 1002, &"x".repeat(300), [0; 4]).len(), 127);
    }
}
