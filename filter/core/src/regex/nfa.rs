//! From an expression to states over characters, built from its end: what comes next is known before what leads to it.
//!
//! ```text
//! (a|é)+$        ┌──────────────┐
//!                ▼              │
//!             either ┬─ a ──▶ either ─▶ end of text ─▶ match
//!                    └─ é ──────▲
//! ```

use std::collections::BTreeMap;

use super::class::Range;
use super::error::TooLarge;
use super::parse::{Assertion, Node};

/// The index of a state.
pub(super) type StateId = u32;

/// The most states of an expression: `a{5000}` and five hundred words of twenty letters fit.
const STATE_COUNT_MAX: usize = 16_384;

/// The state behind a match.
pub(super) const MATCH: StateId = 0;

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// A character of a set, by its index.
    Character {
        set: usize,
        next: StateId,
    },
    Either {
        first: StateId,
        second: StateId,
    },
    Look {
        assertion: Assertion,
        next: StateId,
    },
    Match,
}

/// Copies of one repeated expression, built one behind the other, each of `len` states. What a copy accepts, its `better` neighbour
/// accepts as well: of two copies in the same state, one is enough.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) first: StateId,
    pub(super) len: u32,
    pub(super) end: StateId,
    pub(super) better: Better,
}

/// Which copies accept more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Better {
    /// Those that were built earlier, which need fewer repetitions.
    Earlier,
    /// Those that were built later, which may be followed by more.
    Later,
}

/// The states of one expression.
#[derive(Debug)]
pub(super) struct Nfa {
    pub(super) states: Vec<State>,
    pub(super) sets: Vec<Vec<Range>>,
    pub(super) chains: Vec<Chain>,
    pub(super) start: StateId,
}

impl Nfa {
    /// Builds the states of `node`.
    pub(super) fn new(node: &Node) -> Result<Self, TooLarge> {
        let mut built = Construction { states: vec![State::Match], sets: BTreeMap::new(), chains: Vec::new() };
        let start = built.node(node, MATCH)?;
        let mut sets = vec![Vec::new(); built.sets.len()];
        for (ranges, index) in built.sets {
            if let Some(set) = sets.get_mut(index) {
                *set = ranges;
            }
        }
        Ok(Self { states: built.states, sets, chains: built.chains, start })
    }

    pub(super) fn state(&self, id: StateId) -> State {
        self.states.get(id as usize).copied().unwrap_or(State::Match)
    }
}

struct Construction {
    states: Vec<State>,
    sets: BTreeMap<Vec<Range>, usize>,
    chains: Vec<Chain>,
}

impl Construction {
    fn next_id(&self) -> StateId {
        StateId::try_from(self.states.len()).unwrap_or(StateId::MAX)
    }

    fn add(&mut self, state: State) -> Result<StateId, TooLarge> {
        if self.states.len() >= STATE_COUNT_MAX {
            return Err(TooLarge::States);
        }
        let id = self.next_id();
        self.states.push(state);
        Ok(id)
    }

    /// Where `node` begins that is followed by `next`.
    fn node(&mut self, node: &Node, next: StateId) -> Result<StateId, TooLarge> {
        match node {
            Node::Alternatives(nodes) => {
                let mut nodes = nodes.iter().rev();
                let Some(last) = nodes.next() else { return Ok(next) };
                let last = self.node(last, next)?;
                nodes.try_fold(last, |second, node| {
                    let first = self.node(node, next)?;
                    self.add(State::Either { first, second })
                })
            }
            Node::Assertion(assertion) => self.add(State::Look { assertion: *assertion, next }),
            Node::Class(ranges) => {
                let count = self.sets.len();
                let set = match self.sets.get(ranges) {
                    Some(set) => *set,
                    None => *self.sets.entry(ranges.clone()).or_insert(count),
                };
                self.add(State::Character { set, next })
            }
            Node::Repeat { node, min, max } => self.repeat(node, *min, *max, next),
            Node::Sequence(nodes) => nodes.iter().rev().try_fold(next, |next, node| self.node(node, next)),
        }
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, next: StateId) -> Result<StateId, TooLarge> {
        // Behind the least that matches nothing more is looked for.
        let max = if next == MATCH { Some(min) } else { max };
        let (mut start, mut needed) = (next, min);
        let mut copies = vec![self.next_id()];
        if let Some(max) = max {
            for _ in min..max {
                let body = self.node(node, start)?;
                // What takes nothing takes nothing however often, and adds nothing that the limit of states would end.
                if body == start {
                    return Ok(next);
                }
                start = self.add(State::Either { first: body, second: next })?;
                copies.push(self.next_id());
            }
            self.chain(&copies, Better::Later);
            copies = vec![self.next_id()];
        } else {
            let again = self.add(State::Either { first: next, second: next })?;
            copies = vec![self.next_id()];
            let body = self.node(node, again)?;
            if body == again {
                return Ok(next);
            }
            if let Some(state) = self.states.get_mut(again as usize) {
                *state = State::Either { first: body, second: next };
            }
            copies.push(self.next_id());
            start = if min == 0 { again } else { body };
            needed = min.saturating_sub(1);
        }
        for _ in 0..needed {
            let body = self.node(node, start)?;
            if body == start {
                break;
            }
            start = body;
            copies.push(self.next_id());
        }
        if max.is_none() || next == MATCH {
            self.chain(&copies, Better::Earlier);
        }
        Ok(start)
    }

    /// Notes which copies are alike: `edges` are where each begins, and the end. The first one may be shorter, as it may be the last
    /// of what matches.
    fn chain(&mut self, edges: &[StateId], better: Better) {
        let mut edges = edges.iter().rev();
        let (Some(end), Some(last)) = (edges.next(), edges.next()) else { return };
        let len = end.saturating_sub(*last);
        let mut first = *last;
        for edge in edges {
            if first.saturating_sub(*edge) == len {
                first = *edge;
            }
        }
        if first < *last {
            self.chains.push(Chain { first, len, end: *end, better });
        }
    }
}
