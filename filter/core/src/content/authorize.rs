//! Rules of which messages a sender may send: fields of a message against the claims of its sender.

use serde_json::Value as Claim;

use crate::json::document::{Form, Twins, Value};
use crate::json::number::Decimal;
use crate::json::pointer::Pointer;
use crate::letter::folded;
use crate::mode::Mode;
use crate::token::Verified;
use crate::token::claims::Requirement;

/// The most rules of one side, and the most things that they ask together: a message is asked each once, at some 50 ns.
const RULES_MAX: usize = 256;
const CONDITIONS_MAX: usize = 1_024;

/// What a rule or a pointer takes, in steps of a schema's.
const STEPS_PER_RULE: u64 = 10;

/// The most different pointers. Each may have to look at every member of a message: 64 KiB of them take about 0.1 ms.
const POINTERS_MAX: usize = 32;

/// The most globs with something between two stars, which is searched for in a text as long as the message: 64 KiB take 0.1 ms.
const SEARCHES_MAX: usize = 16;

/// A rule that has to hold for the messages that it is about.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// It is about messages in which all of these match.
    pub when: Vec<(Pointer, Glob)>,
    /// Whether it is not about messages in which one of them leads nowhere; otherwise those are refused.
    pub missing: bool,
    /// Claims by path, and what each must be.
    pub claims: Vec<(String, Requirement)>,
    /// Places in the message, and the path of the claim that the value there must equal.
    pub equals: Vec<(Pointer, String)>,
    /// What it does with those for which it does not hold.
    pub mode: Mode,
}

/// All rules of one side; each place in a message is looked for once.
#[derive(Debug, Default)]
pub struct Authorizations {
    pointers: Vec<Pointer>,
    rules: Vec<Rule>,
}

/// An [`Authorization`] whose pointers are indices.
#[derive(Debug)]
struct Rule {
    when: Vec<(usize, Glob)>,
    missing: bool,
    claims: Vec<(String, Requirement)>,
    equals: Vec<(usize, String)>,
    mode: Mode,
}

/// What stands where a pointer leads.
enum Found<'a> {
    Nothing,
    Number(Number<'a>),
    /// Readers differ about what stands there.
    Twins,
    /// No number.
    Value(Value<'a>),
}

struct Number<'a> {
    text: &'a str,
    /// Its value, and that without an exponent; then the same for readers that round to a double.
    readings: Vec<(Decimal, String)>,
}

impl<'a> Number<'a> {
    fn new(text: &'a str) -> Self {
        let exact = Decimal::parse(text.as_bytes());
        let readings = [exact, exact.and_then(Decimal::rounded)].into_iter().flatten();
        let readings = readings.map(|decimal| (decimal, decimal.to_plain(usize::MAX).unwrap_or_default()));
        Self { text, readings: readings.collect() }
    }
}

/// Whether all of `when` match in a message; in one that lacks a place that they ask for they do not.
///
/// # Errors
/// [`Twins`] where receivers read different values in such a place.
pub fn is_about(when: &[(Pointer, Glob)], message: Value<'_>) -> Result<bool, Twins> {
    let mut is_about = true;
    for (pointer, glob) in when {
        match Found::new(pointer, message) {
            Found::Twins => return Err(Twins),
            found => is_about &= glob.matches(&found),
        }
    }
    Ok(is_about)
}

/// Whether a rule is about a message.
enum Concern {
    No,
    /// A place that it asks for is missing, or receivers read different values there.
    Unknown,
    Yes,
}

impl Authorizations {
    /// The rules of one side, whose pointers are looked for once.
    ///
    /// # Errors
    /// The bound that they exceed.
    pub fn new(rules: Vec<Authorization>) -> Result<Self, &'static str> {
        let mut own = Self::default();
        let (mut conditions, mut searches) = (0_usize, 0_usize);
        for rule in rules {
            let asked = [rule.when.len(), rule.claims.len(), rule.equals.len()];
            conditions = asked.into_iter().fold(conditions, usize::saturating_add);
            searches = searches.saturating_add(rule.when.iter().filter(|(_, glob)| glob.searches()).count());
            let when = rule.when.into_iter().map(|(pointer, glob)| (own.pointer(pointer), glob)).collect();
            let equals = rule.equals.into_iter().map(|(pointer, claim)| (own.pointer(pointer), claim)).collect();
            own.rules.push(Rule { when, missing: rule.missing, claims: rule.claims, equals, mode: rule.mode });
        }
        match () {
            () if own.rules.len() > RULES_MAX => Err("at most 256 rules"),
            () if conditions > CONDITIONS_MAX => Err("at most 1024 conditions in all rules together"),
            () if own.pointers.len() > POINTERS_MAX => Err("at most 32 different pointers in all rules together"),
            () if searches > SEARCHES_MAX => Err("at most 16 globs with something between two stars"),
            () => Ok(own),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What a message takes at most to be asked about, but for its length, in steps of a schema's.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        (self.rules.len().saturating_add(self.pointers.len()) as u64).saturating_mul(STEPS_PER_RULE)
    }

    /// The strictest mode of a rule, where there is one.
    #[must_use]
    pub fn strictest(&self) -> Option<Mode> {
        self.rules.iter().map(|rule| rule.mode).reduce(Mode::or)
    }

    /// How many rules are only monitored.
    #[must_use]
    pub fn monitored_count(&self) -> usize {
        self.rules.iter().filter(|rule| !rule.mode.enforces()).count()
    }

