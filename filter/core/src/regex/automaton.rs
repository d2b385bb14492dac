//! From expressions to one automaton over the bytes of UTF-8, built from its end: what comes next is known before what leads to it.
//!
//! ```text
//! (a|é)+$        ┌──────────────────────────┐
//!                ▼                          │
//!          union ┬─ 61 ────────────────▶ union ─▶ end of text ─▶ match
//!                └─ C3 ─▶ A9 ─────────────▲
//! ```

use regex_automata::nfa::thompson::{BuildError, Builder, NFA, Transition};
use regex_automata::util::look::Look;
use regex_automata::util::primitives::StateID;

use super::class::Range;
use super::parse::{Assertion, Node};

/// The least byte of continuation and the greatest (RFC 3629 §3).
const CONTINUATION: (u8, u8) = (0x80, 0xbf);

/// The characters of so many bytes behind the first one.
struct Length {
    depth: u32,
    characters: Range,
    /// As far as the same bytes reach: no text has what lies outside of `characters`, and without edges there is less to tell apart.
    bytes: Range,
    /// What is added to the bits of the first byte.
    lead: u8,
}

const LENGTHS: [Length; 4] = [
    Length { depth: 0, characters: (0, 0x7f), bytes: (0, 0x7f), lead: 0 },
    Length { depth: 1, characters: (0x80, 0x7ff), bytes: (0x80, 0x7ff), lead: 0xc0 },
    Length { depth: 2, characters: (0x800, 0xffff), bytes: (0, 0xffff), lead: 0xe0 },
    Length { depth: 3, characters: (0x1_0000, 0x10_ffff), bytes: (0, 0x13_ffff), lead: 0xf0 },
];

/// How many states of a class are looked through for one to share.
const SHARED_MAX: usize = 32;

/// One automaton of all `nodes`, of at most `len_max` bytes.
///
/// # Errors
/// The index of the first expression that does not fit any more.
pub(super) fn build(nodes: &[Node], len_max: usize) -> Result<NFA, usize> {
    let mut compiler = Compiler(Builder::new());
    // It fails where already more is in it, and nothing is.
    let _ = compiler.0.set_size_limit(Some(len_max));
    compiler.0.set_utf8(true);
    let mut starts = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        starts.push(compiler.pattern(node).map_err(|_| index)?);
    }
    compiler.finish(starts).map_err(|_| nodes.len())
}

/// Why building fails: nothing else does with what is built here.
struct TooLarge;

impl From<BuildError> for TooLarge {
    fn from(_: BuildError) -> Self {
        Self
    }
}

struct Compiler(Builder);

impl Compiler {
    fn pattern(&mut self, node: &Node) -> Result<StateID, TooLarge> {
        self.0.start_pattern()?;
        let end = self.0.add_match()?;
        let start = self.node(node, end)?;
        self.0.finish_pattern(start)?;
        Ok(start)
    }

    /// Matches begin anywhere: with every byte that is skipped all patterns begin anew.
    fn finish(mut self, starts: Vec<StateID>) -> Result<NFA, TooLarge> {
        let anchored = self.0.add_union(starts)?;
        let start = self.0.add_union(vec![anchored])?;
        let skip = self.0.add_range(Transition { start: 0, end: 0xff, next: start })?;
        self.0.patch(start, skip)?;
        Ok(self.0.build(anchored, start)?)
    }

    /// Where `node` begins that is followed by `next`.
    fn node(&mut self, node: &Node, next: StateID) -> Result<StateID, TooLarge> {
        match node {
            Node::Alternatives(nodes) => {
                let starts = nodes.iter().map(|node| self.node(node, next)).collect::<Result<_, _>>()?;
                Ok(self.0.add_union(starts)?)
            }
            Node::Assertion(assertion) => {
                let look = match assertion {
                    Assertion::End => Look::End,
                    Assertion::NotWordBoundary => Look::WordAsciiNegate,
                    Assertion::Start => Look::Start,
                    Assertion::WordBoundary => Look::WordAscii,
                };
                Ok(self.0.add_look(next, look)?)
            }
            Node::Class(ranges) => self.class(ranges, next),
            Node::Repeat { node, min, max } => self.repeat(node, *min, *max, next),
            Node::Sequence(nodes) => nodes.iter().rev().try_fold(next, |next, node| self.node(node, next)),
        }
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, next: StateID) -> Result<StateID, TooLarge> {
        let (mut start, mut needed) = (next, min);
        match max {
            None => {
                let again = self.0.add_union(Vec::new())?;
                let first = self.node(node, again)?;
                if first == again {
                    return Ok(next);
                }
                self.0.patch(again, first)?;
                self.0.patch(again, next)?;
                start = if min == 0 { again } else { first };
                needed = min.saturating_sub(1);
            }
            Some(max) => {
                for _ in min..max {
                    let first = self.node(node, start)?;
                    // What takes nothing takes nothing however often, and adds nothing that the limit of size would end.
                    if first == start {
                        return Ok(next);
                    }
                    start = self.0.add_union(vec![first, next])?;
                }
            }
        }
        for _ in 0..needed {
            let first = self.node(node, start)?;
            if first == start {
                break;
            }
            start = first;
        }
        Ok(start)
    }

