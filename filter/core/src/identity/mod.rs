//! What a worker knows of clients that no request says: the keys that providers publish, tokens that were good before, what services say of
//! credentials that only they can read, tickets that were redeemed, and what is revoked.
//!
//! ```text
//! credential ── Identity::verify ──▶ Identity::admit ──▶ Step::Ready(Verified | Violation)
//!                    └────────────────────┴─ Step::Asks(Wait::Shared(Inquiry)) ── Identity::answered ── looks again ──▲
//! ticket ── Identity::open ──▶ Ticket ── all else is judged ── Identity::redeem ──▶ Step::Ready(Verified | Violation)
//!                                                                    └─ Step::Asks(Wait::Own(Question)), of a fleet ──▲
//!
//! a list is fetched, somebody logs out ──▶ Identity::revision ──▶ live connections ask Identity::is_revoked
//! ```
//!
//! State that comes and goes, fed with bytes and time. It is a worker's: no two workers share any of it, unless a module here says so.

pub mod feed;
pub mod inquiries;
pub mod key_set;
pub mod key_sets;
pub mod location;
pub mod logout_token;
pub mod logouts;
pub mod lookup;
pub mod lookups;
pub mod marks;
pub mod published;
pub mod relay;
pub mod signed_cookie;
pub mod tickets;
pub mod used;

use core::cell::{Cell, RefCell};
use core::fmt;
use std::borrow::Cow;
use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::ask::{Answer, Ask, HttpRequest, Inquiry, Step};
use crate::effect::Metric;
use crate::limits::register::Register;
use crate::limits::rls;
use crate::limits::rules::GlobalLimits;
use crate::port::{self, HostError, Port};
use crate::refusal::{Detail, Refusal};
use crate::secret::Secret;
use crate::time::{Moment, Timestamp};
use crate::token::rules::{AuthRules, LogoutRules, Proof};
use crate::token::signatures::Signatures;
use crate::token::verified::VerifiedTokens;
use crate::token::{Fault, Provider, Verified};
use crate::violation::Violation;
use feed::{Feed, Revoked};
use inquiries::{Inquiries, Topic};
use key_sets::{Awaited, KeySets};
use logout_token::Flaw;
use logouts::Logouts;
use lookup::{Lookup, Told};
use lookups::{Known, Lookups};
use marks::Marks;
use published::{Document, Documents, Received};
use relay::Relay;
use tickets::{Bound, CLOCK_SKEW, Issued, Scope, Store, Ticket, TicketRules};
use used::Use;

/// How often a token may wait for keys: for a fetch that had begun before it came and for the next one, with two providers that accept its
/// issuer.
const WAITS_MAX: u32 = 4;

/// What one worker knows.
pub struct Identity {
    port: Rc<dyn Port>,
    inquiries: Inquiries,
    key_sets: KeySets,
    lookups: Lookups,
    feeds: Documents<Feed>,
    logouts: Logouts,
    relay: Relay,
    /// How often what is revoked has changed, or whether that is known.
    revision: Cell<u32>,
    tokens: RefCell<VerifiedTokens>,
    /// Lines of log that are not written yet, and what is not counted yet.
    lines: RefCell<Vec<String>>,
    counts: RefCell<Vec<Metric>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?}, {:?}, {:?})", self.inquiries, self.key_sets, self.lookups)
    }
}

impl Identity {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(port: Rc<dyn Port>) -> Self {
        Self {
            inquiries: Inquiries::default(),
            key_sets: KeySets::default(),
            lookups: Lookups::default(),
            feeds: Documents::default(),
            logouts: Logouts::new(Rc::clone(&port)),
            relay: Relay::default(),
            revision: Cell::default(),
            tokens: RefCell::new(VerifiedTokens::new(Signatures::of(Rc::clone(&port)))),
            lines: RefCell::default(),
            counts: RefCell::default(),
            port,
        }
    }

    /// Has what `auth` needs fetched, from the next [tick](Self::tick) on, and makes what workers share for it.
    ///
    /// # Errors
    /// [`HostError`] where workers share no data: nothing could be redeemed once, and a logout would not reach them all.
    pub fn adopt(&self, auth: &AuthRules) -> Result<(), HostError> {
        self.fetch(auth);
        if auth.logout.is_some() && !self.logouts.are_wanted() {
            self.logouts.want()?;
            self.revise();
        }
        if auth.tickets.is_some() { used::prepare(&*self.port) } else { Ok(()) }
    }

