//! From keys as written to a policy: defaults filled in, values given their meaning, combinations checked.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::rc::Rc;

use super::auth::auth;
use super::content::ContentCache;
use super::error::{Built, ConfigError, each, within};
use super::first_message::credentials;
use super::raw::{RawMessages, RawOrigin, RawPolicy, RawSpikes, RawSubprotocols};
use super::read::{Limit, expected};
use super::routes::authority;
use super::secret::Environment;
use super::values::{positive, span_within};
use super::{doors, limits, tickets};
use crate::access::Access;
use crate::content::envelope::{Envelope, Envelopes};
use crate::http::Malformed;
use crate::http::list::token;
use crate::http::origin::{OriginPattern, OriginRules};
use crate::message::{Binary, MessageRules};
use crate::negotiation::{Compression, SubprotocolRules};
use crate::policy::{BufferLimits, Fail, LogRules, Mode, NonWebsocket, Policy, SideRules};
use crate::telemetry::spikes::SpikeRules;
use crate::wire::Sides;

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

/// Builds the policy that `raw` describes.
///
/// `cache` has what messages may say, once for all policies that say the same about it.
pub(super) fn policy(
    raw: &RawPolicy,
    environment: Environment<'_>,
    cache: &mut ContentCache,
    warnings: &mut Vec<String>,
) -> Built<Policy> {
    let fail = raw.fail.unwrap_or(Fail::Closed);
    let hosts = each("hosts", raw.hosts.as_deref(), |text: &String| authority(text))?;
    let origin = origin(&raw.origin.clone().unwrap_or_default(), hosts.is_empty(), warnings)?;
    let messages = raw.messages.clone().unwrap_or_default();
    let log = raw.log.clone().unwrap_or_default();
    let mut build = |at: &str, raw: Option<RawMessages>, defaults| {
        let raw = raw.unwrap_or_default();
        let mut own = Vec::new();
        let side = side(&raw, defaults, cache, &mut own).map_err(within(at))?;
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
    let raw_auth = raw.auth.clone().unwrap_or_default();
    let auth = auth(&raw_auth, fail, environment, warnings)?;
    let limits = limits::limits(raw, compression)?;
    tickets::check_store(auth.tickets.as_ref(), &limits)?;
    Ok(Policy {
        mode: raw.mode.unwrap_or(Mode::Enforce),
        fail,
        require_tls: raw.require_tls.unwrap_or(true),
        trust_forwarded_proto: raw.trust_forwarded_proto.unwrap_or(false),
        buffer_limits: raw.buffer_limits.unwrap_or(BufferLimits::Default),
        non_websocket: raw.non_websocket.unwrap_or(NonWebsocket::Pass),
        hosts,
        origin,
        subprotocols,
        auth: Rc::new(auth),
        credentials: credentials(&raw_auth, &messages.client, compression, warnings)?,
        messages,
        compression,
        limits,
        liveness: limits::liveness(raw.liveness.as_ref())?,
        log: LogRules {
            connections: log.connections.unwrap_or(true),
            refusals: log.refusals.unwrap_or(true),
            spikes: spikes(log.spikes.as_ref()).map_err(within("log.spikes"))?,
        },
    })
}

fn spikes(raw: Option<&Limit<RawSpikes>>) -> Built<Option<SpikeRules>> {
    let raw = match raw {
        Some(Limit::Off) => return Ok(None),
        Some(Limit::At(raw)) => raw,
        None => &RawSpikes::default(),
    };
    let factor = raw.factor.unwrap_or(4.0);
    if !(1.1..=1_000.0).contains(&factor) {
        return Err(ConfigError::new("factor", "from 1.1 to 1000"));
    }
    let window = span_within("window", raw.window, SPIKE_WINDOW, SPIKE_WINDOWS, "from 1s to 10m")?;
    Ok(Some(SpikeRules { factor, window }))
}

const SPIKE_WINDOW: Duration = Duration::from_secs(10);

/// Ticks come ten times a second, and an operator looks within minutes.
const SPIKE_WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

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

fn side(
    raw: &RawMessages,
    defaults: MessageRules,
    cache: &mut ContentCache,
    warnings: &mut Vec<String>,
) -> Built<SideRules> {
    let allowed = |access: Option<Access>, default: bool| access.map_or(default, |access| access == Access::Allow);
    let fragments_max = positive("max_fragments", raw.max_fragments, defaults.fragments_max.into())?;
    let message_len_max = positive("max_message_bytes", raw.max_message_bytes, defaults.message_len_max)?;
    let content = cache.content(raw, message_len_max, warnings)?;
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
