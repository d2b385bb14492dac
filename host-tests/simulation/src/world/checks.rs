//! What has to hold: of a request, of a stream at any time, of all of them.

use core::time::Duration;
use std::rc::Rc;

use portcullis_core::effect::Flow;
use portcullis_core::time::Timestamp;
use portcullis_core::violation::Violation;
use portcullis_core::wire::Side;

use super::World;
use crate::attempt::Attempt;
use crate::identity::SKEW;
use crate::model::Way;
use crate::policy::{Global, IDLE_MILLIS, LATE_MILLIS, LIFETIME_MILLIS, MESSAGE_MILLIS, PONG_MILLIS, Terms};
use crate::stream::{Decided, Judged, Seen, Stream, Waits, Writable, index};
use crate::vm::Vm;

/// How long a live connection may go by a policy of before: as long as a policy takes to settle and connections to be looked at, and three
/// ticks that come as late as they may.
const FOLLOWED_WITHIN: Duration = Duration::from_millis(1_800 + 3 * LATE_MILLIS);

/// How long the tokens that end may last.
const TOKEN_SPAN: Duration = Duration::from_secs(10);

impl World {
    /// How many connections of the address, the subject and all have slots.
    pub(super) fn counts(&self, attempt: &Attempt) -> [usize; 3] {
        let mut counts = [0; 3];
        for stream in self.vms.iter().flat_map(|vm| vm.all_streams()) {
            let seen = stream.seen.borrow();
            if seen.has_slots {
                let other = seen.attempt;
                counts[0] += usize::from(other.address == attempt.address);
                let subject = |attempt: &Attempt| attempt.credential.map(|credential| credential.subject);
                let is_known = seen.waits != Some(Waits::Together) && !seen.is_anonymous && other.credential.is_some();
                counts[1] += usize::from(is_known && subject(&other) == subject(attempt));
                counts[2] += 1;
            }
        }
        counts
    }

    /// What has to hold of a request that was decided about, or waits; `counts`: how many had slots before and after, where that is known.
    pub(super) fn check_request(&self, stream: &Stream, counts: Option<[[usize; 3]; 2]>) {
        let after = self.counts(&stream.seen.borrow().attempt);
        let mut seen = stream.seen.borrow_mut();
        let terms = seen.terms;
        let Some(Decided { flow, refusal, has_erred, judged: Judged { dates, known } }) = seen.decided.take() else {
            if seen.waits.is_some() && !seen.replies.is_empty() {
                seen.blame("a request is answered and waits".to_owned());
            }
            return;
        };
        // Keys go with the last policy that names them, and what the host loses may have been one.
        let is_certain = self.report.reload_count == 0 && self.proxy.error_count() == 0;
        let keys = if is_certain { known.keys.as_ref() } else { Some(&known.keys_ever) };
        let [flaw, later_flaw] =
            dates.map(|date| seen.attempt.flaw(&terms, date, keys).filter(|_| seen.attempt.is_upgrade));
        let is_keyless = terms.is_published && (flaw == Some(Violation::Internal) || !is_certain);
        let may_pass = terms.is_monitor || (terms.is_fail_open && (has_erred || is_keyless));
        let maxima = [terms.per_address, terms.per_subject, terms.in_all].map(|max| max as usize);
        let is_full = counts.is_none_or(|[before, after]| {
            before.iter().chain(&after).zip(maxima.into_iter().chain(maxima)).any(|(count, max)| *count >= max)
        });
        let is_over = after.iter().zip(maxima).any(|(count, max)| *count > max);
        let is_lax = self.proxy.error_count() > 0 || self.death_count > 0 || self.proxy.generation() > 0;
        let attempts = self.forged.iter().filter(|address| **address == seen.attempt.address).count();
        // A policy with a lower bound may take the place of another one, and a worker that was slow is taken for lost.
        let is_known = self.report.reload_count == 0 && self.proxy.generation() <= self.death_count;
        let fault = match (flow, refusal) {
            _ if is_over && is_known => Some(format!("too many are admitted: {after:?} of {maxima:?}")),
            (Flow::Forward | Flow::Wait, None) => {
                let is_named = seen.request.iter().any(|(name, _)| name == "authorization");
                if may_pass || !seen.attempt.is_upgrade {
                    None
                } else if flaw.is_some() {
                    Some(format!("{flaw:?} goes on"))
                } else if is_named && flow == Flow::Forward {
                    Some("a credential goes on".to_owned())
                } else {
                    None
                }
            }
            (Flow::Forward | Flow::Wait, Some(_)) => Some("a request is answered and goes on".to_owned()),
            (Flow::Hold, None) => Some("a request is kept without an answer".to_owned()),
            (Flow::Hold, Some(violation)) => {
                let is_right = match violation {
                    Violation::Internal => has_erred || is_keyless,
                    _ if terms.is_monitor => false,
                    Violation::ConnectionsExceeded => is_full || is_lax || self.report.reload_count > 0,
                    Violation::HandshakesExceeded => terms.handshakes > 0 || terms.global != Global::Nothing,
                    Violation::Banned => attempts >= 2,
                    Violation::Overloaded => terms.has_little_room || self.report.is_memory_short,
                    Violation::CredentialInvalid if is_keyless => true,
                    violation => [flaw, later_flaw].contains(&Some(violation)),
                };
                (!is_right).then(|| format!("refused for {violation:?}, not {flaw:?}; {after:?} of {maxima:?}"))
            }
        };
        if let Some(fault) = fault {
            seen.blame(fault);
        }
    }

