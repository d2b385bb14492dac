//! The keys of credentials that come in messages: where they are, and which messages bring them.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::rc::Rc;

use super::content::pointer;
use super::error::{Built, ConfigError, within};
use super::raw::{RawAuth, RawRenew};
use super::values::Span;
use crate::content::authorize::Glob;
use crate::content::credential::{CredentialMessages, FirstMessage, Renewal};
use crate::content::envelope::Envelope;
use crate::negotiation::Compression;
use crate::policy::SideRules;

/// How long a client may be connected without having said who it is, by default.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// It has a round trip or two at least, and holds what its server says for no longer than handshakes take elsewhere.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// The most conditions of a renewal: each is looked for in every message.
const CONDITIONS_MAX: usize = 8;

/// Builds the messages that bring credentials; `client` is what the client's messages are judged by.
pub(super) fn credentials(
    raw: &RawAuth,
    client: &SideRules,
    compression: Compression,
    warnings: &mut Vec<String>,
) -> Built<Option<Rc<CredentialMessages>>> {
    let first = first_message(raw, client, warnings)?;
    let renewal = raw.renew.as_ref().map(|raw| renewal(raw, client)).transpose().map_err(within("auth.renew"))?;
    if renewal.is_some() && raw.providers.as_ref().is_none_or(Vec::is_empty) {
        return Err(ConfigError::new("auth.renew", "needs a provider"));
    }
    // A compressed message may refer to the ones before it, also to one that its receiver never gets.
    if compression != Compression::Refuse {
        if renewal.is_some() {
            return Err(ConfigError::new("auth.renew", "needs compression: refuse, since it is swallowed"));
        }
        if first.as_ref().is_some_and(|first| !first.forward) {
            let problem = "needs compression: refuse where the first message is swallowed";
            return Err(ConfigError::new("auth.forward", problem));
        }
    }
    let is_empty = first.is_none() && renewal.is_none();
    Ok((!is_empty).then(|| Rc::new(CredentialMessages { first, renewal })))
}

fn first_message(raw: &RawAuth, client: &SideRules, warnings: &mut Vec<String>) -> Built<Option<FirstMessage>> {
    let sources = raw.sources.iter().flatten().enumerate();
    let mut sources = sources.filter_map(|(index, source)| Some((index, source.message.as_ref()?)));
    let Some((index, text)) = sources.next() else {
        return match raw.first_message_timeout {
            None => Ok(None),
            Some(_) => Err(ConfigError::new("auth.first_message_timeout", "belongs to a source that is a message")),
        };
    };
    let at = format!("auth.sources[{index}].message");
    if let Some((other, _)) = sources.next() {
        return Err(ConfigError::new(
            format!("auth.sources[{other}].message"),
            "stands twice: a client has one first message",
        ));
    }
    let token = pointer(text).map_err(within(&at))?;
    check_read(client).map_err(within(&at))?;
    let timeout = raw.first_message_timeout.map_or(TIMEOUT_DEFAULT, |Span(span)| span);
    if !TIMEOUTS.contains(&timeout) {
        return Err(ConfigError::new("auth.first_message_timeout", "from 100ms to 60s"));
    }
    let forward = raw.forward.unwrap_or(false);
    let greeting =
        [(Envelope::GraphqlTransportWs, "connection_init"), (Envelope::SocketIo, "the CONNECT of socket.io")];
    for (_, name) in greeting.into_iter().filter(|(envelope, _)| client.content.envelope.contain(*envelope)) {
        // Both protocols have the server answer it.
        if !forward {
            warnings
                .push(format!("{at}: the server never gets {name}, which it waits for, unless auth.forward is true"));
        }
    }
    if raw.claim_headers.as_ref().is_some_and(|headers| !headers.is_empty()) {
        warnings.push(format!("{at}: the upstream is told no claims (auth.claim_headers) of a client that says who it is after the handshake"));
    }
    // Without a provider nothing can be a credential.
    let has_provider = raw.providers.as_ref().is_some_and(|providers| !providers.is_empty());
    Ok(has_provider.then_some(FirstMessage { token, timeout, forward }))
}

fn renewal(raw: &RawRenew, client: &SideRules) -> Built<Renewal> {
    check_read(client)?;
    let mut when = Vec::new();
    for (text, glob) in raw.when.iter().flatten() {
        when.push((pointer(text).map_err(|error| error.under(text).within("when"))?, Glob::new(glob)));
    }
    match when.len() {
        0 => return Err(ConfigError::new("when", "is required: it tells which message brings a new token")),
        1..=CONDITIONS_MAX => {}
        _ => return Err(ConfigError::new("when", format_args!("at most {CONDITIONS_MAX} conditions"))),
    }
    let Some(token) = &raw.token else { return Err(ConfigError::new("token", "is required")) };
    Ok(Renewal { when, token: pointer(token).map_err(within("token"))? })
}

/// A credential is found only where messages are read, and read in one way.
fn check_read(client: &SideRules) -> Built<()> {
    match &client.content.json {
        None => Err(ConfigError::new("", "needs messages.from_client.json: its pointers lead into JSON messages")),
        Some(json) if !json.bounds.unique_keys => Err(ConfigError::new(
            "",
            "needs messages.from_client.json.duplicate_keys: refuse, or it is open which value is the token",
        )),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
