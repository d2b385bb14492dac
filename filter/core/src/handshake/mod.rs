//! From an upgrade request to a live session (RFC 6455 §4.2).
//!
//! ```text
//! request ──▶ check ──▶ Step::Ready ─────────────────▶ Pass | Admit | Refuse | Upgrade(Pending)
//!                └────▶ Step::Asks ── answers ── ▲               response ──▶ Pending::check ──▶ Session
//! ```
//!
//! Frames cannot be written down before the 101: only [`Pending::check`] makes a [`crate::session::Session`]. Whatever
//! is decided, the credential leaves the request before anyone behind us (upstream, access log) sees it.

mod compression;
mod credential;
mod endpoint;
mod fleet;
mod logout;
mod opening;
mod reading;
mod redemption;
mod request;
mod response;
mod subprotocol;
mod upgrade;

use std::rc::Rc;

use crate::ask::Step;
use crate::effect::{Edit, Metric};
use crate::entry::{Credential, Entry, allows_origin};
use crate::http::authority::Authority;
use crate::identity::Identity;
use crate::identity::tickets::{Bind, Bound, Ticket};
use crate::limits::admission::Applicant;
use crate::limits::{HeldBytes, Share};
use crate::negotiation::Compression;
use crate::policy::routes::{Ambiguous, Place, Policies};
use crate::policy::{Fail, Mode, NonWebsocket, Policy};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::token::Verified;
use crate::token::rules::Source;
use crate::violation::Violation;

use compression::DeflateOffer;
use credential::{Presented, Taken};
use endpoint::{Asked, Endpoint};
use reading::{Kind, asking_origin, authority, counts_against_address, is_forwarded_tls, is_secure, origin};
use subprotocol::SubprotocolOffer;
use upgrade::Upgrade;

pub use logout::{FORM_LEN_MAX, LogoutRequest};
pub use opening::{Decision, Opening, Unredeemed};
pub use request::{HttpVersion, Request};
pub use response::{Opened, Pending};

/// What there is room for, as those who count say.
pub trait Capacity {
    /// Counts one more of an applicant's connections under a policy; it is asked about each applicant once.
    ///
    /// # Errors
    /// Why there may be no more.
    fn admit(&mut self, policy: &Policy, applicant: Applicant<'_>) -> Result<(), Violation>;

    /// Notes what an upgrade [keeps](Pending::keep). Returns whether there is room for it.
    fn keep(&mut self, pending: &mut Pending) -> bool;

    /// The judgement goes on behind an answer: others have come and gone meanwhile.
    fn resume(&mut self);
}

/// A request, and everything that it is judged with.
#[derive(Debug)]
pub struct Hearing<C> {
    /// The policies of its listener.
    pub policies: Rc<Policies>,
    /// What is asked for.
    pub request: Request,
    /// What this worker's connections hold.
    pub held: Rc<HeldBytes>,
    /// What this worker knows of clients.
    pub identity: Rc<Identity>,
    /// Fresh unpredictable bytes, for a key where the request has none (RFC 8441 §5).
    pub nonce: [u8; 16],
    /// Those who count.
    pub capacity: C,
}

/// Decides about a request, or says what has to be asked first. Gives back those who count, and what a fault does meanwhile, by the policy that
/// the request is under.
pub fn check<C: Capacity + 'static>(hearing: Hearing<C>) -> (Fail, Step<(Opening, C)>) {
    let peer = hearing.request.peer.clone();
    let identity = Rc::clone(&hearing.identity);
    let (fail, step) = hearing.open();
    let limit = move |(opening, capacity)| {
        let limited = fleet::ask(opening, &peer);
        let redeemed = limited.then(move |opening| redemption::redeem(opening, &identity));
        redeemed.then(|opening| Step::Ready((opening, capacity)))
    };
    (fail, step.then(limit))
}

