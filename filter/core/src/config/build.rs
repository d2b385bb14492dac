//! From keys as written to a policy: defaults filled in, values given their meaning, combinations checked.

use core::time::Duration;
use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_json::Value;

use super::content::Shared;
use super::raw::{
    RawAuth, RawClaimHeader, RawMatch, RawMessages, RawOrigin, RawPolicy, RawProvider, RawSecret, RawSource,
    RawSubprotocols, expected,
};
use super::values::{Count, Span};
use super::{ConfigError, Environment, doors, limits, within};
use crate::access::Access;
use crate::content::envelope::{Envelope, Envelopes};
use crate::http::Malformed;
use crate::http::authority::{Authority, AuthorityPattern, HostPattern};
use crate::http::list::token;
use crate::http::origin::OriginPattern;
use crate::http::origin::OriginRules;
use crate::json::pointer::Pointer;
use crate::message::{Binary, MessageRules};
use crate::negotiation::{Compression, SubprotocolRules};
use crate::policy::routes::{Ambiguous, PathPattern, Place, Policies, RouteMatch};
use crate::policy::{BufferLimits, Fail, LogRules, Mode, NonWebsocket, Policy, SideRules};
use crate::secret::Secret;
use crate::token::Provider;
use crate::token::claims::{ClaimRules, Requirement};
use crate::token::keys::Keys;
use crate::token::rules::{AuthRules, ClaimFormat, ClaimHeader, Source};
use crate::wire::Sides;

/// RFC 7519 §4.1.4 allows "usually no more than a few minutes"; more would outlive a revoked token.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

const FROM_CLIENT: MessageRules = MessageRules {
    frame_len_max: 65_536,
    message_len_max: 65_536,
    fragments_max: 64,
    text: true,
    binary: Binary::Refuse,
    utf8: true,
    whole: false,
};

const FROM_SERVER: MessageRules = MessageRules {
    frame_len_max: 1_048_576,
    message_len_max: 1_048_576,
    fragments_max: 1_024,
    text: true,
    binary: Binary::Allow,
    utf8: false,
    whole: false,
};

/// Headers that carry the handshake or HTTP itself: never a place for a claim or a credential.
const RESERVED_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "cookie",
    "host",
    "origin",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
];

pub(super) type Built<T> = Result<T, ConfigError>;

/// Builds the policy that `raw` describes.
///
/// `shared` compiles what messages may say, once for all policies that say the same about it.
pub(super) fn policy(
    raw: &RawPolicy,
    environment: Environment<'_>,
    shared: &mut Shared,
    warnings: &mut Vec<String>,
) -> Built<Policy> {
    let messages = raw.messages.clone().unwrap_or_default();
    let log = raw.log.clone().unwrap_or_default();
    let mut build = |at: &str, raw: Option<RawMessages>, defaults| {
        let raw = raw.unwrap_or_default();
        let mut own = Vec::new();
        let side = side(&raw, defaults, shared, &mut own).map_err(within(at))?;
        own.extend(doors::of_side(&raw, &side));
        warnings.extend(own.into_iter().map(|warning| format!("{at}.{warning}")));
        Ok(side)
    };
    let messages = Sides {
        client: build("messages.from_client", messages.from_client, FROM_CLIENT)?,
        server: build("messages.from_server", messages.from_server, FROM_SERVER)?,
    };
    warnings.extend(doors::of_fallback(raw, &messages));
    let named = [("messages.from_client", &messages.client), ("messages.from_server", &messages.server)];
    let mut subprotocols = subprotocols(&raw.subprotocols.clone().unwrap_or_default())?;
    for (at, side) in named {
        restrict(&mut subprotocols, &side.content.envelope).map_err(within(at))?;
    }
    let compression = compression(raw.compression, named)?;
    Ok(Policy {
        mode: raw.mode.unwrap_or(Mode::Enforce),
        fail: raw.fail.unwrap_or(Fail::Closed),
        require_tls: raw.require_tls.unwrap_or(true),
        trust_forwarded_proto: raw.trust_forwarded_proto.unwrap_or(false),
        buffer_limits: raw.buffer_limits.unwrap_or(BufferLimits::Default),
        non_websocket: raw.non_websocket.unwrap_or(NonWebsocket::Pass),
        hosts: each("hosts", raw.hosts.as_deref(), |text: &String| authority(text))?,
        origin: origin(
            &raw.origin.clone().unwrap_or_default(),
            raw.hosts.as_ref().is_none_or(Vec::is_empty),
            warnings,
        )?,
        subprotocols,
        auth: auth(&raw.auth.clone().unwrap_or_default(), environment, warnings)?,
        messages,
        compression,
        limits: limits::limits(raw, compression)?,
        liveness: limits::liveness(raw.liveness.as_ref())?,
        log: LogRules { connections: log.connections.unwrap_or(true), refusals: log.refusals.unwrap_or(true) },
    })
}

