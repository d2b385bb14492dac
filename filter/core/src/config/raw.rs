//! The whole tree of keys, as written: typed, unknown keys refused, nothing filled in.
//!
//! A key is here before its feature is: [`super::unsupported`] refuses it until then.

#![expect(dead_code, reason = "keys are typed before the features that read them exist")]

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::values::{Count, SecretSource, Span};
use crate::content::envelope::Envelope;
use crate::content::rule_sets::RuleSet;
use crate::json::schema::Formats;
use crate::policy::{Access, Compression, Fail, Mode};

/// Gives each struct its derives, and each key that is left out `None`. What serde derives would also take a list of the values in
/// the order of the fields: `remote` keeps that to itself, and only an object gets to it.
macro_rules! raw {
    ($($(#[$attribute:meta])* struct $name:ident { $($(#[$field_attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$attribute])*
        #[derive(Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, remote = "Self")]
        pub(super) struct $name {
            $($(#[$field_attribute])* #[serde(default)] pub(super) $field: Option<$type>,)*
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Object;

                impl<'de> Visitor<'de> for Object {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    // One function for all of the tree would need more stack than some engines give a module.
                    #[inline(never)]
                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$name, A::Error> {
                        $name::deserialize(MapAccessDeserializer::new(map))
                    }
                }

                deserializer.deserialize_map(Object)
            }
        }
    )*};
}

raw! {
    struct RawPolicy {
        mode: Mode,
        fail: Fail,
        require_tls: bool,
        trust_forwarded_proto: bool,
        non_websocket: NonWebsocket,
        hosts: Vec<String>,
        origin: RawOrigin,
        subprotocols: RawSubprotocols,
        auth: RawAuth,
        messages: RawSides,
        compression: Compression,
        limits: RawLimits,
        liveness: RawLiveness,
        log: RawLog,
        routes: Vec<RawRoute>,
    }

    struct RawOrigin {
        allow: Vec<String>,
        missing: Access,
        opaque: Access,
    }

    struct RawSubprotocols {
        allow: Vec<String>,
        required: bool,
    }

    struct RawAuth {
        required: bool,
        sources: Vec<RawSource>,
        forward: bool,
        providers: Vec<RawProvider>,
        cookie: RawCookie,
        claim_headers: BTreeMap<String, String>,
        tickets: RawTickets,
        on_expiry: OnExpiry,
        expiry_grace: Span,
        revocation: RawFeed,
        back_channel_logout: RawLogout,
    }

    struct RawProvider {
        name: String,
        issuer: String,
        audiences: Vec<String>,
        algorithms: Vec<String>,
        jwks: RawJwks,
        clock_skew: Span,
        max_age: Span,
        require: BTreeMap<String, Value>,
    }

    struct RawJwks {
        inline: RawKeySet,
        secret: SecretSource,
        cluster: String,
        url: String,
        refresh: Span,
        timeout: Span,
    }

    struct RawCookie {
        name: String,
        hmac: RawHmac,
        lookup: RawLookup,
    }

    struct RawHmac {
        secret: SecretSource,
        algorithm: String,
    }

    struct RawLookup {
        cluster: String,
        path: String,
        timeout: Span,
        cache: Span,
    }

    struct RawTickets {
        path: String,
        ttl: Span,
        keys: Vec<SecretSource>,
        bind: Vec<TicketBinding>,
        store: TicketStore,
    }

    struct RawFeed {
        cluster: String,
        path: String,
        refresh: Span,
    }

    struct RawLogout {
        path: String,
        provider: String,
    }

    struct RawSides {
        from_client: RawMessages,
        from_server: RawMessages,
    }

    #[derive(PartialEq)]
    struct RawMessages {
        max_message_bytes: Count,
        max_frame_bytes: Count,
        max_fragments: Count,
        text: Access,
        binary: Access,
        utf8: bool,
        whole: bool,
        json: RawJson,
        authorize: Vec<RawAuthorize>,
        envelope: Envelope,
        deny_patterns: Vec<RawPattern>,
        rule_sets: Vec<RuleSet>,
        tunnels: Access,
    }

    #[derive(PartialEq)]
    struct RawJson {
        max_depth: Count,
        max_keys: Count,
        max_string_bytes: Count,
        duplicate_keys: Access,
        formats: Formats,
        schema: Value,
        discriminator: String,
        schemas: BTreeMap<String, Value>,
        otherwise: Access,
    }

    #[derive(PartialEq)]
    struct RawAuthorize {
        when: BTreeMap<String, String>,
        claims: BTreeMap<String, Value>,
        equals: BTreeMap<String, String>,
    }

    #[derive(PartialEq)]
    struct RawPattern {
        name: String,
        regex: String,
    }

    struct RawLimits {
        per_address: RawPerAddress,
        per_subject: RawPerSubject,
        per_connection: RawPerConnection,
        connections: Count,
        held_bytes: Count,
        on_excess: OnExcess,
        global: RawGlobal,
    }

    struct RawPerAddress {
        ipv6_prefix: Count,
        connections: Count,
        handshakes: RawRate,
        failures: RawFailures,
    }

    struct RawFailures {
        count: Count,
        window: Span,
        ban: Span,
    }

    struct RawPerSubject {
        connections: Count,
        messages: RawRate,
        bytes: RawRate,
    }

    struct RawPerConnection {
        messages: RawRate,
        bytes: RawRate,
        by_type: BTreeMap<String, RawRate>,
    }

    struct RawRate {
        per_second: f64,
        burst: Count,
    }

    struct RawGlobal {
        cluster: String,
        domain: String,
        timeout: Span,
        on_error: Access,
    }

    struct RawLiveness {
        ping_interval: Span,
        pong_timeout: Span,
        idle_timeout: Span,
        message_timeout: Span,
        max_lifetime: Span,
        jitter: f64,
    }

    struct RawLog {
        connections: bool,
        refusals: bool,
        spikes: RawSpikes,
    }

    struct RawSpikes {
        factor: f64,
        window: Span,
    }

    struct RawMatch {
        host: String,
        path: String,
        path_prefix: String,
    }

    struct RawRoute {
        #[serde(rename = "match")]
        matcher: RawMatch,
        policy: Map<String, Value>,
    }
}

/// A key set as an issuer publishes it: members that we do not know are none of our business (RFC 7517 §5).
#[derive(Clone, Deserialize)]
pub(super) struct RawKeySet {
    pub(super) keys: Vec<Value>,
}

/// Gives each enum of key words its derives and its spelling.
macro_rules! words {
    ($(enum $name:ident { $($variant:ident,)* })*) => {$(
        #[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum $name { $($variant,)* }
    )*};
}

words! {
    enum NonWebsocket { Pass, Refuse, }
    enum OnExcess { Close, Drop, }
    enum OnExpiry { Close, Ignore, }
    enum TicketBinding { Address, Origin, }
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawSource {
    Cookie(String),
    Header(String),
    Query(String),
    Subprotocol(String),
    Ticket(String),
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum TicketStore {
    Local(LocalStore),
    Remote(RemoteStore),
}

words! {
    enum LocalStore { Local, }
}

raw! {
    struct RemoteStore {
        rate_limit_service: bool,
    }
}
