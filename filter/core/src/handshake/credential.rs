//! Where credentials are in a handshake, and how they leave it (RFC 6750 §2, §5.3).
//!
//! Every place that the policy names is looked at, and every one is emptied, not only the one that decides. What is no JWT by its
//! `shape` stays, as do other cookies, parameters and subprotocols: it is the upstream's own. Where a provider introspects, tokens have any
//! shape, and nothing stays in those places. The session cookie is a credential of its own, by its name alone.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::upgrade::is_named;
use crate::effect::Edit;
use crate::http::headers::Headers;
use crate::http::list::{is_token_byte, trim};
use crate::http::{cookie, query};
use crate::secret::Secret;
use crate::token::rules::{AuthRules, ClaimFormat, Source};
use crate::token::{Verified, shape};
use crate::violation::Violation;

/// How many different credentials are told apart: a request may have one.
const NOTED_MAX: usize = 2;

/// The credentials of a handshake, and the handshake without them.
#[derive(Default)]
pub(super) struct Taken {
    /// The different ones that were found, up to two.
    pub(super) credentials: Vec<Presented>,
    /// The different tickets, up to two.
    pub(super) tickets: Vec<Secret<Vec<u8>>>,
    /// What was offered as subprotocols.
    pub(super) protocols: Vec<OfferedItem>,
    /// The target without tickets.
    spent: Option<Vec<u8>>,
    /// The target without tickets and tokens.
    target: Option<Vec<u8>>,
    fields: Vec<Edit>,
}

/// A credential as a request has it.
#[derive(Clone)]
pub(super) enum Presented {
    /// The value of the session cookie.
    Cookie(Secret<Vec<u8>>),
    /// A token.
    Token(Secret<Vec<u8>>),
}

/// What counts as a credential in its place.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Wanted {
    /// Whatever there is.
    Everything,
    /// What has the shape of a JWT.
    Jwts,
    /// Tokens of any shape.
    Tokens,
}

impl Wanted {
    fn takes(self, value: &[u8]) -> bool {
        match self {
            Self::Everything => true,
            Self::Jwts => shape::is_token(value),
            Self::Tokens => !value.is_empty(),
        }
    }
}

/// One item of `Sec-WebSocket-Protocol`.
pub(super) struct OfferedItem {
    pub(super) name: String,
    /// Whether it is a credential, or the marker of one.
    pub(super) credential: bool,
    /// Whether it is the marker in front of a token.
    pub(super) marker: bool,
}

impl OfferedItem {
    pub(super) fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), credential: false, marker: false }
    }
}

impl Taken {
    /// Whether nothing was found that may be a credential.
    pub(super) const fn is_empty(&self) -> bool {
        self.credentials.is_empty() && self.tickets.is_empty()
    }

    /// What to change so that no credential is left in a request that goes nowhere; one that goes on has its
    /// subprotocols edited by the offer.
    pub(super) fn edits(&self) -> Vec<Edit> {
        let mut edits = self.fields.clone();
        let target = self.target.as_ref().or(self.spent.as_ref());
        edits.extend(target.map(|target| Edit::set(":path", target.as_slice())));
        edits
    }

    /// What to change so that no ticket is left. A ticket is of no use to anybody behind us, and never goes on.
    pub(super) fn ticket_edit(&self) -> Option<Edit> {
        self.spent.as_ref().map(|target| Edit::set(":path", target.as_slice()))
    }

    /// Notes a token, unless it is known, or two are, which is as ambiguous as more.
    fn note(&mut self, token: &[u8]) {
        let is_known = |known: &Presented| matches!(known, Presented::Token(known) if known.expose() == token);
        if self.credentials.len() < NOTED_MAX && !self.credentials.iter().any(is_known) {
            self.credentials.push(Presented::Token(Secret::new(token.to_vec())));
        }
    }

