//! The keys of tickets, and what they go with.

use core::time::Duration;

use super::error::{Built, ConfigError, each};
use super::raw::{Binding, RawStore, RawTickets};
use super::secret::{Environment, secret};
use super::values::span_within;
use crate::http::path;
use crate::identity::tickets::{Bind, SECRET_LEN_MIN, Store, TTL_MAX, TTL_MIN, TicketKeys, TicketRules};
use crate::limits::rules::LimitRules;
use crate::token::rules::Source;

/// How many keys there may be: the one that seals, and those that did before it.
const KEYS_MAX: usize = 16;

/// Thirty seconds: for a page to connect, and for a slow network.
const TTL: Duration = Duration::from_secs(30);

/// Builds how tickets are issued.
pub(super) fn tickets(
    raw: &RawTickets,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Built<TicketRules> {
    let path = raw.path.as_deref().ok_or_else(|| ConfigError::new("path", "is required"))?;
    if !is_path(path) {
        let problem = "expected a path such as \"/ws-ticket\", in printable ASCII, that every server reads in one way";
        return Err(ConfigError::new("path", problem));
    }
    let secrets = each("keys", raw.keys.as_deref(), |source| {
        let secret = secret(source, environment)?;
        match secret.expose().len() {
            0..SECRET_LEN_MIN => Err(ConfigError::new("", "a secret of less than 32 bytes")),
            _ => Ok(secret),
        }
    })?;
    if secrets.is_empty() {
        return Err(ConfigError::new("keys", "needs a key: the first seals tickets, all of them open them"));
    }
    if secrets.len() > KEYS_MAX {
        return Err(ConfigError::new("keys", "at most 16"));
    }
    for (index, source) in raw.keys.iter().flatten().enumerate() {
        if secrets.iter().take(index).any(|other| secrets.get(index).is_some_and(|own| own.expose() == other.expose()))
        {
            return Err(ConfigError::new(format!("keys[{index}]"), "stands twice"));
        }
        if source.inline.is_some() {
            let at = format!("auth.tickets.keys[{index}].inline");
            warnings.push(format!("{at}: a secret in the configuration is seen by all who see it"));
        }
    }
    let is_bound = |to: Binding| raw.bind.as_ref().is_none_or(|bind| bind.contains(&to));
    let bind = Bind { address: is_bound(Binding::Address), origin: is_bound(Binding::Origin) };
    if bind == Bind::NOTHING {
        warnings.push("auth.tickets.bind: empty, so a ticket admits whoever has it".to_owned());
    }
    Ok(TicketRules {
        path: path.into(),
        ttl: span_within("ttl", raw.ttl, TTL, TTL_MIN..=TTL_MAX, "from 1s to 5m")?,
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

/// Checks that tickets have a place, and something to be issued for.
pub(super) fn check_sources(has_tickets: bool, sources: &[Source]) -> Built<()> {
    let is_ticket = |source: &Source| matches!(source, Source::Ticket(_));
    for (index, source) in sources.iter().enumerate() {
        let Source::Ticket(name) = source else { continue };
        let fault = if !has_tickets {
            "needs tickets"
        } else if sources.contains(&Source::Query(name.clone())) {
            "this parameter has tokens"
        } else {
            continue;
        };
        return Err(ConfigError::new(format!("auth.sources[{index}].ticket"), fault));
    }
    if has_tickets && !sources.iter().any(is_ticket) {
        return Err(ConfigError::new("auth.tickets", "needs a source such as {ticket: ticket}"));
    }
    if has_tickets && sources.iter().all(is_ticket) {
        return Err(ConfigError::new("auth.sources", "needs another source: a ticket is issued for a credential"));
    }
    Ok(())
}

/// Checks that there is a service where one is to know what was redeemed.
pub(super) fn check_store(rules: Option<&TicketRules>, limits: &LimitRules) -> Built<()> {
    let is_asked = rules.is_some_and(|rules| rules.store == Store::RateLimitService);
    if is_asked && limits.global.is_none() {
        return Err(ConfigError::new("auth.tickets.store.rate_limit_service", "needs limits.global"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
