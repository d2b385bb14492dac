//! Which rules of a set are looked for. A scanner asks at each place of a text, so that what is left out there hides nothing elsewhere.

/// Rules that are not looked for.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(pub Vec<&'static str>);

/// All rules but those that are left out: passed from scanner to scanner, so it is one word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a>(pub(super) &'a LeftOut);

impl Kept<'_> {
    /// What was found at a place, unless it is left out.
    #[inline(never)]
    pub(super) fn of(self, found: Option<&'static str>) -> Option<&'static str> {
        found.filter(|rule| !self.0.0.contains(rule))
    }
}