/// What a request asks for, before its credential is known.
struct Claim {
    policy: Rc<Policy>,
    mode: Mode,
    kind: Kind,
    /// Where it is for the filter itself.
    endpoint: Option<Endpoint>,
    place: Place,
    taken: Taken,
    /// Fields that the upstream would believe to be ours.
    spoofed: Vec<Edit>,
    /// The ticket that it comes with, where that is good.
    ticket: Option<Ticket>,
    /// It came with one that was redeemed already.
    is_redeemed: bool,
}

/// What a request has for a credential.
enum Shown {
    Nothing,
    Ticket(Secret<Vec<u8>>),
    Credential(Presented),
}

impl<C: Capacity + 'static> Hearing<C> {
    fn open(self) -> (Fail, Step<(Opening, C)>) {
        let place = place(&self.policies, &self.request);
        let selected = self.policies.select(&place);
        let (policy, mode, fail) = match selected {
            Ok(policy) => (policy, policy.mode, policy.fail),
            Err(Ambiguous { policy, mode, fail }) => (policy, mode, fail),
        };
        let (policy, is_ambiguous) = (Rc::clone(policy), selected.is_err());
        (fail, self.hear(policy, mode, place, is_ambiguous))
    }

    /// Decides under a policy; `is_ambiguous`: other readings of what is asked for fall under others.
    fn hear(mut self, policy: Rc<Policy>, mode: Mode, place: Place, is_ambiguous: bool) -> Step<(Opening, C)> {
        if !is_ambiguous && logout::is_meant(&policy.auth, &self.request.headers) {
            return self.hear_logout(&policy, mode, &place);
        }
        let request = &self.request;
        let spoofed = credential::spoofed_claims(&request.headers, &policy.auth);
        let kind = Kind::of(request);
        let endpoint = Endpoint::of(&policy, &request.headers);
        let asked = endpoint.map(|_| Asked::of(&request.headers, kind == Kind::Preflight));
        // What is the filter's own goes to no upstream, which could take it in monitor mode.
        let mode = if endpoint.is_some() { Mode::Enforce } else { mode };
        let kind = match (asked, kind, policy.non_websocket) {
            (Some(Asked::Other), _, _) => {
                let edits = cleared(&self.policies, &policy, request);
                return self.ready(Opening::new(&policy, Decision::Answer(endpoint::other_method()), edits));
            }
            (Some(Asked::Post), _, _) => Kind::Post,
            (Some(Asked::Preflight), _, _) => Kind::Preflight,
            (None, Kind::Upgrade, _) => Kind::Upgrade,
            (None, kind, NonWebsocket::Authenticate) => kind,
            (None, _, NonWebsocket::Pass) if !is_ambiguous => {
                return self.ready(Opening::new(&policy, Decision::Pass, spoofed));
            }
            (None, _, NonWebsocket::Pass | NonWebsocket::Refuse) => {
                let violation = if is_ambiguous { Violation::BadUpgrade } else { Violation::NotWebsocket };
                let opening = match mode {
                    Mode::Enforce => refuse(&self.policies, &policy, request, violation.into()),
                    Mode::Monitor => {
                        let opening = Opening::new(&policy, Decision::Pass, spoofed);
                        Opening { would_refuse: vec![violation.into()], record: record(request, None), ..opening }
                    }
                };
                return self.ready(opening);
            }
        };

        let upgrade = Upgrade::read(&request.headers);
        let taken = credential::take(&request.headers, &upgrade.protocols, &policy.auth);
        let shape = match kind {
            Kind::Upgrade => upgrade.check(request),
            Kind::Other | Kind::Post | Kind::Preflight => upgrade::check_fields(&request.headers),
        };
        let authority = place.authority().filter(|_| !is_ambiguous).ok_or(Violation::BadUpgrade);
        let offer =
            judge(&policy, request, kind, shape.and(authority), &taken, &mut self.capacity).map_err(Refusal::from);
        let claim = Claim { policy, mode, kind, endpoint, place, taken, spoofed, ticket: None, is_redeemed: false };
        match offer.and_then(|offer| Ok((offer, claim.shown()?))) {
            Err(refusal) => self.conclude(claim, Err(refusal)),
            Ok((offer, Shown::Nothing)) => self.conclude(claim, Ok((offer, None))),
            Ok((offer, Shown::Ticket(text))) => {
                let bound = bound(&claim, &self.request);
                match self.identity.open(&claim.policy.auth, text.expose(), bound) {
                    Err(refusal) => self.conclude(claim, Err(refusal)),
                    Ok(ticket) => {
                        let admitted = self.identity.admit(&claim.policy.auth, Rc::clone(&ticket.holder));
                        self.when_known(claim, admitted, |hearing, claim, admitted| match admitted {
                            Ok(holder) if claim.mode == Mode::Enforce => {
                                let claim = Claim { ticket: Some(ticket), ..claim };
                                hearing.conclude(claim, Ok((offer, Some(holder))))
                            }
                            // Nothing refuses it any more, and what its ticket says is to be told the upstream only where that is good.
                            Ok(_) => {
                                let redeemed = hearing.identity.redeem(ticket, claim.policy.limits.global.as_ref());
                                hearing.when_known(claim, redeemed, |hearing, claim, redeemed| {
                                    let claim = Claim { is_redeemed: redeemed.is_ok(), ..claim };
                                    hearing.conclude(claim, redeemed.map(|holder| (offer, Some(holder))))
                                })
                            }
                            Err(refusal) => hearing.conclude_without(claim, offer, refusal),
                        })
                    }
                }
            }
            Ok((offer, Shown::Credential(credential))) => {
                let auth = &claim.policy.auth;
                let verified = match credential {
                    Presented::Cookie(value) => self.identity.verify_cookie(auth, &value),
                    Presented::Token(token) => self.identity.verify(auth, token),
                };
                self.when_known(claim, verified, |hearing, claim, verified| match verified {
                    Ok(verified) => hearing.conclude(claim, Ok((offer, Some(verified)))),
                    Err(refusal) => hearing.conclude_without(claim, offer, refusal),
                })
            }
        }
    }

    /// Goes on when more is known of a credential; until then the request has its share of what may be held.
    fn when_known(
        mut self,
        claim: Claim,
        step: Step<Result<Rc<Verified>, Refusal>>,
        next: impl FnOnce(Self, Claim, Result<Rc<Verified>, Refusal>) -> Step<(Opening, C)> + 'static,
    ) -> Step<(Opening, C)> {
        let mut waiting = Share::new(Rc::clone(&self.held));
        let is_asked = matches!(step, Step::Asks(..));
        if is_asked && !waiting.wait(self.request.headers.len(), claim.policy.limits.held_len_max) {
            return self.conclude(claim, Err(Violation::Overloaded.into()));
        }
        step.then(move |known| {
            if is_asked {
                self.capacity.resume();
            }
            drop(waiting);
            next(self, claim, known)
        })
    }

    /// Decides about a request whose credential is not good, or where that cannot be found out.
    fn conclude_without(self, claim: Claim, offer: SubprotocolOffer, refusal: Refusal) -> Step<(Opening, C)> {
        let known = match (refusal.violation, claim.policy.fail) {
            (Violation::Internal, Fail::Open) => Ok((offer, None)),
            (_, _) => Err(refusal),
        };
        self.conclude(claim, known)
    }

    /// Decides about a request for the path where a provider posts logout tokens. It needs neither an Origin nor a credential: a server posts,
    /// and the token proves what it says.
    fn hear_logout(mut self, policy: &Rc<Policy>, mode: Mode, place: &Place) -> Step<(Opening, C)> {
        let admitted = self.capacity.admit(policy, Applicant::Visitor);
        let request = &self.request;
        let authority = place.authority().ok_or(Violation::BadUpgrade);
        let reached = authority.and_then(|authority| admitted.and_then(|()| reach(policy, request, authority)));
        let would_refuse = match (reached, mode) {
            (Ok(()), _) => vec![],
            (Err(violation), Mode::Monitor) => vec![violation.into()],
            (Err(violation), Mode::Enforce) => {
                let opening = refuse(&self.policies, policy, request, violation.into());
                return self.ready(opening);
            }
        };
        let decision = match logout::read(&policy.auth, &request.headers, request.end) {
            Ok(logout) => Decision::Read(Box::new(logout)),
            Err(reply) => Decision::Answer(reply),
        };
        let opening = Opening::new(policy, decision, cleared(&self.policies, policy, request));
        let record = record(request, None);
        self.ready(Opening { would_refuse, record, ..opening })
    }

    fn ready(self, opening: Opening) -> Step<(Opening, C)> {
        Step::Ready((opening, self.capacity))
    }

    /// Decides about a request whose credential is known, if it has one.
    fn conclude(
        mut self,
        claim: Claim,
        known: Result<(SubprotocolOffer, Option<Rc<Verified>>), Refusal>,
    ) -> Step<(Opening, C)> {
        let grant = known.and_then(|(offer, credential)| {
            let claims = credential::claim_headers(&claim.policy.auth, credential.as_deref())?;
            let subject = credential.as_deref().filter(|_| claim.kind == Kind::Upgrade);
            if let Some(credential) = subject {
                self.capacity.admit(&claim.policy, Applicant::Subject(credential))?;
            }
            Ok(Grant { credential, claims, offer })
        });
        let opening = match claim.endpoint {
            Some(Endpoint::Tickets) => self.answer(claim, grant),
            None => self.decide(claim, grant),
        };
        self.ready(opening)
    }

    /// Answers a request for a ticket.
    fn answer(&self, claim: Claim, verdict: Result<Grant, Refusal>) -> Opening {
        let Self { policies, request, identity, .. } = self;
        let policy = &claim.policy;
        let issued = verdict.and_then(|grant| match (claim.kind, grant.credential, &policy.auth.tickets) {
            (Kind::Preflight, _, _) => Ok((endpoint::preflight(policy), None, None)),
            (_, Some(holder), Some(rules)) => {
                let issued = identity.issue(rules, &holder, bound(&claim, request))?;
                Ok((endpoint::issued(&issued), Some(holder), Some(Metric::TicketsIssued)))
            }
            // Of a fault that lets an upgrade pass no ticket can tell.
            (_, _, _) => Err(Violation::Internal.into()),
        });
        let opening = match issued {
            Err(refusal) => refuse(policies, policy, request, refusal),
            Ok((reply, credential, metric)) => {
                let record = record(request, credential.as_deref());
                let opening = Opening::new(policy, Decision::Answer(reply), cleared(policies, policy, request));
                Opening { record, credential, metric, ..opening }
            }
        };
        let line = origin(&request.headers);
        let is_allowed =
            allows_origin(&policy.origin, line, claim.place.authority(), is_secure(policy, request)) && line.is_some();
        Opening { fields: if is_allowed { endpoint::sharing(line) } else { vec![] }, ..opening }
    }

    fn decide(&mut self, claim: Claim, verdict: Result<Grant, Refusal>) -> Opening {
        let is_attempt = counts_against_address(&self.request, Violation::TicketUsed);
        let Self { policies, request, held, nonce, capacity, .. } = self;
        let Claim { policy, mode, kind, place, taken, spoofed, ticket, is_redeemed, endpoint: _ } = claim;
        let headers = &request.headers;
        let mut edits = spoofed;
        let (grant, mut would_refuse) = match (verdict, mode) {
            (Ok(grant), _) => (grant, vec![]),
            (Err(refusal), Mode::Enforce) => return refuse(policies, &policy, request, refusal),
            // It goes on as it came, credential and all: monitoring must not break what the upstream would accept.
            (Err(refusal), Mode::Monitor) => (Grant::default(), vec![refusal]),
        };

        let is_good = would_refuse.is_empty();
        let record = record(request, grant.credential.as_deref());
        let ticket = ticket.map(|ticket| Unredeemed { ticket, is_attempt });
        let metric = is_redeemed.then_some(Metric::TicketsRedeemed);
        let is_failed_attempt = would_refuse.iter().any(|refusal| counts_against_address(request, refusal.violation));
        if is_good && !policy.auth.forward {
            edits.extend(taken.edits());
        } else {
            edits.extend(taken.ticket_edit());
        }
        edits.extend(grant.claims);
        if kind != Kind::Upgrade {
            let decision = if is_good { Decision::Admit } else { Decision::Pass };
            let opening = Opening::new(&policy, decision, edits);
            let credential = grant.credential;
            return Opening { would_refuse, record, credential, is_failed_attempt, ticket, metric, ..opening };
        }

        let upgrade = Upgrade::read(headers);
        let key = upgrade.key.unwrap_or_else(|| upgrade::encode_key(*nonce));
        if !headers.has("sec-websocket-key") {
            edits.push(Edit::set("sec-websocket-key", key.as_str()));
        }
        let compression = DeflateOffer::new(&upgrade.extensions, compression(&policy, held));
        edits.extend(compression.edit(headers));
        let offer = is_good.then_some(grant.offer);
        edits.extend(offer.as_ref().and_then(|offer| offer.edit(headers)));
        let credential = grant.credential.as_ref().map(|verified| Credential::new(verified, policy.read_claims()));
        let entry = Entry {
            tls: request.tls,
            forwarded_tls: is_forwarded_tls(headers),
            origin: origin(headers).map(Entry::kept_origin),
            is_tunnel: false,
            credential,
            is_unproven: is_good && taken.is_empty() && policy.awaits_first_message(),
            flawed: !is_good,
        };
        let mut pending = Pending::new(
            Rc::clone(&policy),
            (place, request.protocol, &key),
            offer,
            compression,
            entry,
            Share::new(Rc::clone(held)),
        );
        let decision = match (capacity.keep(&mut pending), mode) {
            (true, _) => Decision::Upgrade(Box::new(pending)),
            (false, Mode::Enforce) => return refuse(policies, &policy, request, Violation::Overloaded.into()),
            // There is no memory to judge it either.
            (false, Mode::Monitor) => {
                would_refuse.push(Violation::Overloaded.into());
                Decision::Pass
            }
        };
        let opening = Opening::new(&policy, decision, edits);
        let credential = grant.credential;
        Opening { would_refuse, record, credential, is_failed_attempt, ticket, metric, ..opening }
    }
}

