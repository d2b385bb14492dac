//! Forged tokens: the attacks of RFC 8725, one by one.

use std::error::Error;

use serde_json::{Value, json};

use super::scene::{Case, Scene, bearer};
use crate::tokens::AUDIENCE;

/// Makes a token.
type Forge = fn(&Scene<'_>) -> Result<String, Box<dyn Error>>;

const FORGERIES: [(&str, &str, Forge); 19] = [
    ("alg none", INVALID, |scene| Ok(scene.stage.keys.corp().unsigned("none"))),
    ("alg nOnE", INVALID, |scene| Ok(scene.stage.keys.corp().unsigned("nOnE"))),
    ("no signature", INVALID, |scene| Ok(scene.stage.keys.corp().unsigned("ES256"))),
    ("RS/HS confusion, JWK as secret", INVALID, |scene| confused(scene, &rsa_jwk().to_string())),
    ("RS/HS confusion, modulus as secret", INVALID, |scene| confused(scene, RSA_MODULUS)),
    ("ES/HS confusion, JWK as secret", INVALID, |scene| {
        let keys = &scene.stage.keys;
        keys.corp().hs256(&keys.public_jwk()).text()
    }),
    ("ES/HS confusion, PEM as secret", INVALID, |scene| {
        let keys = &scene.stage.keys;
        keys.corp().hs256(keys.public_pem()).text()
    }),
    ("unknown kid", INVALID, |scene| scene.stage.keys.corp().header("kid", "../../dev/null").text()),
    ("embedded jwk", INVALID, |scene| scene.stage.keys.corp().embedded_key()?.text()),
    ("jku", INVALID, |scene| scene.stage.keys.corp().header("jku", "https://evil.example/jwks.json").text()),
    ("crit", INVALID, |scene| scene.stage.keys.corp().header("crit", json!(["b64"])).header("b64", false).text()),
    ("wrong aud", INVALID, |scene| scene.stage.keys.corp().claim("aud", "billing").text()),
    ("unknown iss", INVALID, |scene| scene.stage.keys.corp().claim("iss", "https://evil.example/").text()),
    ("missing exp", INVALID, |scene| scene.stage.keys.corp().without("exp").text()),
    ("exp as text", INVALID, |scene| scene.stage.keys.corp().claim("exp", "9999999999").text()),
    ("not valid yet", "401 credential_expired", |scene| scene.stage.keys.corp().time("nbf", 3_600).text()),
    ("duplicate members in the header", INVALID, |scene| scene.stage.keys.corp().with_members(r#""alg":"none","#, "")),
    ("duplicate members in the claims", INVALID, |scene| scene.stage.keys.corp().with_members("", r#""sub":"root","#)),
    ("of another tenant", "403 claim_refused", |scene| scene.stage.keys.corp().claim("tenant", "other").text()),
];

const INVALID: &str = "401 credential_invalid";

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = FORGERIES
        .into_iter()
        .map(|(name, answer, forge)| {
            Case::refused(format!("token: {name}"), answer, move |scene| {
                Ok(scene.stranger().header("Authorization", bearer(&forge(scene)?)))
            })
        })
        .collect();
    cases.push(Case::accepted("token: of the partner, HS256", |scene| {
        Ok(scene.stranger().header("Authorization", bearer(&scene.stage.keys.partner().text()?)))
    }));
    cases.push(Case::refused("token: issued longer ago than max_age", "401 credential_expired", |scene| {
        Ok(scene.stranger().header("Authorization", bearer(&scene.stage.keys.partner().time("iat", -90_000).text()?)))
    }));
    cases.push(Case::refused("token: of a provider whose keys cannot be had", "500 internal", |scene| {
        Ok(scene.stranger().header("Authorization", bearer(&scene.stage.keys.corp().claim("iss", LOST_ISSUER).text()?)))
    }));
    cases
}

/// How many cases the gate cannot judge.
pub(super) const FAULTS: usize = 1;

/// Adds two providers to the policy: one with an RSA key, for tokens that pretend to be its own, and one whose keys the gate cannot fetch.
pub(super) fn add_providers(policy: &mut Value) {
    let rsa = json!({
        "name": "rsa", "issuer": RSA_ISSUER, "audiences": [AUDIENCE], "algorithms": ["RS256"],
        "jwks": {"inline": {"keys": [rsa_jwk()]}},
    });
    let lost = json!({
        "name": "lost", "issuer": LOST_ISSUER, "audiences": [AUDIENCE], "algorithms": ["ES256"],
        "jwks": {"cluster": "nowhere", "url": "https://lost.example.com/jwks.json"},
    });
    if let Some(providers) = policy["auth"]["providers"].as_array_mut() {
        providers.extend([rsa, lost]);
    }
}

/// A token of the RSA provider, signed as HS256 with a text that is public.
fn confused(scene: &Scene<'_>, secret: &str) -> Result<String, Box<dyn Error>> {
    scene.stage.keys.corp().claim("iss", RSA_ISSUER).header("kid", RSA_KEY_ID).hs256(secret).text()
}

fn rsa_jwk() -> Value {
    json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": RSA_KEY_ID, "e": "AQAB", "n": RSA_MODULUS})
}

const LOST_ISSUER: &str = "https://lost.example.com/";
const RSA_ISSUER: &str = "https://rsa.example.com/";
const RSA_KEY_ID: &str = "rsa-1";

/// Of a pair whose private key was not kept: no token verifies against it.
const RSA_MODULUS: &str = "\
    ol6R9rsVvGY7DY3mrg770ey_71NOllQoDxwN10QdFzvEdkpa6y08qvOziyR961_fvVO6bA8PafGNvHBUTBKbdLDzwhXl0GDFpUWl\
    Xolcv_8AO9KyWSA3Aw1t0yaQYNcAZqSEZg9H5A1TIWTAXLdBwlIAqOwjJiILLl8QQMGiwqp1kNVW1Qrq5to7QG4YbJOrnoUdd3Te\
    JDdB7NNo95giqwur-Om0_9SLNmtwQFeoyZdmx9Ukzcajn1UcpV3s3VXg0_p9YsaBUetSoBdxwwjKvbOnTYgRfYiGqTqrXshMw4R3\
    8VK3P50bv1CztpwU8t8qz3cKOdRgXs_K_-ajx9bsNw";
