//! Where a service of the policy is, behind a cluster of the proxy: an authority and a path.

use crate::http::authority::Authority;

/// The longest address that is followed, in bytes: what browsers and servers agree on.
const URL_LEN_MAX: usize = 2_048;

/// The `:authority` and `:path` of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    /// The host, and its port where one is written.
    pub authority: Box<str>,
    /// The path and the query.
    pub path: Box<str>,
}

impl Location {
    /// The location of an `https` or `http` URL, without user information and without a fragment. Whether the connection is encrypted is the
    /// cluster's to say.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
        if url.len() > URL_LEN_MAX || !rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return None;
        }
        let (authority, tail) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
        Authority::parse(authority.as_bytes()).ok()?;
        let mut path = String::from(if tail.starts_with('/') { "" } else { "/" });
        path.push_str(tail);
        Some(Self { authority: authority.into(), path: path.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_authority_and_a_path() {
        for (url, expected) in [
            ("https://idp.example.com/jwks.json", Some(("idp.example.com", "/jwks.json"))),
            ("http://idp:8080/a/b?c=d/e", Some(("idp:8080", "/a/b?c=d/e"))),
            ("https://[::1]:8443", Some(("[::1]:8443", "/"))),
            ("https://idp?set=1", Some(("idp", "/?set=1"))),
            ("https://user@idp/", None),
            ("https://idp/#keys", None),
            ("https://idp/a b", None),
            ("https://idp/\r\nx: y", None),
            ("https:///jwks", None),
            ("ftp://idp/", None),
            ("/jwks", None),
            ("", None),
        ] {
            let location = Location::parse(url);
            assert_eq!(location.as_ref().map(|own| (&*own.authority, &*own.path)), expected, "{url}");
        }
        assert_eq!(Location::parse(&format!("https://idp/{}", "a".repeat(URL_LEN_MAX))), None);
    }
}
