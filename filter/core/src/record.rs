//! Lines of log: one of JSON for each refusal, and for each connection that opens or ends.
//!
//! They carry reasons, addresses and sizes, never a payload and never a credential, in printable ASCII.
//!
//! ```text
//! {"event":"refused","connection":"5bd1e995-7","policy":"base","reason":"origin_refused","at":"origin","address":"203.0.113.7:51234",…}
//! ```

mod shown;

use std::borrow::Cow;

use crate::effect::{Described, Effect, Level};
use crate::http::headers::Headers;
use crate::limits::address::Address;
use crate::limits::table::FailureRules;
use crate::mode::Mode;
use crate::refusal::{Cause, Detail, Refusal};
use crate::token::Verified;
use crate::violation::Violation;
use crate::wire::{Side, Sides};

/// The longest text of a peer in a line, in bytes: an origin or path beyond it tells nothing more.
const TEXT_LEN_MAX: usize = 256;

/// The longest `user_agent`, in bytes: each connection keeps its own.
const AGENT_LEN_MAX: usize = 64;

/// The members of a line that are told of a request.
const NAMES: [&str; 8] = ["address", "host", "path", "origin", "request_id", "user_agent", "provider", "subject"];

/// What the proxy's own log may print, as the members of a line without the prefix.
const REASON: &str = "portcullis_reason";
const BY: &str = "portcullis_by";
const CODE: &str = "portcullis_code";
const MESSAGES_FROM_CLIENT: &str = "portcullis_messages_from_client";
const MESSAGES_FROM_SERVER: &str = "portcullis_messages_from_server";
const PROVIDER: &str = "portcullis_provider";
const SUBJECT: &str = "portcullis_subject";

/// How many there are of them.
const DESCRIBED_MAX: usize = 7;

/// How much of a line is not [texts](Record), or a little less: where it is more, the line is copied once.
const LINE_LEN: usize = 192;

/// The client and request that a line is about. Each connection keeps one all its life, so names are not among it.
#[derive(Debug, Default)]
pub struct Record {
    /// What is known, in the order of [`NAMES`], with spaces between, which no [`printable`] text has.
    texts: Box<str>,
    /// The address, or its subnet, as a number: addresses that have one share their lines.
    group: u64,
}

impl Record {
    /// What is known from a request; `address` is the host's word for the client.
    #[must_use]
    pub fn new(address: &[u8], headers: &Headers, credential: Option<&Verified>) -> Self {
        let header = |name| headers.all(name).next().unwrap_or_default();
        let agent = header("user-agent");
        let provider = credential.map(Verified::provider).unwrap_or_default();
        let subject = credential.and_then(Verified::subject).unwrap_or_default();
        let texts = [
            printable(address),
            printable(shown::host(header(":authority"))),
            shown::path(header(":path")),
            printable(&shown::origin(header("origin"))),
            printable(header("x-request-id")),
            printable(agent.get(..AGENT_LEN_MAX).unwrap_or(agent)),
            printable(provider.as_bytes()),
            printable(subject.as_bytes()),
        ];
        Self { texts: texts.join(" ").into_boxed_str(), group: Address::parse(address).map_or(0, group) }
    }

    /// What lines are counted by: the same for addresses of one subnet.
    #[must_use]
    pub const fn group(&self) -> u64 {
        self.group
    }

    /// It is known by now who the client is.
    pub fn identify(&mut self, credential: &Verified) {
        let known = self.texts.split(' ').take(NAMES.len().saturating_sub(2));
        let provider = printable(credential.provider().as_bytes());
        let subject = printable(credential.subject().unwrap_or_default().as_bytes());
        let texts: Vec<&str> = known.chain([provider.as_str(), subject.as_str()]).collect();
        self.texts = texts.join(" ").into_boxed_str();
    }

