//! `host[:port]` (RFC 3986 §3.2, without user information), and patterns over it.

use core::net::{Ipv4Addr, Ipv6Addr};

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
        let (name, port) = split(text)?;
        Ok(Self { host: host(name)?, port })
    }

    /// The same with an address in its one form: in IPv4 `127.1`, `0x7f.0.0.1` and `2130706433` are `127.0.0.1` to a resolver,
    /// and so is `[::ffff:127.0.0.1]`.
    ///
    /// # Errors
    /// [`Malformed`] where resolvers differ: `010.0.0.1`.
    pub fn resolved(self) -> Result<Self, Malformed> {
        let literal = self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match literal {
            Some(literal) => literal.parse::<Ipv6Addr>().ok().and_then(|address| address.to_ipv4_mapped()),
            None => ipv4(&self.host)?,
        };
        Ok(Self { host: address.map_or(self.host, |address| address.to_string()), ..self })
    }

    /// The same with `port`, where none was written.
    #[must_use]
    pub fn with_default_port(self, port: u16) -> Self {
        Self { port: self.port.or(Some(port)), ..self }
    }
}

/// The host as it is written, and the port.
fn split(text: &str) -> Result<(&str, Option<u16>), Malformed> {
    // The colons of an IPv6 literal are none of a port.
    let literal_len = if text.starts_with('[') { text.find(']').ok_or(Malformed)? } else { 0 };
    let (_, rest) = text.split_at_checked(literal_len).ok_or(Malformed)?;
    let Some((_, digits)) = rest.split_once(':') else { return Ok((text, None)) };
    // Nothing listens on port 0, and no client writes zeros in front. An empty or too large number does not parse.
    if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    let host_len = text.len().saturating_sub(digits.len()).saturating_sub(1);
    let host = text.get(..host_len).ok_or(Malformed)?;
    Ok((host, Some(digits.parse().map_err(|_| Malformed)?)))
}

/// A host in its normal form.
fn host(text: &str) -> Result<String, Malformed> {
    match text.strip_prefix('[') {
        Some(literal) => {
            let address: Ipv6Addr = literal.strip_suffix(']').ok_or(Malformed)?.parse().map_err(|_| Malformed)?;
            Ok(format!("[{address}]"))
        }
        None => host_name(text),
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

/// The bytes of an IPv4 address.
const IPV4_LEN: usize = 4;

/// The address that a host means as `inet_aton` and browsers read it (WHATWG URL §3.5), `None` where it is a name.
fn ipv4(host: &str) -> Result<Option<Ipv4Addr>, Malformed> {
    let mut numbers = Vec::new();
    for part in host.split('.') {
        let Some(number) = ipv4_number(part) else { return Ok(None) };
        numbers.push(number);
    }
    let Some((Some(last), first)) = numbers.split_last() else { return Err(Malformed) };
    let mut address = [0; IPV4_LEN];
    // The last number has all bytes that the others leave.
    let mut rest = last.to_be_bytes().into_iter();
    for (byte, number) in address.iter_mut().zip(first) {
        *byte = number.and_then(|number| u8::try_from(number).ok()).ok_or(Malformed)?;
        if rest.next() != Some(0) {
            return Err(Malformed);
        }
    }
    let left = address.get_mut(first.len()..).filter(|left| !left.is_empty()).ok_or(Malformed)?;
    left.iter_mut().zip(rest).for_each(|(byte, own)| *byte = own);
    Ok(Some(address.into()))
}

/// A number of an address, `None` where it is none; the inner one where readers differ about it.
fn ipv4_number(text: &str) -> Option<Option<u32>> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    if !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return None;
    }
    let number = if digits.is_empty() { Some(0) } else { u32::from_str_radix(digits, radix).ok() };
    // With zeros in front it is octal to most, and decimal to others.
    let is_octal = radix == 10 && digits.starts_with('0');
    Some(number.filter(|number| !is_octal || u32::from_str_radix(digits, 8) == Ok(*number)))
}

/// How many labels have to stand behind a star that is a part of one: with `https://pr-*.com` anybody could buy a name that matches.
const LABELS_BEHIND_MIN: usize = 2;

/// A host, or with a star some hosts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostPattern {
    /// `*.` in front: every subdomain of this host, at any depth; not the host itself.
    Below(String),
    /// This host.
    Exactly(String),
    /// A star elsewhere, for one character or more of a label: what stands before and behind it.
    Within(String, String),
}

