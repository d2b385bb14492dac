//! Maps by ids that no peer chooses: contexts, tokens, keys of the shared counters.

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;

/// By ids that no peer chooses.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Spreads ids, which a host counts up: each callback of a stream begins with finding it.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    #[inline]
    fn write_u32(&mut self, id: u32) {
        self.write_u64(id.into());
    }

    #[inline]
    fn write_u64(&mut self, id: u64) {
        // The golden ratio: ids that follow one another end up far apart (Knuth, The Art of Computer Programming 3, §6.4).
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
