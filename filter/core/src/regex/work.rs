//! The bound of the work that a policy's expressions may take before anything is matched.

use super::error::TooLarge;

/// The work for all automata of a policy: about a quarter of a second.
const STEP_COUNT_MAX: u64 = 40_000_000;

/// The work that is left.
#[derive(Debug)]
pub(super) struct Work {
    steps_left: u64,
}

impl Default for Work {
    fn default() -> Self {
        Self { steps_left: STEP_COUNT_MAX }
    }
}

impl Work {
    /// Takes so many steps.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), TooLarge> {
        self.steps_left = self.steps_left.checked_sub(steps as u64).ok_or(TooLarge::Together)?;
        Ok(())
    }
}
