//! Who may say what: fields of a message against the claims of its sender.

use serde_json::Value as Claim;

use crate::json::document::{Value, View};
use crate::json::number::Decimal;
use crate::json::pointer::Pointer;
use crate::token::Verified;
use crate::token::claims::Requirement;

/// A rule that has to hold for the messages that it is about.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// It is about messages in which all of these scalars match.
    pub when: Vec<(Pointer, Glob)>,
    /// Claims by path, and what each must be.
    pub claims: Vec<(String, Requirement)>,
    /// Places in the message, and the path of the claim that the value there must equal.
    pub equals: Vec<(Pointer, String)>,
}

impl Authorization {
    /// Whether `sender` may say `message`, as far as this rule goes. A sender without a token has no claims.
    #[must_use]
    pub fn allows(&self, message: Value<'_>, sender: Option<&Verified>) -> bool {
        let is_about = self
            .when
            .iter()
            .all(|(pointer, glob)| pointer.find(message).is_some_and(|value| glob.matches_value(value)));
        !is_about || sender.is_some_and(|sender| self.is_met(message, sender))
    }

    fn is_met(&self, message: Value<'_>, sender: &Verified) -> bool {
        let claim = |(path, requirement): &(String, Requirement)| {
            sender.claim(path).is_some_and(|claim| requirement.is_met(claim))
        };
        let field = |(pointer, path): &(Pointer, String)| match (pointer.find(message), sender.claim(path)) {
            (Some(value), Some(claim)) => is_same(value, claim),
            (None, _) | (_, None) => false,
        };
        self.claims.iter().all(claim) && self.equals.iter().all(field)
    }
}

/// Whether two scalars are the same value. Lists and objects are the same as nothing.
fn is_same(value: Value<'_>, claim: &Claim) -> bool {
    match (value.view(), claim) {
        (View::Boolean(own), Claim::Bool(claim)) => own == *claim,
        (View::Number(token), Claim::Number(number)) => {
            let own = Decimal::parse(token.as_bytes());
            own.is_some() && own == Decimal::from_value(number)
        }
        (View::String(own), Claim::String(claim)) => own == claim,
        (View::Array(_) | View::Boolean(_) | View::Null | View::Number(_) | View::Object(_) | View::String(_), _) => {
            false
        }
    }
}

/// A text in which `*` stands for any run of characters, also for none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Glob(Box<str>);

impl Glob {
    /// The pattern `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// A string by what it says, a number, boolean or null by how it is written.
    fn matches_value(&self, value: Value<'_>) -> bool {
        match value.view() {
            View::Array(_) | View::Object(_) => false,
            View::Boolean(true) => self.matches("true"),
            View::Boolean(false) => self.matches("false"),
            View::Null => self.matches("null"),
            View::Number(text) | View::String(text) => self.matches(text),
        }
    }

    /// The shortest run for each star is enough: what a longer one leaves to the next star, that one can take.
    fn matches(&self, text: &str) -> bool {
        let mut pieces = self.0.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            let Some((_, behind)) = rest.split_once(piece) else { return false };
            rest = behind;
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, accepted: &[&str], refused: &[&str]) {
        let glob = Glob::new(glob);
        assert!(accepted.iter().all(|text| glob.matches(text)), "{glob:?}");
        assert!(!refused.iter().any(|text| glob.matches(text)), "{glob:?}");
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        check("", &[""], &["a"]);
        check("a", &["a"], &["", "aa", "A", "b"]);
        check("*", &["", "a", "a*é"], &[]);
        check("**", &["", "a"], &[]);
        check("admin.*", &["admin.", "admin.delete"], &["admin", "xadmin.delete", "Admin.delete"]);
        check("*.delete", &["a.delete", ".delete"], &["delete", "a.delete.b"]);
        check("a*a", &["aa", "aba"], &["a", "ab", "ba"]);
        check("a*b*c", &["abc", "aXbXc", "abbcc", "acbc"], &["ac", "ab", "acb"]);
        check("*ab*ab", &["abab", "ababab"], &["ab", "abab "]);
    }
}
