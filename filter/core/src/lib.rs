//! What Portcullis decides: about an upgrade, then about every frame.
//!
//! Sans-IO: this crate takes values and returns values. It knows no proxy, no clock, no randomness, no log and no
//! environment; they come in as arguments. A skin (package `portcullis` for proxy-wasm) gathers them, calls once, and carries out what
//! comes back.
//!
//! ```text
//! config bytes ── config::parse ──▶ Plugin (policies; live connections follow the newest)
//! host ── skin gathers ──▶ Gate::{request, response, body, answered, tick, take_turn, end} ──▶ Effects, in order ── skin carries out ──▶ host
//!                            │ handshake   │ session                                          ▲
//!                            └─────────────┴── what is at hand at once: Port (clocks, shared counters) ──┘
//! ```
//!
//! ```
//! use std::rc::Rc;
//!
//! use portcullis_core::cluster::Bindings;
//! use portcullis_core::effect::{Effect, Effects, Flow};
//! use portcullis_core::gate::{Arrival, Gate, Plugin, Worker};
//! use portcullis_core::{config, testing};
//!
//! let plugin = Plugin::new(Rc::new(Worker::new(Rc::new(testing::MemoryPort::default()))));
//! let policy = br#"{"require_tls": false, "auth": {"required": false}, "origin": {"allow": ["https://app.example.com"]}}"#;
//! let parsed = config::parse(policy, &|_| None).expect("a good policy");
//! plugin.configure(b"chat".to_vec(), parsed, 0, testing::MOMENT).expect("a host that shares data");
//!
//! let mut gate = Gate::new(1, Rc::new(plugin));
//! let mut head = testing::upgrade();
//! head.push(("origin", "https://evil.example"));
//! let request = testing::request(testing::headers(&head));
//! let mut effects = Effects::default();
//! let flow = gate.request(Arrival { request: Ok(request), listener: vec![], connection: 1, bindings: Bindings::default() }, &mut effects);
//! // It stays where it is; what is done is to log, to count, and to answer.
//! assert_eq!(flow, Flow::Hold);
//! let Some(Effect::Reply(reply)) = effects.list.last() else { panic!("no answer") };
//! assert_eq!((reply.status, &*reply.details), (403, "portcullis_origin_refused"));
//! ```
//!
//! The layers:
//!
//! ```text
//! L0  access ask cluster effect ids letter port refusal secret time violation    values, and what a skin answers at once
//! L1  wire/{header,mask,utf8,deflate,close}   http/{headers,list,…}  regex
//!     protobuf                                                           bytes in, values out
//! L2  json/{reader,schema}  content/{patterns,views,tunnels,envelope,authorize}
//!     limits/{rate,counters,admission,lease,rls,…}  liveness  message
//!     negotiation  timers  token/{jws,claims,keys}  identity  succession what values mean
//! L3  policy  entry  record  turn                                        what is allowed, what is told
//! L4  handshake  session/{direction,…}                                   the judgement of requests, and of frames
//! L5  gate/{worker,connection}  config                                   one stream from its request to its end, and the way in
//! ```
//!
//! A module imports only from its own or a lower layer.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(any(test, feature = "testing")),
    deny(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::dbg_macro,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used,
    )
)]

pub mod access;
pub mod ask;
pub mod cluster;
pub mod config;
pub mod content;
pub mod docket;
pub mod effect;
pub mod entry;
pub mod gate;
pub mod handshake;
pub mod http;
pub mod identity;
pub mod ids;
pub mod json;
mod letter;
pub mod limits;
pub mod liveness;
pub mod message;
pub mod mode;
pub mod modes;
pub mod negotiation;
pub mod policy;
pub mod port;
mod protobuf;
pub mod record;
pub mod refusal;
pub mod regex;
pub mod secret;
pub mod session;
pub mod succession;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod timers;
pub mod token;
pub mod turn;
pub mod violation;
pub mod wire;
