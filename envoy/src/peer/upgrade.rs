//! The upgrade request, of which every line may be changed, dropped or repeated.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::{Request, Uri};

/// A request for a WebSocket (RFC 6455 §4.1). Begins as a correct one, and becomes what the caller makes of it.
///
/// Names and values are written as they are: nothing is checked, so a value may well have a line break in it.
#[derive(Clone, Debug)]
pub struct Upgrade {
    method: String,
    target: String,
    version: String,
    lines: Vec<(String, Vec<u8>)>,
    tail: Vec<u8>,
}

impl Upgrade {
    /// A correct upgrade of this path and query, with a fresh key, to the host `localhost` and without an Origin.
    pub fn to(target: &str) -> Self {
        let key = STANDARD.encode(super::random::<16>());
        let lines = [
            ("Host", "localhost"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", &key),
            ("Sec-WebSocket-Version", "13"),
        ];
        Self {
            method: "GET".into(),
            target: target.into(),
            version: "HTTP/1.1".into(),
            lines: lines.map(|(name, value)| (name.into(), value.into())).into(),
            tail: Vec::new(),
        }
    }

    /// Adds a line, behind all others and whether or not there is one of that name.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.lines.push((name.into(), value.as_ref().into()));
        self
    }

    /// Puts this value in the place of the first line of that name and drops the others; adds the line where there is
    /// none.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let place = self.lines.iter().position(|line| line.0.eq_ignore_ascii_case(name)).unwrap_or(self.lines.len());
        self = self.without(name);
        self.lines.insert(place, (name.into(), value.as_ref().into()));
        self
    }

    /// Drops all lines of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.lines.retain(|line| !line.0.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the `Host`.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        self.with("Host", host)
    }

    /// Sets the `Origin`.
    #[must_use]
    pub fn origin(self, origin: &str) -> Self {
        self.with("Origin", origin)
    }

    /// Sets the subprotocols offered.
    #[must_use]
    pub fn subprotocols(self, offers: &str) -> Self {
        self.with("Sec-WebSocket-Protocol", offers)
    }

    /// Sets the path and query.
    #[must_use]
    pub fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    /// Sets the method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    /// Sets the version, such as `HTTP/1.0`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    /// Sends these bytes right behind the head, in the same write: a body, early frames, or a pipelined request.
    #[must_use]
    pub fn tail(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.tail = bytes.into();
        self
    }

    /// The value of the only line of this name; `None` where there are more or none.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.lines.iter().filter(|line| line.0.eq_ignore_ascii_case(name));
        values.next().filter(|_| values.next().is_none()).map(|line| line.1.as_slice())
    }

    /// The request over HTTP/2, its tail apart. One with a line `Upgrade` is an extended CONNECT, in which that line is the
    /// `:protocol`, and there is neither a `Connection` nor a key
    /// ([RFC 8441 §5](https://www.rfc-editor.org/rfc/rfc8441#section-5)).
    pub(super) fn request(&self) -> Result<(Request<()>, &[u8]), http::Error> {
        let text = |name| self.value(name).map(String::from_utf8_lossy);
        let protocol = text("upgrade").map(|protocol| Protocol::from(&*protocol));
        let uri = Uri::builder()
            .scheme("https")
            .authority(&*text("host").unwrap_or_default())
            .path_and_query(self.target.as_str())
            .build()?;
        let method = if protocol.is_some() { "CONNECT" } else { &self.method };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in &self.lines {
            if !HTTP_1_ONLY.iter().any(|only| name.eq_ignore_ascii_case(only)) {
                request = request.header(name, value.as_slice());
            }
        }
        let mut request = request.body(())?;
        if let Some(protocol) = protocol {
            request.extensions_mut().insert(protocol);
        }
        Ok((request, &self.tail))
    }

    /// The request on the wire, its tail included.
    pub fn bytes(&self) -> Vec<u8> {
        let Self { method, target, version, lines, tail } = self;
        let mut bytes = format!("{method} {target} {version}\r\n").into_bytes();
        for (name, value) in lines {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        bytes.extend(tail);
        bytes
    }
}

/// The lines that are pseudo-headers over HTTP/2, or have no meaning there.
const HTTP_1_ONLY: [&str; 4] = ["host", "upgrade", "connection", "sec-websocket-key"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(upgrade: &Upgrade, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&upgrade.bytes()), expected.replace('\n', "\r\n"));
    }

    #[test]
    fn every_line_can_be_changed_dropped_and_repeated() {
        let upgrade = Upgrade::to("/chat").with("sec-websocket-key", "abc");
        check(
            &upgrade,
            "GET /chat HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\nsec-websocket-key: abc\nSec-WebSocket-Version: 13\n\n",
        );
        let bare = upgrade.without("UPGRADE").without("connection").without("sec-websocket-key").without("host");
        check(
            &bare.clone().method("POST").version("HTTP/1.0").header("A", "1").header("a", "2").tail("x"),
            "POST /chat HTTP/1.0\nSec-WebSocket-Version: 13\nA: 1\na: 2\n\nx",
        );
        check(
            &bare.header("Sec-WebSocket-Version", "8").with("sec-websocket-version", "7").target("/"),
            "GET / HTTP/1.1\nsec-websocket-version: 7\n\n",
        );
    }

    #[test]
    fn over_http_2_it_is_an_extended_connect() {
        let upgrade = Upgrade::to("/chat?a=1").host("chat.example.com").header("X-More", "1").tail("early");
        let (request, tail) = upgrade.request().expect("a request");
        assert_eq!((request.method().as_str(), tail), ("CONNECT", b"early".as_slice()));
        assert_eq!(request.uri(), "https://chat.example.com/chat?a=1");
        assert_eq!(request.extensions().get(), Some(&Protocol::from_static("websocket")));
        let names = request.headers().keys().map(http::HeaderName::as_str).collect::<Vec<_>>();
        assert_eq!(names, ["sec-websocket-version", "x-more"]);
        let plain = Upgrade::to("/").without("upgrade");
        let (request, _) = plain.request().expect("a request");
        assert_eq!((request.method().as_str(), request.extensions().get::<Protocol>()), ("GET", None));
    }

    #[test]
    fn keys_are_fresh_and_of_sixteen_bytes() {
        let key = |upgrade: Upgrade| upgrade.value("sec-websocket-key").map(<[u8]>::to_vec).expect("there is one key");
        let first = key(Upgrade::to("/"));
        assert_ne!(first, key(Upgrade::to("/")));
        assert_eq!(STANDARD.decode(first).map(|bytes| bytes.len()), Ok(16));
    }
}
