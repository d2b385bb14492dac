//! `host[:port]` (RFC 3986 §3.2, without user information), and patterns over it.

use core::net::Ipv6Addr;

use super::Malformed;

/// The longest host name (RFC 1035 §2.3.4).
const HOST_LEN_MAX: usize = 253;

/// A host and, where written, its port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// Lower case; an IPv6 address in its canonical form within brackets.
    pub host: String,
    /// The port, where one was written.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads an authority.
    ///
    /// # Errors
    /// [`Malformed`] for user information, empty labels, a trailing dot, percent-encoding, other bytes than letters,
    /// digits, `-`, `.` and `_`, a bad IPv6 literal, or a port that is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = str::from_utf8(bytes).map_err(|_| Malformed)?;
        let (host, port) = match text.strip_prefix('[') {
            Some(literal) => {
                let (address, rest) = literal.split_once(']').ok_or(Malformed)?;
                let address: Ipv6Addr = address.parse().map_err(|_| Malformed)?;
                let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(Malformed)?) };
                (format!("[{address}]"), port)
            }
            None => {
                let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
                (host_name(host)?, port)
            }
        };
        let port = match port {
            None => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                // An empty or too large number does not parse.
                Some(digits.parse().map_err(|_| Malformed)?)
            }
            Some(_) => return Err(Malformed),
        };
        Ok(Self { host, port })
    }

    /// The same with `port`, where none was written.
    #[must_use]
    pub fn with_default_port(self, port: u16) -> Self {
        Self { port: self.port.or(Some(port)), ..self }
    }
}

fn host_name(host: &str) -> Result<String, Malformed> {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if host.len() > HOST_LEN_MAX || !host.split('.').all(label) {
        return Err(Malformed);
    }
    Ok(host.to_ascii_lowercase())
}

/// A host, or with `*.` in front any host below it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostPattern {
    /// Every subdomain of this host, at any depth; not the host itself.
    Below(String),
    /// This host.
    Exactly(String),
}

impl HostPattern {
    /// Whether `host`, in lower case, is meant.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Below(parent) => {
                host.strip_suffix(parent.as_str()).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
            }
            Self::Exactly(exact) => host == exact,
        }
    }
}

/// A [`HostPattern`] and, where written, a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthorityPattern {
    /// Which hosts.
    pub host: HostPattern,
    /// Which port, where one was written.
    pub port: Option<u16>,
}

impl AuthorityPattern {
    /// Reads `example.com`, `*.example.com`, either with `:port`.
    ///
    /// # Errors
    /// [`Malformed`] when what is left without `*.` is no authority.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let parent = text.strip_prefix("*.");
        let Authority { host, port } = Authority::parse(parent.unwrap_or(text).as_bytes())?;
        let host = if parent.is_some() { HostPattern::Below(host) } else { HostPattern::Exactly(host) };
        Ok(Self { host, port })
    }

    /// Whether `authority` is meant; a pattern without a port means every port.
    #[must_use]
    pub fn matches(&self, authority: &Authority) -> bool {
        self.host.matches(&authority.host) && (self.port.is_none() || self.port == authority.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, Option<u16>), Malformed>) {
        let parsed = Authority::parse(text.as_bytes());
        assert_eq!(parsed.as_ref().map(|a| (a.host.as_str(), a.port)), expected.as_ref().copied(), "{text}");
    }

    #[test]
    fn authorities_are_normalised() {
        check("Chat.Example.COM", Ok(("chat.example.com", None)));
        check("chat.example.com:8443", Ok(("chat.example.com", Some(8443))));
        check("[2001:DB8:0::1]:443", Ok(("[2001:db8::1]", Some(443))));
        check("127.0.0.1:65535", Ok(("127.0.0.1", Some(65535))));
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        for text in [
            "", ".", "a..b", "a.", ".a", "a:b", "a:", "a:65536", "a:-1", "a:+1", "u@a", "a/b", "a b", "a,b", "%61",
            "[::1", "[::1]x", "[a]", "::1", "ä", "a\0",
        ] {
            check(text, Err(Malformed));
        }
        check(&"a".repeat(254), Err(Malformed));
    }

    #[test]
    fn a_wildcard_means_subdomains_only() {
        let pattern = AuthorityPattern::parse("*.Example.com").unwrap();
        let matches = |text: &str| pattern.matches(&Authority::parse(text.as_bytes()).unwrap());
        assert!(matches("a.example.com") && matches("a.b.example.com:99"));
        assert!(!matches("example.com") && !matches("evilexample.com") && !matches("a.example.com.evil.io"));
    }
}
