//! What has to hold: of a request, of a stream at any time, of all of them.

use core::time::Duration;
use std::rc::Rc;

use portcullis_core::effect::Flow;
use portcullis_core::time::{Moment, Timestamp};
use portcullis_core::violation::Violation;
use portcullis_core::wire::Side;

use super::World;
use crate::attempt::{Attempt, Errand};
use crate::identity::SKEW;
use crate::model::Way;
use crate::policy::{Global, IDLE_MILLIS, LATE_MILLIS, LIFETIME_MILLIS, MESSAGE_MILLIS, PONG_MILLIS, Terms};
use crate::stream::{Decided, Judged, Seen, Stream, Waits, Writable, index};
use crate::vm::Vm;

/// How long a live connection may go by a policy of before: as long as a policy takes to settle and connections to be looked at, and three
/// ticks that come as late as they may.
const FOLLOWED_WITHIN: Duration = Duration::from_millis(1_800 + 3 * LATE_MILLIS);

/// How far two looks at the calendar may be apart that judge one thing.
const MOMENT: Duration = Duration::from_millis(200);

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
    pub(super) fn check_request(&mut self, vm: &Vm, stream: &Stream, counts: Option<[[usize; 3]; 2]>) {
        let after = self.counts(&stream.seen.borrow().attempt);
        self.note_tries();
        let mut seen = stream.seen.borrow_mut();
        let terms = seen.terms;
        let Some(Decided { flow, refusal, is_served, has_erred, judged: Judged { dates, known } }) =
            seen.decided.take()
        else {
            if seen.waits.is_some() && !seen.replies.is_empty() {
                seen.blame("a request is answered and waits".to_owned());
            }
            return;
        };
        // Keys go with the last policy that names them, and what the host loses may have been one.
        let is_certain = self.report.reload_count == 0 && self.proxy.error_count() == 0;
        let keys = if is_certain { known.keys.as_ref() } else { Some(&known.keys_ever) };
        let attempt = seen.attempt;
        if let Some(Errand::Logout(_)) = attempt.errand {
            if flow == Flow::Forward && !(terms.is_fail_open && has_erred) {
                seen.blame("a logout goes on".to_owned());
            }
            return;
        }
        let is_used = attempt.ticket.is_some_and(|ticket| self.tickets[ticket.number].is_used);
        let is_revoked = counts.is_some() && is_certain && self.is_logged_out(vm, &attempt);
        let [flaw, later_flaw] = dates.map(|date| {
            let flaw = attempt.flaw(&terms, date, keys);
            let flaw = flaw.or_else(|| (is_revoked && terms.has_logout).then_some(Violation::CredentialRevoked));
            let flaw = flaw.or_else(|| (is_used && terms.has_tickets).then_some(Violation::TicketUsed));
            flaw.filter(|_| attempt.is_judged())
        });
        let is_keyless = terms.is_published && (flaw == Some(Violation::Internal) || !is_certain);
        // What the filter answers itself goes to no upstream.
        let is_enforced = !terms.is_monitor || (attempt.errand.is_some() && terms.has_tickets);
        let may_pass = !is_enforced || (terms.is_fail_open && (has_erred || is_keyless));
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
                if may_pass || !attempt.is_judged() {
                    None
                } else if attempt.errand.is_some() && terms.has_tickets {
                    Some("what the filter was asked goes on".to_owned())
                } else if flaw.is_some() {
                    Some(format!("{flaw:?} goes on"))
                } else if is_named && flow == Flow::Forward {
                    Some("a credential goes on".to_owned())
                } else {
                    None
                }
            }
            (Flow::Forward | Flow::Wait, Some(_)) => Some("a request is answered and goes on".to_owned()),
            (Flow::Hold, None) if is_served => {
                let is_good = flaw.is_none() || later_flaw.is_none() || !is_certain;
                (!is_good).then(|| format!("{:?} is answered in spite of {flaw:?}", attempt.errand))
            }
            (Flow::Hold, None) => Some("a request is kept without an answer".to_owned()),
            (Flow::Hold, Some(violation)) => {
                let is_right = match violation {
                    Violation::Internal => has_erred || is_keyless,
                    _ if !is_enforced => false,
                    Violation::ConnectionsExceeded => is_full || is_lax || self.report.reload_count > 0,
                    Violation::HandshakesExceeded => terms.handshakes > 0 || terms.global != Global::Nothing,
                    Violation::Banned => attempts >= 2,
                    Violation::Overloaded => terms.has_little_room || self.report.is_memory_short,
                    Violation::CredentialInvalid if is_keyless => true,
                    Violation::CredentialRevoked => self.is_said_to_be_out(&attempt),
                    Violation::TicketUsed => attempt.ticket.is_some_and(|ticket| self.tickets[ticket.number].is_tried),
                    // A ticket ends a moment before what is known of it, and so does what it is given for.
                    Violation::TicketInvalid | Violation::CredentialExpired
                        if attempt.flaw(&terms, self.proxy.date().saturating_add(MOMENT), keys) == Some(violation) =>
                    {
                        true
                    }
                    violation => [flaw, later_flaw].contains(&Some(violation)),
                };
                (!is_right).then(|| format!("refused for {violation:?}, not {flaw:?}; {after:?} of {maxima:?}"))
            }
        };
        if let Some(ticket) = attempt.ticket {
            let ticket = &mut self.tickets[ticket.number];
            let is_let_in = flow == Flow::Forward && is_enforced && terms.has_tickets && !may_pass;
            if is_let_in && ticket.is_used {
                seen.blame("a ticket lets in twice".to_owned());
            }
            ticket.is_used |= is_let_in;
        }
        if let Some(fault) = fault {
            seen.blame(fault);
        }
    }

    /// Notes the tickets that somebody may have been let in with: also one whom another worker, which has come between, has decided about.
    fn note_tries(&mut self) {
        for stream in self.vms.iter().flat_map(|vm| vm.all_streams()) {
            let seen = stream.seen.borrow();
            if let (Some(ticket), Some(Decided { flow, refusal, .. })) = (seen.attempt.ticket, &seen.decided) {
                self.tickets[ticket.number].is_tried |= *flow == Flow::Forward || *refusal == Some(Violation::Internal);
            }
        }
    }

    /// Whether somebody has said that the session of a client has ended.
    fn is_said_to_be_out(&self, attempt: &Attempt) -> bool {
        attempt.credential.is_some_and(|credential| self.logouts.contains_key(&credential.session))
    }

    /// Whether a worker has to know that the session of a client has ended: it has ticked since.
    fn is_logged_out(&self, vm: &Vm, attempt: &Attempt) -> bool {
        let since = attempt.credential.and_then(|credential| *self.logouts.get(&credential.session)?);
        since.is_some_and(|since| vm.ticked_at.get() > since)
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
                Violation::CredentialRevoked => self.is_said_to_be_out(&seen.attempt),
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
            say("a connection has outlived its token or its session".to_owned());
        }
        let is_up = is_live && !seen.is_over && !seen.is_reset;
        let is_known = seen.error_count == 0 && is_up && seen.refusals.is_empty();
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

    /// Whether a connection should have ended with its token or its session.
    fn has_outlived(&self, seen: &Seen) -> bool {
        let ticks = Duration::from_millis(3 * LATE_MILLIS);
        let late = Duration::from_secs(SKEW + 1) + ticks;
        // A token that has ended while the server was asked ends the connection with the first tick of it.
        let has_ticked = self.proxy.now() > Moment::from_nanos(seen.opened_at).saturating_add(ticks);
        let is_past = |end: Timestamp| has_ticked && self.proxy.date() > end.saturating_add(late);
        let is_out = |since: Moment| self.proxy.now() > since.saturating_add(late);
        self.token_end(seen).is_some_and(is_past) || self.session_end(seen).is_some_and(is_out)
    }

    /// Whether a connection has to end with its token or its session before long.
    pub(super) fn ends_soon(&self, seen: &Seen) -> bool {
        let is_soon = |end: Timestamp| end < self.proxy.date().saturating_add(TOKEN_SPAN);
        self.token_end(seen).is_some_and(is_soon) || self.session_end(seen).is_some()
    }

    /// When the token of a connection ends that has to end with it, if nothing else ends it.
    fn token_end(&self, seen: &Seen) -> Option<Timestamp> {
        let is_bound = !seen.terms.outlives_token && self.is_bound(seen);
        seen.attempt.credential.filter(|_| is_bound).map(|credential| credential.ends_at())
    }

    /// When the session of a connection ended that has to end with it, if nothing else ends it.
    fn session_end(&self, seen: &Seen) -> Option<Moment> {
        let is_bound = seen.terms.has_logout && self.is_bound(seen);
        seen.attempt.credential.filter(|_| is_bound).and_then(|credential| *self.logouts.get(&credential.session)?)
    }

    fn is_bound(&self, seen: &Seen) -> bool {
        let is_enforced = !seen.terms.is_monitor && !seen.terms.is_fail_open && seen.reload_count == 0;
        is_enforced && seen.ends().is_empty() && !seen.is_over && self.proxy.error_count() == 0
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
        let gauge = self.proxy.gauge.get();
        assert_eq!(u64::try_from(gauge), Ok(self.proxy.told_count()), "the gauge of live connections");
        for vm in &self.vms {
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
