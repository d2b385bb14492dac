//! Why an expression is not built.

use core::fmt;

/// An expression that is not one, or not linear, or too large: the operator's fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegexError {
    pub(super) problem: &'static str,
    /// In bytes of the pattern, behind the fault.
    pub(super) offset: Option<usize>,
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem)?;
        self.offset.map_or(Ok(()), |offset| write!(f, ", at byte {offset}"))
    }
}

/// Why an automaton is not built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TooLarge {
    /// Its expression has too many states.
    States,
    /// It has too many targets.
    Targets,
    /// Nothing is left of what all expressions of a policy may take.
    Together,
}

impl From<TooLarge> for RegexError {
    fn from(too_large: TooLarge) -> Self {
        let problem = match too_large {
            TooLarge::States => "too long: with its repetitions written out it has more than 16384 characters",
            TooLarge::Targets => {
                "too large an automaton: something is counted that may begin anew within itself, as in a.{50}b; count with {n,} or \
                 {0,n}, leave out of what is counted how it begins, as in a[^a]{50}b, or begin the expression with ^"
            }
            TooLarge::Together => "too much together with the expressions before it: they are to be fewer or simpler",
        };
        Self { problem, offset: None }
    }
}
