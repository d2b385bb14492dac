//! The keys of credentials that come in messages: where they are, and which messages bring them.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::rc::Rc;

use super::content::pointer;
use super::findings::Findings;
use super::raw::{RawAuth, RawRenew, RawSource};
use super::values::span_within;
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
    found: &mut Findings,
) -> Option<Rc<CredentialMessages>> {
    // Without a provider nothing can be a credential.
    let has_provider = raw.providers.as_ref().is_some_and(|list| !list.is_empty()) || found.is_unread("auth.providers");
    // What could not be read may be what it takes.
    let client = (!found.is_unread("messages.from_client.json")).then_some(client);
    let is_message = |source: &RawSource| source.message.is_some();
    let has_first = raw.sources.iter().flatten().any(is_message);
    let first = found.within("auth", |found| first_message(raw, client, found)).filter(|_| has_provider);
    let renewal = raw.renew.as_ref();
    let renewal = renewal.and_then(|raw| found.within("auth.renew", |found| renewal_rules(raw, client, found)));
    if raw.renew.is_some() && !has_provider {
        found.fault("auth.renew", "needs a provider");
    }
    // A compressed message may refer to the ones before it, also to one that its receiver never gets.
    if compression != Compression::Refuse {
        if raw.renew.is_some() {
            found.fault("auth.renew", "needs compression: refuse, since it is swallowed");
        }
        if has_first && has_provider && !raw.forward.unwrap_or(false) {
            found.fault("auth.forward", "needs compression: refuse where the first message is swallowed");
        }
    }
    let is_empty = first.is_none() && renewal.is_none();
    (!is_empty).then(|| Rc::new(CredentialMessages { first, renewal }))
}

fn first_message(raw: &RawAuth, client: Option<&SideRules>, found: &mut Findings) -> Option<FirstMessage> {
    let sources = raw.sources.iter().flatten().enumerate();
    let mut sources = sources.filter_map(|(index, source)| Some((index, source.message.as_ref()?)));
    let Some((index, text)) = sources.next() else {
        if raw.first_message_timeout.is_some() && !found.is_unread("sources") {
            found.fault("first_message_timeout", "belongs to a source that is a message");
        }
        return None;
    };
    for (other, _) in sources {
        found.fault(&format!("sources[{other}].message"), "stands twice: a client has one first message");
    }
    let forward = raw.forward.unwrap_or(false);
    let token = found.within(&format!("sources[{index}].message"), |found| {
        let token = pointer(text, found);
        check_read(client, found);
        let greetings = [
            (Envelope::GraphqlTransportWs, "connection_init"),
            (Envelope::SocketIo, "the CONNECT of socket.io"),
            (Envelope::Stomp, "the CONNECT of stomp"),
        ];
        let is_said = |envelope| client.is_some_and(|client| client.content.envelope.contain(envelope));
        if [Envelope::SignalR, Envelope::SockJs].into_iter().any(is_said) {
            found.fault("", "clients of signalr and sockjs wait for their server before their first message");
        }
        // These protocols have the server answer it.
        for (_, name) in greetings.into_iter().filter(|(envelope, _)| is_said(*envelope) && !forward) {
            let problem = format!("the server never gets {name}, which it waits for, unless auth.forward is true");
            found.warn("", &problem);
        }
        if raw.claim_headers.as_ref().is_some_and(|headers| !headers.is_empty()) {
            let problem = "the upstream is told no claims (auth.claim_headers) of a client that says who it is after the handshake";
            found.warn("", problem);
        }
        token
    });
    let (timeout, key) = (raw.first_message_timeout, "first_message_timeout");
    let timeout = span_within(key, timeout, TIMEOUT_DEFAULT, TIMEOUTS, "from 100ms to 60s", found);
    Some(FirstMessage { token: token?, timeout, forward })
}

fn renewal_rules(raw: &RawRenew, client: Option<&SideRules>, found: &mut Findings) -> Option<Renewal> {
    check_read(client, found);
    let mut when = Vec::new();
    found.within("when", |found| {
        for (text, glob) in raw.when.iter().flatten() {
            let pointer = found.under(text, |found| pointer(text, found));
            when.extend(pointer.map(|pointer| (pointer, Glob::new(glob))));
        }
        match raw.when.as_ref().map_or(0, |when| when.len()) {
            0 => found.fault("", "is required: it tells which message brings a new token"),
            1..=CONDITIONS_MAX => {}
            _ => found.fault("", &format!("at most {CONDITIONS_MAX} conditions")),
        }
    });
    let token = found.within("token", |found| match &raw.token {
        None => found.refuse("", "is required"),
        Some(token) => pointer(token, found),
    });
    Some(Renewal { when, token: token? })
}

/// A credential is found only where messages are read, and read in one way; `None`: how they are is not known.
fn check_read(client: Option<&SideRules>, found: &mut Findings) {
    match client.map(|client| client.content.json.as_ref()) {
        Some(None) => found.fault("", "needs messages.from_client.json: its pointers lead into JSON messages"),
        Some(Some(json)) if !json.bounds.unique_keys => found.fault(
            "",
            "needs messages.from_client.json.duplicate_keys: refuse, or it is open which value is the token",
        ),
        Some(Some(_)) | None => {}
    }
}

#[cfg(test)]
mod tests;
