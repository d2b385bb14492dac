//! What a genuine token must say (RFC 7519 §4.1, RFC 8725 §3.8 to §3.10).

use core::time::Duration;

use serde_json::{Map, Value};

use crate::json::number::Decimal;
use crate::refusal::{Detail, Refusal};
use crate::time::Timestamp;
use crate::violation::Violation;

/// The last second of the year 9999. A larger NumericDate is no date: mostly it is milliseconds, and such a token would
/// never end.
const NUMERIC_DATE_MAX: f64 = 253_402_300_799.0;

/// What the claims of one provider must say.
#[derive(Clone, Debug, Default)]
pub struct ClaimRules {
    /// The `iss` that it writes; `None` accepts any.
    pub issuer: Option<String>,
    /// One of these must be in `aud`; none accepts any.
    pub audiences: Vec<String>,
    /// How far clocks may differ.
    pub clock_skew: Duration,
    /// How long ago a token may have been issued (`iat`).
    pub max_age: Option<Duration>,
    /// Claims by path, and what each must be.
    pub require: Vec<(String, Requirement)>,
    /// Whether its issuer is asked for the claims: then it need not say in them who it is, nor when what it says ends.
    pub is_asked: bool,
}

/// What a required claim must be. Numbers are compared by value: 9 is 9.0.
#[derive(Clone, Debug, PartialEq)]
pub enum Requirement {
    /// A list with one of these elements, or a space-separated string with one of them (RFC 8693 §4.2: `scope`).
    Contains(Vec<Value>),
    /// One of these values, or a list that has one of them.
    OneOf(Vec<Value>),
}

impl Requirement {
    /// Whether `claim` is what is required.
    #[must_use]
    pub fn is_met(&self, claim: &Value) -> bool {
        let is_any = |values: &[Value], own: &Value| values.iter().any(|value| is_same(value, own));
        match (self, claim) {
            (Self::Contains(values), Value::Array(list)) => list.iter().any(|item| is_any(values, item)),
            (Self::Contains(values), Value::String(words)) => {
                values.iter().filter_map(Value::as_str).any(|value| words.split(' ').any(|word| word == value))
            }
            (Self::Contains(_), _) => false,
            (Self::OneOf(values), Value::Array(list)) => {
                is_any(values, claim) || list.iter().any(|item| is_any(values, item))
            }
            (Self::OneOf(values), claim) => is_any(values, claim),
        }
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let one = Decimal::from_value(one);
            one.is_some() && one == Decimal::from_value(other)
        }
        (one, other) => one == other,
    }
}

impl ClaimRules {
    /// Whether a token with this `iss` could be this provider's.
    #[must_use]
    pub fn accepts_issuer(&self, claim: Option<&Value>) -> bool {
        match (&self.issuer, claim) {
            (None, _) => true,
            (Some(_), None) => self.is_asked,
            (Some(issuer), Some(claim)) => claim.as_str() == Some(issuer),
        }
    }

