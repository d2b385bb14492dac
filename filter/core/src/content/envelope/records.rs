//! Envelopes that put several messages into one text.

use std::borrow::Cow;

use super::Envelope;
use super::packet::REFUSED;
use crate::json::document::{Document, Form, Value};
use crate::json::reader::{Bounds, read};
use crate::violation::Violation;
use crate::wire::Side;

/// The most records of one text: 100 KB of slices. Clients send one, and servers under load what a buffer of 64 KiB holds, where a
/// record with an argument has some 60 bytes.
const RECORDS_MAX: usize = 4_096;

/// What ends a record of SignalR: U+001E, "record separator".
const RECORD_END: char = '\x1e';

impl Envelope {
    /// The records of a text, each to be opened by itself; `None` where the whole text is one. A record is a slice of the text, except where the
    /// envelope has it in a string.
    ///
    /// # Errors
    /// [`Violation::SchemaRefused`] for what this envelope does not allow, [`Violation::JsonRefused`] for more than 4,096 records;
    /// those of [`read`] where records are in a list.
    pub fn records<'a>(
        self,
        text: &'a str,
        from: Side,
        bounds: &Bounds,
    ) -> Result<Option<Vec<Cow<'a, str>>>, Violation> {
        match self {
            Self::GraphqlTransportWs | Self::Json | Self::SocketIo => Ok(None),
            // A line may end in CR LF, and the last one without either.
            Self::JsonLines => bounded(text.strip_suffix('\n').unwrap_or(text).split('\n').map(Cow::Borrowed)),
            Self::SignalR => {
                bounded(text.strip_suffix(RECORD_END).ok_or(REFUSED)?.split(RECORD_END).map(Cow::Borrowed))
            }
            Self::SockJs => sockjs(text, from, bounds),
            // Between frames, and alone as a heartbeat, there may be ends of lines.
            Self::Stomp => match text.rsplit_once('\0') {
                Some((frames, rest)) if is_blank(rest) => bounded(frames.split('\0').map(Cow::Borrowed)),
                None if !text.is_empty() && is_blank(text) => Ok(Some(Vec::new())),
                Some(_) | None => Err(REFUSED),
            },
        }
    }
}

fn bounded<'a>(records: impl Iterator<Item = Cow<'a, str>>) -> Result<Option<Vec<Cow<'a, str>>>, Violation> {
    let mut list = Vec::new();
    for record in records {
        if list.len() == RECORDS_MAX {
            return Err(Violation::JsonRefused);
        }
        list.push(record);
    }
    Ok(Some(list))
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'\n' | b'\r'))
}

/// SockJS 0.3.3, "Framing accepted by the client" and "Accepting messages from the client".
fn sockjs<'a>(text: &'a str, from: Side, bounds: &Bounds) -> Result<Option<Vec<Cow<'a, str>>>, Violation> {
    let list = match (from, text.split_at_checked(1).ok_or(REFUSED)?) {
        (Side::Server, ("o" | "h", "")) => return Ok(Some(Vec::new())),
        (Side::Server, ("c", close)) => {
            let close = read(close, bounds)?;
            return if is_close(&close) { Ok(Some(Vec::new())) } else { Err(REFUSED) };
        }
        (Side::Server, ("a", list)) => list,
        (Side::Server, _) => return Err(REFUSED),
        (Side::Client, _) => text,
    };
    // A receiver that does not find the bracket at once takes all of it for one message.
    let is_bracketed = list.starts_with('[');
    let list = read(list, bounds)?;
    let items = match list.root().form() {
        Form::Array(items) if is_bracketed => items,
        _ => return Err(REFUSED),
    };
    let mut records = Vec::new();
    for item in items {
        if records.len() == RECORDS_MAX {
            return Err(Violation::JsonRefused);
        }
        records.push(Cow::Owned(item.as_str().ok_or(REFUSED)?.to_owned()));
    }
    Ok(Some(records))
}

/// A code and a reason.
fn is_close(close: &Document<'_>) -> bool {
    let root = close.root();
    matches!(root.form(), Form::Array(_))
        && root.child_count() == 2
        && root.item(0).is_some_and(Value::is_plain_integer)
        && root.item(1).is_some_and(|reason| reason.as_str().is_some())
}
