//! What a skin answers at once: clocks, randomness, memory in use, and the data that all workers share.
//!
//! Everything else comes in as an argument, or is asked by an [`Effect::Ask`](crate::effect::Effect).

use core::fmt;

use crate::time::{Moment, Timestamp};

/// The host did not do what it was asked, or gave something that makes no sense: a fault of ours or of the proxy, never of a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HostError;

/// The host of one worker.
pub trait Port: fmt::Debug {
    /// The time on a clock that never goes back, the same for all workers.
    ///
    /// # Errors
    /// [`HostError`], here and below.
    fn now(&self) -> Result<Moment, HostError>;

    /// The time on the calendar.
    fn date(&self) -> Result<Timestamp, HostError>;

    /// Fills `bytes` with fresh unpredictable ones.
    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError>;

    /// How much memory is in use, in bytes.
    fn memory_len(&self) -> usize;

    /// What all workers share under `cell`, and its version; `None` where nothing is.
    fn shared(&self, cell: Cell) -> Result<Option<(Vec<u8>, u32)>, HostError>;

    /// Shares `bytes` under `cell` where that is still of `version`, or whatever it is. Returns whether it was.
    fn share(&self, cell: Cell, bytes: &[u8], version: Option<u32>) -> Result<bool, HostError>;

    /// Envoy's foreign function `verify_signature`: of a `VerifySignatureArguments` its `VerifySignatureResult`, both encoded
    /// ([`crate::token::signatures`]). A host need not have it.
    fn verify_signature(&self, arguments: &[u8]) -> Result<Vec<u8>, HostError>;
}

/// So many fresh unpredictable bytes.
///
/// # Errors
/// [`HostError`].
pub fn random<const LEN: usize>(port: &dyn Port) -> Result<[u8; LEN], HostError> {
    let mut bytes = [0; LEN];
    port.random(&mut bytes)?;
    Ok(bytes)
}

/// A value that all workers share, changed by compare and swap.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Cell {
    /// One bucket of [`crate::limits::table`].
    Bucket(usize),
    /// The pages of [`crate::identity::logouts`].
    LogoutPage(u64),
    /// How many logouts there have been.
    Logouts,
    /// [`crate::limits::register`].
    Register,
    /// One cell of [`crate::identity::used`].
    Used(usize),
}

/// Its key in the host. The number tells the layout: a host keeps its data while modules come and go.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(index) => write!(f, "portcullis.4.bucket.{index}"),
            Self::LogoutPage(index) => write!(f, "portcullis.4.logouts.{index}"),
            Self::Logouts => f.write_str("portcullis.4.logouts"),
            Self::Register => f.write_str("portcullis.4.register"),
            Self::Used(index) => write!(f, "portcullis.4.used.{index}"),
        }
    }
}
