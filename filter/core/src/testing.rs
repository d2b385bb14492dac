//! What tests of the core need, here and in other crates: a good handshake, counts that nothing exceeds, a host in memory.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::ask::Step;
use crate::docket::{Docket, Strictness};
use crate::effect::Passage;
use crate::handshake::{self, Capacity, Decision, Hearing, HttpVersion, Opening, Pending, Request};
use crate::http::headers::Headers;
use crate::identity::Identity;
use crate::limits::HeldBytes;
use crate::limits::admission::{Applicant, Peer};
use crate::mode::Mode;
use crate::modes::Modes;
use crate::policy::Policy;
use crate::policy::routes::Policies;
use crate::port::{self, HostError, Port};
use crate::session::{Birth, Budget, Received, Session};
use crate::time::{Moment, Timestamp};
use crate::violation::Violation;
use crate::wire::Side;

/// A xorshift generator: the same choices in each run.
#[derive(Clone, Copy, Debug)]
pub struct Choices(u64);

impl Choices {
    /// Others for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of the numbers below `count`.
    pub const fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % count
    }

    /// One of these.
    pub const fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// The key of the example in RFC 6455 §1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What answers it.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// When everything is judged, in seconds since the epoch.
pub const NOW: u64 = 1_800_000_000;

/// When connections come up, and when everything happens in those that are not about time.
pub const MOMENT: Moment = Moment::from_nanos(1_000_000_000_000);

/// How every connection comes up.
pub const BIRTH: Birth = Birth { at: MOMENT, nonce: *b"\x7f\xffnonce!" };

/// A clock that stands still, and others' counts that nothing exceeds.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Budget for Unlimited {
    fn now(&self) -> Moment {
        MOMENT
    }

    fn spend(&self, _: u64, _: u64) -> bool {
        true
    }

    fn ask(&self, _: &str) -> bool {
        true
    }
}

impl Capacity for Unlimited {
    fn admit(&mut self, _: &Policy, _: Applicant<'_>) -> Result<(), Violation> {
        Ok(())
    }

    fn keep(&mut self, _: &mut Pending) -> bool {
        true
    }

    fn resume(&mut self) {}
}

/// What is found in messages of a client, all of which is refused.
#[must_use]
pub const fn docket() -> Docket {
    Docket::new(Modes::all(Mode::Enforce), Some(Side::Client), Strictness::None)
}

/// The fields of a head.
#[must_use]
pub fn headers(fields: &[(&str, &str)]) -> Headers {
    Headers::new(fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect())
}

/// A good upgrade to `/chat` at `chat.example.com`, without an Origin and a credential.
#[must_use]
pub fn upgrade() -> Vec<(&'static str, &'static str)> {
    vec![
        (":method", "GET"),
        (":path", "/chat"),
        (":authority", "chat.example.com"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ]
}

/// The answer to [`upgrade`].
#[must_use]
pub fn switching_protocols() -> Vec<(&'static str, &'static str)> {
    vec![(":status", "101"), ("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", ACCEPT)]
}

/// A request over HTTP/1.1 without TLS, from nowhere.
#[must_use]
pub fn request(headers: Headers) -> Request {
    Request { headers, protocol: HttpVersion::Http11, tls: false, end: false, peer: Peer::default() }
}

/// Decides about a request now, whatever others have.
///
/// # Panics
/// Where a service has to be asked first.
#[must_use]
pub fn decide(policies: &Policies, request: &Request, held: &Rc<HeldBytes>) -> Opening {
    decide_within(policies, request, held, Unlimited).0
}

/// Likewise; others count as `capacity` says, which is given back.
///
/// # Panics
/// Where a service has to be asked first.
#[must_use]
pub fn decide_within<C: Capacity + 'static>(
    policies: &Policies,
    request: &Request,
    held: &Rc<HeldBytes>,
    capacity: C,
) -> (Opening, C) {
    let hearing = Hearing {
        policies: Rc::new(policies.clone()),
        request: request.clone(),
        held: Rc::clone(held),
        identity: Rc::new(Identity::new(Rc::new(MemoryPort::default()))),
        nonce: [7; 16],
        capacity,
    };
    match handshake::check(hearing).1 {
        Step::Ready(decided) => decided,
        Step::Asks(wait, _) => panic!("{wait:?} is asked"),
    }
}

