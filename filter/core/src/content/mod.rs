//! Judges what a message says, when it is whole (its first bytes before that: [`tunnels`]).
//!
//! ```text
//! text ── envelope off ── JSON read ── schema ── patterns ── credential ── authorize ──▶ allowed
//! ```

pub mod authorize;
pub mod credential;
pub mod envelope;
pub mod patterns;
pub mod rule_sets;
pub mod tunnels;
pub mod views;

use core::cell::Cell;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::json::document::{Form, Twins, Value};
use crate::json::pointer::{Pointer, Referent};
use crate::json::reader::{Bounds, read};
use crate::json::schema::Schema;
use crate::refusal::{Cause, Refusal, step};
use crate::token::Verified;
use crate::violation::Violation;
use crate::wire::Side;
use authorize::Authorizations;
use credential::Search;
use envelope::{Envelope, Envelopes};
use patterns::Patterns;
use tunnels::Exempt;
use views::Reader;

/// What the messages of one side may say.
#[derive(Debug, Default)]
pub struct ContentRules {
    /// What a text has to be.
    pub json: Option<JsonRules>,
    /// What wraps a text.
    pub envelope: Envelopes,
    /// What a sender may say, by its claims; only with `json`.
    pub authorize: Authorizations,
    /// What no text may say.
    pub patterns: Option<Patterns>,
    /// Whether a message may begin as another protocol does.
    pub tunnels: bool,
}

/// What the JSON of a message has to be.
#[derive(Debug)]
pub struct JsonRules {
    /// How large it may be.
    pub bounds: Bounds,
    /// What it may say.
    pub schemas: Schemas,
}

/// The schemas of one side's messages.
#[derive(Debug)]
pub enum Schemas {
    /// Any JSON.
    Any,
    /// One schema for each type of message.
    ByType {
        /// Where a message says its type, which is a string.
        discriminator: Pointer,
        /// The schema of each type.
        schemas: BTreeMap<String, Schema>,
        /// Whether other types are allowed, and messages without one.
        otherwise: bool,
    },
    /// One schema for all messages.
    One(Schema),
}

/// The client of a connection and its subprotocol: what of the handshake matters for its messages.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// The token of the client, where messages are judged by its claims.
    pub sender: Option<Rc<Verified>>,
    /// The negotiated subprotocol; empty for none.
    pub subprotocol: Box<str>,
    /// The protocols that the negotiated subprotocol is there to carry.
    pub exempt: Exempt,
}

/// What of a text that is allowed matters for those behind it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Judged<'a> {
    /// The type of each of its messages, where messages have types: empty for one that says none. The name is the schema's, where it has one.
    pub kinds: Vec<Cow<'a, str>>,
    /// How many binary messages are due behind it.
    pub attachments: u32,
}

/// What the packets of one text are judged by.
#[derive(Clone, Copy)]
struct Terms<'a> {
    envelope: Envelope,
    /// What its packets have taken so far, in steps of a schema's: each has a least, of which a text has thousands.
    spent: &'a Cell<u64>,
    from: Side,
    sender: Option<&'a Verified>,
    search: Option<&'a Search<'a>>,
}

impl ContentRules {
    /// Whether a text has to be there as a whole to be judged.
    #[must_use]
    pub const fn read_text(&self) -> bool {
        self.json.is_some() || self.patterns.is_some()
    }

    /// Whether texts have types.
    #[must_use]
    pub const fn read_type(&self) -> bool {
        matches!(self.json, Some(JsonRules { schemas: Schemas::ByType { .. }, .. }))
    }

    /// Whether this type has a schema of its own.
    #[must_use]
    pub fn names_type(&self, kind: &str) -> bool {
        matches!(&self.json, Some(JsonRules { schemas: Schemas::ByType { schemas, .. }, .. }) if schemas.contains_key(kind))
    }

    /// A binary message begins; `attachments` are announced and have not come. Gives how many are due behind it.
    ///
    /// # Errors
    /// [`Violation::SchemaRefused`] for one that was not announced, where the envelope announces them.
    pub fn receive_binary(&self, handshake: &Handshake, attachments: u32) -> Result<u32, Violation> {
        match (&self.json, self.envelope.of(&handshake.subprotocol)) {
            (Some(_), Some(Envelope::SocketIo)) => attachments.checked_sub(1).ok_or(Violation::SchemaRefused),
            (_, _) => Ok(attachments),
        }
    }

