//! Questions to services outside of the proxy, and their answers.

use core::time::Duration;
use std::cell::RefCell;

use crate::host;
use crate::host::abi::{self, BufferType, Hosted, MapType};
use crate::host::headers;
use portcullis_core::ask::{Answer, Ask, Asker, HttpRequest, HttpResponse, Question};
use portcullis_core::ids::IdMap;
use portcullis_core::limits::rls;
use portcullis_core::port::HostError;
use portcullis_core::time::Moment;

/// How much longer than its timeout a question may wait for the host's word about it. The host's own timer is to be first, however late its
/// event loop is; this one is for a host that has lost the question.
const HOST_LATE_MAX: Duration = Duration::from_millis(500);

/// The questions of a VM that are not answered.
#[derive(Default)]
pub(crate) struct Calls {
    open: RefCell<IdMap<Token, Call>>,
    /// Of those, what nobody will answer: the host did not take them.
    refused: RefCell<Vec<Asker>>,
}

/// The host's number of a question: it numbers each kind apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Token {
    Grpc(u32),
    Http(u32),
}

struct Call {
    asker: Asker,
    /// The context of the plugin that asks.
    plugin: u32,
    /// When it has failed, whatever the host says or does not say.
    until: Moment,
    /// The longest answer that is read.
    answer_len_max: usize,
}

impl Calls {
    /// Asks. What is asked for all who wait is asked in the name of the plugin, which is the context in hand from then on: the host ends what a
    /// stream has asked with that stream.
    ///
    /// # Errors
    /// The asker, where there will be no answer; all who wait for one that nobody gives are told with the next tick.
    pub(crate) fn ask(&self, plugin: u32, Ask { question, asker }: Ask) -> Result<(), Asker> {
        let (timeout, answer_len_max) = match &question {
            Question::Http(request) => (request.timeout, request.answer_len_max),
            Question::RateLimit { timeout, .. } => (*timeout, rls::ANSWER_LEN_MAX),
        };
        // Zero fails at once.
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let asked = host::now().and_then(|now| {
            let token = match &question {
                Question::Http(HttpRequest { cluster, fields, body, .. }) => {
                    abi::set_effective_context(plugin)?;
                    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    Token::Http(abi::http_call(cluster, &headers::serialize(&fields), body, millis)?)
                }
                Question::RateLimit { service, message, .. } => {
                    Token::Grpc(abi::grpc_call(service, rls::SERVICE, rls::METHOD, message, millis)?)
                }
            };
            Ok((token, now.saturating_add(timeout).saturating_add(HOST_LATE_MAX)))
        });
        match (asked, asker) {
            (Ok((token, until)), asker) => {
                self.open.borrow_mut().insert(token, Call { asker, plugin, until, answer_len_max });
                Ok(())
            }
            (Err(_), asker @ Asker::Inquiry(_)) => {
                self.refused.borrow_mut().push(asker);
                Ok(())
            }
            (Err(_), asker) => Err(asker),
        }
    }

    /// The answer to a question has come, `len` bytes of it. The beginning of an answer is none.
    pub(crate) fn receive(&self, token: Token, len: usize) -> Option<(Asker, Answer)> {
        let Call { asker, answer_len_max, .. } = self.open.borrow_mut().remove(&token)?;
        let answer = if len <= answer_len_max { answer(token, len).unwrap_or_default() } else { Answer::None };
        Some((asker, answer))
    }

    /// There is none. The host says that also of questions that it said it would not ask.
    pub(crate) fn fail(&self, token: Token) -> Option<Asker> {
        self.open.borrow_mut().remove(&token).map(|call| call.asker)
    }

    /// No answer comes for a plugin that is gone.
    pub(crate) fn forget(&self, plugin: u32) -> Vec<Asker> {
        self.fail_those(|call| call.plugin == plugin)
    }

    /// A tick: what the host has neither answered nor given up by now has failed.
    pub(crate) fn expire(&self, now: Moment) -> Vec<Asker> {
        let mut failed = self.refused.take();
        failed.extend(self.fail_those(|call| call.until <= now));
        failed
    }

    fn fail_those(&self, which: impl Fn(&Call) -> bool) -> Vec<Asker> {
        let tokens: Vec<Token> =
            self.open.borrow().iter().filter(|(_, call)| which(call)).map(|(token, _)| *token).collect();
        tokens.into_iter().filter_map(|token| self.fail(token)).collect()
    }
}

/// What the host gives out as the answer in hand.
fn answer(token: Token, len: usize) -> Hosted<Answer> {
    Ok(match token {
        Token::Grpc(_) => Answer::Grpc(abi::buffer(BufferType::GrpcAnswer, 0, len)?),
        Token::Http(_) => {
            let fields = headers::fields(MapType::HttpAnswer)?;
            let body = if len == 0 { Vec::new() } else { abi::buffer(BufferType::HttpAnswer, 0, len)? };
            Answer::Http(HttpResponse::new(fields, body).ok_or(HostError)?)
        }
    })
}
