//! The keys of how much and how long.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::error::{Built, ConfigError, within};
use super::raw::{
    RawFailures, RawGlobal, RawLimits, RawLiveness, RawPerAddress, RawPerConnection, RawPerSubject, RawPolicy, RawRate,
};
use super::read::Limit;
use super::values::{Count, Span, positive};
use crate::access::Access;
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
pub(super) fn limits(raw: &RawPolicy, compression: Compression) -> Built<LimitRules> {
    let from_client = raw.messages.as_ref().and_then(|messages| messages.from_client.as_ref());
    let json = from_client.and_then(|side| side.json.as_ref());
    let typed = json.is_some_and(|json| json.discriminator.is_some());
    let build = |raw: &RawLimits| {
        let on_excess = raw.on_excess.unwrap_or(OnExcess::Close);
        // What a compressed message leaves behind, its successors may refer to (RFC 7692 §7.2.2).
        if on_excess == OnExcess::Drop && compression != Compression::Refuse {
            return Err(ConfigError::new("on_excess", "drop needs compression: refuse"));
        }
        let envelopes = from_client.and_then(|side| side.envelope.as_ref());
        if on_excess == OnExcess::Drop && envelopes.is_some_and(|own| own.contain(Envelope::SocketIo)) {
            return Err(ConfigError::new("on_excess", "drop would part texts of socket.io from their attachments"));
        }
        let limits = LimitRules {
            per_address: per_address(raw.per_address.as_ref()).map_err(within("per_address"))?,
            per_subject: per_subject(raw.per_subject.as_ref()).map_err(within("per_subject"))?,
            per_connection: per_connection(raw.per_connection.as_ref(), typed).map_err(within("per_connection"))?,
            connections: raw.connections.map(|count| small("connections", count)).transpose()?,
            held_len_max: positive("held_bytes", raw.held_bytes, HELD_LEN_MAX)?,
            on_excess,
            global: raw.global.as_ref().map(global).transpose().map_err(within("global"))?,
        };
        Ok(limits)
    };
    raw.limits.as_ref().map_or_else(|| build(&RawLimits::default()), build).map_err(within("limits"))
}

