//! Questions to a rate limit service that counts for a fleet (`envoy.service.ratelimit.v3`), and their answers.

use core::time::Duration;
use std::cell::RefCell;
use std::rc::Weak;

use crate::IdMap;
use crate::host;
use crate::host::abi::{self, BufferType};
use crate::purse::Purse;
use portcullis_core::access::Access;
use portcullis_core::limits::rules::GlobalLimits;
use portcullis_core::ratelimit::{ANSWER_LEN_MAX, Answer, METHOD, Request, SERVICE, decode, service_of};
use portcullis_core::time::Moment;

/// How much longer than its timeout a question may wait for the host's word about it. The host's own timer is to be first, however late its
/// event loop is; this one is for a host that has lost the question.
const HOST_LATE_MAX: Duration = Duration::from_millis(500);

/// What waits for an answer.
pub(crate) enum Question {
    /// The handshake of this stream.
    Handshake { stream: u32 },
    /// More messages of a subject.
    Messages { purse: Weak<Purse>, kind: String, batch: u32, on_error: Access },
}

/// The questions of a VM that are not answered, by token.
#[derive(Default)]
pub(crate) struct Fleet(RefCell<IdMap<u32, Asked>>);

struct Asked {
    question: Question,
    /// The root context that asks.
    root: u32,
    /// When it has failed, whatever the host says or does not say.
    until: Moment,
}

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
        let asked = host::now().and_then(|now| {
            let token = abi::grpc_call(&service_of(&global.cluster), SERVICE, METHOD, &message, millis)?;
            Ok((token, now.saturating_add(global.timeout).saturating_add(HOST_LATE_MAX)))
        });
        match asked {
            Ok((token, until)) => drop(self.0.borrow_mut().insert(token, Asked { question, root, until })),
            Err(_) => drop(settle(question, None)),
        }
        asked.is_ok()
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
        self.fail_those(|asked| asked.root == root);
    }

    /// A tick: what the host has neither answered nor given up by now has failed. Gives the streams whose handshakes that is about.
    pub(crate) fn expire(&self, now: Moment) -> Vec<u32> {
        self.fail_those(|asked| asked.until <= now)
    }

    fn fail_those(&self, which: impl Fn(&Asked) -> bool) -> Vec<u32> {
        let failed: Vec<_> = self.0.borrow_mut().extract_if(|_, asked| which(asked)).collect();
        let settled = failed.into_iter().filter_map(|(_, asked)| settle(asked.question, None));
        settled.map(|(stream, _)| stream).collect()
    }

    fn settle(&self, token: u32, answer: Option<Answer>) -> Option<(u32, Option<Answer>)> {
        // The host also answers questions that it said it would not ask.
        let asked = self.0.borrow_mut().remove(&token)?;
        settle(asked.question, answer)
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