/// Builds what a route matches.
pub(super) fn route_match(raw: &RawMatch) -> Built<RouteMatch> {
    let path = |key: &str| match if key == "path" { &raw.path } else { &raw.path_prefix } {
        Some(path) if !path.starts_with('/') || path.contains(['?', '#']) => {
            Err(ConfigError::new(format!("match.{key}"), "a path starts with a slash and has no query"))
        }
        path => Ok(path.as_deref()),
    };
    if raw.host.is_none() && raw.path.is_none() && raw.path_prefix.is_none() {
        return Err(ConfigError::new("match", "needs host, path or path_prefix"));
    }
    Ok(RouteMatch {
        host: raw.host.as_deref().map(authority).transpose().map_err(|error| error.within("match.host"))?,
        path: path("path")?.map(PathPattern::new),
        path_prefix: path("path_prefix")?.map(|prefix| PathPattern::new(prefix.trim_end_matches('/'))),
    })
}

/// Checks that a request for what a route names comes to it, or to one before it: what is never met protects nothing.
pub(super) fn route_is_met(policies: &Policies, matcher: &RouteMatch) -> Built<()> {
    let (key, path) = match (&matcher.path, &matcher.path_prefix) {
        (Some(path), _) => ("match.path", path.written.as_str()),
        (None, Some(prefix)) => ("match.path_prefix", prefix.written.as_str()),
        (None, None) => return Ok(()),
    };
    let authority = match matcher.host.clone() {
        Some(AuthorityPattern { host: HostPattern::Exactly(host), port }) => Authority { host, port },
        Some(AuthorityPattern { host: HostPattern::Below(parent), port }) => {
            Authority { host: format!("x.{parent}"), port }
        }
        Some(AuthorityPattern { host: HostPattern::Within(before, behind), port }) => {
            Authority { host: format!("{before}x{behind}"), port }
        }
        // A host that no other route means.
        None => Authority { host: String::new(), port: None },
    };
    match policies.select(&Place::new(Some(authority), path.as_bytes())) {
        Ok(_) => Ok(()),
        Err(Ambiguous { .. }) => Err(ConfigError::new(
            key,
            "servers differ about which path this is, so no request would be let in by it: write it decoded, without parameters, \
             double slashes, dot segments, or a slash, dot or space at the end (path_prefix takes a path with and without its slash), \
             and not as another route but for the case of its letters",
        )),
    }
}

/// Builds every element of a list; a fault names its index.
pub(super) fn each<T, U>(key: &str, list: Option<&[T]>, build: impl Fn(&T) -> Built<U>) -> Built<Vec<U>> {
    let build = |(index, element)| build(element).map_err(|error| error.within(&format!("{key}[{index}]")));
    list.unwrap_or_default().iter().enumerate().map(build).collect()
}

fn authority(text: &str) -> Built<AuthorityPattern> {
    AuthorityPattern::parse(text).map_err(|Malformed| {
        ConfigError::new("", "expected a host such as \"example.com\", \"*.example.com\" or \"example.com:8443\"")
    })
}

fn origin(raw: &RawOrigin, any_host: bool, warnings: &mut Vec<String>) -> Built<OriginRules> {
    let pattern = |text: &String| {
        OriginPattern::parse(text).map_err(|Malformed| {
            expected(
                "an origin such as \"https://app.example.com\", \"https://*.example.com:8443\", \"https://pr-*.preview.example.com\", \
                 \"http://localhost:*\", \"chrome-extension://<id>\" or \"file://\", without a path, names in punycode",
            )
        })
    };
    let allow = each("origin.allow", raw.allow.as_deref(), pattern)?;
    let same_host = raw.same_host.unwrap_or(Access::Refuse);
    if same_host == Access::Allow && any_host {
        let problem = "a page whose name is made to lead here (DNS rebinding) asks for its own host: list those that are served in hosts";
        warnings.push(format!("origin.same_host: {problem}"));
    }
    // Any origin at all, unless `opaque` says otherwise: a page that may not ask as itself could do so from a sandboxed frame.
    let opaque = if allow.contains(&OriginPattern::Any) { Access::Allow } else { Access::Refuse };
    Ok(OriginRules {
        allow,
        same_host,
        missing: raw.missing.unwrap_or(Access::Refuse),
        opaque: raw.opaque.unwrap_or(opaque),
    })
}

