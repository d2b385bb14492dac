//! The path where a provider posts logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8): no request for it reaches the upstream.
//!
//! ```text
//! request ── TLS, host, rate, method, type ──▶ Decision::Read(LogoutRequest) ── the body ──▶ LogoutRequest::receive ──▶ Reply
//!                └────▶ Decision::Answer(Reply), or a refusal
//! ```

use std::rc::Rc;

use crate::ask::{HttpRequest, Step};
use crate::effect::Reply;
use crate::http::headers::Headers;
use crate::http::list::trim;
use crate::http::path;
use crate::identity::Identity;
use crate::identity::logout_token::Flaw;
use crate::identity::relay::SENT_ON;
use crate::token::rules::AuthRules;

/// The longest form that is read, in bytes: a logout token is at most 16 KiB, which escapes could make three times as long.
pub const FORM_LEN_MAX: usize = 65_536;

/// How long a proxy of the fleet may take for a logout that is sent on to it.
const PEER_TIMEOUT: core::time::Duration = core::time::Duration::from_secs(2);

/// A request whose body is to be read.
#[derive(Debug)]
pub struct LogoutRequest {
    auth: Rc<AuthRules>,
    /// What is sent on with it; `None` where it comes from another proxy of the fleet.
    sent_on: Option<HttpRequest>,
}

/// Whether a request is for the path that `auth` names.
pub(super) fn is_meant(auth: &AuthRules, headers: &Headers) -> bool {
    let target = headers.all(":path").next().unwrap_or_default();
    auth.logout.as_ref().is_some_and(|rules| rules.path == path::canonical(path::written(target)))
}

/// Looks at the head of a request; `end`: it has no body.
///
/// # Errors
/// What it is answered with at once.
pub(super) fn read(auth: &Rc<AuthRules>, headers: &Headers, end: bool) -> Result<LogoutRequest, Reply> {
    if headers.one(":method") != Ok(Some(b"POST")) {
        let mut reply = answer(405, "method_not_allowed", String::new());
        reply.fields.push(("allow", "POST".to_owned()));
        return Err(reply);
    }
    let is_form = headers.one("content-type").ok().flatten().is_some_and(|line| {
        let media = line.split(|byte| *byte == b';').next().unwrap_or_default();
        trim(media).eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    });
    if !is_form || end {
        return Err(outcome(Err(Flaw::Form)));
    }
    let text = |name| headers.one(name).ok().flatten().and_then(|line| str::from_utf8(line).ok());
    let sent_on = |(path, authority): (&str, &str)| HttpRequest {
        fields: vec![
            (":method", "POST".to_owned()),
            (":authority", authority.to_owned()),
            (":path", path.to_owned()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            (SENT_ON, "1".to_owned()),
        ],
        timeout: PEER_TIMEOUT,
        answer_len_max: FORM_LEN_MAX,
        ..HttpRequest::default()
    };
    let line = text(":path").zip(text(":authority").or_else(|| text("host")));
    Ok(LogoutRequest { auth: Rc::clone(auth), sent_on: line.filter(|_| !headers.has(SENT_ON)).map(sent_on) })
}

impl LogoutRequest {
    /// The body has come.
    #[must_use]
    pub fn receive(self, body: Vec<u8>, identity: &Rc<Identity>) -> Step<Reply> {
        let Self { auth, sent_on } = self;
        let sent_on = sent_on.map(|request| HttpRequest { body: body.clone(), ..request });
        identity.log_out(&auth, &body, sent_on).then(|result| Step::Ready(outcome(result)))
    }

    /// The answer to one whose body is too long, or does not come.
    #[must_use]
    pub fn refuse() -> Reply {
        outcome(Err(Flaw::Form))
    }
}

/// "If the logout request was invalid or the logout failed, the RP MUST respond with HTTP 400 Bad Request" (§2.8).
fn outcome(result: Result<(), Flaw>) -> Reply {
    match result {
        Ok(()) => answer(200, "logout_accepted", String::new()),
        Err(flaw) => {
            let error = if flaw == Flaw::Unavailable { "server_error" } else { "invalid_request" };
            let body = format!("{{\"error\": \"{error}\", \"error_description\": \"{flaw}\"}}");
            answer(400, "logout_refused", body)
        }
    }
}

/// "The RP's response SHOULD include the Cache-Control HTTP response header field with a no-store value" (§2.8).
fn answer(status: u16, details: &str, body: String) -> Reply {
    let mut fields = vec![("cache-control", "no-store".to_owned())];
    if !body.is_empty() {
        fields.push(("content-type", "application/json".to_owned()));
    }
    Reply { edits: vec![], status, details: format!("portcullis_{details}"), fields, body }
}
