//! A document that a service publishes, fetched over a cluster of the proxy again and again.
//!
//! ```text
//! next_at ── request ──▶ HttpRequest ── answer ──▶ taken | unchanged ── refresh, or sooner by Cache-Control ──▶ next_at
//!                                          └─ failed: the last good one stays ── 1 s, 2 s, … refresh ──▶ next_at
//! ```
//!
//! What the document says is read by whoever has it fetched: [`super::key_set`], [`super::feed`].

use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use std::rc::{Rc, Weak};

use super::inquiries::{Inquiries, Topic};
use super::location::Location;
use crate::ask::{Answer, HttpRequest, HttpResponse};
use crate::http::list::trim;
use crate::time::Moment;

/// The longest document, in bytes: 64 keys with their certificates are a quarter of it, and 25,000 identifiers of 40 bytes all of it.
pub const DOCUMENT_LEN_MAX: usize = 1 << 20;

/// How soon a service may have its document fetched again by `Cache-Control`.
const FRESH_MIN: Duration = Duration::from_secs(10);

/// When a fetch that failed is tried again, at first.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The most doublings of [`RETRY_MIN`]: nine hours, beyond any `refresh`.
const DOUBLINGS_MAX: u32 = 15;

/// The part of a span by which chance shortens it, so that workers and Envoys do not all ask at once. It never lengthens one: `refresh` is the
/// longest time that a withdrawn key, or a revoked credential, is accepted.
const SPREAD: f64 = 0.1;

/// The longest ETag that is sent back, in bytes.
const ETAG_LEN_MAX: usize = 256;

/// Why a document could not be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// No answer came within the time, or it was too long.
    NoAnswer,
    /// The status is none that says something: of a document neither 200 nor, where that was asked for, 304. Redirects are not followed.
    Status(u16),
    /// The answer is not what it should be: strict JSON with the members that are needed.
    Malformed,
    /// The metadata is another issuer's.
    Issuer,
    /// Not one key is usable.
    NoneUsable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("no answer, or one that is too long"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Malformed => f.write_str("the answer is no JSON object of the right shape"),
            Self::Issuer => f.write_str("the metadata is another issuer's"),
            Self::NoneUsable => f.write_str("no key is usable with the algorithms"),
        }
    }
}

/// What came of an answer.
#[derive(Debug, Eq, PartialEq)]
pub enum Received {
    /// There is a new document.
    Fetched,
    /// It is as it was.
    Unchanged,
    /// There is nothing new; the last good one stays.
    Failed(Failure),
    /// The next request is to be made.
    Then(HttpRequest),
}

/// The cluster that a document is fetched over, and how long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// The proxy's name of the cluster.
    pub cluster: &'a str,
    /// The longest time between two fetches.
    pub refresh: Duration,
    /// How long a request may take.
    pub timeout: Duration,
}

/// When a document is fetched next, and what its place called the last one.
#[derive(Debug, Default)]
pub struct Edition {
    place: Option<(Location, Option<String>)>,
    next_at: Moment,
    failures: u32,
}

impl Edition {
    /// When it is to be fetched: at first, at once.
    #[must_use]
    pub const fn next_at(&self) -> Moment {
        self.next_at
    }

    /// The place that the last one came from.
    #[must_use]
    pub fn place(&self) -> Option<&Location> {
        self.place.as_ref().map(|(place, _)| place)
    }

    /// A request for the document at `location`, unless it is as it was there.
    #[must_use]
    pub fn request(&self, service: Service<'_>, location: &Location) -> HttpRequest {
        let mut request = get(service, location);
        if let Some((place, Some(etag))) = &self.place
            && place == location
        {
            request.fields.push(("if-none-match", etag.clone()));
        }
        request
    }

    /// Whether the answer says that it is as it was at `location`.
    #[must_use]
    pub fn is_unchanged(&self, answer: &Answer, location: &Location) -> bool {
        let is_known = self.place.as_ref().is_some_and(|(place, etag)| place == location && etag.is_some());
        is_known && matches!(answer, Answer::Http(HttpResponse { status: 304, .. }))
    }

    /// The document of `answer` is taken.
    pub fn take(&mut self, location: Location, answer: &Answer) {
        self.place = Some((location, etag(answer)));
    }

    /// Finds when the next fetch is due, after one that has `failed` or not. `chance` is a fresh random number.
    pub fn plan(&mut self, service: Service<'_>, answer: &Answer, failed: bool, now: Moment, chance: u16) {
        let span = match answer {
            Answer::Http(response) if !failed => {
                self.failures = 0;
                freshness(response).map_or(service.refresh, |fresh| fresh.max(FRESH_MIN))
            }
            _ => {
                let doublings = self.failures.min(DOUBLINGS_MAX);
                self.failures = self.failures.saturating_add(1);
                RETRY_MIN.saturating_mul(1 << doublings)
            }
        };
        self.next_at = now.saturating_add(shortened(span.min(service.refresh), chance));
    }
}

/// A request for what is at `location`.
#[must_use]
pub fn get(service: Service<'_>, location: &Location) -> HttpRequest {
    let fields = vec![
        (":method", "GET".to_owned()),
        (":authority", String::from(&*location.authority)),
        (":path", String::from(&*location.path)),
        ("accept", "application/json".to_owned()),
    ];
    HttpRequest {
        cluster: service.cluster.into(),
        fields,
        body: Vec::new(),
        timeout: service.timeout,
        answer_len_max: DOCUMENT_LEN_MAX,
    }
}

/// The body of an answer with status 200.
///
/// # Errors
/// [`Failure::NoAnswer`] and [`Failure::Status`].
pub fn body(answer: &Answer) -> Result<&[u8], Failure> {
    let Answer::Http(response) = answer else { return Err(Failure::NoAnswer) };
    if response.status == 200 { Ok(&response.body) } else { Err(Failure::Status(response.status)) }
}

