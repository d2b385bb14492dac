//! Envelopes, which wrap messages: each is taken off before its message is judged, and held to its own protocol.
//!
//! ```text
//! json                  {…}                                      the whole text
//! graphql-transport-ws  {"type":"subscribe","id":"1","payload":{…}}   the payload of subscribe, next and error
//! socket.io             42/chat,7["event",…]                     the arguments of an event
//! json_lines            {…}⏎{…}⏎                                each line
//! signalr               {"type":1,"target":…,"arguments":[…]}␞    each record of types 1 to 4
//! sockjs                ["{…}","{…}"], a["{…}"]                  each of the strings
//! stomp                 SEND⏎destination:/a⏎⏎{…}␀                {"command":…,"headers":{…},"body":…}
//! ```
//!
//! The last four may have several messages in a text, each of which is judged (records.rs).
//!
//! What only the envelope's own protocol says (pings, acknowledgements, `connection_init`) has to have its shape, and is within
//! the bounds of JSON; schemas and authorization are for the messages inside.

mod packet;
mod records;
mod signalr;
mod stomp;

use std::borrow::Cow;
use std::collections::BTreeMap;

use packet::{Kind, REFUSED};

use crate::json::document::{Document, Form, Twins, Value};
use crate::json::pointer::Pointer;
use crate::violation::Violation;
use crate::wire::Side;

pub use packet::Packet;

/// A protocol that wraps messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Envelope {
    /// The GraphQL over WebSocket protocol of the subprotocol `graphql-transport-ws`.
    GraphqlTransportWs,
    /// None: the whole text is the message.
    Json,
    /// Lines of JSON.
    JsonLines,
    /// The hub protocol `json` of ASP.NET Core SignalR.
    SignalR,
    /// Socket.IO 5 in Engine.IO 4 packets.
    SocketIo,
    /// The frames of SockJS 0.3.
    SockJs,
    /// STOMP 1.0 to 1.2.
    Stomp,
}

/// What wraps the messages of one side.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Envelopes {
    /// One envelope for each negotiated subprotocol; the empty name is for none.
    BySubprotocol(BTreeMap<String, Envelope>),
    /// The same on every connection.
    One(Envelope),
}

impl Default for Envelopes {
    fn default() -> Self {
        Self::One(Envelope::Json)
    }
}

impl Envelopes {
    /// The envelope on a connection with this subprotocol; `None` where there may be no such connection.
    #[must_use]
    pub fn of(&self, subprotocol: &str) -> Option<Envelope> {
        match self {
            Self::BySubprotocol(envelopes) => envelopes.get(subprotocol).copied(),
            Self::One(envelope) => Some(*envelope),
        }
    }

    /// Whether some connection has this envelope.
    #[must_use]
    pub fn contain(&self, envelope: Envelope) -> bool {
        match self {
            Self::BySubprotocol(envelopes) => envelopes.values().any(|own| *own == envelope),
            Self::One(own) => *own == envelope,
        }
    }
}

/// The most binary attachments of one Socket.IO packet: as many as its own parser takes by default.
const ATTACHMENTS_MAX: u32 = 10;

/// The names of events that Socket.IO keeps for itself; of a client's also [`CLIENT_RESERVED_EVENT`].
const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A server emits the events that a client sends, and Node throws where the application does not listen for this one. Servers send it too.
const CLIENT_RESERVED_EVENT: &str = "error";

