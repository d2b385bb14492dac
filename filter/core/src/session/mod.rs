//! A live connection, from the 101 to its end (RFC 6455 §5, §7).
//!
//! ```text
//!         receive: no fault that      receive, tick, adopt: fault, refuse()
//!         is enforced
//!   Open ───────────────────▶ Open ─────────────────────────────────▶ Closing ── CLOSE_TIMEOUT ──▶ reset   (closing.rs)
//! ```
//!
//! What is judged waits until it has been: a header always, a frame or a message where its payload is read
//! (direction.rs). So a verdict falls between two frames, nothing of a refused frame moves on, and what was forwarded before is
//! never half a frame, but for the longest of frames. In `Closing` each way gets one Close as soon as it stands between two
//! frames; everything else is dropped, and no memory is held any more.

mod closing;
mod credentials;
mod direction;
mod expiry;
mod introduction;
mod pace;
mod payload;
mod received;
mod scan;
mod terms;

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use crate::content::Handshake;
use crate::content::credential::Search;
use crate::content::envelope::Envelope;
use crate::content::tunnels::Conversation;
use crate::docket::{Docket, Strictness};
use crate::entry::{Credential, Entry};
use crate::limits::Share;
use crate::liveness::{Liveness, PING_LEN, Step, Traffic};
use crate::negotiation::Compression;
use crate::policy::routes::{Ambiguous, Place, Policies};
use crate::policy::{Policy, SideRules};
use crate::port::HostError;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::telemetry::Counts;
use crate::time::{Moment, Timestamp};
use crate::violation::{Part, Violation};
use crate::wire::deflate::Inflater;
use crate::wire::header::Framing;
use crate::wire::{Chunk, Side, Unreadable};
use closing::Closing;
use direction::Direction;
use expiry::Expiry;
use introduction::Introduction;
use terms::Terms;

pub use closing::CLOSE_GRACE;
pub use pace::{Budget, Excess};
pub use received::Received;

/// How long the peers may take to end a connection after our Close, before it is reset. RFC 6455 §7.1.1 leaves it open;
/// a round trip to anywhere fits many times, and a refused peer holds no connection for longer.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the closing handshake of the peers themselves may take: the answer to a Close may have to wait for the rest of a
/// long message, and other implementations give it 10 to 30 seconds.
pub const PEER_CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a Close to a client that does not answer has, to leave the proxy before the reset: it will hardly be read.
const DEAD_CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// How long a message may go on that began under other rules, which read less of it: the default of `message_timeout`.
const STRADDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// One WebSocket connection.
#[derive(Debug)]
pub struct Session {
    place: Place,
    entry: Entry,
    deflate: Option<Deflate>,
    policy: Rc<Policy>,
    from_client: Direction,
    from_server: Direction,
    handshake: Handshake,
    conversation: Cell<Conversation>,
    state: State,
    /// When it is reset.
    end_by: Option<Moment>,
    /// The side that ended it, and the code of its Close.
    ended_by: Option<(Side, Option<u16>)>,
    liveness: Liveness,
    expiry: Expiry,
    introduction: Introduction,
    /// A credential that a message has brought, until it is [taken](Self::take_token).
    token: Option<Box<Secret<Vec<u8>>>>,
    share: Share,
}

/// When a connection came up, and what is random about it.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// When it came up.
    pub at: Moment,
    /// Fresh and unpredictable: what its pings carry, and by how much its times differ from others'.
    pub nonce: [u8; PING_LEN],
}

/// What a look at the clock leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A Ping goes to the client, as soon as its way is free: [`Session::ping`].
    Ping,
    /// The connection was refused, or would have been were it not only monitored.
    Refused(Violation),
    /// The connection is reset.
    Reset,
}

#[derive(Debug)]
enum State {
    Open,
    Closing(Closing),
}

/// How the messages of a connection are compressed (RFC 7692 §7.1), where they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deflate {
    /// Whether the client's messages may refer to earlier ones.
    pub client_takeover: bool,
    /// Whether the server's messages may.
    pub server_takeover: bool,
    /// Whether they are inflated here, rather than passed unread.
    pub inspected: bool,
}

