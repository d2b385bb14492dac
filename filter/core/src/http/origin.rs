//! The `Origin` of a handshake (RFC 6454 §4, §6.2, §7; RFC 6455 §10.2): the page that asks, as the browser names it.
//!
//! Compared as scheme, host and port, never as text: case and default ports are normalised first. What only looks like
//! an origin (a path, user information, a trailing dot or slash, percent-encoding) is malformed. Pages of applications and
//! extensions have schemes of their own, and need no host: `file://`.

use core::net::Ipv4Addr;

use super::Malformed;
use super::authority::{Authority, AuthorityPattern, HostPattern};
use crate::access::Access;

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
        if authority.is_empty() && !is_web(&scheme) {
            return Ok(Self::Tuple(Origin { scheme, host: String::new(), port: None }));
        }
        let Authority { host, port } = Authority::parse(authority)?;
        let port = port.or_else(|| default_port(&scheme));
        Ok(Self::Tuple(Origin { scheme, host, port }))
    }
}

impl core::fmt::Display for Origin {
    /// The same text for all spellings of an origin.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { scheme, host, port } = self;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "{scheme}://{host}{port}")
    }
}

impl Origin {
    /// Whether a page of this origin came from `authority`, over https where the request came over TLS (`secure`). Where it did not, TLS
    /// may end at a proxy before Envoy, so http and https are both accepted, each at its own port.
    #[must_use]
    pub fn is_at(&self, authority: &Authority, secure: bool) -> bool {
        let same_scheme = self.scheme == "https" || (self.scheme == "http" && !secure);
        let default = if secure { 443 } else { 80 };
        let at_defaults = self.port == default_port(&self.scheme) && authority.port.is_none_or(|port| port == default);
        same_scheme && self.host == authority.host && (at_defaults || self.port == authority.port)
    }
}

/// An origin that may ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OriginPattern {
    /// `*`: every origin.
    Any,
    /// One scheme, and some hosts and ports.
    Tuple {
        /// The scheme, in lower case.
        scheme: String,
        /// Which hosts.
        host: HostPattern,
        /// Which ports.
        port: PortPattern,
    },
}

/// A port, or all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PortPattern {
    /// `:*`: every port.
    Any,
    /// This one: the scheme's default where none was written, and none where the scheme has none.
    Only(Option<u16>),
}

impl OriginPattern {
    /// Reads `https://app.example.com`, `https://*.example.com:8443`, `https://pr-*.preview.example.com`, `http://localhost:*`,
    /// `file://`, `moz-extension://*` or `*`.
    ///
    /// # Errors
    /// [`Malformed`] for everything else, and for what no browser writes: names that are not in punycode, addresses in another form
    /// than `127.0.0.1`.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = scheme(text.as_bytes())?;
        let authority = str::from_utf8(authority).map_err(|_| Malformed)?;
        let (authority, any_port) = authority.strip_suffix(":*").map_or((authority, false), |host| (host, true));
        let AuthorityPattern { host, port } = match authority {
            "" if !is_web(&scheme) => AuthorityPattern { host: HostPattern::Exactly(String::new()), port: None },
            // Extensions have ids; some browsers make another one for each installation.
            "*" if !is_web(&scheme) => {
                AuthorityPattern { host: HostPattern::Within(String::new(), String::new()), port: None }
            }
            authority => AuthorityPattern::parse(authority)?,
        };
        let port = match (any_port, port) {
            (true, None) => PortPattern::Any,
            (true, Some(_)) => return Err(Malformed),
            (false, port) => PortPattern::Only(port.or_else(|| default_port(&scheme))),
        };
        match &host {
            HostPattern::Exactly(host) if is_web(&scheme) && is_other_address(host) => Err(Malformed),
            _ => Ok(Self::Tuple { scheme, host, port }),
        }
    }

    /// Whether `origin` may ask.
    #[must_use]
    pub fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Any => true,
            Self::Tuple { scheme, host, port } => {
                let same_port = match port {
                    PortPattern::Any => true,
                    PortPattern::Only(port) => *port == origin.port,
                };
                *scheme == origin.scheme && host.matches(&origin.host) && same_port
            }
        }
    }
}

