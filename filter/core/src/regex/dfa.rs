//! Automata with one state at a time, built before the first text comes: every character costs one look into a table.

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::class::{self, Range};
use super::error::TooLarge;
use super::nfa::{Better, MATCH, Nfa, State, StateId};
use super::parse::Assertion;
use super::work::Work;

/// A bit of a target that is no state but the index of an expression that matches.
pub(super) const MATCHED: u16 = 0x8000;

/// The state that nothing leads out of.
pub(super) const DEAD: u16 = 0;

/// Rows are as long as a multiple of this, in targets: so their places take two bits less.
pub(super) const ROW_UNIT: usize = 4;

/// The most targets of an automaton: the place of a row, in [`ROW_UNIT`]s, leaves a bit of a target for [`MATCHED`].
pub(super) const TARGET_COUNT_MAX: usize = 0x8000 * ROW_UNIT;

/// The same for several expressions in one automaton: it stays in the processor's second cache.
pub(super) const MERGED_COUNT_MAX: usize = TARGET_COUNT_MAX / 4;

/// The first of some characters, and their class.
pub(super) type Edge = (u32, u16);

/// An automaton. A match is known with the character behind it, or with the end of the text.
#[derive(Clone, Debug, Default)]
pub(super) struct Dfa {
    /// Which class the characters have from each of these on, up to the next.
    pub(super) classes: Vec<Edge>,
    /// The number of classes, and one for the end of the text, which is the last.
    pub(super) width: usize,
    /// For each state and class the state that follows, or an expression that matches.
    pub(super) targets: Vec<u16>,
    pub(super) start: u16,
}

impl Dfa {
    pub(super) fn row(&self, state: u16) -> &[u16] {
        let begin = usize::from(state).saturating_mul(self.width);
        self.targets.get(begin..begin.saturating_add(self.width)).unwrap_or_default()
    }

    /// The length of a row in a table.
    pub(super) fn pitch(&self) -> usize {
        self.width.next_multiple_of(ROW_UNIT)
    }

    /// The length of its table.
    pub(super) fn target_count(&self) -> usize {
        self.state_count().saturating_mul(self.pitch())
    }

    pub(super) fn state_count(&self) -> usize {
        self.targets.len().checked_div(self.width).unwrap_or_default()
    }
}

/// FxHash: keys are short, and only the operator's expressions choose them.
#[derive(Default)]
pub(super) struct Fx(u64);

impl Hasher for Fx {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    fn finish(&self) -> u64 {
        // The table looks at the high bits and at the low ones.
        self.0 ^ self.0 >> 32
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fx>>;

/// What a character is to `\b`, or that there is none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Kind {
    Edge,
    Other,
    Word,
}

const KINDS: [Kind; 3] = [Kind::Edge, Kind::Other, Kind::Word];

/// The states of an expression that are possible at once, but for those that it starts with anew at every character.
type Key = (Box<[StateId]>, Kind);

struct Determinizer<'a> {
    nfa: &'a Nfa,
    work: &'a mut Work,
    /// For each set of characters its classes.
    members: Vec<Vec<u16>>,
    kinds: Vec<Kind>,
    /// What is reached without a character and without an assertion, where it was asked for.
    closures: Vec<Option<Rc<[StateId]>>>,
    start: Rc<[StateId]>,
    /// Which states are in `start`, and are there behind every character.
    restarts: Vec<bool>,
    known: Map<Rc<Key>, u16>,
    waiting: Vec<Rc<Key>>,
    marks: Vec<u32>,
    mark: u32,
    /// For each class which characters of a state take it.
    steps: Vec<Vec<u16>>,
}