    /// Has what `auth` needs fetched, where it is known of which cluster.
    pub fn fetch(&self, auth: &AuthRules) {
        let remotes = auth.providers.iter().filter_map(|provider| provider.remote.as_ref());
        remotes.filter(|remote| !remote.cluster.is_empty()).for_each(|remote| self.key_sets.want(remote));
        let feed = auth.revocation.as_ref().map(|revocation| &revocation.feed);
        if let Some(feed) = feed.filter(|feed| !feed.cluster.is_empty()) {
            self.feeds.want(feed);
        }
    }

    /// Fetches what is due, and hears who has logged out.
    pub fn tick(&self, now: Moment) {
        self.key_sets.tick(now, &self.inquiries);
        self.feeds.tick(now, &self.inquiries);
        self.relay.tick(now, &self.inquiries);
        self.hear_logouts();
    }

    fn hear_logouts(&self) {
        // Where it fails, the next time will do.
        if self.logouts.poll() == Ok(true) {
            self.revise();
        }
    }

    fn revise(&self) {
        self.revision.set(self.revision.get().wrapping_add(1));
    }

    /// A number that changes when live connections may have been revoked.
    #[must_use]
    #[inline]
    pub const fn revision(&self) -> u32 {
        self.revision.get()
    }

    /// What a credential under `auth` can be revoked by; `None` where nothing revokes it.
    #[must_use]
    pub fn marks(&self, auth: &AuthRules, credential: &Verified) -> Option<Marks> {
        self.can_revoke(auth).then(|| Marks::of(credential, auth.issuer(credential.provider())))
    }

    /// Whether anything may revoke a credential under `auth`. A logout counts under every policy that accepts the issuer's tokens.
    #[must_use]
    pub fn can_revoke(&self, auth: &AuthRules) -> bool {
        auth.revocation.is_some() || self.logouts.are_wanted()
    }

    /// Whether a credential with these marks is revoked, as far as that is known.
    #[must_use]
    pub fn is_revoked(&self, auth: &AuthRules, marks: &Marks) -> bool {
        self.logouts.revoke(marks) || self.revoked(auth).is_some_and(|revoked| revoked.has(marks))
    }

    /// The list of what is revoked, where there is one and it is known.
    fn revoked(&self, auth: &AuthRules) -> Option<Rc<Revoked>> {
        self.feeds.look(&auth.revocation.as_ref()?.feed, |feed| feed.revoked().cloned())
    }

    /// Checks a credential by `auth`, and whether it is revoked.
    ///
    /// The violation is one of [`crate::token::verify`]'s or [`admit`](Self::admit)'s, [`Violation::Internal`] where what is needed could not be
    /// had, or [`Violation::Overloaded`] where too much is being asked.
    #[must_use]
    pub fn verify(
        self: &Rc<Self>,
        auth: &Rc<AuthRules>,
        token: Secret<Vec<u8>>,
    ) -> Step<Result<Rc<Verified>, Refusal>> {
        let verified = match auth.asked_about(token.expose()) {
            Some((provider, lookup)) => self.look_up(auth, &provider.name, lookup, &token),
            None => {
                let check = move |identity: &Self, providers: &[Provider], date| {
                    identity.tokens.borrow_mut().verify(token.expose(), providers, date)
                };
                self.verify_after(auth, check, WAITS_MAX, 0)
            }
        };
        self.admit_verified(auth, verified)
    }

    fn admit_verified(
        self: &Rc<Self>,
        auth: &Rc<AuthRules>,
        verified: Step<Result<Rc<Verified>, Refusal>>,
    ) -> Step<Result<Rc<Verified>, Refusal>> {
        let (identity, auth) = (Rc::clone(self), Rc::clone(auth));
        verified.then(move |verified| match verified {
            Ok(verified) => identity.admit(&auth, verified),
            Err(refusal) => Step::Ready(Err(refusal)),
        })
    }

