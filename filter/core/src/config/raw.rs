//! The whole tree of keys, as written: typed, unknown keys refused, nothing filled in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::findings::Findings;
use super::read::{Fields, Limit, Read, one_of};
use super::values::{Count, Span};
use crate::access::Access;
use crate::cluster::Cluster;
use crate::content::envelope::{Envelope, Envelopes};
use crate::content::rule_sets::RuleSet;
use crate::identity::tickets::Store;
use crate::json::schema::Formats;
use crate::limits::rules::OnExcess;
use crate::message::Binary;
use crate::mode::Mode;
use crate::negotiation::Compression;
use crate::policy::{BufferLimits, Fail, NonWebsocket};
use crate::token::rules::ClaimFormat;

/// Gives each enum of key words its reader.
macro_rules! words {
    ($($name:ident { $($word:literal => $variant:ident,)* })*) => {$(
        impl Read for $name {
            fn read(value: &Value, found: &mut Findings) -> Option<Self> {
                one_of(value, &[$(($word, Self::$variant)),*], found)
            }

            #[cfg(feature = "schema")]
            fn schema() -> Value {
                serde_json::json!({"enum": [$($word),*]})
            }
        }
    )*};
}

/// The name of a header, or an object that says how the claim is written there too.
#[derive(Clone)]
pub(super) struct RawClaimHeader {
    pub(super) header: Option<String>,
    pub(super) format: Option<ClaimFormat>,
}

impl Read for RawClaimHeader {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        if let Value::String(name) = value {
            return Some(Self { header: Some(name.clone()), format: None });
        }
        let fields = Fields::new(value, &["header", "format"], found)?;
        Some(Self { header: fields.read("header", found), format: fields.read("format", found) })
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        let object = super::read::object_schema([("header", String::schema()), ("format", ClaimFormat::schema())]);
        serde_json::json!({"anyOf": [{"type": "string"}, object]})
    }
}

/// The name of a set of rules, or an object that says more about it.
#[derive(Clone, Default, PartialEq)]
pub(super) struct RawRuleSet {
    pub(super) name: Option<RuleSet>,
    pub(super) mode: Option<Mode>,
    pub(super) exclude: Option<Vec<String>>,
    pub(super) except: Option<Vec<String>>,
}

impl Read for RawRuleSet {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        if !value.is_object() {
            return Some(Self { name: Some(RuleSet::read(value, found)?), ..Self::default() });
        }
        let fields = Fields::new(value, &["name", "mode", "exclude", "except"], found)?;
        Some(Self {
            name: fields.read("name", found),
            mode: fields.read("mode", found),
            exclude: fields.read("exclude", found),
            except: fields.read("except", found),
        })
    }

    fn blank() -> Option<Self> {
        Some(Self::default())
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        let list = Vec::<String>::schema;
        let keys = [("name", RuleSet::schema()), ("mode", Mode::schema()), ("exclude", list()), ("except", list())];
        serde_json::json!({"anyOf": [RuleSet::schema(), super::read::object_schema(keys)]})
    }
}

/// What becomes of a connection whose token ends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum OnExpiry {
    Close,
    Ignore,
}

/// What a ticket is bound to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Binding {
    Address,
    Origin,
}

/// `local`, or `{rate_limit_service: true}`.
#[derive(Clone, Copy)]
pub(super) struct RawStore(pub(super) Store);

impl Read for RawStore {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        match value {
            Value::Object(_) => {
                let fields = Fields::new(value, &["rate_limit_service"], found)?;
                let is_asked = fields.read::<bool>("rate_limit_service", found).unwrap_or(false);
                Some(Self(if is_asked { Store::RateLimitService } else { Store::Local }))
            }
            Value::String(word) if word == "local" => Some(Self(Store::Local)),
            _ => found.expected("local or {rate_limit_service: true}"),
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        let object = super::read::object_schema([("rate_limit_service", bool::schema())]);
        serde_json::json!({"anyOf": [{"const": "local"}, object]})
    }
}

/// Its name, or `{extension_backend: <alias>}`.
impl Read for Cluster {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        match value {
            Value::String(name) => Some(Self::from(name.as_str())),
            Value::Object(_) => {
                let fields = Fields::new(value, &["extension_backend"], found)?;
                if !fields.has("extension_backend") {
                    return found.refuse("extension_backend", "is required");
                }
                let alias: String = fields.read("extension_backend", found)?;
                found.within("extension_backend", |found| {
                    Self::by_alias(&alias)
                        .or_else(|| found.expected("a name such as idp: lower case, digits and hyphens, at most 63"))
                })
            }
            _ => found.expected("the name of a cluster, or {extension_backend: <alias>}"),
        }
    }

    fn blank() -> Option<Self> {
        Some(Self::default())
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        let alias = serde_json::json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"});
        let object = super::read::object_schema([("extension_backend", alias)]);
        serde_json::json!({"anyOf": [{"type": "string"}, object]})
    }
}

