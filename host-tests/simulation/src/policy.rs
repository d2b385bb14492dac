//! Policies, and what the model knows of them without the core.

use std::cell::RefCell;
use std::collections::BTreeMap;

use portcullis_core::config::{self, Parsed};
use portcullis_core::wire::Side;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::identity::{KEYS_PATH, LOGOUT_PATH, SECRET, SKEW, TICKET_PATH, TICKET_TTL};

/// How many kinds of messages a policy is about, and how many kinds of everything else: each pair of them is a policy.
pub(crate) const KINDS: usize = 48;

/// What a policy says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) is_monitor: bool,
    pub(crate) client: Messages,
    pub(crate) server: Messages,
    pub(crate) is_fail_open: bool,
    pub(crate) needs_credential: bool,
    /// The issuer publishes its keys.
    pub(crate) is_published: bool,
    /// A connection may outlive its token.
    pub(crate) outlives_token: bool,
    pub(crate) has_tickets: bool,
    pub(crate) has_logout: bool,
    /// Another list of origins, which a reload may bring.
    pub(crate) is_elsewhere: bool,
    pub(crate) per_address: u32,
    pub(crate) per_subject: u32,
    pub(crate) in_all: u32,
    /// The most handshakes of an address at once; 0: any number.
    pub(crate) handshakes: u64,
    /// The failures that ban an address.
    pub(crate) failures: u32,
    /// The most messages and control frames at once.
    pub(crate) burst: u64,
    pub(crate) is_dropped: bool,
    pub(crate) global: Global,
    pub(crate) has_little_room: bool,
    pub(crate) pings: bool,
    pub(crate) is_short_lived: bool,
}

/// What the messages of one side may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Messages {
    pub(crate) message_len_max: u64,
    pub(crate) frame_len_max: u64,
    pub(crate) fragments_max: u64,
    pub(crate) binary: bool,
    pub(crate) depth: Depth,
    pub(crate) tunnels_refused: bool,
}

/// How far messages are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Depth {
    Headers,
    Json,
    Pattern,
    Utf8,
    Whole,
}

/// What a service is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Global {
    Nothing,
    Handshakes { open: bool },
    Messages { open: bool },
}

/// How late a tick may be, in milliseconds: the core takes the last one for the time at which bytes come.
pub(crate) const LATE_MILLIS: u64 = 2_600;

/// The times of a short-lived policy, in milliseconds.
pub(crate) const IDLE_MILLIS: u64 = 8_000;
/// Less its jitter.
pub(crate) const LIFETIME_MILLIS: u64 = 13_500;
pub(crate) const MESSAGE_MILLIS: u64 = 4_000;
pub(crate) const PONG_MILLIS: u64 = 3_000;

impl Messages {
    fn new(dice: &Dice) -> Self {
        let depth = dice.pick(&[Depth::Headers, Depth::Json, Depth::Pattern, Depth::Utf8, Depth::Utf8, Depth::Whole]);
        Self {
            message_len_max: dice.pick(&[60, 300, 300, 4_000, 100_000]),
            frame_len_max: dice.pick(&[50, 200, 4_000, 100_000]),
            fragments_max: dice.pick(&[2, 3, 64]),
            binary: dice.one_in(2),
            depth,
            tunnels_refused: dice.one_in(4),
        }
    }

    fn written(&self) -> Value {
        let mut written = json!({
            "max_message_bytes": self.message_len_max,
            "max_frame_bytes": self.frame_len_max.min(self.message_len_max),
            "max_fragments": self.fragments_max,
            "binary": if self.binary { "allow" } else { "refuse" },
            "utf8": self.depth != Depth::Headers,
            "tunnels": if self.tunnels_refused { "refuse" } else { "allow" },
        });
        match self.depth {
            Depth::Headers | Depth::Utf8 => {}
            Depth::Json => written["json"] = json!({}),
            Depth::Pattern => written["deny_patterns"] = json!([{"name": "word", "regex": "forbidden"}]),
            Depth::Whole => written["whole"] = json!(true),
        }
        written
    }
}

