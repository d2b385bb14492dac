//! What a skin has to find out, and the judgement that waits for it.
//!
//! ```text
//! Step::Ready(T)
//! Step::Asks(Wait::Own(Question), Rest<T>) ── the skin calls the service ──────────────── Rest::answer(Answer) ──▶ Step<T>
//! Step::Asks(Wait::Shared(Inquiry), Rest<T>) ── somebody has asked, for all who wait ──── Rest::answer(Answer::Shared) ──▶ Step<T>
//! ```
//!
//! A [`Rest`] owns everything that the judgement still needs. Dropping it is all that becomes of a judgement whose client has left.

use core::fmt;
use core::time::Duration;

/// What is asked of a service outside of the proxy.
#[derive(Clone, Eq, PartialEq)]
pub enum Question {
    /// A request to a cluster of the proxy.
    Http(HttpRequest),
    /// A `RateLimitRequest` to a service of `envoy.service.ratelimit.v3` ([`crate::limits::rls`]).
    RateLimit {
        /// The `GrpcService` that the proxy reaches it by.
        service: Vec<u8>,
        /// The request, encoded.
        message: Vec<u8>,
        /// How long it may take.
        timeout: Duration,
    },
}

/// A request of our own. Its fields may carry secrets, and so may its body.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct HttpRequest {
    /// The proxy's name of the cluster that it goes to.
    pub cluster: Box<str>,
    /// Its header fields, `:method`, `:authority` and `:path` among them.
    pub fields: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
    /// The longest body of an answer, in bytes: one that is longer is not read.
    pub answer_len_max: usize,
}

/// What a service said.
#[derive(Default)]
pub enum Answer {
    /// A message of gRPC, encoded.
    Grpc(Vec<u8>),
    /// A response of HTTP.
    Http(HttpResponse),
    /// There is no answer, and will be none.
    #[default]
    None,
    /// What was asked for all who wait has been answered, well or badly: whoever needs it looks again.
    Shared,
}

/// A response to an [`HttpRequest`], read in whole.
#[derive(Default)]
pub struct HttpResponse {
    /// Its status.
    pub status: u16,
    /// Its header fields, names in lower case.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// A response of these fields, `:status` among them; `None` where that is no status.
    #[must_use]
    pub fn new(mut fields: Vec<(Vec<u8>, Vec<u8>)>, body: Vec<u8>) -> Option<Self> {
        fields.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
        let response = Self { status: 0, fields, body };
        let status = str::from_utf8(response.field(":status")?).ok()?.parse().ok()?;
        Some(Self { status, ..response })
    }

    /// The first line of the field `name`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(own, _)| own == name.as_bytes()).map(|(_, value)| value.as_slice())
    }
}

/// The number of a question that is asked once for all who wait for its answer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Inquiry(pub u32);

/// What a judgement waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wait {
    /// The answer to a question of its own.
    Own(Question),
    /// The answer to one that others wait for, too.
    Shared(Inquiry),
}

/// The part of the core that a question comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asker {
    /// All who wait for it.
    Inquiry(Inquiry),
    /// The lease of a subject, for more messages of a type.
    Lease {
        /// Its key in the shared counters.
        subject: u64,
        /// The type.
        message_type: Box<str>,
    },
    /// The handshake of this stream.
    Stream(u32),
}

/// A question, and the part of the core that it comes from: the answer goes to [`Worker::answered`](crate::gate::Worker::answered).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// What to find out.
    pub question: Question,
    /// The part of the core that waits for it.
    pub asker: Asker,
}

/// A judgement: done, or waiting for an answer.
#[derive(Debug)]
pub enum Step<T> {
    /// It waits.
    Asks(Wait, Rest<T>),
    /// It is done.
    Ready(T),
}

/// What follows an answer.
pub struct Rest<T>(Box<dyn FnOnce(Answer) -> Step<T>>);

impl<T: 'static> Step<T> {
    /// Asks, and goes on with the answer.
    pub fn ask(question: Question, rest: impl FnOnce(Answer) -> Self + 'static) -> Self {
        Self::Asks(Wait::Own(question), Rest(Box::new(rest)))
    }

    /// Waits for the answer to a question that is asked for others, too, and goes on then.
    pub fn wait(inquiry: Inquiry, rest: impl FnOnce() -> Self + 'static) -> Self {
        Self::Asks(Wait::Shared(inquiry), Rest(Box::new(|_| rest())))
    }

    /// Goes on with what comes of this judgement, at once or when that is known.
    pub fn then<U: 'static>(self, next: impl FnOnce(T) -> Step<U> + 'static) -> Step<U> {
        match self {
            Self::Asks(wait, rest) => Step::Asks(wait, Rest(Box::new(|answer| rest.answer(answer).then(next)))),
            Self::Ready(value) => next(value),
        }
    }
}

impl<T> Rest<T> {
    /// The answer is there, or will never be.
    #[must_use]
    pub fn answer(self, answer: Answer) -> Step<T> {
        (self.0)(answer)
    }
}

impl<T> fmt::Debug for Rest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rest")
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpRequest({}, {} fields, {} bytes)", self.cluster, self.fields.len(), self.body.len())
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpResponse({}, {} fields, {} bytes)", self.status, self.fields.len(), self.body.len())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc(message) => write!(f, "Grpc({} bytes)", message.len()),
            Self::Http(response) => response.fmt(f),
            Self::None => f.write_str("None"),
            Self::Shared => f.write_str("Shared"),
        }
    }
}

/// Its message names clients.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(request) => request.fmt(f),
            Self::RateLimit { message, timeout, .. } => {
                write!(f, "RateLimit({} bytes, {timeout:?})", message.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str) -> Question {
        Question::RateLimit { service: vec![], message: name.into(), timeout: Duration::ZERO }
    }

    #[test]
    fn questions_follow_one_another() {
        let ask = |name: &'static str, so_far: String| {
            Step::ask(question(name), move |answer| {
                let Answer::Grpc(answer) = answer else { return Step::Ready(format!("{so_far} {name}=0")) };
                Step::Ready(format!("{so_far} {name}={}", answer.len()))
            })
        };
        let step = ask("one", "begun".to_owned()).then(move |so_far| ask("two", so_far));
        let Step::Asks(first, rest) = step else { panic!("nothing is asked") };
        assert_eq!(first, Wait::Own(question("one")));
        let Step::Asks(second, rest) = rest.answer(Answer::Grpc(vec![1, 2])) else { panic!("nothing more is asked") };
        assert_eq!(second, Wait::Own(question("two")));
        let Step::Ready(done) = rest.answer(Answer::None) else { panic!("one too many is asked") };
        assert_eq!(done, "begun one=2 two=0");
    }
}
