//! Upgrades and their answers.

use std::collections::BTreeMap;
use std::thread_local;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_core::effect::Edit;
use portcullis_core::handshake::{Decision, HttpVersion, Opening, Pending, Request};
use portcullis_core::http::headers::Headers;
use portcullis_core::policy::routes::Policies;
use portcullis_core::session::Due;
use portcullis_core::testing;
use portcullis_core::violation::Violation;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::adapter;
use crate::input::Input;
use crate::query::naive_decode;
use crate::token;

type Fields = Vec<(String, Vec<u8>)>;

thread_local! {
    /// What is enforced with credentials taken out, with credentials left in and compression allowed, what is only monitored, and what is
    /// enforced for requests that are no upgrade, too.
    static POLICIES: [Policies; 4] = [
        adapter::policies(&config(json!({"required": true}), "enforce")),
        adapter::policies(&config(json!({"required": false, "forward": true}), "enforce")),
        adapter::policies(&config(json!({"required": true}), "monitor")),
        adapter::policies(&{
            let mut config = config(json!({"required": true}), "enforce");
            config["non_websocket"] = "authenticate".into();
            config
        }),
    ];
    /// The first of them for a request whose credential is gone, and with it perhaps its subprotocol.
    static WITHOUT_CREDENTIAL: Policies = adapter::policies(&config(json!({"required": false}), "enforce"));
}

/// A byte of settings, the lines of a request, an empty line, the lines of a response. `{token}` stands for a good token,
/// `{accept}` for the answer to the request's key.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = input.byte();
    let case = Case {
        policy: usize::from(settings >> 3 & 3),
        protocol: [HttpVersion::Http11, HttpVersion::Multiplexed, HttpVersion::Http10, HttpVersion::Http11]
            [usize::from(settings & 3)],
        tls: settings & 4 != 0,
        end: settings & 32 != 0,
        fields: fields(&mut input, &token::good()),
    };
    let opening = case.check(&case.fields);
    let outcome = case.outcome(&case.fields, &opening);

    let shouted = case.fields.iter().map(|(name, value)| (name.to_ascii_uppercase(), value.clone())).collect();
    assert_eq!(case.outcome(&case.fields, &case.check(&shouted)), outcome, "the case of names matters");
    // Lines of the same name keep their order (RFC 9110 §5.3).
    let mut sorted = case.fields.clone();
    sorted.sort_by(|(a, _), (b, _)| b.cmp(a));
    assert_eq!(case.outcome(&case.fields, &case.check(&sorted)), outcome, "the order of names matters");

    let edited = edit(&case.fields, &opening.edits);
    if opening.credential.is_none() {
        assert!(!edited.iter().any(|(name, _)| is_claim(name)), "a claim of the client is left");
    }
    let goes_on_as_it_came = !opening.would_refuse.is_empty() || matches!(opening.decision, Decision::Pass);
    if !goes_on_as_it_came && matches!(case.policy, 0 | 3) {
        assert_no_credential(&edited);
    }
    match opening.decision {
        Decision::Admit => {
            assert_eq!(case.policy, 3, "judged, where the policy does not say so");
            assert!(!is_upgrade(&edited));
            let is_preflight =
                case.end && case.fields.iter().any(|(name, value)| name == ":method" && value == b"OPTIONS");
            assert!(opening.credential.is_some() || is_preflight, "let in without a credential");
        }
        Decision::Answer(reply) => panic!("{reply:?} of a path that is none of the filter's"),
        Decision::Pass => assert!(case.policy != 3 && !is_upgrade(&edited)),
        Decision::Read(_) => panic!("no policy here has a path for logouts"),
        Decision::Refuse(violation) => {
            assert_ne!(case.policy, 2, "refused in monitor mode");
            assert!(violation.violation.answer().status.is_some(), "{violation:?} has no status");
        }
        Decision::Upgrade(pending) => {
            if opening.would_refuse.is_empty() {
                assert_upgrade(&edited, &case);
                assert!(opening.credential.is_some() || case.policy == 1, "let in without a credential");
                if case.policy == 0 {
                    assert_checked_again(&case, &edited);
                }
            }
            answer(&case, *pending, &edited, &mut input, opening.would_refuse.is_empty());
        }
    }
}