    /// A refusal, or what passed and would have been refused, of what a side sent, and how often.
    #[must_use]
    pub fn refused(&self, of: Scene<'_>, refusal: &Refusal, from: Option<Side>, (mode, count): (Mode, u32)) -> Effect {
        let Refusal { violation, cause } = refusal;
        let event = match mode {
            Mode::Enforce => "refused",
            Mode::Monitor => "would_refuse",
        };
        let mut line = self.line(of, event);
        line.add("reason", violation.reason());
        let side = match from {
            Some(Side::Client) => "client",
            Some(Side::Server) => "server",
            None => "",
        };
        line.add("from", side);
        let nothing = Cause::default();
        let cause = cause.as_deref().unwrap_or(&nothing);
        let key = if cause.at.is_empty() { violation.key() } else { &cause.at };
        match key.strip_prefix('.') {
            Some(key) => line.add_text("at", &format!("messages.from_{side}.{key}")),
            None => line.add_text("at", key),
        }
        line.add("detail", cause.detail.map_or("", Detail::name));
        line.add_text("kid", cause.key_id.as_deref().unwrap_or_default());
        line.add_text("rule", cause.rule.as_deref().unwrap_or_default());
        line.add_text("type", &shown::name(cause.kind.as_deref().unwrap_or_default()));
        line.add("keyword", cause.keyword.unwrap_or_default());
        let instance = cause.instance.as_deref().unwrap_or_default();
        line.add_text("instance", &instance.split('/').map(shown::name).collect::<Vec<_>>().join("/"));
        if count > 1 {
            line.add_number("count", count.into());
        }
        let holder = cause.holder.as_ref().map(|(provider, subject)| (provider.as_str(), subject.as_str()));
        Effect::Log(Level::Warn, self.told(line, holder))
    }

    /// An address that is banned from now on; `failure` is its last one.
    #[must_use]
    pub fn banned(&self, of: Scene<'_>, failure: Option<&Refusal>, rules: &FailureRules) -> Effect {
        let mut line = self.line(of, "banned");
        line.add("reason", failure.map_or("", |failure| failure.violation.reason()));
        let cause = failure.and_then(|failure| failure.cause.as_deref());
        line.add("at", Violation::Banned.key());
        line.add("detail", cause.and_then(|cause| cause.detail).map_or("", Detail::name));
        line.add_number("failures", rules.count.into());
        line.add_number("window_s", rules.window.as_secs());
        line.add_number("ban_s", rules.ban.as_secs());
        let holder = cause.and_then(|cause| cause.holder.as_ref());
        let holder = holder.map(|(provider, subject)| (provider.as_str(), subject.as_str()));
        Effect::Log(Level::Warn, self.told(line, holder))
    }

    /// A connection that is up.
    #[must_use]
    pub fn opened(&self, of: Scene<'_>) -> Effect {
        Effect::Log(Level::Info, self.told(self.line(of, "opened"), None))
    }

    /// The end of a connection.
    #[must_use]
    pub fn closed(&self, of: Scene<'_>, end: &End) -> Effect {
        let End { violation: _, by, code, duration_millis, sent } = end;
        let mut line = self.line(of, "closed");
        line.add("reason", end.reason());
        line.add("by", by);
        if let Some(code) = code {
            line.add_number("code", u64::from(*code));
        }
        line.add_number("duration_ms", *duration_millis);
        line.add_number("messages_from_client", sent.client.messages);
        line.add_number("messages_from_server", sent.server.messages);
        line.add_number("bytes_from_client", sent.client.bytes);
        line.add_number("bytes_from_server", sent.server.bytes);
        Effect::Log(Level::Info, self.told(line, None))
    }

    /// Why a request was refused, and whose it was, for the proxy's own log.
    #[must_use]
    pub fn describe_refusal(&self, violation: Violation, cause: Option<&Cause>) -> Effect {
        let mut known = vec![(REASON, Cow::Borrowed(violation.reason()))];
        match cause.and_then(|cause| cause.holder.as_ref()) {
            Some((provider, subject)) => {
                add_client(&mut known, &printable(provider.as_bytes()), &printable(subject.as_bytes()))
            }
            None => self.add_client(&mut known),
        }
        Effect::Describe(known)
    }

    /// How a connection ended, and whose it was, likewise.
    #[must_use]
    pub fn describe_end(&self, end: &End) -> Effect {
        let mut known = Vec::with_capacity(DESCRIBED_MAX);
        known.push((REASON, Cow::Borrowed(end.reason())));
        if !end.by.is_empty() {
            known.push((BY, Cow::Borrowed(end.by)));
        }
        if let Some(code) = end.code {
            known.push((CODE, code.to_string().into()));
        }
        known.push((MESSAGES_FROM_CLIENT, end.sent.client.messages.to_string().into()));
        known.push((MESSAGES_FROM_SERVER, end.sent.server.messages.to_string().into()));
        self.add_client(&mut known);
        Effect::Describe(known)
    }

    fn add_client(&self, known: &mut Described) {
        // From behind: they are the last of [`NAMES`].
        let mut texts = self.texts.rsplit(' ');
        let (subject, provider) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        add_client(known, provider, subject);
    }

    fn line(&self, of: Scene<'_>, event: &str) -> Line {
        let mut line = Line::new(event, self.texts.len());
        line.add("connection", &format!("{:08x}-{}", of.worker, of.stream));
        line.add_text("policy", of.policy);
        line
    }

