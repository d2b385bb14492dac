//! What expressions match by their definition: sets of places, step by step, without any automaton.

use std::collections::BTreeSet;

use super::super::parse::{Assertion, Node, parse};
use super::{regex, set};
use crate::testing::Choices;

type Places = BTreeSet<usize>;

fn is_word(character: Option<&char>) -> bool {
    character.is_some_and(|character| character.is_ascii_alphanumeric() || *character == '_')
}

/// Where `node` may end that begins at one of `starts`.
fn ends(node: &Node, text: &[char], starts: &Places) -> Places {
    match node {
        Node::Alternatives(nodes) => nodes.iter().flat_map(|node| ends(node, text, starts)).collect(),
        Node::Assertion(assertion) => {
            let holds = |place: &&usize| {
                let before = place.checked_sub(1).and_then(|before| text.get(before));
                let is_boundary = is_word(before) != is_word(text.get(**place));
                match assertion {
                    Assertion::End => **place == text.len(),
                    Assertion::NotWordBoundary => !is_boundary,
                    Assertion::Start => **place == 0,
                    Assertion::WordBoundary => is_boundary,
                }
            };
            starts.iter().filter(holds).copied().collect()
        }
        Node::Class(ranges) => {
            let takes = |place: &&usize| {
                text.get(**place).is_some_and(|character| {
                    ranges.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(*character)))
                })
            };
            starts.iter().filter(takes).map(|place| place + 1).collect()
        }
        Node::Repeat { node, min, max } => {
            let mut now = starts.clone();
            for _ in 0..*min {
                now = ends(node, text, &now);
            }
            let mut all = now.clone();
            for _ in *min..max.unwrap_or(u32::MAX) {
                now = ends(node, text, &now);
                let count = all.len();
                all.extend(&now);
                if all.len() == count {
                    break;
                }
            }
            all
        }
        Node::Sequence(nodes) => nodes.iter().fold(starts.clone(), |starts, node| ends(node, text, &starts)),
    }
}

fn is_match(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    !ends(&parse(pattern).unwrap(), &text, &(0..=text.len()).collect()).is_empty()
}

impl Choices {
    fn pattern(&mut self, depth: usize) -> String {
        const ATOMS: [&str; 14] =
            ["a", "b", "c", "-", "é", "[ab]", "[^a]", ".", r"\w", r"\W", r"\p{L}", "[a-é]", "ab", "😀"];
        const ASSERTIONS: [&str; 4] = ["^", "$", r"\b", r"\B"];
        const COUNTS: [&str; 11] = ["*", "+", "?", "{2}", "{3}", "{0,2}", "{1,3}", "{2,}", "{2,5}", "{0,7}", "{1,4}?"];
        match self.below(if depth == 0 { 3 } else { 11 }) {
            0 | 1 => self.one(&ATOMS).to_owned(),
            2 => if self.below(3) == 0 { self.one(&ASSERTIONS) } else { self.one(&ATOMS) }.to_owned(),
            3..6 => format!("(?:{}){}", self.pattern(depth - 1), self.one(&COUNTS)),
            6..9 => (0..=self.below(3) + 1).map(|_| self.pattern(depth - 1)).collect(),
            _ => format!("(?:{}|{})", self.pattern(depth - 1), self.pattern(depth - 1)),
        }
    }

    fn text(&mut self, len: usize) -> String {
        (0..len).map(|_| self.one(&["a", "b", "c", "-", "é", "ü", "\n", "😀", "aa", "ab", "_"])).collect()
    }
}

#[test]
fn automata_match_what_expressions_say() {
    let mut choices = Choices::new(1);
    let (mut matches, mut refusals, mut too_large) = (0, 0, 0);
    for _ in 0..CASE_COUNT {
        let patterns: Vec<String> = (0..3).map(|_| choices.pattern(3)).collect();
        let Ok(words) = set(patterns.iter().map(String::as_str)) else {
            too_large += 1;
            continue;
        };
        let regexes: Vec<_> = patterns.iter().map(|pattern| regex(pattern).unwrap()).collect();
        for len in 0..24 {
            let text = choices.text(len);
            let wanted: Vec<bool> = patterns.iter().map(|pattern| is_match(pattern, &text)).collect();
            for ((regex, pattern), wanted) in regexes.iter().zip(&patterns).zip(&wanted) {
                assert_eq!(regex.is_match(&text), *wanted, "{pattern} in {text:?}");
            }
            match words.first_match(&text) {
                Some(index) => {
                    matches += 1;
                    assert!(wanted[index], "{patterns:?} in {text:?}: {index}");
                }
                None => {
                    refusals += 1;
                    assert!(!wanted.contains(&true), "{patterns:?} in {text:?}");
                }
            }
        }
    }
    assert!(too_large * 25 < CASE_COUNT, "{too_large} are too large");
    assert!(matches > CASE_COUNT && refusals > CASE_COUNT, "{matches} matches, {refusals} refusals");
}

/// Takes some seconds.
const CASE_COUNT: usize = 400;
