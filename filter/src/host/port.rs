//! What the core asks of the host in between.

use super::abi;
use super::heap;
use portcullis_core::port::{Cell, HostError, Port};
use portcullis_core::time::{Moment, Timestamp};

/// The host of this VM.
#[derive(Debug)]
pub(crate) struct HostPort;

impl Port for HostPort {
    fn now(&self) -> Result<Moment, HostError> {
        abi::monotonic_time().map(Moment::from_nanos)
    }

    fn date(&self) -> Result<Timestamp, HostError> {
        // One that says nothing says 1970.
        match abi::current_time()? {
            0 => Err(HostError),
            nanos => Ok(Timestamp::from_nanos(nanos)),
        }
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        getrandom::getrandom(bytes).map_err(|_| HostError)
    }

    fn memory_len(&self) -> usize {
        heap::in_use()
    }

    fn shared(&self, cell: Cell) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        abi::shared(&cell.to_string())
    }

    fn share(&self, cell: Cell, bytes: &[u8], version: Option<u32>) -> Result<bool, HostError> {
        abi::set_shared(&cell.to_string(), bytes, version)
    }

    fn verify_signature(&self, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        if cfg!(feature = "own_signatures") {
            return Err(HostError);
        }
        abi::call_foreign_function("verify_signature", arguments)
    }
}