words! {
    Access { "allow" => Allow, "refuse" => Refuse, }
    Binding { "address" => Address, "origin" => Origin, }
    Binary { "allow" => Allow, "refuse" => Refuse, "text" => Text, }
    BufferLimits { "default" => Default, "halved" => Halved, }
    ClaimFormat { "text" => Text, "json" => Json, "base64" => Base64, }
    Compression { "refuse" => Refuse, "inspect" => Inspect, "pass" => Pass, }
    Envelope { "json" => Json, "graphql-transport-ws" => GraphqlTransportWs, "socket.io" => SocketIo,
               "json_lines" => JsonLines, "signalr" => SignalR, "sockjs" => SockJs, "stomp" => Stomp, }
    Fail { "closed" => Closed, "open" => Open, }
    Formats { "assert" => Assert, "annotate" => Annotate, }
    Mode { "enforce" => Enforce, "monitor" => Monitor, }
    NonWebsocket { "pass" => Pass, "authenticate" => Authenticate, "refuse" => Refuse, }
    OnExcess { "close" => Close, "drop" => Drop, }
    OnExpiry { "close" => Close, "ignore" => Ignore, }
    RuleSet {
        "sql_injection" => SqlInjection,
        "cross_site_scripting" => CrossSiteScripting,
        "command_injection" => CommandInjection,
        "path_traversal" => PathTraversal,
        "nosql_injection" => NosqlInjection,
        "prototype_pollution" => PrototypePollution,
    }
}

