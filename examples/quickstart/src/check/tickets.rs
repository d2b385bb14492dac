//! Tickets in place of a token, and the end of a login: each at the gate before the demo's own backend, with its identity provider.

use portcullis_envoy::peer::client::{Answer, Upgrade};
use serde_json::Value;

use super::scene::{Case, Got, Scene, bearer, echo, ending};
use crate::policy::{HOST, ORIGIN, TICKET_PATH};
use crate::tokens::SUBJECT;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("a ticket opens one connection", "201 no-store, 101, echo, 401 ticket_used", |scene| {
            let answer = post(scene, TICKET_PATH, &authorization(&scene.stage.token), "")?;
            let kept = answer.head.value("cache-control").unwrap_or("kept").to_owned();
            let (status, ticket) = (answer.status(), member(&answer, "ticket"));
            let upgrade = || with_ticket(scene, &ticket);
            let echo = echo(&mut scene.stage.service.open(&upgrade())?, "hello")?;
            let again = scene.stage.service.ask(&upgrade())?;
            Ok(format!("{status} {kept}, 101, {echo}, {} {}", again.status(), member(&again, "error")))
        }),
        Case::new("a ticket that another page uses", "403 origin_refused, 101, echo", |scene| {
            let ticket = member(&post(scene, TICKET_PATH, &authorization(&scene.stage.token), "")?, "ticket");
            let upgrade = || with_ticket(scene, &ticket);
            let refused = scene.stage.service.ask(&upgrade().origin(&format!("{ORIGIN}.evil.example")))?;
            // It is not used up by that.
            let echo = echo(&mut scene.stage.service.open(&upgrade())?, "hello")?;
            Ok(format!("{} {}, 101, {echo}", refused.status(), member(&refused, "error")))
        }),
        Case::new("a ticket that is made up", "401 ticket_invalid", |scene| {
            let answer = scene.stage.service.ask(&with_ticket(scene, "AXhtYWRlIHVw"))?;
            Ok(format!("{} {}", answer.status(), member(&answer, "error")))
        }),
        Case::new("a ticket without a credential", "401 credential_missing", |scene| {
            let answer = post(scene, TICKET_PATH, "", "")?;
            Ok(format!("{} {}", answer.status(), member(&answer, "error")))
        }),
        Case::new(
            "a logout ends its connections",
            "echo, 200, 3000 credential_revoked, 401 credential_revoked",
            log_out,
        ),
        Case::new("a logout token that is none", "400", |scene| {
            let answer = post(scene, crate::policy::LOGOUT_PATH, "", "logout_token=none")?;
            Ok(answer.status().to_string())
        }),
    ]
}

fn with_ticket(scene: &Scene<'_>, ticket: &str) -> Upgrade {
    Upgrade::to(&format!("{}&ticket={ticket}", scene.target("/chat"))).host(HOST).origin(ORIGIN)
}

/// Logs in, opens a connection, logs out, and tries again.
fn log_out(scene: &Scene<'_>) -> Got {
    let token = member(&post(scene, "/login", "", &format!("user={SUBJECT}"))?, "token");
    let upgrade = || scene.stranger().header("Authorization", bearer(&token));
    let mut websocket = scene.stage.service.open(&upgrade())?;
    let echo = echo(&mut websocket, "hello")?;
    let status = post(scene, "/logout", &authorization(&token), "")?.status();
    let end = ending(&mut websocket);
    let again = scene.stage.service.ask(&upgrade())?;
    Ok(format!("{echo}, {status}, {end}, {} {}", again.status(), member(&again, "error")))
}

fn authorization(token: &str) -> String {
    format!("authorization: {}\r\n", bearer(token))
}

/// Posts a form from the chat's own page.
fn post(scene: &Scene<'_>, path: &str, fields: &str, form: &str) -> std::io::Result<Answer> {
    let len = form.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {HOST}\r\norigin: {ORIGIN}\r\n{fields}\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {len}\r\n\r\n{form}"
    );
    scene.stage.service.ask_raw(request.as_bytes())
}

/// A member of the JSON that came back.
fn member(answer: &Answer, name: &str) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body[name].as_str().unwrap_or("nothing").to_owned()
}
