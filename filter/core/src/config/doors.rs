//! Warnings about combinations of keys that hold, and leave a door beside the rules.

use serde_json::Value;

use super::findings::Findings;
use super::raw::{RawAuthorize, RawJson, RawMessages, RawPolicy};
use crate::access::Access;
use crate::content::envelope::{Envelope, Envelopes};
use crate::json::pointer::Pointer;
use crate::message::Binary;
use crate::policy::{NonWebsocket, SideRules};
use crate::wire::Sides;

/// What one side's messages may say without being asked.
pub(super) fn of_side(raw: &RawMessages, SideRules { rules, content }: &SideRules, found: &mut Findings) {
    let envelopes = &content.envelope;
    let patterns = raw.deny_patterns.as_ref().is_some_and(|list| !list.is_empty());
    let sets = raw.rule_sets.as_ref().is_some_and(|list| !list.is_empty());
    if rules.binary == Binary::Allow && (raw.json.is_some() || patterns || sets) {
        let instead = match envelopes.contain(Envelope::SocketIo) {
            true => "as attachments of socket.io are",
            false => "text judges them as texts are",
        };
        let problem = format!("allow lets messages pass that json, patterns and rule sets never see; {instead}");
        found.warn("binary", &problem);
    }
    let Some(json) = &raw.json else { return };
    for (index, rule) in raw.authorize.iter().flatten().enumerate() {
        if let Some(pointer) = unrequired(json, rule, envelopes) {
            let outcome = if rule.missing == Some(Access::Allow) { "pass it unasked" } else { "are refused" };
            let problem = format!("no schema and no discriminator requires {pointer}: messages without it {outcome}");
            found.warn(&format!("authorize[{index}].when"), &problem);
        }
    }
}

/// What a policy lets in that is no WebSocket.
pub(super) fn of_fallback(raw: &RawPolicy, messages: &Sides<SideRules>, found: &mut Findings) {
    let passes = matches!(raw.non_websocket, None | Some(NonWebsocket::Pass));
    let fallbacks = [Envelope::SignalR, Envelope::SockJs, Envelope::SocketIo];
    let has_fallback = |side: &SideRules| fallbacks.into_iter().any(|envelope| side.content.envelope.contain(envelope));
    if passes && messages.iter().any(has_fallback) {
        let problem = "pass lets clients of socket.io, signalr and sockjs say the same by long polling, past every rule: authenticate, or \
                       refuse";
        found.warn("non_websocket", problem);
    }
}

/// A pointer of `when` that a message need not have.
fn unrequired<'a>(json: &RawJson, rule: &'a RawAuthorize, envelopes: &Envelopes) -> Option<&'a str> {
    let mut pointers = rule.when.iter().flatten().map(|(pointer, _)| pointer.as_str());
    pointers.find(|text| {
        let Some(pointer) = Pointer::parse(text) else { return false };
        let tokens: Vec<&str> = pointer.tokens().collect();
        let by_envelope = match (tokens.as_slice(), envelopes) {
            ([], _) => true,
            (["0"], Envelopes::One(Envelope::SocketIo)) => true,
            (["query"], Envelopes::One(Envelope::GraphqlTransportWs)) => true,
            (_, _) => false,
        };
        !by_envelope && !by_json(json, text, &tokens)
    })
}

/// Whether every message that `json` lets pass has this place.
fn by_json(json: &RawJson, pointer: &str, tokens: &[&str]) -> bool {
    if let Some(schema) = &json.schema {
        return requires(schema, tokens);
    }
    let Some(schemas) = json.schemas.as_ref().filter(|_| json.otherwise != Some(Access::Allow)) else { return false };
    json.discriminator.as_deref() == Some(pointer) || schemas.values().all(|schema| requires(schema, tokens))
}

/// Whether a schema says, in plain words, that a value has this place.
fn requires(schema: &Value, tokens: &[&str]) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return true };
    let names = |name: &str| {
        schema.get("required").and_then(Value::as_array).is_some_and(|list| list.iter().any(|own| own == name))
    };
    let is_object = schema.get("type").is_some_and(|kind| kind == "object");
    let below = || schema.get("properties").and_then(|members| members.get(token));
    let here = is_object && names(token) && (rest.is_empty() || below().is_some_and(|schema| requires(schema, rest)));
    here || schema
        .get("allOf")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|schema| requires(schema, tokens)))
}