fn subprotocols(raw: &RawSubprotocols) -> Built<SubprotocolRules> {
    let name = |name: &String| match token(name.as_bytes()) {
        Ok(name) => Ok(name.to_owned()),
        Err(Malformed) => Err(ConfigError::new("", "a subprotocol is a token (RFC 9110 §5.6.2)")),
    };
    let allow = each("subprotocols.allow", raw.allow.as_deref(), name)?;
    Ok(SubprotocolRules { allow, required: raw.required.unwrap_or(false) })
}

/// Leaves the subprotocols that there is an envelope for: the client offers, and the upstream chooses, no other.
fn restrict(rules: &mut SubprotocolRules, envelopes: &Envelopes) -> Built<()> {
    let Envelopes::BySubprotocol(envelopes) = envelopes else { return Ok(()) };
    if rules.allow.is_empty() {
        rules.allow = envelopes.keys().filter(|name| !name.is_empty()).cloned().collect();
    } else {
        rules.allow.retain(|name| envelopes.contains_key(name));
    }
    if rules.allow.is_empty() {
        return Err(ConfigError::new("envelope", "names none of the subprotocols that are allowed"));
    }
    rules.required |= !envelopes.contains_key("");
    Ok(())
}

fn compression(raw: Option<Compression>, sides: [(&str, &SideRules); 2]) -> Built<Compression> {
    let compression = raw.unwrap_or(Compression::Refuse);
    for (at, SideRules { rules, content }) in sides {
        let read =
            [("utf8", rules.utf8), ("tunnels: refuse", !content.tunnels)].into_iter().find(|(_, is_read)| *is_read);
        if let (Compression::Pass, Some((key, _))) = (compression, read) {
            let problem = format!("pass leaves payload unread, which {at}.{key} would have to read");
            return Err(ConfigError::new("compression", problem));
        }
    }
    Ok(compression)
}

/// A count of at least one.
pub(super) fn positive(key: &str, value: Option<Count>, default: u64) -> Built<u64> {
    match value {
        Some(Count(0)) => Err(ConfigError::new(key, "must be at least 1")),
        value => Ok(value.map_or(default, |Count(count)| count)),
    }
}

fn side(
    raw: &RawMessages,
    defaults: MessageRules,
    shared: &mut Shared,
    warnings: &mut Vec<String>,
) -> Built<SideRules> {
    let allowed = |access: Option<Access>, default: bool| access.map_or(default, |access| access == Access::Allow);
    let fragments_max = positive("max_fragments", raw.max_fragments, defaults.fragments_max.into())?;
    let message_len_max = positive("max_message_bytes", raw.max_message_bytes, defaults.message_len_max)?;
    let content = shared.content(raw, message_len_max, warnings)?;
    let rules = MessageRules {
        frame_len_max: positive("max_frame_bytes", raw.max_frame_bytes, message_len_max)?,
        message_len_max,
        fragments_max: u32::try_from(fragments_max).unwrap_or(u32::MAX),
        text: allowed(raw.text, defaults.text),
        binary: raw.binary.unwrap_or(defaults.binary),
        // What a text says can be judged only where it is text, and when it is whole.
        utf8: raw.utf8.unwrap_or(defaults.utf8) || content.read_text(),
        whole: raw.whole.unwrap_or(defaults.whole) || content.read_text(),
    };
    if rules.binary == Binary::Text && content.envelope.contain(Envelope::SocketIo) {
        return Err(ConfigError::new(
            "binary",
            "text would judge the attachments of socket.io as texts, which they are not",
        ));
    }
    if !rules.text && rules.binary == Binary::Refuse {
        return Err(ConfigError::new("", "text and binary both refused: nothing could be said"));
    }
    Ok(SideRules { rules, content })
}

fn auth(raw: &RawAuth, environment: Environment<'_>, warnings: &mut Vec<String>) -> Built<AuthRules> {
    let required = raw.required.unwrap_or(true);
    let mut providers: Vec<Provider> = Vec::new();
    for (index, raw) in raw.providers.iter().flatten().enumerate() {
        let at = format!("auth.providers[{index}]");
        let provider = provider(raw, environment, &at, warnings).map_err(|error| error.within(&at))?;
        if providers.iter().any(|other| other.name == provider.name) {
            return Err(ConfigError::new(format!("{at}.name"), "stands twice"));
        }
        providers.push(provider);
    }
    if required && providers.is_empty() {
        return Err(ConfigError::new("auth.providers", "needs a provider, or auth.required: false"));
    }
    let sources = match &raw.sources {
        Some(sources) => each("auth.sources", Some(sources.as_slice()), source)?,
        None => default_sources(),
    };
    if required && sources.is_empty() {
        return Err(ConfigError::new("auth.sources", "needs a source, or auth.required: false"));
    }
    // Without a provider nothing can be a credential: a cookie of that name is the upstream's own.
    let sources = if providers.is_empty() { vec![] } else { sources };
    let claim_headers = claim_headers(raw.claim_headers.as_ref())?;
    Ok(AuthRules { required, sources, forward: raw.forward.unwrap_or(false), providers, claim_headers })
}

