//! How to drive the core: the one file to change when its interface does.

use std::rc::Rc;

use portcullis_core::config;
use portcullis_core::docket::Overlooked;
use portcullis_core::handshake::{Opening, Request};
use portcullis_core::negotiation::Compression;
use portcullis_core::policy::routes::Policies;
use portcullis_core::session::{Budget, Session};
use portcullis_core::testing::{self, Unlimited};
use portcullis_core::time::Moment;
use portcullis_core::violation::Violation;
use portcullis_core::wire::Side;
use serde_json::Value;

pub(crate) use portcullis_core::testing::{BIRTH, NOW, forwarded, headers};

/// Reads a configuration whose variables are all 64 bytes long.
pub(crate) fn policies(config: &Value) -> Policies {
    let parsed = config::parse(config.to_string().as_bytes(), &|_| Some("v".repeat(64)));
    parsed.unwrap_or_else(|error| panic!("{error}: {config}")).policies
}

/// Decides about a request, now.
pub(crate) fn check(policies: &Policies, request: &Request) -> Opening {
    testing::decide(policies, request, &Rc::default())
}

/// A live connection under `policies`, which let everybody in; compressed where they allow it.
pub(crate) fn session(policies: &Policies) -> Session {
    let (mut request, mut response) = (testing::upgrade(), testing::switching_protocols());
    request.push(("origin", "https://app.example.com"));
    if policies.base().compression != Compression::Refuse {
        for fields in [&mut request, &mut response] {
            fields.push(("sec-websocket-extensions", "permessage-deflate"));
        }
    }
    let request = Request { tls: true, ..testing::request(headers(&request)) };
    testing::session(policies, &request, &headers(&response))
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
    let swallowed = session.take_swallowed().iter().map(|(_, count)| count).sum();
    (forwarded(&received, chunk), received.violation, swallowed)
}
