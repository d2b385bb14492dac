//! `portcullis explain`: what the filter would decide, and by which key.

use std::fmt::Write as _;

use portcullis_core::config::Parsed;
use portcullis_core::violation::Violation;
use portcullis_envoy::explain::{Explained, Explainer, Handshake, Judged, Reason};

/// A handshake for `url` with these header lines, as curl takes them.
///
/// # Errors
/// What is wrong with the URL or a line.
pub(crate) fn handshake(url: &str, lines: &[String], address: &str) -> Result<Handshake, String> {
    let mut handshake = request("GET", url, lines, address)?;
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (name, value) in upgrade {
        if handshake.fields.iter().all(|(own, _)| own != name.as_bytes()) {
            handshake.fields.push((name.into(), value.into()));
        }
    }
    Ok(handshake)
}

/// A request that is no handshake.
///
/// # Errors
/// As [`handshake`].
pub(crate) fn request(method: &str, url: &str, lines: &[String], address: &str) -> Result<Handshake, String> {
    let (scheme, rest) = url.split_once("://").ok_or("expected a URL such as https://chat.example.com/path")?;
    let tls = match scheme {
        "https" | "wss" => true,
        "http" | "ws" => false,
        _ => return Err("expected https, wss, http or ws".to_owned()),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let field = |line: &String| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    let own = lines.iter().map(field).collect::<Option<Vec<_>>>();
    let mut own = own.ok_or("expected a header such as 'Origin: https://app.example.com'")?;
    // As curl has it, the first Host stands in place of the URL's.
    let host = own.iter().find_map(|(name, value)| (name == "host").then(|| value.clone()));
    // And Envoy takes this one from every request before a filter sees it.
    own.retain(|(name, _)| name != "host" && name != "transfer-encoding");
    let authority = host.as_deref().unwrap_or(authority);
    let pseudo = [(":method", method), (":path", &path), (":authority", authority), (":scheme", scheme)];
    let fields = pseudo.into_iter().chain(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let fields = fields.map(|(name, value)| (name.into(), value.into())).collect();
    Ok(Handshake { fields, address: address.to_owned(), tls })
}

/// The answer of the filter to a request that it answers itself: its status, its body, and the reason of a refusal.
///
/// # Errors
/// Where the core does not run.
pub(crate) fn answer(parsed: Parsed, date: u64, request: &Handshake) -> Result<Explained, String> {
    let mut explainer = Explainer::new(parsed, date).map_err(|_| "the core does not run here".to_owned())?;
    Ok(explainer.handshake(request))
}

/// What is decided, in words, and whether all of it passes. Values of headers are shown as they come to the upstream.
///
/// # Errors
/// Where the core does not run, and for a subprotocol that is not offered.
pub(crate) fn explain(
    parsed: Parsed,
    date: u64,
    handshake: &Handshake,
    subprotocol: Option<&str>,
    messages: &[String],
) -> Result<Told, String> {
    if let Some(chosen) = subprotocol.filter(|chosen| !offers(handshake, chosen)) {
        return Err(format!(
            "--subprotocol: the handshake does not offer {chosen}, so no client would take the answer"
        ));
    }
    let failed = |_| "the core does not run here".to_owned();
    let mut explainer = Explainer::new(parsed, date).map_err(failed)?;
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let (explained, judged) = explainer.messages(handshake, subprotocol, &messages);
    let mut text = String::new();
    tell_handshake(&mut text, handshake, &explained);
    for (index, judged) in judged.iter().enumerate() {
        tell_message(&mut text, index.saturating_add(1), judged);
    }
    for index in judged.len()..messages.len() {
        let why = if explained.passes { "the connection has ended" } else { "there is no connection" };
        let _ = writeln!(text, "message {}: not judged: {why}", index.saturating_add(1));
    }
    let is_enforced = |reason: &Reason| !reason.is_monitored;
    let passes = explained.passes && !judged.iter().flat_map(|judged| &judged.reasons).any(is_enforced);
    Ok(Told { text, passes, refusal: explained.reasons.last().map(|reason| reason.violation) })
}

/// Whether a handshake offers this subprotocol (RFC 6455 §4.1).
fn offers(handshake: &Handshake, subprotocol: &str) -> bool {
    let lists = handshake.fields.iter().filter(|(name, _)| name == b"sec-websocket-protocol");
    let mut tokens = lists.flat_map(|(_, list)| list.split(|byte| *byte == b','));
    tokens.any(|token| token.trim_ascii() == subprotocol.as_bytes())
}

/// What is told of a handshake and messages.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) passes: bool,
    /// Why the handshake is refused, or would be.
    pub(crate) refusal: Option<Violation>,
}

/// What the modes of a policy make of a refusal.
const MONITORED: &str = "would be refused (monitored)";

fn tell_handshake(text: &mut String, handshake: &Handshake, explained: &Explained) {
    let verdict = match (explained.passes, &explained.reply) {
        _ if !explained.asks.is_empty() => "not decided here",
        (true, _) if !explained.reasons.is_empty() => MONITORED,
        (true, _) => "passes",
        (false, Some((200..=299, _))) => "answered by the filter",
        (false, _) => "refused",
    };
    let _ = writeln!(text, "handshake: {verdict}");
    for asked in &explained.asks {
        let _ = writeln!(text, "  asks first: {asked}, which cannot be asked here");
    }
    tell_reasons(text, &explained.reasons);
    if let Some((status, body)) = &explained.reply {
        let _ = writeln!(text, "  answer: {status} {body}");
    }
    if explained.passes {
        tell_upstream(text, &handshake.fields, &explained.upstream);
    }
}

/// What the upstream does not get of what the client sent, and gets beside it.
fn tell_upstream(text: &mut String, sent: &[(Vec<u8>, Vec<u8>)], upstream: &[(Vec<u8>, Vec<u8>)]) {
    let values = |fields: &[(Vec<u8>, Vec<u8>)], name: &[u8]| {
        let own = fields.iter().filter(|(other, _)| other == name);
        own.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
    };
    let mut told: Vec<&[u8]> = Vec::new();
    for (name, _) in sent.iter().chain(upstream) {
        let [before, after] = [sent, upstream].map(|fields| values(fields, name));
        if told.contains(&name.as_slice()) || before == after {
            continue;
        }
        told.push(name);
        let shown = String::from_utf8_lossy(name);
        let shown = shown.strip_prefix(':').map_or_else(|| format!("header {shown}"), str::to_owned);
        let (now, kept) = (after.join(", "), cookies(&after));
        let mut removed = cookies(&before);
        removed.retain(|cookie| !kept.contains(cookie));
        let _ = match (name.as_slice(), removed.as_slice()) {
            (b"cookie", [_, ..]) => writeln!(text, "  removed: cookie {}", removed.join(", ")),
            _ if after.is_empty() => writeln!(text, "  removed: {shown}"),
            _ if before.is_empty() => writeln!(text, "  added: {shown}: {now}"),
            _ => writeln!(text, "  changed: {shown}: now {now}"),
        };
    }
}

/// The names of cookies (RFC 6265 §4.2.1).
fn cookies(lines: &[String]) -> Vec<&str> {
    let pairs = lines.iter().flat_map(|line| line.split(';'));
    pairs.filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.trim()).collect()
}

