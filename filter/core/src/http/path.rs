//! The path of a request in its normal form (RFC 3986 §6.2.2), so that a route is not dodged by another spelling.

use super::query::decode;

/// The path of `target` without its query: dot segments removed, repeated slashes merged, percent-encoding decoded, path
/// parameters (`/chat;a=b`) cut off, as servlet containers do.
///
/// Only for comparing with the routes of a policy; what goes to the upstream is not changed.
#[must_use]
pub fn normal(target: &[u8]) -> Vec<u8> {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let path = decode(path);
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut directory = true;
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        let segment = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        directory = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut normal = vec![b'/'];
    normal.extend(segments.join(&b'/'));
    if directory && !segments.is_empty() {
        normal.push(b'/');
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_have_one_normal_form() {
        for (target, expected) in [
            ("/chat", "/chat"),
            ("/chat?a=/../b", "/chat"),
            ("//chat/./room", "/chat/room"),
            ("/x/../chat", "/chat"),
            ("/../chat/", "/chat/"),
            ("/%63hat%2froom", "/chat/room"),
            ("/chat/x/..", "/chat/"),
            ("/", "/"),
            ("", "/"),
            ("\\chat", "/chat"),
            ("/chat;a=b/room;c", "/chat/room"),
            ("/x/..;/chat", "/chat"),
        ] {
            assert_eq!(String::from_utf8(normal(target.as_bytes())).unwrap(), expected, "{target}");
        }
    }
}
