//! `fail: open` is for faults of the filter and the proxy. No peer causes one, so a route that has it refuses what every route refuses.

use portcullis_envoy::peer::frame::Draft;
use serde_json::{Value, json};

use super::scene::Case;

pub(super) fn routes() -> Vec<Value> {
    vec![json!({"match": {"path": PATH}, "policy": {"fail": "open"}})]
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::refused("fail: open, another site", "403 origin_refused", |scene| {
            Ok(scene.upgrade_to(PATH).origin("https://evil.example"))
        }),
        Case::refused("fail: open, no token", "401 credential_missing", |scene| Ok(scene.stranger_to(PATH))),
        Case::judged("fail: open, binary", "1003 type_refused", Draft::binary("x"), |scene| Ok(scene.upgrade_to(PATH))),
        Case::judged("fail: open, text", "echo", Draft::text("x"), |scene| Ok(scene.upgrade_to(PATH))),
    ]
}

const PATH: &str = "/fail-open";
