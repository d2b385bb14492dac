//! Questions to a rate limit service that counts for a fleet (`envoy.service.ratelimit.v3`), and their answers.

use std::cell::RefCell;
use std::rc::Weak;

use crate::IdMap;
use crate::host::abi::{self, BufferType};
use crate::purse::Purse;
use portcullis_core::policy::{Access, GlobalLimits};
use portcullis_core::ratelimit::{ANSWER_LEN_MAX, Answer, METHOD, Request, SERVICE, decode, service_of};

/// What waits for an answer.
pub(crate) enum Question {
    /// The handshake of this stream.
    Handshake { stream: u32 },
    /// More messages of a subject.
    Messages { purse: Weak<Purse>, kind: String, batch: u32, on_error: Access },
}

/// The questions of a VM that are not answered: by token, with the root context that asks.
#[derive(Default)]
pub(crate) struct Fleet(RefCell<IdMap<u32, (u32, Question)>>);

impl Fleet {
    /// Asks; tells whether there will be an answer.
    pub(crate) fn ask(
        &self,
        root: u32,
        global: &GlobalLimits,
        descriptors: &[&[(&str, &str)]],
        hits_addend: u32,
        question: Question,
    ) -> bool {
        let message = Request { domain: &global.domain, descriptors, hits_addend }.encode();
        // Zero fails at once.
        let millis = u32::try_from(global.timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let token = abi::grpc_call(&service_of(&global.cluster), SERVICE, METHOD, &message, millis);
        match token {
            Ok(token) => drop(self.0.borrow_mut().insert(token, (root, question))),
            Err(_) => drop(settle(question, None)),
        }
        token.is_ok()
    }

    /// The answer to the question of `token` has come, `len` bytes of it. Gives the stream whose handshake it is about.
    pub(crate) fn receive(&self, token: u32, len: usize) -> Option<(u32, Option<Answer>)> {
        // The beginning of an answer is none.
        let bytes = (len <= ANSWER_LEN_MAX).then(|| abi::buffer(BufferType::GrpcAnswer, 0, len));
        self.settle(token, bytes.and_then(Result::ok).and_then(|bytes| decode(&bytes)))
    }

    /// There is none.
    pub(crate) fn fail(&self, token: u32) -> Option<(u32, Option<Answer>)> {
        self.settle(token, None)
    }

    /// No answer comes for a root context that is gone. What other roots' streams of the same subject wait for has failed.
    pub(crate) fn forget(&self, root: u32) {
        let gone: Vec<_> = self.0.borrow_mut().extract_if(|_, (own, _)| *own == root).collect();
        for (_, (_, question)) in gone {
            let _ = settle(question, None);
        }
    }

    fn settle(&self, token: u32, answer: Option<Answer>) -> Option<(u32, Option<Answer>)> {
        // The host also answers questions that it said it would not ask.
        let (_, question) = self.0.borrow_mut().remove(&token)?;
        settle(question, answer)
    }
}

fn settle(question: Question, answer: Option<Answer>) -> Option<(u32, Option<Answer>)> {
    match question {
        Question::Handshake { stream } => Some((stream, answer)),
        Question::Messages { purse, kind, batch, on_error } => {
            if let Some(purse) = purse.upgrade() {
                purse.answer(&kind, batch, on_error, answer);
            }
            None
        }
    }
}
