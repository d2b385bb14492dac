//! Whether what is found is refused, part by part: what stands deeper wins.

use super::findings::Findings;
use super::raw::{RawMessages, RawPolicy};
use crate::mode::Mode;
use crate::modes::{Modes, SideModes};
use crate::policy::SideRules;
use crate::wire::Sides;

/// Warns of everything that is written to be only monitored.
pub(super) fn warn(raw: &RawPolicy, found: &mut Findings) {
    let mut check = |at: &str, mode: Option<Mode>| warn_at(at, mode, found);
    check("", raw.mode);
    check("origin", raw.origin.as_ref().and_then(|part| part.mode));
    check("subprotocols", raw.subprotocols.as_ref().and_then(|part| part.mode));
    check("auth", raw.auth.as_ref().and_then(|part| part.mode));
    let sides = raw.messages.as_ref();
    let client = sides.and_then(|sides| sides.from_client.as_ref());
    let server = sides.and_then(|sides| sides.from_server.as_ref());
    for (at, side) in [("messages.from_client", client), ("messages.from_server", server)] {
        let Some(side) = side else { continue };
        check(at, side.mode);
        let authorize = side.authorize.iter().flatten().map(|rule| rule.mode).enumerate();
        let patterns = side.deny_patterns.iter().flatten().map(|rule| rule.mode).enumerate();
        let sets = side.rule_sets.iter().flatten().map(|set| set.mode).enumerate();
        let rules = authorize.map(|rule| ("authorize", rule)).chain(patterns.map(|rule| ("deny_patterns", rule)));
        for (key, (index, mode)) in
            rules.chain(sets.map(|set| ("rule_sets", set))).filter(|(_, (_, mode))| mode.is_some())
        {
            check(&format!("{at}.{key}[{index}]"), mode);
        }
    }
    check("limits", raw.limits.as_ref().and_then(|part| part.mode));
    check("liveness", raw.liveness.as_ref().and_then(|part| part.mode));
}

#[inline(never)]
fn warn_at(at: &str, mode: Option<Mode>, found: &mut Findings) {
    if mode == Some(Mode::Monitor) {
        let dot = if at.is_empty() { "" } else { "." };
        let problem = "monitor: nothing is refused by this, only counted and logged as would_refuse";
        found.warn(&[at, dot, "mode"].concat(), problem);
    }
}

/// The mode of one side's messages.
pub(super) fn of_side(raw: &RawPolicy, side: Option<&RawMessages>) -> Mode {
    side.and_then(|side| side.mode).or(raw.mode).unwrap_or(Mode::Enforce)
}

/// The modes of a policy with these messages, whose types have limits of their own or not.
pub(super) fn modes(raw: &RawPolicy, messages: &Sides<SideRules>, limits_types: bool) -> Modes {
    let base = raw.mode.unwrap_or(Mode::Enforce);
    let limits = raw.limits.as_ref().and_then(|limits| limits.mode).unwrap_or(base);
    let of_types = if limits_types { limits } else { Mode::Monitor };
    let sides = raw.messages.as_ref();
    let client = sides.and_then(|sides| sides.from_client.as_ref());
    let server = sides.and_then(|sides| sides.from_server.as_ref());
    Modes {
        base,
        origin: raw.origin.as_ref().and_then(|origin| origin.mode).unwrap_or(base),
        subprotocols: raw.subprotocols.as_ref().and_then(|subprotocols| subprotocols.mode).unwrap_or(base),
        auth: raw.auth.as_ref().and_then(|auth| auth.mode).unwrap_or(base),
        messages: Sides {
            client: side(of_side(raw, client), &messages.client, of_types),
            server: side(of_side(raw, server), &messages.server, Mode::Monitor),
        },
        limits,
        liveness: raw.liveness.as_ref().and_then(|liveness| liveness.mode).unwrap_or(base),
    }
}

/// The modes of a side: what has to be read for an enforced rule is enforced with it.
fn side(own: Mode, rules: &SideRules, of_types: Mode) -> SideModes {
    let authorize = rules.content.authorize.strictest().unwrap_or(own);
    let patterns = rules.content.patterns.as_ref().and_then(|patterns| patterns.strictest()).unwrap_or(own);
    let parsed = own.or(authorize).or(of_types);
    SideModes { own, parsed, payload: parsed.or(patterns) }
}
