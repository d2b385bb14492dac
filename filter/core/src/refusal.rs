//! Why something is refused: for the peer a reason of the closed list, for the operator what to look at next.

use std::rc::Rc;

use serde_json::Value;

use crate::mode::Mode;
use crate::violation::Violation;

/// What is refused, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What the peer did wrong, which is all that it is told.
    pub violation: Violation,
    /// What is behind that, where more can be said.
    pub cause: Option<Box<Cause>>,
}

/// What is behind a refusal: for logs and counters, never for the peer. None of it is a value of a message or of a credential.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cause {
    /// The path in the policy of what refuses.
    pub at: String,
    /// The mode of what refuses, where that is another than its part's.
    pub mode: Option<Mode>,
    /// The rule that was matched: a deny pattern, a rule of a rule set, or the protocol of a tunnel.
    pub rule: Option<Rc<str>>,
    /// The type of the message.
    pub kind: Option<String>,
    /// The keyword of JSON Schema that is not satisfied.
    pub keyword: Option<&'static str>,
    /// Where in the message, as a JSON Pointer (RFC 6901).
    pub instance: Option<String>,
    /// What is wrong with a credential.
    pub detail: Option<Detail>,
    /// The provider that issued it and its subject, where it is genuine.
    pub holder: Option<(String, String)>,
    /// The key that a token names (RFC 7515 §4.1.4).
    pub key_id: Option<String>,
}

/// What is wrong with a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// Its provider does not use this algorithm.
    Algorithm,
    /// It is for others.
    Audience,
    /// It is over, or too old.
    Expired,
    /// It is none, or a member of it has the wrong type.
    Format,
    /// No provider has this issuer.
    Issuer,
    /// Its provider has no such key.
    Key,
    /// It is not valid yet.
    NotBefore,
    /// No key of its provider has made its signature.
    Signature,
}

impl Refusal {
    /// The same, because of what stands at this path of the policy.
    #[must_use]
    pub fn at(violation: Violation, at: impl Into<String>) -> Self {
        Self::because(violation, Cause { at: at.into(), ..Cause::default() })
    }

    /// A violation with its cause.
    #[must_use]
    pub fn because(violation: Violation, cause: Cause) -> Self {
        Self { violation, cause: Some(Box::new(cause)) }
    }

    /// A credential that is not good.
    #[must_use]
    pub fn invalid(detail: Detail) -> Self {
        Self::because(Violation::CredentialInvalid, Cause { detail: Some(detail), ..Cause::default() })
    }

    /// One whose key its provider does not have.
    #[must_use]
    pub fn unknown_key(key_id: Option<String>) -> Self {
        Self::invalid(Detail::Key).with(|cause| cause.key_id = key_id)
    }

    /// One that is genuine, and not good now.
    #[must_use]
    pub fn untimely(detail: Detail) -> Self {
        Self::because(Violation::CredentialExpired, Cause { detail: Some(detail), ..Cause::default() })
    }

    /// The same with more of its cause.
    #[must_use]
    pub fn with(mut self, add: impl FnOnce(&mut Cause)) -> Self {
        add(self.cause.get_or_insert_default());
        self
    }

    /// The same, which does what `mode` says.
    #[must_use]
    pub fn under(self, mode: Mode) -> Self {
        self.with(|cause| cause.mode = Some(mode))
    }

    /// The rule that was matched.
    #[must_use]
    pub fn rule(&self) -> Option<&Rc<str>> {
        self.cause.as_ref()?.rule.as_ref()
    }
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        Self { violation, cause: None }
    }
}

impl Detail {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Algorithm => "algorithm",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::Format => "format",
            Self::Issuer => "issuer",
            Self::Key => "key",
            Self::NotBefore => "not_before",
            Self::Signature => "signature",
        }
    }
}

/// The path of a member `key` of what stands at `path`.
#[must_use]
pub fn member_path(path: &str, key: &str) -> String {
    let step = step(key);
    let dot = if step.starts_with('[') { "" } else { "." };
    [path, dot, &step].concat()
}

/// A key as it stands in a path: by itself where it is a plain identifier, else as `["…"]` with JSON's escapes, so that a path
/// leads to one place only, and stays on one line of a log.
#[must_use]
pub fn step(key: &str) -> String {
    let is_plain = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain { key.to_owned() } else { format!("[{}]", Value::from(key)) }
}
