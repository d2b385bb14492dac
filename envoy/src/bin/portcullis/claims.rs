//! `--claims`: what a policy says of somebody with these claims, without a token of their provider.

use serde_json::{Map, Value, json};

use crate::keys::{self, Signer};

/// How long a token is good that `--claims` makes, in seconds.
const LIFETIME: i64 = 300;

/// A policy that takes a new secret for the keys of one provider, and a header line with a token that is signed with it.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) policy: Value,
    /// As curl takes it, or a parameter of the query.
    pub(crate) place: Place,
}

/// Where a credential goes.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Header(String),
    Query(String),
}

/// The token has `claims`, and those of its provider's that it has to have: the one that `iss` names, or else the first.
///
/// # Errors
/// What the policy lacks for it.
pub(crate) fn claim(mut policy: Value, mut claims: Map<String, Value>, now: u64) -> Result<Claimed, String> {
    let secret = keys::secret()?;
    let providers = policy.pointer("/auth/providers").and_then(Value::as_array);
    let is_named = |provider: &&Value| claims.get("iss").is_none_or(|issuer| *issuer == provider["issuer"]);
    let provider = providers.and_then(|list| list.iter().find(is_named));
    let provider = provider.ok_or("--claims: auth.providers has no provider with this iss")?.clone();
    let audience = provider.pointer("/audiences/0").ok_or("--claims: the provider has no audience")?;
    claims.entry("iss").or_insert_with(|| provider["issuer"].clone());
    claims.entry("aud").or_insert_with(|| audience.clone());
    let token = keys::token(&Signer::Secret(&secret), None, claims, (now, LIFETIME))?;
    let place = place(policy.pointer("/auth/sources"), &token)?;

    let trust = |policy: &mut Value| {
        let providers = policy.pointer_mut("/auth/providers").and_then(Value::as_array_mut).into_iter().flatten();
        for own in providers.filter(|own| own["issuer"] == provider["issuer"]).filter_map(Value::as_object_mut) {
            own.remove("introspection");
            own.insert("algorithms".to_owned(), json!(["HS256"]));
            own.insert("jwks".to_owned(), json!({"secret": {"inline": secret}}));
        }
    };
    trust(&mut policy);
    let routes = policy.pointer_mut("/routes").and_then(Value::as_array_mut).into_iter().flatten();
    routes.filter_map(|route| route.get_mut("policy")).for_each(trust);
    Ok(Claimed { policy, place })
}

/// The first source of the policy that a request can have.
fn place(sources: Option<&Value>, token: &str) -> Result<Place, String> {
    let default = json!([{"header": "authorization"}]);
    let sources = sources.unwrap_or(&default).as_array().into_iter().flatten();
    let mut places = sources.filter_map(|source| {
        let name = |kind: &str| source.get(kind).and_then(Value::as_str);
        let scheme = source.get("prefix").and_then(Value::as_str);
        match (name("header"), name("cookie"), name("subprotocol"), name("query")) {
            (Some(header), ..) if header.eq_ignore_ascii_case("authorization") || scheme.is_some() => {
                Some(Place::Header(format!("{header}: {} {token}", scheme.unwrap_or("Bearer"))))
            }
            (Some(header), ..) => Some(Place::Header(format!("{header}: {token}"))),
            (_, Some(cookie), ..) => Some(Place::Header(format!("Cookie: {cookie}={token}"))),
            (_, _, Some(word), _) => Some(Place::Header(format!("Sec-WebSocket-Protocol: {word}, {token}"))),
            (_, _, _, Some(parameter)) => Some(Place::Query(format!("{parameter}={token}"))),
            _ => None,
        }
    });
    places.next().ok_or_else(|| "--claims: auth.sources has no source that a request can have".to_owned())
}

#[cfg(test)]
mod tests {
    use portcullis_core::config;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn policy(sources: Value) -> Value {
        let provider = |name: &str, algorithm: &str| {
            json!({
                "name": name, "issuer": format!("https://{name}.example/"), "audiences": ["chat"], "algorithms": [algorithm],
                "jwks": {"cluster": "idp", "url": "https://idp.example/jwks.json"},
            })
        };
        let providers = [provider("one", "RS256"), provider("two", "ES256")];
        json!({"auth": {"sources": sources, "providers": providers}})
    }

    #[test]
    fn a_policy_trusts_a_new_secret_in_place_of_the_keys_of_the_provider_and_of_no_other() {
        let sources = json!([{"ticket": "t"}, {"cookie": "session"}]);
        let claimed = claim(policy(sources), claims(json!({"iss": "https://two.example/"})), 1_800_000_000).unwrap();
        assert!(matches!(&claimed.place, Place::Header(line) if line.starts_with("Cookie: session=ey")), "{claimed:?}");
        let providers = &claimed.policy["auth"]["providers"];
        assert_eq!((&providers[0]["algorithms"], &providers[1]["algorithms"]), (&json!(["RS256"]), &json!(["HS256"])));
        assert!(providers[0]["jwks"]["cluster"].is_string() && providers[1]["jwks"]["cluster"].is_null());
    }

    #[test]
    fn a_policy_without_such_a_provider_or_source_is_said() {
        let other = claims(json!({"iss": "https://three.example/"}));
        assert!(claim(policy(json!([{"cookie": "session"}])), other, 0).unwrap_err().contains("providers"));
        assert!(claim(json!({}), claims(json!({})), 0).is_err());
        let message = policy(json!([{"message": "/token"}]));
        assert!(claim(message, claims(json!({})), 0).unwrap_err().contains("sources"));
    }

    #[test]
    fn the_policy_still_holds() {
        let claimed = claim(policy(json!([{"query": "token"}])), claims(json!({"sub": "a"})), 1_800_000_000).unwrap();
        assert!(config::parse(claimed.policy.to_string().as_bytes(), &|_| None).is_ok());
        assert!(matches!(claimed.place, Place::Query(text) if text.starts_with("token=ey")));
    }
}
