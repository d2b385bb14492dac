//! The upstream's answer (RFC 6455 §4.1, what a client MUST check): only a true 101 opens a session.

use std::rc::Rc;

use super::compression::DeflateOffer;
use super::request::HttpVersion;
use super::subprotocol::{SubprotocolOffer, is_tunnel};
use super::upgrade::accept;
use crate::content::Handshake;
use crate::content::tunnels::Exempt;
use crate::effect::Edit;
use crate::entry::{Credential, Entry};
use crate::http::headers::{Headers, Repeated};
use crate::http::list::{tokens, trim};
use crate::limits::Share;
use crate::policy::Policy;
use crate::policy::routes::Place;
use crate::session::{Birth, Deflate, Session};
use crate::violation::{Part, Parts, Violation};

/// An upgrade whose answer is awaited.
#[derive(Debug)]
pub struct Pending {
    policy: Rc<Policy>,
    place: Place,
    protocol: HttpVersion,
    accept: String,
    /// `None` when the request went on as it came, malformed, and any subprotocol may be the answer.
    offer: Option<SubprotocolOffer>,
    compression: DeflateOffer,
    /// What is kept of the request.
    entry: Entry,
    /// What is kept of the request, and later of its messages.
    share: Share,
}

/// A session, and what to change in the answer to the client.
#[derive(Debug)]
pub struct Opened {
    /// The live connection.
    pub session: Session,
    /// What to change in the answer.
    pub edits: Vec<Edit>,
    /// What it would have been refused for were that not only monitored.
    pub would_refuse: Option<Violation>,
}

impl Pending {
    pub(super) fn new(
        policy: Rc<Policy>,
        request: (Place, HttpVersion, &str),
        offer: Option<SubprotocolOffer>,
        compression: DeflateOffer,
        entry: Entry,
        share: Share,
    ) -> Self {
        let (place, protocol, key) = request;
        Self { policy, place, protocol, accept: accept(key), offer, compression, entry, share }
    }

    /// The policy that the handshake is under.
    #[must_use]
    pub const fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// Notes how many bytes are kept of the request for as long as the connection lives. Returns whether there is room for them.
    #[must_use]
    pub fn keep(&mut self, len: usize) -> bool {
        self.share.keep(len);
        self.share.all().has_room(0, self.policy.limits.held_len_max)
    }

    /// Checks the upstream's answer, from which the connection is up.
    ///
    /// # Errors
    /// [`Violation::UpstreamRefused`] for another status than 101, which is the upstream's to give;
    /// [`Violation::BadUpstreamHandshake`] for a 101 that does not answer this request, and for a 2xx that the client would take for one.
    pub fn check(mut self, response: &Headers, birth: Birth) -> Result<Opened, Violation> {
        match (response.one(":status"), self.protocol) {
            (Ok(Some(b"101")), _) => {}
            // "the server … responds with a 2xx (Successful) status code" (RFC 8441 §5).
            (Ok(Some([b'2', ..])) | Err(Repeated), HttpVersion::Multiplexed) => {
                return Err(Violation::BadUpstreamHandshake);
            }
            _ => return Err(Violation::UpstreamRefused),
        }
        let deflate = self.compression.check(response);
        let faults = self.faults(response, deflate.is_ok());
        let would_refuse = (!faults.is_empty()).then_some(Violation::BadUpstreamHandshake);
        if let Some(violation) = would_refuse.filter(|_| self.policy.modes.enforce_any(faults)) {
            return Err(violation);
        }
        let chosen = response.has("sec-websocket-protocol");
        let echo = self.offer.as_ref().and_then(SubprotocolOffer::echo).filter(|_| !chosen);
        let mut edits: Vec<Edit> = echo.map(|marker| Edit::set("sec-websocket-protocol", marker)).into_iter().collect();
        if self.protocol == HttpVersion::Multiplexed {
            // It answers a key that the client has not sent (RFC 8441 §5).
            edits.push(Edit::remove("sec-websocket-accept"));
        }
        // Where it is only monitored an answer passes that nobody asked for; its frames may then be compressed, and pass unread.
        let deflate =
            deflate.unwrap_or(Some(Deflate { client_takeover: true, server_takeover: true, inspected: false }));
        let subprotocol = subprotocol(response);
        self.entry.is_tunnel = is_tunnel(subprotocol);
        self.entry.flaws = self.entry.flaws.and(faults);
        let sender = self.entry.credential.as_ref().filter(|_| self.policy.read_claims()).and_then(Credential::open);
        let handshake =
            Handshake { sender, subprotocol: subprotocol.into(), exempt: Exempt::for_subprotocol(subprotocol) };
        let session = Session::new(self.policy, self.place, self.entry, deflate, handshake, self.share, birth);
        Ok(Opened { session, edits, would_refuse })
    }

    /// The parts of the policy by which it is no answer to the request; `is_offered_deflate`: its compression is one that was offered.
    fn faults(&self, response: &Headers, is_offered_deflate: bool) -> Parts {
        let names = |field: &str, option: &str| {
            tokens(response.all(field)).is_ok_and(|found| found.iter().any(|name| name.eq_ignore_ascii_case(option)))
        };
        let is_offered = match (response.one("sec-websocket-protocol"), &self.offer) {
            (Ok(None), _) | (Ok(Some(_)), None) => true,
            (Ok(Some(chosen)), Some(offer)) => offer.contains(trim(chosen)),
            (Err(_), _) => false,
        };
        let accept = response.one("sec-websocket-accept");
        let is_answer = names("upgrade", "websocket")
            && names("connection", "upgrade")
            && accept.is_ok_and(|line| line.map(trim) == Some(self.accept.as_bytes()));
        Parts::default()
            .with(Part::Base, !is_answer)
            .with(Part::Parsed, !self.policy.admits(subprotocol(response)))
            .with(Part::Payload, !is_offered_deflate)
            .with(Part::Subprotocols, !is_offered)
    }
}

/// The one that was chosen; empty for none.
fn subprotocol(response: &Headers) -> &str {
    let chosen = response.one("sec-websocket-protocol").ok().flatten().map(trim);
    chosen.and_then(|name| str::from_utf8(name).ok()).unwrap_or_default()
}
