//! What Portcullis decides: about an upgrade, then about every frame.
//!
//! Sans-IO: this crate takes values and returns values. It knows no proxy, no clock, no randomness, no log and no
//! environment; they come in as arguments. The adapter (package `portcullis`) gathers them, calls once, and applies
//! what comes back.
//!
//! ```text
//! L0  access letter time secret violation                                values
//! L1  wire/{header,mask,utf8,deflate,close}   http/{headers,list,…}  regex
//!     protobuf                                                           bytes in, values out
//! L2  json/{reader,schema}  content/{patterns,views,tunnels,envelope,authorize}
//!     limits/{rate,address,…}  liveness  message  negotiation  timers
//!     ratelimit  token/{jws,claims,keys}  succession                     what values mean
//! L3  policy  entry  verdict  turn                                       what is allowed, what was decided
//! L4  handshake  session/{direction,…}  config                           the state machines and the way in
//! ```
//!
//! A module imports only from its own or a lower layer.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
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
pub mod config;
pub mod content;
pub mod entry;
pub mod handshake;
pub mod http;
pub mod json;
mod letter;
pub mod limits;
pub mod liveness;
pub mod message;
pub mod negotiation;
pub mod policy;
mod protobuf;
pub mod ratelimit;
pub mod regex;
pub mod secret;
pub mod session;
pub mod succession;
pub mod time;
pub mod timers;
pub mod token;
pub mod turn;
pub mod verdict;
pub mod violation;
pub mod wire;
