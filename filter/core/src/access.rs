//! A word that many rules say: what they name passes, or it does not.

/// What happens to something that a policy may let through or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// It passes.
    Allow,
    /// It does not.
    Refuse,
}
