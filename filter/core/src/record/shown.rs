//! What of a request may stand in a log: its path, host and origin, without the places where credentials are.

use crate::http::path;
use crate::token::shape;

/// What stands for a segment of a path, or a host, that is a token.
const TOKEN: &str = "[token]";

/// The path of a request target without query, parameters and tokens, cut where it is long.
#[must_use]
pub(super) fn path(target: &[u8]) -> String {
    let shown = path::shown(target);
    let segments = shown.split('/');
    let segments = segments.map(|segment| if shape::begins_token(segment.as_bytes()) { TOKEN } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// The longest name of a member, in characters: names that schemas know are shorter, and others may be anything.
const NAME_LEN_MAX: usize = 64;

/// The name of a member of a message, or its type, which a client may make up: a token stands as such.
#[must_use]
pub(super) fn name(text: &str) -> String {
    if shape::begins_token(text.as_bytes()) { TOKEN.to_owned() } else { text.chars().take(NAME_LEN_MAX).collect() }
}

/// The host and port that an authority names, without its user information (RFC 3986 §3.2.1) and tokens.
#[must_use]
pub(super) fn host(authority: &[u8]) -> &[u8] {
    let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    if shape::begins_token(host) { TOKEN.as_bytes() } else { host }
}

/// The value of an `Origin` line without what no origin has (RFC 6454 §7): user information, a path, a query. The rest stays as it was
/// written, well-formed or not: it may be why the request was refused.
#[must_use]
pub(super) fn origin(line: &[u8]) -> Vec<u8> {
    let scheme_len = line.windows(3).position(|window| window == b"://").map_or(0, |at| at.saturating_add(3));
    let (scheme, rest) = line.split_at_checked(scheme_len).unwrap_or_default();
    let authority = rest.split(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#')).next().unwrap_or_default();
    [host(scheme), host(authority)].concat()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    /// `{"alg":"HS256"}`, claims and a signature.
    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

    #[test]
    fn no_path_shows_a_token() {
        let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let (head, _) = JWT.split_once('.').unwrap();
        for (target, expected) in [
            ("/chat/room-1".to_owned(), "/chat/room-1"),
            ("/v1.2.3/a.b.c".to_owned(), "/v1.2.3/a.b.c"),
            ("/".to_owned(), "/"),
            (format!("/chat/{JWT}"), "/chat/[token]"),
            (format!("/{JWT}/x"), "/[token]/x"),
            (format!("/{head}"), "/[token]"),
            (format!("/{}", percent(JWT)), "/[token]"),
            (format!("/{}", JWT.replacen('e', "%2565", 1)), "/[token]"),
            (format!("/{}", JWT.replacen('e', "%u0065", 1)), "/[token]"),
            (format!("/{}", JWT.replace('.', "%u002e")), "/[token]"),
            (format!("/{JWT}?token=x"), "/[token]"),
            (format!("/a/{}", URL_SAFE_NO_PAD.encode(JWT)), "/a/[token]"),
            (format!("/a/{}", URL_SAFE_NO_PAD.encode(STANDARD.encode(JWT))), "/a/[token]"),
            (format!("/a/{}", JWT.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()), "/a/[token]"),
            (
                "/4a1b9c3d5e6f708192a3b4c5d6e7f809/%2525252525/e3b0c44298fc1c149afbf4c8996fb924".to_owned(),
                "/4a1b9c3d5e6f708192a3b4c5d6e7f809/%2525252525/e3b0c44298fc1c149afbf4c8996fb924",
            ),
            // Cut within its claims.
            (format!("/{head}.{}", "a".repeat(1_000)), "/[token]"),
        ] {
            assert_eq!(path(target.as_bytes()), expected, "{target}");
        }
    }

    #[test]
    fn a_name_is_short_and_no_token() {
        for (text, expected) in
            [("payload", "payload"), (JWT, "[token]"), ("eyJhbGciOiJIUzI1NiJ9", "[token]"), ("", "")]
        {
            assert_eq!(name(text), expected, "{text}");
        }
        assert_eq!(name(&"\u{e4}".repeat(100)), "\u{e4}".repeat(64));
    }

    #[test]
    fn no_host_and_no_origin_shows_a_user() {
        for (line, expected) in [
            ("https://app.example.com:8443", "https://app.example.com:8443"),
            ("https://user:SECRET@app.example.com", "https://app.example.com"),
            ("https://a@b@app.example.com", "https://app.example.com"),
            ("https://app.example.com/?token=SECRET", "https://app.example.com"),
            ("https://app.example.com?SECRET", "https://app.example.com"),
            ("https://app.example.com#SECRET", "https://app.example.com"),
            ("https://app.example.com\\@SECRET", "https://app.example.com"),
            ("user:SECRET@app.example.com", "app.example.com"),
            ("SECRET@https://app.example.com", "https://app.example.com"),
            ("null", "null"),
            ("file://", "file://"),
            ("", ""),
            (&format!("https://{JWT}"), "https://[token]"),
            (&format!("https://{JWT}.example:443"), "https://[token]"),
        ] {
            assert_eq!(String::from_utf8_lossy(&origin(line.as_bytes())), expected, "{line}");
        }
        assert_eq!(host(JWT.as_bytes()), b"[token]");
        assert_eq!(host(b"user:SECRET@chat.example.com:443"), b"chat.example.com:443");
    }
}
