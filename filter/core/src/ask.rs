//! What a skin has to find out, and the judgement that waits for it.
//!
//! ```text
//! Step::Ready(T)
//! Step::Asks(Question, Rest<T>) ── the skin calls the service ── Rest::answer(Answer) ──▶ Step<T>
//! ```
//!
//! A [`Rest`] owns everything that the judgement still needs. Dropping it is all that becomes of a judgement whose client has left.

use core::fmt;
use core::time::Duration;

/// What is asked of a service outside of the proxy.
#[derive(Clone, Eq, PartialEq)]
pub enum Question {
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

/// What the service said, encoded; `None` where there is no answer.
pub type Answer = Option<Vec<u8>>;

/// The part of the core that a question comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asker {
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
    Asks(Question, Rest<T>),
    /// It is done.
    Ready(T),
}

/// What follows an answer.
pub struct Rest<T>(Box<dyn FnOnce(Answer) -> Step<T>>);

impl<T: 'static> Step<T> {
    /// Asks, and goes on with the answer.
    pub fn ask(question: Question, rest: impl FnOnce(Answer) -> Self + 'static) -> Self {
        Self::Asks(question, Rest(Box::new(rest)))
    }

    /// Goes on with what comes of this judgement, at once or when that is known.
    pub fn then<U: 'static>(self, next: impl FnOnce(T) -> Step<U> + 'static) -> Step<U> {
        match self {
            Self::Asks(question, rest) => Step::ask(question, |answer| rest.answer(answer).then(next)),
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

/// Its message names clients.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
                Step::Ready(format!("{so_far} {name}={}", answer.map_or(0, |answer| answer.len())))
            })
        };
        let step = ask("one", "begun".to_owned()).then(move |so_far| ask("two", so_far));
        let Step::Asks(first, rest) = step else { panic!("nothing is asked") };
        assert_eq!(first, question("one"));
        let Step::Asks(second, rest) = rest.answer(Some(vec![1, 2])) else { panic!("nothing more is asked") };
        assert_eq!(second, question("two"));
        let Step::Ready(done) = rest.answer(None) else { panic!("one too many is asked") };
        assert_eq!(done, "begun one=2 two=0");
    }
}
