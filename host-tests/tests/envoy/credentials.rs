//! Where credentials may be in an upgrade, and where they never are afterwards: upstream, logs, answers.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::backend::Mode;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::peer::head::Head;
use serde_json::{Value, json};

use crate::gate::{Counters, Gate};
use crate::tokens::{self, Token, in_seconds};

/// A place for a token in an upgrade, and what is left there for the upstream.
pub(crate) struct Place {
    /// The query with a token in it, and then without.
    query: [&'static str; 2],
    /// Headers: name, value with a token in it, and the lines of that name that the upstream gets.
    headers: &'static [(&'static str, &'static str, &'static [&'static str])],
    /// What the client is told to have been chosen from its subprotocols.
    chosen: Option<&'static str>,
}

/// Stands for a token, and for its base64url form.
const TOKEN: &str = "{token}";
const ENCODED: &str = "{encoded}";

const COOKIES: &str = "theme=dark; token=own; lang=\"en=gb\"; a";
pub(crate) const PLACES: &[Place] = &[
    place(&[("Authorization", "Bearer {token}", &[])]),
    place(&[("Authorization", "bearer  {token}", &[]), ("X-Authorization", "Bearer own", &["Bearer own"])]),
    place(&[("Cookie", "theme=dark; token=own; session={token}; lang=\"en=gb\"; a", &[COOKIES])]),
    place(&[("Cookie", "session=\"{token}\"", &[])]),
    place(&[("Cookie", "a=1;  b=2", &["a=1;  b=2"]), ("Cookie", "session={token}", &["a=1;  b=2"])]),
    Place {
        chosen: Some("chat.v2"),
        ..place(&[(PROTOCOL, "bearer, {token}, chat.v2, chat.v1", &["chat.v2, chat.v1"])])
    },
    Place { chosen: Some("chat.v1"), ..place(&[(PROTOCOL, "chat.v1, bearer.{encoded}", &["chat.v1"])]) },
    Place { chosen: Some("chat.v1"), ..place(&[(PROTOCOL, "bearer.{token}, chat.v1", &["chat.v1"])]) },
    // A browser fails a connection that offered something and is answered nothing.
    Place { chosen: Some("bearer"), ..place(&[(PROTOCOL, "bearer, {token}", &[])]) },
    Place { query: ["?token={token}", ""], ..place(&[]) },
    Place { query: ["?a=%20b&token={token}&c=d%2Fe&&x", "?a=%20b&c=d%2Fe&&x"], ..place(&[]) },
    Place { query: ["?%74oken={token}&session=own", "?session=own"], ..place(&[]) },
];
const PROTOCOL: &str = "Sec-WebSocket-Protocol";

const fn place(headers: &'static [(&'static str, &'static str, &'static [&'static str])]) -> Place {
    Place { query: ["", ""], headers, chosen: None }
}

impl Place {
    /// An upgrade with the token here, and headers that nobody may touch or believe.
    pub(crate) fn upgrade(&self, path: &str, token: &str) -> Upgrade {
        let fill = |text: &str| text.replace(TOKEN, token).replace(ENCODED, &BASE64_URL_SAFE_NO_PAD.encode(token));
        let upgrade = Upgrade::to(&format!("{path}{}", fill(self.query[0]))).header("X-Other", "a,  b");
        let upgrade = upgrade.header("X-User", "root").header("x-uSER", "admin");
        self.headers.iter().fold(upgrade, |upgrade, (name, value, _)| upgrade.header(name, fill(value)))
    }
}

pub(crate) fn policy() -> Value {
    let mut auth = tokens::auth();
    auth["claim_headers"] = json!({"sub": "x-user", "role": "x-role"});
    // What else issuers publish.
    let keys = auth["providers"][0]["jwks"]["inline"]["keys"].as_array_mut().expect("a list");
    let rsa = |id: &str, len: usize| json!({"kty": "RSA", "kid": id, "e": "AQAB", "n": BASE64_URL_SAFE_NO_PAD.encode(vec![0xff; len])});
    keys.splice(0..0, [rsa("rsa", 128), rsa("rsa", 1_024), json!({"kty": "RSA", "use": "enc"}), json!({"kty": "new"})]);
    keys.splice(0..0, (0..40).map(|index| rsa(&format!("old-{index}"), 256)));
    json!({
        "require_tls": false, "origin": {"missing": "allow"}, "auth": auth,
        "routes": [
            {"match": {"path_prefix": "/open"}, "policy": {"auth": {"required": false}}},
            {"match": {"path_prefix": "/forward"}, "policy": {"auth": {"forward": true}}},
        ],
    })
}

#[test]
fn no_credential_is_seen_behind_the_gate_or_in_its_log() {
    let gate = Gate::start(policy(), Mode::Echo);
    let mut counters = Counters::default();
    let mut tokens = Vec::new();
    for (index, place) in PLACES.iter().enumerate() {
        let path = format!("/good/{index}");
        let token = Token::new(Algorithm::HS256).claim("jti", index).sign();
        let websocket =
            gate.client.open(&place.upgrade(&path, &token)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(websocket.head.value(PROTOCOL), place.chosen, "{path}");
        let head = gate.request(&format!("{path}{}", place.query[1]), |_| true).head;
        check_absent(&token, &format!("{head:?}"));
        for (name, _, left) in place.headers {
            assert_eq!(head.values(name).collect::<Vec<_>>(), *left, "{path}: {name}");
        }
        assert_eq!(head.value("x-other"), Some("a,  b"), "{path}");
        check_identity(&head, &["alice"], &["user"]);
        counters.closed("peer");
        tokens.push(token);

        let path = format!("/bad/{index}");
        let token = Token::new(Algorithm::HS256).claim("exp", in_seconds(-3_600)).claim("jti", index).sign();
        let answer = gate.client.ask(&place.upgrade(&path, &token)).expect("Envoy listens");
        assert_eq!((answer.status(), answer.text().as_str()), (401, r#"{"error": "credential_expired"}"#), "{path}");
        check_absent(&token, &format!("{:?}", answer.head));
        counters.refused("credential_expired");
        tokens.push(token);
    }
    assert_eq!(gate.backend.requests().len(), PLACES.len());
    gate.check_counters(&counters);
    // The access log has all of them, so the whole log can be searched.
    gate.wait_for_log(|lines| lines.iter().filter(|line| line["details"].is_string()).count() == tokens.len());
    let log = gate.envoy.log().expect("a log");
    tokens.iter().for_each(|token| check_absent(token, &log));
}

#[test]
fn the_upstream_is_told_who_asks_by_the_gate_alone() {
    let gate = Gate::start(policy(), Mode::Echo);
    let open = |upgrade: &Upgrade| drop(gate.client.open(upgrade).expect("it is accepted"));
    let spoofed = |path: &str| Upgrade::to(path).header("X-User", "root").header("X-ROLE", "admin");

    open(&spoofed("/open/nobody"));
    check_identity(&gate.request("/open/nobody", |_| true).head, &[], &[]);
    let token = Token::new(Algorithm::ES256).claim("role", "admin").claim("sub", Value::Null).sign();
    open(&spoofed("/open/admin").header("Authorization", format!("Bearer {token}")));
    check_identity(&gate.request("/open/admin", |_| true).head, &[], &["admin"]);
    let token = Token::new(Algorithm::HS256).claim("role", json!(["a", "b"])).claim("sub", "zoë").sign();
    open(&spoofed("/open/list").header("Authorization", format!("Bearer {token}")));
    check_identity(&gate.request("/open/list", |_| true).head, &["zo\u{c3}\u{ab}"], &["a,b"]);

    // `forward: true` leaves the credential where it is.
    open(&spoofed(&format!("/forward?token={token}")));
    let head = gate.request(&format!("/forward?token={token}"), |_| true).head;
    check_identity(&head, &["zo\u{c3}\u{ab}"], &["a,b"]);

    // A claim that would end the line.
    let token = Token::new(Algorithm::HS256).claim("sub", "alice\r\nX-Role: admin").sign();
    let answer = gate
        .client
        .ask(&Upgrade::to("/split").header("Authorization", format!("Bearer {token}")))
        .expect("Envoy listens");
    assert_eq!((answer.status(), answer.text().as_str()), (403, r#"{"error": "claim_refused"}"#));
    // The spelling that some servers take for the same header is Envoy's to refuse.
    assert_eq!(
        gate.client.ask(&Upgrade::to("/open/spelling").header("x_user", "root")).expect("Envoy listens").status(),
        400
    );
    assert_eq!(gate.backend.requests().len(), 4);
}

#[test]
fn a_claim_is_told_in_the_form_that_is_asked_for() {
    let mut policy = policy();
    policy["auth"]["claim_headers"] = json!({
        "sub": "x-user", "email": "x-role",
        "groups": {"header": "X-Groups", "format": "json"},
        "/resource_access/my.app/roles": {"header": "x-app", "format": "base64"},
    });
    let gate = Gate::start(policy, Mode::Echo);
    let token = Token::new(Algorithm::ES256)
        .claim("sub", 42)
        .claim("groups", json!(["a,b", "zo\u{eb}", "\r\nx-user: root"]))
        .claim("resource_access", json!({"my.app": {"roles": ["r"]}}))
        .with_null("email")
        .sign();
    let spoofed = Upgrade::to("/").header("x-groups", "root").header("X-Role", "root").header("X-App", "root");
    drop(gate.client.open(&spoofed.header("Authorization", format!("Bearer {token}"))).expect("it is accepted"));
    let head = gate.request("/", |_| true).head;
    check_identity(&head, &["42"], &[]);
    assert_eq!(head.values("x-groups").collect::<Vec<_>>(), [r#"["a,b","zo\u00eb","\r\nx-user: root"]"#]);
    assert_eq!(head.values("x-app").collect::<Vec<_>>(), ["WyJyIl0="]);
}

/// Cookies, parameters and items of the upstream's own, which no JWT is: they go on as they came.
#[test]
fn what_is_no_token_by_its_shape_is_left_alone() {
    let gate = Gate::start(policy(), Mode::Echo);
    let bearer = format!("Bearer {}", Token::new(Algorithm::HS256).sign());
    let flask = "theme=dark; session=eyJfZnJlc2giOmZhbHNlfQ.ZxYzAQ.sfl2kJ8d; lang=en";
    let phoenix = "?token=SFMyNTY.g2gDYQFuBgD4.sfl2kJ8d&vsn=2.0.0";
    for (index, path) in ["/open", "/both"].iter().enumerate() {
        let upgrade = Upgrade::to(&format!("{path}{phoenix}")).header("Cookie", flask);
        let upgrade = if index == 0 {
            upgrade.header("Authorization", "Bearer opaque")
        } else {
            upgrade.header("Authorization", bearer.as_str())
        };
        drop(gate.client.open(&upgrade).expect("it is accepted"));
        let head = gate.request(&format!("{path}{phoenix}"), |_| true).head;
        assert_eq!(head.values("cookie").collect::<Vec<_>>(), [flask]);
        assert_eq!(head.value("authorization"), (index == 0).then_some("Bearer opaque"));
    }
}

/// A second token, which somebody behind the gate might read, beside a good one.
#[test]
fn no_second_token_is_smuggled_past_in_another_spelling() {
    let gate = Gate::start(policy(), Mode::Echo);
    let good = Token::new(Algorithm::HS256).sign();
    let second = Token::new(Algorithm::HS256).claim("sub", "root").sign();
    let spelled = |by: &str| second.replace('.', by);
    let upgrade = |target: &str| Upgrade::to(target);
    let bearer = format!("Bearer {good}");
    let rows = [
        upgrade("/").header("Cookie", format!("session=\"{}\"", spelled("\\056"))),
        upgrade("/").header("Cookie", format!("session={}", spelled("%2e"))),
        upgrade("/").header("Cookie", format!("session={}==", spelled("%252E"))),
        upgrade("/").header("Cookie", format!("a=1, session={second}")),
        upgrade("/").header("Cookie", format!("a=1 session={second}")),
        upgrade("/").header("Cookie", format!("session=opaque; session={second}")),
        upgrade(&format!("/?token=+{second}+")),
        upgrade(&format!("/?token={}", spelled("%252e"))),
        upgrade(&format!("/?a=1;token={second}")),
        upgrade(&format!("/?token=opaque&%74oken={second}==")),
        upgrade("/").subprotocols(&format!("bearer, chat.v1, {second}")),
        upgrade("/").subprotocols(&format!("chat.v1, bearer.{}", BASE64_URL_SAFE_NO_PAD.encode(format!("{second}==")))),
        upgrade("/").header("Authorization", format!("JWT {second}")),
        upgrade("/").header("Authorization", second.as_str()),
        upgrade("/").header("Authorization", format!("Bearer \"{second}\"")),
        upgrade("/").header("Authorization", format!("Bearer a, {second}")),
    ];
    for (index, row) in rows.iter().enumerate() {
        let answer = gate.client.ask(&row.clone().header("Authorization", bearer.as_str())).expect("Envoy listens");
        assert_eq!((answer.status(), answer.text().as_str()), (400, r#"{"error": "credential_ambiguous"}"#), "{index}");
    }
    assert_eq!(gate.backend.requests().len(), 0);
    gate.wait_for_log(|lines| lines.iter().filter(|line| line["details"].is_string()).count() == rows.len());
    let log = gate.envoy.log().expect("a log");
    check_absent(&second, &log);
}

#[test]
fn every_algorithm_lets_its_good_tokens_in() {
    use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, RS256};
    let gate = Gate::start(policy(), Mode::Echo);
    let algorithms = [RS256, PS256, ES256, ES384, EdDSA, HS256, HS384, HS512];
    for algorithm in algorithms {
        // There are more keys for RS256 than a token is tried with that names none.
        let id = match algorithm {
            ES256 => "p256",
            ES384 => "p384",
            EdDSA => "ed25519",
            _ => "rsa",
        };
        let good = Token::new(algorithm).header("kid", id).sign();
        let open = |token: &str| {
            gate.client
                .ask(&Upgrade::to("/").header("Authorization", format!("Bearer {token}")))
                .expect("Envoy listens")
                .status()
        };
        assert_eq!(open(&good), 101, "{algorithm:?}");
        // The same key, another text.
        let (input, signature) = good.rsplit_once('.').expect("three parts");
        let (header, _) = input.split_once('.').expect("three parts");
        let other = Token::new(algorithm).claim("sub", "root").sign();
        let claims = other.split('.').nth(1).expect("three parts");
        assert_eq!(open(&format!("{header}.{claims}.{signature}")), 401, "{algorithm:?}");
    }
    let nameless =
        gate.client.ask(&Upgrade::to("/").header("Authorization", format!("Bearer {}", Token::new(RS256).sign())));
    assert_eq!(nameless.expect("Envoy listens").status(), 401);
    let mut counters = Counters::default();
    for _ in algorithms {
        counters.closed("peer");
        counters.refused("credential_invalid");
    }
    counters.refused("credential_invalid");
    gate.check_counters(&counters);
}

/// Neither the token nor a part of it that only it has, in any of its spellings.
#[track_caller]
pub(crate) fn check_absent(token: &str, text: &str) {
    let (claims, signature) = token.split_once('.').and_then(|(_, rest)| rest.split_once('.')).expect("three parts");
    for secret in [claims, signature, &BASE64_URL_SAFE_NO_PAD.encode(token)] {
        assert!(!text.contains(secret), "a token is in {text}");
    }
}

/// The token as a whole, in one of its spellings.
pub(crate) fn is_told(token: &str, text: &str) -> bool {
    text.contains(token) || text.contains(&BASE64_URL_SAFE_NO_PAD.encode(token))
}

#[track_caller]
fn check_identity(head: &Head, user: &[&str], role: &[&str]) {
    assert_eq!(head.values("x-user").collect::<Vec<_>>(), user);
    assert_eq!(head.values("x-role").collect::<Vec<_>>(), role);
}
