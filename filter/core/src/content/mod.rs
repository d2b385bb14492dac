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

use core::cell::{Cell, RefCell};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::docket::Docket;
use crate::json::document::{Document, Form, Twins, Value};
use crate::json::name::is_same;
use crate::json::pointer::{self, Pointer, Referent};
use crate::json::reader::{Bounds, read};
use crate::json::schema::Schema;
use crate::refusal::{Cause, Refusal, member_path};
use crate::token::Verified;
use crate::violation::{Part, Violation};
use authorize::Authorizations;
use credential::Search;
use envelope::{Envelope, Envelopes};
use patterns::{Look, Patterns};
use tunnels::Exempt;
use views::{Reader, View};

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
    /// Whether its receivers take types for the same that differ by the case of their letters.
    pub folds: bool,
    /// How many binary messages are due behind it.
    pub attachments: u32,
}

/// What the packets of one text are judged by.
#[derive(Clone, Copy)]
struct Terms<'a> {
    envelope: Envelope,
    /// What its packets have taken so far, in steps of a schema's: each has a least, of which a text has thousands.
    spent: &'a Cell<u64>,
    /// The rules that have passed, and in which packet at last: it counts once for each.
    passed: &'a RefCell<Vec<(Rc<str>, Option<usize>)>>,
    /// The packet in hand of a text that has several.
    packet: Option<usize>,
    docket: &'a Docket,
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
    /// what is found begins with the side's keys.
    ///
    /// # Errors
    /// What is refused of [`Violation::CredentialMissing`] where it has to bring one, [`Violation::InvalidJson`], [`Violation::InvalidUtf8`],
    /// [`Violation::JsonRefused`], [`Violation::SchemaRefused`], [`Violation::PatternRefused`] with the rule, and [`Violation::NotAuthorized`].
    pub fn judge(
        &self,
        text: &str,
        docket: &Docket,
        handshake: &Handshake,
        attachments: u32,
        search: Option<&Search<'_>>,
    ) -> Result<Judged<'_>, Refusal> {
        let spent = Cell::new(0);
        let envelope = self.envelope.of(&handshake.subprotocol);
        let sender = handshake.sender.as_deref();
        let (envelope_of, passed) = (envelope.unwrap_or(Envelope::Json), RefCell::default());
        let terms =
            Terms { envelope: envelope_of, spent: &spent, passed: &passed, packet: None, docket, sender, search };
        // The handshake refuses such a connection, unless that is only monitored.
        if envelope.is_none() {
            return self.judge_unparsed(Violation::SchemaRefused.into(), text, attachments, &terms);
        }
        let Some(json) = &self.json else {
            self.search(text, Reader::Unknown, Look::All, &terms)?;
            terms.receive_unread()?;
            return Ok(Judged::default());
        };
        let records = match terms.envelope.records(text, docket.from(), &json.bounds) {
            Ok(Some(records)) => records,
            Ok(None) => return self.judge_packet(json, text, attachments, &terms),
            Err(violation) => return self.judge_unparsed(violation.into(), text, attachments, &terms),
        };
        let mut judged = Judged::default();
        let most = Schema::steps_allowed(text.len()).max(rule_sets::Message::new(text.len(), 0).left());
        for (index, record) in records.iter().enumerate() {
            if spent.get() > most {
                docket.find_in(Part::Payload, Refusal::at(Violation::JsonRefused, "envelope"))?;
                break;
            }
            let mut packet = self.judge_packet(json, record, 0, &Terms { packet: Some(index), ..terms })?;
            judged.kinds.append(&mut packet.kinds);
            judged.folds |= packet.folds;
        }
        // Each by itself without its envelope, where it is told in which string, and all as they stand.
        self.search(text, Reader::Unknown, Look::Everywhere, &terms)?;
        // A message that is swallowed would take those beside it along.
        if records.len() > 1 && search.is_some_and(Search::is_swallowed) {
            docket.find_in(Part::Auth, Refusal::at(Violation::SchemaRefused, "envelope"))?;
        }
        Ok(judged)
    }

    /// Judges one packet.
    fn judge_packet<'a>(
        &'a self,
        json: &'a JsonRules,
        text: &str,
        attachments: u32,
        terms: &Terms<'_>,
    ) -> Result<Judged<'a>, Refusal> {
        let Terms { envelope, docket, search, .. } = *terms;
        let from = docket.from();
        let packet = match envelope.open(text, from) {
            Ok(packet) => packet,
            Err(violation) => return self.judge_unparsed(violation.into(), text, attachments, terms),
        };
        // Only packets of the transport itself may stand between a packet and its attachments.
        if attachments > 0 && (packet.json.is_some() || !packet.head.is_empty()) {
            docket.find(Refusal::at(Violation::SchemaRefused, "envelope"))?;
        }
        let Some(inside) = packet.json.as_deref() else {
            self.search(text, Reader::Json, Look::All, terms)?;
            if !packet.is_heartbeat {
                terms.receive_unread()?;
            }
            return Ok(Judged { kinds: self.no_kind(), attachments, folds: false });
        };
        let document = match read(inside, &json.bounds) {
            Ok(document) => document,
            Err(unreadable) => {
                let refusal = Refusal::at(unreadable.violation(), unreadable.key());
                return self.judge_unparsed(refusal, text, attachments, terms);
            }
        };
        let message = match envelope.message(&packet, &document, from) {
            Ok(message) => message,
            Err(violation) => return self.judge_unparsed(violation.into(), text, attachments, terms),
        };
        let kind = match message.map_or(Ok(None), |message| json.schemas.kind(message)) {
            Ok(kind) => kind,
            Err(violation) => {
                docket.find_in(Part::Parsed, Refusal::at(violation, "json.discriminator"))?;
                None
            }
        };
        let (mut steps, mut name) = (0, None);
        if let Some(message) = message {
            match json.schemas.of(kind, envelope) {
                Ok(Some((schema, of))) => {
                    name = of;
                    match schema.check(message) {
                        Ok(taken) => steps = taken,
                        Err(violation) => docket.find(refused_by(schema, name, message, violation))?,
                    }
                }
                Ok(None) => {}
                Err(refusal) => docket.find(refusal)?,
            }
        }
        terms.spend(steps);
        terms.spend(self.search_packet(packet.before_json(text), &document, (message, kind), steps, terms)?);
        let goes_nowhere = match search.map_or(Ok(false), |search| search.receive(envelope, &packet, &document)) {
            Ok(goes_nowhere) => goes_nowhere,
            Err(violation) => {
                docket.find_in(Part::Auth, violation)?;
                false
            }
        };
        if let Some(message) = message.filter(|_| !goes_nowhere && !self.authorize.is_empty()) {
            terms.spend(self.authorize.steps());
            let folds = |pointer: &Pointer| envelope.folds(pointer);
            self.authorize.check(message, terms.sender, folds, &mut |index, mode| {
                let at = format!("authorize[{index}]");
                let cause = Cause { at, kind: kind.and_then(shown), mode: Some(mode), ..Cause::default() };
                docket.find(Refusal::because(Violation::NotAuthorized, cause))
            })?;
        }
        let kind = self.read_type().then(|| match name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(kind.unwrap_or_default().to_owned()),
        });
        let folds = json.schemas.folds(envelope);
        Ok(Judged { kinds: kind.into_iter().collect(), folds, attachments: packet.attachments() })
    }

    /// Judges what cannot be taken for a message of its envelope, because of `refusal`: as a text.
    #[cold]
    fn judge_unparsed(
        &self,
        refusal: Refusal,
        text: &str,
        attachments: u32,
        terms: &Terms<'_>,
    ) -> Result<Judged<'_>, Refusal> {
        let is_located = refusal.cause.is_some();
        let refusal = if is_located { refusal } else { Refusal::at(refusal.violation, "envelope") };
        terms.docket.find_in(Part::Parsed, refusal)?;
        terms.spend(self.search(text, Reader::Unknown, Look::All, terms)?);
        terms.receive_unread()?;
        Ok(Judged { kinds: self.no_kind(), attachments, folds: false })
    }

    /// The types of a text that says none.
    fn no_kind(&self) -> Vec<Cow<'_, str>> {
        self.read_type().then(Cow::default).into_iter().collect()
    }

    /// Looks for patterns in every view of a text. Gives how many steps of a schema's this has taken.
    ///
    /// # Errors
    /// What is refused of [`Violation::PatternRefused`], and [`Violation::InvalidUtf8`] for what some readers take for UTF-16.
    fn search(&self, text: &str, reader: Reader, look: Look, terms: &Terms<'_>) -> Result<u64, Refusal> {
        let Some(patterns) = &self.patterns else { return Ok(0) };
        let mut hunt = Hunt::new(patterns, terms, text.len(), 0);
        hunt.see_all(text, reader, look)?;
        hunt.end()
    }

    /// Looks likewise in a packet that has been read and the `head` before it, with the message in it and its type. A schema has spent so many `steps`
    /// on it.
    ///
    /// # Errors
    /// Those of `search`.
    fn search_packet(
        &self,
        head: &str,
        document: &Document<'_>,
        (message, kind): (Option<Value<'_>>, Option<&str>),
        steps: u64,
        terms: &Terms<'_>,
    ) -> Result<u64, Refusal> {
        let Some(patterns) = &self.patterns else { return Ok(0) };
        let mut hunt = Hunt::new(patterns, terms, head.len().saturating_add(document.len()), steps);
        if !head.is_empty() && hunt.see_all(head, Reader::Json, Look::All)? {
            return hunt.end();
        }
        let excepted = message.map(|message| patterns.excepted(message)).unwrap_or_default();
        views::any_in(document, &mut |index, view| {
            let sets = excepted.get(index as usize).copied().unwrap_or_default();
            hunt.see(view, Look::But(sets), &|refusal| {
                refusal.with(|cause| {
                    cause.kind = kind.and_then(shown);
                    cause.instance = message.and_then(|message| pointer::to(message, index));
                })
            })
        });
        hunt.end()
    }
}

