//! Another policy for the gate: what is wrong with it, as the filter's own parser says, and Envoy's word on it.

use std::thread;
use std::time::Instant;

use portcullis_core::config::{self, ConfigError, Finding};
use portcullis_envoy::{Envoy, Update};
use serde_json::{Value, json};

use super::{PAGE_PATHS, Stage, lock, refusal};
use crate::gate::SETTLING;
use crate::policy::{SECRET_VARIABLE, TICKET_KEY_VARIABLE};
use crate::provider::Reply;
use crate::tokens::Keys;

/// Puts the policy in `text` in place, and waits until it is in force or refused. One that shuts the page itself out is taken back.
pub(super) fn put(text: &str, stage: &Stage, envoy: &Envoy, keys: &Keys) -> Reply {
    let reply = match (parse(text, keys), serde_json::from_str::<Value>(text)) {
        (Ok(()), Ok(policy)) => take(policy, stage, envoy),
        // Envoy is handed what is wrong too, and its log has the same words; but not where the fault is lost with the text, as a name that stands
        // twice is.
        (Err(error), Ok(policy)) if parse(&policy.to_string(), keys).is_err() => {
            envoy.update_policy(&policy).map(|_| refused(&error))
        }
        (Err(error), _) => Ok(refused(&error)),
        (Ok(()), Err(error)) => Ok(refusal(422, &error.to_string())),
    };
    reply.unwrap_or_else(|error| refusal(502, &error.to_string()))
}

/// Puts a policy in place that the parser takes.
fn take(policy: Value, stage: &Stage, envoy: &Envoy) -> Result<Reply, portcullis_envoy::Error> {
    if update(&policy, stage, envoy)? == Update::Rejected {
        return Ok(refusal(502, "Envoy refused what the parser takes"));
    }
    if PAGE_PATHS.iter().all(|path| is_reachable(path, stage)) {
        lock(&stage.policy).0 = policy;
        return Ok((200, json!({"faults": []}).to_string()));
    }
    let before = lock(&stage.policy).0.clone();
    update(&before, stage, envoy)?;
    Ok((422, json!({"faults": [{"path": "", "problem": SHUT_OUT}], "omitted": 0}).to_string()))
}

/// Hands a policy to Envoy, once the one before has settled: what visitors change back and forth is in force at once.
fn update(policy: &Value, stage: &Stage, envoy: &Envoy) -> Result<Update, portcullis_envoy::Error> {
    let since = lock(&stage.policy).1;
    thread::sleep(SETTLING.saturating_sub(since.elapsed()));
    let update = envoy.update_policy(policy)?;
    lock(&stage.policy).1 = Instant::now();
    Ok(update)
}

fn parse(text: &str, keys: &Keys) -> Result<(), ConfigError> {
    let secret = |name: &str| match name {
        SECRET_VARIABLE => Some(keys.secret().to_owned()),
        TICKET_KEY_VARIABLE => Some(keys.ticket_key().to_owned()),
        _ => None,
    };
    config::parse(text.as_bytes(), &secret).map(drop)
}

fn refused(error: &ConfigError) -> Reply {
    let fault = |fault: &Finding| json!({"path": fault.path(), "problem": fault.problem()});
    let faults: Vec<Value> = error.faults().iter().map(fault).collect();
    (422, json!({"faults": faults, "omitted": error.omitted()}).to_string())
}

fn is_reachable(path: &str, stage: &Stage) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", stage.authority);
    stage.client.ask_raw(request.as_bytes()).is_ok_and(|answer| answer.status() == 200)
}

const SHUT_OUT: &str = "this page could not be reached under it";
