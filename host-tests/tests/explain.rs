//! `portcullis explain` says what the module does: generated handshakes and messages, each given to both.

use portcullis_core::config;
use portcullis_envoy::explain::{Explainer, Handshake};
use portcullis_host_tests::scenario::{Dice, Gate, policy_with, switching_protocols, token, token_with, upgrade};
use portcullis_host_tests::{Headers, frame};
use serde_json::{Value, json};

/// Where the clock of the host starts, in seconds of Unix time.
const START: u64 = 1_795_305_600;

/// What source the host says requests come from.
const ADDRESS: &str = "203.0.113.7:51234";

fn policies() -> [Value; 4] {
    let by_type = json!({
        "discriminator": "/type", "schemas": {"say": {"required": ["text"]}, "ban": {"type": "object"}}, "otherwise": "refuse",
    });
    [
        policy_with(
            json!({"hosts": ["chat.example.com"], "messages": {"from_client": {"rule_sets": ["sql_injection", "cross_site_scripting"]}}}),
        ),
        policy_with(json!({
            "auth": {"claim_headers": {"sub": "x-user"}, "required": false},
            "messages": {"from_client": {"json": by_type, "authorize": [{"when": {"/type": "ban"}, "claims": {"role": "admin"}}]}},
        })),
        policy_with(json!({
            "mode": "monitor", "subprotocols": {"allow": ["chat.v1"], "required": true},
            "messages": {"from_client": {"deny_patterns": [{"name": "card", "regex": "4[0-9]{15}"}], "max_message_bytes": 40}},
        })),
        policy_with(json!({
            "origin": {"missing": "allow"}, "auth": {"forward": true},
            "messages": {"from_client": {"max_message_bytes": 40}},
            "routes": [{"match": {"path_prefix": "/admin"}, "policy": {"origin": {"allow": ["https://admin.example.com"]}}}],
        })),
    ]
}

fn head(dice: &mut Dice) -> Headers {
    // Mostly what is good, or nothing would get so far that messages are judged.
    let mut pick = |good: &str, others: &[&str]| match dice.below(8) {
        0 => others[dice.below(others.len())].to_owned(),
        _ => good.to_owned(),
    };
    let authority = pick("chat.example.com", &["evil.example", "a b"]);
    let path = pick("/chat", &["/chat?x=1", "/admin/a", "/ADMIN", "/a/../admin", "/%61dmin"]);
    let version = pick("13", &["8"]);
    let origin = pick("https://app.example.com", &["https://admin.example.com", "https://evil.example", "null", ""]);
    let subprotocol = pick("chat.v1, chat.v3", &["", "mqtt", "chat.v2, chat.v1"]);
    let good = token();
    let credential = match dice.below(16) {
        0 => String::new(),
        1 => token_with(json!({"exp": START - 100})),
        2 => token_with(json!({"iss": "https://other.example/"})),
        3 => good.replace('.', "..").replacen("..", ".", 1),
        4 => token_with(json!({"role": "admin"})),
        _ => good,
    };
    let mut head =
        upgrade().replaced(":authority", authority).replaced(":path", path).replaced("sec-websocket-version", version);
    head = if origin.is_empty() { head.without("origin") } else { head.replaced("origin", origin) };
    if !subprotocol.is_empty() {
        head = head.with("sec-websocket-protocol", subprotocol);
    }
    if credential.is_empty() {
        head.without("authorization")
    } else {
        head.replaced("authorization", format!("Bearer {credential}"))
    }
}

const TEXTS: [&str; 10] = [
    "hello",
    "{\"type\": \"say\", \"text\": \"a\"}",
    "{\"type\": \"say\"}",
    "{\"type\": \"ban\"}",
    "{\"type\": \"else\"}",
    "{\"type\": \"say\", \"text\": ",
    "1' OR '1'='1",
    "<script>alert(1)</script>",
    "my card is 4111111111111111",
    "a text that is longer than forty bytes, which is too long",
];

#[test]
fn explain_agrees_with_the_module_on_generated_handshakes_and_messages() {
    let mut dice = Dice(14);
    let (mut handshakes, mut passed, mut refused, mut messages, mut refused_messages) = (0, 0, 0, 0, 0);
    let mut reasons = std::collections::BTreeSet::new();
    for policy in policies() {
        let mut gate = Gate::new(&policy);
        let parsed = config::parse(policy.to_string().as_bytes(), &|_| None).expect("a policy");
        let mut explainer = Explainer::new(parsed, START).expect("a host");
        for _ in 0..125 {
            let head = head(&mut dice);
            let own = Handshake { fields: head.0.clone(), address: ADDRESS.to_owned(), tls: false };
            let texts: Vec<&str> = (0..1 + dice.below(3)).map(|_| TEXTS[dice.below(TEXTS.len())]).collect();
            let is_offered = head.value("sec-websocket-protocol").is_some_and(|offer| offer.contains("chat.v1"));
            let subprotocol = is_offered.then_some("chat.v1");
            let (explained, judged) = explainer.messages(&own, subprotocol, &texts);
            handshakes += 1;

            let stream = gate.request(&head);
            let shown = gate.stream(stream);
            assert_eq!(explained.passes, shown.request.passed, "{policy} {head:?}");
            let reply =
                shown.reply.as_ref().map(|reply| (reply.status, String::from_utf8(reply.body.clone()).unwrap()));
            let told = explained.reply.clone().map(|(status, body)| (u32::from(status), body));
            assert_eq!(told, reply, "{head:?}");
            if !explained.passes {
                refused += 1;
                reasons.insert(explained.reasons.last().expect("a reason").violation.reason());
                assert_eq!(judged, []);
                continue;
            }
            passed += 1;
            let sorted = |mut fields: Vec<(Vec<u8>, Vec<u8>)>| {
                fields.sort();
                fields
            };
            assert_eq!(sorted(explained.upstream.clone()), sorted(shown.request.headers.0.clone()), "{head:?}");

            let answer = subprotocol
                .map_or_else(switching_protocols, |name| switching_protocols().with("sec-websocket-protocol", name));
            gate.respond(stream, &answer);
            for (index, text) in texts.iter().enumerate() {
                let frame = frame::client(frame::TEXT, text.as_bytes());
                let before = gate.stream(stream).request.forwarded.len();
                gate.client(stream, &frame);
                let went_on = gate.stream(stream).request.forwarded[before..] == frame[..];
                let judged = &judged[index];
                assert_eq!(judged.passes, went_on, "{policy} {text}");
                messages += 1;
                if !judged.passes {
                    refused_messages += 1;
                    let answer = judged.reasons.last().expect("a reason").violation.answer();
                    reasons.insert(answer.reason);
                    gate.check_closed(stream, answer.close_code.expect("a code"), answer.reason);
                    break;
                }
            }
            let _ = gate.delete(stream);
        }
    }
    let figures = format!(
        "{handshakes} handshakes, {passed} of them pass; {messages} messages, {refused_messages} refused; {reasons:?}"
    );
    println!("{figures}");
    assert!(
        handshakes == 500 && passed > 100 && refused > 100 && refused_messages > 50 && reasons.len() > 10,
        "{figures}"
    );
}