    /// Likewise a session cookie.
    #[must_use]
    pub fn verify_cookie(
        self: &Rc<Self>,
        auth: &Rc<AuthRules>,
        value: &Secret<Vec<u8>>,
    ) -> Step<Result<Rc<Verified>, Refusal>> {
        let refused = |detail| Step::Ready(Err(Refusal::invalid(detail)));
        let Some(cookie) = &auth.cookie else { return refused(Detail::Format) };
        let name = &cookie.provider.name;
        let verified = match &cookie.proof {
            Proof::Lookup(lookup) => self.look_up(auth, name, lookup, value),
            Proof::Signature(key) => match key.claims(value.expose()) {
                Some(claims) => {
                    let text = Value::Object(claims.clone()).to_string().into_bytes().into();
                    Step::Ready(Ok(Rc::new(Verified::told(name, claims, text, Timestamp::from_secs(u64::MAX)))))
                }
                None => refused(Detail::Signature),
            },
        };
        self.admit_verified(auth, verified)
    }

    /// Asks for the claims of a credential, and checks them by the rules of `provider`.
    fn look_up(
        self: &Rc<Self>,
        auth: &Rc<AuthRules>,
        provider: &str,
        lookup: &Rc<Lookup>,
        credential: &Secret<Vec<u8>>,
    ) -> Step<Result<Rc<Verified>, Refusal>> {
        if !lookup.takes(credential.expose()) {
            return Step::Ready(Err(Refusal::invalid(Detail::Format)));
        }
        let Ok(now) = self.port.now() else { return Step::Ready(Err(Violation::Internal.into())) };
        let mark = lookup.digest(credential.expose());
        match self.lookups.know(lookup, credential.expose(), mark, now, &self.inquiries) {
            Known::Told(told) => Step::Ready(self.hear(auth, provider, &told, &mark)),
            Known::Busy => Step::Ready(Err(Violation::Overloaded.into())),
            Known::Asked(inquiry, flight) => {
                let (identity, auth, provider) = (Rc::clone(self), Rc::clone(auth), provider.to_owned());
                Step::wait(inquiry, move || Step::Ready(identity.hear(&auth, &provider, &flight.told(), &mark)))
            }
        }
    }

    /// What comes of what was said about a credential, which `mark` tells from others.
    fn hear(&self, auth: &AuthRules, provider: &str, told: &Told, mark: &[u8; 32]) -> Result<Rc<Verified>, Refusal> {
        let text = match told {
            Told::Claims(text) => Rc::clone(text),
            Told::No => return Err(Violation::CredentialInvalid.into()),
            Told::Fault(_) => return Err(Violation::Internal.into()),
        };
        let rules = &auth.provider(provider).ok_or(Violation::Internal)?.rules;
        let claims = lookup::object(&text).ok_or(Violation::Internal)?;
        let date = self.port.date().map_err(|HostError| Violation::Internal)?;
        let verified = Verified::told(provider, claims, text, Timestamp::default()).marked(mark);
        Ok(Rc::new(verified.checked(rules, date)?))
    }

    /// Whether a credential that is genuine is good still. Every way to one leads through here.
    ///
    /// The violation is [`Violation::CredentialRevoked`], or [`Violation::Internal`] where there is no list of what is revoked.
    #[must_use]
    pub fn admit(self: &Rc<Self>, auth: &Rc<AuthRules>, verified: Rc<Verified>) -> Step<Result<Rc<Verified>, Refusal>> {
        let unknown = auth.revocation.as_ref().filter(|_| self.revoked(auth).is_none());
        let Some(unknown) = unknown else { return Step::Ready(self.admit_known(auth, verified)) };
        let now = self.port.now().unwrap_or_default();
        let is_coming = |feed: &mut Feed| feed.is_coming(now).then_some(());
        match self.feeds.inquire(&unknown.feed, now, &self.inquiries, is_coming) {
            Some((inquiry, ())) => {
                let (identity, auth) = (Rc::clone(self), Rc::clone(auth));
                Step::wait(inquiry, move || Step::Ready(identity.admit_known(&auth, verified)))
            }
            None => Step::Ready(self.admit_known(auth, verified)),
        }
    }

