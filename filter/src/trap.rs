//! Kills the VM on demand: only in builds for the test of what becomes of an Envoy then.

use crate::host::abi::BufferType;
use crate::host::body::Body;

/// What a client's bytes end with that asks for it; nothing masks it where the masking key is zero.
const WORD: &[u8] = b"portcullis: trap";

/// A client has sent `len` bytes.
pub(crate) fn receive(len: usize) {
    let bytes = Body::new(BufferType::RequestBody, len).copy(len);
    if bytes.is_ok_and(|bytes| bytes.ends_with(WORD)) {
        std::process::abort();
    }
}