impl Session {
    pub(crate) fn new(
        policy: Rc<Policy>,
        place: Place,
        entry: Entry,
        deflate: Option<Deflate>,
        handshake: Handshake,
        share: Share,
        birth: Birth,
    ) -> Self {
        let direction = |from: Side, takeover: fn(Deflate) -> bool| {
            let inspected = deflate.filter(|deflate| deflate.inspected);
            let inflater = inspected.map(|deflate| Box::new(Inflater::new(takeover(deflate))));
            Direction::new(Framing { from, deflate: deflate.is_some() }, inflater, birth.at)
        };
        let introduction = if entry.is_unproven { Introduction::Awaited(birth.at) } else { Introduction::Over };
        Self {
            place,
            entry,
            deflate,
            policy,
            from_client: direction(Side::Client, |deflate| deflate.client_takeover),
            from_server: direction(Side::Server, |deflate| deflate.server_takeover),
            conversation: Cell::new(Conversation::new(handshake.exempt)),
            handshake,
            state: State::Open,
            end_by: None,
            ended_by: None,
            liveness: Liveness::new(birth.at, birth.nonce),
            expiry: Expiry::default(),
            introduction,
            token: None,
            share,
        }
    }

    /// The policy that this connection is under.
    #[must_use]
    pub const fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// What is known of its client.
    #[must_use]
    pub const fn credential(&self) -> Option<&Credential> {
        self.entry.credential.as_ref()
    }

    /// Puts the connection under other policies, from its next messages on: whether they would have let it in, and what they say of messages,
    /// limits and times. Gives the violation where it cannot be judged by them, or must not be there: it is then refused.
    pub fn adopt(&mut self, policies: &Policies, now: Moment) -> Option<Violation> {
        if matches!(self.state, State::Closing(_)) {
            return None;
        }
        // One whose readings differ by now is refused, as its handshake would be; until it has gone it is under the policy of its path as written.
        let (policy, is_plain) = match policies.select(&self.place) {
            Ok(policy) => (policy, true),
            Err(Ambiguous { policy, .. }) => (policy, false),
        };
        self.policy = Rc::clone(policy);
        self.liveness.forget_overlooked();
        self.expiry.forget_overlooked();
        for from in [Side::Client, Side::Server] {
            let policy = Rc::clone(&self.policy);
            let SideRules { rules, content } = policy.messages.of(from);
            self.direction_mut(from).reload(rules, content, now);
        }
        if !self.policy.awaits_first_message() && self.introduction != Introduction::Asked {
            self.introduction = Introduction::Over;
        }
        let can_be_judged = self.open_claims() & self.follow_compression() & is_plain;
        let faults = self.entry.faults(&self.policy, &self.place, &self.handshake.subprotocol);
        let faults = faults.with(Part::Whole, !can_be_judged);
        if self.policy.modes.enforce_any(faults) {
            self.refuse(Violation::PolicyChanged, None, now);
            return Some(Violation::PolicyChanged);
        }
        // What the handshake came in with has been counted with it.
        (!faults.are_among(self.entry.flaws)).then_some(Violation::PolicyChanged)
    }

    /// Has the claims at hand that messages are judged by. False: they were not kept.
    fn open_claims(&mut self) -> bool {
        if self.handshake.sender.is_none() && self.policy.read_claims() {
            self.handshake.sender = self.entry.credential.as_ref().and_then(Credential::open);
        }
        self.handshake.sender.is_some() || self.entry.credential.is_none() || !self.policy.read_claims()
    }

    /// Has messages inflated as the policy says. False: they cannot be.
    fn follow_compression(&mut self) -> bool {
        match (self.deflate, self.policy.compression) {
            (None, _) | (Some(_), Compression::Pass) => true,
            (Some(_), Compression::Refuse) => false,
            (Some(Deflate { client_takeover, server_takeover, .. }), Compression::Inspect) => {
                self.from_client.inspect(client_takeover) & self.from_server.inspect(server_takeover)
            }
        }
    }