fn tell_message(text: &mut String, number: usize, judged: &Judged) {
    let verdict = match (judged.passes, judged.reasons.as_slice()) {
        (true, []) => "passes",
        (true, _) => MONITORED,
        (false, []) => "kept by the filter",
        (false, _) => "refused",
    };
    let _ = writeln!(text, "message {number}: {verdict}");
    tell_reasons(text, &judged.reasons);
    let last = judged.reasons.last().filter(|_| judged.ends);
    if let Some(code) = last.and_then(|reason| reason.violation.answer().close_code) {
        let _ = writeln!(text, "  close: {code}");
    }
}

/// What of a line of log says which part of the policy it was, and what of the client.
const MEMBERS: [&str; 9] = ["type", "keyword", "instance", "rule", "detail", "kid", "provider", "subject", "policy"];

fn tell_reasons(text: &mut String, reasons: &[Reason]) {
    let is_mixed = reasons.iter().any(|reason| !reason.is_monitored);
    for Reason { violation, is_monitored, line } in reasons {
        let mode = if is_mixed && *is_monitored { " (monitored)" } else { "" };
        let _ = writeln!(text, "  reason: {}{mode}", violation.reason());
        let member = |name: &str| line.as_ref().and_then(|line| line[name].as_str());
        // Without a line it is the key alone; what begins with a dot is of the client's messages.
        let key = match violation.key().strip_prefix('.') {
            Some(key) => format!("messages.from_client.{key}"),
            None => violation.key().to_owned(),
        };
        let at = member("at").unwrap_or(&key);
        if !at.is_empty() {
            let _ = writeln!(text, "  at: {at}");
        }
        for (name, value) in MEMBERS.iter().filter_map(|name| Some((name, member(name)?))) {
            if (*name, value) != ("policy", "base") {
                let _ = writeln!(text, "  {name}: {value}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::config;
    use serde_json::Value;

    use super::*;

    fn run_by(policy: &str, url: &str, lines: &[&str], messages: &[&str]) -> (String, bool) {
        let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let handshake = handshake(url, &own(lines), "192.0.2.1").unwrap();
        let parsed = config::parse(policy.as_bytes(), &|_| None).unwrap();
        let told = explain(parsed, 1_800_000_000, &handshake, None, &own(messages)).unwrap();
        (told.text, told.passes)
    }

    fn run(url: &str, lines: &[&str], messages: &[&str]) -> (String, bool) {
        let policy = r#"{"auth": {"required": false}, "origin": {"allow": ["https://app.example.com"]}, "hosts": ["chat.example.com"],
            "messages": {"from_client": {"json": {}, "rule_sets": ["sql_injection"]}}}"#;
        run_by(policy, url, lines, messages)
    }

    #[test]
    fn a_refusal_names_its_reason_its_answer_and_its_key() {
        let origin = "Origin: https://app.example.com";
        for (url, lines, messages, expected) in [
            ("wss://chat.example.com/a?b", &[origin][..], &["{}"][..], "handshake: passes\nmessage 1: passes\n"),
            (
                "https://chat.example.com",
                &["Origin: https://evil.example"],
                &["{}"],
                "handshake: refused\n  reason: origin_refused\n  at: origin\n  answer: 403 {\"error\": \"origin_refused\"}\nmessage 1: not judged: there is no connection\n",
            ),
            (
                "ws://chat.example.com/",
                &[origin],
                &[],
                "handshake: refused\n  reason: tls_required\n  at: require_tls\n  answer: 403 {\"error\": \"tls_required\"}\n",
            ),
            (
                "wss://chat.example.com/",
                &[origin],
                &["[1]", "{", "[2]"],
                "handshake: passes\nmessage 1: passes\nmessage 2: refused\n  reason: invalid_json\n  at: messages.from_client.json\n  close: 1007\nmessage 3: not judged: the connection has ended\n",
            ),
        ] {
            let (text, is_let) = run(url, lines, messages);
            assert_eq!(text, expected, "{url}");
            assert_eq!(is_let, !expected.contains("refused"));
        }
    }

    #[test]
    fn headers_count_as_curl_sends_them_and_envoy_passes_them_on() {
        let origin = "Origin: https://app.example.com";
        for (url, lines, passes) in [
            ("wss://127.0.0.1:8443/", &[origin, "Host: chat.example.com"][..], true),
            ("wss://chat.example.com:443/", &[origin, "host:chat.example.com"], true),
            ("wss://chat.example.com/", &[origin, "HOST: evil.example"], false),
            ("wss://chat.example.com/", &[origin, "Host: chat.example.com", "Host: evil.example"], true),
            ("wss://chat.example.com/", &[origin, "Transfer-Encoding: chunked"], true),
            ("wss://chat.example.com/", &[origin, "Content-Length: 5"], false),
        ] {
            let (text, is_let) = run(url, lines, &[]);
            assert_eq!(is_let, passes, "{url} {lines:?}: {text}");
        }
    }

    #[test]
    fn an_upstream_chooses_what_is_offered() {
        let choose = |chosen: &str| {
            let offers = ["Sec-WebSocket-Protocol: a, b", "sec-websocket-protocol:c"].map(str::to_owned);
            let handshake = handshake("wss://chat.example.com/", &offers, "192.0.2.1").unwrap();
            let policy = br#"{"auth": {"required": false}, "origin": {"missing": "allow"}, "subprotocols": {"allow": ["a", "b", "c"]}}"#;
            explain(config::parse(policy, &|_| None).unwrap(), 0, &handshake, Some(chosen), &[]).map(|told| told.passes)
        };
        assert_eq!(["a", "b", "c"].map(choose), [Ok(true), Ok(true), Ok(true)]);
        assert!(choose("d").is_err_and(|problem| problem.contains("does not offer d")));
        assert!(choose("B").is_err());
    }

    #[test]
    fn what_refuses_a_message_is_named_to_its_keyword_and_place() {
        let policy = r#"{"auth": {"required": false}, "origin": {"missing": "allow"}, "messages": {"from_client": {"json": {
            "discriminator": "/type", "schemas": {"say": {"properties": {"text": {"maxLength": 3}}}}, "otherwise": "refuse"
        }}}}"#;
        let handshake = handshake("wss://chat.example.com/", &[], "192.0.2.1").unwrap();
        let parsed = config::parse(policy.as_bytes(), &|_| None).unwrap();
        let message = r#"{"type": "say", "text": "hello"}"#.to_owned();
        let text = explain(parsed, 1_800_000_000, &handshake, None, &[message]).unwrap().text;
        let expected = "handshake: passes\nmessage 1: refused\n  reason: schema_refused\n  at: messages.from_client.json.schemas.say\n  \
            type: say\n  keyword: maxLength\n  instance: /text\n  close: 1008\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_only_monitored_would_be_refused() {
        let policy = r#"{"mode": "monitor", "auth": {"required": false}, "origin": {"allow": ["https://app.example.com"]},
            "messages": {"from_client": {"json": {}, "rule_sets": ["sql_injection"]}}}"#;
        let attack = r#"{"q": "x' OR '1'='1' --"}"#;
        let (text, passes) = run_by(policy, "wss://a/", &["Origin: https://b.example"], &["{}", attack, "{}"]);
        assert!(passes);
        let expected = "handshake: would be refused (monitored)\n  reason: origin_refused\n  at: origin\nmessage 1: passes\n\
            message 2: would be refused (monitored)\n  reason: pattern_refused\n";
        assert!(text.starts_with(expected) && text.ends_with("\nmessage 3: passes\n"), "{text}");
        // A part of it is enforced.
        let policy = r#"{"auth": {"required": false}, "origin": {"missing": "allow"},
            "limits": {"mode": "monitor", "per_connection": {"messages": {"per_second": 1, "burst": 1}}},
            "messages": {"from_client": {"deny_patterns": [{"name": "b", "regex": "b"}]}}}"#;
        let (text, passes) = run_by(policy, "wss://a/", &[], &["a", "a", "b"]);
        assert!(!passes);
        let expected = "handshake: passes\nmessage 1: passes\nmessage 2: would be refused (monitored)\n  reason: rate_exceeded\n  at: limits.per_connection.messages\n\
            message 3: refused\n  reason: rate_exceeded (monitored)\n  at: limits.per_connection.messages\n  reason: pattern_refused\n  \
            at: messages.from_client.deny_patterns[0]\n  rule: b\n  close: 1008\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_swallowed_does_not_end_the_connection() {
        let policy = r#"{"auth": {"required": false}, "origin": {"missing": "allow"},
            "limits": {"per_connection": {"messages": {"per_second": 1, "burst": 1}}, "on_excess": "drop"}}"#;
        let (text, passes) = run_by(policy, "wss://a/", &[], &["1", "2", "3"]);
        assert!(!passes);
        let refused = |number: u8| {
            format!("message {number}: refused\n  reason: rate_exceeded\n  at: limits.per_connection.messages\n")
        };
        assert_eq!(text, format!("handshake: passes\nmessage 1: passes\n{}{}", refused(2), refused(3)));
        let (text, _) = run_by(&policy.replace("drop", "close"), "wss://a/", &[], &["1", "2", "3"]);
        let closed = "  close: 1008\nmessage 3: not judged: the connection has ended\n";
        assert_eq!(text, format!("handshake: passes\nmessage 1: passes\n{}{closed}", refused(2)));
    }

    #[test]
    fn what_the_upstream_gets_is_said_in_words_and_no_secret_is() {
        let (mut text, secret) = (String::new(), "s3cret");
        let field = |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let fields = |list: &[(&str, &str)]| list.iter().map(field).collect::<Vec<_>>();
        let sent = [
            (":path", "/?ticket=s3cret&a=b"),
            ("cookie", "session=s3cret; theme=dark"),
            ("cookie", "a=b"),
            ("authorization", "Bearer s3cret"),
            ("origin", "https://a.example"),
        ];
        let upstream =
            [(":path", "/?a=b"), ("cookie", "theme=dark; a=b"), ("origin", "https://a.example"), ("x-user", "alice")];
        tell_upstream(&mut text, &fields(&sent), &fields(&upstream));
        let expected = "  changed: path: now /?a=b\n  removed: cookie session\n  removed: header authorization\n  added: header x-user: alice\n";
        assert_eq!(text, expected);
        assert!(!text.contains(secret));
        text.clear();
        tell_upstream(&mut text, &fields(&[("cookie", "session=s3cret")]), &[]);
        assert_eq!(text, "  removed: cookie session\n");
    }

    /// As an Envoy with the same keys does.
    #[test]
    fn a_ticket_is_good_for_the_handshake_that_it_was_issued_for() {
        let policy = r#"{"origin": {"allow": ["https://app.example.com"]}, "limits": {"global": {"cluster": "limits", "domain": "chat"}}, "auth": {
            "sources": [{"header": "authorization"}, {"ticket": "ticket"}],
            "providers": [{"name": "a", "issuer": "i", "audiences": ["x"], "algorithms": ["HS256"], "jwks": {"secret": {"env": "KEY"}}}],
            "tickets": {"path": "/ws-ticket", "keys": [{"env": "TICKET_KEY"}], "store": {"rate_limit_service": true}}
        }}"#;
        const SECRET: &str = "a secret of thirty-two bytes, or more";
        // Not at the turn of an hour, where a service begins to count anew.
        const NOW: u64 = 1_800_000_100;
        let parsed = || config::parse(policy.as_bytes(), &|name| Some(SECRET.repeat(name.len()))).unwrap();
        let claims =
            [("iss", "i"), ("aud", "x"), ("sub", "alice")].map(|(name, value)| (name.to_owned(), value.into()));
        let secret = SECRET.repeat("KEY".len());
        let signer = crate::keys::Signer::Secret(&secret);
        let times = (NOW, 300);
        let token = crate::keys::token(&signer, None, claims.into_iter().collect(), times).unwrap();
        let headers = |origin: &str| [format!("Origin: {origin}"), format!("Authorization: Bearer {token}")];
        let page = "https://app.example.com";
        let asked = request("POST", "https://chat.example.com/ws-ticket", &headers(page), "192.0.2.1").unwrap();
        let (status, body) = answer(parsed(), NOW, &asked).unwrap().reply.unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["expires_in"]), (201, &30.into()));

        let url = format!("wss://chat.example.com/?ticket={}", body["ticket"].as_str().unwrap());
        let verdict = |address: &str| {
            let handshake = handshake(&url, &headers(page)[..1], address).unwrap();
            explain(parsed(), NOW, &handshake, None, &[]).unwrap().text
        };
        assert!(verdict("192.0.2.1").starts_with("handshake: passes"));
        assert!(verdict("192.0.2.2").contains("reason: ticket_invalid"));
    }

    #[test]
    fn what_is_no_url_and_no_header_is_said() {
        assert!(handshake("chat.example.com", &[], "").is_err());
        assert!(handshake("ftp://chat.example.com", &[], "").is_err());
        assert!(handshake("wss://chat.example.com", &["Origin".to_owned()], "").is_err());
    }
}
