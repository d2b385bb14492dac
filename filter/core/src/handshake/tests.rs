//! Requests and answers as tables: one good handshake, and what changes make of it.

mod credentials;
mod modes;
mod opaque;
mod reload;
mod requests;
mod responses;

use std::rc::Rc;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::{Capacity, Decision, HttpVersion, Opening, Pending, Request};
use crate::config;
use crate::effect::Edit;
use crate::http::headers::Headers;
use crate::limits::admission::Applicant;
use crate::limits::{HeldBytes, Share};
use crate::policy::Policy;
use crate::policy::routes::Policies;
use crate::testing::{self, BIRTH, NOW, decide};
use crate::violation::Violation::{self, *};

const SECRET: &str = "an HMAC secret of more than 32 bytes";
/// A token by its shape, `{"alg":"HS256"}`, and by nothing else.
const FORGED: &str = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";
/// Tokens of other makes: Flask's session, Phoenix's token.
const OPAQUE: [&str; 3] = ["eyJfZnJlc2giOmZhbHNlfQ.ZxYzAQ.sfl2kJ8d", "SFMyNTY.g2gDYQFuBgD4.sfl2kJ8d", "x.y.z"];

type Fields = Vec<(String, String)>;

fn policies(change: serde_json::Value) -> Policies {
    let mut config = json!({
        "require_tls": false,
        "hosts": ["chat.example.com"],
        "origin": {"allow": ["https://app.example.com"]},
        "subprotocols": {"allow": ["chat.v1", "chat.v2"]},
        "auth": {
            "providers": [{
                "name": "own", "issuer": "me", "audiences": ["chat"], "algorithms": ["HS256"],
                "jwks": {"secret": {"inline": SECRET}},
            }],
            "claim_headers": {"sub": "x-user", "roles": "x-roles"},
        },
    });
    for (key, value) in change.as_object().unwrap() {
        match (&mut config[key], value) {
            (serde_json::Value::Object(old), serde_json::Value::Object(new)) => old.extend(new.clone()),
            (old, new) => *old = new.clone(),
        }
    }
    config::parse(config.to_string().as_bytes(), &|_| None).unwrap().policies
}