    /// Notes a value of the session cookie likewise.
    fn note_cookie(&mut self, value: &[u8]) {
        let is_known = |known: &Presented| matches!(known, Presented::Cookie(known) if known.expose() == value);
        if self.credentials.len() < NOTED_MAX && !self.credentials.iter().any(is_known) {
            self.credentials.push(Presented::Cookie(Secret::new(value.to_vec())));
        }
    }

    /// Replaces the lines of a field, as far as it is changed.
    fn replace(&mut self, name: &str, values: Vec<Vec<u8>>) {
        self.fields.retain(|edit| edit.name != name);
        self.fields.push(Edit { name: name.to_owned(), values });
    }

    /// The lines of a field as they are by now.
    fn lines(&self, headers: &Headers, name: &str) -> Vec<Vec<u8>> {
        match self.fields.iter().find(|edit| edit.name == name) {
            Some(edit) => edit.values.clone(),
            None => headers.all(name).map(<[u8]>::to_vec).collect(),
        }
    }

    fn take_header(&mut self, headers: &Headers, name: &str, schemes: &[&str], wanted: Wanted) {
        let mut rest = Vec::new();
        let mut found = false;
        for line in self.lines(headers, name) {
            // A proxy may fold repeated lines into one; no token has a comma.
            let is_wanted = |part: &[u8]| match wanted {
                Wanted::Everything | Wanted::Jwts => wanted.takes(part),
                Wanted::Tokens => shape::is_token(part) || is_opaque(trim(part), &line, name, schemes),
            };
            let (tokens, other): (Vec<_>, Vec<_>) = line.split(|byte| *byte == b',').partition(|part| is_wanted(part));
            tokens.iter().for_each(|part| self.note(without_scheme(trim(part), name, schemes)));
            // To those who skip a comma, there may be one more.
            let other = other.join(&b',');
            let is_token = match wanted {
                Wanted::Everything | Wanted::Jwts => wanted.takes(&other),
                // And to those who do not, what stands beside an opaque token belongs to it.
                Wanted::Tokens => shape::is_token(&other) || (!tokens.is_empty() && !trim(&other).is_empty()),
            };
            if is_token {
                self.note(&other);
            } else if !other.is_empty() || tokens.is_empty() {
                rest.push(other);
            }
            found |= is_token || !tokens.is_empty();
        }
        if found {
            self.replace(name, rest);
        }
    }

    fn take_cookie(&mut self, headers: &Headers, name: &str, wanted: Wanted, note: fn(&mut Self, &[u8])) {
        let lines = self.lines(headers, "cookie");
        let mut rest = Vec::new();
        let mut found = false;
        for line in &lines {
            let (values, left) = cookie::take(line, name, |value| wanted.takes(value));
            found |= !values.is_empty();
            values.iter().for_each(|value| note(self, value));
            rest.extend(left);
        }
        if found {
            self.replace("cookie", rest);
        }
    }

    fn take_query(&mut self, headers: &Headers, name: &str, wanted: Wanted) {
        let target = self.target.as_ref().or(self.spent.as_ref()).map(Vec::as_slice);
        let target = target.or_else(|| headers.all(":path").next()).unwrap_or_default();
        let (values, left) = query::take(target, name, |value| wanted.takes(value));
        values.iter().for_each(|value| self.note(value));
        if !values.is_empty() {
            self.target = Some(left);
        }
    }

    /// Whatever the parameter has is a ticket: nothing else may stand there.
    fn take_ticket(&mut self, headers: &Headers, name: &str) {
        let target = self.spent.as_deref().or_else(|| headers.all(":path").next()).unwrap_or_default();
        let (values, left) = query::take(target, name, |_| true);
        if !values.is_empty() {
            self.spent = Some(left);
        }
        for value in values {
            if self.tickets.len() < NOTED_MAX && !self.tickets.iter().any(|known| *known.expose() == value) {
                self.tickets.push(Secret::new(value));
            }
        }
    }

