//! What is written in DER (X.690 §8, §10): public keys as `SubjectPublicKeyInfo` (RFC 5280 §4.1) and signatures of ECDSA (RFC 3279 §2.2.3).
//!
//! ```text
//! 30 06   02 01 01   02 01 02    a sequence of two integers, each of these behind its tag and length
//! ```

/// The tags that are written here.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// `rsaEncryption` with its parameters, which are null (RFC 3279 §2.3.1).
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// `id-ecPublicKey` on `secp256r1` (RFC 5480 §2.1.1).
pub(super) const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";

/// `id-ecPublicKey` on `secp384r1`.
pub(super) const P384: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";

/// The `SubjectPublicKeyInfo` of an RSA key; both numbers big-endian.
pub(super) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    public_key(RSA, &tagged(SEQUENCE, &[&integer(modulus), &integer(exponent)]))
}

/// The `SubjectPublicKeyInfo` of a point on the curve that `algorithm` names.
pub(super) fn ec_key(algorithm: &[u8], point: &[u8]) -> Vec<u8> {
    public_key(algorithm, point)
}

/// An `ECDSA-Sig-Value`.
pub(super) fn ecdsa_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    tagged(SEQUENCE, &[&integer(r), &integer(s)])
}

fn public_key(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    // Of the last byte of the string no bit is unused.
    tagged(SEQUENCE, &[&tagged(SEQUENCE, &[algorithm]), &tagged(BIT_STRING, &[&[0], key])])
}

/// A number that is not negative, in as few bytes as it takes.
fn integer(number: &[u8]) -> Vec<u8> {
    match significant(number) {
        [] => tagged(INTEGER, &[&[0]]),
        number @ [0x80..=0xff, ..] => tagged(INTEGER, &[&[0], number]),
        number => tagged(INTEGER, &[number]),
    }
}

/// A number without the zeros in front of it.
pub(super) fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len().to_be_bytes();
    let len = significant(&len);
    let mut bytes = vec![tag];
    match len {
        [] => bytes.push(0),
        [short @ ..0x80] => bytes.push(*short),
        // A usize has at most eight bytes.
        long => {
            bytes.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            bytes.extend_from_slice(long);
        }
    }
    bytes.extend(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_as_short_as_can_be_and_never_negative() {
        for (number, expected) in [
            (&b""[..], &b"\x02\x01\x00"[..]),
            (b"\x00\x00", b"\x02\x01\x00"),
            (b"\x01", b"\x02\x01\x01"),
            (b"\x00\x7f", b"\x02\x01\x7f"),
            (b"\x80", b"\x02\x02\x00\x80"),
            (b"\x00\x80\x00", b"\x02\x03\x00\x80\x00"),
        ] {
            assert_eq!(integer(number), expected, "{number:02x?}");
        }
    }

    #[test]
    fn lengths_are_as_short_as_can_be() {
        for (len, expected) in [
            (0, &b"\x30\x00"[..]),
            (0x7f, b"\x30\x7f"),
            (0x80, b"\x30\x81\x80"),
            (0xff, b"\x30\x81\xff"),
            (0x100, b"\x30\x82\x01\x00"),
        ] {
            let bytes = tagged(SEQUENCE, &[&vec![0xaa; len]]);
            assert_eq!(bytes.split_at(expected.len()), (expected, &*vec![0xaa; len]));
        }
    }
}
