use serde_json::json;

use super::*;
use crate::config::{ConfigError, Parsed};

fn parse(policy: serde_json::Value) -> Result<Parsed, ConfigError> {
    crate::config::parse(policy.to_string().as_bytes(), &|_| None)
}

/// The index of the route whose policy a request gets, or that it is refused.
fn route<'a>(policies: &'a Policies, host: &str, target: &str) -> Result<Option<usize>, Ambiguous<'a>> {
    let policy = policies.select(&Place::new(Authority::parse(host.as_bytes()).ok(), target.as_bytes()))?;
    Ok(policies.routes().iter().position(|route| Rc::ptr_eq(&route.policy, policy)))
}

fn policies(matches: serde_json::Value) -> Policies {
    let routes = matches.as_array().unwrap().iter().map(|own| json!({"match": own, "policy": {}})).collect::<Vec<_>>();
    parse(json!({"auth": {"required": false}, "routes": routes})).unwrap().policies
}

/// What `path` is answered with: `own`, the route's policy; `base`; or `refused`.
#[track_caller]
fn check(policies: &Policies, expected: &str, targets: &[&str]) {
    for target in targets {
        let found = match route(policies, "h.example.com", target) {
            Ok(Some(_)) => "own",
            Ok(None) => "base",
            Err(_) => "refused",
        };
        assert_eq!(found, expected, "{target}");
    }
}

#[test]
fn no_spelling_leaves_a_route() {
    let spellings = [
        "/ADMIN",
        "/%2561dmin",
        "/admin%00",
        "/admin.",
        "/admin;x",
        "/x/..;/admin",
        "/./admin",
        "//admin",
        "/admin%20",
        "/admin%2f",
        "/admin%5c",
        "/%61dmin",
        "/x/%2e%2e/admin",
        "/x\\..\\admin",
        "/x/..%5cadmin",
        "/admin%3fx",
        "/admin%23",
        "/%u0061dmin",
        "/%c1%a1dmin",
        "//x/admin",
        "http://x/admin",
        "admin",
        "/%252561dmin",
        "/admin%2500",
        "/a%64min%09",
        "/./%2e/x/%2e%2e;y/admin",
        "/admin%3Bx",
        "/AdMiN%2F",
        "/adm%c4%b0n",
        "/adm%C4%B1n",
        "/ad%u006Din",
        "/x/%c0%2e%c0%2e/admin",
        "/x/..%c1%1cadmin",
        "/%00admin",
        "/ad%0amin",
        "/adm%09in",
        "/%ef%bc%a1dmin",
    ];
    for (key, others) in
        [("path", &["/admin/"][..]), ("path_prefix", &["/admin%2fx", "/admin;/x", "/admin./x", "/Admin/x"])]
    {
        let policies = policies(json!([{key: "/admin"}]));
        check(&policies, "own", &["/admin", "/admin?/../x", "/admin?"]);
        check(&policies, "refused", &spellings);
        check(&policies, "refused", others);
        check(&policies, "base", &["/", "/x", "/administrator", "/x/admin", "/x%20y;z/..//%2e.b"]);
    }
    let prefix = policies(json!([{"path_prefix": "/admin"}]));
    check(&prefix, "own", &["/admin/", "/admin/x", "/admin/X%2fy;z/", "/admin//x", "/admin/."]);
    check(
        &prefix,
        "refused",
        &["/admin/.%2e;/x", "/admin/..%3b/public", "/admin/../x", "/admin/%2e%2e/x", "/admin/x/..;/..%2fy"],
    );
    let public = policies(json!([{"path_prefix": "/public"}]));
    check(
        &public,
        "refused",
        &["/admin/..%3b/public", "/admin/../public", "/admin%2f..%2fpublic", "/public/..%2fadmin"],
    );
}

#[test]
fn a_site_without_routes_notices_nothing() {
    let none = policies(json!([]));
    let long = format!("/{}", "%25".repeat(20_000));
    for target in ["/admin/..%3b/public", "//x", "", "*", long.as_str()] {
        assert!(none.select(&Place::new(None, target.as_bytes())).is_ok(), "{target}");
    }
    let hosts = policies(json!([{"host": "h.example.com"}]));
    check(&hosts, "own", &["/admin/..%3b/public", "//x", &long]);
}

#[test]
fn what_has_too_many_readings_is_refused_where_paths_count() {
    let policies = policies(json!([{"path": "/admin"}]));
    check(&policies, "refused", &[&format!("/{}", "%25".repeat(20_000)), &format!("/{}", "a".repeat(3_000))]);
    check(&policies, "base", &[&format!("/{}%20x", "a".repeat(2_000))]);
}

