//! Questions to services outside of the proxy, and their answers.

use core::time::Duration;
use std::cell::RefCell;

use crate::host;
use crate::host::abi::{self, BufferType};
use portcullis_core::ask::{Answer, Ask, Asker, Question};
use portcullis_core::ids::IdMap;
use portcullis_core::limits::rls;
use portcullis_core::time::Moment;

/// How much longer than its timeout a question may wait for the host's word about it. The host's own timer is to be first, however late its
/// event loop is; this one is for a host that has lost the question.
const HOST_LATE_MAX: Duration = Duration::from_millis(500);

/// The questions of a VM that are not answered, by token.
#[derive(Default)]
pub(crate) struct Calls(RefCell<IdMap<u32, Call>>);

struct Call {
    asker: Asker,
    /// The context of the plugin that asks.
    plugin: u32,
    /// When it has failed, whatever the host says or does not say.
    until: Moment,
}

impl Calls {
    /// Asks.
    ///
    /// # Errors
    /// The asker, where there will be no answer.
    pub(crate) fn ask(&self, plugin: u32, Ask { question, asker }: Ask) -> Result<(), Asker> {
        let Question::RateLimit { service, message, timeout } = question;
        // Zero fails at once.
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let asked = host::now().and_then(|now| {
            let token = abi::grpc_call(&service, rls::SERVICE, rls::METHOD, &message, millis)?;
            Ok((token, now.saturating_add(timeout).saturating_add(HOST_LATE_MAX)))
        });
        match asked {
            Ok((token, until)) => {
                self.0.borrow_mut().insert(token, Call { asker, plugin, until });
                Ok(())
            }
            Err(_) => Err(asker),
        }
    }

    /// The answer to the question of `token` has come, `len` bytes of it.
    pub(crate) fn receive(&self, token: u32, len: usize) -> Option<(Asker, Answer)> {
        let asker = self.fail(token)?;
        // The beginning of an answer is none.
        let answer = if len <= rls::ANSWER_LEN_MAX { abi::buffer(BufferType::GrpcAnswer, 0, len).ok() } else { None };
        Some((asker, answer))
    }

    /// There is none. The host says that also of questions that it said it would not ask.
    pub(crate) fn fail(&self, token: u32) -> Option<Asker> {
        self.0.borrow_mut().remove(&token).map(|call| call.asker)
    }

    /// No answer comes for a plugin that is gone.
    pub(crate) fn forget(&self, plugin: u32) -> Vec<Asker> {
        self.fail_those(|call| call.plugin == plugin)
    }

    /// A tick: what the host has neither answered nor given up by now has failed.
    pub(crate) fn expire(&self, now: Moment) -> Vec<Asker> {
        self.fail_those(|call| call.until <= now)
    }

    fn fail_those(&self, which: impl Fn(&Call) -> bool) -> Vec<Asker> {
        let tokens: Vec<u32> =
            self.0.borrow().iter().filter(|(_, call)| which(call)).map(|(token, _)| *token).collect();
        tokens.into_iter().filter_map(|token| self.fail(token)).collect()
    }
}
