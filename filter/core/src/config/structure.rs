//! `google.protobuf.Struct` in its binary form.
//!
//! A policy written as a `Struct` in Envoy's own configuration reaches a module so, although Envoy's documentation speaks
//! of JSON (measured with 1.40; Istio turns it into JSON first).
//!
//! ```text
//! Struct    { map<string, Value> fields = 1 }
//! Value     { null = 1 | number (double) = 2 | string = 3 | bool = 4 | Struct = 5 | ListValue = 6 }
//! ListValue { repeated Value values = 1 }
//! ```

use serde_json::{Map, Number, Value};

use crate::protobuf::{Field, field};

/// The deepest nesting that is read, as for JSON.
const DEPTH_MAX: u8 = 32;

/// The struct in `bytes`; `None` when there is none.
pub(super) fn decode(bytes: &[u8]) -> Option<Value> {
    members(bytes, DEPTH_MAX).map(Value::Object)
}

fn members(mut bytes: &[u8], depth_left: u8) -> Option<Map<String, Value>> {
    let depth_left = depth_left.checked_sub(1)?;
    let mut members = Map::new();
    while !bytes.is_empty() {
        let (1, Field::Bytes(entry)) = field(&mut bytes)? else { return None };
        let (name, value) = member(entry, depth_left)?;
        if members.insert(name, value).is_some() {
            return None;
        }
    }
    Some(members)
}

fn member(mut entry: &[u8], depth_left: u8) -> Option<(String, Value)> {
    let (mut name, mut member) = (String::new(), Value::Null);
    while !entry.is_empty() {
        match field(&mut entry)? {
            (1, Field::Bytes(text)) => name = String::from_utf8(text.to_vec()).ok()?,
            (2, Field::Bytes(bytes)) => member = value(bytes, depth_left)?,
            _ => return None,
        }
    }
    Some((name, member))
}

fn value(mut bytes: &[u8], depth_left: u8) -> Option<Value> {
    let field = field(&mut bytes)?;
    if !bytes.is_empty() {
        return None;
    }
    match field {
        (1, Field::Varint(_)) => Some(Value::Null),
        (2, Field::Fixed64(double)) => number(f64::from_le_bytes(double)),
        (3, Field::Bytes(text)) => Some(Value::String(String::from_utf8(text.to_vec()).ok()?)),
        (4, Field::Varint(bit)) => Some(Value::Bool(bit != 0)),
        (5, Field::Bytes(nested)) => members(nested, depth_left).map(Value::Object),
        (6, Field::Bytes(list)) => items(list, depth_left).map(Value::Array),
        _ => None,
    }
}

fn items(mut bytes: &[u8], depth_left: u8) -> Option<Vec<Value>> {
    let depth_left = depth_left.checked_sub(1)?;
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (1, Field::Bytes(item)) = field(&mut bytes)? else { return None };
        items.push(value(item, depth_left)?);
    }
    Some(items)
}

/// Whole numbers become integers again, as they were written.
fn number(double: f64) -> Option<Value> {
    /// 2^53: beyond it a double skips whole numbers.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if double.fract() == 0.0 && double.abs() <= EXACT_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
        return Some(Value::from(double as i64));
    }
    Number::from_f64(double).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What protobuf's C++ writes for `{"a": 65536, "b": ["x", true, null, 1.5], "c": {"d": -1}}`.
    const STRUCT: &[u8] = b"\
        \x0a\x0e\x0a\x01a\x12\x09\x11\x00\x00\x00\x00\x00\x00\xf0\x40\
        \x0a\x1f\x0a\x01b\x12\x1a\x32\x18\x0a\x03\x1a\x01x\x0a\x02\x20\x01\x0a\x02\x08\x00\
        \x0a\x09\x11\x00\x00\x00\x00\x00\x00\xf8\x3f\
        \x0a\x17\x0a\x01c\x12\x12\x2a\x10\x0a\x0e\x0a\x01d\x12\x09\x11\x00\x00\x00\x00\x00\x00\xf0\xbf";

    #[test]
    fn a_struct_is_read_as_its_json() {
        assert_eq!(decode(STRUCT), Some(json!({"a": 65536, "b": ["x", true, null, 1.5], "c": {"d": -1}})));
    }

    #[test]
    fn what_is_cut_or_changed_is_none_or_another_struct_but_never_a_panic() {
        for cut in 0..STRUCT.len() {
            let _ = decode(&STRUCT[..cut]);
            for bit in 0..8 {
                let mut changed = STRUCT.to_vec();
                changed[cut] ^= 1 << bit;
                let _ = decode(&changed);
            }
        }
        assert_eq!(decode(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), None);
        assert_eq!(decode(b"{}"), None);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            let mut bytes = Vec::new();
            for _ in 0..depth {
                let value = [&[0x2a, u8::try_from(bytes.len()).unwrap()][..], &bytes].concat();
                let entry = [&[0x12, u8::try_from(value.len()).unwrap()][..], &value].concat();
                bytes = [&[0x0a, u8::try_from(entry.len()).unwrap()][..], &entry].concat();
            }
            bytes
        };
        assert!(decode(&nested(20)).is_some());
        assert!(members(&nested(20), 20).is_none());
        assert!(members(&nested(20), 21).is_some());
    }
}
