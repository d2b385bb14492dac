//! A text as its envelope has it.

use std::borrow::Cow;

use crate::violation::Violation;

/// A text without its envelope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    /// What stands before the JSON.
    pub head: &'a str,
    /// The JSON, where there is any.
    pub json: Option<Cow<'a, str>>,
    /// Whether it is a ping or pong of the transport.
    pub is_heartbeat: bool,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// What the envelope is, stands in the JSON.
    Inside,
    /// The envelope's own, with an object where there is JSON.
    Own,
    /// The arguments of an event, or of its acknowledgement.
    Arguments { is_event: bool, attachments: Option<u32> },
}

/// Not a packet of this envelope.
pub(super) const REFUSED: Violation = Violation::SchemaRefused;

impl<'a> Packet<'a> {
    /// What stands before the JSON in the `text` that this is; nothing where the JSON was written anew from all of it.
    #[must_use]
    pub fn before_json<'t>(&self, text: &'t str) -> &'t str {
        match &self.json {
            Some(Cow::Borrowed(json)) => text.get(..text.len().saturating_sub(json.len())).unwrap_or_default(),
            Some(Cow::Owned(_)) | None => "",
        }
    }

    /// How many binary messages come behind it and belong to it.
    #[must_use]
    pub const fn attachments(&self) -> u32 {
        match self.kind {
            Kind::Arguments { attachments: Some(attachments), .. } => attachments,
            Kind::Arguments { attachments: None, .. } | Kind::Inside | Kind::Own => 0,
        }
    }
}
