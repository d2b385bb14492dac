//! How much work a message may take.

/// The work for one message: steps for each byte. A step takes at most some ten nanoseconds, so that 64 KiB take at most ten
/// milliseconds; a flat object of twelve checked members takes one for every four bytes.
const STEPS_PER_BYTE: u64 = 16;

/// And so many for the shortest message, which take at most a quarter of a millisecond: schemas of a thousand alternatives fit.
const STEPS_MIN: u64 = 16_384;

/// The work for this message is more than its length allows.
#[derive(Debug)]
pub(super) struct Exhausted;

/// What is left of it.
pub(super) struct Steps(u64);

impl Steps {
    /// For a message of `len` bytes.
    pub(super) const fn new(len: usize) -> Self {
        Self((len as u64).saturating_mul(STEPS_PER_BYTE).saturating_add(STEPS_MIN))
    }

    /// How many are left.
    pub(super) const fn left(&self) -> u64 {
        self.0
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(steps as u64).ok_or(Exhausted)?;
        Ok(())
    }

    /// What was done of it, which was for a message of `len` bytes.
    pub(super) const fn spent(&self, len: usize) -> u64 {
        Self::new(len).0.saturating_sub(self.0)
    }

    /// Every byte of a text is looked at, which is quick; that it is looked at is a step of its own.
    pub(super) fn spend_on(&mut self, text: &str) -> Result<(), Exhausted> {
        self.spend((text.len() >> 3).saturating_add(1))
    }

    /// The same `times` over.
    pub(super) fn spend_often_on(&mut self, text: &str, times: usize) -> Result<(), Exhausted> {
        self.spend((text.len() >> 3).saturating_add(1).saturating_mul(times))
    }
}