impl Dfa {
    /// The automaton of an expression, which is the one of this index, with at most `raw_max` targets before it is minimized.
    pub(super) fn new(nfa: &Nfa, index: u16, raw_max: usize, work: &mut Work) -> Result<Self, TooLarge> {
        let asks_words = nfa.states.iter().any(|state| {
            matches!(state, State::Look { assertion: Assertion::WordBoundary | Assertion::NotWordBoundary, .. })
        });
        let words = class::WORDS.to_vec();
        let sets: Vec<&Vec<Range>> = nfa.sets.iter().chain(asks_words.then_some(&words)).collect();
        let (classes, class_count) = partition(&sets, work)?;
        let mut members = members(&sets, &classes);
        let mut kinds = vec![Kind::Other; class_count];
        if asks_words {
            for class in members.pop().unwrap_or_default() {
                if let Some(kind) = kinds.get_mut(usize::from(class)) {
                    *kind = Kind::Word;
                }
            }
        }
        kinds.push(Kind::Edge);
        let steps = vec![Vec::new(); class_count];
        let mut determinizer = Determinizer {
            nfa,
            work,
            members,
            kinds,
            closures: vec![None; nfa.states.len()],
            start: Rc::default(),
            restarts: vec![false; nfa.states.len()],
            known: Map::default(),
            waiting: Vec::new(),
            marks: vec![0; nfa.states.len()],
            mark: 0,
            steps,
        };
        let (targets, start) = determinizer.run(index | MATCHED, raw_max)?;
        let mut dfa = Self { classes, width: class_count.saturating_add(1), targets, start };
        dfa.minimize(work)?;
        Ok(dfa)
    }

    /// The automaton that finds what either of two finds.
    pub(super) fn merged(&self, other: &Self, work: &mut Work) -> Result<Self, TooLarge> {
        // Both begin anew at every character: what they need by themselves they mostly need together.
        let states = self.state_count().saturating_add(other.state_count());
        if states.saturating_mul(self.width.max(other.width)) > MERGED_COUNT_MAX {
            return Err(TooLarge::Targets);
        }
        let (classes, pairs) = joined(&self.classes, &other.classes);
        let ends = (self.width.saturating_sub(1), other.width.saturating_sub(1));
        let pairs: Vec<(usize, usize)> = pairs
            .into_iter()
            .map(|(one, other)| (usize::from(one), usize::from(other)))
            .chain(core::iter::once(ends))
            .collect();
        let width = pairs.len();
        let mut known: Map<u32, u16> = Map::default();
        let mut waiting: Vec<(u16, u16)> = vec![(DEAD, DEAD)];
        known.insert(0, DEAD);
        let mut target = |pair: (u16, u16), waiting: &mut Vec<(u16, u16)>| {
            let matched = [pair.0, pair.1].into_iter().filter(|target| target & MATCHED != 0).min();
            matched.unwrap_or_else(|| {
                *known.entry(u32::from(pair.0) << 16 | u32::from(pair.1)).or_insert_with(|| {
                    waiting.push(pair);
                    u16::try_from(waiting.len().saturating_sub(1)).unwrap_or(u16::MAX)
                })
            })
        };
        let start = target((self.start, other.start), &mut waiting);
        let mut targets = Vec::new();
        let mut next: usize = 0;
        while let Some(&pair) = waiting.get(next) {
            next = next.saturating_add(1);
            work.spend(width)?;
            let (row, other_row) = (self.row(pair.0), other.row(pair.1));
            for (class, other_class) in &pairs {
                let both = (row.get(*class).copied(), other_row.get(*other_class).copied());
                targets.push(target((both.0.unwrap_or(DEAD), both.1.unwrap_or(DEAD)), &mut waiting));
            }
            if waiting.len().saturating_mul(width) > MERGED_COUNT_MAX {
                return Err(TooLarge::Targets);
            }
        }
        let mut merged = Self { classes, width, targets, start };
        merged.minimize(work)?;
        Ok(merged)
    }