impl Envelope {
    /// Takes off what stands around the JSON.
    ///
    /// # Errors
    /// [`Violation::SchemaRefused`] for what is no packet of this envelope, [`Violation::JsonRefused`] for one with more
    /// attachments than 10.
    pub fn open(self, text: &str, from: Side) -> Result<Packet<'_>, Violation> {
        match self {
            Self::GraphqlTransportWs | Self::Json | Self::JsonLines | Self::SignalR | Self::SockJs => {
                Ok(Packet { head: "", json: Some(text.into()), is_heartbeat: false, kind: Kind::Inside })
            }
            Self::SocketIo => engine_io(text, from),
            Self::Stomp => stomp::open(text, from),
        }
    }

    /// The message in a packet that was read; `None` where it has none.
    ///
    /// # Errors
    /// [`Violation::SchemaRefused`] for what this envelope does not allow.
    pub fn message<'a>(
        self,
        packet: &Packet<'_>,
        document: &'a Document<'a>,
        from: Side,
    ) -> Result<Option<Value<'a>>, Violation> {
        let root = document.root();
        match (packet.kind, self) {
            (Kind::Inside, Self::GraphqlTransportWs) => graphql(root, from),
            (Kind::Inside, Self::SignalR) => signalr::message(root, from),
            (Kind::Inside, Self::Json | Self::JsonLines | Self::SocketIo | Self::SockJs | Self::Stomp) => {
                Ok(Some(root))
            }
            (Kind::Own, _) => {
                if matches!(root.form(), Form::Object(_)) {
                    Ok(None)
                } else {
                    Err(REFUSED)
                }
            }
            (Kind::Arguments { is_event, attachments }, _) => {
                check_arguments(root, is_event, from)?;
                if let Some(attachments) = attachments {
                    check_placeholders(document, attachments)?;
                }
                Ok(is_event.then_some(root))
            }
        }
    }

    /// Whether receivers take names there for the same that differ by the case of their letters: methods of a hub are called so.
    #[must_use]
    pub fn folds(self, pointer: &Pointer) -> bool {
        self == Self::SignalR && pointer.tokens().eq(["target"])
    }

    /// What a client's first packet says of who it is: a message without a wrapping, `connection_init` as it is written, the object of CONNECT.
    #[must_use]
    pub fn greeting<'a>(self, packet: &Packet<'_>, document: &'a Document<'a>) -> Option<Value<'a>> {
        let root = document.root();
        let is_greeting = match (packet.kind, self) {
            (Kind::Inside, Self::Json | Self::JsonLines) => true,
            (Kind::Inside, Self::GraphqlTransportWs) => {
                root.get("type").and_then(Value::as_str) == Some("connection_init")
            }
            (Kind::Own, Self::Stomp) => stomp::is_greeting(packet.head),
            (Kind::Own, _) => packet.head.starts_with('0'),
            (Kind::Arguments { .. } | Kind::Inside, _) => false,
        };
        is_greeting.then_some(root)
    }

    /// What a packet may say of who its client is by now: a message as it is written, or the arguments of an event.
    #[must_use]
    pub fn renewal<'a>(self, packet: &Packet<'_>, document: &'a Document<'a>) -> Option<Value<'a>> {
        match packet.kind {
            Kind::Inside | Kind::Arguments { is_event: true, .. } => Some(document.root()),
            Kind::Arguments { is_event: false, .. } | Kind::Own => None,
        }
    }
}

/// Engine.IO protocol 4, "Packet encoding". Either side may ping and pong: in protocol 3 it is the client that pings.
fn engine_io(text: &str, from: Side) -> Result<Packet<'_>, Violation> {
    let is_heartbeat = matches!(text, "2" | "3");
    let own = |json: Option<_>| Ok(Packet { head: "", json: json.map(Cow::Borrowed), is_heartbeat, kind: Kind::Own });
    match (text.split_at_checked(1).ok_or(REFUSED)?, from) {
        (("4", packet), from) => socket_io(packet, from),
        (("0", handshake), Side::Server) => own(Some(handshake)),
        (("1" | "2" | "3", ""), _) | (("2", "probe") | ("5", ""), Side::Client) => own(None),
        (("3", "probe") | ("6", ""), Side::Server) => own(None),
        _ => Err(REFUSED),
    }
}

