//! What clients an address stands for: the key that its connections are counted under.
//!
//! One client must not have many keys, nor many clients one key. So IPv6 is cut to a prefix, since a client commonly has a whole
//! /64 of its own (RFC 4291 §2.5.1); and an IPv4 address that is written in IPv6 is first taken out of it, as nearly all of the IPv4
//! Internet is within `::ffff:0:0/64` (express-rate-limit, CVE-2026-30827). Both are done by bits, not by how the text looks.
//!
//! ```text
//! ::ffff:0:0/96   IPv4-mapped, RFC 4291 §2.5.5.2               IPv4
//! 64:ff9b::/96    the well-known prefix of RFC 6052 §2.1       IPv4
//! ::/96           IPv4-compatible, RFC 4291 §2.5.5.1           IPv6: deprecated, and `::1` is one of them
//! 64:ff9b:1::/48  translation of one's own, RFC 8215           IPv6: where its IPv4 bits are is the operator's choice
//! 2002::/16       6to4, RFC 3056                               IPv6: a site of its own
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address in the one form that it has here.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address(IpAddr);

impl Address {
    /// Reads `1.2.3.4`, `2001:db8::1` or `[2001:db8::1]`, the first and the last with or without a port, as hosts write where a
    /// connection comes from. A zone (`%eth0`, RFC 4007 §11) is dropped. None for what is no address, such as the path of a socket.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let (address, port) = match text.strip_prefix('[') {
            Some(literal) => {
                let (address, rest) = literal.split_once(']')?;
                let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
                (IpAddr::V6(without_zone(address).parse().ok()?), port)
            }
            None => match text.split_once(':') {
                // Two colons are more than the one in front of a port.
                Some((_, rest)) if rest.contains(':') => (IpAddr::V6(without_zone(text).parse().ok()?), None),
                Some((address, port)) => (IpAddr::V4(address.parse().ok()?), Some(port)),
                None => (IpAddr::V4(text.parse().ok()?), None),
            },
        };
        if let Some(port) = port {
            let _: u16 = port.parse().ok()?;
        }
        Some(Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => embedded(address).map_or(IpAddr::V6(address), IpAddr::V4),
        }))
    }

    /// The address with the others that are counted with it: those of IPv6 with the same first `ipv6_prefix` (1 to 128) bits.
    #[must_use]
    pub fn group(self, ipv6_prefix: u8) -> Group {
        match self.0 {
            IpAddr::V4(_) => Group { first: self.0, prefix: 32 },
            IpAddr::V6(address) => {
                let prefix = ipv6_prefix.clamp(1, 128);
                let cut = 128_u32.saturating_sub(prefix.into());
                let bits = address.to_bits() & u128::MAX.checked_shl(cut).unwrap_or(0);
                Group { first: IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix }
            }
        }
    }
}

/// The addresses that are counted as one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Group {
    first: IpAddr,
    prefix: u8,
}

impl Group {
    /// `4` and the bits of IPv4, or `6` and the bits of IPv6 that its addresses share; zeros behind them.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let (tag, bits) = match self.first {
            IpAddr::V4(address) => (4, u128::from(address.to_bits()) << 96),
            IpAddr::V6(address) => (6, address.to_bits()),
        };
        let mut group = [0; Self::LEN];
        let bytes = core::iter::once(tag).chain(bits.to_be_bytes());
        group.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        group
    }

    /// How many bytes that is.
    pub const LEN: usize = 17;
}

impl core::fmt::Display for Group {
    /// `1.2.3.4`, `2001:db8::/64`, or one address of IPv6 alone: `2001:db8::1`.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.first, self.prefix) {
            (IpAddr::V4(_), _) | (IpAddr::V6(_), 128) => self.first.fmt(f),
            (IpAddr::V6(first), prefix) => write!(f, "{first}/{prefix}"),
        }
    }
}

fn without_zone(text: &str) -> &str {
    text.split_once('%').map_or(text, |(address, _)| address)
}