    /// Tells `refuse` of each rule by which `sender` may not send `message`: its index and mode. A sender without a token has no claims. Where a
    /// place `folds`, the case of letters says nothing.
    ///
    /// # Errors
    /// The first one of `refuse`.
    pub fn check<E>(
        &self,
        message: Value<'_>,
        sender: Option<&Verified>,
        folds: impl Fn(&Pointer) -> bool,
        refuse: &mut dyn FnMut(usize, Mode) -> Result<(), E>,
    ) -> Result<(), E> {
        let found: Vec<Found<'_>> = self.pointers.iter().map(|pointer| Found::new(pointer, message)).collect();
        let folded = self.pointers.iter().position(folds);
        let holds = |rule: &Rule| match rule.concern(&found, folded) {
            Concern::No => true,
            Concern::Unknown => false,
            Concern::Yes => sender.is_some_and(|sender| rule.is_met(&found, sender)),
        };
        for (index, rule) in self.rules.iter().enumerate() {
            if !holds(rule) {
                refuse(index, rule.mode)?;
            }
        }
        Ok(())
    }

    /// The index of `pointer`, which is remembered.
    fn pointer(&mut self, pointer: Pointer) -> usize {
        self.pointers.iter().position(|known| *known == pointer).unwrap_or_else(|| {
            self.pointers.push(pointer);
            self.pointers.len().saturating_sub(1)
        })
    }
}

impl Rule {
    fn concern(&self, found: &[Found<'_>], folded: Option<usize>) -> Concern {
        let mut concern = Concern::Yes;
        for (index, glob) in &self.when {
            match found.get(*index) {
                Some(Found::Twins) | None => return Concern::Unknown,
                Some(Found::Nothing) if matches!(concern, Concern::Yes) => {
                    concern = if self.missing { Concern::No } else { Concern::Unknown };
                }
                Some(Found::Nothing) => {}
                Some(found) => {
                    if !(glob.matches(found) || (folded == Some(*index) && glob.matches_folded(found))) {
                        concern = Concern::No;
                    }
                }
            }
        }
        concern
    }

    fn is_met(&self, found: &[Found<'_>], sender: &Verified) -> bool {
        let claim = |(path, requirement): &(String, Requirement)| {
            sender.claim(path).is_some_and(|claim| requirement.is_met(claim))
        };
        let field = |(index, path): &(usize, String)| match (found.get(*index), sender.claim(path)) {
            (Some(found), Some(claim)) => {
                let is_number = || sender.is_number(path) && claim.as_str().is_some_and(|text| found.is_worth(text));
                found.is_same(claim) || is_number()
            }
            (None, _) | (_, None) => false,
        };
        self.claims.iter().all(claim) && self.equals.iter().all(field)
    }
}

impl<'a> Found<'a> {
    fn new(pointer: &Pointer, message: Value<'a>) -> Self {
        match pointer.find(message) {
            Err(Twins) => Self::Twins,
            Ok(None) => Self::Nothing,
            Ok(Some(value)) => match value.form() {
                Form::Number(text) => Self::Number(Number::new(text)),
                Form::Array(_) | Form::Boolean(_) | Form::Null | Form::Object(_) | Form::String(_) => {
                    Self::Value(value)
                }
            },
        }
    }

    /// Whether it equals the number that `text` is.
    fn is_worth(&self, text: &str) -> bool {
        let Self::Number(number) = self else { return false };
        number.readings.first().is_some_and(|(exact, _)| Decimal::parse(text.as_bytes()) == Some(*exact))
    }

    /// Whether it is the value that a claim has. Lists and objects are the same as nothing.
    fn is_same(&self, claim: &Claim) -> bool {
        match (self, claim) {
            (Self::Number(number), Claim::Number(claim)) => {
                number.readings.first().is_some_and(|(exact, _)| Decimal::from_value(claim) == Some(*exact))
            }
            (Self::Value(value), claim) => match (value.form(), claim) {
                (Form::Boolean(own), Claim::Bool(claim)) => own == *claim,
                (Form::String(own), Claim::String(claim)) => own == claim,
                (_, _) => false,
            },
            (Self::Nothing | Self::Number(_) | Self::Twins, _) => false,
        }
    }
}

/// A text in which `*` stands for any run of characters, also for none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Glob {
    text: Box<str>,
    /// The number that it is.
    number: Option<Decimal>,
}

impl Glob {
    /// The pattern `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), number: Decimal::parse(text.as_bytes()) }
    }

    /// Whether something between two stars has to be searched for.
    fn searches(&self) -> bool {
        self.text.split('*').skip(1).filter(|piece| !piece.is_empty()).count() > 1
    }

    /// The same for a string whose letters may have another case.
    fn matches_folded(&self, found: &Found<'_>) -> bool {
        let Found::Value(value) = found else { return false };
        value.as_str().is_some_and(|text| matches_text(&folded(&self.text), &folded(text)))
    }

    /// A string by its text, a number by its value, also for a reader that rounds to a double, a boolean or null by how it is written. An
    /// array or object may be taken for anything that is in it, so it matches.
    fn matches(&self, found: &Found<'_>) -> bool {
        match found {
            Found::Nothing | Found::Twins => false,
            Found::Number(Number { text, readings }) => {
                let is_read = |(decimal, plain): &(Decimal, String)| {
                    self.number == Some(*decimal) || matches_text(&self.text, plain)
                };
                matches_text(&self.text, text) || readings.iter().any(is_read)
            }
            Found::Value(value) => match value.form() {
                Form::Array(_) | Form::Object(_) => true,
                Form::Boolean(true) => matches_text(&self.text, "true"),
                Form::Boolean(false) => matches_text(&self.text, "false"),
                Form::Null => matches_text(&self.text, "null"),
                Form::Number(text) | Form::String(text) => matches_text(&self.text, text),
            },
        }
    }
}

/// The shortest run for each star is enough: what a longer one leaves to the next star, that one can take.
fn matches_text(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