#[test]
fn a_route_is_met_by_what_is_asked_for_as_it_is_written() {
    for written in ["/caf%C3%A9", "/caf%c3%a9", "/café"] {
        let policies = policies(json!([{"path_prefix": written}]));
        check(&policies, "own", &["/caf%C3%A9", "/caf%c3%a9/x", "/café"]);
        let others = [
            "/caf%25C3%25A9",
            "/CAF%C3%A9",
            "/CAF%C3%89",
            "/caf%C3%89",
            "/CAFÉ",
            "/caf%u00e9",
            "/caf%U00C9",
            "/caf%e0%83%a9",
        ];
        check(&policies, "refused", &others);
        check(&policies, "base", &["/caf%C3%A8", "/caf", "/cafe"]);
    }
    check(&policies(json!([{"path": "/Chat Room"}])), "own", &["/Chat%20Room"]);
    check(&policies(json!([{"path_prefix": "/chat/"}])), "own", &["/chat", "/chat/", "/chat/x"]);
    check(&policies(json!([{"path": "/"}])), "own", &["/", "/?x"]);
    check(&policies(json!([{"path_prefix": "/"}])), "own", &["/", "/x/..;/y"]);
}

#[test]
fn a_route_that_nothing_would_meet_is_refused_with_its_path() {
    let routes = |matches: serde_json::Value| {
        let routes = matches.as_array().unwrap().iter().map(|own| json!({"match": own, "policy": {}}));
        let policy = json!({"auth": {"required": false}, "routes": routes.collect::<Vec<_>>()});
        parse(policy).map(|_| ()).map_err(|error| error.to_string())
    };
    for path in ["/sec//ret", "/m;v=1", "/a/", "/a.", "/a%20", "/%61", "/a/../b", "/a%2Fb", "/a\\b", "/%252e", "//a"] {
        let error = routes(json!([{"path": "/first"}, {"path": path}])).unwrap_err();
        assert!(error.starts_with("routes[1].match.path: servers differ"), "{path}: {error}");
    }
    let error = routes(json!([{"path_prefix": "/sec//ret"}])).unwrap_err();
    assert!(error.starts_with("routes[0].match.path_prefix: "), "{error}");
    let error = routes(json!([{"path_prefix": "/api"}, {"path": "/API/v1"}])).unwrap_err();
    assert!(error.starts_with("routes[1].match.path: "), "{error}");
    assert_eq!(routes(json!([{"host": "a.example", "path": "/x"}, {"host": "b.example", "path": "/X"}])), Ok(()));
    assert_eq!(routes(json!([{"path": "/x"}, {"path_prefix": "/x/y"}, {"path": "/x"}])), Ok(()));
}

#[test]
fn a_prefix_means_whole_segments() {
    let policies = policies(json!([{"path_prefix": "/chat"}]));
    check(&policies, "own", &["/chat", "/chat/a"]);
    check(&policies, "base", &["/chatter", "/x/chat", "/cha"]);
}

#[test]
fn a_host_is_not_left_by_its_port() {
    let named = policies(json!([{"host": "h.example.com:443"}, {"host": "h.example.com:8443"}]));
    assert_eq!(route(&named, "H.example.com:443", "/").unwrap(), Some(0));
    assert_eq!(route(&named, "h.example.com:8443", "/").unwrap(), Some(1));
    assert_eq!(route(&named, "other.example.com:9", "/").unwrap(), None);
    let any = policies(json!([{"host": "*.example.com"}]));
    assert_eq!(route(&any, "h.example.com:9", "/").unwrap(), Some(0));
    for (policies, host) in [
        (&named, "h.example.com:9"),
        (&named, "h.example.com."),
        (&named, ""),
        (&any, "h.example.com."),
        (&any, "a,h.example.com"),
    ] {
        assert!(route(policies, host, "/").is_err(), "{host}");
    }
}

#[test]
fn an_ambiguous_request_is_refused_unless_all_its_policies_monitor() {
    let mode = |base: &str, own: &str| {
        let policy = json!({"mode": base, "auth": {"required": false}, "routes": [
            {"match": {"path": "/a"}, "policy": {"mode": own}}, {"match": {"path": "/b"}, "policy": {"mode": "enforce"}}]});
        let policies = parse(policy).unwrap().policies;
        route(&policies, "", "/a;x").unwrap_err().mode
    };
    assert_eq!(mode("monitor", "monitor"), Mode::Monitor);
    assert_eq!(mode("monitor", "enforce"), Mode::Enforce);
    assert_eq!(mode("enforce", "monitor"), Mode::Enforce);
}

#[test]
fn a_fault_goes_by_the_strictest_policy_that_a_request_may_be_under() {
    let policy = json!({"fail": "open", "auth": {"required": false}, "routes": [{"match": {"path": "/a"}, "policy": {"fail": "closed"}}]});
    let policies = parse(policy).unwrap().policies;
    let fail = |target: &str| policies.fail(Some(&Place::new(None, target.as_bytes())));
    assert_eq!([fail("/a"), fail("/b"), fail("/a;x")], [Fail::Closed, Fail::Open, Fail::Closed]);
    assert_eq!(policies.fail(None), Fail::Closed);
}