    /// Judges a whole text; `attachments` binary messages of an earlier one have not come, and `search` is for a credential in it. The path of
    /// a refusal begins with the side's keys.
    ///
    /// # Errors
    /// [`Violation::CredentialMissing`] where it has to bring one, [`Violation::InvalidJson`], [`Violation::InvalidUtf8`], [`Violation::JsonRefused`], [`Violation::SchemaRefused`], [`Violation::PatternRefused`] with
    /// the rule, and [`Violation::NotAuthorized`].
    pub fn judge(
        &self,
        text: &str,
        from: Side,
        handshake: &Handshake,
        attachments: u32,
        search: Option<&Search<'_>>,
    ) -> Result<Judged<'_>, Refusal> {
        // The handshake refuses such a connection, except under monitor mode.
        let envelope =
            self.envelope.of(&handshake.subprotocol).ok_or(Violation::SchemaRefused).map_err(within("envelope"))?;
        let Some(json) = &self.json else {
            self.search(text, 0, Reader::Unknown)?;
            search.map_or(Ok(()), Search::receive_unread)?;
            return Ok(Judged::default());
        };
        let spent = Cell::new(0);
        let terms = Terms { envelope, spent: &spent, from, sender: handshake.sender.as_deref(), search };
        let Some(records) = envelope.records(text, from, &json.bounds).map_err(within("envelope"))? else {
            return self.judge_packet(json, text, attachments, text, &terms);
        };
        // As a whole, and below each by itself without its envelope.
        self.search(text, 0, Reader::Unknown)?;
        let mut judged = Judged::default();
        let most = Schema::steps_allowed(text.len()).max(rule_sets::Message::new(text.len(), 0).left());
        for record in &records {
            if spent.get() > most {
                return Err(Refusal::at(Violation::JsonRefused, "envelope"));
            }
            judged.kinds.append(&mut self.judge_packet(json, record, 0, "", &terms)?.kinds);
        }
        // A message that is swallowed would take those beside it along.
        if records.len() > 1 && search.is_some_and(Search::is_swallowed) {
            return Err(Refusal::at(Violation::SchemaRefused, "envelope"));
        }
        Ok(judged)
    }

    /// Judges one packet. Patterns are looked for in the text `searched`, or in the packet's JSON where that is empty.
    fn judge_packet<'a>(
        &'a self,
        json: &'a JsonRules,
        text: &str,
        attachments: u32,
        searched: &str,
        terms: &Terms<'_>,
    ) -> Result<Judged<'a>, Refusal> {
        let Terms { envelope, spent, from, sender, search } = *terms;
        let spend = |steps: u64| spent.set(spent.get().saturating_add(steps));
        let packet = envelope.open(text, from).map_err(within("envelope"))?;
        // Only packets of the transport itself may stand between a packet and its attachments.
        if attachments > 0 && (packet.json.is_some() || !packet.head.is_empty()) {
            return Err(Refusal::at(Violation::SchemaRefused, "envelope"));
        }
        let Some(inside) = packet.json.as_deref() else {
            self.search(searched, 0, Reader::Json)?;
            search.map_or(Ok(()), |search| search.receive_packet(&packet))?;
            return Ok(Judged { kinds: self.read_type().then(Cow::default).into_iter().collect(), attachments });
        };
        let document = read(inside, &json.bounds).map_err(within("json"))?;
        let message = envelope.message(&packet, &document, from).map_err(within("envelope"))?;
        let kind =
            message.map_or(Ok(None), |message| json.schemas.kind(message)).map_err(within("json.discriminator"))?;
        let (steps, name) = message.map_or(Ok((0, None)), |message| json.schemas.check(message, kind, envelope))?;
        spend(steps);
        spend(self.search(if searched.is_empty() { inside } else { searched }, steps, Reader::Json)?);
        let goes_nowhere = search.map_or(Ok(false), |search| search.receive(envelope, &packet, &document))?;
        if let Some(message) = message.filter(|_| !goes_nowhere && !self.authorize.is_empty()) {
            spend(self.authorize.steps());
            self.authorize.check(message, sender, |pointer| envelope.folds(pointer)).map_err(|index| {
                let cause = Cause { at: format!("authorize[{index}]"), kind: kind.map(shown), ..Cause::default() };
                Refusal::because(Violation::NotAuthorized, cause)
            })?;
        }
        let kind = self.read_type().then(|| match name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(kind.unwrap_or_default().to_owned()),
        });
        Ok(Judged { kinds: kind.into_iter().collect(), attachments: packet.attachments() })
    }

    /// Looks for patterns in every view of a text, on which a schema has spent so many `steps`. Gives how many more this has taken.
    ///
    /// # Errors
    /// [`Violation::PatternRefused`], and [`Violation::InvalidUtf8`] for what some readers take for UTF-16.
    fn search(&self, text: &str, steps: u64, reader: Reader) -> Result<u64, Refusal> {
        let Some(patterns) = &self.patterns else { return Ok(0) };
        // Readers of JSON take this for UTF-16 or UTF-32 (RFC 4627 §3), and see other strings in it than are searched here.
        if matches!(text.as_bytes(), [0, _, ..] | [_, 0, _, ..]) {
            return Err(Violation::InvalidUtf8.into());
        }
        let (mut found, mut message) = (None, rule_sets::Message::new(text.len(), steps));
        let before = message.left();
        views::any(text, reader, &mut |view| {
            found = patterns.find(view, &mut message);
            found.is_some()
        });
        match found {
            Some(rule) => {
                let cause = Cause { at: patterns.place(rule), rule: Some(Rc::clone(rule)), ..Cause::default() };
                Err(Refusal::because(Violation::PatternRefused, cause))
            }
            None => Ok(before.saturating_sub(message.left())),
        }
    }
}