impl Claim {
    /// The credential to be checked.
    ///
    /// # Errors
    /// [`Violation::CredentialMissing`] where one has to be there, [`Violation::CredentialAmbiguous`] where there are two.
    fn shown(&self) -> Result<Shown, Violation> {
        // A ticket is no credential for another.
        let tickets = if self.endpoint.is_some() { &[] } else { self.taken.tickets.as_slice() };
        let is_needed = self.kind == Kind::Post || (self.policy.auth.required && self.kind != Kind::Preflight);
        match (self.taken.credentials.as_slice(), tickets) {
            ([], []) if self.kind == Kind::Upgrade && self.policy.awaits_first_message() => Ok(Shown::Nothing),
            ([], []) if is_needed => Err(Violation::CredentialMissing),
            ([], []) => Ok(Shown::Nothing),
            ([credential], []) => Ok(Shown::Credential(credential.clone())),
            ([], [ticket]) => Ok(Shown::Ticket(ticket.clone())),
            // "Clients MUST NOT use more than one method to transmit the token in each request" (RFC 6750 §2).
            ([..], [..]) => Err(Violation::CredentialAmbiguous),
        }
    }
}

/// What a fault does to a request that is not judged yet, by the policy that it is under.
#[must_use]
pub fn fail(policies: &Policies, request: &Request) -> Fail {
    policies.fail(Some(&place(policies, request)))
}