/// A connection that is up, by a request and its answer.
///
/// # Panics
/// Where it is not let in.
#[must_use]
pub fn session(policies: &Policies, request: &Request, response: &Headers) -> Session {
    match decide(policies, request, &Rc::default()).decision {
        Decision::Upgrade(pending) => pending.check(response, BIRTH).expect("a good answer").session,
        decision => panic!("{decision:?}"),
    }
}

/// A frame of the client that begins with `first`.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..126), _) => vec![0x80 | len],
        (_, Ok(len)) => [&[0x80 | 126][..], &len.to_be_bytes()].concat(),
        (_, Err(_)) => [&[0x80 | 127][..], &(payload.len() as u64).to_be_bytes()].concat(),
    };
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let masked = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    [first].into_iter().chain(len).chain(key).chain(masked).collect()
}

/// What goes on of a chunk.
#[must_use]
pub fn forwarded(received: &Received, chunk: &[u8]) -> Vec<u8> {
    let Passage { before, keep, after } = &received.passage;
    [before, &chunk[..*keep], after].concat()
}

/// The data that all workers share.
pub type SharedData = Rc<RefCell<BTreeMap<port::Cell, (Vec<u8>, u32)>>>;

/// Makes of a `VerifySignatureArguments` its `VerifySignatureResult`.
pub type Verifier = fn(&[u8]) -> Vec<u8>;

/// A host in memory, of one worker.
#[derive(Debug, Default)]
pub struct MemoryPort {
    /// The time.
    pub now: Rc<Cell<u64>>,
    /// How far its calendar was set forward.
    pub ahead: Cell<Duration>,
    /// What all workers share.
    pub data: SharedData,
    /// How much memory is in use.
    pub memory_len: Cell<usize>,
    /// The next call that fails: counted down with each.
    pub fails_in: Cell<Option<u32>>,
    /// What checks signatures: of arguments the result.
    pub verifier: Cell<Option<Verifier>>,
    /// How often it was asked to.
    pub asked_count: Cell<u32>,
    random: Rc<Cell<u64>>,
}

impl MemoryPort {
    /// The host of another worker of the same proxy.
    #[must_use]
    pub fn beside(&self) -> Self {
        let Self { now, data, random, .. } = self;
        Self { now: Rc::clone(now), data: Rc::clone(data), random: Rc::clone(random), ..Self::default() }
    }

    fn call(&self) -> Result<(), HostError> {
        let fails_in = self.fails_in.get();
        self.fails_in.set(fails_in.and_then(|calls| calls.checked_sub(1)));
        if fails_in == Some(0) { Err(HostError) } else { Ok(()) }
    }
}

impl Port for MemoryPort {
    fn now(&self) -> Result<Moment, HostError> {
        self.call()?;
        Ok(Moment::from_nanos(self.now.get()))
    }

    fn date(&self) -> Result<Timestamp, HostError> {
        self.call()?;
        let span = Duration::from_nanos(self.now.get()).saturating_add(self.ahead.get());
        Ok(Timestamp::from_secs(NOW).saturating_add(span))
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        self.call()?;
        for byte in bytes {
            self.random.set(self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            *byte = (self.random.get() >> 56) as u8;
        }
        Ok(())
    }

    fn memory_len(&self) -> usize {
        self.memory_len.get()
    }

    fn shared(&self, cell: port::Cell) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        self.call()?;
        Ok(self.data.borrow().get(&cell).cloned())
    }

    fn share(&self, cell: port::Cell, bytes: &[u8], version: Option<u32>) -> Result<bool, HostError> {
        self.call()?;
        let mut data = self.data.borrow_mut();
        let known = data.get(&cell).map(|(_, version)| *version);
        if version.is_some() && known.is_some() && version != known {
            return Ok(false);
        }
        data.insert(cell, (bytes.to_vec(), known.unwrap_or_default().wrapping_add(1)));
        Ok(true)
    }

    fn verify_signature(&self, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        self.asked_count.set(self.asked_count.get().wrapping_add(1));
        Ok(self.verifier.get().ok_or(HostError)?(arguments))
    }
}
