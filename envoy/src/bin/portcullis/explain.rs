//! `portcullis explain`: what the filter would decide, and by which key.

use std::fmt::Write as _;

use portcullis_core::config::Parsed;
use portcullis_core::violation::Violation;
use portcullis_envoy::explain::{Explained, Explainer, Handshake, Judged};

/// A handshake for `url` with these header lines, as curl takes them.
///
/// # Errors
/// What is wrong with the URL or a line.
pub(crate) fn handshake(url: &str, lines: &[String], address: &str) -> Result<Handshake, String> {
    let (scheme, rest) = url.split_once("://").ok_or("expected a URL such as https://chat.example.com/path")?;
    let tls = match scheme {
        "https" | "wss" => true,
        "http" | "ws" => false,
        _ => return Err("expected https, wss, http or ws".to_owned()),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, value) in [(":method", "GET"), (":path", &path), (":authority", authority), (":scheme", scheme)] {
        fields.push((name.into(), value.into()));
    }
    for line in lines {
        let (name, value) =
            line.split_once(':').ok_or("expected a header such as 'Origin: https://app.example.com'")?;
        fields.push((name.trim().to_ascii_lowercase().into_bytes(), value.trim().into()));
    }
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (name, value) in upgrade {
        if fields.iter().all(|(own, _)| own != name.as_bytes()) {
            fields.push((name.into(), value.into()));
        }
    }
    Ok(Handshake { fields, address: address.to_owned(), tls })
}

/// What is decided, in words. Values of headers are shown as they were given.
pub(crate) fn explain(
    parsed: Parsed,
    date: u64,
    handshake: &Handshake,
    subprotocol: Option<&str>,
    messages: &[String],
) -> Result<(String, bool), String> {
    let failed = |_| "the core does not run here".to_owned();
    let mut explainer = Explainer::new(parsed, date).map_err(failed)?;
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let (explained, judged) = explainer.messages(handshake, subprotocol, &messages);
    let mut text = String::new();
    tell_handshake(&mut text, handshake, &explained);
    for (index, judged) in judged.iter().enumerate() {
        tell_message(&mut text, index.saturating_add(1), judged);
    }
    let is_let = explained.passes && judged.iter().all(|judged| judged.passes);
    Ok((text, is_let))
}

fn tell_handshake(text: &mut String, handshake: &Handshake, explained: &Explained) {
    let verdict = match (explained.passes, &explained.reply) {
        _ if !explained.asks.is_empty() => "not decided here",
        (true, _) => "passes",
        (false, Some((200..=299, _))) => "answered by the filter",
        (false, _) => "refused",
    };
    let _ = writeln!(text, "handshake: {verdict}");
    for asked in &explained.asks {
        let _ = writeln!(text, "  asks first: {asked}, which cannot be asked here");
    }
    tell_violation(text, explained.violation, explained.passes);
    if let Some((status, body)) = &explained.reply {
        let _ = writeln!(text, "  answer: {status} {body}");
    }
    if explained.passes {
        let removed = handshake.fields.iter().filter(|field| !explained.upstream.contains(field));
        let added = explained.upstream.iter().filter(|field| !handshake.fields.contains(field));
        let signed = removed.map(|field| ('-', field)).chain(added.map(|field| ('+', field)));
        for (sign, (name, value)) in signed {
            let [name, value] = [name, value].map(|part| String::from_utf8_lossy(part));
            let _ = writeln!(text, "  upstream: {sign} {name}: {value}");
        }
    }
}

fn tell_message(text: &mut String, number: usize, judged: &Judged) {
    let verdict = if judged.passes { "passes" } else { "refused" };
    let _ = writeln!(text, "message {number}: {verdict}");
    tell_violation(text, judged.violation, judged.passes);
    if let Some(rule) = &judged.rule {
        let _ = writeln!(text, "  rule: {rule}");
    }
    if let Some(code) = judged.violation.and_then(|violation| violation.answer().close_code).filter(|_| !judged.passes)
    {
        let _ = writeln!(text, "  close: {code}");
    }
}

fn tell_violation(text: &mut String, violation: Option<Violation>, passes: bool) {
    let Some(violation) = violation else { return };
    let mode = if passes { " (mode: monitor)" } else { "" };
    let _ = writeln!(text, "  reason: {}{mode}", violation.reason());
    if let Some(key) = key(violation.reason()) {
        let _ = writeln!(text, "  policy: {key}");
    }
}

/// The key of the policy that a reason comes from, where it is one.
fn key(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "tls_required" => "require_tls",
        "host_refused" => "hosts",
        "not_websocket" => "non_websocket",
        "origin_refused" => "origin",
        "subprotocol_refused" => "subprotocols",
        "credential_missing" => "auth.required and auth.sources",
        "credential_ambiguous" => "auth.sources",
        "credential_invalid" | "credential_expired" => "auth.providers",
        "ticket_invalid" | "ticket_used" => "auth.tickets",
        "claim_refused" => "auth.providers[].require",
        "type_refused" => "messages.from_client.text and binary",
        "invalid_utf8" => "messages.from_client.utf8",
        "invalid_json" | "json_refused" => "messages.from_client.json",
        "schema_refused" => "messages.from_client.json or envelope",
        "pattern_refused" => "messages.from_client.deny_patterns or rule_sets",
        "not_authorized" => "messages.from_client.authorize",
        "tunnel_refused" => "messages.from_client.tunnels",
        "message_too_big" => "messages.from_client.max_message_bytes or max_frame_bytes",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use portcullis_core::config;

    use super::*;

    fn run(url: &str, lines: &[&str], messages: &[&str]) -> (String, bool) {
        let policy = r#"{"auth": {"required": false}, "origin": {"allow": ["https://app.example.com"]}, "hosts": ["chat.example.com"],
            "messages": {"from_client": {"json": {}, "rule_sets": ["sql_injection"]}}}"#;
        let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let handshake = handshake(url, &own(lines), "192.0.2.1").unwrap();
        let parsed = config::parse(policy.as_bytes(), &|_| None).unwrap();
        explain(parsed, 1_800_000_000, &handshake, None, &own(messages)).unwrap()
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
                "handshake: refused\n  reason: origin_refused\n  policy: origin\n  answer: 403 {\"error\": \"origin_refused\"}\n",
            ),
            (
                "ws://chat.example.com/",
                &[origin],
                &[],
                "handshake: refused\n  reason: tls_required\n  policy: require_tls\n  answer: 403 {\"error\": \"tls_required\"}\n",
            ),
            (
                "wss://chat.example.com/",
                &[origin],
                &["[1]", "{"],
                "handshake: passes\nmessage 1: passes\nmessage 2: refused\n  reason: invalid_json\n  policy: messages.from_client.json\n  close: 1007\n",
            ),
        ] {
            let (text, is_let) = run(url, lines, messages);
            assert_eq!(text, expected, "{url}");
            assert_eq!(is_let, !expected.contains("refused"));
        }
    }

    #[test]
    fn what_is_no_url_and_no_header_is_said() {
        assert!(handshake("chat.example.com", &[], "").is_err());
        assert!(handshake("ftp://chat.example.com", &[], "").is_err());
        assert!(handshake("wss://chat.example.com", &["Origin".to_owned()], "").is_err());
    }
}