    /// One character of `ranges`.
    fn class(&mut self, ranges: &[Range], next: StateID) -> Result<StateID, TooLarge> {
        let mut utf8 = Utf8 { builder: &mut self.0, any: vec![next], shared: Vec::new() };
        let mut transitions = Vec::new();
        for Length { depth, characters, bytes, lead } in LENGTHS {
            let within =
                ranges.iter().filter(|range| range.0 <= characters.1 && characters.0 <= range.1).map(|range| {
                    let first = if range.0 <= characters.0 { bytes.0 } else { range.0 };
                    (first, if characters.1 <= range.1 { bytes.1 } else { range.1 })
                });
            utf8.split(within, depth, lead, &mut transitions)?;
        }
        Ok(self.0.add_sparse(transitions)?)
    }
}

/// The states of one class.
struct Utf8<'a> {
    builder: &'a mut Builder,
    /// What is followed by so many bytes, whichever.
    any: Vec<StateID>,
    shared: Vec<(Vec<Transition>, StateID)>,
}

impl Utf8<'_> {
    /// Adds the transitions of the first byte of `ranges` that `depth` more bytes follow.
    fn split(
        &mut self,
        ranges: impl Iterator<Item = Range>,
        depth: u32,
        lead: u8,
        out: &mut Vec<Transition>,
    ) -> Result<(), TooLarge> {
        let bits = depth.saturating_mul(6);
        let mask = 1_u32.unbounded_shl(bits).saturating_sub(1);
        let mut begun = (0, Vec::new());
        for (mut first, last) in ranges {
            while first <= last {
                let block = first.unbounded_shr(bits);
                let block_end = last.saturating_add(1).unbounded_shr(bits);
                if first & mask == 0 && block < block_end {
                    self.finish_block(&mut begun, depth, lead, out)?;
                    let next = self.any(depth)?;
                    push(out, lead, (block, block_end.saturating_sub(1)), next);
                    first = block_end.unbounded_shl(bits);
                } else {
                    if begun.0 != block {
                        self.finish_block(&mut begun, depth, lead, out)?;
                    }
                    let end = last.min(first | mask);
                    begun.0 = block;
                    begun.1.push((first & mask, end & mask));
                    first = end.saturating_add(1);
                }
            }
        }
        self.finish_block(&mut begun, depth, lead, out)
    }

    /// Adds the transition of one byte behind which some bytes match and some do not.
    fn finish_block(
        &mut self,
        (block, ranges): &mut (u32, Vec<Range>),
        depth: u32,
        lead: u8,
        out: &mut Vec<Transition>,
    ) -> Result<(), TooLarge> {
        if ranges.is_empty() {
            return Ok(());
        }
        let mut transitions = Vec::new();
        let ranges: &mut dyn Iterator<Item = Range> = &mut ranges.drain(..);
        self.split(ranges, depth.saturating_sub(1), CONTINUATION.0, &mut transitions)?;
        let known = self.shared.iter().rev().take(SHARED_MAX).find(|(known, _)| *known == transitions);
        let next = match known {
            Some((_, state)) => *state,
            None => {
                let state = self.builder.add_sparse(transitions.clone())?;
                self.shared.push((transitions, state));
                state
            }
        };
        push(out, lead, (*block, *block), next);
        Ok(())
    }

    fn any(&mut self, depth: u32) -> Result<StateID, TooLarge> {
        let depth = usize::try_from(depth).unwrap_or_default();
        loop {
            if let Some(state) = self.any.get(depth) {
                return Ok(*state);
            }
            let next = self.any.last().copied().unwrap_or_default();
            let (start, end) = CONTINUATION;
            self.any.push(self.builder.add_range(Transition { start, end, next })?);
        }
    }
}

/// Adds a transition, or makes the last one wider.
fn push(out: &mut Vec<Transition>, lead: u8, (first, last): Range, next: StateID) {
    let byte = |bits| lead.saturating_add(u8::try_from(bits).unwrap_or(u8::MAX));
    let (start, end) = (byte(first), byte(last));
    match out.last_mut() {
        Some(before) if before.next == next && before.end.checked_add(1) == Some(start) => before.end = end,
        _ => out.push(Transition { start, end, next }),
    }
}