    /// A token counts wherever in the list it stands: servers take the item behind the marker, or the last, or try each.
    fn take_subprotocol(&mut self, marker: &str, wanted: Wanted) {
        let mut found = Vec::new();
        for item in &mut self.protocols {
            let behind = item.name.strip_prefix(marker).and_then(|rest| rest.strip_prefix('.'));
            let opaque = behind.filter(|_| wanted == Wanted::Tokens);
            let token = encoded(behind.unwrap_or(&item.name)).or_else(|| opaque.map(decoded));
            item.marker |= item.name == marker;
            item.credential |= item.marker || token.is_some();
            found.extend(token);
        }
        if found.is_empty() && wanted == Wanted::Tokens {
            found = self.take_behind_marker();
        }
        found.iter().for_each(|token| self.note(token));
    }

    /// Of tokens without a shape, only their place says that they are none of the subprotocols.
    fn take_behind_marker(&mut self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut is_behind = false;
        for item in &mut self.protocols {
            if is_behind && !item.marker {
                item.credential = true;
                found.push(item.name.clone().into_bytes());
            }
            is_behind = item.marker;
        }
        found
    }
}

/// The text that an item is in base64url, or else the item.
fn decoded(item: &str) -> Vec<u8> {
    let decoded = URL_SAFE_NO_PAD.decode(item).ok().filter(|decoded| decoded.iter().all(u8::is_ascii_graphic));
    decoded.unwrap_or_else(|| item.into())
}

/// The token that an item of the list is, compact or in base64url.
fn encoded(item: &str) -> Option<Vec<u8>> {
    let decoded = URL_SAFE_NO_PAD.decode(item).ok().filter(|decoded| shape::is_token(decoded));
    decoded.or_else(|| shape::is_token(item.as_bytes()).then(|| item.as_bytes().to_vec()))
}

/// Finds the credentials of a handshake that offers `protocols`, in all places of `auth`.
pub(super) fn take(headers: &Headers, protocols: &[&str], auth: &AuthRules) -> Taken {
    let wanted = if auth.introspects() { Wanted::Tokens } else { Wanted::Jwts };
    let mut taken = take_all(headers, protocols, &auth.sources, wanted);
    if let Some(cookie) = &auth.cookie {
        taken.take_cookie(headers, &cookie.name, Wanted::Tokens, Taken::note_cookie);
    }
    taken
}

/// What to change so that nothing is left in any place of `sources`, whatever its shape: a request that goes nowhere may still be logged.
pub(super) fn clear(headers: &Headers, sources: &[Source]) -> Vec<Edit> {
    take_all(headers, &[], sources, Wanted::Everything).edits()
}

fn take_all(headers: &Headers, protocols: &[&str], sources: &[Source], wanted: Wanted) -> Taken {
    let protocols = protocols.iter().map(|name| OfferedItem::plain(name)).collect();
    let mut taken = Taken { protocols, ..Taken::default() };
    let tickets = sources.iter().filter_map(|source| if let Source::Ticket(name) = source { Some(name) } else { None });
    tickets.for_each(|name| taken.take_ticket(headers, name));
    for source in sources {
        match source {
            Source::Cookie(name) => taken.take_cookie(headers, name, wanted, Taken::note),
            Source::Header { name, .. } => {
                let schemes = sources.iter().filter_map(|source| match source {
                    Source::Header { name: other, scheme } if other == name => Some(scheme.as_str()),
                    Source::Cookie(_)
                    | Source::Header { .. }
                    | Source::Query(_)
                    | Source::Subprotocol(_)
                    | Source::Ticket(_) => None,
                });
                let schemes: Vec<&str> = schemes.collect();
                // Some servers take `_` for `-`.
                let mut names: Vec<String> = Vec::new();
                for own in headers.names().filter(|own| is_named(own, name)) {
                    let own = String::from_utf8_lossy(own).into_owned();
                    if !names.contains(&own) {
                        taken.take_header(headers, &own, &schemes, wanted);
                        names.push(own);
                    }
                }
            }
            Source::Query(name) => taken.take_query(headers, name, wanted),
            Source::Subprotocol(marker) => taken.take_subprotocol(marker, wanted),
            // They come first: what they leave of the target is what tokens are in.
            Source::Ticket(_) => {}
        }
    }
    taken
}