fn default_sources() -> Vec<Source> {
    vec![
        Source::Header { name: "authorization".into(), scheme: "Bearer".into() },
        Source::Cookie("session".into()),
        Source::Subprotocol("bearer".into()),
        Source::Query("token".into()),
    ]
}

fn source(raw: &RawSource) -> Built<Source> {
    let as_token = |key: &str, name: &str| match token(name.as_bytes()) {
        Ok(name) => Ok(name.to_owned()),
        Err(Malformed) => Err(ConfigError::new(key, "expected a token (RFC 9110 §5.6.2)")),
    };
    Ok(match (&raw.header, &raw.cookie, &raw.subprotocol, &raw.query) {
        (Some(name), None, None, None) => Source::Header {
            name: header_name(name).map_err(within("header"))?,
            scheme: as_token("prefix", raw.prefix.as_deref().unwrap_or("Bearer"))?,
        },
        _ if raw.prefix.is_some() => return Err(ConfigError::new("prefix", "belongs to a header")),
        (None, Some(name), None, None) => Source::Cookie(as_token("cookie", name)?),
        (None, None, Some(marker), None) => Source::Subprotocol(as_token("subprotocol", marker)?),
        (None, None, None, Some(name)) if name.is_empty() => {
            return Err(ConfigError::new("query", "must not be empty"));
        }
        (None, None, None, Some(name)) => Source::Query(name.clone()),
        _ => return Err(ConfigError::new("", "needs one of header, cookie, subprotocol and query")),
    })
}

fn header_name(name: &str) -> Built<String> {
    let name = match token(name.as_bytes()) {
        Ok(name) => name.to_ascii_lowercase(),
        Err(Malformed) => return Err(ConfigError::new("", "expected a header name")),
    };
    if RESERVED_HEADERS.contains(&name.as_str()) || name.starts_with("sec-websocket-") {
        return Err(ConfigError::new("", "this header has a meaning of its own"));
    }
    Ok(name)
}

fn claim_headers(raw: Option<&BTreeMap<String, RawClaimHeader>>) -> Built<Vec<ClaimHeader>> {
    let mut built: Vec<ClaimHeader> = Vec::new();
    for (claim, raw) in raw.into_iter().flatten() {
        let build = || {
            // Names are compared as servers see them that take `_` for `-`.
            let name = raw.header.as_deref().ok_or_else(|| ConfigError::new("header", "is required"))?;
            let name = header_name(&name.replace('_', "-"))?;
            if name == "authorization" || built.iter().any(|other| other.name == name) {
                return Err(ConfigError::new("", "this header is taken"));
            }
            Ok(ClaimHeader { claim: claim_path(claim)?, name, format: raw.format.unwrap_or(ClaimFormat::Text) })
        };
        let header = build().map_err(|error: ConfigError| error.under(claim).within("auth.claim_headers"))?;
        built.push(header);
    }
    Ok(built)
}

/// The path of a claim: what begins with a slash is a JSON Pointer.
pub(super) fn claim_path(path: &str) -> Built<String> {
    if path.starts_with('/') && Pointer::parse(path).is_none() {
        return Err(expected("a claim, or a JSON Pointer into the claims (RFC 6901)"));
    }
    Ok(path.to_owned())
}

