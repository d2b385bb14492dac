//! The `Origin` of a handshake (RFC 6454 §4, §6.2, §7; RFC 6455 §10.2): who is asking, as the browser swears.
//!
//! Compared as scheme, host and port, never as text: case and default ports are normalised first. What only looks like
//! an origin (a path, user information, a trailing dot or slash, percent-encoding) is malformed.

use super::Malformed;
use super::authority::{Authority, AuthorityPattern, HostPattern};

/// The origin of a web page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// What an `Origin` line says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Claim {
    /// `null`: a sandboxed frame, `data:` or `file:` (RFC 6454 §7.3).
    Opaque,
    /// An origin.
    Tuple(Origin),
}

impl Claim {
    /// Reads the value of an `Origin` line.
    ///
    /// # Errors
    /// [`Malformed`] for everything that is not `null` or one `scheme://host[:port]`.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        if value == b"null" {
            return Ok(Self::Opaque);
        }
        let (scheme, authority) = scheme(value)?;
        let Authority { host, port } = Authority::parse(authority)?;
        let port = port.or_else(|| default_port(&scheme));
        Ok(Self::Tuple(Origin { scheme, host, port }))
    }
}

/// An origin that may ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OriginPattern {
    /// `*`: every origin, also an opaque one.
    Any,
    /// One scheme and port, and a host or the hosts below one.
    Tuple {
        /// The scheme, in lower case.
        scheme: String,
        /// Which hosts.
        host: HostPattern,
        /// The port; the scheme's default where none was written.
        port: Option<u16>,
    },
}

impl OriginPattern {
    /// Reads `https://app.example.com`, `https://*.example.com:8443` or `*`.
    ///
    /// # Errors
    /// [`Malformed`] for everything else.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = scheme(text.as_bytes())?;
        let authority = str::from_utf8(authority).map_err(|_| Malformed)?;
        let AuthorityPattern { host, port } = AuthorityPattern::parse(authority)?;
        let port = port.or_else(|| default_port(&scheme));
        Ok(Self::Tuple { scheme, host, port })
    }

    /// Whether `origin` may ask.
    #[must_use]
    pub fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Any => true,
            Self::Tuple { scheme, host, port } => {
                *scheme == origin.scheme && host.matches(&origin.host) && *port == origin.port
            }
        }
    }
}

/// The scheme in lower case (RFC 3986 §3.1), and what stands behind `://`.
fn scheme(value: &[u8]) -> Result<(String, &[u8]), Malformed> {
    let colon = value.iter().position(|byte| *byte == b':').ok_or(Malformed)?;
    let (scheme, rest) = value.split_at_checked(colon).ok_or(Malformed)?;
    let authority = rest.strip_prefix(b"://").ok_or(Malformed)?;
    let scheme = str::from_utf8(scheme).map_err(|_| Malformed)?;
    let well_formed = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if well_formed { Ok((scheme.to_ascii_lowercase(), authority)) } else { Err(Malformed) }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, origin: &str, expected: bool) {
        let allowed = match Claim::parse(origin.as_bytes()) {
            Ok(Claim::Tuple(origin)) => OriginPattern::parse(pattern).unwrap().matches(&origin),
            Ok(Claim::Opaque) | Err(Malformed) => false,
        };
        assert_eq!(allowed, expected, "{origin} against {pattern}");
    }

    #[test]
    fn the_same_origin_in_other_spellings_is_allowed() {
        for origin in ["https://app.example.com", "HTTPS://APP.example.com", "https://app.example.com:443"] {
            check("https://app.example.com", origin, true);
            check("https://app.example.com:443", origin, true);
        }
        check("https://*.example.com:8443", "https://a.b.example.com:8443", true);
        check("http://[::1]:3000", "http://[0:0::1]:3000", true);
        check("*", "http://anything.example", true);
        check("chrome-extension://abcdef", "chrome-extension://abcdef", true);
    }

    #[test]
    fn what_only_looks_alike_is_refused() {
        for origin in [
            "http://app.example.com",
            "wss://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com:80",
            "https://app.example.com.evil.io",
            "https://evil.app.example.com",
            "https://evilapp.example.com",
            "https://app.example.com@evil.io",
            "https://evil.io@app.example.com",
            "https://evil.io#app.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com.",
            "https://app%2eexample.com",
            "https://app.example.com\\",
            "https://app.example.com https://app.example.com",
            "https://app.example.com,https://app.example.com",
            "https://app.example.com:",
            "https://app.example.com:443a",
            "https://",
            "https:",
            "https:/app.example.com",
            "app.example.com",
            "//app.example.com",
            "null",
            "NULL",
            "",
            "*",
            "https://*",
            "https://äpp.example.com",
            " https://app.example.com",
        ] {
            check("https://app.example.com", origin, false);
        }
        check("https://*.example.com", "https://example.com", false);
        check("https://*.example.com", "https://evilexample.com", false);
    }

    #[test]
    fn patterns_that_mean_too_much_are_refused() {
        for pattern in ["https://*", "https://a.*.com", "*.example.com", "https://*example.com", "https://a.com/", ""] {
            assert_eq!(OriginPattern::parse(pattern), Err(Malformed), "{pattern}");
        }
    }

    #[test]
    fn null_is_opaque_and_nothing_else_is() {
        assert_eq!(Claim::parse(b"null"), Ok(Claim::Opaque));
        assert_eq!(Claim::parse(b"Null"), Err(Malformed));
    }
}
