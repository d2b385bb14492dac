//! One request, one policy: a path whose readings lead to different policies is refused.

use serde_json::{Value, json};

use super::scene::{Case, Scene, plain};

/// Paths that a client without a token asks for, to which `/public` is open, and a user of the chat, to whom `/admin` is not.
const AMBIGUOUS: [&str; 16] = [
    "/public/..%3b/chat",
    "/PUBLIC",
    "/public;x",
    "/admin/..%3b/public",
    "/admin/.%2e;/x",
    "/ADMIN",
    "/%2561dmin",
    "/admin.",
    "/admin%20",
    "/FEED",
    "/feed;x",
    "/feed/..%3b/chat",
    "/adm%c4%b0n",
    "/x/%c0%2e%c0%2e/admin",
    "/ad%0amin",
    "/CAF%C3%89",
];

/// Likewise, with Envoy's own rules for paths before the filter.
const ESCAPED: [&str; 3] = ["/public%2f..%2fchat", "/public/..%5cchat", "/admin%2f"];

pub(super) fn routes() -> Vec<Value> {
    vec![
        json!({"match": {"path_prefix": "/public"}, "policy": {"auth": {"required": false}}}),
        json!({"match": {"path": "/café"}, "policy": {"origin": {"allow": ["https://admin.example.com"]}}}),
        json!({"match": {"path": "/admin"}, "policy": {"origin": {"allow": ["https://admin.example.com"]}}}),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::accepted("path: of the open route, without a token", |scene| Ok(scene.stranger_to("/public/a%20b"))),
        Case::refused("path: of no route, without a token", "401 credential_missing", |scene| Ok(scene.stranger())),
        Case::accepted("path: of no route, in two readings", |scene| Ok(scene.upgrade_to("/chat;room=7//x"))),
        Case::refused("path: of the strict route", "403 origin_refused", |scene| Ok(scene.upgrade_to("/admin"))),
    ];
    let ambiguous =
        AMBIGUOUS.map(|path| (path, "400 bad_upgrade")).into_iter().chain(ESCAPED.map(|path| (path, "400")));
    cases.extend(ambiguous.map(|(path, answer)| {
        Case::refused(format!("path: {path}"), answer, move |scene: &Scene<'_>| {
            Ok(scene.upgrade_to(path).tail(scene.upgrade_to("/second").bytes()))
        })
    }));
    cases.push(Case::refused("path: /admin/..%3b/public, no upgrade", "400 bad_upgrade", |scene| {
        Ok(plain(scene.upgrade_to("/admin/..%3b/public")))
    }));
    cases
}