    /// Likewise, as far as it is known what is revoked.
    fn admit_known(&self, auth: &AuthRules, verified: Rc<Verified>) -> Result<Rc<Verified>, Refusal> {
        let is_unknown = |auth: &AuthRules| {
            auth.revocation.as_ref().is_some_and(|rules| !rules.admits_unknown) && self.revoked(auth).is_none()
        };
        match self.marks(auth, &verified) {
            Some(marks) if self.is_revoked(auth, &marks) => {
                Err(Refusal::from(Violation::CredentialRevoked).with(|cause| cause.holder = Some(verified.holder())))
            }
            Some(_) if is_unknown(auth) => Err(Refusal::at(Violation::Internal, Violation::CredentialRevoked.key())),
            Some(_) | None => Ok(verified),
        }
    }

    /// Ends the session or the sessions that a logout token names, which a provider has posted as a form. `sent_on` is a request for the
    /// other proxies of a fleet, but for its cluster; `None` where it comes from one of them.
    #[must_use]
    pub fn log_out(
        self: &Rc<Self>,
        auth: &Rc<AuthRules>,
        form: &[u8],
        sent_on: Option<HttpRequest>,
    ) -> Step<Result<(), Flaw>> {
        let Some(LogoutRules { provider, peers, .. }) = auth.logout.clone() else {
            return Step::Ready(Err(Flaw::Unavailable));
        };
        let token = match logout_token::token_of_form(form) {
            Ok(token) => Secret::new(token),
            Err(flaw) => return self.end_logout(Err(flaw)),
        };
        let check = move |_: &Self, providers: &[Provider], date| {
            let Some(own) = providers.get(provider) else { return Ok(Err(Flaw::Unavailable)) };
            logout_token::verify(token.expose(), own, date).map_err(|fault| match fault {
                Fault::UnknownKey(_, key_id) => Fault::UnknownKey(vec![provider], key_id),
                fault @ Fault::Refused(_) => fault,
            })
        };
        let identity = Rc::clone(self);
        self.verify_after(auth, check, WAITS_MAX, 0).then(move |checked| {
            let noted = match checked {
                Ok(Ok(logout)) => match identity.logouts.add(&logout) {
                    Ok(true) => {
                        identity.hear_logouts();
                        Ok(())
                    }
                    Ok(false) => Err(Flaw::Replayed),
                    Err(HostError) => Err(Flaw::Unavailable),
                },
                Ok(Err(flaw)) => Err(flaw),
                Err(Refusal { violation: Violation::Internal, .. }) => Err(Flaw::Unavailable),
                Err(_) => Err(Flaw::Signature),
            };
            if let (Ok(()), Some(request)) = (noted, &sent_on) {
                for cluster in peers {
                    identity.send_on(HttpRequest { cluster: Box::from(&*cluster), ..request.clone() });
                }
            }
            identity.end_logout(noted)
        })
    }

    fn send_on(&self, request: HttpRequest) {
        let cluster = request.cluster.clone();
        if !self.relay.send(request) {
            self.lines
                .borrow_mut()
                .push(format!("a logout was not sent on to cluster {cluster}: too many are on their way"));
        }
    }

    fn end_logout(&self, outcome: Result<(), Flaw>) -> Step<Result<(), Flaw>> {
        self.counts.borrow_mut().push(Metric::Logouts(outcome.is_ok()));
        Step::Ready(outcome)
    }

