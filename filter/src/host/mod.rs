//! The host in safe terms: nothing here decides anything.

pub(crate) mod abi;
pub(crate) mod body;
pub(crate) mod headers;
pub(crate) mod heap;
pub(crate) mod port;

use abi::Hosted;
use portcullis_core::port::Port;
use portcullis_core::time::Moment;

/// What the host's clock that only goes forward says.
pub(crate) fn now() -> Hosted<Moment> {
    port::HostPort.now()
}

/// Fresh unpredictable bytes.
pub(crate) fn random<const LEN: usize>() -> Hosted<[u8; LEN]> {
    portcullis_core::port::random(&port::HostPort)
}
