//! Tickets in a handshake: what they are bound to, and how they are redeemed.

use super::opening::{Decision, Opening, Unredeemed};
use crate::ask::Step;
use crate::effect::Metric;
use crate::http::origin::Claim;
use crate::identity::Identity;
use crate::identity::tickets::{Bind, Bound};
use crate::limits::admission::Peer;
use crate::limits::rules::LimitRules;

/// What a ticket of a client is bound to that asks as `origin`, from the page that it names, however it is spelled.
pub(super) fn bound(bind: Bind, origin: Option<&[u8]>, peer: &Peer, limits: &LimitRules) -> Bound {
    let origin = origin.map(|line| match Claim::parse(line) {
        Ok(Claim::Tuple(origin)) => origin.to_string().into_bytes(),
        Ok(Claim::Opaque) | Err(_) => line.to_vec(),
    });
    let group = peer.group(limits).map(|group| group.to_bytes());
    Bound::new(bind, origin.as_deref(), group.as_ref().map_or_else(|| peer.text(), <[u8; _]>::as_slice))
}

/// Redeems the ticket of a request that nothing else refuses.
pub(super) fn redeem(mut opening: Opening, identity: &Identity) -> Step<Opening> {
    let Some(Unredeemed { ticket, is_attempt }) = opening.ticket.take().filter(|_| opening.is_let_in()) else {
        return Step::Ready(opening);
    };
    identity.redeem(ticket, opening.policy.limits.global.as_ref()).then(move |redeemed| {
        Step::Ready(match redeemed {
            Ok(_) => Opening { metric: Some(Metric::TicketsRedeemed), ..opening },
            Err(refusal) => {
                let is_failed_attempt = is_attempt && refusal.violation.is_failed_attempt();
                Opening { decision: Decision::Refuse(refusal), is_failed_attempt, ..opening }
            }
        })
    })
}
