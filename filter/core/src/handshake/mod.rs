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
use crate::docket::{Docket, Strictness};
use crate::effect::{Edit, Metric};
use crate::entry::{Credential, Entry, allows_origin};
use crate::http::authority::Authority;
use crate::identity::Identity;
use crate::identity::tickets::{Bind, Bound, Ticket};
use crate::limits::admission::Applicant;
use crate::limits::{HeldBytes, Share};
use crate::mode::Mode;
use crate::negotiation::Compression;
use crate::policy::routes::{Ambiguous, Place, Policies};
use crate::policy::{Fail, NonWebsocket, Policy};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::token::Verified;
use crate::token::rules::Source;
use crate::violation::{Part, Violation};

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
    /// What has been found so far.
    docket: Docket,
    kind: Kind,
    /// Where it is for the filter itself.
    endpoint: Option<Endpoint>,
    place: Place,
    taken: Taken,
    /// Fields that the upstream would believe to be ours.
    spoofed: Vec<Edit>,
    /// Its subprotocols, where it is a well-formed upgrade.
    offer: Option<SubprotocolOffer>,
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
        let (policy, fail, ambiguity) = match selected {
            Ok(policy) => (policy, policy.fail, None),
            Err(Ambiguous { policy, mode, fail }) => (policy, fail, Some(mode)),
        };
        let policy = Rc::clone(policy);
        (fail, self.hear(policy, place, ambiguity))
    }

    /// Decides under a policy; `ambiguity`: other readings of what is asked for fall under others, and what that does.
    fn hear(mut self, policy: Rc<Policy>, place: Place, ambiguity: Option<Mode>) -> Step<(Opening, C)> {
        if ambiguity.is_none() && logout::is_meant(&policy.auth, &self.request.headers) {
            return self.hear_logout(&policy, &place);
        }
        let request = &self.request;
        let spoofed = credential::spoofed_claims(&request.headers, &policy.auth);
        let kind = Kind::of(request);
        let endpoint = Endpoint::of(&policy, &request.headers);
        let asked = endpoint.map(|_| Asked::of(&request.headers, kind == Kind::Preflight));
        // What is the filter's own goes to no upstream, which could take it where something is only monitored.
        let strictness = if endpoint.is_some() { Strictness::All } else { Strictness::None };
        let docket = Docket::new(policy.modes, None, strictness);
        let ambiguous = |mode| Refusal::from(Violation::BadUpgrade).under(mode);
        let kind = match (asked, kind, policy.non_websocket) {
            (Some(Asked::Other), _, _) => {
                let edits = cleared(&self.policies, &policy, request);
                return self.ready(Opening::new(&policy, Decision::Answer(endpoint::other_method()), edits));
            }
            (Some(Asked::Post), _, _) => Kind::Post,
            (Some(Asked::Preflight), _, _) => Kind::Preflight,
            (None, Kind::Upgrade, _) => Kind::Upgrade,
            (None, kind, NonWebsocket::Authenticate) => kind,
            (None, _, NonWebsocket::Pass) if ambiguity.is_none() => {
                return self.ready(Opening::new(&policy, Decision::Pass, spoofed));
            }
            (None, _, NonWebsocket::Pass | NonWebsocket::Refuse) => {
                let refusal = ambiguity.map_or_else(|| Violation::NotWebsocket.into(), ambiguous);
                let opening = match docket.find(refusal) {
                    Err(refusal) => refuse(&self.policies, &policy, request, refusal),
                    Ok(()) => {
                        let opening = Opening::new(&policy, Decision::Pass, spoofed);
                        Opening { would_refuse: refusals(docket), record: record(request, None), ..opening }
                    }
                };
                return self.ready(opening);
            }
        };

        let upgrade = Upgrade::read(&request.headers);
        let taken = credential::take(&request.headers, &upgrade.protocols, &policy.auth);
        let shape = match kind {
            Kind::Upgrade => upgrade.check(request, &docket),
            Kind::Other | Kind::Post | Kind::Preflight => {
                upgrade::check_fields(&request.headers).or_else(|violation| docket.find(violation))
            }
        };
        let named = match (ambiguity, place.authority()) {
            (Some(mode), _) => docket.find(ambiguous(mode)),
            (None, None) => docket.find(Violation::BadUpgrade),
            (None, Some(_)) => Ok(()),
        };
        let offer =
            judge(&policy, request, kind, shape.and(named), place.authority(), &taken, &docket, &mut self.capacity);
        let mut claim = Claim {
            policy,
            docket,
            kind,
            endpoint,
            place,
            taken,
            spoofed,
            offer: None,
            ticket: None,
            is_redeemed: false,
        };
        match offer {
            Err(refusal) => return self.finish(claim, Err(refusal)),
            Ok(offer) => claim.offer = offer,
        }
        match claim.shown() {
            Err(violation) => self.conclude(claim, Err(violation.into())),
            Ok(Shown::Nothing) => self.conclude(claim, Ok(None)),
            Ok(Shown::Ticket(text)) => {
                let bound = bound(&claim, &self.request);
                match self.identity.open(&claim.policy.auth, text.expose(), bound) {
                    Err(refusal) => self.conclude(claim, Err(refusal)),
                    Ok(ticket) => {
                        let admitted = self.identity.admit(&claim.policy.auth, Rc::clone(&ticket.holder));
                        self.when_known(claim, admitted, |hearing, claim, admitted| match admitted {
                            Ok(holder) if claim.docket.mode(Part::Auth).enforces() => {
                                let claim = Claim { ticket: Some(ticket), ..claim };
                                hearing.conclude(claim, Ok(Some(holder)))
                            }
                            // No ticket refuses it any more, and what its own says is to be told the upstream only where that is good.
                            Ok(_) => {
                                let redeemed = hearing.identity.redeem(ticket, claim.policy.limits.global.as_ref());
                                hearing.when_known(claim, redeemed, |hearing, claim, redeemed| {
                                    let claim = Claim { is_redeemed: redeemed.is_ok(), ..claim };
                                    hearing.conclude(claim, redeemed.map(Some))
                                })
                            }
                            Err(refusal) => hearing.conclude_without(claim, refusal),
                        })
                    }
                }
            }
            Ok(Shown::Credential(credential)) => {
                let auth = &claim.policy.auth;
                let verified = match credential {
                    Presented::Cookie(value) => self.identity.verify_cookie(auth, &value),
                    Presented::Token(token) => self.identity.verify(auth, token),
                };
                self.when_known(claim, verified, |hearing, claim, verified| match verified {
                    Ok(verified) => hearing.conclude(claim, Ok(Some(verified))),
                    Err(refusal) => hearing.conclude_without(claim, refusal),
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
    fn conclude_without(self, claim: Claim, refusal: Refusal) -> Step<(Opening, C)> {
        let known = match (refusal.violation, claim.policy.fail) {
            (Violation::Internal, Fail::Open) => Ok(None),
            (_, _) => Err(refusal),
        };
        self.conclude(claim, known)
    }

    /// Decides about a request for the path where a provider posts logout tokens. It needs neither an Origin nor a credential: a server posts,
    /// and the token proves what it says.
    fn hear_logout(mut self, policy: &Rc<Policy>, place: &Place) -> Step<(Opening, C)> {
        let docket = Docket::new(policy.modes, None, Strictness::None);
        let admitted = admit(&mut self.capacity, policy, &[Applicant::Visitor], &docket);
        let request = &self.request;
        let named = if place.authority().is_some() { Ok(()) } else { docket.find(Violation::BadUpgrade) };
        let reached = named.and(admitted).and_then(|()| reach(policy, request, place.authority(), &docket));
        if let Err(refusal) = reached {
            let opening = refuse(&self.policies, policy, request, refusal);
            return self.ready(Opening { would_refuse: refusals(docket), ..opening });
        }
        let decision = match logout::read(&policy.auth, &request.headers, request.end) {
            Ok(logout) => Decision::Read(Box::new(logout)),
            Err(reply) => Decision::Answer(reply),
        };
        let opening = Opening::new(policy, decision, cleared(&self.policies, policy, request));
        let record = record(request, None);
        self.ready(Opening { would_refuse: refusals(docket), record, ..opening })
    }

    fn ready(self, opening: Opening) -> Step<(Opening, C)> {
        Step::Ready((opening, self.capacity))
    }

    /// Decides about a request of which it is known whether its credential is good, if it has one.
    fn conclude(mut self, claim: Claim, known: Result<Option<Rc<Verified>>, Refusal>) -> Step<(Opening, C)> {
        let grant = self.grant(&claim, known);
        self.finish(claim, grant)
    }

    fn grant(&mut self, claim: &Claim, known: Result<Option<Rc<Verified>>, Refusal>) -> Result<Grant, Refusal> {
        let told = known.and_then(|credential| {
            let claims = credential::claim_headers(&claim.policy.auth, credential.as_deref())?;
            Ok(Grant { credential, claims, is_known: true })
        });
        let grant = match told {
            Ok(grant) => grant,
            // It goes on as it came, credential and all: monitoring must not break what the upstream would accept.
            Err(refusal) => claim.docket.find_in(Part::Auth, refusal).map(|()| Grant::default())?,
        };
        if let Some(credential) = grant.credential.as_deref().filter(|_| claim.kind == Kind::Upgrade) {
            admit(&mut self.capacity, &claim.policy, &[Applicant::Subject(credential)], &claim.docket)?;
        }
        Ok(grant)
    }

    fn finish(mut self, claim: Claim, grant: Result<Grant, Refusal>) -> Step<(Opening, C)> {
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
        let Claim { policy, docket, kind, place, taken, spoofed, offer, ticket, is_redeemed, endpoint: _ } = claim;
        let headers = &request.headers;
        let mut edits = spoofed;
        let Grant { credential, claims, is_known } = match verdict {
            Ok(grant) => grant,
            Err(refusal) => {
                let opening = refuse(policies, &policy, request, refusal);
                return Opening { would_refuse: refusals(docket), ..opening };
            }
        };

        let record = record(request, credential.as_deref());
        let ticket = ticket.map(|ticket| Unredeemed { ticket, is_attempt });
        let metric = is_redeemed.then_some(Metric::TicketsRedeemed);
        let is_taken = is_known && !policy.auth.forward;
        edits.extend(if is_taken { taken.edits() } else { taken.ticket_edit().into_iter().collect() });
        edits.extend(claims);
        let upgrade = Upgrade::read(headers);
        let key = upgrade.key.unwrap_or_else(|| upgrade::encode_key(*nonce));
        let decision = if kind == Kind::Upgrade {
            if !headers.has("sec-websocket-key") {
                edits.push(Edit::set("sec-websocket-key", key.as_str()));
            }
            let compression = DeflateOffer::new(&upgrade.extensions, compression(&policy, held));
            edits.extend(compression.edit(headers));
            // What is not taken out of it goes on with it.
            let offer = offer.map(|offer| match is_taken || policy.auth.forward {
                true => offer,
                false => offer.with_credential(&taken.protocols),
            });
            edits.extend(offer.as_ref().and_then(|offer| offer.edit(headers)));
            let entry = Entry {
                tls: request.tls,
                forwarded_tls: is_forwarded_tls(headers),
                origin: origin(headers).map(Entry::kept_origin),
                is_tunnel: false,
                credential: credential.as_ref().map(|verified| Credential::new(verified, policy.read_claims())),
                is_unproven: is_known && taken.is_empty() && policy.awaits_first_message(),
                flaws: docket.parts(),
            };
            let mut pending = Pending::new(
                Rc::clone(&policy),
                (place, request.protocol, &key),
                offer,
                compression,
                entry,
                Share::new(Rc::clone(held)),
            );
            match if capacity.keep(&mut pending) {
                Ok(true)
            } else {
                docket.find(Violation::Overloaded).map(|()| false)
            } {
                Ok(true) => Decision::Upgrade(Box::new(pending)),
                // There is no memory to judge it either.
                Ok(false) => Decision::Pass,
                Err(refusal) => {
                    let opening = refuse(policies, &policy, request, refusal);
                    return Opening { would_refuse: refusals(docket), ..opening };
                }
            }
        } else {
            Decision::Admit
        };
        let opening = Opening::new(&policy, decision, edits);
        let would_refuse = refusals(docket);
        let is_failed_attempt = would_refuse.iter().any(|refusal| counts_against_address(request, refusal.violation));
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
#[cold]
#[inline(never)]
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
    /// Its credential is good, or it needs none.
    is_known: bool,
}

/// Judges by all rules of `policy` but for those about its credential. `shape`: whether it is an upgrade, and what is asked for is read in one way.
/// Gives what of its subprotocols goes on, where it is well formed.
///
/// # Errors
/// What is refused.
#[expect(clippy::too_many_arguments, reason = "a request and all that is known of it")]
fn judge(
    policy: &Policy,
    request: &Request,
    kind: Kind,
    shape: Result<(), Refusal>,
    authority: Option<&Authority>,
    taken: &Taken,
    docket: &Docket,
    capacity: &mut dyn Capacity,
) -> Result<Option<SubprotocolOffer>, Refusal> {
    let applicants: &[Applicant<'_>] = match kind {
        Kind::Upgrade => &[Applicant::Address, Applicant::All],
        Kind::Other | Kind::Post | Kind::Preflight => &[Applicant::Visitor],
    };
    let is_well_formed = !docket.has(Violation::BadUpgrade);
    let admitted = admit(capacity, policy, applicants, docket);
    // The shape first: proxies end the connection behind a 400, which half an upgrade needs most.
    shape?;
    admitted?;
    reach(policy, request, authority, docket)?;
    let line = match authority {
        Some(authority) => asking_origin(policy, request, kind, authority),
        None => origin(&request.headers).map(Into::into),
    };
    if !allows_origin(&policy.origin, line.as_deref(), authority, is_secure(policy, request)) {
        docket.find(Violation::OriginRefused)?;
    }
    if kind != Kind::Upgrade {
        return Ok(None);
    }
    match SubprotocolOffer::new(&taken.protocols, &policy.subprotocols, policy.auth.forward) {
        Ok(offer) => Ok(is_well_formed.then_some(offer)),
        Err(violation) => {
            docket.find(violation)?;
            Ok(is_well_formed.then(|| SubprotocolOffer::all(&taken.protocols, policy.auth.forward)))
        }
    }
}

/// Counts a request for each of those who are counted, until it is refused.
fn admit(
    capacity: &mut dyn Capacity,
    policy: &Policy,
    applicants: &[Applicant<'_>],
    docket: &Docket,
) -> Result<(), Refusal> {
    applicants.iter().try_for_each(|applicant| {
        let admitted = capacity.admit(policy, *applicant);
        admitted.or_else(|violation| docket.find_in(Part::Limits, applicant.refusal(violation)))
    })
}

/// Whether a request came in the way that `policy` demands, to a host that is served.
fn reach(policy: &Policy, request: &Request, authority: Option<&Authority>, docket: &Docket) -> Result<(), Refusal> {
    if policy.require_tls && !is_secure(policy, request) {
        docket.find(Violation::TlsRequired)?;
    }
    let is_served = |authority| policy.hosts.iter().any(|host| host.matches(authority));
    if policy.hosts.is_empty() || authority.is_some_and(is_served) {
        return Ok(());
    }
    docket.find(Violation::HostRefused)
}

/// What has passed that would be refused.
#[inline(never)]
fn refusals(docket: Docket) -> Vec<Refusal> {
    docket.into_passed().into_iter().map(|passed| passed.refusal).collect()
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
