//! What a rate limit service that counts for a fleet is asked about a handshake, and what its answer means.

use super::opening::{Decision, Opening};
use crate::access::Access;
use crate::ask::{Answer, Step};
use crate::limits::admission::Peer;
use crate::limits::lease::Entry;
use crate::limits::rls;
use crate::mode::Mode;
use crate::refusal::Refusal;
use crate::violation::Violation;

/// Asks about a handshake that would be let in, where its policy says so.
pub(super) fn ask(opening: Opening, peer: &Peer) -> Step<Opening> {
    let limits = &opening.policy.limits;
    let Some(global) = limits.global.as_ref().filter(|_| opening.is_let_in()) else { return Step::Ready(opening) };
    let address = Entry::of_address(peer, limits);
    let subject = opening.credential.as_deref().map(Entry::of_credential);
    let of_address = [address.parts()];
    let of_subject = subject.as_ref().map(|subject| [subject.parts()]);
    let descriptors = [&of_address[..], of_subject.as_ref().map_or(&[][..], |of_subject| &of_subject[..])];
    let count = if subject.is_some() { 2 } else { 1 };
    let question = rls::question(global, descriptors.get(..count).unwrap_or_default(), 1);
    Step::ask(question, |answer| Step::Ready(opening.limited(answer)))
}

fn exceeded() -> Refusal {
    Refusal::at(Violation::HandshakesExceeded, "limits.global")
}

impl Opening {
    fn limited(mut self, answer: Answer) -> Self {
        let verdict = rls::verdict(&answer);
        let global = self.policy.limits.global.as_ref();
        let (is_allowed, retry_after) = match verdict {
            Some(rls::Verdict { allowed, retry_after }) => (allowed, retry_after),
            None => (global.is_some_and(|global| global.on_error == Access::Allow), None),
        };
        match self.policy.modes.limits {
            _ if is_allowed => self,
            Mode::Monitor => {
                self.would_refuse.push(exceeded());
                self
            }
            Mode::Enforce => Self { decision: Decision::Refuse(exceeded()), retry_after, metric: None, ..self },
        }
    }
}