    /// What has to hold of a stream at any time.
    pub(super) fn check_stream(&self, stream: &Stream) {
        let is_quiet = !stream.is_waiting() && !stream.is_kept();
        let is_live = stream.is_live();
        let seen = stream.seen.borrow();
        let say = |fault: String| -> ! {
            let ways = seen.ways.each_ref().map(Way::describe);
            panic!("stream {}: {fault}\n{ways:#?}\n{:?} {:?}", stream.id, seen.refusals, seen.terms)
        };
        if let Some(fault) = &seen.fault {
            say(fault.clone());
        }
        if seen.replies.len() > 1 {
            say(format!("answered more than once: {:?}", seen.replies));
        }
        if !seen.is_up {
            return;
        }
        let is_enforced = !seen.terms.is_monitor;
        let millis = (self.proxy.now().as_nanos() - seen.opened_at) / 1_000_000;
        // Where the host has failed, a tick may be any later.
        let late_millis = if self.proxy.error_count() > 0 { u64::MAX / 2 } else { LATE_MILLIS };
        let millis = millis + late_millis;
        let ends = seen.ends();
        if ends.len() > 1 {
            say(format!("refused more than once: {ends:?}"));
        }
        if let (true, Some(violation)) = (is_enforced, ends.first()) {
            let [client, server] = &seen.ways;
            let is_short = seen.terms.is_short_lived;
            let is_right = match violation {
                Violation::Internal => seen.error_count > 0,
                Violation::PolicyChanged => seen.reload_count > 0,
                Violation::Idle => is_short && millis >= IDLE_MILLIS,
                Violation::Lifetime => is_short && millis >= LIFETIME_MILLIS,
                Violation::TooSlow => millis >= if is_short { MESSAGE_MILLIS } else { 10_000 },
                Violation::Dead => is_short && millis >= PONG_MILLIS && seen.terms.pings,
                Violation::RateExceeded => {
                    client.sent_count() > seen.terms.burst || matches!(seen.terms.global, Global::Messages { .. })
                }
                Violation::Overloaded => seen.terms.has_little_room,
                Violation::CredentialExpired => {
                    seen.attempt.credential.is_some_and(|credential| self.proxy.date() >= credential.ends_at())
                }
                _ => client.may_be_refused() || server.may_be_refused(),
            };
            if !is_right {
                say(format!("refused for {violation:?} after {millis} ms, which nobody has done"));
            }
            for way in &seen.ways {
                if let Some(reason) = way.own_close()
                    && reason != violation.reason()
                    && seen.error_count == 0
                {
                    say(format!("a Close says {reason:?}"));
                }
            }
        } else if let Some(reason) = seen.ways.iter().find_map(Way::own_close)
            && !(seen.error_count > 0 || (seen.terms.is_dropped && reason == Violation::RateExceeded.reason()))
        {
            say("a Close of ours without a refusal".to_owned());
        }
        if self.has_outlived(&seen) && is_live {
            say("a connection has outlived its token".to_owned());
        }
        let is_known = seen.error_count == 0 && !seen.is_over && is_live && seen.refusals.is_empty();
        if is_known && is_quiet && seen.reload_count == 0 && is_enforced {
            for way in &seen.ways {
                if let Some(frame) = way.missing(&seen.pings) {
                    say(format!("frame {frame} has been judged and does not go on: {}", way.describe()));
                }
                if way.must_be_refused() && !seen.ways.iter().any(Way::has_closed) && !seen.terms.is_dropped {
                    say(format!("what the policy refuses is not refused: {}", way.describe()));
                }
            }
        }
    }