fn provider(raw: &RawProvider, environment: Environment<'_>, at: &str, warnings: &mut Vec<String>) -> Built<Provider> {
    let Some(name) = raw.name.clone().filter(|name| !name.is_empty()) else {
        return Err(ConfigError::new("name", "is required"));
    };
    for (key, missing) in
        [("issuer", raw.issuer.is_none()), ("audiences", raw.audiences.as_ref().is_none_or(Vec::is_empty))]
    {
        if missing {
            warnings.push(format!(
                "{at}.{key}: not set, so tokens made for another place are accepted (RFC 8725 §3.8, §3.9)"
            ));
        }
    }
    let algorithms = algorithms(raw.algorithms.as_deref().unwrap_or_default())?;
    let clock_skew = raw.clock_skew.map_or(Duration::from_secs(60), |Span(span)| span);
    if clock_skew > CLOCK_SKEW_MAX {
        return Err(ConfigError::new("clock_skew", "at most 5m"));
    }
    let require = requirements(raw.require.as_ref()).map_err(within("require"))?;
    let rules = ClaimRules {
        issuer: raw.issuer.clone(),
        audiences: raw.audiences.clone().unwrap_or_default(),
        clock_skew,
        max_age: raw.max_age.map(|Span(span)| span),
        require,
    };
    let keys = keys(raw, algorithms, environment, at, warnings)?;
    Ok(Provider { name, keys, rules })
}

fn algorithms(names: &[String]) -> Built<Vec<Algorithm>> {
    let parse = |name: &String| {
        name.parse().map_err(|_| {
            ConfigError::new(
                "",
                "expected RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384 or HS512",
            )
        })
    };
    let algorithms: Vec<Algorithm> = each("algorithms", Some(names), parse)?;
    let is_hmac = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
    if algorithms.is_empty() {
        return Err(ConfigError::new("algorithms", "is required: a token never chooses how it is checked"));
    }
    if algorithms.iter().any(is_hmac) && !algorithms.iter().all(is_hmac) {
        return Err(ConfigError::new(
            "algorithms",
            "HS* and asymmetric algorithms need providers of their own (RFC 8725 §3.1)",
        ));
    }
    Ok(algorithms)
}

fn keys(
    raw: &RawProvider,
    algorithms: Vec<Algorithm>,
    environment: Environment<'_>,
    at: &str,
    warnings: &mut Vec<String>,
) -> Built<Keys> {
    let jwks = raw.jwks.clone().unwrap_or_default();
    match (jwks.inline, jwks.secret) {
        (Some(set), None) => {
            let (keys, passed_over) =
                Keys::from_jwks(algorithms, &set.keys).map_err(|fault| ConfigError::new("jwks.inline.keys", fault))?;
            for (index, fault) in passed_over {
                warnings.push(format!("{at}.jwks.inline.keys[{index}]: passed over: {fault}"));
            }
            Ok(keys)
        }
        (None, Some(source)) => {
            let secret = secret(&source, environment).map_err(within("jwks.secret"))?;
            if source.inline.is_some() {
                warnings
                    .push(format!("{at}.jwks.secret.inline: a secret in the configuration is seen by all who see it"));
            }
            Keys::from_secret(algorithms, &secret).map_err(|fault| ConfigError::new("jwks.secret", fault))
        }
        (None, None) | (Some(_), Some(_)) => Err(ConfigError::new("jwks", "needs one of inline and secret")),
    }
}

fn secret(source: &RawSecret, environment: Environment<'_>) -> Built<Secret<Vec<u8>>> {
    let value = match (&source.env, &source.inline) {
        (Some(name), None) => environment(name)
            .ok_or_else(|| ConfigError::new("env", "no such variable in vm_config.environment_variables"))?,
        (None, Some(value)) => value.clone(),
        (None, None) | (Some(_), Some(_)) => return Err(ConfigError::new("", "needs one of env and inline")),
    };
    Ok(Secret::new(value.into_bytes()))
}

/// What claims must be.
pub(super) fn requirements(raw: Option<&BTreeMap<String, Value>>) -> Built<Vec<(String, Requirement)>> {
    let mut built = Vec::new();
    for (claim, value) in raw.into_iter().flatten() {
        let requirement = claim_path(claim).and_then(|path| Ok((path, requirement(value)?)));
        built.push(requirement.map_err(|error| error.under(claim))?);
    }
    Ok(built)
}

fn requirement(value: &Value) -> Built<Requirement> {
    let values = |value: &Value| match value {
        Value::Array(values) if values.is_empty() => Err(ConfigError::new("", "an empty list can never be met")),
        Value::Array(values) if values.iter().any(Value::is_null) => Err(never_null()),
        Value::Array(values) => Ok(values.clone()),
        Value::Null => Err(never_null()),
        value => Ok(vec![value.clone()]),
    };
    match value {
        Value::Object(members) => match (members.len(), members.get("contains")) {
            (1, Some(elements)) => values(elements).map(Requirement::Contains).map_err(within("contains")),
            _ => Err(expected("a value, a list of values or {\"contains\": a value or a list of values}")),
        },
        value => values(value).map(Requirement::OneOf),
    }
}

fn never_null() -> ConfigError {
    ConfigError::new("", "null can never be met: a claim that is null is absent")
}
