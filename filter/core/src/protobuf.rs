//! Fields of protobuf messages, taken off and put down one by one
//! ([encoding](https://protobuf.dev/programming-guides/encoding/)).
//!
//! It knows no message: which number means what, and whether a field that nobody knows is passed over, is for its callers to
//! say. Groups (wire types 3 and 4), which proto3 does not have, are refused. Nothing is copied.
//!
//! ```text
//! 12 07 74657374696e67    tag: number 2, wire type 2   length 7   "testing"
//! ```

/// What one field holds, by its wire type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Field<'a> {
    /// Type 2: a text, bytes or a message.
    Bytes(&'a [u8]),
    /// Type 5.
    Fixed32([u8; 4]),
    /// Type 1.
    Fixed64([u8; 8]),
    /// Type 0.
    Varint(u64),
}

/// Takes the next field off `bytes`: its number and content. `None` where there is no whole field.
pub(crate) fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Field<'a>)> {
    // A field's number has 29 bits, and its tag 32.
    let tag = u32::try_from(varint(bytes)?).ok()?;
    // No field has the number 0: a parser has to refuse it.
    let number = Some(tag >> 3).filter(|number| *number > 0)?;
    let content = match tag & 0b111 {
        0 => Field::Varint(varint(bytes)?),
        1 => Field::Fixed64(chunk(bytes)?),
        2 => {
            let len = usize::try_from(varint(bytes)?).ok()?;
            let (content, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            Field::Bytes(content)
        }
        5 => Field::Fixed32(chunk(bytes)?),
        _ => return None,
    };
    Some((number, content))
}

/// Appends a field of wire type 0.
pub(crate) fn push_varint(message: &mut Vec<u8>, number: u32, value: u64) {
    push(message, u64::from(number) << 3);
    push(message, value);
}

/// Appends a field of wire type 2.
pub(crate) fn push_bytes(message: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    push(message, (u64::from(number) << 3) | 2);
    // A usize has at most 64 bits.
    push(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn chunk<const SIZE: usize>(bytes: &mut &[u8]) -> Option<[u8; SIZE]> {
    let (chunk, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*chunk)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn push(message: &mut Vec<u8>, mut value: u64) {
    loop {
        // Seven bits, which a u8 holds.
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return message.push(low);
        }
        message.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mut bytes: &[u8], expected: Option<(u32, Field<'_>)>) {
        let shown = format!("{bytes:02x?}");
        assert_eq!(field(&mut bytes), expected, "{shown}");
        assert!(expected.is_none() || bytes.is_empty(), "{shown}");
    }

    #[test]
    fn each_wire_type_is_read() {
        check(b"\x08\x96\x01", Some((1, Field::Varint(150))));
        check(b"\x12\x07testing", Some((2, Field::Bytes(b"testing"))));
        check(b"\x19\x01\x02\x03\x04\x05\x06\x07\x08", Some((3, Field::Fixed64([1, 2, 3, 4, 5, 6, 7, 8]))));
        check(b"\x25\x01\x02\x03\x04", Some((4, Field::Fixed32([1, 2, 3, 4]))));
        // The greatest number there is.
        check(b"\xf8\xff\xff\xff\x0f\x00", Some((0x1fff_ffff, Field::Varint(0))));
        check(b"\xf8\xff\xff\xff\x1f\x00", None);
        check(b"\x00\x00", None);
        check(b"\x02\x00", None);
        // Groups.
        check(b"\x0b\x0c", None);
        check(b"\x0c", None);
    }

    #[test]
    fn half_a_field_is_none() {
        for whole in
            [&b"\x08\x96\x01"[..], b"\x12\x03abc", b"\x19\x01\x02\x03\x04\x05\x06\x07\x08", b"\x25\x01\x02\x03\x04"]
        {
            (0..whole.len()).for_each(|cut| check(&whole[..cut], None));
        }
        // A length beyond all memory.
        check(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", None);
    }

    #[test]
    fn a_varint_has_at_most_ten_bytes() {
        check(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some((1, Field::Varint(u64::MAX))));
        check(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", None);
    }

    #[test]
    fn what_is_put_down_is_taken_off_again() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::from(u32::MAX), u64::MAX] {
            let mut message = Vec::new();
            push_varint(&mut message, 15, value);
            check(&message, Some((15, Field::Varint(value))));
        }
        for len in [0, 1, 127, 128, 70_000] {
            let content = vec![b'x'; len];
            let mut message = Vec::new();
            push_bytes(&mut message, 16, &content);
            check(&message, Some((16, Field::Bytes(&content))));
        }
    }
}
