//! How much work a message is worth.

/// The work for one message: steps for each byte. A step is a schema applied to a value, or a comparison; a flat object of twelve
/// checked members takes one for every ten bytes.
const STEPS_PER_BYTE: u64 = 64;

/// And so many for the shortest message: schemas of some thousand alternatives fit.
const STEPS_MIN: u64 = 65_536;

/// The work for this message is more than its length is worth.
#[derive(Debug)]
pub(super) struct Exhausted;

/// What is left of it.
pub(super) struct Budget(u64);

impl Budget {
    /// For a message of `len` bytes.
    pub(super) const fn new(len: usize) -> Self {
        Self((len as u64).saturating_mul(STEPS_PER_BYTE).saturating_add(STEPS_MIN))
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(steps as u64).ok_or(Exhausted)?;
        Ok(())
    }

    /// Every byte of a text is looked at, which is quick; that it is looked at is a step of its own.
    pub(super) fn spend_on(&mut self, text: &str) -> Result<(), Exhausted> {
        self.spend((text.len() >> 3).saturating_add(1))
    }
}
