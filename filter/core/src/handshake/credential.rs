//! Where credentials are in a handshake, and how they leave it (RFC 6750 §2, §5.3).
//!
//! Every place that the policy names is looked at, and every one is emptied, not only the one that decides. Other
//! cookies, parameters and subprotocols stay as they are.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::upgrade::hyphenated;
use crate::http::headers::Headers;
use crate::http::list::{is_token_byte, tokens, trim};
use crate::http::{cookie, query};
use crate::policy::{AuthRules, Source};
use crate::secret::Secret;
use crate::token::Verified;
use crate::verdict::Edit;
use crate::violation::Violation;

/// The credentials of a handshake, and the handshake without them.
#[derive(Default)]
pub(super) struct Taken {
    /// The different tokens that were found.
    pub(super) tokens: Vec<Secret<Vec<u8>>>,
    /// What was offered as subprotocols.
    pub(super) protocols: Vec<Offered>,
    target: Option<Vec<u8>>,
    fields: Vec<Edit>,
}

/// One item of `Sec-WebSocket-Protocol`.
pub(super) struct Offered {
    pub(super) name: String,
    /// Whether it is a credential, or the marker of one.
    pub(super) credential: bool,
    /// Whether it is the marker in front of a token.
    pub(super) marker: bool,
}

impl Offered {
    pub(super) fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), credential: false, marker: false }
    }
}

impl Taken {
    /// What to change so that no credential is left in a request that goes nowhere; one that goes on has its
    /// subprotocols edited by the offer.
    pub(super) fn edits(&self) -> Vec<Edit> {
        let mut edits = self.fields.clone();
        edits.extend(self.target.as_ref().map(|target| Edit::set(":path", target.as_slice())));
        edits
    }

    /// Notes a token, unless it is empty (a cookie after logout) or known.
    fn note(&mut self, token: &[u8]) {
        if !token.is_empty() && !self.tokens.iter().any(|known| known.expose() == token) {
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

    fn take_header(&mut self, headers: &Headers, name: &str) {
        let mut rest = Vec::new();
        let mut found = false;
        for line in self.lines(headers, name) {
            // A proxy may fold repeated lines into one; no token has a comma.
            let (bearer, other): (Vec<_>, Vec<_>) = line
                .split(|byte| *byte == b',')
                .map(|part| (part, bearer(trim(part), name)))
                .partition(|(_, t)| t.is_some());
            found |= !bearer.is_empty();
            for (_, token) in bearer {
                self.note(token.unwrap_or_default());
            }
            if !other.is_empty() {
                rest.push(other.into_iter().map(|(part, _)| part).collect::<Vec<_>>().join(&b','));
            }
        }
        if found {
            self.replace(name, rest);
        }
    }

    fn take_cookie(&mut self, headers: &Headers, name: &str) {
        let lines = self.lines(headers, "cookie");
        let mut rest = Vec::new();
        let mut found = false;
        for line in &lines {
            let (values, left) = cookie::take(line, name);
            found |= !values.is_empty();
            for value in values {
                self.note(value);
            }
            rest.extend(left);
        }
        if found {
            self.replace("cookie", rest);
        }
    }

    fn take_query(&mut self, headers: &Headers, name: &str) {
        let target = self.target.clone().or_else(|| headers.all(":path").next().map(<[u8]>::to_vec));
        let (values, left) = query::take(&target.unwrap_or_default(), name);
        for value in &values {
            self.note(value);
        }
        if !values.is_empty() {
            self.target = Some(left);
        }
    }

    fn take_subprotocol(&mut self, marker: &str) {
        let mut found = Vec::new();
        let mut is_token = false;
        for item in &mut self.protocols {
            if is_token {
                item.credential = true;
                is_token = false;
                found.push(item.name.clone().into_bytes());
            } else if item.name == marker {
                (item.credential, item.marker) = (true, true);
                is_token = true;
            } else if let Some(token) = item.name.strip_prefix(marker).and_then(|rest| rest.strip_prefix('.')) {
                item.credential = true;
                // A compact token has dots, its base64url has none.
                let decoded = if token.contains('.') { None } else { URL_SAFE_NO_PAD.decode(token).ok() };
                found.push(decoded.unwrap_or_else(|| token.as_bytes().to_vec()));
            }
        }
        for token in found {
            self.note(&token);
        }
    }
}

/// Finds the credentials of a handshake in all of `sources`.
pub(super) fn take(headers: &Headers, sources: &[Source]) -> Taken {
    let offered = tokens(headers.all("sec-websocket-protocol")).unwrap_or_default();
    let protocols = offered.into_iter().map(Offered::plain).collect();
    let mut taken = Taken { protocols, ..Taken::default() };
    for source in sources {
        match source {
            Source::Cookie(name) => taken.take_cookie(headers, name),
            Source::Header(name) => taken.take_header(headers, name),
            Source::Query(name) => taken.take_query(headers, name),
            Source::Subprotocol(marker) => taken.take_subprotocol(marker),
        }
    }
    taken
}

/// The token of one header value: behind `Bearer`, or in a header of its own the whole value. Other schemes of
/// `Authorization` are no credential of ours. Whatever stands around the name of the scheme, somebody may read a token behind it.
fn bearer<'a>(value: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let scheme = value.iter().position(|byte| is_token_byte(*byte)).and_then(|start| value.get(start..));
    match scheme.unwrap_or(value).split_at_checked(6) {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case(b"bearer") && !rest.first().copied().is_some_and(is_token_byte) =>
        {
            Some(trim(rest))
        }
        _ if name == "authorization" => None,
        _ => Some(value),
    }
}

/// Takes out every header of the client that the upstream would believe to be ours, in any spelling.
pub(super) fn spoofed_claims(headers: &Headers, auth: &AuthRules) -> Vec<Edit> {
    headers
        .names()
        .filter(|name| auth.claim_headers.iter().any(|(_, own)| *own == hyphenated(name)))
        .map(|name| Edit::remove(&String::from_utf8_lossy(name)))
        .collect()
}

/// The claims that the upstream is told, as headers.
///
/// # Errors
/// [`Violation::ClaimRefused`] when a claim cannot be told without ambiguity: control characters, an object, a list
/// whose elements have commas.
pub(super) fn claim_headers(auth: &AuthRules, credential: Option<&Verified>) -> Result<Vec<Edit>, Violation> {
    let Some(credential) = credential else { return Ok(vec![]) };
    let mut edits = Vec::new();
    for (path, name) in &auth.claim_headers {
        if let Some(claim) = credential.claim(path) {
            edits.push(Edit::set(name, field_value(claim).ok_or(Violation::ClaimRefused)?));
        }
    }
    Ok(edits)
}

fn field_value(claim: &Value) -> Option<String> {
    let text = match claim {
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            let items = items?;
            if items.iter().any(|item| item.contains(',')) {
                return None;
            }
            items.join(",")
        }
        claim => scalar(claim)?,
    };
    (!text.contains(char::is_control)).then_some(text)
}

fn scalar(claim: &Value) -> Option<String> {
    match claim {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Array(_) | Value::Null | Value::Object(_) => None,
    }
}
