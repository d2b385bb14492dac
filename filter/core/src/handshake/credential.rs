//! Where credentials are in a handshake, and how they leave it (RFC 6750 §2, §5.3).
//!
//! Every place that the policy names is looked at, and every one is emptied, not only the one that decides. What is no JWT by its
//! `shape` stays, as do other cookies, parameters and subprotocols: it is the upstream's own.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::upgrade::hyphenated;
use crate::effect::Edit;
use crate::http::headers::Headers;
use crate::http::list::{is_token_byte, trim};
use crate::http::{cookie, query};
use crate::secret::Secret;
use crate::token::rules::{AuthRules, ClaimFormat, Source};
use crate::token::{Verified, shape};
use crate::violation::Violation;

/// The credentials of a handshake, and the handshake without them.
#[derive(Default)]
pub(super) struct Taken {
    /// The different tokens that were found.
    pub(super) tokens: Vec<Secret<Vec<u8>>>,
    /// The different tickets.
    pub(super) tickets: Vec<Secret<Vec<u8>>>,
    /// What was offered as subprotocols.
    pub(super) protocols: Vec<OfferedItem>,
    /// The target without tickets.
    spent: Option<Vec<u8>>,
    /// The target without tickets and tokens.
    target: Option<Vec<u8>>,
    fields: Vec<Edit>,
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

    /// Notes a token, unless it is known.
    fn note(&mut self, token: &[u8]) {
        if !self.tokens.iter().any(|known| known.expose() == token) {
            self.tokens.push(Secret::new(token.to_vec()));
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

    fn take_header(&mut self, headers: &Headers, name: &str, schemes: &[&str], shape: Shape) {
        let mut rest = Vec::new();
        let mut found = false;
        for line in self.lines(headers, name) {
            // A proxy may fold repeated lines into one; no token has a comma.
            let (tokens, other): (Vec<_>, Vec<_>) = line.split(|byte| *byte == b',').partition(|part| shape(part));
            tokens.iter().for_each(|part| self.note(without_scheme(trim(part), name, schemes)));
            // To those who skip a comma, there may be one more.
            let other = other.join(&b',');
            let is_token = shape(&other);
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

    fn take_cookie(&mut self, headers: &Headers, name: &str, shape: Shape) {
        let lines = self.lines(headers, "cookie");
        let mut rest = Vec::new();
        let mut found = false;
        for line in &lines {
            let (values, left) = cookie::take(line, name, shape);
            found |= !values.is_empty();
            values.iter().for_each(|value| self.note(value));
            rest.extend(left);
        }
        if found {
            self.replace("cookie", rest);
        }
    }

    fn take_query(&mut self, headers: &Headers, name: &str, shape: Shape) {
        let target = self.target.as_ref().or(self.spent.as_ref()).map(Vec::as_slice);
        let target = target.or_else(|| headers.all(":path").next()).unwrap_or_default();
        let (values, left) = query::take(target, name, shape);
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
            if !self.tickets.iter().any(|known| *known.expose() == value) {
                self.tickets.push(Secret::new(value));
            }
        }
    }

    /// A token counts wherever in the list it stands: servers take the item behind the marker, or the last, or try each.
    fn take_subprotocol(&mut self, marker: &str) {
        let mut found = Vec::new();
        for item in &mut self.protocols {
            let behind = item.name.strip_prefix(marker).and_then(|rest| rest.strip_prefix('.'));
            let token = encoded(behind.unwrap_or(&item.name));
            item.marker |= item.name == marker;
            item.credential |= item.marker || token.is_some();
            found.extend(token);
        }
        found.iter().for_each(|token| self.note(token));
    }
}

/// The token that an item of the list is, compact or in base64url.
fn encoded(item: &str) -> Option<Vec<u8>> {
    let decoded = URL_SAFE_NO_PAD.decode(item).ok().filter(|decoded| shape::is_token(decoded));
    decoded.or_else(|| shape::is_token(item.as_bytes()).then(|| item.as_bytes().to_vec()))
}

/// Finds the credentials of a handshake that offers `protocols`, in all of `sources`.
pub(super) fn take(headers: &Headers, protocols: &[&str], sources: &[Source]) -> Taken {
    take_all(headers, protocols, sources, shape::is_token)
}

/// What to change so that nothing is left in any place of `sources`, whatever its shape: a request that goes nowhere may still be logged.
pub(super) fn clear(headers: &Headers, sources: &[Source]) -> Vec<Edit> {
    take_all(headers, &[], sources, |_| true).edits()
}

/// What counts as a credential in its place.
type Shape = fn(&[u8]) -> bool;

fn take_all(headers: &Headers, protocols: &[&str], sources: &[Source], shape: Shape) -> Taken {
    let protocols = protocols.iter().map(|name| OfferedItem::plain(name)).collect();
    let mut taken = Taken { protocols, ..Taken::default() };
    let tickets = sources.iter().filter_map(|source| if let Source::Ticket(name) = source { Some(name) } else { None });
    tickets.for_each(|name| taken.take_ticket(headers, name));
    for source in sources {
        match source {
            Source::Cookie(name) => taken.take_cookie(headers, name, shape),
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
                for own in headers.names().filter(|own| hyphenated(own) == hyphenated(name.as_bytes())) {
                    let own = String::from_utf8_lossy(own).into_owned();
                    if !names.contains(&own) {
                        taken.take_header(headers, &own, &schemes, shape);
                        names.push(own);
                    }
                }
            }
            Source::Query(name) => taken.take_query(headers, name, shape),
            Source::Subprotocol(marker) => taken.take_subprotocol(marker),
            // They come first: what they leave of the target is what tokens are in.
            Source::Ticket(_) => {}
        }
    }
    taken
}

/// The token of a header value behind one of the `schemes`. Without any, all of the value; in `authorization` nothing, which is no
/// good token: others may read one there, as they may whatever stands around the name of the scheme.
fn without_scheme<'a>(value: &'a [u8], name: &str, schemes: &[&str]) -> &'a [u8] {
    let start = value.iter().position(|byte| is_token_byte(*byte)).unwrap_or_default();
    let behind = |scheme: &&str| {
        let (own, rest) = value.get(start..)?.split_at_checked(scheme.len())?;
        let ends = !rest.first().copied().is_some_and(is_token_byte);
        (own.eq_ignore_ascii_case(scheme.as_bytes()) && ends).then(|| trim(rest))
    };
    let bare = if name == "authorization" { b"" } else { value };
    schemes.iter().find_map(behind).unwrap_or(bare)
}

/// Takes out every header of the client that the upstream would believe to be ours, in any spelling.
pub(super) fn spoofed_claims(headers: &Headers, auth: &AuthRules) -> Vec<Edit> {
    headers
        .names()
        .filter(|name| auth.claim_headers.iter().any(|own| own.name == hyphenated(name)))
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
