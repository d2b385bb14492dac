//! The operator's policy, validated and immutable.
//!
//! Made by [`crate::config`], shared by every session that it applies to. The names follow the keys of the
//! configuration; what each means is said there and in filter/POLICY.md.

pub mod routes;

use std::rc::Rc;

use crate::cluster::{Bindings, Cluster};
use crate::content::ContentRules;
use crate::content::credential::CredentialMessages;
use crate::http::authority::AuthorityPattern;
use crate::http::origin::OriginRules;
use crate::limits::rules::LimitRules;
use crate::liveness::LivenessRules;
use crate::message::MessageRules;
use crate::modes::Modes;
use crate::negotiation::{Compression, SubprotocolRules};
use crate::telemetry::spikes::SpikeRules;
use crate::token::rules::AuthRules;
use crate::wire::Sides;

/// What a fault of ours or of the proxy does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fail {
    /// The handshake or connection is refused.
    Closed,
    /// It passes without being judged.
    Open,
}

/// What becomes of requests that are no upgrade.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NonWebsocket {
    /// What is asked of an upgrade before it opens is asked of them.
    Authenticate,
    /// They pass.
    Pass,
    /// They do not.
    Refuse,
}

/// How much the proxy buffers of what it reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BufferLimits {
    /// It is not known.
    Default,
    /// A read of the cluster's side is at most half of what the listener's side buffers.
    Halved,
}

/// Everything that is decided about one virtual place.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether violations are refused.
    pub modes: Modes,
    /// What our own faults do.
    pub fail: Fail,
    /// Whether an upgrade has to come over TLS.
    pub require_tls: bool,
    /// Whether `x-forwarded-proto` may stand for TLS.
    pub trust_forwarded_proto: bool,
    /// What the proxy buffers.
    pub buffer_limits: BufferLimits,
    /// Requests that are no upgrade.
    pub non_websocket: NonWebsocket,
    /// The authorities that are served; none means all.
    pub hosts: Vec<AuthorityPattern>,
    /// The origins that may ask.
    pub origin: OriginRules,
    /// Which subprotocols may be negotiated.
    pub subprotocols: SubprotocolRules,
    /// What a client has to prove.
    pub auth: Rc<AuthRules>,
    /// The messages in which it may prove it, where there are some.
    pub credentials: Option<Rc<CredentialMessages>>,
    /// The messages of each side.
    pub messages: Sides<SideRules>,
    /// Whether messages may be compressed.
    pub compression: Compression,
    /// How much, of everything that is counted.
    pub limits: LimitRules,
    /// How long, of everything that takes time.
    pub liveness: LivenessRules,
    /// What is logged.
    pub log: LogRules,
}

impl Policy {
    /// Whether there is an envelope for what is said on a connection with this subprotocol; empty for none.
    #[must_use]
    pub fn admits(&self, subprotocol: &str) -> bool {
        self.messages.iter().all(|side| side.content.envelope.of(subprotocol).is_some())
    }

    /// Sees each cluster that it names.
    fn see_clusters(&self, see: &mut dyn FnMut(&Cluster)) {
        self.auth.see_clusters(see);
        self.limits.global.iter().for_each(|global| see(&global.cluster));
    }

    /// The same with the names that `bindings` have for the aliases of its clusters.
    fn bound(&self, bindings: &Bindings) -> Self {
        let mut bound = self.clone();
        Rc::make_mut(&mut bound.auth).bind(bindings);
        bound.limits.global.iter_mut().for_each(|global| global.cluster.bind(bindings));
        bound
    }

    /// How many of its parts are only monitored, and rules of parts that are not.
    #[must_use]
    pub fn monitored_count(&self) -> usize {
        let sides = [
            (&self.modes.messages.client, &self.messages.client),
            (&self.modes.messages.server, &self.messages.server),
        ];
        let enforced = sides.into_iter().filter(|(modes, _)| modes.own.enforces());
        let rules = enforced.map(|(_, side)| {
            let SideRules { content, .. } = side;
            let patterns = content.patterns.as_ref().map_or(0, |patterns| patterns.monitored_count());
            patterns.saturating_add(content.authorize.monitored_count())
        });
        rules.fold(self.modes.monitored_count(), usize::saturating_add)
    }

    /// A type of the client's messages as it is counted: one that the policy does not name counts as none, since a client could make up any.
    #[must_use]
    pub fn counted_type<'a>(&self, kind: &'a str) -> &'a str {
        let has_schema = self.messages.client.content.names_type(kind);
        let is_named = has_schema || self.limits.per_connection.by_type.contains_key(kind);
        if is_named { kind } else { "" }
    }

    /// Whether the first message of a client that has no credential may bring one.
    #[must_use]
    pub fn awaits_first_message(&self) -> bool {
        self.credentials.as_ref().is_some_and(|messages| messages.first.is_some())
    }

    /// Whether messages are judged by what the client's token says.
    #[must_use]
    pub fn read_claims(&self) -> bool {
        self.messages.iter().any(|side| !side.content.authorize.is_empty())
    }
}

/// What the messages of one side have to be.
#[derive(Clone, Debug)]
pub struct SideRules {
    /// What they may be.
    pub rules: MessageRules,
    /// What they may say.
    pub content: Rc<ContentRules>,
}

/// What a policy logs.
#[derive(Clone, Copy, Debug)]
pub struct LogRules {
    /// One line for each connection that opened, and one for its end.
    pub connections: bool,
    /// One line for each refusal.
    pub refusals: bool,
    /// What is told as out of the ordinary, where it is.
    pub spikes: Option<SpikeRules>,
}
