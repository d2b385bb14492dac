//! The host in safe terms: nothing here decides anything.

pub(crate) mod abi;
pub(crate) mod body;
pub(crate) mod headers;
pub(crate) mod heap;

use abi::Hosted;
use portcullis_core::time::{Moment, Timestamp};

/// What the host's clock that only goes forward says.
pub(crate) fn now() -> Hosted<Moment> {
    abi::monotonic_time().map(Moment::from_nanos)
}

/// What the host's calendar says; one that says nothing says 1970.
pub(crate) fn date() -> Hosted<Timestamp> {
    match abi::current_time()? {
        0 => Err(abi::HostError::NONSENSE),
        nanos => Ok(Timestamp::from_nanos(nanos)),
    }
}

/// Fresh unpredictable bytes.
pub(crate) fn random<const LEN: usize>() -> Hosted<[u8; LEN]> {
    let mut bytes = [0; LEN];
    getrandom::getrandom(&mut bytes).map_err(|_| abi::HostError::NONSENSE)?;
    Ok(bytes)
}
