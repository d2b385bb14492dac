//! HTTP/1.1 message heads, line by line: every header line in order, repeated ones too.
//!
//! Nothing is merged, lowered or refused: a test has to see what was really sent
//! ([RFC 9112 §2.1](https://www.rfc-editor.org/rfc/rfc9112#section-2.1)). Bytes above 0x7f are read as Latin-1, so that
//! every head is text.
//!
//! ```
//! use portcullis_envoy::peer::head::Head;
//!
//! let (head, size) = Head::parse(b"GET /chat HTTP/1.1\r\nCookie: a=1\r\ncookie: b=2\r\n\r\nrest").unwrap();
//! assert_eq!(head.target(), "/chat");
//! assert_eq!(head.values("cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
//! assert_eq!(size, 48);
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The start line and the header lines of a request or an answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Head {
    /// The start line, such as `GET /chat HTTP/1.1` or `HTTP/1.1 101 Switching Protocols`.
    pub start: String,
    /// Each header line, split at its colon and trimmed of blanks; a line without a colon has an empty value.
    pub lines: Vec<(String, String)>,
}

impl Head {
    /// Reads the head in front of `bytes` and says how many bytes it took, its empty line included; `None` until that
    /// is there.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(END.len()).position(|window| window == END)?;
        let text = bytes[..end].iter().copied().map(char::from).collect::<String>();
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let lines = lines
            .map(|line| line.split_once(':').unwrap_or((line, "")))
            .map(|(name, value)| (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
            .collect();
        Some((Self { start, lines }, end + END.len()))
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request: its path, with the query.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of an answer; 0 where there is none.
    pub fn status(&self) -> u16 {
        self.target().parse().unwrap_or_default()
    }

    /// The values of all lines with this name, in order; case does not matter.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |line| line.0.eq_ignore_ascii_case(name)).map(|line| line.1.as_str())
    }

    /// The value of the first line with this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Whether any part of the head has this text in it: how a leaked credential is looked for.
    pub fn contains(&self, text: &str) -> bool {
        self.start.contains(text) || self.lines.iter().any(|(name, value)| name.contains(text) || value.contains(text))
    }

    /// The bytes of a correct 101 to this request: Accept to its key, and the first subprotocol it offers.
    pub fn accepted(&self) -> Vec<u8> {
        self.accepted_with(&[])
    }

    /// The bytes of a 101 to this request with these lines in place of a correct one's: a name that a correct 101 has
    /// replaces that line, and an empty value drops it.
    pub fn accepted_with(&self, lines: &[(&str, &str)]) -> Vec<u8> {
        let accept = self.value("sec-websocket-key").map(accept_of).unwrap_or_default();
        let subprotocol = self.value("sec-websocket-protocol").and_then(|offers| offers.split(',').next());
        let correct = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", &accept),
            ("Sec-WebSocket-Protocol", subprotocol.unwrap_or_default().trim()),
        ];
        let replaced = |name: &str| lines.iter().any(|line| line.0.eq_ignore_ascii_case(name));
        let kept = correct.into_iter().filter(|line| !replaced(line.0));
        let lines = kept
            .chain(lines.iter().copied())
            .filter(|line| !line.1.is_empty())
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect::<String>();
        format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n").into_bytes()
    }
}

/// The `Sec-WebSocket-Accept` that answers a key
/// ([RFC 6455 §4.2.2](https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2), item 5.4).
pub fn accept_of(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// What a key is hashed with (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_that_of_rfc_6455_1_3() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_head_is_read_only_when_its_empty_line_is_there() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..bytes.len() {
            assert_eq!(Head::parse(&bytes[..end]), None);
        }
        assert_eq!(Head::parse(bytes).map(|(_, size)| size), Some(bytes.len()));
    }

    #[test]
    fn every_line_is_kept_as_it_was() {
        let bytes = b"GET /a?b HTTP/1.1\r\nX:  1 \r\nodd line\r\nx:\t\xe9\r\n\r\n";
        let (head, _) = Head::parse(bytes).expect("the head is complete");
        let lines = [("X", "1"), ("odd line", ""), ("x", "\u{e9}")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!((head.method(), head.target(), head.lines.as_slice()), ("GET", "/a?b", lines.as_slice()));
        assert!(head.contains("odd") && head.contains("?b") && !head.contains("even"));
    }

    #[test]
    fn the_status_is_that_of_the_answer() {
        for (start, status) in [("HTTP/1.1 101 Switching Protocols", 101), ("HTTP/1.1 502", 502), ("what", 0)] {
            assert_eq!(Head { start: start.into(), lines: Vec::new() }.status(), status);
        }
    }

    #[test]
    fn a_101_can_lie_line_by_line() {
        let lines = [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Protocol", "chat.v1, chat.v2")]
            .map(|(name, value)| (name.into(), value.into()));
        let request = Head { start: "GET / HTTP/1.1".into(), lines: lines.into() };
        let answer = |lines: &[_]| Head::parse(&request.accepted_with(lines)).expect("the head is complete").0;
        assert_eq!(answer(&[]).value("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer(&[]).value("sec-websocket-protocol"), Some("chat.v1"));
        assert_eq!(answer(&[("sec-websocket-accept", "x")]).values("sec-websocket-accept").collect::<Vec<_>>(), ["x"]);
        assert_eq!(answer(&[("Sec-WebSocket-Protocol", "")]).value("sec-websocket-protocol"), None);
        assert_eq!(answer(&[("X-More", "1")]).lines.len(), 5);
    }
}