impl HostPattern {
    /// Reads `example.com`, `*.example.com` or `pr-*.preview.example.com`.
    ///
    /// # Errors
    /// [`Malformed`] for two stars, for a star in an address, with too little behind it, or where what is left is no host.
    fn parse(text: &str) -> Result<Self, Malformed> {
        let Some((before, behind)) = text.split_once('*') else { return Ok(Self::Exactly(host(text)?)) };
        let last = behind.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed);
        }
        host_name(&format!("{before}x{behind}"))?;
        let (before, behind) = (before.to_ascii_lowercase(), behind.to_ascii_lowercase());
        match behind.strip_prefix('.') {
            Some(parent) if before.is_empty() => Ok(Self::Below(parent.to_owned())),
            _ if behind.split('.').skip(1).count() >= LABELS_BEHIND_MIN => Ok(Self::Within(before, behind)),
            _ => Err(Malformed),
        }
    }

    /// Whether `host`, in lower case, is meant.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Below(parent) => {
                host.strip_suffix(parent.as_str()).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
            }
            Self::Exactly(exact) => host == exact,
            Self::Within(before, behind) => {
                let star = host.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(behind.as_str()));
                star.is_some_and(|star| !star.is_empty() && !star.contains('.'))
            }
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
    /// Reads a [`HostPattern`], with or without `:port`.
    ///
    /// # Errors
    /// [`Malformed`] for what is neither.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (host, port) = split(text)?;
        let host = HostPattern::parse(host)?;
        // It would match no request: requests are compared by the one form of an address.
        if let HostPattern::Exactly(host) = &host {
            let own = Authority { host: host.clone(), port };
            if own.clone().resolved()? != own {
                return Err(Malformed);
            }
        }
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
    fn an_address_has_one_form() {
        for (text, expected) in [
            ("127.0.0.1", Ok("127.0.0.1")),
            ("127.1", Ok("127.0.0.1")),
            ("127.0.1", Ok("127.0.0.1")),
            ("2130706433", Ok("127.0.0.1")),
            ("0x7f.0.0.1", Ok("127.0.0.1")),
            ("0X7F000001", Ok("127.0.0.1")),
            ("0x7f.0x", Ok("127.0.0.0")),
            ("127.000.000.001", Ok("127.0.0.1")),
            ("127.65535", Ok("127.0.255.255")),
            ("[::ffff:127.0.0.1]", Ok("127.0.0.1")),
            ("[::FFFF:7f00:1]", Ok("127.0.0.1")),
            ("[::1]", Ok("[::1]")),
            ("example.com", Ok("example.com")),
            ("1.example.com", Ok("1.example.com")),
            ("node.1", Ok("node.1")),
            ("0xexample", Ok("0xexample")),
            ("010.0.0.1", Err(Malformed)),
            ("127.0.0.08", Err(Malformed)),
            ("1.2.3.4.5", Err(Malformed)),
            ("256.0.0.1", Err(Malformed)),
            ("127.0.0.256", Err(Malformed)),
            ("127.16777216", Err(Malformed)),
            ("4294967296", Err(Malformed)),
            ("99999999999999999999", Err(Malformed)),
        ] {
            let host = Authority::parse(text.as_bytes()).unwrap().resolved().map(|authority| authority.host);
            assert_eq!(host.as_deref(), expected.as_deref(), "{text}");
            let is_own = expected == Ok(text);
            assert_eq!(AuthorityPattern::parse(text).is_ok(), is_own, "{text}");
        }
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        for text in [
            "", ".", "a..b", "a.", ".a", "a:b", "a:", "a:0", "a:0443", "a:65536", "a:-1", "a:+1", "a:1:1", "[::1]:",
            "[::1]:0", "[::1]]", "[::1]1:2", "u@a", "a/b", "a b", "a,b", "%61", "[::1", "[::1]x", "[a]", "::1", "ä",
            "a\0",
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

    #[test]
    fn a_star_within_a_label_stays_in_it() {
        let matches = |pattern: &str, text: &str| HostPattern::parse(pattern).unwrap().matches(text);
        for (pattern, accepted, refused) in [
            (
                "pr-*.preview.example.com",
                &["pr-1.preview.example.com", "pr-a-b.preview.example.com"][..],
                &[
                    "pr-.preview.example.com",
                    "pr-1.x.preview.example.com",
                    "xpr-1.preview.example.com",
                    "pr-1.preview.example.com.evil.io",
                    "pr-1preview.example.com",
                    "preview.example.com",
                ][..],
            ),
            (
                "App-*-Team.Example.com",
                &["app-x-team.example.com"],
                &["app--team.example.com", "app-team.example.com", "app-x.y-team.example.com"],
            ),
            ("a.*.example.com", &["a.b.example.com"], &["a.b.c.example.com", "a..example.com", "a.example.com"]),
            ("*-app.example.com", &["x-app.example.com"], &["-app.example.com", "y.x-app.example.com"]),
        ] {
            assert!(accepted.iter().all(|text| matches(pattern, text)), "{pattern}");
            assert!(!refused.iter().any(|text| matches(pattern, text)), "{pattern}");
        }
        for pattern in [
            "*",
            "*.",
            "a*",
            "*a.com",
            "a.*.com",
            "*.*.example.com",
            "*.1",
            "*.0.0.1",
            "1*.0.0.1",
            "*.[::1]",
            "[::*]",
            "[*",
            ".*.a.b",
        ] {
            assert_eq!(HostPattern::parse(pattern), Err(Malformed), "{pattern}");
        }
    }
}