/// A search for patterns in one message.
struct Hunt<'a> {
    patterns: &'a Patterns,
    terms: &'a Terms<'a>,
    message: rule_sets::Message,
    most: u64,
    found: Result<(), Refusal>,
}

impl<'a> Hunt<'a> {
    fn new(patterns: &'a Patterns, terms: &'a Terms<'a>, len: usize, steps: u64) -> Self {
        let message = rule_sets::Message::new(len, steps);
        Self { patterns, terms, most: message.left(), message, found: Ok(()) }
    }

    /// Looks at every view of a text of which no more is known. Returns whether that is enough.
    ///
    /// # Errors
    /// What is refused of [`Violation::InvalidUtf8`].
    fn see_all(&mut self, text: &str, reader: Reader, look: Look) -> Result<bool, Refusal> {
        // Readers of JSON take this for UTF-16 or UTF-32 (RFC 4627 §3), and see other strings in it than are searched here.
        if matches!(text.as_bytes(), [0, _, ..] | [_, 0, _, ..]) {
            self.terms.docket.find(Violation::InvalidUtf8)?;
        }
        Ok(views::any(text, reader, &mut |view| self.see(view, look, &|refusal| refusal)))
    }

    /// Looks at a text; `locate` adds where a refusal was found. Returns whether that is enough.
    fn see(&mut self, view: View<'_>, look: Look, locate: &dyn Fn(Refusal) -> Refusal) -> bool {
        let Self { patterns, terms, message, found, most: _ } = self;
        *found = patterns.find(view, message, look, &mut |rule| {
            let mut passed = terms.passed.borrow_mut();
            match passed.iter_mut().find(|(known, _)| Rc::ptr_eq(known, rule.rule)) {
                // All as they stand say again what each has said.
                Some((_, packet)) if terms.packet.is_none() || *packet == terms.packet => return Ok(()),
                Some((_, packet)) => *packet = terms.packet,
                None => passed.push((Rc::clone(rule.rule), terms.packet)),
            }
            terms.docket.find(locate(rule.refusal()))
        });
        found.is_err()
    }

