//! The names of the proxy's clusters, and aliases for those that only a request's route tells.

use core::fmt;
use core::ops::Deref;
use std::rc::Rc;

/// The longest alias: a label of a host's name (RFC 1123 §2.1).
const ALIAS_LEN_MAX: usize = 63;

/// A cluster of the proxy. As text it is its name: empty where that is not known, which is the name of none.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Cluster {
    name: Box<str>,
    alias: Option<Rc<str>>,
}

impl Cluster {
    /// One whose name is found by this alias; `None` where it can be none: aliases are labels of a host's name, in lower case.
    #[must_use]
    pub fn by_alias(alias: &str) -> Option<Self> {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = (1..=ALIAS_LEN_MAX).contains(&alias.len())
            && alias.bytes().all(is_inner)
            && !alias.starts_with('-')
            && !alias.ends_with('-');
        is_label.then(|| Self { name: Box::default(), alias: Some(alias.into()) })
    }

    /// Its alias, where its name is found by one.
    #[must_use]
    pub fn alias(&self) -> Option<&Rc<str>> {
        self.alias.as_ref()
    }

    /// Whether it has neither.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        self.name.is_empty() && self.alias.is_none()
    }

    /// Takes the name that its alias has among `bindings`, where it has one.
    pub fn bind(&mut self, bindings: &Bindings) {
        if let Some(alias) = &self.alias {
            self.name = bindings.name(alias).into();
        }
    }
}

impl Deref for Cluster {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl From<&str> for Cluster {
    fn from(name: &str) -> Self {
        Self { name: name.into(), alias: None }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({:?}, {:?})", self.name, self.alias)
    }
}

/// The names that the route of a request has for aliases.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bindings(Vec<(Rc<str>, Box<str>)>);

impl Bindings {
    /// Reads the name of each of these aliases; what is no name counts as none.
    #[must_use]
    pub fn read(aliases: &[Rc<str>], mut read: impl FnMut(&str) -> Vec<u8>) -> Self {
        let name = |alias: &Rc<str>| {
            let name = String::from_utf8(read(alias)).unwrap_or_default();
            (Rc::clone(alias), name.into_boxed_str())
        };
        Self(aliases.iter().map(name).collect())
    }

    /// The name of an alias; empty where there is none.
    #[must_use]
    pub fn name(&self, alias: &str) -> &str {
        self.0.iter().find(|(own, _)| **own == *alias).map_or("", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_label_of_a_host() {
        for good in ["a", "idp", "idp-2", "2", &"a".repeat(63)] {
            assert!(Cluster::by_alias(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "a-", "Idp", "a.b", "a/b", "a b", "ä", "a\0", &"a".repeat(64)] {
            assert!(Cluster::by_alias(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_alias_is_bound_and_a_name_is_not() {
        let aliases: Vec<Rc<str>> = vec!["idp".into(), "app".into(), "odd".into()];
        let bindings = Bindings::read(&aliases, |alias| match alias {
            "idp" => b"policy/default/idp/0".to_vec(),
            "odd" => vec![0xff],
            _ => vec![],
        });
        let bound = |mut cluster: Cluster| {
            cluster.bind(&bindings);
            cluster
        };
        let by_alias = |alias: &str| bound(Cluster::by_alias(alias).unwrap());
        assert_eq!(&*by_alias("idp"), "policy/default/idp/0");
        assert_eq!(by_alias("idp").alias().map(|alias| &**alias), Some("idp"));
        for unknown in ["app", "odd", "other"] {
            assert_eq!(&*by_alias(unknown), "", "{unknown}");
        }
        assert_eq!(bound(Cluster::from("idp")), Cluster::from("idp"));
        assert_ne!(by_alias("idp"), Cluster::from("policy/default/idp/0"));
    }
}
