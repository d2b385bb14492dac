//! Patterns that no message may match, each with a name: the operator's expressions, and sets of rules that are built in.

use std::rc::Rc;

use super::rule_sets::{LeftOut, Message, RuleSet, Subject, TOO_MUCH_WORK};
use super::views::View;
use crate::json::document::Value;
use crate::json::pointer::Pointer;
use crate::mode::Mode;
use crate::refusal::{Cause, Refusal};
use crate::regex::{Builder, RegexError, RegexSet};
use crate::violation::Violation;

/// Named expressions, and sets of rules.
#[derive(Debug, Default)]
pub struct Patterns {
    /// The enforced ones first: what is refused needs no other.
    own: Vec<Expressions>,
    sets: Vec<Rules>,
    /// The name of the bound of the sets' work.
    too_much_work: Option<Rc<str>>,
}

/// The operator's expressions of one mode.
#[derive(Debug)]
struct Expressions {
    mode: Mode,
    set: Rc<RegexSet>,
    /// Of each, where it stands in its list, and its name.
    names: Vec<(usize, Rc<str>)>,
}

/// A set of rules, as a policy has it.
#[derive(Debug)]
struct Rules {
    /// Where it stands in its list.
    index: usize,
    set: RuleSet,
    mode: Mode,
    names: Vec<Rc<str>>,
    left_out: LeftOut,
    /// Where in a message its strings are not looked into.
    except: Vec<Pointer>,
}

/// An expression of the operator's.
#[derive(Clone, Copy, Debug)]
pub struct Expression<'a> {
    /// Where it stands in its list.
    pub index: usize,
    /// Its name.
    pub name: &'a str,
    /// What no text may match.
    pub regex: &'a str,
    /// What it does with one that does.
    pub mode: Mode,
}

/// A set of rules to be looked for.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Where it stands in its list.
    pub index: usize,
    /// Which.
    pub set: RuleSet,
    /// What it does with what matches.
    pub mode: Mode,
    /// The rules that are not looked for.
    pub left_out: LeftOut,
    /// Where in a message strings are not looked into: `*` is any one step.
    pub except: Vec<Pointer>,
}

/// Which sets look into a text.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    /// All of them.
    All,
    /// Those that look into every string, wherever it stands.
    Everywhere,
    /// All but these: it is a string of a message.
    But(u8),
}

/// A rule that a text matches.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its name.
    pub rule: &'a Rc<str>,
    list: &'static str,
    index: Option<usize>,
    mode: Mode,
}

impl Found<'_> {
    /// What it does, with its place in the keys of its side.
    #[cold]
    #[must_use]
    pub fn refusal(self) -> Refusal {
        let Self { rule, list, index, mode } = self;
        let at = index.map_or_else(|| list.to_owned(), |index| format!("{list}[{index}]"));
        let cause = Cause { at, rule: Some(Rc::clone(rule)), mode: Some(mode), ..Cause::default() };
        Refusal::because(Violation::PatternRefused, cause)
    }
}