    /// Makes one of states that nothing tells apart (Moore), and then one of such classes. The dead state stays the first.
    fn minimize(&mut self, work: &mut Work) -> Result<(), TooLarge> {
        let state_count = self.state_count();
        let mut blocks: Vec<u16> = vec![0; state_count];
        let mut count = 1;
        for round in 0.. {
            if round > 64 {
                // A long chain tells one more state apart with each round, and there is nothing to gain from it.
                return Ok(());
            }
            work.spend(self.targets.len())?;
            let mut known: Map<u64, (usize, u16)> = Map::default();
            let mut next = Vec::with_capacity(state_count);
            let to = |target: &u16| blocks.get(usize::from(*target)).copied().unwrap_or(*target);
            let rows = self.targets.chunks(self.width.max(1)).zip(&blocks);
            for (state, (row, block)) in rows.clone().enumerate() {
                let mut hasher = Fx::default();
                hasher.write_u16(*block);
                row.iter().for_each(|target| hasher.write_u16(to(target)));
                let mut hash = hasher.finish();
                let fresh = u16::try_from(known.len()).unwrap_or(u16::MAX);
                next.push(loop {
                    let (first, new) = *known.entry(hash).or_insert((state, fresh));
                    let is_alike = first == state
                        || rows.clone().nth(first).is_some_and(|(own, own_block)| {
                            own_block == block && own.iter().map(to).eq(row.iter().map(to))
                        });
                    if is_alike {
                        break new;
                    }
                    hash = hash.wrapping_add(1);
                });
            }
            let is_stable = known.len() == count;
            count = known.len();
            blocks = next;
            if is_stable {
                break;
            }
        }
        let to = |target: u16| blocks.get(usize::from(target)).copied().unwrap_or(target);
        let mut targets = Vec::with_capacity(count.saturating_mul(self.width));
        let mut written: u16 = 0;
        for (row, block) in self.targets.chunks(self.width.max(1)).zip(&blocks) {
            if *block == written {
                targets.extend(row.iter().map(|target| to(*target)));
                written = written.saturating_add(1);
            }
        }
        self.start = to(self.start);
        self.targets = targets;
        self.narrow();
        Ok(())
    }

    /// Makes one of classes whose columns are alike.
    fn narrow(&mut self) {
        let end = self.width.saturating_sub(1);
        let mut known: Map<Vec<u16>, u16> = Map::default();
        let mut kept = Vec::new();
        let mut to = Vec::new();
        for class in 0..end {
            let column: Vec<u16> = self.targets.chunks(self.width).filter_map(|row| row.get(class).copied()).collect();
            let fresh = u16::try_from(known.len()).unwrap_or(u16::MAX);
            let new = *known.entry(column).or_insert_with(|| {
                kept.push(class);
                fresh
            });
            to.push(new);
        }
        kept.push(end);
        let rows = self.targets.chunks(self.width);
        self.targets = rows.flat_map(|row| kept.iter().filter_map(|class| row.get(*class).copied())).collect();
        self.width = kept.len();
        self.classes
            .iter_mut()
            .for_each(|(_, class)| *class = to.get(usize::from(*class)).copied().unwrap_or_default());
        self.classes.dedup_by_key(|(_, class)| *class);
    }
}

