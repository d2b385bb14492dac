//! Header maps, and the bytes that carry one over the ABI.

use std::fmt;

/// A header map: names and values in order, repeats kept.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Headers(pub Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    /// The first value of `name`, as text; an empty text for other bytes.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.first(name.as_bytes()).map(|value| str::from_utf8(value).unwrap_or_default())
    }

    /// The map with one more line.
    pub fn with(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.add(name.as_ref(), value.as_ref());
        self
    }

    /// The map without `name`.
    pub fn without(mut self, name: &str) -> Self {
        self.remove(name.as_bytes());
        self
    }

    /// The map with `value` as the only value of `name`, in the place of the first.
    pub fn replaced(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.replace(name.as_bytes(), value.as_ref());
        self
    }

    pub(crate) fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }

    pub(crate) fn replace(&mut self, name: &[u8], value: &[u8]) {
        let place = self.0.iter().position(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap_or(self.0.len());
        self.remove(name);
        self.0.insert(place, (name.to_ascii_lowercase(), value.to_vec()));
    }

    /// The ABI's form: a count, the lengths of each pair, then names and values, each closed by a zero byte. All numbers are 32 bits,
    /// little endian. No pair at all is no byte at all.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut bytes = len(&self.0).to_vec();
        for (name, value) in &self.0 {
            bytes.extend([len(name), len(value)].concat());
        }
        for (name, value) in &self.0 {
            bytes.extend([name, &b"\0"[..], value, b"\0"].concat());
        }
        bytes
    }

    /// Reads the ABI's form; `None` where counts and lengths do not fit the bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let Some((count, rest)) = bytes.split_first_chunk() else { return Some(Self::default()) };
        let (mut lens, mut strings) = rest.split_at_checked(8 * u32::from_le_bytes(*count) as usize)?;
        let mut headers = Self::default();
        let mut next = || {
            let (len, lens_left) = lens.split_first_chunk()?;
            let (string, strings_left) = strings.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            (lens, strings) = (lens_left, strings_left.strip_prefix(b"\0")?);
            Some(string)
        };
        while let Some(name) = next() {
            headers.add(name, next()?);
        }
        (lens.is_empty() && strings.is_empty()).then_some(headers)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.iter().map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
        f.debug_list().entries(lines).finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::default(), |headers, (name, value)| headers.with(name, value))
    }
}

fn len<T>(items: &[T]) -> [u8; 4] {
    u32::try_from(items.len()).expect("a header map of less than 4 GiB").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes() {
        for headers in [
            Headers::default(),
            Headers::from_iter([("a", "")]),
            Headers::from_iter([(&b"\xff"[..], &b"\0\0"[..]), (b"", b"v"), (b"\xff", b"w")]),
        ] {
            assert_eq!(Headers::decode(&headers.encode()), Some(headers));
        }
    }

    #[test]
    fn a_count_or_length_that_lies_is_refused() {
        let good = Headers::from_iter([("name", "value")]).encode();
        for index in [0, 4, 8] {
            let mut bytes = good.clone();
            bytes[index] += 1;
            assert_eq!(Headers::decode(&bytes), None, "byte {index}");
        }
    }
}
