//! The issuer of what clients come in with, and what its services say.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_core::ask::{Answer, HttpResponse};
use serde_json::{Value, json};

use crate::dice::Dice;

/// What the policies share with the issuer.
pub(crate) const SECRET: &str = "an HMAC secret of more than 32 bytes";

/// What tokens are accepted beyond their end, in seconds.
pub(crate) const SKEW: u64 = 2;

/// Where tickets are issued, and where logouts are posted.
pub(crate) const TICKET_PATH: &str = "/ticket";
pub(crate) const LOGOUT_PATH: &str = "/logout";

/// How long tickets are good, in seconds.
pub(crate) const TICKET_TTL: u64 = 5;

/// Where keys are published.
pub(crate) const KEYS_PATH: &str = "/keys";

/// Ids of keys.
pub(crate) type KeyIds = BTreeSet<u8>;

/// The public halves of the Ed25519 keys whose seeds are 32 times their number (RFC 8032 §5.1.5).
const PUBLIC: [&str; 3] = [
    "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik",
    "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w",
    "gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q",
];

/// The signer of a token.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Signer {
    /// The issuer, by the secret.
    Secret,
    /// The issuer, by a key of this id.
    Key(u8),
    /// Somebody who has neither, and says that it is one of them.
    Forger { is_key: bool },
}

impl Signer {
    fn sign(self, claims: &Value) -> String {
        let of_key = |seed: u8| {
            let der = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &[seed; 32]].concat();
            EncodingKey::from_ed_der(&der)
        };
        let header = |algorithm, kid: u8| Header { kid: Some(kid.to_string()), ..Header::new(algorithm) };
        let (header, key) = match self {
            Self::Secret => (Header::new(Algorithm::HS256), EncodingKey::from_secret(SECRET.as_bytes())),
            Self::Forger { is_key: false } => (Header::new(Algorithm::HS256), EncodingKey::from_secret(b"made up")),
            Self::Key(id) => (header(Algorithm::EdDSA, id), of_key(id)),
            Self::Forger { is_key: true } => (header(Algorithm::EdDSA, 1), of_key(0)),
        };
        jsonwebtoken::encode(&header, claims, &key).expect("a token")
    }
}

/// A token of a session of `subject` that ends then, in seconds of the calendar.
pub(crate) fn token(signer: Signer, subject: &'static str, session: u8, exp: u64) -> String {
    type Tokens = BTreeMap<(Signer, &'static str, u8, u64), String>;
    thread_local! {
        static TOKENS: RefCell<Tokens> = const { RefCell::new(BTreeMap::new()) };
    }
    let sign = || {
        let sid = session.to_string();
        let claims = json!({"iss": "https://idp.example.com/", "aud": "chat", "sub": subject, "sid": sid, "exp": exp});
        signer.sign(&claims)
    };
    TOKENS.with_borrow_mut(|tokens| tokens.entry((signer, subject, session, exp)).or_insert_with(sign).clone())
}

/// The form of a logout of a session; `date` and `number` tell it from others.
pub(crate) fn logout(signer: Signer, session: u8, date: u64, number: u32) -> Vec<u8> {
    let claims = json!({
        "iss": "https://idp.example.com/", "aud": "chat", "iat": date, "exp": date + 60, "jti": number.to_string(),
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": session.to_string(),
    });
    format!("logout_token={}", signer.sign(&claims)).into_bytes()
}

/// What the place where keys are published says when these are: them, or nothing that is a set. Tells whether it is one.
pub(crate) fn publish(dice: &Dice, ids: &KeyIds) -> (Answer, bool) {
    let respond = |status, body: Vec<u8>| Answer::Http(HttpResponse { status, body, ..HttpResponse::default() });
    let set = || {
        let key =
            |id: &u8| json!({"kty": "OKP", "crv": "Ed25519", "kid": id.to_string(), "x": PUBLIC[usize::from(*id)]});
        json!({"keys": ids.iter().map(key).collect::<Vec<_>>()}).to_string().into_bytes()
    };
    match dice.below(12) {
        0 => (Answer::None, false),
        1 => (respond(500, set()), false),
        2 => (respond(200, b"<html>".to_vec()), false),
        3 => (respond(200, set()[1..].to_vec()), false),
        _ => (respond(200, set()), true),
    }
}
