//! Header maps, all their lines, as bytes.

use super::abi::{self, Hosted, MapType};
use portcullis_core::effect::Edit;
use portcullis_core::http::headers::Headers;
use portcullis_core::port::HostError;

/// The most fields that are read: far above Envoy's own limit of 100, and a bound on what a broken host may claim.
const FIELDS_MAX: usize = 4_096;

/// All fields of a header map.
pub(crate) fn read(map: MapType) -> Hosted<Headers> {
    fields(map).map(Headers::new)
}

/// Likewise, as they come.
pub(crate) fn fields(map: MapType) -> Hosted<Vec<(Vec<u8>, Vec<u8>)>> {
    parse(&abi::header_map(map)?).ok_or(HostError)
}

/// Changes a header map.
pub(crate) fn apply(map: MapType, edits: &[Edit]) -> Hosted<()> {
    edits.iter().try_for_each(|edit| apply_one(map, edit))
}

/// Changes of a header map what can be changed.
pub(crate) fn try_apply(map: MapType, edits: &[Edit]) {
    for edit in edits {
        let _ = apply_one(map, edit);
    }
}

fn apply_one(map: MapType, Edit { name, values }: &Edit) -> Hosted<()> {
    match values.as_slice() {
        [] => abi::remove_header(map, name),
        [value] => abi::replace_header(map, name, value),
        values => {
            abi::remove_header(map, name)?;
            values.iter().try_for_each(|value| abi::add_header(map, name, value))
        }
    }
}

/// `count, (name length, value length)*, (name NUL value NUL)*`, little-endian 32-bit numbers.
fn parse(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let (count, mut lens) = number(bytes)?;
    // There is no request and no response without a pseudo-header.
    if count == 0 || count > FIELDS_MAX {
        return None;
    }
    let mut data = lens.get(count.checked_mul(8)?..)?;
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_len, rest) = number(lens)?;
        let (value_len, rest) = number(rest)?;
        lens = rest;
        let (name, rest) = text(data, name_len)?;
        let (value, rest) = text(rest, value_len)?;
        data = rest;
        fields.push((name.to_vec(), value.to_vec()));
    }
    data.is_empty().then_some(fields)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// A text of `len` bytes and the NUL behind it.
fn text(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    Some((text, rest.strip_prefix(b"\0")?))
}

/// A list of fields as the ABI takes it.
pub(crate) fn serialize(fields: &[(&str, &str)]) -> Vec<u8> {
    let len = |text: &str| u32::try_from(text.len()).unwrap_or_default().to_le_bytes();
    let mut bytes = u32::try_from(fields.len()).unwrap_or_default().to_le_bytes().to_vec();
    for (name, value) in fields {
        bytes.extend(len(name));
        bytes.extend(len(value));
    }
    for (name, value) in fields {
        for text in [name, value] {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}
