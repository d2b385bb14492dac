//! ASP.NET Core SignalR, "SignalR Hub Protocol", with JSON encoding.
//!
//! A session begins with a handshake of each side. It is told by its members, not by its place: a later one is nothing that a
//! receiver acts on.

use super::packet::REFUSED;
use crate::json::document::{Form, Twins, Value};
use crate::violation::Violation;
use crate::wire::Side;

/// The message in a record: the record itself, where it calls something, or brings an item or a result.
pub(super) fn message(root: Value<'_>, from: Side) -> Result<Option<Value<'_>>, Violation> {
    if !matches!(root.form(), Form::Object(_)) {
        return Err(REFUSED);
    }
    let member = |name: &str| root.member(name).map_err(|Twins| REFUSED);
    let text = |name| Ok::<_, Violation>(member(name)?.and_then(Value::as_str));
    let integer = |name| Ok::<_, Violation>(member(name)?.is_some_and(Value::is_plain_integer));
    let Some(kind) = member("type")? else {
        let is_sound = match from {
            Side::Client => text("protocol")? == Some("json") && integer("version")?,
            // Empty, or with what is wrong.
            Side::Server => {
                let error = member("error")?;
                root.child_count() == usize::from(error.is_some())
                    && error.is_none_or(|error| matches!(error.form(), Form::Null | Form::String(_)))
            }
        };
        return if is_sound { Ok(None) } else { Err(REFUSED) };
    };
    // Written otherwise (`1.0`, `1e0`) some receivers read it and some do not.
    let Form::Number(kind) = kind.form() else { return Err(REFUSED) };
    let has_id = text("invocationId")?.is_some_and(|id| !id.is_empty());
    let is_call = text("target")?.is_some_and(|target| !target.is_empty())
        && member("arguments")?.is_some_and(|list| matches!(list.form(), Form::Array(_)));
    let has_error = member("error")?.is_some();
    let is_sound = match (kind, from) {
        // Invocation, StreamItem, Completion, StreamInvocation.
        ("1", _) => is_call,
        ("2", _) => has_id && member("item")?.is_some(),
        ("3", _) => has_id && !(has_error && member("result")?.is_some()),
        ("4", Side::Client) => is_call && has_id,
        // CancelInvocation, Ping, Close, Ack, Sequence.
        ("5", Side::Client) => has_id,
        ("6" | "7", _) => true,
        ("8" | "9", _) => integer("sequenceId")?,
        _ => false,
    };
    if is_sound { Ok(matches!(kind, "1" | "2" | "3" | "4").then_some(root)) } else { Err(REFUSED) }
}
