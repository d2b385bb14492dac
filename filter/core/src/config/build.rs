//! From keys as written to a policy: defaults filled in, values given their meaning, combinations checked.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::rc::Rc;

use super::auth::auth;
use super::content::ContentCache;
use super::findings::Findings;
use super::first_message::credentials;
use super::raw::{RawMessages, RawOrigin, RawPolicy, RawSpikes, RawStore, RawSubprotocols};
use super::read::Limit;
use super::routes::authority;
use super::secret::Environment;
use super::values::{positive, span_within};
use super::{doors, limits, modes};
use crate::access::Access;
use crate::content::envelope::{Envelope, Envelopes};
use crate::http::list::token;
use crate::http::origin::{OriginPattern, OriginRules};
use crate::identity::tickets::Store;
use crate::message::{Binary, MessageRules};
use crate::mode::Mode;
use crate::negotiation::{Compression, SubprotocolRules};
use crate::policy::{BufferLimits, Fail, LogRules, NonWebsocket, Policy, SideRules};
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

/// Builds the policy that `raw` describes, without what is wrong in it.
///
/// `cache` has what messages may say, once for all policies that say the same about it.
pub(super) fn policy(
    raw: &RawPolicy,
    environment: Environment<'_>,
    cache: &mut ContentCache,
    found: &mut Findings,
) -> Policy {
    modes::warn(raw, found);
    let fail = raw.fail.unwrap_or(Fail::Closed);
    let hosts = found.each("hosts", raw.hosts.as_deref(), |text: &String, found| authority(text, found));
    let origin = origin(&raw.origin.clone().unwrap_or_default(), hosts.is_empty(), found);
    let raw_messages = raw.messages.clone().unwrap_or_default();
    let mut build = |at: &str, own: Option<RawMessages>, defaults| {
        let mode = modes::of_side(raw, own.as_ref());
        found.within(at, |found| side(&own.unwrap_or_default(), mode, defaults, cache, found))
    };
    let messages = Sides {
        client: build(FROM_CLIENT_KEY, raw_messages.from_client, FROM_CLIENT),
        server: build(FROM_SERVER_KEY, raw_messages.from_server, FROM_SERVER),
    };
    doors::of_fallback(raw, &messages, found);
    let named = [(FROM_CLIENT_KEY, &messages.client), (FROM_SERVER_KEY, &messages.server)];
    let mut subprotocols = subprotocols(&raw.subprotocols.clone().unwrap_or_default(), found);
    for (at, side) in named {
        restrict(&mut subprotocols, &side.content.envelope, at, found);
    }
    let compression = compression(raw.compression, named, found);
    let raw_auth = raw.auth.clone().unwrap_or_default();
    let auth = found.within("auth", |found| auth(&raw_auth, fail, environment, found));
    let limits = limits::limits(raw, compression, found);
    check_store(raw, found);
    let credentials = credentials(&raw_auth, &messages.client, compression, found);
    let log = raw.log.clone().unwrap_or_default();
    Policy {
        modes: modes::modes(raw, &messages, !limits.per_connection.by_type.is_empty()),
        fail,
        require_tls: raw.require_tls.unwrap_or(true),
        trust_forwarded_proto: raw.trust_forwarded_proto.unwrap_or(false),
        buffer_limits: raw.buffer_limits.unwrap_or(BufferLimits::Default),
        non_websocket: raw.non_websocket.unwrap_or(NonWebsocket::Pass),
        hosts,
        origin,
        subprotocols,
        auth: Rc::new(auth),
        credentials,
        messages,
        compression,
        limits,
        liveness: limits::liveness(raw.liveness.as_ref(), found),
        log: LogRules {
            connections: log.connections.unwrap_or(true),
            refusals: log.refusals.unwrap_or(true),
            spikes: found.within("log.spikes", |found| spikes(log.spikes.as_ref(), found)),
        },
    }
}

fn spikes(raw: Option<&Limit<RawSpikes>>, found: &mut Findings) -> Option<SpikeRules> {
    let raw = match raw {
        Some(Limit::Off) => return None,
        Some(Limit::At(raw)) => raw,
        None => &RawSpikes::default(),
    };
    let factor = raw.factor.unwrap_or(4.0);
    if !(1.1..=1_000.0).contains(&factor) {
        found.fault("factor", "from 1.1 to 1000");
    }
    let window = span_within("window", raw.window, SPIKE_WINDOW, SPIKE_WINDOWS, "from 1s to 10m", found);
    Some(SpikeRules { factor, window })
}

const SPIKE_WINDOW: Duration = Duration::from_secs(10);

/// Ticks come ten times a second, and an operator looks within minutes.
const SPIKE_WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

const FROM_CLIENT_KEY: &str = "messages.from_client";
const FROM_SERVER_KEY: &str = "messages.from_server";

