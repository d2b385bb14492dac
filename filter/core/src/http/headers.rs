//! The header fields of one message, as they came (RFC 9110 §5).
//!
//! Every line is kept: a repeated field is seen, not its first value only.

/// A field that may stand once stands more than once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Repeated;

/// The fields of a request or response in order, pseudo-headers (`:path`) among them.
///
/// Values are a peer's: there is no `Debug` that would print them.
#[derive(Clone, Default)]
pub struct Headers {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl core::fmt::Debug for Headers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Headers({} fields)", self.fields.len())
    }
}

impl Headers {
    /// Takes the fields; names become lower case (RFC 9110 §5.1: names are case-insensitive).
    #[must_use]
    pub fn new(mut fields: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        for (name, _) in &mut fields {
            name.make_ascii_lowercase();
        }
        Self { fields }
    }

    /// The values of the field `name`, line by line.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.fields.iter().filter(move |(n, _)| n == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// The value of a field that may stand once.
    ///
    /// # Errors
    /// [`Repeated`] when it stands more than once.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a [u8]>, Repeated> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Repeated),
        }
    }

    /// Whether there is any field `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// How many bytes the names and values have.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.iter().fold(0, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()))
    }

    /// Whether there is no field.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The names of all fields, in order, with their repetitions.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().map(|(name, _)| name.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_field_is_seen() {
        let headers = Headers::new(vec![
            (b"Cookie".to_vec(), b"a=1".to_vec()),
            (b"host".to_vec(), b"x".to_vec()),
            (b"cookie".to_vec(), b"b=2".to_vec()),
        ]);
        assert_eq!(headers.all("cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert_eq!(headers.one("cookie"), Err(Repeated));
        assert_eq!(headers.one("host"), Ok(Some(&b"x"[..])));
        assert_eq!(headers.one("origin"), Ok(None));
    }
}
