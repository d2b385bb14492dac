//! The keys of how much and how long.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::error::step;
use super::findings::Findings;
use super::raw::{
    RawFailures, RawGlobal, RawLimits, RawLiveness, RawPerAddress, RawPerConnection, RawPerSubject, RawPolicy, RawRate,
};
use super::read::Limit;
use super::values::{Count, Span, positive, span_within};
use crate::access::Access;
use crate::cluster::Cluster;
use crate::content::envelope::Envelope;
use crate::limits::rate::Rate;
use crate::limits::rules::{AddressLimits, ConnectionLimits, GlobalLimits, LimitRules, OnExcess, SubjectLimits};
use crate::limits::table::FailureRules;
use crate::liveness::LivenessRules;
use crate::negotiation::Compression;

/// 64 MiB: a thousand connections that hold a longest message each.
const HELD_LEN_MAX: u64 = 67_108_864;

/// A whole subnet, which one client commonly has (RFC 4291 §2.5.4).
const IPV6_PREFIX: u8 = 64;

/// The longest pong_timeout and global.timeout: beyond it nobody waits for an answer.
const ANSWER_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// The shortest interval and timeout that is more than a slip of the unit: timers are looked at some times a second.
const SPAN_MIN: Duration = Duration::from_millis(100);

/// Builds how much is allowed.
pub(super) fn limits(raw: &RawPolicy, compression: Compression, found: &mut Findings) -> LimitRules {
    let from_client = raw.messages.as_ref().and_then(|messages| messages.from_client.as_ref());
    let json = from_client.and_then(|side| side.json.as_ref());
    let is_typed = json.is_some_and(|json| json.discriminator.is_some())
        || found.is_unread("messages.from_client.json.discriminator");
    let envelopes = from_client.and_then(|side| side.envelope.as_ref());
    let defaults = RawLimits::default();
    let raw = raw.limits.as_ref().unwrap_or(&defaults);
    found.within("limits", |found| {
        let on_excess = raw.on_excess.unwrap_or(OnExcess::Close);
        // What a compressed message leaves behind, its successors may refer to (RFC 7692 §7.2.2).
        if on_excess == OnExcess::Drop && compression != Compression::Refuse {
            found.fault("on_excess", "drop needs compression: refuse");
        }
        if on_excess == OnExcess::Drop && envelopes.is_some_and(|own| own.contain(Envelope::SocketIo)) {
            found.fault("on_excess", "drop would part texts of socket.io from their attachments");
        }
        LimitRules {
            per_address: found.within("per_address", |found| per_address(raw.per_address.as_ref(), found)),
            per_subject: found.within("per_subject", |found| per_subject(raw.per_subject.as_ref(), found)),
            per_connection: found
                .within("per_connection", |found| per_connection(raw.per_connection.as_ref(), is_typed, found)),
            connections: raw.connections.map(|count| small("connections", count, found)),
            held_len_max: positive("held_bytes", raw.held_bytes, HELD_LEN_MAX, found),
            on_excess,
            global: raw.global.as_ref().map(|raw| found.within("global", |found| global(raw, found))),
        }
    })
}