    /// When [`Session::tick`] has to be called; `None`: not before the next bytes.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let due = match &self.state {
            State::Open if self.end_by.is_none() => {
                let due = self.liveness.deadline(&self.policy.liveness, &self.traffic());
                [due, self.expiry.deadline()].into_iter().flatten().min()
            }
            State::Closing(closing) => closing.server_until,
            State::Open => self.expiry.deadline().filter(|_| self.policy.modes.auth.enforces()),
        };
        [self.end_by, self.straddles_until(), self.introduced_until(), due].into_iter().flatten().min()
    }

    /// Whether the last bytes may have brought the deadline nearer: otherwise it only moves away.
    #[must_use]
    #[inline]
    pub const fn is_pressed(&self) -> bool {
        self.end_by.is_some() || self.from_client.unfinished_since().is_some()
    }

    /// Whether what the client's messages say is read, so that judging them is work.
    #[must_use]
    #[inline]
    pub fn is_read(&self) -> bool {
        self.policy.messages.client.content.read_text() || self.from_client.inflates()
    }

    /// How many bytes at the end of the client's last chunk have not been judged, since [`Budget::goes_on`] said no: a frame begins there.
    #[must_use]
    pub const fn left(&self) -> usize {
        match self.state {
            State::Open => self.from_client.left(),
            State::Closing(_) => 0,
        }
    }

    /// Whether a few bytes of the client may be much work: they end a message, or are compressed.
    #[must_use]
    pub const fn is_laden(&self) -> bool {
        self.from_client.unfinished_since().is_some() || self.from_client.inflates()
    }

    /// Finds the end of the client's token by the calendar, before a look at the clock and under another policy; `date` is asked only
    /// where there is one that ends.
    ///
    /// # Errors
    /// [`HostError`] when `date` fails.
    pub fn look_at_calendar(
        &mut self,
        date: impl FnOnce() -> Result<Timestamp, HostError>,
        now: Moment,
    ) -> Result<(), HostError> {
        let Some(credential) = &self.entry.credential else { return Ok(()) };
        let date = date().inspect_err(|_| self.expiry.doubt(now))?;
        self.expiry.look(credential, &self.policy.auth, date, now);
        Ok(())
    }

    /// Looks at the clock.
    pub fn tick(&mut self, now: Moment) -> Due {
        // A peer that has said its last may be sent more, but not beyond its token.
        let is_cut = self.is_expired(now) && matches!(self.state, State::Open) && self.policy.modes.auth.enforces();
        if self.end_by.is_some_and(|end| now >= end || is_cut) {
            return Due::Reset;
        }
        if let State::Closing(Closing { server_until: Some(until), .. }) = &self.state
            && now >= *until
        {
            self.stop_server(None);
        }
        let is_unknown = self.introduced_until().is_some_and(|end| now >= end);
        if (self.end_by.is_some() && !is_unknown) || !matches!(self.state, State::Open) {
            return Due::Nothing;
        }
        let traffic = self.traffic();
        let step = match self.straddles_until() {
            Some(until) if now >= until => Step::Refuse(Violation::PolicyChanged),
            Some(_) | None if self.is_expired(now) => Step::Refuse(Violation::CredentialExpired),
            Some(_) | None if is_unknown => Step::Refuse(Violation::CredentialMissing),
            Some(_) | None => self.liveness.tick(&self.policy.liveness, &traffic, now),
        };
        let violation = match step {
            Step::Nothing => return Due::Nothing,
            Step::WantPing => return Due::Ping,
            Step::Refuse(violation) => violation,
        };
        if self.policy.modes.of(violation.part(), None).enforces() {
            let offender = (violation == Violation::TooSlow).then_some(Side::Client);
            self.refuse(violation, offender, now);
            return Due::Refused(violation);
        }
        match violation {
            Violation::CredentialExpired => self.expiry.overlook(),
            Violation::CredentialMissing => self.introduction = Introduction::Over,
            _ => self.liveness.overlook(violation, &traffic),
        }
        Due::Refused(violation)
    }

    fn is_expired(&self, now: Moment) -> bool {
        self.expiry.deadline().is_some_and(|end| now >= end)
    }

    /// Whether its messages are packets of Socket.IO.
    #[must_use]
    pub fn is_socket_io(&self) -> bool {
        let envelope = &self.policy.messages.client.content.envelope;
        envelope.of(&self.handshake.subprotocol) == Some(Envelope::SocketIo)
    }

    /// Bytes of the client have come that are judged later: it is there.
    pub fn hear_client(&mut self, now: Moment) {
        self.liveness.receive_from_client(now, 0);
    }

    /// Whether messages may be compressed.
    #[must_use]
    pub const fn is_deflated(&self) -> bool {
        self.deflate.is_some()
    }

    /// When a message has to be over that was begun under other rules. It goes on where none of these is enforced.
    fn straddles_until(&self) -> Option<Moment> {
        let since = [(Side::Client, &self.from_client), (Side::Server, &self.from_server)].into_iter();
        let since = since.filter(|(from, _)| self.policy.modes.messages.of(*from).payload.enforces());
        let since = since.filter_map(|(_, direction)| direction.straddles_since()).min();
        let is_open = matches!(self.state, State::Open);
        since.filter(|_| is_open).map(|since| since.saturating_add(STRADDLE_TIMEOUT))
    }

    /// The Ping that is due to the client, where its way has come to the end of a frame: to be written behind everything
    /// forwarded on it so far. Otherwise [`Session::receive`] puts it between two frames of the server.
    pub fn ping(&mut self, now: Moment) -> Option<Vec<u8>> {
        let is_free =
            matches!(self.state, State::Open) && self.end_by.is_none() && self.is_between_frames(Side::Server);
        let ping = if is_free { self.liveness.ping() } else { None };
        if ping.is_some() {
            self.liveness.sent(now);
        }
        ping
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            message_at: self.from_client.message_at().max(self.from_server.message_at()),
            unfinished_since: self.from_client.unfinished_since(),
            is_between_frames: self.is_between_frames(Side::Server),
        }
    }

    /// Why we are closing this connection, where we are.
    #[must_use]
    #[inline]
    pub const fn violation(&self) -> Option<Violation> {
        match &self.state {
            State::Open => None,
            State::Closing(closing) => Some(closing.violation),
        }
    }

    /// The side that ended it, unless we did, and the code of its Close, where there was one.
    #[must_use]
    pub const fn ended_by(&self) -> Option<(Side, Option<u16>)> {
        self.ended_by
    }

    /// What began in the last bytes of one side.
    #[must_use]
    #[inline]
    pub const fn counts(&self, from: Side) -> &Counts {
        self.direction(from).counts()
    }

    /// `from` sends nothing any more, with a Close or without: the other may finish, but not stay.
    pub fn finish(&mut self, from: Side, now: Moment) {
        self.ended_by.get_or_insert((from, None));
        self.end_by.get_or_insert_with(|| now.saturating_add(PEER_CLOSE_TIMEOUT));
        if from == Side::Server {
            self.stop_server(None);
        }
    }

    /// By which limits messages and control frames were too much and swallowed, and how many: only the client has limits.
    pub fn take_swallowed(&mut self) -> Vec<(Refusal, u32)> {
        self.from_client.take_swallowed()
    }

    /// Takes the next bytes of one side; `now` may be some milliseconds late.
    ///
    /// # Errors
    /// [`Unreadable`] when the host does not give out the bytes; nothing of the chunk may then be forwarded.
    #[inline]
    pub fn receive<C: Chunk + ?Sized>(
        &mut self,
        from: Side,
        chunk: &C,
        now: Moment,
        budget: &dyn Budget,
    ) -> Result<Received, Unreadable> {
        match &self.state {
            State::Closing(closing) if from == Side::Client || closing.server_until.is_none() => {
                let keep = self.direction_mut(from).finish_frame(chunk.len());
                Ok(Received::pass(Vec::new(), keep))
            }
            State::Open | State::Closing(_) => self.judge(from, chunk, now, budget),
        }
    }

    fn judge<C: Chunk + ?Sized>(
        &mut self,
        from: Side,
        chunk: &C,
        now: Moment,
        budget: &dyn Budget,
    ) -> Result<Received, Unreadable> {
        let is_closing = matches!(self.state, State::Closing(_));
        let strictness = match () {
            () if is_closing => Strictness::All,
            () if from == Side::Client && self.is_unproven() => Strictness::Payload,
            () => Strictness::None,
        };
        let Self { policy, from_client, from_server, handshake, conversation, share, liveness, .. } = self;
        let docket = Docket::new(policy.modes, Some(from), strictness);
        let search = match &policy.credentials {
            Some(rules) if from == Side::Client && !is_closing => {
                let wanted = self.introduction.wanted(rules, policy.auth.required, self.entry.credential.is_some());
                wanted.map(|wanted| Search::new(wanted, docket.mode(Part::Auth).enforces()))
            }
            Some(_) | None => None,
        };
        let (direction, other) = match from {
            Side::Client => (&mut *from_client, &*from_server),
            Side::Server => (&mut *from_server, &*from_client),
        };
        let SideRules { rules, content } = policy.messages.of(from);
        let fits = |len: usize| share.fits(len.saturating_add(other.memory_len()), policy.limits.held_len_max);
        let (limits, pongs_due) = match from {
            Side::Client => (Some(&policy.limits), liveness.pongs_due()),
            Side::Server => (None, 0),
        };
        let ping = match from {
            Side::Server if self.end_by.is_none() => liveness.ping(),
            Side::Server | Side::Client => None,
        };
        let (is_due, ping) = (ping.is_some(), Cell::new(ping));
        let terms = Terms {
            rules,
            content,
            handshake,
            conversation,
            search: search.as_ref(),
            docket: &docket,
            is_closing,
            inspect: policy.compression != Compression::Pass,
            fits: &fits,
            limits,
            budget,
            countdown: budget.countdown(from),
            now,
            ping: &ping,
            pong: liveness.pong(),
            pongs_due,
        };
        let mut outcome = direction.receive(chunk, &terms);
        // It stays where it is: a move costs as much as it is long.
        let Ok(received) = &mut outcome else { return outcome };
        let pong_count = direction.pong_count();
        if direction.is_closed() {
            self.end_by.get_or_insert_with(|| now.saturating_add(PEER_CLOSE_TIMEOUT));
            if self.ended_by.is_none() {
                self.ended_by = Some((from, direction.close_code()));
            }
        }
        match from {
            Side::Client if chunk.is_empty() => {}
            Side::Client => liveness.receive_from_client(now, pong_count),
            Side::Server => liveness.receive_from_server(now, chunk.len()),
        }
        if is_due && ping.take().is_none() {
            liveness.sent(now);
        }
        let grows = direction.unasked_len() > 0;
        let holds = !(share.is_empty() && from_client.is_bare() && from_server.is_bare());
        if search.is_some() || self.introduction != Introduction::Over {
            let brought = search.map(Search::into_brought);
            self.introduce(from, brought, &docket, received);
        }
        if holds {
            self.count_held();
        }
        // What is held was asked for before; a window grows while it is used.
        if grows && received.violation.is_none() {
            self.check_room(from, &docket, received);
        }
        if is_closing || received.violation.is_some() {
            self.conclude(from, received, now);
        }
        if !docket.is_empty() {
            received.overlooked = docket.into_passed();
        }
        outcome
    }

    /// Tells the worker how much is held.
    fn count_held(&mut self) {
        self.share.set(self.from_client.memory_len().saturating_add(self.from_server.memory_len()));
    }

    /// A way needs more memory than was asked for: where there is none for it, the connection ends, or what needs it is not judged any more.
    #[cold]
    fn check_room(&mut self, from: Side, docket: &Docket, received: &mut Received) {
        if self.share.all().has_room(0, self.policy.limits.held_len_max) {
            return;
        }
        match docket.find(Violation::Overloaded) {
            Err(refusal) => received.violation = Some(refusal.violation),
            Ok(()) => {
                self.direction_mut(from).shed();
                self.count_held();
            }
        }
    }

    /// Ends the connection for what was found, or the server's part in one that has ended: the first verdict sticks.
    #[cold]
    fn conclude(&mut self, from: Side, received: &mut Received, now: Moment) {
        let is_closing = matches!(self.state, State::Closing(_));
        match received.violation {
            None if is_closing && self.from_server.is_closed() => self.stop_server(None),
            None => {}
            Some(violation) => {
                let is_heard = from == Side::Client && !self.is_unproven();
                let server_until = is_heard.then(|| now.saturating_add(CLOSE_GRACE));
                self.close(violation, Some(from), server_until, now);
            }
        }
        if is_closing {
            (received.violation, received.cause) = (None, None);
        }
    }

    /// Ends the connection for `violation`; the first verdict sticks. Both peers are told at once.
    ///
    /// The offender gets the violation's close code, and so does the server behind a refused client. A client whose
    /// server broke the rules gets 1011.
    pub fn refuse(&mut self, violation: Violation, offender: Option<Side>, now: Moment) {
        self.close(violation, offender, None, now);
    }

    /// Likewise; where `server_until` says so, the client is told behind what the server still has to say.
    fn close(&mut self, violation: Violation, offender: Option<Side>, server_until: Option<Moment>, now: Moment) {
        if matches!(self.state, State::Closing(_)) {
            self.stop_server(offender);
            return;
        }
        if self.is_unproven() {
            self.from_client.retract();
        }
        self.token = None;
        let has_had_one = |to: Side| self.direction(to.peer()).is_closed();
        let closing = Closing::new(violation, offender, has_had_one, server_until);
        let is_heard = closing.server_until.is_some();
        self.state = State::Closing(closing);
        let timeout = if violation == Violation::Dead { DEAD_CLOSE_TIMEOUT } else { CLOSE_TIMEOUT };
        self.end_by = Some(now.saturating_add(timeout));
        self.from_client.stop(offender);
        if is_heard { self.share.set(self.from_server.memory_len()) } else { self.stop_server(offender) }
    }

    /// Nothing more of the server goes on, but for the rest of the frame in hand where that was no offence: the client of a refused
    /// connection is told.
    fn stop_server(&mut self, offender: Option<Side>) {
        if let State::Closing(closing) = &mut self.state {
            closing.server_until = None;
            self.from_server.stop(offender);
            self.share.set(0);
        }
    }

    /// The Close frame that is due towards `to`, once: to be written behind everything forwarded on that way so far.
    ///
    /// `None` while nothing is due, or while that way stands in the middle of a frame. `mask` must be fresh and
    /// unpredictable; it is used only towards the server.
    pub fn transmit(&mut self, to: Side, mask: [u8; 4]) -> Option<Vec<u8>> {
        if !self.is_between_frames(to.peer()) {
            return None;
        }
        match &mut self.state {
            State::Open => None,
            State::Closing(closing) => closing.transmit(to, mask),
        }
    }

    /// Whether everything of `from` that has gone on ends with a frame.
    #[must_use]
    pub fn is_between_frames(&self, from: Side) -> bool {
        self.direction(from).is_between_frames()
    }

    /// How much is held of a message from one side.
    #[must_use]
    pub fn held_len(&self, from: Side) -> usize {
        self.direction(from).held_len()
    }

    const fn direction(&self, from: Side) -> &Direction {
        match from {
            Side::Client => &self.from_client,
            Side::Server => &self.from_server,
        }
    }

    const fn direction_mut(&mut self, from: Side) -> &mut Direction {
        match from {
            Side::Client => &mut self.from_client,
            Side::Server => &mut self.from_server,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
