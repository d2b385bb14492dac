//! The shape of an upgrade request (RFC 6455 §4.2.1), read the strict way.
//!
//! What one server forgives and the next does not is how requests are smuggled, so everything that is not exactly an
//! upgrade is refused: half of one, a repeated field, a body, a second protocol in `Upgrade`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::request::{HttpVersion, Request};
use crate::docket::Docket;
use crate::http::extensions::{Extension, parse};
use crate::http::headers::{Headers, Repeated};
use crate::http::list::{tokens, trim};
use crate::refusal::Refusal;
use crate::violation::Violation;

/// What the key is hashed with (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What `Connection` may name. More would have the next hop drop a header that the upstream relies on
/// (RFC 9110 §7.6.1).
const CONNECTION_OPTIONS: [&str; 3] = ["upgrade", "keep-alive", "close"];

/// Fields of the drafts before RFC 6455; who sends them speaks another protocol.
const DRAFT_FIELDS: [&str; 4] =
    ["sec-websocket-draft", "sec-websocket-key1", "sec-websocket-key2", "sec-websocket-origin"];

/// Fields of the handshake that may stand once.
const SINGLE_FIELDS: [&str; 6] =
    [":authority", ":method", ":path", "origin", "sec-websocket-key", "sec-websocket-version"];

/// Whether a request means to be an upgrade: one that only half is must not pass as a plain request.
pub(super) fn is_attempted(headers: &Headers) -> bool {
    headers.has("upgrade")
        || headers.has(":protocol")
        || headers.all(":method").any(|method| method == b"CONNECT")
        || headers.names().any(|name| begins_as(name, "sec-websocket-"))
}

/// What the fields of an upgrade say, as far as they can be read: one that is only monitored goes on with that.
pub(super) struct Upgrade<'a> {
    /// The key, where it is one: sixteen bytes in canonical base64 (RFC 6455 §4.2.1).
    pub(super) key: Option<String>,
    /// What is offered as subprotocols; nothing where the list is malformed.
    pub(super) protocols: Vec<&'a str>,
    /// The extensions that are offered, of the lines that are well formed.
    pub(super) extensions: Vec<Extension<'a>>,
    /// Whether one of the lists is.
    is_malformed: bool,
}

impl<'a> Upgrade<'a> {
    /// Reads the fields.
    pub(super) fn read(headers: &'a Headers) -> Self {
        let protocols = tokens(headers.all("sec-websocket-protocol"));
        let (mut extensions, mut is_malformed) = (Vec::new(), protocols.is_err());
        for line in headers.all("sec-websocket-extensions").map(parse) {
            is_malformed |= line.is_err();
            extensions.extend(line.unwrap_or_default());
        }
        Self { key: key(headers), protocols: protocols.unwrap_or_default(), extensions, is_malformed }
    }

    /// Checks everything about the request that RFC 6455 prescribes, but for who may ask.
    ///
    /// # Errors
    /// What is refused of [`Violation::BadVersion`] for a version other than 13, and [`Violation::BadUpgrade`] for everything else.
    pub(super) fn check(&self, request: &Request, docket: &Docket) -> Result<(), Refusal> {
        let headers = &request.headers;
        let fields = check_fields(headers).is_err();
        let faults = [
            fields,
            // A client that has nothing to say opens no connection: over HTTP/2 its end may come with the header.
            request.end,
            headers.all(":method").next() != Some(b"GET"),
            request.protocol == HttpVersion::Http10,
            !is_path(headers.all(":path").next().unwrap_or_default()),
            !is_upgrade(headers, request.protocol),
            has_body(headers),
            is_other_dialect(headers),
            self.is_malformed,
        ];
        if faults.contains(&true) {
            return docket.find(Violation::BadUpgrade);
        }
        match headers.all("sec-websocket-version").next().map(trim) {
            Some(b"13") => {}
            Some(list) if list.contains(&b',') => return docket.find(Violation::BadUpgrade),
            // "If this version does not match a version understood by the server, the server MUST … send an appropriate
            // HTTP error code (such as 426 Upgrade Required)" (RFC 6455 §4.2.2).
            Some(_) | None => docket.find(Violation::BadVersion)?,
        }
        match (&self.key, request.protocol) {
            (Some(_), _) => Ok(()),
            (None, HttpVersion::Multiplexed) if !headers.has("sec-websocket-key") => Ok(()),
            (None, _) => docket.find(Violation::BadUpgrade),
        }
    }
}