fn config(auth: Value, mode: &str) -> Value {
    let mut config = json!({
        "mode": mode,
        "require_tls": false,
        "compression": if auth["forward"] == json!(true) { "inspect" } else { "refuse" },
        "hosts": ["chat.example.com"],
        "origin": {"allow": ["https://app.example.com"]},
        "auth": {
            "sources": [
                {"header": "authorization"}, {"header": "x-token"}, {"cookie": "session"}, {"subprotocol": "bearer"},
                {"query": "token"},
            ],
            "providers": token::providers(),
            "claim_headers": {"sub": "x-user", "roles": "x-roles"},
        },
    });
    config["auth"].as_object_mut().expect("an object").extend(auth.as_object().expect("an object").clone());
    config
}

struct Case {
    policy: usize,
    protocol: HttpVersion,
    tls: bool,
    end: bool,
    fields: Fields,
}

impl Case {
    fn check(&self, fields: &Fields) -> Opening {
        POLICIES.with(|policies| adapter::check(&policies[self.policy], &self.request(fields)))
    }

    fn request(&self, fields: &Fields) -> Request {
        Request { protocol: self.protocol, tls: self.tls, end: self.end, ..testing::request(headers(fields)) }
    }

    /// What was decided, and the request as it goes on.
    fn outcome(&self, fields: &Fields, opening: &Opening) -> (String, BTreeMap<String, Vec<Vec<u8>>>) {
        let decision = match &opening.decision {
            Decision::Admit => "admit".to_owned(),
            Decision::Answer(reply) => format!("answer: {}", reply.status),
            Decision::Pass => "pass".to_owned(),
            Decision::Read(_) => "read".to_owned(),
            Decision::Refuse(violation) => format!("refuse: {violation:?}"),
            Decision::Upgrade(_) => "upgrade".to_owned(),
        };
        let mut lines: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (name, value) in edit(fields, &opening.edits) {
            lines.entry(name).or_default().push(value);
        }
        (format!("{decision}, would refuse {:?}, {:?}", opening.would_refuse, opening.credential), lines)
    }
}

/// The lines up to an empty one; names in lower case.
fn fields(input: &mut Input<'_>, token: &str) -> Fields {
    let mut fields = Vec::new();
    while !input.is_empty() {
        let line = input.until(b'\n');
        if line.is_empty() {
            break;
        }
        let colon = line.iter().skip(1).position(|byte| *byte == b':').map_or(line.len(), |index| index + 1);
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        fields.push((name, replace(value, b"{token}", token.as_bytes())));
    }
    fields
}

fn replace(text: &[u8], placeholder: &[u8], by: &[u8]) -> Vec<u8> {
    match text.windows(placeholder.len()).position(|window| window == placeholder) {
        None => text.to_vec(),
        Some(index) => [&text[..index], by, &text[index + placeholder.len()..]].concat(),
    }
}

fn headers(fields: &Fields) -> Headers {
    Headers::new(fields.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())).collect())
}

fn edit(fields: &Fields, edits: &[Edit]) -> Fields {
    let mut fields = fields.clone();
    for edit in edits {
        fields.retain(|(name, _)| *name != edit.name);
        fields.extend(edit.values.iter().map(|value| (edit.name.clone(), value.clone())));
    }
    fields
}

fn lines<'a>(fields: &'a Fields, name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_slice()).collect()
}

/// The elements of all lines of a comma-separated field.
fn elements(fields: &Fields, name: &str) -> Vec<String> {
    let line = lines(fields, name).join(&b',');
    let text = String::from_utf8_lossy(&line).into_owned();
    text.split(',')
        .map(|element| element.trim_matches([' ', '\t']).to_owned())
        .filter(|element| !element.is_empty())
        .collect()
}

/// Likewise, where case does not matter.
fn options(fields: &Fields, name: &str) -> Vec<String> {
    elements(fields, name).into_iter().map(|element| element.to_ascii_lowercase()).collect()
}

fn is_deflate(extension: &str) -> bool {
    extension.split(';').next().map(str::trim) == Some("permessage-deflate")
}