/// Divides all characters into classes, so that each set is some of them. Gives from where on which class is, and how many there are.
fn partition(sets: &[&Vec<Range>], work: &mut Work) -> Result<(Vec<(u32, u16)>, usize), TooLarge> {
    let edges = sets.iter().flat_map(|set| set.iter()).flat_map(|(first, last)| [*first, last.saturating_add(1)]);
    let mut edges: Vec<u32> = edges.chain([0]).filter(|edge| *edge <= class::CODE_POINT_MAX).collect();
    work.spend(edges.len())?;
    edges.sort_unstable();
    edges.dedup();
    // Each set divides the classes that it has a part of.
    let mut classes: Vec<u32> = vec![0; edges.len()];
    let mut count: u32 = 1;
    for set in sets {
        let mut divided: BTreeMap<u32, u32> = BTreeMap::new();
        for (first, last) in *set {
            let begin = edges.partition_point(|edge| edge < first);
            let end = edges.partition_point(|edge| edge <= last);
            work.spend(end.saturating_sub(begin).saturating_add(1))?;
            for class in classes.get_mut(begin..end).unwrap_or_default() {
                *class = *divided.entry(*class).or_insert_with(|| {
                    count = count.saturating_add(1);
                    count.saturating_sub(1)
                });
            }
        }
    }
    let mut names: BTreeMap<u32, u16> = BTreeMap::new();
    let mut named: Vec<(u32, u16)> = Vec::new();
    for (edge, class) in edges.iter().zip(&classes) {
        let fresh = u16::try_from(names.len()).map_err(|_| TooLarge::Targets)?;
        named.push((*edge, *names.entry(*class).or_insert(fresh)));
    }
    if names.len() >= TARGET_COUNT_MAX {
        return Err(TooLarge::Targets);
    }
    Ok((named, names.len()))
}

/// For each set the classes that it consists of.
fn members(sets: &[&Vec<Range>], classes: &[(u32, u16)]) -> Vec<Vec<u16>> {
    let of = |set: &&Vec<Range>| {
        let mut members = Vec::new();
        for (first, last) in *set {
            let begin = classes.partition_point(|(edge, _)| edge < first);
            let end = classes.partition_point(|(edge, _)| edge <= last);
            members.extend(classes.get(begin..end).unwrap_or_default().iter().map(|(_, class)| *class));
        }
        // A sort by a heap is 5 KB less of code than the usual one.
        let mut members = BinaryHeap::from(members).into_sorted_vec();
        members.dedup();
        members
    };
    sets.iter().map(of).collect()
}

/// Which pairs of classes two automata give the characters.
pub(super) fn joined(one: &[Edge], other: &[Edge]) -> (Vec<Edge>, Vec<(u16, u16)>) {
    let mut names: BTreeMap<(u16, u16), u16> = BTreeMap::new();
    let mut pairs = Vec::new();
    let mut joined: Vec<Edge> = Vec::new();
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut pair = (0, 0);
    while let Some(edge) = [one.peek(), other.peek()].into_iter().flatten().map(|(edge, _)| *edge).min() {
        if let Some((_, class)) = one.next_if(|(own, _)| *own == edge) {
            pair.0 = *class;
        }
        if let Some((_, class)) = other.next_if(|(own, _)| *own == edge) {
            pair.1 = *class;
        }
        let fresh = u16::try_from(names.len()).unwrap_or(u16::MAX);
        let class = *names.entry(pair).or_insert_with(|| {
            pairs.push(pair);
            fresh
        });
        if joined.last().is_none_or(|(_, last)| *last != class) {
            joined.push((edge, class));
        }
    }
    (joined, pairs)
}