    /// How many steps it has taken, where nothing is refused.
    fn end(self) -> Result<u64, Refusal> {
        let Self { message, most, found, .. } = self;
        found.map(|()| most.saturating_sub(message.left()))
    }
}

impl Terms<'_> {
    fn spend(&self, steps: u64) {
        self.spent.set(self.spent.get().saturating_add(steps));
    }

    /// A message has come in which no credential can be.
    fn receive_unread(&self) -> Result<(), Refusal> {
        let received = self.search.map_or(Ok(()), Search::receive_unread);
        received.or_else(|violation| self.docket.find(violation))
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

    /// Whether receivers take types for the same that differ by the case of their letters.
    fn folds(&self, envelope: Envelope) -> bool {
        matches!(self, Self::ByType { discriminator, .. } if envelope.folds(discriminator))
    }

    /// The schema of a message of this type and the name that it has, where there is one.
    fn of(&self, kind: Option<&str>, envelope: Envelope) -> Result<Option<(&Schema, Option<&str>)>, Refusal> {
        Ok(match self {
            Self::Any => None,
            Self::ByType { schemas, otherwise, .. } => match kind.and_then(|kind| {
                let folded = || schemas.iter().find(|(name, _)| is_same(name, kind)).filter(|_| self.folds(envelope));
                schemas.get_key_value(kind).or_else(folded)
            }) {
                Some((name, schema)) => Some((schema, Some(name.as_str()))),
                None if *otherwise => None,
                None => return Err(unknown_type(kind)),
            },
            Self::One(schema) => Some((schema, None)),
        })
    }
}

/// A type that no schema has, where others are refused.
#[cold]
fn unknown_type(kind: Option<&str>) -> Refusal {
    let cause = Cause { at: "json.otherwise".to_owned(), kind: kind.and_then(shown), ..Cause::default() };
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
    let at = name.map_or_else(|| "json.schema".to_owned(), |name| member_path("json.schemas", name));
    Refusal::because(violation, Cause { at, kind: name.map(cut), keyword, instance, ..Cause::default() })
}

/// A type as it is told, where it looks like the name of one: a client may say anything in its place.
fn shown(kind: &str) -> Option<String> {
    let begins = kind.starts_with(|first: char| first.is_alphabetic() || first == '_');
    let goes_on = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':' | '/');
    (begins && kind.chars().take(TYPE_LEN_MAX).all(goes_on)).then(|| cut(kind))
}

fn cut(kind: &str) -> String {
    kind.chars().take(TYPE_LEN_MAX).collect()
}

/// The longest type in a log, in characters.
const TYPE_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests;
