//! STOMP 1.2, "STOMP Frames", and what 1.0 and 1.1 differ in.
//!
//! A frame is judged as JSON that is made of it: `{"command": "SEND", "headers": {"destination": "/a"}, "body": {…}}`.

use std::borrow::Cow;

use super::packet::{Kind, Packet, REFUSED};
use crate::json::name::is_same;
use crate::json::reader::{Bounds, check};
use crate::violation::Violation;
use crate::wire::Side;

/// Any JSON: what is made of a frame is read within the bounds of the policy, with the body in it.
const ANY: Bounds =
    Bounds { depth_max: 128, keys_max: usize::MAX, string_len_max: usize::MAX, unique_keys: false, surrogates: true };

/// A frame without the NUL that ends it.
pub(super) fn open(frame: &str, from: Side) -> Result<Packet<'_>, Violation> {
    let frame = frame.trim_start_matches(['\r', '\n']);
    let (command, mut rest) = line(frame)?;
    let (kind, has_body, needs) = match (command, from) {
        ("SEND", Side::Client) => (Kind::Inside, true, "destination"),
        ("SUBSCRIBE", Side::Client) => (Kind::Inside, false, "destination"),
        ("MESSAGE", Side::Server) => (Kind::Inside, true, "destination"),
        ("ERROR", Side::Server) => (Kind::Own, true, ""),
        (
            "CONNECT" | "STOMP" | "UNSUBSCRIBE" | "ACK" | "NACK" | "BEGIN" | "COMMIT" | "ABORT" | "DISCONNECT",
            Side::Client,
        )
        | ("CONNECTED" | "RECEIPT", Side::Server) => (Kind::Own, false, ""),
        _ => return Err(REFUSED),
    };
    let is_escaped = !matches!(command, "CONNECT" | "CONNECTED");
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    let mut content_len = None;
    // A command is one of those above.
    let mut json = ["{\"command\":\"", command, "\",\"headers\":{"].concat();
    loop {
        let (header, next) = line(rest)?;
        rest = next;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or(REFUSED)?;
        let (name, value) = if is_escaped { (unescape(name)?, unescape(value)?) } else { (name.into(), value.into()) };
        // Receivers differ about which one counts.
        if name.is_empty() || names.contains(&name) || names.len() == HEADERS_MAX {
            return Err(REFUSED);
        }
        // Receivers of STOMP 1.0 cut what 1.1 and 1.2 keep.
        if kind == Kind::Inside && (name.trim() != name || value.trim() != value) {
            return Err(REFUSED);
        }
        // Names are case-sensitive; not all receivers know.
        if is_same(&name, "content-length") {
            content_len = Some(value.parse::<usize>().map_err(|_| REFUSED)?);
        }
        if !names.is_empty() {
            json.push(',');
        }
        write_string(&mut json, &name)?;
        json.push(':');
        write_string(&mut json, &value)?;
        names.push(name);
    }
    // Receivers of another body than that up to the first NUL would see another frame behind it.
    let is_body_sound = content_len.is_none_or(|len| len == rest.len()) && (has_body || rest.is_empty());
    if !is_body_sound || !(needs.is_empty() || names.iter().any(|name| name == needs)) {
        return Err(REFUSED);
    }
    json.push('}');
    if kind == Kind::Inside && !rest.is_empty() {
        // By itself, so that it cannot end the object that it is put into.
        check(rest, &ANY)?;
        json.push_str(",\"body\":");
        json.push_str(rest);
    }
    json.push('}');
    Ok(Packet { head: command, json: Some(json.into()), is_heartbeat: false, kind })
}

/// Whether a frame of this command says who its client is.
pub(super) fn is_greeting(command: &str) -> bool {
    matches!(command, "CONNECT" | "STOMP")
}

/// The most headers of a frame. Brokers allow some dozens (ActiveMQ 1,000, RabbitMQ 100).
const HEADERS_MAX: usize = 100;

/// A line, and what is behind it.
fn line(text: &str) -> Result<(&str, &str), Violation> {
    let (line, rest) = text.split_once('\n').ok_or(REFUSED)?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains('\r') { Err(REFUSED) } else { Ok((line, rest)) }
}

/// STOMP 1.2, "Value Encoding": "Undefined escape sequences such as \t MUST be treated as a fatal protocol error."
fn unescape(text: &str) -> Result<Cow<'_, str>, Violation> {
    if !text.contains('\\') {
        return Ok(text.into());
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        plain.push(match next {
            '\\' => match rest.next() {
                Some('\\') => '\\',
                Some('c') => ':',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(_) | None => return Err(REFUSED),
            },
            _ => next,
        });
    }
    Ok(plain.into())
}

/// Writes a string of JSON. No header has a control character but what STOMP has an escape for, and the tab.
fn write_string(json: &mut String, text: &str) -> Result<(), Violation> {
    json.push('"');
    for next in text.chars() {
        match next {
            '"' | '\\' => json.extend(['\\', next]),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..='\x1f' => return Err(REFUSED),
            _ => json.push(next),
        }
    }
    json.push('"');
    Ok(())
}
