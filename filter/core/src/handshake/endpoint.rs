//! Paths that the filter answers itself: nothing that is asked of them goes to the upstream.
//!
//! ```text
//! POST     judged as a handshake is ──▶ 201 {"ticket": "…", "expires_in": 30}
//! OPTIONS  a preflight (Fetch §3.3.2) ──▶ 204
//! other    ──▶ 405
//! ```
//!
//! A page of an origin that may ask is told the answer, refusals too; of any other it stays between the browser and the filter.

use core::time::Duration;

use super::upgrade;
use crate::effect::Reply;
use crate::http::headers::Headers;
use crate::http::path;
use crate::identity::tickets::Issued;
use crate::policy::Policy;
use crate::token::rules::Source;

/// How long a browser may keep the answer to a preflight, in seconds: two hours, as long as any does. Each costs its address a handshake.
const MAX_AGE: &str = "7200";

/// A path of the filter's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Endpoint {
    /// Where tickets are issued.
    Tickets,
}

/// What is asked of an [`Endpoint`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// What it is for.
    Post,
    /// Whether a page may ask for that.
    Preflight,
    /// Something else.
    Other,
}

impl Endpoint {
    /// The one that a request is for, by the path as it is written.
    pub(super) fn of(policy: &Policy, headers: &Headers) -> Option<Self> {
        let target = headers.all(":path").next().unwrap_or_default();
        let tickets = policy.auth.tickets.as_ref()?;
        (path::written(target) == tickets.path.as_bytes()).then_some(Self::Tickets)
    }
}

impl Asked {
    /// What a request asks for that may be a preflight.
    pub(super) fn of(headers: &Headers, is_preflight: bool) -> Self {
        match headers.one(":method") {
            Ok(Some(b"POST")) if !upgrade::is_attempted(headers) => Self::Post,
            Ok(_) | Err(_) if is_preflight => Self::Preflight,
            Ok(_) | Err(_) => Self::Other,
        }
    }
}

/// The answer to a request with another method.
pub(super) fn other_method() -> Reply {
    reply(405, "portcullis_method_not_allowed", vec![("allow", "POST".to_owned())], String::new())
}

/// The answer to a preflight: a page may send credentials in every place where one may be. Their values are looked at with the request.
pub(super) fn preflight(policy: &Policy) -> Reply {
    let mut names = vec!["content-type"];
    for source in &policy.auth.sources {
        if let Source::Header { name, .. } = source
            && !names.contains(&name.as_str())
        {
            names.push(name);
        }
    }
    let fields = vec![
        ("access-control-allow-methods", "POST".to_owned()),
        ("access-control-allow-headers", names.join(", ")),
        ("access-control-max-age", MAX_AGE.to_owned()),
    ];
    reply(204, "portcullis_preflight", fields, String::new())
}

/// The answer that has a ticket in it.
pub(super) fn issued(issued: &Issued) -> Reply {
    let Issued { text, lifetime } = issued;
    let fields = vec![("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())];
    let body = format!("{{\"ticket\": \"{}\", \"expires_in\": {}}}", text.expose(), Duration::as_secs(lifetime));
    reply(201, "portcullis_ticket_issued", fields, body)
}

/// What lets a page of this `Origin` line read the answer, where it may ask (Fetch §3.2.3).
pub(super) fn sharing(origin: Option<&[u8]>) -> Vec<(&'static str, String)> {
    let origin = origin.filter(|line| line.iter().all(u8::is_ascii_graphic)).and_then(|line| str::from_utf8(line).ok());
    let Some(origin) = origin else { return Vec::new() };
    vec![
        ("access-control-allow-origin", origin.to_owned()),
        ("access-control-allow-credentials", "true".to_owned()),
        ("vary", "origin".to_owned()),
    ]
}

fn reply(status: u16, details: &str, fields: Vec<(&'static str, String)>, body: String) -> Reply {
    Reply { edits: Vec::new(), status, details: details.to_owned(), fields, body }
}