    /// Checks the claims of a genuine credential and gives back when it ends; what ends by no claim ends never.
    ///
    /// # Errors
    /// [`Violation::CredentialInvalid`] for mistyped `exp`, a missing one where a token has to have it, mistyped or future `iat`, mistyped `nbf` or
    /// `sub`, a wrong audience, and a token that is there to end sessions; [`Violation::CredentialExpired`] outside `nbf` to `exp` or beyond the age allowed;
    /// [`Violation::ClaimRefused`] for a requirement that is not met.
    pub fn check(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Refusal> {
        let malformed = || Refusal::invalid(Detail::Format);
        if is_logout(claims) {
            return Err(malformed());
        }
        let expires_at = match numeric_date(claims, "exp")? {
            Some(end) => end,
            None if self.is_asked => Timestamp::from_secs(u64::MAX),
            None => return Err(malformed()),
        };
        let not_before = numeric_date(claims, "nbf")?;
        let issued_at = numeric_date(claims, "iat")?;
        if !matches!(find(claims, "sub"), None | Some(Value::String(_))) {
            return Err(malformed());
        }
        if !self.is_for_us(find(claims, "aud")) {
            return Err(Refusal::invalid(Detail::Audience));
        }

        let later = now.saturating_add(self.clock_skew);
        if issued_at.is_some_and(|issued_at| issued_at > later) {
            return Err(Refusal::invalid(Detail::NotBefore));
        }
        // "The current date/time MUST be before the expiration date/time" (RFC 7519 §4.1.4).
        if now >= expires_at.saturating_add(self.clock_skew) {
            return Err(Refusal::untimely(Detail::Expired));
        }
        if not_before.is_some_and(|from| from > later) {
            return Err(Refusal::untimely(Detail::NotBefore));
        }
        if let Some(max_age) = self.max_age {
            let issued_at = issued_at.ok_or_else(malformed)?;
            if now >= issued_at.saturating_add(max_age).saturating_add(self.clock_skew) {
                return Err(Refusal::untimely(Detail::Expired));
            }
        }
        match self.unmet(claims) {
            None => Ok(expires_at),
            Some(claim) => Err(Refusal::at(Violation::ClaimRefused, format!("require.{claim}"))),
        }
    }

    /// Whether the claims of a genuine token meet the rules, whatever the time is.
    #[must_use]
    pub fn accept(&self, claims: &Map<String, Value>) -> bool {
        self.accepts_issuer(claims.get("iss")) && self.is_for_us(claims.get("aud")) && self.unmet(claims).is_none()
    }

    /// The first claim that is not what it has to be.
    fn unmet(&self, claims: &Map<String, Value>) -> Option<&str> {
        let is_met = |(path, requirement): &&(String, Requirement)| {
            find(claims, path).is_some_and(|claim| requirement.is_met(claim))
        };
        self.require.iter().find(|own| !is_met(own)).map(|(path, _)| path.as_str())
    }

    /// `aud` is a string or a list of strings (RFC 7519 §4.1.3).
    pub(crate) fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let known = |value: &Value| value.as_str().is_some_and(|name| self.audiences.iter().any(|own| own == name));
        match audience {
            None => self.audiences.is_empty(),
            Some(Value::Array(list)) => {
                list.iter().all(Value::is_string) && (self.audiences.is_empty() || list.iter().any(known))
            }
            Some(value) => value.is_string() && (self.audiences.is_empty() || known(value)),
        }
    }
}

/// An integer as `sub`, which RFC 7519 §4.1.2 does not know and many issuers write, becomes its decimal text. Whether it was one.
pub(crate) fn read_subject(claims: &mut Map<String, Value>) -> bool {
    /// 2^53: beyond it a double is one of several integers.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if let Some(claim @ Value::Number(_)) = claims.get_mut("sub") {
        let is_whole = |number: f64| number.fract() == 0.0 && number.abs() < EXACT_MAX;
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
        let text = match &*claim {
            Value::Number(number) if number.is_f64() => {
                number.as_f64().filter(|number| is_whole(*number)).map(|number| (number as i64).to_string())
            }
            number => Some(number.to_string()),
        };
        if let Some(text) = text {
            *claim = Value::String(text);
            return true;
        }
    }
    false
}

/// The claim that `path` names: a name of its own (`https://example.com/roles`), names joined by dots that reach into
/// objects (`realm_access.roles`), or a JSON Pointer (`/resource_access/my.app/roles`). A claim that is null is absent.
#[must_use]
pub fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let claim = claims.get(path).or_else(|| match path.strip_prefix('/') {
        Some(pointer) => {
            let (name, rest) = pointer.split_at_checked(pointer.find('/').unwrap_or(pointer.len()))?;
            claims.get(&name.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
        }
        None => {
            let (name, rest) = path.split_once('.')?;
            find(claims.get(name)?.as_object()?, rest)
        }
    });
    claim.filter(|claim| !claim.is_null())
}

/// A NumericDate (RFC 7519 §2): seconds since the epoch, a fraction cut off.
pub(crate) fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let Some(claim) = find(claims, name) else { return Ok(None) };
    let seconds = seconds(claim).ok_or_else(|| Refusal::invalid(Detail::Format))?;
    Ok(Some(Timestamp::from_secs(seconds)))
}

/// The whole seconds of a NumericDate.
#[must_use]
pub fn seconds(claim: &Value) -> Option<u64> {
    let seconds = claim.as_f64().filter(|seconds| (0.0..=NUMERIC_DATE_MAX).contains(seconds))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked above")]
    let seconds = seconds as u64;
    Some(seconds)
}

/// Whether a token is there to end sessions (OpenID Connect Back-Channel Logout 1.0 §2.4).
#[must_use]
pub fn is_logout(claims: &Map<String, Value>) -> bool {
    let event =
        claims.get("events").and_then(|events| events.get("http://schemas.openid.net/event/backchannel-logout"));
    event.is_some_and(Value::is_object)
}