/// The ETag, where it can be sent back.
fn etag(answer: &Answer) -> Option<String> {
    let Answer::Http(response) = answer else { return None };
    let etag = response.field("etag")?;
    let is_sendable = etag.len() <= ETAG_LEN_MAX && etag.iter().all(u8::is_ascii_graphic);
    is_sendable.then(|| str::from_utf8(etag).ok().map(str::to_owned)).flatten()
}

/// How long the sender of a response says that it holds (RFC 9111 §5.2.2), less the time that it lay in caches; zero where nobody may keep
/// it.
fn freshness(response: &HttpResponse) -> Option<Duration> {
    let lines = response.fields.iter().filter(|(name, _)| name == b"cache-control").map(|(_, value)| value);
    let mut fresh = None;
    for directive in lines.flat_map(|line| line.split(|byte| *byte == b',')).map(trim) {
        let directive = directive.to_ascii_lowercase();
        if directive == b"no-store" || directive == b"no-cache" {
            return Some(Duration::ZERO);
        }
        if let Some(age) = directive.strip_prefix(b"max-age=").and_then(seconds) {
            fresh = Some(age);
        }
    }
    let age = response.field("age").and_then(seconds).unwrap_or_default();
    fresh.map(|fresh: Duration| fresh.saturating_sub(age))
}

fn seconds(digits: &[u8]) -> Option<Duration> {
    str::from_utf8(digits).ok()?.parse().ok().map(Duration::from_secs)
}

/// `span`, less up to [`SPREAD`] of it.
fn shortened(span: Duration, chance: u16) -> Duration {
    let part = 1.0 - SPREAD * f64::from(chance) / f64::from(u16::MAX);
    Duration::try_from_secs_f64(span.as_secs_f64() * part).unwrap_or(span)
}

/// A document as somebody knows it.
pub trait Document {
    /// What says where it is.
    type Source: Clone + fmt::Debug + PartialEq;

    /// Nothing is known yet, and it is to be fetched at once.
    fn new(source: Rc<Self::Source>) -> Self;

    /// What says where it is.
    fn source(&self) -> &Self::Source;

    /// Begins a fetch that is due.
    fn begin_due(&mut self, now: Moment) -> Option<HttpRequest>;

    /// What is asked about it.
    fn topic(number: usize) -> Topic;
}

/// The documents of one kind that a worker's policies name: each once, whoever names it, so that a reload that names it again keeps it.
#[derive(Debug)]
pub struct Documents<D: Document> {
    all: RefCell<Vec<Wanted<D>>>,
    /// The number of the next one. None is used again: an answer for one that is gone must not be another's.
    next: Cell<usize>,
}

/// A document, for as long as some policy names it.
#[derive(Debug)]
struct Wanted<D: Document> {
    number: usize,
    document: D,
    by: Vec<Weak<D::Source>>,
}

impl<D: Document> Default for Documents<D> {
    fn default() -> Self {
        Self { all: RefCell::default(), next: Cell::default() }
    }
}

impl<D: Document> Documents<D> {
    /// Has a document fetched for as long as `source` lives.
    pub fn want(&self, source: &Rc<D::Source>) {
        let mut all = self.all.borrow_mut();
        let by = Rc::downgrade(source);
        match all.iter_mut().find(|wanted| *wanted.document.source() == **source) {
            Some(wanted) => wanted.by.push(by),
            None => {
                let number = self.next.get();
                self.next.set(number.wrapping_add(1));
                let document = D::new(Rc::new(D::Source::clone(source)));
                all.push(Wanted { number, document, by: vec![by] });
            }
        }
    }

    /// Fetches what is due, and forgets what nobody names any more.
    pub fn tick(&self, now: Moment, inquiries: &Inquiries) {
        self.all.borrow_mut().retain_mut(|wanted| {
            wanted.by.retain(|by| by.strong_count() > 0);
            !wanted.by.is_empty()
        });
        for wanted in &mut *self.all.borrow_mut() {
            fetch(wanted, now, inquiries);
        }
    }

    /// Looks at a document.
    pub fn look<T>(&self, source: &D::Source, look: impl FnOnce(&D) -> Option<T>) -> Option<T> {
        let all = self.all.borrow();
        look(&all.iter().find(|wanted| wanted.document.source() == source)?.document)
    }

    /// Asks about a document where `wants` says so, and fetches it where that is due.
    pub fn inquire<T>(
        &self,
        source: &D::Source,
        now: Moment,
        inquiries: &Inquiries,
        wants: impl FnOnce(&mut D) -> Option<T>,
    ) -> Option<(crate::ask::Inquiry, T)> {
        let mut all = self.all.borrow_mut();
        let wanted = all.iter_mut().find(|wanted| wanted.document.source() == source)?;
        let want = wants(&mut wanted.document)?;
        fetch(wanted, now, inquiries);
        Some((inquiries.about(D::topic(wanted.number)), want))
    }

    /// Takes an answer for the document of this number.
    pub fn receive<T>(&self, number: usize, receive: impl FnOnce(&mut D) -> T) -> Option<T> {
        let mut all = self.all.borrow_mut();
        Some(receive(&mut all.iter_mut().find(|wanted| wanted.number == number)?.document))
    }
}

/// Begins a fetch that is due.
fn fetch<D: Document>(wanted: &mut Wanted<D>, now: Moment, inquiries: &Inquiries) {
    if let Some(request) = wanted.document.begin_due(now) {
        inquiries.ask(inquiries.about(D::topic(wanted.number)), request);
    }
}