    /// The line with what is known of the request; `holder` is whose credential it came with, where that is not good.
    fn told(&self, mut line: Line, holder: Option<(&str, &str)>) -> String {
        for (name, text) in NAMES.iter().zip(self.texts.split(' ')) {
            match (*name, holder) {
                ("provider", Some((provider, _))) => line.add_text(name, provider),
                ("subject", Some((_, subject))) => line.add_text(name, subject),
                (name, _) => line.add(name, text),
            }
        }
        line.end()
    }
}

/// Policies that are in force from now on; `revision` is what the operator calls them.
#[must_use]
pub fn configured(revision: Option<&str>, monitored_count: usize) -> String {
    let mut line = Line::new("configured", 0);
    line.add_text("revision", revision.unwrap_or_default());
    line.add_number("monitoring", monitored_count as u64);
    line.end()
}

fn add_client(known: &mut Described, provider: &str, subject: &str) {
    let texts = [(PROVIDER, provider), (SUBJECT, subject)].into_iter().filter(|(_, text)| !text.is_empty());
    known.extend(texts.map(|(name, text)| (name, Cow::Owned(text.to_owned()))));
}

/// An address of IPv4, or a subnet of IPv6.
fn group(address: Address) -> u64 {
    let bytes = address.group(IPV6_PREFIX).to_bytes();
    let (halves, _) = bytes.get(1..).unwrap_or_default().as_chunks();
    halves.iter().fold(0, |group, half| group ^ u64::from_be_bytes(*half))
}

/// What is one client, mostly (RFC 4291 §2.5.4).
const IPV6_PREFIX: u8 = 64;

/// What a line is about.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The worker's name, which no other has.
    pub worker: u32,
    /// The stream's number in its worker.
    pub stream: u32,
    /// The policy that it is under: `base`, or `routes[3]`.
    pub policy: &'a str,
}

/// How much a side has sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amount {
    /// Messages and control frames.
    pub messages: u64,
    /// Bytes of frames.
    pub bytes: u64,
}

/// How a connection ended.
#[derive(Debug)]
pub struct End {
    /// Why, unless a peer wanted it.
    pub violation: Option<Violation>,
    /// The one that ended it: `client`, `server`, `filter`, or empty where that is not known.
    pub by: &'static str,
    /// The close code, where there was a Close frame.
    pub code: Option<u16>,
    /// How long it was up.
    pub duration_millis: u64,
    /// What each side has sent.
    pub sent: Sides<Amount>,
}

impl End {
    fn reason(&self) -> &'static str {
        self.violation.map_or("peer", Violation::reason)
    }
}

/// A line of JSON, member by member. What is empty is left out.
struct Line(String);

impl Line {
    fn new(event: &str, texts_len: usize) -> Self {
        let mut line = String::with_capacity(texts_len.saturating_add(LINE_LEN));
        line.push_str("{\"event\":\"");
        line.push_str(event);
        line.push('"');
        Self(line)
    }

