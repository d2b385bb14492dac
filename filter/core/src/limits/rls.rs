//! What is said between the filter and Envoy's rate limit service, in its binary form.
//!
//! Only that: when it is asked, and what becomes of a call without an answer, is decided elsewhere. The messages are
//! [`envoy/service/ratelimit/v3/rls.proto`](https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto)'s.
//! A server may well know more of them than we do: fields that nobody here knows are passed over.
//!
//! ```text
//! RateLimitRequest    { string domain = 1, repeated Descriptor descriptors = 2, uint32 hits_addend = 3 }
//! Descriptor          { repeated Entry entries = 1 }            Entry { string key = 1, string value = 2 }
//! RateLimitResponse   { Code overall_code = 1, repeated DescriptorStatus statuses = 2, … }
//! DescriptorStatus    { Code code = 1, …, Duration duration_until_reset = 4, … }
//! Code                OK = 1, OVER_LIMIT = 2                    Duration { int64 seconds = 1, int32 nanos = 2 }
//! ```

use core::time::Duration;

use super::rules::GlobalLimits;
use crate::ask::{Answer, Question};
use crate::protobuf::{Field, field, push_bytes, push_varint};

/// The service's full name.
pub const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// The one method of it.
pub const METHOD: &str = "ShouldRateLimit";

/// A question: may this happen so many times more?
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The domain whose limits they are, among all that ask the service.
    pub domain: &'a str,
    /// What happens: the service counts each of these on its own, by its keys and values together.
    pub descriptors: &'a [&'a [(&'a str, &'a str)]],
    /// How many times. The service takes 0 for 1.
    pub hits_addend: u32,
}

/// The `GrpcService` (`envoy.config.core.v3`) that the proxy reaches through one of its clusters: `{ EnvoyGrpc { cluster_name = 1 } = 1 }`.
fn service_of(cluster: &str) -> Vec<u8> {
    let (mut envoy_grpc, mut service) = (Vec::new(), Vec::new());
    push_bytes(&mut envoy_grpc, 1, cluster.as_bytes());
    push_bytes(&mut service, 1, &envoy_grpc);
    service
}

/// Asks the service that counts by `global` whether what `descriptors` say may happen `hits_addend` times more.
#[must_use]
pub fn question(global: &GlobalLimits, descriptors: &[&[(&str, &str)]], hits_addend: u32) -> Question {
    Question::RateLimit {
        service: service_of(&global.cluster),
        message: Request { domain: &global.domain, descriptors, hits_addend }.encode(),
        timeout: global.timeout,
    }
}

/// What the service said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Whether it may happen.
    pub allowed: bool,
    /// How long until all limits that are exceeded begin anew; `None` where nothing is, or the service does not say it.
    pub retry_after: Option<Duration>,
}

impl Request<'_> {
    /// The `RateLimitRequest`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut request = Vec::new();
        push_bytes(&mut request, 1, self.domain.as_bytes());
        for entries in self.descriptors {
            let mut descriptor = Vec::new();
            for (key, value) in *entries {
                let mut entry = Vec::new();
                push_bytes(&mut entry, 1, key.as_bytes());
                push_bytes(&mut entry, 2, value.as_bytes());
                push_bytes(&mut descriptor, 1, &entry);
            }
            push_bytes(&mut request, 2, &descriptor);
        }
        push_varint(&mut request, 3, self.hits_addend.into());
        request
    }
}

/// The longest answer that is read, in bytes. One status takes some thirty, and a request of ours has a few descriptors; what
/// goes beyond are headers and metadata, which a server may add and which have no use here.
pub const ANSWER_LEN_MAX: usize = 65_536;

/// What an answer to a [`Question`] says; `None` where there is none, or one that says neither yes nor no.
#[must_use]
pub fn verdict(answer: &Answer) -> Option<Verdict> {
    match answer {
        Answer::Grpc(bytes) => decode(bytes),
        Answer::Http(_) | Answer::None | Answer::Shared => None,
    }
}

/// The `RateLimitResponse` in `bytes`; `None` when there is none, or one that says neither yes nor no.
#[must_use]
pub fn decode(mut bytes: &[u8]) -> Option<Verdict> {
    if bytes.len() > ANSWER_LEN_MAX {
        return None;
    }
    let (mut overall, mut retry_after) = (Code::Unknown, None);
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Field::Varint(code)) => overall = Code::new(code),
            // `None` is less than any span.
            (2, Field::Bytes(status)) => retry_after = retry_after.max(until_reset(status)?),
            _ => {}
        }
    }
    match overall {
        Code::Ok => Some(Verdict { allowed: true, retry_after: None }),
        Code::OverLimit => Some(Verdict { allowed: false, retry_after }),
        Code::Unknown => None,
    }
}

/// How long until the limit of this `DescriptorStatus` begins anew, where it is exceeded and says it. The outer `None`: there is no
/// status in `bytes`.
fn until_reset(mut bytes: &[u8]) -> Option<Option<Duration>> {
    let (mut code, mut span) = (Code::Unknown, None);
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Field::Varint(value)) => code = Code::new(value),
            (4, Field::Bytes(value)) => span = duration(value)?,
            _ => {}
        }
    }
    Some(span.filter(|_| code == Code::OverLimit))
}

/// The `google.protobuf.Duration` in `bytes`, unless it is negative or over its bounds. The outer `None`: there is none.
fn duration(mut bytes: &[u8]) -> Option<Option<Duration>> {
    let (mut seconds, mut nanos) = (0, 0);
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Field::Varint(value)) => seconds = value,
            (2, Field::Varint(value)) => nanos = value,
            _ => {}
        }
    }
    // "Must be from -315,576,000,000 to +315,576,000,000 inclusive", and nanos "to +999,999,999" (duration.proto). A
    // negative number is, as a varint, greater than all of these.
    let is_valid = seconds <= SECONDS_MAX && nanos <= NANOS_MAX;
    Some(is_valid.then(|| Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos))))
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Code {
    Ok,
    OverLimit,
    Unknown,
}

impl Code {
    const fn new(value: u64) -> Self {
        match value {
            1 => Self::Ok,
            2 => Self::OverLimit,
            _ => Self::Unknown,
        }
    }
}

/// Ten thousand years.
const SECONDS_MAX: u64 = 315_576_000_000;
const NANOS_MAX: u64 = 999_999_999;

#[cfg(test)]
mod tests;
