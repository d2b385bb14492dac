//! Whether something is refused.

/// What a violation does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It is counted and logged, and passes.
    Monitor,
}

impl Mode {
    /// Enforces where one of both does.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        if matches!(self, Self::Enforce) { self } else { other }
    }

    /// Whether it is [`Self::Enforce`].
    #[must_use]
    #[inline]
    pub const fn enforces(self) -> bool {
        matches!(self, Self::Enforce)
    }
}