impl Schemas {
    /// The type of a message, where it says one.
    ///
    /// # Errors
    /// [`Violation::JsonRefused`] where readers differ about it, [`Violation::SchemaRefused`] where it is in an array or object, which a
    /// receiver may take for what is in it.
    fn kind<'a>(&self, message: Value<'a>) -> Result<Option<&'a str>, Violation> {
        match self {
            Self::Any | Self::One(_) => Ok(None),
            Self::ByType { discriminator, .. } => match discriminator.referent(message) {
                Ok(Referent::Nothing) => Ok(None),
                Ok(Referent::InArray) => Err(Violation::SchemaRefused),
                Ok(Referent::Value(value)) => match value.form() {
                    Form::Array(_) | Form::Object(_) => Err(Violation::SchemaRefused),
                    Form::String(kind) => Ok(Some(kind)),
                    Form::Boolean(_) | Form::Null | Form::Number(_) => Ok(None),
                },
                Err(Twins) => Err(Violation::JsonRefused),
            },
        }
    }

    /// The steps that it took to see that a message of this type is what it has to be, and the name that the schema of its type has.
    fn check(
        &self,
        message: Value<'_>,
        kind: Option<&str>,
        envelope: Envelope,
    ) -> Result<(u64, Option<&str>), Refusal> {
        let (schema, name) = match self {
            Self::Any => return Ok((0, None)),
            Self::ByType { schemas, otherwise, discriminator } => match kind.and_then(|kind| {
                let is_same = |(name, _): &(&String, &Schema)| name.eq_ignore_ascii_case(kind);
                let folded = || schemas.iter().find(is_same).filter(|_| envelope.folds(discriminator));
                schemas.get_key_value(kind).or_else(folded)
            }) {
                Some((name, schema)) => (schema, Some(name.as_str())),
                None if *otherwise => return Ok((0, None)),
                None => return Err(unknown_type(kind)),
            },
            Self::One(schema) => (schema, None),
        };
        let steps = schema.check(message).map_err(|violation| refused_by(schema, name, message, violation))?;
        Ok((steps, name))
    }
}

/// A violation of what stands at this path.
fn within(at: &'static str) -> impl Fn(Violation) -> Refusal {
    move |violation| Refusal::at(violation, at)
}

/// A type that no schema has, where others are refused.
#[cold]
fn unknown_type(kind: Option<&str>) -> Refusal {
    let cause = Cause { at: "json.otherwise".to_owned(), kind: kind.map(shown), ..Cause::default() };
    Refusal::because(Violation::SchemaRefused, cause)
}

/// A schema has refused a message, or it took too much work to find out.
#[cold]
fn refused_by(schema: &Schema, name: Option<&str>, message: Value<'_>, violation: Violation) -> Refusal {
    let fault = match violation {
        Violation::SchemaRefused => schema.explain(message),
        _ => None,
    };
    let (keyword, instance) = fault.map(|fault| (fault.keyword, fault.instance)).unzip();
    let at = name.map_or_else(|| "json.schema".to_owned(), schema_path);
    Refusal::because(violation, Cause { at, kind: name.map(shown), keyword, instance, ..Cause::default() })
}

/// Where the schema of a type stands.
fn schema_path(name: &str) -> String {
    let step = step(name);
    let dot = if step.starts_with('[') { "" } else { "." };
    ["json.schemas", dot, &step].concat()
}

/// A type as it is told: a client may make up any.
fn shown(kind: &str) -> String {
    kind.chars().take(TYPE_LEN_MAX).collect()
}

/// The longest type in a log, in characters.
const TYPE_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests;