impl Patterns {
    /// The operator's `rules`, and the sets that are built in.
    ///
    /// # Errors
    /// [`RegexError`] with the index of the rule among `rules`: where all of a mode are too large together, of the first that does not fit.
    pub fn new(rules: &[Expression<'_>], sets: &[Chosen], builder: &mut Builder) -> Result<Self, (usize, RegexError)> {
        let mut own = Vec::new();
        for mode in [Mode::Enforce, Mode::Monitor] {
            let of_mode = || rules.iter().enumerate().filter(|(_, rule)| rule.mode == mode);
            if of_mode().next().is_none() {
                continue;
            }
            let set = builder.set(of_mode().map(|(_, rule)| rule.regex));
            let position = |index| of_mode().nth(index).map_or(index, |(position, _)| position);
            let set = set.map_err(|(index, error)| (position(index), error))?;
            own.push(Expressions {
                mode,
                set,
                names: of_mode().map(|(_, rule)| (rule.index, rule.name.into())).collect(),
            });
        }
        let of_mode = |mode: Mode| sets.iter().filter(move |set| set.mode == mode).map(Rules::new);
        let sets: Vec<Rules> = of_mode(Mode::Enforce).chain(of_mode(Mode::Monitor)).collect();
        let too_much_work = (!sets.is_empty()).then(|| TOO_MUCH_WORK.into());
        Ok(Self { own, sets, too_much_work })
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &Rc<str>> {
        let own = self.own.iter().flat_map(|own| &own.names).map(|(_, name)| name);
        own.chain(self.sets.iter().flat_map(|rules| &rules.names)).chain(&self.too_much_work)
    }

    /// The strictest mode of a rule, where there is one.
    #[must_use]
    pub fn strictest(&self) -> Option<Mode> {
        let own = self.own.iter().map(|own| own.mode);
        own.chain(self.sets.iter().map(|rules| rules.mode)).reduce(Mode::or)
    }

    /// How many expressions and sets are only monitored.
    #[must_use]
    pub fn monitored_count(&self) -> usize {
        let own = self.own.iter().filter(|own| !own.mode.enforces()).map(|own| own.names.len());
        own.chain(self.sets.iter().map(|rules| usize::from(!rules.mode.enforces()))).sum()
    }

    /// Tells `refuse` of the rules that `view` matches, by itself or with what was seen of its `message` before: at most one of a set.
    ///
    /// # Errors
    /// The first one of `refuse`.
    pub fn find<E>(
        &self,
        view: View<'_>,
        message: &mut Message,
        look: Look,
        refuse: &mut dyn FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for Expressions { mode, set, names } in &self.own {
            let first = set.first_match(view.text());
            if let Some((index, rule)) = first.and_then(|first| names.get(first)) {
                refuse(Found { rule, list: "deny_patterns", index: Some(*index), mode: *mode })?;
            }
        }
        let asks = |(number, rules): &(usize, &Rules)| match look {
            Look::All => true,
            Look::Everywhere => rules.except.is_empty(),
            Look::But(excepted) => excepted & bit(*number) == 0,
        };
        let mut sets = self.sets.iter().enumerate().filter(asks).map(|(_, rules)| rules).peekable();
        let Some(first) = sets.peek().filter(|_| view.says_more()) else { return Ok(()) };
        let subject = Subject::new(view.text());
        if !message.take(&subject) {
            // What none of them has read may match any.
            let mode = first.mode;
            let found = |rule| refuse(Found { rule, list: "rule_sets", index: None, mode });
            return self.too_much_work.as_ref().map_or(Ok(()), found);
        }
        for Rules { index, set, mode, names, left_out, except: _ } in sets {
            let name = set.find(&subject, left_out).or_else(|| message.find(*set, &subject, left_out));
            if let Some(rule) = name.and_then(|name| names.iter().find(|own| &***own == name)) {
                refuse(Found { rule, list: "rule_sets", index: Some(*index), mode: *mode })?;
            }
        }
        Ok(())
    }

    /// Of each text in a message, by its index there, the sets that do not look into it: a bit for each.
    #[must_use]
    pub fn excepted(&self, message: Value<'_>) -> Vec<u8> {
        let mut excepted = Vec::new();
        for (number, rules) in self.sets.iter().enumerate() {
            for pointer in &rules.except {
                pointer.each_string(message, &mut |string| {
                    let index = string.index() as usize;
                    if excepted.len() <= index {
                        excepted.resize(index.saturating_add(1), 0);
                    }
                    excepted.get_mut(index).into_iter().for_each(|sets| *sets |= bit(number));
                });
            }
        }
        excepted
    }

    /// How many automata of the operator's expressions look at each character.
    #[must_use]
    pub fn scan_count(&self) -> usize {
        self.own.iter().map(|own| own.set.scan_count()).sum()
    }
}

/// The bit of a set, of which there are six.
const fn bit(number: usize) -> u8 {
    1 << (number & 7)
}

impl Rules {
    fn new(chosen: &Chosen) -> Self {
        let Chosen { index, set, mode, left_out, except } = chosen;
        let names = set.names().iter().filter(|name| !left_out.0.contains(name)).map(|name| Rc::from(*name)).collect();
        Self { index: *index, set: *set, mode: *mode, names, left_out: left_out.clone(), except: except.clone() }
    }
}