/// Checks that the fields that may stand once do, in any request.
///
/// # Errors
/// [`Violation::BadUpgrade`].
pub(super) fn check_fields(headers: &Headers) -> Result<(), Violation> {
    for name in SINGLE_FIELDS {
        headers.one(name).map_err(|Repeated| Violation::BadUpgrade)?;
    }
    // A proxy may fold repeated lines into one (RFC 9110 §5.2).
    let is_folded = headers.all("origin").any(|line| line.iter().any(|byte| matches!(byte, b',' | b' ' | b'\t')));
    if is_folded || has_two_hosts(headers) { Err(Violation::BadUpgrade) } else { Ok(()) }
}

fn key(headers: &Headers) -> Option<String> {
    let key = trim(headers.one("sec-websocket-key").ok()??);
    let bytes = STANDARD.decode(key).ok()?;
    (bytes.len() == 16).then(|| STANDARD.encode(bytes))
}

/// A key of sixteen bytes.
pub(super) fn encode_key(bytes: [u8; 16]) -> String {
    STANDARD.encode(bytes)
}

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 §4.2.2).
pub(super) fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// `Upgrade: websocket`, alone, and named by `Connection` where that exists.
fn is_upgrade(headers: &Headers, protocol: HttpVersion) -> bool {
    let Ok(upgrade) = tokens(headers.all("upgrade")) else { return false };
    let Ok(connection) = tokens(headers.all("connection")) else { return false };
    let named = |option: &str| connection.iter().any(|token| token.eq_ignore_ascii_case(option));
    let known = |token: &&str| CONNECTION_OPTIONS.iter().any(|option| token.eq_ignore_ascii_case(option));
    matches!(upgrade.as_slice(), [only] if only.eq_ignore_ascii_case("websocket"))
        && connection.iter().all(known)
        && (named("upgrade") || protocol == HttpVersion::Multiplexed)
}

/// `:authority` and `Host` name the same (RFC 9113 §8.3.1).
fn has_two_hosts(headers: &Headers) -> bool {
    let mut lines = headers.all(":authority").chain(headers.all("host"));
    let first = lines.next();
    lines.any(|line| Some(line) != first)
}

/// Visible ASCII from a slash on, without a fragment.
fn is_path(path: &[u8]) -> bool {
    path.first() == Some(&b'/') && path.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#')
}

/// A body would be taken for frames by one server and for a request by another (RFC 9112 §11.2).
fn has_body(headers: &Headers) -> bool {
    headers.has("transfer-encoding") || headers.all("content-length").any(|length| trim(length) != b"0")
}

/// Fields of the drafts, and fields that only some servers read as ours (`Sec_WebSocket_Key`).
fn is_other_dialect(headers: &Headers) -> bool {
    headers.names().any(|name| {
        DRAFT_FIELDS.iter().any(|field| is_named(name, field))
            || (name.contains(&b'_') && begins_as(name, "sec-websocket-"))
    })
}

/// Whether servers that take `_` for `-` take a name for another.
pub(super) fn is_named(name: &[u8], other: &str) -> bool {
    let hyphen = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.len() == other.len() && name.iter().zip(other.as_bytes()).all(|(own, byte)| hyphen(*own) == hyphen(*byte))
}

/// Likewise, its beginning.
fn begins_as(name: &[u8], start: &str) -> bool {
    name.get(..start.len()).is_some_and(|own| is_named(own, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ACCEPT, KEY};

    #[test]
    fn the_accept_of_the_rfc_is_found() {
        assert_eq!(accept(KEY), ACCEPT);
    }
}