/// The token of a header value behind one of the `schemes`. Without any, all of the value; in `authorization` nothing, which is no
/// good token: others may read one there, as they may whatever stands around the name of the scheme.
fn without_scheme<'a>(value: &'a [u8], name: &str, schemes: &[&str]) -> &'a [u8] {
    let bare = if name == "authorization" { b"" } else { value };
    behind_scheme(value, schemes).unwrap_or(bare)
}

/// What stands behind one of the `schemes`.
fn behind_scheme<'a>(value: &'a [u8], schemes: &[&str]) -> Option<&'a [u8]> {
    let start = value.iter().position(|byte| is_token_byte(*byte)).unwrap_or_default();
    let behind = |scheme: &&str| {
        let (own, rest) = value.get(start..)?.split_at_checked(scheme.len())?;
        let ends = !rest.first().copied().is_some_and(is_token_byte);
        (own.eq_ignore_ascii_case(scheme.as_bytes()) && ends).then(|| trim(rest))
    };
    schemes.iter().find_map(behind)
}

/// Whether a value in a line of a header is a token of any shape: what stands behind one of the `schemes`, and what has no scheme, which is no
/// good token in `authorization`. Values with other schemes are left alone there.
fn is_opaque(value: &[u8], line: &[u8], name: &str, schemes: &[&str]) -> bool {
    let is_bare = || name != "authorization" || !trim(line).iter().any(u8::is_ascii_whitespace);
    behind_scheme(value, schemes).map_or_else(|| !value.is_empty() && is_bare(), |token| !token.is_empty())
}

/// Takes out every header of the client that the upstream would believe to be ours, in any spelling.
pub(super) fn spoofed_claims(headers: &Headers, auth: &AuthRules) -> Vec<Edit> {
    headers
        .names()
        .filter(|name| auth.claim_headers.iter().any(|own| is_named(name, &own.name)))
        .map(|name| Edit::remove(&String::from_utf8_lossy(name)))
        .collect()
}

/// The claims that the upstream is told, as headers.
///
/// # Errors
/// [`Violation::ClaimRefused`] when a claim cannot be told as text without ambiguity: control characters, an object, a list
/// whose elements have commas.
pub(super) fn claim_headers(auth: &AuthRules, credential: Option<&Verified>) -> Result<Vec<Edit>, Violation> {
    let Some(credential) = credential else { return Ok(vec![]) };
    let mut edits = Vec::new();
    for header in &auth.claim_headers {
        if let Some(claim) = credential.claim(&header.claim) {
            let value = match header.format {
                ClaimFormat::Base64 => STANDARD.encode(claim.as_str().map_or_else(|| claim.to_string(), str::to_owned)),
                ClaimFormat::Json => ascii(&claim.to_string()),
                ClaimFormat::Text => text(claim).ok_or(Violation::ClaimRefused)?,
            };
            edits.push(Edit::set(&header.name, value));
        }
    }
    Ok(edits)
}

/// JSON whose strings have escapes for what is not printable ASCII.
fn ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            escaped.push(character);
        } else {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}")));
        }
    }
    escaped
}

fn text(claim: &Value) -> Option<String> {
    let text = match claim {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(scalar).collect::<Option<_>>()?;
            if items.iter().any(|item| item.contains(',') || item.trim() != item) {
                return None;
            }
            items.join(",")
        }
        claim => scalar(claim)?,
    };
    // White space around a value is none of it (RFC 9110 §5.5).
    (!text.contains(char::is_control) && text.trim() == text).then_some(text)
}

fn scalar(claim: &Value) -> Option<String> {
    match claim {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Array(_) | Value::Null | Value::Object(_) => None,
    }
}
