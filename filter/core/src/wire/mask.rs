//! Masking (RFC 6455 §5.3): the exclusive or of a payload with a key of four bytes.
//!
//! ```
//! use portcullis_core::wire::mask::Mask;
//!
//! let mut mask = Mask::new([0x37, 0xfa, 0x21, 0x3d]);
//! let mut out = [0; 5];
//! mask.apply(&[0x7f, 0x9f, 0x4d, 0x51, 0x58], &mut out);
//! assert_eq!(&out, b"Hello");
//! ```

/// How many bytes are taken at once: a vector register of WebAssembly and of every processor that matters.
const BLOCK_LEN: usize = 16;

/// The key of one frame, turned to the next byte of its payload.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    key: [u8; 4],
}

impl Mask {
    /// The key as it stands in the frame's header, for the first byte of the payload.
    #[must_use]
    pub const fn new(key: [u8; 4]) -> Self {
        Self { key }
    }

    /// Masks or unmasks the next bytes of the payload into `out`, as many as the shorter of the two has.
    pub fn apply(&mut self, payload: &[u8], out: &mut [u8]) {
        let [a, b, c, d] = self.key;
        let block_key: [u8; BLOCK_LEN] = [a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d];
        let len = payload.len().min(out.len());
        let (from, from_rest) = payload.get(..len).unwrap_or_default().as_chunks::<BLOCK_LEN>();
        let (to, to_rest) = out.get_mut(..len).unwrap_or_default().as_chunks_mut::<BLOCK_LEN>();
        for (to, from) in to.iter_mut().zip(from) {
            for ((to, from), key) in to.iter_mut().zip(from).zip(&block_key) {
                *to = from ^ key;
            }
        }
        for ((to, from), key) in to_rest.iter_mut().zip(from_rest).zip(&block_key) {
            *to = from ^ key;
        }
        // The key has four bytes.
        self.key.rotate_left(len & 0b11);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_what_the_formula_of_the_rfc_gives() {
        let key = [0x12, 0x34, 0x56, 0x78];
        let payload: Vec<u8> = (0..=255).collect();
        // "transformed-octet-i = original-octet-i XOR masking-key-octet-j", j = i MOD 4 (RFC 6455 §5.3).
        let expected: Vec<u8> = payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        for piece in 1..=payload.len() {
            let mut mask = Mask::new(key);
            let mut unmasked = Vec::new();
            for chunk in payload.chunks(piece) {
                let mut out = vec![0; chunk.len()];
                mask.apply(chunk, &mut out);
                unmasked.extend(out);
            }
            assert_eq!(unmasked, expected, "pieces of {piece}");
        }
    }
}
