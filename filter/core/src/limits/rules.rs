//! How much: the limits of a policy, on whatever is counted.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::rate::Rate;
use super::table::FailureRules;
use crate::access::Access;
use crate::cluster::Cluster;
use crate::json::name::is_same;

/// The limits of a policy; `None` is no limit.
#[derive(Clone, Debug)]
pub struct LimitRules {
    /// Of one address, over all workers.
    pub per_address: AddressLimits,
    /// Of one subject, over all its connections and all workers.
    pub per_subject: SubjectLimits,
    /// Of what one client sends.
    pub per_connection: ConnectionLimits,
    /// Live connections of this proxy.
    pub connections: Option<u32>,
    /// How much the connections of one worker may hold for judgement, in bytes.
    pub held_len_max: u64,
    /// What becomes of a message that is too much.
    pub on_excess: OnExcess,
    /// The service that counts for a fleet.
    pub global: Option<GlobalLimits>,
}

/// How much one address may ask for.
#[derive(Clone, Copy, Debug)]
pub struct AddressLimits {
    /// How many bits of an IPv6 address one client has.
    pub ipv6_prefix: u8,
    /// Live connections.
    pub connections: Option<u32>,
    /// Handshakes.
    pub handshakes: Option<Rate>,
    /// Failed handshakes, and the ban that follows.
    pub failures: Option<FailureRules>,
}

impl AddressLimits {
    /// Whether anything is limited.
    #[must_use]
    pub const fn is_some(&self) -> bool {
        self.connections.is_some() || self.handshakes.is_some() || self.failures.is_some()
    }
}

/// How much one subject may have and send.
#[derive(Clone, Copy, Debug)]
pub struct SubjectLimits {
    /// Live connections.
    pub connections: Option<u32>,
    /// Messages and control frames.
    pub messages: Option<Rate>,
    /// Bytes of payload.
    pub bytes: Option<Rate>,
}

/// How much one client may send over one connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLimits {
    /// Messages and control frames.
    pub messages: Option<Rate>,
    /// Bytes of payload.
    pub bytes: Option<Rate>,
    /// Messages of some types.
    pub by_type: Rc<BTreeMap<String, Rate>>,
}

impl ConnectionLimits {
    /// A type as a limit names it; `folds` where the case of letters says nothing.
    #[must_use]
    pub fn known_type<'a>(&'a self, kind: &'a str, folds: bool) -> &'a str {
        if !folds || self.by_type.contains_key(kind) {
            return kind;
        }
        self.by_type.keys().find(|name| is_same(name, kind)).map_or(kind, String::as_str)
    }
}

/// What becomes of a message that is too much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnExcess {
    /// It ends the connection.
    Close,
    /// It is swallowed.
    Drop,
}

/// A rate limit service (`envoy.service.ratelimit.v3`).
#[derive(Clone, Debug)]
pub struct GlobalLimits {
    /// The cluster of the proxy that it is reached by.
    pub cluster: Cluster,
    /// The domain that its limits are under.
    pub domain: String,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// What happens without an answer.
    pub on_error: Access,
    /// How many messages of a subject it is asked for at once; `None` leaves messages to us.
    pub message_batch: Option<u32>,
}