impl Terms {
    pub(crate) const fn of(&self, side: Side) -> &Messages {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    fn new(messages: usize, others: usize) -> Self {
        let dice = &Dice::new(messages as u64);
        let (is_monitor, client, server) = (dice.one_in(5), Messages::new(dice), Messages::new(dice));
        let dice = &Dice::new(1_000 + others as u64);
        let open = dice.one_in(2);
        let identity = &Dice::new(2_000 + others as u64);
        Self {
            is_monitor,
            client,
            server,
            is_fail_open: dice.one_in(4),
            needs_credential: !dice.one_in(3),
            is_published: identity.one_in(3),
            outlives_token: identity.one_in(4),
            has_tickets: identity.one_in(2),
            has_logout: identity.one_in(2),
            is_elsewhere: dice.one_in(6),
            per_address: dice.pick(&[1, 3, 20]),
            per_subject: dice.pick(&[1, 2, 10]),
            in_all: dice.pick(&[2, 4, 50]),
            handshakes: dice.pick(&[0, 0, 3]),
            failures: dice.pick(&[2, 10]),
            burst: dice.pick(&[8, 1_000, 1_000]),
            is_dropped: dice.one_in(3),
            global: dice.pick(&[
                Global::Nothing,
                Global::Nothing,
                Global::Nothing,
                Global::Handshakes { open },
                Global::Messages { open },
            ]),
            has_little_room: dice.one_in(4),
            pings: dice.one_in(2),
            is_short_lived: dice.one_in(3),
        }
    }

    fn written(&self) -> Value {
        let Self { global, .. } = self;
        let service = |open: bool| json!({"cluster": "rls", "timeout": "200ms", "on_error": if open { "allow" } else { "refuse" }});
        let global = match *global {
            Global::Nothing => Value::Null,
            Global::Handshakes { open } => service(open),
            Global::Messages { open } => {
                let mut service = service(open);
                service["message_batch"] = json!(4);
                service
            }
        };
        let header = json!({"header": "authorization"});
        let (algorithm, jwks) = match self.is_published {
            true => (
                "EdDSA",
                json!({"cluster": "idp", "url": format!("https://idp.example.com{KEYS_PATH}"), "refresh": "10s"}),
            ),
            false => ("HS256", json!({"secret": {"inline": SECRET}})),
        };
        let rate = |burst: u64| json!({"per_second": burst, "burst": burst});
        json!({
            "mode": if self.is_monitor { "monitor" } else { "enforce" },
            "fail": if self.is_fail_open { "open" } else { "closed" },
            "require_tls": false,
            "origin": {"allow": [if self.is_elsewhere { "https://other.example.com" } else { "https://*.example.com" }]},
            "auth": {
                "required": self.needs_credential,
                "sources": if self.has_tickets { json!([header, {"ticket": "ticket"}]) } else { json!([header]) },
                "tickets": self.has_tickets.then(|| json!({
                    "path": TICKET_PATH,
                    "ttl": format!("{TICKET_TTL}s"),
                    "keys": [{"inline": "a secret that seals, of more than 32 bytes"}],
                })),
                "back_channel_logout": self.has_logout.then(|| json!({"path": LOGOUT_PATH, "provider": "corp"})),
                "providers": [{
                    "name": "corp",
                    "issuer": "https://idp.example.com/",
                    "audiences": ["chat"],
                    "algorithms": [algorithm],
                    "jwks": jwks,
                    "clock_skew": format!("{SKEW}s"),
                }],
                "on_expiry": if self.outlives_token { "ignore" } else { "close" },
            },
            "messages": {"from_client": self.client.written(), "from_server": self.server.written()},
            "limits": {
                "per_address": {
                    "connections": self.per_address,
                    "handshakes": if self.handshakes == 0 { Value::Null } else { rate(self.handshakes) },
                    "failures": {"count": self.failures, "window": "60s", "ban": "2s"},
                },
                "per_subject": {"connections": self.per_subject},
                "per_connection": {"messages": rate(self.burst)},
                "connections": self.in_all,
                "held_bytes": if self.has_little_room { 12_000 } else { 67_108_864 },
                "on_excess": if self.is_dropped { "drop" } else { "close" },
                "global": global,
            },
            "liveness": if self.is_short_lived {
                json!({
                    "ping_interval": if self.pings { "1s" } else { "0s" },
                    "pong_timeout": "3s",
                    "idle_timeout": "8s",
                    "message_timeout": "4s",
                    "max_lifetime": "15s",
                })
            } else {
                json!({"ping_interval": if self.pings { "1s" } else { "0s" }, "pong_timeout": "600s"})
            },
        })
    }
}

thread_local! {
    static READ: RefCell<BTreeMap<(usize, usize), Parsed>> = const { RefCell::new(BTreeMap::new()) };
}

/// A policy for some messages that says something of everything else; each is read once.
pub(crate) fn policy(messages: usize, others: usize) -> (Terms, Parsed) {
    let terms = Terms::new(messages, others);
    let parsed = READ.with_borrow_mut(|read| {
        let parsed = read.entry((messages, others)).or_insert_with(|| {
            let written = terms.written().to_string();
            config::parse(written.as_bytes(), &|_| None).unwrap_or_else(|error| panic!("{error}: {written}"))
        });
        Parsed { policies: parsed.policies.clone(), revision: None, memory: parsed.memory, warnings: vec![] }
    });
    (terms, parsed)
}