    /// Whether a connection should have ended with its token.
    fn has_outlived(&self, seen: &Seen) -> bool {
        let late = Duration::from_secs(SKEW + 1) + Duration::from_millis(2 * LATE_MILLIS);
        self.token_end(seen).is_some_and(|end| self.proxy.date() > end.saturating_add(late))
    }

    /// Whether a connection has to end with its token before long.
    pub(super) fn ends_soon(&self, seen: &Seen) -> bool {
        self.token_end(seen).is_some_and(|end| end < self.proxy.date().saturating_add(TOKEN_SPAN))
    }

    /// When the token of a connection ends that has to end with it, if nothing else ends it.
    fn token_end(&self, seen: &Seen) -> Option<Timestamp> {
        let Seen { terms, attempt, .. } = seen;
        let is_bound = !terms.outlives_token && !terms.is_monitor && !terms.is_fail_open && seen.reload_count == 0;
        let is_quiet = seen.ends().is_empty() && !seen.is_over;
        let is_certain = is_bound && is_quiet && self.proxy.error_count() == 0;
        attempt.credential.filter(|_| is_certain).map(|credential| credential.ends_at())
    }

    /// A refused client is told before it is reset, where it can be.
    pub(super) fn check_told(&self, stream: &Stream) {
        let seen = stream.seen.borrow();
        let to_client = &seen.ways[index(Side::Server)];
        let can_be_told = stream.writable == Writable::Always && to_client.is_between_frames() && seen.error_count == 0;
        if can_be_told && !seen.ends().is_empty() && !to_client.has_closed() {
            panic!("stream {}: reset for {:?} without a Close: {}", stream.id, seen.ends(), to_client.describe());
        }
    }

    pub(super) fn check(&self) {
        for vm in &self.vms {
            let live = vm.all_streams().iter().filter(|stream| stream.is_live()).count();
            assert_eq!(vm.active.get(), live as i64, "the gauge of live connections");
            let is_settled = self.proxy.now().since(vm.configured_at.get()) > FOLLOWED_WITHIN;
            if is_settled && self.proxy.error_count() == 0 {
                vm.all_streams().iter().for_each(|stream| Self::check_policy(vm, stream));
            }
        }
    }

    /// Every live connection goes by the policy in force, or has been refused.
    fn check_policy(vm: &Vm, stream: &Stream) {
        let newest = vm.plugin().policies();
        let is_behind = match (stream.policy(), newest) {
            (Some(own), Some(newest)) => !Rc::ptr_eq(&own, newest.base()),
            _ => false,
        };
        let is_refused = !stream.seen.borrow().ends().is_empty();
        assert!(!is_behind || is_refused, "stream {}: goes by a policy of before", stream.id);
    }
}

impl Seen {
    /// What it was refused for, and not what was swallowed alone.
    pub(super) fn ends(&self) -> Vec<Violation> {
        let is_swallowed = |violation: &Violation| self.terms.is_dropped && *violation == Violation::RateExceeded;
        let is_end = |violation: &Violation| !self.terms.is_monitor && !is_swallowed(violation);
        self.refusals.iter().copied().filter(is_end).collect()
    }

    /// Another policy is in force, or soon: what any of them allows may happen.
    pub(super) fn reload(&mut self, terms: &Terms) {
        self.reload_count += 1;
        let own = &mut self.terms;
        own.burst = own.burst.min(terms.burst);
        own.is_short_lived |= terms.is_short_lived;
        own.has_little_room |= terms.has_little_room;
        own.pings |= terms.pings;
        own.is_dropped |= terms.is_dropped;
        if matches!(terms.global, Global::Messages { .. }) {
            own.global = terms.global;
        }
        self.ways.iter_mut().for_each(|way| way.reload(terms));
    }
}