/// The refusal of a request.
fn refuse(policies: &Policies, policy: &Rc<Policy>, request: &Request, refusal: Refusal) -> Opening {
    let edits = cleared(policies, policy, request);
    let is_failed_attempt = counts_against_address(request, refusal.violation);
    let opening = Opening::new(policy, Decision::Refuse(refusal), edits);
    Opening { record: record(request, None), is_failed_attempt, ..opening }
}

/// A request that goes nowhere, without a credential in any place where some policy looks for one: it may have been meant for that.
fn cleared(policies: &Policies, policy: &Policy, request: &Request) -> Vec<Edit> {
    let mut sources: Vec<Source> = Vec::new();
    for source in policies.all().flat_map(|policy| policy.auth.places()) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    let mut edits = credential::spoofed_claims(&request.headers, &policy.auth);
    edits.extend(credential::clear(&request.headers, &sources));
    // A list that is malformed may hide a credential that was not found in it.
    if request.headers.has("sec-websocket-protocol") {
        edits.push(Edit::remove("sec-websocket-protocol"));
    }
    edits
}

/// What a ticket of this request is bound to, or was to be.
fn bound(claim: &Claim, request: &Request) -> Bound {
    let Claim { policy, kind, place, .. } = claim;
    let bind = policy.auth.tickets.as_ref().map_or(Bind::NOTHING, |tickets| tickets.bind);
    let line = place.authority().and_then(|authority| asking_origin(policy, request, *kind, authority));
    redemption::bound(bind, line.as_deref(), &request.peer, &policy.limits)
}

