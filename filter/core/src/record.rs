//! Lines of log: one of JSON for each refusal and each connection that ended.
//!
//! They carry reasons, addresses and sizes, never a payload and never a credential, in printable ASCII.
//!
//! ```text
//! {"event":"refused","stream":7,"reason":"origin_refused","address":"203.0.113.7:51234","host":"chat.example.com","path":"/chat",…}
//! ```

mod shown;

use crate::effect::{Effect, Level};
use crate::http::headers::Headers;
use crate::policy::Mode;
use crate::token::Verified;
use crate::violation::Violation;

/// The longest text of a peer in a line, in bytes: an origin or path beyond it tells nothing more.
const TEXT_LEN_MAX: usize = 256;

/// The members of a line.
const NAMES: [&str; 7] = ["address", "host", "path", "origin", "request_id", "provider", "subject"];

/// The client and request that a line is about. Each connection keeps one all its life, so names are not among it.
#[derive(Debug, Default)]
pub struct Record {
    /// What is known, in the order of [`NAMES`], with spaces between, which no [`printable`] text has.
    texts: Box<str>,
}

impl Record {
    /// What is known from a request; `address` is the host's word for the client.
    #[must_use]
    pub fn new(address: &[u8], headers: &Headers, credential: Option<&Verified>) -> Self {
        let header = |name| headers.all(name).next().unwrap_or_default();
        let provider = credential.map(Verified::provider).unwrap_or_default();
        let subject = credential.and_then(Verified::subject).unwrap_or_default();
        let texts = [
            printable(address),
            printable(shown::host(header(":authority"))),
            shown::path(header(":path")),
            printable(&shown::origin(header("origin"))),
            printable(header("x-request-id")),
            printable(provider.as_bytes()),
            printable(subject.as_bytes()),
        ];
        Self { texts: texts.join(" ").into_boxed_str() }
    }

    /// It is known by now who the client is.
    pub fn identify(&mut self, credential: &Verified) {
        let known = self.texts.split(' ').take(NAMES.len().saturating_sub(2));
        let provider = printable(credential.provider().as_bytes());
        let subject = printable(credential.subject().unwrap_or_default().as_bytes());
        let texts: Vec<&str> = known.chain([provider.as_str(), subject.as_str()]).collect();
        self.texts = texts.join(" ").into_boxed_str();
    }

    /// A refusal, or what monitor mode let pass, with the rule or protocol that was found.
    #[must_use]
    pub fn refused(&self, stream: u32, violation: Violation, rule: Option<&str>, mode: Mode) -> Effect {
        let event = match mode {
            Mode::Enforce => "refused",
            Mode::Monitor => "would_refuse",
        };
        let rule = rule.map(|rule| format!(",\"rule\":\"{rule}\"")).unwrap_or_default();
        self.line(Level::Warn, stream, event, violation.reason(), &rule)
    }

    /// The end of a connection that lived for `millis`, and how often it broke a rule in monitor mode without a line of its own.
    #[must_use]
    pub fn closed(&self, stream: u32, violation: Option<Violation>, millis: u64, unlogged_count: u32) -> Effect {
        let reason = violation.map_or("peer", Violation::reason);
        let unlogged = match unlogged_count {
            0 => String::new(),
            count => format!(",\"unlogged\":{count}"),
        };
        self.line(Level::Info, stream, "closed", reason, &format!(",\"duration_ms\":{millis}{unlogged}"))
    }

    fn line(&self, level: Level, stream: u32, event: &str, reason: &str, more: &str) -> Effect {
        let known = NAMES.iter().zip(self.texts.split(' ')).filter(|(_, text)| !text.is_empty());
        let members: String = known.map(|(name, text)| format!(",\"{name}\":\"{text}\"")).collect();
        let line = format!("{{\"event\":\"{event}\",\"stream\":{stream},\"reason\":\"{reason}\"{more}{members}}}");
        Effect::Log(level, line)
    }
}

/// A peer's text as visible ASCII, everything else percent-encoded, cut at [`TEXT_LEN_MAX`]: no line breaks, escapes or
/// letters that run the other way reach a log, and nothing that ends a JSON string.
fn printable(text: &[u8]) -> String {
    let mut printable = String::new();
    for byte in text.iter().take(TEXT_LEN_MAX) {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'"' | b'%' | b'\\') => printable.push(char::from(*byte)),
            byte => printable.push_str(&format!("%{byte:02X}")),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_peers_say() {
        let fields = [(":path", "/a\"b?token=x"), ("origin", "https://x.example\r\n"), ("x-request-id", "")];
        let fields = fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let record = Record::new(b"@\x1b[31m\\", &Headers::new(fields.to_vec()), None);
        let Effect::Log(Level::Warn, line) = record.refused(7, Violation::BadUpgrade, Some("card"), Mode::Enforce)
        else {
            panic!("no line")
        };
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            line,
            serde_json::json!({
                "event": "refused", "stream": 7, "reason": "bad_upgrade", "rule": "card", "address": "@%1B[31m%5C", "path": "/a%22b",
                "origin": "https://x.example%0D%0A",
            })
        );
        let Effect::Log(Level::Info, line) = record.closed(7, None, 12, 3) else { panic!("no line") };
        assert!(
            line.starts_with(
                "{\"event\":\"closed\",\"stream\":7,\"reason\":\"peer\",\"duration_ms\":12,\"unlogged\":3,"
            ),
            "{line}"
        );
    }
}
