//! One request, one policy: whatever a path is written like, with Envoy's own rules for paths and without them.

use jsonwebtoken::Algorithm::HS256;
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use serde_json::{Value, json};

use crate::gate::{Gate, wait};
use crate::tokens::{self, Token};

/// Others for `/admin`, and from there for `/public`, to somebody.
const SPELLINGS: &[&str] = &[
    "/ADMIN",
    "/Admin/x",
    "/%61dmin",
    "/%2561dmin",
    "/%252561dmin",
    "/admin%00",
    "/admin%2500",
    "/admin.",
    "/admin%20",
    "/admin%2e",
    "/admin;x",
    "/admin;x/y",
    "/admin%3bx",
    "/x/..;/admin",
    "/x/..%3b/admin",
    "/x/%2e%2e;/admin",
    "/admin%2f",
    "/admin%2fx",
    "/admin%5cx",
    "/x%5c..%5cadmin",
    "/x/..%2fadmin",
    "/x%2f..%2fadmin",
    "/x/..%5cadmin",
    "/admin%3fx",
    "/admin%23x",
    "/%u0061dmin",
    "/%c1%a1dmin",
    "/admin%0a",
    "/admin%09",
    "/x/..%00/admin",
    "/x/.%2e;/admin",
    "/x/..%252fadmin",
    "/admin/..%3b/public",
    "/admin/.%2e;/public",
    "/admin/..%2fpublic",
    "/admin/..%5cpublic",
    "/admin/%252e%252e/public",
    "/public/..;/admin",
    "/public/..%3b/admin",
];

/// Likewise, but that Envoy's own rules make `/public` of them before the filter and the upstream see them.
const RESOLVED: &[&str] = &["/admin/..;/public", "/admin/x/..;/..;/public"];

/// Others for `/admin` itself.
const EXACT: &[&str] = &[
    "/ADMIN",
    "/admin/",
    "/%61dmin",
    "/%2561dmin",
    "/admin%00",
    "/admin.",
    "/admin;x",
    "/admin%20",
    "/x/..;/admin",
    "/admin%2f",
    "/admin%5c",
];

/// What Envoy may make one path of before the filter sees it, so that it may be the strict route's: never the other's.
const REWRITTEN: &[&str] = &[
    "//admin",
    "/./admin",
    "/x/../admin",
    "/x/%2e%2e/admin",
    "/admin/",
    "/admin\\x",
    "/admin/./x",
    "/admin//x",
    "/public/../admin",
];

fn strict() -> Value {
    let mut auth = tokens::auth();
    auth["required"] = true.into();
    json!({"auth": auth, "non_websocket": "refuse"})
}

fn open() -> Value {
    json!({"auth": {"required": false}, "non_websocket": "pass"})
}

/// `base`, and `own` for `path`.
fn policy(base: Value, key: &str, path: &str, own: Value) -> Value {
    let mut policy = json!({"require_tls": false, "origin": {"missing": "allow"}, "routes": [{"match": {key: path}, "policy": own}]});
    policy.as_object_mut().expect("an object").extend(base.as_object().expect("an object").clone());
    policy
}

fn plain(path: &str) -> Upgrade {
    ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"]
        .iter()
        .fold(Upgrade::to(path), |plain, name| plain.without(name))
}

#[test]
fn no_spelling_of_a_path_is_let_in_under_a_weaker_policy() {
    for is_normalised in [true, false] {
        let policies = [
            policy(open(), "path_prefix", "/admin", strict()),
            policy(open(), "path", "/admin", strict()),
            policy(strict(), "path_prefix", "/public", open()),
        ];
        let launch =
            |launch: portcullis_envoy::Launch| if is_normalised { launch } else { launch.without_path_rules() };
        let gate = Gate::launch(policies[0].clone(), Mode::Echo, launch);
        for (index, policy) in policies.iter().enumerate() {
            gate.update(policy.clone());
            // In force once what it is about is refused or let in.
            let probe = ["/admin", "/admin", "/x"][index];
            wait(|| (gate.client.ask(&Upgrade::to(probe)).expect("Envoy listens").status() == 401).then_some(()))
                .expect("it is in force");
            let (spellings, rewritten) = if index == 1 { (EXACT, &[][..]) } else { (SPELLINGS, REWRITTEN) };
            let resolved = if is_normalised || index == 1 { &[][..] } else { RESOLVED };
            for path in spellings.iter().chain(rewritten).chain(resolved) {
                for request in [Upgrade::to(path), plain(path)] {
                    let answer = gate.client.ask(&request).expect("Envoy listens");
                    let is_refused = matches!(answer.status(), 400 | 401 | 403);
                    assert!(is_refused, "normalised {is_normalised}, policy {index}, {path}: {:?}", answer.head);
                }
            }
            let seen = gate.backend.requests();
            let seen: Vec<_> =
                seen.iter().map(|request| request.head.target()).filter(|target| target.len() > 8).collect();
            assert!(seen.is_empty(), "normalised {is_normalised}, policy {index}: {seen:?}");
        }
        let (open, token) = (Upgrade::to("/public/a%20b"), Token::new(HS256).sign());
        gate.client.open(&open).expect("the open route");
        gate.client
            .open(&Upgrade::to("/x;y//z").header("Authorization", format!("Bearer {token}")))
            .expect("under the base policy");
    }
}

