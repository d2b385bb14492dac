//! The filter in a real Envoy, with raw sockets on both sides: what no host of our own can prove.
//!
//! Envoy runs where `$PORTCULLIS_ENVOY_RUNNER` says, as a process or in a container; the tests are the same. Each starts an
//! Envoy of its own, so that it may expect every counter of the filter to the last one.
//!
//! ```text
//! client (raw bytes) ──▶ Envoy + portcullis.wasm ──▶ backend (writes down every byte)
//! refusals     the table of answers before the upgrade, row by row      credentials  where tokens are, and are not
//! frames       the table of close codes, both sides                     integrity    bytes in, the same bytes out
//! routes       one policy for each request, however it is written
//! operations   reload, monitor mode, workers                            compression  permessage-deflate
//! conformance  the cases of the Autobahn suite                         http2        the same over HTTP/2, stream by stream
//! closes       the close code, 1,000 times                  content      what messages say, however it is carried
//! limits       who may come in, and how often                            rates        how much those send who are in
//! liveness     who is gone, silent, slow or old          traps        what becomes of an Envoy whose VM was killed
//! ratelimit    a rate limit service for a fleet, and what the core says to it
//! fleet        two Envoys that count by it, and what they do without
//! tickets      issued to a page and redeemed once, by whichever worker or Envoy
//! lookups      credentials that only a service can read
//! neighbours   how long a worker is kept from its other connections
//! signatures   Envoy's own checks of signatures, and whether they say what ours say
//! chain        other filters before it and behind it
//! soak         everything at once, for an hour where one asks for it
//! access_log   what Envoy's own log tells of a connection
//! first_message  clients that say who they are when they are connected
//! ```

mod access_log;
mod chain;
mod closes;
mod compression;
mod conformance;
mod content;
mod credentials;
mod ends;
mod first_message;
mod fleet;
mod frames;
mod gate;
mod http2;
mod idp;
mod integrity;
mod keys;
mod limits;
mod liveness;
mod lookups;
mod neighbours;
mod operations;
mod ratelimit;
mod rates;
mod refusals;
mod reload;
mod revocation;
mod routes;
mod secrets;
mod signatures;
mod soak;
mod tickets;
mod tokens;
mod traps;
mod upstream;