    /// Adds a text that is printable.
    fn add(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            [",\"", name, "\":\"", text, "\""].iter().for_each(|part| self.0.push_str(part));
        }
    }

    /// Adds any text.
    fn add_text(&mut self, name: &str, text: &str) {
        self.add(name, &printable(text.as_bytes()));
    }

    fn add_number(&mut self, name: &str, number: u64) {
        [",\"", name, "\":", &number.to_string()].iter().for_each(|part| self.0.push_str(part));
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A peer's text as visible ASCII, everything else percent-encoded, cut at [`TEXT_LEN_MAX`]: no line breaks, escapes or
/// letters that run the other way reach a log, and nothing that ends a JSON string.
fn printable(text: &[u8]) -> String {
    let text = text.get(..TEXT_LEN_MAX).unwrap_or(text);
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~' if !matches!(byte, b'"' | b'%' | b'\\'));
    match str::from_utf8(text) {
        Ok(text) if text.bytes().all(is_plain) => return text.to_owned(),
        Ok(_) | Err(_) => {}
    }
    let mut printable = String::new();
    for byte in text.iter().copied() {
        if is_plain(byte) {
            printable.push(char::from(byte));
        } else {
            printable.push_str(&format!("%{byte:02X}"));
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Scene<'static> = Scene { worker: 0xab, stream: 7, policy: "routes[3]" };

    fn read(effect: Effect) -> serde_json::Value {
        let Effect::Log(_, line) = effect else { panic!("no line") };
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    #[test]
    fn a_line_is_json_whatever_peers_say() {
        let fields = [
            (":path", "/a\"b?token=x"),
            ("origin", "https://x.example\r\n"),
            ("x-request-id", ""),
            ("user-agent", &"y".repeat(99)),
        ];
        let fields = fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let record = Record::new(b"@\x1b[31m\\", &Headers::new(fields.to_vec()), None);
        let cause = Cause {
            at: "messages.from_client.json.schemas[\"a b\"]".into(),
            kind: Some("\"\n".into()),
            keyword: Some("type"),
            instance: Some("/ä".into()),
            ..Cause::default()
        };
        let refusal = Refusal::because(Violation::SchemaRefused, cause);
        assert_eq!(
            read(record.refused(OF, &refusal, Some(Side::Client), (Mode::Enforce, 1))),
            serde_json::json!({
                "event": "refused", "connection": "000000ab-7", "policy": "routes[3]", "reason": "schema_refused", "from": "client",
                "at": "messages.from_client.json.schemas[%22a%20b%22]", "type": "%22%0A", "keyword": "type", "instance": "/%C3%A4",
                "address": "@%1B[31m%5C", "path": "/a%22b", "origin": "https://x.example%0D%0A", "user_agent": "y".repeat(64),
            })
        );
        let refusal = Refusal::invalid(Detail::Key).with(|cause| {
            cause.key_id = Some("k\u{7f}1".into());
            cause.holder = Some(("corp".into(), "a b".into()));
        });
        let line = read(record.refused(OF, &refusal, None, (Mode::Monitor, 1)));
        let members = ["event", "reason", "at", "detail", "kid", "provider", "subject"]
            .map(|name| line[name].as_str().unwrap_or_default());
        assert_eq!(members, ["would_refuse", "credential_invalid", "auth.providers", "key", "k%7F1", "corp", "a%20b"]);
        let line = read(record.refused(OF, &Violation::InvalidUtf8.into(), Some(Side::Server), (Mode::Monitor, 3)));
        assert_eq!((&line["at"], &line["count"]), (&"messages.from_server.utf8".into(), &3.into()));
    }

    fn described(effect: Effect) -> Vec<String> {
        let Effect::Describe(known) = effect else { panic!("nothing") };
        known.into_iter().map(|(name, text)| format!("{}={text}", name.strip_prefix("portcullis_").unwrap())).collect()
    }

    #[test]
    fn the_log_of_the_proxy_is_told_what_is_known_and_no_more() {
        let (nobody, violation) = (Record::default(), Violation::CredentialInvalid);
        assert_eq!(described(nobody.describe_refusal(violation, None)), ["reason=credential_invalid"]);
        // The holder of a genuine token is told, whatever its claims consist of.
        let holder = Cause { holder: Some(("corp".into(), "a\"\n b".into())), ..Cause::default() };
        assert_eq!(
            described(nobody.describe_refusal(violation, Some(&holder))),
            ["reason=credential_invalid", "provider=corp", "subject=a%22%0A%20b"]
        );
        let known = Record { texts: "203.0.113.7:1 host /path - id agent corp alice".into(), group: 0 };
        let sent = Sides { client: Amount { messages: 1, bytes: 30 }, server: Amount { messages: 0, bytes: 0 } };
        let end = End { violation: None, by: "", code: None, duration_millis: 0, sent };
        let expected =
            ["reason=peer", "messages_from_client=1", "messages_from_server=0", "provider=corp", "subject=alice"];
        assert_eq!(described(known.describe_end(&end)), expected);
        let end = End { violation: Some(Violation::MessageTooBig), by: "filter", code: Some(1_009), ..end };
        let expected = ["reason=message_too_big", "by=filter", "code=1009"];
        let all = described(known.describe_end(&end));
        assert_eq!((&all[..3], all.len()), (&expected.map(str::to_owned)[..], DESCRIBED_MAX));
    }

    #[test]
    fn an_end_says_who_ended_what() {
        let sent = Sides { client: Amount { messages: 1, bytes: 30 }, server: Amount { messages: 2, bytes: 40 } };
        let end = End { violation: None, by: "client", code: Some(1_000), duration_millis: 12, sent };
        assert_eq!(
            read(Record::default().closed(OF, &end)),
            serde_json::json!({
                "event": "closed", "connection": "000000ab-7", "policy": "routes[3]", "reason": "peer", "by": "client", "code": 1_000,
                "duration_ms": 12, "messages_from_client": 1, "messages_from_server": 2, "bytes_from_client": 30, "bytes_from_server": 40,
            })
        );
    }
}