/// Builds how long things may take.
pub(super) fn liveness(raw: Option<&RawLiveness>) -> Built<LivenessRules> {
    let build = |raw: &RawLiveness| {
        let jitter = raw.jitter.unwrap_or(0.1);
        if !(0.0..=0.5).contains(&jitter) {
            return Err(ConfigError::new("jitter", "expected a share from 0 to 0.5"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        let jitter_permille = (jitter * 1_000.0) as u32;
        let pong_timeout = raw.pong_timeout.map_or(Duration::from_secs(20), |Span(span)| span);
        if !(SPAN_MIN..=ANSWER_TIMEOUT_MAX).contains(&pong_timeout) {
            return Err(ConfigError::new("pong_timeout", "from 100ms to 10m"));
        }
        Ok(LivenessRules {
            ping_interval: span("ping_interval", raw.ping_interval.as_ref(), 25)?,
            pong_timeout,
            idle_timeout: span("idle_timeout", raw.idle_timeout.as_ref(), 30 * 60)?,
            message_timeout: span("message_timeout", raw.message_timeout.as_ref(), 10)?,
            lifetime_max: span("max_lifetime", raw.max_lifetime.as_ref(), 2 * 60 * 60)?,
            jitter_permille,
        })
    };
    raw.map_or_else(|| build(&RawLiveness::default()), build).map_err(within("liveness"))
}

/// No end is null, or `0s`.
fn span(key: &str, raw: Option<&Limit<Span>>, default_secs: u64) -> Built<Option<Duration>> {
    match raw {
        None => Ok(Some(Duration::from_secs(default_secs))),
        Some(Limit::Off | Limit::At(Span(Duration::ZERO))) => Ok(None),
        Some(Limit::At(Span(span))) if *span < SPAN_MIN => Err(ConfigError::new(key, "at least 100ms, or 0s for none")),
        Some(Limit::At(Span(span))) => Ok(Some(*span)),
    }
}

fn per_address(raw: Option<&Limit<RawPerAddress>>) -> Built<AddressLimits> {
    let raw = match raw {
        None => &RawPerAddress::default(),
        Some(Limit::At(raw)) => raw,
        Some(Limit::Off) => {
            return Ok(AddressLimits { ipv6_prefix: IPV6_PREFIX, connections: None, handshakes: None, failures: None });
        }
    };
    let ipv6_prefix = match raw.ipv6_prefix {
        None => IPV6_PREFIX,
        Some(Count(bits)) => u8::try_from(bits)
            .ok()
            .filter(|bits| (32..=128).contains(bits))
            .ok_or_else(|| ConfigError::new("ipv6_prefix", "from 32 to 128 bits"))?,
    };
    Ok(AddressLimits {
        ipv6_prefix,
        connections: count("connections", raw.connections.as_ref(), 20)?,
        handshakes: limited_rate("handshakes", raw.handshakes.as_ref(), Rate::new(5.0, 20))?,
        failures: match &raw.failures {
            Some(Limit::Off) => None,
            Some(Limit::At(raw)) => Some(failures(raw).map_err(within("failures"))?),
            None => Some(failures(&RawFailures::default())?),
        },
    })
}

fn failures(raw: &RawFailures) -> Built<FailureRules> {
    let span = |key: &str, span: Option<Span>, default_secs: u64| match span {
        Some(Span(span)) if span < SPAN_MIN => Err(ConfigError::new(key, "at least 100ms")),
        Some(Span(span)) => Ok(span),
        None => Ok(Duration::from_secs(default_secs)),
    };
    Ok(FailureRules {
        count: small("count", raw.count.unwrap_or(Count(10)))?,
        window: span("window", raw.window, 60)?,
        ban: span("ban", raw.ban, 5 * 60)?,
    })
}

fn per_subject(raw: Option<&Limit<RawPerSubject>>) -> Built<SubjectLimits> {
    let raw = match raw {
        None => &RawPerSubject::default(),
        Some(Limit::At(raw)) => raw,
        Some(Limit::Off) => return Ok(SubjectLimits { connections: None, messages: None, bytes: None }),
    };
    Ok(SubjectLimits {
        connections: count("connections", raw.connections.as_ref(), 10)?,
        messages: raw.messages.as_ref().map(rate).transpose().map_err(within("messages"))?,
        bytes: raw.bytes.as_ref().map(rate).transpose().map_err(within("bytes"))?,
    })
}

fn per_connection(raw: Option<&Limit<RawPerConnection>>, typed: bool) -> Built<ConnectionLimits> {
    let raw = match raw {
        None => &RawPerConnection::default(),
        Some(Limit::At(raw)) => raw,
        Some(Limit::Off) => return Ok(ConnectionLimits::default()),
    };
    let mut by_type = BTreeMap::new();
    for (name, raw) in raw.by_type.iter().flatten() {
        by_type.insert(name.clone(), rate(raw).map_err(|error| error.under(name).within("by_type"))?);
    }
    let limits = ConnectionLimits {
        messages: limited_rate("messages", raw.messages.as_ref(), Rate::new(50.0, 200))?,
        bytes: limited_rate("bytes", raw.bytes.as_ref(), Rate::new(262_144.0, 1_048_576))?,
        by_type: Rc::new(by_type),
    };
    if !limits.by_type.is_empty() && !typed {
        return Err(ConfigError::new("by_type", "needs messages.from_client.json.discriminator"));
    }
    Ok(limits)
}

fn global(raw: &RawGlobal) -> Built<GlobalLimits> {
    let timeout = raw.timeout.map_or(Duration::from_millis(50), |Span(span)| span);
    if !(Duration::from_millis(1)..=ANSWER_TIMEOUT_MAX).contains(&timeout) {
        return Err(ConfigError::new("timeout", "from 1ms to 10m"));
    }
    Ok(GlobalLimits {
        cluster: named("cluster", raw.cluster.as_deref())?,
        domain: named("domain", raw.domain.as_deref().or(Some("portcullis")))?,
        timeout,
        on_error: raw.on_error.unwrap_or(Access::Allow),
        message_batch: raw.message_batch.map(|count| small("message_batch", count)).transpose()?,
    })
}

fn named(key: &str, name: Option<&str>) -> Built<String> {
    name.filter(|name| !name.is_empty()).map(str::to_owned).ok_or_else(|| ConfigError::new(key, "is required"))
}

fn count(key: &str, raw: Option<&Limit<Count>>, default: u32) -> Built<Option<u32>> {
    match raw {
        None => Ok(Some(default)),
        Some(Limit::Off) => Ok(None),
        Some(Limit::At(count)) => small(key, *count).map(Some),
    }
}

/// A count of at least one; beyond four billion it is none.
fn small(key: &str, count: Count) -> Built<u32> {
    positive(key, Some(count), 1).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

fn limited_rate(key: &str, raw: Option<&Limit<RawRate>>, default: Option<Rate>) -> Built<Option<Rate>> {
    match raw {
        None => Ok(default),
        Some(Limit::Off) => Ok(None),
        Some(Limit::At(raw)) => rate(raw).map(Some).map_err(within(key)),
    }
}

fn rate(raw: &RawRate) -> Built<Rate> {
    let per_second = raw.per_second.ok_or_else(|| ConfigError::new("per_second", "is required"))?;
    // Nobody can say one thing twice a second who may not say two at once.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast to an integer saturates")]
    let default = per_second.ceil().max(1.0) as u64;
    let burst = positive("burst", raw.burst, default)?;
    Rate::new(per_second, burst).ok_or_else(|| ConfigError::new("per_second", "must be more than 0"))
}

#[cfg(test)]
mod tests;