    /// Checks a token by `check`; it may wait for keys `waits_left` times more, and of the providers that lack its key so many have been
    /// asked.
    fn verify_after<T: 'static>(
        self: &Rc<Self>,
        auth: &Rc<AuthRules>,
        check: impl Fn(&Self, &[Provider], Timestamp) -> Result<T, Fault> + 'static,
        waits_left: u32,
        asked_count: usize,
    ) -> Step<Result<T, Refusal>> {
        let (Ok(date), Ok(now)) = (self.port.date(), self.port.now()) else {
            return Step::Ready(Err(Violation::Internal.into()));
        };
        let providers = self.providers(auth);
        let verified = check(self, &providers, date);
        let (lacking, key_id) = match verified {
            Ok(verified) => return Step::Ready(Ok(verified)),
            Err(Fault::Refused(refusal)) => return Step::Ready(Err(refusal)),
            Err(Fault::UnknownKey(lacking, key_id)) => (lacking, key_id),
        };
        let remotes = lacking.iter().filter_map(|index| auth.providers.get(*index)?.remote.as_ref());
        let mut others = remotes.clone().skip(asked_count).filter(|_| waits_left > 0);
        match others.find_map(|remote| self.key_sets.inquire(remote, now, &self.inquiries)) {
            Some(Awaited { inquiry, is_to_come }) => {
                let (identity, auth) = (Rc::clone(self), Rc::clone(auth));
                let asked_count = asked_count.saturating_add(usize::from(is_to_come));
                Step::wait(inquiry, move || {
                    identity.verify_after(&auth, check, waits_left.saturating_sub(1), asked_count)
                })
            }
            // Of a provider whose keys have never been had no token is known to be bad.
            None if remotes.clone().any(|remote| self.key_sets.keys(remote).is_none()) => {
                Step::Ready(Err(Violation::Internal.into()))
            }
            None => Step::Ready(Err(Refusal::unknown_key(key_id))),
        }
    }

    /// Issues a ticket to `holder`.
    ///
    /// # Errors
    /// Those of [`tickets::seal`]; [`Violation::Internal`] for a fault of the host.
    pub fn issue(&self, rules: &TicketRules, holder: &Verified, bound: Bound) -> Result<Issued, Violation> {
        let random = port::random(&*self.port);
        let (Ok(date), Ok(random), Ok(scope)) = (self.port.date(), random, self.scope(rules)) else {
            return Err(Violation::Internal);
        };
        tickets::seal(rules, scope, holder, bound, date, random)
    }

    /// Opens a ticket by `auth`, without redeeming it: what would refuse it anyway is to be found out first.
    ///
    /// # Errors
    /// Those of [`tickets::open`]; [`Violation::Internal`] for a fault of the host.
    pub fn open(&self, auth: &AuthRules, ticket: &[u8], bound: Bound) -> Result<Ticket, Refusal> {
        let rules = auth.tickets.as_ref().ok_or(Violation::TicketInvalid)?;
        let (Ok(date), Ok(scope)) = (self.port.date(), self.scope(rules)) else {
            return Err(Violation::Internal.into());
        };
        tickets::open(rules, scope, |name| auth.provider(name), ticket, bound, date)
    }

    /// Redeems a ticket, once for all workers, and for all proxies where the service of `global` knows. Whatever cannot be found out is no:
    /// a ticket is lost then.
    ///
    /// The violation is [`Violation::TicketUsed`], [`Violation::TicketInvalid`] where it is over by now, [`Violation::Overloaded`] where
    /// there is no room to remember it, or [`Violation::Internal`].
    #[must_use]
    pub fn redeem(&self, ticket: Ticket, global: Option<&GlobalLimits>) -> Step<Result<Rc<Verified>, Refusal>> {
        let Ticket { id, expires_at, store, holder } = ticket;
        if let Err(violation) = self.redeem_here(id.expose(), expires_at) {
            return Step::Ready(Err(violation.into()));
        }
        match (store, global) {
            (Store::Local, _) => Step::Ready(Ok(holder)),
            (Store::RateLimitService, None) => Step::Ready(Err(Violation::Internal.into())),
            (Store::RateLimitService, Some(global)) => {
                let digest = Sha256::digest(id.expose());
                let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                Step::ask(rls::question(global, &[&[("ticket", &name)]], 1), move |answer| {
                    Step::Ready(match rls::verdict(&answer) {
                        Some(verdict) if verdict.allowed => Ok(holder),
                        Some(_) => Err(Violation::TicketUsed.into()),
                        None => Err(Violation::Internal.into()),
                    })
                })
            }
        }
    }

    fn redeem_here(&self, id: &[u8], expires_at: Timestamp) -> Result<(), Violation> {
        let (Ok(date), Ok(now)) = (self.port.date(), self.port.now()) else { return Err(Violation::Internal) };
        if date >= expires_at {
            return Err(Violation::TicketInvalid);
        }
        // By the clock that never goes back: the calendar may.
        let until = now.saturating_add(expires_at.since(date)).saturating_add(CLOCK_SKEW);
        match used::redeem(&*self.port, id, until, now) {
            Ok(Use::First) => Ok(()),
            Ok(Use::Again) => Err(Violation::TicketUsed),
            Ok(Use::Full) => Err(Violation::Overloaded),
            Err(HostError) => Err(Violation::Internal),
        }
    }

    /// Which proxies may redeem what this one issues.
    fn scope(&self, rules: &TicketRules) -> Result<Scope, HostError> {
        match rules.store {
            Store::Local => {
                let (register, _) = self.port.shared(port::Cell::Register)?.ok_or(HostError)?;
                Ok(Scope::of_proxy(Register::seed(&register)))
            }
            Store::RateLimitService => Ok(Scope::FLEET),
        }
    }

    /// The providers of `auth` with the keys that they have published.
    fn providers<'a>(&self, auth: &'a AuthRules) -> Cow<'a, [Provider]> {
        let mut providers = Cow::Borrowed(auth.providers.as_slice());
        for (index, provider) in auth.providers.iter().enumerate() {
            let keys = provider.remote.as_ref().and_then(|remote| self.key_sets.keys(remote));
            if let Some(keys) = keys
                && let Some(provider) = providers.to_mut().get_mut(index)
            {
                provider.keys = keys;
            }
        }
        providers
    }

    /// Has `stream` wait for the answer to an inquiry.
    pub fn wait(&self, inquiry: Inquiry, stream: u32) {
        self.inquiries.wait(inquiry, stream);
    }

    /// The answer to an inquiry is there, or will never be. Gives the streams that wait for it, unless more has to be asked first.
    #[must_use]
    pub fn answered(&self, inquiry: Inquiry, answer: &Answer) -> Vec<u32> {
        let now = self.port.now().unwrap_or_default();
        let chance = || port::random(&*self.port).map_or(0, u16::from_le_bytes);
        match self.inquiries.topic(inquiry) {
            Some(Topic::Feed(number)) => self.receive_feed(number, answer, now, chance()),
            Some(Topic::Logout(number)) => {
                if let Some(cluster) = self.relay.receive(number, answer, now) {
                    self.lines.borrow_mut().push(format!("a logout was not taken by cluster {cluster}"));
                }
            }
            Some(Topic::KeySet(number)) => match self.key_sets.receive(number, answer, now, chance()) {
                Some((_, Received::Then(request))) => {
                    self.inquiries.ask(inquiry, request);
                    return Vec::new();
                }
                Some((cluster, Received::Failed(failure))) => {
                    self.counts.borrow_mut().push(Metric::KeySets(false));
                    self.lines.borrow_mut().push(format!("no keys from cluster {cluster}: {failure}"));
                }
                Some((_, Received::Fetched | Received::Unchanged)) => {
                    self.counts.borrow_mut().push(Metric::KeySets(true));
                }
                None => {}
            },
            Some(Topic::Lookup(number)) => {
                // Without the date nothing is kept for longer than this.
                let date = self.port.date().unwrap_or_default();
                if let Some((cluster, failure)) = self.lookups.receive(number, answer, now, date) {
                    self.lines
                        .borrow_mut()
                        .push(format!("no answer about a credential from cluster {cluster}: {failure}"));
                }
            }
            None => {}
        }
        self.inquiries.end(inquiry)
    }

    fn receive_feed(&self, number: usize, answer: &Answer, now: Moment, chance: u16) {
        let receive = |feed: &mut Feed| (Box::<str>::from(&*feed.source().cluster), feed.receive(answer, now, chance));
        let Some((cluster, received)) = self.feeds.receive(number, receive) else { return };
        match &received {
            Received::Failed(failure) => {
                self.lines.borrow_mut().push(format!("no revocations from cluster {cluster}: {failure}"));
            }
            Received::Fetched => self.revise(),
            Received::Then(_) | Received::Unchanged => {}
        }
        self.counts.borrow_mut().push(Metric::Revocations(!matches!(received, Received::Failed(_))));
    }

    /// What is to be asked now.
    #[must_use]
    pub fn take_asks(&self) -> Vec<Ask> {
        self.inquiries.take_asks()
    }

    /// Has something logged as a warning.
    pub fn tell(&self, line: String) {
        self.lines.borrow_mut().push(line);
    }

    /// What is to be logged as a warning now.
    #[must_use]
    pub fn take_lines(&self) -> Vec<String> {
        self.lines.take()
    }

    /// What is to be counted now.
    #[must_use]
    pub fn take_counts(&self) -> Vec<Metric> {
        self.counts.take()
    }
}
