//! The Close frame (RFC 6455 §5.5.1, §7.4): what peers may say in it, and the ones that the filter sends.

use super::Side;
use super::header::CONTROL_LEN_MAX;
use crate::violation::Violation;

/// `1011` (RFC 6455 §7.4.1): "the server encountered an unexpected condition". A client gets it whose upstream broke the rules, and
/// a connection that ends by a violation without a close code of its own. `1014` (Bad Gateway, IANA) would say more, but
/// tungstenite, wsproto, autobahn and faye take it for a protocol error.
pub const INTERNAL_ERROR: u16 = 1011;

/// Checks what a peer says in a Close frame; `payload` is not masked any more.
///
/// # Errors
/// [`Violation::ProtocolError`] for half a code, and for codes that are reserved or not assigned;
/// [`Violation::InvalidUtf8`] for a reason that is no text.
pub fn check_payload(payload: &[u8]) -> Result<(), Violation> {
    let (code, reason) = match payload {
        [] => return Ok(()),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(Violation::ProtocolError),
    };
    // 1004 to 1006 and 1015 "MUST NOT be set as a status code in a Close control frame by an endpoint" (RFC 6455 §7.4.1);
    // 1012 to 1014 are assigned by IANA, 3000 to 4999 are for libraries and applications (§7.4.2).
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::ProtocolError);
    }
    match str::from_utf8(reason) {
        Ok(_) => Ok(()),
        Err(_) => Err(Violation::InvalidUtf8),
    }
}

/// A whole Close frame of `code` and `reason`, on its way to `to`.
///
/// Towards the server it is masked with `mask`, which must be fresh and unpredictable (RFC 6455 §5.3, §10.3); towards
/// the client it is not, and `mask` is left aside. A reason beyond 123 bytes is cut: it is always a short ASCII id of a
/// violation.
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

    #[track_caller]
    fn check(code: u16, reason: &[u8], expected: Result<(), Violation>) {
        assert_eq!(check_payload(&[&code.to_be_bytes()[..], reason].concat()), expected, "{code}");
    }

    #[test]
    fn codes_that_are_assigned_or_free_for_use_pass() {
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4401, 4999] {
            check(code, b"", Ok(()));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            check(code, b"", Err(Violation::ProtocolError));
        }
        assert_eq!(check_payload(b""), Ok(()));
        assert_eq!(check_payload(b"\x03"), Err(Violation::ProtocolError));
    }

    #[test]
    fn reasons_are_text() {
        check(1000, "bye ✓".as_bytes(), Ok(()));
        check(1000, b"\xce\xba\xe1", Err(Violation::InvalidUtf8));
        check(1000, b"\xed\xa0\x80", Err(Violation::InvalidUtf8));
        check(999, b"\xff", Err(Violation::ProtocolError));
    }

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