impl Determinizer<'_> {
    /// All targets, and the start.
    fn run(&mut self, matched: u16, raw_max: usize) -> Result<(Vec<u16>, u16), TooLarge> {
        let start = self.closure(self.nfa.start)?;
        if start.contains(&MATCH) {
            return Ok((vec![DEAD; self.kinds.len()], matched));
        }
        for id in start.iter() {
            if !self.is_of_start(*id)
                && let Some(restarts) = self.restarts.get_mut(*id as usize)
            {
                *restarts = true;
            }
        }
        self.start = start;
        let nothing: Key = (Box::default(), Kind::Other);
        // Where an expression does not start anew nothing is left of it; otherwise no target leads to the dead state.
        let is_anchored = !self.restarts.contains(&true);
        let dead = if is_anchored { nothing } else { (Box::from([MATCH]), Kind::Edge) };
        self.state(dead)?;
        let first = self.state((Box::default(), Kind::Edge))?;
        let mut targets = vec![DEAD; self.kinds.len()];
        let mut done: usize = 1;
        while let Some(key) = self.waiting.get(done).cloned() {
            done = done.saturating_add(1);
            self.targets(&key, matched, &mut targets)?;
            if self.waiting.len().saturating_mul(self.kinds.len()) > raw_max {
                return Err(TooLarge::Targets);
            }
        }
        Ok((targets, first))
    }

    fn is_of_start(&self, id: StateId) -> bool {
        matches!(self.nfa.state(id), State::Look { assertion: Assertion::Start, .. })
    }

    fn is_look(&self, id: StateId) -> bool {
        matches!(self.nfa.state(id), State::Look { .. })
    }

    fn state(&mut self, key: Key) -> Result<u16, TooLarge> {
        if let Some(state) = self.known.get(&key) {
            return Ok(*state);
        }
        let state =
            u16::try_from(self.waiting.len()).ok().filter(|state| state & MATCHED == 0).ok_or(TooLarge::Targets)?;
        self.work.spend(key.0.len())?;
        let key = Rc::new(key);
        self.waiting.push(Rc::clone(&key));
        self.known.insert(key, state);
        Ok(state)
    }

    /// Adds the targets of one state.
    fn targets(&mut self, key: &Key, matched: u16, targets: &mut Vec<u16>) -> Result<(), TooLarge> {
        self.steps.iter_mut().for_each(Vec::clear);
        let mut nexts = Vec::new();
        let mut matches = [false; KINDS.len()];
        for (kind, matches) in KINDS.into_iter().zip(&mut matches) {
            if !self.kinds.contains(&kind) {
                continue;
            }
            let (characters, is_match) = self.resolve(key, kind)?;
            *matches = is_match;
            if is_match || kind == Kind::Edge {
                continue;
            }
            for (set, next) in characters {
                let step = u16::try_from(nexts.len()).map_err(|_| TooLarge::Targets)?;
                nexts.push(next);
                let classes = self.members.get(set).map(Vec::as_slice).unwrap_or_default();
                self.work.spend(classes.len())?;
                for class in classes {
                    let class = usize::from(*class);
                    if self.kinds.get(class) == Some(&kind)
                        && let Some(steps) = self.steps.get_mut(class)
                    {
                        steps.push(step);
                    }
                }
            }
        }
        // Many classes lead to the same.
        let mut firsts: Vec<(usize, Kind, u16)> = Vec::new();
        for class in 0..self.kinds.len() {
            let kind = self.kinds.get(class).copied().unwrap_or(Kind::Edge);
            let is_match = KINDS.into_iter().zip(matches).any(|(own, is_match)| own == kind && is_match);
            if is_match || kind == Kind::Edge {
                targets.push(if is_match { matched } else { DEAD });
                continue;
            }
            let steps = self.steps.get(class);
            let alike = |first: &&(usize, Kind, u16)| first.1 == kind && self.steps.get(first.0) == steps;
            let target = match firsts.iter().find(alike) {
                Some((_, _, target)) => *target,
                None => {
                    let target = self.target(class, kind, &nexts, matched)?;
                    firsts.push((class, kind, target));
                    target
                }
            };
            targets.push(target);
        }
        Ok(())
    }

    /// The state behind a character of this class.
    fn target(&mut self, class: usize, kind: Kind, nexts: &[StateId], matched: u16) -> Result<u16, TooLarge> {
        let mut next = Vec::new();
        let steps = self.steps.get(class).cloned().unwrap_or_default();
        for step in steps {
            let closure = self.closure(nexts.get(usize::from(step)).copied().unwrap_or_default())?;
            self.work.spend(closure.len())?;
            next.extend_from_slice(&closure);
        }
        if next.contains(&MATCH) {
            return Ok(matched);
        }
        next.retain(|id| !self.is_of_start(*id) && self.restarts.get(*id as usize) == Some(&false));
        next.sort_unstable();
        next.dedup();
        self.prune(&mut next)?;
        // Behind an assertion there may be one about words.
        let asks_words = self.kinds.contains(&Kind::Word)
            && (next.iter().any(|id| self.is_look(*id))
                || self.start.iter().any(|id| self.is_look(*id) && !self.is_of_start(*id)));
        self.state((next.into(), if asks_words { kind } else { Kind::Other }))
    }

    /// Leaves out what better copies make needless.
    fn prune(&mut self, next: &mut Vec<StateId>) -> Result<(), TooLarge> {
        for chain in &self.nfa.chains {
            let begin = next.partition_point(|id| *id < chain.first);
            let end = next.partition_point(|id| *id < chain.end);
            let found = end.saturating_sub(begin);
            self.work.spend(1)?;
            if found < 2 {
                continue;
            }
            self.work.spend(found)?;
            self.mark = self.mark.wrapping_add(1);
            let (mark, marks) = (self.mark, &mut self.marks);
            let mut is_new = |id: &StateId| {
                let place = id.saturating_sub(chain.first).checked_rem(chain.len).unwrap_or_default();
                marks.get_mut(place as usize).is_some_and(|own| core::mem::replace(own, mark) != mark)
            };
            let rest = next.split_off(end);
            let mut kept = next.split_off(begin);
            match chain.better {
                Better::Earlier => kept.retain(is_new),
                Better::Later => {
                    kept.reverse();
                    kept.retain(|id| is_new(id));
                    kept.reverse();
                }
            }
            next.extend(kept);
            next.extend(rest);
        }
        Ok(())
    }

    /// What may take a character of this kind now, and whether there is a match before it.
    fn resolve(&mut self, key: &Key, next: Kind) -> Result<(Vec<(usize, StateId)>, bool), TooLarge> {
        let (ids, before) = key;
        self.mark = self.mark.wrapping_add(1);
        let mut stack: Vec<StateId> = Vec::with_capacity(ids.len().saturating_add(self.start.len()));
        stack.extend(self.start.iter().chain(ids.iter()));
        let mut characters = Vec::new();
        while let Some(id) = stack.pop() {
            self.work.spend(1)?;
            let mark = self.mark;
            if self.marks.get_mut(id as usize).is_some_and(|own| core::mem::replace(own, mark) == mark) {
                continue;
            }
            match self.nfa.state(id) {
                State::Character { set, next } => characters.push((set, next)),
                // A closure holds none.
                State::Either { .. } => {}
                State::Look { assertion, next: behind } => {
                    let is_boundary = (*before == Kind::Word) != (next == Kind::Word);
                    let holds = match assertion {
                        Assertion::End => next == Kind::Edge,
                        Assertion::NotWordBoundary => !is_boundary,
                        Assertion::Start => *before == Kind::Edge,
                        Assertion::WordBoundary => is_boundary,
                    };
                    if holds {
                        stack.extend(self.closure(behind)?.iter());
                    }
                }
                State::Match => return Ok((Vec::new(), true)),
            }
        }
        Ok((characters, false))
    }

    /// What is reached from a state without a character and without an assertion.
    fn closure(&mut self, id: StateId) -> Result<Rc<[StateId]>, TooLarge> {
        if let Some(Some(known)) = self.closures.get(id as usize) {
            return Ok(Rc::clone(known));
        }
        let mut seen: Vec<StateId> = Vec::new();
        let mut reached: Vec<StateId> = Vec::new();
        let mut stack = vec![id];
        let mut marks = std::collections::BTreeSet::new();
        while let Some(id) = stack.pop() {
            self.work.spend(1)?;
            if !marks.insert(id) {
                continue;
            }
            seen.push(id);
            match self.nfa.state(id) {
                State::Either { first, second } => stack.extend([second, first]),
                State::Character { .. } | State::Look { .. } | State::Match => reached.push(id),
            }
        }
        let reached: Rc<[StateId]> = reached.into();
        if let Some(slot) = self.closures.get_mut(id as usize) {
            *slot = Some(Rc::clone(&reached));
        }
        Ok(reached)
    }
}