fn token(claims: &serde_json::Value) -> String {
    let mut all = json!({"iss": "me", "aud": "chat", "sub": "alice", "exp": NOW + 60});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let header = jsonwebtoken::Header::new(Algorithm::HS256);
    jsonwebtoken::encode(&header, &all, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn good() -> Fields {
    let bearer = format!("Bearer {}", token(&json!({})));
    let own = [("origin", "https://app.example.com"), ("authorization", &bearer)];
    testing::upgrade().into_iter().chain(own).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn without(name: &str) -> Fields {
    good().into_iter().filter(|(n, _)| n != name).collect()
}

fn with(name: &str, value: &str) -> Fields {
    let mut fields = without(name);
    fields.push((name.into(), value.into()));
    fields
}

fn and(mut fields: Fields, name: &str, value: &str) -> Fields {
    fields.push((name.into(), value.into()));
    fields
}

fn request(fields: Fields) -> Request {
    let fields = fields.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect();
    testing::request(Headers::new(fields))
}

fn open(policies: &Policies, fields: Fields) -> Opening {
    decide(policies, &request(fields), &Rc::default())
}

fn would_refuse(opening: &Opening) -> Vec<Violation> {
    opening.would_refuse.iter().map(|refusal| refusal.violation).collect()
}

fn refusal(opening: &Opening) -> Option<Violation> {
    match &opening.decision {
        Decision::Refuse(refusal) => Some(refusal.violation),
        Decision::Admit | Decision::Pass | Decision::Upgrade(_) | Decision::Answer(_) | Decision::Read(_) => None,
    }
}

#[track_caller]
fn check_refusal(fields: Fields, expected: Option<Violation>) {
    assert_eq!(refusal(&open(&policies(json!({})), fields)), expected);
}

/// The lines of `name` in the request once it is edited.
fn edited(opening: &Opening, fields: &Fields, name: &str) -> Vec<String> {
    let mut lines: Vec<String> = fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect();
    for edit in opening.edits.iter().filter(|edit| edit.name == name) {
        lines = edit.values.iter().map(|value| String::from_utf8(value.clone()).unwrap()).collect();
    }
    lines
}

#[test]
fn a_good_upgrade_goes_on_without_its_credential() {
    let opening = open(&policies(json!({})), good());
    assert!(matches!(opening.decision, Decision::Upgrade(_)));
    assert_eq!(opening.edits, [Edit::remove("authorization"), Edit::set("x-user", "alice")]);
    assert_eq!(opening.credential.unwrap().subject(), Some("alice"));
}

#[test]
fn other_requests_pass_or_are_refused_as_the_policy_says() {
    let plain: Fields =
        vec![(":method".into(), "POST".into()), (":path".into(), "/".into()), ("x-user".into(), "eve".into())];
    let opening = open(&policies(json!({})), plain.clone());
    assert!(matches!(opening.decision, Decision::Pass));
    assert_eq!(opening.edits, [Edit::remove("x-user")]);
    let strict = policies(json!({"non_websocket": "refuse"}));
    assert_eq!(refusal(&open(&strict, plain)), Some(NotWebsocket));
}

#[test]
fn half_an_upgrade_is_no_plain_request() {
    for name in ["connection", "upgrade", "sec-websocket-key"] {
        check_refusal(without(name), Some(BadUpgrade));
    }
    let bare = |name: &str, value: &str| {
        [(":method", "GET"), (":path", "/"), (":authority", "chat.example.com"), (name, value)]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .to_vec()
    };
    check_refusal(bare("upgrade", "h2c"), Some(BadUpgrade));
    check_refusal(bare("sec-websocket-protocol", "chat.v1"), Some(BadUpgrade));
    check_refusal(bare("sec_websocket_key", "x"), Some(BadUpgrade));
    check_refusal(bare("sec-websocket-key1", "x"), Some(BadUpgrade));
    check_refusal(with(":method", "CONNECT"), Some(BadUpgrade));
}

#[test]
fn malformed_upgrades_are_refused() {
    for (name, values) in [
        (":method", &["POST", "get", "HEAD", ""][..]),
        (":path", &["chat", "", "/a#b", "/a b", "http://x/", "/ä"]),
        ("connection", &["keep-alive", "Upgrade, x-secret", "Upgrade, HTTP2-Settings", "", "Upgrade;x"]),
        ("upgrade", &["h2c", "websocket, h2c", "websocket,websocket", "websocket/13", ""]),
        (
            "sec-websocket-key",
            &[
                "",
                "AAAA",
                "dGhlIHNhbXBsZSBub25jZQ",
                "dGhlIHNhbXBsZSBub25jZR==",
                "!GhlIHNhbXBsZSBub25jZQ==",
                "dGhlIHNhbXBsZSBub25jZSE=",
            ],
        ),
        ("sec-websocket-version", &["13, 8", "13,13"]),
        ("origin", &["https://app.example.com, https://evil.io", "https://app.example.com https://evil.io"]),
        (":authority", &["", "a,b", "chat.example.com@evil.io"]),
    ] {
        for value in values {
            check_refusal(with(name, value), Some(BadUpgrade));
        }
    }
    for (name, value) in [
        ("content-length", "5"),
        ("content-length", "00"),
        ("transfer-encoding", "chunked"),
        ("sec-websocket-protocol", "a b"),
        ("sec-websocket-protocol", ""),
        ("sec-websocket-protocol", "chat.v1, chat.v1"),
        ("sec-websocket-extensions", ";;;"),
        ("sec-websocket-key1", "x"),
        ("sec-websocket-draft", "76"),
        ("sec_websocket_version", "8"),
        ("host", "other.example.com"),
    ] {
        check_refusal(and(good(), name, value), Some(BadUpgrade));
    }
    check_refusal(and(good(), "content-length", "0"), None);
    check_refusal(with("connection", "keep-alive, upgrade"), None);
    check_refusal(with("upgrade", "WebSocket"), None);
    check_refusal(and(good(), "host", "chat.example.com"), None);
}

#[test]
fn what_stands_twice_is_refused() {
    for name in [":authority", ":method", ":path", "origin", "sec-websocket-key", "sec-websocket-version", "upgrade"] {
        let (_, value) = good().into_iter().find(|(n, _)| n == name).unwrap();
        check_refusal(and(good(), name, &value), Some(BadUpgrade));
    }
}

#[test]
fn other_versions_are_told_which_one() {
    for version in ["8", "0", "14", "013", "13;x", "", "thirteen"] {
        check_refusal(with("sec-websocket-version", version), Some(BadVersion));
    }
    check_refusal(without("sec-websocket-version"), Some(BadVersion));
}

#[test]
fn http_1_0_has_no_upgrades_and_http_2_has_no_keys() {
    let mut old = request(good());
    old.protocol = HttpVersion::Http10;
    let policies = policies(json!({}));
    assert_eq!(refusal(&decide(&policies, &old, &Rc::default())), Some(BadUpgrade));

    let mut extended_connect = request(without("sec-websocket-key"));
    extended_connect.protocol = HttpVersion::Multiplexed;
    let opening = decide(&policies, &extended_connect, &Rc::default());
    assert!(opening.edits.contains(&Edit::set("sec-websocket-key", "BwcHBwcHBwcHBwcHBwcHBw==")));

    extended_connect.end = true;
    assert_eq!(
        refusal(&decide(&policies, &extended_connect, &Rc::default())),
        Some(BadUpgrade),
        "it has nothing to say"
    );
}

#[test]
fn tls_is_what_the_proxy_saw() {
    let strict = policies(json!({"require_tls": true}));
    assert_eq!(refusal(&open(&strict, good())), Some(TlsRequired));
    assert_eq!(refusal(&open(&strict, and(good(), "x-forwarded-proto", "https"))), Some(TlsRequired));
    let mut secure = request(good());
    secure.tls = true;
    assert_eq!(refusal(&decide(&strict, &secure, &Rc::default())), None);

    let trusting = policies(json!({"require_tls": true, "trust_forwarded_proto": true}));
    for (proto, expected) in
        [("https", None), ("WSS", None), ("http", Some(TlsRequired)), ("https,http", Some(TlsRequired))]
    {
        assert_eq!(refusal(&open(&trusting, and(good(), "x-forwarded-proto", proto))), expected);
    }
}

#[test]
fn hosts_and_origins_are_on_their_lists() {
    check_refusal(with(":authority", "CHAT.example.com:443"), None);
    check_refusal(with(":authority", "other.example.com"), Some(HostRefused));
    check_refusal(with("origin", "HTTPS://APP.EXAMPLE.COM:443"), None);
    for origin in
        ["https://evil.io", "http://app.example.com", "null", "", "app.example.com", "https://app.example.com/"]
    {
        check_refusal(with("origin", origin), Some(OriginRefused));
    }
    check_refusal(without("origin"), Some(OriginRefused));
    let same = policies(json!({"origin": {"allow": [], "same_host": "allow"}}));
    for (origin, expected) in [
        ("https://chat.example.com", None),
        ("http://chat.example.com", None),
        ("https://chat.example.com:8443", Some(OriginRefused)),
        ("https://app.example.com", Some(OriginRefused)),
        ("null", Some(OriginRefused)),
    ] {
        assert_eq!(refusal(&open(&same, with("origin", origin))), expected, "{origin}");
    }
    let mut secure = request(with("origin", "http://chat.example.com"));
    secure.tls = true;
    assert_eq!(refusal(&decide(&same, &secure, &Rc::default())), Some(OriginRefused));
    let lax = policies(json!({"origin": {"missing": "allow", "opaque": "allow"}}));
    assert_eq!(refusal(&open(&lax, without("origin"))), None);
    assert_eq!(refusal(&open(&lax, with("origin", "null"))), None);
}

/// What the upstream is offered, and what its answer is refused for, under `compression`; "-": it answers nothing.
fn negotiate(compression: &str, offer: &str, chosen: &str) -> (Vec<String>, Option<Violation>) {
    let utf8 = compression != "pass";
    let tunnels = if utf8 { "refuse" } else { "allow" };
    let messages = json!({"from_client": {"utf8": utf8, "tunnels": tunnels}, "from_server": {"tunnels": tunnels}});
    let policies = policies(json!({"compression": compression, "messages": messages}));
    let fields = and(good(), "sec-websocket-extensions", offer);
    let opening = open(&policies, fields.clone());
    let offered = edited(&opening, &fields, "sec-websocket-extensions");
    let Decision::Upgrade(pending) = opening.decision else { panic!("refused") };
    (offered, pending.check(&answer(&[("sec-websocket-extensions", chosen)]), BIRTH).err())
}

#[test]
fn compression_is_negotiated_as_the_policy_says() {
    let (offer, other) = ("permessage-deflate; client_max_window_bits", "x-unknown, permessage-deflate");
    for compression in ["inspect", "pass"] {
        assert_eq!(negotiate(compression, offer, "-"), (vec![offer.to_owned()], None));
        assert_eq!(negotiate(compression, other, "-").0, ["permessage-deflate"]);
        let answers = [
            ("permessage-deflate; client_max_window_bits=12", None),
            ("permessage-deflate; server_max_window_bits=16", Some(BadUpstreamHandshake)),
            ("x-unknown", Some(BadUpstreamHandshake)),
        ];
        for (answer, expected) in answers {
            assert_eq!(negotiate(compression, offer, answer).1, expected, "{answer}");
        }
        assert_eq!(negotiate(compression, "x-unknown", "x-unknown").1, Some(BadUpstreamHandshake));
    }
    assert_eq!(negotiate("refuse", offer, "-"), (vec![], None));
    assert_eq!(negotiate("refuse", offer, "permessage-deflate").1, Some(BadUpstreamHandshake));
}

#[test]
fn new_connections_go_uncompressed_once_half_of_what_may_be_held_is() {
    let policies = policies(json!({"compression": "inspect", "limits": {"held_bytes": 100}}));
    let held = Rc::new(HeldBytes::default());
    let mut share = Share::new(Rc::clone(&held));
    let fields = and(good(), "sec-websocket-extensions", "permessage-deflate");
    for (len, expected) in [(50, &["permessage-deflate"][..]), (51, &[])] {
        share.set(len);
        let opening = decide(&policies, &request(fields.clone()), &held);
        assert_eq!(edited(&opening, &fields, "sec-websocket-extensions"), expected);
    }
}

#[test]
fn routes_are_not_dodged_by_another_spelling() {
    let routed = policies(json!({
        "routes": [{"match": {"path": "/admin"}, "policy": {"origin": {"allow": ["https://admin.example.com"]}}}],
    }));
    for path in ["/admin", "/admin?x"] {
        assert_eq!(refusal(&open(&routed, with(":path", path))), Some(OriginRefused), "{path}");
    }
    for path in ["//admin", "/x/../admin", "/%61dmin", "/./admin", "/admin/", "/admin;x"] {
        assert_eq!(refusal(&open(&routed, with(":path", path))), Some(BadUpgrade), "{path}");
    }
    assert_eq!(refusal(&open(&routed, with(":path", "/administrator"))), None);
}

#[test]
fn monitoring_lets_everything_through_as_it_came() {
    let watching = policies(json!({"mode": "monitor"}));
    for (fields, violation, credential_count) in [
        (with("origin", "https://evil.io"), OriginRefused, 0),
        (with("sec-websocket-key", "short"), BadUpgrade, 0),
        (with("authorization", &format!("Bearer {FORGED}")), CredentialInvalid, 1),
    ] {
        let opening = open(&watching, fields.clone());
        assert!(matches!(opening.decision, Decision::Upgrade(_)));
        assert_eq!(would_refuse(&opening), [violation]);
        assert_eq!(edited(&opening, &fields, "authorization").len(), credential_count);
    }
    assert_eq!(open(&watching, good()).would_refuse, []);
}

/// Decides with `refused` turned away for `violation`, and tells who asked to be admitted.
fn apply(policies: &Policies, fields: Fields, refused: &str, violation: Violation) -> (Opening, Vec<String>) {
    let others = Others { refused: refused.to_owned(), violation, applicants: Vec::new() };
    let (opening, others) = testing::decide_within(policies, &request(fields), &Rc::default(), others);
    (opening, others.applicants)
}

struct Others {
    refused: String,
    violation: Violation,
    applicants: Vec<String>,
}

impl Capacity for Others {
    fn admit(&mut self, _: &Policy, applicant: Applicant<'_>) -> Result<(), Violation> {
        let name = match applicant {
            Applicant::Address => "address".to_owned(),
            Applicant::All => return Ok(()),
            Applicant::Subject(credential) => credential.subject().unwrap_or("its token").to_owned(),
            Applicant::Visitor => "visitor".to_owned(),
        };
        let admitted = if name == self.refused { Err(self.violation) } else { Ok(()) };
        self.applicants.push(name);
        admitted
    }

    fn keep(&mut self, _: &mut Pending) -> bool {
        true
    }

    fn resume(&mut self) {}
}

#[test]
fn each_applicant_is_asked_about_once() {
    let bearer = |claims: serde_json::Value| with("authorization", &format!("Bearer {}", token(&claims)));
    let plain = vec![(":method".to_owned(), "GET".to_owned()), (":path".to_owned(), "/".to_owned())];
    let optional = json!({"auth": {"required": false}});
    for (change, fields, applicants) in [
        (json!({}), good(), &["address", "alice"][..]),
        (json!({}), bearer(json!({"sub": "bob"})), &["address", "bob"]),
        (json!({"mode": "monitor"}), good(), &["address", "alice"]),
        // No upgrade, and what looks like one.
        (json!({}), plain, &[]),
        (json!({}), without("upgrade"), &["address"]),
        (json!({}), with("sec-websocket-key", "short"), &["address"]),
        (json!({}), with(":authority", "a,b"), &["address"]),
        (json!({}), without("sec-websocket-version"), &["address"]),
        // Not who he says, or nobody in particular.
        (json!({}), with("origin", "https://evil.io"), &["address"]),
        (json!({}), with("authorization", &format!("Bearer {FORGED}")), &["address"]),
        (json!({}), bearer(json!({"exp": NOW - 3_600})), &["address"]),
        (json!({}), without("authorization"), &["address"]),
        (optional.clone(), without("authorization"), &["address"]),
        (optional.clone(), bearer(json!({"sub": null})), &["address", "its token"]),
        (optional, good(), &["address", "alice"]),
    ] {
        let said = format!("{change} {fields:?}");
        assert_eq!(apply(&policies(change), fields, "", Internal).1, applicants, "{said}");
    }
}

#[test]
fn an_applicant_who_is_not_admitted_is_refused_without_its_credential() {
    for (refused, violation) in
        [("address", HandshakesExceeded), ("address", ConnectionsExceeded), ("alice", ConnectionsExceeded)]
    {
        let fields = and(good(), "sec-websocket-protocol", "chat.v1");
        let (opening, _) = apply(&policies(json!({})), fields.clone(), refused, violation);
        assert_eq!(refusal(&opening), Some(violation));
        assert!(opening.credential.is_none());
        for name in ["authorization", "sec-websocket-protocol", "x-user"] {
            assert_eq!(edited(&opening, &fields, name), [""; 0], "{name}");
        }
        // Monitoring notes it, and nothing more.
        let watching = policies(json!({"mode": "monitor"}));
        let (opening, _) = apply(&watching, fields.clone(), refused, violation);
        assert!(matches!(opening.decision, Decision::Upgrade(_)));
        assert_eq!(would_refuse(&opening), [violation]);
        assert_eq!(edited(&opening, &fields, "authorization"), [""; 0]);
    }
}

#[test]
fn an_address_is_turned_away_before_anything_it_says_is_looked_at_but_the_shape() {
    for (fields, violation) in [
        (with("authorization", &format!("Bearer {FORGED}")), HandshakesExceeded),
        (without("authorization"), HandshakesExceeded),
        (with("origin", "https://evil.io"), HandshakesExceeded),
        (with(":authority", "other.example.com"), HandshakesExceeded),
        (with("sec-websocket-key", "short"), BadUpgrade),
        (with("sec-websocket-version", "8"), BadVersion),
    ] {
        let (opening, applicants) = apply(&policies(json!({})), fields, "address", HandshakesExceeded);
        assert_eq!((refusal(&opening), applicants), (Some(violation), vec!["address".to_owned()]));
    }
}

fn answer(change: &[(&str, &str)]) -> Headers {
    let mut fields: Vec<(&str, &str)> = testing::switching_protocols();
    fields.retain(|(name, _)| !change.iter().any(|(changed, _)| changed == name));
    fields.extend(change.iter().filter(|(_, value)| *value != "-"));
    testing::headers(&fields)
}

#[test]
fn a_policy_is_shared_not_copied() {
    let policies = policies(json!({}));
    let opening = open(&policies, good());
    assert!(Rc::ptr_eq(&opening.policy, policies.base()));
}

#[test]
fn an_address_leaves_no_route_by_its_spelling() {
    let policies = policies(json!({"hosts": ["127.0.0.1", "h.example.com"], "routes": [
        {"match": {"host": "127.0.0.1"}, "policy": {"origin": {"allow": ["https://admin.example.com"]}}}]}));
    let refusal_of = |host: &str| refusal(&open(&policies, with(":authority", host)));
    for host in
        ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "127.000.000.001", "[::ffff:127.0.0.1]", "127.1:8080"]
    {
        assert_eq!(refusal_of(host), Some(OriginRefused), "{host}");
    }
    for host in ["0177.0.0.1", "127.0.0.1.1"] {
        assert_eq!(refusal_of(host), Some(BadUpgrade), "{host}");
    }
}