/// The origins of a policy.
#[derive(Clone, Debug)]
pub struct OriginRules {
    /// The origins that may ask.
    pub allow: Vec<OriginPattern>,
    /// The origin of the very host that is asked for.
    pub same_host: Access,
    /// No `Origin` line at all.
    pub missing: Access,
    /// `Origin: null`.
    pub opaque: Access,
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

/// Whether browsers take a host that ends in a number for an address (WHATWG URL §3.5), and write it otherwise.
fn is_other_address(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    is_number && host.parse::<Ipv4Addr>().is_err()
}

/// The schemes of the web, which have hosts and ports.
fn is_web(scheme: &str) -> bool {
    default_port(scheme).is_some()
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
    fn every_form_of_a_pattern_means_what_it_says() {
        for (pattern, accepted, refused) in [
            ("file://", &["file://", "FILE://"][..], &["file:///", "file://host", "https://", "null", "file:"][..]),
            (
                "chrome-extension://abcdefgh",
                &["chrome-extension://abcdefgh", "CHROME-extension://ABCDEFGH"],
                &[
                    "chrome-extension://abcdefgi",
                    "chrome-extension://",
                    "moz-extension://abcdefgh",
                    "chrome-extension://abcdefgh/",
                    "chrome-extension://abcdefgh:80",
                ],
            ),
            (
                "moz-extension://*",
                &["moz-extension://6f9c1d1e-0b1a-4c6e-9b0e-000000000000"],
                &["moz-extension://", "moz-extension://a.b", "chrome-extension://a", "moz-extension://a/x"],
            ),
            ("safari-web-extension://1A2B", &["safari-web-extension://1a2b"], &["safari-web-extension://1a2c"]),
            ("vscode-webview://0abc", &["vscode-webview://0abc"], &["vscode-webview://0abd"]),
            (
                "capacitor://localhost",
                &["capacitor://localhost"],
                &["ionic://localhost", "http://localhost", "capacitor://localhost:80"],
            ),
            ("tauri://localhost", &["tauri://localhost"], &["tauri://evil"]),
            ("app://-", &["app://-"], &["app://"]),
            (
                "http://localhost:*",
                &["http://localhost", "http://localhost:80", "http://LOCALHOST:3000"],
                &[
                    "https://localhost",
                    "http://localhost:0",
                    "http://localhost:65536",
                    "http://localhost:*",
                    "http://localhost:",
                    "http://a.localhost:1",
                ],
            ),
            (
                "https://*.example.com:*",
                &["https://a.example.com", "https://a.b.example.com:1"],
                &["https://example.com:1", "http://a.example.com"],
            ),
            ("http://[::1]:*", &["http://[::1]:5", "http://[0::1]"], &["http://[::2]:5", "http://::1"]),
            (
                "http://127.0.0.1:8080",
                &["http://127.0.0.1:8080"],
                &["http://127.1:8080", "http://2130706433:8080", "http://127.0.0.1"],
            ),
            (
                "https://pr-*.preview.example.com",
                &["https://pr-7.preview.example.com", "https://PR-7.preview.example.com:443"],
                &[
                    "https://pr-.preview.example.com",
                    "https://pr-7.evil.preview.example.com",
                    "https://pr-7.preview.example.com:8443",
                    "https://pr-7.preview.example.com.evil.io",
                    "https://pr-7/.preview.example.com",
                    "https://pr-@.preview.example.com",
                ],
            ),
            (
                "https://xn--pp-wia.example.com",
                &["https://XN--pp-wia.example.com"],
                &["https://äpp.example.com", "https://app.example.com"],
            ),
            ("*", &["https://a.example", "file://", "moz-extension://a"], &["null", "https://a/", ""]),
        ] {
            accepted.iter().for_each(|origin| check(pattern, origin, true));
            refused.iter().for_each(|origin| check(pattern, origin, false));
        }
    }

    #[test]
    fn patterns_that_mean_too_much_or_nothing_are_refused() {
        for pattern in [
            "https://*",
            "http://*:*",
            "https://a.*.com",
            "https://pr-*.com",
            "https://*example.com",
            "https://app.*",
            "*.example.com",
            "*://a.example",
            "ht*ps://a.example",
            "https://*.*.example.com",
            "https://a.com/",
            "https://a.com/*",
            "https://a.com?",
            "https://",
            "https://:443",
            "https://a.com:",
            "https://a.com:0",
            "https://a.com:0443",
            "https://a.com:65536",
            "https://a.com:44*",
            "https://a.com:1:*",
            "https://a.com:*:*",
            "https://u@a.com",
            "https://a.com.",
            "https://.a.com",
            "https://a..com",
            "https://äpp.example.com",
            "https://a com",
            " https://a.com",
            "https://a.com,https://b.com",
            "https://[::1",
            "https://[::1]x",
            "https://*.[::1]",
            "https://[::*]",
            "https://*.0.0.1",
            "https://10.0.0.*",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.0.0.1",
            "http://0x7f000001",
            "http://127.0.0.01",
            "file:",
            "file:/",
            "file:///",
            "chrome-extension://a/b",
            "null",
            "a.com",
            "//a.com",
            "",
        ] {
            assert_eq!(OriginPattern::parse(pattern), Err(Malformed), "{pattern}");
        }
    }

    #[test]
    fn the_host_that_is_asked_for_may_be_who_asks() {
        for (origin, authority, secure, expected) in [
            ("https://a.example", "a.example", true, true),
            ("https://a.example", "A.example:443", true, true),
            ("https://a.example:443", "a.example", true, true),
            ("https://a.example:8443", "a.example:8443", true, true),
            ("https://[::1]:8443", "[0::1]:8443", true, true),
            ("http://a.example", "a.example", true, false),
            ("https://a.example:8443", "a.example", true, false),
            ("https://a.example", "a.example:8443", true, false),
            ("https://b.example", "a.example", true, false),
            ("https://a.example.b", "a.example", true, false),
            ("wss://a.example", "a.example", true, false),
            ("chrome-extension://a", "a", true, false),
            ("file://", "a", true, false),
            ("http://a.example", "a.example", false, true),
            ("http://a.example", "a.example:80", false, true),
            ("http://a.example:8080", "a.example:8080", false, true),
            // TLS may end at a proxy before Envoy.
            ("https://a.example", "a.example", false, true),
            ("https://a.example", "a.example:80", false, true),
            ("https://a.example", "a.example:443", false, true),
            ("https://a.example:80", "a.example:80", false, true),
            ("https://a.example:8443", "a.example", false, false),
            ("https://a.example", "a.example:80", true, false),
            ("http://a.example", "a.example:443", false, false),
        ] {
            let Ok(Claim::Tuple(page)) = Claim::parse(origin.as_bytes()) else { panic!("{origin}") };
            let authority_of = Authority::parse(authority.as_bytes()).unwrap();
            assert_eq!(page.is_at(&authority_of, secure), expected, "{origin} at {authority}, {secure}");
        }
    }

    #[test]
    fn null_is_opaque_and_nothing_else_is() {
        assert_eq!(Claim::parse(b"null"), Ok(Claim::Opaque));
        assert_eq!(Claim::parse(b"Null"), Err(Malformed));
    }
}
