//! The keys of tickets, and what they go with.

use core::time::Duration;

use super::findings::Findings;
use super::raw::{Binding, RawSource, RawStore, RawTickets};
use super::secret::{Environment, secret};
use super::values::span_within;
use crate::http::path;
use crate::identity::tickets::{Bind, SECRET_LEN_MIN, Store, TTL_MAX, TTL_MIN, TicketKeys, TicketRules};
use crate::secret::Secret;

/// How many keys there may be: the one that seals, and those that did before it.
const KEYS_MAX: usize = 16;

/// Thirty seconds: for a page to connect, and for a slow network.
const TTL: Duration = Duration::from_secs(30);

/// Builds how tickets are issued.
pub(super) fn tickets(raw: &RawTickets, environment: Environment<'_>, found: &mut Findings) -> Option<TicketRules> {
    match raw.path.as_deref() {
        None => found.fault("path", "is required"),
        Some(path) if !is_path(path) => found.fault(
            "path",
            "expected a path such as \"/ws-ticket\", in printable ASCII, that every server reads in one way",
        ),
        Some(_) => {}
    }
    let ttl = span_within("ttl", raw.ttl, TTL, TTL_MIN..=TTL_MAX, "from 1s to 5m", found);
    let mut secrets: Vec<Secret<Vec<u8>>> = Vec::new();
    found.each("keys", raw.keys.as_deref(), |source, found| {
        let secret = secret(source, environment, found)?;
        if secret.expose().len() < SECRET_LEN_MIN {
            return found.refuse("", "a secret of less than 32 bytes");
        }
        if secrets.iter().any(|other| other.expose() == secret.expose()) {
            return found.refuse("", "stands twice");
        }
        secrets.push(secret);
        Some(())
    });
    match raw.keys.as_ref().map_or(0, Vec::len) {
        0 => found.fault("keys", "needs a key: the first seals tickets, all of them open them"),
        1..=KEYS_MAX => {}
        _ => found.fault("keys", "at most 16"),
    }
    let is_bound = |to: Binding| raw.bind.as_ref().is_none_or(|bind| bind.contains(&to));
    let bind = Bind { address: is_bound(Binding::Address), origin: is_bound(Binding::Origin) };
    if bind == Bind::NOTHING {
        found.warn("bind", "empty, so a ticket admits whoever has it");
    }
    Some(TicketRules {
        path: raw.path.as_deref()?.into(),
        ttl,
        keys: TicketKeys::new(&secrets),
        bind,
        store: raw.store.map_or(Store::Local, |RawStore(store)| store),
    })
}

/// Whether it is the path of a request, and of no other.
fn is_path(text: &str) -> bool {
    let is_plain = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    is_plain && path::readings(text.as_bytes()).is_some_and(|readings| readings.len() == 1)
}

/// Checks that tickets have a place, and something to be issued for; `sources`: `None` for the usual ones, which have both.
pub(super) fn check_sources(has_tickets: bool, sources: Option<&[RawSource]>, found: &mut Findings) {
    let Some(sources) = sources else { return };
    for (index, source) in sources.iter().enumerate() {
        let Some(name) = &source.ticket else { continue };
        let fault = if !has_tickets && !found.is_unread("tickets") {
            "needs tickets"
        } else if sources.iter().any(|other| other.query.as_ref() == Some(name)) {
            "this parameter has tokens"
        } else {
            continue;
        };
        found.fault(&format!("sources[{index}].ticket"), fault);
    }
    let is_ticket = |source: &RawSource| source.ticket.is_some();
    if has_tickets && !sources.iter().any(is_ticket) && !found.is_unread("sources") {
        found.fault("tickets", "needs a source such as {ticket: ticket}");
    }
    if has_tickets && !sources.is_empty() && sources.iter().all(|source| is_ticket(source) || source.message.is_some())
    {
        found.fault("sources", "needs another source: a ticket is issued for a credential");
    }
}

#[cfg(test)]
mod tests;
