//! Everything around a real Envoy: finds or fetches one, runs it with Portcullis before a backend, changes its policy while
//! it runs, reads its counters and its log.
//!
//! For tests, the demo and benchmarks. What runs are the configurations that operators get (`config/*.yaml`), changed only
//! in places that an operator edits. Everything is synchronous, and on loopback.
//!
//! ```text
//! binary ──envoy──┐                       ┌── process      a child of this process
//! module ──wasm───┼─▶ Launch ── runner ──▶┤                               ──▶ Envoy: address, stats, log, update_policy
//! config ──json───┘                       └── container    (feature `container`)
//! ```
//!
//! | variable | what it says |
//! |---|---|
//! | `ENVOY_BIN` | the Envoy to run |
//! | `PORTCULLIS_CACHE` | where a fetched Envoy is kept |
//! | `PORTCULLIS_ENVOY_VERSION` | the release of Envoy to fetch and run, in place of one on the `PATH` |
//! | `PORTCULLIS_ENVOY_IMAGE` | the image, `name:tag`, to run in a container instead of one that is built here |
//! | `PORTCULLIS_ENVOY_RUNNER` | `process` or `container`, where a [`Launch`] does not say it |

mod admin;
pub mod binary;
pub mod config;
#[cfg(feature = "container")]
pub mod container;
mod error;
#[cfg(feature = "tool")]
pub mod explain;
mod files;
mod instance;
mod launch;
pub mod module;
#[cfg(feature = "peer")]
pub mod peer;
mod process;
mod runner;
mod scratch;

pub use config::{BufferLimits, FailurePolicy, Position};
pub use error::Error;
pub use instance::{Envoy, Update};
pub use launch::Launch;
pub use runner::Runner;