fn record(request: &Request, credential: Option<&Verified>) -> Record {
    Record::new(request.peer.text(), &request.headers, credential)
}

/// What a request asks for. The port that is not written is that of its scheme.
fn place(policies: &Policies, request: &Request) -> Place {
    let headers = &request.headers;
    let port = if is_secure(policies.base(), request) { 443 } else { 80 };
    let authority = authority(headers).map(|authority| authority.with_default_port(port));
    Place::new(authority, headers.all(":path").next().unwrap_or_default())
}

/// What a request that is not refused may do.
#[derive(Default)]
struct Grant {
    credential: Option<Rc<Verified>>,
    claims: Vec<Edit>,
    offer: SubprotocolOffer,
}

/// Finds the first rule of `policy` that the request breaks, but for those about its credential. There is an `authority` where it is well
/// formed, as are the fields of the handshake, and what is asked for is read in one way.
fn judge(
    policy: &Policy,
    request: &Request,
    kind: Kind,
    authority: Result<&Authority, Violation>,
    taken: &Taken,
    capacity: &mut dyn Capacity,
) -> Result<SubprotocolOffer, Violation> {
    let admitted = match kind {
        Kind::Upgrade => {
            capacity.admit(policy, Applicant::Address).and_then(|()| capacity.admit(policy, Applicant::All))
        }
        Kind::Other | Kind::Post | Kind::Preflight => capacity.admit(policy, Applicant::Visitor),
    };
    // The shape first: proxies end the connection behind a 400, which half an upgrade needs most.
    let authority = authority?;
    admitted?;
    reach(policy, request, authority)?;
    let line = asking_origin(policy, request, kind, authority);
    if !allows_origin(&policy.origin, line.as_deref(), Some(authority), is_secure(policy, request)) {
        return Err(Violation::OriginRefused);
    }
    match kind {
        Kind::Upgrade => SubprotocolOffer::new(&taken.protocols, &policy.subprotocols, policy.auth.forward),
        Kind::Other | Kind::Post | Kind::Preflight => Ok(SubprotocolOffer::default()),
    }
}

/// Whether a request came in the way that `policy` demands, to a host that is served.
fn reach(policy: &Policy, request: &Request, authority: &Authority) -> Result<(), Violation> {
    if policy.require_tls && !is_secure(policy, request) {
        return Err(Violation::TlsRequired);
    }
    if !policy.hosts.is_empty() && !policy.hosts.iter().any(|host| host.matches(authority)) {
        return Err(Violation::HostRefused);
    }
    Ok(())
}

/// Windows to inflate in are most of what compressed connections hold, and they keep them: new connections go without once half of
/// what may be held is, so that the other half is left for messages.
fn compression(policy: &Policy, held: &HeldBytes) -> Compression {
    match policy.compression {
        Compression::Inspect if !held.has_room(0, policy.limits.held_len_max / 2) => Compression::Refuse,
        compression => compression,
    }
}

#[cfg(test)]
mod tests;
