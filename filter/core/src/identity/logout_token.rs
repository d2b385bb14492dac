//! Logout tokens: what an OpenID provider posts when a session has ended (OpenID Connect Back-Channel Logout 1.0 §2.4 to §2.6).
//!
//! ```text
//! body ── token_of_form ──▶ token ── verify ──▶ Logout
//! ```
//!
//! A logout token is no credential, and a credential no logout token: the one has the event and no `nonce`, and what has the event is refused
//! as a credential ([`claims::is_logout`]).

use core::fmt;
use core::time::Duration;

use serde_json::{Map, Value};

use super::logouts::Logout;
use super::marks::{ABSENT, Name, digest, issuer_number};
use crate::http::query;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::token::claims::{self, ClaimRules};
use crate::token::jws::Jws;
use crate::token::{Fault, Provider, signed_claims};

/// How long ago a logout token may have been issued: "no more than two minutes" is what §2.4 recommends for its life; providers that send it
/// again do so within minutes.
const AGE_MAX: Duration = Duration::from_secs(300);

/// Why a logout is not done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// `aud` names no audience of the provider.
    Audience,
    /// There is no logout event in `events`.
    Event,
    /// The body is no form with one `logout_token`.
    Form,
    /// The issuer is another one, or does not say who it is.
    Issuer,
    /// It is no signed token, or one of another kind.
    Malformed,
    /// There is neither a `sub` nor a `sid`.
    Nobody,
    /// There is a `nonce`: it is an ID token.
    Nonce,
    /// It was used before.
    Replayed,
    /// No key of the provider has signed it.
    Signature,
    /// It is out of date, from the future, or does not say when it was issued and ends.
    Time,
    /// There is no `jti`.
    Unnamed,
    /// Nothing is wrong with it: the keys of the provider could not be had, or the host has failed.
    Unavailable,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audience => "the audience is another one",
            Self::Event => "there is no logout event",
            Self::Form => "the body is no form with one logout_token",
            Self::Issuer => "the issuer is another one",
            Self::Malformed => "it is no logout token",
            Self::Nobody => "there is neither sub nor sid",
            Self::Nonce => "there is a nonce",
            Self::Replayed => "it was used before",
            Self::Signature => "the signature does not hold",
            Self::Time => "it is out of its time",
            Self::Unnamed => "there is no jti",
            Self::Unavailable => "the logout failed",
        })
    }
}

/// The logout token of a body of type `application/x-www-form-urlencoded`.
///
/// # Errors
/// [`Flaw::Form`] where there is none, or more than one.
pub fn token_of_form(body: &[u8]) -> Result<Vec<u8>, Flaw> {
    let text = |part: &[u8]| {
        let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        query::decode(&spaced)
    };
    let mut tokens = body.split(|byte| *byte == b'&').filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(at)?;
        (text(name) == b"logout_token").then(|| text(value.strip_prefix(b"=").unwrap_or_default()))
    });
    match (tokens.next(), tokens.next()) {
        (Some(token), None) => Ok(token),
        (_, _) => Err(Flaw::Form),
    }
}

/// Checks a logout token of `provider`. The outer error says that the provider may have a new key, which has to be fetched first.
///
/// # Errors
/// The [`Flaw`] that was found.
pub fn verify(token: &[u8], provider: &Provider, now: Timestamp) -> Result<Result<Logout, Flaw>, Fault> {
    let Ok(jws) = Jws::parse_logout(token) else { return Ok(Err(Flaw::Malformed)) };
    let claims = match signed_claims(jws, core::slice::from_ref(provider)) {
        Ok(claims) => claims,
        Err(fault @ Fault::UnknownKey(..)) => return Err(fault),
        Err(Fault::Refused(_)) => return Ok(Err(Flaw::Signature)),
    };
    Ok(check(claims, &provider.rules, now))
}

/// Checks the claims of a genuine token (§2.6).
fn check(mut claims: Map<String, Value>, rules: &ClaimRules, now: Timestamp) -> Result<Logout, Flaw> {
    claims::read_subject(&mut claims);
    let text = |name: &str, flaw: Flaw| match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.as_str())),
        Some(_) => Err(flaw),
    };
    let issuer = text("iss", Flaw::Issuer)?.filter(|issuer| rules.issuer.as_deref() == Some(issuer));
    let issuer = issuer.ok_or(Flaw::Issuer)?;
    if rules.audiences.is_empty() || !rules.is_for_us(claims.get("aud")) {
        return Err(Flaw::Audience);
    }
    let date = |name: &str| claims::numeric_date(&claims, name).map_err(|_: Refusal| Flaw::Time);
    let issued_at = date("iat")?.ok_or(Flaw::Time)?;
    let expires_at = date("exp")?.ok_or(Flaw::Time)?;
    let later = now.saturating_add(rules.clock_skew);
    let is_early = issued_at > later || date("nbf")?.is_some_and(|from| from > later);
    let ends = [expires_at, issued_at.saturating_add(AGE_MAX)];
    if is_early || ends.into_iter().any(|end| now >= end.saturating_add(rules.clock_skew)) {
        return Err(Flaw::Time);
    }
    // "Verify that the Logout Token contains a Claim whose name is events and whose value is JSON object containing the member name
    // http://schemas.openid.net/event/backchannel-logout", itself an object (§2.4).
    if !claims::is_logout(&claims) {
        return Err(Flaw::Event);
    }
    // "Verify that the Logout Token does not contain a nonce Claim."
    if claims.contains_key("nonce") {
        return Err(Flaw::Nonce);
    }
    let token = text("jti", Flaw::Unnamed)?.ok_or(Flaw::Unnamed)?;
    let (subject, session) = (text("sub", Flaw::Nobody)?, text("sid", Flaw::Nobody)?);
    if subject.is_none() && session.is_none() {
        return Err(Flaw::Nobody);
    }
    Ok(Logout {
        issuer: issuer_number(issuer),
        subject: subject.map_or(ABSENT, |subject| digest(Name::Subject, subject)),
        session: session.map_or(ABSENT, |session| digest(Name::Session, session)),
        token: digest(Name::Token, token),
        at: issued_at.as_secs(),
    })
}

#[cfg(test)]
mod tests;