/// Builds how long things may take.
pub(super) fn liveness(raw: Option<&RawLiveness>, found: &mut Findings) -> LivenessRules {
    let defaults = RawLiveness::default();
    let raw = raw.unwrap_or(&defaults);
    found.within("liveness", |found| {
        let jitter = raw.jitter.unwrap_or(0.1);
        if !(0.0..=0.5).contains(&jitter) {
            found.fault("jitter", "expected a share from 0 to 0.5");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast to an integer saturates")]
        let jitter_permille = (jitter * 1_000.0) as u32;
        LivenessRules {
            ping_interval: span("ping_interval", raw.ping_interval.as_ref(), 25, found),
            pong_timeout: span_within(
                "pong_timeout",
                raw.pong_timeout,
                Duration::from_secs(20),
                SPAN_MIN..=ANSWER_TIMEOUT_MAX,
                "from 100ms to 10m",
                found,
            ),
            idle_timeout: span("idle_timeout", raw.idle_timeout.as_ref(), 30 * 60, found),
            message_timeout: span("message_timeout", raw.message_timeout.as_ref(), 10, found),
            lifetime_max: span("max_lifetime", raw.max_lifetime.as_ref(), 2 * 60 * 60, found),
            jitter_permille,
        }
    })
}

/// No end is null, or `0s`.
fn span(key: &str, raw: Option<&Limit<Span>>, default_secs: u64, found: &mut Findings) -> Option<Duration> {
    match raw {
        None => Some(Duration::from_secs(default_secs)),
        Some(Limit::Off | Limit::At(Span(Duration::ZERO))) => None,
        Some(Limit::At(Span(span))) if *span < SPAN_MIN => found.refuse(key, "at least 100ms, or 0s for none"),
        Some(Limit::At(Span(span))) => Some(*span),
    }
}

fn per_address(raw: Option<&Limit<RawPerAddress>>, found: &mut Findings) -> AddressLimits {
    let raw = match raw {
        None => &RawPerAddress::default(),
        Some(Limit::At(raw)) => raw,
        Some(Limit::Off) => {
            return AddressLimits { ipv6_prefix: IPV6_PREFIX, connections: None, handshakes: None, failures: None };
        }
    };
    let ipv6_prefix = raw.ipv6_prefix.map_or_else(|| u64::from(IPV6_PREFIX), |Count(bits)| bits);
    if !(32..=128).contains(&ipv6_prefix) {
        found.fault("ipv6_prefix", "from 32 to 128 bits");
    }
    AddressLimits {
        ipv6_prefix: u8::try_from(ipv6_prefix).unwrap_or(IPV6_PREFIX),
        connections: count("connections", raw.connections.as_ref(), 20, found),
        handshakes: limited_rate("handshakes", raw.handshakes.as_ref(), Rate::new(5.0, 20), found),
        failures: match &raw.failures {
            Some(Limit::Off) => None,
            Some(Limit::At(raw)) => Some(found.within("failures", |found| failures(raw, found))),
            None => Some(failures(&RawFailures::default(), found)),
        },
    }
}

fn failures(raw: &RawFailures, found: &mut Findings) -> FailureRules {
    let span = |key: &str, span: Option<Span>, default_secs: u64, found: &mut Findings| {
        let default = Duration::from_secs(default_secs);
        span_within(key, span, default, SPAN_MIN..=Duration::MAX, "at least 100ms", found)
    };
    FailureRules {
        count: small("count", raw.count.unwrap_or(Count(10)), found),
        window: span("window", raw.window, 60, found),
        ban: span("ban", raw.ban, 5 * 60, found),
    }
}

fn per_subject(raw: Option<&Limit<RawPerSubject>>, found: &mut Findings) -> SubjectLimits {
    let raw = match raw {
        None => &RawPerSubject::default(),
        Some(Limit::At(raw)) => raw,
        Some(Limit::Off) => return SubjectLimits { connections: None, messages: None, bytes: None },
    };
    SubjectLimits {
        connections: count("connections", raw.connections.as_ref(), 10, found),
        messages: raw.messages.as_ref().and_then(|raw| rate("messages", raw, found)),
        bytes: raw.bytes.as_ref().and_then(|raw| rate("bytes", raw, found)),
    }
}

fn per_connection(raw: Option<&Limit<RawPerConnection>>, is_typed: bool, found: &mut Findings) -> ConnectionLimits {
    let raw = match raw {
        None => &RawPerConnection::default(),
        Some(Limit::At(raw)) => raw,
        Some(Limit::Off) => return ConnectionLimits::default(),
    };
    let messages = limited_rate("messages", raw.messages.as_ref(), Rate::new(50.0, 200), found);
    let bytes = limited_rate("bytes", raw.bytes.as_ref(), Rate::new(262_144.0, 1_048_576), found);
    let mut by_type = BTreeMap::new();
    found.within("by_type", |found| {
        for (name, raw) in raw.by_type.iter().flatten() {
            if let Some(rate) = rate(&step(name), raw, found) {
                by_type.insert(name.clone(), rate);
            }
        }
    });
    if raw.by_type.as_ref().is_some_and(|by_type| !by_type.is_empty()) && !is_typed {
        found.fault("by_type", "needs messages.from_client.json.discriminator");
    }
    ConnectionLimits { messages, bytes, by_type: Rc::new(by_type) }
}

fn global(raw: &RawGlobal, found: &mut Findings) -> GlobalLimits {
    let default = Duration::from_millis(50);
    let bounds = Duration::from_millis(1)..=ANSWER_TIMEOUT_MAX;
    GlobalLimits {
        cluster: cluster(raw.cluster.as_ref(), found),
        domain: named("domain", raw.domain.as_deref().or(Some("portcullis")), found),
        timeout: span_within("timeout", raw.timeout, default, bounds, "from 1ms to 10m", found),
        on_error: raw.on_error.unwrap_or(Access::Allow),
        message_batch: raw.message_batch.map(|count| small("message_batch", count, found)),
    }
}

fn cluster(cluster: Option<&Cluster>, found: &mut Findings) -> Cluster {
    let cluster = cluster.cloned().unwrap_or_default();
    if cluster.is_unnamed() {
        found.fault("cluster", "is required");
    }
    cluster
}

fn named(key: &str, name: Option<&str>, found: &mut Findings) -> String {
    let name = name.unwrap_or_default();
    if name.is_empty() {
        found.fault(key, "is required");
    }
    name.to_owned()
}

fn count(key: &str, raw: Option<&Limit<Count>>, default: u32, found: &mut Findings) -> Option<u32> {
    match raw {
        None => Some(default),
        Some(Limit::Off) => None,
        Some(Limit::At(count)) => Some(small(key, *count, found)),
    }
}

/// A count of at least one; beyond four billion it is none.
fn small(key: &str, count: Count, found: &mut Findings) -> u32 {
    u32::try_from(positive(key, Some(count), 1, found)).unwrap_or(u32::MAX)
}

fn limited_rate(key: &str, raw: Option<&Limit<RawRate>>, default: Option<Rate>, found: &mut Findings) -> Option<Rate> {
    match raw {
        None => default,
        Some(Limit::Off) => None,
        Some(Limit::At(raw)) => rate(key, raw, found),
    }
}

fn rate(path: &str, raw: &RawRate, found: &mut Findings) -> Option<Rate> {
    found.within(path, |found| {
        let per_second = raw.per_second.or_else(|| found.refuse("per_second", "is required"));
        // Nobody can say one thing twice a second who may not say two at once.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast to an integer saturates")]
        let default = per_second.unwrap_or_default().ceil().max(1.0) as u64;
        let burst = positive("burst", raw.burst, default, found);
        // What is wrong with the burst has been said.
        Rate::new(per_second?, burst.max(1)).or_else(|| found.refuse("per_second", "must be more than 0"))
    })
}

#[cfg(test)]
mod tests;