/// Gives each struct its reader; a key that is left out is `None`.
macro_rules! raw {
    ($($(#[$attribute:meta])* struct $name:ident { $($field:ident $(as $key:literal)?: $type:ty,)* })*) => {$(
        $(#[$attribute])*
        #[derive(Clone, Default)]
        pub(super) struct $name {
            $(pub(super) $field: Option<$type>,)*
        }

        impl Read for $name {
            // One function for all of the tree would need more stack than some engines give a module.
            #[inline(never)]
            fn read(value: &Value, found: &mut Findings) -> Option<Self> {
                let fields = Fields::new(value, &[$(raw!(@key $field $($key)?)),*], found)?;
                Some(Self { $($field: fields.read(raw!(@key $field $($key)?), found),)* })
            }

            fn blank() -> Option<Self> {
                Some(Self::default())
            }

            #[cfg(feature = "schema")]
            fn schema() -> Value {
                super::read::object_schema([$((raw!(@key $field $($key)?), <$type>::schema())),*])
            }
        }
    )*};
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
}

raw! {
    struct RawPolicy {
        revision: String,
        mode: Mode,
        fail: Fail,
        require_tls: bool,
        trust_forwarded_proto: bool,
        buffer_limits: BufferLimits,
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
        mode: Mode,
        allow: Vec<String>,
        same_host: Access,
        missing: Access,
        opaque: Access,
    }

    struct RawSubprotocols {
        mode: Mode,
        allow: Vec<String>,
        required: bool,
    }

    struct RawAuth {
        mode: Mode,
        required: bool,
        sources: Vec<RawSource>,
        first_message_timeout: Span,
        forward: bool,
        providers: Vec<RawProvider>,
        cookie: RawCookie,
        claim_headers: BTreeMap<String, RawClaimHeader>,
        tickets: RawTickets,
        renew: RawRenew,
        on_expiry: OnExpiry,
        expiry_grace: Span,
        revocation: RawRevocation,
        back_channel_logout: RawLogout,
    }

    struct RawRevocation {
        cluster: Cluster,
        path: String,
        refresh: Span,
    }

    struct RawLogout {
        path: String,
        provider: String,
        peers: Vec<Cluster>,
    }

    struct RawRenew {
        when: BTreeMap<String, String>,
        token: String,
    }

    struct RawSource {
        header: String,
        prefix: String,
        cookie: String,
        subprotocol: String,
        query: String,
        ticket: String,
        message: String,
    }

    struct RawTickets {
        path: String,
        ttl: Span,
        keys: Vec<RawSecret>,
        bind: Vec<Binding>,
        store: RawStore,
    }

    struct RawProvider {
        name: String,
        issuer: String,
        audiences: Vec<String>,
        algorithms: Vec<String>,
        jwks: RawJwks,
        clock_skew: Span,
        max_age: Span,
        introspection: RawIntrospection,
        require: BTreeMap<String, Value>,
    }

    struct RawJwks {
        inline: RawKeySet,
        secret: RawSecret,
        cluster: Cluster,
        url: String,
        refresh: Span,
        timeout: Span,
    }

    struct RawIntrospection {
        cluster: Cluster,
        path: String,
        client: RawClient,
        timeout: Span,
        cache: Span,
    }

    struct RawClient {
        id: String,
        secret: RawSecret,
    }

    struct RawCookie {
        name: String,
        hmac: RawHmac,
        lookup: RawLookup,
    }

    struct RawHmac {
        secret: RawSecret,
        algorithm: String,
    }

    struct RawLookup {
        cluster: Cluster,
        path: String,
        timeout: Span,
        cache: Span,
    }

    /// Where a secret is: never in a bare string.
    struct RawSecret {
        env: String,
        inline: String,
    }

    struct RawSides {
        from_client: RawMessages,
        from_server: RawMessages,
    }

    #[derive(PartialEq)]
    struct RawMessages {
        mode: Mode,
        max_message_bytes: Count,
        max_frame_bytes: Count,
        max_fragments: Count,
        text: Access,
        binary: Binary,
        utf8: bool,
        whole: bool,
        json: RawJson,
        authorize: Vec<RawAuthorize>,
        envelope: Envelopes,
        deny_patterns: Vec<RawPattern>,
        rule_sets: Vec<RawRuleSet>,
        tunnels: Access,
    }

    #[derive(PartialEq)]
    struct RawJson {
        max_depth: Count,
        max_keys: Count,
        max_string_bytes: Count,
        duplicate_keys: Access,
        surrogates: Access,
        formats: Formats,
        schema: Value,
        discriminator: String,
        schemas: BTreeMap<String, Value>,
        otherwise: Access,
    }

    #[derive(PartialEq)]
    struct RawAuthorize {
        when: BTreeMap<String, String>,
        missing: Access,
        claims: BTreeMap<String, Value>,
        equals: BTreeMap<String, String>,
        mode: Mode,
    }

    #[derive(PartialEq)]
    struct RawPattern {
        name: String,
        regex: String,
        mode: Mode,
    }

    struct RawLimits {
        mode: Mode,
        per_address: Limit<RawPerAddress>,
        per_subject: Limit<RawPerSubject>,
        per_connection: Limit<RawPerConnection>,
        connections: Count,
        held_bytes: Count,
        on_excess: OnExcess,
        global: RawGlobal,
    }

    struct RawPerAddress {
        ipv6_prefix: Count,
        connections: Limit<Count>,
        handshakes: Limit<RawRate>,
        failures: Limit<RawFailures>,
    }

    struct RawFailures {
        count: Count,
        window: Span,
        ban: Span,
    }

    struct RawPerSubject {
        connections: Limit<Count>,
        messages: RawRate,
        bytes: RawRate,
    }

    struct RawPerConnection {
        messages: Limit<RawRate>,
        bytes: Limit<RawRate>,
        by_type: BTreeMap<String, RawRate>,
    }

    struct RawRate {
        per_second: f64,
        burst: Count,
    }

    struct RawGlobal {
        cluster: Cluster,
        domain: String,
        timeout: Span,
        on_error: Access,
        message_batch: Count,
    }

    struct RawLiveness {
        mode: Mode,
        ping_interval: Limit<Span>,
        pong_timeout: Span,
        idle_timeout: Limit<Span>,
        message_timeout: Limit<Span>,
        max_lifetime: Limit<Span>,
        jitter: f64,
    }

    struct RawLog {
        connections: bool,
        refusals: bool,
        spikes: Limit<RawSpikes>,
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
        matcher as "match": RawMatch,
        policy: Map<String, Value>,
    }
}

/// A key set as an issuer publishes it: members that we do not know are none of our business (RFC 7517 §5).
#[derive(Clone)]
pub(super) struct RawKeySet {
    pub(super) keys: Vec<Value>,
}

impl Read for Envelopes {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        match value {
            Value::Object(_) => BTreeMap::read(value, found).map(Self::BySubprotocol),
            _ => Envelope::read(value, found).map(Self::One),
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"anyOf": [Envelope::schema(), BTreeMap::<String, Envelope>::schema()]})
    }
}

impl Read for RawKeySet {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        match value.get("keys") {
            Some(Value::Array(keys)) => Some(Self { keys: keys.clone() }),
            _ => found.expected("a JWK Set: an object with a list named keys (RFC 7517 §5)"),
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"type": "object", "properties": {"keys": {"type": "array"}}, "required": ["keys"]})
    }
}
