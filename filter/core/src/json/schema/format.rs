//! The formats of JSON Schema (Validation §7.3), each by the grammar of its RFC, in one pass.
//!
//! Syntax alone: whether a day has passed, a host exists or a mailbox answers is not asked. Left out are `idn-email` and
//! `idn-hostname`, which need the tables of IDNA: [`Format::from_name`] does not know them.

mod host;
mod punycode;
mod time;
mod uri;

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::regex;

/// What `format` does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Formats {
    /// It says something about a string, and refuses none.
    Annotate,
    /// It has to hold.
    Assert,
}

/// What a text is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// A day of the calendar (RFC 3339 §5.6 `full-date`).
    Date,
    /// A day and a time, and how far from UTC (RFC 3339 §5.6 `date-time`).
    DateTime,
    /// A span of time (RFC 3339 appendix A `duration`).
    Duration,
    /// A mailbox (RFC 5321 §4.1.2 `Mailbox`).
    Email,
    /// A name of a host (RFC 1123 §2.1), with A-labels that decode (RFC 5891 §4.4).
    Hostname,
    /// Four numbers (RFC 2673 §3.2).
    Ipv4,
    /// An address without a zone (RFC 4291 §2.2).
    Ipv6,
    /// An IRI (RFC 3987 §2.2).
    Iri,
    /// An IRI or a relative reference (RFC 3987 §2.2).
    IriReference,
    /// A JSON Pointer (RFC 6901 §3).
    JsonPointer,
    /// A regular expression (ECMA-262), as far as [`regex`] reads it.
    Regex,
    /// A relative JSON Pointer (draft-bhutton-relative-json-pointer-00 §3).
    RelativeJsonPointer,
    /// A time of day, and how far from UTC (RFC 3339 §5.6 `full-time`).
    Time,
    /// A URI (RFC 3986 §3).
    Uri,
    /// A URI or a relative reference (RFC 3986 §4.1).
    UriReference,
    /// A URI template (RFC 6570 §2).
    UriTemplate,
    /// A UUID in hexadecimal (RFC 4122 §3).
    Uuid,
}

impl Format {
    /// The format that a schema calls `name`; `None` for every other.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "date" => Self::Date,
            "date-time" => Self::DateTime,
            "duration" => Self::Duration,
            "email" => Self::Email,
            "hostname" => Self::Hostname,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "iri" => Self::Iri,
            "iri-reference" => Self::IriReference,
            "json-pointer" => Self::JsonPointer,
            "regex" => Self::Regex,
            "relative-json-pointer" => Self::RelativeJsonPointer,
            "time" => Self::Time,
            "uri" => Self::Uri,
            "uri-reference" => Self::UriReference,
            "uri-template" => Self::UriTemplate,
            "uuid" => Self::Uuid,
            _ => return None,
        })
    }

    /// Whether `text` is of this format, from its first byte to its last.
    #[must_use]
    pub fn is_valid(self, text: &str) -> bool {
        match self {
            Self::Date => time::is_date(text.as_bytes()),
            Self::DateTime => time::is_date_time(text.as_bytes()),
            Self::Duration => time::is_duration(text.as_bytes()),
            Self::Email => host::is_email(text),
            Self::Hostname => host::is_hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Iri => uri::is_absolute(text, uri::Charset::Unicode),
            Self::IriReference => uri::is_reference(text, uri::Charset::Unicode),
            Self::JsonPointer => is_json_pointer(text),
            Self::Regex => regex::is_expression(text),
            Self::RelativeJsonPointer => is_relative_json_pointer(text),
            Self::Time => time::is_time(text.as_bytes()),
            Self::Uri => uri::is_absolute(text, uri::Charset::Ascii),
            Self::UriReference => uri::is_reference(text, uri::Charset::Ascii),
            Self::UriTemplate => uri::is_template(text),
            Self::Uuid => is_uuid(text.as_bytes()),
        }
    }
}

/// `*( "/" reference-token )`, where `~` begins `~0` or `~1` (RFC 6901 §3).
fn is_json_pointer(text: &str) -> bool {
    (text.is_empty() || text.starts_with('/')) && text.split('~').skip(1).all(|escaped| escaped.starts_with(['0', '1']))
}

/// `non-negative-integer [ ( "+" / "-" ) non-negative-integer ] ( json-pointer / "#" )`
fn is_relative_json_pointer(text: &str) -> bool {
    let Some(rest) = after_integer(text) else { return false };
    let rest = match rest.strip_prefix(['+', '-']).map(after_integer) {
        None => rest,
        Some(Some(rest)) => rest,
        Some(None) => return false,
    };
    rest == "#" || is_json_pointer(rest)
}

/// What follows a number without a sign and without leading zeros.
fn after_integer(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('0') {
        return (!rest.starts_with(|next: char| next.is_ascii_digit())).then_some(rest);
    }
    let rest = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests;
