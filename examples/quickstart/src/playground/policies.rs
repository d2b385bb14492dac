//! Another policy for the gate: what is wrong with it, as the filter's own parser says, and Envoy's word on it.

use portcullis_core::config::{self, ConfigError, Finding};
use portcullis_envoy::{Envoy, Update};
use serde_json::{Value, json};

use super::{PAGE_PATHS, Stage, lock, refusal};
use crate::policy::{SECRET_VARIABLE, TICKET_KEY_VARIABLE};
use crate::provider::Reply;
use crate::tokens::Keys;

/// Puts the policy in `text` in place, and waits until it is in force or refused. One that shuts the page itself out is taken back.
pub(super) fn put(text: &str, stage: &Stage, envoy: &Envoy, keys: &Keys) -> Reply {
    let fault = parse(text, keys).err();
    let policy = serde_json::from_str::<Value>(text).ok();
    // What repeats a name is two policies: the one that the parser refuses, and the one that is left of it as a value.
    let policy = policy.filter(|policy| fault.is_none() || parse(&policy.to_string(), keys).is_err());
    let update = policy.as_ref().map(|policy| envoy.update_policy(policy)).transpose();
    match (fault, policy, update) {
        (Some(error), ..) => refused(&error),
        (None, Some(policy), Ok(Some(Update::Accepted))) => {
            if PAGE_PATHS.iter().all(|path| is_reachable(path, stage)) {
                *lock(&stage.policy) = policy;
                return (200, json!({"faults": []}).to_string());
            }
            match envoy.update_policy(&lock(&stage.policy)) {
                Ok(_) => (422, json!({"faults": [{"path": "", "problem": SHUT_OUT}], "omitted": 0}).to_string()),
                Err(error) => refusal(502, &error.to_string()),
            }
        }
        (.., Ok(_)) => refusal(502, "Envoy refused what the parser takes"),
        (.., Err(error)) => refusal(502, &error.to_string()),
    }
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