fn is_claim(name: &str) -> bool {
    matches!(name.replace('_', "-").as_str(), "x-user" | "x-roles")
}

fn is_upgrade(fields: &Fields) -> bool {
    fields.iter().any(|(name, _)| name == "upgrade" || name.starts_with("sec-websocket-"))
}

/// Looks into every place where the policy says that credentials are.
fn assert_no_credential(fields: &Fields) {
    for name in ["authorization", "x-token", "x_token", "sec-websocket-protocol"] {
        assert!(!lines(fields, name).iter().any(|line| has_token(line)), "a token is left in {name}");
    }
    for pair in lines(fields, "cookie").iter().flat_map(|line| line.split(|byte| *byte == b';')) {
        let text = String::from_utf8_lossy(pair);
        let key = text.split_once('=').map(|(key, _)| key.trim_matches([' ', '\t']));
        assert!(key != Some("session") || !has_token(pair), "a token is left in a cookie");
    }
    // No proxy has two targets for one request.
    for target in lines(fields, ":path").iter().take(1) {
        let query = target.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
        for parameter in query.split(|byte| *byte == b'&') {
            let key = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
            assert!(naive_decode(key) != b"token" || !has_token(parameter), "a token is left in the query");
        }
    }
    for name in elements(fields, "sec-websocket-protocol") {
        assert_ne!(name, "bearer", "the marker of a credential is left");
        let encoded = name.strip_prefix("bearer.").and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok());
        assert!(!encoded.is_some_and(|token| has_token(&token)), "a token is left in the subprotocols");
    }
}

/// Whether a JWT stands in the text: by its own alphabet, percent-encoded or not.
fn has_token(text: &[u8]) -> bool {
    let decoded = naive_decode(text);
    let is_text = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    decoded.split(|byte| !is_text(byte)).any(|word| {
        let parts: Vec<&[u8]> = word.split(|byte| *byte == b'.').collect();
        let header = URL_SAFE_NO_PAD.decode(parts[0]).unwrap_or_default();
        let header: Value = serde_json::from_slice(&header).unwrap_or_default();
        parts.len() == 3 && header.get("alg").is_some()
    })
}

/// What every upgrade has when it goes on (RFC 6455 §4.1).
fn assert_upgrade(fields: &Fields, case: &Case) {
    let protocol = case.protocol;
    let one = |name: &str| match lines(fields, name).as_slice() {
        [line] => String::from_utf8_lossy(line).trim_matches([' ', '\t']).to_owned(),
        lines => panic!("{} lines of {name}", lines.len()),
    };
    assert_eq!(one(":method"), "GET");
    assert_eq!(one("sec-websocket-version"), "13");
    assert_eq!(STANDARD.decode(one("sec-websocket-key")).map(|key| key.len()), Ok(16));
    assert_eq!(options(fields, "upgrade"), ["websocket"]);
    let connection = options(fields, "connection");
    assert!(connection.iter().any(|option| option == "upgrade") || protocol == HttpVersion::Multiplexed);
    assert!(connection.iter().all(|option| matches!(option.as_str(), "upgrade" | "keep-alive" | "close")));
    assert_ne!(protocol, HttpVersion::Http10);
    let path = one(":path");
    assert!(path.starts_with('/') && path.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#'), "{path}");
    let authorities = [lines(fields, ":authority"), lines(fields, "host")].concat();
    let authority = String::from_utf8_lossy(authorities[0]).to_ascii_lowercase();
    assert!(authorities.iter().all(|line| *line == authorities[0]), "two hosts");
    let port = authority.strip_prefix("chat.example.com").expect("our host");
    assert!(port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()), "{authority}");
    let origin = one("origin").to_ascii_lowercase();
    let port = origin.strip_prefix("https://app.example.com").expect("an origin that may ask");
    assert!(port.is_empty() || port.strip_prefix(':').map(str::parse) == Some(Ok(443)), "{origin}");
    assert_eq!(lines(fields, "transfer-encoding").len(), 0);
    assert!(elements(fields, "content-length").iter().all(|length| length == "0"));
    let protocols: Vec<u8> = lines(fields, "sec-websocket-protocol").join(&b',');
    let protocols = String::from_utf8(protocols).expect("subprotocols are tokens");
    let mut names: Vec<&str> = protocols.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]) || protocols.contains("bearer"), "a name stands twice");
    for name in fields.iter().map(|(name, _)| name.replace('_', "-")) {
        assert!(!matches!(name.as_str(), "sec-websocket-key1" | "sec-websocket-key2" | "sec-websocket-draft"));
    }
    let extensions = options(fields, "sec-websocket-extensions");
    assert!(extensions.is_empty() || case.policy == 1, "an extension is offered");
    assert!(extensions.iter().all(|extension| is_deflate(extension)), "another extension is offered");
}

