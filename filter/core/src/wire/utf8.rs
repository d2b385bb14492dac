//! Text, piece by piece (RFC 6455 §8.1, RFC 3629): refused at the first byte that no text can have there.

use crate::violation::Violation;

/// How many bytes are looked at at once.
const WORD_LEN: usize = size_of::<u128>();

/// The bit that no byte of ASCII has.
const HIGH_BITS: u128 = u128::from_ne_bytes([0x80; WORD_LEN]);

/// The bytes of one character at most.
const CHARACTER_LEN_MAX: usize = 4;

/// Follows one text through its pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8 {
    /// The start of a character whose rest is in the next piece.
    begun: [u8; CHARACTER_LEN_MAX],
    begun_len: usize,
}

impl Utf8 {
    /// Takes the next piece.
    ///
    /// # Errors
    /// [`Violation::InvalidUtf8`] when the text so far cannot become valid any more, whatever follows.
    pub fn receive(&mut self, piece: &[u8]) -> Result<(), Violation> {
        let mut rest = piece;
        while self.begun_len > 0 {
            let Some((next, after)) = rest.split_first() else { return Ok(()) };
            rest = after;
            self.extend_begun(*next)?;
        }
        if is_ascii(rest) {
            return Ok(());
        }
        let Err(error) = str::from_utf8(rest) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(Violation::InvalidUtf8);
        }
        // Fewer bytes than a character has: the standard library found no fault but the end.
        for byte in rest.get(error.valid_up_to()..).unwrap_or_default() {
            self.push(*byte);
        }
        Ok(())
    }

    /// Likewise, and shows `sink` the text in pieces, as far as its characters are whole.
    ///
    /// # Errors
    /// Those of [`Utf8::receive`], and what `sink` finds.
    pub fn receive_into(
        &mut self,
        piece: &[u8],
        sink: &mut dyn FnMut(&str) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let mut rest = piece;
        while self.begun_len > 0 {
            let Some((next, after)) = rest.split_first() else { return Ok(()) };
            rest = after;
            if let Some(character) = self.extend_begun(*next)? {
                sink(character.encode_utf8(&mut [0; CHARACTER_LEN_MAX]))?;
            }
        }
        match str::from_utf8(rest) {
            Ok(whole) => sink(whole)?,
            Err(error) => {
                let (whole, begun) = rest.split_at_checked(error.valid_up_to()).unwrap_or((rest, &[]));
                sink(str::from_utf8(whole).unwrap_or_default())?;
                if error.error_len().is_some() {
                    return Err(Violation::InvalidUtf8);
                }
                begun.iter().for_each(|byte| self.push(*byte));
            }
        }
        Ok(())
    }

    /// The end of the text.
    ///
    /// # Errors
    /// [`Violation::InvalidUtf8`] when it ends within a character.
    pub const fn finish(&self) -> Result<(), Violation> {
        if self.begun_len == 0 { Ok(()) } else { Err(Violation::InvalidUtf8) }
    }

    /// Gives the character, once it is whole.
    fn extend_begun(&mut self, byte: u8) -> Result<Option<char>, Violation> {
        self.push(byte);
        match str::from_utf8(self.begun.get(..self.begun_len).unwrap_or_default()) {
            Ok(character) => {
                self.begun_len = 0;
                Ok(character.chars().next())
            }
            Err(error) if error.error_len().is_none() => Ok(None),
            Err(_) => Err(Violation::InvalidUtf8),
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.begun.get_mut(self.begun_len) {
            *place = byte;
            self.begun_len = self.begun_len.saturating_add(1);
        }
    }
}

/// By words: from blocks of bytes LLVM makes a loop over their columns, which on wasm32 loads every byte by itself.
fn is_ascii(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<WORD_LEN>();
    let seen = words.iter().fold(0, |seen, word| seen | u128::from_ne_bytes(*word));
    seen & HIGH_BITS == 0 && rest.iter().fold(0, |seen, byte| seen | byte) < 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many bytes, in pieces of `piece`, the text is refused; `None`: not before its end.
    fn refused_at(text: &[u8], piece: usize) -> Option<usize> {
        let mut utf8 = Utf8::default();
        text.chunks(piece).position(|chunk| utf8.receive(chunk).is_err()).map(|index| (index + 1) * piece)
    }

    #[track_caller]
    fn valid(text: &[u8]) {
        for piece in 1..=text.len() {
            let mut utf8 = Utf8::default();
            assert!(text.chunks(piece).all(|chunk| utf8.receive(chunk).is_ok()), "pieces of {piece}");
            assert_eq!(utf8.finish(), Ok(()), "pieces of {piece}");
        }
    }

    /// Refused with the byte at `index`, and not before.
    #[track_caller]
    fn invalid_at(text: &[u8], index: usize) {
        assert_eq!(refused_at(text, 1), Some(index + 1));
        for piece in 1..=text.len() {
            assert_eq!(refused_at(text, piece), Some((index / piece + 1) * piece), "pieces of {piece}");
        }
    }

    #[test]
    fn text_passes_however_it_is_cut() {
        valid(b"");
        valid("Hello-µ@ßöäüàá-UTF-8!! κόσμε 🎈 — end".as_bytes());
        valid(&[b"x".repeat(40), "é".into(), b"y".repeat(40)].concat());
        for boundary in
            ["\u{7f}", "\u{80}", "\u{7ff}", "\u{800}", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10000}", "\u{10ffff}"]
        {
            valid(boundary.as_bytes());
        }
    }

    #[test]
    fn a_fault_is_found_with_its_byte() {
        invalid_at(b"a\x80b", 1);
        invalid_at(b"\xc0\x80", 0);
        invalid_at(b"\xe0\x80\x80", 1);
        invalid_at(b"\xed\xa0\x80", 1);
        invalid_at(b"\xf0\x80\x80\x80", 1);
        invalid_at(b"\xf4\x90\x80\x80", 1);
        invalid_at(b"\xf5\x80\x80\x80", 0);
        invalid_at(b"\xff", 0);
        invalid_at(b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64", 12);
        invalid_at(&[b"x".repeat(100).as_slice(), b"\xe2\x28\xa1", &b"x".repeat(10)].concat(), 101);
    }

    #[test]
    fn a_text_ends_with_a_character() {
        for text in [&b"\xce"[..], b"a\xe2\x82", b"\xf0\x9f\x8e"] {
            let mut utf8 = Utf8::default();
            assert_eq!(utf8.receive(text), Ok(()));
            assert_eq!(utf8.finish(), Err(Violation::InvalidUtf8));
        }
    }

    #[test]
    fn every_character_passes_and_every_surrogate_does_not() {
        let mut utf8 = Utf8::default();
        for character in '\0'..=char::MAX {
            assert_eq!(utf8.receive(character.encode_utf8(&mut [0; 4]).as_bytes()), Ok(()));
        }
        assert_eq!(utf8.finish(), Ok(()));
        for low in 0xa0..=0xbf {
            assert_eq!(Utf8::default().receive(&[0xed, low, 0x80]), Err(Violation::InvalidUtf8));
        }
    }
}