/// Socket.IO protocol 5, "Packet encoding":
/// `<packet type>[<# of binary attachments>-][<namespace>,][<acknowledgment id>][JSON-stringified payload without binary]`
fn socket_io(text: &str, from: Side) -> Result<Packet<'_>, Violation> {
    let (kind, rest) = text.split_at_checked(1).ok_or(REFUSED)?;
    let is_binary = matches!(kind, "5" | "6");
    let (attachments, rest) = if is_binary {
        let (count, rest) = rest.split_once('-').ok_or(REFUSED)?;
        (Some(attachments(count)?), rest)
    } else {
        (None, rest)
    };
    let rest = if rest.starts_with('/') { rest.split_once(',').map_or("", |(_, rest)| rest) } else { rest };
    let id_len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let json = rest.get(id_len..).filter(|json| !json.is_empty());
    let head = text.strip_suffix(json.unwrap_or_default()).unwrap_or_default();
    let has_id = id_len > 0;
    let kind = match (kind, json.is_some(), has_id, from) {
        // CONNECT with or without an object; DISCONNECT; CONNECT_ERROR.
        ("0", _, false, _) | ("1", false, false, _) | ("4", true, false, Side::Server) => Kind::Own,
        ("2" | "5", true, _, _) => Kind::Arguments { is_event: true, attachments },
        ("3" | "6", true, true, _) => Kind::Arguments { is_event: false, attachments },
        _ => return Err(REFUSED),
    };
    Ok(Packet { head, json: json.map(Cow::Borrowed), is_heartbeat: false, kind })
}

fn attachments(count: &str) -> Result<u32, Violation> {
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(REFUSED);
    }
    count.parse().ok().filter(|count| *count <= ATTACHMENTS_MAX).ok_or(Violation::JsonRefused)
}

/// An event is a list that begins with its name.
fn check_arguments(root: Value<'_>, is_event: bool, from: Side) -> Result<(), Violation> {
    let Form::Array(mut items) = root.form() else { return Err(REFUSED) };
    if !is_event {
        return Ok(());
    }
    match items.next().map(Value::form) {
        Some(Form::Number(_)) => Ok(()),
        Some(Form::String(CLIENT_RESERVED_EVENT)) if from == Side::Client => Err(REFUSED),
        Some(Form::String(name)) if !RESERVED_EVENTS.contains(&name) => Ok(()),
        Some(Form::Array(_) | Form::Boolean(_) | Form::Null | Form::Object(_) | Form::String(_)) | None => Err(REFUSED),
    }
}

/// A placeholder names an attachment that comes: parsers have crashed on others.
fn check_placeholders(document: &Document<'_>, attachments: u32) -> Result<(), Violation> {
    let is_sound = |value: Value<'_>| {
        let is_placeholder = value.get("_placeholder").is_some();
        let number = value.get("num").filter(|num| num.is_plain_integer()).map(Value::form);
        !is_placeholder
            || matches!(number, Some(Form::Number(token)) if token.parse::<u32>().is_ok_and(|number| number < attachments))
    };
    if document.objects().all(is_sound) { Ok(()) } else { Err(REFUSED) }
}

/// GraphQL over WebSocket Protocol, "Message types".
fn graphql<'a>(root: Value<'a>, from: Side) -> Result<Option<Value<'a>>, Violation> {
    // Servers in Go read `Payload` too.
    let member = |of: Value<'a>, name: &str| of.member(name).map_err(|Twins| REFUSED);
    let kind = member(root, "type")?.and_then(Value::as_str).ok_or(REFUSED)?;
    let has_id = member(root, "id")?.and_then(Value::as_str).is_some_and(|id| !id.is_empty());
    let payload = member(root, "payload")?;
    let query = payload.map_or(Ok(None), |payload| member(payload, "query"))?;
    let form = payload.map(Value::form);
    let is_sound = match (kind, from) {
        ("connection_init", Side::Client) | ("connection_ack", Side::Server) | ("ping" | "pong", _) => {
            matches!(form, None | Some(Form::Null | Form::Object(_)))
        }
        ("complete", _) => has_id && payload.is_none(),
        ("subscribe", Side::Client) => has_id && query.is_some_and(|query| query.as_str().is_some()),
        ("next", Side::Server) => has_id && matches!(form, Some(Form::Object(_))),
        ("error", Side::Server) => has_id && matches!(form, Some(Form::Array(_))),
        _ => false,
    };
    let is_message = matches!(kind, "subscribe" | "next" | "error");
    if is_sound { Ok(payload.filter(|_| is_message)) } else { Err(REFUSED) }
}

#[cfg(test)]
mod tests;
