//! The demo's identity provider: a login that gives a token of `corp`, and a logout that it tells the gate of.
//!
//! Whoever gives a name is let in by it. A logout is told as OpenID Connect Back-Channel Logout 1.0 says: by a token that names the session.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_envoy::peer::client::Client;
use rcgen::KeyPair;
use serde_json::json;

use crate::policy::{HOST, LOGOUT_PATH};
use crate::tokens::Keys;

/// The longest name of a user.
const NAME_LEN_MAX: usize = 20;

/// The provider.
pub(crate) struct Provider {
    keys: Arc<Keys>,
    /// The session (`sid`) of each token.
    sessions: Mutex<HashMap<String, String>>,
    gate: OnceLock<Client>,
}

/// What it answers: a status and a body.
pub(crate) type Reply = (u16, String);

impl Provider {
    /// One that signs with the keys of `corp`.
    pub(crate) fn new(keys: Arc<Keys>) -> Self {
        Self { keys, sessions: Mutex::default(), gate: OnceLock::new() }
    }

    /// Tells this gate of logouts.
    pub(crate) fn tell(&self, gate: Client) {
        let _ = self.gate.set(gate);
    }

    /// Answers `POST /login` with the form `user=…`.
    pub(crate) fn login(&self, form: &str) -> Reply {
        let name = form.strip_prefix("user=").unwrap_or_default();
        if !(1..=NAME_LEN_MAX).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return (400, json!({"error": "a name has 1 to 20 small letters"}).to_string());
        }
        match self.open_session(name) {
            Ok(token) => (200, json!({"token": token}).to_string()),
            Err(error) => (500, json!({"error": error.to_string()}).to_string()),
        }
    }

    fn open_session(&self, name: &str) -> Result<String, Box<dyn Error>> {
        let session = random()?;
        let token = self.keys.corp().claim("sub", name).claim("sid", session.as_str()).text()?;
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), session);
        Ok(token)
    }

    /// Answers `POST /logout` of whoever has this token, once the gate knows.
    pub(crate) fn logout(&self, token: &str) -> Reply {
        let session = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
        let Some(session) = session else { return (401, json!({"error": "no session"}).to_string()) };
        match self.end_session(&session) {
            Ok(200) => (200, "{}".to_owned()),
            Ok(status) => (502, json!({"error": format!("the gate answers {status}")}).to_string()),
            Err(error) => (502, json!({"error": error.to_string()}).to_string()),
        }
    }

    fn end_session(&self, session: &str) -> Result<u16, Box<dyn Error>> {
        let gate = self.gate.get().ok_or("no gate to tell")?;
        let token = self.keys.corp().without("sub").without("tenant").time("exp", 120).header("typ", "logout+jwt");
        let token = token
            .claim("sid", session)
            .claim("jti", random()?)
            .claim("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}}))
            .text()?;
        let body = format!("logout_token={token}");
        let head = format!(
            "POST {LOGOUT_PATH} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        Ok(gate.ask_raw((head + &body).as_bytes())?.status())
    }
}

/// A text that nobody can guess: the private key of a new pair, which is kept nowhere else, is random.
fn random() -> Result<String, Box<dyn Error>> {
    Ok(URL_SAFE_NO_PAD.encode(KeyPair::generate()?.serialized_der().get(36..52).ok_or("a key has 32 bytes")?))
}