#[test]
fn a_route_is_met_as_it_is_written() {
    let policy = policy(strict(), "path_prefix", "/café", open());
    let gate = Gate::start(policy, Mode::Echo);
    gate.client.open(&Upgrade::to("/caf%C3%A9/room")).expect("the open route");
    assert_eq!(gate.client.ask(&Upgrade::to("/cafe")).expect("Envoy listens").status(), 401);
    assert_eq!(
        gate.client.ask(&Upgrade::to("/caf%25C3%25A9")).expect("Envoy listens").text(),
        r#"{"error": "bad_upgrade"}"#
    );
}

#[test]
fn a_host_is_not_left_by_its_spelling() {
    let mut policy = policy(open(), "host", "h.example.com:80", strict());
    policy["routes"][0]["policy"]["hosts"] = json!([]);
    let gate = Gate::start(policy, Mode::Echo);
    for (host, status) in [
        ("h.example.com", 401),
        ("H.Example.com:80", 401),
        ("h.example.com:81", 400),
        ("h.example.com.", 400),
        ("h.example.com:", 400),
        ("other.example.com", 101),
        ("other.example.com:81", 101),
    ] {
        let answer = gate.client.ask(&Upgrade::to("/").host(host)).expect("Envoy listens");
        assert_eq!(answer.status(), status, "{host}");
        let answer = gate.client.ask(&plain("/").host(host)).expect("Envoy listens");
        assert!((answer.status() == 200) == (status == 101), "{host}: {:?}", answer.head);
    }
}

#[test]
fn requests_that_are_no_upgrade_are_judged_where_the_policy_says_so() {
    let policy = json!({
        "require_tls": false, "origin": {"allow": ["https://app.example.com"]}, "auth": tokens::auth(), "non_websocket": "authenticate",
    });
    let gate = Gate::start(policy, Mode::Echo);
    let token = Token::new(HS256).sign();
    let poll = |path: &str| plain(path).origin("https://app.example.com").header("X-User", "root");
    let good = poll("/socket.io/?EIO=4&transport=polling")
        .header("Authorization", format!("Bearer {token}"))
        .header("Cookie", "a=1");
    assert_eq!(gate.client.ask(&good).expect("Envoy listens").status(), 200);
    let head = gate.request("/socket.io/?EIO=4&transport=polling", |_| true).head;
    assert_eq!((head.value("authorization"), head.value("cookie")), (None, Some("a=1")));
    assert_eq!(head.values("x-user").collect::<Vec<_>>(), ["alice"]);
    let query = poll(&format!("/query?a=1&token={token}"));
    assert_eq!(gate.client.ask(&query).expect("Envoy listens").status(), 200);
    gate.request("/query?a=1", |_| true);

    let preflight = |request: Upgrade| request.method("OPTIONS").header("Access-Control-Request-Method", "POST");
    assert_eq!(gate.client.ask(&preflight(poll("/preflight"))).expect("Envoy listens").status(), 200);
    gate.request("/preflight", |_| true);
    for (request, status, reason) in [
        (poll("/refused"), 401, "credential_missing"),
        (poll("/refused").method("POST").header("Content-Length", "5").tail("hello"), 401, "credential_missing"),
        (poll("/refused").header("Authorization", format!("Bearer {}", tokens::FORGED)), 401, "credential_invalid"),
        (good.clone().target("/refused").origin("https://evil.example"), 403, "origin_refused"),
        (good.target("/refused").without("Origin"), 403, "origin_refused"),
        (preflight(poll("/refused")).origin("https://evil.example"), 403, "origin_refused"),
        (preflight(poll("/refused")).header("Content-Length", "5").tail("hello"), 401, "credential_missing"),
    ] {
        let answer = gate.client.ask(&request).expect("Envoy listens");
        assert_eq!((answer.status(), answer.text()), (status, format!("{{\"error\": \"{reason}\"}}")), "{request:?}");
    }
    assert!(gate.backend.requests().iter().all(|request| request.head.target() != "/refused"));
    gate.wait_for_log(|lines| {
        lines.iter().filter(|line| line["event"] == "refused" && line["path"] == "/refused").count() == 7
    });
}

/// A query that only a later reader sees is none for a log.
#[test]
fn no_log_line_shows_a_query_however_it_is_written() {
    let policy = json!({"require_tls": false, "origin": {"missing": "allow"}, "auth": tokens::auth()});
    let gate = Gate::launch(policy, Mode::Echo, |launch| launch.without_path_rules());
    let paths = [
        "/chat?token=SECRET",
        "/chat%3Ftoken=SECRET",
        "/chat%253ftoken=SECRET",
        "/chat;token=SECRET",
        "/chat%3btoken=SECRET",
    ];
    for path in paths {
        let answer = gate.client.ask(&Upgrade::to(path)).expect("Envoy listens");
        assert_eq!(answer.status(), 401, "{path}");
    }
    gate.wait_for_log(|lines| {
        lines.iter().filter(|line| line["event"] == "refused" && line["path"] == "/chat").count() == paths.len()
    });
}
