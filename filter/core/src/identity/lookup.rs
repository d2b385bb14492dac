//! Questions about credentials that only a service can read: what is asked, and what an answer says.
//!
//! ```text
//! session cookie ── GET <path>, Cookie: <name>=<value> ──▶ 200 {…}: claims   401, 403, 404: no               else: a fault
//! opaque token ──── POST <path>, token=<token> ──────────▶ 200 {"active": true, …}: claims   {"active": false}, 400: no   else: a fault
//! ```
//!
//! Tokens are introspected by RFC 7662. Nothing else of the client's request is in the question. Redirects are not followed.

use core::fmt;
use core::time::Duration;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::published::Failure;
use crate::ask::{Answer, HttpRequest};
use crate::cluster::Cluster;
use crate::json;
use crate::secret::Secret;

/// The longest cookie, in bytes with its name and its `=`: what all browsers keep (RFC 6265 §6.1) and all servers take.
const COOKIE_LEN_MAX: usize = 4_096;

/// The longest token, in bytes: that of a signed one.
const TOKEN_LEN_MAX: usize = 16_384;

/// The longest answer, in bytes: claims as long as those of the longest token.
const ANSWER_LEN_MAX: usize = 16_384;

/// A service that says whose a credential is.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The proxy's name of the cluster.
    pub cluster: Cluster,
    /// The path that is asked.
    pub path: Box<str>,
    /// How it is asked.
    pub form: Form,
    /// How long it may take.
    pub timeout: Duration,
    /// How long what it says is believed.
    pub cache: Duration,
}

/// How a service is asked.
#[derive(Clone, Debug)]
pub enum Form {
    /// With the cookie of this name.
    Cookie(Box<str>),
    /// As an introspection endpoint, with this `authorization`.
    Introspection(Secret<String>),
}

/// What a service says of a credential.
#[derive(Clone, PartialEq)]
pub enum Told {
    /// It knows it; the claims, as JSON.
    Claims(Rc<[u8]>),
    /// It does not.
    No,
    /// Neither.
    Fault(Failure),
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claims(text) => write!(f, "Claims({} bytes)", text.len()),
            Self::No => f.write_str("No"),
            Self::Fault(failure) => write!(f, "Fault({failure:?})"),
        }
    }
}

impl Form {
    /// That of an introspection endpoint which knows the filter as the client `id`: both go through form encoding before HTTP Basic
    /// (RFC 6749 §2.3.1).
    #[must_use]
    pub fn introspection(id: &str, secret: &Secret<Vec<u8>>) -> Self {
        let pair = [form_encoded(id.as_bytes()), form_encoded(secret.expose())].join(":");
        Self::Introspection(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
    }
}

impl Lookup {
    /// Whether a credential can be one that the service knows; nothing else is sent to it.
    #[must_use]
    pub fn takes(&self, credential: &[u8]) -> bool {
        match &self.form {
            Form::Cookie(name) => is_cookie(credential) && credential.len().saturating_add(name.len()) < COOKIE_LEN_MAX,
            Form::Introspection(_) => {
                // RFC 6749 §A.12, but for the space, which separates.
                (1..=TOKEN_LEN_MAX).contains(&credential.len()) && credential.iter().all(u8::is_ascii_graphic)
            }
        }
    }

    /// The question about a credential that it [takes](Self::takes).
    #[must_use]
    pub fn request(&self, credential: &[u8]) -> HttpRequest {
        let (method, own, body) = match &self.form {
            Form::Cookie(name) => {
                let cookie = format!("{name}={}", String::from_utf8_lossy(credential));
                ("GET", vec![("cookie", cookie)], Vec::new())
            }
            Form::Introspection(authorization) => {
                let fields = vec![
                    ("authorization", authorization.expose().clone()),
                    ("content-type", "application/x-www-form-urlencoded".to_owned()),
                ];
                ("POST", fields, format!("token={}", form_encoded(credential)).into_bytes())
            }
        };
        let mut fields = vec![
            (":method", method.to_owned()),
            (":authority", self.authority().to_owned()),
            (":path", String::from(&*self.path)),
            ("accept", "application/json".to_owned()),
        ];
        fields.extend(own);
        let Self { cluster, timeout, .. } = self;
        HttpRequest { cluster: Box::from(&**cluster), fields, body, timeout: *timeout, answer_len_max: ANSWER_LEN_MAX }
    }

    /// The alias or the name of the cluster; of Istio's names (`outbound|80||app.example.com`) the host at their end.
    fn authority(&self) -> &str {
        if let Some(alias) = self.cluster.alias() {
            return alias;
        }
        self.cluster.rsplit('|').find(|part| !part.is_empty()).unwrap_or(&self.cluster)
    }

    /// What an answer says.
    #[must_use]
    pub fn read(&self, answer: &Answer) -> Told {
        let Answer::Http(response) = answer else { return Told::Fault(Failure::NoAnswer) };
        match (response.status, &self.form) {
            (200, _) => {}
            (401 | 403 | 404, Form::Cookie(_)) => return Told::No,
            // A provider may not introspect what it does not take for a token of its own (oidc-provider says so of any JWT).
            (400, Form::Introspection(_)) => return Told::No,
            (status, _) => return Told::Fault(Failure::Status(status)),
        }
        if response.body.len() > ANSWER_LEN_MAX {
            return Told::Fault(Failure::NoAnswer);
        }
        let Some(claims) = object(&response.body) else { return Told::Fault(Failure::Malformed) };
        match (&self.form, claims.get("active")) {
            (Form::Cookie(_), _) | (Form::Introspection(_), Some(Value::Bool(true))) => {
                Told::Claims(response.body.as_slice().into())
            }
            (Form::Introspection(_), Some(Value::Bool(false))) => Told::No,
            (Form::Introspection(_), _) => Told::Fault(Failure::Malformed),
        }
    }

    /// What tells a credential from all others, and from the same one that another service is asked about.
    #[must_use]
    pub fn digest(&self, credential: &[u8]) -> [u8; 32] {
        let (form, own) = match &self.form {
            Form::Cookie(name) => ("cookie", &**name),
            Form::Introspection(authorization) => ("introspection", authorization.expose().as_str()),
        };
        let parts = [&*self.cluster, &*self.path, form, own].map(str::as_bytes);
        let spans = [self.timeout, self.cache].map(|span| span.as_nanos().to_le_bytes());
        let mut hash = Sha256::new();
        for part in parts.into_iter().chain(spans.iter().map(<[u8; 16]>::as_slice)).chain([credential]) {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

/// The claims that a text says.
#[must_use]
pub fn object(text: &[u8]) -> Option<Map<String, Value>> {
    match json::parse(text) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

/// Whether all readers see the same cookie value (RFC 6265 §4.1.1, cookie-octet).
pub(super) fn is_cookie(value: &[u8]) -> bool {
    let is_octet = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
    (1..COOKIE_LEN_MAX).contains(&value.len()) && value.iter().all(is_octet)
}

/// By the rules of `application/x-www-form-urlencoded` (URL §5.2).
fn form_encoded(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => encoded.push(char::from(*byte)),
            b' ' => encoded.push('+'),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
