//! Names of hosts (RFC 1123 §2.1, RFC 5891 §4.4) and mailboxes (RFC 5321 §4.1.2).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::punycode;

/// What fits the 255 bytes of a name on the wire (RFC 1035 §2.3.4), written with dots.
const HOSTNAME_LEN_MAX: usize = 253;

/// RFC 1035 §2.3.4.
const LABEL_LEN_MAX: usize = 63;

/// RFC 5321 §4.5.3.1.1.
const LOCAL_PART_LEN_MAX: usize = 64;

/// Labels of letters, digits and inner hyphens, without a dot at the end.
pub(super) fn is_hostname(text: &str) -> bool {
    text.len() <= HOSTNAME_LEN_MAX && text.split('.').all(|label| is_label(label.as_bytes()))
}

/// `Local-part "@" ( Domain / address-literal )`
///
/// Of the literals, `General-address-literal` has no registered kind, and numbers of IPv4 have no leading zeros: to some they
/// are octal.
pub(super) fn is_email(text: &str) -> bool {
    // A domain has no `@`, a quoted local part may.
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_is_valid = match local.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').is_some_and(is_quoted_content),
        None => local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom_byte)),
    };
    local.len() <= LOCAL_PART_LEN_MAX
        && local_is_valid
        && match domain.strip_prefix('[') {
            Some(literal) => literal.strip_suffix(']').is_some_and(is_address_literal),
            None => is_hostname(domain),
        }
}

fn is_address_literal(text: &str) -> bool {
    match text.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().is_ok(),
        _ => text.parse::<Ipv4Addr>().is_ok(),
    }
}

/// `*QcontentSMTP`: printable, where `\` takes the next as it is.
fn is_quoted_content(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let literal = if byte == b'\\' { bytes.next() } else { Some(byte).filter(|byte| *byte != b'"') };
        if !literal.is_some_and(|byte| matches!(byte, b' '..=b'~')) {
            return false;
        }
    }
    true
}

/// `atext` (RFC 5322 §3.2.3)
fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_label(label: &[u8]) -> bool {
    let ([first, ..], [.., last]) = (label, label) else { return false };
    label.len() <= LABEL_LEN_MAX
        && *first != b'-'
        && *last != b'-'
        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && match label.split_at_checked(4) {
            Some((prefix, encoded)) if prefix.eq_ignore_ascii_case(b"xn--") => is_a_label(encoded),
            _ => true,
        }
}

/// Whether it decodes to a label that has hyphens neither at its ends nor third and fourth (RFC 5891 §4.2.3.1). Which other
/// characters IDNA allows is not asked.
fn is_a_label(encoded: &[u8]) -> bool {
    let Some(label) = punycode::decode(encoded) else { return false };
    let hyphen_at = |index: usize| label.get(index) == Some(&'-');
    !hyphen_at(0) && label.last() != Some(&'-') && !(hyphen_at(2) && hyphen_at(3))
}
