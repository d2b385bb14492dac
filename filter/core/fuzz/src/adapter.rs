//! How to drive the core: the one file to change when its interface does.

use std::rc::Rc;

use portcullis_core::config;
use portcullis_core::handshake::{self, Decision, HttpVersion, Opening, Request};
use portcullis_core::http::headers::Headers;
use portcullis_core::negotiation::Compression;
use portcullis_core::policy::routes::Policies;
use portcullis_core::session::{Birth, Budget, Overlooked, Received, Session};
use portcullis_core::time::{Moment, Timestamp};
use portcullis_core::violation::Violation;
use portcullis_core::wire::Side;
use serde_json::Value;

/// The time of every check, in seconds since the epoch.
pub(crate) const NOW: u64 = 1_800_000_000;

/// How every connection comes up.
pub(crate) const BIRTH: Birth = Birth { at: Moment::from_nanos(0), nonce: *b"\x7f\xffnonce!" };

/// A clock that stands still, and others' counts that nothing exceeds.
struct Unlimited;

impl Budget for Unlimited {
    fn now(&self) -> Moment {
        BIRTH.at
    }

    fn spend(&self, _: u64, _: u64) -> bool {
        true
    }

    fn ask(&self, _: &str) -> bool {
        true
    }
}

/// Reads a configuration whose variables are all 64 bytes long.
pub(crate) fn policies(config: &Value) -> Policies {
    let parsed = config::parse(config.to_string().as_bytes(), &|_| Some("v".repeat(64)));
    parsed.unwrap_or_else(|error| panic!("{error}: {config}")).policies
}

/// Decides about a request, now.
pub(crate) fn check(policies: &Policies, request: &Request) -> Opening {
    handshake::check(policies, request, &Rc::default(), Timestamp::from_secs(NOW), &mut |_, _| Ok(()))
}

/// A live connection under `policies`, which let everybody in; compressed where they allow it.
pub(crate) fn session(policies: &Policies) -> Session {
    let mut request = vec![
        (":method", "GET"),
        (":path", "/chat"),
        (":authority", "chat.example.com"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("origin", "https://app.example.com"),
    ];
    let mut response = vec![
        (":status", "101"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];
    if policies.base().compression != Compression::Refuse {
        for fields in [&mut request, &mut response] {
            fields.push(("sec-websocket-extensions", "permessage-deflate"));
        }
    }
    let request =
        Request { headers: headers(&request), protocol: HttpVersion::Http11, tls: true, end: false, nonce: [0; 16] };
    match check(policies, &request).decision {
        Decision::Upgrade(pending) => pending.check(&headers(&response), BIRTH).expect("a good answer").session,
        decision @ (Decision::Admit | Decision::Pass | Decision::Refuse(_)) => panic!("{decision:?}"),
    }
}

fn headers(fields: &[(&str, &str)]) -> Headers {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    Headers::new(fields.collect())
}

/// Gives a chunk to a session: what goes on, the violation in it, and those that monitor mode lets pass.
pub(crate) fn receive(
    session: &mut Session,
    from: Side,
    chunk: &[u8],
) -> (Vec<u8>, Option<Violation>, Vec<Overlooked>) {
    let received = session.receive(from, chunk, BIRTH.at, &Unlimited).expect("a readable chunk");
    (forwarded(&received, chunk), received.violation, received.overlooked)
}

/// Likewise for a client at its time, within what others count; also how much was swallowed.
pub(crate) fn receive_within(
    session: &mut Session,
    chunk: &[u8],
    now: Moment,
    budget: &dyn Budget,
) -> (Vec<u8>, Option<Violation>, u32) {
    let received = session.receive(Side::Client, chunk, now, budget).expect("a readable chunk");
    (forwarded(&received, chunk), received.violation, received.swallowed)
}

fn forwarded(received: &Received, chunk: &[u8]) -> Vec<u8> {
    let passage = &received.passage;
    [passage.before.as_slice(), &chunk[..passage.keep], passage.after.as_slice()].concat()
}