/// The IPv4 address that an IPv6 address stands for.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            let [.., a, b, c, d] = address.octets();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let address = Address::parse(text.as_bytes()).map(|address| address.0.to_string());
        assert_eq!(address.as_deref(), expected, "{text}");
    }

    #[test]
    fn addresses_have_one_form() {
        for (text, expected) in [
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3.4:5678", "1.2.3.4"),
            ("[2001:db8::1]:5678", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[::ffff:1.2.3.4]:5678", "1.2.3.4"),
            ("::ffff:102:304", "1.2.3.4"),
            ("::FFFF:0102:0304", "1.2.3.4"),
            ("0:0:0:0:0:ffff:1.2.3.4", "1.2.3.4"),
            ("::ffff:1.2.3.4%eth0", "1.2.3.4"),
            ("64:ff9b::1.2.3.4", "1.2.3.4"),
            ("64:ff9b::102:304", "1.2.3.4"),
            ("[64:ff9b::102:304]:1", "1.2.3.4"),
            // Like them, but not them.
            ("2001:db8::1.2.3.4", "2001:db8::102:304"),
            ("2001:db8::ffff:102:304", "2001:db8::ffff:102:304"),
            ("::ffff:0:102:304", "::ffff:0:102:304"),
            ("::fffe:102:304", "::fffe:102:304"),
            ("64:ff9b:1::1.2.3.4", "64:ff9b:1::102:304"),
            ("64:ff9b:0:1::1.2.3.4", "64:ff9b:0:1::102:304"),
            ("2002:102:304::1", "2002:102:304::1"),
            ("::1.2.3.4", "::102:304"),
            ("::1", "::1"),
            ("::", "::"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
        ] {
            check(text, Some(expected));
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "/tmp/socket",
            "envoy://internal",
            "localhost",
            "localhost:80",
            "1.2.3",
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:65536",
            "1.2.3.4:1:2",
            "1.2.3.4%eth0",
            "01.2.3.4",
            "256.2.3.4",
            " 1.2.3.4",
            "[1.2.3.4]:80",
            "[2001:db8::1",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[]",
            "2001:db8::1::",
            "%eth0",
        ] {
            check(text, None);
        }
        assert_eq!(Address::parse(b"1.2.3.4\xff"), None);
    }

    #[test]
    fn ipv6_is_cut_and_ipv4_is_not() {
        let group = |text: &str, prefix| Address::parse(text.as_bytes()).unwrap().group(prefix);
        // What they are, the prefix, and whether they are counted together.
        for (one, other, prefix, together) in [
            ("2001:db8::1", "2001:db8::2", 64, true),
            ("2001:db8::1", "2001:db8:0:1::1", 64, false),
            ("2001:db8::1", "2001:db8:0:1::1", 63, true),
            ("2001:db8::1", "2001:db8::2", 128, false),
            ("2001:db8::2", "2001:db8::3", 127, true),
            ("2001:db8::1", "a001:db8::1", 1, false),
            ("2001:db8::1", "3fff::1", 1, true),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.5", 64, false),
            ("::ffff:1.2.3.4", "1.2.3.4:80", 1, true),
            ("64:ff9b::1.2.3.4", "64:ff9b::1.2.3.5", 1, false),
            ("1.2.3.4", "102:304::", 128, false),
            // Out of bounds: as the bound.
            ("2001:db8::1", "a001:db8::1", 0, false),
            ("2001:db8::2", "2001:db8::3", 255, false),
        ] {
            assert_eq!(group(one, prefix) == group(other, prefix), together, "{one} {other} {prefix}");
        }
        assert_eq!(group("1.2.3.4", 64).to_bytes(), [4, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let bytes = group("2001:db8:1:2:3::", 64).to_bytes();
        assert_eq!(bytes, [6, 0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_group_is_written_as_one_address_or_as_its_prefix() {
        for (text, prefix, expected) in [
            ("1.2.3.4:80", 64, "1.2.3.4"),
            ("::ffff:1.2.3.4", 64, "1.2.3.4"),
            ("[2001:db8:1:2:3::9]:80", 64, "2001:db8:1:2::/64"),
            ("2001:db8:1:2:3::9", 32, "2001:db8::/32"),
            ("2001:db8:1:2:3::9", 127, "2001:db8:1:2:3::8/127"),
            ("2001:db8:1:2:3::9", 128, "2001:db8:1:2:3::9"),
        ] {
            assert_eq!(Address::parse(text.as_bytes()).unwrap().group(prefix).to_string(), expected);
        }
    }
}
