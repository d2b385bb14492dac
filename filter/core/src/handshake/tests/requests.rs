//! Requests that are no upgrade: what is asked of them, and that no spelling of theirs leaves a route.

use super::super::counts_against_address;
use super::*;
use crate::policy::Fail;

fn plain(fields: &[(&str, &str)]) -> Fields {
    let bearer = format!("Bearer {}", token(&json!({})));
    let mut all: Fields = [
        (":method", "GET"),
        (":path", "/socket.io/?EIO=4&transport=polling"),
        (":authority", "chat.example.com"),
        ("origin", "https://app.example.com"),
        ("authorization", bearer.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    all.retain(|(name, _)| !fields.iter().any(|(changed, _)| changed == name));
    all.extend(fields.iter().filter(|(_, value)| *value != "-").map(|(name, value)| ((*name).into(), (*value).into())));
    all
}

fn authenticating(change: serde_json::Value) -> Policies {
    let mut all = json!({"non_websocket": "authenticate"});
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    policies(all)
}

#[test]
fn a_good_request_goes_on_without_its_credential() {
    let fields = plain(&[("x-user", "eve"), ("cookie", "a=1")]);
    let opening = open(&authenticating(json!({})), fields.clone());
    assert!(matches!(opening.decision, Decision::Admit));
    assert_eq!(edited(&opening, &fields, "authorization"), [""; 0]);
    assert_eq!(edited(&opening, &fields, "x-user"), ["alice"]);
    assert_eq!(edited(&opening, &fields, "cookie"), ["a=1"]);
    assert!(opening.edits.iter().all(|edit| !edit.name.starts_with("sec-websocket")));
    assert_eq!(opening.credential.unwrap().subject(), Some("alice"));

    let token = token(&json!({}));
    let in_query = plain(&[("authorization", "-"), (":path", &format!("/x?a&token={token}"))]);
    assert_eq!(edited(&open(&authenticating(json!({})), in_query.clone()), &in_query, ":path"), ["/x?a"]);
    let opening = open(&authenticating(json!({"auth": {"forward": true}})), fields.clone());
    assert_eq!(edited(&opening, &fields, "authorization").len(), 1);
}

#[test]
fn what_is_asked_of_an_upgrade_is_asked_of_a_request() {
    let other = format!("Bearer {}", token(&json!({"aud": "other"})));
    let old = format!("Bearer {}", token(&json!({"exp": NOW - 3_600})));
    for (fields, expected) in [
        (plain(&[]), None),
        (plain(&[(":method", "POST"), ("content-length", "5")]), None),
        (plain(&[(":authority", "evil.example.com")]), Some(HostRefused)),
        (plain(&[(":authority", "a,b")]), Some(BadUpgrade)),
        (plain(&[("host", "evil.example.com")]), Some(BadUpgrade)),
        (plain(&[("origin", "https://evil.io")]), Some(OriginRefused)),
        (plain(&[("origin", "null")]), Some(OriginRefused)),
        (plain(&[("origin", "-")]), Some(OriginRefused)),
        (and(plain(&[]), "origin", "https://evil.io"), Some(BadUpgrade)),
        (plain(&[("authorization", "-")]), Some(CredentialMissing)),
        (plain(&[("authorization", &format!("Bearer {FORGED}"))]), Some(CredentialInvalid)),
        (plain(&[("authorization", &other)]), Some(CredentialInvalid)),
        (plain(&[("authorization", &old)]), Some(CredentialExpired)),
        (and(plain(&[]), "cookie", &format!("session={FORGED}")), Some(CredentialAmbiguous)),
    ] {
        let said = format!("{fields:?}");
        let opening = open(&authenticating(json!({})), fields.clone());
        assert_eq!(refusal(&opening), expected, "{said}");
        for name in ["authorization", "cookie"] {
            assert_eq!(edited(&opening, &fields, name), [""; 0], "{said}");
        }
        let opening = open(&authenticating(json!({"mode": "monitor"})), fields.clone());
        assert_eq!((would_refuse(&opening).first().copied(), refusal(&opening)), (expected, None), "{said}");
    }
    assert_eq!(refusal(&open(&authenticating(json!({"require_tls": true})), plain(&[]))), Some(TlsRequired));
}

/// Browsers send no Origin with a GET to the page's own host.
#[test]
fn a_page_may_ask_its_own_host_without_an_origin() {
    let own = [("origin", "-"), ("sec-fetch-site", "same-origin")];
    let listed = authenticating(json!({"origin": {"allow": ["http://chat.example.com"]}}));
    let same_host = authenticating(json!({"origin": {"allow": [], "same_host": "allow"}}));
    for policies in [&listed, &same_host] {
        assert_eq!(refusal(&open(policies, plain(&own))), None);
        for site in ["same-site", "cross-site", "none", "-"] {
            let fields = plain(&[("origin", "-"), ("sec-fetch-site", site)]);
            assert_eq!(refusal(&open(policies, fields)), Some(OriginRefused), "{site}");
        }
        let upgrade = and(without("origin"), "sec-fetch-site", "same-origin");
        assert_eq!(refusal(&open(policies, upgrade)), Some(OriginRefused), "browsers send one with every upgrade");
    }
    assert_eq!(refusal(&open(&authenticating(json!({})), plain(&own))), Some(OriginRefused));
}

#[test]
fn a_request_is_counted_as_a_visit_and_never_as_a_connection() {
    let (opening, applicants) = apply(&authenticating(json!({})), plain(&[]), "visitor", HandshakesExceeded);
    assert_eq!((refusal(&opening), applicants), (Some(HandshakesExceeded), vec!["visitor".to_owned()]));
    let (_, applicants) = apply(&authenticating(json!({})), plain(&[]), "", Internal);
    assert_eq!(applicants, ["visitor"]);
    let (_, applicants) = apply(&policies(json!({})), plain(&[]), "", Internal);
    assert_eq!(applicants, [""; 0]);
}

#[test]
fn a_preflight_has_no_credential_and_only_a_preflight() {
    let preflight = [(":method", "OPTIONS"), ("access-control-request-method", "POST"), ("authorization", "-")];
    let check = |change: &[(&str, &str)], end: bool, expected: Option<Violation>| {
        let fields = plain(&[&preflight[..], change].concat());
        let mut asked = request(fields);
        asked.end = end;
        assert_eq!(refusal(&decide(&authenticating(json!({})), &asked, &Rc::default())), expected, "{change:?}");
    };
    check(&[], true, None);
    check(&[("origin", "https://evil.io")], true, Some(OriginRefused));
    check(&[("authorization", &format!("Bearer {FORGED}"))], true, Some(CredentialInvalid));
    check(&[], false, Some(CredentialMissing));
    let opening = |fields: Fields| {
        let mut asked = request(fields);
        asked.end = true;
        refusal(&decide(&authenticating(json!({"origin": {"missing": "allow"}})), &asked, &Rc::default()))
    };
    assert_eq!(opening(plain(&[&preflight[1..], &[(":method", "POST")]].concat())), Some(CredentialMissing));
    assert_eq!(opening(plain(&[(":method", "OPTIONS"), ("authorization", "-")])), Some(CredentialMissing));
    assert_eq!(opening(plain(&[&preflight[..], &[("origin", "-")]].concat())), Some(CredentialMissing));
}

#[test]
fn an_ambiguous_request_is_refused_whatever_it_is() {
    let routed = |non_websocket: &str, mode: &str| {
        policies(json!({"mode": mode, "non_websocket": non_websocket,
            "routes": [{"match": {"path_prefix": "/admin"}, "policy": {"auth": {"sources": [{"query": "admin"}]}}}]}))
    };
    for non_websocket in ["pass", "authenticate", "refuse"] {
        for path in ["/admin/..%3b/public?admin=SECRET", "/%2561dmin?admin=SECRET"] {
            let strict = routed(non_websocket, "enforce");
            for fields in [plain(&[(":path", path)]), with(":path", path)] {
                let opening = open(&strict, fields.clone());
                assert_eq!(refusal(&opening), Some(BadUpgrade), "{non_websocket}: {fields:?}");
                // What is a credential to one of the policies is none for a log.
                assert!(!edited(&opening, &fields, ":path")[0].contains("SECRET"));
                assert_eq!(edited(&opening, &fields, "authorization"), [""; 0]);
            }
            let watched = open(&routed(non_websocket, "monitor"), plain(&[(":path", path)]));
            assert_eq!((would_refuse(&watched)[0], refusal(&watched)), (BadUpgrade, None));
        }
        assert_ne!(
            refusal(&open(&routed(non_websocket, "enforce"), plain(&[(":path", "/a/..;/b")]))),
            Some(BadUpgrade)
        );
    }
}

#[test]
fn a_host_is_asked_for_with_or_without_the_port_of_its_scheme() {
    let routes = json!([{"match": {"host": "chat.example.com:443"}, "policy": {"non_websocket": "refuse"}}]);
    let routed = policies(json!({"hosts": [], "routes": routes}));
    let check = |tls: bool, authority: &str, expected: Option<Violation>| {
        let mut asked = request(plain(&[(":authority", authority)]));
        asked.tls = tls;
        assert_eq!(refusal(&decide(&routed, &asked, &Rc::default())), expected, "{tls} {authority}");
    };
    check(true, "chat.example.com", Some(NotWebsocket));
    check(true, "CHAT.example.com:443", Some(NotWebsocket));
    for (tls, authority) in
        [(true, "chat.example.com:444"), (true, "chat.example.com."), (true, "-"), (false, "chat.example.com")]
    {
        check(tls, authority, Some(BadUpgrade));
    }
    check(true, "other.example.com", None);
    let twice = request(and(plain(&[]), "host", "other.example.com"));
    assert_eq!(refusal(&decide(&routed, &twice, &Rc::default())), Some(BadUpgrade));

    let listed = policies(json!({"hosts": ["chat.example.com:443"]}));
    let mut asked = request(good());
    asked.tls = true;
    assert_eq!(refusal(&decide(&listed, &asked, &Rc::default())), None);
    asked.tls = false;
    assert_eq!(refusal(&decide(&listed, &asked, &Rc::default())), Some(HostRefused));
}

#[test]
fn a_fault_goes_by_the_policy_of_the_route() {
    let policies =
        policies(json!({"fail": "open", "routes": [{"match": {"path": "/admin"}, "policy": {"fail": "closed"}}]}));
    for (path, expected) in [("/admin", Fail::Closed), ("/admin;x", Fail::Closed), ("/chat", Fail::Open)] {
        assert_eq!(super::super::fail(&policies, &request(with(":path", path))), expected, "{path}");
    }
}

#[test]
fn what_a_foreign_page_makes_its_visitors_ask_for_counts_against_no_address() {
    let image = |site: &str| request(plain(&[("origin", "-"), ("sec-fetch-site", site)]));
    for (request, counts) in [
        (request(good()), true),
        (request(without("origin")), true),
        (request(plain(&[])), true),
        (image("-"), false),
        (image("cross-site"), false),
        (image("same-site"), false),
    ] {
        assert_eq!(counts_against_address(&request, CredentialInvalid), counts, "{request:?}");
        assert!(!counts_against_address(&request, CredentialMissing));
    }
}
