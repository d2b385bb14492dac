//! Which page asks, and for which host: the `Origin` and `Host` of an upgrade.

use super::scene::{Case, Scene};
use crate::policy::{HOST, ORIGIN};

const ACCEPTED: [(&str, &str); 4] = [
    ("on the list", ORIGIN),
    ("on the list, in capitals and with its port", "HTTPS://App.Example.COM:443"),
    ("below a wildcard", "https://eu.apps.example.com:8443"),
    ("far below a wildcard", "https://a.b.apps.example.com:8443"),
];

const REFUSED: [(&str, &str); 13] = [
    ("subdomain of another site", "https://app.example.com.evil.example"),
    ("suffix of another name", "https://evilapp.example.com"),
    ("suffix of a wildcard's name", "https://evilapps.example.com:8443"),
    ("the wildcard's own name", "https://apps.example.com:8443"),
    ("subdomain of a listed one", "https://evil.app.example.com"),
    ("null", "null"),
    ("empty", ""),
    ("user information", "https://app.example.com@evil.example"),
    ("another port", "https://app.example.com:444"),
    ("another scheme", "http://app.example.com"),
    ("trailing slash", "https://app.example.com/"),
    ("trailing dot", "https://app.example.com."),
    ("percent-encoded", "https://app%2eexample.com"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(ACCEPTED.map(|(name, origin)| {
        Case::accepted(format!("origin: {name}"), move |scene: &Scene<'_>| Ok(scene.upgrade().origin(origin)))
    }));
    cases.extend(REFUSED.map(|(name, origin)| {
        Case::refused(format!("origin: {name}"), "403 origin_refused", move |scene| Ok(scene.upgrade().origin(origin)))
    }));
    cases.push(Case::refused("origin: missing", "403 origin_refused", |scene| Ok(scene.upgrade().without("Origin"))));
    cases.push(Case::refused("origin: two lines, good then evil", "400 bad_upgrade", |scene| {
        Ok(scene.upgrade().header("Origin", "https://evil.example"))
    }));
    cases.push(Case::refused("origin: two in one line", "400 bad_upgrade", |scene| {
        Ok(scene.upgrade().origin("https://app.example.com https://evil.example"))
    }));
    cases.push(Case::refused("origin: two lines, the same", "400 bad_upgrade", |scene| {
        Ok(scene.upgrade().header("origin", ORIGIN))
    }));
    cases.push(Case::accepted("host: with a port, in capitals", |scene| {
        Ok(scene.upgrade().host(&format!("{}:8443", HOST.to_uppercase())))
    }));
    cases.push(Case::refused("host: another", "421 host_refused", |scene| {
        Ok(scene.upgrade().host("admin.example.com"))
    }));
    cases
}