fn origin(raw: &RawOrigin, any_host: bool, found: &mut Findings) -> OriginRules {
    let allow = found.each("origin.allow", raw.allow.as_deref(), |text: &String, found| {
        OriginPattern::parse(text).ok().or_else(|| {
            found.expected(
                "an origin such as \"https://app.example.com\", \"https://*.example.com:8443\", \"https://pr-*.preview.example.com\", \
                 \"http://localhost:*\", \"chrome-extension://<id>\" or \"file://\", without a path, names in punycode",
            )
        })
    });
    let same_host = raw.same_host.unwrap_or(Access::Refuse);
    if same_host == Access::Allow && any_host {
        let problem = "a page whose name is made to lead here (DNS rebinding) asks for its own host: list those that are served in hosts";
        found.warn("origin.same_host", problem);
    }
    // Any origin at all, unless `opaque` says otherwise: a page that may not ask as itself could do so from a sandboxed frame.
    let opaque = if allow.contains(&OriginPattern::Any) { Access::Allow } else { Access::Refuse };
    OriginRules {
        allow,
        same_host,
        missing: raw.missing.unwrap_or(Access::Refuse),
        opaque: raw.opaque.unwrap_or(opaque),
    }
}

fn subprotocols(raw: &RawSubprotocols, found: &mut Findings) -> SubprotocolRules {
    let allow = found.each("subprotocols.allow", raw.allow.as_deref(), |name: &String, found| {
        let name = token(name.as_bytes()).map(str::to_owned).ok();
        name.or_else(|| found.refuse("", "a subprotocol is a token (RFC 9110 §5.6.2)"))
    });
    SubprotocolRules { allow, required: raw.required.unwrap_or(false) }
}

/// Leaves the subprotocols that there is an envelope for: the client offers, and the upstream chooses, no other.
fn restrict(rules: &mut SubprotocolRules, envelopes: &Envelopes, side: &str, found: &mut Findings) {
    let Envelopes::BySubprotocol(envelopes) = envelopes else { return };
    if rules.allow.is_empty() {
        rules.allow = envelopes.keys().filter(|name| !name.is_empty()).cloned().collect();
    } else {
        rules.allow.retain(|name| envelopes.contains_key(name));
    }
    if rules.allow.is_empty() && !found.is_unread("subprotocols") {
        found.fault(&format!("{side}.envelope"), "names none of the subprotocols that are allowed");
    }
    rules.required |= !envelopes.contains_key("");
}

fn compression(raw: Option<Compression>, sides: [(&str, &SideRules); 2], found: &mut Findings) -> Compression {
    let compression = raw.unwrap_or(Compression::Refuse);
    if compression != Compression::Pass {
        return compression;
    }
    for (at, SideRules { rules, content }) in sides {
        let reads = [("utf8", "utf8", rules.utf8), ("tunnels", "tunnels: refuse", !content.tunnels)].into_iter();
        let mut reads = reads.filter(|(key, _, is_read)| *is_read && !found.is_unread(&format!("{at}.{key}")));
        if let Some((_, key, _)) = reads.next() {
            let problem = format!("pass leaves payload unread, which {at}.{key} would have to read");
            found.fault("compression", &problem);
        }
    }
    compression
}

/// Checks that there is a service where one is to know which tickets were redeemed.
fn check_store(raw: &RawPolicy, found: &mut Findings) {
    let store = raw.auth.as_ref().and_then(|auth| auth.tickets.as_ref()).and_then(|tickets| tickets.store);
    let is_asked = matches!(store, Some(RawStore(Store::RateLimitService)));
    let has_service = raw.limits.as_ref().is_some_and(|limits| limits.global.is_some());
    if is_asked && !has_service && !found.is_unread("limits.global") {
        found.fault("auth.tickets.store.rate_limit_service", "needs limits.global");
    }
}

fn side(
    raw: &RawMessages,
    mode: Mode,
    defaults: MessageRules,
    cache: &mut ContentCache,
    found: &mut Findings,
) -> SideRules {
    let allowed = |access: Option<Access>, default: bool| access.map_or(default, |access| access == Access::Allow);
    let fragments_max = positive("max_fragments", raw.max_fragments, defaults.fragments_max.into(), found);
    let message_len_max = positive("max_message_bytes", raw.max_message_bytes, defaults.message_len_max, found);
    let content = cache.content(raw, mode, message_len_max, found);
    if !raw.authorize.as_ref().is_none_or(Vec::is_empty) && raw.json.is_none() && !found.is_unread("json") {
        found.fault("authorize", "needs json: its pointers lead into JSON messages");
    }
    let rules = MessageRules {
        frame_len_max: positive("max_frame_bytes", raw.max_frame_bytes, message_len_max, found),
        message_len_max,
        fragments_max: u32::try_from(fragments_max).unwrap_or(u32::MAX),
        text: allowed(raw.text, defaults.text),
        binary: raw.binary.unwrap_or(defaults.binary),
        // What a text says can be judged only where it is text, and when it is whole.
        utf8: raw.utf8.unwrap_or(defaults.utf8) || content.read_text(),
        whole: raw.whole.unwrap_or(defaults.whole) || content.read_text(),
    };
    if rules.binary == Binary::Text && content.envelope.contain(Envelope::SocketIo) {
        found.fault("binary", "text would judge the attachments of socket.io as texts, which they are not");
    }
    if !rules.text && rules.binary == Binary::Refuse {
        found.fault("", "text and binary both refused: nothing could be said");
    }
    let side = SideRules { rules, content };
    doors::of_side(raw, &side, found);
    side
}