/// What goes on is an upgrade that has no credential any more.
fn assert_checked_again(case: &Case, edited: &Fields) {
    let opening = WITHOUT_CREDENTIAL.with(|policies| adapter::check(policies, &case.request(edited)));
    assert!(matches!(opening.decision, Decision::Upgrade(_)), "{:?}", opening.decision);
    assert!(opening.credential.is_none(), "a credential is left");
    for edit in opening.edits.iter().filter(|edit| !is_claim(&edit.name)) {
        assert_eq!(lines(edited, &edit.name), edit.values, "{} is changed again", edit.name);
    }
}

/// The answer that the script gives, and the one that a good server gives.
fn answer(case: &Case, pending: Pending, request: &Fields, input: &mut Input<'_>, is_judged: bool) {
    let key = lines(request, "sec-websocket-key").first().copied().unwrap_or_default();
    let key = String::from_utf8_lossy(key).trim_matches([' ', '\t']).to_owned();
    let accept = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
    let mut response = fields(input, "");
    for (_, value) in &mut response {
        *value = replace(value, b"{accept}", accept.as_bytes());
    }
    match pending.check(&headers(&response), adapter::BIRTH) {
        Err(Violation::UpstreamRefused) => assert_ne!(lines(&response, ":status"), [b"101"]),
        Err(violation) => {
            assert_eq!(violation, Violation::BadUpstreamHandshake);
            assert_ne!(case.policy, 2, "refused in monitor mode");
        }
        Ok(mut opened) => {
            assert_eq!(lines(&response, ":status"), [b"101"]);
            let due = opened.session.tick(adapter::BIRTH.at);
            assert_eq!((opened.session.violation(), due), (None, Due::Nothing));
            if opened.would_refuse.is_none() && is_judged {
                assert_answer(request, &response, &accept);
            }
        }
    }

    let good = [
        (":status", "101"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", accept.as_str()),
    ];
    let mut good: Fields = good.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
    let protocols = lines(request, "sec-websocket-protocol").join(&b',');
    let protocols = protocols.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).find(|name| !name.is_empty());
    good.extend(protocols.filter(|_| is_judged).map(|name| ("sec-websocket-protocol".to_owned(), name.to_vec())));
    let Decision::Upgrade(pending) = case.check(&case.fields).decision else { panic!("decided otherwise") };
    let opened = pending.check(&headers(&good), adapter::BIRTH).expect("a good answer is refused");
    if is_judged {
        assert_eq!(opened.would_refuse, None);
    }
}

/// What a client must check of an answer (RFC 6455 §4.1).
fn assert_answer(request: &Fields, response: &Fields, accept: &str) {
    assert_eq!(
        lines(response, "sec-websocket-accept").iter().map(|line| line.trim_ascii()).collect::<Vec<_>>(),
        [accept.as_bytes()]
    );
    assert!(options(response, "upgrade").iter().any(|name| name == "websocket"));
    assert!(options(response, "connection").iter().any(|name| name == "upgrade"));
    let extensions = options(response, "sec-websocket-extensions");
    let is_offered = !lines(request, "sec-websocket-extensions").is_empty();
    assert!(extensions.len() <= usize::from(is_offered), "an extension that was not offered");
    assert!(extensions.iter().all(|extension| is_deflate(extension)), "another extension");
    let chosen = lines(response, "sec-websocket-protocol");
    assert!(chosen.len() <= 1, "two subprotocols");
    let offered = elements(request, "sec-websocket-protocol");
    for name in elements(response, "sec-websocket-protocol") {
        assert!(offered.contains(&name), "a subprotocol that was not offered");
    }
}
